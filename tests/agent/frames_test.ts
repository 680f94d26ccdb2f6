import { encode } from "fast-png";
import { InputError } from "../../agent/errors.ts";
import { loadFrames } from "../../agent/frames.ts";
import { path } from "../../agent/std/mod.ts";
import { assertEquals, assertRejects } from "../assert.ts";

type Files = Record<string, Uint8Array>;

async function withFolder(files: Files, use: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    for (const [name, data] of Object.entries(files)) await Deno.writeFile(path.join(dir, name), data);
    await use(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** A picture whose samples count up from `first`. */
function png(width: number, height: number, channels: number, first = 0, depth: 8 | 16 = 8): Uint8Array {
  const count = width * height * channels;
  const data = depth === 8 ? new Uint8Array(count) : new Uint16Array(count);
  return encode({ width, height, channels, depth, data: data.map((_, i) => (first + i) & 255) });
}

Deno.test("frames are loaded in the order of their names, without alpha", async () => {
  await withFolder(
    { "b.png": png(2, 1, 4, 100), "a.png": png(2, 1, 3), "notes.txt": new Uint8Array(3) },
    async (dir) => {
      const frames = await loadFrames(dir, 6);
      assertEquals({ ...frames, data: [...frames.data] }, {
        dir,
        width: 2,
        height: 1,
        channels: 3,
        frameBytes: 6,
        count: 2,
        data: [0, 1, 2, 3, 4, 5, 100, 101, 102, 104, 105, 106],
        names: ["a.png", "b.png"],
      });
    },
  );
});

Deno.test("raw frames are taken as they are", async () => {
  await withFolder({ "1.raw": Uint8Array.of(1, 2), "0.raw": Uint8Array.of(3, 4) }, async (dir) => {
    const frames = await loadFrames(dir, 2);
    assertEquals([...frames.data], [3, 4, 1, 2]);
    assertEquals([frames.width, frames.height, frames.channels, frames.frameBytes, frames.count], [
      0,
      0,
      0,
      2,
      2,
    ]);
  });
});

const BAD: [string, Files, string, number?][] = [
  ["no frames", { "a.txt": new Uint8Array(1) }, "must hold frames: files *.png or *.raw"],
  ["two kinds", { "a.png": png(1, 1, 3), "b.raw": new Uint8Array(3) }, "either *.png or *.raw, not both"],
  [
    "two sizes",
    { "a.png": png(2, 1, 3), "b.png": png(1, 2, 3) },
    "b.png: must be as large as a.png (2 x 1 x 3 (6 bytes))",
  ],
  [
    "two raw sizes",
    { "a.raw": new Uint8Array(3), "b.raw": new Uint8Array(4) },
    "as a.raw (3 bytes), not 4 bytes",
  ],
  ["an empty file", { "a.png": new Uint8Array(0) }, "must not be empty"],
  ["an empty raw file", { "a.raw": new Uint8Array(0) }, "must not be empty"],
  ["no PNG", { "a.png": new TextEncoder().encode("x".repeat(99)) }, "a.png: cannot be decoded: not a PNG"],
  ["a cut PNG", { "a.png": png(64, 64, 3).slice(0, 60) }, "cannot be decoded"],
  [
    "a damaged PNG",
    { "a.png": png(9, 9, 3).map((byte, i) => i === 50 ? byte ^ 1 : byte) },
    "cannot be decoded",
  ],
  ["a grey picture", { "a.png": png(2, 2, 1) }, "must be 8-bit RGB or RGBA, not 8-bit grey"],
  ["16 bits", { "a.png": png(2, 2, 3, 0, 16) }, "must be 8-bit RGB or RGBA, not 16-bit RGB"],
  [
    "another size than the bundle's",
    { "a.png": png(2, 2, 3) },
    "must have 13 bytes, as the bundle's input, not 2 x 2 x 3",
    13,
  ],
];

for (const [name, files, rule, expect] of BAD) {
  Deno.test(`a folder with ${name} is refused with the file's name`, async () => {
    await withFolder(files, async (dir) => {
      const error = await assertRejects(() => loadFrames(dir, expect), InputError, rule);
      assertEquals(error.file.startsWith(dir), true);
    });
  });
}

Deno.test("a PNG that claims a huge picture is refused before it is decoded", async () => {
  const forged = png(2, 2, 3);
  new DataView(forged.buffer, forged.byteOffset).setUint32(16, 0x7fffffff);
  await withFolder({ "a.png": forged }, async (dir) => {
    await assertRejects(() => loadFrames(dir), InputError, "must be 1 to 16384 pixels wide and high");
  });
});

Deno.test("frames of more than 2 GiB in all are refused before they are read", async () => {
  const one = new Uint8Array(1);
  await withFolder({ "0.raw": one, "1.raw": one, "2.raw": one }, async (dir) => {
    // Sparse: takes no room on the disk.
    for (const name of ["0.raw", "1.raw", "2.raw"]) await Deno.truncate(path.join(dir, name), 2 ** 30);
    await assertRejects(() => loadFrames(dir), InputError, "at most 2 GiB of frames");
  });
});

Deno.test("a folder that is not there, or is a file, is an InputError", async () => {
  await withFolder({ "a.raw": new Uint8Array(1) }, async (dir) => {
    await assertRejects(() => loadFrames(path.join(dir, "none")), InputError, "does not exist");
    await assertRejects(() => loadFrames(path.join(dir, "a.raw")), InputError, "must be a folder of frames");
  });
});
