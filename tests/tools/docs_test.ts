/** Is what the docs tell a reader to type there, and does it work? Links lead somewhere, README's commands run. */
import { assert, assertEquals } from "../assert.ts";
import { main } from "../../agent/main.ts";
import { path } from "../../agent/std/mod.ts";

const ROOT = path.fromFileUrl(new URL("../..", import.meta.url));

async function documents(): Promise<string[]> {
  const found = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "examples/README.md", "jetson/README.md"];
  for (const folder of ["docs", "docs/decisions"]) {
    for await (const { name } of Deno.readDir(`${ROOT}${folder}`)) {
      if (name.endsWith(".md")) found.push(`${folder}/${name}`);
    }
  }
  const there = await Promise.all(found.map(async (file) => await exists(`${ROOT}${file}`) ? [file] : []));
  return there.flat();
}

async function exists(file: string): Promise<boolean> {
  try {
    await Deno.stat(file);
    return true;
  } catch {
    return false;
  }
}

/** As GitHub makes them of headings. */
function anchorsOf(text: string): Set<string> {
  return new Set(
    [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
      title.toLowerCase().replaceAll(/[`*]/g, "").replaceAll(/[^\p{L}\p{N} _-]/gu, "").trim().replaceAll(
        " ",
        "-",
      )
    ),
  );
}

Deno.test("every link of the docs leads to a file of the tree, and to a heading that it has", async () => {
  const lost: string[] = [];
  let links = 0;
  for (const file of await documents()) {
    const text = await Deno.readTextFile(`${ROOT}${file}`);
    for (const [, target = ""] of text.replaceAll(/```[\s\S]*?```/g, "").matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      links++;
      const [to = "", anchor] = target.split("#");
      const there = path.join(ROOT, path.dirname(file), to === "" ? path.basename(file) : to);
      if (!await exists(there)) lost.push(`${file}: ${target}`);
      else if (anchor !== undefined && !anchorsOf(await Deno.readTextFile(there)).has(anchor)) {
        lost.push(`${file}: ${target}: no such heading`);
      }
    }
  }
  assertEquals(lost, []);
  assert(links > 50);
});

/** The lines of README's shell blocks, without their comments. */
async function commands(): Promise<string[]> {
  const text = await Deno.readTextFile(`${ROOT}README.md`);
  return [...text.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, block = ""]) =>
    block.split("\n").map((line) => line.replace(/\s+#.*$/, "").trim()).filter((line) => line !== "")
  );
}

/** They ask an agent that runs, or want what a run has left; tests of their own. */
const ASKING = /^(status|blackbox|top|events|jobs|trace|explain|safe-mode)\b/;

/** They judge this machine, which may have no GPU. */
const JUDGING = /^(doctor|preflight)\b/;

Deno.test("README's commands run, and its make targets are there", async () => {
  const makefile = await Deno.readTextFile(`${ROOT}Makefile`);
  const help: string[] = [];
  await main(["help"], { out: (text) => void help.push(text), err: () => {} });
  let ran = 0;
  const before = Deno.cwd();
  Deno.chdir(ROOT);
  try {
    for (const line of await commands()) {
      const [program, ...args] = line.split(/\s+/);
      if (program === "make") {
        assert(new RegExp(`^${args[0]}:`, "m").test(makefile), line);
        continue;
      }
      assertEquals(program, "./calypte", line);
      if (ASKING.test(args.join(" "))) {
        assert(help.join("").includes(args[0]!), line);
        continue;
      }
      const said: string[] = [];
      const terminal = {
        out: (text: string) => void said.push(text),
        err: (text: string) => void said.push(text),
      };
      const good = JUDGING.test(args.join(" ")) ? [0, 1] : [0];
      assert(good.includes(await main(args, terminal)), `${line}: ${said.join("")}`);
      assert(said.join("").length > 100, line);
      ran++;
    }
  } finally {
    Deno.chdir(before);
  }
  assert(ran >= 4);
});
