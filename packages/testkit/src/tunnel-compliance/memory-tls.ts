import { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import type { ByteChannel, SecureChannel, TlsContext, TlsEngine } from "@hairpin/wire";

interface Endpoint {
  readonly channel: ByteChannel;
  /** Set by the handshake; the other side waits for it. */
  readonly certificate: PromiseWithResolvers<Uint8Array>;
  readonly peer: () => Endpoint;
}

/** The certificate that a context presents. */
class MemoryContext implements TlsContext {
  readonly leaf: Uint8Array;

  constructor(chainPem: string) {
    this.leaf = new X509Certificate(chainPem).raw;
  }

  close(): void {}
}

/**
 * A TLS engine without TLS: both sides learn each other's certificate and the bytes pass as they are, so that a test decides
 * how they are cut. Its sockets are tokens for channels; nothing else may be done with them.
 */
export function createMemoryTls(): {
  readonly engine: TlsEngine;
  /** Tokens for two channels that lead to one another. */
  sockets(client: ByteChannel, server: ByteChannel): readonly [Socket, Socket];
} {
  const endpoints = new WeakMap<object, Endpoint>();
  const handshake = async (socket: Socket, context: TlsContext): Promise<SecureChannel> => {
    const endpoint = endpoints.get(socket);
    if (endpoint === undefined || !(context instanceof MemoryContext)) throw new Error("Not of this memory engine");
    endpoint.certificate.resolve(context.leaf);
    const peerLeaf = await endpoint.peer().certificate.promise;
    return Object.assign(endpoint.channel, { peerCertificates: [peerLeaf], alpnProtocol: "h2" });
  };
  return {
    engine: {
      name: "node-tls",
      createContext: ({ certificateChain }) => new MemoryContext(certificateChain),
      accept: handshake,
      connect: handshake,
    },
    sockets(client, server) {
      const endpointOf = (channel: ByteChannel, peer: () => Endpoint): Endpoint => ({
        channel,
        peer,
        certificate: Promise.withResolvers<Uint8Array>(),
      });
      const clientEnd: Endpoint = endpointOf(client, () => serverEnd);
      const serverEnd: Endpoint = endpointOf(server, () => clientEnd);
      const tokens = [{}, {}] as unknown as readonly [Socket, Socket];
      endpoints.set(tokens[0], clientEnd);
      endpoints.set(tokens[1], serverEnd);
      return tokens;
    },
  };
}
