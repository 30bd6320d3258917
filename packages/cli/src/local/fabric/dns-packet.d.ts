// The part of dns-packet that cluster DNS uses; the package brings no types.
declare module "dns-packet" {
  interface Question {
    readonly name: string;
    readonly type: string;
    readonly class?: string;
  }
  interface StringAnswer {
    readonly name: string;
    readonly type: "A" | "AAAA";
    readonly ttl: number;
    readonly data: string;
  }
  interface Packet {
    readonly type?: "query" | "response";
    readonly id?: number;
    readonly flags?: number;
    readonly questions?: readonly Question[];
    readonly answers?: readonly StringAnswer[];
  }
  const AUTHORITATIVE_ANSWER: number;
  function decode(message: Uint8Array): Packet;
  function encode(packet: Packet): Buffer;
}
