/** Do the library's own tests pass on arm64? All of them, but for what an emulator cannot do. */
import { assert, assertEquals } from "../assert.ts";
import { arm64Test, native } from "./emulation.ts";
import { EMULATED, ROOT } from "./place.ts";

interface LeftOut {
  cases: string;
  because: string;
}

/** By program. */
const LEFT_OUT: Readonly<Record<string, LeftOut>> = {
  client_test: {
    cases:
      "a client that is killed between begin and end has failed*,a client that is killed is missed also where*," +
      "the client's thread takes no signal*",
    because:
      "the emulator ends itself in a child that was forked beside other threads, and masks a thread's signals itself",
  },
  process_test: {
    cases: "whoever attaches after a caller that died goes on with its engine*",
    because: "it asks that an engine meets its deadlines meanwhile",
  },
  system_files_test: {
    cases: "files and folders of the system are read*,whatever leads elsewhere*,what is not there*",
    because: "they read the name of their own process, and that is the emulator's",
  },
};

/** Programs that look at the times of a real machine all along, or that have nothing to run in a library without CUDA. */
const WITHOUT: Readonly<Record<string, string>> = {
  cuda_plugin_test: "the library is built without the CUDA backend, as no headers for arm64 are at hand",
  step_cost_test: "it measures a step of the dispatcher",
  take_place_test: "the library is built without the CUDA backend, as no headers for arm64 are at hand",
  worker_test: "most of its cases ask that no deadline is missed; a worker for arm64 is run by agent_test.ts",
};

const programs = [...Deno.readDirSync(`${ROOT}/tests/native`)]
  .map(({ name }) => name.match(/^(\w+_test)\.cc$/)?.[1])
  .filter((name) => name !== undefined)
  .filter((name) => WITHOUT[name] === undefined)
  .sort();

for (const program of programs) {
  arm64Test(`${program}, natively`, async () => {
    const left = LEFT_OUT[program];
    const args = left === undefined ? [] : [`--test-case-exclude=${left.cases}`];
    const { code, out, err } = await native(`${EMULATED}/tests/${program}`, args);
    assertEquals(code, 0, out + err);
    const [, cases, passed, skipped] = out.match(
      /test cases:\s*(\d+) \|\s*(\d+) passed \| 0 failed \|\s*(\d+) skipped/,
    ) ?? [];
    assertEquals(cases, passed);
    // What is left out is still there under its name, or the exclusion is out of date.
    assertEquals(Number(skipped), left?.cases.split(",").length ?? 0);
    assert(Number(passed) > 0, out);
  });
}
