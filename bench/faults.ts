/**
 * Does anything that goes wrong reach the critical work, and is anything lost over it? A few hundred faults, injected into
 * missions that run.
 *
 * ```sh
 * deno run -A --cached-only bench/faults.ts --out DIR --commit HASH   # on a GPU; takes less than five minutes
 * deno run -A bench/faults.ts --backend sim --quick                   # what needs no GPU, in half a minute
 * ```
 *
 * `--only TEXT,TEXT`: scenes whose name has one of these in it. `--budget SECONDS`: no fault is injected later than this. Each scene's numbers
 * are written to DIR as they come, and a table is printed last. A scene that hangs is reported as failed, and the next one
 * begins. Ends with 1 if results were lost or half-written, if something did not come back, or a scene failed.
 */
import { parseArgs } from "../agent/std/mod.ts";
import { cleanUp, playScene, type SceneReport } from "./faults/play.ts";
import { type Campaign, scenesOf } from "./faults/kinds.ts";
import { features } from "./faults/missions.ts";
import { campaignTable, verdict } from "./faults/table.ts";

/** What a GPU machine gives for all of it. */
const BUDGET_S = 280;

const args = parseArgs(Deno.args, {
  string: ["out", "backend", "seed", "commit", "only", "budget"],
  boolean: ["quick", "keep", "no-mount"],
});
const campaign: Campaign = {
  backend: args["backend"] === "sim" ? "sim" : "cuda",
  quick: args["quick"] === true,
  has: features(),
  mount: args["no-mount"] !== true,
};
const seed = Number(args["seed"] ?? 1);
const budgetS = Number(args["budget"] ?? BUDGET_S);
const out = typeof args["out"] === "string" ? args["out"] : undefined;
if (out !== undefined) Deno.mkdirSync(out, { recursive: true });

const reports: SceneReport[] = [];
const write = () => {
  if (out === undefined) return;
  const { backend, quick, has } = campaign;
  const head = { backend, quick, features: has, seed, commit: args["commit"] ?? "unknown" };
  Deno.writeTextFileSync(`${out}/faults.json`, JSON.stringify({ ...head, scenes: reports }, null, 1) + "\n");
};

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, () => {
    write();
    cleanUp().finally(() => Deno.exit(130));
  });
}

const only = typeof args["only"] === "string" ? args["only"].split(",") : undefined;
const wanted = (name: string) => only === undefined || only.some((part) => name.includes(part));
const giveUpMs = performance.now() + budgetS * 1000;
for (const scene of scenesOf(campaign).filter(({ name }) => wanted(name))) {
  const began = performance.now();
  const late = began > giveUpMs ? `no time was left of ${budgetS} s` : undefined;
  const report = await playScene({ ...scene, skip: scene.skip ?? late }, {
    ...campaign,
    seed,
    keep: args["keep"] === true,
    withinMs: Math.max(1, giveUpMs - began),
  });
  reports.push(report);
  write();
  const s = ((performance.now() - began) / 1000).toFixed(1);
  console.error(
    `${scene.name}: ${report.skipped ?? report.failed ?? `${report.rows.length} kinds`} (${s} s)`,
  );
}
console.log(campaignTable(reports, campaign.backend));
const wrong = verdict(reports);
for (const line of wrong) console.log(`FAIL  ${line}`);
Deno.exit(wrong.length === 0 ? 0 : 1);
