// FIRST-LAST APPLICATION: the waypoint's HTTP engine as a plain HTTP/1.1 proxy. Everything between a client's bytes and the
// application's is the waypoint's own: parser, policy, route, endpoint, kept connections, metrics and access log. Only what
// brings the connection (a TCP listener instead of tunnels) and the configuration (here instead of from control) differ.
import { createEngine } from "./engine.ts";

const [ports = "", application = ""] = process.argv.slice(2);
const [first = 0, last = 0] = ports.split("-").map(Number);

await createEngine({ first, last, application });
// An exit, not a death by signal, so that --cpu-prof is written.
process.on("SIGTERM", () => process.exit(0));
