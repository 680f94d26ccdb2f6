/**
 * The process of a cell's isolated background: `calypte_worker.ts BUNDLE sim|cuda PAGE`. Writes what the engine has to know
 * of its job, joins on `join`, collects results, and writes them on `end`.
 */
import { NativeEngine, openLibrary, type Result } from "../../ffi/mod.ts";
import { libraryPath } from "../../ffi/library.ts";
import type { WorkerLine } from "./calypte_isolated.ts";
import { Scene } from "./calypte_load.ts";

const COLLECT_MS = 10;

if (import.meta.main) {
  const [folder, backend, page] = Deno.args;
  if (folder === undefined || page === undefined || (backend !== "sim" && backend !== "cuda")) {
    console.error("Usage: calypte_worker.ts BUNDLE sim|cuda PAGE");
    Deno.exit(2);
  }
  using library = openLibrary(libraryPath());
  using engine = NativeEngine.open(library, { backend, worker: true });
  const scene = new Scene(engine, "measured");
  const job = await scene.add(folder, ({ manifest }, isFramed) => ({
    ...{ kind: "background", name: manifest.name, keepOutput: false },
    source: isFramed ? { kind: "frames", periodNs: 0 } : { kind: "none" },
  }));
  const expected = backend === "sim" ? null : String(scene.referenceDigest(job));
  engine.warmUp();
  say({ job: [...engine.isolatedOf()], expected });

  const results: Result[] = [];
  let timer: ReturnType<typeof setInterval> | undefined;
  const collect = () => {
    for (let some = engine.takeResults(); some.length > 0; some = engine.takeResults()) {
      results.push(...some);
      engine.releaseResults(some.at(-1)!.position);
    }
  };
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    for (const word of text.trim().split("\n")) {
      if (word === "join") {
        engine.join(page);
        timer = setInterval(collect, COLLECT_MS);
      } else if (word === "end") {
        clearInterval(timer);
        collect();
        say({ done: results.map(({ doneNs, digest }) => ({ doneNs, digest: String(digest) })) });
        Deno.exit(0);
      }
    }
  }
  // Who started it is gone: it must not keep the GPU.
  Deno.exit(1);
}

/** All of it: one write may take only a part. */
function say(line: WorkerLine): void {
  const bytes = new TextEncoder().encode(JSON.stringify(line) + "\n");
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}
