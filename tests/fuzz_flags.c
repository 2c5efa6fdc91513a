/* clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all tests/fuzz_flags.c -o fuzz_flags -lm && ./fuzz_flags tests/corpus/flags

   The input is an example's command line, a word a line, and after an empty line the rows that are there already. -DEXAMPLE='"../examples/NAME.c"'
   chooses another example. Nothing is trained: --report goes in front. What the example says and its exit status (0, 1 or 2) are its
   own; it must not crash. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

/* A program may leave through exit without freeing anything. Here that is a jump, after which what is left is freed. */
typedef union block { struct { union block *previous, *next; } link; double align[4]; } block;
static block blocks = { { &blocks, &blocks } };
static jmp_buf way_out;

static void unlink_block(block *b)
{
    b->link.previous->link.next = b->link.next;
    b->link.next->link.previous = b->link.previous;
}

static void *link_block(block *b)
{
    if (!b) return NULL;
    b->link.previous = &blocks;
    b->link.next = blocks.link.next;
    b->link.next->link.previous = blocks.link.next = b;
    return b + 1;
}

static void *fuzz_malloc(size_t n) { return n > (size_t)1 << 28 ? NULL : link_block((block *)malloc(sizeof(block) + n)); }

static void fuzz_free(void *p)
{
    if (!p) return;
    unlink_block((block *)p - 1);
    free((block *)p - 1);
}

static void *fuzz_realloc(void *p, size_t n)
{
    block *b;
    if (!p) return fuzz_malloc(n);
    if (n > (size_t)1 << 28) return NULL;
    unlink_block((block *)p - 1);
    b = (block *)realloc((block *)p - 1, sizeof(block) + n);
    if (!b) abort();
    return link_block(b);
}

static void *fuzz_calloc(size_t n, size_t size)
{
    void *p = size && n > ((size_t)1 << 28) / size ? NULL : fuzz_malloc(n * size);
    return p ? memset(p, 0, n * size) : NULL;
}

static void leave(int status)
{
    if (status < 0 || status > 2) abort();
    longjmp(way_out, 1);
}

#define malloc(n) fuzz_malloc(n)
#define calloc(n, size) fuzz_calloc(n, size)
#define realloc(p, n) fuzz_realloc(p, n)
#define free(p) fuzz_free(p)
#define exit(status) leave(status)
#define main example_main
#ifndef EXAMPLE
#define EXAMPLE "../examples/batch_size.c"
#endif
#include EXAMPLE
#undef main
#include "fuzz.h"

/* A folder with an MNIST of 20 tiny images, so that a run begins within a moment. */
static const char *data_folder(void)
{
    static char folder[256];
    static const char *const parts[] = { "train", "t10k" };
    unsigned char images[16 + 20 * 784] = { 0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 28, 0, 0, 0, 28 }, labels[28] = { 0, 0, 8, 1, 0, 0, 0, 20 };
    char path[400];
    int i;
    if (*folder) return folder;
    strcpy(folder, fuzz_path("data"));
    mkdir(folder, 0700);
    snprintf(path, sizeof path, "%s/mnist", folder);
    mkdir(path, 0700);
    for (i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/mnist/%s-images-idx3-ubyte", folder, parts[i]);
        fuzz_put(path, images, sizeof images);
        snprintf(path, sizeof path, "%s/mnist/%s-labels-idx1-ubyte", folder, parts[i]);
        fuzz_put(path, labels, sizeof labels);
    }
    if (!freopen("/dev/null", "w", stdout)) abort();
    return folder;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    enum { WORDS = 64 };
    static const char *const first[] = { "example", "--report", "--data", "", "--out", "" };
    char out[256], rows[400], *text, *argv[WORDS], *p, *end;
    int argc, status;
    if (size > 4000) return 0;
    strcpy(out, fuzz_path("out"));
    mkdir(out, 0700);
    snprintf(rows, sizeof rows, "%s/%s", out, strrchr(EXAMPLE, '/') + 1);
    strcpy(strrchr(rows, '.'), ".jsonl");
    for (argc = 0; argc < 6; argc++) {
        const char *word = argc == 3 ? data_folder() : argc == 5 ? out : first[argc];
        argv[argc] = strcpy((char *)malloc(strlen(word) + 1), word); /* the example cuts them up */
    }
    text = (char *)malloc(size + 1);
    memcpy(text, data, size);
    text[size] = 0;
    for (p = text; *p && *p != '\n' && argc + 1 < WORDS; p = end ? end + 1 : p + strlen(p)) {
        end = strchr(p, '\n');
        if (end) *end = 0;
        if (strncmp(p, "--out", 5) && strncmp(p, "--save", 6)) argv[argc++] = p; /* nothing is written elsewhere */
    }
    argv[argc] = NULL;
    if (*p == '\n') fuzz_put(rows, (unsigned char *)p + 1, strlen(p + 1));
    if (!setjmp(way_out)) {
        status = example_main(argc, argv);
        fuzz_require(status == 0 || status == 1);
    }
    while (blocks.link.next != &blocks) free(blocks.link.next + 1);
    remove(rows);
    return 0;
}
