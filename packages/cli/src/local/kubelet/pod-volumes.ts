// Volumes of a pod as files and folders that its containers mount. Tokens are written anew before they end.

import { chmodSync, chownSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { configMapKind } from "../object/kinds.ts";
import type { Container, KeyToPath, Pod, ProjectedSource, Volume } from "../object/kubernetes-object.ts";
import type { StoreView } from "../store/object-store.ts";
import { ContainerConfigError } from "./container-environment.ts";
import type { ContainerMount } from "./container-script.ts";
import { maxTokenLifetimeSeconds } from "./token-issuer.ts";

export interface VolumeContext {
  readonly pod: Pod;
  readonly view: StoreView;
  /** A folder of this pod alone, for its volumes. */
  readonly directory: string;
  /** Owner of token files; undefined: the user of the mesh. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  readonly issueToken: (audience: string, lifetimeSeconds: number) => { token: string; expiresAt: Date };
}

/** As in Kubernetes, a token for the API server: control refuses it. */
const defaultAudience = "https://kubernetes.default.svc";

/** Part of a token's life after which a new one is written. */
const renewAfterShare = 0.7;

/** Writes all volumes; returns the milliseconds after which tokens must be written again, if there are any. Idempotent. */
export function writeVolumes(context: VolumeContext): number | undefined {
  const renewals = (context.pod.spec?.volumes ?? []).map((volume) => writeVolume(volume, context));
  const known = renewals.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

/** Where a container sees its volumes. */
export function volumeMounts(container: Container, pod: Pod, directory: string): readonly ContainerMount[] {
  return (container.volumeMounts ?? []).map((mount) => {
    const volume = pod.spec?.volumes?.find((candidate) => candidate.name === mount.name);
    const root = join(directory, mount.name);
    const isContent = volume?.configMap !== undefined || volume?.projected !== undefined;
    // "/": the volume as a whole.
    const subPath = normalize(`/${mount.subPath ?? ""}`).replace(/\/$/, "");
    // Content is written by us alone: no link of a pod is in it.
    const place = isContent ? { source: join(root, subPath) } : { source: root, subPath: subPath.slice(1) };
    return {
      ...(subPath === "" ? { source: root } : place),
      target: normalize(mount.mountPath).replace(/\/$/, ""),
      readOnly: mount.readOnly === true || isContent,
      ...(subPath !== "" && isContent ? { isFile: true } : {}),
    };
  });
}

function writeVolume(volume: Volume, context: VolumeContext): number | undefined {
  const folder = join(context.directory, volume.name);
  mkdirSync(folder, { recursive: true });
  if (volume.emptyDir !== undefined) {
    chmodSync(folder, 0o1777);
    return undefined;
  }
  const sources =
    volume.projected?.sources ?? (volume.configMap === undefined ? [] : [{ configMap: volume.configMap }]);
  const renewals = sources.map((source) => writeSource(source, folder, context)).filter((value) => value !== undefined);
  return renewals.length === 0 ? undefined : Math.min(...renewals);
}

function writeSource(source: ProjectedSource, folder: string, context: VolumeContext): number | undefined {
  if (source.configMap !== undefined) writeConfigMap(source.configMap, folder, context);
  const wanted = source.serviceAccountToken;
  if (wanted === undefined) return undefined;
  const lifetime = wanted.expirationSeconds ?? maxTokenLifetimeSeconds;
  const { token, expiresAt } = context.issueToken(wanted.audience ?? defaultAudience, lifetime);
  writeWhole(placeIn(folder, wanted.path), token, { mode: 0o600, owner: context.owner });
  return (expiresAt.getTime() - Date.now()) * renewAfterShare;
}

function writeConfigMap(
  reference: { readonly name: string; readonly items?: readonly KeyToPath[]; readonly optional?: boolean },
  folder: string,
  { pod, view }: VolumeContext,
): void {
  const map = view.find(configMapKind, pod.metadata.namespace, reference.name);
  if (map === undefined) {
    if (reference.optional === true) return;
    throw new ContainerConfigError(`there is no ConfigMap ${reference.name}`);
  }
  const contents = new Map<string, string | Buffer>(Object.entries(map.data ?? {}));
  for (const [key, value] of Object.entries(map.binaryData ?? {})) contents.set(key, Buffer.from(value, "base64"));
  const items = reference.items ?? [...contents.keys()].map((key) => ({ key, path: key }));
  for (const { key, path } of items) {
    const content = contents.get(key);
    if (content === undefined) throw new ContainerConfigError(`there is no key ${key} in ConfigMap ${reference.name}`);
    writeWhole(placeIn(folder, path), content, { mode: 0o644, owner: undefined });
  }
}

/** A path from a manifest cannot leave its folder. */
function placeIn(folder: string, path: string): string {
  return join(folder, normalize(`/${path}`));
}

/** A reader sees the old or the new content, never a part. */
function writeWhole(
  path: string,
  content: string | Buffer,
  { mode, owner }: { mode: number; owner: VolumeContext["owner"] },
): void {
  mkdirSync(dirname(path), { recursive: true });
  const draft = `${path}.new`;
  writeFileSync(draft, content, { mode });
  if (owner !== undefined) chownSync(draft, owner.uid, owner.gid);
  renameSync(draft, path);
}
