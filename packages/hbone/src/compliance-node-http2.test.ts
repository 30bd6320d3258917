import {
  createTcpTransport,
  describeTunnelCompliance,
  startTcpInterposer,
  type TunnelPair,
  type TunnelPairOptions,
} from "@hairpin/testkit/tunnel-compliance";
import { connectTcp, type TlsEngine } from "@hairpin/wire";
import { createHboneDialler, hboneTraits, startHboneAcceptor } from "./test-support/hbone-proxy.ts";
import { createNodeDialler, nodeStreamWindow, startNodeAcceptor } from "./test-support/node-http2-proxy.ts";
import { createProxyPair } from "./test-support/proxy-pair.ts";
import { tlsEngines } from "./test-support/tls-engines.ts";

const ours = hboneTraits();
/** What a Node stream holds besides: two high-water marks and a frame. */
const nodeSlackBytes = 256 * 1024;

async function nodeToUs(tls: TlsEngine, options?: TunnelPairOptions): Promise<TunnelPair> {
  const transport = createTcpTransport(tls);
  const acceptor = await startHboneAcceptor(transport, options);
  return createProxyPair(createNodeDialler(acceptor.address), acceptor, transport.interposer, [transport]);
}

async function usToNode(tls: TlsEngine, options?: TunnelPairOptions): Promise<TunnelPair> {
  const acceptor = await startNodeAcceptor();
  const middle = await startTcpInterposer(acceptor.address);
  const dialler = createHboneDialler(
    { tls, connectSocket: (address, timeoutMs) => connectTcp({ ...address, timeoutMs }) },
    middle.address,
    options,
  );
  return createProxyPair(dialler, acceptor, middle.interposer, [middle]);
}

for (const engine of tlsEngines) {
  describeTunnelCompliance(
    `HBONE dialled by node:http2, accepted by us on ${engine.name}`,
    (options) => nodeToUs(engine, options),
    {
      pinging: ["accepted"],
      underWayBytes: {
        fromDialled: ours.underWayBytes.fromDialled + nodeSlackBytes,
        fromAccepted: ours.underWayBytes.fromAccepted + nodeSlackBytes,
      },
    },
  );

  describeTunnelCompliance(
    `HBONE dialled by us on ${engine.name}, accepted by node:http2`,
    (options) => usToNode(engine, options),
    {
      ...ours,
      pinging: ["dialled"],
      underWayBytes: {
        fromDialled: ours.underWayBytes.fromDialled - 4 * 1024 * 1024 + nodeStreamWindow + nodeSlackBytes,
        fromAccepted: ours.underWayBytes.fromAccepted + nodeSlackBytes,
      },
    },
  );
}
