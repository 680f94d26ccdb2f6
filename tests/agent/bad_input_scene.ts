/** A mission that runs, to be broken, and the agent as a process that is given it. */
import { hexOf } from "../../agent/bundle_reader.ts";
import { path } from "../../agent/std/mod.ts";
import { libraryPath } from "../../ffi/mod.ts";
import { assertStringIncludes } from "../assert.ts";

const ROOT = path.join(path.dirname(path.fromFileUrl(import.meta.url)), "..", "..");
const MAIN = path.join(ROOT, "agent", "main.ts");
const TINY = path.join(ROOT, "tests", "fixtures", "bundles", "tiny");
export const PTX = "kernels.compute_50.ptx";
/** The tests need an agent that ends in time, not a fast machine. */
const HANGS_MS = 60_000;

const MISSION = `http: false
critical:
  detector:
    bundle: tiny
    source: { frames: frames, rate: 100Hz }
    deadline: 5ms
    output: { jsonl: out/detections.jsonl }
background:
  map: { bundle: tiny, source: { frames: frames }, output: { dir: out/maps } }
`;

// deno-lint-ignore no-explicit-any -- manifests are broken in every way
type Manifest = any;

/** A mission that runs, in a folder of its own. */
export class Scene {
  readonly dir = Deno.makeTempDirSync({ prefix: "calypte-bad-" });
  readonly mission = this.at("mission.yaml");
  readonly manifest = this.at("tiny/bundle.json");

  constructor() {
    for (const folder of ["tiny", "frames"]) Deno.mkdirSync(this.at(folder));
    for (const { name } of Deno.readDirSync(TINY)) {
      Deno.copyFileSync(`${TINY}/${name}`, this.at(`tiny/${name}`));
    }
    Deno.writeFileSync(this.at("frames/0.raw"), new Uint8Array(64));
    Deno.writeTextFileSync(this.mission, MISSION);
  }

  at(name: string): string {
    return path.join(this.dir, name);
  }

  /** Replaces a part of the mission that must be there. */
  say(part: string, instead: string): void {
    const text = Deno.readTextFileSync(this.mission);
    assertStringIncludes(text, part);
    Deno.writeTextFileSync(this.mission, text.replace(part, instead));
  }

  change(edit: (manifest: Manifest) => void): void {
    const manifest = JSON.parse(Deno.readTextFileSync(this.manifest));
    edit(manifest);
    Deno.writeTextFileSync(this.manifest, JSON.stringify(manifest));
  }

  /** Other bytes for a file of the bundle, with the hash that goes with them. */
  async replace(file: string, edit: (bytes: Uint8Array) => Uint8Array): Promise<void> {
    const bytes = Uint8Array.from(edit(Deno.readFileSync(this.at(`tiny/${file}`))));
    Deno.writeFileSync(this.at(`tiny/${file}`), bytes);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    this.change(({ modules, buffers }) => {
      for (const entry of [...modules, ...buffers]) if (entry.file === file) entry.sha256 = hexOf(digest);
    });
  }

  /** Every file and folder, to see that none was made, moved or taken away. */
  all(dir = this.dir): string[] {
    return [...Deno.readDirSync(dir)].flatMap(({ name, isDirectory }) => {
      const file = path.join(dir, name);
      return isDirectory ? [file, ...this.all(file)] : [file];
    }).sort();
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.dir, { recursive: true });
  }
}

export function start(args: readonly string[], env: Record<string, string> = {}): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-prompt", MAIN, ...args],
    env: { NO_COLOR: "1", CALYPTE_STATE: "off", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(HANGS_MS),
  }).spawn();
}

export async function calypte(
  args: readonly string[],
  env?: Record<string, string>,
): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await start(args, env).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}
function libraryExists(): boolean {
  try {
    return Deno.statSync(libraryPath()).isFile;
  } catch {
    return false;
  }
}
export const ignore = !libraryExists() && (Deno.env.get("CI") ?? "") === "";
