import { constants } from "node:os";
import { getSystemErrorMessage } from "node:util";
import koffi from "koffi";

const names = new Map<number, string>();
for (const [name, number] of Object.entries(constants.errno)) if (!names.has(number)) names.set(number, name);

/** A failed system call. `code` is the name of errno (`EPERM`), as in Node's own errors. */
export class SystemError extends Error {
  readonly code: string;
  readonly syscall: string;
  /** Positive, as C has it. */
  readonly errno: number;

  constructor(syscall: string, errno: number, subject = "") {
    const code = names.get(errno) ?? `E${errno}`;
    super(`${syscall}${subject === "" ? "" : ` ${subject}`}: ${code} (${describe(errno)})`);
    this.name = "SystemError";
    this.code = code;
    this.syscall = syscall;
    this.errno = errno;
  }
}

/** True for a {@link SystemError}, or an error of Node, with one of these codes. */
export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}

/** Passes on a result of C, or throws what errno says if it is negative. Must directly follow the call. */
export function check(result: number, syscall: string, subject?: string): number {
  if (result < 0) throw new SystemError(syscall, koffi.errno(), subject);
  return result;
}

function describe(errno: number): string {
  try {
    return getSystemErrorMessage(-errno) ?? "unknown error";
  } catch {
    return "unknown error";
  }
}
