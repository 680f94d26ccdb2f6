#include "plugin/library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>

#include "calypte.h"
#include "engine/error.h"

namespace calypte::plugin {
namespace {

constexpr uint32_t kErrorBytes = 512;

constexpr const char *kRoles[] = {"none", "input", "output", "weight", "scratch", "state"};

const char *role_name(uint32_t role) { return role < std::size(kRoles) ? kRoles[role] : "unknown"; }

// A plugin is not trusted to end its text.
struct ErrorText {
  char text[kErrorBytes] = "";
  const char *read() {
    text[kErrorBytes - 1] = 0;
    return text[0] == 0 ? "it gives no reason" : text;
  }
};

}  // namespace

Instance::~Instance() {
  if (instance_ != nullptr) functions_->destroy(instance_);
  // The library stays: threads and handlers that it started may still be in its code.
}

int32_t Instance::open(const std::string &path, const std::string &config, const calypte_plugin_host &host,
                       const std::vector<GivenBuffer> &given) {
  path_ = path;
  library_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr)
    return fail(CALYPTE_E_INVALID,
                "plugin '%s' does not load: %s; it must be a shared library for this machine, with "
                "every library it needs installed",
                path.c_str(), dlerror());
  const auto table = reinterpret_cast<const calypte_plugin_functions *(*)()>(dlsym(library_, CALYPTE_PLUGIN_SYMBOL));
  if (table == nullptr)
    return fail(CALYPTE_E_INVALID,
                "plugin '%s' exports no " CALYPTE_PLUGIN_SYMBOL
                "; see calypte_plugin.h (in C++ it takes extern \"C\" and default visibility)",
                path.c_str());
  functions_ = table();
  if (functions_ == nullptr) return fail(CALYPTE_E_INVALID, "plugin '%s' gives no table of functions", path.c_str());
  if (functions_->abi_version != CALYPTE_PLUGIN_ABI_VERSION ||
      functions_->size_bytes != sizeof(calypte_plugin_functions))
    return fail(CALYPTE_E_INVALID,
                "plugin '%s' was built for version %u of calypte_plugin.h (a table of %u bytes); this "
                "engine has version %d (%zu bytes): build it again",
                path.c_str(), functions_->abi_version, functions_->size_bytes, CALYPTE_PLUGIN_ABI_VERSION,
                sizeof(calypte_plugin_functions));
  if (functions_->create == nullptr || functions_->describe_buffers == nullptr || functions_->enqueue == nullptr ||
      functions_->destroy == nullptr)
    return fail(CALYPTE_E_INVALID, "plugin '%s' lacks one of create, describe_buffers, enqueue and destroy",
                path.c_str());
  name_ = functions_->name == nullptr ? path.substr(path.rfind('/') + 1) : functions_->name;
  ErrorText error;
  if (const int32_t code = functions_->create(&host, config.c_str(), &instance_, error.text, kErrorBytes);
      code < 0 || instance_ == nullptr) {
    if (code < 0) instance_ = nullptr;
    return fail(CALYPTE_E_INVALID, "plugin '%s': create failed: %s", name_.c_str(),
                code < 0 ? error.read() : "it made no instance");
  }
  return match(given);
}

int32_t Instance::match(const std::vector<GivenBuffer> &given) {
  const char *name = name_.c_str();
  std::vector<calypte_plugin_buffer> wanted(CALYPTE_PLUGIN_MAX_BUFFERS);
  ErrorText error;
  const int32_t count =
      functions_->describe_buffers(instance_, wanted.data(), CALYPTE_PLUGIN_MAX_BUFFERS, error.text, kErrorBytes);
  if (count < 0) return fail(CALYPTE_E_INVALID, "plugin '%s': describe_buffers failed: %s", name, error.read());
  if (count > CALYPTE_PLUGIN_MAX_BUFFERS)
    return fail(CALYPTE_E_LIMIT, "plugin '%s' wants %d buffers; at most %d", name, count, CALYPTE_PLUGIN_MAX_BUFFERS);
  wanted.resize(static_cast<size_t>(count));
  std::vector<bool> used(given.size());
  for (calypte_plugin_buffer &buffer : wanted) {
    buffer.name[CALYPTE_PLUGIN_NAME_BYTES - 1] = 0;
    const auto found =
        std::find_if(given.begin(), given.end(), [&](const GivenBuffer &one) { return one.name == buffer.name; });
    if (found == given.end())
      return fail(CALYPTE_E_INVALID,
                  "plugin '%s' wants a buffer '%s' (%s, %llu bytes) that the bundle does not have: add "
                  "it to its buffers",
                  name, buffer.name, role_name(buffer.role), static_cast<unsigned long long>(buffer.size_bytes));
    if (found->role != buffer.role || found->size_bytes != buffer.size_bytes)
      return fail(CALYPTE_E_INVALID,
                  "plugin '%s' wants buffer '%s' as %s with %llu bytes; in the bundle it is %s with %llu bytes", name,
                  buffer.name, role_name(buffer.role), static_cast<unsigned long long>(buffer.size_bytes),
                  role_name(found->role), static_cast<unsigned long long>(found->size_bytes));
    used[static_cast<size_t>(found - given.begin())] = true;
    addresses_.push_back(found->address);
  }
  for (size_t i = 0; i < given.size(); ++i) {
    if (!used[i] && given[i].role <= CALYPTE_PLUGIN_OUTPUT)
      return fail(CALYPTE_E_INVALID, "plugin '%s' does not use the bundle's %s '%s': take it out, or describe it", name,
                  role_name(given[i].role), given[i].name.c_str());
  }
  return 0;
}

int32_t Instance::enqueue(void *stream) {
  ErrorText error;
  const int32_t code = functions_->enqueue(instance_, addresses_.data(), static_cast<uint32_t>(addresses_.size()),
                                           stream, error.text, kErrorBytes);
  return code >= 0 ? 0 : fail(CALYPTE_E_INVALID, "plugin '%s': enqueue failed: %s", name_.c_str(), error.read());
}

uint64_t Instance::generation() const {
  return functions_->generation == nullptr ? 0 : functions_->generation(instance_);
}

}  // namespace calypte::plugin
