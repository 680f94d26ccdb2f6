/**
 * Which metrics are there? Writes the tables of docs/METRICS.md from their declarations.
 *
 * ```sh
 * .tools/deno run -A tools/gen_metrics_docs.ts           # writes it
 * .tools/deno run -A tools/gen_metrics_docs.ts --check   # exit 1 if it is out of date
 * ```
 */
import { metricsMarkdown } from "../agent/prometheus.ts";

const MANUAL = new URL("../docs/METRICS.md", import.meta.url);
const MARK = "<!-- made by tools/gen_metrics_docs.ts -->";

/** The manual with the tables as they are now. */
export function withTables(manual: string): string {
  const at = manual.indexOf(MARK);
  if (at < 0) throw new Error(`docs/METRICS.md has lost its line ${MARK}`);
  return `${manual.slice(0, at)}${MARK}\n\n${metricsMarkdown()}`;
}

if (import.meta.main) {
  const manual = await Deno.readTextFile(MANUAL);
  const wanted = withTables(manual);
  if (!Deno.args.includes("--check")) await Deno.writeTextFile(MANUAL, wanted);
  else if (wanted.replaceAll(/[ -]+/g, " ") !== manual.replaceAll(/[ -]+/g, " ")) {
    console.error("docs/METRICS.md is out of date: run tools/gen_metrics_docs.ts");
    Deno.exit(1);
  }
}
