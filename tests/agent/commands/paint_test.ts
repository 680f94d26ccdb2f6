/** Are colours and bars for people only? */
import { assertEquals, assertMatch } from "../../assert.ts";
import type { Screen } from "../../../agent/commands/command.ts";
import { painter, progress } from "../../../agent/commands/paint.ts";
import { main } from "../../../agent/main.ts";
import { writeMission } from "../mission_fixture.ts";

const SCREEN: Screen = { color: true, draws: true, progress: true, columns: () => 40, rows: () => 10 };

function terminal(screen?: Screen) {
  const said = { out: "", err: "" };
  return {
    said,
    terminal: {
      out: (text: string) => void (said.out += text),
      err: (text: string) => void (said.err += text),
      ...(screen === undefined ? {} : { screen }),
    },
  };
}

Deno.test("a verdict has its colour on a terminal, and none with NO_COLOR or into a pipe", () => {
  assertEquals(painter(terminal(SCREEN).terminal)("fail", "x"), "\x1b[31mx\x1b[0m");
  assertEquals(painter(terminal({ ...SCREEN, color: false }).terminal)("fail", "x"), "x");
  assertEquals(painter(terminal().terminal)("fail", "x"), "x");
});

Deno.test("a bar is drawn over itself, fits the line, and is taken away at the end", () => {
  const { said, terminal: to } = terminal(SCREEN);
  {
    using bar = progress(to);
    bar.at(0.5, "a text that is much too long for the line that there is");
  }
  assertMatch(said.err, /^\r.\[K############------------ a text that is\r.\[K$/);
  assertEquals(said.out, "");
});

Deno.test("where standard error is no terminal there is no bar", async () => {
  await using fixture = await writeMission();
  const args = ["simulate", fixture.file, "--for", "1s"];
  const piped = terminal({ ...SCREEN, progress: false });
  assertEquals(await main(args, piped.terminal), 0);
  assertEquals(piped.said.err.includes("\r"), false);
  const shown = terminal({ ...SCREEN, columns: () => 80 });
  assertEquals(await main(args, shown.terminal), 0);
  assertMatch(shown.said.err, /s of virtual time/);
  // The summary is the same, byte for byte.
  assertEquals(shown.said.out, piped.said.out);
});
