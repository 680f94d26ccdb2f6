// Does the whole system keep its promises to critical work, seen through calypte.h alone? Background: sim_background_test.cc.
#include <doctest/doctest.h>

#include <memory>

#include "support.h"

using namespace calypte::test;

namespace {

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

TEST_CASE("in real time the same simulator answers a request through the API") {
  calypte_options options = sim_options();
  options.clock = CALYPTE_CLOCK_REAL;
  TestEngine engine(options);
  engine.add(WorkSpec::task("on-call", 200 * kUs, 20 * kSecond));
  engine.add(WorkSpec::job("chain").step(CALYPTE_LEVEL_BLOCK, 300 * kUs, 20 * kUs));
  REQUIRE(engine.ready() == 0);
  engine.plan(60 * kSecond, {{0, 1, 0}});
  REQUIRE(calypte_submit(engine.id(), CALYPTE_WORK_CRITICAL, 0, nullptr, 0, 0) == 0);
  const uint64_t give_up_ns = calypte_now_ns() + 20 * kSecond;
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
