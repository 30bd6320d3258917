/** The gRPC side of the client: one channel and one ADS stream per connection, nothing shared between connections. */
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import { isIP } from "node:net";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type ChannelCredentials,
  type ChannelOptions,
  Client,
  type ClientDuplexStream,
  connectivityState,
  credentials,
  Metadata,
} from "@grpc/grpc-js";
import { envoyDiscovery } from "../api/index.ts";
import { isLoopback } from "../model/address.ts";
import type { DeltaXdsClientOptions } from "./delta-client-options.ts";
import { xdsError } from "./errors.ts";

export type DeltaRequest = envoyDiscovery.DeltaDiscoveryRequest;

export interface SizedResponse {
  readonly response: envoyDiscovery.DeltaDiscoveryResponse;
  readonly bytes: number;
}

export type AdsCall = ClientDuplexStream<DeltaRequest, SizedResponse>;

export const deltaAdsPath = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

const { DeltaDiscoveryRequestSchema, DeltaDiscoveryResponseSchema } = envoyDiscovery;

export interface AdsAddress {
  readonly secure: boolean;
  /** `host:port`, as gRPC wants it. */
  readonly target: string;
  readonly host: string;
}

/**
 * Reads `https://host:port`, `host:port` (https), or `http://host:port` where the host is this machine: the token must not
 * travel in clear. Throws `XDS_BAD_ADDRESS`.
 */
export function parseAdsAddress(text: string): AdsAddress {
  const url = URL.parse(text.includes("://") ? text : `https://${text}`);
  if (url === null || !["http:", "https:"].includes(url.protocol) || url.hostname === "")
    throw xdsError("XDS_BAD_ADDRESS", `XDS address ${JSON.stringify(text)} is not https://host:port`);
  const secure = url.protocol === "https:";
  const port = url.port === "" ? (secure ? 443 : 80) : Number(url.port);
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  if (!secure && host !== "localhost" && !(isIP(host) !== 0 && isLoopback(host)))
    throw xdsError("XDS_BAD_ADDRESS", `XDS address ${JSON.stringify(text)} would send the token in clear; use https`);
  return { secure, target: `${url.hostname}:${port}`, host };
}

/** A channel that shows the current root file and the alternative host name to one connection. Close it after use. */
export async function createAdsClient(address: AdsAddress, options: DeltaXdsClientOptions): Promise<Client> {
  const channel: ChannelOptions = {
    "grpc.max_receive_message_length": options.maxMessageBytes ?? 200 * 1024 * 1024,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_http_proxy": 0,
    "grpc.service_config_disable_resolution": 1,
    "grpc.enable_retries": 0,
  };
  if (!address.secure) return new Client(address.target, credentials.createInsecure(), channel);
  // Node warns when an IP is sent as the server name (RFC 6066 §3 forbids it), so an IP needs some name in its place.
  const serverName = options.alternativeHostname ?? (isIP(address.host) === 0 ? undefined : "xds.invalid");
  if (serverName !== undefined) channel["grpc.ssl_target_name_override"] = serverName;
  return new Client(address.target, await tlsCredentials(address, options), channel);
}

export async function createAdsMetadata(options: DeltaXdsClientOptions): Promise<Metadata> {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(options.headers ?? {})) metadata.set(key, value);
  const token = await options.token();
  if (token !== undefined) metadata.set("authorization", `Bearer ${token.trim()}`);
  metadata.set("clusterid", options.clusterId);
  return metadata;
}

export function openAdsStream(client: Client, metadata: Metadata): AdsCall {
  return client.makeBidiStreamRequest<DeltaRequest, SizedResponse>(
    deltaAdsPath,
    (request) => Buffer.from(toBinary(DeltaDiscoveryRequestSchema, request)),
    (bytes) => ({ response: fromBinary(DeltaDiscoveryResponseSchema, bytes), bytes: bytes.length }),
    metadata,
    {},
  );
}

/** Calls back once when the channel is connected. gRPC tells nothing when it is closed before. */
export function onceConnected(client: Client, callback: () => void): void {
  const channel = client.getChannel();
  const check = (): void => {
    const state = channel.getConnectivityState(false);
    if (state === connectivityState.READY) return callback();
    if (state === connectivityState.SHUTDOWN) return;
    channel.watchConnectivityState(state, Infinity, (error) => {
      if (error === undefined) check();
    });
  };
  check();
}

async function tlsCredentials(address: AdsAddress, options: DeltaXdsClientOptions): Promise<ChannelCredentials> {
  const rootPem = await options.rootPem();
  const names = options.alternativeHostname === undefined ? [] : [options.alternativeHostname];
  return credentials.createSsl(rootPem === undefined ? null : Buffer.from(rootPem), null, null, {
    checkServerIdentity: (_name, certificate) => checkAnyName([address.host, ...names], certificate),
  });
}

/** Undefined when the certificate is for one of the names; else the error about the first. */
function checkAnyName(names: readonly string[], certificate: PeerCertificate): Error | undefined {
  const errors = names.map((name) => checkServerIdentity(name, certificate));
  return errors.includes(undefined) ? undefined : errors[0];
}
