/**
 * Does the verifier have nothing to object to what the compiler makes, and does it see each of many planted mistakes?
 *
 * The mistakes stand in files of their own, verify_*mistakes.ts.
 */

import { assert, assertEquals } from "../assert.ts";
import { rewriteModule } from "../../ptx/mod.ts";
import type { Level } from "../../ptx/mod.ts";
import { type Finding, verifyRewrite } from "../../ptx/verify.ts";
import { verifyAssembled } from "../../ptx/verify_assembled.ts";
import { fixture, FIXTURES, whyNoPtxas, zoo } from "./fixtures.ts";
import { WRITTEN } from "./preemption_kernels.ts";
import { randomKernel } from "./random_kernel.ts";
import { textOf } from "./random_kernel_text.ts";
import { ALONE, LOOP, STRIPS } from "./verify_loop_mistakes.ts";
import { BODY } from "./verify_mistakes.ts";
import { PROTOCOL } from "./verify_protocol_mistakes.ts";

const SUITE = new URL("../../bench/suite/", import.meta.url);
const LEVELS: readonly Level[] = ["loop", "block", "slice", "whole"];

function rewrite(text: string, cap: Level, apart = false) {
  const names = [...text.matchAll(/\.entry\s+([\w$]+)/g)].map(([, name = ""]) => name);
  const result = rewriteModule(text, {
    file: "x",
    levels: new Map(names.map((name) => [name, cap])),
    ...(apart ? { overlap: () => false } : {}),
  });
  return { text: result.text, levels: new Map(result.kernels.map(({ kernel, level }) => [kernel, level])) };
}

function inWords(findings: readonly Finding[]): string[] {
  return findings.map(({ kernel, line, rule }) => `${kernel}:${line}: ${rule}`);
}

/** Verifies a module at each level that is safe, with parameters that may overlap and with those that do not. */
function mustVerify(text: string, file: string): void {
  const seen = new Set<string>();
  for (const cap of LEVELS) {
    for (const apart of cap === "loop" ? [false, true] : [false]) {
      const { text: rewritten, levels } = rewrite(text, cap, apart);
      if (seen.has(rewritten)) continue;
      seen.add(rewritten);
      assertEquals(inWords(verifyRewrite(text, rewritten, levels, file)), [], `${file} at level ${cap}`);
    }
  }
}

Deno.test("fixtures verify at each safe level", () => {
  for (const name of FIXTURES) mustVerify(fixture(name), name);
});

for (const part of ["cuda", "triton"]) {
  Deno.test(`kernels of the ${part} suite verify at each safe level`, () => {
    const folder = new URL(`${part}/`, SUITE);
    const names = [...Deno.readDirSync(folder)].map((f) => f.name).filter((n) => n.endsWith(".ptx")).sort();
    assert(names.length > 5);
    for (const name of names) mustVerify(Deno.readTextFileSync(new URL(name, folder)), name);
  });
}

Deno.test("kernels that show early returns, meetings, copies and mbarriers verify at each safe level", () => {
  for (const [name, text] of Object.entries(WRITTEN)) mustVerify(text, name);
});

Deno.test("random kernels verify at each safe level", () => {
  for (let seed = 1; seed <= 40; seed++) mustVerify(textOf(randomKernel(seed)), `random kernel ${seed}`);
});

Deno.test({
  name: "the zoo verifies at each safe level",
  ignore: zoo().length === 0,
  fn: () => {
    for (const { name, text } of zoo()) mustVerify(text, name);
  },
});

Deno.test({
  name: "what is assembled takes no more registers and shared memory than allowed",
  ignore: whyNoPtxas() !== undefined,
  fn: () => {
    for (const text of [fixture("reduction"), WRITTEN.meets_behind]) {
      const { text: rewritten, levels } = rewrite(text, "loop");
      assertEquals(verifyAssembled(text, rewritten, levels, "x"), []);
    }
    const text = WRITTEN.turns_alone;
    const { text: rewritten, levels } = rewrite(text, "block");
    const large = rewritten.replace(
      "%rd<20>;",
      "%rd<20>;\n.shared .b8 calypte_more[32];\nmov.u32 %r1, calypte_more;",
    );
    assert(
      verifyAssembled(text, large, levels, "x")?.some(({ rule }) => /shared memory grows by 32/.test(rule)),
    );
    const broken = rewritten.replace("bar.red", "bar.blue");
    assert(verifyAssembled(text, broken, levels, "x")?.some(({ rule }) => /does not assemble/.test(rule)));
  },
});

for (
  const { what, of, cap = "loop", change, both, rule } of [...BODY, ...PROTOCOL, ...LOOP, ...ALONE, ...STRIPS]
) {
  Deno.test(`a planted mistake is found: ${what}`, () => {
    const { text, levels } = rewrite(of, cap, true);
    assertEquals(verifyRewrite(of, text, levels, "x"), []);
    const findings = verifyRewrite(both?.(of) ?? of, change(both?.(text) ?? text), levels, "x");
    assert(
      findings.some((finding) => rule.test(finding.rule)),
      inWords(findings).join("\n") || "Nothing found",
    );
  });
}
