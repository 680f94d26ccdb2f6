/** `calypte bundle inspect|verify`: what a bundle holds, and whether it computes what it says. */
import { type KernelReport, ptxasRegisters, reportModule } from "../../ptx/mod.ts";
import { type Bundle, loadBundle } from "../bundle.ts";
import { asInputError, checkModules, checkpointCompiler } from "../checkpoint.ts";
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
does, but knowing which of their parameters lead to the same buffer.

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

/** Of each module, in order, the kernels that some step launches. */
type Reports = readonly { readonly file: string; readonly kernels: readonly KernelReport[] }[];

function reportKernels({ manifest, modules, dir }: Bundle): Reports {
  const overlaps = overlapsOf(manifest.steps);
  const overlap = (kernel: string, written: number, read: number) =>
    mayOverlap(overlaps, kernel, written, read);
  return modules.map(({ file, text }) => {
    const path = `${dir}/${file}`;
    const all = asInputError(() => reportModule(text, path, { overlap, countRegisters: ptxasRegisters }));
    return { file, kernels: all.filter(({ kernel }) => overlaps.has(kernel)) };
  });
}

function asJson({ manifest, digestHex }: Bundle, reports: Reports): unknown {
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
    verify,
    reference,
  };
}

function asText({ manifest, digestHex }: Bundle, reports: Reports): string {
  const { name, description, modules, buffers, steps } = manifest;
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
    `modules ${modules.map(({ file, arch }) => `${file} (${arch})`).join(", ")}`,
    "",
    ...table(["buffer", "role", "size", "elements"], rows),
    "",
    ...table(["step", "kernel", "grid", "block", "shared"], stepRows),
    ...reports.flatMap(({ file, kernels }) => [
      "",
      ...(reports.length > 1 ? [`${file}:`] : []),
      ...kernelLines(kernels, file),
    ]),
  ]);
}

const VERIFY_HELP = `Usage: calypte bundle verify DIR [options]

Runs the bundle's sample input and compares the output with its sample output. On a GPU the kernels run twice,
as they are and rewritten; the two must agree bit for bit. Without a GPU only the bundle's CPU reference is
compared with the sample.

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
  const { checks, untouchedNs, rewrittenNs, steps } = verifyOnGpu(engine, compiler, bundle);
  const times = `one unit takes ${formatDurationNs(untouchedNs)} as it is, ${
    formatDurationNs(rewrittenNs)
  } rewritten`;
  const notes = steps.flatMap(({ kernel, level, notes }) =>
    notes.map((note) => `${kernel} (${level}): ${note}`)
  );
  return { checks, notes: [`on ${engine.device().name}: ${times}`, ...new Set(notes), ...unkept] };
}

async function onCpu(bundle: Bundle, reason: string | undefined): Promise<Verified> {
  const check = await verifyReference(bundle, await loadReference(bundle));
  const why = reason === undefined ? "as asked" : `no GPU found (${reason})`;
  return { checks: [check], notes: [`${why}: only the CPU reference is verified; the kernels were not run`] };
}
