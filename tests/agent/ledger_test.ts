/** Which results may the engine forget? */
import { assertEquals } from "../assert.ts";
import { Ledger } from "../../agent/ledger.ts";

Deno.test("what is settled goes only when all that is older is settled", () => {
  const ledger = new Ledger();
  for (const position of [10, 25, 30, 70]) ledger.take(position);
  ledger.settle(25);
  ledger.settle(70);
  assertEquals(ledger.releasable(), undefined);
  ledger.settle(10);
  assertEquals(ledger.releasable(), 25);
  assertEquals([ledger.releasable(), ledger.waiting], [undefined, 2]);
  ledger.settle(30);
  assertEquals([ledger.releasable(), ledger.waiting], [70, 0]);
});

Deno.test("any order of settling releases each prefix once and holds nothing at the end", () => {
  const ledger = new Ledger();
  const open: number[] = [];
  let random = 7;
  let released = 0;
  for (let position = 1; position <= 20_000; position++) {
    ledger.take(position);
    open.push(position);
    random = (random * 1_103_515_245 + 12_345) % 2 ** 31;
    if (random % 3 === 0) continue;
    const [settled] = open.splice(random % open.length, 1);
    ledger.settle(settled!);
    const upTo = ledger.releasable();
    if (upTo === undefined) continue;
    if (upTo <= released) throw new Error(`${upTo} after ${released}`);
    released = upTo;
    if (open.some((position) => position <= upTo)) throw new Error(`${upTo} covers what is not settled`);
  }
  for (const position of open) ledger.settle(position);
  assertEquals([ledger.releasable(), ledger.waiting], [20_000, 0]);
});
