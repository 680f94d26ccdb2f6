/**
 * The report: one HTML file that holds everything, SVG files beside it, and the figures as JSON. Made from the raw cells of a
 * folder alone, so that it can be made again anywhere.
 */
import { path } from "../../agent/std/mod.ts";
import { keyOf, NONE, SYSTEM_TEXT } from "./cells.ts";
import { claimsOf, OUR_SYSTEM, type PreemptionRow } from "./claims.ts";
import {
  attainmentCurve,
  p99Bars,
  pareto,
  preemptionCurve,
  responseCdf,
  responseTail,
  timeline,
  verdictLine,
} from "./plots.ts";
import { preemptionOf } from "./preemption.ts";
import type { SharingTest } from "./self_test.ts";
import { sharingOf } from "./sharing.ts";
import { type Failure, type RawCell, Store } from "./store.ts";
import { compare, type Interval, MIN_ROUNDS } from "./statistics.ts";
import {
  byRound,
  type Group,
  LIMITS,
  overRounds,
  ratioToReference,
  summarise,
  type Summary,
  systemOf,
  type SystemSummary,
} from "./summary.ts";
import { escape, type Plot, trim } from "./svg.ts";

export interface Report {
  html: string;
  /** Text by file name. */
  plots: Map<string, string>;
  summary: Summary;
}

/** Writes `report.html`, `plots/*.svg` and `figures.json` into `dir`. Throws if there are no cells in it. */
export async function writeReport(dir: string): Promise<Report> {
  const cells = await Store.all(dir);
  if (cells.length === 0) throw new Error(`Cannot report on ${dir}: no cell is done`);
  const preemption = await preemptionOf(dir);
  if (preemption !== undefined && preemption.backend !== cells[0]!.backend) {
    throw new Error(`Cannot report on ${dir}: its preemption is of backend ${preemption.backend}`);
  }
  const report = makeReport(cells, preemption?.rows, await sharingOf(dir), await Store.failures(dir));
  await Deno.mkdir(path.join(dir, "plots"), { recursive: true });
  for (const [name, text] of report.plots) await Deno.writeTextFile(path.join(dir, "plots", name), text);
  await Deno.writeTextFile(path.join(dir, "report.html"), report.html);
  const claims = claimsOf(report.summary, preemption?.rows);
  const figures = { ...withoutSamples(report.summary), claims };
  await Deno.writeTextFile(path.join(dir, "figures.json"), JSON.stringify(figures, undefined, 1) + "\n");
  return report;
}

function withoutSamples(summary: Summary): Record<string, unknown> {
  const groups = summary.groups.map((group) => ({
    ...group,
    systems: group.systems.map(({ responsesNs: _, ...rest }) => rest),
  }));
  return { ...summary, groups };
}

export function makeReport(
  cells: readonly RawCell[],
  preemption?: readonly PreemptionRow[],
  sharing: readonly SharingTest[] = [],
  failures: readonly Failure[] = [],
): Report {
  const summary = summarise(cells);
  const label = labelOf(cells);
  const plots = new Map<string, string>();
  const draw = (name: string, plot: Plot | undefined): string => {
    if (plot === undefined) return "";
    const text = plot.toString(label);
    plots.set(`${name}.svg`, text);
    return `<figure>${text}</figure>`;
  };
  const parts = summary.groups.map((group, i) => {
    const name = `${group.critical}-${group.background}-${group.arrivals}`;
    const lines = group.systems.map(({ system }) =>
      `<li><b>${escape(SYSTEM_TEXT[system])}</b>: ${escape(verdictLine(group, system))}</li>`
    );
    const excerpt = i === 0 ? draw(`timeline-${name}`, timeline(excerptCells(cells, group))) : "";
    return `<h2>${escape(`${group.critical}, ${group.arrivals}, beside ${group.background}`)}</h2>` +
      draw(`cdf-${name}`, responseCdf(group)) + draw(`tail-${name}`, responseTail(group)) +
      `<ul>${lines.join("")}</ul>` + groupTable(group) +
      levelsLine(group) +
      draw(`p99-${name}`, p99Bars(group)) + draw(`pareto-${name}`, pareto(group)) + excerpt;
  });
  const pairs = new Set(summary.groups.map(({ critical, background }) => `${critical}|${background}`));
  const curves = [...pairs].map((pair) => {
    const [critical, background] = pair.split("|") as [string, string];
    return draw(
      `attainment-${critical}-${background}`,
      attainmentCurve(summary.groups, critical, background),
    );
  });
  const latency = preemption === undefined ? "" : draw("preemption", preemptionCurve(preemption));
  const html = page(cells, label, [
    ...parts.slice(0, 1),
    `<h2>The published figures</h2>${claimsTable(summary, preemption)}`,
    ...parts.slice(1),
    ...curves.filter((one) => one !== ""),
    ...(latency === "" ? [] : ["<h2>Preemption latency</h2>", latency]),
    taxTable(summary),
    sharingTable(sharing),
    rejectedList(summary),
    failedList(failures, new Set(cells.map(({ cell }) => keyOf(cell)))),
    notesList(cells),
  ]);
  return { html, plots, summary };
}

/** Of the first round, those that tell most. */
function excerptCells(cells: readonly RawCell[], group: Group): RawCell[] {
  const order = [
    "exclusive",
    "priorities",
    "green",
    "mps",
    "timeslice",
    "gating",
    "calypte-alone",
    "calypte",
    "calypte-anticipated",
  ];
  return order.flatMap((system) =>
    cells.filter(({ cell }) =>
      cell.purpose === "run" && cell.round === 1 && cell.system === system &&
      cell.critical === group.critical &&
      cell.arrivals === group.arrivals && (cell.background === group.background || cell.background === NONE)
    )
  );
}

/** Stands in every plot. */
function labelOf(cells: readonly RawCell[]): string {
  const { backend, machine, seeds } = cells[0]!;
  const where = backend === "sim" ? "SIMULATED, not a GPU" : `${machine.gpu}, driver ${machine.driver}`;
  return `${where} · commit ${machine.commit} · seed ${seeds.run} · ${cells.length} cells`;
}

function page(cells: readonly RawCell[], label: string, parts: readonly string[]): string {
  const { backend, machine } = cells[0]!;
  const simulated = backend === "sim"
    ? `<p class='warn'>Simulated. These times were made by Calypte's simulator in virtual time. They show that the suite works and what the scheduler decides; they are nobody's GPU's.</p>`
    : "";
  const clocks = cells.flatMap(({ smMhz }) => smMhz ?? []);
  const dates = cells.map(({ begunAt }) => begunAt).sort();
  const facts = [
    ["GPU", `${machine.gpu}, driver ${machine.driver}`],
    [
      "SM clock seen",
      clocks.length === 0 ? "not measured" : `${Math.min(...clocks)} to ${Math.max(...clocks)} MHz`,
    ],
    ["CPU", `${machine.cpu}, ${machine.cpus} threads, Linux ${machine.kernel}`],
    ["Commit", [...new Set(cells.map((raw) => raw.machine.commit))].join(", ")],
    ["Seed", [...new Set(cells.map(({ seeds }) => seeds.run))].join(", ")],
    ["Measured", `${dates[0]} to ${dates.at(-1)}, ${cells.length} cells`],
  ];
  const rows = facts.map(([name, value]) => `<tr><th>${escape(name!)}</th><td>${escape(value!)}</td></tr>`)
    .join("");
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Calypte: evaluation</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 960px; margin: 2em auto; padding: 0 1em; color: #1a1a1a; background: #fff; }
h1 { margin-bottom: 0; } h2 { margin-top: 2em; border-bottom: 1px solid #ddd; } figure { margin: 1em 0; } svg { max-width: 100%; height: auto; border-radius: 6px; }
figure { overflow-x: auto; } @media (max-width: 640px) { svg { min-width: 560px; } }
table { border-collapse: collapse; font-size: 13px; margin: 1em 0; } th, td { border: 1px solid #ddd; padding: 3px 7px; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; } .text td, .text th { text-align: left; } .wide { overflow-x: auto; }
.warn { background: #fff3cd; border: 1px solid #e0c060; padding: 0.6em 1em; font-weight: 600; } .small { font-size: 12px; color: #555; }
.reached { color: #06742a; font-weight: 600; } .not-reached { color: #b00000; font-weight: 600; }
td:first-child { min-width: 9em; } .wide { margin: 1em 0; } .wide table { margin: 0; }
@media (prefers-color-scheme: dark) {
  body { color: #e6e6e6; background: #16191d; } h2, th, td { border-color: #3c434b; } .small { color: #a9b0b8; }
  .warn { background: #4a3b08; border-color: #8a6d1a; } .reached { color: #5fd38a; } .not-reached { color: #ff8a80; }
}
</style></head><body>
<h1>Calypte: evaluation</h1><p class='small'>${escape(label)}</p>
${simulated}<table class='text'>${rows}</table>
<p>A response counts from the scheduled arrival to the output in host-visible memory, queueing included. A request that is late, dropped or unfinished is a miss. S is the p99 of exclusive use: the median of calibrations of their own. Figures are medians over interleaved rounds, in brackets the 95 % interval of the bootstrap (of five rounds: their range, which holds the median in 94 of 100 cases), in parentheses the range where there are fewer than ${MIN_ROUNDS} rounds; a win is told only if the interval says so. Comparisons are many and are not corrected for that. ${
    backend === "sim"
      ? "The simulator computes no outputs, so that none was compared."
      : "Outputs were compared with a reference run; a cell with a wrong one, or with none that was compared, gives no figures."
  }</p>
${parts.join("\n")}
</body></html>
`;
}

function claimsTable(summary: Summary, preemption: readonly PreemptionRow[] | undefined): string {
  const rows = claimsOf(summary, preemption).map(({ claim, target, found, verdict, rule }) =>
    `<tr><td>${escape(claim)}</td><td>${escape(target)}</td><td>${escape(found)}</td><td class='${
      verdict.replaceAll(" ", "-")
    }'>${verdict}</td><td class='small'>${escape(rule)}</td></tr>`
  );
  return `<div class='wide'><table class='text'><tr><th>claim</th><th>published</th><th>found</th><th></th><th>rule</th></tr>${
    rows.join("")
  }</table></div>`;
}

/** With the interval in brackets, or the range in parentheses where there are too few rounds for one. */
export function intervalText(
  { median, low, high, least, most, rounds }: Interval,
  format: (value: number) => string,
): string {
  const text = (value: number) => Number.isFinite(value) ? format(value) : "never";
  if (Number.isNaN(median)) return "-";
  if (!Number.isNaN(low)) {
    return low === high ? text(median) : `${text(median)} [${text(low)}, ${text(high)}]`;
  }
  return rounds < 2 || least === most ? text(median) : `${text(median)} (${text(least)}, ${text(most)})`;
}

const us = (ns: number) => trim(Number((ns / 1000).toFixed(1)));
const percent = (share: number) => (100 * share).toFixed(1);

function groupTable(group: Group): string {
  const ours = systemOf(group, OUR_SYSTEM);
  const rows = group.systems.map((one) => {
    const verdict = ours === undefined || one.system.startsWith("calypte") || one.system === group.reference
      ? ""
      : compare(
        byRound(ours, ({ attained }) => attained[0]),
        byRound(one, ({ attained }) => attained[0]),
        "higher",
      )
        .verdict;
    const cells = [
      escape(SYSTEM_TEXT[one.system]),
      String(one.rounds.reduce((sum, { requests }) => sum + requests, 0)),
      String(one.rounds.reduce((sum, { unanswered }) => sum + unanswered, 0)),
      ...(["p50", "p99", "p999", "max"] as const).map((key) =>
        intervalText(overRounds(one, (f) => f[key]), us)
      ),
      intervalText(ratioToReference(group, one, ({ p99 }) => p99), (value) => value.toFixed(3)),
      ...LIMITS.map((_, i) => intervalText(overRounds(one, ({ attained }) => attained[i]!), percent)),
      intervalText(overRounds(one, ({ goodput }) => goodput), percent),
      intervalText(overRounds(one, ({ fill }) => fill), percent),
      intervalText(overRounds(one, ({ utilisation }) => utilisation), percent),
      intervalText(overRounds(one, ({ cpuCores }) => cpuCores), (value) => value.toFixed(2)),
      intervalText(overRounds(one, ({ watts }) => watts), (value) => value.toFixed(0)),
      clockText(one),
      verdict,
    ];
    return `<tr>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
  });
  const heads = [
    ...[
      "system",
      "requests",
      "un-answered",
      "p50 us",
      "p99 us",
      "p99.9 us",
      "max us",
      "p99 ratio",
      "% in S",
      "1.2 S",
      "1.5 S",
    ],
    ...["goodput %", "idle fill %", "used %", "CPU cores", "W", "SM MHz", "Calypte's attainment is"],
  ];
  const limits = group.limits.map((ns) => trim(ns / 1000)).join(", ");
  const rounds = group.systems.map((one) => one.rounds.length);
  const [fewest, most] = [Math.min(...rounds), Math.max(...rounds)];
  const coarse = group.aloneUnits < 100
    ? ` Background alone ended ${group.aloneUnits} units in its window: goodput is known to ${
      percent(1 / group.aloneUnits)
    } %.`
    : "";
  return `<p>S = ${trim(group.limitNs / 1000)} us (p99 of each calibration: ${limits}), ${
    fewest === most ? most : `${fewest} to ${most}`
  } rounds.${coarse}</p><div class='wide'><table><tr>${
    heads.map((head) => `<th>${head}</th>`).join("")
  }</tr>${rows.join("")}</table></div>`;
}

/** Of all rounds: a GPU that has little to do may run slower, and what is compared with it then looks better. */
function clockText({ rounds }: SystemSummary): string {
  const [low, high] = [
    Math.min(...rounds.map(({ smMhz }) => smMhz[0])),
    Math.max(...rounds.map(({ smMhz }) => smMhz[1])),
  ];
  return Number.isNaN(low) ? "-" : low === high ? `${low}` : `${low} to ${high}`;
}

/** Shares of background's GPU time at each level, over all rounds; empty: nothing of ours ran. */
function levelsLine(group: Group): string {
  const items = group.systems.flatMap(({ system, rounds }) => {
    const sums = new Map<string, number>();
    for (const { levelsNs } of rounds) {
      for (const [level, ns] of Object.entries(levelsNs)) sums.set(level, (sums.get(level) ?? 0) + ns);
    }
    const all = [...sums.values()].reduce((sum, ns) => sum + ns, 0);
    if (all === 0) return [];
    const shares = [...sums].filter(([, ns]) => ns > 0).map(([level, ns]) =>
      `${level} ${percent(ns / all)} %`
    );
    return [`${escape(SYSTEM_TEXT[system])}: ${shares.join(", ")}`];
  });
  return items.length === 0
    ? ""
    : `<p class='small'>Background's GPU time by level. ${items.join("; ")}.</p>`;
}

function taxTable({ backgroundTax, groups }: Summary): string {
  const rows = backgroundTax.map(({ background, ratio }) =>
    `<tr><td>${escape(background)} alone: time of a unit on Calypte's engine / without</td><td>${
      intervalText(ratio, (value) => value.toFixed(4))
    }</td></tr>`
  );
  const seen = new Set<string>();
  for (const group of groups) {
    const alone = systemOf(group, "calypte-alone");
    const key = `${group.critical}, ${group.arrivals}`;
    if (alone === undefined || group.reference === "calypte-alone" || seen.has(key)) continue;
    seen.add(key);
    for (const [name, of] of [["p50", "p50"], ["p99", "p99"]] as const) {
      const ratio = ratioToReference(group, alone, (figures) => figures[of]);
      rows.push(
        `<tr><td>${escape(key)} alone: ${name} on Calypte's engine / without</td><td>${
          intervalText(ratio, (value) => value.toFixed(4))
        }</td></tr>`,
      );
    }
  }
  return rows.length === 0 ? "" : `<h2>Runtime tax</h2><table>${rows.join("")}</table>`;
}

function sharingTable(tests: readonly SharingTest[]): string {
  if (tests.length === 0) return "";
  const rows = tests.map(({ system, passed, text }) =>
    `<tr><td>${escape(SYSTEM_TEXT[system])}</td><td>${passed ? "shares" : "does not share"}</td><td>${
      escape(text)
    }</td></tr>`
  );
  return `<h2>Do the baselines share?</h2><table class='text'>${rows.join("")}</table>`;
}

function rejectedList({ rejected }: Summary): string {
  if (rejected.length === 0) return "";
  const items = rejected.map(({ cell, why }) =>
    `<li>${
      escape(`${cell.purpose} ${cell.critical} ${cell.background} ${cell.arrivals} ${cell.system}`)
    } round ${cell.round}: ${escape(why)}</li>`
  );
  return `<h2>Cells without figures</h2><ul>${items.join("")}</ul>`;
}

/** Also those that were done later: what was tried is not hidden. */
function failedList(failures: readonly Failure[], done: ReadonlySet<string>): string {
  if (failures.length === 0) return "";
  const items = failures.map(({ key, why }) =>
    `<li>${escape(`${key}: ${why}`)}${done.has(key) ? " (done later)" : ""}</li>`
  );
  return `<h2>Cells that failed</h2><ul class='small'>${items.join("")}</ul>`;
}

function notesList(cells: readonly RawCell[]): string {
  const notes = new Map<string, number>();
  for (const { notes: some, cell } of cells) {
    for (const note of some) {
      const text = `${cell.system}, ${cell.background}: ${note}`;
      notes.set(text, (notes.get(text) ?? 0) + 1);
    }
  }
  if (notes.size === 0) return "";
  const items = [...notes].map(([text, count]) => `<li>${escape(text)} (${count} cells)</li>`);
  return `<h2>Notes</h2><ul class='small'>${items.join("")}</ul>`;
}
