/**
 * A whole run on the simulator in real time whose mission is edited under it. Needs build/libcalypte.so: without it
 * this is left out, except in CI, where it fails.
 */
import { assert, assertEquals, assertStringIncludes } from "../../assert.ts";
import { libraryPath } from "../../../ffi/mod.ts";
import { path } from "../../../agent/std/mod.ts";
import { realTimers } from "../../../agent/timers.ts";
import { writeMission } from "../mission_fixture.ts";

const CALYPTE = path.fromFileUrl(import.meta.resolve("../../../calypte"));
/** Of one line of the log. */
const LIMIT_MS = 30_000;

function libraryExists(): boolean {
  try {
    return Deno.statSync(libraryPath()).isFile;
  } catch {
    return false;
  }
}

/** One agent and what it says. */
class Agent implements AsyncDisposable {
  text = "";
  readonly child: Deno.ChildProcess;
  #more = Promise.withResolvers<void>();
  #listening: Promise<void>;

  constructor(args: string[], env: Record<string, string>) {
    const options = { args, env, stdin: "null", stdout: "piped", stderr: "piped" } as const;
    const child = this.child = new Deno.Command(CALYPTE, options).spawn();
    this.#listening = (async () => {
      for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
        this.text += text;
        this.#more.resolve();
        this.#more = Promise.withResolvers();
      }
      this.#more.resolve();
    })();
  }

  /** Waits until it has said this behind `from`; returns where that ends. */
  async said(what: string, from = 0): Promise<number> {
    const over = realTimers.pause(LIMIT_MS).then(() => "over" as const);
    for (;;) {
      const at = this.text.indexOf(what, from);
      if (at >= 0) return at + what.length;
      const next = await Promise.race([
        this.#more.promise,
        over,
        this.child.status.then(() => "ended" as const),
      ]);
      assert(
        next === undefined || this.text.indexOf(what, from) >= 0,
        `"${what}" is missing in:\n${this.text}`,
      );
    }
  }

  async end(): Promise<{ code: number; summary: { critical: Record<string, { requests: number }> } }> {
    this.child.kill("SIGINT");
    const out = await new Response(this.child.stdout).text();
    const { code } = await this.child.status;
    await this.#listening;
    return { code, summary: JSON.parse(out) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.child.status;
    await this.#listening;
  }
}

Deno.test({
  name: "a run takes up what is live on SIGHUP, names what is not, refuses what is wrong, and flies on",
  ignore: !libraryExists() && (Deno.env.get("CI") ?? "") === "",
  sanitizeResources: false,
  sanitizeOps: false,
  async fn() {
    await using fixture = await writeMission();
    const { dir, file } = fixture;
    const env = {
      CALYPTE_RUN_DIR: dir,
      CALYPTE_CACHE: "off",
      CALYPTE_STATE: "off",
      CALYPTE_POLICY: "round-robin",
    };
    const first = await Deno.readTextFile(file);
    await using agent = new Agent(["run", file, "--backend", "sim", "--json", "--watch"], env);
    let at = await agent.said("Ctrl-C ends it");

    // The watch may be faster than the signal: either reads it.
    await Deno.writeTextFile(file, first.replace("weight: 3", "weight: 7").replace("5ms", "6ms"));
    agent.child.kill("SIGHUP");
    at = await agent.said("now in force: background.map.weight: 3 -> 7", at);
    at = await agent.said("needs a restart: critical.detector.deadline: 5000000 -> 6000000", at);

    await Deno.writeTextFile(file, "background: [");
    agent.child.kill("SIGHUP");
    at = await agent.said("the last good one goes on: ", at);

    // What the environment sets is not changed by the file.
    await Deno.writeTextFile(file, first.replace("lease: 400ms", "name: deadline, lease: 400ms"));
    at = await agent.said("the file has changed: now in force: background.map.weight: 7 -> 3", at);
    assert(!agent.text.includes("policy.name"), agent.text);

    const { code, summary } = await agent.end();
    assertEquals(code, 0);
    assert(summary.critical.detector!.requests > 0);
  },
});

Deno.test({
  name: "what is wrong in a flag or a variable is said of the flag or the variable",
  ignore: !libraryExists() && (Deno.env.get("CI") ?? "") === "",
  async fn() {
    await using fixture = await writeMission();
    for (
      const [args, env, from] of [
        [["--policy", "nonsense"], { CALYPTE_POLICY: "energy" }, "--policy: must be one of"],
        [[], { CALYPTE_PREEMPTION_BOUND: "fast" }, "CALYPTE_PREEMPTION_BOUND: must be a duration"],
      ] as const
    ) {
      const output = await new Deno.Command(CALYPTE, {
        args: ["simulate", fixture.file, "--for", "1s", ...args],
        env: { ...env, CALYPTE_CACHE: "off" },
      }).output();
      assertEquals(output.code, 2);
      assertStringIncludes(new TextDecoder().decode(output.stderr), `calypte: ${from}`);
    }
  },
});
