import { tokenRefused } from "./caller.ts";

/** The token of `authorization: Bearer …`. Throws `TOKEN_REFUSED` when there is none, or several. */
export function readBearer(authorization: readonly string[]): string {
  const [header, ...others] = authorization;
  const match = others.length > 0 ? undefined : /^Bearer ([A-Za-z0-9._~+/=-]+)$/i.exec(header ?? "");
  const token = match?.[1];
  if (token === undefined) throw tokenRefused("one header authorization: Bearer <token> is needed");
  return token;
}
