/** How is a running agent asked over HTTP? */
import { DEFAULT_LISTEN } from "../config_schema.ts";
import { InputError } from "../errors.ts";

const TIMEOUT_MS = 5000;

/** `--address`, or where agents listen by default. Throws `InputError`. */
export function parseAddress(text: string | undefined): string {
  const address = text ?? DEFAULT_LISTEN;
  if (/^(\[[0-9a-f:]+\]|[\w.-]+):\d{1,5}$/i.test(address)) return address;
  throw new InputError({
    file: "",
    field: "--address",
    rule: `must be host:port such as ${DEFAULT_LISTEN}`,
  });
}

/** The JSON of its answer, or why there is none. */
export async function ask<T>(address: string, page: string, init: RequestInit = {}): Promise<T | Error> {
  try {
    const response = await fetch(`http://${address}${page}`, {
      ...init,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const answer = await response.json();
    if (response.ok) return answer as T;
    const why = typeof answer?.error === "string" ? `: ${answer.error}` : "";
    return new Error(`it answered ${response.status}${why}`);
  } catch (error) {
    return new Error(error instanceof Error ? error.message.split("\n")[0] : String(error));
  }
}
