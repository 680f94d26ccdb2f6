"""A critical process that is not ours: a chain of matrix products of PyTorch (cuBLAS) at a fixed rate, timed as its user would.

    python3 bench/external/model.py --rate 30 --seconds 6 [--socket PATH [--expect]]

Prints one JSON object: response times from the moment a request is due to its result on the host, and failed calls. Needs
PyTorch with CUDA.
"""

import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "ffi", "native", "client"))

import torch  # noqa: E402
from calypte_client import STATES, Client, wait_until  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, default=30)
parser.add_argument("--seconds", type=float, default=6)
parser.add_argument("--socket")
parser.add_argument("--expect", action="store_true")
parser.add_argument("--products", type=int, default=24)
options = parser.parse_args()

torch.manual_seed(1)
size = 1024
frame = torch.randn(size, size, device="cuda", dtype=torch.float16) / 32
weights = [torch.randn(size, size, device="cuda", dtype=torch.float16) / 32 for _ in range(options.products)]
stream = torch.cuda.current_stream()


def infer():
    value = frame
    for weight in weights:
        value = torch.relu(value @ weight)
    return value


expected = infer()
torch.cuda.synchronize()
client = Client(options.socket) if options.socket else None
period_ns = int(1e9 / options.rate)
for _ in range(20):
    infer()
torch.cuda.synchronize()
give_up_ns = time.monotonic_ns() + 20_000_000_000
while client and STATES[client.state] != "served" and time.monotonic_ns() < give_up_ns:
    time.sleep(0.01)

responses, failed, calls_ns, states = [], 0, [], set()
due = time.monotonic_ns() + 2 * period_ns
for number in range(int(options.seconds * options.rate)):
    due += period_ns
    if client and options.expect:
        client.expect(due)
    wait_until(due)
    try:
        if client:
            begin_ns = time.monotonic_ns()
            request = client.begin(due)
            calls_ns.append(time.monotonic_ns() - begin_ns)
        result = infer()
        if client:
            begin_ns = time.monotonic_ns()
            client.end(request, stream.cuda_stream)
            calls_ns.append(time.monotonic_ns() - begin_ns)
        stream.synchronize()
        responses.append(time.monotonic_ns() - due)
        if number % 16 == 0 and not torch.equal(result, expected):
            failed += 1
    except RuntimeError as error:
        print(error, file=sys.stderr)
        failed += 1
    if client:
        states.add(STATES[client.state])
responses.sort()
calls_ns.sort()


def at(values, part):
    return values[min(len(values) - 1, int(part * len(values)))] / 1e3 if values else None


print(json.dumps({
    "requests": len(responses), "failed": failed, "p50Us": at(responses, 0.5), "p99Us": at(responses, 0.99),
    "maxUs": at(responses, 1), "callP50Us": at(calls_ns, 0.5), "callP99Us": at(calls_ns, 0.99), "states": sorted(states),
    "responsesUs": [round(value / 1e3, 1) for value in responses],
}))
if client:
    client.close()
