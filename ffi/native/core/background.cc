// What runs in the background next, and how much of it is queued ahead? The job that had least for its weight; a
// preemptible segment as it is, a `whole` one only where it ends before the next request needs the GPU.
#include <algorithm>

#include "core/scheduler_state.h"

namespace calypte::core {
namespace {

// A `whole` kernel is started only if the window holds its estimate, a quarter more, and this; one that was seen often
// enough, its 99th percentile and a little.
constexpr uint64_t kWindowMarginNs = 50'000;
constexpr uint64_t kLearnedMarginNs = 20'000;
// From queueing on an empty stream to beginning, until it has been seen: the host's threads have to wake for it.
constexpr uint64_t kUnknownStartNs = 150'000;
constexpr uint32_t kLeastSeen = 20;
// `whole` launches are queued ahead for this long, and one more, so that the next begins without the host when one
// ends: the dispatcher looks every 50 us, and on a virtual machine now and then is late by 100.
constexpr uint64_t kWholeAheadNs = 300'000;
// Ranges of a grid are put together into launches no longer than this.
constexpr uint64_t kLongestMergedNs = 1'000'000;
// Without parking an entry that finds the gate closed is not held back by the stream: few are kept queued.
constexpr uint32_t kEntriesAheadHostResume = kEntriesAheadUnparked;
// A job whose backlog was empty for a moment keeps this much of what it is owed; one that was away for long does not
// come back to take the GPU for itself.
constexpr uint64_t kCreditNs = 20'000'000;
// So many blocks abandoned in so long a time without one that ended: they are longer than the time between closings.
constexpr uint64_t kStuckBlocks = 256;
constexpr uint64_t kStuckNs = 1'000'000'000;

constexpr uint64_t with_margin(uint64_t estimate_ns) { return estimate_ns + estimate_ns / 4 + kWindowMarginNs; }

}  // namespace

bool Scheduler::background_open() const {
  if (hold_bits_ != 0) return false;
  return outstanding_total_ > 0 || std::any_of(jobs_.begin(), jobs_.end(), [](const Job &job) { return job.planned; });
}

void Scheduler::forget_absence(Job &job) const {
  const uint64_t credit = kCreditNs * kPassScale / job.weight;
  if (least_pass_ > credit) job.pass = std::max(job.pass, least_pass_ - credit);
}

// `granted` only grows: what was granted under an earlier plan stays granted, and `pause` stops it.
void Scheduler::grant(uint32_t id, ActionList &out) {
  Job &job = jobs_[id];
  const uint64_t wanted = std::min(job.staged, job.planned ? job.unit_limit : job.granted);
  if (wanted <= job.granted) return;
  if (job.remaining() == 0) forget_absence(job);
  job.granted = wanted;
  Action &action = out.add(ActionKind::grant);
  action.id = id;
  action.number = wanted;
}

// ---- What has ended

void Scheduler::entry_done(const Event &event, uint64_t now_ns, ActionList &out) {
  Job &job = jobs_[event.id];
  if (job.outstanding == 0) return;
  Learned &learned = learned_[clocks_];
  const std::vector<Segment> &segments = config_.jobs[event.id].segments;
  const uint32_t index = job.segment;
  const Segment &segment = segments[index];
  const uint64_t before = job.step_word;
  const Job::Entry entry = job.settle(event.busy_ns * kPassScale / job.weight);
  outstanding_total_ -= 1;
  oldest_ = (oldest_ + 1) % CALYPTE_MAX_ENTRIES_AHEAD;
  whole_outstanding_ -= entry.segments > 0 ? 1 : 0;
  long_outstanding_ -= entry.needs_window ? 1 : 0;
  whole_queued_ns_ -= entry.safe_ns;
  const uint64_t done_ns = std::min(event.time_ns, now_ns);
  const bool undisturbed = closing_ns_ == 0;
  if (!undisturbed) learned.drains[event.id].add(done_ns - std::min(done_ns, closing_ns_));
  if (!undisturbed) drained_ns_ = done_ns;
  closing_ns_ = 0;
  const uint64_t begin_ns = head_begin_ns_;
  // When the host sees the end is counted in: rather too much than too little.
  if (undisturbed && lone_since_ns_ != kNever && event.busy_ns > 0)
    learned.starts.add(done_ns - std::min(done_ns, lone_since_ns_ + event.busy_ns));
  lone_since_ns_ = kNever;
  head_begin_ns_ = kNever;
  background_begins(done_ns);

  job.stats.entries += 1;
  if (entry.segments > 0) {
    job.stats.gpu_ns[segment.level] += event.busy_ns;
  } else {
    const uint64_t loop_ns = event.busy_ns / 1000 * segment.loop_permille;
    job.stats.gpu_ns[CALYPTE_LEVEL_LOOP] += loop_ns;
    job.stats.gpu_ns[CALYPTE_LEVEL_BLOCK] += event.busy_ns - loop_ns;
  }
  job.unit_spent_ns += event.busy_ns;
  // What the backend read may already be the work of a later entry: this one went to its own end at most.
  const uint64_t unit = unit_of(before);
  const uint32_t behind = index + std::max(entry.segments, 1u);
  uint64_t end =
      behind >= segments.size() ? step_word_of(unit + 1, 0) : step_word_of(unit, segments[behind].first_step);
  if (segments.size() == 1) {
    const uint64_t last = std::min(unit + config_.jobs[event.id].units_per_entry, entry.granted);
    end = step_word_of(std::max(unit + 1, last), 0);
  }
  job.step_word = std::max(before, std::min(end, event.step_word));
  const uint64_t units = unit_of(job.step_word) - unit;
  const bool complete = job.step_word == end;
  if (undisturbed && job.fresh && complete && entry.segments <= 1)
    learned.segments[event.id][index].add(event.busy_ns / std::max<uint64_t>(units, 1));
  if (units > 0) {
    job.unit_ns = std::max<uint64_t>(1, (3 * job.unit_ns + job.unit_spent_ns / units) / 4);
    job.unit_spent_ns = 0;
  }
  job.segment = 0;
  while (job.segment + 1 < segments.size() && step_of(job.step_word) >= segments[job.segment + 1].first_step)
    job.segment += 1;
  if (entry.segments > 0) {
    job.stats.whole_launches += entry.segments;
    trace_slice(event, begin_ns, before, false, out);
    return;
  }
  // It found nothing to do if no unit that it knew of was open before it; otherwise workers left.
  const bool skipped = !complete && unit >= entry.granted;
  if (!skipped) job.fresh = complete;
  if (!skipped) trace_slice(event, begin_ns, before, !complete, out);
  if (!complete) (skipped ? job.stats.skipped_entries : job.stats.preemptions) += 1;
}

// A look at what the device counts.
void Scheduler::sample(const Event &event, uint64_t now_ns, ActionList &out) {
  Job &job = jobs_[event.id];
  job.stats.leaves = event.leaves;
  job.stats.abandoned = event.abandoned;
  const bool moved = event.step_word != job.sampled_word || event.number != job.sampled_blocks;
  const uint64_t abandoned = event.abandoned - job.sampled_abandoned;
  const bool stuck = !moved && abandoned >= kStuckBlocks && now_ns >= job.stuck_since_ns + kStuckNs;
  if (stuck) {
    Action &report = out.add(ActionKind::report);
    report.event_kind = CALYPTE_EVENT_LONG_BLOCKS;
    report.id = event.id;
    report.a = static_cast<int64_t>(abandoned);
  }
  if (!moved && !stuck) return;
  job.sampled_word = event.step_word;
  job.sampled_blocks = event.number;
  job.sampled_abandoned = event.abandoned;
  job.stuck_since_ns = now_ns;
}

// ---- Windows

// What a segment takes by itself: its 99th percentile once it has been seen, its estimate until then.
uint64_t Scheduler::segment_ns(uint32_t id, uint32_t segment) const {
  const uint64_t seen_ns = learned_[clocks_].segments[id][segment].quantile(990, kLeastSeen);
  return seen_ns > 0 ? seen_ns : config_.jobs[id].segments[segment].estimate_ns;
}

// ... and what it hardly ever exceeds.
uint64_t Scheduler::safe_segment_ns(uint32_t id, uint32_t segment) const {
  const bool seen = learned_[clocks_].segments[id][segment].count() >= kLeastSeen;
  const uint64_t takes_ns = segment_ns(id, segment);
  return takes_ns + (seen ? kLearnedMarginNs : takes_ns / 4 + kWindowMarginNs);
}

// How long what is queued now takes to begin, where nothing is queued before it.
uint64_t Scheduler::start_ns() const {
  if (outstanding_total_ > 0) return 0;
  const uint64_t seen_ns = learned_[clocks_].starts.quantile(999, kLeastSeen);
  return seen_ns > 0 ? seen_ns : kUnknownStartNs;
}

// Short enough to be treated like a block: it ends within the bound that the mission sets.
bool Scheduler::is_short(uint32_t id, uint32_t segment) const {
  return segment_ns(id, segment) <= config_.jobs[id].bound_ns;
}

// How long what is queued of `whole` launches takes yet.
uint64_t Scheduler::whole_rest_ns(uint64_t now_ns) const {
  if (whole_outstanding_ == 0) return 0;
  const Job &job = jobs_[order_[oldest_]];
  const uint64_t head_ns = job.entries[job.oldest].safe_ns;
  const uint64_t ran_ns = head_begin_ns_ == kNever ? 0 : now_ns - std::min(now_ns, head_begin_ns_);
  return whole_queued_ns_ - std::min(ran_ns, head_ns);
}

// How long until task `id` may need the GPU; 0 where that may be at any time.
uint64_t Scheduler::free_ns(uint32_t id, uint64_t now_ns) const {
  const TaskConfig &config = config_.tasks[id];
  const Task &task = tasks_[id];
  uint64_t next_ns = now_ns;
  if (periodic(id)) {
    next_ns = task.next_arrival_ns;
  } else if (task.rhythm.regular()) {
    next_ns = task.rhythm.next_window(now_ns, 0).begin_ns;
  }
  uint64_t free_ns = next_ns - std::min(next_ns, now_ns);
  // Who may be deferred can wait for it, as far as the deadline allows.
  if (config.yield == CALYPTE_YIELD_WHEN_NEEDED && free_ns > 0 && config.from == CALYPTE_FROM_ARRIVAL) {
    const uint64_t needed_ns = execution_ns(id) + kWindowMarginNs;
    const uint64_t period_ns = periodic(id) ? config.period_ns : task.rhythm.period_ns();
    const uint64_t most_ns = std::min(config.deadline_ns, period_ns);
    free_ns += most_ns - std::min(most_ns, needed_ns);
  }
  return free_ns;
}

// How long what is started now may run on without delaying any request by more than that allows.
uint64_t Scheduler::window_ns(uint64_t now_ns) const {
  if (critical_pending()) return 0;
  uint64_t least_ns = kNever - now_ns;
  for (uint32_t id = 0; id < tasks_.size(); ++id) {
    if (!reserved(id)) least_ns = std::min(least_ns, std::max(free_ns(id, now_ns), config_.tasks[id].max_blocking_ns));
  }
  return least_ns;
}

// Whether work that takes `takes_ns`, and hardly ever more than `safe_ns`, may start now.
bool Scheduler::window_allows(uint64_t takes_ns, uint64_t safe_ns, uint64_t now_ns) const {
  if (critical_pending()) return false;
  for (uint32_t id = 0; id < tasks_.size(); ++id) {
    if (reserved(id) || takes_ns <= config_.tasks[id].max_blocking_ns) continue;
    if (safe_ns > free_ns(id, now_ns)) return false;
  }
  return true;
}

bool Scheduler::can_ever_fit(uint64_t takes_ns, uint64_t safe_ns) const {
  for (uint32_t id = 0; id < tasks_.size(); ++id) {
    if (reserved(id) || takes_ns <= config_.tasks[id].max_blocking_ns) continue;
    if (safe_ns > (periodic(id) ? config_.tasks[id].period_ns : tasks_[id].rhythm.period_ns())) return false;
  }
  return true;
}

// ---- What is queued

// One entry more than there are units: the successor that resumes a preempted one. Without parking the host
// resumes. Of a job with several segments only the one at hand can be entered.
bool Scheduler::wants_entry(uint32_t id) const {
  const Job &job = jobs_[id];
  const uint32_t per_entry = config_.jobs[id].units_per_entry;
  const uint64_t entries = config_.jobs[id].segments.size() > 1 ? 1 : (job.remaining() + per_entry - 1) / per_entry;
  return job.outstanding < entries + (config_.parked_resume && !isolated(id) ? 1 : 0);
}

// Of the jobs whose next segment is `whole` and fits the window, the one that fills it best, as long as nobody is owed
// more than the credit. `first` is the one whose turn it is.
uint32_t Scheduler::best_fit(uint32_t first, uint64_t now_ns) const {
  const uint64_t all_ns = window_ns(now_ns), window = all_ns - std::min(all_ns, start_ns());
  uint32_t best = first;
  uint64_t longest_ns = 0;
  for (uint32_t id = 0; id < jobs_.size(); ++id) {
    const Job &job = jobs_[id];
    const Segment &segment = config_.jobs[id].segments[job.segment];
    if (!job.planned || job.remaining() == 0 || job.outstanding > 0 || !segment.whole) continue;
    if (context_of(id) != turn_ || !job.present) continue;
    if (job.pass > jobs_[first].pass + kCreditNs * kPassScale / job.weight) continue;
    const uint64_t takes_ns = safe_segment_ns(id, job.segment);
    if (takes_ns > window || takes_ns <= longest_ns) continue;
    best = id;
    longest_ns = takes_ns;
  }
  return best;
}

void Scheduler::refill(uint64_t now_ns, ActionList &out) {
  if (!started_ || hold_bits_ != 0) return;
  const bool parked = config_.parked_resume;
  if (!parked && (critical_pending() || !tasks_open())) return;  // it would only find the gate closed
  uint32_t target = parked ? kEntriesAheadTarget : kEntriesAheadHostResume;
  uint32_t skip = 0;  // jobs whose `whole` step has no window now
  while (outstanding_total_ < target && refill_once(now_ns, skip, target, out)) {
  }
}

// False: nothing more can be queued now.
bool Scheduler::refill_once(uint64_t now_ns, uint32_t &skip, uint32_t &target, ActionList &out) {
  uint32_t id = choose_job(skip);
  if (id == kNobody || !take_turn(id, now_ns)) return false;
  const Job &job = jobs_[id];
  least_pass_ = std::max(least_pass_, job.pass);
  const std::vector<Segment> &segments = config_.jobs[id].segments;
  // Behind `whole` segments comes the next one, of the next unit if need be: what they leave is certain. Where nothing
  // more can be queued of the job whose turn it is, what is queued of it keeps the GPU busy.
  const uint32_t ahead = job.segment + job.whole_ahead;
  const uint32_t next = ahead % static_cast<uint32_t>(segments.size());
  if (job.whole_ahead > 0 && (ahead / segments.size() >= job.remaining() || job.outstanding > job.whole_entries))
    return false;
  if (!segments[next].whole) {
    if (job.whole_ahead == 0 && !wants_entry(id)) return false;
    queue_entry(id, next, now_ns, out);
    return true;
  }
  // A preemptible segment may leave: what comes behind it must wait until it is seen to be done.
  if (job.outstanding > job.whole_entries) return false;
  if (is_short(id, next)) return queue_whole(id, next, now_ns, out);
  const uint64_t rest_ns = whole_rest_ns(now_ns);
  const uint64_t takes_ns = segment_ns(id, next), safe_ns = start_ns() + safe_segment_ns(id, next);
  if (!window_allows(rest_ns + takes_ns, rest_ns + safe_ns, now_ns)) {
    if (rest_ns > 0 && whole_outstanding_ > 0) return false;
    // While a step waits for a window, the others queue little ahead of it, or the window closes while they end.
    if (can_ever_fit(takes_ns, safe_ns))
      target = 1;
    else
      report_refusal(id, next, out);
    skip |= 1u << id;
    return true;
  }
  // It starts behind others of its kind only, so that the window that was checked is the one it runs in.
  if (outstanding_total_ > whole_outstanding_) return false;
  if (whole_outstanding_ > 0) return queue_whole(id, next, now_ns, out);
  id = best_fit(id, now_ns);
  return queue_whole(id, jobs_[id].segment, now_ns, out);
}

// `segment` of job `id`, and as many ranges of the same grid behind it as the window allows.
bool Scheduler::queue_whole(uint32_t id, uint32_t segment, uint64_t now_ns, ActionList &out) {
  if (whole_outstanding_ > 1 && whole_rest_ns(now_ns) > kWholeAheadNs) return false;
  Job &job = jobs_[id];
  const std::vector<Segment> &segments = config_.jobs[id].segments;
  uint64_t takes_ns = safe_segment_ns(id, segment), estimate_ns = segments[segment].estimate_ns;
  uint32_t count = 1;
  if (outstanding_total_ == whole_outstanding_) {
    const uint64_t window = window_ns(now_ns);
    const uint64_t most_ns = std::min(kLongestMergedNs, window - std::min(window, whole_rest_ns(now_ns) + start_ns()));
    while (segments[segment + count - 1].merges) {  // never the last of a unit
      const uint64_t more_ns = segments[segment + count].estimate_ns;
      if (takes_ns + more_ns > most_ns) break;
      takes_ns += more_ns;
      estimate_ns += more_ns;
      count += 1;
    }
  }
  const uint64_t unit = job.completed() + (job.segment + job.whole_ahead) / segments.size();
  whole_queued_ns_ += takes_ns;
  whole_outstanding_ += 1;
  order_[(oldest_ + outstanding_total_) % CALYPTE_MAX_ENTRIES_AHEAD] = id;
  const bool needs_window = count > 1 || !is_short(id, segment);
  long_outstanding_ += needs_window ? 1 : 0;
  job.queue(estimate_ns * kPassScale / job.weight, count, takes_ns, needs_window);
  lone_since_ns_ = outstanding_total_ == 0 && gate_open() ? now_ns : lone_since_ns_;
  outstanding_total_ += 1;
  background_begins(now_ns);
  Action &action = out.add(ActionKind::launch_whole);
  action.id = id;
  action.segment = segment;
  action.number = count;
  action.step_word = step_word_of(unit, segments[segment].first_step);
  return true;
}

void Scheduler::queue_entry(uint32_t id, uint32_t segment, uint64_t now_ns, ActionList &out) {
  Job &job = jobs_[id];
  const uint64_t units = std::clamp<uint64_t>(job.remaining(), 1, config_.jobs[id].units_per_entry);
  order_[(oldest_ + outstanding_total_) % CALYPTE_MAX_ENTRIES_AHEAD] = id;
  job.queue(units * job.unit_ns * kPassScale / job.weight, 0, 0, false);
  lone_since_ns_ = outstanding_total_ == 0 && gate_open() ? now_ns : lone_since_ns_;
  outstanding_total_ += 1;
  background_begins(now_ns);
  Action &action = out.add(ActionKind::enqueue_entry);
  action.id = id;
  action.segment = segment;
  action.step_word = job.step_word;
}

void Scheduler::report_refusal(uint32_t id, uint32_t segment, ActionList &out) {
  Job &job = jobs_[id];
  if (job.refusal_reported) return;
  job.refusal_reported = true;
  Action &report = out.add(ActionKind::report);
  report.event_kind = CALYPTE_EVENT_WHOLE_REFUSED;
  report.id = id;
  report.a = config_.jobs[id].segments[segment].first_step;
  report.b = static_cast<int64_t>(config_.jobs[id].segments[segment].estimate_ns);
}

}  // namespace calypte::core
