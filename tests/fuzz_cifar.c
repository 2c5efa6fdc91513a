/* clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all tests/fuzz_cifar.c -o fuzz_cifar -lm && ./fuzz_cifar tests/corpus/cifar

   The input is a byte and the beginning of a CIFAR-10 batch. If the byte is odd, zeros follow up to the full size of 30 MB. As it takes long to read
   those, all but one in 256 such inputs, by their sum, have one record of zeros alone: the label behind it is none, and there the reader stops. */
#include <stdlib.h>

/* 30 MB are asked for each time, whatever is in the file: fresh ones would take longer than all else. They are poisoned while nobody has them. */
#include <sanitizer/asan_interface.h>
static void *pixels;
static size_t pixel_bytes;
static int pixels_taken;

static void *fuzz_malloc(size_t n)
{
    if (n < (size_t)1 << 24 || pixels_taken || (pixels && n != pixel_bytes)) return malloc(n);
    if (!pixels) pixels = malloc(pixel_bytes = n);
    if (pixels) __asan_unpoison_memory_region(pixels, n);
    pixels_taken = pixels != NULL;
    return pixels;
}

static void fuzz_free(void *p)
{
    if (!p || p != pixels) { free(p); return; }
    if (!pixels_taken) abort(); /* freed twice */
    __asan_poison_memory_region(pixels, pixel_bytes);
    pixels_taken = 0;
}

#define GENREG_MALLOC(n) fuzz_malloc(n)
#define GENREG_REALLOC(p, n) realloc(p, n)
#define GENREG_FREE(p) fuzz_free(p)
#define GENREG_STATIC /* the compiler drops what is not used, which is nearly all */
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    enum { RECORD = 3073, RECORDS = 10000 };
    char folder[256], path[300];
    genreg_ctx *c;
    genreg_dataset test;
    size_t n = size ? size - 1 : 0, i;
    unsigned sum = 0;
    int filled = size && data[0] % 2, whole, taken;
    if (n > RECORD * 100) return 0;
    for (i = 0; i < size; i++) sum += data[i];
    whole = filled && sum % 256 == 0;
    strcpy(folder, fuzz_path("cifar"));
    mkdir(folder, 0700);
    snprintf(path, sizeof path, "%s/test_batch.bin", folder);
    fuzz_put(path, data + (size > 0), n);
    if (filled && truncate(path, RECORD * RECORDS) != 0) abort();
    if (filled && !whole) {
        FILE *f = fopen(path, "r+b");
        if (!f || fseek(f, (long)(n / RECORD + 2) * RECORD, SEEK_SET) != 0 || putc(10, f) == EOF) abort();
        fclose(f);
    }
    for (i = 0; i < n; i += RECORD) whole = whole && data[1 + i] < 10;
    c = genreg_create(NULL);
    taken = genreg_load_cifar10(c, folder, NULL, &test);
    fuzz_expect(c, taken);
    fuzz_require(taken == whole && test.n == (whole ? RECORDS : 0));
    for (i = 0; i < (size_t)test.n; i++) fuzz_require(test.labels[i] == (i * RECORD < n ? data[1 + i * RECORD] : 0));
    remove(path);
    rmdir(folder);
    genreg_destroy(c);
    return 0;
}
