/** Where does a run hear that its mission shall be read again, and how does it read it? */
import type { MissionFiles } from "../prepare.ts";

export interface ReloadSource {
  /** As read before the run. */
  files: MissionFiles;
  /** Reads and checks everything again, with the same flags and environment. Throws `InputError`. */
  read: () => Promise<MissionFiles>;
  /** Calls `now`, with a reason such as `SIGHUP`, whenever somebody asks; returns how to end that. */
  subscribe: (now: (why: string) => void) => () => void;
  /** Absent: the file is not watched. `first`: its stamp before it was read. */
  watch?: { stamp: () => Promise<string | undefined>; first: string | undefined };
}
