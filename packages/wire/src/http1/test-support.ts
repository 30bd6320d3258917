// For tests: parsers' events as plain values, so that two runs can be compared.
import { Http1Error } from "./errors.ts";
import type { Http1Headers } from "./headers.ts";
import type { Http1Limits, Http1RequestHead, Http1ResponseHead } from "./message.ts";
import { Http1RequestParser } from "./request-parser.ts";
import { Http1ResponseParser, type ResponseContext } from "./response-parser.ts";

/** One message as the events told it. Body bytes as Latin-1. */
interface ReadMessage<Head> {
  readonly head: Head;
  readonly informational: readonly number[];
  body: string;
  /** Undefined until the message ended. */
  trailers?: readonly (readonly [string, string])[];
}

export interface ReadResult<Head> {
  readonly messages: ReadMessage<Head>[];
  /** Bytes that were left to the caller. */
  rest: string;
  error?: { readonly code: string; readonly status: number };
}

interface Parser {
  push(chunk: Uint8Array): number;
  finish(): void;
}

function readAll<Head>(
  create: (messages: ReadMessage<Head>[]) => Parser,
  pieces: readonly Uint8Array[],
  finish: boolean,
): ReadResult<Head> {
  const result: ReadResult<Head> = { messages: [], rest: "" };
  try {
    const parser = create(result.messages);
    for (const piece of pieces) {
      const borrowed = Uint8Array.from(piece);
      const consumed = parser.push(borrowed);
      result.rest += Buffer.from(borrowed.subarray(consumed)).toString("latin1");
      borrowed.fill(0); // borrowed: nothing may look at it afterwards
    }
    if (finish) parser.finish();
  } catch (error) {
    if (!(error instanceof Http1Error)) throw error;
    result.error = { code: error.code, status: error.status };
  }
  return result;
}

function collector<Head>(messages: ReadMessage<Head>[], next: () => void) {
  let informational: number[] = [];
  return {
    onInformational: (head: { status: number }) => void informational.push(head.status),
    onHead: (head: Head) => {
      messages.push({ head, informational, body: "" });
      informational = [];
    },
    onBody: (chunk: Uint8Array) => {
      (messages.at(-1) as ReadMessage<Head>).body += Buffer.from(chunk).toString("latin1");
    },
    onEnd: (trailers: Http1Headers | undefined) => {
      (messages.at(-1) as ReadMessage<Head>).trailers = [...(trailers ?? [])];
      next();
    },
  };
}

/** Reads requests; goes on after each one, except after CONNECT and Upgrade. */
export function readRequests(
  pieces: readonly Uint8Array[],
  options: { limits?: Partial<Http1Limits>; finish?: boolean } = {},
): ReadResult<Http1RequestHead> {
  return readAll<Http1RequestHead>(
    (messages) => {
      const parser: Http1RequestParser = new Http1RequestParser(
        collector(messages, () => {
          const head = messages.at(-1)?.head;
          if (head?.method !== "CONNECT" && head?.upgrade.length === 0) parser.next();
        }),
        options.limits,
      );
      return parser;
    },
    pieces,
    options.finish ?? false,
  );
}

/** Reads the responses to these requests. */
export function readResponses(
  pieces: readonly Uint8Array[],
  contexts: readonly ResponseContext[],
  options: { limits?: Partial<Http1Limits>; finish?: boolean } = {},
): ReadResult<Http1ResponseHead> {
  return readAll<Http1ResponseHead>(
    (messages) => {
      const parser: Http1ResponseParser = new Http1ResponseParser(
        collector(messages, () => {
          const context = contexts[messages.length];
          if (context !== undefined && messages.at(-1)?.head.tunnel === false) parser.next(context);
        }),
        options.limits,
      );
      if (contexts[0] !== undefined) parser.next(contexts[0]);
      return parser;
    },
    pieces,
    options.finish ?? false,
  );
}

export function latin1(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

/** A result that can be compared: heads without class instances. */
export function plain<Head extends { headers: Http1Headers }>(result: ReadResult<Head>): unknown {
  return {
    ...result,
    messages: result.messages.map((message) => ({
      ...message,
      head: { ...message.head, headers: [...message.head.headers] },
    })),
  };
}
