/** What a vehicle's state does to background, from datagrams to plans. */
import type { Conditions } from "../../agent/conditions.ts";
import { type Mission, parseMission } from "../../agent/config.ts";
import { loadMission } from "../../agent/config.ts";
import { InputError } from "../../agent/errors.ts";
import { BusyShare, FlightConditions } from "../../agent/flight.ts";
import type { Logger } from "../../agent/log.ts";
import { SILENT } from "../../agent/log.ts";
import { openConditions } from "../../agent/open_conditions.ts";
import { checkpointCompiler } from "../../agent/checkpoint.ts";
import { readMissionFiles } from "../../agent/prepare.ts";
import { BackgroundStop } from "../../agent/stop_limits.ts";
import { supervise } from "../../agent/supervisor.ts";
import type { FlightState } from "../../jetson/flight_state.ts";
import type { Endpoint } from "../../jetson/mavlink/endpoint.ts";
import type { BindDatagrams, OnDatagram } from "../../jetson/mavlink/udp.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "../assert.ts";
import { ARMED, encodeFrame, heartbeat, joined, landed, SYS_STATUS } from "../jetson/mavlink/encoder.ts";
import { FakeEngine } from "./fake_engine.ts";
import { writeMission } from "./mission_fixture.ts";

const SECOND = 1e9;
const VEHICLE: Endpoint = { hostname: "127.0.0.1", port: 14_551 };
const FLIGHT = {
  mavlink: { hostname: "127.0.0.1", port: 14_550 },
  systemId: 1,
  onLinkLoss: "stop" as const,
  linkTimeoutNs: 3 * SECOND,
  report: false,
};

function logger(said: string[]): Logger {
  const keep = (level: string) => (message: string) => void said.push(`${level} ${message}`);
  return { debug: keep("debug"), info: keep("info"), warn: keep("warn"), error: keep("error") };
}

/** A network of one: the test sends by `say`, what comes back is in `sent`. */
function network() {
  let listener: OnDatagram = () => {};
  const sent: { bytes: Uint8Array; to: Endpoint }[] = [];
  const state = { sent, open: 0, say: (...frames: Uint8Array[]) => listener(joined(...frames), VEHICLE) };
  const bind: BindDatagrams = (endpoint, onDatagram) => {
    listener = onDatagram;
    state.open++;
    return Promise.resolve({
      endpoint,
      send: (bytes, to) => void sent.push({ bytes, to }),
      close: () => void state.open--,
    });
  };
  return { ...state, state, bind };
}

const CRUISING = [
  heartbeat({ base_mode: ARMED }),
  landed(2),
  encodeFrame(SYS_STATUS, { battery_remaining: 64 }),
];

function conditionsOf(
  state: Partial<FlightState>,
  onLinkLoss: "stop" | "keep",
  others: Conditions,
): Conditions {
  const full: FlightState = { phase: "cruising", armed: true, sinceNs: 0, linkAgeNs: 0, ...state };
  const source = new FlightConditions({
    look: () => full,
    flight: { ...FLIGHT, onLinkLoss },
    others: { current: () => others },
    log: SILENT,
  });
  return source.current(SECOND);
}

Deno.test("phase and battery are the vehicle's, heat and power are the other source's", () => {
  const others = { phase: "disarmed" as const, batteryPercent: 11, temperatureC: 60, powerW: 9, clockKey: 2 };
  assertEquals(conditionsOf({ batteryPercent: 64 }, "stop", others), {
    phase: "cruising",
    batteryPercent: 64,
    temperatureC: 60,
    powerW: 9,
    clockKey: 2,
  });
  assertEquals(conditionsOf({}, "stop", others).batteryPercent, 11);
});

Deno.test("without a link background is off, unless the mission wants to keep it", () => {
  const lost = { phase: "link-lost" as const, armed: undefined };
  const never = { phase: "unknown" as const, armed: undefined, linkAgeNs: Infinity };
  for (const state of [lost, never]) {
    assertEquals(conditionsOf(state, "stop", { phase: "cruising" }), { phase: state.phase, keepOff: true });
    assertEquals(conditionsOf(state, "keep", { phase: "cruising" }), { phase: state.phase });
  }
  // The link is there and does not tell the phase: that is for `when` and the policy.
  assertEquals(conditionsOf({ phase: "unknown" }, "stop", { phase: "cruising" }), { phase: "unknown" });
  const stop = new BackgroundStop({}, SILENT);
  assertEquals([stop.stopped({ phase: "link-lost", keepOff: true }), stop.stopped({ phase: "link-lost" })], [
    true,
    false,
  ]);
});

Deno.test("the log says each change of phase once, and a missing or lost link with its remedy", async () => {
  const said: string[] = [];
  const { bind, state } = network();
  const log = logger(said);
  const conditions = await openConditions({
    mission: { file: "m", conditions: undefined, flight: FLIGHT },
    log,
    bind,
  });
  for (const second of [1, 3, 4, 5, 6]) conditions.current(second * SECOND);
  state.say(...CRUISING);
  assertEquals([conditions.phase(), conditions.flight()?.phase], ["unknown", "unknown"]);
  for (const second of [7, 8]) conditions.current(second * SECOND);
  assertEquals([conditions.phase(), conditions.flight()?.phase], ["cruising", "cruising"]);
  state.say(heartbeat({ base_mode: ARMED, system_status: 6 }));
  conditions.current(9 * SECOND);
  state.say(heartbeat({ base_mode: ARMED }), landed(0));
  for (const second of [10, 11, 12, 13]) conditions.current(second * SECOND);
  const off = "background is off until it comes (onLinkLoss: stop)";
  assertEquals(said, [
    `warn flight: no heartbeat of system 1's autopilot for 3 s; ${off}`,
    "info flight: cruising, was unknown",
    "warn flight: emergency, was cruising",
    "warn flight: the phase is not known, was emergency: the autopilot does not send EXTENDED_SYS_STATE, or does not " +
    "know itself; docs/MAVLINK.md",
    `warn flight: the link is lost: no heartbeat of system 1's autopilot for 3 s; ${off}`,
  ]);
});

Deno.test("a report goes once a second to whoever spoke for the vehicle, and to nobody before", async () => {
  for (const report of [true, false]) {
    const { bind, state } = network();
    const flight = { ...FLIGHT, report };
    const conditions = await openConditions({
      mission: { file: "m", conditions: undefined, flight },
      log: SILENT,
      bind,
    });
    const engine = new FakeEngine();
    const at = (seconds: number, busyNs: number) => {
      conditions.current(seconds * SECOND);
      conditions.report({ ...engine.snapshot(), nowNs: seconds * SECOND, criticalBusyNs: busyNs, jobs: [] });
    };
    at(1, 0);
    state.say(heartbeat({}, { systemId: 9 }));
    at(2, SECOND / 2);
    assertEquals(state.sent, []);
    state.say(...CRUISING);
    at(2.9, SECOND);
    at(3, SECOND / 2 + SECOND / 4);
    at(3.5, SECOND);
    at(4, SECOND);
    assertEquals(
      state.sent.map(({ bytes, to }) => [bytes[4], bytes[5], bytes[6], bytes[10 + 215], to]),
      report ? [[0, 1, 191, 25, VEHICLE], [1, 1, 191, 25, VEHICLE]] : [],
    );
    conditions.close();
    assertEquals(state.open, 0);
  }
});

Deno.test("the GPU's share is not known from one look, nor over a restart of the engine", () => {
  const busy = new BusyShare();
  const look = (nowNs: number, criticalBusyNs: number) => busy.next({ nowNs, criticalBusyNs, jobs: [] });
  assertEquals([look(10, 4), look(20, 9), look(30, 0), look(40, 10)], [undefined, 0.5, undefined, 1]);
});

const parse = (top: string, job = "") =>
  parseMission(`background: { b: { bundle: y, ${job} } }\n${top}`, "/m/m.yaml");
const ADDRESS = '"udp:127.0.0.1:14550"';

Deno.test("a mission names its vehicle with an address; the rest has defaults", () => {
  assertEquals(parse(`flight: { mavlink: ${ADDRESS} }`).flight, FLIGHT);
  const full =
    'flight: { mavlink: "udp:[::1]:9", systemId: 7, onLinkLoss: keep, linkTimeout: 5s, report: true }';
  assertEquals(parse(full).flight, {
    mavlink: { hostname: "::1", port: 9 },
    systemId: 7,
    onLinkLoss: "keep",
    linkTimeoutNs: 5 * SECOND,
    report: true,
  });
  assertEquals(parse("").flight, undefined);
});

Deno.test("what is wrong with a vehicle is named with its field", () => {
  const broken: [string, string, string][] = [
    ["flight: {}", "flight.mavlink", "must be given"],
    ["flight: { mavlink: 14550 }", "flight.mavlink", 'must be "udp:ADDRESS:PORT"'],
    ['flight: { mavlink: "udp:vehicle:14550" }', "flight.mavlink", 'must be "udp:ADDRESS:PORT"'],
    [`flight: { mavlink: ${ADDRESS}, systemId: 0 }`, "flight.systemId", "must be a whole number of 1 to 255"],
    [
      `flight: { mavlink: ${ADDRESS}, systemId: 256 }`,
      "flight.systemId",
      "must be a whole number of 1 to 255",
    ],
    [`flight: { mavlink: ${ADDRESS}, onLinkLoss: off }`, "flight.onLinkLoss", "must be stop or keep"],
    [`flight: { mavlink: ${ADDRESS}, linkTimeout: 1s }`, "flight.linkTimeout", "1.5 s"],
    [`flight: { mavlink: ${ADDRESS}, report: 1 }`, "flight.report", "must be true or false"],
    [`flight: { mavlink: ${ADDRESS}, sysid: 1 }`, "flight.sysid", "systemId"],
  ];
  for (const [text, field, rule] of broken) {
    const { message } = assertThrows(() => parse(text), InputError);
    assertStringIncludes(message, field);
    assertStringIncludes(message, rule);
  }
});

Deno.test("a vehicle is source enough for phases and battery, and the board's sensors are for heat", () => {
  const flight = `flight: { mavlink: ${ADDRESS} }`;
  parse(
    `${flight}\npolicy: mission\nstopBackgroundAbove: { batteryBelow: 20% }`,
    "when: [cruising, link-lost]",
  );
  parse(`${flight}\nstopBackgroundAbove: { temperature: 85C }`);
  assertStringIncludes(assertThrows(() => parse("policy: mission"), InputError).message, "flight");
});

async function withFlight(
  flight: Mission["flight"],
  test: (
    options: Omit<Parameters<typeof supervise>[0], "timers" | "stop">,
    engine: FakeEngine,
  ) => Promise<void>,
): Promise<void> {
  await using fixture = await writeMission();
  const files = await readMissionFiles(await loadMission(fixture.file));
  const engine = new FakeEngine();
  await test({
    engine,
    checkpoint: checkpointCompiler,
    files: { ...files, mission: { ...files.mission, flight } },
    log: SILENT,
    version: "0",
    seed: 1,
  }, engine);
}

Deno.test("a run: no background before the link, some with it, none when it is lost; its address is given back", () =>
  withFlight(FLIGHT, async (options, engine) => {
    const { bind, state } = network();
    const { promise, resolve } = Promise.withResolvers<string>();
    let plan = () => {};
    await supervise({
      ...options,
      bind,
      stop: promise,
      timers: {
        every: (periodMs, tick) => {
          if (periodMs === 100) plan = tick;
          return () => {};
        },
        pause: (ms) => ms < 1000 ? Promise.resolve() : new Promise(() => {}),
      },
      onReady: () => {
        state.say(...CRUISING);
        for (const seconds of [1, 4, 5]) {
          engine.state.nowNs = seconds * SECOND;
          plan();
        }
        resolve("enough");
      },
    });
    assertEquals(engine.plans.map(({ entries }) => entries.length), [0, 2, 0, 0]);
    assertEquals(state.open, 0);
  }));

Deno.test("a run whose address is taken does not start, and says what to do", async () => {
  const taken: BindDatagrams = () => Promise.reject(new Error("bind EADDRINUSE 127.0.0.1:14550"));
  await withFlight(FLIGHT, async (options, engine) => {
    const timers = { every: () => () => {}, pause: () => Promise.resolve() };
    const error = await assertRejects(
      () => supervise({ ...options, bind: taken, stop: new Promise(() => {}), timers }),
      InputError,
    );
    assertStringIncludes(error.message, "flight.mavlink");
    assertStringIncludes(error.message, "EADDRINUSE");
    assertStringIncludes(error.message, "CALYPTE_ALLOW_NET=127.0.0.1:14550");
    assert(engine.closed);
    assert(!engine.calls.includes("ready"));
  });
});
