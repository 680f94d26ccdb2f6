/**
 * What does a first mission for these bundles look like?
 *
 * A commented text that is right as it stands: it loads, and says where a person has to decide. Pure; reads and
 * writes nothing.
 */
import { DEFAULT_LISTEN } from "./config_schema.ts";

export interface InitWork {
  /** Of the task or job, kebab-case. */
  name: string;
  /** As the mission will have it. */
  bundle: string;
  takesInput: boolean;
}

export interface InitOptions {
  /** As the command names it. */
  file: string;
  /** `undefined`: background only. */
  critical: InitWork | undefined;
  background: readonly InitWork[];
  /** As the mission will have it; `undefined`: none is known. */
  frames: string | undefined;
}

const SHORTEST = `# calypte run FILE
#
# Written by calypte config init. Every key: docs/MISSION.md. What is not here has its default.
# Paths are relative to this file. Check it with: calypte config check FILE
device: { backend: auto } # auto: the GPU if there is one, else the simulator
http: { listen: "${DEFAULT_LISTEN}" } # status and metrics
preemptionBound: 30us # how long background may keep the GPU after a request has come
`;

export function startingMission({ file, critical, background, frames }: InitOptions): string {
  return [
    SHORTEST.replaceAll("FILE", file),
    ...(critical === undefined ? [] : [criticalText(critical, frames)]),
    ...(background.length === 0
      ? []
      : [`background:\n${background.map((job) => jobText(job, frames)).join("")}`]),
    `policy: { name: weighted-fair, lease: 500ms } # calypte policy list has the others
safeMode: { misses: 3, within: 10s, clearAfter: 10s } # so many misses keep background away
# conditions: { file: conditions.json } # phase, battery, temperature, power, as a companion of the autopilot writes them
# stopBackgroundAbove: { temperature: 85C, power: 25W, batteryBelow: 20% } # needs conditions
`,
  ].join("\n");
}

function criticalText({ name, bundle, takesInput }: InitWork, frames: string | undefined): string {
  const source = frames !== undefined && takesInput
    ? `    source: { frames: ${
      quoted(frames)
    }, rate: 30Hz } # CHANGE: how often requests come; or socket, shm, api
`
    : `    source: { api: true } # CHANGE: each request comes by HTTP, for a try; in flight: socket or shm, with a rate
`;
  return `critical:
  ${name}:
    bundle: ${quoted(bundle)}
${source}    deadline: { within: 30ms, from: arrival } # CHANGE: what your system can bear
    queue: latest # a new request replaces one that waits
    onMiss: publish-late # a late result is flagged; drop: there is none
    output: { jsonl: out/${name}.jsonl }
`;
}

function jobText({ name, bundle, takesInput }: InitWork, frames: string | undefined): string {
  const source = !takesInput
    ? "    # no source: the bundle takes no input\n"
    : frames === undefined
    ? `    source: { queue: queue/${name} } # rename files into this folder; each is done once
`
    : `    source: { frames: ${quoted(frames)} } # back to back; with a rate such as 10Hz: no faster than that
`;
  return `  ${name}:
    bundle: ${quoted(bundle)}
    weight: 1 # share of background time, in proportion to the others'
${source}    output: { jsonl: out/${name}.jsonl }
`;
}

/** JSON's quotes are YAML's. */
function quoted(text: string): string {
  return /^[A-Za-z0-9._/][A-Za-z0-9._/-]*$/.test(text) ? text : JSON.stringify(text);
}
