/** An agent that is asked over HTTP, without a run around it: what it says is what the test set. */
import { type Counters, createCounters } from "../../../agent/counters.ts";
import { parseMission } from "../../../agent/config.ts";
import { createApp, type Handler } from "../../../agent/http/app.ts";
import type { Access } from "../../../agent/http/access.ts";
import type { AgentView, Readings, SubmitOutcome } from "../../../agent/http/agent_view.ts";
import type { Page } from "../../../agent/http/routes.ts";
import { EventHistory } from "../../../agent/http/history.ts";
import { builtInPolicy, type MissionFiles } from "../../../agent/prepare.ts";
import type { StepReport } from "../../../agent/load.ts";
import { LiveSettings, liveValuesOf } from "../../../agent/reload/live_settings.ts";
import { FakeEngine, jobStats, snapshotOf, taskStats } from "../fake_engine.ts";
import type { Result } from "../../../ffi/mod.ts";

export const TOKEN = "a-token-of-a-test";
export const LISTENING = { hostname: "127.0.0.1", port: 8717 };

const MISSION = `
critical:
  detector: { bundle: a, source: { frames: f, rate: 30Hz }, deadline: { within: 10ms } }
  by-hand: { bundle: a, source: { api: true }, deadline: { within: 10ms } }
background:
  map: { bundle: b, source: { frames: f }, weight: 3 }
  survey: { bundle: b, source: { frames: f } }
`;

export interface HttpScene {
  engine: FakeEngine;
  agent: AgentView;
  counters: Counters;
  /** What the next submission leads to. */
  outcome: SubmitOutcome;
  submitted: [string, number][];
  /** What a submission that is waited for gives. */
  result: Result | undefined;
  readings: Readings;
  loads: boolean;
  quarantine: string | undefined;
  handler: Handler;
  /** As a program of this machine that has the token asks; `headers` replace its own. */
  ask(page: string, init?: RequestInit): Promise<Response>;
  // deno-lint-ignore no-explicit-any
  json(page: string, init?: RequestInit): Promise<[number, any]>;
}

export function setUpHttp(
  access: Partial<Access> = {},
  pages: ReadonlyMap<string, Page> = new Map(),
): HttpScene {
  const engine = new FakeEngine();
  engine.state = snapshotOf({
    nowNs: 20e9,
    state: "ready",
    tasks: [taskStats({ requests: 3 }), taskStats()],
    jobs: [jobStats({ units: 2 }), jobStats()],
  });
  const mission = parseMission(MISSION, "mission.yaml");
  const policy = builtInPolicy(mission.policy, "mission.yaml");
  const live = new LiveSettings(liveValuesOf({ mission, policy, userPolicy: undefined } as MissionFiles));
  const step: StepReport = {
    ...{ kernel: "add", level: "block", launches: 1, notes: [] },
    ...{ blocksPerSm: 8, blocksPerSmUntouched: 8 },
  };
  const works = (names: string[]) => names.map((name) => ({ name, bundle: "aa", steps: [step] }));
  const counters = createCounters();
  const agent: AgentView = {
    version: "1.2.3",
    mission,
    loaded: () =>
      scene.loads ? undefined : {
        device: engine.device(),
        features: engine.features(),
        tasks: works(["detector", "by-hand"]),
        jobs: works(["map", "survey"]),
      },
    view: () =>
      scene.loads ? undefined : {
        ...{ snapshot: engine.snapshot(), counters, foreign: undefined },
        ...{ tasks: ["detector", "by-hand"], jobs: ["map", "survey"] },
      },
    changed: () => {},
    lastSnapshot: () => scene.loads ? undefined : engine.state,
    live,
    barred: () => scene.quarantine,
    safeModeRule: () => live.values.safeMode,
    forceSafeMode: (on) => engine.hold("safe-mode", on),
    submit: (task, input) => (scene.submitted.push([task, input.length]), scene.outcome),
    resultOf: () => Promise.resolve(scene.result),
    events: new EventHistory("run"),
    trace: (from) => engine.takeTrace(from),
    readings: () => scene.readings,
  };
  const handler = createApp({
    agent,
    pages,
    access: { listening: () => LISTENING, token: TOKEN, remote: false, ...access },
  });
  const ask = (page: string, init: RequestInit = {}) => {
    const headers = new Headers({ host: "127.0.0.1:8717", authorization: `Bearer ${TOKEN}` });
    for (const [name, value] of new Headers(init.headers)) headers.set(name, value);
    return handler(new Request(`http://x${page}`, { ...init, headers }), { socket: false });
  };
  const scene: HttpScene = {
    ...{ engine, agent, counters, handler, ask, submitted: [], readings: {} },
    ...{ outcome: { kind: "busy" }, result: undefined, loads: false, quarantine: undefined },
    async json(page, init) {
      const response = await ask(page, init);
      return [response.status, await response.json()];
    },
  };
  return scene;
}

/** A body of JSON, with its content type. */
export function withJson(method: string, body: unknown): RequestInit {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return { method, headers: { "content-type": "application/json" }, body: text };
}

/** The commands of this process find the token there, as those of a user find it in the folder of the engines' sockets. */
export async function tokenFolder(): Promise<AsyncDisposable> {
  const dir = await Deno.makeTempDir();
  await Deno.writeTextFile(`${dir}/token`, `${TOKEN}\n`, { mode: 0o600 });
  const before = Deno.env.get("CALYPTE_RUN_DIR");
  Deno.env.set("CALYPTE_RUN_DIR", dir);
  return {
    async [Symbol.asyncDispose]() {
      if (before === undefined) Deno.env.delete("CALYPTE_RUN_DIR");
      else Deno.env.set("CALYPTE_RUN_DIR", before);
      await Deno.remove(dir, { recursive: true });
    },
  };
}
