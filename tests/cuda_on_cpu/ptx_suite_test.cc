// Do whole kernels of the tree give what plain C++ gives? Small whole numbers, so that sums are exact in whatever
// order.
#include <algorithm>
#include <bit>
#include <cmath>

#include "ptx/half.h"
#include "rig.h"

using namespace cuda_on_cpu;

namespace {

struct Random {
  uint32_t state = 1;
  uint32_t below(uint32_t n) {
    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    return state % n;
  }
};

std::vector<uint16_t> halves(size_t n, Random &random) {
  std::vector<uint16_t> list(n);
  for (uint16_t &h : list) h = float_to_f16(static_cast<int>(random.below(9)) - 4);
  return list;
}

float settled(float x) {
  for (int i = 0; i < 16; i++) x = std::fma(x, 0.97f, 0.01f);
  return x;
}

// Host memory that vectors of 16 bytes can be copied from.
template <class T>
struct Aligned {
  explicit Aligned(size_t n, T value = T{}) : bytes(n * sizeof(T) + 256, 0), size(n) {
    for (size_t i = 0; i < n; i++) (*this)[i] = value;
  }
  std::vector<uint8_t> bytes;
  size_t size;
  T *data() { return reinterpret_cast<T *>((reinterpret_cast<uintptr_t>(bytes.data()) + 255) / 256 * 256); }
  T &operator[](size_t i) { return data()[i]; }
};

// c = a times b, of f16; b by rows or by columns. What the result is stored as follows from C.
template <class C>
void check_product(Aligned<uint16_t> &a, Aligned<uint16_t> &b, Aligned<C> &c, uint32_t m, uint32_t n, uint32_t k,
                   bool b_by_rows) {
  uint32_t wrong = 0;
  for (uint32_t y = 0; y < m; y++) {
    for (uint32_t x = 0; x < n; x++) {
      float sum = 0;
      for (uint32_t z = 0; z < k; z++)
        sum += f16_to_float(a[y * k + z]) * f16_to_float(b_by_rows ? b[z * n + x] : b[x * k + z]);
      float got;
      if constexpr (sizeof(C) == 2)
        got = f16_to_float(c[y * n + x]);
      else
        got = c[y * n + x];
      wrong += got != sum;
    }
  }
  CHECK(wrong == 0);
}

void fill(Aligned<uint16_t> &of, Random &random) {
  auto list = halves(of.size, random);
  memcpy(of.data(), list.data(), list.size() * 2);
}

}  // namespace

TEST_CASE("the built-in copies and fills move every byte and no other, however they are aligned") {
  Rig rig(file_text("ffi/native/kernels/builtin.ptx"));
  for (uint32_t shift : {0u, 1u, 4u, 16u}) {
    // Blocks of 16 KiB: whole ones, and last ones with and without room for four vectors of each thread.
    for (uint64_t bytes : {1ull, 4095ull, 12289ull, 16384ull, 30384ull, 32767ull, 35001ull}) {
      Aligned<uint8_t> from(40000), to(40000, 7);
      for (uint32_t i = 0; i < from.size; i++) from[i] = static_cast<uint8_t>(i * 31 + 1);
      const auto outside = [&] { return (shift == 0 || to[shift - 1] == 7) && to[shift + bytes] == 7; };
      CAPTURE(bytes);
      CHECK(rig.run("calypte_copy", {3, 1, 1}, {256, 1, 1}, to.data() + shift, from.data() + shift, bytes) ==
            Ended::done);
      CHECK(memcmp(to.data() + shift, from.data() + shift, bytes) == 0);
      CHECK(outside());
      CHECK(rig.run("calypte_fill", {3, 1, 1}, {256, 1, 1}, to.data() + shift, 0x1abu, bytes) == Ended::done);
      CHECK(std::count(to.data() + shift, to.data() + shift + bytes, 0xab) == static_cast<std::ptrdiff_t>(bytes));
      CHECK(outside());
    }
  }
}

TEST_CASE("a tiled transpose, with edges") {
  Rig rig(file_text("bench/suite/cuda/matrix.ptx"));
  constexpr uint32_t width = 70, height = 45;
  std::vector<float> in(width * height), out(width * height);
  for (uint32_t i = 0; i < in.size(); i++) in[i] = static_cast<float>(i);
  CHECK(rig.run("transpose", {3, 2, 1}, {32, 8, 1}, in.data(), out.data(), width, height) == Ended::done);
  uint32_t wrong = 0;
  for (uint32_t y = 0; y < height; y++) {
    for (uint32_t x = 0; x < width; x++) wrong += out[x * height + y] != in[y * width + x];
  }
  CHECK(wrong == 0);
}

TEST_CASE("prefix sums of a block, by shuffles and shared memory") {
  Rig rig(file_text("bench/suite/cuda/reduce.ptx"));
  std::vector<uint32_t> in(2048), out(2048);
  for (uint32_t i = 0; i < in.size(); i++) in[i] = i * 2654435761u;
  CHECK(rig.run("block_scan", {2, 1, 1}, {1024, 1, 1}, in.data(), out.data(), 3u) == Ended::done);
  for (uint32_t block = 0; block < 2; block++) {
    for (int round = 0; round < 3; round++) {
      uint32_t sum = 0;
      for (uint32_t t = 0; t < 1024; t++) in[block * 1024 + t] = sum += in[block * 1024 + t];
    }
  }
  CHECK(in == out);
}

TEST_CASE("sums of blocks that add into one matrix by atomics") {
  Rig rig(file_text("bench/suite/cuda/matrix.ptx"));
  constexpr uint32_t n = 64;
  std::vector<int32_t> a(n * n), b(n * n), c(n * n);
  Random random;
  for (int32_t &x : a) x = static_cast<int32_t>(random.below(2000)) - 1000;
  for (int32_t &x : b) x = static_cast<int32_t>(random.below(2000)) - 1000;
  CHECK(rig.run("split_k_int", {4, 4, 4}, {16, 16, 1}, a.data(), b.data(), c.data(), n) == Ended::done);
  uint32_t wrong = 0;
  for (uint32_t y = 0; y < n; y++) {
    for (uint32_t x = 0; x < n; x++) {
      int32_t sum = 0;
      for (uint32_t k = 0; k < n; k++) sum += a[y * n + k] * b[k * n + x];
      wrong += sum != c[y * n + x];
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("products by mma.sync") {
  Rig rig(file_text("bench/suite/cuda/matrix.ptx"));
  constexpr uint32_t n = 128;
  Random random;
  Aligned<uint16_t> a(n * n), b(n * n);
  Aligned<float> c(n * n);
  fill(a, random), fill(b, random);
  CHECK(rig.run("matmul_mma", {2, 2, 1}, {128, 1, 1}, a.data(), b.data(), c.data(), n) == Ended::done);
  check_product(a, b, c, n, n, n, false);
}

TEST_CASE("products by wgmma from swizzled shared memory, as Triton writes them") {
  struct Case {
    const char *file;
    uint32_t rows, columns, depth, dynamic_shared_bytes;
    Three block;
  };
  for (const Case &k : {Case{"matmul_64x64x32", 64, 64, 32, 16384, {128, 1, 1}},
                        Case{"matmul_128x128x64", 128, 128, 64, 0, {0, 1, 1}}}) {
    CAPTURE(k.file);
    Rig rig(file_text(std::string("bench/suite/triton/") + k.file + ".ptx"));
    rig.dynamic_shared_bytes = k.dynamic_shared_bytes != 0 ? k.dynamic_shared_bytes : 200000;
    uint32_t threads = rig.module().kernel("matmul")->max_threads;
    uint32_t m = 2 * k.rows, n = 2 * k.columns, depth = 4 * k.depth;
    Random random;
    Aligned<uint16_t> a(m * depth), b(depth * n), c(m * n);
    fill(a, random), fill(b, random);
    uint64_t none = 0;
    CHECK(rig.run("matmul", {2, 2, 1}, {threads, 1, 1}, a.data(), b.data(), c.data(), m, n, depth, none, none) ==
          Ended::done);
    check_product(a, b, c, m, n, depth, true);
  }
}

TEST_CASE("mbarriers and bulk copies") {
  Rig rig(file_text("bench/suite/cuda/async.ptx"));
  Aligned<float> in(2 * 3 * 1024), out(512);
  for (uint32_t i = 0; i < in.size; i++) in[i] = static_cast<float>(i % 97) / 7;
  CHECK(rig.run("mbarrier_swap", {2, 1, 1}, {256, 1, 1}, in.data(), out.data(), 5u) == Ended::done);
  for (uint32_t block = 0; block < 2; block++) {
    std::vector<float> x(in.data() + block * 256, in.data() + block * 256 + 256);
    for (uint32_t r = 0; r < 5; r++) {
      auto values = x;
      for (uint32_t t = 0; t < 256; t++) x[t] = settled(x[t] + values[(t + 1 + r) % 256]);
    }
    CHECK(memcmp(x.data(), out.data() + block * 256, 1024) == 0);
  }
  CHECK(rig.run("bulk_copies", {2, 1, 1}, {128, 1, 1}, in.data(), out.data(), 3u) == Ended::done);
  uint32_t wrong = 0;
  for (uint32_t t = 0; t < 256; t++) {
    float sum = 0;
    for (uint32_t tile = 0; tile < 3; tile++) {
      for (uint32_t i = 0; i < 8; i++) sum += settled(in[(t / 128 * 3 + tile) * 1024 + i * 128 + 127 - t % 128]);
    }
    wrong += bits(sum) != bits(out[t]);
  }
  CHECK(wrong == 0);
}

TEST_CASE("the example detector finds the boxes of its sample, bit for bit") {
  const std::string folder = "examples/bundles/obstacle-detector/";
  Rig rig(file_text(folder + "kernels.compute_80.ptx"));
  std::atomic<uint64_t> instructions{0};
  rig.machine.instructions = &instructions;
  std::string frame = file_text(folder + "sample.in"), weights = file_text(folder + "weights.bin"),
              expected = file_text(folder + "sample.out");
  auto weight = [&](size_t offset) { return weights.data() + offset; };
  std::vector<float> stem(180 * 320 * 8), conv2(90 * 160 * 16), conv3(45 * 80 * 16), conv4(45 * 80 * 16),
      head(45 * 80 * 6), candidates(3600 * 6), boxes(600);
  Three threads{256, 1, 1};
  CHECK(rig.run("stem", {1800, 1, 1}, threads, frame.data(), weight(0), weight(864), stem.data(), 640, 360, 320, 180,
                8) == Ended::done);
  CHECK(rig.run("conv3x3", {900, 1, 1}, threads, stem.data(), weight(896), weight(5504), conv2.data(), 320, 180, 8, 160,
                90, 16, 2) == Ended::done);
  CHECK(rig.run("conv3x3", {225, 1, 1}, threads, conv2.data(), weight(5568), weight(14784), conv3.data(), 160, 90, 16,
                80, 45, 16, 2) == Ended::done);
  CHECK(rig.run("conv3x3", {225, 1, 1}, threads, conv3.data(), weight(14848), weight(24064), conv4.data(), 80, 45, 16,
                80, 45, 16, 1) == Ended::done);
  CHECK(rig.run("head", {85, 1, 1}, threads, conv4.data(), weight(24128), weight(24512), head.data(), 3600, 16, 6) ==
        Ended::done);
  CHECK(rig.run("decode", {15, 1, 1}, threads, head.data(), candidates.data(), 80, 45) == Ended::done);
  CHECK(rig.run("top_boxes", {15, 1, 1}, threads, candidates.data(), boxes.data(), 3600) == Ended::done);
  REQUIRE(expected.size() == boxes.size() * 4);
  CHECK(memcmp(expected.data(), boxes.data(), expected.size()) == 0);
  CHECK(instructions > 100'000'000);
}
