/** What may an operator change while it runs? Jobs, safe mode, the policy; and submit a request by hand. */
import { z } from "zod";
import { InputError } from "../errors.ts";
import { builtInPolicy } from "../prepare.ts";
import type { JobOrder } from "../orders.ts";
import { safeModeStatus } from "../safe_mode.ts";
import { strictObject } from "../schema.ts";
import { POLICY_NAMES, POLICY_OPTIONS } from "../../policies/registry.ts";
import type { AgentView } from "./agent_view.ts";
import { problem } from "./problem.ts";
import { json, type Route, route } from "./routes.ts";
import { jobState } from "./status.ts";

const SMALL_BYTES = 10_000;
const MOST_INPUT_BYTES = 64 * 2 ** 20;
const INFER_MS = 10_000;

const safeModeBody = strictObject({ on: z.boolean() });
const policyBody = strictObject({
  name: z.string(),
  options: z.record(z.string(), z.number()).default({}),
});
const policySchema = z.object({
  name: z.string(),
  file: z.string().nullable(),
  options: z.record(z.string(), z.unknown()),
  since: z.string().nullable().describe(
    "When it was ordered in the place of the mission's; null: it is the mission's.",
  ),
  builtIn: z.record(z.string(), z.array(z.string())),
});
const safeModeSchema = z.looseObject({ on: z.boolean(), reasons: z.array(z.string()) });
const orderSchema = z.object({ name: z.string(), state: z.string(), why: z.string().nullable() });
const inferSchema = z.object({
  number: z.number(),
  outcome: z.enum(["on-time", "late", "dropped", "failed"]),
  responseNs: z.number(),
  simulated: z.boolean(),
  output: z.string().nullable(),
});

const ORDERS: readonly [JobOrder, string][] = [
  ["pause", "Leaves the job out of every plan until it is resumed."],
  ["resume", "Lets a paused job run again."],
  ["cancel", "Ends the job for the rest of the run, over a crash of the agent too; it cannot be resumed."],
];

export function controlRoutes(agent: AgentView): Route[] {
  return [
    ...ORDERS.map(([order, description]) => orderRoute(agent, order, description)),
    ...safeModeRoutes(agent),
    ...policyRoutes(agent),
    inferRoute(agent),
  ];
}

function orderRoute(agent: AgentView, order: JobOrder, description: string): Route {
  return route({
    method: "post",
    path: `/v1/jobs/{name}/${order}`,
    summary: description,
    tag: "jobs",
    answers: { 200: { description: "How it is now.", schema: orderSchema } },
    problems: [404, 409],
    handle({ name }) {
      const id = agent.mission.background.findIndex((job) => job.name === name);
      if (id < 0) return problem(404, `no background job ${JSON.stringify(name.slice(0, 64))}`);
      const view = agent.view();
      if (view === undefined) return problem(503, "the agent loads yet");
      if (!agent.live.order(name, order)) return problem(409, `${name} is cancelled for this run`);
      agent.changed();
      agent.events.add({
        timeNs: view.snapshot.nowNs,
        kind: "operator",
        source: name,
        text: `${order} was ordered`,
      });
      return json({ name, ...jobState(agent, name, view.snapshot, id) });
    },
  });
}

function safeModeRoutes(agent: AgentView): Route[] {
  const status = () => {
    const view = agent.view();
    return view === undefined
      ? problem(503, "the agent loads yet")
      : json(safeModeStatus(view.snapshot, agent.safeModeRule()));
  };
  const answers = { 200: { description: "How it stands.", schema: safeModeSchema } };
  return [
    route({
      ...{ method: "get", path: "/v1/safe-mode", summary: "Safe mode, since when and why.", tag: "status" },
      answers,
      handle: status,
    }),
    route({
      method: "put",
      path: "/v1/safe-mode",
      summary: "Keeps all background away, or takes that back.",
      description: "`off` ends the operator's reason only: safe mode stands while another one does.",
      tag: "status",
      body: { schema: safeModeBody, maxBytes: SMALL_BYTES },
      answers,
      handle({ body }) {
        if (agent.view() === undefined) return problem(503, "the agent loads yet");
        agent.forceSafeMode(body.on);
        agent.changed();
        return status();
      },
    }),
  ];
}

function policyRoutes(agent: AgentView): Route[] {
  const now = () => {
    const { name, file, options } = agent.live.values.policy;
    const since = agent.live.orders.policy?.since ?? null;
    return json({ name, file: file?.file ?? null, options, since, builtIn: { ...POLICY_OPTIONS } });
  };
  const answers = { 200: { description: "The policy in force.", schema: policySchema } };
  return [
    route({
      ...{ method: "get", path: "/v1/policy", summary: "The background policy.", tag: "policy" },
      answers,
      handle: now,
    }),
    route({
      method: "put",
      path: "/v1/policy",
      summary: "Another built-in policy, from the next plan on.",
      description: `One of ${
        POLICY_NAMES.join(", ")
      }. A policy of your own comes by the mission, and a reload. It holds until the next reload that changes the policy, over a crash of the agent too.`,
      tag: "policy",
      body: { schema: policyBody, maxBytes: SMALL_BYTES },
      answers,
      handle({ body }) {
        try {
          const builtIn = builtInPolicy(body, "");
          agent.live.orderPolicy({ name: body.name, builtIn, file: undefined, options: body.options });
        } catch (error) {
          if (!(error instanceof InputError)) throw error;
          const errors = error.problems.map(({ field, rule }) => ({
            field: field.replace(/^policy\.?/, ""),
            rule,
          }));
          return problem(400, "no such policy, or it has other options", { errors });
        }
        return now();
      },
    }),
  ];
}

function inferRoute(agent: AgentView): Route {
  return route({
    method: "post",
    path: "/v1/tasks/{name}/infer",
    summary: "One request by hand: the slow door, for trying out.",
    description:
      "For tasks with `source: {api: true}`. The body is the input blob; the answer comes when the result is there, milliseconds after it. Sensors belong on a socket or a ring. With `Prefer: respond-async` the answer comes at once.",
    tag: "tasks",
    parameters: [{
      name: "prefer",
      in: "header",
      description: "`respond-async`: answer 202 with the number only.",
      schema: { type: "string" },
    }],
    body: { binary: true, maxBytes: MOST_INPUT_BYTES },
    answers: {
      200: {
        description: "`output`: in base64; null where outputs are not kept, or simulated.",
        schema: inferSchema,
      },
      202: { description: "Accepted.", schema: z.object({ number: z.number() }) },
    },
    problems: [404, 504],
    async handle({ c, name, body }) {
      const outcome = agent.submit(name, body as unknown as Uint8Array);
      switch (outcome.kind) {
        case "unknown-task":
          return problem(
            404,
            `no critical task ${JSON.stringify(name.slice(0, 64))} takes requests over HTTP`,
          );
        case "wrong-size":
          return problem(400, `an input of ${name} has ${outcome.expectedBytes} bytes`);
        case "busy":
          return problem(503, "no free slot; the request is counted as dropped", {
            headers: { "retry-after": "1" },
          });
        case "accepted":
          break;
      }
      const { number } = outcome;
      if (c.req.header("prefer")?.includes("respond-async")) return json({ number }, 202);
      const result = await agent.resultOf(name, number, INFER_MS);
      if (result === undefined) return problem(504, `request ${number} did not end within 10 s`);
      const { dropped, failed, late, doneNs, arrivalNs, payload, complete, simulated } = result;
      return json({
        number,
        outcome: dropped ? "dropped" : failed ? "failed" : late ? "late" : "on-time",
        responseNs: Math.max(0, doneNs - arrivalNs),
        simulated,
        output: complete && !simulated && payload.length > 0 ? base64(payload) : null,
      });
    },
  });
}

function base64(bytes: Uint8Array): string {
  const PIECE = 0x8000;
  let text = "";
  for (let at = 0; at < bytes.length; at += PIECE) {
    text += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  }
  return btoa(text);
}
