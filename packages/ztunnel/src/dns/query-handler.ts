import type { MeshLookup, PodInfo } from "@hairpin/shared/discovery";
import type { Workload } from "@hairpin/shared/model";
import { type Clock, errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import { encodeAddressAnswer } from "./address-answer.ts";
import { type DnsMetrics, formatQueryType, type QueryMetrics } from "./dns-metrics.ts";
import { DnsError } from "./errors.ts";
import type { Forwarder } from "./forwarder.ts";
import type { Limit } from "./limit.ts";
import { createErrorResponse, readHeader, responseCodes } from "./message.ts";
import { type ParsedQuery, parseQuery, recordTypes } from "./parse-query.ts";
import { resolveName, type ResolveOptions } from "./resolve-name.ts";

export interface QueryHandlerComponents {
  readonly mesh: MeshLookup;
  readonly forwarder: Pick<Forwarder, "forward">;
  readonly metrics: DnsMetrics;
  /** Of queries that wait: for their pod to become known, or for a name server. */
  readonly pending: Limit;
  readonly clock: Clock;
  /** Told of each query at debug. */
  readonly logger: Logger;
  /** From 0 to below 1; for the order of answers. */
  readonly random: () => number;
}

export interface QueryHandlerOptions extends ResolveOptions {
  /** How long a query waits for its pod to become known. */
  readonly clientWaitMs: number;
}

type Query = Exclude<ParsedQuery, { readonly kind: "ignore" | "error" }>;

/** How a query was answered. */
interface Outcome {
  readonly response: Buffer;
  readonly source: "local" | "forwarded" | "refused";
}

/** Answers the queries of one pod: itself for names of the mesh, and by the name servers for everything else. */
export class QueryHandler {
  readonly #pod: PodInfo;
  readonly #components: QueryHandlerComponents;
  readonly #options: QueryHandlerOptions;

  constructor(pod: PodInfo, components: QueryHandlerComponents, options: QueryHandlerOptions) {
    this.#pod = pod;
    this.#components = components;
    this.#options = { ...options, clusterDomain: options.clusterDomain.toLowerCase() };
  }

  /** The response to what a client sent; undefined when it deserves none. Never rejects. */
  async answer(message: Buffer, protocol: "udp" | "tcp"): Promise<Buffer | undefined> {
    const query = parseQuery(message);
    if (query.kind === "ignore") return undefined;
    if (query.kind === "error") return createErrorResponse(message, query.code);
    const startedAt = this.#components.clock.now();
    try {
      const { response, source } = await this.#decide(message, query, protocol);
      this.#log(query, protocol, startedAt, { source, rcode: readHeader(response)?.responseCode });
      return response;
    } catch (error) {
      this.#log(query, protocol, startedAt, { rcode: responseCodes.serverFailure, error: errorMessage(error) });
      return createErrorResponse(message, responseCodes.serverFailure);
    }
  }

  async #decide(message: Buffer, query: Query, protocol: "udp" | "tcp"): Promise<Outcome> {
    const { mesh, metrics } = this.#components;
    // The common case waits for nothing and takes no place.
    const client = mesh.findWorkloadByPod(this.#pod) ?? (await this.#whilePending(() => this.#fetchClient()));
    const observed = metrics.open(query.question?.type, protocol, client);
    if (!client) {
      const { namespace, name } = this.#pod;
      throw new DnsError("DNS_CLIENT_UNKNOWN", `Pod ${namespace}/${name} is not known in the mesh`);
    }
    const local = query.kind === "address" ? this.#answerLocally(message, query, protocol, client) : undefined;
    if (local) return { response: local, source: "local" };
    if (isZoneTransfer(query) && protocol === "tcp") {
      // Many messages for one query: nothing that a resolver offers.
      return { response: createErrorResponse(message, responseCodes.refused), source: "refused" };
    }
    const response = await this.#whilePending(() => this.#forward(message, protocol, observed));
    return { response, source: "forwarded" };
  }

  #fetchClient(): Promise<Workload | undefined> {
    return this.#components.mesh.fetchWorkloadByPod(this.#pod, this.#options.clientWaitMs);
  }

  /** Undefined: the name is not the mesh's. */
  #answerLocally(
    message: Buffer,
    query: Extract<Query, { readonly kind: "address" }>,
    protocol: "udp" | "tcp",
    client: Workload,
  ): Buffer | undefined {
    const resolution = resolveName(this.#components.mesh, client, query, this.#options);
    if (resolution.kind === "unknown") return undefined;
    const addresses = shuffled(resolution.addresses, this.#components.random);
    return encodeAddressAnswer(message, { ...query, addresses, canonicalName: resolution.canonicalName }, protocol);
  }

  async #forward(message: Buffer, protocol: "udp" | "tcp", observed: QueryMetrics): Promise<Buffer> {
    const { clock, forwarder } = this.#components;
    const startedAt = clock.now();
    const forwarded = observed.forward();
    let failed = true;
    try {
      const response = await forwarder.forward(message, protocol);
      failed = false;
      return response;
    } finally {
      forwarded.end((clock.now() - startedAt) / 1000, failed);
    }
  }

  async #whilePending<T>(work: () => Promise<T>): Promise<T> {
    const release = this.#components.pending.tryTake();
    if (!release) {
      this.#components.metrics.limit("queries");
      throw new DnsError("DNS_LIMITED", "Too many queries are waiting for an answer");
    }
    try {
      return await work();
    } finally {
      release();
    }
  }

  #log(query: Query, protocol: "udp" | "tcp", startedAt: number, outcome: Readonly<Record<string, unknown>>): void {
    this.#components.logger.debug("dns request", {
      "src.workload": this.#pod.name,
      "src.namespace": this.#pod.namespace,
      query: formatQueryType(query.question?.type),
      domain: query.question?.name,
      protocol,
      ...outcome,
      duration: `${(this.#components.clock.now() - startedAt).toFixed(3)}ms`,
    });
  }
}

function isZoneTransfer({ question }: Query): boolean {
  return question?.type === recordTypes.axfr || question?.type === recordTypes.ixfr;
}

/** In random order (Fisher and Yates): clients take the first. */
function shuffled<T>(values: readonly T[], random: () => number): readonly T[] {
  const result = [...values];
  for (let last = result.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    const value = result[last] as T;
    result[last] = result[other] as T;
    result[other] = value;
  }
  return result;
}
