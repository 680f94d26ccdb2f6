/** Are misses listed, and one request explained, over HTTP? */
import { assertEquals, assertMatch } from "../../assert.ts";
import { request } from "../explain/late_requests.ts";
import { setUpHttp } from "./scene.ts";

const MS = 1e6;

function setUp() {
  const scene = setUpHttp();
  scene.engine.trace.push(
    request(),
    request({ number: 1, outcome: "late", doneNs: 14 * MS, drainNs: 9 * MS, drainJob: 1 }),
    request({ task: 1, number: 4, outcome: "dropped", launchNs: 0, doneNs: 11 * MS }),
  );
  return scene;
}

Deno.test("misses are listed with their ids, newest first, each with its cause", async () => {
  const [code, { items }] = await setUp().json("/v1/misses");
  assertEquals(code, 200);
  assertEquals(items.map(({ id, outcome, cause }: Record<string, string>) => [id, outcome, cause]), [
    ["by-hand/4", "dropped", "queueing"],
    ["detector/1", "late", "drain"],
  ]);
});

Deno.test("one request is explained in parts that add up, with words and a remedy", async () => {
  const [code, answer] = await setUp().json("/v1/tasks/detector/requests/1/explanation");
  assertEquals([code, answer.cause, answer.totalNs], [200, "drain", 14 * MS]);
  assertEquals(answer.parts.reduce((sum: number, { ns }: { ns: number }) => sum + ns, 0), 14 * MS);
  assertMatch(answer.text, /^detector\/1 was late by 4 ms: 9 ms survey had to leave first$/);
  assertMatch(answer.remedy, /anticipate: true/);
});

Deno.test("a request that is not in the trace, and a task that is not there, are 404", async () => {
  const { json } = setUp();
  for (const page of ["detector/requests/2", "detector/requests/x", "nobody/requests/1"]) {
    assertEquals((await json(`/v1/tasks/${page}/explanation`))[0], 404);
  }
});

Deno.test("others on the GPU are blamed where they are seen, or declared and not to be seen", async () => {
  const late = request({ number: 7, outcome: "late", doneNs: 14 * MS });
  const causeWith = async (users: string[], unknown: string | null, declared: string[] | null) => {
    const { engine, agent, json } = setUp();
    engine.trace.push(late);
    const view = agent.view;
    agent.view = () => ({
      ...view()!,
      foreign: {
        users: users.map((name, pid) => ({ pid, name, declared: false })),
        ...{ unknown, declared, missesMeanwhile: 0, byName: {}, withheld: null },
      },
    });
    const [, { cause, foreignUnknown }] = await json("/v1/tasks/detector/requests/7/explanation");
    return [cause, foreignUnknown];
  };
  assertEquals(await causeWith(["compositor"], null, null), ["foreign", null]);
  assertEquals(await causeWith([], null, ["compositor"]), ["slow", null]);
  assertEquals(await causeWith([], "no NVML", ["compositor"]), ["foreign", "no NVML"]);
  assertEquals(await causeWith([], "no NVML", null), ["slow", "no NVML"]);
});
