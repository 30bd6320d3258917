export * from "./control-plane-clients.ts";
export * from "./control-plane-config.ts";
export { createServerComponent } from "./server-component.ts";
export { readTlsEngine, startTlsEngine, type TlsEngineReport } from "./tls-engine.ts";
export { TlsContexts } from "./tls-contexts.ts";
export { RootWatcher } from "./root-watcher.ts";
