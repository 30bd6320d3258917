import { ConfigError } from "@hairpin/shared/process";
import { describe, expect, it } from "vitest";
import { readConfig } from "./config.ts";

const minimal = { NODE_NAME: "node-1", KUBERNETES_SERVICE_HOST: "10.96.0.1" };

describe("readConfig", () => {
  it("needs to be told the node and the API server", () => {
    const config = readConfig(minimal);
    expect(config).toMatchObject({
      nodeName: "node-1",
      api: { host: "10.96.0.1", port: 443, folder: "/var/run/secrets/kubernetes.io/serviceaccount" },
      rule: { excludedNamespaces: ["kube-system"], meshNamespace: "istio-system" },
      daemonSet: undefined,
      dnsCapture: true,
      rules: "auto",
      zdsSocket: "/var/run/ztunnel/ztunnel.sock",
      cni: { enabled: true, binFolder: "/opt/cni/bin", confFolder: "/etc/cni/net.d", agentPodPrefix: "" },
      ports: { readiness: 8000, metrics: 15_014 },
    });
  });

  it("knows its own pods by its DaemonSet", () => {
    const config = readConfig({ ...minimal, POD_NAMESPACE: "mesh", DAEMON_SET_NAME: "agent" });
    expect(config.daemonSet).toEqual({ namespace: "mesh", name: "agent" });
    expect(config.cni.agentPodPrefix).toBe("agent-");
  });

  it("tells all mistakes together", () => {
    const wrong = {
      RULES_BACKEND: "ebpf",
      CNI_BIN_DIR: "opt/cni/bin",
      HOST_PROBE_SNAT_IP: "fd00::1",
      LOG_LEVEL: "loud",
      AMBIENT_IPV6: "perhaps",
    };
    const mistakes = () => readConfig(wrong);
    expect(mistakes).toThrow(ConfigError);
    for (const variable of ["NODE_NAME", "KUBERNETES_SERVICE_HOST", ...Object.keys(wrong)])
      expect(mistakes).toThrow(variable);
  });
});
