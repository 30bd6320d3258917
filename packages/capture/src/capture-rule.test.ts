import { describe, expect, it } from "vitest";
import { type CaptureCandidate, decideCapture } from "./capture-rule.ts";

const options = { excludedNamespaces: ["kube-system"], meshNamespace: "istio-system" };
const mode = (value: string) => ({ "istio.io/dataplane-mode": value });

function decide(pod: Partial<CaptureCandidate>, namespaceMode?: string): { captured: boolean; reason: string } {
  const candidate = { namespace: "shop", labels: {}, annotations: {}, hostNetwork: false, ...pod };
  return decideCapture(candidate, namespaceMode === undefined ? {} : mode(namespaceMode), options);
}

describe("decideCapture", () => {
  it.each<[string, Partial<CaptureCandidate>, string | undefined, boolean]>([
    ["the namespace's label", {}, "ambient", true],
    ["the pod's label alone", { labels: mode("ambient") }, undefined, true],
    ["the pod's own label before the namespace's", { labels: mode("none") }, "ambient", false],
    ["the pod's label where the namespace says none", { labels: mode("ambient") }, "none", true],
    ["no label", {}, undefined, false],
    ["a label of another value", { labels: mode("sidecar") }, undefined, false],
    ["the namespace where the pod's label is another value", { labels: mode("sidecar") }, "ambient", true],
    ["never a pod on the host network", { hostNetwork: true, labels: mode("ambient") }, "ambient", false],
    ["never a pod with a sidecar", { annotations: { "sidecar.istio.io/status": "{}" } }, "ambient", false],
    ["never an excluded namespace", { namespace: "kube-system", labels: mode("ambient") }, "ambient", false],
    ["never ztunnel", { namespace: "istio-system", labels: { app: "ztunnel" } }, "ambient", false],
    ["a user's pod in the mesh's namespace", { namespace: "istio-system", labels: { app: "web" } }, "ambient", true],
    ["a user's app that is called ztunnel", { labels: { app: "ztunnel" } }, "ambient", true],
    ["never a waypoint", { labels: { "gateway.istio.io/managed": "istio.io-mesh-controller" } }, "ambient", false],
    [
      "a gateway that is no waypoint",
      { labels: { "gateway.istio.io/managed": "istio.io-gateway-controller" } },
      "ambient",
      true,
    ],
  ])("follows %s", (_name, pod, namespaceMode, captured) => {
    expect(decide(pod, namespaceMode).captured).toBe(captured);
  });

  it("says what it went by", () => {
    expect(decide({}, "ambient").reason).toBe("label istio.io/dataplane-mode of namespace shop");
    expect(decide({ hostNetwork: true }).reason).toBe("the pod is on the host network");
  });
});
