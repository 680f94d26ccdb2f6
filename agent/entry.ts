/**
 * The program: `calypte COMMAND`, or the process that holds the engine.
 *
 * That one loads the library and as little else as possible: it has to be there quickly when an engine was lost, and what
 * is not in it cannot go wrong in it.
 */
if (Deno.args[0] === "engine") {
  const { holdEngine } = await import("./commands/hold_engine.ts");
  Deno.exit(holdEngine(Deno.args.slice(1)));
} else {
  const { start } = await import("./main.ts");
  await start();
}
