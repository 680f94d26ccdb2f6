/** Is safe mode shown as it is, and forced by whoever may? */
import { assertEquals, assertMatch, assertStringIncludes } from "../assert.ts";
import { createCounters } from "../../agent/counters.ts";
import { serveHttp } from "../../agent/http/server.ts";
import { main } from "../../agent/main.ts";
import { prometheusText } from "../../agent/prometheus.ts";
import { setUpHttp, tokenFolder } from "./http/scene.ts";

const RULE = { misses: 3, staleLeases: 0, windowNs: 10e9, clearAfterNs: 10e9 };

function setUp(access: Parameters<typeof setUpHttp>[0] = {}) {
  const scene = setUpHttp(access);
  scene.agent.live.apply({ safeMode: RULE });
  return scene;
}

Deno.test("safe mode by misses is in the status with its reason, since when and until when", async () => {
  const { engine, ask } = setUp();
  Object.assign(engine.state, {
    holds: ["safe-mode"],
    safeMode: 1,
    safeModeReasons: ["misses"],
    safeModeMisses: 4,
    safeModeSinceNs: 15e9,
    safeModeNs: 5e9,
    safeModeUntilNs: 26e9,
  });
  const { safeMode } = await (await ask("/v1/status")).json();
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
  assertEquals(await (await ask("/v1/safe-mode")).json(), safeMode);
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

Deno.test("calypte safe-mode talks to the running agent, and status shows what it did", async () => {
  const listening = { hostname: "127.0.0.1", port: 0 };
  const { engine, handler } = setUp({ listening: () => listening });
  const http = { listen: listening, socket: undefined, tokenFile: undefined };
  const server = await serveHttp(handler, http, "m.yaml");
  listening.port = Number(new URL(server.url!).port);
  await using _folder = await tokenFolder();
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
  assertMatch(`${text}`, /^no agent answers on 127\.0\.0\.1:\d+: /);
});
