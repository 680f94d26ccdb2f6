#include "process/wire.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/clock.h"

namespace calypte::wire {
namespace {

// A reader that takes nothing for so long is as good as gone.
constexpr int kSendTimeoutMs = 10'000;

// False: not within that time. A signal of the process, as when a child of it ends, does not count.
bool wait_for(int socket, short events, int timeout_ms) {
  constexpr uint64_t kMs = 1'000'000;
  const uint64_t give_up_ns = monotonic_ns() + static_cast<uint64_t>(timeout_ms) * kMs;
  for (;;) {
    const uint64_t now_ns = monotonic_ns();
    const uint64_t left_ns = give_up_ns - std::min(now_ns, give_up_ns);
    pollfd wanted{socket, events, 0};
    const int ready = poll(&wanted, 1, static_cast<int>((left_ns + kMs - 1) / kMs));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

}  // namespace

bool send_all(int socket, const void *data, uint64_t size_bytes) {
  const auto *at = static_cast<const uint8_t *>(data);
  while (size_bytes > 0) {
    const ssize_t sent = send(socket, at, size_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      at += sent;
      size_bytes -= static_cast<uint64_t>(sent);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
    if (!wait_for(socket, POLLOUT, kSendTimeoutMs)) return false;
  }
  return true;
}

bool receive_some(int socket, uint8_t *&at, uint64_t &left, int timeout_ms) {
  pollfd wanted{socket, POLLIN, 0};
  const int ready = poll(&wanted, 1, timeout_ms);
  if (ready == 0 || (ready < 0 && errno == EINTR)) return true;
  if (ready < 0) return false;
  const ssize_t got = recv(socket, at, left, MSG_DONTWAIT);
  if (got == 0) return false;
  if (got < 0) return errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK;
  at += got;
  left -= static_cast<uint64_t>(got);
  return true;
}

bool send_descriptor(int socket, int descriptor) {
  uint8_t byte = 1;
  iovec data{&byte, 1};
  alignas(cmsghdr) uint8_t room[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = room;
  message.msg_controllen = sizeof room;
  cmsghdr *head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(head), &descriptor, sizeof descriptor);
  return sendmsg(socket, &message, MSG_NOSIGNAL) == 1;
}

int receive_descriptor(int socket, int timeout_ms) {
  if (!wait_for(socket, POLLIN, timeout_ms)) return -1;
  uint8_t byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) uint8_t room[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = room;
  message.msg_controllen = sizeof room;
  if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1) return -1;
  const cmsghdr *head = CMSG_FIRSTHDR(&message);
  if (head == nullptr || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS ||
      head->cmsg_len != CMSG_LEN(sizeof(int)))
    return -1;
  int descriptor = -1;
  memcpy(&descriptor, CMSG_DATA(head), sizeof descriptor);
  return descriptor;
}

}  // namespace calypte::wire
