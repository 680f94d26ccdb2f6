// How is an instruction of one to four rows carried out on all its lanes? The loops that the families of instructions
// share.
#pragma once

#include "ptx/coder.h"

namespace cuda_on_cpu {

// F has no state: it is default-constructed where it is called.
template <class D, class A, class F>
Flow unary(Warp &w, const Inst &i, uint32_t lanes) {
  D *d = w.row<D>(i.d);
  const A *a = w.row<A>(i.a);
  each_lane(lanes, [&](uint32_t l) { d[l] = static_cast<D>(F{}(a[l])); });
  return Flow::next;
}

template <class D, class A, class B, class F>
Flow binary(Warp &w, const Inst &i, uint32_t lanes) {
  D *d = w.row<D>(i.d);
  const A *a = w.row<A>(i.a);
  const B *b = w.row<B>(i.b);
  each_lane(lanes, [&](uint32_t l) { d[l] = static_cast<D>(F{}(a[l], b[l])); });
  return Flow::next;
}

template <class D, class A, class B, class C, class F>
Flow ternary(Warp &w, const Inst &i, uint32_t lanes) {
  D *d = w.row<D>(i.d);
  const A *a = w.row<A>(i.a);
  const B *b = w.row<B>(i.b);
  const C *c = w.row<C>(i.c);
  each_lane(lanes, [&](uint32_t l) { d[l] = static_cast<D>(F{}(a[l], b[l], c[l])); });
  return Flow::next;
}

// Writes the bits of `value` for the lanes of `lanes` only.
inline void set_lanes(uint32_t &predicate, uint32_t value, uint32_t lanes) {
  predicate = (predicate & ~lanes) | (value & lanes);
}

// The lanes that take part have to be here before anything can be exchanged. e: the row of their mask; kNone: all that
// are alive.
inline bool all_here(const Warp &w, const Inst &i, uint32_t lanes) {
  uint32_t mask = i.e == kNone ? UINT32_MAX : w.row<uint32_t>(i.e)[std::countr_zero(lanes)];
  mask &= w.live;
  return (w.lanes & mask) == mask;
}

// Emits d = op(a), d = op(a, b), d = op(a, b, c) with operands of these widths.
inline bool emit1(Coder &c, Handler h, uint32_t d, uint32_t a) {
  c.want(2, 2);
  uint32_t pa = c.source(1, a), pd = c.dest(0, d);
  Inst i = c.make(h);
  i.d = pd, i.a = pa;
  c.push(i);
  return true;
}
inline bool emit2(Coder &c, Handler h, uint32_t d, uint32_t a, uint32_t b) {
  c.want(3, 3);
  uint32_t pa = c.source(1, a), pb = c.source(2, b), pd = c.dest(0, d);
  Inst i = c.make(h);
  i.d = pd, i.a = pa, i.b = pb;
  c.push(i);
  return true;
}
inline bool emit3(Coder &c, Handler h, uint32_t d, uint32_t a, uint32_t b, uint32_t e) {
  c.want(4, 4);
  uint32_t pa = c.source(1, a), pb = c.source(2, b), pc = c.source(3, e), pd = c.dest(0, d);
  Inst i = c.make(h);
  i.d = pd, i.a = pa, i.b = pb, i.c = pc;
  c.push(i);
  return true;
}
inline bool emit4(Coder &c, Handler h, uint32_t bytes) {
  c.want(5, 5);
  uint32_t pa = c.source(1, bytes), pb = c.source(2, bytes), pc = c.source(3, bytes), pe = c.source(4, bytes),
           pd = c.dest(0, bytes);
  Inst i = c.make(h);
  i.d = pd, i.a = pa, i.b = pb, i.c = pc, i.e = pe;
  c.push(i);
  return true;
}

}  // namespace cuda_on_cpu
