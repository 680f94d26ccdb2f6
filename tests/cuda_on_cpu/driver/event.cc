// Events: a mark in a stream, or a dependency within a capture.
#include <algorithm>

#include "calls.h"

namespace cuda_on_cpu {
namespace {

CUresult event_of(CUevent handle, std::shared_ptr<Event> &out) {
  std::shared_ptr<Context> context;
  TRY(current(context));
  out = world().events.find(handle);
  return out == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

// To ask about an event that lies in a capture makes no sense, and spoils the capture.
CUresult asked(const Event &event) {
  if (event.capture == nullptr) return unsafe_call();
  invalidate(*event.capture);
  return CUDA_ERROR_CAPTURED_EVENT;
}

// The stream joins the capture that the event lies in, or, if it is there, comes after the event too.
CUresult join(Stream &stream, const Event &event) {
  if (event.capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (stream.capture == nullptr) {
    // In the capture's name the legacy stream would wait.
    if (stream.legacy) {
      invalidate(*event.capture);
      return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    // Its capture is over: the event marks nothing that could be waited for.
    if (world().captures.count(event.capture) == 0) return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    stream.capture = event.capture;
    stream.captured = event.captured;
    event.capture->streams.insert(&stream);
    return CUDA_SUCCESS;
  }
  if (stream.capture != event.capture) {
    invalidate(*stream.capture);
    invalidate(*event.capture);
    return CUDA_ERROR_STREAM_CAPTURE_MERGE;
  }
  for (const auto &node : event.captured) {
    if (std::find(stream.captured.begin(), stream.captured.end(), node) == stream.captured.end())
      stream.captured.push_back(node);
  }
  return CUDA_SUCCESS;
}

}  // namespace

void mark(Record &record) {
  const std::lock_guard lock(world().mutex);
  record.time_ns = now_ns();
  record.done = true;
  world().changed.notify_all();
}

namespace calls {

CUresult event_create(CUevent *out, unsigned flags) {
  constexpr unsigned kKnown = CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS;
  if (out == nullptr || (flags & ~kKnown) != 0) return CUDA_ERROR_INVALID_VALUE;
  if ((flags & CU_EVENT_INTERPROCESS) != 0)
    return (flags & CU_EVENT_DISABLE_TIMING) != 0 ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Context> context;
  TRY(current(context));
  auto event = std::make_shared<Event>();
  event->context = context;
  event->flags = flags;
  *out = event->handle = world().events.add(event);
  return CUDA_SUCCESS;
}

CUresult event_destroy(CUevent handle) {
  std::shared_ptr<Event> event;
  TRY(event_of(handle, event));
  world().events.remove(handle);
  return CUDA_SUCCESS;
}

CUresult event_record(CUevent handle, CUstream stream) {
  return event_record_with_flags(handle, stream, CU_EVENT_RECORD_DEFAULT);
}

CUresult event_record_with_flags(CUevent handle, CUstream stream_handle, unsigned flags) {
  if (flags != CU_EVENT_RECORD_DEFAULT && flags != CU_EVENT_RECORD_EXTERNAL) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Event> event;
  std::shared_ptr<Stream> stream;
  TRY(event_of(handle, event));
  TRY(stream_of(stream_handle, stream));
  if (event->context != stream->context) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->capture != nullptr) {
    if (stream->capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (flags == CU_EVENT_RECORD_EXTERNAL) {
      Work work;
      work.type = CU_GRAPH_NODE_TYPE_EVENT_RECORD;
      work.event = event;
      return capture_work(*stream, std::move(work));
    }
    event->capture = stream->capture;
    event->captured = stream->captured;
    return CUDA_SUCCESS;
  }
  if (stream->legacy) TRY(legacy_call(*stream->context));
  event->capture = nullptr;
  event->captured.clear();
  event->record = std::make_shared<Record>();
  Op op;
  op.run = [record = event->record](std::string *) {
    mark(*record);
    return CUDA_SUCCESS;
  };
  enqueue(*stream, std::move(op));
  return CUDA_SUCCESS;
}

CUresult event_query(CUevent handle) {
  std::shared_ptr<Event> event;
  TRY(event_of(handle, event));
  TRY(asked(*event));
  return event->record == nullptr || event->record->done ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult event_synchronize(CUevent handle) {
  std::shared_ptr<Event> event;
  TRY(event_of(handle, event));
  TRY(asked(*event));
  const auto record = event->record;
  const auto context = event->context;
  if (record == nullptr) return CUDA_SUCCESS;
  world().changed.wait(held(), [&] { return record->done || context->error != CUDA_SUCCESS || context->destroyed; });
  return context->error;
}

CUresult event_elapsed_time(float *out, CUevent begin_handle, CUevent end_handle) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Event> begin, end;
  TRY(event_of(begin_handle, begin));
  TRY(event_of(end_handle, end));
  for (const auto &event : {begin, end}) {
    if ((event->flags & CU_EVENT_DISABLE_TIMING) != 0 || event->record == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  }
  if (begin->context != end->context) return CUDA_ERROR_INVALID_HANDLE;
  if (!begin->record->done || !end->record->done) return CUDA_ERROR_NOT_READY;
  const auto between_ns = static_cast<int64_t>(end->record->time_ns - begin->record->time_ns);
  *out = static_cast<float>(static_cast<double>(between_ns) * 1e-6);
  return CUDA_SUCCESS;
}

CUresult stream_wait_event(CUstream stream_handle, CUevent handle, unsigned flags) {
  if (flags != CU_EVENT_WAIT_DEFAULT && flags != CU_EVENT_WAIT_EXTERNAL) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Event> event;
  std::shared_ptr<Stream> stream;
  TRY(stream_of(stream_handle, stream));
  TRY(event_of(handle, event));
  if (stream->capture != nullptr && stream->capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (event->capture != nullptr) return join(*stream, *event);
  if (stream->capture != nullptr) {
    if (flags == CU_EVENT_WAIT_EXTERNAL) {
      Work work;
      work.type = CU_GRAPH_NODE_TYPE_WAIT_EVENT;
      work.event = event;
      return capture_work(*stream, std::move(work));
    }
    invalidate(*stream->capture);
    return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
  }
  if (stream->legacy) TRY(legacy_call(*stream->context));
  if (event->record == nullptr) return CUDA_SUCCESS;
  Op op;
  op.records.push_back(event->record);
  op.run = [](std::string *) { return CUDA_SUCCESS; };
  enqueue(*stream, std::move(op));
  return CUDA_SUCCESS;
}

}  // namespace calls
}  // namespace cuda_on_cpu
