/**
 * Critical tasks whose work another process does: what a mission may say of them, and a run with one, whose process is
 * Python over the client library. The run needs build/libcalypte.so and python3; in CI it fails without them.
 */
import { assert, assertEquals, assertStringIncludes, assertThrows } from "../assert.ts";
import { loadMissionBundles, parseMission } from "../../agent/config.ts";
import { InputError } from "../../agent/errors.ts";
import { path } from "../../agent/std/mod.ts";
import { libraryPath } from "../../ffi/mod.ts";

const ROOT = path.dirname(path.dirname(import.meta.dirname!));

const external = (more = "") => `critical: { a: { external: s.sock, deadline: 15ms${more} } }`;
const messageOf = (text: string) => assertThrows(() => parseMission(text, "m.yaml"), InputError).message;

Deno.test("an external task is a socket with a deadline, and its rate and execution if they are known", async () => {
  const mission = parseMission(external(", rate: 50Hz, execution: 4ms"), "dir/m.yaml");
  assertEquals(mission.critical[0]?.source, {
    kind: "external",
    path: "dir/s.sock",
    periodNs: 20_000_000,
    executionNs: 4_000_000,
  });
  const plain = parseMission(external(), "dir/m.yaml");
  assertEquals(plain.critical[0]?.source, {
    kind: "external",
    path: "dir/s.sock",
    periodNs: 0,
    executionNs: 0,
  });
  const bundle = (await loadMissionBundles(mission)).get("a");
  assertEquals([bundle?.manifest.steps, bundle?.modules], [[], []]);
});

Deno.test("a task is either external or has a bundle and a source, and the error says which key is wrong", () => {
  const cases: [string, string, string][] = [
    [external(", bundle: x"), "critical.a.bundle", "another process does the work"],
    [external(", source: { api: true }"), "critical.a.source", "another process does the work"],
    [external(", output: { jsonl: f }"), "critical.a.output", "keeps its outputs"],
    [external(", yield: when-needed"), "critical.a.yield", "must be always"],
    ["critical: { a: { deadline: 15ms } }", "critical.a.bundle", "must be given"],
    ["critical: { a: { bundle: x, deadline: 15ms } }", "critical.a.source", "must be given"],
    [
      "critical: { a: { bundle: x, source: { api: true }, execution: 1ms, deadline: 15ms } }",
      "critical.a.execution",
      "with `external` only",
    ],
    [external(", rate: 100Hz"), "critical.a.deadline", "must not be longer than the period"],
    [
      "critical: { a: { external: s, deadline: 1ms }, b: { external: ./s, deadline: 1ms } }",
      "critical.b",
      "another task's",
    ],
  ];
  for (const [text, field, rule] of cases) {
    const message = messageOf(text);
    assertStringIncludes(message, field);
    assertStringIncludes(message, rule);
  }
});

const CLIENT = path.join(path.dirname(libraryPath()), "libcalypte_client.so");
const PROCESS = `
import sys, time
sys.path.insert(0, ${JSON.stringify(path.join(ROOT, "ffi/native/client"))})
from calypte_client import SERVED, Client, wait_until
with Client(sys.argv[1]) as client:
    while client.state != SERVED:
        time.sleep(0.01)
    due = time.monotonic_ns()
    for _ in range(20):
        due += 10_000_000
        client.expect(due)
        wait_until(due)
        with client.request(sensor_ns=due):
            wait_until(due + 2_000_000)
`;

function isThere(file: string): boolean {
  try {
    return Deno.statSync(file).isFile;
  } catch {
    return false;
  }
}

Deno.test({
  name:
    "a process in Python is served by a run: its requests are counted, and background has the time between them",
  ignore: (!isThere(libraryPath()) || !isThere(CLIENT)) && (Deno.env.get("CI") ?? "") === "",
  async fn() {
    const dir = await Deno.makeTempDir();
    try {
      const bundle = path.join(ROOT, "examples/bundles/vegetation-map");
      const frames = path.join(ROOT, "examples/frames");
      await Deno.writeTextFile(
        `${dir}/m.yaml`,
        `http: false
state: off
critical: { outside: { external: s.sock, deadline: 1s } }
background: { maps: { bundle: ${bundle}, source: { frames: ${frames} }, isolation: shared } }
`,
      );
      const run = new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--quiet", "--no-prompt", path.join(ROOT, "agent/entry.ts")]
          .concat(["run", `${dir}/m.yaml`, "--backend", "sim", "--engine", "in-process", "--json"]),
        env: { CALYPTE_CACHE: "off" },
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      const output = run.output();
      const python = await new Deno.Command("python3", {
        args: ["-c", PROCESS, `${dir}/s.sock`],
        env: { CALYPTE_CLIENT_LIBRARY: CLIENT },
      }).output();
      run.kill("SIGINT");
      const { code, stdout, stderr } = await output;
      const text = new TextDecoder();
      assertEquals(python.code, 0, text.decode(python.stderr));
      assertEquals(code, 0, text.decode(stderr));
      const { critical: { outside }, background: { maps } } = JSON.parse(text.decode(stdout));
      assertEquals([outside.requests, outside.misses], [20, 0]);
      assert(outside.response.p50Us >= 1_000, "a response is what the process took");
      assert(maps.units > 0);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});
