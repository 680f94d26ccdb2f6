/** How are events read as the agent sends them? Server-sent events, as far as the agent uses them: see http/sse.ts. */

export interface SentEvent {
  id: string | undefined;
  event: string;
  data: string;
}

/** Ends with the body. Throws what reading throws; ended early, it cancels the body. */
export async function* sentEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<SentEvent> {
  let rest = "";
  let [id, event, data]: [string | undefined, string, string[]] = [undefined, "message", []];
  for await (const text of body.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)) {
    const rows = (rest + text).split(/\r?\n/);
    rest = rows.pop() ?? "";
    for (const row of rows) {
      if (row === "") {
        if (data.length > 0) yield { id, event, data: data.join("\n") };
        [id, event, data] = [undefined, "message", []];
        continue;
      }
      const [, field, value] = row.match(/^(\w*): ?(.*)$/s) ?? [];
      if (field === "id") id = value;
      if (field === "event") event = value ?? "message";
      if (field === "data") data.push(value ?? "");
    }
  }
}
