#include "engine/socket_source.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/error.h"

namespace calypte {
namespace {

constexpr int kReportMs = 1'000;
// Asked of the kernel, which grants what net.core.rmem_max allows.
constexpr int kReceiveBytes = 8 << 20;

// More than a queue holds (net.unix.max_dgram_qlen), so that a sender in a hurry does not keep the thread here.
constexpr int kMostPast = 4'096;

// Whether a process receives at `address`; if not, whatever lies there is a socket that nobody owns.
bool listened(int socket, const sockaddr_un &address) {
  // On a datagram socket connect only sets where to send to, and looks whether anybody is there.
  if (connect(socket, reinterpret_cast<const sockaddr *>(&address), sizeof address) == 0) return true;
  return errno != ECONNREFUSED && errno != ENOENT;
}

int32_t bind_to(int socket, const char *path, const sockaddr_un &address) {
  const auto *name = reinterpret_cast<const sockaddr *>(&address);
  // The mode is there from the start, whatever the umask is: the file is made with what the socket has.
  fchmod(socket, 0660);
  if (bind(socket, name, sizeof address) == 0) return chmod(path, 0660);
  if (errno != EADDRINUSE) return -1;
  struct stat there {};
  if (lstat(path, &there) != 0) return -1;
  if (!S_ISSOCK(there.st_mode)) {
    errno = EEXIST;
    return -1;
  }
  const int probe = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool owned = probe < 0 || listened(probe, address);
  if (probe >= 0) close(probe);
  if (owned) {
    errno = EADDRINUSE;
    return -1;
  }
  if (unlink(path) != 0 && errno != ENOENT) return -1;
  return bind(socket, name, sizeof address) == 0 ? chmod(path, 0660) : -1;
}

}  // namespace

std::unique_ptr<SocketSource> SocketSource::open(const char *path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path == nullptr || path[0] == 0 || strlen(path) >= sizeof address.sun_path) {
    fail(CALYPTE_E_INVALID, "socket: the path must have 1..%zu bytes", sizeof address.sun_path - 1);
    return nullptr;
  }
  memcpy(address.sun_path, path, strlen(path));
  const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  struct stat there {};
  if (socket < 0 || wake < 0 || bind_to(socket, path, address) != 0 || stat(path, &there) != 0) {
    const char *why = errno == EADDRINUSE ? "another process listens there"
                      : errno == EEXIST   ? "there is a file that is not a socket"
                                          : strerror(errno);
    fail(CALYPTE_E_INVALID, "socket '%s': %s", path, why);
    if (socket >= 0) close(socket);
    if (wake >= 0) close(wake);
    return nullptr;
  }
  setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &kReceiveBytes, sizeof kReceiveBytes);
  std::unique_ptr<SocketSource> source(new SocketSource(path, socket, wake));
  source->device_ = there.st_dev;
  source->inode_ = there.st_ino;
  return source;
}

SocketSource::~SocketSource() {
  stop();
  struct stat there {};
  if (lstat(path_.c_str(), &there) == 0 && there.st_dev == device_ && there.st_ino == inode_) unlink(path_.c_str());
  close(socket_);
  close(wake_);
}

void SocketSource::interrupt() {
  const uint64_t one = 1;
  // Fails only if it is set already.
  [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof one);
}

void SocketSource::begin() {
  payload_.resize(input_bytes());
  for (int i = 0; i < kMostPast && recv(socket_, nullptr, 0, MSG_DONTWAIT) >= 0; ++i) continue;
}

void SocketSource::run() {
  while (!stopping()) {
    const bool waits = report();
    pollfd waited[] = {{socket_, POLLIN, 0}, {wake_, POLLIN, 0}};
    if (::poll(waited, 2, waits ? kReportMs : -1) < 0 && errno != EINTR) return;
    while (!stopping() && receive()) continue;
  }
}

// False: none is there.
bool SocketSource::receive() {
  calypte_datagram head{};
  iovec parts[] = {{&head, sizeof head}, {payload_.data(), payload_.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  // With MSG_TRUNC it tells the whole length, also of what did not fit.
  const ssize_t length = recvmsg(socket_, &message, MSG_DONTWAIT | MSG_TRUNC);
  if (length < 0) return errno == EINTR;
  const size_t bytes = static_cast<size_t>(length);
  if (bytes < sizeof head || head.magic != CALYPTE_DATAGRAM_MAGIC || head.version != CALYPTE_DATAGRAM_VERSION) {
    note(CALYPTE_INPUT_WRONG_HEAD);
  } else if (bytes != sizeof head + payload_.size()) {
    note(CALYPTE_INPUT_WRONG_SIZE);
  } else {
    // A sender that begins anew, lower, misses nothing.
    if (began_ && head.sequence > next_sequence_) note(CALYPTE_INPUT_MISSING, head.sequence - next_sequence_);
    began_ = true;
    next_sequence_ = head.sequence + 1;
    deliver(payload_.data(), head.sensor_ns, [] { return true; });
  }
  report();
  return true;
}

}  // namespace calypte
