// Critical work of a wanted length: one thread that waits for `microseconds[0]` on the GPU's own clock, and says how
// long it was. Rebuild: deno run -A bench/suite/cuda/build.ts
static __device__ __forceinline__ unsigned long long now_ns() {
  unsigned long long time;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
  return time;
}

// The clock moves in steps of up to 1 us.
extern "C" __global__ void closer(const unsigned *microseconds, unsigned *elapsed_ns) {
  const unsigned long long begin_ns = now_ns(), wanted_ns = microseconds[0] * 1000ull;
  unsigned long long passed_ns = 0;
  while (passed_ns < wanted_ns) passed_ns = now_ns() - begin_ns;
  elapsed_ns[0] = static_cast<unsigned>(passed_ns);
}
