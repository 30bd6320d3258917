import type { Component } from "@hairpin/shared/process";
import { type GrpcListener, type GrpcService, listenGrpc } from "@hairpin/shared/xds";
import type { ServingCertificate } from "./authority/serving-certificate.ts";

export interface SecureListenerComponents {
  readonly certificate: ServingCertificate;
  readonly services: readonly GrpcService[];
  readonly whenServing: () => Promise<void>;
}

/** 15012: xDS and CA over TLS. Open connections stay when the certificate is another. */
export class SecureListener implements Component {
  readonly name = "secure xds and ca";
  readonly #components: SecureListenerComponents;
  readonly #options: { readonly host: string; readonly port: number };
  #listener: GrpcListener | undefined;
  #end: () => void = () => {};
  #stopped = false;

  constructor(components: SecureListenerComponents, options: { readonly host: string; readonly port: number }) {
    this.#components = components;
    this.#options = options;
  }

  /** The port in use; 0 before it listens. */
  get port(): number {
    return this.#listener?.port ?? 0;
  }

  /** Waits until there is something to serve: a client that came before would be refused, not answered. */
  async start(): Promise<void> {
    const { certificate, services, whenServing } = this.#components;
    try {
      await whenServing();
    } catch (error) {
      // Stopped before there was anything to serve.
      if (this.#stopped) return;
      throw error;
    }
    const listener = await listenGrpc({ ...this.#options, tls: certificate.current, services });
    this.#end = certificate.onRenewed((tls) => listener.replaceTls(tls));
    // Another may have come while the port was opened.
    listener.replaceTls(certificate.current);
    this.#listener = listener;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#end();
    await this.#listener?.close();
  }
}
