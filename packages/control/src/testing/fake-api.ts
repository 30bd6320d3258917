import { type Clock, systemClock } from "@hairpin/shared/process";
import type { FakeApiServer } from "@hairpin/testkit";
import { type KubernetesApi, createKubernetesApi } from "@hairpin/shared/kubernetes";

/** A client of testkit's fake API server. */
export function fakeApiOf(fake: FakeApiServer, clock: Clock = systemClock): KubernetesApi {
  return createKubernetesApi({
    connection: { server: new URL(fake.address), requestOptions: async () => ({}) },
    clock,
  });
}
