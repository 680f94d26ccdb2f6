import { probeBoard } from "../../jetson/board.ts";
import { boardFiles } from "../../jetson/board_files.ts";
import {
  hottestCelsius,
  marginToTripCelsius,
  openTelemetry,
  type TelemetrySample,
} from "../../jetson/telemetry.ts";
import { openNvml } from "../../jetson/telemetry_nvml.ts";
import { assert, assertEquals } from "../assert.ts";
import { damaged, fixture, FIXTURES, MemoryFiles } from "./board_fixture.ts";

for (const name of FIXTURES) {
  Deno.test(`the sensors in ${name} say what its expected JSON says`, async () => {
    const { root, expected } = await fixture(name);
    const telemetry = openTelemetry({ root });
    assertEquals(await telemetry.sample(1), expected.sample);
    telemetry.close();
  });
}

/** Every number is one that a board could have. */
function checkPlausible(sample: TelemetrySample, seed: number): void {
  const say = `seed ${seed}: ${JSON.stringify(sample)}`;
  const within = (value: number | undefined, min: number, max: number) =>
    assert(value === undefined || (value >= min && value <= max), say);
  within(sample.gpuLoad, 0, 1);
  within(sample.powerWatts, 0, 2000);
  within(sample.fanPermille, 0, 1000);
  within(sample.memoryUsedBytes, 0, 2 ** 50);
  within(sample.overCurrentEvents, 0, 2 ** 53);
  for (const value of Object.values(sample.clocksHz)) within(value, 1, 20e9);
  for (const value of Object.values(sample.temperaturesCelsius)) within(value, -60, 200);
  for (const value of Object.values(sample.tripPointsCelsius)) within(value, 50, 200);
}

Deno.test("files that cannot be read, lie or vanish: no sample fails, and no nonsense is passed on", async () => {
  let readings = 0;
  for (const name of FIXTURES) {
    const whole = await MemoryFiles.of(name);
    for (let seed = 0; seed < 60; seed++) {
      const files = damaged(whole, seed, [0.05, 0.3, 0.9][seed % 3]!);
      await probeBoard(files);
      const telemetry = openTelemetry({ files });
      for (let count = 0; count < 3; count++) {
        const sample = await telemetry.sample(count);
        checkPlausible(sample, seed);
        readings += Object.keys(sample.temperaturesCelsius).length;
      }
      telemetry.close();
    }
  }
  assert(readings > 500, "the damage must not be so great that nothing is tested");
});

Deno.test("a tree with folders for files, links that lead nowhere and files that are too long reads as unknown", async () => {
  const root = await Deno.makeTempDir();
  try {
    const zone = `${root}/sys/class/thermal/thermal_zone0`;
    await Deno.mkdir(`${zone}/temp`, { recursive: true });
    await Deno.writeTextFile(`${zone}/type`, "gpu-thermal\n");
    await Deno.symlink("nowhere", `${root}/sys/class/thermal/thermal_zone1`);
    await Deno.mkdir(`${root}/proc/device-tree`, { recursive: true });
    await Deno.writeTextFile(`${root}/proc/device-tree/model`, "x".repeat(100_000));
    await Deno.writeFile(`${root}/proc/device-tree/compatible`, new Uint8Array([255, 254, 0, 128]));
    const sample = await openTelemetry({ root }).sample(5);
    assertEquals(sample, {
      timeNs: 5,
      clocksHz: {},
      temperaturesCelsius: {},
      tripPointsCelsius: {},
      railsWatts: {},
    });
    assertEquals((await probeBoard(boardFiles(root))).kind, "none");
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("a sensor that vanishes is unknown from then on, and one that comes late is found", async () => {
  const files = await MemoryFiles.of("orin-nano-jp6");
  const load = "/sys/class/devfreq/17000000.gpu/device/load";
  const node = "/sys/class/devfreq/17000000.gpu/device/of_node/name";
  const gone = [files.files.get(load)!, files.files.get(node)!] as const;
  files.files.delete(load);
  files.files.delete(node);
  const telemetry = openTelemetry({ files });
  assertEquals((await telemetry.sample(1)).gpuLoad, undefined);
  files.files.set(load, gone[0]);
  files.files.set(node, gone[1]);
  for (let count = 0; count < 60; count++) await telemetry.sample(count);
  assertEquals((await telemetry.sample(99)).gpuLoad, 0.312);
  files.files.delete("/sys/class/hwmon/hwmon1/curr1_input");
  const sample = await telemetry.sample(100);
  assertEquals([sample.powerWatts, sample.railsWatts.VDD_IN], [undefined, undefined]);
  assertEquals(sample.railsWatts.VDD_SOC, 1.99);
});

Deno.test("a board without a measured input has the sum of its rails, and none if one rail is missing", async () => {
  const files = await MemoryFiles.of("agx-orin-jp6");
  const telemetry = openTelemetry({ files });
  assertEquals((await telemetry.sample(1)).powerWatts, 9.893);
  files.files.set("/sys/class/hwmon/hwmon3/in2_input", "garbage");
  const sample = await telemetry.sample(2);
  assertEquals([sample.powerWatts, Object.keys(sample.railsWatts).length], [undefined, 3]);
});

Deno.test("alarms are unknown unless every counter was read, as a sum that lacks one would seem to go back", async () => {
  const files = await MemoryFiles.of("agx-orin-jp6");
  const telemetry = openTelemetry({ files });
  assertEquals((await telemetry.sample(1)).overCurrentEvents, 17);
  files.files.set("/sys/class/hwmon/hwmon5/oc2_event_cnt", "");
  assertEquals((await telemetry.sample(2)).overCurrentEvents, undefined);
});

Deno.test("two calls at once take one sample, and after close there is nothing", async () => {
  let reads = 0;
  const telemetry = openTelemetry({
    files: { text: () => Promise.resolve((reads++, undefined)), list: () => Promise.resolve([]) },
  });
  const [first, second] = await Promise.all([telemetry.sample(1), telemetry.sample(2)]);
  assertEquals([first.timeNs, second], [1, first]);
  const before = reads;
  telemetry.close();
  assertEquals(Object.keys((await telemetry.sample(3)).clocksHz), []);
  assertEquals(reads, before);
});

Deno.test("files and NVML together: files win key by key, memory is the GPU's", async () => {
  const { root } = await fixture("desktop");
  let closed = 0;
  const nvml = {
    driver: "550.54.15",
    cuda: "12.4",
    sample: (timeNs: number) =>
      Promise.resolve({
        timeNs,
        gpuLoad: 0.5,
        clocksHz: { gpu: 2e9, cpu0: 1 },
        temperaturesCelsius: { gpu: 61 },
        tripPointsCelsius: { gpu: 90 },
        powerWatts: 70,
        railsWatts: { GPU: 70 },
        memoryTotalBytes: 12e9,
        memoryUsedBytes: 1e9,
      }),
    close: () => closed++,
  };
  const telemetry = openTelemetry({ root, nvml });
  const sample = await telemetry.sample(1);
  assertEquals([sample.powerWatts, sample.gpuLoad, sample.memoryTotalBytes], [70, 0.5, 12e9]);
  assertEquals([sample.clocksHz.gpu, sample.clocksHz.cpu0], [2e9, 3.6e9]);
  assertEquals([hottestCelsius(sample), marginToTripCelsius(sample)], [61, 29]);
  telemetry.close();
  telemetry.close();
  assertEquals(closed, 1);
});

Deno.test("a sensor that throws, or NVML that fails, costs only its own readings", async () => {
  const nvml = { driver: "", cuda: "", sample: () => Promise.reject(new Error("gone")), close() {} };
  const files = { text: () => Promise.reject(new Error("no")), list: () => Promise.reject(new Error("no")) };
  const sample = await openTelemetry({ files, nvml }).sample(7);
  assertEquals([sample.timeNs, sample.clocksHz], [7, {}]);
});

Deno.test("the hottest place is the chip's junction, not the board's; nothing known is nothing said", async () => {
  const { root } = await fixture("agx-orin-jp6");
  const sample = await openTelemetry({ root }).sample(1);
  assertEquals(
    hottestCelsius({ ...sample, temperaturesCelsius: { ...sample.temperaturesCelsius, tboard: 99 } }),
    56.031,
  );
  assertEquals(hottestCelsius({ ...sample, temperaturesCelsius: {} }), undefined);
  assertEquals(marginToTripCelsius({ ...sample, tripPointsCelsius: {} }), undefined);
});

Deno.test("a library that is not there, or is not NVML, is none", () => {
  assertEquals(openNvml(["libcalypte-no-such-library.so.1", "libm.so.6"]), undefined);
});
