"""Does the bundle, as it lies on disk, compute what the model computes? And how fast?

The files are read back and run on fresh memory: nothing of the recording is used.
"""

import ctypes
import json
import os

import torch

from .bundle import blob
from .driver import Driver

_SCALARS = {
    "u32": ctypes.c_uint32, "i32": ctypes.c_int32, "u64": ctypes.c_uint64, "i64": ctypes.c_int64, "f32": ctypes.c_float,
    "f64": ctypes.c_double,
}
_SIZES = {"f64": 8, "i64": 8, "f32": 4, "i32": 4, "f16": 2, "bf16": 2, "i16": 2, "u8": 1, "i8": 1}


class Bundle:
    """A bundle on the GPU."""

    def __init__(self, folder, arch):
        with open(os.path.join(folder, "bundle.json"), encoding="utf-8") as file:
            self.manifest = json.load(file)
        self._driver = Driver()
        self.memory = {}
        for buffer in self.manifest["buffers"]:
            size = buffer.get("bytes")
            if size is None:
                size = _SIZES[buffer["dtype"]]
                for extent in buffer["shape"]:
                    size *= extent
            self.memory[buffer["name"]] = torch.zeros(size, dtype=torch.uint8, device="cuda")
            if buffer["role"] == "weight":
                with open(os.path.join(folder, buffer["file"]), "rb") as file:
                    file.seek(buffer["offset"])
                    data = bytearray(file.read(size))
                self.memory[buffer["name"]].copy_(torch.frombuffer(data, dtype=torch.uint8))
        entry = next(m for m in self.manifest["modules"] if m["arch"].startswith(f"sm_{arch}"))
        with open(os.path.join(folder, entry["file"]), encoding="utf-8") as file:
            module = self._driver.load(file.read())
        self._functions = {}
        for step in self.manifest["steps"]:
            if "kernel" in step and step["kernel"] not in self._functions:
                function = self._driver.function(module, step["kernel"])
                self._driver.allow_shared(function, step["sharedBytes"])
                self._functions[step["kernel"]] = function

    def _address(self, place):
        return self.memory[place["buffer"]].data_ptr() + place.get("offset", 0)

    def enqueue(self, stream):
        for step in self.manifest["steps"]:
            if "memset" in step:
                fill = step["memset"]
                at = fill.get("offset", 0)
                self.memory[fill["buffer"]][at : at + fill["bytes"]].fill_(fill["value"])
            elif "copy" in step:
                copy = step["copy"]
                at, start = copy["to"].get("offset", 0), copy["from"].get("offset", 0)
                source = self.memory[copy["from"]["buffer"]][start : start + copy["bytes"]]
                self.memory[copy["to"]["buffer"]][at : at + copy["bytes"]].copy_(source)
            else:
                params = []
                for arg in step["args"]:
                    if "buffer" in arg:
                        params.append(ctypes.c_uint64(self._address(arg)))
                    else:
                        (kind, value), = arg.items()
                        params.append(_SCALARS[kind](value))
                self._driver.launch(
                    self._functions[step["kernel"]], step["grid"], step["block"], step["sharedBytes"], stream, params
                )

    def _names(self, role):
        return [buffer["name"] for buffer in self.manifest["buffers"] if buffer["role"] == role]

    def run(self, inputs, outputs_like):
        """Tensors in, tensors out, of the model's own shapes."""
        for name, tensor in zip(self._names("input"), inputs):
            data = torch.frombuffer(bytearray(blob([tensor])), dtype=torch.uint8)
            self.memory[name].copy_(data)
        self.enqueue(torch.cuda.current_stream().cuda_stream)
        torch.cuda.synchronize()
        results = []
        for name, like in zip(self._names("output"), outputs_like):
            flat = self.memory[name].view(like.dtype)
            if like.is_contiguous():
                results.append(flat.view(like.shape).clone())
            else:
                n, c, h, w = like.shape
                results.append(flat.view(n, h, w, c).permute(0, 3, 1, 2).clone())
        return results


def worst_error(results, expected):
    """The largest difference of any output, as a part of that output's largest value."""
    worst = 0.0
    for result, wanted in zip(results, expected):
        scale = max(wanted.abs().max().item(), 1e-30)
        difference = (result.double() - wanted.double()).abs().max().item()
        worst = max(worst, difference / scale if difference == difference else float("inf"))
    return worst


def time_us(call, rounds=60):
    """Median GPU time of a call, from CUDA graphs, in microseconds."""
    stream = torch.cuda.Stream()
    with torch.inference_mode(), torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph, stream=stream):
        call()
    times = []
    for _ in range(rounds):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) * 1e3)
    return sorted(times)[len(times) // 2]
