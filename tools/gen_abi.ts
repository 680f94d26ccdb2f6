/**
 * What does `calypte.h` say, in TypeScript?
 *
 * Reads the public C header and writes `ffi/abi.ts`: the symbol table for `Deno.dlopen`, the constants and the
 * struct layouts. The header is a regular subset of C (`#define` of integers, flat `typedef struct`s, prototypes);
 * whatever lies outside that subset is an error that names its line, never skipped.
 *
 * It does not write the TypeScript interface: `ffi/engine.ts` is written by hand.
 *
 * ```sh
 * deno run --allow-read --allow-write tools/gen_abi.ts           # write ffi/abi.ts
 * deno run --allow-read tools/gen_abi.ts --check                 # exit 1 if ffi/abi.ts is out of date
 * ```
 */

const ROOT = new URL("..", import.meta.url);
export const HEADER_URL: URL = new URL("ffi/native/include/calypte.h", ROOT);
export const ABI_URL: URL = new URL("ffi/abi.ts", ROOT);

/** The header holds something that this generator does not understand. */
export class HeaderError extends Error {
  constructor(readonly line: number, rule: string) {
    super(`Cannot read calypte.h: line ${line}: ${rule}`);
    this.name = "HeaderError";
  }
}

export interface Token {
  kind: "word" | "number" | "string" | "punct" | "directive";
  text: string;
  line: number;
}

export interface Param {
  /** As in C, such as `const uint8_t *data`. */
  c: string;
  ffi: FfiType;
}

export interface FunctionDecl {
  name: string;
  result: FfiType;
  params: Param[];
}

export interface FieldDecl {
  name: string;
  /** `char`, `u8` ... `i64`, or the name of a struct without its prefix. */
  type: string;
  offset: number;
  count: number;
}

export interface StructDecl {
  name: string;
  size: number;
  align: number;
  fields: FieldDecl[];
}

export interface Header {
  constants: Map<string, number>;
  structs: Map<string, StructDecl>;
  functions: FunctionDecl[];
}

type FfiType = "i32" | "u32" | "u64" | "buffer";

const PREFIX = "calypte_";
const SCALARS: ReadonlyMap<string, { type: string; size: number }> = new Map([
  ["char", { type: "char", size: 1 }],
  ["uint8_t", { type: "u8", size: 1 }],
  ["uint32_t", { type: "u32", size: 4 }],
  ["int32_t", { type: "i32", size: 4 }],
  ["uint64_t", { type: "u64", size: 8 }],
  ["int64_t", { type: "i64", size: 8 }],
]);
const PASSED: ReadonlyMap<string, FfiType> = new Map([
  ["int32_t", "i32"],
  ["uint32_t", "u32"],
  ["uint64_t", "u64"],
]);

const isWordStart = (c: string) => (c >= "a" && c <= "z") || (c >= "A" && c <= "Z") || c === "_";
const isDigit = (c: string) => c >= "0" && c <= "9";
const isWordPart = (c: string) => isWordStart(c) || isDigit(c);

/** Cuts C text into tokens. Comments vanish; a preprocessor line is one `directive` token. */
export function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let line = 1;
  const skipComment = (): boolean => {
    if (source.startsWith("/*", at)) {
      const end = source.indexOf("*/", at + 2);
      if (end < 0) throw new HeaderError(line, "a comment does not end");
      for (; at < end + 2; at++) if (source[at] === "\n") line++;
      return true;
    }
    if (source.startsWith("//", at)) {
      while (at < source.length && source[at] !== "\n") at++;
      return true;
    }
    return false;
  };
  const take = (kind: Token["kind"], end: number) => {
    tokens.push({ kind, text: source.slice(at, end), line });
    at = end;
  };
  while (at < source.length) {
    const c = source.charAt(at);
    if (c === "\n") {
      line++;
      at++;
    } else if (c === " " || c === "\t" || c === "\r") at++;
    else if (skipComment()) continue;
    else if (c === "#") {
      const start = line;
      let text = "";
      while (at < source.length && source[at] !== "\n") {
        if (source.startsWith("\\\n", at)) throw new HeaderError(line, "a directive must fit on one line");
        if (!skipComment()) text += source.charAt(at++);
      }
      tokens.push({ kind: "directive", text: text.trim(), line: start });
    } else if (c === '"') {
      const end = source.indexOf('"', at + 1);
      if (end < 0) throw new HeaderError(line, "a string does not end");
      take("string", end + 1);
    } else if (isWordPart(c)) {
      let end = at;
      while (end < source.length && isWordPart(source.charAt(end))) end++;
      take(isDigit(c) ? "number" : "word", end);
    } else if ("{}()[];,*-".includes(c)) take("punct", at + 1);
    else throw new HeaderError(line, `character '${c}' is outside the subset of C that is read`);
  }
  return tokens;
}

/** Takes the constants out of the directives; leaves out all between `#ifdef __cplusplus` and its `#endif`. */
function preprocess(tokens: Token[], constants: Map<string, number>): Token[] {
  const open: { cplusplus: boolean; line: number }[] = [];
  const rest: Token[] = [];
  for (const token of tokens) {
    const skipping = open.some((block) => block.cplusplus);
    if (token.kind !== "directive") {
      if (!skipping) rest.push(token);
      continue;
    }
    const words = token.text.slice(1).split(" ").filter((word) => word !== "");
    const [what, name] = words;
    if (what === "ifdef" || what === "ifndef") {
      if (what === "ifdef" && name !== "__cplusplus") {
        throw new HeaderError(token.line, `only '#ifdef __cplusplus' is understood, not '${token.text}'`);
      }
      open.push({ cplusplus: what === "ifdef", line: token.line });
    } else if (what === "endif") {
      if (!open.pop()) throw new HeaderError(token.line, "#endif without #ifdef");
    } else if (what === "define" && name !== undefined && !skipping) {
      const value = words.slice(2).join("");
      if (value !== "") constants.set(name, parseInteger(value, token.line));
    } else if (what !== "include" && !skipping) {
      throw new HeaderError(token.line, `directive '${token.text}' is not understood`);
    }
  }
  const unclosed = open.at(-1);
  if (unclosed) throw new HeaderError(unclosed.line, "#if without #endif");
  return rest;
}

function parseInteger(text: string, line: number): number {
  const value = text.startsWith("-") ? -Number(text.slice(1)) : Number(text);
  if (text === "-" || !Number.isSafeInteger(value)) {
    throw new HeaderError(line, `'${text}' is not an integer literal`);
  }
  return value;
}

/** Reads declarations from the tokens that are left when the directives are gone. */
class Parser {
  #at = 0;
  constructor(readonly tokens: Token[], readonly header: Header) {}

  parse(): void {
    while (this.#at < this.tokens.length) {
      if (this.#peek() === "typedef") this.#struct();
      else this.#function();
    }
  }

  #peek(ahead = 0): string {
    return this.tokens[this.#at + ahead]?.text ?? "";
  }

  get #line(): number {
    return (this.tokens[this.#at] ?? this.tokens.at(-1))?.line ?? 1;
  }

  #expect(text: string): void {
    if (this.#peek() !== text) throw new HeaderError(this.#line, `'${text}' expected, not '${this.#peek()}'`);
    this.#at++;
  }

  #accept(text: string): boolean {
    if (this.#peek() !== text) return false;
    this.#at++;
    return true;
  }

  #word(what: string): string {
    const token = this.tokens[this.#at];
    if (token?.kind !== "word") throw new HeaderError(this.#line, `${what} expected, not '${this.#peek()}'`);
    this.#at++;
    return token.text;
  }

  #struct(): void {
    this.#expect("typedef");
    this.#expect("struct");
    const cName = this.#word("a struct's name");
    if (!cName.startsWith(PREFIX)) throw new HeaderError(this.#line, `'${cName}' does not begin '${PREFIX}'`);
    const struct: StructDecl = { name: cName.slice(PREFIX.length), size: 0, align: 1, fields: [] };
    this.#expect("{");
    while (!this.#accept("}")) this.#field(struct);
    this.#expect(cName);
    this.#expect(";");
    if (struct.size % struct.align !== 0) {
      throw new HeaderError(this.#line, `${cName}: padding at its end must be written out`);
    }
    this.header.structs.set(struct.name, struct);
  }

  #field(struct: StructDecl): void {
    const line = this.#line;
    const cType = this.#word("a field's type");
    const scalar = SCALARS.get(cType);
    const nested = cType.startsWith(PREFIX) ? this.header.structs.get(cType.slice(PREFIX.length)) : undefined;
    const size = scalar?.size ?? nested?.size;
    if (size === undefined) throw new HeaderError(line, `type '${cType}' may not stand in a struct`);
    const align = nested?.align ?? size;
    const name = this.#word("a field's name");
    const count = this.#accept("[") ? this.#dimension() : 1;
    this.#expect(";");
    if (struct.size % align !== 0) {
      throw new HeaderError(line, `${PREFIX}${struct.name}.${name}: padding before it must be written out`);
    }
    struct.fields.push({ name, type: scalar?.type ?? nested?.name ?? cType, offset: struct.size, count });
    struct.size += size * count;
    struct.align = Math.max(struct.align, align);
  }

  #dimension(): number {
    const text = this.#peek();
    const count = this.header.constants.get(text) ?? parseInteger(text, this.#line);
    if (count < 1) throw new HeaderError(this.#line, `array of ${count} elements`);
    this.#at++;
    this.#expect("]");
    return count;
  }

  #function(): void {
    const line = this.#line;
    const result = PASSED.get(this.#word("a result's type"));
    if (result === undefined || result === "u32") {
      throw new HeaderError(line, "results are int32_t or uint64_t");
    }
    const name = this.#word("a function's name");
    const params: Param[] = [];
    this.#expect("(");
    if (this.#peek() === "void" && this.#peek(1) === ")") this.#at += 2;
    else {
      do params.push(this.#param()); while (this.#accept(","));
      this.#expect(")");
    }
    this.#expect(";");
    this.header.functions.push({ name, result, params });
  }

  #param(): Param {
    const line = this.#line;
    const isConst = this.#accept("const");
    const type = this.#word("a parameter's type");
    const pointer = this.#accept("*");
    const name = this.#word("a parameter's name");
    const isStruct = type.startsWith(PREFIX) && this.header.structs.has(type.slice(PREFIX.length));
    const ffi = !pointer ? PASSED.get(type) : isStruct || SCALARS.has(type) ? "buffer" : undefined;
    if (ffi === undefined) throw new HeaderError(line, `type of parameter '${name}' is not understood`);
    return { c: `${isConst ? "const " : ""}${type} ${pointer ? "*" : ""}${name}`, ffi };
  }
}

/** Reads the header's text. */
export function parseHeader(source: string): Header {
  const header: Header = { constants: new Map(), structs: new Map(), functions: [] };
  new Parser(preprocess(tokenize(source), header.constants), header).parse();
  return header;
}

function camelCase(name: string): string {
  return name.split("_").map((part, i) => i === 0 ? part : part.charAt(0).toUpperCase() + part.slice(1)).join(
    "",
  );
}

/** Writes the TypeScript module. Its text is as `deno fmt` would have it. */
export function emitAbi(header: Header): string {
  const out: string[] = [
    "/**",
    " * The C interface of libcalypte: symbols, constants and struct layouts.",
    " *",
    " * Generated from ffi/native/include/calypte.h by tools/gen_abi.ts. Do not edit: change the header, then run",
    " * `deno run --allow-read --allow-write tools/gen_abi.ts`.",
    " */",
    "",
    "/** Where a field lies in its struct; `c` is its name in the header, `count` its number of elements. */",
    "export interface FieldLayout {",
    "  readonly c: string;",
    "  readonly type: string;",
    "  readonly offset: number;",
    "  readonly count: number;",
    "}",
    "",
    "export interface StructLayout {",
    "  readonly size: number;",
    "  readonly fields: Readonly<Record<string, FieldLayout>>;",
    "}",
    "",
    "/** CALYPTE_*, without the prefix. */",
    "export const CONSTANTS = {",
  ];
  for (const [name, value] of header.constants) {
    if (!name.startsWith("CALYPTE_")) throw new HeaderError(1, `'${name}' does not begin 'CALYPTE_'`);
    out.push(`  ${name.slice("CALYPTE_".length)}: ${value},`);
  }
  out.push("} as const satisfies Record<string, number>;", "");
  out.push("/** calypte_*, without the prefix. */", "export const STRUCTS = {");
  for (const struct of header.structs.values()) {
    out.push(`  ${struct.name}: {`, `    size: ${struct.size},`, "    fields: {");
    for (const { name, type, offset, count } of struct.fields) {
      out.push(
        `      ${camelCase(name)}: { c: "${name}", type: "${type}", offset: ${offset}, count: ${count} },`,
      );
    }
    out.push("    },", "  },");
  }
  out.push("} as const satisfies Record<string, StructLayout>;", "");
  out.push("/** For `Deno.dlopen`. */", "export const SYMBOLS = {");
  for (const { name, params, result } of header.functions) {
    out.push(`  ${name}: {`);
    if (params.length === 0) out.push("    parameters: [],");
    else out.push("    parameters: [", ...params.map((p) => `      "${p.ffi}", // ${p.c}`), "    ],");
    out.push(`    result: "${result}",`, "  },");
  }
  out.push("} as const satisfies Deno.ForeignLibraryInterface;", "");
  return out.join("\n");
}

function main(args: readonly string[]): number {
  const abi = emitAbi(parseHeader(Deno.readTextFileSync(HEADER_URL)));
  if (!args.includes("--check")) {
    Deno.writeTextFileSync(ABI_URL, abi);
    return 0;
  }
  if (Deno.readTextFileSync(ABI_URL) === abi) return 0;
  console.error(
    "ffi/abi.ts does not match ffi/native/include/calypte.h. " +
      "Run `deno run --allow-read --allow-write tools/gen_abi.ts`.",
  );
  return 1;
}

if (import.meta.main) Deno.exit(main(Deno.args));
