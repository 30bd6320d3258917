// How busy the machine was with other things than the bench.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { availableParallelism } from "node:os";

/** Ticks of /proc/PID/stat a second; the same on every Linux that Node runs on. */
const ticksPerSecond = 100;
/** Kernel threads work for everybody, for us too. Of include/linux/sched.h. */
const kernelThreadFlag = 0x0020_0000;

export interface ProcessTicks {
  readonly isKernelThread: boolean;
  /** Of the process and of its children that have ended. */
  readonly ticks: number;
}

/** Reads /proc/PID/stat (proc_pid_stat(5)). */
export function parseProcessStat(text: string): ProcessTicks {
  // The name in parentheses may hold anything.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const at = (number: number): number => Number(fields[number - 3] ?? 0);
  return {
    isKernelThread: (at(9) & kernelThreadFlag) !== 0,
    ticks: at(14) + at(15) + at(16) + at(17),
  };
}

/** Ticks that a hypervisor gave to others, of /proc/stat. */
export function parseStolenTicks(text: string): number {
  const cpu = /^cpu +(.*)$/m.exec(text)?.[1]?.split(" ") ?? [];
  return Number(cpu[7] ?? 0);
}

/** Counts the CPU time of processes outside the bench's PID namespace. */
export class ForeignCpu {
  readonly #hostProc: string;
  readonly #ownNamespace = readlinkSync("/proc/self/ns/pid");

  /** `hostProc`: the machine's /proc, where all processes are seen. */
  constructor(hostProc: string) {
    this.#hostProc = hostProc;
  }

  /** Starts to count. The result gives the share of the machine's CPUs that others have used since, from 0 to 1. */
  begin(): () => number {
    const before = this.#ticks();
    const startedAt = performance.now();
    return () => {
      const seconds = Math.max(0, this.#ticks() - before) / ticksPerSecond;
      return seconds / ((performance.now() - startedAt) / 1000) / availableParallelism();
    };
  }

  #ticks(): number {
    let ticks = parseStolenTicks(readFileSync(`${this.#hostProc}/stat`, "utf8"));
    for (const entry of readdirSync(this.#hostProc)) {
      if (/^\d+$/.test(entry)) ticks += this.#foreignTicks(`${this.#hostProc}/${entry}`);
    }
    return ticks;
  }

  /** 0 for our own processes, and for one that ended meanwhile. */
  #foreignTicks(path: string): number {
    try {
      const { isKernelThread, ticks } = parseProcessStat(readFileSync(`${path}/stat`, "utf8"));
      return isKernelThread || readlinkSync(`${path}/ns/pid`) === this.#ownNamespace ? 0 : ticks;
    } catch {
      return 0;
    }
  }
}
