/**
 * Do the random missions catch bugs? Plants each bug of tests/native/mutations.ts in the scheduler core, one at a time,
 * and demands that the missions fail by the rule that is named for it; and that they pass without.
 *
 * Only the file with the bug is compiled anew; everything else is what `make test` has built. Ends with a line such as
 * `ok | 18 passed | 0 failed`, as `deno test` does.
 *
 *   .tools/deno run -A tools/mutations.ts [WORD ...]      only the bugs whose text holds one of the words
 */
import { type Mutation, MUTATIONS } from "../tests/native/mutations.ts";

const ROOT = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
const CORE = `${ROOT}/ffi/native/core`;
const BUILD = `${ROOT}/build`;
const WORK = `${BUILD}/mutations`;
/** Enough for every bug of the list; a mission takes a millisecond. */
const MISSIONS = 1000;
/** A bug may also keep the missions from ending. */
const LIMIT_S = 60;

interface Verdict {
  name: string;
  fault: string | undefined;
}

async function run(command: readonly string[], env: Record<string, string> = {}) {
  const [program = "", ...args] = command;
  const { code, stdout, stderr } = await new Deno.Command(program, { args, env, stdin: "null" }).output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout) + decoder.decode(stderr) };
}

/** The text with the bug, or why there is none. */
export function plant(text: string, { old, new: bug }: Pick<Mutation, "old" | "new">): string | Error {
  const parts = text.split(old);
  if (parts.length === 2) return parts.join(bug);
  return new Error(
    parts.length === 1 ? "its place is gone from the file" : "its place occurs more than once",
  );
}

async function compiler(): Promise<string> {
  const cache = await Deno.readTextFile(`${BUILD}/CMakeCache.txt`);
  return /^CMAKE_CXX_COMPILER:[^=]*=(.+)$/m.exec(cache)?.[1] ?? "c++";
}

/** Objects of the library, by the path of their source below ffi/native. */
async function objects(folder: string, below = ""): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const { name, isDirectory } of Deno.readDir(`${folder}/${below}`)) {
    const path = below === "" ? name : `${below}/${name}`;
    if (isDirectory) {
      for (const [source, object] of await objects(folder, path)) found.set(source, object);
    } else if (name.endsWith(".o")) found.set(path.replace(/\.o$/, ""), `${folder}/${path}`);
  }
  return found;
}

/** Compiles `file` of the core with `text`, and flies. */
async function fly(name: string, file: string, text: string) {
  const folder = `${WORK}/${name}`;
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(`${folder}/${file}`, text);
  const cxx = await compiler();
  const include = [`-I${ROOT}/ffi/native`, `-I${ROOT}/ffi/native/include`];
  const object = `${folder}/${file}.o`;
  const compiled = await run([
    cxx,
    "-std=c++20",
    "-O1",
    "-fPIC",
    ...include,
    "-c",
    `${folder}/${file}`,
    "-o",
    object,
  ]);
  if (compiled.code !== 0) return { code: -1, output: `it does not compile:\n${compiled.output}` };
  const library = await objects(`${BUILD}/CMakeFiles/calypte_objects.dir`);
  library.set(`core/${file}`, object);
  const program = `${folder}/mission_test`;
  const linked = await run([
    cxx,
    "-o",
    program,
    ...library.values(),
    `${BUILD}/tests/CMakeFiles/mission_test.dir/mission_test.cc.o`,
    `${BUILD}/tests/CMakeFiles/calypte_test_main.dir/main.cc.o`,
    "-ldl",
    "-lpthread",
    "-lrt",
  ]);
  if (linked.code !== 0) return { code: -1, output: `it does not link:\n${linked.output}` };
  return await run(["timeout", `${LIMIT_S}`, program, "--test-case=*random missions*"], {
    CALYPTE_MISSIONS: `${MISSIONS}`,
  });
}

async function baseline(): Promise<Verdict> {
  const name = "without a bug the missions pass";
  const file = "scheduler.cc";
  const { code, output } = await fly("none", file, await Deno.readTextFile(`${CORE}/${file}`));
  return { name, fault: code === 0 ? undefined : output };
}

async function caught(mutation: Mutation, index: number): Promise<Verdict> {
  const { bug, file, rules } = mutation;
  const text = plant(await Deno.readTextFile(`${CORE}/${file}`), mutation);
  if (text instanceof Error) return { name: bug, fault: `${file}: ${text.message}: ${mutation.old}` };
  const { code, output } = await fly(`${index}`, file, text);
  if (code === -1) return { name: bug, fault: output };
  if (code === 0) return { name: bug, fault: "nobody noticed" };
  const broken = [...new Set([...output.matchAll(/ rule ([a-z]+): /g)].map(([, rule = ""]) => rule))];
  if (broken.some((rule) => rules.includes(rule))) return { name: bug, fault: undefined };
  const seen = broken.length === 0 ? `no rule (exit ${code})` : broken.join(", ");
  return { name: bug, fault: `must break ${rules.join(" or ")}, and broke ${seen}` };
}

if (import.meta.main) {
  const chosen = MUTATIONS.filter(({ bug }) =>
    Deno.args.length === 0 || Deno.args.some((word) => bug.includes(word))
  );
  const tasks = [baseline, ...chosen.map((mutation, index) => () => caught(mutation, index))];
  const verdicts: Verdict[] = [];
  const worker = async () => {
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) {
      const verdict = await task();
      console.log(
        `${verdict.name} ... ${verdict.fault === undefined ? "caught" : `FAILED: ${verdict.fault}`}`,
      );
      verdicts.push(verdict);
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, navigator.hardwareConcurrency) }, worker));
  const failed = verdicts.filter(({ fault }) => fault !== undefined).length;
  console.log(
    `\n${failed === 0 ? "ok" : "FAILED"} | ${verdicts.length - failed} passed | ${failed} failed`,
  );
  Deno.exit(failed === 0 ? 0 : 1);
}
