import type { Command } from "commander";
import { stringify } from "yaml";
import { findKindByName, type Kind, kinds } from "../local/object/kinds.ts";
import type { KubernetesObject } from "../local/object/kubernetes-object.ts";
import { CommandFailure } from "./failure.ts";
import { columnsOf } from "./kind-columns.ts";
import { findMesh, withMeshName } from "./running-mesh.ts";
import { formatAge, formatTable } from "./table.ts";

interface GetOptions {
  readonly name: string;
  readonly namespace?: string;
  readonly allNamespaces?: boolean;
  readonly output?: string;
}

/** What `get` without a kind shows. */
const commonKinds = ["Pod", "Service", "Deployment", "Gateway", "HTTPRoute", "AuthorizationPolicy"];

export function registerGet(program: Command): void {
  withMeshName(program.command("get"))
    .description("show objects with their status")
    .argument("[kind]", "pods, svc, gateways, authorizationpolicies, …; default: the most common ones")
    .argument("[object]", "one object by name")
    .option("-n, --namespace <namespace>", "default: default")
    .option("-A, --all-namespaces", "objects of every namespace")
    .option("-o, --output <format>", "json, yaml, wide or name")
    .action(async (kindName: string | undefined, object: string | undefined, options: GetOptions) => {
      if (options.output !== undefined && !["json", "yaml", "wide", "name"].includes(options.output))
        throw new CommandFailure(`-o ${options.output}: use json, yaml, wide or name`);
      await get(kindName, object, options);
    });
}

async function get(kindName: string | undefined, objectName: string | undefined, options: GetOptions): Promise<void> {
  const wanted = kindName === undefined ? kinds.filter(({ kind }) => commonKinds.includes(kind)) : parseKinds(kindName);
  const { client } = findMesh(options.name);
  const namespace = options.namespace ?? "default";
  const lists = await Promise.all(
    wanted.map(async (kind) => {
      const all = await client.list(
        kind.plural,
        kind.namespaced && options.allNamespaces !== true ? namespace : undefined,
      );
      return { kind, objects: all.filter(({ metadata }) => objectName === undefined || metadata.name === objectName) };
    }),
  );
  const objects = lists.flatMap((list) => list.objects);
  if (objectName !== undefined && objects.length === 0)
    throw new CommandFailure(`there is no ${kindName} ${objectName} in namespace ${namespace}`);
  if (options.output === "json" || options.output === "yaml") {
    const single = objectName === undefined ? undefined : objects[0];
    const document = single ?? { apiVersion: "v1", kind: "List", items: objects };
    console.log((options.output === "json" ? JSON.stringify(document, null, 2) : stringify(document)).trimEnd());
    return;
  }
  const filled = lists.filter((list) => list.objects.length > 0);
  if (filled.length === 0)
    console.error(options.allNamespaces === true ? "nothing found" : `nothing found in namespace ${namespace}`);
  const blocks = filled.map((list) => formatObjects(list.kind, list.objects, options, filled.length > 1));
  if (blocks.length > 0) console.log(blocks.join(options.output === "name" ? "\n" : "\n\n"));
}

function parseKinds(text: string): readonly Kind[] {
  return text.split(",").map((name) => {
    const kind = findKindByName(name);
    if (kind === undefined)
      throw new CommandFailure(`unknown kind ${name}; known: ${kinds.map((known) => known.plural).join(", ")}`);
    return kind;
  });
}

function formatObjects(
  kind: Kind,
  objects: readonly KubernetesObject[],
  options: GetOptions,
  several: boolean,
): string {
  const prefix = kind.kind.toLowerCase();
  if (options.output === "name") return objects.map(({ metadata }) => `${prefix}/${metadata.name}`).join("\n");
  const columns = columnsOf(kind.kind).filter(({ wide }) => wide !== true || options.output === "wide");
  const showNamespace = kind.namespaced && options.allNamespaces === true;
  const now = new Date();
  const rows = objects.map((object) => [
    ...(showNamespace ? [object.metadata.namespace ?? ""] : []),
    several ? `${prefix}/${object.metadata.name}` : object.metadata.name,
    ...columns.map(({ cell }) => cell(object)),
    formatAge(object.metadata.creationTimestamp, now),
  ]);
  const header = [...(showNamespace ? ["NAMESPACE"] : []), "NAME", ...columns.map(({ name }) => name), "AGE"];
  return formatTable(header, rows);
}
