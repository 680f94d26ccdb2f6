/**
 * What do the files say that a mission left behind? Which results are there, twice, torn, or missing.
 *
 * Reads all files of a work's results, also those that later agents have set aside. It does *not* know what was to be
 * expected: judge.ts compares.
 */
import { path } from "../../agent/std/mod.ts";

export interface Line {
  number: number;
  arrivalNs: number;
  doneNs: number;
  late: boolean;
  dropped: boolean;
  failed: boolean;
  /** Of a directory queue: which file it answers. */
  input?: string;
}

export interface Ledger {
  /** Each result once, by time. */
  lines: Line[];
  /** Results that are there once more; they can be told by number and arrival. */
  duplicates: number;
  /** Lines that do not parse, and ends without a newline. */
  torn: number;
  tornWhere: string[];
  files: number;
}

/** `stem`.jsonl and every `stem`.N.jsonl of the folder. */
export function readLines(dir: string, stem: string): Ledger {
  const ledger: Ledger = { lines: [], duplicates: 0, torn: 0, tornWhere: [], files: 0 };
  const seen = new Set<string>();
  for (const name of namesIn(dir)) {
    if (!name.startsWith(`${stem}.`) || !/^(\d+\.)?jsonl$/.test(name.slice(stem.length + 1))) continue;
    ledger.files++;
    const parts = Deno.readTextFileSync(path.join(dir, name)).split("\n");
    if (parts.pop() !== "") torn(ledger, `${name}: its last line does not end`);
    for (const [at, part] of parts.entries()) {
      let value: Record<string, unknown>;
      try {
        value = JSON.parse(part);
      } catch {
        torn(ledger, `${name}:${at + 1}: no JSON`);
        continue;
      }
      if (value.kind === undefined) continue;
      const line = lineOf(value);
      const key = `${line.number} ${line.arrivalNs} ${line.doneNs}`;
      if (seen.has(key)) ledger.duplicates++;
      else {
        seen.add(key);
        ledger.lines.push(line);
      }
    }
  }
  ledger.lines.sort((a, b) => timeOf(a) - timeOf(b) || a.number - b.number);
  return ledger;
}

/** Of a folder of binaries and those set aside below it: a sidecar is a result, and its binary must be whole. */
export function readFolder(dir: string, sizeBytes: number): Ledger {
  const ledger: Ledger = { lines: [], duplicates: 0, torn: 0, tornWhere: [], files: 0 };
  const seen = new Set<string>();
  const folders = [
    dir,
    ...namesIn(dir).filter((name) => /^earlier-\d+$/.test(name)).map((n) => path.join(dir, n)),
  ];
  for (const folder of folders) {
    for (const name of namesIn(folder)) {
      if (!/^\d{8,}\.json$/.test(name)) continue;
      ledger.files++;
      const file = path.join(folder, name);
      try {
        const value = JSON.parse(Deno.readTextFileSync(file));
        const binary = path.join(folder, value.file);
        const { size } = Deno.statSync(binary);
        if (size !== sizeBytes) throw new Error(`${value.file} has ${size} bytes, not ${sizeBytes}`);
        const line = lineOf(value);
        const key = `${line.number} ${line.doneNs}`;
        if (seen.has(key)) ledger.duplicates++;
        else {
          seen.add(key);
          ledger.lines.push(line);
        }
      } catch (error) {
        torn(ledger, `${file}: ${(error as Error).message}`);
      }
    }
  }
  ledger.lines.sort((a, b) => timeOf(a) - timeOf(b) || a.number - b.number);
  return ledger;
}

/** A request's place in time is its arrival; a unit has none. */
export function timeOf({ arrivalNs, doneNs }: Line): number {
  return arrivalNs > 0 ? arrivalNs : doneNs;
}

function lineOf(value: Record<string, unknown>): Line {
  const number = Number(value.number ?? value.unit);
  const input = value.input ?? value.unitId ?? value.id;
  return {
    number,
    arrivalNs: Number(value.kind === "critical" ? value.arrivalNs : 0),
    doneNs: Number(value.doneNs),
    late: value.late === true,
    dropped: value.dropped === true,
    failed: value.failed === true,
    ...(typeof input === "string" ? { input } : {}),
  };
}

function torn(ledger: Ledger, where: string): void {
  ledger.torn++;
  if (ledger.tornWhere.length < 8) ledger.tornWhere.push(where);
}

function namesIn(dir: string): string[] {
  try {
    return [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
