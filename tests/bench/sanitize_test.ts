/** Does a race that compute-sanitizer reports count, unless it is for the word by which a block is given up? */
import { assertEquals } from "@std/assert";
import { findingsIn, racesIn } from "../../bench/sanitize.ts";
import { kernelsThatShare } from "../../bench/sanitize_program.ts";

function hazard(address: number, kernel: string, from: number, to: number): string {
  return `========= Warning: Potential WAR hazard detected at __shared__ 0x${
    address.toString(16)
  } in block (7,0,0) :
=========     Read Thread (31,0,0) at ${kernel}+0x1770
=========     Write Thread (0,0,0) at ${kernel}+0x2090
=========     Current Value : ${from}, Incoming Value : ${to}
=========
`;
}

Deno.test("races for the word by which a block is given up are meant", () => {
  const log = hazard(0xd04, "search", 0, 1) + hazard(0xd05, "search", 0, 0) + hazard(0x400, "plain", 0, 1);
  assertEquals(racesIn(log, ["search"]), { unwanted: 0, meant: 3 });
});

Deno.test("races for two words, or for a word with other values, are findings in a kernel with shared memory of its own", () => {
  const two = hazard(0xd04, "search", 0, 1) + hazard(0x400, "search", 0, 1);
  assertEquals(racesIn(two, ["search"]), { unwanted: 2, meant: 0 });
  assertEquals(racesIn(hazard(0xd04, "search", 0, 7), ["search"]), { unwanted: 1, meant: 0 });
});

Deno.test("the tool's own count is read from its last line, and no such line is no count", () => {
  assertEquals(
    findingsIn("========= RACECHECK SUMMARY: 400 hazards displayed (632 errors, 456 warnings)"),
    400,
  );
  assertEquals(findingsIn("========= ERROR SUMMARY: 0 errors"), 0);
  assertEquals(findingsIn("========= COMPUTE-SANITIZER"), undefined);
});

Deno.test("a kernel shares memory if its PTX says so, or its launch asks for some", () => {
  const text =
    `.visible .entry quiet(\n.param .u64 a\n)\n{\n\tret;\n}\n.visible .entry loud(\n.param .u64 a\n)\n{\n
\tst.shared.u32 [%r1], 0;\n\tret;\n}\n`;
  const steps = [{ kernel: "quiet", grid: [1, 1, 1], block: [32, 1, 1], args: [], sharedBytes: 0 }];
  const bundle = { modules: [{ text }], manifest: { steps } } as unknown as Parameters<
    typeof kernelsThatShare
  >[0];
  assertEquals(kernelsThatShare(bundle), ["loud"]);
  Object.assign(steps[0]!, { sharedBytes: 16 });
  assertEquals(kernelsThatShare(bundle), ["loud", "quiet"]);
});
