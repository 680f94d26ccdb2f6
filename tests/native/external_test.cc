// Does background keep off the GPU while another process does critical work, and are its books right?
#include <doctest/doctest.h>

#include "scheduler_rig.h"

using namespace calypte::core;
using namespace calypte::test;

namespace {

SchedulerConfig outside(bool anticipate = false, uint64_t drain_ns = 20 * kUs) {
  SchedulerConfig config;
  TaskConfig task = on_call(5 * kMs);
  task.source = CALYPTE_SOURCE_EXTERNAL;
  task.anticipate = anticipate;
  config.tasks = {task};
  config.jobs = {block_job(50 * kMs)};
  config.jobs[0].drain_ns = drain_ns;
  config.parked_resume = false;
  return config;
}

void tell(Rig &rig, EventKind kind, uint64_t time_ns, uint64_t number = 0, uint64_t now_ns = 0) {
  Event event;
  event.kind = kind;
  event.number = number;
  event.time_ns = time_ns;
  rig.step(event, now_ns == 0 ? time_ns : now_ns);
}

void begin_background(Rig &rig) {
  rig.start();
  rig.staged(0, 1'000, 0);
  rig.plan(3'000 * kSecond, {{0, 1, 0}}, 0);
}

// What was last written into the task's gate word in this step; -1: nothing.
int written(const Rig &rig) {
  const auto all = rig.all(ActionKind::task_gate);
  return all.empty() ? -1 : static_cast<int>(all.back().number);
}

}  // namespace

TEST_SUITE("external") {
  TEST_CASE("the gate is closed from begin to end, and nothing is launched or queued for it") {
    Rig rig(outside());
    begin_background(rig);
    tell(rig, EventKind::outside_begin, 10 * kMs, 1);
    CHECK(written(rig) == 1);
    CHECK(rig.count(ActionKind::launch_critical) == 0);
    CHECK_FALSE(rig.scheduler.gate_open());
    rig.entry_done(0, 0, 10 * kMs + 30 * kUs, 9 * kMs);
    CHECK(rig.count(ActionKind::enqueue_entry) == 0);
    tell(rig, EventKind::outside_end, 13 * kMs, 1);
    CHECK(written(rig) == 0);
    CHECK(rig.count(ActionKind::enqueue_entry) > 0);
    CHECK(rig.scheduler.gate_open());
    const calypte_task_stats &stats = rig.snapshot().tasks[0];
    CHECK(stats.requests == 1);
    CHECK(stats.on_time == 1);
    CHECK(stats.busy_ns == 3 * kMs);
    REQUIRE(stats.response.count == 1);
  }

  TEST_CASE("what ends behind its deadline is late, and what its process left behind has failed") {
    Rig rig(outside());
    begin_background(rig);
    tell(rig, EventKind::outside_begin, 10 * kMs, 1);
    tell(rig, EventKind::outside_end, 16 * kMs, 1);
    CHECK(rig.reports(CALYPTE_EVENT_MISS).size() == 1);
    tell(rig, EventKind::outside_begin, 20 * kMs, 2);
    tell(rig, EventKind::outside_begin, 21 * kMs, 3);
    tell(rig, EventKind::outside_lost, 22 * kMs);
    CHECK(written(rig) == 0);
    const calypte_task_stats &stats = rig.snapshot().tasks[0];
    CHECK(stats.late == 1);
    CHECK(stats.failed == 2);
    CHECK(stats.requests == 3);
    CHECK(stats.miss_run == 3);
    CHECK(stats.in_flight == 0);
  }

  TEST_CASE("several may be under way, and the gate opens behind the last of them, in whatever order they end") {
    Rig rig(outside());
    begin_background(rig);
    tell(rig, EventKind::outside_begin, 10 * kMs, 1);
    tell(rig, EventKind::outside_begin, 11 * kMs, 2);
    CHECK(rig.snapshot().tasks[0].in_flight == 2);
    tell(rig, EventKind::outside_end, 12 * kMs, 2);
    CHECK(written(rig) == -1);
    // An end that nobody began, and one that came already, change nothing.
    tell(rig, EventKind::outside_end, 12 * kMs, 2);
    tell(rig, EventKind::outside_end, 12 * kMs, 77);
    CHECK(rig.snapshot().tasks[0].in_flight == 1);
    tell(rig, EventKind::outside_end, 13 * kMs, 1);
    CHECK(written(rig) == 0);
    CHECK(rig.snapshot().tasks[0].on_time == 2);
  }

  TEST_CASE("a ninth gives up the first") {
    Rig rig(outside());
    begin_background(rig);
    for (uint64_t n = 1; n <= 9; ++n) tell(rig, EventKind::outside_begin, (9 + n) * kMs, n);
    CHECK(rig.snapshot().tasks[0].failed == 1);
    CHECK(rig.snapshot().tasks[0].in_flight == 8);
  }

  TEST_CASE("what is expected finds the gate closed, and its context woken when background has left") {
    Rig rig(outside(true));
    begin_background(rig);
    tell(rig, EventKind::outside_expect, 30 * kMs, 0, 10 * kMs);
    const uint64_t close_ns = 30 * kMs - 270 * kUs;  // the drain, and a change of contexts
    REQUIRE(rig.scheduler.next_wakeup_ns() == close_ns);
    rig.tick(close_ns);
    CHECK(written(rig) == 1);
    CHECK(rig.count(ActionKind::wake_outside) == 0);
    const uint64_t queued = rig.snapshot().jobs[0].outstanding;
    REQUIRE(queued > 0);
    for (uint64_t i = 1; i <= queued; ++i) {
      rig.entry_done(0, 0, close_ns + i * 10 * kUs, 1 * kMs);
      CHECK(rig.count(ActionKind::wake_outside) == (i == queued ? 1 : 0));
    }
    tell(rig, EventKind::outside_begin, 30 * kMs, 1);
    CHECK(written(rig) == -1);
    CHECK(rig.snapshot().tasks[0].anticipated == 1);
    tell(rig, EventKind::outside_end, 31 * kMs, 1);
    CHECK(written(rig) == 0);
  }

  TEST_CASE("where the expected does not come the gate opens again") {
    Rig rig(outside(true));
    begin_background(rig);
    tell(rig, EventKind::outside_expect, 30 * kMs, 0, 10 * kMs);
    rig.tick(30 * kMs - 270 * kUs);
    CHECK(written(rig) == 1);
    rig.tick(rig.scheduler.next_wakeup_ns());
    CHECK(written(rig) == 0);
    CHECK(rig.now > 32 * kMs);
    CHECK(rig.now < 33 * kMs);
    CHECK(rig.snapshot().tasks[0].wrong_guesses == 1);
  }

  TEST_CASE("a request of ours is served beside one of another process, and waits for nobody") {
    SchedulerConfig config = outside();
    config.tasks.push_back(on_call(5 * kMs));
    Rig rig(config);
    begin_background(rig);
    tell(rig, EventKind::outside_begin, 10 * kMs, 1);
    rig.arrive(1, 11 * kMs);
    CHECK(rig.count(ActionKind::launch_critical) == 1);
    rig.done(1, 12 * kMs);
    CHECK_FALSE(rig.scheduler.gate_open());
    CHECK(rig.count(ActionKind::enqueue_entry) == 0);
    tell(rig, EventKind::outside_end, 13 * kMs, 1);
    CHECK(rig.scheduler.gate_open());
  }
}
