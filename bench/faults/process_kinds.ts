/** Faults that hit processes from outside: killed, stopped, robbed of their files. They work on the simulator too. */
import { path } from "../../agent/std/mod.ts";
import type { Fault } from "./judge.ts";
import { hit, strike } from "./processes.ts";
import { nowNs, pause, until } from "./scene.ts";
import type { Stage } from "./stage.ts";

/** The agent is killed at random times, now and then while it starts. */
export async function killAgents(
  stage: Stage,
  count: number,
  signals: readonly Deno.Signal[],
): Promise<Fault[]> {
  const faults: Fault[] = [];
  const { scene } = stage;
  while (faults.length < count && !stage.timeIsUp()) {
    await pause(stage.random(0, stage.options.quick ? 250 : 400));
    const engine = stage.enginePid();
    const signal = stage.pick(signals);
    const atNs = nowNs();
    await scene.killAgent(signal);
    // One in three does not get far: what a start leaves half-done is the next one's to cope with.
    const early: Fault[] = [];
    while (faults.length + early.length + 1 < count && stage.random(0, 3) < 1) {
      scene.start();
      await pause(stage.random(10, 900));
      const again = stage.pick(signals);
      early.push({
        atNs: nowNs(),
        recoveredNs: undefined,
        engineLost: false,
        what: `${again} while starting`,
      });
      await scene.killAgent(again);
    }
    const fault = await stage.nextAgent(atNs, signal, engine);
    faults.push(fault, ...early.map((one) => ({ ...one, recoveredNs: fault.recoveredNs })));
    if (fault.recoveredNs === undefined) break;
  }
  return faults;
}

export async function hitEngines(
  stage: Stage,
  count: number,
  signals: readonly Deno.Signal[],
): Promise<Fault[]> {
  const faults: Fault[] = [];
  for (let i = 0; i < count && !stage.timeIsUp(); i++) {
    await pause(stage.random(0, 300));
    const engine = stage.enginePid();
    if (engine === undefined) throw new Error("there is no engine to hit");
    const signal = signals[i % signals.length]!;
    const atNs = nowNs();
    strike(engine, signal);
    const fault = await stage.nextEngine(atNs, signal, engine);
    faults.push(fault);
    if (fault.recoveredNs === undefined) break;
  }
  return faults;
}

/** The agent stands still: critical work goes on, background stops when the lease ends. */
export async function stallAgents(stage: Stage, count: number): Promise<Fault[]> {
  const faults: Fault[] = [];
  for (let i = 0; i < count && !stage.timeIsUp(); i++) {
    const agent = stage.scene.agentPid();
    if (agent === undefined) throw new Error("there is no agent to stop");
    const engine = stage.enginePid();
    const atNs = nowNs();
    hit(agent, "SIGSTOP");
    await pause(2000);
    hit(agent, "SIGCONT");
    const back = await stage.answers();
    const engineLost = stage.enginePid() !== engine;
    if (engineLost) stage.outages.push({ beginNs: atNs, endNs: nowNs() });
    faults.push({ atNs, recoveredNs: back ? nowNs() : undefined, engineLost, what: "SIGSTOP for 2 s" });
    await stage.settle();
  }
  return faults;
}

/** Between two agents the store's files are overwritten in places, cut, or emptied. */
export async function corruptStore(stage: Stage, count: number): Promise<Fault[]> {
  const faults: Fault[] = [];
  const { scene } = stage;
  for (let i = 0; i < count && !stage.timeIsUp(); i++) {
    await pause(stage.random(50, 300));
    const engine = stage.enginePid();
    await scene.killAgent("SIGKILL");
    const atNs = nowNs();
    const what = corrupt(scene.path("state"), stage);
    if (what === undefined) throw new Error("there is nothing in the state folder to corrupt");
    faults.push(await stage.nextAgent(atNs, what, engine));
    if (faults.at(-1)!.recoveredNs === undefined) break;
  }
  return faults;
}

/** What was done; `undefined`: there is no file. */
function corrupt(dir: string, stage: Stage): string | undefined {
  const files = filesBelow(dir).filter((file) => Deno.statSync(file).size > 0 && !file.endsWith(".lock"));
  if (files.length === 0) return undefined;
  const file = stage.pick(files);
  const bytes = Deno.readFileSync(file);
  const name = path.relative(dir, file);
  const how = stage.pick(["bytes", "cut", "zeros", "noise"]);
  if (how === "cut") Deno.truncateSync(file, Math.floor(stage.random(0, bytes.length)));
  else {
    const from = how === "bytes" ? Math.floor(stage.random(0, bytes.length)) : 0;
    const end = how === "bytes"
      ? Math.min(bytes.length, from + 1 + Math.floor(stage.random(0, 8)))
      : bytes.length;
    for (let at = from; at < end; at++) bytes[at] = how === "zeros" ? 0 : Math.floor(stage.random(0, 256));
    Deno.writeFileSync(file, bytes);
  }
  return `${name}: ${how}`;
}

function filesBelow(dir: string): string[] {
  try {
    return [...Deno.readDirSync(dir)].flatMap(({ name, isDirectory, isFile }) => {
      const at = path.join(dir, name);
      return isDirectory ? filesBelow(at) : isFile ? [at] : [];
    });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** The disk is full for a while. How it is made so is in disk.ts. */
export async function fillDisk(
  stage: Stage,
  count: number,
  disk: { fill(): void; free(): void },
): Promise<Fault[]> {
  const faults: Fault[] = [];
  for (let i = 0; i < count && !stage.timeIsUp(); i++) {
    const atNs = nowNs();
    disk.fill();
    await pause(stage.options.quick ? 600 : 1500);
    disk.free();
    const back = await stage.answers();
    faults.push({ atNs, recoveredNs: back ? nowNs() : undefined, engineLost: false, what: "no room" });
    await stage.settle();
  }
  return faults;
}

/** A policy that allocates until it is stopped, or until the agent ends over it, which then counts. */
export async function greedyPolicy(stage: Stage, withinMs: number): Promise<Fault[]> {
  const { scene } = stage;
  const engine = stage.enginePid();
  const atNs = nowNs();
  const agent = scene.agentPid();
  const happened = await until(
    async () => {
      if (scene.agentPid() !== agent) return true;
      return (await scene.status())?.agent?.policyFaults > 0;
    },
    withinMs,
    50,
  );
  if (!happened) {
    stage.notes.push("nobody stopped it");
    return [{ atNs, recoveredNs: undefined, engineLost: false, what: "nothing happened" }];
  }
  if (scene.agentPid() !== agent) {
    stage.notes.push(`the agent ended over it: ${scene.lastWords().slice(0, 200)}`);
    return [await stage.nextAgent(nowNs(), "the agent ended", engine)];
  }
  const why = /greedy\.js failed: ([^;"]*)/.exec(scene.said())?.[1];
  stage.notes.push(`stopped, as ${why}; the agent lived on`);
  const back = await stage.answers();
  return [{ atNs, recoveredNs: back ? nowNs() : undefined, engineLost: false, what: why ?? "" }];
}
