import { createAgentCaClient } from "@hairpin/shared/agent";
import { createInClusterConnection, createKubernetesApi } from "@hairpin/shared/kubernetes";
import { ConfigError, configExitCode, errorMessage, systemClock } from "@hairpin/shared/process";
import { checkZtunnels } from "./check-ztunnels.ts";
import { readConfig } from "./config.ts";

/** Prints a line per step; exits 1 when one fails. */
try {
  const config = readConfig(process.env);
  const connection = createInClusterConnection({ clock: systemClock }, config.api);
  const ca = createAgentCaClient(config.agent, systemClock, false);
  await checkZtunnels({
    api: createKubernetesApi({ connection, clock: systemClock }),
    ca,
    identity: config.identity,
    ztunnel: config.ztunnel,
    say: (line) => console.log(line),
  });
  ca.close();
} catch (error) {
  console.error(error instanceof ConfigError ? error.message : `The mesh does not work: ${errorMessage(error)}`);
  process.exit(error instanceof ConfigError ? configExitCode : 1);
}
