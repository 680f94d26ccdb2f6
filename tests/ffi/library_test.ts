/** Is a library that is missing, foreign or closed an error, and never a crash? */
import { fromFileUrl } from "@std/path";
import { CONSTANTS, STRUCTS } from "../../ffi/abi.ts";
import { check, EngineError } from "../../ffi/errors.ts";
import { LIBRARY_VARIABLE, libraryPath, openLibrary } from "../../ffi/library.ts";
import { NativeEngine, probe } from "../../ffi/mod.ts";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "../assert.ts";
import { buildFolder, double, STUCK_NS } from "./double.ts";

Deno.test("a missing library names its path and the remedy", () => {
  const path = `${buildFolder()}/none.so`;
  const error = assertThrows(() => openLibrary(path), EngineError, `Cannot open library '${path}'`);
  assertEquals([error.code, error.codeName], [CONSTANTS.E_NOT_FOUND, "E_NOT_FOUND"]);
  assertStringIncludes(error.message, "make build");
  assertStringIncludes(error.message, LIBRARY_VARIABLE);
});

Deno.test("a file that is no library is refused with the loader's words", () => {
  const path = `${buildFolder()}/text.so`;
  Deno.writeTextFileSync(path, "not a library");
  const error = assertThrows(() => openLibrary(path), EngineError, "make build");
  assertEquals(error.code, CONSTANTS.E_INVALID);
});

Deno.test("a library of another ABI version is refused with both numbers", () => {
  const error = assertThrows(() => openLibrary(double("DOUBLE_ABI=99")), EngineError, "another ABI version");
  assertStringIncludes(error.message, `it has 99, this program needs ${CONSTANTS.ABI_VERSION}`);
  assertStringIncludes(error.message, "make build");
});

Deno.test("a library with a struct of another size is refused with both sizes", () => {
  const { size } = STRUCTS.snapshot;
  assertThrows(
    () => openLibrary(double("DOUBLE_SNAPSHOT_EXTRA=8")),
    EngineError,
    `struct calypte_snapshot has ${size + 8} bytes there, ${size} bytes here`,
  );
});

Deno.test("an open library tells its version and the time", () => {
  using library = openLibrary(double());
  assertEquals(library.version(), "0.0.0 (double)");
  assertEquals(library.nowNs(), 123_456_789_012_345);
});

Deno.test("a closed library throws E_CLOSED, also from functions that were kept", () => {
  const library = openLibrary(double());
  const kept = library.symbols.calypte_now_ns;
  library.close();
  library.close();
  for (const use of [() => library.version(), () => library.nowNs(), kept, () => probe(library, "sim")]) {
    const error = assertThrows(use, EngineError, "is closed");
    assertEquals(error.code, CONSTANTS.E_CLOSED);
  }
  assertThrows(() => NativeEngine.open(library, { backend: "sim" }), EngineError, "is closed");
  assert(library.closed);
});

Deno.test("closing the library closes the engines in it", () => {
  const library = openLibrary(double());
  const engine = NativeEngine.open(library, { backend: "sim" });
  library.close();
  const error = assertThrows(() => engine.snapshot(), EngineError, "the engine is closed");
  assertEquals(error.code, CONSTANTS.E_CLOSED);
  engine.close();
});

Deno.test({
  name: "an engine that does not close is reported, and its code stays mapped behind a closed library",
  // That it stays mapped is what the sanitizer calls a leak.
  sanitizeResources: false,
  fn: () => {
    const library = openLibrary(double());
    const engine = NativeEngine.open(library, { backend: "sim" });
    engine.advance(STUCK_NS);
    const error = assertThrows(() => library.close(), EngineError, "critical work is in flight");
    assertEquals(error.codeName, "E_TIMEOUT");
    assert(library.closed);
    assertThrows(() => library.nowNs(), EngineError, "is closed");
    assertThrows(() => engine.snapshot(), EngineError, "the engine is closed");
  },
});

Deno.test({
  name: "an engine that did not close before the library keeps its code mapped",
  // See above.
  sanitizeResources: false,
  fn: () => {
    const path = double("DOUBLE_STUCK_FIRST");
    const library = openLibrary(path);
    const engine = NativeEngine.open(library, { backend: "sim" });
    engine.advance(STUCK_NS);
    assertThrows(() => engine.close(), EngineError, "critical work is in flight");
    library.close();
    assert(library.closed);
    assertStringIncludes(Deno.readTextFileSync("/proc/self/maps"), path);
  },
});

Deno.test("importing ffi/mod.ts opens nothing, and --allow-ffi=<path> is all that an engine needs", () => {
  const path = double();
  const script = fromFileUrl(new URL("./fixtures/only_ffi.ts", import.meta.url));
  const run = (...permissions: string[]) => {
    const args = ["run", "--no-prompt", ...permissions, script, path];
    const { code, stdout, stderr } = new Deno.Command(Deno.execPath(), { args, env: { NO_COLOR: "1" } })
      .outputSync();
    return { code, text: new TextDecoder().decode(stdout).trim(), errors: new TextDecoder().decode(stderr) };
  };
  const granted = run(`--allow-ffi=${path}`);
  assertEquals([granted.code, granted.text], [0, "3 sim 10"], granted.errors);
  const denied = run();
  assertEquals(denied.code, 1);
  assertStringIncludes(denied.errors, `EngineError: Cannot open library '${path}'`);
  assertStringIncludes(denied.errors, `--allow-ffi=${path}`);
});

Deno.test("CALYPTE_LIBRARY names another library, and empty means none", () => {
  const before = Deno.env.get(LIBRARY_VARIABLE);
  try {
    Deno.env.set(LIBRARY_VARIABLE, "/elsewhere/libcalypte.so");
    assertEquals(libraryPath(), "/elsewhere/libcalypte.so");
    Deno.env.set(LIBRARY_VARIABLE, "");
    assert(libraryPath().endsWith("/build/libcalypte.so"), libraryPath());
  } finally {
    if (before === undefined) Deno.env.delete(LIBRARY_VARIABLE);
    else Deno.env.set(LIBRARY_VARIABLE, before);
  }
});

Deno.test("check returns values, and makes errors of codes with the library's text", () => {
  const lib = { lastError: () => "grid[0] must be >= 1, not 0" };
  assertEquals([check(0, "add", lib), check(7, "add", lib)], [0, 7]);
  const error = assertThrows(() => check(-1, "add work", lib), EngineError);
  assertEquals(error.message, "Cannot add work: grid[0] must be >= 1, not 0 (E_INVALID, -1)");
  assertEquals([error.code, error.codeName, error.operation], [-1, "E_INVALID", "add work"]);
  const unknown = assertThrows(() => check(-99, "add work", { lastError: () => "" }), EngineError);
  assertEquals(unknown.message, "Cannot add work: the library gives no reason (E_UNKNOWN, -99)");
});
