// Two proxies as one would write them in an afternoon: what our design is worth is measured against these.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TestAuthority } from "@hairpin/testkit";
import { applicationPortRange, type Arena } from "../arena/arena.ts";
import { redirectPorts } from "../arena/network.ts";
import { createEnds, directTarget } from "./application.ts";
import type { Lane, RunningLane } from "./lane.ts";

const baseline = new URL("../../baseline/", import.meta.url).pathname;
/** Where the source proxy gets its captured connections. */
const outboundPort = "15001";

export const pipePairLane: Lane = {
  id: "pipe",
  title: "two node:net pipe() relays, no TLS",
  kind: "tcp",
  start: async (arena) =>
    await startPair(arena, "pipe", (server) => ({
      source: ["pipe-source.ts", outboundPort, server],
      destination: ["pipe-destination.ts", applicationPortRange],
    })),
};

export const http2PairLane: Lane = {
  id: "naive",
  title: "naive HBONE pair: node:http2 over node:tls",
  kind: "tcp",
  async start(arena) {
    const authority = new TestAuthority();
    const folder = join(arena.directory, "naive");
    await mkdir(folder, { mode: 0o700 });
    const files = async (name: string): Promise<readonly string[]> => {
      const { chainPem, privateKeyPem } = authority.issue(`naive/${name}`);
      const paths = ["key", "cert", "root"].map((part) => join(folder, `${name}-${part}.pem`));
      const contents = [privateKeyPem, chainPem, authority.rootPem];
      for (const [index, path] of paths.entries()) await writeFile(path, contents[index] ?? "", { mode: 0o600 });
      return paths;
    };
    const source = await files("source");
    const destination = await files("destination");
    return await startPair(arena, "naive", (server) => ({
      source: ["http2-source.ts", outboundPort, server, ...source],
      destination: ["http2-destination.ts", "15008", ...destination],
    }));
  },
};

interface Pair {
  readonly source: readonly string[];
  readonly destination: readonly string[];
}

async function startPair(arena: Arena, id: string, commands: (serverIp: string) => Pair): Promise<RunningLane> {
  const ends = await createEnds(arena);
  const { client, server, application } = ends;
  const { source, destination } = commands(server.ip);
  const script = ([file = "", ...words]: readonly string[]): readonly string[] => [
    process.execPath,
    baseline + file,
    ...words,
  ];
  const proxies = [
    arena.start({ name: `${id} destination`, host: server, command: script(destination) }),
    arena.start({ name: `${id} source`, host: client, command: script(source) }),
  ];
  await redirectPorts(client, applicationPortRange, Number(outboundPort));
  return { client, target: directTarget(ends), proxies, programs: [application, ...proxies] };
}
