import type { ResourceKind } from "./api-client.ts";
import { ApiError } from "./api-error.ts";
import type { ApiHttp } from "./api-http.ts";

/** How a kind is addressed. */
export interface ServedResource {
  readonly plural: string;
  readonly namespaced: boolean;
}

interface ApiGroup {
  readonly versions?: readonly { readonly version: string }[];
  readonly preferredVersion?: { readonly version: string };
}

interface ApiResourceList {
  readonly resources?: readonly { readonly name: string; readonly kind: string; readonly namespaced: boolean }[];
}

/** What the server serves. What was found is remembered; what was not is asked for again each time. */
export class ApiDiscovery {
  readonly #http: ApiHttp;
  /** By apiVersion, then kind. */
  readonly #known = new Map<string, ReadonlyMap<string, ServedResource>>();
  /** Several kinds of one group ask at the same moment. */
  readonly #underWay = new Map<string, Promise<unknown>>();

  constructor(http: ApiHttp) {
    this.#http = http;
  }

  async find({ apiVersion, kind }: ResourceKind): Promise<ServedResource | undefined> {
    const known = this.#known.get(apiVersion)?.get(kind);
    if (known !== undefined) return known;
    const list = (await this.#get(rootOf(apiVersion))) as ApiResourceList | undefined;
    // Names with a slash are subresources.
    const served = (list?.resources ?? []).filter(({ name }) => !name.includes("/"));
    this.#known.set(
      apiVersion,
      new Map(served.map(({ name, kind: servedKind, namespaced }) => [servedKind, { plural: name, namespaced }])),
    );
    return this.#known.get(apiVersion)?.get(kind);
  }

  /** The preferred version of the group that has the kind, else any that has. */
  async findServed(group: string, kind: string): Promise<ResourceKind | undefined> {
    if (group === "") return { apiVersion: "v1", kind };
    const about = (await this.#get(`/apis/${group}`)) as ApiGroup | undefined;
    const versions = (about?.versions ?? []).map(({ version }) => version);
    const preferred = about?.preferredVersion?.version;
    const ordered = [...new Set([...(preferred === undefined ? [] : [preferred]), ...versions])];
    for (const version of ordered) {
      const candidate = { apiVersion: `${group}/${version}`, kind };
      if ((await this.find(candidate)) !== undefined) return candidate;
    }
    return undefined;
  }

  /** What was remembered of it proved wrong: its CRD is gone or has another version. */
  forget({ apiVersion }: ResourceKind): void {
    this.#known.delete(apiVersion);
  }

  /** Undefined: there is no such group or version. */
  async #get(path: string): Promise<unknown> {
    const underWay = this.#underWay.get(path);
    if (underWay !== undefined) return await underWay;
    const work = this.#http.request({ method: "GET", path }).catch((error: unknown) => {
      if (error instanceof ApiError && error.httpStatus === 404) return undefined;
      throw error;
    });
    this.#underWay.set(path, work);
    try {
      return await work;
    } finally {
      this.#underWay.delete(path);
    }
  }
}

/** `/api/v1`, `/apis/apps/v1`. */
export function rootOf(apiVersion: string): string {
  return apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
}
