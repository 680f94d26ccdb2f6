/**
 * The Deno standard library with types. It comes from a package registry as JavaScript without
 * declarations; this module pairs each part in use with the declarations beside it, so that nothing
 * is silently `any`. It adds no behaviour.
 */
// @ts-types="./parse_args.d.ts"
export { parseArgs } from "@std/cli/parse-args";
// @ts-types="./colors.d.ts"
export * as colors from "@std/fmt/colors";
// @ts-types="./path.d.ts"
export * as path from "@std/path";
// @ts-types="./yaml.d.ts"
export * as yaml from "@std/yaml";
