// Run by tcp-listener.test.ts under `ulimit -n 64`. Prints one line of JSON.
import { closeSync, openSync } from "node:fs";
import net from "node:net";
import { listenTcp } from "../tcp-listener.ts";

let accepted = 0;
const listener = await listenTcp({
  host: "127.0.0.1",
  port: 0,
  onConnection: (socket) => {
    accepted++;
    socket.destroy();
  },
});

/** Connects and waits until the connection is over, however it ends. */
function visit(): Promise<void> {
  return new Promise((resolve) => {
    const socket = net.connect(listener.address.port, "127.0.0.1");
    socket.resume();
    socket.on("error", () => undefined);
    socket.on("close", () => resolve());
  });
}

await visit(); // loads whatever Node loads lazily, while there are descriptors
const held: number[] = [];
try {
  for (;;) held.push(openSync("/dev/null", "r"));
} catch {
  closeSync(held.pop() as number); // one for the client's end; accept(2) then finds none
}
const before = accepted;
await visit();
const exhausted = accepted === before;
for (const descriptor of held) closeSync(descriptor);
await visit();
process.stdout.write(JSON.stringify({ exhausted, acceptedAfterwards: accepted > before }));
await listener.close();
