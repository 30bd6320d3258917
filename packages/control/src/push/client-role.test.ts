import { describe, expect, test } from "vitest";
import type { Pod } from "../collection/kubernetes-object.ts";
import { ObjectCollection } from "../collection/object-collection.ts";
import { accountOf } from "../ambient/pod.ts";
import { aGateway, aPod } from "../testing/objects.ts";
import { testMesh } from "../testdata/render-model.ts";
import { checkNode, findClientRole } from "./client-role.ts";

const label = "gateway.networking.k8s.io/gateway-name";
const ztunnel = aPod("ztunnel-a", { namespace: "istio-system", serviceAccount: "ztunnel" });
const replica = aPod("w-0", { serviceAccount: "w", labels: { [label]: "w" } });
const impostor = aPod("impostor", { serviceAccount: "web", labels: { [label]: "w" } });
const orphan = aPod("orphan", { serviceAccount: "gone", labels: { [label]: "gone" } });
const elsewhere = aPod("elsewhere", { namespace: "other", serviceAccount: "w", labels: { [label]: "w" } });
const plain = aPod("plain");
const objects = new ObjectCollection();
objects.replaceAll([ztunnel, replica, impostor, orphan, elsewhere, plain, aGateway("w", true)]);

function roleOf(pod: Pod): ReturnType<typeof findClientRole> {
  const { namespace = "", name, uid = "" } = pod.metadata;
  const caller = { namespace, serviceAccount: accountOf(pod), pod: { name, uid } };
  return findClientRole(caller, objects.snapshot(), testMesh);
}

describe("findClientRole", () => {
  test("tells node agents from waypoints by token, pod and Gateway", () => {
    expect(roleOf(ztunnel)).toMatchObject({ kind: "found", role: { waypointKey: undefined, node: "node-a" } });
    expect(roleOf(replica)).toMatchObject({ kind: "found", role: { waypointKey: "shop/w" } });
  });

  test.each<[string, Pod, RegExp]>([
    ["a plain pod", plain, /neither a node agent nor a waypoint/],
    ["a pod that took a waypoint's label but not its account", impostor, /runs as w, not as web/],
    ["a replica whose Gateway is gone", orphan, /Gateway shop\/gone does not exist/],
    ["a replica of the same name in another namespace", elsewhere, /Gateway other\/w does not exist/],
  ])("refuses %s", (_, pod, reason) => {
    expect(roleOf(pod)).toEqual({ kind: "refused", reason: expect.stringMatching(reason) });
  });
});

describe("checkNode", () => {
  const found = roleOf(ztunnel);
  const role = found.kind === "found" ? found.role : undefined;
  test.each([
    [{}, undefined],
    [{ NAMESPACE: "istio-system", NAME: "ztunnel-a", NODE_NAME: "node-a", SERVICE_ACCOUNT: "ztunnel" }, undefined],
    [{ NODE_NAME: "node-b" }, /NODE_NAME is "node-b", the token says "node-a"/],
    [{ NAMESPACE: "shop" }, /NAMESPACE/],
    [{ SERVICE_ACCOUNT: "admin" }, /SERVICE_ACCOUNT/],
  ])("of a node that says %j answers %s", (metadata, expected) => {
    expect(role).toBeDefined();
    const refusal = role && checkNode(role, { id: "x", metadata });
    if (expected === undefined) expect(refusal).toBeUndefined();
    else expect(refusal).toMatch(expected);
  });
});
