/** Is advice on the host's set-up right for what its files say, and silent or unknown where they say nothing? */
import { assert, assertEquals, assertMatch } from "../../assert.ts";
import type { Finding } from "../../../agent/doctor/finding.ts";
import { kernelConfigOf } from "../../../agent/doctor/this_machine.ts";
import { type Tuning, tuningFindings } from "../../../agent/doctor/tuning.ts";
import { boardFiles, type SystemAccess } from "../../../jetson/board_files.ts";

const CPU = "/sys/devices/system/cpu";
const PREEMPT = "Linux version 5.15.148-tegra (builder) #1 SMP PREEMPT Mon";
const DYNAMIC = "Linux version 6.8.12-tegra (builder) #1 SMP PREEMPT_DYNAMIC Mon";

/** A board of six cores, set up well. */
const GOOD: Record<string, string> = {
  "/proc/version": PREEMPT,
  "/proc/cmdline": "root=/dev/mmcblk0p1 rw",
  "/proc/swaps": "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority",
  "/proc/sys/kernel/sched_rt_runtime_us": "950000",
  "/proc/sys/kernel/sched_rt_period_us": "1000000",
  "/proc/self/status": "Name:\tcalypte\nCpus_allowed:\t3f\nCpus_allowed_list:\t0-5\nMems_allowed:\t1",
  "/proc/interrupts": interruptsOf([9000, 8000, 8000, 8000, 8000, 8000]),
  [`${CPU}/online`]: "0-5",
  [`${CPU}/isolated`]: "",
  "/etc/nvpmodel.conf": [
    ...["< POWER_MODEL ID=0 NAME=15W >", "CPU_ONLINE CORE_0 1", "< POWER_MODEL ID=1 NAME=25W >"],
    "< POWER_MODEL ID=2 NAME=MAXN_SUPER >",
  ].join("\n"),
};

/** Of one device, beside rows that are on every core by themselves. */
function interruptsOf(counts: number[]): string {
  const row = (name: string, each: (number | string)[], what: string) =>
    `${name.padStart(5)}: ${each.map((count) => String(count).padStart(10)).join(" ")} ${what}`;
  return [
    `      ${counts.map((_, core) => `CPU${core}`.padStart(10)).join(" ")}`,
    row("11", counts.map((_, core) => core === 5 ? 99_000_000 : 7), "GICv3 30 Level arch_timer"),
    row("42", counts, "GICv3 94 Level mmc0"),
    row("IPI0", counts.map((_, core) => core === 4 ? 99_000_000 : 7), "Rescheduling interrupts"),
    "Err: 0",
  ].join("\n");
}

interface Change {
  files?: Record<string, string | undefined>;
  config?: string;
  core?: string;
  mode?: string;
}

function tuningOf({ files = {}, config, core }: Change): Tuning {
  const texts: Record<string, string | undefined> = { ...GOOD, ...files };
  return {
    files: { text: (path) => Promise.resolve(texts[path]), list: () => Promise.resolve([]) },
    kernelConfig: () => Promise.resolve(config),
    criticalCore: core,
  };
}

async function findingsOf(change: Change = {}): Promise<Finding[]> {
  const { mode = "MAXN_SUPER" } = change;
  return await tuningFindings(tuningOf(change), mode === "" ? {} : { powerMode: mode });
}

Deno.test("a board that is set up well has a good line for each thing", async () => {
  assertEquals((await findingsOf()).map(({ what, verdict, text }) => `${verdict} ${what}: ${text}`), [
    "ok kernel: 5.15.148-tegra, preemptible",
    "ok swap: off",
    "ok cores: the critical thread may run on 0-5; core 0 takes 18 % of the devices' interrupts",
    "ok power mode: MAXN_SUPER, the highest",
  ]);
});

const config = (...lines: string[]) =>
  ["", "CONFIG_HIGH_RES_TIMERS=y", "CONFIG_HZ=250", ...lines, ""].join("\n");
const ZRAM = `${GOOD["/proc/swaps"]}\n/dev/zram0 partition 635280 0 5\n/dev/zram1 partition 635280 0 5`;
const HOT = interruptsOf([91_000, 2000, 2000, 2000, 2000, 1000]);

const CASES: readonly [string, Change, string, Finding["verdict"], RegExp, RegExp?][] = [
  [
    "a real-time kernel is good",
    { files: { "/proc/version": "Linux version 5.15.148-rt-tegra (b) #1 SMP PREEMPT_RT Mon" } },
    ...["kernel", "ok", /5\.15\.148-rt-tegra, real-time/] as const,
  ],
  [
    "a kernel that says in its files that it is real-time is good",
    { files: { "/proc/version": "Linux version 6.8 (b) #1 SMP Mon", "/sys/kernel/realtime": "1" } },
    ...["kernel", "ok", /real-time/] as const,
  ],
  [
    "a kernel that does not preempt its own work is warned of",
    { files: { "/proc/version": "Linux version 6.1.0 (b) #1 SMP Mon" } },
    ...["kernel", "warn", /does not preempt its own work \(none\)/, /built with PREEMPT/] as const,
  ],
  [
    "a kernel that chooses at its start is unknown without its configuration",
    { files: { "/proc/version": DYNAMIC } },
    ...["kernel", "warn", /6\.8\.12-tegra: how far .* is not known/, /preempt=full/] as const,
  ],
  [
    "... is as its configuration says",
    {
      files: { "/proc/version": DYNAMIC },
      config: config("CONFIG_PREEMPT_VOLUNTARY=y", "CONFIG_PREEMPT_DYNAMIC=y"),
    },
    ...["kernel", "warn", /6\.8\.12-tegra, 250 Hz: .*\(voluntary\)/, /preempt=full/] as const,
  ],
  [
    "... and its command line beats that",
    {
      files: { "/proc/version": DYNAMIC, "/proc/cmdline": "root=/dev/sda preempt=full quiet" },
      config: config("CONFIG_PREEMPT_NONE=y"),
    },
    ...["kernel", "ok", /250 Hz, preemptible/] as const,
  ],
  [
    "coarse timers are warned of",
    { config: "\nCONFIG_HZ=100\nCONFIG_PREEMPT=y\n" },
    ...["kernel", "warn", /as coarse as its tick/, /HIGH_RES_TIMERS/] as const,
  ],
  [
    "a kernel that nobody can read is unknown",
    { files: { "/proc/version": undefined } },
    ...["kernel", "warn", /cannot be read/] as const,
  ],
  [
    "a tight brake on real-time threads is warned of",
    { files: { "/proc/sys/kernel/sched_rt_runtime_us": "400000" } },
    ...["real-time share", "warn", /40 % of a core, .* 1000 ms/, /sched_rt_runtime_us=950000/] as const,
  ],
  [
    "a kernel that divides real-time work among groups is warned of",
    { config: config("CONFIG_PREEMPT=y", "CONFIG_RT_GROUP_SCHED=y") },
    ...["real-time share", "warn", /a service or container may have none/, /sched_rt_runtime_us=-1/] as const,
  ],
  [
    "swap is warned of, with its areas",
    { files: { "/proc/swaps": ZRAM } },
    ...["swap", "warn", /on: \/dev\/zram0 \(620 MiB\), \/dev\/zram1/, /nvzramconfig/] as const,
  ],
  [
    "swap that nobody can read is unknown",
    { files: { "/proc/swaps": undefined } },
    "swap",
    "warn",
    /cannot be read/,
  ],
  [
    "swap's file with nonsense is unknown",
    { files: { "/proc/swaps": "\u0000\u0001" } },
    "swap",
    "warn",
    /cannot be read/,
  ],
  [
    "isolated cores that nobody uses are warned of",
    { files: { [`${CPU}/isolated`]: "4-5" } },
    ...["cores", "warn", /4-5 isolated, and not used/, /CALYPTE_CRITICAL_CORE=4/] as const,
  ],
  [
    "an isolated core for the critical thread is good",
    { files: { [`${CPU}/isolated`]: "4-5" }, core: "5" },
    ...["cores", "ok", /core 5 is the critical thread's, and isolated/] as const,
  ],
  [
    "a core for the critical thread is good, and others may use it",
    { core: "3" },
    ...["cores", "ok", /others may use it too/] as const,
  ],
  [
    "a core that is not there fails",
    { core: "6" },
    ...["cores", "fail", /CALYPTE_CRITICAL_CORE=6: there is no such core/, /one of 0-5/] as const,
  ],
  ["a core that is no number fails", { core: "big" }, "cores", "fail", /no such core/],
  [
    "a core that takes most interrupts is warned of, its timer and its messages apart",
    { files: { "/proc/interrupts": HOT } },
    ...["cores", "warn", /core 0 takes 91 % of the devices' interrupts/, /CALYPTE_CRITICAL_CORE=5/] as const,
  ],
  [
    "... and as the critical thread's",
    { files: { "/proc/interrupts": HOT }, core: "0" },
    ...["cores", "warn", /core 0 is the critical thread's, and takes 91 %/, /smp_affinity_list/] as const,
  ],
  [
    "... and is good where the process may not run there",
    { files: { "/proc/interrupts": HOT, "/proc/self/status": "Cpus_allowed_list:\t1-5" } },
    ...["cores", "ok", /may run on 1-5/] as const,
  ],
  [
    "of few interrupts nothing follows",
    { files: { "/proc/interrupts": interruptsOf([900, 0, 0, 0, 0, 0]) } },
    ...["cores", "ok", /^the critical thread may run on 0-5$/] as const,
  ],
  [
    "interrupts that nobody can read are left out",
    { files: { "/proc/interrupts": undefined } },
    ...["cores", "ok", /^the critical thread may run on 0-5$/] as const,
  ],
  [
    "cores that nobody can read are unknown",
    { files: { [`${CPU}/online`]: "0-" } },
    "cores",
    "warn",
    /cannot be read/,
  ],
  [
    "a power mode below the highest is warned of",
    { mode: "15W" },
    ...[
      "power mode",
      "warn",
      /15W; MAXN_SUPER is faster/,
      /nvpmodel -m 2, if the supply and the cooling/,
    ] as const,
  ],
  [
    "a mode that the table does not have is not judged",
    { mode: "7" },
    ...["power mode", "ok", /7; which is the highest is not known/] as const,
  ],
  [
    "a mode without its table is not judged",
    { mode: "15W", files: { "/etc/nvpmodel.conf": undefined } },
    ...["power mode", "ok", /not known/] as const,
  ],
];

for (const [name, change, what, verdict, text, remedy] of CASES) {
  Deno.test(name, async () => {
    const found = (await findingsOf(change)).find((each) => each.what === what);
    assert(found !== undefined, "there is a line");
    assertEquals(found.verdict, verdict, found.text);
    assertMatch(found.text, text);
    if (remedy !== undefined) assertMatch(found.remedy ?? "", remedy);
    if (verdict === "ok") assertEquals(found.remedy, undefined);
  });
}

Deno.test("a brake as every kernel has it, none, and one that nobody can read, are no lines", async () => {
  for (const runtime of ["950000", "-1", "many", undefined]) {
    const found = await findingsOf({ files: { "/proc/sys/kernel/sched_rt_runtime_us": runtime } });
    assert(found.every(({ what }) => what !== "real-time share"), String(runtime));
  }
});

Deno.test("a machine without power modes has no line of them", async () => {
  assert((await findingsOf({ mode: "" })).every(({ what }) => what !== "power mode"));
});

Deno.test("whatever stands in the files, nothing throws and nothing is said to be good that was not read", async () => {
  for (
    const text of [
      undefined,
      "",
      "\n\n",
      "-",
      "9".repeat(400),
      "0-99999",
      "\u001b[31mred\u001b[0m",
      "CPU0 CPU1\n1:",
    ]
  ) {
    const files = Object.fromEntries(Object.keys(GOOD).map((path) => [path, text]));
    const found = await tuningFindings(tuningOf({ files, core: text ?? "" }), { powerMode: "15W" });
    for (const each of found) {
      assert(!each.text.includes("\u001b"), each.text);
      if (["swap", "cores"].includes(each.what)) {
        assert(each.verdict !== "ok", `${JSON.stringify(text)}: ${each.text}`);
      }
    }
  }
});

Deno.test("the kernel's configuration is the one beside it, else its own, else unknown", async () => {
  const boot = await Deno.makeTempDir({ prefix: "calypte-boot-" });
  const encoder = new TextEncoder();
  const packed = new Uint8Array(
    await new Response(
      new Blob(["\nCONFIG_HZ=1000\n"]).stream().pipeThrough(new CompressionStream("gzip")),
    ).arrayBuffer(),
  );
  const systemOf = (release: string, own: Uint8Array | undefined): SystemAccess => ({
    read(path: string) {
      if (path === "/proc/sys/kernel/osrelease") return encoder.encode(`${release}\n`);
      if (path === "/proc/config.gz" && own !== undefined) return own;
      throw new Error(`${path}: not found`);
    },
    list: () => [],
  } as unknown as SystemAccess);
  try {
    await Deno.writeTextFile(`${boot}/config-5.15.148-tegra`, "\nCONFIG_HZ=250\n");
    await Deno.writeTextFile(`${boot}/secret`, "not a configuration");
    assertEquals(await kernelConfigOf(systemOf("5.15.148-tegra", packed), boot), "\nCONFIG_HZ=250\n");
    assertEquals(await kernelConfigOf(systemOf("6.8.12", packed), boot), "\nCONFIG_HZ=1000\n");
    assertEquals(await kernelConfigOf(systemOf("x/../../secret", undefined), boot), undefined);
    assertEquals(await kernelConfigOf(systemOf("6.8.12", encoder.encode("no gzip")), boot), undefined);
    assertEquals(await kernelConfigOf(undefined, `${boot}/nowhere`), undefined);
  } finally {
    await Deno.remove(boot, { recursive: true });
  }
});

Deno.test("a board's tree without these files is unknown, and its power mode is judged", async () => {
  const root = new URL("../../fixtures/jetson/orin-nano-jp6", import.meta.url).pathname;
  const found = await tuningFindings({
    files: boardFiles(root),
    kernelConfig: () => Promise.resolve(undefined),
    criticalCore: undefined,
  }, { powerMode: "7W" });
  const mode = found.find(({ what }) => what === "power mode");
  assertMatch(mode?.text ?? "", /^7W; 15W is faster$/);
  assertMatch(mode?.remedy ?? "", /nvpmodel -m 0/);
  assertEquals(found.filter(({ what }) => what === "swap").map(({ verdict }) => verdict), ["warn"]);
});
