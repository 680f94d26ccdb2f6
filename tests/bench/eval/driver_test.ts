/**
 * The driver's host logic, on a double of the CUDA driver that is built here; and Calypte's cells in real time on the simulator.
 * Nothing here says anything about a GPU.
 */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../../assert.ts";
import { loadBundle } from "../../../agent/bundle.ts";
import { buildDriver } from "../../../bench/eval/driver/build.ts";
import { arrivalTimes, parseArrivals, warmUpTimes } from "../../../bench/eval/arrivals.ts";
import { WorkerLost } from "../../../bench/eval/calypte.ts";
import { runReal } from "../../../bench/eval/cell.ts";
import type { Cell } from "../../../bench/eval/cells.ts";
import { type DriverOptions, layoutOf, runBaseline, runTogether } from "../../../bench/eval/driver.ts";
import { flatten } from "../../../bench/eval/launch_plan.ts";
import { Mps } from "../../../bench/eval/mps.ts";
import { judgeSharing, testSharing } from "../../../bench/eval/self_test.ts";
import type { Span } from "../../../bench/eval/statistics.ts";
import { libraryPath } from "../../../ffi/library.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;
const INCLUDE = `${Deno.env.get("CUDA_HOME") ?? "/usr/local/cuda"}/include`;

function exists(file: string): boolean {
  try {
    Deno.statSync(file);
    return true;
  } catch {
    return false;
  }
}

// The toolkit's header is all that it takes; nothing of CUDA runs.
const canBuild = exists(`${INCLUDE}/cuda.h`) && exists(libraryPath());

function planOf(change: Partial<Cell>, windowNs = 300e6) {
  const cell: Cell = {
    ...{
      purpose: "run",
      system: "streams",
      critical: "kernel",
      background: "atomics",
      arrivals: "periodic-100",
    },
    ...{ round: 1, ...change },
  };
  const spec = parseArrivals(cell.arrivals);
  const has = cell.critical !== "none";
  return {
    ...{ cell, windowNs, seed: 1, extra: {} },
    arrivalsNs: has ? arrivalTimes(spec, windowNs, 1, 1e6) : [],
    warmNs: has ? warmUpTimes(spec, 100e6, 1, 1e6) : [],
  };
}

Deno.test({
  name: "the driver keeps arrival times, verifies every output and drops nothing in silence, on a double",
  ignore: !canBuild,
  async fn(t) {
    const dir = await Deno.makeTempDir();
    try {
      const program = await buildDriver(dir);
      await Deno.writeFile(`${dir}/driver_kernels.fatbin`, new Uint8Array([0]));
      const double = `${dir}/libdouble.so`;
      const source = `${ROOT}tests/fixtures/cuda_doubles/driver_double.cc`;
      const { success, stderr } = await new Deno.Command("g++", {
        args: ["-std=c++20", "-O1", "-shared", "-fPIC", "-isystem", INCLUDE, source, "-o", double],
      }).output();
      assert(success, new TextDecoder().decode(stderr));
      const options: DriverOptions = { program, checkSample: false, env: { CALYPTE_EVAL_CUDA: double } };
      const wrong = (every: string) => ({
        ...options,
        env: { ...options.env!, CALYPTE_DOUBLE_WRONG: every },
      });

      for (const system of ["exclusive", "streams", "priorities", "green", "gating", "timeslice"] as const) {
        await t.step(system, async () => {
          const plan = planOf({ system, background: system === "exclusive" ? "none" : "transcode" });
          const samples = await runBaseline(plan, options);
          assertEquals(samples.doneNs.length, plan.arrivalsNs.length);
          for (const [i, done] of samples.doneNs.entries()) {
            assert(
              done >= samples.launchNs[i]! && samples.launchNs[i]! >= plan.arrivalsNs[i]!,
              `request ${i}`,
            );
          }
          assert(samples.verified.critical.checked >= plan.arrivalsNs.length);
          assertEquals([samples.verified.critical.wrong, samples.verified.background.wrong], [0, 0]);
          if (system === "exclusive") return assertEquals(samples.busyFrom, "nothing ran");
          assert(samples.units > 0 && samples.busy.length > 0 && samples.busyFrom === "device");
          assert(samples.busy.every(([from, to]) => to > from && to > 0 && from < plan.windowNs));
        });
      }
      await t.step("background alone, without a critical work", async () => {
        const samples = await runBaseline(
          planOf({ system: "exclusive", critical: "none", background: "transcode" }),
          options,
        );
        assertEquals(samples.doneNs, []);
        // It warms up for a second, as on Calypte's engine, ahead of a window of 0.3 s.
        assert(samples.units > 0 && samples.verified.background.checked > 2 * samples.units);
      });
      await t.step("beyond sixteen that wait, requests are dropped and said to be", async () => {
        const arrivalsNs = Array.from({ length: 40 }, () => 100e6);
        const samples = await runBaseline({
          ...planOf({ background: "none", critical: "chain" }),
          arrivalsNs,
        }, options);
        assertEquals(samples.doneNs.filter((done) => done === -1).length, 24);
        assertEquals(samples.doneNs.filter((done) => done > 100e6).length, 16);
      });
      await t.step("an output that differs is found", async () => {
        const samples = await runBaseline(planOf({ system: "streams", background: "transcode" }), wrong("7"));
        assert(samples.verified.background.wrong > 0);
        assert(samples.units < samples.verified.background.checked);
      });
      await t.step("a first output that is not the bundle's sample is refused", async () => {
        const checked = { ...options, checkSample: true };
        await assertRejects(() => runBaseline(planOf({}), checked), Error, "computes something else");
      });
      await t.step(
        "without stream memory operations completion is asked for, and that is noted",
        async () => {
          const env = { ...options.env!, CALYPTE_DOUBLE_NO_MEMOPS: "1" };
          const plan = planOf({ critical: "heavy-detector" });
          const { notes, doneNs } = await runBaseline(plan, { ...options, env });
          assertStringIncludes(notes.join(), "no stream memory operations");
          assert(doneNs.every((done) => done > 0));
        },
      );
      await t.step("MPS: the daemon has a folder of its own, and ends with its cell", async () => {
        const control = `${dir}/control`, log = `${dir}/log`;
        await Deno.writeTextFile(
          control,
          `#!/bin/sh\n{ echo "$1 $CUDA_MPS_PIPE_DIRECTORY"; [ "$1" = -d ] || cat; } >> ${log}\n`,
          { mode: 0o755 },
        );
        const samples = await runBaseline(planOf({ system: "mps", background: "transcode" }), {
          ...options,
          startMps: () => Mps.start(control),
        });
        assert(samples.units > 0);
        const [start, stop, quit] = (await Deno.readTextFile(log)).trim().split("\n");
        assertStringIncludes(start!, "-d ");
        assertEquals(stop!.trim(), start!.replace("-d ", "").trim());
        assertEquals(quit, "quit");
        assert(!exists(start!.split(" ")[1]!), "the folder is gone");
        await assertRejects(() => Mps.start(`${dir}/nowhere`), Error, "MPS cannot be measured");

        // A harness that was killed left a daemon; no process has the id 0.
        const forgotten = `${Deno.env.get("TMPDIR") ?? "/tmp"}/calypte-mps-0-test`;
        await Deno.mkdir(`${forgotten}/pipe`, { recursive: true });
        await using _mps = await Mps.start(control);
        assertStringIncludes(await Deno.readTextFile(log), `${forgotten}/pipe\nquit`);
        assert(!exists(forgotten), "the forgotten one is gone");
      });
      await t.step("a process that fails is told with its words, and takes the other one along", async () => {
        const env = { CALYPTE_EVAL_CUDA: `${dir}/none.so` };
        await assertRejects(
          () => runBaseline(planOf({ system: "timeslice" }), { ...options, env }),
          Error,
          "no CUDA driver",
        );
      });
      await t.step("a device's clock that gains on the host's is read by both its ends", async () => {
        const env = { ...options.env!, CALYPTE_DOUBLE_DRIFT: "60" };
        const plan = planOf({ system: "streams", background: "transcode" });
        const { busy, units } = await runBaseline(plan, { ...options, env });
        // On a clock that is 1.6 times as fast the window would hold five units of eight only.
        assert(Math.abs(busy.length - units) < 0.15 * units + 3, `${busy.length} spans, ${units} units`);
      });
      await t.step("two processes of which one hangs are both killed, and the cell says so", async () => {
        const program = `${dir}/hangs`;
        await Deno.writeTextFile(program, "#!/bin/sh\necho ready\nexec sleep 600\n", { mode: 0o755 });
        const specs = [1, 2].map(() => ({ env: {}, lines: ["mode process"] }));
        await assertRejects(
          () => runTogether("run", dir, specs, program, 0, 300),
          Error,
          "did not end within 0 s, and was killed",
        );
      });
      await t.step("probes of two processes are read on one clock", async () => {
        const { text } = await testSharing("timeslice", options);
        assertStringIncludes(text, "both at work for"); // a double runs both at once
      });
      await t.step("an engine is fed at the times that are given", async () => {
        const samples = await runReal({
          ...planOf({ system: "calypte", arrivals: "poisson-100" }),
          backend: "sim",
          program,
        });
        assertEquals(samples.notes.filter((note) => note.includes("no scheduled arrival")), []);
        const answered = samples.doneNs.filter((done) => done > 0).length;
        assert(answered >= samples.doneNs.length - 1, `${answered} of ${samples.doneNs.length}`);
      });
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});

Deno.test({
  name: "a cell with an isolated background runs in real time on the simulator",
  ignore: !exists(libraryPath()),
  async fn() {
    const plan = planOf({ system: "calypte-isolated" });
    const run = () => runReal({ ...plan, backend: "sim", program: "none" });
    // The engine kills a worker that does not answer in time, as on a machine where too much else runs.
    const again = (error: unknown) => {
      if (error instanceof WorkerLost) return run();
      throw error;
    };
    const samples = await run().catch(again).catch(again);
    assert(samples.units > 0, JSON.stringify(samples.notes));
    assert(samples.doneNs.every((done) => done > 0));
  },
});

Deno.test("a bundle's launches are flattened in order, with arguments as bytes", async () => {
  const bundle = await loadBundle(`${ROOT}bench/eval/bundles/atomics`);
  const { text } = flatten(bundle, "ptx", (kind) => `f.${kind}`);
  assertEquals(text.split("\n"), [
    ...["module f.ptx", "buffer 4096", "output 0 0 4096", "blob 4096", "fill 0 0 0 4096"],
    ...["kernel tally 2048 1 1 256 1 1 0 3 buffer 0 0 bytes ff030000 bytes 20000000", ""],
  ]);
});

Deno.test("time slices take turns, spatial sharing runs together, green contexts keep their SMs apart", () => {
  const probe = (spans: Span[], sms = [1]) => ({ sms, spans });
  const turns = (offset: number) =>
    Array.from({ length: 60 }, (_, i): Span => [i * 4e6 + offset, i * 4e6 + offset + 2e6]);
  const whole: Span[] = [[0, 240e6]];
  assert(judgeSharing("timeslice", probe(turns(0)), probe(turns(2e6))).passed);
  assert(!judgeSharing("timeslice", probe(whole), probe(whole)).passed);
  assert(judgeSharing("mps", probe(whole), probe(whole)).passed);
  assert(!judgeSharing("mps", probe(turns(0)), probe(turns(2e6))).passed);
  assert(!judgeSharing("mps", probe([[0, 100e6]]), probe([[100e6, 200e6]])).passed);
  assert(!judgeSharing("mps", probe([]), probe(whole)).passed);
  assert(judgeSharing("green", probe(whole, [1, 2]), probe(whole, [3, 4])).passed);
  assert(!judgeSharing("green", probe(whole, [1, 2]), probe(whole, [2, 3])).passed);
});

Deno.test("two processes share by time slicing and MPS, one in all other ways", () => {
  assertEquals(layoutOf("mps", true, true).processes, [["critical"], ["background"]]);
  assertEquals(layoutOf("timeslice", true, false).processes, [["critical"]]);
  assertEquals(layoutOf("gating", true, true), { mode: "gating", processes: [["critical", "background"]] });
});
