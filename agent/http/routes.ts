/**
 * How does a table of routes become a server?
 *
 * Each route says its method, path, body and answers once; the OpenAPI document (openapi.ts) is made of the same table. What no
 * route serves is 404, or 405 with the methods that there are.
 */
import { type Context, Hono } from "hono";
import type { z } from "zod";
import { EngineError } from "../../ffi/errors.ts";
import { readBytes, readJson } from "./body.ts";
import { problem } from "./problem.ts";

export interface Answer {
  description: string;
  /** Of a JSON body. */
  schema?: z.ZodType;
  /** Of another body, such as `text/plain`. */
  type?: string;
}

export interface Parameter {
  name: string;
  in: "query" | "header";
  description: string;
  /** As in JSON Schema. */
  schema: Record<string, unknown>;
}

export interface Call<B> {
  c: Context;
  /** Of the path. */
  name: string;
  body: B;
}

// deno-lint-ignore no-explicit-any
export interface Route<B = any> {
  method: "get" | "put" | "post";
  /** `{name}` stands for one segment. */
  path: string;
  summary: string;
  description?: string;
  tag: string;
  parameters?: readonly Parameter[];
  body?: { schema: z.ZodType<B>; maxBytes: number } | { binary: true; maxBytes: number };
  /** By status; errors that every route may give are not among them. */
  answers: Readonly<Record<number, Answer>>;
  /** 404 and others that belong to it, for the document. */
  problems?: readonly number[];
  handle(call: Call<B>): Response | Promise<Response>;
}

/** Checks the types of a body and its handler against each other. */
export function route<B = undefined>(given: Route<B>): Route {
  return given as Route;
}

/** A file of the dashboard. */
export interface Page {
  type: string;
  bytes: Uint8Array<ArrayBuffer>;
  /** Quoted, and another one for other bytes. */
  etag: string;
}

export function serveRoutes(routes: readonly Route[], pages: ReadonlyMap<string, Page> = new Map()): Hono {
  const app = new Hono();
  const methods = new Map<string, string[]>();
  for (const each of routes) {
    const path = each.path.replaceAll(/\{(\w+)\}/g, ":$1");
    methods.set(path, [...methods.get(path) ?? [], each.method.toUpperCase()]);
    app.on(each.method.toUpperCase(), path, async (c) => {
      const body = await bodyOf(each, c.req.raw);
      if (body instanceof Response) return body;
      return each.handle({ c, name: c.req.param("name") ?? "", body: body.value });
    });
  }
  for (const [path, page] of pages) {
    methods.set(path, ["GET"]);
    app.get(path, (c) => {
      const headers = { "content-type": page.type, "cache-control": "no-cache", etag: page.etag };
      const known = c.req.header("if-none-match") === page.etag;
      return known ? new Response(null, { status: 304, headers }) : new Response(page.bytes, { headers });
    });
  }
  for (const [path, allowed] of methods) {
    const allow = [...allowed, ...(allowed.includes("GET") ? ["HEAD"] : [])].join(", ");
    app.all(path, () => problem(405, `${allow} only`, { headers: { allow } }));
  }
  app.notFound((c) => problem(404, `no such page: ${c.req.path.slice(0, 200)}; /openapi.json has them all`));
  app.onError((error) => {
    if (error instanceof EngineError) {
      return problem(503, error.message.split("\n")[0] ?? "the engine failed");
    }
    throw error;
  });
  return app;
}

async function bodyOf(each: Route, request: Request): Promise<{ value: unknown } | Response> {
  const { body } = each;
  if (body === undefined) return { value: undefined };
  if ("schema" in body) return await readJson(request, body.schema, body.maxBytes);
  const bytes = await readBytes(request, body.maxBytes);
  return bytes instanceof Response ? bytes : { value: bytes };
}

export const JSON_HEADERS = { "content-type": "application/json", "cache-control": "no-store" };

export function json(value: unknown, status = 200): Response {
  return new Response(JSON.stringify(value) + "\n", { status, headers: JSON_HEADERS });
}
