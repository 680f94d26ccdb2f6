import { assertEquals, assertRejects } from "../assert.ts";
import { loadBundle } from "../../agent/bundle.ts";
import { InputError } from "../../agent/errors.ts";
import {
  isStateful,
  loadReference,
  OutputComputer,
  type OutputComputerOptions,
  Turns,
} from "../../agent/reference.ts";
import { path } from "../../agent/std/mod.ts";
import { resultOf } from "./fake_engine.ts";
import { FRAME_BYTES, writeBundle } from "./mission_fixture.ts";

function setUp(change: Partial<OutputComputerOptions> = {}) {
  const emitted: [number, number | undefined][] = [];
  const skipped: string[] = [];
  const runs: number[] = [];
  const computer = new OutputComputer({
    reference: {
      run(input) {
        runs.push(input[0] ?? -1);
        return Uint8Array.of((input[0] ?? 0) * 2);
      },
    },
    stateful: false,
    outputBytes: 1,
    frame: (index) => Uint8Array.of(index),
    emit: (result, payload) => emitted.push([result.number, payload?.[0]]),
    onSkip: (reason) => skipped.push(reason),
    turns: new Turns(() => Promise.resolve()),
    ...change,
  });
  const push = (number: number, frameIndex = number, more: Parameters<typeof resultOf>[0] = {}) =>
    computer.push(resultOf({ number, frameIndex, simulated: true, ...more }));
  return { computer, emitted, skipped, runs, push };
}

Deno.test("outputs are computed from the frame that the result names, in order", async () => {
  const { computer, emitted, push } = setUp();
  push(0, 5);
  push(1, 6);
  await computer.finish();
  assertEquals(emitted, [[0, 10], [1, 12]]);
});

Deno.test("a stateless bundle computes each frame once", async () => {
  const { computer, emitted, runs, push } = setUp();
  for (let number = 0; number < 6; number++) push(number, number % 2);
  await computer.finish();
  assertEquals(runs, [0, 1]);
  assertEquals(emitted.map(([, value]) => value), [0, 2, 0, 2, 0, 2]);
});

Deno.test("outputs beyond the memory limit are computed again, not kept", async () => {
  const { computer, runs, push } = setUp({ maxMemoBytes: 1 });
  for (let number = 0; number < 6; number++) push(number, number % 2);
  await computer.finish();
  assertEquals(runs, [0, 1, 1, 1]);
});

Deno.test("a stateful bundle runs once for every unit", async () => {
  let units = 0;
  const { computer, emitted, push } = setUp({
    stateful: true,
    reference: { run: () => Uint8Array.of(++units) },
  });
  for (let number = 0; number < 3; number++) push(number, 0);
  await computer.finish();
  assertEquals(emitted, [[0, 1], [1, 2], [2, 3]]);
});

Deno.test("requests that never ran do not touch the reference and are not counted as skipped", async () => {
  const { computer, emitted, runs, skipped, push } = setUp({ stateful: true });
  push(0, 0, { dropped: true, complete: false });
  push(1, 1, { failed: true, complete: false });
  push(2, 2);
  await computer.finish();
  assertEquals(runs, [2]);
  assertEquals(emitted, [[0, undefined], [1, undefined], [2, 4]]);
  assertEquals(skipped, []);
});

Deno.test("without a reference every output is skipped, and nothing is invented", async () => {
  const { computer, emitted, skipped, push } = setUp({ reference: undefined });
  push(0);
  push(1);
  await computer.finish();
  assertEquals(emitted, [[0, undefined], [1, undefined]]);
  assertEquals(skipped, ["the bundle has no reference", "the bundle has no reference"]);
});

Deno.test("a stateless reference that cannot keep up skips what does not fit and goes on", async () => {
  const { computer, emitted, skipped, push } = setUp({ maxWaiting: 2 });
  for (let number = 0; number < 4; number++) push(number);
  await computer.finish();
  push(4);
  await computer.finish();
  assertEquals(emitted.toSorted(([a], [b]) => a - b), [[0, 0], [1, 2], [2, undefined], [3, undefined], [
    4,
    8,
  ]]);
  assertEquals(skipped.length, 2);
});

Deno.test("a state that missed a unit is never used again", async () => {
  const { computer, emitted, skipped, push } = setUp({ stateful: true, maxWaiting: 1 });
  push(0);
  push(1);
  await computer.finish();
  push(2);
  await computer.finish();
  assertEquals(emitted.filter(([, value]) => value !== undefined), []);
  assertEquals(skipped.length, 3);
});

Deno.test("a reference that throws or gives the wrong size skips its output and says why", async () => {
  const { computer, emitted, skipped, push } = setUp({
    reference: {
      run(input) {
        if (input[0] === 0) throw new Error("no luck");
        return new Uint8Array(input[0] ?? 0);
      },
    },
  });
  for (let number = 0; number < 3; number++) push(number);
  await computer.finish();
  assertEquals(emitted, [[0, undefined], [1, 0], [2, undefined]]);
  assertEquals(skipped, [
    "the reference failed: no luck",
    "the reference failed: it gave 2 bytes where the output has 1",
  ]);
});

Deno.test("an input that is not known any more is skipped, not guessed", async () => {
  const { computer, emitted, runs, skipped, push } = setUp({ frame: () => undefined });
  push(0);
  await computer.finish();
  assertEquals([emitted, runs], [[[0, undefined]], []]);
  assertEquals(skipped, ["the reference failed: the input is not kept"]);
});

Deno.test("when time is up, what is left is skipped and still handed on", async () => {
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const { computer, emitted, skipped, push } = setUp({ turns: new Turns(() => gate) });
  push(0);
  push(1);
  const finished = computer.finish(Promise.resolve());
  await Promise.resolve();
  open();
  await finished;
  assertEquals(emitted, [[0, undefined], [1, undefined]]);
  assertEquals(skipped.length, 2);
});

Deno.test("works take turns: one computation at a time, and a pause before each", async () => {
  const order: string[] = [];
  const turns = new Turns(() => Promise.resolve(void order.push("pause")));
  const work = (name: string) =>
    setUp({
      turns,
      stateful: true,
      reference: {
        async run(input) {
          order.push(`${name} begins`);
          await Promise.resolve();
          order.push(`${name} ends`);
          return input;
        },
      },
    });
  const [a, b] = [work("a"), work("b")];
  for (const { push } of [a, b]) for (let number = 0; number < 2; number++) push(number);
  await Promise.all([a.computer.finish(), b.computer.finish()]);
  const turn = (name: string) => ["pause", `${name} begins`, `${name} ends`];
  assertEquals(order, [...turn("a"), ...turn("b"), ...turn("a"), ...turn("b")]);
});

Deno.test("a computation that fails does not keep the next one from its turn", async () => {
  const turns = new Turns(() => Promise.resolve());
  const failed = assertRejects(
    () => turns.take(() => Promise.reject(new Error("no luck"))),
    Error,
    "no luck",
  );
  assertEquals(await turns.take(() => Promise.resolve(7)), 7);
  await failed;
});

Deno.test("a bundle's reference is loaded from its folder", async () => {
  const dir = await Deno.makeTempDir({ prefix: "calypte-reference-" });
  try {
    const plain = path.join(dir, "plain");
    const stateful = path.join(dir, "stateful");
    await writeBundle(plain, "plain");
    await writeBundle(stateful, "stateful", { stateful: true });
    const bundle = await loadBundle(plain);
    const reference = await loadReference(bundle);
    assertEquals(
      await reference?.run(new Uint8Array(FRAME_BYTES).fill(4)),
      new Uint8Array(FRAME_BYTES).fill(5),
    );
    assertEquals(isStateful(bundle), false);
    assertEquals(isStateful(await loadBundle(stateful)), true);
    const bare = path.join(dir, "bare");
    await writeBundle(bare, "bare", { reference: false });
    assertEquals(await loadReference(await loadBundle(bare)), undefined);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a module that is no reference is an InputError that names the rule", async () => {
  const dir = await Deno.makeTempDir({ prefix: "calypte-reference-" });
  try {
    const cases: [string, string][] = [
      ["export const x = 1;", "must export a function createReference(dir)"],
      ["export const createReference = () => 1;", "must return an object with a method run(input)"],
      ["throw new Error('broken');", "must be a TypeScript module that loads: broken"],
      ["export function createReference() { throw new Error('no weights'); }", "no weights"],
    ];
    for (const [index, [text, rule]] of cases.entries()) {
      const bundleDir = path.join(dir, `${index}`);
      await writeBundle(bundleDir, "bundle");
      await Deno.writeTextFile(path.join(bundleDir, "reference.ts"), text);
      const bundle = await loadBundle(bundleDir);
      await assertRejects(() => loadReference(bundle), InputError, rule);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
