// Do the plugins of examples/plugins compute what they say? Compiled against doubles of cuBLASLt and of libtorch's C
// interface that compute in host memory: which matrix is transposed, where the bias goes, who lets a tensor go. Nothing
// here has seen the real libraries.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "calypte.h"
#include "plugin/library.h"

namespace plugin = calypte::plugin;

namespace {

std::string last_error() {
  uint8_t text[4096];
  calypte_last_error(text, sizeof text);
  return reinterpret_cast<const char *>(text);
}

std::string file(const std::string &name) { return std::string(TEST_PLUGINS) + "/" + name; }

calypte_plugin_host host() {
  return {CALYPTE_PLUGIN_ABI_VERSION, sizeof(calypte_plugin_host), 0, 0, TEST_PLUGINS "/", nullptr};
}

struct Buffers {
  std::vector<std::vector<float>> memory;
  std::vector<plugin::GivenBuffer> given;

  // Sets of floats keep their place once they are made.
  float *add(const std::string &name, uint32_t role, size_t floats) {
    memory.emplace_back(floats, 0.0F);
    given.push_back({name, role, floats * sizeof(float), reinterpret_cast<uint64_t>(memory.back().data())});
    return memory.back().data();
  }
};

// Not symmetric in anything, so that a transposed matrix shows.
void fill(float *to, size_t count, uint32_t seed) {
  for (size_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    to[i] = static_cast<float>(seed >> 8) / static_cast<float>(1 << 24) - 0.5F;
  }
}

}  // namespace

TEST_SUITE("examples of plugins") {
  TEST_CASE("the perceptron on cuBLASLt multiplies, adds and cuts off as it says, call for call") {
    const size_t batch = 3, sizes[] = {5, 7, 6, 4};
    Buffers buffers;
    const float *in = buffers.add("in", CALYPTE_PLUGIN_INPUT, batch * sizes[0]);
    const float *out = buffers.add("out", CALYPTE_PLUGIN_OUTPUT, batch * sizes[3]);
    for (const char *name : {"h0", "h1"}) buffers.add(name, CALYPTE_PLUGIN_SCRATCH, batch * 7);
    buffers.add("workspace", CALYPTE_PLUGIN_SCRATCH, (32 << 20) / sizeof(float));
    std::vector<const float *> weights, biases;
    for (size_t i = 0; i < 3; ++i) {
      float *w = buffers.add("w" + std::to_string(i), CALYPTE_PLUGIN_WEIGHT, sizes[i] * sizes[i + 1]);
      float *b = buffers.add("b" + std::to_string(i), CALYPTE_PLUGIN_WEIGHT, sizes[i + 1]);
      fill(w, sizes[i] * sizes[i + 1], static_cast<uint32_t>(10 + i));
      fill(b, sizes[i + 1], static_cast<uint32_t>(20 + i));
      weights.push_back(w);
      biases.push_back(b);
    }
    fill(const_cast<float *>(in), batch * sizes[0], 1);
    std::vector<float> now(in, in + batch * sizes[0]);
    for (size_t layer = 0; layer < 3; ++layer) {
      std::vector<float> next;
      for (size_t row = 0; row < batch; ++row) {
        for (size_t o = 0; o < sizes[layer + 1]; ++o) {
          float sum = biases[layer][o];
          for (size_t i = 0; i < sizes[layer]; ++i)
            sum += now[row * sizes[layer] + i] * weights[layer][o * sizes[layer] + i];
          next.push_back(layer < 2 && sum < 0 ? 0 : sum);
        }
      }
      now = next;
    }
    const calypte_plugin_host offered = host();
    plugin::Instance mlp;
    const int32_t code =
        mlp.open(file("example_mlp.so"), "{\"batch\": 3, \"layers\": [5, 7, 6, 4]}", offered, buffers.given);
    INFO(last_error());
    REQUIRE(code == 0);
    for (int call = 0; call < 2; ++call) {
      REQUIRE(mlp.enqueue(nullptr) == 0);
      for (size_t i = 0; i < now.size(); ++i) CHECK(std::abs(out[i] - now[i]) < 1e-5F);
      std::fill(buffers.memory[1].begin(), buffers.memory[1].end(), 99.0F);
    }
  }

  TEST_CASE("the perceptron names what its config lacks, and which buffer does not fit") {
    const calypte_plugin_host offered = host();
    plugin::Instance without;
    CHECK(without.open(file("example_mlp.so"), "{\"batch\": 3}", offered, {}) < 0);
    CHECK(last_error().find("config needs \"batch\" and \"layers\"") != std::string::npos);
    plugin::Instance unfit;
    CHECK(unfit.open(file("example_mlp.so"), "{\"batch\": 3, \"layers\": [5, 7]}", offered,
                     {{"in", CALYPTE_PLUGIN_INPUT, 4, 256}}) < 0);
    CHECK(last_error().find("'in' as input with 60 bytes; in the bundle it is input with 4 bytes") !=
          std::string::npos);
  }

  TEST_CASE("the model of AOTInductor runs on the engine's buffers, and its outputs are copied there") {
    Buffers buffers;
    float *a = buffers.add("in0", CALYPTE_PLUGIN_INPUT, 4);
    float *b = buffers.add("in1", CALYPTE_PLUGIN_INPUT, 4);
    float *sum = buffers.add("out0", CALYPTE_PLUGIN_OUTPUT, 4);
    const calypte_plugin_host offered = host();
    plugin::Instance model;
    const int32_t code = model.open(file("example_aoti.so"), "{\"inputs\": [[1, 4], [4]], \"outputs\": [[2, 2]]}",
                                    offered, buffers.given);
    INFO(last_error());
    REQUIRE(code == 0);
    for (int call = 0; call < 3; ++call) {
      for (int i = 0; i < 4; ++i) {
        a[i] = static_cast<float>(i);
        b[i] = static_cast<float>(10 * call);
      }
      REQUIRE(model.enqueue(nullptr) == 0);
      for (int i = 0; i < 4; ++i) CHECK(sum[i] == static_cast<float>(i + 10 * call));
    }
  }

  TEST_CASE("the model of AOTInductor says how many tensors it has, and that it cannot be simulated") {
    calypte_plugin_host offered = host();
    plugin::Instance one;
    CHECK(one.open(file("example_aoti.so"), "{\"inputs\": [[4]], \"outputs\": [[4]]}", offered, {}) < 0);
    CHECK(last_error().find("the model has 2 inputs and 1 outputs, the config 1 and 1") != std::string::npos);
    offered.simulated = 1;
    plugin::Instance simulated;
    CHECK(simulated.open(file("example_aoti.so"), "{\"inputs\": [[4]], \"outputs\": [[4]]}", offered, {}) < 0);
    CHECK(last_error().find("cannot be simulated") != std::string::npos);
  }
}
