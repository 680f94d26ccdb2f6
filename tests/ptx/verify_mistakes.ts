/**
 * What is a planted mistake, and which can be made in the body of a rewritten kernel?
 *
 * Edits of the rewritten text, or of both texts where the compiler should not have rewritten at all. verify_test.ts plants
 * them.
 */

import { assert } from "../assert.ts";
import type { Level } from "../../ptx/mod.ts";
import { fixture, kernelText } from "./fixtures.ts";
import { WRITTEN } from "./preemption_kernels.ts";

export interface Mistake {
  readonly what: string;
  readonly of: string;
  readonly cap?: Level;
  readonly change: (text: string) => string;
  /** Of the original too, as a compiler would have seen it. */
  readonly both?: (text: string) => string;
  readonly rule: RegExp;
}

/** Replaces, and fails where there is nothing to replace. */
export const swap = (from: string | RegExp, to: string) => (text: string): string => {
  const changed = text.replace(from, to);
  assert(changed !== text, `Nothing to replace: ${from}`);
  return changed;
};
export const drop = (from: string | RegExp) => swap(from, "");

const { turns_together, meets_behind } = WRITTEN;
const grids = fixture("grids");

export const BODY: readonly Mistake[] = [
  {
    what: "an instruction is dropped",
    of: turns_together,
    change: drop("\tmad.lo.u32 %r6, %r6, 3, %r13;\n"),
    rule: /Expected mad\.lo\.u32 of line \d+ of the original, found sub\.u32/,
  },
  {
    what: "two instructions are swapped",
    of: turns_together,
    change: swap(/(\tst\.shared\.u32 \[%r11\], %r6;\n)(\tbar\.sync 0;\n)/, "$2$1"),
    rule: /Expected st\.shared\.u32 of line \d+ of the original, found bar\.sync/,
  },
  {
    what: "an instruction is done twice",
    of: turns_together,
    change: swap("\tmad.lo.u32 %r6, %r6, 3, %r13;\n", "$&$&"),
    rule: /Expected sub\.u32 of line \d+ of the original, found mad\.lo\.u32/,
  },
  {
    what: "an operand is another one",
    of: turns_together,
    change: swap("sub.u32 %r20, %r20, 1;", "sub.u32 %r20, %r20, 2;"),
    rule: /Expected sub\.u32/,
  },
  {
    what: "a guard is turned around",
    of: turns_together,
    change: swap("@%p1 bra", "@!%p1 bra"),
    rule: /Expected bra/,
  },
  {
    what: "a store moves in front of the loop's checkpoint",
    of: turns_together,
    change: (t) =>
      swap("\tmov.u32 %r20, %r1;\n", "\tst.global.u32 [%rd4], %r6;\n$&")(
        drop("\tst.global.u32 [%rd4], %r6;\n")(t),
      ),
    rule: /Expected mov\.u32 of line \d+ of the original, found st\.global/,
  },
  {
    what: "a register of the original is clobbered",
    of: turns_together,
    change: swap("\tadd.u32 %calypte_next, %calypte_next, 1;\n", "$&\tadd.u32 %r1, %calypte_next, 1;\n"),
    rule: /An inserted instruction writes %r1, which is the original's/,
  },
  {
    what: "%ctaid is left in",
    of: grids,
    change: swap(/mov\.u32 (%r\d+), %calypte_y;/, "mov.u32 $1, %ctaid.y;"),
    rule: /%ctaid of the launch is read instead of the virtual one/,
  },
  {
    what: "%ctaid.y comes from the register of another component",
    of: grids,
    change: swap(/mov\.u32 (%r\d+), %calypte_y;/, "mov.u32 $1, %calypte_x;"),
    rule: /comes from %calypte_x, which stands for %ctaid/,
  },
  {
    what: "the virtual block index leaves the width of the grid out",
    of: grids,
    change: swap("sub.u32 %calypte_x, %calypte_next, %calypte_w3;", "mov.u32 %calypte_x, %calypte_next;"),
    rule: /%ctaid must be that of virtual block/,
  },
  {
    what: "%nctaid.y is that of another axis",
    of: kernelText("mov.u32 %r1, %nctaid.y; ret;"),
    change: swap("[calypte_grid_y];\n\tmov.u32 %r1", "[calypte_grid_x];\n\tmov.u32 %r1"),
    rule: /%nctaid\.y must come from the parameter calypte_grid_y/,
  },
  {
    what: "a return stays",
    of: grids,
    change: swap("bra $CALYPTE_GATHER;", "ret;"),
    rule: /A return was left in/,
  },
  {
    what: "a return jumps past the place where the block gathers",
    of: turns_together,
    change: swap("bra $CALYPTE_GATHER;", "bra $CALYPTE_COUNT;"),
    rule: /From line \d+ of the original the place where the block gathers is not reached any more/,
  },
  {
    what: "shared memory is added in front of the kernel's own",
    of: meets_behind,
    cap: "loop",
    change: (t) => {
      const [word = ""] = /\t\.shared \.align 4 \.b32 calypte_given_up;\n/.exec(t) ?? [];
      return swap("\t.shared .align 16", `${word}$&`)(drop(word)(t));
    },
    rule: /Shared memory was added in front of the kernel's own/,
  },
  {
    what: "shared memory is added at level block",
    of: turns_together,
    cap: "block",
    change: swap("\t.reg .pred %calypte_closed", "\t.shared .align 4 .b32 calypte_more;\n$&"),
    rule: /Only registers, and at level loop one word of shared memory/,
  },
  {
    what: "an added parameter stands in front",
    of: turns_together,
    change: swap(/(\t\.param \.u32 n),\n(\t\.param \.u64 calypte_control)/, "$2,\n$1"),
    rule: /own parameters must stay, and come first/,
  },
  {
    what: "two added parameters change places",
    of: turns_together,
    change: swap(/(\t\.param \.u32 calypte_step),\n(\t\.param \.u32 calypte_steps)/, "$2,\n$1"),
    rule: /Added parameter 4 must be \.param \.u32 calypte_step/,
  },
  {
    what: "a kernel at level whole is touched",
    of: grids,
    cap: "whole",
    change: swap("mov.u32", "mov.b32"),
    rule: /level whole, must stay as it was/,
  },
  {
    what: "a global variable is touched",
    of: kernelText("ret;", ".global .u32 table[2] = {1, 2};"),
    change: swap("{1, 2}", "{1, 3}"),
    rule: /What is no rewritten kernel must stay as it was/,
  },
];
