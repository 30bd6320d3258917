import { parseCidr } from "@hairpin/shared/model";
import { type AddressRanges, familyOf, findFreeIp } from "../fabric/address-plan.ts";
import { clusterIpsOf } from "../fabric/plan-service-rules.ts";
import { serviceKind } from "../object/kinds.ts";
import type { Service } from "../object/kubernetes-object.ts";
import { type Planner, update } from "./planner.ts";

/** Offsets that are never given out by chance: the first addresses are asked for by name (cluster DNS is the tenth). */
const reservedOffsets = 16;

/** Gives Services virtual addresses, one in the families they ask for; headless ones get none. */
export function createServicePlanner(ranges: readonly AddressRanges[]): Planner {
  const cidrs = ranges.map(({ services }) => parseCidr(services));
  return function planServices(view) {
    const services = view.list(serviceKind);
    const taken = new Set(services.flatMap((service) => clusterIpsOf(service)));
    const allocate = (family: 4 | 6): string | undefined => {
      const cidr = cidrs.find(({ ip }) => familyOf(ip) === family);
      const found = cidr && findFreeIp(cidr, (ip) => taken.has(ip), { reserved: reservedOffsets });
      if (found !== undefined) taken.add(found.ip);
      return found?.ip;
    };
    const families = cidrs.map(({ ip }) => familyOf(ip));
    return services.flatMap((service) => {
      const spec = service.spec ?? {};
      if (spec.type === "ExternalName") return [];
      const wanted = wantedFamilies(spec, families);
      if (spec.clusterIP === "None") return [update(withIps(service, ["None"], wanted))];
      const kept = clusterIpsOf(service);
      const missing = wanted.filter((family) => !kept.some((ip) => familyOf(ip) === family));
      if (missing.length === 0 && spec.clusterIPs !== undefined) return [];
      const ips = [...kept, ...missing.map((family) => allocate(family)).filter((ip) => ip !== undefined)];
      return ips.length === 0 ? [] : [update(withIps(service, ips, ips.map(familyOf)))];
    });
  };
}

/** One family unless the Service asks for two, as in Kubernetes. */
function wantedFamilies(spec: NonNullable<Service["spec"]>, available: readonly (4 | 6)[]): readonly (4 | 6)[] {
  const isDual = spec.ipFamilyPolicy === "PreferDualStack" || spec.ipFamilyPolicy === "RequireDualStack";
  const asked = available.filter((family) => spec.ipFamilies?.includes(`IPv${family}`));
  return isDual ? available : asked.length > 0 ? asked : available.slice(0, 1);
}

function withIps(service: Service, ips: readonly string[], families: readonly (4 | 6)[]): Service {
  const ipFamilies = families.map((family) => `IPv${family}`);
  return {
    ...service,
    spec: { type: "ClusterIP", ...service.spec, clusterIP: ips[0] ?? "", clusterIPs: ips, ipFamilies },
  };
}
