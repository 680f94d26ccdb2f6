/**
 * Does a virtual block leave behind nothing that the hardware still works on, and does the next find what it expects?
 *
 * Asynchronous copies and products are waited for, mbarriers given up, and shared memory is one block's at a time.
 */

import type { Instruction, Operand } from "./ast.ts";
import type { Roles, Trees } from "./verify_block.ts";
import type { Walk } from "./verify_flow.ts";
import type { Report } from "./verify_module.ts";
import { namesIn, numberOf } from "./verify_names.ts";
import { evaluate, type Event, type Values } from "./verify_terms.ts";
import { type Node, type Path, pathsOf } from "./verify_tree.ts";

interface Kept {
  readonly init: Instruction;
  /** Register that says whether it was set up, and the one that keeps where. */
  readonly live: string;
  readonly address: string;
}

const ADDRESS = 0x700n;

export class HardwareChecker {
  readonly #originals: readonly Instruction[];

  constructor(
    readonly walk: Walk,
    readonly trees: Trees,
    readonly ports: ReadonlyMap<Instruction, Node>,
    readonly report: Report,
  ) {
    this.#originals = [...walk.body.originals.values()];
  }

  #has(test: (instruction: Instruction) => boolean): boolean {
    return this.#originals.some(test);
  }

  /** @param shares whether the threads of a block share memory or meet, functions that it calls included */
  check(roles: Roles, shares: boolean, copies: boolean): void {
    const { enter, gather, gatherLine } = this.trees;
    const multiplies = this.#has(({ opcode }) => opcode === "wgmma");
    const kept = this.#keeps();
    for (const path of pathsOf(gather)) {
      const events = eventsOf(path);
      const barrier = events.findIndex(({ kind }) => kind === "barrier");
      const wait = events.findIndex((e) => isWait(e, "cp.async.wait_all"));
      if (copies && (wait < 0 || (barrier >= 0 && wait > barrier))) {
        this.report(gatherLine, "Asynchronous copies must be waited for before the block gathers");
      }
      if (shares && (path.end.to === "original" || path.end.to === "port") && barrier < 0) {
        this.report(
          gatherLine,
          "A barrier must keep the shared memory of one virtual block apart from the next one's",
        );
      }
      // A block that is given up ends, and its mbarriers with it.
      if (path.end.to === "original" || path.end.to === "port") {
        kept.forEach((k) => this.#checkGivenUp(events, k, barrier));
      }
    }
    for (const tree of [enter, gather]) {
      for (const path of pathsOf(tree)) this.#checkBegin(path, roles, kept);
    }
    for (const [port, tree] of this.ports) {
      for (const path of pathsOf(tree)) {
        if (path.end.to !== "return") continue;
        const events = eventsOf(path);
        const isDone = !multiplies ||
          events.some((e) => isWait(e, "wgmma.wait_group.sync.aligned") && waitsForAll(e));
        if (!isDone) this.report(port.line, "Products must have ended before their block is given up");
        if (copies && !events.some((e) => isWait(e, "cp.async.wait_all"))) {
          this.report(port.line, "Asynchronous copies must have ended before their block is given up");
        }
      }
    }
  }

  /** No virtual block takes over what another one's threads said about themselves. */
  #checkBegin({ end }: Path, { gathering, idle }: Roles, kept: readonly Kept[]): void {
    if (end.to !== "original" && end.to !== "port") return;
    const names = new Set([...kept.map(({ live }) => live), ...idle]);
    if (gathering?.operation === ".and") this.#returnedInputs().forEach((name) => names.add(name));
    for (const name of names) {
      const term = end.registers.get(name);
      if (term?.kind !== "constant" || term.value !== 0n) {
        this.report(this.trees.enterLine, `${name} must be false where a virtual block begins`);
      }
    }
  }

  /** What threads bring to barriers that count who has returned. */
  #returnedInputs(): string[] {
    return [...this.walk.body.replaced].filter(([, r]) => r.kind === "barrier" && r.operation === ".and")
      .flatMap(([{ operands }]) => namesIn(operands[2]));
  }

  /** For each mbarrier that the body sets up, the registers that keep it. */
  #keeps(): Kept[] {
    const { body, after } = this.walk;
    const kept: Kept[] = [];
    for (const [now, old] of body.originals) {
      if (old.opcode !== "mbarrier" || old.modifiers[0] !== ".init") continue;
      const [next] = after.next(now);
      const tree = next === undefined ? undefined : this.ports.get(next);
      const found = tree === undefined ? undefined : this.#keptBy(tree, old);
      if (found === undefined) this.report(now.line, "Where an mbarrier is set up, its address must be kept");
      else kept.push(found);
    }
    return kept;
  }

  #keptBy(tree: Node, init: Instruction): Kept | undefined {
    const [item] = init.operands[0]?.kind === "address" ? init.operands[0].items : [];
    const base = item === undefined ? "" : namesIn(item.base as Operand)[0] ?? "";
    const offset = item?.offset === undefined ? 0n : numberOf(item.offset);
    const paths = pathsOf(tree);
    const [only] = paths;
    if (only === undefined || paths.length > 1 || only.steps.length > 0 || offset === undefined) {
      return undefined;
    }
    const value = (name: string, guard: boolean) =>
      evaluate(only.end.registers.get(name) ?? { kind: "constant", value: 0n }, valuesOf(base, init, guard));
    const names = [...only.end.registers.keys()];
    const live = names.find((name) =>
      value(name, true) === 1n && value(name, false) === (init.guard === undefined ? 1n : undefined)
    );
    const address = names.find((name) => value(name, true) === ADDRESS + offset);
    return live === undefined || address === undefined ? undefined : { init, live, address };
  }

  #checkGivenUp(events: readonly Event[], { live, address }: Kept, barrier: number): void {
    const at = events.findIndex((e) => {
      if (e.instruction.opcode !== "mbarrier" || e.guard?.kind !== "start" || e.guard.register !== live) {
        return false;
      }
      const values = (value: bigint): Values => ({
        ...NONE,
        start: (name) => name === address ? value : undefined,
      });
      return e.address !== undefined && evaluate(e.address, values(ADDRESS)) === ADDRESS;
    });
    if (at < 0 || barrier < 0 || at < barrier) {
      this.report(
        this.trees.gatherLine,
        "An mbarrier must be given up behind the barrier where the block gathers",
      );
    }
  }
}

const unknown = () => undefined;
const NONE: Values = {
  start: unknown,
  parameter: unknown,
  special: unknown,
  variable: unknown,
  result: unknown,
};

function valuesOf(base: string, init: Instruction, guard: boolean): Values {
  const holds = guard !== (init.guard?.negated ?? false);
  return {
    ...NONE,
    start: (name) => name === base ? ADDRESS : name === init.guard?.register ? (holds ? 1n : 0n) : undefined,
  };
}

function eventsOf({ steps }: Path): Event[] {
  return steps.flatMap((step) => step.kind === "choice" ? [] : [step]);
}

function isWait({ instruction: { opcode, modifiers }, guard }: Event, name: string): boolean {
  return guard === undefined && opcode + modifiers.join("") === name;
}

function waitsForAll({ instruction: { operands } }: Event): boolean {
  const [count] = operands;
  return count?.kind === "constant" && numberOf(count.value) === 0n;
}
