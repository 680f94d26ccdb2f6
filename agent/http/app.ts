/**
 * What can be asked of a running agent over HTTP?
 *
 * One table of routes; the OpenAPI document, and what is refused, come from it. It reads the agent through functions (agent_view.ts)
 * and opens no socket (server.ts): tests call it.
 */
import { type Access, type Arrival, refusal } from "./access.ts";
import type { AgentView } from "./agent_view.ts";
import { controlRoutes } from "./control.ts";
import { explainRoutes } from "./explain.ts";
import { healthRoutes } from "./health.ts";
import { liveRoutes } from "./live.ts";
import { openapiOf } from "./openapi.ts";
import { problem } from "./problem.ts";
import { json, type Page, type Route, route, serveRoutes } from "./routes.ts";
import { statusRoutes } from "./status.ts";
import { traceRoutes } from "./trace.ts";

/** A page may load what this server has, and nothing from elsewhere. */
const CONTENT_POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

export interface AppOptions {
  agent: AgentView;
  access: Access;
  /** By path. Default: none. */
  pages?: ReadonlyMap<string, Page>;
}

export type Handler = (request: Request, arrival: Arrival) => Promise<Response>;

export function routesOf(agent: AgentView): Route[] {
  const routes = [
    ...healthRoutes(agent),
    ...statusRoutes(agent),
    ...controlRoutes(agent),
    ...liveRoutes(agent),
    ...traceRoutes(agent),
    ...explainRoutes(agent),
  ];
  const document = openapiOf(routes, agent.version);
  const own = route({
    method: "get",
    path: "/openapi.json",
    summary: "This document.",
    tag: "health",
    answers: { 200: { description: "OpenAPI 3.1." } },
    handle: () => json(document),
  });
  return [...routes, own];
}

export function createApp({ agent, access, pages = new Map() }: AppOptions): Handler {
  const app = serveRoutes(routesOf(agent), pages);
  return async (request, arrival) => {
    const response = await refusal(request, arrival, access) ?? await answer(request);
    response.headers.set("content-security-policy", CONTENT_POLICY);
    response.headers.set("x-content-type-options", "nosniff");
    response.headers.set("referrer-policy", "no-referrer");
    return response;
  };

  async function answer(request: Request): Promise<Response> {
    try {
      return await app.fetch(request);
    } catch (error) {
      // A mistake of ours: the agent goes on, and says so.
      return problem(500, error instanceof Error ? error.message.split("\n")[0] ?? "" : String(error));
    }
  }
}
