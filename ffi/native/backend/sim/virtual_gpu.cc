#include "backend/sim/virtual_gpu.h"

#include <algorithm>

namespace calypte::sim {
namespace {

constexpr uint64_t kLaunchNs = 4'000;  // a launch costs the host 3.6 us, and reaches an idle GPU soon after
constexpr uint64_t kLaunchJitterNs = 1'500;
constexpr uint64_t kLoopDrainNs = 5'000;  // about the period that the checkpoint compiler aims at
constexpr uint64_t kResumeNs = 4'600;     // background blocks run again 4.6 us (p99 5.1) after the gate has opened
constexpr uint64_t kResumeJitterNs = 500;
constexpr uint64_t kFollowNs = 1'000;          // from the end of an entry to the next one in the stream
constexpr uint64_t kSkipEntryNs = 6'000;       // an entry that finds nothing to do
constexpr uint64_t kSkipStepNs = 1'000;        // a kernel of a graph whose turn it is not
constexpr double kCriticalDeviation = 0.0127;  // p99 of the factor: exp(0.0127 * 2.33) = 1.03
constexpr double kStepDeviation = 0.005;

constexpr uint64_t kCriticalDraws = 1;  // kind of an Rng, beside the GPU's own

}  // namespace

// ---- Critical streams

void VirtualGpu::launch_critical(uint32_t task, uint64_t number, uint64_t now_ns) {
  // Drawn from the request's number: two policies under one seed meet the same critical work.
  Rng rng(seed_, kCriticalDraws + task, 2 * number);
  numbers_[task] = number;
  timeline_.set(TimerKind::gate_close, now_ns + kLaunchNs + rng.up_to(kLaunchJitterNs), task);
}

void VirtualGpu::critical_start(uint32_t task, uint64_t now_ns) {
  Rng rng(seed_, kCriticalDraws + task, 2 * numbers_[task] + 1);
  share(now_ns);
  active_[task] = {true, std::max<uint64_t>(rng.jittered(tasks_[task].estimate_ns, kCriticalDeviation), 1)};
  active_count_ += 1;
  plan_critical_end(now_ns);
}

// Gives each active task its even part of the time since the last change.
void VirtualGpu::share(uint64_t now_ns) {
  if (active_count_ > 0) {
    const uint64_t part_ns = (now_ns - shared_until_ns_) / active_count_;
    for (Active &active : active_) active.remaining_ns -= std::min(active.remaining_ns, active.on ? part_ns : 0);
  }
  shared_until_ns_ = now_ns;
}

void VirtualGpu::plan_critical_end(uint64_t now_ns) {
  uint64_t least_ns = core::kNever;
  for (const Active &active : active_) {
    if (active.on) least_ns = std::min(least_ns, active.remaining_ns);
  }
  sharing_ += 1;
  if (least_ns != core::kNever) timeline_.set(TimerKind::critical_end, now_ns + least_ns * active_count_, 0, sharing_);
}

void VirtualGpu::critical_end(uint64_t now_ns) {
  share(now_ns);
  uint32_t ended = 0;
  for (uint32_t id = 0; id < active_.size(); ++id) {
    if (active_[id].on && (!active_[ended].on || active_[id].remaining_ns < active_[ended].remaining_ns)) ended = id;
  }
  active_[ended] = {};
  active_count_ -= 1;
  plan_critical_end(now_ns);
  timeline_.set(TimerKind::critical_out, now_ns + tasks_[ended].output_copy_ns, ended);
  task_words_ &= ~(1u << ended);
  gate_opened(now_ns);
}

// ---- Gate

void VirtualGpu::set_hold(bool on, uint64_t now_ns) {
  hold_ = on;
  if (on)
    gate_closed(now_ns);
  else
    gate_opened(now_ns);
}

void VirtualGpu::set_pause(uint32_t job, bool on, uint64_t now_ns) {
  jobs_[job].paused = on;
  if (on) gate_closed(now_ns);
}

// Running blocks end first: the rest of one block, which was at any point of it; in the first wave all began together.
void VirtualGpu::gate_closed(uint64_t now_ns) {
  if (stream_ != Stream::running || head().whole || !closed_for(head())) return;
  const uint64_t block_ns = head_step().loop ? std::min(head_step().block_ns, kLoopDrainNs) : head_step().block_ns;
  const uint64_t elapsed_ns = now_ns - run_begin_ns_;
  const uint64_t rest_ns = elapsed_ns < block_ns ? block_ns - elapsed_ns : rng_.up_to(block_ns);
  if (now_ns + rest_ns >= free_ns_) return;  // the step ends before that
  free_ns_ = now_ns + rest_ns;
  stream_ = Stream::leaving;
  next_timer(TimerKind::leave, free_ns_);
}

void VirtualGpu::gate_opened(uint64_t now_ns) {
  if (stream_ == Stream::waiting) begin_head(kResumeNs + rng_.up_to(kResumeJitterNs), now_ns);
}

// ---- Background stream

bool VirtualGpu::append(const Entry &entry, uint64_t now_ns) {
  if (count_ == entries_.size()) return false;
  entries_[(first_ + count_) % entries_.size()] = entry;
  count_ += 1;
  if (count_ == 1) begin_head(kLaunchNs + rng_.up_to(kLaunchJitterNs), now_ns);
  return true;
}

// A parked entry waits for the gate line, not for the job's own pause word: a paused job must not block the stream.
bool VirtualGpu::must_wait(const Entry &entry) const {
  if (entry.whole) return task_words_ != 0;
  return parked_ && (task_words_ != 0 || hold_);
}

void VirtualGpu::begin_head(uint64_t delay_ns, uint64_t now_ns) {
  if (must_wait(head())) {
    stream_ = Stream::waiting;
    return;
  }
  const core::Segment &segment = jobs_[head().job].segments[head().segment];
  const uint32_t step = jobs_[head().job].step();
  const bool inside = step >= segment.first_step && step < segment.first_step + segment.step_count;
  stream_ = Stream::starting;
  next_timer(TimerKind::entry_start, now_ns + delay_ns + (inside ? (step - segment.first_step) * kSkipStepNs : 0));
}

void VirtualGpu::entry_start(uint64_t now_ns) {
  const GpuJob &job = jobs_[head().job];
  const core::Segment &segment = job.segments[head().segment];
  if (head().whole && must_wait(head())) {
    stream_ = Stream::waiting;
    return;
  }
  const bool mine = job.step() >= segment.first_step && job.step() < segment.first_step + segment.step_count &&
                    job.unit() < head().granted;
  if (!mine || (!head().whole && closed_for(head()))) {
    end_entry(std::max(kSkipEntryNs, segment.step_count * kSkipStepNs), now_ns);
    return;
  }
  host_.background_runs(now_ns);
  start_step(now_ns);
}

void VirtualGpu::start_step(uint64_t now_ns) {
  const GpuStep &step = head_step();
  const uint32_t done = jobs_[head().job].blocks_done;
  const uint64_t full_ns = rng_.jittered(step.estimate_ns, kStepDeviation);
  run_begin_ns_ = now_ns;
  run_ns_ = std::max<uint64_t>(
      static_cast<uint64_t>(static_cast<unsigned __int128>(full_ns) * (step.blocks - done) / step.blocks), 1);
  free_ns_ = now_ns + run_ns_;
  stream_ = Stream::running;
  next_timer(TimerKind::step_end, free_ns_);
}

// The step or its part that ends now.
void VirtualGpu::count_run(uint64_t now_ns) {
  entry_busy_ns_ += now_ns - run_begin_ns_;
  jobs_[head().job].busy_ns += now_ns - run_begin_ns_;
}

void VirtualGpu::step_end(uint64_t now_ns) {
  GpuJob &job = jobs_[head().job];
  const core::Segment &segment = job.segments[head().segment];
  count_run(now_ns);
  job.blocks_done = 0;
  const uint32_t next = job.step() + 1;
  const bool unit_ended = next == job.steps.size();
  const uint64_t unit = job.unit();
  job.step_word = unit_ended ? core::step_word_of(unit + 1, 0) : core::step_word_of(unit, next);
  if (unit_ended) host_.unit_done(head().job, unit, now_ns);
  if (next == segment.first_step + segment.step_count)
    end_entry(0, now_ns);
  else if (closed_for(head()))
    end_entry((segment.first_step + segment.step_count - next) * kSkipStepNs, now_ns);
  else
    start_step(now_ns);
}

void VirtualGpu::leave(uint64_t now_ns) {
  GpuJob &job = jobs_[head().job];
  const core::Segment &segment = job.segments[head().segment];
  const GpuStep &step = head_step();
  const uint64_t ran_ns = now_ns - run_begin_ns_;
  const uint32_t open = step.blocks - job.blocks_done;
  const uint64_t completed = static_cast<uint64_t>(static_cast<unsigned __int128>(open) * ran_ns / run_ns_);
  if (step.loop) {
    // Blocks that were abandoned are undone: whole rounds of the workers count.
    const uint64_t rounds = std::min<uint64_t>(ran_ns / step.block_ns, open);
    job.blocks_done += static_cast<uint32_t>(std::min<uint64_t>({completed, rounds * step.workers, open - 1}));
  } else {
    // It left before the step's end, so at least one block is undone; and every worker ended the block that it had
    // begun.
    job.blocks_done += static_cast<uint32_t>(std::min<uint64_t>(std::max<uint64_t>(completed, 1), open - 1));
  }
  count_run(now_ns);
  job.leaves += std::min(step.workers, step.blocks - job.blocks_done);
  end_entry((segment.first_step + segment.step_count - job.step() - 1) * kSkipStepNs, now_ns);
}

void VirtualGpu::end_entry(uint64_t delay_ns, uint64_t now_ns) {
  stream_ = Stream::ending;
  free_ns_ = now_ns;
  if (delay_ns == 0)
    entry_end(now_ns);
  else
    next_timer(TimerKind::entry_end, now_ns + delay_ns);
}

void VirtualGpu::entry_end(uint64_t now_ns) {
  host_.entry_done(head().job, jobs_[head().job].step_word, entry_busy_ns_, now_ns);
  entry_busy_ns_ = 0;
  first_ = (first_ + 1) % entries_.size();
  count_ -= 1;
  generation_ += 1;
  stream_ = Stream::idle;
  if (count_ > 0) begin_head(kFollowNs, now_ns);
}

// ---- Timers

void VirtualGpu::on_timer(const Timer &timer) {
  const uint64_t now_ns = timer.time_ns;
  switch (timer.kind) {
    case TimerKind::gate_close: {
      task_words_ |= 1u << timer.id;
      gate_closed(now_ns);
      const bool resident = stream_ == Stream::running || stream_ == Stream::leaving;
      timeline_.set(TimerKind::critical_start, resident ? std::max(now_ns, free_ns_) : now_ns, timer.id);
      return;
    }
    case TimerKind::critical_start:
      critical_start(timer.id, now_ns);
      return;
    case TimerKind::critical_end:
      if (timer.tag == sharing_) critical_end(now_ns);
      return;
    case TimerKind::critical_out:
      host_.critical_done(timer.id, now_ns);
      return;
    default:
      break;
  }
  if (timer.tag != generation_) return;
  switch (timer.kind) {
    case TimerKind::entry_start:
      entry_start(now_ns);
      return;
    case TimerKind::step_end:
      step_end(now_ns);
      return;
    case TimerKind::leave:
      leave(now_ns);
      return;
    case TimerKind::entry_end:
      entry_end(now_ns);
      return;
    default:
      return;
  }
}

}  // namespace calypte::sim
