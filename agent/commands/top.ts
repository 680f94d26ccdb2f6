/** `calypte top`: a running agent, live. */
import { DEFAULT_LISTEN } from "../config_schema.ts";
import { noAnswer, parseAddress } from "./address.ts";
import { type Command, lines, parseCommand, type Screen, type Terminal } from "./command.ts";
import { eventText } from "./events.ts";
import { zeroMsOf } from "./engine_clock.ts";
import { follow } from "./follow.ts";
import { interrupted } from "./interrupt.ts";
import { type Hello, type State, topFrame } from "./top_frame.ts";

const HELP = `Usage: calypte top [options]

Shows the running agent live, twice a second: critical tasks with their outcomes and response times,
background jobs with their levels, how much of the GPU's idle time is filled, power and temperature, what
happened last. Goes on across restarts of the agent. Ctrl-C ends it. Where standard output is no terminal, one
look is printed.

Options:
  --once               print one look and end
  --address HOST:PORT  where the agent listens; default ${DEFAULT_LISTEN}
  --json               one JSON object for each look, on a line of its own

NO_COLOR leaves the colours out.

Exit status 1 if no agent answers.

Example:
  calypte top
`;

const MOST_EVENTS = 100;
const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";
/** Of one look into a pipe. */
const PIPE: Screen = { color: false, draws: false, progress: false, columns: () => 200, rows: () => 1000 };

export const topCommand: Command = {
  name: "top",
  summary: "show the running agent live",
  help: HELP,
  async run(args, terminal) {
    const { flags, values } = parseCommand("top", args, {
      boolean: ["json", "once"],
      string: ["address"],
      positional: [],
    });
    const address = parseAddress(values.address);
    using stop = interrupted();
    const draws = terminal.screen?.draws === true && !flags.once && !flags.json;
    const view = flags.json
      ? jsonView(terminal)
      : draws
      ? liveView(terminal, terminal.screen!)
      : onceView(terminal);
    const once = flags.once || (!flags.json && !draws);
    let refused: Error | undefined;
    try {
      refused = await watch(address, view, stop.signal, once, !flags.json);
    } finally {
      // Whatever happens, the terminal is as it was.
      view.end();
    }
    if (refused === undefined) return 0;
    terminal.err(noAnswer(address, refused));
    return 1;
  },
};

interface Look {
  hello: Hello;
  state: State;
  events: readonly string[];
  away: string | undefined;
}

interface View {
  show(look: Look): void;
  end(): void;
}

/** Returns why there is nothing to see, or `undefined` once it was told to end. */
async function watch(
  address: string,
  view: View,
  signal: AbortSignal,
  once: boolean,
  rates: boolean,
): Promise<Error | undefined> {
  let hello: (Hello & { nowNs?: number }) | undefined;
  let zeroMs: number | undefined;
  let state: State | undefined;
  let away: string | undefined;
  let looks = 0;
  const events: string[] = [];
  const show = () => {
    if (hello !== undefined && state !== undefined) view.show({ hello, state, events, away });
  };
  const stream = follow({
    ...{ address, page: "/v1/stream", signal },
    away(why) {
      away = `${why.trimEnd()}; waiting for it`;
      show();
    },
  });
  try {
    for (;;) {
      const { done, value } = await stream.next();
      if (done === true) return value;
      away = undefined;
      switch (value.event) {
        case "hello":
          hello = JSON.parse(value.data) as Hello & { nowNs?: number };
          zeroMs = zeroMsOf(hello);
          break;
        case "event":
          events.push(eventText(JSON.parse(value.data), zeroMs));
          if (events.length > MOST_EVENTS) events.shift();
          break;
        case "state":
          state = JSON.parse(value.data);
          // A rate is known from the second on; one look is for reading, one object for programs.
          if (once && looks++ === 0 && rates) break;
          show();
          if (once) return undefined;
          break;
      }
    }
  } finally {
    // The agent's end of the connection is not left open.
    await stream.return(undefined);
  }
}

function jsonView({ out }: Terminal): View {
  return { show: ({ state }) => out(JSON.stringify(state) + "\n"), end() {} };
}

function onceView({ out, screen }: Terminal): View {
  const { color, columns } = screen?.draws === true ? screen : PIPE;
  return {
    show: (look) => out(lines(topFrame({ ...look, color, columns: columns(), rows: PIPE.rows() }))),
    end() {},
  };
}

/** Draws over itself, on the terminal's other page; draws anew when its size changes. */
function liveView({ out }: Terminal, screen: Screen): View {
  let last: Look | undefined;
  const draw = () => {
    if (last === undefined) return;
    const frame = topFrame({ ...last, color: screen.color, columns: screen.columns(), rows: screen.rows() });
    out(`\x1b[H${frame.map((line) => `${line}\x1b[K`).join("\r\n")}\x1b[J`);
  };
  out(ENTER);
  Deno.addSignalListener("SIGWINCH", draw);
  let ended = false;
  return {
    show(look) {
      last = look;
      draw();
    },
    end() {
      if (ended) return;
      ended = true;
      Deno.removeSignalListener("SIGWINCH", draw);
      out(LEAVE);
    },
  };
}
