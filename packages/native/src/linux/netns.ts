import { access, closeSync, fstatSync, openSync, readFileSync, writeSync } from "node:fs";
import koffi from "koffi";
import { CLONE_NEWNET } from "./constants.ts";
import { check, hasCode } from "./errno.ts";
import { libc } from "./libc.ts";

/** A network namespace held open by a descriptor, so that it outlives its last process and its name. */
export interface NetnsHandle {
  /** Owned by the handle. */
  readonly fd: number;
  /** Idempotent. */
  close(): void;
}

/**
 * The namespace to return to. thread-self, not self: in a worker, self is the main thread, which may be inside a pod at
 * this moment. A thread starts in the namespace of the thread that made it, and nobody makes threads inside the window.
 */
const ownNetns = openSync("/proc/thread-self/ns/net", "r");
// Node makes its pool of file-system threads at the first asynchronous call: here, in our own namespace, not later in a pod's.
access("/", () => {});

let inside = false;

/** Opens `/run/netns/name`, `/proc/123/ns/net` and so on. Throws Node's `ENOENT`, `EACCES`; `EINVAL` for another kind of file. */
export function openNetns(path: string): NetnsHandle {
  return netnsFromFd(openSync(path, "r"));
}

/** Takes over a descriptor, from SCM_RIGHTS say. Entering it fails with `EINVAL` if it is no network namespace. */
export function netnsFromFd(fd: number): NetnsHandle {
  let open = true;
  return {
    fd,
    close() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}

/** The number by which the kernel tells namespaces apart while one of their handles is open. */
export function netnsInode(handle: NetnsHandle): number {
  return fstatSync(handle.fd).ino;
}

/** The inode of the namespace in which this thread lives. */
export function ownNetnsInode(): number {
  return fstatSync(ownNetns).ino;
}

/** Whether sockets inside may use IPv6, by the setting of its loopback. */
export function netnsHasIpv6(handle: NetnsHandle): boolean {
  return withNetns(handle, () => {
    try {
      // /proc/sys/net shows the namespace of the reading thread.
      return readFileSync("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "latin1").trim() === "0";
    } catch (error) {
      if (hasCode(error, "ENOENT")) return false;
      throw error;
    }
  });
}

/**
 * Runs `action` with this thread in another network namespace: sockets made by it belong there for ever. It must be
 * synchronous and start nothing asynchronous, since new threads would stay there; a returned promise is an error
 * (`ERR_NETNS_ASYNC`), so is a call within a call (`ERR_NETNS_NESTED`). The thread always comes back: if the kernel
 * refuses that, the process aborts rather than serve one pod's traffic in another's namespace.
 */
export function withNetns<T>(handle: NetnsHandle, action: () => T): T {
  if (inside) throw codedError("ERR_NETNS_NESTED", "A network namespace was entered from within another");
  check(libc.setns(handle.fd, CLONE_NEWNET), "setns");
  inside = true;
  let result: T;
  try {
    result = action();
  } finally {
    returnHome();
    inside = false;
  }
  if (isThenable(result)) {
    result.then(undefined, () => {});
    throw codedError("ERR_NETNS_ASYNC", "The action given to withNetns returned a promise; it must be synchronous");
  }
  return result;
}

function returnHome(): void {
  if (libc.setns(ownNetns, CLONE_NEWNET) === 0) return;
  writeSync(2, `fatal: cannot return to the own network namespace (errno ${koffi.errno()})\n`);
  libc.abort();
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

function codedError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
