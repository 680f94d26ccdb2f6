/**
 * What may text do that stands between the instructions of the original body?
 *
 * It passes on what the worker keeps across a virtual block, touches memory nowhere but in a checkpoint, and cannot be
 * gone around.
 */

import type { Instruction } from "./ast.ts";
import type { Roles, Trees } from "./verify_block.ts";
import type { Walk } from "./verify_flow.ts";
import { type Checkpoint, hasGivenUp } from "./verify_loop.ts";
import type { Report } from "./verify_module.ts";
import { type End, type Node, type Path, pathsOf } from "./verify_tree.ts";

export class PortChecker {
  constructor(
    readonly walk: Walk,
    readonly ports: ReadonlyMap<Instruction, Node>,
    readonly report: Report,
  ) {}

  check(
    trees: Pick<Trees, "enter"> & Partial<Trees>,
    roles: Roles | undefined,
    checkpoints: readonly Checkpoint[],
  ): void {
    const { body } = this.walk;
    const isCheckpoint = new Set(checkpoints.map(({ port }) => port));
    for (const [port, tree] of this.ports) {
      const isBarrier = body.replaced.get(port)?.kind === "barrier";
      for (const path of pathsOf(tree)) {
        const touching = path.steps.find(({ kind }) => kind !== "choice");
        if (touching !== undefined && !isBarrier && !isCheckpoint.has(port)) {
          this.report(port.line, "Only a checkpoint may touch memory, or wait, in the middle of the body");
        }
        if (roles !== undefined) this.#checkKept(port, path, roles);
      }
    }
    const { enter, gather } = trees;
    const all = [enter, ...(gather === undefined ? [] : [gather]), ...this.ports.values()];
    const ends = all.flatMap((tree) => pathsOf(tree).map(({ end }) => end));
    for (const [now, replacement] of body.replaced) {
      if (replacement.kind === "grid") this.#checkGrid(now, replacement, ends);
    }
    for (const { port, compare } of checkpoints) {
      if (compare === undefined && roles !== undefined) this.#checkAround(port, all, roles);
    }
  }

  /** What is read in place of %nctaid has just been loaded, on every way. */
  #checkGrid(
    now: Instruction,
    { axis, register }: { axis: string; register: string },
    ends: readonly End[],
  ): void {
    const expected = `${this.walk.body.pair.prefix}grid_${axis.slice(1)}`;
    const arrivals = ends.filter(({ to, at }) => to === "original" && at === now);
    const isLoaded = arrivals.every(({ registers }) => {
      const term = registers.get(register);
      return term?.kind === "parameter" && term.name === expected;
    });
    if (!isLoaded || arrivals.length === 0 || this.#comesDirectly(now)) {
      this.report(now.line, `%nctaid${axis} must come from the parameter ${expected}`);
    }
  }

  #comesDirectly(now: Instruction): boolean {
    return [...this.walk.body.originals.keys()].some((other) => this.walk.after.next(other).includes(now));
  }

  /** Every way to the loop's header leads through its countdown. */
  #checkAround(port: Instruction, trees: readonly Node[], roles: Roles): void {
    const own = this.ports.get(port);
    for (const tree of trees) {
      for (const { end } of own === undefined ? [] : pathsOf(own)) {
        if (end.to !== "original" || end.at === undefined || hasGivenUp(end, roles)) continue;
        const isElsewhere = tree !== own &&
          pathsOf(tree).some((path) => path.end.to === "original" && path.end.at === end.at);
        if (isElsewhere || this.#comesDirectly(end.at)) {
          return this.report(port.line, "A way leads around the countdown of a checkpoint");
        }
      }
    }
  }

  #checkKept(port: Instruction, { end }: Path, { next, count, idle, gathering }: Roles): void {
    const { axes, originals } = this.walk.body;
    if (end.to === "return" || end.to === "lost") return;
    const kept = new Set([next, count, ...axes.values(), ...idle]);
    for (const name of kept) {
      const term = end.registers.get(name);
      if (term === undefined || (term.kind === "start" && term.register === name)) continue;
      // Who sets up an mbarrier notes it; who gives up says so, on the way to the others.
      const isNote = idle.has(name) && name !== gathering?.register &&
        [...originals].some(([now, old]) =>
          old.opcode === "mbarrier" && this.walk.after.next(now).includes(port)
        );
      const isGivingUp = name === gathering?.register && term.kind === "constant" && term.value === 1n &&
        (end.to === "gather" || this.walk.body.replaced.get(end.at ?? port)?.kind === "barrier");
      if (!isNote && !isGivingUp) {
        this.report(port.line, `Text in the body changes ${name}, which the worker keeps`);
      }
    }
  }
}
