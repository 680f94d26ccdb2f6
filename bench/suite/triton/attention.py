"""Flash attention, forward. bench/suite/triton/build.py compiles it."""
import triton
import triton.language as tl


@triton.jit
def attention(q, k, v, o, length, scale, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr):
    """One head for each `program_id(1)`: BM queries against all keys, BN at a time. `scale` is for exponents of 2."""
    head = tl.program_id(1) * length * D
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    depth = tl.arange(0, D)
    keys = tl.arange(0, BN)
    queries = tl.load(q + head + rows[:, None] * D + depth[None, :])
    most = tl.zeros((BM,), dtype=tl.float32) - float("inf")
    total = tl.zeros((BM,), dtype=tl.float32)
    acc = tl.zeros((BM, D), dtype=tl.float32)
    for begin in range(0, length, BN):
        key = tl.load(k + head + (begin + keys)[None, :] * D + depth[:, None])
        scores = tl.dot(queries, key) * scale
        larger = tl.maximum(most, tl.max(scores, 1))
        weights = tl.exp2(scores - larger[:, None])
        shrink = tl.exp2(most - larger)
        total = total * shrink + tl.sum(weights, 1)
        value = tl.load(v + head + (begin + keys)[:, None] * D + depth[None, :])
        acc = tl.dot(weights.to(tl.float16), value, acc * shrink[:, None])
        most = larger
    tl.store(o + head + rows[:, None] * D + depth[None, :], (acc / total[:, None]).to(tl.float16))
