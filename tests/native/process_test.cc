// Does an engine in another process do as one in this process does, and does nothing of it get lost when either of the
// two processes dies?
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>

#include "backend/sim/rng.h"
#include "support.h"

using namespace calypte::test;

namespace {

constexpr uint64_t kKeepNs = 20 * kSecond;

void rest() { sched_yield(); }

// Bounded, for what another process has to do first.
bool comes_true(const std::function<bool()> &condition, uint64_t within_ns = 20 * kSecond) {
  const uint64_t give_up_ns = calypte_now_ns() + within_ns;
  while (!condition()) {
    if (calypte_now_ns() > give_up_ns) return false;
    rest();
  }
  return true;
}

// A child process that serves engines at a path of its own. Killed at the end of the test.
class Host {
 public:
  explicit Host(uint64_t keep_ns = kKeepNs) {
    static int count = 0;
    path_ = "/tmp/calypte-process-test-" + std::to_string(getpid()) + "-" + std::to_string(count++);
    pid_ = fork();
    if (pid_ == 0) {
      const int32_t code = calypte_serve(path_.c_str(), keep_ns, CALYPTE_SERVE_OWN_PROCESS);
      _exit(code < 0 ? -code : 0);
    }
  }
  ~Host() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      wait_for_exit();
    }
    unlink(path_.c_str());
  }
  Host(const Host &) = delete;
  Host &operator=(const Host &) = delete;

  const char *path() const { return path_.c_str(); }
  pid_t pid() const { return pid_; }
  void send(int signal) const { kill(pid_, signal); }
  // Its exit status, or -signal.
  int wait_for_exit() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  std::string path_;
  pid_t pid_ = -1;
};

calypte_options real_options() {
  calypte_options options = sim_options();
  options.clock = CALYPTE_CLOCK_REAL;
  return options;
}

// An attached engine; lets go of it at the end of its scope.
class Attached {
 public:
  Attached(const char *path, const calypte_options *options)
      : id_(calypte_attach(path, options, 10 * kSecond)), snapshot_(new calypte_snapshot{}) {}
  ~Attached() {
    if (id_ > 0) calypte_detach(id_);
  }
  Attached(const Attached &) = delete;
  Attached &operator=(const Attached &) = delete;
  int32_t id() const { return id_; }
  int32_t close() {
    const int32_t code = calypte_close(id_);
    id_ = 0;
    return code;
  }
  int32_t add(const WorkSpec &spec) const {
    const std::vector<uint8_t> blob = spec.blob();
    return calypte_add(id_, blob.data(), static_cast<uint32_t>(blob.size()));
  }
  int32_t load() const {
    const int32_t module = calypte_module(id_, reinterpret_cast<const uint8_t *>(kPtx), sizeof kPtx - 1);
    const int32_t kernel = calypte_kernel(id_, module, "work");
    return module < 0 ? module : kernel < 0 ? kernel : calypte_buffer(id_, kBufferBytes);
  }
  int32_t plan(uint64_t id, uint64_t lease_ns, std::vector<calypte_plan_entry> entries) const {
    const calypte_plan plan = plan_of(id, lease_ns, std::move(entries));
    return calypte_set_plan(id_, &plan);
  }
  const calypte_snapshot &snapshot() {
    code_ = calypte_take_snapshot(id_, snapshot_.get(), sizeof *snapshot_);
    return *snapshot_;
  }
  int32_t code() const { return code_; }
  std::vector<calypte_result> take() const {
    std::vector<calypte_result> all;
    std::vector<uint8_t> bytes(1 << 20);
    const int32_t used = calypte_take_results(id_, bytes.data(), static_cast<uint32_t>(bytes.size()));
    for (int32_t at = 0; at < used; at += static_cast<int32_t>(all.back().size_bytes))
      memcpy(&all.emplace_back(), bytes.data() + at, sizeof(calypte_result));
    return all;
  }

 private:
  int32_t id_;
  int32_t code_ = 0;
  std::unique_ptr<calypte_snapshot> snapshot_;
};

// A task at 50 Hz and a job that never ends, ready. A machine that stands still for a sixth of a second costs the task
// no request: its queue holds what comes meanwhile, and its deadline is a second.
void start_mission(const Attached &engine) {
  REQUIRE(engine.load() >= 0);
  const std::vector<uint8_t> frames(64, 1);
  REQUIRE(calypte_frames(engine.id(), frames.data(), 32, 2) == 0);
  WorkSpec detector = WorkSpec::task("detector", 200 * kUs, kSecond).frames(0, 32, 20 * kMs);
  detector.head.queue = CALYPTE_QUEUE_FIFO;
  detector.head.queue_depth = 16;
  REQUIRE(engine.add(detector) == 0);
  REQUIRE(engine.add(WorkSpec::job("map").step(CALYPTE_LEVEL_BLOCK, 1 * kMs, 10 * kUs)) == 0);
  REQUIRE(calypte_ready(engine.id()) == 0);
}

}  // namespace

TEST_CASE("an engine in another process gives the same results in virtual time as one in this process") {
  const auto fly = [](int32_t id) {
    const int32_t module = calypte_module(id, reinterpret_cast<const uint8_t *>(kPtx), sizeof kPtx - 1);
    REQUIRE(calypte_kernel(id, module, "work") == 0);
    REQUIRE(calypte_buffer(id, kBufferBytes) == 0);
    const std::vector<uint8_t> frames(64, 1);
    REQUIRE(calypte_frames(id, frames.data(), 32, 2) == 0);
    for (const WorkSpec &spec : {WorkSpec::task("detector", 200 * kUs, 8 * kMs).frames(0, 32, 10 * kMs),
                                 WorkSpec::job("map").step(CALYPTE_LEVEL_BLOCK, 1 * kMs, 10 * kUs)}) {
      const std::vector<uint8_t> blob = spec.blob();
      REQUIRE(calypte_add(id, blob.data(), static_cast<uint32_t>(blob.size())) == 0);
    }
    REQUIRE(calypte_ready(id) == 0);
    const calypte_plan plan = plan_of(1, 10 * kSecond, {{0, 1, 0}});
    REQUIRE(calypte_set_plan(id, &plan) == 0);
    REQUIRE(calypte_sim_advance(id, kSecond) == 0);
    std::vector<uint8_t> bytes(4 << 20);
    const int32_t used = calypte_take_results(id, bytes.data(), static_cast<uint32_t>(bytes.size()));
    bytes.resize(static_cast<size_t>(std::max(used, 0)));
    calypte_event events[16]{};
    const int32_t count = calypte_take_events(id, events, 16);
    bytes.insert(bytes.end(), reinterpret_cast<uint8_t *>(events), reinterpret_cast<uint8_t *>(events + count));
    return bytes;
  };
  const calypte_options options = sim_options(7);
  Host host;
  const int32_t here = calypte_open(&options);
  const int32_t there = calypte_attach(host.path(), &options, 10 * kSecond);
  REQUIRE(there > 0);
  CHECK(calypte_process_of(here) == 0);
  CHECK(calypte_process_of(there) == host.pid());
  const std::vector<uint8_t> one = fly(here), other = fly(there);
  CHECK(one.size() > 1000 * sizeof(calypte_result));
  CHECK(one == other);
  CHECK(calypte_close(there) == 0);
  CHECK(calypte_close(here) == 0);
  CHECK(host.wait_for_exit() == 0);
}

TEST_CASE("an error in the other process comes with its code and its text") {
  Host host;
  const calypte_options options = real_options();
  const Attached engine(host.path(), &options);
  REQUIRE(engine.id() > 0);
  CHECK(calypte_kernel(engine.id(), 5, "work") == CALYPTE_E_NOT_FOUND);
  CHECK(last_error().find("no module 5") != std::string::npos);
  CHECK(calypte_module(engine.id(), nullptr, 0) == CALYPTE_E_INVALID);
  CHECK(calypte_sim_advance(engine.id(), 1) == CALYPTE_E_STATE);
  start_mission(engine);
  CHECK(engine.plan(1, 0, {}) == CALYPTE_E_INVALID);
  CHECK(last_error().find("lease_ns") != std::string::npos);
  CHECK(engine.plan(1, kSecond, {{9, 1, 0}}) == CALYPTE_E_NOT_FOUND);
  CHECK(engine.plan(1, kSecond, {{0, 1, 0}}) == 0);
  CHECK(engine.plan(1, kSecond, {{0, 1, 0}}) == CALYPTE_E_INVALID);
}

TEST_CASE("whoever attaches after a caller that died goes on with its engine, plan and results") {
  Host host;
  const pid_t agent = fork();
  if (agent == 0) {
    const calypte_options options = real_options();
    const Attached engine(host.path(), &options);
    start_mission(engine);
    calypte_set_note(engine.id(), reinterpret_cast<const uint8_t *>("mission 12"), 10);
    engine.plan(41, kSecond, {{0, 1, 0}});
    // Something is taken, nothing is released; then it dies without a word.
    while (engine.take().empty()) rest();
    raise(SIGKILL);
  }
  int status = 0;
  waitpid(agent, &status, 0);
  REQUIRE(WIFSIGNALED(status));
  Attached engine(host.path(), nullptr);
  REQUIRE(engine.id() > 0);
  uint8_t note[16];
  CHECK(calypte_note_of(engine.id(), note, 3) == CALYPTE_E_BUFFER);
  REQUIRE(calypte_note_of(engine.id(), note, sizeof note) == 10);
  CHECK(memcmp(note, "mission 12", 10) == 0);
  CHECK(engine.snapshot().plan_id == 41);
  CHECK(comes_true([&] { return engine.snapshot().lease_expired == 1; }));
  CHECK(comes_true([&] { return engine.snapshot().tasks[0].requests >= 50; }));
  CHECK(engine.snapshot().tasks[0].on_time + 1 >= engine.snapshot().tasks[0].requests);
  // From the first on: the dead one's are there again.
  uint64_t next[2] = {};
  for (const calypte_result &result : engine.take())
    CHECK(result.number == next[result.kind == CALYPTE_WORK_CRITICAL ? 0 : 1]++);
  CHECK(next[0] > 40);
  CHECK(next[1] > 10);
  const uint64_t units = engine.snapshot().jobs[0].units;
  CHECK(engine.plan(42, kSecond, {{0, 1, 0}}) == 0);
  CHECK(comes_true([&] { return engine.snapshot().jobs[0].units > units + 10; }));
  CHECK(engine.close() == 0);
  CHECK(host.wait_for_exit() == 0);
}

TEST_CASE("of a process that was killed there still are the last state, the events and the results") {
  Host host;
  const calypte_options options = real_options();
  Attached engine(host.path(), &options);
  start_mission(engine);
  REQUIRE(engine.plan(1, 10 * kSecond, {{0, 1, 0}}) == 0);
  REQUIRE(comes_true([&] { return engine.snapshot().tasks[0].requests >= 20; }));
  const uint64_t requests = engine.snapshot().tasks[0].requests;
  host.send(SIGKILL);
  CHECK(host.wait_for_exit() == -SIGKILL);
  CHECK(comes_true([&] { return engine.snapshot().state == CALYPTE_STATE_LOST; }));
  CHECK(engine.code() == 0);
  CHECK(engine.snapshot().tasks[0].requests >= requests);
  CHECK(engine.plan(2, kSecond, {}) == CALYPTE_E_LOST);
  CHECK(calypte_hold(engine.id(), CALYPTE_HOLD_CALLER, 1) == CALYPTE_E_LOST);
  calypte_event events[8];
  CHECK(calypte_take_events(engine.id(), events, 8) > 0);
  std::vector<calypte_trace> records(CALYPTE_TRACE_RECORDS);
  uint64_t next = 0, lost = 0;
  const int32_t traced = calypte_take_trace(engine.id(), 0, records.data(), CALYPTE_TRACE_RECORDS, &next, &lost);
  CHECK(static_cast<uint64_t>(traced) >= requests);
  const std::vector<calypte_result> results = engine.take();
  CHECK(results.size() >= requests);
  CHECK(calypte_release_results(engine.id(), results.back().position) == 0);
  CHECK(engine.close() == 0);
}

TEST_CASE("a process that is stopped is given up after a second, and its page can still be read") {
  Host host;
  const calypte_options options = real_options();
  Attached engine(host.path(), &options);
  start_mission(engine);
  host.send(SIGSTOP);
  const uint64_t begin_ns = calypte_now_ns();
  CHECK(comes_true([&] { return calypte_hold(engine.id(), CALYPTE_HOLD_CALLER, 1) == CALYPTE_E_LOST; }));
  CHECK(calypte_now_ns() - begin_ns < 5 * kSecond);
  CHECK(engine.snapshot().state == CALYPTE_STATE_LOST);
  CHECK(calypte_kill(engine.id()) == 0);
  CHECK(host.wait_for_exit() == -SIGKILL);
  CHECK(calypte_kill(engine.id()) == 0);
}

TEST_CASE("a second caller is refused while the first is attached, and learns who that is") {
  Host host;
  const calypte_options options = real_options();
  const Attached engine(host.path(), &options);
  start_mission(engine);
  CHECK(calypte_attach(host.path(), nullptr, 0) == CALYPTE_E_BUSY);
  CHECK(last_error().find("process " + std::to_string(getpid())) != std::string::npos);
}

TEST_CASE("there is nothing to attach to where nobody serves, where no engine is, and where one is loading") {
  CHECK(calypte_attach("/tmp/calypte-nobody-serves-here", nullptr, 0) == CALYPTE_E_NOT_FOUND);
  CHECK(calypte_attach("", nullptr, 0) == CALYPTE_E_INVALID);
  Host host;
  CHECK(calypte_attach(host.path(), nullptr, 10 * kSecond) == CALYPTE_E_STATE);
  const calypte_options options = real_options();
  {
    const Attached loading(host.path(), &options);
    REQUIRE(loading.id() > 0);
  }
  // Nothing can be done with an engine that was never ready, so that the process ends.
  CHECK(host.wait_for_exit() == 0);
}

TEST_CASE("the process ends when nobody has been attached for as long as it was told") {
  Host host(200 * kMs);
  const calypte_options options = real_options();
  {
    const Attached engine(host.path(), &options);
    start_mission(engine);
  }
  CHECK(host.wait_for_exit() == 0);
  struct stat there {};
  CHECK(stat(host.path(), &there) != 0);
}

TEST_CASE("an engine that is to end with its caller does, whatever it was told at first") {
  Host host;
  const calypte_options options = real_options();
  {
    const Attached engine(host.path(), &options);
    start_mission(engine);
    CHECK(calypte_keep(engine.id(), 0) == 0);
  }
  CHECK(host.wait_for_exit() == 0);
}

TEST_CASE("SIGTERM ends the process in order, and Ctrl-C at the agent's terminal does not") {
  Host host;
  const calypte_options options = real_options();
  Attached engine(host.path(), &options);
  start_mission(engine);
  host.send(SIGINT);
  host.send(SIGHUP);
  const uint64_t requests = engine.snapshot().tasks[0].requests;
  CHECK(comes_true([&] { return engine.snapshot().tasks[0].requests > requests + 3; }));
  host.send(SIGTERM);
  CHECK(host.wait_for_exit() == 0);
  CHECK(comes_true([&] { return engine.snapshot().state == CALYPTE_STATE_LOST; }));
}

TEST_CASE("nonsense on the socket costs the one who sent it the connection, and nobody else anything") {
  Host host;
  const calypte_options options = real_options();
  {
    Attached first(host.path(), &options);
    start_mission(first);
  }
  calypte::sim::Rng rng(20'261'123);
  for (int round = 0; round < 200; ++round) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, host.path(), sizeof address.sun_path - 1);
    const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(connect(socket, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0);
    uint8_t bytes[512];
    for (uint8_t &byte : bytes) byte = static_cast<uint8_t>(rng.up_to(255));
    // Every other time a head that is right with a call and arguments that are not.
    if (round % 2 == 0) {
      const uint32_t magic = 0x43525031, op = static_cast<uint32_t>(4 + rng.up_to(40));
      memcpy(bytes, &magic, 4);
      memcpy(bytes + 4, &op, 4);
      const uint64_t in_bytes = rng.up_to(200), out_bytes = rng.up_to(4096);
      memcpy(bytes + 48, &in_bytes, 8);
      memcpy(bytes + 56, &out_bytes, 8);
      if (op == 3) bytes[4] = 4;
    }
    CHECK(send(socket, bytes, sizeof bytes, MSG_NOSIGNAL) > 0);
    ::close(socket);
  }
  CHECK(comes_true([&] {
    const int32_t id = calypte_attach(host.path(), nullptr, 0);
    return id > 0 && calypte_detach(id) == 0;
  }));
  CHECK(kill(host.pid(), 0) == 0);
}

TEST_CASE("a file that is not a socket is not replaced, and a socket that nobody listens on is") {
  const std::string path = "/tmp/calypte-process-file-" + std::to_string(getpid());
  const int file = open(path.c_str(), O_CREAT | O_WRONLY, 0600);
  REQUIRE(file >= 0);
  ::close(file);
  CHECK(calypte_serve(path.c_str(), kKeepNs, 0) == CALYPTE_E_BUSY);
  CHECK(unlink(path.c_str()) == 0);
  Host host;
  const calypte_options options = real_options();
  {
    const Attached engine(host.path(), &options);
    REQUIRE(engine.id() > 0);
    host.send(SIGKILL);
    host.wait_for_exit();
  }
  // The socket of the killed one is still there.
  struct stat there {};
  REQUIRE(stat(host.path(), &there) == 0);
  CHECK(S_ISSOCK(there.st_mode));
  CHECK((there.st_mode & 0777) == 0600);
  const pid_t next = fork();
  if (next == 0) _exit(-calypte_serve(host.path(), kKeepNs, CALYPTE_SERVE_OWN_PROCESS));
  const int32_t again = calypte_attach(host.path(), &options, 10 * kSecond);
  CHECK(again > 0);
  calypte_close(again);
  int status = 0;
  waitpid(next, &status, 0);
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("an engine that gives up says why on its page, and its process ends") {
  Host host;
  const calypte_options options = real_options();
  Attached engine(host.path(), &options);
  calypte_sim_faults faults{};
  faults.abi_version = CALYPTE_ABI_VERSION;
  faults.size_bytes = sizeof faults;
  faults.lost_ppm = 1'000'000;
  REQUIRE(calypte_sim_faults_set(engine.id(), &faults) == 0);
  start_mission(engine);
  CHECK(host.wait_for_exit() == -CALYPTE_E_FAULT);
  CHECK(comes_true([&] { return engine.snapshot().state == CALYPTE_STATE_LOST; }));
  calypte_event events[64];
  const int32_t count = calypte_take_events(engine.id(), events, 64);
  bool watchdog = false;
  for (int32_t i = 0; i < count; ++i) watchdog |= events[i].kind == CALYPTE_EVENT_WATCHDOG;
  CHECK(watchdog);
}
