import { Client, credentials } from "@grpc/grpc-js";
import { describe, expect, test, vi } from "vitest";
import { envoyDiscovery } from "../api/index.ts";
import { defineGrpcMethod } from "./grpc-method.ts";
import { listenGrpc } from "./listen-grpc.ts";

const path = "/test.Echo/Ask";
const method = defineGrpcMethod({
  path,
  request: envoyDiscovery.StatusSchema,
  response: envoyDiscovery.StatusSchema,
});

describe("listenGrpc", () => {
  test("asks old connections to go, and no call fails by it", { timeout: 20_000 }, async () => {
    const peers = new Set<string>();
    const listener = await listenGrpc({
      host: "127.0.0.1",
      port: 0,
      maxConnectionAgeMs: 50,
      services: [
        {
          definition: { Ask: method },
          implementation: {
            Ask: (
              call: { getPeer(): string; request: envoyDiscovery.Status },
              answer: (error: null, response: envoyDiscovery.Status) => void,
            ) => {
              peers.add(call.getPeer());
              answer(null, call.request);
            },
          },
        },
      ],
    });
    const client = new Client(`127.0.0.1:${listener.port}`, credentials.createInsecure());
    const ask = async (): Promise<void> => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const bytes = Buffer.alloc(0);
      const identity = (message: Buffer): Buffer => message;
      client.makeUnaryRequest(path, identity, identity, bytes, (error) => (error === null ? resolve() : reject(error)));
      await promise;
    };
    const failures: unknown[] = [];
    await vi.waitFor(
      async () => {
        await ask().catch((error: unknown) => failures.push(error));
        expect(peers.size).toBeGreaterThan(2);
      },
      { timeout: 10_000, interval: 5 },
    );
    expect(failures).toEqual([]);
    client.close();
    await listener.close();
  });
});
