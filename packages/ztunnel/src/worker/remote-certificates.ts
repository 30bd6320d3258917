import { type Certificate, isValidAt } from "@hairpin/shared/identity";
import { formatSpiffeId, type Identity } from "@hairpin/shared/model";
import type { Clock } from "@hairpin/shared/process";
import type { CertificateProvider } from "../local-certificates.ts";

/**
 * The certificates that a worker uses: main holds and renews them; here is a copy of each that was needed once, so that a
 * connection costs no message. Keys stay in the process.
 */
export class RemoteCertificates implements CertificateProvider {
  readonly #ask: (identity: Identity) => Promise<Certificate>;
  readonly #clock: Clock;
  readonly #held = new Map<string, Certificate>();
  readonly #flights = new Map<string, Promise<Certificate>>();

  constructor(ask: (identity: Identity) => Promise<Certificate>, clock: Clock) {
    this.#ask = ask;
    this.#clock = clock;
  }

  /** Rejects with what main's store says. */
  async fetch(identity: Identity): Promise<Certificate> {
    const key = formatSpiffeId(identity);
    const held = this.#held.get(key);
    if (held && isValidAt(held, this.#clock.wallTime())) return held;
    const flight = this.#flights.get(key) ?? this.#launch(key, identity);
    return await flight;
  }

  /** Main has it fetched in advance; asking it later costs a message. */
  prefetch(): void {}

  forget(identity: Identity): void {
    const key = formatSpiffeId(identity);
    this.#held.delete(key);
    this.#flights.delete(key);
  }

  /** Takes a newer one for an identity that is in use here. */
  renewed(certificate: Certificate): void {
    const key = formatSpiffeId(certificate.identity);
    if (this.#held.has(key)) this.#held.set(key, certificate);
  }

  #launch(key: string, identity: Identity): Promise<Certificate> {
    const flight = this.#ask(identity).then((certificate) => {
      if (this.#flights.get(key) === flight) this.#held.set(key, certificate);
      return certificate;
    });
    this.#flights.set(key, flight);
    const over = (): void => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    };
    flight.then(over, over);
    return flight;
  }
}
