// Does a process that is not ours get what calypte_client.h promises, and does nothing that it does hurt the engine?
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "calypte_client.h"
#include "client/page.h"
#include "engine/external_source.h"
#include "support.h"

using namespace calypte::test;

namespace {

bool comes_true(const std::function<bool()> &condition, uint64_t within_ns = 20 * kSecond) {
  const uint64_t give_up_ns = calypte_now_ns() + within_ns;
  while (!condition()) {
    if (calypte_now_ns() > give_up_ns) return false;
    sched_yield();
  }
  return true;
}

std::string socket_path() {
  static int count = 0;
  return "/tmp/calypte-client-test-" + std::to_string(getpid()) + "-" + std::to_string(count++);
}

calypte_options real_options() {
  calypte_options options = sim_options();
  options.clock = CALYPTE_CLOCK_REAL;
  return options;
}

WorkSpec outside_task(int32_t channel, uint64_t deadline_ns) {
  WorkSpec spec = WorkSpec::task("outside", 0, deadline_ns);
  spec.steps.clear();
  spec.head.source = CALYPTE_SOURCE_EXTERNAL;
  spec.head.channel = static_cast<uint32_t>(channel);
  return spec;
}

// An engine with an external task and a job in endless units.
struct Scene {
  std::string path;
  std::unique_ptr<TestEngine> engine = std::make_unique<TestEngine>(real_options());

  explicit Scene(std::string at = socket_path(), uint64_t deadline_ns = 20 * kSecond) : path(std::move(at)) {
    const int32_t channel = calypte_external(engine->id(), path.c_str());
    REQUIRE(channel > 0);
    REQUIRE(engine->add(outside_task(channel, deadline_ns)) == 0);
    REQUIRE(engine->add(WorkSpec::job("job").step(CALYPTE_LEVEL_BLOCK, 100 * kUs, 10 * kUs)) == 0);
    REQUIRE(engine->ready() == 0);
    REQUIRE(engine->plan(100 * kSecond, {{0, 1, 0}}) == 0);
  }
  const calypte_task_stats &task() const { return engine->snapshot().tasks[0]; }
  uint64_t units() const { return engine->snapshot().jobs[0].units; }
};

// A client by hand: its socket, what it was told, and the files that came with it unless another one is served.
int greeted(const std::string &path, calypte_client_hello &hello, int (&files)[3]) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.c_str(), path.size());
  const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  alignas(cmsghdr) char control[CMSG_SPACE(3 * sizeof(int))];
  iovec part{&hello, sizeof hello};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  REQUIRE(connect(socket, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0);
  REQUIRE(recvmsg(socket, &message, 0) == static_cast<ssize_t>(sizeof hello));
  if (hello.busy == 0) memcpy(files, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof files);
  return socket;
}

struct Client {
  calypte_client *client;
  explicit Client(const std::string &path) : client(calypte_client_open(path.c_str())) { REQUIRE(client != nullptr); }
  ~Client() { calypte_client_close(client); }
  int state() const { return calypte_client_state(client); }
  bool served() const {
    return comes_true([&] { return state() == CALYPTE_CLIENT_SERVED; });
  }
};

}  // namespace

TEST_CASE("background keeps off between begin and end, and the request is counted") {
  Scene scene;
  Client client(scene.path);
  REQUIRE(client.served());
  REQUIRE(comes_true([&] { return scene.units() > 5; }));
  calypte_begin(client.client, 0);
  CHECK(comes_true([&] { return scene.task().in_flight == 1; }));
  CHECK(comes_true([&] { return scene.engine->snapshot().jobs[0].outstanding == 0; }));
  const uint64_t units = scene.units();
  const uint64_t until_ns = calypte_now_ns() + 20 * kMs;
  while (calypte_now_ns() < until_ns) sched_yield();
  CHECK(scene.units() == units);
  calypte_end(client.client, CALYPTE_NO_STREAM);
  CHECK(comes_true([&] { return scene.units() > units + 5; }));
  CHECK(scene.task().requests == 1);
  CHECK(scene.task().on_time == 1);
  CHECK(scene.task().busy_ns >= 20 * kMs);
}

TEST_CASE("without an engine every call is a no-op, and once one is there it is found") {
  const std::string path = socket_path();
  Client client(path);
  for (int i = 0; i < 1'000; ++i) {
    calypte_expect(client.client, calypte_now_ns() + kMs);
    calypte_begin(client.client, calypte_now_ns());
    calypte_end(client.client, CALYPTE_NO_STREAM);
  }
  CHECK(client.state() == CALYPTE_CLIENT_ALONE);
  auto scene = std::make_unique<Scene>(path);
  REQUIRE(client.served());
  calypte_begin(client.client, 0);
  calypte_end(client.client, nullptr);  // no CUDA here: at once
  CHECK(comes_true([&] { return scene->task().on_time == 1; }));
  scene.reset();
  CHECK(comes_true([&] { return client.state() == CALYPTE_CLIENT_ALONE; }));
  calypte_begin(client.client, 0);
  Scene next(path);
  REQUIRE(client.served());
  // Its end belongs to nobody here.
  calypte_end(client.client, CALYPTE_NO_STREAM);
  calypte_begin(client.client, 0);
  CHECK(comes_true([&] { return next.task().requests == 1; }));
  calypte_end(client.client, CALYPTE_NO_STREAM);
  CHECK(comes_true([&] { return next.task().on_time == 1; }));
}

TEST_CASE("the client's thread takes no signal that the process has a handler for") {
  const auto threads = [] {
    std::set<std::string> all;
    for (const auto &task : std::filesystem::directory_iterator("/proc/self/task")) all.insert(task.path().filename());
    return all;
  };
  const std::set<std::string> before = threads();
  Client client(socket_path());
  uint64_t blocked = 0;
  const auto look = [&] {
    for (const std::string &thread : threads()) {
      if (before.count(thread) > 0) continue;
      std::ifstream status("/proc/self/task/" + thread + "/status");
      for (std::string line; std::getline(status, line);) {
        if (line.rfind("SigBlk:", 0) == 0) blocked = std::stoull(line.substr(7), nullptr, 16);
      }
    }
    return blocked;
  };
  // A thread begins with all of them blocked, until it has its own mask.
  CHECK(comes_true([&] { return (look() >> (SIGSEGV - 1) & 1) == 0; }));
  const auto is_blocked = [&](int signal) { return (blocked >> (signal - 1) & 1) != 0; };
  for (const int signal : {SIGINT, SIGTERM, SIGALRM, SIGUSR1, SIGCHLD}) CHECK(is_blocked(signal));
  // What a fault of its own raises goes to the handler that reports crashes.
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) CHECK_FALSE(is_blocked(signal));
  // Only there: whoever opened it has the mask it had.
  sigset_t mine;
  REQUIRE(pthread_sigmask(SIG_SETMASK, nullptr, &mine) == 0);
  CHECK(sigismember(&mine, SIGINT) == 0);
}

TEST_CASE("no call takes long, whether an engine is there, reads, or not") {
  Scene scene;
  Client client(scene.path);
  REQUIRE(client.served());
  std::vector<uint64_t> times_ns;
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t begin_ns = calypte_now_ns();
    calypte_begin(client.client, 0);
    calypte_end(client.client, CALYPTE_NO_STREAM);
    times_ns.push_back(calypte_now_ns() - begin_ns);
  }
  std::sort(times_ns.begin(), times_ns.end());
  MESSAGE("begin and end: p50 " << times_ns[10'000] << " ns, p99 " << times_ns[19'800] << " ns");
  CHECK(times_ns[10'000] < kMs);
  CHECK(comes_true([&] { return scene.task().in_flight == 0; }));
}

TEST_CASE("an engine that does not read is told the end of each request whose beginning it was told") {
  // In its place: a page that nobody reads.
  const std::string path = socket_path();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.c_str(), path.size());
  const int listener = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  REQUIRE(bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0);
  REQUIRE(listen(listener, 1) == 0);
  const int files[] = {memfd_create("page", MFD_CLOEXEC), eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC)};
  REQUIRE(ftruncate(files[0], sizeof(calypte_client_page)) == 0);
  void *memory = mmap(nullptr, sizeof(calypte_client_page), PROT_READ | PROT_WRITE, MAP_SHARED, files[0], 0);
  REQUIRE(memory != MAP_FAILED);
  auto *page = static_cast<calypte_client_page *>(memory);
  page->magic = CALYPTE_CLIENT_MAGIC;
  Client client(path);
  const int peer = accept(listener, nullptr, nullptr);
  calypte_client_hello hello{CALYPTE_CLIENT_MAGIC, CALYPTE_CLIENT_VERSION, 0};
  iovec part{&hello, sizeof hello};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof files)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr *head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof files);
  memcpy(CMSG_DATA(head), files, sizeof files);
  REQUIRE(sendmsg(peer, &message, 0) == static_cast<ssize_t>(sizeof hello));
  REQUIRE(client.served());
  // Each within the one before, with announcements in between: far more than the page holds.
  std::vector<uint64_t> numbers;
  for (int i = 0; i < 50; ++i) {
    for (int n = 0; n < 4; ++n) {
      calypte_expect(client.client, calypte_now_ns() + kMs);
      numbers.push_back(calypte_begin(client.client, 0));
    }
    for (; !numbers.empty(); numbers.pop_back()) calypte_end_of(client.client, numbers.back(), CALYPTE_NO_STREAM);
    calypte_end_of(client.client, 0, CALYPTE_NO_STREAM);
  }
  std::vector<uint64_t> begun, ended;
  for (uint32_t at = 0; at < __atomic_load_n(&page->head, __ATOMIC_ACQUIRE); ++at) {
    const calypte_client_record &record = page->records[at];
    if (record.kind == CALYPTE_CLIENT_BEGIN) begun.push_back(record.number);
    if (record.kind == CALYPTE_CLIENT_END) ended.push_back(record.number);
  }
  CHECK(begun.size() > 20);
  CHECK(page->head > CALYPTE_CLIENT_RECORDS - 8);
  std::sort(begun.begin(), begun.end());
  std::sort(ended.begin(), ended.end());
  CHECK(begun == ended);
  munmap(memory, sizeof(calypte_client_page));
  for (const int file : {files[0], files[1], files[2], peer, listener}) close(file);
  unlink(path.c_str());
}

TEST_CASE("a client that is killed between begin and end has failed, background comes back, and the next is served") {
  Scene scene;
  const pid_t pid = fork();
  if (pid == 0) {
    calypte_client *client = calypte_client_open(scene.path.c_str());
    while (calypte_client_state(client) != CALYPTE_CLIENT_SERVED) sched_yield();
    calypte_begin(client, 0);
    for (;;) pause();
  }
  REQUIRE(comes_true([&] { return scene.task().in_flight == 1; }));
  Client second(scene.path);
  CHECK(comes_true([&] { return second.state() == CALYPTE_CLIENT_BUSY; }));
  calypte_begin(second.client, 0);
  calypte_end(second.client, CALYPTE_NO_STREAM);
  CHECK(scene.task().requests == 1);
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  CHECK(comes_true([&] { return scene.task().failed == 1; }));
  const uint64_t units = scene.units();
  CHECK(comes_true([&] { return scene.units() > units + 5; }));
  REQUIRE(second.served());
  calypte_begin(second.client, 0);
  calypte_end(second.client, CALYPTE_NO_STREAM);
  CHECK(comes_true([&] { return scene.task().on_time == 1; }));
}

TEST_CASE("a client that is killed is missed also where a process that it forked still holds its socket") {
  Scene scene;
  int told[2];
  REQUIRE(pipe2(told, O_CLOEXEC) == 0);
  const pid_t pid = fork();
  if (pid == 0) {
    calypte_client *client = calypte_client_open(scene.path.c_str());
    while (calypte_client_state(client) != CALYPTE_CLIENT_SERVED) sched_yield();
    calypte_begin(client, 0);
    // As a data loader's process does.
    const pid_t heir = fork();
    if (heir > 0 && write(told[1], &heir, sizeof heir) != sizeof heir) _exit(1);
    for (;;) pause();
  }
  pid_t heir = 0;
  REQUIRE(read(told[0], &heir, sizeof heir) == sizeof heir);
  CHECK(comes_true([&] { return scene.task().in_flight == 1; }));
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  CHECK(comes_true([&] { return scene.task().failed == 1; }));
  CHECK(scene.task().in_flight == 0);
  CHECK(kill(heir, 0) == 0);
  {
    Client next(scene.path);
    CHECK(next.served());
  }
  kill(heir, SIGKILL);
  for (const int end : told) close(end);
}

TEST_CASE("a client that never stops writing nonsense does not keep the dispatcher") {
  const std::string path = socket_path();
  const std::unique_ptr<calypte::ExternalSource> source = calypte::ExternalSource::open(path.c_str());
  REQUIRE(source != nullptr);
  source->start({nullptr, [] {}, false});
  calypte_client_hello hello{};
  int files[3];
  const int socket = greeted(path, hello, files);
  void *memory = mmap(nullptr, sizeof(calypte_client_page), PROT_READ | PROT_WRITE, MAP_SHARED, files[0], 0);
  REQUIRE(memory != MAP_FAILED);
  auto *page = static_cast<calypte_client_page *>(memory);
  // Always as far ahead as the ring is long. It ends by itself, so that a reader that never comes back shows.
  constexpr uint32_t kTurns = 1'000'000;
  std::atomic<bool> written{false};
  std::thread writer([&] {
    for (uint32_t at = 0; at < kTurns; ++at) {
      while (at - __atomic_load_n(&page->tail, __ATOMIC_ACQUIRE) >= CALYPTE_CLIENT_RECORDS) {
      }
      calypte_client_record &record = page->records[at % CALYPTE_CLIENT_RECORDS];
      record.kind = 99;
      __atomic_store_n(&record.turn, at + 1, __ATOMIC_RELEASE);
    }
    written.store(true);
  });
  uint32_t longest = 0, read = 0, events = 0;
  while (!written.load()) {
    const uint32_t before = __atomic_load_n(&page->tail, __ATOMIC_ACQUIRE);
    calypte::SourceItem item;
    events += source->poll(item) ? 1 : 0;
    longest = std::max(longest, __atomic_load_n(&page->tail, __ATOMIC_ACQUIRE) - before);
    read += __atomic_load_n(&page->tail, __ATOMIC_ACQUIRE) - before;
  }
  writer.join();
  CHECK(events == 0);
  CHECK(longest <= CALYPTE_CLIENT_RECORDS);
  CHECK(read > CALYPTE_CLIENT_RECORDS);
  munmap(memory, sizeof(calypte_client_page));
  for (const int file : {files[0], files[1], files[2], socket}) close(file);
}

TEST_CASE("whatever a client writes on its page, the engine goes on, and serves the next") {
  Scene scene;
  const uint64_t seed = calypte_now_ns() / kSecond;
  MESSAGE("seed " << seed);
  uint64_t state = seed;
  const auto random = [&] { return state = state * 6364136223846793005u + 1442695040888963407u; };
  for (int round = 0; round < 5; ++round) {
    calypte_client_hello hello{};
    int files[3];
    const int socket = greeted(scene.path, hello, files);
    if (hello.busy != 0) {  // the one before is being let go
      close(socket);
      --round;
      sched_yield();
      continue;
    }
    CHECK(ftruncate(files[0], 0) != 0);
    void *memory = mmap(nullptr, sizeof(calypte_client_page), PROT_READ | PROT_WRITE, MAP_SHARED, files[0], 0);
    REQUIRE(memory != MAP_FAILED);
    auto *page = static_cast<calypte_client_page *>(memory);
    for (int i = 0; i < 20'000; ++i) {
      calypte_client_record &record = page->records[random() % CALYPTE_CLIENT_RECORDS];
      record.kind = random() >> 60;
      record.time_ns = (random() & 1) != 0 ? random() : calypte_now_ns();
      record.sensor_ns = random();
      record.number = random() >> 62;
      __atomic_store_n(&record.turn,
                       __atomic_load_n(&page->tail, __ATOMIC_ACQUIRE) + static_cast<uint32_t>(random() >> 62),
                       __ATOMIC_RELEASE);
      const uint64_t one = 1;
      REQUIRE(write(files[1], &one, sizeof one) == sizeof one);
    }
    munmap(memory, sizeof(calypte_client_page));
    for (const int file : files) close(file);
    close(socket);
    CHECK(comes_true([&] { return scene.task().in_flight == 0; }));
  }
  CHECK(scene.engine->snapshot().state == CALYPTE_STATE_READY);
  // Served: the records of the one before have all been read. Some of them may have been on time.
  Client client(scene.path);
  REQUIRE(client.served());
  const uint64_t on_time = scene.task().on_time;
  calypte_begin(client.client, 0);
  calypte_end(client.client, CALYPTE_NO_STREAM);
  CHECK(comes_true([&] { return scene.task().on_time > on_time; }));
}

TEST_CASE("bad tasks and bad sockets are refused by name") {
  TestEngine engine(real_options());
  CHECK(calypte_external(engine.id(), "") == CALYPTE_E_INVALID);
  CHECK(calypte_external(engine.id(), "/tmp/calypte-no-such-folder/s") == CALYPTE_E_INVALID);
  const std::string path = socket_path();
  const int32_t channel = calypte_external(engine.id(), path.c_str());
  REQUIRE(channel > 0);
  CHECK(calypte_external(engine.id(), path.c_str()) == CALYPTE_E_INVALID);
  WorkSpec with_steps = outside_task(channel, kMs);
  with_steps.steps = WorkSpec::task("t", 100, kMs).steps;
  CHECK(engine.add(with_steps) == CALYPTE_E_INVALID);
  CHECK(last_error().find("another process does its work") != std::string::npos);
  CHECK(engine.add(outside_task(0, kMs)) == CALYPTE_E_INVALID);
  TestEngine in_virtual_time(sim_options());
  CHECK(calypte_external(in_virtual_time.id(), path.c_str()) == CALYPTE_E_STATE);
  CHECK(calypte_client_open(nullptr) == nullptr);
  CHECK(calypte_client_open(std::string(200, 'x').c_str()) == nullptr);
  calypte_begin(nullptr, 0);
  calypte_end(nullptr, nullptr);
  calypte_client_close(nullptr);
}
