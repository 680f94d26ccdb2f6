/** Does a struct view keep what is written, and refuse what does not fit? */
import { CONSTANTS } from "../../ffi/abi.ts";
import { EngineError } from "../../ffi/errors.ts";
import { checkInteger, sizeOf, StructView } from "../../ffi/structs.ts";
import * as words from "../../ffi/words.ts";
import { assertEquals, assertThrows } from "../assert.ts";

Deno.test("integers come back as they were written", () => {
  const view = new StructView("event");
  for (const a of [0, 1, -1, -(2 ** 32), 2 ** 32 + 5, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]) {
    assertEquals(view.setNumber("a", a).number("a"), a);
    assertEquals(view.bigint("a"), BigInt(a));
  }
  for (const sequence of [0, 2 ** 31, 2 ** 32 - 1, 2 ** 52 + 1]) {
    assertEquals(view.setNumbers({ sequence }).numbers("sequence"), { sequence });
  }
});

Deno.test("a 64-bit value that a number cannot hold is an error, not a wrong number", () => {
  const view = new StructView("event").setBigint("timeNs", 2n ** 53n).setBigint("b", -(2n ** 60n));
  assertThrows(
    () => view.number("timeNs"),
    EngineError,
    "Cannot read calypte_event.time_ns: 9007199254740992",
  );
  assertThrows(() => view.number("b"), EngineError, "-1152921504606846976 lies beyond 2^53");
});

Deno.test("a value out of its field's range is refused with field, range and value", () => {
  const view = new StructView("step");
  assertThrows(
    () => view.setNumber("grid", 2 ** 32, 1),
    EngineError,
    "Cannot write calypte_step: grid[1] must be an integer from 0 to 4294967295, not 4294967296",
  );
  for (const value of [-1, 0.5, NaN, Infinity]) {
    assertThrows(() => view.setNumber("estimateNs", value), EngineError, `estimate_ns must be an integer`);
  }
  assertThrows(
    () => checkInteger(2 ** 31, "i32", "f", "x"),
    EngineError,
    "x must be an integer from -2147483648",
  );
});

Deno.test("a name may fill its array but for the NUL", () => {
  const view = new StructView("work");
  const longest = "ä".repeat(31) + "x";
  assertEquals(view.setText("name", longest).text("name"), longest);
  assertThrows(() => view.setText("name", longest + "x"), EngineError, "at most 63 bytes of UTF-8");
  assertThrows(() => view.setText("name", "a\0b"), EngineError, "without a NUL");
  assertEquals(view.setText("name", "ab").text("name"), "ab");
});

Deno.test("a digest has exactly 32 bytes", () => {
  const view = new StructView("work");
  const digest = Uint8Array.from({ length: 32 }, (_, i) => i);
  assertEquals(view.setBytes("digest", digest).bytesOf("digest"), digest);
  assertThrows(() => view.setBytes("digest", new Uint8Array(31)), EngineError, "must be 32 bytes, not 31");
});

Deno.test("nested structs and their arrays lie within their parent", () => {
  const snapshot = new StructView("snapshot");
  snapshot.struct("tasks", 6).struct("response").setNumber("buckets", 9, 1023);
  assertEquals(snapshot.struct("tasks", 6).struct("response").words("buckets")[1023], 9);
  assertEquals(snapshot.struct("tasks", 5).struct("response").words("buckets")[1023], 0);
  assertThrows(() => snapshot.struct("tasks", 7), RangeError, "has 7 elements, none at 7");
});

Deno.test("a view never leaves its bytes", () => {
  const bytes = new Uint8Array(sizeOf("io") * 2);
  const view = new StructView("io", bytes);
  assertEquals(view.moveTo(sizeOf("io")).setNumber("buffer", 3).number("buffer"), 3);
  assertThrows(() => view.moveTo(sizeOf("io") + 1), RangeError, "calypte_io takes");
  assertThrows(() => new StructView("io", bytes.subarray(1), sizeOf("io")), RangeError);
  assertEquals(view.moveTo(sizeOf("io")).clear().number("buffer"), 0);
});

Deno.test("every number of the header that has a word has exactly one", () => {
  const tables = {
    BACKEND: words.BACKENDS,
    CLOCK: words.CLOCKS,
    LEVEL: words.LEVEL_NUMBERS,
    FEATURE: words.FEATURES,
    HOLD: words.HOLD_BITS,
    ARG: words.ARG_KINDS,
    WORK: words.WORK_KINDS,
    QUEUE: words.QUEUES,
    FROM: words.FROM,
    ON_MISS: words.ON_MISS,
    SOURCE: words.SOURCES,
    EVENT: words.EVENTS,
    STATE: words.STATES,
  };
  type Entry = [name: string, number: number];
  const limits = ["FEATURES", "LEVELS"];
  for (const [prefix, table] of Object.entries<Record<string, number>>(tables)) {
    const there: Entry[] = Object.entries<number>(CONSTANTS).filter(([name]) =>
      name.startsWith(`${prefix}_`) && !limits.includes(name)
    );
    const here: Entry[] = Object.entries(table).map((
      [word, n],
    ) => [`${prefix}_${word.toUpperCase().replaceAll("-", "_")}`, n]);
    const byNumber = (a: Entry, b: Entry) => a[1] - b[1];
    assertEquals(here.toSorted(byNumber), there.toSorted(byNumber));
  }
});

Deno.test("an unknown word and an unknown number are named in the error", () => {
  const word = "gpu" as "sim";
  assertThrows(
    () => words.numberOf(words.BACKENDS, word, "backend", "open engine"),
    EngineError,
    'Cannot open engine: backend must be one of cuda, sim, not "gpu"',
  );
  assertThrows(() => words.numberOf(words.BACKENDS, "toString" as "sim", "backend", "open"), EngineError);
  assertThrows(() => words.wordOf(words.STATES, 9, "snapshot.state"), EngineError, "9 is not a value");
});
