/**
 * Is a rewritten module what the rewriter promises, read a second time by other eyes?
 *
 * Translation validation: it shares the parser and the graph builder with the rewriter and nothing else. It compares the
 * two texts statement by statement, walks through all inserted text, tries it in made-up situations against
 * docs/PREEMPTION.md, and asks anew which threads meet at a barrier and what a block that is given up has left behind.
 *
 * It does not ask whether a kernel was fit for its level where that does not show in the rewritten text: whether its blocks
 * wait for each other, or whether its output differs from run to run.
 */

import { type Callable, type Instruction, isKernel, type Module } from "./ast.ts";
import { parseModule } from "./parser.ts";
import type { Level } from "./report.ts";
import { AloneChecker } from "./verify_alone.ts";
import { checkBarriers, findAgreed, sharesMemory } from "./verify_barriers.ts";
import {
  checkEnter,
  checkGather,
  checkIndex,
  checkSliceIndex,
  findRoles,
  type Roles,
  type Trees,
} from "./verify_block.ts";
import { align, type Body } from "./verify_body.ts";
import { checkFlow, flowOf, Walk } from "./verify_flow.ts";
import { HardwareChecker } from "./verify_hardware.ts";
import { findCheckpoints, LoopChecker } from "./verify_loop.ts";
import { compareModules, type KernelPair, type Report, wordsOf } from "./verify_module.ts";
import { used } from "./verify_names.ts";
import { checkOrder } from "./verify_order.ts";
import { PortChecker } from "./verify_ports.ts";
import { RestartChecker } from "./verify_restart.ts";
import { StripChecker } from "./verify_strip.ts";
import { Forest, type Node } from "./verify_tree.ts";
import { Trials } from "./verify_trial.ts";

export interface Finding {
  readonly kernel: string;
  /** In the rewritten text. */
  readonly line: number;
  /** In words. */
  readonly rule: string;
}

/**
 * What a rewritten module breaks; empty: nothing to object. `levels` says what each kernel is claimed to be; a kernel that
 * it does not name is taken for `whole`. Throws PtxError where a text cannot be parsed.
 */
export function verifyRewrite(
  original: string,
  rewritten: string,
  levels: ReadonlyMap<string, Level>,
  file: string,
): Finding[] {
  const [before, after] = [parseModule(original, file), parseModule(rewritten, file)];
  const findings = new Map<string, Finding>();
  const report = (kernel: string, line: number, rule: string) => {
    const key = `${kernel}:${line}:${rule}`;
    if (!findings.has(key)) findings.set(key, { kernel, line, rule });
  };
  for (const pair of compareModules(before, after, levels, wordsOf(original, file), report)) {
    new KernelVerifier(before, pair, file, (line, rule) => report(pair.before.name, line, rule)).verify();
  }
  return [...findings.values()].toSorted((a, b) => a.line - b.line);
}

class KernelVerifier {
  constructor(
    readonly module: Module,
    readonly pair: KernelPair,
    readonly file: string,
    readonly report: Report,
  ) {}

  verify(): void {
    const { pair, file, report } = this;
    const body = align(pair, report);
    if (body === undefined) return;
    this.#checkSurroundings(body);
    const walk = new Walk(body, flowOf(pair.before.body, file), flowOf(pair.after.body, file));
    checkFlow(walk, report);
    const forest = new Forest(walk, report);
    const ports = new Map([...forest.ports].map((port) => [port, forest.tree(port)] as const));
    const enter = forest.tree(walk.after.first);
    const trials = new Trials(pair.prefix, report);
    const enterLine = walk.after.first?.line ?? pair.after.line;
    if (pair.level === "slice") {
      new PortChecker(walk, ports, report).check({ enter }, undefined, []);
      if (body.axes.size > 0) checkSliceIndex(enter, enterLine, trials, body.axes);
      return;
    }
    if (body.behind === undefined) return report(pair.after.line, "Nothing stands where the block gathers");
    const trees: Trees = { enter, gather: forest.tree(body.behind), enterLine, gatherLine: body.behind.line };
    const roles = findRoles(trees, trials, report);
    if (roles === undefined) return;
    checkEnter(trees, roles, trials);
    checkGather(trees, roles, trials);
    checkIndex(trees, roles, trials, body.axes);
    this.#checkBody(walk, trees, ports, roles, trials);
  }

  #checkBody(
    walk: Walk,
    trees: Trees,
    ports: ReadonlyMap<Instruction, Node>,
    roles: Roles,
    trials: Trials,
  ): void {
    const { pair, report } = this;
    const { body } = walk;
    const known = (register: string) =>
      register === roles.next
        ? 17n
        : register === roles.count
        ? 2n
        : roles.idle.has(register)
        ? 0n
        : undefined;
    const records = checkOrder(trees.enter, "enter", body, known, report);
    checkOrder(trees.gather, "gather", body, known, report).forEach((event) => records.add(event));
    for (const tree of ports.values()) checkOrder(tree, "body", body, known, report);
    const agreed = findAgreed([trees.enter, trees.gather], (event) => records.has(event));
    checkBarriers(walk, agreed, roles, this.file, report);
    const bodies = this.#bodies();
    const shares = sharesMemory(
      bodies,
      this.module.items.some((i) => i.kind === "variable" && i.space === ".shared"),
    );
    const copies = bodies.some(({ opcode, modifiers }) => opcode === "cp" && modifiers[0] === ".async");
    new HardwareChecker(walk, trees, ports, report).check(roles, shares, copies);

    const checkpoints = findCheckpoints(ports, body, roles, report);
    new PortChecker(walk, ports, report).check(trees, roles, checkpoints);
    if (pair.level !== "loop") {
      if (checkpoints.length > 0) {
        report(pair.after.line, "A kernel at level block has no checkpoints in its body");
      }
      return;
    }
    if (checkpoints.length === 0) {
      report(pair.after.line, "A kernel at level loop has a checkpoint in its body");
    }
    const loop = new LoopChecker(trees, roles, trials, report);
    loop.checkAll(checkpoints);
    if (roles.gathering?.operation === ".or") loop.checkMeeting(trees.gather, trees.gatherLine);
    for (const [now, replacement] of body.replaced) {
      const tree = ports.get(now);
      if (replacement.kind === "barrier" && replacement.operation === ".or" && tree !== undefined) {
        loop.checkMeeting(tree, now.line);
        loop.checkMeetingPassed(tree, now.line);
      }
    }
    const strips = new StripChecker(walk, ports, checkpoints, report);
    for (const [now, replacement] of body.replaced) {
      if (replacement.kind === "strip") strips.check(now, replacement.limit);
    }
    const restart = new RestartChecker(this.module, walk, report);
    const alone = new AloneChecker(walk, checkpoints, report);
    for (const checkpoint of checkpoints) {
      restart.check(checkpoint);
      if (!checkpoint.together) alone.check(checkpoint);
    }
  }

  /** What a kernel's rewriting must not depend on, outside its body. */
  #checkSurroundings(body: Body): void {
    const { pair, report } = this;
    const reader = this.#bodies().find((i) =>
      !body.counterparts.has(i) && used(i).some((name) => name === "%ctaid" || name === "%nctaid")
    );
    if (reader !== undefined) {
      report(
        pair.after.line,
        `A function that it calls reads the block index, at line ${reader.line} of the original`,
      );
    }
    const isDynamic = this.module.items.some((item) =>
      item.kind === "variable" && item.space === ".shared" && item.linkage.includes(".extern")
    );
    const shared = (of: Callable) =>
      (of.body ?? []).filter((s) => s.kind === "variable" && s.space === ".shared").length;
    if (isDynamic && shared(pair.after) > shared(pair.before)) {
      report(pair.after.line, "Shared memory was added in front of dynamic shared memory");
    }
  }

  /** Instructions of the original kernel, and of all functions that it calls. */
  #bodies(): Instruction[] {
    const functions = new Map(
      this.module.items.flatMap((item) =>
        item.kind === "function" && !isKernel(item) && item.body !== undefined
          ? [[item.name, item] as const]
          : []
      ),
    );
    const found: Instruction[] = [];
    const visit = (body: NonNullable<Callable["body"]>): void => {
      for (const statement of body) {
        if (statement.kind === "scope") visit(statement.body);
        if (statement.kind !== "instruction") continue;
        found.push(statement);
        for (const name of statement.opcode === "call" ? used(statement) : []) {
          const callee = functions.get(name);
          functions.delete(name);
          if (callee?.body !== undefined) visit(callee.body);
        }
      }
    };
    visit(this.pair.before.body);
    return found;
  }
}
