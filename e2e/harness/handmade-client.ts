// Hand-made HBONE clients: they run in a pod's network namespace with whatever certificate the test gives them.

import type { CertificateOverrides } from "@hairpin/testkit";
import { TestAuthority } from "@hairpin/testkit";
import type { PodName, ScenarioMesh } from "./scenario-mesh.ts";

export interface ConnectOrder {
  readonly authority: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
}

export interface ConnectResult {
  /** Of the CONNECT: 200, or what it was refused with. */
  readonly tunnel?: number;
  /** Of the HTTP answer inside the tunnel; 0: none. Or of the refused CONNECT. */
  readonly status?: number;
  readonly answer?: string;
  /** hbone's code when there was no tunnel. */
  readonly error?: string;
}

export interface HandmadeCall {
  readonly from: PodName;
  /** Address of the proxy that is dialled, port 15008. */
  readonly to: string;
  /** SPIFFE ID, or `namespace/account` in the mesh's trust domain. */
  readonly as: string;
  readonly expect: readonly string[];
  readonly connects: readonly ConnectOrder[];
  readonly certificate?: CertificateOverrides;
}

/** Signs with the key of a running mesh's own CA, which only the test's root user, or the cluster's administrator, can read. */
export class HandmadeClients {
  readonly #scenario: ScenarioMesh;
  readonly #authority: TestAuthority;

  private constructor(scenario: ScenarioMesh, authority: TestAuthority) {
    this.#scenario = scenario;
    this.#authority = authority;
  }

  static async of(scenario: ScenarioMesh): Promise<HandmadeClients> {
    const root = {
      certificatePem: await scenario.authorityFile("ca-cert.pem"),
      privateKeyPem: await scenario.authorityFile("ca-key.pem"),
    };
    return new HandmadeClients(scenario, new TestAuthority({ root }));
  }

  /** Opens one session and one tunnel per order. Throws when there was no session; the message has hbone's code. */
  async call(call: HandmadeCall): Promise<readonly ConnectResult[]> {
    const order = {
      address: { ip: call.to, port: 15_008 },
      material: this.#authority.material(call.as, call.certificate),
      expected: call.expect.map((name) => (name.startsWith("spiffe://") ? name : spiffe(name))),
      connects: call.connects,
    };
    const [told] = await this.#scenario.runApp<{
      readonly results?: readonly ConnectResult[];
      readonly session?: { readonly error: string; readonly message?: string };
    }>(call.from, "hbone-call", [], JSON.stringify(order));
    if (told?.results) return told.results;
    throw new Error(`${told?.session?.error}: ${told?.session?.message}`);
  }
}

function spiffe(name: string): string {
  const [namespace = "", account = ""] = name.split("/");
  return `spiffe://cluster.local/ns/${namespace}/sa/${account}`;
}
