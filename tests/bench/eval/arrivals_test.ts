import { assert, assertEquals, assertThrows } from "../../assert.ts";
import { arrivalTimes, parseArrivals, rateOf, seedOf, warmUpTimes } from "../../../bench/eval/arrivals.ts";

const WINDOW_NS = 20e9;
const of = (name: string, seed = 1, windowNs = WINDOW_NS) =>
  arrivalTimes(parseArrivals(name), windowNs, seed, 1e6);

Deno.test("one seed gives one set of arrivals, another seed another, within the window and in order", () => {
  for (const name of ["poisson-100", "bursts-100", "jitter-100", "load-50"]) {
    const times = of(name);
    assertEquals(times, of(name));
    assert(times.join() !== of(name, 2).join(), name);
    assertEquals(times, times.toSorted((a, b) => a - b));
    assert(times.every((at) => Number.isInteger(at) && at >= 0 && at < WINDOW_NS));
  }
  assertEquals(of("periodic-30", 1), of("periodic-30", 2));
});

Deno.test("every pattern keeps its mean rate", () => {
  for (
    const [name, hz] of [["periodic-220", 220], ["poisson-100", 100], ["bursts-100", 100], [
      "jitter-30",
      30,
    ]] as const
  ) {
    const perS = of(name, 1, 200e9).length / 200;
    assert(Math.abs(perS - hz) < 0.06 * hz, `${name}: ${perS}`);
  }
});

Deno.test("a load is a share of what the critical work could do alone", () => {
  assertEquals(rateOf(parseArrivals("load-50"), 2e6), 250);
  assert(Math.abs(of("load-50", 1, 100e9).length / 100 - 500) < 25);
});

Deno.test("bursts have four requests a millisecond apart, and Poisson arrivals no rhythm", () => {
  const gaps = (times: number[]) => times.slice(1).map((at, i) => at - times[i]!);
  const exact = gaps(of("bursts-30")).filter((gap) => gap === 1e6).length;
  assert(exact > 0.6 * gaps(of("bursts-30")).length, "three of four gaps");
  const poisson = gaps(of("poisson-100", 1, 200e9));
  const mean = poisson.reduce((a, b) => a + b) / poisson.length;
  const deviation = Math.sqrt(poisson.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / poisson.length);
  assert(Math.abs(deviation / mean - 1) < 0.05, "as large as the mean");
});

Deno.test("requests ahead of the window keep a periodic rhythm, and end before it", () => {
  const spec = parseArrivals("periodic-100");
  const all = [...warmUpTimes(spec, 1e9, 1, 1e6), ...of("periodic-100")];
  assert(all[0]! < -0.98e9 && all[0]! > -1e9);
  assert(all.slice(1).every((at, i) => Math.abs(at - all[i]! - 10e6) <= 1));
  assert(warmUpTimes(parseArrivals("poisson-100"), 1e9, 1, 1e6).every((at) => at < 0));
});

Deno.test("arrivals that are none are refused, with what they must be", () => {
  for (const name of ["often", "periodic", "periodic-0", "load-100", "poisson--3"]) {
    assertThrows(() => parseArrivals(name), Error, "periodic-100");
  }
});

Deno.test("seeds for different purposes differ", () => {
  assertEquals(seedOf(1, "a", 2), seedOf(1, "a", 2));
  assertEquals(new Set([seedOf(1, "a"), seedOf(1, "b"), seedOf(2, "a"), seedOf(1, "a", 1)]).size, 4);
});
