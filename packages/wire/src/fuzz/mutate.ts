import type { Random } from "./random.ts";

const interestingBytes = [0, 1, 0x0a, 0x0d, 0x20, 0x7f, 0x80, 0xff];
const maxInputBytes = 16 * 1024;

export interface MutationMaterial {
  readonly corpus: readonly Uint8Array[];
  readonly dictionary: readonly Uint8Array[];
}

type Mutation = (input: Buffer, random: Random, material: MutationMaterial) => Buffer;

const mutations: readonly Mutation[] = [
  (input, random) => edit(input, random, (byte) => byte ^ (1 << random.int(8))),
  (input, random) => edit(input, random, () => random.int(256)),
  (input, random) => edit(input, random, () => random.pick(interestingBytes)),
  (input, random) => edit(input, random, (byte) => byte + random.int(9) - 4),
  (input, random) => remove(input, random),
  (input, random) => insert(input, random, Buffer.from([random.int(256)])),
  (input, random) => insert(input, random, slice(input, random)),
  (input, random, { corpus }) => insert(input, random, slice(random.pick(corpus), random)),
  (input, random, { corpus }) => {
    const other = random.pick(corpus);
    return Buffer.concat([input.subarray(0, random.int(input.length + 1)), slice(other, random)]);
  },
  (input, random, { dictionary }) =>
    dictionary.length === 0 ? input : insert(input, random, Buffer.from(random.pick(dictionary))),
  (input, random, { dictionary }) =>
    dictionary.length === 0 ? input : overwrite(input, random, Buffer.from(random.pick(dictionary))),
];

/** A changed copy of `input`: one to eight mutations, at most 16 KiB. */
export function mutate(input: Uint8Array, random: Random, material: MutationMaterial): Buffer {
  let output: Buffer = Buffer.from(input);
  for (let left = 1 << random.int(4); left > 0; left--) output = random.pick(mutations)(output, random, material);
  return output.subarray(0, maxInputBytes);
}

function edit(input: Buffer, random: Random, change: (byte: number) => number): Buffer {
  if (input.length === 0) return input;
  const at = random.int(input.length);
  input[at] = change(input[at] as number);
  return input;
}

function slice(input: Uint8Array, random: Random): Buffer {
  const start = random.int(input.length + 1);
  return Buffer.from(input.subarray(start, start + 1 + random.int(input.length - start + 1)));
}

function insert(input: Buffer, random: Random, bytes: Uint8Array): Buffer {
  const at = random.int(input.length + 1);
  return Buffer.concat([input.subarray(0, at), bytes, input.subarray(at)]);
}

function overwrite(input: Buffer, random: Random, bytes: Uint8Array): Buffer {
  const at = random.int(input.length + 1);
  return Buffer.concat([input.subarray(0, at), bytes, input.subarray(at + bytes.length)]);
}

function remove(input: Buffer, random: Random): Buffer {
  const start = random.int(input.length + 1);
  const end = start + 1 + random.int(random.chance(4) ? 64 : 4);
  return Buffer.concat([input.subarray(0, start), input.subarray(end)]);
}
