// What is reused must be what would have been built. MODEL_RUNS=2000 is the long form; MODEL_SEED repeats one.

import { readdirSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { objectKey } from "./collection/kind.ts";
import type { Gateway, KubernetesObject, Pod } from "./collection/kubernetes-object.ts";
import { ObjectCollection } from "./collection/object-collection.ts";
import { runWhole } from "./collection/sliced.ts";
import { type MeshModel, MeshModelBuilder, buildMeshModel } from "./mesh-model.ts";
import { ResourceEncoder } from "./push/served-resources.ts";
import { readGolden, testMesh } from "./testdata/render-model.ts";
import { aDenyPolicy, aGateway, aNamespace, aPod, aServiceObject } from "./testing/objects.ts";

const runs = Number(process.env["MODEL_RUNS"] ?? 15);
const seed = process.env["MODEL_SEED"];
const now = new Date("2026-01-01T00:00:00Z");

const goldens = readdirSync(new URL("./testdata", import.meta.url))
  .filter((file) => file.endsWith(".in.yaml"))
  .map((file) => readGolden(file.replace(".in.yaml", "")).objects);
/** Objects of one name in several goldens stand for versions of one object. */
const pool: readonly KubernetesObject[] = goldens.flat();

type Change =
  | { readonly kind: "put"; readonly object: KubernetesObject }
  | { readonly kind: "remove"; readonly object: KubernetesObject }
  | { readonly kind: "acknowledge"; readonly gateway: string };

const gateways = pool.filter((object) => object.kind === "Gateway").map(objectKey);
const anObject = fc.nat(pool.length - 1).map((index) => pool[index] as KubernetesObject);
const aVersion = anObject.chain((object) => fc.constantFrom(object, ...versionsOf(object)));
const aChange: fc.Arbitrary<Change> = fc.oneof(
  { weight: 6, arbitrary: aVersion.map((object) => ({ kind: "put" as const, object })) },
  { weight: 2, arbitrary: anObject.map((object) => ({ kind: "remove" as const, object })) },
  { weight: 1, arbitrary: fc.constantFrom(...gateways).map((gateway) => ({ kind: "acknowledge" as const, gateway })) },
);

/** Other states that the object may come to: labels that select, bind or make it a waypoint's; readiness; leaving. */
function versionsOf(object: KubernetesObject): KubernetesObject[] {
  const { metadata } = object;
  const labelled = (labels: Readonly<Record<string, string>>): KubernetesObject => ({
    ...object,
    metadata: { ...metadata, labels: { ...metadata.labels, ...labels } },
  });
  const permissive = { "hairpin.mesh/waypoint-enforcement": "permissive" };
  const annotated = { ...object, metadata: { ...metadata, annotations: { ...metadata.annotations, ...permissive } } };
  return [
    structuredClone(object),
    labelled({ "istio.io/use-waypoint": "waypoint" }),
    labelled({ "istio.io/use-waypoint": "none" }),
    labelled({ app: "web" }),
    annotated,
    ...(object.kind === "Pod" || object.kind === "Gateway" ? [withoutConditions(object)] : []),
  ];
}

function withoutConditions(object: Pod | Gateway): KubernetesObject {
  return Object.assign({}, object, { status: { ...object.status, conditions: [] } });
}

/** Everything of a model but its binder, which remembers answers. */
function contentOf({ ambient, ...model }: MeshModel, encoder: ResourceEncoder): unknown {
  const { binder: _, ...rest } = ambient;
  const encoded = [
    runWhole(encoder.addresses(ambient)),
    runWhole(encoder.authorizations(ambient)),
    [...model.waypoints.values()].map((resources) => runWhole(encoder.waypoint(resources))),
  ];
  return { ambient: rest, ...model, encoded };
}

describe("MeshModelBuilder", () => {
  test("comes to what a build from nothing comes to, whatever changed in between", { timeout: 3_600_000 }, () => {
    const property = fc.property(
      fc.constantFrom(...goldens),
      fc.array(fc.array(aChange, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 10 }),
      (start, rounds) => {
        const objects = new ObjectCollection();
        objects.replaceAll(start);
        const acknowledged = new Set<string>();
        const context = { acknowledgements: { hasAcknowledged: (key: string) => acknowledged.has(key) }, now };
        const builder = new MeshModelBuilder(testMesh);
        const encoder = new ResourceEncoder();
        const held = new Map(start.map((object) => [keyOf(object), object]));
        for (const changes of [[], ...rounds]) {
          for (const change of changes) {
            if (change.kind === "put") {
              objects.put(change.object);
              held.set(keyOf(change.object), change.object);
            } else if (change.kind === "remove") {
              objects.remove(change.object);
              held.delete(keyOf(change.object));
            } else if (!acknowledged.delete(change.gateway)) acknowledged.add(change.gateway);
          }
          const model = contentOf(runWhole(builder.build(objects.snapshot(), context)), encoder);
          const anew = new ObjectCollection();
          anew.replaceAll(held.values());
          const fresh = contentOf(buildMeshModel(anew.snapshot(), testMesh, context), new ResourceEncoder());
          if (!isDeepStrictEqual(model, fresh)) expect(model).toEqual(fresh);
        }
      },
    );
    fc.assert(property, { numRuns: runs, ...(seed === undefined ? {} : { seed: Number(seed) }) });
  });

  test("leaves what did not change as it is: the same objects", () => {
    const objects = new ObjectCollection();
    const elsewhere = aPod("far", { namespace: "other" });
    objects.replaceAll([
      aNamespace("shop", { "istio.io/use-waypoint": "w" }),
      aGateway("w", true),
      aServiceObject("web", "10.1.0.1"),
      aPod("web"),
      aPod("db"),
      elsewhere,
      aDenyPolicy("deny", "web"),
    ]);
    const builder = new MeshModelBuilder(testMesh);
    const build = (): MeshModel => {
      const acknowledgements = { hasAcknowledged: () => true };
      return runWhole(builder.build(objects.snapshot(), { acknowledgements, now }));
    };
    const messages = ({ ambient }: MeshModel): Map<string, unknown> =>
      new Map(ambient.workloadMessages.map((message) => [message.name, message]));
    const before = build();
    objects.put(aPod("db", { ready: false }));
    const after = build();

    expect(messages(after).get("web")).toBe(messages(before).get("web"));
    expect(messages(after).get("db")).not.toEqual(messages(before).get("db"));
    expect(after.ambient.namespaces.get("other")).toBe(before.ambient.namespaces.get("other"));
    expect(after.ambient.serviceMessages[0]).toBe(before.ambient.serviceMessages[0]);
    expect(after.ambient.authorizations[0]).toBe(before.ambient.authorizations[0]);
    const workload = ({ waypoints }: MeshModel): unknown =>
      waypoints.get("shop/w")?.workloads.get("Kubernetes//Pod/shop/web");
    expect(workload(before)).toBeDefined();
    expect(workload(after)).toBe(workload(before));
    expect(build().waypoints.get("shop/w")).toBe(after.waypoints.get("shop/w"));
  });
});

function keyOf(object: KubernetesObject): string {
  return `${object.kind} ${objectKey(object)}`;
}
