/**
 * Which library does the work of a bundle, if one does?
 *
 * The key `plugin` of a `bundle.json`, in the place of `modules` and `steps`: a shared library with the interface of
 * calypte_plugin.h, for each architecture one. Knows no files; bundle.ts reads them.
 */
import { z } from "zod";
import type { CaptureMode } from "../ffi/plugin.ts";
import { strictObject } from "./schema.ts";

/** As `Deno.build.arch` says it. */
export type HostArch = "x86_64" | "aarch64";
export const HOST_ARCHS: readonly HostArch[] = ["x86_64", "aarch64"];

const CAPTURES: readonly [CaptureMode, ...CaptureMode[]] = ["auto", "require", "never"];
/** Of calypte_plugin_spec. */
const MAX_CONFIG_BYTES = 2 ** 20;

export interface PluginFile {
  /** Relative to the bundle's folder. */
  file: string;
  sha256: string;
}

export interface PluginEntry {
  /** One for any machine, or one for each architecture. */
  files: PluginFile | Partial<Record<HostArch, PluginFile>>;
  /** Other files that it reads, beside its library. */
  data: readonly PluginFile[];
  /** JSON, for the plugin alone. */
  config: string;
  capture: CaptureMode;
}

/** `file` and `sha256` are the schemas of a path and of a hash. */
export function pluginSchema<F extends z.ZodType<string>, S extends z.ZodType<string>>(file: F, sha256: S) {
  const one = { file, sha256 };
  return strictObject({
    file: file.optional(),
    sha256: sha256.optional(),
    files: strictObject({
      x86_64: strictObject(one).optional(),
      aarch64: strictObject(one).optional(),
    }).optional(),
    data: z.array(strictObject(one)).max(256).default([]),
    config: z.record(z.string(), z.json()).default({}),
    capture: z.enum(CAPTURES, { error: `must be one of ${CAPTURES.join(", ")}` }).default("auto"),
  });
}

/** Of a manifest as it came out of the schema. */
interface Raw {
  plugin?: {
    file?: string | undefined;
    sha256?: string | undefined;
    files?: { x86_64?: PluginFile | undefined; aarch64?: PluginFile | undefined } | undefined;
    data: readonly PluginFile[];
    config: Record<string, unknown>;
    capture: CaptureMode;
  } | undefined;
  modules: readonly unknown[];
  steps: readonly unknown[];
}

/** Either a plugin, or modules and steps. */
export function pluginOf(
  { plugin, modules, steps }: Raw,
  report: (field: string, rule: string, remedy?: string) => void,
): PluginEntry | undefined {
  for (const [key, list] of [["modules", modules], ["steps", steps]] as const) {
    if (plugin === undefined && list.length === 0) {
      report(key, "must have at least 1 entries", "or let a plugin do the work");
    }
    if (plugin !== undefined && list.length > 0) {
      report(key, "must not be given beside `plugin`: the plugin launches what it needs");
    }
  }
  if (plugin === undefined) return undefined;
  const { file, sha256, files = {}, data, capture } = plugin;
  const config = JSON.stringify(plugin.config);
  if (new TextEncoder().encode(config).length > MAX_CONFIG_BYTES) {
    report("plugin.config", "must be at most 1 MiB as JSON", "put it into a file that the plugin reads");
  }
  const perArch = files.x86_64 !== undefined || files.aarch64 !== undefined;
  if (perArch ? file !== undefined || sha256 !== undefined : file === undefined) {
    report("plugin", "must give either `file` with `sha256`, or `files` by architecture");
    return undefined;
  }
  if (perArch) {
    const { x86_64, aarch64 } = files;
    const given = {
      ...(x86_64 === undefined ? {} : { x86_64 }),
      ...(aarch64 === undefined ? {} : { aarch64 }),
    };
    return { files: given, data, config, capture };
  }
  if (file === undefined || sha256 === undefined) {
    report("plugin.sha256", "must be given: it says which library was meant");
    return undefined;
  }
  return { files: { file, sha256 }, data, config, capture };
}

/** Its libraries, with the field of each. */
export function pluginLibraries(
  { files }: PluginEntry,
): { field: string; arch?: HostArch; entry: PluginFile }[] {
  if ("file" in files) return [{ field: "plugin", entry: files }];
  return HOST_ARCHS.flatMap((arch) => {
    const entry = files[arch];
    return entry === undefined ? [] : [{ field: `plugin.files.${arch}`, arch, entry }];
  });
}

/** All files that it names, with the field of each. */
export function pluginFiles(plugin: PluginEntry): { field: string; entry: PluginFile }[] {
  return [
    ...pluginLibraries(plugin),
    ...plugin.data.map((entry, i) => ({ field: `plugin.data[${i}]`, entry })),
  ];
}

/** The library for this machine; `undefined`: it has none. */
export function pluginFileFor({ files }: PluginEntry, arch: string): PluginFile | undefined {
  if ("file" in files) return files;
  return files[arch as HostArch];
}
