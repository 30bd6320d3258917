import { formatSpiffeId } from "@hairpin/shared/model";
import { describe, expect, test } from "vitest";
import { ObjectCollection } from "../collection/object-collection.ts";
import { aPod } from "../testing/objects.ts";
import { testMesh } from "../testdata/render-model.ts";
import type { Caller } from "./caller.ts";
import { decideGrant } from "./decide-grant.ts";

const objects = new ObjectCollection();
objects.replaceAll([
  aPod("ztunnel-a", { namespace: "istio-system", serviceAccount: "ztunnel" }),
  aPod("ztunnel-new", { namespace: "istio-system", serviceAccount: "ztunnel", node: "" }),
  aPod("ztunnel-done", { namespace: "istio-system", serviceAccount: "ztunnel", phase: "Failed" }),
  aPod("web", { serviceAccount: "web" }),
  aPod("far", { serviceAccount: "far", node: "node-b" }),
  aPod("done", { serviceAccount: "done", phase: "Succeeded" }),
  aPod("waiting", { serviceAccount: "waiting", node: "" }),
]);
const agent: Caller = {
  namespace: "istio-system",
  serviceAccount: "ztunnel",
  pod: { name: "ztunnel-a", uid: "uid-ztunnel-a" },
};
const web: Caller = { namespace: "shop", serviceAccount: "web", pod: { name: "web", uid: "uid-web" } };
const byCertificate = (serviceAccount: string): Caller => ({
  namespace: "shop",
  serviceAccount,
  pod: undefined,
  proof: "certificate",
});
const id = (path: string): string => `spiffe://cluster.local/ns/${path}`;

function decide(caller: Caller, impersonated?: string): string {
  const decision = decideGrant(caller, impersonated, { snapshot: objects.snapshot(), config: testMesh });
  return decision.kind === "granted" ? formatSpiffeId(decision.identity) : `refused: ${decision.reason}`;
}

describe("decideGrant", () => {
  test.each<[string, Caller, string | undefined, string]>([
    ["gives a workload its own identity", web, undefined, id("shop/sa/web")],
    ["gives a node agent its own identity", agent, undefined, id("istio-system/sa/ztunnel")],
    [
      "gives a node agent its own identity by name",
      agent,
      id("istio-system/sa/ztunnel"),
      id("istio-system/sa/ztunnel"),
    ],
    ["gives who comes with a certificate the next one", byCertificate("web"), undefined, id("shop/sa/web")],
    ["gives who comes with a certificate its own by name", byCertificate("web"), id("shop/sa/web"), id("shop/sa/web")],
    ["gives a node agent the account of a pod on its node", agent, id("shop/sa/web"), id("shop/sa/web")],
  ])("%s", (_, caller, impersonated, expected) => {
    expect(decide(caller, impersonated)).toBe(expected);
  });

  test.each<[string, Caller, string | undefined, RegExp]>([
    ["a workload that asks for another", web, id("istio-system/sa/ztunnel"), /not a trusted node account/],
    ["a certificate whose account has no live pod", byCertificate("done"), undefined, /no live pod of shop\/done/],
    [
      "a node agent's certificate that asks for another: it names no pod",
      { ...agent, pod: undefined, proof: "certificate" },
      id("shop/sa/web"),
      /came with a certificate, which allows nobody else's/,
    ],
    ["a workload that asks for itself by name", web, id("shop/sa/web"), /not a trusted node account/],
    [
      "an account of the same name in another namespace",
      { ...agent, namespace: "shop" },
      id("shop/sa/web"),
      /pod shop\/ztunnel-a does not exist/,
    ],
    [
      "an account that has its pod on another node",
      agent,
      id("shop/sa/far"),
      /no live pod of shop\/far is on node node-a/,
    ],
    ["an account without any pod", agent, id("shop/sa/nobody"), /no live pod/],
    ["an account whose pod has ended", agent, id("shop/sa/done"), /no live pod/],
    ["an account whose pod is not scheduled", agent, id("shop/sa/waiting"), /no live pod/],
    ["another trust domain", agent, "spiffe://evil.example/ns/shop/sa/web", /not of trust domain cluster.local/],
    ["something that is no SPIFFE ID", agent, "shop/web", /is not spiffe:/],
    ["an identity with a dot segment", agent, id("../sa/web"), /bad namespace/],
    ["an empty identity", agent, "", /is not spiffe:/],
    ["a token that is bound to no pod", { ...web, pod: undefined }, undefined, /not bound to a pod/],
    ["a token of a pod that is gone", { ...web, pod: { name: "gone", uid: "x" } }, undefined, /does not exist/],
    [
      "a token of an earlier pod of the same name",
      { ...web, pod: { name: "web", uid: "old" } },
      undefined,
      /made for old/,
    ],
    ["a token for another account than the pod's", { ...web, serviceAccount: "other" }, undefined, /runs as web/],
    [
      "a node agent whose pod has ended",
      { ...agent, pod: { name: "ztunnel-done", uid: "uid-ztunnel-done" } },
      undefined,
      /has ended/,
    ],
    [
      "a node agent that is on no node",
      { ...agent, pod: { name: "ztunnel-new", uid: "uid-ztunnel-new" } },
      id("shop/sa/waiting"),
      /is not on a node yet/,
    ],
  ])("refuses %s", (_, caller, impersonated, reason) => {
    expect(decide(caller, impersonated)).toMatch(new RegExp(`^refused: .*${reason.source}`));
  });
});
