// When does the gate close ahead, stay closed between two requests, or not close at all until a deadline asks for it?
#include <doctest/doctest.h>

#include "scheduler_rig.h"

using namespace calypte::core;
using namespace calypte::test;

namespace {

TaskConfig anticipating(TaskConfig task) {
  task.anticipate = true;
  return task;
}

TaskConfig deferring(TaskConfig task, uint64_t worst_ns) {
  task.yield = CALYPTE_YIELD_WHEN_NEEDED;
  task.worst_ns = worst_ns;
  task.queue = CALYPTE_QUEUE_FIFO;
  task.queue_depth = 4;
  return task;
}

// One job with endless units, planned and queued.
SchedulerConfig beside(std::vector<TaskConfig> tasks, uint64_t unit_ns, uint64_t drain_ns = 0) {
  SchedulerConfig config;
  config.tasks = std::move(tasks);
  config.jobs = {block_job(unit_ns)};
  config.jobs[0].drain_ns = drain_ns;
  return config;
}

void begin(Rig &rig) {
  rig.start();
  rig.staged(0, 1'000, 0);
  rig.plan(3'000 * kSecond, {{0, 1, 0}}, 0);
}

// What was last written into a task's gate word in this step; -1: nothing.
int written(const Rig &rig, uint32_t task) {
  int value = -1;
  for (const Action &action : rig.all(ActionKind::task_gate)) {
    if (action.id == task) value = static_cast<int>(action.number);
  }
  return value;
}

int soft(const Rig &rig) {
  const auto all = rig.all(ActionKind::soft_gate);
  return all.empty() ? -1 : static_cast<int>(all.back().number);
}

}  // namespace

TEST_SUITE("ahead of requests") {
  TEST_CASE("what may cost a change of contexts is worth up to a tenth of the time, and no more") {
    for (const auto &[drain_ns, stays] : {std::pair{500 * kUs, true}, std::pair{600 * kUs, false}}) {
      SchedulerConfig config =
          beside({anticipating(periodic(stays ? 10 * kMs : 7 * kMs, 5 * kMs))}, 50 * kMs, drain_ns);
      config.jobs[0].isolated = true;
      config.jobs[0].kill_after_ns = kSecond;
      Rig rig(config);
      rig.start();
      Event joined;
      joined.kind = EventKind::worker_joined;
      rig.step(joined, 0);
      rig.staged(0, 1'000'000, 0);
      rig.plan(3'000 * kSecond, {{0, 1, 0}}, 0);
      bool off = false;
      while (rig.now < 20 * kSecond) {
        if (rig.scheduler.critical_in_flight()) rig.done(0, rig.now + 150 * kUs);
        rig.tick(rig.scheduler.next_wakeup_ns());
        for (const Action &report : rig.reports(CALYPTE_EVENT_ANTICIPATION)) off |= report.a == 0;
      }
      CHECK(off != stays);
      if (stays) CHECK(rig.snapshot().tasks[0].margin_ns == drain_ns + 250 * kUs);
    }
  }

  TEST_CASE("the gate closes one margin ahead of a periodic request, which then finds it closed") {
    Rig rig(beside({anticipating(periodic(10 * kMs, 5 * kMs))}, 50 * kMs, 40 * kUs));
    begin(rig);
    rig.done(0, 100 * kUs);                         // the request at 0
    const uint64_t close_ns = 10 * kMs - 43 * kUs;  // drain and the write of the word
    CHECK(rig.scheduler.next_wakeup_ns() == close_ns);
    rig.tick(close_ns - 1);
    CHECK(written(rig, 0) == -1);
    rig.tick(close_ns);
    CHECK(written(rig, 0) == 1);
    rig.tick(10 * kMs);
    CHECK(rig.count(ActionKind::launch_critical) == 1);
    CHECK(written(rig, 0) == -1);  // the launch opens it
    CHECK(rig.snapshot().tasks[0].anticipated == 1);
    CHECK(rig.snapshot().tasks[0].ahead_ns == 43 * kUs);
  }

  TEST_CASE("the margin follows the drains that are seen, within its bounds") {
    for (const uint64_t drain_ns : {1 * kUs, 90 * kUs, 5 * kMs}) {
      Rig rig(beside({anticipating(periodic(10 * kMs, 5 * kMs))}, 50 * kMs, 40 * kUs));
      begin(rig);
      rig.done(0, 100 * kUs);
      for (uint64_t i = 1; i <= 60; ++i) {
        rig.tick(i * 10 * kMs - 400 * kUs);
        rig.tick(rig.scheduler.next_wakeup_ns());  // closes
        if (written(rig, 0) == 1) rig.entry_done(0, 0, rig.now + drain_ns);
        rig.tick(std::max(rig.now, i * 10 * kMs));
        rig.done(0, rig.now + 100 * kUs);
      }
      const uint64_t margin_ns = rig.snapshot().tasks[0].margin_ns;
      CHECK(margin_ns >= std::max(8 * kUs, std::min(drain_ns, 400 * kUs)));
      CHECK(margin_ns <= std::max(8 * kUs, std::min(drain_ns + drain_ns / 8 + 3 * kUs, 400 * kUs)));
    }
  }

  TEST_CASE("without background there is nobody to drive away, and the gate stays as it is") {
    Rig rig(beside({anticipating(periodic(10 * kMs, 5 * kMs))}, 50 * kMs));
    rig.start();
    rig.done(0, 100 * kUs);
    rig.tick(10 * kMs - 1);
    CHECK(written(rig, 0) == -1);
    CHECK(rig.scheduler.next_wakeup_ns() == 10 * kMs);
  }

  TEST_CASE("a window that passed while a request ran is past: until the next request hardly anything wakes up") {
    Rig rig(beside({anticipating(on_call(50 * kMs))}, 50 * kMs, 40 * kUs));
    begin(rig);
    uint64_t at_ns = kMs;
    for (int i = 0; i < 40; ++i, at_ns += 4 * kMs) {
      while (rig.scheduler.next_wakeup_ns() < at_ns) rig.tick(rig.scheduler.next_wakeup_ns());
      rig.arrive(0, at_ns);
      rig.done(0, at_ns + (i < 39 ? 100 * kUs : 9 * kMs));
    }
    uint64_t wakeups = 0;
    for (; rig.scheduler.next_wakeup_ns() < at_ns + kSecond && wakeups < 1'000; ++wakeups)
      rig.tick(rig.scheduler.next_wakeup_ns());
    CHECK(wakeups <= 8);
  }

  TEST_CASE("a sensor of somebody else's is learned, and a guess that fails opens the gate again") {
    Rig rig(beside({anticipating(on_call(5 * kMs))}, 50 * kMs, 40 * kUs));
    begin(rig);
    uint64_t at_ns = kMs;
    for (int i = 0; i < 20; ++i, at_ns += 4 * kMs) {
      while (rig.scheduler.next_wakeup_ns() < at_ns) rig.tick(rig.scheduler.next_wakeup_ns());
      rig.arrive(0, at_ns);
      rig.done(0, at_ns + 100 * kUs);
    }
    CHECK(rig.snapshot().tasks[0].period_ns == 4 * kMs);
    CHECK(rig.snapshot().tasks[0].anticipated >= 10);
    const uint64_t close_ns = rig.scheduler.next_wakeup_ns();
    CHECK(close_ns < at_ns);
    CHECK(close_ns > at_ns - 100 * kUs);
    rig.tick(close_ns);
    REQUIRE(written(rig, 0) == 1);
    rig.tick(rig.scheduler.next_wakeup_ns());  // nobody came
    CHECK(rig.now > at_ns);
    CHECK(rig.now < at_ns + 100 * kUs);
    CHECK(written(rig, 0) == 0);
    CHECK(rig.snapshot().tasks[0].wrong_guesses == 1);
  }
}

TEST_SUITE("between requests") {
  TEST_CASE("while one request runs and another waits, the gate of the one that waits is closed too") {
    Rig rig(beside({on_call(5 * kMs), on_call(9 * kMs)}, 50 * kMs));
    begin(rig);
    rig.arrive(0, kMs);
    rig.arrive(1, kMs + 10);
    CHECK(written(rig, 1) == 1);
    rig.done(0, 2 * kMs);
    REQUIRE(rig.count(ActionKind::launch_critical) == 1);
    CHECK(rig.all(ActionKind::launch_critical)[0].id == 1);
    CHECK(written(rig, 1) == -1);
  }

  TEST_CASE("a request that is dropped while it waits leaves no gate closed behind it") {
    SchedulerConfig config = beside({on_call(5 * kMs), on_call(6 * kMs)}, 50 * kMs);
    config.tasks[1].on_miss = CALYPTE_ON_MISS_DROP;
    Rig rig(config);
    begin(rig);
    rig.arrive(0, kMs);
    rig.arrive(1, kMs + 10);
    CHECK(written(rig, 1) == 1);
    rig.done(0, 10 * kMs);  // the other's deadline has passed
    CHECK(rig.count(ActionKind::drop_request) == 1);
    CHECK(written(rig, 1) == 0);
  }
}

TEST_SUITE("when needed") {
  TEST_CASE("a request lets an entry come to its end that ends in time, and keeps the next one from beginning") {
    Rig rig(beside({deferring(on_call(8 * kMs), 500 * kUs)}, 2 * kMs));
    begin(rig);
    rig.arrive(0, kMs);
    CHECK(rig.count(ActionKind::launch_critical) == 0);
    CHECK(soft(rig) == 1);
    CHECK(rig.scheduler.critical_deferred());
    rig.entry_done(0, step_word_of(1, 0), 2 * kMs, 2 * kMs);
    CHECK(rig.count(ActionKind::launch_critical) == 1);
    CHECK(soft(rig) == -1);  // not before the launch has closed the gate
    rig.tick(rig.scheduler.next_wakeup_ns());
    CHECK(soft(rig) == 0);
    CHECK(rig.now < 2 * kMs + 100 * kUs);
    rig.done(0, 3 * kMs);
    CHECK(rig.snapshot().tasks[0].deferred == 1);
    CHECK(rig.snapshot().tasks[0].deferred_ns == kMs);
    CHECK(rig.snapshot().tasks[0].on_time == 1);
  }

  TEST_CASE("an entry that takes longer than it was thought to is driven out in time for the deadline") {
    Rig rig(beside({deferring(on_call(8 * kMs), 500 * kUs)}, 2 * kMs));
    begin(rig);
    rig.arrive(0, kMs);
    REQUIRE(soft(rig) == 1);
    const uint64_t latest_ns = rig.scheduler.next_wakeup_ns();
    CHECK(latest_ns < 9 * kMs - 500 * kUs);
    CHECK(latest_ns > 9 * kMs - kMs);
    rig.tick(latest_ns);
    CHECK(rig.count(ActionKind::launch_critical) == 1);
  }

  TEST_CASE("how long an entry takes is learned from those that ran undisturbed from their start") {
    for (const bool disturbed : {false, true}) {
      Rig rig(beside({deferring(on_call(8 * kMs), 500 * kUs)}, 2 * kMs));
      begin(rig);
      for (uint64_t unit = 1; unit <= 30; ++unit) {
        if (disturbed) {
          rig.hold(CALYPTE_HOLD_CALLER, true, rig.now + kMs);
          rig.entry_done(0, step_word_of(unit - 1, 0), rig.now + 10, kMs);
          rig.hold(CALYPTE_HOLD_CALLER, false, rig.now + 10);
        }
        rig.entry_done(0, step_word_of(unit, 0), rig.now + 20 * kMs, 20 * kMs);
      }
      rig.arrive(0, rig.now + kMs);
      CHECK((rig.count(ActionKind::launch_critical) == 1) == !disturbed);  // 20 ms would be too long
    }
  }

  TEST_CASE("a request that could not wait for the entry's end is launched at once") {
    Rig rig(beside({deferring(on_call(8 * kMs), 500 * kUs)}, 50 * kMs));
    begin(rig);
    rig.arrive(0, kMs);
    CHECK(rig.count(ActionKind::launch_critical) == 1);
    CHECK(soft(rig) == -1);
  }

  TEST_CASE(
      "where the next arrival would push a request out, it starts before that; if that may be at any time, at once") {
    TaskConfig latest = deferring(periodic(4 * kMs, 9 * kMs), 500 * kUs);
    latest.queue = CALYPTE_QUEUE_LATEST;
    latest.queue_depth = 1;
    Rig rig(beside({latest}, 3 * kMs));
    begin(rig);
    rig.done(0, kMs);
    rig.tick(4 * kMs);
    REQUIRE(soft(rig) == 1);
    CHECK(rig.scheduler.next_wakeup_ns() < 8 * kMs);
    rig.tick(rig.scheduler.next_wakeup_ns());
    CHECK(rig.count(ActionKind::launch_critical) == 1);
    CHECK(rig.snapshot().tasks[0].dropped == 0);

    latest.source = CALYPTE_SOURCE_API;
    Rig any_time(beside({latest}, 2 * kMs));
    begin(any_time);
    any_time.arrive(0, kMs);
    CHECK(any_time.count(ActionKind::launch_critical) == 1);
  }

  TEST_CASE("what is expected of other tasks before the deadline is allowed for") {
    // A request of 3 ms is due at 5 ms: the one that waits must be done by then, or start after it.
    SchedulerConfig config = beside({deferring(on_call(8 * kMs), 2 * kMs), periodic(kSecond, 10 * kMs)}, 3 * kMs);
    config.tasks[1].phase_ns = 5 * kMs;
    config.tasks[1].worst_ns = 3 * kMs;
    Rig rig(config);
    begin(rig);
    rig.arrive(0, kMs);
    REQUIRE(soft(rig) == 1);
    CHECK(rig.scheduler.next_wakeup_ns() < 9 * kMs - 2 * kMs - 3 * kMs);
  }

  TEST_CASE(
      "beside a task whose requests may come at any time, and beside a request that is to be served at once, nobody "
      "waits") {
    Rig unknown(beside({deferring(on_call(8 * kMs), 500 * kUs), on_call(5 * kMs)}, 2 * kMs));
    begin(unknown);
    unknown.arrive(0, kMs);
    CHECK(unknown.count(ActionKind::launch_critical) == 1);

    Rig at_once(beside({deferring(periodic(20 * kMs, 3 * kMs), 500 * kUs), periodic(20 * kMs, 9 * kMs)}, 2 * kMs));
    begin(at_once);
    at_once.done(0, kMs);
    at_once.done(1, 2 * kMs);
    at_once.tick(20 * kMs);
    CHECK(at_once.count(ActionKind::launch_critical) == 1);
  }

  TEST_CASE("with background held a request does not wait") {
    Rig rig(beside({deferring(on_call(8 * kMs), 500 * kUs)}, 2 * kMs));
    begin(rig);
    rig.arrive(0, kMs);
    REQUIRE(soft(rig) == 1);
    rig.hold(CALYPTE_HOLD_SAFE_MODE, true, kMs + 10);
    CHECK(rig.count(ActionKind::launch_critical) == 1);
  }
}

TEST_SUITE("whole kernels behind a closed gate") {
  TEST_CASE(
      "one that was queued in a window does not begin by itself when the gate opens, but in the next window that holds "
      "it") {
    SchedulerConfig config;
    config.tasks = {periodic(10 * kMs, 5 * kMs)};
    config.tasks[0].phase_ns = 10 * kMs;
    config.jobs = {whole_job(3 * kMs)};
    Rig rig(config);
    rig.start();
    rig.staged(0, 9, 0);
    rig.plan(kSecond, {{0, 1, 0}}, 0);
    REQUIRE(rig.count(ActionKind::launch_whole) == 2);
    // Held while the first one runs: the second one stays in the stream.
    rig.hold(CALYPTE_HOLD_CALLER, true, kMs);
    CHECK(soft(rig) == 1);
    rig.entry_done(0, step_word_of(1, 0), 3 * kMs, 3 * kMs);
    rig.hold(CALYPTE_HOLD_CALLER, false, 8 * kMs);  // 2 ms to the next request
    CHECK(soft(rig) == -1);
    rig.tick(10 * kMs);
    REQUIRE(rig.count(ActionKind::launch_critical) == 1);
    CHECK(soft(rig) == -1);
    rig.done(0, 11 * kMs);
    CHECK(soft(rig) == 0);
    rig.entry_done(0, step_word_of(2, 0), 14 * kMs, 3 * kMs);
    CHECK(rig.snapshot().jobs[0].units == 2);
  }
}

TEST_SUITE("shares of time") {
  void plan_with_duty(Rig & rig, uint32_t permille, uint64_t now_ns) {
    calypte_plan plan = plan_of(++rig.plan_id, 3'000 * kSecond, {{0, 1, 0}});
    plan.duty_permille = permille;
    Event event;
    event.kind = EventKind::plan;
    event.plan = &plan;
    rig.step(event, now_ns);
  }

  TEST_CASE("under a duty background is open for that part of every 50 ms, and renewed plans do not shift it") {
    Rig rig(beside({}, kMs));
    rig.start();
    rig.staged(0, 1'000, 0);
    plan_with_duty(rig, 300, 0);
    uint64_t open_ns = 0, last_ns = 0, renew_ns = 7 * kMs;
    while (rig.now < 10 * kSecond) {
      const bool open = rig.scheduler.hold_bits() == 0;
      const uint64_t next_ns = rig.scheduler.next_wakeup_ns();
      REQUIRE(next_ns > rig.now);
      if (renew_ns < next_ns) {
        plan_with_duty(rig, 300, renew_ns);
        renew_ns += 7 * kMs;
      } else {
        rig.tick(next_ns);
      }
      if (open) open_ns += rig.now - last_ns;
      last_ns = rig.now;
    }
    CHECK(open_ns >= 2'990 * kMs);
    CHECK(open_ns <= 3'010 * kMs);
    CHECK(rig.reports(CALYPTE_EVENT_HOLD).empty());
  }

  TEST_CASE("a plan without a duty ends the one before") {
    Rig rig(beside({}, kMs));
    rig.start();
    plan_with_duty(rig, 100, 20 * kMs);
    CHECK(rig.scheduler.hold_bits() == CALYPTE_HOLD_DUTY);
    plan_with_duty(rig, 0, 21 * kMs);
    CHECK(rig.scheduler.hold_bits() == 0);
    plan_with_duty(rig, 1000, 22 * kMs);
    CHECK(rig.scheduler.hold_bits() == 0);
  }
}

TEST_SUITE("clocks") {
  TEST_CASE("durations are forgotten when the clocks change, and known again when they come back") {
    Rig rig(beside({on_call(50 * kMs)}, kMs));
    begin(rig);
    const auto run = [&](uint64_t execution_ns) {
      for (int i = 0; i < 50; ++i) {
        rig.arrive(0, rig.now + 10 * kMs);
        rig.done(0, rig.now + execution_ns);
      }
      return rig.snapshot().tasks[0].execution_p50_ns;
    };
    const auto clocks = [&](uint64_t key) {
      Event event;
      event.kind = EventKind::clocks;
      event.number = key;
      rig.step(event, rig.now + 1);
      return rig.snapshot().tasks[0].execution_p50_ns;
    };
    CHECK(run(2 * kMs) / (100 * kUs) == 20);
    CHECK(clocks(7) == 0);
    CHECK(run(4 * kMs) >= 4 * kMs);
    CHECK(clocks(0) / (100 * kUs) == 20);
    CHECK(rig.snapshot().clock_key == 0);
    CHECK(clocks(7) >= 4 * kMs);
    for (uint64_t key = 8; key < 12; ++key) CHECK(clocks(key) == 0);
    CHECK(clocks(0) == 0);  // four are remembered
  }
}
