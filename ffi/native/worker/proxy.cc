#include "worker/proxy.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "engine/error.h"
#include "process/page.h"

namespace calypte::worker {
namespace {

// Between two looks at whether the process lives: a call of the system, so not in each of the dispatcher's rounds.
constexpr uint64_t kLookNs = 1'000'000;
// More units than anybody stages ahead.
constexpr uint64_t kMostStaged = 1024;
constexpr uint64_t kMostBusyNs = 3'600'000'000'000;

}  // namespace

std::unique_ptr<Proxy> Proxy::make(const char *path, const calypte_isolated &job) {
  std::unique_ptr<Proxy> proxy(new Proxy(path, job));
  // It appears whole, and in the place of what an engine that was killed has left.
  const std::string made = std::string(path) + ".new";
  unlink(made.c_str());
  const int file = open(made.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0 || ftruncate(file, sizeof(Page)) != 0) {
    fail(CALYPTE_E_INVALID, "add_isolated '%s': make the page '%s': %s", job.name, path, strerror(errno));
    if (file >= 0) close(file);
    return nullptr;
  }
  void *memory = mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);
  close(file);
  if (memory == MAP_FAILED) {
    fail(CALYPTE_E_NO_MEMORY, "add_isolated '%s': map the page: %s", job.name, strerror(errno));
    return nullptr;
  }
  Page *page = new (memory) Page{};
  page->abi_version = CALYPTE_ABI_VERSION;
  page->engine_process = getpid();
  memcpy(page->digest, job.digest, sizeof page->digest);
  page->job = job;
  page->gate_closed.store(1);
  page->magic = kMagic;
  proxy->page_ = page;
  if (rename(made.c_str(), path) != 0) {
    fail(CALYPTE_E_INVALID, "add_isolated '%s': put the page at '%s': %s", job.name, path, strerror(errno));
    unlink(made.c_str());
    return nullptr;
  }
  return proxy;
}

Proxy::~Proxy() {
  if (const int file = admitted_.load(); file >= 0) close(file);
  if (process_ >= 0) close(process_);
  if (page_ == nullptr) return;
  end();
  munmap(page_, sizeof(Page));
  unlink(path_.c_str());
}

void Proxy::give_handle(const uint8_t (&handle)[kHandleBytes]) {
  memcpy(page_->handle, handle, sizeof page_->handle);
  page_->has_handle = 1;
}

int32_t Proxy::admit(int32_t pid) {
  const int file = static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0));
  if (pid <= 0 || file < 0)
    return fail(CALYPTE_E_NOT_FOUND, "admit: process %d of job '%s': %s", pid, job_.name,
                pid <= 0 ? "no such process" : strerror(errno));
  admitted_pid_.store(pid, std::memory_order_relaxed);
  const int before = admitted_.exchange(file, std::memory_order_acq_rel);
  if (before >= 0) close(before);
  return 0;
}

void Proxy::reset_rings() {
  page_->commands.head.store(0);
  page_->commands.tail.store(0);
  page_->reports.head.store(0);
  page_->reports.tail.store(0);
}

void Proxy::execute(const core::Action &action) {
  if (!present_) return;
  const uint32_t head = page_->commands.head.load(std::memory_order_relaxed);
  // A worker that takes nothing any more is found out by its entry that does not come back.
  if (head - page_->commands.tail.load(std::memory_order_acquire) >= kRingItems) return;
  page_->commands.items[head % kRingItems] = {static_cast<uint32_t>(action.kind), action.segment, action.number,
                                              action.step_word};
  page_->commands.head.store(head + 1, std::memory_order_release);
  if (action.kind == core::ActionKind::enqueue_entry || action.kind == core::ActionKind::launch_whole) entries_ += 1;
  page_->signal.fetch_add(1, std::memory_order_release);
  wake_all(page_->signal);
}

void Proxy::gate(bool closed) {
  if (page_->gate_closed.load(std::memory_order_relaxed) == (closed ? 1u : 0u)) return;
  page_->gate_closed.store(closed ? 1 : 0, std::memory_order_release);
  // With a handle the kernels see the gate themselves, and commands wake the worker.
  if (page_->has_handle != 0 || !present_) return;
  page_->signal.fetch_add(1, std::memory_order_release);
  wake_all(page_->signal);
}

void Proxy::kill_worker() {
  if (process_ >= 0) syscall(SYS_pidfd_send_signal, process_, SIGKILL, nullptr, 0);
}

// Killed, and whatever it writes until it has ended means nothing: that may take a GPU context's time.
void Proxy::condemn() {
  if (condemned_) return;
  condemned_ = true;
  kill_worker();
}

void Proxy::end() {
  page_->phase.store(over, std::memory_order_release);
  page_->signal.fetch_add(1, std::memory_order_release);
  wake_all(page_->signal);
}

// Who may come, who has come, and who is gone.
bool Proxy::look_at_process(Notice &out, uint64_t now_ns, uint64_t next_unit) {
  if (now_ns < looked_ns_ + kLookNs) return false;
  looked_ns_ = now_ns;
  if (process_ >= 0) {
    pollfd ended{process_, POLLIN, 0};
    if (::poll(&ended, 1, 0) > 0) {
      close(process_);
      process_ = -1;
      condemned_ = false;
      page_->phase.store(waiting, std::memory_order_release);
      if (!present_) return false;
      present_ = false;
      out.event.kind = core::EventKind::worker_lost;
      return true;
    }
  }
  // The one before ends first: two of them would write on one page.
  if (process_ >= 0 && admitted_.load(std::memory_order_relaxed) >= 0) condemn();
  if (present_ || condemned_) return false;
  if (const int next = admitted_.exchange(-1, std::memory_order_acq_rel); next >= 0) {
    process_ = next;
    pid_ = admitted_pid_.load(std::memory_order_relaxed);
    reset_rings();
    page_->next_unit = next_unit;
    page_->generation += 1;
    page_->worker_process.store(pid_, std::memory_order_release);
    return false;
  }
  const bool here = process_ >= 0 && page_->phase.load(std::memory_order_acquire) == joined &&
                    page_->worker_generation.load(std::memory_order_acquire) == page_->generation;
  if (!here) return false;
  present_ = true;
  last_word_ = core::step_word_of(next_unit, 0);
  staged_ = next_unit;
  entries_ = 0;
  out.event.kind = core::EventKind::worker_joined;
  return true;
}

// Whether a worker that does as it should can say this now.
bool Proxy::sensible(const Report &report) const {
  const uint64_t unit = core::unit_of(last_word_);
  switch (static_cast<core::EventKind>(report.kind)) {
    case core::EventKind::unit_ready:
      return report.number >= staged_ && report.number >= unit && report.number <= unit + kMostStaged;
    case core::EventKind::entry_done:
      return entries_ > 0 && report.step_word >= last_word_ && core::unit_of(report.step_word) <= staged_ &&
             core::step_of(report.step_word) < job_.step_count && report.busy_ns <= kMostBusyNs;
    case core::EventKind::job_sample:
      return true;
    default:
      return false;
  }
}

bool Proxy::poll(Notice &out, uint64_t now_ns, uint64_t next_unit) {
  out = Notice{};
  if (present_) {
    const uint32_t tail = page_->reports.tail.load(std::memory_order_relaxed);
    const uint32_t waiting = page_->reports.head.load(std::memory_order_acquire) - tail;
    if (waiting > 0) {
      // Copied before it is judged: the worker may still write it.
      const Report report = page_->reports.items[tail % kRingItems];
      page_->reports.tail.store(tail + 1, std::memory_order_release);
      if (waiting > kRingItems || !sensible(report)) {
        // Once: what else it wrote is not read.
        page_->reports.tail.store(page_->reports.head.load(std::memory_order_relaxed), std::memory_order_release);
        condemn();
        present_ = false;
        out.nonsense = 1;
        out.event.kind = core::EventKind::worker_lost;
        return true;
      }
      out.event.kind = static_cast<core::EventKind>(report.kind);
      out.event.number = report.number;
      out.event.time_ns = report.time_ns < now_ns ? report.time_ns : now_ns;
      out.event.step_word = report.step_word;
      out.event.busy_ns = report.busy_ns;
      out.event.leaves = report.leaves;
      out.event.abandoned = report.abandoned;
      if (out.event.kind == core::EventKind::unit_ready) staged_ = report.number;
      if (out.event.kind == core::EventKind::entry_done) {
        last_word_ = report.step_word;
        entries_ -= 1;
      }
      return true;
    }
  }
  return look_at_process(out, now_ns, next_unit);
}

}  // namespace calypte::worker
