"""How is a recording written as a bundle?

Regions become buffers: all scratch is one arena, as PyTorch's allocator has laid it out by lifetime, cut down to the
stretches that some step uses. Weights are the bytes that lie in memory now, less what nothing points to.
"""

import hashlib
import json
import os

import torch

from .chips import too_much_shared
from .driver import Driver
from .ptx import merge
from .record import Pointer

_DTYPES = {
    torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16", torch.uint8: "u8", torch.int8: "i8",
    torch.int32: "i32", torch.int64: "i64", torch.bool: "u8", torch.float64: "f64", torch.int16: "i16",
}
_ALIGNMENT = 256


def _sha256(data):
    return hashlib.sha256(data).hexdigest()


def _stretches(recording, role):
    """Per region of a role: the stretches that pointers begin at, each up to the next one; padded, in order."""
    starts = {}
    for step in recording.steps:
        for pointer in [*step.args, step.to, step.source]:
            if isinstance(pointer, Pointer) and pointer.region.role == role:
                starts.setdefault(id(pointer.region), (pointer.region, set()))[1].add(pointer.offset)
    return [(region, sorted(offsets)) for region, offsets in starts.values()]


def _describe(tensor, name, role):
    if not (tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last)):
        raise SystemExit(f"export_bundle: {role} {name} is neither contiguous nor channels-last")
    if tensor.dtype not in _DTYPES:
        raise SystemExit(f"export_bundle: {role} {name} has dtype {tensor.dtype}, which bundles do not have")
    shape = list(tensor.shape)
    if tensor.dim() == 4 and not tensor.is_contiguous():
        shape = [shape[0], shape[2], shape[3], shape[1]]  # as it lies in memory
    return {"name": name, "role": role, "dtype": _DTYPES[tensor.dtype], "shape": shape or [1]}


def layout(recording):
    """Buffers of the manifest, the weights' bytes, and where each region went: (buffer name, offset) by id."""
    driver = Driver()
    buffers, weights, places = [], bytearray(), {}
    for region in recording.regions:
        if region.role in ("input", "output"):
            buffers.append(_describe(region.tensor, region.name, region.role))
            places[id(region)] = (region.name, 0)
    for region, _ in _stretches(recording, "weight"):
        at = (len(weights) + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
        weights.extend(b"\0" * (at - len(weights)))
        buffers.append({"name": region.name, "role": "weight", "bytes": region.size, "file": "weights.bin", "offset": at})
        weights.extend(driver.read(region.address, region.size))
        places[id(region)] = (region.name, 0)
    arena = 0
    for region, offsets in _stretches(recording, "scratch"):
        first = offsets[0] // _ALIGNMENT * _ALIGNMENT
        places[id(region)] = ("arena", arena - first)
        arena += (region.size - first + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
    if arena > 0:
        buffers.append({"name": "arena", "role": "scratch", "bytes": arena})
    return buffers, bytes(weights), places


def _place(pointer, places):
    name, offset = places[id(pointer.region)]
    at = pointer.offset + offset
    return {"buffer": name} if at == 0 else {"buffer": name, "offset": at}


def _argument(arg, places):
    if isinstance(arg, Pointer):
        return _place(arg, places)
    if len(arg) == 8:
        return {"u64": int.from_bytes(arg, "little")}
    if len(arg) == 4:
        return {"u32": int.from_bytes(arg, "little")}
    raise SystemExit(f"export_bundle: a scalar argument of {len(arg)} bytes is not supported")


def name_kernels(recording):
    """A short name for each kernel, in order of first use: by the identity of what was compiled."""
    names = {}
    for step in recording.steps:
        if step.kind == "kernel":
            binary = step.kernel.binary
            names.setdefault(id(binary), (f"k{len(names)}_{binary.metadata.name[:48]}", step.kernel))
    return names


def compile_for(kernel, arch):
    """The same source and choices for another chip. Returns PTX, entry name, threads, shared bytes."""
    import triton
    from triton.backends.compiler import GPUTarget

    options = {"num_warps": kernel.config.num_warps, "num_stages": kernel.config.num_stages}
    compiled = triton.compile(kernel.source(), target=GPUTarget("cuda", arch, 32), options=options)
    return compiled.asm["ptx"], compiled.metadata.name, 32 * compiled.metadata.num_warps, compiled.metadata.shared


def write(recording, out, name, description, archs, own_arch, samples, tolerances, progress):
    """`samples`: (inputs, outputs) of one run, tensors. Returns the manifest."""
    names = name_kernels(recording)
    shared = {key: 0 for key in names}
    merged = []
    for arch in archs:
        texts = {}
        for number, (key, (new, kernel)) in enumerate(names.items()):
            progress(f"kernels for sm_{arch}", number, len(names))
            if arch == own_arch:
                binary = kernel.binary
                texts[new] = (binary.asm["ptx"], binary.metadata.name)
                shared[key] = max(shared[key], binary.metadata.shared)
                continue
            ptx, entry, threads, bytes_ = compile_for(kernel, arch)
            if threads != 32 * kernel.config.num_warps:
                raise SystemExit(f"export_bundle: {new} has {threads} threads on sm_{arch}")
            texts[new] = (ptx, entry)
            shared[key] = max(shared[key], bytes_)
        merged.append(merge(texts))
    problems = too_much_shared({names[key][0]: bytes_ for key, bytes_ in shared.items()}, archs)
    if problems:
        raise SystemExit(
            "export_bundle: " + "\n  ".join(problems)
            + "\n  export for each chip into a bundle of its own, or choose kernels where there is as little: a GPU of sm_86 or sm_89"
        )
    os.makedirs(out, exist_ok=True)
    modules = []
    for text, target in merged:
        file = f"kernels.{target}.ptx"
        with open(os.path.join(out, file), "w", encoding="utf-8") as module:
            module.write(text)
        modules.append({"file": file, "arch": target, "sha256": _sha256(text.encode())})
    buffers, weights, places = layout(recording)
    with open(os.path.join(out, "weights.bin"), "wb") as file:
        file.write(weights)
    digest = _sha256(weights)
    for buffer in buffers:
        if buffer["role"] == "weight":
            buffer["sha256"] = digest
    steps = []
    for step in recording.steps:
        if step.kind == "kernel":
            key = id(step.kernel.binary)
            steps.append({
                "kernel": names[key][0], "grid": list(step.grid), "block": [step.threads, 1, 1],
                "sharedBytes": shared[key], "args": [_argument(arg, places) for arg in step.args],
            })
        elif step.kind == "memset":
            steps.append({"memset": {**_place(step.to, places), "value": step.value, "bytes": step.size}})
        else:
            steps.append({"copy": {"from": _place(step.source, places), "to": _place(step.to, places), "bytes": step.size}})
    manifest = {
        "format": "calypte-bundle/1", "name": name, "description": description, "modules": modules, "buffers": buffers,
        "steps": steps, "verify": {},
    }
    for key, tensors in zip(("input", "output"), samples):
        data = blob(tensors)
        file = f"sample.{'in' if key == 'input' else 'out'}"
        with open(os.path.join(out, file), "wb") as sample:
            sample.write(data)
        manifest["verify"][key] = file
        manifest["verify"][f"{key}Sha256"] = _sha256(data)
    manifest["verify"].update(tolerances)
    with open(os.path.join(out, "bundle.json"), "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1)
        file.write("\n")
    return manifest


def blob(tensors):
    """Tensors as they lie in memory, each at a multiple of 256 bytes."""
    data = bytearray()
    for tensor in tensors:
        data.extend(b"\0" * (-len(data) % _ALIGNMENT))
        flat = tensor if tensor.is_contiguous() else tensor.permute(0, 2, 3, 1).contiguous()
        data.extend(flat.contiguous().reshape(-1).view(torch.uint8).cpu().numpy().tobytes())
    return bytes(data)
