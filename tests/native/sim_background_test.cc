// Does background fill what critical work leaves, and stop where lease, hold, plan and store say so? Through calypte.h alone.
#include <doctest/doctest.h>

#include "support.h"

using namespace calypte::test;

namespace {

uint64_t background_ns(TestEngine &engine) { return engine.snapshot().background_busy_ns; }

}  // namespace

TEST_SUITE("background") {
  TEST_CASE("background fills more than nine tenths of what the critical work leaves") {
    Flight flight(sim_options());
    flight.engine.plan(60 * kSecond, {{0, 1, 0}, {1, 1, 0}});
    flight.engine.advance(10 * kSecond);
    const calypte_snapshot &snapshot = flight.engine.snapshot();
    const uint64_t idle_ns = 10 * kSecond - snapshot.critical_busy_ns;
    CHECK(snapshot.background_busy_ns > idle_ns / 10 * 9);
    // It also runs while a request's launch is on its way and its output is copied.
    CHECK(snapshot.background_busy_ns <= idle_ns + snapshot.tasks[0].requests * 60 * kUs);
  }

  TEST_CASE("an entry that found nothing to do does not count as a preemption, as closings bound those") {
    TestEngine engine(sim_options());
    engine.add(WorkSpec::job("long").step(CALYPTE_LEVEL_BLOCK, 2 * kMs, 20 * kUs));
    engine.add(WorkSpec::job("short").step(CALYPTE_LEVEL_BLOCK, 20 * kUs, 20 * kUs));
    engine.ready();
    engine.plan(60 * kSecond, {{0, 1, 0}, {1, 1, 0}});
    engine.advance(10 * kSecond);
    for (int job = 0; job < 2; ++job) {
      CHECK(engine.snapshot().jobs[job].leaves == 0);
      CHECK(engine.snapshot().jobs[job].preemptions == 0);
    }
  }

  TEST_CASE("where the host resumes, background still fills most of the idle time and nothing is late") {
    calypte_options options = sim_options();
    options.disable_features = 1 << CALYPTE_FEATURE_PARKED_RESUME;
    Flight flight(options);
    flight.engine.plan(60 * kSecond, {{0, 1, 0}, {1, 1, 0}});
    flight.engine.advance(10 * kSecond);
    const calypte_snapshot &snapshot = flight.engine.snapshot();
    CHECK(snapshot.tasks[0].late + snapshot.tasks[0].dropped == 0);
    CHECK(snapshot.background_busy_ns > (10 * kSecond - snapshot.critical_busy_ns) / 10 * 8);
  }

  TEST_CASE("when the lease ends and no plan follows, background stops within one block") {
    Flight flight(sim_options());
    flight.engine.plan(300 * kMs, {{0, 1, 0}, {1, 1, 0}});
    flight.engine.advance(300 * kMs + 10 * kMs);
    const uint64_t busy_ns = background_ns(flight.engine);
    CHECK(busy_ns > 200 * kMs);
    CHECK(busy_ns < 301 * kMs);
    const uint64_t units = flight.engine.snapshot().jobs[0].units;
    flight.engine.advance(5 * kSecond);
    CHECK(background_ns(flight.engine) == busy_ns);
    CHECK(flight.engine.snapshot().jobs[0].units == units);
    CHECK(flight.engine.snapshot().lease_expired == 1);
    CHECK(flight.engine.snapshot().hold_bits == CALYPTE_HOLD_LEASE);
    CHECK(flight.engine.count_events(CALYPTE_EVENT_LEASE_EXPIRED) == 1);
    flight.engine.plan(300 * kMs, {{0, 1, 0}, {1, 1, 0}});
    flight.engine.advance(5'200 * kMs);
    CHECK(background_ns(flight.engine) > busy_ns + 100 * kMs);
  }

  TEST_CASE("the caller's hold stops background, and lifting it brings it back") {
    Flight flight(sim_options());
    flight.engine.plan(60 * kSecond, {{0, 1, 0}, {1, 1, 0}});
    flight.engine.advance(100 * kMs);
    CHECK(calypte_hold(flight.engine.id(), CALYPTE_HOLD_CALLER, 1) == 0);
    flight.engine.advance(120 * kMs);
    const uint64_t busy_ns = background_ns(flight.engine);
    flight.engine.advance(500 * kMs);
    CHECK(background_ns(flight.engine) == busy_ns);
    CHECK(calypte_hold(flight.engine.id(), CALYPTE_HOLD_CALLER, 0) == 0);
    flight.engine.advance(1'000 * kMs);
    CHECK(background_ns(flight.engine) > busy_ns + 300 * kMs);
  }

  TEST_CASE("a job that the new plan does not name stops, and the other goes on") {
    Flight flight(sim_options());
    flight.engine.plan(60 * kSecond, {{0, 1, 0}, {1, 1, 0}});
    flight.engine.advance(200 * kMs);
    flight.engine.plan(60 * kSecond, {{1, 1, 0}});
    flight.engine.advance(220 * kMs);
    const uint64_t map = flight.engine.snapshot().jobs[0].units, chain = flight.engine.snapshot().jobs[1].units;
    flight.engine.advance(1'000 * kMs);
    CHECK(flight.engine.snapshot().jobs[0].units == map);
    CHECK(flight.engine.snapshot().jobs[1].units > chain + 100);
  }

  // Known (see background_test.cc): the stream fills up with whoever wants an entry, not with who is owed one.
  TEST_CASE("GPU time divides by the weights") {
    TestEngine engine(sim_options());
    engine.add(WorkSpec::job("three").step(CALYPTE_LEVEL_BLOCK, 2 * kMs, 20 * kUs));
    engine.add(WorkSpec::job("one").step(CALYPTE_LEVEL_BLOCK, 3 * kMs, 20 * kUs));
    engine.ready();
    engine.plan(600 * kSecond, {{0, 3, 0}, {1, 1, 0}});
    engine.advance(20 * kSecond);
    const calypte_snapshot &snapshot = engine.snapshot();
    const double share = static_cast<double>(snapshot.jobs[0].gpu_ns[CALYPTE_LEVEL_BLOCK]) / static_cast<double>(snapshot.background_busy_ns);
    CHECK(share == doctest::Approx(0.75).epsilon(0.02));
  }

  TEST_CASE("results of a job carry every field of the header, one for each unit, in order") {
    TestEngine engine(sim_options());
    const uint32_t frames = static_cast<uint32_t>(engine.frames(1'000'000, 3));
    engine.add(WorkSpec::job("map").step(CALYPTE_LEVEL_BLOCK, 2 * kMs, 20 * kUs).frames(frames, 1'000'000, 0));
    engine.ready();
    engine.plan(kSecond, {{0, 1, 0}});
    engine.advance(100 * kMs);
    const std::vector<calypte_result> results = engine.results();
    CHECK(results.size() == engine.snapshot().jobs[0].units);
    REQUIRE(results.size() > 40);
    for (uint64_t n = 0; n < results.size(); ++n) {
      const calypte_result &result = results[n];
      CHECK(result.kind == CALYPTE_WORK_BACKGROUND);
      CHECK(result.flags == (CALYPTE_RESULT_COMPLETE | CALYPTE_RESULT_SIMULATED));
      CHECK(result.number == n);
      CHECK(result.frame_seq == n);
      CHECK(result.frame_index == n % 3);
      CHECK(result.arrival_ns == result.sensor_ns + 102 * kUs);  // 1 MB at 10 GB/s, and 2 us
      CHECK(result.done_ns > result.arrival_ns);
      CHECK(result.start_ns == 0);
      CHECK(result.deadline_ns == 0);
    }
  }

  TEST_CASE("a period limits how often a job's units are staged, beginning at its phase") {
    TestEngine engine(sim_options());
    const uint32_t frames = static_cast<uint32_t>(engine.frames(64, 1));
    engine.add(WorkSpec::job("map").step(CALYPTE_LEVEL_BLOCK, kMs, 20 * kUs).frames(frames, 64, 20 * kMs, 5 * kMs));
    engine.ready();
    engine.plan(60 * kSecond, {{0, 1, 0}});
    engine.advance(1'004 * kMs);
    const std::vector<calypte_result> results = engine.results();
    REQUIRE(results.size() == 50);
    for (uint64_t n = 0; n < results.size(); ++n) CHECK(results[n].sensor_ns == 5 * kMs + n * 20 * kMs);
  }

  TEST_CASE("units through the API wait in eight slots, run, and free them") {
    TestEngine engine(sim_options());
    WorkSpec job = WorkSpec::job("map").step(CALYPTE_LEVEL_BLOCK, kMs, 20 * kUs).input(64);
    job.head.source = CALYPTE_SOURCE_API;
    REQUIRE(engine.add(job) == 0);
    engine.ready();
    engine.plan(60 * kSecond, {{0, 1, 0}});
    const uint8_t input[64] = {};
    const auto submit = [&](uint64_t sensor_ns) { return calypte_submit(engine.id(), CALYPTE_WORK_BACKGROUND, 0, input, sizeof input, sensor_ns); };
    for (int32_t n = 0; n < 8; ++n) CHECK(submit(10 + static_cast<uint64_t>(n)) == n);
    CHECK(submit(33) == CALYPTE_E_BUSY);
    engine.advance(20 * kMs);
    CHECK(submit(44) == 8);
    engine.advance(30 * kMs);
    const std::vector<calypte_result> results = engine.results();
    REQUIRE(results.size() == 9);
    for (uint64_t n = 0; n < 8; ++n) CHECK(results[n].sensor_ns == 10 + n);
    CHECK(results[8].sensor_ns == 44);
    CHECK(results[8].arrival_ns >= 20 * kMs);
  }

  TEST_CASE("a full results store stops background, loses nothing, and leaves room for critical results") {
    calypte_options options = sim_options();
    options.results_bytes = 16 * 1024;
    TestEngine engine(options);
    const uint32_t frames = static_cast<uint32_t>(engine.frames(64, 1));
    engine.add(WorkSpec::task("detector", kMs, 5 * kMs).frames(frames, 64, 100 * kMs));
    engine.add(WorkSpec::job("map").step(CALYPTE_LEVEL_BLOCK, 500 * kUs, 20 * kUs));
    engine.add(WorkSpec::job("chain").step(CALYPTE_LEVEL_BLOCK, 300 * kUs, 20 * kUs));
    engine.ready();
    engine.plan(600 * kSecond, {{0, 1, 0}, {1, 1, 0}});
    engine.advance(2 * kSecond);
    const uint64_t stopped_at = engine.snapshot().jobs[0].units + engine.snapshot().jobs[1].units;
    CHECK(stopped_at * sizeof(calypte_result) <= options.results_bytes / 4 * 3);
    engine.advance(3 * kSecond);
    CHECK(engine.snapshot().jobs[0].units + engine.snapshot().jobs[1].units == stopped_at);
    CHECK(engine.snapshot().tasks[0].on_time == 30);
    const size_t first = engine.results().size();
    CHECK(first == stopped_at + 30);
    engine.advance(4 * kSecond);
    const uint64_t units = engine.snapshot().jobs[0].units + engine.snapshot().jobs[1].units;
    CHECK(units > stopped_at + 50);
    CHECK(first + engine.results().size() == units + engine.snapshot().tasks[0].on_time);
    CHECK(engine.count_events(CALYPTE_EVENT_RESULTS_LOST) == 0);
  }

  TEST_CASE("critical results that find the store full are lost, counted and reported, and the work goes on") {
    calypte_options options = sim_options();
    options.results_bytes = 4096;
    TestEngine engine(options);
    const uint32_t frames = static_cast<uint32_t>(engine.frames(64, 1));
    engine.add(WorkSpec::task("detector", kMs, 5 * kMs).frames(frames, 64, 10 * kMs));
    engine.ready();
    engine.advance(999 * kMs);
    CHECK(engine.snapshot().tasks[0].on_time == 100);
    CHECK(engine.results().size() == 4096 / sizeof(calypte_result));
    uint64_t lost = 0;
    for (const calypte_event &event : engine.events()) lost += event.kind == CALYPTE_EVENT_RESULTS_LOST ? static_cast<uint64_t>(event.a) : 0;
    CHECK(lost == 100 - 4096 / sizeof(calypte_result));
  }
}

TEST_SUITE("whole steps") {
  TEST_CASE("whole kernels run in the windows between requests and make none late") {
    TestEngine engine(sim_options());
    const uint32_t frames = static_cast<uint32_t>(engine.frames(64, 1));
    engine.add(WorkSpec::task("detector", 4 * kMs, 5 * kMs).frames(frames, 64, 20 * kMs));
    engine.add(WorkSpec::job("library").step(CALYPTE_LEVEL_BLOCK, kMs, 20 * kUs).step(CALYPTE_LEVEL_WHOLE, 5 * kMs).step(CALYPTE_LEVEL_BLOCK, kMs, 20 * kUs));
    engine.ready();
    engine.plan(60 * kSecond, {{0, 1, 0}});
    engine.advance(10 * kSecond);
    const calypte_snapshot &snapshot = engine.snapshot();
    CHECK(snapshot.tasks[0].late + snapshot.tasks[0].dropped == 0);
    CHECK(snapshot.tasks[0].response.max_ns < 4'350 * kUs);
    CHECK(snapshot.jobs[0].units > 500);
    CHECK(snapshot.jobs[0].whole_launches >= snapshot.jobs[0].units);
    CHECK(snapshot.jobs[0].gpu_ns[CALYPTE_LEVEL_WHOLE] == doctest::Approx(5.0 * kMs * snapshot.jobs[0].whole_launches).epsilon(0.01));
  }

  TEST_CASE("a whole kernel gets its share beside a job of long units, though the windows are short") {
    TestEngine engine(sim_options());
    const uint32_t frames = static_cast<uint32_t>(engine.frames(64, 1));
    engine.add(WorkSpec::task("detector", 4 * kMs, 5 * kMs).frames(frames, 64, 20 * kMs));
    engine.add(WorkSpec::job("library").step(CALYPTE_LEVEL_WHOLE, 5 * kMs));
    engine.add(WorkSpec::job("map").step(CALYPTE_LEVEL_BLOCK, 4 * kMs, 20 * kUs));
    engine.ready();
    engine.plan(60 * kSecond, {{0, 1, 0}, {1, 1, 0}});
    engine.advance(10 * kSecond);
    const calypte_snapshot &snapshot = engine.snapshot();
    CHECK(snapshot.tasks[0].late == 0);
    CHECK(snapshot.jobs[0].gpu_ns[CALYPTE_LEVEL_WHOLE] > snapshot.background_busy_ns / 3);
  }

  TEST_CASE("a whole kernel that fits no window is refused, and the report names step and estimate") {
    TestEngine engine(sim_options());
    const uint32_t frames = static_cast<uint32_t>(engine.frames(64, 1));
    engine.add(WorkSpec::task("detector", 4 * kMs, 5 * kMs).frames(frames, 64, 20 * kMs));
    engine.add(WorkSpec::job("library").step(CALYPTE_LEVEL_WHOLE, 30 * kMs));
    engine.ready();
    engine.plan(60 * kSecond, {{0, 1, 0}});
    engine.advance(kSecond);
    CHECK(engine.snapshot().jobs[0].units == 0);
    CHECK(engine.count_events(CALYPTE_EVENT_WHOLE_REFUSED) == 1);
  }
}
