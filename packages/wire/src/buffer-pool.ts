/** Buffers that wait for a slow peer, reused instead of left to the garbage collector. One pool a thread. */
export interface BufferPoolStats {
  /** Bytes of buffers handed out and not given back. */
  readonly bytesInUse: number;
  readonly buffersInUse: number;
  /** Bytes of buffers kept for reuse; never above the pool's limit. */
  readonly bytesFree: number;
  readonly buffersFree: number;
}
