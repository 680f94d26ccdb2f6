/**
 * Which requests are served at all?
 *
 * - Over the Unix socket: all; its file mode says who may connect.
 * - Over TCP: those whose `Host` names this server, so that a name that somebody else's DNS points here is none; nothing
 *   that a page of another site had a browser send. What changes something needs the token.
 * - Where others than this machine can connect (`--allow-remote`), everything needs the token but the health pages, and the
 *   dashboard's own files, which know nothing and ask for it.
 */
import { type Listening, namesServer, ofOtherSite } from "../same_site.ts";
import { problem } from "./problem.ts";
import { sameToken } from "./token.ts";

export interface Access {
  /** Where the server listens over TCP; `undefined` until it does. */
  listening: () => Listening | undefined;
  /** `undefined`: nobody has one, and nothing can be changed over TCP. */
  token: string | undefined;
  /** Others than this machine can connect. */
  remote: boolean;
}

/** How a request came; the server's handler says. */
export interface Arrival {
  /** Over the Unix socket. */
  socket: boolean;
}

const OPEN_PAGES: readonly string[] = ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"];
const READING: readonly string[] = ["GET", "HEAD"];

/** Why it is not served; `undefined`: it is. */
export async function refusal(
  request: Request,
  arrival: Arrival,
  { listening, token, remote }: Access,
): Promise<Response | undefined> {
  if (arrival.socket) return undefined;
  const here = listening();
  if (here === undefined) return problem(503, "the server starts yet");
  const url = new URL(request.url);
  const host = request.headers.get("host") ?? url.host;
  if (!remote && !namesServer(host, here)) {
    return problem(421, `the Host header must name this server, not ${JSON.stringify(host.slice(0, 100))}`);
  }
  const changes = !READING.includes(request.method);
  if (changes && !remote && ofOtherSite(request, here)) {
    return problem(403, "a page of another site may not change anything here");
  }
  if (!changes && (!remote || isOpen(url.pathname))) return undefined;
  const [, given] = /^Bearer +(\S+)$/i.exec(request.headers.get("authorization") ?? "") ?? [];
  if (token === undefined) return problem(403, "this server takes changes over its Unix socket only");
  if (given !== undefined && await sameToken(given, token)) return undefined;
  const detail = given === undefined
    ? "needs `authorization: Bearer TOKEN`, with the token from the agent's token file"
    : "the token is not this agent's";
  return problem(401, detail, { headers: { "www-authenticate": 'Bearer realm="calypte"' } });
}

function isOpen(page: string): boolean {
  return OPEN_PAGES.includes(page) || page === "/" || page.startsWith("/assets/");
}
