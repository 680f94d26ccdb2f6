/**
 * What can be asked of a running agent over HTTP?
 *
 * `/healthz`, `/readyz`, `/v1/status`, `/v1/safe-mode`, `/metrics`, and requests for critical tasks whose source is `api`. Reads the
 * engine through a function and keeps nothing. It opens no socket itself: tests call `app.request()`.
 */
import { Hono } from "hono";
import type { DeviceInfo, EngineSnapshot, Feature } from "../ffi/engine.ts";
import { nested } from "./metric_counts.ts";
import {
  AGENT_METRICS,
  BACKGROUND_METRICS,
  CRITICAL_METRICS,
  type MetricsView,
  readAll,
  type StoreView,
} from "./metrics.ts";
import type { StepReport } from "./load.ts";
import { InputError } from "./errors.ts";
import { addSafeModePages, type SafeModeControl, safeModeStatus } from "./safe_mode.ts";
import type { SafeModeRule } from "../ffi/safe_mode.ts";
import { prometheusText } from "./prometheus.ts";

/** One task or job as the status shows it. */
export interface WorkInfo {
  name: string;
  /** SHA-256 of its bundle, in hexadecimal. */
  bundle: string;
  steps: readonly StepReport[];
}

export interface StatusOptions {
  version: string;
  mission: string;
  /** Fixed once loaded; `undefined` while the agent loads. */
  loaded: () =>
    | { device: DeviceInfo; features: readonly Feature[]; tasks: WorkInfo[]; jobs: WorkInfo[] }
    | undefined;
  /** Throws `EngineError` if the engine does not answer. `undefined` while the agent loads. */
  view: () => MetricsView | undefined;
  /** Submits one request of an `api` task. */
  submit: (task: string, input: Uint8Array) => SubmitOutcome;
  safeMode: Omit<SafeModeControl, "status"> & { rule: SafeModeRule | undefined };
}

export type SubmitOutcome =
  | { kind: "accepted"; number: number }
  | { kind: "busy" }
  | { kind: "unknown-task" }
  | { kind: "wrong-size"; expectedBytes: number };

/** More than this is not read. */
const MAX_BODY_BYTES = 64 * 2 ** 20;

export function createStatusApp(options: StatusOptions): Hono {
  const app = new Hono();

  app.get("/healthz", (c) => {
    const state = options.view()?.snapshot.state ?? "loading";
    return state === "fault" ? c.text("fault\n", 503) : c.text("ok\n");
  });

  app.get("/readyz", (c) => {
    const state = options.view()?.snapshot.state ?? "loading";
    return c.text(`${state}\n`, state === "ready" ? 200 : 503);
  });

  app.get("/metrics", (c) => {
    const view = options.view();
    if (view === undefined) return c.text("loading\n", 503);
    return c.text(prometheusText(view), 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
  });

  app.get("/v1/status", (c) => {
    const { version, mission } = options;
    const view = options.view();
    const loaded = options.loaded();
    if (view === undefined || loaded === undefined) return c.json({ version, mission, state: "loading" });
    const safeMode = safeModeStatus(view.snapshot, options.safeMode.rule);
    return c.json({ version, mission, ...statusOf(view), safeMode, ...describe(view, loaded) });
  });

  addSafeModePages(app, {
    ...options.safeMode,
    status: () => {
      const view = options.view();
      return view && safeModeStatus(view.snapshot, options.safeMode.rule);
    },
  });

  app.post("/v1/critical/:task", async (c) => {
    const task = c.req.param("task");
    const input = await readBody(c.req.raw);
    if (input === undefined) return c.json({ error: `a request has at most ${MAX_BODY_BYTES} bytes` }, 413);
    const outcome = options.submit(task, input);
    switch (outcome.kind) {
      case "accepted":
        return c.json({ number: outcome.number }, 202);
      case "busy":
        return c.json({ error: "no free slot; the request is counted as dropped" }, 503);
      case "unknown-task":
        return c.json({ error: `no critical task '${task}' takes requests over HTTP` }, 404);
      case "wrong-size":
        return c.json({ error: `an input of '${task}' has ${outcome.expectedBytes} bytes` }, 400);
    }
  });

  app.notFound((c) =>
    c.json({
      error: "no such page",
      pages: ["/healthz", "/readyz", "/v1/status", "/v1/safe-mode", "/metrics"],
    }, 404)
  );
  app.onError((error, c) => c.json({ error: error.message.split("\n")[0] }, 503));
  return app;
}

/** `undefined`: it is too long, whatever its header says. */
async function readBody(request: Request): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.byteLength;
    if (size > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  const body = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.byteLength;
  }
  return body;
}

function statusOf(view: MetricsView): Record<string, unknown> {
  const { snapshot } = view;
  return {
    state: snapshot.state,
    backend: snapshot.backend,
    timing: snapshot.backend === "sim" ? "simulated" : "measured",
    planId: snapshot.planId,
    holds: snapshot.holds,
    agent: readAll(AGENT_METRICS, view),
    ...(view.store === undefined ? {} : { store: describeStore(view.store) }),
  };
}

function describeStore({ total, ...store }: StoreView): Record<string, unknown> {
  return { ...store, sinceFirstStart: nested(total) };
}

function describe(
  { snapshot }: MetricsView,
  loaded: NonNullable<ReturnType<StatusOptions["loaded"]>>,
): Record<string, unknown> {
  const { device, features, tasks, jobs } = loaded;
  return {
    device,
    features,
    critical: byName(tasks, (id) => readStats(snapshot, "tasks", id)),
    background: byName(jobs, (id) => readStats(snapshot, "jobs", id)),
  };
}

function byName(
  works: readonly WorkInfo[],
  stats: (id: number) => Record<string, unknown>,
): Record<string, unknown> {
  return Object.fromEntries(
    works.map(({ name, bundle, steps }, id) => [name, { bundle, ...stats(id), steps }]),
  );
}

function readStats(snapshot: EngineSnapshot, list: "tasks" | "jobs", id: number): Record<string, unknown> {
  if (list === "tasks") {
    const task = snapshot.tasks[id];
    return task === undefined ? {} : readAll(CRITICAL_METRICS, task);
  }
  const job = snapshot.jobs[id];
  return job === undefined ? {} : readAll(BACKGROUND_METRICS, job);
}

/** Binds the address now, so that a taken port is found before anything runs. Throws `InputError`. */
export function serveStatus(
  fetch: (request: Request) => Response | Promise<Response>,
  address: { hostname: string; port: number },
  missionFile: string,
): { url: string; close: () => Promise<void> } {
  try {
    const server = Deno.serve({ ...address, onListen: () => {} }, fetch);
    const host = address.hostname.includes(":") ? `[${address.hostname}]` : address.hostname;
    // Idle keep-alive connections may stay open: closing does not wait for them for ever.
    return { url: `http://${host}:${server.addr.port}`, close: () => server.shutdown() };
  } catch (error) {
    const { hostname, port } = address;
    const why = error instanceof Deno.errors.AddrInUse
      ? "is in use already"
      : `cannot be listened on: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`;
    throw new InputError({
      file: missionFile,
      field: "http.listen",
      rule: `${hostname}:${port} ${why}`,
      remedy: error instanceof Deno.errors.NotCapable
        ? `allow it with CALYPTE_ALLOW_NET=${hostname}:${port}`
        : "choose another port, port 0 for any free one, or `listen: false`",
    }, { cause: error });
  }
}
