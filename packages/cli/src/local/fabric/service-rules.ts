// kube-proxy's role: Service addresses to ready endpoints, as nftables text for one node. Pure.

export interface ServicePortRule {
  readonly vip: string;
  readonly protocol: "tcp" | "udp";
  readonly port: number;
  readonly backends: readonly { readonly ip: string; readonly port: number }[];
}

export interface ServiceRulesInput {
  readonly rules: readonly ServicePortRule[];
  /** Packets that still go there after translation have no endpoint: refused at once. */
  readonly serviceRanges: readonly string[];
}

const tableName = "hairpin-services";

/**
 * One transaction that replaces the whole table: a random ready endpoint per connection, for pods (prerouting) and for the
 * node itself (output). An endpoint that calls itself through its Service is masqueraded, or its answer would not come back.
 */
export function serviceRules(input: ServiceRulesInput): string {
  const served = input.rules.filter((rule) => rule.backends.length > 0);
  const translations = served.map((rule) => `    ${translation(rule)}`);
  const loops = [...new Set(served.flatMap((rule) => rule.backends.map((backend) => backend.ip)))];
  return [
    `table inet ${tableName}`,
    `delete table inet ${tableName}`,
    `table inet ${tableName} {`,
    "  chain translate {",
    ...translations,
    "  }",
    "  chain prerouting {",
    "    type nat hook prerouting priority -100; policy accept;",
    "    jump translate",
    "  }",
    "  chain output {",
    "    type nat hook output priority -100; policy accept;",
    "    jump translate",
    "  }",
    "  chain postrouting {",
    "    type nat hook postrouting priority 100; policy accept;",
    ...loops.map((ip) => `    ${familyWord(ip)} saddr ${ip} ${familyWord(ip)} daddr ${ip} ct status dnat masquerade`),
    "  }",
    "  chain refuse {",
    ...input.serviceRanges.flatMap((range) => [
      `    ${familyWord(range)} daddr ${range} meta l4proto tcp reject with tcp reset`,
      `    ${familyWord(range)} daddr ${range} reject`,
    ]),
    "  }",
    "  chain forward-refuse {",
    "    type filter hook forward priority filter; policy accept;",
    "    jump refuse",
    "  }",
    "  chain output-refuse {",
    "    type filter hook output priority filter; policy accept;",
    "    jump refuse",
    "  }",
    "}",
    "",
  ].join("\n");
}

function translation({ vip, protocol, port, backends }: ServicePortRule): string {
  const family = familyWord(vip);
  const match = `${family} daddr ${vip} ${protocol} dport ${port}`;
  const targets = backends.map((backend, index) => `${index} : ${backend.ip} . ${backend.port}`);
  const only = backends[0];
  if (backends.length === 1 && only !== undefined) {
    const target = only.ip.includes(":") ? `[${only.ip}]:${only.port}` : `${only.ip}:${only.port}`;
    return `${match} dnat ${family} to ${target}`;
  }
  return `${match} dnat ${family} to numgen random mod ${backends.length} map { ${targets.join(", ")} }`;
}

function familyWord(ip: string): "ip" | "ip6" {
  return ip.includes(":") ? "ip6" : "ip";
}
