import koffi from "koffi";

/**
 * Memory that C may read and write. It is always an ArrayBuffer of its own: a small typed array made by length lives on
 * V8's heap, and the garbage collector moves it while C holds its address.
 */
export function allocate(byteLength: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(byteLength));
}

/** The address of memory made by {@link allocate}, valid as long as the array is reachable. */
export function addressOf(memory: Uint8Array<ArrayBuffer>): bigint {
  return koffi.address(memory);
}
