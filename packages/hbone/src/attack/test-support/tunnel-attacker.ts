import { connectHostileClient, eventually, type RawHttp2Peer } from "@hairpin/testkit";
import { headersFrame } from "@hairpin/wire/test-support/frames";
import { attacker, authority, type AttackBed } from "./bed.ts";
import { connectTo, END_HEADERS } from "./frame-attacks.ts";

/** A client of the bed's listener whose tunnel on stream 1 is open. */
export async function attack(
  bed: AttackBed,
  options: { readonly localAddress?: string; readonly identity?: string } = {},
): Promise<RawHttp2Peer> {
  const { identity, ...rest } = options;
  const material = authority.material(identity ?? attacker);
  const peer = await connectHostileClient(bed.address, material, rest);
  await openTunnel(peer, 1);
  return peer;
}

/** Opens a tunnel and waits for its 200: the session is alive. */
export async function openTunnel(peer: RawHttp2Peer, stream: number): Promise<void> {
  peer.send(headersFrame(stream, connectTo("10.0.0.1:80"), END_HEADERS));
  await eventually(() => {
    if (peer.heads.get(stream) !== "200") throw new Error(`stream ${stream} is not answered`);
  });
}
