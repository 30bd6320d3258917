// FIRST-LAST: relays connections to these ports plus 10,000 to the application on loopback, with streams and pipe().
import net from "node:net";

const [first = 0, last = 0] = (process.argv[2] ?? "").split("-").map(Number);

for (let port = first; port <= last; port++) {
  net
    .createServer({ allowHalfOpen: true, noDelay: true }, (peer) => {
      const application = net.connect({ host: "127.0.0.1", port, allowHalfOpen: true, noDelay: true });
      for (const socket of [peer, application])
        socket.on("error", () => [peer, application].forEach((end) => end.destroy()));
      peer.pipe(application).pipe(peer);
    })
    .listen({ port: port + 10_000, host: "0.0.0.0", backlog: 8192 });
}
