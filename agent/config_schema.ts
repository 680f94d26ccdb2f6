/**
 * Which texts are a mission file, field by field?
 *
 * The shape only: types, ranges, units, names. Rules that join several fields are in config.ts.
 */
import { z } from "zod";
import { described, type SchemaNode } from "./config_docs.ts";
import { safeModeSchema } from "./config_safe_mode.ts";
import { checkExternal, externalKeys } from "./external_task.ts";
import { conditionsSchema, policySchema, stopSchema, whenSchema } from "./config_policy.ts";
import {
  bytesSchema,
  durationSchema,
  frequencySchema,
  nameSchema,
  pathSchema as filePath,
  strictObject,
} from "./schema.ts";
import { flightSchema } from "./config_flight.ts";

/** CALYPTE_MAX_TASKS in calypte.h. */
export const MAX_CRITICAL = 7;
/** CALYPTE_MAX_JOBS in calypte.h. */
export const MAX_BACKGROUND = 24;
export const DEFAULT_LISTEN = "127.0.0.1:8717";

const LISTEN_RULE = 'must be "host:port" such as "127.0.0.1:8717", or false';
const address = z.string({ error: LISTEN_RULE }).transform((text, context) => {
  const match = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253}):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  const hostname = match?.[1]?.replace(/^\[|\]$/g, "");
  if (hostname !== undefined && port <= 65535) return { hostname, port };
  context.addIssue({ code: "custom", message: LISTEN_RULE });
  return z.NEVER;
});
const off = z.literal(false);
const http = z.union([
  off,
  strictObject({
    listen: z.union([off, address], { error: LISTEN_RULE }).prefault(DEFAULT_LISTEN),
    socket: filePath.optional(),
    tokenFile: filePath.optional(),
  }),
], { error: "must be {listen, socket, tokenFile} or false" });

const framesSource = strictObject({ frames: filePath, rate: frequencySchema() });
const apiSource = strictObject({ api: z.literal(true), rate: frequencySchema().optional() });
const socketSource = strictObject({ socket: filePath, rate: frequencySchema().optional() });
const shmSource = strictObject({ shm: filePath, rate: frequencySchema().optional() });
const criticalSource = z.union([framesSource, apiSource, socketSource, shmSource], {
  error: "must be {frames, rate}, {socket, rate}, {shm, rate} or {api: true, rate}",
});

const backgroundFrames = strictObject({ frames: filePath, rate: frequencySchema().optional() });
const noSource = strictObject({ none: z.literal(true) });
const queueSource = strictObject({
  queue: filePath,
  keep: z.enum(["done", "none"], { error: "must be done or none" }).default("done"),
});
const backgroundSource = z.union([backgroundFrames, queueSource, noSource], {
  error: "must be {frames}, {queue} or {none: true}",
});

const every = z.int().min(1).max(1_000_000).default(1);
const output = z.union([
  z.literal("drop"),
  strictObject({ jsonl: filePath, every }),
  strictObject({
    dir: filePath,
    every,
    as: z.enum(["binaries", "masks"]).default("binaries"),
    across: z.int().min(1).max(1024).optional(),
  }).refine(({ as, across }) => across === undefined || as === "masks", {
    path: ["across"],
    error: "must be left out without `as: masks`",
  }),
  strictObject({
    shm: filePath,
    slots: z.int().min(2).max(65_536).default(8),
    expiry: durationSchema({ min: 10e6, max: 3600e9 }).prefault("500ms"),
  }),
], {
  error: "must be {jsonl}, {dir}, {shm} or drop",
});

const deadline = z.union([
  durationSchema(),
  strictObject({
    within: durationSchema(),
    from: z.enum(["arrival", "sensor"], { error: "must be arrival or sensor" }).default("arrival"),
  }),
], { error: 'must be a duration with its unit such as "15ms", or {within, from}' });

const QUEUE_RULE = "must be latest, or fifo:N with N from 1 to 16";
const queue = z.string({ error: QUEUE_RULE }).regex(/^(latest|fifo:([1-9]|1[0-6]))$/, QUEUE_RULE).transform((
  text,
) =>
  text === "latest"
    ? { kind: "latest" as const, depth: 1 }
    : { kind: "fifo" as const, depth: Number(text.slice("fifo:".length)) }
);

const isolation = z.enum(["shared", "process"], { error: "must be shared or process" });

const criticalTask = strictObject({
  bundle: filePath.optional(),
  source: criticalSource.optional(),
  ...externalKeys,
  deadline,
  queue: queue.prefault("latest"),
  onMiss: z.enum(["publish-late", "drop"], { error: "must be publish-late or drop" }).default("publish-late"),
  maxBlocking: durationSchema({ allowZero: true }).prefault("0us"),
  yield: z.enum(["always", "when-needed", "reserved"], { error: "must be always, when-needed or reserved" })
    .default("always"),
  anticipate: z.boolean().default(true),
  overlap: z.boolean().default(false),
  output: output.prefault("drop"),
}, ["plugin"]).superRefine(checkExternal);

const backgroundJob = strictObject({
  bundle: filePath,
  weight: z.int().min(1).max(1_000_000).default(1),
  source: backgroundSource.prefault({ none: true }),
  isolation: isolation.optional(),
  output: output.prefault("drop"),
  when: whenSchema.default([]),
  deadline: durationSchema().optional(),
  memory: bytesSchema().optional(),
  enabled: z.boolean().default(true),
}, ["plugin"]);

const FOREIGN_RULE = "must be the name of a program, without its folder, of 1 to 64 characters";
const foreign = z.array(z.string({ error: FOREIGN_RULE }).regex(/^[^\p{Cc}/]{1,64}$/u, FOREIGN_RULE)).max(64);

const STATE_RULE = "must be {dir} or off";
const state = z.union([z.literal("off"), off, strictObject({ dir: filePath.optional() })], {
  error: STATE_RULE,
});

export const missionSchema = strictObject({
  device: strictObject({
    backend: z.enum(["auto", "cuda", "sim"], { error: "must be auto, cuda or sim" }).default("auto"),
    reserveSms: z.int().min(0).max(1024).default(0),
    backgroundMemory: bytesSchema().optional(),
    foreign: foreign.optional(),
  }).prefault({}),
  http: http.prefault({ listen: DEFAULT_LISTEN }),
  preemptionBound: durationSchema().prefault("30us"),
  overcommit: z.boolean().default(false),
  critical: z.record(nameSchema, criticalTask).prefault({}),
  background: z.record(nameSchema, backgroundJob).prefault({}),
  policy: policySchema,
  flight: flightSchema.optional(),
  conditions: conditionsSchema.optional(),
  stopBackgroundAbove: stopSchema.prefault({}),
  safeMode: safeModeSchema,
  state: state.prefault({}),
});

/** A mission whose shape is right: durations in nanoseconds, rates as periods in nanoseconds, defaults applied. */
export type RawMission = z.infer<typeof missionSchema>;

/** The JSON Schema of a mission file; it states shapes and ranges, not the rules that join fields. */
export function missionJsonSchema(): Record<string, unknown> {
  const { $schema, ...schema } = z.toJSONSchema(missionSchema, { io: "input" }) as SchemaNode;
  return { $schema, title: "A mission of Calypte", ...described(schema) };
}
