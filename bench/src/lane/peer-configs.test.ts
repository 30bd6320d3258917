import { describe, expect, it } from "vitest";
import { envoyConfig, nginxConfig } from "./peer-configs.ts";

const ports = [8000, 8001];
const application = "10.0.0.2";

describe("nginxConfig", () => {
  it("listens on every port, keeps connections to the same port of the application, and logs", () => {
    const text = nginxConfig({ folder: "/run/x", application, ports });
    expect(text.match(/listen \d+/g)).toEqual(["listen 8000", "listen 8001"]);
    expect(text).toContain("server 10.0.0.2:8001;\n    keepalive 128;");
    expect(text).toContain("access_log /run/x/nginx-access.log;");
  });
});

describe("envoyConfig", () => {
  it("sends each listener's requests to a cluster of its own", () => {
    const { static_resources: resources } = JSON.parse(envoyConfig({ accessLog: "/log", application, ports })) as {
      static_resources: { listeners: { name: string }[]; clusters: { name: string }[] };
    };
    expect(resources.listeners.map(({ name }) => name)).toEqual(["listener8000", "listener8001"]);
    expect(resources.clusters.map(({ name }) => name)).toEqual(["application8000", "application8001"]);
    expect(JSON.stringify(resources.listeners[1])).toContain('"cluster":"application8001"');
  });
});
