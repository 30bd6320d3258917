// The Istio kinds that the mesh reads, as CustomResourceDefinitions. Field names and versions are Istio's, the text is ours. What a
// schema or a rule refuses here, validateObject refuses as well (crd.test.ts).

import {
  type Rule,
  type Schema,
  choice,
  fields,
  integer,
  list,
  map,
  matchLabels,
  portNumber,
  status,
  text,
  texts,
} from "./schema.ts";

interface Column {
  readonly name: string;
  readonly type: string;
  readonly jsonPath: string;
  readonly description: string;
}

interface KindText {
  readonly group: "security.istio.io" | "networking.istio.io";
  /** The first one is stored. */
  readonly versions: readonly string[];
  readonly kind: string;
  readonly plural: string;
  readonly shortName: string;
  readonly description: string;
  readonly columns: readonly Column[];
  readonly spec: Schema;
  readonly requiresSpec?: true;
}

const securityVersions = ["v1", "v1beta1"];
const networkingVersions = ["v1", "v1beta1", "v1alpha3"];

/** 1 to 65535 without leading zeros, as text. A pattern costs nothing where a CEL rule would be counted once for each port. */
const portPattern = "^([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$";

const ports = (description: string): Schema =>
  list(description, { type: "string", pattern: portPattern, maxLength: 5 });

const target: Schema = fields(
  "Who enforces it: a Gateway of class istio-waypoint, a GatewayClass (in the root namespace), a Service or a ServiceEntry.",
  {
    group: text("API group of the target; empty for a Service.", { maxLength: 253 }),
    kind: text("Kind of the target.", { minLength: 1, maxLength: 63 }),
    name: text("Name of the target.", { minLength: 1, maxLength: 253 }),
    namespace: text("Only its own namespace, which is the default.", { maxLength: 253 }),
  },
  { required: ["kind", "name"] },
);

const accounts = (description: string): Schema =>
  list(description, { type: "string", maxLength: 320 }, { maxItems: 16 });

const source: Schema = fields("All of these fields must match the caller.", {
  principals: texts("Identities: trust-domain/ns/namespace/sa/account; * at an end matches anything there."),
  notPrincipals: texts("None of these identities."),
  requestPrincipals: texts("Issuer and subject of the request's token. Waypoints only."),
  notRequestPrincipals: texts("None of these."),
  namespaces: texts("Namespaces of the caller."),
  notNamespaces: texts("None of these namespaces."),
  serviceAccounts: accounts("Service accounts: namespace/account, or account in the policy's namespace."),
  notServiceAccounts: accounts("None of these service accounts."),
  ipBlocks: texts("Addresses or prefixes of the caller's connection."),
  notIpBlocks: texts("None of these addresses."),
  remoteIpBlocks: texts("Addresses or prefixes of the caller before proxies. Waypoints only."),
  notRemoteIpBlocks: texts("None of these addresses."),
});

const operation: Schema = fields("All of these fields must match what is asked for. All but ports: waypoints only.", {
  hosts: texts("Host of the request, regardless of case."),
  notHosts: texts("None of these hosts."),
  ports: ports("Ports of the workload, as text."),
  notPorts: ports("None of these ports."),
  methods: texts("HTTP methods."),
  notMethods: texts("None of these methods."),
  paths: texts("Paths, without the query."),
  notPaths: texts("None of these paths."),
});

const authorizationPolicy: KindText = {
  group: "security.istio.io",
  versions: securityVersions,
  kind: "AuthorizationPolicy",
  plural: "authorizationpolicies",
  shortName: "ap",
  description: "Who may call the workloads of a namespace.",
  columns: [
    { name: "Action", type: "string", jsonPath: ".spec.action", description: "What happens to a call that matches." },
  ],
  spec: fields(
    "Without rules nothing matches: an ALLOW policy refuses every call then.",
    {
      action: choice("What happens to a call that matches. Default ALLOW.", "ALLOW", "DENY", "AUDIT", "CUSTOM"),
      provider: fields("Who decides, for action CUSTOM.", { name: text("Name of the provider.") }),
      selector: fields("Workloads that it is for.", { matchLabels }),
      targetRef: target,
      targetRefs: list("Who enforces it.", target, { maxItems: 16 }),
      rules: list(
        "One of them must match. An empty one matches every call.",
        fields("All of its parts must match.", {
          from: list("One of these callers.", fields("A caller.", { source }), { maxItems: 512 }),
          to: list("One of these operations.", fields("An operation.", { operation }), { maxItems: 512 }),
          when: list(
            "All of these conditions.",
            fields(
              "A condition.",
              {
                key: text("What is compared: source.ip, request.headers[name], …"),
                values: texts("One of these."),
                notValues: texts("None of these."),
              },
              { required: ["key"] },
            ),
          ),
        }),
        { maxItems: 512 },
      ),
    },
    {
      rules: [
        {
          rule: "!has(self.selector) || !(has(self.targetRef) || has(self.targetRefs))",
          message: "a policy has either a selector or targetRefs",
        },
      ],
    },
  ),
};

const mutualTls: Schema = fields("What of a connection is demanded.", {
  mode: choice(
    "STRICT takes only calls with identity, PERMISSIVE both. DISABLE does nothing in ambient mode; UNSET inherits.",
    "UNSET",
    "DISABLE",
    "PERMISSIVE",
    "STRICT",
  ),
});

const peerAuthentication: KindText = {
  group: "security.istio.io",
  versions: securityVersions,
  kind: "PeerAuthentication",
  plural: "peerauthentications",
  shortName: "pa",
  description: "Whether workloads take calls without identity.",
  columns: [
    { name: "Mode", type: "string", jsonPath: ".spec.mtls.mode", description: "What of a connection is demanded." },
  ],
  spec: fields(
    "For a namespace, or in the root namespace for the mesh; with a selector for some workloads.",
    {
      selector: fields("Workloads that it is for.", { matchLabels }),
      mtls: mutualTls,
      portLevelMtls: map("The same for single ports, by their number.", mutualTls, { maxProperties: 256 }),
    },
    {
      rules: [
        {
          rule: "!has(self.portLevelMtls) || (has(self.selector) && has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0)",
          message: "ports are of workloads: portLevelMtls needs a selector with matchLabels",
        },
      ],
    },
  ),
};

const workload: Readonly<Record<string, Schema>> = {
  address: text("IP address, or a host name where the resolution allows it.", { maxLength: 256 }),
  ports: map("Port numbers by the names of the service's ports.", portNumber("Port number."), { maxProperties: 128 }),
  labels: map("Labels, as of a pod.", { type: "string" }, { maxProperties: 256 }),
  network: text("Id of the network that it is in.", { maxLength: 2048 }),
  locality: text("region/zone/subzone.", { maxLength: 2048 }),
  weight: integer("Its share of the calls.", { minimum: 0, maximum: 4_294_967_295 }),
  serviceAccount: text("Service account that it runs as.", { maxLength: 253 }),
};

const workloadEntry: KindText = {
  group: "networking.istio.io",
  versions: networkingVersions,
  kind: "WorkloadEntry",
  plural: "workloadentries",
  shortName: "we",
  description: "A workload that is no pod.",
  columns: [{ name: "Address", type: "string", jsonPath: ".spec.address", description: "Where it is." }],
  spec: fields("Where it is and what it is.", workload),
  requiresSpec: true,
};

const serviceEntryRules: readonly Rule[] = [
  {
    rule: "!(has(self.workloadSelector) && has(self.endpoints) && self.endpoints.size() > 0)",
    message: "a ServiceEntry has either endpoints or a workloadSelector",
  },
];

const serviceEntry: KindText = {
  group: "networking.istio.io",
  versions: networkingVersions,
  kind: "ServiceEntry",
  plural: "serviceentries",
  shortName: "se",
  description: "A service that is no Kubernetes Service, inside the mesh or outside of it.",
  columns: [
    { name: "Hosts", type: "string", jsonPath: ".spec.hosts", description: "Host names." },
    { name: "Location", type: "string", jsonPath: ".spec.location", description: "Inside or outside of the mesh." },
    { name: "Resolution", type: "string", jsonPath: ".spec.resolution", description: "How its addresses are found." },
  ],
  spec: fields(
    "Its names, ports and endpoints.",
    {
      hosts: list("Host names.", { type: "string", minLength: 1, maxLength: 253 }, { minItems: 1, maxItems: 256 }),
      addresses: list("Virtual addresses.", { type: "string", maxLength: 64 }, { maxItems: 256 }),
      ports: list(
        "Ports.",
        fields(
          "A port.",
          {
            number: portNumber("Port number."),
            name: text("Its name.", { maxLength: 256 }),
            protocol: text("HTTP, HTTP2, GRPC, HTTPS, TLS or TCP.", { maxLength: 256 }),
            targetPort: portNumber("Port of the endpoints; the same when left out."),
          },
          { required: ["number", "name"] },
        ),
        { maxItems: 256 },
      ),
      location: choice("Whether its endpoints are part of the mesh.", "MESH_EXTERNAL", "MESH_INTERNAL"),
      resolution: choice("How endpoints are found.", "NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"),
      endpoints: list("Endpoints.", fields("An endpoint.", workload), { maxItems: 4096 }),
      workloadSelector: fields("Pods and WorkloadEntries that are its endpoints.", {
        labels: map("All of these labels.", { type: "string", maxLength: 63 }, { maxProperties: 256 }),
      }),
      exportTo: texts("Namespaces that see it: ., * or names."),
      subjectAltNames: texts("Identities that its endpoints may prove."),
    },
    { required: ["hosts"], rules: serviceEntryRules },
  ),
  requiresSpec: true,
};

const age: Column = {
  name: "Age",
  type: "date",
  jsonPath: ".metadata.creationTimestamp",
  description: "Since it was created.",
};

export interface CustomResourceDefinition {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly [field: string]: unknown };
  readonly spec: {
    readonly names: { readonly kind: string; readonly [field: string]: unknown };
    readonly versions: readonly { readonly schema: { readonly openAPIV3Schema: Schema } }[];
    readonly [field: string]: unknown;
  };
}

/** Kept when the chart is uninstalled: with the definition the cluster would delete the users' own policies. */
function build(kind: KindText): CustomResourceDefinition {
  const openAPIV3Schema: Schema = {
    type: "object",
    description: kind.description,
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { type: "object" },
      spec: kind.spec,
      status,
    },
    ...(kind.requiresSpec === true ? { required: ["spec"] } : {}),
  };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: `${kind.plural}.${kind.group}`,
      labels: { "app.kubernetes.io/part-of": "hairpin" },
      annotations: { "helm.sh/resource-policy": "keep" },
    },
    spec: {
      group: kind.group,
      scope: "Namespaced",
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural: kind.plural,
        singular: kind.kind.toLowerCase(),
        shortNames: [kind.shortName],
        categories: ["istio-io", kind.group.replaceAll(".", "-")],
      },
      versions: kind.versions.map((name, index) => ({
        name,
        served: true,
        storage: index === 0,
        additionalPrinterColumns: [...kind.columns, age],
        schema: { openAPIV3Schema },
        subresources: { status: {} },
      })),
    },
  };
}

export const definitions: readonly CustomResourceDefinition[] = [
  authorizationPolicy,
  peerAuthentication,
  serviceEntry,
  workloadEntry,
].map(build);
