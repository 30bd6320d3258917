// HTTP/1.1 proxies on a host of their own, between client and application, each with its access log.
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { applicationPortList, applicationPortRange, type Arena } from "../arena/arena.ts";
import type { Host } from "../arena/network.ts";
import { runCommand } from "../arena/run-command.ts";
import { createEnds, type LaneEnds } from "./application.ts";
import { AbsentError, type Lane, type RunningLane } from "./lane.ts";
import { envoyConfig, nginxConfig } from "./peer-configs.ts";

export const nginxLane: Lane = {
  id: "nginx",
  title: "nginx as HTTP proxy",
  kind: "http",
  async start(arena) {
    const version = await versionOf(["nginx", "-v"], "nginx is not installed");
    return await startHttpProxy(arena, "nginx", version, async (ends, folder) => {
      const config = join(folder, "nginx.conf");
      await writeFile(config, nginxConfig({ folder, application: ends.server.ip, ports: applicationPortList }));
      return ["nginx", "-c", config, "-e", join(folder, "nginx-error.log")];
    });
  },
};

export const envoyLane: Lane = {
  id: "envoy",
  title: "Envoy as HTTP proxy",
  kind: "http",
  async start(arena) {
    const path = arena.options.envoy;
    if (path === undefined) throw new AbsentError("ENVOY_BIN is not set");
    if (!existsSync(path)) throw new AbsentError(`there is no ${path}`);
    const version = await versionOf([path, "--version"], "Envoy does not start");
    return await startHttpProxy(arena, "envoy", version, async (ends, folder) => {
      const config = join(folder, "envoy.json");
      const accessLog = join(folder, "envoy-access.log");
      await writeFile(config, envoyConfig({ accessLog, application: ends.server.ip, ports: applicationPortList }));
      return [path, "-c", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"];
    });
  },
};

const engineMain = new URL("../engine/main.ts", import.meta.url).pathname;

/** Also started by the profile mode. */
export function engineLane(profileDirectory?: string): Lane {
  const profile = profileDirectory === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profileDirectory}`];
  return {
    id: "engine",
    title: "Hairpin's waypoint engine as HTTP proxy",
    kind: "http",
    start: async (arena) =>
      await startHttpProxy(arena, "engine", "", async ({ server }) => [
        process.execPath,
        ...profile,
        engineMain,
        applicationPortRange,
        server.ip,
      ]),
  };
}

type CommandOf = (ends: LaneEnds, folder: string) => Promise<readonly string[]>;

async function startHttpProxy(arena: Arena, name: string, remark: string, commandOf: CommandOf): Promise<RunningLane> {
  const ends = await createEnds(arena);
  const host: Host = await arena.host(ends.lane, "proxy", 3);
  const proxy = arena.start({ name, host, command: await commandOf(ends, arena.directory) });
  return {
    client: ends.client,
    target: { ip: host.ip, ports: applicationPortRange },
    proxies: [proxy],
    programs: [ends.application, proxy],
    remark,
  };
}

/** What a program says of its version. Throws {@link AbsentError} with `otherwise` when it is not there. */
async function versionOf(command: readonly string[], otherwise: string): Promise<string> {
  try {
    const text = await runCommand(["sh", "-c", `exec "$@" 2>&1`, "version", ...command]);
    // The path of the program is nobody's business.
    return /version: *(.+)/.exec(text)?.[1]?.trim() ?? "";
  } catch (cause) {
    throw new AbsentError(otherwise, { cause });
  }
}
