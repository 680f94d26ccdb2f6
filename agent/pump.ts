/**
 * Who takes what the engine has kept?
 *
 * Moves results to the routes of their tasks and jobs and events to the log, all that wait at the moment. It
 * decides nothing and knows no time: the supervisor and the simulation call it.
 */
import { CONSTANTS } from "../ffi/abi.ts";
import type { Engine, EngineEvent } from "../ffi/engine.ts";
import type { Counters } from "./counters.ts";
import type { EventLog } from "./events.ts";
import type { Ledger } from "./ledger.ts";
import type { PreparedMission } from "./prepare.ts";
import type { FlightTap } from "./record.ts";

/** Rounds of one drain: a background job that is faster than the agent must not hold the loop for ever. */
const MAX_ROUNDS = 16;
/** Of the event `engine`: it was started anew. */
const ENGINE_SERVES = 2;

export interface PumpOptions {
  engine: Engine;
  prepared: Pick<PreparedMission, "taskRoutes" | "jobRoutes" | "ledger" | "queues" | "queueOf" | "putAway">;
  counters: Counters;
  events: EventLog;
  /** Is told of everything, too. */
  tap?: FlightTap | undefined;
}

/** As `drain`, where nobody wants the results: they are counted and forgotten. Throws `EngineError`. */
export function discard({ engine, counters, events }: Omit<PumpOptions, "prepared">): void {
  events.add(engine.takeEvents());
  counters.resultsTaken += engine.dropResults();
}

/**
 * Takes all results and events that wait, and lets the engine forget the results that are settled by now: until then they
 * are there for the next agent. Throws `EngineError`.
 */
export function drain({ engine, prepared, counters, events, tap }: PumpOptions): void {
  const taken = engine.takeEvents();
  events.add(taken);
  if (tap !== undefined) { for (const event of taken) tap.event(event); }
  release(engine, prepared.ledger);
  takeResults({ engine, prepared, counters, tap });
  tellQueues(prepared, taken);
  events.tell(prepared.putAway.splice(0));
  counters.resultsWaiting = prepared.ledger.waiting;
}

function takeResults({ engine, prepared, counters, tap }: Omit<PumpOptions, "events">): void {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const results = engine.takeResults();
    if (results.length === 0) return;
    counters.resultsTaken += results.length;
    for (const result of results) {
      const routes = result.kind === "critical" ? prepared.taskRoutes : prepared.jobRoutes;
      const route = routes[result.work];
      prepared.ledger.take(result.position);
      if (route === undefined) prepared.ledger.settle(result.position);
      else route.take(result);
      tap?.result(result);
    }
    release(engine, prepared.ledger);
  }
}

/** After the results: what was done before the loss was done, and is nobody's to blame or to do again. */
function tellQueues({ queues, queueOf }: PumpOptions["prepared"], taken: readonly EngineEvent[]): void {
  const ofEngine = taken.filter(({ kind }) => kind === "engine");
  // Processes of their own may have gone with the engine's.
  for (const { kind, a, source } of taken) {
    if (kind === "worker" && a === CONSTANTS.WORKER_LOST) queueOf(source)?.processLost(ofEngine.length === 0);
  }
  if (ofEngine.some(({ a }) => a === ENGINE_SERVES)) { for (const queue of queues) queue.engineLost(); }
}

/** Lets the engine forget what is settled. Throws `EngineError`. */
export function release(engine: Engine, ledger: Ledger): void {
  const position = ledger.releasable();
  if (position !== undefined) engine.releaseResults(position);
}
