/** On what was a cell run, and what did the GPU draw meanwhile? Reads only: it changes no clock and no mode. */

export interface Machine {
  /** Of the GPU; `simulated` for the simulator. */
  gpu: string;
  driver: string;
  /** Which one it is, by eight digits made of its identity; `none`: not known. */
  board: string;
  /** MHz, the highest the board allows; 0: not known. */
  smMhzMax: number;
  cpu: string;
  cpus: number;
  kernel: string;
  deno: string;
  commit: string;
}

const SMI = "nvidia-smi";

/** `commit`: where this is no checkout, as after a copy of the tree; else asked of git. */
export async function machineOf(backend: "sim" | "cuda", commit: string | undefined): Promise<Machine> {
  const [gpu = "unknown", driver = "unknown", smMhzMax = "0", uuid = ""] = backend === "sim"
    ? ["simulated", "none", "0"]
    : (await output(SMI, [
      "--query-gpu=name,driver_version,clocks.max.sm,uuid",
      "--format=csv,noheader,nounits",
      "--id=0",
    ]) ?? "").trim().split(", ");
  const cpu = (await Deno.readTextFile("/proc/cpuinfo")).match(/^(?:model name|Hardware)\s*: (.*)$/m)?.[1];
  return {
    ...{ gpu, driver, board: uuid === "" ? "none" : await shortHash(uuid), smMhzMax: Number(smMhzMax) || 0 },
    ...{ cpu: cpu ?? "unknown", cpus: navigator.hardwareConcurrency, kernel: Deno.osRelease() },
    deno: Deno.version.deno,
    commit: commit ?? (await output("git", ["rev-parse", "--short=12", "HEAD"]))?.trim() ?? "unknown",
  };
}

async function shortHash(text: string): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return Array.from(bytes.subarray(0, 4), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** `undefined`: there is no such program, or it failed. */
async function output(program: string, args: string[]): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(program, { args, stderr: "null" }).output();
    return success ? new TextDecoder().decode(stdout) : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

export interface PowerSample {
  /** Of `performance.now()`, in ms. */
  atMs: number;
  watts: number;
  smMhz: number;
}

/** Energy by the trapezoid rule between two times, and the clocks seen; `undefined` with fewer than two samples. */
export function energyOf(
  samples: readonly PowerSample[],
  beginMs: number,
  endMs: number,
): { joules: number; smMhz: [number, number] } | undefined {
  const mine = samples.filter(({ atMs }) => atMs >= beginMs && atMs <= endMs);
  if (mine.length < 2) return undefined;
  let joules = 0;
  for (const [i, { atMs, watts }] of mine.entries()) {
    const before = mine[i - 1];
    if (before !== undefined) joules += (watts + before.watts) / 2 * (atMs - before.atMs) / 1000;
  }
  const [first, last] = [mine[0]!, mine.at(-1)!];
  // What lies outside the first and last sample counts at their power.
  joules += (first.atMs - beginMs) / 1000 * first.watts + (endMs - last.atMs) / 1000 * last.watts;
  const clocks = mine.map(({ smMhz }) => smMhz);
  return { joules, smMhz: [Math.min(...clocks), Math.max(...clocks)] };
}

/** Asks `nvidia-smi` all along, in a process of its own, as every system's cells do alike. */
export class PowerLog implements AsyncDisposable {
  readonly samples: PowerSample[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#reading = this.#read(child.stdout);
  }

  /** `undefined`: there is no nvidia-smi. */
  static start(periodMs = 250): PowerLog | undefined {
    const args = ["--query-gpu=power.draw,clocks.sm", "--format=csv,noheader,nounits", "--id=0", `-lms`];
    try {
      return new PowerLog(
        new Deno.Command(SMI, { args: [...args, String(periodMs)], stdout: "piped", stderr: "null" }).spawn(),
      );
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    let rest = "";
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      const atMs = performance.now();
      for (const line of lines) {
        const [watts, smMhz] = line.split(", ").map(Number);
        if (watts! >= 0 && smMhz! >= 0) this.samples.push({ atMs, watts: watts!, smMhz: smMhz! });
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGTERM");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended
    }
    await this.#reading;
    await this.#child.status;
  }
}

/** Processor time that a process has used so far, in s; 0 if it is gone. */
export function cpuSecondsOf(pid: number | "self"): number {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    // The name, in parentheses, may hold anything. The kernel counts in hundredths of a second.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}
