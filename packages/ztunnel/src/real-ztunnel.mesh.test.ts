// Istio's own ztunnel as the other proxy, on either side: `ZTUNNEL_BIN=/path/to/ztunnel`.
import {
  type AcceptingProxy,
  createHboneDialler,
  createProxyPair,
  type DiallingProxy,
  hboneTraits,
  serverIdentity,
  startHboneAcceptor,
  testAuthority,
  tlsEngines,
} from "@hairpin/hbone/test-support";
import {
  describeTunnelCompliance,
  type PairTransport,
  skipTunnelCompliance,
  startTcpInterposer,
  type TunnelPair,
  type TunnelPairOptions,
} from "@hairpin/testkit/tunnel-compliance";
import { type ByteChannel, connectTcp, createSocketChannel, listenTcp, type TlsEngine } from "@hairpin/wire";
import { createNetworkHost } from "./testing/network-host.ts";
import { connectInPod, socksPort, startRealZtunnel } from "./testing/real-ztunnel.ts";
import { dialSocks } from "./testing/socks-client.ts";

const hbonePort = 15008;
const applicationPort = 8080;
const zIp = "10.77.0.1";
const ourIp = "10.77.0.2";
const ours = hboneTraits();
/** Kernel buffers of two sockets that grow, and ztunnel's own. */
const slackBytes = 24 * 1024 * 1024;

/** A pod with ztunnel, and one for us. */
async function createPods(path: string) {
  const host = createNetworkHost();
  const pod = host.pod("ztunnel", zIp);
  const us = host.pod("us", ourIp);
  const peers = [{ ip: ourIp, identity: serverIdentity }];
  const program = await startRealZtunnel({ path, pod, identity: ztunnelIdentity, authority: testAuthority, peers });
  return { host, pod, us, program };
}

const ztunnelIdentity = testAuthority.identity("default/ztunnel");

/** Our dialer → ztunnel's inbound → an application in its pod. */
async function usToZtunnel(path: string, tls: TlsEngine, options?: TunnelPairOptions): Promise<TunnelPair> {
  const { host, pod, us, program } = await createPods(path);
  const middle = await startTcpInterposer(() => connectInPod(us, zIp, hbonePort));
  const connectSocket: PairTransport["connectSocket"] = (address, timeoutMs) => connectTcp({ ...address, timeoutMs });
  const dialler = createHboneDialler({ tls, connectSocket }, middle.address, { ...options, peer: ztunnelIdentity });
  const application = await startApplication(pod.listen(applicationPort));
  return createProxyPair(dialler, application, middle.interposer, [middle, program, host]);
}

/** Accepts connections in the order of the tunnels that were asked for. */
async function startApplication(fd: number): Promise<AcceptingProxy> {
  const waiting: ((channel: ByteChannel) => void)[] = [];
  const channels = new Set<ByteChannel>();
  const listener = await listenTcp({
    fd,
    onConnection: (socket) => {
      const channel = createSocketChannel(socket);
      channels.add(channel);
      waiting.shift()?.(channel);
    },
  });
  return {
    address: { ip: zIp, port: applicationPort },
    authority: () => `${zIp}:${applicationPort}`,
    arrival: () =>
      new Promise((resolve) => {
        waiting.push((channel) =>
          resolve({
            accept: () => channel,
            refuse: () => {
              throw new Error("An application refuses nothing");
            },
          }),
        );
      }),
    drain: () => {},
    async [Symbol.asyncDispose]() {
      for (const channel of channels) channel.destroy();
      await listener.close();
    },
  };
}

/** A program behind ztunnel → ztunnel's outbound → our listener. */
async function ztunnelToUs(path: string, tls: TlsEngine, options?: TunnelPairOptions): Promise<TunnelPair> {
  const { host, pod, us, program } = await createPods(path);
  const closers: AsyncDisposable[] = [];
  let interposer: PairTransport["interposer"] | undefined;
  const serve: PairTransport["serve"] = async (onConnection) => {
    const listener = await listenTcp({ host: "127.0.0.1", port: 0, onConnection });
    const middle = await startTcpInterposer({ ip: "127.0.0.1", port: listener.address.port }, us.listen(hbonePort));
    interposer = middle.interposer;
    closers.push(middle, { [Symbol.asyncDispose]: () => listener.close() });
    return { ip: ourIp, port: hbonePort };
  };
  const acceptor = await startHboneAcceptor({ tls, serve }, options);
  if (interposer === undefined) throw new Error("The acceptor did not listen");
  const dialler: DiallingProxy = {
    dial(authority) {
      const channel = connectInPod(pod, "127.0.0.1", socksPort).then((socket) => dialSocks(socket, authority));
      return { channel, status: channel.then(() => 200) };
    },
    async [Symbol.asyncDispose]() {},
  };
  const accepting: AcceptingProxy = { ...acceptor, authority: (number) => `${ourIp}:${20_000 + number}` };
  return createProxyPair(dialler, accepting, interposer, [...closers, program, host]);
}

/** Both seen with ztunnel of August 2026: it hands a reset and a lost session on as an end, whatever the error code. */
const endsOnly = {
  reset: "ztunnel hands a reset on as an end",
  cut: "ztunnel hands a lost session on as an end, or not at all",
} as const;

const path = process.env["ZTUNNEL_BIN"];
const obstacle =
  path === undefined
    ? "ZTUNNEL_BIN names no ztunnel"
    : process.getuid?.() === 0
      ? undefined
      : "network namespaces with a bridge need root";

for (const engine of tlsEngines) {
  const dialledName = `HBONE dialled by us on ${engine.name}, accepted by real ztunnel`;
  const acceptedName = `HBONE dialled by real ztunnel, accepted by us on ${engine.name}`;
  if (path === undefined || obstacle !== undefined) {
    skipTunnelCompliance(dialledName, obstacle ?? "");
    skipTunnelCompliance(acceptedName, obstacle ?? "");
    continue;
  }
  const underWayBytes = {
    fromDialled: ours.underWayBytes.fromDialled + slackBytes,
    fromAccepted: ours.underWayBytes.fromAccepted + slackBytes,
  };
  describeTunnelCompliance(dialledName, (options) => usToZtunnel(path, engine, options), {
    without: {
      ...ours.without,
      ...endsOnly,
      refuse: "an application refuses nothing",
      drain: "it drains when it ends only",
    },
    pinging: ["dialled"],
    underWayBytes,
  });
  describeTunnelCompliance(acceptedName, (options) => ztunnelToUs(path, engine, options), {
    without: { ...ours.without, ...endsOnly, refuse: "SOCKS5 was answered before the CONNECT was" },
    pinging: ["accepted"],
    underWayBytes,
  });
}
