// What two ztunnels that are told the same should say of it in `/config_dump`.

interface Named {
  readonly namespace: string;
  readonly name: string;
}

interface Dump {
  readonly workloads: readonly { readonly uid: string }[];
  readonly services: readonly (Named & { readonly hostname: string })[];
  readonly policies: readonly Named[];
}

type ComparableDump = Readonly<Record<keyof Dump, Readonly<Record<string, object>>>>;

/** Workloads, services and policies by their keys, without Hairpin's own extensions, which Istio's ztunnel ignores. */
export function comparableDump(dump: Readonly<Record<string, unknown>>): ComparableDump {
  const { workloads, services, policies } = dump as unknown as Dump;
  return {
    workloads: byKey(workloads, ({ uid }) => uid),
    services: byKey(services, ({ namespace, hostname }) => `${namespace}/${hostname}`),
    policies: byKey(policies, ({ namespace, name }) => `${namespace}/${name}`),
  };
}

function byKey<T extends object>(entries: readonly T[], keyOf: (entry: T) => string): Record<string, object> {
  return Object.fromEntries(entries.map((entry) => [keyOf(entry), withoutExtensions(entry)]));
}

function withoutExtensions(entry: object): object {
  return Object.fromEntries(Object.entries(entry).filter(([name]) => !name.startsWith("hairpin")));
}
