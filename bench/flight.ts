/**
 * A simulated flight of 25 minutes: take-off, survey, hot climb, a lost link, a failsafe, low battery, landing.
 *
 * ```sh
 * deno run -A bench/flight.ts                                  # the table; exit status 1 if anything is not as it must be
 * deno run -A bench/flight.ts --svg flight.svg --json flight.json
 * ```
 *
 * The mission's scheduler, planner and MAVLink parser are the real ones. GPU, autopilot and heat are stand-ins, in virtual time:
 * one seed gives the same bytes each time.
 */
import { stderrLogger } from "../agent/log.ts";
import { parseArgs } from "../agent/std/mod.ts";
import { fly } from "./flight/fly.ts";
import { judge } from "./flight/judge.ts";
import { plot } from "./flight/plot.ts";

const args = parseArgs(Deno.args, { string: ["mission", "seed", "profile", "svg", "json"] });
const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
const given = (name: string): string | undefined => {
  const value = args[name];
  return typeof value === "string" ? value : undefined;
};
const mission = given("mission") ?? `${root}/examples/missions/flight.yaml`;
const seed = Number(given("seed") ?? 1);
const flight = await fly({
  mission,
  seed,
  profile: given("profile") ?? "orin-nano",
  log: stderrLogger(() => "", "error"),
});
const verdict = judge(flight);
const { summary, counts } = flight;

for (const [name, { requests, misses, response }] of Object.entries(summary.critical)) {
  console.log(
    `${name}: ${requests} requests, ${misses} missed, worst ${response.maxUs} us of ${flight.deadlineMs} ms`,
  );
}
for (const [name, { units, gpuSeconds }] of Object.entries(summary.background)) {
  console.log(`${name}: ${units} units, ${gpuSeconds.toFixed(1)} s of GPU time`);
}
console.log(
  `background while nothing was against it: ${(verdict.cruisingShare * 100).toFixed(1)} % of the GPU`,
);
for (const [reason, seconds] of Object.entries(verdict.stoppedS)) {
  console.log(`no background: ${seconds.toFixed(1)} s, ${reason}`);
}
console.log(
  `MAVLink: ${counts.datagrams} datagrams, ${counts.frames} frames, ${counts.accepted} of them the autopilot's, ` +
    `${counts.rejected} damaged, ${counts.lost} lost`,
);
const [svg, json] = [given("svg"), given("json")];
if (svg !== undefined) await Deno.writeTextFile(svg, plot(flight, mission, seed));
if (json !== undefined) {
  const report = { mission: mission.split("/").at(-1), simulated: true, seed, ...verdict, counts, summary };
  await Deno.writeTextFile(json, JSON.stringify(report) + "\n");
}
for (const line of verdict.wrong) console.log(`FAIL  ${line}`);
console.log(verdict.wrong.length === 0 ? "all as it must be, on the simulator" : "FAILED");
Deno.exit(verdict.wrong.length === 0 ? 0 : 1);
