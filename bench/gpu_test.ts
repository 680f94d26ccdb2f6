/**
 * Everything that needs a GPU, in one command:
 *
 * ```sh
 * make gpu-test                                           # or: deno run -A bench/gpu_test.ts --out DIR
 * deno run -A bench/gpu_test.ts --backend sim --quick     # to see that it runs; proves nothing about a GPU
 * ```
 *
 * Says plainly what it ran and on what, writes DIR/gpu-test.json and DIR/micro.json, and ends with 1 if a promise
 * was not kept.
 */
import { parseArgs } from "../agent/std/mod.ts";
import { type Backend, openLibrary, probe } from "../ffi/mod.ts";
import { libraryPath } from "../ffi/library.ts";
import {
  checkBitIdentity,
  checkBundles,
  checkMixedSteps,
  checkOneConnection,
  type CheckResult,
  checkSurvey,
} from "./gpu_checks.ts";
import { type MicroReport, microTable, runMicro } from "./micro.ts";
import { checkCost, checkSemantics, type SemanticsRow, semanticsTable, writeSemantics } from "./semantics.ts";

const args = parseArgs(Deno.args, {
  string: ["out", "backend", "seed", "commit", "rounds", "stretch-ms"],
  boolean: ["quick", "without-suite"],
});
const backend: Backend = args["backend"] === "sim" ? "sim" : "cuda";
const quick = args["quick"] === true;
const seed = Number(args["seed"] ?? 1);

/** The bounds of the micro-benchmark at level block; blocks of 10 us are what they are stated for. */
function checkMicro(report: MicroReport): CheckResult {
  const row = (critical: string) =>
    report.latency.find((r) => r.critical === critical && r.level === "block" && r.blockUs === 10)!;
  const [kernel, chain] = [row("kernel-5us"), row("chain-60")];
  const cost = report.checkpointCost.filter(({ blockUs }) => blockUs > 5);
  const worst = Math.max(...cost.map(({ ratio }) => ratio));
  return {
    name: "added latency p50 <= 6 us, p99 <= 25 us; chain <= 1.04 x; checkpoints <= 3 % for blocks over 5 us",
    figure: true,
    ok: kernel.addedP50Us <= 6 && kernel.addedP99Us <= 25 && chain.ratioP50 <= 1.04 && worst <= 1.03,
    seen: {
      addedP50Us: kernel.addedP50Us,
      addedP99Us: kernel.addedP99Us,
      chainRatioP50: chain.ratioP50,
      worstCheckpointRatio: worst,
    },
  };
}

/**
 * At level loop blocks may be as long as they like. Blocks of 10 us are shown only: they take every thread of the GPU there,
 * and so keep it longer than at level block, which is what is chosen for them.
 */
function checkLoops(report: MicroReport): CheckResult {
  const rows = report.latency.filter(({ critical, level }) => critical === "kernel-5us" && level === "loop");
  return {
    name: "at level loop, blocks of 100 us to 10 ms: added latency p50 <= 6 us, p99 <= 20 us",
    figure: true,
    ok: rows.length === 4 && rows.every((r) => r.blockUs < 100 || (r.addedP50Us <= 6 && r.addedP99Us <= 20)),
    seen: Object.fromEntries(
      rows.map((r) => [`${r.blockUs} us`, { addedP50Us: r.addedP50Us, addedP99Us: r.addedP99Us }]),
    ),
  };
}

async function commitOf(): Promise<string> {
  if (typeof args["commit"] === "string") return args["commit"];
  const git = await new Deno.Command("git", { args: ["rev-parse", "HEAD"], cwd: import.meta.dirname! })
    .output()
    .catch(() => undefined);
  return git?.success === true ? new TextDecoder().decode(git.stdout).trim() : "unknown";
}

const device = probe(openLibrary(libraryPath()), backend);
console.log(
  `${device.name}, ${device.driver || "no driver"}, ${device.sms} SMs; backend ${backend}${
    quick ? ", quick" : ""
  }`,
);
const checks: CheckResult[] = [];
const commit = await commitOf();
/** After each check: what is cut off costs itself only. */
const write = () => {
  if (typeof args["out"] !== "string") return;
  Deno.mkdirSync(args["out"], { recursive: true });
  const report = { device, backend, commit, seed, quick, deno: Deno.version.deno, checks };
  Deno.writeTextFileSync(`${args["out"]}/gpu-test.json`, JSON.stringify(report, null, 1) + "\n");
};
const note = (check: CheckResult) => {
  checks.push(check);
  console.log(`${check.ok ? "ok  " : "FAIL"}  ${check.name}`);
  write();
};
note(await checkBundles(backend));
note(await checkSurvey(quick ? 2 : 20, backend));
note(await checkBitIdentity(quick ? 1 : 12, quick ? 30 : 500, backend));
note(await checkMixedSteps(quick ? 20 : 400, seed, backend));
note(await checkMixedSteps(quick ? 20 : 100, seed + 1, backend, ["stream-memops"]));
note(await checkOneConnection(backend));
let suite: SemanticsRow[] = [];
if (args["without-suite"] !== true) {
  const bound = { prefer: "measured" as const, preemptionBoundNs: 30_000 };
  const semantics = await checkSemantics({ backend, kernels: [], seed, quick, raw: false, ...bound });
  suite = semantics.rows;
  if (typeof args["out"] === "string" && suite.length > 0) {
    Deno.mkdirSync(args["out"], { recursive: true });
    writeSemantics(args["out"], { device, commit, seed, quick, rows: suite });
  }
  if (backend === "cuda") {
    note(semantics.check);
    note(checkCost(suite));
  }
}
const micro = runMicro({
  backend,
  seed,
  rounds: Number(args["rounds"] ?? (quick ? 1 : 12)),
  stretchMs: Number(args["stretch-ms"] ?? (quick ? 60 : 250)),
});
if (backend === "cuda") {
  note(checkMicro(micro));
  note(checkLoops(micro));
}
if (suite.length > 0) console.log(semanticsTable(suite));
console.log(microTable(micro));
for (const { name, seen } of checks) console.log(`\n${name}\n  ${JSON.stringify(seen)}`);

if (typeof args["out"] === "string") {
  write();
  Deno.writeTextFileSync(`${args["out"]}/micro.json`, JSON.stringify({ commit, ...micro }) + "\n");
}
const failed = checks.filter(({ ok }) => !ok).length;
console.log(
  `\n${checks.length - failed} passed, ${failed} failed (${
    backend === "cuda" ? "on the GPU named above" : "SIMULATED: says nothing about a GPU"
  })`,
);
Deno.exit(failed === 0 ? 0 : 1);
