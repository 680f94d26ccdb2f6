// Do the invariants hold in two hundred small missions that nobody chose? Each prints its seed when it fails;
// to replay one: CALYPTE_MISSION_SEED=<seed> build/tests/mission_test
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>

#include "backend/sim/rng.h"
#include "support.h"

using namespace calypte::test;
using calypte::sim::Rng;

namespace {

struct Mission {
  uint64_t seed;
  Rng rng;
  TestEngine engine;
  uint32_t tasks = 0;
  uint32_t jobs = 0;
  uint64_t longest_block_ns = 0;  // bound on what runs on after a closing: a block, or a whole step
  uint64_t now_ns = 0;
  uint64_t lease_end_ns = 0;
  std::map<std::pair<uint32_t, uint32_t>, uint64_t> next_numbers;
  uint64_t taken_background = 0;

  static calypte_options options(Rng &rng, uint64_t seed) {
    calypte_options options = sim_options(seed);
    options.sim_sms = 1 + static_cast<uint32_t>(rng.up_to(31));
    options.results_bytes = rng.up_to(1) == 0 ? 0 : 16 * 1024;
    if (rng.up_to(3) == 0) options.disable_features = 1 << CALYPTE_FEATURE_PARKED_RESUME;
    return options;
  }

  explicit Mission(uint64_t with_seed) : seed(with_seed), rng(with_seed), engine(options(rng, with_seed)) {
    const uint32_t frames = static_cast<uint32_t>(engine.frames(256, 3));
    for (uint64_t n = rng.up_to(3); n > 0; --n) add_task(frames);
    for (uint64_t n = rng.up_to(4); n > 0; --n) add_job(frames);
    REQUIRE(engine.ready() == 0);
  }

  void add_task(uint32_t frames) {
    const uint64_t period_ns = kMs + rng.up_to(30 * kMs);
    WorkSpec spec = WorkSpec::task("task" + std::to_string(tasks), 1 + rng.up_to(5 * kMs), 100 * kUs + rng.up_to(20 * kMs));
    if (rng.up_to(2) > 0) spec.frames(frames, 256, period_ns, rng.up_to(period_ns));
    if (rng.up_to(1) == 0) {
      spec.head.queue = CALYPTE_QUEUE_FIFO;
      spec.head.queue_depth = 1 + static_cast<uint32_t>(rng.up_to(15));
    }
    spec.head.on_miss = 1 + static_cast<uint32_t>(rng.up_to(1));
    spec.head.from = 1 + static_cast<uint32_t>(rng.up_to(1));
    spec.head.max_blocking_ns = rng.up_to(1) == 0 ? 0 : rng.up_to(5 * kMs);
    REQUIRE(engine.add(spec) == static_cast<int32_t>(tasks));
    tasks += 1;
  }

  void add_job(uint32_t frames) {
    WorkSpec spec = WorkSpec::job("job" + std::to_string(jobs));
    for (uint64_t n = 1 + rng.up_to(5); n > 0; --n) {
      const uint64_t step_ns = 5 * kUs + rng.up_to(4 * kMs);
      const bool whole = rng.up_to(7) == 0;
      spec.step(whole ? CALYPTE_LEVEL_WHOLE : CALYPTE_LEVEL_BLOCK, step_ns, 0, 1 + static_cast<uint32_t>(rng.up_to(2'000)));
      longest_block_ns = step_ns > longest_block_ns ? step_ns : longest_block_ns;
    }
    if (rng.up_to(1) == 0) spec.frames(frames, 256, rng.up_to(2) == 0 ? rng.up_to(20 * kMs) : 0);
    if (rng.up_to(1) == 0) spec.output(1 + rng.up_to(1'000), rng.up_to(1) == 0);
    REQUIRE(engine.add(spec) == static_cast<int32_t>(jobs));
    jobs += 1;
  }

  void new_plan() {
    std::vector<calypte_plan_entry> entries;
    for (uint32_t id = 0; id < jobs; ++id) {
      if (rng.up_to(3) > 0) entries.push_back({id, 1 + static_cast<uint32_t>(rng.up_to(20)), rng.up_to(2) == 0 ? 1 + rng.up_to(20) : 0});
    }
    const uint64_t lease_ns = 1 + rng.up_to(60 * kMs);
    REQUIRE(engine.plan(lease_ns, entries) == 0);
    lease_end_ns = now_ns + lease_ns;
  }

  void submit() {
    if (tasks == 0) return;
    const uint32_t id = static_cast<uint32_t>(rng.up_to(tasks - 1));
    const int32_t code = calypte_submit(engine.id(), CALYPTE_WORK_CRITICAL, static_cast<int32_t>(id), nullptr, 0, rng.up_to(now_ns));
    CHECK((code >= 0 || code == CALYPTE_E_BUSY || code == CALYPTE_E_STATE || code == CALYPTE_E_INVALID));
  }

  void take() {
    for (const calypte_result &result : engine.results()) {
      CHECK(result.size_bytes == sizeof result);
      CHECK(result.done_ns <= now_ns);
      if (result.kind == CALYPTE_WORK_CRITICAL) continue;
      taken_background += 1;
      uint64_t &next = next_numbers[{result.kind, result.work}];
      CHECK(result.number == next);
      next = result.number + 1;
    }
  }

  void check(uint64_t elapsed_ns) {
    const calypte_snapshot &snapshot = engine.snapshot();
    CHECK(snapshot.now_ns == now_ns);
    CHECK(snapshot.entries_ahead <= CALYPTE_MAX_ENTRIES_AHEAD);
    CHECK(snapshot.background_busy_ns <= elapsed_ns);
    CHECK(snapshot.state == CALYPTE_STATE_READY);
    for (uint32_t i = 0; i < tasks; ++i) {
      const calypte_task_stats &task = snapshot.tasks[i];
      CHECK(task.requests == task.on_time + task.late + task.dropped + task.failed + task.waiting + task.in_flight);
      CHECK(task.response.count == task.on_time + task.late);
      CHECK(task.busy_ns <= elapsed_ns);
      CHECK(task.failed == 0);
    }
    CHECK(snapshot.critical_busy_ns <= elapsed_ns);
    for (uint32_t i = 0; i < jobs; ++i) {
      const calypte_job_stats &job = snapshot.jobs[i];
      CHECK(job.ready_units <= 2);
      CHECK(job.preemptions + job.skipped_entries <= job.entries);
    }
  }
};

// What all missions together must have met, so that none of the checks is idle.
struct Met {
  uint64_t units = 0, preemptions = 0, dropped = 0, late = 0, whole = 0;
} met;

// Background must stand still after the lease's end, the longest thing that could not be left, and a last sample.
void fly(uint64_t seed) {
  INFO("replay: CALYPTE_MISSION_SEED=" << seed << " mission_test");
  Mission mission(seed);
  for (int i = 0; i < 60; ++i) {
    if (mission.rng.up_to(2) == 0) mission.new_plan();
    if (mission.rng.up_to(2) == 0) mission.submit();
    if (mission.rng.up_to(9) == 0) calypte_hold(mission.engine.id(), CALYPTE_HOLD_CALLER, static_cast<uint32_t>(mission.rng.up_to(1)));
    if (mission.rng.up_to(3) == 0) mission.take();
    mission.now_ns += mission.rng.up_to(10 * kMs);
    REQUIRE(mission.engine.advance(mission.now_ns) == 0);
    mission.check(mission.now_ns);
  }
  mission.now_ns = std::max(mission.now_ns, mission.lease_end_ns) + mission.longest_block_ns * 11 / 10 + 50 * kMs;
  mission.engine.advance(mission.now_ns);
  mission.take();
  std::vector<uint64_t> units;
  for (uint32_t i = 0; i < mission.jobs; ++i) units.push_back(mission.engine.snapshot().jobs[i].units);
  const uint64_t busy_ns = mission.engine.snapshot().background_busy_ns;
  mission.now_ns += 500 * kMs;
  mission.engine.advance(mission.now_ns);
  mission.take();
  mission.check(mission.now_ns);
  CHECK(mission.engine.snapshot().background_busy_ns == busy_ns);
  uint64_t sum = 0;
  for (uint32_t i = 0; i < mission.jobs; ++i) {
    CHECK(mission.engine.snapshot().jobs[i].units == units[i]);
    sum += units[i];
    met.preemptions += mission.engine.snapshot().jobs[i].preemptions;
    met.whole += mission.engine.snapshot().jobs[i].whole_launches;
  }
  CHECK(mission.taken_background == sum);
  met.units += sum;
  for (uint32_t i = 0; i < mission.tasks; ++i) {
    met.dropped += mission.engine.snapshot().tasks[i].dropped;
    met.late += mission.engine.snapshot().tasks[i].late;
  }
}

}  // namespace

TEST_CASE("in two hundred random missions every request is accounted for and background keeps to its bounds") {
  if (const char *replay = getenv("CALYPTE_MISSION_SEED")) {
    fly(strtoull(replay, nullptr, 10));
    return;
  }
  for (uint64_t seed = 1; seed <= 200; ++seed) fly(seed);
  CHECK(met.units > 1'000);
  CHECK(met.preemptions > 1'000);
  CHECK(met.dropped > 1'000);
  CHECK(met.late > 100);
  CHECK(met.whole > 100);
}

TEST_CASE("a mission flown twice ends in the same state, whatever its seed") {
  for (const uint64_t seed : {3u, 14u, 159u}) {
    std::vector<uint64_t> ends[2];
    for (std::vector<uint64_t> &end : ends) {
      Mission mission(seed);
      mission.new_plan();
      mission.engine.advance(200 * kMs);
      const calypte_snapshot &snapshot = mission.engine.snapshot();
      end = {snapshot.background_busy_ns, snapshot.critical_busy_ns, snapshot.dispatcher_steps};
      for (const calypte_result &result : mission.engine.results()) end.push_back(result.done_ns);
    }
    CHECK(ends[0] == ends[1]);
  }
}
