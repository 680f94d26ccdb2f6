// Critical and background work of one process, each on a host thread of its own.
#pragma once

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "device.h"

namespace eval {

// What both threads of a process share.
struct Shared {
  // Gating: a request is in flight, or about to be.
  std::atomic<bool> at_work{false};
  std::atomic<bool> failed{false};
  // Only the first counts.
  void fail(const std::string &what) {
    if (!claimed_.exchange(true)) {
      why = what;
      failed = true;
    }
  }
  // The first failure; to be read once all threads have ended.
  std::string why;

 private:
  std::atomic<bool> claimed_{false};
};

struct Window {
  int64_t begin_ns = 0, length_ns = 0, tail_ns = 0;
};

struct CriticalOptions {
  std::vector<int64_t> arrivals_ns;  // from the window's beginning, ascending; negative ones warm up
  size_t queue_depth = 16;
  bool gate = false;
};

// By arrival, those of the window only.
struct CriticalResult {
  std::vector<int64_t> launch_ns,
      done_ns;  // from the window's beginning; launch -1: never; done -1: dropped, -2: unfinished
  uint64_t checked = 0, wrong = 0;
  bool by_word = false;  // completion was seen by a word that the stream writes, not by asking the driver
};

class Critical {
 public:
  // Runs the work some times; the last output is the reference.
  Critical(const Device &device, const Work &work, CriticalOptions options);
  CriticalResult run(const Window &window, Shared &shared);

 private:
  // False: not within `limit_ns`.
  bool wait(int64_t limit_ns);
  void launch();

  const Work &work_;
  CriticalOptions options_;
  CUstream stream_;
  CUgraphExec graph_ = nullptr;
  Pinned word_;
  uint32_t launches_ = 0;
  bool by_word_ = false;
  uint64_t expected_ = 0;
};

struct BackgroundOptions {
  bool gate = false;
  unsigned in_flight = 4;  // gating: launches at most
};

struct BackgroundResult {
  std::vector<int64_t> done_ns;  // of units found right, from the window's beginning
  uint64_t checked = 0, wrong = 0;
  unsigned most_in_flight = 0;
  uint64_t gated = 0;  // launches that waited for a request
};

class Background {
 public:
  // `second`: the same work with buffers of its own, so that one is verified while the other runs.
  Background(const Device &device, const Work &work, const Work &second, BackgroundOptions options);
  BackgroundResult run(const Window &window, Shared &shared);
  // After a run, and after the clock was set again: when units were at work, from the window's beginning.
  std::vector<std::pair<int64_t, int64_t>> busy(const Window &window) const;

 private:
  void queued(const Window &window, const Shared &shared, BackgroundResult &result);
  void gated(const Window &window, Shared &shared, BackgroundResult &result);
  void launches(const Work &work, Shared &shared, BackgroundResult &result, int64_t end_ns);
  void judge(int i, const Window &window, BackgroundResult &result) const;

  const Device &device_;
  const Work *works_[2];
  BackgroundOptions options_;
  CUstream stream_;
  CUgraphExec graphs_[2] = {nullptr, nullptr};
  CUevent events_[2] = {nullptr, nullptr};
  std::vector<CUevent> ring_;  // gating: one for each launch in flight
  uint64_t launched_ = 0, ended_ = 0;
  StampLog log_;
  uint64_t expected_ = 0;
};

}  // namespace eval
