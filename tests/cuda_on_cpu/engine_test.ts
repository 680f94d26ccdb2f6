/**
 * Does the CUDA backend do what it promises, as far as that can be seen without a GPU? On the CUDA driver on the CPU
 * (docs/TESTING.md), whose kernels are interpreted: order of calls, lifetimes, captures, gates, leaves and bit-identical outputs;
 * nothing about time. Each case is a process of its own.
 */
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";
import { path } from "../../agent/std/mod.ts";
import { buildFolder, compile } from "../ffi/double.ts";
import { cudaTest, DRIVER } from "./driver.ts";
import type { PluginSeen, PluginWanted } from "./plugin_scenario.ts";
import type { Seen, Wanted } from "./scenario.ts";

const FOLDER = import.meta.dirname!;
const ROOT = path.join(FOLDER, "../..");
async function runProgram<T>(program: string, wanted: unknown, env: Record<string, string>): Promise<T> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--cached-only", path.join(FOLDER, program), JSON.stringify(wanted)],
    // Few SMs, so that a worker has more than one block.
    env: { LD_LIBRARY_PATH: DRIVER, CUDA_ON_CPU_SMS: "2", ...env },
    signal: AbortSignal.timeout(90_000),
  }).output();
  const text = new TextDecoder();
  if (code !== 0) throw new Error(`${program} ended with ${code}: ${text.decode(stderr).slice(-2000)}`);
  return JSON.parse(text.decode(stdout).trim().split("\n").at(-1)!);
}

async function scenario(wanted: Partial<Wanted>, env: Record<string, string> = {}): Promise<Seen> {
  const seen = await runProgram<Seen>("scenario.ts", wanted, env);
  assertEquals(seen.ended, "enough", JSON.stringify(seen));
  assertEquals([seen.unitsWrong, seen.requestsWrong], [0, 0], JSON.stringify(seen));
  return seen;
}

let library: string | undefined;
function thePlugin(): string {
  if (library === undefined) {
    library = `${buildFolder()}/driver_plugin.so`;
    const source = path.join(ROOT, "tests/fixtures/plugins/driver_plugin.c");
    compile("-shared", "-fPIC", source, "-o", library, "-ldl");
  }
  return library;
}

function plugin(wanted: Partial<PluginWanted>, env: Record<string, string> = {}): Promise<PluginSeen> {
  const whole = {
    library: thePlugin(),
    does: "k",
    kind: "background",
    capture: "auto",
    reserveSms: 0,
    ...wanted,
  };
  return runProgram("plugin_scenario.ts", whole, env);
}

cudaTest(
  "a background job is left and resumed many times, and every output is the same to the bit",
  async () => {
    for (const prefer of ["block", "loop"] as const) {
      const seen = await scenario({ prefer, leaves: 200 });
      assert(seen.features["stream-memops"] && seen.features["parked-resume"], JSON.stringify(seen.features));
      assert(seen.preemptions > 0);
    }
  },
);

cudaTest("a driver without stream memory operations does the same by copies", async () => {
  const seen = await scenario({}, { CUDA_ON_CPU_WITHOUT: "memops" });
  assertEquals(seen.features["stream-memops"], false);
});

cudaTest("a driver of CUDA 11.4 does the same, without what it has not", async () => {
  const seen = await scenario({}, { CUDA_ON_CPU_DRIVER_VERSION: "11040" });
  assertEquals(seen.features["stream-memops"], false);
});

cudaTest("where CPU and GPU share memory, inputs are read where the CPU wrote them", async () => {
  const seen = await scenario({}, { CUDA_ON_CPU_INTEGRATED: "1" });
  assert(seen.features["integrated"]);
});

cudaTest("SMs that are kept for critical work leave background as correct as it was", async () => {
  const seen = await scenario({ reserveSms: 4, leaves: 0 }, { CUDA_ON_CPU_SMS: "8" });
  assert(seen.features["reserved-sms"]);
});

cudaTest("a plugin is captured, and runs as critical task and as background job", async () => {
  for (const kind of ["critical", "background"] as const) {
    const seen = await plugin({ kind, does: "kKf", capture: "require" });
    assertEquals([seen.refused, seen.captured], ["", true]);
    assertEquals(seen.outputs, [[101, 164], [101, 164], [101, 164]]);
  }
});

cudaTest("a plugin that cannot be captured is called for each unit, and keeps its state", async () => {
  const seen = await plugin({ does: "sS" });
  assertEquals([seen.refused, seen.captured], ["", false]);
  // A run by itself leaves no trace.
  assertEquals(seen.outputs, [[1, 1], [1, 1], [2, 2]]);
});

cudaTest("a plugin that changes is captured again", async () => {
  const seen = await plugin({ does: "kg" });
  assertEquals([seen.refused, seen.captured], ["", true]);
  assertEquals(seen.outputs.at(-1), [102, 165]);
});

cudaTest("a plugin that uses the default stream is refused, also beside SMs that are kept", async () => {
  for (const reserveSms of [0, 4]) {
    for (const kind of ["critical", "background"] as const) {
      const { refused } = await plugin({ kind, does: "kD", reserveSms }, { CUDA_ON_CPU_SMS: "8" });
      assertStringIncludes(refused, "enqueue uses the default stream");
    }
  }
});
