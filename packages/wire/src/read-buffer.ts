/** Before the bytes of a read lie as many that are nobody's: whoever gets the read may put a header there. */
const headroomBytes = 64;

/**
 * Where every socket of this thread reads to. libuv reads and calls back synchronously, so one buffer serves all; 64 KiB
 * measured slower, 256 KiB no faster. With an HTTP/2 frame header in the headroom what was read goes on as eight TLS records, and not as
 * nine, the last of which has a few bytes.
 */
export const readBuffer: Buffer = Buffer.allocUnsafeSlow(128 * 1024).subarray(headroomBytes);

/**
 * A whole read with `bytes` (at most 64) before it that may be overwritten, as long as the read itself is borrowed. Undefined for
 * any other memory.
 */
export function withHeadroom(chunk: Uint8Array, bytes: number): Buffer | undefined {
  const isRead = chunk.buffer === readBuffer.buffer && chunk.byteOffset === readBuffer.byteOffset;
  if (!isRead || bytes > headroomBytes) return undefined;
  return Buffer.from(readBuffer.buffer, chunk.byteOffset - bytes, chunk.length + bytes);
}
