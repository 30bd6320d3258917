import type { HeaderField, HeaderList } from "@hairpin/wire";
import type { RequestHead } from "../request-head.ts";

/** What filters know of a request beside its head. */
export interface FilterContext {
  /** The prefix that the rule's match consumed, when it was a prefix. */
  readonly pathPrefix: string | undefined;
  /** The service port that the client dialled. */
  readonly port: number;
}

/** What a filter makes of a request: it goes on, changed perhaps, or is answered here. */
export type FilterResult =
  | { readonly kind: "continue"; readonly head: RequestHead }
  | {
      readonly kind: "respond";
      readonly status: number;
      readonly headers: readonly HeaderField[];
      readonly body: string;
      readonly reason: string;
    };

/** One filter of a rule or backend, compiled. Filters run in the order of filter/order.ts. */
export interface Filter {
  onRequest?(head: RequestHead, context: FilterContext): FilterResult;
  /** Changes the fields of the response on its way to the client. */
  onResponse?(headers: HeaderList): HeaderList;
}
