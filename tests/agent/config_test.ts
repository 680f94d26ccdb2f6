import { loadMission, loadMissionBundles, missionJsonSchema, parseMission } from "../../agent/config.ts";
import { InputError } from "../../agent/errors.ts";
import { path } from "../../agent/std/mod.ts";
import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "../assert.ts";

const HERE = path.dirname(path.fromFileUrl(import.meta.url));
const MISSIONS = path.join(HERE, "..", "fixtures", "missions");

/** A mission in which one task and one job are fine, plus or minus what a test wants. */
function mission({ task = "", job = "", top = "" }: { task?: string; job?: string; top?: string }): string {
  const source = task.includes("source:") ? "" : "source: { frames: f, rate: 30Hz }, ";
  const deadline = task.includes("deadline:") ? "" : "deadline: 15ms, ";
  return `critical: { a: { bundle: x, ${source}${deadline}${task} } }\nbackground: { b: { bundle: y, ${job} } }\n${top}`;
}

function messageOf(text: string): string {
  return assertThrows(() => parseMission(text, "m.yaml"), InputError).message;
}

Deno.test("a mission with every key is read as written, in the units of the fields", async () => {
  const file = path.join(MISSIONS, "full.yaml");
  const { critical, background, ...rest } = await loadMission(file);
  assertEquals(rest, {
    file,
    backend: "sim",
    reserveSms: 0,
    backgroundMemoryBytes: 0,
    foreign: ["Xorg"],
    http: { listen: { hostname: "127.0.0.1", port: 0 }, socket: undefined, tokenFile: undefined },
    preemptionBoundNs: 20_000,
    overcommit: true,
    policy: { name: "deadline", file: undefined, leaseNs: 250_000_000, options: { floor: 0.1 } },
    conditions: { file: path.join(MISSIONS, "../conditions.json"), maxAgeNs: 3_000_000_000 },
    flight: undefined,
    stopBackgroundAbove: { temperatureC: 85, powerW: 25, batteryPercent: 20 },
    safeMode: { misses: 5, windowNs: 2_000_000_000, clearAfterNs: 500_000_000, staleLeases: 2 },
    state: { kind: "dir", dir: path.join(MISSIONS, "../state") },
  });
  assertEquals(critical[0], {
    name: "obstacle-detector",
    bundleDir: path.join(MISSIONS, "../bundles/tiny"),
    source: { kind: "frames", dir: path.join(MISSIONS, "../frames"), periodNs: 33_333_333 },
    deadlineNs: 15_000_000,
    from: "sensor",
    queue: "fifo",
    queueDepth: 2,
    onMiss: "drop",
    maxBlockingNs: 50_000,
    yield: "always",
    anticipate: true,
    overlap: false,
    output: { kind: "jsonl", file: path.join(MISSIONS, "out/detections.jsonl"), every: 1 },
  });
  assertEquals(critical[1]?.source, { kind: "api", periodNs: 100_000_000 });
  assertEquals(background.map((job) => [job.name, job.weight, job.source.kind, job.output.kind]), [
    ["vegetation-map", 3, "frames", "dir"],
    ["keyframe-select", 1, "frames", "drop"],
  ]);
  assertEquals(background.map((job) => [job.when, job.deadlineNs, job.enabled]), [
    [["disarmed", "cruising"], 2e9, true],
    [[], 0, false],
  ]);
});

Deno.test("what a mission leaves out has the documented default", async () => {
  const file = path.join(MISSIONS, "least.yaml");
  assertEquals(await loadMission(file), {
    file,
    backend: "auto",
    reserveSms: 0,
    backgroundMemoryBytes: 0,
    foreign: undefined,
    http: { listen: { hostname: "127.0.0.1", port: 8717 }, socket: undefined, tokenFile: undefined },
    preemptionBoundNs: 30_000,
    overcommit: false,
    critical: [{
      name: "detector",
      bundleDir: path.join(MISSIONS, "../bundles/tiny"),
      source: { kind: "api" },
      deadlineNs: 10_000_000,
      from: "arrival",
      queue: "latest",
      queueDepth: 1,
      onMiss: "publish-late",
      maxBlockingNs: 0,
      yield: "always",
      anticipate: true,
      overlap: false,
      output: { kind: "drop" },
    }],
    background: [],
    policy: { name: "weighted-fair", file: undefined, leaseNs: 500_000_000, options: {} },
    conditions: undefined,
    flight: undefined,
    stopBackgroundAbove: {},
    safeMode: { misses: 3, windowNs: 10_000_000_000, clearAfterNs: 10_000_000_000, staleLeases: 0 },
    state: { kind: "default" },
  });
});

Deno.test("safe mode is switched off by a word, and its numbers have bounds and units", () => {
  const read = (text: string) => parseMission(`${mission({})}\nsafeMode: ${text}\n`, "m.yaml").safeMode;
  assertEquals([read("off"), read("false")], [undefined, undefined]);
  assertEquals(read("{ misses: 1 }")?.misses, 1);
  for (
    const [text, rule] of [
      ["on", "must be off or {misses, within, clearAfter, staleLeases}"],
      ["{ misses: 0 }", "safeMode.misses"],
      ["{ misses: 65 }", "safeMode.misses"],
      ["{ within: 10 }", "safeMode.within"],
      ["{ within: 2h }", "safeMode.within"],
      ["{ clearAfter: 0s }", "safeMode.clearAfter"],
      ["{ mises: 3 }", "misses"],
    ] as const
  ) {
    assertStringIncludes(assertThrows(() => read(text), InputError).message, rule);
  }
});

Deno.test("an output may be thinned, of critical tasks and background jobs alike", () => {
  const good = parseMission(
    mission({ task: "output: { jsonl: a, every: 2 }", job: "output: { dir: b, every: 1000000 }" }),
    "m.yaml",
  );
  assertEquals(good.critical[0]?.output, { kind: "jsonl", file: "a", every: 2 });
  assertEquals(good.background[0]?.output, { kind: "dir", dir: "b", every: 1_000_000 });
});

Deno.test("sockets and rings are paths relative to the mission, with a rate that is a hint", () => {
  const read = (task: string, job = "") => parseMission(mission({ task, job }), "dir/m.yaml");
  const { critical: [ring], background: [job] } = read(
    "source: { shm: /dev/shm/cam, rate: 50Hz }, output: { shm: out }",
    "output: { shm: /dev/shm/map, slots: 2, expiry: 1s }",
  );
  assertEquals(ring?.source, { kind: "ring", path: "/dev/shm/cam", periodNs: 20_000_000 });
  assertEquals(ring?.output, { kind: "shm", file: "dir/out", slots: 8, expiryNs: 500_000_000 });
  assertEquals(job?.output, { kind: "shm", file: "/dev/shm/map", slots: 2, expiryNs: 1_000_000_000 });
  const { critical: [socket] } = read("source: { socket: run/cam.sock }");
  assertEquals(socket?.source, { kind: "socket", path: "dir/run/cam.sock", periodNs: 0 });
});

Deno.test("a ring or a socket belongs to one work", () => {
  const two = "critical: { a: { bundle: x, source: { shm: r }, deadline: 1ms }, " +
    "b: { bundle: x, source: { shm: ./r }, deadline: 1ms } }";
  assertStringIncludes(messageOf(two), "critical.b.source");
  assertStringIncludes(messageOf(two), "must not be another task's source");
  const loop = mission({ task: "source: { shm: r }, output: { shm: ./r }" });
  assertStringIncludes(messageOf(loop), "must not be where input comes from");
  const same = mission({ task: "output: { shm: r }", job: "output: { shm: r }" });
  assertStringIncludes(messageOf(same), "must not be where critical.a writes");
});

Deno.test("the other ways to write a value are accepted", () => {
  const good = parseMission(mission({ task: "queue: fifo:16, overlap: true, deadline: 1s" }), "m.yaml");
  assertEquals(good.critical[0]?.queueDepth, 16);
  assertEquals(good.background[0]?.source, { kind: "none" });
  assertEquals(parseMission(mission({ top: "http: false" }), "m.yaml").http, undefined);
  assertEquals(parseMission(mission({ top: "http: { listen: false }" }), "m.yaml").http, undefined);
  assertEquals(parseMission(mission({ top: "http: { listen: '[::1]:80' }" }), "m.yaml").http?.listen, {
    hostname: "::1",
    port: 80,
  });
  const socket = parseMission(
    mission({ top: "http: { listen: false, socket: s, tokenFile: /t }" }),
    "/etc/m.yaml",
  );
  assertEquals(socket.http, { listen: undefined, socket: "/etc/s", tokenFile: "/t" });
  assertEquals(
    parseMission(mission({ job: "source: { none: true }" }), "/etc/m.yaml").background[0]?.bundleDir,
    "/etc/y",
  );
});

/** [what the mission says, field, part of the rule] */
const BROKEN: [Parameters<typeof mission>[0] | string, string, string][] = [
  ["", "", "must be a map"],
  ["{}", "", "at least one critical task or background job"],
  ["a: [", "line 2, column 1", "must be YAML"],
  ["a: 1\na: 2", "line 2, column 1", "duplicated key"],
  ["--- 1\n--- 2", "line 2, column 1", "must be YAML"],
  [{ top: "device: { reserveSms: some }" }, "device.reserveSms", "must be"],
  [{ task: "yield: reserved" }, "critical.a.yield", "must not be reserved without SMs of its own"],
  [{ top: "device: { backend: rocm }" }, "device.backend", "must be auto, cuda or sim"],
  [{ top: "device: { index: 1 }" }, "device.index", "is not a known key"],
  [{ top: "http: { listen: 8717 }" }, "http.listen", 'must be "host:port"'],
  [{ top: "http: { listen: 'a:65536' }" }, "http.listen", 'must be "host:port"'],
  [{ top: "http: on" }, "http", "must be {listen, socket, tokenFile} or false"],
  [{ top: "preemptionBound: 0us" }, "preemptionBound", "more than zero"],
  [{ top: "preemptionBound: 30" }, "preemptionBound", "must have a unit"],
  [{ top: "policy: { name: Fair }" }, "policy.name", "kebab-case"],
  [{ top: "policy: { lease: 1ms }" }, "policy.lease", "at least 10 ms"],
  [{ top: "policy: { lease: 2min }" }, "policy.lease", "at most 60 s"],
  [{ top: "__proto__: {}" }, "__proto__", "is not a possible key"],
  ["critical: { A_b: { bundle: x, source: { api: true }, deadline: 1ms } }", "critical.A_b", "kebab-case"],
  [`critical: { ${"a".repeat(64)}: 1 }`, `critical."${"a".repeat(37)}..."`, "at most 63"],
  ["background: { a: { } }", "background.a.bundle", "must be given"],
  [{ task: "bundle2: x" }, "critical.a.bundle2", "is not a known key"],
  [{ task: "yield: soon" }, "critical.a.yield", "must be always, when-needed or reserved"],
  [{ task: "source: { frames: f }" }, "critical.a.source.rate", "must be given"],
  [{ task: "source: { frames: f, rate: .nan }" }, "critical.a.source.rate", "must be a frequency"],
  [{ task: "source: { frames: f, rate: .inf }" }, "critical.a.source.rate", "must be a frequency"],
  [{ task: "source: { frames: f, rate: -30Hz }" }, "critical.a.source.rate", "must be a frequency"],
  [{ task: "source: { frames: f, rate: 0Hz }" }, "critical.a.source.rate", "more than zero"],
  [{ task: "source: { frames: f, rate: 30 }" }, "critical.a.source.rate", "must have a unit"],
  [{ task: "source: { api: false }" }, "critical.a.source.api", "must be true"],
  [
    { task: "source: { none: true }" },
    "critical.a.source",
    "must be {frames, rate}, {socket, rate}, {shm, rate} or {api: true, rate}",
  ],
  [
    { task: "source: {}" },
    "critical.a.source",
    "must be {frames, rate}, {socket, rate}, {shm, rate} or {api: true, rate}",
  ],
  [
    { task: "source: { frames: f, rate: 30Hz, api: true }" },
    "critical.a.source",
    "must be {frames, rate}, {socket, rate}, {shm, rate} or {api: true, rate}",
  ],
  [{ task: "deadline: 15" }, "critical.a.deadline", "must be a duration with its unit"],
  [{ task: "deadline: { from: sensor }" }, "critical.a.deadline.within", "must be given"],
  [{ task: "deadline: { within: 1ms, from: now }" }, "critical.a.deadline.from", "arrival or sensor"],
  [{ task: "deadline: 33.4ms" }, "critical.a.deadline", "longer than the period (33.3 ms)"],
  [{ task: "queue: fifo:17" }, "critical.a.queue", "N from 1 to 16"],
  [{ task: "queue: fifo:0" }, "critical.a.queue", "N from 1 to 16"],
  [{ task: "onMiss: ignore" }, "critical.a.onMiss", "publish-late or drop"],
  [{ task: "maxBlocking: -1us" }, "critical.a.maxBlocking", "must be a duration"],
  [{ task: "overlap: 1" }, "critical.a.overlap", "must be true or false"],
  [{ task: "output: { jsonl: '' }" }, "critical.a.output.jsonl", "must be a path"],
  [{ task: "output: { jsonl: a, dir: b }" }, "critical.a.output", "must be {jsonl}, {dir}, {shm} or drop"],
  [{ task: "output: { jsonl: a, every: 0 }" }, "critical.a.output.every", "must be at least 1, not 0"],
  [{ job: "output: { dir: a, every: 1000001 }" }, "background.b.output.every", "must be at most 1000000"],
  [{ job: "output: { jsonl: a, every: 1.5 }" }, "background.b.output.every", "must be a whole number"],
  [{ job: "output: { dir: a, every: x }" }, "background.b.output.every", 'must be a number, not "x"'],
  [{ job: "output: { every: 2 }" }, "background.b.output", "must be {jsonl}, {dir}, {shm} or drop"],
  [{ task: "output: stdout" }, "critical.a.output", "must be {jsonl}, {dir}, {shm} or drop"],
  [{ job: "weight: 0" }, "background.b.weight", "must be at least 1, not 0"],
  [{ job: "weight: 1000001" }, "background.b.weight", "must be at most 1000000"],
  [{ job: "weight: 1.5" }, "background.b.weight", "must be a whole number"],
  [
    { task: "source: { socket: s, shm: r }" },
    "critical.a.source",
    "must be {frames, rate}, {socket, rate}, {shm",
  ],
  [{ task: "source: { shm: r, rate: 100Hz }" }, "critical.a.deadline", "must not be longer than the period"],
  [{ task: "output: { shm: r, slots: 1 }" }, "critical.a.output.slots", "2"],
  [{ task: "output: { shm: r, expiry: 1ms }" }, "critical.a.output.expiry", "at least 10 ms"],
  [{ job: "source: { api: true }" }, "background.b.source", "must be {frames}, {queue} or {none: true}"],
  [{ job: "isolation: full" }, "background.b.isolation", "must be shared or process"],
  [{ job: "memory: 1" }, "background.b.memory", "must have a unit"],
  [
    { task: "output: { jsonl: o }", job: "output: { jsonl: ./o }" },
    "background.b.output",
    "where critical.a writes",
  ],
  [{ job: "output: { dir: f/ }" }, "background.b.output", "a folder that frames come from"],
  [mission({}).replace("{ b:", "{ a:"), "background.a", "must not have the name of a critical task"],
  [`critical: { ${many(8, "source: { api: true }, deadline: 1ms")} }`, "critical", "at most 7 tasks, not 8"],
  [`background: { ${many(25, "weight: 1")} }`, "background", "at most 24 jobs, not 25"],
];

function many(count: number, fields: string): string {
  return Array.from({ length: count }, (_, i) => `w${i}: { bundle: x, ${fields} }`).join(", ");
}

Deno.test("every rule of a mission names file, field and rule when it is broken", () => {
  for (const [what, field, rule] of BROKEN) {
    const text = typeof what === "string" ? what : mission(what);
    const error = assertThrows(() => parseMission(text, "m.yaml"), InputError);
    const fields = error.problems.map((problem) => problem.field);
    assertEquals(
      fields.includes(field),
      true,
      `${text}: wanted ${field}, got ${fields.join(" ")}: ${error.message}`,
    );
    assertStringIncludes(error.message, rule);
    assertEquals(error.file, "m.yaml");
    assertEquals(error.exitCode, 2);
  }
});

Deno.test("the messages read as agreed", () => {
  assertEquals(
    messageOf(mission({ task: "deadline: 50ms" })),
    "m.yaml: critical.a.deadline: must not be longer than the period (33.3 ms); shorten it or set `overlap: true`",
  );
  assertEquals(
    messageOf(mission({ job: "wieght: 3" })),
    "m.yaml: background.b.wieght: is not a known key; did you mean `weight`?",
  );
  assertEquals(
    messageOf(mission({ top: "qqqq: 1" })),
    "m.yaml: qqqq: is not a known key; known here: device, http, preemptionBound, overcommit, critical, background, " +
      "policy, flight, conditions, stopBackgroundAbove, safeMode, state",
  );
  assertEquals(
    messageOf(mission({ job: "weight: many, source: { frames: 3 }" })),
    'm.yaml: background.b.weight: must be a number, not "many"\n' +
      "m.yaml: background.b.source.frames: must be a path, not 3",
  );
});

Deno.test("a word, a key among alternatives or a unit with a slip of the finger gets the one that was meant", () => {
  const slips: [Parameters<typeof mission>[0], string][] = [
    [{ top: "device: { backend: cudda }" }, "did you mean cuda?"],
    [{ task: "onMiss: publish-lat" }, "did you mean publish-late?"],
    [{ task: "deadline: { within: 15ms, from: arival }" }, "did you mean arrival?"],
    [{ job: "isolation: proces" }, "did you mean process?"],
    [{ job: "when: [cruizing]" }, "did you mean cruising?"],
    [{ task: "output: { jsnl: x }" }, "critical.a.output.jsnl: is not a known key; did you mean `jsonl`?"],
    [{ job: "source: { qeue: x }" }, "background.b.source.qeue: is not a known key; did you mean `queue`?"],
    [{ task: "deadline: 15m" }, 'write "min" for minutes, or "ms"'],
    [{ task: "source: { frames: f, rate: 30hz }" }, 'write "Hz"'],
  ];
  for (const [slip, remedy] of slips) assertStringIncludes(messageOf(mission(slip)), remedy);
  // What is near to nothing is told what there is.
  assertStringIncludes(
    messageOf(mission({ task: "output: { zzzzzz: x }" })),
    "must be {jsonl}, {dir}, {shm} or drop",
  );
});

Deno.test("a mission file that cannot be read is an InputError", async () => {
  const dir = await Deno.makeTempDir();
  const file = path.join(dir, "m.yaml");
  await assertRejects(() => loadMission(file), InputError, "does not exist");
  await assertRejects(() => loadMission(dir), InputError, "must be a plain file");
  await assertRejects(() => loadMission(path.join(MISSIONS, "full.yaml", "x")), InputError);
  await Deno.writeFile(file, Uint8Array.of(0x61, 0x3a, 0xff));
  await assertRejects(() => loadMission(file), InputError, "must be UTF-8 text");
  await Deno.writeFile(file, new Uint8Array(2 ** 20 + 1));
  await assertRejects(() => loadMission(file), InputError, "at most 1 MiB");
  await Deno.remove(dir, { recursive: true });
});

Deno.test("a mission's bundles are loaded by name, each folder once", async () => {
  const bundles = await loadMissionBundles(await loadMission(path.join(MISSIONS, "full.yaml")));
  assertEquals([...bundles.keys()], ["obstacle-detector", "on-request", "vegetation-map", "keyframe-select"]);
  assertEquals(new Set(bundles.values()).size, 1);
});

Deno.test("bundles that are absent or do not fit the source are reported together", async () => {
  const text = "critical: { a: { bundle: ../bundles/none, source: { api: true }, deadline: 1ms } }\n" +
    "background: { b: { bundle: ../bundles/tiny }, c: { bundle: ../bundles/none } }";
  const file = path.join(MISSIONS, "m.yaml");
  const error = await assertRejects(() => loadMissionBundles(parseMission(text, file)), InputError);
  assertEquals(
    error.message,
    `${file}: critical.a.bundle: must be a bundle's folder, but does not exist\n` +
      `${file}: background.b.source: must be given: bundle tiny has inputs; give it {frames: <folder>} or {queue: <folder>}`,
  );
});

Deno.test("the JSON Schema of a mission lists its keys", () => {
  const schema = missionJsonSchema() as {
    properties: Record<string, unknown>;
    additionalProperties: boolean;
  };
  assertEquals(Object.keys(schema.properties), [
    "device",
    "http",
    "preemptionBound",
    "overcommit",
    "critical",
    "background",
    "policy",
    "flight",
    "conditions",
    "stopBackgroundAbove",
    "safeMode",
    "state",
  ]);
  assertEquals(schema.additionalProperties, false);
});
