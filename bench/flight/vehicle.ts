/**
 * An autopilot that says what the script says, in MAVLink: a heartbeat each second, the landed state twice a second, the
 * battery every second in SYS_STATUS and every other one in BATTERY_STATUS; between them a camera's heartbeat, which is never armed, and
 * damaged frames. A stand-in: no flight stack runs.
 */
import { encodeFrame } from "../../jetson/mavlink/encode.ts";
import {
  BATTERY_STATUS,
  EXTENDED_SYS_STATE,
  HEARTBEAT,
  SHAPES,
  SYS_STATUS,
} from "../../jetson/mavlink/messages.ts";
import { type Moment, momentAt } from "./script.ts";

const AUTOPILOT = 1;
const CAMERA = 100;
const LANDED = { "on-ground": 1, "in-air": 2, "taking-off": 3, "landing": 4 };
const STEP_S = 0.5;
/** MAV_BATTERY_CHARGE_STATE. */
const OK = 1;
const LOW = 2;

export class ScriptedVehicle {
  #nextS = 0;
  readonly #sequence = new Map<number, number>();

  /** Datagrams of all steps up to this second. */
  until(second: number): Uint8Array[] {
    const datagrams: Uint8Array[] = [];
    for (; this.#nextS <= second; this.#nextS += STEP_S) {
      const moment = momentAt(this.#nextS);
      const sent = this.#step(this.#nextS, moment);
      if (moment.linked) datagrams.push(...sent);
    }
    return datagrams;
  }

  #step(second: number, moment: Moment): Uint8Array[] {
    const landed = this.#frame(AUTOPILOT, EXTENDED_SYS_STATE, [0, LANDED[moment.landed]]);
    if (second % 1 !== 0) return [landed];
    const percent = Math.floor(moment.batteryPercent);
    const datagrams = [
      this.#frame(AUTOPILOT, HEARTBEAT, [0, 0, 0, 0, 2, 12, moment.armed ? 209 : 81, moment.systemStatus, 3]),
      landed,
      this.#frame(CAMERA, HEARTBEAT, [0, 0, 0, 0, 30, 8, 0, 4, 3]),
      this.#frame(AUTOPILOT, SYS_STATUS, sysStatus(percent)),
    ];
    if (second % 2 === 0) datagrams.push(this.#frame(AUTOPILOT, BATTERY_STATUS, batteryStatus(percent)));
    // The line is not a perfect one: every seventh second a heartbeat with a flipped bit, and one that is cut.
    if (second % 7 === 0) {
      const damaged = datagrams[0]!.slice();
      damaged[10 + 6]! ^= 0x80;
      datagrams.push(damaged, datagrams[0]!.slice(0, 14));
    }
    return datagrams;
  }

  #frame(componentId: number, messageId: number, payload: Iterable<number>): Uint8Array {
    const sequence = this.#sequence.get(componentId) ?? 0;
    this.#sequence.set(componentId, sequence + 1);
    const { crcExtra } = SHAPES.get(messageId)!;
    const bytes = Uint8Array.from(payload);
    return encodeFrame({ systemId: 1, componentId, sequence, messageId, crcExtra, payload: bytes });
  }
}

function sysStatus(percent: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(31));
  view.setUint16(12, 350, true);
  view.setUint16(14, 15_200, true);
  view.setInt16(16, -1, true);
  view.setInt8(30, percent);
  return new Uint8Array(view.buffer);
}

function batteryStatus(percent: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(54));
  view.setInt16(8, 0x7fff, true);
  view.setInt16(30, -1, true);
  view.setUint8(33, 1);
  view.setInt8(35, percent);
  view.setUint8(40, percent < 25 ? LOW : OK);
  return new Uint8Array(view.buffer);
}
