import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import { describe, expect, it } from "vitest";
import { isMap, type Pair, parse, parseDocument, isScalar } from "yaml";

const chart = join(import.meta.dirname, "../charts/hairpin");
const read = (file: string): string => readFileSync(join(chart, file), "utf8");
const validate = new Ajv({ allErrors: true, allowUnionTypes: true }).compile(
  JSON.parse(read("values.schema.json")) as object,
);

/** What the schema says against values. */
function mistakes(values: unknown): string[] {
  validate(values);
  return (validate.errors ?? []).map(({ instancePath, message, params }) =>
    `${instancePath} ${message} ${(params as { additionalProperty?: string }).additionalProperty ?? ""}`.trim(),
  );
}

/** Dotted paths of all keys of a mapping, maps that the user fills left as one. */
function pathsOf(value: unknown, prefix = ""): string[] {
  if (typeof value !== "object" || value === null || Array.isArray(value) || Object.keys(value).length === 0)
    return [prefix];
  return Object.entries(value).flatMap(([key, inner]) => pathsOf(inner, prefix === "" ? key : `${prefix}.${key}`));
}

describe("the chart's values", () => {
  const defaults = parse(read("values.yaml")) as Record<string, unknown>;

  it("are what their schema describes", () => expect(mistakes(defaults)).toEqual([]));

  it.each([
    [{ ztunel: {} }, "must NOT have additional properties ztunel"],
    [{ ztunnel: { worker: 2 } }, "/ztunnel must NOT have additional properties worker"],
    [{ ztunnel: { workerThreads: "two" } }, "/ztunnel/workerThreads must be integer"],
    [{ control: { replicas: 0 } }, "/control/replicas must be >= 1"],
    [{ platform: "kindd" }, "/platform must be equal to one of the allowed values"],
    [{ capture: { cniBinDir: "opt/cni" } }, '/capture/cniBinDir must match pattern "^(/.*)?$"'],
    [{ waypoint: { defaults: { deploymnt: {} } } }, "/waypoint/defaults must NOT have additional properties deploymnt"],
  ])("refuse %j by name", (values, mistake) => expect(mistakes(values)).toEqual([mistake]));

  it("know every key of the schema, so that values.yaml is the whole documentation", () => {
    const schema = JSON.parse(read("values.schema.json")) as { properties: Record<string, { properties?: object }> };
    for (const [section, { properties }] of Object.entries(schema.properties)) {
      if (section === "global") continue;
      expect(Object.keys(defaults), section).toContain(section);
      if (properties === undefined) continue;
      const written = Object.keys(defaults[section] ?? {});
      const optional = section === "control" ? [] : ["affinity"];
      expect(
        Object.keys(properties).filter((key) => !written.includes(key) && !optional.includes(key)),
        section,
      ).toEqual([]);
    }
  });

  it("are each used by a template", () => {
    const templates = [
      "_helpers.tpl",
      "preflight.yaml",
      "monitoring.yaml",
      "network-policies.yaml",
      "NOTES.txt",
      "crds.yaml",
    ]
      .concat(["rbac", "deployment", "waypoint-defaults", "webhook"].map((name) => `control/${name}.yaml`))
      .concat(["rbac", "daemonset"].map((name) => `capture/${name}.yaml`))
      .concat("ztunnel/daemonset.yaml")
      .map((file) => read(`templates/${file}`))
      .join("\n");
    const unused = pathsOf(defaults).filter((path) => {
      const [first = "", second = ""] = path.split(".");
      return (
        !templates.includes(`.Values.${first}.${second}`) &&
        !templates.includes(`.Values.${path}`) &&
        !templates.includes(`.${second}`)
      );
    });
    expect(unused).toEqual([]);
  });

  it("have a comment above every section", () => {
    const { contents } = parseDocument(read("values.yaml"));
    if (!isMap(contents)) throw new Error("values.yaml is no mapping");
    const lines = read("values.yaml").split("\n");
    const bare = (contents.items as Pair[])
      .map(({ key }) => (isScalar(key) ? String(key.value) : ""))
      .filter((key) => {
        const at = lines.findIndex((line) => line.startsWith(`${key}:`));
        return !lines[at - 1]?.startsWith("#") && !lines[at + 1]?.trimStart().startsWith("#");
      });
    expect(bare).toEqual([]);
  });
});
