/**
 * Programs for arm64 on a machine of another kind: what `tools/setup.sh arm64` has built, run by qemu-user.
 *
 * The emulator does not reorder memory accesses as an arm64 processor may, and is some ten times slower: nothing here judges times, and
 * docs/JETSON.md says what that leaves untested.
 */
import { EMULATED, missing, ROOT } from "./place.ts";

if (missing !== undefined) console.warn(`arm64 is not tested: ${missing}`);

/** A test of something that runs on arm64; ignored, with the reason above, where there is no emulator. */
export function arm64Test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `arm64: ${name}`, ignore: missing !== undefined, fn });
}

export interface Ended {
  code: number;
  out: string;
  err: string;
}

/** Deno for arm64; processes that it starts of its own kind run on arm64 too. */
export function deno(
  args: readonly string[],
  folder: string,
  env: Record<string, string> = {},
): Deno.ChildProcess {
  return new Deno.Command(`${EMULATED}/deno`, {
    args: [...args],
    cwd: folder,
    env: {
      NO_COLOR: "1",
      CALYPTE_DENO: `${EMULATED}/deno`,
      CALYPTE_LIBRARY: `${EMULATED}/libcalypte.so`,
      CALYPTE_CACHE: "off",
      CALYPTE_STATE: "off",
      ...env,
    },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** `calypte ...` on arm64. What it leaves lies in `folder`. */
export function calypte(
  args: readonly string[],
  folder: string,
  env: Record<string, string> = {},
): Deno.ChildProcess {
  return deno(
    ["run", "-A", "--quiet", "--no-prompt", "--cached-only", `${ROOT}/agent/entry.ts`, ...args],
    folder,
    { CALYPTE_RUN_DIR: `${folder}/run`, ...env },
  );
}

/**
 * A native program for arm64, to its end. Where an assertion of the emulator itself fails, as seldom happens where many threads begin at once,
 * nothing was said of the program, and it is run again.
 */
export async function native(program: string, args: readonly string[], timeoutMs = 120_000): Promise<Ended> {
  for (let again = 3;; --again) {
    const command = new Deno.Command(`${EMULATED}/run`, {
      args: [program, ...args],
      // Of a thousand random missions: the others differ in nothing that depends on the processor. In fewer, what is seldom is not met.
      env: { CALYPTE_MISSIONS: "200" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.timeout(timeoutMs),
    });
    const result = ended(await command.output());
    const itself = ownFailure(result);
    if (itself === undefined || again === 0) return result;
    console.warn(`the emulator failed and is started again: ${itself}`);
  }
}

/** The assertion of the emulator's own sources that ended a program; `undefined`: the program ended by itself. */
export function ownFailure({ code, err }: Ended): string | undefined {
  return code === 0 ? undefined : err.match(/^Bail out! (ERROR:\.\.\/\.\.\/.*)$/m)?.[1];
}

export function ended({ code, stdout, stderr }: Deno.CommandOutput): Ended {
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}
