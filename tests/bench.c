/* Speed of the workloads that tests/bench_torch.py runs in PyTorch under the same names. Prints

       name<TAB>seconds<TAB>unit

   the median of five runs of at least 0.2 s each. Options: --only PREFIX, --threads N, --isa NAME.

       cc -O2 -fopenmp tests/bench.c -o bench -lm && ./bench */
#define _POSIX_C_SOURCE 199309L /* clock_gettime under -std=c99 */
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include <stdio.h>
#include <time.h>

static const char *only = "";
static genreg_ctx *c;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double seconds_of(void (*work)(void *), void *arg, int n)
{
    double start = now();
    for (; n > 0; n--) work(arg);
    return now() - start;
}

static void report(const char *name, void (*work)(void *), void *arg, const char *unit)
{
    double run[5];
    int n = 1, i;
    seconds_of(work, arg, 2);
    while ((run[0] = seconds_of(work, arg, n)) < 0.2) {
        int wanted = (int)(n * 0.2 / (run[0] + 1e-9)) + 1;
        n = wanted > 2 * n ? wanted : 2 * n;
    }
    for (i = 0; i < 5; i++) run[i] = seconds_of(work, arg, n) / n;
    qsort(run, 5, sizeof *run, ascending);
    if (genreg_error(c)) {
        fprintf(stderr, "bench: %s: %s\n", name, genreg_error_message(c));
        exit(1);
    }
    printf("%s\t%.6e\t%s\n", name, run[2], unit);
    fflush(stdout);
}

static int wanted(const char *name) { return strncmp(name, only, strlen(only)) == 0; }

/* The models of bench_torch.py. */
typedef struct network {
    const char *tag;
    int rank, shape[3];
    genreg_model *(*make)(void);
} network;

static genreg_model *make_mlp(void)
{
    static const int sizes[] = { 784, 512, 512, 10 };
    return genreg_mlp(c, sizes, 4);
}

static genreg_model *make_lenet(void)
{
    static const int sizes[] = { 784, 300, 100, 10 };
    return genreg_mlp(c, sizes, 4);
}

static genreg_model *make_cnn(void)
{
    static const int shape[] = { 32, 32, 3 };
    genreg_model *m = genreg_model_create(c, 3, shape);
    int i;
    for (i = 0; i < 4; i++) {
        genreg_layer_conv2d(m, i < 2 ? 32 : 64, 3, 1, 1);
        genreg_layer_relu(m);
        if (i % 2) genreg_layer_max_pool(m, 2);
    }
    genreg_layer_flatten(m);
    genreg_layer_linear(m, 256);
    genreg_layer_relu(m);
    genreg_layer_linear(m, 10);
    genreg_init(m, GENREG_INIT_PYTORCH, 0);
    return m;
}

static genreg_model *make_paper(void)
{
    static const int shape[] = { 32, 32, 3 };
    return genreg_cnn(c, shape, 32, 1, 10);
}

static const network mlp = { "mlp", 1, { 784, 1, 1 }, make_mlp }, lenet = { "lenet", 1, { 784, 1, 1 }, make_lenet },
                     cnn = { "cnn", 3, { 32, 32, 3 }, make_cnn }, paper = { "paper", 3, { 32, 32, 3 }, make_paper };

/* n samples of normal values, with labels. */
static genreg_dataset noise(int n, const network *net)
{
    int i, *labels = (int *)malloc((size_t)n * sizeof *labels);
    ptrdiff_t size = (ptrdiff_t)n * net->shape[0] * net->shape[1] * net->shape[2];
    genreg_real *x = (genreg_real *)malloc((size_t)size * sizeof *x);
    if (!labels || !x) exit(1);
    genreg_normal_fill(x, size, 1, 1);
    for (i = 0; i < n; i++) labels[i] = (int)(10 * genreg_uniform(1, 2, (uint64_t)i));
    return genreg_dataset_reals(c, x, labels, n, net->rank, net->shape, 10);
}

static void drop(genreg_dataset *d)
{
    free((void *)(uintptr_t)d->reals);
    free((void *)(uintptr_t)d->labels);
}

static genreg_tensor *a, *b;

static void product(void *unused)
{
    genreg_place p = genreg_mark(c);
    (void)unused;
    genreg_matmul(c, a, b, 0, 0);
    genreg_release(c, p);
}

static void bench_gemm(void)
{
    static const int sizes[][3] = { { 64, 64, 64 }, { 128, 512, 784 }, { 32, 512, 784 }, { 1024, 512, 784 }, { 512, 512, 512 }, { 1024, 1024, 1024 } };
    size_t i;
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int *s = sizes[i];
        int shape_a[2], shape_b[2];
        char name[64];
        genreg_place p = genreg_mark(c);
        snprintf(name, sizeof name, "gemm_%dx%dx%d", s[0], s[1], s[2]);
        if (!wanted(name)) continue;
        shape_a[0] = s[0]; shape_a[1] = shape_b[0] = s[2]; shape_b[1] = s[1];
        a = genreg_constant(c, 2, shape_a, NULL);
        b = genreg_constant(c, 2, shape_b, NULL);
        if (a && b) {
            genreg_normal_fill(a->data, a->size, 1, 1);
            genreg_normal_fill(b->data, b->size, 1, 2);
        }
        report(name, product, NULL, "product");
        genreg_release(c, p);
    }
}

static void step(void *trainer) { genreg_trainer_step((genreg_trainer *)trainer); }

static void bench_train(const network *of, const int *batches, int count)
{
    int i;
    for (i = 0; i < count; i++) {
        char name[64];
        genreg_train_options o = genreg_train_defaults();
        genreg_dataset d;
        genreg_model *net;
        genreg_trainer *t;
        snprintf(name, sizeof name, "train_%s_b%d", of->tag, batches[i]);
        if (!wanted(name)) continue;
        net = of->make();
        d = noise(batches[i], of);
        o.batch = batches[i];
        o.schedule = GENREG_SCHEDULE_CONSTANT;
        o.lr = 1e-4; /* noise must not diverge in a long run */
        o.steps = INT64_MAX / 2;
        t = genreg_trainer_create(net, &d, &o);
        report(name, step, t, "SGD step");
        genreg_trainer_free(t);
        genreg_model_free(net);
        drop(&d);
    }
}

static genreg_model *model;
static genreg_tensor *input;
static genreg_objective objective;
static genreg_hessian *hessian;
static genreg_real *vector, *out;

static void infer(void *unused)
{
    genreg_place p = genreg_mark(c);
    (void)unused;
    genreg_forward(model, NULL, input, NULL);
    genreg_release(c, p);
}

static void gradient(void *unused)
{
    (void)unused;
    genreg_objective_gradient(&objective, out);
}

static void hessian_product(void *unused)
{
    (void)unused;
    genreg_hessian_product(hessian, vector, out);
}

static void bench_model(const network *of, int n, int n_infer)
{
    char infers[64], grads[64], products[64];
    genreg_dataset d;
    genreg_place p = genreg_mark(c);
    snprintf(infers, sizeof infers, "infer_%s_b%d", of->tag, n_infer);
    snprintf(grads, sizeof grads, "grad_%s_b%d", of->tag, n);
    snprintf(products, sizeof products, "hvp_%s_b%d", of->tag, n);
    if (!(n_infer && wanted(infers)) && !wanted(grads) && !wanted(products)) return;
    d = noise(n, of);
    model = of->make();
    objective = genreg_model_objective(model, &d, GENREG_LOSS_CROSS_ENTROPY);
    vector = (genreg_real *)malloc((size_t)(model ? model->theta->size : 0) * sizeof *vector);
    out = (genreg_real *)malloc((size_t)(model ? model->theta->size : 0) * sizeof *out);
    if (!vector || !out) exit(1);
    genreg_normal_fill(vector, model->theta->size, 1, 3);
    if (n_infer && wanted(infers)) {
        input = genreg_get_batch(c, &d, NULL, 0, n_infer).x;
        report(infers, infer, NULL, "forward pass");
        genreg_release(c, p);
    }
    if (wanted(grads)) report(grads, gradient, NULL, "gradient");
    if (wanted(products)) {
        hessian = genreg_hessian_open(&objective);
        report(products, hessian_product, NULL, "Hessian-vector product");
        genreg_hessian_close(hessian);
    }
    free(vector);
    free(out);
    genreg_model_free(model);
    drop(&d);
}

int main(int argc, char **argv)
{
    static const int mlp_batches[] = { 1, 8, 32, 128, 1024 }, lenet_batches[] = { 1, 32, 128 }, cnn_batches[] = { 8, 32, 128, 512 },
                     paper_batches[] = { 32, 128, 1024 };
    static const char *const names[] = { "auto", "plain", "baseline", "avx2", "avx512" };
    genreg_options o = genreg_defaults();
    int i, k;
    for (i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value && !strcmp(argv[i], "--only")) only = value;
        else if (value && !strcmp(argv[i], "--threads")) o.threads = atoi(value);
        else if (value && !strcmp(argv[i], "--isa")) {
            for (k = 0; k < 5; k++) if (!strcmp(value, names[k])) o.isa = (genreg_isa)k;
        } else {
            fprintf(stderr, "usage: bench [--only PREFIX] [--threads N] [--isa plain|baseline|avx2|avx512]\n");
            return 2;
        }
        i++;
    }
    c = genreg_create(&o);
    fprintf(stderr, "genreg %s, %s\n", GENREG_VERSION, genreg_isa_name(c));
    bench_gemm();
    bench_train(&mlp, mlp_batches, 5);
    bench_train(&lenet, lenet_batches, 3);
    bench_train(&cnn, cnn_batches, 4);
    bench_train(&paper, paper_batches, 3);
    bench_model(&mlp, 1000, 1000);
    bench_model(&cnn, 500, 500);
    bench_model(&paper, 250, 0);
    if (genreg_error(c)) {
        fprintf(stderr, "bench: %s\n", genreg_error_message(c));
        return 1;
    }
    genreg_destroy(c);
    return 0;
}
