#!/usr/bin/env python3
"""The workloads of tests/bench.c in PyTorch, under the same names.

    python3 tests/bench_torch.py [--threads N] [--only PREFIX]

prints name<TAB>seconds<TAB>unit, the median of five runs of at least 0.2 s. Run it and `bench` in turn, on a machine that does
nothing else, and divide. Two threads are not always faster here than one: try both, and take the better.
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


def workloads():
    """Yields name, a function that sets up and returns the work, unit."""
    for m, n, k in ((64, 64, 64), (128, 512, 784), (32, 512, 784), (1024, 512, 784), (512, 512, 512), (1024, 1024, 1024)):
        def product(m=m, n=n, k=k):
            a, b = torch.randn(m, k), torch.randn(k, n)
            return lambda: torch.mm(a, b)
        yield f"gemm_{m}x{n}x{k}", product, "product"

    for tag, sizes, batches in (("mlp", (784, 512, 512, 10), (1, 8, 32, 128, 1024)), ("lenet", (784, 300, 100, 10), (1, 32, 128))):
        for batch in batches:
            def train(sizes=sizes, batch=batch):
                net = mlp(*sizes)
                sgd = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)
                x, y = torch.randn(batch, 784), torch.randint(0, 10, (batch,))

                def step():
                    sgd.zero_grad(set_to_none=True)
                    F.cross_entropy(net(x), y).backward()
                    sgd.step()
                return step
            yield f"train_{tag}_b{batch}", train, "SGD step"

    def infer():
        net, x = mlp(784, 512, 512, 10), torch.randn(1000, 784)

        def forward():
            with torch.no_grad():
                net(x)
        return forward
    yield "infer_mlp_b1000", infer, "forward pass"

    def loss_and_parameters():
        net = mlp(784, 512, 512, 10)
        x, y = torch.randn(1000, 784), torch.randint(0, 10, (1000,))
        return lambda: F.cross_entropy(net(x), y), list(net.parameters())

    def gradient():
        loss, parameters = loss_and_parameters()
        return lambda: torch.autograd.grad(loss(), parameters)
    yield "grad_mlp_b1000", gradient, "gradient"

    def hessian_product():  # the gradient's graph is kept; a product is one more backward pass through it
        loss, parameters = loss_and_parameters()
        v = [torch.randn_like(p) for p in parameters]
        g = torch.autograd.grad(loss(), parameters, create_graph=True)
        return lambda: torch.autograd.grad(g, parameters, grad_outputs=v, retain_graph=True)
    yield "hvp_mlp_b1000", hessian_product, "Hessian-vector product"


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--only", default="", metavar="PREFIX")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"PyTorch {torch.__version__}, {options.threads} threads", file=sys.stderr)
    for name, setup, unit in workloads():
        if name.startswith(options.only):
            print(f"{name}\t{seconds(setup()):.6e}\t{unit}", flush=True)
