"""How does a PyTorch model become Triton kernels and nothing else?

`torch.export` makes one graph of it, and Inductor compiles that with Triton's templates for every product and convolution.
Attention is decomposed, as its fused kernels come from a library. What did not become a kernel of Triton shows in the
captured launches (record.py), by name.
"""

import importlib
import sys

import torch

# Candidates that Inductor times for each shape. All of them take minutes for each model, and one alone may be ten times
# slower than the best; these few are spread over the shapes of real models.
SEARCH = {"quick": 3, "normal": 8, "full": None}


def load_factory(text):
    """`module:factory` or `path/to/file.py:factory`: what the factory returns is a module, or (module, example inputs)."""
    place, _, name = text.partition(":")
    if not name:
        raise SystemExit(f"export_bundle: {text!r} must be module:factory or FILE.py:factory")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location("exported_model", place)
        if spec is None or spec.loader is None:
            raise SystemExit(f"export_bundle: {place}: no such file")
        module = importlib.util.module_from_spec(spec)
        sys.modules["exported_model"] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    try:
        return getattr(module, name)
    except AttributeError:
        raise SystemExit(f"export_bundle: {place} has no {name}") from None


def _thin_out(limit):
    """Leaves `limit` candidates, evenly spread, in each list of Inductor's template heuristics."""
    if limit is None:
        return
    import inspect

    import torch._inductor.template_heuristics as heuristics

    places = [heuristics] + [value for value in vars(heuristics).values() if inspect.ismodule(value)]
    for place in places:
        for name, kind in list(vars(place).items()):
            # Only where the lists are made: an __init__ more would hide those of other bases.
            if not inspect.isclass(kind) or "ConfigHeuristic" not in name or "__init__" not in vars(kind):
                continue
            if "_calypte" in vars(kind):
                continue

            def init(self, *args, _original=kind.__init__, **options):
                _original(self, *args, **options)
                for key, value in list(vars(self).items()):
                    if key.endswith("_configs") and isinstance(value, list) and len(value) > limit:
                        step = (len(value) - 1) / max(1, limit - 1)
                        setattr(self, key, [value[round(i * step)] for i in range(limit)])

            kind.__init__ = init
            kind._calypte = True


def compile_model(model, inputs, search="normal", threads=8):
    """Returns a function of the inputs, compiled, and what `torch.export` saw. `model` and `inputs` are on the GPU."""
    import torch._inductor.config as config

    _thin_out(SEARCH[search])
    config.max_autotune = True
    config.max_autotune_gemm_backends = "TRITON"
    config.max_autotune_conv_backends = "TRITON"
    config.freezing = True
    config.compile_threads = threads
    config.triton.cudagraphs = False
    config.use_static_cuda_launcher = False  # so that each kernel's PTX stays at hand
    config.triton.unique_kernel_names = True
    with torch.inference_mode(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        program = torch.export.export(model, inputs)
        program = program.run_decompositions()
        torch._dynamo.reset()
        compiled = torch.compile(program.module())
        for _ in range(3):
            compiled(*inputs)
    torch.cuda.synchronize()
    return compiled, program


def modules_of(program):
    """By the name of a node of the exported graph: the path of the module that it comes from, for messages."""
    paths = {}
    for node in program.graph.nodes:
        stack = node.meta.get("nn_module_stack") or {}
        if stack:
            paths[node.name] = list(stack.values())[-1][0] or "the model itself"
    return paths
