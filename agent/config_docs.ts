/**
 * What does each key of a mission file mean?
 *
 * One line for each, keyed by its path; NAME stands for the name of a task or job. The JSON Schema for editors and the
 * table of docs/MISSION.md are made of these, of the schema's own types, ranges and defaults, and of what is live.
 */
import { JOB_FIELDS, MISSION_FIELDS, POLICY_FIELDS, TASK_FIELDS } from "./reload/diff.ts";

const SOURCE_RATE = "How often requests come";
const OUTPUT: Readonly<Record<string, string>> = {
  output: "Where results go.",
  "output.jsonl": "One line of JSON for each result, in this file.",
  "output.dir": "Two files for each result, in this folder; three as masks.",
  "output.as":
    "masks: the one output u8 [height, width] as PNG, and the outlines of what is not 0 as GeoJSON, in pixels.",
  "output.across":
    "Of masks: frames are tiles of a picture, so many in a row; outlines are in its pixels. Not given: in the frame's.",
  "output.every": "Only results whose number is a multiple of it are written.",
  "output.shm": "A ring in shared memory that the engine writes itself, for another process to read.",
  "output.slots": "Results that the ring holds.",
  "output.expiry": "Readers count the writer as gone when it has been silent for so long.",
};

export const KEY_DOCS: Readonly<Record<string, string>> = {
  device: "The GPU.",
  "device.backend": "Where to run: auto takes the GPU if there is one and simulates otherwise.",
  "device.reserveSms": "SMs that background never uses, rounded up to what the device can split off.",
  "device.backgroundMemory": "GPU memory of all background jobs together; not given: no limit.",
  "device.foreign":
    "Names of programs that may use the GPU beside this agent; the first 15 characters count. [] says that there are none. Not given: nothing is said, and where others cannot be seen no attainment is claimed.",
  http: "The status API; false: none.",
  "http.listen":
    "HOST:PORT, port 0 for any free one; false: none. An address that other machines reach needs --allow-remote.",
  "http.socket": "A Unix socket beside the port, or in its place; its owner and group may change things.",
  "http.tokenFile":
    "What opens the port to changes; made at the first start, mode 0600. Not given: `token`, beside the sockets of engines.",
  preemptionBound: "How long background may keep the GPU after the gate has closed.",
  overcommit: "Start even if critical tasks cannot all meet their deadlines.",
  critical: "Tasks that must meet a deadline, at most 7, by name.",
  "critical.NAME.external":
    "In the place of a bundle and a source: a Unix socket for the process that does this task's work itself.",
  "critical.NAME.rate": "Of an external task: about how often requests come.",
  "critical.NAME.execution": "Of an external task: what one request takes by itself.",
  "critical.NAME.bundle": "Folder of the bundle; must be given unless the task is external.",
  "critical.NAME.source": "What makes a request; must be given unless the task is external.",
  "critical.NAME.source.frames": "A folder of frames, played in a loop at `rate`.",
  "critical.NAME.source.api": "Requests come by HTTP.",
  "critical.NAME.source.socket": "A Unix socket: each datagram is a request.",
  "critical.NAME.source.shm": "A ring in shared memory: each record is a request.",
  "critical.NAME.source.rate":
    `${SOURCE_RATE}; with frames the rate itself, else a hint, or with api the most that may come.`,
  "critical.NAME.deadline": "How long a request may take.",
  "critical.NAME.deadline.within": "How long a request may take.",
  "critical.NAME.deadline.from": "What it counts from: the arrival here, or the time that the sensor gave.",
  "critical.NAME.queue":
    "latest: a new request replaces one that waits. fifo:N: up to N wait, N from 1 to 16.",
  "critical.NAME.onMiss": "What becomes of a request that is late: its result is flagged, or there is none.",
  "critical.NAME.maxBlocking": "How long a background kernel that cannot be preempted may delay it.",
  "critical.NAME.yield":
    "Background leaves at once, or when the deadline needs it, or never, as the task has SMs of its own (device.reserveSms).",
  "critical.NAME.anticipate": "Background leaves ahead of the request that is expected next.",
  "critical.NAME.overlap": "The deadline may be longer than the period.",
  ...prefixed("critical.NAME", OUTPUT),
  background: "Jobs for the idle slices, at most 24, by name.",
  "background.NAME.bundle": "Folder of the bundle.",
  "background.NAME.weight": "Share of background time, in proportion to the others'.",
  "background.NAME.source": "What a unit works on.",
  "background.NAME.source.frames": "A folder of frames, in a loop.",
  "background.NAME.source.rate": `${SOURCE_RATE}; not given: one frame right behind the other.`,
  "background.NAME.source.queue": "A folder that files are renamed into; each is done once.",
  "background.NAME.source.keep": "What becomes of files that are done: moved to a folder done, or removed.",
  "background.NAME.source.none": "No input; needs a bundle without one.",
  "background.NAME.isolation":
    "shared: in the engine's process. process: in its own. Not given: shared if the bundle was verified on this machine and has no plugin.",
  ...prefixed("background.NAME", OUTPUT),
  "background.NAME.when": "Phases of the flight in which it may run; none: in all, the unknown one too.",
  "background.NAME.deadline": "A wish: how long a unit should take.",
  "background.NAME.memory": "GPU memory that it may need at most; not given: no limit.",
  "background.NAME.enabled": "false: it is loaded and gets nothing, until a reload switches it on.",
  policy: "Who of the background runs when: the name of a policy, a file, or the keys below.",
  "policy.name": "A built-in policy; see calypte policy list.",
  "policy.file": "A policy of your own, a .js, .mjs or .ts file; not together with name.",
  "policy.lease": "How long a plan holds without a new one.",
  "policy.options": "What the policy reads as options.",
  flight: "The vehicle whose autopilot the agent listens to.",
  "flight.mavlink": "Where its MAVLink datagrams come in: udp:ADDRESS:PORT of this machine.",
  "flight.systemId": "The vehicle's MAVLink system id.",
  "flight.onLinkLoss":
    "stop: no background without a heartbeat. keep: the loss of the link is a phase like any other.",
  "flight.linkTimeout": "Without a heartbeat for so long the link is lost.",
  "flight.report": "Whether the agent sends ONBOARD_COMPUTER_STATUS to it, once a second.",
  conditions: "Where the agent learns about the flight.",
  "conditions.file": "A JSON file that a companion of the flight stack rewrites.",
  "conditions.maxAge": "What is older is not known.",
  stopBackgroundAbove:
    "Background stops beyond these, and while what they limit is not known. Needs conditions.",
  "stopBackgroundAbove.temperature": "Of the board.",
  "stopBackgroundAbove.power": "Of the board.",
  "stopBackgroundAbove.batteryBelow": "Background stops below it.",
  safeMode: "When misses keep background away; off: only people do.",
  "safeMode.misses": "So many misses within `within` enter safe mode.",
  "safeMode.within": "The window in which misses count.",
  "safeMode.clearAfter": "Without a miss for so long, it ends.",
  "safeMode.staleLeases": "So many leases that ended without a new plan enter it too; 0: they do not.",
  state: "What is kept over restarts, and the black box; off: nothing.",
  "state.dir":
    "The folder; default: one for this mission below CALYPTE_STATE, else below the user's state folder.",
};

function prefixed(prefix: string, docs: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(docs).map(([key, text]) => [`${prefix}.${key}`, text]));
}

const LIVE: readonly string[] = [
  ...liveKeys("", MISSION_FIELDS),
  ...liveKeys("", POLICY_FIELDS),
  ...liveKeys("critical.NAME.", TASK_FIELDS),
  ...liveKeys("background.NAME.", JOB_FIELDS),
];

function liveKeys(
  prefix: string,
  fields: Readonly<Record<string, { key: string; live: boolean }>>,
): string[] {
  return Object.values(fields).filter(({ live }) => live).map(({ key }) => prefix + key);
}

/** Whether a reload changes it while the mission runs. */
export function isLive(key: string): boolean {
  return LIVE.some((live) => key === live || key.startsWith(`${live}.`));
}

/** A JSON Schema, as far as it matters here. */
export interface SchemaNode {
  type?: string | string[];
  description?: string;
  default?: unknown;
  const?: unknown;
  enum?: readonly unknown[];
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  required?: readonly string[];
  properties?: Record<string, SchemaNode>;
  additionalProperties?: boolean | SchemaNode;
  anyOf?: readonly SchemaNode[];
  items?: SchemaNode;
  [other: string]: unknown;
}

export interface KeyNode {
  /** Such as `critical.NAME.deadline`. */
  key: string;
  node: SchemaNode;
  /** The key must be given where the map that holds it is, in all of its forms. */
  required: boolean;
}

/** Keys that users give names to. */
const NAMED = ["critical", "background"];

/** Every key that a mission may have, in the order of the schema; one that has several forms comes several times. */
export function keysOf(schema: SchemaNode, prefix = ""): KeyNode[] {
  const own = Object.entries(schema.properties ?? {}).flatMap(([name, node]): KeyNode[] => {
    const key = prefix + name;
    const required = schema.required?.includes(name) === true;
    return [{ key, node, required }, ...keysOf(node, `${key}.`)];
  });
  const { additionalProperties: named } = schema;
  const inner = typeof named === "object" && NAMED.includes(prefix.slice(0, -1))
    ? keysOf(named, `${prefix}NAME.`)
    : [];
  return [...own, ...inner, ...(schema.anyOf ?? []).flatMap((form) => keysOf(form, prefix))];
}

/** The same schema with the texts above in it. */
export function described(schema: SchemaNode): SchemaNode {
  const copy = structuredClone(schema);
  for (const { key, node } of keysOf(copy)) {
    const text = KEY_DOCS[key];
    if (text === undefined) continue;
    const live = isLive(key) ? " Changes on a reload." : "";
    // Of a quantity, the schema's own words are its form and range.
    const form = node.description?.startsWith("a ") ? ` (${node.description})` : "";
    node.description = text + form + live;
  }
  return copy;
}
