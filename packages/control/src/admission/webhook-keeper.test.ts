import { systemClock } from "@hairpin/shared/process";
import { noLogger } from "@hairpin/shared/telemetry";
import { FakeApiServer, TestAuthority, eventually } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createSigningAuthority, type SigningAuthority } from "../authority/signing-authority.ts";
import { fakeApiOf } from "../testing/fake-api.ts";
import { WebhookKeeper } from "./webhook-keeper.ts";

const name = "hairpin-validator-istio-system";
const configuration = {
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: "ValidatingWebhookConfiguration",
  metadata: { name },
  webhooks: [
    {
      name: "rev.validation.istio.io",
      clientConfig: { service: { name: "istiod", namespace: "istio-system", path: "/validate" } },
      failurePolicy: "Ignore",
      rules: [{ apiGroups: ["security.istio.io"] }],
    },
  ],
};

function signingOf({ signing, rootPem }: TestAuthority): SigningAuthority {
  return createSigningAuthority({ signing, intermediatesPem: "", rootsPem: rootPem }, rootPem, systemClock);
}

describe("WebhookKeeper", { timeout: 30_000 }, () => {
  let fake: FakeApiServer;
  let keeper: WebhookKeeper;
  let leadership: { leading: boolean; onChange: (listener: () => void) => () => void };
  let changeLeader: () => void;
  let authorities: { current: SigningAuthority; onChange: (listener: () => void) => () => void };
  let changeRoot: () => void;
  beforeEach(async () => {
    fake = await FakeApiServer.start();
    changeRoot = changeLeader = () => {};
    leadership = { leading: true, onChange: (listener) => ((changeLeader = listener), () => {}) };
    authorities = {
      current: signingOf(new TestAuthority()),
      onChange: (listener) => ((changeRoot = listener), () => {}),
    };
    const api = fakeApiOf(fake);
    keeper = new WebhookKeeper(
      { api, clock: systemClock, logger: noLogger, authorities, leadership },
      { rootNamespace: "istio-system" },
    );
  });
  afterEach(async () => {
    await keeper.stop();
    await fake[Symbol.asyncDispose]();
  });

  const shown = (): unknown => {
    const found = fake.find("ValidatingWebhookConfiguration", "", name) as typeof configuration | undefined;
    const { clientConfig, failurePolicy, rules } = (found?.webhooks[0] ?? {}) as {
      clientConfig?: { caBundle?: string; service?: object };
      failurePolicy?: string;
      rules?: object;
    };
    return { root: atob(clientConfig?.caBundle ?? ""), failurePolicy, service: clientConfig?.service, rules };
  };
  const wanted = (): unknown => ({
    root: authorities.current.authority.rootBundlePem,
    failurePolicy: "Fail",
    service: configuration.webhooks[0]?.clientConfig.service,
    rules: configuration.webhooks[0]?.rules,
  });

  test("gives the API server our roots and lets it fail closed, also when it is installed later, edited, or the roots change", async () => {
    await keeper.start();
    fake.put(configuration);
    await eventually(() => expect(shown()).toEqual(wanted()));
    fake.put(configuration);
    await eventually(() => expect(shown()).toEqual(wanted()));
    authorities.current = signingOf(new TestAuthority());
    changeRoot();
    await eventually(() => expect(shown()).toEqual(wanted()));
  });

  test("writes once, and only while it leads", async () => {
    leadership.leading = false;
    fake.put(configuration);
    await keeper.start();
    await eventually(() => expect(fake.watchesOf("ValidatingWebhookConfiguration")).toBe(1));
    expect(fake.requests.some(({ verb }) => verb === "replace")).toBe(false);
    leadership.leading = true;
    changeLeader();
    await eventually(() => expect(shown()).toEqual(wanted()));
    const writes = (): number => fake.requests.filter(({ verb }) => verb === "replace").length;
    changeLeader();
    changeRoot();
    await eventually(() => expect(shown()).toEqual(wanted()));
    expect(writes()).toBe(1);
  });
});
