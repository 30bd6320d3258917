import { Ajv } from "ajv";
import { parse, stringify } from "yaml";
import { describe, expect, test } from "vitest";
import { describeFault, validateObject } from "../../manifest/index.ts";
import { definitions } from "./definitions.ts";
import type { Schema } from "./schema.ts";

const chart = new URL("../../../../../charts/hairpin/files/crds/", import.meta.url);
const ajv = new Ajv({ strict: false, allErrors: true });

const schemaOf = (kind: string): Schema => {
  const found = definitions.find(({ spec }) => spec.names.kind === kind);
  if (found?.spec.versions[0] === undefined) throw new Error(`no definition of ${kind}`);
  return found.spec.versions[0].schema.openAPIV3Schema;
};

/** What both say of an object with this spec; CEL rules are the API server's, and are checked there (e2e). */
function judge(kind: string, spec: string): { readonly schema: boolean; readonly mesh: string } {
  const group = ["AuthorizationPolicy", "PeerAuthentication"].includes(kind) ? "security" : "networking";
  const object = {
    apiVersion: `${group}.istio.io/v1`,
    kind,
    metadata: { name: "x", namespace: "shop" },
    spec: parse(spec) as unknown,
  };
  return {
    schema: ajv.validate(schemaOf(kind), object),
    mesh: validateObject(object).map(describeFault).join("; "),
  };
}

/** Faults against "Specifying a structural schema" of Kubernetes. */
function structuralFaults(schema: Schema, path: string): string[] {
  const { properties, additionalProperties, items } = schema as {
    properties?: Record<string, Schema>;
    additionalProperties?: Schema;
    items?: Schema;
  };
  const faults: string[] = [];
  if (typeof schema.type !== "string") faults.push(`${path}: no type`);
  if (properties !== undefined && additionalProperties !== undefined) faults.push(`${path}: both kinds of properties`);
  if (schema.type === "array" && items === undefined) faults.push(`${path}: no items`);
  for (const [name, value] of Object.entries(properties ?? {}))
    faults.push(...structuralFaults(value, `${path}.${name}`));
  if (additionalProperties !== undefined) faults.push(...structuralFaults(additionalProperties, `${path}.*`));
  if (items !== undefined) faults.push(...structuralFaults(items, `${path}[]`));
  return faults;
}

describe("custom resource definitions", () => {
  test.each(definitions.map((definition) => [definition.metadata.name, definition] as const))(
    "%s is in the chart as it is built",
    async (name, definition) => {
      const text = stringify(definition, { lineWidth: 0, aliasDuplicateObjects: false });
      await expect(text).toMatchFileSnapshot(new URL(`${name}.yaml`, chart).pathname);
    },
  );

  test.each(definitions.map(({ spec }) => spec.names.kind))("%s has a structural schema", (kind) => {
    expect(structuralFaults(schemaOf(kind), kind)).toEqual([]);
  });

  test.each<[string, string]>([
    ["AuthorizationPolicy", "{}"],
    ["AuthorizationPolicy", "{action: DENY, rules: [{}]}"],
    [
      "AuthorizationPolicy",
      `{selector: {matchLabels: {app: web}}, action: ALLOW, rules: [{
        from: [{source: {principals: ["*/sa/web"], notNamespaces: [x], ipBlocks: [10.0.0.0/8], serviceAccounts: [web]}}],
        to: [{operation: {ports: ["80", "65535"], methods: [GET], paths: [/a*], hosts: [a.example]}}],
        when: [{key: "request.headers[x]", values: [a], notValues: [b]}]}]}`,
    ],
    ["AuthorizationPolicy", "{targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: way}]}"],
    ["AuthorizationPolicy", "{action: CUSTOM, provider: {name: authz}, rules: [{}]}"],
    ["PeerAuthentication", "{mtls: {mode: STRICT}}"],
    ["PeerAuthentication", "{selector: {matchLabels: {app: web}}, portLevelMtls: {'8080': {mode: PERMISSIVE}}}"],
    [
      "ServiceEntry",
      "{hosts: [a.example], ports: [{number: 443, name: tls, protocol: TLS}], location: MESH_EXTERNAL, resolution: DNS}",
    ],
    [
      "ServiceEntry",
      `{hosts: [a.example], addresses: [240.0.0.1], ports: [{number: 80, name: http, targetPort: 8080}], resolution: STATIC,
        endpoints: [{address: 10.0.0.1, ports: {http: 80}, labels: {a: b}, weight: 3, locality: a/b/c, serviceAccount: x, network: n}]}`,
    ],
    ["ServiceEntry", "{hosts: [a.example], ports: [{number: 80, name: http}], workloadSelector: {labels: {app: web}}}"],
    ["WorkloadEntry", "{address: 10.0.0.1, labels: {app: web}, serviceAccount: web, ports: {http: 8080}}"],
  ])("take a %s with %s, as the local mesh does", (kind, spec) => {
    expect(judge(kind, spec)).toEqual({ schema: true, mesh: "" });
  });

  test.each<[string, string]>([
    ["AuthorizationPolicy", "{action: PERMIT}"],
    ["AuthorizationPolicy", "{rules: [{to: [{operation: {ports: ['0']}}]}]}"],
    ["AuthorizationPolicy", "{rules: [{to: [{operation: {notPorts: ['65536']}}]}]}"],
    ["AuthorizationPolicy", "{rules: [{to: [{operation: {ports: ['080']}}]}]}"],
    ["AuthorizationPolicy", "{rules: [{to: [{operation: {ports: [80]}}]}]}"],
    ["AuthorizationPolicy", "{rules: [{from: [{source: {principals: web}}]}]}"],
    ["AuthorizationPolicy", "{rules: [{when: [{values: [a]}]}]}"],
    ["AuthorizationPolicy", "{targetRefs: [{kind: Gateway}]}"],
    ["AuthorizationPolicy", "{targetRefs: [{kind: '', name: x}]}"],
    ["AuthorizationPolicy", "{selector: {matchLabels: {app: 7}}}"],
    ["PeerAuthentication", "{mtls: {mode: LAX}}"],
    ["PeerAuthentication", "{mtls: STRICT}"],
    ["ServiceEntry", "{ports: []}"],
    ["ServiceEntry", "{hosts: []}"],
    ["ServiceEntry", "{hosts: [a.example], ports: [{name: http}]}"],
    ["ServiceEntry", "{hosts: [a.example], ports: [{number: 80}]}"],
    ["ServiceEntry", "{hosts: [a.example], resolution: MAGIC}"],
    ["ServiceEntry", "{hosts: [a.example], endpoints: [{weight: heavy}]}"],
    ["WorkloadEntry", "{address: 7}"],
    ["WorkloadEntry", "{ports: {http: many}}"],
  ])("refuse a %s with %s, as the local mesh does", (kind, spec) => {
    const { schema, mesh } = judge(kind, spec);
    expect(schema).toBe(false);
    expect(mesh).not.toBe("");
  });

  test.each<[string, string, string]>([
    [
      "AuthorizationPolicy",
      "{selector: {matchLabels: {a: b}}, targetRefs: [{kind: Service, name: x}]}",
      "a policy has either a selector or targetRefs",
    ],
    [
      "PeerAuthentication",
      "{portLevelMtls: {'80': {mode: STRICT}}}",
      "ports are of workloads: portLevelMtls needs a selector with matchLabels",
    ],
    [
      "ServiceEntry",
      "{hosts: [a.example], endpoints: [{address: 10.0.0.1}], workloadSelector: {labels: {a: b}}}",
      "a ServiceEntry has either endpoints or a workloadSelector",
    ],
  ])("refuse a %s with %s by a rule in the words of the local mesh", (kind, spec, message) => {
    const rules = (schemaOf(kind)["properties"] as { spec: { "x-kubernetes-validations": { message: string }[] } })
      .spec["x-kubernetes-validations"];
    expect(rules.map((rule) => rule.message)).toContain(message);
    expect(judge(kind, spec).mesh).toContain(message);
  });
});
