#include "worker/host.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "engine/clock.h"
#include "engine/error.h"
#include "process/page.h"

namespace calypte::worker {
namespace {

constexpr uint64_t kMs = 1'000'000;
// How soon the end of an entry is seen, and how long one sleeps if nothing is at work.
constexpr uint64_t kBusyPollNs = 30'000, kIdlePollNs = 5 * kMs;
constexpr uint64_t kLookNs = 10 * kMs;
// The engine has been told of this process before it joins, and takes it up in its own time.
constexpr uint64_t kAdmittedWithinNs = 500 * kMs;
constexpr timespec kPause{0, 200'000};

}  // namespace

std::unique_ptr<Host> Host::join(const char *path, const uint8_t (&digest)[32]) {
  const int file = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  struct stat about {};
  if (file < 0 || fstat(file, &about) != 0 || about.st_size != static_cast<off_t>(sizeof(Page))) {
    fail(file < 0 ? CALYPTE_E_NOT_FOUND : CALYPTE_E_STATE, "join '%s': %s", path,
         file < 0 ? strerror(errno) : "it is not the page of a job");
    if (file >= 0) close(file);
    return nullptr;
  }
  void *memory = mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) {
    fail(CALYPTE_E_NO_MEMORY, "join '%s': %s", path, strerror(errno));
    return nullptr;
  }
  Page *page = static_cast<Page *>(memory);
  std::unique_ptr<Host> host(new Host(page));
  if (page->magic != kMagic || page->abi_version != CALYPTE_ABI_VERSION) {
    fail(CALYPTE_E_STATE, "join '%s': it is not the page of an engine of this version", path);
    return nullptr;
  }
  if (memcmp(page->digest, digest, sizeof page->digest) != 0) {
    fail(CALYPTE_E_INVALID, "join '%s': the engine expects another bundle", path);
    return nullptr;
  }
  host->engine_ = static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(page->engine_process), 0));
  if (host->engine_ < 0) {
    fail(CALYPTE_E_LOST, "join '%s': the engine's process %d has ended", path, page->engine_process);
    return nullptr;
  }
  const uint64_t give_up_ns = monotonic_ns() + kAdmittedWithinNs;
  while (page->worker_process.load(std::memory_order_acquire) != getpid()) {
    if (monotonic_ns() > give_up_ns || page->phase.load(std::memory_order_acquire) == over) {
      fail(CALYPTE_E_BUSY, "join '%s': the engine does not expect process %d; see calypte_admit", path, getpid());
      return nullptr;
    }
    nanosleep(&kPause, nullptr);
  }
  if (page->phase.load(std::memory_order_acquire) == joined) {
    fail(CALYPTE_E_BUSY, "join '%s': another worker has joined", path);
    return nullptr;
  }
  host->first_unit_ = page->next_unit;
  return host;
}

Host::~Host() {
  stop();
  if (engine_ >= 0) close(engine_);
  munmap(page_, sizeof(Page));
}

int32_t Host::start(Backend *backend, bool own_gate) {
  backend_ = backend;
  own_gate_ = own_gate;
  follow_gate(monotonic_ns());
  page_->worker_generation.store(page_->generation, std::memory_order_release);
  page_->phase.store(joined, std::memory_order_release);
  thread_ = std::thread([this] { serve(); });
  return 0;
}

void Host::stop() {
  stop_.store(true, std::memory_order_release);
  page_->signal.fetch_add(1, std::memory_order_release);
  wake_all(page_->signal);
  if (thread_.joinable()) thread_.join();
}

std::string Host::fault() const {
  const char *why = fault_.load(std::memory_order_acquire);
  return why == nullptr ? "" : why;
}

void Host::give_up(const char *why) { fault_.store(why, std::memory_order_release); }

// Where the kernels cannot read the engine's gate line, this process passes its state on to a line of its own.
void Host::follow_gate(uint64_t now_ns) {
  if (!own_gate_) return;
  const uint32_t closed = page_->gate_closed.load(std::memory_order_acquire) != 0 ? 1 : 0;
  if (closed == gate_seen_) return;
  gate_seen_ = closed;
  core::Action action;
  action.kind = core::ActionKind::set_hold;
  action.number = closed;
  backend_->execute(action, now_ns);
}

bool Host::take_commands(uint64_t now_ns) {
  bool taken = false;
  for (;;) {
    const uint32_t tail = page_->commands.tail.load(std::memory_order_relaxed);
    if (tail == page_->commands.head.load(std::memory_order_acquire)) return taken;
    const Command command = page_->commands.items[tail % kRingItems];
    page_->commands.tail.store(tail + 1, std::memory_order_release);
    taken = true;
    core::Action action;
    action.kind = static_cast<core::ActionKind>(command.kind);
    action.segment = command.segment;
    action.number = command.number;
    action.step_word = command.step_word;
    switch (action.kind) {
      case core::ActionKind::grant:
        action.number -= std::min(action.number, first_unit_);
        break;
      case core::ActionKind::launch_whole:
        action.step_word -= std::min(action.step_word, core::step_word_of(first_unit_, 0));
        [[fallthrough]];
      case core::ActionKind::enqueue_entry:
        entries_ += 1;
        break;
      case core::ActionKind::pause:
        break;
      default:
        continue;
    }
    backend_->execute(action, now_ns);
  }
}

bool Host::send_reports(uint64_t now_ns) {
  bool sent = false;
  for (;;) {
    const uint32_t head = page_->reports.head.load(std::memory_order_relaxed);
    // What finds no room waits in the backend.
    if (head - page_->reports.tail.load(std::memory_order_acquire) >= kRingItems) return sent;
    core::Event event;
    if (!backend_->poll(event, now_ns)) return sent;
    sent = true;
    if (event.kind == core::EventKind::fault) {
      gpu_failed_.store(true, std::memory_order_release);
      give_up("the GPU has reported an error");
      return sent;
    }
    Report report{static_cast<uint32_t>(event.kind),
                  0,
                  event.number,
                  event.time_ns,
                  event.step_word,
                  event.busy_ns,
                  event.leaves,
                  event.abandoned};
    if (event.kind == core::EventKind::unit_ready) report.number += first_unit_;
    report.step_word += core::step_word_of(first_unit_, 0);
    if (event.kind == core::EventKind::entry_done) entries_ -= 1;
    page_->reports.items[head % kRingItems] = report;
    page_->reports.head.store(head + 1, std::memory_order_release);
  }
}

bool Host::engine_lives(uint64_t now_ns) {
  if (page_->phase.load(std::memory_order_acquire) == over) return false;
  if (now_ns < looked_ns_ + kLookNs) return true;
  looked_ns_ = now_ns;
  pollfd ended{engine_, POLLIN, 0};
  return ::poll(&ended, 1, 0) <= 0;
}

void Host::serve() {
  prctl(PR_SET_NAME, "calypte-worker");
  prctl(PR_SET_TIMERSLACK, 1);
  backend_->enter();
  while (!stop_.load(std::memory_order_acquire) && fault_.load(std::memory_order_relaxed) == nullptr) {
    const uint32_t seen = page_->signal.load(std::memory_order_acquire);
    const uint64_t now_ns = monotonic_ns();
    follow_gate(now_ns);
    bool busy = take_commands(now_ns);
    busy |= send_reports(now_ns);
    if (!engine_lives(now_ns)) {
      give_up("the engine has ended");
      break;
    }
    if (busy) continue;
    uint64_t rest_ns = entries_ > 0 ? kBusyPollNs : kIdlePollNs;
    if (const uint64_t next_ns = backend_->next_event_ns(); next_ns != core::kNever)
      rest_ns = next_ns > now_ns ? std::min(rest_ns, next_ns - now_ns) : 0;
    if (rest_ns > 0) wait_on(page_->signal, seen, rest_ns);
  }
}

}  // namespace calypte::worker
