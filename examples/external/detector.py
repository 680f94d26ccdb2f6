"""A detector that stays in its own process, in PyTorch: three lines make it a critical task of a Calypte mission.

    python3 examples/external/detector.py --socket /run/calypte/detector.sock --rate 30 --seconds 20

Needs PyTorch with CUDA, and CALYPTE_CLIENT_LIBRARY or libcalypte_client.so beside calypte_client.py. The model is a stand-in
with random weights: what counts is where the three lines are. Without an agent it runs the same.
"""

import argparse
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "ffi", "native", "client"))

import torch  # noqa: E402
from calypte_client import STATES, Client, wait_until  # noqa: E402

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--socket", required=True, help="as the mission's `external` says")
parser.add_argument("--rate", type=float, default=30, help="requests per second")
parser.add_argument("--seconds", type=float, default=20)
options = parser.parse_args()

torch.manual_seed(1)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 32, 3, stride=2, padding=1), torch.nn.ReLU(),
    torch.nn.Conv2d(32, 64, 3, stride=2, padding=1), torch.nn.ReLU(),
    torch.nn.Conv2d(64, 6, 1),
).cuda().eval()
frame = torch.rand(1, 3, 384, 640, device="cuda")

client = Client(options.socket)  # 1: once
period_ns = int(1e9 / options.rate)
due_ns = time.monotonic_ns() + period_ns
longest_ns = 0
count = int(options.seconds * options.rate)
with torch.inference_mode():
    for _ in range(count):
        client.expect(due_ns)  # 2: when the next frame will be there, if that is known
        wait_until(due_ns)
        with client.request(stream=torch.cuda.current_stream().cuda_stream):  # 3: around the work
            result = model(frame)
        result.cpu()
        longest_ns = max(longest_ns, time.monotonic_ns() - due_ns)
        due_ns += period_ns
print(f"{count} requests, longest {longest_ns / 1e6:.2f} ms, agent: {STATES[client.state]}")
client.close()
