import type { MeshChange, MeshLookup } from "@hairpin/shared/discovery";
import { equalIdentity, formatSpiffeId, type Identity, type Workload } from "@hairpin/shared/model";

/** Who cares for the identities of a node. */
export interface LocalIdentityListener {
  /** The first workload of this identity that takes tunnels. */
  appeared(identity: Identity): void;
  /** The last one is gone. */
  gone(identity: Identity): void;
}

/** The identities of the workloads of this node that take tunnels, each told once, whatever number of pods has it. */
export class LocalIdentities {
  readonly #mesh: MeshLookup;
  readonly #nodeName: string;
  readonly #listener: LocalIdentityListener;
  /** By workload uid. */
  readonly #byWorkload = new Map<string, Identity>();
  /** Uids of the workloads that have an identity, by SPIFFE ID. */
  readonly #holders = new Map<string, Set<string>>();

  constructor(mesh: MeshLookup, nodeName: string, listener: LocalIdentityListener) {
    this.#mesh = mesh;
    this.#nodeName = nodeName;
    this.#listener = listener;
  }

  /** Starts with the workloads that are known and follows the mesh. Returns what stops it. */
  watch(): () => void {
    for (const workload of this.#mesh.workloads()) this.#update(workload.uid, workload);
    return this.#mesh.onChange((change) => this.#apply(change));
  }

  #apply(change: MeshChange): void {
    for (const uid of change.workloads) this.#update(uid, this.#mesh.findWorkloadByUid(uid));
  }

  #update(uid: string, workload: Workload | undefined): void {
    const before = this.#byWorkload.get(uid);
    const now = workload && this.#takesTunnels(workload) ? identityOf(workload) : undefined;
    if (equalIdentity(before, now)) return;
    // First the new one: an identity that merely moves between workloads is not given up and fetched again.
    if (now) this.#hold(uid, now);
    else this.#byWorkload.delete(uid);
    if (before) this.#release(uid, before);
  }

  #takesTunnels(workload: Workload): boolean {
    const takesTunnels = workload.tunnelProtocol === "HBONE" || workload.nativeTunnel;
    return takesTunnels && this.#nodeName !== "" && workload.node === this.#nodeName;
  }

  #hold(uid: string, identity: Identity): void {
    this.#byWorkload.set(uid, identity);
    const key = formatSpiffeId(identity);
    const holders = this.#holders.get(key) ?? new Set();
    this.#holders.set(key, holders.add(uid));
    if (holders.size === 1) this.#listener.appeared(identity);
  }

  #release(uid: string, identity: Identity): void {
    const key = formatSpiffeId(identity);
    const holders = this.#holders.get(key);
    holders?.delete(uid);
    if (holders && holders.size > 0) return;
    this.#holders.delete(key);
    this.#listener.gone(identity);
  }
}

function identityOf({ trustDomain, namespace, serviceAccount }: Workload): Identity {
  return { trustDomain, namespace, serviceAccount };
}
