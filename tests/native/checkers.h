// What must hold in every mission, whatever it draws? Listens to the virtual GPU and to the scheduler's actions, knows
// what the mission asked for, and keeps each breach with the name of the rule. It asks the scheduler nothing: what it
// compares with comes from the mission and from the GPU.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "backend/sim/observer.h"
#include "oracle.h"
#include "safe_mode_oracle.h"
#include "support.h"

namespace calypte::test {

struct CheckedTask {
  calypte_work head{};
  uint64_t estimate_ns = 0;
  bool beside = false;  // it has SMs of its own
};

struct CheckedJob {
  std::vector<uint32_t> blocks;        // of each step
  std::vector<uint64_t> whole_ns;      // estimate of each step that is `whole`; 0: it is preemptible
  uint64_t preemption_bound_ns = 0;
  uint64_t longest_step_ns = 0;
};

class Checkers final : public sim::GpuObserver {
 public:
  std::vector<CheckedTask> tasks;
  std::vector<CheckedJob> jobs;
  uint64_t lateness_ns = 0;  // longest that a timer is late

  std::vector<std::string> breaches;
  std::map<std::string, uint64_t> looked;  // how often each rule was looked at
  std::vector<Demand> demands;             // critical requests as far as they became known

  bool broken() const { return !breaches.empty(); }

  // ---- What the mission does

  void ready() {
    steps_.resize(jobs.size());
    staged_.resize(jobs.size());
    granted_.resize(jobs.size());
    granted_before_.resize(jobs.size());
    limit_.resize(jobs.size());
    busy_ns.resize(jobs.size());
    next_number_.resize(tasks.size());
    known_.resize(tasks.size());
    open_.resize(tasks.size());
  }
  void plan(const calypte_plan &plan, uint64_t now_ns) {
    plan_ = plan;
    lease_end_ns_ = now_ns + plan.lease_ns;
    safe_.plan(plan.lease_ns, now_ns);
    granted_before_ = granted_;
    for (uint32_t id = 0; id < jobs.size(); ++id) {
      const calypte_plan_entry *entry = named(id);
      limit_[id] = entry == nullptr ? 0 : entry->max_units == 0 ? UINT64_MAX : core::unit_of(steps_[id].word) + entry->max_units;
    }
  }
  void hold(uint32_t bits, bool on) {
    held_ = on ? held_ | bits : held_ & ~bits;
    if ((bits & CALYPTE_HOLD_SAFE_MODE) != 0) safe_.call(on);
  }
  void safe_mode(const calypte_safe_mode &rule, uint64_t now_ns) {
    safe_.rule(rule, now_ns, lateness_ns);
    safe_.mark_changed(now_ns > 0);
  }
  // What the engine says of safe mode, now and in its events since the last look.
  void check_safe_mode(const calypte_snapshot &snapshot, const std::vector<calypte_event> &events) {
    for (const calypte_event &event : events) {
      if (event.kind != CALYPTE_EVENT_SAFE_MODE) continue;
      const uint32_t reasons = static_cast<uint32_t>(event.a);
      look("safe", safe_.may_change(safe_reasons_, reasons, event.time_ns, lateness_ns), "entered or left at a time that the rule does not say", event.time_ns);
      look("safe", safe_.may_count(static_cast<uint64_t>(event.b), event.time_ns), "another number of misses", event.time_ns);
      if (safe_reasons_ == 0) safe_since_ns_ = event.time_ns, safe_entered += 1;
      safe_reasons_ = reasons;
    }
    safe_.mark_changed(false);
    const uint32_t seen = snapshot.safe_mode_reasons;
    const uint64_t now_ns = snapshot.now_ns;
    look("safe", (safe_.certain(now_ns) & ~seen) == 0, "a reason is not seen that stands", now_ns);
    look("safe", (seen & ~safe_.possible(now_ns, lateness_ns)) == 0, "a reason is seen that does not stand", now_ns);
    look("safe", seen == safe_reasons_, "no event says so", now_ns);
    look("safe", (seen != 0) == ((snapshot.hold_bits & CALYPTE_HOLD_SAFE_MODE) != 0), "safe mode does not hold background", now_ns);
    look("safe", snapshot.safe_mode_since_ns == (seen == 0 ? 0 : safe_since_ns_), "since another time", now_ns);
    look("safe", snapshot.safe_mode == safe_entered, "entered another number of times", now_ns);
    look("safe", snapshot.safe_mode_until_ns == 0 || snapshot.safe_mode_until_ns + lateness_ns >= now_ns, "it stands longer than it said", now_ns);
  }

  // ---- What the scheduler does

  void on_action(const core::Action &action, uint64_t now_ns) override {
    using core::ActionKind;
    const bool late = action.kind == ActionKind::complete_request && action.late;
    if (late || action.kind == ActionKind::drop_request || action.kind == ActionKind::fail_request) safe_.miss(now_ns, lateness_ns);
    switch (action.kind) {
      case core::ActionKind::launch_critical:
        check_earliest(action, now_ns);
        know(action, now_ns);
        return;
      case core::ActionKind::drop_request:
      case core::ActionKind::fail_request:
      case core::ActionKind::complete_request:
        know(action, now_ns);
        return;
      case core::ActionKind::grant:
        look("granted", action.number <= staged_[action.id], "more units than are staged", now_ns);
        look("limit", action.number <= std::max(granted_before_[action.id], limit_[action.id]), "more units than the plan allows", now_ns);
        granted_[action.id] = std::max(granted_[action.id], action.number);
        return;
      case core::ActionKind::enqueue_entry:
        check_allowed(action.id, "queued", now_ns);
        return;
      case core::ActionKind::launch_whole:
        check_allowed(action.id, "launched", now_ns);
        check_window(action, now_ns);
        return;
      default:
        return;
    }
  }
  void on_staged(uint32_t job, uint64_t units, uint64_t) override { staged_[job] = units; }

  // ---- What the GPU does

  void gate_changed(const sim::GateState &state, uint64_t now_ns) override {
    gate_ = state;
    for (uint32_t id = 0; id < tasks.size(); ++id) {
      if (active_[id]) look("gate", (gate_.task_words >> id & 1) != 0, "open while critical work runs", now_ns);
    }
  }
  void critical_begins(uint32_t task, uint64_t number, uint64_t alone_ns, bool beside, uint64_t now_ns) override {
    if (Demand *demand = find(task, number)) demand->alone_ns = alone_ns;
    if (beside) return;
    active_[task] = true;
    look("gate", (gate_.task_words >> task & 1) != 0, "open as critical work begins", now_ns);
    look("alone", !running_, "critical work begins while background runs", now_ns);
  }
  void critical_ends(uint32_t task, uint64_t) override { active_[task] = false; }
  void blocks_begin(uint32_t job, uint64_t step_word, uint32_t done, bool whole, bool, uint64_t now_ns) override {
    const bool clear = std::none_of(active_.begin(), active_.end(), [](bool on) { return on; });
    look("alone", clear, "background begins while critical work runs", now_ns);
    look("held", held_ == 0 && !gate_.hold, "background begins while held", now_ns);
    look("safe", safe_.certain(now_ns) == 0, "background begins in safe mode", now_ns);
    look("lease", now_ns <= lease_end_ns_ + lateness_ns, "background begins after the lease", now_ns);
    // A `whole` launch that an earlier plan had queued runs: it reads no pause word.
    if (!whole) look("plan", named(job) != nullptr, "a job begins that the plan does not name", now_ns);
    look("blocks", step_word == steps_[job].word && done == steps_[job].blocks, "goes on where it did not stop", now_ns);
    look("granted", core::unit_of(step_word) < std::max<uint64_t>(granted_[job], 1), "a unit begins that was not granted", now_ns);
    running_ = true;
    running_job_ = job;
    begun_ns_ = now_ns;
  }
  void blocks_done(uint32_t job, uint64_t step_word, uint32_t first, uint32_t count, uint64_t now_ns) override {
    account(now_ns);
    Steps &steps = steps_[job];
    const uint32_t all = jobs[job].blocks[core::step_of(step_word)];
    look("blocks", step_word == steps.word && first == steps.blocks && count <= all - first, "a block runs twice, or never", now_ns);
    steps.blocks = first + count;
    blocks_run += count;
    if (steps.blocks < all) return;
    const uint32_t next = core::step_of(step_word) + 1;
    const uint64_t unit = core::unit_of(step_word);
    steps = {next == jobs[job].blocks.size() ? core::step_word_of(unit + 1, 0) : core::step_word_of(unit, next), 0};
  }
  void background_left(uint64_t now_ns) override {
    account(now_ns);
    running_ = false;
  }
  void out_of_turn(uint32_t, uint32_t, uint64_t now_ns) override { look("turn", false, "a whole step was launched that is not next", now_ns); }

  // ---- For the mission

  uint64_t units(uint32_t job) const { return core::unit_of(steps_[job].word); }
  std::vector<uint64_t> busy_ns;  // GPU time, by job
  uint64_t blocks_run = 0;
  uint64_t safe_entered = 0;
  uint64_t background_ns() const {
    uint64_t sum_ns = 0;
    for (const uint64_t each_ns : busy_ns) sum_ns += each_ns;
    return sum_ns;
  }
  void look(const char *rule, bool holds, const char *what, uint64_t now_ns) {
    looked[rule] += 1;
    if (!holds && breaches.size() < 8) breaches.push_back(std::string("rule ") + rule + ": " + what + ", at " + std::to_string(now_ns) + " ns");
  }
  const calypte_plan_entry *named(uint32_t job) const {
    for (uint32_t i = 0; i < plan_.entry_count; ++i) {
      if (plan_.entries[i].job == job) return &plan_.entries[i];
    }
    return nullptr;
  }

 private:
  struct Steps {
    uint64_t word = 0;
    uint32_t blocks = 0;  // of the step at hand
  };

  void account(uint64_t now_ns) {
    if (running_) busy_ns[running_job_] += now_ns - begun_ns_;
    begun_ns_ = now_ns;
  }
  // The one of its task that was launched and has not ended.
  Demand *find(uint32_t task, uint64_t number) {
    const auto at = open_[task].find(number);
    return at == open_[task].end() ? nullptr : &demands[at->second];
  }

  // Each request is told of once when it is launched and once when it ends; one that is dropped, only then.
  void know(const core::Action &action, uint64_t now_ns) {
    const uint32_t id = action.id;
    const uint64_t number = action.request.number;
    const bool launch = action.kind == core::ActionKind::launch_critical;
    Demand *demand = find(id, number);
    if (demand == nullptr) {
      const bool fresh = number >= next_number_[id] && known_[id].count(number) == 0;
      look("requests", fresh, "one begins or ends twice", now_ns);
      look("requests", action.kind != core::ActionKind::complete_request, "one ends that never began", now_ns);
      look("requests", !launch || number == next_number_[id], "one overtakes another of its task", now_ns);
      if (!fresh) return;
      known_[id].insert(number);
      while (known_[id].erase(next_number_[id]) > 0) next_number_[id] += 1;
      if (launch) open_[id][number] = demands.size();
      demands.push_back({id, number, action.request.arrival_ns, action.request.deadline_ns, 0, 0, !launch});
      return;
    }
    look("requests", !launch, "one begins twice", now_ns);
    demand->ended = true;
    demand->done_ns = action.kind == core::ActionKind::complete_request ? action.done_ns : 0;
    open_[id].erase(number);
  }

  // Of the periodic tasks: none that has arrived, and waits, has an earlier deadline.
  void check_earliest(const core::Action &launch, uint64_t now_ns) {
    for (uint32_t id = 0; id < tasks.size(); ++id) {
      const calypte_work &head = tasks[id].head;
      if (id == launch.id || head.source == CALYPTE_SOURCE_API) continue;
      const uint64_t arrival_ns = head.phase_ns + next_number_[id] * head.period_ns;
      const bool earlier = arrival_ns < now_ns && arrival_ns + head.deadline_ns < launch.request.deadline_ns;
      look("earliest", !earlier, "another request has the earlier deadline", now_ns);
    }
  }
  void check_allowed(uint32_t job, const char *what, uint64_t now_ns) {
    look("plan", named(job) != nullptr, "an entry for a job that the plan does not name", now_ns);
    look("held", held_ == 0, "an entry while held", now_ns);
    look("safe", safe_.certain(now_ns) == 0, "an entry in safe mode", now_ns);
    look("lease", now_ns <= lease_end_ns_ + lateness_ns, what, now_ns);
  }
  // What cannot be left starts only where it ends before the next request, or where the task allows that it blocks.
  void check_window(const core::Action &action, uint64_t now_ns) {
    uint64_t takes_ns = 0;
    const CheckedJob &job = jobs[action.id];
    const uint32_t first = core::step_of(action.step_word);
    for (uint32_t i = 0; i < std::max<uint64_t>(action.number, 1); ++i) takes_ns += job.whole_ns[first + i];
    takes_ns = takes_ns * 95 / 100;  // it may know better than the estimate
    if (takes_ns <= job.preemption_bound_ns) return;
    for (const CheckedTask &task : tasks) {
      const calypte_work &head = task.head;
      if (head.source == CALYPTE_SOURCE_API || task.beside || head.yield == CALYPTE_YIELD_WHEN_NEEDED) continue;
      if (takes_ns <= head.max_blocking_ns) continue;
      const uint64_t since_ns = now_ns - std::min(now_ns, head.phase_ns);
      const uint64_t next_ns = now_ns < head.phase_ns ? head.phase_ns : head.phase_ns + (since_ns / head.period_ns + 1) * head.period_ns;
      look("window", now_ns + takes_ns <= next_ns, "a whole step that the window does not hold", now_ns);
    }
  }

  calypte_plan plan_{};
  uint64_t lease_end_ns_ = 0;
  uint32_t held_ = 0;
  SafeModeOracle safe_;
  uint32_t safe_reasons_ = 0;  // as the engine's events say
  uint64_t safe_since_ns_ = 0;
  sim::GateState gate_;
  std::array<bool, CALYPTE_MAX_TASKS> active_{};
  std::vector<Steps> steps_;
  std::vector<uint64_t> staged_, granted_, granted_before_, limit_;
  std::vector<uint64_t> next_number_;        // by task: the oldest request that nothing was told of
  std::vector<std::map<uint64_t, size_t>> open_;  // by task and number: where it lies in `demands`
  std::vector<std::set<uint64_t>> known_;    // ... and those behind it of which something was: a full queue drops the newest
  bool running_ = false;
  uint32_t running_job_ = 0;
  uint64_t begun_ns_ = 0;
};

}  // namespace calypte::test
