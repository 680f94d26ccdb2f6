"""What does the compiled model launch, with which arguments, on which memory?

The run is captured into a CUDA graph, and the graph is read: whatever the model does on the GPU is a node of it, whoever
launched it. A kernel is Triton's if its function is one that Triton loaded; then its PTX is at hand. Memory is what
PyTorch's allocator says lies around an address: the graph's own pool is scratch, an input or output is where its tensor
lies, and all else is weights.
"""

import bisect
import copy
import ctypes
import gc
from dataclasses import dataclass, field

import torch

from .driver import KERNEL, MEMCPY, MEMSET, NODE_NAMES, Driver

DEVICE_MEMORY = 2


class NotExportable(Exception):
    """Something that the model does is no kernel of Triton. Each line says what, and where in the model."""


@dataclass
class Region:
    """Memory that outlives a step. `role`: input, output, weight or scratch."""

    role: str
    address: int
    size: int
    name: str = ""
    tensor: object = None


@dataclass
class Pointer:
    region: Region
    offset: int


@dataclass
class Step:
    """A launch; or a fill or copy, where `kind` says so."""

    kind: str
    kernel: object = None
    grid: tuple = ()
    threads: int = 0
    shared: int = 0
    args: list = field(default_factory=list)  # Pointer, or bytes of a scalar
    to: object = None
    source: object = None
    value: int = 0
    size: int = 0


@dataclass
class Recording:
    steps: list
    regions: list
    inputs: list
    outputs: list
    pool_bytes: int


@dataclass
class Kernel:
    """What Triton compiled, with its PTX; the configuration that was chosen; and Inductor's keeper of both."""

    binary: object
    config: object
    tuner: object

    def source(self):
        """What Triton compiles, for another chip. Inductor's workers send kernels back without it: it is loaded again."""
        if self.tuner.fn.fn is not None:
            function = self.tuner.fn
        else:
            function = self.tuner._reload_kernel().fn
        source = copy.copy(self.binary.src)
        source.fn = function
        return source


def triton_kernels():
    """By the handle of the loaded function: the compiled kernel, with its PTX and source."""
    from torch._inductor.runtime.triton_heuristics import CachingAutotuner

    found = {}
    for thing in gc.get_objects():
        # Not isinstance, which asks proxies of objects that are gone.
        if not issubclass(type(thing), CachingAutotuner):
            continue
        # Of several candidates with one name the one that was launched has the function that the graph names.
        for result in thing.compile_results:
            function = getattr(result.kernel, "function", None)
            if function:
                found[int(function) % 2**64] = Kernel(result.kernel, result.config, thing)
    return found


class Memory:
    """Which region an address lies in; regions come into being when they are first used."""

    def __init__(self, pool, inputs, outputs):
        self.regions = []
        self._known = []
        blocks = []
        for segment in torch.cuda.memory_snapshot():
            own = tuple(segment["segment_pool_id"]) == tuple(pool)
            if own:
                blocks.append((segment["address"], segment["total_size"], True))
                continue
            at = segment["address"]
            for block in segment["blocks"]:
                blocks.append((block.get("address", at), block["size"], False))
                at += block["size"]
        self._blocks = sorted(blocks)
        for role, tensors in (("input", inputs), ("output", outputs)):
            for index, tensor in enumerate(tensors):
                size = tensor.untyped_storage().nbytes()
                region = Region(role, tensor.untyped_storage().data_ptr(), size, f"{role}{index}", tensor)
                self._known.append(region)
                self.regions.append(region)

    def find(self, address, what):
        for region in self._known:
            if region.address <= address < region.address + region.size:
                return Pointer(region, address - region.address)
        at = bisect.bisect_right(self._blocks, (address, float("inf"), True)) - 1
        if at >= 0:
            begin, size, own = self._blocks[at]
            if begin <= address < begin + size:
                count = sum(region.role == ("scratch" if own else "weight") for region in self.regions)
                name = f"{'scratch' if own else 'weight'}{count}"
                region = Region("scratch" if own else "weight", begin, size, name)
                self._known.append(region)
                self.regions.append(region)
                return Pointer(region, address - begin)
        raise NotExportable(f"{what}: address {address:#x} is no memory of PyTorch's allocator")


def _scalar_or_pointer(pointer, size, memory, is_pointer, what):
    data = ctypes.string_at(pointer, size)
    if not is_pointer:
        return data
    address = int.from_bytes(data, "little")
    return data if address == 0 else memory.find(address, what)


def _keepers(tensors):
    """Memory for the outputs that is nobody else's: the graph's pool gives an output what an earlier step had used."""
    for tensor in tensors:
        if not isinstance(tensor, torch.Tensor):
            raise NotExportable(f"the model returns a {type(tensor).__name__}, which is no tensor")
    return [torch.empty_strided(t.size(), t.stride(), dtype=t.dtype, device=t.device) for t in tensors]


def _keep(tensors, keepers):
    """Copies what the model returns; as plain bytes where it is dense, so that no kernel is needed."""
    for tensor, keeper in zip(tensors, keepers):
        if tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last):
            flat = (tensor.numel(),), (1,)
            keeper.as_strided(*flat, 0).copy_(tensor.as_strided(*flat, tensor.storage_offset()))
        else:
            keeper.copy_(tensor)


def record(compiled, inputs, paths):
    """Captures one run. `paths`: module paths by node name, for messages. Raises NotExportable with every problem."""
    from .ptx import pointer_params

    driver = Driver()
    stream = torch.cuda.Stream()
    graph = torch.cuda.CUDAGraph(keep_graph=True)
    with torch.inference_mode():
        with torch.cuda.stream(stream):
            outputs = _keepers(torch.utils._pytree.tree_leaves(compiled(*inputs)))
        torch.cuda.synchronize()
        with torch.cuda.graph(graph, stream=stream):
            _keep(torch.utils._pytree.tree_leaves(compiled(*inputs)), outputs)
    kernels = triton_kernels()
    memory = Memory(graph.pool(), inputs, outputs)
    steps, problems = [], []
    for node in driver.nodes(graph.raw_cuda_graph()):
        kind = driver.node_kind(node)
        if kind == KERNEL:
            params = driver.kernel_params(node)
            function = params.func or params.kern
            found = kernels.get(int(function or 0) % 2**64)
            if found is None:
                problems.append(_foreign(driver.function_name(function), paths))
                continue
            name = found.binary.metadata.name
            pointers = pointer_params(found.binary.asm["ptx"], name)
            sizes = driver.param_sizes(function)
            args = [
                _scalar_or_pointer(params.params[i], size, memory, i < len(pointers) and pointers[i], f"{name}, argument {i}")
                for i, size in enumerate(sizes)
            ]
            threads = params.bx * params.by * params.bz
            steps.append(Step("kernel", found, (params.gx, params.gy, params.gz), threads, params.shared, args))
        elif kind == MEMSET:
            p = driver.memset_params(node)
            size = p.width * p.element
            value = p.value.to_bytes(4, "little")[: p.element]
            if p.height > 1 or len(set(value)) > 1:
                problems.append(f"a fill of {p.height} rows with {value!r}: only one byte's value, in one row, is supported")
                continue
            steps.append(Step("memset", to=memory.find(p.dst, "a fill"), value=value[0], size=size))
        elif kind == MEMCPY:
            p = driver.memcpy_params(node)
            if p.srcType != DEVICE_MEMORY or p.dstType != DEVICE_MEMORY or p.height > 1 or p.depth > 1:
                problems.append("a copy from or to the host, or of several rows: only copies on the device are supported")
                continue
            to, source = memory.find(p.dstDevice, "a copy"), memory.find(p.srcDevice, "a copy")
            steps.append(Step("copy", to=to, source=source, size=p.width))
        elif NODE_NAMES.get(kind) != "nothing":
            problems.append(f"a {NODE_NAMES.get(kind, f'node of kind {kind}')}: not supported")
    if problems:
        raise NotExportable("\n".join(sorted(set(problems))))
    pool_bytes = sum(region.size for region in memory.regions if region.role == "scratch")
    recording = Recording(steps, memory.regions, list(inputs), outputs, pool_bytes)
    recording.graph = graph  # its pool is the memory that the addresses name
    return recording


def _foreign(name, paths):
    """A kernel that Triton did not make, and the modules that it may come from."""
    words = {"conv": "convolution", "gemm": "mm", "attention": "attention", "softmax": "softmax", "sort": "sort"}
    near = [path for node, path in paths.items() if any(w in name.lower() and (w in node or v in node) for w, v in words.items())]
    where = f", probably of {', '.join(sorted(set(near))[:3])}" if near else ""
    return f"kernel {name[:90]} is not Triton's{where}: it comes from a library as machine code, and has no PTX"
