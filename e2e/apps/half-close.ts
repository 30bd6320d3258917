// Sends one line and its end, then reads to the end: `half-close.ts HOST PORT`. Prints what came after the own end.
import { connect } from "node:net";
import { text } from "node:stream/consumers";

const [host = "", port = ""] = process.argv.slice(2);
const socket = connect({ host, port: Number(port), allowHalfOpen: true });
socket.end("last words\n");
process.stdout.write(`${JSON.stringify({ answer: await text(socket) })}\n`);
process.exit(0);
