// Istio's parts come from outside: a variable names each program, and what needs one that is not there is skipped and says so.
import { existsSync } from "node:fs";
import { describe, it } from "vitest";

const foreignParts = {
  ztunnel: { variable: "ZTUNNEL_BIN", what: "Istio's ztunnel" },
  istiod: { variable: "ISTIOD_BIN", what: "Istio's pilot-discovery" },
  istioctl: { variable: "ISTIOCTL_BIN", what: "istioctl" },
  envoy: { variable: "ENVOY_BIN", what: "Envoy" },
} as const;

export type ForeignPart = keyof typeof foreignParts;

/** Tests that need one of Istio's parts; `body` gets the program's path. Without it they are one skipped test with the reason. */
export function describeWith(part: ForeignPart, name: string, body: (path: string) => void): void {
  const { variable, what } = foreignParts[part];
  const path = process.env[variable];
  const obstacle =
    path === undefined || path === ""
      ? `${variable} does not name ${what}`
      : existsSync(path)
        ? undefined
        : `there is no ${path}, which ${variable} names`;
  describe(name, () => {
    if (path === undefined || obstacle !== undefined) it.skip(`is not tested: ${obstacle}`);
    else body(path);
  });
}
