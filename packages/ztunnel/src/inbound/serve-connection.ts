import { relay } from "@hairpin/hbone";
import type { ConnectionFacts, Decision } from "@hairpin/shared/authz";
import type { MeshLookup } from "@hairpin/shared/discovery";
import type { Identity, Service, SocketAddress, Workload } from "@hairpin/shared/model";
import { errorCode } from "@hairpin/shared/process";
import type { ResponseFlag } from "@hairpin/shared/telemetry";
import type { ByteChannel } from "@hairpin/wire";
import type { DataPath, PodContext } from "../pod-context.ts";
import { ZtunnelError } from "../response-flag.ts";
import type { ConnectionDescription } from "../telemetry/connection-description.ts";
import type { ObservedConnection } from "../telemetry/connection-telemetry.ts";
import { connectApplication } from "./connect-application.ts";
import { dialHairpin } from "./hairpin.ts";
import { type DeliverPlan, type HairpinPlan, planInbound, reasonToClose, type RefusePlan } from "./plan-connection.ts";
import type { InboundTarget } from "./resolve-target.ts";

/** One call to a pod, as a tunnel's CONNECT or as a plaintext connection. Answer it once, by `accept` or `refuse`. */
export interface InboundAttempt {
  readonly openedAt: number;
  /** The direct caller's socket. */
  readonly source: SocketAddress;
  /** The address it reached us at. */
  readonly local: SocketAddress;
  /** Undefined: plaintext. */
  readonly peerIdentity: Identity | undefined;
  /** The authority of the tunnel, for logs. */
  readonly hboneAddress: string | undefined;
  /** The service host name that the caller says it addressed. */
  readonly claimedHost: string | undefined;
  readonly hairpinFor: readonly string[];
  /** True once the caller went away. */
  readonly closed: boolean;
  resolve(local: Workload): InboundTarget | RefusePlan;
  /** Lets the caller through. Call it only when the upstream is connected. */
  accept(local: Workload): ByteChannel;
  refuse(status: RefusePlan["status"]): void;
}

/**
 * Decides one inbound call, dials the application or the waypoint, and relays until the end. Rejects only for faults of
 * our own; the caller then closes the connection.
 */
export async function serveInbound(attempt: InboundAttempt, pod: PodContext, path: DataPath): Promise<void> {
  const local = await path.mesh.fetchWorkloadByPod(pod.info, path.options.workloadWaitMs);
  if (!local) {
    const { namespace, name } = pod.info;
    refuseEarly(attempt, 503, `failed to fetch information about local workload ${namespace}/${name}`, path);
    return;
  }
  const target = attempt.resolve(local);
  if (target.kind === "refuse") {
    refuseEarly(attempt, target.status, target.reason, path);
    return;
  }
  const facts: ConnectionFacts = {
    sourceIdentity: attempt.peerIdentity,
    sourceIp: attempt.source.ip,
    destinationIp: target.address.ip,
    destinationPort: target.address.port,
  };
  const observed = path.telemetry.open(describe(attempt, local, target, path), attempt.openedAt);
  try {
    await decideAndServe({ attempt, target, facts, local, observed }, pod, path);
  } catch (error) {
    // A fault of ours: counted and logged as this connection's, then told to the listener.
    observed.close({ error });
    throw error;
  }
}

type KnownCall = Omit<AllowedCall, "plan" | "generation">;

async function decideAndServe(call: KnownCall, pod: PodContext, path: DataPath): Promise<void> {
  const { attempt, target, facts, observed } = call;
  const { generation } = path.mesh;
  const decision = await path.mesh.authorizeWhenKnown(call.local, facts, path.options.policyWaitMs);
  logDryRun(decision, facts, path);
  // The wait may have brought a new entry of the workload, with another enforcement.
  const local = path.mesh.findWorkloadByUid(call.local.uid) ?? call.local;
  const { peerIdentity, hairpinFor } = attempt;
  const plan = planInbound({ local, peerIdentity, target, hairpinFor }, decision);
  if (plan.kind === "refuse") {
    attempt.refuse(plan.status);
    observed.close({ error: refusal(plan.reason, plan.flag), decision });
    return;
  }
  await connectAndRelay({ ...call, plan, local, generation }, pod, path);
}

interface AllowedCall {
  readonly attempt: InboundAttempt;
  readonly target: InboundTarget;
  readonly facts: ConnectionFacts;
  readonly plan: DeliverPlan | HairpinPlan;
  readonly local: Workload;
  /** Of the mesh before the call was decided. */
  readonly generation: number;
  readonly observed: ObservedConnection;
}

async function connectAndRelay(call: AllowedCall, pod: PodContext, path: DataPath): Promise<void> {
  const { attempt, observed, plan } = call;
  const hairpin = plan.kind === "hairpin" ? plan.waypoint : undefined;
  let upstream: { readonly channel: ByteChannel; readonly address: SocketAddress };
  try {
    upstream = await connectUpstream(call, pod, path);
  } catch (error) {
    attempt.refuse(plan.kind === "hairpin" ? statusOfWaypoint(error) : 503);
    observed.close({ error, hairpin });
    return;
  }
  const obstacle = obstacleSinceDecision(call, pod, path);
  if (obstacle) {
    upstream.channel.destroy();
    attempt.refuse(obstacle.status);
    observed.close({ error: obstacle.error, hairpin });
    return;
  }
  const downstream = attempt.accept(call.local);
  let closeError: Error | undefined;
  const untrack = path.table.trackInbound({
    podUid: pod.uid,
    source: attempt.source,
    originalDestination: namedService(call, path.mesh)?.hostname,
    actualDestination: upstream.address,
    protocol: attempt.hboneAddress === undefined ? "TCP" : "HBONE",
    local: call.local,
    facts: call.facts,
    hairpinned: plan.kind === "hairpin",
    close: (error) => {
      closeError ??= error;
      downstream.destroy(error);
      upstream.channel.destroy(error);
    },
  });
  const result = await relay(downstream, upstream.channel, observed.counters);
  untrack();
  observed.close({ error: closeError ?? result.error, hairpin });
}

async function connectUpstream(
  { attempt, target, plan, local }: AllowedCall,
  pod: PodContext,
  path: DataPath,
): Promise<{ readonly channel: ByteChannel; readonly address: SocketAddress }> {
  if (plan.kind === "hairpin") {
    const source = { identity: attempt.peerIdentity, address: attempt.source };
    const leg = await dialHairpin(plan, { local, podAddress: target.address, source }, pod, path);
    return { channel: leg.tunnel, address: leg.address };
  }
  const caller = { address: attempt.source, identity: attempt.peerIdentity };
  const channel = await connectApplication(pod, target, caller, path.options.connectTimeoutMs);
  return { channel, address: target.address };
}

/** What came between the decision and the connected upstream: the caller or the pod left, or the rules changed. */
function obstacleSinceDecision(
  { attempt, facts, plan, local, generation }: AllowedCall,
  pod: PodContext,
  { mesh }: DataPath,
): { readonly status: 401 | 503; readonly error: Error } | undefined {
  if (pod.signal.aborted) return { status: 503, error: refusal("connection closed: the pod was removed", "-") };
  if (attempt.closed) return { status: 503, error: refusal("the caller closed before the application answered", "-") };
  if (mesh.generation === generation) return undefined;
  const current = mesh.findWorkloadByUid(local.uid) ?? local;
  const connection = { peerIdentity: attempt.peerIdentity, hairpinned: plan.kind === "hairpin" };
  const reason = reasonToClose(connection, current, mesh.authorize(current, facts));
  if (reason === undefined) return undefined;
  const message = `connection closed due to policy change: ${reason}`;
  const error = new ZtunnelError(message, { code: "CONNECTION_POLICY_CHANGED", origin: "internal" });
  return { status: 401, error };
}

/** A refusal by the waypoint is a refusal of the caller; anything else means the waypoint could not be asked. */
function statusOfWaypoint(error: unknown): 401 | 503 {
  const refused = errorCode(error) === "HBONE_CONNECT_REFUSED" && error instanceof Error && "details" in error;
  const status = refused ? (error.details as { readonly status?: unknown }).status : undefined;
  return status === 401 || status === 403 ? 401 : 503;
}

function describe(
  attempt: InboundAttempt,
  local: Workload,
  target: InboundTarget,
  path: DataPath,
): ConnectionDescription {
  const { mesh, options } = path;
  return {
    direction: "inbound",
    sourceAddress: attempt.source,
    source: mesh.findWorkloadByIp(options.network, attempt.source.ip),
    sourceIdentity: attempt.peerIdentity,
    destinationAddress: attempt.local,
    hboneAddress: attempt.hboneAddress,
    destination: local,
    service: namedService({ target, local, attempt }, mesh) ?? onlyService(mesh, local, target.address.port),
    mutualTls: attempt.peerIdentity !== undefined,
  };
}

/** The service that the caller named and the pod serves. */
function namedService(
  call: { readonly target: InboundTarget; readonly local: Workload; readonly attempt: InboundAttempt },
  mesh: MeshLookup,
): Service | undefined {
  const { target, local, attempt } = call;
  if (target.service || attempt.claimedHost === undefined) return target.service;
  const suffix = `/${attempt.claimedHost}`;
  const key = [...local.services.keys()].find((candidate) => candidate.endsWith(suffix));
  return key === undefined ? undefined : mesh.findService(key);
}

/** The only service that the pod serves on a port; undefined when there are several: a guess would mislead. */
function onlyService(mesh: MeshLookup, local: Workload, port: number): Service | undefined {
  const serving = [...local.services].filter(([, ports]) => ports.some((mapping) => mapping.targetPort === port));
  const [only] = serving;
  return serving.length === 1 && only ? mesh.findService(only[0]) : undefined;
}

function refuseEarly(attempt: InboundAttempt, status: RefusePlan["status"], reason: string, path: DataPath): void {
  attempt.refuse(status);
  path.telemetry.failEarly("inbound", { source: attempt.source, destination: attempt.local }, reason);
}

function logDryRun(decision: Decision, facts: ConnectionFacts, { logger, options }: DataPath): void {
  const matched = decision.dryRun.filter((result) => result.matched).map((result) => result.policy);
  if (matched.length === 0) return;
  const fields = { policies: matched.join(","), "src.ip": facts.sourceIp, "dst.port": facts.destinationPort };
  if (options.logPolicyAtInfo) logger.info("dry-run policies matched", fields);
  else logger.debug("dry-run policies matched", fields);
}

/** A refusal on its way into the access log. */
function refusal(reason: string, flag: ResponseFlag): ZtunnelError {
  const code = flag === "DENY" ? "CONNECTION_DENIED" : "CONNECTION_REFUSED";
  return new ZtunnelError(reason, { code, origin: "downstream" });
}
