import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { connectTcp, listenTcp } from "@hairpin/wire";
import { describe, expect, it } from "vitest";
import type { PodContext } from "../pod-context.ts";
import { connectApplication } from "./connect-application.ts";

async function withApplication(run: (port: number, accepted: Promise<Socket>) => Promise<void>): Promise<void> {
  const server = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no address");
  const accepted = once(server, "connection").then(([socket]) => socket as Socket);
  await run(address.port, accepted);
  server.close();
}

/** A pod whose dials are remembered. */
function podThat(canSpoofSource: boolean) {
  const spoofed: (string | undefined)[] = [];
  const pod = {
    network: {
      canSpoofSource,
      listen: () => listenTcp({ host: "127.0.0.1", port: 0, onConnection() {} }),
      connect: (
        to: { ip: string; port: number },
        options: { timeoutMs: number; spoofedSource?: string | undefined },
      ) => {
        spoofed.push(options.spoofedSource);
        return connectTcp({ ...to, timeoutMs: options.timeoutMs, localIp: options.spoofedSource });
      },
      originalDestination: () => ({ ip: "127.0.0.1", port: 1 }),
      close() {},
    },
  } as unknown as PodContext;
  return { pod, spoofed };
}

const caller = (ip: string) => ({ address: { ip, port: 4000 }, identity: undefined });
const target = (port: number) => ({
  kind: "found" as const,
  address: { ip: "127.0.0.1", port },
  service: undefined,
  proxyDestination: undefined,
});

describe("connectApplication", () => {
  it.each([
    ["from the caller's address", true, "127.0.0.9", "127.0.0.9"],
    ["plainly when the pod calls itself", true, "127.0.0.1", undefined],
    ["plainly when the kernel does not permit it", false, "127.0.0.9", undefined],
    ["plainly across address families", true, "fd00::1", undefined],
  ])("dials %s", async (_how, canSpoof, from, source) => {
    await withApplication(async (port, accepted) => {
      const { pod, spoofed } = podThat(canSpoof);
      const channel = await connectApplication(pod, target(port), caller(from), 1000);
      expect(spoofed).toEqual([source]);
      expect((await accepted).remoteAddress).toBe(source ?? "127.0.0.1");
      channel.destroy();
    });
  });

  it("tells an application tunnel of the caller first, on loopback", async () => {
    await withApplication(async (port, accepted) => {
      const { pod, spoofed } = podThat(true);
      const proxied = {
        ...target(port),
        address: { ip: "10.0.0.2", port },
        proxyDestination: { ip: "10.1.0.1", port: 80 },
      };
      const channel = await connectApplication(pod, proxied, caller("10.0.0.1"), 1000);
      const [chunk] = (await once(await accepted, "data")) as [Buffer];
      expect(chunk.subarray(0, 14).toString("hex")).toBe("0d0a0d0a000d0a515549540a2111");
      expect(chunk.subarray(16, 20).join(".")).toBe("10.0.0.1");
      expect(spoofed).toEqual([undefined]);
      channel.destroy();
    });
  });

  it("rejects with the address when nothing listens", async () => {
    const { pod } = podThat(false);
    await expect(connectApplication(pod, target(1), caller("127.0.0.1"), 1000)).rejects.toMatchObject({
      code: "CONNECT_FAILED",
      message: expect.stringContaining("connection failed: 127.0.0.1:1: "),
    });
  });
});
