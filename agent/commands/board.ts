/** `calypte board`: which board this is, whether it is supported, and what its sensors say. */
import { EngineError, probe } from "../../ffi/mod.ts";
import { type Board, probeBoard, withDevice } from "../../jetson/board.ts";
import { boardFiles } from "../../jetson/board_files.ts";
import type { TelemetrySample } from "../../jetson/telemetry.ts";
import { openSensors } from "../board_process.ts";
import { InputError } from "../errors.ts";
import { formatBytes, formatPowerW, formatTemperatureC } from "../quantity.ts";
import { type Command, lines, parseCommand } from "./command.ts";
import { openEngine, systemAccess, theLibrary } from "./engines.ts";

const HELP = `Usage: calypte board [--json] [--root DIR]

Prints which board this is, whether Calypte supports it and why, and one sample of its sensors: load, clocks,
temperatures and where the board slows itself down, power, alarms. What cannot be read is unknown, and left
out.

Options:
  --json      one JSON object: board, and sample
  --root DIR  read DIR/sys, DIR/proc, DIR/etc and DIR/var instead of this machine's; no driver is asked then

Exit status: 0 also for a board that is not supported, or where there is none; 2 for bad usage.

Example:
  calypte board --root tests/fixtures/jetson/orin-nano-jp6
`;

export const boardCommand: Command = {
  name: "board",
  summary: "show the board, whether it is supported, and its sensors",
  help: HELP,
  async run(args, terminal) {
    const { flags, values } = parseCommand("board", args, {
      boolean: ["json"],
      string: ["root"],
      positional: [],
    });
    const { root } = values;
    if (root !== undefined) await mustBeFolder(root);
    const sensors = openSensors(root);
    const found = await sensors.board() ??
      await probeBoard(boardFiles(root, root === undefined ? systemAccess() : undefined));
    const sample = await sensors.sample(0);
    await sensors.release();
    const board = root === undefined ? asked(found) : found;
    const { timeNs: _, ...readings } = sample;
    terminal.out(flags.json ? JSON.stringify({ board, sample: readings }) + "\n" : boardText(board, sample));
    return 0;
  },
};

async function mustBeFolder(root: string): Promise<void> {
  const stat = await Deno.stat(root).catch(() => undefined);
  if (stat?.isDirectory !== true) {
    throw new InputError({ file: root, field: "--root", rule: "must be a folder" });
  }
}

/** With what the driver says, if the library is there and finds a GPU. */
function asked(board: Board): Board {
  try {
    return withDevice(board, { ...probe(theLibrary(), "cuda"), ...attributes() });
  } catch (error) {
    if (error instanceof InputError || error instanceof EngineError) return board;
    throw error;
  }
}

/** An engine finds out more than a look at the device does, where there is room for one. */
function attributes(): { attributes?: Readonly<Record<string, boolean>> } {
  try {
    using engine = openEngine({ backend: "cuda", seed: 1, reserveSms: 0 });
    return { attributes: Object.fromEntries(engine.features().map(({ name, on }) => [name, on])) };
  } catch (error) {
    if (error instanceof InputError || error instanceof EngineError) return {};
    throw error;
  }
}

/** Tables for people. */
export function boardText(board: Board, sample: TelemetrySample): string {
  const { gpu, cuda, ptx, driver } = board;
  const supported = board.supported === undefined ? "unknown" : board.supported ? "yes" : "no";
  const table = (version: { version: string; from: string } | undefined) =>
    version && (version.from === "driver" ? version.version : `${version.version} (by a table of releases)`);
  const known = (rows: [string, string | undefined][]) =>
    rows.filter(([, text]) => text !== undefined && text !== "").map(([name, text]) =>
      `${name.padEnd(16)}${text}`
    );
  const zones = Object.entries(sample.temperaturesCelsius).map(([zone, celsius]) => {
    const trip = sample.tripPointsCelsius[zone];
    return `${zone} ${formatTemperatureC(celsius)}${
      trip === undefined ? "" : ` (slows down at ${formatTemperatureC(trip)})`
    }`;
  });
  const rails = Object.entries(sample.railsWatts).map(([rail, watts]) => `${rail} ${formatPowerW(watts)}`);
  const clocks = Object.entries(sample.clocksHz).map(([name, hz]) => `${name} ${Math.round(hz / 1e6)} MHz`);
  const { memoryUsedBytes, memoryTotalBytes, gpuLoad, fanPermille } = sample;
  return lines([
    ...known([
      ["board", board.model ?? (board.kind === "none" ? "none" : undefined)],
      ["supported", `${supported}: ${board.because}`],
      ["GPU", [gpu?.name, gpu?.chip, gpu?.arch].filter((text) => text !== undefined).join(", ")],
      [
        "Jetson Linux",
        board.l4t && `${board.l4t}${board.jetpack === undefined ? "" : `, JetPack ${board.jetpack}`}`,
      ],
      ["kernel", board.kernel],
      ["driver", driver],
      ["newest CUDA", table(cuda)],
      ["newest PTX", table(ptx)],
      [
        "attributes",
        board.attributes &&
        Object.entries(board.attributes).filter(([, on]) => on).map(([name]) => name).join(", "),
      ],
      ["memory", board.memoryBytes === undefined ? undefined : formatBytes(board.memoryBytes)],
    ]),
    "",
    ...known([
      ["GPU load", gpuLoad === undefined ? undefined : `${Math.round(gpuLoad * 100)} %`],
      ["clocks", clocks.join(", ")],
      ["temperatures", zones.join(", ")],
      ["power", sample.powerWatts === undefined ? undefined : formatPowerW(sample.powerWatts)],
      ["rails", rails.join(", ")],
      ["power mode", sample.powerMode],
      [
        "memory used",
        memoryUsedBytes === undefined || memoryTotalBytes === undefined
          ? undefined
          : `${formatBytes(memoryUsedBytes)} of ${formatBytes(memoryTotalBytes)}`,
      ],
      ["fan", fanPermille === undefined ? undefined : `${Math.round(fanPermille / 10)} %`],
      [
        "alarms",
        sample.overCurrentEvents === undefined ? undefined : `${sample.overCurrentEvents} since the start`,
      ],
    ]),
  ]);
}
