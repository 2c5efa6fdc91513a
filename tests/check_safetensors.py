#!/usr/bin/env python3
"""Reads a safetensors file by its specification, with nothing but the standard library, and is strict about it:

    python3 tests/check_safetensors.py FILE [EXPECTED]

The first 8 bytes are the header's length, little-endian; the header is one JSON object that begins with "{" and may end with spaces;
each tensor has a dtype, a shape and two offsets; the tensors cover the rest of the file without holes or overlaps; the metadata are
strings. A mask "genreg.mask.NAME" is of booleans, has the shape of NAME, and NAME is 0 wherever it is false. EXPECTED (blocks of a name, a count and numbers, as in tests/fixtures) holds "shape", "x" and "outputs": then the net that the
metadata describe is computed as PyTorch would, from images as [n, channels, height, width] and weights as [out, in], and compared.
test_files.c runs this on what the library writes. Exit status 0 and one line if all is well, else 1 and what is wrong.
"""
import json
import math
import struct
import sys

WIDTH = {"F32": (4, "f"), "F64": (8, "d"), "BOOL": (1, "B")}
MASK = "genreg.mask."


class Bad(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Bad(what)


def once(pairs):
    keys = [k for k, _ in pairs]
    need(len(set(keys)) == len(keys), "a key stands twice in one object: %s" % sorted(k for k in keys if keys.count(k) > 1)[:1])
    return dict(pairs)


def read(path):
    with open(path, "rb") as f:
        whole = f.read()
    need(len(whole) >= 8, "shorter than its header's length field")
    length, = struct.unpack("<Q", whole[:8])
    need(length <= 100000000 and 8 + length <= len(whole), "a header of %d bytes in a file of %d" % (length, len(whole)))
    text, data = whole[8:8 + length], whole[8 + length:]
    need(text[:1] == b"{", "the header does not begin with {")
    need(text.rstrip(b" ").endswith(b"}"), "the header ends with something other than spaces")
    need(length % 8 == 0, "the values are not aligned to 8 bytes")

    def no_constant(name):
        raise Bad("%s is no JSON" % name)

    header = json.loads(text.decode("utf-8"), object_pairs_hook=once, parse_constant=no_constant)
    metadata = header.pop("__metadata__", {})
    need(isinstance(metadata, dict) and all(isinstance(k, str) and isinstance(v, str) for k, v in metadata.items()), "metadata other than strings")
    tensors, at = {}, 0
    for name, t in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        need(set(t) == {"dtype", "shape", "data_offsets"}, "%s has the keys %s" % (name, sorted(t)))
        need(t["dtype"] in WIDTH, "%s is %s" % (name, t["dtype"]))
        need(all(type(n) is int and n >= 0 for n in t["shape"] + t["data_offsets"]), "%s has a number that is none" % name)
        begin, end = t["data_offsets"]
        width, letter = WIDTH[t["dtype"]]
        count = math.prod(t["shape"])
        need(begin == at, "%s begins at %d where %d is next: a hole or an overlap" % (name, begin, at))
        need(end - begin == count * width, "%s has %d bytes for the shape %s" % (name, end - begin, t["shape"]))
        need(end <= len(data), "%s ends behind the file's end" % name)
        tensors[name] = (t["shape"], struct.unpack("<%d%s" % (count, letter), data[begin:end]), t["dtype"])
        at = end
    need(at == len(data), "%d bytes follow the last tensor" % (len(data) - at))
    for name, (shape, values, dtype) in tensors.items():
        need((dtype == "BOOL") == name.startswith(MASK), "%s is %s" % (name, dtype))
        if dtype == "BOOL":
            need(set(values) <= {0, 1} and 0 in values, "%s has other values than 0 and 1, or prunes nothing" % name)
            masked = tensors.get(name[len(MASK):])
            need(masked and masked[0] == shape, "%s is the mask of no tensor of its shape" % name)
            need(all(kept or w == 0 for kept, w in zip(values, masked[1])), "%s: what it prunes is not 0" % name)
            need(sum(values) <= sum(w != 0 for w in masked[1]) + 1, "%s: more is 0 than what it prunes" % name)
    return metadata, tensors


def blocks(path):
    words, found = [], {}
    with open(path) as f:
        for line in f:
            words += line.split("#")[0].split()
    while words:
        name, n = words[0], int(words[1])
        found[name] = [float(w) for w in words[2:2 + n]]
        words = words[2 + n:]
    return found


def convolve(x, dims, weight, bias, stride, padding):
    (out, inputs, size, _), w, _ = weight
    channels, height, width = dims
    need(inputs == channels, "a convolution of %d channels for an image of %d" % (inputs, channels))
    rows, columns = (height + 2 * padding - size) // stride + 1, (width + 2 * padding - size) // stride + 1
    y = []
    for o in range(out):
        for r in range(rows):
            for c in range(columns):
                total = bias[o]
                for i in range(channels):
                    for a in range(size):
                        for b in range(size):
                            at, to = r * stride + a - padding, c * stride + b - padding
                            if 0 <= at < height and 0 <= to < width:
                                total += x[(i * height + at) * width + to] * w[((o * inputs + i) * size + a) * size + b]
                y.append(total)
    return y, (out, rows, columns)


def pool(x, dims, size, function):
    channels, height, width = dims
    rows, columns = height // size, width // size
    y = [function([x[(i * height + r * size + a) * width + c * size + b] for a in range(size) for b in range(size)])
         for i in range(channels) for r in range(rows) for c in range(columns)]
    return y, (channels, rows, columns)


def mean(values):
    return sum(values) / len(values)


def run(metadata, tensors, sample):
    """One sample, in PyTorch's order of values, through the layers that the metadata name, in evaluation mode."""
    words = metadata["genreg.architecture"].split(" ")
    shape = [int(n) for n in words[0].split("x")]
    dims = (shape[2], shape[0], shape[1]) if len(shape) == 3 else None  # channels, height, width
    scope, number, x = "", 0, sample
    for word in words[1:]:
        kind, _, argument = word.partition(":")
        if word[0] == "@":
            scope, number = word[1:] + "." if len(word) > 1 else "", 0
            continue
        name = "%s%d." % (scope, number)
        if kind == "linear":
            (out, inputs), w, _ = tensors[name + "weight"]
            _, b, _ = tensors[name + "bias"]
            need(inputs == len(x) and out == int(argument), "%sweight is %d x %d for %d inputs" % (name, out, inputs, len(x)))
            x = [sum(w[o * inputs + i] * x[i] for i in range(inputs)) + b[o] for o in range(out)]
        elif kind == "conv2d":
            out, size, stride, padding = [int(n) for n in argument.split(",")]
            need(tensors[name + "weight"][0][2:] == [size, size] and tensors[name + "weight"][0][0] == out, "%sweight is %s" % (name, tensors[name + "weight"][0]))
            x, dims = convolve(x, dims, tensors[name + "weight"], tensors[name + "bias"][1], stride, padding)
        elif kind == "batch_norm":
            gamma, beta, average, variance = [tensors[name + t][1] for t in ("weight", "bias", "running_mean", "running_var")]
            area = len(x) // len(gamma)
            x = [gamma[i // area] * (v - average[i // area]) / math.sqrt(variance[i // area] + 1e-5) + beta[i // area] for i, v in enumerate(x)]
        elif kind in ("max_pool", "avg_pool"):
            x, dims = pool(x, dims, int(argument), max if kind == "max_pool" else mean)
        elif kind == "global_avg_pool":
            area = dims[1] * dims[2]
            x = [mean(x[i * area:(i + 1) * area]) for i in range(dims[0])]
        elif kind == "relu":
            x = [max(v, 0.0) for v in x]
        elif kind == "tanh":
            x = [math.tanh(v) for v in x]
        elif kind == "sigmoid":
            x = [1 / (1 + math.exp(-v)) for v in x]
        else:
            need(kind in ("flatten", "dropout"), "an unknown layer %s" % word)
        number += 1
    return x


def main(arguments):
    try:
        metadata, tensors = read(arguments[0])
        what = "%d tensors, %d values" % (len(tensors), sum(len(t[1]) for t in tensors.values()))
        if len(arguments) > 1:
            expected = blocks(arguments[1])
            n = int(expected["shape"][0])
            size, out = len(expected["x"]) // n, len(expected["outputs"]) // n
            tolerance = 1e-10 if all(t[2] != "F32" for t in tensors.values()) else 1e-4
            for i in range(n):
                y = run(metadata, tensors, expected["x"][i * size:(i + 1) * size])
                for a, b in zip(y, expected["outputs"][i * out:(i + 1) * out]):
                    need(abs(a - b) <= tolerance * (1 + abs(b)), "sample %d: %.12g where %.12g is expected" % (i, a, b))
            what += ", %d samples agree" % n
        print("%s: %s" % (arguments[0], what))
        return 0
    except (Bad, OSError, ValueError, KeyError, TypeError, IndexError, UnicodeDecodeError, struct.error) as e:
        print("%s: %s: %s" % (arguments[0], type(e).__name__, e))
        return 1


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        print(__doc__)
        sys.exit(2)
    sys.exit(main(sys.argv[1:]))
