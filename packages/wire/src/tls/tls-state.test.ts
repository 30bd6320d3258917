// OpenSSL's own handling of cut records and ends, without sockets: what both channels rely on.
import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { liveOpensslObjects, OpensslContext, TlsState } from "@hairpin/native";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { materialOf } from "./test-certificates.ts";
import { clientLeaf, intermediate, root, serverLeaf } from "./test-support/tls-fixture.ts";

const clientContext = new OpensslContext(materialOf(clientLeaf, [root], [intermediate]));
const serverContext = new OpensslContext(materialOf(serverLeaf, [root]));
const open: TlsState[] = [];

afterEach(() => {
  for (const state of open.splice(0)) state.close();
});

afterAll(() => {
  clientContext.close();
  serverContext.close();
  expect(liveOpensslObjects()).toEqual({ contexts: 0, connections: 0, temporaries: 0 });
});

function outputOf(state: TlsState): Buffer {
  return Buffer.from(state.takeOutput() ?? []);
}

/** Cuts bytes into pieces of the given sizes, over and over. */
function* pieces(bytes: Buffer, sizes: readonly number[]): Generator<Buffer> {
  for (let from = 0, turn = 0; from < bytes.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1;
    yield bytes.subarray(from, from + size);
    from += size;
  }
}

/** Two connected states; every flight of the handshake came in such pieces. */
function connect(sizes: readonly number[] = [100_000]): [client: TlsState, server: TlsState] {
  const client = new TlsState(clientContext, "client");
  const server = new TlsState(serverContext, "server");
  open.push(client, server);
  client.handshake();
  const established = [];
  for (const [from, to] of [[client, server] as const, [server, client] as const, [client, server] as const]) {
    const flight = outputOf(from);
    const outcomes = [...pieces(flight, sizes)].map((piece) => to.handshake(piece));
    expect(outcomes.slice(0, -1).every((outcome) => !outcome)).toBe(true);
    established.push(outcomes.at(-1));
  }
  expect(established).toEqual([false, true, true]);
  return [client, server];
}

function encrypt(from: TlsState, plaintext: Uint8Array): Buffer {
  return Buffer.from(from.send(plaintext) ?? []);
}

describe("TlsState", () => {
  it.each([1, 2, 7, 50])("shakes hands over pieces of %i bytes", (size) => {
    const [client, server] = connect([size]);
    expect(client.readPeer().certificates.map((certificate) => Buffer.from(certificate))).toEqual([serverLeaf.der]);
    expect(server.readPeer().certificates.map((certificate) => Buffer.from(certificate))).toEqual([
      clientLeaf.der,
      intermediate.der,
    ]);
  });

  it("gives the same plaintext however the ciphertext is cut", () => {
    const message = fc.uint8Array({ minLength: 1, maxLength: 40_000 });
    const sizes = fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 6 });
    const [client, server] = connect();
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 4 }), sizes, (messages, cuts) => {
        const ciphertext = Buffer.concat(messages.map((bytes) => encrypt(client, bytes)));
        const received = [...pieces(ciphertext, cuts)].map((piece) => Buffer.from(server.receive(piece)));
        expect(Buffer.concat(received).equals(Buffer.concat(messages))).toBe(true);
        expect(server.failure).toBeUndefined();
      }),
      { numRuns: 100 },
    );
  });

  it("carries the largest write in one piece, and keeps two connections apart", () => {
    const [client, server] = connect();
    const [otherClient, otherServer] = connect();
    const bytes = randomBytes(256 * 1024);
    const ciphertext = encrypt(client, bytes);
    const middle = 20_000;
    const first = Buffer.from(server.receive(ciphertext.subarray(0, middle)));
    const other = Buffer.from(otherServer.receive(encrypt(otherClient, Buffer.from("other"))));
    const second = Buffer.from(server.receive(ciphertext.subarray(middle, 250_000)));
    const third = Buffer.from(server.receive(ciphertext.subarray(250_000)));
    expect(Buffer.concat([first, second, third]).equals(bytes)).toBe(true);
    expect(other.toString()).toBe("other");
    expect(() => client.send(Buffer.alloc(256 * 1024 + 1))).toThrow(RangeError);
  });

  it("tells what came behind the handshake in the same bytes", () => {
    const client = new TlsState(clientContext, "client");
    const server = new TlsState(serverContext, "server");
    open.push(client, server);
    client.handshake();
    server.handshake(outputOf(client));
    expect(client.handshake(outputOf(server))).toBe(true);
    const finished = outputOf(client);
    const early = encrypt(client, Buffer.from("early"));
    expect(server.handshake(Buffer.concat([finished, early]))).toBe(true);
    expect(server.takeUnread()).toBe(early.length);
    expect(Buffer.from(server.receive(early)).toString()).toBe("early");
  });

  it("ends each direction by itself, and ignores what comes after an end", () => {
    const [client, server] = connect();
    client.end();
    client.end();
    const closeNotify = outputOf(client);
    const afterwards = Buffer.concat([closeNotify, randomBytes(100)]);
    expect(server.receive(afterwards)).toHaveLength(0);
    expect(server.receive(randomBytes(100))).toHaveLength(0);
    expect([server.peerEnded, server.failure]).toEqual([true, undefined]);
    expect(Buffer.from(client.receive(encrypt(server, Buffer.from("still")))).toString()).toBe("still");
    expect(client.peerEnded).toBe(false);
  });

  it("keeps what is authentic before a broken record, and answers with an alert", () => {
    const [client, server] = connect();
    const good = encrypt(client, Buffer.from("good"));
    const bad = encrypt(client, Buffer.from("bad"));
    bad[10] = (bad[10] ?? 0) ^ 1;
    expect(Buffer.from(server.receive(Buffer.concat([good, bad]))).toString()).toBe("good");
    expect(server.failure).toMatchObject({ code: "OPENSSL_FAILED", message: expect.stringMatching(/mac/i) as unknown });
    client.receive(outputOf(server));
    expect(client.failure?.message).toMatch(/alert bad record mac/i);
  });

  it("refuses to be used after close", () => {
    const [client] = connect();
    client.close();
    client.close();
    expect(() => client.receive(Buffer.from([1]))).toThrow(expect.objectContaining({ code: "OPENSSL_CLOSED" }));
    expect(() => client.send(Buffer.from([1]))).toThrow(expect.objectContaining({ code: "OPENSSL_CLOSED" }));
  });
});
