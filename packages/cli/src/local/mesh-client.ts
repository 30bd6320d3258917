// Talks to a mesh's daemon over its unix socket.

import { type IncomingMessage, request } from "node:http";
import type { KubernetesObject } from "./object/kubernetes-object.ts";
import type { AppliedObject, ApplyResult, ObjectMistake } from "./store/apply-objects.ts";
import type { JoinAnswer } from "./daemon/pod-routes.ts";

/** The daemon refused, or is not there. */
export class MeshRequestError extends Error {
  readonly code = "LOCAL_MESH_REQUEST";
  /** Mistakes in manifests, when that was the reason. */
  readonly mistakes: readonly ObjectMistake[];

  constructor(message: string, mistakes: readonly ObjectMistake[] = []) {
    super(message);
    this.mistakes = mistakes;
  }
}

export interface PodTarget {
  readonly namespace: string;
  /** `POD`, `deploy/NAME`, `ztunnel/NODE`, `waypoint/NAME` or `control`. */
  readonly target: string;
  readonly container?: string;
}

export class MeshClient {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** All objects, or those of one kind and namespace. */
  async list(kind?: string, namespace?: string): Promise<readonly KubernetesObject[]> {
    const query = queryText({ kind, namespace });
    return (await this.#json<{ items: readonly KubernetesObject[] }>("GET", `/v1/objects${query}`)).items;
  }

  /** Throws {@link MeshRequestError} with every mistake when the objects are not taken; then none is. */
  async apply(objects: readonly AppliedObject[]): Promise<readonly ApplyResult[]> {
    return (await this.#json<{ results: readonly ApplyResult[] }>("POST", "/v1/apply", { objects })).results;
  }

  async delete(objects: readonly AppliedObject[]): Promise<readonly ApplyResult[]> {
    return (await this.#json<{ results: readonly ApplyResult[] }>("POST", "/v1/delete", { objects })).results;
  }

  /** The command that enters a pod, for a process that is inside the mesh's namespaces. */
  async join({ namespace, target, container }: PodTarget): Promise<JoinAnswer> {
    return await this.#json("GET", `/v1/join${queryText({ namespace, target, container })}`);
  }

  /** The log of a container; with `follow` the stream goes on until the signal ends it or the pod goes. */
  async logs(
    { namespace, target, container }: PodTarget,
    options: { readonly follow?: boolean; readonly tail?: number; readonly signal?: AbortSignal } = {},
  ): Promise<AsyncIterable<Buffer>> {
    const tail = options.tail === undefined ? undefined : String(options.tail);
    const follow = options.follow === true ? "true" : undefined;
    const query = queryText({ namespace, target, container, tail, follow });
    return await this.#open("GET", `/v1/logs${query}`, undefined, options.signal);
  }

  /** Every object and change, as told by the store; ends with the connection. */
  async *watch(signal?: AbortSignal): AsyncGenerator<{ type: string; object?: KubernetesObject }> {
    const stream = await this.#open("GET", "/v1/watch", undefined, signal);
    let text = "";
    stream.setEncoding("utf8");
    for await (const chunk of stream as AsyncIterable<string>) {
      text += chunk;
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) yield JSON.parse(line) as { type: string; object?: KubernetesObject };
    }
  }

  async #json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.#open(method, path, body);
    const chunks: Buffer[] = [];
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
    return JSON.parse(Buffer.concat(chunks).toString("utf8")) as T;
  }

  async #open(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const headers = { "content-type": "application/json" };
    const outgoing = request(
      {
        socketPath: this.#socketPath,
        method,
        path,
        headers,
        agent: false,
        ...(signal === undefined ? {} : { signal }),
      },
      resolve,
    );
    outgoing.once("error", (error) => reject(new MeshRequestError(`The mesh does not answer: ${error.message}`)));
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    const response = await promise;
    if (response.statusCode === 200) return response;
    throw await errorOf(response);
  }
}

async function errorOf(response: IncomingMessage): Promise<MeshRequestError> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  const answer = JSON.parse(Buffer.concat(chunks).toString("utf8")) as {
    error?: string;
    errors?: readonly ObjectMistake[];
  };
  const mistakes = answer.errors ?? [];
  const text = mistakes.map(
    ({ file, line, path, reason, object }) => `${file}:${line}: ${path}: ${reason} (${object})`,
  );
  return new MeshRequestError(answer.error ?? text.join("\n"), mistakes);
}

function queryText(parameters: Readonly<Record<string, string | undefined>>): string {
  const entries = Object.entries(parameters).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return entries.length === 0 ? "" : `?${new URLSearchParams(entries).toString()}`;
}
