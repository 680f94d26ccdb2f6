/** A folder as the source of a job: what happens to each kind of file, and to a file whose agent ends. */
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "../assert.ts";
import { DirectoryQueue, type QueueOptions, type QueueUnit } from "../../agent/directory_queue.ts";
import { InputError } from "../../agent/errors.ts";
import { parseMission } from "../../agent/config.ts";
import { path } from "../../agent/std/mod.ts";
import { writeMission } from "./mission_fixture.ts";
import { checkpointCompiler } from "../../agent/checkpoint.ts";
import { loadMission } from "../../agent/config.ts";
import { SILENT } from "../../agent/log.ts";
import { readMissionFiles } from "../../agent/prepare.ts";
import { supervise } from "../../agent/supervisor.ts";
import { realTimers } from "../../agent/timers.ts";
import { FakeEngine, resultOf } from "./fake_engine.ts";

const BYTES = 4;

class Scene {
  readonly submitted: { number: number; text: string }[] = [];
  readonly warnings: string[] = [];
  readonly held = new Set<string>();
  nowNs = 0;
  room = Infinity;
  next = 0;
  constructor(readonly dir: string) {}

  queue(change: Partial<QueueOptions> = {}): DirectoryQueue {
    const note = (message: string, fields?: Record<string, unknown>) => {
      this.warnings.push(`${message}: ${fields?.file ?? ""} ${fields?.why ?? ""}`);
    };
    return new DirectoryQueue({
      dir: this.dir,
      keep: "done",
      inputBytes: BYTES,
      submit: (input) => {
        if (this.room-- <= 0) return undefined;
        this.submitted.push({ number: this.next, text: new TextDecoder().decode(input) });
        return this.next++;
      },
      holds: (unit: QueueUnit) => Promise.resolve(this.held.has(unit.id)),
      log: { ...SILENT, warn: note, info: note },
      nowNs: () => this.nowNs,
      ...change,
    });
  }

  /** Feeds again after each time that makes a difference. */
  async feedFor(queue: DirectoryQueue, seconds: number): Promise<void> {
    for (const endNs = this.nowNs + seconds * 1e9; this.nowNs < endNs; this.nowNs += 250e6) {
      await queue.feed();
    }
  }

  async drop(name: string, text: string): Promise<void> {
    await Deno.writeTextFile(path.join(this.dir, ".part"), text);
    await Deno.rename(path.join(this.dir, ".part"), path.join(this.dir, name));
  }

  list(...below: string[]): string[] {
    return [...Deno.readDirSync(path.join(this.dir, ...below))].map(({ name }) => name).sort();
  }
}

function sceneTest(name: string, test: (scene: Scene) => Promise<void>): void {
  Deno.test(name, async () => {
    const dir = await Deno.makeTempDir({ prefix: "calypte-queue-" });
    try {
      await test(new Scene(dir));
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}

sceneTest(
  "files are units, oldest first by name, and leave only when their results are durable",
  async (scene) => {
    await scene.drop("b", "bbbb");
    await scene.drop("a", "aaaa");
    const queue = scene.queue();
    await queue.feed();
    assertEquals(scene.submitted.map(({ text }) => text), ["aaaa", "bbbb"]);
    const unit = queue.claim(0)!;
    await queue.feed();
    assertEquals(scene.list(), ["a", "b"]);
    queue.end(unit, "durable");
    await queue.feed();
    assertEquals([scene.list(), scene.list("done")], [["b", "done"], ["a"]]);
    assertEquals(queue.claim(0), undefined);
  },
);

sceneTest("keep: none removes what is done", async (scene) => {
  await scene.drop("a", "aaaa");
  const queue = scene.queue({ keep: "none" });
  await queue.feed();
  queue.end(queue.claim(0)!, "durable");
  await queue.feed();
  assertEquals(scene.list(), []);
});

sceneTest(
  "an engine without room is asked again with the same file, and gets only a few ahead",
  async (scene) => {
    for (let i = 0; i < 9; i++) await scene.drop(`${i}`, `${i}${i}${i}${i}`);
    scene.room = 1;
    const queue = scene.queue({ ahead: 3 });
    await queue.feed();
    assertEquals(scene.submitted.length, 1);
    scene.room = 100;
    await queue.feed();
    await queue.feed();
    assertEquals(scene.submitted.map(({ text }) => text[0]), ["0", "1", "2"]);
  },
);

sceneTest(
  "a wrong size goes to failed/ with its reason, but only when nobody writes it any more",
  async (scene) => {
    await Deno.writeTextFile(path.join(scene.dir, "grows"), "a");
    await scene.drop("long", "12345");
    const queue = scene.queue();
    await scene.feedFor(queue, 1.5);
    assertEquals(scene.list(), ["grows", "long"]);
    await Deno.writeTextFile(path.join(scene.dir, "grows"), "aaa");
    await scene.feedFor(queue, 1);
    assertEquals(scene.list("failed"), ["long", "long.reason.json"]);
    await Deno.writeTextFile(path.join(scene.dir, "grows"), "aaaa");
    await scene.feedFor(queue, 1);
    assertEquals(scene.submitted.map(({ text }) => text), ["aaaa"]);
    const reason = await Deno.readTextFile(path.join(scene.dir, "failed", "long.reason.json"));
    assertEquals(JSON.parse(reason), {
      file: "long",
      reason: "must have 4 bytes, as the bundle's input, not 5",
    });
  },
);

sceneTest(
  "links are refused; folders, pipes and hidden files stay, and none of them stops the others",
  async (scene) => {
    await Deno.mkdir(path.join(scene.dir, "a-folder"));
    await Deno.symlink("/etc/hostname", path.join(scene.dir, "b-link"));
    await Deno.symlink("nowhere", path.join(scene.dir, "c-link"));
    await new Deno.Command("mkfifo", { args: [path.join(scene.dir, "d-pipe")] }).output();
    await Deno.writeTextFile(path.join(scene.dir, ".hidden"), "abcd");
    await scene.drop("e", "eeee");
    const queue = scene.queue();
    await scene.feedFor(queue, 12);
    assertEquals(scene.submitted.map(({ text }) => text), ["eeee"]);
    assertEquals(scene.list(), [".hidden", "a-folder", "d-pipe", "e", "failed"]);
    assertEquals(scene.list("failed"), ["b-link", "b-link.reason.json", "c-link", "c-link.reason.json"]);
    assertEquals(scene.warnings.filter((text) => text.includes("d-pipe")).length, 1);
  },
);

sceneTest("odd names are taken, put away and reported whole", async (scene) => {
  const names = [" ", "a\nb", "ä€🚁", "-rf", "%2e%2e", 'q"\\', "x".repeat(255), "\u001b[2J"].sort();
  for (const name of names) await Deno.writeTextFile(path.join(scene.dir, name), "good");
  const queue = scene.queue();
  await queue.feed();
  assertEquals(scene.submitted.length, names.length);
  for (let i = 0; i < names.length; i++) queue.end(queue.claim(i)!, "durable");
  await queue.feed();
  assertEquals(scene.list("done"), names);
  for (const name of names) await Deno.writeTextFile(path.join(scene.dir, name), "wrong size");
  await scene.feedFor(queue, 4);
  assertEquals(scene.list(), ["done", "failed"]);
  assertEquals(scene.list("failed").filter((name) => name.endsWith(".reason.json")).length, names.length);
  assert(scene.warnings.every((text) => !text.includes("\u001b")));
});

sceneTest("a file that cannot be read stays, is named once, and is taken when it can be", async (scene) => {
  // Permissions do not keep root from reading.
  await scene.drop("b", "bbbb");
  const locked = path.join(scene.dir, "a");
  await Deno.writeTextFile(locked, "aaaa");
  const read = Deno.readFile;
  let denied = true;
  Deno.readFile = (file, options) =>
    denied && file === locked ? Promise.reject(new Deno.errors.PermissionDenied("no")) : read(file, options);
  try {
    const queue = scene.queue();
    await scene.feedFor(queue, 12);
    assertEquals(scene.submitted.map(({ text }) => text), ["bbbb"]);
    assertEquals(scene.warnings, ["an input is left: a may not be read"]);
    denied = false;
    await scene.feedFor(queue, 6);
    assertEquals(scene.submitted.map(({ text }) => text), ["bbbb", "aaaa"]);
  } finally {
    Deno.readFile = read;
  }
});

sceneTest("a folder that vanishes is looked for until it is there again", async (scene) => {
  const queue = scene.queue();
  await Deno.remove(scene.dir);
  await scene.feedFor(queue, 2);
  assertEquals(scene.warnings.length, 1);
  await Deno.mkdir(scene.dir);
  await scene.drop("a", "aaaa");
  await scene.feedFor(queue, 1);
  assertEquals([scene.submitted.length, scene.warnings.length], [1, 2]);
});

sceneTest("a folder that vanishes under a unit costs nothing but the file", async (scene) => {
  await scene.drop("a", "aaaa");
  const queue = scene.queue();
  await queue.feed();
  await Deno.remove(scene.dir, { recursive: true });
  queue.end(queue.claim(0)!, "durable");
  await scene.feedFor(queue, 1);
  await Deno.mkdir(scene.dir);
  await scene.drop("a", "AAAA");
  await scene.feedFor(queue, 1);
  assertEquals(scene.submitted.map(({ text }) => text), ["aaaa", "AAAA"]);
});

sceneTest("what replaces a file while its unit runs is a unit of its own", async (scene) => {
  await scene.drop("a", "old.");
  const queue = scene.queue();
  await queue.feed();
  await scene.drop("a", "new.");
  queue.end(queue.claim(0)!, "durable");
  await scene.feedFor(queue, 1);
  assertEquals(scene.submitted.map(({ text }) => text), ["old.", "new."]);
});

sceneTest(
  "an agent that ends before the acknowledgement leaves the file, and the next one only puts it away",
  async (scene) => {
    await scene.drop("a", "aaaa");
    const first = scene.queue();
    await first.feed();
    scene.held.add(first.claim(0)!.id);
    const second = scene.queue();
    await second.feed();
    assertEquals([scene.submitted.length, scene.list("done")], [1, ["a"]]);
  },
);

sceneTest(
  "a lost result is tried again; a unit that fails three times is put away with the reason",
  async (scene) => {
    await scene.drop("a", "aaaa");
    const queue = scene.queue();
    await queue.feed();
    queue.end(queue.claim(0)!, "lost");
    await scene.feedFor(queue, 6);
    assertEquals(scene.submitted.length, 2);
    for (let tries = 1; tries <= 3; tries++) {
      queue.end(queue.claim(tries)!, "failed", "the unit was not completed");
      await scene.feedFor(queue, 1);
    }
    assertEquals([scene.submitted.length, scene.list("failed")], [4, ["a", "a.reason.json"]]);
  },
);

sceneTest("what a lost engine had in hand is submitted again, what it had done is not", async (scene) => {
  for (const name of ["a", "b"]) await scene.drop(name, name.repeat(4));
  const queue = scene.queue();
  await queue.feed();
  queue.engineLost();
  queue.end(queue.claim(0)!, "durable");
  await scene.feedFor(queue, 1);
  assertEquals(scene.submitted.map(({ text }) => text), ["aaaa", "bbbb", "bbbb"]);
  assertEquals(scene.list("done"), ["a"]);
});

Deno.test("two jobs never share a queue, and nobody writes into one", () => {
  const text = (second: string) =>
    `background:
  a: { bundle: a, source: { queue: in }, output: { jsonl: out/a.jsonl } }
  b: { bundle: b, ${second} }
`;
  const fields = (second: string) => {
    try {
      parseMission(text(second), "m.yaml");
    } catch (error) {
      if (error instanceof InputError) return error.problems.map(({ field }) => field);
    }
    return [];
  };
  assertEquals(fields("source: { queue: ./in }, output: { dir: b }"), ["background.b.source"]);
  assertEquals(fields("source: { none: true }, output: { dir: in }"), ["background.b.output"]);
  for (const inside of ["in/b.jsonl", "in/done/b.jsonl", "./in/../in/b.jsonl"]) {
    assertEquals(fields(`source: { none: true }, output: { jsonl: ${inside} }`), ["background.b.output"]);
  }
  assertEquals(fields("source: { none: true }, output: { jsonl: inside/b.jsonl }"), []);
  assertEquals(fields("source: { queue: other, keep: none }, output: { dir: b }"), []);
});

Deno.test("a queue whose results would not be on disk, each of them, is refused: its files would be gone for nothing", () => {
  const problem = (output: string) => {
    const text = `background: { a: { bundle: a, source: { queue: in, keep: none }, ${output} } }\n`;
    return assertThrows(() => parseMission(text, "m.yaml"), InputError).message;
  };
  for (const output of ["", "output: drop", "output: { shm: ring }"]) {
    assertStringIncludes(
      problem(output),
      "background.a.output: must be {jsonl} or {dir}: a file leaves a queue only",
    );
  }
  for (const output of ["output: { jsonl: o, every: 2 }", "output: { dir: o, every: 100 }"]) {
    assertStringIncludes(problem(output), "background.a.output.every: must be 1, not ");
  }
});

Deno.test("a run takes files from its queue to a durable result, and the next run does not write it twice", async () => {
  await using fixture = await writeMission();
  const { dir, file } = fixture;
  const queued = path.join(dir, "in");
  await Deno.mkdir(queued);
  await Deno.writeTextFile(
    file,
    (await Deno.readTextFile(file)).replace(
      /map: .*/,
      "map: { bundle: map, source: { queue: in }, output: { jsonl: out/map.jsonl } }",
    ),
  );
  await Deno.writeFile(path.join(queued, "one.raw"), new Uint8Array(512).fill(41));
  const run = async (until: (engine: FakeEngine) => Promise<void>) => {
    const engine = new FakeEngine();
    const ticks: (() => void)[] = [];
    const stop = Promise.withResolvers<string>();
    const timers = {
      every: (_: number, tick: () => void) => (ticks.push(tick), () => {}),
      pause: realTimers.pause,
    };
    await supervise({
      engine,
      checkpoint: checkpointCompiler,
      files: await readMissionFiles(await loadMission(file)),
      log: SILENT,
      version: "0",
      seed: 1,
      timers,
      stop: stop.promise,
      onReady: async () => {
        for (let i = 0; i < 400; i++) {
          for (const tick of ticks) tick();
          await realTimers.pause(5);
          try {
            await until(engine);
            break;
          } catch { /* not yet */ }
        }
        stop.resolve("enough");
      },
    });
    return engine.submitted.length;
  };
  const gone = (engine: FakeEngine) => {
    if (engine.submitted.length > 0 && engine.released.length === 0 && engine.results.length === 0) {
      engine.results = [resultOf({ simulated: true, position: 100, doneNs: 5 })];
    }
    return assertRejects(() => Deno.stat(path.join(queued, "one.raw")), Deno.errors.NotFound).then(() => {});
  };
  assertEquals(await run(gone), 1);
  const lines = async () =>
    (await Deno.readTextFile(path.join(dir, "out", "map.jsonl"))).trimEnd().split("\n");
  const [line, ...more] = await lines();
  const { input, inputId, values } = JSON.parse(line!);
  assertEquals([input, values.answer[0][0], more], ["one.raw", 42, []]);
  assertEquals(inputId.length, 32);
  // As if the agent had ended between the result and its acknowledgement.
  await Deno.rename(path.join(queued, "done", "one.raw"), path.join(queued, "one.raw"));
  assertEquals(await run(gone), 0);
  assertEquals((await lines()).length, 1);
});
