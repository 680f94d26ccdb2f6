/** Builds the C test double of the library (fixtures/double.c), once per set of definitions. */
import type { OpenOptions } from "../../ffi/engine.ts";
import { openLibrary } from "../../ffi/library.ts";
import { NativeEngine } from "../../ffi/native_engine.ts";
import { fromFileUrl } from "@std/path";

export const HEADER_FOLDER = fromFileUrl(new URL("../../ffi/native/include", import.meta.url));
const SOURCE = fromFileUrl(new URL("./fixtures/double.c", import.meta.url));

let folder: string | undefined;
const built = new Map<string, string>();

/** Buffers through which the double shows what was passed in. */
export const SHOW = {
  work: 1000,
  options: 1001,
  plan: 1002,
  module: 1003,
  profile: 1004,
  faults: 1005,
  replay: 1006,
} as const;

/** The virtual time at which an engine of the double does not close. */
export const STUCK_NS = 20_001;

/** A folder for what the tests build; gone when the process ends. */
export function buildFolder(): string {
  if (folder === undefined) {
    const made = Deno.makeTempDirSync({ prefix: "calypte-ffi-" });
    globalThis.addEventListener("unload", () => Deno.removeSync(made, { recursive: true }));
    folder = made;
  }
  return folder;
}

/** Runs the C compiler; throws with its words. */
export function compile(...args: string[]): void {
  const { success, stderr } = new Deno.Command("gcc", { args: ["-std=c11", `-I${HEADER_FOLDER}`, ...args] })
    .outputSync();
  if (!success) throw new Error(`gcc ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

/** Path of the double, compiled with `-D` for each definition. */
export function double(...definitions: string[]): string {
  const key = definitions.join(" ");
  let path = built.get(key);
  if (path === undefined) {
    path = `${buildFolder()}/double-${built.size}.so`;
    compile("-shared", "-fPIC", ...definitions.map((each) => `-D${each}`), SOURCE, "-o", path);
    built.set(key, path);
  }
  return path;
}

/** A test with an engine over the double. */
export function testEngine(
  name: string,
  body: (engine: NativeEngine) => void,
  options?: Partial<OpenOptions>,
): void {
  Deno.test(name, () => {
    using library = openLibrary(double());
    using engine = NativeEngine.open(library, { backend: "sim", ...options });
    body(engine);
  });
}
