/**
 * How does safe mode look from outside, and how is it forced?
 *
 * The engine decides by itself when misses enter safe mode and when they leave it; the agent gives it the mission's
 * rule, shows it, and passes on the operator's word.
 */
import type { Hono } from "hono";
import { z } from "zod";
import type { EngineSnapshot } from "../ffi/engine.ts";
import type { SafeModeReason, SafeModeRule } from "../ffi/safe_mode.ts";
import { SAFE_MODE_BITS, wordsOf } from "../ffi/words.ts";
import { type Listening, refusal } from "./same_site.ts";
import { strictObject } from "./schema.ts";

/** Plain JSON; times of the engine's clock. */
export interface SafeModeStatus {
  on: boolean;
  /** Words for `SafeModeReason`. */
  reasons: string[];
  /** `null`: it does not stand. */
  sinceNs: number | null;
  /** When it ends if nothing more happens; `null`: it does not stand, or does not end by itself. */
  untilNs: number | null;
  nowNs: number;
  /** In the rule's window. */
  misses: number;
  entered: number;
  /** For so long, in all. */
  totalNs: number;
  /** `null`: off. */
  rule: SafeModeRule | null;
}

const WORDS: Record<SafeModeReason, string> = {
  misses: "requests missed",
  caller: "forced",
  planner: "the planner was silent",
};

export function safeModeStatus(snapshot: EngineSnapshot, rule: SafeModeRule | undefined): SafeModeStatus {
  const on = snapshot.safeModeReasons.length > 0;
  return {
    on,
    reasons: snapshot.safeModeReasons.map((reason) => WORDS[reason]),
    sinceNs: on ? snapshot.safeModeSinceNs : null,
    untilNs: on && snapshot.safeModeUntilNs > 0 ? snapshot.safeModeUntilNs : null,
    nowNs: snapshot.nowNs,
    misses: snapshot.safeModeMisses,
    entered: snapshot.safeMode,
    totalNs: snapshot.safeModeNs,
    rule: rule ?? null,
  };
}

/** The reasons of a `safe-mode` event as words for the log. */
export function safeModeWords(bits: number): string {
  return wordsOf(SAFE_MODE_BITS, bits, "event.a").map((reason) => WORDS[reason]).join(", ");
}

export interface SafeModeControl {
  /** `undefined` while the agent loads. */
  status: () => SafeModeStatus | undefined;
  force: (on: boolean) => void;
  /** Where the server listens; `undefined`: nothing may be changed. */
  listening: () => Listening | undefined;
}

const PAGE = "/v1/safe-mode";
const MAX_BODY_CHARACTERS = 1000;
const bodySchema = strictObject({ on: z.boolean() });

export function addSafeModePages(app: Hono, control: SafeModeControl): void {
  app.get(PAGE, (c) => {
    const status = control.status();
    return status === undefined ? c.json({ error: "the agent loads yet" }, 503) : c.json(status);
  });
  app.put(PAGE, async (c) => {
    const listening = control.listening();
    const no = listening === undefined
      ? { status: 403 as const, error: "it is not known where this server listens" }
      : refusal(c.req.raw, listening);
    if (no !== undefined) return c.json({ error: no.error }, no.status);
    if (control.status() === undefined) return c.json({ error: "the agent loads yet" }, 503);
    const wanted = parseBody(await readStart(c.req.raw));
    if (wanted === undefined) return c.json({ error: 'the body must be {"on": true} or {"on": false}' }, 400);
    control.force(wanted.on);
    return c.json(control.status());
  });
}

/** `undefined`: it is too long. */
async function readStart(request: Request): Promise<string | undefined> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of request.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MAX_BODY_CHARACTERS) return undefined;
  }
  return text;
}

function parseBody(text: string | undefined): { on: boolean } | undefined {
  try {
    return bodySchema.safeParse(JSON.parse(text ?? "")).data;
  } catch {
    return undefined;
  }
}
