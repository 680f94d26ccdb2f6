import { assertEquals } from "../assert.ts";
import { checkFile, checkFolder, checkTree, describeFinding } from "../../tools/house_rules.ts";

const root = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

const rules = (path: string, text: string) => checkFile(path, text).map((finding) => finding.rule);

Deno.test("the tree keeps the house rules", async () => {
  const findings = await checkTree(root);
  assertEquals(findings.length, 0, "\n" + findings.map(describeFinding).join("\n"));
});

Deno.test("a file of 500 lines passes and one of 501 does not", () => {
  assertEquals(rules("ptx/a.ts", "x;\n".repeat(500)), []);
  assertEquals(rules("ptx/a.ts", "x;\n".repeat(501)), ["length"]);
  assertEquals(rules("docs/a.md", "x\n".repeat(501)), []);
});

Deno.test("only the log reads the wall clock", () => {
  assertEquals(rules("agent/planner.ts", "const t = Date.now();"), ["clock"]);
  assertEquals(rules("ffi/engine.ts", "performance.now()"), ["clock"]);
  assertEquals(rules("agent/log.ts", "new Date()"), []);
  assertEquals(rules("bench/run.ts", "performance.now()"), []);
  assertEquals(rules("ffi/native/core/plan.cc", "auto t = std::chrono::steady_clock::now();"), [
    "core-clock",
  ]);
  assertEquals(rules("ffi/native/engine/loop.cc", "clock_gettime(CLOCK_MONOTONIC, &t);"), []);
});

Deno.test("library code does not print", () => {
  assertEquals(rules("ptx/lexer.ts", 'console.log("x")'), ["printing"]);
  assertEquals(rules("agent/main.ts", 'console.log("x")'), []);
  assertEquals(rules("ffi/native/api.cc", 'fprintf(stderr, "x"); exit(1);'), [
    "native-printing",
    "native-printing",
  ]);
  assertEquals(rules("ffi/native/api.cc", 'snprintf(text, 10, "x"); on_exit(1);'), []);
});

Deno.test("a TODO says what it waits for", () => {
  assertEquals(rules("ptx/a.ts", "// TODO: later"), ["todo"]);
  assertEquals(rules("ptx/a.ts", "// TODO(CUDA 14): use the new attribute"), []);
});

Deno.test("no path of one machine and no registry's host gets in", () => {
  assertEquals(rules("README.md", "cd /" + "home/me/calypte"), ["machine-path"]);
  assertEquals(rules("README.md", "cd ../home/me; ls $HOME/opt/x"), []);
  assertEquals(rules("README.md", "https://registry." + "npmjs.org/deno"), ["registry-host"]);
});

Deno.test("tests do not sleep unless they say why", () => {
  assertEquals(rules("tests/a_test.ts", "setTimeout(resolve, 10)"), ["sleep"]);
  assertEquals(rules("tests/a_test.ts", "setTimeout(() => {\n  f(1, 2);\n}, limitMs)"), ["sleep"]);
  assertEquals(rules("tests/a_test.ts", "setTimeout(() => f(1, 2), 0); setTimeout(() => f([1, 2]));"), []);
  assertEquals(rules("tests/native/a_test.cc", "std::this_thread::sleep_for(1ms);"), ["sleep"]);
  assertEquals(
    rules("tests/a_test.ts", "// house-rule: sleep, because a real socket\nsetTimeout(f, 10)"),
    [],
  );
  assertEquals(rules("tests/a_test.ts", "// house-rule: clock, because of another rule\nsetTimeout(f, 10)"), [
    "sleep",
  ]);
  assertEquals(rules("agent/supervisor.ts", "setTimeout(resolve, 10)"), []);
});

Deno.test("a policy imports nothing but its own folder, and is pure", () => {
  assertEquals(rules("policies/fair.ts", 'import type { Policy } from "./policy.ts";'), []);
  assertEquals(rules("policies/fair.ts", 'import { x } from "../agent/x.ts";'), ["policy-import"]);
  assertEquals(rules("policies/fair.ts", "let last = 0;\nMath.random();"), [
    "policy-purity",
    "policy-purity",
  ]);
  assertEquals(rules("policies/registry.ts", 'import { fair } from "./fair.ts";'), []);
});

Deno.test("no folder is called utils", () => {
  assertEquals(checkFolder("agent/utils").length, 1);
  assertEquals(checkFolder("agent/dashboard").length, 0);
});
