import type { istioWorkload } from "../api/index.ts";
import {
  type Cidr,
  formatIp,
  type GatewayAddress,
  type IpAddress,
  type NetworkAddress,
  type PortMapping,
} from "../model/index.ts";

/** Why a resource is refused: the path of the field and what is wrong. Its message is the NACK's reason. */
export class WireError extends Error {
  override readonly name = "WireError";
  readonly code = "WIRE_INVALID_RESOURCE";
  readonly path: string;

  constructor(path: string, problem: string) {
    super(`${path}: ${problem}`);
    this.path = path;
  }
}

/** The model's name of an enum number. Numbers that this version does not know are refused, never guessed. */
export function enumName<Name extends string>(
  names: Readonly<Record<number, Name>>,
  value: number,
  path: string,
): Name {
  const name = names[value];
  if (name === undefined) throw new WireError(path, `unknown value ${value}`);
  return name;
}

export function requireText(value: string, path: string): string {
  if (value === "") throw new WireError(path, "is empty");
  return value;
}

export function wireIp(bytes: Uint8Array, path: string): IpAddress {
  if (bytes.length !== 4 && bytes.length !== 16)
    throw new WireError(path, `an IP address has 4 or 16 bytes, not ${bytes.length}`);
  return formatIp(bytes);
}

/** An IPv4-mapped range becomes its IPv4 range. */
export function wireCidr(bytes: Uint8Array, length: number, path: string): Cidr {
  const ip = wireIp(bytes, path);
  if (length > bytes.length * 8) throw new WireError(path, `prefix length ${length} is longer than the address`);
  const mapped = bytes.length === 16 && !ip.includes(":");
  if (mapped && length < 96) throw new WireError(path, `prefix length ${length} of an IPv4-mapped address`);
  return { ip, prefixLength: mapped ? length - 96 : length };
}

/** 1 to 65535. */
export function wirePort(value: number, path: string): number {
  if (value < 1 || value > 65535) throw new WireError(path, `${value} is not a port`);
  return value;
}

/** 0 (by name) to 65535. */
export function wireTargetPort(value: number, path: string): number {
  return value === 0 ? 0 : wirePort(value, path);
}

/** A repeated service port: the last one counts, as in ztunnel's map. */
export function wirePortMappings(ports: readonly istioWorkload.Port[], path: string): PortMapping[] {
  const byServicePort = new Map<number, PortMapping>();
  for (const [i, port] of ports.entries()) {
    const servicePort = wirePort(port.servicePort, `${path}[${i}].servicePort`);
    const targetPort = wireTargetPort(port.targetPort, `${path}[${i}].targetPort`);
    byServicePort.set(servicePort, { servicePort, targetPort });
  }
  return [...byServicePort.values()];
}

/** `namespace/hostname`, exactly one slash, both parts present. */
export function wireServiceKey(key: string, path: string): string {
  if (!/^[^/]+\/[^/]+$/.test(key)) throw new WireError(path, `${JSON.stringify(key)} is not namespace/hostname`);
  return key;
}

export function wireGatewayAddress(
  wire: istioWorkload.GatewayAddress | undefined,
  path: string,
): GatewayAddress | undefined {
  if (wire === undefined) return undefined;
  const hboneMtlsPort = wirePort(wire.hboneMtlsPort, `${path}.hboneMtlsPort`);
  const { destination } = wire;
  switch (destination.case) {
    case "hostname": {
      const namespace = requireText(destination.value.namespace, `${path}.hostname.namespace`);
      const hostname = requireText(destination.value.hostname, `${path}.hostname.hostname`);
      return { destination: { kind: "hostname", hostname: { namespace, hostname } }, hboneMtlsPort };
    }
    case "address":
      return {
        destination: { kind: "address", address: wireNetworkAddress(destination.value, `${path}.address`) },
        hboneMtlsPort,
      };
    case undefined:
      throw new WireError(path, "names no destination");
    default:
      throw new WireError(path, `unknown destination ${JSON.stringify(destination satisfies never)}`);
  }
}

function wireNetworkAddress(wire: istioWorkload.NetworkAddress, path: string): NetworkAddress {
  return { network: wire.network, ip: wireIp(wire.address, path) };
}
