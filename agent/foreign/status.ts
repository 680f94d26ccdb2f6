/** What does the status say about attainment and about others on the GPU? */
import type { MetricsView } from "../metrics.ts";
import { attainmentOf, type ForeignReport } from "./accounts.ts";

export interface ForeignView extends MetricsView {
  /** Absent: nobody else can use the device. */
  foreign?: ForeignReport | undefined;
}

/** Keys of `/v1/status`: by task 0..1 or `null`, and who else uses the GPU; `foreign` is `null` where nobody can. */
export function attainmentStatus({ snapshot, tasks, foreign }: ForeignView): Record<string, unknown> {
  const attainment = snapshot.tasks.map((task, id) => [tasks[id] ?? `${id}`, attainmentOf(task, foreign)]);
  return { attainment: Object.fromEntries(attainment), foreign: foreign ?? null };
}
