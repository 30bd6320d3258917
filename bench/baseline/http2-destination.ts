// PORT KEY CERT ROOT: takes HBONE tunnels and relays each to the application's port on loopback, with streams and pipe().
import { readFileSync } from "node:fs";
import http2 from "node:http2";
import net from "node:net";
import { windows } from "./http2-windows.ts";

const [port = "", key = "", cert = "", ca = ""] = process.argv.slice(2);

http2
  .createSecureServer({
    key: readFileSync(key),
    cert: readFileSync(cert),
    ca: readFileSync(ca),
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: "TLSv1.3",
    settings: windows.settings,
  })
  .on("session", (session) => {
    session.setLocalWindowSize(windows.connection);
    session.on("error", () => {});
  })
  .on("stream", (tunnel: http2.ServerHttp2Stream, headers) => {
    const wanted = Number(headers[":authority"]?.split(":").at(-1));
    const application = net.connect({ host: "127.0.0.1", port: wanted, allowHalfOpen: true, noDelay: true });
    application.on("error", () => tunnel.close());
    tunnel.on("error", () => application.destroy());
    application.once("connect", () => {
      tunnel.respond({ ":status": 200 });
      tunnel.pipe(application).pipe(tunnel);
    });
  })
  .listen({ port: Number(port), host: "0.0.0.0", backlog: 8192 });
