/** Which bundles are there to check? Those of examples/ and of bench/ alike. */
import { path } from "../../agent/std/mod.ts";

export const ROOT = path.resolve(import.meta.dirname!, "../..");

export interface BundleFolder {
  name: string;
  dir: string;
}

/** Every folder with a bundle.json, by name. */
export const BUNDLE_FOLDERS: readonly BundleFolder[] = ["examples/bundles", "bench/bundles"]
  .flatMap((parent) => {
    const dir = path.join(ROOT, parent);
    return [...Deno.readDirSync(dir)]
      .filter((entry) => entry.isDirectory)
      .map(({ name }) => ({ name, dir: path.join(dir, name) }));
  })
  .filter(({ dir }) => [...Deno.readDirSync(dir)].some(({ name }) => name === "bundle.json"))
  .sort((a, b) => a.name < b.name ? -1 : 1);
