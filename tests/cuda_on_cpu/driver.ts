/** Where is the CUDA driver on the CPU? It is built with the native tests where cuda.h is. */
import { libraryPath } from "../../ffi/library.ts";
import { path } from "../../agent/std/mod.ts";

/** For LD_LIBRARY_PATH. */
export const DRIVER = path.resolve(path.dirname(libraryPath()), "tests/cuda_on_cpu");

function exists(file: string): boolean {
  try {
    return Deno.statSync(file).isFile;
  } catch {
    return false;
  }
}

/** Why nothing can be tried; empty: it can. */
export const missing = exists(path.join(DRIVER, "libcuda.so.1")) ? "" : `there is no ${DRIVER}/libcuda.so.1`;
if (missing !== "") console.log(`skipped: ${missing}; it is built with the native tests where cuda.h is`);

export function cudaTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `on the CUDA driver on the CPU, ${name}`, ignore: missing !== "", fn });
}
