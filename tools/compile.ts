/**
 * Makes the one executable, dist/calypte: agent, native library, built-in policies, dashboard and examples.
 *
 *   deno task compile [--target aarch64-unknown-linux-gnu] [--library FILE] [--output FILE]
 *
 * What goes in is copied into dist/stage first: nothing gets in by lying about, and the program finds its files under the same
 * paths on every machine that it was compiled on. Nothing is made anew while nothing of it has changed. Exit status 0: it is there; 1: it
 * failed; 3: there is no runtime to be had here.
 */
import { PERMISSIONS } from "../agent/assets/permissions.ts";
import { V8_FLAGS } from "../agent/assets/place.ts";
import { EXAMPLE_FILES, EXAMPLE_FOLDERS } from "../agent/commands/examples.ts";
import { PLOT, plotFolder } from "../agent/dashboard/assets.ts";
import { parseArgs, path } from "../agent/std/mod.ts";
import {
  type Compiler,
  exists,
  NoRuntime,
  ownCompiler,
  substituteCompiler,
  substituteFile,
  type Target,
} from "./denort.ts";
import { shipped } from "./shipped_modules.ts";

const ROOT = path.fromFileUrl(new URL("..", import.meta.url)).replace(/\/$/, "");
const ENTRY = "agent/entry.ts";
const LIBRARY = "build/libcalypte.so";

/** What the program consists of, by folder. Modules are found by their imports; the rest is embedded as it is. */
const SOURCES: readonly { folder: string; files: RegExp; deep?: boolean }[] = [
  { folder: "agent", files: /\.(ts|json|html|css|js|svg|png|ico|woff2|txt)$/, deep: true },
  { folder: "ffi", files: /\.ts$/ },
  { folder: "ffi/native/kernels", files: /\.ptx$/ },
  { folder: "jetson", files: /\.(ts|json)$/, deep: true },
  { folder: "policies", files: /\.ts$/ },
  { folder: "ptx", files: /\.ts$/ },
  ...EXAMPLE_FOLDERS.map((name) => ({ folder: `examples/${name}`, files: EXAMPLE_FILES, deep: true })),
];

/** Read while it runs, or started as a Worker: what no import names. */
const EMBEDDED = [
  LIBRARY,
  "agent/policy_worker.ts",
  "agent/profiles",
  "agent/dashboard",
  "ffi/native/kernels/builtin.ptx",
  ...EXAMPLE_FOLDERS.map((name) => `examples/${name}`),
];

/** What decides how it is made: a change there makes it anew. */
const MAKERS = [new URL(import.meta.url).pathname, `${ROOT}/tools/shipped_modules.ts`];

export interface CompileOptions {
  target: Target;
  /** libcalypte.so for that target. */
  library: string;
  output: string;
}

/** As on this machine. Throws `NoRuntime` if Calypte does not run here. */
export function hostTarget(): Target {
  if (Deno.build.target === "x86_64-unknown-linux-gnu") return Deno.build.target;
  if (Deno.build.target === "aarch64-unknown-linux-gnu") return Deno.build.target;
  throw new NoRuntime(`there is no executable for ${Deno.build.target}`);
}

export const HOST_LIBRARY = `${ROOT}/${LIBRARY}`;
export const HOST_OUTPUT = `${ROOT}/dist/calypte`;

/** By Debian's name of the architecture. */
export function targetOf(arch: "amd64" | "arm64"): Target {
  return arch === "amd64" ? "x86_64-unknown-linux-gnu" : "aarch64-unknown-linux-gnu";
}

/** Where the native library for a target is built: `make build`, or `make cross`. */
export function libraryFor(target: Target): string {
  return target === Deno.build.target ? HOST_LIBRARY : `${ROOT}/build/${target.split("-")[0]}/libcalypte.so`;
}

export function outputFor(target: Target): string {
  return target === Deno.build.target ? HOST_OUTPUT : `${HOST_OUTPUT}-${target.split("-")[0]}`;
}

/** Returns what made it, or `undefined` if it was up to date. Throws `NoRuntime` where there is none, `Error` if it failed. */
export async function compile(options: CompileOptions): Promise<string | undefined> {
  const { target, library, output } = options;
  const stage = `${ROOT}/dist/stage-${target.split("-")[0]}`;
  const files = await listFiles();
  const digest = await digestOf(files, library, target);
  const stamp = `${stage}.digest`;
  if (exists(output) && exists(stamp) && await Deno.readTextFile(stamp) === digest) return undefined;
  await Deno.remove(stage, { recursive: true }).catch(ignoreNotFound);
  await Deno.remove(stamp).catch(ignoreNotFound);
  for (const name of files) await copy(`${ROOT}/${name}`, `${stage}/${name}`);
  for (const name of Object.values(PLOT)) {
    await copy(`${plotFolder()}/${name}`, `${stage}/agent/dashboard/${name}`);
  }
  await copy(library, `${stage}/${LIBRARY}`);
  await leaveOutTests(stage);
  const by = await compileStage(stage, options);
  await Deno.writeTextFile(stamp, digest);
  return by;
}

async function leaveOutTests(stage: string): Promise<void> {
  const [config, lock] = [`${stage}/deno.json`, `${stage}/deno.lock`];
  const texts = shipped(await Deno.readTextFile(config), await Deno.readTextFile(lock));
  await Deno.writeTextFile(config, texts.config);
  await Deno.writeTextFile(lock, texts.lock);
}

async function compileStage(stage: string, { target, output }: CompileOptions): Promise<string> {
  // What was needed the last time is needed now: asking takes seconds where nobody answers.
  const known = (Deno.env.get("DENORT_BIN") ?? "") === "" && exists(substituteFile(ROOT));
  let reason: string | undefined;
  if (!known) {
    const own = ownCompiler(ROOT);
    reason = await attempt(own, stage, target, output);
    if (reason === undefined) return own.name;
    if (!/denort|error sending request|dns error|Setting up base binary/.test(reason)) {
      throw new Error(reason);
    }
  }
  try {
    const substitute = await substituteCompiler(ROOT, target);
    const failure = await attempt(substitute, stage, target, output);
    if (failure !== undefined) throw new Error(failure);
    return substitute.name;
  } catch (error) {
    if (!(error instanceof NoRuntime) || reason === undefined) throw error;
    throw new NoRuntime(`${lastLine(reason)}; ${error.message}`, { cause: error });
  }
}

/** What it said if it failed. */
async function attempt(
  compiler: Compiler,
  stage: string,
  target: Target,
  output: string,
): Promise<string | undefined> {
  const part = `${output}.part`;
  await Deno.mkdir(path.dirname(output), { recursive: true });
  const args = [
    ...["compile", "--quiet", "--no-prompt", "--no-check", "--frozen", "--config", `${stage}/deno.json`],
    // Code that was kept from an earlier start would be read from a file in a folder that others may write to.
    "--no-code-cache",
    V8_FLAGS,
    ...["--target", target, "--output", part],
    ...PERMISSIONS.map(({ flag }) => flag),
    ...EMBEDDED.filter((name) => exists(`${stage}/${name}`)).flatMap((
      name,
    ) => ["--include", `${stage}/${name}`]),
    `${stage}/${ENTRY}`,
  ];
  const command = new Deno.Command(compiler.deno, {
    args,
    cwd: stage,
    env: { NO_COLOR: "1", ...await registry(), ...compiler.env },
    stdin: "null",
    stdout: "null",
  });
  const { success, stderr } = await command.output();
  if (!success) return new TextDecoder().decode(stderr).trim();
  await Deno.rename(part, output);
  return undefined;
}

/** Deno asks the registry that npm asks, as in tools/setup.sh. */
async function registry(): Promise<Record<string, string>> {
  if ((Deno.env.get("NPM_CONFIG_REGISTRY") ?? "") !== "") return {};
  try {
    const { success, stdout } = await new Deno.Command("npm", {
      args: ["config", "get", "registry"],
      stderr: "null",
    })
      .output();
    return success ? { NPM_CONFIG_REGISTRY: new TextDecoder().decode(stdout).trim() } : {};
  } catch {
    return {};
  }
}

async function listFiles(): Promise<string[]> {
  const found = ["deno.json", "deno.lock", "LICENSE"];
  for (const { folder, files, deep } of SOURCES) await list(folder, files, deep === true, found);
  return found.sort();
}

async function list(folder: string, files: RegExp, deep: boolean, found: string[]): Promise<void> {
  if (!exists(`${ROOT}/${folder}`)) return;
  for await (const { name, isDirectory, isFile } of Deno.readDir(`${ROOT}/${folder}`)) {
    // What a run has left of results is not the program's.
    if (isDirectory && deep && name !== "out") await list(`${folder}/${name}`, files, deep, found);
    if (isFile && files.test(name)) found.push(`${folder}/${name}`);
  }
}

async function digestOf(files: readonly string[], library: string, target: Target): Promise<string> {
  const lines = [target, Deno.env.get("DENORT_BIN") ?? "", ...PERMISSIONS.map(({ flag }) => flag)];
  for (
    const file of [...files.map((name) => `${ROOT}/${name}`), library, ...MAKERS]
  ) {
    const hash = await crypto.subtle.digest("SHA-256", await Deno.readFile(file));
    lines.push(`${file} ${hex(hash)}`);
  }
  return lines.join("\n") + "\n";
}

function hex(bytes: ArrayBuffer): string {
  return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function copy(from: string, to: string): Promise<void> {
  await Deno.mkdir(path.dirname(to), { recursive: true });
  await Deno.copyFile(from, to);
}

function ignoreNotFound(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

function lastLine(text: string): string {
  return text.split("\n").find((line) => /error sending request/.test(line))?.trim() ?? text.split("\n")[0] ??
    "";
}

async function main(): Promise<number> {
  const args = parseArgs(Deno.args, { string: ["target", "library", "output"] }) as Record<
    string,
    string | undefined
  >;
  const host = hostTarget();
  const target = (args.target ?? host) as Target;
  if (!/^(x86_64|aarch64)-unknown-linux-gnu$/.test(target)) {
    console.error(`compile: no such target: ${target}; there are x86_64- and aarch64-unknown-linux-gnu`);
    return 1;
  }
  const library = args.library ?? libraryFor(target);
  const output = args.output ?? outputFor(target);
  if (!exists(library)) {
    console.error(
      `compile: ${library} is not there: run \`make build\`, or name one for ${target} with --library`,
    );
    return 1;
  }
  try {
    const by = await compile({ target, library, output });
    const { size } = await Deno.stat(output);
    const how = by === undefined ? "is up to date" : `was made with ${by}`;
    console.error(`compile: ${path.relative(Deno.cwd(), output)} ${how}; ${(size / 1e6).toFixed(0)} MB`);
    return 0;
  } catch (error) {
    console.error(`compile: ${error instanceof Error ? error.message : String(error)}`);
    return error instanceof NoRuntime ? 3 : 1;
  }
}

if (import.meta.main) Deno.exit(await main());
