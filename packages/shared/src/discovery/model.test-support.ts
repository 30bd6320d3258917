/** Model values for tests of this folder, with the wire's defaults for what is not given. */
import { create } from "@bufbuild/protobuf";
import { istioWorkload } from "../api/index.ts";
import type { AuthorizationPolicy, GatewayAddress, PolicyMatch, Service, Workload } from "../model/index.ts";
import { ipBytes } from "../model/index.ts";
import { type Clock, type Timer } from "../process/index.ts";
import { MeshState, type MeshStateOptions } from "./mesh-state.ts";
import { serviceFromWire } from "./service-from-wire.ts";
import { policyToWire, serviceToWire, workloadToWire } from "./to-wire.ts";
import { workloadFromWire } from "./workload-from-wire.ts";

/** Pod `ns/web-1` at 10.0.0.1, HBONE, service account `web`. */
export function aWorkload(fields: Partial<Workload> = {}): Workload {
  const wire = create(istioWorkload.WorkloadSchema, {
    uid: "Kubernetes//Pod/ns/web-1",
    name: "web-1",
    namespace: "ns",
    addresses: [ipBytes("10.0.0.1")],
    tunnelProtocol: istioWorkload.TunnelProtocol.HBONE,
    serviceAccount: "web",
    node: "node-1",
  });
  return { ...workloadFromWire(wire), ...fields };
}

/** Service `ns/web.ns.svc` at 10.96.0.1, port 80 → 8080, canonical. */
export function aService(fields: Partial<Service> = {}): Service {
  const wire = create(istioWorkload.ServiceSchema, {
    name: "web",
    namespace: "ns",
    hostname: "web.ns.svc",
    addresses: [{ address: ipBytes("10.96.0.1") }],
    ports: [{ servicePort: 80, targetPort: 8080 }],
    canonical: true,
  });
  return { ...serviceFromWire(wire), ...fields };
}

/** `ns/policy`: DENY everything, by selector. */
export function aPolicy(fields: Partial<AuthorizationPolicy> = {}): AuthorizationPolicy {
  const everything = [{ clauses: [] }];
  const base = { name: "policy", namespace: "ns", dryRun: false, rules: everything };
  return { ...base, scope: "WORKLOAD_SELECTOR", action: "DENY", ...fields };
}

export function gatewayByHostname(namespace: string, hostname: string, hboneMtlsPort = 15008): GatewayAddress {
  return { destination: { kind: "hostname", hostname: { namespace, hostname } }, hboneMtlsPort };
}

export function gatewayByIp(ip: string, hboneMtlsPort = 15008): GatewayAddress {
  return { destination: { kind: "address", address: { network: "", ip } }, hboneMtlsPort };
}

export interface Contents {
  readonly workloads?: readonly Workload[];
  readonly services?: readonly Service[];
  readonly policies?: readonly AuthorizationPolicy[];
  readonly removed?: readonly string[];
}

/** Puts values into a state the way xDS does; returns what was refused. */
export function put(state: MeshState, contents: Contents): ReadonlyMap<string, string> {
  const rest = { removed: contents.removed ?? [], undecodable: [], firstOfStream: false };
  const rejectedPolicies = state.applyAuthorization({
    ...rest,
    upserts: (contents.policies ?? []).map((policy) => ({
      name: `${policy.namespace}/${policy.name}`,
      version: "1",
      resource: policyToWire(policy),
    })),
  });
  const rejected = state.applyAddress({
    ...rest,
    upserts: [
      ...(contents.services ?? []).map((service) => ({
        name: `${service.namespace}/${service.hostname}`,
        version: "1",
        resource: serviceToWire(service),
      })),
      ...(contents.workloads ?? []).map((workload) => ({
        name: workload.uid,
        version: "1",
        resource: workloadToWire(workload),
      })),
    ],
  });
  return new Map([...rejectedPolicies, ...rejected]);
}

export function createState(contents: Contents = {}, options: MeshStateOptions = {}): MeshState & { clock: StepClock } {
  const clock = new StepClock();
  const state = Object.assign(new MeshState({ clock }, options), { clock });
  put(state, contents);
  return state;
}

/** Timers fire only when the test moves the time. */
export class StepClock implements Clock {
  #now = 0;
  readonly #timers = new Set<{ at: number; callback: () => void }>();

  get pending(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#now;
  }

  wallTime(): Date {
    return new Date(this.#now);
  }

  setTimer(ms: number, callback: () => void): Timer {
    const timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  advance(ms: number): void {
    this.#now += ms;
    for (const timer of this.#timers)
      if (timer.at <= this.#now) {
        this.#timers.delete(timer);
        timer.callback();
      }
  }
}

export function aMatch(fields: Partial<PolicyMatch>): PolicyMatch {
  const none: PolicyMatch = {
    namespaces: [],
    notNamespaces: [],
    principals: [],
    notPrincipals: [],
    serviceAccounts: [],
    notServiceAccounts: [],
    sourceIps: [],
    notSourceIps: [],
    destinationIps: [],
    notDestinationIps: [],
    destinationPorts: [],
    notDestinationPorts: [],
  };
  return { ...none, ...fields };
}
