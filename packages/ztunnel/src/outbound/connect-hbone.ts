import { connectHeader, formatBaggage, formatForwarded, type Tunnel, type WorkloadBaggage } from "@hairpin/hbone";
import type { SocketAddress, Workload } from "@hairpin/shared/model";
import { createTraceContext, formatTraceparent } from "@hairpin/shared/telemetry";
import type { HeaderList } from "@hairpin/wire";
import type { PodContext } from "../pod-context.ts";
import type { HbonePlan } from "./plan-connection.ts";

export interface HboneCall {
  /** The pod that connects. */
  readonly source: Workload;
  /** The application's socket. */
  readonly downstream: SocketAddress;
  readonly plan: HbonePlan;
}

/** A tunnel for one connection, from the pod's pool. Rejects with hbone's errors or `CERTIFICATE_UNAVAILABLE`. */
export async function connectHbone(pod: PodContext, call: HboneCall): Promise<Tunnel> {
  const { source, plan, downstream } = call;
  const sourceIdentity = {
    trustDomain: source.trustDomain,
    namespace: source.namespace,
    serviceAccount: source.serviceAccount,
  };
  const target = {
    sourceIdentity,
    expectedIdentities: plan.expectedIdentities,
    address: plan.address,
    sourceIp: downstream.ip,
    connectSocket: (timeoutMs: number) => pod.network.connect(plan.address, { timeoutMs }),
  };
  return await pod.dialer.dial(target, { authority: plan.authority, headers: connectHeaders(call) });
}

/** `forwarded`, `baggage` and `traceparent`, as ztunnel sends them (ztunnel.md §3.4). */
function connectHeaders({ source, downstream, plan }: HboneCall): HeaderList {
  const forwarded = { for: downstream, ...(plan.service ? { host: plan.service.hostname } : {}) };
  return [
    { name: connectHeader.forwarded, value: formatForwarded(forwarded) },
    { name: connectHeader.baggage, value: workloadBaggage(source) },
    { name: connectHeader.traceparent, value: freshTraceparent() },
  ];
}

/** A workload that changes is another object. */
const baggageTexts = new WeakMap<Workload, string>();

/** What a workload says of itself to the other side's telemetry: the value of a `baggage` header. */
export function workloadBaggage(workload: Workload): string {
  let text = baggageTexts.get(workload);
  if (text === undefined) {
    text = formatBaggage(describeWorkload(workload));
    baggageTexts.set(workload, text);
  }
  return text;
}

function describeWorkload(workload: Workload): WorkloadBaggage {
  return {
    clusterName: workload.clusterId,
    namespace: workload.namespace,
    workloadName: workload.workloadName,
    workloadType: baggageTypes[workload.workloadType],
    serviceName: workload.canonicalName,
    serviceVersion: workload.canonicalRevision,
    region: workload.locality.region,
    zone: workload.locality.zone,
  };
}

const baggageTypes = { DEPLOYMENT: "deployment", CRONJOB: "cronjob", POD: "pod", JOB: "job" } as const;

/** Not sampled: it only ties the log lines of the two sides together. */
export function freshTraceparent(): string {
  return formatTraceparent(createTraceContext());
}
