/** Does nothing rewritten run that a second reading objects to? */
import { assert, assertEquals, assertStringIncludes, assertThrows } from "../assert.ts";
import { builtinPtx } from "../../agent/builtin.ts";
import { InputError } from "../../agent/errors.ts";
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

const KERNEL = `// made by a compiler, which says .version 1.0 here
//
.version 9.0
.target sm_80
.address_size 64
.visible .entry one(.param .u64 out)
{
  .reg .b32 %r<2>;
  .reg .b64 %rd<2>;
  ld.param.u64 %rd0, [out];
  mov.u32 %r0, %tid.x;
  INSTRUCTION
  st.global.u32 [%rd0], %r0;
  ret;
}
`;

Deno.test("PTX that is too new by its label alone gets the lowest label that it allows, and is the same otherwise", () => {
  const ptx = KERNEL.replace("INSTRUCTION", "add.u32 %r0, %r0, 1;");
  assertEquals(
    checkpointCompiler.forDriver(ptx, "k.ptx", 82),
    ptx.replace(".version 9.0", ".version 7.0"),
  );
});

Deno.test("PTX that the driver takes stays as it is, and so does any where the driver's version is not known", () => {
  const ptx = KERNEL.replace("INSTRUCTION", "");
  for (const newest of [90, 93, 0]) assertEquals(checkpointCompiler.forDriver(ptx, "k.ptx", newest), ptx);
});

Deno.test("PTX whose instructions the driver does not know is refused with both versions and what to do", () => {
  const ptx = KERNEL.replace("INSTRUCTION", "").replace("sm_80", "sm_110");
  const error = assertThrows(() => checkpointCompiler.forDriver(ptx, "k.ptx", 82), InputError);
  assertEquals(error.rule, "must be PTX 8.2 or older for this driver, and needs 9.0");
  assertStringIncludes(error.remedy ?? "", "JetPack");
});
