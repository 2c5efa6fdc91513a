/* test_memory.c - what happens when memory or a file gives out: every allocation and every file operation of the jobs below is made to fail in turn.

      cc -O2 tests/test_memory.c -o test_memory -lm && ./test_memory          (or with -DGENREG_REAL=double)

   Each time there must be an error, nothing may leak, a file that was there must be as it was, and once the error is cleared the same
   context must do the same job. A floor that takes memory or files has its jobs in the table at the end. */
#if defined(__unix__) || defined(__APPLE__)
#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 600
#endif
#include <sys/stat.h>
#include <unistd.h>
#define HAVE_POSIX 1
#else
#define HAVE_POSIX 0
#endif
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------ an allocator and files that fail */

/* How a fault shows: the one call fails; that call and all after it; or, for reading and writing, only half of the bytes are moved. */
typedef enum fault { FAULT_ONCE, FAULT_FROM_THEN_ON, FAULT_HALF, FAULTS } fault;
static struct { long calls, fail_at, live; fault how; } memory, files;

#define FAILS(x) (++(x).calls, (x).fail_at && ((x).calls == (x).fail_at || ((x).how == FAULT_FROM_THEN_ON && (x).calls > (x).fail_at)))

static void *failing_malloc(size_t n)
{
    void *p = FAILS(memory) ? NULL : malloc(n);
    if (p) memory.live++;
    return p;
}
static void failing_free(void *p)
{
    if (p) memory.live--;
    free(p);
}

static int writing; /* what was opened last */
static FILE *failing_fopen(const char *path, const char *mode)
{
    FILE *f = NULL;
    writing = *mode == 'w';
    if (FAILS(files)) errno = EMFILE;
    else f = fopen(path, mode);
    if (f) files.live++;
    return f;
}
static int failing_fclose(FILE *f) /* of a file that was only read it cannot fail */
{
    int fails = writing && FAILS(files);
    files.live--;
    if (fclose(f) == 0 && !fails) return 0;
    errno = ENOSPC;
    return EOF;
}
static int file_error; /* what ferror says */
static size_t failing_fread(void *p, size_t size, size_t n, FILE *f)
{
    if (!FAILS(files)) return fread(p, size, n, f);
    file_error = files.how != FAULT_HALF;
    if (file_error) errno = EIO;
    return file_error ? 0 : fread(p, size, n / 2, f);
}
static size_t failing_fwrite(const void *p, size_t size, size_t n, FILE *f)
{
    if (!FAILS(files)) return fwrite(p, size, n, f);
    errno = ENOSPC;
    return files.how == FAULT_HALF ? fwrite(p, size, n / 2, f) : 0;
}
static int failing(int otherwise, int code)
{
    if (!FAILS(files)) return otherwise;
    errno = code;
    return -1;
}

#define GENREG_MALLOC(n) failing_malloc(n)
/* genreg.h has no call of it. The first one is to be swept too, and here it says so. */
#define GENREG_REALLOC(p, n) ((void)(p), (void)(n), fprintf(stderr, "test_memory.c does not let GENREG_REALLOC fail yet\n"), abort(), (void *)NULL)
#define GENREG_FREE(p) failing_free(p)
#define fopen(path, mode) failing_fopen(path, mode)
#define fclose(f) failing_fclose(f)
#define fread(p, size, n, f) failing_fread(p, size, n, f)
#define fwrite(p, size, n, f) failing_fwrite(p, size, n, f)
#define fflush(f) failing(fflush(f), ENOSPC)
#define fseek(f, at, whence) failing(fseek(f, at, whence), EIO)
#define ftell(f) (failing(0, EIO) ? -1L : ftell(f))
#define rename(from, to) (failing(0, EACCES) ? -1 : rename(from, to))
#undef ferror
#define ferror(f) (file_error || ferror(f))
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#undef fopen
#undef fclose
#undef fread
#undef fwrite
#undef fflush
#undef fseek
#undef ftell
#undef rename
#undef ferror
#include "check.h"

/* ------------------------------------------------------------------------------------------------ what the jobs work on */

enum { SAMPLES = 24, SIDE = 6, CHANNELS = 2, CLASSES = 3, FEATURES = SIDE * SIDE * CHANNELS };
static unsigned char pixels[SAMPLES * FEATURES];
static int labels[SAMPLES];
static char where[300]; /* scratch files are called this and something */

static const char *scratch(const char *name)
{
    static char path[4][400];
    static int next;
    char *p = path[next++ % 4];
    sprintf(p, "%s%s", where, name);
    return p;
}

static genreg_dataset images(genreg_ctx *c)
{
    static const int shape[3] = { SIDE, SIDE, CHANNELS };
    return genreg_dataset_bytes(c, pixels, labels, SAMPLES, 3, shape, CLASSES, NULL, NULL);
}

static genreg_model *small_cnn(genreg_ctx *c)
{
    static const int shape[3] = { SIDE, SIDE, CHANNELS };
    genreg_model *m = genreg_model_create(c, 3, shape);
    genreg_layer_conv2d(m, 4, 3, 1, 1);
    genreg_layer_batch_norm(m);
    genreg_layer_relu(m);
    genreg_layer_max_pool(m, 2);
    genreg_layer_flatten(m);
    genreg_layer_dropout(m, 0.25);
    genreg_layer_linear(m, CLASSES);
    genreg_init(m, GENREG_INIT_HE, 1);
    return m;
}

/* ------------------------------------------------------------------------------------------------ jobs: each returns whether all of it was done */

static int train(genreg_ctx *c)
{
    genreg_dataset d = images(c);
    genreg_model *m = small_cnn(c);
    genreg_train_options o = genreg_train_defaults();
    genreg_progress p;
    genreg_score s;
    o.batch = 10;
    o.epochs = 2;
    p = genreg_train(m, &d, &o);
    o.optimizer = GENREG_OPTIMIZER_ADAM;
    if (p.step == 6) p = genreg_train(m, &d, &o);
    s = genreg_evaluate(m, &d);
    return p.step == 6 && s.samples == SAMPLES;
}

static int train_wide(genreg_ctx *c) /* more than a block of tape */
{
    static const int sizes[] = { FEATURES, 700, 700, CLASSES }, flat[1] = { FEATURES };
    genreg_real *x = (genreg_real *)calloc(SAMPLES * FEATURES, sizeof *x);
    genreg_dataset d = genreg_dataset_reals(c, x, labels, SAMPLES, 1, flat, CLASSES);
    genreg_model *m = genreg_mlp(c, sizes, 4);
    genreg_train_options o = genreg_train_defaults();
    genreg_progress p;
    o.epochs = 1;
    p = genreg_train(m, &d, &o);
    genreg_model_free(m);
    free(x);
    return p.step == 1;
}

static int derivatives(genreg_ctx *c)
{
    static const int shape[] = { 5, 4 };
    genreg_tensor *x = genreg_variable(c, 2, shape, NULL), *y = genreg_exp(c, x), *z, *g = NULL, *h = NULL;
    z = genreg_tanh(c, y);
    z = genreg_log_softmax(c, z);
    y = genreg_dot(c, z, y);
    return genreg_grad(c, y, NULL, &x, 1, &g) && genreg_grad(c, genreg_sum(c, g, GENREG_ALL_AXES), NULL, &x, 1, &h) && h->size == 20;
}

static int hessian(genreg_ctx *c)
{
    genreg_dataset d = images(c);
    genreg_model *m = genreg_model_create(c, 3, d.shape);
    genreg_eigen_options o = genreg_eigen_defaults();
    genreg_eigen top, pairs[3];
    genreg_objective f;
    genreg_hessian *h;
    double nodes[12], weights[12];
    int done;
    genreg_layer_flatten(m);
    genreg_layer_linear(m, 4);
    genreg_layer_tanh(m);
    genreg_layer_linear(m, CLASSES);
    genreg_init(m, GENREG_INIT_HE, 1);
    o.iterations = 6;
    top = genreg_hessian_top(m, &d, &o);
    f = genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
    h = genreg_hessian_open(&f);
    done = top.iterations > 0 && genreg_hessian_eigenpairs(h, 2, 1, &o, pairs, NULL) && genreg_hessian_density(h, 2, 6, 1, nodes, weights) > 0
           && genreg_hessian_trace(h, GENREG_TRACE_HUTCHPP, 9, 1).products > 0 && genreg_hessian_trace(h, GENREG_TRACE_HUTCHINSON, 3, 1).products > 0;
    genreg_hessian_close(h);
    h = genreg_gauss_newton_open(&f);
    done = done && genreg_hessian_eigen(h, &o).iterations > 0;
    genreg_hessian_close(h);
    return done;
}

static int perturb(genreg_ctx *c)
{
    genreg_dataset d = images(c);
    genreg_model *m = small_cnn(c);
    genreg_score s[2];
    double by_class[CLASSES];
    int done = genreg_evaluate_perturbed(m, &d, GENREG_PERTURB_FILTER, 0.1, 2, 1, s) && genreg_evaluate_perturbed(m, &d, GENREG_PERTURB_SAM, 0.1, 1, 1, s);
    return done && genreg_evaluate_classes(m, &d, GENREG_LOSS_MSE, by_class).samples == SAMPLES;
}

static int subsets(genreg_ctx *c)
{
    genreg_dataset d = images(c), a, b;
    d = genreg_pad(c, &d, 1);
    d = genreg_label_noise(c, &d, 0.5, 1);
    d = genreg_sample(c, &d, 20, 1);
    d = genreg_first(c, &d, 18);
    genreg_split(c, &d, 0.5, 1, &a, &b);
    return a.n + b.n == 18 && a.n && genreg_get_batch(c, &b, NULL, 0, 4).x;
}

static int prune(genreg_ctx *c) /* in rounds by every criterion, rewound and trained again */
{
    genreg_dataset d = images(c);
    genreg_model *m = small_cnn(c);
    genreg_train_options o = genreg_train_defaults();
    genreg_snapshot *start = genreg_snapshot_take(m, NULL);
    genreg_prune_options p = genreg_prune_defaults();
    genreg_progress q;
    int k, left = 1;
    p.data = &d;
    p.rounds = 2;
    p.of_left = 1;
    for (k = (int)GENREG_CRITERION_MAGNITUDE; k <= (int)GENREG_CRITERION_SYNFLOW && left; k++) {
        p.criterion = (genreg_criterion)k;
        left = genreg_prune(m, 0.8, &p) > 0;
    }
    o.epochs = 1;
    q = left && genreg_rewind(m, NULL, start) && genreg_shuffle_mask(m, 1) ? genreg_train(m, &d, &o) : genreg_trainer_progress(NULL);
    return q.step == 1 && genreg_save_model(m, scratch("model")); /* the mask is in the file */
}

static int kernels(genreg_ctx *c) /* tangent kernels, regression with them, the linearised model */
{
    enum { OUT = SAMPLES * CLASSES };
    static double k[OUT * OUT], vectors[SAMPLES * SAMPLES], eigenvalues[SAMPLES], targets[SAMPLES], alpha[SAMPLES], out[SAMPLES];
    genreg_dataset d = images(c);
    genreg_model *m = small_cnn(c), *linear;
    genreg_ntk_options o = genreg_ntk_defaults();
    genreg_train_options t = genreg_train_defaults();
    genreg_progress p;
    int i, done;
    for (i = 0; i < SAMPLES; i++) targets[i] = i % 2 ? 1 : -1;
    o.form = GENREG_NTK_FULL;
    done = genreg_ntk(m, &d, &d, &o, k) && genreg_infinite_kernel(c, &d, NULL, NULL, k, vectors) && genreg_ntk(m, &d, NULL, NULL, k);
    done = done && genreg_kernel_ridge(c, k, SAMPLES, targets, 1, NULL, alpha).attempts > 0 && genreg_kernel_predict(c, k, SAMPLES, SAMPLES, alpha, 1, out);
    done = done && genreg_kernel_eigen(c, k, SAMPLES, eigenvalues, vectors) && genreg_kernel_flow(c, eigenvalues, vectors, SAMPLES, targets, 1, 2, alpha);
    linear = done ? genreg_linearize(m) : NULL;
    t.epochs = 1;
    p = genreg_train(linear, &d, &t);
    return p.step == 1 && genreg_evaluate(linear, &d).samples == SAMPLES;
}

static int save_model(genreg_ctx *c) { return genreg_save_model(small_cnn(c), scratch("model")); }
static int load_model(genreg_ctx *c) { return genreg_load_model(c, scratch("a_model")) != NULL; }

static genreg_trainer *begun(genreg_ctx *c, const genreg_dataset *d)
{
    genreg_train_options o = genreg_train_defaults();
    o.batch = 10;
    o.optimizer = GENREG_OPTIMIZER_ADAM;
    return genreg_trainer_create(small_cnn(c), d, &o);
}
static int save_run(genreg_ctx *c)
{
    genreg_dataset d = images(c);
    genreg_trainer *t = begun(c, &d);
    return genreg_trainer_step(t) && genreg_trainer_save(t, scratch("run"));
}
static int load_run(genreg_ctx *c)
{
    genreg_dataset d = images(c);
    genreg_trainer *t = begun(c, &d);
    return genreg_trainer_load(t, scratch("a_run")) && genreg_trainer_progress(t).step == 1 && genreg_trainer_step(t);
}

static int load_idx(genreg_ctx *c) { return genreg_load_idx(c, scratch("images"), scratch("labels"), 10, NULL, NULL).n == 3; }

static const int matrix[2] = { 30, 50 };
static genreg_real values[1500];
static double doubles[1500];
static int save_npy(genreg_ctx *c) { return genreg_save_npy(c, scratch("npy"), 2, matrix, values); }
static int save_doubles(genreg_ctx *c) { return genreg_save_npy_doubles(c, scratch("npy"), 2, matrix, doubles); }
static int load_npy(genreg_ctx *c)
{
    genreg_tensor *x = genreg_load_npy(c, scratch("a_npy"));
    return x && x->size == 1500 && !memcmp(x->data, values, sizeof values);
}
static int load_doubles(genreg_ctx *c) { return genreg_load_npy_doubles(c, scratch("a_npy"), NULL, NULL) != NULL; }

/* Of three images each. */
static int load_mnist(genreg_ctx *c)
{
    genreg_dataset train, test, fashion;
    return genreg_load_mnist(c, scratch("sets"), &train, &test) && train.n == 3 && test.n == 3 && genreg_load_fashion(c, scratch("sets"), NULL, &fashion) && fashion.n == 3;
}

/* A batch has 10,000 images, no fewer, and all the files are read alike: so the test set alone. */
static int load_cifar(genreg_ctx *c)
{
    genreg_dataset test;
    return genreg_load_cifar10(c, scratch("sets"), NULL, &test) && test.n == 10000 && test.labels[9999] == 9;
}

/* The same with a fourth label that is none, where the reader stops: that is quick enough for every fault there can be until then. */
static int refuse_cifar(genreg_ctx *c)
{
    genreg_dataset test;
    int there = genreg_load_cifar10(c, scratch("bad"), NULL, &test) || test.n;
    return !there && genreg_error(c) == GENREG_ERROR_FORMAT && strstr(genreg_error_message(c), "label 3") && (genreg_clear_error(c), 1);
}

/* In a folder that is not there: no file is ever opened, but memory is taken before that. */
static int load_missing(genreg_ctx *c)
{
    genreg_dataset d;
    int there = genreg_load_cifar10(c, scratch("nowhere"), NULL, &d) || d.n;
    if (!there && genreg_error(c) == GENREG_ERROR_FILE) {
        genreg_clear_error(c);
        return !genreg_load_mnist(c, scratch("nowhere"), NULL, &d) && genreg_error(c) == GENREG_ERROR_FILE && (genreg_clear_error(c), 1);
    }
    return 0;
}

/* reads: 1 if every file operation is made to fail in turn; more than that: this one alone, as there are too many. */
typedef struct job { const char *name; int (*run)(genreg_ctx *c); const char *writes; long reads; } job;
static const job jobs[] = {
    { "training", train, NULL, 0 },
    { "training, wide", train_wide, NULL, 0 },
    { "derivatives", derivatives, NULL, 0 },
    { "Hessian", hessian, NULL, 0 },
    { "perturbation", perturb, NULL, 0 },
    { "subsets", subsets, NULL, 0 },
    { "kernels", kernels, NULL, 0 },
    { "pruning", prune, "model", 0 },
    { "saving a model", save_model, "model", 0 },
    { "loading a model", load_model, NULL, 1 },
    { "saving a run", save_run, "run", 0 },
    { "loading a run", load_run, NULL, 1 },
    { "loading IDX", load_idx, NULL, 1 },
#if HAVE_POSIX /* mkdir */
    { "loading MNIST", load_mnist, NULL, 1 },
    { "loading CIFAR-10", load_cifar, NULL, 9000 },
    { "refusing CIFAR-10", refuse_cifar, NULL, 1 },
#endif
    { "loading nothing", load_missing, NULL, 0 },
    { "saving .npy", save_npy, "npy", 0 },
    { "saving doubles", save_doubles, "npy", 0 },
    { "loading .npy", load_npy, NULL, 1 },
    { "loading doubles", load_doubles, NULL, 1 },
};
enum { JOBS = sizeof jobs / sizeof jobs[0] };

/* ------------------------------------------------------------------------------------------------ sweeps */

static void put(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, n, f) != n) CHECK(0, "cannot write %s", path);
    if (f) fclose(f);
}

static int holds(const char *path, const char *text)
{
    char found[64];
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(found, 1, sizeof found, f) : 0;
    if (f) fclose(f);
    return f && n == strlen(text) && !memcmp(found, text, n);
}

/* Runs the job with its k-th call of `what` failing; returns 0 when it has fewer calls than that. */
static int one_fault(const job *j, int is_memory, fault how, long k)
{
    static const char before[] = "what was there before";
    genreg_ctx *c;
    char temporary[400];
    long reached;
    int done;
    if (j->writes) put(scratch(j->writes), before, strlen(before));
    memory.calls = files.calls = memory.fail_at = files.fail_at = 0;
    memory.how = files.how = how;
    if (is_memory) memory.fail_at = k;
    else files.fail_at = k;
    file_error = 0;
    c = genreg_create(NULL);
    done = j->run(c);
    reached = is_memory ? memory.calls : files.calls;
    memory.fail_at = files.fail_at = 0;
    file_error = 0;
    if (reached < k) { /* the last round: nothing failed */
        CHECK(done && genreg_error(c) == GENREG_OK, "%s: %s", j->name, genreg_error_message(c));
        genreg_destroy(c);
        return 0;
    }
    CHECK(!done && genreg_error(c) != GENREG_OK && *genreg_error_message(c), "%s, fault %d at %ld of %s: no error", j->name, (int)how, k, is_memory ? "memory" : "files");
    CHECK(is_memory ? genreg_error(c) == GENREG_ERROR_MEMORY : genreg_error(c) == GENREG_ERROR_FILE || genreg_error(c) == GENREG_ERROR_FORMAT, "%s, fault at %ld: %s", j->name, k,
          genreg_error_message(c));
    CHECK(files.live == 0, "%s, fault at %ld: %ld files are open", j->name, k, files.live);
    if (j->writes) {
        FILE *f;
        sprintf(temporary, "%s.tmp", scratch(j->writes));
        f = fopen(temporary, "rb");
        CHECK(!f, "%s, fault at %ld: the temporary file is left", j->name, k);
        if (f) fclose(f);
        CHECK(holds(scratch(j->writes), before), "%s, fault at %ld: the old file is not what it was", j->name, k);
    }
    genreg_clear_error(c);
    if (c) CHECK(j->run(c) && genreg_error(c) == GENREG_OK, "%s, after a fault at %ld: %s", j->name, k, genreg_error_message(c));
    genreg_destroy(c);
    CHECK(memory.live == 0, "%s, fault at %ld: %ld blocks are left", j->name, k, memory.live);
    memory.live = 0;
    return 1;
}

/* Lets all its calls fail in turn, or the one that it is limited to; returns how many those were. */
static long sweep(const job *j, int is_memory, fault how)
{
    long points = 0;
    if (!is_memory && j->reads > 1) return one_fault(j, 0, how, j->reads);
    while (one_fault(j, is_memory, how, points + 1)) points++;
    return points;
}

#if HAVE_POSIX
static const char *const sets[] = { "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", "test_batch.bin" };

static const char *in_folder(const char *folder, const char *name)
{
    static char path[500];
    sprintf(path, "%s/%s", scratch(folder), name);
    return path;
}

/* A CIFAR-10 batch of zeros but for two labels; what is never written takes no room on a disk. */
static void put_batch(const char *path, int third, int last)
{
    FILE *f = fopen(path, "wb");
    int done = f && fseek(f, 3 * 3073L, SEEK_SET) == 0 && putc(third, f) == third && fseek(f, 9999 * 3073L, SEEK_SET) == 0 && putc(last, f) == last
               && fseek(f, 10000 * 3073L - 1, SEEK_SET) == 0 && putc(0, f) == 0;
    CHECK(done, "cannot write %s", path);
    if (f) CHECK(fclose(f) == 0, "cannot write %s", path);
}

static void make_sets(const unsigned char *idx, size_t idx_bytes, const unsigned char *idx_labels, size_t label_bytes)
{
    int i;
    mkdir(scratch("sets"), 0700);
    mkdir(scratch("bad"), 0700);
    for (i = 0; i < 4; i++) put(in_folder("sets", sets[i]), i % 2 ? idx_labels : idx, i % 2 ? label_bytes : idx_bytes);
    put_batch(in_folder("sets", sets[4]), 3, 9);
    put_batch(in_folder("bad", sets[4]), 10, 9);
}

static void remove_sets(void)
{
    int i;
    for (i = 0; i < 5; i++) remove(in_folder("sets", sets[i]));
    remove(in_folder("bad", sets[4]));
    rmdir(scratch("sets"));
    rmdir(scratch("bad"));
}
#endif

int main(void)
{
    static const unsigned char idx[16 + 12] = { 0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 2, 9, 8, 7 }, idx_labels[8 + 3] = { 0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3 };
    const char *place = getenv("TMPDIR");
    genreg_ctx *c = genreg_create(NULL);
    genreg_dataset d;
    genreg_trainer *t;
    long points;
    int i, how;
#if HAVE_POSIX
    sprintf(where, "%.200s/genreg_memory_%ld_", place && *place ? place : ".", (long)getpid()); /* float runs beside double and the sanitizers */
#else
    sprintf(where, "%.200s/genreg_memory_%d_", place && *place ? place : ".", (int)sizeof(genreg_real));
    printf("skipped: folders of sets (no mkdir)\n");
#endif
    for (i = 0; i < SAMPLES * FEATURES; i++) pixels[i] = (unsigned char)(i * 37 % 251);
    for (i = 0; i < SAMPLES; i++) labels[i] = i % CLASSES;
    for (i = 0; i < 1500; i++) values[i] = (genreg_real)(doubles[i] = i / 8.0);

    d = images(c); /* the files that are read */
    t = begun(c, &d);
    genreg_trainer_step(t);
    CHECK(genreg_save_model(small_cnn(c), scratch("a_model")) && genreg_trainer_save(t, scratch("a_run")) && genreg_save_npy(c, scratch("a_npy"), 2, matrix, values), "%s", genreg_error_message(c));
    genreg_destroy(c);
    put(scratch("images"), idx, sizeof idx);
    put(scratch("labels"), idx_labels, sizeof idx_labels);
#if HAVE_POSIX
    make_sets(idx, sizeof idx, idx_labels, sizeof idx_labels);
#endif

    for (i = 0; i < JOBS; i++) {
        for (points = 0, how = 0; how < FAULT_HALF; how++) points += sweep(&jobs[i], 1, (fault)how);
        printf("%-20s %4ld allocations", jobs[i].name, points / 2);
        CHECK(points > 1, "%s takes no memory", jobs[i].name);
        if (jobs[i].writes || jobs[i].reads) {
            for (points = 0, how = 0; how < FAULTS; how++) points += sweep(&jobs[i], 0, (fault)how);
            printf(", %3ld file operation%s", points / 3, points > 3 ? "s" : "");
            CHECK(points > 2, "%s opens no file", jobs[i].name);
        }
        printf("\n");
    }
    {
        static const char *const left[] = { "model", "a_model", "run", "a_run", "npy", "a_npy", "images", "labels" };
        for (i = 0; i < 8; i++) remove(scratch(left[i]));
    }
#if HAVE_POSIX
    remove_sets();
#endif
    return check_done();
}
