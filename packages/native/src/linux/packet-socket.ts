import { closeSync, readSync } from "node:fs";
import koffi from "koffi";
import { allocate } from "../memory.ts";
import { AF_PACKET, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_RAW } from "./constants.ts";
import { check, hasCode, SystemError } from "./errno.ts";
import { libc } from "./libc.ts";

/** <linux/if_ether.h>: every protocol. In network byte order, as socket(2) and sockaddr_ll want it. */
const ETH_P_ALL_BIG_ENDIAN = 0x0300;
/** struct sockaddr_ll. */
const addressBytes = 20;
/** <linux/if_packet.h>: see also what is not addressed to this host, such as what a bridge passes on. */
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_MR_PROMISC = 1;
/** struct packet_mreq. */
const membershipBytes = 16;
/** Segmentation offload hands over packets longer than the link's. */
const maxPacketBytes = 128 * 1024;

/** Sees all packets that pass an interface of the calling thread's network namespace. */
export interface PacketSocket {
  /** The next packet from its Ethernet header on, or undefined when none is waiting. Borrowed until the next call. */
  read(): Uint8Array | undefined;
  close(): void;
}

/** Opens a packet socket (packet(7)). Needs CAP_NET_RAW. Throws {@link SystemError} `EPERM`, or `ENODEV` for an unknown interface. */
export function openPacketSocket(interfaceName: string): PacketSocket {
  const index = libc.if_nametoindex(interfaceName);
  if (index === 0) throw new SystemError("if_nametoindex", koffi.errno(), interfaceName);
  const fd = check(libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, ETH_P_ALL_BIG_ENDIAN), "socket");
  try {
    const address = allocate(addressBytes);
    const view = new DataView(address.buffer, address.byteOffset, addressBytes);
    view.setUint16(0, AF_PACKET, true);
    view.setUint16(2, ETH_P_ALL_BIG_ENDIAN, true);
    view.setInt32(4, index, true);
    check(libc.bind(fd, address, addressBytes), "bind", interfaceName);
    const membership = allocate(membershipBytes);
    const fields = new DataView(membership.buffer);
    fields.setInt32(0, index, true);
    fields.setUint16(4, PACKET_MR_PROMISC, true);
    check(libc.setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership, membershipBytes), "setsockopt");
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  const packet = Buffer.alloc(maxPacketBytes);
  return {
    read() {
      try {
        return packet.subarray(0, readSync(fd, packet));
      } catch (error) {
        if (hasCode(error, "EAGAIN")) return undefined;
        throw error;
      }
    },
    close: () => closeSync(fd),
  };
}
