import type { Service } from "@hairpin/shared/model";
import type { AppPlace } from "./apps.ts";
import type { CapturedPort, SourceZtunnel } from "./source-ztunnel.ts";
import {
  addressOf,
  createTestBed,
  serves,
  type ServiceInit,
  type TestBed,
  type TestBedOptions,
  type TestPod,
} from "./test-bed.ts";

export interface Shop<App extends AsyncDisposable> extends AsyncDisposable {
  readonly bed: TestBed;
  readonly service: Service;
  readonly pods: readonly TestPod[];
  readonly apps: readonly App[];
  readonly client: SourceZtunnel;
  /** The service as `shop/curl` reaches it. */
  readonly web: CapturedPort;
}

export interface ShopOptions extends TestBedOptions {
  /** Default 1. */
  readonly pods?: number;
  /** Of the managed service; default: port 80 is HTTP. */
  readonly service?: ServiceInit;
  /** Default true. */
  readonly captured?: boolean;
}

/** The mesh of most tests: the Service `web` on port 80, pods that run `app` on 8080, and a client. */
export async function openShop<App extends AsyncDisposable>(
  app: (place: AppPlace) => Promise<App>,
  options: ShopOptions = {},
): Promise<Shop<App>> {
  const bed = await createTestBed(options);
  const service = bed.addService({ name: "web" });
  const pods: TestPod[] = [];
  const apps: App[] = [];
  for (let index = 0; index < (options.pods ?? 1); index++) {
    const name = `web-${index}`;
    const pod = await bed.addPod(name, { services: serves(service) }, { captured: options.captured ?? true });
    pods.push(pod);
    apps.push(await app({ name, ip: pod.ip }));
  }
  bed.putGateway();
  bed.putService(service, options.service);
  await bed.settled();
  const client = bed.client();
  return {
    bed,
    service,
    pods,
    apps,
    client,
    web: await client.capture(addressOf(service)),
    async [Symbol.asyncDispose]() {
      await bed[Symbol.asyncDispose]();
      for (const running of apps) await running[Symbol.asyncDispose]();
    },
  };
}
