/**
 * What does NVIDIA's assembler make of a rewritten module, on the boards that Calypte runs on?
 *
 * Registers and static shared memory of each kernel, beside the original's. Nothing depends on ptxas: where it is not
 * installed there is no answer.
 */

import { type Callable, isKernel } from "./ast.ts";
import { parseModule } from "./parser.ts";
import { assemble, type PtxasOptions } from "./ptxas.ts";
import type { Level } from "./report.ts";
import type { Finding } from "./verify.ts";

/** Orin, Hopper, Thor. */
const ARCHITECTURES = [87, 90, 110] as const;
/** A thread has no more, whatever the kernel asks for. */
const MOST_REGISTERS = 255;
/** The word that tells of a block that was given up, and what aligning it takes. */
const MOST_SHARED_BYTES = 16;

interface Use {
  readonly registers: number;
  readonly sharedBytes: number;
}

/**
 * What a module breaks once it is assembled; undefined where ptxas is not installed. An architecture is left out where the
 * original does not assemble either. Throws PtxError where a text cannot be parsed.
 */
export function verifyAssembled(
  original: string,
  rewritten: string,
  levels: ReadonlyMap<string, Level>,
  file: string,
  options: Pick<PtxasOptions, "ptxas"> = {},
): Finding[] | undefined {
  const before = parseModule(original, file);
  const isDynamic = before.items.some((item) =>
    item.kind === "variable" && item.space === ".shared" && item.linkage.includes(".extern")
  );
  const kernels = before.items.filter(isKernel).filter(({ name }) =>
    (levels.get(name) ?? "whole") !== "whole"
  );
  const findings: Finding[] = [];
  for (const arch of architecturesOf(before.target[0] ?? "")) {
    const [was, is] = [original, rewritten].map((text) => assemble(text, { ...options, arch }));
    if (was === undefined || is === undefined) return undefined;
    if (!was.ok) continue;
    if (!is.ok) {
      const error = is.messages.split("\n").find((line) => /error|fatal/.test(line)) ?? "";
      const line = Number(/line (\d+)/.exec(error)?.[1] ?? 1);
      findings.push({ kernel: "", line, rule: `For ${arch} it does not assemble: ${error}` });
      continue;
    }
    const [old, now] = [usesOf(was.messages), usesOf(is.messages)];
    for (const kernel of kernels) {
      for (const rule of rulesOf(old.get(kernel.name), now.get(kernel.name), isDynamic)) {
        findings.push({ kernel: kernel.name, line: lineOf(rewritten, kernel), rule: `For ${arch}, ${rule}` });
      }
    }
  }
  return findings;
}

function rulesOf(old: Use | undefined, now: Use | undefined, isDynamic: boolean): string[] {
  if (old === undefined || now === undefined) return ["ptxas says nothing about it"];
  const rules: string[] = [];
  if (now.registers > MOST_REGISTERS) rules.push(`it takes ${now.registers} registers`);
  const grown = now.sharedBytes - old.sharedBytes;
  if (grown > MOST_SHARED_BYTES) rules.push(`its shared memory grows by ${grown} bytes`);
  if (grown > 0 && isDynamic) rules.push(`${grown} bytes of shared memory stand in front of its dynamic one`);
  return rules;
}

/** What is made for one architecture alone, with an "a" behind it, assembles for no other. */
function architecturesOf(target: string): string[] {
  const [, number, alone] = /^sm_(\d+)([af]?)/.exec(target) ?? [];
  if (alone !== "") return target === "" ? [] : [target];
  return ARCHITECTURES.filter((arch) => arch >= Number(number)).map((arch) => `sm_${arch}`);
}

function usesOf(messages: string): Map<string, Use> {
  const uses = new Map<string, Use>();
  let kernel = "";
  for (const line of messages.split("\n")) {
    kernel = /Compiling entry function '([^']+)'/.exec(line)?.[1] ?? kernel;
    const registers = /Used (\d+) registers/.exec(line)?.[1];
    if (registers === undefined) continue;
    const sharedBytes = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0);
    uses.set(kernel, { registers: Number(registers), sharedBytes });
  }
  return uses;
}

function lineOf(text: string, { name }: Callable): number {
  const at = text.search(new RegExp(`\\.entry\\s+${name.replaceAll("$", "\\$")}\\b`));
  return at < 0 ? 1 : text.slice(0, at).split("\n").length;
}
