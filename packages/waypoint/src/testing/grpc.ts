// A gRPC service of strings, by grpc-js on both sides.
import {
  Client,
  credentials,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientWritableStream,
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import type { CapturedPort } from "./source-ztunnel.ts";
import type { AppPlace } from "./apps.ts";

const kinds = {
  Unary: [false, false],
  Upload: [true, false],
  Download: [false, true],
  Chat: [true, true],
} as const;

const write = (text: string): Buffer => Buffer.from(text);
const readText = (bytes: Buffer): string => bytes.toString();

const definition: ServiceDefinition = Object.fromEntries(
  Object.entries(kinds).map(([name, [requestStream, responseStream]]) => [
    name,
    {
      path: `/test.Echo/${name}`,
      requestStream,
      responseStream,
      requestSerialize: write,
      requestDeserialize: readText,
      responseSerialize: write,
      responseDeserialize: readText,
    },
  ]),
);

export interface EchoHandlers {
  readonly Unary?: handleUnaryCall<string, string>;
  readonly Upload?: handleClientStreamingCall<string, string>;
  readonly Download?: handleServerStreamingCall<string, string>;
  readonly Chat?: handleBidiStreamingCall<string, string>;
}

export interface GrpcApp extends AsyncDisposable {
  readonly name: string;
  /** Calls that were cancelled. */
  readonly cancelled: number;
}

/** Answers with its name and what it was told; methods can be replaced. */
export async function startGrpcApp(place: AppPlace, handlers: EchoHandlers = {}): Promise<GrpcApp> {
  const server = new Server();
  let cancelled = 0;
  const watch = (call: { on(event: "cancelled", listener: () => void): unknown }): void =>
    void call.on("cancelled", () => cancelled++);
  const implementation: Required<EchoHandlers> = {
    Unary: (call, reply) => {
      watch(call);
      reply(null, `${place.name}:${call.request}`);
    },
    Upload: (call, reply) => {
      watch(call);
      const parts: string[] = [];
      call.on("data", (text: string) => parts.push(text));
      call.on("end", () => reply(null, parts.join("+")));
    },
    Download: (call) => {
      watch(call);
      for (let i = 0; i < Number(call.request); i++) call.write(`part ${i}`);
      call.end();
    },
    Chat: (call) => {
      watch(call);
      call.on("data", (text: string) => call.write(text.toUpperCase()));
      call.on("end", () => call.end());
    },
    ...handlers,
  };
  server.addService(definition, { ...implementation });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`${place.ip}:${place.port ?? 8080}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  return {
    name: place.name,
    get cancelled() {
      return cancelled;
    },
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
    },
  };
}

type Reply = (error: ServiceError | null, value?: string) => void;

export interface EchoClient extends Disposable {
  /** Rejects with grpc-js's ServiceError. */
  unary(text: string, metadata?: Metadata): Promise<string>;
  upload(reply: Reply): ClientWritableStream<string>;
  download(text: string): ClientReadableStream<string>;
  chat(): ClientDuplexStream<string, string>;
}

/** One channel, hence one connection. */
export function echoClient(to: CapturedPort): EchoClient {
  const client = new Client(`${to.host}:${to.port}`, credentials.createInsecure(), {
    "grpc.enable_retries": 0,
    "grpc.use_local_subchannel_pool": 1,
  });
  return {
    unary: async (text, metadata) =>
      await new Promise((resolve, reject) => {
        const reply: Reply = (error, value = "") => (error ? reject(error) : resolve(value));
        client.makeUnaryRequest<string, string>(
          "/test.Echo/Unary",
          write,
          readText,
          text,
          metadata ?? new Metadata(),
          reply,
        );
      }),
    upload: (reply) => client.makeClientStreamRequest("/test.Echo/Upload", write, readText, reply),
    download: (text) => client.makeServerStreamRequest("/test.Echo/Download", write, readText, text),
    chat: () => client.makeBidiStreamRequest("/test.Echo/Chat", write, readText),
    [Symbol.dispose]: () => client.close(),
  };
}
