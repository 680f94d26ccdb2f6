/** The trees of boards, whole and damaged. */
import type { Board } from "../../jetson/board.ts";
import { type BoardFiles, boardFiles } from "../../jetson/board_files.ts";
import type { TelemetrySample } from "../../jetson/telemetry.ts";

export const FIXTURES = ["orin-nano-jp6", "agx-orin-jp6", "orin-jp7", "thor-jp7", "desktop", "none"] as const;

const FOLDER = new URL("../fixtures/jetson/", import.meta.url);

export async function fixture(
  name: string,
): Promise<{ root: string; expected: { board: Board; sample: TelemetrySample } }> {
  const expected = JSON.parse(await Deno.readTextFile(new URL(`${name}.json`, FOLDER)));
  return { root: new URL(name, FOLDER).pathname, expected };
}

/** Files by path; folders follow from them. */
export class MemoryFiles implements BoardFiles {
  readonly files: Map<string, string>;

  constructor(files: Readonly<Record<string, string>>) {
    this.files = new Map(Object.entries(files));
  }

  /** A whole fixture, for tests that change it. */
  static async of(name: string): Promise<MemoryFiles> {
    const { root } = await fixture(name);
    const files: Record<string, string> = {};
    const walk = async (path: string) => {
      for await (const { name, isDirectory } of Deno.readDir(root + path)) {
        if (isDirectory) await walk(`${path}/${name}`);
        else files[`${path}/${name}`] = await Deno.readTextFile(`${root}${path}/${name}`);
      }
    };
    await walk("");
    return new MemoryFiles(files);
  }

  text(path: string): Promise<string | undefined> {
    return Promise.resolve(this.files.get(path)?.replace(/^[\s\0]+|[\s\0]+$/g, ""));
  }

  list(path: string): Promise<string[]> {
    const names = new Set<string>();
    for (const file of this.files.keys()) {
      if (file.startsWith(`${path}/`)) names.add(file.slice(path.length + 1).split("/")[0]!);
    }
    return Promise.resolve([...names].sort((a, b) => a.localeCompare(b, "en", { numeric: true })));
  }
}

const GARBAGE = [
  "",
  "-",
  "NaN",
  "1e99",
  "0x10",
  "99999999999999999999",
  "-256000",
  "\x1b[31m",
  "ÿ",
  " 5 5 ",
  "7\n8",
];

/** Each read fails, lies or finds nothing with the given chances, by a seed. */
export function damaged(files: BoardFiles, seed: number, chance: number): BoardFiles {
  const random = randomOf(seed);
  return {
    async text(path) {
      if (random() >= chance) return await files.text(path);
      return random() < 0.5 ? undefined : GARBAGE[Math.floor(random() * GARBAGE.length)];
    },
    async list(path) {
      const names = await files.list(path);
      if (random() >= chance) return names;
      return random() < 0.5
        ? []
        : [...names.filter(() => random() < 0.5), "ghost", "thermal_zone99", "hwmon99"];
    },
  };
}

/** mulberry32. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
}

export { boardFiles };
