/** Which PTX do the tests read? The fixtures, by name, and the zoo of a developer who has one (PTX_ZOO=folder). */

import { assemble } from "../../ptx/ptxas.ts";

const FOLDER = new URL("../fixtures/ptx/", import.meta.url);

export const FIXTURES = [
  "atomics",
  "calls",
  "elementwise",
  "grids",
  "hardware",
  "reduction",
  "syntax",
  "tables",
] as const;

export function fixture(name: typeof FIXTURES[number]): string {
  return Deno.readTextFileSync(new URL(`${name}.ptx`, FOLDER));
}

/** Name and text of each file in the zoo; empty where there is none. */
export function zoo(): { name: string; text: string }[] {
  const folder = Deno.env.get("PTX_ZOO");
  if (folder === undefined) return [];
  const names = [...Deno.readDirSync(folder)].map((f) => f.name).filter((n) => n.endsWith(".ptx")).sort();
  return names.map((name) => ({ name, text: Deno.readTextFileSync(`${folder}/${name}`) }));
}

/** The first line of what stands against running ptxas here, or undefined. */
export function whyNoPtxas(): string | undefined {
  const result = assemble(".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry k() { ret; }\n");
  if (result === undefined) return "ptxas is not installed";
  return result.ok ? undefined : `ptxas does not assemble for sm_80: ${result.messages.split("\n")[0]}`;
}

/** A module with one kernel around these statements. */
export function kernelText(body: string, head = "", parameters = ".param .u64 p, .param .u32 n"): string {
  return `.version 8.5
.target sm_80
.address_size 64
${head}
.visible .entry k(${parameters})
{
	.reg .pred %p<10>;
	.reg .b16 %h<10>;
	.reg .b32 %r<20>;
	.reg .b64 %rd<20>;
	.shared .align 16 .b8 tile[1024];
${body}
}
`;
}
