/** The C functions in use: the whole list, each declared once. Symbols come from the process itself (glibc or musl). */
import koffi from "koffi";

type Memory = Uint8Array<ArrayBuffer>;

const lib = koffi.load(null);

export const libc: {
  readonly setns: (fd: number, namespaceType: number) => number;
  readonly abort: () => void;
  readonly socket: (domain: number, type: number, protocol: number) => number;
  readonly bind: (fd: number, address: Memory, length: number) => number;
  readonly listen: (fd: number, backlog: number) => number;
  readonly accept4: (fd: number, address: null, length: null, flags: number) => number;
  readonly connect: (fd: number, address: Memory, length: number) => number;
  readonly setsockopt: (fd: number, level: number, option: number, value: Memory, length: number) => number;
  readonly getsockopt: (fd: number, level: number, option: number, value: Memory, length: Memory) => number;
  readonly getsockname: (fd: number, address: Memory, length: Memory) => number;
  readonly getpeername: (fd: number, address: Memory, length: Memory) => number;
  readonly sendmsg: (fd: number, message: Memory, flags: number) => number;
  readonly recvmsg: (fd: number, message: Memory, flags: number) => number;
  readonly getrlimit: (resource: number, limit: Memory) => number;
  readonly setrlimit: (resource: number, limit: Memory) => number;
  readonly close: (fd: number) => number;
  readonly if_nametoindex: (name: string) => number;
} = {
  setns: lib.func("int setns(int, int)"),
  abort: lib.func("void abort()"),
  socket: lib.func("int socket(int, int, int)"),
  bind: lib.func("int bind(int, void *, uint)"),
  listen: lib.func("int listen(int, int)"),
  accept4: lib.func("int accept4(int, void *, void *, int)"),
  connect: lib.func("int connect(int, void *, uint)"),
  setsockopt: lib.func("int setsockopt(int, int, int, void *, uint)"),
  getsockopt: lib.func("int getsockopt(int, int, int, void *, void *)"),
  getsockname: lib.func("int getsockname(int, void *, void *)"),
  getpeername: lib.func("int getpeername(int, void *, void *)"),
  sendmsg: lib.func("long sendmsg(int, void *, int)"),
  recvmsg: lib.func("long recvmsg(int, void *, int)"),
  getrlimit: lib.func("int getrlimit(int, void *)"),
  setrlimit: lib.func("int setrlimit(int, void *)"),
  close: lib.func("int close(int)"),
  if_nametoindex: lib.func("uint if_nametoindex(str)"),
};
