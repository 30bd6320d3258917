// The bench itself, inside its namespaces (launch.ts).
import { errorMessage } from "@hairpin/shared/process";
import { runBench } from "./bench.ts";
import type { InsideOrder } from "./launch.ts";

const order = JSON.parse(process.argv[2] ?? "") as InsideOrder;
// As the first process of its namespace this one takes everything with it when it ends: that is the clean-up.
process.stdin.on("end", () => process.exit(130)).resume();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(130));

try {
  await runBench(order);
  process.exit(0);
} catch (error) {
  console.error(errorMessage(error));
  process.exit(1);
}
