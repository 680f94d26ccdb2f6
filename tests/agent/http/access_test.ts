/** Is every request refused that may not be served, and no other? */
import { assertEquals, assertMatch } from "../../assert.ts";
import type { Access } from "../../../agent/http/access.ts";
import { namesServer } from "../../../agent/same_site.ts";
import { LISTENING, setUpHttp, TOKEN, withJson } from "./scene.ts";

const CHANGE = withJson("PUT", { on: true });
const HOST = { host: "127.0.0.1:8717" };
const BEARER = { ...HOST, authorization: `Bearer ${TOKEN}` };

async function status(
  page: string,
  init: RequestInit,
  headers: Record<string, string>,
  { socket = false, ...access }: Partial<Access> & { socket?: boolean } = {},
): Promise<number> {
  const { handler, engine } = setUpHttp(access);
  const all = { ...Object.fromEntries(new Headers(init.headers)), ...headers };
  const response = await handler(new Request(`http://x${page}`, { ...init, headers: all }), { socket });
  await response.body?.cancel();
  assertEquals(engine.calls.includes("hold safe-mode true"), init === CHANGE && response.status === 200);
  return response.status;
}

Deno.test("reading is free on this machine; changing needs the token", async () => {
  assertEquals(await status("/v1/status", {}, HOST), 200);
  assertEquals(await status("/v1/safe-mode", CHANGE, BEARER), 200);
  assertEquals(await status("/v1/safe-mode", CHANGE, HOST), 401);
  for (
    const wrong of ["", "Bearer ", `Bearer ${TOKEN}x`, `Bearer ${TOKEN.slice(1)}`, `Basic ${TOKEN}`, TOKEN]
  ) {
    assertEquals(await status("/v1/safe-mode", CHANGE, { ...HOST, authorization: wrong }), 401, wrong);
  }
  assertEquals(await status("/v1/safe-mode", CHANGE, BEARER, { token: undefined }), 403);
});

Deno.test("over the Unix socket nothing is asked for: its file says who may connect", async () => {
  assertEquals(await status("/v1/safe-mode", CHANGE, { host: "x" }, { socket: true, token: undefined }), 200);
});

Deno.test("where other machines can connect, only the health pages and the page that asks for it go without the token", async () => {
  const remote = { remote: true };
  const elsewhere = { host: "drone-7.example:8717" };
  assertEquals(await status("/healthz", {}, elsewhere, remote), 200);
  assertEquals(await status("/readyz", {}, elsewhere, remote), 200);
  assertEquals(await status("/assets/none.js", {}, elsewhere, remote), 404);
  for (const page of ["/v1/status", "/metrics", "/v1/stream", "/openapi.json", "/healthz/x"]) {
    assertEquals(await status(page, {}, elsewhere, remote), 401, page);
  }
  assertEquals(await status("/v1/status", {}, { ...BEARER, ...elsewhere }, remote), 200);
  assertEquals(await status("/v1/safe-mode", CHANGE, { ...BEARER, ...elsewhere }, remote), 200);
  assertEquals(await status("/v1/safe-mode", CHANGE, elsewhere, remote), 401);
});

for (
  const [what, headers, code] of [
    ["an Origin elsewhere", { origin: "http://evil.example" }, 403],
    ["an opaque Origin", { origin: "null" }, 403],
    ["an Origin on another port", { origin: "http://127.0.0.1:8718" }, 403],
    ["an Origin over https", { origin: "https://127.0.0.1:8717" }, 403],
    ["a browser that says it comes from another site", { "sec-fetch-site": "cross-site" }, 403],
    ["a Host that somebody else's DNS points here", { host: "evil.example:8717" }, 421],
    ["a Host without the port", { host: "127.0.0.1" }, 421],
    ["a Host that only begins like this one", { host: "127.0.0.1.evil.example:8717" }, 421],
    ["the content type of a form", { "content-type": "application/x-www-form-urlencoded" }, 415],
    ["a content type that only holds the word", { "content-type": "text/plain; application/json" }, 415],
  ] as const
) {
  Deno.test(`a change with ${what} is refused, token or not`, async () => {
    assertEquals(await status("/v1/safe-mode", CHANGE, { ...BEARER, ...headers }), code);
  });
}

Deno.test("a Host that somebody else's DNS points here is refused for reading, too", async () => {
  assertEquals(await status("/v1/status", {}, { host: "evil.example:8717" }), 421);
});

for (
  const [host, hostname, good] of [
    ["localhost:8717", "127.0.0.1", true],
    ["LOCALHOST:8717", "127.0.0.1", true],
    ["[::1]:8717", "::1", true],
    ["127.0.0.1:8717", "localhost", true],
    ["drone.local:8717", "drone.local", true],
    ["127.0.0.1:8717", "drone.local", false],
    ["10.0.0.7:8717", "0.0.0.0", true],
    ["[fe80::1]:8717", "[::]", true],
    ["evil.example:8717", "0.0.0.0", false],
    ["", "127.0.0.1", false],
  ] as const
) {
  Deno.test(`Host ${JSON.stringify(host)} ${good ? "is" : "is not"} the server that listens on ${hostname}`, () => {
    assertEquals(namesServer(host, { hostname, port: LISTENING.port }), good);
  });
}

Deno.test("no answer may be framed, sniffed, or load anything from elsewhere", async () => {
  const { ask } = setUpHttp();
  for (const page of ["/v1/status", "/nope", "/metrics"]) {
    const { headers } = await ask(page);
    assertMatch(headers.get("content-security-policy") ?? "", /^default-src 'self'; frame-ancestors 'none'/);
    assertEquals(headers.get("x-content-type-options"), "nosniff");
  }
});
