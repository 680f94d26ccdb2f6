// The driver's own kernels: the device's time, and what of a process was at work when.

__device__ inline unsigned long long device_now_ns() {
  unsigned long long ns;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(ns));
  return ns;
}

// Appends the time to a log; whatever does not fit is counted, not kept.
extern "C" __global__ void stamp(unsigned long long *log, unsigned *count, unsigned capacity) {
  const unsigned place = atomicAdd(count, 1u);
  if (place < capacity) log[place] = device_now_ns();
}

// One thread per block is at work until `end_ns` and notes, as pairs of begin and end, when it was: a new pair begins
// where it saw nothing for longer than `gap_ns`, as when another context had the GPU. Block b has `pairs` pairs from b
// * pairs on. `where`: the SM of each block.
extern "C" __global__ void probe(unsigned long long *spans, unsigned *counts, unsigned *where, unsigned pairs,
                                 unsigned long long end_ns, unsigned long long gap_ns) {
  unsigned sm;
  asm volatile("mov.u32 %0, %%smid;" : "=r"(sm));
  where[blockIdx.x] = sm;
  unsigned long long *mine = spans + 2ull * pairs * blockIdx.x;
  unsigned count = 0;
  unsigned long long begin = device_now_ns(), last = begin;
  for (;;) {
    const unsigned long long now = device_now_ns();
    if (now - last > gap_ns && count < pairs) {
      mine[2 * count] = begin;
      mine[2 * count + 1] = last;
      ++count;
      begin = now;
    }
    last = now;
    if (now >= end_ns) break;
  }
  if (count < pairs) {
    mine[2 * count] = begin;
    mine[2 * count + 1] = last;
    ++count;
  }
  counts[blockIdx.x] = count;
}
