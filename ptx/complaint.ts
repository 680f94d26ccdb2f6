/** What stands against a level, in words, and where? */

export interface Complaint {
  /** The highest level that is left. */
  readonly limit: "slice" | "whole";
  readonly reason: string;
  /** In the original text. */
  readonly line: number;
}

/** Of several, the one that leaves least; the first where they are alike. */
export function worst(complaints: readonly (Complaint | undefined)[]): Complaint | undefined {
  const given = complaints.filter((c) => c !== undefined);
  return given.find(({ limit }) => limit === "whole") ?? given[0];
}
