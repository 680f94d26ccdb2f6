/** Files of the program, and files that it makes for itself: are they where they should be, and nobody else's? */
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "../assert.ts";
import { unpack } from "../../agent/assets/library.ts";
import { PERMISSIONS } from "../../agent/assets/permissions.ts";
import {
  assetPath,
  isExecutable,
  ownCommand,
  ownEnvironment,
  RUNTIME_VARIABLE,
} from "../../agent/assets/place.ts";
import { privateFolder, scratchFolder } from "../../agent/assets/private_folder.ts";
import { copyModules, importedPaths, withoutTypes } from "../../agent/assets/typescript.ts";
import { examplesCommand } from "../../agent/commands/examples.ts";
import { InputError } from "../../agent/errors.ts";
import { PROFILE_NAMES } from "../../agent/profile.ts";
import { withoutArchive } from "../../tools/denort.ts";

async function inFolder(test: (dir: string) => Promise<void> | void): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await test(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("the program's own files are in the tree where this is one", () => {
  assertEquals(isExecutable(), false);
  for (
    const name of [
      "ffi/native/kernels/builtin.ptx",
      ...PROFILE_NAMES.map((name) => `agent/profiles/${name}.json`),
    ]
  ) {
    assert(Deno.statSync(assetPath(name)).isFile, name);
  }
});

Deno.test("a tree starts itself with Deno and the permissions that were asked for, and its whole environment", () => {
  const { program, args } = ownCommand(["--allow-ffi=x"]);
  assertEquals([program, args.at(-1), args.includes("--allow-ffi=x")], [
    Deno.execPath(),
    assetPath("agent/entry.ts"),
    true,
  ]);
  assertEquals(ownEnvironment(), undefined);
});

Deno.test("a tree starts itself with what it was told to, where Deno runs behind something else", () => {
  Deno.env.set(RUNTIME_VARIABLE, "/opt/emulated-deno");
  try {
    assertEquals(ownCommand([]).program, "/opt/emulated-deno");
  } finally {
    Deno.env.delete(RUNTIME_VARIABLE);
  }
});

Deno.test("no permission of the executable is one for everything", () => {
  for (const { flag, why } of PERMISSIONS) {
    assert(flag !== "--allow-all" && flag !== "-A" && why.length > 10, flag);
  }
  const run = PERMISSIONS.filter(({ flag }) => flag.startsWith("--allow-run")).map(({ flag }) => flag);
  assertEquals(run, ["--allow-run=/proc/self/exe"]);
});

Deno.test("the library is unpacked once, again if it was changed, and beside another version", () =>
  inFolder((dir) => {
    const folder = `${dir}/own`;
    const bytes = Uint8Array.from({ length: 1003 }, (_, i) => i);
    const file = unpack(bytes, folder);
    assertEquals(Deno.readFileSync(file), bytes);
    const { ino } = Deno.statSync(file);
    assertEquals([unpack(bytes, folder), Deno.statSync(file).ino], [file, ino]);
    for (const at of [0, 1002]) {
      const changed = bytes.slice();
      changed[at]! ^= 1;
      Deno.writeFileSync(file, changed);
      assertEquals([unpack(bytes, folder), Deno.readFileSync(file)], [file, bytes], `byte ${at}`);
      assert(unpack(changed, folder) !== file);
    }
    assertEquals(Deno.statSync(folder).mode! & 0o777, 0o700);
    assertEquals([...Deno.readDirSync(folder)].filter(({ name }) => !name.endsWith(".so")), []);
  }));

Deno.test("a folder that others may write to, a link and a file are nobody's own", () =>
  inFolder((dir) => {
    privateFolder(`${dir}/new/below`);
    Deno.mkdirSync(`${dir}/open`);
    Deno.chmodSync(`${dir}/open`, 0o777);
    Deno.symlinkSync(`${dir}/new`, `${dir}/link`);
    Deno.writeTextFileSync(`${dir}/file`, "");
    for (const name of ["open", "link", "file"]) {
      assertThrows(() => privateFolder(`${dir}/${name}`), InputError, name);
    }
  }));

Deno.test({
  name: "root takes no folder of another user's for its own, unless told that it may",
  ignore: Deno.uid() !== 0,
  fn: () =>
    inFolder((dir) => {
      Deno.mkdirSync(`${dir}/theirs`, { mode: 0o755 });
      Deno.chownSync(`${dir}/theirs`, 1234, 1234);
      assertThrows(() => privateFolder(`${dir}/theirs`), InputError, "must be a folder of this user's");
      privateFolder(`${dir}/theirs`, { anyOwnerForRoot: true });
    }),
});

Deno.test("what is made on the way lies below TMPDIR, if that is a path from the root", () => {
  const before = Deno.env.get("TMPDIR");
  try {
    Deno.env.set("TMPDIR", "/scratch/");
    assertEquals(scratchFolder(), `/scratch/calypte-${Deno.uid()}`);
    for (const other of ["", "here"]) {
      Deno.env.set("TMPDIR", other);
      assertEquals(scratchFolder(), `/tmp/calypte-${Deno.uid()}`);
    }
  } finally {
    if (before === undefined) Deno.env.delete("TMPDIR");
    else Deno.env.set("TMPDIR", before);
  }
});

Deno.test("types are taken out of TypeScript, and every line stays where it was", async () => {
  const text = "interface A { x: number }\nexport default (a: A): number =>\n  a.x as number;\n";
  const code = await withoutTypes(text, { file: "mine.ts", field: "" });
  assertEquals(code.split("\n").length, text.split("\n").length);
  const module = await import(`data:text/javascript,${encodeURIComponent(code)}`);
  assertEquals(module.default({ x: 3 }), 3);
});

Deno.test("TypeScript that is more than types is refused by its file, with what to do", async () => {
  for (const text of ["enum E { A }", "class A { constructor(private x: number) {} }", "const = ;"]) {
    const error = await assertRejects(() => withoutTypes(text, { file: "mine.ts", field: "" }), InputError);
    assertStringIncludes(error.message, "mine.ts");
    assertStringIncludes(error.message, "no enum, namespace or parameter property");
  }
});

Deno.test("a module is copied with what it imports by paths, without types", () =>
  inFolder(async (dir) => {
    await Deno.mkdir(`${dir}/a/b`, { recursive: true });
    await Deno.writeTextFile(
      `${dir}/a/main.ts`,
      'import { two } from "./b/two.ts";\nimport type { T } from "./types.ts";\nexport const n: T = two + 1;\n',
    );
    await Deno.writeTextFile(
      `${dir}/a/b/two.ts`,
      'export * from "../one.js";\nexport const two: number = 2;\n',
    );
    await Deno.writeTextFile(`${dir}/a/one.js`, "export const one = 1;\n");
    await copyModules(`${dir}/a/main.ts`, `${dir}/copy`);
    const copied = (name: string) => Deno.readTextFileSync(`${dir}/copy${dir}/a/${name}`);
    assert(!copied("main.ts").includes(": T"), copied("main.ts"));
    assert(!copied("b/two.ts").includes("number"));
    assertEquals(copied("one.js"), "export const one = 1;\n");
  }));

Deno.test("imports by paths are found in each of their forms", () => {
  const code =
    `import a from "./a.ts";import "../b.js";export { c } from './c/d.ts';const e = await import("./e.ts");import f from "npm:f";`;
  assertEquals(importedPaths(code), ["./a.ts", "../b.js", "./c/d.ts", "./e.ts"]);
});

Deno.test("examples are written into a new or an empty folder only, without what they were made from", () =>
  inFolder(async (dir) => {
    const said: string[] = [];
    const terminal = { out: (text: string) => said.push(text), err: () => {} };
    assertEquals(await examplesCommand.run([`${dir}/demo`], terminal), 0);
    for (const line of said) assert(Deno.statSync(line.trim()).isFile);
    assert(said.some((line) => line.endsWith("demo/missions/survey.yaml\n")), said.join(""));
    assertThrows(() => Deno.statSync(`${dir}/demo/bundles/vegetation-map/source.ts`), Deno.errors.NotFound);
    await assertRejects(
      async () => await examplesCommand.run([`${dir}/demo`], terminal),
      InputError,
      "is not empty",
    );
  }));

Deno.test("a denort is what lies in front of the archive of a compiled program", () => {
  const program = new Uint8Array(300);
  const view = new DataView(program.buffer);
  view.setUint32(0, 0x7f454c46);
  view.setBigUint64(0x28, 100n, true);
  view.setUint16(0x3a, 64, true);
  view.setUint16(0x3c, 2, true);
  assertEquals(withoutArchive(program).length, 228);
  assertThrows(() => withoutArchive(program.subarray(0, 200)), Error, "cut short");
  assertThrows(() => withoutArchive(new Uint8Array(300)), Error, "ELF");
});

Deno.test("the process that reads sensors may read files once its libraries are open, and nothing else", async () => {
  const code = `
    import { keepReading } from ${JSON.stringify(import.meta.resolve("../../agent/assets/permissions.ts"))};
    keepReading();
    const names = ["read", "write", "env", "net", "run", "sys", "ffi"];
    console.log(JSON.stringify(names.filter((name) => Deno.permissions.querySync({ name }).state === "granted")));`;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", "--config", config, "--ext=js", code],
  }).output();
  assertEquals(new TextDecoder().decode(stdout).trim(), '["read"]', new TextDecoder().decode(stderr));
});
