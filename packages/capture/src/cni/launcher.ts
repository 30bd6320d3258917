/**
 * The executable that a container runtime finds: a static ELF program of some hundred bytes that does one thing, execve of
 * fixed arguments with its own environment. It needs nothing of the host: no C library, no loader, no shell. Pure.
 *
 * Why not Node's own executable: docs/decisions/cni-plugin.md.
 */

export type LauncherArchitecture = "x64" | "arm64";

export interface LauncherOptions {
  readonly architecture: LauncherArchitecture;
  /** Program and arguments. The program is an absolute path, and also its own first argument. */
  readonly command: readonly string[];
  /** Written to standard output when the program cannot be executed; the exit code is 1 then. */
  readonly failure: string;
}

const headerBytes = 64 + 56;
/** Where the program is in memory; pointers in its data are absolute. */
const baseAddress = 0x400000;
const machines = { x64: 62, arm64: 183 } as const;

/** The file's bytes. Throws `Error` when they would not fit in a page of code. */
export function launcherElf({ architecture, command, failure }: LauncherOptions): Uint8Array<ArrayBuffer> {
  const encode = architecture === "x64" ? encodeX64 : encodeArm64;
  // The code's length does not depend on the addresses in it.
  const codeBytes = encode({ path: 0, arguments: 0, failure: 0, failureBytes: 0 }).length;
  const dataOffset = (headerBytes + codeBytes + 7) & ~7;
  const pointerBytes = 8 * (command.length + 1);
  let offset = dataOffset + pointerBytes;
  const texts = [...command.map((text) => `${text}\0`), failure].map((text) => {
    const bytes = Buffer.from(text);
    const address = baseAddress + offset;
    offset += bytes.length;
    return { bytes, address };
  });
  if (offset > 0x8000) throw new Error(`A launcher of ${offset} bytes is larger than it can be`);
  const code = encode({
    path: texts[0]?.address ?? 0,
    arguments: baseAddress + dataOffset,
    failure: texts.at(-1)?.address ?? 0,
    failureBytes: texts.at(-1)?.bytes.length ?? 0,
  });
  const file = Buffer.alloc(offset);
  writeHeaders(file, machines[architecture]);
  file.set(code, headerBytes);
  for (const [index, { address }] of texts.slice(0, -1).entries())
    file.writeBigUInt64LE(BigInt(address), dataOffset + 8 * index);
  for (const { bytes, address } of texts) file.set(bytes, address - baseAddress);
  return new Uint8Array(file);
}

/** ELF64, little endian, executable, one segment that is the whole file. */
function writeHeaders(file: Buffer, machine: number): void {
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0]);
  file.writeUInt16LE(2, 16);
  file.writeUInt16LE(machine, 18);
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(BigInt(baseAddress + headerBytes), 24);
  file.writeBigUInt64LE(64n, 32);
  file.writeUInt16LE(64, 52);
  file.writeUInt16LE(56, 54);
  file.writeUInt16LE(1, 56);
  const segment = 64;
  file.writeUInt32LE(1, segment);
  // Readable and executable.
  file.writeUInt32LE(5, segment + 4);
  file.writeBigUInt64LE(BigInt(baseAddress), segment + 16);
  file.writeBigUInt64LE(BigInt(baseAddress), segment + 24);
  file.writeBigUInt64LE(BigInt(file.length), segment + 32);
  file.writeBigUInt64LE(BigInt(file.length), segment + 40);
  file.writeBigUInt64LE(0x10000n, segment + 48);
}

interface Addresses {
  readonly path: number;
  readonly arguments: number;
  readonly failure: number;
  readonly failureBytes: number;
}

/** At its start a program has argc at the top of its stack, then argv, a null, and the environment. */
function encodeX64(at: Addresses): Uint8Array {
  const systemCall = (number: number): number[] => [0xb8, ...word(number), 0x0f, 0x05];
  const [toRdi, toRsi, toRdx] = [0xbf, 0xbe, 0xba];
  const parts = [
    // mov rax, [rsp]; lea rdx, [rsp + rax*8 + 16]
    [0x48, 0x8b, 0x04, 0x24, 0x48, 0x8d, 0x54, 0xc4, 0x10],
    // execve(path, arguments, rdx)
    [toRdi, ...word(at.path), toRsi, ...word(at.arguments), ...systemCall(59)],
    // write(1, failure, failureBytes)
    [toRdi, ...word(1), toRsi, ...word(at.failure), toRdx, ...word(at.failureBytes), ...systemCall(1)],
    // exit(1)
    [toRdi, ...word(1), ...systemCall(60)],
  ];
  return Uint8Array.from(parts.flat());
}

function encodeArm64(at: Addresses): Uint8Array {
  const systemCall = (number: number): number[] => [...load(8, number), 0xd4000001];
  const parts = [
    // ldr x9, [sp]; add x2, sp, #16; add x2, x2, x9, lsl #3
    [0xf94003e9, 0x910043e2, 0x8b090c42],
    // execve(path, arguments, x2)
    [...load(0, at.path), ...load(1, at.arguments), ...systemCall(221)],
    // write(1, failure, failureBytes)
    [...load(0, 1), ...load(1, at.failure), ...load(2, at.failureBytes), ...systemCall(64)],
    // exit(1)
    [...load(0, 1), ...systemCall(93)],
  ];
  return Uint8Array.from(parts.flat().flatMap(word));
}

/** movz and movk: a 32-bit value into a register. */
function load(register: number, value: number): number[] {
  return [0xd2800000 + (value & 0xffff) * 32 + register, 0xf2a00000 + (value >>> 16) * 32 + register];
}

/** Little endian. */
function word(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff];
}
