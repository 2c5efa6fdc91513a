/* clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all tests/fuzz_cifar.c -o fuzz_cifar -lm && ./fuzz_cifar tests/corpus/cifar

   The input is the beginning of a CIFAR-10 batch; if its first byte is even, what is missing to the full size of 30 MB follows as zeros. */
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    char folder[256], path[300];
    genreg_ctx *c = genreg_create(NULL);
    genreg_dataset test;
    int i;
    strcpy(folder, fuzz_path("cifar"));
    mkdir(folder, 0700);
    snprintf(path, sizeof path, "%s/test_batch.bin", folder);
    fuzz_put(path, data, size);
    if (size && data[0] % 2 == 0 && truncate(path, 30730000) != 0) abort();
    i = genreg_load_cifar10(c, folder, NULL, &test);
    fuzz_expect(c, i);
    fuzz_require(i == (test.n == 10000));
    for (i = 0; i < test.n; i++) fuzz_require(test.labels[i] >= 0 && test.labels[i] < 10);
    remove(path);
    rmdir(folder);
    genreg_destroy(c);
    return 0;
}
