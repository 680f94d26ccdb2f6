/** Is the document valid, and does the server answer as it says, whatever it is sent? */
import { Validator } from "@seriousme/openapi-schema-validator";
import { Ajv2020 } from "ajv/2020";
import fc from "fast-check";
import { assert, assertEquals } from "../../assert.ts";
import { resultOf } from "../fake_engine.ts";
import { setUpHttp } from "./scene.ts";

interface Operation {
  operationId: string;
  parameters: { name: string; in: string }[];
  requestBody?: { content: Record<string, { schema: Record<string, unknown> }> };
  responses: Record<string, { content?: Record<string, { schema: Record<string, unknown> }> }>;
}

interface Api {
  paths: Record<string, Record<string, Operation>>;
  components: Record<string, unknown>;
}

async function documentOf(): Promise<Api> {
  const [code, api] = await setUpHttp().json("/openapi.json");
  assertEquals(code, 200);
  return api;
}

Deno.test("the document is OpenAPI 3.1", async () => {
  const api = await documentOf();
  const { valid, errors } = await new Validator().validate(
    structuredClone(api) as unknown as Record<string, unknown>,
  );
  assert(valid, JSON.stringify(errors));
  const wrong = { ...structuredClone(api), paths: { "no-slash": {} } };
  assertEquals((await new Validator().validate(wrong as unknown as Record<string, unknown>)).valid, false);
});

Deno.test("each operation has an id of its own, and each page of the agent is in the document", async () => {
  const api = await documentOf();
  const ids = Object.values(api.paths).flatMap((path) =>
    Object.values(path).map(({ operationId }) => operationId)
  );
  assertEquals(new Set(ids).size, ids.length);
  for (
    const page of ["/healthz", "/readyz", "/v1/status", "/v1/tasks/{name}/infer", "/v1/events", "/metrics"]
  ) {
    assert(page in api.paths, page);
  }
});

const names = fc.oneof(
  fc.constantFrom("detector", "by-hand", "map", "survey", "", "..", "%2e%2e", "a".repeat(10_000)),
  fc.string(),
);
const bodies = fc.oneof(
  fc.constantFrom('{"on":true}', '{"name":"energy"}', '{"name":"energy","options":{"x":1}}', "{", "null", ""),
  fc.json().map((text) => text),
  fc.string(),
);
const types = fc.constantFrom("application/json", "text/plain", "application/octet-stream", "");

Deno.test("whatever is sent, no answer is a 5xx of ours, and each is one that the document has", async () => {
  const api = await documentOf();
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  const seed = Number(Deno.env.get("CALYPTE_SEED") ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`seed ${seed} (CALYPTE_SEED)`);
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation }))
  );
  const property = fc.asyncProperty(
    fc.constantFrom(...operations),
    names,
    bodies,
    types,
    fc.string(),
    async ({ path, method, operation }, name, body, type, query) => {
      const scene = setUpHttp();
      scene.outcome = { kind: "accepted", number: 1 };
      scene.result = resultOf();
      const page = path.replace("{name}", encodeURIComponent(name));
      const given = operation.parameters.filter((each) => each.in === "query");
      const search = new URLSearchParams(given.map((each) => [each.name, query]));
      const response = await scene.ask(`${page}?${search}`, {
        method: method.toUpperCase(),
        ...(method === "get" ? {} : { body, headers: { "content-type": type } }),
      });
      const kind = response.headers.get("content-type")?.split(";")[0] ?? "";
      if (kind === "text/event-stream") return await response.body?.cancel();
      const text = await response.text();
      assert(response.status < 500, `${response.status}: ${text}`);
      // A name may be so odd that it is another page's, or none's.
      const documented = operation.responses[response.status]?.content;
      if (documented === undefined) return assertEquals([response.status, page === path], [404, false], text);
      const schema = documented[kind]?.schema;
      assert(schema !== undefined, `${response.status} of ${method} ${path} is ${kind}`);
      if (!kind.endsWith("json")) return;
      const valid = ajv.compile({ ...schema, components: api.components });
      assert(valid(JSON.parse(text)), `${method} ${path}: ${JSON.stringify(valid.errors)}: ${text}`);
    },
  );
  await fc.assert(property, { seed, numRuns: 600 });
});
