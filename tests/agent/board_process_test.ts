import {
  linesOf,
  type Link,
  openSensors,
  OwnSensors,
  type Request,
  SensorProcess,
  serveSensors,
  spawnLink,
  within,
} from "../../agent/board_process.ts";
import { emptySample } from "../../jetson/telemetry.ts";
import { assert, assertEquals, assertRejects } from "../assert.ts";
import { NVML_VARIABLE } from "../../jetson/telemetry_nvml.ts";
import { buildFolder, compile } from "../ffi/double.ts";
import { fixture } from "../jetson/board_fixture.ts";

const FOREIGN_NVML = new URL("../fixtures/foreign/nvml.c", import.meta.url).pathname;

const CLOCK = "/sys/class/devfreq/17000000.gpu";

/** A copy of a board's GPU clock: it is written. */
async function boardFolder(): Promise<string> {
  const { root } = await fixture("orin-nano-jp6");
  const copy = await Deno.makeTempDir();
  await Deno.mkdir(`${copy}${CLOCK}/device/of_node`, { recursive: true });
  for (const file of ["min_freq", "max_freq", "cur_freq", "device/of_node/name"]) {
    await Deno.copyFile(`${root}${CLOCK}/${file}`, `${copy}${CLOCK}/${file}`);
  }
  return copy;
}

Deno.test("a process reads the sensors as the agent would, holds the clocks, and puts them back when its input ends", async () => {
  const root = await boardFolder();
  try {
    const link = spawnLink(root);
    assert(link !== undefined);
    const [board, sample, held] = await Promise.all([
      link.ask({ op: "board" }),
      link.ask({ op: "sample", nowNs: 7 }),
      link.ask({ op: "hold" }),
    ]);
    const own = new OwnSensors(root);
    assertEquals(board, JSON.parse(JSON.stringify(await own.board())));
    assertEquals(sample, await own.sample(7));
    assertEquals(held, { [CLOCK]: 624_750_000 });
    assertEquals(await Deno.readTextFile(`${root}${CLOCK}/min_freq`), "624750000");
    // As at the death of the agent: nothing is said, the line is cut.
    link.close();
    await link.over;
    assertEquals(await Deno.readTextFile(`${root}${CLOCK}/min_freq`), "306000000");
    assertEquals(await link.ask({ op: "board" }), undefined);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("nonsense from the agent's side ends the process, with the clocks put back", async () => {
  const root = await boardFolder();
  try {
    const answers: string[] = [];
    const input = ReadableStream.from(
      ['{"op":"hold"}\n', "{nonsense\n"].map((text) => new TextEncoder().encode(text)),
    );
    await assertRejects(
      () => serveSensors(input, (line) => answers.push(line), new OwnSensors(root)),
      SyntaxError,
    );
    assertEquals(answers.length, 1);
    assertEquals(await Deno.readTextFile(`${root}${CLOCK}/min_freq`), "306000000");
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

class FakeLink implements Link {
  ended = false;
  readonly over = Promise.resolve();
  readonly asked: Request[] = [];
  closed = 0;
  answer: unknown = { ...emptySample(0), powerWatts: 9 };
  ask(request: Request) {
    this.asked.push(request);
    return Promise.resolve(this.ended ? undefined : this.answer);
  }
  close() {
    this.closed++;
  }
}

Deno.test("while the process is gone nothing is known; it is started again after 10 s, and holds the clocks again", async () => {
  const links: FakeLink[] = [];
  const sensors = new SensorProcess(() => (links.push(new FakeLink()), links.at(-1)!));
  assertEquals((await sensors.sample(1e9)).powerWatts, 9);
  await sensors.hold();
  links[0]!.ended = true;
  assertEquals(await sensors.sample(2e9), emptySample(2e9));
  assertEquals(await sensors.sample(11e9), emptySample(11e9));
  assertEquals(links.length, 1);
  assertEquals((await sensors.sample(12e9)).powerWatts, 9);
  assertEquals(links[1]?.asked.map(({ op }) => op), ["hold", "sample"]);
  await sensors.release();
  assertEquals(links[1]?.closed, 1);
  assertEquals(await sensors.sample(99e9), emptySample(99e9));
});

Deno.test("a process that hangs holds up nothing for ever", async () => {
  const never = new Promise<void>(() => {});
  assertEquals(await within(never, 1), undefined);
  assertEquals(await within(Promise.resolve(5), 60_000), 5);
  assertEquals(await within(undefined, 60_000), undefined);
});

Deno.test("a program that may not start itself has no sensors, and says so when it is to hold the clocks", async () => {
  const sensors = new SensorProcess(() => undefined);
  assertEquals([await sensors.board(), await sensors.sample(1)], [undefined, emptySample(1)]);
  assertEquals(await sensors.hold(), "the process that reads sensors does not run");
  await sensors.release();
});

Deno.test("lines come whole however they are cut, and one that does not end is refused", async () => {
  const bytes = new TextEncoder().encode('{"a":"ü"}\n{"b":2}\nrest');
  const cut = ReadableStream.from([bytes.slice(0, 6), bytes.slice(6, 7), bytes.slice(7)]);
  const lines: string[] = [];
  for await (const line of linesOf(cut)) lines.push(line);
  assertEquals(lines, ['{"a":"ü"}', '{"b":2}']);
  const endless = ReadableStream.from(
    (function* () {
      while (true) yield new Uint8Array(65_536).fill(65);
    })(),
  );
  await assertRejects(async () => await Array.fromAsync(linesOf(endless)), RangeError);
});

Deno.test("a folder is read without another process", async () => {
  const { root, expected } = await fixture("thor-jp7");
  const sensors = openSensors(root);
  assert(sensors instanceof OwnSensors);
  assertEquals(await sensors.sample(1), expected.sample);
  await sensors.release();
});

Deno.test("of this machine the process reads /proc and /sys without leave for everything, and whom NVML shows", async () => {
  const stub = `${buildFolder()}/nvml-of-process.so`;
  compile("-shared", "-fPIC", FOREIGN_NVML, "-o", stub);
  Deno.env.set(NVML_VARIABLE, stub);
  try {
    const sensors = openSensors();
    assert(sensors instanceof SensorProcess);
    const board = await sensors.board();
    assertEquals(board?.kernel, (await Deno.readTextFile("/proc/sys/kernel/osrelease")).trim());
    const { memoryTotalBytes = 0 } = await sensors.sample(1);
    const [, totalKib] = /^MemTotal:\s+(\d+) kB/m.exec(await Deno.readTextFile("/proc/meminfo"))!;
    assertEquals(memoryTotalBytes, Number(totalKib) * 1024);
    assertEquals(await sensors.others([100]), {
      everyMs: 1000,
      users: [{ pid: 200, name: "slam_node" }, { pid: 300, name: "Xorg" }],
    });
    assertEquals((await sensors.others([100, 300]))?.users.map(({ pid }) => pid), [200]);
    await sensors.release();
  } finally {
    Deno.env.delete(NVML_VARIABLE);
  }
});

Deno.test("questions do not pile up behind a sensor that hangs, and others are unknown meanwhile", async () => {
  const asked: Request[] = [];
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const link: Link = {
    ended: false,
    over: Promise.resolve(),
    ask: (request) => (asked.push(request), promise),
    close() {},
  };
  const sensors = new SensorProcess(() => link, 1);
  assertEquals(await sensors.others([1]), undefined);
  assertEquals(await sensors.others([1, 2]), undefined);
  assertEquals(asked, [{ op: "others", own: [1] }]);
  resolve({ everyMs: 1, users: [] });
  assertEquals(await sensors.others([3]), { everyMs: 1, users: [] });
  assertEquals(asked.at(-1), { op: "others", own: [3] });
});
