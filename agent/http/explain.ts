/** Which requests missed lately, and where did the time of one of them go? From the trace, for as long as that is kept. */
import { z } from "zod";
import type { TraceRecord, TraceRequest } from "../../ffi/mod.ts";
import { explain, type Surroundings } from "../explain/explain.ts";
import { headline, partText, remedyOf } from "../explain/words.ts";
import type { AgentView } from "./agent_view.ts";
import { problem } from "./problem.ts";
import { json, type Route, route } from "./routes.ts";
import { allRecords } from "./trace.ts";

const MOST_MISSES = 100;

const outcome = z.enum(["on-time", "late", "dropped", "failed"]);
const missSchema = z.looseObject({ id: z.string(), outcome, doneNs: z.number(), text: z.string() });
const explanationSchema = missSchema.extend({
  totalNs: z.number(),
  allowedNs: z.number(),
  cause: z.string(),
  remedy: z.string(),
  parts: z.array(z.looseObject({ cause: z.string(), ns: z.number(), text: z.string() })),
});

export function explainRoutes(agent: AgentView): Route[] {
  return [
    route({
      method: "get",
      path: "/v1/misses",
      summary: "Requests that were late, dropped or failed lately.",
      description:
        `Newest first, at most ${MOST_MISSES}, as far back as the trace goes; each with its main cause.`,
      tag: "tasks",
      answers: { 200: { description: "With their ids.", schema: z.object({ items: z.array(missSchema) }) } },
      handle() {
        const around = surroundings(agent);
        if (around === undefined) return problem(503, "the agent loads yet");
        const missed = around.records.filter((record): record is TraceRequest =>
          record.kind === "request" && record.outcome !== "on-time"
        );
        const items = missed.slice(-MOST_MISSES).reverse().map((request) => {
          const explanation = explain(request, around);
          const { id, outcome, doneNs, totalNs, allowedNs, cause } = explanation;
          return { id, outcome, doneNs, totalNs, allowedNs, cause, text: headline(explanation) };
        });
        return json({ items });
      },
    }),
    route({
      method: "get",
      path: "/v1/tasks/{name}/requests/{number}/explanation",
      summary: "Where the time of one request went.",
      description:
        "`parts` add up to `totalNs`. For as long as the trace keeps it: the last 16384 requests and slices.",
      tag: "tasks",
      answers: { 200: { description: "The main cause first.", schema: explanationSchema } },
      problems: [404],
      handle({ c, name }) {
        const task = agent.mission.critical.findIndex((each) => each.name === name);
        if (task < 0) return problem(404, `no critical task ${JSON.stringify(name.slice(0, 64))}`);
        const around = surroundings(agent);
        if (around === undefined) return problem(503, "the agent loads yet");
        const number = c.req.param("number") ?? "";
        // An engine that was restarted counts from 0 again: the newest is meant.
        const request = around.records.findLast((record): record is TraceRequest =>
          record.kind === "request" && record.task === task && `${record.number}` === number
        );
        if (request === undefined) {
          return problem(
            404,
            `the trace has no request ${name}/${number.slice(0, 20)}: it has not ended, or was long ago`,
          );
        }
        const explanation = explain(request, around);
        const { foreign } = agent.view() ?? {};
        return json({
          ...explanation,
          text: headline(explanation),
          remedy: remedyOf(explanation.cause),
          parts: explanation.parts.map((part) => ({ ...part, text: partText(part) })),
          // Why somebody else's work cannot be told from slow work; null: it can.
          foreignUnknown: foreign?.unknown ?? null,
        });
      },
    }),
  ];
}

function surroundings(agent: AgentView): Surroundings | undefined {
  const view = agent.view();
  if (view === undefined) return undefined;
  const records: TraceRecord[] = allRecords(agent);
  const { foreign } = view;
  const users = foreign?.users.map(({ name }) => name) ?? [];
  const declared = foreign?.declared ?? [];
  const reserves = agent.loaded()?.features.some(({ name, on }) => name === "reserved-sms" && on) === true;
  return {
    records,
    tasks: agent.mission.critical.map(({ name, from, yield: yields }) => ({
      ...{ name, from, beside: reserves && yields === "reserved" },
    })),
    jobs: agent.mission.background,
    // Where they cannot be seen, a declaration stands for them.
    foreign: users.length > 0 || foreign?.unknown == null ? [...new Set(users)] : [...declared],
  };
}
