/**
 * How are events sent as they come? Server-sent events: text that does not end.
 *
 * A reader that does not keep up is let go, so that nothing piles up: it comes again, and says from where.
 */

const HEARTBEAT_MS = 10_000;
const MOST_WAITING_BYTES = 1 << 20;
const encoder = new TextEncoder();

export interface EventStream {
  /** One event; `id` is what the reader says it saw last when it comes again. */
  send(event: string, data: unknown, id?: string): void;
  closed: boolean;
}

/** `begin` starts what sends, and returns what ends it. */
export function eventStream(begin: (stream: EventStream) => () => void): Response {
  let end = () => {};
  let beat: ReturnType<typeof setInterval> | undefined;
  const stream: EventStream = { closed: false, send: () => {} };
  const close = () => {
    if (stream.closed) return;
    stream.closed = true;
    clearInterval(beat);
    end();
  };
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const write = (text: string) => {
        if (stream.closed) return;
        if ((controller.desiredSize ?? 0) < 0) {
          close();
          controller.error(new Error("the reader does not keep up"));
          return;
        }
        controller.enqueue(encoder.encode(text));
      };
      stream.send = (event, data, id) =>
        write(`${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
      write("retry: 1000\n\n");
      beat = setInterval(() => write(": alive\n\n"), HEARTBEAT_MS);
      Deno.unrefTimer(beat as unknown as number);
      end = begin(stream);
    },
    cancel: close,
  }, new ByteLengthQueuingStrategy({ highWaterMark: MOST_WAITING_BYTES }));
  return new Response(body, {
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    },
  });
}
