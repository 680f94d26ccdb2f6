// Does the gate hold at every instant? Two critical tasks that drift past each other in a hundred thousand phases, and a
// lease, or safe mode, that comes at every moment of a critical execution.
#include <doctest/doctest.h>

#include <set>
#include <string>

#include "checkers.h"
#include "support.h"

using namespace calypte;
using namespace calypte::test;

namespace {

// An engine that the checkers watch, with one long job at level block and one of short steps.
struct Watched {
  Checkers checkers;
  TestEngine engine;
  uint64_t now_ns = 0;

  explicit Watched(const calypte_options &options = sim_options()) : engine(((void)sim::observe_engines(&checkers), options)) {
    sim::observe_engines(nullptr);
  }

  void task(const std::string &name, uint64_t estimate_ns, uint64_t period_ns, uint64_t phase_ns, uint32_t anticipate = 0) {
    WorkSpec spec = WorkSpec::task(name, estimate_ns, 2 * period_ns).frames(frames(), 64, period_ns, phase_ns);
    spec.head.anticipate = anticipate;
    REQUIRE(engine.add(spec) >= 0);
    checkers.tasks.push_back({spec.head, estimate_ns, false});
  }
  void job(const std::string &name, uint32_t steps, uint64_t step_ns, uint32_t blocks) {
    WorkSpec spec = WorkSpec::job(name);
    CheckedJob job;
    for (uint32_t i = 0; i < steps; ++i) {
      spec.step(CALYPTE_LEVEL_BLOCK, step_ns, 0, blocks);
      job.blocks.push_back(blocks);
      job.whole_ns.push_back(0);
    }
    job.longest_step_ns = step_ns;
    REQUIRE(engine.add(spec) >= 0);
    checkers.jobs.push_back(job);
  }
  void ready() {
    REQUIRE(engine.ready() == 0);
    checkers.ready();
  }
  void plan(uint64_t lease_ns) {
    std::vector<calypte_plan_entry> entries;
    for (uint32_t id = 0; id < checkers.jobs.size(); ++id) entries.push_back({id, 1, 0});
    const calypte_plan plan = plan_of(++plans_, lease_ns, entries);
    checkers.plan(plan, now_ns);
    REQUIRE(calypte_set_plan(engine.id(), &plan) == 0);
  }
  void until(uint64_t ns) {
    now_ns = ns;
    REQUIRE(engine.advance(ns) == 0);
  }
  void expect_unbroken() {
    for (const std::string &breach : checkers.breaches) FAIL_CHECK(breach);
  }

 private:
  uint32_t frames() {
    if (frames_ < 0) frames_ = engine.frames(64, 1);
    return static_cast<uint32_t>(frames_);
  }
  int32_t frames_ = -1;
  uint64_t plans_ = 0;
};

}  // namespace

TEST_CASE("two critical tasks overlap in a hundred thousand phases, and the gate never opens while one is at work") {
  for (const uint32_t anticipate : {0u, 1u}) {
    Watched watched;
    constexpr uint64_t kPeriodNs = kMs, kDriftNs = 10;  // a hundred thousand phases of 10 ns
    watched.task("one", 200 * kUs, kPeriodNs, 0, anticipate);
    watched.task("other", 300 * kUs, kPeriodNs + kDriftNs, 0, anticipate);
    watched.job("map", 1, 5 * kMs, 10'000);
    watched.job("chain", 10, 50 * kUs, 500);
    watched.ready();
    std::vector<calypte_result> results;
    for (uint64_t second = 0; second < 101; ++second) {
      watched.plan(2 * kSecond);
      for (uint64_t tenth = 1; tenth <= 10; ++tenth) {
        watched.until(second * kSecond + tenth * 100 * kMs);
        watched.engine.results();
      }
    }
    watched.expect_unbroken();
    std::set<uint64_t> phases;
    for (const Demand &demand : watched.checkers.demands) {
      if (demand.task == 1) phases.insert(demand.arrival_ns % kPeriodNs / kDriftNs);
    }
    CHECK(phases.size() == 100'000);
    CHECK(watched.checkers.looked["gate"] > 200'000);
    CHECK(watched.checkers.looked["alone"] > 200'000);
    const calypte_snapshot &snapshot = watched.engine.snapshot();
    for (uint32_t id = 0; id < 2; ++id) CHECK(snapshot.tasks[id].on_time >= 100'000);
    CHECK(snapshot.background_busy_ns > 30 * kSecond);
  }
}

TEST_CASE("a lease may end, or safe mode begin, at any moment of a critical execution: no background block starts afterwards") {
  // The execution: arrival at 1 ms, launch, 200 us of work, the copy of its output, and background's return.
  for (const bool lease : {true, false}) {
    for (uint64_t at_ns = 950 * kUs; at_ns < 1'260 * kUs; at_ns += 250) {
      CAPTURE(lease);
      CAPTURE(at_ns);
      Watched watched;
      watched.task("detector", 200 * kUs, 10 * kMs, kMs, 1);
      watched.job("map", 1, 5 * kMs, 10'000);
      watched.job("chain", 10, 50 * kUs, 500);
      watched.ready();
      watched.plan(lease ? at_ns : kSecond);
      watched.until(at_ns);
      const uint64_t before = watched.checkers.looked["held"];
      if (!lease) {
        watched.checkers.hold(CALYPTE_HOLD_SAFE_MODE, true);
        REQUIRE(calypte_hold(watched.engine.id(), CALYPTE_HOLD_SAFE_MODE, 1) == 0);
      }
      watched.until(30 * kMs);
      watched.expect_unbroken();
      CHECK(watched.checkers.looked["held"] == before);  // nothing asked to begin
      CHECK(watched.engine.snapshot().tasks[0].on_time == 3);
      if (watched.checkers.broken()) return;
    }
  }
}
