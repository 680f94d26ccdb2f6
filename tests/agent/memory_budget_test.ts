import { assert, assertEquals, assertThrows } from "../assert.ts";
import { checkMemory, needOf } from "../../agent/memory_budget.ts";
import { InputError } from "../../agent/errors.ts";
import { loadMission, type Mission } from "../../agent/config.ts";
import { readMissionFiles } from "../../agent/prepare.ts";
import { writeMission } from "./mission_fixture.ts";

const NOTHING_ELSE = { freeBytes: 0, integrated: false };
const MIB = 2 ** 20;

async function withMission(
  test: (mission: Mission, bundles: Parameters<typeof checkMemory>[1]) => void,
): Promise<void> {
  await using fixture = await writeMission();
  const mission = await loadMission(fixture.file);
  const { bundles } = await readMissionFiles(mission);
  test(mission, bundles);
}

function limited(mission: Mission, memoryBytes: number): Mission {
  return { ...mission, background: mission.background.map((job) => ({ ...job, memoryBytes })) };
}

Deno.test("a bundle needs its buffers, its weights, its code and slots for units under way", () =>
  withMission((mission, bundles) => {
    const bundle = bundles.get(mission.background[0]!.name)!;
    const { buffersBytes, weightsBytes, codeBytes, slotsBytes } = needOf(bundle);
    const declared = bundle.manifest.buffers.reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0);
    assertEquals(buffersBytes + weightsBytes, declared);
    assert(codeBytes > 0);
    assertEquals(slotsBytes % 8, 0);
    assert(slotsBytes > 0);
  }));

Deno.test("a job that needs more than its budget is refused with each part of its need, and what would do", () =>
  withMission((mission, bundles) => {
    const [job] = mission.background;
    checkMemory(limited(mission, 100 * MIB), bundles, NOTHING_ELSE);
    const error = assertThrows(() => checkMemory(limited(mission, 1000), bundles, NOTHING_ELSE), InputError);
    for (
      const part of [`background.${job!.name}.memory`, "for buffers", "for weights", "for code", "give it"]
    ) {
      assert(error.message.includes(part), error.message);
    }
  }));

Deno.test("all background jobs together have a limit of their own", () =>
  withMission((mission, bundles) => {
    checkMemory({ ...mission, backgroundMemoryBytes: 1000 * MIB }, bundles, NOTHING_ELSE);
    assertThrows(
      () => checkMemory({ ...mission, backgroundMemoryBytes: MIB }, bundles, NOTHING_ELSE),
      InputError,
      "device.backgroundMemory: must be at least what the background jobs need together",
    );
  }));

Deno.test("what does not fit the device is refused by the name of the first that does not, critical work first", () =>
  withMission((mission, bundles) => {
    checkMemory(mission, bundles, { freeBytes: 1000 * MIB, integrated: false });
    const refused = (freeBytes: number) =>
      assertThrows(() => checkMemory(mission, bundles, { freeBytes, integrated: false }), InputError).message;
    assert(refused(MIB).includes(`critical.${mission.critical[0]!.name}`));
    assert(refused(9 * MIB).includes(`background.${mission.background[0]!.name}`), refused(9 * MIB));
  }));

Deno.test("where CPU and GPU share memory the slots count too", () =>
  withMission((mission, bundles) => {
    const error = assertThrows(
      () => checkMemory(limited(mission, 1000), bundles, { freeBytes: 0, integrated: true }),
      InputError,
    );
    assert(error.message.includes("for units under way"), error.message);
  }));
