/** How is a request's body read? Never more of it than may be there, whatever its header says. */
import type { z } from "zod";
import { problem } from "./problem.ts";

const BODY_TIMEOUT_MS = 10_000;

/** The bytes, or the refusal. */
export async function readBytes(request: Request, maxBytes: number): Promise<Uint8Array | Response> {
  const tooLarge = () =>
    problem(413, `the body must have at most ${maxBytes} bytes`, { headers: { connection: "close" } });
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) return tooLarge();
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = request.body?.getReader();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), BODY_TIMEOUT_MS);
  });
  try {
    while (reader !== undefined) {
      const next = await Promise.race([reader.read(), late]);
      if (next === "late") {
        void reader.cancel();
        return problem(400, "the body did not come within 10 s");
      }
      if (next.done) break;
      size += next.value.byteLength;
      if (size > maxBytes) {
        void reader.cancel();
        return tooLarge();
      }
      chunks.push(next.value);
    }
  } finally {
    clearTimeout(timer);
  }
  const body = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.byteLength;
  }
  return body;
}

/** What the schema makes of it, or the refusal. */
export async function readJson<T>(
  request: Request,
  schema: z.ZodType<T>,
  maxBytes: number,
): Promise<{ value: T } | Response> {
  const type = request.headers.get("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (type !== "application/json") return problem(415, "the content type must be application/json");
  const bytes = await readBytes(request, maxBytes);
  if (bytes instanceof Response) return bytes;
  let data: unknown;
  try {
    data = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return problem(400, "the body must be JSON");
  }
  const parsed = schema.safeParse(data);
  if (parsed.success) return { value: parsed.data };
  const errors = parsed.error.issues.slice(0, 20).map(({ path, message }) => ({
    field: path.map(String).join("."),
    rule: message,
  }));
  return problem(400, "the body is not as it must be", { errors });
}
