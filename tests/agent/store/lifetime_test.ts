import { assertEquals, assertThrows } from "../../assert.ts";
import { Lifetime, parseLifetime } from "../../../agent/store/lifetime.ts";

const again = (lifetime: Lifetime) =>
  new Lifetime(parseLifetime(JSON.parse(JSON.stringify(lifetime.state()))));

Deno.test("counts add up over starts, each of which counts from 0", () => {
  const first = new Lifetime(undefined);
  first.update("a", { requests: 3 });
  first.update("a", { requests: 10 });
  const second = again(first);
  second.update("b", { requests: 12, misses: 1 });
  assertEquals(second.total, { requests: 22, misses: 1 });
});

Deno.test("a counter that outlived its reader is not counted twice", () => {
  const first = new Lifetime(undefined);
  first.update("engine 7", { requests: 10 });
  const second = again(first);
  second.update("engine 7", { requests: 15 });
  assertEquals(second.total, { requests: 15 });
});

Deno.test("a counter that begins again within a run loses nothing", () => {
  const lifetime = new Lifetime(undefined);
  lifetime.update("a", { requests: 10 });
  lifetime.update("a", { requests: 2 });
  assertEquals(lifetime.total, { requests: 12 });
});

Deno.test("a start that counts nothing keeps what was there, and the epoch with it", () => {
  const first = new Lifetime(undefined);
  first.update("engine 7", { requests: 10 });
  const third = again(again(first));
  third.update("engine 7", { requests: 11 });
  assertEquals(third.total, { requests: 11 });
});

Deno.test("what are no counts are not taken for some", () => {
  for (
    const value of [null, {}, { epoch: "a", last: {}, total: { a: -1 } }, { epoch: 1, last: {}, total: {} }]
  ) {
    assertThrows(() => parseLifetime(value), TypeError);
  }
});
