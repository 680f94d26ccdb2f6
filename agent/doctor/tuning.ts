/**
 * How is the host set up for real-time work? The kernel's preemption and tick, swap, cores and their interrupts, the power mode.
 *
 * A look, without a change. What cannot be read is said to be unknown, and never taken for good.
 */
import { type BoardFiles, integerOf, printable } from "../../jetson/board_files.ts";
import type { TelemetrySample } from "../../jetson/telemetry.ts";
import { formatBytes } from "../quantity.ts";
import { type Finding, finding } from "./finding.ts";

/** The native library reads it, and pins its critical thread to that core. */
export const CORE_VARIABLE = "CALYPTE_CRITICAL_CORE";

export interface Tuning {
  files: BoardFiles;
  /** The kernel's own configuration, as text; `undefined`: not to be had. */
  kernelConfig(): Promise<string | undefined>;
  /** Of `CORE_VARIABLE`. */
  criticalCore: string | undefined;
}

/** Beside the sensors, which `sample` is from. */
export async function tuningFindings(
  { files, kernelConfig, criticalCore }: Tuning,
  sample: Pick<TelemetrySample, "powerMode">,
): Promise<Finding[]> {
  const config = await kernelConfig();
  const found = [
    await kernelFinding(files, config),
    await realtimeShareFinding(files, config),
    await swapFinding(files),
    await coresFinding(files, criticalCore),
    await powerModeFinding(files, sample.powerMode),
  ];
  return found.filter((each) => each !== undefined);
}

type Preemption = "full" | "lazy" | "voluntary" | "none" | "rt";

async function kernelFinding(files: BoardFiles, config: string | undefined): Promise<Finding> {
  const what = "kernel";
  const [version, realtime, commandLine] = await Promise.all([
    files.text("/proc/version"),
    files.text("/sys/kernel/realtime"),
    files.text("/proc/cmdline"),
  ]);
  if (version === undefined) return finding(what, "warn", "which one it is cannot be read here");
  const has = (name: string) => config === undefined ? undefined : config.includes(`\nCONFIG_${name}=y\n`);
  const hz = integerOf(config?.match(/^CONFIG_HZ=(\d+)$/m)?.[1]);
  const release = printable(version.match(/^Linux version (\S+)/)?.[1] ?? "");
  const named = `${release}${hz === undefined ? "" : `, ${hz} Hz`}`;
  if (has("HIGH_RES_TIMERS") === false) {
    return finding(
      what,
      "warn",
      `${named}: its timers are as coarse as its tick, and so is every wait`,
      "a kernel with CONFIG_HIGH_RES_TIMERS",
    );
  }
  const dynamic = /\bPREEMPT_DYNAMIC\b/.test(version);
  let how: Preemption | undefined;
  if (realtime === "1" || /\bPREEMPT_RT\b/.test(version)) how = "rt";
  else if (!dynamic) how = /\bPREEMPT\b/.test(version) ? "full" : "none";
  else {
    const chosen = commandLine?.match(/(?:^|\s)preempt=(full|lazy|voluntary|none)(?:\s|$)/)?.[1];
    how = chosen as Preemption | undefined ??
      (has("PREEMPT_NONE")
        ? "none"
        : has("PREEMPT_VOLUNTARY")
        ? "voluntary"
        : has("PREEMPT_LAZY")
        ? "lazy"
        : has("PREEMPT")
        ? "full"
        : undefined);
  }
  if (how === "rt") return finding(what, "ok", `${named}, real-time (PREEMPT_RT)`);
  if (how === "full" || how === "lazy") return finding(what, "ok", `${named}, preemptible`);
  const remedy = dynamic
    ? "preempt=full on the kernel's command line"
    : "a kernel built with PREEMPT, as NVIDIA's for Jetson are, or a real-time one";
  return how === undefined
    ? finding(
      what,
      "warn",
      `${named}: how far it preempts its own work is not known (PREEMPT_DYNAMIC)`,
      remedy,
    )
    : finding(
      what,
      "warn",
      `${named}: it does not preempt its own work (${how}), so that another program's system calls can hold up a launch`,
      remedy,
    );
}

/** The kernel's brake for real-time threads that never rest; `undefined`: it is as usual, or not known. */
async function realtimeShareFinding(files: BoardFiles, config = ""): Promise<Finding | undefined> {
  const [runtimeUs, periodUs] = await Promise.all([
    files.text("/proc/sys/kernel/sched_rt_runtime_us"),
    files.text("/proc/sys/kernel/sched_rt_period_us"),
  ]);
  const [runtime, period] = [integerOf(runtimeUs), integerOf(periodUs)];
  if (runtime === undefined || period === undefined || period <= 0) return undefined;
  if (runtime < 0) return undefined;
  if (config.includes("\nCONFIG_RT_GROUP_SCHED=y\n")) {
    return finding(
      "real-time share",
      "warn",
      "this kernel divides it among control groups (CONFIG_RT_GROUP_SCHED), and a service or container may have none",
      "if real-time priority is refused there: sysctl -w kernel.sched_rt_runtime_us=-1",
    );
  }
  if (runtime >= 0.9 * period) return undefined;
  return finding(
    "real-time share",
    "warn",
    `real-time threads may take ${
      Math.round(100 * runtime / period)
    } % of a core, and then wait for the rest of ${Math.round(period / 1000)} ms`,
    "sysctl -w kernel.sched_rt_runtime_us=950000",
  );
}

async function swapFinding(files: BoardFiles): Promise<Finding> {
  const what = "swap";
  const text = await files.text("/proc/swaps");
  if (text === undefined || !text.startsWith("Filename")) {
    return finding(what, "warn", "whether there is any cannot be read here");
  }
  const areas = text.split("\n").slice(1).map((line) => line.trim().split(/\s+/)).filter(([name]) =>
    name !== ""
  );
  if (areas.length === 0) return finding(what, "ok", "off");
  const list = areas.map(([name = "", , kib]) => {
    const size = integerOf(kib);
    return printable(name) + (size === undefined ? "" : ` (${formatBytes(size * 1024)})`);
  });
  return finding(
    what,
    "warn",
    `on: ${list.slice(0, 4).join(", ")}${list.length > 4 ? ` and ${list.length - 4} more` : ""}: ` +
      "what is not locked into memory may have to be fetched first",
    "swapoff -a; on a Jetson systemctl disable --now nvzramconfig, for good after the next boot",
  );
}

/** One core that takes so much of the devices' interrupts is no place for the critical thread. */
const HOT_SHARE = 0.5;
/** Among few cores somebody has to take them. */
const LEAST_CORES = 4;
/** Since the start; of fewer nothing follows. */
const LEAST_INTERRUPTS = 10_000;

async function coresFinding(files: BoardFiles, chosen = ""): Promise<Finding> {
  const what = "cores";
  const cpu = "/sys/devices/system/cpu";
  const [onlineText, isolatedText, status, interrupts] = await Promise.all([
    files.text(`${cpu}/online`),
    files.text(`${cpu}/isolated`),
    files.text("/proc/self/status"),
    files.text("/proc/interrupts"),
  ]);
  const allowedText = status?.match(/^Cpus_allowed_list:\s*(\S+)$/m)?.[1];
  const [online, isolated, allowed] = [onlineText, isolatedText, allowedText].map(coresOf);
  if (online === undefined || allowed === undefined) {
    return finding(what, "warn", "which there are cannot be read here");
  }
  const busiest = busiestCore(interrupts);
  const share = busiest === undefined
    ? ""
    : `${Math.round(100 * busiest.share)} % of the devices' interrupts`;
  const hot = busiest !== undefined && busiest.share >= HOT_SHARE && online.length >= LEAST_CORES
    ? busiest.core
    : undefined;
  const give = (core: number | undefined) =>
    `${CORE_VARIABLE}=${core ?? "N"} gives the critical thread a core (/etc/default/calypte for the service)`;
  if (chosen !== "") {
    const core = integerOf(chosen);
    if (core === undefined || !online.includes(core)) {
      return finding(
        what,
        "fail",
        `${CORE_VARIABLE}=${printable(chosen)}: there is no such core`,
        `one of ${onlineText}, or leave it out`,
      );
    }
    if (core === hot) {
      return finding(
        what,
        "warn",
        `core ${core} is the critical thread's, and takes ${share}`,
        "choose another one, or move them away: /proc/irq/N/smp_affinity_list",
      );
    }
    return isolated?.includes(core)
      ? finding(what, "ok", `core ${core} is the critical thread's, and isolated`)
      : finding(what, "ok", `core ${core} is the critical thread's; others may use it too`);
  }
  if (isolated !== undefined && isolated.length > 0) {
    return finding(
      what,
      "warn",
      `${isolatedText} isolated, and not used for the critical thread`,
      give(isolated[0]),
    );
  }
  if (hot !== undefined && allowed.includes(hot)) {
    const other = online.findLast((core) => core !== hot);
    return finding(
      what,
      "warn",
      `core ${hot} takes ${share}, and the critical thread may run there`,
      give(other),
    );
  }
  const most = busiest === undefined ? "" : `; core ${busiest.core} takes ${share}`;
  return finding(what, "ok", `the critical thread may run on ${allowedText}${most}`);
}

/** `0-3,6`: cores by number, at most 4096. `undefined`: not such a list. Of an empty one: none. */
function coresOf(text: string | undefined): number[] | undefined {
  if (text === undefined) return undefined;
  if (text === "") return [];
  const cores: number[] = [];
  for (const part of text.split(",")) {
    const [, first, last = first] = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part) ?? [];
    if (first === undefined || Number(last) < Number(first)) return undefined;
    for (let core = Number(first); core <= Number(last) && cores.length < 4096; ++core) cores.push(core);
  }
  return cores;
}

/** Of the devices' interrupts: each core's own timer, and what cores send each other, is on every core. */
function busiestCore(interrupts: string | undefined): { core: number; share: number } | undefined {
  const [head = "", ...rows] = interrupts?.split("\n") ?? [];
  const cores = [...head.matchAll(/\bCPU(\d+)\b/g)].map((match) => Number(match[1]));
  const counts = cores.map(() => 0);
  for (const row of rows) {
    const cells = row.trim().split(/\s+/);
    if (!/^\d+:$/.test(cells[0] ?? "") || /timer/i.test(row)) continue;
    cores.forEach((_, at) => counts[at]! += integerOf(cells[at + 1]) ?? 0);
  }
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total < LEAST_INTERRUPTS) return undefined;
  const at = counts.indexOf(Math.max(...counts));
  return { core: cores[at]!, share: counts[at]! / total };
}

/** `undefined`: this machine has no such modes, or does not say. */
async function powerModeFinding(files: BoardFiles, mode: string | undefined): Promise<Finding | undefined> {
  const what = "power mode";
  if (mode === undefined) return undefined;
  const text = await files.text("/etc/nvpmodel.conf") ?? "";
  const modes = [...text.matchAll(/^<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\w+)\s*>/gm)]
    .map(([, id, name]) => ({ id: id!, name: name!, watts: wattsOf(name!) }));
  const top = modes.reduce<typeof modes[number] | undefined>(
    (best, each) => best === undefined || each.watts > best.watts ? each : best,
    undefined,
  );
  const current = modes.find(({ name }) => name === mode);
  if (top === undefined || top.watts === 0 || current === undefined || current.watts === 0) {
    return finding(what, "ok", `${mode}; which is the highest is not known`);
  }
  if (current.watts >= top.watts) return finding(what, "ok", `${mode}, the highest`);
  return finding(
    what,
    "warn",
    `${mode}; ${top.name} is faster`,
    `nvpmodel -m ${top.id}, if the supply and the cooling bear it`,
  );
}

/** By the name; 0: it does not say. MAXN has no bound, and MAXN_SUPER lies above it. */
function wattsOf(name: string): number {
  if (/^(MODE_)?MAXN_SUPER/.test(name)) return 10_000;
  if (/^(MODE_)?MAXN/.test(name)) return 9_999;
  return Number(/^(?:MODE_)?(\d{1,4})W/.exec(name)?.[1] ?? 0);
}
