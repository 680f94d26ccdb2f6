/** Where does a run learn what goes on around the GPU, by its mission? */
import type { EngineSnapshot } from "../ffi/engine.ts";
import type { FlightState } from "../jetson/flight_state.ts";
import type { Phase } from "../policies/policy.ts";
import { type Endpoint, endpointText } from "../jetson/mavlink/endpoint.ts";
import { encodeComputerStatus } from "../jetson/mavlink/report.ts";
import { MavlinkSource } from "../jetson/mavlink/source.ts";
import { type BindDatagrams, bindUdp, type DatagramSocket } from "../jetson/mavlink/udp.ts";
import { type Conditions, type ConditionsSource, FileConditions, NO_CONDITIONS } from "./conditions.ts";
import type { Mission } from "./config.ts";
import { InputError } from "./errors.ts";
import { BusyShare, FlightConditions } from "./flight.ts";
import type { Logger } from "./log.ts";

export interface OpenConditions extends ConditionsSource {
  /** As of the last look; `unknown`: nobody has looked. */
  phase(): Phase;
  /** As of the last look; `undefined`: the mission has no `flight`, or nobody has looked. */
  flight(): FlightState | undefined;
  /** After each look: tells the vehicle once a second, if the mission wants that. */
  report(snapshot: EngineSnapshot): void;
  close(): void;
}

export interface OpenConditionsOptions {
  mission: Pick<Mission, "file" | "conditions" | "flight">;
  log: Logger;
  /** Default: UDP. */
  bind?: BindDatagrams;
}

const REPORT_EVERY_NS = 1e9;

/** Throws `InputError` if the vehicle's address cannot be bound. */
export async function openConditions(options: OpenConditionsOptions): Promise<OpenConditions> {
  const { mission: { file, conditions, flight }, log, bind = bindUdp } = options;
  const others = conditions === undefined ? NO_CONDITIONS : new FileConditions({ ...conditions, log });
  let known: Conditions | undefined;
  const phase = () => known?.phase ?? "unknown";
  if (flight === undefined) {
    return {
      current: (nowNs) => known = others.current(nowNs),
      phase,
      flight: () => undefined,
      report: () => {},
      close: () => {},
    };
  }
  const vehicle = new MavlinkSource(flight);
  let state: FlightState | undefined;
  let answerTo: Endpoint | undefined;
  const socket = await bound(bind, flight.mavlink, file, (bytes, from) => {
    if (vehicle.receive(bytes)) answerTo = from;
  });
  const look = (nowNs: number) => state = vehicle.look(nowNs);
  const source = new FlightConditions({ look, flight, others, log });
  const reporter = flight.report ? new Reporter(socket, flight.systemId) : undefined;
  return {
    current: (nowNs) => known = source.current(nowNs),
    phase,
    flight: () => state,
    report: (snapshot) => reporter?.tick(snapshot, known?.temperatureC, answerTo),
    close: () => socket.close(),
  };
}

async function bound(
  bind: BindDatagrams,
  endpoint: Endpoint,
  file: string,
  onDatagram: Parameters<BindDatagrams>[1],
): Promise<DatagramSocket> {
  try {
    return await bind(endpoint, onDatagram);
  } catch (error) {
    const rule = `cannot be listened to: ${error instanceof Error ? error.message : String(error)}`;
    const remedy = `choose an address of this machine that is free, and allow it: CALYPTE_ALLOW_NET=${
      endpointText(endpoint)
    }`;
    throw new InputError({ file, field: "flight.mavlink", rule, remedy }, { cause: error });
  }
}

class Reporter {
  readonly #socket: DatagramSocket;
  readonly #systemId: number;
  readonly #busy = new BusyShare();
  #sent = 0;
  #lastNs = -Infinity;

  constructor(socket: DatagramSocket, systemId: number) {
    this.#socket = socket;
    this.#systemId = systemId;
  }

  tick(snapshot: EngineSnapshot, temperatureCelsius: number | undefined, to: Endpoint | undefined): void {
    const { nowNs } = snapshot;
    if (nowNs - this.#lastNs < REPORT_EVERY_NS) return;
    this.#lastNs = nowNs;
    const gpuBusy = this.#busy.next(snapshot);
    // Nobody has spoken yet.
    if (to === undefined) return;
    this.#socket.send(
      encodeComputerStatus({ nowNs, gpuBusy, temperatureCelsius }, this.#systemId, this.#sent++),
      to,
    );
  }
}
