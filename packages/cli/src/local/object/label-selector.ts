import type { LabelSelector } from "./kubernetes-object.ts";

type Labels = Readonly<Record<string, string>>;

/** A Service's selector: an empty one selects nothing. */
export function matchSelector(selector: Labels | undefined, labels: Labels | undefined): boolean {
  const wanted = Object.entries(selector ?? {});
  return wanted.length > 0 && wanted.every(([key, value]) => labels?.[key] === value);
}

/** A Deployment's selector. An empty one selects everything; an operator that Kubernetes does not have selects nothing. */
export function matchLabelSelector(selector: LabelSelector | undefined, labels: Labels | undefined): boolean {
  const wanted = Object.entries(selector?.matchLabels ?? {});
  if (!wanted.every(([key, value]) => labels?.[key] === value)) return false;
  return (selector?.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    const value = labels?.[key];
    switch (operator) {
      case "In":
        return value !== undefined && values.includes(value);
      case "NotIn":
        return value === undefined || !values.includes(value);
      case "Exists":
        return value !== undefined;
      case "DoesNotExist":
        return value === undefined;
      default:
        return false;
    }
  });
}
