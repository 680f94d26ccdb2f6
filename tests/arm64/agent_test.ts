/**
 * Does the agent work on arm64? Simulation, then a run with an engine's process, a worker's, the autopilot's link, HTTP, and a client
 * in C.
 */
import { bindUdp, type DatagramSocket } from "../../jetson/mavlink/udp.ts";
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { writeMission } from "../agent/mission_fixture.ts";
import { ARMED, heartbeat, joined, landed } from "../jetson/mavlink/encoder.ts";
import { arm64Test, calypte, type Ended, ended, native } from "./emulation.ts";
import { EMULATED, ROOT } from "./place.ts";

/** Deadlines are no matter here: the emulator may take a second to answer. `writeMission` has the bundles. */
function mission(udpPort: number): string {
  return `http: { listen: "127.0.0.1:0" }
overcommit: true
critical:
  detector:
    bundle: detector
    source: { frames: frames, rate: 5Hz }
    deadline: { within: 150ms, from: arrival }
    queue: latest
    output: { jsonl: detections.jsonl }
  outside: { external: s.sock, deadline: 1s }
background:
  maps: { bundle: map, isolation: process, source: { frames: frames, rate: 10Hz } }
  flying: { bundle: map, source: { frames: frames, rate: 10Hz }, when: [cruising] }
flight: { mavlink: "udp:127.0.0.1:${udpPort}", linkTimeout: 60s }
`;
}

interface Status {
  state: string;
  backend: string;
  critical: Record<string, { requests: number }>;
  background: Record<string, { units: number; state: string }>;
}

/** What was seen while one mission ran, and what it said at its end. */
interface Seen {
  processes: string[];
  machines: Set<string>;
  before: Status;
  during: Status;
  metrics: string;
  client: Ended;
  run: Ended;
}

async function freePort(): Promise<number> {
  const port = await bindUdp({ hostname: "127.0.0.1", port: 0 }, () => {});
  port.close();
  return port.endpoint.port;
}

/** One run serves all tests of it: starting one takes the emulator some ten seconds. */
let run: Promise<Seen> | undefined;

const SIMULATED = ["--for", "2s", "--seed", "7", "--json"];
const cache = Deno.makeTempDirSync({ prefix: "calypte-arm64-" });
const cacheEnv = () => ({ CALYPTE_CACHE: cache });
globalThis.addEventListener("unload", () => Deno.removeSync(cache, { recursive: true }));

/**
 * The same mission on this machine: what it answers is what arm64 must answer, and what it makes of the PTX it keeps, so that the emulator
 * does not take another minute for it.
 */
let rewritten: Promise<{ here: Ended; folder: string }> | undefined;

async function rewriteHere(): Promise<{ here: Ended; folder: string }> {
  const { dir: folder } = await writeMission();
  globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", `${ROOT}/agent/entry.ts`, "simulate", "mission.yaml", ...SIMULATED],
    env: { NO_COLOR: "1", CALYPTE_STATE: "off", ...cacheEnv() },
    cwd: folder,
  });
  return { here: ended(await command.output()), folder };
}

async function fly(): Promise<Seen> {
  await (rewritten ??= rewriteHere());
  await using fixture = await writeMission();
  const folder = fixture.dir;
  const udpPort = await freePort();
  const vehicle = await bindUdp({ hostname: "127.0.0.1", port: 0 }, () => {});
  try {
    await Deno.writeTextFile(`${folder}/m.yaml`, mission(udpPort));
    const agent = calypte(
      ["run", "m.yaml", "--backend", "sim", "--for", "900s", "--json"],
      folder,
      cacheEnv(),
    );
    const lines = new Lines(agent.stderr);
    const output = Promise.all([new Response(agent.stdout).text(), agent.status]);
    try {
      const url = (await lines.wait(/status on (\S+)\/v1\/status/))[1]!;
      await lines.wait(/"event":"ready"/);
      const client = clientProgram(folder).then((file) => native(file, [`${folder}/s.sock`]));
      const before = await saying(
        vehicle,
        udpPort,
        ON_GROUND,
        () =>
          until(
            url,
            ({ critical, background }) => critical.detector!.requests > 0 && background.maps!.units > 0,
          ),
      );
      const processes = childrenOf(agent.pid);
      const machines = new Set([agent.pid, ...processes.map(({ pid }) => pid)].map(machineOf));
      const during = await saying(vehicle, udpPort, CRUISING, () =>
        until(
          url,
          ({ critical, background }) => background.flying!.units > 0 && critical.outside!.requests >= 10,
        ));
      const metrics = await (await fetch(`${url}/metrics`)).text();
      agent.kill("SIGINT");
      const [out, { code }] = await output;
      const words = processes.map(({ words }) => words);
      return {
        ...{ processes: words, machines, before, during, metrics },
        client: await client,
        run: { code, out, err: lines.text },
      };
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}\n${lines.text}`, { cause: error });
    } finally {
      try {
        agent.kill("SIGTERM");
      } catch { /* It has ended. */ }
      await output;
    }
  } finally {
    vehicle.close();
  }
}

/** What an autopilot says: of HEARTBEAT's `base_mode`, and of EXTENDED_SYS_STATE's `landed_state`. */
const ON_GROUND = { mode: 0, landed: 1 };
const CRUISING = { mode: ARMED, landed: 2 };

/** The autopilot says so, ten times a second, for as long as `work` takes. */
async function saying<T>(
  vehicle: DatagramSocket,
  port: number,
  state: typeof CRUISING,
  work: () => Promise<T>,
): Promise<T> {
  let sequence = 0;
  // house-rule: sleep, because an autopilot repeats itself by the clock
  const timer = setInterval(() => {
    const frames = joined(
      heartbeat({ base_mode: state.mode }, { sequence: sequence++ & 255 }),
      landed(state.landed, { sequence: sequence++ & 255 }),
    );
    vehicle.send(frames, { hostname: "127.0.0.1", port });
  }, 100);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

async function clientProgram(folder: string): Promise<string> {
  const file = `${folder}/client`;
  const { success, stderr } = await new Deno.Command("aarch64-linux-gnu-gcc", {
    args: ["-std=gnu11", "-Wall", "-Werror", `-I${ROOT}/ffi/native/include`, `${ROOT}/tests/arm64/client.c`]
      .concat([`${EMULATED}/libcalypte_client.a`, "-lpthread", "-ldl", "-lrt", "-o", file]),
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return file;
}

const PATIENCE_MS = 600_000;

/** Asks until it is so. Throws, with the last answer, if it takes too long. */
async function until(url: string, isSo: (status: Status) => boolean): Promise<Status> {
  const giveUp = performance.now() + PATIENCE_MS;
  for (;;) {
    const status: Status = await (await fetch(`${url}/v1/status`)).json();
    if (status.state === "ready" && isSo(status)) return status;
    if (performance.now() > giveUp) {
      throw new Error(`not so after ${PATIENCE_MS} ms: ${JSON.stringify(status)}`);
    }
    // house-rule: sleep, because a status is asked for, and does not tell by itself
    await new Promise((done) => setTimeout(done, 100));
  }
}

/** What a process writes, line by line or not. */
class Lines {
  text = "";
  #changed = Promise.withResolvers<void>();
  #open = true;

  constructor(stream: ReadableStream<Uint8Array>) {
    (async () => {
      const decoder = new TextDecoderStream() as TransformStream<Uint8Array, string>;
      for await (const part of stream.pipeThrough(decoder)) this.#next(part);
      this.#open = false;
      this.#next("");
    })();
  }

  #next(part: string): void {
    this.text += part;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** Throws if its writer ends without. */
  async wait(pattern: RegExp): Promise<RegExpMatchArray> {
    const late = AbortSignal.timeout(PATIENCE_MS);
    for (;;) {
      const match = this.text.match(pattern);
      if (match !== null) return match;
      if (!this.#open || late.aborted) throw new Error(`it did not say ${pattern}`);
      const expired = Promise.withResolvers<void>();
      const expire = () => expired.resolve();
      late.addEventListener("abort", expire);
      await Promise.race([this.#changed.promise, expired.promise]);
      late.removeEventListener("abort", expire);
    }
  }
}

interface Child {
  pid: number;
  /** Its own arguments, behind the program's file. */
  words: string;
}

function childrenOf(pid: number): Child[] {
  const text = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`);
  return text.split(" ").filter((word) => word !== "").map(Number).map((pid) => {
    const words = Deno.readTextFileSync(`/proc/${pid}/cmdline`).split("\0").slice(0, -1);
    return { pid, words: words.slice(words.findIndex((word) => word.endsWith("/entry.ts")) + 1).join(" ") };
  });
}

/** Whose instructions the program of a process is made of: the file that the emulator was given. */
function machineOf(pid: number): string {
  const words = Deno.readTextFileSync(`/proc/${pid}/cmdline`).split("\0");
  const file = words.find((word) => word.includes("/linux-") && word.endsWith("/deno")) ?? words[0]!;
  using opened = Deno.openSync(file);
  const header = new Uint8Array(20);
  opened.readSync(header);
  return header[18] === 0xb7 ? "aarch64" : `ELF machine ${header[18]}`;
}

const seen = () => run ??= fly();

arm64Test("simulate answers as on every machine", async () => {
  const { here, folder } = await (rewritten ??= rewriteHere());
  const emulated = ended(
    await calypte(["simulate", "mission.yaml", ...SIMULATED], folder, cacheEnv()).output(),
  );
  assertEquals([emulated.code, here.code], [0, 0], emulated.err + here.err);
  assertEquals(emulated.out, here.out);
});

arm64Test("a run has an engine's process and a worker's, all of them of arm64", async () => {
  const { processes, machines } = await seen();
  assertEquals(
    processes.filter((words) => words.startsWith("engine --socket")).length,
    2,
    processes.join("\n"),
  );
  assertEquals([...machines], ["aarch64"]);
});

arm64Test("status and metrics are served over HTTP", async () => {
  const { before, during, metrics } = await seen();
  assertEquals([before.state, before.backend], ["ready", "sim"]);
  assert(during.critical.detector!.requests >= before.critical.detector!.requests);
  assert(during.background.maps!.units > before.background.maps!.units, "the isolated job goes on");
  assertMatch(metrics, /^calypte_\w+\{.*\} \d/m);
});

arm64Test("what the autopilot says over UDP decides what runs", async () => {
  const { before, during } = await seen();
  assertEquals(before.background.flying!.units, 0);
  assert(during.background.flying!.units > 0);
});

arm64Test("a process in C is served by the client library", async () => {
  const { client, during } = await seen();
  assertEquals([client.code, client.out], [0, "10 requests\n"], client.err);
  assertEquals(during.critical.outside!.requests, 10);
});

arm64Test("a run ends when it is told to, with its summary", async () => {
  const { run: { code, out, err } } = await seen();
  assertEquals(code, 0, err);
  const summary = JSON.parse(out);
  assertEquals(summary.backend, "sim");
  assert(summary.critical.detector.requests > 0);
});
