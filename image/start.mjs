// The image's entry: its first argument says which part this container is.
const parts = ["control", "capture", "ztunnel", "waypoint", "cluster-check", "uninstall"];
const [part = "", ...rest] = process.argv.slice(2);
if (!parts.includes(part)) {
  console.error(`Unknown part ${JSON.stringify(part)}. Give one of: ${parts.join(", ")}`);
  process.exit(64);
}
process.argv.splice(2, 1, ...rest);
process.argv.length = 2 + rest.length;
await import(`./${part}.mjs`);
