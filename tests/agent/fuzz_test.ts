/**
 * Whatever a file holds: success, or an `InputError` of bounded size. Each run draws a fresh seed; a failure prints
 * it. Replay with `CALYPTE_FUZZ_SEED=<seed> deno test … tests/agent/fuzz_test.ts`; `CALYPTE_FUZZ_RUNS` sets the number of
 * runs of each property.
 */
import fc from "fast-check";
import { loadBundle, parseManifest } from "../../agent/bundle.ts";
import { decodeText } from "../../agent/bundle_reader.ts";
import { loadMission, loadMissionBundles, parseMission } from "../../agent/config.ts";
import { InputError } from "../../agent/errors.ts";
import { loadFrames } from "../../agent/frames.ts";
import * as quantity from "../../agent/quantity.ts";
import { path, yaml } from "../../agent/std/mod.ts";
import { assertEquals } from "../assert.ts";

const FIXTURES = path.join(path.dirname(path.fromFileUrl(import.meta.url)), "..", "fixtures");
const MANIFEST = Deno.readTextFileSync(path.join(FIXTURES, "bundles", "tiny", "bundle.json"));
const MISSION = Deno.readTextFileSync(path.join(FIXTURES, "missions", "full.yaml"));

const seed = Number(Deno.env.get("CALYPTE_FUZZ_SEED") ?? (Date.now() ^ (Math.random() * 2 ** 32)) | 0);
const runs = Number(Deno.env.get("CALYPTE_FUZZ_RUNS") ?? 300);

/** Runs one property; its failure names the seed and the smallest input. */
async function check<T>(name: string, arbitrary: fc.Arbitrary<T>, run: (value: T) => unknown): Promise<void> {
  const property = fc.asyncProperty(arbitrary, async (value) => {
    try {
      await run(value);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      checkError(error);
    }
  });
  const result = await fc.check(property, { seed, numRuns: runs });
  if (result.failed) {
    throw new Error(
      `${name}: replay with CALYPTE_FUZZ_SEED=${seed}\n${await fc.asyncDefaultReportMessage(result)}`,
    );
  }
}

/** A message is for a terminal: bounded, no control characters but the ends of its lines. */
function checkError(error: InputError): void {
  assertEquals(error.problems.length > 0, true);
  assertEquals(error.message.length < 21 * 600, true, `${error.message.length} characters`);
  assertEquals(/[^\P{Cc}\n]/u.test(error.message), false, JSON.stringify(error.message));
}

/** Values that are likely to be wrong in an interesting way. */
const odd = fc.oneof(
  fc.constantFrom<unknown>(null, true, false, "", 0, -1, 1, 255, 256, 2 ** 31, 2 ** 53, -0.5, 1e308, [], {}, [
    [],
  ], "\u0007"),
  fc.constantFrom<unknown>(
    "../x",
    "/etc/passwd",
    "1ms",
    "0ms",
    "30Hz",
    "fifo:99",
    "latest",
    "__proto__",
    "constructor",
    "NaN",
  ),
  fc.string(),
  fc.integer(),
  fc.double(),
  fc.jsonValue({ maxDepth: 3 }),
);

const change = fc.record({
  /** Which of all places, by its index modulo their number. */
  at: fc.nat(10_000),
  what: fc.constantFrom("replace", "remove", "add", "duplicate"),
  key: fc.oneof(fc.constantFrom("__proto__", "constructor", "toString", "name", "bytes", "a b"), fc.string()),
  value: odd,
});
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

/** Changes one place of a tree of plain data. */
function mutate(root: unknown, { at, what, key, value }: Change): void {
  const places: [Record<string, unknown>, string][] = [];
  const walk = (node: unknown) => {
    if (typeof node !== "object" || node === null) return;
    for (const inner of Object.keys(node)) {
      places.push([node as Record<string, unknown>, inner]);
      walk((node as Record<string, unknown>)[inner]);
    }
  };
  walk(root);
  const place = places[at % Math.max(1, places.length)];
  if (place === undefined) return;
  const [parent, child] = place;
  const newKey = Array.isArray(parent) ? String(parent.length) : key;
  if (what === "remove" && Array.isArray(parent)) parent.splice(Number(child), 1);
  else if (what === "remove") delete parent[child];
  else {
    const target = what === "replace" ? child : newKey;
    const copied = what === "duplicate" ? structuredClone(parent[child]) : value;
    Object.defineProperty(parent, target, {
      value: copied,
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
}

const changes = fc.array(change, { minLength: 1, maxLength: 4 });

/** Cuts, doubles and overwrites bytes of a good text. */
const bytesOf = (text: string) => {
  const good = new TextEncoder().encode(text);
  return fc.array(fc.record({ at: fc.nat(good.length - 1), byte: fc.nat(255), cut: fc.nat(40) }), {
    maxLength: 6,
  }).map((edits) => {
    let bytes = [...good];
    for (const { at, byte, cut } of edits) {
      bytes = [...bytes.slice(0, at), byte, ...bytes.slice(at + (cut % 5 === 0 ? cut : 1))];
    }
    return Uint8Array.from(bytes);
  });
};

const where = { file: "f", field: "" };
const manifest = (bytes: Uint8Array) => parseManifest(decodeText(bytes, where), "b.json");
const mission = (bytes: Uint8Array) => parseMission(decodeText(bytes, where), "m.yaml");

Deno.test("random bytes are an InputError to every reader", async () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 400 }),
    fc.string({ maxLength: 200 }).map((s) => new TextEncoder().encode(s)),
  );
  await check("manifest", bytes, manifest);
  await check("mission", bytes, mission);
});

Deno.test("a damaged manifest or mission is read, or is an InputError", async () => {
  await check("manifest", bytesOf(MANIFEST), manifest);
  await check("mission", bytesOf(MISSION), mission);
});

Deno.test("a manifest with other values is read, or is an InputError", async () => {
  await check("manifest", changes, (list) => {
    const root: unknown = JSON.parse(MANIFEST);
    for (const one of list) mutate(root, one);
    parseManifest(JSON.stringify(root), "b.json");
  });
});

Deno.test("a mission with other values is read, or is an InputError", async () => {
  await check("mission", changes, (list) => {
    const root = yaml.parse(MISSION);
    for (const one of list) mutate(root, one);
    parseMission(JSON.stringify(root), "m.yaml");
  });
});

Deno.test("any text is a quantity or an InputError, and what is read is a safe number", async () => {
  const number = fc.oneof(fc.nat().map(String), fc.double().map(String), fc.bigInt().map(String));
  const unit = fc.constantFrom(
    "",
    "ns",
    "us",
    "ms",
    "s",
    "min",
    "h",
    "Hz",
    "kHz",
    "B",
    "GiB",
    "W",
    "C",
    " ms",
    "x",
  );
  const text = fc.oneof(odd, fc.tuple(number, unit).map((parts) => parts.join("")));
  const parsers = [quantity.parseDurationNs, quantity.parseFrequencyToPeriodNs, quantity.parseBytes];
  for (const parse of parsers) {
    await check(parse.name, text, (value) => {
      const result = parse(value);
      assertEquals(Number.isSafeInteger(result) && result > 0, true, String(result));
    });
  }
  for (const parse of [quantity.parsePowerW, quantity.parseTemperatureC]) {
    await check(parse.name, text, (value) => assertEquals(Number.isFinite(parse(value)), true));
  }
});

Deno.test("hostile YAML and JSON end quickly in an InputError", () => {
  const deep = 100_000;
  const bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" +
    [..."bcdefghi"].map((c, i) => `${c}: &${c} [${Array(9).fill(`*${"abcdefgh"[i]}`).join(",")}]`).join("\n");
  for (
    const text of [
      "[".repeat(deep),
      "{a: ".repeat(deep),
      bomb,
      "a: &a {b: *a}",
      "critical: &a { a: *a }",
      "? [a]\n: b",
    ]
  ) {
    let caught: unknown;
    try {
      parseMission(text, "m.yaml");
    } catch (error) {
      caught = error;
    }
    assertEquals(caught instanceof InputError, true, `${text.slice(0, 20)}: ${caught}`);
    if (caught instanceof InputError) checkError(caught);
  }
  for (const text of ["[".repeat(deep), `${"[".repeat(deep)}${"]".repeat(deep)}`, `{"__proto__": 1}`]) {
    let caught: unknown;
    try {
      parseManifest(text, "b.json");
    } catch (error) {
      caught = error;
    }
    assertEquals(caught instanceof InputError, true, `${text.slice(0, 20)}: ${caught}`);
  }
});

Deno.test("a folder of random files is a bundle, frames, a mission, or an InputError", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.mkdir(path.join(dir, "bundle"));
    const files = fc.record({
      manifest: fc.oneof(bytesOf(MANIFEST), fc.uint8Array()),
      mission: bytesOf(MISSION.replaceAll("../bundles/tiny", "bundle")),
      frame: fc.oneof(fc.uint8Array(), bytesOf("\u0000".repeat(40))),
    });
    for (
      const [name, load] of [
        ["bundle", () => loadBundle(path.join(dir, "bundle"))],
        ["mission", async () => await loadMissionBundles(await loadMission(path.join(dir, "m.yaml")))],
        ["frames", () => loadFrames(dir)],
      ] as const
    ) {
      await check(name, files, async (value) => {
        await Deno.writeFile(path.join(dir, "bundle", "bundle.json"), value.manifest);
        await Deno.writeFile(path.join(dir, "m.yaml"), value.mission);
        await Deno.writeFile(path.join(dir, "0.png"), value.frame);
        await load();
      });
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
