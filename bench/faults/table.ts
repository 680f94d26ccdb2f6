/** How are the faults told to people, and what of them counts as failed? */
import type { Row } from "./judge.ts";
import type { SceneReport } from "./play.ts";

const HEAD = [
  ...[
    "fault",
    "n",
    "mid",
    "requests",
    "late",
    "drop",
    "fail",
    "none",
    "run",
    "p99 before",
    "during",
    "after",
  ],
  ...["critical back", "unit back", "all back"],
];

export function campaignTable(reports: readonly SceneReport[], backend: "cuda" | "sim"): string {
  const rows = reports.flatMap(({ rows }) => rows);
  const cells = [HEAD, ...rows.map(cellsOf)];
  const widths = HEAD.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? "").length)));
  const line = (row: string[]) =>
    row.length === 2
      ? `${row[0]!.padEnd(widths[0]!)}  ${row[1]}`
      : row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join("  ");
  const faults = rows.reduce((sum, row) => sum + row.faults, 0);
  const parts = [cells.map(line).join("\n"), "", resultsText(reports), notesText(reports)];
  const where = backend === "sim" ? "on the SIMULATOR, in real time: says nothing about a GPU" : "on a GPU";
  parts.push(
    "mid: injected while a request was under way. none: requests that were due while there was no engine.",
    "p99: response of the critical task in us. back: p50 / max in ms, from the fault to the first on-time answer, to the",
    "next completed unit, and until all of it was seen to be back.",
    `${faults} faults ${where}`,
  );
  return parts.filter((part) => part !== undefined).join("\n");
}

function cellsOf(row: Row): string[] {
  if (row.skipped !== undefined) return [row.kind, row.skipped];
  const { critical: c, responseUs: r } = row;
  const back = ({ p50, max, never }: { p50: number; max: number; never: number }) =>
    `${p50.toFixed(1)} / ${max.toFixed(1)}${never > 0 ? ` (${never} never)` : ""}`;
  return [
    row.kind,
    ...[row.faults, row.midRequest, c.requests, c.late, c.dropped, c.failed, c.unanswered, c.longestRun].map(
      String,
    ),
    ...[r.before, r.during, r.after].map(({ count, p99Us }) => count === 0 ? "-" : p99Us.toFixed(0)),
    back(row.criticalBackMs),
    row.jobBackMs.steady === undefined ? "-" : back(row.jobBackMs.steady),
    back(row.backMs),
  ];
}

function resultsText(reports: readonly SceneReport[]): string {
  const lines = ["results of        counted   written  given up    lost  twice  half-written"];
  for (const { scene, results, queue, leftBehind } of reports) {
    for (const [work, r] of Object.entries(results)) {
      if (r.counted === 0 && r.written === 0) continue;
      const numbers = [r.counted, r.written, r.givenUp, r.lost, r.duplicates, r.halfWritten];
      const [a, b, c, d, e, f] = numbers.map(String) as [string, string, string, string, string, string];
      lines.push(
        `${`${scene}: ${work}`.padEnd(17)} ${a.padStart(8)}  ${b.padStart(8)}  ${c.padStart(8)}  ${
          d.padStart(6)
        }  ${e.padStart(5)}  ${f.padStart(12)}`,
      );
      for (const where of r.where) lines.push(`  ${where}`);
    }
    if (queue !== undefined) {
      const { dropped, done, failed, waiting, odd } = queue;
      lines.push(
        `  queue: ${dropped} files, ${done} done, ${failed} failed, ${waiting} wait, ${odd.length} in no state or in two`,
      );
    }
    if (leftBehind.length > 0) {
      lines.push(`  left behind after the end, and killed: ${leftBehind.join(", ")}`);
    }
  }
  return lines.join("\n") + "\n";
}

function notesText(reports: readonly SceneReport[]): string | undefined {
  const notes = reports.flatMap(({ rows }) =>
    rows.flatMap(({ kind, notes, failed }) => [
      ...notes.slice(0, 8).map((note) => `${kind}: ${note}`),
      ...(failed === undefined ? [] : [`${kind}: FAILED: ${failed}`]),
    ])
  );
  return notes.length === 0 ? undefined : notes.join("\n") + "\n";
}

/** What must not be, in words; empty: all is well. Misses are figures, not failures. */
export function verdict(reports: readonly SceneReport[]): string[] {
  const wrong: string[] = [];
  for (const { scene, results, rows, queue, leftBehind, failed } of reports) {
    if (failed !== undefined) wrong.push(`${scene}: ${failed}`);
    for (const [work, { lost, halfWritten }] of Object.entries(results)) {
      if (lost > 0) wrong.push(`${scene}: ${lost} results of ${work} were lost`);
      if (halfWritten > 0) wrong.push(`${scene}: ${halfWritten} results of ${work} are half-written`);
    }
    for (const { kind, notRecovered } of rows) {
      if (notRecovered > 0) wrong.push(`${kind}: ${notRecovered} times it did not come back`);
    }
    if (queue !== undefined && queue.odd.length > 0) {
      wrong.push(
        `${scene}: of ${queue.dropped} files ${queue.odd.length} are in no state or in two: ${queue.odd[0]}`,
      );
    }
    if (leftBehind.length > 0) wrong.push(`${scene}: processes were left behind: ${leftBehind.join(", ")}`);
  }
  return wrong;
}
