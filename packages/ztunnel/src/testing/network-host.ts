// Pods in network namespaces of their own on one bridge, with Istio's redirection rules: what capture makes, by hand.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, Socket } from "node:net";
import { createDialSocket, createListener, type NetnsHandle, openNetns } from "@hairpin/native";
import { type EchoServer, startEchoServer } from "@hairpin/testkit";

const env = { PATH: "/usr/sbin:/sbin:/usr/bin:/bin" };

export interface TestPod {
  readonly name: string;
  readonly ip: string;
  /** Of the namespace. */
  readonly path: string;
  /** A new handle, owned by the caller. */
  open(): NetnsHandle;
  /** Runs a shell command inside. */
  run(command: string, input?: string): string;
  /** Makes the redirection rules. */
  capture(): void;
  /** A listening descriptor, owned by the caller. */
  listen(port: number): number;
  /** A socket descriptor that is ready to connect, owned by the caller. */
  dialSocket(): number;
  echo(port: number): Promise<EchoServer>;
  /** Answers each connection with the address that it came from, and ends. */
  callerAddress(port: number): Promise<void>;
  connect(ip: string, port: number): Promise<Socket>;
}

export interface NetworkHost extends AsyncDisposable {
  pod(name: string, ip: string): TestPod;
}

/** A bridge for 10.77.0.0/24. Needs root. Removes everything it made. */
export function createNetworkHost(): NetworkHost {
  const id = `hz${randomBytes(3).toString("hex")}`;
  const names: string[] = [];
  const addNetns = (name: string): string => {
    const netns = `${id}-${name}`;
    execFileSync("ip", ["netns", "add", netns], { env });
    names.push(netns);
    return netns;
  };
  const runIn = (netns: string, command: string, input = ""): string =>
    execFileSync("ip", ["netns", "exec", netns, "sh", "-ec", command], { env, input, encoding: "utf8" });
  const bridge = addNetns("bridge");
  runIn(
    bridge,
    "ip link add br0 type bridge; ip addr add 10.77.0.254/24 dev br0; ip link set br0 up; ip link set lo up",
  );
  const servers: { close(): Promise<void> }[] = [];
  const handles: NetnsHandle[] = [];
  return {
    pod(name, ip) {
      const netns = addNetns(name);
      const far = `p${ip.split(".").at(-1)}`;
      runIn(netns, `ip link add eth0 type veth peer name ${far} netns ${bridge}`);
      runIn(bridge, `ip link set ${far} master br0 up`);
      runIn(
        netns,
        `ip link set lo up; ip addr add ${ip}/24 dev eth0; ip link set eth0 up; ip route add default via 10.77.0.254
         echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; echo 0 > /proc/sys/net/ipv4/conf/lo/rp_filter`,
      );
      const handle = openNetns(`/run/netns/${netns}`);
      handles.push(handle);
      return {
        name,
        ip,
        path: `/run/netns/${netns}`,
        open: () => openNetns(`/run/netns/${netns}`),
        run: (command, input) => runIn(netns, command, input),
        capture() {
          runIn(netns, "nft -f -", redirectionRules);
          runIn(
            netns,
            "ip rule add fwmark 0x111/0xfff pref 32764 lookup 100; ip route add local 0.0.0.0/0 dev lo table 100",
          );
        },
        listen: (port) => createListener({ netns: handle, ip: "0.0.0.0", port }),
        dialSocket: () => createDialSocket({ netns: handle, family: 4 }),
        async echo(port) {
          const server = await startEchoServer({ fd: createListener({ netns: handle, ip: "0.0.0.0", port }) });
          servers.push(server);
          return server;
        },
        async callerAddress(port) {
          const server = createServer((socket) => socket.on("error", () => {}).end(socket.remoteAddress ?? ""));
          server.listen({ fd: createListener({ netns: handle, ip: "0.0.0.0", port }) });
          await once(server, "listening");
          servers.push({ close: async () => void server.close() });
        },
        async connect(destination, port) {
          const socket = new Socket({ fd: createDialSocket({ netns: handle, family: 4 }), allowHalfOpen: true });
          socket.connect(port, destination);
          await once(socket, "connect");
          socket.on("error", () => {});
          return socket;
        },
      };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(servers.map((server) => server.close()));
      for (const handle of handles) handle.close();
      for (const name of names.toReversed()) execFileSync("ip", ["netns", "del", name], { env });
    },
  };
}

/** Istio's (ztunnel.md §8.3), IPv4, without DNS. */
const redirectionRules = `
table ip hairpin-test-nat {
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr != 127.0.0.1 tcp dport != 15008 meta mark & 0xfff != 0x539 redirect to :15006
  }
  chain output {
    type nat hook output priority -100; policy accept;
    meta l4proto tcp meta mark & 0xfff == 0x111 accept
    ip daddr != 127.0.0.1 oifname "lo" accept
    meta l4proto tcp ip daddr != 127.0.0.1 meta mark & 0xfff != 0x539 redirect to :15001
  }
}
table ip hairpin-test-mangle {
  chain prerouting {
    type filter hook prerouting priority mangle; policy accept;
    meta mark & 0xfff == 0x539 ct mark set 0x111
  }
  chain output {
    type route hook output priority mangle; policy accept;
    ct mark & 0xfff == 0x111 meta mark set ct mark
  }
}
`;
