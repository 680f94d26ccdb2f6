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
