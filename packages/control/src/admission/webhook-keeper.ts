import { isDeepStrictEqual } from "node:util";
import type { Component } from "@hairpin/shared/process";
import type { KubernetesObject, ListWatchComponents } from "@hairpin/shared/kubernetes";
import type { AuthoritySource } from "../authority/signing-authority.ts";
import { ObjectMirror } from "../deploy/object-mirror.ts";
import { WorkQueue } from "../deploy/work-queue.ts";
import type { Leadership } from "../status/leadership.ts";

const fieldManager = "hairpin-webhook";

interface Webhook {
  readonly name: string;
  readonly clientConfig?: Readonly<Record<string, unknown>>;
  readonly failurePolicy?: string;
}

interface WebhookConfiguration extends KubernetesObject {
  readonly webhooks?: readonly Webhook[];
}

export interface WebhookKeeperComponents extends ListWatchComponents {
  readonly authorities: AuthoritySource;
  readonly leadership: Leadership;
}

/**
 * Keeps the chart's ValidatingWebhookConfiguration in step with us: the roots by which the API server knows us, and `Fail` once we serve,
 * so that nothing passes unseen. It is installed with `Ignore`, or nothing could be applied before the first control runs. Started after
 * the server; only the leader writes.
 */
export class WebhookKeeper implements Component {
  readonly name = "webhook configuration";
  readonly #components: WebhookKeeperComponents;
  readonly #configuration: ObjectMirror<WebhookConfiguration>;
  readonly #queue: WorkQueue;
  readonly #configurationName: string;
  #endings: readonly (() => void)[] = [];

  constructor(components: WebhookKeeperComponents, options: { readonly rootNamespace: string }) {
    this.#components = components;
    this.#configurationName = `hairpin-validator-${options.rootNamespace}`;
    this.#queue = new WorkQueue(components, { work: () => this.#mend(), concurrency: 1 });
    this.#configuration = new ObjectMirror<WebhookConfiguration>(components, {
      group: "admissionregistration.k8s.io",
      kind: "ValidatingWebhookConfiguration",
      selection: { fieldSelector: `metadata.name=${this.#configurationName}` },
      onChange: () => this.#look(),
    });
  }

  async start(): Promise<void> {
    const { authorities, leadership } = this.#components;
    const look = (): void => this.#look();
    this.#endings = [authorities.onChange(look), leadership.onChange(look)];
    await this.#configuration.start();
  }

  async stop(): Promise<void> {
    for (const end of this.#endings) end();
    await this.#configuration.stop();
    await this.#queue.stop();
  }

  #look(): void {
    this.#queue.add(this.#configurationName);
  }

  async #mend(): Promise<void> {
    const { api, leadership, logger } = this.#components;
    const held = this.#configuration.find("", this.#configurationName);
    if (held === undefined || !leadership.leading) return;
    const wanted = this.#wanted(held);
    if (isDeepStrictEqual(wanted.webhooks, held.webhooks)) return;
    // On this version only: a conflict means that there is a newer one, which is looked at when it comes, or tried again.
    await api.replace(wanted, { fieldManager });
    logger.info("webhook configuration written", { name: this.#configurationName });
  }

  #wanted(held: WebhookConfiguration): WebhookConfiguration {
    const caBundle = Buffer.from(this.#components.authorities.current.authority.rootBundlePem).toString("base64");
    return {
      ...held,
      webhooks: (held.webhooks ?? []).map((webhook) => ({
        ...webhook,
        clientConfig: { ...webhook.clientConfig, caBundle },
        failurePolicy: "Fail",
      })),
    };
  }
}
