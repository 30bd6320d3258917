import { parseArgs } from "node:util";

/** What one run of the bench measures. */
export interface BenchOptions {
  /** Ids of lanes and of measures; empty: all. */
  readonly only: readonly string[];
  /** Length of a timed measurement, after a warm-up of a quarter of it. */
  readonly seconds: number;
  /** How often each is measured; the table shows medians. */
  readonly repeat: number;
  readonly quick: boolean;
  /** Instead of measuring: where our proxies spend their time. */
  readonly profile: boolean;
  /** Paths of the peers' programs; undefined: not measured. */
  readonly ztunnel: string | undefined;
  readonly envoy: string | undefined;
}

export const usage = `Usage: pnpm bench [options]

  --only NAMES      lanes and measures, comma separated (see bench/README.md)
  --quick           one short repeat, without 5,000 connections: under three minutes
  --seconds N       length of one measurement (default 2; quick: 0.8)
  --repeat N        repeats of each (default 3; quick: 1)
  --ztunnel PATH    Istio's ztunnel (default: ZTUNNEL_BIN)
  --envoy PATH      Envoy (default: ENVOY_BIN)
  --profile         CPU profiles of our proxies instead of figures
`;

export class UsageError extends Error {}

/** Throws {@link UsageError}; undefined when help was asked for. */
export function parseOptions(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): BenchOptions | undefined {
  const { values } = parseWords(argv);
  if (values.help === true) return undefined;
  const quick = values.quick ?? false;
  return {
    only: (values.only ?? "").split(",").filter((name) => name !== ""),
    seconds: positive("--seconds", values.seconds, quick ? 0.8 : 2),
    repeat: Math.ceil(positive("--repeat", values.repeat, quick ? 1 : 3)),
    quick,
    profile: values.profile ?? false,
    ztunnel: values.ztunnel ?? environment["ZTUNNEL_BIN"],
    envoy: values.envoy ?? environment["ENVOY_BIN"],
  };
}

interface Words {
  readonly values: {
    readonly help?: boolean;
    readonly quick?: boolean;
    readonly profile?: boolean;
    readonly only?: string;
    readonly seconds?: string;
    readonly repeat?: string;
    readonly ztunnel?: string;
    readonly envoy?: string;
  };
}

function parseWords(argv: readonly string[]): Words {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  try {
    return parseArgs({
      // pnpm passes the `--` on.
      args: argv.filter((word) => word !== "--"),
      options: {
        help: { ...flag, short: "h" },
        quick: flag,
        profile: flag,
        only: text,
        seconds: text,
        repeat: text,
        ztunnel: text,
        envoy: text,
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function positive(name: string, text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new UsageError(`${name} takes a number above 0, not ${JSON.stringify(text)}`);
}
