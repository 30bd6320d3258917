import type { KubernetesObject } from "../collection/kubernetes-object.ts";

/** An object that could not be understood, for logs and conditions. */
export interface Problem {
  readonly object: KubernetesObject;
  readonly reason: string;
}

/**
 * Applies a builder to each object. One that throws (a field of the wrong type, say) costs only its own result and is
 * reported: objects come from users, and one mistake must not stop the mesh.
 */
export function buildEach<T extends KubernetesObject, Result>(
  objects: readonly T[],
  problems: Problem[],
  build: (object: T) => Result | undefined,
): Result[] {
  const results: Result[] = [];
  for (const object of objects) {
    try {
      const result = build(object);
      if (result !== undefined) results.push(result);
    } catch (error) {
      problems.push({ object, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  return results;
}
