/**
 * How does a TypeScript program give frames to Calypte? Writes the frames of a folder into a ring, in a loop.
 *
 *   .tools/deno run -A examples/ring/producer.ts /dev/shm/calypte-camera [count] [rate in Hz]
 */
import { loadFrames } from "../../agent/frames.ts";
import { libraryPath, openLibrary, RingWriter } from "../../ffi/mod.ts";

const [path = "/dev/shm/calypte-camera", count = "0", rate = "30"] = Deno.args;
const WIDTH = 640;
const HEIGHT = 360;
const frameBytes = WIDTH * HEIGHT * 3;
const frames = await loadFrames(new URL("../frames", import.meta.url).pathname, frameBytes);

using library = openLibrary(libraryPath());
using ring = RingWriter.create(library, path, {
  slots: 4,
  slotBytes: frameBytes,
  format: "rgb8",
  width: WIDTH,
  height: HEIGHT,
  stride: WIDTH * 3,
  expiryNs: 500e6,
});
for (let number = 0; Number(count) === 0 || number < Number(count); number++) {
  const at = number % frames.count * frameBytes;
  ring.write(frames.data.slice(at, at + frameBytes), { number, sensorNs: library.nowNs() });
  await new Promise((resolve) => setTimeout(resolve, 1000 / Number(rate)));
}
