import { describe, expect, it } from "vitest";
import { podUidsOfCgroup, startTimeOfStat } from "./pod-cgroup.ts";

const uid = "84ca47d2-d611-45d8-ab0e-08152e9f748d";
const underscored = uid.replaceAll("-", "_");
const container = "2a3f".repeat(16);

describe("podUidsOfCgroup", () => {
  it.each([
    [
      "version 2, systemd, containerd",
      `0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${underscored}.slice/cri-containerd-${container}.scope`,
    ],
    [
      "version 2, systemd, guaranteed",
      `0::/kubepods.slice/kubepods-pod${underscored}.slice/cri-containerd-${container}.scope`,
    ],
    [
      "version 2, systemd, CRI-O",
      `0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${underscored}.slice/crio-${container}.scope/container`,
    ],
    ["version 2, cgroupfs", `0::/kubepods/besteffort/pod${uid}/${container}`],
    [
      "version 2, seen from another cgroup namespace",
      `0::/../../kubepods-besteffort-pod${underscored}.slice/cri-containerd-${container}.scope`,
    ],
    [
      "version 1, cgroupfs",
      `12:memory:/kubepods/burstable/pod${uid}/${container}\n11:cpu,cpuacct:/kubepods/burstable/pod${uid}/${container}\n1:name=systemd:/kubepods/burstable/pod${uid}/${container}`,
    ],
    [
      "version 1, systemd, CRI-O",
      `4:pids:/kubepods.slice/kubepods-pod${underscored}.slice/crio-${container}.scope\n0::/`,
    ],
    [
      "containerd without a systemd scope",
      `8:cpuset:/system.slice/containerd.service/kubepods-burstable-pod${underscored}.slice:cri-containerd:${container}`,
    ],
    [
      "kind",
      `0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod${underscored}.slice/cri-containerd-${container}.scope`,
    ],
    ["a kubelet with a root of its own", `0::/onebox/onebox-worker/kubepods/burstable/pod${uid}/${container}`],
  ])("finds the pod of %s", (_name, text) => {
    expect(podUidsOfCgroup(`${text}\n`)).toEqual([uid]);
  });

  it.each([
    ["a service", "0::/system.slice/containerd.service"],
    ["the root", "0::/"],
    ["nothing", ""],
    ["a container of Docker", `0::/docker/${container}`],
    ["a name that only resembles one", `0::/kubepods/pod${uid}0/${container}`],
  ])("finds none in that of %s", (_name, text) => {
    expect(podUidsOfCgroup(text)).toEqual([]);
  });

  it("names the outer pod before what its programs have made below", () => {
    const inner = "11111111-2222-3333-4444-555555555555";
    expect(podUidsOfCgroup(`0::/kubepods/pod${uid}/${container}/kubepods/pod${inner}/x`)).toEqual([uid, inner]);
  });
});

describe("startTimeOfStat", () => {
  it("is not misled by the name of the command", () => {
    const numbers = Array.from({ length: 49 }, (_, index) => String(index + 4));
    expect(startTimeOfStat(`7 (a) R 1 (b) S ${numbers.join(" ")}`)).toBe(22);
  });

  it("is no number for another text", () => {
    expect(startTimeOfStat("")).toBeNaN();
  });
});
