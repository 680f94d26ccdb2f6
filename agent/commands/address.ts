/** How is a running agent asked over HTTP? */
import { DEFAULT_LISTEN } from "../config_schema.ts";
import { InputError } from "../errors.ts";
import { defaultTokenFile, readToken } from "../http/token.ts";
import { runFolder } from "../run_folder.ts";

const TIMEOUT_MS = 5000;
/** Names the file with the token of an agent that has another one than this user's. */
const TOKEN_VARIABLE = "CALYPTE_TOKEN_FILE";

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

/** The agent is there, and does not do what it was asked for. */
export class Refusal extends Error {
  constructor(message: string, readonly status: number) {
    super(message);
  }
}

/** Why a command got nothing, as one line with its end. */
export function noAnswer(address: string, error: Error): string {
  return error instanceof Refusal
    ? `the agent on ${address} refuses: ${error.message}\n`
    : `no agent answers on ${address}: ${error.message}; calypte run starts one, --address says where else it listens\n`;
}

/** The JSON of its answer, or why there is none. Throws `InputError` if a token file is named and is none. */
export async function ask<T>(address: string, page: string, init: RequestInit = {}): Promise<T | Error> {
  const response = await open(address, page, { ...init, signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (response instanceof Error) return response;
  try {
    return await response.json() as T;
  } catch (error) {
    return new Error(whyNot(error));
  }
}

/** As `ask`, before the body: for one that is long, or has no end. Its reader cancels it. */
export async function open(address: string, page: string, init: RequestInit = {}): Promise<Response | Error> {
  const headers = new Headers(init.headers);
  const token = await tokenFor(address);
  if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
  try {
    const response = await fetch(`http://${address}${page}`, { ...init, headers });
    if (response.ok) return response;
    const problem = await response.json().catch(() => undefined);
    const fields = Array.isArray(problem?.errors)
      ? problem.errors.map(({ field, rule }: Record<string, unknown>) => `; ${field}: ${rule}`).join("")
      : "";
    const why = typeof problem?.detail === "string" ? `: ${problem.detail}${fields}` : "";
    return new Refusal(`it answered ${response.status}${why}`, response.status);
  } catch (error) {
    return new Error(whyNot(error));
  }
}

/** What Deno says of a connection, in its cause or itself, without the address. */
function whyNot(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const text = inner instanceof Error ? inner.message.split("\n")[0] ?? "" : String(inner);
  if (/Connection refused/.test(text)) return "nothing listens there";
  return text.replace(/^error sending request for url \(.*?\): /, "");
}

/** This user's own token is shown to this machine only. */
async function tokenFor(address: string): Promise<string | undefined> {
  const named = Deno.env.get(TOKEN_VARIABLE);
  if (named !== undefined && named !== "") return await readToken(named);
  if (!/^(127(\.\d+){3}|localhost|\[::1\]):/.test(address)) return undefined;
  try {
    return await readToken(defaultTokenFile(runFolder()));
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}
