/** Is what the Debian package installs right: its layout, its scripts, its unit? The package is made with stand-ins for what takes long to build. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../assert.ts";
import { boardFiles } from "../../jetson/board_files.ts";
import { gpuClockFolders } from "../../jetson/telemetry_sysfs.ts";
import { hostArch, layOut, newestGlibc } from "../../tools/deb.ts";
import { exists } from "../../tools/denort.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const UNIT = `${ROOT}/jetson/systemd/calypte.service`;

async function run(program: string, ...args: string[]): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args, env: { LC_ALL: "C" } }).output();
  const decoder = new TextDecoder();
  return { code, text: decoder.decode(stdout) + decoder.decode(stderr) };
}

const missing = (program: string) => !exists(`/usr/bin/${program}`);

async function makePackage(dir: string): Promise<string> {
  await layOut(`${dir}/tree`, hostArch(), "/bin/true", "/bin/true");
  const file = `${dir}/calypte.deb`;
  const { code, text } = await run(
    "dpkg-deb",
    "--root-owner-group",
    "-Zxz",
    "-z0",
    "--build",
    `${dir}/tree`,
    file,
  );
  assertEquals(code, 0, text);
  return file;
}

Deno.test({
  name: "the package installs executable and library side by side, owned by root",
  ignore: missing("dpkg-deb"),
  async fn() {
    const dir = await Deno.makeTempDir();
    const file = await makePackage(dir);
    const { text } = await run("dpkg-deb", "--contents", file);
    for (
      const path of [
        "-rwxr-xr-x root/root .* ./usr/lib/calypte/calypte\n",
        "-rw-r--r-- root/root .* ./usr/lib/calypte/libcalypte.so\n",
        "-rwxr-xr-x root/root .* ./usr/sbin/calypte-release\n",
        "-rw-r--r-- root/root .* ./lib/systemd/system/calypte.service\n",
        "-rw-r--r-- root/root .* ./lib/udev/rules.d/60-calypte.rules\n",
        "lrwxrwxrwx root/root .* ./usr/bin/calypte -> ../lib/calypte/calypte\n",
        "drwxr-xr-x root/root .* ./usr/lib/calypte/\n",
      ]
    ) assertMatch(text, new RegExp(path));
    const { text: control } = await run("dpkg-deb", "--field", file);
    assertStringIncludes(control, `\nArchitecture: ${hostArch()}\n`);
    assertMatch(control, /^Version: \d+\.\d+\.\d+$/m);
    assert(!/@[A-Z]+@/.test(control), control);
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test({
  name: "lintian finds nothing but the exceptions that are listed",
  ignore: missing("lintian") || missing("dpkg-deb"),
  async fn() {
    const dir = await Deno.makeTempDir();
    const { text } = await run("lintian", "--allow-root", "--fail-on", "none", await makePackage(dir));
    const found = text.split("\n").filter((line) => /^[EW]:/.test(line))
      // Of the stand-ins.
      .filter((line) => !/ (mismatched-override|binary-without|unstripped|embedded)/.test(line));
    assertEquals(found, []);
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test("the package asks for the C library that its programs need", () => {
  const program = (text: string) => new TextEncoder().encode(text);
  const old = program("\0GLIBC_2.2.5\0GLIBC_2.27\0");
  assertEquals(newestGlibc([old]), "2.27");
  assertEquals(newestGlibc([old, program("\0GLIBC_2.4\0x\0GLIBC_2.35\0GLIBC_2.9\0")]), "2.35");
});

Deno.test("the package's scripts are shell that can be read", async () => {
  for (const script of ["postinst", "prerm", "postrm", "calypte-release"]) {
    const { code, text } = await run("sh", "-n", `${ROOT}/jetson/deb/${script}`);
    assertEquals([code, text], [0, ""], script);
  }
});

/** With programs that are there: whether they are installed is not the unit's. */
async function unitForVerify(dir: string): Promise<string> {
  const text = await Deno.readTextFile(UNIT);
  const file = `${dir}/calypte.service`;
  const there = text.replace("/usr/sbin/calypte-release", "/bin/true")
    .replace("/var/lib/calypte/current/calypte", "/bin/true")
    .replace(/^Documentation=.*\n/m, "");
  assert(!there.includes("Exec" + "Start=/var"), there);
  await Deno.writeTextFile(file, there);
  return file;
}

Deno.test({
  name: "systemd-analyze verify has nothing to say about the service",
  ignore: missing("systemd-analyze"),
  async fn() {
    const dir = await Deno.makeTempDir();
    const { code, text } = await run("systemd-analyze", "verify", "--man=no", await unitForVerify(dir));
    assertEquals([code, text], [0, ""]);
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test({
  name: "systemd-analyze verify has nothing to say about the camera's service",
  ignore: missing("systemd-analyze"),
  async fn() {
    const dir = await Deno.makeTempDir();
    const unit = await Deno.readTextFile(`${ROOT}/jetson/camera/calypte-camera.service`);
    const file = `${dir}/calypte-camera.service`;
    const there = unit.replace("/usr/local/bin/calypte-camera", "/bin/true").replace(
      /^Documentation=.*\n/m,
      "",
    );
    assert(there.includes("ExecStart=/bin/true $CAMERA_OPTIONS ${CAMERA_PIPELINE}\n"), there);
    await Deno.writeTextFile(file, there);
    const { code, text } = await run("systemd-analyze", "verify", "--man=no", file);
    assertEquals([code, text], [0, ""]);
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test({
  name: "the camera's program can be built from what the package installs alone",
  ignore: missing("cc") ||
    (await run("pkg-config", "--exists", "gstreamer-video-1.0").catch(() => undefined))?.code !== 0,
  async fn() {
    const dir = await Deno.makeTempDir();
    await layOut(`${dir}/tree`, hostArch(), "/bin/true", "/bin/true");
    const readme = await Deno.readTextFile(`${dir}/tree/usr/share/doc/calypte/examples/camera/README.md`);
    // The command that the manual gives, in the folder that it names.
    const command = readme.match(/^sudo (cc [^]*?\))\n/m)?.[1]?.replace(
      "/usr/local/bin/calypte-camera",
      `${dir}/camera`,
    );
    assert(command !== undefined, readme);
    const { code, text } = await run(
      "sh",
      "-c",
      `cd "$1/usr/share/doc/calypte/examples/camera" && ${command}`,
      "sh",
      `${dir}/tree`,
    );
    assertEquals([code, text], [0, ""]);
    assertEquals((await run(`${dir}/camera`)).code, 2);
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test({
  name: "the client of external tasks can be built from what the package installs alone",
  ignore: missing("cc"),
  async fn() {
    const dir = await Deno.makeTempDir();
    await layOut(`${dir}/tree`, hostArch(), "/bin/true", "/bin/true");
    const manual = await Deno.readTextFile(`${dir}/tree/usr/share/doc/calypte/MODELS.md`);
    const command = manual.match(/^sudo (cc .*client\.c.*)$/m)?.[1]?.replace("/usr/local/lib", dir);
    assert(command !== undefined, manual);
    const folder = `${dir}/tree/usr/share/doc/calypte/examples/client`;
    assertEquals(await run("sh", "-c", `cd "$1" && ${command}`, "sh", folder), { code: 0, text: "" });
    // Python's binding finds it beside itself, and without an agent every call does nothing.
    await Deno.copyFile(`${dir}/libcalypte_client.so`, `${folder}/libcalypte_client.so`);
    const script =
      "from calypte_client import Client\nc = Client('/nowhere.sock')\nwith c.request(): pass\nc.close()";
    const tried = await new Deno.Command("python3", { args: ["-c", script], cwd: folder }).output()
      .catch(() => undefined);
    if (tried !== undefined) assertEquals(new TextDecoder().decode(tried.stderr), "");
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test({
  name: "systemd-analyze security rates the service's exposure at 2.0 or less",
  ignore: missing("systemd-analyze"),
  async fn() {
    const { code, text } = await run("systemd-analyze", "security", "--offline=yes", "--threshold=20", UNIT);
    assertMatch(text, /Overall exposure level for calypte.service: \d\.\d/);
    assertEquals(
      code,
      0,
      text.split("\n").filter((line) => line.startsWith("✗") || line.includes("Overall")).join("\n"),
    );
  },
});

Deno.test({
  name: "the service's user and its groups can be made",
  ignore: missing("systemd-sysusers"),
  async fn() {
    const { code, text } = await run(
      "systemd-sysusers",
      "--dry-run",
      `${ROOT}/jetson/systemd/calypte.sysusers`,
    );
    assertEquals(code, 0, text);
  },
});

Deno.test("the service may hold the GPU's clock of each board up, and nothing else of the system", async () => {
  const [unit, rules] = await Promise.all([
    Deno.readTextFile(UNIT),
    Deno.readTextFile(`${ROOT}/jetson/systemd/calypte.rules`),
  ]);
  const kernel = /KERNEL=="\*(\w+)\*"/.exec(rules)?.[1];
  const opened = /^ReadWritePaths=(-\/sys.*)$/m.exec(unit)?.[1]?.split(" ") ?? [];
  let nodes = 0;
  for (const board of ["orin-nano-jp6", "agx-orin-jp6", "orin-jp7", "thor-jp7"]) {
    for (const folder of await gpuClockFolders(boardFiles(`${ROOT}/tests/fixtures/jetson/${board}`))) {
      nodes++;
      assert(opened.includes(`-${folder}`), `${board}: ${folder} is not the service's to write`);
      assert(folder.split("/").at(-1)!.includes(kernel!), `${board}: no rule gives ${folder} to the service`);
    }
  }
  assert(nodes >= 4);
  assert(opened.every((path) => path.startsWith("-/sys/class/devfreq/")), opened.join(" "));
  // Of a node nothing but the file that a run writes.
  assertEquals([...rules.matchAll(/\/sys%p\/(\w+)/g)].map((match) => match[1]), ["min_freq", "min_freq"]);
});

Deno.test("the service is told when it is ready, is watched, and leaves its engine at work when its agent dies", async () => {
  const unit = await Deno.readTextFile(UNIT);
  for (
    const line of [
      "Type=notify",
      "NotifyAccess=main",
      "WatchdogSec=10",
      "KillMode=process",
      "LimitRTPRIO=90",
      "LimitMEMLOCK=infinity",
      "RuntimeDirectory=calypte",
      "RestartPreventExitStatus=2",
    ]
  ) assert(unit.split("\n").includes(line), line);
  assert(!/^MemoryDenyWriteExecute=/m.test(unit), "V8 ends the process under it");
  assert(!/^RestrictRealtime=yes|^PrivateDevices=yes/m.test(unit));
});

/** Of a shell block in OPERATIONS.md that begins with the command. */
async function documented(command: string): Promise<string> {
  const text = await Deno.readTextFile(`${ROOT}/docs/OPERATIONS.md`);
  const block = [...text.matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1]!).find((block) =>
    block.startsWith(command)
  );
  assert(block !== undefined, `docs/OPERATIONS.md has no block that begins with ${command}`);
  return block;
}

Deno.test("the container's run line is one command that names what the engine needs", async () => {
  const line = await documented("docker run");
  const { code, text } = await run("sh", "-n", "-c", line);
  assertEquals([code, text], [0, ""]);
  for (
    const option of [
      "--runtime nvidia",
      "NVIDIA_VISIBLE_DEVICES=all",
      "--ipc",
      "--ulimit rtprio=",
      "--ulimit memlock=-1",
      ":/run/calypte",
    ]
  ) assertStringIncludes(line, option);
  // docker itself reads the options: an unknown one is an error even where no daemon answers.
  const docker = ["/usr/bin/docker", "/usr/local/bin/docker"].find(exists);
  if (docker === undefined) return;
  const options = line.match(/--[a-z-]+/g) ?? [];
  const { text: help } = await run(docker, "run", "--help");
  for (const option of new Set(options)) {
    if (["--backend", "--lock-memory"].includes(option)) continue;
    assertMatch(help, new RegExp(`${option}[ ,]`), option);
  }
});
