/** Does a bundle whose work a library does load like any other, with what is wrong in it named? On the simulator. */
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "../assert.ts";
import { type Bundle, loadBundle } from "../../agent/bundle.ts";
import { bundleInspectCommand } from "../../agent/commands/bundle.ts";
import { checkpointCompiler } from "../../agent/checkpoint.ts";
import { hexOf, sha256Of } from "../../agent/bundle_reader.ts";
import { resolveIsolation } from "../../agent/containment/isolation.ts";
import { InputError } from "../../agent/errors.ts";
import { type LoadedWork, Loader, type WorkSettings } from "../../agent/load.ts";
import { pluginLine } from "../../agent/load_plugin.ts";
import { settleLevels } from "../../agent/levels.ts";
import type { MissionFiles } from "../../agent/prepare.ts";
import type { Engine } from "../../ffi/engine.ts";
import { openEngine } from "../../agent/commands/engines.ts";
import { fromFileUrl } from "@std/path";
import { buildFolder, compile } from "../ffi/double.ts";
import { FakeEngine } from "./fake_engine.ts";

const SOURCE = fromFileUrl(new URL("../fixtures/plugins/plugin.c", import.meta.url));
const OTHER = Deno.build.arch === "x86_64" ? "aarch64" : "x86_64";

let library: Uint8Array<ArrayBuffer> | undefined;
async function theLibrary(): Promise<Uint8Array<ArrayBuffer>> {
  if (library === undefined) {
    const path = `${buildFolder()}/plugin.so`;
    compile("-shared", "-fPIC", SOURCE, "-o", path);
    library = await Deno.readFile(path);
  }
  return library;
}

interface Plugin {
  does?: string;
  /** In the place of `plugin` in the manifest. */
  plugin?: unknown;
  more?: Record<string, unknown>;
  outBytes?: number;
}

/** Runs `body` on a bundle's folder, which is gone afterwards. */
async function withFolder<T>(
  { does = "k(cK)m", plugin, more = {}, outBytes = 64 }: Plugin,
  body: (dir: string) => Promise<T>,
): Promise<T> {
  const dir = await Deno.makeTempDir({ prefix: "calypte-plugin-" });
  try {
    const content = await theLibrary();
    await Deno.writeFile(`${dir}/plugin.so`, content);
    const sha256 = hexOf(await sha256Of(content));
    const manifest = {
      format: "calypte-bundle/1",
      name: "plug",
      plugin: plugin ?? { file: "plugin.so", sha256, config: { does } },
      buffers: [
        { name: "in", role: "input", bytes: 64 },
        { name: "out", role: "output", bytes: outBytes },
      ],
      ...more,
    };
    await Deno.writeTextFile(
      `${dir}/bundle.json`,
      JSON.stringify(manifest).replaceAll('"HASH"', `"${sha256}"`),
    );
    return await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const background: WorkSettings = {
  kind: "background",
  name: "plug",
  source: { kind: "api" },
  keepOutput: false,
};
const critical: WorkSettings = {
  ...{ kind: "critical", name: "plug", source: { kind: "api" }, keepOutput: false, deadlineNs: 5e6 },
  ...{ from: "arrival", queue: "latest", queueDepth: 1, onMiss: "publish-late", maxBlockingNs: 0 },
  ...{ yield: "always", anticipate: false },
};

function add(engine: Engine, settings: WorkSettings, bundle: Bundle): LoadedWork {
  return new Loader({ engine, checkpoint: checkpointCompiler, preemptionBoundNs: 50_000 })
    .add(settings, bundle, undefined);
}

function load(asked: Plugin, settings = background): Promise<LoadedWork> {
  return withFolder(asked, async (dir) => {
    using engine = openEngine({ backend: "sim", clock: "virtual" });
    return add(engine, settings, await loadBundle(dir));
  });
}

Deno.test("as background each node of the graph is a step at level whole, between upload and download", async () => {
  const { steps, plugin } = await load({});
  assertEquals(steps.map(({ kernel, level }) => `${kernel} ${level}`), [
    "calypte_upload block",
    "short_kernel whole",
    "copy whole",
    "long_kernel whole",
    "memset whole",
    "calypte_download block",
  ]);
  assert(plugin !== undefined);
  assertEquals([plugin.name, plugin.captured, plugin.nodeCount], ["test plugin 1.0", true, 4]);
  assertEquals(
    pluginLine(plugin, "background"),
    "plugin test plugin 1.0: 4 nodes in 4 steps, started one by one; its bound is the longest of them, 1 ms",
  );
});

Deno.test("as critical task it is one graph, and called each time where the bundle says so", async () => {
  const { steps, plugin } = await load({}, critical);
  assertEquals(steps.map(({ kernel }) => kernel), ["test plugin 1.0"]);
  assertStringIncludes(pluginLine(plugin!, "critical"), "one graph of 4 nodes");
  const never = { file: "plugin.so", sha256: "HASH", capture: "never", config: { does: "kK" } };
  const called = await load({ plugin: never });
  assertEquals(called.steps.length, 3);
  assertStringIncludes(pluginLine(called.plugin!, "background"), "called for each unit");
  assertStringIncludes(pluginLine(called.plugin!, "background"), "1.1 ms");
});

Deno.test("what the engine says against a plugin is a fault of the bundle, with its words", async () => {
  const cases: [Plugin, string][] = [
    [{ does: "C" }, "create failed: the licence is not there: install it"],
    [{ does: "kE" }, "enqueue failed: the model is not for this shape"],
    [{ does: "O" }, "put nothing into the stream given"],
    [{ does: "kD" }, "default stream"],
    [{ does: "kB" }, "'workspace' (scratch, 4096 bytes)"],
    [{ outBytes: 32 }, "in the bundle it is output with 32 bytes"],
    [
      { plugin: { file: "plugin.so", sha256: "HASH", capture: "require", config: { does: "kA" } } },
      "allocate in create",
    ],
  ];
  for (const [asked, words] of cases) {
    const error = await assertRejects(() => load(asked), InputError);
    assertStringIncludes(error.message, "bundle.json: plugin: must be one that can be used");
    assertStringIncludes(error.message, words);
  }
});

Deno.test("a library that is no library says so, and one for another machine is not opened", async () => {
  const text = new TextEncoder().encode("not a library");
  const plugin = { file: "other.so", sha256: hexOf(await sha256Of(text)) };
  await withFolder({ plugin }, async (dir) => {
    await Deno.writeFile(`${dir}/other.so`, text);
    using engine = openEngine({ backend: "sim", clock: "virtual" });
    const bundle = await loadBundle(dir);
    assertStringIncludes(
      assertThrows(() => add(engine, background, bundle), InputError).message,
      "does not load",
    );
  });
  const elsewhere = { files: { [OTHER]: { file: "plugin.so", sha256: "HASH" } } };
  const error = await assertRejects(() => load({ plugin: elsewhere }), InputError);
  assertStringIncludes(
    error.message,
    `must hold one for this machine (${Deno.build.arch}), not only ${OTHER}`,
  );
  const both = {
    [OTHER]: { file: "plugin.so", sha256: "HASH" },
    [Deno.build.arch]: { file: "plugin.so", sha256: "HASH" },
  };
  assertEquals((await load({ plugin: { files: both, config: { does: "k" } } })).steps.length, 3);
});

Deno.test("every rule of the key names its field", async () => {
  const cases: [Plugin, string][] = [
    [{ plugin: {} }, "plugin: must give either `file` with `sha256`, or `files`"],
    [{ plugin: { file: "plugin.so" } }, "plugin.sha256: must be given"],
    [
      { plugin: { file: "plugin.so", sha256: "0".repeat(64) } },
      "plugin: plugin.so must have SHA-256 000000000000",
    ],
    [{ plugin: { file: "../plugin.so", sha256: "HASH" } }, "plugin.file: must be a path inside the bundle"],
    [
      { plugin: { file: "plugin.so", sha256: "HASH", capture: "maybe" } },
      "must be one of auto, require, never",
    ],
    [
      {
        plugin: {
          file: "plugin.so",
          sha256: "HASH",
          files: { x86_64: { file: "plugin.so", sha256: "HASH" } },
        },
      },
      "plugin: must give either",
    ],
    [
      { more: { steps: [{ memset: { buffer: "out", value: 0 } }] } },
      "steps: must not be given beside `plugin`",
    ],
    [{ more: { plugin: undefined } }, "steps: must have at least 1 entries"],
    [
      {
        plugin: {
          ...{ file: "plugin.so", sha256: "HASH" },
          data: [{ file: "bundle.json", sha256: "1".repeat(64) }],
        },
      },
      "plugin.data[0]: bundle.json must have SHA-256 111111111111",
    ],
    [{ plugin: { file: "none.so", sha256: "HASH" } }, "none.so"],
  ];
  for (const [asked, words] of cases) {
    const error = await withFolder(asked, (dir) => assertRejects(() => loadBundle(dir), InputError));
    assertStringIncludes(error.message, words);
  }
});

Deno.test("a plugin has a process of its own unless the mission says otherwise, on the simulator too", async () => {
  const bundle = await withFolder({}, loadBundle);
  const job = (name: string, isolation: string) => ({ name, isolation });
  const files = {
    mission: { background: [job("auto", "auto"), job("asked", "shared")] },
    bundles: new Map([["auto", bundle], ["asked", bundle]]),
  } as unknown as MissionFiles;
  const { mission } = await resolveIsolation(files, undefined);
  assertEquals(mission.background.map(({ name, isolation }) => `${name} ${isolation}`), [
    "asked shared",
    "auto process",
  ]);
});

Deno.test("bundle inspect shows the library and says where the bound is told", async () => {
  let out = "";
  const code = await withFolder(
    {},
    async (dir) =>
      await bundleInspectCommand.run(
        [dir],
        { out: (text: string) => void (out += text), err: () => {} } as never,
      ),
  );
  assertEquals(code, 0);
  assertStringIncludes(out, "plugin plugin.so; capture: auto");
  assertStringIncludes(out, "the bound is its longest one");
});

Deno.test("once it is measured as it will run, the bound is that of the longest step", async () => {
  const engine = new FakeEngine();
  const loaded = await withFolder({}, async (dir) => add(engine, background, await loadBundle(dir)));
  assertEquals(loaded.plugin?.longestNs, 3000);
  assertEquals(engine.plugins[0]?.mostSteps, 60);
  assertEquals(engine.plugins[0]?.buffers.map(({ name, role }) => `${name} ${role}`), [
    "in input",
    "out output",
  ]);
  // The engine knows from the first step's arguments which buffers are the work's.
  assertEquals(
    engine.works[0]?.steps.map(({ args }) => args.filter(({ kind }) => kind === "buffer").length),
    [1, 2, 0, 0, 1],
  );
  const none = { workers: 0, periodSlots: 0, runBlocks: 0, loopNs: 0, blockDrainNs: 0, loopDrainNs: 0 };
  for (const step of [1, 2, 3]) {
    engine.stepInfos.set(`0 ${step}`, { level: "whole", ...none, blockNs: 1000 * step + 7 });
  }
  settleLevels(engine, [loaded], 50_000);
  assertEquals(loaded.plugin?.longestNs, 3007);
});
