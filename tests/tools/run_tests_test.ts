import { assertEquals } from "../assert.ts";
import { countDeno, countNative, describeTally } from "../../tools/run_tests.ts";

Deno.test("Deno's summary is read, also behind other output", () => {
  const output = "ok | 99 passed\nok | 12 passed (3 steps) | 0 failed | 1 ignored (2s)\n\n";
  assertEquals(countDeno(output, true), { passed: 12, failed: 0, skipped: 1 });
  assertEquals(countDeno("FAILED | 1 passed | 2 failed (139ms)\n", false), {
    passed: 1,
    failed: 2,
    skipped: 0,
  });
});

Deno.test("a test module that does not load is a failed test", () => {
  assertEquals(countDeno("error: Type checking failed\n", false), { passed: 0, failed: 1, skipped: 0 });
});

Deno.test("native test cases are summed over all programs", () => {
  const output = "1: [doctest] test cases:  5 |  5 passed | 0 failed | 0 skipped\n" +
    "1/2 Test #1: plan_test ....   Passed    0.01 sec\n" +
    "2: [doctest] test cases: 12 | 10 passed | 2 failed | 1 skipped\n" +
    "2/2 Test #2: work_test ....***Failed    0.01 sec\n";
  assertEquals(countNative(output, false), { passed: 15, failed: 2, skipped: 1 });
});

Deno.test("a native program that crashes, or was not built, is a failed test", () => {
  const output = "1: [doctest] test cases: 5 | 5 passed | 0 failed |\n" +
    " 2/10 Test  #2: plan_test ........***Exception: SegFault  0.10 sec\n" +
    "3/10 Test #3: work_test ....***Not Run   0.00 sec\n";
  assertEquals(countNative(output, false), { passed: 5, failed: 2, skipped: 0 });
  assertEquals(countNative("No tests were found!!!\n", false), { passed: 0, failed: 1, skipped: 0 });
});

Deno.test("the last line names skipped tests only where there are some", () => {
  assertEquals(describeTally({ passed: 3, failed: 0, skipped: 0 }), "3 passed, 0 failed");
  assertEquals(describeTally({ passed: 3, failed: 1, skipped: 2 }), "3 passed, 1 failed, 2 skipped");
});
