/** Where objects come from: it fills an ObjectCollection and keeps it in step until stopped. */
export interface ObjectSource {
  /** For logs: `store:/run/…`. */
  readonly name: string;
  /** Resolves at once; the first full listing arrives later (ObjectCollection.synced). */
  start(): Promise<void>;
  stop(): Promise<void>;
}
