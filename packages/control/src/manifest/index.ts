export { checkReferences } from "./check-references.ts";
export { describeFault, formatProblem, type Problem } from "./problem.ts";
export {
  describeObject,
  parseManifest,
  readManifests,
  type ManifestObject,
  type ManifestSet,
} from "./read-manifests.ts";
export { validateObject, type Fault, type PlainObject } from "./validate-object.ts";
