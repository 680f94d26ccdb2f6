// Do single instructions compute what PTX says?
#include <bit>
#include <cmath>

#include "rig.h"

using namespace cuda_on_cpu;

namespace {

// The lowest 32 bits that one thread stores from %r9.
uint32_t word(const std::string &body) { return static_cast<uint32_t>(outcome(body + "\n st.u32 [%rd1], %r9;")[0]); }
float real(const std::string &body) { return number(outcome(body + "\n st.f32 [%rd1], %f9;")[0]); }
uint64_t wide(const std::string &body) { return outcome(body + "\n st.u64 [%rd1], %rd9;")[0]; }

}  // namespace

TEST_CASE("sums wrap, saturate where told, and hand carries on") {
  CHECK(word("add.s32 %r9, 0x7fffffff, 1;") == 0x80000000);
  CHECK(word("add.sat.s32 %r9, 0x7fffffff, 1;") == 0x7fffffff);
  CHECK(word("sub.sat.s32 %r9, 0x80000000, 1;") == 0x80000000);
  CHECK(word("add.cc.u32 %r8, 0xffffffff, 1; addc.u32 %r9, 5, 6;") == 12);
  CHECK(word("sub.cc.u32 %r8, 0, 1; subc.u32 %r9, 5, 2;") == 2);
  CHECK(word("mad.lo.cc.u32 %r8, 0x10000, 0xffff, 0x10000; madc.hi.u32 %r9, 3, 4, 7;") == 8);
  CHECK(wide("add.cc.u64 %rd8, -1, 1; addc.u64 %rd9, 5, 6;") == 12);
  CHECK(word("mov.u16 %h1, 0xffff; add.u16 %h2, %h1, 2; cvt.u32.u16 %r9, %h2;") == 1);
  CHECK(word("add.u16x2 %r9, 0xffff0001, 0x00010002;") == 3);
}

TEST_CASE("products have their low, high and wide halves") {
  CHECK(word("mul.lo.u32 %r9, 0x10001, 0x10001;") == 0x20001);
  CHECK(word("mul.hi.u32 %r9, 0xffffffff, 0xffffffff;") == 0xfffffffe);
  CHECK(word("mul.hi.s32 %r9, -2, 3;") == 0xffffffff);
  CHECK(wide("mul.wide.s32 %rd9, -2, 3;") == static_cast<uint64_t>(-6));
  CHECK(wide("mul.wide.u32 %rd9, 0xfffffffe, 3;") == 0x2fffffffaull);
  CHECK(wide("mad.wide.s32 %rd9, -2, 3, 10;") == 4);
  CHECK(wide("mul.hi.u64 %rd9, -1, -1;") == 0xfffffffffffffffeull);
  CHECK(word("mov.u16 %h1, 0xfffe; mul.wide.s16 %r9, %h1, 3;") == static_cast<uint32_t>(-6));
  CHECK(word("mul24.lo.s32 %r9, 0x00ffffff, 2;") == static_cast<uint32_t>(-2));
  CHECK(word("div.s32 %r9, -7, 2;") == static_cast<uint32_t>(-3));
  CHECK(word("rem.s32 %r9, -7, 2;") == static_cast<uint32_t>(-1));
  CHECK(word("dp4a.u32.u32 %r9, 0x01020304, 0x01010101, 5;") == 15);
  CHECK(word("dp4a.s32.s32 %r9, 0xff, 0x02, 5;") == 3);
  CHECK(word("vabsdiff4.u32.u32.u32.add %r9, 0x01020304, 0x04030201, 1;") == 9);
}

TEST_CASE("bits are shifted, cut out, put in and permuted") {
  CHECK(word("shl.b32 %r9, 1, 32;") == 0);
  CHECK(word("shr.u32 %r9, 0x80000000, 40;") == 0);
  CHECK(word("shr.s32 %r9, 0x80000000, 40;") == 0xffffffff);
  CHECK(wide("shr.s64 %rd9, -256, 4;") == static_cast<uint64_t>(-16));
  CHECK(word("bfe.u32 %r9, 0x12345678, 8, 8;") == 0x56);
  CHECK(word("bfe.s32 %r9, 0x0000f000, 12, 4;") == 0xffffffff);
  CHECK(word("bfe.s32 %r9, 0x80000000, 28, 8;") == 0xfffffff8);
  CHECK(word("bfe.u32 %r9, 0x80000000, 40, 8;") == 0);
  CHECK(word("bfi.b32 %r9, 0xab, 0x11111111, 8, 8;") == 0x1111ab11);
  CHECK(word("prmt.b32 %r9, 0x33221100, 0x77665544, 0x7410;") == 0x77441100);
  CHECK(word("prmt.b32 %r9, 0x00008000, 0, 0x9999;") == 0xffffffff);
  CHECK(word("shf.l.wrap.b32 %r9, 0x80000001, 0x40000000, 33;") == 0x80000001);
  CHECK(word("shf.r.clamp.b32 %r9, 0x80000001, 0x40000000, 40;") == 0x40000000);
  CHECK(word("lop3.b32 %r9, 0xf0f0f0f0, 0xcccccccc, 0xaaaaaaaa, 0xe8;") == 0xe8e8e8e8);
  CHECK(word("brev.b32 %r9, 1;") == 0x80000000);
  CHECK(word("clz.b32 %r9, 0x00010000;") == 15);
  CHECK(word("popc.b32 %r9, 0xf0f0;") == 8);
  CHECK(word("bfind.s32 %r9, -1;") == 0xffffffff);
  CHECK(word("bfind.u32 %r9, 0x00010000;") == 16);
}

TEST_CASE("floats round as they are told") {
  // 1 + 2^-24 lies between two floats.
  CHECK(bits(real("mov.f32 %f1, 0f33800000; add.rn.f32 %f9, 0f3f800000, %f1;")) == 0x3f800000);
  CHECK(bits(real("mov.f32 %f1, 0f33800000; add.rp.f32 %f9, 0f3f800000, %f1;")) == 0x3f800001);
  CHECK(bits(real("mov.f32 %f1, 0f33800000; add.rz.f32 %f9, 0fbf800000, %f1;")) == 0xbf7fffff);
  CHECK(bits(real("mov.f32 %f1, 0f33800000; sub.rm.f32 %f9, 0f3f800000, %f1;")) == 0x3f7fffff);
  // (1 + 2^-12)^2 - 1: fma keeps what a product would lose.
  CHECK(bits(real("mov.f32 %f1, 0f3f800800; fma.rn.f32 %f9, %f1, %f1, 0fbf800000;")) ==
        bits(std::fma(1 + 0x1p-12f, 1 + 0x1p-12f, -1.0f)));
  CHECK(bits(real("fma.rz.f32 %f9, 0f3f800001, 0f3f800001, 0f33000000;")) == 0x3f800002);
  CHECK(bits(real("div.rn.f32 %f9, 0f3f800000, 0f40400000;")) == bits(1.0f / 3));
  CHECK(bits(real("sqrt.rn.f32 %f9, 0f40000000;")) == bits(std::sqrt(2.0f)));
  CHECK(bits(real("mul.ftz.f32 %f9, 0f00800000, 0f3f000000;")) == 0);
  CHECK(bits(real("mul.f32 %f9, 0f00800000, 0f3f000000;")) == 0x00400000);
  CHECK(bits(real("add.ftz.f32 %f9, 0f80000001, 0f80000001;")) == 0x80000000);
  CHECK(real("add.sat.f32 %f9, 0f3f800000, 0f3f800000;") == 1);
  CHECK(real("fma.rn.sat.f32 %f9, 0f3f800000, 0f3f800000, 0fc0000000;") == 0);
}

TEST_CASE("a NaN loses against a number, and minus zero is the lesser zero") {
  CHECK(real("min.f32 %f9, 0f7fc00000, 0f40000000;") == 2);
  CHECK(real("max.f32 %f9, 0f40000000, 0f7fc00000;") == 2);
  CHECK(bits(real("max.NaN.f32 %f9, 0f40000000, 0f7fc00000;")) == 0x7fffffff);
  CHECK(bits(real("min.f32 %f9, 0f00000000, 0f80000000;")) == 0x80000000);
  CHECK(bits(real("max.f32 %f9, 0f80000000, 0f00000000;")) == 0);
  CHECK(word("setp.lt.f32 %p1, 0f7fc00000, 0f40000000; selp.u32 %r9, 1, 0, %p1;") == 0);
  CHECK(word("setp.ltu.f32 %p1, 0f7fc00000, 0f40000000; selp.u32 %r9, 1, 0, %p1;") == 1);
  CHECK(word("setp.ne.f32 %p1, 0f7fc00000, 0f40000000; selp.u32 %r9, 1, 0, %p1;") == 0);
  CHECK(word("setp.nan.f32 %p1, 0f7fc00000, 0f40000000; selp.u32 %r9, 1, 0, %p1;") == 1);
}

TEST_CASE("conversions round, saturate and extend") {
  CHECK(word("cvt.rni.s32.f32 %r9, 0f40200000;") == 2);                          // 2.5
  CHECK(word("cvt.rzi.s32.f32 %r9, 0fc0300000;") == static_cast<uint32_t>(-2));  // -2.75
  CHECK(word("cvt.rmi.s32.f32 %r9, 0fc0300000;") == static_cast<uint32_t>(-3));
  CHECK(word("cvt.rpi.s32.f32 %r9, 0f40100000;") == 3);
  CHECK(word("cvt.rzi.s32.f32 %r9, 0f4f800000;") == 0x7fffffff);
  CHECK(word("cvt.rzi.u32.f32 %r9, 0fc0000000;") == 0);
  CHECK(word("cvt.rzi.u32.f32 %r9, 0f7fc00000;") == 0);
  CHECK(word("cvt.sat.u8.s32 %r9, 300;") == 255);
  CHECK(word("cvt.sat.s8.s32 %r9, -300;") == static_cast<uint32_t>(-128));
  CHECK(word("cvt.s8.s32 %r9, 0x80;") == 0xffffff80);
  CHECK(word("cvt.u8.u32 %r9, 0x180;") == 0x80);
  CHECK(wide("mov.u32 %r8, -5; cvt.s64.s32 %rd9, %r8;") == static_cast<uint64_t>(-5));
  CHECK(wide("mov.u32 %r8, -5; cvt.u64.u32 %rd9, %r8;") == 0xfffffffbull);
  CHECK(bits(real("mov.u32 %r8, 0x1000001; cvt.rn.f32.u32 %f9, %r8;")) == 0x4b800000);
  CHECK(bits(real("mov.u32 %r8, 0x1000001; cvt.rp.f32.u32 %f9, %r8;")) == 0x4b800001);
  CHECK(bits(real("mov.f64 %d1, 0d3ff0000010000000; cvt.rn.f32.f64 %f9, %d1;")) == 0x3f800000);
  CHECK(bits(real("mov.f64 %d1, 0d3ff0000010000000; cvt.rp.f32.f64 %f9, %d1;")) == 0x3f800001);
  CHECK(real("cvt.rmi.f32.f32 %f9, 0fbf000000;") == -1);
  CHECK(real("cvt.sat.f32.f32 %f9, 0f7fc00000;") == 0);
  CHECK(word("cvt.rn.f16x2.f32 %r9, 0f3f800000, 0fc0000000;") == 0x3c00c000);
  CHECK(word("cvt.rn.f16.f32 %h1, 0f477fefff; cvt.u32.u16 %r9, %h1;") == 0x7bff);  // just below 65520
  CHECK(word("cvt.rn.f16.f32 %h1, 0f477ff000; cvt.u32.u16 %r9, %h1;") == 0x7c00);
  CHECK(word("cvt.rn.f16.f32 %h1, 0f33000000; cvt.u32.u16 %r9, %h1;") == 0);  // half of the least: to even
  CHECK(word("cvt.rn.f16.f32 %h1, 0f33000001; cvt.u32.u16 %r9, %h1;") == 1);
  CHECK(word("cvt.rn.bf16.f32 %h1, 0f3f808000; cvt.u32.u16 %r9, %h1;") == 0x3f80);
  CHECK(real("mov.b16 %h1, 0x3555; cvt.f32.f16 %f9, %h1;") == 0.333251953125f);
  CHECK(word("cvt.rna.tf32.f32 %r9, 0f3f801000;") == 0x3f802000);
  CHECK(real("mov.b16 %h1, 0x3c00; mov.b16 %h2, 0x1000; fma.rn.f16 %h3, %h1, %h1, %h2; cvt.f32.f16 %f9, %h3;") == 1);
}

TEST_CASE("doubles are doubles") {
  CHECK(std::bit_cast<double>(wide("fma.rn.f64 %d1, 0d3FF8000000000000, 2.0, -1.0; mov.b64 %rd9, %d1;")) == 2);
  CHECK(std::bit_cast<double>(wide("div.rn.f64 %d1, 1.0, 3.0; mov.b64 %rd9, %d1;")) == 1.0 / 3);
}

TEST_CASE("values are packed into wider registers and taken apart") {
  CHECK(wide("mov.u32 %r8, 1; mov.u32 %r7, 2; mov.b64 %rd9, {%r8, %r7};") == 0x200000001ull);
  CHECK(word("mov.u64 %rd8, 0x500000004; mov.b64 {%r8, %r7}, %rd8; sub.u32 %r9, %r7, %r8;") == 1);
  CHECK(word("mov.u32 %r8, 0x00050003; mov.b32 {%h1, _}, %r8; cvt.u32.u16 %r9, %h1;") == 3);
  CHECK(word("slct.u32.s32 %r9, 1, 2, -1;") == 2);
  CHECK(word("set.lt.u32.s32 %r9, -1, 1;") == 0xffffffff);
  CHECK(word("setp.lt.s32 %p1, 1, 2; setp.lt.and.s32 %p2|%p3, 3, 4, !%p1; selp.u32 %r8, 2, 0, %p2; selp.u32 %r7, 1, 0, "
             "%p3; or.b32 %r9, %r8, %r7;") == 0);
}
