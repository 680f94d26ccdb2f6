// Which deadlines could have been met? The same requests with the same execution times on a GPU that does nothing else:
// earliest deadline first, one after the other, with the same queues. Whoever misses what this meets with room to spare
// was late by its own doing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "calypte.h"

namespace calypte::test {

// A request, and what became of it.
struct Demand {
  uint32_t task = 0;
  uint64_t number = 0;
  uint64_t arrival_ns = 0;
  uint64_t deadline_ns = 0;
  uint64_t alone_ns = 0;  // execution by itself; 0: it never ran
  uint64_t done_ns = 0;   // 0: it did not complete
  bool ended = false;     // completed, dropped or failed
};

struct OracleTask {
  uint32_t queue = CALYPTE_QUEUE_LATEST;
  uint32_t depth = 1;
  uint32_t on_miss = CALYPTE_ON_MISS_PUBLISH_LATE;
  uint64_t unknown_ns = 0;  // execution of a request that never ran
};

// When each demand is done, in the order of `demands`; 0: dropped. `overhead_ns` is added to each execution.
inline std::vector<uint64_t> oracle(const std::vector<Demand> &demands, const std::vector<OracleTask> &tasks, uint64_t overhead_ns) {
  std::vector<size_t> order(demands.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return demands[a].arrival_ns < demands[b].arrival_ns; });
  std::vector<std::vector<size_t>> waiting(tasks.size());
  std::vector<uint64_t> done(demands.size(), 0);
  uint64_t now_ns = 0;
  size_t next = 0;
  const auto arrive = [&](size_t i) {
    std::vector<size_t> &queue = waiting[demands[i].task];
    const OracleTask &task = tasks[demands[i].task];
    if (queue.size() >= task.depth) {
      if (task.queue == CALYPTE_QUEUE_FIFO) return;
      queue.erase(queue.begin());
    }
    queue.push_back(i);
  };
  for (;;) {
    while (next < order.size() && demands[order[next]].arrival_ns <= now_ns) arrive(order[next++]);
    size_t best = demands.size();
    for (std::vector<size_t> &queue : waiting) {
      while (!queue.empty() && tasks[demands[queue.front()].task].on_miss == CALYPTE_ON_MISS_DROP && demands[queue.front()].deadline_ns < now_ns)
        queue.erase(queue.begin());
      if (!queue.empty() && (best == demands.size() || demands[queue.front()].deadline_ns < demands[best].deadline_ns)) best = queue.front();
    }
    if (best == demands.size()) {
      if (next == order.size()) return done;
      now_ns = demands[order[next]].arrival_ns;
      continue;
    }
    std::vector<size_t> &queue = waiting[demands[best].task];
    queue.erase(queue.begin());
    const uint64_t alone_ns = demands[best].alone_ns > 0 ? demands[best].alone_ns : tasks[demands[best].task].unknown_ns;
    now_ns += alone_ns + overhead_ns;
    done[best] = now_ns;
  }
}

}  // namespace calypte::test
