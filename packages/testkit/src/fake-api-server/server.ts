import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Fault, FaultPlan, type RequestMatch, type Verb } from "./fault.ts";
import { mergePatch } from "./merge-patch.ts";
import { ObjectStore, notFound } from "./object-store.ts";
import { ApiRefusal } from "./refusal.ts";
import { type RequestTarget, parsePath } from "./request-path.ts";
import { parseSelectors } from "./selector.ts";
import { type ServedKind, builtInKinds, gatewayApiKinds, istioKinds, reviewKinds } from "./served-kind.ts";
import type { StoredObject } from "./stored-object.ts";
import { Watcher } from "./watcher.ts";

/** What a client asked, for assertions. */
export interface ReceivedRequest {
  readonly verb: Verb;
  /** "" for discovery. */
  readonly kind: string;
  readonly url: string;
  readonly contentType: string;
}

type ObjectTarget = Extract<RequestTarget, { kind: "object" }>;
type CollectionTarget = Extract<RequestTarget, { kind: "objects" }>;

/** Who writes through the methods of the fake. */
const testWriter = { manager: "test", subresource: "" };

/**
 * A Kubernetes API server in the test's own process: discovery, lists with pages, watches, server-side apply with ownership of
 * fields, reviews by a hook, and every way to fail. Plain HTTP on loopback, without authentication.
 */
export class FakeApiServer implements AsyncDisposable {
  readonly store: ObjectStore = new ObjectStore();
  /** Every request so far, in the order of arrival. */
  readonly requests: ReceivedRequest[] = [];
  /** Asked by TokenReview and the like, by plural; gives `status`. Default: refuses. */
  readonly reviews: Map<string, (spec: unknown, question: unknown) => unknown> = new Map();
  readonly #server: Server;
  readonly #faults = new FaultPlan();
  readonly #watchers = new Set<Watcher>();
  /** Pages still to come, by continue token. */
  #pages = new Map<string, { readonly items: readonly StoredObject[]; readonly revision: number }>();
  #kinds: ServedKind[];

  private constructor(kinds: readonly ServedKind[]) {
    this.#kinds = [...kinds];
    this.#server = createServer((request, response) => void this.#handle(request, response));
    this.store.onEvent((event) => {
      for (const watcher of this.#watchers) watcher.deliver(event);
    });
  }

  /** With every kind that Hairpin reads, or only those given. */
  static async start(
    kinds: readonly ServedKind[] = [...builtInKinds, ...gatewayApiKinds, ...istioKinds],
  ): Promise<FakeApiServer> {
    const fake = new FakeApiServer(kinds);
    const { promise, resolve } = Promise.withResolvers<void>();
    fake.#server.listen(0, "127.0.0.1", resolve);
    await promise;
    return fake;
  }

  get address(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A kubeconfig for this server. */
  get kubeconfig(): string {
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": "fake",
      contexts: [{ name: "fake", context: { cluster: "fake", user: "fake" } }],
      // The library wants to hear that plain HTTP is meant.
      clusters: [{ name: "fake", cluster: { server: this.address, "insecure-skip-tls-verify": true } }],
      users: [{ name: "fake", user: { token: "fake" } }],
    });
  }

  /** Watches that are open now. */
  watchesOf(kind: string): number {
    return [...this.#watchers].filter(({ served }) => served.kind === kind).length;
  }

  /** Creates or replaces objects, status and all, as the cluster's own parts would. */
  put(...objects: readonly object[]): void {
    for (const object of objects as readonly StoredObject[]) {
      const served = this.#servedFor(object);
      const { namespace = "", name } = object.metadata;
      const { resourceVersion: _old, ...metadata } = object.metadata;
      const written = { ...object, metadata };
      if (this.store.find(served, namespace, name) === undefined) this.store.create(served, written, testWriter);
      else this.store.replace(served, written, testWriter);
      if (served.hasStatus && "status" in object)
        this.store.replace(served, written, { ...testWriter, subresource: "status" });
    }
  }

  servedKind(kind: string): ServedKind {
    return this.#servedFor({ kind });
  }

  find(kind: string, namespace: string, name: string): StoredObject | undefined {
    return this.store.find(this.#servedFor({ kind }), namespace, name);
  }

  remove(kind: string, namespace: string, name: string): void {
    this.store.delete(this.#servedFor({ kind }), namespace, name);
  }

  /** As when a CRD is applied. */
  serve(...kinds: readonly ServedKind[]): void {
    this.#kinds.push(...kinds);
  }

  /** As when a CRD is deleted: its objects go, its watches end. */
  stopServing(kind: string): void {
    const served = this.#servedFor({ kind });
    for (const { metadata } of this.store.list(served))
      this.store.delete(served, metadata.namespace ?? "", metadata.name);
    this.#kinds = this.#kinds.filter((candidate) => candidate !== served);
    this.endWatches(kind);
  }

  /** The next requests that match go wrong. */
  fail(match: RequestMatch, fault: Fault, times = 1): void {
    this.#faults.add(match, fault, times);
  }

  heal(): void {
    this.#faults.clear();
  }

  /** Forgets history: older versions are 410 for watches, and so are continue tokens. */
  compact(): void {
    this.store.compact();
    this.#pages.clear();
  }

  sendBookmarks(): void {
    for (const watcher of this.#watchers) watcher.bookmark(this.store.revision);
  }

  /** In good order, as the server does every few minutes. */
  endWatches(kind?: string): void {
    for (const watcher of this.#watchersOf(kind)) watcher.end();
  }

  /** Cuts connections; with `midLine` in the middle of an event. */
  dropWatches(kind?: string, options: { readonly midLine?: boolean } = {}): void {
    for (const watcher of this.#watchersOf(kind)) {
      this.#watchers.delete(watcher);
      if (options.midLine === true) watcher.dropMidLine();
      else watcher.drop();
    }
  }

  /** Open watches stay open and say nothing any more. */
  silenceWatches(kind?: string): void {
    for (const watcher of this.#watchersOf(kind)) watcher.silence();
  }

  /** Ends open watches with an ERROR event. */
  failWatches(status: number, reason: string, kind?: string): void {
    for (const watcher of this.#watchersOf(kind)) watcher.fail(new ApiRefusal(status, reason, "injected"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }

  #watchersOf(kind: string | undefined): Watcher[] {
    return [...this.#watchers].filter(({ served }) => kind === undefined || served.kind === kind);
  }

  #servedFor({ kind, apiVersion }: { readonly kind: string; readonly apiVersion?: string }): ServedKind {
    const group = apiVersion === undefined ? undefined : apiVersion.includes("/") ? apiVersion.split("/")[0] : "";
    const served = this.#kinds.find(
      (candidate) => candidate.kind === kind && (group === undefined || candidate.group === group),
    );
    if (served === undefined) throw new Error(`The fake does not serve ${apiVersion ?? ""} ${kind}`);
    return served;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const url = new URL(request.url ?? "/", "http://fake");
      const body = await readBody(request);
      const contentType = request.headers["content-type"] ?? "";
      const target = parsePath(url.pathname, this.#kinds);
      const verb = verbOf(request.method ?? "GET", target, contentType, url.searchParams);
      const kind = target === undefined || target.kind === "discovery" ? "" : nameOf(target);
      this.requests.push({ verb, kind, url: request.url ?? "", contentType });
      const fault = this.#faults.take(verb, kind);
      if (fault === "hang") return;
      if (fault === "cut") return void request.socket.destroy();
      if (fault !== undefined) throw new ApiRefusal(fault.status, fault.reason ?? "Injected", "injected", fault);
      if (target === undefined)
        throw new ApiRefusal(404, "NotFound", "the server could not find the requested resource");
      this.#serve(target, verb, { url, body, response, agent: request.headers["user-agent"] ?? "" });
    } catch (error) {
      refuse(response, error);
    }
  }

  #serve(target: RequestTarget, verb: Verb, call: Call): void {
    switch (target.kind) {
      case "discovery":
        return answer(call.response, 200, this.#discover(target.group, target.version));
      case "review":
        return answer(call.response, 201, this.#review(target.plural, call.body));
      case "objects":
        return this.#serveCollection(target, verb, call);
      case "object":
        return this.#serveObject(target, verb, call);
    }
    target satisfies never;
  }

  #serveCollection(target: CollectionTarget, verb: Verb, call: Call): void {
    const { served, namespace, apiVersion } = target;
    const query = call.url.searchParams;
    if (verb === "create") {
      const object = withNamespace(JSON.parse(call.body) as StoredObject, namespace);
      return answer(call.response, 201, this.store.create(served, object, writerOf(call, "")));
    }
    const selected = parseSelectors(query);
    const matches = (object: StoredObject): boolean =>
      (namespace === "" || object.metadata.namespace === namespace) && selected(object);
    if (verb === "list") return answer(call.response, 200, this.#list(target, query, matches));
    const watcher = new Watcher(call.response, {
      served,
      apiVersion,
      revision: Number(query.get("resourceVersion") ?? "0"),
      bookmarks: query.get("allowWatchBookmarks") === "true",
      matches,
    });
    this.#watchers.add(watcher);
    call.response.once("close", () => this.#watchers.delete(watcher));
    watcher.start(this.store);
  }

  #serveObject(target: ObjectTarget, verb: Verb, call: Call): void {
    const { served, namespace, name, subresource, apiVersion } = target;
    const writer = writerOf(call, subresource);
    const current = this.store.find(served, namespace, name);
    const give = (object: StoredObject): void => answer(call.response, 200, { ...object, apiVersion });
    if (verb === "apply") {
      const object = withNamespace(JSON.parse(call.body) as StoredObject, namespace);
      return give(this.store.apply(served, object, writer, call.url.searchParams.get("force") === "true"));
    }
    if (current === undefined) throw notFound(served, name);
    if (verb === "get") return give(current);
    if (verb === "replace") return give(this.store.replace(served, JSON.parse(call.body) as StoredObject, writer));
    if (verb === "patch")
      return give(this.store.replace(served, mergePatch(current, JSON.parse(call.body)) as StoredObject, writer));
    checkPreconditions(current, call.body);
    this.store.delete(served, namespace, name);
    answer(call.response, 200, { apiVersion: "v1", kind: "Status", status: "Success" });
  }

  #list(target: CollectionTarget, query: URLSearchParams, matches: (object: StoredObject) => boolean): unknown {
    const { served, apiVersion } = target;
    const token = query.get("continue") ?? "";
    const held = this.#pages.get(token);
    if (token !== "" && held === undefined)
      throw new ApiRefusal(410, "Expired", "The provided continue parameter is too old");
    const { items, revision } = held ?? {
      items: this.store.list(served).filter(matches),
      revision: this.store.revision,
    };
    const limit = Number(query.get("limit") ?? "0") || Infinity;
    const page = items.slice(0, limit);
    const rest = items.slice(page.length);
    const next = rest.length === 0 ? "" : `${revision}.${rest.length}.${this.#pages.size}`;
    if (next !== "") this.#pages.set(next, { items: rest, revision });
    return {
      apiVersion,
      kind: `${served.kind}List`,
      metadata: { resourceVersion: String(revision), ...(next === "" ? {} : { continue: next }) },
      // Items of a list carry neither apiVersion nor kind for built-in kinds: clients must know them.
      items: page.map(({ apiVersion: _version, kind: _kind, ...rest }) => rest),
    };
  }

  #discover(group: string | undefined, version: string | undefined): unknown {
    const kinds = [...this.#kinds, ...reviewKinds].filter((kind) => group === undefined || kind.group === group);
    if (version !== undefined) {
      const served = kinds.filter(({ versions }) => versions.includes(version));
      if (served.length === 0)
        throw new ApiRefusal(404, "NotFound", "the server could not find the requested resource");
      const resources = served.map(({ plural, kind, namespaced }) => ({ name: plural, kind, namespaced, verbs: [] }));
      return { kind: "APIResourceList", groupVersion: group === "" ? version : `${group ?? ""}/${version}`, resources };
    }
    const groups = [...Map.groupBy(kinds, (kind) => kind.group)].map(([name, members]) => groupOf(name, members));
    if (group === undefined) return { kind: "APIGroupList", groups };
    if (groups[0] === undefined)
      throw new ApiRefusal(404, "NotFound", "the server could not find the requested resource");
    return { kind: "APIGroup", ...groups[0] };
  }

  #review(plural: string, body: string): unknown {
    const question = JSON.parse(body) as Record<string, unknown>;
    const status = this.reviews.get(plural)?.(question["spec"], question) ?? { authenticated: false, allowed: false };
    return { ...question, metadata: {}, status };
  }
}

interface Call {
  readonly url: URL;
  readonly body: string;
  readonly response: ServerResponse;
  readonly agent: string;
}

function groupOf(name: string, members: readonly ServedKind[]): Record<string, unknown> {
  const versions = [...new Set(members.flatMap((member) => member.versions))].map((version) => ({
    version,
    groupVersion: name === "" ? version : `${name}/${version}`,
  }));
  return { name, versions, preferredVersion: versions[0] };
}

function verbOf(method: string, target: RequestTarget | undefined, contentType: string, query: URLSearchParams): Verb {
  if (target?.kind === "discovery") return "discover";
  if (method === "POST") return "create";
  if (method === "PUT") return "replace";
  if (method === "DELETE") return "delete";
  if (method === "PATCH") return contentType.includes("apply-patch") ? "apply" : "patch";
  if (target?.kind !== "objects") return "get";
  return ["1", "true"].includes(query.get("watch") ?? "") ? "watch" : "list";
}

function nameOf(target: Exclude<RequestTarget, { kind: "discovery" }>): string {
  return target.kind === "review" ? target.plural : target.served.kind;
}

function writerOf({ url, agent }: Call, subresource: string): { manager: string; subresource: string } {
  const manager = url.searchParams.get("fieldManager") ?? agent.split("/")[0] ?? "";
  return { manager: manager === "" ? "unknown" : manager, subresource };
}

function withNamespace(object: StoredObject, namespace: string): StoredObject {
  return namespace === "" ? object : { ...object, metadata: { ...object.metadata, namespace } };
}

function checkPreconditions(current: StoredObject, body: string): void {
  const { preconditions = {} } = (body === "" ? {} : JSON.parse(body)) as {
    preconditions?: { uid?: string; resourceVersion?: string };
  };
  const { uid = current.metadata.uid, resourceVersion = current.metadata.resourceVersion } = preconditions;
  if (uid !== current.metadata.uid || resourceVersion !== current.metadata.resourceVersion)
    throw new ApiRefusal(409, "Conflict", "the object is not the one that the preconditions name");
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function refuse(response: ServerResponse, error: unknown): void {
  if (response.headersSent || response.destroyed) return void response.destroy();
  const refusal = error instanceof ApiRefusal ? error : new ApiRefusal(500, "InternalError", String(error));
  if (refusal.options.retryAfterSeconds !== undefined)
    response.setHeader("retry-after", String(refusal.options.retryAfterSeconds));
  answer(response, refusal.httpStatus, refusal.toStatus());
}
