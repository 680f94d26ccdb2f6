/** The bench as a page: one file without scripts or anything to fetch, to be kept beside a bundle or sent to somebody. */
import { formatBytes, formatDurationNs } from "../quantity.ts";
import type { BenchReport, Comparison, StepBench } from "./report.ts";
import { stepNs } from "./report.ts";
import { costText, holdText, levelText, quantileCells, SIMULATED, totalCost, units } from "./text.ts";

const STYLE = `
:root { color-scheme: light dark; --ink: #16201f; --soft: #55615f; --paper: #f6f7f5; --card: #fff; --line: #d5dad7;
  --bar: #4a987c; --before: #b9c4c0; --bad: #b3151c; --warn: #7a4b00; --warn-paper: #fdeecb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e9efed; --soft: #a2afac; --paper: #0f1514; --card: #182120;
  --line: #33403d; --bar: #5db392; --before: #5a6865; --bad: #ff8f8a; --warn: #ffd98a; --warn-paper: #3a2c0c; } }
body { margin: 0 auto; padding: 1.5rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.5rem; } h2 { margin: 2rem 0 .5rem; font-size: 1.1rem; }
p { margin: .25rem 0; } .soft { color: var(--soft); } .bad { color: var(--bad); font-weight: 600; }
.simulated { margin: 1rem 0; padding: .6rem 1rem; background: var(--warn-paper); color: var(--warn); font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; background: var(--card); font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { font-weight: 600; } th:first-child, td:first-child { text-align: left; }
.bars { min-width: 12rem; } .bars i { display: block; height: .5rem; min-width: 1px; margin: 1px 0;
  background: var(--bar); } .bars i.before { background: var(--before); }
`;

/** `comparison` with what it is against. */
export function benchHtml(report: BenchReport, comparison?: { found: Comparison; then: string }): string {
  const { bundle, device, driver, digest, calypte, preemptionBoundNs, simulated } = report;
  const total = totalCost(report.steps);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${text(bundle)}: bench</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${text(bundle)}</h1>
<p>${text(device)}${driver === "" ? "" : `, driver ${text(driver)}`}; ${units(report)}; preemption bound ${
    formatDurationNs(preemptionBoundNs)
  }</p>
<p class="soft">Calypte ${text(calypte)}, bundle digest ${text(digest)}</p>
${simulated ? `<p class="simulated">${text(SIMULATED)}</p>` : ""}
<h2>One unit</h2>
${
    rows(
      ["", "min", "p50", "p90", "p99", "max"],
      [
        ["as a critical task", ...quantileCells(report.unit.critical)],
        ["as a background job", ...quantileCells(report.unit.background)],
      ].map((row) => row.map(text)),
    )
  }
${hostText(report)}
<h2>Kernels</h2>
${simulated ? "" : legend(total)}
${stepTable(report)}
${noteList(report)}
${comparison === undefined ? "" : comparisonPart(comparison.found, comparison.then)}
<h2>Memory</h2>
${memoryTable(report)}
</body>
</html>
`;
}

function legend(total: number | null): string {
  const all = total === null ? "" : `; all steps together cost ${total.toFixed(3)} times the untouched ones`;
  return `<p class="soft">Upper bar: untouched. Lower bar: at the level chosen${all}.</p>`;
}

function hostText({ host }: BenchReport): string {
  if (host === null) return "";
  const [best, p50, worst] = [host.bestNs, host.p50Ns, host.worstNs].map(formatDurationNs);
  return `<p>As the host sees a request, launch to completion: best ${best}, p50 ${p50}, worst ${worst} of ${host.runs}.</p>`;
}

function stepTable({ steps, simulated }: BenchReport): string {
  const longestNs = Math.max(1, ...steps.map((step) => Math.max(stepNs(step), step.untouched?.p50Ns ?? 0)));
  const bar = (ns: number, kind: string) =>
    `<i class="${kind}" style="width:${(100 * ns / longestNs).toFixed(1)}%"></i>`;
  const bars = (step: StepBench) =>
    `<div class="bars">${step.untouched === null ? "" : bar(step.untouched.p50Ns, "before")}${
      bar(stepNs(step), "now")
    }</div>`;
  const hold = (step: StepBench) =>
    step.keepsBound === false ? `<span class="bad">${text(holdText(step))}</span>` : text(holdText(step));
  const shape = (of: readonly number[] | null) => text(of?.join(" x ") ?? "");
  const head = simulated ? ["kernel", "", "declared", "loaded at", "safe levels", "grid", "block"] : [
    ...["kernel", "", "untouched", "chosen", "max", "cost", "level", "keeps the GPU"],
    ...["safe levels", "grid", "block"],
  ];
  return rows(
    head,
    steps.map((step) => {
      const { kernel, grid, block, untouched, chosen, declaredNs, safeLevels } = step;
      const duration = (ns: number | undefined) => ns === undefined ? "?" : formatDurationNs(ns);
      const common = [text(safeLevels.join(" ")), shape(grid), shape(block)];
      const level = text(levelText(step));
      return simulated
        ? [text(kernel), bars(step), declaredNs === 0 ? "" : formatDurationNs(declaredNs), level, ...common]
        : [
          ...[text(kernel), bars(step), duration(untouched?.p50Ns), duration(chosen?.p50Ns)],
          ...[duration(chosen?.maxNs), costText(step), level, hold(step), ...common],
        ];
    }),
  );
}

function noteList({ steps, notes }: BenchReport): string {
  const all = [
    ...notes,
    ...new Set(steps.flatMap(({ kernel, notes }) => notes.map((note) => `${kernel}: ${note}`))),
  ];
  return all.length === 0 ? "" : `<ul>${all.map((note) => `<li>${text(note)}</li>`).join("")}</ul>`;
}

function comparisonPart({ units, steps, onlyNow, onlyThen, notes }: Comparison, then: string): string {
  const lines = [
    ...notes,
    ...onlyNow.map((what) => `${what} is only here`),
    ...onlyThen.map((what) => `${what} is only there`),
  ];
  return `<h2>Against ${text(then)}</h2>
${lines.map((line) => `<p>${text(line)}</p>`).join("\n")}
${
    rows(
      ["median", "now", "then", "now / then"],
      [...units, ...steps].map(({ what, nowNs, thenNs, ratio }) => [
        text(what),
        formatDurationNs(nowNs),
        formatDurationNs(thenNs),
        ratio === null ? "" : ratio.toFixed(3),
      ]),
    )
  }`;
}

function memoryTable({ memory: { critical, background } }: BenchReport): string {
  const both = [critical, background];
  const whats = [...new Set(both.flatMap(({ items }) => items.map(({ what }) => what)))];
  const row = (what: string, of: (need: typeof critical) => number) => [
    text(what),
    ...both.map((need) => formatBytes(of(need))),
  ];
  return rows(["", "as a critical task", "as a background job"], [
    ...whats.map((what) =>
      row(what, ({ items }) => items.find((item) => item.what === what)?.sizeBytes ?? 0)
    ),
    row("units under way, in host memory", ({ slots }) => slots.sizeBytes),
    row("while it is tried", ({ copyBytes }) => copyBytes),
    ...(critical.seenBytes === null
      ? []
      : [row("seen: free memory fell by", ({ seenBytes }) => seenBytes ?? 0)]),
  ]);
}

/** Cells are HTML. */
function rows(head: readonly string[], body: readonly (readonly string[])[]): string {
  const cells = (row: readonly string[], tag: string) =>
    row.map((cell) => `<${tag}>${cell}</${tag}>`).join("");
  return `<div class="wide"><table><thead><tr>${cells(head, "th")}</tr></thead><tbody>
${body.map((row) => `<tr>${cells(row, "td")}</tr>`).join("\n")}
</tbody></table></div>`;
}

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

function text(plain: string): string {
  return plain.replace(/[&<>"]/g, (found) => ESCAPES[found] ?? found);
}
