/** Does a `bundle.json` give each file one hash, whoever names it? */
import type { RawManifest } from "./bundle_schema.ts";
import { type PluginEntry, pluginFiles } from "./plugin_manifest.ts";

/** One problem of a manifest. */
export type Report = (field: string, rule: string, remedy?: string) => void;

export function checkHashes(raw: RawManifest, plugin: PluginEntry | undefined, report: Report): void {
  const { modules, buffers, verify } = raw;
  const libraries = plugin === undefined ? [] : pluginFiles(plugin);
  const named: { field: string; file: string | undefined; sha256: string | undefined }[] = [
    ...modules.map(({ file, sha256 }, i) => ({ field: `modules[${i}].sha256`, file, sha256 })),
    ...libraries.map(({ field, entry: { file, sha256 } }) => ({ field: `${field}.sha256`, file, sha256 })),
    ...buffers.map(({ file, sha256 }, i) => ({ field: `buffers[${i}].sha256`, file, sha256 })),
    { field: "verify.inputSha256", file: verify?.input, sha256: verify?.inputSha256 },
    { field: "verify.outputSha256", file: verify?.output, sha256: verify?.outputSha256 },
  ];
  const known = new Map<string, { field: string; sha256: string }>();
  for (const { field, file, sha256 } of named) {
    if (file === undefined || sha256 === undefined) continue;
    const earlier = known.get(file);
    if (earlier === undefined) known.set(file, { field, sha256 });
    else if (earlier.sha256 !== sha256) {
      report(field, `must equal ${earlier.field}: both are for ${file}`);
    }
  }
}
