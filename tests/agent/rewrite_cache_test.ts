/** Are rewritten kernels kept and found again, and is nothing else ever taken for one? */
import { assert, assertEquals, assertNotEquals } from "../assert.ts";
import { type CheckpointCompiler, checkpointCompiler, type RewriteRequest } from "../../agent/checkpoint.ts";
import { cachedCompiler, cacheFolder } from "../../agent/rewrite_cache.ts";
import { path } from "../../agent/std/mod.ts";

const REQUEST: RewriteRequest = {
  ptx: ".version 7.0\n",
  file: "a.ptx",
  kernels: ["one", "two"],
  pins: new Map([["one", { minBlocksPerSm: 4, maxThreads: 128 }]]),
  level: "loop",
  overlaps: new Map([["one", [[0, 1], [1, 0]]]]),
};

/** Counts what it is asked, and answers so that each time can be told. */
function compiler(text = "text"): { inner: CheckpointCompiler; calls: () => number } {
  let calls = 0;
  const inner: CheckpointCompiler = {
    params: () => new Map([["one", []]]),
    forDriver: (ptx) => ptx,
    rewrite: () => ({
      text: `${text} ${calls++}`,
      kernels: new Map([
        ["one", { level: "loop", reasons: [] }],
        ["two", { level: "whole", reasons: ["it waits (line 3)", "\u2028é\0"] }],
      ]),
    }),
  };
  return { inner, calls: () => calls };
}

async function inFolder(test: (folder: string) => void | Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "calypte-cache-" });
  try {
    await test(path.join(dir, "a", "cache"));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function fail(text: string): never {
  throw new Error(text);
}

const names = (folder: string) => [...Deno.readDirSync(folder)].map(({ name }) => name).sort();

Deno.test("a second process finds what the first one made, reasons and all", () =>
  inFolder((folder) => {
    const { inner, calls } = compiler();
    const first = cachedCompiler(inner, { folder, note: fail }).rewrite(REQUEST);
    const second = cachedCompiler(inner, { folder, note: fail }).rewrite({ ...REQUEST, file: "b.ptx" });
    assertEquals(second, first);
    assertEquals(calls(), 1);
    const [name, ...others] = names(folder);
    assert(/^[0-9a-f]{64}\.json$/.test(name ?? ""), name);
    assertEquals(others, []);
  }));

Deno.test("parameters are asked for each time", () =>
  inFolder((folder) => {
    const { inner } = compiler();
    assertEquals(
      cachedCompiler(inner, { folder, note: fail }).params("", "x"),
      inner.params("", "x"),
    );
  }));

Deno.test("whatever goes in counts, but not the order in which it is given", () =>
  inFolder((folder) => {
    const { inner, calls } = compiler();
    const cached = cachedCompiler(inner, { folder, note: fail });
    const pin = { minBlocksPerSm: 4, maxThreads: 128 };
    const others: Partial<RewriteRequest>[] = [
      {},
      { ptx: ".version 7.1\n" },
      { level: "block" },
      { kernels: ["one"] },
      { pins: new Map() },
      { pins: new Map([["one", { ...pin, minBlocksPerSm: 5 }]]) },
      { pins: new Map([["one", { ...pin, maxThreads: 256 }]]) },
      { pins: new Map([["two", pin]]) },
      { overlaps: new Map() },
      { overlaps: new Map([["one", []]]) },
      { overlaps: new Map([["two", [[0, 1], [1, 0]]]]) },
    ];
    const texts = others.map((change) => cached.rewrite({ ...REQUEST, ...change }).text);
    assertEquals(new Set(texts).size, others.length);
    const again = others.map((change) => cached.rewrite({ ...REQUEST, ...change }).text);
    assertEquals(again, texts);
    assertEquals(
      cached.rewrite({
        ...REQUEST,
        kernels: ["two", "one"],
        overlaps: new Map([["one", [[1, 0], [0, 1]]]]),
      }).text,
      texts[0],
    );
    assertEquals(calls(), others.length);
  }));

Deno.test("an entry that is not what was written is made anew, and is good again behind that", () =>
  inFolder((folder) => {
    const { inner, calls } = compiler();
    const rewrite = () => cachedCompiler(inner, { folder, note: fail }).rewrite(REQUEST).text;
    rewrite();
    const file = path.join(folder, names(folder)[0] ?? "");
    const good = Deno.readTextFileSync(file);
    const bad = [
      "",
      good.slice(0, -20),
      "null",
      "[]",
      "{}",
      good.replace("text 0", "text 9"),
      good.replace('"loop"', '"whole"'),
      good.replace(/"key":"./, '"key":"x'),
      JSON.stringify({ ...JSON.parse(good), value: 3 }),
      "\0\0\0\0",
    ];
    for (const [i, text] of bad.entries()) {
      assertNotEquals(text, good);
      Deno.writeTextFileSync(file, text);
      assertEquals(rewrite(), `text ${i + 1}`, text);
      assertEquals(rewrite(), `text ${i + 1}`, text);
      assertEquals(calls(), i + 2);
      Deno.writeTextFileSync(file, good);
    }
  }));

Deno.test("an entry of another request under this one's name is not taken", () =>
  inFolder((folder) => {
    const { inner } = compiler();
    const cached = cachedCompiler(inner, { folder, note: fail });
    cached.rewrite(REQUEST);
    const [first = ""] = names(folder);
    cached.rewrite({ ...REQUEST, level: "block" });
    const second = names(folder).find((name) => name !== first) ?? "";
    Deno.copyFileSync(path.join(folder, first), path.join(folder, second));
    assertEquals(cached.rewrite({ ...REQUEST, level: "block" }).text, "text 2");
  }));

Deno.test("a folder that cannot be written costs a note, once, and no run", () =>
  inFolder((folder) => {
    Deno.mkdirSync(path.dirname(folder), { recursive: true });
    Deno.writeTextFileSync(folder, "a file");
    const notes: string[] = [];
    const { inner, calls } = compiler();
    const cached = cachedCompiler(inner, { folder, note: (text) => notes.push(text) });
    assertEquals([cached.rewrite(REQUEST).text, cached.rewrite(REQUEST).text], ["text 0", "text 1"]);
    assertEquals(calls(), 2);
    assertEquals(notes.length, 1);
    assert(notes[0]?.startsWith(`rewritten kernels are not kept for the next run: ${folder} `), notes[0]);
  }));

Deno.test("an entry that is a folder costs a note, and the others are kept", () =>
  inFolder((folder) => {
    const notes: string[] = [];
    const { inner } = compiler();
    const cached = cachedCompiler(inner, { folder, note: (text) => notes.push(text) });
    cached.rewrite(REQUEST);
    const file = path.join(folder, names(folder)[0] ?? "");
    Deno.removeSync(file);
    Deno.mkdirSync(path.join(file, "in the way"), { recursive: true });
    assertEquals(cached.rewrite(REQUEST).text, "text 1");
    assertEquals(notes.length, 1);
    assertEquals(names(folder).length, 1, "what was to become the entry is gone");
    assertEquals(cached.rewrite({ ...REQUEST, level: "block" }).text, "text 2");
    assertEquals(cached.rewrite({ ...REQUEST, level: "block" }).text, "text 2");
  }));

Deno.test("the oldest entries go first, what another process left too, and nothing that is not ours", () =>
  inFolder((folder) => {
    const { inner } = compiler("x".repeat(1000));
    Deno.mkdirSync(folder, { recursive: true });
    const strange = ["notes.txt", `${"0".repeat(63)}.json`, `${"g".repeat(64)}.json`];
    for (const name of strange) Deno.writeTextFileSync(path.join(folder, name), "y".repeat(5000));
    const left = `${"0".repeat(64)}.json.17.new`;
    Deno.writeTextFileSync(path.join(folder, left), "z");
    const cached = cachedCompiler(inner, { folder, note: fail, maxBytes: 3500 });
    const ptx = (i: number) => ({ ...REQUEST, ptx: `// ${i}` });
    const made: string[] = [];
    for (let i = 0; i < 4; i++) {
      // In the order in which they are made, however coarse the clock of the file system is.
      for (const [age, name] of [left, ...made].entries()) {
        const file = path.join(folder, name);
        if (names(folder).includes(name)) Deno.utimeSync(file, 1000 + age, 1000 + age);
      }
      cached.rewrite(ptx(i));
      made.push(names(folder).find((name) => ![left, ...made, ...strange].includes(name)) ?? "");
    }
    assertEquals(names(folder), [...made.slice(-2), ...strange].sort());
    assertEquals(cached.rewrite(ptx(3)).text.at(-1), "3");
    assertEquals(cached.rewrite(ptx(0)).text.at(-1), "4");
  }));

Deno.test("without a folder nothing is kept", () => {
  const { inner } = compiler();
  assertEquals(cachedCompiler(inner, { folder: undefined, note: fail }), inner);
});

for (
  const [env, folder] of [
    [{ CALYPTE_CACHE: "here", XDG_CACHE_HOME: "/x", HOME: "/h" }, "here"],
    [{ CALYPTE_CACHE: "off", XDG_CACHE_HOME: "/x", HOME: "/h" }, undefined],
    [{ CALYPTE_CACHE: "", XDG_CACHE_HOME: "/x", HOME: "/h" }, undefined],
    [{ XDG_CACHE_HOME: "/x", HOME: "/h" }, "/x/calypte"],
    [{ XDG_CACHE_HOME: "relative", HOME: "/h" }, "/h/.cache/calypte"],
    [{ XDG_CACHE_HOME: "", HOME: "/h" }, "/h/.cache/calypte"],
    [{}, undefined],
  ] as [Record<string, string>, string | undefined][]
) {
  Deno.test(`the folder with ${JSON.stringify(env)}: ${folder ?? "none"}`, () => {
    assertEquals(cacheFolder((name) => env[name]), folder);
  });
}

Deno.test("the compiler's own results come back as they were", () =>
  inFolder((folder) => {
    const ptx = Deno.readTextFileSync(new URL("../fixtures/ptx/reduction.ptx", import.meta.url));
    const request: RewriteRequest = {
      ...REQUEST,
      ptx,
      kernels: ["block_sum", "early_return"],
      pins: new Map(),
    };
    const cached = cachedCompiler(checkpointCompiler, { folder, note: fail });
    const direct = checkpointCompiler.rewrite(request);
    assertEquals(cached.rewrite(request), direct);
    assertEquals(cached.rewrite(request), direct);
    assertEquals([...direct.kernels.keys()], ["block_sum", "early_return"]);
  }));
