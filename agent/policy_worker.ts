/**
 * What runs in the sandbox, beside a user's policy?
 *
 * The first module of a Worker that has no permission (policy_sandbox.ts starts it). It loads the policy's text as a module, so that
 * whatever that imports is checked against the Worker's permissions too, and calls it under a time limit. One message in,
 * one message out; a message that nobody asked for is the policy's and ends it. This module imports nothing of the tree: the Worker could not read it.
 */

/** From the agent. `source`: a data URL of a module whose default export is the policy. */
export type ToWorker =
  | { kind: "load"; source: string; limitMs: number; maxHeapBytes: number }
  | { kind: "ask"; id: number; snapshot: unknown };

export type FromWorker =
  | { kind: "loaded" }
  /** `tookUs`: of the call alone. */
  | { kind: "answer"; id: number; plan: unknown; tookUs: number }
  /** `id` 0: while loading. */
  | { kind: "failed"; id: number; why: string };

const CALL = "calyptePolicyCall";
const scope = globalThis as unknown as Record<string, unknown> & {
  postMessage(message: FromWorker): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
};
// Taken now: the policy may replace what it finds.
const post = scope.postMessage.bind(scope);
const memory = Deno.memoryUsage;
const clock = performance;
const { stringify, parse } = JSON;

let policy: ((snapshot: unknown) => unknown) | undefined;
let limits = { limitMs: 0, maxHeapBytes: 0 };
interface Script {
  runInThisContext(options: { timeout: number }): unknown;
}
/** Only a script of `node:vm` can be stopped in the middle. Named like this, its types need no package. */
const VM: string = "node:vm";
let call: Script | undefined;

scope.onmessage = async ({ data }) => {
  if (data.kind === "load") post(await load(data));
  else post(ask(data.id, data.snapshot));
};

async function load(
  { source, limitMs, maxHeapBytes }: ToWorker & { kind: "load" },
): Promise<FromWorker> {
  limits = { limitMs, maxHeapBytes };
  try {
    const vm: { Script: new (code: string) => Script } = await import(VM);
    call = new vm.Script(`${CALL}()`);
    const module: Record<string, unknown> = await import(source);
    if (typeof module.default !== "function") {
      return { kind: "failed", id: 0, why: "it does not load: it has no function as its default export" };
    }
    policy = module.default as typeof policy;
    return { kind: "loaded" };
  } catch (error) {
    return { kind: "failed", id: 0, why: `it does not load: ${textOf(error)}` };
  }
}

function ask(id: number, snapshot: unknown): FromWorker {
  let text: string | undefined;
  let tookUs = 0;
  Object.defineProperty(globalThis, CALL, {
    configurable: true,
    // As text, within the time limit: a getter of the plan is the policy's code too.
    value: () => {
      const beganMs = clock.now(); // house-rule: clock, because what a policy takes is measured where it runs
      const plan = policy?.(snapshot);
      tookUs = (clock.now() - beganMs) * 1000; // house-rule: clock, because what a policy takes is measured where it runs
      text = stringify(plan, numbers);
    },
  });
  try {
    call?.runInThisContext({ timeout: limits.limitMs });
    const { heapUsed } = memory();
    if (heapUsed > limits.maxHeapBytes) {
      return { kind: "failed", id, why: `it holds ${Math.round(heapUsed / 2 ** 20)} MiB` };
    }
    return { kind: "answer", id, plan: text === undefined ? undefined : parse(text), tookUs };
  } catch (error) {
    const late = (error as { code?: unknown } | null)?.code === "ERR_SCRIPT_EXECUTION_TIMEOUT";
    const why = late ? `it took longer than ${limits.limitMs} ms` : `it threw: ${textOf(error)}`;
    return { kind: "failed", id, why };
  }
}

/** JSON has no NaN: it would arrive as null, and the message about it would mislead. */
function numbers(_key: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}

function textOf(error: unknown): string {
  try {
    const text = error instanceof Error ? error.message : String(error);
    return (text.split("\n")[0] ?? "").slice(0, 200);
  } catch {
    return "something without a text";
  }
}
