// Which mission does a seed stand for, and how is it flown? Draws tasks, jobs, plans, holds and faults, lets time pass,
// and has the checkers look at all of it.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "backend/sim/rng.h"
#include "checkers.h"
#include "support.h"

namespace calypte::test {

// The observer must be there before the engine opens.
struct Observed {
  Checkers checkers;
  Observed() { sim::observe_engines(&checkers); }
  ~Observed() { sim::observe_engines(nullptr); }
};

class RandomMission : private Observed {
 public:
  using Observed::checkers;

  explicit RandomMission(uint64_t seed) : rng(seed), draw_(draw(rng, seed)), engine(draw_.options), safe_rng_(seed + (1ull << 40)) {
    REQUIRE(engine.id() > 0);
    REQUIRE(calypte_sim_faults_set(engine.id(), &draw_.faults) == 0);
    const uint32_t frames = static_cast<uint32_t>(engine.frames(256, 3));
    const uint64_t count = rng.up_to(3) == 0 ? rng.up_to(7) : rng.up_to(3);
    for (uint64_t n = 0; n < count; ++n) add_task(frames, count);
    for (uint64_t n = rng.up_to(5); n > 0; --n) add_job(frames);
    REQUIRE(engine.ready() == 0);
    checkers.lateness_ns = draw_.faults.late_timer_ns;
    checkers.ready();
    safe_mode();
  }

  // Ends with breaches in the checkers, or with none.
  void fly() {
    for (int i = 0; i < 60 && !lost(); ++i) {
      if (draw_.steady ? i == 0 : rng.up_to(2) == 0) new_plan();
      if (rng.up_to(2) == 0) submit();
      // One draw after the other: the order of a call's arguments is the compiler's, and differs between processors.
      if (!draw_.steady && rng.up_to(9) == 0) {
        const bool on = rng.up_to(1) == 0;
        hold(rng.up_to(2) == 0 ? CALYPTE_HOLD_SAFE_MODE : CALYPTE_HOLD_CALLER, on);
      }
      if (rng.up_to(30) == 0) calypte_set_clocks(engine.id(), rng.up_to(2));
      if (rng.up_to(3) == 0) take();
      if (safe_rng_.up_to(30) == 0) safe_mode();
      pass(rng.up_to(10 * kMs));
    }
    if (draw_.steady) check_shares();
    const uint64_t quiet_ns = std::max(now_ns, lease_end_ns_) + longest_ns() * 2 + 50 * kMs;
    pass(quiet_ns - now_ns);
    const uint64_t busy_ns = checkers.background_ns();
    pass(100 * kMs);
    checkers.look("lease", checkers.background_ns() == busy_ns, "background runs long after the lease", now_ns);
    take();
    check_requests();
    if (!lost()) check_results();
    check_deadlines();
  }

  sim::Rng rng;

 private:
  struct Draw {
    calypte_options options{};
    calypte_sim_faults faults{};
    bool steady = false;  // one plan for all of it, so that shares can be compared
    bool light = false;   // critical work takes little of the GPU, so that deadlines can be met
  };

  static Draw draw(sim::Rng &rng, uint64_t seed) {
    Draw out;
    out.steady = rng.up_to(3) == 0;
    out.light = rng.up_to(2) > 0;
    out.options = sim_options(seed);
    out.options.sim_sms = 1 + static_cast<uint32_t>(rng.up_to(31));
    out.options.results_bytes = !out.steady && rng.up_to(3) == 0 ? 16 * 1024 : 0;
    if (rng.up_to(3) == 0) out.options.disable_features = 1 << CALYPTE_FEATURE_PARKED_RESUME;
    if (rng.up_to(4) == 0) out.options.reserve_sms = 2;
    calypte_sim_faults &faults = out.faults;
    faults.abi_version = CALYPTE_ABI_VERSION;
    faults.size_bytes = sizeof faults;
    if (rng.up_to(2) > 0) return out;
    if (rng.up_to(1) == 0) faults.late_timer_ppm = 100'000, faults.late_timer_ns = rng.up_to(kMs);
    if (rng.up_to(2) == 0) faults.slow_ppm = 20'000, faults.slow_permille = 1'000 + static_cast<uint32_t>(rng.up_to(4'000));
    if (rng.up_to(2) == 0) faults.late_entry_ppm = 50'000, faults.late_entry_ns = rng.up_to(2 * kMs);
    if (rng.up_to(3) == 0) {
      faults.throttle_begin_ns = rng.up_to(200 * kMs);
      faults.throttle_end_ns = faults.throttle_begin_ns + rng.up_to(200 * kMs);
      faults.throttle_permille = 300 + static_cast<uint32_t>(rng.up_to(700));
    }
    if (rng.up_to(9) == 0) faults.lost_ppm = 50'000;
    return out;
  }

  void add_task(uint32_t frames, uint64_t count) {
    const uint64_t period_ns = 2 * kMs + rng.up_to(30 * kMs);
    const uint64_t most_ns = draw_.light ? period_ns / (3 * count) : 5 * kMs;
    const uint64_t estimate_ns = 1 + rng.up_to(most_ns);
    const uint64_t deadline_ns = draw_.light ? estimate_ns + kMs + rng.up_to(2 * period_ns) : 100 * kUs + rng.up_to(20 * kMs);
    WorkSpec spec = WorkSpec::task("task" + std::to_string(checkers.tasks.size()), estimate_ns, deadline_ns);
    if (rng.up_to(3) > 0) spec.frames(frames, 256, period_ns, rng.up_to(period_ns));
    if (rng.up_to(1) == 0) {
      spec.head.queue = CALYPTE_QUEUE_FIFO;
      spec.head.queue_depth = 1 + static_cast<uint32_t>(rng.up_to(15));
    }
    spec.head.on_miss = 1 + static_cast<uint32_t>(rng.up_to(1));
    spec.head.from = 1 + static_cast<uint32_t>(rng.up_to(1));
    spec.head.yield = 1 + static_cast<uint32_t>(rng.up_to(2));
    spec.head.anticipate = static_cast<uint32_t>(rng.up_to(1));
    spec.head.max_blocking_ns = rng.up_to(1) == 0 ? 0 : rng.up_to(5 * kMs);
    REQUIRE(engine.add(spec) == static_cast<int32_t>(checkers.tasks.size()));
    submitted_.push_back(0);
    checkers.tasks.push_back({spec.head, estimate_ns, draw_.options.reserve_sms > 0 && spec.head.yield == CALYPTE_YIELD_RESERVED});
  }

  void add_job(uint32_t frames) {
    WorkSpec spec = WorkSpec::job("job" + std::to_string(checkers.jobs.size()));
    CheckedJob job;
    spec.head.preemption_bound_ns = job.preemption_bound_ns = rng.up_to(1) == 0 ? 0 : rng.up_to(200 * kUs);
    for (uint64_t n = 1 + rng.up_to(5); n > 0; --n) {
      const uint64_t step_ns = 5 * kUs + rng.up_to(draw_.steady ? 500 * kUs : 4 * kMs);
      const bool whole = !draw_.steady && rng.up_to(5) == 0;
      const uint32_t blocks = 1 + static_cast<uint32_t>(rng.up_to(2'000));
      spec.step(whole ? CALYPTE_LEVEL_WHOLE : rng.up_to(2) == 0 ? CALYPTE_LEVEL_LOOP : CALYPTE_LEVEL_BLOCK, step_ns, 0, blocks);
      job.blocks.push_back(blocks);
      job.whole_ns.push_back(whole ? step_ns : 0);
      job.longest_step_ns = std::max(job.longest_step_ns, step_ns);
    }
    if (!draw_.steady && rng.up_to(1) == 0) spec.frames(frames, 256, rng.up_to(2) == 0 ? rng.up_to(20 * kMs) : 0);
    if (rng.up_to(1) == 0) {
      const bool keep = rng.up_to(1) == 0;
      spec.output(1 + rng.up_to(1'000), keep);
    }
    REQUIRE(engine.add(spec) == static_cast<int32_t>(checkers.jobs.size()));
    checkers.jobs.push_back(job);
  }

  void new_plan() {
    calypte_plan plan{};
    plan.abi_version = CALYPTE_ABI_VERSION;
    plan.size_bytes = sizeof plan;
    plan.id = ++plan_id_;
    plan.lease_ns = draw_.steady ? 2 * kSecond : 1 + rng.up_to(60 * kMs);
    plan.duty_permille = rng.up_to(3) == 0 ? 100 + static_cast<uint32_t>(rng.up_to(800)) : 0;
    for (uint32_t id = 0; id < checkers.jobs.size(); ++id) {
      if (!draw_.steady && rng.up_to(3) == 0) continue;
      plan.entries[plan.entry_count++] = {id, 1 + static_cast<uint32_t>(rng.up_to(20)), !draw_.steady && rng.up_to(2) == 0 ? 1 + rng.up_to(20) : 0};
    }
    checkers.plan(plan, now_ns);
    REQUIRE(calypte_set_plan(engine.id(), &plan) == 0);
    lease_end_ns_ = now_ns + plan.lease_ns;
    plan_ns_ = now_ns;
    plan_busy_ns_ = checkers.background_ns();
    duty_permille_ = plan.duty_permille;
  }
  void hold(uint32_t bit, bool on) {
    checkers.hold(bit, on);
    REQUIRE(calypte_hold(engine.id(), bit, on ? 1 : 0) == 0);
  }
  // Background that a steady mission compares shares of is not to be held.
  void safe_mode() {
    calypte_safe_mode rule{};
    rule.abi_version = CALYPTE_ABI_VERSION;
    rule.size_bytes = sizeof rule;
    if (!draw_.steady && safe_rng_.up_to(3) > 0) rule.misses = 1 + static_cast<uint32_t>(safe_rng_.up_to(safe_rng_.up_to(9) == 0 ? 63 : 7));
    // Whether a lease ended, or a plan came first, is not known from outside where timers are late.
    if (!draw_.steady && checkers.lateness_ns == 0 && safe_rng_.up_to(2) == 0) rule.stale_leases = 1 + static_cast<uint32_t>(safe_rng_.up_to(2));
    rule.window_ns = 1 + safe_rng_.up_to(200 * kMs);
    rule.clear_after_ns = 1 + safe_rng_.up_to(50 * kMs);
    checkers.safe_mode(rule, now_ns);
    REQUIRE(calypte_set_safe_mode(engine.id(), &rule) == 0);
  }
  void submit() {
    if (checkers.tasks.empty()) return;
    const uint32_t id = static_cast<uint32_t>(rng.up_to(checkers.tasks.size() - 1));
    if (checkers.tasks[id].head.source != CALYPTE_SOURCE_API) return;
    const uint64_t sensor_ns = now_ns - rng.up_to(std::min<uint64_t>(now_ns, kMs));
    const int32_t code = calypte_submit(engine.id(), CALYPTE_WORK_CRITICAL, static_cast<int32_t>(id), nullptr, 0, sensor_ns);
    CHECK((code >= 0 || code == CALYPTE_E_BUSY));
    submitted_[id] += 1;
  }
  void pass(uint64_t ns) {
    now_ns += ns;
    if (lost()) return;
    REQUIRE(engine.advance(now_ns) == 0);
    if (!lost()) checkers.check_safe_mode(engine.snapshot(), engine.events());
    checkers.look("state", lost() || engine.snapshot().state == CALYPTE_STATE_READY, "the engine has stopped", now_ns);
    check_duty();
  }
  // A completion that never came has stopped the engine, as it must.
  bool lost() { return draw_.faults.lost_ppm > 0 && engine.snapshot().state == CALYPTE_STATE_FAULT; }
  void take() {
    for (const calypte_result &result : engine.results()) {
      if (result.kind == CALYPTE_WORK_BACKGROUND) results_.push_back(result.work);
    }
  }
  uint64_t longest_ns() const {
    uint64_t longest_ns = 0;
    for (const CheckedJob &job : checkers.jobs) longest_ns = std::max(longest_ns, job.longest_step_ns);
    return longest_ns * std::max(1'000u, draw_.faults.slow_permille) / 1'000 * (draw_.faults.throttle_permille > 0 ? 4 : 1);
  }

  // Over a plan: its share of time, a period's beginning, and what runs on at each period's end.
  void check_duty() {
    if (duty_permille_ == 0) return;
    const uint64_t span_ns = std::min(now_ns, lease_end_ns_) - plan_ns_;
    const uint64_t periods = span_ns / (50 * kMs) + 2;
    const uint64_t most_ns = span_ns / 1'000 * duty_permille_ + 50 * kMs * duty_permille_ / 1'000 + periods * (longest_ns() + checkers.lateness_ns);
    checkers.look("duty", checkers.background_ns() - plan_busy_ns_ <= most_ns, "background ran for more than its share", now_ns);
  }
  // Everybody always had work: nobody got less than half of what the weights promise.
  void check_shares() {
    if (draw_.faults.slow_ppm > 0 || draw_.faults.late_entry_ppm > 0) return;
    uint64_t weights = 0, unit_ns = 0;
    for (uint32_t id = 0; id < checkers.jobs.size(); ++id) {
      weights += checkers.named(id)->weight;
      unit_ns = std::max(unit_ns, checkers.jobs[id].longest_step_ns * checkers.jobs[id].blocks.size());
    }
    for (uint32_t id = 0; id < checkers.jobs.size(); ++id) {
      const uint64_t due_ns = checkers.background_ns() * checkers.named(id)->weight / weights;
      checkers.look("shares", checkers.busy_ns[id] + 4 * unit_ns >= due_ns / 2, "a job starves", now_ns);
    }
  }
  void check_requests() {
    const calypte_snapshot &snapshot = engine.snapshot();
    for (uint32_t id = 0; id < checkers.tasks.size(); ++id) {
      const calypte_task_stats &task = snapshot.tasks[id];
      const calypte_work &head = checkers.tasks[id].head;
      const uint64_t ended = task.on_time + task.late + task.dropped + task.failed;
      checkers.look("requests", task.requests == ended + task.waiting + task.in_flight, "one is not accounted for", now_ns);
      checkers.look("requests", task.response.count == task.on_time + task.late, "a response is missing", now_ns);
      const uint64_t due = head.source == CALYPTE_SOURCE_API ? submitted_[id] : now_ns < head.phase_ns ? 0 : (now_ns - head.phase_ns) / head.period_ns + 1;
      const uint64_t slack = checkers.lateness_ns > 0 ? 1 : 0;
      if (!lost()) checkers.look("requests", task.requests <= due && task.requests + slack >= due, "one was overlooked, or made up", now_ns);
      uint64_t told = 0;
      for (const Demand &demand : checkers.demands) told += demand.task == id && demand.ended ? 1 : 0;
      checkers.look("requests", told == ended, "one vanished", now_ns);
    }
  }
  void check_results() {
    std::vector<uint64_t> units(checkers.jobs.size(), 0);
    for (const uint32_t job : results_) units[job] += 1;
    for (uint32_t id = 0; id < checkers.jobs.size(); ++id) {
      checkers.look("results", units[id] == checkers.units(id), "a unit without its result, or two of one", now_ns);
      checkers.look("results", engine.snapshot().jobs[id].units == units[id], "the scheduler counts other units", now_ns);
    }
  }
  // Whether it is known which request of its task came behind it.
  bool replaced(size_t demand) const {
    const Demand &one = checkers.demands[demand];
    for (const Demand &other : checkers.demands) {
      if (other.task == one.task && other.number == one.number + 1) return true;
    }
    return false;
  }
  void check_deadlines() {
    std::vector<OracleTask> tasks;
    uint64_t room_ns = 100 * kUs + checkers.lateness_ns + longest_ns(), longest_task_ns = 0;
    bool beside = false;
    double load = 0;
    for (const CheckedTask &task : checkers.tasks) {
      if (task.head.period_ns > 0) load += static_cast<double>(task.estimate_ns) / static_cast<double>(task.head.period_ns);
      tasks.push_back({task.head.queue, task.head.queue_depth, task.head.on_miss, task.estimate_ns * 11 / 10});
      room_ns = std::max(room_ns, 100 * kUs + checkers.lateness_ns + longest_ns() + task.head.max_blocking_ns);
      longest_task_ns = std::max(longest_task_ns, task.estimate_ns * 11 / 10);
      beside |= task.beside;
    }
    // Who waits until the deadline asks has nothing to spare when kernels slow down beyond all that was measured.
    if (draw_.faults.slow_ppm > 0 || draw_.faults.throttle_permille > 0 || draw_.faults.lost_ppm > 0 || beside) return;
    // Where the GPU is nearly full with critical work, one request more or less that is served changes everything.
    if (load > 0.7) return;
    constexpr uint64_t kOverheadNs = 8 * kUs;  // launch, jitter and the copy of the output
    const std::vector<uint64_t> best = oracle(checkers.demands, tasks, kOverheadNs);
    for (size_t i = 0; i < best.size(); ++i) {
      const Demand &demand = checkers.demands[i];
      // A full queue turned it away: that is due to those ahead of it, which may all be in time.
      const bool turned_away = demand.done_ns == 0 && checkers.tasks[demand.task].head.queue == CALYPTE_QUEUE_FIFO;
      if (!demand.ended || turned_away) continue;
      const bool met = demand.done_ns != 0 && demand.done_ns <= demand.deadline_ns;
      bool oracle_met = best[i] != 0 && best[i] + room_ns + longest_task_ns <= demand.deadline_ns;
      // A newer one replaces it where it has not begun by then; and what is done is known only of those that ended.
      if (demand.done_ns == 0) oracle_met = oracle_met && replaced(i);
      for (const Demand &next : checkers.demands) {
        if (next.task != demand.task || next.number != demand.number + 1 || demand.done_ns != 0) continue;
        oracle_met = oracle_met && best[i] + room_ns + longest_task_ns <= next.arrival_ns;
      }
      if (!oracle_met) continue;
      const std::string what = "request " + std::to_string(demand.number) + " of task " + std::to_string(demand.task) + " (yield " + std::to_string(checkers.tasks[demand.task].head.yield) + ") ended at " +
                               std::to_string(demand.done_ns) + " of " + std::to_string(demand.deadline_ns) + " and could have at " + std::to_string(best[i]);
      checkers.look("deadlines", met, what.c_str(), demand.arrival_ns);
    }
  }

  Draw draw_;

 public:
  TestEngine engine;
  uint64_t now_ns = 0;

 private:
  sim::Rng safe_rng_;  // of its own, so that the missions are otherwise the same
  uint64_t plan_id_ = 0;
  uint64_t lease_end_ns_ = 0;
  uint64_t plan_ns_ = 0;
  uint64_t plan_busy_ns_ = 0;
  uint32_t duty_permille_ = 0;
  std::vector<uint64_t> submitted_;
  std::vector<uint32_t> results_;
};

}  // namespace calypte::test
