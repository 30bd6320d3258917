import { noLogger } from "@hairpin/shared/telemetry";
import { FakeApiServer, ManualClock, eventually } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { KubernetesObject } from "../collection/kubernetes-object.ts";
import { fakeApiOf } from "../testing/fake-api.ts";
import { ListWatch } from "@hairpin/shared/kubernetes";

const configMap = (name: string, value = ""): object => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "shop" },
  data: { value },
});

/** Everything that a server or the way to it may do to a watch. */
const disrupt: readonly ((fake: FakeApiServer) => void)[] = [
  (fake) => fake.dropWatches(),
  (fake) => fake.dropWatches("ConfigMap", { midLine: true }),
  (fake) => fake.endWatches(),
  (fake) => fake.silenceWatches(),
  (fake) => fake.compact(),
  (fake) => fake.sendBookmarks(),
  (fake) => fake.failWatches(410, "Expired"),
  (fake) => fake.failWatches(500, "InternalError"),
  (fake) => {
    fake.compact();
    fake.dropWatches();
  },
  (fake) => {
    fake.fail({ verb: "watch" }, { status: 503 }, 2);
    fake.fail({ verb: "list" }, "cut");
    fake.failWatches(410, "Gone");
  },
  (fake) => {
    fake.fail({ verb: "discover" }, { status: 500 });
    fake.fail({ verb: "watch" }, { status: 404, reason: "NotFound" });
    fake.endWatches();
  },
];

/** Mulberry32. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

describe("ListWatch", () => {
  let fake: FakeApiServer;
  let clock: ManualClock;
  let held: Map<string, string>;
  let replaced: number;
  let watch: ListWatch<KubernetesObject>;
  beforeEach(async () => {
    fake = await FakeApiServer.start();
    clock = new ManualClock();
    held = new Map();
    replaced = 0;
    watch = create("ConfigMap", "");
  });
  afterEach(async () => {
    await watch.stop();
    await fake[Symbol.asyncDispose]();
  });

  const valueOf = (object: KubernetesObject): string =>
    (object as { readonly data?: { readonly value?: string } }).data?.value ?? "";
  const create = (kind: string, group: string): ListWatch<KubernetesObject> =>
    new ListWatch<KubernetesObject>(
      { api: fakeApiOf(fake, clock), clock, logger: noLogger, random: () => 0.5 },
      {
        group,
        kind,
        handler: {
          replace: (objects) => {
            replaced++;
            held = new Map(objects.map((object) => [object.metadata.name, valueOf(object)]));
          },
          put: (object) => held.set(object.metadata.name, valueOf(object)),
          remove: (object) => held.delete(object.metadata.name),
        },
      },
    );
  const names = (): string[] => [...held.keys()].sort();
  /** Waits for real I/O while the clock runs fast. */
  const soon = async (check: () => void): Promise<void> =>
    await eventually(async () => {
      await clock.advance(1000);
      check();
    });
  const watching = async (count = 1): Promise<void> =>
    await soon(() => expect(fake.watchesOf("ConfigMap")).toBe(count));
  const lists = (): number => fake.requests.filter(({ verb, kind }) => verb === "list" && kind === "ConfigMap").length;

  test("lists by pages, then follows changes", async () => {
    for (let index = 0; index < 600; index++) fake.put(configMap(`c-${String(index).padStart(3, "0")}`));
    await watch.start();
    await watch.whenSynced();
    expect(held.size).toBe(600);
    expect(lists()).toBe(3);
    await watching();
    fake.put(configMap("c-000", "new"), configMap("later"));
    fake.remove("ConfigMap", "shop", "c-001");
    await soon(() => {
      expect(held.get("c-000")).toBe("new");
      expect(held.has("later")).toBe(true);
      expect(held.has("c-001")).toBe(false);
    });
    expect(replaced).toBe(1);
  });

  test("goes on from where a cut watch was, also in the middle of an event", async () => {
    await watch.start();
    await watching();
    fake.put(configMap("a"));
    await soon(() => expect(names()).toEqual(["a"]));
    fake.dropWatches("ConfigMap", { midLine: true });
    fake.put(configMap("b"));
    fake.remove("ConfigMap", "shop", "a");
    await soon(() => expect(names()).toEqual(["b"]));
    expect(lists()).toBe(1);
  });

  test("lists anew after 410, once, and forgets what was deleted unseen", async () => {
    fake.put(configMap("a"), configMap("b"));
    await watch.start();
    await watching();
    fake.fail({ verb: "watch" }, { status: 500 }, 2);
    fake.dropWatches("ConfigMap");
    fake.remove("ConfigMap", "shop", "a");
    fake.put(configMap("c"));
    fake.compact();
    await soon(() => expect(names()).toEqual(["b", "c"]));
    expect(lists()).toBe(2);
    expect(replaced).toBe(2);
  });

  test("moves on with bookmarks, so that a quiet kind survives a compaction", async () => {
    fake.put(configMap("a"));
    await watch.start();
    await watching();
    for (let index = 0; index < 5; index++)
      fake.put({ apiVersion: "v1", kind: "Node", metadata: { name: `n-${index}` } });
    fake.sendBookmarks();
    await soon(() => expect(fake.watchesOf("ConfigMap")).toBe(1));
    fake.compact();
    fake.endWatches("ConfigMap");
    fake.put(configMap("b"));
    await soon(() => expect(names()).toEqual(["a", "b"]));
    expect(lists()).toBe(1);
  });

  test("leaves a watch that is silent for too long", async () => {
    await watch.start();
    await watching();
    fake.silenceWatches();
    fake.put(configMap("a"));
    await clock.advance(140_000);
    expect(names()).toEqual([]);
    await clock.advance(10_000);
    await soon(() => expect(names()).toEqual(["a"]));
    expect(lists()).toBe(1);
  });

  test("starts a listing over when its continue token expires", async () => {
    for (let index = 0; index < 300; index++) fake.put(configMap(`c-${index}`));
    fake.fail({ verb: "list" }, { status: 500 }, 1);
    await watch.start();
    // The second page is asked for after history was compacted.
    const expire = fake.store.list.bind(fake.store);
    fake.store.list = (served) => {
      const all = expire(served);
      setImmediate(() => fake.compact());
      return all;
    };
    await soon(() => expect(held.size).toBe(300));
    expect(replaced).toBe(1);
  });

  test("waits longer after each failure, and tells nobody that everything is gone", async () => {
    fake.put(configMap("a"));
    await watch.start();
    await watching();
    fake.fail({}, { status: 500 }, 5);
    fake.dropWatches();
    const waits: number[] = [];
    for (let failure = 0; failure < 4; failure++) {
      // Anything longer is the timer of a watch that is being opened.
      await eventually(() => expect(clock.nextTimerMs).toBeLessThanOrEqual(30_000));
      waits.push(clock.nextTimerMs ?? 0);
      await clock.advance(clock.nextTimerMs ?? 0);
    }
    expect(waits).toEqual([250, 500, 1000, 2000]);
    expect(names()).toEqual(["a"]);
  });

  test("a kind that is not served is empty, and is picked up when its CRD comes", async () => {
    const routes = fake.servedKind("TCPRoute");
    fake.stopServing("TCPRoute");
    watch = create("TCPRoute", "gateway.networking.k8s.io");
    await watch.start();
    await watch.whenSynced();
    expect(names()).toEqual([]);
    fake.serve(routes);
    const route = { apiVersion: "gateway.networking.k8s.io/v1alpha2", kind: "TCPRoute" };
    fake.put({ ...route, metadata: { name: "r", namespace: "shop" } });
    await soon(() => expect(names()).toEqual(["r"]));
    // And goes again with it.
    fake.stopServing("TCPRoute");
    await soon(() => expect(names()).toEqual([]));
    await soon(() => expect(replaced).toBe(3));
  });

  // The long form: LIST_WATCH_DISRUPTIONS=1000 LIST_WATCH_SEED=7.
  test("agrees with the server after any disruption", { timeout: 600_000 }, async () => {
    const seed = Number(process.env["LIST_WATCH_SEED"] ?? "1");
    const disruptions = Number(process.env["LIST_WATCH_DISRUPTIONS"] ?? "40");
    const random = createRandom(seed);
    const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
    await watch.start();
    const wanted = new Map<string, string>();
    for (let step = 0; step < disruptions; step++) {
      for (let change = 0; change < 5; change++) {
        const name = `c-${Math.floor(random() * 12)}`;
        if (random() < 0.4 && wanted.has(name)) {
          wanted.delete(name);
          fake.remove("ConfigMap", "shop", name);
        } else {
          wanted.set(name, `${step}.${change}`);
          fake.put(configMap(name, `${step}.${change}`));
        }
        if (change === 2) pick(disrupt)(fake);
      }
      await eventually(
        async () => {
          await clock.advance(60_000);
          expect(Object.fromEntries(held)).toEqual(Object.fromEntries(wanted));
        },
        { timeoutMs: 10_000 },
      );
    }
  });

  test("discovery that fails is not an absent kind", async () => {
    fake.fail({ verb: "discover" }, { status: 500 }, 3);
    fake.put(configMap("a"));
    await watch.start();
    await eventually(() => expect(clock.nextTimerMs).toBe(250));
    expect(replaced).toBe(0);
    await soon(() => expect(names()).toEqual(["a"]));
  });
});
