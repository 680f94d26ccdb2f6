/** How is an agent followed that may restart? One stream after the other, each going on where the last one ended. */
import { noAnswer, open, Refusal } from "./address.ts";
import { type SentEvent, sentEvents } from "./event_source.ts";

const AGAIN_MS = 1000;

export interface FollowOptions {
  address: string;
  page: string;
  signal: AbortSignal;
  /** Each time that the agent is not there or goes away, with why; once until it is back. */
  away: (why: string) => void;
  /** Waits before it tries again; default one second. */
  pause?: (signal: AbortSignal) => Promise<void>;
}

/** Ends when `signal` says so, or with an `Error` if the agent refuses for good, or was never there. */
export async function* follow(options: FollowOptions): AsyncGenerator<SentEvent, Error | undefined> {
  const { address, page, signal, away, pause = second } = options;
  let last: string | undefined;
  let there = false;
  let said = false;
  while (!signal.aborted) {
    const headers: Record<string, string> = { accept: "text/event-stream" };
    if (last !== undefined) headers["last-event-id"] = last;
    const response = await open(address, page, { headers, signal });
    if (response instanceof Error) {
      if (signal.aborted) return undefined;
      // An agent that loads, or has too many readers, answers 503.
      if (response instanceof Refusal ? response.status !== 503 : !there) return response;
      if (!said) away(noAnswer(address, response));
      said = true;
    } else if (response.body !== null) {
      there = true;
      said = false;
      try {
        for await (const event of sentEvents(response.body)) {
          last = event.id ?? last;
          yield event;
        }
      } catch (error) {
        if (!signal.aborted && !(error instanceof Error)) throw error;
      }
    }
    if (!signal.aborted) await pause(signal);
  }
  return undefined;
}

async function second(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, AGAIN_MS);
  signal.addEventListener("abort", () => resolve(), { once: true });
  await promise;
  clearTimeout(timer);
}
