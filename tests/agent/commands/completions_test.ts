/** Do shells complete what the help texts say? */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../../assert.ts";
import { completionEntries } from "../../../agent/commands/completion_model.ts";
import { COMMANDS, main } from "../../../agent/main.ts";

async function script(shell: string): Promise<string> {
  let out = "";
  assertEquals(await main(["completions", shell], { out: (text) => void (out += text), err: () => {} }), 0);
  return out;
}

const entries = completionEntries(COMMANDS);
const entryOf = (name: string) => entries.find(({ words }) => words.join(" ") === name);

Deno.test("options and words come from the help texts, with their values", () => {
  const run = entryOf("run")!;
  const valuesOf = (name: string) => run.options.find((option) => option.name === name)?.values;
  assertEquals(valuesOf("--backend"), ["auto", "cuda", "sim"]);
  assertEquals(valuesOf("--for"), []);
  assertEquals(valuesOf("--preemption-bound"), []);
  assertEquals(entryOf("safe-mode")?.operands, ["on", "off", "status"]);
  assertEquals(entryOf("jobs")?.operands, ["list", "pause", "resume", "cancel"]);
  assertEquals(entryOf("trace")?.options.map(({ name }) => name), [
    "--for",
    "--output",
    "--address",
    "--json",
    "--help",
  ]);
});

Deno.test("every option that a help text lists is found, and no command has operands that are not its own", () => {
  for (const { name, help } of COMMANDS) {
    const entry = entryOf(name)!;
    const section = help.split("Options:\n")[1]?.split("\n\n")[0] ?? "";
    for (const [option] of section.matchAll(/(?<=^ {2}|, )--[a-z-]+/gm)) {
      assert(entry.options.some((each) => each.name === option), `${name} ${option}`);
    }
    assert(entry.operands.every((word) => help.includes(word)));
  }
});

/** What bash offers for a line; the last word is the one that is being typed. */
async function offered(source: string, ...line: string[]): Promise<string[]> {
  const words = ["calypte", ...line].map((word) => `'${word}'`).join(" ");
  const program = `${source}
COMP_WORDS=(${words}); COMP_CWORD=${line.length}; _calypte; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { success, stdout, stderr } = await new Deno.Command("bash", {
    args: ["--norc", "-c", program],
    stdout: "piped",
    stderr: "piped",
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).split("\n").filter((word) => word !== "");
}

Deno.test("bash completes commands, members of groups, words, options, values, and else files", async () => {
  const source = await script("bash");
  const first = await offered(source, "");
  for (const { name } of COMMANDS) assert(first.includes(name.split(" ")[0]!), name);
  assertEquals(await offered(source, "pre"), ["preflight"]);
  assertEquals(await offered(source, "bundle", ""), ["inspect", "verify", "bench"]);
  assertEquals(await offered(source, "safe-mode", "o"), ["on", "off"]);
  assertEquals(await offered(source, "bundle", "verify", "--"), ["--backend", "--json", "--help"]);
  assertEquals(await offered(source, "run", "m.yaml", "--backend", "c"), ["cuda"]);
  assertEquals(await offered(source, "jobs", "pause", ""), []);
  assertEquals(await offered(source, "run", ""), []);
  assertEquals(await offered(source, "nonsense", ""), []);
  assertMatch(source, /complete -o default -F _calypte calypte/);
});

for (const shell of ["zsh", "fish"]) {
  Deno.test(`the script for ${shell} has every command, and ${shell}, where there is one, can read it`, async () => {
    const source = await script(shell);
    for (const { words } of entries) for (const word of words) assertStringIncludes(source, word);
    const file = await Deno.makeTempFile();
    try {
      await Deno.writeTextFile(file, source);
      const { success, stderr } = await new Deno.Command(shell, { args: ["-n", file], stderr: "piped" })
        .output();
      assert(success, new TextDecoder().decode(stderr));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      console.log(`there is no ${shell} here: its script was not read by it`);
    } finally {
      await Deno.remove(file);
    }
  });
}

Deno.test("another shell is refused", async () => {
  let err = "";
  assertEquals(await main(["completions", "csh"], { out: () => {}, err: (text) => void (err += text) }), 2);
  assertEquals(err, "calypte: csh: must be bash, zsh or fish\n");
});
