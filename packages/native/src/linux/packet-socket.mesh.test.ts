import { createSocket } from "node:dgram";
import { once } from "node:events";
import { describe, expect, it, vi } from "vitest";
import { openPacketSocket } from "./packet-socket.ts";

describe("openPacketSocket", () => {
  it("sees the packets of an interface", async () => {
    const packets = openPacketSocket("lo");
    const sender = createSocket("udp4");
    try {
      sender.bind(0, "127.0.0.1");
      await once(sender, "listening");
      sender.send("a word that is on the wire", sender.address().port, "127.0.0.1");
      let seen = "";
      await vi.waitFor(() => {
        for (let packet = packets.read(); packet; packet = packets.read())
          seen += Buffer.from(packet).toString("latin1");
        expect(seen).toContain("a word that is on the wire");
      });
    } finally {
      sender.close();
      packets.close();
    }
  });

  it("says which interface there is not", () => {
    expect(() => openPacketSocket("nowhere0")).toThrow(expect.objectContaining({ code: "ENODEV" }));
  });
});
