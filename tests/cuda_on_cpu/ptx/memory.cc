// ld and st: from and to every space, one element or several, plain and ordered.
#include "ptx/lanes.h"

namespace cuda_on_cpu {

namespace {

// mode: what an ordered access does besides.
constexpr uint32_t kAcquire = 1, kRelease = 2;

template <Space S>
uint64_t address_of(const Inst &i, uint64_t base) {
  uint64_t a = base + static_cast<uint64_t>(i.imm);
  // 32 bits wrap around.
  return S == Space::shared ? a & 0xffffffff : a;
}

// Where all 32 lanes are known to be allowed to touch what they ask for, the host's address of shared address 0, or of
// address 0; else false. The loops are ones that the compiler makes wide.
template <Space S, class A>
bool all_allowed(Warp &w, const Inst &i, const A *base, uint32_t lanes, uint32_t bytes, uint64_t &origin) {
  if (lanes != UINT32_MAX) return false;
  if constexpr (S == Space::global) {
    uint64_t first = base[0] + static_cast<uint64_t>(i.imm), different = 0, low = 0;
    for (uint32_t l = 0; l < 32; l++) {
      uint64_t address = base[l] + static_cast<uint64_t>(i.imm);
      different |= address ^ first;
      low |= address;
    }
    if ((low & (bytes - 1)) != 0 || different >> Run::kChunkShift != 0 || !w.run->knows(first)) return false;
    origin = 0;
    return true;
  } else if constexpr (S == Space::shared) {
    uint32_t size = static_cast<uint32_t>(w.block->shared.size()), low = 0, most = 0;
    if (size < bytes) return false;
    for (uint32_t l = 0; l < 32; l++) {
      uint32_t address = static_cast<uint32_t>(base[l]) + static_cast<uint32_t>(i.imm);
      low |= address;
      most = address > most ? address : most;
    }
    if ((low & (bytes - 1)) != 0 || most > size - bytes) return false;
    origin = reinterpret_cast<uint64_t>(w.block->shared.data());
    return true;
  }
  return false;
}

// M: what lies in memory; R: a lane of a register; A: a lane of the address's.
template <Space S, class M, class R, class A, bool Ordered>
Flow load(Warp &w, const Inst &i, uint32_t lanes) {
  const A *base = w.row<A>(i.a);
  if constexpr (Ordered)
    w.poll(base[std::countr_zero(lanes)] + static_cast<uint64_t>(i.imm));
  else
    w.progressed = true;
  uint64_t origin = 0;
  if (all_allowed<S>(w, i, base, lanes, static_cast<uint32_t>(sizeof(M)) * i.count, origin)) {
    const M *from[32];
    for (uint32_t l = 0; l < 32; l++) from[l] = reinterpret_cast<const M *>(origin + address_of<S>(i, base[l]));
    for (uint32_t k = 0; k < i.count; k++) {
      R *d = w.row<R>(i.list[k]);
      for (uint32_t l = 0; l < 32; l++) d[l] = static_cast<R>(__atomic_load_n(from[l] + k, __ATOMIC_RELAXED));
    }
  } else if (i.count == 1) {
    R *d = w.row<R>(i.d);
    for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
      uint32_t l = static_cast<uint32_t>(std::countr_zero(rest));
      const M *p = reinterpret_cast<const M *>(resolve<S>(w, i, address_of<S>(i, base[l]), sizeof(M), l));
      if (!p) return Flow::fault;
      d[l] = static_cast<R>(__atomic_load_n(p, __ATOMIC_RELAXED));
    }
  } else {
    for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
      uint32_t l = static_cast<uint32_t>(std::countr_zero(rest));
      const M *p = reinterpret_cast<const M *>(
          resolve<S>(w, i, address_of<S>(i, base[l]), static_cast<uint32_t>(sizeof(M)) * i.count, l));
      if (!p) return Flow::fault;
      for (uint32_t k = 0; k < i.count; k++)
        w.row<R>(i.list[k])[l] = static_cast<R>(__atomic_load_n(p + k, __ATOMIC_RELAXED));
    }
  }
  if constexpr (Ordered) {
    if (i.mode & kAcquire) __atomic_thread_fence(__ATOMIC_ACQUIRE);
  }
  return Flow::next;
}

template <Space S, class M, class R, class A, bool Ordered>
Flow store(Warp &w, const Inst &i, uint32_t lanes) {
  const A *base = w.row<A>(i.a);
  if constexpr (Ordered) {
    if (i.mode & kRelease) __atomic_thread_fence(__ATOMIC_RELEASE);
  }
  w.progressed = true;
  uint64_t origin = 0;
  if (all_allowed<S>(w, i, base, lanes, static_cast<uint32_t>(sizeof(M)) * i.count, origin)) {
    for (uint32_t k = 0; k < i.count; k++) {
      const R *s = w.row<R>(i.list[k]);
      for (uint32_t l = 0; l < 32; l++) {
        __atomic_store_n(reinterpret_cast<M *>(origin + address_of<S>(i, base[l])) + k, static_cast<M>(s[l]),
                         __ATOMIC_RELAXED);
      }
    }
    return Flow::next;
  }
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    uint32_t l = static_cast<uint32_t>(std::countr_zero(rest));
    M *p = reinterpret_cast<M *>(
        resolve<S>(w, i, address_of<S>(i, base[l]), static_cast<uint32_t>(sizeof(M)) * i.count, l));
    if (!p) return Flow::fault;
    for (uint32_t k = 0; k < i.count; k++)
      __atomic_store_n(p + k, static_cast<M>(w.row<R>(i.list[k])[l]), __ATOMIC_RELAXED);
  }
  return Flow::next;
}

// Parameters are the same for all lanes, where the address is.
template <class M, class R>
Flow load_parameter(Warp &w, const Inst &i, uint32_t lanes) {
  const uint8_t *p = w.run->parameters.data() + i.imm;
  for (uint32_t k = 0; k < i.count; k++) {
    M v;
    memcpy(&v, p + k * sizeof(M), sizeof(M));
    R r = static_cast<R>(v), *d = w.row<R>(i.list[k]);
    each_lane(lanes, [&](uint32_t l) { d[l] = r; });
  }
  return Flow::next;
}

template <Space S, class M, class R>
Handler load_handler(bool narrow, bool ordered) {
  if constexpr (S == Space::shared) {
    if (narrow) return ordered ? load<S, M, R, uint32_t, true> : load<S, M, R, uint32_t, false>;
  }
  return ordered ? load<S, M, R, uint64_t, true> : load<S, M, R, uint64_t, false>;
}
template <Space S, class M, class R>
Handler store_handler(bool narrow, bool ordered) {
  if constexpr (S == Space::shared) {
    if (narrow) return ordered ? store<S, M, R, uint32_t, true> : store<S, M, R, uint32_t, false>;
  }
  return ordered ? store<S, M, R, uint64_t, true> : store<S, M, R, uint64_t, false>;
}

struct Access {
  Space space;
  bool narrow, ordered;
};

template <class M, class R>
Handler load_in(const Access &a) {
  switch (a.space) {
    case Space::generic:
      return load_handler<Space::generic, M, R>(a.narrow, a.ordered);
    case Space::global:
      return load_handler<Space::global, M, R>(a.narrow, a.ordered);
    case Space::shared:
      return load_handler<Space::shared, M, R>(a.narrow, a.ordered);
    case Space::local:
      return load_handler<Space::local, M, R>(a.narrow, a.ordered);
    default:
      return load_parameter<M, R>;
  }
}
template <class M, class R>
Handler store_in(const Access &a) {
  switch (a.space) {
    case Space::generic:
      return store_handler<Space::generic, M, R>(a.narrow, a.ordered);
    case Space::global:
      return store_handler<Space::global, M, R>(a.narrow, a.ordered);
    case Space::shared:
      return store_handler<Space::shared, M, R>(a.narrow, a.ordered);
    case Space::local:
      return store_handler<Space::local, M, R>(a.narrow, a.ordered);
    default:
      return nullptr;
  }
}
template <class M, class S>
Handler load_as(uint32_t register_bytes, bool has_sign, const Access &a) {
  if (register_bytes == 2) {
    if constexpr (sizeof(M) <= 2) return has_sign ? load_in<S, int16_t>(a) : load_in<M, uint16_t>(a);
    return nullptr;
  }
  if (register_bytes == 4) {
    if constexpr (sizeof(M) <= 4) return has_sign ? load_in<S, int32_t>(a) : load_in<M, uint32_t>(a);
    return nullptr;
  }
  return has_sign ? load_in<S, int64_t>(a) : load_in<M, uint64_t>(a);
}
template <class M>
Handler store_as(uint32_t register_bytes, const Access &a) {
  if (register_bytes == 2) {
    if constexpr (sizeof(M) <= 2) return store_in<M, uint16_t>(a);
    return nullptr;
  }
  if (register_bytes == 4) {
    if constexpr (sizeof(M) <= 4) return store_in<M, uint32_t>(a);
    return nullptr;
  }
  return store_in<M, uint64_t>(a);
}

Space space_of(const Statement &s) {
  for (std::string_view part : s.parts) {
    if (part == "global" || part == "const") return Space::global;
    if (part == "shared" || part == "shared::cta" || part == "shared::cluster") return Space::shared;
    if (part == "local") return Space::local;
    if (part == "param" || part == "param::entry" || part == "param::func") return Space::parameter;
  }
  return Space::generic;
}

}  // namespace

uint8_t *resolve_slowly(Warp &w, const Inst &i, Space space, uint64_t address, uint32_t bytes, uint32_t lane) {
  auto wrong = [&](const char *what) -> uint8_t * {
    char text[160];
    snprintf(text, sizeof text, "%s: %u bytes at 0x%llx", what, bytes, static_cast<unsigned long long>(address));
    w.fail(Ended::illegal_address, i, text);
    return nullptr;
  };
  if (space == Space::generic) {
    uint64_t window = address & kWindowMask;
    space = window == kSharedWindow      ? Space::shared
            : window == kLocalWindow     ? Space::local
            : window == kParameterWindow ? Space::parameter
                                         : Space::global;
    if (space != Space::global) address &= ~kWindowMask;
  }
  // Vectors are aligned as a whole; sizes that are no power of two do not exist.
  if ((address & (bytes - 1)) != 0) return wrong("a misaligned address");
  Block &b = *w.block;
  switch (space) {
    case Space::global:
      if (!w.run->may_touch(address, bytes)) return wrong("an address that the kernel may not touch");
      return reinterpret_cast<uint8_t *>(address);
    case Space::shared: {
      Block *of = &b;
      if (uint32_t rank = static_cast<uint32_t>(address) >> kRankShift; rank != 0) {
        if (rank > b.cluster->blocks.size()) return wrong("an address of a block that the cluster does not have");
        of = b.cluster->blocks[rank - 1];
        address &= (1u << kRankShift) - 1;
      }
      if (address + bytes > of->shared.size()) return wrong("an address beyond shared memory");
      return of->shared.data() + address;
    }
    case Space::local:
      address &= 0xffffffff;
      if (address + bytes > w.program->local_bytes) return wrong("an address beyond local memory");
      return b.local.data() + static_cast<size_t>(w.first_thread + lane) * w.program->local_bytes + address;
    default:
      if (address + bytes > w.run->parameters.size()) return wrong("an address beyond the parameters");
      return w.run->parameters.data() + address;
  }
}

bool select_memory(Coder &c) {
  const Statement &s = c.statement();
  std::string_view op = s.parts[0];
  bool is_load = op == "ld" || op == "ldu";
  if (!is_load && op != "st") return false;
  // A cache hint stands behind the operands, and is no use here.
  c.want(2, 3);
  Space space = space_of(s);
  std::string_view t = c.type();
  uint32_t bytes = bytes_of_type(t);
  if (bytes == 0 || bytes > 8 || s.has("v8")) c.unknown();
  bool has_sign = t[0] == 's';
  Access a{space, false, false};
  for (std::string_view part : {"volatile", "relaxed", "acquire", "release", "mmio"}) a.ordered |= s.has(part);
  Inst at;
  c.address(c.operand(is_load ? 1 : 0), at, a.space, &a.narrow);
  std::vector<Row> rows = c.rows(c.operand(is_load ? 0 : 1), !is_load, std::max(2u, bytes));
  uint32_t elements = s.has("v2") ? 2 : s.has("v4") ? 4 : 1;
  if (rows.size() != elements)
    c.refuse("the vector of " + std::string(s.name) + " has " + std::to_string(rows.size()) + " elements");
  for (const Row &r : rows) {
    if (r.bytes != rows[0].bytes) c.refuse("the elements of a vector are of different widths");
  }
  Handler h = nullptr;
  if (is_load) {
    h = bytes == 1   ? load_as<uint8_t, int8_t>(rows[0].bytes, has_sign, a)
        : bytes == 2 ? load_as<uint16_t, int16_t>(rows[0].bytes, has_sign, a)
        : bytes == 4 ? load_as<uint32_t, int32_t>(rows[0].bytes, has_sign, a)
                     : load_as<uint64_t, int64_t>(rows[0].bytes, false, a);
  } else {
    h = bytes == 1   ? store_as<uint8_t>(rows[0].bytes, a)
        : bytes == 2 ? store_as<uint16_t>(rows[0].bytes, a)
        : bytes == 4 ? store_as<uint32_t>(rows[0].bytes, a)
                     : store_as<uint64_t>(rows[0].bytes, a);
  }
  if (!h) c.refuse("a register is too narrow for " + std::string(s.name) + ", or the space cannot be written");
  Inst i = c.make(h);
  i.a = at.a, i.imm = at.imm, i.d = rows[0].place, i.list = c.list(rows), i.count = elements;
  i.mode = (s.has("acquire") ? kAcquire : 0) | (s.has("release") ? kRelease : 0);
  // The parameters of a kernel are read as they are; whoever reads beyond them is wrong at once.
  if (a.space == Space::parameter && static_cast<uint64_t>(i.imm) + bytes * elements > c.parameter_bytes())
    c.refuse("an address beyond the parameters");
  c.push(i);
  return true;
}

}  // namespace cuda_on_cpu
