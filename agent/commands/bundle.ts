/** `calypte bundle inspect|verify`: what a bundle holds, and whether it computes what it says. */
import { type KernelReport, ptxasRegisters, reportModule } from "../../ptx/mod.ts";
import { type Bundle, loadBundle } from "../bundle.ts";
import { asInputError, checkModules, checkpointCompiler } from "../checkpoint.ts";
import { pluginLine } from "../load_plugin.ts";
import { type PluginEntry, pluginLibraries } from "../plugin_manifest.ts";
import { bytesOn, type MemoryNeed, memoryNeed } from "../memory_need.ts";
import { mayOverlap, overlapsOf } from "../overlaps.ts";
import { formatBytes, formatDurationNs } from "../quantity.ts";
import { loadReference } from "../reference.ts";
import { cachedCompiler, cacheFolder } from "../rewrite_cache.ts";
import { table } from "../summary.ts";
import { type Check, verifyOnGpu, verifyReference } from "../verify.ts";
import { type Command, lines, parseCommand } from "./command.ts";
import { chooseBackend, openEngine, parseBackend } from "./engines.ts";
import { kernelJson, kernelLines } from "./kernel_table.ts";

const INSPECT_HELP = `Usage: calypte bundle inspect DIR [--json]

Checks the bundle in DIR, with the hash of every file and the kernels of every module, and shows what it
holds. Of the kernels that its steps launch it says how preemptible they are as background work, as ptx report
does, but knowing which of their parameters lead to the same buffer. What it takes of memory is reckoned as
for a mission's budgets. Of a plugin it shows the libraries and checks their hashes, and loads none: how long
its longest kernel takes, which is its bound, only a run tells. "units under way" lie in host memory, which
counts only where the GPU shares it; "while it is tried" is for a moment, at load.

Options:
  --json  one JSON object instead of tables

Example:
  calypte bundle inspect examples/bundles/obstacle-detector
`;

export const bundleInspectCommand: Command = {
  name: "bundle inspect",
  summary: "check a bundle and show what it holds",
  help: INSPECT_HELP,
  async run(args, terminal) {
    const { flags, positional: [dir = ""] } = parseCommand("bundle inspect", args, {
      boolean: ["json"],
      string: [],
      positional: ["DIR"],
    });
    const bundle = await loadBundle(dir);
    checkModules(bundle);
    const kernels = reportKernels(bundle);
    terminal.out(flags.json ? JSON.stringify(asJson(bundle, kernels)) + "\n" : asText(bundle, kernels));
    return 0;
  },
};

/** By how it is used. */
function needsOf(bundle: Bundle): { critical: MemoryNeed; background: MemoryNeed } {
  return {
    critical: memoryNeed(bundle, { kind: "critical", queueDepth: 1 }),
    background: memoryNeed(bundle, { kind: "background" }),
  };
}

function needLines(bundle: Bundle): string[] {
  const needs = Object.values(needsOf(bundle));
  const whats = [...new Set(needs.flatMap(({ items }) => items.map(({ what }) => what)))];
  const row = (what: string, of: (need: MemoryNeed) => number) => [
    what,
    ...needs.map((need) => formatBytes(of(need))),
  ];
  const sizeOf = (what: string) => ({ items }: MemoryNeed) =>
    items.find((item) => item.what === what)?.sizeBytes ?? 0;
  return table(["memory", "as a critical task", "as a background job"], [
    ...whats.map((what) => row(what, sizeOf(what))),
    row("in all, on the GPU", (need) => bytesOn(need, false)),
    row("units under way", ({ slots }) => slots.sizeBytes),
    row("while it is tried", ({ copyBytes }) => copyBytes),
  ]);
}

/** Of each module, in order, the kernels that some step launches. */
export type Reports = readonly { readonly file: string; readonly kernels: readonly KernelReport[] }[];

export function reportKernels({ manifest, modules, dir }: Bundle): Reports {
  const overlaps = overlapsOf(manifest.steps);
  const overlap = (kernel: string, written: number, read: number) =>
    mayOverlap(overlaps, kernel, written, read);
  return modules.map(({ file, text }) => {
    const path = `${dir}/${file}`;
    const all = asInputError(() => reportModule(text, path, { overlap, countRegisters: ptxasRegisters }));
    return { file, kernels: all.filter(({ kernel }) => overlaps.has(kernel)) };
  });
}

function asJson(bundle: Bundle, reports: Reports): unknown {
  const { manifest, digestHex } = bundle;
  const { name, description, license, modules, buffers, steps, verify, reference } = manifest;
  return {
    name,
    digest: digestHex,
    description,
    license,
    modules,
    buffers: buffers.map(({ name, role, sizeBytes, dtype, shape }) => ({
      name,
      role,
      sizeBytes,
      dtype,
      shape,
    })),
    steps: steps.map((step) =>
      step.kind === "kernel" ? { kernel: step.kernel, grid: step.grid, block: step.block } : step
    ),
    kernels: reports.flatMap(({ file, kernels }) =>
      kernelJson(kernels).map((kernel) => ({ module: file, ...kernel }))
    ),
    memory: needsOf(bundle),
    plugin: bundle.manifest.plugin,
    verify,
    reference,
  };
}

function asText(bundle: Bundle, reports: Reports): string {
  const { manifest, digestHex } = bundle;
  const { name, description, modules, buffers, steps, plugin } = manifest;
  const rows = buffers.map(({ name, role, sizeBytes, dtype, shape }) => [
    name,
    role,
    formatBytes(sizeBytes),
    dtype === undefined ? "" : `${dtype} ${shape?.join(" x ")}`,
  ]);
  const stepRows = steps.map((step, index) =>
    step.kind === "kernel"
      ? [
        `${index}`,
        step.kernel,
        step.grid.join(" x "),
        step.block.join(" x "),
        formatBytes(step.sharedBytes),
      ]
      : [`${index}`, step.kind, formatBytes(step.sizeBytes), "", ""]
  );
  return lines([
    description === "" ? name : `${name}: ${description}`,
    `digest ${digestHex}`,
    ...(plugin === undefined
      ? [`modules ${modules.map(({ file, arch }) => `${file} (${arch})`).join(", ")}`]
      : pluginLines(bundle, plugin)),
    "",
    ...table(["buffer", "role", "size", "elements"], rows),
    "",
    ...(plugin === undefined ? [...table(["step", "kernel", "grid", "block", "shared"], stepRows), ""] : []),
    ...needLines(bundle),
    ...reports.flatMap(({ file, kernels }) => [
      "",
      ...(reports.length > 1 ? [`${file}:`] : []),
      ...kernelLines(kernels, file),
    ]),
  ]);
}

function pluginLines({ pluginFile }: Bundle, plugin: PluginEntry): string[] {
  const files = pluginLibraries(plugin).map(({ arch, entry }) =>
    arch === undefined ? entry.file : `${entry.file} (${arch})`
  );
  return [
    `plugin ${files.join(", ")}; capture: ${plugin.capture}`,
    ...(pluginFile === undefined ? [`none of them is for this machine (${Deno.build.arch})`] : []),
    "its code is not in the bundle's kernels: the bound is its longest one, which is measured when it is loaded",
    "(calypte bundle verify shows it, and so does the status of a mission)",
  ];
}

const VERIFY_HELP = `Usage: calypte bundle verify DIR [options]

Runs the bundle's sample input and compares the output with its sample output. On a GPU the kernels run twice,
as they are and rewritten; the two must agree bit for bit. Without a GPU only the bundle's CPU reference is
compared with the sample. A plugin runs as one graph, and once more step by step.

Options:
  --backend auto|cuda|sim  default auto: the GPU if there is one
  --json                   one JSON object instead of text

Example:
  calypte bundle verify examples/bundles/obstacle-detector
`;

export const bundleVerifyCommand: Command = {
  name: "bundle verify",
  summary: "compare a bundle's output with its sample",
  help: VERIFY_HELP,
  async run(args, terminal) {
    const { flags, values, positional: [dir = ""] } = parseCommand("bundle verify", args, {
      boolean: ["json"],
      string: ["backend"],
      positional: ["DIR"],
    });
    const { backend, reason } = chooseBackend(parseBackend(values.backend) ?? "auto");
    const bundle = await loadBundle(dir);
    const { checks, notes } = backend === "cuda" ? onGpu(bundle) : await onCpu(bundle, reason);
    const passed = checks.every((check) => check.passed);
    if (flags.json) {
      terminal.out(JSON.stringify({ bundle: bundle.manifest.name, backend, passed, checks, notes }) + "\n");
    } else {
      terminal.out(lines(notes));
      terminal.out(
        lines(checks.map(({ what, passed, text }) => `${passed ? "ok" : "FAILED"}  ${what}: ${text}`)),
      );
    }
    return passed ? 0 : 1;
  },
};

interface Verified {
  checks: Check[];
  notes: string[];
}

function onGpu(bundle: Bundle): Verified {
  using engine = openEngine({ backend: "cuda" });
  const unkept: string[] = [];
  const folder = cacheFolder((name) => Deno.env.get(name));
  const compiler = cachedCompiler(checkpointCompiler, { folder, note: (text) => unkept.push(text) });
  const { checks, untouchedNs, rewrittenNs, steps, plugins } = verifyOnGpu(engine, compiler, bundle);
  const times = `one unit takes ${formatDurationNs(untouchedNs)} as it is, ${formatDurationNs(rewrittenNs)} ${
    plugins === undefined ? "rewritten" : "step by step"
  }`;
  const notes = steps.flatMap(({ kernel, level, notes }) =>
    notes.map((note) => `${kernel} (${level}): ${note}`)
  );
  const lines = plugins === undefined ? [] : [
    `as critical task: ${pluginLine(plugins.critical, "critical")}`,
    `as background: ${pluginLine(plugins.background, "background")}`,
  ];
  return { checks, notes: [`on ${engine.device().name}: ${times}`, ...lines, ...new Set(notes), ...unkept] };
}

async function onCpu(bundle: Bundle, reason: string | undefined): Promise<Verified> {
  const check = await verifyReference(bundle, await loadReference(bundle));
  const why = reason === undefined ? "as asked" : `no GPU found (${reason})`;
  return { checks: [check], notes: [`${why}: only the CPU reference is verified; the kernels were not run`] };
}
