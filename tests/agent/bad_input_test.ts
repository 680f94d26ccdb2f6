/**
 * Whatever is wrong with what the agent is given: is it told in one message that names file, field and rule, with
 * status 2, and is nothing half-started? Each case is a mission that runs, with one thing broken, given to the agent as a
 * process of its own. Needs build/libcalypte.so: without it these tests are left out, except in CI, where they fail.
 */
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { double } from "../ffi/double.ts";
import { calypte, ignore, PTX, Scene } from "./bad_input_scene.ts";

interface Case {
  name: string;
  /** Breaks one thing. */
  spoil: (scene: Scene) => void | Promise<void>;
  /** Arguments behind the command; default: `run MISSION --backend sim --for 1s`. */
  args?: (scene: Scene) => string[];
  env?: () => Record<string, string>;
  /** As the message begins: file and field, joined. */
  where: (scene: Scene) => string;
  rule: RegExp;
}

const inBundle = (field: string) => ({ manifest }: Scene) => `${manifest}: ${field}: `;
const inMission = (field: string) => ({ mission }: Scene) => `${mission}: ${field}: `;
const inspect = (scene: Scene) => ["bundle", "inspect", scene.at("tiny")];
const KERNEL = 1;

const CASES: Case[] = [
  {
    name: "a mission that is not there",
    spoil: ({ mission }) => Deno.removeSync(mission),
    where: ({ mission }) => `${mission}: `,
    rule: /does not exist/,
  },
  {
    name: "a mission that is no YAML",
    spoil: (scene) => scene.say("critical:", "critical: ]"),
    where: inMission("line 2, column 11"),
    rule: /must be YAML: \w+/,
  },
  {
    name: "a rate of NaN",
    spoil: (scene) => scene.say("100Hz", "NaN"),
    where: inMission("critical.detector.source.rate"),
    rule: /must be a frequency such as "30Hz", not "NaN"/,
  },
  {
    name: "a rate of YAML's NaN",
    spoil: (scene) => scene.say("100Hz", ".nan"),
    where: inMission("critical.detector.source.rate"),
    rule: /must be a frequency such as "30Hz", not NaN/,
  },
  {
    name: "a rate of nothing",
    spoil: (scene) => scene.say("100Hz", "0Hz"),
    where: inMission("critical.detector.source.rate"),
    rule: /must be more than zero, not "0Hz"/,
  },
  {
    name: "a deadline longer than the period",
    spoil: (scene) => scene.say("5ms", "11ms"),
    where: inMission("critical.detector.deadline"),
    rule: /must not be longer than the period \(10 ms\).*overlap: true/,
  },
  {
    name: "a job with the name of a task",
    spoil: (scene) => scene.say("map:", "detector:"),
    where: inMission("background.detector"),
    rule: /must not have the name of a critical task/,
  },
  {
    name: "two jobs of one name",
    spoil: (scene) => scene.say("background:\n", "background:\n  map: { bundle: tiny }\n"),
    where: inMission("line 10, column 3"),
    rule: /must be YAML: .*duplicated key$/,
  },
  {
    name: "two works that write to one file",
    spoil: (scene) => scene.say("{ dir: out/maps }", "{ jsonl: ./out/detections.jsonl }"),
    where: inMission("background.map.output"),
    rule: /must not be where critical.detector writes/,
  },
  {
    name: "a bundle that is not there",
    spoil: (scene) => scene.say("bundle: tiny\n", "bundle: none\n"),
    where: inMission("critical.detector.bundle"),
    rule: /does not exist/,
  },
  {
    name: "an output that cannot be written, after another that can",
    spoil: (scene) => scene.say("out/maps", "mission.yaml/maps"),
    where: () => "",
    rule: /mission\.yaml\/maps: background\.map\.output: must be a place for results/,
  },
  {
    name: "a reference that does not load",
    spoil: (scene) => {
      Deno.writeTextFileSync(scene.at("tiny/reference.ts"), "throw new Error('oops');\n");
      scene.change((manifest) => manifest.reference = "reference.ts");
    },
    where: inBundle("reference"),
    rule: /must be a TypeScript module that loads: oops/,
  },
  {
    name: "missing PTX",
    spoil: (scene) => Deno.removeSync(scene.at(`tiny/${PTX}`)),
    where: inBundle("modules[0]"),
    rule: /kernels\.compute_50\.ptx does not exist/,
  },
  {
    name: "empty PTX",
    spoil: (scene) => scene.replace(PTX, () => new Uint8Array()),
    where: inBundle("modules[0]"),
    rule: /must have at least 1 bytes, not 0/,
  },
  ...[["run", undefined] as const, ["bundle inspect", inspect] as const].map(([how, args]): Case => ({
    name: `truncated PTX, with ${how}`,
    spoil: (scene) => scene.replace(PTX, (bytes) => bytes.subarray(0, bytes.length * 0.7)),
    ...(args === undefined ? {} : { args }),
    where: (scene) => `${scene.at("tiny")}/${PTX}: line `,
    rule: /line \d+, column \d+: \w+/,
  })),
  {
    name: "PTX that was changed",
    spoil: (scene) => Deno.writeTextFileSync(scene.at(`tiny/${PTX}`), "// hello\n"),
    where: inBundle("modules[0]"),
    rule: /must have SHA-256 [0-9a-f]{12}…, but has/,
  },
  {
    name: "weights of the wrong size",
    spoil: (scene) => scene.replace("weights.bin", (bytes) => bytes.subarray(0, 100)),
    where: inBundle("buffers[2]"),
    rule: /weights\.bin must have at least 128 bytes \(bias ends there\), not 100/,
  },
  {
    name: "weights of the wrong hash",
    spoil: (scene) => Deno.writeFileSync(scene.at("tiny/weights.bin"), new Uint8Array(128)),
    where: inBundle("buffers[1]"),
    rule: /weights\.bin must have SHA-256 237213e47cf9…, but has/,
  },
  {
    name: "a sample of the wrong size",
    spoil: (scene) => Deno.truncateSync(scene.at("tiny/sample.in"), 63),
    where: inBundle("verify.input"),
    rule: /sample\.in must have 64 bytes .*, not 63/,
  },
  {
    name: "frames of the wrong size",
    spoil: (scene) => Deno.truncateSync(scene.at("frames/0.raw"), 63),
    where: (scene) => `${scene.at("frames/0.raw")}: `,
    rule: /must have 64 bytes, as the bundle's input, not 63/,
  },
  ...[
    ["run", undefined] as const,
    ["config check", ({ mission }: Scene) => ["config", "check", mission]] as const,
    ["bundle inspect", inspect] as const,
  ].flatMap(([how, args]): Case[] => [
    {
      name: `a kernel that is not in the module, with ${how}`,
      spoil: (scene) => scene.change(({ steps }) => steps[KERNEL].kernel = "scale_ad"),
      ...(args === undefined ? {} : { args }),
      where: inBundle(`steps[${KERNEL}].kernel`),
      rule: /must name an entry of the module, not scale_ad; it has scale_add/,
    },
    {
      name: `an argument too few, with ${how}`,
      spoil: (scene) => scene.change(({ steps }) => steps[KERNEL].args.pop()),
      ...(args === undefined ? {} : { args }),
      where: inBundle(`steps[${KERNEL}].args`),
      rule: /must be 5 for scale_add, not 4; it takes \(\.u64 scale_add_in/,
    },
  ]),
  {
    name: "an argument too many",
    spoil: (scene) => scene.change(({ steps }) => steps[KERNEL].args.push({ u32: 1 })),
    where: inBundle(`steps[${KERNEL}].args`),
    rule: /must be 5 for scale_add, not 6/,
  },
  {
    name: "an argument of the wrong size",
    spoil: (scene) => scene.change(({ steps }) => steps[KERNEL].args[4] = { u64: 16 }),
    where: inBundle(`steps[${KERNEL}].args[4]`),
    rule: /must have 4 bytes for \.u32 \S+, not u64 of 8/,
  },
  {
    name: "an offset beyond its buffer",
    spoil: (scene) => scene.change(({ steps }) => steps[KERNEL].args[3].offset = 128),
    where: inBundle(`steps[${KERNEL}].args[3].offset`),
    rule: /must lie inside work \(128 bytes\), not at 128/,
  },
  {
    name: "a range beyond its buffer",
    spoil: (scene) => scene.change(({ steps }) => steps[2].copy.from.offset = 65),
    where: inBundle("steps[2].copy.from"),
    rule: /must lie inside work \(128 bytes\), not at 65\.\.129/,
  },
  {
    name: "a copy between ranges that overlap",
    spoil: (scene) => scene.change(({ steps }) => steps[2].copy.to = { buffer: "work", offset: 1 }),
    where: inBundle("steps[2].copy"),
    rule: /must not copy between ranges that overlap/,
  },
  {
    name: "an offset that is negative",
    spoil: (scene) => scene.change(({ buffers }) => buffers[2].offset = -1),
    where: inBundle("buffers[2].offset"),
    rule: /must be at least 0, not -1/,
  },
  {
    name: "a weight beyond the end of its file",
    spoil: (scene) => scene.change(({ buffers }) => buffers[2].offset = 2 ** 40),
    where: inBundle("buffers[2]"),
    rule: /weights\.bin must have at least \d+ bytes/,
  },
  {
    name: "a grid of no blocks",
    spoil: (scene) => scene.change(({ steps }) => steps[KERNEL].grid = [1, 0, 1]),
    where: inBundle(`steps[${KERNEL}].grid[1]`),
    rule: /must be at least 1, not 0/,
  },
  {
    name: "a grid with one side too long",
    spoil: (scene) => scene.change(({ steps }) => steps[KERNEL].grid = [2 ** 31, 1, 1]),
    where: inBundle(`steps[${KERNEL}].grid[0]`),
    rule: /must be at most 2147483647, not 2147483648/,
  },
  {
    name: "a grid whose blocks overflow",
    spoil: (scene) => scene.change(({ steps }) => steps[KERNEL].grid = [65536, 32768, 2]),
    where: inBundle(`steps[${KERNEL}].grid`),
    rule: /must have fewer than 2\^31 blocks in all/,
  },
  {
    name: "two buffers of one name",
    spoil: (scene) => scene.change(({ buffers }) => buffers[2].name = "scale"),
    where: inBundle("buffers[2].name"),
    rule: /must be unique; scale is buffers\[1\]\.name already/,
  },
  {
    name: "two modules for one device",
    spoil: (scene) => scene.change(({ modules }) => modules.push(modules[0])),
    where: inBundle("modules[1].arch"),
    rule: /must be unique; compute_50 is modules\[0\]\.arch already/,
  },
  {
    name: "more memory than the device has",
    spoil: (scene) => scene.change(({ buffers }) => buffers[3].bytes = 2 ** 45),
    where: inBundle("buffers[3]"),
    rule: /must fit the device's memory, and buffer work of work detector \(35184372088832 bytes\) does not/,
  },
  {
    name: "no GPU, asked for on the command line",
    spoil: () => {},
    args: ({ mission }) => ["run", mission, "--backend", "cuda"],
    env: () => ({ CUDA_VISIBLE_DEVICES: "-1" }),
    where: () => "--backend cuda: ",
    rule: /needs a GPU, and none was found: .+; take --backend sim to simulate/,
  },
  {
    name: "no GPU, asked for by the mission",
    spoil: (scene) => scene.say("http:", "device: { backend: cuda }\nhttp:"),
    args: ({ mission }) => ["run", mission],
    env: () => ({ CUDA_VISIBLE_DEVICES: "-1" }),
    where: inMission("device.backend"),
    rule: /needs a GPU, and none was found: .+/,
  },
  {
    name: "a library of another ABI version",
    spoil: () => {},
    env: () => ({ CALYPTE_LIBRARY: double("DOUBLE_ABI=99") }),
    where: () => `${double("DOUBLE_ABI=99")}: CALYPTE_LIBRARY: `,
    rule: /library of another ABI version: it has 99, this program needs \d+; .*`make build`/,
  },
  {
    name: "no library",
    spoil: () => {},
    env: () => ({ CALYPTE_LIBRARY: "/none/libcalypte.so" }),
    where: () => "/none/libcalypte.so: CALYPTE_LIBRARY: ",
    rule: /there is no such file; run `make build`/,
  },
];
async function refuses(
  scene: Scene,
  { args, env, where, rule }: Omit<Case, "name" | "spoil">,
): Promise<void> {
  const before = scene.all();
  const given = args?.(scene) ?? ["run", scene.mission, "--backend", "sim", "--for", "1s", "--json"];
  const { code, out, err } = await calypte(given, env?.());
  assertEquals([code, out], [2, ""], err);
  const line = err.split("\n").find((line) => line.startsWith(`calypte: ${where(scene)}`));
  assert(line !== undefined, err);
  assertMatch(line, rule);
  for (const sign of ["internal error", "    at ", "Ctrl-C", "status on"]) {
    assertEquals(err.includes(sign), false);
  }
  assertEquals(scene.all(), before);
}

for (const { name, spoil, ...rest } of CASES) {
  Deno.test({
    name: `refused: ${name}`,
    ignore,
    fn: async () => {
      using scene = new Scene();
      await spoil(scene);
      await refuses(scene, rest);
    },
  });
}

Deno.test({
  name: "refused: a port in use, and the results of an earlier run stay where they are",
  ignore,
  fn: async () => {
    using scene = new Scene();
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    scene.say("http: false", `http: { listen: "127.0.0.1:${port}" }`);
    Deno.mkdirSync(scene.at("out/maps"), { recursive: true });
    Deno.writeTextFileSync(scene.at("out/detections.jsonl"), "{}\n");
    Deno.writeTextFileSync(scene.at("out/maps/00000000.bin"), "x");
    await refuses(scene, { where: inMission("http.listen"), rule: /127\.0\.0\.1:\d+ is in use already/ });
  },
});

Deno.test({
  name: "what none of the cases breaks runs: status 0, one object, outputs in their places",
  ignore,
  fn: async () => {
    using scene = new Scene();
    const { code, out, err } = await calypte([
      "run",
      scene.mission,
      "--backend=sim",
      "--for=100ms",
      "--json",
    ]);
    assertEquals(code, 0, err);
    assertEquals(Object.keys(JSON.parse(out).critical), ["detector"]);
    assert(Deno.statSync(scene.at("out/detections.jsonl")).isFile);
  },
});
