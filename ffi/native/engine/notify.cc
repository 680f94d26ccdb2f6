// How does a process tell its service manager that it is ready, and that it lives?
#include "engine/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "engine/error.h"

namespace calypte {

int32_t notify(const char *state) {
  const char *path = getenv("NOTIFY_SOCKET");
  if (path == nullptr || path[0] == 0) return 0;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t length = strlen(path);
  if ((path[0] != '/' && path[0] != '@') || length >= sizeof address.sun_path)
    return fail(CALYPTE_E_INVALID, "notify: NOTIFY_SOCKET must be a path or @name of at most %zu bytes, not '%s'",
                sizeof address.sun_path - 1, path);
  memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = 0;  // an abstract one
  const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  const ssize_t sent =
      socket < 0 ? -1
                 : sendto(socket, state, strlen(state), MSG_NOSIGNAL, reinterpret_cast<sockaddr *>(&address), size);
  const int why = errno;
  if (socket >= 0) close(socket);
  if (sent < 0) return fail(CALYPTE_E_INVALID, "notify '%s' at '%s': %s", state, path, strerror(why));
  return 1;
}

}  // namespace calypte
