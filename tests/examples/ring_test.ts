/**
 * Do the examples of examples/ring run as they are: a producer, the engine on the simulator in real time, a consumer? Each
 * is a process of its own. Needs build/libcalypte.so: without it these tests are left out, except in CI, where they fail.
 */
import { libraryPath } from "../../ffi/mod.ts";
import { assertEquals, assertMatch, assertStringIncludes } from "../assert.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const decoder = new TextDecoder();

function libraryExists(): boolean {
  try {
    return Deno.statSync(libraryPath()).isFile;
  } catch {
    return false;
  }
}

const ignore = !libraryExists() && (Deno.env.get("CI") ?? "") === "";

function start(program: string, ...args: string[]): Deno.ChildProcess {
  const env = { NO_COLOR: "1", CALYPTE_CACHE: "off", CALYPTE_STATE: "off" };
  return new Deno.Command(program, { args, env, stdin: "null", stdout: "piped", stderr: "piped" }).spawn();
}

function deno(script: string, ...args: string[]): Deno.ChildProcess {
  return start(Deno.execPath(), "run", "-A", "--quiet", `${ROOT}/${script}`, ...args);
}

/** examples/missions/camera.yaml with rings of this test's own and no port; a task only, so that it loads fast. */
async function withMission(
  test: (at: { folder: string; mission: string; camera: string; detections: string }) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "calypte-ring-" });
  const name = folder.split("/").pop();
  const [camera, detections] = [`/dev/shm/${name}-camera`, `/dev/shm/${name}-detections`];
  const mission = `${folder}/camera.yaml`;
  const text = await Deno.readTextFile(`${ROOT}/examples/missions/camera.yaml`);
  await Deno.writeTextFile(
    mission,
    text.replaceAll("/dev/shm/calypte-camera", camera).replaceAll("/dev/shm/calypte-detections", detections)
      .replaceAll("../bundles", `${ROOT}/examples/bundles`).replaceAll("../frames", `${ROOT}/examples/frames`)
      .replace('{ listen: "127.0.0.1:8717" }', "false"),
  );
  try {
    await test({ folder, mission, camera, detections });
  } finally {
    await Deno.remove(folder, { recursive: true });
    for (const ring of [camera, detections]) await Deno.remove(ring).catch(() => {});
  }
}

/** Lines such as "request 3: 1.234 ms after the sensor, simulated, 0 bytes", with numbers that rise. */
function checkLines(text: string, atLeast: number): void {
  const numbers = text.trimEnd().split("\n").map((line) => {
    assertMatch(line, /^request \d+: \d+\.\d{3} ms after the sensor(, late)?, simulated, 0 bytes$/);
    return Number(line.split(" ")[1]?.replace(":", ""));
  });
  assertEquals(numbers.length >= atLeast, true, text);
  assertEquals(numbers, [...numbers].sort((a, b) => a - b));
}

async function end(child: Deno.ChildProcess, signal: Deno.Signal): Promise<{ code: number; err: string }> {
  child.kill(signal);
  const { code, stderr } = await child.output();
  return { code, err: decoder.decode(stderr) };
}

Deno.test({
  name: "the C producer, the engine and the C consumer work together, and the consumer sees the engine die",
  ignore,
  fn: () =>
    withMission(async ({ folder, mission, camera, detections }) => {
      for (const name of ["producer", "consumer"]) {
        const built = start(
          "cc",
          "-std=c11",
          "-Wall",
          "-Wextra",
          "-Werror",
          "-O2",
          "-D_GNU_SOURCE",
          `-I${ROOT}/ffi/native/include`,
          `${ROOT}/examples/ring/${name}.c`,
          "-o",
          `${folder}/${name}`,
        );
        const { success, stderr } = await built.output();
        assertEquals(success, true, decoder.decode(stderr));
      }
      const consumer = start(`${folder}/consumer`, detections, "20");
      // In one process with the agent, so that to kill the one is to kill the other.
      const engine = deno("agent/main.ts", "run", mission, "--backend", "sim", "--engine", "in-process");
      const producer = start(`${folder}/producer`, camera, "0", "200");
      const { code, stdout, stderr } = await consumer.output();
      assertEquals(code, 0, decoder.decode(stderr));
      checkLines(decoder.decode(stdout), 20);
      // The producer dies and another takes over: the engine goes on without being told.
      await end(producer, "SIGKILL");
      const second = start(`${folder}/producer`, camera, "0", "200");
      const later = await start(`${folder}/consumer`, detections, "20").output();
      checkLines(decoder.decode(later.stdout), 20);
      const watcher = start(`${folder}/consumer`, detections, "0");
      const reader = watcher.stdout.getReader();
      await reader.read();
      reader.releaseLock();
      await end(engine, "SIGKILL");
      const gone = await watcher.output();
      assertEquals(gone.code, 3);
      assertStringIncludes(decoder.decode(gone.stderr), "the engine is gone");
      await end(second, "SIGKILL");
    }),
});

Deno.test({
  name: "the producer, the engine and the consumer in TypeScript work together",
  ignore,
  fn: () =>
    withMission(async ({ mission, camera, detections }) => {
      const producer = deno("examples/ring/producer.ts", camera, "0", "100");
      const engine = deno("agent/main.ts", "run", mission, "--backend", "sim", "--json");
      const lines = engine.stderr.pipeThrough(new TextDecoderStream()).getReader();
      let err = "";
      while (!err.includes("Ctrl-C ends it")) {
        const { value, done } = await lines.read();
        assertEquals(done, false, err);
        err += value;
      }
      const consumer = await deno("examples/ring/consumer.ts", detections, "10").output();
      assertEquals(consumer.code, 0, decoder.decode(consumer.stderr));
      checkLines(decoder.decode(consumer.stdout), 10);
      engine.kill("SIGTERM");
      const [{ code }, summary] = await Promise.all([engine.status, new Response(engine.stdout).json()]);
      await lines.cancel();
      assertEquals(code, 0);
      assertEquals(summary.critical["obstacle-detector"].requests >= 10, true);
      await end(producer, "SIGKILL");
    }),
});

Deno.test({
  name: "in virtual time a mission with rings is refused, with the reason and what to do instead",
  ignore,
  fn: () =>
    withMission(async ({ mission, detections }) => {
      const { code, stderr } = await deno("agent/main.ts", "simulate", mission, "--for", "1s").output();
      assertEquals(code, 2);
      assertStringIncludes(decoder.decode(stderr), "critical.obstacle-detector.source");
      assertStringIncludes(decoder.decode(stderr), "clock is virtual");
      assertStringIncludes(decoder.decode(stderr), "calypte run");
      assertEquals(await Deno.stat(detections).catch(() => "none"), "none");
    }),
});
