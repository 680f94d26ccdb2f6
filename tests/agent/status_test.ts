import { assertEquals, assertStringIncludes, assertThrows } from "../assert.ts";
import { createCounters } from "../../agent/counters.ts";
import { InputError } from "../../agent/errors.ts";
import { createStatusApp, serveStatus, type StatusOptions, type SubmitOutcome } from "../../agent/status.ts";
import { EngineError } from "../../ffi/errors.ts";
import type { EngineSnapshot } from "../../ffi/engine.ts";
import { FakeEngine, jobStats, snapshotOf, taskStats } from "./fake_engine.ts";

function setUp(
  state: EngineSnapshot["state"] | "none" | "silent" = "ready",
  outcome: SubmitOutcome = { kind: "busy" },
) {
  const engine = new FakeEngine();
  const submitted: [string, number][] = [];
  const view: StatusOptions["view"] = () => {
    if (state === "silent") throw new EngineError(-10, "take snapshot", "the dispatcher did not answer");
    if (state === "none") return undefined;
    const snapshot = snapshotOf({
      state,
      tasks: [taskStats({ requests: 3 })],
      jobs: [jobStats({ units: 2 })],
    });
    return { snapshot, counters: createCounters(), tasks: ["detector"], jobs: ["map"] };
  };
  const step = {
    kernel: "add",
    level: "block",
    launches: 1,
    notes: [],
    blocksPerSm: 8,
    blocksPerSmUntouched: 8,
  } as const;
  const app = createStatusApp({
    version: "1.2.3",
    mission: "mission.yaml",
    loaded: () =>
      state === "none" ? undefined : ({
        device: engine.device(),
        features: engine.features(),
        tasks: [{ name: "detector", bundle: "aa", steps: [] }],
        jobs: [{ name: "map", bundle: "bb", steps: [step] }],
      }),
    view,
    submit: (task, input) => (submitted.push([task, input.length]), outcome),
    safeMode: { rule: undefined, force: () => {}, listening: () => undefined },
  });
  return { app, submitted };
}

async function get(state: Parameters<typeof setUp>[0], page: string): Promise<[number, string]> {
  const response = await setUp(state).app.request(page);
  return [response.status, await response.text()];
}

Deno.test("/healthz is good while the agent lives, and not after a fault of the engine", async () => {
  assertEquals(await get("ready", "/healthz"), [200, "ok\n"]);
  assertEquals(await get("none", "/healthz"), [200, "ok\n"]);
  assertEquals((await get("fault", "/healthz"))[0], 503);
  assertEquals((await get("silent", "/healthz"))[0], 503);
});

Deno.test("/readyz is good only while critical tasks receive requests", async () => {
  assertEquals(await get("ready", "/readyz"), [200, "ready\n"]);
  assertEquals(await get("loading", "/readyz"), [503, "loading\n"]);
  assertEquals(await get("none", "/readyz"), [503, "loading\n"]);
  assertEquals(await get("fault", "/readyz"), [503, "fault\n"]);
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
  assertEquals(status.agent.plansSet, 0);
  assertEquals(JSON.parse((await get("none", "/v1/status"))[1]).state, "loading");
});

Deno.test("/metrics is Prometheus text", async () => {
  const response = await setUp().app.request("/metrics");
  assertEquals(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  assertStringIncludes(await response.text(), 'calypte_background_units_total{job="map"} 2\n');
  assertEquals((await get("none", "/metrics"))[0], 503);
});

Deno.test("an engine that does not answer gives 503 with the reason", async () => {
  const [code, text] = await get("silent", "/v1/status");
  assertEquals(code, 503);
  assertStringIncludes(JSON.parse(text).error, "did not answer");
});

Deno.test("a page that does not exist names those that do", async () => {
  const [code, text] = await get("ready", "/nope");
  assertEquals([code, JSON.parse(text).pages.length], [404, 5]);
});

for (
  const [outcome, code] of [
    [{ kind: "accepted", number: 5 }, 202],
    [{ kind: "busy" }, 503],
    [{ kind: "unknown-task" }, 404],
    [{ kind: "wrong-size", expectedBytes: 12 }, 400],
  ] as const
) {
  Deno.test(`a request over HTTP that is ${outcome.kind} gives ${code}`, async () => {
    const { app, submitted } = setUp("ready", outcome);
    const response = await app.request("/v1/critical/detector", { method: "POST", body: new Uint8Array(3) });
    assertEquals(response.status, code);
    assertEquals(submitted, [["detector", 3]]);
    const body = await response.json();
    if (outcome.kind === "accepted") assertEquals(body, { number: 5 });
    else assertEquals(typeof body.error, "string");
  });
}

Deno.test("a port that is taken is an InputError that names http.listen", async () => {
  const first = serveStatus(() => new Response("x"), { hostname: "127.0.0.1", port: 0 }, "m.yaml");
  try {
    const port = Number(new URL(first.url).port);
    const error = assertThrows(
      () => serveStatus(() => new Response("x"), { hostname: "127.0.0.1", port }, "m.yaml"),
      InputError,
      "is in use already",
    );
    assertEquals([error.file, error.field], ["m.yaml", "http.listen"]);
  } finally {
    await first.close();
  }
});
