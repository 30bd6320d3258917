import { describe, expect, it } from "vitest";
import { object, pod } from "../local/testing/objects.ts";
import { columnsOf } from "./kind-columns.ts";
import { formatMeshTable } from "./mesh-summary.ts";
import { formatAge, formatTable } from "./table.ts";

describe("formatTable", () => {
  it("aligns columns and leaves no blanks at line ends", () => {
    expect(
      formatTable(
        ["NAME", "IP"],
        [
          ["a-long-name", "1"],
          ["b", ""],
        ],
      ),
    ).toBe("NAME          IP\na-long-name   1\nb");
  });
});

describe("formatAge", () => {
  it.each([
    ["2026-01-01T00:00:00Z", "45s", 45],
    ["2026-01-01T00:00:00Z", "3m", 185],
    ["2026-01-01T00:00:00Z", "2h", 7300],
    ["2026-01-01T00:00:00Z", "5d", 5 * 86_400 + 1],
  ])("writes %s as %s", (start, text, seconds) => {
    expect(formatAge(start, new Date(Date.parse(start) + seconds * 1000))).toBe(text);
  });
});

describe("columns", () => {
  it("show the conditions that are not True", () => {
    const policy = object("security.istio.io/v1", "AuthorizationPolicy", "p", {
      spec: { action: "DENY" },
      status: { conditions: [{ type: "ZtunnelAccepted", status: "False", reason: "UnsupportedValue" }] },
    });
    expect(columnsOf("AuthorizationPolicy").map(({ cell }) => cell(policy))).toEqual([
      "DENY",
      "ZtunnelAccepted=False (UnsupportedValue)",
    ]);
  });
});

describe("the mesh table", () => {
  const captured = (name: string, labels: Record<string, string>, serviceAccountName = "default") => {
    const one = pod({ name, ip: "10.0.0.1", labels, spec: { nodeName: "node1", serviceAccountName } });
    return { ...one, metadata: { ...one.metadata, annotations: { "ambient.istio.io/redirection": "enabled" } } };
  };
  const gateway = (name: string, annotations: Record<string, string> = {}) =>
    object("gateway.networking.k8s.io/v1", "Gateway", name, {
      metadata: { annotations },
      spec: { gatewayClassName: "istio-waypoint" },
    });

  it("names the waypoint by the pod's label, then its service account's, then its namespace's", () => {
    const objects = [
      captured("a", { "istio.io/use-waypoint": "mine" }),
      captured("b", {}, "cart"),
      captured("c", {}),
      captured("d", { "istio.io/use-waypoint": "none" }),
      pod({ name: "e" }),
      gateway("for-cart", { "istio.io/for-service-account": "cart" }),
      gateway("shared"),
    ];
    const lines = formatMeshTable(objects).split("\n").slice(1);
    expect(lines.map((line) => line.split(/ {2,}/).slice(1, 2).concat(line.split(/ {2,}/).slice(-2)))).toEqual([
      ["a", "yes", "mine"],
      ["b", "yes", "for-cart"],
      ["c", "yes", "shared"],
      ["d", "node1", "yes"],
      ["e", "Running", "no"],
    ]);
  });
});
