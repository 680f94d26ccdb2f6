/** What did a look at the machine find, and what is to be done about it? */
import { InputError } from "../errors.ts";

export type Verdict = "ok" | "warn" | "fail";

/** One line of a report; plain JSON. Texts are plain English without a final period. */
export interface Finding {
  /** Such as "GPU". */
  what: string;
  verdict: Verdict;
  text: string;
  /** What to do about it. */
  remedy?: string;
}

export function finding(what: string, verdict: Verdict, text: string, remedy?: string): Finding {
  return { what, verdict, text, ...(remedy === undefined ? {} : { remedy }) };
}

/** Of one that went wrong: its problems, one line each, with their remedies. */
export function failed(what: string, error: unknown, remedy?: string): Finding[] {
  if (error instanceof InputError) {
    return error.problems.map(({ file, field, rule, remedy: own }) => {
      const where = [file, field].filter((part) => part !== "").join(": ");
      return finding(what, "fail", where === "" ? rule : `${where}: ${rule}`, own ?? remedy);
    });
  }
  return [
    finding(
      what,
      "fail",
      error instanceof Error ? error.message.split("\n")[0] ?? "" : String(error),
      remedy,
    ),
  ];
}

/** Carries out one look; what it throws is what it found. */
export async function look(
  what: string,
  body: () => Promise<Finding[]> | Finding[],
  remedy?: string,
): Promise<Finding[]> {
  try {
    return await body();
  } catch (error) {
    return failed(what, error, remedy);
  }
}

/** Aligned, each with its remedy below it. */
export function findingLines(
  findings: readonly Finding[],
  paint: (verdict: Verdict, text: string) => string,
): string[] {
  const width = Math.max(0, ...findings.map(({ what }) => what.length));
  return findings.flatMap(({ what, verdict, text, remedy }) => [
    `${paint(verdict, verdict.padEnd(4))}  ${what.padEnd(width)}  ${text}`,
    ...(remedy === undefined || verdict === "ok" ? [] : [`${"".padEnd(8 + width)}${remedy}`]),
  ]);
}

export function isGood(findings: readonly Finding[]): boolean {
  return findings.every(({ verdict }) => verdict !== "fail");
}
