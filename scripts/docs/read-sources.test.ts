import { describe, expect, it } from "vitest";
import { findDefined } from "./read-sources.ts";

const namesIn = (text: string, path = "packages/x/src/a.ts") => {
  const found = findDefined([{ path, text }]);
  const names = Object.entries(found).map(([topic, defined]) => [topic, defined.map(({ name }) => name)]);
  return Object.fromEntries(names) as Record<keyof typeof found, string[]>;
};

describe("findDefined", () => {
  it("finds metrics by name and help, on one line or two", () => {
    const text =
      'counter({ name: "a_b_total", help: "x" });\ngauge({\n  name: "c_d",\n  help: "y",\n});\n({ name: "e_f" });';
    expect(namesIn(text).metrics).toEqual(["a_b_total", "c_d"]);
  });

  it("finds settings read through a reader, wherever the line breaks", () => {
    const text =
      'reader.string("A_B", "x"); reader\n  .list("C", []); required("D_E", reader); process.env["F_G"]; log("H_I");';
    expect(namesIn(text).settings).toEqual(["A_B", "C", "D_E", "F_G"]);
  });

  it("expands settings that both servers of the control plane have", () => {
    const text = [
      'function read(prefix: "XDS" | "CA") {',
      "  reader.string(`${prefix}_ADDRESS`); reader.string(`ALT_${prefix}_HOSTNAME`);",
      '  withPrefix(environment, `${prefix}_HEADER_`); withPrefix(environment, "META_");',
      "}",
    ].join("\n");
    expect(namesIn(text).settings.toSorted()).toEqual([
      "ALT_CA_HOSTNAME",
      "ALT_XDS_HOSTNAME",
      "CA_ADDRESS",
      "CA_HEADER_*",
      "META_*",
      "XDS_ADDRESS",
      "XDS_HEADER_*",
    ]);
  });

  it("finds error codes in unions, fields, calls and faults of HTTP/2, and nothing else in capitals", () => {
    const text = [
      'type PartErrorCode = "A_ONE" | "A_TWO";',
      'new MeshError("x", { code: "B_ONE" }); class E { readonly code = "B_TWO"; }',
      'throw zdsError("ZDS_ONE", "x"); throw cannotOpen("HTTP2_TWO", "x"); throw badSetting("MAX_SIZE", 1);',
      "throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, `x`);",
      'reader.integer("HTTP2_WINDOW");',
    ].join("\n");
    expect(namesIn(text).errors.toSorted()).toEqual([
      "A_ONE",
      "A_TWO",
      "B_ONE",
      "B_TWO",
      "HTTP2_PROTOCOL_ERROR",
      "HTTP2_TWO",
      "ZDS_ONE",
    ]);
  });

  it("finds CONNECT headers", () => {
    const text = 'export const connectHeader = {\n  a: "forwarded",\n  b: "x-hairpin-for",\n} as const;';
    expect(namesIn(text).headers.toSorted()).toEqual(["forwarded", "x-hairpin-for"]);
  });

  it("finds commands with their options, and the name of the mesh where it is added", () => {
    const text =
      'withMeshName(program.command("up"))\n  .option("-f, --filename <path>", "x")\n  .option("--ipv6", "y");';
    expect(namesIn(text, "packages/cli/src/command/up.ts").commands).toEqual([
      "hairpin up",
      "hairpin up --name",
      "hairpin up --filename",
      "hairpin up --ipv6",
    ]);
  });

  it("says where a name was found first", () => {
    const files = ["a", "b"].map((name) => ({ path: `packages/${name}.ts`, text: '\n({ name: "x_y", help: "" })' }));
    expect(findDefined(files).metrics).toEqual([{ name: "x_y", where: "packages/a.ts:2" }]);
  });
});
