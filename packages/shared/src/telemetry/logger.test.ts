import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { displayed, sharedFields, timestamp } from "./log-format.ts";
import { createLogger, type LoggerOptions, noLogger, type RootLogger } from "./logger.ts";

function capture(options: LoggerOptions = {}): { logger: RootLogger; lines: string[] } {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line), flush: () => {} };
  return { logger: createLogger({ ...options, destination }), lines };
}

/** Without the time, which is tested apart. */
function body(line: string | undefined): string | undefined {
  return line?.replace(/^[^\t]*\t/, "");
}

describe("plain log lines", () => {
  it("writes another thread's lines as they are, whatever the levels", () => {
    const { logger, lines } = capture({ level: "off" });
    logger.writeLine("finished elsewhere\n");
    expect(lines).toEqual(["finished elsewhere\n"]);
  });

  it("have ztunnel's columns, and the last tab also without fields", () => {
    const { logger, lines } = capture();
    logger.child("xds").info("handling RBAC delete handson/need-identity");
    expect(lines[0]).toMatch(
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\tinfo\txds\thandling RBAC delete handson\/need-identity\t\n$/,
    );
  });

  it("quote strings, and neither numbers nor addresses", () => {
    const { logger, lines } = capture();
    logger.info("listener established", {
      address: displayed("[::]:15008"),
      component: "inbound",
      port: 15_008,
      on: true,
    });
    expect(body(lines[0])).toBe(
      'info\tapp\tlistener established\taddress=[::]:15008 component="inbound" port=15008 on=true\n',
    );
  });

  it.each([
    ["plain", 'info\tapp\tx\tsource="a \\"b\\"" port=1 name="c"\n'],
    ["json", '"message":"x","source":"a \\"b\\"","port":1,"name":"c"}\n'],
  ] as const)("show fields that many lines share in their place, in %s", (format, end) => {
    const { logger, lines } = capture({ format });
    const shared = sharedFields({ source: 'a "b"', none: undefined, port: 1 });
    logger.info("x", { shared, name: "c" });
    logger.info("x", { shared, name: "c" });
    logger.info("x", { none: sharedFields({}) });
    expect(lines[0]?.endsWith(end)).toBe(true);
    expect(lines[1]?.endsWith(end)).toBe(true);
    expect(lines[2]?.endsWith(format === "plain" ? "\tx\t\n" : '"message":"x"}\n')).toBe(true);
  });

  it("show errors with their causes, objects as JSON, and leave out what is absent", () => {
    const { logger, lines } = capture();
    const error = new Error("above", { cause: new Error("below") });
    logger.warn("x", { error, none: undefined, nil: null, list: [1, "a"], call: () => {} });
    expect(body(lines[0])).toBe('warn\tapp\tx\terror="above: below" list=[1,"a"]\n');
  });

  it("stay one line that cannot steer a terminal, whatever a peer's string holds", () => {
    const { logger, lines } = capture();
    logger.info("a\nb", { value: 'x\n2026\tinfo "y" \\ \u001b[2J\u009b\u2028\u202e\ud800' });
    expect(body(lines[0])).toBe(
      'info\tapp\ta\\nb\tvalue="x\\n2026\\tinfo \\"y\\" \\\\ \\u{1b}[2J\\u{9b}\\u{2028}\\u{202e}\\u{d800}"\n',
    );
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (message, value) => {
        lines.length = 0;
        logger.info(message, { value, address: displayed(value), inside: { value } });
        // eslint-disable-next-line no-control-regex -- exactly these may occur
        expect(lines[0]?.slice(0, -1)).not.toMatch(/[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/);
        expect(lines[0]?.split("\t")).toHaveLength(5);
      }),
    );
  });

  it("quote a displayed text after all when it could be taken for another field", () => {
    const { logger, lines } = capture();
    logger.info("x", { a: displayed("1 b=2") });
    expect(body(lines[0])).toBe('info\tapp\tx\ta="1 b=2"\n');
  });

  it("cut long strings", () => {
    const { logger, lines } = capture();
    logger.info("x", { a: "b".repeat(100_000) });
    expect(lines[0]?.length).toBeLessThan(5_000);
  });
});

describe("JSON log lines", () => {
  it("begin with level, time, scope and message in this order, as ztunnel's", () => {
    const sample = readSample();
    const { logger, lines } = capture({ format: "json" });
    logger.child("access").info("connection complete", { "src.addr": displayed("10.0.0.1:2"), bytes_sent: 282 });
    const keys = (line: string): string[] => Object.keys(JSON.parse(line) as object).slice(0, 5);
    expect(keys(lines[0] ?? "")).toEqual(keys(sample));
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ level: "info", scope: "access", bytes_sent: 282 });
  });

  it("are JSON whatever the fields hold", () => {
    const { logger, lines } = capture({ format: "json" });
    const circular: Record<string, unknown> = {};
    circular["self"] = circular;
    logger.error("x", { circular, big: 5n, nan: Number.NaN, inner: { big: 5n }, error: new Error("e") });
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      circular: "[unprintable]",
      big: 5,
      nan: "NaN",
      inner: "[unprintable]",
      error: "e",
    });
  });
});

describe("Logger", () => {
  it("writes what its level allows", () => {
    const { logger, lines } = capture({ level: "warn" });
    logger.debug("a");
    logger.info("b");
    logger.warn("c");
    logger.error("d");
    expect(lines.map((line) => line.split("\t")[3])).toEqual(["c", "d"]);
  });

  it("names children by their path below the root", () => {
    const { logger, lines } = capture({ scope: "main" });
    logger.info("x");
    logger.child("proxy").child("inbound").info("x");
    expect(lines.map((line) => line.split("\t")[2])).toEqual(["main", "proxy::inbound"]);
  });

  it("follows a change of levels at once, also in loggers made before", () => {
    const { logger, lines } = capture({ level: "info" });
    const child = logger.child("xds").child("client");
    child.debug("before");
    logger.levels.set("xds=debug");
    child.debug("during");
    logger.debug("not this scope");
    logger.levels.reset();
    child.debug("after");
    expect(lines.map((line) => line.split("\t")[3])).toEqual(["during"]);
  });

  it("can be nothing at all", () => {
    expect(() => noLogger.child("x").error("y")).not.toThrow();
  });
});

describe("timestamp", () => {
  it("is now, to the microsecond", () => {
    const before = Date.now();
    const text = timestamp();
    expect(text).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    expect(Math.abs(Date.parse(text) - before)).toBeLessThan(1_000);
  });

  it("never goes back while the wall clock does not", () => {
    const texts = Array.from({ length: 1_000 }, () => timestamp());
    expect(texts.toSorted()).toEqual(texts);
  });
});

/** A line of real ztunnel. */
function readSample(): string {
  const path = new URL("testdata/ztunnel-access-log.json", import.meta.url);
  return readFileSync(path, "utf8").split("\n")[0] ?? "";
}
