type Labels = Readonly<Record<string, string>>;

/** A Service's selector: an empty one selects nothing. */
export function matchSelector(selector: Labels | undefined, labels: Labels | undefined): boolean {
  const wanted = Object.entries(selector ?? {});
  return wanted.length > 0 && wanted.every(([key, value]) => labels?.[key] === value);
}
