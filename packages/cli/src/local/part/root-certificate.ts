// Follows the root certificate that control writes, so that it can be given to pods.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { rootCertKey } from "@hairpin/control/deploy";

/** How often the file is looked at: often until it is there, seldom afterwards (roots change once in years). */
const firstPollMs = 20;
const laterPollMs = 10_000;

export class RootCertificate {
  readonly #path: string;
  readonly #onChange: () => void;
  #pem: string | undefined;

  constructor(controlFolder: string, onChange: () => void) {
    this.#path = join(controlFolder, rootCertKey);
    this.#onChange = onChange;
  }

  get pem(): string | undefined {
    return this.#pem;
  }

  start(): void {
    const pem = readIfPresent(this.#path);
    if (pem !== undefined && pem !== this.#pem) {
      this.#pem = pem;
      this.#onChange();
    }
    setTimeout(() => this.start(), this.#pem === undefined ? firstPollMs : laterPollMs).unref();
  }
}

/** Control replaces the file as a whole. */
function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
