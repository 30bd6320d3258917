// PORT SERVER: relays each captured connection to the same port plus 10,000 of SERVER, with streams and pipe().
import net from "node:net";
import { originalDestination } from "@hairpin/native";

const [port = "", server = ""] = process.argv.slice(2);

net
  .createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const wanted = originalDestination(client)?.port ?? 0;
    const upstream = net.connect({ host: server, port: wanted + 10_000, allowHalfOpen: true, noDelay: true });
    for (const socket of [client, upstream])
      socket.on("error", () => [client, upstream].forEach((end) => end.destroy()));
    client.pipe(upstream).pipe(client);
  })
  .listen({ port: Number(port), host: "0.0.0.0", backlog: 8192 });
