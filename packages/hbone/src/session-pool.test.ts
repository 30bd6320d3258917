import { describe, expect, it } from "vitest";
import { SessionPool, type PoolClock, type PooledSession } from "./session-pool.ts";

class FakeSession implements PooledSession {
  openTunnels = 0;
  capacity: number;
  onTunnelClosed: (() => void) | undefined;
  onUnusable: (() => void) | undefined;
  ended: "open" | "closed" | "destroyed" = "open";

  constructor(capacity = 100) {
    this.capacity = capacity;
  }

  open = (): this => {
    this.openTunnels++;
    return this;
  };

  closeTunnel(): void {
    this.openTunnels--;
    this.onTunnelClosed?.();
  }

  goaway(): void {
    this.capacity = 0;
    this.onUnusable?.();
  }

  close(): void {
    this.ended = "closed";
  }

  destroy(): void {
    this.ended = "destroyed";
  }
}

class FakeClock implements PoolClock {
  readonly timers: { ms: number; callback: () => void; cancelled: boolean }[] = [];

  setTimer(ms: number, callback: () => void): { cancel(): void } {
    const timer = { ms, callback, cancelled: false };
    this.timers.push(timer);
    return { cancel: () => void (timer.cancelled = true) };
  }

  fire(): void {
    for (const timer of this.timers.splice(0)) if (!timer.cancelled) timer.callback();
  }
}

function createPool(capacity = 100) {
  const clock = new FakeClock();
  const pool = new SessionPool<FakeSession>(clock, { idleReleaseMs: 300_000 });
  const dialled: FakeSession[] = [];
  const dial = async (): Promise<FakeSession> => {
    const session = new FakeSession(capacity);
    dialled.push(session);
    return session;
  };
  const open = (key = "a", except?: FakeSession): Promise<FakeSession> =>
    pool.withSession(key, dial, (session) => session.open(), except);
  return { clock, pool, dialled, dial, open };
}

describe("SessionPool", () => {
  it("dials once for a burst of callers of one key", async () => {
    const { dialled, open } = createPool();
    await Promise.all(Array.from({ length: 50 }, () => open()));
    expect(dialled).toHaveLength(1);
    expect(dialled[0]?.openTunnels).toBe(50);
  });

  it("opens a second session when the first reached its stream limit", async () => {
    const { dialled, open } = createPool(10);
    await Promise.all(Array.from({ length: 25 }, () => open()));
    expect(dialled.map((session) => session.openTunnels)).toEqual([10, 10, 5]);
  });

  it("uses room again after tunnels closed", async () => {
    const { dialled, open } = createPool(1);
    const session = await open();
    session.closeTunnel();
    await open();
    expect(dialled).toHaveLength(1);
  });

  it("keeps keys apart", async () => {
    const { dialled, open } = createPool();
    await open("a");
    await open("b");
    expect(dialled).toHaveLength(2);
  });

  it("never hands out a session that is closing", async () => {
    const { dialled, open, pool } = createPool();
    const first = await open();
    first.goaway();
    const second = await open();
    expect(second).not.toBe(first);
    expect(dialled).toHaveLength(2);
    expect(pool.size).toBe(1);
  });

  it("passes over the session that a caller was refused by", async () => {
    const { open } = createPool();
    const first = await open();
    expect(await open("a", first)).not.toBe(first);
  });

  it("gives the failure of a dial to all who waited for it, and dials anew for the next", async () => {
    const { open, pool } = createPool();
    let failures = 0;
    const failing = async (): Promise<FakeSession> => {
      failures++;
      throw new Error("refused");
    };
    const waiters = Array.from({ length: 5 }, () => pool.withSession("a", failing, (session) => session.open()));
    const results = await Promise.allSettled(waiters);
    expect(results.map(({ status }) => status)).toEqual(Array.from({ length: 5 }, () => "rejected"));
    expect(failures).toBe(1);
    expect(pool.size).toBe(0);
    await expect(open()).resolves.toBeInstanceOf(FakeSession);
  });

  it("fails rather than dial for ever when the peer takes no stream", async () => {
    const { open, dialled } = createPool(0);
    await expect(open()).rejects.toThrow(/takes no stream/);
    expect(dialled).toHaveLength(1);
  });

  it("closes a session that had no tunnel for the idle time, and not one that got a tunnel meanwhile", async () => {
    const { clock, open, pool } = createPool();
    const session = await open();
    session.closeTunnel();
    await open();
    clock.fire();
    expect(session.ended).toBe("open");
    session.closeTunnel();
    expect(clock.timers.at(-1)?.ms).toBe(300_000);
    clock.fire();
    expect(session.ended).toBe("closed");
    expect(pool.size).toBe(0);
  });

  it("closes all sessions and refuses new callers once closed, also the one whose dial was under way", async () => {
    const { dial, open, pool, dialled } = createPool();
    const session = await open();
    const late = pool.withSession("b", dial, (other) => other.open());
    pool.close();
    await expect(late).rejects.toThrow(/closed/);
    expect(session.ended).toBe("closed");
    expect(dialled[1]?.ended).toBe("destroyed");
    await expect(open()).rejects.toThrow(/closed/);
  });

  it("destroys all sessions when destroyed", async () => {
    const { open, pool } = createPool();
    const session = await open();
    pool.destroy(new Error("pod is gone"));
    expect(session.ended).toBe("destroyed");
    expect(pool.size).toBe(0);
  });
});
