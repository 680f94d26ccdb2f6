/** Does the example's detector find what stands in frames that nothing was trained on? A few of those of bench/detector_quality.ts. */
import { assert } from "../assert.ts";
import { loadBundle } from "../../agent/bundle.ts";
import { loadReference } from "../../agent/reference.ts";
import { EMPTY, judge, precisionOf, recallOf, type Tally } from "../../tools/detection_quality.ts";
import { renderFrame } from "../../tools/render_frames.ts";

const FLIGHTS = 12, FRAMES = 2, FIRST_SEED = 9000, FIELDS = 6;

Deno.test("precision and recall are at least 0.95 on held-out frames, by what the bundle computes", async () => {
  const dir = new URL("../../examples/bundles/obstacle-detector", import.meta.url).pathname;
  const reference = (await loadReference(await loadBundle(dir)))!;
  let tally: Tally = EMPTY;
  for (let seed = FIRST_SEED; seed < FIRST_SEED + FLIGHTS; seed++) {
    for (let number = 0; number < FRAMES; number++) {
      const { rgb, label } = renderFrame(seed, number);
      const values = new Float32Array((await reference.run(rgb)).slice().buffer);
      const rows = Array.from({ length: values.length / FIELDS }, (_, i) => [
        ...values.subarray(i * FIELDS, (i + 1) * FIELDS),
      ]);
      tally = judge(tally, rows, label.obstacles);
    }
  }
  const [precision, recall] = [precisionOf(tally), recallOf(tally)];
  assert(
    precision >= 0.95 && recall >= 0.95,
    `precision ${precision}, recall ${recall}: ${JSON.stringify(tally)}`,
  );
  assert(tally.found >= 50, `only ${tally.found} obstacles: that says nothing`);
});
