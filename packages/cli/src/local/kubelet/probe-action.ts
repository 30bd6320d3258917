// httpGet and tcpSocket probes, dialled from the network namespace of the pod's node as a kubelet would.

import { request } from "node:http";
import { Socket } from "node:net";
import { createDialSocket, type NetnsHandle } from "@hairpin/native";
import type { HttpGetAction, Probe } from "../object/kubernetes-object.ts";
import { familyOf } from "../fabric/address-plan.ts";
import type { ProbeAction } from "./probe-runner.ts";

/** Probes a pod from a node; ports must be numbers by now. */
export function createProbeAction(nodeNetns: NetnsHandle, podIp: string): ProbeAction {
  return async (probe: Probe, timeoutMs) => {
    const { httpGet, tcpSocket } = probe;
    if (httpGet !== undefined) return await probeHttp(nodeNetns, httpGet.host ?? podIp, httpGet, timeoutMs);
    if (tcpSocket === undefined) return false;
    return await probeTcp(nodeNetns, tcpSocket.host ?? podIp, Number(tcpSocket.port), timeoutMs);
  };
}

async function probeTcp(netns: NetnsHandle, ip: string, port: number, timeoutMs: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = dial(netns, ip, port);
  socket.setTimeout(timeoutMs, () => resolve(false));
  socket.once("connect", () => resolve(true));
  socket.once("error", () => resolve(false));
  const isOpen = await promise;
  socket.destroy();
  return isOpen;
}

async function probeHttp(netns: NetnsHandle, ip: string, action: HttpGetAction, timeoutMs: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const headers = Object.fromEntries((action.httpHeaders ?? []).map(({ name, value }) => [name, value]));
  const outgoing = request({
    createConnection: () => dial(netns, ip, Number(action.port)),
    host: ip,
    path: action.path ?? "/",
    headers: { host: ip, "user-agent": "kube-probe/local", connection: "close", ...headers },
    signal: AbortSignal.timeout(timeoutMs),
  });
  outgoing.once("response", (response) => {
    response.resume();
    const status = response.statusCode ?? 0;
    resolve(status >= 200 && status < 400);
  });
  outgoing.once("error", () => resolve(false));
  outgoing.end();
  const isGood = await promise;
  outgoing.destroy();
  return isGood;
}

function dial(netns: NetnsHandle, ip: string, port: number): Socket {
  const fd = createDialSocket({ netns, family: familyOf(ip) });
  return new Socket({ fd }).connect(port, ip);
}
