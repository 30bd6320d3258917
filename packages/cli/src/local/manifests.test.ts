import { describe, expect, it } from "vitest";
import { ManifestError, Manifests } from "./manifests.ts";

const route = (parent: string) => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: shop}
spec:
  parentRefs: [{kind: Service, group: "", name: ${parent}}]
`;
const service = "apiVersion: v1\nkind: Service\nmetadata: {name: cart, namespace: shop}\nspec: {ports: [{port: 80}]}\n";

describe("Manifests", () => {
  it("tell file, line, path and reason of every mistake", () => {
    const text =
      "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports:\n    - port: 70000\n    - prot: 1\n";
    expect(() => Manifests.parse(text, "a.yaml")).toThrow(ManifestError);
    expect(() => Manifests.parse(text, "a.yaml")).toThrow(/^a\.yaml:6: spec\.ports\[0\]\.port: /m);
    expect(() => Manifests.parse(text, "a.yaml")).toThrow(/^a\.yaml:7: spec\.ports\[1\].*unknown field/m);
  });

  it("tell references that lead nowhere, also those among themselves that do not", () => {
    const [warning, ...others] = Manifests.parse(route("cart"), "r.yaml").danglingReferences([]);
    expect(warning).toMatch(/^r\.yaml:\d+: warning: spec\.parentRefs\[0\]\.name: there is no Service shop\/cart/);
    expect(others).toEqual([]);
    const both = Manifests.parse(route("cart"), "r.yaml").and(Manifests.parse(service, "s.yaml"));
    expect(both.danglingReferences([])).toEqual([]);
    const existing = Manifests.parse(service, "s.yaml").objects.map(({ object }) => object);
    expect(Manifests.parse(route("cart"), "r.yaml").danglingReferences(existing)).toEqual([]);
  });

  it("remember where each object came from", () => {
    const { objects } = Manifests.parse(`---\n${service}`, "s.yaml");
    expect(objects[0]).toMatchObject({ origin: { file: "s.yaml", line: 2 }, object: { kind: "Service" } });
  });
});
