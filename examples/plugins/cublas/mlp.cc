// A multi-layer perceptron on cuBLASLt as a plugin: code that calls a closed library, run by the engine.
//
//   g++ -std=c++17 -O2 -shared -fPIC -fvisibility=hidden -I ffi/native/include -I /usr/local/cuda/include
//       examples/plugins/cublas/mlp.cc -o mlp.so -L /usr/local/cuda/lib64 -lcublasLt      (in one line)
//
// Config: {"batch": 64, "layers": [1024, 4096, 4096, 1000]}. Buffers, all of f32: `in` (batch x layers[0]), for each
// layer i the weights `w<i>` (outputs x inputs, as PyTorch's Linear keeps them) and `b<i>`, the scratch `h0`, `h1` and
// `workspace`, and `out`. Each layer is out = in w^T + b, with ReLU behind all but the last. make_bundle.ts
// beside this file writes the bundle.
//
// Only compiled and run against a double of cuBLASLt so far (tests/native/example_plugin_test.cc).
#include <cublasLt.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "calypte_plugin.h"

namespace {

constexpr uint64_t kWorkspaceBytes = 32 << 20;
// For the simulator only: what an edge GPU does with f32 in a nanosecond.
constexpr uint64_t kOperationsPerNs = 4'000;

struct Layer {
  uint64_t inputs = 0, outputs = 0;
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t weights = nullptr, from = nullptr, to = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
};

struct Mlp {
  const calypte_plugin_host *host = nullptr;
  uint64_t batch = 0;
  std::vector<Layer> layers;
  cublasLtHandle_t blas = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;

  ~Mlp() {
    for (Layer &layer : layers) {
      if (layer.product != nullptr) cublasLtMatmulDescDestroy(layer.product);
      for (cublasLtMatrixLayout_t each : {layer.weights, layer.from, layer.to}) {
        if (each != nullptr) cublasLtMatrixLayoutDestroy(each);
      }
    }
    if (preference != nullptr) cublasLtMatmulPreferenceDestroy(preference);
    if (blas != nullptr) cublasLtDestroy(blas);
  }
};

int32_t fail(char *error, uint32_t error_bytes, const std::string &text) {
  snprintf(error, error_bytes, "%s", text.c_str());
  return -1;
}

// The whole numbers behind a key of the config; other JSON is the bundle's own affair.
std::vector<uint64_t> numbers(const char *config, const char *key) {
  std::vector<uint64_t> out;
  const char *at = strstr(config, (std::string("\"") + key + "\"").c_str());
  if (at == nullptr) return out;
  at = strchr(at, ':');
  const bool list = at != nullptr && strspn(at + 1, " [") > strspn(at + 1, " ");
  for (at = at == nullptr ? nullptr : at + 1; at != nullptr && *at != 0 && *at != ']' && *at != '}';) {
    char *end = nullptr;
    at += strspn(at, " [,");
    const uint64_t value = strtoull(at, &end, 10);
    if (end == at) break;
    out.push_back(value);
    if (!list) break;
    at = end;
  }
  return out;
}

int32_t create(const calypte_plugin_host *host, const char *config, void **out, char *error, uint32_t error_bytes) {
  const std::vector<uint64_t> batch = numbers(config, "batch"), layers = numbers(config, "layers");
  if (batch.size() != 1 || layers.size() < 2 || layers.size() > 33 ||
      std::any_of(layers.begin(), layers.end(), [](uint64_t n) { return n < 1 || n > 1 << 20; }) || batch[0] < 1 ||
      batch[0] > 1 << 20)
    return fail(error, error_bytes, "config needs \"batch\" and \"layers\", 2 to 33 whole numbers of 1..1048576");
  auto mlp = std::make_unique<Mlp>();
  mlp->host = host;
  mlp->batch = batch[0];
  mlp->layers.resize(layers.size() - 1);
  for (size_t i = 0; i < mlp->layers.size(); ++i) {
    mlp->layers[i].inputs = layers[i];
    mlp->layers[i].outputs = layers[i + 1];
  }
  if (!host->simulated) {
    if (cublasLtCreate(&mlp->blas) != CUBLAS_STATUS_SUCCESS ||
        cublasLtMatmulPreferenceCreate(&mlp->preference) != CUBLAS_STATUS_SUCCESS)
      return fail(error, error_bytes, "cuBLASLt does not start: is its version that of the driver's CUDA?");
    const uint64_t most = kWorkspaceBytes;
    cublasLtMatmulPreferenceSetAttribute(mlp->preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most);
  }
  *out = mlp.release();
  return 0;
}

// The order of addresses: in, out, h0, h1, workspace, then w and b of each layer.
enum Place : size_t { kIn, kOut, kHidden, kWorkspace = kHidden + 2, kFirstLayer };

int32_t describe(void *instance, calypte_plugin_buffer *buffers, uint32_t capacity, char *error, uint32_t error_bytes) {
  const Mlp &mlp = *static_cast<const Mlp *>(instance);
  uint64_t widest = 1;
  for (const Layer &layer : mlp.layers) widest = std::max(widest, layer.outputs);
  std::vector<calypte_plugin_buffer> list;
  const auto add = [&](const std::string &name, uint32_t role, uint64_t bytes) {
    calypte_plugin_buffer &one = list.emplace_back();
    one = {};
    snprintf(one.name, sizeof one.name, "%s", name.c_str());
    one.role = role;
    one.size_bytes = bytes;
  };
  constexpr uint64_t kF32 = sizeof(float);
  add("in", CALYPTE_PLUGIN_INPUT, mlp.batch * mlp.layers.front().inputs * kF32);
  add("out", CALYPTE_PLUGIN_OUTPUT, mlp.batch * mlp.layers.back().outputs * kF32);
  for (const char *name : {"h0", "h1"}) add(name, CALYPTE_PLUGIN_SCRATCH, mlp.batch * widest * kF32);
  add("workspace", CALYPTE_PLUGIN_SCRATCH, kWorkspaceBytes);
  for (size_t i = 0; i < mlp.layers.size(); ++i) {
    add("w" + std::to_string(i), CALYPTE_PLUGIN_WEIGHT, mlp.layers[i].inputs * mlp.layers[i].outputs * kF32);
    add("b" + std::to_string(i), CALYPTE_PLUGIN_WEIGHT, mlp.layers[i].outputs * kF32);
  }
  if (list.size() > capacity) return fail(error, error_bytes, "too many layers");
  std::copy(list.begin(), list.end(), buffers);
  return static_cast<int32_t>(list.size());
}

// Row-major out = in w^T + b is, column by column, out' = w'^T in' with the bias along the rows.
bool prepare(Mlp &mlp, Layer &layer, const void *bias, bool last) {
  const cublasOperation_t transposed = CUBLAS_OP_T;
  const cublasLtEpilogue_t epilogue = last ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_RELU_BIAS;
  const auto inputs = static_cast<int64_t>(layer.inputs), outputs = static_cast<int64_t>(layer.outputs);
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  const bool done =
      cublasLtMatmulDescCreate(&layer.product, CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS &&
      cublasLtMatmulDescSetAttribute(layer.product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed) ==
          CUBLAS_STATUS_SUCCESS &&
      cublasLtMatmulDescSetAttribute(layer.product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue) ==
          CUBLAS_STATUS_SUCCESS &&
      cublasLtMatmulDescSetAttribute(layer.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias) ==
          CUBLAS_STATUS_SUCCESS &&
      cublasLtMatrixLayoutCreate(&layer.weights, CUDA_R_32F, layer.inputs, layer.outputs, inputs) ==
          CUBLAS_STATUS_SUCCESS &&
      cublasLtMatrixLayoutCreate(&layer.from, CUDA_R_32F, layer.inputs, mlp.batch, inputs) == CUBLAS_STATUS_SUCCESS &&
      cublasLtMatrixLayoutCreate(&layer.to, CUDA_R_32F, layer.outputs, mlp.batch, outputs) == CUBLAS_STATUS_SUCCESS &&
      cublasLtMatmulAlgoGetHeuristic(mlp.blas, layer.product, layer.weights, layer.from, layer.to, layer.to,
                                     mlp.preference, 1, &best, &found) == CUBLAS_STATUS_SUCCESS;
  if (!done || found < 1) return false;
  layer.algorithm = best.algo;
  return true;
}

int32_t enqueue(void *instance, const uint64_t *addresses, uint32_t, void *stream, char *error, uint32_t error_bytes) {
  Mlp &mlp = *static_cast<Mlp *>(instance);
  const auto address = [&](size_t place) { return reinterpret_cast<void *>(addresses[place]); };
  const float one = 1, zero = 0;
  const void *from = address(kIn);
  for (size_t i = 0; i < mlp.layers.size(); ++i) {
    Layer &layer = mlp.layers[i];
    const bool last = i + 1 == mlp.layers.size();
    void *to = last ? address(kOut) : address(kHidden + i % 2);
    if (mlp.host->simulated) {
      const uint64_t operations = 2 * mlp.batch * layer.inputs * layer.outputs;
      mlp.host->simulate(stream, CALYPTE_PLUGIN_SIM_KERNEL, "product", 3'000 + operations / kOperationsPerNs);
      continue;
    }
    // In the first call, which is not captured: the addresses are known from here on.
    if (layer.product == nullptr && !prepare(mlp, layer, address(kFirstLayer + 2 * i + 1), last))
      return fail(error, error_bytes, "cuBLASLt has no way to compute layer " + std::to_string(i));
    const cublasStatus_t status =
        cublasLtMatmul(mlp.blas, layer.product, &one, address(kFirstLayer + 2 * i), layer.weights, from, layer.from,
                       &zero, to, layer.to, to, layer.to, &layer.algorithm, address(kWorkspace), kWorkspaceBytes,
                       static_cast<cudaStream_t>(stream));
    if (status != CUBLAS_STATUS_SUCCESS)
      return fail(error, error_bytes,
                  "cublasLtMatmul of layer " + std::to_string(i) + ": status " + std::to_string(status));
    from = to;
  }
  return 0;
}

void destroy(void *instance) { delete static_cast<Mlp *>(instance); }

}  // namespace

extern "C" __attribute__((visibility("default"))) const calypte_plugin_functions *calypte_plugin_table(void) {
  static const calypte_plugin_functions table = {
      CALYPTE_PLUGIN_ABI_VERSION, sizeof table, "cuBLASLt perceptron 1.0", create, describe, enqueue, nullptr, destroy};
  return &table;
}
