#!/usr/bin/env python3
"""The workloads of tests/bench.c in PyTorch, under the same names.

    python3 tests/bench_torch.py [--threads N] [--only PREFIX] [--channels-last]

prints name<TAB>seconds<TAB>unit, the median of five runs of at least 0.2 s. Run it and `bench` in turn, on a machine that does
nothing else, and divide. Two threads are not always faster here than one: try both, and take the better; so for
--channels-last, where there are images.
"""
import argparse
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


def seconds(work, least=0.2):
    work()
    work()
    n = 1
    while True:
        start = time.perf_counter()
        for _ in range(n):
            work()
        spent = time.perf_counter() - start
        if spent >= least:
            break
        n = max(2 * n, int(n * least / max(spent, 1e-9)) + 1)
    runs = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(n):
            work()
        runs.append((time.perf_counter() - start) / n)
    return statistics.median(runs)


def mlp(*sizes):
    layers = []
    for i, o in zip(sizes, sizes[1:]):
        layers += [nn.Linear(i, o), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def cnn():
    layers, shape = [], 3
    for out in (32, 32, 64, 64):
        layers += [nn.Conv2d(shape, out, 3, padding=1), nn.ReLU()] + ([nn.MaxPool2d(2)] if shape == out else [])
        shape = out
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 64, 256), nn.ReLU(), nn.Linear(256, 10))


def paper(width=32):
    layers, shape = [], 3
    for out in (width, 2 * width, 4 * width):
        for _ in range(2):
            layers += [nn.Conv2d(shape, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
            shape = out
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * width, 256), nn.ReLU(), nn.Linear(256, 10))


PIXELS, IMAGE = (784,), (3, 32, 32)
NETS = {"mlp": (lambda: mlp(784, 512, 512, 10), PIXELS), "lenet": (lambda: mlp(784, 300, 100, 10), PIXELS), "cnn": (cnn, IMAGE), "paper": (paper, IMAGE)}


def workloads(layout):
    """Yields name, a function that sets up and returns the work, unit. layout: of images in memory."""
    def images(batch, shape):
        x = torch.randn(batch, *shape)
        return x.contiguous(memory_format=layout) if len(shape) == 3 else x

    for m, n, k in ((64, 64, 64), (128, 512, 784), (32, 512, 784), (1024, 512, 784), (512, 512, 512), (1024, 1024, 1024)):
        def product(m=m, n=n, k=k):
            a, b = torch.randn(m, k), torch.randn(k, n)
            return lambda: torch.mm(a, b)
        yield f"gemm_{m}x{n}x{k}", product, "product"

    for tag, batches in (("mlp", (1, 8, 32, 128, 1024)), ("lenet", (1, 32, 128)), ("cnn", (8, 32, 128, 512)), ("paper", (32, 128, 1024))):
        for batch in batches:
            def train(tag=tag, batch=batch):
                net = NETS[tag][0]().to(memory_format=layout)
                sgd = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)
                x, y = images(batch, NETS[tag][1]), torch.randint(0, 10, (batch,))

                def step():
                    sgd.zero_grad(set_to_none=True)
                    F.cross_entropy(net(x), y).backward()
                    sgd.step()
                return step
            yield f"train_{tag}_b{batch}", train, "SGD step"

    for tag, batch in (("mlp", 1000), ("cnn", 500)):
        def infer(tag=tag, batch=batch):
            net, x = NETS[tag][0]().to(memory_format=layout).eval(), images(batch, NETS[tag][1])

            def forward():
                with torch.no_grad():
                    net(x)
            return forward
        yield f"infer_{tag}_b{batch}", infer, "forward pass"

    for tag, batch in (("mlp", 1000), ("cnn", 500), ("paper", 250)):
        def loss_and_parameters(tag=tag, batch=batch):
            net = NETS[tag][0]().to(memory_format=layout).eval()
            x, y = images(batch, NETS[tag][1]), torch.randint(0, 10, (batch,))
            return lambda: F.cross_entropy(net(x), y), list(net.parameters())

        def gradient(make=loss_and_parameters):
            loss, parameters = make()
            return lambda: torch.autograd.grad(loss(), parameters)
        yield f"grad_{tag}_b{batch}", gradient, "gradient"

        def hessian_product(make=loss_and_parameters):  # the gradient's graph is kept; a product is one more backward pass through it
            loss, parameters = make()
            v = [torch.randn_like(p) for p in parameters]
            g = torch.autograd.grad(loss(), parameters, create_graph=True)
            return lambda: torch.autograd.grad(g, parameters, grad_outputs=v, retain_graph=True)
        yield f"hvp_{tag}_b{batch}", hessian_product, "Hessian-vector product"
    for width in 256, 1024:
        def tangent_kernel(width=width):  # sums of (A A^T + 1) * (B B^T) over layers and outputs, as genreg_ntk; no Jacobians
            model, x = mlp(784, width, width, 10), torch.randn(200, 784)
            def gram():
                inputs, outputs, at = [], [], x
                for layer in model:
                    before, at = at, layer(at)
                    if isinstance(layer, nn.Linear):
                        inputs.append(before.detach())
                        outputs.append(at)
                forward = [a @ a.T + 1 for a in inputs]
                kernel = torch.zeros(200, 200)
                for o in range(10):
                    for a, b in zip(forward, torch.autograd.grad(at[:, o].sum(), outputs, retain_graph=True)):
                        kernel += a * (b @ b.T)
                return kernel / 10
            return gram
        yield f"ntk_mlp2_w{width}_n200", tangent_kernel, "Gram matrix"


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--only", default="", metavar="PREFIX")
    options.add_argument("--channels-last", action="store_true", help="images as [n, height, width, channels] in memory")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"PyTorch {torch.__version__}, {options.threads} threads", file=sys.stderr)
    for name, setup, unit in workloads(torch.channels_last if options.channels_last else torch.contiguous_format):
        if name.startswith(options.only):
            print(f"{name}\t{seconds(setup()):.6e}\t{unit}", flush=True)
