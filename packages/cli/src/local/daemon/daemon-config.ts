// What `hairpin up` tells the daemon: a JSON file in the state directory.

import { readFileSync } from "node:fs";
import type { AddressRanges } from "../fabric/address-plan.ts";

export interface DaemonConfig {
  readonly name: string;
  readonly stateDirectory: string;
  readonly nodeCount: number;
  /** IPv4 first; IPv6 second where wanted. */
  readonly ranges: readonly AddressRanges[];
  readonly trustDomain: string;
  readonly rootNamespace: string;
  readonly clusterDomain: string;
  readonly clusterId: string;
  readonly writableHost: boolean;
  /** False: no control, no ztunnel, no capture; only the fabric and the pods. */
  readonly meshParts: boolean;
  readonly logLevel: string;
}

export function readDaemonConfig(path: string): DaemonConfig {
  return JSON.parse(readFileSync(path, "utf8")) as DaemonConfig;
}
