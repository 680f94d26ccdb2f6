/**
 * Does a request that changes something come from where it may?
 *
 * A page of another site can have a browser send requests to this machine. So a change takes an `Origin` of this server if
 * there is one, and every request a `Host` that names this server: a name that somebody else's DNS points here is not it.
 * This keeps browsers out; what keeps people out is the token (http/token.ts).
 */

export interface Listening {
  hostname: string;
  port: number;
}

const LOOPBACK: readonly string[] = ["localhost", "127.0.0.1", "[::1]"];
const ANY: readonly string[] = ["0.0.0.0", "[::]"];
const IP = /^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:.]+\])$/;

/** Whether a browser sent it for a page of another site. */
export function ofOtherSite(request: Request, listening: Listening): boolean {
  const origin = request.headers.get("origin");
  if (origin !== null && !isOrigin(origin, listening)) return true;
  const site = request.headers.get("sec-fetch-site");
  return site !== null && site !== "same-origin" && site !== "none";
}

function isOrigin(origin: string, listening: Listening): boolean {
  const [, host] = /^http:\/\/([^/]+)$/.exec(origin) ?? [];
  return host !== undefined && namesServer(host, listening);
}

/** Whether a `Host` is what somebody writes who means this server. */
export function namesServer(host: string, { hostname, port }: Listening): boolean {
  const [, name = "", given = "80"] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(host.toLowerCase()) ?? [];
  if (Number(given) !== port) return false;
  const own = hostname.includes(":") && !hostname.startsWith("[") ? `[${hostname}]` : hostname.toLowerCase();
  if (name === own) return true;
  if (LOOPBACK.includes(own)) return LOOPBACK.includes(name);
  return ANY.includes(own) && (name === "localhost" || IP.test(name));
}
