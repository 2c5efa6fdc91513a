#!/usr/bin/env python3
"""What NumPy makes of .npy files; test_files.c runs this on what the library writes, and reads what it writes.

    python3 tests/check_npy.py read FILE DTYPE SHAPE     FILE is a DTYPE array of SHAPE (3x4, or - for a scalar) with values i -> (i - 3) / 7,
                                                         then -0, inf, -inf and nan in the last four, where there are more than four
    python3 tests/check_npy.py write FILE DTYPE SHAPE    writes such an array; DTYPE may be of either byte order

Without NumPy it says so and exits with status 77; else with 0 if all is well, or 1 and what is wrong.
"""
import sys

try:
    import numpy
except ImportError:
    print("no numpy")
    sys.exit(77)


def expected(dtype, shape):
    n = int(numpy.prod(shape))
    x = ((numpy.arange(n, dtype="f8") - 3) / 7).astype(dtype)
    if n > 4:
        x[-4:] = [-0.0, numpy.inf, -numpy.inf, numpy.nan]
    return x.reshape(shape)


def main(what, path, dtype, shape):
    shape = tuple(int(n) for n in shape.split("x")) if shape != "-" else ()
    x = expected(dtype, shape)
    if what == "write":
        with open(path, "wb") as f:
            numpy.lib.format.write_array(f, x, version=(1, 0))
        return 0
    y = numpy.load(path, allow_pickle=False)
    with open(path, "rb") as f:
        head = f.read(10)
    start = 10 + head[8] + 256 * head[9]
    for condition, complaint in (
            (y.dtype == numpy.dtype(dtype), "the type is %s" % y.dtype), (y.shape == shape, "the shape is %s" % (y.shape,)),
            (y.flags.c_contiguous, "not in C order"), (head[6:8] == b"\1\0", "version %d.%d" % (head[6], head[7])),
            (start % 64 == 0, "the values begin at byte %d" % start),
            (y.tobytes() == x.tobytes(), "the values are %s" % y)):
        if not condition:
            print("%s: %s" % (path, complaint))
            return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 5 or sys.argv[1] not in ("read", "write"):
        print(__doc__)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
