/**
 * Two small bundles whose outputs are known exactly: a critical one and one for background, with a loop, shared memory and
 * barriers. Small, since every instruction is interpreted.
 */
import { hexOf, sha256Of } from "../../agent/bundle_reader.ts";

export const CRITICAL_WORDS = 512;
/** So long the gate stays closed at least: background must get a processor in between, beside others, to see it. */
const CLOSED_NS = 12_000_000;
const MIX_BLOCKS = 160, MIX_THREADS = 32, MIX_ROUNDS = 24;

const HEADER = ".version 7.0\n.target sm_80\n.address_size 64\n";

const SCALE = `${HEADER}
.visible .entry scale(.param .u64 from, .param .u64 to)
{
  .reg .pred %p<2>;
  .reg .b64 %rd<6>;
  .reg .b64 %now<3>;
  .reg .b32 %r<6>;
  mov.u64 %now0, %globaltimer;
still:
  nanosleep.u32 100000;
  mov.u64 %now1, %globaltimer;
  sub.u64 %now2, %now1, %now0;
  setp.lt.u64 %p0, %now2, ${CLOSED_NS};
  @%p0 bra still;
  ld.param.u64 %rd0, [from];
  ld.param.u64 %rd1, [to];
  mov.u32 %r0, %ctaid.x;
  mov.u32 %r1, %ntid.x;
  mov.u32 %r2, %tid.x;
  mad.lo.u32 %r3, %r0, %r1, %r2;
  mul.wide.u32 %rd2, %r3, 4;
  add.u64 %rd3, %rd0, %rd2;
  add.u64 %rd4, %rd1, %rd2;
  ld.global.u32 %r4, [%rd3];
  mad.lo.u32 %r5, %r4, 3, %r3;
  st.global.u32 [%rd4], %r5;
  ret;
}
`;

const MIX = `${HEADER}
.visible .entry begin(.param .u64 words, .param .u32 seed)
{
  .reg .b64 %rd<4>;
  .reg .b32 %r<6>;
  ld.param.u64 %rd0, [words];
  ld.param.u32 %r4, [seed];
  mov.u32 %r0, %ctaid.x;
  mov.u32 %r1, %ntid.x;
  mov.u32 %r2, %tid.x;
  mad.lo.u32 %r3, %r0, %r1, %r2;
  mul.wide.u32 %rd1, %r3, 4;
  add.u64 %rd2, %rd0, %rd1;
  xor.b32 %r5, %r3, %r4;
  st.global.u32 [%rd2], %r5;
  ret;
}
.visible .entry mix(.param .u64 words, .param .u64 out, .param .u32 rounds)
{
  .shared .align 4 .b8 line[${4 * MIX_THREADS}];
  .reg .pred %p<2>;
  .reg .b64 %rd<6>;
  .reg .b32 %r<16>;
  ld.param.u64 %rd0, [words];
  ld.param.u64 %rd1, [out];
  ld.param.u32 %r10, [rounds];
  mov.u32 %r0, %ctaid.x;
  mov.u32 %r1, %ntid.x;
  mov.u32 %r2, %tid.x;
  mad.lo.u32 %r3, %r0, %r1, %r2;
  mul.wide.u32 %rd2, %r3, 4;
  add.u64 %rd3, %rd0, %rd2;
  add.u64 %rd4, %rd1, %rd2;
  ld.global.u32 %r4, [%rd3];
  mov.u32 %r5, line;
  shl.b32 %r6, %r2, 2;
  add.u32 %r7, %r5, %r6;
  add.u32 %r8, %r2, 1;
  and.b32 %r8, %r8, ${MIX_THREADS - 1};
  shl.b32 %r8, %r8, 2;
  add.u32 %r8, %r5, %r8;
  mov.u32 %r9, 0;
again:
  st.shared.u32 [%r7], %r4;
  bar.sync 0;
  ld.shared.u32 %r11, [%r8];
  bar.sync 0;
  mad.lo.u32 %r4, %r4, 1664525, %r11;
  add.u32 %r9, %r9, 1;
  setp.lt.u32 %p0, %r9, %r10;
  @%p0 bra again;
  st.global.u32 [%rd4], %r4;
  ret;
}
`;

/** What `scale` makes of an input. */
export function scaled(input: Uint8Array): Uint8Array {
  const words = new Uint32Array(input.slice().buffer);
  return new Uint8Array(words.map((word, i) => Math.imul(word, 3) + i).buffer);
}

/** What a unit of the background bundle computes. */
export function mixed(seed = 7): Uint8Array {
  const out = new Uint32Array(MIX_BLOCKS * MIX_THREADS);
  for (let block = 0; block < MIX_BLOCKS; block++) {
    let words = Uint32Array.from({ length: MIX_THREADS }, (_, i) => (block * MIX_THREADS + i) ^ seed);
    for (let round = 0; round < MIX_ROUNDS; round++) {
      words = words.map((word, i) => Math.imul(word, 1664525) + words[(i + 1) % MIX_THREADS]!);
    }
    out.set(words, block * MIX_THREADS);
  }
  return new Uint8Array(out.buffer);
}

export async function writeCriticalBundle(dir: string): Promise<void> {
  const bytes = 4 * CRITICAL_WORDS;
  await writeBundle(dir, "scale", SCALE, {
    buffers: [{ name: "in", role: "input", bytes }, { name: "out", role: "output", bytes }],
    steps: [{
      kernel: "scale",
      grid: [CRITICAL_WORDS / 128, 1, 1],
      block: [128, 1, 1],
      args: [{ buffer: "in" }, { buffer: "out" }],
    }],
  });
}

export async function writeBackgroundBundle(dir: string): Promise<void> {
  const bytes = 4 * MIX_BLOCKS * MIX_THREADS;
  const grid = [MIX_BLOCKS, 1, 1], block = [MIX_THREADS, 1, 1];
  await writeBundle(dir, "mix", MIX, {
    buffers: [{ name: "words", role: "scratch", bytes }, { name: "out", role: "output", bytes }],
    steps: [
      { kernel: "begin", grid, block, args: [{ buffer: "words" }, { u32: 7 }] },
      { kernel: "mix", grid, block, args: [{ buffer: "words" }, { buffer: "out" }, { u32: MIX_ROUNDS }] },
    ],
  });
}

/** Like the other, and where its input, one word, is 1, a kernel of it traps. */
export async function writeTrappingBundle(dir: string): Promise<void> {
  const bytes = 4 * MIX_BLOCKS * MIX_THREADS;
  const grid = [MIX_BLOCKS, 1, 1], block = [MIX_THREADS, 1, 1];
  const check = `
.visible .entry check(.param .u64 word)
{
  .reg .pred %p<2>;
  .reg .b64 %rd<2>;
  .reg .b32 %r<2>;
  ld.param.u64 %rd0, [word];
  ld.global.u32 %r0, [%rd0];
  setp.ne.u32 %p0, %r0, 1;
  @%p0 bra well;
  trap;
well:
  ret;
}
`;
  await writeBundle(dir, "mix", MIX + check, {
    buffers: [
      { name: "words", role: "scratch", bytes },
      { name: "word", role: "input", bytes: 4 },
      { name: "out", role: "output", bytes },
    ],
    steps: [
      { kernel: "begin", grid, block, args: [{ buffer: "words" }, { u32: 7 }] },
      { kernel: "mix", grid, block, args: [{ buffer: "words" }, { buffer: "out" }, { u32: MIX_ROUNDS }] },
      { kernel: "check", grid: [1, 1, 1], block: [1, 1, 1], args: [{ buffer: "word" }] },
    ],
  });
}

async function writeBundle(dir: string, name: string, ptx: string, rest: object): Promise<void> {
  await Deno.mkdir(dir, { recursive: true });
  const bytes = new TextEncoder().encode(ptx);
  await Deno.writeFile(`${dir}/kernels.ptx`, bytes);
  const module = { file: "kernels.ptx", arch: "compute_80", sha256: hexOf(await sha256Of(bytes)) };
  const manifest = { format: "calypte-bundle/1", name, modules: [module], ...rest };
  await Deno.writeTextFile(`${dir}/bundle.json`, JSON.stringify(manifest));
}
