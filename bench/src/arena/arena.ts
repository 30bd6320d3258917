// What every lane is built from: hosts, the load generator and, for those in a mesh, the control plane.
import { join } from "node:path";
import { noLogger } from "@hairpin/shared/telemetry";
import { applyRules, defaultProbeAddresses, ZdsServer } from "@hairpin/capture";
import type { BenchOptions } from "../options.ts";
import { buildBundles } from "./bundles.ts";
import { ControlPlane } from "./control-plane.ts";
import type { LoadGenerator } from "./load-generator.ts";
import { podObject, type MeshPod } from "./manifests.ts";
import { addHost, type Host } from "./network.ts";
import { startProgram, type Program, type ProgramOptions } from "./program.ts";
import { waitUntil } from "./wait-until.ts";

/** Of every application: closed connections of one port alone would use up a client's ports. */
const applicationPorts = { first: 8000, last: 8015 } as const;
export const applicationPortRange: string = `${applicationPorts.first}-${applicationPorts.last}`;
export const applicationPortList: readonly number[] = Array.from(
  { length: applicationPorts.last - applicationPorts.first + 1 },
  (_, index) => applicationPorts.first + index,
);

const captureTimeoutMs = 30_000;

/** Hands captured pods to the ztunnel of one node, as istio-cni does. */
export interface NodeAgent {
  readonly socketPath: string;
  /** Waits for a ztunnel to take the pod, then programs the redirection. */
  capture(pod: MeshPod, ztunnel: Program): Promise<void>;
}

export class Arena {
  readonly options: BenchOptions;
  readonly directory: string;
  readonly load: LoadGenerator;
  #control: Promise<ControlPlane> | undefined;
  #bundles: Promise<string> | undefined;
  #lanes = 0;
  #agents = 0;

  constructor(components: { readonly load: LoadGenerator }, options: BenchOptions, directory: string) {
    this.load = components.load;
    this.options = options;
    this.directory = directory;
  }

  /** Started when the first lane asks for it. */
  async control(): Promise<ControlPlane> {
    this.#control ??= ControlPlane.start(this.directory);
    return await this.#control;
  }

  /** The folder of our parts as the image has them, one file each; made when the first lane asks for it. */
  async bundles(): Promise<string> {
    this.#bundles ??= buildBundles(join(this.directory, "bundles"));
    return await this.#bundles;
  }

  /** The number of a lane: the third byte of its addresses. */
  nextLane(): number {
    return ++this.#lanes;
  }

  async host(lane: number, role: string, last: number): Promise<Host> {
    return await addHost(`lane${lane}-${role}`, `10.77.${lane}.${last}`);
  }

  /** An application that answers on all of its ports. */
  async application(host: Host): Promise<Program> {
    return this.load.serve(host, applicationPortRange, this.logPath(`${host.name}-application`));
  }

  start(options: Omit<ProgramOptions, "logPath">): Program {
    return startProgram({ ...options, logPath: this.logPath(options.name) });
  }

  logPath(name: string): string {
    return join(this.directory, `${name.replaceAll(" ", "-")}.log`);
  }

  async applyPods(name: string, pods: readonly MeshPod[], objects: readonly object[]): Promise<void> {
    await (await this.control()).apply(name, [...objects, ...pods.map(podObject)]);
  }

  nodeAgent(name: string): NodeAgent {
    const socketPath = join(this.directory, `${name}-${++this.#agents}.sock`);
    const zds = new ZdsServer(socketPath, noLogger);
    zds.start();
    return {
      socketPath,
      async capture(pod, ztunnel) {
        const { uid, namespace, serviceAccount, host } = pod;
        await waitUntil(`${ztunnel.name} did not take ${namespace}/${pod.name}`, captureTimeoutMs, async () => {
          ztunnel.check();
          await zds.add({ uid, name: pod.name, namespace, serviceAccount, netnsPath: host.netnsPath });
        });
        await applyRules(host.netnsPath, {
          ipv4: true,
          ipv6: false,
          dnsCapture: false,
          bypassInboundCapture: false,
          rerouteVirtualInterfaces: [],
          probeAddresses: defaultProbeAddresses,
        });
      },
    };
  }
}
