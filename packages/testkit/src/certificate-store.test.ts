// The store of shared/identity, here because shared cannot depend on testkit.
import { setImmediate as nextTurn } from "node:timers/promises";
import {
  type Certificate,
  type CertificateSource,
  CertificateStore,
  type CertificateStoreOptions,
} from "@hairpin/shared/identity";
import { formatSpiffeId, type Identity } from "@hairpin/shared/model";
import type { Logger } from "@hairpin/shared/telemetry";
import { describe, expect, test } from "vitest";
import { ManualClock } from "./manual-clock.ts";
import { TestAuthority } from "./test-authority.ts";

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const authority = new TestAuthority();
const web = authority.identity("shop/web");
const cart = authority.identity("shop/cart");

interface SourceCall {
  readonly identity: Identity;
  readonly signal: AbortSignal | undefined;
  answer(certificate: Certificate): Promise<void>;
  fail(error: unknown): Promise<void>;
}

/** A CA whose answers wait for the test. */
class HeldSource implements CertificateSource {
  readonly calls: SourceCall[] = [];
  /** Calls neither answered nor failed. */
  running = 0;

  async fetchCertificate(identity: Identity, options: { signal?: AbortSignal } = {}): Promise<Certificate> {
    const { promise, resolve, reject } = Promise.withResolvers<Certificate>();
    this.running++;
    const settle = async (act: () => void): Promise<void> => {
      this.running--;
      act();
      await nextTurn();
    };
    this.calls.push({
      identity,
      signal: options.signal,
      answer: (certificate) => settle(() => resolve(certificate)),
      fail: (error) => settle(() => reject(error)),
    });
    return await promise;
  }

  get last(): SourceCall {
    const call = this.calls.at(-1);
    if (call === undefined) throw new Error("The CA was not asked");
    return call;
  }

  get asked(): string[] {
    return this.calls.map(({ identity }) => identity.serviceAccount);
  }
}

class LineLogger implements Logger {
  readonly lines: string[] = [];
  debug(message: string): void {
    this.lines.push(`debug ${message}`);
  }
  info(message: string): void {
    this.lines.push(`info ${message}`);
  }
  warn(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push(`warn ${message} ${JSON.stringify(fields)}`);
  }
  error(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push(`error ${message} ${JSON.stringify(fields)}`);
  }
  child(): Logger {
    return this;
  }
}

class Bench {
  readonly clock = new ManualClock(new Date("2026-11-21T12:00:00Z"));
  readonly source = new HeldSource();
  readonly logger = new LineLogger();
  readonly store: CertificateStore;

  constructor(options: CertificateStoreOptions = {}) {
    const { source, clock, logger } = this;
    this.store = new CertificateStore({ source, clock, logger, random: () => 0.5 }, options);
  }

  /** Valid from two minutes ago, for `ttlMs` from now, as a CA makes it. Not signed: the store does not look. */
  certificate(identity: Identity = web, ttlMs: number = 24 * hour): Certificate {
    const now = this.clock.wallTime().getTime();
    return {
      identity,
      chainPem: "",
      privateKeyPem: "secret",
      rootsPem: [],
      notBefore: new Date(now - 2 * minute),
      notAfter: new Date(now + ttlMs),
      serial: "1",
    };
  }

  /** Holds a certificate already. */
  async hold(identity: Identity = web, ttlMs: number = 24 * hour): Promise<Certificate> {
    const fetching = this.store.fetch(identity);
    await this.source.last.answer(this.certificate(identity, ttlMs));
    return await fetching;
  }

  get state(): string | undefined {
    return this.store.list()[0]?.state;
  }
}

const failure = (text = "CA away"): Error => new Error(text);

describe("CertificateStore", () => {
  test("asks once, and gives the held certificate afterwards", async () => {
    const bench = new Bench();
    const certificate = await bench.hold();
    expect(await bench.store.fetch(web)).toBe(certificate);
    expect(bench.store.find(web)).toBe(certificate);
    expect(bench.source.asked).toEqual(["web"]);
  });

  test("asks once for a hundred callers at once", async () => {
    const bench = new Bench();
    const fetching = Array.from({ length: 100 }, () => bench.store.fetch({ ...web }));
    expect(bench.source.calls).toHaveLength(1);
    const certificate = bench.certificate();
    await bench.source.last.answer(certificate);
    expect(new Set(await Promise.all(fetching))).toEqual(new Set([certificate]));
  });

  test("keeps identities apart", async () => {
    const bench = new Bench();
    const [first, second] = [await bench.hold(web), await bench.hold(cart)];
    expect([bench.store.find(web), bench.store.find(cart)]).toEqual([first, second]);
    expect(bench.store.find({ ...web, trustDomain: "other" })).toBeUndefined();
    expect(bench.source.asked).toEqual(["web", "cart"]);
  });

  test("finding starts nothing", () => {
    const bench = new Bench();
    expect(bench.store.find(web)).toBeUndefined();
    expect(bench.source.calls).toEqual([]);
    expect(bench.store.list()).toEqual([]);
  });

  test("asks for eight at once, the rest in turn", async () => {
    const bench = new Bench();
    const names = Array.from({ length: 20 }, (_, index) => authority.identity(`shop/app-${index}`));
    for (const name of names) bench.store.prefetch(name);
    expect(bench.source.running).toBe(8);
    for (let index = 0; index < 20; index++) {
      expect(bench.source.running).toBe(Math.min(8, 20 - index));
      const call = bench.source.calls[index];
      await (index % 3 === 0 ? call?.fail(failure()) : call?.answer(bench.certificate(names[index])));
    }
    expect(bench.source.asked).toEqual(names.map((name) => name.serviceAccount));
  });

  test("serves traffic before prefetches, prefetches before renewals; a waiting prefetch that traffic needs overtakes", async () => {
    const bench = new Bench({ concurrency: 1 });
    await bench.hold(web);
    bench.store.prefetch(cart);
    await bench.clock.advance(12 * hour);
    const other = (name: string): Identity => authority.identity(`shop/${name}`);
    bench.store.prefetch(other("warm"));
    bench.store.prefetch(other("wanted"));
    void bench.store.fetch(other("traffic"));
    void bench.store.fetch(other("wanted"));
    for (let call = 1; call < 6; call++) {
      await bench.source.calls[call]?.answer(bench.certificate(bench.source.calls[call]?.identity));
    }
    expect(bench.source.asked).toEqual(["web", "cart", "traffic", "wanted", "warm", "web"]);
  });

  test("refuses more identities than it may hold, until one is forgotten", async () => {
    const bench = new Bench({ maxIdentities: 1 });
    await bench.hold(web);
    await expect(bench.store.fetch(cart)).rejects.toMatchObject({ code: "CERTIFICATE_STORE_FULL" });
    bench.store.prefetch(cart);
    await nextTurn();
    expect(bench.logger.lines.at(-1)).toMatch(/^warn certificate not prefetched .*1 identities are held already/);
    bench.store.forget(web);
    expect((await bench.hold(cart)).identity).toEqual(cart);
  });
});

describe("CertificateStore renews", () => {
  test("everything when told, after what is under way, and serves the old ones meanwhile", async () => {
    const bench = new Bench();
    const first = await bench.hold();
    const fetching = bench.store.fetch(cart);
    const cartCall = bench.source.last;
    bench.store.renewAll();
    expect(bench.source.asked).toEqual(["web", "cart", "web"]);
    expect(bench.store.find(web)).toBe(first);
    const renewed = bench.certificate();
    await bench.source.last.answer(renewed);
    expect(bench.store.find(web)).toBe(renewed);
    // What was asked before the change is answered, used, and asked again.
    await cartCall.answer(bench.certificate(cart));
    await fetching;
    expect(bench.source.asked).toEqual(["web", "cart", "web", "cart"]);
  });

  test("at half life, not a moment before, and serves the old one meanwhile", async () => {
    const bench = new Bench();
    const first = await bench.hold();
    // Two minutes of the life were over on arrival.
    const half = 12 * hour - minute;
    await bench.clock.advance(half - 1);
    expect(bench.source.calls).toHaveLength(1);
    await bench.clock.advance(1);
    expect(bench.source.calls).toHaveLength(2);
    expect(await bench.store.fetch(web)).toBe(first);
    const renewed = bench.certificate();
    await bench.source.last.answer(renewed);
    expect(await bench.store.fetch(web)).toBe(renewed);
    await bench.clock.advance(half - 1);
    expect(bench.source.calls).toHaveLength(2);
    await bench.clock.advance(1);
    expect(bench.source.calls).toHaveLength(3);
  });

  test("tells listeners the new and the old one, not of the first", async () => {
    const bench = new Bench();
    const heard: [Certificate, Certificate][] = [];
    const stop = bench.store.onRenewed((renewed, previous) => heard.push([renewed, previous]));
    const first = await bench.hold();
    expect(heard).toEqual([]);
    await bench.clock.advance(12 * hour);
    const renewed = bench.certificate();
    await bench.source.last.answer(renewed);
    expect(heard).toEqual([[renewed, first]]);
    stop();
    await bench.clock.advance(12 * hour);
    await bench.source.last.answer(bench.certificate());
    expect(heard).toHaveLength(1);
  });

  test("though a listener throws; the others hear of it", async () => {
    const bench = new Bench();
    let heard = 0;
    bench.store.onRenewed(() => {
      throw failure("listener broken");
    });
    bench.store.onRenewed(() => heard++);
    await bench.hold();
    await bench.clock.advance(12 * hour);
    const renewed = bench.certificate();
    await bench.source.last.answer(renewed);
    expect([heard, bench.store.find(web)]).toEqual([1, renewed]);
    expect(bench.logger.lines).toContain('error certificate listener failed {"error":"listener broken"}');
  });

  test("may be told to forget by a listener", async () => {
    const bench = new Bench();
    bench.store.onRenewed(({ identity }) => bench.store.forget(identity));
    await bench.hold();
    await bench.clock.advance(12 * hour);
    await bench.source.last.answer(bench.certificate());
    expect([bench.store.list(), bench.clock.pendingTimers]).toEqual([[], 0]);
  });

  test("a short certificate, half of which was over on arrival, when half of the rest is over", async () => {
    const bench = new Bench();
    await bench.hold(web, minute);
    await bench.clock.advance(30 * second - 1);
    expect(bench.source.calls).toHaveLength(1);
    await bench.clock.advance(1);
    expect(bench.source.calls).toHaveLength(2);
  });

  test("a certificate that is almost over at most twice a second", async () => {
    const bench = new Bench();
    await bench.hold(web, 10);
    for (let call = 0; call < 20; call++) {
      await bench.clock.advance(100);
      if (bench.source.running > 0) await bench.source.last.answer(bench.certificate(web, 10));
    }
    expect(bench.source.calls.length).toBeLessThanOrEqual(5);
  });
});

describe("CertificateStore, when the CA fails", () => {
  test("tells those who wait, then others at once, until a retry succeeds", async () => {
    const bench = new Bench();
    const waiting = [bench.store.fetch(web), bench.store.fetch(web)].map((one) =>
      expect(one).rejects.toThrow("CA away"),
    );
    await bench.source.last.fail(failure());
    await Promise.all(waiting);
    await expect(bench.store.fetch(web)).rejects.toThrow("CA away");
    expect(bench.source.calls).toHaveLength(1);
    expect(bench.state).toBe("Unavailable: CA away");
    await bench.clock.advance(second);
    expect(bench.source.calls).toHaveLength(2);
    const retried = bench.store.fetch(web);
    const certificate = bench.certificate();
    await bench.source.last.answer(certificate);
    expect(await retried).toBe(certificate);
    expect(bench.state).toBe("Available");
  });

  test("retries after 1, 2, 4 … 128, 150, 150 s, and begins anew after a success", async () => {
    const bench = new Bench();
    bench.store.prefetch(web);
    for (const seconds of [1, 2, 4, 8, 16, 32, 64, 128, 150, 150]) {
      await bench.source.last.fail(failure());
      const before = bench.source.calls.length;
      await bench.clock.advance(seconds * second - 1);
      expect(bench.source.calls).toHaveLength(before);
      await bench.clock.advance(1);
      expect(bench.source.calls).toHaveLength(before + 1);
    }
    await bench.source.last.answer(bench.certificate());
    await bench.clock.advance(12 * hour);
    await bench.source.last.fail(failure());
    expect(bench.clock.nextTimerMs).toBe(second);
  });

  test("keeps the certificate it has, and says so", async () => {
    const bench = new Bench();
    const certificate = await bench.hold();
    await bench.clock.advance(12 * hour);
    for (let attempt = 0; attempt < 5; attempt++) {
      await bench.source.last.fail(failure());
      expect(await bench.store.fetch(web)).toBe(certificate);
      await bench.clock.advance(bench.clock.nextTimerMs ?? 0);
    }
    expect(bench.state).toBe("Available");
    expect(bench.logger.lines.filter((line) => line.startsWith("warn"))).toContain(
      `warn certificate renewal failed {"identity":"${formatSpiffeId(web)}","error":"CA away","retry_ms":1000}`,
    );
  });

  test("has none once that one ends: callers get the error at once; a last try is made at that moment", async () => {
    const bench = new Bench();
    const certificate = await bench.hold(web, hour);
    await bench.clock.advance(29 * minute);
    const end = certificate.notAfter.getTime();
    let tries = 0;
    while (bench.clock.wallTime().getTime() < end) {
      await bench.source.last.fail(failure());
      tries++;
      await bench.clock.advance(bench.clock.nextTimerMs ?? 0);
    }
    expect(tries).toBeGreaterThan(10);
    expect(bench.clock.wallTime().getTime() - end).toBeLessThanOrEqual(500);
    expect(bench.source.running).toBe(1);
    expect(bench.store.find(web)).toBeUndefined();
    await bench.source.last.fail(failure("still away"));
    await expect(bench.store.fetch(web)).rejects.toThrow("still away");
    expect(bench.state).toBe("Unavailable: still away");
    expect(bench.logger.lines.at(-1)).toMatch(/^error certificate not available .*still away/);
    await bench.clock.advance(150 * second);
    const renewed = bench.certificate();
    await bench.source.last.answer(renewed);
    expect(await bench.store.fetch(web)).toBe(renewed);
  });

  test.each<[string, (bench: Bench) => Certificate, RegExp]>([
    ["ended already", (bench) => bench.certificate(web, 0), /is valid from .* now is 2026-11-21T12:00:00/],
    [
      "begins tomorrow",
      (bench) => ({ ...bench.certificate(), notBefore: new Date("2026-11-22T12:00:00Z") }),
      /is valid from/,
    ],
    ["is for another", (bench) => bench.certificate(cart), /got spiffe:.*\/sa\/cart/],
  ])("takes no certificate that %s", async (_, make, reason) => {
    const bench = new Bench();
    const fetching = expect(bench.store.fetch(web)).rejects.toMatchObject({
      code: "CERTIFICATE_INVALID",
      message: expect.stringMatching(reason),
    });
    await bench.source.last.answer(make(bench));
    await fetching;
    expect(bench.clock.nextTimerMs).toBe(second);
  });

  test("copes with a source that throws at once, and with what is no Error", async () => {
    const clock = new ManualClock();
    const thrown: unknown[] = [failure("at once"), "text"];
    const source: CertificateSource = {
      fetchCertificate() {
        throw thrown.shift();
      },
    };
    const store = new CertificateStore({ source, clock, random: () => 0.5 });
    await expect(store.fetch(web)).rejects.toThrow("at once");
    await clock.advance(second);
    await expect(store.fetch(web)).rejects.toThrow("text");
  });
});

describe("CertificateStore forgets", () => {
  test("a flight under way: it is aborted, those who wait are told, and what comes late is dropped", async () => {
    const bench = new Bench();
    const waiting = expect(bench.store.fetch(web)).rejects.toMatchObject({ code: "CERTIFICATE_FORGOTTEN" });
    const call = bench.source.last;
    bench.store.forget(web);
    await waiting;
    expect(call.signal?.aborted).toBe(true);
    await call.answer(bench.certificate());
    expect(bench.store.find(web)).toBeUndefined();
    expect([bench.store.list(), bench.clock.pendingTimers]).toEqual([[], 0]);
  });

  test.each(["answer", "fail"] as const)(
    "and asks anew: a late %s of the first flight does not touch the second",
    async (how) => {
      const bench = new Bench();
      bench.store.prefetch(web);
      const stale = bench.source.last;
      bench.store.forget(web);
      const fetching = bench.store.fetch(web);
      expect(bench.source.calls).toHaveLength(2);
      await (how === "answer" ? stale.answer(bench.certificate()) : stale.fail(failure("stale")));
      expect(bench.state).toBe("Initializing");
      const certificate = bench.certificate();
      await bench.source.last.answer(certificate);
      expect(await fetching).toBe(certificate);
    },
  );

  test("one that waits for its turn: the CA is never asked for it", async () => {
    const bench = new Bench({ concurrency: 1 });
    bench.store.prefetch(web);
    const waiting = expect(bench.store.fetch(cart)).rejects.toMatchObject({ code: "CERTIFICATE_FORGOTTEN" });
    bench.store.forget(cart);
    await waiting;
    await bench.source.last.answer(bench.certificate());
    expect(bench.source.asked).toEqual(["web"]);
  });

  test("a held one, and renews it no more", async () => {
    const bench = new Bench();
    await bench.hold();
    bench.store.forget(web);
    expect([bench.store.find(web), bench.clock.pendingTimers]).toEqual([undefined, 0]);
  });

  test("one that failed, and retries no more", async () => {
    const bench = new Bench();
    bench.store.prefetch(web);
    await bench.source.last.fail(failure());
    bench.store.forget(web);
    expect(bench.clock.pendingTimers).toBe(0);
  });

  test("nothing when it does not know the identity", () => {
    const bench = new Bench();
    expect(() => bench.store.forget(web)).not.toThrow();
  });

  test("everything when it stops, and takes nothing up again", async () => {
    const bench = new Bench();
    await bench.store.start();
    await bench.hold(web);
    const waiting = expect(bench.store.fetch(cart)).rejects.toMatchObject({ code: "CERTIFICATE_FORGOTTEN" });
    await bench.store.stop();
    await waiting;
    expect(bench.source.calls.at(-1)?.signal?.aborted).toBe(true);
    await expect(bench.store.fetch(web)).rejects.toMatchObject({ code: "CERTIFICATE_FORGOTTEN" });
    expect([bench.store.list(), bench.clock.pendingTimers, bench.source.calls.length]).toEqual([[], 0, 2]);
  });
});

describe("CertificateStore, when the date is set", () => {
  test("beyond the certificate's end: it is not used, and a new one is fetched at once", async () => {
    const bench = new Bench();
    await bench.hold();
    bench.clock.setWallTime(new Date("2026-11-30T12:00:00Z"));
    expect(bench.store.find(web)).toBeUndefined();
    const fetching = bench.store.fetch(web);
    const certificate = bench.certificate();
    await bench.source.last.answer(certificate);
    expect(await fetching).toBe(certificate);
  });

  test("beyond half life: renews within the hour, though no timer was that short", async () => {
    const bench = new Bench();
    await bench.hold();
    bench.clock.setWallTime(new Date("2026-11-22T06:00:00Z"));
    await bench.clock.advance(hour);
    expect(bench.source.calls).toHaveLength(2);
  });

  test("to before the certificate: it is not used, and a new one is fetched", async () => {
    const bench = new Bench();
    await bench.hold();
    bench.clock.setWallTime(new Date("2026-11-20T12:00:00Z"));
    expect(bench.store.find(web)).toBeUndefined();
    void bench.store.fetch(web);
    expect(bench.source.calls).toHaveLength(2);
  });

  test("back within the certificate's life: renews when it really is half over", async () => {
    const bench = new Bench();
    await bench.hold();
    await bench.clock.advance(6 * hour);
    bench.clock.setWallTime(new Date("2026-11-21T12:00:00Z"));
    await bench.clock.advance(12 * hour - minute - 1);
    expect(bench.source.calls).toHaveLength(1);
    await bench.clock.advance(1);
    expect(bench.source.calls).toHaveLength(2);
  });

  test("back by a day: a retry comes when it would have come", async () => {
    const bench = new Bench();
    bench.store.prefetch(web);
    await bench.source.last.fail(failure());
    bench.clock.setWallTime(new Date("2026-11-20T12:00:00Z"));
    await bench.clock.advance(second);
    expect(bench.source.calls).toHaveLength(2);
  });
});

describe("CertificateStore lists", () => {
  test("what ztunnel lists: PEM in base64, serials in decimal, whole seconds, sorted by identity, no key", async () => {
    const clock = new ManualClock(new Date());
    const bundle = new TestAuthority({ intermediate: true });
    const source: CertificateSource = { fetchCertificate: async (identity) => bundle.issue(identity) };
    const store = new CertificateStore({ source, clock });
    await store.fetch(bundle.identity("shop/web"));
    const held = await store.fetch(bundle.identity("shop/cart"));
    const list = store.list();
    expect(list.map((one) => one.identity)).toEqual([
      "spiffe://cluster.local/ns/shop/sa/cart",
      "spiffe://cluster.local/ns/shop/sa/web",
    ]);
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    const entry = {
      pem: expect.any(String),
      serialNumber: expect.stringMatching(/^\d+$/),
      validFrom: time,
      expirationTime: time,
    };
    expect(list[0]).toEqual({
      identity: "spiffe://cluster.local/ns/shop/sa/cart",
      state: "Available",
      certChain: [entry, entry],
      rootCerts: [entry],
    });
    const text = (pem: string | undefined): string => Buffer.from(pem ?? "", "base64").toString();
    expect(list[0]?.certChain.map(({ pem }) => text(pem)).join("")).toBe(held.chainPem);
    expect(list[0]?.rootCerts.map(({ pem }) => text(pem))).toEqual(held.rootsPem);
    expect(list[0]?.certChain[0]).toMatchObject({
      serialNumber: held.serial,
      expirationTime: `${held.notAfter.toISOString().slice(0, 19)}Z`,
    });
    const keyBody = held.privateKeyPem.split("\n")[1] ?? "";
    expect(JSON.stringify(list)).not.toContain(keyBody);
    expect(JSON.stringify(list)).not.toContain(Buffer.from(keyBody).toString("base64").slice(4, -4));
  });

  test("identities that wait or failed, without certificates", async () => {
    const bench = new Bench();
    bench.store.prefetch(web);
    bench.store.prefetch(cart);
    await bench.source.calls[0]?.fail(failure());
    expect(bench.store.list()).toEqual([
      { identity: formatSpiffeId(cart), state: "Initializing", certChain: [], rootCerts: [] },
      { identity: formatSpiffeId(web), state: "Unavailable: CA away", certChain: [], rootCerts: [] },
    ]);
  });
});

describe("CertificateStore with many identities", () => {
  test("asks for at most eight at once, once per identity, gets them all in spite of failures, and leaves nothing behind", async () => {
    const count = 3000;
    const clock = new ManualClock(new Date("2026-11-21T12:00:00Z"));
    const bench = new Bench();
    const underWay = new Set<string>();
    const attempts = new Map<string, number>();
    let most = 0;
    const source: CertificateSource = {
      async fetchCertificate(identity) {
        const key = formatSpiffeId(identity);
        expect(underWay.has(key)).toBe(false);
        underWay.add(key);
        most = Math.max(most, underWay.size);
        const attempt = (attempts.get(key) ?? 0) + 1;
        attempts.set(key, attempt);
        await nextTurn();
        underWay.delete(key);
        // Every third identity fails twice first.
        if (Number(identity.serviceAccount.slice(4)) % 3 === 0 && attempt <= 2) throw failure();
        return bench.certificate(identity);
      },
    };
    const store = new CertificateStore({ source, clock });
    const names = Array.from({ length: count }, (_, index) => authority.identity(`shop/app-${index}`));
    for (const name of names) store.prefetch(name);
    for (const name of names.slice(0, 500)) store.fetch(name).catch(() => {});
    for (const name of names.slice(-100)) store.forget(name);
    const idle = async (): Promise<void> => {
      while (underWay.size > 0) await nextTurn();
    };
    await idle();
    for (let round = 0; round < 3; round++) {
      await clock.advance(5 * second);
      await idle();
    }
    expect(most).toBe(8);
    expect(names.filter((name) => store.find(name) !== undefined)).toHaveLength(count - 100);
    expect(clock.pendingTimers).toBe(count - 100);
    for (const [key, attempt] of attempts) expect(attempt, key).toBe(Number(key.split("-").at(-1)) % 3 === 0 ? 3 : 1);
    await store.stop();
    expect([clock.pendingTimers, store.list()]).toEqual([0, []]);
  });
});
