/** How does the whole agent look, and each task and job of it? */
import { z } from "zod";
import type { EngineSnapshot } from "../../ffi/engine.ts";
import { attainmentStatus } from "../foreign/status.ts";
import { nested } from "../metric_counts.ts";
import {
  AGENT_METRICS,
  BACKGROUND_METRICS,
  CRITICAL_METRICS,
  type MetricsView,
  readAll,
  type StoreView,
} from "../metrics.ts";
import { prometheusText } from "../prometheus.ts";
import { safeModeStatus } from "../safe_mode.ts";
import type { AgentView, Loaded } from "./agent_view.ts";
import { problem } from "./problem.ts";
import { json, JSON_HEADERS, type Route, route } from "./routes.ts";

const statusSchema = z.looseObject({
  version: z.string(),
  mission: z.string(),
  state: z.enum(["loading", "ready", "fault", "lost"]),
});
const taskSchema = z.looseObject({ name: z.string(), requests: z.number(), bundle: z.string() });
const listOf = (schema: z.ZodType) => z.object({ items: z.array(schema) });

/** Whether a job runs, and if not, who keeps it from it. */
export type JobState = "running" | "waiting" | "paused" | "disabled" | "cancelled" | "quarantined";

export function jobState(agent: AgentView, name: string, snapshot: EngineSnapshot, id: number) {
  const barred = agent.live.barredBy(name);
  if (barred !== undefined) {
    const since = barred === "disabled" ? "" : agent.live.orders.of(name)?.since ?? "";
    return { state: barred as JobState, why: since === "" ? null : `ordered at ${since}` };
  }
  const quarantine = agent.barred(name);
  if (quarantine !== undefined) return { state: "quarantined" as JobState, why: quarantine };
  if (snapshot.holds.length > 0) return { state: "waiting" as JobState, why: snapshot.holds.join(", ") };
  const job = snapshot.jobs[id];
  if (job?.worker === "waiting") return { state: "waiting" as JobState, why: "its process starts" };
  return { state: (job?.outstanding ?? 0) > 0 ? "running" as JobState : "waiting" as JobState, why: null };
}

export function statusRoutes(agent: AgentView): Route[] {
  // A status is a millisecond's work; while the agent has seen nothing new, it is the same one.
  let made: { of: unknown; text: string } | undefined;
  const statusText = () => {
    const view = agent.view();
    if (made === undefined || view === undefined || made.of !== view) {
      made = { of: view, text: JSON.stringify(statusOf(agent)) + "\n" };
    }
    return made.text;
  };
  const loading = () => problem(503, "the agent loads yet");
  const items = (kind: "tasks" | "jobs") => {
    const [view, loaded] = [agent.view(), agent.loaded()];
    if (view === undefined || loaded === undefined) return undefined;
    const describe = kind === "tasks" ? taskOf : jobOf;
    return loaded[kind].map((_, id) => describe(agent, view.snapshot, loaded, id));
  };
  const one = (kind: "tasks" | "jobs", name: string) => {
    const all = items(kind);
    if (all === undefined) return loading();
    const found = all.find((item) => item.name === name);
    const what = kind === "tasks" ? "critical task" : "background job";
    return found === undefined
      ? problem(404, `no ${what} ${JSON.stringify(name.slice(0, 64))}`)
      : json(found);
  };
  const list = (kind: "tasks" | "jobs") => {
    const all = items(kind);
    return all === undefined ? loading() : json({ items: all });
  };
  return [
    route({
      method: "get",
      path: "/v1/status",
      summary: "Everything at a glance.",
      tag: "status",
      answers: { 200: { description: "Also while the agent loads.", schema: statusSchema } },
      handle: () => new Response(statusText(), { headers: JSON_HEADERS }),
    }),
    ...(["tasks", "jobs"] as const).flatMap((kind) => [
      route({
        method: "get",
        path: `/v1/${kind}`,
        summary: kind === "tasks" ? "All critical tasks." : "All background jobs.",
        tag: kind,
        answers: { 200: { description: "In the order of the mission.", schema: listOf(taskOrJob(kind)) } },
        handle: () => list(kind),
      }),
      route({
        method: "get",
        path: `/v1/${kind}/{name}`,
        summary: kind === "tasks" ? "One critical task." : "One background job.",
        tag: kind,
        answers: { 200: { description: "As it is now.", schema: taskOrJob(kind) } },
        problems: [404],
        handle: ({ name }) => one(kind, name),
      }),
    ]),
    route({
      method: "get",
      path: "/metrics",
      summary: "For Prometheus; docs/METRICS.md says what each is.",
      tag: "status",
      answers: { 200: { description: "The text format, 0.0.4.", type: "text/plain" } },
      handle() {
        const view = agent.view();
        if (view === undefined) return loading();
        const headers = { "content-type": "text/plain; version=0.0.4; charset=utf-8" };
        const all = { ...view, readings: agent.readings(), version: agent.version };
        return new Response(prometheusText(all), { headers });
      },
    }),
  ];
}

function taskOrJob(kind: "tasks" | "jobs"): z.ZodType {
  return kind === "tasks" ? taskSchema : z.looseObject({
    name: z.string(),
    state: z.enum(["running", "waiting", "paused", "disabled", "cancelled", "quarantined"]),
    why: z.string().nullable(),
    units: z.number(),
    bundle: z.string(),
  });
}

function taskOf(agent: AgentView, snapshot: EngineSnapshot, loaded: Loaded, id: number) {
  const { name, bundle, steps, plugin } = loaded.tasks[id]!;
  const task = agent.mission.critical[id];
  const stats = snapshot.tasks[id];
  return {
    ...{ name, bundle, deadlineNs: task?.deadlineNs ?? 0, source: task?.source.kind ?? "none" },
    ...(stats === undefined ? {} : readAll(CRITICAL_METRICS, stats)),
    steps,
    ...(plugin === undefined ? {} : { plugin }),
  };
}

function jobOf(agent: AgentView, snapshot: EngineSnapshot, loaded: Loaded, id: number) {
  const { name, bundle, steps, plugin } = loaded.jobs[id]!;
  const stats = snapshot.jobs[id];
  const live = agent.live.values.jobs.get(name);
  return {
    ...{ name, bundle, ...jobState(agent, name, snapshot, id), weight: live?.weight ?? 1 },
    ...(stats === undefined ? {} : readAll(BACKGROUND_METRICS, stats)),
    steps,
    ...(plugin === undefined ? {} : { plugin }),
  };
}

function statusOf(agent: AgentView): Record<string, unknown> {
  const [view, loaded] = [agent.view(), agent.loaded()];
  const { version, mission: { file: mission } } = agent;
  if (view === undefined || loaded === undefined) return { version, mission, state: "loading" };
  const { snapshot } = view;
  const byName = (all: readonly { name: string }[]) =>
    Object.fromEntries(all.map(({ name, ...rest }) => [name, rest]));
  return {
    version,
    mission,
    ...engineStatus(view),
    safeMode: safeModeStatus(snapshot, agent.safeModeRule()),
    ...attainmentStatus(view),
    device: loaded.device,
    features: loaded.features,
    readings: readingsOf(agent),
    critical: byName(loaded.tasks.map((_, id) => taskOf(agent, snapshot, loaded, id))),
    background: byName(loaded.jobs.map((_, id) => jobOf(agent, snapshot, loaded, id))),
  };
}

/** `null`: unknown. */
export function readingsOf(agent: AgentView) {
  const { powerWatts, temperatureCelsius } = agent.readings();
  return { powerWatts: powerWatts ?? null, temperatureCelsius: temperatureCelsius ?? null };
}

function engineStatus(view: MetricsView): Record<string, unknown> {
  const { snapshot } = view;
  return {
    state: snapshot.state,
    backend: snapshot.backend,
    timing: snapshot.backend === "sim" ? "simulated" : "measured",
    planId: snapshot.planId,
    holds: snapshot.holds,
    agent: readAll(AGENT_METRICS, view),
    ...(view.store === undefined ? {} : { store: describeStore(view.store) }),
  };
}

function describeStore({ total, ...store }: StoreView): Record<string, unknown> {
  return { ...store, sinceFirstStart: nested(total) };
}
