"""Triton kernels over rows and elements. bench/suite/triton/build.py compiles them."""
import triton
import triton.language as tl


@triton.jit
def softmax(x, y, n, BN: tl.constexpr):
    i = tl.arange(0, BN)
    at = tl.program_id(0) * n + i
    v = tl.load(x + at, mask=i < n, other=-float("inf"))
    v = tl.exp(v - tl.max(v, 0))
    tl.store(y + at, v / tl.sum(v, 0), mask=i < n)


@triton.jit
def gelu(x, y, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    v = tl.load(x + i, mask=i < n)
    tl.store(y + i, 0.5 * v * (1.0 + tl.erf(v * 0.7071067811865476)), mask=i < n)


@triton.jit
def layer_norm(x, scale, shift, y, n, epsilon, BN: tl.constexpr):
    """A row in pieces of BN: the mean, the variance, then the values."""
    row = tl.program_id(0) * n
    i = tl.arange(0, BN)
    total = tl.zeros((BN,), dtype=tl.float32)
    for k in range(0, n, BN):
        total += tl.load(x + row + k + i, mask=k + i < n, other=0.0)
    mean = tl.sum(total, 0) / n
    total = tl.zeros((BN,), dtype=tl.float32)
    for k in range(0, n, BN):
        v = tl.where(k + i < n, tl.load(x + row + k + i, mask=k + i < n, other=0.0) - mean, 0.0)
        total += v * v
    factor = tl.rsqrt(tl.sum(total, 0) / n + epsilon)
    for k in range(0, n, BN):
        inside = k + i < n
        v = (tl.load(x + row + k + i, mask=inside, other=0.0) - mean) * factor
        v = v * tl.load(scale + k + i, mask=inside, other=0.0) + tl.load(shift + k + i, mask=inside, other=0.0)
        tl.store(y + row + k + i, v, mask=inside)


@triton.jit
def sum_atomic(x, sums, n, B: tl.constexpr, BINS: tl.constexpr):
    """Sums of floats, whose order shows."""
    i = tl.program_id(0) * B + tl.arange(0, B)
    v = tl.load(x + i, mask=i < n, other=0.0)
    tl.atomic_add(sums + tl.program_id(0) % BINS, tl.sum(v, 0))


@triton.jit
def max_atomic(x, most, n, B: tl.constexpr, BINS: tl.constexpr):
    """The largest integer of each bin, whose order does not show."""
    i = tl.program_id(0) * B + tl.arange(0, B)
    v = tl.load(x + i, mask=i < n, other=0)
    tl.atomic_max(most + tl.program_id(0) % BINS, tl.max((v ^ (v >> 7)) & 0x7fffffff, 0))


@triton.jit
def cumsum(x, y, n, BN: tl.constexpr):
    """Prefix sums of a row of integers, in pieces of BN."""
    row = tl.program_id(0) * n
    i = tl.arange(0, BN)
    before = tl.zeros((), dtype=tl.int32)
    for k in range(0, n, BN):
        v = tl.load(x + row + k + i)
        tl.store(y + row + k + i, tl.cumsum(v, 0) + before)
        before += tl.sum(v, 0)


@triton.jit
def histogram(x, bins, per_program, B: tl.constexpr, BINS: tl.constexpr):
    begin = tl.program_id(0) * per_program
    counts = tl.zeros((BINS,), dtype=tl.int32)
    for k in range(0, per_program, B):
        counts += tl.histogram(tl.load(x + begin + k + tl.arange(0, B)) & (BINS - 1), BINS)
    tl.atomic_add(bins + tl.arange(0, BINS), counts)


@triton.jit
def transpose(x, y, M, N, BM: tl.constexpr, BN: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    tile = tl.load(x + rows[:, None] * N + columns[None, :])
    tl.store(y + columns[:, None] * M + rows[None, :], tl.trans(tile))


@triton.jit
def dropout(x, y, n, p, seed, B: tl.constexpr):
    """Philox, whose counters are the indices of the elements."""
    i = tl.program_id(0) * B + tl.arange(0, B)
    v = tl.load(x + i, mask=i < n)
    tl.store(y + i, tl.where(tl.rand(seed, i) > p, v / (1.0 - p), 0.0), mask=i < n)


@triton.jit
def argmax(x, y, n, BN: tl.constexpr):
    i = tl.arange(0, BN)
    v = tl.load(x + tl.program_id(0) * n + i, mask=i < n, other=-float("inf"))
    tl.store(y + tl.program_id(0), tl.argmax(v, 0))


@triton.jit
def update(x, n, rounds, B: tl.constexpr):
    """In place."""
    i = tl.program_id(0) * B + tl.arange(0, B)
    v = tl.load(x + i, mask=i < n, other=0)
    for _ in range(0, rounds):
        v = v * 1664525 + 1013904223
        v = v ^ (v >> 15)
    tl.store(x + i, v, mask=i < n)
