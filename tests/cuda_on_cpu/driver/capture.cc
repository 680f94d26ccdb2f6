// Captures: what a stream would do goes into a graph. The rules are those of cuStreamBeginCapture and of the
// programming guide's chapter on stream capture; where it says "potentially unsafe", it is refused.
#include <algorithm>

#include "calls.h"

namespace cuda_on_cpu {
namespace {

thread_local CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

// All that these nodes come after, and they themselves.
std::set<const Node *> behind(const std::vector<std::shared_ptr<Node>> &nodes) {
  std::set<const Node *> seen;
  std::vector<const Node *> open;
  for (const auto &node : nodes) open.push_back(node.get());
  while (!open.empty()) {
    const Node *node = open.back();
    open.pop_back();
    if (!seen.insert(node).second) continue;
    for (const auto &before : node->after) open.push_back(before.get());
  }
  return seen;
}

void leave(Stream &stream) {
  stream.capture = nullptr;
  stream.captured.clear();
  stream.captured_handles.clear();
}

bool blocks_legacy(const Context &context) {
  return std::any_of(context.streams.begin(), context.streams.end(),
                     [](const auto &stream) { return stream->blocking() && stream->capture != nullptr; });
}

CUresult info(CUstream handle, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph, const CUgraphNode **after,
              size_t *count) {
  if (status == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Stream> stream;
  TRY(stream_of(handle, stream));
  // To ask this of the legacy stream is an error beside a blocking stream that captures, and leaves that as it was.
  if (stream->legacy && blocks_legacy(*stream->context)) return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
  const auto capture = stream->capture;
  *status = capture == nullptr     ? CU_STREAM_CAPTURE_STATUS_NONE
            : capture->invalidated ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                   : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  if (*status != CU_STREAM_CAPTURE_STATUS_ACTIVE) return CUDA_SUCCESS;
  stream->captured_handles.clear();
  for (const auto &node : stream->captured) stream->captured_handles.push_back(node->handle);
  if (id != nullptr) *id = capture->id;
  if (graph != nullptr) *graph = capture->graph->handle;
  if (after != nullptr) *after = stream->captured_handles.data();
  if (count != nullptr) *count = stream->captured_handles.size();
  return CUDA_SUCCESS;
}

}  // namespace

void invalidate(Capture &capture) {
  if (!capture.invalidated) log_note("capture " + std::to_string(capture.id) + " is invalidated");
  capture.invalidated = true;
}

CUresult unsafe_call() {
  if (thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_SUCCESS;
  bool forbidden = false;
  for (const auto &capture : world().captures) {
    const bool own = capture->thread == std::this_thread::get_id() && capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
    const bool other = thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL && capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
    if (!own && !other) continue;
    invalidate(*capture);
    forbidden = true;
  }
  return forbidden ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

CUresult legacy_call(Context &context) {
  bool forbidden = false;
  for (const auto &stream : context.streams) {
    if (!stream->blocking() || stream->capture == nullptr) continue;
    invalidate(*stream->capture);
    forbidden = true;
  }
  return forbidden ? CUDA_ERROR_STREAM_CAPTURE_IMPLICIT : CUDA_SUCCESS;
}

CUresult asking_call(Stream &stream) {
  if (stream.legacy) return legacy_call(*stream.context);
  if (stream.capture == nullptr) return CUDA_SUCCESS;
  invalidate(*stream.capture);
  return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

CUresult asking_call(Context &context) {
  bool forbidden = false;
  for (const auto &stream : context.streams) {
    if (stream->capture == nullptr) continue;
    invalidate(*stream->capture);
    forbidden = true;
  }
  return forbidden ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

CUresult capture_work(Stream &stream, Work work) {
  if (stream.capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  stream.captured = {add_node(*stream.capture->graph, stream.captured, std::move(work))};
  return CUDA_SUCCESS;
}

namespace calls {

CUresult begin_capture(CUstream handle, CUstreamCaptureMode mode) {
  if (mode < CU_STREAM_CAPTURE_MODE_GLOBAL || mode > CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Stream> stream;
  TRY(stream_of(handle, stream));
  if (stream->legacy) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (stream->capture != nullptr) {
    invalidate(*stream->capture);
    return CUDA_ERROR_ILLEGAL_STATE;
  }
  auto capture = std::make_shared<Capture>();
  capture->id = world().next_capture++;
  capture->graph = make_graph();
  capture->origin = stream.get();
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  capture->streams = {stream.get()};
  stream->capture = capture;
  stream->captured.clear();
  world().captures.insert(capture);
  return CUDA_SUCCESS;
}

CUresult end_capture(CUstream handle, CUgraph *out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Stream> stream;
  TRY(stream_of(handle, stream));
  if (stream->capture == nullptr) return CUDA_ERROR_ILLEGAL_STATE;
  const auto capture = stream->capture;
  if (capture->origin != stream.get()) {
    invalidate(*capture);
    return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  }
  if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture->thread != std::this_thread::get_id())
    return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
  CUresult result = capture->invalidated ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_SUCCESS;
  const std::set<const Node *> joined = behind(stream->captured);
  for (const Stream *other : capture->streams) {
    for (const auto &node : other->captured) {
      if (result == CUDA_SUCCESS && joined.count(node.get()) == 0) result = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    }
  }
  for (Stream *other : std::set<Stream *>(capture->streams)) leave(*other);
  capture->streams.clear();
  world().captures.erase(capture);
  *out = nullptr;
  if (result == CUDA_SUCCESS) {
    *out = capture->graph->handle;
  } else {
    destroy_graph(*capture->graph);
  }
  return result;
}

CUresult is_capturing(CUstream handle, CUstreamCaptureStatus *status) {
  return info(handle, status, nullptr, nullptr, nullptr, nullptr);
}

CUresult capture_info2(CUstream handle, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph,
                       const CUgraphNode **after, size_t *count) {
  return info(handle, status, id, graph, after, count);
}

CUresult capture_info3(CUstream handle, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph,
                       const CUgraphNode **after, const CUgraphEdgeData **edges, size_t *count) {
  if (edges != nullptr) *edges = nullptr;  // all edges here are plain ones
  return info(handle, status, id, graph, after, count);
}

CUresult update_dependencies1(CUstream handle, CUgraphNode *nodes, size_t count, unsigned flags) {
  std::shared_ptr<Stream> stream;
  TRY(stream_of(handle, stream));
  if (stream->capture == nullptr) return CUDA_ERROR_ILLEGAL_STATE;
  if (stream->capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (flags > CU_STREAM_SET_CAPTURE_DEPENDENCIES || (nodes == nullptr && count > 0)) return CUDA_ERROR_INVALID_VALUE;
  std::vector<std::shared_ptr<Node>> after;
  if (flags == CU_STREAM_ADD_CAPTURE_DEPENDENCIES) after = stream->captured;
  for (size_t i = 0; i < count; ++i) {
    const auto node = stream->capture->graph->find(nodes[i]);
    if (node == nullptr) return CUDA_ERROR_INVALID_VALUE;
    after.push_back(node);
  }
  stream->captured = std::move(after);
  return CUDA_SUCCESS;
}

CUresult update_dependencies2(CUstream handle, CUgraphNode *nodes, const CUgraphEdgeData *edges, size_t count,
                              unsigned flags) {
  if (edges != nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  return update_dependencies1(handle, nodes, count, flags);
}

CUresult exchange_mode(CUstreamCaptureMode *mode) {
  if (mode == nullptr || *mode < CU_STREAM_CAPTURE_MODE_GLOBAL || *mode > CU_STREAM_CAPTURE_MODE_RELAXED)
    return CUDA_ERROR_INVALID_VALUE;
  std::swap(*mode, thread_mode);
  return CUDA_SUCCESS;
}

}  // namespace calls
}  // namespace cuda_on_cpu
