/** Commands that ask a running agent: explain, events, jobs, policy, trace. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../../assert.ts";
import { main } from "../../../agent/main.ts";
import { shownTime, zeroMsOf } from "../../../agent/commands/engine_clock.ts";
import { sentEvents } from "../../../agent/commands/event_source.ts";
import { follow } from "../../../agent/commands/follow.ts";
import { request } from "../explain/late_requests.ts";
import { setUpCommands } from "./scene.ts";

const MS = 1e6;
const LATE = request({ number: 17, outcome: "late", doneNs: 14 * MS, drainNs: 9 * MS, drainJob: 1 });

const TIME = "\\d\\d:\\d\\d:\\d\\d\\.\\d{3}";

Deno.test("a time of the engine is shown as that of the wall, with its date if that was another day", () => {
  const now = new Date(2026, 10, 23, 6, 0, 10).getTime();
  const zeroMs = zeroMsOf({ nowNs: 100e9 }, now);
  assertEquals(shownTime(99.5e9, zeroMs, now), "06:00:09.500");
  assertEquals(shownTime(99.5e9, zeroMs, now + 86_400_000), "2026-11-23 06:00:09.500");
  assertEquals(zeroMsOf({ nowNs: 0 }, now), undefined);
  assertEquals(shownTime(99.5e9, undefined), "     99.500s");
});

Deno.test("explain lists what missed lately, and says where the time of one went", async () => {
  await using scene = await setUpCommands();
  const { calypte, engine } = scene;
  assertEquals(await calypte("explain"), [0, "no request missed lately\n", ""]);
  engine.trace.push(LATE);
  const line = "detector/17 was late by 4 ms: 9 ms survey had to leave first";
  const [listed, list] = await calypte("explain");
  assertEquals(listed, 0);
  assertMatch(
    list,
    new RegExp(`^[-\\d ]*${TIME}  ${line}\n1 in all; calypte explain detector/17 has the parts`),
  );
  const [code, out] = await calypte("explain", "detector/17");
  assertEquals(code, 0);
  assertEquals(out.split("\n").slice(0, 5), [
    line,
    "it had 10 ms and took 14 ms:",
    "      9 ms  64 %  drain     survey had to leave first",
    "      2 ms  14 %  work      its own work, as long as it takes",
    "      2 ms  14 %  slow      longer than others around it; nothing that was recorded accounts for it",
  ]);
  assertStringIncludes(out, "what would help: set anticipate: true");
  const [, json] = await calypte("explain", "detector/17", "--json");
  assertEquals(JSON.parse(json).cause, "drain");
});

Deno.test("explain refuses what is no request, and says which one is not in the trace", async () => {
  await using scene = await setUpCommands();
  const [code, , err] = await scene.calypte("explain", "detector");
  assertEquals(code, 2);
  assertMatch(err, /detector: must be TASK\/NUMBER/);
  assertEquals(await scene.calypte("explain", "detector/3"), [
    1,
    "",
    `the agent on ${scene.address} refuses: it answered 404: the trace has no request detector/3: it has not ended, or was long ago\n`,
  ]);
});

Deno.test("jobs are listed with their state, paused, resumed and cancelled", async () => {
  await using scene = await setUpCommands();
  const { calypte } = scene;
  const [code, out] = await calypte("jobs");
  assertEquals(code, 0);
  assertEquals(out.split("\n")[0], "job       state  weight  units  preempted  GPU time");
  assertMatch(out, /\nmap +waiting +3 +2 +0 +0 ns\n/);
  assertEquals(await calypte("jobs", "pause", "map", "survey"), [0, "map: paused\nsurvey: paused\n", ""]);
  assertMatch((await calypte("jobs", "list"))[1], /\nmap +paused /);
  assertEquals(await calypte("jobs", "resume", "map"), [0, "map: waiting\n", ""]);
  assertEquals((await calypte("jobs", "cancel", "survey"))[1], "survey: cancelled\n");
  const [refused, , err] = await calypte("jobs", "resume", "survey", "--json");
  assertEquals(refused, 1);
  assertMatch(err, /it answered 409: survey is cancelled for this run/);
});

Deno.test("an order for several jobs goes on behind one that is refused, and fails", async () => {
  await using scene = await setUpCommands();
  const [code, out, err] = await scene.calypte("jobs", "pause", "nobody", "map");
  assertEquals([code, out], [1, "map: paused\n"]);
  assertStringIncludes(err, "nobody");
});

for (
  const [args, rule] of [
    [["puase", "map"], "puase: must be one of list, pause, resume, cancel; did you mean pause?"],
    [["pause"], "JOB: must be given: which one to pause"],
    [["list", "map"], "map: is one argument too many for jobs list"],
  ] as [string[], string][]
) {
  Deno.test(`bad usage: calypte jobs ${args.join(" ")}`, async () => {
    await using scene = await setUpCommands();
    assertEquals(await scene.calypte("jobs", ...args), [2, "", `calypte: ${rule}\n`]);
  });
}

Deno.test("the policy in force is shown, and another one set; what is none is refused before anybody is asked", async () => {
  await using scene = await setUpCommands();
  const { calypte } = scene;
  const [, before] = await calypte("policy", "show");
  assertMatch(before, /^[\w-]+\n$/);
  assertEquals(await calypte("policy", "set", "energy"), [0, "energy\n", ""]);
  assertEquals(JSON.parse((await calypte("policy", "show", "--json"))[1]).name, "energy");
  const [code, , err] = await calypte("policy", "set", "enrgy");
  assertEquals(code, 2);
  assertMatch(err, /enrgy: must be one of .*; did you mean energy\?/);
  const [wrong, , why] = await calypte("policy", "set", "energy", "--options", "nonsense=1");
  assertEquals(wrong, 1);
  assertMatch(why, /refuses: it answered 400: .*nonsense/);
  assertEquals((await calypte("policy", "set", "energy", "--options", "x"))[0], 2);
});

Deno.test("trace writes the file whole, says what is in it, and replaces an older one", async () => {
  await using scene = await setUpCommands();
  const dir = await Deno.makeTempDir();
  try {
    scene.engine.state.nowNs = 15 * MS;
    scene.engine.trace.push(LATE);
    const file = `${dir}/trace.json`;
    await Deno.writeTextFile(file, "old");
    const [code, out] = await scene.calypte("trace", "--for", "1s", "-o", file);
    assertEquals(code, 0);
    assertMatch(out, /trace\.json: 3 spans of 14 ms, simulated, [\d.]+ KiB; ui\.perfetto\.dev opens it\n$/);
    const { traceEvents } = JSON.parse(await Deno.readTextFile(file));
    assert(traceEvents.some(({ name }: { name: string }) => name === "detector 17"));
    assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["trace.json"]);
    const [, json] = await scene.calypte("trace", "-o", file, "--json");
    assertEquals(JSON.parse(json).spans, 3);
    const [, piped] = await scene.calypte("trace", "-o", "-");
    assertEquals(JSON.parse(piped).traceEvents.length, traceEvents.length);
    const [wrong, , err] = await scene.calypte("trace", "-o", `${dir}/none/trace.json`);
    assertEquals(wrong, 2);
    assertMatch(err, /none\/trace\.json: -o: must be a file that can be written/);
    assertEquals((await scene.calypte("trace", "--for", "soon", "-o", file))[0], 2);
    assertEquals((await scene.calypte("trace"))[0], 2);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("events are shown with their time, kind and source, and may be chosen by kind", async () => {
  await using scene = await setUpCommands();
  const { agent, calypte } = scene;
  agent.events.add({ timeNs: 1.5e9, kind: "miss", source: "detector", text: "late by 2 ms" });
  agent.events.add({ timeNs: 2e9, kind: "ready", source: null, text: "ready" });
  const [code, shown, err] = await calypte("events");
  assertEquals([code, err], [0, ""]);
  assertMatch(
    shown,
    new RegExp(`^.*${TIME}  miss           detector: late by 2 ms\n.*${TIME}  ready          -: ready\n$`),
  );
  assertEquals((await calypte("events", "--kind", "ready"))[1].split("\n").length, 2);
  const [, json] = await calypte("events", "--kind=miss", "--json");
  assertEquals(JSON.parse(json).source, "detector");
});

Deno.test("who follows goes on where it was when the agent comes back, and ends when it is told to", async () => {
  const controller = new AbortController();
  const asked: (string | null)[] = [];
  const event = (id: string) => `id: ${id}\nevent: miss\ndata: "${id}"\n\n`;
  const endless = () =>
    new ReadableStream({ start: (stream) => stream.enqueue(new TextEncoder().encode(event("c"))) });
  // It ends, loads for a while, and is back.
  const answers = [
    () => new Response(event("a") + event("b")),
    () => Response.json({ detail: "the agent loads yet" }, { status: 503 }),
    () => Response.json({ detail: "the agent loads yet" }, { status: 503 }),
    () => new Response(endless()),
  ];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    asked.push(request.headers.get("last-event-id"));
    return answers.shift()!();
  });
  const said: string[] = [];
  const { signal } = controller;
  const stream = follow({
    ...{ address: `127.0.0.1:${server.addr.port}`, page: "/v1/events", signal },
    away: (why) => said.push(why),
    pause: () => Promise.resolve(),
  });
  const seen: unknown[] = [];
  for (let i = 0; i < 3; i++) seen.push(((await stream.next()).value as { id: string }).id);
  assertEquals(seen, ["a", "b", "c"]);
  assertEquals(asked, [null, "b", "b", "b"]);
  assertEquals(said.length, 1);
  const last = stream.next();
  controller.abort();
  assertEquals(await last, { done: true, value: undefined });
  await server.shutdown();
});

Deno.test("an agent that was never there is an error at once", async () => {
  const stream = follow({
    ...{ address: "127.0.0.1:1", page: "/v1/events", signal: new AbortController().signal },
    away: () => {},
  });
  const { done, value } = await stream.next();
  assert(done === true && value instanceof Error);
});

Deno.test("events are read whole however the bytes are cut", async () => {
  const text =
    'retry: 1000\n\n: alive\n\nid: a-1\nevent: miss\ndata: {"x":\ndata: "ä"}\n\nevent: end\ndata: 1\n\nevent: cut';
  const bytes = new TextEncoder().encode(text);
  for (const length of [1, 2, 7, bytes.length]) {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let at = 0; at < bytes.length; at += length) controller.enqueue(bytes.slice(at, at + length));
        controller.close();
      },
    });
    assertEquals(await Array.fromAsync(sentEvents(body)), [
      { id: "a-1", event: "miss", data: '{"x":\n"ä"}' },
      { id: undefined, event: "end", data: "1" },
    ]);
  }
});

Deno.test("commands that need the agent say so when there is none, and fail with 1", async () => {
  for (
    const args of [["explain"], ["events"], ["jobs"], ["jobs", "pause", "x"], ["policy", "show"], [
      "policy",
      "set",
      "energy",
    ], ["trace", "-o", "-"]]
  ) {
    let err = "";
    const terminal = { out: () => {}, err: (text: string) => void (err += text) };
    assertEquals(await main([...args, "--address", "127.0.0.1:1"], terminal), 1);
    assertMatch(err, /^no agent answers on 127\.0\.0\.1:1: /);
  }
});

Deno.test("status says what is simulated, who else uses the GPU, what the sensors say, and why jobs wait", async () => {
  await using scene = await setUpCommands();
  const { engine, agent, calypte } = scene;
  const [code, quiet] = await calypte("status");
  assertEquals(code, 0);
  assertStringIncludes(quiet, "timing is simulated: no GPU takes part\n");
  assert(!quiet.includes("calypte explain"));
  Object.assign(engine.state, { holds: ["caller"] });
  engine.state.tasks[0]!.late = 2;
  scene.readings = { powerWatts: 14.2, temperatureCelsius: 51 };
  const { view } = agent;
  agent.view = () => ({
    ...view()!,
    foreign: {
      ...{ users: [], unknown: null, declared: null, missesMeanwhile: 0, byName: {} },
      withheld: "x used the GPU too",
    },
  });
  const [, out] = await calypte("status");
  assertStringIncludes(out, "no attainment is claimed: x used the GPU too\n14.2 W, 51");
  assertMatch(out, /\nmap +waiting \(caller\) +2 /);
  assertStringIncludes(out, "calypte explain says where the time of late requests went\n");
});
