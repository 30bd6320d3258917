import { connectTcp, createSocketChannel, listenTcp } from "@hairpin/wire";
import { relay } from "@hairpin/hbone";
import type { Identity } from "@hairpin/shared/model";
import {
  eventually,
  type ForeignProgram,
  startFakeCaServer,
  startForeignProgram,
  type TestAuthority,
} from "@hairpin/testkit";
import type { TestPod } from "./network-host.ts";

/** In the pod: where the certificate service is reached. */
const caPort = 15012;
/** ztunnel's SOCKS5 listener, on the pod's loopback. */
export const socksPort = 15080;

export interface RealZtunnelOptions {
  /** The binary. */
  readonly path: string;
  readonly pod: TestPod;
  readonly identity: Identity;
  readonly authority: TestAuthority;
  /** Addresses that speak HBONE besides the pod's own, with their identities. */
  readonly peers: readonly { readonly ip: string; readonly identity: Identity }[];
}

/** Istio's ztunnel in dedicated mode in a pod, with its state from a file and its certificates from `authority`. */
export async function startRealZtunnel(options: RealZtunnelOptions): Promise<ForeignProgram> {
  const { pod, identity, authority, peers } = options;
  const ca = await startFakeCaServer({ authority, ownIdentity: identity });
  const caInPod = await listenTcp({
    fd: pod.listen(caPort),
    onConnection: (socket) => {
      connectTcp({ ip: "127.0.0.1", port: ca.port, timeoutMs: 5000 }).then(
        (upstream) => void relay(createSocketChannel(socket), createSocketChannel(upstream)),
        () => socket.destroy(),
      );
    },
  });
  const workloads = [{ ip: pod.ip, identity }, ...peers].map(describeWorkload);
  const files = {
    "state.json": JSON.stringify({ workloads, policies: [], services: [] }),
    "ca-root.pem": ca.rootPem,
    token: "any",
  };
  const program = await startForeignProgram("/usr/bin/nsenter", files, (folder) => ({
    args: [`--net=${pod.path}`, options.path],
    env: {
      PROXY_MODE: "dedicated",
      PROXY_WORKLOAD_INFO: `${identity.namespace}/ztunnel/${identity.serviceAccount}`,
      XDS_ADDRESS: "",
      LOCAL_XDS_PATH: `${folder}/state.json`,
      CA_ADDRESS: `https://127.0.0.1:${caPort}`,
      CA_ROOT_CA: `${folder}/ca-root.pem`,
      AUTH_TOKEN: `${folder}/token`,
      UNSTABLE_ENABLE_SOCKS5: "true",
      ENABLE_ORIG_SRC: "false",
      IPV6_ENABLED: "false",
      ISTIO_META_DNS_CAPTURE: "false",
      RUST_LOG: "info",
    },
  }));
  const dispose = async (): Promise<void> => {
    await program[Symbol.asyncDispose]();
    await caInPod.close();
    await ca.close();
  };
  try {
    await eventually(async () => (await connectInPod(pod, "127.0.0.1", socksPort)).destroy(), { timeoutMs: 20_000 });
    await eventually(async () => (await connectInPod(pod, pod.ip, 15008)).destroy(), { timeoutMs: 20_000 });
  } catch (error) {
    await dispose();
    throw new Error(`The real ztunnel did not start: ${program.output()}`, { cause: error });
  }
  return { ...program, [Symbol.asyncDispose]: dispose };
}

/** A raw socket from inside the pod. */
export function connectInPod(pod: TestPod, ip: string, port: number): ReturnType<typeof connectTcp> {
  return connectTcp({ fd: pod.dialSocket(), ip, port, timeoutMs: 5000 });
}

function describeWorkload({ ip, identity }: { readonly ip: string; readonly identity: Identity }): object {
  return {
    uid: `Kubernetes//Pod/${identity.namespace}/${identity.serviceAccount}`,
    name: identity.serviceAccount,
    namespace: identity.namespace,
    serviceAccount: identity.serviceAccount,
    trustDomain: identity.trustDomain,
    workloadIps: [ip],
    protocol: "HBONE",
    node: "node",
    network: "",
    services: {},
  };
}
