/** How is a disk made full? A tiny tmpfs where this user may mount one; else the agent's files may not grow. */
import { path } from "../../agent/std/mod.ts";

/** Results of some seconds. */
const ROOM_BYTES = 8 * 2 ** 20;

export interface Disk {
  how: string;
  fill(): void;
  free(): void;
  close(): void;
}

/** `undefined`: this user may not mount. */
export function mountSmall(dir: string): Disk | undefined {
  Deno.mkdirSync(dir, { recursive: true });
  const mount = run("mount", ["-t", "tmpfs", "-o", `size=${ROOM_BYTES}`, "tmpfs", dir]);
  if (!mount) return undefined;
  const ballast = path.join(dir, "ballast");
  return {
    how: `a tmpfs of ${ROOM_BYTES >> 20} MiB, filled to the last byte`,
    fill() {
      using file = Deno.openSync(ballast, { write: true, create: true, append: true });
      let chunk = new Uint8Array(65536);
      while (chunk.length > 0) {
        try {
          if (file.writeSync(chunk) < chunk.length) throw new Error("full");
        } catch {
          chunk = chunk.subarray(0, chunk.length >> 1);
        }
      }
    },
    free: () => Deno.removeSync(ballast),
    close: () => {
      if (!run("umount", [dir])) run("umount", ["-l", dir]);
    },
  };
}

/** The agent's files may not grow beyond the size that this one has (RLIMIT_FSIZE), for a while. */
export function limitFiles(agentPid: number, file: string): Disk {
  const limit = (soft: string) => {
    if (!run("prlimit", ["--pid", String(agentPid), `--fsize=${soft}:`])) {
      throw new Error(
        "neither can a tmpfs be mounted nor the size of files be limited: no disk is full here",
      );
    }
  };
  return {
    how: "no tmpfs can be mounted: the agent's files may not grow (RLIMIT_FSIZE)",
    fill: () => limit(String(Deno.statSync(file).size)),
    free: () => limit("unlimited"),
    close() {},
  };
}

function run(program: string, args: string[]): boolean {
  try {
    return new Deno.Command(program, { args, stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}
