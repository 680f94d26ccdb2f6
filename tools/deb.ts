/**
 * Makes the Debian package: dist/calypte_VERSION_ARCH.deb.
 *
 *   make deb [ARCH=arm64]
 *
 * The executable and the library beside it, the service, its user, and `calypte-release`, which takes missions into service. It needs dpkg-deb and
 * what `make compile` has made for that architecture. The same files and the same commit give the same package.
 */
import { parseArgs, path } from "../agent/std/mod.ts";
import { VERSION } from "../agent/version.ts";
import { compile, libraryFor, outputFor, targetOf } from "./compile.ts";
import { exists, NoRuntime } from "./denort.ts";

const ROOT = path.fromFileUrl(new URL("..", import.meta.url)).replace(/\/$/, "");
const HERE = "jetson/deb";

export type Arch = "amd64" | "arm64";

interface PackageFile {
  /** In the package. */
  to: string;
  /** From the root of the tree, or absolute. */
  from: string;
  mode?: number;
}

/** To be built on the board, against its own GStreamer. */
const CAMERA = "usr/share/doc/calypte/examples/camera";

/** For processes of one's own: rings, and three calls around an inference. To be built on the board, too. */
const CLIENT = "usr/share/doc/calypte/examples/client";

/** Beside the executable and the library, which are built. */
export const FILES: readonly PackageFile[] = [
  { to: "usr/sbin/calypte-release", from: `${HERE}/calypte-release`, mode: 0o755 },
  { to: "lib/systemd/system/calypte.service", from: "jetson/systemd/calypte.service" },
  { to: "usr/lib/sysusers.d/calypte.conf", from: "jetson/systemd/calypte.sysusers" },
  { to: "lib/udev/rules.d/60-calypte.rules", from: "jetson/systemd/calypte.rules" },
  { to: "etc/default/calypte", from: `${HERE}/default` },
  { to: "usr/share/doc/calypte/OPERATIONS.md", from: "docs/OPERATIONS.md" },
  { to: "usr/share/doc/calypte/JETSON.md", from: "docs/JETSON.md" },
  { to: "usr/share/doc/calypte/CHANGELOG.md", from: "CHANGELOG.md" },
  { to: "usr/share/doc/calypte/copyright", from: `${HERE}/copyright` },
  ...[
    "camera.c",
    "frame.c",
    "frame.h",
    "options.c",
    "options.h",
    "README.md",
    "calypte-camera.service",
    "calypte-camera.default",
  ]
    .map((
      name,
    ) => ({ to: `${CAMERA}/${name}`, from: `jetson/camera/${name}` })),
  { to: `${CAMERA}/calypte_ring.h`, from: "ffi/native/include/calypte_ring.h" },
  ...["client.c", "cuda.c", "cuda.h", "page.h", "calypte_client.py"].map((name) => ({
    to: `${CLIENT}/${name}`,
    from: `ffi/native/client/${name}`,
  })),
  ...["calypte_client.h", "calypte_ring.h"].map((name) => ({
    to: `${CLIENT}/${name}`,
    from: `ffi/native/include/${name}`,
  })),
  { to: `${CLIENT}/detector.py`, from: "examples/external/detector.py" },
  { to: "usr/share/doc/calypte/MODELS.md", from: "docs/MODELS.md" },
  { to: "usr/share/lintian/overrides/calypte", from: `${HERE}/lintian-overrides` },
];
const CONFIGURATION = ["/etc/default/calypte"];
const SCRIPTS = ["postinst", "prerm", "postrm"];

/** Which of Debian's architectures this machine has. */
export function hostArch(): Arch {
  return Deno.build.arch === "aarch64" ? "arm64" : "amd64";
}

/** Lays the package out in `folder`, which must not be there yet. */
export async function layOut(folder: string, arch: Arch, executable: string, library: string): Promise<void> {
  const files: PackageFile[] = [
    { to: "usr/lib/calypte/calypte", from: executable, mode: 0o755 },
    { to: "usr/lib/calypte/libcalypte.so", from: library },
    ...FILES,
  ];
  for (const { to, from, mode = 0o644 } of files) {
    await makeFolders(folder, path.dirname(to));
    await Deno.copyFile(path.resolve(ROOT, from), `${folder}/${to}`);
    await Deno.chmod(`${folder}/${to}`, mode);
  }
  await makeFolders(folder, "usr/bin");
  await Deno.symlink("../lib/calypte/calypte", `${folder}/usr/bin/calypte`);
  await makeFolders(folder, "usr/share/doc/calypte");
  const text = new TextEncoder().encode(await changelog());
  await gzip(text, `${folder}/usr/share/doc/calypte/changelog.gz`);
  await makeFolders(folder, "DEBIAN");
  const sizeKib = Math.ceil((await sizeOf(folder)) / 1024);
  const control = (await Deno.readTextFile(`${ROOT}/${HERE}/control`))
    .replace("@VERSION@", VERSION).replace("@ARCH@", arch).replace("@SIZE@", String(sizeKib))
    .replace("@GLIBC@", newestGlibc([await Deno.readFile(executable), await Deno.readFile(library)]));
  await Deno.writeTextFile(`${folder}/DEBIAN/control`, control, { mode: 0o644 });
  await Deno.writeTextFile(`${folder}/DEBIAN/conffiles`, CONFIGURATION.join("\n") + "\n", { mode: 0o644 });
  await Deno.writeTextFile(`${folder}/DEBIAN/md5sums`, await md5sums(folder), { mode: 0o644 });
  for (const script of SCRIPTS) {
    await Deno.copyFile(`${ROOT}/${HERE}/${script}`, `${folder}/DEBIAN/${script}`);
    await Deno.chmod(`${folder}/DEBIAN/${script}`, 0o755);
  }
}

/** The C library that the programs need at least, by the versions of the symbols that they name. */
export function newestGlibc(programs: readonly Uint8Array[]): string {
  const versions = programs.flatMap((bytes) => {
    const text = new TextDecoder("latin1").decode(bytes);
    return [...text.matchAll(/\0GLIBC_2\.(\d+)(?:\.\d+)?(?=\0)/g)].map((match) => Number(match[1]));
  });
  if (versions.length === 0) throw new Error("neither program names a version of the C library");
  return `2.${Math.max(...versions)}`;
}

/** Folders of 0755, whatever the mask of whoever builds. */
async function makeFolders(root: string, folder: string): Promise<void> {
  let made = root;
  for (const part of ["", ...folder.split("/")]) {
    made = part === "" ? made : `${made}/${part}`;
    await Deno.mkdir(made, { recursive: true });
    await Deno.chmod(made, 0o755);
  }
}

async function sizeOf(folder: string): Promise<number> {
  let size = 0;
  for await (const { name, isDirectory, isFile } of Deno.readDir(folder)) {
    if (isDirectory) size += await sizeOf(`${folder}/${name}`);
    if (isFile) size += (await Deno.stat(`${folder}/${name}`)).size;
  }
  return size;
}

/** In Debian's form, which says nothing of its own. */
async function changelog(): Promise<string> {
  const { SOURCE_DATE_EPOCH: seconds = "0" } = await commitTime();
  const date = new Date(Number(seconds) * 1000).toUTCString().replace("GMT", "+0000");
  const author = (await Deno.readTextFile(`${ROOT}/${HERE}/control`)).match(/^Maintainer: (.*)$/m)?.[1];
  return `calypte (${VERSION}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- ${author}  ${date}\n`;
}

/** Without a name or a time in it. */
async function gzip(bytes: Uint8Array, file: string): Promise<void> {
  const child = new Deno.Command("gzip", { args: ["-9n"], stdin: "piped", stdout: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  const [{ stdout }] = await Promise.all([child.output(), writer.write(bytes).then(() => writer.close())]);
  await Deno.writeFile(file, stdout, { mode: 0o644 });
}

async function md5sums(folder: string): Promise<string> {
  const { stdout } = await new Deno.Command("sh", {
    args: ["-c", "find etc lib usr -type f -print0 | LC_ALL=C sort -z | grep -zv '^etc/' | xargs -0 md5sum"],
    cwd: folder,
  }).output();
  return new TextDecoder().decode(stdout);
}

/** Of the last commit, so that a package can be made again; nothing outside a repository. */
async function commitTime(): Promise<Record<string, string>> {
  const { success, stdout } = await new Deno.Command("git", {
    args: ["log", "-1", "--format=%ct"],
    cwd: ROOT,
    stderr: "null",
  }).output();
  return success ? { SOURCE_DATE_EPOCH: new TextDecoder().decode(stdout).trim() } : {};
}

/** Returns the package's path. Throws `NoRuntime` as `compile`, `Error` if dpkg-deb fails. */
export async function build(arch: Arch): Promise<string> {
  const target = targetOf(arch);
  const library = libraryFor(target);
  if (!exists(library)) {
    throw new Error(`${library} is not there: run \`make ${arch === hostArch() ? "build" : "cross"}\``);
  }
  const executable = outputFor(target);
  await compile({ target, library, output: executable });
  const folder = `${ROOT}/dist/deb-${arch}`;
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  await layOut(folder, arch, executable, library);
  const file = `${ROOT}/dist/calypte_${VERSION}_${arch}.deb`;
  const { success } = await new Deno.Command("dpkg-deb", {
    args: ["--root-owner-group", "-Zxz", "-z1", "--build", folder, file],
    env: await commitTime(),
    stdout: "null",
    stderr: "inherit",
  }).output();
  if (!success) throw new Error("dpkg-deb failed, see above");
  await Deno.remove(folder, { recursive: true });
  return file;
}

async function main(): Promise<number> {
  const { arch = hostArch() } = parseArgs(Deno.args, { string: ["arch"] }) as { arch?: string };
  if (arch !== "amd64" && arch !== "arm64") {
    console.error(`deb: no such architecture: ${arch}; there are amd64 and arm64`);
    return 1;
  }
  try {
    const file = await build(arch);
    const { size } = await Deno.stat(file);
    console.error(`deb: ${path.relative(Deno.cwd(), file)}, ${(size / 1e6).toFixed(0)} MB`);
    return 0;
  } catch (error) {
    console.error(`deb: ${error instanceof Error ? error.message : String(error)}`);
    return error instanceof NoRuntime ? 3 : 1;
  }
}

if (import.meta.main) Deno.exit(await main());
