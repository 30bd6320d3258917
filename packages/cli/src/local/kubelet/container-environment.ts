// A container's environment variables. Pure.

import { configMapKind } from "../object/kinds.ts";
import type { Container, EnvVar, Pod } from "../object/kubernetes-object.ts";
import type { StoreView } from "../store/object-store.ts";
import { programPath } from "../part/mesh-part-pod.ts";
import { containerPath } from "./container-script.ts";

export interface EnvironmentFacts {
  readonly podIps: readonly string[];
  readonly hostIp: string;
}

/** Why a container cannot be made yet; the kubelet tries again. */
export class ContainerConfigError extends Error {}

/** Throws {@link ContainerConfigError} when a ConfigMap or field that a variable needs is not there. */
export function containerEnvironment(
  container: Container,
  pod: Pod,
  view: StoreView,
  facts: EnvironmentFacts,
): Readonly<Record<string, string>> {
  const environment: Record<string, string> = {
    PATH: containerPath,
    HOME: "/tmp",
    HOSTNAME: pod.spec?.hostname ?? pod.metadata.name,
    // Where this project lies: examples and tests start their programs from there.
    HAIRPIN_HOME: programPath,
  };
  for (const source of container.envFrom ?? []) {
    if (source.configMapRef === undefined) continue;
    const data = configMapData(view, pod, source.configMapRef.name);
    for (const [key, value] of Object.entries(data)) environment[`${source.prefix ?? ""}${key}`] = value;
  }
  for (const variable of container.env ?? []) {
    const value = valueOf(variable, pod, view, facts);
    if (value !== undefined) environment[variable.name] = expandVariables(value, environment);
  }
  return environment;
}

/** `$(NAME)` of a variable that is known; `$$` is a dollar sign. As Kubernetes expands command, args and env. */
export function expandVariables(text: string, environment: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$(\$|\(([A-Za-z_][A-Za-z0-9_.-]*)\))/g, (match: string, dollar: string, name?: string) => {
    if (dollar === "$") return "$";
    return (name === undefined ? undefined : environment[name]) ?? match;
  });
}

function valueOf(variable: EnvVar, pod: Pod, view: StoreView, facts: EnvironmentFacts): string | undefined {
  const { value, valueFrom } = variable;
  if (valueFrom === undefined) return value ?? "";
  if (valueFrom.fieldRef !== undefined) return fieldValue(valueFrom.fieldRef.fieldPath, pod, facts);
  const reference = valueFrom.configMapKeyRef;
  if (reference === undefined)
    throw new ContainerConfigError(`env ${variable.name}: the local mesh knows fieldRef and configMapKeyRef`);
  const found = view.find(configMapKind, pod.metadata.namespace, reference.name)?.data?.[reference.key];
  if (found === undefined && reference.optional !== true)
    throw new ContainerConfigError(`env ${variable.name}: no key ${reference.key} in ConfigMap ${reference.name}`);
  return found;
}

function configMapData(view: StoreView, pod: Pod, name: string): Readonly<Record<string, string>> {
  const map = view.find(configMapKind, pod.metadata.namespace, name);
  if (map === undefined) throw new ContainerConfigError(`envFrom: there is no ConfigMap ${name}`);
  return map.data ?? {};
}

function fieldValue(path: string, pod: Pod, facts: EnvironmentFacts): string {
  const { metadata, spec } = pod;
  const named = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(path);
  if (named !== null) {
    const map = named[1] === "labels" ? metadata.labels : metadata.annotations;
    return map?.[named[2] ?? ""] ?? "";
  }
  switch (path) {
    case "metadata.name":
      return metadata.name;
    case "metadata.namespace":
      return metadata.namespace ?? "";
    case "metadata.uid":
      return metadata.uid ?? "";
    case "spec.nodeName":
      return spec?.nodeName ?? "";
    case "spec.serviceAccountName":
      return spec?.serviceAccountName ?? "default";
    case "status.podIP":
      return facts.podIps[0] ?? "";
    case "status.podIPs":
      return facts.podIps.join(",");
    case "status.hostIP":
      return facts.hostIp;
    default:
      throw new ContainerConfigError(`fieldRef ${path} is not known to the local mesh`);
  }
}
