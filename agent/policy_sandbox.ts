/**
 * How does a user's policy run without being trusted?
 *
 * In a Worker without any permission: no file, network, environment, library or process. Its text is handed over as a
 * message and loaded there, so that what it imports is checked as well. Needs Deno's `worker-options` (deno.json has
 * it). What is not guarded is memory taken at one stroke: a policy that allocates gigabytes within one answer can end the process.
 */
import { isExecutable } from "./assets/place.ts";
import { withoutTypes } from "./assets/typescript.ts";
import { decodeText } from "./bundle_reader.ts";
import { InputError, reasonOf, type Where } from "./errors.ts";
import type { FromWorker, ToWorker } from "./policy_worker.ts";
import { path } from "./std/mod.ts";

/** A policy file that was read; nothing of it has run. */
export interface PolicyFile {
  /** As the mission names it. */
  file: string;
  /** A data URL of the module. */
  source: string;
}

export interface SandboxEvents {
  loaded(): void;
  answered(id: number, plan: unknown, tookUs: number): void;
  /** `id` 0: not in answer to anything. */
  failed(id: number, why: string): void;
}

export interface Sandbox {
  /** `id` > 0; exactly one `answered` or `failed` follows, or none if the policy stalls. */
  ask(id: number, snapshot: unknown): void;
  /** No event follows. */
  close(): void;
}

export type OpenSandbox = (policy: PolicyFile, limitMs: number, events: SandboxEvents) => Sandbox;

export const POLICY_FILE_RULE = "must be a path that ends in .js, .mjs or .ts";
const JAVASCRIPT = "text/javascript";
const MEDIA: Readonly<Record<string, string>> = {
  ".js": JAVASCRIPT,
  ".mjs": JAVASCRIPT,
  ".ts": "application/typescript",
};
const MAX_POLICY_BYTES = 2 ** 20;
const MAX_HEAP_BYTES = 256 * 2 ** 20;

export function isPolicyPath(text: string): boolean {
  return Object.hasOwn(MEDIA, path.extname(text));
}

/** Reads a policy file; runs nothing of it. Throws `InputError`. */
export async function readPolicyFile(file: string, where: Where = { file, field: "" }): Promise<PolicyFile> {
  const media = MEDIA[path.extname(file)];
  if (media === undefined) throw new InputError({ ...where, rule: POLICY_FILE_RULE });
  let bytes: Uint8Array;
  try {
    const { size, isFile } = await Deno.stat(file);
    if (!isFile) throw new InputError({ ...where, rule: "must be a plain file" });
    if (size > MAX_POLICY_BYTES) throw new InputError({ ...where, rule: "must be at most 1 MiB" });
    bytes = await Deno.readFile(file);
  } catch (error) {
    if (error instanceof InputError) throw error;
    const name = where.file === file ? "" : `${file} `;
    throw new InputError({ ...where, rule: `${name}${reasonOf(error)}` }, { cause: error });
  }
  const text = decodeText(bytes, where);
  if (media !== JAVASCRIPT && isExecutable()) {
    return { file, source: `data:${JAVASCRIPT},${encodeURIComponent(await withoutTypes(text, where))}` };
  }
  return { file, source: `data:${media},${encodeURIComponent(text)}` };
}

const NOTHING: Deno.PermissionOptionsObject = {
  read: false,
  write: false,
  net: false,
  env: false,
  run: false,
  sys: false,
  ffi: false,
  import: false,
};

/** `limitMs`: of one answer. */
export const openSandbox: OpenSandbox = (policy, limitMs, events) => {
  const worker = new Worker(new URL("./policy_worker.ts", import.meta.url), {
    type: "module",
    name: "policy",
    deno: { permissions: NOTHING },
  });
  let open = true;
  const close = () => {
    open = false;
    worker.terminate();
  };
  let expected = 0;
  let loaded = false;
  worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
    if (!open) return;
    // The policy shares the Worker's voice: what was not asked for is not listened to any longer.
    const kind = data?.kind;
    if (kind === "loaded" && !loaded) {
      loaded = true;
      events.loaded();
    } else if (kind === "failed" && !loaded) {
      events.failed(0, String(data.why));
    } else if ((kind === "answer" || kind === "failed") && expected !== 0 && data.id === expected) {
      expected = 0;
      if (kind === "answer") events.answered(data.id, data.plan, Number(data.tookUs));
      else events.failed(data.id, String(data.why));
    } else {
      // At once: the next message may be the first of millions.
      close();
      events.failed(0, "it sent a message of its own");
    }
  };
  worker.onmessageerror = () => open && events.failed(0, "it sent a message that cannot be read");
  worker.onerror = (event) => {
    event.preventDefault();
    if (open) events.failed(0, `it threw: ${event.message.split("\n")[0]}`);
  };
  const send = (message: ToWorker) => worker.postMessage(message);
  send({ kind: "load", source: policy.source, limitMs, maxHeapBytes: MAX_HEAP_BYTES });
  return {
    ask(id, snapshot) {
      expected = id;
      send({ kind: "ask", id, snapshot });
    },
    close,
  };
};
