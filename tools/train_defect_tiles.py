#!/usr/bin/env python3
"""Trains the network of examples/bundles/defect-tiles on rendered cracks.

    .tools/deno run -A tools/make_tiles.ts --samples 1500 --seed 100000 --out build/tiles
    .tools/deno run -A tools/make_tiles.ts --samples 200 --seed 500000 --out build/tiles-held-out
    pip install -r tools/train_defect_tiles.txt
    tools/train_defect_tiles.py --train build/tiles --held-out build/tiles-held-out \
        --out examples/bundles/defect-tiles/weights.bin
    .tools/deno run -A tools/build_bundle.ts examples/bundles/defect-tiles

Some minutes on a GPU; on two busy CPU cores 1000 steps take five to ten. It begins with random weights from --seed, or goes
on with those in --from. What it prints of held-out tiles is PyTorch's; what counts is measured on the bundle's own
reference: tools/measure_defect_tiles.ts.

The weights that are there were made on a CPU in several goes, with --from: 750 steps while cracks counted more than the rest,
1500 without that, and 1000 with places that were answered wrongly (--side 128 --batch 8). A longer run should do better.

The network is that of examples/bundles/defect-tiles/network.ts. No part of the agent.
"""
import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

# Training tiles on which the threshold is set at the end.
BALANCE_TILES = 100
# How often training tiles are looked at as a whole, how many, and how many places with a wrong answer are kept.
MINE_EVERY, MINE_TILES, MINED = 25, 4, 4000
# Layers in the order of weights.bin.
ORDER = ["stem", "down", "near", "wide", "wider", "narrow", "merge", "head"]


class Network(nn.Module):
    """Frames [n, 3, h, w] in -0.5..0.5 to logits [n, 1, h, w]; h and w are multiples of 4."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.down = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.near = nn.Conv2d(16, 16, 3, padding=1)
        self.wide = nn.Conv2d(16, 16, 3, padding=2, dilation=2)
        self.wider = nn.Conv2d(16, 16, 3, padding=4, dilation=4)
        self.narrow = nn.Conv2d(16, 8, 1)
        self.merge = nn.Conv2d(16, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 4, 1)
        for layer in (getattr(self, name) for name in ORDER):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        # Cracks are rare: the network begins by seeing none.
        nn.init.constant_(self.head.bias, -3.0)

    def forward(self, frames):
        stem = F.relu(self.stem(frames))
        x = F.relu(self.down(stem))
        x = F.relu(self.near(x))
        x = F.relu(self.wide(x))
        x = F.relu(self.wider(x))
        x = F.interpolate(F.relu(self.narrow(x)), scale_factor=2, mode="nearest")
        x = F.relu(self.merge(torch.cat([stem, x], 1)))
        return F.pixel_shuffle(self.head(x), 2)


def weights_of(network):
    """The bytes of weights.bin: [ky, kx, in, out] and bias, layer by layer."""
    parts = []
    for name in ORDER:
        layer = getattr(network, name)
        parts += [layer.weight.detach().permute(2, 3, 1, 0).reshape(-1), layer.bias.detach().reshape(-1)]
    return torch.cat(parts).cpu().numpy().astype("<f4").tobytes()


def load_weights(network, file):
    values = torch.from_numpy(np.fromfile(file, dtype="<f4").astype(np.float32))
    at = 0
    with torch.no_grad():
        for name in ORDER:
            layer = getattr(network, name)
            out, into, ky, kx = layer.weight.shape
            count = layer.weight.numel()
            layer.weight.copy_(values[at : at + count].reshape(ky, kx, into, out).permute(3, 2, 0, 1))
            layer.bias.copy_(values[at + count : at + count + out])
            at += count + out
    if at != len(values):
        raise SystemExit(f"{file}: must hold {at} weights, not {len(values)}")


class Tiles:
    """A folder that tools/make_tiles.ts --samples wrote."""

    def __init__(self, folder):
        about = json.loads((Path(folder) / "tiles.json").read_text())
        shape = (about["count"], about["height"], about["width"])
        self.first_seed, self.count = about["firstSeed"], about["count"]
        self.rgb = np.memmap(Path(folder) / "tiles.rgb", np.uint8, "r", shape=(*shape, 3))
        self.mask = np.memmap(Path(folder) / "masks.u8", np.uint8, "r", shape=shape)

    def crops(self, random, count, side, hard):
        """One in four around a pixel of a crack, half around one that was answered wrongly (tile, y, x), the rest anywhere."""
        frames = np.empty((count, side, side, 3), np.uint8)
        masks = np.empty((count, side, side), np.uint8)
        height, width = self.mask.shape[1:]
        for i in range(count):
            tile, around = int(random.integers(self.count)), None
            if i % 2 == 1 and hard:
                tile, *around = hard[int(random.integers(len(hard)))]
            elif i % 4 == 0:
                ys, xs = np.nonzero(self.mask[tile][::4, ::4])
                if len(ys) > 0:
                    pick = int(random.integers(len(ys)))
                    around = ys[pick] * 4, xs[pick] * 4
            if around is None:
                around = random.integers(height), random.integers(width)
            y = int(np.clip(around[0] - random.integers(side), 0, height - side))
            x = int(np.clip(around[1] - random.integers(side), 0, width - side))
            frame = self.rgb[tile, y : y + side, x : x + side]
            mask = self.mask[tile, y : y + side, x : x + side]
            turn = int(random.integers(8))
            if turn & 4:
                frame, mask = frame.transpose(1, 0, 2), mask.T
            frames[i], masks[i] = np.rot90(frame, turn & 3), np.rot90(mask, turn & 3)
        return frames, masks


def to_input(frames, device):
    return torch.from_numpy(np.array(frames)).to(device).permute(0, 3, 1, 2).float() * (1 / 255) - 0.5


def loss_of(logits, target):
    """Cross entropy, and the part of cracks that is not covered (dice), which does not care how rare they are."""
    entropy = F.binary_cross_entropy_with_logits(logits, target)
    seen = torch.sigmoid(logits)
    dice = 1 - (2 * (seen * target).sum() + 1) / (seen.sum() + target.sum() + 1)
    return entropy + 0.5 * dice


def answers(network, tiles, index, device):
    """Logits of one tile, and where its cracks are: 0 or 1."""
    mask = torch.from_numpy((tiles.mask[index : index + 1, None] > 0).astype(np.float32)).to(device)
    with torch.no_grad():
        return network(to_input(tiles.rgb[index : index + 1], device)), mask


def mine(network, tiles, device, random, hard):
    """Adds places of training tiles that are answered wrongly, not counting the edges of cracks."""
    for index in random.integers(tiles.count, size=MINE_TILES):
        logits, mask = answers(network, tiles, int(index), device)
        seen = (logits > 0).float()
        near, near_seen = F.max_pool2d(mask, 5, 1, 2), F.max_pool2d(seen, 5, 1, 2)
        wrong = (seen * (1 - near) + mask * (1 - near_seen))[0, 0].nonzero().cpu().numpy()
        for y, x in wrong[random.permutation(len(wrong))[:40]]:
            hard.append((int(index), int(y), int(x)))
    del hard[: max(0, len(hard) - MINED)]


def measure(network, tiles, device, most, thresholds=(0.0,)):
    """For each threshold precision and recall of pixels, with a tolerance of 2 pixels."""
    sums = np.zeros((len(thresholds), 4))
    for index in range(min(most, tiles.count)):
        logits, mask = answers(network, tiles, index, device)
        near = F.max_pool2d(mask, 5, 1, 2)
        for which, threshold in enumerate(thresholds):
            seen = (logits > threshold).float()
            near_seen = F.max_pool2d(seen, 5, 1, 2)
            sums[which] += [(seen * near).sum(), seen.sum(), (mask * near_seen).sum(), mask.sum()]
    return [(right / max(marked, 1), found / max(there, 1)) for right, marked, found, there in sums]


def balance(network, tiles, device):
    """Moves the head's bias so that as many pixels are marked in vain as are missed, on tiles of the training."""
    thresholds = [float(threshold) for threshold in np.arange(-2.0, 4.01, 0.5)]
    found = measure(network, tiles, device, BALANCE_TILES, thresholds)
    best = max(range(len(thresholds)), key=lambda which: min(found[which]))
    with torch.no_grad():
        network.head.bias -= thresholds[best]
    return thresholds[best]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True, help="a folder of make_tiles.ts --samples")
    parser.add_argument("--held-out", required=True, help="another one, of other seeds")
    parser.add_argument("--out", required=True, help="weights.bin")
    parser.add_argument("--from", dest="start", help="a weights.bin to go on with")
    parser.add_argument("--steps", type=int, default=6000, help="0: only sets the threshold")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=160, help="of a crop, in pixels; a multiple of 4")
    parser.add_argument("--rate", type=float, default=3e-3, help="of learning, at its highest")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="default: as many as PyTorch takes")
    options = parser.parse_args()
    if options.threads > 0:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    random = np.random.default_rng(options.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train, held_out = Tiles(options.train), Tiles(options.held_out)
    if train.first_seed < held_out.first_seed + held_out.count and held_out.first_seed < train.first_seed + train.count:
        raise SystemExit("--held-out: must be of other seeds than --train")
    network = Network().to(device)
    if options.start is not None:
        load_weights(network, options.start)
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=1e-4)
    warm_up = min(200, options.steps // 10 + 1)

    def rate_at(step):
        return min(1, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * step / max(1, options.steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_at)
    began, losses, hard = time.monotonic(), [], []
    for step in range(1, options.steps + 1):
        if step % MINE_EVERY == 0:
            mine(network, train, device, random, hard)
        frames, masks = train.crops(random, options.batch, options.side, hard)
        target = torch.from_numpy((masks[:, None] > 0).astype(np.float32)).to(device)
        loss = loss_of(network(to_input(frames, device)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 250 == 0:
            [(precision, recall)] = measure(network, held_out, device, 40)
            print(
                f"step {step} of {options.steps}, {time.monotonic() - began:.0f} s: loss {np.mean(losses[-250:]):.4f}, "
                f"held out: precision {precision:.4f}, recall {recall:.4f}",
                flush=True,
            )
            Path(options.out).write_bytes(weights_of(network))
    moved = balance(network, train, device)
    [(precision, recall)] = measure(network, held_out, device, held_out.count)
    print(f"threshold moved by {moved:.1f}; all held out: precision {precision:.4f}, recall {recall:.4f}")
    Path(options.out).write_bytes(weights_of(network))


if __name__ == "__main__":
    main()
