// Structural schemas (OpenAPI v3 as a CRD takes it), a word at a time.

export interface Schema {
  readonly type: string;
  readonly description?: string;
  readonly [keyword: string]: unknown;
}

export function text(description: string, limits: { readonly [keyword: string]: unknown } = {}): Schema {
  return { type: "string", description, ...limits };
}

export function choice(description: string, ...values: readonly string[]): Schema {
  return { type: "string", description, enum: values };
}

export function integer(description: string, limits: { readonly [keyword: string]: unknown } = {}): Schema {
  return { type: "integer", description, ...limits };
}

export const portNumber = (description: string): Schema => integer(description, { minimum: 1, maximum: 65_535 });

export function list(description: string, items: Schema, limits: { readonly [keyword: string]: unknown } = {}): Schema {
  return { type: "array", description, items, ...limits };
}

/** Strings of at most 1 KiB: what a policy compares with. */
export function texts(description: string, limits: { readonly [keyword: string]: unknown } = {}): Schema {
  return list(description, { type: "string", maxLength: 1024 }, limits);
}

export function map(description: string, values: Schema, limits: { readonly [keyword: string]: unknown } = {}): Schema {
  return { type: "object", description, additionalProperties: values, ...limits };
}

export function fields(
  description: string,
  properties: Readonly<Record<string, Schema>>,
  limits: { readonly required?: readonly string[]; readonly rules?: readonly Rule[] } = {},
): Schema {
  const { required, rules } = limits;
  return {
    type: "object",
    description,
    properties,
    ...(required === undefined ? {} : { required }),
    ...(rules === undefined ? {} : { "x-kubernetes-validations": rules }),
  };
}

/** A CEL expression that must hold, and what is said when it does not: the words of the local mesh. */
export interface Rule {
  readonly rule: string;
  readonly message: string;
}

/** Labels of the workloads that an object is for. */
export const matchLabels: Schema = map(
  "A workload is selected when it has all of these labels. None: every workload of the namespace.",
  { type: "string", maxLength: 63 },
  { maxProperties: 4096 },
);

/** Who writes what, as the controllers of several meshes may: conditions are merged by their type. */
export const status: Schema = {
  type: "object",
  description: "What controllers say of the object.",
  "x-kubernetes-preserve-unknown-fields": true,
  properties: {
    conditions: {
      type: "array",
      description: "One of each type.",
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["type"],
      items: {
        type: "object",
        required: ["type", "status"],
        "x-kubernetes-preserve-unknown-fields": true,
        properties: { type: { type: "string" }, status: { type: "string" } },
      },
    },
  },
};
