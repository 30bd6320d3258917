import { type DescMessage, type MessageShape, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  logVerbosity,
  type MethodDefinition,
  type ServiceDefinition,
  setLogVerbosity,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";

// grpc-js would write lines of its own to stderr; everything they say comes back as errors too.
setLogVerbosity(logVerbosity.NONE);

/** A service's definition with its handlers: the two arguments of grpc-js's `Server.addService`. */
export interface GrpcService {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

/** Method definition for grpc-js from protobuf-es schemas. `path` is `/package.Service/Method`. */
export function defineGrpcMethod<Request extends DescMessage, Response extends DescMessage>(method: {
  readonly path: string;
  readonly request: Request;
  readonly response: Response;
  /** Default: unary. */
  readonly streaming?: "none" | "both";
}): MethodDefinition<MessageShape<Request>, MessageShape<Response>> {
  const streaming = method.streaming === "both";
  return {
    path: method.path,
    requestStream: streaming,
    responseStream: streaming,
    requestSerialize: (message) => Buffer.from(toBinary(method.request, message)),
    requestDeserialize: (bytes) => fromBinary(method.request, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(method.response, message)),
    responseDeserialize: (bytes) => fromBinary(method.response, bytes),
  };
}
