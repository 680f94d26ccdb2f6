/**
 * Does the Tegra-shaped driver take away what it says, and nothing else? On a double of the real one, each shape in a process of
 * its own. Needs a C++ compiler, CMake and cuda.h.
 */
import { assertEquals, assertMatch } from "../assert.ts";
import { path } from "../../agent/std/mod.ts";

const ROOT = path.fromFileUrl(new URL("../..", import.meta.url)).replace(/\/$/, "");
const SMS = 16, INTEGRATED = 18, COPY_ENGINES = 40;

async function run(program: string, args: string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await new Deno.Command(program, { args, env }).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), said: text.decode(stdout) + text.decode(stderr) };
}

/** The folder with the shaped driver and the double; `undefined`: this machine cannot build them. */
async function build(): Promise<string | undefined> {
  const dir = await Deno.makeTempDir();
  const compiled = await run("/bin/sh", [
    "-c",
    'cc -shared -fPIC -o "$1/double.so" "$0/tests/fixtures/cuda_doubles/driver/driver.c" && ' +
    'cmake -S "$0/bench/tegra" -B "$1" && cmake --build "$1" --target shape',
    ...[ROOT, dir],
  ]);
  if (compiled.code === 0) return dir;
  if (/cuda\.h not found|not found/.test(compiled.said)) return undefined;
  throw new Error(compiled.said);
}

const dir = await build();
if (dir !== undefined) addEventListener("unload", () => Deno.removeSync(dir, { recursive: true }));

/** What a program that opens the driver finds there. */
async function look(shape: string, real = `${dir}/double.so`) {
  const program = `
    const i32 = "i32", pointer = "buffer", optional = true;
    const { symbols } = Deno.dlopen("${dir}/libcuda.so.1", {
      cuInit: { parameters: ["u32"], result: i32, optional },
      cuDeviceGetAttribute: { parameters: [pointer, i32, i32], result: i32, optional },
      cuDevicePrimaryCtxRetain: { parameters: [pointer, i32], result: i32, optional },
      cuDeviceGetDevResource: { parameters: [i32, pointer, i32], result: i32, optional },
      cuStreamCreateWithPriority: { parameters: [pointer, "u32", i32], result: i32, optional },
      cuIpcGetMemHandle: { parameters: [pointer, "u64"], result: i32, optional },
      cuIpcOpenMemHandle_v2: { parameters: [pointer, "u64"], result: i32, optional },
      cuStreamWriteValue32_v2: { parameters: ["u64", "u64", "u32", "u32"], result: i32, optional },
    });
    const words = new Int32Array(64);
    const attribute = (which) => symbols.cuDeviceGetAttribute?.(words, which, 0) === 0 ? words[0] : null;
    const context = new BigUint64Array(1);
    const retained = symbols.cuDevicePrimaryCtxRetain?.(context, 0);
    symbols.cuDeviceGetDevResource?.(0, words, 1);
    const streams = new BigUint64Array(1);
    const stream = symbols.cuStreamCreateWithPriority?.(streams, 0, 0) === 0 ? Number(streams[0]) : null;
    console.log(JSON.stringify({
      works: symbols.cuInit?.(0) === 0,
      ipc: symbols.cuIpcGetMemHandle != null,
      memops: symbols.cuStreamWriteValue32_v2 != null,
      absent: symbols.cuIpcOpenMemHandle_v2 == null,
      sms: attribute(${SMS}), integrated: attribute(${INTEGRATED}), copyEngines: attribute(${COPY_ENGINES}),
      retained, context: Number(context[0]), resourceSms: words[24], stream,
    }));`;
  const file = await Deno.makeTempFile({ suffix: ".js" });
  await Deno.writeTextFile(file, program);
  const env = { CALYPTE_SHAPE: shape, CALYPTE_SHAPE_DRIVER: real };
  const { out, said } = await run(Deno.execPath(), ["run", "-A", "--quiet", file], env);
  await Deno.remove(file);
  return { seen: out === "" ? undefined : JSON.parse(out), said };
}

const WHOLE = {
  ...{ works: true, ipc: true, memops: true, absent: true, sms: 132, integrated: 0, copyEngines: 3 },
  ...{ retained: 0, context: 1, resourceSms: 132, stream: 1 },
};

function shapeTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `the Tegra-shaped driver ${name}`, ignore: dir === undefined, fn });
}

for (
  const [shape, name, differs] of [
    ["", "is the real one while nothing is taken away", {}],
    ["no-ipc", "has no CUDA IPC if that is taken away", { ipc: false }],
    ["no-memops", "has no stream memory operations if those are taken away", { memops: false }],
    ["integrated", "says that CPU and GPU share memory", { integrated: 1 }],
    ["sms=16", "confines each stream to 16 SMs in the context of all, and says that there are no more", {
      ...{ sms: 16, stream: 16, resourceSms: 16 },
    }],
    ["no-ipc,no-memops,sms=16,integrated", "takes away everything at once", {
      ...{ ipc: false, memops: false, sms: 16, stream: 16, resourceSms: 16, integrated: 1 },
    }],
  ] as const
) {
  shapeTest(name, async () => {
    const { seen } = await look(shape);
    assertEquals(seen, { ...WHOLE, ...differs });
  });
}

shapeTest("opens no context where the device cannot be split as asked", async () => {
  const { seen, said } = await look("sms=24");
  assertEquals([seen.retained === 0, seen.context, seen.stream], [false, 0, null]);
  assertMatch(said, /cannot confine the work to 24 SMs/);
});

shapeTest("says which part a device gives where it cannot give what was asked for", async () => {
  const { seen, said } = await look("sms=12");
  assertEquals(seen.retained === 0, false);
  assertMatch(said, /this device gives 16: say sms=16/);
});

for (
  const [what, shape, real, words] of [
    ["a word that it does not know", "no-ipx", undefined, /'no-ipx' is no word of it/],
    ["a driver that is not there", "", "/nowhere/libcuda.so.1", /nowhere/],
  ] as const
) {
  shapeTest(`has nothing at all, and says why, given ${what}`, async () => {
    const { seen, said } = await look(shape, real);
    assertEquals(seen.works, false);
    assertMatch(said, words);
  });
}
