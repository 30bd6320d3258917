// One TCP connection under remote control: `hold.ts HOST PORT`. Lines of stdin are sent; what happens is told as JSON lines
// with the time in ms since 1970. Ends with stdin.
import { connect } from "node:net";

const [host = "", port = ""] = process.argv.slice(2);

function tell(event: string, details: object = {}): void {
  process.stdout.write(`${JSON.stringify({ event, at: Date.now(), ...details })}\n`);
}

const socket = connect({ host, port: Number(port) });
socket.setEncoding("utf8");
let received = "";
socket.on("connect", () => tell("open", { from: `${socket.localAddress}:${socket.localPort}` }));
socket.on("data", (chunk: string) => {
  received += chunk;
  const lines = received.split("\n");
  received = lines.pop() ?? "";
  for (const line of lines) tell("line", { text: line });
});
socket.on("end", () => tell("end", { how: "fin" }));
socket.on("error", (error: NodeJS.ErrnoException) => tell("end", { how: error.code ?? error.message }));

let typed = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (chunk: string) => {
  typed += chunk;
  const lines = typed.split("\n");
  typed = lines.pop() ?? "";
  for (const line of lines) if (socket.writable) socket.write(`${line}\n`);
});
process.stdin.on("end", () => process.exit(0));
