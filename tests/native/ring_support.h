// What do the tests of rings, sources and outputs share? Paths that vanish, rings that close themselves, small files.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <atomic>
#include <string>

#include "calypte_ring.h"

namespace calypte::test {

// A path below /dev/shm that is nobody else's, and whose file is gone at the end.
class TempPath {
 public:
  TempPath() {
    static std::atomic<int> count{0};
    text_ = "/dev/shm/calypte-test-" + std::to_string(getpid()) + "-" + std::to_string(count.fetch_add(1));
    unlink(text_.c_str());
  }
  ~TempPath() { unlink(text_.c_str()); }
  TempPath(const TempPath &) = delete;
  TempPath &operator=(const TempPath &) = delete;
  const char *c_str() const { return text_.c_str(); }

 private:
  std::string text_;
};

struct Ring {
  calypte_ring ring{};

  Ring() { ring.fd = -1; }
  Ring(const TempPath &path, const calypte_ring_shape &shape) { create(path, shape); }
  explicit Ring(const TempPath &path) { open(path); }
  ~Ring() { close(); }
  Ring(const Ring &) = delete;
  Ring &operator=(const Ring &) = delete;

  int create(const TempPath &path, const calypte_ring_shape &shape) {
    return calypte_ring_create(&ring, path.c_str(), &shape);
  }
  int open(const TempPath &path) { return calypte_ring_open(&ring, path.c_str()); }
  void close() { calypte_ring_close(&ring); }
};

inline std::string read_file(const TempPath &path) {
  std::string bytes;
  FILE *file = fopen(path.c_str(), "rb");
  for (int c; file != nullptr && (c = fgetc(file)) != EOF;) bytes.push_back(static_cast<char>(c));
  if (file != nullptr) fclose(file);
  return bytes;
}

// Leaves the file's size as it is, so that whoever has it mapped keeps it.
inline void write_over(const TempPath &path, const std::string &bytes) {
  FILE *file = fopen(path.c_str(), "r+b");
  if (file == nullptr) return;
  fwrite(bytes.data(), 1, bytes.size(), file);
  fclose(file);
}

inline void write_file(const TempPath &path, const std::string &bytes) {
  unlink(path.c_str());
  FILE *file = fopen(path.c_str(), "wb");
  if (file == nullptr) return;
  fwrite(bytes.data(), 1, bytes.size(), file);
  fclose(file);
}

// Waits for the end of a child: its exit status, or the signal that ended it.
inline int ended(pid_t child) {
  int status = -1;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

inline uint64_t seed_of(const char *variable, uint64_t otherwise) {
  const char *text = getenv(variable);
  return text == nullptr ? otherwise : strtoull(text, nullptr, 10);
}

}  // namespace calypte::test
