/**
 * Does the camera's program put into a ring what a GStreamer pipeline gives, count what it does not, and end with a reason?
 *
 * It is built here, against GStreamer's headers, and the camera is `videotestsrc`: no hardware takes part. Needs
 * build/libcalypte.so and Debian's packages; without them these tests are left out, and say so.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../assert.ts";
import {
  libraryPath,
  openLibrary,
  type RingFormat,
  RingReader,
  type RingRecord,
  RingWriter,
} from "../../ffi/mod.ts";
import { path } from "../../agent/std/mod.ts";

const ROOT = path.fromFileUrl(new URL("../..", import.meta.url)).replace(/\/$/, "");
const PACKAGES =
  "libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev gstreamer1.0-plugins-base gstreamer1.0-tools";
/** No camera here is slow; a hung one must not hold up the tests. */
const WITHIN_MS = 60_000;
const LIVE = "videotestsrc is-live=true";

const missing = await whatIsMissing();
if (missing !== undefined) console.log(`no camera is tried: ${missing} (apt-get install ${PACKAGES})`);
const ignore = missing !== undefined;

/** `undefined`: all is there. */
async function whatIsMissing(): Promise<string | undefined> {
  try {
    Deno.statSync(libraryPath());
  } catch {
    return "no build/libcalypte.so (make build)";
  }
  const looks: [string, string[]][] = [
    ["cc", ["--version"]],
    ["pkg-config", ["--exists", "gstreamer-app-1.0", "gstreamer-video-1.0"]],
    ["gst-inspect-1.0", ["--exists", "videotestsrc"]],
  ];
  for (const [program, args] of looks) {
    const found = await new Deno.Command(program, { args, stdout: "null", stderr: "null" }).output().catch(
      () => undefined,
    );
    if (found?.success !== true) return `${program} ${args.join(" ")} fails`;
  }
}

interface Ended {
  code: number;
  err: string;
  frames: number;
  missing: number;
  late: number;
  untimed: number;
  copiedBytes: number;
  reason: string;
}

class Bench {
  readonly folder: string;
  readonly ring: string;
  readonly program: string;
  readonly library = openLibrary(libraryPath());

  private constructor(folder: string) {
    this.folder = folder;
    this.ring = `/dev/shm/${path.basename(folder)}`;
    this.program = `${folder}/calypte-camera`;
  }

  /** With the program built by the Makefile's own rule. */
  static async open(): Promise<Bench> {
    const bench = new Bench(await Deno.makeTempDir({ prefix: "calypte-camera-" }));
    const made = await new Deno.Command("make", {
      args: ["-s", "-C", ROOT, "camera", `CAMERA=${bench.program}`],
      // Not a part of the make that may have started the tests.
      env: { MAKEFLAGS: "", MFLAGS: "", MAKELEVEL: "0" },
      stdout: "piped",
      stderr: "piped",
    }).output();
    const said = new TextDecoder().decode(made.stderr);
    assertEquals(made.success, true, said);
    assertEquals(said, "", "the compiler warns");
    return bench;
  }

  start(pipeline: string, ...options: string[]): Deno.ChildProcess {
    const args = ["--ring", this.ring, "--size", "64x48", "--format", "rgb8", ...options, pipeline];
    return new Deno.Command(this.program, { args, stdin: "null", stdout: "piped", stderr: "piped" }).spawn();
  }

  async ended(child: Deno.ChildProcess): Promise<Ended> {
    // house-rule: sleep, because it only bounds how long a program that hangs is waited for.
    const giveUp = setTimeout(() => child.kill("SIGKILL"), WITHIN_MS);
    const { code, stdout, stderr } = await child.output();
    clearTimeout(giveUp);
    const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)) as [string, string];
    const last = out.trimEnd().split("\n").at(-1) ?? "";
    const counts = last === "" ? {} : JSON.parse(last);
    if (counts.reason !== undefined) assertStringIncludes(err, `calypte-camera: ${counts.reason}\n`);
    return { code, err, ...counts };
  }

  run(pipeline: string, ...options: string[]): Promise<Ended> {
    return this.ended(this.start(pipeline, ...options));
  }

  reader(): RingReader {
    return RingReader.open(this.library, this.ring);
  }

  async close(): Promise<void> {
    this.library.close();
    await Deno.remove(this.ring).catch(() => {});
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** The last record of a ring that nobody writes. */
function newest(bench: Bench): RingRecord {
  using reader = bench.reader();
  reader.seek("oldest");
  reader.seek("newest");
  const record = reader.read();
  assert(record !== undefined, "there is a frame");
  return record;
}

let shared: Promise<Bench> | undefined;

/** The program is built once for all tests. */
function test(name: string, body: (bench: Bench) => Promise<void>): void {
  Deno.test({
    ...{ name, ignore, sanitizeResources: false, sanitizeOps: false },
    fn: async () => body(await (shared ??= Bench.open())),
  });
}

test("frames get into the ring whole, with the sensor's time on the engine's clock", async (bench) => {
  const beforeNs = bench.library.nowNs();
  const { code, frames, missing, untimed, copiedBytes, reason } = await bench.run(
    `${LIVE} pattern=red num-buffers=20 ! video/x-raw,framerate=100/1`,
    "--slots",
    "32",
  );
  assertEquals({ code, frames, untimed, reason }, {
    code: 0,
    frames: 20,
    untimed: 0,
    reason: "end of stream",
  });
  assertEquals(copiedBytes, 20 * 64 * 48 * 3);
  using reader = bench.reader();
  reader.seek("oldest");
  const { format, width, height, stride } = reader.info();
  assertEquals({ format, width, height, stride }, { format: "rgb8", width: 64, height: 48, stride: 192 });
  let last = { number: -1, sensorNs: beforeNs };
  let read = 0;
  for (let record = reader.read(); record !== undefined; record = reader.read(), ++read) {
    assert(record.number > last.number, `${record.number} behind ${last.number}`);
    assert(record.sensorNs > last.sensorNs, "the sensor's time rises");
    assert(record.sensorNs <= record.doneNs, "a frame is in the ring after it was seen");
    if (read > 0) {
      assertEquals(Math.round((record.sensorNs - last.sensorNs) / 10e6), record.number - last.number);
    }
    assertEquals(record.payload.length, 64 * 48 * 3);
    assert(record.payload.every((value, at) => value === (at % 3 === 0 ? 255 : 0)), "all of it is red");
    last = record;
  }
  assertEquals(read, 20);
  assertEquals(last.number, 19 + missing);
});

for (
  const [format, size, bytes, first] of [
    ["gray8", "65x33", 65 * 33, [235]],
    ["rgb8", "65x33", 65 * 33 * 3, [255, 255, 255]],
    ["bgr8", "65x33", 65 * 33 * 3, [255, 255, 255]],
    ["rgba8", "65x33", 65 * 33 * 4, [255, 255, 255, 255]],
    ["nv12", "66x34", 66 * 34 * 3 / 2, [235]],
  ] as [RingFormat, string, number, number[]][]
) {
  test(`${format} lies in the ring without GStreamer's padding`, async (bench) => {
    const pipeline = "videotestsrc pattern=white num-buffers=2 ! video/x-raw,framerate=100/1";
    const { code, err } = await bench.run(pipeline, "--format", format, "--size", size);
    assertEquals(code, 0, err);
    using reader = bench.reader();
    reader.seek("oldest");
    const payload = reader.read()!.payload;
    assertEquals(payload.length, bytes);
    const white = format === "gray8" ? [...new Set(payload)] : [...payload.subarray(0, first.length)];
    if (format !== "gray8") assertEquals(white, first);
    assertEquals(white.length, first.length, "one gray is all there is");
    const luma = format === "nv12" ? 66 * 34 : payload.length;
    assert(payload.subarray(0, luma).every((value) => value === payload[0]), "luma is even");
    // White has no colour; padding or luma among it would show.
    assert(payload.subarray(luma).every((value) => value === 128), "chroma lies behind luma");
  });
}

const CAMERA = "fakesrc num-buffers=3 sizetype=fixed sizemax=99999";
const FITS = "end it with: ! videoconvert ! videoscale ! video/x-raw,format=RGB,width=64,height=48";

for (
  const [what, pipeline, ...parts] of [
    [
      "of another format and size are refused",
      `${LIVE} ! video/x-raw,format=I420,width=320,height=240`,
      "gives I420 320x240; ring",
      "takes RGB 64x48",
      FITS,
    ],
    [
      "in memory:NVMM are refused: not yet",
      `${CAMERA} ! video/x-raw(memory:NVMM),format=NV12,width=64,height=48,framerate=30/1`,
      "memory:NVMM",
      "not yet",
      "nvvidconv ! video/x-raw ! ",
    ],
    [
      "in another device's memory are refused",
      `${CAMERA} ! video/x-raw(memory:DMABuf),format=RGB,width=64,height=48,framerate=30/1`,
      "memory:DMABuf",
      "in the processor's memory",
    ],
    [
      "that are compressed are refused",
      `${CAMERA} ! image/jpeg,width=64,height=48,framerate=30/1`,
      "image/jpeg",
      "decode them",
      FITS,
    ],
    [
      "without a format are refused",
      CAMERA,
      "gives data without a format",
    ],
    [
      "that are interlaced are refused",
      `${LIVE} ! video/x-raw,interlace-mode=interleaved`,
      "interlaced",
      "! deinterlace",
    ],
  ] as string[][]
) {
  test(`frames ${what}, with the pipeline, the rule and the remedy`, async (bench) => {
    const { code, frames, reason } = await bench.run(pipeline!);
    assertEquals({ code, frames }, { code: 2, frames: 0 }, reason);
    assertStringIncludes(reason, `pipeline '${pipeline}'`);
    for (const part of parts) assertStringIncludes(reason, part);
  });
}

test("frames that change their size on the way end it, and none of them gets into the ring", async (bench) => {
  const part = (width: number) => `videotestsrc num-buffers=5 ! video/x-raw,format=RGB,width=${width} ! c.`;
  const { code, frames, reason } = await bench.run(`concat name=c ${part(64)} ${part(128)} c.`);
  assertEquals({ code, frames }, { code: 2, frames: 5 });
  assertMatch(reason, /gives RGB 128x\d+; ring .* takes RGB 64x48/);
});

test("a frame that is smaller than its caps say ends it", async (bench) => {
  const caps = "video/x-raw,format=RGB,width=64,height=48,framerate=30/1";
  const { code, frames, reason } = await bench.run(`fakesrc sizetype=fixed sizemax=100 ! ${caps}`);
  assertEquals({ code, frames }, { code: 1, frames: 0 });
  assertStringIncludes(reason, "smaller than its caps say");
});

test("frames that never came are counted, and the frames' numbers leave them out", async (bench) => {
  const { code, frames, missing } = await bench.run(
    `${LIVE} num-buffers=120 ! video/x-raw,framerate=200/1 ! identity drop-probability=0.3`,
  );
  assertEquals(code, 0);
  assertEquals(newest(bench).number, frames + missing - 1);
  assert(missing > 5, `${missing} of about 36`);
  assert(frames + missing <= 120, `${frames} and ${missing} of 120`);
});

test("frames that come late are counted, and are there", async (bench) => {
  const late = `${LIVE} num-buffers=6 ! video/x-raw,framerate=100/1 ! identity sleep-time=30000`;
  const counted = await bench.run(late);
  assertEquals({ frames: counted.frames, late: counted.late }, { frames: 6, late: 6 });
  const borne = await bench.run(late, "--late-ms", "60000");
  assertEquals({ frames: borne.frames, late: borne.late }, { frames: 6, late: 0 });
});

test("a frame without a time is in the ring, its time unknown, and is counted", async (bench) => {
  const caps = "video/x-raw,format=RGB,width=64,height=48,framerate=30/1";
  const { frames, untimed } = await bench.run(
    `fakesrc is-live=true num-buffers=3 sizetype=fixed sizemax=9216 ! ${caps}`,
  );
  assertEquals({ frames, untimed }, { frames: 3, untimed: 3 });
  assertEquals(newest(bench).sensorNs, 0);
});

for (
  const [what, code, pipeline, reason, ...options] of [
    ["an error of an element", 1, `${LIVE} ! identity error-after=5`, /identity0: Failed after/],
    [
      "a camera that hangs",
      1,
      `${LIVE} ! valve drop=true`,
      /no frame for 300 ms; see that/,
      "--stall-ms",
      "300",
    ],
    ["an end before the first frame", 1, `${LIVE} num-buffers=0`, /end of stream before the first frame/],
    ["an element that is not there", 2, "nosuchsrc", /no element "nosuchsrc"; try it: gst-launch-1.0/],
    ["as many frames as were asked for", 0, LIVE, /^7 frames were asked for$/, "--count", "7"],
  ] as [string, number, string, RegExp, ...string[]][]
) {
  test(`${what} ends it with a reason and exit status ${code}`, async (bench) => {
    const ended = await bench.run(pipeline, ...options);
    assertMatch(ended.reason, reason);
    assertEquals(ended.code, code);
    if (code === 0) assertEquals(ended.frames, 7);
  });
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`${signal} ends it in order, and readers see that it is gone`, async (bench) => {
    await Deno.remove(bench.ring).catch(() => {});
    const child = bench.start(LIVE);
    using reader = await opened(bench);
    assert(reader.wait(10e9), "a frame comes");
    assert(reader.alive());
    child.kill(signal);
    const { code, frames, reason } = await bench.ended(child);
    assertEquals({ code, reason }, { code: 0, reason: signal });
    assert(frames > 0);
    assert(!reader.alive());
  });
}

/** As soon as the program has made its ring. */
async function opened(bench: Bench): Promise<RingReader> {
  for (let look = 0; look < 1000; ++look) {
    try {
      return bench.reader();
    } catch {
      // A look takes as long as a small program.
      await new Deno.Command("true").output();
    }
  }
  throw new Error(`there is no ring ${bench.ring}`);
}

test("a camera that hangs and never lets go does not keep the program", async (bench) => {
  // The pipeline's thread sleeps for an hour with the frame in its hands.
  const { code, err } = await bench.run(`${LIVE} ! identity sleep-time=3600000000`, "--stall-ms", "200");
  assertEquals(code, 1);
  assertMatch(err, /calypte-camera: pipeline .*: no frame for 200 ms/);
  assertStringIncludes(err, "calypte-camera: the pipeline hangs, and is given up");
});

test("a camera that hangs while it is opened does not keep the program", async (bench) => {
  // Nobody ever writes this pipe, and to open it waits for somebody who does.
  const pipe = `${bench.folder}/pipe`;
  assert((await new Deno.Command("mkfifo", { args: [pipe] }).output()).success);
  const { code, err } = await bench.run(`filesrc location=${pipe} ! decodebin`, "--stall-ms", "200");
  assertEquals(code, 1);
  assertStringIncludes(err, "calypte-camera: the pipeline hangs, and is given up");
});

test("a ring that has a writer is left to it", async (bench) => {
  await Deno.remove(bench.ring).catch(() => {});
  using _writer = RingWriter.create(bench.library, bench.ring, { slots: 4, slotBytes: 64 * 48 * 3 });
  const { code, reason } = await bench.run(LIVE);
  assertEquals(code, 1);
  assertStringIncludes(reason, "it has a writer already; end that one, or choose another path");
});

test("what it is not asked for rightly is refused with the usage", async (bench) => {
  for (
    const options of [
      ["--size", "64"],
      ["--size", "0x5"],
      ["--format", "i420"],
      ["--slots", "1"],
      [
        "--count",
        "-1",
      ],
      ["--late-ms", "5ms"],
      ["--frob", "1"],
    ]
  ) {
    const { code, err } = await bench.run(LIVE, ...options);
    assertEquals(code, 2, options.join(" "));
    assertStringIncludes(err, `calypte-camera: ${options[0]}: '${options[1]}' is not what it takes`);
    assertStringIncludes(err, "usage: ");
  }
});

test("each frame of a camera is one request of a mission's task, and none is lost", async (bench) => {
  const mission = `${bench.folder}/mission.yaml`;
  await Deno.writeTextFile(
    mission,
    JSON.stringify({
      device: { backend: "sim" },
      http: false,
      state: "off",
      critical: {
        "obstacle-detector": {
          bundle: `${ROOT}/examples/bundles/obstacle-detector`,
          source: { shm: bench.ring, rate: "30Hz" },
          deadline: { within: "30ms", from: "sensor" },
          output: "drop",
        },
      },
      background: {},
    }),
  );
  // There beforehand, so that the engine reads it before the first frame comes; the camera takes it over.
  await Deno.remove(bench.ring).catch(() => {});
  RingWriter.create(bench.library, bench.ring, {
    ...{ slots: 16, slotBytes: 640 * 360 * 3, expiryNs: 500e6 },
    ...{ format: "rgb8", width: 640, height: 360, stride: 640 * 3 },
  }).close();
  const agent = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", `${ROOT}/agent/main.ts`, "run", mission, "--json"],
    env: { NO_COLOR: "1", CALYPTE_CACHE: "off", CALYPTE_RUN_DIR: bench.folder },
    ...{ stdin: "null", stdout: "piped", stderr: "piped" },
  }).spawn();
  const log = agent.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let said = "";
  while (!said.includes("Ctrl-C ends it")) {
    const { value, done } = await log.read();
    assertEquals(done, false, said);
    said += value;
  }
  const size = ["--size", "640x360", "--slots", "16"];
  const { code, frames, missing, err } = await bench.run(`${LIVE} num-buffers=45`, ...size);
  assertEquals(code, 0, err);
  assertEquals(frames + missing, 45);
  agent.kill("SIGTERM");
  const [{ code: ended }, summary] = await Promise.all([agent.status, new Response(agent.stdout).json()]);
  await log.cancel();
  assertEquals(ended, 0);
  const { requests, response } = summary.critical["obstacle-detector"];
  assertEquals(requests, frames);
  assert(response !== undefined);
});

// Behind all others: what they shared goes.
test("nothing is left of the tests", async (bench) => await bench.close());
