// Do requests that come over sockets and rings reach their task, and outputs their ring, in real time on the simulator?
// Every wait is for the thing itself, with a limit that only a defect meets.
#include <doctest/doctest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "engine/outputs.h"
#include "ring_support.h"
#include "support.h"

using namespace calypte::test;

namespace {

constexpr uint64_t kPatience = 20 * kSecond;
constexpr uint64_t kExpiry = 50 * kMs;
constexpr uint64_t kBytes = 64;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kSlower = 10;
#else
constexpr uint64_t kSlower = 1;
#endif

calypte_options real_options() {
  calypte_options options = sim_options();
  options.clock = CALYPTE_CLOCK_REAL;
  return options;
}

WorkSpec task_of(uint64_t estimate_ns, int32_t channel, uint32_t source) {
  WorkSpec spec = WorkSpec::task("detector", estimate_ns, 10 * kSecond);
  spec.input(kBytes).output(128, false);
  spec.head.source = source;
  spec.head.channel = static_cast<uint32_t>(channel);
  return spec;
}

// Sends datagrams as another process would.
class Sender {
 public:
  explicit Sender(const TempPath &path) : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    connected_ = connect(socket_, reinterpret_cast<const sockaddr *>(&address), sizeof address) == 0;
  }
  ~Sender() { close(socket_); }
  bool connected() const { return connected_; }

  // Waits while the receiver's queue is full.
  bool send(uint64_t sequence, uint64_t sensor_ns, uint64_t bytes = kBytes, uint32_t magic = CALYPTE_DATAGRAM_MAGIC) {
    std::vector<uint8_t> message(sizeof(calypte_datagram) + bytes, 5);
    const calypte_datagram head{magic, CALYPTE_DATAGRAM_VERSION, sequence, sensor_ns};
    memcpy(message.data(), &head, sizeof head);
    return raw(message);
  }
  bool raw(const std::vector<uint8_t> &message) {
    return ::send(socket_, message.data(), message.size(), 0) == static_cast<ssize_t>(message.size());
  }

 private:
  const int socket_;
  bool connected_;
};

// An engine with one task, fed by a socket or a ring, whose outputs go into a ring.
struct Scene {
  TempPath input, output;
  TestEngine engine{real_options()};
  Ring out;

  // `change` may alter the task before it is added.
  template <class Change>
  void begin(uint32_t source, uint64_t estimate_ns, Change change) {
    const int32_t in = source == CALYPTE_SOURCE_SOCKET ? calypte_socket(engine.id(), input.c_str())
                                                       : calypte_ring_input(engine.id(), input.c_str());
    REQUIRE(in > 0);
    const int32_t channel = calypte_ring_output(engine.id(), output.c_str(), 8, 128, kExpiry);
    REQUIRE(channel > 0);
    WorkSpec spec = task_of(estimate_ns, in, source);
    spec.head.output_channel = static_cast<uint32_t>(channel);
    change(spec);
    REQUIRE_MESSAGE(engine.add(spec) == 0, last_error());
    REQUIRE(out.open(output) == 0);
    REQUIRE(engine.ready() == 0);
  }
  void begin(uint32_t source, uint64_t estimate_ns = 100 * kUs) {
    begin(source, estimate_ns, [](WorkSpec &) {});
  }

  calypte_ring_record next() {
    calypte_ring_record record{};
    REQUIRE(calypte_ring_wait(&out.ring, kPatience) == 1);
    REQUIRE(calypte_ring_read(&out.ring, nullptr, 0, &record) == 1);
    return record;
  }
  // Whether an output of what the sensor saw then has come since the last look.
  bool seen(uint64_t sensor_ns) {
    calypte_ring_record record{};
    bool found = false;
    while (calypte_ring_read(&out.ring, nullptr, 0, &record) == 1) found |= record.sensor_ns == sensor_ns;
    return found;
  }
  const calypte_task_stats &stats() { return engine.snapshot().tasks[0]; }

  // The counts of input events by their reason, of all events so far.
  std::vector<int64_t> inputs() {
    for (const calypte_event &event : engine.events()) {
      if (event.kind == CALYPTE_EVENT_INPUT) counts_[static_cast<size_t>(event.b)] += event.a;
    }
    return counts_;
  }
  // Asks until `met`; each time it waits a little for a record that does not come.
  template <class Met>
  bool until(Met met) {
    const uint64_t end_ns = calypte_now_ns() + kPatience;
    while (!met()) {
      if (calypte_now_ns() > end_ns) return false;
      calypte_ring unread = out.ring;
      unread.next = calypte_ring_head(&unread);
      calypte_ring_wait(&unread, 2 * kMs);
    }
    return true;
  }

 private:
  std::vector<int64_t> counts_ = std::vector<int64_t>(CALYPTE_INPUT_NO_RING + 1, 0);
};

void put(calypte_ring &ring, uint64_t sensor_ns, uint64_t bytes = kBytes) {
  const std::vector<uint8_t> payload(bytes, 3);
  calypte_ring_record about{};
  about.sensor_ns = sensor_ns;
  about.payload_bytes = bytes;
  calypte_ring_write(&ring, payload.data(), &about);
}

calypte_ring_shape frames_shape(uint32_t slots) {
  calypte_ring_shape shape{};
  shape.slot_count = slots;
  shape.slot_bytes = kBytes;
  shape.expiry_ns = kExpiry;
  return shape;
}

}  // namespace

TEST_CASE("a datagram is a request, and its output carries number, sensor time and completion") {
  Scene scene;
  scene.begin(CALYPTE_SOURCE_SOCKET);
  Sender sender(scene.input);
  REQUIRE(sender.connected());
  for (uint64_t number = 0; number < 3; ++number) {
    const uint64_t sensor_ns = calypte_now_ns();
    REQUIRE(sender.send(number, sensor_ns));
    const calypte_ring_record record = scene.next();
    CHECK(record.number == number);
    CHECK(record.sensor_ns == sensor_ns);
    CHECK(record.done_ns > sensor_ns);
    CHECK(record.flags == CALYPTE_RING_SIMULATED);
    CHECK(record.payload_bytes == 0);
  }
  CHECK(scene.stats().on_time == 3);
  CHECK(scene.engine.results().size() == 3);
}

TEST_CASE("datagrams of a wrong size or head are left out and reported, and the next good one is taken") {
  Scene scene;
  scene.begin(CALYPTE_SOURCE_SOCKET);
  Sender sender(scene.input);
  CHECK(sender.send(0, 0, kBytes - 1));
  CHECK(sender.raw({1, 2, 3}));
  CHECK(sender.raw({}));
  CHECK(sender.send(0, 0, kBytes + 1));
  CHECK(sender.send(0, 0, kBytes, 77));
  CHECK(sender.send(10, 0));
  CHECK(sender.send(14, calypte_now_ns() + kSecond));
  scene.next();
  CHECK(scene.next().sensor_ns == 0);
  CHECK(scene.stats().requests == 2);
  // The first of each kind is reported at once, and the rest when its second is over.
  CHECK(scene.inputs()[CALYPTE_INPUT_WRONG_SIZE] == 1);
  CHECK(scene.inputs()[CALYPTE_INPUT_WRONG_HEAD] == 1);
  CHECK(scene.until([&] { return scene.inputs()[CALYPTE_INPUT_WRONG_HEAD] == 3; }));
  CHECK(scene.until([&] { return scene.inputs()[CALYPTE_INPUT_WRONG_SIZE] == 2; }));
  CHECK(scene.inputs()[CALYPTE_INPUT_SENSOR_TIME] == 1);
  CHECK(scene.inputs()[CALYPTE_INPUT_MISSING] == 3);
}

TEST_CASE("a burst beyond the queue is dropped and counted, and nothing is lost unseen") {
  Scene scene;
  scene.begin(CALYPTE_SOURCE_SOCKET, 3'600 * kSecond, [](WorkSpec &spec) {
    spec.head.queue = CALYPTE_QUEUE_FIFO;
    spec.head.queue_depth = 2;
  });
  Sender sender(scene.input);
  for (uint64_t sequence = 0; sequence < 20; ++sequence) REQUIRE(sender.send(sequence, 0));
  CHECK(scene.until([&] { return scene.stats().requests == 20; }));
  CHECK(scene.stats().in_flight == 1);
  CHECK(scene.stats().waiting == 2);
  CHECK(scene.stats().dropped == 17);
}

TEST_CASE("a late output says so, and is not published where the mission drops it") {
  for (const uint32_t on_miss : {CALYPTE_ON_MISS_PUBLISH_LATE, CALYPTE_ON_MISS_DROP}) {
    Scene scene;
    scene.begin(CALYPTE_SOURCE_SOCKET, 5 * kMs, [&](WorkSpec &spec) {
      spec.head.on_miss = on_miss;
      spec.head.deadline_ns = 2 * kMs;
    });
    Sender sender(scene.input);
    REQUIRE(sender.send(0, 0));
    CHECK(scene.until([&] { return scene.stats().late + scene.stats().dropped == 1; }));
    if (on_miss == CALYPTE_ON_MISS_PUBLISH_LATE) {
      CHECK(scene.next().flags == (CALYPTE_RING_LATE | CALYPTE_RING_SIMULATED));
    } else {
      CHECK(calypte_ring_head(&scene.out.ring) == 0);
    }
  }
}

TEST_CASE("a socket's path is taken only if nobody listens there, has mode 0660, and is gone at the end") {
  const TempPath path;
  {
    TestEngine first(real_options());
    REQUIRE(calypte_socket(first.id(), path.c_str()) == 1);
    struct stat about {};
    REQUIRE(stat(path.c_str(), &about) == 0);
    CHECK((about.st_mode & 0777) == 0660);
    TestEngine second(real_options());
    CHECK(calypte_socket(second.id(), path.c_str()) == CALYPTE_E_INVALID);
    CHECK(last_error().find("another process listens there") != std::string::npos);
    CHECK(Sender(path).connected());
  }
  CHECK(access(path.c_str(), F_OK) != 0);
  // As a process leaves it that was killed.
  const int dead = ::socket(AF_UNIX, SOCK_DGRAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  REQUIRE(bind(dead, reinterpret_cast<const sockaddr *>(&address), sizeof address) == 0);
  close(dead);
  {
    TestEngine third(real_options());
    CHECK(calypte_socket(third.id(), path.c_str()) == 1);
    CHECK(Sender(path).connected());
  }
  write_file(path, "mine");
  TestEngine fourth(real_options());
  CHECK(calypte_socket(fourth.id(), path.c_str()) == CALYPTE_E_INVALID);
  CHECK(read_file(path) == "mine");
}

TEST_CASE("a producer's ring may come late, and FIFO accounts for every record of it") {
  Scene scene;
  scene.begin(CALYPTE_SOURCE_RING, 10 * kUs, [](WorkSpec &spec) {
    spec.head.queue = CALYPTE_QUEUE_FIFO;
    spec.head.queue_depth = 16;
  });
  REQUIRE(scene.until([&] { return scene.inputs()[CALYPTE_INPUT_NO_RING] > 0; }));
  Ring producer(scene.input, frames_shape(4));
  // Until the source has found the ring, records are of the past. The last of these is waited for, so that none of them
  // is still under way when counting begins.
  uint64_t marker_ns = 0;
  REQUIRE(scene.until([&] {
    if (marker_ns != 0 && scene.seen(marker_ns)) return true;
    if (scene.stats().requests == 0) put(producer.ring, marker_ns = calypte_now_ns());
    return false;
  }));
  const uint64_t first = producer.ring.next, before = scene.stats().requests;
  const uint64_t last_ns = calypte_now_ns();
  for (int i = 0; i < 40; ++i) put(producer.ring, i == 39 ? last_ns : 1);
  REQUIRE(scene.until([&] { return scene.stats().requests >= before + producer.ring.next - first; }));
  CHECK(scene.stats().requests == before + 40);
  CHECK(scene.until([&] { return scene.stats().waiting + scene.stats().in_flight == 0; }));
  CHECK(scene.stats().on_time + scene.stats().dropped == scene.stats().requests);
}

TEST_CASE("with LATEST only the newest record of a ring is asked for, and one of a wrong size is reported") {
  Scene scene;
  Ring producer(scene.input, frames_shape(4));
  put(producer.ring, 0);
  scene.begin(CALYPTE_SOURCE_RING);
  put(producer.ring, 0, kBytes - 8);
  REQUIRE(scene.until([&] { return scene.inputs()[CALYPTE_INPUT_WRONG_SIZE] > 0; }));
  CHECK(scene.stats().requests == 0);
  const uint64_t sensor_ns = calypte_now_ns();
  put(producer.ring, sensor_ns);
  const calypte_ring_record record = scene.next();
  CHECK(record.number == 0);
  CHECK(record.sensor_ns == sensor_ns);
  CHECK(scene.stats().dropped == 0);
}

TEST_CASE("a source follows its producer to a new file") {
  Scene scene;
  Ring producer(scene.input, frames_shape(4));
  scene.begin(CALYPTE_SOURCE_RING);
  producer.close();
  Ring next(scene.input, frames_shape(8));
  REQUIRE(next.ring.created == 1);
  const uint64_t sensor_ns = calypte_now_ns();
  REQUIRE(scene.until([&] {
    put(next.ring, sensor_ns);
    return scene.seen(sensor_ns);
  }));
}

TEST_CASE("what does not fit together is refused when it is added") {
  const TempPath path, other;
  TestEngine engine(real_options());
  const int32_t socket = calypte_socket(engine.id(), path.c_str());
  const int32_t output = calypte_ring_output(engine.id(), other.c_str(), 2, 64, kExpiry);
  CHECK(engine.add(task_of(1, socket, CALYPTE_SOURCE_RING)) == CALYPTE_E_NOT_FOUND);
  CHECK(engine.add(task_of(1, output, CALYPTE_SOURCE_SOCKET)) == CALYPTE_E_NOT_FOUND);
  CHECK(engine.add(task_of(1, 0, CALYPTE_SOURCE_SOCKET)) == CALYPTE_E_INVALID);
  CHECK(engine.add(task_of(1, socket, CALYPTE_SOURCE_API)) == CALYPTE_E_INVALID);
  WorkSpec large = task_of(1, socket, CALYPTE_SOURCE_SOCKET);
  large.head.output_channel = static_cast<uint32_t>(output);
  CHECK(engine.add(large) == CALYPTE_E_INVALID);  // 128 bytes do not fit into 64
  CHECK(engine.add(task_of(1, socket, CALYPTE_SOURCE_SOCKET)) == 0);
  WorkSpec again = task_of(1, socket, CALYPTE_SOURCE_SOCKET);
  strcpy(again.head.name, "again");
  CHECK(engine.add(again) == CALYPTE_E_INVALID);
  WorkSpec job = WorkSpec::job("job").step(CALYPTE_LEVEL_BLOCK, 1000);
  job.head.source = CALYPTE_SOURCE_SOCKET;
  job.head.channel = static_cast<uint32_t>(socket);
  CHECK(engine.add(job) == CALYPTE_E_INVALID);
  CHECK(calypte_ring_output(engine.id(), path.c_str(), 1, 64, kExpiry) == CALYPTE_E_INVALID);
  CHECK(calypte_ring_output(engine.id(), path.c_str(), 2, 64, 1) == CALYPTE_E_INVALID);
  CHECK(calypte_ring_output(engine.id(), other.c_str(), 2, 64, kExpiry) == CALYPTE_E_BUSY);

  TestEngine simulated(sim_options());
  CHECK(calypte_socket(simulated.id(), path.c_str()) == CALYPTE_E_STATE);
  CHECK(calypte_ring_input(simulated.id(), path.c_str()) == CALYPTE_E_STATE);
  CHECK(calypte_ring_output(simulated.id(), path.c_str(), 2, 64, kExpiry) == CALYPTE_E_STATE);
  CHECK(last_error().find("virtual") != std::string::npos);
}

TEST_CASE("an engine that never ran leaves no ring behind; one that ran leaves it to the next") {
  const TempPath path;
  {
    TestEngine engine(real_options());
    REQUIRE(calypte_ring_output(engine.id(), path.c_str(), 2, 64, kExpiry) > 0);
    CHECK(access(path.c_str(), F_OK) == 0);
  }
  CHECK(access(path.c_str(), F_OK) != 0);
  {
    TestEngine engine(real_options());
    REQUIRE(calypte_ring_output(engine.id(), path.c_str(), 2, 64, kExpiry) > 0);
    REQUIRE(engine.ready() == 0);
  }
  CHECK(access(path.c_str(), F_OK) == 0);
}

TEST_CASE("units of a background job are published too") {
  const TempPath path;
  TestEngine engine(real_options());
  const int32_t channel = calypte_ring_output(engine.id(), path.c_str(), 64, 64, kExpiry);
  WorkSpec job = WorkSpec::job("map").step(CALYPTE_LEVEL_BLOCK, kMs, 50 * kUs).output(64, false);
  job.head.output_channel = static_cast<uint32_t>(channel);
  REQUIRE(engine.add(job) == 0);
  REQUIRE(engine.ready() == 0);
  Ring reader(path);
  REQUIRE(engine.plan(kPatience, {{0, 1, 3}}) == 0);
  for (uint64_t unit = 0; unit < 3; ++unit) {
    calypte_ring_record record{};
    REQUIRE(calypte_ring_wait(&reader.ring, kPatience) == 1);
    REQUIRE(calypte_ring_read(&reader.ring, nullptr, 0, &record) == 1);
    CHECK(record.number == unit);
    CHECK(record.flags == CALYPTE_RING_SIMULATED);
  }
}

// ---- The heartbeat

namespace {

int pipe_out[2], pipe_in[2];  // open until the process ends, as the thread below may be within a call

// In the thread that it is sent to: says so, and stays there until it is told to go on.
void stall(int) {
  char byte = 0;
  [[maybe_unused]] ssize_t n = write(pipe_out[1], &byte, 1);
  n = read(pipe_in[0], &byte, 1);
}

pid_t dispatcher() {
  for (const auto &entry : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(entry.path() / "comm"), name);
    if (name.rfind("calypte-critica", 0) == 0) return std::stoi(entry.path().filename());
  }
  return -1;
}

}  // namespace

TEST_CASE("the heartbeat ends when the dispatcher stalls, though every other thread goes on, and comes back with it") {
  Scene scene;
  scene.begin(CALYPTE_SOURCE_SOCKET);
  const auto alive = [&] { return calypte_ring_alive(&scene.out.ring, calypte_now_ns()) != 0; };
  CHECK(scene.until(alive));
  REQUIRE(pipe(pipe_out) == 0);
  REQUIRE(pipe(pipe_in) == 0);
  struct sigaction action {};
  action.sa_handler = stall;
  REQUIRE(sigaction(SIGUSR1, &action, nullptr) == 0);
  const pid_t thread = dispatcher();
  REQUIRE(thread > 0);
  REQUIRE(syscall(SYS_tgkill, getpid(), thread, SIGUSR1) == 0);
  char byte = 0;
  REQUIRE(read(pipe_out[0], &byte, 1) == 1);
  CHECK(scene.until([&] { return !alive(); }));
  REQUIRE(write(pipe_in[1], &byte, 1) == 1);
  CHECK(scene.until(alive));
}

TEST_CASE("an engine with nothing to do takes under 2 % of a core, and answers the next request all the same") {
  TestEngine engine(real_options());
  REQUIRE(engine.add(WorkSpec::task("detector", 100 * kUs, kSecond)) == 0);
  REQUIRE(engine.add(WorkSpec::job("map").step(CALYPTE_LEVEL_BLOCK, 100 * kUs, 10 * kUs)) == 0);
  REQUIRE(engine.ready() == 0);
  // As a policy leaves it whose job has no more input.
  REQUIRE(engine.plan(100 * kSecond, {{0, 1, 5}}) == 0);
  const auto comes_true = [](const std::function<bool()> &met) {
    const uint64_t end_ns = calypte_now_ns() + kPatience;
    while (!met() && calypte_now_ns() < end_ns) sched_yield();
    return met();
  };
  REQUIRE(comes_true([&] { return engine.snapshot().jobs[0].units >= 5; }));
  const pid_t thread = dispatcher();
  REQUIRE(thread > 0);
  // The CPU time of one thread, by the encoding that pthread_getcpuclockid uses too.
  const clockid_t clock = static_cast<clockid_t>((~static_cast<unsigned>(thread) << 3) | 6);
  const auto used_ns = [&] {
    timespec time{};
    REQUIRE(clock_gettime(clock, &time) == 0);
    return static_cast<uint64_t>(time.tv_sec) * kSecond + static_cast<uint64_t>(time.tv_nsec);
  };
  const uint64_t before_ns = used_ns();
  // The time in which it is watched.
  poll(nullptr, 0, 1'000);
  const uint64_t idle_ns = used_ns() - before_ns;
  MESSAGE("in a second of doing nothing: " << idle_ns / kUs << " us");
  CHECK(idle_ns < 20 * kMs * kSlower);
  CHECK(calypte_submit(engine.id(), CALYPTE_WORK_CRITICAL, 0, nullptr, 0, calypte_now_ns()) >= 0);
  CHECK(comes_true([&] { return engine.snapshot().tasks[0].on_time == 1; }));
}

TEST_CASE("the heartbeat is the dispatcher's time, not the thread's, and ends with the engine") {
  const TempPath path;
  Ring reader;
  {
    calypte::Outputs outputs;
    REQUIRE(outputs.open(path.c_str(), 2, 64, kExpiry) == 0);
    REQUIRE(reader.open(path) == 0);
    CHECK(outputs.beat(1'000 * kMs) == kExpiry / 4);
    outputs.beat(1'000 * kMs);
    CHECK(calypte_ring_alive(&reader.ring, 1'000 * kMs + kExpiry) == 1);
    CHECK(calypte_ring_alive(&reader.ring, 1'000 * kMs + kExpiry + 1) == 0);
  }
  CHECK(calypte_ring_alive(&reader.ring, 1'000 * kMs) == 0);
}
