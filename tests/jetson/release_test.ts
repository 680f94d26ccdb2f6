/**
 * calypte-release: is it always one release as a whole that flies, whatever happens in between? With a systemctl and agents that
 * are scripts of a few lines; what they do is asked for by files.
 */
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";

const SCRIPT = new URL("../../jetson/deb/calypte-release", import.meta.url).pathname;

/** Active if `active` is there. Starting does what the unit says; `cut` is a power cut at the next start. */
const SYSTEMCTL = `#!/bin/sh
echo "$*" >>"$CALYPTE_ROOT/../calls"
case "$1" in
  is-active) test -e "$CALYPTE_ROOT/../active" ;;
  stop) rm -f "$CALYPTE_ROOT/../active" ;;
  start)
    if [ -e "$CALYPTE_ROOT/../cut" ]; then kill -9 "$PPID"; exit 1; fi
    "$RELEASE" recover || exit 1
    test -e "$CALYPTE_ROOT/current/never-ready" && exit 1
    touch "$CALYPTE_ROOT/../active"
    ;;
esac
`;

const AGENT = `#!/bin/sh
here=$(dirname "$0")
case "$1 $2" in
  "config check") ! grep -q wrong "$3" ;;
  "status --json") cat "$here/answer" ;;
  "status ") test -e "$here/../../active" ;;
esac
`;

class Board implements AsyncDisposable {
  readonly root: string;
  private constructor(readonly dir: string) {
    this.root = `${dir}/lib`;
  }

  static async make(): Promise<Board> {
    const board = new Board(await Deno.makeTempDir());
    await Deno.mkdir(`${board.dir}/bin`);
    await Deno.mkdir(`${board.dir}/package`);
    await Deno.writeTextFile(`${board.dir}/bin/systemctl`, SYSTEMCTL, { mode: 0o755 });
    await Deno.writeTextFile(`${board.dir}/package/calypte`, AGENT, { mode: 0o755 });
    await Deno.writeTextFile(`${board.dir}/package/libcalypte.so`, "library");
    return board;
  }

  /** A folder to be installed. */
  async folder(name: string, files: Record<string, string> = {}): Promise<string> {
    const folder = `${this.dir}/${name}`;
    await Deno.mkdir(`${folder}/bundles`, { recursive: true });
    const all = {
      "mission.yaml": name,
      "bundles/weights.bin": name,
      answer: '{"flight":{"armed":false}}',
      ...files,
    };
    for (const [file, text] of Object.entries(all)) await Deno.writeTextFile(`${folder}/${file}`, text);
    return folder;
  }

  async release(...args: string[]): Promise<{ code: number; out: string; err: string }> {
    const { code, stdout, stderr } = await new Deno.Command("sh", {
      args: [SCRIPT, ...args],
      env: {
        PATH: `${this.dir}/bin:${Deno.env.get("PATH")}`,
        CALYPTE_ROOT: this.root,
        CALYPTE_PACKAGE: `${this.dir}/package`,
        CALYPTE_READY_TRIES: "1",
        RELEASE: SCRIPT,
      },
    }).output();
    const decoder = new TextDecoder();
    return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
  }

  async install(name: string, files: Record<string, string> = {}, ...args: string[]) {
    return await this.release("install", await this.folder(name, files), "--name", name, ...args);
  }

  read(file: string): string {
    return Deno.readTextFileSync(`${this.root}/${file}`).trim();
  }

  has(file: string): boolean {
    try {
      Deno.lstatSync(`${this.root}/${file}`);
      return true;
    } catch {
      return false;
    }
  }

  /** What is in service: mission, bundle and name have to be of one release. */
  flying(): string {
    const parts = new Set([
      this.read("current/release"),
      this.read("current/mission.yaml"),
      this.read("current/bundles/weights.bin"),
    ]);
    assertEquals(parts.size, 1, [...parts].join(", "));
    return [...parts][0]!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.dir, { recursive: true });
  }
}

function releaseTest(name: string, test: (board: Board) => Promise<void>): void {
  Deno.test(`calypte-release ${name}`, async () => {
    await using board = await Board.make();
    await test(board);
  });
}

releaseTest(
  "takes a first release into service, with the package's executable and library",
  async (board) => {
    const { code, err } = await board.install("one");
    assertEquals(code, 0, err);
    assertEquals(board.flying(), "one");
    assertEquals(board.read("current/libcalypte.so"), "library");
    assertEquals([board.has("trial"), board.has("current/state")], [false, true]);
  },
);

releaseTest("carries what was learned along, and goes back to what was learned before", async (board) => {
  await board.install("one");
  await Deno.writeTextFile(`${board.root}/current/state/learned`, "by one");
  assertEquals((await board.install("two")).code, 0);
  assertEquals([board.flying(), board.read("current/state/learned")], ["two", "by one"]);
  await Deno.writeTextFile(`${board.root}/current/state/learned`, "by two");
  assertEquals((await board.release("rollback")).code, 0);
  assertEquals([board.flying(), board.read("current/state/learned")], ["one", "by one"]);
  assertEquals((await board.release("list")).out, "one in service\ntwo before\n");
});

releaseTest("goes back as a whole when a release does not get ready", async (board) => {
  await board.install("one");
  await Deno.writeTextFile(`${board.root}/current/state/learned`, "by one");
  const { code, err } = await board.install("two", { "never-ready": "" });
  assertEquals(code, 1, err);
  assertStringIncludes(err, "did not get ready: going back to one");
  assertEquals([board.flying(), board.read("current/state/learned"), board.has("trial")], [
    "one",
    "by one",
    false,
  ]);
  assert(board.has("../active"), "the old release runs again");
});

releaseTest("touches nothing while the vehicle is armed, or does not say that it is not", async (board) => {
  await board.install("one");
  for (const answer of ['{"flight":{"armed":true}}', '{"state":"ready"}', ""]) {
    await Deno.writeTextFile(`${board.root}/current/answer`, answer);
    await Deno.remove(`${board.dir}/calls`);
    for (const { code, err } of [await board.install("two"), await board.release("rollback")]) {
      assertEquals(code, 2, err);
    }
    const calls = await Deno.readTextFile(`${board.dir}/calls`);
    assertEquals([board.flying(), calls.includes("stop"), board.has("releases/two")], ["one", false, false]);
  }
  assertEquals((await board.install("two", {}, "--disarmed")).code, 0, "on the operator's word");
  assertEquals(board.flying(), "two");
});

releaseTest("does not take a mission that is not good into service", async (board) => {
  await board.install("one");
  const { code } = await board.install("two", { "mission.yaml": "wrong" });
  assertEquals([code, board.flying(), board.has("releases/two"), board.has("releases/.two")], [
    2,
    "one",
    false,
    false,
  ]);
});

releaseTest("goes back after a power cut during a trial, when the service starts", async (board) => {
  await board.install("one");
  await Deno.writeTextFile(`${board.dir}/cut`, "");
  const { code } = await board.install("two");
  assert(code !== 0);
  assertEquals([board.read("current/release"), board.has("trial")], ["two", true]);
  await Deno.remove(`${board.dir}/cut`);
  const { code: recovered, err } = await board.release("recover");
  assertEquals(recovered, 0, err);
  assertEquals([board.flying(), board.has("trial"), board.has("releases/two")], ["one", false, true]);
});

releaseTest("goes back from between the two renames", async (board) => {
  await board.install("one");
  await board.install("two");
  // As a switch back to one leaves it: its file written, two put away, one not there yet.
  await Deno.writeTextFile(`${board.root}/trial`, "one two\n");
  await Deno.rename(`${board.root}/current`, `${board.root}/releases/two`);
  assertEquals((await board.release("recover")).code, 0);
  assertEquals([board.flying(), board.has("trial")], ["two", false]);
  // And with nothing moved at all.
  await Deno.writeTextFile(`${board.root}/trial`, "one two\n");
  assertEquals((await board.release("recover")).code, 0);
  assertEquals([board.flying(), board.has("trial")], ["two", false]);
});

releaseTest("keeps a mission's files from others, and does not change the package's", async (board) => {
  await Deno.chmod(`${board.dir}/package/calypte`, 0o755);
  await board.install("one", { token: "secret" });
  assertEquals((await Deno.stat(`${board.root}/current/token`)).mode! & 0o007, 0);
  assertEquals((await Deno.stat(`${board.dir}/package/calypte`)).mode! & 0o777, 0o755);
});

releaseTest("refuses names and commands that it does not know", async (board) => {
  const folder = await board.folder("x");
  for (
    const args of [[], ["fly"], ["install"], ["install", folder, "--name", "../out"], ["remove", ".."], [
      "rollback",
    ]]
  ) {
    assertEquals((await board.release(...args)).code, 2, args.join(" "));
  }
});
