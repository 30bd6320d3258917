import { describe, expect, it } from "vitest";
import { findPending } from "./pending.ts";
import { object, pod } from "./testing/objects.ts";

describe("findPending", () => {
  it("says nothing of what is ready or has done its work", () => {
    const done = { ...pod({ name: "job", ready: false }), status: { phase: "Succeeded" } };
    expect(findPending([pod({ name: "a" }), done, object("v1", "Service", "s")])).toEqual([]);
  });

  it("says why a pod, a Deployment or a waypoint is not ready", () => {
    const crashing = {
      ...pod({ name: "a" }),
      status: {
        containerStatuses: [
          {
            name: "main",
            ready: false,
            started: false,
            restartCount: 3,
            image: "",
            state: { waiting: { reason: "CrashLoopBackOff" } },
          },
        ],
      },
    };
    const deployment = object("apps/v1", "Deployment", "d", {
      spec: { replicas: 2 },
      status: { readyReplicas: 2, updatedReplicas: 1 },
    });
    const gateway = object("gateway.networking.k8s.io/v1", "Gateway", "way", {
      spec: { gatewayClassName: "istio-waypoint" },
      status: { conditions: [{ type: "Programmed", status: "False", message: "no replica of the waypoint is ready" }] },
    });
    expect(findPending([crashing, deployment, gateway])).toEqual([
      "pod shop/a: CrashLoopBackOff (started again 3 times)",
      "deployment shop/d: 1 of 2 replicas are ready",
      "gateway shop/way: no replica of the waypoint is ready",
    ]);
  });
});
