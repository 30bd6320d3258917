import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { hairpinWaypoint, istioSecurity, istioWorkload } from "@hairpin/shared/api";
import { type CaClient, createCaClient } from "@hairpin/shared/identity";
import { systemClock } from "@hairpin/shared/process";
import { noLogger } from "@hairpin/shared/telemetry";
import {
  type DeltaXdsClient,
  type ResourceUpdate,
  createDeltaXdsClient,
  createSubscription,
  formatNodeId,
} from "@hairpin/shared/xds";
import type { FakeApiServer } from "@hairpin/testkit";
import { decodeJwt } from "jose";
import { type RunningControl, startControl } from "../app.ts";
import type { KubernetesObject, Pod } from "../collection/kubernetes-object.ts";
import { accountOf } from "../ambient/pod.ts";
import { ObjectCollection } from "../collection/object-collection.ts";
import type { ControlConfig } from "../config.ts";
import { typeUrls } from "../push/type-urls.ts";
import type { StatusWrite } from "../status/status-writer.ts";
import { testMesh } from "../testdata/render-model.ts";
import { LocalTokenSigner, type TokenClaims } from "./local-tokens.ts";

/** What an xDS client holds, by resource name. */
interface HeldResources {
  readonly addresses: Map<string, istioWorkload.Address>;
  readonly authorizations: Map<string, istioSecurity.Authorization>;
  readonly waypoints: Map<string, hairpinWaypoint.Waypoint>;
  readonly waypointServices: Map<string, hairpinWaypoint.Service>;
  readonly waypointWorkloads: Map<string, hairpinWaypoint.Workload>;
  /** Type and names of every response, in the order of arrival. */
  readonly log: string[];
}

export interface TestXdsClient extends AsyncDisposable {
  readonly held: HeldResources;
  readonly client: DeltaXdsClient;
}

/** Control on loopback with real ports, its objects in the test's hands, and clients over TLS. */
export class TestControl implements AsyncDisposable {
  readonly running: RunningControl;
  readonly tokens: LocalTokenSigner;
  /** The store: changes reach control at once. */
  readonly objects: ObjectCollection;
  readonly writes: StatusWrite[];
  readonly #folder: string;

  private constructor(parts: Pick<TestControl, "running" | "tokens" | "objects" | "writes"> & { folder: string }) {
    this.running = parts.running;
    this.tokens = parts.tokens;
    this.objects = parts.objects;
    this.writes = parts.writes;
    this.#folder = parts.folder;
  }

  static async start(initial: readonly KubernetesObject[]): Promise<TestControl> {
    const folder = await mkdtemp(join(tmpdir(), "hairpin-control-"));
    const tokens = new LocalTokenSigner();
    const writes: StatusWrite[] = [];
    let objects = new ObjectCollection();
    const running = await startControl(testConfig(folder, tokens.publicKeyPem), {
      logger: noLogger,
      handleSignals: false,
      statusSink: { write: async (write) => void writes.push(write) },
      createSource: (collection) => {
        objects = collection;
        return { name: "test", start: async () => collection.replaceAll(initial), stop: async () => {} };
      },
    });
    return new TestControl({ running, tokens, objects, writes, folder });
  }

  /** A replica in a cluster; its tokens are believed by the fake's TokenReview. Statuses go to the fake. */
  static async startInCluster(fake: FakeApiServer, replicaName: string): Promise<TestControl> {
    const folder = await mkdtemp(join(tmpdir(), "hairpin-control-"));
    const tokens = new LocalTokenSigner();
    const kubeconfig = join(folder, "kubeconfig");
    await writeFile(kubeconfig, fake.kubeconfig);
    fake.reviews.set("tokenreviews", (spec) => reviewLocalToken((spec as { readonly token: string }).token));
    const running = await startControl(
      {
        ...testConfig(folder, tokens.publicKeyPem),
        source: { kind: "kubernetes", server: { kind: "kubeconfig", path: kubeconfig } },
        localAuthority: undefined,
        replicaName,
        waypoint: { image: "hairpin:test", imagePullPolicy: "", imagePullSecrets: [] },
      },
      { logger: noLogger, handleSignals: false },
    );
    return new TestControl({ running, tokens, objects: new ObjectCollection(), writes: [], folder });
  }

  get address(): string {
    return `https://127.0.0.1:${this.running.ports.secureXds}`;
  }

  async tokenOf(pod: Pod, claims: Partial<TokenClaims> = {}): Promise<string> {
    return await this.tokens.sign({
      namespace: pod.metadata.namespace ?? "",
      serviceAccount: accountOf(pod),
      pod: { name: pod.metadata.name, uid: pod.metadata.uid ?? "" },
      ...claims,
    });
  }

  caClient(token: () => Promise<string>, impersonate: boolean): CaClient {
    return createCaClient({
      address: this.address,
      rootPem: async () => this.running.rootBundlePem,
      token,
      clusterId: "Kubernetes",
      impersonate,
      alternativeHostname: "istiod.istio-system.svc",
    });
  }

  /** A client with the pod's token that subscribes to everything it could. */
  async connect(pod: Pod, metadata: Readonly<Record<string, unknown>> = {}): Promise<TestXdsClient> {
    const held: HeldResources = {
      addresses: new Map(),
      authorizations: new Map(),
      waypoints: new Map(),
      waypointServices: new Map(),
      waypointWorkloads: new Map(),
      log: [],
    };
    const subscribe = <T>(typeUrl: string, into: Map<string, T>, decode: (bytes: Uint8Array) => T) =>
      createSubscription({ typeUrl, decode }, { apply: (update) => record(update, typeUrl, into, held.log) });
    const token = await this.tokenOf(pod);
    const namespace = pod.metadata.namespace ?? "";
    const client = createDeltaXdsClient(
      { clock: systemClock, logger: noLogger },
      {
        address: this.address,
        rootPem: async () => this.running.rootBundlePem,
        token: async () => token,
        clusterId: "Kubernetes",
        node: { id: formatNodeId({ kind: "ztunnel", ip: "", name: pod.metadata.name, namespace }), metadata },
        subscriptions: [
          subscribe(typeUrls.address, held.addresses, (bytes) => fromBinary(istioWorkload.AddressSchema, bytes)),
          subscribe(typeUrls.authorization, held.authorizations, (bytes) =>
            fromBinary(istioSecurity.AuthorizationSchema, bytes),
          ),
          subscribe(typeUrls.waypoint, held.waypoints, (bytes) => fromBinary(hairpinWaypoint.WaypointSchema, bytes)),
          subscribe(typeUrls.waypointService, held.waypointServices, (bytes) =>
            fromBinary(hairpinWaypoint.ServiceSchema, bytes),
          ),
          subscribe(typeUrls.waypointWorkload, held.waypointWorkloads, (bytes) =>
            fromBinary(hairpinWaypoint.WorkloadSchema, bytes),
          ),
        ],
      },
    );
    // Ends when the client stops; a refused client never syncs.
    client.whenSynced().catch(() => undefined);
    await client.start();
    return { held, client, [Symbol.asyncDispose]: () => client.stop() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.running.stop();
    await rm(this.#folder, { recursive: true });
  }
}

function testConfig(folder: string, tokenKeyPem: string): ControlConfig {
  return {
    mesh: testMesh,
    source: { kind: "manifests", folder },
    localAuthority: { caDir: join(folder, "ca"), tokenKeyPem },
    replicaName: "control-0",
    maxCertificateTtlMs: 24 * 3600 * 1000,
    listenIp: "127.0.0.1",
    rootIntroductionMs: 0,
    ports: { secureXds: 0, plaintextXds: undefined, metrics: 0, readiness: 0, admission: undefined },
    waypoint: undefined,
    log: { level: "off", format: "plain" },
    described: {},
  };
}

/** What an API server says of a token that it made. */
function reviewLocalToken(token: string): unknown {
  const {
    aud,
    sub,
    "kubernetes.io": about,
  } = decodeJwt<{
    readonly "kubernetes.io": { readonly pod?: { readonly name: string; readonly uid: string } };
  }>(token);
  const { pod } = about;
  const extra = {
    "authentication.kubernetes.io/pod-name": [pod?.name ?? ""],
    "authentication.kubernetes.io/pod-uid": [pod?.uid ?? ""],
  };
  const groups = ["system:serviceaccounts", "system:authenticated"];
  return {
    authenticated: true,
    audiences: [aud],
    user: { username: sub, groups, ...(pod === undefined ? {} : { extra }) },
  };
}

function record<T>(
  update: ResourceUpdate<T>,
  typeUrl: string,
  into: Map<string, T>,
  log: string[],
): ReadonlyMap<string, string> {
  const kind = typeUrl.slice(typeUrl.lastIndexOf(".") + 1);
  for (const name of update.removed) into.delete(name);
  for (const { name, resource } of update.upserts) into.set(name, resource);
  log.push(`${kind} +${update.upserts.map(({ name }) => name).join(",")} -${update.removed.join(",")}`);
  return new Map();
}
