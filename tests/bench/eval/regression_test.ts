import { assert, assertEquals, assertStringIncludes } from "../../assert.ts";
import { regressionRows, regressions } from "../../../bench/eval/regression.ts";
import { libraryPath } from "../../../ffi/library.ts";

const BASELINE = JSON.parse(
  Deno.readTextFileSync(new URL("../../../bench/results/baseline.json", import.meta.url)),
).rows;

function libraryExists(): boolean {
  try {
    return Deno.statSync(libraryPath()).isFile;
  } catch {
    return false;
  }
}

Deno.test({
  name: "nothing that the simulator shows is worse than the baseline",
  ignore: !libraryExists() && (Deno.env.get("CI") ?? "") === "",
  async fn() {
    assertEquals(regressions(await regressionRows(), BASELINE), []);
  },
});

Deno.test("a later p99, fewer units, a lost request, and a case that is gone are told", () => {
  const [first, second] = BASELINE;
  const found = (change: Record<string, unknown>) => regressions([{ ...second, ...change }], [second]).join();
  assertEquals(found({}), "");
  assertEquals(found({ p99Us: second.p99Us * 1.001, units: second.units + 9 }), "");
  assertStringIncludes(found({ p99Us: second.p99Us * 1.003 }), "p99Us");
  assertStringIncludes(found({ units: second.units * 0.97 }), "units");
  assertStringIncludes(found({ unanswered: 1 }), "unanswered");
  assertStringIncludes(regressions([second], [first, second]).join(), "was not run");
  assert(regressions([first, second], [second]).join().includes("not in the baseline"));
});
