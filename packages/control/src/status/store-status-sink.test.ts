import { mkdtemp, rm } from "node:fs/promises";
import { type Server, createServer } from "node:http";
import { text } from "node:stream/consumers";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { StatusWrite } from "./status-writer.ts";
import { createStoreStatusSink } from "./store-status-sink.ts";

const write: StatusWrite = {
  apiVersion: "v1",
  kind: "Service",
  namespace: "shop",
  name: "web",
  manager: "control",
  conditions: [],
};

describe("createStoreStatusSink", () => {
  let folder: string;
  let server: Server;
  let answer: number;
  let requests: { readonly route: string; readonly body: unknown }[];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "hairpin-sink-"));
    requests = [];
    answer = 200;
    server = createServer((request, response) => {
      void text(request).then((body) => {
        requests.push({ route: `${request.method} ${request.url}`, body: JSON.parse(body) });
        response.writeHead(answer).end("{}");
      });
    });
    await new Promise<void>((resolve) => server.listen(join(folder, "s.sock"), resolve));
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
    await rm(folder, { recursive: true });
  });

  test("posts the status to the store", async () => {
    await createStoreStatusSink(join(folder, "s.sock")).write(write);
    expect(requests).toEqual([{ route: "POST /v1/status", body: write }]);
  });

  test("takes an object that is gone for done, and any other failure for one to try again", async () => {
    const sink = createStoreStatusSink(join(folder, "s.sock"));
    answer = 404;
    await expect(sink.write(write)).resolves.toBeUndefined();
    answer = 500;
    await expect(sink.write(write)).rejects.toMatchObject({ code: "STORE_WRITE_FAILED" });
    await expect(createStoreStatusSink(join(folder, "none")).write(write)).rejects.toMatchObject({ code: "ENOENT" });
  });
});
