/**
 * Do the examples of external tasks tell a real engine what they do? Compiled against doubles of CUDA's libraries, with the real
 * client library, beside an engine on the simulator. Needs a C++ compiler and the built libraries.
 */
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { libraryPath } from "../../ffi/library.ts";
import { path } from "../../agent/std/mod.ts";
import { bundleDir, writeFrames } from "../../bench/faults/missions.ts";
import { Scene, until } from "../../bench/faults/scene.ts";

const ROOT = path.fromFileUrl(new URL("../..", import.meta.url)).replace(/\/$/, "");
const REQUESTS = 30;

async function run(program: string, args: string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await new Deno.Command(program, { args, env }).output();
  const text = new TextDecoder();
  return { code, said: text.decode(stdout) + text.decode(stderr) };
}

async function has(program: string): Promise<boolean> {
  try {
    return (await run(program, ["--version"])).code === 0;
  } catch {
    return false;
  }
}

function exists(file: string): boolean {
  try {
    return Deno.statSync(file).isFile;
  } catch {
    return false;
  }
}

const client = `${path.dirname(libraryPath())}/libcalypte_client.so`;
const ignore = !await has("g++") || !exists(client);

for (
  const [name, args] of [
    ["external/cublas_detector.cc", []],
    ["tensorrt/detector.cc", ["detector.engine"]],
  ] as const
) {
  Deno.test({
    name: `examples/${name} is compiled against a double, runs alone, and is served by an engine`,
    ignore,
    async fn() {
      const scene = await Scene.open({
        ...{ name: "external", backend: "sim", seed: 1 },
        mission: {
          ...{ device: { backend: "sim" }, http: { listen: "127.0.0.1:0" }, state: "off", overcommit: true },
          critical: { outside: { external: "outside.sock", deadline: "1s" } },
          background: {
            job: {
              bundle: bundleDir("fault-none"),
              source: { frames: "frames", rate: "20Hz" },
              isolation: "shared",
            },
          },
        },
      });
      try {
        await writeFrames(scene, "frames", 4);
        const program = scene.path("detector");
        const compiled = await run("g++", [
          ...["-std=c++17", "-Wall", "-Wextra", "-Werror", "-I", `${ROOT}/ffi/native/include`],
          ...["-I", `${ROOT}/tests/fixtures/cuda_doubles`, `${ROOT}/examples/${name}`, "-o", program],
          ...[client, `-Wl,-rpath,${path.dirname(client)}`],
        ]);
        assertEquals(compiled, { code: 0, said: "" });
        await Deno.writeTextFile(scene.path("detector.engine"), "x");
        const start = () =>
          run(program, [
            ...args.map((file) => scene.path(file)),
            scene.path("outside.sock"),
            "100",
            `${REQUESTS}`,
          ]);
        const alone = await start();
        assertEquals(alone.code, 0, alone.said);
        assertMatch(alone.said, /^30 requests, 0 failed, .*agent: alone\n$/);
        scene.start();
        assertEquals(await scene.ready(), undefined);
        const served = await start();
        assertEquals(served.code, 0, served.said);
        assertMatch(served.said, /agent: served\n$/);
        // The first ones come before the client is connected: those are nobody's.
        const counted = async () => (await scene.status())?.critical.outside.requests ?? 0;
        let requests = 0;
        await until(async () => (requests = await counted()) >= REQUESTS / 2, 10_000);
        assert(requests >= REQUESTS / 2 && requests <= REQUESTS, `${requests}`);
        assertEquals((await scene.status())?.critical.outside.misses, { late: 0, dropped: 0, failed: 0 });
        await scene.stop();
      } finally {
        await scene.close();
      }
    },
  });
}
