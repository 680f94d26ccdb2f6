// What does the engine know of a job that lives in another process? It passes the scheduler's actions on and takes the
// job's events in, and believes nothing: an event that no worker could send ends the worker.
//
// Dispatcher only, but for `admit`. No call waits for the worker.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "worker/page.h"

namespace calypte::worker {

// What comes of looking at a worker.
struct Notice {
  core::Event event;      // of the job, if kind is not tick
  uint32_t nonsense = 0;  // 1: what it wrote makes no sense; it is killed
};

class Proxy {
 public:
  // Makes the page at `path`. Null with the error set.
  static std::unique_ptr<Proxy> make(const char *path, const calypte_isolated &job);
  ~Proxy();

  // Any thread: process `pid` may join next. The one before has ended, or is ended now.
  int32_t admit(int32_t pid);
  // The gate line's handle, before anybody joins.
  void give_handle(const uint8_t (&handle)[kHandleBytes]);

  void execute(const core::Action &action);
  // False: nothing has happened.
  bool poll(Notice &out, uint64_t now_ns, uint64_t next_unit);
  void gate(bool closed);
  void kill_worker();
  // Nobody joins any more.
  void end();
  bool present() const { return present_; }

 private:
  Proxy(std::string path, const calypte_isolated &job) : path_(std::move(path)), job_(job) {}
  bool look_at_process(Notice &out, uint64_t now_ns, uint64_t next_unit);
  bool sensible(const Report &report) const;
  void reset_rings();
  void condemn();

  const std::string path_;
  const calypte_isolated job_;
  Page *page_ = nullptr;
  std::atomic<int> admitted_{-1};  // descriptor of a process, until the dispatcher takes it
  int process_ = -1;               // descriptor of the process that may join, or has
  int32_t pid_ = 0;
  std::atomic<int32_t> admitted_pid_{0};
  bool present_ = false;
  bool condemned_ = false;  // the process has been killed, and has not ended yet
  uint64_t looked_ns_ = 0;
  uint64_t last_word_ = 0;
  uint64_t staged_ = 0;
  uint32_t entries_ = 0;  // asked for and not reported done
};

}  // namespace calypte::worker
