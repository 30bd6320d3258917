// Configurations of other HTTP proxies that do what our engine does in the bench: keep connections on both sides, forward,
// write an access log. One worker each, as ours has one thread.

export interface NginxOptions {
  /** For its pid and logs. */
  readonly folder: string;
  readonly application: string;
  readonly ports: readonly number[];
}

const manyRequests = 1_000_000_000;

export function nginxConfig({ folder, application, ports }: NginxOptions): string {
  const server = (port: number): string => `
  upstream application${port} {
    server ${application}:${port};
    keepalive 128;
    keepalive_requests ${manyRequests};
  }
  server {
    listen ${port} backlog=8192;
    location / { proxy_pass http://application${port}; }
  }`;
  return `
daemon off;
user root;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log ${folder}/nginx-error.log;
events { worker_connections 16000; }
http {
  access_log ${folder}/nginx-access.log;
  keepalive_timeout 3600s;
  keepalive_requests ${manyRequests};
  client_max_body_size 0;
  proxy_request_buffering off;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
${ports.map(server).join("\n")}
}
`;
}

export interface EnvoyOptions {
  readonly accessLog: string;
  readonly application: string;
  readonly ports: readonly number[];
}

export function envoyConfig({ accessLog, application, ports }: EnvoyOptions): string {
  const socketAddress = (address: string, port: number): object => ({
    socket_address: { address, port_value: port },
  });
  return JSON.stringify({
    static_resources: {
      listeners: ports.map((port) => ({
        name: `listener${port}`,
        address: socketAddress("0.0.0.0", port),
        filter_chains: [{ filters: [connectionManager(port, accessLog)] }],
      })),
      clusters: ports.map((port) => ({
        name: `application${port}`,
        type: "STATIC",
        // The defaults allow 1,024 of each.
        circuit_breakers: {
          thresholds: [{ max_connections: 100_000, max_requests: 100_000, max_pending_requests: 100_000 }],
        },
        load_assignment: {
          cluster_name: `application${port}`,
          endpoints: [{ lb_endpoints: [{ endpoint: { address: socketAddress(application, port) } }] }],
        },
      })),
    },
  });
}

function connectionManager(port: number, accessLog: string): object {
  const typed = (name: string, type: string, fields: object = {}): object => ({
    name,
    typed_config: { "@type": `type.googleapis.com/envoy.extensions.${type}`, ...fields },
  });
  return typed(
    "envoy.filters.network.http_connection_manager",
    "filters.network.http_connection_manager.v3.HttpConnectionManager",
    {
      stat_prefix: "bench",
      access_log: [typed("file", "access_loggers.file.v3.FileAccessLog", { path: accessLog })],
      http_filters: [typed("envoy.filters.http.router", "filters.http.router.v3.Router")],
      route_config: {
        virtual_hosts: [
          {
            name: "all",
            domains: ["*"],
            routes: [{ match: { prefix: "/" }, route: { cluster: `application${port}`, timeout: "0s" } }],
          },
        ],
      },
    },
  );
}
