/**
 * How does a kernel become one whose grid is launched in ranges? Syntax tree in, syntax tree out.
 *
 * Level `slice`: every block runs by itself and ends as the original's blocks do, so that nothing has to be known about
 * barriers, copies or returns. Only which block it is comes from the launch.
 */

import type { Callable, Module, Statement } from "./ast.ts";
import { freshNames } from "./names.ts";
import { addParameters, rewriteIndex, wrap } from "./rewrite.ts";
import { type Axis, DIVISION_PARAMS, virtualIndex } from "./wrapper.ts";

/** Appended to the parameters of a kernel at level `slice`; a launch of `n` blocks has the grid (n, 1, 1). */
export const CALYPTE_SLICE_PARAMS = [
  { name: "calypte_first", type: "u32" },
  { name: "calypte_grid_x", type: "u32" },
  { name: "calypte_grid_y", type: "u32" },
  { name: "calypte_grid_z", type: "u32" },
  { name: "calypte_total", type: "u32" },
  ...DIVISION_PARAMS,
] as const;

/** Rewrites a kernel that safety.ts found fit for level `slice`. */
export function sliceKernel(
  module: Module,
  kernel: Callable & { body: readonly Statement[] },
): Callable & { body: readonly Statement[] } {
  const names = freshNames(module);
  const { register: r, param } = names;
  const axes = new Set<Axis>();
  const visit = (statement: Statement): Statement[] =>
    statement.kind === "scope"
      ? [{ ...statement, body: statement.body.flatMap(visit) }]
      : statement.kind === "instruction"
      ? rewriteIndex(statement, names, axes)
      : [statement];
  const body = kernel.body.flatMap(visit);
  const components = [...axes].map((axis) => `, ${r}${axis}`).join("");
  const before = `
	.reg .pred ${r}first;
	.reg .b32 ${r}next, ${r}extent, ${r}w<4>${components};
	mov.u32 ${r}next, %ctaid.x;
	ld.param.u32 ${r}w0, [${param("first")}];
	add.u32 ${r}next, ${r}next, ${r}w0;${virtualIndex(names, axes)}
${names.label}BODY:
`;
  return {
    ...kernel,
    parameters: addParameters(kernel, names, CALYPTE_SLICE_PARAMS),
    body: wrap(body, before, ""),
  };
}
