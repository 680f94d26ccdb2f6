// What is told of requests and slices once they are over? Where the time went, for whoever draws or explains it.
#include <algorithm>

#include "core/scheduler_state.h"

namespace calypte::core {

void Scheduler::trace_request(uint32_t id, const Request &request, uint64_t end_ns, uint32_t outcome,
                              ActionList &out) const {
  const bool ran = request.launch_ns != 0;
  calypte_trace &record = out.trace();
  record.kind = CALYPTE_TRACE_REQUEST;
  record.source = id;
  record.number = request.number;
  record.begin_ns = request.arrival_ns;
  record.end_ns = end_ns;
  record.sensor_ns = request.sensor_ns;
  record.deadline_ns = request.deadline_ns;
  record.launch_ns = request.launch_ns;
  record.queued_ns = request.queued_ns;
  record.deferred_ns = request.deferred_ns;
  record.outcome = outcome;
  record.usual_ns = execution_ns(id);
  record.clock_key = learned_[clocks_].key;
  record.drain_job = ran ? drain_job_ : UINT32_MAX;
  record.drain_ns = ran && drained_ns_ > request.launch_ns ? std::min(drained_ns_, end_ns) - request.launch_ns : 0;
}

// The entry of `event`, which began at begin_ns (kNever: that was not seen) with step_word.
void Scheduler::trace_slice(const Event &event, uint64_t begin_ns, uint64_t step_word, bool preempted,
                            ActionList &out) const {
  const uint64_t end_ns = std::min(event.time_ns, now_ns_);
  if (begin_ns == kNever) begin_ns = end_ns - std::min(end_ns, event.busy_ns);
  calypte_trace &record = out.trace();
  record.kind = CALYPTE_TRACE_SLICE;
  record.source = event.id;
  record.number = unit_of(step_word);
  record.step = step_of(step_word);
  record.begin_ns = std::min(begin_ns, end_ns);
  record.end_ns = end_ns;
  record.busy_ns = event.busy_ns;
  record.clock_key = learned_[clocks_].key;
  record.drain_job = UINT32_MAX;
  const std::vector<Segment> &segments = config_.jobs[event.id].segments;
  size_t index = 0;
  while (index + 1 < segments.size() && record.step >= segments[index + 1].first_step) index += 1;
  const Segment &segment = segments[index];
  record.level = segment.whole ? segment.level : segment.loop_permille > 500 ? CALYPTE_LEVEL_LOOP : CALYPTE_LEVEL_BLOCK;
  record.preempted = preempted ? 1 : 0;
}

}  // namespace calypte::core
