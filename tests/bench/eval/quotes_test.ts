import { assert, assertEquals, assertStringIncludes } from "../../assert.ts";
import { checkQuotes, figureText, quotingFiles, summaries } from "../../../bench/eval/quotes.ts";
import type { Figures, Summary } from "../../../bench/eval/summary.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;

Deno.test("what README and docs quote of the evaluation is what its raw samples say", async () => {
  const read = summaries();
  for (const file of quotingFiles()) {
    assertEquals((await checkQuotes(file, await Deno.readTextFile(ROOT + file), read)).wrong, []);
  }
});

function made(backend: "sim" | "cuda"): Summary {
  const figures = (round: number, p99: number): Figures => ({
    ...{
      round,
      requests: 100,
      misses: 2,
      unanswered: 0,
      longestMissRun: 1,
      p50: 1e5,
      p99,
      p999: Infinity,
      max: Infinity,
    },
    ...{
      attained: [0.981, 1, 1],
      goodput: 0.9512,
      fill: 0.97,
      utilisation: 0.98,
      idleShare: 0.9,
      cpuCores: NaN,
      watts: NaN,
      smMhz: [NaN, NaN],
      levelsNs: {},
    },
  });
  const system = (name: "exclusive" | "mps", p99: number) => ({
    ...{ system: name, responsesNs: [], rounds: [1, 2, 3].map((round) => figures(round, p99)) },
  });
  return {
    ...{ backend, rejected: [], backgroundTax: [] },
    groups: [{
      ...{
        critical: "detector",
        background: "nbody",
        arrivals: "periodic-30",
        limitNs: 2e5,
        limits: [2e5],
        aloneUnits: 100,
        reference: "exclusive",
      },
      systems: [system("exclusive", 2e5), system("mps", 5e5)],
    }],
  };
}

const KEY = "detector.nbody.periodic-30.mps";

Deno.test("a quote that differs, that has no samples, or that hides the simulator is found", async () => {
  const check = (line: string, backend: "sim" | "cuda" = "cuda") =>
    checkQuotes("x.md", line, () => Promise.resolve(made(backend)));
  const quote = (figure: string, text: string) => `<!--eval run ${KEY}.${figure}-->${text}<!--/eval-->`;
  assertEquals(
    (await check(`p99 ${quote("p99Us", "500.0")} us and ${quote("p99Ratio", "2.500")}`)).wrong,
    [],
  );
  const { wrong, text, count } = await check(`p99 ${quote("p99Us", "400.0")} us`);
  assertEquals([wrong, count], [[`x.md:1: ${KEY}.p99Us is 500.0, not 400.0`], 1]);
  assertStringIncludes(text, "-->500.0<!--");
  assertStringIncludes((await check(quote("p98Us", "1"))).wrong.join(), "there is no figure p98Us");
  assertStringIncludes((await check(quote("watts", "1"))).wrong.join(), "not measured");
  assertStringIncludes((await check(quote("misses", "6"), "sim")).wrong.join(), '"simulated"');
  assertEquals((await check(`${quote("misses", "6")} (simulated)`, "sim")).wrong, []);
  assertEquals((await check("no quotes")).count, 0);
});

Deno.test("quotes of one load name it once, ahead of them", async () => {
  const check = (text: string) => checkQuotes("x.md", text, () => Promise.resolve(made("cuda")));
  const table = (p99: string) =>
    `<!--eval-of run detector.nbody.periodic-30-->\n\n| <!--eval mps.p99Us-->${p99}<!--/eval--> | <!--eval exclusive.p99Us-->200.0<!--/eval--> |`;
  assertEquals(await check(table("500.0")), { text: table("500.0"), count: 2, wrong: [] });
  const { text, wrong } = await check(table("200.0"));
  assertEquals([text, wrong], [table("500.0"), [`x.md:3: ${KEY}.p99Us is 500.0, not 200.0`]]);
  assertStringIncludes(
    (await check("<!--eval mps.p99Us-->1<!--/eval-->")).wrong.join(),
    "x.md:1: mps.p99Us is of no run",
  );
});

Deno.test("sums are over all rounds, medians over rounds", () => {
  assertEquals(figureText(made("cuda"), `${KEY}.requests`), "300");
  assertEquals(figureText(made("cuda"), `${KEY}.attainedPercent`), "98.10");
  assert(figureText(made("cuda"), `${KEY}.goodputPercent`) === "95.1");
});
