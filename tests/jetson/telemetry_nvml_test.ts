import { emptySample } from "../../jetson/telemetry.ts";
import { openNvml } from "../../jetson/telemetry_nvml.ts";
import { assert, assertEquals } from "../assert.ts";

/** Builds a library that answers as NVML does. */
async function withStub(test: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/libnvidia-ml.so.1`;
    const source = new URL("nvml_stub.c", import.meta.url).pathname;
    const { success, stderr } = await new Deno.Command("cc", {
      args: ["-Wall", "-Werror", "-shared", "-fPIC", "-o", path, source],
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    await test(path);
  } finally {
    Deno.env.delete("CALYPTE_TEST_NVML");
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("NVML's numbers arrive in the units of a sample, and the library is closed once", () =>
  withStub(async (path) => {
    const nvml = openNvml(["libcalypte-no-such-library.so.1", path]);
    assert(nvml !== undefined);
    assertEquals([nvml.driver, nvml.cuda], ["580.65.06", "13.1"]);
    assertEquals(await nvml.sample(7), {
      timeNs: 7,
      gpuLoad: 0.83,
      clocksHz: { gpu: 1.98e9, emc: 3.201e9 },
      temperaturesCelsius: { gpu: 61 },
      tripPointsCelsius: { gpu: 95 },
      powerWatts: 123.456,
      railsWatts: { GPU: 123.456 },
      memoryTotalBytes: 6 * 2 ** 32,
      memoryUsedBytes: 5 * 2 ** 32,
      fanPermille: 420,
    });
    nvml.close();
    nvml.close();
    assertEquals(await nvml.sample(8), emptySample(8));
  }));

Deno.test("what NVML does not support is unknown, whatever stands in its answer", () =>
  withStub(async (path) => {
    Deno.env.set("CALYPTE_TEST_NVML", "poor");
    const nvml = openNvml([path])!;
    assertEquals(await nvml.sample(7), emptySample(7));
    nvml.close();
  }));

Deno.test("a device that is not there is none, and the library is left as it was", () =>
  withStub(async (path) => {
    assertEquals(openNvml([path], 3), undefined);
    const nvml = openNvml([path])!;
    assertEquals((await nvml.sample(1)).powerWatts, 123.456, "a second one still counts as the first");
    nvml.close();
  }));
