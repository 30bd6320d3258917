import type { Command } from "commander";
import { findMesh, withMeshName } from "./running-mesh.ts";

interface LogsOptions {
  readonly name: string;
  readonly namespace: string;
  readonly container?: string;
  readonly follow?: boolean;
  readonly tail?: string;
}

export function registerLogs(program: Command): void {
  withMeshName(program.command("logs"))
    .description("show the log of a pod or of a part of the mesh")
    .argument("<target>", "POD, deploy/NAME, ztunnel/NODE, waypoint/NAME or control")
    .option("-n, --namespace <namespace>", "of the pod", "default")
    .option("-c, --container <name>", "default: the first one")
    .option("-f, --follow", "go on with new lines until interrupted")
    .option("--tail <lines>", "only the last lines")
    .action(async (target: string, { name, namespace, container, follow, tail }: LogsOptions) => {
      const { client } = findMesh(name);
      const stream = await client.logs(
        { namespace, target, ...(container === undefined ? {} : { container }) },
        { follow: follow === true, ...(tail === undefined ? {} : { tail: Number(tail) }) },
      );
      for await (const chunk of stream) process.stdout.write(chunk);
    });
}
