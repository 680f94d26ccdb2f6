/**
 * Colours and progress, where somebody looks: on a terminal, and not with NO_COLOR.
 *
 * Nothing here reaches a pipe or a file.
 */
import type { Terminal } from "./command.ts";
import type { Verdict } from "../doctor/finding.ts";

const ESCAPE = "\x1b[";
const COLORS: Readonly<Record<Verdict, number>> = { ok: 32, warn: 33, fail: 31 };

/** For results: `text` in the colour of the verdict. */
export function painter({ screen }: Terminal): (verdict: Verdict, text: string) => string {
  return screen?.color === true
    ? (verdict, text) => `${ESCAPE}${COLORS[verdict]}m${text}${ESCAPE}0m`
    : (_, text) => text;
}

export interface Progress extends Disposable {
  /** `share`: 0..1; `text`: what is done now. */
  at(share: number, text: string): void;
}

const BAR = 24;

/** One line on standard error that is taken away at the end; nothing where that is no terminal. */
export function progress({ err, screen }: Terminal): Progress {
  let drawn = false;
  let last = "";
  const clear = () => {
    if (drawn) err(`\r${ESCAPE}K`);
    drawn = false;
  };
  return {
    at(share, text) {
      if (screen?.progress !== true) return;
      const full = Math.round(BAR * Math.min(1, Math.max(0, share)));
      const line = `${"#".repeat(full)}${"-".repeat(BAR - full)} ${text}`;
      if (drawn && line === last) return;
      last = line;
      err(`\r${ESCAPE}K${line.slice(0, Math.max(BAR, screen.columns() - 1))}`);
      drawn = true;
    },
    [Symbol.dispose]: clear,
  };
}
