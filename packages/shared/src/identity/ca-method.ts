// The one method of istio.v1.auth.IstioCertificateService, for grpc-js: the client here and the servers of control and testkit.
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MethodDefinition } from "@grpc/grpc-js";
import {
  type IstioCertificateRequest,
  IstioCertificateRequestSchema,
  type IstioCertificateResponse,
  IstioCertificateResponseSchema,
} from "../api/gen/istio/ca_pb.ts";

/** Key in the request's metadata struct: the SPIFFE ID that a node agent asks for on behalf of a workload. */
export const impersonatedIdentityKey = "ImpersonatedIdentity";

export const createCertificateMethod: MethodDefinition<IstioCertificateRequest, IstioCertificateResponse> = {
  path: "/istio.v1.auth.IstioCertificateService/CreateCertificate",
  requestStream: false,
  responseStream: false,
  requestSerialize: (message) => Buffer.from(toBinary(IstioCertificateRequestSchema, message)),
  requestDeserialize: (bytes) => fromBinary(IstioCertificateRequestSchema, bytes),
  responseSerialize: (message) => Buffer.from(toBinary(IstioCertificateResponseSchema, message)),
  responseDeserialize: (bytes) => fromBinary(IstioCertificateResponseSchema, bytes),
};
