/** `calypte policy`, in this process, with real sandboxes. */
import { main } from "../../agent/main.ts";
import { path } from "../../agent/std/mod.ts";
import { POLICY_NAMES } from "../../policies/registry.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../assert.ts";

async function calypte(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const code = await main(args, { out: (text) => void (out += text), err: (text) => void (err += text) });
  return { code, out, err };
}

async function withPolicy(text: string, test: (file: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    const file = path.join(dir, "mine.js");
    await Deno.writeTextFile(file, text);
    await test(file);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const EXAMPLE = new URL("../../examples/policies/longest_wait.js", import.meta.url).pathname;

Deno.test("policy list names every built-in policy", async () => {
  const { code, out } = await calypte("policy", "list");
  assertEquals(code, 0);
  for (const name of POLICY_NAMES) assertMatch(out, new RegExp(`^${name} `, "m"));
});

Deno.test("the example of the manual passes the check, and is printed there as it stands", async () => {
  const { code, out } = await calypte("policy", "check", EXAMPLE);
  assertEquals([code, out.includes("FAILED")], [0, false], out);
  const manual = await Deno.readTextFile(new URL("../../docs/POLICIES.md", import.meta.url));
  assertStringIncludes(manual, "```js\n" + await Deno.readTextFile(EXAMPLE) + "```\n");
  for (const name of POLICY_NAMES) assertStringIncludes(manual, `### ${name}\n`);
});

Deno.test("every field of a snapshot is in the manual", async () => {
  const manual = await Deno.readTextFile(new URL("../../docs/POLICIES.md", import.meta.url));
  const interfaces = await Deno.readTextFile(new URL("../../policies/policy.ts", import.meta.url));
  const fields = [...interfaces.matchAll(/^ {2,4}readonly (\w+)\??:/gm)].map((match) => match[1]!);
  assert(fields.length > 40, `${fields.length}`);
  for (const field of fields) assertMatch(manual, new RegExp(`(\`|\\[\\]\\.)${field}\``));
});

/** [what, module, what is said] */
const BAD: [string, string, RegExp][] = [
  ["does not load", "export default", /^FAILED {2}it does not load: /],
  [
    "throws",
    "export default () => { throw new Error('oops') }",
    /\nFAILED {2}it threw: oops\nthe snapshot:\n\{\n {2}"nowNs"/,
  ],
  [
    "answers nonsense",
    "export default () => ({})",
    /\nFAILED {2}a plan is an object with an array 'entries'\nthe snapshot:/,
  ],
  ["takes too long", "export default () => { for (;;); }", /\nFAILED {2}it took longer than 100 ms\n/],
  [
    "keeps a state",
    "let n = 0; export default () => ({ entries: [], duty: n++ % 7 / 7 })",
    /\nok .*\nFAILED {2}equal snapshots give other plans: /,
  ],
];
for (const [what, module, said] of BAD) {
  Deno.test(`policy check: a policy that ${what} fails, with its snapshot`, () =>
    withPolicy(module, async (file) => {
      const { code, out, err } = await calypte("policy", "check", file);
      assertEquals([code, err], [1, ""]);
      assertMatch(out, said);
    }));
}

Deno.test("policy check says where a policy pauses jobs, which it may", () =>
  withPolicy("export default () => ({ entries: [] })", async (file) => {
    const { code, out } = await calypte("policy", "check", file);
    assertEquals(code, 0);
    assertMatch(out, /note {2}it pauses jobs that may run in 1\d\d of 200 snapshots\n$/);
  }));

Deno.test("policy bench measures each number of jobs, and fails with the policy", async () => {
  const { code, out } = await calypte("policy", "bench", EXAMPLE);
  assertEquals(code, 0);
  assertMatch(out, /\njobs +p50 +p99 +max\n(\d+( +\d+\.\d us){3}\n){6}$/);
  await withPolicy("export default () => { throw 1 }", async (file) => {
    assertEquals((await calypte("policy", "bench", file)).code, 1);
  });
});

Deno.test("a policy file that is not there is bad usage", async () => {
  for (const command of ["check", "bench"]) {
    const { code, err } = await calypte("policy", command, "none.js");
    assertEquals([code, err], [2, "calypte: none.js: does not exist\n"]);
    assertEquals((await calypte("policy", command, "none.yaml")).code, 2);
  }
});
