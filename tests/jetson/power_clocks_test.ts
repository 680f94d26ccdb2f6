import { boardFiles } from "../../jetson/board_files.ts";
import { boardWriter, holdGpuClocks } from "../../jetson/power_clocks.ts";
import { governed, ORIN_GOVERNOR } from "../../jetson/thermal_governor.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../assert.ts";
import { MemoryFiles } from "./board_fixture.ts";

const ORIN = "/sys/class/devfreq/17000000.gpu";

function writerOf(files: MemoryFiles, refuse: (path: string) => boolean = () => false) {
  return (path: string, text: string) => {
    if (refuse(path)) return Promise.reject(new Deno.errors.PermissionDenied("no"));
    files.files.set(path, text);
    return Promise.resolve();
  };
}

Deno.test("the GPU's clocks are held at the power mode's highest, and what was there is put back", async () => {
  const files = await MemoryFiles.of("orin-nano-jp6");
  const hold = await holdGpuClocks({ files, write: writerOf(files) });
  assert(typeof hold === "object");
  assertEquals(hold.heldHz, { [ORIN]: 624_750_000 });
  assertEquals(files.files.get(`${ORIN}/min_freq`), "624750000");
  assertEquals(files.files.get("/sys/class/devfreq/15340000.vic/min_freq"), "115200000\n");
  await hold.release();
  assertEquals(files.files.get(`${ORIN}/min_freq`), "306000000");
  files.files.set(`${ORIN}/min_freq`, "408000000");
  await hold.release();
  assertEquals(files.files.get(`${ORIN}/min_freq`), "408000000", "a second release changes nothing");
});

Deno.test("without leave to write, the reason says which file, and nothing is changed", async () => {
  const files = await MemoryFiles.of("thor-jp7");
  const before = files.files.get("/sys/class/devfreq/gpu-gpc-0/min_freq");
  const why = await holdGpuClocks({ files, write: writerOf(files, () => true) });
  assert(typeof why === "string");
  assertStringIncludes(why, "/sys/class/devfreq/gpu-gpc-0/min_freq may not be written");
  assertEquals(files.files.get("/sys/class/devfreq/gpu-gpc-0/min_freq"), before);
});

Deno.test("of two clocks of which one cannot be held, neither is", async () => {
  const files = await MemoryFiles.of("thor-jp7");
  const second = "/sys/class/devfreq/gpu-gpc-1";
  files.files.set(`${second}/min_freq`, "1");
  files.files.set(`${second}/max_freq`, "2");
  const why = await holdGpuClocks({ files, write: writerOf(files, (path) => path.startsWith(second)) });
  assertEquals(typeof why, "string");
  assertEquals(files.files.get("/sys/class/devfreq/gpu-gpc-0/min_freq"), "315000000");
});

Deno.test("a desktop has no such clock, and bounds that cannot be read are said to be so", async () => {
  const desktop = await MemoryFiles.of("desktop");
  assertEquals(await holdGpuClocks({ files: desktop, write: writerOf(desktop) }), undefined);
  const files = await MemoryFiles.of("orin-jp7");
  files.files.set(`${ORIN}/max_freq`, "fast");
  assertEquals(await holdGpuClocks({ files, write: writerOf(files) }), `${ORIN}: its bounds cannot be read`);
});

Deno.test("the writer makes no file that was not there", async () => {
  const root = await Deno.makeTempDir();
  try {
    await assertRejects(() => boardWriter(root)("/min_freq", "1"), Deno.errors.NotFound);
    assertEquals(await boardFiles(root).list("/"), []);
  } finally {
    await Deno.remove(root);
  }
});

const PERIOD_MS = 33;
const DEADLINE_MS = 15;
/** At full clocks; a tenth of the time goes to the host and does not depend on them. */
const EXECUTION_MS = 9;

/**
 * A detector at 30 Hz beside background that fills the rest, with a governor that looks every 100 ms. Three faults make it miss;
 * then safe mode holds background until `clearAfterS` without a miss. Returns misses by second.
 */
function flight(minHz: number, { seconds = 60, faultsAtS = 10, clearAfterS = 10 } = {}) {
  const fullHz = ORIN_GOVERNOR.stepsHz.at(-1)!;
  let hz = fullHz;
  let missAtS = -Infinity;
  const recent: number[] = [];
  let safe = false;
  let busyMs = 0;
  let lookedAtMs = 0;
  let faults = 3;
  const misses: number[] = [];
  let safeS = 0;
  for (let atMs = 0; atMs < seconds * 1000; atMs += PERIOD_MS) {
    const atS = atMs / 1000;
    const fault = atS >= faultsAtS && faults > 0;
    if (fault) faults--;
    const executionMs = EXECUTION_MS * (0.1 + 0.9 * fullHz / hz) + (fault ? DEADLINE_MS : 0);
    if (executionMs > DEADLINE_MS) {
      misses.push(atS);
      missAtS = atS;
      recent.push(atS);
      if (recent.filter((at) => at > atS - 10).length >= 3) safe = true;
    } else if (safe && atS - missAtS > clearAfterS) safe = false;
    if (safe) safeS += PERIOD_MS / 1000;
    busyMs += safe ? Math.min(executionMs, PERIOD_MS) : PERIOD_MS;
    if (atMs - lookedAtMs >= 100) {
      hz = governed(ORIN_GOVERNOR, hz, Math.min(1, busyMs / (atMs - lookedAtMs)), minHz);
      [busyMs, lookedAtMs] = [0, atMs];
    }
  }
  return { misses, safeS, hz };
}

Deno.test("safe mode does not slow the detector down while the clocks are held: it ends by itself", async () => {
  const files = await MemoryFiles.of("orin-nano-jp6");
  const hold = await holdGpuClocks({ files, write: writerOf(files) });
  assert(typeof hold === "object");
  const { misses, safeS, hz } = flight(hold.heldHz[ORIN]!);
  assertEquals(misses.length, 3);
  assert(safeS > 9 && safeS < 12, `safe mode took ${safeS} s`);
  assertEquals(hz, ORIN_GOVERNOR.stepsHz.at(-1));
});

Deno.test("the same governor left alone drops the clocks in safe mode, and the misses never end", () => {
  const { misses, safeS } = flight(0);
  assert(misses.length > 500, `${misses.length} misses`);
  assert(safeS > 45, "safe mode is never left");
});

Deno.test("the governor's model: full clocks under full load, the lowest that suffices otherwise, never below its bound", () => {
  const full = ORIN_GOVERNOR.stepsHz.at(-1)!;
  assertEquals(governed(ORIN_GOVERNOR, 306e6, 1), full);
  assertEquals(governed(ORIN_GOVERNOR, full, 0.3), 306e6);
  assertEquals(governed(ORIN_GOVERNOR, full, 0.45), 408e6);
  assertEquals(governed(ORIN_GOVERNOR, full, 0.05, full), full);
});
