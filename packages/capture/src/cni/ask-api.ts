import { readFileSync } from "node:fs";
import { request } from "node:https";
import { type CaptureDecision, type CaptureRuleOptions, decideCapture } from "../capture-rule.ts";
import { nodePodOf, type PodObject } from "../node/node-pod.ts";
import type { CniPod } from "./cni-call.ts";
import { parseKubeconfig, type PluginKubeconfig } from "./plugin-kubeconfig.ts";

const maxAnswerBytes = 4 * 1024 * 1024;

/** Whether the pod is to be captured, by the labels that the API server has now. Rejects with `Error` that says why nobody knows. */
export async function askApi(
  kubeconfigPath: string,
  pod: CniPod,
  options: CaptureRuleOptions & { readonly timeoutMs: number },
): Promise<CaptureDecision> {
  const kubeconfig = parseKubeconfig(readFileSync(kubeconfigPath, "utf8"));
  const namespacePath = `/api/v1/namespaces/${encodeURIComponent(pod.namespace)}`;
  const [podObject, namespace] = await Promise.all([
    get<PodObject>(kubeconfig, `${namespacePath}/pods/${encodeURIComponent(pod.name)}`, options.timeoutMs),
    get<PodObject>(kubeconfig, namespacePath, options.timeoutMs),
  ]);
  // The plugin may be called for a pod that was replaced by one of the same name.
  if (pod.uid !== undefined && podObject.metadata.uid !== pod.uid)
    throw new Error(`the API server's pod of that name has uid ${podObject.metadata.uid}, not ${pod.uid}`);
  return decideCapture(nodePodOf(podObject), namespace.metadata.labels ?? {}, options);
}

async function get<T>({ server, caPem, token }: PluginKubeconfig, path: string, timeoutMs: number): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const call = request(
    new URL(path, server),
    // No agent: the process ends with this answer.
    {
      ca: caPem,
      agent: false,
      headers: { authorization: `Bearer ${token}`, accept: "application/json" },
      signal: AbortSignal.timeout(timeoutMs),
    },
    (answer) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      answer.on("error", reject);
      answer.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        chunks.push(chunk);
        if (bytes > maxAnswerBytes) answer.destroy(new Error(`GET ${path} answered more than ${maxAnswerBytes} bytes`));
      });
      answer.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        if (answer.statusCode === 200) resolve(JSON.parse(text) as T);
        else reject(new Error(`GET ${path} was answered ${answer.statusCode}`));
      });
    },
  );
  call.on("error", reject);
  call.end();
  return await promise;
}
