/** Under which names can text be inserted into a module, so that nothing in it is meant by accident? */

import type { Module, Statement, Variable } from "./ast.ts";
import type { WrapperNames } from "./wrapper_text.ts";

/** The first of `calypte_`, `calypte1_`, `calypte2_` … that no name in the module begins with. */
export function freshNames(module: Module): WrapperNames {
  const used = new Set<string>();
  const note = (name: string) => used.add(/^[%$]?(calypte[0-9]*_)/i.exec(name)?.[1]?.toLowerCase() ?? "");
  const noteVariable = (variable: Variable) => variable.names.forEach((d) => note(d.name));
  const noteBody = (body: readonly Statement[]) => {
    for (const s of body) {
      if (s.kind === "variable") noteVariable(s);
      else if (s.kind === "scope") noteBody(s.body);
      else if (s.kind === "label" || s.kind === "targets" || s.kind === "prototype") note(s.name);
    }
  };
  for (const item of module.items) {
    if (item.kind === "variable") noteVariable(item);
    if (item.kind !== "function") continue;
    note(item.name);
    [...item.results, ...item.parameters].forEach(noteVariable);
    noteBody(item.body ?? []);
  }
  for (let i = 0;; i++) {
    const name = `calypte${i === 0 ? "" : i}_`;
    if (used.has(name)) continue;
    return {
      register: `%${name}`,
      label: `$${name.toUpperCase()}`,
      variable: name,
      param: (of) => name + of,
    };
  }
}
