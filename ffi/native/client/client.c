/*
 * How does a process that is not ours say when it needs the GPU? Over a page that it shares with the engine; one thread
 * connects, and wakes the GPU when asked. See calypte_client.h.
 */
#define _GNU_SOURCE
#include "calypte_client.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cuda.h"
#include "page.h"

enum { kRetryMs = 500, kCallbacks = 16, kTold = 64 };

/* A stream's callback under way. Its client may have been closed: it is freed with the last of them. */
typedef struct callback {
  calypte_client *client;
  uint64_t number;
  atomic_bool used;
} callback;

struct calypte_client {
  struct sockaddr_un address;
  pthread_t thread;
  int quit;   /* eventfd: the thread is to end */
  int notify; /* eventfd of our own: the first begin gave a context */
  atomic_int state;
  atomic_bool closed;
  atomic_uint holders; /* the owner, and each callback under way */
  _Atomic(void *) context;

  /* Of the engine that is there; null: none. The page stays mapped for those who hold it until the next one comes. */
  _Atomic(calypte_client_page *) page;
  atomic_int engine_event;
  atomic_uint writers; /* within push */
  atomic_uint_fast64_t number;
  /* Requests whose beginning this engine was told and whose end it was not: their numbers, and how many. */
  _Atomic uint64_t told[kTold];
  atomic_uint open;

  calypte_cuda cuda; /* whole once has_cuda is true */
  atomic_bool has_cuda;
  callback callbacks[kCallbacks];
};

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void signal_event(int event) {
  const uint64_t one = 1;
  const ssize_t written = write(event, &one, sizeof one);
  (void)written; /* full: it is signalled already */
}

/*
 * Any thread. A full ring means an engine that does not read: what it does not hear it cannot act on. But it must hear
 * the end of whatever it has heard the beginning of, or background would be off for good: so each request that is told
 * keeps room for its end, and where there is none it is not told.
 */
static void push(calypte_client *client, uint32_t kind, uint64_t number, uint64_t time, uint64_t sensor_ns) {
  atomic_fetch_add(&client->writers, 1);
  calypte_client_page *page = atomic_load(&client->page);
  _Atomic uint64_t *told = &client->told[number % kTold];
  uint64_t expected = number;
  if (kind == CALYPTE_CLIENT_END && (number == 0 || !atomic_compare_exchange_strong(told, &expected, 0))) page = NULL;
  if (page != NULL) {
    const uint32_t needed = kind == CALYPTE_CLIENT_BEGIN ? 2 : 1;
    uint32_t at = __atomic_load_n(&page->head, __ATOMIC_RELAXED);
    do {
      const uint32_t kept = kind == CALYPTE_CLIENT_END ? 0 : atomic_load(&client->open);
      if (at - __atomic_load_n(&page->tail, __ATOMIC_ACQUIRE) + kept + needed > CALYPTE_CLIENT_RECORDS) {
        page = NULL;
        break;
      }
    } while (!__atomic_compare_exchange_n(&page->head, &at, at + 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    if (page != NULL) {
      calypte_client_record *record = &page->records[at % CALYPTE_CLIENT_RECORDS];
      record->kind = kind;
      record->time_ns = time;
      record->sensor_ns = sensor_ns;
      record->number = number;
      /* An older request in this place has no end that is told; the engine gives it up when there are more than eight.
       */
      if (kind == CALYPTE_CLIENT_BEGIN && atomic_exchange(told, number) == 0) atomic_fetch_add(&client->open, 1);
      if (kind == CALYPTE_CLIENT_END) atomic_fetch_sub(&client->open, 1);
      __atomic_store_n(&record->turn, at + 1, __ATOMIC_RELEASE);
      if (__atomic_exchange_n(&page->asleep, 0, __ATOMIC_SEQ_CST) != 0)
        signal_event(atomic_load(&client->engine_event));
    }
  }
  atomic_fetch_sub(&client->writers, 1);
}

static void release(calypte_client *client) {
  if (atomic_fetch_sub(&client->holders, 1) == 1) free(client);
}

/* ---- The thread: it connects, waits for the end of the engine, and wakes the GPU. */

typedef struct connection {
  int socket;
  int memory;
  int engine_event;
  int wake_event;
  calypte_client_page *page;
} connection;

static void let_go(calypte_client *client, connection *link) {
  const int pause_us = 50;
  atomic_store(&client->page, NULL);
  /* Whoever is within push still has the page: some hundred nanoseconds. */
  while (atomic_load(&client->writers) != 0) usleep(pause_us);
  /* The next engine has heard of nothing. */
  for (int i = 0; i < kTold; ++i) atomic_store(&client->told[i], 0);
  atomic_store(&client->open, 0);
  if (link->page != NULL) munmap(link->page, sizeof *link->page);
  const int files[] = {link->socket, link->memory, link->engine_event, link->wake_event};
  for (size_t i = 0; i < 4; ++i) {
    if (files[i] >= 0) close(files[i]);
  }
  *link = (connection){-1, -1, -1, -1, NULL};
}

static bool receive_hello(int socket, calypte_client_hello *hello, connection *link) {
  struct pollfd there = {socket, POLLIN, 0};
  if (poll(&there, 1, kRetryMs) != 1) return false;
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(3 * sizeof(int))];
  struct iovec part = {hello, sizeof *hello};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof *hello) return false;
  for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head != NULL; head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_type != SCM_RIGHTS || head->cmsg_len != CMSG_LEN(3 * sizeof(int))) continue;
    int files[3];
    memcpy(files, CMSG_DATA(head), sizeof files);
    link->memory = files[0];
    link->engine_event = files[1];
    link->wake_event = files[2];
  }
  return hello->magic == CALYPTE_CLIENT_MAGIC;
}

/* The state that comes of trying. */
static int connect_once(calypte_client *client, connection *link) {
  link->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (link->socket < 0) return CALYPTE_CLIENT_ALONE;
  if (connect(link->socket, (const struct sockaddr *)&client->address, sizeof client->address) != 0)
    return CALYPTE_CLIENT_ALONE;
  calypte_client_hello hello = {0};
  struct stat about;
  if (!receive_hello(link->socket, &hello, link)) return CALYPTE_CLIENT_ALONE;
  if (hello.version != CALYPTE_CLIENT_VERSION) return CALYPTE_CLIENT_OTHER_VERSION;
  if (hello.busy != 0) return CALYPTE_CLIENT_BUSY;
  if (link->memory < 0 || fstat(link->memory, &about) != 0 || (size_t)about.st_size < sizeof(calypte_client_page))
    return CALYPTE_CLIENT_ALONE;
  void *page = mmap(NULL, sizeof(calypte_client_page), PROT_READ | PROT_WRITE, MAP_SHARED, link->memory, 0);
  if (page == MAP_FAILED) return CALYPTE_CLIENT_ALONE;
  link->page = page;
  if (link->page->magic != CALYPTE_CLIENT_MAGIC) return CALYPTE_CLIENT_ALONE;
  atomic_store(&client->engine_event, link->engine_event);
  atomic_store(&client->page, link->page);
  return CALYPTE_CLIENT_SERVED;
}

static void *serve(void *argument) {
  calypte_client *client = argument;
  connection link = {-1, -1, -1, -1, NULL};
  calypte_waker waker = {0};
  bool can_wake = false;
  while (!atomic_load(&client->closed)) {
    if (atomic_load(&client->state) != CALYPTE_CLIENT_SERVED) {
      const int state = connect_once(client, &link);
      if (state != CALYPTE_CLIENT_SERVED) let_go(client, &link);
      atomic_store(&client->state, state);
    }
    const bool served = atomic_load(&client->state) == CALYPTE_CLIENT_SERVED;
    struct pollfd waited[] = {
        {client->quit, POLLIN, 0}, {client->notify, POLLIN, 0}, {link.wake_event, POLLIN, 0}, {link.socket, POLLIN, 0}};
    poll(waited, served ? 4 : 2, served ? -1 : kRetryMs);
    uint64_t count = 0;
    if ((waited[1].revents & POLLIN) != 0 && read(client->notify, &count, sizeof count) > 0) {
      void *context = atomic_load(&client->context);
      can_wake =
          atomic_load(&client->has_cuda) && context != NULL && calypte_waker_make(&client->cuda, context, &waker);
    }
    if (!served) continue;
    if ((waited[2].revents & POLLIN) != 0 && read(link.wake_event, &count, sizeof count) > 0 && can_wake)
      calypte_waker_wake(&client->cuda, &waker);
    /* The engine sends nothing behind its hello: whatever shows there is its end. */
    if (waited[3].revents != 0) {
      atomic_store(&client->state, CALYPTE_CLIENT_ALONE);
      let_go(client, &link);
    }
  }
  let_go(client, &link);
  return NULL;
}

/* ---- The calls */

static void look_for_context(calypte_client *client) {
  if (!atomic_load(&client->has_cuda) && calypte_cuda_find(&client->cuda)) atomic_store(&client->has_cuda, true);
  void *context = NULL;
  if (!atomic_load(&client->has_cuda) || client->cuda.context_get(&context) != 0 || context == NULL) return;
  atomic_store(&client->context, context);
  signal_event(client->notify);
}

/* The process's handlers run in its own threads, whose calls they are to interrupt. A fault's own signals stay. */
static int start_thread(calypte_client *client) {
  sigset_t all, before;
  sigfillset(&all);
  const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; ++i) sigdelset(&all, faults[i]);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int code = pthread_create(&client->thread, NULL, serve, client);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return code;
}

calypte_client *calypte_client_open(const char *socket_path) {
  calypte_client *client = calloc(1, sizeof *client);
  if (client == NULL) return NULL;
  client->address.sun_family = AF_UNIX;
  client->quit = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  client->notify = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  atomic_store(&client->holders, 1);
  atomic_store(&client->engine_event, -1);
  const bool fits = socket_path != NULL && strlen(socket_path) < sizeof client->address.sun_path;
  if (fits) strcpy(client->address.sun_path, socket_path);
  look_for_context(client);
  if (!fits || client->quit < 0 || client->notify < 0 || start_thread(client) != 0) {
    if (client->quit >= 0) close(client->quit);
    if (client->notify >= 0) close(client->notify);
    free(client);
    return NULL;
  }
  return client;
}

void calypte_client_close(calypte_client *client) {
  if (client == NULL) return;
  atomic_store(&client->closed, true);
  signal_event(client->quit);
  pthread_join(client->thread, NULL);
  close(client->quit);
  close(client->notify);
  release(client);
}

int calypte_client_state(const calypte_client *client) {
  return client == NULL ? CALYPTE_CLIENT_ALONE : atomic_load(&client->state);
}

void calypte_expect(calypte_client *client, uint64_t time_ns) {
  if (client != NULL) push(client, CALYPTE_CLIENT_EXPECT, 0, time_ns, 0);
}

uint64_t calypte_begin(calypte_client *client, uint64_t sensor_ns) {
  if (client == NULL) return 0;
  const uint64_t number = atomic_fetch_add(&client->number, 1) + 1;
  push(client, CALYPTE_CLIENT_BEGIN, number, now_ns(), sensor_ns);
  if (atomic_load_explicit(&client->context, memory_order_relaxed) == NULL) look_for_context(client);
  return number;
}

static void over(void *argument) {
  callback *call = argument;
  calypte_client *client = call->client;
  const uint64_t number = call->number;
  atomic_store(&call->used, false);
  push(client, CALYPTE_CLIENT_END, number, now_ns(), 0);
  release(client);
}

static bool end_with_stream(calypte_client *client, uint64_t number, void *stream) {
  int capturing = 1;
  if (!atomic_load(&client->has_cuda) || client->cuda.is_capturing(stream, &capturing) != 0 || capturing != 0)
    return false;
  for (int i = 0; i < kCallbacks; ++i) {
    callback *call = &client->callbacks[i];
    bool free_one = false;
    if (!atomic_compare_exchange_strong(&call->used, &free_one, true)) continue;
    call->client = client;
    call->number = number;
    atomic_fetch_add(&client->holders, 1);
    if (client->cuda.host_call(stream, over, call) == 0) return true;
    atomic_fetch_sub(&client->holders, 1);
    atomic_store(&call->used, false);
    return false;
  }
  return false;
}

void calypte_end_of(calypte_client *client, uint64_t number, void *stream) {
  if (client == NULL) return;
  if (stream != CALYPTE_NO_STREAM && end_with_stream(client, number, stream)) return;
  push(client, CALYPTE_CLIENT_END, number, now_ns(), 0);
}

void calypte_end(calypte_client *client, void *stream) {
  if (client != NULL) calypte_end_of(client, atomic_load(&client->number), stream);
}
