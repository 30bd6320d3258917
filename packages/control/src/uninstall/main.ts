import { createInClusterConnection, createKubernetesApi } from "@hairpin/shared/kubernetes";
import { ConfigError, configExitCode, errorMessage, systemClock } from "@hairpin/shared/process";
import { readConfig } from "./config.ts";
import { uninstall } from "./uninstall.ts";

/** Prints a line per step; exits 1 when the mesh could not be taken away. */
try {
  const { rootNamespace, api } = readConfig(process.env);
  const connection = createInClusterConnection({ clock: systemClock }, api);
  await uninstall(
    {
      api: createKubernetesApi({ connection, clock: systemClock }),
      clock: systemClock,
      say: (line) => console.log(line),
    },
    { rootNamespace },
  );
} catch (error) {
  console.error(error instanceof ConfigError ? error.message : `The mesh is not uninstalled: ${errorMessage(error)}`);
  process.exit(error instanceof ConfigError ? configExitCode : 1);
}
