/* clang -g -O0 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -DGENREG_NO_SIMD tests/fuzz_flags.c -o fuzz_flags -lm && ./fuzz_flags tests/corpus/flags

   The input is an example's command line, a word a line; after an empty line the rows that are there already; and after a 0 byte the header of the
   safetensors file that --checkpoint and --mask name, whatever word follows them; weights are put behind it. -DEXAMPLE='"../examples/NAME.c"'
   chooses another example. Nothing is trained: --report goes in front. What the example says and its exit status (0, 1 or 2) are its own; it must
   not crash. Without SIMD and -O, as five of these are built for each run of fuzz.sh, and what counts is read, not computed. */
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

/* Which of genreg.h's lines were reached is no news: left out, that makes an execution cheaper and lets the fuzzer see the rest. */
#define GENREG_STATIC
#define GENREG_IMPLEMENTATION
#define malloc(n) fuzz_malloc(n)
#define calloc(n, size) fuzz_calloc(n, size)
#define realloc(p, n) fuzz_realloc(p, n)
#define free(p) fuzz_free(p)
#define exit(status) leave(status)
#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)
#include "../genreg.h"
#pragma clang attribute pop
#define main example_main
#ifndef EXAMPLE
#define EXAMPLE "../examples/batch_size.c"
#endif
#include EXAMPLE
#undef main
#include "fuzz.h"

/* Command lines that train all of a report within a moment; what they leave is where fuzzing begins, so that it begins behind the first test of a row. */
static const struct { const char *example, *words; } reports[] = {
    { "batch_size", "--epochs\n1\n--batches\n16,64\n--widths\n8\n--seeds\n2\n" },
    { "landscape", "--width\n1\n--train\n2\n--epochs\n1\n--hessian-images\n1\n--hessian-products\n20\n--noise-images\n1\n--draws\n1\n--seeds\n1\n" },
    { "landscape", "--checkpoint\n-\n--train\n2\n--hessian-images\n1\n--hessian-products\n20\n--noise-images\n1\n--draws\n1\n" },
    { "lottery", "--width\n1\n--train\n2\n--epochs\n1\n--levels\n50,20\n--controls\nreinit,shuffle,random\n--instability\n--seeds\n2\n" },
    { "lottery", "--mask\n-\n--width\n1\n--train\n2\n--epochs\n1\n--controls\nnone\n--seeds\n2\n" },
    { "double_descent", "--widths\n2,4\n--epochs\n1\n--label-noise\n.2\n--seeds\n2\n" },
    { "double_descent", "--belkin\n--widths\n1,2\n--epochs\n2\n--seeds\n2\n" },
    { "ntk", "--widths\n2,4\n--param\nstandard,ntk\n--linear\n--kernel-images\n5\n--epochs\n1\n--seeds\n2\n" },
};
enum { REPORTS = sizeof reports / sizeof reports[0], MOST = 1 << 15 /* bytes of an input */ };

static unsigned char model[1 << 17]; /* a safetensors file: 8 bytes of the header's length, the header, the weights */
static size_t model_size, model_head;
static char in_folder[256], out_folder[256], rows_file[400], plot_file[400], model_file[400];
static const char *const parts[] = { "train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1" };

static void clean_up(void)
{
    char path[400];
    int i;
    for (i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/mnist/%s-ubyte", in_folder, parts[i]);
        remove(path);
    }
    snprintf(path, sizeof path, "%s/mnist", in_folder);
    rmdir(path);
    rmdir(in_folder);
    strcpy(path, rows_file);
    strcpy(strrchr(path, '.'), ".lock");
    remove(path);
    remove(rows_file);
    remove(plot_file);
    remove(model_file);
    rmdir(out_folder);
}

/* The folders: for what an example writes, and one with an MNIST of 20 and 4 images, so that a run begins within a moment. */
static void make_folders(void)
{
    unsigned char images[16 + 20 * 784] = { 0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, 28, 0, 0, 0, 28 }, labels[8 + 20] = { 0, 0, 8, 1 };
    const char *name = strrchr(EXAMPLE, '/') + 1;
    char path[400];
    int i;
    for (i = 16; i < (int)sizeof images; i++) images[i] = (unsigned char)(i * 37 % 251);
    for (i = 8; i < (int)sizeof labels; i++) labels[i] = (unsigned char)(i % 10);
    strcpy(in_folder, fuzz_path("data"));
    strcpy(out_folder, fuzz_path("out"));
    snprintf(rows_file, sizeof rows_file, "%s/%.*s.jsonl", out_folder, (int)strcspn(name, "."), name);
    snprintf(plot_file, sizeof plot_file, "%s/%.*s.svg", out_folder, (int)strcspn(name, "."), name);
    snprintf(model_file, sizeof model_file, "%s/model", out_folder);
    mkdir(in_folder, 0700);
    mkdir(out_folder, 0700);
    atexit(clean_up);
    snprintf(path, sizeof path, "%s/mnist", in_folder);
    mkdir(path, 0700);
    for (i = 0; i < 4; i++) {
        int n = i < 2 ? 20 : 4;
        images[7] = labels[7] = (unsigned char)n;
        snprintf(path, sizeof path, "%s/mnist/%s-ubyte", in_folder, parts[i]);
        fuzz_put(path, i % 2 ? labels : images, (size_t)(i % 2 ? 8 + n : 16 + n * 784));
    }
    if (!freopen("/dev/null", "w", stdout)) abort();
}

static char *text_copy(const char *s, size_t n)
{
    char *copy = (char *)malloc(n + 1);
    if (!copy) abort();
    memcpy(copy, s, n);
    copy[n] = 0;
    return copy;
}

/* Runs the example on an input. Returns whether it came to its end. */
static int run_example(const char *data, size_t size, int report)
{
    enum { WORDS = 64 };
    const char *const first[] = { "example", "--data", in_folder, "--out", out_folder, "--report" };
    char *text, *argv[WORDS], *p, *end;
    int argc, status = 1;
    for (argc = 0; argc < 5 + report; argc++) argv[argc] = text_copy(first[argc], strlen(first[argc])); /* the example cuts them up */
    text = text_copy(data, size);
    for (p = text; *p && *p != '\n' && argc + 1 < WORDS; p = end ? end + 1 : p + strlen(p)) {
        end = strchr(p, '\n');
        if (end) *end = 0;
        if (!strcmp(argv[argc - 1], "--checkpoint") || !strcmp(argv[argc - 1], "--mask")) argv[argc++] = text_copy(model_file, strlen(model_file));
        else if (strncmp(p, "--out", 5) && strncmp(p, "--save", 6)) argv[argc++] = p; /* nothing is written elsewhere */
    }
    argv[argc] = NULL;
    if (report) {
        const char *rows = *p == '\n' ? p + 1 : "", *head = rows + strlen(rows) + 1;
        remove(plot_file);
        remove(rows_file);
        remove(model_file);
        if (*p == '\n') fuzz_put(rows_file, (const unsigned char *)rows, strlen(rows));
        if (*p == '\n' && head <= text + size) {
            FILE *f = fopen(model_file, "wb");
            if (!f || fwrite(head, 1, (size_t)(text + size - head), f) + fwrite(model + model_head, 1, model_size - model_head, f) == 0) abort();
            fclose(f);
        }
    }
    if (!setjmp(way_out)) {
        status = example_main(argc, argv);
        fuzz_require(status == 0 || status == 1);
    }
    while (blocks.link.next != &blocks) free(blocks.link.next + 1);
    return status == 0;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size <= MOST) run_example((const char *)data, size, 1);
    return 0;
}

/* A model of CNN(1) that both --checkpoint and --mask take. */
static void prepare_model(void)
{
    static const int shape[] = { 32, 32, 1 };
    genreg_ctx *c = genreg_create(NULL);
    genreg_model *m = genreg_cnn(c, shape, 1, 1, 10);
    genreg_init(m, GENREG_INIT_PYTORCH, 1);
    fuzz_require(genreg_prune(m, 0.5, NULL) > 0 && genreg_save_model(m, model_file));
    genreg_destroy(c);
    model_size = fuzz_get(model_file, model, sizeof model);
    model_head = 8 + (size_t)(model[0] | model[1] << 8);
    fuzz_require(model_size < sizeof model && model_head < model_size);
}

static void require_report(int condition, int which, const char *what)
{
    if (condition) return;
    fprintf(stderr, "fuzz_flags: %s, report %d: %s\n", EXAMPLE, which, what);
    abort();
}

/* If a folder is named, the command lines above are trained and go there, each with the rows it has left. Of those rows alone must come the plot that
   the run itself has drawn: else nothing behind a row's first test would be fuzzed. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static unsigned char input[MOST], plot[2][1 << 20];
    const char *folder = NULL, *name = strrchr(EXAMPLE, '/') + 1;
    struct stat what;
    int i, found = 0;
    for (i = *argc - 1; i > 0; i--)
        if ((*argv)[i][0] != '-' && stat((*argv)[i], &what) == 0 && S_ISDIR(what.st_mode)) folder = (*argv)[i];
    make_folders();
    prepare_model();
    for (i = 0; i < REPORTS && folder; i++) {
        size_t n = strlen(reports[i].words), named = strlen(reports[i].example), drawn;
        char path[400];
        if (strncmp(name, reports[i].example, named) || name[named] != '.') continue;
        remove(rows_file);
        fuzz_put(model_file, model, model_size);
        require_report(run_example(reports[i].words, n, 0), i, "not trained");
        drawn = fuzz_get(plot_file, plot[0], sizeof plot[0]);
        memcpy(input, reports[i].words, n);
        input[n++] = '\n';
        n += fuzz_get(rows_file, input + n, sizeof input - n);
        require_report(n + 1 + model_head < sizeof input, i, "longer than an input may be");
        if (strstr(reports[i].words, "\n-\n")) {
            input[n++] = 0;
            memcpy(input + n, model, model_head);
            n += model_head;
        }
        require_report(run_example((const char *)input, n, 1), i, "no report");
        require_report(fuzz_get(plot_file, plot[1], sizeof plot[1]) == drawn && !memcmp(plot[0], plot[1], drawn), i, "another plot");
        snprintf(path, sizeof path, "%s/report%d", folder, i);
        fuzz_put(path, input, n);
        found++;
    }
    require_report(found || !folder, -1, "there is no command line for it in fuzz_flags.c");
    return 0;
}
