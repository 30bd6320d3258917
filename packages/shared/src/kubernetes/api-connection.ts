import type { OutgoingHttpHeaders } from "node:http";
import type { RequestOptions } from "node:https";

export interface ApiRequestOptions extends Omit<RequestOptions, "headers"> {
  readonly headers?: OutgoingHttpHeaders;
}

/** Where the API server is, and how to be let in. */
export interface ApiConnection {
  readonly server: URL;
  /** TLS material, authorisation and, behind a proxy, the agent for the next request. Files and tokens may change meanwhile. */
  requestOptions(): Promise<ApiRequestOptions>;
}
