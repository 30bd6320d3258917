// The bench's network: hosts in namespaces of their own on one bridge, as the pods and nodes of a small cluster.
import { runCommand } from "./run-command.ts";

/** A network namespace with one address on the bridge. */
export interface Host {
  readonly name: string;
  readonly ip: string;
  readonly netnsPath: string;
}

const bridge = "bench0";
/** Of the namespace in which the bridge and the control plane are. */
export const controlIp = "10.77.255.254";
const prefixLength = 16;
/** Where virtual addresses of Services lie: nobody has them, so they leave by the default route and are captured. */
export const serviceRange = "10.96";

/** Makes the bridge. Needs a network namespace of its own. */
export async function createNetwork(): Promise<void> {
  await ipBatch([
    "link set lo up",
    `link add ${bridge} type bridge forward_delay 0`,
    `addr add ${controlIp}/${prefixLength} dev ${bridge}`,
    `link set ${bridge} up`,
  ]);
}

/** Adds a host. It is removed with the bench's namespaces. */
export async function addHost(name: string, ip: string): Promise<Host> {
  const netnsPath = `/run/netns/${name}`;
  const port = `v${ip.split(".").slice(2).join("x")}`;
  await ipBatch([`netns add ${name}`, `link add ${port} type veth peer name eth0 netns ${name}`]);
  await ipBatch([`link set ${port} master ${bridge} up`]);
  await ipBatch(
    [
      "link set lo up",
      `addr add ${ip}/${prefixLength} dev eth0`,
      "link set eth0 up",
      `route add default via ${controlIp}`,
    ],
    ["-n", name],
  );
  await runCommand(["ip", "netns", "exec", name, "sh", "-ec", kernelSettings]);
  return { name, ip, netnsPath };
}

/** Prefix of a command that runs inside a host. */
export function inside(host: Host | undefined): readonly string[] {
  return host === undefined ? [] : ["nsenter", `--net=${host.netnsPath}`, "--"];
}

/**
 * As kubelets and CNIs set a pod up, but for one: the kernel's connection table forgets closed connections after a second
 * instead of two minutes. It is bounded machine-wide, and tens of thousands of connections a minute would fill it.
 */
const kernelSettings = `
echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
echo 0 > /proc/sys/net/ipv4/conf/eth0/rp_filter
echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start
echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
echo 8192 > /proc/sys/net/core/somaxconn
nft add table ip bench
nft 'add chain ip bench track { type filter hook prerouting priority 0; }'
nft add rule ip bench track ct state invalid counter
nft delete table ip bench
for name in time_wait close fin_wait last_ack close_wait; do
  echo 1 > /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_$name
done
`;

/** Sends new connections to these ports to another one of the same host, as the rules of a captured pod do. */
export async function redirectPorts(host: Host, ports: string, to: number): Promise<void> {
  const rules = `
table ip bench-redirect {
  chain output {
    type nat hook output priority -100; policy accept;
    tcp dport ${ports} redirect to :${to}
  }
}
`;
  await runCommand([...inside(host), "nft", "-f", "-"], rules);
}

async function ipBatch(lines: readonly string[], options: readonly string[] = []): Promise<void> {
  await runCommand(["ip", ...options, "-batch", "-"], `${lines.join("\n")}\n`);
}
