/* clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all tests/fuzz_npy.c -o fuzz_npy -lm && ./fuzz_npy tests/corpus/npy

   The input is a .npy file. What is taken must come back, to the bit, from a file of our own. */
#define GENREG_STATIC /* the compiler drops what is not used, which is nearly all */
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    const char *path = fuzz_path("x.npy");
    genreg_ctx *c = genreg_create(NULL);
    genreg_tensor *x, *y;
    double *values;
    int rank, shape[GENREG_MAX_RANK];
    fuzz_put(path, data, size);
    x = genreg_load_npy(c, path);
    fuzz_expect(c, x != NULL);
    genreg_clear_error(c); /* else the next call would do nothing, whatever the file */
    values = genreg_load_npy_doubles(c, path, &rank, shape);
    fuzz_expect(c, values != NULL);
    fuzz_require((x != NULL) == (values != NULL)); /* what is an array is one for both */
    if (x) {
        ptrdiff_t i;
        for (i = 0; i < x->size; i++) fuzz_require(x->data[i] == (genreg_real)values[i] || (x->data[i] != x->data[i] && values[i] != values[i]));
        fuzz_require(x->rank == rank && !memcmp(x->shape, shape, (size_t)rank * sizeof *shape));
        fuzz_require(genreg_save_npy(c, path, x->rank, x->shape, x->data));
        y = genreg_load_npy(c, path);
        fuzz_require(y && y->size == x->size && !memcmp(y->data, x->data, (size_t)x->size * sizeof *x->data));
    }
    remove(path);
    genreg_destroy(c);
    return 0;
}
