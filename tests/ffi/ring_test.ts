/** Do RingWriter and RingReader pass on what they are given, over the double and over the real library? */
import { EngineError, libraryPath, openLibrary, RingReader, RingWriter } from "../../ffi/mod.ts";
import { assertEquals, assertThrows } from "../assert.ts";
import { double } from "./double.ts";

function ignored(): boolean {
  if (Deno.env.has("CI")) return false;
  try {
    return !Deno.statSync(libraryPath()).isFile;
  } catch {
    return true;
  }
}

const SHAPE = { slots: 4, slotBytes: 100, expiryNs: 60e9 };
const PATIENCE_NS = 20e9;

/** A test with a path for a ring, whose file is gone at the end. */
function realTest(name: string, body: (path: string) => void): void {
  Deno.test({
    name,
    ignore: ignored(),
    fn: () => {
      const path = `/dev/shm/calypte-test-${crypto.randomUUID()}`;
      try {
        body(path);
      } finally {
        try {
          Deno.removeSync(path);
        } catch {
          // The test made none.
        }
      }
    },
  });
}

realTest("what is written is read, with its times and flags", (path) => {
  using library = openLibrary(libraryPath());
  using writer = RingWriter.create(library, path, SHAPE);
  using reader = RingReader.open(library, path);
  assertEquals([reader.wait(0), reader.read(), reader.alive()], [false, undefined, false]);
  writer.write(Uint8Array.of(1, 2, 3), { number: 41, sensorNs: 5, doneNs: 6, late: true });
  writer.write(new Uint8Array(), { number: 42 });
  assertEquals(reader.wait(PATIENCE_NS), true);
  assertEquals(reader.read(), {
    sequence: 0,
    number: 41,
    sensorNs: 5,
    doneNs: 6,
    late: true,
    simulated: false,
    payload: Uint8Array.of(1, 2, 3),
  });
  const second = reader.read();
  assertEquals([second?.sequence, second?.number, second?.payload.length], [1, 42, 0]);
  assertEquals([reader.read(), reader.alive()], [undefined, true]);
});

realTest("a reader that is overtaken learns how many it lost, and may go back or skip", (path) => {
  using library = openLibrary(libraryPath());
  using writer = RingWriter.create(library, path, SHAPE);
  using reader = RingReader.open(library, path);
  for (let number = 0; number < 10; number++) writer.write(new Uint8Array(100), { number });
  assertEquals(reader.read()?.number, 8);
  const { slots, slotBytes, format, head, overruns } = reader.info();
  assertEquals([slots, slotBytes, format, head, overruns], [4, 128, "raw", 10, 8]);
  reader.seek("oldest");
  assertEquals(reader.read()?.number, 7);
  reader.seek("newest");
  assertEquals(reader.read()?.number, 9);
});

realTest(
  "a second writer, a missing file and a payload that is too large are errors with their rule",
  (path) => {
    using library = openLibrary(libraryPath());
    const codeOf = (call: () => unknown) => assertThrows(call, EngineError).codeName;
    assertEquals(codeOf(() => RingReader.open(library, path)), "E_NOT_FOUND");
    const image = { ...SHAPE, format: "rgb8", width: 10, height: 10, stride: 30 } as const;
    assertEquals(codeOf(() => RingWriter.create(library, path, image)), "E_INVALID");
    using writer = RingWriter.create(library, path, SHAPE);
    assertEquals(codeOf(() => RingWriter.create(library, path, SHAPE)), "E_BUSY");
    assertEquals(codeOf(() => writer.write(new Uint8Array(129), { number: 0 })), "E_BUFFER");
  },
);

Deno.test("a ring that is closed throws, and closing twice is fine, also behind the library", () => {
  const library = openLibrary(double());
  const writer = RingWriter.create(library, "ring", SHAPE);
  const reader = RingReader.open(library, "ring");
  writer.heartbeat();
  assertEquals(reader.alive(), true);
  writer.close();
  writer.close();
  assertEquals(assertThrows(() => writer.heartbeat(), EngineError, "it is closed").codeName, "E_CLOSED");
  library.close();
  assertEquals(assertThrows(() => reader.read(), EngineError).codeName, "E_CLOSED");
  reader.close();
});
