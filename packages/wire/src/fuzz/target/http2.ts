import { Http2Error } from "../../http2/error.ts";
import { Flag, FrameType } from "../../http2/frame.ts";
import { headerList } from "../../http2/header-field.ts";
import type { Http2Role } from "../../http2/options.ts";
import { EngineHarness } from "../../http2/test-support/engine-harness.ts";
import { uint32 } from "../../http2/test-support/frames.ts";
import type { Http2Stream } from "../../http2/types.ts";
import type { FuzzTarget } from "../fuzz.ts";
import { type Http2Step, readHttp2Script, step } from "../http2-script.ts";
import { Random } from "../random.ts";
import { StreamWitness } from "../stream-witness.ts";

const options = {
  initialWindowSize: 1000,
  connectionWindowSize: 65_535,
  maxConcurrentStreams: 8,
  maxSendBufferBytes: 500,
  maxHeaderListBytes: 2000,
};
const maxFrameBytes = 0xffffff;

const headers = Flag.END_HEADERS;
const last = Flag.END_STREAM;
const data = Buffer.from("hello");
const window = uint32(1000);

const serverSeeds = [
  [step.head(headers | last, 1, 0), step.act(2, 0, 0), step.act(4, 0, 50), step.act(5, 0, 0)],
  [
    step.head(headers, 1, 2),
    step.act(2, 0, 0),
    step.frame(FrameType.DATA, 0, 1, data),
    step.act(4, 0, 200),
    step.act(5, 0, 0),
    step.frame(FrameType.DATA, last, 1, data),
  ],
  [step.head(headers, 1, 3), step.frame(FrameType.DATA, last, 1, data), step.act(2, 0, 0), step.act(6, 0, 0)],
  [
    step.head(headers, 1, 1),
    step.act(0, 0, 0),
    step.frame(FrameType.DATA, 0, 1, data),
    step.head(headers | last, 1, 8),
    step.act(1, 0, 0),
  ],
  [
    step.head(headers, 1, 2),
    step.frame(FrameType.RST_STREAM, 0, 1, uint32(8)),
    step.head(headers, 3, 2),
    step.act(7, 1, 0),
  ],
  [
    step.frame(FrameType.SETTINGS, 0, 0, Buffer.from("000400000010", "hex")),
    step.frame(FrameType.PING, 0, 0, Buffer.alloc(8)),
    step.frame(FrameType.WINDOW_UPDATE, 0, 0, window),
  ],
  [
    step.frame(FrameType.HEADERS, 0, 1, Buffer.from("828684", "hex")),
    step.frame(FrameType.CONTINUATION, headers, 1),
    step.frame(FrameType.PRIORITY, 0, 3, Buffer.alloc(5)),
  ],
  [
    step.head(headers, 1, 2),
    step.act(8, 0, 0),
    step.frame(FrameType.GOAWAY, 0, 0, uint32(0, 0)),
    step.frame(FrameType.PING, Flag.ACK, 0, Buffer.alloc(8)),
  ],
];

const clientSeeds = [
  [step.act(9, 0, 0), step.head(headers, 1, 4), step.frame(FrameType.DATA, last, 1, data), step.act(5, 0, 0)],
  [
    step.act(9, 0, 1),
    step.head(headers, 1, 5),
    step.head(headers, 1, 4),
    step.act(4, 0, 255),
    step.frame(FrameType.WINDOW_UPDATE, 0, 1, window),
    step.head(headers | last, 1, 8),
  ],
  [
    step.act(9, 0, 0),
    step.act(9, 0, 0),
    step.frame(FrameType.GOAWAY, 0, 0, uint32(1, 0)),
    step.head(headers | last, 1, 6),
  ],
  [
    step.act(9, 0, 0),
    step.head(headers, 1, 7),
    step.frame(FrameType.DATA, Flag.PADDED | last, 1, Buffer.from("\u0002abc\0\0")),
    step.act(7, 0, 0),
  ],
  [
    step.act(9, 0, 0),
    step.frame(FrameType.PUSH_PROMISE, headers, 1, uint32(2)),
    step.frame(FrameType.RST_STREAM, 0, 1, uint32(7)),
  ],
];

/** The whole engine in one role, with an owner who does something at every turn. */
export function http2Target(role: Http2Role): FuzzTarget {
  return {
    name: `http2-${role}`,
    seeds: (role === "server" ? serverSeeds : clientSeeds).map((steps) => Buffer.concat(steps)),
    dictionary: [
      step.head(headers, 3, 2),
      step.head(headers | last, 5, 0),
      step.frame(FrameType.DATA, 0, 1, data),
      step.act(2, 0, 0),
      step.act(1, 0, 0),
      step.frame(FrameType.WINDOW_UPDATE, 0, 1, window),
      step.frame(FrameType.SETTINGS, 0, 0),
    ],
    run(input) {
      const script = readHttp2Script(input);
      const whole = new EngineRun(role).play(script, (bytes) => [bytes]);
      const random = new Random(input.length);
      const cut = new EngineRun(role).play(script, (bytes) => cutAtRandom(bytes, random));
      if (whole !== cut) throw new Error(`The cuts of the input matter:\n${whole}\nor\n${cut}`);
    },
  };
}

function cutAtRandom(bytes: Buffer, random: Random): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 1 + random.int(12);
    pieces.push(bytes.subarray(at, end));
    at = end;
  }
  return pieces;
}

/** What closed a stream without being its fault; all data before it was delivered. */
const outsideReasons: readonly (string | undefined)[] = [
  undefined,
  "HTTP2_STREAM_RESET",
  "HTTP2_SESSION_CLOSED",
  "HTTP2_GOAWAY",
];

/** How much of a faulty frame was delivered before the fault was seen depends on the cuts. */
function describeStream({ stream, log, data, closeCode }: StreamWitness): string {
  return `${stream.id} ${log} ${outsideReasons.includes(closeCode) ? data : ""}`;
}

/** One engine from its opening to its end. */
class EngineRun {
  readonly #harness: EngineHarness;
  readonly #witnesses: StreamWitness[] = [];
  #goingAway = false;

  constructor(role: Http2Role) {
    this.#harness = new EngineHarness(role, options, (stream) => this.#own(stream, true)).open();
  }

  /** Plays all steps and then ends the session. What was seen, as text. */
  play(script: readonly Http2Step[], cut: (bytes: Buffer) => Buffer[]): string {
    for (const step of script) {
      if (step.kind === "bytes") for (const piece of cut(step.bytes)) this.#harness.feed(piece);
      else this.#act(step);
      this.#harness.feed();
      this.#checkOutput();
      this.#checkBounds();
    }
    this.#harness.engine.fail(undefined, 0);
    // What ended before the session did is still theirs to read.
    for (const { stream } of this.#witnesses) stream.resume();
    this.#harness.feed();
    this.#checkEnd();
    return [...this.#sessionEvents(), ...this.#witnesses.map(describeStream)].join("\n");
  }

  /** Once a session is going away, its last stream ends it; a fault in the same read comes before that or after. */
  #sessionEvents(): string[] {
    const { events } = this.#harness;
    return this.#goingAway || events.some((event) => event.startsWith("goaway"))
      ? events.filter((event) => !/^(failed|finished)/.test(event))
      : events;
  }

  #own(stream: Http2Stream, headSeen: boolean): void {
    this.#witnesses.push(new StreamWitness(stream, headSeen));
  }

  #act(step: Extract<Http2Step, { kind: "act" }>): void {
    const stream = this.#witnesses[step.stream % Math.max(1, this.#witnesses.length)]?.stream;
    try {
      this.#actOn(stream, step);
    } catch (error) {
      // An owner's mistake is told to the owner and to nobody else.
      if (!(error instanceof Http2Error)) throw error;
    }
  }

  #actOn(stream: Http2Stream | undefined, { action, size }: { readonly action: number; readonly size: number }): void {
    const { engine } = this.#harness;
    const actions: readonly (() => void)[] = [
      () => stream?.pause(),
      () => stream?.resume(),
      () => stream?.respond(headerList({ ":status": "200" }), { endStream: size > 250 }),
      () => stream?.sendInformational(headerList({ ":status": "103" })),
      () => void stream?.write(Buffer.alloc(size * 4, 0x61)),
      () => stream?.end(),
      () => stream?.sendTrailers(headerList({ "x-trailer": "t" })),
      () => stream?.reset(size),
      () => {
        this.#goingAway = true;
        engine.shutdown();
      },
      () =>
        this.#own(engine.request(headerList({ ":method": "CONNECT", ":authority": "a:1" }), (size & 1) === 1), false),
      () => void engine.ping(() => {}),
    ];
    actions[action % actions.length]?.();
  }

  #checkOutput(): void {
    for (const { type, payload } of this.#harness.sent()) {
      const isWhole = type <= FrameType.CONTINUATION && payload.length <= maxFrameBytes;
      if (!isWhole) throw new Error(`A frame of type ${type} with ${payload.length} bytes was sent`);
    }
  }

  #checkBounds(): void {
    const { stats } = this.#harness.engine;
    if (stats.heldBytes < 0 || stats.heldBytes > options.connectionWindowSize) {
      throw new Error(`${stats.heldBytes} bytes are held`);
    }
    if (stats.queuedBytes < 0 || stats.openStreams < 0) throw new Error("A counter is negative");
    if (this.#harness.engine.role === "server" && stats.openStreams > options.maxConcurrentStreams) {
      throw new Error(`${stats.openStreams} streams are open`);
    }
  }

  #checkEnd(): void {
    const faults = this.#witnesses.flatMap(({ faults }) => faults);
    const open = this.#witnesses
      .filter(({ closed }) => !closed)
      .map(({ stream }) => `stream ${stream.id} was not closed`);
    const { heldBytes, queuedBytes, openStreams } = this.#harness.engine.stats;
    if (heldBytes + queuedBytes + openStreams > 0)
      faults.push(`left: ${heldBytes} held, ${queuedBytes} queued, ${openStreams} open`);
    faults.push(...open);
    if (faults.length > 0) throw new Error(faults.join("; "));
  }
}
