import type { IncomingMessage } from "node:http";
import type { Clock } from "../process/index.ts";
import type { KubernetesObject } from "./kubernetes-object.ts";
import { readLines } from "./read-lines.ts";
import type {
  ApplyOptions,
  DeleteOptions,
  KubernetesApi,
  ListOptions,
  ListPage,
  ObjectPath,
  ResourceKind,
  Selection,
  WatchEvent,
  WatchOptions,
} from "./api-client.ts";
import type { ApiConnection } from "./api-connection.ts";
import { ApiDiscovery, rootOf } from "./api-discovery.ts";
import { ApiError, apiErrorFromStatus } from "./api-error.ts";
import { type ApiCall, ApiHttp } from "./api-http.ts";

const defaultFieldManager = "hairpin-control";
const minWatchSeconds = 300;

export function createKubernetesApi(components: {
  readonly connection: ApiConnection;
  readonly clock: Clock;
}): KubernetesApi {
  const http = new ApiHttp(components);
  return new HttpKubernetesApi(http, new ApiDiscovery(http));
}

interface RawList {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: readonly object[];
}

interface RawEvent {
  readonly type: string;
  readonly object: KubernetesObject & { readonly code?: number };
}

class HttpKubernetesApi implements KubernetesApi {
  readonly #http: ApiHttp;
  readonly #discovery: ApiDiscovery;

  constructor(http: ApiHttp, discovery: ApiDiscovery) {
    this.#http = http;
    this.#discovery = discovery;
  }

  async get<T extends KubernetesObject>(path: ObjectPath): Promise<T | undefined> {
    return await this.#unlessMissing<T>(async () => await this.#call(path, { method: "GET" }));
  }

  async list<T extends KubernetesObject>(kind: ResourceKind, options: ListOptions = {}): Promise<ListPage<T>> {
    const list = await this.#call<RawList>(
      { ...kind, ...scopeOf(options) },
      {
        method: "GET",
        query: {
          ...selectorsOf(options),
          limit: options.limit?.toString(),
          continue: options.continueToken,
          resourceVersion: options.resourceVersion,
        },
      },
    );
    const { metadata = {}, items = [] } = list;
    return {
      // Items of built-in kinds come without their kind.
      items: items.map((item) => ({ ...item, ...kind }) as unknown as T),
      resourceVersion: metadata.resourceVersion ?? "",
      continueToken: metadata.continue === "" ? undefined : metadata.continue,
    };
  }

  async create<T extends KubernetesObject>(object: T, options: { readonly fieldManager?: string } = {}): Promise<T> {
    const { apiVersion, kind, metadata } = object;
    return await this.#call<T>(
      { apiVersion, kind, ...scopeOf(metadata) },
      { method: "POST", body: object, query: { fieldManager: options.fieldManager ?? defaultFieldManager } },
    );
  }

  async replace<T extends KubernetesObject>(
    object: T,
    options: { readonly fieldManager?: string; readonly subresource?: "status" } = {},
  ): Promise<T> {
    return await this.#call<T>(pathOf(object, options.subresource), {
      method: "PUT",
      body: object,
      query: { fieldManager: options.fieldManager ?? defaultFieldManager },
    });
  }

  async apply<T extends KubernetesObject>(object: T, options: ApplyOptions): Promise<T> {
    const { fieldManager, force = false, subresource } = options;
    return await this.#call<T>(pathOf(object, subresource), {
      method: "PATCH",
      // JSON is YAML.
      contentType: "application/apply-patch+yaml",
      body: object,
      query: { fieldManager, ...(force ? { force: "true" } : {}) },
    });
  }

  async mergePatch<T extends KubernetesObject>(
    path: ObjectPath,
    change: Readonly<Record<string, unknown>>,
    {
      fieldManager = defaultFieldManager,
      subresource,
    }: { readonly fieldManager?: string; readonly subresource?: "status" } = {},
  ): Promise<T> {
    return await this.#call<T>(subresource === undefined ? path : { ...path, subresource }, {
      method: "PATCH",
      contentType: "application/merge-patch+json",
      body: change,
      query: { fieldManager },
    });
  }

  async delete(path: ObjectPath, options: DeleteOptions = {}): Promise<boolean> {
    const { propagation: propagationPolicy = "Background", preconditions } = options;
    const body = { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy, preconditions };
    const gone = await this.#unlessMissing(async () => await this.#call(path, { method: "DELETE", body }));
    return gone !== undefined;
  }

  async *watch<T extends KubernetesObject>(kind: ResourceKind, options: WatchOptions): AsyncGenerator<WatchEvent<T>> {
    const { signal, resourceVersion } = options;
    const seconds = options.timeoutSeconds ?? Math.round(minWatchSeconds * (1 + Math.random()));
    const path = await this.#path({ ...kind, ...scopeOf(options) });
    let response: IncomingMessage | undefined;
    try {
      const query = {
        ...selectorsOf(options),
        watch: "true",
        allowWatchBookmarks: "true",
        resourceVersion,
        timeoutSeconds: String(seconds),
      };
      response = await this.#orKindUnknown(kind, this.#http.open({ method: "GET", path, query, signal }));
      for await (const line of readLines(response)) yield parseEvent<T>(line, path);
    } catch (error) {
      if (signal.aborted) return;
      throw error instanceof ApiError
        ? error
        : new ApiError("API_UNAVAILABLE", `The watch of ${path} broke: ${String(error)}`, { cause: error });
    } finally {
      response?.destroy();
    }
  }

  async review<Answer>(question: ResourceKind & { readonly spec: unknown }): Promise<Answer> {
    const { apiVersion, kind } = question;
    return await this.#call<Answer>({ apiVersion, kind }, { method: "POST", body: question });
  }

  async findServed(group: string, kind: string): Promise<ResourceKind | undefined> {
    return await this.#discovery.findServed(group, kind);
  }

  async #call<T>(path: Partial<ObjectPath> & ResourceKind & Subresource, call: Omit<ApiCall, "path">): Promise<T> {
    const answer = this.#http.request({ ...call, path: await this.#path(path) });
    return (await this.#orKindUnknown(path, answer)) as T;
  }

  /** 404 for an object says which; 404 for a kind does not. */
  async #orKindUnknown<T>(kind: ResourceKind, answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (!(error instanceof ApiError) || error.httpStatus !== 404 || error.namesObject) throw error;
      this.#discovery.forget(kind);
      throw kindUnknown(kind, error);
    }
  }

  async #unlessMissing<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof ApiError && error.code === "API_NOT_FOUND") return undefined;
      throw error;
    }
  }

  async #path(of: Partial<ObjectPath> & ResourceKind & Subresource): Promise<string> {
    const { apiVersion, kind, namespace, name, subresource } = of;
    const served = await this.#discovery.find({ apiVersion, kind });
    if (served === undefined) throw kindUnknown({ apiVersion, kind });
    const parts = [
      ...(served.namespaced && namespace !== undefined && namespace !== "" ? ["namespaces", namespace] : []),
      served.plural,
      ...(name === undefined ? [] : [name]),
      ...(subresource === undefined ? [] : [subresource]),
    ];
    return `${rootOf(apiVersion)}/${parts.map(encodeURIComponent).join("/")}`;
  }
}

interface Subresource {
  readonly subresource?: string;
}

function kindUnknown({ apiVersion, kind }: ResourceKind, cause?: unknown): ApiError {
  return new ApiError("API_KIND_UNKNOWN", `The API server does not serve ${kind} of ${apiVersion}`, {
    httpStatus: 404,
    cause,
  });
}

function pathOf({ apiVersion, kind, metadata }: KubernetesObject, subresource?: string): ObjectPath & Subresource {
  const path = { apiVersion, kind, ...scopeOf(metadata), name: metadata.name };
  return subresource === undefined ? path : { ...path, subresource };
}

function scopeOf({ namespace }: { readonly namespace?: string }): { readonly namespace?: string } {
  return namespace === undefined ? {} : { namespace };
}

function selectorsOf({ labelSelector, fieldSelector }: Selection): Record<string, string | undefined> {
  return { labelSelector, fieldSelector };
}

function parseEvent<T extends KubernetesObject>(line: string, path: string): WatchEvent<T> {
  const { type, object } = JSON.parse(line) as RawEvent;
  if (type === "BOOKMARK") return { type, resourceVersion: object.metadata.resourceVersion ?? "" };
  if (type === "ADDED" || type === "MODIFIED" || type === "DELETED")
    return { type, object: object as KubernetesObject as T };
  throw apiErrorFromStatus(`Watch of ${path}`, object.code ?? 500, object);
}
