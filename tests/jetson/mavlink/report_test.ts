import { assertEquals } from "@std/assert";
import { encodeComputerStatus } from "../../../jetson/mavlink/report.ts";
import { encodeFrame as encodeContent } from "../../../jetson/mavlink/encode.ts";
import { crcExtra, encodeFrame, ONBOARD_COMPUTER_STATUS, SYS_STATUS } from "./encoder.ts";

const U32 = 0xffff_ffff;
const all = (length: number, value: number) => Array.from({ length }, () => value);

/** All that is never told. */
const UNUSED = {
  cpu_cores: all(8, 0xff),
  cpu_combined: all(10, 0xff),
  gpu_combined: all(10, 0xff),
  temperature_core: all(8, 0x7f),
  fan_speed: all(4, 0x7fff),
  storage_type: all(4, U32),
  storage_usage: all(4, U32),
  storage_total: all(4, U32),
  link_type: all(6, U32),
  link_tx_rate: all(6, U32),
  link_rx_rate: all(6, U32),
  link_tx_max: all(6, U32),
  link_rx_max: all(6, U32),
};

Deno.test("what is known is told in the message's units, as component 191 of the vehicle", () => {
  assertEquals(crcExtra(ONBOARD_COMPUTER_STATUS), 156);
  const status = {
    nowNs: 5_000_000_123_456,
    gpuBusy: 0.756,
    temperatureCelsius: -3.4,
    memoryUsedBytes: 3 * 2 ** 30 + 17,
    memoryTotalBytes: 8 * 2 ** 30,
  };
  const expected = encodeFrame(ONBOARD_COMPUTER_STATUS, {
    ...UNUSED,
    time_usec: 5_000_000_123n,
    uptime: 5_000_000,
    gpu_cores: [76, 0xff, 0xff, 0xff],
    temperature_board: -3,
    ram_usage: 3072,
    ram_total: 8192,
  }, { systemId: 7, componentId: 191, sequence: 2 });
  assertEquals(encodeComputerStatus(status, 7, 256 + 2), expected);
});

Deno.test("what is not known is marked as unused, never as zero", () => {
  const expected = encodeFrame(ONBOARD_COMPUTER_STATUS, {
    ...UNUSED,
    time_usec: 1_000_000n,
    uptime: 1000,
    gpu_cores: all(4, 0xff),
    temperature_board: 0x7f,
    ram_usage: U32,
    ram_total: U32,
  }, { componentId: 191 });
  assertEquals(encodeComputerStatus({ nowNs: 1e9 }, 1, 0), expected);
});

Deno.test("values beyond a field's range are its ends, not other values", () => {
  const hot = encodeComputerStatus({ nowNs: 0, gpuBusy: 7, temperatureCelsius: 900 }, 1, 0);
  assertEquals([hot[10 + 215], hot[10 + 229]], [100, 126]);
  const cold = encodeComputerStatus({ nowNs: 0, gpuBusy: -1, temperatureCelsius: -900 }, 1, 0);
  assertEquals([cold[10 + 215], cold[10 + 229]], [0, 0x80]);
});

Deno.test("a frame leaves out zeros at the end of its payload, but never the first byte", () => {
  const header = { systemId: 3, componentId: 4, sequence: 5 };
  const content = (payload: Uint8Array) => ({ ...header, messageId: 1, crcExtra: 124, payload });
  const payload = new Uint8Array(31);
  assertEquals(encodeContent(content(payload)), encodeFrame(SYS_STATUS, {}, header));
  payload[12] = 7;
  assertEquals(encodeContent(content(payload)), encodeFrame(SYS_STATUS, { load: 7 }, header));
});
