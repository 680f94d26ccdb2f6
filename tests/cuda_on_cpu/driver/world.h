// All that the driver knows: contexts, streams and what lies in them, graphs, modules. One lock guards it; what runs on
// the "GPU" (a thread for each stream) holds it only between two pieces of work. Nothing here is ever torn down by the
// process's end: threads may still be at work then.
#pragma once

#include <cuda.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "ptx/ptx.h"
#include "settings.h"

namespace cuda_on_cpu {

struct Context;
struct Stream;
struct Graph;
struct Node;
struct Event;

// ---- Work: what a stream or a graph's node does

struct LoadedModule {
  std::shared_ptr<Context> context;
  std::unique_ptr<Module> code;
  std::vector<uint64_t> globals;  // addresses that may be touched because of it
  bool unloaded = false;
};

struct Function {
  CUfunction handle = nullptr;
  std::shared_ptr<LoadedModule> module;
  const Kernel *kernel = nullptr;
  int most_dynamic_shared_bytes = 48 * 1024;
  int carveout = -1;
};

// When an event was recorded. A new one for each record; who waits holds the one that it saw.
struct Record {
  bool done = false;
  uint64_t time_ns = 0;
};

struct KernelWork {
  std::shared_ptr<Function> function;
  std::array<uint32_t, 3> grid{}, block{}, cluster{};
  uint32_t shared_bytes = 0;
  std::vector<uint8_t> parameters;
};
struct CopyWork {
  uint64_t to = 0, from = 0, bytes = 0;
  bool to_host = false, from_host = false;  // pageable or pinned: no range of the device's is asked for
};
struct FillWork {
  uint64_t at = 0, count = 0;
  uint32_t value = 0, size = 1;
};
struct MemoryOps {
  std::vector<CUstreamBatchMemOpParams> ops;
};
struct HostWork {
  CUhostFn call = nullptr;
  void *argument = nullptr;
};

struct Work {
  CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
  KernelWork kernel;
  CopyWork copy;
  FillWork fill;
  MemoryOps memory;
  HostWork host;
  std::shared_ptr<Event> event;  // record and wait nodes
  std::shared_ptr<Graph> child;
};

// ---- Graphs and captures

struct Node {
  CUgraphNode handle = nullptr;
  Work work;
  std::vector<std::shared_ptr<Node>> after;
  std::weak_ptr<Graph> graph;
  std::weak_ptr<Node> original;  // of which it is the clone
};

struct Graph {
  CUgraph handle = nullptr;
  std::vector<std::shared_ptr<Node>> nodes;
  std::weak_ptr<Graph> original;
  std::weak_ptr<Graph> parent;  // it belongs to a node there, and is destroyed with it
  bool is_child = false;
  bool destroyed = false;
  // Of its direct nodes, by handle.
  std::shared_ptr<Node> find(CUgraphNode node) const;
};

struct Capture {
  uint64_t id = 0;
  std::shared_ptr<Graph> graph;
  Stream *origin = nullptr;
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  std::thread::id thread;
  bool invalidated = false;
  std::set<Stream *> streams;
};

// Its nodes in an order that respects the edges, and otherwise is the most surprising one.
struct Executable {
  CUgraphExec handle = nullptr;
  std::shared_ptr<Context> context;
  std::vector<Work> works;
  // Launches of one executable graph never overlap.
  std::shared_ptr<struct Timeline> last_timeline;
  uint64_t last_number = 0;
};

// ---- Streams

struct Timeline {
  uint64_t completed = 0;
};

struct Op {
  std::function<CUresult(std::string *why)> run;
  std::vector<std::pair<std::shared_ptr<Timeline>, uint64_t>> waits;
  std::vector<std::shared_ptr<Record>> records;  // waited for
};

struct Stream {
  CUstream handle = nullptr;
  std::shared_ptr<Context> context;
  unsigned flags = 0;
  int priority = 0;
  int sms = 0;  // 0: all of the device
  bool legacy = false;
  bool closing = false;
  std::shared_ptr<Timeline> timeline = std::make_shared<Timeline>();
  uint64_t enqueued = 0;
  std::deque<Op> ops;
  std::condition_variable more;
  std::shared_ptr<Capture> capture;
  std::vector<std::shared_ptr<Node>> captured;  // what the next node comes after
  std::vector<CUgraphNode> captured_handles;    // as cuStreamGetCaptureInfo hands them out
  bool blocking() const { return !legacy && (flags & CU_STREAM_NON_BLOCKING) == 0; }
};

struct Event {
  CUevent handle = nullptr;
  std::shared_ptr<Context> context;
  unsigned flags = 0;
  std::shared_ptr<Record> record;  // null: never recorded
  // The last record was captured: what came before it there.
  std::shared_ptr<Capture> capture;
  std::vector<std::shared_ptr<Node>> captured;
};

struct GreenContext {
  CUgreenCtx handle = nullptr;
  std::shared_ptr<Context> context;  // the primary one, retained
  unsigned sms = 0;
};

struct Context {
  CUcontext handle = nullptr;
  bool primary = false;
  bool destroyed = false;
  CUresult error = CUDA_SUCCESS;  // sticky
  std::string why;
  std::atomic<bool> stop{false};
  std::shared_ptr<Stream> legacy;
  std::set<std::shared_ptr<Stream>> streams;  // the legacy one too
  std::map<std::thread::id, std::shared_ptr<Stream>> per_thread;
};

// ---- All of it

// Live objects by handle. Handles are numbers that are never given twice, so that one of a destroyed object is known.
template <class T, class H>
class Registry {
 public:
  explicit Registry(uint64_t base) : next_(base) {}
  H add(std::shared_ptr<T> object) {
    const H handle = reinterpret_cast<H>(next_ += 16);
    live_[handle] = std::move(object);
    return handle;
  }
  std::shared_ptr<T> find(H handle) const {
    const auto found = live_.find(handle);
    return found == live_.end() ? nullptr : found->second;
  }
  void remove(H handle) { live_.erase(handle); }
  template <class Test>
  void remove_if(Test &&test) {
    std::erase_if(live_, [&](const auto &entry) { return test(*entry.second); });
  }
  const auto &all() const { return live_; }

 private:
  uint64_t next_;
  std::unordered_map<H, std::shared_ptr<T>> live_;
};

struct World {
  std::mutex mutex;
  std::condition_variable changed;  // something has completed, or a context has failed
  bool initialised = false;
  std::shared_ptr<Context> primary;
  uint32_t primary_uses = 0;
  unsigned primary_flags = 0;
  uint64_t next_capture = 1;
  Registry<Context, CUcontext> contexts{0xC0000000};
  Registry<Stream, CUstream> streams{0x50000000};
  Registry<Event, CUevent> events{0xE0000000};
  Registry<LoadedModule, CUmodule> modules{0xA0000000};
  Registry<Function, CUfunction> functions{0xF0000000};
  Registry<Graph, CUgraph> graphs{0x60000000};
  Registry<Node, CUgraphNode> nodes{0x70000000};
  Registry<Executable, CUgraphExec> executables{0x80000000};
  Registry<GreenContext, CUgreenCtx> greens{0x90000000};
  std::set<std::shared_ptr<Capture>> captures;
};

World &world();

// The lock that the entry point holds for the calling thread.
std::unique_lock<std::mutex> &held();

uint64_t now_ns();

// Returns from the calling function unless it is CUDA_SUCCESS.
#define TRY(call)                                                        \
  do {                                                                   \
    if (const CUresult try_ = (call); try_ != CUDA_SUCCESS) return try_; \
  } while (0)

// ---- Contexts (context.cc)

// The current one; an error if there is none, if it is gone, or if it has failed.
CUresult current(std::shared_ptr<Context> &out);
std::shared_ptr<Context> current_or_null();
void fail_context(Context &context, CUresult error, const std::string &why);
std::shared_ptr<Context> make_context(bool primary);
std::shared_ptr<Context> retain_primary();
void release_primary();
CUresult synchronize(const std::shared_ptr<Context> &context);

// ---- Streams (stream.cc)

// The stream that a handle means in the current context; a live one of that context.
CUresult stream_of(CUstream handle, std::shared_ptr<Stream> &out);
std::shared_ptr<Stream> make_stream(const std::shared_ptr<Context> &context, unsigned flags, int priority, int sms,
                                    bool legacy);
// Hands work to the stream, behind all that it must come after. Returns its number.
uint64_t enqueue(Stream &stream, Op op);
CUresult wait_for(const std::shared_ptr<Stream> &stream, uint64_t number);
// Into the stream, or into the graph that it captures.
CUresult submit(const std::shared_ptr<Stream> &stream, Work work);
// On the stream's thread, without the lock.
void mark(Record &record);
bool inside_host_function();
CUresult execute(const Work &work, Context &context, int sms, std::string *why);

// ---- Captures (capture.cc)

// A call that may wait for the device: forbidden to a thread while it, or another in global mode, captures.
CUresult unsafe_call();
// The legacy stream is about to be used.
CUresult legacy_call(Context &context);
// A call that asks about, or waits for, this stream.
CUresult asking_call(Stream &stream);
// All streams of the context are asked about.
CUresult asking_call(Context &context);
void invalidate(Capture &capture);
CUresult capture_work(Stream &stream, Work work);
std::shared_ptr<Graph> make_graph();
std::shared_ptr<Node> add_node(Graph &graph, std::vector<std::shared_ptr<Node>> after, Work work);
void destroy_graph(Graph &graph);

// ---- Memory (memory.cc)

bool may_touch(uint64_t address, uint32_t bytes, void *);
// Does one allocation, registration or import hold all of it? Whole contexts share one device.
bool on_device(uint64_t address, uint64_t bytes);
bool pinned(uint64_t address, uint64_t bytes);
void add_range(uint64_t address, uint64_t bytes);
void remove_range(uint64_t address);
void free_memory_of(Context &context);

// ---- Logging (log.cc)

void log_line(const std::string &line);
void log_note(const std::string &text);
bool logging();

}  // namespace cuda_on_cpu
