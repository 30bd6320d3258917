// Routes of the store server for `exec` and `logs`.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { ObjectStore } from "../store/object-store.ts";
import { sendJson, type StoreRoute } from "../store/store-server.ts";
import type { Kubelet } from "../kubelet/kubelet.ts";
import { joinArgv, type PodRunner } from "../kubelet/pod-runner.ts";
import { resolveTarget } from "./resolve-target.ts";

/** The caller's own PATH may name folders that the pod fills; the programs that take privileges away must not come from there. */
const systemPath = "/usr/sbin:/usr/bin:/sbin:/bin";

/** The answer of `GET /v1/join`: a command for a process inside the mesh's namespaces. */
export interface JoinAnswer {
  readonly pod: string;
  /** The container's first process, as the mesh's init counts. */
  readonly pid: number;
  /** The user's program is appended. */
  readonly argv: readonly string[];
}

export function podRoutes(
  store: ObjectStore,
  kubelet: Kubelet,
  rootNamespace: string,
): ReadonlyMap<string, StoreRoute> {
  const findRunner = (url: URL): PodRunner => {
    const namespace = url.searchParams.get("namespace") ?? "default";
    const pod = resolveTarget(store, namespace, url.searchParams.get("target") ?? "", rootNamespace);
    const runner = kubelet.findRunner(pod.metadata.namespace ?? "default", pod.metadata.name);
    if (runner === undefined) throw new Error(`pod ${pod.metadata.name} has not been started yet`);
    return runner;
  };
  const container = (url: URL): string | undefined => url.searchParams.get("container") ?? undefined;
  return new Map<string, StoreRoute>([
    [
      "GET /v1/join",
      (_request, response, url) =>
        answer(response, () => {
          const runner = findRunner(url);
          const { pid, workingDirectory, prefix } = runner.planJoin(container(url));
          const enter = ["/bin/sh", "-c", `PATH=${systemPath}; cd "$0" && exec "$@"`, workingDirectory, ...prefix];
          sendJson(response, 200, {
            pod: runner.pod.metadata.name,
            pid,
            argv: joinArgv(pid, enter),
          } satisfies JoinAnswer);
        }),
    ],
    [
      "GET /v1/logs",
      (request, response, url) =>
        answer(response, () => {
          const log = findRunner(url).findLog(container(url));
          if (log === undefined) throw new Error(`there is no container ${container(url)}`);
          const tail = url.searchParams.get("tail");
          response.writeHead(200, { "content-type": "text/plain; charset=utf-8" });
          response.write(log.read(tail === null ? undefined : Number(tail)));
          if (url.searchParams.get("follow") === "true") {
            const stop = log.follow((chunk) => void response.write(chunk));
            followUntilClosed(request, response, stop);
          } else response.end();
        }),
    ],
  ]);
}

function followUntilClosed(request: IncomingMessage, response: ServerResponse, stop: () => void): void {
  response.flushHeaders();
  request.once("close", stop);
  response.once("close", stop);
}

function answer(response: ServerResponse, action: () => void): void {
  try {
    action();
  } catch (error) {
    sendJson(response, 404, { error: error instanceof Error ? error.message : String(error) });
  }
}
