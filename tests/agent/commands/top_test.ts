/** Does `calypte top` draw what there is, fit the terminal, and give it back as it was? */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../../assert.ts";
import { type Frame, type Hello, type State, topFrame } from "../../../agent/commands/top_frame.ts";
import { main } from "../../../agent/main.ts";
import { setUpCommands } from "./scene.ts";

const MS = 1e6;
const HELLO: Hello = {
  ...{ version: "1.2.3", mission: "m.yaml", timing: "simulated", device: { name: "sim" } },
  tasks: [{ name: "detector", deadlineNs: 10 * MS }, { name: "gone", deadlineNs: MS }],
  jobs: [{ name: "map", isolation: "shared" }, { name: "survey", isolation: "process" }],
};
const STATE: State = {
  ...{ nowNs: 5e9, state: "ready", holds: [], safeMode: { on: false, reasons: [] }, planId: 17 },
  ...{ idleFill: 0.913, gpuBusy: 0.5, powerWatts: 14.2, temperatureCelsius: null },
  tasks: {
    detector: {
      ...{ requests: 100, onTime: 98, late: 2, dropped: 0, failed: 0, missRun: 0 },
      ...{ responseP50Ns: 2 * MS, responseP99Ns: 4 * MS, worstNs: 12 * MS },
    },
    gone: null,
  },
  jobs: {
    map: {
      ...{ state: "running", why: null, units: 7, unitsPerSecond: 3.2, weight: 3 },
      gpuShareByLevel: { whole: 0, slice: 0, block: 0.25, loop: 0.75 },
    },
    survey: {
      ...{ state: "quarantined", why: "it hung", units: 0, unitsPerSecond: 0, weight: 1 },
      gpuShareByLevel: { whole: 0, slice: 0, block: 0, loop: 0 },
    },
  },
};

function frameOf(change: Partial<Frame> = {}): string[] {
  return topFrame({
    ...{ hello: HELLO, state: STATE, events: [], away: undefined, columns: 120, rows: 40, color: false },
    ...change,
  });
}

Deno.test("a look has the agent, the GPU, tasks and jobs with their levels", () => {
  assertEquals(frameOf(), [
    "calypte 1.2.3  ready  SIMULATED sim  plan 17  m.yaml",
    "GPU [##########..........] 50 % busy  idle filled 91 %  14.2 W",
    "",
    "critical  deadline  requests  late  dropped  failed  in a row   p50   p99  worst",
    "detector     10 ms       100     2        0       0         0  2 ms  4 ms  12 ms",
    "",
    "background        state  weight  units  units/s     GPU time by level",
    "map             running       3      7      3.2  loop 75 % block 25 %",
    "survey      quarantined       1      0      0.0                     -  it hung",
  ]);
});

Deno.test("holds, safe mode and an agent that is away are said", () => {
  const state = { ...STATE, holds: ["lease", "safe-mode"], safeMode: { on: true, reasons: ["forced"] } };
  const lines = frameOf({ state, away: "no agent answers" });
  assertEquals(lines.slice(2, 5), ["no agent answers", "safe mode: forced", "background held: lease"]);
});

Deno.test("no look is larger than the terminal, whatever its size, and the last events get the room that is left", () => {
  const events = ["one", "two", "three"];
  for (const [columns, rows] of [[120, 40], [120, 12], [40, 5], [1, 1], [10, 0]] as const) {
    const lines = frameOf({ columns, rows, events });
    assert(lines.length <= rows, `${lines.length} lines of ${rows}`);
    assert(lines.every((line) => line.length <= columns));
  }
  assertEquals(frameOf({ events, rows: 40 }).slice(-4), ["", "one", "two", "three"]);
  assertEquals(frameOf({ events, rows: 13 }).slice(-3), ["", "two", "three"]);
});

Deno.test("colours are only where they are wanted, and cost no room", () => {
  const escape = new RegExp(`${"\x1b"}\\[\\d+m`, "g");
  assert(frameOf().every((line) => !line.includes("\x1b")));
  const lines = frameOf({ color: true, columns: 30 });
  assertStringIncludes(lines[0]!, "\x1b[1m");
  assert(lines.every((line) => line.replaceAll(escape, "").length <= 30));
});

Deno.test("what an event says cannot steer the terminal", () => {
  const lines = frameOf({ events: ["\x1b]0;title\x07 bad\u202e"] });
  assert(lines.every((line) => !/[\p{Cc}\p{Cf}]/u.test(line)));
});

Deno.test("into a pipe one look is printed, without colours", async () => {
  await using scene = await setUpCommands();
  for (const flags of [[], ["--once"]]) {
    const [code, out, err] = await scene.calypte("top", ...flags);
    assertEquals([code, err], [0, ""]);
    assertMatch(out, /^calypte 1\.2\.3 +ready +SIMULATED /);
    assertMatch(out, /\ndetector +10 ms +3 /);
    assert(!out.includes("\x1b"));
  }
  const [, json] = await scene.calypte("top", "--once", "--json");
  assertEquals(JSON.parse(json).tasks.detector.requests, 3);
});

Deno.test("on a terminal it draws over itself, and gives the terminal back when it is told to end", async () => {
  await using scene = await setUpCommands();
  let out = "";
  const { promise: drawn, resolve } = Promise.withResolvers<void>();
  const terminal = {
    out(text: string) {
      out += text;
      if (text.startsWith("\x1b[H")) resolve();
    },
    err: () => {},
    screen: { color: false, draws: true, progress: false, columns: () => 60, rows: () => 8 },
  };
  const ended = main(["top", "--address", scene.address], terminal);
  await drawn;
  // Its own handler takes the signal, so that this process goes on.
  Deno.kill(Deno.pid, "SIGTERM");
  assertEquals(await ended, 0);
  assert(out.startsWith("\x1b[?1049h\x1b[?25l\x1b[H"));
  assert(out.endsWith("\x1b[?25h\x1b[?1049l"));
});

Deno.test("without an agent nothing is drawn, and the terminal is given back", async () => {
  let [out, err] = ["", ""];
  const terminal = {
    out: (text: string) => void (out += text),
    err: (text: string) => void (err += text),
    screen: { color: false, draws: true, progress: false, columns: () => 60, rows: () => 8 },
  };
  assertEquals(await main(["top", "--address", "127.0.0.1:1"], terminal), 1);
  assertEquals(out, "\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l");
  assertMatch(err, /^no agent answers on 127\.0\.0\.1:1: /);
});
