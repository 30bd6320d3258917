import type { FuzzTarget } from "./fuzz.ts";
import { derTarget } from "./target/der.ts";
import { hpackTarget } from "./target/hpack.ts";
import { http1Target } from "./target/http1.ts";
import { http2Target } from "./target/http2.ts";

export const fuzzTargets: readonly FuzzTarget[] = [
  http2Target("server"),
  http2Target("client"),
  hpackTarget,
  http1Target("request"),
  http1Target("response"),
  derTarget,
];
