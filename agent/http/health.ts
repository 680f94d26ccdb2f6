/** Does it live, and is it ready? For people, service managers, and tools that know Triton's server. */
import type { AgentView } from "./agent_view.ts";
import { type Route, route } from "./routes.ts";

type State = "loading" | "ready" | "fault" | "lost";

const text = (line: string, status: number) =>
  new Response(`${line}\n`, {
    status,
    headers: { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" },
  });

function stateOf(agent: AgentView): State {
  return agent.view()?.snapshot.state ?? "loading";
}

/** Ready: critical tasks are warm and served. Background that is held, paused or in quarantine changes nothing of that. */
export function healthRoutes(agent: AgentView): Route[] {
  const live = () => {
    const state = stateOf(agent);
    return text(state === "fault" ? "fault" : "ok", state === "fault" ? 503 : 200);
  };
  const ready = () => {
    const state = stateOf(agent);
    return text(state, state === "ready" ? 200 : 503);
  };
  const answers = (yes: string) => ({ 200: { description: yes, type: "text/plain" } });
  const pages: [string, string, string, () => Response][] = [
    ["/healthz", "Does the agent live?", "It lives, or loads.", live],
    ["/readyz", "Are critical tasks served?", "They are warm and served.", ready],
    ["/v2/health/live", "As /healthz, where Triton has it.", "It lives, or loads.", live],
    ["/v2/health/ready", "As /readyz, where Triton has it.", "They are warm and served.", ready],
  ];
  return pages.map(([path, summary, yes, handle]) =>
    route({ method: "get", path, summary, tag: "health", answers: answers(yes), handle })
  );
}
