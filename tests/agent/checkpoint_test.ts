/** Does nothing rewritten run that a second reading objects to? */
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";
import { builtinPtx } from "../../agent/builtin.ts";
import { checkpointCompiler, compilerWith, type RewriteRequest } from "../../agent/checkpoint.ts";

const REQUEST: RewriteRequest = {
  ptx: builtinPtx(),
  file: "builtin.ptx",
  kernels: ["calypte_copy", "calypte_fill"],
  pins: new Map(),
  level: "block",
  overlaps: new Map(),
};

/** Whether the text gives this kernel the parameters of a worker. */
function isRewritten(text: string, kernel: string): boolean {
  return new RegExp(`\\.entry ${kernel}\\([^)]*_control`).test(text);
}

Deno.test("only the kernels asked for are rewritten, and the second reading finds nothing", () => {
  const { text, kernels } = checkpointCompiler.rewrite(REQUEST);
  assertEquals([...kernels].map(([name, { level }]) => [name, level]), [
    ["calypte_copy", "block"],
    ["calypte_fill", "block"],
  ]);
  assert(isRewritten(text, "calypte_copy") && isRewritten(text, "calypte_fill"));
  assert(!isRewritten(text, "calypte_upload"));
});

Deno.test("a kernel that the second reading objects to stays as it is, with the objection; the others do not", () => {
  const compiler = compilerWith((_original, text) =>
    isRewritten(text, "calypte_copy") ? [{ kernel: "calypte_copy", line: 7, rule: "a store came twice" }] : []
  );
  const { text, kernels } = compiler.rewrite(REQUEST);
  assert(!isRewritten(text, "calypte_copy") && isRewritten(text, "calypte_fill"));
  assertEquals(kernels.get("calypte_copy")?.level, "whole");
  assertStringIncludes(kernels.get("calypte_copy")?.reasons[0] ?? "", "a store came twice (line 7 there)");
  assertEquals(kernels.get("calypte_fill")?.level, "block");
});

Deno.test("an objection to the module leaves all kernels as they are", () => {
  const compiler = compilerWith(() => [{ kernel: "", line: 1, rule: "a variable is gone" }]);
  const { text, kernels } = compiler.rewrite(REQUEST);
  assert(!isRewritten(text, "calypte_copy") && !isRewritten(text, "calypte_fill"));
  assertEquals([...kernels.values()].map(({ level }) => level), ["whole", "whole"]);
});
