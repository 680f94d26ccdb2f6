/**
 * Who takes what the engine has kept?
 *
 * Moves results to the routes of their tasks and jobs and events to the log, all that wait at the moment. It
 * decides nothing and knows no time: the supervisor and the simulation call it.
 */
import type { Engine } from "../ffi/engine.ts";
import type { Counters } from "./counters.ts";
import type { EventLog } from "./events.ts";
import type { Ledger } from "./ledger.ts";
import type { PreparedMission } from "./prepare.ts";
import type { FlightTap } from "./record.ts";

/** Rounds of one drain: a background job that is faster than the agent must not hold the loop for ever. */
const MAX_ROUNDS = 16;

export interface PumpOptions {
  engine: Engine;
  prepared: Pick<PreparedMission, "taskRoutes" | "jobRoutes" | "ledger" | "queues">;
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
  // Started anew: what the lost one had done is among the results that follow.
  if (taken.some(({ kind, a }) => kind === "engine" && a === 2)) {
    for (const queue of prepared.queues) queue.engineLost();
  }
  if (tap !== undefined) { for (const event of taken) tap.event(event); }
  release(engine, prepared.ledger);
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

/** Lets the engine forget what is settled. Throws `EngineError`. */
export function release(engine: Engine, ledger: Ledger): void {
  const position = ledger.releasable();
  if (position !== undefined) engine.releaseResults(position);
}
