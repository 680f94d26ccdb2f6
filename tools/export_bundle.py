#!/usr/bin/env python3
"""Exports a PyTorch model as a bundle that Calypte can preempt: PTX, weights, a sample, and nothing of PyTorch.

    python3 tools/export_bundle.py tools/export/models.py:resnet18 --out /tmp/resnet18 --arch sm_87,sm_90

The factory returns a module in evaluation mode, or (module, example inputs); without inputs, --shape or --sample gives
them, once for each. They become the bundle's sample, so a real frame is worth more there than noise. The model
is compiled by Inductor with Triton's kernels only, one run is recorded, and the bundle is then run from its files on fresh
memory and compared with the model in PyTorch, on random inputs. What does not become PTX is named, with the module that
it comes from. A workstation's tool: it needs an NVIDIA GPU of one of the chips named, and tools/export/requirements.txt.
"""

import argparse
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="export_bundle.py", description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n\n".join(__doc__.split("\n\n")[1:]),
    )
    parser.add_argument("factory", help="module:factory or FILE.py:factory")
    parser.add_argument("--out", required=True, help="folder for the bundle; must be empty or not there")
    parser.add_argument("--shape", action="append", default=[], help="of one input, such as 1x3x224x224; once for each")
    parser.add_argument("--sample", action="append", default=[], help="one input as a file of numpy.save (.npy) or torch.save; once for each")
    parser.add_argument("--arch", default="", help="chips beside this one, such as sm_87,sm_110")
    parser.add_argument("--dtype", choices=["fp32", "tf32", "fp16", "bf16"], default="tf32")
    parser.add_argument("--name", help="of the bundle; default: the factory's, in kebab-case")
    parser.add_argument("--search", choices=["quick", "normal", "full"], default="normal", help="configurations timed per shape")
    parser.add_argument("--check", type=int, default=100, help="random inputs to compare with PyTorch; default 100")
    parser.add_argument("--tolerance", type=float, help="largest difference, as a part of the largest output; default by dtype")
    parser.add_argument("--time", action="store_true", help="also time the bundle, PyTorch and torch.compile")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on standard output")
    return parser.parse_args(argv)


def fail(rule, remedy=""):
    raise SystemExit(f"export_bundle: {rule}" + (f"\n  {remedy}" if remedy else ""))


class Progress:
    """One line, rewritten, on a terminal; else a line for each stage."""

    def __init__(self):
        self._live = sys.stderr.isatty()
        self._stage = None
        self._begin = time.monotonic()

    def __call__(self, stage, done=0, total=0):
        count = f" {done}/{total}" if total else ""
        text = f"{time.monotonic() - self._begin:5.0f} s  {stage}"
        if self._live:
            sys.stderr.write(f"\r\x1b[K{text}{count}")
            sys.stderr.flush()
        elif stage != self._stage:
            print(text, file=sys.stderr, flush=True)
        self._stage = stage

    def end(self):
        if self._live:
            sys.stderr.write("\n")


TOLERANCES = {"fp32": 1e-4, "tf32": 1e-2, "fp16": 1e-2, "bf16": 5e-2}


def main(argv=None):
    options = parse(argv)
    if os.path.isdir(options.out) and os.listdir(options.out):
        fail(f"{options.out} is not empty", "name another folder; nothing is overwritten")
    if options.shape and options.sample:
        fail("--shape and --sample exclude each other", "give every input in the same way")
    try:
        import torch
        from export import sample

        torch.manual_seed(1)
        try:
            given = [sample.of_shape(text) for text in options.shape] + [sample.of_file(path) for path in options.sample]
        except sample.NotAnInput as error:
            fail(str(error))
        import triton
    except ImportError as error:
        fail(f"{error.name} is not installed", "pip install -r tools/export/requirements.txt")
    if not torch.cuda.is_available():
        fail("no NVIDIA GPU: kernels are chosen by timing them", "run it on a machine with one; it need not be the board")
    major, minor = torch.cuda.get_device_capability()
    own = major * 10 + minor
    archs = [own]
    for text in filter(None, options.arch.split(",")):
        match = re.fullmatch(r"sm_(\d{2,3})a?", text.strip())
        if match is None:
            fail(f"--arch {text}: must be like sm_87")
        if int(match[1]) not in archs:
            archs.append(int(match[1]))

    from export.compile_model import compile_model, load_factory, modules_of
    from export.record import NotExportable, record

    progress = Progress()
    made = load_factory(options.factory)()
    model, inputs = made if isinstance(made, tuple) else (made, None)
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(options.dtype, torch.float32)
    if given:
        inputs = tuple(given)
    if inputs is None:
        fail("the factory gives no example inputs", "give --shape or --sample for each input")
    torch.set_float32_matmul_precision("high" if options.dtype == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = options.dtype == "tf32"
    to_dtype = lambda t: t.cuda().to(dtype) if t.is_floating_point() else t.cuda()  # noqa: E731
    model = model.eval().cuda().to(dtype)
    inputs = tuple(to_dtype(t) for t in inputs)
    name = options.name or re.sub(r"[^a-z0-9]+", "-", options.factory.partition(":")[2].lower()).strip("-")

    progress("compiling with Triton's kernels only, and timing candidates")
    compiled, program = compile_model(model, inputs, options.search, os.cpu_count() or 4)
    progress("recording one run")
    try:
        recording = record(compiled, inputs, modules_of(program))
    except NotExportable as error:
        progress.end()
        fail("the model does not lower to PTX:\n  " + str(error).replace("\n", "\n  "))

    from export import bundle, verify

    with torch.inference_mode():
        flat = torch.utils._pytree.tree_leaves(model(*inputs))
    tolerance = options.tolerance or TOLERANCES[options.dtype]
    scale = max(t.abs().max().item() for t in flat)
    description = f"{options.factory.partition(':')[2]}, exported from PyTorch {torch.__version__}, {options.dtype}"
    manifest = bundle.write(
        recording, options.out, name, description, archs, own, (inputs, flat),
        {"rtol": tolerance, "atol": tolerance * scale}, progress,
    )
    progress(f"comparing with PyTorch, {options.check} inputs")
    runner = verify.Bundle(options.out, own)
    worst = verify.worst_error(runner.run(inputs, recording.outputs), flat)
    varies = False
    for seed in range(options.check):
        torch.manual_seed(1000 + seed)
        some = tuple(
            (torch.randn_like(t) if t.is_floating_point() else torch.randint_like(t, 0, 2)) for t in inputs
        )
        with torch.inference_mode():
            wanted = torch.utils._pytree.tree_leaves(model(*some))
        varies = varies or any(not torch.equal(a, b) for a, b in zip(wanted, flat))
        worst = max(worst, verify.worst_error(runner.run(some, recording.outputs), wanted))
    report = {
        "name": name, "out": options.out, "dtype": options.dtype, "torch": torch.__version__, "triton": triton.__version__,
        "device": torch.cuda.get_device_name(), "modules": [m["arch"] for m in manifest["modules"]],
        "steps": len(manifest["steps"]), "kernels": len(bundle.name_kernels(recording)),
        "worstError": worst, "tolerance": tolerance, "inputsCompared": options.check + 1,
    }
    if options.time:
        progress("timing")
        stream = torch.cuda.current_stream
        report["bundleUs"] = verify.time_us(lambda: runner.enqueue(stream().cuda_stream))
        report["eagerUs"] = verify.time_us(lambda: model(*inputs))
        torch._dynamo.reset()
        import torch._inductor.config as config

        config.max_autotune = False
        config.max_autotune_gemm_backends = config.max_autotune_conv_backends = "ATEN,TRITON,CPP"
        config.freezing = False
        usual = torch.compile(model)
        report["compileUs"] = verify.time_us(lambda: usual(*inputs))
        report["ratio"] = report["bundleUs"] / report["compileUs"]
    progress("done")
    progress.end()
    if options.json:
        print(json.dumps(report))
    else:
        print(f"{name}: {report['steps']} steps of {report['kernels']} kernels, for {', '.join(report['modules'])}")
        print(f"largest difference from PyTorch {worst:.2e} of the largest output, on {report['inputsCompared']} inputs")
        if options.time:
            print(f"GPU time {report['bundleUs']:.0f} us; torch.compile {report['compileUs']:.0f}, eager {report['eagerUs']:.0f}")
    if options.check > 0 and not varies:
        fail(
            f"the outputs are the same for all of {options.check} random inputs: comparing them shows nothing",
            "are the weights loaded? a head that begins with zeros answers everything alike",
        )
    if not worst <= tolerance:
        fail(f"the bundle differs from the model by {worst:.2e}, more than {tolerance:.0e}", "--dtype fp32, or --tolerance")


if __name__ == "__main__":
    main()
