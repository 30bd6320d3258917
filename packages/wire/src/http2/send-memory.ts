let queuedBytes = 0;

/**
 * What the sessions of this thread hold unsent, all together: their own limits would let an attacker with many sessions fill the
 * memory. Exact: whatever is added is taken off again when it is serialised or its stream ends.
 */
export const threadSendMemory = {
  get queuedBytes(): number {
    return queuedBytes;
  },
  add(bytes: number): void {
    queuedBytes += bytes;
  },
};
