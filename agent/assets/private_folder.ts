/** Which folder is this user's own, where nobody else can put a file? For sockets of engines, and for the unpacked library. */
import { InputError } from "../errors.ts";
import { path } from "../std/mod.ts";

/** `calypte-<user id>` below $TMPDIR, else below /tmp. It may not be there yet. */
export function scratchFolder(): string {
  const named = Deno.env.get("TMPDIR");
  return path.join(named !== undefined && path.isAbsolute(named) ? named : "/tmp", `calypte-${Deno.uid()}`);
}

export interface FolderRule {
  /** What to do if it is not as it must be; default: as for `scratchFolder`. */
  remedy?: string;
  /** Root may use another user's, such as a service's; default: not, as what lies there may be put there for root to run. */
  anyOwnerForRoot?: boolean;
}

/**
 * Makes the folder, for its owner only, unless it is there. Throws `InputError` if it is not this user's, or others may write
 * there.
 */
export function privateFolder(folder: string, rule: FolderRule = {}): void {
  const { remedy = "name another folder with TMPDIR", anyOwnerForRoot = false } = rule;
  const fault = (rule: string, cause?: unknown): InputError =>
    new InputError({ file: folder, field: "", rule, remedy }, cause === undefined ? {} : { cause });
  let info: Deno.FileInfo;
  try {
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
    // A link could lead anywhere a moment later.
    info = Deno.lstatSync(folder);
  } catch (error) {
    throw fault(
      `cannot be made: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`,
      error,
    );
  }
  const mine = info.uid === Deno.uid() || anyOwnerForRoot && Deno.uid() === 0;
  if (info.isDirectory && mine && ((info.mode ?? 0) & 0o022) === 0) return;
  throw fault("must be a folder of this user's, and nobody else may write there");
}
