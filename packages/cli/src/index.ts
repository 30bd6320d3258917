export {
  type ExecOptions,
  LocalMesh,
  type LocalMeshOptions,
  meshFailedExitCode,
  startLocalMesh,
} from "./local/local-mesh.ts";
export { TokenIssuer, type TokenRequest, type TokenSubject } from "./local/kubelet/token-issuer.ts";
export { ManifestError, Manifests } from "./local/manifests.ts";
export { findPending } from "./local/pending.ts";
export { MeshClient, MeshRequestError } from "./local/mesh-client.ts";
export { type ExecResult, type RunningProgram, runProgram } from "./local/running-program.ts";
export { MeshStartError } from "./local/start-mesh.ts";
export type { ProgressLine } from "./local/daemon/lifeline.ts";
export type { KubernetesObject } from "./local/object/kubernetes-object.ts";
