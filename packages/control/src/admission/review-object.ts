// An AdmissionReview in, the same with an answer out. Pure, and never throws: whatever comes gets an answer or is no review.

import { waypointClassName } from "../ambient/waypoint/waypoint-record.ts";
import type { Snapshot } from "../collection/snapshot.ts";
import { describeFault, validateObject } from "../manifest/index.ts";

const reviewVersion = "admission.k8s.io/v1";
/** An answer is stored nowhere, but people read it. */
const maxMessageLength = 8192;

type PlainMap = Readonly<Record<string, unknown>>;

export interface AdmissionAnswer {
  readonly apiVersion: typeof reviewVersion;
  readonly kind: "AdmissionReview";
  readonly response: {
    readonly uid: string;
    readonly allowed: boolean;
    readonly status?: { readonly code: number; readonly reason: string; readonly message: string };
  };
}

/**
 * Decides on the object of a review as the local mesh decides on a manifest, with the same words. What is being deleted, and what
 * concerns other meshes and gateways, is allowed. Throws `Error` that says what is wrong when this is no AdmissionReview.
 */
export function answerReview(review: unknown, snapshot: Snapshot): AdmissionAnswer {
  if (!isMap(review) || review["kind"] !== "AdmissionReview") throw new Error("this is not an AdmissionReview");
  if (review["apiVersion"] !== reviewVersion)
    throw new Error(`${JSON.stringify(review["apiVersion"])} is not understood; send ${reviewVersion}`);
  const request = review["request"];
  const uid = isMap(request) ? request["uid"] : undefined;
  if (!isMap(request) || typeof uid !== "string" || uid === "") throw new Error("the review has no request with a uid");
  const message = decide(request, snapshot);
  return {
    apiVersion: reviewVersion,
    kind: "AdmissionReview",
    response: {
      uid,
      allowed: message === undefined,
      ...(message === undefined
        ? {}
        : { status: { code: 422, reason: "Invalid", message: message.slice(0, maxMessageLength) } }),
    },
  };
}

/** Undefined: allowed. */
function decide(request: PlainMap, snapshot: Snapshot): string | undefined {
  const { operation, object } = request;
  if (operation !== "CREATE" && operation !== "UPDATE") return undefined;
  const named = withName(object, request["name"]);
  if (isMap(named) && isBeingDeleted(named)) return undefined;
  if (isMap(named) && !isOurs(named, request["namespace"], snapshot)) return undefined;
  const faults = validateObject(named);
  return faults.length === 0 ? undefined : faults.map(describeFault).join("; ");
}

/** Only finalizers go: refusing it would keep a bad object for ever. */
function isBeingDeleted(object: PlainMap): boolean {
  const { metadata } = object;
  return isMap(metadata) && metadata["deletionTimestamp"] !== undefined;
}

/** The name of an object that is made by `generateName` may be known to the request alone. */
function withName(object: unknown, name: unknown): unknown {
  if (!isMap(object) || !isMap(object["metadata"])) return object;
  const { metadata } = object;
  if ("name" in metadata || typeof metadata["generateName"] !== "string") return object;
  const known = typeof name === "string" && name !== "" ? name : `${metadata["generateName"]}x`;
  return { ...object, metadata: { ...metadata, name: known } };
}

/** Gateways and routes of other controllers may have fields that we do not know; they are theirs to judge. */
function isOurs(object: PlainMap, namespace: unknown, snapshot: Snapshot): boolean {
  const spec = isMap(object["spec"]) ? object["spec"] : {};
  switch (object["kind"]) {
    case "Gateway":
      return spec["gatewayClassName"] === waypointClassName;
    case "HTTPRoute":
    case "GRPCRoute":
    case "TCPRoute":
      return listOf(spec["parentRefs"]).some((parent) => isMeshParent(parent, namespace, snapshot));
    default:
      return true;
  }
}

/** Gateway API: a parent without a kind is a Gateway, without a namespace it is in the route's. */
function isMeshParent(parent: unknown, namespace: unknown, snapshot: Snapshot): boolean {
  if (!isMap(parent)) return false;
  const kind = parent["kind"] ?? "Gateway";
  if (kind !== "Gateway") return kind === "Service" || kind === "ServiceEntry";
  const gateway = snapshot.find("Gateway", String(parent["namespace"] ?? namespace), String(parent["name"]));
  return gateway?.spec?.gatewayClassName === waypointClassName;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function isMap(value: unknown): value is PlainMap {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
