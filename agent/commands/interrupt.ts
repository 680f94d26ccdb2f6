/** How does a command that goes on for ever end in order? On Ctrl-C and SIGTERM; a second one ends the process. */

export interface Interrupt extends Disposable {
  signal: AbortSignal;
}

export function interrupted(): Interrupt {
  const controller = new AbortController();
  const signals: readonly Deno.Signal[] = ["SIGINT", "SIGTERM"];
  const remove = () => {
    for (const signal of signals) Deno.removeSignalListener(signal, stop);
  };
  const stop = () => {
    remove();
    controller.abort();
  };
  for (const signal of signals) Deno.addSignalListener(signal, stop);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      if (!controller.signal.aborted) remove();
    },
  };
}
