import { readdirSync, readFileSync } from "node:fs";
import { Deployment } from "kubernetes-models/apps/v1/Deployment";
import { HorizontalPodAutoscaler } from "kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler";
import { PodDisruptionBudget } from "kubernetes-models/policy/v1/PodDisruptionBudget";
import { Service } from "kubernetes-models/v1/Service";
import { ServiceAccount } from "kubernetes-models/v1/ServiceAccount";
import { describe, expect, test } from "vitest";
import { parseAllDocuments, stringify } from "yaml";
import type { Gateway } from "../collection/kubernetes-object.ts";
import { createClusterRuntime } from "./cluster-runtime.ts";
import { parseOverlay } from "./overlay.ts";
import { planWaypoint } from "./plan-waypoint.ts";

const testdata = new URL("testdata/", import.meta.url);
const runtime = createClusterRuntime({
  image: "registry.example/hairpin:1.2.3",
  imagePullPolicy: "IfNotPresent",
  imagePullSecrets: [],
  proxy: {
    control: "istiod.istio-system.svc:15012",
    clusterId: "Kubernetes",
    clusterDomain: "cluster.local",
    trustDomain: "cluster.local",
    network: "",
    log: { level: "info", format: "json" },
  },
});
const models = { Deployment, HorizontalPodAutoscaler, PodDisruptionBudget, Service, ServiceAccount } as const;

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly data?: Readonly<Record<string, string>>;
}

function plan(name: string): ReturnType<typeof planWaypoint> {
  const text = readFileSync(new URL(`${name}.in.yaml`, testdata), "utf8");
  const [gateway, ...configMaps] = parseAllDocuments(text).map((document) => document.toJS() as Manifest);
  return planWaypoint(gateway as unknown as Gateway, runtime, configMaps.map(parseOverlay));
}

const cases = readdirSync(testdata)
  .filter((file) => file.endsWith(".in.yaml"))
  .map((file) => file.replace(".in.yaml", ""));

describe("planWaypoint", () => {
  test.each(cases)("%s", async (name) => {
    const objects = plan(name);
    const text = objects
      .map((object) => stringify(object, { lineWidth: 0, aliasDuplicateObjects: false }))
      .join("---\n");
    await expect(text).toMatchFileSnapshot(`testdata/${name}.out.yaml`);
  });

  test.each(cases)("%s: every object fits the API's schema", (name) => {
    for (const object of plan(name)) {
      const Model = models[object.kind as keyof typeof models] as new (data: never) => { validate(): void };
      expect(() => new Model(object as never).validate()).not.toThrow();
    }
  });

  test("names the overlay that does not fit", () => {
    const gateway = { apiVersion: "gateway.networking.k8s.io/v1", kind: "Gateway", metadata: { name: "way" } };
    const overlay = parseOverlay({
      metadata: { name: "params", namespace: "shop" },
      data: { deployment: "spec: {template: {spec: {containers: [{image: x}]}}}" },
    });
    expect(() => planWaypoint(gateway, runtime, [overlay])).toThrow(
      "ConfigMap shop/params: Deployment: spec.template.spec.containers[0]: the field name is missing, by which items are found",
    );
  });
});

describe("parseOverlay", () => {
  test.each([
    [{ deployment: "a: [" }, /^ConfigMap shop\/params: key deployment is not YAML: /],
    [{ deployment: "- a" }, /^ConfigMap shop\/params: key deployment is not a mapping$/],
    [{ deploymnt: "" }, /^ConfigMap shop\/params: unknown key deploymnt; known: deployment, service, /],
  ])("refuses %j", (data, message) => {
    expect(() => parseOverlay({ metadata: { name: "params", namespace: "shop" }, data })).toThrow(message);
  });

  test("an empty patch still asks for its object", () => {
    const { patches } = parseOverlay({ metadata: { name: "params" }, data: { podDisruptionBudget: "" } });
    expect([...patches]).toEqual([["PodDisruptionBudget", {}]]);
  });
});
