import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { type Server, createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { type Component, errorMessage } from "@hairpin/shared/process";
import type { CounterHandle, Logger, MetricFamily, MetricRegistry } from "@hairpin/shared/telemetry";
import type { ServingCertificate, ServingTls } from "../authority/serving-certificate.ts";
import type { ObjectCollection } from "../collection/object-collection.ts";
import { type AdmissionAnswer, answerReview } from "./review-object.ts";

/** An object has at most 1.5 MiB in etcd, and a review of an update carries two. */
const maxBodyBytes = 8 * 1024 * 1024;
/** The API server waits for 10 s by default. */
const requestTimeoutMs = 10_000;
const headersTimeoutMs = 5_000;
/** Longer than the API server keeps an idle connection: it is the one to close. */
const keepAliveMs = 120_000;
const maxConnections = 256;

export interface AdmissionServerComponents {
  readonly certificate: ServingCertificate;
  readonly objects: ObjectCollection;
  readonly metrics: MetricRegistry;
  readonly logger: Logger;
}

/**
 * 15017: the validating webhook, `POST /validate` over TLS. A body that is no review gets 400, one that is too long 413; no input ends
 * anything but its own request.
 */
export class AdmissionServer implements Component {
  readonly name = "admission";
  readonly #components: AdmissionServerComponents;
  readonly #options: { readonly host: string; readonly port: number };
  readonly #reviews: MetricFamily<"result", CounterHandle>;
  #server: Server | undefined;
  #end: () => void = () => {};

  constructor(components: AdmissionServerComponents, options: { readonly host: string; readonly port: number }) {
    this.#components = components;
    this.#options = options;
    this.#reviews = components.metrics.counter({
      name: "hairpin_admission_reviews_total",
      help: "Reviews of the validating webhook by result: allowed, denied, invalid (no review).",
      labels: ["result"],
    });
  }

  /** 0 before it listens. */
  get port(): number {
    return (this.#server?.address() as AddressInfo | null | undefined)?.port ?? 0;
  }

  async start(): Promise<void> {
    const { certificate, logger } = this.#components;
    const server = createServer(
      {
        ...contextOf(certificate.current),
        minVersion: "TLSv1.2",
        requestTimeout: requestTimeoutMs,
        headersTimeout: headersTimeoutMs,
        keepAliveTimeout: keepAliveMs,
      },
      (request, response) => void this.#serve(request, response),
    );
    server.maxConnections = maxConnections;
    server.on("tlsClientError", (error) => logger.debug("admission handshake failed", { error: error.message }));
    server.listen(this.#options.port, this.#options.host);
    await once(server, "listening");
    this.#server = server;
    this.#end = certificate.onRenewed((tls) => server.setSecureContext({ ...contextOf(tls), minVersion: "TLSv1.2" }));
    logger.info("listener established", { address: `${this.#options.host}:${this.port}`, component: "admission" });
  }

  async stop(): Promise<void> {
    this.#end();
    const server = this.#server;
    if (server === undefined) return;
    const closed = once(server, "close");
    server.close();
    server.closeIdleConnections();
    const hurry = setTimeout(() => server.closeAllConnections(), 1000);
    await closed;
    clearTimeout(hurry);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#answer(request, response);
    } catch (error) {
      this.#components.logger.warn("admission review failed", { error: errorMessage(error) });
      if (response.headersSent) response.destroy();
      else refuse(response, 500, "internal error");
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path] = (request.url ?? "").split("?");
    if (path !== "/validate") return refuse(response, 404, "only /validate is here");
    if (request.method !== "POST") return refuse(response, 405, "POST an AdmissionReview");
    const body = await readBody(request).catch(() => undefined);
    if (body === undefined) return void response.destroy();
    if (body === "too long") return refuse(response, 413, `a review has at most ${maxBodyBytes} bytes`);
    let answer: AdmissionAnswer;
    try {
      answer = answerReview(JSON.parse(body.toString("utf8")), this.#components.objects.snapshot());
    } catch (error) {
      this.#reviews.handle({ result: "invalid" }).add(1);
      return refuse(response, 400, errorMessage(error).slice(0, 500));
    }
    const { allowed, status } = answer.response;
    this.#reviews.handle({ result: allowed ? "allowed" : "denied" }).add(1);
    if (!allowed) this.#components.logger.info("object refused at admission", { reason: status?.message });
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
  }
}

function contextOf({ certificateChainPem, privateKeyPem }: ServingTls): {
  readonly cert: string;
  readonly key: string;
} {
  return { cert: certificateChainPem, key: privateKeyPem };
}

/** Rejects when the client goes away. */
async function readBody(request: IncomingMessage): Promise<Buffer | "too long"> {
  if (Number(request.headers["content-length"] ?? 0) > maxBodyBytes) return "too long";
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBodyBytes) return "too long";
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The rest of a body that was not read is not waited for. */
function refuse(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain", connection: "close" }).end(`${text}\n`);
}
