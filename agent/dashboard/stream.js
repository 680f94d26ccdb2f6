// @ts-check
/// <reference lib="dom" />
/**
 * What does the agent send? Its stream of events, read with `fetch`, as an EventSource sends no token.
 *
 * It comes again by itself after an end, sooner at first, and says which event it saw last.
 */

const FIRST_PAUSE_MS = 500;
const LAST_PAUSE_MS = 5_000;
/** A stream that is silent for so long is dead: the agent says something every half second. */
const SILENT_MS = 5_000;
const TOKEN = "calypte-token";

/**
 * @typedef {object} Listener
 * @property {(event: string, data: any) => void} message
 * @property {(why: string) => void} lost
 * @property {(wrong: boolean) => Promise<string>} askToken `wrong`: the one that was given before is not the agent's.
 */

/**
 * Never ends.
 * @param {string} page
 * @param {Listener} listener
 */
export async function follow(page, listener) {
  let last = "";
  let pauseMs = FIRST_PAUSE_MS;
  for (;;) {
    let why = "the agent has closed the stream";
    try {
      const token = sessionStorage.getItem(TOKEN);
      const end = new AbortController();
      // From the first byte on: a link that takes a request and answers nothing is dead too.
      let timer = setTimeout(() => end.abort(), SILENT_MS);
      const hear = () => {
        clearTimeout(timer);
        timer = setTimeout(() => end.abort(), SILENT_MS);
      };
      try {
        const response = await fetch(page, {
          cache: "no-store",
          signal: end.signal,
          headers: {
            ...(last === "" ? {} : { "last-event-id": last }),
            ...(token === null ? {} : { authorization: `Bearer ${token}` }),
          },
        });
        if (response.status === 401) {
          clearTimeout(timer);
          sessionStorage.setItem(TOKEN, await askToken(listener, token !== null));
          continue;
        }
        if (response.ok && response.body !== null) {
          for await (const message of messages(response.body, hear)) {
            pauseMs = FIRST_PAUSE_MS;
            if (message.id !== "") last = message.id;
            heard(listener, message);
          }
        } else why = await reason(response);
      } finally {
        clearTimeout(timer);
      }
    } catch (error) {
      why = error instanceof Error && error.name === "AbortError" ? "the agent is silent" : "nobody answers";
    }
    listener.lost(why);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    pauseMs = Math.min(LAST_PAUSE_MS, pauseMs * 2);
  }
}

/**
 * One that a header can hold, or the browser would not even ask.
 * @param {Listener} listener
 * @param {boolean} wrong
 */
async function askToken(listener, wrong) {
  for (;;) {
    const token = (await listener.askToken(wrong)).trim();
    if (/^[\x21-\x7e]+$/.test(token)) return token;
    wrong = token !== "";
  }
}

/**
 * What fails in the page is the page's fault, not the connection's: it is told, and the next message is heard.
 * @param {Listener} listener
 * @param {{ event: string, data: string }} message
 */
function heard(listener, { event, data }) {
  try {
    listener.message(event, JSON.parse(data));
  } catch (error) {
    console.error(error);
  }
}

/**
 * Why it does not follow, in the agent's words.
 * @param {Response} response
 */
async function reason(response) {
  const problem = await response.json().catch(() => ({}));
  const text = problem.detail ?? problem.title;
  return typeof text === "string" ? text : `the agent answers ${response.status}`;
}

/**
 * @param {ReadableStream<Uint8Array>} body
 * @param {() => void} hear
 */
async function* messages(body, hear) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    hear();
    text += decoder.decode(value, { stream: true });
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const message = { event: "message", data: "", id: "" };
      for (const line of text.slice(0, end).split("\n")) {
        const at = line.indexOf(": ");
        const field = line.slice(0, at);
        if (field === "event" || field === "data" || field === "id") message[field] = line.slice(at + 2);
      }
      text = text.slice(end + 2);
      if (message.data !== "") yield message;
    }
  }
}
