// Products of small matrices that a warp, or four, hold together; and how those come out of shared memory.
//
// Products are exact and summed in double, then rounded once: the hardware's order and width of sums is not documented.
#include "ptx/half.h"
#include "ptx/lanes.h"

namespace cuda_on_cpu {
namespace {

enum class Element : uint8_t { f16, bf16, tf32, s8, u8, none };

Element element_of(std::string_view t) {
  return t == "f16"    ? Element::f16
         : t == "bf16" ? Element::bf16
         : t == "tf32" ? Element::tf32
         : t == "s8"   ? Element::s8
         : t == "u8"   ? Element::u8
                       : Element::none;
}
uint32_t bytes_of(Element e) { return e == Element::tf32 ? 4 : e == Element::s8 || e == Element::u8 ? 1 : 2; }

double value(Element e, uint32_t bits) {
  switch (e) {
    case Element::f16:
      return f16_to_float(static_cast<uint16_t>(bits));
    case Element::bf16:
      return bf16_to_float(static_cast<uint16_t>(bits));
    // The lowest 13 bits are not looked at.
    case Element::tf32:
      return std::bit_cast<float>(bits & 0xffffe000);
    case Element::s8:
      return static_cast<int8_t>(bits);
    default:
      return static_cast<uint8_t>(bits);
  }
}

// ldmatrix and stmatrix: count matrices of 8 rows of 16 bytes. mode: 1 transposed, 2 a store, 4 generic addresses.
Flow matrices(Warp &w, const Inst &i, uint32_t lanes) {
  if (!all_here(w, i, lanes)) return Flow::meet;
  const uint64_t *base = w.row<uint64_t>(i.a);
  for (uint32_t m = 0; m < i.count; m++) {
    uint16_t *rows[8];
    for (uint32_t r = 0; r < 8; r++) {
      uint64_t address = base[8 * m + r] + static_cast<uint64_t>(i.imm);
      rows[r] =
          reinterpret_cast<uint16_t *>(i.mode & 4 ? resolve_slowly(w, i, Space::generic, address, 16, 8 * m + r)
                                                  : resolve<Space::shared>(w, i, address & 0xffffffff, 16, 8 * m + r));
      if (!rows[r]) return Flow::fault;
    }
    uint32_t *d = w.row<uint32_t>(i.list[m]);
    for (uint32_t l = 0; l < 32; l++) {
      uint32_t row = l / 4, column = l % 4 * 2;
      uint16_t *low = i.mode & 1 ? &rows[column][row] : &rows[row][column],
               *high = i.mode & 1 ? &rows[column + 1][row] : &rows[row][column + 1];
      if (i.mode & 2)
        *low = static_cast<uint16_t>(d[l]), *high = static_cast<uint16_t>(d[l] >> 16);
      else
        d[l] = *low | static_cast<uint32_t>(*high) << 16;
    }
  }
  w.progressed = true;
  return Flow::next;
}

constexpr uint32_t kMostK = 64;

// 16 rows of A, each with k elements, as registers of a warp hold them.
void gather_a(const Warp &w, const uint32_t *list, Element e, uint32_t k, double (*a)[kMostK]) {
  uint32_t each = 4 / bytes_of(e), bits = 8 * bytes_of(e);
  for (uint32_t r = 0; r < k / each / 2; r++) {
    const uint32_t *row = w.row<uint32_t>(list[r]);
    for (uint32_t l = 0; l < 32; l++) {
      for (uint32_t n = 0; n < each; n++)
        a[l / 4 + 8 * (r % 2)][l % 4 * each + n + 4 * each * (r / 2)] = value(e, row[l] >> (n * bits % 32));
    }
  }
}

void multiply(const double (*a)[kMostK], const double (*b)[8], uint32_t k, double (*sum)[8]) {
  for (uint32_t m = 0; m < 16; m++) {
    for (uint32_t n = 0; n < 8; n++) sum[m][n] = 0;
    for (uint32_t x = 0; x < k; x++) {
      double f = a[m][x];
      for (uint32_t n = 0; n < 8; n++) sum[m][n] += f * b[x][n];
    }
  }
}

// list: d, a, b, c. d and c are 4 registers, or 2 of pairs of halves (b: 1). imm: k. mode: the elements of A, and of B.
Flow mma(Warp &w, const Inst &i, uint32_t lanes) {
  if (!all_here(w, i, lanes)) return Flow::meet;
  Element ea = static_cast<Element>(i.mode & 15), eb = static_cast<Element>(i.mode >> 4 & 15);
  auto k = static_cast<uint32_t>(i.imm);
  bool is_half = i.b == 1, is_whole = ea == Element::s8 || ea == Element::u8;
  uint32_t each = 4 / bytes_of(ea), bits = 8 * bytes_of(ea), ds = is_half ? 2 : 4, as = k / each / 2, bs = as / 2;
  const uint32_t *d = i.list, *a = d + ds, *b = a + as, *c = b + bs;
  double left[16][kMostK], right[kMostK][8], sum[16][8];
  gather_a(w, a, ea, k, left);
  for (uint32_t r = 0; r < bs; r++) {
    const uint32_t *row = w.row<uint32_t>(b[r]);
    for (uint32_t l = 0; l < 32; l++) {
      for (uint32_t n = 0; n < each; n++)
        right[l % 4 * each + n + 4 * each * r][l / 4] = value(eb, row[l] >> (n * bits % 32));
    }
  }
  multiply(left, right, k, sum);
  for (uint32_t l = 0; l < 32; l++) {
    for (uint32_t r = 0; r < 4; r++) {
      double s = sum[l / 4 + 8 * (r / 2)][l % 4 * 2 + r % 2];
      if (is_half) {
        uint32_t shift = 16 * (r % 2), &into = w.row<uint32_t>(d[r / 2])[l];
        uint16_t h = float_to_f16(f16_to_float(static_cast<uint16_t>(w.row<uint32_t>(c[r / 2])[l] >> shift)) + s);
        into = (into & ~(0xffffu << shift)) | static_cast<uint32_t>(h) << shift;
      } else if (is_whole) {
        w.row<uint32_t>(d[r])[l] = w.row<uint32_t>(c[r])[l] + static_cast<uint32_t>(static_cast<int32_t>(s));
      } else {
        w.row<float>(d[r])[l] = static_cast<float>(w.row<float>(c[r])[l] + s);
      }
    }
  }
  return Flow::next;
}

// --- wgmma: matrices described by words that say where they lie in shared memory

struct Descriptor {
  uint32_t start, leading, stride, swizzle;  // bytes; 0: none, else the bytes that are stirred
  explicit Descriptor(uint64_t d)
      : start(static_cast<uint32_t>(d & 0x3fff) << 4),
        leading(static_cast<uint32_t>(d >> 16 & 0x3fff) << 4),
        stride(static_cast<uint32_t>(d >> 32 & 0x3fff) << 4) {
    static constexpr uint32_t modes[] = {0, 128, 64, 32};
    swizzle = modes[d >> 62];
  }
  // Where element (mn, k) of `bytes` bytes lies. Transposed: along mn it is contiguous.
  uint32_t at(uint32_t mn, uint32_t k, uint32_t bytes, bool transposed) const {
    uint32_t a;
    if (swizzle == 0) {
      uint32_t each = 16 / bytes;
      a = transposed ? start + mn / each * stride + k / 8 * leading + k % 8 * 16 + mn % each * bytes
                     : start + mn / 8 * stride + k / each * leading + mn % 8 * 16 + k % each * bytes;
      return a;
    }
    uint32_t each = swizzle / bytes;
    a = transposed ? start + mn / each * leading + k / 8 * stride + k % 8 * swizzle + mn % each * bytes
                   : start + mn / 8 * stride + mn % 8 * swizzle + k * bytes;
    uint32_t mask = swizzle / 16 - 1;
    return a ^ ((a >> 7 & mask) << 4);
  }
};

bool read_element(Warp &w, const Inst &i, const Descriptor &d, uint32_t mn, uint32_t k, Element e, bool transposed,
                  double &into) {
  uint32_t bytes = bytes_of(e);
  uint8_t *p = resolve<Space::shared>(w, i, d.at(mn, k, bytes, transposed), bytes, 0);
  if (!p) return false;
  uint32_t bits = 0;
  memcpy(&bits, p, bytes);
  into = value(e, bits);
  return true;
}

// list: d, then a's 4 registers or its descriptor (f: 1), then b's descriptor. b: 1 for halves as the result; c: the
// predicate of scale-d; imm: n and k; mode: the elements, 256: -a, 512: -b, 1024: a transposed, 2048: b transposed.
Flow wgmma(Warp &w, const Inst &i, uint32_t lanes) {
  if (!all_here(w, i, lanes)) return Flow::meet;
  Element e = static_cast<Element>(i.mode & 15);
  uint32_t n = static_cast<uint32_t>(i.imm) & 0xffff, k = static_cast<uint32_t>(i.imm) >> 16;
  bool is_half = i.b == 1;
  uint32_t ds = n / 8 * (is_half ? 2 : 4);
  const uint32_t *d = i.list, *a = d + ds, *b = a + (i.f == 1 ? 1 : 4);
  bool adds = w.predicate(i.c) >> std::countr_zero(lanes) & 1;
  double left[16][kMostK], right[kMostK][8], sum[16][8];
  uint32_t first = static_cast<uint32_t>(std::countr_zero(lanes));
  if (i.f == 1) {
    Descriptor da(w.row<uint64_t>(a[0])[first]);
    uint32_t row = w.first_thread / 32 % 4 * 16;
    for (uint32_t m = 0; m < 16; m++) {
      for (uint32_t x = 0; x < k; x++) {
        if (!read_element(w, i, da, row + m, x, e, i.mode & 1024, left[m][x])) return Flow::fault;
      }
    }
  } else {
    gather_a(w, a, e, k, left);
  }
  if (((i.mode & 256) != 0) != ((i.mode & 512) != 0)) {
    for (uint32_t m = 0; m < 16; m++) {
      for (uint32_t x = 0; x < k; x++) left[m][x] = -left[m][x];
    }
  }
  Descriptor db(w.row<uint64_t>(b[0])[first]);
  for (uint32_t j = 0; j < n / 8; j++) {
    for (uint32_t x = 0; x < k; x++) {
      for (uint32_t c = 0; c < 8; c++) {
        if (!read_element(w, i, db, 8 * j + c, x, e, i.mode & 2048, right[x][c])) return Flow::fault;
      }
    }
    multiply(left, right, k, sum);
    for (uint32_t l = 0; l < 32; l++) {
      for (uint32_t r = 0; r < 4; r++) {
        double s = sum[l / 4 + 8 * (r / 2)][l % 4 * 2 + r % 2];
        if (is_half) {
          uint32_t shift = 16 * (r % 2), &into = w.row<uint32_t>(d[2 * j + r / 2])[l];
          double old = adds ? f16_to_float(static_cast<uint16_t>(into >> shift)) : 0;
          into = (into & ~(0xffffu << shift)) | static_cast<uint32_t>(float_to_f16(old + s)) << shift;
        } else {
          float &into = w.row<float>(d[4 * j + r])[l];
          into = static_cast<float>((adds ? into : 0) + s);
        }
      }
    }
  }
  return Flow::next;
}

Flow nothing(Warp &, const Inst &, uint32_t) { return Flow::next; }

void append(Coder &c, size_t operand, bool is_source, size_t expected, std::vector<Row> &into) {
  std::vector<Row> rows = c.rows(c.operand(operand), is_source, 4);
  if (rows.size() != expected)
    c.refuse("operand " + std::to_string(operand + 1) + " of " + std::string(c.statement().name) + " has " +
             std::to_string(rows.size()) + " registers, and not " + std::to_string(expected));
  for (const Row &r : rows) {
    if (r.bytes != 4)
      c.refuse("the matrices of " + std::string(c.statement().name) + " are held in registers of 32 bits");
  }
  into.insert(into.end(), rows.begin(), rows.end());
}

bool select_mma(Coder &c) {
  const auto &p = c.statement().parts;
  // mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32
  if (p.size() < 10 || p[2] != "aligned" || !p[3].starts_with("m16n8k") || p[4] != "row" || p[5] != "col" ||
      c.statement().has("satfinite"))
    c.unknown();
  auto k = static_cast<uint32_t>(std::stoul(std::string(p[3].substr(6))));
  std::string_view td = p[6], tc = p[9];
  Element a = element_of(p[7]), b = element_of(p[8]);
  if (a == Element::none || b == Element::none || bytes_of(a) != bytes_of(b) || td != tc || k > kMostK || k < 4 ||
      k * bytes_of(a) > 32 || k * bytes_of(a) < 16)
    c.unknown();
  bool is_whole = a == Element::s8 || a == Element::u8;
  if (is_whole ? td != "s32" : td != "f32" && !(td == "f16" && a == Element::f16)) c.unknown();
  c.want(4, 4);
  uint32_t each = 4 / bytes_of(a);
  std::vector<Row> rows;
  append(c, 0, false, td == "f16" ? 2 : 4, rows);
  append(c, 1, true, k / each / 2, rows);
  append(c, 2, true, k / each / 4, rows);
  append(c, 3, true, td == "f16" ? 2 : 4, rows);
  Inst i = c.make(mma);
  i.list = c.list(rows), i.imm = k, i.b = td == "f16",
  i.mode = static_cast<uint32_t>(a) | static_cast<uint32_t>(b) << 4;
  c.push(i);
  return true;
}

bool select_wgmma(Coder &c) {
  const Statement &s = c.statement();
  const auto &p = s.parts;
  if (p[1] == "fence" || p[1] == "commit_group" || p[1] == "wait_group") return c.push(c.make(nothing)), true;
  // wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16
  if (p.size() != 8 || !p[4].starts_with("m64n")) c.unknown();
  size_t at_k = p[4].find('k');
  auto n = static_cast<uint32_t>(std::stoul(std::string(p[4].substr(4)))),
       k = static_cast<uint32_t>(std::stoul(std::string(p[4].substr(at_k + 1))));
  Element e = element_of(p[6]);
  if (e == Element::none || e == Element::s8 || e == Element::u8 || p[6] != p[7] || k * bytes_of(e) != 32) c.unknown();
  bool is_half = p[5] == "f16";
  if (!is_half && p[5] != "f32") c.unknown();
  if (c.operands() != (e == Element::tf32 ? 6 : c.operand(1).kind == Operand::Kind::vector ? 7 : 8)) c.unknown();
  std::vector<Row> rows;
  append(c, 0, false, n / 8 * (is_half ? 2 : 4), rows);
  bool from_memory = c.operand(1).kind != Operand::Kind::vector;
  if (from_memory)
    rows.push_back({c.source(1, 8), 8});
  else
    append(c, 1, true, 4, rows);
  rows.push_back({c.source(2, 8), 8});
  uint32_t adds = c.predicate(c.operand(3));
  auto number = [&](size_t o) { return o < c.operands() ? c.operand(o).value : 0; };
  Inst i = c.make(wgmma);
  i.list = c.list(rows), i.b = is_half, i.c = adds, i.f = from_memory, i.imm = n | k << 16;
  i.mode = static_cast<uint32_t>(e) | (number(4) == -1 ? 256 : 0) | (number(5) == -1 ? 512 : 0);
  if (e != Element::tf32) {
    if (from_memory && number(6) == 1) i.mode |= 1024;
    if (number(from_memory ? 7 : 6) == 1) i.mode |= 2048;
  }
  c.push(i);
  return true;
}

}  // namespace

bool select_tensor(Coder &c) {
  const Statement &s = c.statement();
  std::string_view op = s.parts[0];
  if (op == "mma") return select_mma(c);
  if (op == "wgmma" && s.parts.size() > 1) return select_wgmma(c);
  if (op != "ldmatrix" && op != "stmatrix") return false;
  bool is_load = op == "ldmatrix", is_shared = s.has("shared") || s.has("shared::cta");
  if (!s.has("m8n8") || c.type() != "b16") c.unknown();
  c.want(2, 2);
  Inst at;
  Space space = is_shared ? Space::shared : Space::generic;
  c.address(c.operand(is_load ? 1 : 0), at, space);
  std::vector<Row> rows;
  append(c, is_load ? 0 : 1, !is_load, s.has("x4") ? 4 : s.has("x2") ? 2 : 1, rows);
  Inst i = c.make(matrices);
  i.a = at.a, i.imm = at.imm, i.list = c.list(rows), i.count = static_cast<uint32_t>(rows.size());
  i.mode = (s.has("trans") ? 1 : 0) | (is_load ? 0 : 2) | (is_shared ? 0 : 4);
  c.push(i);
  return true;
}

}  // namespace cuda_on_cpu
