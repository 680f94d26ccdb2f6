/**
 * How are constant expressions and operands of instructions written?
 *
 * The part of the grammar inside a statement. It gives them no value and does not look names up.
 */

import type { AddressItem, Expression, Operand } from "./ast.ts";
import { describe, type Tokens } from "./tokens.ts";

/** From weakest to strongest, as in C. */
const PRECEDENCE: readonly (readonly string[])[] = [
  ["||"],
  ["&&"],
  ["|"],
  ["^"],
  ["&"],
  ["==", "!="],
  ["<", ">", "<=", ">="],
  ["<<", ">>"],
  ["+", "-"],
  ["*", "/", "%"],
];
const LEVEL = new Map(PRECEDENCE.flatMap((signs, level) => signs.map((sign) => [sign, level] as const)));

/** Parses `4 * (8 + 1)`, `generic(table)+8`, `-1`, `0f3F800000`. */
export function parseExpression(tokens: Tokens): Expression {
  return tokens.nested(() => {
    const test = continueBinary(tokens, parseUnary(tokens), 0);
    if (!tokens.accept("?")) return test;
    const yes = parseExpression(tokens);
    tokens.expect(":", "between the two values of ?:");
    return { kind: "select", test, yes, no: parseExpression(tokens) };
  });
}

function continueBinary(tokens: Tokens, left: Expression, weakest: number): Expression {
  for (;;) {
    const sign = tokens.peek();
    const level = sign.kind === "mark" ? LEVEL.get(sign.text) : undefined;
    if (level === undefined || level < weakest) return left;
    tokens.next();
    const right = continueBinary(tokens, parseUnary(tokens), level + 1);
    left = { kind: "binary", operator: sign.text, left, right };
  }
}

function parseUnary(tokens: Tokens): Expression {
  const token = tokens.peek();
  if (token.kind === "mark" && ["-", "+", "!", "~"].includes(token.text)) {
    tokens.next();
    return { kind: "unary", operator: token.text, value: tokens.nested(() => parseUnary(tokens)) };
  }
  if (tokens.accept("(")) {
    const type = tokens.peek();
    if (type.kind === "dot") {
      tokens.next();
      tokens.expect(")", "behind a cast");
      return { kind: "cast", type: type.text, value: tokens.nested(() => parseUnary(tokens)) };
    }
    const inner = parseExpression(tokens);
    tokens.expect(")", "behind an expression");
    return inner;
  }
  if (token.kind !== "number" && token.kind !== "word") {
    // `.5`: the lexer cannot tell it from a modifier.
    if (token.kind !== "dot" || !/^\.[0-9]/.test(token.text)) {
      tokens.fail(`Expected a value, found ${describe(token)}`);
    }
  }
  tokens.next();
  if (tokens.is("(")) { // generic(x), mask(x) or 0xFF(x)
    tokens.next();
    const value = parseExpression(tokens);
    tokens.expect(")", `behind ${token.text}(`);
    return { kind: "apply", name: token.text, value };
  }
  return token.kind === "word" ? { kind: "name", name: token.text } : { kind: "number", text: token.text };
}

/** An initializer: an expression, a string, or a list of them in braces. */
export function parseInitializer(tokens: Tokens): Expression {
  if (tokens.peek().kind === "string") return { kind: "string", text: tokens.next().text };
  if (!tokens.accept("{")) return parseExpression(tokens);
  return tokens.nested(() => {
    const items: Expression[] = [];
    while (!tokens.accept("}")) {
      if (items.length > 0) tokens.expect(",", "between initial values");
      items.push(parseInitializer(tokens));
    }
    return { kind: "list", items };
  });
}

/** @param lists whether `(a, b)` is a list of arguments, as in a call, and not an expression in brackets */
export function parseOperand(tokens: Tokens, lists: boolean): Operand {
  return tokens.nested(() => {
    if (tokens.accept("[")) return parseAddress(tokens);
    if (tokens.accept("{")) return { kind: "vector", items: parseItems(tokens, "}") };
    if (lists && tokens.accept("(")) return { kind: "list", items: parseItems(tokens, ")") };
    if (tokens.is("!") && tokens.peek(1).kind === "word") {
      tokens.next();
      return { ...parseName(tokens), negated: true };
    }
    if (tokens.peek().kind !== "word") return { kind: "constant", value: parseExpression(tokens) };

    const behind = tokens.peek(1);
    if (behind.kind === "mark" && (behind.text === "(" || (behind.text !== "|" && LEVEL.has(behind.text)))) {
      return { kind: "constant", value: parseExpression(tokens) };
    }
    const first = parseName(tokens);
    if (!tokens.accept("|")) return first;
    return { kind: "pair", first, second: parseName(tokens) };
  });
}

function parseName(tokens: Tokens): Operand & { kind: "name" } {
  const name = tokens.word("the name of a register");
  return tokens.peek().kind === "dot"
    ? { kind: "name", name, part: tokens.next().text }
    : { kind: "name", name };
}

function parseItems(tokens: Tokens, close: string): Operand[] {
  const items: Operand[] = [];
  while (!tokens.accept(close)) {
    if (items.length > 0) tokens.expect(",", `or "${close}" in a list`);
    items.push(parseOperand(tokens, false));
  }
  return items;
}

function parseAddress(tokens: Tokens): Operand {
  const items: AddressItem[] = [];
  do {
    const base: Operand = tokens.peek().kind === "word"
      ? parseName(tokens)
      : tokens.is("{")
      ? parseOperand(tokens, false)
      : { kind: "constant", value: parseExpression(tokens) };
    if (base.kind === "name" && (tokens.is("+") || tokens.is("-"))) {
      // [a-4+b] adds (-4)+b: a minus binds to its first term only, which parsing it as a sign does.
      tokens.accept("+");
      items.push({ base, offset: continueBinary(tokens, parseUnary(tokens), 0) });
    } else {
      items.push({ base });
    }
  } while (tokens.accept(","));
  tokens.expect("]", "behind an address");
  return { kind: "address", items };
}
