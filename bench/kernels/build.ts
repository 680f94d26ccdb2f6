/**
 * Compiles bench/kernels/micro.cu to PTX that every GPU from sm_80 on takes, with the lowest version it needs.
 * Takes nvcc on the PATH.
 */
import { parseModule } from "../../ptx/mod.ts";
import { lowestVersion } from "../../ptx/version.ts";

const folder = import.meta.dirname!;
const { success } = await new Deno.Command("nvcc", {
  args: ["-arch=compute_80", "--ptx", "-o", `${folder}/micro.ptx`, `${folder}/micro.cu`],
}).output();
if (!success) throw new Error("nvcc failed on micro.cu");
const text = Deno.readTextFileSync(`${folder}/micro.ptx`);
const version = lowestVersion(parseModule(text, "micro.ptx"));
Deno.writeTextFileSync(`${folder}/micro.ptx`, text.replace(/^\.version .*$/m, `.version ${version}`));
