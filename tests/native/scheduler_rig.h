// What does a scheduler need around it in a test? Someone who keeps time, feeds it events and looks at its
// actions; and a stand-in for the background stream that does what the actions say, one unit after another.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "core/scheduler.h"
#include "support.h"

namespace calypte::test {

inline core::TaskConfig periodic(uint64_t period_ns, uint64_t deadline_ns) {
  core::TaskConfig task;
  task.source = CALYPTE_SOURCE_FRAMES;
  task.period_ns = period_ns;
  task.deadline_ns = deadline_ns;
  return task;
}

inline core::TaskConfig on_call(uint64_t deadline_ns) {
  core::TaskConfig task;
  task.deadline_ns = deadline_ns;
  return task;
}

inline core::JobConfig block_job(uint64_t unit_ns) { return {{{0, 1, false, CALYPTE_LEVEL_BLOCK, 0, unit_ns}}, unit_ns}; }
inline core::JobConfig whole_job(uint64_t unit_ns) { return {{{0, 1, true, CALYPTE_LEVEL_WHOLE, 0, unit_ns}}, unit_ns}; }

// A scheduler, its time, and the actions of its last step.
class Rig {
 public:
  explicit Rig(const core::SchedulerConfig &config, const calypte_safe_mode &rule = {}) : scheduler(config, rule), snapshot_(std::make_unique<calypte_snapshot>()) {}

  void start(uint64_t now_ns = 0) {
    now = now_ns;
    actions.clear();
    scheduler.start(now, actions);
  }
  void step(const core::Event &event, uint64_t now_ns) {
    now = now_ns;
    actions.clear();
    scheduler.step(event, now, actions);
  }
  void tick(uint64_t now_ns) { step({}, now_ns); }
  void arrive(uint32_t task, uint64_t now_ns, uint64_t sensor_ns = 0) {
    core::Event event;
    event.kind = core::EventKind::arrival;
    event.id = task;
    event.time_ns = now_ns;
    event.sensor_ns = sensor_ns;
    step(event, now_ns);
  }
  void done(uint32_t task, uint64_t now_ns, core::EventKind kind = core::EventKind::critical_done) {
    core::Event event;
    event.kind = kind;
    event.id = task;
    event.time_ns = now_ns;
    step(event, now_ns);
  }
  void hold(uint32_t bits, bool on, uint64_t now_ns) {
    core::Event event;
    event.kind = core::EventKind::hold;
    event.number = bits;
    event.on = on;
    step(event, now_ns);
  }
  void plan(uint64_t lease_ns, std::vector<calypte_plan_entry> entries, uint64_t now_ns) {
    const calypte_plan plan = plan_of(++plan_id, lease_ns, std::move(entries));
    core::Event event;
    event.kind = core::EventKind::plan;
    event.plan = &plan;
    step(event, now_ns);
  }
  void staged(uint32_t job, uint64_t units, uint64_t now_ns) {
    core::Event event;
    event.kind = core::EventKind::unit_ready;
    event.id = job;
    event.number = units;
    event.time_ns = now_ns;
    step(event, now_ns);
  }
  void entry_done(uint32_t job, uint64_t step_word, uint64_t now_ns, uint64_t busy_ns = 0) {
    core::Event event;
    event.kind = core::EventKind::entry_done;
    event.id = job;
    event.step_word = step_word;
    event.busy_ns = busy_ns;
    event.time_ns = now_ns;
    step(event, now_ns);
  }
  std::vector<core::Action> all(core::ActionKind kind) const {
    std::vector<core::Action> found;
    for (const core::Action &action : actions) {
      if (action.kind == kind) found.push_back(action);
    }
    return found;
  }
  size_t count(core::ActionKind kind) const { return all(kind).size(); }
  std::vector<core::Action> reports(uint32_t event_kind) const {
    std::vector<core::Action> found;
    for (const core::Action &action : all(core::ActionKind::report)) {
      if (action.event_kind == event_kind) found.push_back(action);
    }
    return found;
  }
  const calypte_snapshot &snapshot() {
    *snapshot_ = {};
    scheduler.snapshot(now, *snapshot_);
    return *snapshot_;
  }

  core::Scheduler scheduler;
  core::ActionList actions;
  uint64_t now = 0;
  uint64_t plan_id = 0;

 private:
  std::unique_ptr<calypte_snapshot> snapshot_;
};

// The background stream of a rig: carries out enqueue_entry, launch_whole and grant in units of one step.
class Stream {
 public:
  struct Job {
    uint64_t unit_ns = 0;
    uint64_t ahead = 0;  // staged beyond the completed units
    uint64_t turns = 1;  // entries that a unit takes, all but the last of them preempted
    uint64_t turn = 0;
    uint64_t completed = 0;
    uint64_t granted = 0;
    uint64_t busy_ns = 0;
  };

  Stream(Rig &rig, std::vector<Job> list) : jobs(std::move(list)), rig_(rig) {}

  void stage_all() {
    for (uint32_t id = 0; id < jobs.size(); ++id) {
      rig_.staged(id, jobs[id].ahead, rig_.now);
      carry_out();
    }
  }
  // Call after each step of the rig.
  void carry_out() {
    for (const core::Action &action : rig_.actions) {
      if (action.kind == core::ActionKind::grant) jobs[action.id].granted = action.number;
      if (action.kind == core::ActionKind::enqueue_entry || action.kind == core::ActionKind::launch_whole) queue.push_back(action.id);
    }
    most = queue.size() > most ? queue.size() : most;
  }
  // Runs the oldest entry. False: there is none.
  bool run_one() {
    if (queue.empty()) return false;
    const uint32_t id = queue.front();
    queue.pop_front();
    Job &job = jobs[id];
    const bool works = job.completed < job.granted;
    const uint64_t busy_ns = works ? job.unit_ns / job.turns : 0;
    const bool ends = works && ++job.turn == job.turns;
    if (ends) {
      job.completed += 1;
      job.turn = 0;
      units += 1;
    }
    job.busy_ns += busy_ns;
    rig_.entry_done(id, core::step_word_of(job.completed, 0), rig_.now + (works ? busy_ns : kSkipNs), busy_ns);
    carry_out();
    if (ends) {
      rig_.staged(id, job.completed + job.ahead, rig_.now);
      carry_out();
    }
    return true;
  }

  std::vector<Job> jobs;
  std::deque<uint32_t> queue;
  size_t most = 0;  // entries queued at once
  uint64_t units = 0;

 private:
  static constexpr uint64_t kSkipNs = 6 * kUs;

  Rig &rig_;
};

}  // namespace calypte::test
