import { assertEquals } from "../../assert.ts";
import { Hangup } from "../../../agent/reload/hangup.ts";

function setUp(atStart: boolean) {
  const said: string[] = [];
  let terminal = atStart;
  const hangup = new Hangup({ terminal: () => terminal, gone: () => said.push("gone") });
  return {
    hangup,
    said,
    lose: () => terminal = false,
    listen: () => hangup.subscribe((why) => said.push(why)),
  };
}

for (const terminal of [true, false]) {
  Deno.test(`SIGHUP asks for a reload ${terminal ? "while the terminal is there" : "where there never was a terminal"}`, () => {
    const { hangup, said, listen } = setUp(terminal);
    listen();
    hangup.receive();
    assertEquals(said, ["SIGHUP"]);
  });
}

Deno.test("SIGHUP from a terminal that is gone ends the run", () => {
  const { hangup, said, lose, listen } = setUp(true);
  listen();
  lose();
  hangup.receive();
  assertEquals(said, ["gone"]);
});

Deno.test("what asked before the mission ran is done once it runs, once", () => {
  const { hangup, said, listen } = setUp(false);
  hangup.receive();
  hangup.receive();
  listen()();
  hangup.receive();
  assertEquals(said, ["SIGHUP"]);
  listen();
  assertEquals(said, ["SIGHUP", "SIGHUP"]);
});
