#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>

#include "world.h"

namespace cuda_on_cpu {
namespace {

int open_log() {
  const std::string &path = settings().log;
  return path.empty() ? -1 : open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

int log_file() {
  static const int file = open_log();
  return file;
}

}  // namespace

bool logging() { return log_file() >= 0; }

// One write for each line: several threads, and processes, share the file. What a thread says twice is written once.
void log_line(const std::string &line) {
  if (!logging()) return;
  thread_local std::string last;
  thread_local const long thread = syscall(SYS_gettid);
  if (line == last) return;
  last = line;
  char head[64];
  const uint64_t us = now_ns() / 1000;
  snprintf(head, sizeof head, "%llu.%06llu %d/%ld ", static_cast<unsigned long long>(us / 1'000'000),
           static_cast<unsigned long long>(us % 1'000'000), getpid(), thread);
  const std::string text = head + line + "\n";
  [[maybe_unused]] const ssize_t written = write(log_file(), text.data(), text.size());
}

void log_note(const std::string &text) { log_line("# " + text); }

}  // namespace cuda_on_cpu
