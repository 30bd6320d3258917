import { createRequire } from "node:module";

/** A message as llhttp saw it. */
export interface LlhttpMessage {
  readonly method: string;
  readonly target: string;
  readonly status: number;
  /** Names as sent, values as Latin-1; with trailers. */
  readonly fields: [string, string][];
  readonly keepAlive: boolean;
  body: string;
  complete: boolean;
}

export interface LlhttpResult {
  readonly messages: LlhttpMessage[];
  /** llhttp's code, `HPE_…`, when it refused the input. */
  readonly error: string | undefined;
  /** llhttp said that another protocol follows the last message. */
  readonly upgraded: boolean;
}

/** Node's binding of llhttp. It has no public door; this is the one that http uses itself, and only tests go through it. */
interface LlhttpParser {
  initialize(type: number, resource: object, maxHeaderBytes: number, lenientFlags: number): void;
  execute(chunk: Buffer): number | (Error & { code: string; bytesParsed: number });
  finish(): undefined | (Error & { code: string });
  close(): void;
  [callback: number]: unknown;
}

interface LlhttpBinding {
  readonly HTTPParser: {
    new (): LlhttpParser;
    readonly REQUEST: number;
    readonly RESPONSE: number;
    readonly kOnHeaders: number;
    readonly kOnHeadersComplete: number;
    readonly kOnBody: number;
    readonly kOnMessageComplete: number;
  };
  readonly methods: readonly string[];
}

const { HTTPParser, methods } = createRequire(import.meta.url)("_http_common") as LlhttpBinding;

/** The methods that llhttp knows. */
export const llhttpMethods: ReadonlySet<string> = new Set(methods);

const maxHeaderBytes = 1 << 20;
const strict = 0;

/** Reads a whole input with llhttp, which node:http and so most of this ecosystem's servers read with. */
export function readWithLlhttp(kind: "request" | "response", input: Uint8Array, finish: boolean): LlhttpResult {
  const messages: LlhttpMessage[] = [];
  let pendingFields: [string, string][] = [];
  let pendingTarget = "";
  let upgraded = false;
  const parser = new HTTPParser();
  parser.initialize(kind === "request" ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {}, maxHeaderBytes, strict);
  // Fields beyond the 32nd, and trailers, come apart from the head.
  parser[HTTPParser.kOnHeaders] = (flat: string[], target: string | undefined): void => {
    const open = messages.at(-1);
    if (open === undefined || open.complete) {
      pendingFields.push(...pairs(flat));
      pendingTarget += target ?? "";
    } else open.fields.push(...pairs(flat));
  };
  parser[HTTPParser.kOnHeadersComplete] = (
    _major: number,
    _minor: number,
    flat: string[] | undefined,
    method: number,
    target: string | undefined,
    status: number,
    _reason: string,
    upgrade: boolean,
    keepAlive: boolean,
  ): number => {
    const fields = [...pendingFields, ...pairs(flat ?? [])];
    pendingFields = [];
    messages.push({
      method: methods[method] ?? "",
      target: pendingTarget + (target ?? ""),
      status,
      fields,
      keepAlive,
      body: "",
      complete: false,
    });
    pendingTarget = "";
    upgraded = upgrade;
    return 0;
  };
  parser[HTTPParser.kOnBody] = (chunk: Buffer): void => {
    const open = messages.at(-1);
    if (open !== undefined) open.body += Buffer.from(chunk).toString("latin1");
  };
  parser[HTTPParser.kOnMessageComplete] = (): void => {
    const open = messages.at(-1);
    if (open !== undefined) open.complete = true;
  };
  const consumed = parser.execute(Buffer.from(input));
  let error = typeof consumed === "number" ? undefined : consumed.code;
  if (finish && error === undefined && !upgraded) error = parser.finish()?.code;
  parser.close();
  return { messages, error, upgraded };
}

function pairs(flat: readonly string[]): [string, string][] {
  const fields: [string, string][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) fields.push([flat[i] as string, flat[i + 1] as string]);
  return fields;
}
