/**
 * Does the page show, in a real browser, what the agent says?
 *
 * Chromium (Debian's package) opens it; the agent is one whose words the test sets, served by the real routes. Pictures go to
 * build/screenshots. Without Chromium the tests are skipped.
 */
import { type Browser, type BrowserContextOptions, chromium, type Page as Tab } from "playwright-core";
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { dashboardPages } from "../../agent/dashboard/assets.ts";
import type { Access } from "../../agent/http/access.ts";
import { realTimers } from "../../agent/timers.ts";
import { type HttpScene, setUpHttp, TOKEN } from "../agent/http/scene.ts";
import { bucketIndex } from "../../ffi/histogram.ts";

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(exists);
const PICTURES = new URL("../../build/screenshots/", import.meta.url).pathname;
const MOST_BYTES = 200_000;
const PERIOD_NS = 33_333_333;

function exists(file: string): boolean {
  try {
    return Deno.statSync(file).isFile;
  } catch {
    return false;
  }
}

interface Show {
  /** What the agent says. */
  scene: HttpScene;
  port: number;
  /** What the browser complained of. */
  complaints: string[];
  /** `watch`: before anything is loaded. */
  open(options?: BrowserContextOptions, watch?: (tab: Tab) => void): Promise<Tab>;
  /** Ends the server, and what makes things happen. */
  stop(): Promise<void>;
  start(): void;
}

/** A second of the mission, again and again: requests, slices, and the time. */
function happen(scene: HttpScene, outcome: () => "on-time" | "late"): () => void {
  const { state, trace } = scene.engine;
  let number = 0;
  return realTimers.every(PERIOD_NS / 1e6, () => {
    const arrivalNs = state.nowNs + PERIOD_NS / 2;
    state.nowNs += PERIOD_NS;
    const [task, job] = [state.tasks[0]!, state.jobs[0]!];
    const how = outcome();
    const doneNs = arrivalNs + (how === "late" ? 12e6 : 1e6);
    trace.push({
      ...{ kind: "request", task: 0, number: number++, outcome: how, arrivalNs, sensorNs: arrivalNs },
      ...{ deadlineNs: arrivalNs + 10e6, launchNs: arrivalNs + 1e5, doneNs, queuedNs: 0, deferredNs: 0 },
      ...{ drainNs: 0, drainJob: -1, usualNs: 1e6, clockKey: 0 },
    });
    trace.push({
      ...{
        kind: "slice",
        job: 0,
        unit: number,
        step: 0,
        beginNs: doneNs,
        endNs: arrivalNs + PERIOD_NS - 2e6,
      },
      ...{ busyNs: 20e6, level: "block", preempted: true },
    });
    task.requests++;
    if (how === "late") task.late++;
    else task.onTime++;
    task.response.count++;
    task.response.maxNs = Math.max(task.response.maxNs, doneNs - arrivalNs);
    task.response.buckets[bucketIndex(doneNs - arrivalNs)]!++;
    job.units += 70;
    job.gpuNs.block += 20e6;
    job.outstanding = 1;
    state.backgroundBusyNs += 28e6;
    state.criticalBusyNs += 1e6;
  });
}

function dashboardTest(
  name: string,
  test: (show: Show) => Promise<void>,
  { outcome = () => "on-time", access = {} }: {
    outcome?: () => "on-time" | "late";
    access?: Partial<Access>;
  } = {},
): void {
  Deno.test({
    name,
    ignore: CHROMIUM === undefined,
    async fn() {
      const listening = { hostname: "127.0.0.1", port: 0 };
      const scene = setUpHttp({ listening: () => listening, ...access }, await dashboardPages());
      scene.engine.state.readyNs = 19e9;
      let over = new AbortController();
      let finished = Promise.resolve();
      let end = () => {};
      const browser: Browser = await chromium.launch({
        executablePath: CHROMIUM!,
        args: ["--no-sandbox", "--disable-dev-shm-usage"],
      });
      const complaints: string[] = [];
      const show: Show = {
        scene,
        complaints,
        get port() {
          return listening.port;
        },
        start() {
          // Unlike the agent's own, this one ends with its connections: as when the agent is killed.
          over = new AbortController();
          const { port } = listening;
          const options = { hostname: "127.0.0.1", port, signal: over.signal, onListen: () => {} };
          const server = Deno.serve(options, (request) => scene.handler(request, { socket: false }));
          listening.port = server.addr.port;
          finished = server.finished;
          end = happen(scene, outcome);
        },
        async stop() {
          end();
          over.abort();
          await finished;
        },
        async open(options = { viewport: { width: 1280, height: 900 } }, watch = () => {}) {
          const tab = await (await browser.newContext(options)).newPage();
          tab.on("console", (message) => {
            if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
          });
          tab.on("pageerror", (error) => complaints.push(String(error)));
          watch(tab);
          await tab.goto(`http://127.0.0.1:${listening.port}/`);
          return tab;
        },
      };
      try {
        show.start();
        await test(show);
      } finally {
        await browser.close();
        await show.stop();
      }
    },
    sanitizeResources: false,
    sanitizeOps: false,
  });
}

/** Waits until the verdict says so. */
async function says(tab: Tab, text: RegExp): Promise<void> {
  await tab.locator("#verdict-text").filter({ hasText: text }).waitFor({ timeout: 20_000 });
}

async function picture(tab: Tab, name: string): Promise<void> {
  await Deno.mkdir(PICTURES, { recursive: true });
  await tab.screenshot({ path: `${PICTURES}${name}.png`, fullPage: true });
}

if (CHROMIUM === undefined) {
  console.log("no chromium here: the dashboard is not opened (apt-get install chromium)");
}

dashboardTest(
  "the page loads what this server has, in less than 200 kB, and says that all is on time",
  async (show) => {
    const loaded: [string, number][] = [];
    const tab = await show.open(undefined, (tab) =>
      tab.on("response", async (response) => {
        if (response.url().endsWith("/v1/stream")) return;
        loaded.push([response.url(), (await response.body()).byteLength]);
      }));
    await says(tab, /^All requests on time$/);
    const bytes = loaded.reduce((sum, [, size]) => sum + size, 0);
    assert(bytes > 20_000 && bytes < MOST_BYTES, `${bytes} bytes`);
    for (const [url] of loaded) assertEquals(new URL(url).port, `${show.port}`, url);
    const before = await tab.locator("#verdict-more").innerText();
    await tab.locator("#verdict-more").filter({ hasNotText: before }).waitFor();
    assertMatch(
      await tab.locator("#timeline").getAttribute("aria-label") ?? "",
      /critical requests, 0 of them not on time/,
    );
    assertMatch(await tab.locator("#jobs").innerText(), /map[\s\S]*running/);
    assertEquals(await tab.locator("#gauge-power").innerText(), "unknown");
    assertEquals(await tab.locator("#simulated").isVisible(), true);
    show.scene.readings = { powerWatts: 12.34, temperatureCelsius: 61 };
    await tab.locator("#gauge-power").filter({ hasText: "12.3 W" }).waitFor();
    assertEquals(await tab.locator("#gauge-heat").innerText(), "61.0 \u00b0C");
    assertEquals(await tab.locator("#board-chart canvas").count(), 1);
    assertEquals(show.complaints, []);
    await tab.locator("#verdict-more").filter({ hasText: /^\d{3}/ }).waitFor();
    await picture(tab, "desktop");
  },
);

let late = false;
dashboardTest("a request that is late is news, in words, colour and the title", async (show) => {
  late = false;
  const tab = await show.open();
  await says(tab, /^All requests on time$/);
  late = true;
  await says(tab, /^A request was not on time$/);
  assertEquals(await tab.locator("#verdict").getAttribute("class"), "bad");
  assertMatch(await tab.title(), /^!/);
  await picture(tab, "late");
  assertEquals(show.complaints, []);
}, { outcome: () => late ? "late" : "on-time" });

dashboardTest("a page that has lost its agent says so, and goes on with the next one", async (show) => {
  show.scene.agent.events.add({ timeNs: 20e9, kind: "plan", source: null, text: "before the end" });
  const tab = await show.open();
  await says(tab, /^All requests on time$/);
  await tab.keyboard.press("Space");
  await show.stop();
  await says(tab, /^No connection to the agent$/);
  assertEquals(await tab.locator("body").getAttribute("class"), "stale");
  await picture(tab, "lost");
  show.scene.agent.events.add({ timeNs: 21e9, kind: "plan", source: null, text: "behind it" });
  show.start();
  await says(tab, /^All requests on time$/);
  assertEquals(await tab.locator("body").getAttribute("class"), "");
  assertEquals(await tab.locator("#pause").getAttribute("aria-pressed"), "false");
  await tab.locator("#events li").nth(1).waitFor();
  assertEquals(await tab.locator("#events li span").allInnerTexts(), ["behind it", "before the end"]);
});

dashboardTest("an agent that loads yet is not called away", async (show) => {
  show.scene.loads = true;
  const tab = await show.open();
  await tab.locator("#verdict-more").filter({ hasText: /the agent loads yet/ }).waitFor({ timeout: 20_000 });
  show.scene.loads = false;
  await says(tab, /^All requests on time$/);
});

dashboardTest(
  "a message that the page cannot show is told to the console, and the next one is shown",
  async (show) => {
    show.scene.agent.events.add({ timeNs: 1e300, kind: "plan", source: null, text: "at no time" });
    const tab = await show.open();
    await says(tab, /^All requests on time$/);
    show.scene.agent.events.add({ timeNs: 20e9, kind: "plan", source: null, text: "a good one" });
    await tab.locator("#events li").filter({ hasText: "a good one" }).waitFor();
    assertEquals(show.complaints.length, 1);
    assertMatch(show.complaints[0]!, /Invalid time/);
  },
);

dashboardTest(
  "the picture is dragged along, which pauses it",
  async (show) => {
    const tab = await show.open();
    await says(tab, /^All requests on time$/);
    const box = (await tab.locator("#timeline").boundingBox())!;
    const [x, y] = [box.x + box.width / 2, box.y + 20];
    const drag = async (px: number) => {
      await tab.mouse.move(x, y);
      await tab.mouse.down();
      await tab.mouse.move(x + px, y, { steps: 4 });
      await tab.mouse.up();
    };
    await drag(3);
    assertEquals(await tab.locator("#pause").getAttribute("aria-pressed"), "false");
    await drag(120);
    assertEquals(await tab.locator("#pause").getAttribute("aria-pressed"), "true");
    await tab.locator("#pause").click();
    assertEquals(await tab.locator("#pause").innerText(), "Pause");
    assertEquals(show.complaints, []);
  },
);

dashboardTest("a page that is left paused keeps what it shows, and does not grow", async (show) => {
  const tab = await show.open();
  await says(tab, /^All requests on time$/);
  // Ten minutes, ten times a second, ten slices each.
  const held = await tab.evaluate(`(async () => {
    const { Timeline } = await import("/assets/timeline.js");
    const host = document.createElement("div");
    document.body.append(host);
    const timeline = new Timeline(host);
    timeline.begin(["a"], ["b"], 20e9);
    const after = (nowNs) => {
      const slices = Array.from({ length: 10 }, (_, i) =>
        ({ job: "b", level: "block", beginNs: nowNs - (11 - i) * 1e7, endNs: nowNs - (10 - i) * 1e7 }));
      timeline.add({ nowNs, requests: [], slices });
    };
    for (let i = 0; i < 100; i++) after(20e9 + i * 1e8);
    timeline.togglePause();
    for (let i = 100; i < 6000; i++) after(20e9 + i * 1e8);
    return timeline.held;
  })()`) as number;
  assert(held > 2_000 && held < 7_000, `${held} of 60,000 are held`);
  assertEquals(show.complaints, []);
});

dashboardTest("what others write is shown as text, never as a page's own", async (show) => {
  const text = '<img src=x onerror="document.title=`owned`">';
  show.scene.agent.events.add({ timeNs: 20e9, kind: "miss", source: "<b>", text });
  const tab = await show.open();
  await tab.locator("#events li").first().waitFor();
  assertEquals(await tab.locator("#events li span").innerText(), `<b>: ${text}`);
  assertEquals([await tab.title(), show.complaints], ["Calypte", []]);
});

dashboardTest("it is used by keyboard alone", async (show) => {
  const tab = await show.open();
  await says(tab, /^All requests on time$/);
  await tab.keyboard.press("Space");
  assertEquals(await tab.locator("#pause").getAttribute("aria-pressed"), "true");
  await tab.keyboard.press("+");
  assertEquals(await tab.locator("#span").innerText(), "1 s");
  await tab.keyboard.press("?");
  assertEquals(await tab.locator("#keys").isVisible(), true);
  await tab.keyboard.press("Escape");
  assertEquals(await tab.locator("#keys").isVisible(), false);
  const focused: string[] = [];
  for (let i = 0; i < 5; i++) {
    await tab.keyboard.press("Tab");
    focused.push(await tab.evaluate("document.activeElement.id"));
  }
  assertEquals(focused, ["pause", "closer", "wider", "help", "timeline"]);
});

for (
  const [name, options] of [
    ["phone", {
      viewport: { width: 390, height: 844 },
      deviceScaleFactor: 2,
      isMobile: true,
      hasTouch: true,
    }],
    ["dark", { viewport: { width: 1280, height: 900 }, colorScheme: "dark" }],
    ["calm", { viewport: { width: 1280, height: 900 }, reducedMotion: "reduce" }],
  ] as const
) {
  dashboardTest(`it fits and is drawn: ${name}`, async (show) => {
    show.scene.engine.state.backend = "cuda";
    const tab = await show.open(options);
    await tab.locator("#verdict-more").filter({ hasText: /^[4-9]\d/ }).waitFor();
    await says(tab, /^All requests on time$/);
    const wide = await tab.evaluate(
      "document.documentElement.scrollWidth - document.documentElement.clientWidth",
    );
    assertEquals(wide, 0);
    assertEquals(await tab.locator("#simulated").isVisible(), false);
    assertEquals(show.complaints, []);
    // Something is drawn: the canvas of the timeline has the colour of requests in it.
    const colours = () =>
      tab.evaluate(`(() => {
        const canvas = document.querySelector("#timeline canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const seen = new Set();
        for (let i = 0; i < data.length; i += 4) {
          if (data[i + 3] === 255) seen.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
        }
        return seen.size;
      })()`) as Promise<number>;
    const endMs = performance.now() + 20_000;
    while (await colours() < 3) {
      assert(performance.now() < endMs, "nothing is drawn");
      await realTimers.pause(50);
    }
    await picture(tab, name);
  });
}

dashboardTest("where other machines may look, the page asks for the token, once", async (show) => {
  const tab = await show.open();
  await tab.locator("#token").fill("wrong-wrong-wrong");
  await tab.locator("#ask button").click();
  await tab.locator("#token-wrong").filter({ hasText: "not this agent's" }).waitFor();
  // As it comes out of a terminal; and one that no header can hold is not sent at all.
  await tab.locator("#token").fill("\u20ac");
  await tab.locator("#ask button").click();
  await tab.locator("#token-wrong").filter({ hasText: "not this agent's" }).waitFor();
  await tab.locator("#token").fill(` ${TOKEN} `);
  await tab.locator("#ask button").click();
  await says(tab, /^All requests on time$/);
  await tab.reload();
  await says(tab, /^All requests on time$/);
}, { access: { remote: true } });
