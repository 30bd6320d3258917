// What a pod's annotations ask of its rules (istio-cni's pod overrides). Pure.
import type { RedirectionOptions } from "./rules.ts";

export type RedirectionChoices = Pick<
  RedirectionOptions,
  "dnsCapture" | "bypassInboundCapture" | "rerouteVirtualInterfaces"
>;

const dnsCapture = "ambient.istio.io/dns-capture";
const bypassInboundCapture = "ambient.istio.io/bypass-inbound-capture";
const rerouteVirtualInterfaces = "istio.io/reroute-virtual-interfaces";

/** `dnsCapture` is what holds where the pod does not say. A text that is no boolean counts as not said. */
export function redirectionChoices(
  annotations: Readonly<Record<string, string>>,
  defaults: { readonly dnsCapture: boolean },
): RedirectionChoices {
  return {
    dnsCapture: booleanOf(annotations[dnsCapture]) ?? defaults.dnsCapture,
    bypassInboundCapture: booleanOf(annotations[bypassInboundCapture]) ?? false,
    rerouteVirtualInterfaces: (annotations[rerouteVirtualInterfaces] ?? "")
      .split(",")
      .map((name) => name.trim())
      .filter((name) => name !== ""),
  };
}

/** The spellings of Go's ParseBool, as Istio reads them. */
function booleanOf(text: string | undefined): boolean | undefined {
  if (["1", "t", "T", "true", "TRUE", "True"].includes(text ?? "")) return true;
  if (["0", "f", "F", "false", "FALSE", "False"].includes(text ?? "")) return false;
  return undefined;
}
