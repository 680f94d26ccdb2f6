/**
 * The fault campaign in small, with real processes on the simulator in real time. Needs build/libcalypte.so: without it this is
 * left out, except in CI, where it fails. How late anything was is not asked here: that is the machine's affair.
 */
import { assert, assertEquals } from "../assert.ts";
import { libraryPath } from "../../ffi/library.ts";
import { features } from "../../bench/faults/missions.ts";
import type { SceneReport } from "../../bench/faults/play.ts";

function libraryExists(): boolean {
  try {
    return Deno.statSync(libraryPath()).isFile;
  } catch {
    return false;
  }
}

/**
 * Agents that write results before they release them came together with directory queues. An agent that does not loses what it had
 * in hand when it was killed, and says so in the table.
 */
const durable = features().queue;
const ignore = !libraryExists() && (Deno.env.get("CI") ?? "") === "";

Deno.test({
  name:
    "agents, engines, stores and disks fail under a mission: no result is lost, none is half-written, all comes back",
  ignore,
  async fn() {
    const out = await Deno.makeTempDir();
    try {
      const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [
          ...["run", "-A", "--cached-only", "bench/faults.ts"],
          ...["--backend", "sim", "--quick", "--budget", "60", "--out", out],
        ],
        cwd: new URL("../..", import.meta.url).pathname,
        env: { NO_COLOR: "1" },
      }).output();
      const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
      const { scenes }: { scenes: SceneReport[] } = JSON.parse(await Deno.readTextFile(`${out}/faults.json`));
      const rows = scenes.flatMap(({ rows }) => rows).filter(({ skipped }) => skipped === undefined);
      for (const { scene, results, leftBehind, failed } of scenes) {
        assertEquals(failed, undefined, `${scene}\n${said}`);
        for (const [work, { lost, halfWritten }] of Object.entries(results)) {
          assertEquals(halfWritten, 0, `${scene}: ${work}\n${said}`);
          if (durable) assertEquals(lost, 0, `${scene}: ${work}\n${said}`);
        }
        assertEquals(leftBehind, [], said);
      }
      for (const { kind, faults, notRecovered } of rows) {
        assert(faults > 0, `${kind} was not injected\n${said}`);
        assertEquals(notRecovered, 0, `${kind}\n${said}`);
      }
      assert(rows.length >= 6, said);
      assert(said.includes("not on the simulator: its kernels cannot fault"), said);
      assert(said.includes("on the SIMULATOR"), said);
      assert(success || !durable, said);
    } finally {
      await Deno.remove(out, { recursive: true });
    }
  },
});
