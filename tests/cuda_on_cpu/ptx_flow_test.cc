// Do threads of a kernel get on together? Branches, barriers, shuffles, atomics, memory windows, polling, ends that are
// not good ones.
#include <atomic>
#include <set>

#include "rig.h"

using namespace cuda_on_cpu;

TEST_CASE("lanes part at a branch and come together behind it") {
  auto out = outcome(R"(
  and.b32 %r4, %r3, 3;
  mov.u32 %r9, 0;
  setp.eq.u32 %p1, %r4, 0;
  @%p1 bra ZERO;
  setp.eq.u32 %p2, %r4, 1;
  @!%p2 bra MORE;
  mov.u32 %r9, 100;
  bra END;
MORE:
  add.u32 %r9, %r9, %r4;
  sub.u32 %r4, %r4, 1;
  setp.ne.u32 %p3, %r4, 0;
  @%p3 bra MORE;
  bra END;
ZERO:
  mov.u32 %r9, 7;
END:
  activemask.b32 %r10;
  mov.b64 %rd9, {%r9, %r10};
  st.u64 [%rd1], %rd9;)",
                     40);
  const uint32_t expected[4] = {7, 100, 3, 6};
  for (uint32_t t = 0; t < 40; t++) {
    CHECK(static_cast<uint32_t>(out[t]) == expected[t % 4]);
    CHECK((out[t] >> 32) == (t < 32 ? 0xffffffff : 0xff));
  }
}

TEST_CASE("a branch through a table goes where each lane says") {
  auto out = outcome(R"(
  and.b32 %r4, %r3, 1;
TABLE: .branchtargets EVEN, ODD;
  brx.idx %r4, TABLE;
EVEN:
  st.u64 [%rd1], 10;
  ret;
ODD:
  st.u64 [%rd1], 11;)",
                     8);
  for (uint32_t t = 0; t < 8; t++) CHECK(out[t] == 10 + t % 2);
}

TEST_CASE("a barrier makes what other threads of the block have stored visible") {
  auto out = outcome(R"(
  mov.u32 %r4, tile;
  shl.b32 %r5, %r3, 2;
  add.u32 %r6, %r4, %r5;
  st.shared.u32 [%r6], %r3;
  bar.sync 0;
  sub.u32 %r7, 199, %r3;
  shl.b32 %r7, %r7, 2;
  add.u32 %r7, %r7, %r4;
  ld.shared.u32 %r9, [%r7];
  st.u64 [%rd1], 0;
  st.u32 [%rd1], %r9;)",
                     200);
  for (uint32_t t = 0; t < 200; t++) CHECK(out[t] == 199 - t);
}

TEST_CASE("a barrier that votes tells every thread what all said, and threads that have exited do not count") {
  auto out = outcome(R"(
  setp.ge.u32 %p4, %r3, 70;
  @%p4 exit;
  setp.lt.u32 %p1, %r3, 69;
  barrier.red.and.pred %p2, 0, %p1;
  barrier.red.popc.u32 %r9, 1, %p1;
  selp.u32 %r8, 1000, 0, %p2;
  add.u32 %r9, %r9, %r8;
  st.u32 [%rd1], %r9;)",
                     96);
  for (uint32_t t = 0; t < 96; t++) CHECK(out[t] == (t < 70 ? 69 : 0));
}

TEST_CASE("named barriers hold only those that wait for them") {
  // Warp 0 waits for warp 1, which only arrives.
  auto out = outcome(R"(
  setp.lt.u32 %p1, %r3, 32;
  @%p1 bra FIRST;
  st.shared.u32 [tile], 42;
  bar.arrive 1, 64;
  bra END;
FIRST:
  bar.sync 1, 64;
  ld.shared.u32 %r9, [tile];
  st.u32 [%rd1], %r9;
END:)",
                     64);
  for (uint32_t t = 0; t < 32; t++) CHECK(out[t] == 42);
}

TEST_CASE("shuffles, votes and sums across a warp") {
  auto out = outcome(R"(
  shfl.sync.down.b32 %r4|%p1, %r3, 4, 31, -1;
  shfl.sync.bfly.b32 %r5, %r3, 1, 31, -1;
  shfl.sync.up.b32 %r6|%p2, %r3, 1, 0, -1;
  shfl.sync.idx.b32 %r7, %r3, 3, 0x181f, -1;
  redux.sync.add.s32 %r8, %r3, -1;
  setp.lt.u32 %p3, %r3, 5;
  vote.sync.ballot.b32 %r10, %p3, -1;
  mad.lo.u32 %r9, %r5, 1000, %r4;
  mad.lo.u32 %r9, %r6, 1000000, %r9;
  st.u32 [%rd1], %r9;
  add.u32 %r11, %r8, %r10;
  selp.u32 %r12, 10000, 0, %p1;
  add.u32 %r11, %r11, %r12;
  shl.b32 %r7, %r7, 20;
  add.u32 %r11, %r11, %r7;
  st.u32 [%rd1+4], %r11;)",
                     32);
  for (uint32_t t = 0; t < 32; t++) {
    CHECK(static_cast<uint32_t>(out[t]) == (t == 0 ? 0 : t - 1) * 1000000 + (t ^ 1) * 1000 + (t + 4 < 32 ? t + 4 : t));
    CHECK((out[t] >> 32) == 496 + 31 + (t + 4 < 32 ? 10000 : 0) + ((t / 8 * 8 + 3) << 20));
  }
}

TEST_CASE("lanes that have parted wait for each other at a shuffle") {
  auto out = outcome(R"(
  setp.lt.u32 %p1, %r3, 16;
  mov.u32 %r4, 1;
  @%p1 bra JOIN;
  mov.u32 %r4, 0;
LOOP:
  add.u32 %r4, %r4, 1;
  setp.lt.u32 %p2, %r4, %r3;
  @%p2 bra LOOP;
JOIN:
  redux.sync.add.s32 %r9, %r4, -1;
  st.u32 [%rd1], %r9;)",
                     32);
  uint32_t sum = 16;
  for (uint32_t t = 16; t < 32; t++) sum += t;
  for (uint64_t o : out) CHECK(o == sum);
}

TEST_CASE("atomics of all threads add up, in global and in shared memory") {
  Rig rig(kernel_text(R"(
  st.shared.u32 [tile], 0;
  bar.sync 0;
  atom.shared.add.u32 %r4, [tile], 1;
  red.global.add.u32 [%rd2], 1;
  atom.global.max.s32 %r5, [%rd2+4], %r1;
  atom.global.add.f32 %f1, [%rd2+8], 0f3f800000;
  atom.global.inc.u32 %r6, [%rd2+12], 4;
  bar.sync 0;
  ld.shared.u32 %r9, [tile];
  st.u32 [%rd1], %r4;
  st.u32 [%rd1+4], %r9;)"));
  std::vector<uint64_t> out(4 * 96);
  uint32_t in[4] = {0, static_cast<uint32_t>(-5), 0, 0};
  CHECK(rig.run("k", {4, 1, 1}, {96, 1, 1}, out.data(), in) == Ended::done);
  CHECK(in[0] == 384);
  CHECK(in[1] == 383);
  CHECK(number(in[2]) == 384);
  CHECK(in[3] == 384 % 5);
  std::set<uint32_t> seen;
  for (uint32_t t = 0; t < 96; t++) seen.insert(static_cast<uint32_t>(out[t]));
  CHECK(seen.size() == 96);
  CHECK((out[0] >> 32) == 96);
}

TEST_CASE("generic addresses reach shared, local, parameter and global memory") {
  auto out = outcome(R"(
  .local .align 8 .b8 stack[16];
  .reg .b64 %SP;
  mov.u64 %SP, stack;
  cvta.local.u64 %rd3, %SP;
  st.u32 [%rd3+4], %r3;
  ld.local.u32 %r4, [%SP+4];
  mov.u32 %r5, tile;
  cvt.u64.u32 %rd4, %r5;
  cvta.shared.u64 %rd5, %rd4;
  shl.b32 %r6, %r3, 2;
  cvt.u64.u32 %rd6, %r6;
  add.u64 %rd5, %rd5, %rd6;
  st.u32 [%rd5], %r4;
  add.u32 %r7, %r5, %r6;
  ld.shared.u32 %r8, [%r7];
  isspacep.shared %p1, %rd5;
  isspacep.local %p2, %rd3;
  isspacep.global %p3, %rd1;
  and.pred %p1, %p1, %p2;
  and.pred %p1, %p1, %p3;
  selp.u32 %r9, 1000, 0, %p1;
  add.u32 %r9, %r9, %r8;
  ld.const.u32 %r10, [table+4];
  add.u32 %r9, %r9, %r10;
  ld.global.u64 %rd7, [where];
  ld.u32 %r11, [%rd7];
  add.u32 %r9, %r9, %r11;
  st.u32 [%rd1], %r9;)",
                     33, {}, ".const .u32 table[2] = {1, 5000};\n.global .u64 where = generic(table);\n");
  for (uint32_t t = 0; t < 33; t++) CHECK(out[t] == 6001 + t);
}

TEST_CASE("functions are called with their own registers and arguments") {
  auto out = outcome(R"(
  { .param .b32 a; .param .b32 r;
    st.param.b32 [a], %r3;
    call.uni (r), twice, (a);
    ld.param.b32 %r9, [r]; }
  { .param .b32 a; .param .b32 r;
    st.param.b32 [a], %r9;
    call.uni (r), twice, (a);
    ld.param.b32 %r9, [r]; }
  st.u32 [%rd1], %r9;)",
                     40, {}, R"(
.func (.param .b32 r) twice (.param .b32 a) {
  .reg .b32 %r<4>; .reg .pred %p1;
  ld.param.b32 %r1, [a];
  setp.gt.u32 %p1, %r1, 100;
  st.param.b32 [r], 1;
  @%p1 ret;
  shl.b32 %r3, %r1, 1;
  st.param.b32 [r], %r3;
  ret;
})");
  for (uint32_t t = 0; t < 40; t++) CHECK(out[t] == 4 * t);
}

TEST_CASE("lanes of a warp that take a lock in turns all get it") {
  Rig rig(file_text("tests/fixtures/ptx/atomics.ptx"));
  uint32_t lock = 0, sum = 0;
  CHECK(rig.run("locked", {3, 1, 1}, {64, 1, 1}, &lock, &sum) == Ended::done);
  CHECK(lock == 0);
  CHECK(sum == 3 * 63 * 64 / 2);
}

TEST_CASE("blocks that wait for other resident blocks get on") {
  Rig rig(file_text("tests/fixtures/ptx/atomics.ptx"));
  uint32_t turn = 0;
  std::vector<uint32_t> out(16);
  CHECK(rig.run("in_turn", {16, 1, 1}, {32, 1, 1}, &turn, out.data()) == Ended::done);
  CHECK(turn == 16);
  CHECK(out[15] == 15);
}

TEST_CASE("a kernel that polls is released by another launch") {
  Rig waiting(kernel_text(R"(
WAIT:
  ld.acquire.sys.global.u32 %r4, [%rd2];
  setp.eq.u32 %p1, %r4, 0;
  @%p1 bra WAIT;
  st.u32 [%rd1], %r4;)"));
  Rig releasing(kernel_text("st.release.sys.global.u32 [%rd2], 77;"));
  std::vector<uint64_t> out(64), other(1);
  uint32_t word = 0;
  Ended ended = Ended::trap;
  std::thread thread([&] { ended = waiting.run("k", {2, 1, 1}, {32, 1, 1}, out.data(), &word); });
  CHECK(releasing.run("k", {1, 1, 1}, {1, 1, 1}, other.data(), &word) == Ended::done);
  thread.join();
  CHECK(ended == Ended::done);
  for (uint64_t o : out) CHECK(o == 77);
}

TEST_CASE("a launch ends when it is told to stop, whatever it waits for") {
  for (const char *body : {"WAIT: ld.volatile.global.u32 %r4, [%rd2]; setp.eq.u32 %p1, %r4, 0; @%p1 bra WAIT;",
                           "FOREVER: add.u32 %r4, %r4, 1; bra FOREVER;",
                           "setp.eq.u32 %p1, %r3, 0; @%p1 bar.sync 1, 64;", "AGAIN: nanosleep.u32 1000; bra AGAIN;"}) {
    Rig rig(kernel_text(body));
    std::atomic<bool> stop{false};
    rig.machine.stop = &stop;
    std::vector<uint64_t> out(32);
    uint32_t word = 0;
    Ended ended = Ended::done;
    std::thread thread([&] { ended = rig.run("k", {1, 1, 1}, {32, 1, 1}, out.data(), &word); });
    stop = true;
    thread.join();
    CHECK(ended == Ended::stopped);
  }
}

TEST_CASE("an address that the kernel may not touch ends the launch, and says where") {
  Rig rig(kernel_text("ld.global.u32 %r4, [%rd2+64];\n st.u32 [%rd1], %r4;"));
  std::vector<uint64_t> out(1), in(8, 1);
  struct Range {
    uint64_t begin, end;
  } ranges[2] = {{reinterpret_cast<uint64_t>(out.data()), reinterpret_cast<uint64_t>(out.data() + 1)},
                 {reinterpret_cast<uint64_t>(in.data()), reinterpret_cast<uint64_t>(in.data() + 8)}};
  rig.machine.context = ranges;
  rig.machine.may_touch = [](uint64_t address, uint32_t bytes, void *context) {
    auto *r = static_cast<Range *>(context);
    return (address >= r[0].begin && address + bytes <= r[0].end) ||
           (address >= r[1].begin && address + bytes <= r[1].end);
  };
  CHECK(rig.run("k", {1, 1, 1}, {1, 1, 1}, out.data(), in.data()) == Ended::illegal_address);
  CHECK(rig.why.find("line 21") != std::string::npos);
  CHECK(rig.run("k", {1, 1, 1}, {1, 1, 1}, out.data(), in.data() - 7) == Ended::done);
  CHECK(out[0] == 1);
  CHECK(rig.run("k", {1, 1, 1}, {1, 1, 1}, out.data(), reinterpret_cast<uint8_t *>(in.data()) - 62) ==
        Ended::illegal_address);
  CHECK(rig.why.find("misaligned") != std::string::npos);
}

TEST_CASE("bad shared addresses, traps and blocks that are too large end the launch") {
  std::vector<uint64_t> out(2048);
  Rig shared(kernel_text("st.shared.u32 [tile+4096], 1;"));
  CHECK(shared.run("k", {1, 1, 1}, {1, 1, 1}, out.data(), out.data()) == Ended::illegal_address);
  Rig trap(kernel_text("setp.eq.u32 %p1, %r1, 40; @%p1 trap;"));
  CHECK(trap.run("k", {1, 1, 1}, {32, 1, 1}, out.data(), out.data()) == Ended::done);
  CHECK(trap.run("k", {2, 1, 1}, {32, 1, 1}, out.data(), out.data()) == Ended::trap);
  Rig large(kernel_text("", "", ".maxntid 64, 1, 1\n"));
  CHECK(large.module().kernel("k")->max_threads == 64);
  CHECK(large.run("k", {1, 1, 1}, {65, 1, 1}, out.data(), out.data()) == Ended::launch_out_of_resources);
}

TEST_CASE("blocks of a cluster see each other's shared memory and wait for each other") {
  Rig rig(kernel_text(R"(
  mov.u32 %r4, %cluster_ctarank;
  add.u32 %r5, %r4, 100;
  st.shared.u32 [tile], %r5;
  barrier.cluster.arrive.aligned;
  barrier.cluster.wait.aligned;
  xor.b32 %r6, %r4, 1;
  mov.u32 %r7, tile;
  mapa.shared::cluster.u32 %r8, %r7, %r6;
  ld.shared::cluster.u32 %r9, [%r8];
  barrier.cluster.arrive.aligned;
  barrier.cluster.wait.aligned;
  st.u32 [%rd1], %r9;)",
                      "", ".reqnctapercluster 2, 1, 1\n"));
  std::vector<uint64_t> out(8 * 40);
  CHECK(rig.run("k", {8, 1, 1}, {40, 1, 1}, out.data(), out.data()) == Ended::done);
  for (uint32_t t = 0; t < out.size(); t++) CHECK(out[t] == 100 + (t / 40 % 2 == 0 ? 1 : 0));
}

TEST_CASE("what is not PTX is refused with its line") {
  auto error_of = [](const std::string &text) {
    std::string error;
    CHECK_FALSE(Module::parse(text, 85, &error));
    return error;
  };
  CHECK(error_of("hello").find("line 1") != std::string::npos);
  CHECK(error_of(".version 9.0\n").find("newer than 8.5") != std::string::npos);
  CHECK(error_of(kernel_text("frobnicate.u32 %r1;")).find("line 21: the instruction frobnicate.u32 is not supported") !=
        std::string::npos);
  CHECK(error_of(kernel_text("bra NOWHERE;")).find("'NOWHERE' is not a label") != std::string::npos);
  CHECK(error_of(kernel_text("add.u32 %r1, %rd1, 1;")).find("line 21") != std::string::npos);
  CHECK(error_of(kernel_text("mov.u32 %r1, %unknown;")).find("'%unknown' is not declared") != std::string::npos);
  CHECK(error_of(kernel_text("tex.2d.v4.f32.s32 {%f1,%f2,%f3,%f4}, [%rd1, {%r1,%r2}];")).find("line 21") !=
        std::string::npos);
}
