import { displayed } from "./log-format.ts";
import type { Logger } from "./logger.ts";

/** One side of a finished connection. What is not known is left out of the line; identities only under mTLS. */
export interface AccessLogParty {
  /** `ip:port`. */
  readonly address: string;
  readonly workload?: string | undefined;
  readonly namespace?: string | undefined;
  /** With `spiffe://`. */
  readonly identity?: string | undefined;
  readonly cluster?: string | undefined;
}

export interface AccessLogEntry {
  readonly source: AccessLogParty;
  readonly destination: AccessLogParty & {
    /** The CONNECT authority: `ip:port` or `host:port`. */
    readonly hboneAddress?: string | undefined;
    readonly service?: string | undefined;
  };
  readonly direction: "inbound" | "outbound";
  /** As the reporting application sees it: outbound: what the client sent; inbound: what the server sent. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly durationMs: number;
  /** Present: the line is written at level error. */
  readonly error?: string | undefined;
  /** Further fields, after ztunnel's. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined;
}

/** A connection that ended before anything was known of it. */
export interface EarlyFailure {
  readonly sourceAddress: string;
  readonly destinationAddress: string;
  readonly direction: "inbound" | "outbound";
  readonly error: string;
}

/** ztunnel's access log: scope `access`, one line when a connection ends. */
export interface AccessLog {
  /** At debug. */
  connectionOpened(entry: Pick<AccessLogEntry, "source" | "destination" | "direction">): void;
  connectionComplete(entry: AccessLogEntry): void;
  /** At warn: `connection failed`. */
  connectionFailed(failure: EarlyFailure): void;
}

/** The log's fields in their order. */
export const accessLogFields = [
  "src.addr",
  "src.workload",
  "src.namespace",
  "src.identity",
  "src.cluster",
  "dst.addr",
  "dst.hbone_addr",
  "dst.service",
  "dst.workload",
  "dst.namespace",
  "dst.identity",
  "dst.cluster",
  "direction",
  "bytes_sent",
  "bytes_recv",
  "duration",
  "error",
] as const;

type AccessLogField = (typeof accessLogFields)[number];

/** Writes through the logger that main made; lines share its destination, format and levels (`access=off` silences them). */
export function createAccessLog(rootLogger: Logger): AccessLog {
  const logger = rootLogger.child("access");
  return {
    connectionOpened: (entry) => logger.debug("connection opened", partyFields(entry)),
    connectionComplete: (entry) => {
      const fields: Record<string, unknown> = {
        ...partyFields(entry),
        bytes_sent: entry.bytesSent,
        bytes_recv: entry.bytesReceived,
        duration: `${Math.floor(entry.durationMs)}ms`,
        error: entry.error,
        ...entry.extra,
      } satisfies Record<AccessLogField, unknown>;
      if (entry.error === undefined) logger.info("connection complete", fields);
      else logger.error("connection complete", fields);
    },
    connectionFailed: (failure) => {
      logger.warn("connection failed", {
        "src.addr": displayed(failure.sourceAddress),
        "dst.addr": displayed(failure.destinationAddress),
        direction: failure.direction,
        error: failure.error,
      });
    },
  };
}

type PartyField = Exclude<AccessLogField, "bytes_sent" | "bytes_recv" | "duration" | "error">;

function partyFields(entry: Pick<AccessLogEntry, "source" | "destination" | "direction">): Record<PartyField, unknown> {
  const { source, destination } = entry;
  return {
    "src.addr": displayed(source.address),
    "src.workload": source.workload,
    "src.namespace": source.namespace,
    "src.identity": source.identity,
    "src.cluster": source.cluster,
    "dst.addr": displayed(destination.address),
    "dst.hbone_addr": destination.hboneAddress === undefined ? undefined : displayed(destination.hboneAddress),
    "dst.service": destination.service,
    "dst.workload": destination.workload,
    "dst.namespace": destination.namespace,
    "dst.identity": destination.identity,
    "dst.cluster": destination.cluster,
    direction: entry.direction,
  };
}
