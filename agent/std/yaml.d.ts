/** The part of `@std/yaml` that this project calls. */
export interface ParseYamlOptions {
  schema?: "core" | "default" | "failsafe" | "json" | "extended";
  allowDuplicateKeys?: boolean;
}
export function parse(content: string, options?: ParseYamlOptions): unknown;
export function stringify(data: unknown, options?: Record<string, unknown>): string;
