// Does the whole system keep its promises in virtual time, seen through calypte.h alone?
#include <doctest/doctest.h>

#include <memory>

#include "support.h"

using namespace calypte::test;

namespace {

// A detector of 4 ms at 30 Hz beside a job of 100 waves of 50 us and one of many short steps.
struct Flight {
  TestEngine engine;

  explicit Flight(const calypte_options &options) : engine(options) {
    const int32_t frames = engine.frames(1024, 7);
    engine.add(WorkSpec::task("detector", 4 * kMs, 15 * kMs).frames(static_cast<uint32_t>(frames), 1024, 33'333'333).output(4096, true));
    engine.add(WorkSpec::job("map").step(CALYPTE_LEVEL_BLOCK, 5 * kMs, 50 * kUs).frames(static_cast<uint32_t>(frames), 1024, 0).output(1 << 16, true));
    WorkSpec chain = WorkSpec::job("chain");
    for (int i = 0; i < 20; ++i) chain.step(CALYPTE_LEVEL_BLOCK, 100 * kUs, 20 * kUs);
    engine.add(chain);
    engine.ready();
  }
};

// The bytes of snapshot and results after one second.
std::vector<uint8_t> trace(uint64_t seed, uint64_t stride_ns) {
  Flight flight(sim_options(seed));
  flight.engine.plan(800 * kMs, {{0, 3, 0}, {1, 1, 0}});
  for (uint64_t t = stride_ns; t < kSecond; t += stride_ns) flight.engine.advance(t);
  flight.engine.advance(kSecond);
  const calypte_snapshot &snapshot = flight.engine.snapshot();
  const uint8_t *begin = reinterpret_cast<const uint8_t *>(&snapshot);
  std::vector<uint8_t> bytes(begin, begin + sizeof snapshot);
  for (const calypte_result &result : flight.engine.results()) {
    begin = reinterpret_cast<const uint8_t *>(&result);
    bytes.insert(bytes.end(), begin, begin + sizeof result);
  }
  return bytes;
}

uint64_t background_ns(TestEngine &engine) { return engine.snapshot().background_busy_ns; }

}  // namespace

TEST_SUITE("determinism") {
  TEST_CASE("the same seed gives the same snapshot and results, byte for byte") { CHECK(trace(7, kSecond) == trace(7, kSecond)); }

  TEST_CASE("how often the caller advances time makes no difference") { CHECK(trace(7, kSecond) == trace(7, 777'777)); }

  TEST_CASE("another seed gives another flight") { CHECK(trace(7, kSecond) != trace(8, kSecond)); }
}

TEST_SUITE("critical work") {
  TEST_CASE("a task on an idle GPU is never late and takes its estimate, give or take the jitter") {
    TestEngine engine(sim_options());
    const uint32_t frames = static_cast<uint32_t>(engine.frames(64, 1));
    REQUIRE(engine.add(WorkSpec::task("detector", 4 * kMs, 5 * kMs).frames(frames, 64, 10 * kMs)) == 0);
    REQUIRE(engine.ready() == 0);
    REQUIRE(engine.advance(20 * kSecond) == 0);
    const calypte_task_stats &stats = engine.snapshot().tasks[0];
    CHECK(stats.requests == 2'001);
    CHECK(stats.on_time == 2'000);
    CHECK(stats.response.min_ns > 3'750 * kUs);
    CHECK(stats.response.max_ns < 4'250 * kUs);
  }

  TEST_CASE("background of 50 us blocks adds at most a block to it, and never makes it late") {
    Flight flight(sim_options(3));
    flight.engine.plan(60 * kSecond, {{0, 1, 0}, {1, 1, 0}});
    REQUIRE(flight.engine.advance(20 * kSecond) == 0);
    flight.engine.results();
    const calypte_snapshot &snapshot = flight.engine.snapshot();
    CHECK(snapshot.tasks[0].late + snapshot.tasks[0].dropped == 0);
    CHECK(snapshot.tasks[0].response.max_ns < 4'250 * kUs + 60 * kUs);
    CHECK(snapshot.jobs[0].preemptions + snapshot.jobs[1].preemptions > 300);
    CHECK(snapshot.jobs[0].leaves > 1'000);
  }

  TEST_CASE("a task that takes longer than its deadline is late each time, and says so in results and events") {
    TestEngine engine(sim_options());
    const uint32_t frames = static_cast<uint32_t>(engine.frames(64, 1));
    engine.add(WorkSpec::task("slow", 8 * kMs, 4 * kMs).frames(frames, 64, 10 * kMs));
    WorkSpec dropping = WorkSpec::task("dropping", 8 * kMs, 4 * kMs).frames(frames, 64, 100 * kMs, 99 * kMs);
    dropping.head.on_miss = CALYPTE_ON_MISS_DROP;
    engine.add(dropping);
    engine.ready();
    engine.advance(95 * kMs);
    CHECK(engine.snapshot().tasks[0].late == 9);
    CHECK(engine.snapshot().tasks[0].longest_miss_run == 9);
    CHECK(engine.count_events(CALYPTE_EVENT_MISS) == 9);
    for (const calypte_result &result : engine.results()) CHECK(result.flags == (CALYPTE_RESULT_LATE | CALYPTE_RESULT_COMPLETE | CALYPTE_RESULT_SIMULATED));
    engine.advance(109 * kMs);
    bool seen = false;
    for (const calypte_result &result : engine.results()) {
      if (result.work != 1) continue;
      seen = true;
      CHECK((result.flags & CALYPTE_RESULT_COMPLETE) == 0);
    }
    CHECK(seen);
  }

  TEST_CASE("results of a task carry every field of the header") {
    TestEngine engine(sim_options());
    const uint32_t frames = static_cast<uint32_t>(engine.frames(64, 3));
    engine.add(WorkSpec::task("detector", 2 * kMs, 5 * kMs).frames(frames, 64, 10 * kMs, 1 * kMs));
    engine.ready();
    engine.advance(100 * kMs);
    const std::vector<calypte_result> results = engine.results();
    REQUIRE(results.size() == 10);
    for (uint64_t n = 0; n < results.size(); ++n) {
      const calypte_result &result = results[n];
      CHECK(result.size_bytes == sizeof result);
      CHECK(result.kind == CALYPTE_WORK_CRITICAL);
      CHECK(result.work == 0);
      CHECK(result.flags == (CALYPTE_RESULT_COMPLETE | CALYPTE_RESULT_SIMULATED));
      CHECK(result.number == n);
      CHECK(result.frame_seq == n);
      CHECK(result.frame_index == n % 3);
      CHECK(result.arrival_ns == kMs + n * 10 * kMs);
      CHECK(result.sensor_ns == result.arrival_ns);
      CHECK(result.start_ns == result.arrival_ns);
      CHECK(result.done_ns > result.start_ns + 1'900 * kUs);
      CHECK(result.deadline_ns == result.arrival_ns + 5 * kMs);
      CHECK(result.payload_bytes == 0);
      CHECK(result.digest == 0);
    }
  }

  TEST_CASE("a periodic task without input needs no frames") {
    TestEngine engine(sim_options());
    WorkSpec task = WorkSpec::task("heartbeat", kMs, 5 * kMs);
    task.head.source = CALYPTE_SOURCE_NONE;
    task.head.period_ns = 10 * kMs;
    REQUIRE(engine.add(task) == 0);
    engine.ready();
    engine.advance(99 * kMs);
    CHECK(engine.snapshot().tasks[0].on_time == 10);
    for (const calypte_result &result : engine.results()) CHECK(result.frame_index == 0);
  }

  TEST_CASE("requests through the API are numbered, run, and carry the sensor's time") {
    TestEngine engine(sim_options());
    engine.add(WorkSpec::task("on-call", 1 * kMs, 5 * kMs).input(16));
    engine.ready();
    engine.advance(3 * kMs);
    const uint8_t input[16] = {};
    CHECK(calypte_submit(engine.id(), CALYPTE_WORK_CRITICAL, 0, input, 16, 2 * kMs) == 0);
    engine.advance(5 * kMs);
    CHECK(calypte_submit(engine.id(), CALYPTE_WORK_CRITICAL, 0, input, 16, 4 * kMs) == 1);
    engine.advance(10 * kMs);
    const std::vector<calypte_result> results = engine.results();
    REQUIRE(results.size() == 2);
    CHECK(results[0].arrival_ns == 3 * kMs);
    CHECK(results[0].sensor_ns == 2 * kMs);
    CHECK(results[1].number == 1);
    CHECK(results[1].done_ns == doctest::Approx(6 * kMs).epsilon(0.02));
  }

  TEST_CASE("a task's input slots are freed by completion and by dropping, ten thousand times over") {
    TestEngine engine(sim_options());
    engine.add(WorkSpec::task("on-call", 1 * kMs, 5 * kMs));
    engine.ready();
    uint64_t accepted = 0;
    for (uint64_t n = 0; n < 10'000; ++n) {
      engine.advance(n * 300 * kUs);
      const int32_t number = calypte_submit(engine.id(), CALYPTE_WORK_CRITICAL, 0, nullptr, 0, 0);
      CHECK(number == static_cast<int32_t>(n));
      accepted += number >= 0 ? 1 : 0;
    }
    engine.advance(3'100 * kMs);
    const calypte_task_stats &stats = engine.snapshot().tasks[0];
    CHECK(accepted == 10'000);
    CHECK(stats.requests == 10'000);
    CHECK(stats.on_time + stats.dropped == 10'000);
  }

  TEST_CASE("a full queue drops the newest request and publishes that it did") {
    TestEngine engine(sim_options());
    WorkSpec task = WorkSpec::task("on-call", 1 * kMs, 50 * kMs);
    task.head.queue = CALYPTE_QUEUE_FIFO;
    task.head.queue_depth = 2;
    engine.add(task);
    engine.ready();
    for (int i = 0; i < 5; ++i) calypte_submit(engine.id(), CALYPTE_WORK_CRITICAL, 0, nullptr, 0, 0);
    engine.advance(20 * kMs);
    CHECK(engine.snapshot().tasks[0].on_time == 3);
    CHECK(engine.snapshot().tasks[0].dropped == 2);
    uint32_t dropped = 0;
    for (const calypte_result &result : engine.results()) {
      if ((result.flags & CALYPTE_RESULT_DROPPED) == 0) continue;
      dropped += 1;
      CHECK(result.number >= 3);
      CHECK(result.start_ns == 0);
    }
    CHECK(dropped == 2);
  }
}

TEST_SUITE("background") {
  TEST_CASE("background fills more than nine tenths of what the critical work leaves") {
    Flight flight(sim_options());
    flight.engine.plan(60 * kSecond, {{0, 1, 0}, {1, 1, 0}});
    flight.engine.advance(10 * kSecond);
    const calypte_snapshot &snapshot = flight.engine.snapshot();
    const uint64_t idle_ns = 10 * kSecond - snapshot.critical_busy_ns;
    CHECK(snapshot.background_busy_ns > idle_ns / 10 * 9);
    CHECK(snapshot.background_busy_ns <= idle_ns);
  }

  TEST_CASE("an entry that found nothing to do does not count as a preemption, as closings bound those" * doctest::may_fail()) {
    TestEngine engine(sim_options());
    engine.add(WorkSpec::job("chain").step(CALYPTE_LEVEL_BLOCK, 2 * kMs, 20 * kUs));
    engine.ready();
    engine.plan(60 * kSecond, {{0, 1, 0}});
    engine.advance(10 * kSecond);
    CHECK(engine.snapshot().jobs[0].leaves == 0);
    CHECK(engine.snapshot().jobs[0].preemptions == 0);
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

  TEST_CASE("GPU time divides by the weights" * doctest::may_fail()) {
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

  TEST_CASE("units through the API wait in two slots, run, and free them") {
    TestEngine engine(sim_options());
    WorkSpec job = WorkSpec::job("map").step(CALYPTE_LEVEL_BLOCK, kMs, 20 * kUs).input(64);
    job.head.source = CALYPTE_SOURCE_API;
    REQUIRE(engine.add(job) == 0);
    engine.ready();
    engine.plan(60 * kSecond, {{0, 1, 0}});
    const uint8_t input[64] = {};
    const auto submit = [&](uint64_t sensor_ns) { return calypte_submit(engine.id(), CALYPTE_WORK_BACKGROUND, 0, input, sizeof input, sensor_ns); };
    CHECK(submit(11) == 0);
    CHECK(submit(22) == 1);
    CHECK(submit(33) == CALYPTE_E_BUSY);
    engine.advance(10 * kMs);
    CHECK(submit(44) == 2);
    engine.advance(20 * kMs);
    const std::vector<calypte_result> results = engine.results();
    REQUIRE(results.size() == 3);
    CHECK(results[0].sensor_ns == 11);
    CHECK(results[1].sensor_ns == 22);
    CHECK(results[2].sensor_ns == 44);
    CHECK(results[2].arrival_ns >= 10 * kMs);
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

  TEST_CASE("a whole kernel gets its share beside a job of long units, though the windows are short" * doctest::may_fail()) {
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

TEST_CASE("in real time the same simulator answers a request through the API") {
  calypte_options options = sim_options();
  options.clock = CALYPTE_CLOCK_REAL;
  TestEngine engine(options);
  engine.add(WorkSpec::task("on-call", 200 * kUs, 500 * kMs));
  engine.add(WorkSpec::job("chain").step(CALYPTE_LEVEL_BLOCK, 300 * kUs, 20 * kUs));
  REQUIRE(engine.ready() == 0);
  engine.plan(60 * kSecond, {{0, 1, 0}});
  REQUIRE(calypte_submit(engine.id(), CALYPTE_WORK_CRITICAL, 0, nullptr, 0, 0) == 0);
  const uint64_t give_up_ns = calypte_now_ns() + 5 * kSecond;
  bool critical = false, background = false;
  while (!(critical && background) && calypte_now_ns() < give_up_ns) {
    for (const calypte_result &result : engine.results()) {
      if (result.kind == CALYPTE_WORK_CRITICAL) critical = result.done_ns >= result.start_ns + 150 * kUs;
      else background = true;
    }
  }
  CHECK(critical);
  CHECK(background);
  CHECK(engine.snapshot().tasks[0].on_time == 1);
}
