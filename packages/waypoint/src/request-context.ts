import type { Workload } from "@hairpin/shared/model";
import type { Filter } from "./filter/filter.ts";
import type { UpstreamVersion } from "./forward/http-upstreams.ts";
import type { Endpoint } from "./forward/connect-endpoint.ts";
import type { LocalResponse } from "./error-response.ts";
import type { RequestHead } from "./request-head.ts";
import type { Source } from "./terminate/read-source.ts";
import type { Target } from "./terminate/resolve-target.ts";

/** A target that this waypoint manages. */
export type ManagedTarget = Exclude<Target, { readonly kind: "refused" }>;

/** One request or byte connection: where it leads, by the configuration of its beginning, and on whose behalf it came. */
export interface TunnelContext {
  readonly target: ManagedTarget;
  readonly source: Source;
}

/** What a request turned out to be: the value that the phases make and that is carried out, logged and explained. */
export type RequestPlan =
  | {
      readonly kind: "respond";
      readonly response: LocalResponse;
      readonly route: string | undefined;
      /** The policy that refused it. */
      readonly policy: string | undefined;
      readonly rule: number | undefined;
      readonly destination: Workload | undefined;
    }
  | {
      readonly kind: "forward";
      /** As it goes upstream. */
      readonly head: RequestHead;
      readonly route: string | undefined;
      readonly responseFilters: readonly Filter[];
      readonly version: UpstreamVersion;
      /** Milliseconds; 0: none. For the whole exchange, and for one attempt. */
      readonly requestTimeoutMs: number;
      readonly attemptTimeoutMs: number;
      /** Draws an endpoint; a refusal when there is none, or its L4 policies refuse the caller. `except`: tried before. */
      chooseEndpoint(except: ReadonlySet<string>): EndpointDraw;
    };

export type EndpointDraw =
  | { readonly kind: "endpoint"; readonly endpoint: Endpoint }
  | {
      readonly kind: "respond";
      readonly response: LocalResponse;
      readonly policy: string | undefined;
      readonly rule: number | undefined;
    };
