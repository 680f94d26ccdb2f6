/**
 * Longest wait first: GPU time by how long a job has waited for its due share.
 *
 *     owed(j)   = w(j) / sum w * sum recentGpuNs - recentGpuNs(j)      time that others had in its place
 *     weight(j) = 1000 * w(j) * 2^clamp(owed(j) / scale, -3, 3)        scale = 100 ms, or the option `scaleMs`
 *
 * The example of docs/POLICIES.md.
 */
export default function longestWait(snapshot) {
  const scaleNs = (snapshot.options.scaleMs ?? 100) * 1e6;
  const sum = (of) => snapshot.jobs.reduce((total, job) => total + of(job), 0);
  const weights = sum((job) => job.weight);
  const usedNs = sum((job) => job.recentGpuNs);
  return {
    entries: snapshot.jobs.map((job) => {
      const owedNs = job.weight / weights * usedNs - job.recentGpuNs;
      const boost = 2 ** Math.min(3, Math.max(-3, owedNs / scaleNs));
      const weight = Math.round(1000 * job.weight * boost);
      return { job: job.id, weight: Math.min(1_000_000, Math.max(1, weight)), maxUnits: 0 };
    }),
  };
}
