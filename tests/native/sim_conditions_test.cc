// Does the simulated device take the times of its profile, go wrong as it is told, and do again what was recorded?
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "backend/sim/profile.h"
#include "core/scheduler.h"
#include "support.h"

using namespace calypte;
using namespace calypte::test;

namespace {

calypte_sim_faults no_faults() {
  calypte_sim_faults faults{};
  faults.abi_version = CALYPTE_ABI_VERSION;
  faults.size_bytes = sizeof faults;
  return faults;
}

// A detector of 1 ms at 100 Hz and, if asked for, a job of units of 1 ms.
struct Scene {
  TestEngine engine;

  Scene(const calypte_sim_profile &profile, const calypte_sim_faults &faults, bool background = false)
      : engine(sim_options()) {
    REQUIRE(calypte_sim_profile_set(engine.id(), &profile) == 0);
    REQUIRE(calypte_sim_faults_set(engine.id(), &faults) == 0);
    const uint32_t frames = static_cast<uint32_t>(engine.frames(64, 1));
    REQUIRE(engine.add(WorkSpec::task("detector", kMs, 9 * kMs).frames(frames, 64, 10 * kMs)) == 0);
    if (background) REQUIRE(engine.add(WorkSpec::job("map").step(CALYPTE_LEVEL_BLOCK, kMs, 10 * kUs)) == 0);
  }
  void fly(uint64_t until_ns) {
    REQUIRE(engine.ready() == 0);
    if (engine.snapshot().job_count > 0) REQUIRE(engine.plan(kSecond, {{0, 1, 0}}) == 0);
    engine.advance(until_ns);
  }
  std::vector<uint64_t> responses() {
    std::vector<uint64_t> all;
    for (const calypte_result &result : engine.results()) {
      if (result.kind == CALYPTE_WORK_CRITICAL) all.push_back(result.done_ns - result.arrival_ns);
    }
    return all;
  }
};

uint64_t largest(std::vector<uint64_t> all) { return *std::max_element(all.begin(), all.end()); }

}  // namespace

TEST_CASE("a profile's launch, copy, clocks and name are the device's") {
  calypte_sim_profile profile = sim::default_profile();
  profile.launch_ns = 100 * kUs;
  profile.launch_jitter_ns = 0;
  profile.copy_base_ns = 50 * kUs;
  profile.critical_deviation_ppm = 0;
  profile.clock_permille = 500;
  profile.sms = 7;
  std::copy_n("board", 6, profile.name);
  Scene scene(profile, no_faults());
  calypte_device device{};
  REQUIRE(calypte_device_of(scene.engine.id(), &device) == 0);
  CHECK(device.sms == 7);
  CHECK(std::string(device.name) == "Simulated board (seed 1)");
  scene.fly(95 * kMs);
  for (const uint64_t response_ns : scene.responses()) CHECK(response_ns == 100 * kUs + 2 * kMs + 50 * kUs);
}

TEST_CASE("late timers delay what the dispatcher waits for, and their quantiles are the profile's") {
  calypte_sim_profile profile = sim::default_profile();
  profile.critical_deviation_ppm = 0;
  profile.launch_jitter_ns = 0;
  profile.timer_p50_ns = 100 * kUs;
  profile.timer_p99_ns = 400 * kUs;
  Scene scene(profile, no_faults());
  scene.fly(20 * kSecond);
  std::vector<uint64_t> late;
  for (const uint64_t response_ns : scene.responses()) late.push_back(response_ns - kMs - 6 * kUs);
  REQUIRE(late.size() >= 1'999);
  std::sort(late.begin(), late.end());
  CHECK(late[late.size() / 2] == doctest::Approx(100 * kUs).epsilon(0.1));
  CHECK(late[late.size() * 99 / 100] == doctest::Approx(400 * kUs).epsilon(0.1));
  CHECK(late.back() <= 800 * kUs);
}

TEST_CASE("slow kernels are as slow and as frequent as asked for") {
  calypte_sim_faults faults = no_faults();
  faults.slow_ppm = 100'000;
  faults.slow_permille = 3'000;
  Scene scene(sim::default_profile(), faults);
  scene.fly(20 * kSecond);
  const std::vector<uint64_t> responses = scene.responses();
  const auto slow = std::count_if(responses.begin(), responses.end(), [](uint64_t ns) { return ns > 2 * kMs; });
  CHECK(slow > 150);
  CHECK(slow < 250);
  CHECK(largest(responses) < 3'300 * kUs);
}

TEST_CASE("throttled clocks slow down what runs while they last, and nothing else") {
  calypte_sim_faults faults = no_faults();
  faults.throttle_begin_ns = 100 * kMs;
  faults.throttle_end_ns = 200 * kMs;
  faults.throttle_permille = 250;
  Scene scene(sim::default_profile(), faults, true);
  scene.fly(305 * kMs);
  const std::vector<uint64_t> responses = scene.responses();
  for (size_t i = 0; i < responses.size(); ++i) {
    CAPTURE(i);
    if (i >= 10 && i < 20)
      CHECK(responses[i] > 3'800 * kUs);
    else
      CHECK(responses[i] < 1'200 * kUs);
  }
  const uint64_t units = scene.engine.snapshot().jobs[0].units;
  CHECK(units > 170);  // 9 in each of 20 periods, 1.5 in each of 10
  CHECK(units < 215);
}

TEST_CASE("what begins ahead of the throttling, or ends behind it, is slowed down in its part") {
  sim::Conditions conditions;
  conditions.faults.throttle_begin_ns = 100;
  conditions.faults.throttle_end_ns = 200;
  conditions.faults.throttle_permille = 500;
  CHECK(conditions.stretched(50, 0) == 50);
  CHECK(conditions.stretched(50, 50) == 50);
  CHECK(conditions.stretched(50, 75) == 75);  // 25 ahead, 25 at half speed
  CHECK(conditions.stretched(50, 100) == 100);
  CHECK(conditions.stretched(80, 100) == 130);  // 50 at half speed, 30 behind
  CHECK(conditions.stretched(200, 50) == 250);
  CHECK(conditions.stretched(50, 200) == 50);
}

TEST_CASE("a critical completion that never arrives sets off the watchdog, and the engine stops") {
  calypte_sim_faults faults = no_faults();
  faults.lost_ppm = 1'000'000;
  Scene scene(sim::default_profile(), faults, true);
  scene.fly(2 * kSecond);
  CHECK(scene.engine.count_events(CALYPTE_EVENT_WATCHDOG) == 1);
  CHECK(scene.engine.snapshot().state == CALYPTE_STATE_FAULT);
}

TEST_CASE("completions of entries that are late come in order, and no unit is lost") {
  calypte_sim_faults faults = no_faults();
  faults.late_entry_ppm = 500'000;
  faults.late_entry_ns = 3 * kMs;
  Scene scene(sim::default_profile(), faults, true);
  scene.fly(900 * kMs);
  uint64_t next = 0;
  for (const calypte_result &result : scene.engine.results()) {
    if (result.kind == CALYPTE_WORK_BACKGROUND) CHECK(result.number == next++);
  }
  CHECK(next > 200);
  CHECK(scene.engine.snapshot().state == CALYPTE_STATE_READY);
}

TEST_CASE("replayed executions and units take the recorded times, over and over; 0 means as without") {
  calypte_sim_profile profile = sim::default_profile();
  profile.launch_jitter_ns = 0;
  Scene scene(profile, no_faults(), true);
  const uint64_t executions[] = {2 * kMs, 0, 4 * kMs}, units[] = {500 * kUs};
  REQUIRE(calypte_sim_replay_durations(scene.engine.id(), CALYPTE_WORK_CRITICAL, 0, executions, 2) == 0);
  REQUIRE(calypte_sim_replay_durations(scene.engine.id(), CALYPTE_WORK_CRITICAL, 0, executions + 2, 1) == 0);
  REQUIRE(calypte_sim_replay_durations(scene.engine.id(), CALYPTE_WORK_BACKGROUND, 0, units, 1) == 0);
  scene.fly(95 * kMs);
  const std::vector<uint64_t> responses = scene.responses();
  REQUIRE(responses.size() == 10);
  const uint64_t expected_ns[] = {2 * kMs, kMs, 4 * kMs};
  for (size_t i = 0; i < responses.size(); ++i)
    CHECK(responses[i] == doctest::Approx(expected_ns[i % 3]).epsilon(0.05));
  CHECK(scene.engine.snapshot().jobs[0].unit_ns == doctest::Approx(500 * kUs).epsilon(0.02));
}

TEST_CASE("replayed arrivals of an API task come when they came") {
  TestEngine engine(sim_options());
  REQUIRE(engine.add(WorkSpec::task("detector", kMs, 9 * kMs)) == 0);
  const uint64_t arrivals[] = {5 * kMs, 5'500 * kUs, 40 * kMs}, unsorted[] = {2, 1};
  CHECK(calypte_sim_replay_arrivals(engine.id(), 0, unsorted, 2) == CALYPTE_E_INVALID);
  REQUIRE(calypte_sim_replay_arrivals(engine.id(), 0, arrivals, 3) == 0);
  REQUIRE(engine.ready() == 0);
  engine.advance(100 * kMs);
  const std::vector<calypte_result> results = engine.results();
  REQUIRE(results.size() == 3);
  for (size_t i = 0; i < 3; ++i) CHECK(results[i].arrival_ns == arrivals[i]);
}

TEST_CASE("where CPU and GPU share memory, input is read where it lies, and that is told; elsewhere it is copied") {
  for (const bool integrated : {false, true}) {
    for (const uint32_t off : {0u, 1u << CALYPTE_FEATURE_INTEGRATED}) {
      CAPTURE(integrated);
      CAPTURE(off);
      calypte_options options = sim_options();
      options.disable_features = off;
      TestEngine engine(options);
      calypte_sim_profile profile = sim::default_profile();
      profile.integrated = integrated ? 1 : 0;
      profile.copy_base_ns = 3'000;
      REQUIRE(calypte_sim_profile_set(engine.id(), &profile) == 0);
      const uint32_t frames = static_cast<uint32_t>(engine.frames(1'000'000, 1));
      REQUIRE(engine.add(WorkSpec::task("detector", kMs, 9 * kMs).frames(frames, 1'000'000, 10 * kMs)) == 0);
      REQUIRE(engine.add(WorkSpec::task("without input", kMs, 9 * kMs)) == 1);
      REQUIRE(engine.ready() == 0);
      const bool mapped = integrated && off == 0;
      calypte_feature features[CALYPTE_FEATURES]{};
      REQUIRE(calypte_features(engine.id(), features, CALYPTE_FEATURES) == CALYPTE_FEATURES);
      CHECK(features[CALYPTE_FEATURE_INTEGRATED].on == (mapped ? 1u : 0u));
      std::vector<calypte_event> told;
      for (const calypte_event &event : engine.events()) {
        if (event.kind == CALYPTE_EVENT_MAPPED_INPUT) told.push_back(event);
      }
      REQUIRE(told.size() == (mapped ? 1 : 0));
      if (!mapped) continue;
      CHECK(told[0].source == 0);
      CHECK(told[0].a == 1);
      CHECK(told[0].b == 3'000 + 100 * kUs);
    }
  }
}

TEST_CASE("input is read where it lies only if that is faster by more than a hundredth, and gives the same output") {
  CHECK(core::choose_input_path(1'000, 900, true) == core::InputPath::mapped);
  CHECK(core::choose_input_path(1'000, 995, true) == core::InputPath::copied_is_faster);
  CHECK(core::choose_input_path(900, 1'000, true) == core::InputPath::copied_is_faster);
  CHECK(core::choose_input_path(1'000, 100, false) == core::InputPath::copied_differs);
}

TEST_CASE("profiles and faults that break a rule, or come too late, are refused") {
  TestEngine engine(sim_options());
  calypte_sim_profile profile = sim::default_profile();
  profile.timer_p50_ns = 2;
  profile.timer_p99_ns = 1;
  CHECK(calypte_sim_profile_set(engine.id(), &profile) == CALYPTE_E_INVALID);
  profile = sim::default_profile();
  profile.clock_permille = 0;
  CHECK(calypte_sim_profile_set(engine.id(), &profile) == CALYPTE_E_INVALID);
  profile = sim::default_profile();
  profile.step_deviation_ppm = 200'001;
  CHECK(calypte_sim_profile_set(engine.id(), &profile) == CALYPTE_E_INVALID);
  profile = sim::default_profile();
  profile.integrated = 2;
  CHECK(calypte_sim_profile_set(engine.id(), &profile) == CALYPTE_E_INVALID);
  profile = sim::default_profile();
  profile.size_bytes -= 1;
  CHECK(calypte_sim_profile_set(engine.id(), &profile) == CALYPTE_E_INVALID);
  CHECK(calypte_sim_profile_set(engine.id(), nullptr) == CALYPTE_E_INVALID);
  calypte_sim_faults faults = no_faults();
  faults.slow_ppm = 1;
  CHECK(calypte_sim_faults_set(engine.id(), &faults) == CALYPTE_E_INVALID);
  faults = no_faults();
  faults.throttle_end_ns = 1;
  CHECK(calypte_sim_faults_set(engine.id(), &faults) == CALYPTE_E_INVALID);
  CHECK(calypte_sim_replay_durations(engine.id(), CALYPTE_WORK_CRITICAL, 0, nullptr, 0) == CALYPTE_E_NOT_FOUND);
  REQUIRE(engine.add(WorkSpec::task("detector", kMs, 9 * kMs)) == 0);
  profile = sim::default_profile();
  CHECK(calypte_sim_profile_set(engine.id(), &profile) == CALYPTE_E_STATE);
  faults = no_faults();
  CHECK(calypte_sim_faults_set(engine.id(), &faults) == CALYPTE_E_STATE);
}
