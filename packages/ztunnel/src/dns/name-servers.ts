import { type IpAddress, tryParseIp } from "@hairpin/shared/model";

/** As glibc's MAXNS: further ones are not asked. */
const maxNameServers = 3;

/** The name servers of a resolv.conf, in order. What is no address is passed over, as resolvers do (a zone id means nothing in a pod). */
export function parseNameServers(resolvConf: string): readonly IpAddress[] {
  const addresses = resolvConf.split("\n").flatMap((line) => {
    const [keyword, value = ""] = line.trim().split(/\s+/);
    const ip = keyword === "nameserver" ? tryParseIp(value) : undefined;
    return ip === undefined ? [] : [ip];
  });
  return [...new Set(addresses)].slice(0, maxNameServers);
}
