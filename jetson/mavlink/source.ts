/**
 * The vehicle's flight state, from datagrams as they come.
 *
 * Only the autopilot (component 1) of one system is listened to: gimbals, cameras and ground stations send heartbeats too,
 * and theirs are never armed. What comes between two looks counts as of the earlier one, so that nothing that waited while the
 * agent was held up is taken for new. Damaged and foreign bytes are counted, and change nothing.
 */
import { type FlightState, type FlightStateOptions, FlightTracker } from "../flight_state.ts";
import { readFrames } from "./frames.ts";
import { decodeMessage } from "./messages.ts";
import { SequenceGaps } from "./sequence.ts";

export interface MavlinkOptions extends FlightStateOptions {
  /** 1..255: the vehicle. */
  systemId: number;
}

export interface MavlinkCounts {
  datagrams: number;
  /** Frames with the right checksum, of whatever sender. */
  frames: number;
  /** Of those: messages of the vehicle's autopilot that the state is made of. */
  accepted: number;
  /** Starts of frames that were none. */
  rejected: number;
  /** Numbered and never come, over all senders. */
  lost: number;
  disordered: number;
}

const AUTOPILOT = 1;

export class MavlinkSource {
  readonly #systemId: number;
  readonly #tracker: FlightTracker;
  readonly #gaps = new SequenceGaps();
  #lookNs: number | undefined;
  #datagrams = 0;
  #frames = 0;
  #accepted = 0;
  #rejected = 0;

  constructor({ systemId, linkTimeoutNs }: MavlinkOptions) {
    this.#systemId = systemId;
    this.#tracker = new FlightTracker({ linkTimeoutNs });
  }

  /** Whether the datagram held anything of the vehicle's autopilot. Nothing is taken before the first look. Never throws. */
  receive(datagram: Uint8Array): boolean {
    this.#datagrams++;
    const { frames, rejected } = readFrames(datagram);
    this.#rejected += rejected;
    this.#frames += frames.length;
    let ours = false;
    for (const frame of frames) {
      this.#gaps.count(frame);
      if (!frame.known || frame.systemId !== this.#systemId || frame.componentId !== AUTOPILOT) continue;
      const message = decodeMessage(frame.messageId, frame.payload);
      if (message === undefined || this.#lookNs === undefined) continue;
      this.#tracker.accept(message, this.#lookNs);
      this.#accepted++;
      ours = true;
    }
    return ours;
  }

  /** `nowNs` does not go back. */
  look(nowNs: number): FlightState {
    this.#lookNs = nowNs;
    return this.#tracker.state(nowNs);
  }

  get counts(): MavlinkCounts {
    return {
      datagrams: this.#datagrams,
      frames: this.#frames,
      accepted: this.#accepted,
      rejected: this.#rejected,
      lost: this.#gaps.lost,
      disordered: this.#gaps.disordered,
    };
  }
}
