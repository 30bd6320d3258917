// Puts the output of a demo run into README.md: `./hairpin demo > FILE; node scripts/update-readme.ts FILE`.
// Keeps what follows the table of pods, so that the figures in the README come from a real run.
import { readFileSync, writeFileSync } from "node:fs";

const [path = ""] = process.argv.slice(2);
const output = readFileSync(path, "utf8");
const from = output.search(/^(ok|DIFFERS) +1\. /m);
const to = output.indexOf("Everything has been removed");
if (from < 0 || to < 0) throw new Error(`${path} is no complete output of the demo`);
const shown = output.slice(from, output.indexOf("\n", to)).replaceAll(/ +$/gm, "");
const readme = readFileSync("README.md", "utf8");
const block = `<!-- demo:begin -->\n\n\`\`\`\n${shown}\n\`\`\`\n\n<!-- demo:end -->`;
writeFileSync(
  "README.md",
  readme.replace(/<!-- demo:begin -->[\s\S]*<!-- demo:end -->/, () => block),
);
