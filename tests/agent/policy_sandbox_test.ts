/** A user's policy in its real Worker: what it may, what it may not, and how it ends. */
import { openSandbox, type PolicyFile, readPolicyFile, type Sandbox } from "../../agent/policy_sandbox.ts";
import { randomSnapshot } from "../../agent/policy_cases.ts";
import { InputError } from "../../agent/errors.ts";
import { path } from "../../agent/std/mod.ts";
import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "../assert.ts";

type Heard = ["loaded"] | ["answered", number, unknown] | ["failed", number, string];

interface Talk {
  sandbox: Sandbox;
  /** The next event. */
  next(): Promise<Heard>;
  [Symbol.dispose](): void;
}

function policyOf(text: string): PolicyFile {
  return { file: "mine.js", source: `data:text/javascript,${encodeURIComponent(text)}` };
}

function talk(policy: PolicyFile, limitMs = 1000): Talk {
  const heard: Heard[] = [];
  let wake = () => {};
  const hear = (event: Heard) => {
    heard.push(event);
    wake();
  };
  const sandbox = openSandbox(policy, limitMs, {
    loaded: () => hear(["loaded"]),
    answered: (id, plan) => hear(["answered", id, plan]),
    failed: (id, why) => hear(["failed", id, why]),
  });
  return {
    sandbox,
    async next() {
      while (heard.length === 0) await new Promise<void>((done) => wake = done);
      return heard.shift()!;
    },
    [Symbol.dispose]: () => sandbox.close(),
  };
}

/** What the policy answers to one snapshot. */
async function answerOf(text: string, limitMs?: number): Promise<Heard> {
  using with_ = talk(policyOf(text), limitMs);
  assertEquals(await with_.next(), ["loaded"]);
  with_.sandbox.ask(1, randomSnapshot(1, 2));
  return await with_.next();
}

Deno.test("a policy answers each snapshot with its plan, in JavaScript and in TypeScript", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const code = (typed: boolean) =>
      `export default (snapshot${typed ? ": { jobs: { id: number }[] }" : ""}) =>
         ({ entries: snapshot.jobs.map(({ id }) => ({ job: id, weight: 2, maxUnits: 0 })), duty: 0.5 });`;
    for (const name of ["mine.js", "mine.ts"]) {
      const file = path.join(dir, name);
      await Deno.writeTextFile(file, code(name.endsWith(".ts")));
      using with_ = talk(await readPolicyFile(file));
      assertEquals(await with_.next(), ["loaded"]);
      for (const id of [1, 2]) {
        const snapshot = randomSnapshot(id, id);
        with_.sandbox.ask(id, snapshot);
        const entries = snapshot.jobs.map((job) => ({ job: job.id, weight: 2, maxUnits: 0 }));
        assertEquals(await with_.next(), ["answered", id, { entries, duty: 0.5 }]);
      }
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

const SECRET = new URL("../../README.md", import.meta.url);

/** [what, expression that must not give anything]; all of them work outside. */
const ESCAPES: [string, string][] = [
  ["read a file", `Deno.readTextFileSync(${JSON.stringify(SECRET.pathname)})`],
  ["read a file by node", `(await import("node:fs")).readFileSync(${JSON.stringify(SECRET.pathname)})`],
  ["import a file", `import(${JSON.stringify(new URL("../../agent/version.ts", import.meta.url).href)})`],
  [
    "import a file, made up on the way",
    `new Function("at", "return import(at)")(${
      JSON.stringify(new URL("../../deno.json", import.meta.url).href)
    })`,
  ],
  [
    "import a file as data",
    `import(${JSON.stringify(new URL("../../deno.json", import.meta.url).href)}, { with: { type: "json" } })`,
  ],
  ["fetch a file", `fetch(${JSON.stringify(SECRET.href)})`],
  ["import from the network", `import("http://127.0.0.1:1/x.js")`],
  ["write a file", `Deno.writeTextFileSync("/tmp/calypte-escaped", "")`],
  ["reach the network", `Deno.connect({ hostname: "127.0.0.1", port: 1 })`],
  ["listen on the network", `Deno.listen({ hostname: "127.0.0.1", port: 0 })`],
  ["read the environment", `Deno.env.get("HOME")`],
  [
    "read the environment by node",
    `Object.keys((await import("node:process")).env).length || Promise.reject(new Error("NotCapable"))`,
  ],
  ["open a library", `Deno.dlopen("libc.so.6", {})`],
  ["start a program", `new Deno.Command("true").outputSync()`],
  ["ask about the machine", `Deno.hostname()`],
  [
    "give itself permissions",
    `Deno.permissions.request({ name: "read" }).then(({ state }) => state === "granted" || Promise.reject(new Error("NotCapable")))`,
  ],
  [
    "start a Worker that may more",
    `new Worker("data:text/javascript,", { type: "module", deno: { permissions: { read: true } } })`,
  ],
];

Deno.test("a policy may not touch anything outside, by whatever door", async () => {
  const doors = ESCAPES.map(([what, expression]) =>
    `try { const got = await (async () => ${expression})(); found.push([${
      JSON.stringify(what)
    }, String(got)]); }
     catch (error) { refused.push(error.name + " " + error.message); }`
  );
  const text = `const found = [], refused = [];\n${doors.join("\n")}\n
    export default () => ({ found, refused });`;
  const [kind, , plan] = await answerOf(text);
  assertEquals(kind, "answered");
  const { found, refused } = plan as { found: unknown[]; refused: string[] };
  assertEquals(found, []);
  assertEquals(refused.length, ESCAPES.length);
  for (const why of refused) assertMatch(why, /NotCapable|Requires \w+ access|Can't escalate/);
});

for (
  const [what, module] of [
    [
      "statically",
      `import text from ${
        JSON.stringify(new URL("../../deno.json", import.meta.url).href)
      } with { type: "json" };
      export default () => ({ entries: [] });`,
    ],
    [
      "through another module",
      `import "data:text/javascript,import ${
        encodeURIComponent(JSON.stringify(new URL("../../agent/version.ts", import.meta.url).href))
      }"; export default () => ({ entries: [] });`,
    ],
  ] as const
) {
  Deno.test(`a policy that imports a file ${what} does not load`, async () => {
    using with_ = talk(policyOf(module));
    const [kind, id, why] = await with_.next();
    assertEquals([kind, id], ["failed", 0]);
    assertStringIncludes(String(why), "it does not load: Requires read access");
  });
}

/** [what it does, module, what is said] */
const FAILURES: [string, string, RegExp][] = [
  ["throws", `export default () => { throw new TypeError("no such job"); }`, /^it threw: no such job$/],
  [
    "throws something odd",
    `export default () => { throw Object.create(null); }`,
    /^it threw: something without a text$/,
  ],
  ["computes for ever", `export default () => { for (;;); }`, /^it took longer than 50 ms$/],
  [
    "computes for ever while its plan is read",
    `export default () => ({ get entries() { for (;;); } })`,
    /^it took longer than 50 ms$/,
  ],
  [
    "answers what no text can show",
    `export default () => { const a = {}; a.a = a; return a; }`,
    /^it threw: /,
  ],
  [
    "speaks without being asked",
    `setTimeout(() => postMessage({ kind: "answer", id: 7 }), 0); export default () => { postMessage(1); }`,
    /^it sent a message of its own$/,
  ],
  [
    "holds too much",
    `const kept = []; export default () => { for (let i = 0; i < 4e6; i++) kept.push([i, i, i, i]); }`,
    /^it holds \d+ MiB$/,
  ],
];
for (const [what, module, said] of FAILURES) {
  Deno.test(`a policy that ${what} fails, and says why`, async () => {
    const [kind, , why] = await answerOf(module, what === "holds too much" ? 20_000 : 50);
    assertEquals(kind, "failed");
    assertMatch(String(why), said);
  });
}

for (
  const [what, module, said] of [
    ["is no JavaScript", "export default {", /^it does not load: /],
    [
      "exports nothing",
      "export const x = 1;",
      /^it does not load: it has no function as its default export$/,
    ],
    ["throws while loading", `throw new Error("not today")`, /^it does not load: not today$/],
  ] as const
) {
  Deno.test(`a policy that ${what} does not load`, async () => {
    using with_ = talk(policyOf(module));
    const [kind, , why] = await with_.next();
    assertEquals(kind, "failed");
    assertMatch(String(why), said);
  });
}

Deno.test("a policy that was stopped in the middle can be asked again", async () => {
  using with_ = talk(
    policyOf(`let calls = 0; export default () => { if (calls++ === 0) for (;;); return calls; }`),
    50,
  );
  await with_.next();
  with_.sandbox.ask(1, {});
  assertEquals((await with_.next())[0], "failed");
  with_.sandbox.ask(2, {});
  assertEquals(await with_.next(), ["answered", 2, 2]);
});

Deno.test("a policy file that cannot be one is refused before anything runs", async () => {
  const dir = await Deno.makeTempDir();
  const file = path.join(dir, "mine.js");
  await assertRejects(
    () => readPolicyFile(path.join(dir, "mine.py")),
    InputError,
    "ends in .js, .mjs or .ts",
  );
  await assertRejects(() => readPolicyFile(file), InputError, "does not exist");
  await Deno.writeFile(file, new Uint8Array(2 ** 20 + 1));
  await assertRejects(() => readPolicyFile(file), InputError, "at most 1 MiB");
  await Deno.writeFile(file, Uint8Array.of(0xff));
  const where = { file: "m.yaml", field: "policy" };
  await assertRejects(() => readPolicyFile(file, where), InputError, "m.yaml: policy: must be UTF-8");
  await Deno.remove(dir, { recursive: true });
});
