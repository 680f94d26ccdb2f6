/** How many frames were lost on the way, by the sequence numbers of each component? */
import type { Frame } from "./frames.ts";

/** A step of more than this forward is one backward. */
const HALF = 128;
/** UDP may change the order, but not over more frames than this. */
const NEAR = 8;
/** More senders than any vehicle has; what is beyond is not counted. */
const MAX_SENDERS = 64;

export class SequenceGaps {
  /** Frames that were numbered and did not come, of all senders. */
  lost = 0;
  /** Frames that came twice or behind a later one. */
  disordered = 0;
  readonly #last = new Map<number, number>();

  /** Of frames in the order of their coming. */
  count({ systemId, componentId, sequence }: Frame): void {
    const sender = systemId << 8 | componentId;
    const last = this.#last.get(sender);
    if (last === undefined) {
      if (this.#last.size < MAX_SENDERS) this.#last.set(sender, sequence);
      return;
    }
    const step = (sequence - last) & 0xff;
    const back = (last - sequence) & 0xff;
    if (back <= NEAR) {
      this.disordered++;
      // What comes late was counted as lost when the one behind it came.
      if (back > 0) this.lost = Math.max(0, this.lost - 1);
      return;
    }
    // Far back: the component was restarted.
    if (step <= HALF) this.lost += step - 1;
    this.#last.set(sender, sequence);
  }
}
