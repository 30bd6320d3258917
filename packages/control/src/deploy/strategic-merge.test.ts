import fc from "fast-check";
import { parse } from "yaml";
import { describe, expect, test } from "vitest";
import { mergeStrategically } from "./strategic-merge.ts";

const deployment = {
  kind: "Deployment",
  metadata: { name: "way", labels: { a: "1", b: "2" }, finalizers: ["x"] },
  spec: {
    strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1 } },
    template: {
      spec: {
        tolerations: [{ key: "old" }],
        volumes: [{ name: "token" }, { name: "root", configMap: { name: "root" } }],
        containers: [
          {
            name: "istio-proxy",
            image: "hairpin:1",
            args: ["waypoint"],
            env: [
              { name: "LOG_LEVEL", value: "info" },
              { name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
            ],
            ports: [{ name: "metrics", containerPort: 15_020 }],
            resources: { requests: { cpu: "100m", memory: "128Mi" } },
          },
        ],
      },
    },
  },
};
const service = { kind: "Service", spec: { ports: [{ port: 15_008, name: "mesh", appProtocol: "hbone" }] } };

/** What the patch makes of the object, at one path of it. */
function patched(object: { readonly kind: string }, patch: string, path: string): unknown {
  const merged = mergeStrategically(object, parse(patch));
  return path === ""
    ? merged
    : path.split(".").reduce<unknown>((value, field) => (value as Record<string, unknown>)[field], merged);
}

const inPod = (text: string): string => `spec: {template: {spec: ${text}}}`;
const inProxy = (text: string): string => inPod(`{containers: [{name: istio-proxy, ${text}}]}`);
const proxy = "spec.template.spec.containers.0";

describe("mergeStrategically", () => {
  test.each<[string, { readonly kind: string }, string, string, unknown]>([
    [
      "adds and overwrites fields of maps",
      deployment,
      "metadata: {labels: {b: '3', c: '4'}}",
      "metadata.labels",
      { a: "1", b: "3", c: "4" },
    ],
    ["removes a field that is null", deployment, "metadata: {labels: {b: null}}", "metadata.labels", { a: "1" }],
    [
      "removing what is not there changes nothing",
      deployment,
      "metadata: {labels: {z: null}}",
      "metadata.labels",
      { a: "1", b: "2" },
    ],
    [
      "replaces a map that says so",
      deployment,
      "metadata: {labels: {$patch: replace, z: '9'}}",
      "metadata.labels",
      { z: "9" },
    ],
    ["empties a map that says delete", deployment, "metadata: {labels: {$patch: delete}}", "metadata.labels", {}],
    ["finds a container by name", deployment, inProxy("image: mine"), `${proxy}.image`, "mine"],
    [
      "keeps what a container's patch does not name",
      deployment,
      inProxy("image: mine"),
      `${proxy}.ports`,
      [{ name: "metrics", containerPort: 15_020 }],
    ],
    [
      "adds a container after the others",
      deployment,
      inPod("{containers: [{name: helper}]}"),
      "spec.template.spec.containers.1",
      { name: "helper" },
    ],
    [
      "removes a container",
      deployment,
      inPod("{containers: [{name: istio-proxy, $patch: delete}]}"),
      "spec.template.spec.containers",
      [],
    ],
    [
      "changes one environment variable and adds another",
      deployment,
      inProxy("env: [{name: LOG_LEVEL, value: debug}, {name: X, value: y}]"),
      `${proxy}.env`,
      [
        { name: "LOG_LEVEL", value: "debug" },
        { name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
        { name: "X", value: "y" },
      ],
    ],
    [
      "removes an environment variable",
      deployment,
      inProxy("env: [{name: POD_NAME, $patch: delete}]"),
      `${proxy}.env`,
      [{ name: "LOG_LEVEL", value: "info" }],
    ],
    [
      "finds a container's port by its number",
      deployment,
      inProxy("ports: [{containerPort: 15020, name: scrape}, {containerPort: 9000}]"),
      `${proxy}.ports`,
      [{ name: "scrape", containerPort: 15_020 }, { containerPort: 9000 }],
    ],
    [
      "merges resources",
      deployment,
      inProxy("resources: {requests: {cpu: '1'}, limits: {cpu: '2'}}"),
      `${proxy}.resources`,
      { requests: { cpu: "1", memory: "128Mi" }, limits: { cpu: "2" } },
    ],
    ["replaces lists without a merge key: args", deployment, inProxy("args: [a, b]"), `${proxy}.args`, ["a", "b"]],
    [
      "replaces lists without a merge key: tolerations",
      deployment,
      inPod("{tolerations: [{key: new}]}"),
      "spec.template.spec.tolerations",
      [{ key: "new" }],
    ],
    [
      "merges volumes by name",
      deployment,
      inPod("{volumes: [{name: root, configMap: {name: other}}, {name: tmp, emptyDir: {}}]}"),
      "spec.template.spec.volumes",
      [{ name: "token" }, { name: "root", configMap: { name: "other" } }, { name: "tmp", emptyDir: {} }],
    ],
    [
      "changes the source of a volume with $retainKeys",
      deployment,
      inPod("{volumes: [{name: root, $retainKeys: [name, emptyDir], emptyDir: {}}]}"),
      "spec.template.spec.volumes",
      [{ name: "token" }, { name: "root", emptyDir: {} }],
    ],
    [
      "replaces a whole list that says so",
      deployment,
      inPod("{volumes: [{$patch: replace}, {name: only}]}"),
      "spec.template.spec.volumes",
      [{ name: "only" }],
    ],
    [
      "changes the strategy with $retainKeys",
      deployment,
      "spec: {strategy: {$retainKeys: [type], type: Recreate}}",
      "spec.strategy",
      { type: "Recreate" },
    ],
    ["adds to finalizers", deployment, "metadata: {finalizers: [y, x]}", "metadata.finalizers", ["x", "y"]],
    [
      "takes from finalizers",
      deployment,
      "metadata: {$deleteFromPrimitiveList/finalizers: [x]}",
      "metadata.finalizers",
      [],
    ],
    [
      "ignores an order of elements",
      deployment,
      "metadata: {$setElementOrder/finalizers: [x]}",
      "metadata.finalizers",
      ["x"],
    ],
    [
      "makes maps on the way",
      deployment,
      "spec: {template: {metadata: {labels: {a: b}}}}",
      "spec.template.metadata",
      { labels: { a: "b" } },
    ],
    [
      "finds a Service's port by its number",
      service,
      "spec: {ports: [{port: 15008, nodePort: 30000}]}",
      "spec.ports",
      [{ port: 15_008, name: "mesh", appProtocol: "hbone", nodePort: 30_000 }],
    ],
    [
      "merges a ServiceAccount's pull secrets",
      { kind: "ServiceAccount", imagePullSecrets: [{ name: "a" }] } as never,
      "imagePullSecrets: [{name: b}]",
      "imagePullSecrets",
      [{ name: "a" }, { name: "b" }],
    ],
    [
      "replaces an autoscaler's metrics",
      { kind: "HorizontalPodAutoscaler", spec: { metrics: [{ type: "A" }], maxReplicas: 1 } } as never,
      "spec: {metrics: [{type: B}], maxReplicas: 5}",
      "spec",
      { metrics: [{ type: "B" }], maxReplicas: 5 },
    ],
  ])("%s", (_, object, patch, path, expected) => {
    expect(patched(object, patch, path)).toEqual(expected);
  });

  test.each([
    ["- a", "a patch is a mapping"],
    ["spec: {$patch: reverse}", 'spec: $patch "reverse" is none of merge, replace, delete'],
    [
      inPod("{containers: [{image: x}]}"),
      "spec.template.spec.containers[0]: the field name is missing, by which items are found",
    ],
    [inPod("{containers: [istio-proxy]}"), "spec.template.spec.containers[0]: an item here is a mapping"],
  ])("refuses %s and says where", (patch, message) => {
    expect(() => mergeStrategically(deployment, parse(patch))).toThrow(message);
  });

  test("changes neither object nor patch", () => {
    const before = structuredClone(deployment);
    const patch: unknown = parse(inProxy("env: [{name: LOG_LEVEL, value: debug}]"));
    const patchBefore = structuredClone(patch);
    mergeStrategically(deployment, patch);
    expect(deployment).toEqual(before);
    expect(patch).toEqual(patchBefore);
  });

  test("laying a patch over twice is laying it over once, and an empty one changes nothing", () => {
    const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean());
    const patch = fc.record(
      {
        metadata: fc.record({ labels: fc.dictionary(fc.constantFrom("a", "b", "c"), fc.option(fc.string())) }),
        spec: fc.record({
          replicas: fc.option(fc.nat(5)),
          template: fc.record({
            spec: fc.record({
              nodeSelector: fc.dictionary(fc.constantFrom("x", "y"), fc.option(leaf)),
              containers: fc.uniqueArray(
                fc.record({ name: fc.constantFrom("istio-proxy", "other"), args: fc.array(fc.string()) }),
                { selector: ({ name }) => name },
              ),
            }),
          }),
        }),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(patch, (one) => {
        const once = mergeStrategically(deployment, one);
        expect(mergeStrategically(once, one)).toEqual(once);
        expect(mergeStrategically(once, {})).toEqual(once);
      }),
    );
  });
});
