// `pnpm bench`: starts the bench inside namespaces of its own, so that nothing of it is left, however it ends.
import { errorMessage } from "@hairpin/shared/process";
import { launchInside } from "./launch.ts";
import { select } from "./selection.ts";
import { parseOptions, usage, UsageError } from "./options.ts";

try {
  const options = parseOptions(process.argv.slice(2), process.env);
  if (options === undefined) console.log(usage);
  else {
    select(options.only);
    process.exitCode = await launchInside(options);
  }
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\n\n${usage}` : errorMessage(error));
  process.exitCode = error instanceof UsageError ? 64 : 1;
}
