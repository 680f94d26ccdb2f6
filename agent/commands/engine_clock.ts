/** What time was it? The agent speaks of the engine's clock, people of the one on the wall. */
import { wallMs } from "../log.ts";
import { open } from "./address.ts";
import { sentEvents } from "./event_source.ts";

const PATIENCE_MS = 2000;

/** The wall clock at the engine's zero, in milliseconds; `undefined` if the agent does not say. */
export async function engineZeroMs(address: string): Promise<number | undefined> {
  const response = await open(address, "/v1/stream", {
    headers: { accept: "text/event-stream" },
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  if (response instanceof Error || response.body === null) return undefined;
  try {
    for await (const { event, data } of sentEvents(response.body)) {
      return event === "hello" ? zeroMsOf(JSON.parse(data)) : undefined;
    }
  } catch (error) {
    if (!(error instanceof Error)) throw error;
  }
  return undefined;
}

/** Of a `hello` that has just come. Before the engine serves it has no clock. */
export function zeroMsOf({ nowNs }: { nowNs?: number }, nowMs = wallMs()): number | undefined {
  return nowNs === undefined || !(nowNs > 0) ? undefined : nowMs - nowNs / 1e6;
}

/** `13:54:48.421`, with the date in front if that was another day; the engine's seconds if nothing else is known. */
export function shownTime(timeNs: number, zeroMs: number | undefined, nowMs = wallMs()): string {
  if (zeroMs === undefined) return `${(timeNs / 1e9).toFixed(3).padStart(11)}s`;
  const when = new Date(zeroMs + timeNs / 1e6);
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())} `;
  const today = new Date(nowMs).toDateString() === when.toDateString();
  const ms = String(when.getMilliseconds()).padStart(3, "0");
  return `${today ? "" : day}${two(when.getHours())}:${two(when.getMinutes())}:${
    two(when.getSeconds())
  }.${ms}`;
}
