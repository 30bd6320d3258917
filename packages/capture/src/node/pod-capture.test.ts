import { noLogger } from "@hairpin/shared/telemetry";
import { eventually, ManualClock } from "@hairpin/testkit";
import { beforeEach, describe, expect, it } from "vitest";
import { nodePod } from "../testing/node-pods.ts";
import type { NodePod } from "./node-pod.ts";
import { goodbyeMs, PodCapture, redirectionAnnotation } from "./pod-capture.ts";
import type { PodNetwork } from "./pod-network.ts";

describe("PodCapture", () => {
  let clock: ManualClock;
  let pods: Map<string, NodePod>;
  let wanted: Set<string>;
  /** What was done, in order; each word may be made to fail. */
  let done: string[];
  let failing: Set<string>;
  let observed: string[];
  let capture: PodCapture;

  function network(id = "1"): PodNetwork {
    return { id, netnsPath: `/netns/${id}`, ips: ["10.0.0.1"], close: () => done.push(`close ${id}`) };
  }

  function know(name: string, given: Partial<NodePod> = {}): NodePod {
    const pod = nodePod(name, given);
    pods.set(pod.uid, pod);
    return pod;
  }

  const annotation = (name = "a"): string | undefined => pods.get(`uid-${name}`)?.annotations[redirectionAnnotation];

  function label(name: string, isWanted: boolean): void {
    if (isWanted) wanted.add(`uid-${name}`);
    else wanted.delete(`uid-${name}`);
    capture.review();
  }

  beforeEach(() => {
    clock = new ManualClock();
    pods = new Map();
    wanted = new Set(["uid-a"]);
    done = [];
    failing = new Set();
    observed = [];
    const act = async (word: string): Promise<void> => {
      if (failing.has(word)) throw new Error(`${word} failed`);
      done.push(word);
    };
    capture = new PodCapture({
      clock,
      logger: noLogger,
      pods: {
        find: ({ uid }) => pods.get(uid),
        isWanted: ({ uid }) => wanted.has(uid),
        annotate: async ({ uid }, value) => {
          const pod = pods.get(uid);
          const { [redirectionAnnotation]: _former, ...rest } = pod?.annotations ?? {};
          const annotations = value === undefined ? rest : { ...rest, [redirectionAnnotation]: value };
          if (pod !== undefined) pods.set(uid, { ...pod, annotations });
        },
      },
      actions: {
        handOver: async () => await act("handOver"),
        takeBack: async () => await act("takeBack"),
        redirect: async () => await act("redirect"),
        repair: async () => {
          await act("repair");
          return failing.has("rules");
        },
        spareNewConnections: async () => await act("spareNewConnections"),
        stopRedirecting: async () => await act("stopRedirecting"),
      },
      observer: {
        onCaptured: ({ name }) => observed.push(`captured ${name}`),
        onReleased: ({ name }) => observed.push(`released ${name}`),
        onRepaired: ({ name }) => observed.push(`repaired ${name}`),
        onFailed: ({ name }, error) => observed.push(`failed ${name}: ${String(error)}`),
      },
    });
  });

  it("hands a pod over, redirects it and says so, before it starts", async () => {
    expect(await capture.add(know("a"), network())).toBe(true);
    expect(done).toEqual(["handOver", "redirect"]);
    expect(annotation()).toBe("enabled");
    expect(observed).toEqual(["captured a"]);
  });

  it("does nothing to a pod that is not wanted, and knows it for later", async () => {
    expect(await capture.add(know("b"), network())).toBe(false);
    expect(done).toEqual([]);
    expect(capture.isTracked("uid-b")).toBe(true);
  });

  it("does not let a pod start that no ztunnel takes", async () => {
    failing.add("handOver");
    await expect(capture.add(know("a"), network())).rejects.toThrow("handOver failed");
    expect(annotation()).toBeUndefined();
    expect(capture.isTracked("uid-a")).toBe(false);
    failing.clear();
    expect(await capture.add(know("a"), network())).toBe(true);
  });

  it("takes a pod back from ztunnel whose rules could not be made", async () => {
    failing.add("redirect");
    await expect(capture.add(know("a"), network())).rejects.toThrow("redirect failed");
    expect(done).toEqual(["handOver", "takeBack"]);
  });

  it("takes back what a user says of capture, before the start and later", async () => {
    await capture.add(know("b", { annotations: { [redirectionAnnotation]: "enabled" } }), network());
    await eventually(() => expect(annotation("b")).toBeUndefined());
    know("b", { annotations: { [redirectionAnnotation]: "enabled" } });
    capture.review();
    await eventually(() => expect(annotation("b")).toBeUndefined());
    expect(done).toEqual([]);
  });

  it("puts back an annotation that was taken away", async () => {
    await capture.add(know("a"), network());
    know("a");
    capture.review();
    await eventually(() => expect(annotation()).toBe("enabled"));
  });

  it("follows labels of running pods both ways", async () => {
    await capture.add(know("b"), network());
    label("b", true);
    await eventually(() => expect(annotation("b")).toBe("enabled"));
    label("b", false);
    await eventually(() => expect(done).toEqual(["handOver", "redirect", "spareNewConnections"]));
    expect(annotation("b")).toBeUndefined();
    await clock.advance(goodbyeMs);
    await eventually(() => expect(done.slice(3)).toEqual(["takeBack", "stopRedirecting"]));
    expect(observed).toEqual(["captured b", "released b"]);
  });

  it("keeps a pod that is labelled again before ztunnel was told to let it go", async () => {
    await capture.add(know("a"), network());
    label("a", false);
    await eventually(() => expect(done.at(-1)).toBe("spareNewConnections"));
    label("a", true);
    await eventually(() => expect(annotation()).toBe("enabled"));
    await clock.advance(2 * goodbyeMs);
    label("a", false);
    await eventually(() => expect(done.at(-1)).toBe("spareNewConnections"));
    expect(done).not.toContain("takeBack");
  });

  it("tries a running pod again, says that it waits, and reports why", async () => {
    await capture.add(know("b"), network());
    failing.add("handOver");
    label("b", true);
    await eventually(() => expect(annotation("b")).toBe("pending"));
    expect(observed).toEqual(["failed b: Error: handOver failed"]);
    failing.clear();
    capture.review();
    expect(done).toEqual([]);
    await clock.advance(500);
    await eventually(() => expect(annotation("b")).toBe("enabled"));
  });

  it("tries less and less often, and at once when a ztunnel has come", async () => {
    await capture.add(know("b"), network());
    failing.add("handOver");
    label("b", true);
    for (const pauseMs of [500, 1000, 2000]) {
      await eventually(() => expect(clock.nextTimerMs).toBe(pauseMs));
      await clock.advance(pauseMs);
    }
    await eventually(() => expect(observed).toHaveLength(4));
    failing.clear();
    capture.retry();
    await eventually(() => expect(annotation("b")).toBe("enabled"));
  });

  it("takes a pod back when it ends, and leaves it its rules", async () => {
    await capture.add(know("a"), network());
    await capture.remove("uid-a");
    await eventually(() => expect(done).toEqual(["handOver", "redirect", "takeBack", "close 1"]));
  });

  it("takes nothing back from a pod that has a new network since", async () => {
    await capture.add(know("a"), network("1"));
    await capture.add(know("a"), network("2"));
    await capture.remove("uid-a", "1");
    expect(capture.isCaptured("uid-a")).toBe(true);
    expect(done).toEqual(["handOver", "redirect", "handOver", "redirect", "close 1"]);
    await capture.remove("uid-a", "2");
    expect(done.slice(-2)).toEqual(["takeBack", "close 2"]);
  });

  it("captures the same network twice when it is asked twice", async () => {
    await capture.add(know("a"), network());
    await capture.add(know("a"), network());
    expect(done).toEqual(["handOver", "redirect", "handOver", "redirect", "close 1"]);
    expect(capture.capturedCount).toBe(1);
  });

  it("takes over what an earlier agent captured without touching it", async () => {
    capture.adopt(know("a", { annotations: { [redirectionAnnotation]: "enabled" } }), network(), true);
    await capture.repairAll();
    expect(done).toEqual(["repair"]);
    expect(observed).toEqual([]);
  });

  it("lets a pod go whose label went while there was no agent", async () => {
    capture.adopt(know("b", { annotations: { [redirectionAnnotation]: "enabled" } }), network(), true);
    await eventually(() => expect(done).toEqual(["spareNewConnections"]));
    expect(annotation("b")).toBeUndefined();
  });

  it("captures a pod that it finds running", async () => {
    capture.adopt(know("a"), network(), false);
    await eventually(() => expect(annotation()).toBe("enabled"));
  });

  it("tells of rules that were not as they should be", async () => {
    await capture.add(know("a"), network());
    failing.add("rules");
    await capture.repairAll();
    expect(observed).toEqual(["captured a", "repaired a"]);
  });

  it("looks at the rules again when the pod's annotations change", async () => {
    await capture.add(know("a"), network());
    capture.review();
    expect(done).not.toContain("repair");
    know("a", { annotations: { "ambient.istio.io/dns-capture": "false", [redirectionAnnotation]: "enabled" } });
    capture.review();
    await eventually(() => expect(done).toContain("repair"));
  });

  it("releases every pod for good, and gives open connections their time", async () => {
    await capture.add(know("a"), network());
    await capture.add(know("b"), network("2"));
    wanted.clear();
    const releasing = capture.releaseAll();
    await eventually(() => expect(done).toContain("spareNewConnections"));
    expect(done).not.toContain("stopRedirecting");
    await clock.advance(goodbyeMs);
    await releasing;
    expect(done.slice(2)).toEqual(["spareNewConnections", "takeBack", "stopRedirecting"]);
    expect(annotation()).toBeUndefined();
  });

  it("leaves pods as they are when it stops", async () => {
    await capture.add(know("a"), network());
    capture.stop();
    await eventually(() => expect(done).toEqual(["handOver", "redirect", "close 1"]));
    expect(annotation()).toBe("enabled");
  });
});
