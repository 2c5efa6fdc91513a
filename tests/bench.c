/* Speed of the workloads that tests/bench_torch.py runs in PyTorch under the same names. Prints

       name<TAB>seconds<TAB>unit

   the median of five runs of at least 0.2 s each, and for products and convolutions the rate as a fourth field: 2 flop for each
   multiply-add of the plain sum, whatever the way that was taken. `peak` is what a loop of nothing but fused multiply-adds reaches,
   and `bandwidth` a copy of 128 MB: what the other rows can be held against. Options: --only PREFIX, --threads N, --isa NAME.

       cc -O2 -fopenmp tests/bench.c -o bench -lm && ./bench */
#define _POSIX_C_SOURCE 199309L /* clock_gettime under -std=c99 */
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include <stdio.h>
#include <time.h>
#if GENREG__X86
#include <immintrin.h>
#endif

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

/* amount: what one call does, in rate's units; 0 leaves the rate out. */
static void report_rate(const char *name, void (*work)(void *), void *arg, const char *unit, double amount, const char *rate)
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
    printf("%s\t%.6e\t%s", name, run[2], unit);
    if (amount > 0) printf("\t%.1f %s", amount / run[2], rate);
    printf("\n");
    fflush(stdout);
}

static void report(const char *name, void (*work)(void *), void *arg, const char *unit) { report_rate(name, work, arg, unit, 0, ""); }

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

/* ---- limits of the machine */

enum { PEAK_STEPS = 100000, PEAK_CHAINS = 12 }; /* more chains than an FMA's latency times the units that run it */

#if GENREG__X86
#define PEAK(NAME, TARGET, TYPE, SET, FMA, STORE)                                                            \
    __attribute__((target(TARGET))) static void NAME(float *out)                                             \
    {                                                                                                        \
        TYPE x = SET(0.999f), y = SET(1e-3f), a0 = SET(0.f), a1 = SET(1.f), a2 = SET(2.f), a3 = SET(3.f), a4 = SET(4.f), a5 = SET(5.f); \
        TYPE a6 = SET(6.f), a7 = SET(7.f), a8 = SET(8.f), a9 = SET(9.f), a10 = SET(10.f), a11 = SET(11.f); /* all different, or some are computed once */ \
        int i;                                                                                               \
        for (i = 0; i < PEAK_STEPS; i++) {                                                                   \
            a0 = FMA(a0, x, y); a1 = FMA(a1, x, y); a2 = FMA(a2, x, y); a3 = FMA(a3, x, y); a4 = FMA(a4, x, y); a5 = FMA(a5, x, y); \
            a6 = FMA(a6, x, y); a7 = FMA(a7, x, y); a8 = FMA(a8, x, y); a9 = FMA(a9, x, y); a10 = FMA(a10, x, y); a11 = FMA(a11, x, y); \
        }                                                                                                    \
        a0 = FMA(a0, a1, a2); a3 = FMA(a3, a4, a5); a6 = FMA(a6, a7, a8); a9 = FMA(a9, a10, a11);            \
        a0 = FMA(a0, a3, FMA(a6, a9, x));                                                                    \
        STORE(out, a0);                                                                                      \
    }
PEAK(peak_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_storeu_ps)
PEAK(peak_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_storeu_ps)

static void peak_member(void *lanes, int thread, int threads)
{
    static float out[256][16];
    (void)threads;
    if (*(int *)lanes == 16) peak_avx512(out[thread % 256]);
    else peak_avx2(out[thread % 256]);
}
static void peak(void *lanes) { genreg__team(c->exec.threads, peak_member, lanes); }
#endif

static genreg_real *copy_from, *copy_to;
static void copy_range(void *unused, ptrdiff_t first, ptrdiff_t last)
{
    (void)unused;
    memcpy(copy_to + first, copy_from + first, (size_t)(last - first) * sizeof *copy_to);
}
static void copy(void *unused) { genreg__split_range(&c->exec, (128 << 20) / (ptrdiff_t)sizeof *copy_to, 64, 1, copy_range, unused); }

static void bench_machine(void)
{
#if GENREG__X86
    int lanes = c->exec.isa == GENREG_ISA_AVX512 ? 16 : c->exec.isa == GENREG_ISA_AVX2 ? 8 : 0;
    if (lanes && wanted("peak"))
        report_rate("peak", peak, &lanes, "loop", 2e-9 * PEAK_CHAINS * PEAK_STEPS * lanes * c->exec.threads, "GFLOP/s");
#endif
    if (!wanted("bandwidth")) return;
    copy_from = (genreg_real *)calloc(128, 1 << 20);
    copy_to = (genreg_real *)calloc(128, 1 << 20);
    if (!copy_from || !copy_to) exit(1);
    report_rate("bandwidth", copy, NULL, "copy", 2 * 0.134217728, "GB/s");
    free(copy_from);
    free(copy_to);
}

/* ---- products and convolutions */

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
        report_rate(name, product, NULL, "product", 2e-9 * s[0] * s[1] * s[2], "GFLOP/s");
        genreg_release(c, p);
    }
}

static genreg_tensor *image, *kernel, *output, *seed;
static genreg_real *into;

static void convolve(void *unused)
{
    genreg_place p = genreg_mark(c);
    (void)unused;
    genreg_conv2d(c, image, kernel, NULL, 1, 1, 0);
    genreg_release(c, p);
}
static void convolve_back(void *x) { genreg_gradient_into(c, output, seed, (genreg_tensor **)x, 1, &into); }

/* The 3 x 3 convolutions of the paper's network, 128 images at a time: conv_SIZE_IN_OUT, and its gradients by the image and the kernel. */
static void bench_conv(void)
{
    static const int layers[][3] = { { 32, 3, 32 }, { 32, 32, 32 }, { 16, 32, 64 }, { 16, 64, 64 }, { 8, 64, 128 }, { 8, 128, 128 } };
    static const char *const passes[] = { "conv", "conv_dx", "conv_dw" };
    size_t i;
    int pass;
    for (pass = 0; pass < 3; pass++)
        for (i = 0; i < sizeof layers / sizeof *layers; i++) {
            const int *l = layers[i], n = 128;
            int shape_x[4], shape_w[4], shape_y[4];
            const double work = 2e-9 * 9 * n * l[0] * l[0] * l[1] * l[2];
            char name[64];
            genreg_place p = genreg_mark(c);
            snprintf(name, sizeof name, "%s_%dx%d_%d_%d", passes[pass], l[0], l[0], l[1], l[2]);
            if (!wanted(name)) continue;
            shape_x[0] = shape_y[0] = n; shape_x[1] = shape_x[2] = shape_y[1] = shape_y[2] = l[0];
            shape_x[3] = shape_w[2] = l[1]; shape_y[3] = shape_w[3] = l[2]; shape_w[0] = shape_w[1] = 3;
            image = genreg_variable(c, 4, shape_x, NULL);
            kernel = genreg_variable(c, 4, shape_w, NULL);
            seed = genreg_constant(c, 4, shape_y, NULL);
            if (!image || !kernel || !seed) exit(1);
            genreg_normal_fill(image->data, image->size, 1, 1);
            genreg_normal_fill(kernel->data, kernel->size, 1, 2);
            genreg_normal_fill(seed->data, seed->size, 1, 3);
            output = genreg_conv2d(c, image, kernel, NULL, 1, 1, 0);
            into = (genreg_real *)malloc((size_t)(image->size + kernel->size) * sizeof *into);
            if (!into) exit(1);
            if (pass == 0) report_rate(name, convolve, NULL, "convolution", work, "GFLOP/s");
            else report_rate(name, convolve_back, pass == 1 ? &image : &kernel, "gradient", work, "GFLOP/s");
            free(into);
            genreg_release(c, p);
        }
}

/* ---- models */

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
        while (c->exec.threads > 1 && t && t->pace.left == 0 && !genreg_error(c)) step(t); /* until it has found its number of threads */
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

/* The tangent kernel of an MLP with `hidden` layers of one width. */
typedef struct gram { genreg_model *of; genreg_dataset on; double *k; } gram;
static void tangent_kernel(void *x) { gram *g = (gram *)x; genreg_ntk(g->of, &g->on, NULL, NULL, g->k); }

static void bench_ntk(void)
{
    static const struct { int hidden, width, n; } cases[] = { { 2, 256, 200 }, { 2, 1024, 200 }, { 3, 4096, 2000 } };
    int i;
    for (i = 0; i < 3; i++) {
        int w = cases[i].width, sizes[] = { 784, w, w, cases[i].hidden == 2 ? 10 : w, 10 };
        char name[64];
        gram g;
        snprintf(name, sizeof name, "ntk_mlp%d_w%d_n%d", cases[i].hidden, w, cases[i].n);
        if (!wanted(name)) continue;
        g.of = genreg_mlp(c, sizes, cases[i].hidden + 2);
        g.on = noise(cases[i].n, &mlp);
        g.k = (double *)malloc((size_t)cases[i].n * (size_t)cases[i].n * sizeof *g.k);
        if (!g.k) exit(1);
        report(name, tangent_kernel, &g, "Gram matrix");
        free(g.k);
        drop(&g.on);
        genreg_model_free(g.of);
    }
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
    bench_machine();
    bench_gemm();
    bench_conv();
    bench_train(&mlp, mlp_batches, 5);
    bench_train(&lenet, lenet_batches, 3);
    bench_train(&cnn, cnn_batches, 4);
    bench_train(&paper, paper_batches, 3);
    bench_model(&mlp, 1000, 1000);
    bench_model(&cnn, 500, 500);
    bench_model(&paper, 250, 0);
    bench_ntk();
    if (genreg_error(c)) {
        fprintf(stderr, "bench: %s\n", genreg_error_message(c));
        return 1;
    }
    genreg_destroy(c);
    return 0;
}
