import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkReferences } from "./check-references.ts";
import { formatProblem } from "./problem.ts";
import { parseManifest, readManifests } from "./read-manifests.ts";

function problemsOf(text: string): string[] {
  return parseManifest(text, "x.yaml").problems.map(formatProblem);
}

const route = (rest: string): string => `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: reviews
  namespace: books
spec:
  parentRefs:
    - group: ""
      kind: Service
      name: reviews
${rest}`;

describe("parseManifest", () => {
  it.each([
    ["bad YAML", "a: [\n", ["x.yaml:2: not YAML"]],
    ["a text that is no object", "hello\n", ["x.yaml:1: a manifest is a mapping"]],
    [
      "an unknown kind",
      "apiVersion: v1\nkind: Pods\nmetadata: { name: a }\n",
      ['x.yaml:2: kind: unknown kind "Pods". Did you mean Pod?'],
    ],
    [
      "a kind with another version",
      "kind: Pod\napiVersion: v2\n",
      ['x.yaml:2: apiVersion: "v2" is not a version of Pod; use v1'],
    ],
    [
      "a missing name",
      "apiVersion: v1\nkind: Namespace\nmetadata: {}\n",
      ["x.yaml:3: metadata.name: the name is missing"],
    ],
    [
      "a bad name",
      "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: A_b\n",
      ['x.yaml:4: metadata.name: "A_b" is not a name'],
    ],
    [
      "a namespace on a Namespace",
      "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  namespace: b\n",
      ["x.yaml:5: metadata.namespace: a Namespace has no namespace"],
    ],
    [
      "a label that is no string",
      "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  labels:\n    on: true\n",
      ["x.yaml:6: metadata.labels.on: true is not a string; put it in quotes"],
    ],
    [
      "an unknown field, with the name that was meant",
      "apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nspec:\n  containers:\n    - name: a\n      comand: [x]\n",
      ['x.yaml:7: spec.containers[0].comand: unknown field "comand"; did you mean command? (Pod a)'],
    ],
    [
      "a port out of range",
      route("  rules:\n    - backendRefs:\n        - name: a\n          port: 70000\n"),
      ["x.yaml:14: spec.rules[0].backendRefs[0].port: 70000 must be <= 65535 (HTTPRoute books/reviews)"],
    ],
    [
      "a value that is not of the list",
      route("  rules:\n    - matches:\n        - path:\n            type: Glob\n"),
      ['x.yaml:14: spec.rules[0].matches[0].path.type: "Glob" is none of Exact, PathPrefix, RegularExpression'],
    ],
    [
      "a container port out of range",
      "apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nspec:\n  containers:\n    - name: a\n      ports:\n        - containerPort: 0\n",
      ["x.yaml:8: spec.containers[0].ports[0].containerPort: 0 is not a port (1 to 65535)"],
    ],
    [
      "ports without names",
      "apiVersion: v1\nkind: Service\nmetadata: { name: a }\nspec:\n  ports:\n    - port: 1\n    - port: 2\n      name: b\n",
      ["x.yaml:6: spec.ports[0].name: every port needs a name when there are several"],
    ],
    [
      "a Deployment that does not select its pods",
      "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: a }\nspec:\n  selector:\n    matchLabels:\n      app: a\n  template:\n    metadata:\n      labels:\n        app: b\n    spec:\n      containers: [{ name: a }]\n",
      ["x.yaml:7: spec.selector.matchLabels.app: the template's labels do not have app: a"],
    ],
    [
      "a policy port that is no number",
      'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: a }\nspec:\n  rules:\n    - to:\n        - operation:\n            ports: ["http"]\n',
      ['x.yaml:8: spec.rules[0].to[0].operation.ports[0]: "http" is not a port (1 to 65535)'],
    ],
    [
      "an action that is none",
      "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: a }\nspec:\n  action: ALOW\n",
      ['x.yaml:5: spec.action: "ALOW" is none of ALLOW, DENY, AUDIT, CUSTOM'],
    ],
    [
      "a policy with selector and target",
      "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: a }\nspec:\n  selector: { matchLabels: { a: b } }\n  targetRefs: [{ kind: Service, group: '', name: a }]\n",
      ["x.yaml:5: spec.selector: a policy has either a selector or targetRefs"],
    ],
  ])("refuses %s", (_, text, expected) => {
    const problems = problemsOf(text);
    expect(problems).toHaveLength(expected.length);
    for (const [index, start] of expected.entries()) expect(problems[index]).toContain(start);
  });

  it("keeps the good documents of a file with a bad one, and says where each begins", () => {
    const { objects, problems } = parseManifest(
      "apiVersion: v1\nkind: Namespace\nmetadata: { name: a }\n---\nkind: Foo\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: { name: b }\n",
      "f",
    );
    expect(objects.map(({ line, object }) => [line, object["kind"]])).toEqual([
      [1, "Namespace"],
      [7, "ServiceAccount"],
    ]);
    expect(problems).toHaveLength(1);
  });

  it("puts namespaced objects without a namespace into default", () => {
    const { objects } = parseManifest("apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: b }\n", "f");
    expect(objects[0]?.object["metadata"]).toEqual({ name: "b", namespace: "default" });
  });

  it("reads the items of a List and places their faults", () => {
    const text =
      "apiVersion: v1\nkind: List\nitems:\n  - apiVersion: v1\n    kind: Namespace\n    metadata:\n      name: a\n  - apiVersion: v1\n    kind: Namespace\n    metadata:\n      name: _\n";
    const { objects, problems } = parseManifest(text, "x.yaml");
    expect(objects).toHaveLength(1);
    expect(problems.map(formatProblem)[0]).toContain("x.yaml:11: metadata.name");
  });

  it("passes over empty documents", () => {
    expect(parseManifest("---\n# nothing\n---\n", "f")).toEqual({ objects: [], problems: [] });
  });

  it("refuses an alias bomb", () => {
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n`;
    expect(problemsOf(bomb)[0]).toMatch(/alias/i);
  });
});

describe("readManifests", () => {
  it("reads a folder in the order of names, passes over other files, and reports what cannot be read", async () => {
    const folder = await mkdtemp(join(tmpdir(), "manifests-"));
    try {
      await mkdir(join(folder, "sub"));
      await writeFile(join(folder, "b.yaml"), "apiVersion: v1\nkind: Namespace\nmetadata: { name: b }\n");
      await writeFile(join(folder, "a.json"), '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}}');
      await writeFile(join(folder, "sub", "c.yml"), "apiVersion: v1\nkind: Namespace\nmetadata: { name: c }\n");
      await writeFile(join(folder, "notes.md"), "# no manifest");
      const { objects, problems } = await readManifests([folder, join(folder, "missing.yaml")]);
      expect(objects.map(({ object }) => (object["metadata"] as { name: string }).name)).toEqual(["a", "b", "c"]);
      expect(problems.map(formatProblem)).toEqual([expect.stringMatching(/missing\.yaml:1: cannot be read: ENOENT/)]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe("checkReferences", () => {
  const service = parseManifest(
    "apiVersion: v1\nkind: Service\nmetadata: { name: reviews, namespace: books }\n",
    "s.yaml",
  ).objects;

  it("warns of parents and backends that are nowhere", () => {
    const { objects } = parseManifest(
      route("  rules:\n    - backendRefs:\n        - name: nowhere\n          port: 80\n"),
      "x.yaml",
    );
    expect(checkReferences(objects, []).map(formatProblem)).toEqual([
      "x.yaml:10: warning: spec.parentRefs[0].name: there is no Service books/reviews; the route is not used until it exists (HTTPRoute books/reviews)",
      "x.yaml:13: warning: spec.rules[0].backendRefs[0].name: there is no Service books/nowhere; its share of the requests is answered 500 (HTTPRoute books/reviews)",
    ]);
  });

  it("finds them among what exists and among the manifests", () => {
    const { objects } = parseManifest(route(""), "x.yaml");
    expect(
      checkReferences(
        objects,
        service.map(({ object }) => object),
      ),
    ).toEqual([]);
    expect(checkReferences([...objects, ...service], [])).toEqual([]);
  });
});
