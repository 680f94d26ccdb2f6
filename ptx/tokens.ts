/**
 * Where in a list of tokens does the parser stand, and what does it say when it expected something else?
 *
 * A cursor; it knows no grammar beyond single tokens.
 */

import { PtxError } from "./error.ts";
import type { Token } from "./lexer.ts";

/** How deep scopes, lists and brackets may be nested; real PTX stays under 10. */
const MAX_DEPTH = 100;

export class Tokens {
  #at = 0;
  #depth = 0;

  constructor(readonly file: string, readonly all: readonly Token[]) {}

  /** The token that comes next, or the one `ahead` places behind it. */
  peek(ahead = 0): Token {
    const token = this.all[Math.min(this.#at + ahead, this.all.length - 1)];
    if (token === undefined) throw new Error("A token list has at least its end");
    return token;
  }

  next(): Token {
    const token = this.peek();
    if (token.kind !== "end") this.#at++;
    return token;
  }

  /** Whether the next token is this mark or this dotted word. */
  is(text: string): boolean {
    const token = this.peek();
    return token.text === text && (token.kind === "mark" || token.kind === "dot");
  }

  accept(text: string): boolean {
    if (!this.is(text)) return false;
    this.next();
    return true;
  }

  expect(text: string, after: string): Token {
    if (!this.is(text)) this.fail(`Expected "${text}" ${after}, found ${describe(this.peek())}`);
    return this.next();
  }

  word(what: string): string {
    const token = this.peek();
    if (token.kind !== "word") this.fail(`Expected ${what}, found ${describe(token)}`);
    return this.next().text;
  }

  /** A whole number that fits a double. */
  integer(what: string): number {
    const token = this.peek();
    const value = /^(0[xX][0-9a-fA-F]+|0[bB][01]+|[0-9]+)[uU]?$/.test(token.text)
      ? Number(token.text.replace(/[uU]$/, "").replace(/^0(?=[0-7]+$)/, "0o"))
      : NaN;
    if (token.kind !== "number" || !Number.isSafeInteger(value)) {
      this.fail(`Expected ${what}, found ${describe(token)}`);
    }
    this.next();
    return value;
  }

  fail(
    rule: string,
    remedy = "Check the text there, or assemble the file with ptxas for a second opinion",
  ): never {
    throw new PtxError(this.file, this.peek(), rule, remedy);
  }

  /** Runs `parse` one level deeper, so that a text of a million brackets is an error and not a stack overflow. */
  nested<T>(parse: () => T): T {
    if (this.#depth >= MAX_DEPTH) this.fail(`Nested more than ${MAX_DEPTH} deep`, "Flatten the nesting");
    this.#depth++;
    const result = parse();
    this.#depth--;
    return result;
  }
}

export function describe(token: Token): string {
  return token.kind === "end" ? "the end of the file" : JSON.stringify(token.text);
}
