import { type Board, probeBoard, ptxOf, withDevice } from "../../jetson/board.ts";
import { boardFiles } from "../../jetson/board_files.ts";
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";
import { fixture, FIXTURES, MemoryFiles } from "./board_fixture.ts";

for (const name of FIXTURES) {
  Deno.test(`the board in ${name} is what its expected JSON says`, async () => {
    const { root, expected } = await fixture(name);
    assertEquals(JSON.parse(JSON.stringify(await probeBoard(boardFiles(root)))), expected.board);
  });
}

/** A board of nothing but a device tree and a release. */
async function boardOf(soc: string | undefined, release: string | undefined): Promise<Board> {
  return await probeBoard(
    new MemoryFiles({
      ...(soc === undefined ? {} : { "/proc/device-tree/compatible": `nvidia,some-board\0nvidia,${soc}\0` }),
      ...(release === undefined ? {} : { "/etc/nv_tegra_release": `# ${release}, GCID: 1` }),
    }),
  );
}

/** [SoC, release, JetPack, supported, a word of the reason] */
const SUPPORT: [string | undefined, string | undefined, string | undefined, boolean | undefined, string][] = [
  ["tegra234", "R36 (release), REVISION: 4.3", "6", true, "Orin with JetPack 6"],
  ["tegra234", "R39 (release), REVISION: 2.1", "7", true, "Orin with JetPack 7"],
  ["tegra264", "R38 (release), REVISION: 2.2", "7", true, "Thor with JetPack 7"],
  ["tegra264", "R36 (release), REVISION: 4.3", "6", false, "Thor needs JetPack 7"],
  ["tegra194", "R35 (release), REVISION: 6.0", "5", false, "Xavier is not supported, because"],
  ["tegra194", undefined, undefined, false, "Xavier is not supported, because"],
  [
    "tegra234",
    "R35 (release), REVISION: 5.0",
    "5",
    false,
    "JetPack 5 (L4T 35.5.0) is not supported, because",
  ],
  ["tegra210", "R32 (release), REVISION: 7.4", "4", false, "JetPack 4"],
  ["tegra186", undefined, undefined, false, "tegra186 is not supported"],
  ["tegra234", undefined, undefined, undefined, "unknown release"],
  ["tegra234", "R77 (release), REVISION: 1.0", undefined, undefined, "newer than this program knows"],
  [undefined, "R36 (release), REVISION: 4.3", "6", undefined, "does not name"],
  [undefined, undefined, undefined, undefined, "no NVIDIA GPU"],
];
for (const [soc, release, jetpack, supported, because] of SUPPORT) {
  Deno.test(`${soc ?? "no device tree"} with ${release ?? "no release"}: ${because}`, async () => {
    const board = await boardOf(soc, release);
    assertEquals([board.jetpack, board.supported], [jetpack, supported]);
    assertStringIncludes(board.because, because);
  });
}

Deno.test("a distribution that is not NVIDIA's tells its release by its kernel", async () => {
  const board = await probeBoard(
    new MemoryFiles({
      "/proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0",
      "/proc/sys/kernel/osrelease": "5.15.148-l4t-r36.4.4-1012.12+gc8a82765359e",
    }),
  );
  assertEquals([board.l4t, board.jetpack, board.ptx?.version], ["36.4.4", "6", "8.5"]);
});

Deno.test("in a container the device tree may be in its other place only", async () => {
  const board = await probeBoard(
    new MemoryFiles({ "/sys/firmware/devicetree/base/compatible": "nvidia,tegra264\0" }),
  );
  assertEquals([board.kind, board.soc, board.gpu?.arch], ["jetson", "tegra264", "sm_110"]);
});

Deno.test("what the driver answers takes the place of what a table says", async () => {
  const { root } = await fixture("orin-nano-jp6");
  const board = withDevice(await probeBoard(boardFiles(root)), {
    name: "Orin",
    computeMajor: 8,
    computeMinor: 7,
    ptxVersion: 84,
    attributes: { integrated: true },
  });
  assertEquals(board.ptx, { version: "8.4", from: "driver" });
  assertEquals(board.gpu, { chip: "ga10b", arch: "sm_87", name: "Orin" });
  assertEquals(board.attributes, { integrated: true });
  assertEquals(board.supported, true);
});

Deno.test("a GPU that only its driver knows of is a desktop's, and a driver that knows no PTX version changes none", async () => {
  const { root } = await fixture("none");
  const device = { name: "H200", computeMajor: 9, computeMinor: 0, ptxVersion: 0, attributes: {} };
  const board = withDevice(await probeBoard(boardFiles(root)), device);
  assertEquals([board.kind, board.supported, board.ptx], ["desktop", true, undefined]);
});

Deno.test("PTX versions follow CUDA's, and what is older than the table is unknown", () => {
  assertEquals(["13.1", "13.0", "12.6", "12.5", "12.2", "11.4", "10.2"].map(ptxOf), [
    "9.0",
    "9.0",
    "8.5",
    "8.5",
    "8.2",
    "7.4",
    undefined,
  ]);
});

Deno.test("garbage in every file, and texts meant for a terminal, make no board and no control characters", async () => {
  const { root } = await fixture("agx-orin-jp6");
  const garbage = "\x1b[2J\u202envidia,tegra234\n\x00# R36 \xff (release)";
  const board = await probeBoard({
    text: () => Promise.resolve(garbage),
    list: (path) => boardFiles(root).list(path),
  });
  assert(/^[ -~]*$/.test(Object.values(board).join()), JSON.stringify(board));
});
