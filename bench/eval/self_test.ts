/**
 * Does a baseline really share as its name says? Probes run where its critical and its background work would: kernels that note
 * when they were at work, on the device's own clock.
 */
import { path } from "../../agent/std/mod.ts";
import type { System } from "./cells.ts";
import { DRIVER, type DriverOptions, GREEN_SMS, layoutOf, runTogether } from "./driver.ts";
import { Mps } from "./mps.ts";
import { lengthOf, overlapOf, type Span, unionOf } from "./statistics.ts";

export interface ProbeSpans {
  sms: number[];
  /** When block 0 was at work, in ns. */
  spans: Span[];
}

export interface SharingTest {
  system: System;
  passed: boolean;
  /** What was seen, in words. */
  text: string;
}

const WINDOW_NS = 300e6;
const AHEAD_NS = 100e6;
const LIMIT_MS = 20_000;
/** Both at the same time for most of it; or hardly ever. */
const MOST = 0.9;
const HARDLY = 0.1;
/** Blocks of a probe: few, so that there is room for both; green contexts show their SMs with more. */
const BLOCKS = 8;
const GREEN_BLOCKS = 256;

/** Pure: what the probes' spans say. */
export function judgeSharing(system: System, critical: ProbeSpans, background: ProbeSpans): SharingTest {
  const window: Span = [
    Math.max(critical.spans[0]?.[0] ?? 0, background.spans[0]?.[0] ?? 0),
    Math.min(critical.spans.at(-1)?.[1] ?? 0, background.spans.at(-1)?.[1] ?? 0),
  ];
  const lengthNs = window[1] - window[0];
  if (critical.spans.length === 0 || background.spans.length === 0 || lengthNs < WINDOW_NS / 3) {
    return { system, passed: false, text: "the two probes did not run at the same time" };
  }
  const [a, b] = [unionOf(critical.spans, window), unionOf(background.spans, window)];
  const both = overlapOf(a, b) / lengthNs;
  const each = [a, b].map((spans) => lengthOf(spans) / lengthNs);
  const seen =
    `both at work for ${percent(both)} of ${(lengthNs / 1e6).toFixed(0)} ms, critical ${
      percent(each[0]!)
    }, ` +
    `background ${percent(each[1]!)}`;
  if (system === "timeslice") {
    // Turns: hardly ever both, and each for a good part.
    return { system, passed: both < HARDLY && each.every((share) => share > 0.2), text: seen };
  }
  if (system === "green") {
    const shared = new Set(critical.sms.filter((sm) => background.sms.includes(sm)));
    const text = `${seen}; ${new Set(critical.sms).size} and ${
      new Set(background.sms).size
    } SMs, ${shared.size} in common`;
    return { system, passed: both > MOST && shared.size === 0, text };
  }
  return { system, passed: both > MOST, text: seen };
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

/** Runs the probes. Exclusive has nothing to share; gating's own counts are in its cells' notes. */
export async function testSharing(system: System, options: DriverOptions = {}): Promise<SharingTest> {
  const { mode, processes } = layoutOf(system, true, true);
  const dir = await Deno.makeTempDir({ prefix: "calypte-probe-" });
  try {
    await using mps = system === "mps" ? await (options.startMps ?? Mps.start)() : undefined;
    const specs = processes.map((roles) => ({
      env: { ...options.env, ...(mps === undefined ? {} : mps.env[roles[0]!]) },
      lines: [
        ...[`mode ${mode}`, `green_sms ${options.greenSms ?? GREEN_SMS}`, `window_ns ${WINDOW_NS}`],
        ...[
          `blocks ${mode === "green" ? GREEN_BLOCKS : BLOCKS}`,
          `out ${path.join(dir, `${roles[0]}.json`)}`,
        ],
      ],
    }));
    await runTogether("probe", dir, specs, options.program ?? DRIVER, -AHEAD_NS, LIMIT_MS);
    const read = async (role: string): Promise<{ critical: ProbeSpans; background: ProbeSpans | null }> =>
      JSON.parse(await Deno.readTextFile(path.join(dir, `${role}.json`)));
    const first = await read("critical");
    const background = first.background ?? (await read("background")).critical;
    return judgeSharing(system, first.critical, background);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}
