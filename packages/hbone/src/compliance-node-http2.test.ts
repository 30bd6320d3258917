import {
  createTcpTransport,
  describeTunnelCompliance,
  startTcpInterposer,
  type TunnelPair,
  type TunnelPairOptions,
  type TunnelTraits,
} from "@hairpin/testkit/tunnel-compliance";
import { connectTcp, createNodeTlsEngine } from "@hairpin/wire";
import { createHboneDialler, hboneTraits, startHboneAcceptor } from "./test-support/hbone-proxy.ts";
import { createNodeDialler, nodeStreamWindow, startNodeAcceptor } from "./test-support/node-http2-proxy.ts";
import { createProxyPair } from "./test-support/proxy-pair.ts";

const ours = hboneTraits();
/** What a Node stream holds besides: two high-water marks and a frame. */
const nodeSlackBytes = 256 * 1024;

async function nodeToUs(options?: TunnelPairOptions): Promise<TunnelPair> {
  const transport = createTcpTransport(createNodeTlsEngine());
  const acceptor = await startHboneAcceptor(transport, options);
  return createProxyPair(createNodeDialler(acceptor.address), acceptor, transport.interposer, [transport]);
}

async function usToNode(options?: TunnelPairOptions): Promise<TunnelPair> {
  const acceptor = await startNodeAcceptor();
  const middle = await startTcpInterposer(acceptor.address);
  const dialler = createHboneDialler(
    { tls: createNodeTlsEngine(), connectSocket: (address, timeoutMs) => connectTcp({ ...address, timeoutMs }) },
    middle.address,
    options,
  );
  return createProxyPair(dialler, acceptor, middle.interposer, [middle]);
}

describeTunnelCompliance("HBONE dialled by node:http2", nodeToUs, {
  pinging: ["accepted"],
  underWayBytes: {
    fromDialled: ours.underWayBytes.fromDialled + nodeSlackBytes,
    fromAccepted: ours.underWayBytes.fromAccepted + nodeSlackBytes,
  },
} satisfies TunnelTraits);

describeTunnelCompliance("HBONE accepted by node:http2", usToNode, {
  ...ours,
  pinging: ["dialled"],
  underWayBytes: {
    fromDialled: ours.underWayBytes.fromDialled - 4 * 1024 * 1024 + nodeStreamWindow + nodeSlackBytes,
    fromAccepted: ours.underWayBytes.fromAccepted + nodeSlackBytes,
  },
});
