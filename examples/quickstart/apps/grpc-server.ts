// Answers every Hello with the name of its pod: `node grpc-server.ts` with PORT (9090).
import { hostname } from "node:os";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { greeter } from "./greeter.ts";

const port = Number(process.env["PORT"] ?? 9090);
const server = new Server();
server.addService(greeter, {
  hello: (_call: unknown, answer: (error: null, text: string) => void) => answer(null, hostname()),
});
server.bindAsync(`[::]:${port}`, ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
  console.log(`greeter listening on ${port}`);
});
process.on("SIGTERM", () => server.tryShutdown(() => process.exit(0)));
