// Do the bytes between an agent and its engine come through whole whatever signals the process gets meanwhile?
#include <doctest/doctest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "process/wire.h"

using namespace calypte;

namespace {

// A handler that interrupts whatever waits, for as long as this lives.
struct Interrupting {
  struct sigaction before {};
  Interrupting() {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    REQUIRE(sigaction(SIGUSR2, &action, &before) == 0);
  }
  ~Interrupting() { sigaction(SIGUSR2, &before, nullptr); }
};

constexpr int kSignals = 50;

// Sends signals to `thread` while it waits: they are spread over turns of the scheduler, not over time.
void disturb(pthread_t thread, const std::atomic<bool> &over) {
  for (int i = 0; i < kSignals && !over.load(); ++i) {
    pthread_kill(thread, SIGUSR2);
    for (int turn = 0; turn < 50; ++turn) sched_yield();
  }
}

}  // namespace

TEST_CASE("a signal does not end what is being sent, however long the other end takes") {
  const Interrupting signals;
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  const std::vector<uint8_t> bytes(8 << 20, 7);
  std::atomic<bool> sent{false}, over{false};
  std::thread sender([&] {
    sent = wire::send_all(ends[0], bytes.data(), bytes.size());
    over = true;
  });
  // Nobody reads yet: it waits for room.
  disturb(sender.native_handle(), over);
  CHECK_FALSE(over.load());
  std::vector<uint8_t> got(bytes.size());
  const bool received = wire::receive_all(ends[1], got.data(), got.size(), [&] { return !over.load() || sent.load(); });
  sender.join();
  CHECK(sent.load());
  CHECK(received);
  CHECK(got == bytes);
  for (const int end : ends) close(end);
}

TEST_CASE("a signal does not end the wait for a descriptor, and the time that was given does") {
  const Interrupting signals;
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  CHECK(wire::receive_descriptor(ends[1], 10) == -1);
  std::atomic<int> got{-2};
  std::atomic<bool> over{false};
  std::thread receiver([&] {
    got = wire::receive_descriptor(ends[1], 60'000);
    over = true;
  });
  disturb(receiver.native_handle(), over);
  CHECK_FALSE(over.load());
  const int event = eventfd(5, EFD_CLOEXEC);
  REQUIRE(wire::send_descriptor(ends[0], event));
  receiver.join();
  REQUIRE(got.load() >= 0);
  uint64_t count = 0;
  CHECK(read(got.load(), &count, sizeof count) == sizeof count);
  CHECK(count == 5);
  for (const int file : {ends[0], ends[1], event, got.load()}) close(file);
}
