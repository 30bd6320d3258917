import { once } from "node:events";
import { type ServiceError, status } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { hairpinWaypoint } from "@hairpin/shared/api";
import { eventually } from "@hairpin/testkit";
import { echoClient, startGrpcApp } from "./testing/grpc.ts";
import { openShop, type ShopOptions } from "./testing/shop.ts";
import { addressOf } from "./testing/test-bed.ts";

const { GRPC } = hairpinWaypoint.Protocol;
const grpc: ShopOptions = { service: { ports: [{ port: 80, name: "grpc", protocol: GRPC }] } };

const failure = async (call: Promise<unknown>): Promise<ServiceError> => {
  try {
    await call;
  } catch (error) {
    return error as ServiceError;
  }
  throw new Error("the call succeeded");
};

describe("gRPC through a waypoint", () => {
  it("makes unary calls and all kinds of streams", async () => {
    await using shop = await openShop(startGrpcApp, grpc);
    using client = echoClient(shop.web);
    expect(await client.unary("hello")).toBe("web-0:hello");

    const uploaded = Promise.withResolvers<string | undefined>();
    const upload = client.upload((error, value) => (error ? uploaded.reject(error) : uploaded.resolve(value)));
    for (const text of ["a", "b", "c"]) upload.write(text);
    upload.end();
    expect(await uploaded.promise).toBe("a+b+c");

    const parts: unknown[] = [];
    for await (const part of client.download("200")) parts.push(part);
    expect(parts).toHaveLength(200);

    const chat = client.chat();
    for (const text of ["one", "two"]) {
      chat.write(text);
      expect(await once(chat, "data")).toEqual([text.toUpperCase()]);
    }
    chat.end();
    const [ended] = (await once(chat, "status")) as [{ code: number }];
    expect(ended.code).toBe(status.OK);
  });

  it("spreads the calls of one connection over all endpoints", async () => {
    await using shop = await openShop(startGrpcApp, { ...grpc, pods: 3 });
    using client = echoClient(shop.web);
    const answers = await Promise.all(Array.from({ length: 90 }, () => client.unary("x")));
    const counts = ["web-0:x", "web-1:x", "web-2:x"].map((name) => answers.filter((answer) => answer === name).length);
    // 90 draws of 3: fewer than 10 for one would be bad luck beyond 10^-6.
    expect(Math.min(...counts)).toBeGreaterThan(10);
    expect(shop.bed.access().every(({ "src.addr": address }) => address === shop.bed.access()[0]?.["src.addr"])).toBe(
      true,
    );
  });

  it("passes statuses and messages of the application on", async () => {
    await using shop = await openShop(
      (place) =>
        startGrpcApp(place, {
          Unary: (_, reply) => reply({ code: status.RESOURCE_EXHAUSTED, details: "no tea left: ☕" }),
        }),
      grpc,
    );
    using client = echoClient(shop.web);
    expect(await failure(client.unary("x"))).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: "no tea left: ☕",
    });
    await eventually(() => expect(shop.bed.access()[0]).toMatchObject({ status: 200, grpc_status: "8" }));
  });

  it("cancels at the application what the client cancels", async () => {
    await using shop = await openShop((place) => startGrpcApp(place, { Unary: () => {} }), grpc);
    using client = echoClient(shop.web);
    const chat = client.chat();
    chat.on("error", () => {});
    chat.write("x");
    await once(chat, "data");
    chat.cancel();
    await eventually(() => expect(shop.apps[0]?.cancelled).toBe(1));
  });

  it("ends a stream that the server ended while the client still sends", async () => {
    await using shop = await openShop(
      (place) =>
        startGrpcApp(place, {
          Chat: (call) => {
            call.write("bye");
            call.end();
          },
        }),
      grpc,
    );
    using client = echoClient(shop.web);
    const chat = client.chat();
    chat.on("data", () => {});
    chat.write("x");
    const [ended] = (await once(chat, "status")) as [{ code: number }];
    expect(ended.code).toBe(status.OK);
  });

  it.each([
    ["no endpoint", { pods: 0 }, {}, status.UNAVAILABLE, "no healthy upstream", "UH"],
    [
      "a policy",
      {},
      { policies: [{ name: "nobody", namespace: "shop" }] },
      status.PERMISSION_DENIED,
      "RBAC: access denied",
      "-",
    ],
    [
      "no route",
      {},
      {
        ports: [
          {
            port: 80,
            protocol: GRPC,
            routes: [{ namespace: "shop", name: "r", rules: [{ matches: [{ path: { value: "/other" } }] }] }],
          },
        ],
      },
      status.UNIMPLEMENTED,
      "no route matches",
      "NR",
    ],
    [
      "an invalid backend",
      {},
      {
        ports: [
          {
            port: 80,
            protocol: GRPC,
            routes: [
              {
                namespace: "shop",
                name: "r",
                rules: [{ backends: [{ weight: 1, invalidReason: "Service shop/none does not exist" }] }],
              },
            ],
          },
        ],
      },
      status.UNAVAILABLE,
      "Service shop/none does not exist",
      "-",
    ],
  ])("says why in gRPC's own words when there is %s", async (_, options, service, code, details, flag) => {
    await using shop = await openShop(startGrpcApp, { ...grpc, ...options });
    shop.bed.putService(shop.service, { ports: [{ port: 80, protocol: GRPC }], ...service });
    await shop.bed.settled();
    using client = echoClient(shop.web);
    expect(await failure(client.unary("x"))).toMatchObject({ code, details });
    expect(shop.bed.access()[0]).toMatchObject({ status: 200, grpc_status: String(code), response_flags: flag });
  });

  it("says DEADLINE_EXCEEDED when the route's time is over", async () => {
    await using shop = await openShop((place) => startGrpcApp(place, { Unary: () => {} }), grpc);
    shop.bed.putService(shop.service, {
      ports: [
        {
          port: 80,
          protocol: GRPC,
          routes: [
            {
              namespace: "shop",
              name: "r",
              rules: [
                {
                  requestTimeoutMs: 50,
                  backends: [{ namespace: "shop", hostname: shop.service.hostname, port: 80, weight: 1 }],
                },
              ],
            },
          ],
        },
      ],
    });
    await shop.bed.settled();
    using client = echoClient(shop.web);
    expect(await failure(client.unary("x"))).toMatchObject({
      code: status.DEADLINE_EXCEEDED,
      details: "upstream request timeout",
    });
  });

  it("counts messages", async () => {
    await using shop = await openShop(startGrpcApp, grpc);
    using client = echoClient(await shop.client.capture(addressOf(shop.service)));
    for await (const part of client.download("7")) expect(part).toContain("part");
    await eventually(async () => {
      const metrics = await shop.bed.metrics();
      expect(metrics).toMatch(/^istio_request_messages_total\{.*request_protocol="grpc".*\} 1$/m);
      expect(metrics).toMatch(/^istio_response_messages_total\{.*request_protocol="grpc".*\} 7$/m);
    });
  });
});
