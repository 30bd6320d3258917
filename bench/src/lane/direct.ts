import { createEnds, directTarget } from "./application.ts";
import type { Lane } from "./lane.ts";

/** No proxy: what the load generator, the application and the kernel can do at most. */
export const directLane: Lane = {
  id: "direct",
  title: "direct, no proxy",
  kind: "tcp",
  async start(arena) {
    const ends = await createEnds(arena);
    return { client: ends.client, target: directTarget(ends), proxies: [], programs: [ends.application] };
  },
};
