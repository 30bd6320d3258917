import { http2PairLane, pipePairLane } from "./baseline-pair.ts";
import { directLane } from "./direct.ts";
import { engineLane, envoyLane, nginxLane } from "./http-proxies.ts";
import type { Lane } from "./lane.ts";
import { wholePathLane } from "./whole-path.ts";
import { hairpinPairLane, ztunnelPairLane } from "./ztunnel-pair.ts";

/** Every lane, in the order of the table. */
export const lanes: readonly Lane[] = [
  directLane,
  pipePairLane,
  http2PairLane,
  hairpinPairLane({ engine: "libssl" }),
  hairpinPairLane({ engine: "node-tls" }),
  ztunnelPairLane,
  engineLane(),
  nginxLane,
  envoyLane,
  wholePathLane({ engine: "libssl" }),
  wholePathLane({ engine: "node-tls" }),
];
