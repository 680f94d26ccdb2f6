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
    [["bundle"], "calypte: bundle: must be one of bundle inspect, bundle verify\n"],
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
    [["ptx", "report", "no-such.ptx"], "calypte: no-such.ptx: does not exist\n"],
    [["config", "check", "no-such.yaml"], "calypte: no-such.yaml: does not exist\n"],
    [["status", "--address", "nowhere"], "calypte: --address: must be host:port such as 127.0.0.1:8717\n"],
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

Deno.test("ptx report says the level of every kernel, as a table or as JSON", async () => {
  const { code, out } = await calypte("ptx", "report", BUILTIN);
  assertEquals(code, 0);
  assertMatch(out, /^kernel +level +params +barriers +loops +registers\ncalypte_copy +block +3 +0 +\d+.*\n/);
  const json = JSON.parse((await calypte("ptx", "report", "--json", BUILTIN)).out);
  assertEquals(json.kernels.length, 4);
});

Deno.test("ptx rewrite writes a module that takes the gate", async () => {
  const dir = await Deno.makeTempDir({ prefix: "calypte-ptx-" });
  try {
    const file = path.join(dir, "out.ptx");
    const { code, err } = await calypte("ptx", "rewrite", BUILTIN, "-o", file);
    assertEquals([code, err], [0, "4 of 4 kernels rewritten to level block\n"]);
    assertMatch(await Deno.readTextFile(file), /calypte\d*_gate/);
    assertEquals((await calypte("ptx", "rewrite", BUILTIN, "-o", path.join(dir, "no", "out.ptx"))).code, 2);
    await Deno.writeTextFile(file, "nonsense");
    const bad = await calypte("ptx", "report", file);
    assertEquals(bad.code, 2);
    assertStringIncludes(bad.err, "line 1");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("config check shows what a mission asks for", async () => {
  await using mission = await writeMission();
  const { code, out } = await calypte("config", "check", mission.file);
  assertEquals(code, 0);
  assertStringIncludes(out, "detector  5 ms from arrival  3 frames, 100 Hz  latest\n");
  assertStringIncludes(out, `policy weighted-fair, lease 400 ms\n${mission.file} is good\n`);
});

Deno.test("a mission with an unknown policy is refused with the known ones", async () => {
  await using mission = await writeMission();
  const text = await Deno.readTextFile(mission.file);
  await Deno.writeTextFile(mission.file, text.replace("lease: 400ms", "name: weighted-fare, lease: 400ms"));
  const { code, err } = await calypte("config", "check", mission.file);
  assertEquals(code, 2);
  assertStringIncludes(
    err,
    "policy.name: must be one of round-robin, weighted-fair, not weighted-fare; did you mean weighted-fair?",
  );
});

Deno.test("config schema is the JSON Schema of a mission", async () => {
  const { code, out } = await calypte("config", "schema");
  assertEquals(code, 0);
  assertEquals(Object.keys(JSON.parse(out).properties).includes("critical"), true);
});

Deno.test("bundle inspect shows buffers and steps, and finds a file that changed", async () => {
  const dir = await Deno.makeTempDir({ prefix: "calypte-bundle-" });
  try {
    await writeBundle(dir, "adder");
    const { code, out } = await calypte("bundle", "inspect", dir);
    assertEquals(code, 0);
    assertMatch(out, /frame +input +512 B +u8 512\n/);
    assertEquals(
      JSON.parse((await calypte("bundle", "inspect", dir, "--json")).out).steps[0].kernel,
      "add_one",
    );
    await Deno.writeFile(path.join(dir, "sample.out"), new Uint8Array(512));
    const bad = await calypte("bundle", "inspect", dir);
    assertEquals(bad.code, 2);
    assertStringIncludes(bad.err, "sample.out");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
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
