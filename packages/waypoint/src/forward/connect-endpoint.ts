import { connectHeader, formatForwarded, type TunnelDialer } from "@hairpin/hbone";
import { formatSocketAddress, type Identity, type IpAddress, type Service, type Workload } from "@hairpin/shared/model";
import { connectTcp, createSocketChannel, type ByteChannel, type HeaderField } from "@hairpin/wire";

/** Where one connection to an application goes. */
export interface Endpoint {
  readonly workload: Workload;
  readonly ip: IpAddress;
  /** The application's port. */
  readonly port: number;
  /** Whom the endpoint's ztunnel may prove to act for. */
  readonly identities: readonly Identity[];
  /** The service that it was chosen for; undefined for pod-addressed calls. */
  readonly service: Service | undefined;
  /** The call was hairpinned for this very pod and port: the return leg says so, so that a loop is found. */
  readonly hairpinned: boolean;
}

/** Endpoints that are the same for the pooling of connections. */
export function endpointKey(endpoint: Endpoint): string {
  let key = keys.get(endpoint);
  if (key === undefined) {
    const { workload, ip, port, service, hairpinned } = endpoint;
    key = `${workload.uid}|${formatSocketAddress({ ip, port })}|${service?.hostname ?? ""}|${hairpinned ? "hairpinned" : ""}`;
    keys.set(endpoint, key);
  }
  return key;
}

const keys = new WeakMap<Endpoint, string>();

export interface ConnectEndpointComponents {
  readonly dialer: TunnelDialer;
  readonly identity: Identity;
  /** Our own address. */
  readonly ip: IpAddress;
  /** Describes us to the other side's telemetry. */
  readonly baggage: string;
}

const hbonePort = 15_008;
const connectTimeoutMs = 10_000;

/**
 * Connects to an application: through a tunnel to its ztunnel when the pod is captured, else plainly. Rejects with
 * HboneError or Node's error. The channel belongs to the caller.
 */
export async function connectEndpoint(components: ConnectEndpointComponents, endpoint: Endpoint): Promise<ByteChannel> {
  const { workload, ip, port, identities } = endpoint;
  if (workload.tunnelProtocol !== "HBONE") {
    return createSocketChannel(await connectTcp({ ip, port, timeoutMs: connectTimeoutMs }));
  }
  const address = { ip, port: hbonePort };
  const target = {
    sourceIdentity: components.identity,
    expectedIdentities: identities,
    address,
    sourceIp: components.ip,
    connectSocket: (timeoutMs: number) => connectTcp({ ...address, timeoutMs }),
  };
  return await components.dialer.dial(target, {
    authority: formatSocketAddress({ ip, port }),
    headers: connectHeaders(components, endpoint),
  });
}

function connectHeaders(components: ConnectEndpointComponents, endpoint: Endpoint): HeaderField[] {
  const headers: HeaderField[] = [{ name: connectHeader.baggage, value: components.baggage }];
  if (endpoint.service)
    headers.push({ name: connectHeader.forwarded, value: formatForwarded({ host: endpoint.service.hostname }) });
  if (endpoint.hairpinned) headers.push({ name: connectHeader.hairpinFor, value: formatSocketAddress(endpoint) });
  return headers;
}
