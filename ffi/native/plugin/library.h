// A plugin's library as it lies in memory, and one instance of it: opened, checked, and every error in words.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "calypte_plugin.h"

namespace calypte::plugin {

// A buffer that the bundle has for the plugin.
struct GivenBuffer {
  std::string name;
  uint32_t role = 0;  // CALYPTE_PLUGIN_INPUT ...
  uint64_t size_bytes = 0;
  uint64_t address = 0;
};

class Instance {
 public:
  Instance() = default;
  Instance(const Instance &) = delete;
  Instance &operator=(const Instance &) = delete;
  ~Instance();

  // Opens the library, makes an instance and matches its buffers with those given. Returns 0 or a negative code with
  // its text (engine/error.h). `host` must outlive it.
  int32_t open(const std::string &path, const std::string &config, const calypte_plugin_host &host,
               const std::vector<GivenBuffer> &given);

  // 0, or a negative code with the plugin's own text.
  int32_t enqueue(void *stream);
  uint64_t generation() const;
  const std::string &name() const { return name_; }

 private:
  int32_t match(const std::vector<GivenBuffer> &given);

  void *library_ = nullptr;
  const calypte_plugin_functions *functions_ = nullptr;
  void *instance_ = nullptr;
  std::string name_;
  std::string path_;
  std::vector<uint64_t> addresses_;
};

}  // namespace calypte::plugin
