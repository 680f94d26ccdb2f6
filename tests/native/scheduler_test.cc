// Does the scheduler launch, drop and count critical requests as calypte.h says? Background: background_test.cc.
#include "core/scheduler.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <memory>
#include <new>

#include "backend/sim/rng.h"
#include "scheduler_rig.h"

using namespace calypte::core;
using namespace calypte::test;

// Counts the allocations of the whole test program; the tests look at differences. Not inlined, as the compiler
// would take the pair of malloc and delete for a mistake.
static uint64_t allocations = 0;
[[gnu::noinline]] void *operator new(size_t size) {
  allocations += 1;
  if (void *memory = malloc(size > 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void *memory) noexcept { free(memory); }
[[gnu::noinline]] void operator delete(void *memory, size_t) noexcept { free(memory); }

TEST_SUITE("arrivals") {
  TEST_CASE("a periodic task arrives at phase, and from then on once each period") {
    SchedulerConfig config;
    config.tasks = {periodic(10 * kMs, 5 * kMs)};
    config.tasks[0].phase_ns = 3 * kMs;
    Rig rig(config);
    rig.start(1 * kMs);
    for (uint64_t n = 0; n < 100; ++n) {
      const uint64_t arrival_ns = 4 * kMs + n * 10 * kMs;
      REQUIRE(rig.scheduler.next_wakeup_ns() == arrival_ns);
      rig.tick(arrival_ns);
      const std::vector<Action> launched = rig.all(ActionKind::launch_critical);
      REQUIRE(launched.size() == 1);
      CHECK(launched[0].request.number == n);
      CHECK(launched[0].request.arrival_ns == arrival_ns);
      CHECK(launched[0].request.deadline_ns == arrival_ns + 5 * kMs);
      rig.done(0, arrival_ns + 1 * kMs);
    }
    CHECK(rig.snapshot().tasks[0].requests == 100);
    CHECK(rig.snapshot().tasks[0].on_time == 100);
  }

  TEST_CASE("a tick before the arrival launches nothing") {
    SchedulerConfig config;
    config.tasks = {periodic(10 * kMs, 5 * kMs)};
    config.tasks[0].phase_ns = 1 * kMs;
    Rig rig(config);
    rig.start();
    rig.tick(1 * kMs - 1);
    CHECK(rig.count(ActionKind::launch_critical) == 0);
    CHECK(rig.snapshot().tasks[0].requests == 0);
  }

  TEST_CASE("a dispatcher that slept through periods counts each, drops all but the latest, and keeps the rhythm") {
    SchedulerConfig config;
    config.tasks = {periodic(10 * kMs, 5 * kMs)};
    Rig rig(config);
    rig.start();
    rig.tick(35 * kMs);
    const std::vector<Action> dropped = rig.all(ActionKind::drop_request);
    REQUIRE(dropped.size() == 3);
    for (uint64_t n = 0; n < 3; ++n) {
      CHECK(dropped[n].request.number == n);
      CHECK(dropped[n].request.arrival_ns == n * 10 * kMs);
    }
    const std::vector<Action> launched = rig.all(ActionKind::launch_critical);
    REQUIRE(launched.size() == 1);
    CHECK(launched[0].request.number == 3);
    CHECK(launched[0].request.arrival_ns == 30 * kMs);
    CHECK(launched[0].request.launch_ns == 35 * kMs);
    CHECK(rig.snapshot().tasks[0].next_arrival_ns == 40 * kMs);
  }

  // A suspended process: more happens in one step than an ActionList holds.
  TEST_CASE("a dispatcher that slept through thousands of periods loses no action: launch, drops and entries") {
    SchedulerConfig config;
    config.tasks = {periodic(1 * kMs, 1 * kMs)};
    config.jobs = {block_job(kMs)};
    Rig rig(config);
    rig.start();
    rig.plan(3'600 * kSecond, {{0, 1, 0}}, 0);
    rig.done(0, 500 * kUs);
    rig.staged(0, 3, 600 * kUs);
    uint64_t dropped = 0, launched = 1, entries = rig.count(ActionKind::enqueue_entry);
    rig.staged(0, 100, 3'000 * kMs);
    for (int i = 0; i < 100; ++i) {
      dropped += rig.count(ActionKind::drop_request);
      launched += rig.count(ActionKind::launch_critical);
      entries += rig.count(ActionKind::enqueue_entry);
      if (rig.scheduler.next_wakeup_ns() > rig.now) break;
      rig.tick(rig.now);
    }
    CHECK(launched == 2);
    CHECK(entries == rig.snapshot().entries_ahead);
    CHECK(dropped == rig.snapshot().tasks[0].dropped);
    CHECK(rig.snapshot().tasks[0].requests == 3'001);
  }

  TEST_CASE("an API request arrives when it says, with the sensor's time") {
    SchedulerConfig config;
    config.tasks = {on_call(5 * kMs)};
    config.tasks[0].from = CALYPTE_FROM_SENSOR;
    Rig rig(config);
    rig.start();
    rig.arrive(0, 7 * kMs, 6 * kMs);
    const std::vector<Action> launched = rig.all(ActionKind::launch_critical);
    REQUIRE(launched.size() == 1);
    CHECK(launched[0].request.sensor_ns == 6 * kMs);
    CHECK(launched[0].request.deadline_ns == 11 * kMs);
  }

  TEST_CASE("a deadline from the sensor falls back to the arrival where the sensor's time is unknown") {
    SchedulerConfig config;
    config.tasks = {on_call(5 * kMs)};
    config.tasks[0].from = CALYPTE_FROM_SENSOR;
    Rig rig(config);
    rig.start();
    rig.arrive(0, 7 * kMs, 0);
    REQUIRE(rig.count(ActionKind::launch_critical) == 1);
    CHECK(rig.all(ActionKind::launch_critical)[0].request.deadline_ns == 12 * kMs);
  }

  TEST_CASE("a refused request takes a number and counts as dropped") {
    SchedulerConfig config;
    config.tasks = {on_call(5 * kMs)};
    Rig rig(config);
    rig.start();
    Event refused;
    refused.kind = EventKind::refused;
    refused.time_ns = 1 * kMs;
    rig.step(refused, 1 * kMs);
    REQUIRE(rig.count(ActionKind::drop_request) == 1);
    CHECK(rig.all(ActionKind::drop_request)[0].request.number == 0);
    rig.arrive(0, 2 * kMs);
    CHECK(rig.all(ActionKind::launch_critical)[0].request.number == 1);
    CHECK(rig.snapshot().tasks[0].requests == 2);
    CHECK(rig.snapshot().tasks[0].dropped == 1);
  }
}

TEST_SUITE("queues") {
  TEST_CASE("latest: a newer request replaces the one that waits") {
    SchedulerConfig config;
    config.tasks = {on_call(50 * kMs)};
    Rig rig(config);
    rig.start();
    rig.arrive(0, 1 * kMs);
    rig.arrive(0, 2 * kMs);
    CHECK(rig.count(ActionKind::drop_request) == 0);
    rig.arrive(0, 3 * kMs);
    REQUIRE(rig.count(ActionKind::drop_request) == 1);
    CHECK(rig.all(ActionKind::drop_request)[0].request.number == 1);
    rig.done(0, 4 * kMs);
    REQUIRE(rig.count(ActionKind::launch_critical) == 1);
    CHECK(rig.all(ActionKind::launch_critical)[0].request.number == 2);
    CHECK(rig.snapshot().tasks[0].dropped == 1);
    CHECK(rig.snapshot().tasks[0].in_flight == 1);
  }

  TEST_CASE("fifo:3 keeps the three oldest in order and drops what comes beyond them") {
    SchedulerConfig config;
    config.tasks = {on_call(500 * kMs)};
    config.tasks[0].queue = CALYPTE_QUEUE_FIFO;
    config.tasks[0].queue_depth = 3;
    Rig rig(config);
    rig.start();
    for (uint64_t n = 0; n < 6; ++n) {
      rig.arrive(0, (n + 1) * kMs);
      CHECK(rig.count(ActionKind::drop_request) == (n >= 4 ? 1 : 0));
    }
    CHECK(rig.snapshot().tasks[0].waiting == 3);
    for (uint64_t n = 1; n <= 3; ++n) {
      rig.done(0, (10 + n) * kMs);
      REQUIRE(rig.count(ActionKind::launch_critical) == 1);
      CHECK(rig.all(ActionKind::launch_critical)[0].request.number == n);
    }
    rig.done(0, 20 * kMs);
    CHECK(rig.count(ActionKind::launch_critical) == 0);
    CHECK(rig.snapshot().tasks[0].dropped == 2);
  }

  TEST_CASE("fifo:16, the deepest queue, wraps without losing a request") {
    SchedulerConfig config;
    config.tasks = {on_call(50'000 * kMs)};
    config.tasks[0].queue = CALYPTE_QUEUE_FIFO;
    config.tasks[0].queue_depth = 16;
    Rig rig(config);
    rig.start();
    uint64_t next = 0, t = 1;
    for (int round = 0; round < 50; ++round) {
      while (rig.snapshot().tasks[0].waiting < 16) rig.arrive(0, t++ * kMs);
      for (int i = 0; i < 11; ++i) {
        rig.done(0, t++ * kMs);
        REQUIRE(rig.count(ActionKind::launch_critical) == 1);
        CHECK(rig.all(ActionKind::launch_critical)[0].request.number == ++next);
      }
    }
    CHECK(rig.snapshot().tasks[0].dropped == 0);
  }

  TEST_CASE("the request with the earliest deadline goes first, and one at a time") {
    SchedulerConfig config;
    config.tasks = {on_call(100 * kMs), on_call(30 * kMs), on_call(60 * kMs), on_call(10 * kMs)};
    Rig rig(config);
    rig.start();
    rig.arrive(0, 1 * kMs);
    CHECK(rig.count(ActionKind::launch_critical) == 1);
    for (uint32_t task : {2u, 1u, 3u}) {
      rig.arrive(task, 2 * kMs);
      CHECK(rig.count(ActionKind::launch_critical) == 0);
    }
    uint32_t running = 0;
    uint64_t t = 3;
    for (uint32_t expected : {3u, 1u, 2u}) {
      rig.done(running, t++ * kMs);
      REQUIRE(rig.count(ActionKind::launch_critical) == 1);
      running = rig.all(ActionKind::launch_critical)[0].id;
      CHECK(running == expected);
    }
  }
}

TEST_SUITE("deadlines") {
  TEST_CASE("a completion at the deadline is on time, and one 1 ns after it is late, with an event that says by how much") {
    SchedulerConfig config;
    config.tasks = {on_call(5 * kMs)};
    Rig rig(config);
    rig.start();
    rig.arrive(0, 0);
    rig.done(0, 5 * kMs);
    REQUIRE(rig.count(ActionKind::complete_request) == 1);
    CHECK_FALSE(rig.all(ActionKind::complete_request)[0].late);
    CHECK(rig.reports(CALYPTE_EVENT_MISS).empty());
    rig.arrive(0, 10 * kMs);
    rig.done(0, 15 * kMs + 1);
    REQUIRE(rig.count(ActionKind::complete_request) == 1);
    CHECK(rig.all(ActionKind::complete_request)[0].late);
    CHECK(rig.all(ActionKind::complete_request)[0].done_ns == 15 * kMs + 1);
    REQUIRE(rig.reports(CALYPTE_EVENT_MISS).size() == 1);
    CHECK(rig.reports(CALYPTE_EVENT_MISS)[0].a == 1);
    CHECK(rig.reports(CALYPTE_EVENT_MISS)[0].b == 1);
    CHECK(rig.snapshot().tasks[0].on_time == 1);
    CHECK(rig.snapshot().tasks[0].late == 1);
  }

  TEST_CASE("publish-late runs a request whose deadline has passed; drop does not") {
    for (const uint32_t on_miss : {CALYPTE_ON_MISS_PUBLISH_LATE, CALYPTE_ON_MISS_DROP}) {
      SchedulerConfig config;
      config.tasks = {on_call(5 * kMs), on_call(500 * kMs)};
      config.tasks[0].on_miss = on_miss;
      Rig rig(config);
      rig.start();
      rig.arrive(1, 0);
      rig.arrive(0, 1 * kMs);
      rig.done(1, 20 * kMs);
      const bool drops = on_miss == CALYPTE_ON_MISS_DROP;
      CHECK(rig.count(ActionKind::launch_critical) == (drops ? 0 : 1));
      CHECK(rig.count(ActionKind::drop_request) == (drops ? 1 : 0));
      CHECK(rig.snapshot().tasks[0].dropped == (drops ? 1 : 0));
    }
  }

  TEST_CASE("a run of misses counts late, dropped and failed alike, and ends with a request on time") {
    SchedulerConfig config;
    config.tasks = {on_call(5 * kMs)};
    Rig rig(config);
    rig.start();
    rig.arrive(0, 0);
    rig.done(0, 6 * kMs);
    rig.arrive(0, 10 * kMs);
    rig.arrive(0, 11 * kMs);
    rig.arrive(0, 12 * kMs);  // drops request 2
    rig.done(0, 13 * kMs, EventKind::critical_failed);
    CHECK(rig.count(ActionKind::fail_request) == 1);
    CHECK(rig.snapshot().tasks[0].miss_run == 3);
    rig.done(0, 14 * kMs);
    CHECK(rig.snapshot().tasks[0].miss_run == 0);
    CHECK(rig.snapshot().tasks[0].longest_miss_run == 3);
    CHECK(rig.snapshot().tasks[0].failed == 1);
    CHECK(rig.snapshot().tasks[0].dropped == 1);
  }

  TEST_CASE("response runs from arrival, and busy time from launch, to completion") {
    SchedulerConfig config;
    config.tasks = {on_call(50 * kMs)};
    Rig rig(config);
    rig.start();
    rig.arrive(0, 0);
    rig.arrive(0, 1 * kMs);
    rig.done(0, 4 * kMs);
    rig.done(0, 6 * kMs);
    const calypte_task_stats &stats = rig.snapshot().tasks[0];
    CHECK(stats.response.min_ns == 4 * kMs);
    CHECK(stats.response.max_ns == 5 * kMs);
    CHECK(stats.busy_ns == 6 * kMs);
    CHECK(stats.worst_execution_ns == 4 * kMs);
    CHECK(rig.snapshot().critical_busy_ns == 6 * kMs);
  }

  TEST_CASE("a completion that nobody waits for changes nothing") {
    SchedulerConfig config;
    config.tasks = {on_call(50 * kMs), on_call(50 * kMs)};
    Rig rig(config);
    rig.start();
    rig.done(0, 1 * kMs);
    rig.arrive(1, 2 * kMs);
    rig.done(0, 3 * kMs);
    CHECK(rig.actions.size() == 0);
    CHECK(rig.snapshot().tasks[1].in_flight == 1);
  }
}

TEST_SUITE("faults") {
  TEST_CASE("the watchdog waits ten times the worst execution, at least half a second, then holds background") {
    SchedulerConfig config;
    config.tasks = {on_call(50 * kMs)};
    Rig rig(config);
    rig.start();
    rig.arrive(0, 0);
    rig.done(0, 100 * kMs);
    rig.arrive(0, 1'000 * kMs);
    CHECK(rig.scheduler.next_wakeup_ns() == 2'000 * kMs);
    rig.tick(1'999 * kMs);
    CHECK(rig.reports(CALYPTE_EVENT_WATCHDOG).empty());
    rig.tick(2'000 * kMs);
    REQUIRE(rig.reports(CALYPTE_EVENT_WATCHDOG).size() == 1);
    CHECK(rig.reports(CALYPTE_EVENT_WATCHDOG)[0].a == 1);
    CHECK((rig.scheduler.hold_bits() & CALYPTE_HOLD_FAULT) != 0);
    rig.tick(3'000 * kMs);
    CHECK(rig.reports(CALYPTE_EVENT_WATCHDOG).empty());
    CHECK(rig.scheduler.next_wakeup_ns() == kNever);
  }

  TEST_CASE("after a fault nothing is launched, critical or background") {
    SchedulerConfig config;
    config.tasks = {on_call(50 * kMs)};
    config.jobs = {block_job(1 * kMs)};
    Rig rig(config);
    rig.start();
    rig.plan(kSecond, {{0, 1, 0}}, 0);
    Event fault;
    fault.kind = EventKind::fault;
    rig.step(fault, 1 * kMs);
    CHECK(rig.all(ActionKind::set_hold).at(0).number == 1);
    rig.staged(0, 10, 2 * kMs);
    CHECK(rig.count(ActionKind::enqueue_entry) == 0);
    rig.arrive(0, 3 * kMs);
    CHECK(rig.count(ActionKind::launch_critical) == 0);
    rig.plan(kSecond, {{0, 1, 0}}, 4 * kMs);
    CHECK(rig.count(ActionKind::enqueue_entry) == 0);
    CHECK((rig.scheduler.hold_bits() & CALYPTE_HOLD_FAULT) != 0);
  }
}

TEST_CASE("no step allocates memory") {
  const uint64_t seed = 3;
  INFO("seed " << seed);
  calypte::sim::Rng rng(seed);
  SchedulerConfig config;
  config.tasks = {periodic(10 * kMs, 5 * kMs), on_call(3 * kMs), on_call(30 * kMs)};
  config.tasks[2].queue = CALYPTE_QUEUE_FIFO;
  config.tasks[2].queue_depth = 16;
  config.jobs = {block_job(1 * kMs), block_job(3 * kMs), whole_job(2 * kMs)};
  Scheduler scheduler(config);
  const auto actions = std::make_unique<ActionList>();
  scheduler.start(0, *actions);
  calypte_plan plan = plan_of(1, 20 * kMs, {{0, 1, 0}, {1, 5, 3}, {2, 1, 0}});
  uint64_t now_ns = 0, total = 0;
  const uint64_t before = allocations;
  for (int i = 0; i < 100'000; ++i) {
    now_ns += rng.up_to(500 * kUs);
    Event event;
    event.kind = static_cast<EventKind>(rng.up_to(static_cast<uint64_t>(EventKind::hold)));
    event.time_ns = now_ns;
    const bool of_job = event.kind >= EventKind::unit_ready && event.kind <= EventKind::job_sample;
    event.id = event.kind == EventKind::arrival || event.kind == EventKind::refused ? 1 + static_cast<uint32_t>(rng.up_to(1)) : static_cast<uint32_t>(rng.up_to(2));
    event.number = of_job ? static_cast<uint64_t>(i) : CALYPTE_HOLD_CALLER;
    event.on = rng.up_to(3) == 0;
    event.step_word = step_word_of(static_cast<uint64_t>(i), 0);
    event.busy_ns = static_cast<uint64_t>(i) * kMs;
    event.plan = &plan;
    actions->clear();
    scheduler.step(event, now_ns, *actions);
    total += actions->size();
  }
  CHECK(allocations == before);
  CHECK(total > 10'000);
}
