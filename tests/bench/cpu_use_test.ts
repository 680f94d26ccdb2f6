/** Is what a run takes of a processor counted, of the right threads, and labelled as simulated? Needs build/libcalypte.so. */
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { libraryPath } from "../../ffi/library.ts";
import { CASES, cpuUseOf, tableOf } from "../../bench/cpu_use.ts";

function libraryExists(): boolean {
  try {
    return Deno.statSync(libraryPath()).isFile;
  } catch {
    return false;
  }
}

const ignore = !libraryExists() && (Deno.env.get("CI") ?? "") === "";

Deno.test({
  name: "an engine at 30 Hz takes more of a core than an idle one, and far less than all of it",
  ignore,
  async fn() {
    const [idle, busy] = [await cpuUseOf(CASES[0]!, 2), await cpuUseOf(CASES[1]!, 2)];
    assertEquals([idle.requests, idle.units, idle.responseUs], [0, 0, null]);
    assert(busy.requests >= 40, `${busy.requests} requests in 2 s`);
    for (const { share } of [idle, busy]) {
      assert(share.dispatcher > 0, "the critical thread was found");
      // The kernel counts a process in hundredths of a second.
      assert(share.engine >= share.dispatcher - 0.02, JSON.stringify(share));
    }
    assert(idle.share.dispatcher < 0.02, JSON.stringify(idle.share));
    assert(busy.share.dispatcher > idle.share.dispatcher, JSON.stringify(busy.share));
    // 0.4 ms ahead of each request, and 0.4 ms of its own: 2.4 %.
    assert(busy.share.dispatcher < 0.25, JSON.stringify(busy.share));
    assertMatch(tableOf([idle, busy]), /on the simulator: no GPU takes part/);
  },
});
