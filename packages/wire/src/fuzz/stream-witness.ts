import type { Http2Stream, Http2StreamHandler } from "../http2/types.ts";
import { type HeaderList } from "../http2/header-field.ts";

/** Owns a stream and throws, at the end, when its events broke what {@link Http2StreamHandler} promises. */
export class StreamWitness implements Http2StreamHandler {
  readonly stream: Http2Stream;
  /** What came but data, as text. */
  log = "";
  /** Data without its cuts, in hex. */
  data = "";
  /** The code of the error that closed the stream. */
  closeCode: string | undefined;
  readonly faults: string[] = [];
  #headSeen: boolean;
  #bytes = 0;
  #ended = false;
  #closed = false;

  /** `headSeen`: a server's stream, whose head came with it. */
  constructor(stream: Http2Stream, headSeen: boolean) {
    this.stream = stream;
    this.#headSeen = headSeen;
    stream.setHandler(this);
  }

  get closed(): boolean {
    return this.#closed;
  }

  onInformational(headers: HeaderList): void {
    this.#expect(!this.#headSeen, "1xx after the head");
    this.#write("informational", headers);
  }

  onHeaders(headers: HeaderList): void {
    this.#expect(!this.#headSeen, "a second head");
    this.#headSeen = true;
    this.#write("head", headers);
  }

  onData(chunk: Uint8Array): void {
    this.#expect(this.#headSeen && !this.#ended && !this.#closed && chunk.length > 0, "data out of place");
    this.#bytes += chunk.length;
    this.#expect(this.#bytes === this.stream.bytesRead, "bytesRead is not what was read");
    this.data += Buffer.from(chunk).toString("hex");
  }

  onTrailers(headers: HeaderList): void {
    this.#expect(this.#headSeen && !this.#ended, "trailers out of place");
    this.#write("trailers", headers);
  }

  onEnd(): void {
    this.#expect(this.#headSeen && !this.#ended && !this.#closed, "an end out of place");
    this.#ended = true;
    this.log += " end";
  }

  onDrain(): void {
    this.#expect(!this.#closed, "drain after the close");
  }

  onClose(error: Error | undefined): void {
    this.#expect(!this.#closed, "a second close");
    this.#closed = true;
    this.closeCode = (error as { code?: string } | undefined)?.code;
    this.log += ` close ${this.closeCode ?? "clean"}`;
  }

  #write(kind: string, headers: HeaderList): void {
    this.#expect(!this.#closed, `${kind} after the close`);
    this.log += ` ${kind} ${headers.map(({ name, value }) => `${name}=${value}`).join(",")} `;
  }

  #expect(holds: boolean, fault: string): void {
    if (!holds) this.faults.push(`stream ${this.stream.id}: ${fault}`);
  }
}
