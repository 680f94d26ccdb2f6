/**
 * What may the executable do, and why? Deno holds its TypeScript to this; native code is held to what the service unit allows
 * (jetson/systemd/). tools/compile.ts builds exactly these in, and `calypte version --permissions` lists them.
 */
import { isExecutable } from "./place.ts";

export interface Permission {
  /** As Deno's command line has it. */
  flag: string;
  why: string;
}

export const PERMISSIONS: readonly Permission[] = [
  { flag: "--allow-read", why: "missions, bundles and frames lie wherever the mission says" },
  { flag: "--allow-write", why: "so do results, and state, cache and sockets in this user's folders" },
  { flag: "--allow-env", why: "settings such as CALYPTE_STATE; the engine's process gets the same ones" },
  {
    flag: "--allow-net=127.0.0.1,localhost,[::1],0.0.0.0,[::]",
    why:
      "serves its status, and asks for it, on this machine; 0.0.0.0 where the mission says so; calls no other host",
  },
  {
    flag: "--allow-run=/proc/self/exe",
    why: "itself, for the processes of engine, workers and sensors; no other program",
  },
  { flag: "--allow-sys=uid,statfs", why: "whose folders those are, and how much room is left there" },
  {
    flag: "--allow-ffi",
    why:
      "loads its native library, once, and NVML in the process that reads sensors; given back as soon as they are open",
  },
];

/** The library is open: in the executable no other one is opened from now on, by whatever code. */
export function keepToLibrary(): void {
  if (isExecutable()) Deno.permissions.revokeSync({ name: "ffi" });
}

/** For the process that reads sensors: its libraries are open, and from now on it may read files, and no more. */
export function keepReading(): void {
  for (const name of ["write", "env", "net", "run", "sys", "ffi"] as const) {
    Deno.permissions.revokeSync({ name });
  }
}

/** For a process that runs native code only from now on. The library is open. */
export function keepNothing(): void {
  if (!isExecutable()) return;
  for (const name of ["read", "write", "env", "net", "run", "sys", "ffi"] as const) {
    Deno.permissions.revokeSync({ name });
  }
}
