// Makes a CycloneDX file the same for the same packages: `node stable-sbom.mjs FILE`. Its random number goes, its time is
// SOURCE_DATE_EPOCH's, and its components are sorted. Who depends on whom goes too: pnpm 12.21 loses other edges every time.
import { readFileSync, writeFileSync } from "node:fs";

const file = process.argv[2];
const sbom = JSON.parse(readFileSync(file, "utf8"));
delete sbom.serialNumber;
sbom.metadata.timestamp = new Date(Number(process.env.SOURCE_DATE_EPOCH ?? 0) * 1000).toISOString();
const byText = (a, b) => (a < b ? -1 : Number(a > b));
sbom.components.sort((a, b) => byText(a["bom-ref"], b["bom-ref"]));
delete sbom.dependencies;
writeFileSync(file, `${JSON.stringify(sbom, undefined, 2)}\n`);
