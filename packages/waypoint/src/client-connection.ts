import type { SocketAddress } from "@hairpin/shared/model";
import type { Source } from "./terminate/read-source.ts";

/** A client's connection: where it leads and on whose behalf it came. What that means is asked anew after every change. */
export interface ClientConnection {
  readonly address: SocketAddress;
  readonly source: Source;
}
