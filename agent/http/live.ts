/**
 * What happens now? Events as they come, and what a dashboard draws: requests, slices of background, and the state.
 *
 * The stream's shapes are for the agent's own page and `calypte top`; `/v1/events` is for everybody.
 */
import type { TraceRecord } from "../../ffi/mod.ts";
import { z } from "zod";
import { bucketBounds, quantileNs } from "../../ffi/mod.ts";
import type { Histogram } from "../../ffi/engine.ts";
import { safeModeStatus } from "../safe_mode.ts";
import type { AgentView } from "./agent_view.ts";
import type { PastEvent } from "./history.ts";
import { problem } from "./problem.ts";
import { json, type Route, route } from "./routes.ts";
import { type EventStream, eventStream } from "./sse.ts";
import { jobState, readingsOf } from "./status.ts";

const TRACE_MS = 100;
const STATE_MS = 500;
/** Slices of one job that follow each other this closely are drawn as one. */
const JOIN_NS = 20_000;
const MOST_SLICES = 400;
const MOST_STREAMS = 16;

const eventSchema = z.object({
  id: z.string(),
  timeNs: z.number(),
  kind: z.string(),
  source: z.string().nullable(),
  text: z.string(),
});

export function liveRoutes(agent: AgentView): Route[] {
  let open = 0;
  const stream = (begin: (stream: EventStream) => () => void): Response => {
    if (open >= MOST_STREAMS) return problem(503, `${MOST_STREAMS} streams are open already`);
    open++;
    return eventStream((each) => {
      const end = begin(each);
      return () => {
        open--;
        end();
      };
    });
  };
  return [
    route({
      method: "get",
      path: "/v1/events",
      summary: "What happens, as it happens; first what happened lately.",
      description:
        "With `accept: application/json` those that are kept, at once. A reader that comes again says the last id it saw in `last-event-id`.",
      tag: "events",
      parameters: [{
        name: "last-event-id",
        in: "header",
        description: "Only those behind it.",
        schema: { type: "string" },
      }],
      answers: {
        200: {
          description: "Server-sent events with ids, or a list.",
          schema: z.object({ items: z.array(eventSchema) }),
        },
      },
      handle({ c }) {
        const since = c.req.header("last-event-id");
        if (c.req.header("accept")?.includes("application/json")) {
          return json({ items: agent.events.since(since) });
        }
        return stream((each) => {
          const send = (event: PastEvent) => each.send(event.kind, event, event.id);
          for (const event of agent.events.since(since)) send(event);
          return agent.events.subscribe(send);
        });
      },
    }),
    route({
      method: "get",
      path: "/v1/stream",
      summary: "What the dashboard draws.",
      description: "Server-sent events `hello`, `trace`, `state` and `event`; may change with the dashboard.",
      tag: "events",
      answers: { 200: { description: "Server-sent events.", type: "text/event-stream" } },
      handle({ c }) {
        if (agent.loaded() === undefined) return problem(503, "the agent loads yet");
        const since = c.req.header("last-event-id");
        return stream((each) => follow(agent, each, since));
      },
    }),
  ];
}

function follow(agent: AgentView, stream: EventStream, since: string | undefined): () => void {
  const { mission, version } = agent;
  const snapshot = agent.lastSnapshot();
  const nowNs = snapshot?.nowNs ?? 0;
  stream.send("hello", {
    version,
    mission: mission.file,
    timing: snapshot?.backend === "sim" ? "simulated" : "measured",
    device: { name: agent.loaded()?.device.name ?? "" },
    nowNs,
    tasks: mission.critical.map(({ name, deadlineNs, source }) => ({
      name,
      deadlineNs,
      periodNs: "periodNs" in source && (source.periodNs ?? 0) > 0 ? source.periodNs : null,
    })),
    jobs: mission.background.map(({ name, isolation }) => ({ name, isolation })),
  });
  for (const event of agent.events.since(since)) stream.send("event", event, event.id);
  const unsubscribe = agent.events.subscribe((event) => stream.send("event", event, event.id));
  let at = 0;
  const rates = new Rates();
  const trace = () => {
    const { records, next, lost } = agent.trace(at);
    at = next;
    if (records.length > 0) stream.send("trace", { nowNs: nowOf(agent), lost, ...shown(agent, records) });
  };
  const state = () => {
    const now = stateOf(agent, rates);
    if (now !== undefined) stream.send("state", now);
  };
  const guarded = (step: () => void) => () => {
    try {
      step();
    } catch {
      // The engine restarts: the next look finds it.
    }
  };
  guarded(state)();
  guarded(trace)();
  const timers = [setInterval(guarded(trace), TRACE_MS), setInterval(guarded(state), STATE_MS)];
  return () => {
    unsubscribe();
    for (const timer of timers) clearInterval(timer);
  };
}

function nowOf(agent: AgentView): number {
  return agent.lastSnapshot()?.nowNs ?? 0;
}

interface ShownSlice {
  job: string;
  level: string;
  beginNs: number;
  endNs: number;
  preempted: boolean;
}

function shown(agent: AgentView, records: readonly TraceRecord[]) {
  const { critical, background } = agent.mission;
  const requests = [];
  let slices: ShownSlice[] = [];
  for (const record of records) {
    if (record.kind === "request") {
      const { number, outcome, arrivalNs, launchNs, doneNs, deadlineNs } = record;
      const task = critical[record.task]?.name ?? `${record.task}`;
      requests.push({ task, number, outcome, arrivalNs, launchNs, doneNs, deadlineNs });
      continue;
    }
    const { level, beginNs, endNs, preempted } = record;
    slices.push({ job: background[record.job]?.name ?? `${record.job}`, level, beginNs, endNs, preempted });
  }
  // What is drawn may be coarser than what happened, but nothing that ran is left out.
  for (let gapNs = JOIN_NS;; gapNs *= 4) {
    slices = joined(slices, gapNs);
    if (slices.length <= MOST_SLICES || gapNs > 1e9) return { requests, slices };
  }
}

/** Slices of one job that follow each other more closely than that are one, unless the first was made to leave. */
function joined(slices: readonly ShownSlice[], gapNs: number): ShownSlice[] {
  const found: ShownSlice[] = [];
  const last = new Map<string, ShownSlice>();
  for (const slice of slices) {
    const before = last.get(slice.job);
    const stays = before?.preempted === true && gapNs === JOIN_NS;
    if (before?.level === slice.level && !stays && slice.beginNs - before.endNs < gapNs) {
      Object.assign(before, { endNs: slice.endNs, preempted: slice.preempted });
      continue;
    }
    const next = { ...slice };
    last.set(slice.job, next);
    found.push(next);
  }
  return found;
}

/** Units a second, from one look to the next. */
class Rates {
  readonly #last = new Map<string, { units: number; nowNs: number; rate: number }>();
  of(job: string, units: number, nowNs: number): number {
    const last = this.#last.get(job);
    const moved = last !== undefined && nowNs > last.nowNs;
    const rate = moved ? (units - last.units) * 1e9 / (nowNs - last.nowNs) : last?.rate ?? 0;
    this.#last.set(job, { units, nowNs, rate });
    return Math.max(0, rate);
  }
}

function stateOf(agent: AgentView, rates: Rates) {
  const snapshot = agent.lastSnapshot();
  if (snapshot === undefined) return undefined;
  const { nowNs, readyNs, criticalBusyNs, backgroundBusyNs, state, holds, planId } = snapshot;
  const spanNs = nowNs - readyNs;
  const idleNs = spanNs - criticalBusyNs;
  const { critical, background } = agent.mission;
  const safeMode = safeModeStatus(snapshot, agent.safeModeRule());
  return {
    ...{ nowNs, state, holds, planId },
    safeMode: { on: safeMode.on, reasons: safeMode.reasons },
    idleFill: idleNs > 0 ? Math.min(1, backgroundBusyNs / idleNs) : null,
    gpuBusy: spanNs > 0 ? Math.min(1, (backgroundBusyNs + criticalBusyNs) / spanNs) : null,
    ...readingsOf(agent),
    tasks: Object.fromEntries(critical.map(({ name }, id) => {
      const task = snapshot.tasks[id];
      if (task === undefined) return [name, null];
      const { requests, onTime, late, dropped, failed, missRun, worstExecutionNs, response } = task;
      return [name, {
        ...{ requests, onTime, late, dropped, failed, missRun },
        responseP50Ns: quantileNs(response, 0.5),
        responseP99Ns: quantileNs(response, 0.99),
        worstNs: response.maxNs > 0 ? response.maxNs : worstExecutionNs,
        histogram: bucketsOf(response),
      }];
    })),
    jobs: Object.fromEntries(background.map(({ name }, id) => {
      const job = snapshot.jobs[id];
      if (job === undefined) return [name, null];
      const all = Object.values(job.gpuNs).reduce((sum, ns) => sum + ns, 0);
      const share = Object.fromEntries(
        Object.entries(job.gpuNs).map(([level, ns]) => [level, all > 0 ? ns / all : 0]),
      );
      return [name, {
        ...jobState(agent, name, snapshot, id),
        units: job.units,
        unitsPerSecond: rates.of(name, job.units, nowNs),
        gpuShareByLevel: share,
        weight: agent.live.values.jobs.get(name)?.weight ?? 1,
      }];
    })),
  };
}

function bucketsOf({ buckets }: Histogram): { upToNs: number; count: number }[] {
  const found: { upToNs: number; count: number }[] = [];
  buckets.forEach((count, index) => {
    if (count > 0) found.push({ upToNs: bucketBounds(index).highNs, count });
  });
  return found;
}
