import { createNodeTlsEngine } from "./node-tls.ts";
import { describeSecureChannel } from "./test-support/channel-suite.ts";
import { describeHandshake } from "./test-support/handshake-suite.ts";
import { describePacing } from "./test-support/pacing-suite.ts";

const engine = createNodeTlsEngine();
describeHandshake("node-tls", { client: engine, server: engine });
describeSecureChannel("node-tls", { client: engine, server: engine });
describePacing(createNodeTlsEngine);
