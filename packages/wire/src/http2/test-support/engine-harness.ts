import { Http2Engine } from "../engine.ts";
import { CLIENT_PREFACE, Flag, FrameType } from "../frame.ts";
import { type Http2Options, type Http2Role, resolveHttp2Options } from "../options.ts";
import type { HeaderList } from "../header-field.ts";
import type { Http2Session, Http2Stream, Http2StreamHandler } from "../types.ts";
import { parseFrames, rawFrame, type RawFrame } from "./frames.ts";

/** Keeps every event of a stream as a line; consecutive data is one line, since its cuts follow the input's. */
function recordStream(events: string[], stream: Http2Stream): Http2StreamHandler {
  const { id } = stream;
  return {
    onData: (chunk) => {
      const text = Buffer.from(chunk).toString("latin1");
      const last = events.findLastIndex((event) => event.startsWith(`${id} `));
      if (last >= 0 && events[last]?.startsWith(`${id} data `)) events[last] += text;
      else events.push(`${id} data ${text}`);
    },
    onInformational: (headers) => events.push(`${id} informational ${formatHeaders(headers)}`),
    onHeaders: (headers) => events.push(`${id} head ${formatHeaders(headers)}`),
    onTrailers: (headers) => events.push(`${id} trailers ${formatHeaders(headers)}`),
    onEnd: () => events.push(`${id} end`),
    onDrain: () => events.push(`${id} drain`),
    onClose: (error) => events.push(`${id} close ${(error as { code?: string } | undefined)?.code ?? "clean"}`),
  };
}

function formatHeaders(headers: HeaderList): string {
  return headers.map(({ name, value }) => `${name}=${value}`).join(" ");
}

/** An engine without a channel: what it was told, and what it wants to send. */
export class EngineHarness {
  readonly engine: Http2Engine;
  readonly events: string[] = [];
  readonly streams: Http2Stream[] = [];
  now = 0;

  constructor(role: Http2Role, options: Http2Options = {}, onStream?: (stream: Http2Stream) => void) {
    const { events } = this;
    this.engine = new Http2Engine(
      role,
      {} as Http2Session,
      {
        onStream: (stream, headers, endStream) => {
          events.push(`${stream.id} request ${formatHeaders(headers)}${endStream ? " end" : ""}`);
          this.streams.push(stream);
          stream.setHandler(recordStream(events, stream));
          if (onStream === undefined) stream.resume();
          else onStream(stream);
        },
        onSettings: () => events.push("settings"),
        onGoaway: ({ errorCode, lastStreamId }) => events.push(`goaway ${errorCode} ${lastStreamId}`),
        onStreamClosed: () => {},
        onLimit: () => {},
        onStreamFault: () => {},
        onFailed: (error) => events.push(`failed ${(error as { code?: string } | undefined)?.code ?? "clean"}`),
        onFinished: () => events.push("finished"),
        wake: () => {},
        flushNow: () => {},
        sendNow: () => {
          throw new Error("Only what a socket read is sent from where it lies");
        },
      },
      resolveHttp2Options(role, options),
    );
  }

  /** Reads the bytes as one chunk and makes the turns that a session would make. */
  feed(...chunks: Uint8Array[]): this {
    this.engine.receive(Buffer.concat(chunks), this.now);
    do this.engine.turn();
    while (this.engine.hasDeliveries);
    return this;
  }

  /** The peer's opening: preface if it is a client, empty SETTINGS, the ack of ours. */
  open(settings: Uint8Array = Buffer.alloc(0)): this {
    const frames = [rawFrame(FrameType.SETTINGS, 0, 0, settings), rawFrame(FrameType.SETTINGS, Flag.ACK, 0)];
    this.feed(...(this.engine.role === "server" ? [CLIENT_PREFACE] : []), ...frames);
    this.sent();
    this.events.length = 0;
    return this;
  }

  /** Frames since the last call. */
  sent(): RawFrame[] {
    const writer = this.engine.output.take();
    let bytes = Buffer.from(writer?.bytes.subarray(0, writer.length) ?? []);
    if (bytes.subarray(0, 3).toString("latin1") === "PRI") bytes = bytes.subarray(CLIENT_PREFACE.length);
    return parseFrames(bytes);
  }
}
