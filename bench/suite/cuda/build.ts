/**
 * Compiles bench/suite/cuda/*.cu to PTX, each with the lowest version that it needs: for every GPU from sm_80 on, and
 * async.cu from sm_90 on. Takes nvcc on the PATH.
 *
 * ```sh
 * deno run -A bench/suite/cuda/build.ts
 * ```
 */
import { parseModule } from "../../../ptx/mod.ts";
import { lowestVersion } from "../../../ptx/version.ts";

const NEEDS_SM_90 = ["async.cu"];

const folder = import.meta.dirname!;
for (const { name } of [...Deno.readDirSync(folder)].toSorted((a, b) => a.name.localeCompare(b.name))) {
  if (!name.endsWith(".cu")) continue;
  const target = `${folder}/${name.replace(/cu$/, "ptx")}`;
  const arch = NEEDS_SM_90.includes(name) ? "compute_90" : "compute_80";
  const { success } = await new Deno.Command("nvcc", {
    args: ["-std=c++17", `-arch=${arch}`, "--ptx", "-o", target, `${folder}/${name}`],
  }).output();
  if (!success) throw new Error(`nvcc failed on ${name}`);
  const text = Deno.readTextFileSync(target);
  const version = lowestVersion(parseModule(text, name));
  Deno.writeTextFileSync(target, text.replace(/^\.version .*$/m, `.version ${version}`));
}
