// How does a process hold an engine for another one? It listens on a Unix socket, answers one caller at a time, and
// keeps the page of process/page.h. The engine's own threads do the microseconds; nothing here is in their way.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "process/page.h"
#include "process/wire.h"

namespace calypte {

class Server {
 public:
  struct Options {
    std::string path;
    uint64_t keep_ns = 0;  // how long the engine goes on without a caller
    bool own_process = false;
  };
  explicit Server(const Options &options) : options_(options), keep_ns_(options.keep_ns) {}
  ~Server();
  // Blocks until the engine is closed, nobody calls for too long, the process is told to end, or the engine gives up.
  int32_t run();

 private:
  int32_t listen();
  void greet();
  void look_at_caller();
  void forget_caller();
  bool serve_request();
  int32_t open_engine(const std::vector<uint8_t> &in);
  bool make_page(const calypte_options &options);
  int32_t carry_out(const wire::Request &request, const std::vector<uint8_t> &in, std::vector<uint8_t> &out);
  void keep();
  void stop_keeper();
  void serve_plan();
  void publish_snapshot();
  void move_events();

  const Options options_;
  uint64_t keep_ns_;
  int listening_ = -1;
  bool bound_ = false;
  int caller_ = -1;
  int32_t caller_process_ = 0;
  int wake_ = -1;  // eventfd: the keeper has something to say, or a signal came
  bool over_ = false;
  uint64_t alone_since_ns_ = 0;

  Page *page_ = nullptr;
  uint64_t page_bytes_ = 0;
  int page_descriptor_ = -1;
  std::unique_ptr<Engine> engine_;
  std::mutex engine_mutex_;  // between the calls of the socket and those of the keeper
  std::thread keeper_;
  std::atomic<bool> stop_keeper_{false};
  std::atomic<bool> gave_up_{false};  // the engine is in state FAULT, and the page says all
  uint64_t published_ns_ = 0;
};

}  // namespace calypte
