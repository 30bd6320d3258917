// An Envoy that reaches ports of others by HBONE, built as Istio builds a sidecar's client side: an application-side listener, an
// internal listener that makes the CONNECT, and a cluster with mutual TLS and HTTP/2. Pure.
import type { TlsMaterial } from "@hairpin/wire";

/** A port on Envoy's loopback and what it leads to. */
export interface TunnelledPort {
  readonly port: number;
  /** `http`: Envoy reads requests, as a sidecar does for HTTP ports. `tcp`: bytes. */
  readonly protocol: "http" | "tcp";
  /** Of the CONNECT. */
  readonly authority: string;
  /** The HBONE server that is dialled on 15008. */
  readonly proxyIp: string;
  /** SPIFFE ID that the server must have. */
  readonly expected: string;
}

/** A bootstrap for `--config-yaml`. */
export function envoyConfig(material: TlsMaterial, ports: readonly TunnelledPort[]): string {
  return JSON.stringify({
    bootstrap_extensions: [
      typed("envoy.bootstrap.internal_listener", "bootstrap.internal_listener.v3.InternalListener"),
    ],
    static_resources: {
      listeners: ports.flatMap((port) => [applicationListener(port), connectListener(port)]),
      clusters: ports.flatMap((port) => [internalCluster(port), hboneCluster(port, material)]),
    },
  });
}

function applicationListener({ port, protocol }: TunnelledPort): object {
  const cluster = `internal-${port}`;
  const filter = protocol === "tcp" ? tcpProxy({ stat_prefix: "tcp", cluster }) : connectionManager(cluster);
  return {
    name: `application-${port}`,
    address: { socket_address: { address: "127.0.0.1", port_value: port } },
    filter_chains: [{ filters: [filter] }],
  };
}

function connectListener({ port, authority }: TunnelledPort): object {
  const filter = tcpProxy({
    stat_prefix: "connect",
    cluster: `hbone-${port}`,
    tunneling_config: { hostname: authority },
  });
  return { name: `connect-${port}`, internal_listener: {}, filter_chains: [{ filters: [filter] }] };
}

function internalCluster({ port }: TunnelledPort): object {
  const rawBuffer = typed("envoy.transport_sockets.raw_buffer", "transport_sockets.raw_buffer.v3.RawBuffer");
  return {
    ...staticCluster(`internal-${port}`, { envoy_internal_address: { server_listener_name: `connect-${port}` } }),
    transport_socket: typed(
      "envoy.transport_sockets.internal_upstream",
      "transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
      { transport_socket: rawBuffer },
    ),
  };
}

function hboneCluster({ port, proxyIp, expected }: TunnelledPort, material: TlsMaterial): object {
  const address = { socket_address: { address: proxyIp, port_value: 15_008 } };
  return {
    ...staticCluster(`hbone-${port}`, address),
    typed_extension_protocol_options: {
      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": `${typePrefix}.upstreams.http.v3.HttpProtocolOptions`,
        explicit_http_config: { http2_protocol_options: { allow_connect: true } },
      },
    },
    transport_socket: typed("envoy.transport_sockets.tls", "transport_sockets.tls.v3.UpstreamTlsContext", {
      common_tls_context: {
        alpn_protocols: ["h2"],
        tls_params: { tls_minimum_protocol_version: "TLSv1_3", tls_maximum_protocol_version: "TLSv1_3" },
        tls_certificates: [
          {
            certificate_chain: { inline_string: material.certificateChain },
            private_key: { inline_string: material.privateKey },
          },
        ],
        validation_context: {
          trusted_ca: { inline_string: material.roots.join("\n") },
          match_typed_subject_alt_names: [{ san_type: "URI", matcher: { exact: expected } }],
        },
      },
    }),
  };
}

function connectionManager(cluster: string): object {
  return typed(
    "envoy.filters.network.http_connection_manager",
    "filters.network.http_connection_manager.v3.HttpConnectionManager",
    {
      stat_prefix: "http",
      http_filters: [typed("envoy.filters.http.router", "filters.http.router.v3.Router")],
      route_config: {
        virtual_hosts: [
          { name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster, timeout: "0s" } }] },
        ],
      },
    },
  );
}

function tcpProxy(fields: object): object {
  return typed("envoy.filters.network.tcp_proxy", "filters.network.tcp_proxy.v3.TcpProxy", fields);
}

function staticCluster(name: string, address: object): object {
  return {
    name,
    type: "STATIC",
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
  };
}

const typePrefix = "type.googleapis.com/envoy.extensions";

function typed(name: string, type: string, fields: object = {}): object {
  return { name, typed_config: { "@type": `${typePrefix}.${type}`, ...fields } };
}
