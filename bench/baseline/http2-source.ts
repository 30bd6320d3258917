// PORT SERVER KEY CERT ROOT: tunnels each captured connection by CONNECT to SERVER:15008, as a first HBONE client in Node
// would: one session of node:http2 over node:tls, streams and pipe().
import { readFileSync } from "node:fs";
import http2 from "node:http2";
import net from "node:net";
import { originalDestination } from "@hairpin/native";
import { windows } from "./http2-windows.ts";

const [port = "", server = "", key = "", cert = "", ca = ""] = process.argv.slice(2);
const material = { key: readFileSync(key), cert: readFileSync(cert), ca: readFileSync(ca) };
let session: http2.ClientHttp2Session | undefined;

function openSession(): http2.ClientHttp2Session {
  const opened = http2.connect(`https://${server}:15008`, {
    ...material,
    // Names in mesh certificates are URIs; a mesh compares them itself.
    checkServerIdentity: () => undefined,
    minVersion: "TLSv1.3",
    settings: windows.settings,
    peerMaxConcurrentStreams: windows.settings.maxConcurrentStreams,
  });
  opened.once("connect", () => opened.setLocalWindowSize(windows.connection));
  opened.on("error", () => {});
  opened.once("close", () => (session = undefined));
  return opened;
}

net
  .createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const wanted = originalDestination(client);
    session ??= openSession();
    const tunnel = session.request({ ":method": "CONNECT", ":authority": `${wanted?.ip}:${wanted?.port}` });
    client.on("error", () => tunnel.close());
    tunnel.on("error", () => client.destroy());
    tunnel.once("response", () => client.pipe(tunnel).pipe(client));
  })
  .listen({ port: Number(port), host: "0.0.0.0", backlog: 8192 });
