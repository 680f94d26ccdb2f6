// Does background run only when and as much as plan, lease and holds allow? Entries and whole steps: entries_test.cc.
#include <doctest/doctest.h>

#include "core/scheduler.h"
#include "scheduler_rig.h"

using namespace calypte::core;
using namespace calypte::test;

namespace {

SchedulerConfig jobs_of(std::vector<JobConfig> jobs) {
  SchedulerConfig config;
  config.jobs = std::move(jobs);
  return config;
}

// Runs until `units` units are complete; the share of GPU time of each job.
std::vector<double> shares_after(uint64_t units, std::vector<calypte_plan_entry> entries,
                                 std::vector<Stream::Job> jobs) {
  SchedulerConfig config;
  for (const Stream::Job &job : jobs) config.jobs.push_back(block_job(job.unit_ns));
  Rig rig(config);
  rig.start();
  Stream stream(rig, std::move(jobs));
  rig.plan(3'000 * kSecond, std::move(entries), 0);
  stream.carry_out();
  stream.stage_all();
  while (stream.units < units && stream.run_one()) continue;
  uint64_t sum_ns = 0;
  for (const Stream::Job &job : stream.jobs) sum_ns += job.busy_ns;
  std::vector<double> shares;
  for (const Stream::Job &job : stream.jobs)
    shares.push_back(static_cast<double>(job.busy_ns) / static_cast<double>(sum_ns));
  CHECK(stream.units >= units);
  return shares;
}

}  // namespace

TEST_SUITE("plan") {
  TEST_CASE("before a plan every job is paused, the hold word is set and nothing runs") {
    Rig rig(jobs_of({block_job(kMs), block_job(kMs)}));
    rig.start();
    REQUIRE(rig.count(ActionKind::set_hold) == 1);
    CHECK(rig.all(ActionKind::set_hold)[0].number != 0);
    REQUIRE(rig.count(ActionKind::pause) == 2);
    for (const Action &pause : rig.all(ActionKind::pause)) CHECK(pause.number == 1);
    rig.staged(0, 5, kMs);
    CHECK(rig.count(ActionKind::enqueue_entry) == 0);
    CHECK(rig.count(ActionKind::grant) == 0);
    CHECK(rig.snapshot().hold_bits == CALYPTE_HOLD_NO_PLAN);
  }

  TEST_CASE("a plan unpauses and grants the jobs that it names, clears the hold and pauses the others") {
    Rig rig(jobs_of({block_job(kMs), block_job(kMs)}));
    rig.start();
    rig.staged(0, 5, kMs);
    rig.plan(kSecond, {{0, 1, 0}}, 2 * kMs);
    REQUIRE(rig.count(ActionKind::pause) == 1);
    CHECK(rig.all(ActionKind::pause)[0].id == 0);
    CHECK(rig.all(ActionKind::pause)[0].number == 0);
    REQUIRE(rig.count(ActionKind::grant) == 1);
    CHECK(rig.all(ActionKind::grant)[0].number == 5);
    CHECK(rig.all(ActionKind::set_hold).at(0).number == 0);
    CHECK(rig.reports(CALYPTE_EVENT_PLAN).size() == 1);
    CHECK(rig.count(ActionKind::enqueue_entry) == kEntriesAheadTarget);
    rig.plan(kSecond, {{1, 1, 0}}, 3 * kMs);
    REQUIRE(rig.count(ActionKind::pause) == 2);
    CHECK(rig.all(ActionKind::pause)[0].number == 1);
    CHECK(rig.all(ActionKind::pause)[1].number == 0);
    CHECK(rig.reports(CALYPTE_EVENT_PLAN).empty());
  }

  TEST_CASE("max_units bounds what is granted under the plan, counted from the units completed when it came") {
    Rig rig(jobs_of({block_job(kMs)}));
    rig.start();
    Stream stream(rig, {{kMs, 100}});
    rig.plan(kSecond, {{0, 1, 3}}, 0);
    stream.carry_out();
    stream.stage_all();
    while (stream.run_one()) continue;
    CHECK(stream.jobs[0].completed == 3);
    rig.plan(kSecond, {{0, 1, 4}}, rig.now);
    stream.carry_out();
    while (stream.run_one()) continue;
    CHECK(stream.jobs[0].completed == 7);
  }

  TEST_CASE("units granted before still run under a plan with a smaller max_units, as granted only grows") {
    Rig rig(jobs_of({block_job(kMs)}));
    rig.start();
    Stream stream(rig, {{kMs, 10}});
    rig.plan(kSecond, {{0, 1, 0}}, 0);
    stream.carry_out();
    stream.stage_all();
    REQUIRE(stream.jobs[0].granted == 10);
    rig.plan(kSecond, {{0, 1, 1}}, rig.now);
    stream.carry_out();
    while (stream.run_one()) continue;
    CHECK(stream.jobs[0].completed == 10);
  }

  TEST_CASE("granted only grows, and never beyond what is staged") {
    Rig rig(jobs_of({block_job(kMs)}));
    rig.start();
    rig.plan(kSecond, {{0, 1, 0}}, 0);
    uint64_t granted = 0;
    for (uint64_t staged : {1u, 2u, 2u, 7u}) {
      rig.staged(0, staged, kMs);
      for (const Action &grant : rig.all(ActionKind::grant)) {
        CHECK(grant.number > granted);
        granted = grant.number;
      }
      CHECK(granted == staged);
    }
  }
}

TEST_SUITE("lease and holds") {
  TEST_CASE("when the lease ends background is held, and the next plan clears it") {
    Rig rig(jobs_of({block_job(kMs)}));
    rig.start();
    rig.staged(0, 100, 0);
    rig.plan(50 * kMs, {{0, 1, 0}}, 10 * kMs);
    CHECK(rig.scheduler.next_wakeup_ns() == 60 * kMs);
    rig.tick(60 * kMs - 1);
    CHECK(rig.count(ActionKind::set_hold) == 0);
    rig.tick(60 * kMs);
    REQUIRE(rig.count(ActionKind::set_hold) == 1);
    CHECK(rig.all(ActionKind::set_hold)[0].number == 1);
    REQUIRE(rig.reports(CALYPTE_EVENT_LEASE_EXPIRED).size() == 1);
    CHECK(rig.reports(CALYPTE_EVENT_LEASE_EXPIRED)[0].a == 1);
    CHECK(rig.snapshot().lease_expired == 1);
    CHECK(rig.snapshot().hold_bits == CALYPTE_HOLD_LEASE);
    rig.entry_done(0, step_word_of(1, 0), 61 * kMs);
    CHECK(rig.count(ActionKind::enqueue_entry) == 0);
    rig.tick(200 * kMs);
    CHECK(rig.actions.size() == 0);
    rig.plan(50 * kMs, {{0, 1, 0}}, 300 * kMs);
    CHECK(rig.all(ActionKind::set_hold).at(0).number == 0);
    CHECK(rig.reports(CALYPTE_EVENT_PLAN).size() == 1);
    CHECK(rig.count(ActionKind::enqueue_entry) >= 1);
    CHECK(rig.snapshot().hold_bits == 0);
  }

  TEST_CASE("a plan that comes in time renews the lease without a hold") {
    Rig rig(jobs_of({block_job(kMs)}));
    rig.start();
    rig.plan(50 * kMs, {{0, 1, 0}}, 0);
    for (uint64_t t = 40; t < 4'000; t += 40) {
      rig.plan(50 * kMs, {{0, 1, 0}}, t * kMs);
      CHECK(rig.count(ActionKind::set_hold) == 0);
    }
    CHECK(rig.snapshot().lease_expired == 0);
  }

  TEST_CASE("each writer's hold bit is its own: a plan does not lift the caller's hold, nor the caller the lease's") {
    Rig rig(jobs_of({block_job(kMs)}));
    rig.start();
    rig.staged(0, 100, 0);
    rig.plan(50 * kMs, {{0, 1, 0}}, 0);
    rig.hold(CALYPTE_HOLD_CALLER, true, 10 * kMs);
    CHECK(rig.all(ActionKind::set_hold).at(0).number == 1);
    rig.tick(50 * kMs);
    CHECK(rig.snapshot().hold_bits == (CALYPTE_HOLD_CALLER | CALYPTE_HOLD_LEASE));
    CHECK(rig.count(ActionKind::set_hold) == 0);
    rig.hold(CALYPTE_HOLD_CALLER, false, 60 * kMs);
    CHECK(rig.snapshot().hold_bits == CALYPTE_HOLD_LEASE);
    CHECK(rig.count(ActionKind::set_hold) == 0);
    CHECK(rig.count(ActionKind::enqueue_entry) == 0);
    rig.hold(CALYPTE_HOLD_SAFE_MODE, true, 70 * kMs);
    rig.plan(50 * kMs, {{0, 1, 0}}, 80 * kMs);
    CHECK(rig.snapshot().hold_bits == CALYPTE_HOLD_SAFE_MODE);
    CHECK(rig.count(ActionKind::enqueue_entry) == 0);
    rig.hold(CALYPTE_HOLD_SAFE_MODE, false, 90 * kMs);
    CHECK(rig.all(ActionKind::set_hold).at(0).number == 0);
    CHECK(rig.snapshot().safe_mode == 1);
  }

  TEST_CASE("setting a bit that is set changes nothing") {
    Rig rig(jobs_of({block_job(kMs)}));
    rig.start();
    rig.hold(CALYPTE_HOLD_SAFE_MODE, true, kMs);
    rig.hold(CALYPTE_HOLD_SAFE_MODE, true, 2 * kMs);
    CHECK(rig.actions.size() == 0);
    CHECK(rig.snapshot().safe_mode == 1);
  }
}

TEST_SUITE("shares") {
  TEST_CASE("over 10,000 units of equal length the shares are the weights, within 2 %") {
    const std::vector<double> shares =
        shares_after(10'000, {{0, 5, 0}, {1, 3, 0}, {2, 2, 0}}, {{200 * kUs, 100}, {200 * kUs, 100}, {200 * kUs, 100}});
    CHECK(shares[0] == doctest::Approx(0.5).epsilon(0.02));
    CHECK(shares[1] == doctest::Approx(0.3).epsilon(0.02));
    CHECK(shares[2] == doctest::Approx(0.2).epsilon(0.02));
  }

  TEST_CASE("a job whose units are preempted again and again pays for its time, not for its entries") {
    const std::vector<double> shares = shares_after(10'000, {{0, 1, 0}, {1, 1, 0}}, {{kMs, 100, 5}, {kMs, 100}});
    CHECK(shares[0] == doctest::Approx(0.5).epsilon(0.02));
  }

  TEST_CASE("shares are of GPU time, not of units") {
    const std::vector<double> shares =
        shares_after(10'000, {{0, 1, 0}, {1, 1, 0}}, {{100 * kUs, 100}, {1'700 * kUs, 100}});
    CHECK(shares[0] == doctest::Approx(0.5).epsilon(0.02));
  }

  TEST_CASE("shares are the weights also where only two units are staged ahead, as a GPU with two slots does") {
    const std::vector<double> shares = shares_after(10'000, {{0, 9, 0}, {1, 1, 0}}, {{200 * kUs, 2}, {200 * kUs, 2}});
    CHECK(shares[0] == doctest::Approx(0.9).epsilon(0.02));
  }

  TEST_CASE("a job that was away is not owed for its absence") {
    Rig rig(jobs_of({block_job(kMs), block_job(kMs)}));
    rig.start();
    Stream stream(rig, {{kMs, 100}, {kMs, 100}});
    rig.plan(3'000 * kSecond, {{0, 1, 0}}, 0);
    stream.carry_out();
    stream.stage_all();
    while (stream.units < 1'000) REQUIRE(stream.run_one());
    rig.plan(3'000 * kSecond, {{0, 1, 0}, {1, 1, 0}}, rig.now);
    stream.carry_out();
    const uint64_t before = stream.jobs[0].completed;
    while (stream.units < 1'200) REQUIRE(stream.run_one());
    CHECK(stream.jobs[0].completed - before == doctest::Approx(100).epsilon(0.1));
  }

  TEST_CASE("the estimate of a unit that was preempted again and again is the sum of its entries") {
    Rig rig(jobs_of({block_job(kMs)}));
    rig.start();
    rig.plan(3'000 * kSecond, {{0, 1, 0}}, 0);
    rig.staged(0, 1'000, 0);
    for (uint64_t n = 1; n <= 500; ++n) rig.entry_done(0, step_word_of(n / 10, 0), n * 11 * kMs, 10 * kMs);
    CHECK(rig.snapshot().jobs[0].unit_ns == doctest::Approx(100 * kMs).epsilon(0.01));
    CHECK(rig.snapshot().jobs[0].gpu_ns[CALYPTE_LEVEL_BLOCK] == 5'000 * kMs);
  }

  TEST_CASE("a wrong estimate does not bend the shares, as the measured time takes its place") {
    SchedulerConfig config = jobs_of({block_job(10 * kUs), block_job(20 * kMs)});
    Rig rig(config);
    rig.start();
    Stream stream(rig, {{kMs, 100}, {kMs, 100}});
    rig.plan(3'000 * kSecond, {{0, 1, 0}, {1, 1, 0}}, 0);
    stream.carry_out();
    stream.stage_all();
    while (stream.units < 2'000) REQUIRE(stream.run_one());
    CHECK(stream.jobs[0].completed == doctest::Approx(1'000).epsilon(0.05));
  }

  TEST_CASE("only the proportions of a plan's weights count, so that a plan in other numbers starves nobody") {
    Rig rig(jobs_of({block_job(kMs), block_job(kMs)}));
    rig.start();
    Stream stream(rig, {{kMs, 100}, {kMs, 100}});
    rig.plan(3'000 * kSecond, {{0, 2, 0}, {1, 1, 0}}, 0);
    stream.carry_out();
    stream.stage_all();
    while (stream.units < 300) REQUIRE(stream.run_one());
    rig.plan(3'000 * kSecond, {{0, 500'000, 0}, {1, 500'000, 0}}, rig.now);
    stream.carry_out();
    const uint64_t before[] = {stream.jobs[0].completed, stream.jobs[1].completed};
    while (stream.units < 500) REQUIRE(stream.run_one());
    CHECK(stream.jobs[0].completed - before[0] == doctest::Approx(100).epsilon(0.1));
    CHECK(stream.jobs[1].completed - before[1] == doctest::Approx(100).epsilon(0.1));
  }
}
