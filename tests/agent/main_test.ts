/** The command line, in this process: what it answers to good and bad usage. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../assert.ts";
import { COMMANDS, main } from "../../agent/main.ts";
import { parseCommand, parseSeed } from "../../agent/commands/command.ts";
import { path } from "../../agent/std/mod.ts";
import { writeBundle, writeMission } from "./mission_fixture.ts";

async function calypte(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const code = await main(args, { out: (text) => void (out += text), err: (text) => void (err += text) });
  return { code, out, err };
}

const BUILTIN = new URL("../../ffi/native/kernels/builtin.ptx", import.meta.url).pathname;

Deno.test("without a command, usage goes to standard error and the status is 2", async () => {
  const { code, out, err } = await calypte();
  assertEquals([code, out], [2, ""]);
  for (const { name } of COMMANDS) assertStringIncludes(err, `  ${name} `);
});

for (const { name } of COMMANDS) {
  Deno.test(`${name} --help shows usage and an example`, async () => {
    for (
      const args of [[...name.split(" "), "--help"], [...name.split(" "), "-h"], ["help", ...name.split(" ")]]
    ) {
      const { code, out } = await calypte(...args);
      assertEquals(code, 0);
      assertMatch(out, new RegExp(`^Usage: calypte ${name}[\\s\\S]*\\nExample:\\n  calypte ${name}`));
      for (const line of out.split("\n")) assert(line.length <= 110, line);
    }
  });
}

for (
  const [args, message] of [
    [["rnu"], "calypte: rnu: is not a command of calypte; did you mean run?\n"],
    [
      ["bundle", "verfy"],
      "calypte: bundle verfy: is not a command of calypte; did you mean bundle verify?\n",
    ],
    [["bundle"], "calypte: bundle: must be one of bundle inspect, bundle verify, bundle bench\n"],
    [["xyzzy"], "calypte: xyzzy: is not a command of calypte; calypte help lists them\n"],
    [["run"], "calypte: MISSION: must be given; calypte run --help says more\n"],
    [
      ["run", "a.yaml", "b.yaml"],
      "calypte: b.yaml: is one argument too many; calypte run --help says more\n",
    ],
    [
      ["run", "a.yaml", "--bakend", "sim"],
      "calypte: --bakend: is not an option of calypte run; did you mean --backend?\n",
    ],
    [["run", "a.yaml", "--backend", "gpu"], 'calypte: --backend: must be auto, cuda or sim, not "gpu"\n'],
    [
      ["run", "a.yaml", "--backend=sim", "--backend=sim"],
      "calypte: --backend: must be given once; calypte run --help says more\n",
    ],
    [["run", "a.yaml", "--for"], "calypte: --for: needs a value; calypte run --help says more\n"],
    [["run", "no-such-mission.yaml"], "calypte: no-such-mission.yaml: does not exist\n"],
    [["simulate", "a.yaml"], "calypte: --for: must be given; such as --for 60s\n"],
    [
      ["simulate", "a.yaml", "--for", "1s", "--seed=-1"],
      "calypte: --seed: must be a whole number 0..2^53-1, not -1\n",
    ],
    [["ptx", "rewrite", BUILTIN], "calypte: -o: must be given\n"],
    [
      ["ptx", "rewrite", BUILTIN, "-o", "-", "--level", "whole"],
      'calypte: --level: must be loop, block or slice, not "whole"\n',
    ],
    [["ptx", "report", "no-such.ptx"], "calypte: no-such.ptx: does not exist\n"],
    [["config", "check", "no-such.yaml"], "calypte: no-such.yaml: does not exist\n"],
    [["status", "--address", "nowhere"], "calypte: --address: must be host:port such as 127.0.0.1:8717\n"],
    [["safe-mode", "maybe"], "calypte: maybe: must be on, off or status\n"],
    [["safe-mode"], "calypte: on|off|status: must be given; calypte safe-mode --help says more\n"],
    [["version", "now"], "calypte: now: is one argument too many; calypte version --help says more\n"],
  ] as [string[], string][]
) {
  Deno.test(`bad usage: calypte ${args.join(" ").replace(BUILTIN, "FILE")}`, async () => {
    assertEquals(await calypte(...args), { code: 2, out: "", err: message });
  });
}

Deno.test("a group of commands lists its members on --help", async () => {
  const { code, out } = await calypte("ptx", "--help");
  assertEquals(code, 0);
  assertMatch(out, /\n {2}ptx report .+\n {2}ptx rewrite .+\n/);
  assertEquals(out.includes("bundle"), false);
});

Deno.test("--for without a unit is refused with the units", async () => {
  const { code, err } = await calypte("simulate", "a.yaml", "--for", "60");
  assertEquals(code, 2);
  assertMatch(err, /^calypte: --for: must have a unit/);
});

Deno.test("version says agent and Deno whether or not the library is there", async () => {
  const { code, out } = await calypte("version");
  assertEquals(code, 0);
  assertMatch(out, /^calypte \d+\.\d+\.\d+\nlibrary .+\ndeno \d+\.\d+\.\d+\n$/);
});

const REDUCTION = new URL("../fixtures/ptx/reduction.ptx", import.meta.url).pathname;
const ATOMICS = new URL("../fixtures/ptx/atomics.ptx", import.meta.url).pathname;

Deno.test("ptx report shows levels, checkpoints and bounds of every kernel, and below why not more", async () => {
  const { code, out } = await calypte("ptx", "report", REDUCTION);
  assertEquals(code, 0);
  const rows = out.split("\n").map((line) => line.split(/ {2,}/));
  assertEquals(rows[0], [
    "kernel",
    "level",
    "safe levels",
    "checkpoints",
    "loop us",
    "block us",
    "slice us",
    "registers",
    "warps",
  ]);
  assertEquals(rows[1]?.slice(0, 4), ["block_sum", "loop", "loop block slice whole", "1 of 1 loops"]);
  assertMatch(rows[1]?.[4] ?? "", /^\d+\.\d$/);
  assertEquals(rows[1]?.slice(5, 7), ["?", "?"], "how often a loop turns is not to be told from the text");
  assertEquals(rows[3]?.slice(0, 5), ["early_return", "block", "block slice whole", "no loop", "-"]);
  assertMatch(out, /\n\S*reduction\.ptx:170: early_return: no more than block: it has no loop\n$/);
});

Deno.test("ptx report names each loop without a checkpoint, once, and who waits for other blocks", async () => {
  const { out } = await calypte("ptx", "report", REDUCTION, ATOMICS);
  const [, first = ""] = out.split(`${REDUCTION}:\n`);
  const [, second = ""] = first.split(`${ATOMICS}:\n`);
  assertMatch(second, /^kernel/);
  assertMatch(second, /\nin_turn +whole +whole +0 of 1 loops +- +- +-/);
  const about = second.split("\n").filter((line) => line.includes(" last_adds: "));
  assertEquals(about.map((line) => line.replace(/^.*ptx:/, "")), [
    "173: last_adds: no checkpoint in this loop: atom.global.inc.u32 at line 154 may not happen twice",
    "196: last_adds: no checkpoint in this loop: atom.global.inc.u32 at line 154 may not happen twice",
  ]);
  assertMatch(second, /:73: in_turn: no more than whole: the loop at line 73 may wait for another block/);
});

Deno.test("ptx report --json gives every field of a report, null where ptxas was not asked", async () => {
  const { out } = await calypte("ptx", "report", "--json", REDUCTION, BUILTIN);
  const [reduction, builtin, ...rest] = out.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(rest, []);
  assertEquals([reduction.file, builtin.kernels.length], [REDUCTION, 4]);
  const [sum] = reduction.kernels;
  assertEquals(Object.keys(sum).sort(), [
    "barriers",
    "boundUs",
    "checkpoints",
    "disjoint",
    "inexact",
    "kernel",
    "level",
    "line",
    "loops",
    "params",
    "reason",
    "registersAfter",
    "registersBefore",
    "restartReason",
    "restartable",
    "safeLevels",
    "unchecked",
    "warpsAfter",
    "warpsBefore",
  ]);
  assertEquals([sum.kernel, sum.level, sum.reason, sum.restartable], ["block_sum", "loop", "", true]);
  assertEquals(sum.safeLevels, ["loop", "block", "slice", "whole"]);
  assertEquals(Object.keys(sum.boundUs), ["loop", "block", "slice", "whole"]);
  assertEquals(sum.boundUs.whole, null);
});

Deno.test("ptx rewrite writes a module that takes the gate", async () => {
  const dir = await Deno.makeTempDir({ prefix: "calypte-ptx-" });
  try {
    const file = path.join(dir, "out.ptx");
    const { code, err } = await calypte("ptx", "rewrite", REDUCTION, "-o", file);
    assertEquals(code, 0);
    assertEquals(
      err,
      "3 of 3 kernels rewritten: 2 to level loop, 1 to level block\n" +
        `${REDUCTION}:170: early_return: no more than block: it has no loop\n`,
    );
    const loop = await Deno.readTextFile(file);
    assertMatch(loop, /calypte\d*_gate/);
    assertMatch(loop, /calypte\d*_period/);
    assertEquals((await calypte("ptx", "rewrite", BUILTIN, "-o", path.join(dir, "no", "out.ptx"))).code, 2);
    await Deno.writeTextFile(file, "nonsense");
    const bad = await calypte("ptx", "report", file);
    assertEquals(bad.code, 2);
    assertStringIncludes(bad.err, "line 1");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("ptx rewrite --level goes no higher, and speaks of what stays below", async () => {
  const block = await calypte("ptx", "rewrite", REDUCTION, "-o", "-", "--level", "block");
  assertEquals(block.err, "3 of 3 kernels rewritten: 3 to level block\n");
  assertMatch(block.out, /calypte\d*_gate/);
  assert(!/calypte\d*_period/.test(block.out));
  const slice = await calypte("ptx", "rewrite", ATOMICS, "-o", "-", "--level", "slice");
  assertMatch(
    slice.err,
    /^2 of 4 kernels rewritten: 2 to level slice\n\S+:73: in_turn: no more than whole: .+\n\S+ locked: .+\n$/,
  );
  assertMatch(slice.out, /calypte\d*_first/);
  assert(!/calypte\d*_gate/.test(slice.out));
});

Deno.test("config check shows what a mission asks for", async () => {
  await using mission = await writeMission();
  const { code, out } = await calypte("config", "check", mission.file);
  assertEquals(code, 0);
  assertStringIncludes(out, "detector  5 ms from arrival  3 frames, 100 Hz  latest\n");
  assertStringIncludes(out, `policy weighted-fair, lease 400 ms\n${mission.file} is good\n`);
});

Deno.test("an option that a built-in policy does not have, or out of its range, is refused", async () => {
  await using mission = await writeMission();
  const text = await Deno.readTextFile(mission.file);
  for (
    const [policy, said] of [
      [
        "{ name: energy, options: { flor: 1 } }",
        "policy.options.flor: is not an option of energy, which has floor",
      ],
      [
        "{ options: { floor: 1 } }",
        "policy.options.floor: is not an option of weighted-fair, which has none",
      ],
      [
        "{ name: energy, options: { floor: 0 } }",
        "policy.options.floor: must be a number of 0.001..1, not 0",
      ],
    ] as const
  ) {
    await Deno.writeTextFile(mission.file, text.replace("policy: { lease: 400ms }", `policy: ${policy}`));
    const { code, err } = await calypte("config", "check", mission.file);
    assertEquals(code, 2);
    assertStringIncludes(err, said);
  }
});

Deno.test("a mission with an unknown policy is refused with the known ones", async () => {
  await using mission = await writeMission();
  const text = await Deno.readTextFile(mission.file);
  await Deno.writeTextFile(mission.file, text.replace("lease: 400ms", "name: weighted-fare, lease: 400ms"));
  const { code, err } = await calypte("config", "check", mission.file);
  assertEquals(code, 2);
  assertStringIncludes(
    err,
    "policy.name: must be one of round-robin, weighted-fair, deadline, throughput, energy, mission, not weighted-fare; did you mean weighted-fair?",
  );
});

Deno.test("config schema is the JSON Schema of a mission", async () => {
  const { code, out } = await calypte("config", "schema");
  assertEquals(code, 0);
  assertEquals(Object.keys(JSON.parse(out).properties).includes("critical"), true);
});

Deno.test("bundle inspect shows buffers, steps and kernels, and finds a file that changed", async () => {
  const dir = await Deno.makeTempDir({ prefix: "calypte-bundle-" });
  try {
    await writeBundle(dir, "adder");
    const { code, out } = await calypte("bundle", "inspect", dir);
    assertEquals(code, 0);
    assertMatch(out, /frame +input +512 B +u8 512\n/);
    assertMatch(out, /\nadd_one +block +block slice whole +no loop +- +\d/);
    assertMatch(out, /\nkernels\.ptx:5: add_one: no more than block: it has no loop\n$/);
    const json = JSON.parse((await calypte("bundle", "inspect", dir, "--json")).out);
    assertEquals(json.steps[0].kernel, "add_one");
    const [kernel, ...others] = json.kernels;
    assertEquals(others, []);
    assertEquals([kernel.module, kernel.kernel, kernel.level], ["kernels.ptx", "add_one", "block"]);
    assertEquals(kernel.safeLevels, ["block", "slice", "whole"]);
    await Deno.writeFile(path.join(dir, "sample.out"), new Uint8Array(512));
    const bad = await calypte("bundle", "inspect", dir);
    assertEquals(bad.code, 2);
    assertStringIncludes(bad.err, "sample.out");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("bundle inspect knows which parameters lead to the same buffer, where ptx report does not", async () => {
  const dir = new URL("../../examples/bundles/obstacle-detector", import.meta.url).pathname;
  const { kernels } = JSON.parse((await calypte("bundle", "inspect", dir, "--json")).out);
  const [report] = (await calypte("ptx", "report", "--json", path.join(dir, kernels[0].module))).out
    .split("\n").map((line) => JSON.parse(line || "null"));
  const alone = new Map<string, { level: string }>(
    report.kernels.map((k: { kernel: string }) => [k.kernel, k]),
  );
  const better = kernels.filter((k: { kernel: string; level: string }) =>
    k.level === "loop" && alone.get(k.kernel)?.level === "block"
  );
  assert(better.length > 0);
  for (const { disjoint } of better) assert(disjoint.length > 0);
  const { out } = await calypte("bundle", "inspect", dir);
  assertMatch(out, / loop because what \S+ leads to is no buffer of \S+/);
});

Deno.test("status fails with 1 and says where it asked when no agent answers", async () => {
  const { code, err } = await calypte("status", "--address", "127.0.0.1:1");
  assertEquals(code, 1);
  assertMatch(err, /^no agent answers on 127\.0\.0\.1:1: /);
});

Deno.test("a stack is shown only to those who ask", async () => {
  const before = Deno.env.get("CALYPTE_DEBUG");
  try {
    Deno.env.delete("CALYPTE_DEBUG");
    assertEquals((await calypte("rnu")).err.includes("    at "), false);
    Deno.env.set("CALYPTE_DEBUG", "1");
    assertEquals((await calypte("rnu")).err.includes("    at "), true);
  } finally {
    if (before === undefined) Deno.env.delete("CALYPTE_DEBUG");
    else Deno.env.set("CALYPTE_DEBUG", before);
  }
});

Deno.test("arguments: what follows -- is positional, numbers stay texts, -o is --output", () => {
  const options = { boolean: ["json"], string: ["output"], positional: ["FILE..."] } as const;
  const parsed = parseCommand("x", ["007", "-o", "out", "--json", "--", "--file"], options);
  assertEquals(parsed, { flags: { json: true }, values: { output: "out" }, positional: ["007", "--file"] });
  assertEquals([parseSeed(undefined), parseSeed("0"), parseSeed("42")], [1, 0, 42]);
});
