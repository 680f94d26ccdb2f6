/**
 * Which of the modules of others belong into the executable?
 *
 * `deno compile` embeds every package that the lock file names, and the executable reads all of it whenever it starts. So what only tests
 * and tools import is taken out of both files first.
 */

/** What no module of the program imports. If one begins to, compiling fails and names it. */
const TESTS_ONLY: readonly string[] = [
  "@seriousme/openapi-schema-validator",
  "@std/assert",
  "ajv/2020",
  "fast-check",
  "playwright-core",
  // Copied into the dashboard, as a file.
  "uplot",
];

interface Config {
  imports: Record<string, string>;
}

interface Lock {
  specifiers: Record<string, string>;
  npm: Record<string, { dependencies?: string[] }>;
  workspace: { dependencies: string[] };
}

/** deno.json and deno.lock as texts, for the program alone. Throws `Error` if a name is not among the imports any more. */
export function shipped(configText: string, lockText: string): { config: string; lock: string } {
  const config = JSON.parse(configText) as Config;
  for (const name of TESTS_ONLY) {
    if (config.imports[name] === undefined) throw new Error(`deno.json imports no ${name}: drop it here too`);
    delete config.imports[name];
  }
  const lock = JSON.parse(lockText) as Lock;
  const packages = new Set(Object.values(config.imports).map(packageOf));
  const kept = Object.entries(lock.specifiers).filter(([specifier]) => packages.has(specifier));
  lock.specifiers = Object.fromEntries(kept);
  lock.workspace.dependencies = lock.workspace.dependencies.filter((specifier) => packages.has(specifier));
  lock.npm = reachable(lock.npm, kept.map(([specifier, version]) => `${nameOf(specifier)}@${version}`));
  return { config: JSON.stringify(config, null, 2) + "\n", lock: JSON.stringify(lock, null, 2) + "\n" };
}

/** `npm:deno-std@1.4.0/path/mod.js` is a file of `npm:deno-std@1.4.0`. */
function packageOf(specifier: string): string {
  return specifier.match(/^npm:(@[^/]+\/)?[^/]+/)?.[0] ?? specifier;
}

function nameOf(specifier: string): string {
  return specifier.slice("npm:".length, specifier.lastIndexOf("@"));
}

/** A dependency is named with its version only where there are several of it. */
function reachable(all: Lock["npm"], roots: readonly string[]): Lock["npm"] {
  const found = new Set<string>();
  const visit = (wanted: string) => {
    const key = Object.keys(all).find((key) => key === wanted || key.startsWith(`${wanted}@`));
    if (key === undefined) throw new Error(`deno.lock names no ${wanted}`);
    if (found.has(key)) return;
    found.add(key);
    for (const dependency of all[key]?.dependencies ?? []) visit(dependency);
  };
  roots.forEach(visit);
  return Object.fromEntries(Object.entries(all).filter(([key]) => found.has(key)));
}
