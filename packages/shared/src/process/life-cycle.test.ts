import { describe, expect, it, vi } from "vitest";
import { delay, systemClock } from "./clock.ts";
import { withDeadline } from "./deadline.ts";
import { Drain } from "./drain.ts";
import { Readiness } from "./readiness.ts";

describe("Readiness", () => {
  it("is ready without tasks and names what is pending", async () => {
    const readiness = new Readiness();
    expect(readiness.ready).toBe(true);
    const proxy = readiness.task("proxy");
    const dns = readiness.task("dns proxy");
    expect(readiness.pendingTasks()).toEqual(["proxy", "dns proxy"]);
    proxy.done();
    expect(readiness.pendingTasks()).toEqual(["dns proxy"]);
    dns.done();
    dns.done();
    expect(readiness.ready).toBe(true);
    await readiness.whenReady();
  });

  it("wakes every waiter once all is done, and not before", async () => {
    const readiness = new Readiness();
    const [a, b] = [readiness.task("a"), readiness.task("b")];
    const woken = vi.fn();
    const waiting = Promise.all([readiness.whenReady().then(woken), readiness.whenReady().then(woken)]);
    a.done();
    await Promise.resolve();
    expect(woken).not.toHaveBeenCalled();
    b.done();
    await waiting;
    expect(woken).toHaveBeenCalledTimes(2);
  });

  it("can become unready again", () => {
    const readiness = new Readiness();
    const task = readiness.task("xds");
    task.done();
    task.pending();
    expect(readiness.pendingTasks()).toEqual(["xds"]);
  });

  it("refuses a name that is taken", () => {
    const readiness = new Readiness();
    readiness.task("a");
    expect(() => readiness.task("a")).toThrow('"a" is registered twice');
  });
});

describe("Drain", () => {
  it("is idle once nothing is tracked, draining or not", async () => {
    const drain = new Drain();
    await drain.whenIdle();
    const [one, two] = [drain.track(), drain.track()];
    let idle = false;
    const whenIdle = drain.whenIdle().then(() => (idle = true));
    one();
    await Promise.resolve();
    expect(idle).toBe(false);
    two();
    await whenIdle;
  });

  it("is empty once begun and everything is released", async () => {
    const drain = new Drain();
    const release = drain.track();
    drain.begin(60_000);
    expect(drain.draining).toBe(true);
    expect(drain.tracked).toBe(1);
    release();
    release();
    expect(await drain.whenEmpty()).toBe("empty");
    expect(drain.tracked).toBe(0);
  });

  it("ends at the deadline when work goes on", async () => {
    vi.useFakeTimers();
    const drain = new Drain();
    drain.track();
    drain.begin(1_000);
    vi.advanceTimersByTime(1_000);
    vi.useRealTimers();
    expect(await drain.whenEmpty()).toBe("deadline");
  });

  it("tells listeners once, also those that come late, and never those that left", () => {
    const drain = new Drain();
    const early = vi.fn();
    const gone = vi.fn();
    const late = vi.fn();
    drain.onBegin(early);
    drain.onBegin(gone)();
    drain.begin(5);
    drain.begin(5);
    drain.onBegin(late);
    expect(early).toHaveBeenCalledExactlyOnceWith(5);
    expect(gone).not.toHaveBeenCalled();
    expect(late).toHaveBeenCalledOnce();
  });

  it("runs every listener when one throws", () => {
    const drain = new Drain();
    const second = vi.fn();
    drain.onBegin(() => {
      throw new Error("first");
    });
    drain.onBegin(second);
    expect(() => drain.begin(5)).toThrow("A drain listener threw");
    expect(second).toHaveBeenCalledOnce();
  });
});

describe("withDeadline", () => {
  it("gives the outcome of work that is in time", async () => {
    expect(await withDeadline("work", 60_000, async () => 5)).toBe(5);
    await expect(withDeadline("work", 60_000, () => Promise.reject(new Error("own")))).rejects.toThrow("own");
  });

  it("rejects with DEADLINE_EXCEEDED and aborts the signal when it is late", async () => {
    let seen: AbortSignal | undefined;
    const work = withDeadline("The CA's answer", 1, (signal) => {
      seen = signal;
      return new Promise<never>(() => {});
    });
    await expect(work).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
      message: "The CA's answer took longer than 1 ms",
    });
    expect(seen?.aborted).toBe(true);
  });
});

describe("systemClock", () => {
  it("does not fire a timer of more than 2^31 ms at once", () => {
    vi.useFakeTimers();
    const fired = vi.fn();
    systemClock.setTimer(2 ** 31 + 5, fired);
    vi.advanceTimersByTime(2 ** 31 + 4);
    expect(fired).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(fired).toHaveBeenCalledOnce();
    vi.useRealTimers();
  });

  it("does not fire a cancelled timer, also after its first part has passed", () => {
    vi.useFakeTimers();
    const fired = vi.fn();
    const timer = systemClock.setTimer(2 ** 31 + 5, fired);
    vi.advanceTimersByTime(2 ** 31);
    timer.cancel();
    vi.advanceTimersByTime(100);
    expect(fired).not.toHaveBeenCalled();
    vi.useRealTimers();
  });
});

describe("delay", () => {
  it("ends early with the signal's reason", async () => {
    const controller = new AbortController();
    const waiting = delay(systemClock, 60_000, controller.signal);
    controller.abort(new Error("stop"));
    await expect(waiting).rejects.toThrow("stop");
    await expect(delay(systemClock, 1, controller.signal)).rejects.toThrow("stop");
  });
});
