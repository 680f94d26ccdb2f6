#include <sys/prctl.h>

#include <algorithm>
#include <thread>

#include "clock.h"
#include "loops.h"

namespace eval {
namespace {

constexpr unsigned kStamps = 1 << 20;
// Between two looks at the GPU, so that a core is not burned for background.
constexpr int64_t kLookNs = 10'000;
constexpr int64_t kHungNs = 20'000'000'000;

// Waits until the event has happened. `hot`: without sleeping. Throws if it never does.
void wait_for(CUevent event, bool hot = false) {
  for (const int64_t limit = now_ns() + kHungNs;;) {
    const CUresult result = CU_RAW(cuEventQuery, event);
    if (result == CUDA_SUCCESS) return;
    if (result != CUDA_ERROR_NOT_READY) check(result, "cuEventQuery");
    if (now_ns() > limit) throw std::runtime_error("a background unit does not end");
    if (hot)
      relax();
    else
      sleep_until(now_ns() + kLookNs);
  }
}

}  // namespace

Background::Background(const Device &device, const Work &work, const Work &second, BackgroundOptions options)
    : device_(device),
      works_{&work, &second},
      options_(options),
      stream_(device.background()),
      log_(device.stamp_log(kStamps)) {
  for (int i = 0; i < 2; ++i) {
    const auto stamp = [this] { device_.stamp(log_, stream_); };
    graphs_[i] = works_[i]->capture(stream_, stamp, stamp);
    CU(cuEventCreate, &events_[i], CU_EVENT_DISABLE_TIMING);
    for (int run = 0; run < 3; ++run) CU(cuGraphLaunch, graphs_[i], stream_);
    CU(cuStreamSynchronize, stream_);
    const uint64_t digest = works_[i]->digest();
    if (i == 0)
      expected_ = digest;
    else if (digest != expected_)
      throw std::runtime_error("the background work computes something else from the same input");
  }
  ring_.resize(std::max(1u, options_.in_flight));
  for (CUevent &event : ring_) CU(cuEventCreate, &event, CU_EVENT_DISABLE_TIMING);
}

BackgroundResult Background::run(const Window &window, Shared &shared) {
  device_.enter();
  prctl(PR_SET_TIMERSLACK, 1000);  // ns; by default a sleep of 10 us takes 60
  BackgroundResult result;
  device_.clear(log_);
  if (options_.gate)
    gated(window, shared, result);
  else
    queued(window, shared, result);
  CU(cuStreamSynchronize, stream_);
  return result;
}

std::vector<std::pair<int64_t, int64_t>> Background::busy(const Window &window) const {
  std::vector<std::pair<int64_t, int64_t>> busy;
  for (const auto &[begin, end] : device_.spans(log_)) {
    if (end > window.begin_ns && begin < window.begin_ns + window.length_ns)
      busy.emplace_back(begin - window.begin_ns, end - window.begin_ns);
  }
  return busy;
}

void Background::judge(int i, const Window &window, BackgroundResult &result) const {
  ++result.checked;
  const int64_t done = now_ns() - window.begin_ns;
  if (works_[i]->digest() != expected_)
    ++result.wrong;
  else if (done >= 0 && done < window.length_ns)
    result.done_ns.push_back(done);
}

// Two units in flight: the GPU never waits for the host.
void Background::queued(const Window &window, const Shared &shared, BackgroundResult &result) {
  const int64_t end_ns = window.begin_ns + window.length_ns;
  bool in_flight[2] = {false, false};
  for (int i = 0; now_ns() < end_ns && !shared.failed; i ^= 1) {
    if (in_flight[i]) {
      wait_for(events_[i]);
      judge(i, window, result);
    }
    CU(cuGraphLaunch, graphs_[i], stream_);
    CU(cuEventRecord, events_[i], stream_);
    in_flight[i] = true;
  }
}

// One thread launches, another judges: between two units the GPU waits for neither.
void Background::gated(const Window &window, Shared &shared, BackgroundResult &result) {
  const int64_t end_ns = window.begin_ns + window.length_ns;
  std::atomic<uint64_t> enqueued{0}, judged{0};
  std::atomic<bool> ended{false};
  std::thread judging([&] {
    try {
      device_.enter();
      prctl(PR_SET_TIMERSLACK, 1000);
      for (uint64_t unit = 0;; ++unit) {
        while (enqueued.load() == unit) {
          if (ended.load() && enqueued.load() == unit) return;
          sleep_until(now_ns() + kLookNs);
        }
        wait_for(events_[unit % 2]);
        judge(static_cast<int>(unit % 2), window, result);
        judged.store(unit + 1);
      }
    } catch (const std::exception &error) {
      shared.fail(error.what());
    }
  });
  try {
    for (uint64_t unit = 0; now_ns() < end_ns && !shared.failed; ++unit) {
      // The buffers are those of the unit before the last.
      while (unit >= judged.load() + 2 && !shared.failed) relax();
      device_.stamp(log_, stream_);
      launches(*works_[unit % 2], shared, result, end_ns);
      device_.stamp(log_, stream_);
      CU(cuEventRecord, events_[unit % 2], stream_);
      enqueued.store(unit + 1);
    }
  } catch (const std::exception &error) {
    shared.fail(error.what());
  }
  ended.store(true);
  judging.join();
}

// Launch by launch: none while a request is in flight, and never more than so many ahead of the GPU.
void Background::launches(const Work &work, Shared &shared, BackgroundResult &result, int64_t end_ns) {
  work.enqueue(stream_, [&] {
    // The launch before is marked now, so that its end can be seen.
    CU(cuEventRecord, ring_[launched_ % ring_.size()], stream_);
    ++launched_;
    while (launched_ - ended_ >= ring_.size()) {
      wait_for(ring_[ended_ % ring_.size()], true);
      ++ended_;
    }
    result.most_in_flight = std::max<unsigned>(result.most_in_flight, static_cast<unsigned>(launched_ - ended_));
    if (!shared.at_work.load(std::memory_order_seq_cst)) return;
    ++result.gated;
    // Past the window the unit is only brought to its end.
    while (shared.at_work.load(std::memory_order_seq_cst) && !shared.failed && now_ns() < end_ns) relax();
  });
}

}  // namespace eval
