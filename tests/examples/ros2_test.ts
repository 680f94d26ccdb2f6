/** Does what the ROS 2 sketch makes of an agent's results hold, without ROS? Needs Python 3.10; without it these are skipped. */
import { assertEquals, assertMatch } from "../assert.ts";

const FOLDER = new URL("../../examples/ros2", import.meta.url).pathname;

async function python(...args: string[]): Promise<{ code: number; text: string }> {
  const { code, stderr } = await new Deno.Command("python3", {
    args,
    cwd: FOLDER,
    env: { PYTHONDONTWRITEBYTECODE: "1" },
    stdout: "null",
    stderr: "piped",
  }).output();
  return { code, text: new TextDecoder().decode(stderr) };
}

const there = await python("-c", "import sys; sys.exit(sys.version_info < (3, 10))").catch(() => undefined);
const ignore = there?.code !== 0;
if (ignore) console.log("no Python 3.10 here: examples/ros2 is not tried");

Deno.test({
  name: "lines of results become detections, as the example's own tests say",
  ignore,
  async fn() {
    const { code, text } = await python("-m", "unittest");
    assertEquals(code, 0, text);
    assertMatch(text, /Ran 12 tests/);
  },
});

Deno.test({
  name: "the node itself can be compiled, and says that it was never run",
  ignore,
  async fn() {
    // As py_compile does, without leaving a file.
    const compile = "import sys; compile(open(sys.argv[1]).read(), sys.argv[1], 'exec', dont_inherit=True)";
    const { code, text } = await python("-c", compile, "bridge.py");
    assertEquals([code, text], [0, ""]);
    assertMatch(await Deno.readTextFile(`${FOLDER}/bridge.py`), /^"""NOT RUN: there was no ROS/);
  },
});
