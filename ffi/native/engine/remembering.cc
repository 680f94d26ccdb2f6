// How does an engine hand out what it has learned, and take it back before it begins? The dispatcher copies a piece
// between two steps whenever the caller asks for one; all else is the caller's thread's work.
#include <sched.h>

#include <algorithm>
#include <cstring>

#include "engine/clock.h"
#include "engine/engine.h"
#include "engine/error.h"
#include "engine/learned.h"

namespace calypte {
namespace {

constexpr uint64_t kPieceTimeoutNs = 200'000'000;
constexpr int kTries = 4;

}  // namespace

// Asks the dispatcher for the piece that begins at `first`; it then lies in piece_.
int32_t Engine::take_piece(uint32_t first) {
  if (piece_ == nullptr) piece_ = std::make_unique<core::MemoryPiece>();
  if (virtual_clock()) {
    scheduler_->remember(first, *piece_);
    return 0;
  }
  Command command{};
  command.piece = ++pieces_asked_;
  command.first = first;
  if (const int32_t code = post(command); code < 0) return code;
  const uint64_t give_up_ns = monotonic_ns() + kPieceTimeoutNs;
  while (piece_done_.load(std::memory_order_acquire) != pieces_asked_) {
    if (monotonic_ns() > give_up_ns)
      return fail(CALYPTE_E_TIMEOUT, "take_learned: the dispatcher did not answer within 200 ms");
    sched_yield();
  }
  return 0;
}

// All sketches in the order of Scheduler::remember. E_BUSY: the clocks changed meanwhile.
int32_t Engine::take_memories(core::Memories &out) {
  if (const int32_t code = take_piece(0); code < 0) return code;
  const core::MemoryPiece head = *piece_;
  core::Learned empty;
  empty.reserve(config_);
  const uint32_t rhythms = 2 * static_cast<uint32_t>(tasks_.size()), each = empty.count();
  const auto sketch = [&](uint32_t index, core::Sketch &to, uint32_t &first) -> int32_t {
    if (index < first || index >= first + piece_->count) {
      first = index;
      if (const int32_t code = take_piece(first); code < 0) return code;
    }
    to = piece_->sketches[index - first];
    return piece_->changes == head.changes ? 0 : CALYPTE_E_BUSY;
  };
  uint32_t first = 0;
  out.rhythms.resize(tasks_.size());
  for (uint32_t id = 0; id < tasks_.size(); ++id) {
    out.rhythms[id].period_ns = head.period_ns[id];
    for (uint32_t half = 0; half < 2; ++half) {
      core::Sketch &to = half == 0 ? out.rhythms[id].errors : out.rhythms[id].intervals;
      if (const int32_t code = sketch(2 * id + half, to, first); code < 0) return code;
    }
  }
  for (uint32_t slot = 0; slot < core::kClockKeys; ++slot) {
    const core::MemoryPiece::Clocks &clocks = head.clocks[slot];
    if (!clocks.known) continue;
    core::Learned &learned = out.durations.emplace_back(empty);
    learned.key = clocks.key;
    learned.used_ns = clocks.in_force ? core::kNever : clocks.used_ns;
    for (uint32_t i = 0; i < each; ++i) {
      if (const int32_t code = sketch(rhythms + slot * each + i, learned.at(i), first); code < 0) return code;
    }
  }
  std::sort(out.durations.begin(), out.durations.end(),
            [](const core::Learned &a, const core::Learned &b) { return a.used_ns > b.used_ns; });
  return 0;
}

int32_t Engine::take_learned(uint8_t *data, uint32_t capacity) {
  if (const int32_t code = expect_state(CALYPTE_STATE_READY, "take_learned"); code < 0) return code;
  core::Memories memories;
  int32_t code = CALYPTE_E_BUSY;
  for (int i = 0; i < kTries && code == CALYPTE_E_BUSY; ++i) {
    memories = {};
    code = take_memories(memories);
  }
  if (code == CALYPTE_E_BUSY) return fail(code, "take_learned: the clocks change too fast; try again");
  if (code < 0) return code;
  calypte_device device{};
  if (const int32_t known = backend_->device(device); known < 0) return known;
  LearnedFile file;
  file.device = device_mark(device, options_);
  for (const core::Learned &learned : memories.durations) {
    file.keys.push_back(learned.key);
    file.starts.push_back(learned.starts);
  }
  for (const Work &task : tasks_) {
    LearnedWork &work = file.works.emplace_back(learned_head(task));
    work.rhythm = memories.rhythms[task.id];
    for (const core::Learned &learned : memories.durations) work.executions.push_back(learned.executions[task.id]);
  }
  for (const Work &job : jobs_) {
    LearnedWork &work = file.works.emplace_back(learned_head(job));
    for (const core::Learned &learned : memories.durations) {
      work.drains.push_back(learned.drains[job.id]);
      work.segments.push_back(learned.segments[job.id]);
    }
    work.steps.resize(job.steps.size());
    for (uint32_t i = 0; i < work.steps.size(); ++i) {
      if (const int32_t known = backend_->job_step(job, i, work.steps[i]); known < 0) return known;
    }
  }
  const std::vector<uint8_t> bytes = encode_learned(file);
  if (bytes.size() > INT32_MAX) return fail(CALYPTE_E_LIMIT, "take_learned: more than 2^31 bytes");
  if (data == nullptr) return static_cast<int32_t>(bytes.size());
  if (capacity < bytes.size())
    return fail(CALYPTE_E_BUFFER, "take_learned: it takes %zu bytes, got room for %u", bytes.size(), capacity);
  memcpy(data, bytes.data(), bytes.size());
  return static_cast<int32_t>(bytes.size());
}

int32_t Engine::give_learned(const uint8_t *data, uint32_t size_bytes) {
  if (const int32_t code = expect_state(CALYPTE_STATE_LOADING, "give_learned"); code < 0) return code;
  if (warm_) return fail(CALYPTE_E_STATE, "give_learned: only before warm_up");
  auto file = std::make_unique<LearnedFile>();
  if (!decode_learned(data, size_bytes, *file)) return CALYPTE_E_INVALID;
  calypte_device device{};
  if (const int32_t code = backend_->device(device); code < 0) return code;
  if (file->device != device_mark(device, options_))
    return fail(CALYPTE_E_INVALID,
                "give_learned: learned on another device, driver or version of this library, or with other features");
  int32_t matched = 0;
  for (const LearnedWork &learned : file->works) {
    for (const std::vector<Work> *list : {&tasks_, &jobs_}) {
      for (const Work &work : *list) {
        if (!learned.about(work)) continue;
        matched += 1;
        if (learned.steps.size() == work.steps.size()) backend_->suggest(work, learned.steps);
      }
    }
  }
  given_ = std::move(file);
  return matched;
}

// What was given, in the order of this engine's works.
core::Memories Engine::memories_for_start() const {
  core::Memories memories;
  if (given_ == nullptr) return memories;
  memories.rhythms.resize(tasks_.size());
  for (size_t key = 0; key < given_->keys.size(); ++key) {
    core::Learned &learned = memories.durations.emplace_back();
    learned.reserve(config_);
    learned.key = given_->keys[key];
    learned.starts = given_->starts[key];
    for (const LearnedWork &work : given_->works) {
      for (const Work &task : tasks_) {
        if (work.about(task)) learned.executions[task.id] = work.executions[key];
      }
      for (const Work &job : jobs_) {
        if (!work.about(job)) continue;
        learned.drains[job.id] = work.drains[key];
        if (work.segments[key].size() == learned.segments[job.id].size()) learned.segments[job.id] = work.segments[key];
      }
    }
  }
  for (const LearnedWork &work : given_->works) {
    for (const Work &task : tasks_) {
      if (work.about(task)) memories.rhythms[task.id] = work.rhythm;
    }
  }
  return memories;
}

}  // namespace calypte
