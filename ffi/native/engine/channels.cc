#include "engine/channels.h"

#include "engine/error.h"
#include "engine/external_source.h"
#include "engine/ring_source.h"
#include "engine/socket_source.h"

namespace calypte {
namespace {

// One source for each task and one output for each work can be of use.
constexpr size_t kMostChannels = 2 * CALYPTE_MAX_TASKS + CALYPTE_MAX_JOBS;

}  // namespace

int32_t Channels::add(Channel channel) {
  channels_.push_back(std::move(channel));
  return static_cast<int32_t>(channels_.size());
}

int32_t Channels::add_socket(const char *path) {
  if (channels_.size() == kMostChannels) return fail(CALYPTE_E_LIMIT, "socket: at most %zu channels", kMostChannels);
  std::unique_ptr<Source> source = SocketSource::open(path);
  return source == nullptr ? last_error_code() : add({std::move(source), 0});
}

int32_t Channels::add_ring_input(const char *path) {
  if (channels_.size() == kMostChannels)
    return fail(CALYPTE_E_LIMIT, "ring_input: at most %zu channels", kMostChannels);
  std::unique_ptr<Source> source = RingSource::open(path);
  return source == nullptr ? last_error_code() : add({std::move(source), 0});
}

int32_t Channels::add_external(const char *path) {
  if (channels_.size() == kMostChannels) return fail(CALYPTE_E_LIMIT, "external: at most %zu channels", kMostChannels);
  std::unique_ptr<Source> source = ExternalSource::open(path);
  return source == nullptr ? last_error_code() : add({std::move(source), 0});
}

void Channels::wake_outside(uint32_t task) {
  for (Source *source : used_) {
    if (source->task() == task && source->kind() == CALYPTE_SOURCE_EXTERNAL)
      static_cast<ExternalSource *>(source)->wake_client();
  }
}

int32_t Channels::add_ring_output(const char *path, uint32_t slots, uint64_t slot_bytes, uint64_t expiry_ns) {
  if (channels_.size() == kMostChannels)
    return fail(CALYPTE_E_LIMIT, "ring_output: at most %zu channels", kMostChannels);
  const int32_t index = outputs_.open(path, slots, slot_bytes, expiry_ns);
  return index < 0 ? index : add({nullptr, static_cast<size_t>(index)});
}

const Channels::Channel *Channels::find(uint32_t id) const {
  return id >= 1 && id <= channels_.size() ? &channels_[id - 1] : nullptr;
}

int32_t Channels::give(const Work &work) {
  const calypte_work &head = work.head;
  const Channel *in = find(head.channel), *out = find(head.output_channel);
  if (head.channel != 0 && (in == nullptr || in->source == nullptr || in->source->kind() != head.source))
    return fail(CALYPTE_E_NOT_FOUND, "add '%s': channel %u is not a source of its kind", head.name, head.channel);
  if (head.channel != 0 && in->source->taken())
    return fail(CALYPTE_E_INVALID, "add '%s': channel %u has a work already", head.name, head.channel);
  if (head.output_channel != 0) {
    if (out == nullptr || out->source != nullptr)
      return fail(CALYPTE_E_NOT_FOUND, "add '%s': channel %u is not an output", head.name, head.output_channel);
    if (const int32_t code = outputs_.give(out->output, work); code < 0) return code;
  }
  if (head.channel != 0) {
    in->source->serve(work);
    used_.push_back(in->source.get());
  }
  return 0;
}

void Channels::start(const Source::Host &host, const std::atomic<uint64_t> &alive_ns) {
  outputs_.start(alive_ns);
  for (Source *source : used_) source->start(host);
}

void Channels::stop_sources() {
  for (Source *source : used_) source->stop();
}

bool Channels::poll(SourceItem &out) {
  for (size_t i = 0; i < used_.size(); ++i) {
    turn_ = (turn_ + 1) % used_.size();
    if (used_[turn_]->poll(out)) return true;
  }
  return false;
}

}  // namespace calypte
