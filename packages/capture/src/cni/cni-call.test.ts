import { describe, expect, it } from "vitest";
import { CniError, CniErrorCode, errorAnswer, readCniCall, versionAnswer } from "./cni-call.ts";

const environment = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "c1",
  CNI_NETNS: "/run/netns/cni-1",
  CNI_IFNAME: "eth0",
  CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=u-1",
};
const settings = {
  agentSocket: "/run/cni.sock",
  kubeconfig: "/etc/kubeconfig",
  excludedNamespaces: ["kube-system"],
  meshNamespace: "istio-system",
  agentPodPrefix: "agent-",
};
const input = JSON.stringify({ cniVersion: "1.1.0", name: "pods", type: "hairpin-cni", ...settings, prevResult: {} });

describe("readCniCall", () => {
  it("reads the environment and the configuration", () => {
    expect(readCniCall(environment, input)).toEqual({
      command: "ADD",
      containerId: "c1",
      netns: "/run/netns/cni-1",
      pod: { namespace: "shop", name: "web-0", uid: "u-1" },
      config: { cniVersion: "1.1.0", prevResult: {}, settings },
    });
  });

  it("knows no pod where the container is none of Kubernetes", () => {
    expect(readCniCall({ ...environment, CNI_ARGS: "" }, input).pod).toBeUndefined();
    expect(readCniCall({ ...environment, CNI_ARGS: "A=b;c" }, input).pod).toBeUndefined();
  });

  it.each([
    ["no command", { CNI_COMMAND: undefined }, input, CniErrorCode.invalidEnvironment],
    ["an unknown command", { CNI_COMMAND: "EXPLODE" }, input, CniErrorCode.invalidEnvironment],
    ["no JSON", {}, "{", CniErrorCode.decodingFailed],
    ["no object", {}, "[]", CniErrorCode.decodingFailed],
    ["a version without chaining", {}, '{"cniVersion":"0.2.0"}', CniErrorCode.incompatibleVersion],
    ["no version", {}, "{}", CniErrorCode.incompatibleVersion],
  ])("refuses %s with the code of the spec", (_name, change, text, code) => {
    expect(() => readCniCall({ ...environment, ...change }, text)).toThrow(expect.objectContaining({ code }));
  });

  it("asks no version of a question for versions", () => {
    expect(readCniCall({ CNI_COMMAND: "VERSION" }, "{}").command).toBe("VERSION");
  });
});

describe("answers", () => {
  it("name the versions", () => {
    expect(JSON.parse(versionAnswer())).toMatchObject({ cniVersion: "1.1.0" });
  });

  it("carry an error's code, and say whose it is", () => {
    const error = new CniError(CniErrorCode.tryAgainLater, "nobody answers");
    expect(JSON.parse(errorAnswer(error, "0.4.0"))).toEqual({
      cniVersion: "0.4.0",
      code: 11,
      msg: "hairpin: nobody answers",
    });
    expect(JSON.parse(errorAnswer("what"))).toMatchObject({ code: 999 });
  });
});
