/**
 * Memory that all connections of a thread share. Every call into OpenSSL is synchronous and its result is used up before
 * the next one, so one read BIO, one output ring and one plaintext buffer serve them all, and an idle connection holds
 * none of it. Made on first use, kept as long as the thread.
 */
import koffi from "koffi";
import { addressOf, allocate } from "../memory.ts";
import { BIO_C_SET_BUF_MEM, BIO_CTRL_PENDING, BIO_NOCLOSE } from "./constants.ts";
import { libssl } from "./libssl.ts";
import { OpensslError } from "./openssl-error.ts";

/** Most ciphertext that one call of `receive` takes, bytes. */
export const maxReceiveBytes: number = 256 * 1024;
/** Most plaintext that one call of `send` takes, bytes. */
export const maxSendBytes: number = 256 * 1024;

const recordBytes = 16 * 1024;
/** Header, content type and tag of a TLS 1.3 record (RFC 8446 §5.2), and OpenSSL's own slack. */
const recordOverhead = 64;
const ringBytes = (maxSendBytes / recordBytes + 4) * (recordBytes + recordOverhead);
/** Plaintext of one read, and of the record that an earlier read began. */
const plaintextBytes = maxReceiveBytes + 2 * recordBytes;

export interface ThreadMemory {
  /** Reads what {@link lay} laid under it; asks to try again at the end. */
  readonly readBio: number;
  /** Writes into the ring. */
  readonly writeBio: number;
  readonly plaintext: Uint8Array<ArrayBuffer>;
  readonly plaintextAddress: number;
  /** Three machine words for results through pointers. */
  readonly results: DataView;
  readonly resultsAddress: number;
  /** Lays the read BIO over bytes, which must stay where they are until they are read. */
  lay(bytes: Uint8Array): void;
  /** Bytes under the read BIO that nobody has read. */
  unread(): number;
  /** What was written since the last call; borrowed until the next write. Undefined: nothing. */
  takeOutput(): Uint8Array | undefined;
}

let memory: ThreadMemory | undefined;

export function threadMemory(): ThreadMemory {
  memory ??= createThreadMemory();
  return memory;
}

function createThreadMemory(): ThreadMemory {
  const ssl = libssl();
  const resultBytes = allocate(24);
  const results = new DataView(resultBytes.buffer);
  const resultsAddress = Number(addressOf(resultBytes));
  const plaintext = allocate(plaintextBytes);
  const readBio = required(ssl.BIO_new(ssl.BIO_s_mem()), "BIO_new");
  required(ssl.BIO_new_bio_pair(resultsAddress, ringBytes, resultsAddress + 8, 512), "BIO_new_bio_pair");
  const writeBio = readAddress(results, 0);
  const drainBio = readAddress(results, 8);
  // The ring starts again at its beginning whenever it is empty, and every call empties it: one view is enough.
  required(ssl.BIO_nwrite0(writeBio, resultsAddress), "BIO_nwrite0");
  const ring = new Uint8Array(koffi.view(BigInt(readAddress(results, 0)), ringBytes));
  // BUF_MEM of buffer.h: { size_t length; char *data; size_t max; unsigned long flags }.
  const overlayBytes = allocate(32);
  const overlay = new DataView(overlayBytes.buffer);
  const overlayAddress = Number(addressOf(overlayBytes));
  let laidBuffer: ArrayBufferLike | undefined;
  let laidAddress = 0;
  return {
    readBio,
    writeBio,
    plaintext,
    plaintextAddress: Number(addressOf(plaintext)),
    results,
    resultsAddress,
    lay(bytes) {
      if (bytes.buffer !== laidBuffer) {
        laidBuffer = bytes.buffer;
        laidAddress = Number(koffi.address(bytes.buffer));
      }
      writeWord(overlay, 0, bytes.length);
      writeWord(overlay, 8, laidAddress + bytes.byteOffset);
      writeWord(overlay, 16, bytes.length);
      ssl.BIO_ctrl(readBio, BIO_C_SET_BUF_MEM, BIO_NOCLOSE, overlayAddress);
    },
    unread: () => ssl.BIO_ctrl(readBio, BIO_CTRL_PENDING, 0, 0),
    takeOutput() {
      const length = ssl.BIO_nread(drainBio, resultsAddress, ringBytes);
      return length > 0 ? ring.subarray(0, length) : undefined;
    },
  };
}

function readAddress(words: DataView, offset: number): number {
  return words.getUint32(offset, true) + words.getUint32(offset + 4, true) * 2 ** 32;
}

export function writeWord(words: DataView, offset: number, value: number): void {
  words.setUint32(offset, value % 2 ** 32, true);
  words.setUint32(offset + 4, Math.floor(value / 2 ** 32), true);
}

function required(result: number, what: string): number {
  if (result === 0) throw new OpensslError("OPENSSL_UNAVAILABLE", `${what} failed: out of memory?`);
  return result;
}
