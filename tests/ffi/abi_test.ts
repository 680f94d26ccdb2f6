/** Does ffi/abi.ts say what calypte.h says? The C compiler is the judge. */
import { type StructLayout, STRUCTS, SYMBOLS } from "../../ffi/abi.ts";
import { emitAbi, HeaderError, parseHeader, tokenize } from "../../tools/gen_abi.ts";
import { assertEquals, assertStringIncludes, assertThrows } from "../assert.ts";
import { buildFolder, compile, double } from "./double.ts";

const GENERATOR = new URL("../../tools/gen_abi.ts", import.meta.url).pathname;

function run(command: string, ...args: string[]): { code: number; text: string; errors: string } {
  const { code, stdout, stderr } = new Deno.Command(command, { args }).outputSync();
  const decoder = new TextDecoder();
  return { code, text: decoder.decode(stdout), errors: decoder.decode(stderr) };
}

Deno.test("ffi/abi.ts is up to date with calypte.h", () => {
  const { code, errors } = run(Deno.execPath(), "run", "--no-prompt", "--allow-read", GENERATOR, "--check");
  assertEquals(code, 0, errors);
});

Deno.test("every field lies where the C compiler puts it", () => {
  const structs = Object.entries<StructLayout>(STRUCTS);
  const lines = structs.flatMap(([name, { fields }]) => [
    `  printf("${name} %zu\\n", sizeof(calypte_${name}));`,
    ...Object.values(fields).map(({ c }) =>
      `  printf("${name}.${c} %zu %zu\\n", offsetof(calypte_${name}, ${c}), sizeof(((calypte_${name} *)0)->${c}));`
    ),
  ]);
  const expected = structs.flatMap(([name, { size, fields }]) => [
    `${name} ${size}`,
    ...Object.values(fields).map(({ c, type, offset, count }) =>
      `${name}.${c} ${offset} ${count * elementBytes(type)}`
    ),
  ]);
  const source = `${buildFolder()}/offsets.c`;
  const program = `${buildFolder()}/offsets`;
  Deno.writeTextFileSync(
    source,
    `#include <stddef.h>\n#include <stdio.h>\n#include "calypte.h"\nint main(void) {\n${
      lines.join("\n")
    }\n}\n`,
  );
  compile(source, "-o", program);
  assertEquals(run(program).text.trim().split("\n"), expected);
});

function elementBytes(type: string): number {
  const sizes: Record<string, number> = { char: 1, u8: 1, u32: 4, i32: 4, u64: 8, i64: 8 };
  return sizes[type] ?? (STRUCTS as Record<string, StructLayout>)[type]?.size ?? 0;
}

Deno.test("every symbol of the header can be bound", () => {
  const library = Deno.dlopen(double(), SYMBOLS);
  assertEquals(Object.keys(library.symbols).length, Object.keys(SYMBOLS).length);
  library.close();
});

Deno.test("pointers are buffers, 64-bit parameters are u64, and each names its C parameter", () => {
  const abi = emitAbi(parseHeader(
    "typedef struct calypte_a {\n  uint32_t x;\n  char name_text[4]; /* c */\n} calypte_a;\n" +
      "int32_t calypte_f(int32_t e, const calypte_a *a, const char *s, uint64_t n, uint64_t *out);\n" +
      "uint64_t calypte_g(void);",
  ));
  assertStringIncludes(abi, 'nameText: { c: "name_text", type: "char", offset: 4, count: 4 },');
  const lines = ['"i32", // int32_t e', '"buffer", // const calypte_a *a', '"buffer", // const char *s'];
  for (const line of [...lines, '"u64", // uint64_t n', '"buffer", // uint64_t *out', "parameters: [],"]) {
    assertStringIncludes(abi, line);
  }
  assertStringIncludes(abi, 'result: "u64"');
});

Deno.test("constants may be negative, hexadecimal, and the size of an array", () => {
  const { constants, structs } = parseHeader(
    "#define CALYPTE_E_X -7 /* why\n   so */\n#define CALYPTE_N 0x10\n#define GUARD\n" +
      "#ifdef __cplusplus\nnamespace { int lost; }\n#endif\n" +
      "typedef struct calypte_b { uint64_t at[CALYPTE_N]; } calypte_b;",
  );
  assertEquals([...constants], [["CALYPTE_E_X", -7], ["CALYPTE_N", 16]]);
  assertEquals(structs.get("b")?.size, 128);
});

Deno.test("nested structs are laid out with their own alignment", () => {
  const { structs } = parseHeader(
    "typedef struct calypte_in { uint64_t a; uint32_t b; uint32_t c; } calypte_in;" +
      "typedef struct calypte_out { uint64_t n; calypte_in each[3]; } calypte_out;",
  );
  assertEquals(structs.get("out")?.size, 56);
});

for (
  const [what, source, message] of [
    [
      "padding within a struct",
      "typedef struct calypte_a {\nuint32_t x;\nuint64_t y; } calypte_a;",
      "line 3: calypte_a.y",
    ],
    [
      "padding at a struct's end",
      "typedef struct calypte_a { uint64_t y; uint32_t x; } calypte_a;",
      "padding at its end",
    ],
    [
      "pointers in a struct",
      "typedef struct calypte_a { char *p; } calypte_a;",
      "a field's name expected, not '*'",
    ],
    ["unknown types", "typedef struct calypte_a { size_t p; } calypte_a;", "type 'size_t'"],
    ["structs passed by value", "int32_t calypte_f(calypte_a a);", "type of parameter 'a'"],
    ["results that are pointers", "char *calypte_f(void);", "results are int32_t or uint64_t"],
    ["computed constants", "#define CALYPTE_A (1 << 3)", "'(1<<3)' is not an integer literal"],
    ["conditional code", "#if 1\n#endif", "directive '#if 1'"],
    ["characters outside the subset", "\n\n@", "line 3: character '@'"],
    ["comments without an end", "/* never", "a comment does not end"],
  ] as const
) {
  Deno.test(`the generator refuses ${what}`, () => {
    assertThrows(() => parseHeader(source), HeaderError, message);
  });
}

Deno.test("tokens know their line, behind comments too", () => {
  assertEquals(tokenize("/* a\nb */ int32_t // c\nx;").map(({ text, line }) => [text, line]), [
    ["int32_t", 2],
    ["x", 3],
    [";", 3],
  ]);
});
