// What stands below /proc and /sys, for a caller whose runtime gives it nothing of that?
#include "engine/system_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "engine/error.h"

namespace calypte {
namespace {

struct Closed {
  int file;
  ~Closed() {
    if (file >= 0) close(file);
  }
};

// Or the folder itself, which is no file, and can be listed.
bool below(const char *path, const char *folder) {
  const size_t length = strlen(folder);
  return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == 0);
}

int32_t refused(const char *what, const char *path, int why) {
  const bool denied = why == EACCES || why == EPERM || why == EROFS;
  return fail(denied ? CALYPTE_E_DENIED : CALYPTE_E_NOT_FOUND, "%s '%s': %s", what, path, strerror(why));
}

// Where it really is: /sys is made of links, and some of /proc's lead out of it.
int32_t resolve(const char *what, const char *path, bool writes, char (&real)[PATH_MAX]) {
  if (path == nullptr || path[0] != '/')
    return fail(CALYPTE_E_INVALID, "%s: the path must be absolute, not '%s'", what, path == nullptr ? "" : path);
  // Asked first, so that nothing is learned about files elsewhere.
  const bool asked = below(path, "/sys") || (!writes && below(path, "/proc"));
  if (asked && realpath(path, real) == nullptr) return refused(what, path, errno);
  if (!asked || !(below(real, "/sys") || (!writes && below(real, "/proc"))))
    return fail(CALYPTE_E_INVALID, "%s '%s': only what is %s, without a way out of it", what, path,
                writes ? "below /sys" : "below /proc or /sys");
  return 0;
}

int open_real(const char *real, int flags) {
  // The real path has no links: one that is there now was put there meanwhile.
  return open(real, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
}

// Calls `put(folder, name, where, room)` for each name in a folder: the bytes that it wrote there, or -1, as there is
// no room.
template <class Put>
int32_t each_name(const char *what, const char *path, uint8_t *data, uint64_t capacity, Put put) {
  char real[PATH_MAX];
  if (const int32_t code = resolve(what, path, false, real); code < 0) return code;
  const int file = open_real(real, O_RDONLY | O_DIRECTORY);
  DIR *folder = file < 0 ? nullptr : fdopendir(file);
  if (folder == nullptr) {
    const int why = errno;
    const Closed left{file};
    return refused(what, path, why);
  }
  const std::unique_ptr<DIR, int (*)(DIR *)> closing(folder, closedir);
  uint64_t size = 0;
  for (;;) {
    errno = 0;
    const dirent *entry = readdir(folder);
    if (entry == nullptr && errno != 0) return refused(what, path, errno);
    if (entry == nullptr) return static_cast<int32_t>(size);
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    const int64_t bytes = put(dirfd(folder), entry->d_name, data + size, capacity - size);
    if (bytes < 0)
      return fail(CALYPTE_E_INVALID, "%s '%s': its names have more than %llu bytes", what, path,
                  static_cast<unsigned long long>(capacity));
    size += static_cast<uint64_t>(bytes);
  }
}

// A text with its NUL; returns its bytes, or -1: there is no room.
int64_t put_text(const char *text, size_t length, uint8_t *where, uint64_t room) {
  if (length >= room) return -1;
  memcpy(where, text, length);
  where[length] = 0;
  return static_cast<int64_t>(length) + 1;
}

}  // namespace

int32_t system_read(const char *path, uint8_t *text, uint64_t capacity) {
  char real[PATH_MAX];
  if (const int32_t code = resolve("read", path, false, real); code < 0) return code;
  const Closed opened{open_real(real, O_RDONLY)};
  if (opened.file < 0) return refused("read", path, errno);
  uint64_t size = 0;
  while (size < capacity) {
    const ssize_t part = read(opened.file, text + size, capacity - size);
    if (part < 0 && errno == EINTR) continue;
    if (part < 0) return refused("read", path, errno);
    if (part == 0) return static_cast<int32_t>(size);
    size += static_cast<uint64_t>(part);
  }
  return fail(CALYPTE_E_INVALID, "read '%s': it has more than %llu bytes", path,
              static_cast<unsigned long long>(capacity) - 1);
}

int32_t system_list(const char *path, uint8_t *names, uint64_t capacity) {
  return each_name("list", path, names, capacity, [](int, const char *name, uint8_t *where, uint64_t room) {
    return put_text(name, strlen(name), where, room);
  });
}

int32_t system_links(const char *path, uint8_t *links, uint64_t capacity) {
  return each_name(
      "links of", path, links, capacity, [](int folder, const char *name, uint8_t *where, uint64_t room) -> int64_t {
        char target[PATH_MAX];
        const ssize_t length = readlinkat(folder, name, target, sizeof target);
        // No link, or one that went meanwhile.
        if (length < 0) return 0;
        const int64_t first = put_text(name, strlen(name), where, room);
        if (first < 0) return -1;
        const int64_t second =
            put_text(target, static_cast<size_t>(length), where + first, room - static_cast<uint64_t>(first));
        return second < 0 ? -1 : first + second;
      });
}

int32_t system_write(const char *path, const char *text) {
  char real[PATH_MAX];
  if (const int32_t code = resolve("write", path, true, real); code < 0) return code;
  const Closed opened{open_real(real, O_WRONLY)};
  if (opened.file < 0) return refused("write", path, errno);
  const size_t length = strlen(text);
  // One write: sysfs takes each as a whole.
  ssize_t written = write(opened.file, text, length);
  while (written < 0 && errno == EINTR) written = write(opened.file, text, length);
  if (written == static_cast<ssize_t>(length)) return 0;
  return fail(CALYPTE_E_INVALID, "write '%s': %s", path, written < 0 ? strerror(errno) : "it took a part only");
}

}  // namespace calypte
