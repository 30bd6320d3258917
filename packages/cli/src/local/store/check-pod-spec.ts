// What the local mesh asks of a pod beyond Kubernetes' schema: it pulls no image, so a container must name its program.

import { normalize } from "node:path";
import type { Deployment, KubernetesObject, Pod, PodSpec, VolumeMount } from "../object/kubernetes-object.ts";

export interface FieldMistake {
  readonly path: string;
  readonly reason: string;
}

/** Mistakes of a Pod, or of a Deployment's pod template; none for other kinds. */
export function checkPodSpec(object: KubernetesObject): readonly FieldMistake[] {
  if (object.kind === "Pod") return checkSpec((object as Pod).spec, "spec");
  if (object.kind === "Deployment") return checkDeployment(object as Deployment);
  return [];
}

function checkDeployment(deployment: Deployment): readonly FieldMistake[] {
  const template = deployment.spec?.template;
  if (template === undefined) return [{ path: "spec.template", reason: "is required" }];
  const selected = Object.entries(deployment.spec?.selector?.matchLabels ?? {});
  const mismatch = selected.find(([key, value]) => template.metadata?.labels?.[key] !== value);
  const mistakes = checkSpec(template.spec, "spec.template.spec");
  if (mismatch === undefined) return mistakes;
  const reason = `must carry ${mismatch[0]}: ${mismatch[1]}, which spec.selector asks for`;
  return [...mistakes, { path: "spec.template.metadata.labels", reason }];
}

/** Names of containers and volumes become names of folders. RFC 1123, as Kubernetes asks. */
const labelPattern = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const labelReason = "must be a DNS label: up to 63 lower case letters, digits and '-'";

function checkSpec(spec: PodSpec | undefined, path: string): readonly FieldMistake[] {
  if (spec === undefined || !Array.isArray(spec.containers) || spec.containers.length === 0)
    return [{ path: `${path}.containers`, reason: "must name at least one container" }];
  const volumes = new Set((spec.volumes ?? []).map((volume) => volume.name));
  const mistakes: FieldMistake[] = [];
  for (const [index, volume] of (spec.volumes ?? []).entries()) {
    if (!isKnownVolume(volume))
      mistakes.push({
        path: `${path}.volumes[${index}]`,
        reason: "the local mesh knows the volumes emptyDir, configMap and projected",
      });
    if (!isLabel(volume.name)) mistakes.push({ path: `${path}.volumes[${index}].name`, reason: labelReason });
  }
  for (const list of ["initContainers", "containers"] as const) {
    for (const [index, container] of (spec[list] ?? []).entries()) {
      const at = `${path}.${list}[${index}]`;
      if (typeof container.name !== "string" || container.name === "")
        mistakes.push({ path: `${at}.name`, reason: "is required" });
      else if (!isLabel(container.name)) mistakes.push({ path: `${at}.name`, reason: labelReason });
      if ((container.command ?? []).length === 0)
        mistakes.push({
          path: `${at}.command`,
          reason:
            "is required: the local mesh pulls no image; give the program as command (and args), it runs on this machine's file system",
        });
      for (const [mountIndex, mount] of (container.volumeMounts ?? []).entries()) {
        const mountAt = `${at}.volumeMounts[${mountIndex}]`;
        if (!volumes.has(mount.name))
          mistakes.push({
            path: `${mountAt}.name`,
            reason: `no volume is named ${JSON.stringify(mount.name)}; add it to volumes`,
          });
        mistakes.push(...checkPaths(mount, container.volumeMounts ?? [], mountAt));
      }
    }
  }
  return mistakes;
}

function checkPaths(mount: VolumeMount, all: readonly VolumeMount[], at: string): readonly FieldMistake[] {
  const { mountPath, subPath } = mount;
  if (typeof mountPath !== "string" || !mountPath.startsWith("/"))
    return [{ path: `${at}.mountPath`, reason: "must be an absolute path" }];
  const mistakes: FieldMistake[] = [];
  // A volume may hold links that its pod made: what is mounted below one could land anywhere.
  const outer = all.find((other) => other !== mount && isBelow(mountPath, other.mountPath));
  if (outer !== undefined)
    mistakes.push({
      path: `${at}.mountPath`,
      reason: `lies inside ${outer.mountPath}, where another volume is mounted; choose a path outside it`,
    });
  if (subPath !== undefined && (subPath.startsWith("/") || subPath.split("/").includes("..")))
    mistakes.push({ path: `${at}.subPath`, reason: "must be relative and without .." });
  return mistakes;
}

function isBelow(path: string, folder: unknown): boolean {
  if (typeof folder !== "string") return false;
  const [inner = "", outer = ""] = [path, folder].map((text) =>
    normalize(`${text}/`).replace(/^\/var\/run\//, "/run/"),
  );
  return inner.startsWith(outer);
}

function isLabel(name: unknown): boolean {
  return typeof name === "string" && labelPattern.test(name);
}

function isKnownVolume(volume: object): boolean {
  return ["emptyDir", "configMap", "projected"].some((kind) => kind in volume);
}
