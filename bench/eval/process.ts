/** How does a cell that hangs lose no more than its own time? Runs a program, and kills it when its time is up. */

/** After its end, for what it still says: a child of its own may hold the pipe open. */
const LAST_WORDS_MS = 1000;

/** Throws with what it said on stderr if it failed, or that it was killed. `what`: for the message. */
export async function runLimited(what: string, args: string[], limitMs: number): Promise<void> {
  const child = new Deno.Command(Deno.execPath(), { args, stdin: "null", stdout: "null", stderr: "piped" })
    .spawn();
  let said = "";
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  const reading = (async () => {
    for (let part = await reader.read(); !part.done; part = await reader.read()) said += part.value;
  })().catch(() => {}); // cancelled
  const status = await within(child.status, limitMs);
  if (status === undefined) {
    child.kill("SIGKILL");
    await within(child.status, LAST_WORDS_MS);
  }
  await within(reading, LAST_WORDS_MS);
  await reader.cancel().catch(() => {});
  const words = said.trim().split("\n").slice(0, 4).join(" ");
  if (status === undefined) {
    throw new Error(`${what} did not end within ${(limitMs / 1000).toFixed(0)} s, and was killed: ${words}`);
  }
  if (!status.success) throw new Error(words === "" ? `${what} ended with ${status.code}` : words);
}

/** `undefined` if it takes longer. */
export async function within<T>(promise: Promise<T>, limitMs: number): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => timer = setTimeout(resolve, limitMs, undefined));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
