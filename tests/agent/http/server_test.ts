/** Does the server listen where it says, and bear what clients do to it? */
import { assert, assertEquals, assertRejects, assertThrows } from "../../assert.ts";
import { InputError } from "../../../agent/errors.ts";
import { serveHttp } from "../../../agent/http/server.ts";
import { checkRemote, httpOf } from "../../../agent/http/settings.ts";
import { openToken, readToken, sameToken } from "../../../agent/http/token.ts";
import { setUpHttp, TOKEN } from "./scene.ts";

const HERE = { hostname: "127.0.0.1", port: 0 };
const NOTHING = { listen: undefined, socket: undefined, tokenFile: undefined };

async function inFolder(test: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await test(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** What the server says to these bytes; `""`: nothing. */
async function say(options: Deno.ConnectOptions | Deno.UnixConnectOptions, text: string): Promise<string> {
  const connection = await Deno.connect(options as Deno.ConnectOptions);
  try {
    await connection.write(new TextEncoder().encode(text));
    const answer = new Uint8Array(65_536);
    const size = await connection.read(answer) ?? 0;
    return new TextDecoder().decode(answer.subarray(0, size));
  } finally {
    connection.close();
  }
}

Deno.test("a port that is taken is an InputError that names http.listen", async () => {
  const { handler } = setUpHttp();
  const first = await serveHttp(handler, { ...NOTHING, listen: HERE }, "m.yaml");
  try {
    const port = Number(new URL(first.url!).port);
    const again = () => serveHttp(handler, { ...NOTHING, listen: { ...HERE, port } }, "m.yaml");
    const error = await assertRejects(again, InputError, "is in use already");
    assertEquals([error.file, error.field], ["m.yaml", "http.listen"]);
  } finally {
    await first.close();
  }
});

Deno.test("over a Unix socket of mode 0660 changes need no token; one that is left over is replaced", () =>
  inFolder(async (dir) => {
    const socket = `${dir}/s`;
    const { handler, engine } = setUpHttp();
    Deno.listen({ transport: "unix", path: socket }).close();
    Deno.listen({ transport: "unix", path: `${socket}2` }).close();
    const server = await serveHttp(handler, { ...NOTHING, socket }, "m.yaml");
    assertEquals(server.url, undefined);
    assertEquals((await Deno.stat(socket)).mode! & 0o777, 0o660);
    const body = '{"on":true}';
    const put = `PUT /v1/safe-mode HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n` +
      `content-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`;
    assert((await say({ transport: "unix", path: socket }, put)).startsWith("HTTP/1.1 200"));
    assert(engine.calls.includes("hold safe-mode true"));
    const again = await assertRejects(() => serveHttp(handler, { ...NOTHING, socket }, "m.yaml"), InputError);
    assertEquals(again.field, "http.socket");
    await server.close();
  }));

Deno.test("a file that is no socket is not touched, and nothing is left listening", () =>
  inFolder(async (dir) => {
    const file = `${dir}/precious`;
    await Deno.writeTextFile(file, "data");
    const { handler } = setUpHttp();
    const both = { ...NOTHING, listen: HERE, socket: file };
    await assertRejects(() => serveHttp(handler, both, "m.yaml"), InputError, "precious");
    assertEquals(await Deno.readTextFile(file), "data");
  }));

Deno.test("bodies that are too long are refused before they are read, and what is no HTTP is closed", async () => {
  const { handler, submitted } = setUpHttp();
  const server = await serveHttp(handler, { ...NOTHING, listen: HERE }, "m.yaml");
  const port = Number(new URL(server.url!).port);
  const access = { hostname: "127.0.0.1", port };
  const lines = (extra: string) =>
    `POST /v1/tasks/by-hand/infer HTTP/1.1\r\nhost: 127.0.0.1:8717\r\nauthorization: Bearer ${TOKEN}\r\n${extra}\r\n\r\n`;
  try {
    const said = async (text: string) => (await say(access, text)).slice(9, 12);
    assertEquals(await said(lines("content-length: 1000000000")), "413");
    // Without a length it is read as far as the limit, and not further.
    const start = "PUT /v1/safe-mode HTTP/1.1\r\nhost: 127.0.0.1:8717\r\ncontent-type: application/json\r\n" +
      `authorization: Bearer ${TOKEN}\r\ntransfer-encoding: chunked\r\n\r\n`;
    assertEquals(await said(start + `8000\r\n${" ".repeat(0x8000)}\r\n`), "413");
    assertEquals(await said("no HTTP at all\r\n\r\n"), "400");
    assertEquals(await said("GET /../../etc/passwd HTTP/1.1\r\nhost: 127.0.0.1:8717\r\n\r\n"), "404");
    assertEquals(await said("GET /v1/jobs/..%2f..%2fetc HTTP/1.1\r\nhost: 127.0.0.1:8717\r\n\r\n"), "404");
    assertEquals(await said("GET /v1/status HTTP/1.1\r\nhost: evil.example\r\n\r\n"), "421");
    assertEquals(submitted, []);
  } finally {
    await server.close();
  }
});

Deno.test("the token is made once, for its owner's eyes only, and compared as a whole", () =>
  inFolder(async (dir) => {
    const file = `${dir}/token`;
    const token = await openToken(file);
    assertEquals([await openToken(file), (await Deno.stat(file)).mode! & 0o777], [token, 0o600]);
    assert(token.length >= 40);
    assertEquals(await sameToken(token, token), true);
    for (const wrong of ["", token.slice(1), `${token}x`, token.toLowerCase() + "A"]) {
      assertEquals(await sameToken(wrong, token), false);
    }
    await Deno.chmod(file, 0o640);
    await assertRejects(() => readToken(file), InputError, "owner only");
    await Deno.chmod(file, 0o600);
    await Deno.writeTextFile(file, "short\n");
    await assertRejects(() => readToken(file), InputError, "16 to 512");
    await assertRejects(() => openToken(`${dir}/not/there`), InputError, "is not there");
  }));

Deno.test("an address that other machines reach needs leave", () => {
  const at = (hostname: string) => httpOf({ listen: { hostname, port: 1 } }, (path) => path)!;
  for (const hostname of ["127.0.0.1", "127.1.2.3", "localhost", "::1"]) {
    checkRemote(at(hostname), false, "m");
  }
  for (const hostname of ["0.0.0.0", "::", "10.0.0.7", "drone.local", "127.evil.example"]) {
    assertThrows(() => checkRemote(at(hostname), false, "m"), InputError, "--allow-remote");
    checkRemote(at(hostname), true, "m");
  }
});
