import { readdirSync } from "node:fs";
import { policyFromWire, serviceFromWire, workloadFromWire } from "@hairpin/shared/discovery";
import { systemClock } from "@hairpin/shared/process";
import { noLogger } from "@hairpin/shared/telemetry";
import { FakeApiServer, eventually } from "@hairpin/testkit";
import { describe, expect, test } from "vitest";
import type { KubernetesObject } from "./collection/kubernetes-object.ts";
import { ObjectCollection } from "./collection/object-collection.ts";
import { KubernetesSource } from "./kubernetes/kubernetes-source.ts";
import { createListSource } from "./source/list-source.ts";
import type { ObjectSource } from "./source/object-source.ts";
import { buildGolden, readGolden, renderGolden } from "./testdata/render-model.ts";
import { fakeApiOf } from "./testing/fake-api.ts";

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

/** What a source delivered before it was stopped. */
async function collect(create: (objects: ObjectCollection) => ObjectSource): Promise<ObjectCollection> {
  const objects = new ObjectCollection();
  const source = create(objects);
  await source.start();
  await eventually(() => expect(objects.synced).toBe(true));
  await source.stop();
  return objects;
}

/** The ways in which objects reach control; each must come to the same model. Manifests are lists once they have been read. */
const sources: Readonly<Record<string, (objects: readonly KubernetesObject[]) => Promise<ObjectCollection>>> = {
  manifests: async (given) =>
    await collect((objects) =>
      createListSource({ objects, clock: systemClock, logger: noLogger }, { name: "list", list: async () => given }),
    ),
  "the Kubernetes API": async (given) => {
    await using fake = await FakeApiServer.start();
    fake.put(...given);
    const api = fakeApiOf(fake);
    return await collect(
      (objects) => new KubernetesSource({ api, objects, clock: systemClock, logger: noLogger }, { name: "kubernetes" }),
    );
  },
};

describe.each(Object.entries(sources))("buildMeshModel from %s", (_, deliver) => {
  test.each(Object.entries(goldens))("%s: %s", async (name) => {
    const golden = readGolden(name);
    const model = buildGolden(golden, await deliver(golden.objects));
    await expect(renderGolden(golden, model)).toMatchFileSnapshot(`./testdata/${name}.out.yaml`);
  });
});

describe("buildMeshModel", () => {
  test.each(Object.keys(goldens))("%s: the data plane can read every message", (name) => {
    const golden = readGolden(name);
    const objects = new ObjectCollection();
    objects.replaceAll(golden.objects);
    const { ambient } = buildGolden(golden, objects);
    for (const workload of ambient.workloadMessages) expect(workloadFromWire(workload).uid).toBe(workload.uid);
    for (const service of ambient.serviceMessages) expect(serviceFromWire(service).hostname).toBe(service.hostname);
    for (const policy of ambient.authorizations) expect(policyFromWire(policy).name).toBe(policy.name);
  });

  test("every golden input is rendered", () => {
    const inputs = readdirSync(new URL("./testdata", import.meta.url)).filter((file) => file.endsWith(".in.yaml"));
    expect(inputs.map((file) => file.replace(".in.yaml", "")).sort()).toEqual(Object.keys(goldens).sort());
  });
});
