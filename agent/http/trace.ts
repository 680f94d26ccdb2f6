/**
 * What ran on the GPU lately, as the trace format of Chrome: https://ui.perfetto.dev opens it.
 *
 * One process with a lane for each task and job. Times are microseconds of the engine's clock.
 */
import type { TraceRecord, TraceRequest, TraceSlice } from "../../ffi/mod.ts";
import { z } from "zod";
import { parseDurationNs } from "../quantity.ts";
import type { AgentView } from "./agent_view.ts";
import { problem } from "./problem.ts";
import { json, type Route, route } from "./routes.ts";

const DEFAULT_NS = 2e9;
const PROCESS = 1;
/** Lanes of jobs come behind those of tasks. */
const FIRST_JOB = 1000;

const traceSchema = z.looseObject({
  traceEvents: z.array(z.looseObject({ ph: z.string(), pid: z.number() })),
  displayTimeUnit: z.literal("ns"),
});

export function traceRoutes(agent: AgentView): Route[] {
  return [
    route({
      method: "get",
      path: "/v1/trace",
      summary: "Recent requests and slices, for ui.perfetto.dev.",
      description:
        "The engine keeps the last 16384 of both; what is older is not there, however long `for` is.",
      tag: "status",
      parameters: [{
        name: "for",
        in: "query",
        description: "How far back, such as 500ms or 2s; default 2s.",
        schema: { type: "string", default: "2s" },
      }],
      answers: { 200: { description: "Chrome's trace format.", schema: traceSchema } },
      problems: [400],
      handle({ c }) {
        const snapshot = agent.view()?.snapshot;
        if (snapshot === undefined) return problem(503, "the agent loads yet");
        const given = c.req.query("for");
        let lengthNs = DEFAULT_NS;
        try {
          if (given !== undefined) lengthNs = parseDurationNs(given);
        } catch {
          return problem(400, "`for` must be a duration such as 500ms or 2s", {
            errors: [{ field: "for", rule: "must be a duration" }],
          });
        }
        return json(
          chromeTrace(agent, recordsSince(agent, snapshot.nowNs - lengthNs), snapshot.backend === "sim"),
        );
      },
    }),
  ];
}

/** Those that ended behind `fromNs`. */
function recordsSince(agent: AgentView, fromNs: number): TraceRecord[] {
  return allRecords(agent).filter((record) =>
    (record.kind === "slice" ? record.endNs : record.doneNs) >= fromNs
  );
}

/** All that is kept, oldest first. */
export function allRecords(agent: Pick<AgentView, "trace">): TraceRecord[] {
  const found: TraceRecord[] = [];
  let at = 0;
  for (;;) {
    const { records, next } = agent.trace(at);
    found.push(...records);
    if (next === at || records.length === 0) return found;
    at = next;
  }
}

/** Plain JSON. `simulated`: no GPU did any of it. */
export function chromeTrace(
  { mission, version }: Pick<AgentView, "mission" | "version">,
  records: readonly TraceRecord[],
  simulated: boolean,
) {
  const lane = (tid: number, name: string) => [
    { ph: "M", pid: PROCESS, tid, name: "thread_name", args: { name } },
    { ph: "M", pid: PROCESS, tid, name: "thread_sort_index", args: { sort_index: tid } },
  ];
  const taskName = (id: number) => mission.critical[id]?.name ?? `task ${id}`;
  const jobName = (id: number) => mission.background[id]?.name ?? `job ${id}`;
  return {
    traceEvents: [
      {
        ...{ ph: "M", pid: PROCESS, tid: 0, name: "process_name" },
        args: { name: simulated ? "GPU (simulated)" : "GPU" },
      },
      ...mission.critical.flatMap(({ name }, id) => lane(id + 1, name)),
      ...mission.background.flatMap(({ name }, id) => lane(FIRST_JOB + id, name)),
      ...records.flatMap((record) =>
        record.kind === "slice"
          ? sliceEvents(record, jobName(record.job))
          : requestEvents(record, taskName(record.task), jobName)
      ),
    ],
    displayTimeUnit: "ns" as const,
    otherData: { mission: mission.file, version, timing: simulated ? "simulated" : "measured" },
  };
}

function span(name: string, tid: number, beginNs: number, endNs: number) {
  return { ph: "X", pid: PROCESS, tid, name, ts: beginNs / 1e3, dur: Math.max(0, endNs - beginNs) / 1e3 };
}

function sliceEvents({ kind: _, job, beginNs, endNs, ...args }: TraceSlice, name: string) {
  return [{ ...span(name, FIRST_JOB + job, beginNs, endNs), cat: args.level, args }];
}

function requestEvents(record: TraceRequest, name: string, jobName: (id: number) => string) {
  const { task, arrivalNs, launchNs, doneNs, deadlineNs, drainNs, drainJob } = record;
  const tid = task + 1;
  const ran = launchNs > 0;
  const { kind: _, task: __, drainJob: ___, ...rest } = record;
  const args = { ...rest, drainJob: drainJob < 0 ? null : jobName(drainJob) };
  const events: Record<string, unknown>[] = [];
  const startNs = ran ? launchNs : doneNs;
  if (startNs > arrivalNs) events.push({ ...span("waits", tid, arrivalNs, startNs), cat: "wait", args });
  if (ran) {
    events.push({ ...span(`${name} ${record.number}`, tid, launchNs, doneNs), cat: record.outcome, args });
    if (drainNs > 0) {
      events.push({ ...span("drain", tid, launchNs, Math.min(doneNs, launchNs + drainNs)), cat: "drain" });
    }
  }
  events.push({
    ...{ ph: "i", pid: PROCESS, tid, s: "t", cat: record.outcome },
    ...{
      name: record.outcome === "on-time" ? "deadline" : `deadline: ${record.outcome}`,
      ts: deadlineNs / 1e3,
    },
  });
  return events;
}
