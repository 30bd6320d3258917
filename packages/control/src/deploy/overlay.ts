import { parse } from "yaml";

/** What an overlay ConfigMap may change, by its keys: Istio's. */
const overlayKinds = {
  deployment: "Deployment",
  service: "Service",
  serviceAccount: "ServiceAccount",
  horizontalPodAutoscaler: "HorizontalPodAutoscaler",
  podDisruptionBudget: "PodDisruptionBudget",
} as const;

type OverlayKind = (typeof overlayKinds)[keyof typeof overlayKinds];

/** Strategic merge patches by kind, from one ConfigMap. */
export interface Overlay {
  /** `ConfigMap shop/params`, for messages. */
  readonly origin: string;
  readonly patches: ReadonlyMap<OverlayKind, unknown>;
}

interface OverlayConfigMap {
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly data?: Readonly<Record<string, string>>;
}

/** A ConfigMap's patches. Throws `Error` that names the ConfigMap and the key when a key is unknown or its text is no YAML mapping. */
export function parseOverlay({ metadata, data }: OverlayConfigMap): Overlay {
  const origin = `ConfigMap ${metadata.namespace ?? ""}/${metadata.name}`;
  const patches = new Map<OverlayKind, unknown>();
  for (const [key, text] of Object.entries(data ?? {})) {
    if (!Object.hasOwn(overlayKinds, key))
      throw new Error(`${origin}: unknown key ${key}; known: ${Object.keys(overlayKinds).join(", ")}`);
    const patch = parsePatch(text, `${origin}: key ${key}`);
    // An empty patch still asks for the object: that is how an autoscaler with our defaults is had.
    patches.set(overlayKinds[key as keyof typeof overlayKinds], patch ?? {});
  }
  return { origin, patches };
}

function parsePatch(text: string, where: string): unknown {
  let patch: unknown;
  try {
    patch = parse(text, { maxAliasCount: 100 });
  } catch (error) {
    throw new Error(`${where} is not YAML: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`, {
      cause: error,
    });
  }
  if (patch !== null && (typeof patch !== "object" || Array.isArray(patch)))
    throw new Error(`${where} is not a mapping`);
  return patch;
}
