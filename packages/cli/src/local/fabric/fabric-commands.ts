// The lines for `ip -batch` that build the network. Pure: what is to be, apart from doing it (fabric.ts).

import { type NodeAddresses } from "./address-plan.ts";

export const bridgeName = "hairpin0";
/** A bridge without ports (not every kernel has `dummy`). It carries the route to the Service range, so that a node's own
 * connections reach the DNAT rules; nothing ever leaves by it. */
const serviceDevice = "services0";
/** Where a pod sends IPv6 packets: the same link-local address on every node end. */
const ipv6PodGateway = "fe80::1";

/** In the mesh's root namespace. */
export function bridgeCommands(): readonly string[] {
  return ["link set lo up", `link add ${bridgeName} type bridge forward_delay 0`, `link set ${bridgeName} up`];
}

/** In the mesh's root namespace: a cable from the bridge into a node. */
export function nodeCableCommands(nodeIndex: number, netnsPath: string): readonly string[] {
  const port = `node${nodeIndex}`;
  return [
    `link add ${port} type veth peer name eth0 netns ${netnsPath}`,
    `link set ${port} master ${bridgeName}`,
    `link set ${port} up`,
  ];
}

/** In a node's namespace. `others`: routes to the pods of the other nodes, over the bridge. */
export function nodeCommands(
  addresses: readonly NodeAddresses[],
  others: readonly (readonly NodeAddresses[])[],
  serviceRanges: readonly string[],
): readonly string[] {
  const own = addresses.flatMap(({ family, nodeIp, nodePrefixLength, gatewayIp, podRange }) => [
    `addr add ${nodeIp}/${nodePrefixLength} dev eth0${family === 6 ? " nodad" : ""}`,
    `addr add ${gatewayIp}/${family === 4 ? 32 : 128} dev lo`,
    // Packets to pods that are gone must not go round in circles.
    `route add unreachable ${podRange.ip}/${podRange.prefixLength} metric 4096`,
  ]);
  const routes = others.flatMap((node) =>
    node.map(({ podRange, nodeIp }) => `route add ${podRange.ip}/${podRange.prefixLength} via ${nodeIp}`),
  );
  return [
    "link set lo up",
    "link set eth0 up",
    ...own,
    ...routes,
    `link add ${serviceDevice} type bridge`,
    `link set ${serviceDevice} up`,
    ...serviceRanges.map((range) => `route add ${range} dev ${serviceDevice}`),
  ];
}

/** Kernel settings of a node, by path below /proc/sys. */
export function nodeSysctls(ipv6: boolean): Readonly<Record<string, string>> {
  return {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    ...(ipv6 ? { "net/ipv6/conf/all/forwarding": "1" } : {}),
  };
}

/** Kernel settings of a pod: no privileges are needed for low ports and ping, as container runtimes have it. */
export function podSysctls(ipv6: boolean): Readonly<Record<string, string>> {
  return {
    "net/ipv4/ip_unprivileged_port_start": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    ...(ipv6 ? {} : { "net/ipv6/conf/all/disable_ipv6": "1", "net/ipv6/conf/lo/disable_ipv6": "0" }),
  };
}

export interface PodCable {
  readonly podIps: readonly string[];
  readonly gatewayIps: readonly string[];
  /** Name of the node's end. */
  readonly hostDevice: string;
}

/** In the pod's namespace, which has nothing but lo. */
export function podCommands(cable: PodCable, nodeNetnsPath: string): readonly string[] {
  const perFamily = cable.podIps.flatMap((ip, index) => {
    if (ip.includes(":"))
      return [`addr add ${ip}/128 dev eth0 nodad`, `route add default via ${ipv6PodGateway} dev eth0`];
    const gateway = cable.gatewayIps[index] ?? "";
    return [
      `addr add ${ip}/32 dev eth0`,
      `route add ${gateway} dev eth0 scope link`,
      `route add default via ${gateway} dev eth0`,
    ];
  });
  return [
    "link set lo up",
    `link add eth0 type veth peer name ${cable.hostDevice} netns ${nodeNetnsPath}`,
    "link set eth0 up",
    ...perFamily,
  ];
}

/** In the node's namespace, for one pod. */
export function podRouteCommands(cable: PodCable): readonly string[] {
  const hasIpv6 = cable.podIps.some((ip) => ip.includes(":"));
  return [
    ...(hasIpv6 ? [`addr add ${ipv6PodGateway}/64 dev ${cable.hostDevice} nodad`] : []),
    `link set ${cable.hostDevice} up`,
    ...cable.podIps.map((ip) => `route replace ${ip}/${ip.includes(":") ? 128 : 32} dev ${cable.hostDevice}`),
  ];
}
