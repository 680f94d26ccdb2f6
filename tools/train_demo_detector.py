#!/usr/bin/env python3
"""Trains the example's obstacle detector on drawn frames and writes its weights.bin. A workstation's tool, not part of the agent.

    .tools/deno run -A tools/render_frames.ts --first 1000 --flights 120 --frames 10 --out /tmp/train
    .tools/deno run -A tools/render_frames.ts --first 9000 --flights 60 --frames 10 --out /tmp/held-out
    python3 tools/train_demo_detector.py --train /tmp/train --held-out /tmp/held-out --out examples/bundles/obstacle-detector/weights.bin
    .tools/deno run -A tools/build_bundle.ts examples/bundles/obstacle-detector

Takes PyTorch 2.9 or newer and NumPy, and a quarter of an hour on two cores. What counts is measured elsewhere, on what the bundle
itself computes: bench/detector_quality.ts. The figures printed here come from PyTorch and are for watching.
"""

import argparse
import json
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

# As examples/bundles/obstacle-detector/network.ts has them: (kernel size, stride, channels in, channels out).
LAYERS = [(3, 2, 3, 8), (3, 2, 8, 16), (3, 2, 16, 16), (3, 1, 16, 16), (1, 1, 16, 6)]
CELL = 8
GRID = (45, 80)
# Wires are lines across the frame and not boxes; the poles that carry them are.
CLASSES = {"tree": 0, "pole": 1, "bird": 1}
# An obstacle of which the frame's edge leaves less than this is neither asked for nor held against the detector.
LEAST_AT_EDGE = 8
# Of a frame, in cells, that is trained on at once: most of a frame is empty.
CROP = (24, 32)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog="\n\n".join(__doc__.split("\n\n")[1:]),
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True, help="folder of render_frames.ts")
    parser.add_argument("--held-out", required=True, help="another one, of other seeds")
    parser.add_argument("--out", required=True, help="weights.bin to write")
    parser.add_argument("--from", dest="begin", help="weights.bin to go on from; default: from the seed")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=4e-3, help="learning rate at its highest")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2, help="on the CPU")
    return parser.parse_args()


def load(folder):
    with open(os.path.join(folder, "labels.json"), encoding="utf-8") as file:
        about = json.load(file)
    frames = np.memmap(os.path.join(folder, "frames.rgb"), dtype=np.uint8, mode="r")
    frames = frames.reshape(-1, about["height"], about["width"], about["channels"])
    boxes = []
    for frame in about["frames"]:
        rows = [(CLASSES[o["kind"]], o["x"], o["y"], o["w"], o["h"], is_sliver(o, about)) for o in frame["obstacles"] if o["kind"] in CLASSES]
        boxes.append(np.array(rows, dtype=np.float32).reshape(-1, 6))
    return frames, boxes, {frame["seed"] for frame in about["frames"]}


def is_sliver(box, about):
    at_side = box["x"] <= 0 or box["x"] + box["w"] >= about["width"]
    at_end = box["y"] <= 0 or box["y"] + box["h"] >= about["height"]
    return (at_side and box["w"] < LEAST_AT_EDGE) or (at_end and box["h"] < LEAST_AT_EDGE)


def targets(boxes):
    """Per cell: how near an obstacle's centre is (1: it lies in the cell), its box, class, and whether the cell counts."""
    height, width = GRID
    heat = np.zeros(GRID, np.float32)
    box = np.zeros((4, height, width), np.float32)
    kind = np.zeros(GRID, np.float32)
    weight = np.zeros(GRID, np.float32)  # of the box
    counts = np.ones(GRID, np.float32)
    rows, columns = np.mgrid[0:height, 0:width]
    for label, x, y, w, h, sliver in boxes:
        cx, cy = (x + w / 2) / CELL, (y + h / 2) / CELL
        column, row = min(int(cx), width - 1), min(int(cy), height - 1)
        distance = (columns + 0.5 - cx) ** 2 + (rows + 0.5 - cy) ** 2
        if sliver:
            counts[distance < 4] = 0
            continue
        near = np.exp(-distance / (2 * 0.6 ** 2)).astype(np.float32)
        heat = np.maximum(heat, near)
        heat[row, column] = 1
        # A neighbour that wins by a hair has to know the box as well.
        better = (near > weight) & (distance < 1.2)
        better[row, column] = True
        box[:, better] = np.array([x, y, w, h], np.float32)[:, None]
        kind[better] = label
        weight[better] = near[better]
        weight[row, column] = 1
    return heat, box, kind, weight, counts


class Detector(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(
            [torch.nn.Conv2d(i, o, k, stride=s, padding=k // 2) for k, s, i, o in LAYERS])
        for layer in self.layers:
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            torch.nn.init.zeros_(layer.bias)
        torch.nn.init.constant_(self.layers[-1].bias[0:1], -4.0)

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


def soft(x):
    return x / (1 + x.abs())


def decode(cells):
    """As the kernel `decode`: x, y, w, h in pixels."""
    height, width = cells.shape[2:]
    column = torch.arange(width, device=cells.device) + 0.5
    row = (torch.arange(height, device=cells.device) + 0.5)[:, None]
    w, h = CELL + 64 * (1 + soft(cells[:, 3])), CELL + 64 * (1 + soft(cells[:, 4]))
    cx = (column + 0.5 * soft(cells[:, 1])) * CELL
    cy = (row + 0.5 * soft(cells[:, 2])) * CELL
    return torch.stack([cx - w / 2, cy - h / 2, w, h], 1)


def loss_of(cells, heat, box, kind, weight, counts):
    probability = torch.sigmoid(cells[:, 0]).clamp(1e-5, 1 - 1e-5)
    here = (heat == 1).float()
    # CenterNet's focal loss (Zhou, Wang, Kraehenbuehl 2019): what is near a centre counts less as background.
    found = -((1 - probability) ** 2 * probability.log() * here * counts).sum()
    empty = -((1 - heat) ** 4 * probability ** 2 * (1 - probability).log() * (1 - here) * counts).sum()
    number = here.sum().clamp(min=1)
    edges = lambda b: torch.cat([b[:, :2], b[:, :2] + b[:, 2:]], 1)  # noqa: E731
    # In parts of the box's own sides, as the overlap is.
    size = torch.cat([box[:, 2:], box[:, 2:]], 1).clamp(min=4)
    off = ((edges(decode(cells)) - edges(box)).abs() / size * weight[:, None]).sum() / number
    label = (F.binary_cross_entropy_with_logits(cells[:, 5], kind, reduction="none") * weight).sum() / number
    return (found + empty) / number + 2 * off + 0.2 * label


def overlap(a, b):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(0, w) * max(0, h)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def quality(model, frames, boxes, device, threshold=0.5):
    """Precision, recall and right classes at an overlap of one half, as bench/detector_quality.ts counts them."""
    good = wrong = missed = right = 0
    with torch.no_grad():
        for at in range(0, len(frames), 16):
            cells = model(to_input(frames[at:at + 16], device))
            z = cells[:, 0]
            peak = (z == F.max_pool2d(z[:, None], 3, 1, 1)[:, 0]) & (z > 0)
            found = decode(cells).cpu().numpy()
            kind, z, peak = cells[:, 5].cpu().numpy(), z.cpu().numpy(), peak.cpu().numpy()
            for i in range(len(cells)):
                order = sorted(np.argwhere(peak[i]), key=lambda p: -z[i][tuple(p)])
                truth = [list(b) + [False] for b in boxes[at + i]]
                for row, column in order:
                    mine = found[i, :, row, column]
                    best = max((t for t in truth if not t[6]), key=lambda t: overlap(mine, t[1:5]), default=None)
                    if best is not None and overlap(mine, best[1:5]) >= threshold:
                        best[6] = True
                        if not best[5]:
                            good += 1
                            right += (kind[i, row, column] > 0) == (best[0] > 0)
                    elif not any(t[5] and overlap(mine, t[1:5]) > 0 for t in truth):
                        wrong += 1
                missed += sum(1 for t in truth if not t[6] and not t[5])
    return good / max(1, good + wrong), good / max(1, good + missed), right / max(1, good)


def crop(frame, truth, random):
    """A part of a frame with what is asked for in it; as a rule one with an obstacle."""
    rows, columns = (GRID[i] - CROP[i] for i in (0, 1))
    row, column = random.integers(rows + 1), random.integers(columns + 1)
    centres = np.argwhere(truth[0] == 1)
    if len(centres) > 0 and random.random() < 0.85:
        centre = centres[random.integers(len(centres))]
        row, column = (int(np.clip(centre[i] - random.integers(CROP[i]), 0, (rows, columns)[i])) for i in (0, 1))
    height, width = CROP
    part = frame[row * CELL:(row + height) * CELL, column * CELL:(column + width) * CELL]
    cut = [t[..., row:row + height, column:column + width] for t in truth]
    cut[1] = cut[1] - np.array([column * CELL, row * CELL, 0, 0], np.float32)[:, None, None]
    return part, cut


def to_input(frames, device):
    batch = torch.from_numpy(np.array(frames)).to(device)
    return batch.permute(0, 3, 1, 2).float() / 255 - 0.5


def write(model, file):
    """In the order and layout of network.ts: [ky, kx, in, out], then the bias."""
    parts = []
    for layer in model.layers:
        parts += [layer.weight.detach().permute(2, 3, 1, 0).reshape(-1), layer.bias.detach()]
    torch.cat(parts).cpu().numpy().astype("<f4").tofile(file)


def read(model, file):
    values = torch.from_numpy(np.fromfile(file, dtype="<f4"))
    at = 0
    with torch.no_grad():
        for layer, (k, _, i, o) in zip(model.layers, LAYERS):
            count = k * k * i * o
            layer.weight.copy_(values[at:at + count].reshape(k, k, i, o).permute(3, 2, 0, 1))
            layer.bias.copy_(values[at + count:at + count + o])
            at += count + o


def calibrate(model, frames, boxes, device):
    """Moves the line between found and not found to where precision and recall are even, on frames of the training."""
    bias = model.layers[-1].bias
    begin, best = bias[0].item(), (0.0, 0.0)
    for shift in np.arange(-1.0, 2.6, 0.25):
        with torch.no_grad():
            bias[0] = begin + shift
        precision, recall, _ = quality(model, frames, boxes, device)
        best = max(best, (min(precision, recall), float(shift)))
    with torch.no_grad():
        bias[0] = begin + best[1]
    print(f"calibrated by {best[1]:+.2f}: precision and recall at least {best[0]:.3f} on frames of the training", flush=True)


def main():
    args = parse()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    random = np.random.default_rng(args.seed)
    frames, boxes, seeds = load(args.train)
    held, held_boxes, held_seeds = load(args.held_out)
    if seeds & held_seeds:
        raise SystemExit("train_demo_detector: --held-out must have other seeds than --train: a detector is not asked what it was told")
    truth = [targets(b) for b in boxes]
    model = Detector()
    if args.begin:
        read(model, args.begin)
    model.to(args.device)
    steps = args.epochs * (len(frames) // args.batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, step / 200) * (0.5 + 0.5 * math.cos(math.pi * min(1, step / max(1, steps)))))
    begin = time.monotonic()
    for epoch in range(args.epochs):
        order = random.permutation(len(frames))
        total = 0.0
        for at in range(0, len(order) - args.batch + 1, args.batch):
            picked = np.sort(order[at:at + args.batch])
            parts = [crop(frames[i], truth[i], random) for i in picked]
            batch = to_input(np.stack([part for part, _ in parts]), args.device)
            given = [torch.from_numpy(np.stack(t)).to(args.device) for t in zip(*(cut for _, cut in parts))]
            loss = loss_of(model(batch), *given)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        line = f"epoch {epoch + 1}/{args.epochs}: loss {total / (len(order) // args.batch):.3f}"
        if (epoch + 1) % 5 == 0 or epoch + 1 == args.epochs:
            precision, recall, right = quality(model, held[:200], held_boxes, args.device)
            line += f"; held out: precision {precision:.3f}, recall {recall:.3f}, class {right:.3f}"
            write(model, args.out)
        print(f"{line} ({time.monotonic() - begin:.0f} s)", flush=True)
    some = np.sort(random.permutation(len(frames))[:300])
    calibrate(model, frames[some], [boxes[i] for i in some], args.device)
    precision, recall, right = quality(model, held, held_boxes, args.device)
    write(model, args.out)
    print(f"{len(held)} held-out frames: precision {precision:.4f}, recall {recall:.4f}, class {right:.4f} (in PyTorch)")


if __name__ == "__main__":
    main()
