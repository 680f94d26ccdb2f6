/** May the mission go on that an agent runs already? From what its status says; nothing is loaded beside it. */
import { type Finding, finding } from "../doctor/finding.ts";
import type { StepReport } from "../load.ts";
import { formatDurationNs } from "../quantity.ts";

/** The part of `/v1/status` that is judged. */
export interface RunningStatus {
  version: string;
  mission: string;
  state: string;
  timing?: "measured" | "simulated";
  holds?: readonly string[];
  safeMode?: { on: boolean; reasons: readonly string[] };
  device?: { name: string; driver: string };
  foreign?: { withheld: string | null } | null;
  store?: { quarantine?: readonly { job: string; reason: string; count: number }[] };
  critical?: Record<string, { requests: number; misses?: Record<string, number> }>;
  background?: Record<string, { steps: readonly StepReport[] }>;
}

/** `simulates`: that is what the mission wants. */
export function runningFindings(status: RunningStatus, boundNs: number, simulates: boolean): Finding[] {
  const { version, mission, state, timing, holds = [], safeMode, device, foreign, store } = status;
  const found: Finding[] = [
    state === "ready" ? finding("agent", "ok", `calypte ${version} runs ${mission}, ready`) : finding(
      "agent",
      "fail",
      `calypte ${version} runs ${mission}: ${state}`,
      "calypte status and calypte events say more",
    ),
  ];
  if (timing === "simulated") {
    found.push(
      simulates
        ? finding("device", "warn", "simulated: no GPU takes part, and nothing here is measured")
        : finding(
          "device",
          "fail",
          "the agent only simulates: no GPU takes part",
          "calypte doctor says why it found none",
        ),
    );
  } else if (device !== undefined) {
    found.push(finding("device", "ok", `${device.name}, driver ${device.driver}`));
  }
  if (safeMode?.on === true) {
    found.push(
      finding("safe mode", "fail", `on: ${safeMode.reasons.join(", ")}`, "calypte safe-mode status"),
    );
  } else {
    found.push(finding("safe mode", "ok", "off"));
  }
  const others = holds.filter((hold) => hold !== "safe-mode");
  if (others.length > 0) found.push(finding("background", "warn", `held: ${others.join(", ")}`));
  for (const [name, { requests, misses = {} }] of Object.entries(status.critical ?? {})) {
    const missed = Object.values(misses).reduce((sum, count) => sum + count, 0);
    found.push(
      missed === 0 ? finding("deadlines", "ok", `${name}: none of ${requests} requests missed`) : finding(
        "deadlines",
        "warn",
        `${name}: ${missed} of ${requests} requests missed`,
        "calypte explain says why",
      ),
    );
  }
  found.push(...drainFindings(status, boundNs));
  if (foreign?.withheld != null) {
    found.push(
      finding(
        "others on the GPU",
        "fail",
        foreign.withheld,
        "end them, or name them in the mission's device.foreign",
      ),
    );
  }
  for (const { job, reason, count } of store?.quarantine ?? []) {
    found.push(
      finding(
        "quarantine",
        "warn",
        `${job} is left out: it failed ${count} times: ${reason}`,
        "mend its bundle: another one is tried again",
      ),
    );
  }
  return found;
}

function drainFindings({ background = {}, timing }: RunningStatus, boundNs: number): Finding[] {
  const what = "preemption";
  const bound = `preemptionBound ${formatDurationNs(boundNs)}`;
  let longest = 0;
  const found: Finding[] = [];
  for (const [name, { steps }] of Object.entries(background)) {
    for (const { kernel, drainNs = 0 } of steps) {
      longest = Math.max(longest, drainNs);
      if (drainNs > boundNs) {
        found.push(
          finding(
            what,
            "fail",
            `${name}: ${kernel} keeps the GPU ${formatDurationNs(drainNs)}, beyond ${bound}`,
          ),
        );
      }
    }
  }
  if (found.length > 0 || Object.keys(background).length === 0) return found;
  return timing === "simulated"
    ? [finding(what, "warn", `not measured; ${bound}`)]
    : [finding(what, "ok", `at most ${formatDurationNs(longest)}; ${bound}`)];
}
