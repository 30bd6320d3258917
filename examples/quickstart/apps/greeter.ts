// The gRPC service /greeter.Greeter/Hello without generated code: request and answer are UTF-8 strings.
import { Metadata, type MethodDefinition } from "@grpc/grpc-js";

const toBytes = (text: string): Buffer => Buffer.from(text, "utf8");
const toText = (bytes: Buffer): string => bytes.toString("utf8");

export const greeter: { readonly hello: MethodDefinition<string, string> } = {
  hello: {
    path: "/greeter.Greeter/Hello",
    requestStream: false,
    responseStream: false,
    requestSerialize: toBytes,
    requestDeserialize: toText,
    responseSerialize: toBytes,
    responseDeserialize: toText,
  },
};

export const noMetadata: Metadata = new Metadata();
