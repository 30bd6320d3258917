import type { Command } from "commander";
import { Manifests } from "../local/manifests.ts";
import { apiVersionOf, findKindByName } from "../local/object/kinds.ts";
import type { AppliedObject } from "../local/store/apply-objects.ts";
import { collect, printResults } from "./apply.ts";
import { CommandFailure } from "./failure.ts";
import { findMesh, withMeshName } from "./running-mesh.ts";

interface DeleteOptions {
  readonly name: string;
  readonly filename: readonly string[];
  readonly namespace: string;
}

export function registerDelete(program: Command): void {
  withMeshName(program.command("delete"))
    .description("delete objects of a running mesh, by manifest or by kind and name")
    .argument("[kind]")
    .argument("[object]")
    .option("-f, --filename <path>", "file or folder of manifests, - for standard input; may be repeated", collect, [])
    .option("-n, --namespace <namespace>", "of the object named on the command line", "default")
    .action(async (kindName: string | undefined, object: string | undefined, options: DeleteOptions) => {
      const named = kindName === undefined ? [] : [namedObject(kindName, object, options.namespace)];
      if (named.length === 0 && options.filename.length === 0)
        throw new CommandFailure("say what to delete: -f FILE, or KIND NAME");
      const { client } = findMesh(options.name);
      printResults(await client.delete([...(await Manifests.load(options.filename)).objects, ...named]));
    });
}

function namedObject(kindName: string, object: string | undefined, namespace: string): AppliedObject {
  const [name, inlineName] = kindName.split("/");
  const kind = findKindByName(name ?? "");
  if (kind === undefined) throw new CommandFailure(`unknown kind ${name}`);
  const objectName = inlineName ?? object;
  if (objectName === undefined) throw new CommandFailure(`say which ${kind.kind} to delete`);
  const metadata = { name: objectName, ...(kind.namespaced ? { namespace } : {}) };
  return {
    object: { apiVersion: apiVersionOf(kind), kind: kind.kind, metadata },
    origin: { file: "command line", line: 1 },
  };
}
