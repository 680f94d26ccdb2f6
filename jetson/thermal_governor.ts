/**
 * What does a clock governor do when background stops, on the simulator?
 *
 * A model of a load-driven governor, as devfreq has them (`nvhost_podgov`, `simple_ondemand`): clocks rise to the full when the load is high,
 * and otherwise fall to where the load would be at its target. A detector that leaves the GPU idle most of the time is a low load: without a
 * floor under the clocks, stopping background makes every request of it slower. That is what `power_clocks.ts` prevents.
 */
export interface GovernorModel {
  /** Rising. */
  stepsHz: readonly number[];
  /** Above it: full clocks. */
  highLoad: number;
  /** Else the lowest step at which the load would be at most this. */
  targetLoad: number;
}

/** The steps of an Orin Nano's GPU in its 15 W mode. */
export const ORIN_GOVERNOR: GovernorModel = {
  stepsHz: [306e6, 408e6, 510e6, 624.75e6],
  highLoad: 0.9,
  targetLoad: 0.7,
};

/** The clock for the next period, from the load (0..1) at `currentHz` in the last. */
export function governed(
  { stepsHz, highLoad, targetLoad }: GovernorModel,
  currentHz: number,
  load: number,
  minHz = 0,
): number {
  const fullHz = stepsHz.at(-1)!;
  const wantedHz = load > highLoad ? fullHz : currentHz * load / targetLoad;
  return stepsHz.find((stepHz) => stepHz >= wantedHz && stepHz >= minHz) ?? fullHz;
}
