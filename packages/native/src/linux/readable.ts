import koffi from "koffi";

/**
 * Calls back once when a descriptor can be read or its peer hung up, through the thread's own event loop. Cancel before
 * the descriptor is closed. A worker must cancel all before it ends.
 */
export function onceReadable(fd: number, callback: () => void): { cancel(): void } {
  let waiting = true;
  const poll = koffi.node.poll(fd, { readable: true, disconnect: true }, () => {
    if (!waiting) return;
    poll.close();
    // Not from here: this call comes without Node's callback scope, so promises it settles would wait for the next event.
    setImmediate(() => {
      if (waiting) callback();
      waiting = false;
    });
  });
  return {
    cancel() {
      waiting = false;
      poll.close();
    },
  };
}
