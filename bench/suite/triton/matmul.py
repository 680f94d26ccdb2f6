"""Triton kernels around the matrix product. bench/suite/triton/build.py compiles them."""
import triton
import triton.language as tl


@triton.jit
def tile_product(a, b, K, stride_ak, stride_bk, acc, BK: tl.constexpr):
    """Adds the product of a row of tiles and a column of tiles to `acc`; `a` and `b` point to the first tiles."""
    for _ in range(0, K, BK):
        acc = tl.dot(tl.load(a), tl.load(b), acc)
        a += BK * stride_ak
        b += BK * stride_bk
    return acc


@triton.jit
def matmul(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    depth = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    acc = tile_product(
        a + rows[:, None] * K + depth[None, :], b + depth[:, None] * N + columns[None, :], K, 1, N, acc, BK
    )
    tl.store(c + rows[:, None] * N + columns[None, :], acc.to(c.dtype.element_ty))


@triton.jit
def matmul_batched(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """One product for each `program_id(2)`."""
    batch = tl.program_id(2)
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    depth = tl.arange(0, BK)
    left = a + batch * M * K + rows[:, None] * K + depth[None, :]
    right = b + batch * K * N + depth[:, None] * N + columns[None, :]
    acc = tile_product(left, right, K, 1, N, tl.zeros((BM, BN), dtype=tl.float32), BK)
    tl.store(c + batch * M * N + rows[:, None] * N + columns[None, :], acc.to(tl.float16))


@triton.jit
def matmul_grouped(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr):
    """Tiles in groups of GROUP rows, which keeps them in the L2 cache; the edges are masked."""
    pid = tl.program_id(0)
    tiles_m, tiles_n = tl.cdiv(M, BM), tl.cdiv(N, BN)
    group = pid // (GROUP * tiles_n)
    size = min(tiles_m - group * GROUP, GROUP)
    tile_m = group * GROUP + pid % (GROUP * tiles_n) % size
    tile_n = pid % (GROUP * tiles_n) // size
    rows = tile_m * BM + tl.arange(0, BM)
    columns = tile_n * BN + tl.arange(0, BN)
    depth = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(0, tl.cdiv(K, BK)):
        inside = depth < K - k * BK
        left = tl.load(a + rows[:, None] * K + (k * BK + depth)[None, :],
                       mask=(rows < M)[:, None] & inside[None, :], other=0.0)
        right = tl.load(b + (k * BK + depth)[:, None] * N + columns[None, :],
                        mask=inside[:, None] & (columns < N)[None, :], other=0.0)
        acc = tl.dot(left, right, acc)
    keep = (rows < M)[:, None] & (columns < N)[None, :]
    tl.store(c + rows[:, None] * N + columns[None, :], acc.to(tl.float16), mask=keep)


@triton.jit
def matmul_persistent(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """Each program takes every `num_programs`-th tile: stores lie inside the outer loop."""
    tiles_n = N // BN
    depth = tl.arange(0, BK)
    for tile in range(tl.program_id(0), (M // BM) * tiles_n, tl.num_programs(0)):
        rows = tile // tiles_n * BM + tl.arange(0, BM)
        columns = tile % tiles_n * BN + tl.arange(0, BN)
        acc = tl.zeros((BM, BN), dtype=tl.float32)
        acc = tile_product(
            a + rows[:, None] * K + depth[None, :], b + depth[:, None] * N + columns[None, :], K, 1, N, acc, BK
        )
        tl.store(c + rows[:, None] * N + columns[None, :], acc.to(tl.float16))


@triton.jit
def matmul_split_k(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, SPLITS: tl.constexpr):
    """Each `program_id(2)` adds its part of K to `c`, atomically."""
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    part = K // SPLITS
    depth = tl.program_id(2) * part + tl.arange(0, BK)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    acc = tile_product(
        a + rows[:, None] * K + depth[None, :], b + depth[:, None] * N + columns[None, :], part, 1, N, acc, BK
    )
    tl.atomic_add(c + rows[:, None] * N + columns[None, :], acc)


@triton.jit
def convolution(x, w, y, H, W, C: tl.constexpr, F: tl.constexpr, BP: tl.constexpr, BF: tl.constexpr,
                BC: tl.constexpr):
    """3 x 3 over an H x W picture of C channels, as a product: BP pixels by BF filters; zeros around the picture."""
    pixel = tl.program_id(0) * BP + tl.arange(0, BP)
    filters = tl.program_id(1) * BF + tl.arange(0, BF)
    row, column = pixel // W, pixel % W
    channels = tl.arange(0, BC)
    acc = tl.zeros((BP, BF), dtype=tl.float32)
    for tap in range(0, 9):
        v, u = row + tap // 3 - 1, column + tap % 3 - 1
        inside = (v >= 0) & (v < H) & (u >= 0) & (u < W)
        for c in range(0, C, BC):
            left = tl.load(x + (v * W + u)[:, None] * C + (c + channels)[None, :], mask=inside[:, None], other=0.0)
            right = tl.load(w + (tap * C + c + channels)[:, None] * F + filters[None, :])
            acc = tl.dot(left, right, acc)
    tl.store(y + pixel[:, None] * F + filters[None, :], acc.to(tl.float16))
