/** Is safe mode shown as it is, forced by whoever may, and refused to pages of other sites? */
import { assertEquals, assertMatch, assertStringIncludes } from "../assert.ts";
import { createCounters } from "../../agent/counters.ts";
import { main } from "../../agent/main.ts";
import { prometheusText } from "../../agent/prometheus.ts";
import { refusal } from "../../agent/same_site.ts";
import { createStatusApp, serveStatus } from "../../agent/status.ts";
import { FakeEngine, snapshotOf } from "./fake_engine.ts";

const RULE = { misses: 3, staleLeases: 0, windowNs: 10e9, clearAfterNs: 10e9 };
const LISTENING = { hostname: "127.0.0.1", port: 8717 };

function setUp(listening = LISTENING) {
  const engine = new FakeEngine();
  engine.state = snapshotOf({ nowNs: 20e9 });
  const app = createStatusApp({
    version: "1",
    mission: "m.yaml",
    loaded: () => ({ device: engine.device(), features: [], tasks: [], jobs: [] }),
    view: () => ({ snapshot: engine.snapshot(), counters: createCounters(), tasks: [], jobs: [] }),
    submit: () => ({ kind: "unknown-task" }),
    safeMode: {
      rule: RULE,
      force: (on) => engine.hold("safe-mode", on),
      listening: () => listening,
    },
  });
  const put = (body: string, headers: Record<string, string> = {}) =>
    app.request("/v1/safe-mode", {
      method: "PUT",
      headers: { "content-type": "application/json", host: "127.0.0.1:8717", ...headers },
      body,
    });
  return { engine, app, put };
}

Deno.test("safe mode by misses is in the status with its reason, since when and until when", async () => {
  const { engine, app } = setUp();
  Object.assign(engine.state, {
    holds: ["safe-mode"],
    safeMode: 1,
    safeModeReasons: ["misses"],
    safeModeMisses: 4,
    safeModeSinceNs: 15e9,
    safeModeNs: 5e9,
    safeModeUntilNs: 26e9,
  });
  const { safeMode } = await (await app.request("/v1/status")).json();
  assertEquals(safeMode, {
    on: true,
    reasons: ["requests missed"],
    sinceNs: 15e9,
    untilNs: 26e9,
    nowNs: 20e9,
    misses: 4,
    entered: 1,
    totalNs: 5e9,
    rule: RULE,
  });
  assertEquals(await (await app.request("/v1/safe-mode")).json(), safeMode);
});

Deno.test("safe mode is in the metrics: whether, why, how often and for how long", () => {
  const { engine } = setUp();
  const text = () =>
    prometheusText({ snapshot: engine.snapshot(), counters: createCounters(), tasks: [], jobs: [] });
  assertMatch(text(), /\ncalypte_safe_mode 0\n/);
  Object.assign(engine.state, { safeMode: 2, safeModeReasons: ["misses", "caller"], safeModeNs: 1.5e9 });
  assertMatch(text(), /\ncalypte_safe_mode 1\n/);
  assertMatch(text(), /\ncalypte_safe_mode_total 2\n/);
  assertMatch(text(), /\ncalypte_safe_mode_seconds_total 1\.5\n/);
  assertMatch(text(), /\ncalypte_safe_mode_reasons\{reason="misses"\} 1\n/);
  assertMatch(text(), /\ncalypte_safe_mode_reasons\{reason="planner"\} 0\n/);
});

Deno.test("PUT forces it and takes that back, and answers with what holds now", async () => {
  const { engine, put } = setUp();
  const on = await put('{"on": true}');
  assertEquals([on.status, (await on.json()).reasons], [200, ["forced"]]);
  assertEquals((await (await put('{"on": false}')).json()).on, false);
  assertEquals(engine.calls, ["hold safe-mode true", "hold safe-mode false"]);
});

for (
  const [what, body] of [
    ["no JSON", "on"],
    ["nothing", ""],
    ["another shape", '{"on": 1}'],
    ["one key too many", '{"on": true, "for": 3}'],
    ["far too much", `{"on": true${" ".repeat(100_000)}}`],
  ] as const
) {
  Deno.test(`PUT with ${what} is refused and changes nothing`, async () => {
    const { engine, put } = setUp();
    const response = await put(body);
    assertEquals([response.status, engine.calls], [400, []]);
    assertStringIncludes((await response.json()).error, '{"on": true}');
  });
}

const JSON_TYPE = { "content-type": "application/json" };
for (
  const [what, headers, status] of [
    ["an Origin elsewhere", { origin: "http://evil.example" }, 403],
    ["an opaque Origin", { origin: "null" }, 403],
    ["an Origin on another port", { origin: "http://127.0.0.1:8718" }, 403],
    ["an Origin over https", { origin: "https://127.0.0.1:8717" }, 403],
    ["a Host that somebody else's DNS points here", { host: "evil.example:8717" }, 403],
    ["a Host without the port", { host: "127.0.0.1" }, 403],
    ["a Host that only begins like this one", { host: "127.0.0.1.evil.example:8717" }, 403],
    ["a browser that says it comes from another site", { "sec-fetch-site": "cross-site" }, 403],
    ["the content type of a form", { "content-type": "application/x-www-form-urlencoded" }, 415],
    ["a content type that only holds the word", { "content-type": "text/plain; application/json" }, 415],
  ] as const
) {
  Deno.test(`PUT with ${what} is refused and changes nothing`, async () => {
    const { engine, put } = setUp();
    assertEquals([(await put('{"on": true}', headers)).status, engine.calls], [status, []]);
  });
}

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
    const request = new Request("http://x/", { method: "PUT", headers: { ...JSON_TYPE, host } });
    assertEquals(refusal(request, { hostname, port: 8717 })?.status, good ? undefined : 403);
    const origin = `http://${host}`;
    const own = { ...JSON_TYPE, host, origin };
    const asked = refusal(new Request("http://x/", { method: "PUT", headers: own }), {
      hostname,
      port: 8717,
    });
    assertEquals(asked === undefined, good);
  });
}

Deno.test("calypte safe-mode talks to the running agent, and status shows what it did", async () => {
  const listening = { hostname: "127.0.0.1", port: 0 };
  const { engine, app } = setUp(listening);
  const server = serveStatus((request) => app.fetch(request), listening, "m.yaml");
  listening.port = Number(new URL(server.url).port);
  const calypte = async (...args: string[]) => {
    let [out, err] = ["", ""];
    const terminal = { out: (text: string) => void (out += text), err: (text: string) => void (err += text) };
    const code = await main([...args, "--address", `127.0.0.1:${listening.port}`], terminal);
    return [code, out + err];
  };
  try {
    assertEquals(await calypte("safe-mode", "status"), [0, "safe mode is off\n"]);
    engine.state.safeModeSinceNs = 12e9;
    assertEquals(await calypte("safe-mode", "on"), [0, "safe mode for 8 s: forced\n"]);
    engine.state.safeModeReasons = ["misses", "caller"];
    engine.state.safeModeUntilNs = 23e9;
    const both = "safe mode for 8 s: requests missed, forced; ends in 3 s at the earliest\n";
    assertEquals(await calypte("safe-mode", "status"), [0, both]);
    assertStringIncludes(`${(await calypte("status"))[1]}`, both);
    assertEquals(await calypte("safe-mode", "off"), [
      0,
      "safe mode for 8 s: requests missed; ends in 3 s at the earliest\n",
    ]);
    engine.state.safeModeReasons = [];
    assertEquals(await calypte("safe-mode", "status"), [0, "safe mode is off\n"]);
  } finally {
    await server.close();
  }
  const [code, text] = await calypte("safe-mode", "on");
  assertEquals(code, 1);
  assertMatch(`${text}`, /^no agent does so on 127\.0\.0\.1:\d+: /);
});
