import { telemetryCost } from "../../bench/telemetry.ts";
import { assert } from "../assert.ts";

Deno.test("sensors of the board with the most of them take under 1 % of a core at the pace of a run", async () => {
  const root = new URL("../fixtures/jetson/agx-orin-jp6", import.meta.url).pathname;
  const cost = await telemetryCost({ root, samples: 300 });
  assert(cost.cpuMsPerSample > 0, "300 samples must take some time");
  assert(cost.coreShare < 0.01, JSON.stringify(cost));
});
