import { Duplex } from "node:stream";
import type { ByteChannel } from "@hairpin/wire";

/** A byte channel as a Node stream, for Node's own clients and servers in tests. Takes the channel over. */
export function channelDuplex(channel: ByteChannel): Duplex {
  let onDrained: (() => void) | undefined;
  const duplex = new Duplex({
    allowHalfOpen: true,
    read: () => channel.resume(),
    write: (chunk: Buffer, _encoding, done) => {
      if (channel.write(chunk)) done();
      else onDrained = done;
    },
    final: (done) => {
      channel.end();
      done();
    },
    destroy: (error, done) => {
      channel.destroy(error ?? undefined);
      done(error);
    },
  });
  channel.setHandler({
    onData: (chunk) => {
      if (!duplex.push(Buffer.from(chunk))) channel.pause();
    },
    onEnd: () => void duplex.push(null),
    onDrain: () => {
      const done = onDrained;
      onDrained = undefined;
      done?.();
    },
    onClose: (error) => {
      if (error) duplex.destroy(error);
      onDrained?.();
    },
  });
  return duplex;
}
