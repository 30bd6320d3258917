import { MeshError } from "../process/index.ts";

/** Codes of this folder; the README of the package explains them. */
export type XdsErrorCode = "XDS_STOPPED" | "XDS_BAD_ADDRESS" | "XDS_UNKNOWN_TYPE" | "XDS_LISTEN_FAILED";

export function xdsError(code: XdsErrorCode, message: string, cause?: unknown): MeshError {
  return new MeshError(message, { code, origin: "internal", cause });
}
