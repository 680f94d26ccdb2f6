// Do the invariants hold in a thousand missions that nobody chose? Each prints its seed when it fails; to replay one:
// CALYPTE_MISSION_SEED=<seed> build/tests/mission_test. CALYPTE_MISSIONS says how many, if not a thousand.
#include <doctest/doctest.h>

#include <cstdlib>
#include <map>
#include <string>

#include "random_mission.h"

using namespace calypte;
using namespace calypte::test;

namespace {

// What all missions together must have met, so that none of the checks is idle.
struct Met {
  uint64_t units = 0, preemptions = 0, dropped = 0, late = 0, whole = 0, anticipated = 0, deferred = 0, stopped = 0, safe = 0;
  std::map<std::string, uint64_t> looked;
} met;

bool fly(uint64_t seed) {
  INFO("replay: CALYPTE_MISSION_SEED=" << seed << " mission_test");
  RandomMission mission(seed);
  mission.fly();
  for (const std::string &breach : mission.checkers.breaches) FAIL_CHECK(breach);
  const calypte_snapshot &snapshot = mission.engine.snapshot();
  for (uint32_t i = 0; i < snapshot.job_count; ++i) {
    met.units += snapshot.jobs[i].units;
    met.preemptions += snapshot.jobs[i].preemptions;
    met.whole += snapshot.jobs[i].whole_launches;
  }
  for (uint32_t i = 0; i < snapshot.task_count; ++i) {
    met.dropped += snapshot.tasks[i].dropped;
    met.late += snapshot.tasks[i].late;
    met.anticipated += snapshot.tasks[i].anticipated;
    met.deferred += snapshot.tasks[i].deferred;
  }
  met.stopped += snapshot.state == CALYPTE_STATE_FAULT ? 1 : 0;
  met.safe += mission.checkers.safe_entered;
  for (const auto &[rule, times] : mission.checkers.looked) met.looked[rule] += times;
  return !mission.checkers.broken();
}

uint64_t number_from(const char *variable, uint64_t otherwise) {
  const char *text = getenv(variable);
  return text == nullptr ? otherwise : strtoull(text, nullptr, 10);
}

}  // namespace

TEST_CASE("in a thousand random missions no rule is broken") {
  if (getenv("CALYPTE_MISSION_SEED") != nullptr) {
    fly(number_from("CALYPTE_MISSION_SEED", 1));
    return;
  }
  const uint64_t count = number_from("CALYPTE_MISSIONS", 1'000);
  uint64_t broken = 0;
  for (uint64_t seed = 1; seed <= count && broken < 5; ++seed) broken += fly(seed) ? 0 : 1;
  CHECK(met.units > 20 * count);
  CHECK(met.preemptions > 5 * count);
  CHECK(met.dropped > count);
  CHECK(met.late > count / 2);
  CHECK(met.whole > count / 2);
  CHECK(met.anticipated > count / 2);
  CHECK(met.deferred > count / 10);
  CHECK(met.stopped >= count / 500);
  CHECK(met.safe > count);
  for (const char *rule : {"gate", "alone", "held", "safe", "lease", "plan", "blocks", "granted", "limit", "requests", "earliest",
                           "window", "results", "deadlines", "duty", "shares", "state"}) {
    CAPTURE(rule);
    CHECK(met.looked[rule] >= count / 10);
  }
}

TEST_CASE("a mission flown twice ends in the same state, whatever its seed") {
  for (const uint64_t seed : {3u, 14u, 159u}) {
    std::vector<uint64_t> ends[2];
    for (std::vector<uint64_t> &end : ends) {
      RandomMission mission(seed);
      mission.fly();
      const calypte_snapshot &snapshot = mission.engine.snapshot();
      end = {snapshot.background_busy_ns, snapshot.critical_busy_ns, snapshot.dispatcher_steps, mission.checkers.blocks_run};
      for (const Demand &demand : mission.checkers.demands) end.push_back(demand.done_ns);
    }
    CHECK(ends[0] == ends[1]);
  }
}
