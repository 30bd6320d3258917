// Counts what passes an interface, run by the demo inside the mesh's namespace:
// `node count-packets.ts INTERFACE MILLISECONDS WORD...`. Prints one line when it has begun and one JSON object at the end.
import { openPacketSocket } from "@hairpin/native";

const hbonePort = 15_008;
const pollMs = 5;
const ethernetHeaderBytes = 14;

const [interfaceName = "", milliseconds = "0", ...words] = process.argv.slice(2);
const needles = words.map((word) => ({ word, bytes: Buffer.from(word), count: 0 }));
const socket = openPacketSocket(interfaceName);
let packets = 0;
let hbonePackets = 0;

/** IPv4 without options and TCP: all that the demo sends between its nodes. */
function isHbone(packet: Buffer): boolean {
  if (packet.length < ethernetHeaderBytes + 24 || packet.readUInt16BE(12) !== 0x0800) return false;
  const tcp = ethernetHeaderBytes + ((packet[ethernetHeaderBytes] ?? 0) & 0x0f) * 4;
  return packet.readUInt16BE(tcp) === hbonePort || packet.readUInt16BE(tcp + 2) === hbonePort;
}

function drain(): void {
  for (let read = socket.read(); read; read = socket.read()) {
    const packet = Buffer.from(read.buffer, read.byteOffset, read.byteLength);
    packets++;
    if (isHbone(packet)) hbonePackets++;
    for (const needle of needles) if (packet.includes(needle.bytes)) needle.count++;
  }
}

console.log("listening");
const timer = setInterval(drain, pollMs);
setTimeout(() => {
  clearInterval(timer);
  drain();
  socket.close();
  console.log(
    JSON.stringify({
      packets,
      hbonePackets,
      counts: Object.fromEntries(needles.map(({ word, count }) => [word, count])),
    }),
  );
}, Number(milliseconds));
