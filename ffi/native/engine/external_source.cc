#include "engine/external_source.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/clock.h"
#include "engine/error.h"

namespace calypte {
namespace {

constexpr uint64_t kFarNs = 10'000'000'000;
constexpr uint64_t kOldestSensorNs = 3'600'000'000'000;
constexpr int kHeardMs = 1;

int listen_at(const char *path, const sockaddr_un &address) {
  const auto *name = reinterpret_cast<const sockaddr *>(&address);
  const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket < 0) return -1;
  fchmod(socket, 0660);
  int bound = bind(socket, name, sizeof address);
  struct stat there {};
  if (bound != 0 && errno == EADDRINUSE && lstat(path, &there) == 0) {
    const int probe = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const bool owned = connect(probe, name, sizeof address) == 0 || (errno != ECONNREFUSED && errno != ENOENT);
    close(probe);
    errno = EADDRINUSE;
    if (!owned && S_ISSOCK(there.st_mode) && unlink(path) == 0) bound = bind(socket, name, sizeof address);
  }
  if (bound == 0 && chmod(path, 0660) == 0 && listen(socket, 4) == 0) return socket;
  const int why = errno;
  close(socket);
  errno = why;
  return -1;
}

// Asked when something has shown there: a client sends nothing.
bool is_closed(int socket) {
  char word = 0;
  const ssize_t got = recv(socket, &word, sizeof word, MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno != EAGAIN);
}

}  // namespace

std::unique_ptr<ExternalSource> ExternalSource::open(const char *path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path == nullptr || path[0] == 0 || strlen(path) >= sizeof address.sun_path) {
    fail(CALYPTE_E_INVALID, "external: the path must have 1..%zu bytes", sizeof address.sun_path - 1);
    return nullptr;
  }
  memcpy(address.sun_path, path, strlen(path));
  std::unique_ptr<ExternalSource> source(new ExternalSource(path));
  struct stat there {};
  if (!source->make_page()) {
    fail(CALYPTE_E_NO_MEMORY, "external '%s': make the page: %s", path, strerror(errno));
    return nullptr;
  }
  source->socket_ = listen_at(path, address);
  if (source->socket_ < 0 || stat(path, &there) != 0) {
    fail(CALYPTE_E_INVALID, "external '%s': %s", path,
         errno == EADDRINUSE ? "another process listens there, or it is a file that is not a socket" : strerror(errno));
    return nullptr;
  }
  source->device_ = there.st_dev;
  source->inode_ = there.st_ino;
  return source;
}

bool ExternalSource::make_page() {
  memory_ = memfd_create("calypte-client", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  stop_event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  engine_event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  client_event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (memory_ < 0 || stop_event_ < 0 || engine_event_ < 0 || client_event_ < 0) return false;
  // A client that cuts it short would take the dispatcher along.
  if (ftruncate(memory_, sizeof *page_) != 0 ||
      fcntl(memory_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return false;
  void *memory = mmap(nullptr, sizeof *page_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, memory_, 0);
  if (memory == MAP_FAILED) return false;
  page_ = static_cast<calypte_client_page *>(memory);
  page_->magic = CALYPTE_CLIENT_MAGIC;
  page_->version = CALYPTE_CLIENT_VERSION;
  return true;
}

ExternalSource::~ExternalSource() {
  stop();
  struct stat there {};
  if (socket_ >= 0 && lstat(path_.c_str(), &there) == 0 && there.st_dev == device_ && there.st_ino == inode_)
    unlink(path_.c_str());
  if (page_ != nullptr) munmap(page_, sizeof *page_);
  for (const int file : {socket_, stop_event_, memory_, engine_event_, client_event_, client_, process_}) {
    if (file >= 0) close(file);
  }
}

void ExternalSource::interrupt() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(stop_event_, &one, sizeof one);
}

void ExternalSource::wake_client() {
  if (present_.load(std::memory_order_relaxed) == 0) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(client_event_, &one, sizeof one);
}

// One client at a time: who comes second is told so.
void ExternalSource::greet(int client) {
  calypte_client_hello hello{CALYPTE_CLIENT_MAGIC, CALYPTE_CLIENT_VERSION, client_ >= 0 ? 1u : 0u};
  iovec part{&hello, sizeof hello};
  alignas(cmsghdr) char control[CMSG_SPACE(3 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (hello.busy == 0) {
    const int files[] = {memory_, engine_event_, client_event_};
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof files);
    memcpy(CMSG_DATA(head), files, sizeof files);
  }
  const bool told = sendmsg(client, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(sizeof hello);
  if (!told || hello.busy != 0) {
    close(client);
    return;
  }
  client_ = client;
  // What it forked has its socket too, which does not end with it then.
  ucred who{};
  socklen_t bytes = sizeof who;
  if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &who, &bytes) == 0 && who.pid > 0)
    process_ = static_cast<int>(syscall(SYS_pidfd_open, who.pid, 0));
  present_.store(1, std::memory_order_release);
}

// The next client finds an empty ring: the dispatcher has read what this one wrote, and knows that it has gone.
void ExternalSource::let_go() {
  close(client_);
  if (process_ >= 0) close(process_);
  client_ = process_ = -1;
  present_.store(0, std::memory_order_release);
  gone_.store(true, std::memory_order_release);
  wake_dispatcher();
  pollfd stopped{stop_event_, POLLIN, 0};
  while (gone_.load(std::memory_order_acquire) && !stopping()) ::poll(&stopped, 1, kHeardMs);
}

void ExternalSource::run() {
  while (!stopping()) {
    const bool waits = report();
    // Woken by a client or not: what was written before this was set is there for the dispatcher. An exchange, as only
    // who reads what a client left here has also what that client wrote before.
    __atomic_exchange_n(&page_->asleep, 1, __ATOMIC_SEQ_CST);
    wake_dispatcher();
    pollfd waited[] = {{stop_event_, POLLIN, 0},
                       {engine_event_, POLLIN, 0},
                       {socket_, POLLIN, 0},
                       {client_, POLLIN, 0},
                       {process_, POLLIN, 0}};
    if (::poll(waited, 5, waits ? 1'000 : -1) < 0 && errno != EINTR) return;
    uint64_t count = 0;
    if ((waited[1].revents & POLLIN) != 0 && ::read(engine_event_, &count, sizeof count) < 0 && errno != EAGAIN) return;
    const bool ended = process_ >= 0 && waited[4].revents != 0;
    if (ended || (client_ >= 0 && waited[3].revents != 0 && is_closed(client_))) let_go();
    if ((waited[2].revents & POLLIN) == 0) continue;
    if (const int client = accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK); client >= 0) greet(client);
  }
}

// A record that is whole and makes sense, taken off the ring. Of those that make none at most a ring's length at a
// time: who writes them without end must not keep the dispatcher here.
bool ExternalSource::read(SourceItem &out) {
  for (uint32_t i = 0; i < CALYPTE_CLIENT_RECORDS; ++i) {
    calypte_client_record &place = page_->records[tail_ % CALYPTE_CLIENT_RECORDS];
    if (__atomic_load_n(&place.turn, __ATOMIC_ACQUIRE) != tail_ + 1) return false;
    const calypte_client_record record = place;
    tail_ += 1;
    __atomic_store_n(&page_->tail, tail_, __ATOMIC_RELEASE);
    const uint64_t now_ns = monotonic_ns();
    out = SourceItem{};
    out.event.id = task();
    out.event.number = record.number;
    out.event.time_ns = record.time_ns;
    out.event.sensor_ns =
        record.sensor_ns <= now_ns && now_ns - record.sensor_ns < kOldestSensorNs ? record.sensor_ns : 0;
    const bool past = record.time_ns <= now_ns && now_ns - record.time_ns < kFarNs;
    const bool soon = record.time_ns >= now_ns && record.time_ns - now_ns < kFarNs;
    if (record.kind == CALYPTE_CLIENT_EXPECT) {
      // An announcement that comes too late is one of what has begun by now.
      if (!soon) continue;
      out.event.kind = core::EventKind::outside_expect;
      return true;
    }
    if (!past) out.event.time_ns = now_ns;
    if (record.kind == CALYPTE_CLIENT_BEGIN) {
      out.event.kind = core::EventKind::outside_begin;
      return true;
    }
    if (record.kind == CALYPTE_CLIENT_END) {
      out.event.kind = core::EventKind::outside_end;
      return true;
    }
  }
  return false;
}

bool ExternalSource::poll(SourceItem &out) {
  if (Source::poll(out)) return true;
  // Asked first: what it wrote before it went is there then.
  const bool gone = gone_.load(std::memory_order_acquire);
  if (read(out)) return true;
  if (!gone) return false;
  out = SourceItem{};
  out.event.kind = core::EventKind::outside_lost;
  out.event.id = task();
  out.event.time_ns = monotonic_ns();
  memset(page_->records, 0, sizeof page_->records);
  tail_ = 0;
  __atomic_store_n(&page_->head, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&page_->tail, 0, __ATOMIC_RELAXED);
  gone_.store(false, std::memory_order_release);
  return true;
}

}  // namespace calypte
