import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { create } from "@bufbuild/protobuf";
import { istioSecurity } from "../api/index.ts";
import type { MeshChange } from "./mesh-change.ts";
import type { MeshState } from "./mesh-state.ts";
import { type MeshUpdate, meshUpdateOf, sliceMeshUpdate, wholeMesh } from "./mesh-update.ts";
import { aPolicy, aService, aWorkload, createState, put } from "./model.test-support.ts";
import { policyToWire } from "./to-wire.ts";

const key = "ns/web.ns.svc";
const serving = new Map([[key, [{ servicePort: 80, targetPort: 8080 }]]]);

/** A mesh that follows another one as another thread's does: by posted copies. */
function follow(mesh: MeshState): { readonly replica: MeshState; readonly changes: MeshChange[] } {
  const replica = createState();
  const changes: MeshChange[] = [];
  replica.applyUpdate(structuredClone(wholeMesh(mesh)));
  replica.onChange((change) => changes.push(change));
  mesh.onChange((change) => replica.applyUpdate(structuredClone(meshUpdateOf(mesh, change))));
  return { replica, changes };
}

/** All that can be seen of a mesh. */
function content(mesh: MeshState): unknown {
  const service = mesh.findService(key);
  return {
    dump: mesh.dumpState(),
    unreadable: [...mesh.unreadablePolicies()],
    endpoints: service && mesh.endpointsOf(service),
    effective: mesh.policiesFor(aWorkload({ authorizationPolicies: ["ns/policy", "ns/other"] })),
  };
}

/** Sends a policy that cannot be read beyond its name and, if `scoped`, its scope. */
function sendUnreadable(mesh: MeshState, name: string, scoped: boolean): void {
  const [namespace = "", own = ""] = name.split("/");
  const wire = policyToWire(aPolicy({ namespace, name: own, scope: "NAMESPACE" }));
  const bad = create(istioSecurity.AuthorizationSchema, { ...wire, action: 99 as istioSecurity.Action });
  const rest = { removed: [], firstOfStream: false };
  if (scoped) mesh.applyAuthorization({ upserts: [{ name, version: "", resource: bad }], undecodable: [], ...rest });
  else mesh.applyAuthorization({ upserts: [], undecodable: [{ name, reason: "cut short" }], ...rest });
}

describe("sliceMeshUpdate", () => {
  const workloads = ["a", "b", "c"].map((name) =>
    aWorkload({ uid: `Kubernetes//Pod/ns/${name}`, name, services: serving }),
  );
  const update: MeshUpdate = {
    removedWorkloads: ["gone-1", "gone-2"],
    removedServices: ["ns/gone"],
    removedPolicies: ["ns/old"],
    unreadablePolicies: [{ key: "ns/bad", reason: "cut short", scope: undefined }],
    policies: [aPolicy(), aPolicy({ name: "other" })],
    services: [aService()],
    workloads,
  };

  it("leaves a small update whole", () => {
    expect(sliceMeshUpdate(update, 7)).toEqual([update]);
  });

  it("makes parts of a large one that come to the same: policies first, what is gone last", () => {
    const parts = sliceMeshUpdate(update, 2);
    expect(parts[0]).toMatchObject({ policies: update.policies, removedPolicies: ["ns/old"], workloads: [] });
    expect(
      parts
        .slice(1)
        .map((part) =>
          [part.services, part.workloads, part.removedServices, part.removedWorkloads].map((list) => list.length),
        ),
    ).toEqual([
      [1, 0, 0, 0],
      [0, 2, 0, 0],
      [0, 1, 0, 0],
      [0, 0, 1, 0],
      [0, 0, 0, 2],
    ]);
    const [whole, sliced] = [createState(), createState()];
    whole.applyUpdate(update);
    for (const part of parts) sliced.applyUpdate(part);
    expect(content(sliced)).toEqual(content(whole));
  });
});

describe("a mesh that follows another by its updates", () => {
  it("begins with all that the other holds", () => {
    const mesh = createState({
      workloads: [aWorkload({ services: serving }), aWorkload({ uid: "w//Pod/ns/two", name: "two" })],
      services: [aService()],
      policies: [aPolicy()],
    });
    sendUnreadable(mesh, "ns/bad", false);
    expect(content(follow(mesh).replica)).toEqual(content(mesh));
  });

  it("tells its listeners the same changes, so that open connections are decided again", () => {
    const mesh = createState({ workloads: [aWorkload()] });
    const told: MeshChange[] = [];
    mesh.onChange((change) => told.push(change));
    const { changes } = follow(mesh);
    put(mesh, { policies: [aPolicy()] });
    put(mesh, { workloads: [aWorkload({ authorizationPolicies: ["ns/policy"] })] });
    put(mesh, { removed: ["Kubernetes//Pod/ns/web-1"] });
    sendUnreadable(mesh, "ns/bad", true);
    expect(changes).toEqual(told);
  });

  it("takes the place of a good policy by an unreadable one that came with its removal", () => {
    const mesh = createState({ policies: [aPolicy()] });
    const { replica } = follow(mesh);
    const undecodable = [{ name: "ns/policy", reason: "cut short" }];
    mesh.applyAuthorization({ upserts: [], removed: ["ns/policy"], undecodable, firstOfStream: false });
    expect(replica.findPolicy("ns/policy")).toBeUndefined();
    expect(content(replica)).toEqual(content(mesh));
  });

  it("holds the same after any updates", () => {
    const name = fc.constantFrom("policy", "other");
    const uid = fc.constantFrom("Kubernetes//Pod/ns/web-1", "Kubernetes//Pod/ns/web-2");
    const step: fc.Arbitrary<(mesh: MeshState) => void> = fc.oneof(
      fc.tuple(uid, fc.boolean(), fc.boolean()).map(([own, serves, healthy]) => (mesh: MeshState) => {
        put(mesh, { workloads: [aWorkload({ uid: own, healthy, services: serves ? serving : new Map() })] });
      }),
      fc.constantFrom("NAMESPACE", "NONE").map((mode) => (mesh: MeshState) => {
        put(mesh, { services: [aService({ visibility: mode === "NONE" ? "PUBLIC" : "NAMESPACE" })] });
      }),
      fc.tuple(name, fc.constantFrom("GLOBAL" as const, "NAMESPACE" as const)).map(([own, scope]) => {
        return (mesh: MeshState) => put(mesh, { policies: [aPolicy({ name: own, scope })] });
      }),
      fc.tuple(name, fc.boolean()).map(([own, scoped]) => (mesh: MeshState) => {
        sendUnreadable(mesh, `ns/${own}`, scoped);
      }),
      fc.oneof(uid, fc.constant(key)).map((gone) => (mesh: MeshState) => put(mesh, { removed: [gone] })),
      name.map((gone) => (mesh: MeshState) => {
        const removed = [`ns/${gone}`];
        mesh.applyAuthorization({ upserts: [], removed, undecodable: [], firstOfStream: false });
      }),
      fc.constant((mesh: MeshState) => {
        mesh.applyAuthorization({ upserts: [], removed: [], undecodable: [], firstOfStream: true });
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), fc.nat({ max: 25 }), (steps, joined) => {
        const mesh = createState();
        for (const apply of steps.slice(0, joined)) apply(mesh);
        const { replica } = follow(mesh);
        for (const apply of steps.slice(joined)) apply(mesh);
        expect(content(replica)).toEqual(content(mesh));
      }),
    );
  });
});
