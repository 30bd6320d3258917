import { ConfigReader } from "@hairpin/shared/process";

/** What the chart gives its uninstall hook. */
export interface UninstallConfig {
  readonly rootNamespace: string;
  readonly api: { readonly host: string; readonly port: number };
}

/** Throws `ConfigError` with every mistake; main exits 64 then. */
export function readConfig(environment: Readonly<Record<string, string | undefined>>): UninstallConfig {
  const reader = new ConfigReader({ environment });
  const config = {
    rootNamespace: reader.string("ROOT_NAMESPACE", "istio-system"),
    api: { host: reader.string("KUBERNETES_SERVICE_HOST"), port: reader.port("KUBERNETES_SERVICE_PORT", 443) },
  };
  reader.finish();
  return config;
}
