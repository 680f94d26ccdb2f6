"""What of the CUDA driver does the export need, beside PyTorch? By ctypes."""

import ctypes

KERNEL, MEMCPY, MEMSET, HOST, CHILD, EMPTY, WAIT, RECORD = range(8)
NODE_NAMES = {
    KERNEL: "kernel", MEMCPY: "copy", MEMSET: "fill", HOST: "host function", CHILD: "child graph", EMPTY: "nothing",
    WAIT: "wait for an event", RECORD: "record of an event", 10: "memory allocation", 11: "memory release",
}


class KernelParams(ctypes.Structure):
    """CUDA_KERNEL_NODE_PARAMS_v2."""

    _fields_ = [
        ("func", ctypes.c_void_p),
        *[(name, ctypes.c_uint) for name in ("gx", "gy", "gz", "bx", "by", "bz", "shared")],
        ("params", ctypes.POINTER(ctypes.c_void_p)),
        ("extra", ctypes.POINTER(ctypes.c_void_p)),
        ("kern", ctypes.c_void_p),
        ("ctx", ctypes.c_void_p),
    ]


class MemsetParams(ctypes.Structure):
    """CUDA_MEMSET_NODE_PARAMS."""

    _fields_ = [
        ("dst", ctypes.c_uint64), ("pitch", ctypes.c_size_t), ("value", ctypes.c_uint), ("element", ctypes.c_uint),
        ("width", ctypes.c_size_t), ("height", ctypes.c_size_t),
    ]


class MemcpyParams(ctypes.Structure):
    """CUDA_MEMCPY3D."""

    _fields_ = [
        *[(name, ctypes.c_size_t) for name in ("srcX", "srcY", "srcZ", "srcLod")],
        ("srcType", ctypes.c_uint), ("srcHost", ctypes.c_void_p), ("srcDevice", ctypes.c_uint64),
        ("srcArray", ctypes.c_void_p), ("reserved0", ctypes.c_void_p),
        ("srcPitch", ctypes.c_size_t), ("srcHeight", ctypes.c_size_t),
        *[(name, ctypes.c_size_t) for name in ("dstX", "dstY", "dstZ", "dstLod")],
        ("dstType", ctypes.c_uint), ("dstHost", ctypes.c_void_p), ("dstDevice", ctypes.c_uint64),
        ("dstArray", ctypes.c_void_p), ("reserved1", ctypes.c_void_p),
        ("dstPitch", ctypes.c_size_t), ("dstHeight", ctypes.c_size_t),
        *[(name, ctypes.c_size_t) for name in ("width", "height", "depth")],
    ]


class Driver:
    def __init__(self):
        self._cuda = ctypes.CDLL("libcuda.so.1")

    def call(self, name, *args):
        code = getattr(self._cuda, name)(*args)
        if code != 0:
            text = ctypes.c_char_p()
            self._cuda.cuGetErrorName(code, ctypes.byref(text))
            raise RuntimeError(f"{name}: {(text.value or b'?').decode()}")

    def nodes(self, graph):
        """All nodes of a CUgraph, each behind those that it depends on."""
        count, edges = ctypes.c_size_t(), ctypes.c_size_t()
        graph = ctypes.c_void_p(graph)
        self.call("cuGraphGetNodes", graph, None, ctypes.byref(count))
        nodes = (ctypes.c_void_p * count.value)()
        self.call("cuGraphGetNodes", graph, nodes, ctypes.byref(count))
        self.call("cuGraphGetEdges", graph, None, None, ctypes.byref(edges))
        begin, end = (ctypes.c_void_p * edges.value)(), (ctypes.c_void_p * edges.value)()
        self.call("cuGraphGetEdges", graph, begin, end, ctypes.byref(edges))
        waits = {node: set() for node in nodes}
        for a, b in zip(begin, end):
            waits[b].add(a)
        order = []
        while waits:
            free = [node for node, needs in waits.items() if not needs]
            order.append(free[0])
            del waits[free[0]]
            for needs in waits.values():
                needs.discard(free[0])
        return order

    def node_kind(self, node):
        kind = ctypes.c_int()
        self.call("cuGraphNodeGetType", ctypes.c_void_p(node), ctypes.byref(kind))
        return kind.value

    def kernel_params(self, node):
        params = KernelParams()
        self.call("cuGraphKernelNodeGetParams_v2", ctypes.c_void_p(node), ctypes.byref(params))
        return params

    def memset_params(self, node):
        params = MemsetParams()
        self.call("cuGraphMemsetNodeGetParams", ctypes.c_void_p(node), ctypes.byref(params))
        return params

    def memcpy_params(self, node):
        params = MemcpyParams()
        self.call("cuGraphMemcpyNodeGetParams", ctypes.c_void_p(node), ctypes.byref(params))
        return params

    def function_name(self, function):
        name = ctypes.c_char_p()
        self.call("cuFuncGetName", ctypes.byref(name), ctypes.c_void_p(function))
        return (name.value or b"").decode()

    def param_sizes(self, function):
        """Offset and size of each parameter."""
        sizes = []
        while True:
            offset, size = ctypes.c_size_t(), ctypes.c_size_t()
            index = ctypes.c_size_t(len(sizes))
            code = self._cuda.cuFuncGetParamInfo(ctypes.c_void_p(function), index, ctypes.byref(offset), ctypes.byref(size))
            if code != 0:
                return sizes
            sizes.append(size.value)

    def load(self, ptx):
        module = ctypes.c_void_p()
        self.call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(ptx.encode()))
        return module

    def function(self, module, name):
        function = ctypes.c_void_p()
        self.call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        return function

    def allow_shared(self, function, size):
        if size > 48 * 1024:
            self.call("cuFuncSetAttribute", function, 8, size)

    def launch(self, function, grid, block, shared, stream, params):
        pointers = (ctypes.c_void_p * len(params))(*[ctypes.cast(ctypes.pointer(p), ctypes.c_void_p) for p in params])
        self.call("cuLaunchKernel", function, *grid, *block, shared, ctypes.c_void_p(stream), pointers, None)

    def read(self, address, size):
        data = ctypes.create_string_buffer(size)
        self.call("cuMemcpyDtoH_v2", data, ctypes.c_uint64(address), ctypes.c_size_t(size))
        return data.raw
