/** Does the parser read all of PTX that it meets, say where it cannot, and never do anything else? */

import fc from "fast-check";
import { assert, assertEquals, assertThrows } from "../assert.ts";
import { kernelParams, parseModule, printModule, PtxError, rewriteModule } from "../../ptx/mod.ts";
import { fixture, FIXTURES, kernelText, zoo } from "./fixtures.ts";

/** A module without its positions. */
function shape(text: string): string {
  return JSON.stringify(
    parseModule(text, "x"),
    (key, v) => key === "line" || key === "column" ? undefined : v,
  );
}

for (const name of FIXTURES) {
  Deno.test(`${name}: printing and parsing again gives the same module`, () => {
    const text = fixture(name);
    const printed = printModule(parseModule(text, name));
    assertEquals(shape(printed), shape(text));
    assertEquals(printModule(parseModule(printed, name)), printed);
  });
}

Deno.test({
  name: "every file of the zoo parses, prints back and is rewritten in under a second",
  ignore: zoo().length === 0, // set PTX_ZOO to a folder with PTX files
  fn: () => {
    for (const { name, text } of zoo()) {
      const start = performance.now();
      const printed = printModule(parseModule(text, name));
      rewriteModule(text, { file: name });
      assert(performance.now() - start < 1000, `${name} took ${performance.now() - start} ms`);
      assertEquals(shape(printed), shape(text), name);
    }
  },
});

Deno.test("an error names file, line, column, rule and remedy", () => {
  const error = assertThrows(
    () => parseModule(".version 8.0\n.target sm_80\n  .entri k()", "a.ptx"),
    PtxError,
  );
  assertEquals([error.file, error.position.line, error.position.column], ["a.ptx", 3, 3]);
  assertEquals(error.rule, 'Unknown directive ".entri"');
  assert(error.remedy !== "" && error.message.startsWith("a.ptx:3:3: Unknown directive"));
});

const BROKEN: readonly (readonly [string, string, string])[] = [
  ["no .version", ".target sm_80", "begins with .version"],
  ["an open comment", ".version 8.0 .target sm_80 /* ", "does not end"],
  ["an open string", '.version 8.0 .target sm_80 .file 1 "a', "does not end on its line"],
  ["a foreign sign", ".version 8.0 .target sm_80 `", "no sign"],
  ["an open body", ".version 8.0 .target sm_80 .entry k() { ret;", "ends inside a body"],
  [
    "a missing semicolon",
    ".version 8.0 .target sm_80 .entry k() { add.s32 a, b c; }",
    "behind an operand of add",
  ],
  ["deep nesting", `.version 8.0 .target sm_80 .entry k() ${"{".repeat(5000)}`, "Nested more than"],
  ["deep brackets", `.version 8.0 .target sm_80 .global .u32 a = ${"(".repeat(9000)}1;`, "Nested more than"],
  ["an open section", ".version 8.0 .target sm_80 .section .debug { .b8 1", "does not end"],
];
for (const [what, text, rule] of BROKEN) {
  Deno.test(`${what} is a PtxError`, () => {
    const error = assertThrows(() => parseModule(text, "x"), PtxError);
    assert(error.rule.includes(rule), error.message);
  });
}

Deno.test("parameters have natural alignment, and arrays their own", () => {
  const text = kernelText(
    "ret;",
    "",
    ".param .u8 a, .param .u64 b, .param .f32 c, .param .align 16 .b8 d[20], .param .u16 e",
  );
  assertEquals(kernelParams(text).get("k")?.map((p) => [p.name, p.type, p.sizeBytes, p.align, p.offset]), [
    ["a", "u8", 1, 1, 0],
    ["b", "u64", 8, 8, 8],
    ["c", "f32", 4, 4, 16],
    ["d", "b8", 20, 16, 32],
    ["e", "u16", 2, 2, 52],
  ]);
});

/** Anything but PtxError is a defect of the compiler. */
function survives(text: string): boolean {
  try {
    rewriteModule(text, { file: "fuzz" });
  } catch (error) {
    if (!(error instanceof PtxError)) throw error;
  }
  return true;
}

const seed = Number(Deno.env.get("CALYPTE_SEED") ?? crypto.getRandomValues(new Int32Array(1))[0]);
const options = { seed, numRuns: Number(Deno.env.get("CALYPTE_ROUNDS") ?? 1) * 150 };
const WORDS =
  (".version 8.0 .target sm_80 .address_size 64 .entry .func .visible k ( ) { } [ ] , ; : @ ! %p1 %r1 .reg .b32 .pred " +
    '< > 4 0x1F 0f3F800000 -1 + | bra ret exit call mov.u32 %ctaid.x bar.sync 0 .param .u64 .section .loc .file "a" .pragma ' +
    ".branchtargets brx.idx L1 L1: .shared .align = $L ? & . / // /* */ % 1.5 .5 _ ld.global.u32 .maxntid .extern \n")
    .split(" ");

Deno.test(`token soup gives a module or a PtxError (seed ${seed})`, () => {
  const soup = fc.array(fc.constantFrom(...WORDS), { maxLength: 60 }).map((words) => words.join(" "));
  fc.assert(fc.property(soup, survives), options);
  const inBody = soup.map((s) =>
    `.version 8.0 .target sm_80 .address_size 64 .visible .entry k() {\n${s}\n}`
  );
  fc.assert(fc.property(inBody, survives), options);
});

Deno.test(`fixtures cut off, with words lost, doubled or swapped, give a module or a PtxError (seed ${seed})`, () => {
  const damaged = fc.tuple(fc.constantFrom(...FIXTURES), fc.nat(), fc.nat(), fc.nat({ max: 4 })).map(
    ([name, a, b, how]) => {
      const text = fixture(name);
      if (how === 0) return text.slice(0, a % text.length);
      const parts = text.split(/(?<=\W)/);
      const [i, j] = [a % parts.length, b % parts.length];
      if (how === 1) parts.splice(i, 1 + j % 3);
      else if (how === 2) parts.splice(i, 0, parts[j] ?? "");
      else if (how === 3) [parts[i], parts[j]] = [parts[j] ?? "", parts[i] ?? ""];
      else parts[i] = String.fromCharCode(33 + b % 94);
      return parts.join("");
    },
  );
  fc.assert(fc.property(damaged, survives), options);
});
