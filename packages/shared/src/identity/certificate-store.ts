import { X509Certificate } from "node:crypto";
import { equalIdentity, formatSpiffeId, type Identity } from "../model/identity.ts";
import { backoffMs } from "../process/backoff.ts";
import { type Clock, systemClock, type Timer } from "../process/clock.ts";
import type { Component } from "../process/component.ts";
import { errorCode, errorMessage } from "../process/mesh-error.ts";
import { type Logger, noLogger } from "../telemetry/logger.ts";
import { type Certificate, decimalSerial, isValidAt, splitCertificates } from "./certificate.ts";
import type { CertificateSource } from "./certificate-authority.ts";
import { IdentityError } from "./errors.ts";
import { type FetchPriority, FetchQueue } from "./fetch-queue.ts";

/** As ztunnel retries certificates. */
const retryBounds = { firstMs: 1_000, maxMs: 150_000 };

export interface CertificateStoreComponents {
  readonly source: CertificateSource;
  readonly clock?: Clock;
  readonly logger?: Logger;
  /** [0, 1), for the backoff. */
  readonly random?: () => number;
}

export interface CertificateStoreOptions {
  /** Calls to the CA at once. Default 8, as ztunnel. */
  readonly concurrency?: number;
  /** Identities held. Default 10,000; a node has a few hundred. */
  readonly maxIdentities?: number;
}

/** One certificate as /config_dump shows it. */
export interface CertificateDump {
  readonly identity: string;
  readonly state: string;
  readonly certChain: readonly CertificateDumpEntry[];
  readonly rootCerts: readonly CertificateDumpEntry[];
}

export interface CertificateDumpEntry {
  /** Base64 of the PEM text. */
  readonly pem: string;
  /** Decimal. */
  readonly serialNumber: string;
  readonly validFrom: string;
  readonly expirationTime: string;
}

export type RenewedListener = (renewed: Certificate, previous: Certificate) => void;

/**
 * The certificates of this process's identities, kept valid.
 *
 * States of an identity: initializing (first fetch under way) → available (a valid certificate) → renewed at half life;
 * a failed renewal keeps the certificate and retries by backoff, never later than its end. initializing → unavailable when
 * the first fetch fails, available → unavailable when the certificate ends before a retry succeeded: callers then get the stored
 * error at once, until a retry succeeds.
 */
export class CertificateStore implements Component {
  readonly name = "certificate store";
  readonly #source: CertificateSource;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #random: () => number;
  readonly #queue: FetchQueue;
  readonly #maxIdentities: number;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Set<RenewedListener>();
  #stopped = false;

  constructor(components: CertificateStoreComponents, options: CertificateStoreOptions = {}) {
    this.#source = components.source;
    this.#clock = components.clock ?? systemClock;
    this.#logger = components.logger ?? noLogger;
    this.#random = components.random ?? Math.random;
    this.#queue = new FetchQueue(options.concurrency ?? 8);
    this.#maxIdentities = options.maxIdentities ?? 10_000;
  }

  async start(): Promise<void> {
    this.#stopped = false;
  }

  /** Forgets everything. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const entry of this.#entries.values()) this.#forget(entry);
  }

  /**
   * A valid certificate: the held one, or what the flight under way brings. Rejects with the source's error, at once while
   * a retry waits; with `CERTIFICATE_FORGOTTEN` after {@link forget}, with `CERTIFICATE_STORE_FULL` at the limit.
   */
  async fetch(identity: Identity, priority: FetchPriority = "realtime"): Promise<Certificate> {
    const held = this.find(identity);
    if (held !== undefined) return held;
    const entry = this.#entries.get(formatSpiffeId(identity)) ?? this.#create(identity);
    if (entry.flight === undefined && entry.failure !== undefined) throw entry.failure;
    const flight = entry.flight ?? this.#launch(entry, priority);
    this.#queue.raise(entry.key, priority);
    return await flight;
  }

  /** The held certificate while it is valid; undefined otherwise. Starts nothing. */
  find(identity: Identity): Certificate | undefined {
    const certificate = this.#entries.get(formatSpiffeId(identity))?.certificate;
    return certificate !== undefined && isValidAt(certificate, this.#clock.wallTime()) ? certificate : undefined;
  }

  /** Begins to hold the identity, before traffic needs it. Failures are logged and retried. */
  prefetch(identity: Identity): void {
    this.fetch(identity, "warmup").catch((error: unknown) => {
      // The CA's failures are logged where they occur, kept in the entry and told to whoever asks. Without an entry nobody would hear.
      if (errorCode(error) === "CERTIFICATE_STORE_FULL")
        this.#logger.warn("certificate not prefetched", { error: errorMessage(error) });
    });
  }

  /** Replaces every held certificate now, when its roots may be another set. Those held stay until the CA has answered. */
  renewAll(): void {
    for (const entry of this.#entries.values()) {
      const renew = (): void => {
        const isHeld = this.#entries.get(entry.key) === entry && entry.flight === undefined;
        if (isHeld) void this.#launch(entry, "background").catch(() => {});
      };
      // An answer that is under way may have been made before the change.
      if (entry.flight === undefined) renew();
      else entry.flight.then(renew, () => {});
    }
  }

  /** Stops renewing and drops the certificate; waiting callers get `CERTIFICATE_FORGOTTEN`. Unknown identity: nothing. */
  forget(identity: Identity): void {
    const entry = this.#entries.get(formatSpiffeId(identity));
    if (entry !== undefined) this.#forget(entry);
  }

  /** Calls back when a held certificate was replaced. Returns the way to stop. */
  onRenewed(listener: RenewedListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** In ztunnel's shape, sorted by identity. Holds no key. */
  list(): CertificateDump[] {
    const now = this.#clock.wallTime();
    return [...this.#entries.values()]
      .map((entry) => dump(entry, now))
      .toSorted((a, b) => (a.identity < b.identity ? -1 : 1));
  }

  #create(identity: Identity): Entry {
    if (this.#stopped) throw new IdentityError("CERTIFICATE_FORGOTTEN", "The certificate store has been stopped");
    if (this.#entries.size >= this.#maxIdentities) {
      const message = `No certificate for ${formatSpiffeId(identity)}: ${this.#entries.size} identities are held already`;
      throw new IdentityError("CERTIFICATE_STORE_FULL", message);
    }
    const entry: Entry = {
      key: formatSpiffeId(identity),
      identity,
      certificate: undefined,
      failure: undefined,
      failures: 0,
      flight: undefined,
      timer: undefined,
      abort: new AbortController(),
    };
    this.#entries.set(entry.key, entry);
    return entry;
  }

  #launch(entry: Entry, priority: FetchPriority): Promise<Certificate> {
    const { promise, resolve, reject } = Promise.withResolvers<Certificate>();
    // Whoever waits hears of it; a renewal has no waiters.
    promise.catch(() => {});
    entry.flight = promise;
    entry.timer?.cancel();
    const aborted = (): void => reject(forgotten(entry));
    entry.abort.signal.addEventListener("abort", aborted, { once: true });
    this.#queue.push(entry.key, priority, async () => {
      try {
        const certificate = await this.#source.fetchCertificate(entry.identity, { signal: entry.abort.signal });
        if (entry.abort.signal.aborted) return;
        checkObtained(certificate, entry, this.#clock.wallTime());
        this.#accept(entry, certificate);
        resolve(certificate);
      } catch (error) {
        if (entry.abort.signal.aborted) return;
        this.#fail(entry, error);
        reject(error);
      } finally {
        entry.abort.signal.removeEventListener("abort", aborted);
      }
    });
    return promise;
  }

  #accept(entry: Entry, certificate: Certificate): void {
    const previous = entry.certificate;
    entry.certificate = certificate;
    entry.failure = undefined;
    entry.failures = 0;
    entry.flight = undefined;
    this.#renewAt(entry, renewalTime(certificate, this.#clock.wallTime()));
    this.#logger.debug("certificate obtained", { identity: entry.key, expires: certificate.notAfter.toISOString() });
    if (previous === undefined) return;
    for (const listener of this.#listeners) this.#notify(listener, certificate, previous);
  }

  #notify(listener: RenewedListener, certificate: Certificate, previous: Certificate): void {
    try {
      listener(certificate, previous);
    } catch (error) {
      this.#logger.error("certificate listener failed", { error: errorMessage(error) });
    }
  }

  #fail(entry: Entry, error: unknown): void {
    entry.failures++;
    entry.failure = error instanceof Error ? error : new Error(String(error));
    entry.flight = undefined;
    const now = this.#clock.wallTime().getTime();
    const waitMs = backoffMs(entry.failures, retryBounds, this.#random);
    const end = entry.certificate?.notAfter.getTime() ?? 0;
    const isHeld = end > now;
    // Once more when the old certificate ends, if that is sooner (as ztunnel).
    const retryMs = Math.max(isHeld ? Math.min(waitMs, end - now) : waitMs, minWaitMs);
    this.#launchAfter(entry, retryMs, () => true);
    const fields = { identity: entry.key, error: errorMessage(error), retry_ms: Math.round(retryMs) };
    if (isHeld) this.#logger.warn("certificate renewal failed", fields);
    else this.#logger.error("certificate not available", fields);
  }

  /** Certificates live by the date, and the date can be set: long waits are cut, so that a change is noticed within the hour. */
  #renewAt(entry: Entry, due: Date): void {
    const leftMs = due.getTime() - this.#clock.wallTime().getTime();
    const waitMs = Math.min(Math.max(leftMs, minWaitMs), maxWaitMs);
    this.#launchAfter(entry, waitMs, () => {
      if (due <= this.#clock.wallTime()) return true;
      this.#renewAt(entry, due);
      return false;
    });
  }

  /** Launches the next fetch when `ms` have passed, whatever the date does, if `isDue` then says so. */
  #launchAfter(entry: Entry, ms: number, isDue: () => boolean): void {
    entry.timer?.cancel();
    const fire = (): void => {
      if (entry.flight === undefined && isDue()) void this.#launch(entry, "background").catch(() => {});
    };
    entry.timer = this.#clock.setTimer(ms, fire, { background: true });
  }

  #forget(entry: Entry): void {
    entry.timer?.cancel();
    this.#entries.delete(entry.key);
    this.#queue.remove(entry.key);
    entry.abort.abort(forgotten(entry));
  }
}

/** Near the end of a certificate neither half of the rest nor the retry may become a loop. */
const minWaitMs = 500;
const maxWaitMs = 3_600_000;

interface Entry {
  readonly key: string;
  readonly identity: Identity;
  certificate: Certificate | undefined;
  /** Why the last attempt failed; undefined after a success. */
  failure: Error | undefined;
  failures: number;
  /** The fetch under way. */
  flight: Promise<Certificate> | undefined;
  /** The next attempt. */
  timer: Timer | undefined;
  /** Aborted when the entry is forgotten. */
  readonly abort: AbortController;
}

function forgotten(entry: Entry): IdentityError {
  return new IdentityError(
    "CERTIFICATE_FORGOTTEN",
    `No certificate for ${entry.key}: the identity is not used any more`,
  );
}

/**
 * Half life, as ztunnel. When that is past on arrival (a short life, of which two backdated minutes are a large part; a CA whose
 * clock is behind): half of what is left, or the CA would be asked without end.
 */
function renewalTime(certificate: Certificate, now: Date): Date {
  const begin = certificate.notBefore.getTime();
  const end = certificate.notAfter.getTime();
  const halfLife = (begin + end) / 2;
  return new Date(halfLife > now.getTime() ? halfLife : (now.getTime() + end) / 2);
}

/** A source that promises too much must not make callers hold what peers refuse. */
function checkObtained(certificate: Certificate, entry: Entry, now: Date): void {
  const { identity, notBefore, notAfter } = certificate;
  if (!equalIdentity(identity, entry.identity))
    throw new IdentityError("CERTIFICATE_INVALID", `Asked for ${entry.key}, got ${formatSpiffeId(identity)}`);
  if (isValidAt(certificate, now)) return;
  const life = `from ${notBefore.toISOString()} to ${notAfter.toISOString()}`;
  throw new IdentityError(
    "CERTIFICATE_INVALID",
    `The certificate for ${entry.key} is valid ${life}, now is ${now.toISOString()}`,
  );
}

function dump(entry: Entry, now: Date): CertificateDump {
  const { certificate, failure } = entry;
  const isHeld = certificate !== undefined && isValidAt(certificate, now);
  if (!isHeld) {
    const state = failure === undefined ? "Initializing" : `Unavailable: ${errorMessage(failure)}`;
    return { identity: entry.key, state, certChain: [], rootCerts: [] };
  }
  return {
    identity: entry.key,
    state: "Available",
    certChain: splitCertificates(certificate.chainPem).map((pem) => dumpCertificate(pem)),
    rootCerts: certificate.rootsPem.map((pem) => dumpCertificate(pem)),
  };
}

function dumpCertificate(pem: string): CertificateDumpEntry {
  const certificate = new X509Certificate(pem);
  return {
    pem: Buffer.from(pem).toString("base64"),
    serialNumber: decimalSerial(certificate),
    validFrom: wholeSeconds(certificate.validFromDate),
    expirationTime: wholeSeconds(certificate.validToDate),
  };
}

function wholeSeconds(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, "Z");
}
