#include "backend/sim/virtual_gpu.h"

#include <algorithm>

namespace calypte::sim {
namespace {

constexpr uint64_t kCriticalDraws = 1;  // kind of an Rng, beside the GPU's own
constexpr uint64_t kCriticalFaults = 2'000;
constexpr uint64_t kLostCompletions = 3'000;

}  // namespace

// ---- Critical streams

void VirtualGpu::launch_critical(uint32_t task, uint64_t number, uint64_t now_ns) {
  // Drawn from the request's number: two policies under one seed meet the same critical work.
  Rng rng(seed_, kCriticalDraws + task, 2 * number);
  const calypte_sim_profile &profile = conditions_.profile;
  push(task, {true, false, number, now_ns + profile.launch_ns + rng.up_to(profile.launch_jitter_ns)}, now_ns);
}

void VirtualGpu::write_task_gate(uint32_t task, bool closed, uint64_t now_ns) {
  push(task, {false, closed, 0, now_ns + conditions_.profile.gate_write_ns}, now_ns);
}

void VirtualGpu::push(uint32_t task, const Operation &operation, uint64_t now_ns) {
  streams_[task].push_back(operation);
  if (streams_[task].size() == 1) next_operation(task, now_ns);
}

void VirtualGpu::next_operation(uint32_t task, uint64_t now_ns) {
  if (streams_[task].empty()) return;
  timeline_.set(TimerKind::critical_op, std::max(now_ns, streams_[task].front().ready_ns), task);
}

void VirtualGpu::critical_op(uint32_t task, uint64_t now_ns) {
  const Operation operation = streams_[task].front();
  if (!operation.launch) {
    streams_[task].pop_front();
    set_task_word(task, operation.closes, now_ns);
    next_operation(task, now_ns);
    return;
  }
  if (!tasks_[task].beside) set_task_word(task, true, now_ns);
  const bool resident = !tasks_[task].beside && (stream_ == Stream::running || stream_ == Stream::leaving);
  timeline_.set(TimerKind::critical_start, resident ? std::max(now_ns, free_ns_) : now_ns, task);
}

void VirtualGpu::critical_start(uint32_t id, uint64_t now_ns) {
  const GpuTask &task = tasks_[id];
  const uint64_t number = streams_[id].front().number;
  Rng rng(seed_, kCriticalDraws + id, 2 * number + 1), faults(seed_, kCriticalFaults + id, number);
  const uint64_t replayed_ns = task.durations.empty() ? 0 : task.durations[number % task.durations.size()];
  const double spread = deviation(conditions_.profile.critical_deviation_ppm);
  const uint64_t drawn_ns = replayed_ns > 0 ? replayed_ns : rng.jittered(task.estimate_ns, spread);
  const uint64_t alone_ns = std::max<uint64_t>(conditions_.stretched(conditions_.slowed(drawn_ns, faults), now_ns), 1);
  if (observer_ != nullptr) observer_->critical_begins(id, number, alone_ns, task.beside, now_ns);
  share(now_ns);
  active_[id] = {true, alone_ns};
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
  if (observer_ != nullptr) observer_->critical_ends(ended, now_ns);
  if (!tasks_[ended].beside) set_task_word(ended, false, now_ns);
}

// ---- Gate

void VirtualGpu::set_task_word(uint32_t task, bool closed, uint64_t now_ns) {
  task_words_ = closed ? task_words_ | 1u << task : task_words_ & ~(1u << task);
  tell_gate(now_ns);
  if (closed)
    gate_closed(now_ns);
  else
    gate_opened(now_ns);
}

void VirtualGpu::set_hold(bool on, uint64_t now_ns) {
  hold_ = on;
  tell_gate(now_ns);
  if (on)
    gate_closed(now_ns);
  else
    gate_opened(now_ns);
}

void VirtualGpu::set_soft(bool on, uint64_t now_ns) {
  soft_ = on;
  tell_gate(now_ns);
  if (!on) gate_opened(now_ns);
}

void VirtualGpu::set_pause(uint32_t job, bool on, uint64_t now_ns) {
  jobs_[job].paused = on;
  if (on) gate_closed(now_ns);
}

// Running blocks end first: the rest of one block, which was at any point of it; in the first wave all began together.
void VirtualGpu::gate_closed(uint64_t now_ns) {
  if (stream_ != Stream::running || head().whole || !closed_for(head())) return;
  const GpuStep &step = head_step();
  uint64_t block_ns = static_cast<uint64_t>(static_cast<double>(step.block_ns) * slowness_);
  if (step.loop) block_ns = std::min(block_ns, conditions_.profile.loop_drain_ns);
  const uint64_t elapsed_ns = now_ns - run_begin_ns_;
  uint64_t rest_ns = elapsed_ns < block_ns ? block_ns - elapsed_ns : rng_.up_to(block_ns);
  if (!step.loop) rest_ns += conditions_.profile.block_drain_ns;
  if (now_ns + rest_ns >= free_ns_) return;  // the step ends before that
  free_ns_ = now_ns + rest_ns;
  stream_ = Stream::leaving;
  next_timer(TimerKind::leave, free_ns_);
}

void VirtualGpu::gate_opened(uint64_t now_ns) {
  if (stream_ == Stream::waiting)
    begin_head(conditions_.profile.resume_ns + rng_.up_to(conditions_.profile.resume_jitter_ns), now_ns);
}

// ---- Background stream

bool VirtualGpu::append(uint32_t id, uint32_t segment, uint32_t count, bool whole, uint64_t now_ns) {
  if (count_ == entries_.size()) return false;
  const GpuJob &job = jobs_[id];
  const core::Segment &first = job.segments[segment];
  const core::Segment &last = job.segments[std::min<size_t>(segment + count, job.segments.size()) - 1];
  entries_[(first_ + count_) % entries_.size()] = {
      id, segment, first.first_step, last.first_step + last.step_count, whole, job.granted};
  count_ += 1;
  const calypte_sim_profile &profile = conditions_.profile;
  if (count_ == 1) begin_head(profile.launch_ns + rng_.up_to(profile.launch_jitter_ns), now_ns);
  return true;
}

// A parked entry waits for the gate line, not for the job's own pause word: a paused job must not block the stream.
bool VirtualGpu::must_wait(const Entry &entry) const {
  return (entry.whole || parked_) && (task_words_ != 0 || hold_ || soft_);
}

void VirtualGpu::begin_head(uint64_t delay_ns, uint64_t now_ns) {
  const Entry &entry = head();
  if (must_wait(entry)) {
    stream_ = Stream::waiting;
    return;
  }
  const uint32_t step = jobs_[entry.job].step();
  const bool inside = step >= entry.first_step && step < entry.end_step;
  const uint64_t skipped_ns = inside ? (step - entry.first_step) * conditions_.profile.skip_step_ns : 0;
  stream_ = Stream::starting;
  next_timer(TimerKind::entry_start, now_ns + delay_ns + skipped_ns);
}

void VirtualGpu::entry_start(uint64_t now_ns) {
  const Entry &entry = head();
  const GpuJob &job = jobs_[entry.job];
  if (entry.whole && must_wait(entry)) {
    stream_ = Stream::waiting;
    return;
  }
  const bool turn = job.step() >= entry.first_step && job.step() < entry.end_step;
  const bool mine = turn && job.unit() < entry.granted && (!entry.whole || job.step() == entry.first_step);
  if (!mine && entry.whole && observer_ != nullptr) observer_->out_of_turn(entry.job, entry.segment, now_ns);
  if (!mine || (!entry.whole && (closed_for(entry) || (!parked_ && soft_)))) {
    const calypte_sim_profile &profile = conditions_.profile;
    end_entry(std::max(profile.skip_entry_ns, (entry.end_step - entry.first_step) * profile.skip_step_ns), now_ns);
    return;
  }
  host_.background_runs(now_ns);
  start_step(now_ns);
}

// A step by itself, at full speed: drawn, or its part of a replayed unit.
uint64_t VirtualGpu::alone_ns(const GpuJob &job, uint32_t step) {
  const uint64_t estimate_ns = job.steps[step].estimate_ns;
  const uint64_t unit_ns = job.durations.empty() ? 0 : job.durations[job.unit() % job.durations.size()];
  if (unit_ns == 0) return rng_.roughly_jittered(estimate_ns, step_deviation_);
  uint64_t sum_ns = 0;
  for (const GpuStep &each : job.steps) sum_ns += each.estimate_ns;
  return static_cast<uint64_t>(static_cast<unsigned __int128>(estimate_ns) * unit_ns / sum_ns);
}

void VirtualGpu::start_step(uint64_t now_ns) {
  const Entry &entry = head();
  const GpuJob &job = jobs_[entry.job];
  const GpuStep &step = head_step();
  const uint32_t done = job.blocks_done;
  uint64_t alone = alone_ns(job, job.step());
  for (uint32_t s = job.step() + 1; entry.whole && s < entry.end_step; ++s) alone += alone_ns(job, s);
  const uint64_t full_ns = conditions_.stretched(conditions_.slowed(alone, fault_rng_), now_ns);
  slowness_ = full_ns == alone ? 1 : static_cast<double>(full_ns) / static_cast<double>(std::max<uint64_t>(alone, 1));
  run_begin_ns_ = now_ns;
  run_ns_ = full_ns;
  if (done > 0)
    run_ns_ = static_cast<uint64_t>(static_cast<unsigned __int128>(full_ns) * (step.blocks - done) / step.blocks);
  run_ns_ = std::max<uint64_t>(run_ns_, 1);
  free_ns_ = now_ns + run_ns_;
  stream_ = Stream::running;
  if (observer_ != nullptr) observer_->blocks_begin(entry.job, job.step_word, done, entry.whole, job.paused, now_ns);
  next_timer(TimerKind::step_end, free_ns_);
}

// The step or its part that ends now.
void VirtualGpu::count_run(uint64_t now_ns) {
  entry_busy_ns_ += now_ns - run_begin_ns_;
  jobs_[head().job].busy_ns += now_ns - run_begin_ns_;
}

void VirtualGpu::step_end(uint64_t now_ns) {
  GpuJob &job = jobs_[head().job];
  const Entry entry = head();
  count_run(now_ns);
  // A whole launch has run all of its steps.
  const uint32_t next = entry.whole ? entry.end_step : job.step() + 1;
  const uint64_t unit = job.unit();
  for (uint32_t step = job.step(); step < next; ++step) {
    tell_done(job.blocks_done, job.steps[step].blocks - job.blocks_done, core::step_word_of(unit, step), now_ns);
    job.blocks_done = 0;
  }
  const bool unit_ended = next == job.steps.size();
  job.step_word = unit_ended ? core::step_word_of(unit + 1, 0) : core::step_word_of(unit, next);
  if (unit_ended) host_.unit_done(entry.job, unit, now_ns);
  if (next == entry.end_step)
    end_entry(0, now_ns);
  else if (closed_for(entry))
    end_entry((entry.end_step - next) * conditions_.profile.skip_step_ns, now_ns);
  else
    start_step(now_ns);
}

void VirtualGpu::leave(uint64_t now_ns) {
  GpuJob &job = jobs_[head().job];
  const GpuStep &step = head_step();
  const uint32_t before = job.blocks_done;
  const uint64_t ran_ns = now_ns - run_begin_ns_;
  const uint32_t open = step.blocks - job.blocks_done;
  const uint64_t completed = static_cast<uint64_t>(static_cast<unsigned __int128>(open) * ran_ns / run_ns_);
  if (step.loop) {
    // Blocks that were abandoned are undone: whole rounds of the workers count.
    const double block_ns = static_cast<double>(step.block_ns) * slowness_;
    const uint64_t rounds = std::min<uint64_t>(static_cast<uint64_t>(static_cast<double>(ran_ns) / block_ns), open);
    job.blocks_done += static_cast<uint32_t>(std::min<uint64_t>({completed, rounds * step.workers, open - 1}));
  } else {
    // It left before the step's end, so at least one block is undone; and every worker ended the block that it had
    // begun.
    job.blocks_done += static_cast<uint32_t>(std::min<uint64_t>(std::max<uint64_t>(completed, 1), open - 1));
  }
  tell_done(before, job.blocks_done - before, job.step_word, now_ns);
  count_run(now_ns);
  job.leaves += std::min(step.workers, step.blocks - job.blocks_done);
  end_entry((head().end_step - job.step() - 1) * conditions_.profile.skip_step_ns, now_ns);
}

void VirtualGpu::end_entry(uint64_t delay_ns, uint64_t now_ns) {
  stream_ = Stream::ending;
  free_ns_ = now_ns;
  if (observer_ != nullptr) observer_->background_left(now_ns);
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
  if (count_ > 0) begin_head(conditions_.profile.follow_ns, now_ns);
}

// ---- Timers

void VirtualGpu::on_timer(const Timer &timer) {
  const uint64_t now_ns = timer.time_ns;
  switch (timer.kind) {
    case TimerKind::critical_op:
      critical_op(timer.id, now_ns);
      return;
    case TimerKind::critical_start:
      critical_start(timer.id, now_ns);
      return;
    case TimerKind::critical_end:
      if (timer.tag == sharing_) critical_end(now_ns);
      return;
    case TimerKind::critical_out: {
      std::deque<Operation> &queue = streams_[timer.id];
      Rng rng(seed_, kLostCompletions + timer.id, queue.front().number);
      const bool lost = conditions_.faults.lost_ppm > 0 && Conditions::happens(conditions_.faults.lost_ppm, rng);
      queue.pop_front();
      next_operation(timer.id, now_ns);
      if (!lost) host_.critical_done(timer.id, now_ns);
      return;
    }
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
