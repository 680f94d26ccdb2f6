/**
 * Since which PTX ISA version is there each instruction, modifier, directive and target?
 *
 * Versions are written as in the file: 7.4. Source: the assembler of CUDA 13.0, asked for the lowest `.version` at which it
 * takes each of these; tests/ptx/version_test.ts asks again for every target and for a sample of the instructions. The
 * numbers were *not* compared with NVIDIA's PTX ISA document. Where one is higher than the assembler's it is so on
 * purpose: the driver of an older board may be stricter. What is missing here is not old, it is unknown: version.ts then
 * leaves a module's own version alone.
 *
 * The table starts at 6.0, the first version for sm_70; whatever is older than that says 6.0.
 */

function spread(groups: Record<string, string>): ReadonlyMap<string, number> {
  const entries = Object.entries(groups).flatMap(([version, names]) =>
    names.split(" ").map((name) => [name, Number(version)] as const)
  );
  return new Map(entries);
}

export const TARGETS = spread({
  "6.0": "sm_70",
  "6.1": "sm_72",
  "6.3": "sm_75",
  "7.0": "sm_80",
  "7.1": "sm_86",
  "7.3": "sm_88",
  "7.4": "sm_87",
  "7.8": "sm_89 sm_90",
  "8.0": "sm_90a",
  "8.6": "sm_100 sm_100a",
  "8.7": "sm_120 sm_120a",
  "8.8": "sm_100f sm_103 sm_103a sm_103f sm_120f sm_121 sm_121a sm_121f",
  "9.0": "sm_110 sm_110a sm_110f",
});

export const OPCODES = spread({
  "6.0":
    "abs add addc and atom bar barrier bfe bfi bfind bra brev brkpt brx call clz cnot copysign cos cvt cvta div dp2a dp4a " +
    "ex2 exit fence fma fns isspacep ld ldu lg2 lop3 mad mad24 madc match max membar min mov mul mul24 neg not or pmevent " +
    "popc prefetch prefetchu prmt rcp red rem ret rsqrt sad selp set setp shf shfl shl shr sin slct sqrt st sub subc suld " +
    "suq sured sust testp tex tld4 trap txq vabsdiff vabsdiff2 vabsdiff4 vadd vadd2 vadd4 vavrg2 vavrg4 vmad vmax vmax2 " +
    "vmax4 vmin vmin2 vmin4 vote vset vset2 vset4 vshl vshr vsub vsub2 vsub4 xor",
  "6.2": "activemask",
  "6.3": "nanosleep",
  "6.4": "mma",
  "6.5": "ldmatrix",
  "7.0": "cp redux tanh mbarrier wmma",
  "7.3": "alloca stacksave stackrestore",
  "7.4": "applypriority createpolicy discard",
  "7.6": "bmsk szext",
  "7.8": "getctarank griddepcontrol mapa movmatrix stmatrix",
  "8.0": "elect setmaxnreg wgmma",
});

export const MODIFIERS = spread({
  "6.0":
    // types
    ".b8 .b16 .b32 .b64 .u8 .u16 .u32 .u64 .s8 .s16 .s32 .s64 .f16 .f16x2 .f32 .f64 .pred .s4 .u4 .b1 " +
    // rounding, saturation, precision
    ".rn .rz .rm .rp .rni .rzi .rmi .rpi .sat .ftz .approx .full .cc .lo .hi .wide .noftz .abs " +
    // spaces, vectors, caches
    ".global .shared .local .const .param .nc .v2 .v4 .ca .cg .cs .lu .cv .wb .wt .to .L1 .L2 " +
    // order and scope
    ".weak .volatile .relaxed .acquire .release .acq_rel .sc .cta .gpu .sys .gl " +
    // comparison and logic
    ".eq .ne .lt .le .gt .ge .ls .hs .equ .neu .ltu .leu .gtu .geu .num .nan .and .or .xor .popc .not " +
    ".finite .infinite .number .notanumber .normal .subnormal " +
    // atomics
    ".add .inc .dec .min .max .exch .cas " +
    // threads
    ".sync .red .arrive .warp .aligned .any .all .uni .ballot .up .down .bfly .idx .exit " +
    // bits and bytes
    ".l .r .clamp .wrap .f4e .b4e .rc8 .ecl .ecr .rc16 .shiftamt .trap .zero .h0 .h1 " +
    // textures
    ".1d .2d .3d .a1d .a2d .cube .acube .2dms .a2dms .level .grad .base .width .height .depth " +
    // matrices
    ".row .col .m8n8 .x1 .x2 .x4 .trans .satfinite .m8n8k4 .m16n16k16 .m32n8k16 .m8n32k16 .load .store .mma .a .d",
  "6.5": ".m16n8k8 .m8n8k16 .m8n8k32 .pack",
  "7.0":
    ".bf16 .bf16x2 .tf32 .NaN .relu .rna .async .commit_group .wait_group .wait_all .m16n8k4 .m16n8k16 .m16n8k32 " +
    ".m16n8k64 .m16n8k128 .m16n8k256 .m8n8k128 .m16n16k8 .init .inval .test_wait .arrive_drop .noComplete .pending_count",
  "7.1": ".parity .sp",
  "7.2": ".xorsign",
  "7.4":
    ".L1::evict_normal .L1::evict_unchanged .L1::evict_first .L1::evict_last .L1::no_allocate .L2::evict_normal " +
    ".L2::evict_first .L2::evict_last .L2::evict_unchanged .L2::cache_hint .L2::64B .L2::128B .L2::256B .fractional .range",
  "7.5": ".proxy .alias",
  "7.8": ".shared::cta .shared::cluster .cluster .try_wait .wait .launch_dependents",
  "8.0": ".s16x2 .u16x2 .expect_tx .fence .mma_async .bulk .mbarrier::complete_tx::bytes .mbarrier_init",
  "8.1": ".oob .e4m3x2 .e5m2x2",
  "8.2": ".mmio",
  "8.3": ".b128 .param::entry .param::func",
  "8.6": ".f32x2",
  "8.7": ".e4m3 .e5m2",
  "8.8": ".v8",
});

export const DIRECTIVES = spread({
  "6.0": ".maxntid .reqntid .minnctapersm .maxnctapersm .maxnreg .file .loc",
  "6.3": ".alias",
  "6.4": ".noreturn",
  "7.8": ".reqnctapercluster .explicitcluster .maxclusterrank",
});

/** Special registers that came later than 6.0, as the beginning of their names. */
export const LATE_REGISTERS: readonly (readonly [string, number])[] = [
  ["%reserved_smem", 7.6],
  ["%clusterid", 7.8],
  ["%nclusterid", 7.8],
  ["%cluster_", 7.8],
  ["%is_explicit_cluster", 7.8],
  ["%current_graph_exec", 8.0],
  ["%aggr_smem_size", 8.1],
];
