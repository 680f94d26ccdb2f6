// Is what lies below /proc and /sys read, and nothing else?
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "support.h"

using namespace calypte::test;

namespace {

constexpr uint64_t kRoom = 65'536;

// The text of a file, or its code as a number.
std::string read_of(const char *path, uint64_t capacity = kRoom) {
  std::vector<uint8_t> text(capacity);
  const int32_t size = calypte_system_read(path, text.data(), capacity);
  return size < 0 ? std::to_string(size) : std::string(text.begin(), text.begin() + size);
}

std::string names_of(const char *path, uint64_t capacity = kRoom) {
  std::vector<uint8_t> names(capacity);
  const int32_t size = calypte_system_list(path, names.data(), capacity);
  if (size < 0) return std::to_string(size);
  std::string text(names.begin(), names.begin() + size);
  for (char &c : text) c = c == 0 ? ' ' : c;
  return text;
}

const std::string kInvalid = std::to_string(CALYPTE_E_INVALID);
const std::string kNotFound = std::to_string(CALYPTE_E_NOT_FOUND);

}  // namespace

TEST_CASE("files and folders of the system are read, links within it followed") {
  CHECK(read_of("/proc/self/comm") == "system_files_te\n");
  CHECK(read_of("/proc/meminfo").rfind("MemTotal:", 0) == 0);
  CHECK(names_of("/proc/self/task") == std::to_string(getpid()) + " ");
  if (access("/sys/class/mem/null/dev", R_OK) != 0) return;  // a container without them
  CHECK(names_of("/sys/class").find("mem ") != std::string::npos);
  // A link to /sys/devices/...
  CHECK(names_of("/sys/class/mem/null").find("dev ") != std::string::npos);
  CHECK(read_of("/sys/class/mem/null/dev") == "1:3\n");
}

TEST_CASE("whatever leads elsewhere is refused") {
  uint8_t room[4096];
  // A file of the test's own: where the rule is broken, it is written to.
  char elsewhere[] = "/tmp/calypte-elsewhere-XXXXXX";
  const int own = mkstemp(elsewhere);
  REQUIRE(own >= 0);
  REQUIRE(write(own, "0", 1) == 1);
  const std::string file = elsewhere;
  for (const std::string &path :
       {file, "/sys/.." + file, "/proc/self/root" + file, "/proc/../proc/.." + file, std::string("/proc/self/cwd"),
        std::string("/proc/self/exe"), std::string("/process/x"), std::string("/systems"), std::string("proc/meminfo"),
        std::string()}) {
    CAPTURE(path);
    CHECK(read_of(path.c_str()) == kInvalid);
    CHECK(names_of(path.c_str()) == kInvalid);
    CHECK(calypte_system_write(path.c_str(), "1") == CALYPTE_E_INVALID);
  }
  char kept = 0;
  CHECK(pread(own, &kept, 1, 0) == 1);
  CHECK(kept == '0');
  for (const char *path : {"/sys/..", "/proc/self/root", "/proc/self/root/etc"}) {
    CAPTURE(path);
    CHECK(names_of(path) == kInvalid);
    CHECK(calypte_system_links(path, room, sizeof room) == CALYPTE_E_INVALID);
  }
  // Every file that this process has open can be reached through /proc.
  CHECK(read_of(("/proc/self/fd/" + std::to_string(own)).c_str()) == kInvalid);
  close(own);
  CHECK(unlink(elsewhere) == 0);
  CHECK(read_of("/proc") == kNotFound);
  CHECK(calypte_system_write("/proc", "1") == CALYPTE_E_INVALID);
  CHECK(calypte_system_write("/sys", "1") == CALYPTE_E_NOT_FOUND);
  CHECK(calypte_system_read(nullptr, nullptr, 0) < 0);
  CHECK(calypte_system_write("/proc/self/comm", "x") == CALYPTE_E_INVALID);
  CHECK(read_of("/proc/self/comm") == "system_files_te\n");
}

TEST_CASE("what is not there, no file, or too long is refused and says why") {
  CHECK(read_of("/proc/no-such-file") == kNotFound);
  CHECK(last_error().find("No such file") != std::string::npos);
  CHECK(read_of("/proc/self") == kNotFound);
  CHECK(names_of("/proc/meminfo") == kNotFound);
  CHECK(read_of("/proc/self/comm", 16) == kInvalid);
  CHECK(read_of("/proc/self/comm", 17) == "system_files_te\n");
  CHECK(names_of("/proc/self", 8) == kInvalid);
  CHECK(calypte_system_write("/sys/no-such-file", "1") == CALYPTE_E_NOT_FOUND);
}

TEST_CASE("all processes are listed, and what their open files are, as it stands there") {
  CHECK((" " + names_of("/proc")).find(" " + std::to_string(getpid()) + " ") != std::string::npos);
  const int opened = open("/dev/null", O_RDONLY | O_CLOEXEC);
  REQUIRE(opened >= 0);
  std::vector<uint8_t> links(kRoom);
  const int32_t size = calypte_system_links("/proc/self/fd", links.data(), links.size());
  REQUIRE(size > 0);
  CHECK(links[static_cast<size_t>(size) - 1] == 0);
  const std::string all = '\0' + std::string(links.begin(), links.begin() + size);
  const std::string nul(1, '\0');
  CHECK(all.find(nul + std::to_string(opened) + nul + "/dev/null" + nul) != std::string::npos);
  // Whatever the room: whole or refused, and nothing behind it.
  for (int32_t room = 0; room <= size; ++room) {
    std::vector<uint8_t> some(static_cast<size_t>(room) + 1, 0xee);
    const int32_t got = calypte_system_links("/proc/self/fd", some.data(), static_cast<uint64_t>(room));
    CHECK(some[static_cast<size_t>(room)] == 0xee);
    if (room < size - 32) CHECK(got == CALYPTE_E_INVALID);
  }
  close(opened);
  // A folder of plain files has none; a process that is gone is not there.
  CHECK(calypte_system_links("/proc/self/task", links.data(), links.size()) == 0);
  CHECK(calypte_system_links("/proc/4194305/fd", links.data(), links.size()) == CALYPTE_E_NOT_FOUND);
  CHECK(calypte_system_links("/proc/self", nullptr, 1) == CALYPTE_E_INVALID);
}

TEST_CASE("what is not for this user is told apart from what is not there") {
  if (geteuid() != 0) {
    CHECK(names_of("/proc/1/fd") == std::to_string(CALYPTE_E_DENIED));
    return;
  }
  // Root gives its rights up in a process of its own.
  const pid_t child = fork();
  if (child == 0) {
    uint8_t room[4096];
    if (setuid(65534) != 0) _exit(3);
    _exit(calypte_system_list("/proc/1/fd", room, sizeof room) == CALYPTE_E_DENIED ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 0);
}
