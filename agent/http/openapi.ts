/** What does the server serve, as an OpenAPI 3.1 document? Made of the table of routes, so that the two cannot differ. */
import { z } from "zod";
import type { Answer, Route } from "./routes.ts";

const PROBLEM = {
  type: "object",
  required: ["type", "title", "status", "detail"],
  properties: {
    type: { const: "about:blank" },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string", description: "What is wrong, and what to do." },
    errors: {
      type: "array",
      items: {
        type: "object",
        required: ["field", "rule"],
        properties: { field: { type: "string" }, rule: { type: "string" } },
      },
    },
  },
};

function schemaOf(schema: z.ZodType): Record<string, unknown> {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "output", unrepresentable: "any" });
  return rest;
}

function answerOf({ description, schema, type }: Answer): Record<string, unknown> {
  if (schema !== undefined) {
    return { description, content: { "application/json": { schema: schemaOf(schema) } } };
  }
  return type === undefined
    ? { description }
    : { description, content: { [type]: { schema: { type: "string" } } } };
}

function problemAnswer(description: string): Record<string, unknown> {
  const schema = { $ref: "#/components/schemas/Problem" };
  return { description, content: { "application/problem+json": { schema } } };
}

const PROBLEMS: Readonly<Record<number, string>> = {
  400: "The request is not as it must be.",
  401: "The token is not there, or is another one.",
  403: "It may not be asked for from there.",
  404: "There is none of that name.",
  405: "The page has other methods.",
  409: "Not in this state.",
  413: "The body is too long.",
  415: "The body is of another type.",
  421: "The Host header names another server.",
  503: "The agent loads yet, the engine does not answer, or there is no room.",
  504: "It took too long.",
};

function operationOf(each: Route): Record<string, unknown> {
  const changes = each.method !== "get";
  const inPath = [...each.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    ...{ name, in: "path", required: true, schema: { type: "string" } },
  }));
  const { body } = each;
  const always = [421, 503, ...(changes ? [401, 403] : []), ...(body === undefined ? [] : [400, 413])];
  if (body !== undefined && "schema" in body) always.push(415);
  const problems = [...new Set([...always, ...each.problems ?? []])].toSorted((a, b) => a - b);
  return {
    summary: each.summary,
    ...(each.description === undefined ? {} : { description: each.description }),
    operationId: `${each.method}${each.path.replaceAll(/[^\w]+(\w?)/g, (_, letter) => letter.toUpperCase())}`,
    tags: [each.tag],
    ...(changes ? { security: [{ token: [] }] } : {}),
    parameters: [...inPath, ...each.parameters ?? []],
    ...(body === undefined ? {} : {
      requestBody: {
        required: true,
        content: "schema" in body
          ? { "application/json": { schema: schemaOf(body.schema) } }
          : { "application/octet-stream": { schema: { type: "string", format: "binary" } } },
      },
    }),
    responses: {
      ...Object.fromEntries(
        Object.entries(each.answers).map(([status, answer]) => [status, answerOf(answer)]),
      ),
      ...Object.fromEntries(
        problems.map((status) => [status, problemAnswer(PROBLEMS[status] ?? "An error.")]),
      ),
    },
  };
}

export function openapiOf(routes: readonly Route[], version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const each of routes) (paths[each.path] ??= {})[each.method] = operationOf(each);
  return {
    openapi: "3.1.0",
    info: {
      title: "Calypte",
      version,
      description:
        "A running agent. Reading is free on this machine; changes need the token from the agent's token file, or its Unix socket.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    paths,
    components: {
      schemas: { Problem: PROBLEM },
      securitySchemes: { token: { type: "http", scheme: "bearer" } },
    },
  };
}
