/* clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all tests/fuzz_idx.c -o fuzz_idx -lm && ./fuzz_idx tests/corpus/idx

   The input is an IDX pair: two bytes with the length of the images' file, that file, and the labels' file. A set that is taken can be trained on. */
#define GENREG_STATIC /* the compiler drops what is not used, which is nearly all */
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    const char *images = fuzz_path("images"), *labels = fuzz_path("labels");
    genreg_ctx *c = genreg_create(NULL);
    genreg_dataset d;
    size_t first;
    if (size < 2) { genreg_destroy(c); return 0; }
    first = (size_t)data[0] << 8 | data[1];
    if (first > size - 2) first = size - 2;
    fuzz_put(images, data + 2, first);
    fuzz_put(labels, data + 2 + first, size - 2 - first);
    d = genreg_load_idx(c, images, labels, 10, NULL, NULL);
    fuzz_expect(c, d.n > 0);
    if (d.n) {
        genreg_batch b = genreg_get_batch(c, &d, NULL, 0, d.n < 8 ? d.n : 8);
        ptrdiff_t i;
        fuzz_require(b.x != NULL);
        for (i = 0; i < b.x->size; i++) fuzz_require(b.x->data[i] >= 0 && b.x->data[i] <= 1);
        for (i = 0; i < d.n; i++) fuzz_require(d.labels[i] >= 0 && d.labels[i] < d.classes);
    }
    remove(images);
    remove(labels);
    genreg_destroy(c);
    return 0;
}
