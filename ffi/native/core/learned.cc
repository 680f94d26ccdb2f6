#include "core/learned.h"

#include <algorithm>

#include "core/scheduler_state.h"

namespace calypte::core {

void Learned::reserve(const SchedulerConfig &config) {
  executions.resize(config.tasks.size());
  drains.resize(config.jobs.size());
  for (const JobConfig &job : config.jobs) segments.emplace_back(job.segments.size());
}

void Learned::forget() {
  for (uint32_t i = 0; i < count(); ++i) at(i) = {};
}

uint32_t Learned::count() const {
  size_t count = 1 + executions.size() + drains.size();
  for (const std::vector<Sketch> &job : segments) count += job.size();
  return static_cast<uint32_t>(count);
}

Sketch &Learned::at(uint32_t index) {
  if (index == 0) return starts;
  index -= 1;
  if (index < executions.size()) return executions[index];
  index -= static_cast<uint32_t>(executions.size());
  if (index < drains.size()) return drains[index];
  index -= static_cast<uint32_t>(drains.size());
  size_t job = 0;
  while (index >= segments[job].size()) index -= static_cast<uint32_t>(segments[job++].size());
  return segments[job][index];
}

// Piece by piece: two sketches for each task's rhythm, then all of each clock key.
void Scheduler::remember(uint32_t first, MemoryPiece &out) const {
  out.changes = clock_changes_;
  for (uint32_t i = 0; i < kClockKeys; ++i)
    out.clocks[i] = {learned_[i].key, learned_[i].used_ns, i == clocks_ || learned_[i].used_ns > 0, i == clocks_};
  const uint32_t rhythms = 2 * static_cast<uint32_t>(tasks_.size()), each = learned_[0].count();
  for (uint32_t id = 0; id < tasks_.size(); ++id) out.period_ns[id] = tasks_[id].rhythm.learned_period_ns();
  const uint32_t end = std::min(first + MemoryPiece::kRoom, rhythms + kClockKeys * each);
  out.count = end - std::min(first, end);
  for (uint32_t i = 0; i < out.count; ++i) {
    const uint32_t at = first + i;
    if (at < rhythms)
      out.sketches[i] = tasks_[at / 2].rhythm.sketch(at % 2);
    else
      out.sketches[i] = learned_[(at - rhythms) / each].at((at - rhythms) % each);
  }
}

// Before `start`. The clock key 0 is in force until the caller names another.
void Scheduler::recall(const Memories &memories) {
  for (size_t id = 0; id < std::min(tasks_.size(), memories.rhythms.size()); ++id)
    tasks_[id].rhythm.recall(memories.rhythms[id]);
  uint32_t slot = 1;
  uint64_t rank = kClockKeys;
  for (const Learned &learned : memories.durations) {
    rank -= rank > 1 ? 1 : 0;
    if (learned.count() != learned_[0].count() || (learned.key != 0 && slot == kClockKeys)) continue;
    Learned &place = learned_[learned.key == 0 ? 0 : slot++];
    place = learned;
    place.used_ns = rank;
  }
}

}  // namespace calypte::core
