/** How does the server say no? As RFC 9457 has it: `application/problem+json`, one shape for every error. */

export type ErrorStatus = 400 | 401 | 403 | 404 | 405 | 409 | 413 | 415 | 421 | 500 | 503 | 504;

const TITLES: Record<ErrorStatus, string> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  421: "Misdirected Request",
  500: "Internal Server Error",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

export interface Problem {
  /** `about:blank`: the status says what kind it is. */
  type: "about:blank";
  title: string;
  status: number;
  /** What is wrong, and what to do. */
  detail: string;
  /** Of a body that was not as it must be. */
  errors?: { field: string; rule: string }[];
}

export function problem(
  status: ErrorStatus,
  detail: string,
  more: { errors?: Problem["errors"]; headers?: Record<string, string> } = {},
): Response {
  const body: Problem = { type: "about:blank", title: TITLES[status], status, detail };
  if (more.errors !== undefined) body.errors = more.errors;
  return new Response(JSON.stringify(body) + "\n", {
    status,
    headers: { "content-type": "application/problem+json", ...more.headers },
  });
}
