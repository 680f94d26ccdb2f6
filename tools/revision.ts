/**
 * Does the compiler make of the fixtures what its revision says?
 *
 * `.tools/deno run -A tools/revision.ts` raises REVISION in ptx/revision.ts if it does not, so that rewritten kernels that are
 * kept on disk (agent/rewrite_cache.ts) are made anew. `--check` changes nothing and fails instead.
 */
import { createHash } from "node:crypto";
import { kernelParams, rewriteModule } from "../ptx/mod.ts";
import { FIXTURES_SHA256, REVISION } from "../ptx/revision.ts";

const FIXTURES = new URL("../tests/fixtures/ptx/", import.meta.url);
const FILE = new URL("../ptx/revision.ts", import.meta.url);

/** Of all fixtures rewritten at each level, with parameters that may overlap and with such as may not, and pinned. */
export function fixturesSha256(): string {
  const hash = createHash("sha256");
  const files = [...Deno.readDirSync(FIXTURES)].map(({ name }) => name).filter((name) =>
    name.endsWith(".ptx")
  );
  for (const file of files.sort()) {
    const text = Deno.readTextFileSync(new URL(file, FIXTURES));
    const names = [...kernelParams(text, file).keys()];
    const all = <T>(value: T) => new Map(names.map((name) => [name, value]));
    for (const level of ["loop", "block", "slice"] as const) {
      for (const overlaps of [true, false]) {
        const result = rewriteModule(text, {
          file,
          levels: all(level),
          overlap: () => overlaps,
          minBlocksPerSm: all(2),
          maxThreads: all(256),
        });
        hash.update(JSON.stringify([file, level, overlaps, result.text, result.kernels.map((k) => k.level)]));
      }
    }
  }
  return hash.digest("hex");
}

function replaceOnce(text: string, pattern: RegExp, by: string): string {
  if (!pattern.test(text)) throw new Error(`${FILE.pathname} has no ${pattern}`);
  return text.replace(pattern, by);
}

if (import.meta.main) {
  const sha256 = fixturesSha256();
  if (sha256 === FIXTURES_SHA256) {
    console.log(`revision ${REVISION} is up to date`);
  } else if (Deno.args.includes("--check")) {
    console.log(`what the compiler makes of the fixtures is no longer that of revision ${REVISION}`);
    Deno.exit(1);
  } else {
    const revision = REVISION + 1;
    const raised = replaceOnce(Deno.readTextFileSync(FILE), /REVISION = \d+/, `REVISION = ${revision}`);
    Deno.writeTextFileSync(FILE, replaceOnce(raised, /SHA256 = "[^"]*"/, `SHA256 = "${sha256}"`));
    console.log(`ptx/revision.ts: revision ${revision}`);
  }
}
