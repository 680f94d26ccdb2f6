/**
 * Which tokens is a PTX text made of, and where is each?
 *
 * Comments and white space end here. Words are not classified any further: whether `ld` is an instruction or the name
 * of a variable is the parser's question.
 */

import { PtxError } from "./error.ts";

/**
 * - `word`: an identifier, with `%` or `$` in front or without
 * - `dot`: a directive or a modifier, with its point: `.entry`, `.v4`, `.L2::cache_hint`
 * - `number`: an integer or a floating-point literal, as written
 * - `string`: with its quotes
 * - `mark`: one punctuation sign, or `<<`, `>>`, `<=`, `>=`, `==`, `!=`, `&&`, `||`
 * - `end`: behind the last token
 */
export type TokenKind = "word" | "dot" | "number" | "string" | "mark" | "end";

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly line: number;
  readonly column: number;
}

const isDigit = (c: number) => c >= 48 && c <= 57;
const isWordPart = (c: number) =>
  (c >= 97 && c <= 122) || (c >= 65 && c <= 90) || isDigit(c) || c === 95 || c === 36; // letters, digits, _ and $
const isWordStart = (c: number) => (isWordPart(c) && !isDigit(c)) || c === 37; // and %

const TWO_SIGNS = new Set(["<<", ">>", "<=", ">=", "==", "!=", "&&", "||"]);
const ONE_SIGN = new Set([..."{}()[]<>,;:+-*/%!~&|^?=@"]);

/** Cuts `text` into tokens. Throws PtxError for a sign that PTX does not know, and for what is opened and not closed. */
export function tokenize(text: string, file: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let line = 1;
  let lineStart = 0;

  const fail = (rule: string, remedy: string): never => {
    throw new PtxError(file, { line, column: at - lineStart + 1 }, rule, remedy);
  };
  const push = (kind: TokenKind, end: number) => {
    tokens.push({ kind, text: text.slice(at, end), line, column: at - lineStart + 1 });
    at = end;
  };
  const wordEnd = (from: number): number => {
    let end = from;
    while (isWordPart(text.charCodeAt(end))) end++;
    return end;
  };

  while (at < text.length) {
    const c = text.charCodeAt(at);
    if (c === 10) {
      at++;
      line++;
      lineStart = at;
    } else if (c === 32 || c === 9 || c === 13 || c === 0) {
      at++; // a PTX image may end with NUL bytes
    } else if (c === 47 && text.charCodeAt(at + 1) === 47) {
      const end = text.indexOf("\n", at);
      at = end < 0 ? text.length : end;
    } else if (c === 47 && text.charCodeAt(at + 1) === 42) {
      const end = text.indexOf("*/", at + 2);
      if (end < 0) fail("A comment that begins with /* does not end", "Close it with */");
      for (let i = text.indexOf("\n", at); i >= 0 && i < end; i = text.indexOf("\n", i + 1)) {
        line++;
        lineStart = i + 1;
      }
      at = end + 2;
    } else if (c === 34) {
      push("string", stringEnd(text, at, fail));
    } else if (isDigit(c)) {
      push("number", numberEnd(text, at));
    } else if (c === 46) {
      let end = wordEnd(at + 1);
      // A name in two parts is one modifier: .L1::evict_last, .shared::cta.
      while (text.startsWith("::", end) && isWordPart(text.charCodeAt(end + 2))) end = wordEnd(end + 2);
      if (end === at + 1) {
        fail("A point stands alone", "Write a directive or a modifier behind it, such as .entry");
      }
      push("dot", end);
    } else if (isWordStart(c) && (c !== 37 || isWordPart(text.charCodeAt(at + 1)))) {
      push("word", wordEnd(at + 1));
    } else if (TWO_SIGNS.has(text.slice(at, at + 2))) {
      push("mark", at + 2);
    } else if (ONE_SIGN.has(text.charAt(at))) {
      push("mark", at + 1);
    } else {
      fail(
        `PTX has no sign ${JSON.stringify(text.charAt(at))}`,
        "Check that the file is PTX text and not a binary",
      );
    }
  }
  tokens.push({ kind: "end", text: "", line, column: at - lineStart + 1 });
  return tokens;
}

function stringEnd(text: string, start: number, fail: (rule: string, remedy: string) => never): number {
  for (let i = start + 1; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 92) i++;
    else if (c === 34) return i + 1;
    else if (c === 10) break;
  }
  return fail("A string does not end on its line", 'Close it with "');
}

/** Integers, 0x, 0b, 0f and 0d literals, decimals with exponent. */
function numberEnd(text: string, start: number): number {
  let end = start;
  const isPlain = !/^0[xXfFdDbB]/.test(text.slice(start, start + 2));
  for (;;) {
    const c = text.charCodeAt(end);
    const isExponentSign = isPlain && (c === 43 || c === 45) && /[eE]/.test(text.charAt(end - 1)) &&
      isDigit(text.charCodeAt(end + 1));
    // A point belongs to a number when a digit follows or nothing that could be a modifier does.
    const isPoint = isPlain && c === 46 && !text.slice(start, end).includes(".");
    if (!isWordPart(c) && !isExponentSign && !isPoint) return end;
    end++;
  }
}
