/**
 * How does a TypeScript program read Calypte's outputs, and learn that the engine is gone? Prints one line for each.
 *
 *   .tools/deno run -A examples/ring/consumer.ts /dev/shm/calypte-detections [count]
 *
 * Ends with 0 after `count` outputs, with 3 when the engine's heartbeat ended.
 */
import { libraryPath, openLibrary, RingReader } from "../../ffi/mod.ts";

const [path = "/dev/shm/calypte-detections", count = "0"] = Deno.args;
using library = openLibrary(libraryPath());
using ring = RingReader.open(library, path);
let lived = ring.alive();
for (let taken = 0; Number(count) === 0 || taken < Number(count);) {
  const record = ring.wait(100e6) ? ring.read() : undefined;
  if (record === undefined) {
    const alive = ring.alive();
    if (lived && !alive) {
      console.error("consumer: the engine is gone");
      Deno.exit(3);
    }
    lived ||= alive;
    continue;
  }
  taken++;
  const { number, sensorNs, doneNs, late, simulated, payload } = record;
  const notes = `${late ? ", late" : ""}${simulated ? ", simulated" : ""}`;
  const afterMs = sensorNs === 0 ? 0 : (doneNs - sensorNs) / 1e6;
  console.log(
    `request ${number}: ${afterMs.toFixed(3)} ms after the sensor${notes}, ${payload.length} bytes`,
  );
}
