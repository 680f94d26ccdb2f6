/** Inputs that kill their job's process: which are put away, which never, and what of it a restart or a power cut forgets. */
import { assert, assertEquals } from "../assert.ts";
import { DirectoryQueue, type QueueOptions } from "../../agent/directory_queue.ts";
import { InputSuspects } from "../../agent/input_suspects.ts";
import { KeptSuspects } from "../../agent/kept_suspects.ts";
import { SILENT } from "../../agent/log.ts";
import { path } from "../../agent/std/mod.ts";
import { Store } from "../../agent/store/store.ts";
import { CrashFiles, MarkedFiles, seeded } from "./store/crash_files.ts";

const DIGESTS = new Map([["job", "digest"]]);
const GOOD = "good";
const BAD = "bad!";

/** A job with a queue: its process works in order and dies over what is bad. Time is the scene's. */
class Job {
  deaths = 0;
  forgiven: string[] = [];
  warnings: string[] = [];
  /** Contents, in the order in which they were begun. */
  begun: string[] = [];
  kills: (text: string) => boolean = (text) => text === BAD;
  nowNs = 0;
  queue!: DirectoryQueue;
  store: Store | undefined;
  #next = 0;
  /** With the process. */
  #open: { number: number; text: string }[] = [];

  constructor(readonly dir: string) {}

  async drop(name: string, text: string): Promise<void> {
    await Deno.writeTextFile(path.join(this.dir, ".part"), text);
    await Deno.rename(path.join(this.dir, ".part"), path.join(this.dir, name));
  }

  get underWay(): number {
    return this.#open.length;
  }

  /** An agent begins, with what the one before it kept there. */
  async start(files?: CrashFiles, change: Partial<QueueOptions> = {}): Promise<void> {
    const note = () => {};
    this.store = files && await Store.over(files, { warn: note, note });
    const kept = this.store && await KeptSuspects.of(this.store, DIGESTS);
    this.#open = [];
    this.queue = new DirectoryQueue({
      ...{ dir: this.dir, keep: "done", inputBytes: 4, apart: true, nowNs: () => this.nowNs },
      submit: (input) => {
        this.#open.push({ number: this.#next, text: new TextDecoder().decode(input) });
        return this.#next++;
      },
      holds: () => Promise.resolve(false),
      log: {
        ...SILENT,
        warn: (message, fields) => void this.warnings.push(`${message}: ${fields?.files ?? fields?.why}`),
      },
      suspects: new InputSuspects(
        kept?.suspectsOf("job", this.dir),
        (state) => kept?.keepSuspects("job", this.dir, state),
      ),
      onPoison: (name) => void this.forgiven.push(name),
      ...change,
    });
  }

  /** The agent looks at its queue, then the process does one unit. */
  async round(): Promise<void> {
    await this.queue.feed();
    this.nowNs += 250e6;
    const unit = this.#open.shift();
    if (unit !== undefined) {
      this.begun.push(unit.text);
      if (this.kills(unit.text)) this.die();
      else {
        this.queue.arrived(unit.number);
        this.queue.end(this.queue.claim(unit.number)!, "durable");
      }
    }
    await this.store?.writer.flush();
  }

  die(sure = true): void {
    this.deaths++;
    this.#open = [];
    this.queue.processLost(sure);
  }

  async rounds(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.round();
    await this.queue.feed();
  }

  list(...below: string[]): string[] {
    try {
      return [...Deno.readDirSync(path.join(this.dir, ...below))].map(({ name }) => name).sort();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  }

  /** Files in failed/, each with a reason beside it. */
  failed(): string[] {
    const all = this.list("failed");
    const names = all.filter((name) => !name.endsWith(".reason.json") && !name.startsWith("."));
    for (const name of names) {
      assert(all.includes(`${name}.reason.json`), `${name} has no reason`);
      JSON.parse(Deno.readTextFileSync(path.join(this.dir, "failed", `${name}.reason.json`)));
    }
    return names;
  }

  waiting(): string[] {
    return this.list().filter((name) => name !== "done" && name !== "failed");
  }
}

function jobTest(name: string, test: (job: Job) => Promise<void>): void {
  Deno.test(name, async () => {
    const dir = await Deno.makeTempDir({ prefix: "calypte-poison-" });
    try {
      await test(new Job(dir));
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}

async function dropMany(job: Job, count: number, bad: readonly number[]): Promise<void> {
  for (let i = 0; i < count; i++) await job.drop(`f${10 + i}`, bad.includes(i) ? BAD : GOOD);
}

jobTest(
  "of two files that kill the job's process both are put away with their reasons, and every other one is worked on",
  async (job) => {
    await dropMany(job, 20, [5, 11]);
    await job.start();
    await job.rounds(100);
    assertEquals([job.failed(), job.list("done").length, job.waiting()], [["f15", "f21"], 18, []]);
    assertEquals(job.forgiven, ["f15", "f21"]);
    assert(job.deaths <= 5, `${job.deaths}`);
    const reason = JSON.parse(await Deno.readTextFile(path.join(job.dir, "failed", "f15.reason.json")));
    assertEquals([reason.file, reason.reason, reason.deaths, reason.id.length], [
      "f15",
      "ended the job's process twice while it was the only input there",
      2,
      32,
    ]);
  },
);

jobTest("neighbours that both kill, in one group of units, are told apart", async (job) => {
  await dropMany(job, 12, [3, 4]);
  await job.start();
  await job.rounds(100);
  assertEquals([job.failed(), job.list("done").length], [["f13", "f14"], 10]);
});

jobTest(
  "a job that dies over everything is to blame itself: none of its inputs is put away, and it is not forgiven",
  async (job) => {
    await dropMany(job, 20, []);
    job.kills = () => true;
    await job.start();
    await job.rounds(200);
    assertEquals([job.failed(), job.forgiven, job.waiting().length], [[], [], 20]);
    assert(job.deaths > 100, `${job.deaths}`);
  },
);

jobTest("a job that worked and then dies over everything loses at most one input to failed/", async (job) => {
  await dropMany(job, 5, []);
  await job.start();
  await job.rounds(10);
  job.kills = () => true;
  await dropMany(job, 3, []);
  await job.rounds(100);
  assertEquals([job.failed(), job.waiting().length], [[], 3]);
  // One by one there is nothing else to be tried, and that it worked before is all there is to go by: once.
  for (const name of job.waiting()) await Deno.remove(path.join(job.dir, name));
  for (let i = 0; i < 4; i++) {
    await job.drop(`single${i}`, GOOD);
    await job.rounds(10);
  }
  assertEquals([job.failed(), job.forgiven.length], [["single0"], 1]);
});

jobTest("the only file there is put away too, if the job has worked before", async (job) => {
  await job.drop("a", GOOD);
  await job.start();
  await job.rounds(5);
  await job.drop("b", BAD);
  await job.rounds(20);
  assertEquals([job.failed(), job.deaths, job.forgiven], [["b"], 2, ["b"]]);
});

jobTest("the first file of a job that never worked stays", async (job) => {
  await job.drop("a", BAD);
  await job.start();
  await job.rounds(20);
  assertEquals([job.failed(), job.waiting(), job.forgiven], [[], ["a"], []]);
});

jobTest(
  "a process that dies of something else now and then costs no file, however many were there",
  async (job) => {
    await dropMany(job, 30, []);
    await job.start();
    for (let i = 0; i < 200; i++) {
      await job.round();
      if (i % 7 === 3) job.die();
    }
    await job.rounds(50);
    assertEquals([job.list("done").length, job.waiting(), job.failed()], [30, [], []]);
  },
);

jobTest("a unit whose result has come is not blamed for what its process dies of afterwards", async (job) => {
  await job.drop("a", GOOD);
  let number = -1;
  await job.start(undefined, { submit: () => ++number });
  await job.queue.feed();
  job.queue.end(job.queue.claim(number)!, "durable");
  await job.drop("b", GOOD);
  const kept = () => job.list().includes("b");
  for (let i = 0; i < 6; i++) {
    job.nowNs += 1e9;
    await job.queue.feed();
    // Simulated: its output is still computed.
    job.queue.arrived(number);
    job.queue.processLost();
  }
  assertEquals([job.failed(), kept(), job.forgiven], [[], true, []]);
});

jobTest(
  "a process that went with the engine's is no witness against the unit that was there",
  async (job) => {
    await job.drop("a", GOOD);
    await job.start();
    await job.rounds(3);
    await job.drop("b", GOOD);
    for (let i = 0; i < 5; i++) {
      job.nowNs += 1e9;
      await job.queue.feed();
      job.die(false);
    }
    await job.rounds(5);
    assertEquals([job.failed(), job.list("done")], [[], ["a", "b"]]);
  },
);

jobTest(
  "the first death after a takeover may be over an earlier agent's unit: it is no witness either",
  async (job) => {
    const files = new CrashFiles();
    await job.drop("a", GOOD);
    await job.start(files);
    await job.rounds(3);
    await job.drop("b", GOOD);
    for (let i = 0; i < 5; i++) {
      await job.start(files, { resume: true });
      await job.queue.feed();
      job.die();
      await job.queue.feed();
    }
    assertEquals([job.failed(), job.waiting()], [[], ["b"]]);
  },
);

jobTest(
  "the same content under another name is another input, and so is another content under the same name",
  async (job) => {
    await dropMany(job, 3, [1]);
    await job.start();
    while (job.deaths < 2) await job.round();
    await Deno.rename(path.join(job.dir, "f11"), path.join(job.dir, "g11"));
    await job.drop("f11", GOOD);
    const before = job.deaths;
    await job.rounds(60);
    assertEquals([job.failed(), job.list("done")], [["g11"], ["f10", "f11", "f12"]]);
    // Both of its own: the deaths under its old name count no more.
    assertEquals(job.deaths - before, 2);
  },
);

jobTest("suspects are given alone, and another input comes between two deaths of one", async (job) => {
  await dropMany(job, 10, [2]);
  await job.start();
  while (job.deaths === 0) await job.round();
  for (let i = 0; i < 40 && job.failed().length === 0; i++) {
    await job.queue.feed();
    assert(job.underWay <= 1 || job.failed().length > 0, `${job.underWay} under way`);
    await job.round();
  }
  assertEquals([job.failed(), job.deaths], [["f12"], 3]);
  const first = job.begun.indexOf(BAD);
  const second = job.begun.indexOf(BAD, first + 1);
  assert(job.begun.indexOf(BAD, second + 1) > second + 1, `${job.begun}`);
});

jobTest(
  "where it cannot be put away, a guilty file waits and is not run again, and the rest is worked on",
  async (job) => {
    await dropMany(job, 6, [2]);
    await job.start();
    const rename = Deno.rename;
    Deno.rename = (from, to) =>
      `${to}`.includes("failed") ? Promise.reject(new Deno.errors.PermissionDenied("no")) : rename(from, to);
    try {
      await job.rounds(200);
      assertEquals([job.deaths, job.waiting(), job.list("done").length], [3, ["f12"], 5]);
    } finally {
      Deno.rename = rename;
    }
    job.nowNs += 6e9;
    await job.rounds(3);
    assertEquals([job.failed(), job.deaths, job.forgiven], [["f12"], 3, ["f12"]]);
  },
);

jobTest(
  "what is dropped in the place of a guilty file that could not be put away is worked on",
  async (job) => {
    await dropMany(job, 4, [2]);
    await job.start();
    const { rename } = Deno;
    Deno.rename = (from, to) =>
      `${to}`.includes("failed") ? Promise.reject(new Deno.errors.PermissionDenied("no")) : rename(from, to);
    try {
      await job.rounds(50);
      assertEquals(job.waiting(), ["f12"]);
    } finally {
      Deno.rename = rename;
    }
    await job.drop("f12", GOOD);
    job.nowNs += 6e9;
    await job.rounds(5);
    assertEquals([job.failed(), job.list("done").includes("f12"), job.forgiven], [[], true, []]);
  },
);

jobTest(
  "a restart in between forgets no death: a file is put away after as many as without one",
  async (job) => {
    const files = new CrashFiles();
    await dropMany(job, 12, [3]);
    await job.start(files);
    let restarts = 0;
    for (let i = 0; i < 80; i++) {
      const before = job.deaths;
      await job.round();
      if (job.deaths === before) continue;
      restarts++;
      await job.start(files);
    }
    assertEquals([job.failed(), job.deaths, restarts, job.forgiven], [["f13"], 3, 3, ["f13"]]);
  },
);

jobTest("with another bundle nothing is known of an input", async (job) => {
  const files = new CrashFiles();
  await dropMany(job, 3, [1]);
  await job.start(files);
  while (job.deaths < 2) await job.round();
  const store = await Store.over(files, { warn() {}, note() {} });
  assert((await KeptSuspects.of(store, DIGESTS)).suspectsOf("job", job.dir)!.suspects.length > 0);
  const other = await KeptSuspects.of(store, new Map([["job", "another"]]));
  assertEquals(other.suspectsOf("job", job.dir), undefined);
  assertEquals((await KeptSuspects.of(store, DIGESTS)).suspectsOf("job", "/elsewhere"), undefined);
});

Deno.test("a power cut at every write of what is known never costs an innocent file, and the guilty ones are found", async () => {
  const life = async (files: CrashFiles, after: (files: CrashFiles) => CrashFiles) => {
    const dir = await Deno.makeTempDir({ prefix: "calypte-poison-" });
    try {
      const job = new Job(dir);
      await dropMany(job, 6, [1, 3]);
      await job.start(files);
      for (let i = 0; i < 25 && files.stepsLeft > 0; i++) await job.round();
      const wasCut = files.stepsLeft <= 0;
      await job.start(after(files));
      await job.rounds(25);
      assertEquals([job.failed(), job.list("done").length, job.waiting()], [["f11", "f13"], 4, []]);
      // Without a cut 5; what it forgot costs as many again of the one that was being looked for.
      assert(job.deaths <= 7, `${job.deaths} deaths`);
      return wasCut;
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  };
  const whole = new MarkedFiles();
  await life(whole, (files) => files.afterKill());
  assert(whole.marks.length > 50, `${whole.marks.length}`);
  let lives = 0, cuts = 0;
  for (const [index, cut] of whole.marks.entries()) {
    const ways = [
      (files: CrashFiles) => files.afterKill(),
      (files: CrashFiles) => files.afterHardCut(),
      (files: CrashFiles) => files.afterCut(seeded(index)),
    ];
    for (const after of ways) {
      const files = new CrashFiles();
      files.stepsLeft = cut;
      lives++;
      if (await life(files, after)) cuts++;
    }
  }
  // What changes while it is written is written once more, or not: a life may end a write earlier than the first one did.
  assert(cuts >= lives * 0.95, `the power was cut in ${cuts} of ${lives} lives`);
});

jobTest(
  "whenever the agent ends while a file is put away, it is in one place, and in failed/ only with its reason",
  async (job) => {
    const { mkdir, open, rename } = Deno;
    let left = Infinity;
    let steps = 0;
    const step = <T extends unknown[], R>(call: (...args: T) => Promise<R>) => (...args: T): Promise<R> => {
      if (left-- <= 0) return Promise.reject(new Error("the agent has ended"));
      steps++;
      return call(...args);
    };
    const files = new CrashFiles();
    await job.drop("aa", GOOD);
    await job.start(files);
    await job.rounds(3);
    for (let cut = 0; cut < 12; cut++) {
      const name = `bad${cut}`;
      await job.drop(`good${cut}`, GOOD);
      await job.drop(name, BAD);
      for (let i = 0; i < 30 && !job.store!.writer.errors; i++) {
        const isGuilty = (await guilty(files, job.dir)).includes(name);
        if (isGuilty) break;
        await job.round();
      }
      [Deno.mkdir, Deno.open, Deno.rename] = [step(mkdir), step(open), step(rename)];
      [left, steps] = [cut, 0];
      try {
        job.nowNs += 1e9;
        await job.queue.feed();
      } finally {
        [Deno.mkdir, Deno.open, Deno.rename] = [mkdir, open, rename];
      }
      const places = [job.waiting(), job.failed()].filter((names) => names.includes(name)).length;
      assertEquals(places, 1, `cut at ${cut}`);
      // The next agent.
      await job.start(files);
      const { deaths } = job;
      await job.rounds(30);
      assert(job.failed().includes(name), `cut at ${cut}`);
      assertEquals([job.deaths, job.forgiven.includes(name)], [deaths, true], `cut at ${cut}`);
    }
    assert(steps < 12, "not each step was cut");
  },
);

async function guilty(files: CrashFiles, dir: string): Promise<string[]> {
  const store = await Store.over(files, { warn() {}, note() {} });
  const state = (await KeptSuspects.of(store, DIGESTS)).suspectsOf("job", dir);
  return (state?.suspects ?? []).filter((suspect) => suspect.guilty).map(({ name }) => name);
}

jobTest(
  "an engine that a shared job's input takes along is told of by its file, and no file is put away for it",
  async (job) => {
    await dropMany(job, 4, []);
    await job.start(undefined, { apart: false });
    for (let i = 0; i < 6; i++) {
      job.nowNs += 1e9;
      await job.queue.feed();
      job.queue.engineLost();
    }
    assertEquals([job.failed(), job.waiting().length], [[], 4]);
    assertEquals([job.warnings[0], job.warnings.at(-1)], [
      "inputs were under way when the engine was lost: f10, f11, f12, f13",
      "inputs were under way when the engine was lost: f10",
    ]);
  },
);
