/**
 * Which device does the simulator stand for? A profile: the times of a device as JSON, measured or guessed.
 *
 * Those that come with Calypte are in profiles/; any other is a file of the same shape. Without one the simulator keeps
 * its own times: an H200's on 16 SMs, with timers that are never late. That stays the default because it is the same for
 * everybody's bundles and tests, and because which device a mission is for cannot be guessed from the mission.
 */
import { z } from "zod";
import type { SimProfile } from "../ffi/engine.ts";
import { assetPath } from "./assets/place.ts";
import { closest, InputError } from "./errors.ts";
import { parseWith, strictObject } from "./schema.ts";

export const PROFILE_FORMAT = "calypte-profile/1";
export const PROFILE_NAMES: readonly string[] = ["h200", "orin-agx", "orin-nano"];
const DEFAULT_NAME = "built-in";

const ns = z.int().min(0).max(1e12);
const ppm = z.int().min(0).max(200_000);
const profileSchema = strictObject({
  format: z.literal(PROFILE_FORMAT),
  name: z.string().min(1).max(63),
  estimate: z.boolean(),
  /** Where each figure comes from. */
  notes: z.record(z.string(), z.string()).default({}),
  sms: z.int().min(1).max(4096),
  launchNs: ns,
  launchJitterNs: ns,
  gateWriteNs: ns,
  blockDrainNs: ns,
  loopDrainNs: ns,
  resumeNs: ns,
  resumeJitterNs: ns,
  followNs: ns,
  skipEntryNs: ns,
  skipStepNs: ns,
  copyBaseNs: ns,
  copyBytesPerUs: z.int().min(1).max(1e9),
  timerP50Ns: ns,
  timerP99Ns: ns,
  criticalDeviationPpm: ppm,
  stepDeviationPpm: ppm,
  clockPermille: z.int().min(1).max(100_000),
  integrated: z.boolean().default(false),
}).refine(({ timerP50Ns, timerP99Ns }) => timerP99Ns >= timerP50Ns, {
  path: ["timerP99Ns"],
  error: "must be at least timerP50Ns",
});

/** What results say of the profile. */
export interface ProfileName {
  name: string;
  estimate: boolean;
}

/** Of a run without a profile. */
export const BUILT_IN: ProfileName = { name: DEFAULT_NAME, estimate: false };

/** A name from `PROFILE_NAMES`, or a path, which has a slash or a dot in it. Throws `InputError`. */
export async function readProfile(nameOrFile: string): Promise<SimProfile> {
  const file = profileFile(nameOrFile);
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new InputError({ file: nameOrFile, field: "", rule: `the profile cannot be read: ${why}` }, {
      cause,
    });
  }
  return parseProfile(text, nameOrFile);
}

function profileFile(nameOrFile: string): string {
  if (PROFILE_NAMES.includes(nameOrFile)) return assetPath(`agent/profiles/${nameOrFile}.json`);
  if (/[./]/.test(nameOrFile)) return nameOrFile;
  const near = closest(nameOrFile, PROFILE_NAMES);
  throw new InputError({
    file: "",
    field: "--profile",
    rule: `must be ${PROFILE_NAMES.join(", ")} or a file such as ./mine.json, not ${nameOrFile}`,
    ...(near === undefined ? {} : { remedy: `did you mean ${near}?` }),
  });
}

/** `file` is for messages. Throws `InputError`. */
export function parseProfile(text: string, file: string): SimProfile {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (cause) {
    throw new InputError({ file, field: "", rule: `is not JSON: ${(cause as Error).message}` }, { cause });
  }
  const { format: _format, notes: _notes, ...profile } = parseWith(profileSchema, data, file);
  return profile;
}
