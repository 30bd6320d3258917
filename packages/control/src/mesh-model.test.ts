import { readdirSync } from "node:fs";
import { policyFromWire, serviceFromWire, workloadFromWire } from "@hairpin/shared/discovery";
import { describe, expect, test } from "vitest";
import { readGolden, renderGolden } from "./testdata/render-model.ts";

/** What each golden pair shows. Every `testdata/*.in.yaml` must be named here. */
const goldens: Readonly<Record<string, string>> = {
  "pods-become-workloads": "turns pods into workloads with names, health, ports and locality",
  services: "turns Services and EndpointSlices into services and workloads",
  entries: "turns ServiceEntries and WorkloadEntries into services and workloads",
  "authorization-policies": "converts AuthorizationPolicies for ztunnel and says what it cannot enforce",
  "policy-selection": "lists selecting policies on the workloads they select",
  "peer-authentication": "converts PeerAuthentications by inheritance, age and port",
  "binding-rule-1-none-on-the-pod": "leaves a pod alone whose label says none",
  "binding-rule-2-label-on-the-pod": "binds a pod to the waypoint its label names, or refuses",
  "binding-rule-3-waypoint-for-a-service-account": "binds pods of a service account to their waypoint",
  "binding-rule-4-label-on-the-namespace": "binds by the namespace's label",
  "binding-rule-5-the-namespaces-waypoint": "binds a namespace to its waypoint once it took effect",
  "binding-of-services": "binds Services by their label, else by their namespace",
  routes: "attaches routes to service ports and says what each parentRef came to",
  "waypoint-resources": "gives each waypoint the services, pods and policies it manages",
  "waypoint-shut-out": "warns where L4 ALLOW policies refuse everything that passes the waypoint",
  "enforcement-modes": "tells ztunnel to hairpin, to refuse or nothing",
};

describe("buildMeshModel", () => {
  test.each(Object.entries(goldens))("%s: %s", async (name) => {
    await expect(renderGolden(name)).toMatchFileSnapshot(`./testdata/${name}.out.yaml`);
  });

  test.each(Object.keys(goldens))("%s: the data plane can read every message", (name) => {
    const { ambient } = readGolden(name).model;
    for (const workload of ambient.workloadMessages) expect(workloadFromWire(workload).uid).toBe(workload.uid);
    for (const service of ambient.serviceMessages) expect(serviceFromWire(service).hostname).toBe(service.hostname);
    for (const policy of ambient.authorizations) expect(policyFromWire(policy).name).toBe(policy.name);
  });

  test("every golden input is rendered", () => {
    const inputs = readdirSync(new URL("./testdata", import.meta.url)).filter((file) => file.endsWith(".in.yaml"));
    expect(inputs.map((file) => file.replace(".in.yaml", "")).sort()).toEqual(Object.keys(goldens).sort());
  });
});
