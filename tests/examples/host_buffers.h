// The buffers of a bundle on the host: what the program that host_program.ts writes is made of.
#pragma once

#include "cuda_on_host.h"

namespace host {

// Bytes on either side of a buffer that nobody may write to.
static const size_t kGuardBytes = 4096;
static const unsigned char kGuard = 0xa5;

struct Buffer {
  const char *name;
  size_t bytes;
  std::vector<unsigned char> memory;

  Buffer(const char *name_, size_t bytes_) : name(name_), bytes(bytes_), memory(bytes_ + 2 * kGuardBytes, kGuard) {
    memset(data(), 0, bytes);
  }
  unsigned char *data() { return memory.data() + kGuardBytes; }
  void check() {
    for (size_t i = 0; i < kGuardBytes; ++i) {
      if (memory[i] == kGuard && memory[kGuardBytes + bytes + i] == kGuard) continue;
      fprintf(stderr, "something wrote outside of the buffer %s\n", name);
      exit(1);
    }
  }
};

// An address that becomes whatever pointer the kernel takes.
struct Address {
  void *at;
  template <typename T>
  operator T *() const {
    return static_cast<T *>(at);
  }
};

static inline double double_of(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static FILE *open(const char *path, const char *mode) {
  FILE *file = fopen(path, mode);
  if (file != nullptr) return file;
  perror(path);
  exit(1);
}

static void read(Buffer &buffer, const char *path, long offset) {
  FILE *file = open(path, "rb");
  if (fseek(file, offset, SEEK_SET) != 0 || fread(buffer.data(), 1, buffer.bytes, file) != buffer.bytes) {
    fprintf(stderr, "%s is too short for the buffer %s\n", path, buffer.name);
    exit(1);
  }
  fclose(file);
}

// At its place in a file that is open; what is skipped reads as zeros.
static void write(Buffer &buffer, FILE *file, long offset) {
  if (fseek(file, offset, SEEK_SET) == 0 && fwrite(buffer.data(), 1, buffer.bytes, file) == buffer.bytes) return;
  perror("cannot write the output");
  exit(1);
}

}  // namespace host
