/**
 * Does what docs/JETSON.md, docs/OPERATIONS.md and the camera's manual tell a reader to type exist?
 *
 * Commands of Calypte are asked for their help, which has to know the options; targets, scripts and variables are looked up. Programs of the
 * system are not run.
 */
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { main } from "../../agent/main.ts";
import { path } from "../../agent/std/mod.ts";

const ROOT = path.fromFileUrl(new URL("../..", import.meta.url)).replace(/\/$/, "");
const DOCS = ["docs/JETSON.md", "docs/OPERATIONS.md", "jetson/camera/README.md"];
/** Of Debian, Ubuntu and JetPack. */
const SYSTEM = new Set(
  "apt cat cc cd cp docker git grep journalctl ldconfig mkdir nvpmodel rm sed ssh systemctl usermod"
    .split(" "),
);
/** Processes of their own, which no person starts. */
const INTERNAL = /^(engine|sensors|worker)$/;
const GROUPS = /^(config|bundle|ptx|policy|jobs|quarantine)$/;

interface Line {
  doc: string;
  text: string;
}

/** Of the shell blocks: whole lines, without their comments. */
async function lines(): Promise<Line[]> {
  const found: Line[] = [];
  for (const doc of DOCS) {
    const text = await Deno.readTextFile(`${ROOT}/${doc}`);
    for (const [, block = ""] of text.matchAll(/^```sh\n([\s\S]*?)^```/gm)) {
      for (const line of block.replaceAll(/\\\n\s*/g, "").split("\n")) {
        const bare = line.replace(/(^|\s)#.*$/, "").trim();
        if (bare !== "") found.push({ doc, text: bare });
      }
    }
  }
  return found;
}

/** One command of a line, `sudo` and variables ahead of it taken away; quotes hold together what they hold. */
function commandsOf(line: string): string[][] {
  const words = [...line.matchAll(/'[^']*'|"[^"]*"|\$\([^)]*\)|[^\s'"]+/g)].map(([word]) => word);
  const commands: string[][] = [[]];
  for (const word of words) {
    if (/^(&&|;|\||&|>)$/.test(word)) commands.push([]);
    else commands.at(-1)!.push(word);
  }
  return commands.map((command) => {
    while (command[0] === "sudo" || /^[A-Z_]+=/.test(command[0] ?? "")) command.shift();
    return command;
  }).filter((command) => command.length > 0);
}

async function helpOf(command: readonly string[]): Promise<string> {
  const said: string[] = [];
  const put = (text: string) => void said.push(text);
  const code = await main([...command, "--help"], { out: put, err: put });
  assertEquals(code, 0, `calypte ${command.join(" ")} --help: ${said.join("")}`);
  return said.join("");
}

async function checkCalypte(line: Line, args: readonly string[]): Promise<void> {
  const name = GROUPS.test(args[0] ?? "") && !args[1]?.startsWith("-") ? args.slice(0, 2) : args.slice(0, 1);
  const help = await helpOf(name);
  for (const option of args.filter((arg) => arg.startsWith("--"))) {
    assert(help.includes(option), `${line.doc}: ${line.text}: ${name.join(" ")} knows no ${option}`);
  }
}

Deno.test("every command of a board's manuals exists, with its options", async () => {
  const makefile = await Deno.readTextFile(`${ROOT}/Makefile`);
  const release = await Deno.readTextFile(`${ROOT}/jetson/deb/calypte-release`);
  let asked = 0;
  for (const line of await lines()) {
    // What follows `>` is a file.
    for (
      const [index, [program = "", ...args]] of commandsOf(line.text.replace(/\s>\s*\S+/g, "")).entries()
    ) {
      const where = `${line.doc}: ${line.text}`;
      if (program === "calypte" || program === "./calypte") {
        await checkCalypte(line, args);
        asked++;
      } else if (program === "systemd-run") {
        // As of systemd 249, of Ubuntu 22.04.
        const at = args.indexOf("calypte");
        assert(at > 0, where);
        const options = args.slice(0, at).filter((arg) => arg.startsWith("--")).map((arg) =>
          arg.split("=")[0]
        );
        assertEquals(options.filter((option) => !/^--(pty|wait|collect|uid)$/.test(option!)), [], where);
        await checkCalypte(line, args.slice(at + 1));
        asked++;
      } else if (program === "calypte-release") {
        assertMatch(args[0] ?? "", /^(install|rollback|list|remove|recover)$/, where);
        assertMatch(release, new RegExp(`^ {2}${args[0]}(\\)| \\|)`, "m"), where);
        for (const option of args.filter((arg) => arg.startsWith("--"))) {
          assert(release.includes(`${option})`), where);
        }
      } else if (program === "make") {
        for (
          const target of args.filter((arg) => !arg.includes("="))
        ) {
          assertMatch(makefile, new RegExp(`^${target}:`, "m"), where);
        }
      } else if (program === ".tools/deno") {
        assert((await Deno.stat(`${ROOT}/${args.find((arg) => arg.endsWith(".ts"))}`)).isFile, where);
      } else if (program !== "build/calypte-camera") {
        assert(SYSTEM.has(program), `${where}: nobody knows ${program} (command ${index + 1})`);
      }
    }
  }
  assert(asked >= 15, `${asked} commands were looked at`);
});

Deno.test("commands that a board's manuals name in passing exist, with their options", async () => {
  let asked = 0;
  for (const doc of DOCS) {
    const text = (await Deno.readTextFile(`${ROOT}/${doc}`)).replaceAll(/^```[\s\S]*?^```/gm, "");
    for (const [, span = ""] of text.matchAll(/`((?:sudo |[A-Z_]+=\S+ |\.\/)*calypte [^`]+)`/g)) {
      const [command = []] = commandsOf(span);
      if (INTERNAL.test(command[1] ?? "")) continue;
      await checkCalypte({ doc, text: span }, command.slice(1));
      asked++;
    }
  }
  assert(asked >= 8, `${asked} commands were looked at`);
});

Deno.test("variables and files that a board's manuals name are the program's", async () => {
  const sources: string[] = [];
  for (const folder of ["agent", "jetson", "ffi", "tools"]) {
    for await (const file of filesBelow(`${ROOT}/${folder}`)) {
      if (!file.endsWith(".md")) sources.push(await Deno.readTextFile(file));
    }
  }
  const code = sources.join("\n");
  const deb = await Deno.readTextFile(`${ROOT}/tools/deb.ts`);
  for (const doc of DOCS) {
    const text = await Deno.readTextFile(`${ROOT}/${doc}`);
    for (const [name] of text.matchAll(/\bCALYPTE_[A-Z_]+\b/g)) {
      assert(code.includes(name), `${doc}: nothing reads ${name}`);
    }
    for (const [, shared] of text.matchAll(/\/usr\/share\/doc\/calypte(\/[\w/.-]+)?/g)) {
      if (shared !== undefined) {
        assert(deb.includes(`usr/share/doc/calypte${shared}`), `${doc}: ${shared} is not in the package`);
      }
    }
  }
});

async function* filesBelow(folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory, isFile } of Deno.readDir(folder)) {
    if (isDirectory) yield* filesBelow(`${folder}/${name}`);
    else if (isFile) yield `${folder}/${name}`;
  }
}

Deno.test("the first mission of docs/JETSON.md is made by its own lines, and is good", async () => {
  const text = await Deno.readTextFile(`${ROOT}/docs/JETSON.md`);
  const block = [...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, lines = ""]) => lines)
    .find((lines) => lines.includes("calypte examples demo"));
  assert(block !== undefined, "there is such a block");
  const dir = await Deno.makeTempDir({ prefix: "calypte-first-" });
  try {
    await Deno.mkdir(`${dir}/bin`);
    await Deno.symlink(`${ROOT}/calypte`, `${dir}/bin/calypte`);
    const { code, stdout, stderr } = await new Deno.Command("sh", {
      args: ["-eu", "-c", block],
      cwd: dir,
      env: { PATH: `${dir}/bin:${Deno.env.get("PATH")}`, NO_COLOR: "1" },
    }).output();
    const said = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
    assertEquals(code, 0, said);
    assertMatch(said, /first\/mission\.yaml is good/);
    const mission = await Deno.readTextFile(`${dir}/first/mission.yaml`);
    assert(!mission.replaceAll(/#.*$/gm, "").includes("../"), "all that it names lies beside it");
    const outputs = [...mission.matchAll(/jsonl: ([^ ,}]+)/g)].map((match) => match[1]!);
    assertEquals(outputs.length, 3);
    assert(outputs.every((file) => file.startsWith("/var/lib/calypte/data/")), outputs.join(" "));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
