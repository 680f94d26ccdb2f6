/** What can be measured, and how is it called? Each metric is declared once, in one of the tables that are joined here. */
import type { Metric, MetricsView } from "./metric.ts";
import { AGENT_COUNTERS, BOARD_METRICS, ENGINE_METRICS, STORE_METRICS } from "./metrics_agent.ts";

export * from "./metric.ts";
export * from "./metrics_work.ts";
export { AGENT_COUNTERS, ENGINE_METRICS };

export const AGENT_METRICS: readonly Metric<MetricsView>[] = [
  ...ENGINE_METRICS,
  ...BOARD_METRICS,
  ...AGENT_COUNTERS,
  ...STORE_METRICS,
];
