export * from "./control-plane-clients.ts";
export * from "./control-plane-config.ts";
export { createServerComponent } from "./server-component.ts";
export { TlsContexts } from "./tls-contexts.ts";
