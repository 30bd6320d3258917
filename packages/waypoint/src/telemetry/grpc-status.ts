/** Status codes of gRPC, OK to UNAUTHENTICATED. */
const lastCode = 16;
const unknown = "2";

/**
 * What metrics say of a `grpc-status`: applications choose the text, and each new one would make series. "" for answers that are
 * no gRPC; what is no code counts as UNKNOWN, as gRPC clients read it.
 */
export function grpcStatusLabel(isGrpc: boolean, status: string): string {
  if (!isGrpc || status === "") return "";
  return /^[0-9]{1,2}$/.test(status) && Number(status) <= lastCode ? String(Number(status)) : unknown;
}
