import {
  blobLayout,
  type Bundle,
  checkKernels,
  inputLayout,
  loadBundle,
  outputLayout,
  type ParamInfo,
  parseManifest,
  pickModule,
} from "../../agent/bundle.ts";
import { hexOf, sha256Of } from "../../agent/bundle_reader.ts";
import { bundleJsonSchema } from "../../agent/bundle_schema.ts";
import { InputError } from "../../agent/errors.ts";
import { path } from "../../agent/std/mod.ts";
import {
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "../assert.ts";

const HERE = path.dirname(path.fromFileUrl(import.meta.url));
const TINY = path.join(HERE, "..", "fixtures", "bundles", "tiny");
const TINY_TEXT = Deno.readTextFileSync(path.join(TINY, "bundle.json"));
const HASH = "0".repeat(64);

/** The tiny manifest with the value at `field` (such as `steps[1].grid`) replaced, or removed if `undefined`. */
function changed(field: string, value: unknown): string {
  const root: unknown = JSON.parse(TINY_TEXT);
  const keys = field.match(/[^.[\]]+/g) ?? [];
  let at = root as Record<string, unknown>;
  for (const key of keys.slice(0, -1)) at = at[key] as Record<string, unknown>;
  const last = keys.at(-1) ?? "";
  if (value === undefined) delete at[last];
  else at[last] = value;
  return JSON.stringify(root);
}

const copy = (from: unknown, to: unknown, bytes: unknown) => ({ copy: { from, to, bytes } });
const buffers = (count: number, role: string) =>
  Array.from({ length: count }, (_, i) => ({ name: `b${i}`, role, bytes: 1 }));

/** [field to change, value, field of the problem, part of the rule] */
const BROKEN: [string, unknown, string, string][] = [
  ["format", "calypte-bundle/2", "format", "must be calypte-bundle/1"],
  ["format", undefined, "format", "must be given"],
  ["name", "Tiny", "name", "kebab-case"],
  ["name", "a".repeat(64), "name", "at most 63"],
  ["extra", 1, "extra", "is not a known key"],
  ["modules", [], "modules", "at least 1 entries"],
  ["modules", Array(17).fill({ file: "a", arch: "sm_87", sha256: HASH }), "modules", "at most 16 entries"],
  ["modules[0].arch", "sm87", "modules[0].arch", "must be sm_NN or compute_NN"],
  ["modules[0].sha256", "ABC", "modules[0].sha256", "64 lower-case hexadecimal"],
  ["modules[0].file", "../kernels.ptx", "modules[0].file", "inside the bundle"],
  ["modules[0].file", "/kernels.ptx", "modules[0].file", "inside the bundle"],
  ["modules[0].file", "a\\b", "modules[0].file", "inside the bundle"],
  ["modules[0].file", "a//b", "modules[0].file", "inside the bundle"],
  ["modules[0].file", "a\u0000b", "modules[0].file", "inside the bundle"],
  ["modules[0].file", "", "modules[0].file", "inside the bundle"],
  ["modules", Array(2).fill({ file: "a", arch: "sm_87", sha256: HASH }), "modules[1].arch", "must be unique"],
  ["buffers", [], "buffers", "at least 1 entries"],
  ["buffers[3].name", "in", "buffers[3].name", "must be unique"],
  ["buffers[3].name", "a b", "buffers[3].name", "must be a buffer's name"],
  ["buffers[3].role", "temp", "buffers[3].role", "must be one of input"],
  ["buffers[3].bytes", 0, "buffers[3].bytes", "at least 1"],
  ["buffers[3].bytes", 2 ** 53, "buffers[3].bytes", "at most 9007199254740991"],
  ["buffers[3].bytes", undefined, "buffers[3]", "dtype and shape, or bytes"],
  ["buffers[0].bytes", 64, "buffers[0]", "not both"],
  ["buffers[0].dtype", "f8", "buffers[0].dtype", "must be one of u8"],
  ["buffers[0].dtype", undefined, "buffers[0]", "dtype and shape, or bytes"],
  ["buffers[0].shape", [], "buffers[0].shape", "at least 1 entries"],
  ["buffers[0].shape", [0], "buffers[0].shape[0]", "at least 1"],
  ["buffers[0].shape", [2 ** 31], "buffers[0].shape[0]", "at most 2147483647"],
  ["buffers[0].shape", [1.5], "buffers[0].shape[0]", "whole number"],
  ["buffers[0].shape", [2 ** 30, 2 ** 30], "buffers[0].shape", "2^53 - 1 bytes"],
  ["buffers[0].file", "weights.bin", "buffers[0].file", "must not be given for role input"],
  ["buffers[1].file", undefined, "buffers[1].file", "must be given for a weight"],
  ["buffers[1].sha256", undefined, "buffers[1].sha256", "must be given for a weight"],
  ["buffers[1].sha256", HASH, "buffers[2].sha256", "must equal buffers[1].sha256"],
  ["buffers[1].offset", -4, "buffers[1].offset", "at least 0"],
  ["buffers", buffers(17, "output"), "buffers", "at most 16 of role output"],
  ["steps", [], "steps", "at least 1 entries"],
  ["steps", Array(1025).fill({ memset: { buffer: "work", value: 0 } }), "steps", "at most 1024 entries"],
  ["steps[0]", {}, "steps[0]", "must be one of {kernel"],
  ["steps[0]", null, "steps[0]", "must be one of {kernel"],
  ["steps[1].kernel", "a b", "steps[1].kernel", "name of a PTX entry"],
  ["steps[1].grid", [0, 1, 1], "steps[1].grid[0]", "at least 1"],
  ["steps[1].grid", [2 ** 31, 1, 1], "steps[1].grid[0]", "at most 2147483647"],
  ["steps[1].grid", [1, 65536, 1], "steps[1].grid[1]", "at most 65535"],
  ["steps[1].grid", [1, 1, 65536], "steps[1].grid[2]", "at most 65535"],
  ["steps[1].grid", [2 ** 16, 2 ** 15, 1], "steps[1].grid", "fewer than 2^31 blocks"],
  ["steps[1].grid", [1, 1], "steps[1].grid", "must be a list of 3 whole numbers"],
  ["steps[1].block", [33, 32, 1], "steps[1].block", "at most 1024 threads in all, not 1056"],
  ["steps[1].block", [1, 1, 65], "steps[1].block[2]", "at most 64"],
  ["steps[1].sharedBytes", 2 ** 20, "steps[1].sharedBytes", "at most 262144"],
  ["steps[1].estimateUs", 0, "steps[1].estimateUs", "more than zero"],
  ["steps[1].blockUs", 4, "steps[1].blockUs", "not be more than estimateUs"],
  ["steps[1].args", undefined, "steps[1].args", "must be given"],
  [
    "steps[1].args[0]",
    { bufer: "in" },
    "steps[1].args[0].bufer",
    "is not a known key",
  ],
  [
    "steps[1].args[0]",
    { buffer: "input" },
    "steps[1].args[0].buffer",
    "must name one of the buffers, not input",
  ],
  [
    "steps[1].args[0]",
    { buffer: "in", offset: 64 },
    "steps[1].args[0].offset",
    "must lie inside in (64 bytes)",
  ],
  ["steps[1].args[0]", { i32: 2 ** 31 }, "steps[1].args[0].i32", "at most 2147483647"],
  ["steps[1].args[0]", { u32: -1 }, "steps[1].args[0].u32", "at least 0"],
  ["steps[1].args[0]", { u32: 1, i32: 1 }, "steps[1].args[0]", "must be one of {buffer}"],
  ["steps[1].args[0]", { i64: "9223372036854775808" }, "steps[1].args[0].i64", "-9223372036854775808.."],
  ["steps[1].args[0]", { i64: 2 ** 53 }, "steps[1].args[0].i64", "beyond 2^53 - 1 as a text"],
  ["steps[1].args[0]", { u64: "-1" }, "steps[1].args[0].u64", "must be a whole number 0.."],
  ["steps[1].args[0]", { u64: "0x1" }, "steps[1].args[0].u64", "must be a whole number 0.."],
  ["steps[1].args[0]", { f32: 1e39 }, "steps[1].args[0].f32", "must be at most 3.4"],
  ["steps[1].args[0]", { f64: "1" }, "steps[1].args[0].f64", "must be a number"],
  ["steps[0].memset.value", 256, "steps[0].memset.value", "at most 255"],
  ["steps[0].memset.buffer", "in", "steps[0].memset.buffer", "must not be written to"],
  ["steps[0].memset.buffer", "nil", "steps[0].memset.buffer", "must name one of the buffers"],
  ["steps[0].memset.offset", 128, "steps[0].memset", "must lie inside work"],
  ["steps[0].memset.bytes", 129, "steps[0].memset", "must lie inside work (128 bytes), not at 0..129"],
  ["steps[2].copy.bytes", 65, "steps[2].copy.from", "must lie inside work"],
  ["steps[2].copy.bytes", 65, "steps[2].copy.to", "must lie inside out"],
  ["steps[2].copy.to.buffer", "scale", "steps[2].copy.to.buffer", "must not be written to"],
  ["steps[2]", copy({ buffer: "work" }, { buffer: "work", offset: 63 }, 64), "steps[2].copy", "overlap"],
  [
    "steps[2]",
    copy({ buffer: "work" }, { buffer: "work" }, 2 ** 53),
    "steps[2].copy.bytes",
    "at most 9007199254740991",
  ],
  ["verify.output", undefined, "verify.output", "must be given"],
  ["verify.input", undefined, "verify.input", "must be given"],
  ["verify.rtol", -1, "verify.rtol", "at least 0"],
  ["verify.rtol", null, "verify.rtol", "must be a number"],
  ["buffers[4].role", "scratch", "verify", "the bundle has no output buffer"],
  ["buffers[0].role", "scratch", "verify.input", "the bundle has no input buffer"],
  ["reference", "../reference.ts", "reference", "inside the bundle"],
];

Deno.test("every rule of a manifest names field and rule when it is broken", () => {
  for (const [change, value, field, rule] of BROKEN) {
    const error = assertThrows(() => parseManifest(changed(change, value), "b.json"), InputError);
    const problem = error.problems.find((problem) => problem.field === field);
    assertEquals(problem?.file, "b.json", `${change}: wanted ${field}: ${error.message}`);
    assertStringIncludes(problem?.rule ?? "", rule);
  }
});

Deno.test("what a manifest may say is accepted", () => {
  const good: [string, unknown][] = [
    ["verify", undefined],
    ["name", "a".repeat(63)],
    ["modules[0].file", "ptx/..kernels..ptx"],
    ["steps[1].args[0]", { i64: "-9223372036854775808" }],
    ["steps[1].args[0]", { u64: "18446744073709551615" }],
    ["steps[1].args[0]", { f32: -0.1 }],
    ["steps[1].grid", [2 ** 31 - 1, 1, 1]],
    ["steps[1].block", [1024, 1, 1]],
    ["steps[2]", copy({ buffer: "work" }, { buffer: "work", offset: 64 }, 64)],
    ["steps[0].memset.offset", 127],
    ["steps[1].args", []],
    ["buffers[0].shape", Array(16).fill(1)],
  ];
  for (const [change, value] of good) parseManifest(changed(change, value), "b.json");
});

Deno.test("the messages read as agreed", () => {
  const text = (field: string, value: unknown) =>
    assertThrows(() => parseManifest(changed(field, value), "b.json"), InputError).message;
  assertEquals(
    text("steps[1].gird", [1, 1, 1]),
    "b.json: steps[1].gird: is not a known key; did you mean `grid`?",
  );
  assertEquals(
    text("steps[0].memset.buffer", "scale"),
    "b.json: steps[0].memset.buffer: must not be written to: scale has role weight; write to a scratch buffer",
  );
  assertEquals(
    text("buffers[3].bytes", -1),
    "b.json: buffers[3].bytes: must be at least 1, not -1",
  );
  assertStringIncludes(
    assertThrows(() => parseManifest('{"format": }', "b.json"), InputError).message,
    "b.json: must be JSON: Unexpected token",
  );
});

Deno.test("scalars are laid out little-endian in the size of their type", () => {
  const bytesOf = (arg: unknown) => {
    const step = parseManifest(changed("steps[1].args[0]", arg), "b.json").steps[1];
    const first = step?.kind === "kernel" ? step.args[0] : undefined;
    return first?.kind === "scalar" ? [...first.bytes] : undefined;
  };
  assertEquals(bytesOf({ i32: -2 }), [254, 255, 255, 255]);
  assertEquals(bytesOf({ u32: 4294967295 }), [255, 255, 255, 255]);
  assertEquals(bytesOf({ i64: -2 }), [254, 255, 255, 255, 255, 255, 255, 255]);
  assertEquals(bytesOf({ u64: "258" }), [2, 1, 0, 0, 0, 0, 0, 0]);
  assertEquals(bytesOf({ f32: 0.5 }), [0, 0, 0, 63]);
  assertEquals(bytesOf({ f64: 0.5 }), [0, 0, 0, 0, 0, 0, 224, 63]);
});

Deno.test("a blob holds buffers in order at multiples of 256, without padding at its end", () => {
  const layout = blobLayout([{ name: "a", sizeBytes: 1 }, { name: "b", sizeBytes: 256 }, {
    name: "c",
    sizeBytes: 3,
  }]);
  assertEquals(layout.entries.map((entry) => entry.offset), [0, 256, 512]);
  assertEquals(layout.sizeBytes, 515);
  assertEquals(blobLayout([]), { entries: [], sizeBytes: 0 });
});

Deno.test("a bundle on disk is loaded with everything that it names", async () => {
  const bundle = await loadBundle(TINY);
  assertEquals(bundle.manifest.name, "tiny");
  assertEquals(bundle.modules[0]?.text.includes(".visible .entry scale_add("), true);
  assertEquals([...bundle.weights.keys()], ["scale", "bias"]);
  assertEquals(new Float32Array(bundle.weights.get("bias")?.slice().buffer ?? new ArrayBuffer(0))[5], 1.25);
  assertEquals(bundle.weights.get("scale")?.buffer, bundle.weights.get("bias")?.buffer);
  assertEquals(bundle.sampleInput?.length, inputLayout(bundle.manifest).sizeBytes);
  assertEquals(bundle.sampleOutput?.length, outputLayout(bundle.manifest).sizeBytes);
  assertEquals(bundle.digest.length, 32);
  assertEquals(hexOf(bundle.digest), bundle.digestHex);
});

/** A copy of the tiny bundle, changed by `change`, for as long as `use` runs. */
async function withCopy(use: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    for await (const entry of Deno.readDir(TINY)) {
      await Deno.writeFile(path.join(dir, entry.name), await Deno.readFile(path.join(TINY, entry.name)));
    }
    await use(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("the digest depends on what the manifest says, not on how it is written", async () => {
  const { digestHex } = await loadBundle(TINY);
  await withCopy(async (dir) => {
    const reversed = Object.fromEntries(Object.entries(JSON.parse(TINY_TEXT)).reverse());
    await Deno.writeTextFile(path.join(dir, "bundle.json"), JSON.stringify(reversed));
    assertEquals((await loadBundle(dir)).digestHex, digestHex);
    await Deno.writeTextFile(path.join(dir, "bundle.json"), changed("description", "other"));
    assertNotEquals((await loadBundle(dir)).digestHex, digestHex);
  });
});

Deno.test("damaged, missing, misplaced and odd files are named", async () => {
  const cases: [(dir: string) => Promise<unknown>, string, string][] = [
    [(dir) => Deno.remove(path.join(dir, "bundle.json")), "", "bundle.json does not exist"],
    [(dir) => Deno.truncate(path.join(dir, "bundle.json")), "", "must be JSON"],
    [(dir) => Deno.writeFile(path.join(dir, "bundle.json"), Uint8Array.of(255)), "", "must be UTF-8"],
    [(dir) => Deno.remove(path.join(dir, "weights.bin")), "buffers[1]", "weights.bin does not exist"],
    [
      (dir) => Deno.truncate(path.join(dir, "weights.bin"), 100),
      "buffers[2]",
      "at least 128 bytes (bias ends there)",
    ],
    [
      (dir) => Deno.writeFile(path.join(dir, "weights.bin"), new Uint8Array(128)),
      "buffers[1]",
      "must have SHA-256",
    ],
    [
      (dir) => Deno.truncate(path.join(dir, "kernels.compute_50.ptx")),
      "modules[0]",
      "at least 1 bytes, not 0",
    ],
    [(dir) => Deno.truncate(path.join(dir, "kernels.compute_50.ptx"), 99), "modules[0]", "must have SHA-256"],
    [(dir) => Deno.truncate(path.join(dir, "sample.in"), 60), "verify.input", "must have 64 bytes"],
    [(dir) => Deno.remove(path.join(dir, "sample.out")), "verify.output", "sample.out does not exist"],
    [
      async (dir) => {
        await Deno.remove(path.join(dir, "weights.bin"));
        await Deno.symlink(path.join(TINY, "weights.bin"), path.join(dir, "weights.bin"));
      },
      "buffers[1]",
      "a link that leads out of it",
    ],
    [
      async (dir) => {
        await Deno.remove(path.join(dir, "sample.in"));
        await Deno.mkdir(path.join(dir, "sample.in"));
      },
      "verify.input",
      "must be a plain file",
    ],
    [
      (dir) => Deno.writeTextFile(path.join(dir, "bundle.json"), changed("reference", "reference.ts")),
      "reference",
      "reference.ts does not exist",
    ],
  ];
  for (const [damage, field, rule] of cases) {
    await withCopy(async (dir) => {
      await damage(dir);
      const error = await assertRejects(() => loadBundle(dir), InputError);
      const problem = error.problems.find((problem) => problem.field === field);
      assertStringIncludes(problem?.rule ?? error.message, rule);
      assertEquals(problem?.file, path.join(dir, "bundle.json"));
    });
  }
  await assertRejects(() => loadBundle(path.join(TINY, "none")), InputError, "must be a bundle's folder");
  await assertRejects(() => loadBundle(path.join(TINY, "sample.in")), InputError, "but is a file");
});

Deno.test("a module that is not text is refused", async () => {
  for (const [bytes, rule] of [[[0x7f, 0x45, 0x4c, 0x46, 0xff], "UTF-8"], [[0x41, 0], "NUL"]] as const) {
    await withCopy(async (dir) => {
      const data = Uint8Array.from(bytes);
      await Deno.writeFile(path.join(dir, "kernels.compute_50.ptx"), data);
      const text = changed("modules[0].sha256", hexOf(await sha256Of(data)));
      await Deno.writeTextFile(path.join(dir, "bundle.json"), text);
      await assertRejects(() => loadBundle(dir), InputError, rule);
    });
  }
});

Deno.test("the module picked is the best that the device runs", async () => {
  const bundle = await loadBundle(TINY);
  const pick = (archs: string[], major: number, minor: number) => {
    const modules = archs.map((arch) => ({ file: `${arch}.ptx`, arch, sha256: HASH, text: "" }));
    return pickModule({ ...bundle, modules }, major, minor).arch;
  };
  assertEquals(pick(["compute_80", "sm_90", "sm_87"], 8, 7), "sm_87");
  assertEquals(pick(["sm_90", "sm_90a", "compute_90"], 9, 0), "sm_90a");
  assertEquals(pick(["sm_90a", "compute_80"], 10, 0), "compute_80");
  assertEquals(pick(["sm_90a", "sm_100f", "sm_80"], 12, 0), "sm_80");
  assertEquals(pick(["compute_50", "compute_72", "sm_86"], 8, 7), "compute_72");
  assertEquals(pick(["sm_50", "sm_72"], 8, 7), "sm_72");
  assertEquals(pick(["sm_87", "compute_90"], 9, 0), "compute_90");
  assertEquals(pick(["sm_100"], 12, 1), "sm_100");
  const error = assertThrows(() => pick(["sm_90a", "sm_87"], 8, 0), InputError);
  assertEquals(
    error.message,
    `${path.join(TINY, "bundle.json")}: modules: must hold one that runs on compute capability 8.0, ` +
      "not only sm_90a, sm_87; export the bundle for compute_80 or older",
  );
});

Deno.test("kernels and arguments are held against the parameters of the module", async () => {
  const bundle = await loadBundle(TINY);
  const pointer = (name: string): ParamInfo => ({ name, type: "u64", sizeBytes: 8 });
  const good = [...["in", "scale", "bias", "out"].map(pointer), { name: "n", type: "u32", sizeBytes: 4 }];
  const check = (params: [string, ParamInfo[]][]) => checkKernels(bundle, new Map(params));
  check([["scale_add", good]]);
  const problem = (b: Bundle, params: [string, ParamInfo[]][]) =>
    assertThrows(() => checkKernels(b, new Map(params)), InputError).message.replace(`${b.file}: `, "");
  assertEquals(
    problem(bundle, [["scale", good]]),
    "steps[1].kernel: must name an entry of the module, not scale_add; it has scale",
  );
  assertEquals(
    problem(bundle, [["scale_add", [pointer("in")]]]),
    "steps[1].args: must be 1 for scale_add, not 5; it takes (.u64 in)",
  );
  assertEquals(
    problem(bundle, [["scale_add", [...good.slice(0, 4), pointer("n")]]]),
    "steps[1].args[4]: must have 8 bytes for .u64 n, not u32 of 4",
  );
});

Deno.test("the JSON Schema of a manifest lists its keys", () => {
  const schema = bundleJsonSchema() as { required: string[]; additionalProperties: boolean };
  assertEquals(schema.required, ["format", "name", "buffers"]);
  assertEquals(schema.additionalProperties, false);
});
