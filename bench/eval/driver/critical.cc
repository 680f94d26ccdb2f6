#include <cstring>
#include <deque>

#include "clock.h"
#include "loops.h"

namespace eval {
namespace {

constexpr int kWarmRuns = 20;
constexpr int64_t kHungNs = 10'000'000'000;
constexpr int64_t kWordTestNs = 200'000'000;
// The thread spins for this long ahead of a request, more than twice as long as Calypte's does. It sleeps before: one
// that never does is held for 50 ms of every second, where the kernel bounds what real-time threads may take.
constexpr int64_t kHotNs = 1'000'000;

}  // namespace

Critical::Critical(const Device &device, const Work &work, CriticalOptions options)
    : work_(work), options_(std::move(options)), stream_(device.critical()), word_(pinned(64)) {
  graph_ = work_.capture(stream_);
  // A word that the stream writes behind the graph is seen sooner than the driver tells.
  if (CU_RAW(cuStreamWriteValue32, stream_, word_.device, ++launches_, CU_STREAM_WRITE_VALUE_DEFAULT) == CUDA_SUCCESS) {
    by_word_ = true;
    by_word_ = wait(now_ns() + kWordTestNs);
  }
  CU(cuStreamSynchronize, stream_);
  for (int i = 0; i < kWarmRuns; ++i) {
    launch();
    if (!wait(now_ns() + kHungNs)) throw std::runtime_error("the critical work does not end");
  }
  expected_ = work_.digest();
}

void Critical::launch() {
  CU(cuGraphLaunch, graph_, stream_);
  ++launches_;
  if (by_word_) CU(cuStreamWriteValue32, stream_, word_.device, launches_, CU_STREAM_WRITE_VALUE_DEFAULT);
}

bool Critical::wait(int64_t limit_ns) {
  if (by_word_) {
    const auto *word = reinterpret_cast<const volatile uint32_t *>(word_.host);
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != launches_) {
      if (now_ns() > limit_ns) return false;
      relax();
    }
    return true;
  }
  for (;;) {
    const CUresult result = CU_RAW(cuStreamQuery, stream_);
    if (result == CUDA_SUCCESS) return true;
    if (result != CUDA_ERROR_NOT_READY) check(result, "cuStreamQuery");
    if (now_ns() > limit_ns) return false;
  }
}

CriticalResult Critical::run(const Window &window, Shared &shared) {
  const std::vector<int64_t> &arrivals = options_.arrivals_ns;
  const size_t count = arrivals.size(), bytes = work_.output_bytes();
  std::vector<int64_t> launch_ns(count, -1), done_ns(count, -2);
  // Outputs are kept and judged afterwards, so that judging delays no request. Touched now, for no page fault later.
  std::vector<uint8_t> outputs(count * bytes, 1);
  std::vector<bool> answered(count, false);
  std::deque<size_t> waiting;
  size_t next = 0;
  const int64_t end_ns = window.begin_ns + window.length_ns + window.tail_ns;
  while (!shared.failed && (next < count || !waiting.empty())) {
    if (waiting.empty()) {
      const int64_t due = window.begin_ns + arrivals[next];
      if (due - kHotNs > now_ns()) sleep_until(due - kHotNs);
      spin_until(due);
    }
    for (const int64_t now = now_ns(); next < count && window.begin_ns + arrivals[next] <= now; ++next) {
      if (waiting.size() < options_.queue_depth)
        waiting.push_back(next);
      else
        done_ns[next] = -1;
    }
    const size_t request = waiting.front();
    waiting.pop_front();
    if (now_ns() > end_ns) break;
    if (options_.gate) shared.at_work.store(true, std::memory_order_seq_cst);
    launch_ns[request] = now_ns() - window.begin_ns;
    launch();
    if (!wait(now_ns() + kHungNs)) throw std::runtime_error("a request does not end");
    const int64_t done = now_ns() - window.begin_ns;
    if (options_.gate && waiting.empty()) shared.at_work.store(false, std::memory_order_seq_cst);
    // What ended behind the tail counts as unfinished, whatever system made it so.
    if (window.begin_ns + done <= end_ns) done_ns[request] = done;
    memcpy(outputs.data() + request * bytes, work_.output(), bytes);
    answered[request] = true;
  }
  shared.at_work.store(false, std::memory_order_seq_cst);
  CriticalResult result;
  result.by_word = by_word_;
  for (size_t i = 0; i < count; ++i) {
    if (answered[i]) {
      ++result.checked;
      if (fnv1a(outputs.data() + i * bytes, bytes) != expected_) ++result.wrong;
    }
    if (arrivals[i] < 0) continue;
    result.launch_ns.push_back(launch_ns[i]);
    result.done_ns.push_back(done_ns[i]);
  }
  return result;
}

}  // namespace eval
