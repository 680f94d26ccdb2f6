/**
 * What is left of an agent that was killed, with the real library, its simulator and a real disk. Needs build/libcalypte.so:
 * without it this is left out, except in CI, where it fails.
 */
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { libraryPath } from "../../ffi/mod.ts";
import { path } from "../../agent/std/mod.ts";
import { calypte, start } from "./bad_input_scene.ts";
import { writeMission } from "./mission_fixture.ts";

function libraryExists(): boolean {
  try {
    return Deno.statSync(libraryPath()).isFile;
  } catch {
    return false;
  }
}

const ignore = !libraryExists() && (Deno.env.get("CI") ?? "") === "";
/** Each takes some 100 ms. */
const MAX_ASKED = 200;
const IN_PROCESS = ["--backend", "sim", "--engine", "in-process", "--json"];

/** Asks for the black box of a running agent until it shows this. */
async function untilPrinted(dir: string, what: RegExp): Promise<void> {
  let last = "";
  for (let asked = 0; asked < MAX_ASKED; asked++) {
    const { out, err } = await calypte(["blackbox", "--dir", dir, "--json"]);
    if (what.test(out)) return;
    last = out + err;
  }
  throw new Error(`the black box never showed ${what}: ${last}`);
}

Deno.test({
  name: "an agent that is killed leaves its black box, and the next one counts on from what it had kept",
  ignore,
  async fn() {
    await using mission = await writeMission();
    await Deno.writeTextFile(mission.file, "state: { dir: state }\n", { append: true });
    const dir = path.join(mission.dir, "state", "sim");
    const first = start(["run", mission.file, ...IN_PROCESS]);
    await untilPrinted(dir, /"kind":"snapshot"[\s\S]*"kind":"snapshot"/);
    first.kill("SIGKILL");
    assertEquals((await first.output()).signal, "SIGKILL");

    const { code, out, err } = await calypte(["run", mission.file, ...IN_PROCESS, "--for", "300ms"]);
    assertEquals(code, 0, err);
    const requests = JSON.parse(out).critical.detector.requests;
    const text = await Deno.readTextFile(path.join(dir, "counters.section"));
    const counters = JSON.parse(text.slice(text.indexOf("\n")));
    assertEquals(counters.starts, 2);
    assert(counters.engine.total["critical/detector/requests"] >= requests && requests > 0);

    const box = await calypte(["blackbox", "--mission", mission.file, "--backend", "sim"]);
    assertMatch(
      box.out,
      /^ {3}1 .* start [\s\S]*^ {3}1 .* snapshot [\s\S]*^ {3}2 .* start [\s\S]*^ {3}2 .* end /m,
    );
  },
});

Deno.test({
  name: "two agents with one state folder: the second is refused, and the first does not notice",
  ignore,
  async fn() {
    await using mission = await writeMission();
    await Deno.writeTextFile(mission.file, "state: { dir: state }\n", { append: true });
    const second = path.join(mission.dir, "second.yaml");
    await Deno.writeTextFile(second, (await Deno.readTextFile(mission.file)).replaceAll("out/", "out2/"));
    const first = start(["run", mission.file, ...IN_PROCESS]);
    const dir = path.join(mission.dir, "state", "sim");
    await untilPrinted(dir, /"kind":"start"/);
    const { code, out, err } = await calypte(["run", second, ...IN_PROCESS, "--for", "1s"]);
    assertEquals([code, out], [2, ""]);
    assertMatch(
      err,
      new RegExp(`second.yaml: state.dir: .* is in use by process ${first.pid}; stop that agent`),
    );
    first.kill("SIGTERM");
    assertEquals((await first.output()).code, 0);
  },
});
