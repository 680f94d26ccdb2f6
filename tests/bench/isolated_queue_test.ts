/** Does a job with a queue go on with its files when its own process was killed? With real processes, on the simulator. */
import { assert, assertEquals } from "../assert.ts";
import { libraryPath } from "../../ffi/library.ts";
import { bundleDir, inputOf, writeFrames } from "../../bench/faults/missions.ts";
import { hit } from "../../bench/faults/processes.ts";
import { Scene, until } from "../../bench/faults/scene.ts";

const FILES = 400;
const PATIENCE_MS = 60_000;

function libraryExists(): boolean {
  try {
    return Deno.statSync(libraryPath()).isFile;
  } catch {
    return false;
  }
}

Deno.test({
  name: "files of a job whose process is killed are taken up by the next one, each with one result",
  ignore: !libraryExists() && (Deno.env.get("CI") ?? "") === "",
  async fn() {
    const scene = await Scene.open({
      ...{ name: "isolated-queue", backend: "sim", seed: 1 },
      mission: {
        ...{
          device: { backend: "sim" },
          http: { listen: "127.0.0.1:0" },
          state: { dir: "state" },
          overcommit: true,
          // A machine that stands still misses requests, and this asks for the files only.
          safeMode: "off",
        },
        critical: {
          chain: {
            ...{
              bundle: bundleDir("fault-chain"),
              source: { frames: "frames", rate: "30Hz" },
              deadline: "20ms",
            },
          },
        },
        background: {
          fed: {
            ...{ bundle: bundleDir("fault-none"), isolation: "process", source: { queue: "queue" } },
            output: { jsonl: "out/fed.jsonl" },
          },
        },
      },
    });
    try {
      await writeFrames(scene, "frames", 8);
      await Deno.mkdir(scene.path("queue", "done"), { recursive: true });
      const names = Array.from({ length: FILES }, (_, i) => `${String(i).padStart(4, "0")}.raw`);
      for (const [i, name] of names.entries()) await Deno.writeFile(scene.path("queue", name), inputOf(0, i));
      const done = () => [...Deno.readDirSync(scene.path("queue", "done"))].length;
      scene.start();
      assertEquals(await scene.ready(), undefined);
      assert(await until(() => done() >= 5, PATIENCE_MS), scene.lastWords());
      const [worker] = scene.pids("worker");
      assert(worker !== undefined);
      hit(worker, "SIGKILL");
      assert(await until(() => done() === FILES, PATIENCE_MS), `${done()} of ${FILES}: ${scene.lastWords()}`);
      assert(scene.said().includes("the job's process has ended"), "it was killed too late to matter");
      // What was under way then is kept for the next agent, and cleared by its results.
      const known = scene.path("state", "sim", "suspects.section");
      const cleared = () => Deno.readTextFileSync(known).includes('"suspects":[],"worked":true');
      assert(await until(cleared, PATIENCE_MS), await Deno.readTextFile(known));
      assertEquals([...Deno.readDirSync(scene.path("queue"))].map(({ name }) => name), ["done"]);
      await scene.stop();
      const lines = (await Deno.readTextFile(scene.path("out", "fed.jsonl"))).trim().split("\n");
      const inputs = lines.map((line) => JSON.parse(line).inputId);
      assertEquals([inputs.length, new Set(inputs).size], [FILES, FILES]);
    } finally {
      await scene.close();
    }
  },
});
