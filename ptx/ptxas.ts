/**
 * What does NVIDIA's assembler say about a module? The only file of this folder that starts a process.
 *
 * Nothing depends on ptxas: where it is not installed, these functions return undefined.
 */

export interface PtxasOptions {
  /** Such as "sm_87"; the module's own target where absent. */
  readonly arch?: string;
  /** Program to run. */
  readonly ptxas?: string;
}

export interface PtxasResult {
  readonly ok: boolean;
  /** What ptxas wrote, resource use of each kernel included. */
  readonly messages: string;
}

/** Assembles a module and throws the result away. Undefined where ptxas is not installed or may not be run. */
export function assemble(text: string, options: PtxasOptions = {}): PtxasResult | undefined {
  const arch = options.arch ?? /^\s*\.target\s+(\w+)/m.exec(text)?.[1] ?? "sm_80";
  // ptxas reads no standard input.
  const file = Deno.makeTempFileSync({ suffix: ".ptx" });
  try {
    Deno.writeTextFileSync(file, text);
    const command = new Deno.Command(options.ptxas ?? "ptxas", {
      args: ["-v", `-arch=${arch}`, file, "-o", "/dev/null"],
      stdout: "piped",
      stderr: "piped",
    });
    const { code, stdout, stderr } = command.outputSync();
    const messages = new TextDecoder().decode(stderr) + new TextDecoder().decode(stdout);
    return { ok: code === 0, messages };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  } finally {
    Deno.removeSync(file);
  }
}

/**
 * Registers per thread of each kernel, to pass as `countRegisters` to reportModule and rewriteModule. Undefined where
 * ptxas is not installed or refuses the module.
 */
export function ptxasRegisters(
  text: string,
  _file: string,
  options: PtxasOptions = {},
): ReadonlyMap<string, number> | undefined {
  const result = assemble(text, options);
  if (result === undefined || !result.ok) return undefined;
  const registers = new Map<string, number>();
  let kernel: string | undefined;
  for (const line of result.messages.split("\n")) {
    kernel = /Compiling entry function '([^']+)'/.exec(line)?.[1] ?? kernel;
    const used = /Used ([0-9]+) registers/.exec(line)?.[1];
    if (used !== undefined && kernel !== undefined) registers.set(kernel, Number(used));
  }
  return registers;
}
