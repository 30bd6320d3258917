// The gRPC service /greeter.Greeter/Hello without generated code: request and answer are UTF-8 strings.
import type { MethodDefinition } from "@grpc/grpc-js";

const toBytes = (text: string): Buffer => Buffer.from(text, "utf8");
const toText = (bytes: Buffer): string => bytes.toString("utf8");

export const hello: MethodDefinition<string, string> = {
  path: "/greeter.Greeter/Hello",
  requestStream: false,
  responseStream: false,
  requestSerialize: toBytes,
  requestDeserialize: toText,
  responseSerialize: toBytes,
  responseDeserialize: toText,
};

/** Answers every Hello with `name`. The library is loaded only here: most servers do without. */
export async function startGreeter(port: number, name: string): Promise<void> {
  const { Server, ServerCredentials } = await import("@grpc/grpc-js");
  const server = new Server();
  server.addService(
    { hello },
    { hello: (_call: unknown, answer: (error: null, text: string) => void) => answer(null, name) },
  );
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`[::]:${port}`, ServerCredentials.createInsecure(), (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}
