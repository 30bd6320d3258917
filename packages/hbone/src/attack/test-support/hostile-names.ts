// I2: subjectAltNames that are nobody's. Good is `spiffe://cluster.local/ns/good/sa/client` and nothing else in the certificate.
import { der, extension, subjectAltNameOid } from "@hairpin/wire/test-support/certificates";

const trustDomain = "cluster.local";
const good = "spiffe://cluster.local/ns/good/sa/client";

/** An extension with these GeneralNames. */
function names(...generalNames: readonly Uint8Array[]): Buffer {
  return extension(subjectAltNameOid, der(0x30, ...generalNames));
}
const uri = (text: string): Buffer => der(0x86, Buffer.from(text, "latin1"));
const dns = (text: string): Buffer => der(0x82, Buffer.from(text, "latin1"));
const email = (text: string): Buffer => der(0x81, Buffer.from(text, "latin1"));
const ip = (...bytes: readonly number[]): Buffer => der(0x87, bytes);
const directory = (text: string): Buffer =>
  der(0xa4, der(0x30, der(0x31, der(0x30, der(0x06, [0x55, 4, 3]), der(0x0c, Buffer.from(text))))));
const other = (text: string): Buffer =>
  der(0xa0, der(0x06, [0x2b, 6, 1, 4, 1]), der(0xa0, der(0x0c, Buffer.from(text))));

export interface NameCase {
  readonly name: string;
  /** Extensions of the leaf. */
  readonly extensions: readonly Uint8Array[];
}

function uriCases(texts: readonly string[]): NameCase[] {
  return texts.map((text) => {
    const shown = JSON.stringify(text);
    return {
      name: shown.length > 80 ? `${shown.slice(0, 60)}… (${text.length} bytes)` : shown,
      extensions: [names(uri(text))],
    };
  });
}
const path = (text: string): string => `spiffe://${trustDomain}${text}`;
const within = (text: string): string => `spiffe://${trustDomain}/ns/good/sa/cl${text}ient`;
const codes = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => String.fromCharCode(from + i));

/** By the reason with which a listener must refuse them. */
export const nameCases: Readonly<Record<string, readonly NameCase[]>> = {
  "no-name": [
    { name: "no extension", extensions: [] },
    { name: "an empty list", extensions: [names()] },
    { name: "a DNS name", extensions: [names(dns("client.good.svc.cluster.local"))] },
    { name: "a DNS name that looks like an id", extensions: [names(dns(good))] },
    { name: "a DNS name that prints like an id", extensions: [names(dns(`x, URI:${good}`))] },
    { name: "an e-mail address that looks like an id", extensions: [names(email(good))] },
    { name: "an address", extensions: [names(ip(10, 0, 0, 1))] },
    { name: "an address of odd length", extensions: [names(ip(10, 0, 0))] },
    { name: "a directory name that looks like an id", extensions: [names(directory(good))] },
    { name: "another name that looks like an id", extensions: [names(other(good))] },
    { name: "several DNS names", extensions: [names(dns("a"), dns("b"), dns(good))] },
    { name: "an id in another extension", extensions: [extension([0x55, 0x1d, 0x12], der(0x30, uri(good)))] },
  ],
  "several-names": [
    { name: "another id after it", extensions: [names(uri(good), uri("spiffe://cluster.local/ns/good/sa/server"))] },
    { name: "another id before it", extensions: [names(uri("spiffe://cluster.local/ns/good/sa/server"), uri(good))] },
    { name: "the same id twice", extensions: [names(uri(good), uri(good))] },
    { name: "an URL after it", extensions: [names(uri(good), uri("https://example.com"))] },
    { name: "an URL before it", extensions: [names(uri("https://example.com"), uri(good))] },
    { name: "an empty URI after it", extensions: [names(uri(good), uri(""))] },
    { name: "an empty URI before it", extensions: [names(uri(""), uri(good))] },
    {
      name: "an id of another trust domain",
      extensions: [names(uri(good), uri("spiffe://other.example/ns/good/sa/client"))],
    },
    { name: "DNS names in between", extensions: [names(uri(good), dns("a"), uri(good))] },
    { name: "a hundred ids", extensions: [names(...Array.from({ length: 100 }, (_, i) => uri(`${good}${i}`)))] },
  ],
  // OpenSSL finds these itself.
  handshake: [
    { name: "two extensions", extensions: [names(uri(good)), names(uri(good))] },
    { name: "a first extension without and a second with an id", extensions: [names(dns("a")), names(uri(good))] },
    { name: "no list", extensions: [extension(subjectAltNameOid, uri(good))] },
    { name: "a set instead of a list", extensions: [extension(subjectAltNameOid, der(0x31, uri(good)))] },
    { name: "a universal string instead of a name", extensions: [names(der(0x16, Buffer.from(good)))] },
    {
      name: "a name longer than its list",
      extensions: [extension(subjectAltNameOid, Buffer.concat([Buffer.of(0x30, 4), uri(good)]))],
    },
  ],
  malformed: [
    {
      name: "bytes after the list",
      extensions: [extension(subjectAltNameOid, Buffer.concat([der(0x30, uri(good)), Buffer.of(0)]))],
    },
    {
      name: "a constructed URI",
      extensions: [extension(subjectAltNameOid, der(0x30, der(0xa6, der(0x16, Buffer.from(good)))))],
    },
    {
      name: "a length that is not the shortest",
      extensions: [extension(subjectAltNameOid, Buffer.concat([Buffer.of(0x30, 0x81, good.length + 2), uri(good)]))],
    },
    {
      name: "an indefinite length",
      extensions: [extension(subjectAltNameOid, Buffer.concat([Buffer.of(0x30, 0x80), uri(good), Buffer.of(0, 0)]))],
    },
    { name: "17 KiB", extensions: [names(uri(path(`/ns/good/sa/${"a".repeat(17_000)}`)))] },
    ...[0x80, 0xa0, 0xc0, 0xe4, 0xff].flatMap((code) => uriCases([within(String.fromCharCode(code))])),
    ...uriCases([`spiffe://cluster.lo\u00e7al/ns/good/sa/client`, `spiffe://cluster.local/ns/go\u00f6d/sa/client`]),
  ],
  "bad-name": [
    ...uriCases([
      // Schemes.
      "",
      "spiffe",
      "spiffe:",
      "spiffe:/",
      "spiffe://",
      "spiffe:///",
      "SPIFFE://cluster.local/ns/good/sa/client",
      "Spiffe://cluster.local/ns/good/sa/client",
      "spiffE://cluster.local/ns/good/sa/client",
      "http://cluster.local/ns/good/sa/client",
      "https://cluster.local/ns/good/sa/client",
      "urn:spiffe://cluster.local/ns/good/sa/client",
      "cluster.local/ns/good/sa/client",
      "//cluster.local/ns/good/sa/client",
      "spiffe:cluster.local/ns/good/sa/client",
      "spiffe:/cluster.local/ns/good/sa/client",
      "spiffe:////cluster.local/ns/good/sa/client",
      "spiffe:\\\\cluster.local/ns/good/sa/client",
      ` ${good}`,
      `${good} `,
      `\t${good}`,
      `${good}\n`,
      `\0${good}`,
      `<${good}>`,
      `"${good}"`,
      `URI:${good}`,
      `${good},${good}`,
      `${good}, URI:${good}`,
      `${good} ${good}`,
      // Trust domains.
      "spiffe:///ns/good/sa/client",
      "spiffe://Cluster.local/ns/good/sa/client",
      "spiffe://CLUSTER.LOCAL/ns/good/sa/client",
      "spiffe://cluster.local:443/ns/good/sa/client",
      "spiffe://cluster.local:/ns/good/sa/client",
      "spiffe://:443/ns/good/sa/client",
      "spiffe://user@cluster.local/ns/good/sa/client",
      "spiffe://user:pass@cluster.local/ns/good/sa/client",
      "spiffe://@cluster.local/ns/good/sa/client",
      "spiffe://cluster.local./ns/good/sa/client",
      "spiffe://.cluster.local/ns/good/sa/client",
      "spiffe://-cluster.local/ns/good/sa/client",
      "spiffe://cluster.local-/ns/good/sa/client",
      "spiffe://_/ns/good/sa/client",
      "spiffe://cluster%2elocal/ns/good/sa/client",
      "spiffe://cluster.local%00/ns/good/sa/client",
      "spiffe://cluster.local%2f/ns/good/sa/client",
      "spiffe://cluster.local%40evil/ns/good/sa/client",
      "spiffe://[::1]/ns/good/sa/client",
      "spiffe://*/ns/good/sa/client",
      "spiffe://*.local/ns/good/sa/client",
      "spiffe://cluster.local?/ns/good/sa/client",
      "spiffe://cluster.local#/ns/good/sa/client",
      "spiffe://cluster.local\\/ns/good/sa/client",
      "spiffe://cluster.local;/ns/good/sa/client",
      "spiffe://cluster.local,evil/ns/good/sa/client",
      "spiffe://cluster.local evil/ns/good/sa/client",
      `spiffe://${"a".repeat(256)}/ns/good/sa/client`,
      // Paths.
      ...[
        "",
        "/",
        "/ns",
        "/ns/",
        "/ns/good",
        "/ns/good/",
        "/ns/good/sa",
        "/ns/good/sa/",
        "/ns//sa/client",
        "/ns/good/sa//",
        "//ns/good/sa/client",
        "/ns//good/sa/client",
        "/ns/good//sa/client",
        "/ns/good/sa//client",
        "/ns/good/sa/client/",
        "/ns/good/sa/client//",
        "/ns/good/sa/client/x",
        "/ns/good/sa/client/sa/server",
        "/x/ns/good/sa/client",
        "/sa/client/ns/good",
        "/sa/client",
        "/ns/good/client",
        "/good/client",
        "/ns/good/SA/client",
        "/NS/good/sa/client",
        "/Ns/good/Sa/client",
        "/ns/good/sb/client",
        "/nt/good/sa/client",
        "/ns/good/sa/client?",
        "/ns/good/sa/client?x=y",
        "/ns/good/sa/client#",
        "/ns/good/sa/client#x",
        "/ns/good/sa/client;x",
        "/ns/good/sa/./client",
        "/ns/./good/sa/client",
        "/ns/good/sa/../sa/client",
        "/ns/evil/../good/sa/client",
        "/../ns/good/sa/client",
        "/ns/../sa/client",
        "/ns/good/sa/..",
        "/ns/good/sa/.",
        "/ns/./sa/client",
        "/ns/good%2fsa/client",
        "/ns/good/sa%2fclient",
        "/ns/good%2Fsa%2Fclient",
        "/ns/good/sa/client%2f",
        "/ns/good/sa/client%2fx",
        "/ns/good/sa/%63lient",
        "/ns/%67ood/sa/client",
        "/ns/good/sa/client%00",
        "/ns/good/sa/client%0a",
        "/ns/good/sa/client%",
        "/ns/good/sa/client%2",
        "/ns/good/sa/%2e%2e/client",
        "/ns/good/sa/%252f",
        "\\ns\\good\\sa\\client",
        "/ns/good/sa/client\\",
        "/ns\\good/sa/client",
        "/ns/good/sa/*",
        "/ns/*/sa/client",
        "/ns/good/sa/cl*",
        "/*",
        "/ns/Good/sa/client",
        "/ns/good/sa/Client",
        "/ns/GOOD/sa/CLIENT",
        "/ns/-good/sa/client",
        "/ns/good-/sa/client",
        "/ns/good/sa/-client",
        "/ns/good/sa/client-",
        "/ns/good/sa/.client",
        "/ns/good/sa/client.",
        "/ns/good/sa/_client",
        "/ns/good/sa/client_",
        "/ns/good/sa/client@x",
        "/ns/good/sa/client:x",
        "/ns/good/sa/client,x",
        "/ns/good/sa/client+x",
        "/ns/good/sa/client=x",
        "/ns/good/sa/client&x",
        "/ns/good/sa/client!",
        "/ns/good/sa/client~",
        "/ns/good/sa/$client",
        "/ns/good/sa/(client)",
        "/ns/good/sa/client|x",
        "/ns/good/sa/client^",
        "/ns/good/sa/`client`",
        "/ns/good/sa/{client}",
        "/ns/good/sa/[client]",
        `/ns/good/sa/${"a".repeat(254)}`,
        `/ns/${"a".repeat(254)}/sa/client`,
        `/ns/good/sa/${"a".repeat(2048)}`,
        `/ns/good/sa/${"a".repeat(10_000)}`,
        `/ns/good/sa/client${"/x".repeat(500)}`,
      ].map(path),
      // Characters that end strings, lines or lists somewhere.
      ...codes(0, 32).map(within),
      within("\u007f"),
      `${good}\0.evil.example`,
      `spiffe://cluster.local\0.evil.example/ns/good/sa/client`,
      `spiffe://cluster.local/ns/good\0/sa/client`,
    ]),
    { name: "an id in UTF-16", extensions: [names(der(0x86, Buffer.from(good, "utf16le")))] },
  ],
  "trust-domain": uriCases(
    [
      "other.example",
      "cluster.locall",
      "cluster.loca",
      "luster.local",
      "cluster.local.evil.example",
      "evil.cluster.local",
      "cluster-local",
      "cluster_local",
      "clusterlocal",
      "local",
      "cluster",
      "cluster.local.local",
      "1.2.3.4",
      "localhost",
      "cluster..local",
      "c1uster.local",
      "a".repeat(255),
      "xn--clster-local",
    ].map((domain) => `spiffe://${domain}/ns/good/sa/client`),
  ),
};
