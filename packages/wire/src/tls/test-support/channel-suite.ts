import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { bufferPoolStats } from "../../buffer-pool.ts";
import { createSocketChannel } from "../../socket.ts";
import { createTestCertificate, createTestRoot, materialOf } from "../test-certificates.ts";
import {
  clientLeaf,
  clientMaterial,
  type EnginePair,
  intermediate,
  otherRoot,
  record,
  root,
  serverLeaf,
  timeoutMs,
  TlsFixture,
  turn,
} from "./tls-fixture.ts";

/** What every pair of engines does with an open connection. */
export function describeSecureChannel(name: string, engines: EnginePair): void {
  const fixture = new TlsFixture(engines);
  afterEach(() => fixture.cleanUp());

  describe(`${name}: channel`, () => {
    it("ends each direction by itself", async () => {
      const [client, server] = await fixture.securePair();
      const [clientRecorder, serverRecorder] = [record(client), record(server)];
      client.resume();
      server.resume();
      client.write(Buffer.from("question"));
      client.end();
      await serverRecorder.ended.promise;
      for (let index = 0; index < 50; index++) {
        server.write(Buffer.alloc(10_000, index));
        await turn();
      }
      expect(clientRecorder.events).toEqual([]);
      server.end();
      await clientRecorder.ended.promise;
      expect(clientRecorder.bytes).toBe(500_000);
      expect(await clientRecorder.closed.promise).toBeUndefined();
      expect(await serverRecorder.closed.promise).toBeUndefined();
      expect(serverRecorder.events).toEqual(["end", "close"]);
      expect([client.bytesWritten, client.bytesRead]).toEqual([8, 500_000]);
    });

    it("keeps every byte both ways at once, with slow readers and memory that is reused at once", async () => {
      const size = 6 * 1024 * 1024;
      const before = bufferPoolStats().bytesInUse;
      const ends = await fixture.securePair();
      const recorders = ends.map(record);
      const sent = await Promise.all(
        ends.map(async (channel, side) => {
          const recorder = recorders[side]!;
          let reads = 0;
          const onData = recorder.onData.bind(recorder);
          recorder.onData = (chunk) => {
            onData(chunk);
            if (++reads % 16 !== 0) return;
            channel.pause();
            setTimeout(() => channel.resume(), 1);
          };
          channel.resume();
          const hash = createHash("sha256");
          for (let written = 0, step = 1; written < size; step = (step * 7 + 3) % 150_001) {
            const bytes = randomBytes(Math.min(1 + step, size - written));
            written += bytes.length;
            hash.update(bytes);
            const accepted = channel.write(bytes);
            bytes.fill(0);
            if (!accepted) await recorder.drained.promise;
          }
          channel.end();
          return hash.digest("hex");
        }),
      );
      for (const recorder of recorders) await recorder.closed.promise;
      expect(recorders.map((recorder) => recorder.bytes)).toEqual([size, size]);
      expect(recorders.map((recorder) => recorder.hash.digest("hex"))).toEqual(sent.toReversed());
      expect(bufferPoolStats().bytesInUse).toBe(before);
    }, 20_000);

    it("holds a bounded number of bytes for a peer that does not read", async () => {
      const [client, server] = await fixture.securePair();
      const recorder = record(client);
      const sink = record(server);
      let total = 0;
      const chunk = Buffer.alloc(50_000, 1);
      for (let turns = 0; turns < 400; turns++) {
        while (client.write(chunk)) total += chunk.length;
        total += chunk.length;
        const waiting = await Promise.race([
          recorder.drained.promise,
          new Promise((resolve) => setTimeout(resolve, 50, "full")),
        ]);
        if (waiting === "full") break;
      }
      expect(client.bufferedBytes).toBeGreaterThan(0);
      expect(client.bufferedBytes).toBeLessThan(256 * 1024);
      server.resume();
      await recorder.drained.promise;
      client.end();
      await sink.ended.promise;
      expect(sink.bytes).toBe(total);
    }, 20_000);

    it("reads nothing beyond a bound while paused", async () => {
      const [client, server] = await fixture.securePair();
      const recorder = record(server);
      record(client);
      for (let index = 0; index < 20; index++) client.write(Buffer.alloc(1_000_000));
      for (let index = 0; index < 50; index++) await turn();
      expect(server.bytesRead).toBe(0);
      expect(client.bufferedBytes).toBeGreaterThan(0);
      server.resume();
      client.end();
      await recorder.ended.promise;
      expect(recorder.bytes).toBe(20_000_000);
    }, 20_000);

    it("reports a FIN without close_notify as TLS_TRUNCATED, after the bytes that came before", async () => {
      const { outcome, client, raw } = await fixture.acceptNodeClient(clientMaterial);
      const channel = await outcome;
      const recorder = record(channel);
      client.write(Buffer.alloc(40_000, 1));
      while (client.writableLength > 0) await turn();
      raw.end(); // under the feet of TLS
      channel.resume();
      expect(await recorder.closed.promise).toMatchObject({ code: "TLS_TRUNCATED" });
      expect(recorder.bytes).toBe(40_000);
      expect(recorder.events).toEqual(["close"]);
    });

    it("reports a FIN inside a record as TLS_TRUNCATED", async () => {
      const { outcome, raw } = await fixture.acceptNodeClient(clientMaterial);
      const channel = await outcome;
      const recorder = record(channel);
      channel.resume();
      raw.write(Buffer.from([23, 3, 3, 0x40, 0]));
      raw.end();
      expect(await recorder.closed.promise).toMatchObject({ code: "TLS_TRUNCATED" });
    });

    it("reports a record that fails authentication as TLS_PROTOCOL_ERROR", async () => {
      const { outcome, raw } = await fixture.acceptNodeClient(clientMaterial);
      const channel = await outcome;
      const recorder = record(channel);
      channel.resume();
      raw.write(Buffer.concat([Buffer.from([23, 3, 3, 0, 40]), randomBytes(40)]));
      expect(await recorder.closed.promise).toMatchObject({ code: "TLS_PROTOCOL_ERROR" });
    });

    it("accepts the close_notify of a node:tls peer and of a peer that closes right after it", async () => {
      const { outcome, client } = await fixture.acceptNodeClient(clientMaterial);
      const channel = await outcome;
      const recorder = record(channel);
      channel.resume();
      client.end(Buffer.alloc(100_000, 9));
      await recorder.ended.promise;
      expect(recorder.bytes).toBe(100_000);
      channel.end();
      expect(await recorder.closed.promise).toBeUndefined();
    });

    it("tells the client why the server refused its certificate", async () => {
      // In TLS 1.3 a client is done before the server has looked at its certificate: the refusal comes afterwards.
      const [clientSocket, serverSocket] = await fixture.socketPair();
      const stranger = engines.client.createContext(
        materialOf(createTestCertificate({ name: "x", issuer: otherRoot }), [root]),
      );
      const accept = engines.server.accept(serverSocket, fixture.serverContext, { timeoutMs });
      const connect = engines.client.connect(clientSocket, stranger, { timeoutMs });
      await expect(accept).rejects.toMatchObject({ code: "TLS_HANDSHAKE_FAILED" });
      const channel = await connect;
      const recorder = record(channel);
      channel.resume();
      channel.write(Buffer.from("x"));
      const error = await recorder.closed.promise;
      expect(error).toBeDefined();
      expect(recorder.bytes).toBe(0);
      expect(recorder.events).toEqual(["close"]);
    });

    it("gives the same bytes however the network cuts the ciphertext", async () => {
      for (const pieceBytes of [1, 7, 1000]) {
        const sockets = await fixture.socketPair((port) => cuttingRelay(fixture, port, pieceBytes));
        const ends = await fixture.secure(sockets);
        const recorders = ends.map(record);
        const sent = ends.map((channel, side) => {
          const bytes = randomBytes(2000 * (side + 1));
          channel.resume();
          channel.write(bytes.subarray(0, 5));
          channel.write(bytes.subarray(5));
          channel.end();
          return createHash("sha256").update(bytes).digest("hex");
        });
        for (const recorder of recorders) expect(await recorder.closed.promise).toBeUndefined();
        expect(recorders.map((recorder) => recorder.hash.digest("hex"))).toEqual(sent.toReversed());
      }
    }, 20_000);

    it("goes on over a change of certificates and roots, while new connections use the new ones", async () => {
      const newRoot = createTestRoot("new root");
      const newClient = createTestCertificate({ name: "client", issuer: newRoot });
      const newServer = createTestCertificate({ name: "server", issuer: newRoot });
      const before = {
        client: engines.client.createContext(materialOf(clientLeaf, [root, newRoot], [intermediate])),
        server: engines.server.createContext(materialOf(serverLeaf, [root, newRoot])),
      };
      const old = await fixture.securePair(before);
      const recorders = old.map(record);
      for (const channel of old) channel.resume();
      const hash = createHash("sha256");
      const send = async (): Promise<void> => {
        const bytes = randomBytes(50_000);
        hash.update(bytes);
        if (!old[0].write(bytes)) await recorders[0]!.drained.promise;
      };
      for (let index = 0; index < 20; index++) await send();
      before.client.close();
      before.server.close();
      const after = {
        client: engines.client.createContext(materialOf(newClient, [newRoot])),
        server: engines.server.createContext(materialOf(newServer, [newRoot])),
      };
      const [client, server] = await fixture.securePair(after);
      expect(Buffer.from(client.peerCertificates[0]!).equals(newServer.der)).toBe(true);
      expect(Buffer.from(server.peerCertificates[0]!).equals(newClient.der)).toBe(true);
      for (let index = 0; index < 20; index++) await send();
      for (const channel of old) channel.end();
      for (const recorder of recorders) expect(await recorder.closed.promise).toBeUndefined();
      expect(recorders[1]!.hash.digest("hex")).toBe(hash.digest("hex"));
    });

    it("resets on destroy: the peer gets an error, not an end", async () => {
      const [client, server] = await fixture.securePair();
      const [clientRecorder, serverRecorder] = [record(client), record(server)];
      server.resume();
      const reason = new Error("policy changed");
      client.destroy(reason);
      client.destroy();
      expect(clientRecorder.events).toEqual([]);
      expect(await clientRecorder.closed.promise).toBe(reason);
      expect(await serverRecorder.closed.promise).toMatchObject({ code: "ECONNRESET" });
      expect(clientRecorder.events).toEqual(["close"]);
    });

    it("destroys the channel when a handler throws, and refuses writes after end", async () => {
      const [client, server] = await fixture.securePair();
      const [clientRecorder, serverRecorder] = [record(client), record(server)];
      serverRecorder.onData = () => {
        throw new Error("parser failed");
      };
      server.resume();
      client.resume();
      client.write(Buffer.from("x"));
      expect(await serverRecorder.closed.promise).toMatchObject({ message: "parser failed" });
      await clientRecorder.closed.promise;
      const [late] = await fixture.securePair();
      const lateRecorder = record(late);
      late.end();
      expect(late.write(Buffer.from("late"))).toBe(false);
      expect(await lateRecorder.closed.promise).toMatchObject({ code: "WRITE_AFTER_END" });
    });

    it("survives being destroyed at any moment, with writes, ends and reads in every state", async () => {
      const before = bufferPoolStats().bytesInUse;
      for (let round = 0; round < 60; round++) {
        const [client, server] = await fixture.securePair();
        const recorders = [record(client), record(server)];
        if (round % 2 === 0) server.resume();
        if (round % 3 === 0) client.resume();
        client.write(Buffer.alloc(1 + ((round * 90_001) % 3_000_000)));
        if (round % 5 === 0) server.write(Buffer.alloc(300_000));
        if (round % 4 === 0) client.end();
        for (let wait = 0; wait < round % 7; wait++) await turn();
        (round % 8 < 4 ? client : server).destroy();
        if (round % 9 === 0) (round % 8 < 4 ? server : client).destroy();
        client.resume();
        server.resume();
        if (round % 4 === 1) client.end();
        server.end();
        await Promise.all(recorders.map((recorder) => recorder.closed.promise));
        expect(recorders.map((recorder) => recorder.events.filter((event) => event === "close").length)).toEqual([
          1, 1,
        ]);
      }
      expect(bufferPoolStats().bytesInUse).toBe(before);
    }, 20_000);

    it("refuses a socket that a channel owns", async () => {
      const [client] = await fixture.socketPair();
      createSocketChannel(client);
      await expect(engines.client.connect(client, fixture.clientContext, { timeoutMs })).rejects.toMatchObject({
        code: "SOCKET_NOT_RAW",
      });
    });
  });
}

/** Listens for one connection and passes its bytes on in pieces, one a turn of the loop, both ways. Returns its port. */
async function cuttingRelay(fixture: TlsFixture, port: number, pieceBytes: number): Promise<number> {
  const relay = net.createServer({ allowHalfOpen: true }, (downstream) => {
    const upstream = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    downstream.setNoDelay();
    for (const socket of [downstream, upstream]) socket.on("error", () => undefined);
    void passInPieces(downstream, upstream, pieceBytes);
    void passInPieces(upstream, downstream, pieceBytes);
  });
  relay.listen(0, "127.0.0.1");
  await once(relay, "listening");
  fixture.onCleanUp(() => relay.close());
  return (relay.address() as net.AddressInfo).port;
}

async function passInPieces(from: net.Socket, to: net.Socket, pieceBytes: number): Promise<void> {
  for await (const chunk of from.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>)
    for (let start = 0; start < chunk.length; start += pieceBytes) {
      to.write(chunk.subarray(start, start + pieceBytes));
      await turn();
    }
  to.end();
}
