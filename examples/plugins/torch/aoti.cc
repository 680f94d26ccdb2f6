// A PyTorch model, compiled by AOTInductor, as a plugin: what torch.export takes and `calypte`'s exporter to PTX does
// not.
//
//   python: torch._inductor.aoti_compile_and_package(torch.export.export(model, example), package_path="model.pt2")
//   unpack the package (a zip archive): the one .so in it is `model.so` here, with the .cubin files beside it
//   g++ -std=c++17 -O2 -shared -fPIC -fvisibility=hidden -I ffi/native/include -I TORCH/include -I
//   /usr/local/cuda/include
//       examples/plugins/torch/aoti.cc -o aoti.so -L TORCH/lib -ltorch_cuda -ltorch_cpu -lc10_cuda -lc10 -lcudart -ldl
//
// Only libtorch's C interface is called (aoti_torch/c/shim.h, and the functions that a compiled model exports). Config:
// {"inputs": [[1, 3, 224, 224]], "outputs": [[1, 1000]]}, all of f32; buffers `in0`, `in1` ..., `out0` ... `model.so`
// and its .cubin files belong into the bundle's `plugin.data`.
//
// PyTorch keeps what it allocates, for each stream: the first call fills its cache, the second, which is captured,
// finds all it needs there. That holds while nothing else in the process uses PyTorch, so leave the job its own
// process.
//
// Only compiled and run against a double of these calls so far (tests/native/example_plugin_test.cc), not on PyTorch.
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "calypte_plugin.h"

namespace {

// What a compiled model exports (torch/csrc/inductor/aoti_runtime/interface.h).
using Container = void *;
using CreateCall = int32_t (*)(Container *, size_t models, const char *device, const char *cubin_folder);
using RunCall = int32_t (*)(Container, AtenTensorHandle *inputs, size_t input_count, AtenTensorHandle *outputs,
                            size_t output_count, void *stream, void *proxy_executor);
using CountCall = int32_t (*)(Container, size_t *);
using DeleteCall = int32_t (*)(Container);

using Shape = std::vector<int64_t>;

struct Model {
  const calypte_plugin_host *host = nullptr;
  std::vector<Shape> inputs, outputs;
  void *library = nullptr;
  Container container = nullptr;
  RunCall run = nullptr;
  DeleteCall end = nullptr;
  std::vector<AtenTensorHandle> held;  // outputs of the last call: a captured copy reads them

  void drop() {
    for (AtenTensorHandle each : held) aoti_torch_delete_tensor_object(each);
    held.clear();
  }
  ~Model() {
    drop();
    if (container != nullptr) end(container);
  }
};

int32_t fail(char *error, uint32_t error_bytes, const std::string &text) {
  snprintf(error, error_bytes, "%s", text.c_str());
  return -1;
}

// The lists of whole numbers behind a key: [[1, 3], [2]]. Empty: not there, or something else.
std::vector<Shape> shapes(const char *config, const char *key) {
  std::vector<Shape> out;
  const char *at = strstr(config, (std::string("\"") + key + "\"").c_str());
  at = at == nullptr ? nullptr : strchr(at, '[');
  if (at == nullptr) return out;
  for (++at; *at != 0 && *at != ']';) {
    at += strspn(at, " ,");
    if (*at != '[') return {};
    Shape &shape = out.emplace_back();
    for (++at; *at != 0 && *at != ']';) {
      char *end = nullptr;
      at += strspn(at, " ,");
      const long long value = strtoll(at, &end, 10);
      if (end == at || value < 1) return {};
      shape.push_back(value);
      at = end + strspn(end, " ");
    }
    if (*at == ']') ++at;
    at += strspn(at, " ");
  }
  return out;
}

uint64_t bytes_of(const Shape &shape) {
  uint64_t bytes = sizeof(float);
  for (const int64_t extent : shape) bytes *= static_cast<uint64_t>(extent);
  return bytes;
}

int32_t create(const calypte_plugin_host *host, const char *config, void **out, char *error, uint32_t error_bytes) {
  if (host->simulated) return fail(error, error_bytes, "a PyTorch model cannot be simulated: it needs a GPU");
  auto model = std::make_unique<Model>();
  model->host = host;
  model->inputs = shapes(config, "inputs");
  model->outputs = shapes(config, "outputs");
  if (model->inputs.empty() || model->outputs.empty())
    return fail(error, error_bytes,
                "config needs \"inputs\" and \"outputs\", lists of shapes such as [[1, 3, 224, 224]]");
  const std::string path = std::string(host->folder) + "model.so";
  model->library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (model->library == nullptr)
    return fail(error, error_bytes,
                std::string("model.so does not load: ") + dlerror() + "; it must be of this PyTorch");
  const auto make = reinterpret_cast<CreateCall>(dlsym(model->library, "AOTInductorModelContainerCreateWithDevice"));
  const auto inputs = reinterpret_cast<CountCall>(dlsym(model->library, "AOTInductorModelContainerGetNumInputs"));
  const auto outputs = reinterpret_cast<CountCall>(dlsym(model->library, "AOTInductorModelContainerGetNumOutputs"));
  model->run = reinterpret_cast<RunCall>(dlsym(model->library, "AOTInductorModelContainerRun"));
  model->end = reinterpret_cast<DeleteCall>(dlsym(model->library, "AOTInductorModelContainerDelete"));
  if (make == nullptr || inputs == nullptr || outputs == nullptr || model->run == nullptr || model->end == nullptr)
    return fail(error, error_bytes,
                "model.so is not a model that AOTInductor compiled: PyTorch 2.9 or newer makes them");
  const std::string device = "cuda:" + std::to_string(host->device_index);
  if (make(&model->container, 1, device.c_str(), host->folder) != 0 || model->container == nullptr)
    return fail(error, error_bytes, "the model does not start on " + device + ": was it compiled for this GPU?");
  size_t has_inputs = 0, has_outputs = 0;
  if (inputs(model->container, &has_inputs) != 0 || outputs(model->container, &has_outputs) != 0 ||
      has_inputs != model->inputs.size() || has_outputs != model->outputs.size())
    return fail(error, error_bytes,
                "the model has " + std::to_string(has_inputs) + " inputs and " + std::to_string(has_outputs) +
                    " outputs, the config " + std::to_string(model->inputs.size()) + " and " +
                    std::to_string(model->outputs.size()));
  *out = model.release();
  return 0;
}

int32_t describe(void *instance, calypte_plugin_buffer *buffers, uint32_t capacity, char *error, uint32_t error_bytes) {
  const Model &model = *static_cast<const Model *>(instance);
  if (model.inputs.size() + model.outputs.size() > capacity) return fail(error, error_bytes, "too many tensors");
  uint32_t count = 0;
  const auto add = [&](const char *prefix, size_t index, uint32_t role, const Shape &shape) {
    calypte_plugin_buffer &one = buffers[count++];
    one = {};
    snprintf(one.name, sizeof one.name, "%s%zu", prefix, index);
    one.role = role;
    one.size_bytes = bytes_of(shape);
  };
  for (size_t i = 0; i < model.inputs.size(); ++i) add("in", i, CALYPTE_PLUGIN_INPUT, model.inputs[i]);
  for (size_t i = 0; i < model.outputs.size(); ++i) add("out", i, CALYPTE_PLUGIN_OUTPUT, model.outputs[i]);
  return static_cast<int32_t>(count);
}

int32_t enqueue(void *instance, const uint64_t *addresses, uint32_t, void *stream, char *error, uint32_t error_bytes) {
  Model &model = *static_cast<Model *>(instance);
  std::vector<AtenTensorHandle> inputs(model.inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Shape &shape = model.inputs[i];
    Shape strides(shape.size(), 1);
    for (size_t axis = shape.size(); axis-- > 1;) strides[axis - 1] = strides[axis] * shape[axis];
    // The model takes its inputs' handles, and lets them go.
    if (aoti_torch_create_tensor_from_blob(reinterpret_cast<void *>(addresses[i]), static_cast<int64_t>(shape.size()),
                                           shape.data(), strides.data(), 0, aoti_torch_dtype_float32(),
                                           aoti_torch_device_type_cuda(),
                                           static_cast<int32_t>(model.host->device_index), &inputs[i]) != 0)
      return fail(error, error_bytes, "input " + std::to_string(i) + " does not become a tensor");
  }
  model.drop();
  model.held.resize(model.outputs.size());
  if (model.run(model.container, inputs.data(), inputs.size(), model.held.data(), model.held.size(), stream, nullptr) !=
      0) {
    model.held.clear();
    return fail(error, error_bytes, "the model fails; run it in Python with the same shapes to see why");
  }
  for (size_t i = 0; i < model.held.size(); ++i) {
    void *from = nullptr;
    if (aoti_torch_get_data_ptr(model.held[i], &from) != 0 ||
        cudaMemcpyAsync(reinterpret_cast<void *>(addresses[inputs.size() + i]), from, bytes_of(model.outputs[i]),
                        cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(stream)) != cudaSuccess)
      return fail(error, error_bytes, "output " + std::to_string(i) + " cannot be copied");
  }
  return 0;
}

void destroy(void *instance) { delete static_cast<Model *>(instance); }

}  // namespace

extern "C" __attribute__((visibility("default"))) const calypte_plugin_functions *calypte_plugin_table(void) {
  static const calypte_plugin_functions table = {
      CALYPTE_PLUGIN_ABI_VERSION, sizeof table, "AOTInductor 1.0", create, describe, enqueue, nullptr, destroy};
  return &table;
}
