// A hand-made HBONE client: reads {address, material, expected, connects} from stdin, opens one session and one tunnel per
// entry, sends an HTTP/1.1 request through each, and prints what came of it.
import { text } from "node:stream/consumers";
import type { Duplex } from "node:stream";
import { connectHbone, HboneError } from "@hairpin/hbone";
import { parseSpiffeId } from "@hairpin/shared/model";

interface Connect {
  readonly authority: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  /** Of the request inside the tunnel. Default GET. */
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
}

interface Order {
  readonly address: { readonly ip: string; readonly port: number };
  readonly material: {
    readonly certificateChain: string;
    readonly privateKey: string;
    readonly roots: readonly string[];
  };
  readonly expected: readonly string[];
  readonly connects: readonly Connect[];
}

const order = JSON.parse(await text(process.stdin)) as Order;

function failure(error: unknown): object {
  if (!(error instanceof HboneError)) return { error: String(error) };
  return { error: error.code, status: error.details?.["status"], message: error.message };
}

async function exchange(
  tunnel: Duplex,
  { method = "GET", path = "/", host = "e2e", authority }: Connect,
): Promise<string> {
  tunnel.write(
    `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\nx-authority: ${authority}\r\ncontent-length: 0\r\n\r\n`,
  );
  return await text(tunnel);
}

async function run(): Promise<object[]> {
  const { address, material, expected, connects } = order;
  const client = await connectHbone({
    address,
    material,
    expectedIdentities: expected.map(parseSpiffeId),
    timeoutMs: 5000,
  });
  const results: object[] = [];
  for (const connect of connects) {
    try {
      const tunnel = await client.openTunnel(connect.authority, connect.headers);
      const answer = await exchange(tunnel, connect).catch((error: unknown) => `error ${String(error)}`);
      const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0);
      results.push({ tunnel: 200, status, answer });
    } catch (error) {
      results.push(failure(error));
    }
  }
  client.close();
  return results;
}

const told = await run().then(
  (results) => ({ results }),
  (error: unknown) => ({ session: failure(error) }),
);
// A page of metrics is longer than a pipe takes at once.
process.stdout.write(`${JSON.stringify(told)}\n`, () => process.exit(0));
