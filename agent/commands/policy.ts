/** `calypte policy list|check|bench`: which policies there are, and whether one of your own is fit to fly. */
import { planText, randomSnapshot } from "../policy_cases.ts";
import { openSandbox, type PolicyFile, readPolicyFile } from "../policy_sandbox.ts";
import { table } from "../summary.ts";
import { planFault } from "../../policies/policy.ts";
import { POLICY_NAMES, POLICY_OPTIONS, POLICY_SUMMARIES } from "../../policies/registry.ts";
import { type Command, lines, parseCommand, parseSeed, type Terminal } from "./command.ts";
import { progress } from "./paint.ts";

const LIST_HELP = `Usage: calypte policy list [--json]

Lists the built-in policies, with the options that each reads. docs/POLICIES.md has their formulas.

Options:
  --json  one JSON object

Example:
  calypte policy list
`;

export const policyListCommand: Command = {
  name: "policy list",
  summary: "list the built-in policies",
  help: LIST_HELP,
  run(args, terminal) {
    const { flags } = parseCommand("policy list", args, { boolean: ["json"], string: [], positional: [] });
    if (flags.json) {
      const policies = POLICY_NAMES.map((name) => ({
        ...{ name, options: POLICY_OPTIONS[name], summary: POLICY_SUMMARIES[name] },
      }));
      terminal.out(JSON.stringify({ policies }) + "\n");
      return 0;
    }
    const rows = POLICY_NAMES.map((name) => [
      name,
      POLICY_OPTIONS[name].join(", ") || "-",
      POLICY_SUMMARIES[name],
    ]);
    // Texts stand to the left, unlike the numbers of other tables.
    const widths = [0, 1].map((column) => Math.max(7, ...rows.map((row) => row[column]!.length)));
    const show = ([name = "", options = "", summary = ""]: readonly string[]) =>
      `${name.padEnd(widths[0]!)}  ${options.padEnd(widths[1]!)}  ${summary}`;
    terminal.out(lines([show(["policy", "options", "what it does"]), ...rows.map(show)]));
    return 0;
  },
};

const CASES = 200;
/** As in a mission with the default lease. */
const LIMIT_MS = 100;
/** What does not answer at all by then is given up. */
const SILENCE_MS = 5000;

const CHECK_HELP = `Usage: calypte policy check FILE [options]

Loads a policy of your own in its sandbox, without any permission, and has it answer ${CASES} random
snapshots twice, in another order. Each answer has to be a plan for its snapshot, within ${LIMIT_MS} ms, and
the same both times. The snapshot of the first answer that is not is printed.

Options:
  --seed N  seed of the snapshots; default 1
  --json    one JSON object instead of text

Exit status: 0 if all is well, 1 if a check failed, 2 if there is no such file.

Example:
  calypte policy check examples/policies/longest_wait.js
`;

export const policyCheckCommand: Command = {
  name: "policy check",
  summary: "check a policy of your own",
  help: CHECK_HELP,
  async run(args, terminal) {
    const { policy, seed, json } = await readArguments("policy check", args);
    const report = new Report(terminal, json);
    return await withClient(policy, report, async (client) => {
      using bar = progress(terminal);
      const first = new Map<number, string>();
      const seeds = Array.from({ length: CASES }, (_, index) => seed * CASES + index);
      let paused = 0;
      for (const [index, each] of seeds.entries()) {
        bar.at(index / CASES / 2, "answers with plans");
        const snapshot = randomSnapshot(each);
        const { plan } = await client.ask(snapshot);
        const fault = planFault(plan, snapshot);
        if (fault !== undefined) throw new Failure(fault, snapshot);
        const { entries } = plan as { entries: unknown[] };
        if (entries.length < snapshot.jobs.length) paused++;
        first.set(each, planText(plan));
      }
      bar[Symbol.dispose]();
      report.say("ok", `answers ${CASES} snapshots with plans`);
      for (const [index, each] of seeds.toReversed().entries()) {
        bar.at(0.5 + index / CASES / 2, "answers the same again");
        const snapshot = randomSnapshot(each);
        const text = planText((await client.ask(snapshot)).plan);
        if (text === first.get(each)) continue;
        throw new Failure(`equal snapshots give other plans: ${first.get(each)}, then ${text}`, snapshot);
      }
      bar[Symbol.dispose]();
      report.say("ok", "equal snapshots give equal plans");
      if (paused > 0) report.say("note", `it pauses jobs that may run in ${paused} of ${CASES} snapshots`);
    });
  },
};

const BENCH_JOBS = [1, 2, 4, 8, 16, 24];
const BENCH_CALLS = 300;
const WARM_UP_CALLS = 100;

const BENCH_HELP = `Usage: calypte policy bench FILE [options]

Measures how long a policy of your own takes for one answer, on random snapshots of 1 to 24 jobs:
${BENCH_CALLS} calls each, after ${WARM_UP_CALLS} that do not count. The calls alone are timed, in the sandbox.

Options:
  --seed N  seed of the snapshots; default 1
  --json    one JSON object instead of text

Exit status: 0 if it was measured, 1 if the policy failed, 2 if there is no such file.

Example:
  calypte policy bench examples/policies/longest_wait.js
`;

export const policyBenchCommand: Command = {
  name: "policy bench",
  summary: "measure how long a policy of your own takes",
  help: BENCH_HELP,
  async run(args, terminal) {
    const { policy, seed, json } = await readArguments("policy bench", args);
    const report = new Report(terminal, json);
    return await withClient(policy, report, async (client) => {
      using bar = progress(terminal);
      const rows: BenchRow[] = [];
      for (const jobs of BENCH_JOBS) {
        bar.at(rows.length / BENCH_JOBS.length, `${jobs} jobs`);
        const took: number[] = [];
        for (let call = 0; call < WARM_UP_CALLS + BENCH_CALLS; call++) {
          const { tookUs } = await client.ask(randomSnapshot(seed * 10_000 + call, jobs));
          if (call >= WARM_UP_CALLS) took.push(tookUs);
        }
        took.sort((a, b) => a - b);
        const at = (share: number) => Number(took[Math.floor(share * (took.length - 1))]!.toFixed(1));
        rows.push({ jobs, p50Us: at(0.5), p99Us: at(0.99), maxUs: at(1) });
      }
      bar[Symbol.dispose]();
      report.took(rows);
    });
  },
};

async function readArguments(
  command: string,
  args: readonly string[],
): Promise<{ policy: PolicyFile; seed: number; json: boolean }> {
  const { flags, values, positional: [file = ""] } = parseCommand(command, args, {
    boolean: ["json"],
    string: ["seed"],
    positional: ["FILE"],
  });
  return { policy: await readPolicyFile(file), seed: parseSeed(values.seed), json: flags.json };
}

interface BenchRow {
  jobs: number;
  p50Us: number;
  p99Us: number;
  maxUs: number;
}

/** What is told of a policy: line by line as it comes, or as one JSON object at the end. */
class Report {
  readonly #terminal: Terminal;
  readonly #json: boolean;
  readonly #lines: { what: "ok" | "note"; text: string }[] = [];
  #rows: readonly BenchRow[] | undefined;

  constructor(terminal: Terminal, json: boolean) {
    this.#terminal = terminal;
    this.#json = json;
  }

  say(what: "ok" | "note", text: string): void {
    this.#lines.push({ what, text });
    if (!this.#json) this.#terminal.out(`${what}  ${text}\n`);
  }

  took(rows: readonly BenchRow[]): void {
    this.#rows = rows;
    if (this.#json) return;
    const us = (value: number) => `${value.toFixed(1)} us`;
    const texts = rows.map(({ jobs, p50Us, p99Us, maxUs }) => [`${jobs}`, us(p50Us), us(p99Us), us(maxUs)]);
    this.#terminal.out(lines(table(["jobs", "p50", "p99", "max"], texts)));
  }

  end(failure?: Failure): void {
    const { message, snapshot } = failure ?? {};
    if (this.#json) {
      const fault = failure === undefined ? {} : { fault: message, snapshot };
      const rows = this.#rows === undefined ? {} : { rows: this.#rows };
      this.#terminal.out(
        JSON.stringify({ passed: failure === undefined, lines: this.#lines, ...rows, ...fault }) + "\n",
      );
      return;
    }
    if (failure === undefined) return;
    this.#terminal.out(`FAILED  ${message}\n`);
    if (snapshot !== undefined) this.#terminal.out(`the snapshot:\n${JSON.stringify(snapshot, null, 2)}\n`);
  }
}

/** What a check found. */
class Failure extends Error {
  constructor(message: string, readonly snapshot?: unknown) {
    super(message);
  }
}

interface Answer {
  plan: unknown;
  tookUs: number;
}

interface Client {
  /** Throws `Failure`. */
  ask(snapshot: unknown): Promise<Answer>;
}

/** Returns the exit status. */
async function withClient(
  policy: PolicyFile,
  report: Report,
  use: (client: Client) => Promise<void>,
): Promise<number> {
  let settle = (_outcome: Answer | Failure | "loaded") => {};
  const outcome = () => new Promise<Answer | Failure | "loaded">((done) => settle = done);
  const loaded = outcome();
  const sandbox = openSandbox(policy, LIMIT_MS, {
    loaded: () => settle("loaded"),
    answered: (_id, plan, tookUs) => settle({ plan, tookUs }),
    failed: (_id, why) => settle(new Failure(why)),
  });
  let id = 0;
  const client: Client = {
    async ask(snapshot) {
      const answer = outcome();
      sandbox.ask(++id, snapshot);
      const got = await orSilence(answer);
      if (got instanceof Failure) throw new Failure(got.message, snapshot);
      return got as Answer;
    },
  };
  try {
    const got = await orSilence(loaded);
    if (got instanceof Failure) throw got;
    report.say("ok", "loads without any permission");
    await use(client);
    report.end();
    return 0;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    report.end(error);
    return 1;
  } finally {
    sandbox.close();
  }
}

async function orSilence<T>(answer: Promise<T>): Promise<T | Failure> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<Failure>((done) => {
    timer = setTimeout(() => done(new Failure("it does not answer")), SILENCE_MS);
  });
  try {
    return await Promise.race([answer, silence]);
  } finally {
    clearTimeout(timer);
  }
}
