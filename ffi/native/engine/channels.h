// Which sources and outputs does an engine have beside the caller? They are numbered together, from 1, as calypte.h's
// channels.
#pragma once

#include <memory>
#include <vector>

#include "engine/outputs.h"
#include "engine/source.h"

namespace calypte {

class Channels {
 public:
  int32_t add_socket(const char *path);
  int32_t add_ring_input(const char *path);
  int32_t add_external(const char *path);
  int32_t add_ring_output(const char *path, uint32_t slots, uint64_t slot_bytes, uint64_t expiry_ns);

  // Gives a work the channels that it names. A negative code: there is none, or it is of another kind or taken.
  int32_t give(const Work &work);
  // Only those that have a work.
  void start(const Source::Host &host, const std::atomic<uint64_t> &alive_ns);
  // No request comes in any more.
  void stop_sources();
  // ... and nothing goes out.
  void stop_outputs() { outputs_.stop(); }

  // Dispatcher: the next thing that a source has to tell, each source in its turn.
  bool poll(SourceItem &out);
  // Dispatcher: the process of an external task should bring the GPU to its context.
  void wake_outside(uint32_t task);
  OutputSink *outputs() { return &outputs_; }

 private:
  struct Channel {
    std::unique_ptr<Source> source;  // null: an output
    size_t output = 0;
  };

  int32_t add(Channel channel);
  const Channel *find(uint32_t id) const;

  std::vector<Channel> channels_;
  std::vector<Source *> used_;  // those that have a work; from `ready` on it does not change
  size_t turn_ = 0;             // dispatcher only
  Outputs outputs_;
};

}  // namespace calypte
