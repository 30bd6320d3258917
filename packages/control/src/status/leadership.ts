/** Whether this replica of control writes: one of several does, and all serve. */
export interface Leadership {
  /** False as soon as another may have taken over, whether or not that could be learned. */
  readonly leading: boolean;
  /** Returns what takes the listener off. */
  onChange(listener: () => void): () => void;
}

/** Of a control that is alone. */
export const soleLeader: Leadership = { leading: true, onChange: () => () => {} };
