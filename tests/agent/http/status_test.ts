/** Does the server say of the agent what is so? */
import { assertEquals, assertMatch, assertStringIncludes } from "../../assert.ts";
import { EngineError } from "../../../ffi/errors.ts";
import type { EngineSnapshot } from "../../../ffi/engine.ts";
import { setUpHttp } from "./scene.ts";

async function get(
  state: EngineSnapshot["state"] | "none" | "silent",
  page: string,
): Promise<[number, string]> {
  const scene = setUpHttp();
  if (state === "none") scene.loads = true;
  else if (state === "silent") {
    scene.engine.failures.snapshot = new EngineError(-10, "take snapshot", "the dispatcher did not answer");
  } else scene.engine.state.state = state;
  const response = await scene.ask(page);
  return [response.status, await response.text()];
}

for (const page of ["/healthz", "/v2/health/live"]) {
  Deno.test(`${page} is good while the agent lives, and not after a fault of the engine`, async () => {
    assertEquals(await get("ready", page), [200, "ok\n"]);
    assertEquals(await get("none", page), [200, "ok\n"]);
    assertEquals(await get("fault", page), [503, "fault\n"]);
    assertEquals((await get("silent", page))[0], 503);
  });
}

for (const page of ["/readyz", "/v2/health/ready"]) {
  Deno.test(`${page} is good only while critical tasks receive requests`, async () => {
    assertEquals(await get("ready", page), [200, "ready\n"]);
    assertEquals(await get("loading", page), [503, "loading\n"]);
    assertEquals(await get("none", page), [503, "loading\n"]);
    assertEquals(await get("fault", page), [503, "fault\n"]);
  });
}

Deno.test("a job in quarantine and background that is held leave the agent ready", async () => {
  const scene = setUpHttp();
  scene.quarantine = "it crashed five times";
  scene.engine.state.holds = ["safe-mode"];
  assertEquals((await scene.ask("/readyz")).status, 200);
});

Deno.test("/v1/status shows tasks and jobs by name, with bundle and levels", async () => {
  const [code, text] = await get("ready", "/v1/status");
  assertEquals(code, 200);
  const status = JSON.parse(text);
  assertEquals([status.version, status.state, status.backend, status.timing], [
    "1.2.3",
    "ready",
    "sim",
    "simulated",
  ]);
  assertEquals([status.critical.detector.requests, status.critical.detector.bundle], [3, "aa"]);
  assertEquals(status.background.map.steps[0].level, "block");
  assertEquals([status.agent.plansSet, status.readings], [0, { powerWatts: null, temperatureCelsius: null }]);
  assertEquals(JSON.parse((await get("none", "/v1/status"))[1]).state, "loading");
});

Deno.test("each task and job has a page, and one that is not there says so", async () => {
  const { json } = setUpHttp();
  const [, tasks] = await json("/v1/tasks");
  assertEquals(tasks.items.map(({ name }: { name: string }) => name), ["detector", "by-hand"]);
  assertEquals(await json("/v1/tasks/detector"), [200, tasks.items[0]]);
  const [, jobs] = await json("/v1/jobs");
  assertEquals(await json("/v1/jobs/map"), [200, jobs.items[0]]);
  assertEquals([jobs.items[0].weight, jobs.items[0].units, jobs.items[0].state], [3, 2, "waiting"]);
  const [code, problem] = await json("/v1/jobs/detector");
  assertEquals([code, problem.detail], [404, 'no background job "detector"']);
});

Deno.test("a job says whether it runs, and who keeps it from that", async () => {
  const scene = setUpHttp();
  const state = async () => {
    const [, { state, why }] = await scene.json("/v1/jobs/map");
    return [state, why];
  };
  scene.engine.state.jobs[0]!.outstanding = 1;
  assertEquals(await state(), ["running", null]);
  scene.engine.state.holds = ["safe-mode"];
  assertEquals(await state(), ["waiting", "safe-mode"]);
  scene.quarantine = "it crashed five times";
  assertEquals(await state(), ["quarantined", "it crashed five times"]);
  scene.agent.live.order("map", "pause");
  assertEquals(await state(), ["paused", null]);
});

Deno.test("what the sensors say is there, and what they do not say is null", async () => {
  const scene = setUpHttp();
  scene.readings = { powerWatts: 12.5 };
  const [, { readings }] = await scene.json("/v1/status");
  assertEquals(readings, { powerWatts: 12.5, temperatureCelsius: null });
});

Deno.test("/metrics is Prometheus text", async () => {
  const { ask } = setUpHttp();
  const response = await ask("/metrics");
  assertEquals(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  assertStringIncludes(await response.text(), 'calypte_background_units_total{job="map"} 2\n');
  assertEquals((await get("none", "/metrics"))[0], 503);
});

Deno.test("an engine that does not answer gives 503 with the reason", async () => {
  const [code, text] = await get("silent", "/v1/status");
  assertEquals([code, JSON.parse(text).type], [503, "about:blank"]);
  assertStringIncludes(JSON.parse(text).detail, "did not answer");
});

Deno.test("what is not there is 404, another method 405 with those that there are", async () => {
  const { ask } = setUpHttp();
  const nothing = await ask("/nope");
  assertEquals([nothing.status, nothing.headers.get("content-type")], [404, "application/problem+json"]);
  assertMatch((await nothing.json()).detail, /openapi\.json/);
  const method = await ask("/v1/status", { method: "DELETE" });
  assertEquals([method.status, method.headers.get("allow")], [405, "GET, HEAD"]);
  const policy = await ask("/v1/policy", { method: "POST" });
  assertEquals([policy.status, policy.headers.get("allow")], [405, "GET, PUT, HEAD"]);
  const head = await ask("/v1/status", { method: "HEAD" });
  assertEquals([head.status, await head.text()], [200, ""]);
});
