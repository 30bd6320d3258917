import { ManualClock } from "@hairpin/testkit";
import { describe, expect, it, vi } from "vitest";
import { noLogger } from "@hairpin/shared/telemetry";
import { namespaceKind, podKind } from "../object/kinds.ts";
import type { Pod } from "../object/kubernetes-object.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { pod, shopStore } from "../testing/objects.ts";
import { isCaptureWanted } from "./capture-rule.ts";
import { goodbyeMs, PodCapture, redirectionAnnotation } from "./pod-capture.ts";

const network = { netnsPath: "/netns/a", ips: ["10.0.0.1"] };

function label(store: ObjectStore, mode: string | undefined): void {
  const current = store.find(namespaceKind, undefined, "shop")!;
  const labels: Record<string, string> = mode === undefined ? {} : { "istio.io/dataplane-mode": mode };
  store.update({ ...current, metadata: { ...current.metadata, labels } });
}

describe("isCaptureWanted", () => {
  const mode = (value: string) => ({ "istio.io/dataplane-mode": value });

  it.each([
    ["the namespace's label", "ambient", pod({ name: "a" }), true],
    ["the pod's own label before the namespace's", "ambient", pod({ name: "a", labels: mode("none") }), false],
    ["the pod's label alone", undefined, pod({ name: "a", labels: mode("ambient") }), true],
    ["no label", undefined, pod({ name: "a" }), false],
    ["never a pod on the host network", "ambient", pod({ name: "a", spec: { hostNetwork: true } }), false],
  ])("follows %s", (_name, namespaceMode, candidate, wanted) => {
    const store = shopStore();
    label(store, namespaceMode);
    expect(isCaptureWanted(candidate, store)).toBe(wanted);
  });

  it("never takes a pod with a sidecar", () => {
    const store = shopStore();
    label(store, "ambient");
    const sidecar = pod({ name: "a" });
    const metadata = { ...sidecar.metadata, annotations: { "sidecar.istio.io/status": "{}" } };
    expect(isCaptureWanted({ ...sidecar, metadata }, store)).toBe(false);
  });
});

describe("PodCapture", () => {
  function start(store: ObjectStore, refusals = 0) {
    const done: string[] = [];
    const clock = new ManualClock();
    let left = refusals;
    const record = (word: string) => async () => {
      if (word === "handOver" && left-- > 0) throw new Error("no ztunnel");
      done.push(word);
    };
    const actions = {
      handOver: record("handOver"),
      takeBack: record("takeBack"),
      redirect: record("redirect"),
      spareNewConnections: record("spareNewConnections"),
      stopRedirecting: record("stopRedirecting"),
    };
    const capture = new PodCapture({ store, actions, clock, logger: noLogger });
    return { capture, done, clock };
  }

  const annotation = (store: ObjectStore) =>
    store.find(podKind, "shop", "a")?.metadata.annotations?.[redirectionAnnotation];

  it("hands a pod over, redirects it and says so, before it starts", async () => {
    const store = shopStore();
    label(store, "ambient");
    const { capture, done } = start(store);
    await capture.beforeStart(store.create(pod({ name: "a" })) as Pod, network);
    expect(done).toEqual(["handOver", "redirect"]);
    expect(annotation(store)).toBe("enabled");
  });

  it("takes back what a user says of capture, before the start and later", async () => {
    const store = shopStore();
    const { capture, done } = start(store);
    const claims = { [redirectionAnnotation]: "enabled" };
    const plain = pod({ name: "a" });
    const created = store.create({ ...plain, metadata: { ...plain.metadata, annotations: claims } }) as Pod;
    await capture.beforeStart(created, network);
    expect(annotation(store)).toBeUndefined();
    const current = store.find(podKind, "shop", "a")!;
    store.update({ ...current, metadata: { ...current.metadata, annotations: claims } });
    await vi.waitFor(() => expect(annotation(store)).toBeUndefined());
    expect(done).toEqual([]);
  });

  it("does not let a pod start that no ztunnel takes", async () => {
    const store = shopStore();
    label(store, "ambient");
    const { capture } = start(store, 1);
    const created = store.create(pod({ name: "a" })) as Pod;
    await expect(capture.beforeStart(created, network)).rejects.toThrow("no ztunnel");
    expect(annotation(store)).toBeUndefined();
    await capture.beforeStart(created, network);
    expect(annotation(store)).toBe("enabled");
  });

  it("follows labels of running pods both ways", async () => {
    const store = shopStore();
    const { capture, done, clock } = start(store);
    await capture.beforeStart(store.create(pod({ name: "a" })) as Pod, network);
    expect(done).toEqual([]);
    label(store, "ambient");
    await vi.waitFor(() => expect(annotation(store)).toBe("enabled"));
    label(store, undefined);
    await vi.waitFor(() => expect(done).toEqual(["handOver", "redirect", "spareNewConnections"]));
    expect(annotation(store)).toBeUndefined();
    await clock.advance(goodbyeMs);
    await vi.waitFor(() => expect(done.slice(3)).toEqual(["takeBack", "stopRedirecting"]));
  });

  it("keeps a pod that is labelled again before ztunnel was told to let it go", async () => {
    const store = shopStore();
    label(store, "ambient");
    const { capture, done, clock } = start(store);
    await capture.beforeStart(store.create(pod({ name: "a" })) as Pod, network);
    label(store, undefined);
    await vi.waitFor(() => expect(done.at(-1)).toBe("spareNewConnections"));
    label(store, "ambient");
    await vi.waitFor(() => expect(annotation(store)).toBe("enabled"));
    await clock.advance(2 * goodbyeMs);
    label(store, undefined);
    await vi.waitFor(() => expect(done.at(-1)).toBe("spareNewConnections"));
    expect(done).not.toContain("takeBack");
  });

  it("takes a pod back when it ends", async () => {
    const store = shopStore();
    label(store, "ambient");
    const { capture, done } = start(store);
    const created = store.create(pod({ name: "a" })) as Pod;
    await capture.beforeStart(created, network);
    await capture.afterStop(created);
    expect(done).toEqual(["handOver", "redirect", "takeBack", "stopRedirecting"]);
  });
});
