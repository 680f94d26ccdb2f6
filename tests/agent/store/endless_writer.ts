/** A process of its own for kill_test.ts: writes to a store until it is killed. */
import { Store } from "../../../agent/store/store.ts";

const [dir = "", round = "0"] = Deno.args;
const problems: string[] = [];
const warn = (text: string) => void problems.push(text);
const limits = { maxBytes: 200_000, maxAgeNs: 1e15, segmentBytes: 20_000 };
const store = await Store.open(dir, { warn, note() {}, limits });
if (store === undefined) Deno.exit(3);
const encoder = new TextEncoder();
const say = (text: string) => Deno.stdout.writeSync(encoder.encode(text + "\n"));
// Torn tails are to be expected, and nothing else.
for (const problem of problems) if (!/ended in the middle/.test(problem)) say(`bad ${problem}`);
for (let count = 1;; count++) {
  const value = `${round} ${count} ${"x".repeat((count * 37) % 3000)}`;
  for (const name of ["counters", "learned"]) store.writer.put(name, 1, encoder.encode(value));
  for (let i = 0; i < 5; i++) {
    store.writer.record({ timeNs: count, kind: "a", round, count, pad: "y".repeat(count % 90) });
  }
  await store.writer.flush();
  say(`${count}`);
}
