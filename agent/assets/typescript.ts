/**
 * How does the executable load TypeScript that it does not hold: a bundle's reference, a policy of the user's own?
 *
 * Deno's runtime in a tree knows TypeScript; the one in an executable knows JavaScript only. So types are taken out first, and every
 * line stays where it was. What is more than types (`enum`, `namespace`, parameter properties) is refused. What takes the types out is large
 * and loaded only here.
 */
import { InputError, type Where } from "../errors.ts";
import { path } from "../std/mod.ts";
import { isExecutable } from "./place.ts";
import { privateFolder, scratchFolder } from "./private_folder.ts";

/** TypeScript as JavaScript, line by line. Throws `InputError`. */
export async function withoutTypes(text: string, where: Where): Promise<string> {
  const { transformSync } = await import("amaro");
  try {
    return transformSync(text, { mode: "strip-only" }).code;
  } catch (error) {
    const why =
      (error instanceof Error ? error.message : String((error as { message?: unknown })?.message ?? error))
        .trim().split("\n")[0];
    throw new InputError({
      ...where,
      rule: `is TypeScript that cannot be read: ${why}`,
      remedy: "the executable takes types out and nothing else: no enum, namespace or parameter property",
    }, { cause: error });
  }
}

/** Imports a module by its file. Throws `InputError` for TypeScript that cannot be read, and what `import` throws. */
export async function importFile(file: string): Promise<Record<string, unknown>> {
  const real = path.resolve(file);
  if (!isExecutable()) return await import(path.toFileUrl(real).href);
  privateFolder(scratchFolder());
  const copy = await Deno.makeTempDir({ dir: scratchFolder(), prefix: "modules-" });
  try {
    await copyModules(real, copy);
    return await import(path.toFileUrl(copy + real).href);
  } finally {
    // It is loaded.
    await Deno.remove(copy, { recursive: true });
  }
}

/** Copies the module and those that it imports by their paths, without types, to the same paths below `folder`. */
export async function copyModules(file: string, folder: string): Promise<void> {
  const seen = new Set<string>();
  const todo = [file];
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    if (seen.has(next)) continue;
    seen.add(next);
    const text = await Deno.readTextFile(next);
    const code = /\.m?ts$/.test(next) ? await withoutTypes(text, { file: next, field: "" }) : text;
    await Deno.mkdir(path.dirname(folder + next), { recursive: true });
    await Deno.writeTextFile(folder + next, code);
    for (const name of importedPaths(code)) todo.push(path.resolve(path.dirname(next), name));
  }
}

/** What a module imports by a path. What only looks like it, in a text say, must exist all the same; nobody writes that. */
export function importedPaths(code: string): string[] {
  const names = /\b(?:from|import)\s*\(?\s*(["'])(\.{1,2}\/[^"'\n]+)\1/g;
  return [...code.matchAll(names)].map((match) => match[2]!);
}
