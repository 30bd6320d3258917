import type { Clock } from "@hairpin/shared/process";
import { delay, errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { Condition, KubernetesObject } from "../collection/kubernetes-object.ts";
import { Memo } from "../collection/memo.ts";
import type { Leadership } from "./leadership.ts";
import { ownConditionTypes } from "./own-conditions.ts";
import type { StatusUpdate } from "./status-update.ts";

/** Field manager of everything that control writes. */
export const statusManager = "control";

/** What is written for one object. */
export interface StatusWrite {
  readonly apiVersion: string;
  readonly kind: string;
  /** Left out for kinds without namespace. */
  readonly namespace?: string;
  readonly name: string;
  readonly manager: string;
  readonly conditions: readonly Condition[];
  readonly merge?: Readonly<Record<string, unknown>>;
}

/** Where statuses go. Rejects when a write failed and may be tried again; an object that is gone is no failure. */
export interface StatusSink {
  write(write: StatusWrite): Promise<void>;
}

const retryDelaysMs: readonly number[] = [50, 200, 1000, 5000];
const maxWritesAtOnce = 8;

/**
 * Writes statuses when they differ from what the object shows, the latest only, with retries. A write that is already under
 * way or was made and is not seen back yet is not repeated.
 */
export class StatusWriter {
  readonly #sink: StatusSink;
  readonly #leadership: Leadership;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #stopped = new AbortController();
  readonly #prepared = new Memo<StatusUpdate, PreparedStatus>();
  /** By object: what waits to be written. */
  readonly #queue = new Map<string, StatusWrite>();
  /** By object: what was written last, until the object shows it. */
  readonly #written = new Map<string, string>();
  /** By object: the write under way; never two for one object, or the older could land last. */
  readonly #active = new Map<string, Promise<void>>();

  constructor(components: {
    readonly sink: StatusSink;
    readonly leadership: Leadership;
    readonly clock: Clock;
    readonly logger: Logger;
  }) {
    this.#sink = components.sink;
    this.#leadership = components.leadership;
    this.#clock = components.clock;
    this.#logger = components.logger;
  }

  /** Everything that control says now; statuses of objects not named are left alone. Nothing is written without the lead. */
  update(updates: readonly StatusUpdate[]): void {
    if (!this.#leadership.leading) {
      this.#queue.clear();
      this.#written.clear();
      return;
    }
    const named = new Set<string>();
    for (const update of merged(updates)) {
      const { key, write, text, shown } = this.#prepared.get(update, [], () => prepare(update));
      named.add(key);
      if (shown) {
        this.#written.delete(key);
        this.#queue.delete(key);
      } else if (this.#written.get(key) !== text) {
        this.#written.set(key, text);
        this.#queue.set(key, write);
      }
    }
    for (const key of this.#written.keys()) if (!named.has(key)) this.#written.delete(key);
    for (const key of this.#queue.keys()) if (!named.has(key)) this.#queue.delete(key);
    this.#start();
  }

  /** Resolves when nothing is under way or waiting. */
  async whenIdle(): Promise<void> {
    while (this.#active.size > 0) await Promise.all(this.#active.values());
  }

  async stop(): Promise<void> {
    this.#queue.clear();
    this.#stopped.abort();
    await this.whenIdle();
  }

  get #mayWrite(): boolean {
    return this.#leadership.leading && !this.#stopped.signal.aborted;
  }

  #start(): void {
    for (const key of this.#queue.keys()) {
      if (this.#active.size >= maxWritesAtOnce || !this.#mayWrite) return;
      if (this.#active.has(key)) continue;
      const work = this.#writeLatest(key).finally(() => {
        this.#active.delete(key);
        this.#start();
      });
      this.#active.set(key, work);
    }
  }

  /** Until a write succeeds; each attempt is with the newest status. */
  async #writeLatest(key: string): Promise<void> {
    let write = this.#queue.get(key);
    for (let attempt = 0; write !== undefined && this.#mayWrite; attempt++) {
      this.#queue.delete(key);
      try {
        return await this.#sink.write(write);
      } catch (error) {
        this.#logger.warn("status could not be written", { object: key, attempt, error: errorMessage(error) });
        const wait = retryDelaysMs[Math.min(attempt, retryDelaysMs.length - 1)] ?? 5000;
        await delay(this.#clock, wait, this.#stopped.signal).catch(() => undefined);
        write = this.#queue.get(key) ?? write;
      }
    }
  }
}

/** One object may get conditions from several builders. */
function merged(updates: readonly StatusUpdate[]): StatusUpdate[] {
  const byObject = Map.groupBy(updates, ({ object }) => keyOf(object));
  return [...byObject.values()].flatMap((group) => {
    const [first, ...others] = group;
    if (first === undefined || others.length === 0) return group;
    return [
      {
        object: first.object,
        conditions: group.flatMap(({ conditions }) => conditions),
        ...(group.some(({ merge }) => merge !== undefined)
          ? { merge: Object.assign({}, ...group.map(({ merge }) => merge ?? {})) as Record<string, unknown> }
          : {}),
      },
    ];
  });
}

interface PreparedStatus {
  readonly key: string;
  readonly write: StatusWrite;
  /** What is written, and over which version of the object. */
  readonly text: string;
  /** The object says it already. */
  readonly shown: boolean;
}

function prepare(update: StatusUpdate): PreparedStatus {
  const { object } = update;
  const write = toWrite(update);
  const text = `${fingerprint(write)}@${object.metadata.resourceVersion ?? ""}`;
  return { key: keyOf(object), write, text, shown: isShown(update, write) };
}

function toWrite({ object, conditions, merge }: StatusUpdate): StatusWrite {
  const { generation, name, namespace } = object.metadata;
  const observed = generation === undefined ? {} : { observedGeneration: generation };
  return {
    apiVersion: object.apiVersion,
    kind: object.kind,
    ...(namespace === undefined || namespace === "" ? {} : { namespace }),
    name,
    manager: statusManager,
    conditions: conditions.map((condition) => ({ ...condition, ...observed })),
    ...(merge === undefined ? {} : { merge }),
  };
}

interface ShownStatus {
  readonly conditions?: readonly Condition[];
}

/** The object already says exactly this. */
function isShown({ object }: StatusUpdate, write: StatusWrite): boolean {
  const status = ((object as { readonly status?: unknown }).status ?? {}) as ShownStatus & Record<string, unknown>;
  const shown = status.conditions ?? [];
  const sameConditions = write.conditions.every((wanted) =>
    shown.some(
      (held) =>
        held.type === wanted.type &&
        held.status === wanted.status &&
        held.reason === wanted.reason &&
        held.message === wanted.message &&
        held.observedGeneration === wanted.observedGeneration,
    ),
  );
  const wantedTypes = new Set(write.conditions.map(({ type }) => type));
  const stale = shown.some(({ type }) => ownConditionTypes.test(type) && !wantedTypes.has(type));
  const sameFields = Object.entries(write.merge ?? {}).every(
    ([field, value]) => canonical(status[field] ?? []) === canonical(value),
  );
  return sameConditions && !stale && sameFields;
}

/** Without times: a condition that flips is stamped anew until the object shows it. */
function fingerprint(write: StatusWrite): string {
  return canonical({ conditions: write.conditions, merge: write.merge }, "lastTransitionTime");
}

/** JSON with sorted keys. */
function canonical(value: unknown, without?: string): string {
  return JSON.stringify(value, (key, item: unknown) => {
    if (key === without) return undefined;
    return isPlainObject(item) ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1))) : item;
  });
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function keyOf(object: KubernetesObject): string {
  return `${object.kind}/${object.metadata.namespace ?? ""}/${object.metadata.name}/${object.metadata.uid ?? ""}`;
}
