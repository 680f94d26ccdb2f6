/**
 * Does a request that changes something come from where it may?
 *
 * A page of another site can have a browser send requests to this machine. So a change takes JSON, which a browser sends
 * across sites only after asking, an `Origin` of this server if there is one, and a `Host` that names this server: a
 * name that somebody else's DNS points here is not it. This keeps browsers out, not people who may reach the port.
 */

export interface Listening {
  hostname: string;
  port: number;
}

const LOOPBACK: readonly string[] = ["localhost", "127.0.0.1", "[::1]"];
const ANY: readonly string[] = ["0.0.0.0", "[::]"];
const IP = /^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:.]+\])$/;

/** Why it may not, with its HTTP status; `undefined`: it may. */
export function refusal(
  request: Request,
  listening: Listening,
): { status: 403 | 415; error: string } | undefined {
  const host = request.headers.get("host") ?? new URL(request.url).host;
  if (!names(host, listening)) {
    return {
      status: 403,
      error: `the Host header must name this server, not ${JSON.stringify(host.slice(0, 100))}`,
    };
  }
  const origin = request.headers.get("origin");
  if (origin !== null && !isOrigin(origin, listening)) {
    return { status: 403, error: "a page of another site may not change anything here" };
  }
  const site = request.headers.get("sec-fetch-site");
  if (site !== null && site !== "same-origin" && site !== "none") {
    return { status: 403, error: "a page of another site may not change anything here" };
  }
  const type = request.headers.get("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (type !== "application/json") return { status: 415, error: "the content type must be application/json" };
  return undefined;
}

function isOrigin(origin: string, listening: Listening): boolean {
  const [, host] = /^http:\/\/([^/]+)$/.exec(origin) ?? [];
  return host !== undefined && names(host, listening);
}

/** Whether a `Host` is what somebody writes who means this server. */
function names(host: string, { hostname, port }: Listening): boolean {
  const [, name = "", given = "80"] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(host.toLowerCase()) ?? [];
  if (Number(given) !== port) return false;
  const own = hostname.includes(":") && !hostname.startsWith("[") ? `[${hostname}]` : hostname.toLowerCase();
  if (name === own) return true;
  if (LOOPBACK.includes(own)) return LOOPBACK.includes(name);
  return ANY.includes(own) && (name === "localhost" || IP.test(name));
}
