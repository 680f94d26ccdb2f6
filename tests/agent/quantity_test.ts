import { InputError } from "../../agent/errors.ts";
import {
  formatBytes,
  formatDurationNs,
  formatPeriodNs,
  formatPowerW,
  formatTemperatureC,
  parseBytes,
  parseDurationNs,
  parseFrequencyToPeriodNs,
  parsePowerW,
  parseTemperatureC,
} from "../../agent/quantity.ts";
import { assertEquals, assertThrows } from "../assert.ts";

Deno.test("quantities with a unit parse exactly", () => {
  const durations: [string, number][] = [
    ["1ns", 1],
    ["30us", 30_000],
    ["15ms", 15_000_000],
    ["15 ms", 15_000_000],
    ["0.5ms", 500_000],
    ["33.333333ms", 33_333_333],
    ["2s", 2_000_000_000],
    ["1min", 60_000_000_000],
    ["1h", 3_600_000_000_000],
    ["9007199254740991ns", Number.MAX_SAFE_INTEGER],
  ];
  for (const [text, ns] of durations) assertEquals(parseDurationNs(text), ns, text);
  const periods: [string, number][] = [
    ["30Hz", 33_333_333],
    ["60Hz", 16_666_667],
    ["1.5kHz", 666_667],
    ["0.1Hz", 10_000_000_000],
    ["1000MHz", 1],
  ];
  for (const [text, ns] of periods) assertEquals(parseFrequencyToPeriodNs(text), ns, text);
  assertEquals(parseBytes("512MiB"), 512 * 2 ** 20);
  assertEquals(parseBytes("4kB"), 4000);
  assertEquals(parseBytes("1.5KiB"), 1536);
  assertEquals(parsePowerW("25W"), 25);
  assertEquals(parsePowerW("7500mW"), 7.5);
  assertEquals(parseTemperatureC("85C"), 85);
  assertEquals(parseTemperatureC("85.5°C"), 85.5);
  assertEquals(parseDurationNs("0us", { allowZero: true }), 0);
});

const BAD: unknown[] = [
  "",
  "15",
  15,
  0,
  "ms",
  "-1ms",
  "1e3ms",
  "NaNms",
  "Infinityms",
  ".5ms",
  "5.ms",
  "1,5ms",
  "15msec",
  "15MS",
  "15ms 3us",
  "0ms",
  "0.0000001ms",
  "9007199254740992ns",
  "9".repeat(39) + "h",
  "9".repeat(100000) + "h",
  "15constructor",
  NaN,
  Infinity,
  -1,
  null,
  undefined,
  true,
  [],
  {},
  1n,
  Symbol.iterator,
];

for (
  const [name, parse] of [
    ["duration", parseDurationNs],
    ["frequency", parseFrequencyToPeriodNs],
    ["bytes", parseBytes],
    ["power", parsePowerW],
    ["temperature", parseTemperatureC],
  ] as const
) {
  Deno.test(`whatever is no ${name} is an InputError that names the value`, () => {
    for (const value of BAD) {
      const error = assertThrows(() => parse(value), InputError);
      assertEquals(error.message.includes("not "), true, error.message);
      assertEquals(error.message.length < 250, true, error.message);
    }
  });
}

Deno.test("an error names value, rule and units", () => {
  const where = { file: "m.yaml", field: "critical.a.deadline" };
  const text = (value: unknown, options = {}) =>
    assertThrows(() => parseDurationNs(value, { where, ...options }), InputError).message;
  const units = "units are ns, us, ms, s, min, h";
  assertEquals(text(15), `m.yaml: critical.a.deadline: must have a unit, such as "15ms", not 15; ${units}`);
  assertEquals(
    text("15 x"),
    `m.yaml: critical.a.deadline: must be a duration such as "15ms", not "15 x"; ${units}`,
  );
  assertEquals(text("0s"), 'm.yaml: critical.a.deadline: must be more than zero, not "0s"');
  assertEquals(
    text("0.5ns"),
    'm.yaml: critical.a.deadline: must be a whole number of nanoseconds, not "0.5ns"',
  );
  assertEquals(
    text("3h", { max: 60e9 }),
    'm.yaml: critical.a.deadline: must be at most 60 s, not "3h"',
  );
  assertEquals(
    text("3us", { min: 10e6 }),
    'm.yaml: critical.a.deadline: must be at least 10 ms, not "3us"',
  );
});

Deno.test("a frequency above one per nanosecond is refused", () => {
  assertThrows(() => parseFrequencyToPeriodNs("3000MHz"), InputError, "must be at most 1000 MHz");
});

Deno.test("quantities are written for people", () => {
  assertEquals([0, 999, 1500, 33_333_333, 2e9, 90e9, 600e9, 7200e9].map(formatDurationNs), [
    "0 ns",
    "999 ns",
    "1.5 us",
    "33.3 ms",
    "2 s",
    "90 s",
    "10 min",
    "2 h",
  ]);
  assertEquals(formatDurationNs(-1500), "-1.5 us");
  assertEquals(formatDurationNs(NaN), "NaN");
  assertEquals([33_333_333, 666_667, 100, 0].map(formatPeriodNs), [
    "30 Hz",
    "1.5 kHz",
    "10 MHz",
    "as fast as possible",
  ]);
  assertEquals([0, 1023, 1536, 512 * 2 ** 20, 2 ** 40].map(formatBytes), [
    "0 B",
    "1023 B",
    "1.5 KiB",
    "512 MiB",
    "1 TiB",
  ]);
  assertEquals(formatPowerW(7.254), "7.25 W");
  assertEquals(formatTemperatureC(85), "85 C");
});
