import { toBinary } from "@bufbuild/protobuf";
import { istioSecurity, istioWorkload } from "@hairpin/shared/api";
import { addressType, authorizationType, policyToWire, serviceToWire, workloadToWire } from "@hairpin/shared/discovery";
import {
  type AuthorizationPolicy,
  formatNamespacedHostname,
  formatNetworkAddress,
  policyKey,
  type Service,
  type Workload,
} from "@hairpin/shared/model";
import { systemClock } from "@hairpin/shared/process";
import { type Logger, noLogger } from "@hairpin/shared/telemetry";
import {
  createDeltaXdsServer,
  type DeltaXdsServer,
  type GrpcListener,
  type GrpcService,
  listenGrpc,
  type ServedResource,
} from "@hairpin/shared/xds";

export interface FakeXdsServerOptions {
  /** Default 127.0.0.1 and a free port. */
  readonly host?: string;
  readonly port?: number;
  /** Default: plaintext. */
  readonly tls?: { readonly certificateChainPem: string; readonly privateKeyPem: string };
  /** Tokens that are taken (without `Bearer`). Default: any, and none. */
  readonly tokens?: readonly string[];
  /** Served after WADS and WDS (waypoint types). */
  readonly extraTypeUrls?: readonly string[];
  /** Further services of the same port (a fake CA). */
  readonly services?: readonly GrpcService[];
  readonly logger?: Logger;
}

export interface MeshContents {
  readonly workloads?: readonly Workload[];
  readonly services?: readonly Service[];
  readonly policies?: readonly AuthorizationPolicy[];
}

/** A control plane of one scope in the test's own process: what is put in reaches every connected client. */
export interface FakeXdsServer {
  /** For DeltaXdsClientOptions.address: `http://…`, or `https://…` with `tls`. */
  readonly address: string;
  readonly port: number;
  /** The server itself: acked versions, nacks, clients. Its principal is the token. */
  readonly xds: DeltaXdsServer<string>;
  /** Replaces the whole mesh; what is left out is removed. */
  replace(contents: MeshContents): void;
  /** Adds or changes; leaves the rest. */
  put(contents: MeshContents): void;
  /** Removes workloads (uid), services (`namespace/hostname`) and policies (`namespace/name`) by name. */
  remove(...names: readonly string[]): void;
  /** Serves a resource of any type as it is, also bytes that no client can read. */
  putRaw(typeUrl: string, resource: ServedResource): void;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const scope = "mesh";

/** Starts with an empty mesh, so that clients get in sync at once. */
export async function createFakeXdsServer(options: FakeXdsServerOptions = {}): Promise<FakeXdsServer> {
  const typeUrls = [authorizationType.typeUrl, addressType.typeUrl, ...(options.extraTypeUrls ?? [])];
  const xds = createDeltaXdsServer<string>(
    { clock: systemClock, logger: options.logger ?? noLogger },
    {
      typeUrls,
      authenticate: async (credentials) => acceptToken(credentials.metadata("authorization")[0], options.tokens),
      scopeOf: () => scope,
    },
  );
  for (const typeUrl of typeUrls) xds.publish(typeUrl, scope, []);
  const host = options.host ?? "127.0.0.1";
  const listener: GrpcListener = await listenGrpc({
    host,
    port: options.port ?? 0,
    ...(options.tls && { tls: options.tls }),
    services: [xds.service, ...(options.services ?? [])],
  });
  const close = async (): Promise<void> => {
    xds.close();
    await listener.close(100);
  };
  return {
    address: `${options.tls ? "https" : "http"}://${host.includes(":") ? `[${host}]` : host}:${listener.port}`,
    port: listener.port,
    xds,
    replace(contents) {
      xds.publish(authorizationType.typeUrl, scope, servedPolicies(contents));
      xds.publish(addressType.typeUrl, scope, servedAddresses(contents));
    },
    put(contents) {
      xds.update(authorizationType.typeUrl, scope, { upserts: servedPolicies(contents) });
      xds.update(addressType.typeUrl, scope, { upserts: servedAddresses(contents) });
    },
    remove(...names) {
      xds.update(authorizationType.typeUrl, scope, { removed: names });
      xds.update(addressType.typeUrl, scope, { removed: names });
    },
    putRaw: (typeUrl, resource) => xds.update(typeUrl, scope, { upserts: [resource] }),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A workload as control serves it: found on demand by uid, by address, by its services and by its node. */
function servedWorkload(workload: Workload): ServedResource {
  return {
    name: workload.uid,
    aliases: workload.hostNetwork ? [] : workload.addresses.map((ip) => `${workload.network}/${ip}`),
    follows: [...workload.services.keys(), `node/${workload.node}`],
    body: toBinary(istioWorkload.AddressSchema, workloadToWire(workload)),
  };
}

function servedService(service: Service): ServedResource {
  return {
    name: formatNamespacedHostname(service),
    aliases: service.vips.map(formatNetworkAddress),
    body: toBinary(istioWorkload.AddressSchema, serviceToWire(service)),
  };
}

function servedAddresses(contents: MeshContents): ServedResource[] {
  return [...(contents.workloads ?? []).map(servedWorkload), ...(contents.services ?? []).map(servedService)];
}

function servedPolicies(contents: MeshContents): ServedResource[] {
  return (contents.policies ?? []).map((policy) => ({
    name: policyKey(policy),
    body: toBinary(istioSecurity.AuthorizationSchema, policyToWire(policy)),
  }));
}

function acceptToken(header: string | undefined, tokens: readonly string[] | undefined): string {
  const token = header?.replace(/^Bearer /, "") ?? "";
  if (tokens !== undefined && !tokens.includes(token)) throw new Error("the token is not known");
  return token;
}
