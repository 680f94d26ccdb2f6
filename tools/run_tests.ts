/**
 * Do all tests pass that need no GPU? `make test`, or `.tools/deno run -A tools/run_tests.ts` once the native tests are built.
 *
 * Words as arguments choose the suites whose names hold one of them, as `make sanitize` does.
 *
 * Formatting, linting and type checking count as one test each, every planted bug as one; native test cases and Deno tests are counted by their
 * own runners. The last line is `N passed, N failed`, with `, N skipped` where some were. It does *not* build.
 *
 * With CALYPTE_TEST_OLD_DENO=1 the oldest supported Deno also checks types and prints the agent's help.
 */

export interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

interface Suite {
  name: string;
  command: [string, ...string[]];
  cwd?: string;
  env?: Record<string, string>;
  count: (output: string, success: boolean) => Tally;
}

/** The whole command is one test. */
export function countWhole(_output: string, success: boolean): Tally {
  return success ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 };
}

/** Reads the summary of `deno test`: "ok | 12 passed (3 steps) | 0 failed | 1 ignored (2s)". */
export function countDeno(output: string, success: boolean): Tally {
  const line = output.split("\n").findLast((line) => /^(ok|FAILED) \| \d+ passed/.test(line)) ?? "";
  const number = (word: string) => Number(line.match(new RegExp(`(\\d+) ${word}`))?.[1] ?? 0);
  return atLeastOneFailed(
    { passed: number("passed"), failed: number("failed"), skipped: number("ignored") },
    success,
  );
}

/** Reads doctest's summaries in `ctest --verbose`; a program that ended without one, in a crash say, is one failure. */
export function countNative(output: string, success: boolean): Tally {
  const tally: Tally = { passed: 0, failed: 0, skipped: 0 };
  const summarised = new Set<string>();
  for (const line of output.split("\n")) {
    const cases = line.match(
      /^(\d+): \[doctest\] test cases:\s*\d+ \|\s*(\d+) passed \|\s*(\d+) failed(?: \|\s*(\d+) skipped)?/,
    );
    if (cases) {
      summarised.add(cases[1]!);
      tally.passed += Number(cases[2]);
      tally.failed += Number(cases[3]);
      tally.skipped += Number(cases[4] ?? 0);
    }
    // "3/7 Test #3: plan_test ....***Failed", "***Exception: SegFault", "***Timeout", "***Not Run"
    const broken = line.match(/^\s*\d+\/\d+ Test\s+#(\d+): .*\*\*\*/);
    if (broken && !summarised.has(broken[1]!)) tally.failed += 1;
  }
  return atLeastOneFailed(tally, success);
}

/** A runner that failed without naming a test, such as one whose module does not load, counts as one failed test. */
function atLeastOneFailed(tally: Tally, success: boolean): Tally {
  return success || tally.failed > 0 ? tally : { ...tally, failed: 1 };
}

export function describeTally(tally: Tally): string {
  const skipped = tally.skipped > 0 ? `, ${tally.skipped} skipped` : "";
  return `${tally.passed} passed, ${tally.failed} failed${skipped}`;
}

function suites(root: string, oldDeno: string | undefined): Suite[] {
  const deno = Deno.execPath();
  const list: Suite[] = [
    { name: "formatting", command: [deno, "fmt", "--check"], count: countWhole },
    { name: "lint", command: [deno, "lint"], count: countWhole },
    { name: "types", command: [deno, "task", "check"], count: countWhole },
    {
      name: "native tests",
      command: ["ctest", "--verbose", "--no-tests=error", "--timeout", "120"],
      cwd: `${root}/build`,
      count: countNative,
    },
    ...sanitizers(root),
    {
      name: "planted bugs",
      command: [deno, "run", "-A", "tools/mutations.ts"],
      count: countDeno,
    },
    { name: "Deno tests", command: [deno, "task", "test"], count: countDeno },
    { name: "arm64 under emulation", command: [deno, "task", "test-arm64"], count: countDeno },
  ];
  if (oldDeno) {
    list.push(
      {
        name: `types, ${oldDeno}`,
        command: [oldDeno, "check", "mod.ts", "agent/main.ts"],
        count: countWhole,
      },
      {
        name: `agent, ${oldDeno}`,
        command: [oldDeno, "run", "-A", "agent/main.ts", "help"],
        count: countWhole,
      },
    );
  }
  return list;
}

/** A thousand missions take a minute there: fewer do for what sanitizers look for. */
const SANITIZED_MISSIONS = "150";

/** The native tests once more, as tools/setup.sh has built them. No finding is suppressed. */
function sanitizers(root: string): Suite[] {
  const ctest = ["ctest", "--verbose", "--no-tests=error", "--timeout", "300"] as const;
  const suite = (kind: string, name: string, env: Record<string, string>): Suite => ({
    name,
    command: [...ctest],
    cwd: `${root}/build/sanitize/${kind}`,
    env: { CALYPTE_MISSIONS: SANITIZED_MISSIONS, ...env },
    count: countNative,
  });
  return [
    suite("memory", "sanitizers of addresses and undefined behaviour", {
      ASAN_OPTIONS: "detect_stack_use_after_return=1",
      UBSAN_OPTIONS: "print_stacktrace=1",
    }),
    suite("thread", "sanitizer of threads", { TSAN_OPTIONS: "halt_on_error=1:report_thread_leaks=0" }),
  ];
}

/** Passes the output through while it comes, and keeps it. */
async function run(suite: Suite, root: string): Promise<{ tally: Tally; line: string }> {
  console.log(`\n== ${suite.name}: ${suite.command.join(" ")}`);
  const [program, ...args] = suite.command;
  const startedMs = performance.now();
  const child = new Deno.Command(program, {
    args,
    cwd: suite.cwd ?? root,
    env: { NO_COLOR: "1", CALYPTE_STATE: "off", ...suite.env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const decoder = new TextDecoder();
  const chunks: Uint8Array[] = [];
  const pass = async (from: ReadableStream<Uint8Array>, to: typeof Deno.stdout) => {
    for await (const chunk of from) {
      chunks.push(chunk);
      for (let sent = 0; sent < chunk.length;) sent += await to.write(chunk.subarray(sent));
    }
  };
  await Promise.all([pass(child.stdout, Deno.stdout), pass(child.stderr, Deno.stderr)]);
  const { success } = await child.status;
  const tally = suite.count(chunks.map((chunk) => decoder.decode(chunk, { stream: true })).join(""), success);
  const line = `${suite.name}: ${describeTally(tally)} (${
    Math.round((performance.now() - startedMs) / 1000)
  } s)`;
  console.log(`== ${line}`);
  return { tally, line };
}

if (import.meta.main) {
  const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
  const total: Tally = { passed: 0, failed: 0, skipped: 0 };
  const summary: string[] = [];
  const all = suites(root, Deno.env.get("CALYPTE_TEST_OLD_DENO") ? `${root}/.tools/old-deno` : undefined);
  const chosen = all.filter(({ name }) =>
    Deno.args.length === 0 || Deno.args.some((word) => name.includes(word))
  );
  if (chosen.length === 0) throw new Error(`no suite has a name with ${Deno.args.join(" or ")}`);
  for (const suite of chosen) {
    const { tally, line } = await run(suite, root);
    summary.push(line);
    total.passed += tally.passed;
    total.failed += tally.failed;
    total.skipped += tally.skipped;
  }
  await Deno.mkdir(`${root}/build/tests`, { recursive: true });
  await Deno.writeTextFile(`${root}/build/tests/tally.txt`, describeTally(total) + "\n");
  console.log(`\n${summary.join("\n")}\n\n${describeTally(total)}`);
  Deno.exit(total.failed > 0 ? 1 : 0);
}
