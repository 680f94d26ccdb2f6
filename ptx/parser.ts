/**
 * What does a PTX text say? Text in, syntax tree (ast.ts) out.
 *
 * It checks the grammar and nothing else: not that names are declared, not that an instruction exists or takes these
 * operands. ptxas does that.
 */

import type {
  Callable,
  Declarator,
  Directive,
  Expression,
  Guard,
  Label,
  Module,
  Operand,
  Performance,
  Section,
  Statement,
  Variable,
} from "./ast.ts";
import { parseExpression, parseInitializer, parseOperand } from "./expression.ts";
import { tokenize } from "./lexer.ts";
import { describe, Tokens } from "./tokens.ts";

const LINKAGE = new Set([".extern", ".visible", ".weak", ".common"]);
const SPACES = new Set([".reg", ".sreg", ".shared", ".local", ".const", ".global", ".param", ".tex"]);
const LINE_DIRECTIVES = new Set([".loc", ".file", ".pragma", ".alias"]);

/** Parses a whole module. `file` is the name that errors carry. */
export function parseModule(text: string, file: string): Module {
  const tokens = new Tokens(file, tokenize(text, file));
  if (!tokens.accept(".version")) {
    tokens.fail(
      `A PTX module begins with .version, found ${describe(tokens.peek())}`,
      "Check that the file is PTX",
    );
  }
  const version = tokens.next().text;
  if (!/^[0-9]+\.[0-9]+$/.test(version)) {
    tokens.fail(`.version takes a number such as 8.0, found "${version}"`);
  }
  tokens.expect(".target", "behind .version");
  const target = [tokens.word("a target such as sm_80")];
  while (tokens.accept(",")) target.push(tokens.word("a target or an option of one"));
  const addressSize = tokens.accept(".address_size") ? tokens.integer("32 or 64") : undefined;

  const items: Module["items"][number][] = [];
  while (tokens.peek().kind !== "end") {
    if (!tokens.accept(";")) items.push(parseItem(tokens));
  }
  return { file, version, target, ...(addressSize === undefined ? {} : { addressSize }), items };
}

/** Parses the inside of a function body, such as a piece that the rewriter inserts. */
export function parseStatements(text: string, file: string): Statement[] {
  const tokens = new Tokens(file, tokenize(text, file));
  const body: Statement[] = [];
  while (tokens.peek().kind !== "end") body.push(...parseStatement(tokens));
  return body;
}

/** Parses the inside of a parameter list. */
export function parseParameters(text: string, file: string): Variable[] {
  const tokens = new Tokens(file, tokenize(`${text})`, file));
  return parseParameterList(tokens);
}

function parseItem(tokens: Tokens): Module["items"][number] {
  const { line, column, text, kind } = tokens.peek();
  if (kind !== "dot") {
    tokens.fail(`Expected a directive such as .entry or .global, found ${describe(tokens.peek())}`);
  }
  if (text === ".section") return parseSection(tokens);
  if (LINE_DIRECTIVES.has(text)) return parseDirective(tokens);
  const linkage: string[] = [];
  while (LINKAGE.has(tokens.peek().text)) linkage.push(tokens.next().text);
  if (tokens.is(".entry") || tokens.is(".func")) return parseCallable(tokens, linkage, { line, column });
  if (SPACES.has(tokens.peek().text)) {
    const variable = parseVariable(tokens, linkage, true);
    tokens.expect(";", "behind a declaration");
    return variable;
  }
  return tokens.fail(`Unknown directive ${describe(tokens.peek())}`);
}

function parseCallable(tokens: Tokens, linkage: string[], at: { line: number; column: number }): Callable {
  const directive = tokens.next().text === ".entry" ? ".entry" : ".func";
  const attribute = parseAttribute(tokens);
  const results = tokens.accept("(") ? parseParameterList(tokens) : [];
  const name = tokens.word("the name of a function");
  const parameters = tokens.accept("(") ? parseParameterList(tokens) : [];
  const performance: Performance[] = [];
  while (tokens.peek().kind === "dot") performance.push(parsePerformance(tokens));
  const head = {
    kind: "function",
    linkage,
    directive,
    name,
    results,
    parameters,
    performance,
    ...at,
  } as const;
  const whole = attribute === undefined ? head : { ...head, attribute };
  if (tokens.accept(";")) return whole;
  tokens.expect("{", `before the body of ${name}`);
  return { ...whole, body: parseBody(tokens) };
}

function parseAttribute(tokens: Tokens): string | undefined {
  if (!tokens.accept(".attribute")) return undefined;
  tokens.expect("(", "behind .attribute");
  let text = "";
  for (let depth = 1;;) {
    const token = tokens.next();
    if (token.kind === "end") tokens.fail("The brackets of .attribute do not end", "Close them with )");
    if (token.text === "(") depth++;
    if (token.text === ")" && --depth === 0) return text;
    text += token.text;
  }
}

/** Behind the `(`; takes the `)`. */
function parseParameterList(tokens: Tokens): Variable[] {
  const list: Variable[] = [];
  while (!tokens.accept(")")) {
    if (list.length > 0) tokens.expect(",", "between parameters");
    list.push(parseVariable(tokens, [], false));
  }
  return list;
}

function parsePerformance(tokens: Tokens): Performance {
  const name = tokens.next().text;
  const words: string[] = [];
  while (tokens.peek().kind === "number" || tokens.peek().kind === "string" || tokens.is(",")) {
    words.push(tokens.next().text);
  }
  // A `;` behind a head without a body belongs to the head; only .pragma has one of its own.
  const semicolon = name === ".pragma" && tokens.accept(";");
  return { name, words, semicolon };
}

function parseVariable(tokens: Tokens, linkage: readonly string[], many: boolean): Variable {
  const { line, column } = tokens.peek();
  const space = tokens.next().text;
  if (!SPACES.has(space)) tokens.fail(`Expected a state space such as .reg or .param, found "${space}"`);
  let align: number | undefined;
  let vector: string | undefined;
  let type: string | undefined;
  let pointer: { space?: string; align?: number } | undefined;
  let attribute: string | undefined;
  while (tokens.peek().kind === "dot") {
    if (tokens.is(".attribute")) attribute = parseAttribute(tokens);
    else if (tokens.accept(".align")) {
      const value = tokens.integer("an alignment in bytes");
      if (pointer === undefined) align = value;
      else pointer.align = value;
    } else if (tokens.accept(".ptr")) pointer = {};
    else if (pointer !== undefined && SPACES.has(tokens.peek().text)) pointer.space = tokens.next().text;
    else if (/^\.v[0-9]+$/.test(tokens.peek().text)) vector = tokens.next().text;
    else if (type === undefined) type = tokens.next().text;
    else tokens.fail(`A declaration has one type, found ${type} and ${tokens.peek().text}`);
  }
  if (type === undefined) tokens.fail(`Expected a type such as .b32, found ${describe(tokens.peek())}`);
  const names = [parseDeclarator(tokens)];
  while (many && tokens.accept(",")) names.push(parseDeclarator(tokens));
  return {
    kind: "variable",
    line,
    column,
    linkage,
    space,
    type,
    names,
    ...(align === undefined ? {} : { align }),
    ...(vector === undefined ? {} : { vector }),
    ...(pointer === undefined ? {} : { pointer }),
    ...(attribute === undefined ? {} : { attribute }),
  };
}

function parseDeclarator(tokens: Tokens): Declarator {
  const name = tokens.word("a name to declare");
  let count: number | undefined;
  if (tokens.accept("<")) {
    count = tokens.integer("a number of registers");
    tokens.expect(">", "behind a number of registers");
  }
  const dimensions: (Expression | null)[] = [];
  while (tokens.accept("[")) {
    dimensions.push(tokens.is("]") ? null : parseExpression(tokens));
    tokens.expect("]", "behind a dimension");
  }
  const initial = tokens.accept("=") ? parseInitializer(tokens) : undefined;
  return {
    name,
    dimensions,
    ...(count === undefined ? {} : { count }),
    ...(initial === undefined ? {} : { initial }),
  };
}

/** Behind the `{`; takes the `}`. */
function parseBody(tokens: Tokens): Statement[] {
  return tokens.nested(() => {
    const body: Statement[] = [];
    while (!tokens.accept("}")) {
      if (tokens.peek().kind === "end") tokens.fail("The file ends inside a body", "Close it with }");
      body.push(...parseStatement(tokens));
    }
    return body;
  });
}

/** A list, because a lone `;` is no statement. */
function parseStatement(tokens: Tokens): Statement[] {
  const token = tokens.peek();
  const at = { line: token.line, column: token.column };
  if (tokens.accept(";")) return [];
  if (tokens.accept("{")) return [{ kind: "scope", ...at, body: parseBody(tokens) }];
  if (token.kind === "word" && tokens.peek(1).text === ":") return [parseLabel(tokens)];
  if (token.kind === "word" || tokens.is("@")) return [parseInstruction(tokens)];
  if (token.kind === "dot" && LINE_DIRECTIVES.has(token.text)) return [parseDirective(tokens)];
  if (token.kind === "dot" && (SPACES.has(token.text) || LINKAGE.has(token.text))) {
    const linkage: string[] = [];
    while (LINKAGE.has(tokens.peek().text)) linkage.push(tokens.next().text);
    const variable = parseVariable(tokens, linkage, true);
    tokens.expect(";", "behind a declaration");
    return [variable];
  }
  return tokens.fail(`Expected a statement, found ${describe(token)}`);
}

function parseLabel(tokens: Tokens): Statement {
  const { text: name, line, column } = tokens.next();
  tokens.next();
  const directive = tokens.peek().text;
  if (directive === ".branchtargets" || directive === ".calltargets") {
    tokens.next();
    const labels = [tokens.word("a label")];
    while (tokens.accept(",")) labels.push(tokens.word("a label"));
    tokens.expect(";", `behind ${directive}`);
    return { kind: "targets", line, column, name, directive, labels };
  }
  if (directive === ".callprototype") {
    tokens.next();
    const words: string[] = [];
    while (!tokens.is(";")) {
      if (tokens.peek().kind === "end") tokens.fail("A .callprototype does not end", "Close it with ;");
      words.push(tokens.next().text);
    }
    tokens.next();
    return { kind: "prototype", line, column, name, words };
  }
  const label: Label = { kind: "label", line, column, name };
  return label;
}

function parseInstruction(tokens: Tokens): Statement {
  const { line, column } = tokens.peek();
  let guard: Guard | undefined;
  if (tokens.accept("@")) {
    const negated = tokens.accept("!");
    guard = { register: tokens.word("a predicate register"), negated };
  }
  const opcode = tokens.word("an instruction");
  const modifiers: string[] = [];
  while (tokens.peek().kind === "dot") modifiers.push(tokens.next().text);
  const operands: Operand[] = [];
  while (!tokens.accept(";")) {
    if (operands.length > 0) tokens.expect(",", `or ";" behind an operand of ${opcode}`);
    operands.push(parseOperand(tokens, opcode === "call"));
  }
  const bare = { kind: "instruction", line, column, opcode, modifiers, operands } as const;
  return guard === undefined ? bare : { ...bare, guard };
}

function parseDirective(tokens: Tokens): Directive {
  const { text: name, line, column } = tokens.next();
  const words: string[] = [];
  const take = () => words.push(tokens.next().text);
  const expect = (kind: "number" | "string" | "word") => {
    if (tokens.peek().kind !== kind) {
      tokens.fail(`Expected a ${kind} in ${name}, found ${describe(tokens.peek())}`);
    }
    take();
  };
  const commas = (kind: "number" | "string" | "word") => {
    while (tokens.is(",")) {
      take();
      expect(kind);
    }
  };
  if (name === ".file") { // .file 1 "name", time, size
    expect("number");
    expect("string");
    commas("number");
  } else if (name === ".pragma") {
    expect("string");
    commas("string");
  } else if (name === ".alias") {
    expect("word");
    commas("word");
  } else { // .loc 1 2 3, function_name $L+4, inlined_at 1 2 3
    for (let i = 0; i < 3; i++) expect("number");
    while (tokens.is(",")) {
      take();
      const isInlinedAt = tokens.peek().text === "inlined_at";
      expect("word");
      if (isInlinedAt) { for (let i = 0; i < 3; i++) expect("number"); }
      else {
        expect("word");
        if (tokens.is("+")) {
          take();
          expect("number");
        }
      }
    }
  }
  const semicolon = name === ".pragma" || name === ".alias";
  if (semicolon) tokens.expect(";", `behind ${name}`);
  return { kind: "directive", line, column, name, words, semicolon };
}

function parseSection(tokens: Tokens): Section {
  const { line, column } = tokens.next();
  const first = tokens.peek();
  if (first.kind !== "dot" && first.kind !== "word") {
    tokens.fail(`Expected a section's name, found ${describe(first)}`);
  }
  const name = tokens.next().text;
  tokens.expect("{", "behind a section's name");
  const lines: string[][] = [];
  let lastLine = -1;
  for (let depth = 1;;) {
    const token = tokens.next();
    if (token.kind === "end") tokens.fail(`The section ${name} does not end`, "Close it with }");
    if (token.text === "{") depth++;
    if (token.text === "}" && --depth === 0) break;
    if (token.line !== lastLine) lines.push([]);
    lastLine = token.line;
    lines.at(-1)?.push(token.text);
  }
  return { kind: "section", line, column, name, lines };
}
