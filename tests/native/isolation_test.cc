// When is a process that holds the GPU killed, and when is it not its fault?
#include <doctest/doctest.h>

#include "scheduler_rig.h"

using namespace calypte::core;
using namespace calypte::test;

namespace {

constexpr uint64_t kKillAfterNs = 50 * kMs, kUnitNs = 1 * kMs;

// A job in another process is at work since 1 ms, and the gate closes on it for a request at 10 ms.
struct Closed {
  Rig rig;

  Closed() : rig(config()) {
    rig.start();
    Event joined;
    joined.kind = EventKind::worker_joined;
    rig.step(joined, 0);
    rig.staged(0, 1'000'000, 0);
    rig.plan(3'000 * kSecond, {{0, 1, 0}}, 1 * kMs);
    REQUIRE(rig.count(ActionKind::enqueue_entry) == 2);
    rig.arrive(0, kClosedNs);
    REQUIRE(rig.count(ActionKind::launch_critical) == 1);
  }

  static constexpr uint64_t kClosedNs = 10 * kMs;

  static SchedulerConfig config() {
    SchedulerConfig config;
    config.tasks = {on_call(kSecond)};
    config.jobs = {block_job(kUnitNs)};
    config.jobs[0].isolated = true;
    config.jobs[0].kill_after_ns = kKillAfterNs;
    config.jobs[0].units_per_entry = 1;
    return config;
  }

  // Time goes on in steps of a millisecond; but for the stand-still, whose end the scheduler is told.
  uint64_t killed_at(uint64_t still_from_ns, uint64_t still_until_ns, uint64_t every_ns = kNever) {
    for (uint64_t now_ns = kClosedNs; now_ns < 10 * kSecond; now_ns += kMs) {
      const uint64_t of_period = every_ns == kNever ? now_ns : now_ns % every_ns;
      if (of_period > still_from_ns && of_period < still_until_ns) continue;
      if (of_period == still_until_ns) rig.scheduler.stood_still(now_ns);
      rig.tick(now_ns);
      if (rig.count(ActionKind::kill_worker) > 0) return now_ns;
    }
    return kNever;
  }
};

}  // namespace

TEST_SUITE("a job's process that holds the GPU") {
  TEST_CASE("is killed when what it has there did not leave within its bound") {
    const uint64_t killed_ns = Closed().killed_at(kNever, kNever);
    CHECK(killed_ns >= Closed::kClosedNs + kKillAfterNs);
    CHECK(killed_ns <= Closed::kClosedNs + kKillAfterNs + 5 * kUnitNs);
  }

  TEST_CASE("has its whole bound behind a stand-still of the machine, during which it could not leave either") {
    const uint64_t usual_ns = Closed().killed_at(kNever, kNever);
    // Of 200 ms, beginning 20 ms after the gate was closed.
    const uint64_t killed_ns = Closed().killed_at(30 * kMs, 230 * kMs);
    CHECK(killed_ns == usual_ns - Closed::kClosedNs + 230 * kMs);
    // One that lies behind it is no excuse.
    Closed closed;
    closed.rig.scheduler.stood_still(5 * kMs);
    CHECK(closed.killed_at(kNever, kNever) == usual_ns);
  }

  TEST_CASE("is killed in the end on a machine that stands still again and again") {
    const uint64_t usual_ns = Closed().killed_at(kNever, kNever);
    const uint64_t killed_ns = Closed().killed_at(10 * kMs, 20 * kMs, 30 * kMs);
    CHECK(killed_ns > usual_ns);
    CHECK(killed_ns <= usual_ns + kSecond + 30 * kMs);
  }

  TEST_CASE("is not killed if it leaves") {
    Closed closed;
    for (const uint64_t left_ns : {30 * kUs, 40 * kUs}) closed.rig.entry_done(0, 0, Closed::kClosedNs + left_ns);
    CHECK(closed.killed_at(kNever, kNever) == kNever);
  }
}

TEST_SUITE("the context of a job's process") {
  constexpr uint64_t kDrainNs = 20 * kUs;
  constexpr uint64_t kCloseNs = 20 * kMs - kDrainNs - 250 * kUs;

  // Two entries are queued, the request at 10 ms is done, and the gate closes ahead of the one at 20 ms.
  struct Expecting {
    Rig rig;

    explicit Expecting(uint64_t units) : rig(config()) {
      rig.start();
      Event joined;
      joined.kind = EventKind::worker_joined;
      rig.step(joined, 0);
      rig.staged(0, units, 0);
      rig.plan(3'000 * kSecond, {{0, 1, 0}}, 0);
      for (const uint64_t request_ns : {uint64_t{0}, 10 * kMs}) {
        while (!rig.scheduler.critical_in_flight()) rig.tick(rig.scheduler.next_wakeup_ns());
        rig.done(0, request_ns + 150 * kUs);
      }
    }

    static SchedulerConfig config() {
      SchedulerConfig config = Closed::config();
      config.tasks = {periodic(10 * kMs, 5 * kMs)};
      config.tasks[0].anticipate = true;
      config.jobs[0].drain_ns = kDrainNs;
      return config;
    }
  };

  TEST_CASE("makes way when its last entry has come back, and not while one runs through behind the closed gate") {
    Expecting scene(1'000'000);
    Rig &rig = scene.rig;
    const uint64_t queued = rig.snapshot().jobs[0].outstanding;
    REQUIRE(queued > 0);
    rig.tick(kCloseNs);
    CHECK(rig.count(ActionKind::task_gate) == 1);
    CHECK(rig.count(ActionKind::wake) == 0);
    for (uint64_t i = 1; i <= queued; ++i) {
      rig.entry_done(0, 0, kCloseNs + i * 10 * kUs, kUnitNs);
      CHECK(rig.count(ActionKind::wake) == (i == queued ? 1 : 0));
    }
  }

  TEST_CASE("makes way at once where nothing of it is queued, as the GPU may still be there") {
    Expecting scene(2);
    Rig &rig = scene.rig;
    for (uint64_t unit = 1; unit <= 2; ++unit) rig.entry_done(0, step_word_of(unit, 0), rig.now + kUnitNs, kUnitNs);
    REQUIRE(rig.snapshot().jobs[0].outstanding == 0);
    rig.tick(kCloseNs);
    CHECK(rig.count(ActionKind::wake) == 1);
  }
}
