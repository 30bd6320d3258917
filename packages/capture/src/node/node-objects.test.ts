import { createKubernetesApi } from "@hairpin/shared/kubernetes";
import { systemClock } from "@hairpin/shared/process";
import { noLogger } from "@hairpin/shared/telemetry";
import { eventually, FakeApiServer } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NodeObjects } from "./node-objects.ts";
import { redirectionAnnotation } from "./pod-capture.ts";

const namespace = (mode?: string): object => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: "shop", labels: mode === undefined ? {} : { "istio.io/dataplane-mode": mode } },
});
const pod = (
  name: string,
  given: { readonly node?: string; readonly phase?: string; readonly ips?: string[] } = {},
) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: "shop" },
  spec: { nodeName: given.node ?? "node-1", serviceAccountName: "web" },
  status: { phase: given.phase ?? "Running", podIPs: (given.ips ?? ["10.0.0.1"]).map((ip) => ({ ip })) },
});

describe("NodeObjects", () => {
  let fake: FakeApiServer;
  let objects: NodeObjects;
  let changes: number;

  beforeEach(async () => {
    fake = await FakeApiServer.start();
    const connection = { server: new URL(fake.address), requestOptions: async () => ({}) };
    const api = createKubernetesApi({ connection, clock: systemClock });
    const rule = { excludedNamespaces: ["kube-system"], meshNamespace: "istio-system" };
    objects = new NodeObjects({ api, clock: systemClock, logger: noLogger }, { ...rule, nodeName: "node-1" });
    changes = 0;
    objects.onChange(() => changes++);
    fake.put(namespace("ambient"), pod("a"), pod("far", { node: "node-2" }));
    await objects.start();
    await objects.whenSynced();
  });
  afterEach(async () => {
    await objects.stop();
    await fake[Symbol.asyncDispose]();
  });

  const uidOf = (name: string): string => fake.find("Pod", "shop", name)?.metadata.uid ?? "";
  const found = (name: string) => {
    const one = objects.find({ uid: uidOf(name) });
    if (one === undefined) throw new Error(`no pod ${name}`);
    return one;
  };

  it("knows the pods of its own node", () => {
    expect(objects.list().map(({ name }) => name)).toEqual(["a"]);
    expect(found("a")).toMatchObject({ namespace: "shop", serviceAccount: "web", ips: ["10.0.0.1"] });
  });

  it("follows pods and namespaces, and tells", async () => {
    expect(objects.isWanted(found("a"))).toBe(true);
    changes = 0;
    fake.put(namespace());
    await eventually(() => expect(objects.isWanted(found("a"))).toBe(false));
    fake.remove("Pod", "shop", "a");
    await eventually(() => expect(objects.list()).toEqual([]));
    expect(changes).toBeGreaterThanOrEqual(2);
  });

  it("wants no pod that has finished, and none at all once it leaves", async () => {
    fake.put(pod("done", { phase: "Succeeded" }));
    await eventually(() => expect(objects.isWanted(found("done"))).toBe(false));
    objects.leave();
    expect(objects.isWanted(found("a"))).toBe(false);
  });

  it("asks the server for a pod that the watch has not told of yet", async () => {
    fake.silenceWatches();
    fake.put(pod("new", { ips: [] }));
    expect(await objects.fetch({ namespace: "shop", name: "new", uid: uidOf("new") })).toMatchObject({ name: "new" });
    expect(await objects.fetch({ namespace: "shop", name: "new", uid: undefined })).toMatchObject({ name: "new" });
    expect(await objects.fetch({ namespace: "shop", name: "new", uid: "other" })).toBeUndefined();
    expect(await objects.fetch({ namespace: "shop", name: "nobody", uid: undefined })).toBeUndefined();
  });

  it("asks for the namespace too, which decides", async () => {
    fake.silenceWatches();
    fake.put({ ...namespace("ambient"), metadata: { name: "late", labels: { "istio.io/dataplane-mode": "ambient" } } });
    fake.put({ ...pod("b"), metadata: { name: "b", namespace: "late" } });
    const late = await objects.fetch({ namespace: "late", name: "b", uid: undefined });
    expect(late !== undefined && objects.isWanted(late)).toBe(true);
  });

  it("writes the annotation and takes it away, beside what others write", async () => {
    const annotations = () => fake.find("Pod", "shop", "a")?.metadata.annotations ?? {};
    await objects.annotate(found("a"), "enabled");
    expect(annotations()[redirectionAnnotation]).toBe("enabled");
    expect(found("a").annotations[redirectionAnnotation]).toBe("enabled");
    expect(fake.requests.at(-1)).toMatchObject({ contentType: "application/merge-patch+json" });
    expect(fake.requests.at(-1)?.url).toContain("/namespaces/shop/pods/a/status?");
    await objects.annotate(found("a"), undefined);
    expect(annotations()[redirectionAnnotation]).toBeUndefined();
  });

  it("does not mind that the pod to annotate has gone", async () => {
    const gone = found("a");
    fake.remove("Pod", "shop", "a");
    await objects.annotate(gone, "enabled");
    fake.fail({ verb: "patch" }, { status: 409, reason: "Conflict" });
    fake.put(pod("a"));
    await objects.annotate(gone, "enabled");
    fake.fail({ verb: "patch" }, { status: 403, reason: "Forbidden" });
    await expect(objects.annotate(gone, "enabled")).rejects.toMatchObject({ code: "API_FORBIDDEN" });
  });
});
