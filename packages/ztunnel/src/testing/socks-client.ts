import type { Socket } from "node:net";
import { type ByteChannel, createSocketChannel } from "@hairpin/wire";

const answerBytes = 10;

/** Asks a SOCKS5 server without authentication (RFC 1928) for a connection to `ip:port`, IPv4; the channel is what follows. */
export function dialSocks(socket: Socket, destination: string): Promise<ByteChannel> {
  const [ip = "", port = ""] = destination.split(":");
  const channel = createSocketChannel(socket);
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    channel.setHandler({
      onData: (chunk) => {
        received = Buffer.concat([received, chunk]);
        // The choice of a method, then the answer.
        if (received.length < 2 + answerBytes) return;
        channel.pause();
        const isGood = received[1] === 0 && received[3] === 0 && received.length === 2 + answerBytes;
        if (isGood) resolve(channel);
        else reject(new Error(`SOCKS5 answered ${received.toString("hex")}`));
      },
      onEnd: () => reject(new Error("SOCKS5 ended the connection")),
      onDrain: () => {},
      onClose: (error) => reject(error ?? new Error("SOCKS5 closed the connection")),
    });
    channel.resume();
    const address = [...ip.split(".").map(Number), Number(port) >> 8, Number(port) & 0xff];
    channel.write(Uint8Array.from([5, 1, 0, 5, 1, 0, 1, ...address]));
  });
}
