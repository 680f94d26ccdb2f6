// When does background stay away because critical work goes wrong, and when does it come back?
#include <doctest/doctest.h>

#include "scheduler_rig.h"

using namespace calypte;
using namespace calypte::core;
using namespace calypte::test;

namespace {

calypte_safe_mode rule_of(uint32_t misses, uint64_t window_ns, uint64_t clear_after_ns, uint32_t stale_leases = 0) {
  calypte_safe_mode rule{};
  rule.abi_version = CALYPTE_ABI_VERSION;
  rule.size_bytes = sizeof rule;
  rule.misses = misses;
  rule.stale_leases = stale_leases;
  rule.window_ns = window_ns;
  rule.clear_after_ns = clear_after_ns;
  return rule;
}

// One task that is asked by the test, and one job with a plan for as long as the test takes.
struct Scene {
  Rig rig;

  explicit Scene(const calypte_safe_mode &rule) : rig(config()) {
    set(rule, 0);
    rig.start();
    rig.plan(1'000 * kSecond, {{0, 1, 0}}, 0);
    rig.staged(0, 1'000, 0);
  }
  static SchedulerConfig config() {
    SchedulerConfig config;
    config.tasks = {on_call(kMs)};
    config.jobs = {block_job(kMs)};
    return config;
  }
  void set(const calypte_safe_mode &rule, uint64_t now_ns) {
    Event event;
    event.kind = EventKind::safe_mode;
    event.safe_mode = &rule;
    rig.step(event, now_ns);
  }
  // A request that ends `late_ns` behind its deadline, at `now_ns`.
  void miss(uint64_t now_ns, EventKind how = EventKind::critical_done) {
    rig.arrive(0, now_ns - 2 * kMs);
    rig.done(0, now_ns, how);
  }
  void meet(uint64_t now_ns) {
    rig.arrive(0, now_ns - 100 * kUs);
    rig.done(0, now_ns);
  }
  bool holds() { return (rig.snapshot().hold_bits & CALYPTE_HOLD_SAFE_MODE) != 0; }
  uint32_t reasons() { return rig.snapshot().safe_mode_reasons; }
};

}  // namespace

TEST_SUITE("safe mode") {
  TEST_CASE("the last of N misses within the window enters it, in the same step, and says so") {
    Scene scene(rule_of(3, 10 * kSecond, 5 * kSecond));
    scene.miss(kSecond);
    scene.miss(2 * kSecond);
    CHECK_FALSE(scene.holds());
    CHECK(scene.rig.snapshot().safe_mode_misses == 2);
    scene.miss(3 * kSecond);
    REQUIRE(scene.rig.count(ActionKind::set_hold) == 1);
    CHECK(scene.rig.all(ActionKind::set_hold)[0].number == 1);
    CHECK(scene.rig.count(ActionKind::enqueue_entry) == 0);
    const auto reports = scene.rig.reports(CALYPTE_EVENT_SAFE_MODE);
    REQUIRE(reports.size() == 1);
    CHECK(reports[0].a == CALYPTE_SAFE_MISSES);
    CHECK(reports[0].b == 3);
    const calypte_snapshot &snapshot = scene.rig.snapshot();
    CHECK(snapshot.safe_mode == 1);
    CHECK(snapshot.safe_mode_since_ns == 3 * kSecond);
    CHECK(snapshot.safe_mode_until_ns == 8 * kSecond);
  }

  TEST_CASE("misses that lie further apart than the window do not enter it") {
    Scene scene(rule_of(3, 10 * kSecond, 5 * kSecond));
    for (uint64_t at_s = 10; at_s < 100; at_s += 6) scene.miss(at_s * kSecond);
    CHECK(scene.rig.snapshot().tasks[0].late == 15);
    CHECK_FALSE(scene.holds());
  }

  TEST_CASE("late, failed and dropped requests are misses, and those in time are not") {
    Scene scene(rule_of(3, 10 * kSecond, 5 * kSecond));
    scene.miss(kSecond);
    scene.miss(2 * kSecond, EventKind::critical_failed);
    for (int i = 0; i < 10; ++i) scene.meet(2 * kSecond + (1 + i) * kMs);
    CHECK_FALSE(scene.holds());
    scene.rig.arrive(0, 3 * kSecond);
    scene.rig.arrive(0, 3 * kSecond + 1);
    scene.rig.arrive(0, 3 * kSecond + 2);  // replaces the one that waits
    CHECK(scene.rig.snapshot().tasks[0].dropped == 1);
    CHECK(scene.holds());
  }

  TEST_CASE("it is left by itself when no miss came for long enough, and asks to be woken then") {
    Scene scene(rule_of(1, kSecond, 5 * kSecond));
    scene.miss(kSecond);
    scene.miss(3 * kSecond);
    CHECK(scene.rig.snapshot().safe_mode_until_ns == 8 * kSecond);
    CHECK(scene.rig.scheduler.next_wakeup_ns() == 8 * kSecond);
    scene.rig.tick(8 * kSecond - 1);
    CHECK(scene.holds());
    CHECK(scene.rig.snapshot().safe_mode_ns == 7 * kSecond - 1);
    scene.rig.tick(8 * kSecond);
    CHECK_FALSE(scene.holds());
    const auto reports = scene.rig.reports(CALYPTE_EVENT_SAFE_MODE);
    REQUIRE(reports.size() == 1);
    CHECK(reports[0].a == 0);
    CHECK(scene.rig.count(ActionKind::enqueue_entry) + scene.rig.snapshot().entries_ahead > 0);
    CHECK(scene.rig.snapshot().safe_mode_since_ns == 0);
    CHECK(scene.rig.snapshot().safe_mode_ns == 7 * kSecond);
    CHECK(scene.rig.snapshot().safe_mode_until_ns == 0);
  }

  TEST_CASE("the caller's reason and that of the misses end apart") {
    Scene scene(rule_of(1, kSecond, 5 * kSecond));
    scene.rig.hold(CALYPTE_HOLD_SAFE_MODE, true, kSecond);
    CHECK(scene.reasons() == CALYPTE_SAFE_CALLER);
    CHECK(scene.rig.snapshot().safe_mode_until_ns == 0);
    scene.miss(2 * kSecond);
    CHECK(scene.reasons() == (CALYPTE_SAFE_CALLER | CALYPTE_SAFE_MISSES));
    SUBCASE("the misses first") {
      scene.rig.tick(7 * kSecond);
      CHECK(scene.reasons() == CALYPTE_SAFE_CALLER);
      CHECK(scene.holds());
      scene.rig.hold(CALYPTE_HOLD_SAFE_MODE, false, 8 * kSecond);
      CHECK_FALSE(scene.holds());
    }
    SUBCASE("the caller first") {
      scene.rig.hold(CALYPTE_HOLD_SAFE_MODE, false, 3 * kSecond);
      CHECK(scene.reasons() == CALYPTE_SAFE_MISSES);
      CHECK(scene.holds());
      scene.rig.tick(7 * kSecond);
      CHECK_FALSE(scene.holds());
    }
    CHECK(scene.rig.snapshot().safe_mode == 1);
  }

  TEST_CASE("a planner whose leases end enters it, and a plan alone does not end it at once") {
    Scene scene(rule_of(0, 10 * kSecond, 5 * kSecond, 2));
    scene.rig.plan(kSecond, {{0, 1, 0}}, 0);
    scene.rig.tick(kSecond);
    CHECK(scene.reasons() == 0);
    scene.rig.plan(kSecond, {{0, 1, 0}}, 2 * kSecond);
    scene.rig.tick(3 * kSecond);
    CHECK(scene.reasons() == CALYPTE_SAFE_PLANNER);
    scene.rig.tick(60 * kSecond);
    CHECK(scene.reasons() == CALYPTE_SAFE_PLANNER);  // it is silent still
    SUBCASE("back after long") {
      scene.rig.plan(kSecond, {{0, 1, 0}}, 61 * kSecond);
      CHECK(scene.rig.snapshot().hold_bits == 0);
    }
    SUBCASE("its leases end again") {
      scene.rig.plan(kSecond, {{0, 1, 0}}, 61 * kSecond);
      scene.rig.tick(62 * kSecond);
      scene.rig.plan(kSecond, {{0, 1, 0}}, 62 * kSecond + 1);
      scene.rig.tick(63 * kSecond + 1);
      CHECK(scene.reasons() == CALYPTE_SAFE_PLANNER);
      scene.rig.plan(100 * kSecond, {{0, 1, 0}}, 64 * kSecond);
      scene.rig.tick(68 * kSecond);
      CHECK(scene.holds());
      scene.rig.tick(68 * kSecond + 1);
      CHECK_FALSE(scene.holds());
    }
  }

  TEST_CASE("without a rule only the caller enters it, and a rule that is switched off ends its reason") {
    Scene scene(rule_of(0, 0, 0));
    for (uint64_t at_s = 1; at_s < 200; ++at_s) scene.miss(at_s * kSecond);
    CHECK_FALSE(scene.holds());
    scene.set(rule_of(1, kSecond, 100 * kSecond), 200 * kSecond);
    CHECK_FALSE(scene.holds());
    scene.miss(201 * kSecond);
    CHECK(scene.holds());
    scene.set(rule_of(0, 0, 0), 202 * kSecond);
    CHECK_FALSE(scene.holds());
  }

  TEST_CASE("the longest count that a rule may ask for is counted") {
    Scene scene(rule_of(CALYPTE_MAX_SAFE_MODE_COUNT, 100 * kSecond, kSecond));
    for (uint64_t i = 1; i < CALYPTE_MAX_SAFE_MODE_COUNT; ++i) scene.miss(i * kSecond);
    CHECK_FALSE(scene.holds());
    scene.miss(CALYPTE_MAX_SAFE_MODE_COUNT * kSecond);
    CHECK(scene.holds());
  }

  TEST_CASE("a request that lets background come to its end waits no longer once misses hold background") {
    SchedulerConfig config;
    config.tasks = {periodic(100 * kMs, 20 * kMs), periodic(100 * kMs, 5 * kMs)};
    for (TaskConfig &task : config.tasks) {
      task.yield = CALYPTE_YIELD_WHEN_NEEDED;
      task.queue = CALYPTE_QUEUE_FIFO;
      task.queue_depth = 2;
      task.estimate_ns = 500 * kUs;
    }
    config.tasks[0].phase_ns = 900 * kUs;
    config.tasks[1].phase_ns = kMs;
    config.tasks[1].on_miss = CALYPTE_ON_MISS_DROP;
    config.jobs = {block_job(2 * kMs)};
    Rig rig(config, rule_of(1, kSecond, kSecond));
    rig.start();
    rig.plan(kSecond, {{0, 1, 0}}, 0);
    rig.staged(0, 100, 0);
    SUBCASE("that arrived too late to be served") {
      rig.tick(kMs);
      REQUIRE(rig.snapshot().tasks[0].waiting + rig.snapshot().tasks[1].waiting == 2);
      rig.tick(6'500 * kUs);  // the dispatcher slept: the deadline of the other one has passed
      CHECK(rig.snapshot().tasks[1].dropped == 1);
    }
    SUBCASE("that found no slot") {
      rig.tick(900 * kUs);
      REQUIRE(rig.snapshot().tasks[0].waiting == 1);
      Event refused;
      refused.kind = EventKind::refused;
      refused.id = 1;
      refused.time_ns = 950 * kUs;
      rig.step(refused, 950 * kUs);
    }
    CHECK(rig.snapshot().safe_mode_reasons == CALYPTE_SAFE_MISSES);
    CHECK(rig.snapshot().tasks[0].in_flight == 1);
  }

  TEST_CASE("a rule that cannot be meant is refused and changes nothing") {
    TestEngine engine(sim_options());
    calypte_safe_mode rule = rule_of(3, 10 * kSecond, 0);
    CHECK(calypte_set_safe_mode(engine.id(), &rule) == CALYPTE_E_INVALID);
    rule = rule_of(3, 0, kSecond);
    CHECK(calypte_set_safe_mode(engine.id(), &rule) == CALYPTE_E_INVALID);
    rule = rule_of(65, kSecond, kSecond);
    CHECK(calypte_set_safe_mode(engine.id(), &rule) == CALYPTE_E_LIMIT);
    rule = rule_of(3, kSecond, kSecond);
    rule.size_bytes -= 1;
    CHECK(calypte_set_safe_mode(engine.id(), &rule) == CALYPTE_E_INVALID);
    CHECK(calypte_set_safe_mode(engine.id(), nullptr) == CALYPTE_E_INVALID);
  }

  TEST_CASE(
      "kernels that are slow for a while enter it, background stays away, and comes back when they are well again") {
    calypte_options options = sim_options(3);
    TestEngine engine(options);
    calypte_sim_faults faults{};
    faults.abi_version = CALYPTE_ABI_VERSION;
    faults.size_bytes = sizeof faults;
    faults.throttle_begin_ns = kSecond;
    faults.throttle_end_ns = 2 * kSecond;
    faults.throttle_permille = 200;
    REQUIRE(calypte_sim_faults_set(engine.id(), &faults) == 0);
    const int32_t frames = engine.frames(256, 3);
    engine.add(WorkSpec::task("detector", 4 * kMs, 15 * kMs).frames(static_cast<uint32_t>(frames), 256, 33 * kMs));
    engine.add(WorkSpec::job("map").step(CALYPTE_LEVEL_BLOCK, 5 * kMs, 50 * kUs));
    const calypte_safe_mode rule = rule_of(3, kSecond, kSecond);
    REQUIRE(calypte_set_safe_mode(engine.id(), &rule) == 0);
    REQUIRE(engine.ready() == 0);
    REQUIRE(engine.plan(100 * kSecond, {{0, 1, 0}}) == 0);
    engine.advance(kSecond);
    CHECK(engine.snapshot().safe_mode == 0);
    engine.advance(kSecond + 200 * kMs);
    REQUIRE(engine.snapshot().safe_mode_reasons == CALYPTE_SAFE_MISSES);
    CHECK(engine.snapshot().tasks[0].late >= 3);
    const uint64_t busy_ns = engine.snapshot().background_busy_ns;
    const uint64_t until_ns = engine.snapshot().safe_mode_until_ns;
    CHECK(until_ns > 2 * kSecond);
    engine.advance(2 * kSecond + 500 * kMs);
    CHECK(engine.snapshot().background_busy_ns == busy_ns);
    engine.advance(4 * kSecond);
    CHECK(engine.snapshot().safe_mode_reasons == 0);
    CHECK(engine.snapshot().safe_mode == 1);
    CHECK(engine.snapshot().background_busy_ns > busy_ns + 500 * kMs);
    uint32_t changes = 0;
    for (const calypte_event &event : engine.events()) changes += event.kind == CALYPTE_EVENT_SAFE_MODE ? 1 : 0;
    CHECK(changes == 2);
  }
}
