import { assertEquals } from "../assert.ts";
import type { Logger } from "../../agent/log.ts";
import { HEARTBEAT_NS, ServiceManager } from "../../agent/service_manager.ts";

function scene(notify?: (state: string) => boolean) {
  const said: string[] = [];
  const warned: string[] = [];
  const log = { info() {}, error() {}, warn: (text: string) => warned.push(text) } as unknown as Logger;
  const manager = new ServiceManager({ notify: notify ?? ((state) => said.push(state) > 0), log });
  return { manager, said, warned };
}

Deno.test("the service manager hears READY once tasks are warm, then a heartbeat a second while plans are made", () => {
  const { manager, said } = scene();
  manager.planned(0);
  assertEquals(said, [], "nothing before it is ready");
  manager.ready();
  for (let nowNs = 0; nowNs < 3 * HEARTBEAT_NS; nowNs += HEARTBEAT_NS / 10) manager.planned(nowNs);
  assertEquals(said, ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]);
});

Deno.test("no heartbeat comes without a plan, nor once the run is stopping", () => {
  const { manager, said } = scene();
  manager.ready();
  manager.stopping();
  manager.planned(5 * HEARTBEAT_NS);
  assertEquals(said, ["READY=1", "STOPPING=1"]);
});

Deno.test("a service manager that cannot be reached is given up with one warning, and the run goes on", () => {
  let calls = 0;
  const { manager, warned } = scene(() => {
    calls++;
    throw new Error("no such socket");
  });
  manager.ready();
  manager.planned(0);
  assertEquals([calls, warned.length], [1, 1]);
});

Deno.test("where nobody asked to be told, nobody is asked again", () => {
  let calls = 0;
  const { manager, warned } = scene(() => {
    calls++;
    return false;
  });
  manager.ready();
  manager.planned(0);
  assertEquals([calls, warned.length], [1, 0]);
});
