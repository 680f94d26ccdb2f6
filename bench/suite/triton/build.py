"""Compiles the Triton kernels of this folder to PTX for sm_90a, without a GPU. Needs Triton 3.6.0 and nothing else.

    python3 bench/suite/triton/build.py [NAME ...]

Run it from the root of the tree. Prints for each kernel what a launch must know: threads, bytes of dynamic shared memory,
and the parameters in order. bench/suite/triton_kernels.ts holds the same and must be kept in step.
"""
import os
import re
import sys
import types

# The debug sections of `softmax` stay in, as most people's caches have them; the others go without.
DEBUG = {"softmax"}
FOLDER = "bench/suite/triton"


def load(name):
    """A module whose functions lie, by their own account, at a path relative to the root."""
    file = f"{FOLDER}/{name}.py"
    with open(file, encoding="utf-8") as source:
        code = compile(source.read(), file, "exec")
    module = types.ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module
    exec(code, module.__dict__)
    return module


F16, F32, I32 = "*fp16", "*fp32", "*i32"


def product(BM, BN, BK, **more):
    return {"BM": BM, "BN": BN, "BK": BK, **more}


SIZES = {"M": "i32", "N": "i32", "K": "i32"}
OF_F16 = {"a": F16, "b": F16, "c": F16, **SIZES}

# Name: module, function, types of the parameters, constants, warps, stages. An i32 not in UNALIGNED is a multiple of 16.
KERNELS = {
    "matmul_128x128x64": ("matmul", "matmul", OF_F16, product(128, 128, 64), 4, 3),
    "matmul_128x256x64": ("matmul", "matmul", OF_F16, product(128, 256, 64), 8, 3),
    "matmul_64x64x32": ("matmul", "matmul", OF_F16, product(64, 64, 32), 4, 2),
    "matmul_tf32": ("matmul", "matmul", {"a": F32, "b": F32, "c": F32, **SIZES}, product(64, 128, 32), 4, 3),
    "matmul_batched": ("matmul", "matmul_batched", OF_F16, product(64, 64, 64), 4, 3),
    "matmul_grouped": ("matmul", "matmul_grouped", OF_F16, product(128, 128, 32, GROUP=8), 4, 3),
    "matmul_persistent": ("matmul", "matmul_persistent", OF_F16, product(128, 128, 64), 8, 3),
    "matmul_split_k": ("matmul", "matmul_split_k", {**OF_F16, "c": F32}, product(64, 64, 64, SPLITS=4), 4, 3),
    "convolution": ("matmul", "convolution", {"x": F16, "w": F16, "y": F16, "H": "i32", "W": "i32"},
                    {"C": 64, "F": 128, "BP": 128, "BF": 64, "BC": 32}, 4, 3),
    "attention": ("attention", "attention", {"q": F16, "k": F16, "v": F16, "o": F16, "length": "i32", "scale": "fp32"},
                  {"BM": 128, "BN": 64, "D": 64}, 4, 3),
    "softmax": ("rows", "softmax", {"x": F32, "y": F32, "n": "i32"}, {"BN": 1024}, 4, 3),
    "gelu_1024": ("rows", "gelu", {"x": F32, "y": F32, "n": "i32"}, {"B": 1024}, 4, 3),
    "gelu_4096": ("rows", "gelu", {"x": F32, "y": F32, "n": "i32"}, {"B": 4096}, 4, 3),
    "layer_norm": ("rows", "layer_norm",
                   {"x": F32, "scale": F32, "shift": F32, "y": F32, "n": "i32", "epsilon": "fp32"}, {"BN": 1024}, 4, 3),
    "sum_atomic": ("rows", "sum_atomic", {"x": F32, "sums": F32, "n": "i32"}, {"B": 4096, "BINS": 64}, 4, 3),
    "max_atomic": ("rows", "max_atomic", {"x": I32, "most": I32, "n": "i32"}, {"B": 4096, "BINS": 64}, 4, 3),
    "cumsum": ("rows", "cumsum", {"x": I32, "y": I32, "n": "i32"}, {"BN": 1024}, 4, 3),
    "histogram": ("rows", "histogram", {"x": I32, "bins": I32, "per_program": "i32"}, {"B": 1024, "BINS": 256}, 4, 3),
    "transpose": ("rows", "transpose", {"x": F32, "y": F32, "M": "i32", "N": "i32"}, {"BM": 64, "BN": 64}, 4, 3),
    "dropout": ("rows", "dropout", {"x": F32, "y": F32, "n": "i32", "p": "fp32", "seed": "i32"}, {"B": 1024}, 4, 3),
    "argmax": ("rows", "argmax", {"x": F32, "y": I32, "n": "i32"}, {"BN": 4096}, 8, 3),
    "update": ("rows", "update", {"x": I32, "n": "i32", "rounds": "i32"}, {"B": 512}, 4, 3),
}
UNALIGNED = {("softmax", "n"), ("dropout", "seed"), ("update", "rounds"), ("matmul_grouped", "M")}


def build(name):
    # Triton reads these as it compiles, or as it is imported.
    os.environ["TRITON_DISABLE_LINE_INFO"] = "0" if name in DEBUG else "1"
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    triton.knobs.compilation.disable_line_info = name not in DEBUG
    module, function, parameters, constants, warps, stages = KERNELS[name]
    kernel = getattr(sys.modules.get(module) or load(module), function)
    arguments = kernel.arg_names
    attributes = {
        (arguments.index(p),): [["tt.divisibility", 16]]
        for p, kind in parameters.items()
        if kind.startswith("*") or (kind == "i32" and (name, p) not in UNALIGNED)
    }
    signature = {p: parameters.get(p, "constexpr") for p in arguments}
    source = ASTSource(kernel, signature, constexprs=constants, attrs=attributes)
    compiled = triton.compile(
        source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps, "num_stages": stages}
    )
    # Of Triton's own sources the debug sections name the place where it is installed here.
    ptx = re.sub(r'"[^"]*/site-packages/', '"', compiled.asm["ptx"])
    if os.getcwd() in ptx:
        raise RuntimeError(f"{name}.ptx names a folder of this machine")
    with open(f"{FOLDER}/{name}.ptx", "w", encoding="utf-8") as out:
        out.write(ptx.rstrip("\0"))
    entry, text = re.search(r"\.entry (\w+)\((.*?)\)", ptx, re.S).groups()
    kinds = re.findall(r"\.param \.(\w+)", text)
    about = [w for w in ("wgmma", "mma.sync", "cp.async", "mbarrier", "bar.sync", "shfl", "atom") if w in ptx]
    print(f"{name}: entry {entry}, threads {warps * 32}, shared {compiled.metadata.shared}, "
          f"{' '.join(kinds)}; {len(ptx)} bytes; {' '.join(about)}")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or KERNELS:
        build(chosen)
