/**
 * What does the driver need of a bundle? Its launches, flattened into a text file with all files beside it, so that the baselines
 * run the same kernels in the same order with the same arguments as Calypte does.
 *
 * Lines: `module FILE`, `buffer BYTES` (numbered from 0), `weight BUFFER FILE`, `sample FILE`, `input` or `output BUFFER
 * BLOB-OFFSET BYTES`, `blob BYTES`, `kernel NAME GRID*3 BLOCK*3 SHARED ARGS (buffer N OFFSET | bytes HEX)*`,
 * `fill BUFFER OFFSET VALUE BYTES`, `copy FROM OFFSET TO OFFSET BYTES`.
 */
import { type Bundle, inputLayout, outputLayout, pickModule } from "../../agent/bundle.ts";
import { hexOf } from "../../agent/bundle_reader.ts";
import { path } from "../../agent/std/mod.ts";

/** Writes into `dir`, which must be there, and gives the plan's path. `capability`: of the device, such as 9.0. */
export async function writePlan(
  bundle: Bundle,
  dir: string,
  name: string,
  [major, minor]: readonly [number, number] = [9, 0],
): Promise<string> {
  const file = (kind: string) => path.join(dir, `${name}.${kind}`);
  const { text, weights } = flatten(bundle, pickModule(bundle, major, minor).text, file);
  for (const [to, content] of weights) await Deno.writeFile(to, content);
  await Deno.writeTextFile(file("plan"), text);
  return file("plan");
}

/** Pure. `file`: where a file of this kind is to lie. */
export function flatten(
  bundle: Bundle,
  ptx: string,
  file: (kind: string) => string,
): { text: string; weights: Map<string, Uint8Array> } {
  const { manifest } = bundle;
  const files = new Map<string, Uint8Array>([[file("ptx"), new TextEncoder().encode(ptx)]]);
  const lines = [`module ${file("ptx")}`];
  const ids = new Map<string, number>();
  for (const [id, { name, sizeBytes }] of manifest.buffers.entries()) {
    ids.set(name, id);
    lines.push(`buffer ${sizeBytes}`);
    const weight = bundle.weights.get(name);
    if (weight === undefined) continue;
    files.set(file(`weight${id}`), weight);
    lines.push(`weight ${id} ${file(`weight${id}`)}`);
  }
  const id = (name: string) => {
    const found = ids.get(name);
    if (found === undefined) throw new Error(`${manifest.name} has no buffer ${name}`);
    return found;
  };
  if (bundle.sampleInput !== undefined && bundle.sampleInput.length > 0) {
    files.set(file("input"), bundle.sampleInput);
    lines.push(`sample ${file("input")}`);
  }
  for (
    const [kind, layout] of [["input", inputLayout(manifest)], ["output", outputLayout(manifest)]] as const
  ) {
    for (const { name, offset, sizeBytes } of layout.entries) {
      lines.push(`${kind} ${id(name)} ${offset} ${sizeBytes}`);
    }
  }
  lines.push(`blob ${outputLayout(manifest).sizeBytes}`);
  for (const step of manifest.steps) {
    switch (step.kind) {
      case "memset":
        lines.push(`fill ${id(step.buffer)} ${step.offsetBytes} ${step.value} ${step.sizeBytes}`);
        break;
      case "copy": {
        const { from, to, sizeBytes } = step;
        lines.push(
          `copy ${id(from.buffer)} ${from.offsetBytes} ${id(to.buffer)} ${to.offsetBytes} ${sizeBytes}`,
        );
        break;
      }
      case "kernel": {
        const args = step.args.map((arg) =>
          arg.kind === "buffer" ? `buffer ${id(arg.buffer)} ${arg.offsetBytes}` : `bytes ${hexOf(arg.bytes)}`
        );
        const shape = [...step.grid, ...step.block, step.sharedBytes, args.length].join(" ");
        lines.push(["kernel", step.kernel, shape, ...args].join(" "));
      }
    }
  }
  return { text: lines.join("\n") + "\n", weights: files };
}
