/** Does what an operator orders happen, and nothing else? */
import { assertEquals, assertStringIncludes } from "../../assert.ts";
import { resultOf } from "../fake_engine.ts";
import { setUpHttp, withJson } from "./scene.ts";

const POST = { method: "POST" };

Deno.test("a job is paused, resumed and cancelled, and each is an event", async () => {
  const { json, agent } = setUpHttp();
  assertEquals(await json("/v1/jobs/map/pause", POST), [200, { name: "map", state: "paused", why: null }]);
  assertEquals(agent.live.barredBy("map"), "paused");
  assertEquals((await json("/v1/jobs/map/resume", POST))[1].state, "waiting");
  assertEquals((await json("/v1/jobs/map/cancel", POST))[1].state, "cancelled");
  const [code, { detail }] = await json("/v1/jobs/map/resume", POST);
  assertEquals([code, detail], [409, "map is cancelled for this run"]);
  assertEquals((await json("/v1/jobs/nobody/pause", POST))[0], 404);
  assertEquals(agent.live.barredBy("survey"), undefined);
  assertEquals(agent.events.since(undefined).map(({ source, text }) => `${source}: ${text}`), [
    "map: pause was ordered",
    "map: resume was ordered",
    "map: cancel was ordered",
  ]);
});

Deno.test("safe mode is forced and taken back, and the answer is what holds now", async () => {
  const { json, engine } = setUpHttp();
  assertEquals((await json("/v1/safe-mode", withJson("PUT", { on: true })))[1].reasons, ["forced"]);
  assertEquals((await json("/v1/safe-mode", withJson("PUT", { on: false })))[1].on, false);
  assertEquals(engine.calls.filter((call) => call.startsWith("hold")), [
    "hold safe-mode true",
    "hold safe-mode false",
  ]);
});

for (
  const [what, body, code] of [
    ["no JSON", "on", 400],
    ["nothing", "", 400],
    ["another shape", '{"on": 1}', 400],
    ["one key too many", '{"on": true, "for": 3}', 400],
    ["JSON that is no text", new Uint8Array([0x22, 0xff, 0x22]), 400],
    ["far too much", `{"on": true${" ".repeat(100_000)}}`, 413],
  ] as const
) {
  Deno.test(`a body with ${what} is refused and changes nothing`, async () => {
    const { json, engine } = setUpHttp();
    const [status, problem] = await json("/v1/safe-mode", { ...withJson("PUT", ""), body });
    assertEquals([status, engine.calls.filter((call) => call.startsWith("hold"))], [code, []]);
    assertEquals([problem.type, problem.status], ["about:blank", code]);
  });
}

Deno.test("what is wrong with a body is said by field", async () => {
  const { json } = setUpHttp();
  const [, { errors }] = await json("/v1/safe-mode", withJson("PUT", { on: 1 }));
  assertEquals(errors.map(({ field }: { field: string }) => field), ["on"]);
});

Deno.test("another built-in policy takes over; one that is none changes nothing", async () => {
  const { json, agent } = setUpHttp();
  const [, before] = await json("/v1/policy");
  assertEquals([before.name, before.file, before.since], ["weighted-fair", null, null]);
  const [, after] = await json("/v1/policy", withJson("PUT", { name: "round-robin" }));
  assertEquals([after.name, typeof after.since], ["round-robin", "string"]);
  assertEquals(agent.live.orders.policy?.name, "round-robin");
  const { values } = agent.live;
  for (
    const wrong of [{ name: "roundrobin" }, { name: "energy", options: { nothing: 1 } }, { name: 3 }, {
      ...{ name: "energy", lease: 3 },
    }]
  ) {
    assertEquals((await json("/v1/policy", withJson("PUT", wrong)))[0], 400);
  }
  assertEquals(agent.live.values, values);
});

for (
  const [outcome, code] of [
    [{ kind: "busy" }, 503],
    [{ kind: "unknown-task" }, 404],
    [{ kind: "wrong-size", expectedBytes: 12 }, 400],
  ] as const
) {
  Deno.test(`a request over HTTP that is ${outcome.kind} gives ${code}`, async () => {
    const scene = setUpHttp();
    scene.outcome = outcome;
    const [status, problem] = await scene.json("/v1/tasks/by-hand/infer", {
      ...POST,
      body: new Uint8Array(3),
    });
    assertEquals([status, problem.status, scene.submitted], [code, code, [["by-hand", 3]]]);
  });
}

Deno.test("a request over HTTP is answered with its result, in base64, or at once with its number", async () => {
  const scene = setUpHttp();
  scene.outcome = { kind: "accepted", number: 5 };
  const infer = (headers: Record<string, string> = {}) =>
    scene.json("/v1/tasks/by-hand/infer", { ...POST, body: new Uint8Array(3), headers });
  assertEquals(await infer({ prefer: "respond-async" }), [202, { number: 5 }]);
  scene.result = resultOf({ arrivalNs: 10, doneNs: 25, payload: new TextEncoder().encode("found") });
  assertEquals(await infer(), [
    200,
    { number: 5, outcome: "on-time", responseNs: 15, simulated: false, output: btoa("found") },
  ]);
  scene.result = resultOf({ late: true, simulated: true, payload: new Uint8Array(4) });
  assertEquals(await infer(), [
    200,
    { number: 5, outcome: "late", responseNs: 0, simulated: true, output: null },
  ]);
  scene.result = undefined;
  const [code, { detail }] = await infer();
  assertEquals(code, 504);
  assertStringIncludes(detail, "request 5");
});
