/**
 * Is it too hot, too hungry or too empty for background?
 *
 * The mission's `stopBackgroundAbove`, with hysteresis, so that background does not flap at a limit. A limit on
 * something that is not known counts as exceeded: the safe side. Says so in the log whenever it changes its mind.
 */
import type { Conditions } from "./conditions.ts";
import type { Logger } from "./log.ts";
import { formatPowerW, formatTemperatureC } from "./quantity.ts";

/** Absent: no limit. */
export interface StopLimits {
  temperatureC?: number;
  powerW?: number;
  /** Background stops below it. */
  batteryPercent?: number;
}

const HYSTERESIS_C = 3;
const HYSTERESIS_POWER = 0.1;
const HYSTERESIS_BATTERY = 2;

interface Limit {
  name: string;
  /** `undefined`: not known. */
  read: (conditions: Conditions) => number | undefined;
  exceeded: (value: number) => boolean;
  /** Well on the good side of the limit. */
  cleared: (value: number) => boolean;
  show: (value: number) => string;
}

export class BackgroundStop {
  readonly #limits: readonly Limit[];
  readonly #log: Logger;
  #exceeded = new Set<Limit>();
  #said = "";

  constructor(limits: StopLimits, log: Logger) {
    this.#limits = limitsOf(limits);
    this.#log = log;
  }

  /** Whether background has to stop now. */
  stopped(conditions: Conditions): boolean {
    const reasons: string[] = [];
    for (const limit of this.#limits) {
      const value = limit.read(conditions);
      const over = value === undefined ||
        (this.#exceeded.has(limit) ? !limit.cleared(value) : limit.exceeded(value));
      if (!over) {
        this.#exceeded.delete(limit);
        continue;
      }
      this.#exceeded.add(limit);
      reasons.push(`${limit.name} ${value === undefined ? "is not known" : `was ${limit.show(value)}`}`);
    }
    this.#say(reasons);
    return reasons.length > 0 || conditions.keepOff === true;
  }

  /** Once for each set of limits, not for each value. */
  #say(reasons: readonly string[]): void {
    const key = [...this.#exceeded].map(({ name }) => name).join();
    if (key === this.#said) return;
    this.#said = key;
    const fields = { event: "background-stop" };
    if (key === "") this.#log.info("background may run again: all within stopBackgroundAbove", fields);
    else this.#log.warn(`background stops: ${reasons.join(", ")}; stopBackgroundAbove says so`, fields);
  }
}

function limitsOf({ temperatureC, powerW, batteryPercent }: StopLimits): Limit[] {
  const limits: Limit[] = [];
  if (temperatureC !== undefined) {
    limits.push({
      name: "temperature",
      read: (conditions) => conditions.temperatureC,
      exceeded: (value) => value > temperatureC,
      cleared: (value) => value <= temperatureC - HYSTERESIS_C,
      show: formatTemperatureC,
    });
  }
  if (powerW !== undefined) {
    limits.push({
      name: "power",
      read: (conditions) => conditions.powerW,
      exceeded: (value) => value > powerW,
      cleared: (value) => value <= powerW * (1 - HYSTERESIS_POWER),
      show: formatPowerW,
    });
  }
  if (batteryPercent !== undefined) {
    limits.push({
      name: "battery",
      read: (conditions) => conditions.batteryPercent,
      exceeded: (value) => value < batteryPercent,
      cleared: (value) => value >= Math.min(100, batteryPercent + HYSTERESIS_BATTERY),
      show: (value) => `${value} %`,
    });
  }
  return limits;
}
