import { describe, expect, it } from "vitest";
import { chainPlugin, type ConfChange, type ConfFile, unchainPlugin } from "./conf-file.ts";

const entry = { agentSocket: "/run/cni.sock" };
const ours = { ...entry, type: "hairpin-cni" };
const ptp = { type: "ptp", mtu: 1500 };
const portmap = { type: "portmap", capabilities: { portMappings: true } };

function list(name: string, plugins: readonly object[], more: object = {}): ConfFile {
  return { name, text: JSON.stringify({ cniVersion: "1.0.0", name: "pods", ...more, plugins }) };
}

/** The folder after the change. */
function after(files: readonly ConfFile[], { write, remove }: ConfChange): Record<string, unknown> {
  const texts = new Map([...files, ...write].map(({ name, text }) => [name, text]));
  for (const name of remove) texts.delete(name);
  return Object.fromEntries([...texts].map(([name, text]) => [name, parsed(text)]));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const pluginsOf = (folder: Record<string, unknown>, name: string): unknown =>
  (folder[name] as { readonly plugins: unknown }).plugins;

describe("chainPlugin", () => {
  it("comes last in the first list by name, and keeps what else is there", () => {
    const files = [list("20-other.conflist", [ptp]), list("10-pods.conflist", [ptp, portmap], { disableCheck: true })];
    const change = chainPlugin(files, entry);
    expect(change.chainedIn).toBe("10-pods.conflist");
    expect(after(files, change)["10-pods.conflist"]).toEqual({
      cniVersion: "1.0.0",
      name: "pods",
      disableCheck: true,
      plugins: [ptp, portmap, ours],
    });
    expect(change.write).toHaveLength(1);
  });

  it("changes nothing when it is there already", () => {
    const files = [list("10-pods.conflist", [ptp, ours])];
    expect(chainPlugin(files, entry)).toEqual({ write: [], remove: [], chainedIn: "10-pods.conflist", ignored: [] });
  });

  it("renews its settings, and is there once", () => {
    const files = [list("10-pods.conflist", [{ type: "hairpin-cni", agentSocket: "/old" }, ptp, ours])];
    expect(pluginsOf(after(files, chainPlugin(files, entry)), "10-pods.conflist")).toEqual([ptp, ours]);
  });

  it("moves to a configuration that comes before the one it was in", () => {
    const files = [list("05-cilium.conflist", [{ type: "cilium-cni" }]), list("10-pods.conflist", [ptp, ours])];
    const folder = after(files, chainPlugin(files, entry));
    expect(pluginsOf(folder, "05-cilium.conflist")).toEqual([{ type: "cilium-cni" }, ours]);
    expect(pluginsOf(folder, "10-pods.conflist")).toEqual([ptp]);
  });

  it("makes a list of a single plugin, and keeps the original for the way back", () => {
    const single = { cniVersion: "0.3.1", name: "bridge", type: "bridge", ipam: { type: "host-local" } };
    const files = [{ name: "10-bridge.conf", text: JSON.stringify(single) }];
    const folder = after(files, chainPlugin(files, entry));
    expect(Object.keys(folder).toSorted()).toEqual(["10-bridge.conf.hairpin-saved", "10-bridge.conflist"]);
    expect(folder["10-bridge.conflist"]).toEqual({ cniVersion: "0.3.1", name: "bridge", plugins: [single, ours] });
  });

  it.each([
    ["no JSON", "{"],
    ["an empty file", ""],
    ["an array", "[]"],
    ["no plugins", '{"name":"x","plugins":[]}'],
    ["plugins that are none", '{"name":"x","plugins":["ptp"]}'],
    ["only itself", JSON.stringify({ name: "x", plugins: [ours] })],
  ])("passes over a list of %s and says so", (_name, text) => {
    const files = [{ name: "00-odd.conflist", text }, list("10-pods.conflist", [ptp])];
    const change = chainPlugin(files, entry);
    expect(change.chainedIn).toBe("10-pods.conflist");
    expect(change.ignored).toEqual([expect.stringMatching(/^00-odd\.conflist: it (is|has|names) n/)]);
    expect(change.write.map(({ name }) => name)).toEqual(["10-pods.conflist"]);
  });

  it("passes over files that runtimes do not read", () => {
    const names = ["README", "hairpin-cni-kubeconfig", ".10-pods.conflist.swp", "09-pods.conflist.bak"];
    const files = names.map((name) => list(name, [ptp]));
    expect(chainPlugin(files, entry)).toEqual({ write: [], remove: [], chainedIn: undefined, ignored: [] });
  });

  it("reads a list in a .conf and one with a byte order mark, as runtimes do", () => {
    const marked = { name: "10-pods.conf", text: `\uFEFF${list("", [ptp]).text}` };
    expect(pluginsOf(after([marked], chainPlugin([marked], entry)), "10-pods.conf")).toEqual([ptp, ours]);
  });
});

describe("unchainPlugin", () => {
  it("undoes what chaining did, to the byte where a file was replaced", () => {
    const single = { name: "10-bridge.conf", text: '{ "type":"bridge" ,"name":"b"}' };
    const files = [single, list("20-pods.conflist", [ptp, portmap])];
    const chained = chainPlugin(files, entry);
    const between = [...files.filter(({ name }) => !chained.remove.includes(name)), ...chained.write];
    const undone = unchainPlugin(between);
    expect(after(between, undone)).toEqual(after(files, { write: [], remove: [], chainedIn: undefined, ignored: [] }));
    expect(undone.write).toContainEqual(single);
  });

  it("leaves a configuration that its owner has written anew", () => {
    const files = [
      { name: "10-b.conf", text: '{"type":"new"}' },
      { name: "10-b.conf.hairpin-saved", text: '{"type":"old"}' },
    ];
    expect(after(files, unchainPlugin(files))).toEqual({ "10-b.conf": { type: "new" } });
  });

  it("touches nothing where it is not", () => {
    const files = [list("10-pods.conflist", [ptp]), { name: "20-odd.conflist", text: "{" }];
    expect(unchainPlugin(files)).toMatchObject({ write: [], remove: [] });
  });
});
