import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { hairpinEnforcement, type istioWorkload } from "../api/index.ts";
import { type Enforcement, type Identity, parseSpiffeId, type WaypointBinding } from "../model/index.ts";
import { enumName, requireText, WireError, wireGatewayAddress } from "./wire-values.ts";

export const enforcementExtension = "hairpin.mesh/enforcement";
export const bindingExtension = "hairpin.mesh/binding";

const { Enforcement_Mode: Mode, Binding_Scope: Scope, EnforcementSchema, BindingSchema } = hairpinEnforcement;

const modes = { [Mode.NONE]: "none", [Mode.HAIRPIN]: "hairpin", [Mode.REFUSE]: "refuse" } as const;
const scopes = { [Scope.NONE]: "NONE", [Scope.OBJECT]: "OBJECT", [Scope.NAMESPACE]: "NAMESPACE" } as const;

/** Undefined when the extension is absent or its mode is NONE. One that cannot be read refuses the workload: enforcement must not get lost. */
export function enforcementFromWire(extensions: readonly istioWorkload.Extension[]): Enforcement | undefined {
  const wire = findExtension(extensions, enforcementExtension, EnforcementSchema);
  if (wire === undefined) return undefined;
  const path = `extensions[${enforcementExtension}]`;
  const mode = enumName(modes, wire.mode, `${path}.mode`);
  if (mode === "none") return undefined;
  const acceptedIdentities = identities(wire.acceptedIdentities, `${path}.acceptedIdentities`);
  const waypoint = requireText(wire.waypoint, `${path}.waypoint`);
  if (mode === "refuse")
    return { mode, acceptedIdentities, waypoint, reason: requireText(wire.reason, `${path}.reason`) };
  const hairpinTo = wireGatewayAddress(wire.hairpinTo, `${path}.hairpinTo`);
  if (hairpinTo === undefined) throw new WireError(`${path}.hairpinTo`, "is missing");
  const hairpinIdentities = identities(wire.hairpinIdentities, `${path}.hairpinIdentities`);
  return { mode, acceptedIdentities, waypoint, hairpinTo, hairpinIdentities };
}

export function bindingFromWire(extensions: readonly istioWorkload.Extension[]): WaypointBinding | undefined {
  const wire = findExtension(extensions, bindingExtension, BindingSchema);
  if (wire === undefined) return undefined;
  const scope = enumName(scopes, wire.scope, `extensions[${bindingExtension}].scope`);
  return { scope, refuseReason: wire.refuseReason, waypoint: wire.waypoint };
}

function findExtension<Schema extends DescMessage>(
  extensions: readonly istioWorkload.Extension[],
  name: string,
  schema: Schema,
): MessageShape<Schema> | undefined {
  const extension = extensions.find((candidate) => candidate.name === name);
  if (extension === undefined) return undefined;
  const path = `extensions[${name}]`;
  const expected = `type.googleapis.com/${schema.typeName}`;
  if (extension.config?.typeUrl !== expected)
    throw new WireError(path, `holds ${JSON.stringify(extension.config?.typeUrl ?? "")}, not ${expected}`);
  try {
    return fromBinary(schema, extension.config.value);
  } catch (cause) {
    throw new WireError(path, `cannot be decoded: ${String(cause)}`);
  }
}

function identities(values: readonly string[], path: string): Identity[] {
  return values.map((value, i) => {
    try {
      return parseSpiffeId(value);
    } catch (cause) {
      throw new WireError(`${path}[${i}]`, cause instanceof Error ? cause.message : String(cause));
    }
  });
}
