import { connect, type Socket } from "node:net";
import { buffer } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { type EchoServer, startEchoServer } from "./echo-server.ts";
import { eventually } from "./eventually.ts";

function dial(server: EchoServer): Socket {
  return connect({ port: server.address.port, host: server.address.address, allowHalfOpen: true });
}

describe("startEchoServer", () => {
  test("sends back every byte, and ends when the client has ended", async () => {
    await using server = await startEchoServer();
    const socket = dial(server);
    const sent = Buffer.alloc(3_000_000, "hairpin ");
    socket.end(sent);
    expect((await buffer(socket)).equals(sent)).toBe(true);
    await eventually(() => expect([server.accepted, server.open]).toEqual([1, 0]));
  });

  test("ends open connections when it is closed, twice without harm", async () => {
    const server = await startEchoServer();
    const socket = dial(server);
    await eventually(() => expect(server.open).toBe(1));
    const ended = buffer(socket);
    await server.close();
    await server.close();
    expect(await ended).toHaveLength(0);
    expect(server.open).toBe(0);
  });

  test("rejects when it cannot listen", async () => {
    await using server = await startEchoServer();
    await expect(startEchoServer({ port: server.address.port })).rejects.toMatchObject({ code: "EADDRINUSE" });
  });
});
