import { applicationPortRange, type Arena } from "../arena/arena.ts";
import type { Host } from "../arena/network.ts";
import type { Program } from "../arena/program.ts";

/** The ends of a lane: a client's host, and a server's with its application. */
export interface LaneEnds {
  readonly lane: number;
  readonly client: Host;
  readonly server: Host;
  readonly application: Program;
}

export async function createEnds(arena: Arena): Promise<LaneEnds> {
  const lane = arena.nextLane();
  const client = await arena.host(lane, "client", 1);
  const server = await arena.host(lane, "server", 2);
  return { lane, client, server, application: await arena.application(server) };
}

/** The application's own address. */
export function directTarget({ server }: LaneEnds): { readonly ip: string; readonly ports: string } {
  return { ip: server.ip, ports: applicationPortRange };
}
