/** `@std/assert` with types (see agent/std/mod.ts for why). */
// @ts-types="./assert.d.ts"
export * from "@std/assert";
