import { describe, expect, it } from "vitest";
import { redirectionChoices } from "./redirection-choices.ts";

const choices = (annotations: Record<string, string>, dnsCapture = true) =>
  redirectionChoices(annotations, { dnsCapture });

describe("redirectionChoices", () => {
  it("follows the agent where the pod says nothing", () => {
    const nothing = { bypassInboundCapture: false, rerouteVirtualInterfaces: [] };
    expect(choices({})).toEqual({ ...nothing, dnsCapture: true });
    expect(choices({}, false)).toEqual({ ...nothing, dnsCapture: false });
  });

  it("lets a pod turn DNS capture on and off", () => {
    expect(choices({ "ambient.istio.io/dns-capture": "false" }).dnsCapture).toBe(false);
    expect(choices({ "ambient.istio.io/dns-capture": "true" }, false).dnsCapture).toBe(true);
    expect(choices({ "ambient.istio.io/dns-capture": "perhaps" }, false).dnsCapture).toBe(false);
  });

  it("reads booleans as Go does", () => {
    expect(choices({ "ambient.istio.io/bypass-inbound-capture": "1" }).bypassInboundCapture).toBe(true);
    expect(choices({ "ambient.istio.io/bypass-inbound-capture": "yes" }).bypassInboundCapture).toBe(false);
  });

  it("takes interfaces apart at commas", () => {
    const annotations = { "istio.io/reroute-virtual-interfaces": " tap0,br-1 ,," };
    expect(choices(annotations).rerouteVirtualInterfaces).toEqual(["tap0", "br-1"]);
  });
});
