/**
 * Which sensors does a run have, who else uses its GPU, and are the GPU's clocks held?
 *
 * On a GPU: the board's own sensors, and clocks that do not fall while the mission runs (jetson/power_clocks.ts; CALYPTE_CLOCKS=off leaves
 * them alone). On the simulator: a modelled board, and never the sensors of the machine that it happens to run on.
 */
import type { Backend } from "../ffi/mod.ts";
import { openSensors, PATIENCE_MS, within } from "./board_process.ts";
import { type ForeignSource, openForeign } from "./foreign/foreign.ts";
import { PolledTelemetry, type SampleSource } from "./board_power.ts";
import { modelledBoard } from "./board_simulated.ts";
import type { Mission } from "./config.ts";
import type { Logger } from "./log.ts";

export interface OpenBoardOptions {
  mission: Pick<Mission, "conditions" | "stopBackgroundAbove">;
  backend: Backend;
  log: Logger;
  /** On the engine's clock. */
  nowNs: number;
  /** Default: of this machine. */
  root?: string;
  /** `CALYPTE_CLOCKS=off`. Default: as the environment says. */
  holdsClocks?: boolean;
}

export interface RunBoard {
  source: SampleSource | undefined;
  /** Who else uses the GPU; `undefined`: nobody can use a simulated one. */
  foreign: ForeignSource | undefined;
  /** Puts the clocks back. Never rejects. */
  close(): Promise<void>;
}

/** Never rejects: a machine without sensors is one of which nothing is known. */
export async function openBoard(options: OpenBoardOptions): Promise<RunBoard> {
  const { mission, backend, log, nowNs, root } = options;
  if (backend === "sim") {
    return {
      source: modelledBoard(mission, log),
      foreign: undefined,
      close: () => Promise.resolve(),
    };
  }
  const sensors = openSensors(root);
  const source = new PolledTelemetry(sensors);
  await within(source.begin(nowNs), PATIENCE_MS);
  const holdsClocks = options.holdsClocks ?? Deno.env.get("CALYPTE_CLOCKS") !== "off";
  const hold = holdsClocks ? await within(sensors.hold(), PATIENCE_MS) : undefined;
  const fields = { event: "clocks" };
  if (typeof hold === "string") {
    log.warn(
      `the GPU's clocks are not held, so a governor may slow critical work down when background stops: ${hold}; ` +
        "give leave to write it, run jetson_clocks first, or set CALYPTE_CLOCKS=off",
      fields,
    );
  } else if (hold !== undefined) {
    for (const [folder, hz] of Object.entries(hold)) {
      log.info(`the GPU's clock is held at ${Math.round(hz / 1e6)} MHz: ${folder}`, fields);
    }
  }
  return {
    source,
    foreign: await openForeign(sensors, log),
    async close() {
      source.close();
      await sensors.release();
    },
  };
}
