// Run by tcp-listener.test.ts with a listening socket as descriptor 3: greets one connection and ends.
import { listenTcp } from "../tcp-listener.ts";

const listener = await listenTcp({
  fd: 3,
  onConnection: (socket) => {
    socket.end("from the child");
    socket.resume();
    void listener.close();
  },
});
process.stdout.write(`listening on ${listener.address.port}\n`);
