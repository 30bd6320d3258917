import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { eventually } from "@hairpin/testkit";
import { afterEach, describe, expect, it } from "vitest";
import { createNetworkHost, type NetworkHost } from "./testing/network-host.ts";

const main = `${import.meta.dirname}/main.ts`;
const environment = { PATH: "/usr/sbin:/sbin:/usr/bin:/bin" };

let host: NetworkHost | undefined;
let child: ChildProcess | undefined;

afterEach(async () => {
  if (child?.exitCode === null && child.signalCode === null) {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  await host?.[Symbol.asyncDispose]();
  host = undefined;
});

describe("the ztunnel process", () => {
  it("tells every mistake of its configuration and exits 64", () => {
    const run = (): string =>
      execFileSync(process.execPath, [main], {
        env: { ...environment, PROXY_MODE: "dedicated", SECRET_TTL: "soon" },
        stdio: "pipe",
        encoding: "utf8",
      });
    expect(run).toThrow(
      expect.objectContaining({ status: 64, stderr: expect.stringMatching(/PROXY_MODE[^]*SECRET_TTL/) }),
    );
  });

  it("is not ready without a control plane, says what is pending, serves its admin page, and ends on SIGTERM", async () => {
    host = createNetworkHost();
    const node = host.pod("node", "10.77.0.20");
    const env = {
      ...environment,
      XDS_ADDRESS: "http://127.0.0.1:1",
      CA_ADDRESS: "https://127.0.0.1:1",
      AUTH_TOKEN: "t",
    };
    child = spawn("nsenter", [`--net=${node.path}`, process.execPath, main], {
      env,
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const get = (url: string, more = ""): string => node.run(`curl -s -m 2 ${more} http://127.0.0.1:${url}`);
    await eventually(() => expect(output).toContain('component="admin server"'), { timeoutMs: 20_000 });
    expect(get("15021/healthz/ready", "-w '%{http_code}'")).toBe(
      "not ready, pending: state manager, proxy, workload proxy manager\n500",
    );
    expect(get("15020/stats/prometheus")).toContain('istio_build{component="ztunnel",tag="0.1.0"} 1');
    expect(get("15000/")).toContain("config_dump");
    expect(JSON.parse(get("15000/config_dump"))).toMatchObject({ workloads: [], workloadState: {} });
    expect(get("15000/logging?level=debug", "-X POST")).toBe("current log level is debug\n");
    expect(get("15000/quitquitquit", "-o /dev/null -w '%{http_code}'")).toBe("405");
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
    expect(output).toContain("shutdown begins");
  });

  it("ends on POST /quitquitquit", async () => {
    host = createNetworkHost();
    const node = host.pod("node", "10.77.0.21");
    const env = {
      ...environment,
      XDS_ADDRESS: "http://127.0.0.1:1",
      CA_ADDRESS: "https://127.0.0.1:1",
      AUTH_TOKEN: "t",
    };
    child = spawn("nsenter", [`--net=${node.path}`, process.execPath, main], {
      env,
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
    await eventually(() => expect(output).toContain('component="admin server"'), { timeoutMs: 20_000 });
    const exited = once(child, "exit");
    expect(node.run("curl -s -m 2 -X POST http://127.0.0.1:15000/quitquitquit")).toBe("shutdown now\n");
    expect(await exited).toEqual([0, null]);
  });
});
