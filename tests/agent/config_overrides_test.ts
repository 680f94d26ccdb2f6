import { assert, assertEquals, assertRejects } from "../assert.ts";
import { parseMission } from "../../agent/config.ts";
import { blaming, OVERRIDABLE, overridesOf } from "../../agent/config_overrides.ts";
import { InputError } from "../../agent/errors.ts";
import { path } from "../../agent/std/mod.ts";

const MISSION = `
background: { map: { bundle: m } }
device: { backend: cuda, reserveSms: 4 }
http: { listen: "127.0.0.1:1" }
policy: { name: deadline, lease: 1s, options: { floor: 0.1 } }
preemptionBound: 50us
`;
const LEAST = "background: { map: { bundle: m } }";

function read(text: string, flags: Parameters<typeof overridesOf>[0], env: Record<string, string> = {}) {
  return parseMission(text, "m.yaml", overridesOf(flags, (name) => env[name]));
}

Deno.test("a flag beats the environment, which beats the mission, which beats the default", () => {
  const bound = (text: string, flag: string | undefined, variable: string) =>
    read(text, { "preemption-bound": flag }, { CALYPTE_PREEMPTION_BOUND: variable }).preemptionBoundNs;
  assertEquals(bound(MISSION, "10us", "20us"), 10_000);
  assertEquals(bound(MISSION, undefined, "20us"), 20_000);
  assertEquals(bound(MISSION, undefined, ""), 50_000);
  assertEquals(bound(LEAST, undefined, ""), 30_000);
});

Deno.test("what is given outside changes its own key and leaves those beside it", () => {
  const { backend, reserveSms, http, policy } = read(MISSION, { backend: "sim", listen: "[::1]:9" }, {
    CALYPTE_POLICY: "energy",
  });
  assertEquals([backend, reserveSms, http?.listen], ["sim", 4, { hostname: "::1", port: 9 }]);
  assertEquals(policy, { name: "energy", file: undefined, leaseNs: 1e9, options: {} });
});

Deno.test("an address is switched off by a word, and given to a mission that has none", () => {
  assertEquals(read(MISSION, { listen: "off" }).http, undefined);
  assertEquals(read(`${LEAST}\nhttp: false`, { listen: "localhost:5" }).http?.listen, {
    hostname: "localhost",
    port: 5,
  });
});

Deno.test("a policy's path is relative to where the agent was started, not to the mission", () => {
  const { policy } = parseMission(
    LEAST,
    "elsewhere/m.yaml",
    overridesOf({ policy: "mine/p.js" }, () => undefined),
  );
  assertEquals(policy.file, path.resolve("mine/p.js"));
});

Deno.test("a value that is wrong is blamed on where it was given", async () => {
  for (
    const [flags, env, from] of [
      [{ listen: "nonsense" }, {}, "--listen"],
      [{}, { CALYPTE_LISTEN: "nonsense" }, "CALYPTE_LISTEN"],
      [{}, { CALYPTE_BACKEND: "gpu" }, "CALYPTE_BACKEND"],
      [{ policy: "Not A Name" }, {}, "--policy"],
    ] as const
  ) {
    const overrides = overridesOf(flags, (name) => (env as Record<string, string>)[name]);
    const error = await assertRejects(
      () =>
        blaming(overrides, () => Promise.resolve().then(() => parseMission(MISSION, "m.yaml", overrides))),
      InputError,
    );
    assertEquals([error.file, error.field, error.problems.length], ["", from, 1]);
  }
});

Deno.test("a file that is no mission is still refused as one", () => {
  for (const text of ["[]", "7", ""]) {
    try {
      read(text, { backend: "sim" });
      assert(false, text);
    } catch (error) {
      assert(error instanceof InputError, String(error));
      assertEquals(error.file, "m.yaml");
    }
  }
});

Deno.test("each override has its own flag and variable", () => {
  assertEquals(new Set(OVERRIDABLE.map(({ flag }) => flag)).size, OVERRIDABLE.length);
  assertEquals(new Set(OVERRIDABLE.map(({ variable }) => variable)).size, OVERRIDABLE.length);
});
