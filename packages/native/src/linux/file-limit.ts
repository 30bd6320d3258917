import { allocate } from "../memory.ts";
import { RLIMIT_NOFILE } from "./constants.ts";
import { check } from "./errno.ts";
import { libc } from "./libc.ts";

export interface FileLimit {
  /** Descriptors this process may have open; `Infinity` for no limit. */
  readonly soft: number;
  readonly hard: number;
}

/** Raises the soft limit of open files to the hard one: a proxy needs two descriptors and more a connection. */
export function raiseFileLimit(): FileLimit {
  const limit = allocate(16);
  const view = new DataView(limit.buffer);
  check(libc.getrlimit(RLIMIT_NOFILE, limit), "getrlimit");
  const hard = view.getBigUint64(8, true);
  if (view.getBigUint64(0, true) !== hard) {
    view.setBigUint64(0, hard, true);
    check(libc.setrlimit(RLIMIT_NOFILE, limit), "setrlimit");
  }
  const count = hard === 0xffffffffffffffffn ? Infinity : Number(hard);
  return { soft: count, hard: count };
}
