// Does a job in another process run as the engine wants it, and is nothing lost, nothing waited for and nothing
// believed when that process dies, stops or writes nonsense?
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "backend/sim/rng.h"
#include "standstill.h"
#include "support.h"
#include "worker/page.h"

using namespace calypte::test;
namespace core = calypte::core;

namespace {

bool comes_true(const std::function<bool()> &condition, uint64_t within_ns = 20 * kSecond) {
  const uint64_t give_up_ns = calypte_now_ns() + within_ns;
  while (!condition()) {
    if (calypte_now_ns() > give_up_ns) return false;
    sched_yield();
  }
  return true;
}

calypte_options real_options(uint32_t flags = 0) {
  calypte_options options = sim_options();
  options.clock = CALYPTE_CLOCK_REAL;
  options.flags = flags;
  return options;
}

WorkSpec the_job() {
  WorkSpec spec = WorkSpec::job("map").step(CALYPTE_LEVEL_BLOCK, 500 * kUs, 10 * kUs).output(16, false);
  spec.head.digest[0] = 77;
  return spec;
}

std::string page_path() {
  static int count = 0;
  return "/tmp/calypte-worker-test-" + std::to_string(getpid()) + "-" + std::to_string(count++);
}

// A worker as it should be: loads, describes its job through a pipe, joins, and lives until it is killed or the engine
// ends.
class Worker {
 public:
  enum How { measures, takes_place, stays_away };
  explicit Worker(const std::string &page, How how = measures, const WorkSpec &job = the_job()) {
    int channel[2], goes[2];
    REQUIRE(pipe2(channel, O_CLOEXEC) == 0);
    REQUIRE(pipe2(goes, O_CLOEXEC) == 0);
    pid_ = fork();
    if (pid_ == 0) {
      ::close(goes[1]);
      TestEngine engine(real_options(CALYPTE_OPEN_WORKER));
      calypte_isolated description{};
      const auto describes = [&] {
        return calypte_isolated_of(engine.id(), &description) == 0 &&
               write(channel[1], &description, sizeof description) == sizeof description;
      };
      if (engine.add(job) != 0) _exit(3);
      if (how != takes_place && (calypte_warm_up(engine.id()) != 0 || !describes())) _exit(3);
      if (how == stays_away) {
        for (;;) pause();
      }
      // It gives the engine half a second to hear of it, so it waits until that has been told.
      char told = 0;
      if (read(goes[0], &told, 1) != 1) _exit(3);
      if (calypte_join(engine.id(), page.c_str()) < 0)
        _exit(last_error().find("other steps") != std::string::npos ? 6 : 4);
      if (how == takes_place && !describes()) _exit(3);
      // Until it is killed, or the engine ends; the test has the other end.
      for (pollfd test{channel[0], POLLIN, 0}; poll(&test, 1, 2) >= 0;) {
        if (engine.snapshot().state == CALYPTE_STATE_FAULT) _exit(5);
        engine.results();
      }
    }
    ::close(channel[1]);
    ::close(goes[0]);
    told_ = channel[0];
    goes_ = goes[1];
    if (how != takes_place) hear();
  }
  ~Worker() {
    end(SIGKILL);
    ::close(told_);
    ::close(goes_);
  }
  Worker(Worker &&from) noexcept { swap(from); }
  Worker &operator=(Worker &&from) noexcept {
    swap(from);
    return *this;
  }
  pid_t pid() const { return pid_; }
  // The engine has been told of it, or never is: it tries to join.
  void go() const { REQUIRE(write(goes_, "", 1) == 1); }
  // Takes its description in; of one that takes a place, when it has joined.
  void hear() { CHECK(read(told_, &description_, sizeof description_) == sizeof description_); }
  const calypte_isolated &description() const { return description_; }
  void send(int signal) const { kill(pid_, signal); }
  // Its exit status, or -signal; 0 if it had ended before.
  int end(int signal = 0) {
    if (pid_ <= 0) return 0;
    if (signal != 0) kill(pid_, signal);
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  void swap(Worker &other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(told_, other.told_);
    std::swap(goes_, other.goes_);
    std::swap(description_, other.description_);
  }
  pid_t pid_ = 0;
  int told_ = -1, goes_ = -1;
  calypte_isolated description_{};
};

// An engine with a task at 50 Hz and the worker's job.
struct Scene {
  std::string page = page_path();
  std::unique_ptr<Worker> worker;
  std::unique_ptr<TestEngine> engine;
  int32_t job = -1;
  std::vector<calypte_event> seen;
  StandStills stand_stills{20 * kMs, 20 * kMs};

  explicit Scene(uint64_t kill_after_ns = 2 * kSecond, Worker::How how = Worker::measures, uint64_t estimate_ns = 0)
      : worker(new Worker(page, how)) {
    engine = std::make_unique<TestEngine>(real_options());
    REQUIRE(engine->frames(32, 2) == 0);
    REQUIRE(engine->add(WorkSpec::task("detector", 300 * kUs, 20 * kMs).frames(0, 32, 20 * kMs)) == 0);
    calypte_isolated description = worker->description();
    description.kill_after_ns = kill_after_ns;
    if (estimate_ns > 0) description.estimate_ns = description.segments[0].estimate_ns = estimate_ns;
    job = calypte_add_isolated(engine->id(), &description, page.c_str());
    REQUIRE(job == 0);
    REQUIRE(calypte_ready(engine->id()) == 0);
  }
  ~Scene() {
    engine.reset();
    worker.reset();
  }
  void join() const {
    REQUIRE(calypte_admit(engine->id(), job, worker->pid()) == 0);
    worker->go();
  }
  void plan() const { REQUIRE(engine->plan(100 * kSecond, {{0, 1, 0}}) == 0); }
  const calypte_job_stats &stats() const { return engine->snapshot().jobs[0]; }
  // None, but for those that the machine itself is to blame for.
  bool missed_nothing() const {
    const calypte_task_stats &task = engine->snapshot().tasks[0];
    return task.failed == 0 && task.late + task.dropped <= stand_stills.excused();
  }
  bool told(int64_t what) {
    for (const calypte_event &event : engine->events()) seen.push_back(event);
    for (const calypte_event &event : seen) {
      if (event.kind == CALYPTE_EVENT_WORKER && event.a == what) return true;
    }
    return false;
  }
  calypte::worker::Page *map() const {
    const int file = open(page.c_str(), O_RDWR | O_CLOEXEC);
    void *memory = mmap(nullptr, sizeof(calypte::worker::Page), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ::close(file);
    return static_cast<calypte::worker::Page *>(memory);
  }
};

}  // namespace

TEST_CASE("a job in another process completes units in the gaps that critical work leaves") {
  Scene scene;
  CHECK(scene.stats().worker_state == 1);
  scene.plan();
  scene.join();
  // Once requests are foreseen, hardly any finds the worker at work.
  CHECK(comes_true([&] { return scene.stats().units > 50 && scene.stats().preemptions > 0; }));
  CHECK(scene.stats().worker_state == 2);
  CHECK(scene.told(CALYPTE_WORKER_JOINED));
  CHECK(scene.missed_nothing());
}

TEST_CASE("nothing runs of it before it is planned, nor behind the end of a lease") {
  Scene scene;
  scene.join();
  CHECK(comes_true([&] { return scene.stats().worker_state == 2; }));
  CHECK(comes_true([&] { return scene.engine->snapshot().tasks[0].requests >= 5; }));
  CHECK(scene.stats().units == 0);
  REQUIRE(scene.engine->plan(kSecond, {{0, 1, 0}}) == 0);
  CHECK(comes_true([&] { return scene.engine->snapshot().lease_expired == 1; }));
  CHECK(comes_true([&] { return scene.stats().outstanding == 0; }));
  const uint64_t units = scene.stats().units;
  CHECK(units > 10);
  const uint64_t requests = scene.engine->snapshot().tasks[0].requests;
  CHECK(comes_true([&] { return scene.engine->snapshot().tasks[0].requests > requests + 5; }));
  CHECK(scene.stats().units == units);
}

TEST_CASE("a worker that is killed is missed, and the next one goes on with the next unit") {
  Scene scene;
  scene.plan();
  scene.join();
  REQUIRE(comes_true([&] { return scene.stats().units > 20; }));
  CHECK(scene.worker->end(SIGKILL) == -SIGKILL);
  CHECK(comes_true([&] { return scene.told(CALYPTE_WORKER_LOST); }));
  CHECK(scene.stats().worker_state == 1);
  CHECK(scene.stats().outstanding == 0);
  const uint64_t units = scene.stats().units;
  scene.worker = std::make_unique<Worker>(scene.page, Worker::takes_place);
  scene.join();
  CHECK(comes_true([&] { return scene.stats().units > units + 20; }));
  CHECK(scene.missed_nothing());
  // The new one's units are counted on: it joined with the number of those that were done.
  int64_t joined = -1;
  for (const calypte_event &event : scene.seen) {
    if (event.kind == CALYPTE_EVENT_WORKER && event.a == CALYPTE_WORKER_LOST) joined = event.b;
  }
  CHECK(joined == static_cast<int64_t>(units));
}

TEST_CASE("a worker that takes another's place measures nothing: it runs by what the engine knows of its job") {
  // As no worker here would measure it.
  Scene scene(2 * kSecond, Worker::measures, 321 * kUs);
  scene.plan();
  scene.join();
  REQUIRE(comes_true([&] { return scene.stats().units > 5; }));
  CHECK(scene.worker->description().segments[0].estimate_ns == 500 * kUs);
  scene.worker->end(SIGKILL);
  REQUIRE(comes_true([&] { return scene.told(CALYPTE_WORKER_LOST); }));
  scene.worker = std::make_unique<Worker>(scene.page, Worker::takes_place);
  scene.join();
  scene.worker->hear();
  const calypte_isolated &known = scene.worker->description();
  CHECK(known.estimate_ns == 321 * kUs);
  CHECK(known.segments[0].estimate_ns == 321 * kUs);
  CHECK(known.step_count == 1);
  const uint64_t units = scene.stats().units;
  CHECK(comes_true([&] { return scene.stats().units > units + 5; }));
}

TEST_CASE("a worker whose job has other steps than the engine knows takes no place") {
  Scene scene;
  scene.worker =
      std::make_unique<Worker>(scene.page, Worker::takes_place, the_job().step(CALYPTE_LEVEL_WHOLE, 10 * kUs));
  scene.join();
  CHECK(scene.worker->end() == 6);
  CHECK(comes_true([&] { return scene.stats().worker_state == 1; }));
}

TEST_CASE("a worker that is stopped while it has the GPU is killed, and critical work misses nothing") {
  // Long enough that a machine which stands still for a moment does not have it killed before it is stopped.
  Scene scene(kSecond);
  scene.plan();
  scene.join();
  REQUIRE(comes_true([&] { return scene.stats().units > 20; }));
  scene.worker->send(SIGSTOP);
  CHECK(comes_true([&] { return scene.told(CALYPTE_WORKER_HUNG); }));
  CHECK(scene.worker->end() == -SIGKILL);
  CHECK(comes_true([&] { return scene.told(CALYPTE_WORKER_LOST); }));
  CHECK(scene.stats().worker_kills == 1);
  CHECK(scene.missed_nothing());
}

TEST_CASE("who is admitted takes the place of a worker that is there, which is killed") {
  Scene scene;
  scene.plan();
  scene.join();
  REQUIRE(comes_true([&] { return scene.stats().units > 5; }));
  Worker first(scene.page, Worker::takes_place);
  std::swap(first, *scene.worker);
  scene.join();
  CHECK(first.end() == -SIGKILL);
  const auto joined = [&] {
    scene.told(CALYPTE_WORKER_JOINED);
    return std::count_if(scene.seen.begin(), scene.seen.end(), [](const calypte_event &event) {
      return event.kind == CALYPTE_EVENT_WORKER && event.a == CALYPTE_WORKER_JOINED;
    });
  };
  CHECK(comes_true([&] { return joined() == 2; }));
  const uint64_t units = scene.stats().units;
  CHECK(comes_true([&] { return scene.stats().units > units + 5; }));
}

TEST_CASE("a worker that wrote nonsense is not taken up again while it dies") {
  Scene scene(2 * kSecond, Worker::stays_away);
  scene.plan();
  // One whose end takes a while, as that of a process with a GPU context does: its memory has to be given back first.
  constexpr size_t kSlowBytes = 512u << 20;
  const pid_t pid = fork();
  if (pid == 0) {
    calypte::worker::Page *page = scene.map();
    void *slow = mmap(nullptr, kSlowBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (slow == MAP_FAILED) _exit(3);
    while (page->worker_process.load() != getpid()) sched_yield();
    page->worker_generation.store(page->generation);
    page->phase.store(calypte::worker::joined);
    page->reports.head.store(1'000);
    for (;;) pause();
  }
  REQUIRE(calypte_admit(scene.engine->id(), scene.job, pid) == 0);
  CHECK(comes_true([&] { return scene.told(CALYPTE_WORKER_NONSENSE); }));
  int status = 0;
  waitpid(pid, &status, 0);
  CHECK(WIFSIGNALED(status));
  const uint64_t requests = scene.engine->snapshot().tasks[0].requests;
  CHECK(comes_true([&] { return scene.engine->snapshot().tasks[0].requests > requests + 2; }));
  scene.told(CALYPTE_WORKER_NONSENSE);
  CHECK(std::count_if(scene.seen.begin(), scene.seen.end(), [](const calypte_event &event) {
          return event.kind == CALYPTE_EVENT_WORKER && event.a == CALYPTE_WORKER_JOINED;
        }) == 1);
}

TEST_CASE("a process that was not admitted does not join") {
  Scene scene;
  CHECK(calypte_admit(scene.engine->id(), scene.job, -1) == CALYPTE_E_NOT_FOUND);
  CHECK(calypte_admit(scene.engine->id(), 7, getpid()) == CALYPTE_E_NOT_FOUND);
  // It waits half a second for the engine to hear of it, and gives up.
  scene.worker->go();
  CHECK(scene.worker->end() == 4);
  CHECK(scene.stats().worker_state == 1);
}

TEST_CASE("a worker whose engine has ended ends its service") {
  Scene scene;
  scene.plan();
  scene.join();
  REQUIRE(comes_true([&] { return scene.stats().units > 5; }));
  scene.engine.reset();
  CHECK(scene.worker->end() == 5);
  struct stat there {};
  CHECK(stat(scene.page.c_str(), &there) != 0);
}

TEST_CASE("descriptions that no worker gives are refused by name") {
  const Worker worker("/tmp/none", Worker::stays_away);
  const TestEngine engine(real_options());
  const std::string page = page_path();
  const auto refused = [&](const std::function<void(calypte_isolated &)> &change) {
    calypte_isolated description = worker.description();
    change(description);
    const int32_t code = calypte_add_isolated(engine.id(), &description, page.c_str());
    struct stat there {};
    return code == CALYPTE_E_INVALID && stat(page.c_str(), &there) != 0 &&
           last_error().find("map") != std::string::npos;
  };
  CHECK(refused([](calypte_isolated &d) { d.segment_count = 65; }));
  CHECK(refused([](calypte_isolated &d) { d.segment_count = 0; }));
  CHECK(refused([](calypte_isolated &d) { d.step_count += 1; }));
  CHECK(refused([](calypte_isolated &d) { d.segments[0].first_step = 1; }));
  CHECK(refused([](calypte_isolated &d) { d.segments[0].step_count = UINT32_MAX; }));
  CHECK(refused([](calypte_isolated &d) { d.segments[0].level = 9; }));
  CHECK(refused([](calypte_isolated &d) { d.units_per_entry = 0; }));
  CHECK(refused([](calypte_isolated &d) { d.estimate_ns = 0; }));
  CHECK(refused([](calypte_isolated &d) { d.abi_version = 3; }));
  // Times that would wrap where the engine adds to them.
  CHECK(refused([](calypte_isolated &d) { d.estimate_ns = UINT64_MAX; }));
  CHECK(refused([](calypte_isolated &d) { d.segments[0].estimate_ns = UINT64_MAX / 2; }));
  CHECK(refused([](calypte_isolated &d) { d.bound_ns = UINT64_MAX; }));
  CHECK(refused([](calypte_isolated &d) { d.drain_ns = UINT64_MAX - 1; }));
  CHECK(calypte_join(engine.id(), page.c_str()) == CALYPTE_E_STATE);
  calypte_isolated description{};
  CHECK(calypte_isolated_of(engine.id(), &description) == CALYPTE_E_STATE);
}

TEST_CASE("virtual time has no processes") {
  const Worker worker("/tmp/none", Worker::stays_away);
  const TestEngine engine(sim_options());
  CHECK(calypte_add_isolated(engine.id(), &worker.description(), "/tmp/calypte-none") == CALYPTE_E_STATE);
  calypte_options options = sim_options();
  options.flags = CALYPTE_OPEN_WORKER;
  CHECK(calypte_open(&options) == CALYPTE_E_INVALID);
}

TEST_CASE("whatever a worker writes on the page, the engine goes on and critical work misses nothing") {
  constexpr uint64_t kSeed = 20'261'123;
  MESSAGE("seed ", kSeed);
  calypte::sim::Rng rng(kSeed);
  Scene scene(20 * kMs, Worker::stays_away);
  scene.plan();
  uint32_t nonsense = 0;
  for (int round = 0; round < 300; ++round) {
    // A child that joins by hand and then writes at random.
    const pid_t pid = fork();
    if (pid == 0) {
      calypte::worker::Page *page = scene.map();
      while (page->worker_process.load() != getpid()) sched_yield();
      page->worker_generation.store(page->generation);
      page->phase.store(calypte::worker::joined);
      for (;;) {
        auto *bytes = reinterpret_cast<uint8_t *>(page);
        const uint64_t kind = rng.up_to(4);
        if (kind == 0) {
          // A report that is nearly right.
          const uint32_t head = page->reports.head.load();
          calypte::worker::Report report{};
          report.kind = static_cast<uint32_t>(rng.up_to(14));
          report.number = rng.up_to(2) == 0 ? rng.up_to(40) : ~rng.up_to(40);
          report.step_word = core::step_word_of(rng.up_to(3), static_cast<uint32_t>(rng.up_to(3)));
          report.busy_ns = rng.up_to(1'000'000);
          report.time_ns = rng.up_to(1) == 0 ? UINT64_MAX : 0;
          page->reports.items[head % calypte::worker::kRingItems] = report;
          page->reports.head.store(head + 1);
        } else if (kind == 1) {
          page->reports.head.fetch_add(static_cast<uint32_t>(rng.up_to(1000)));
        } else if (kind == 2) {
          page->commands.tail.store(static_cast<uint32_t>(rng.up_to(UINT32_MAX)));
        } else if (kind == 3) {
          page->phase.store(static_cast<uint32_t>(rng.up_to(4)));
        } else {
          // The end of the page holds the reports.
          bytes[sizeof(*page) - 1 - rng.up_to(4096)] = static_cast<uint8_t>(rng.up_to(255));
        }
        sched_yield();
      }
    }
    REQUIRE(calypte_admit(scene.engine->id(), scene.job, pid) == 0);
    for (uint64_t n = rng.up_to(40); n > 0; --n) sched_yield();
    rng.up_to(1);
    const uint64_t until_ns = calypte_now_ns() + 4 * kMs;
    comes_true([&] { return calypte_now_ns() > until_ns; });
    kill(pid, SIGKILL);
    int status = 0;
    waitpid(pid, &status, 0);
    for (const calypte_event &event : scene.engine->events()) {
      if (event.kind == CALYPTE_EVENT_WORKER && event.a == CALYPTE_WORKER_NONSENSE) nonsense += 1;
    }
  }
  CHECK(nonsense > 20);
  const calypte_snapshot &now = scene.engine->snapshot();
  CHECK(now.state == CALYPTE_STATE_READY);
  CHECK(now.tasks[0].requests > 50);
  CHECK(scene.missed_nothing());
}
