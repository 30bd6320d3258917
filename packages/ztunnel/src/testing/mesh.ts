// A mesh to decide about, for the tests of the plans: written as ztunnel's local state file, with Hairpin's extensions added.
import { MeshState, parseStateFile } from "@hairpin/shared/discovery";
import type { Enforcement, Service, WaypointBinding, Workload } from "@hairpin/shared/model";
import { systemClock } from "@hairpin/shared/process";

export interface Extensions {
  /** By workload name. */
  readonly enforcement?: Readonly<Record<string, Enforcement>>;
  /** By workload or service name. */
  readonly binding?: Readonly<Record<string, WaypointBinding>>;
}

export function meshOf(yaml: string, extensions: Extensions = {}): MeshState {
  const file = parseStateFile(yaml);
  const mesh = new MeshState({ clock: systemClock });
  mesh.loadStateFile({
    workloads: file.workloads.map((workload): Workload => {
      const enforcement = extensions.enforcement?.[workload.name];
      const waypointBinding = extensions.binding?.[workload.name];
      return { ...workload, enforcement, waypointBinding };
    }),
    services: file.services.map((service): Service => {
      return { ...service, waypointBinding: extensions.binding?.[service.name] };
    }),
    policies: file.policies,
  });
  return mesh;
}

export function workloadNamed(mesh: MeshState, name: string): Workload {
  const workload = [...mesh.workloads()].find((candidate) => candidate.name === name);
  if (!workload) throw new Error(`The test mesh has no workload ${name}`);
  return workload;
}
