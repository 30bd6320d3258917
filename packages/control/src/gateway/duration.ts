const unitMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };

/** Gateway API duration (GEP-2257: `1h2m3s4ms`, at most four parts). Throws `Error` naming the text. */
export function parseGatewayDuration(text: string): number {
  if (!/^(?:[0-9]{1,5}(?:h|ms|m|s)){1,4}$/.test(text))
    throw new Error(`duration ${JSON.stringify(text)} is not one such as 500ms or 1m30s`);
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/([0-9]+)(h|ms|m|s)/g))
    total += Number(amount) * (unitMs[unit ?? ""] ?? 0);
  return total;
}
