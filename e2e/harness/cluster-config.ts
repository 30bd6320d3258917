// What the scenarios read from the environment; nothing else does.
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** The cluster to run in. */
export interface ClusterConfig {
  readonly kubeconfig: string;
  /** The mesh's image. */
  readonly image: string;
  /** The image with the programs of e2e/apps. */
  readonly appsImage: string;
  /** Path of the program. */
  readonly kubectl: string;
}

/** Undefined: the scenarios run in the local mesh. Throws `Error` when kubectl is missing. */
export function readClusterConfig(environment: NodeJS.ProcessEnv = process.env): ClusterConfig | undefined {
  const { E2E_KUBECONFIG: kubeconfig = "", E2E_IMAGE: image = "localhost/hairpin:e2e", PATH: path = "" } = environment;
  if (kubeconfig === "") return undefined;
  const kubectl = path
    .split(delimiter)
    .map((folder) => join(folder, "kubectl"))
    .find(isExecutable);
  if (kubectl === undefined) throw new Error("E2E_KUBECONFIG is set, but there is no kubectl on PATH");
  return { kubeconfig, image, appsImage: image.replace(/(:[^/:]*)?$/, "-e2e$1"), kubectl };
}

/** How long the control plane is away in its scenario: E2E_CONTROL_AWAY_SECONDS, 60 unless told. */
export function readControlAwaySeconds(environment: NodeJS.ProcessEnv = process.env): number {
  const { E2E_CONTROL_AWAY_SECONDS: text = "60" } = environment;
  const seconds = Number(text);
  if (Number.isInteger(seconds) && seconds > 0 && seconds <= 600) return seconds;
  throw new Error(`E2E_CONTROL_AWAY_SECONDS is ${JSON.stringify(text)}, not a number of seconds from 1 to 600`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
