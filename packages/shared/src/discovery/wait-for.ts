import type { Clock } from "../process/index.ts";
import type { MeshLookup } from "./mesh-lookup.ts";

/** The first defined answer of `find`: now, or after some change of the mesh; undefined after the timeout. */
export async function waitFor<T>(
  state: Pick<MeshLookup, "onChange">,
  find: () => T | undefined,
  wait: { readonly clock: Clock; readonly timeoutMs: number },
): Promise<T | undefined> {
  const now = find();
  if (now !== undefined || wait.timeoutMs <= 0) return now;
  const { promise, resolve } = Promise.withResolvers<T | undefined>();
  const unsubscribe = state.onChange(() => {
    const found = find();
    if (found !== undefined) resolve(found);
  });
  const timer = wait.clock.setTimer(wait.timeoutMs, () => resolve(undefined));
  try {
    return await promise;
  } finally {
    timer.cancel();
    unsubscribe();
  }
}
