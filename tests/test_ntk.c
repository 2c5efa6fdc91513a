/* test_ntk.c - tangent kernels against explicit Jacobians, the limit of infinite width, kernel regression, gradient flow, linearised models.

      cc -O2 -fopenmp tests/test_ntk.c -o test_ntk -lm && ./test_ntk          (in double; or with -DGENREG_REAL=float)

   Jacobians come from genreg_grad, one row for each sample and output; what is solved with them is solved here by elimination. */
#ifndef GENREG_REAL
#define GENREG_REAL double
#endif
#include "nan_malloc.h"

#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include "check.h"
#include "fixture.h"

enum { DOUBLE = sizeof(genreg_real) == 8, N1 = 7, N2 = 5, OUT = 3 };

static double *doubles(ptrdiff_t n)
{
    double *x = (double *)malloc((size_t)(n ? n : 1) * sizeof *x);
    if (!x) exit(1);
    memset(x, 0xff, (size_t)(n ? n : 1) * sizeof *x);
    return x;
}

/* |a - b| / |b| */
static double distance(const double *a, const double *b, ptrdiff_t n)
{
    double d = 0, s = 0;
    ptrdiff_t i;
    for (i = 0; i < n; i++) {
        d += (a[i] - b[i]) * (a[i] - b[i]);
        s += b[i] * b[i];
    }
    return d == d && s == s ? sqrt(d) / (s > 0 ? sqrt(s) : 1) : HUGE_VAL;
}

static double tolerance(void) { return DOUBLE ? 1e-10 : 2e-5; }

/* ------------------------------------------------------------------------------------------------ nets and sets */

enum { MLP, MLP_NTK, MLP_BN, CNN, CNN_BN, CNN_NTK, DEEP, LINEAR, TWO_LINEAR, TAIL, NETS };
static const char *const net_names[] = { "MLP", "MLP in NTK parametrisation", "MLP with batch norm", "CNN", "CNN with batch norm", "CNN in NTK parametrisation",
                                         "CNN down to few positions", "linear", "two linear layers", "activation at the end" };

/* n samples: images of 8 x 6 with 2 channels, or vectors of 6. */
static genreg_dataset samples(genreg_ctx *c, int image, int n, unsigned from)
{
    static genreg_real room[8][16 * 96];
    static int labels[8][16], used;
    const int shape[3] = { 8, 6, 2 }, flat[1] = { 6 };
    genreg_real *x = room[used % 8];
    int *y = labels[used++ % 8], i;
    for (i = 0; i < n * (image ? 96 : 6); i++) x[i] = (genreg_real)(1.3 * wild(from + (unsigned)i));
    for (i = 0; i < n; i++) y[i] = i * i % OUT;
    return genreg_dataset_reals(c, x, y, n, image ? 3 : 1, image ? shape : flat, OUT);
}

static genreg_model *make_net(genreg_ctx *c, int which)
{
    const int image[3] = { 8, 6, 2 }, flat[1] = { 6 };
    int is_image = which == CNN || which == CNN_BN || which == CNN_NTK || which == DEEP, i;
    genreg_model *m = genreg_model_create(c, is_image ? 3 : 1, is_image ? image : flat);
    if (which == LINEAR || which == TWO_LINEAR) {
        if (which == TWO_LINEAR) genreg_layer_linear(m, 7); /* its output is the other's input: one tensor */
        genreg_layer_linear(m, OUT);
    } else if (which == TAIL) { /* the last linear layer is not the output */
        genreg_layer_linear(m, 8);
        genreg_layer_sigmoid(m);
        genreg_layer_dropout(m, 0.5);
        genreg_layer_linear(m, OUT);
        genreg_layer_tanh(m);
    } else if (!is_image) {
        genreg_layer_linear(m, 9);
        if (which == MLP_BN) genreg_layer_batch_norm(m);
        genreg_layer_relu(m);
        genreg_layer_dropout(m, 0.5);
        genreg_layer_linear(m, 5);
        genreg_layer_tanh(m);
        genreg_layer_linear(m, OUT);
    } else if (which == DEEP) {
        genreg_layer_conv2d(m, 4, 3, 1, 1);
        genreg_layer_sigmoid(m);
        genreg_layer_avg_pool(m, 2); /* 4 x 3 */
        genreg_layer_conv2d(m, 6, 3, 2, 1); /* 2 x 2 */
        genreg_layer_relu(m);
        genreg_layer_conv2d(m, 7, 2, 1, 0); /* 1 x 1 */
        genreg_layer_relu(m);
        genreg_layer_global_avg_pool(m);
        genreg_layer_linear(m, OUT);
    } else {
        genreg_layer_conv2d(m, 3, 3, 1, 1);
        if (which == CNN_BN) genreg_layer_batch_norm(m);
        genreg_layer_relu(m);
        genreg_layer_max_pool(m, 2);
        genreg_layer_conv2d(m, 4, 3, 1, 0); /* 2 x 1 */
        if (which == CNN_BN) genreg_layer_batch_norm(m);
        genreg_layer_relu(m);
        genreg_layer_flatten(m);
        genreg_layer_linear(m, OUT);
    }
    genreg_init(m, which == MLP_NTK || which == CNN_NTK ? GENREG_INIT_NTK : GENREG_INIT_PYTORCH, 3);
    if (!m) exit(1);
    for (i = 0; i < m->parameter_count; i++) { /* biases, gamma and beta that are neither 0 nor 1 */
        const genreg_parameter *p = &m->parameters[i];
        ptrdiff_t k;
        for (k = 0; p->kind != GENREG_KIND_WEIGHT && k < p->size; k++) m->theta->data[p->offset + k] += (genreg_real)(0.3 * wild((unsigned)(900 + p->offset + k)));
    }
    for (i = 0; m->state && i < m->state->size; i++) m->state->data[i] = (genreg_real)(0.6 + 0.5 * wild((unsigned)(300 + i)));
    return m;
}

static int takes_images(int which) { return which == CNN || which == CNN_BN || which == CNN_NTK || which == DEEP; }

/* Rows of d f_o(x_i)/d theta in row i OUT + o, one sweep each. */
static double *jacobian(genreg_model *m, const genreg_dataset *d)
{
    genreg_ctx *c = m->ctx;
    ptrdiff_t size = m->theta->size, k;
    double *j = doubles(d->n * OUT * size);
    int i, o;
    for (i = 0; i < d->n; i++)
        for (o = 0; o < OUT; o++) {
            genreg_place p = genreg_mark(c);
            genreg_batch b = genreg_get_batch(c, d, NULL, i, 1);
            genreg_tensor *y = genreg_forward(m, m->theta, b.x, NULL), *seed = y ? genreg_constant(c, 2, y->shape, NULL) : NULL, *g = NULL;
            if (!seed) break;
            seed->data[o] = 1;
            genreg_grad(c, y, seed, &m->theta, 1, &g);
            for (k = 0; g && k < size; k++) j[(i * OUT + o) * size + k] = (double)g->data[k];
            genreg_release(c, p);
        }
    CHECK(!genreg_error(c), "the explicit Jacobian: %s", genreg_error_message(c));
    return j;
}

/* The kernel that the documentation defines, from Jacobians. */
static double *explicit_kernel(genreg_ntk_form form, int output, const double *a, int n, const double *b, int l, ptrdiff_t size)
{
    int o = form == GENREG_NTK_FULL ? OUT : 1, x, y, p, q;
    double *k = doubles((ptrdiff_t)n * l * o * o);
    ptrdiff_t i;
    for (x = 0; x < n; x++)
        for (y = 0; y < l; y++) {
            double dots[OUT][OUT], trace = 0, sum = 0;
            for (p = 0; p < OUT; p++)
                for (q = 0; q < OUT; q++) {
                    double s = 0;
                    for (i = 0; i < size; i++) s += a[(x * OUT + p) * size + i] * b[(y * OUT + q) * size + i];
                    dots[p][q] = s;
                    sum += s;
                    trace += p == q ? s : 0;
                    if (form == GENREG_NTK_FULL) k[(ptrdiff_t)(x * OUT + p) * l * OUT + y * OUT + q] = s;
                }
            if (form == GENREG_NTK_TRACE) k[x * l + y] = trace / OUT;
            if (form == GENREG_NTK_OUTPUT) k[x * l + y] = dots[output][output];
            if (form == GENREG_NTK_SUM) k[x * l + y] = sum;
        }
    return k;
}

/* ------------------------------------------------------------------------------------------------ the empirical kernel */

static void test_against_jacobians(void)
{
    int which, form, block;
    for (which = 0; which < NETS; which++) {
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, 2);
        genreg_model *m = make_net(c, which);
        genreg_dataset a = samples(c, takes_images(which), N1, 1), b = samples(c, takes_images(which), N2, 5000);
        double *ja = jacobian(m, &a), *jb = jacobian(m, &b);
        for (form = 0; form < 4; form++)
            for (block = 0; block < 4; block++) {
                genreg_ntk_options o = genreg_ntk_defaults();
                int f = form == GENREG_NTK_FULL ? OUT : 1, i, k, n = N1 * f, asymmetric = 0;
                double *expected = explicit_kernel((genreg_ntk_form)form, 1, ja, N1, jb, N2, m->theta->size), *found = doubles((ptrdiff_t)N1 * N2 * f * f), d;
                double *square = explicit_kernel((genreg_ntk_form)form, 1, ja, N1, ja, N1, m->theta->size), *own = doubles((ptrdiff_t)n * n);
                o.form = (genreg_ntk_form)form;
                o.output = 1;
                o.block = block == 3 ? 100 : block; /* as many as fit, 1, 2, more than there are */
                CHECK(genreg_ntk(m, &a, &b, &o, found) == 1, "%s: %s", net_names[which], genreg_error_message(c));
                d = distance(found, expected, (ptrdiff_t)N1 * N2 * f * f);
                CHECK(d < tolerance(), "%s, form %d, block %d: %g", net_names[which], form, o.block, d);
                CHECK(genreg_ntk(m, &a, NULL, &o, own) == 1, "%s: %s", net_names[which], genreg_error_message(c));
                d = distance(own, square, (ptrdiff_t)n * n);
                CHECK(d < tolerance(), "%s, form %d, block %d, symmetric: %g", net_names[which], form, o.block, d);
                for (i = 0; i < n; i++)
                    for (k = 0; k < n; k++) asymmetric += own[i * n + k] != own[k * n + i];
                CHECK(!asymmetric, "%s, form %d, block %d: %d pairs differ", net_names[which], form, o.block, asymmetric);
                if (block == 0) {
                    double *values = doubles(n), *vectors = doubles((ptrdiff_t)n * n);
                    genreg_kernel_eigen(c, own, n, values, vectors);
                    CHECK(values[0] > -(DOUBLE ? 1e-12 : 1e-6) * values[n - 1] && values[n - 1] > 0, "%s, form %d: eigenvalues from %g to %g", net_names[which], form, values[0], values[n - 1]);
                    free(values);
                    free(vectors);
                }
                free(expected);
                free(found);
                free(square);
                free(own);
            }
        free(ja);
        free(jb);
        CHECK(genreg_tape_bytes(c) == 0, "%s: %ld bytes are left on the tape", net_names[which], (long)genreg_tape_bytes(c));
        genreg_destroy(c);
    }
}

/* A net and a set wide enough for tiles, threads and groups of outputs; memory options from ample to hardly enough. */
static void test_blocks_and_threads(void)
{
    static genreg_real x[300 * 20];
    static int y[300];
    static const int sizes[] = { 20, 150, 130, 10 }, flat[1] = { 20 };
    static const double megabytes[] = { 1024, 8, 3, 1.5 };
    double *first = doubles(300 * 300), *other = doubles(300 * 300), *cross = doubles(300 * 300);
    int i, threads;
    size_t k;
    for (i = 0; i < 300 * 20; i++) x[i] = (genreg_real)wild((unsigned)i);
    for (i = 0; i < 300; i++) y[i] = i % 10;
    for (k = 0; k < sizeof megabytes / sizeof *megabytes; k++)
        for (threads = 1; threads <= 3; threads++) {
            genreg_options o = genreg_defaults();
            genreg_ctx *c;
            genreg_model *m;
            genreg_dataset d;
            size_t peak;
            o.memory = (size_t)(megabytes[k] * 1048576);
            o.threads = threads;
            c = genreg_create(&o);
            m = genreg_mlp(c, sizes, 4);
            d = genreg_dataset_reals(c, x, y, 300, 1, flat, 10);
            memset(other, 0xff, 300 * 300 * sizeof *other);
            CHECK(genreg_ntk(m, &d, NULL, NULL, other) == 1, "%g MiB: %s", megabytes[k], genreg_error_message(c));
            peak = genreg_tape_peak(c);
            CHECK(peak <= o.memory && (k == 0 || 2 * peak > o.memory), "%g MiB: used %ld bytes", megabytes[k], (long)peak);
            if (k == 0 && threads == 1) memcpy(first, other, 300 * 300 * sizeof *first);
            else if (k == 0) CHECK(!memcmp(first, other, 300 * 300 * sizeof *first), "%d threads: other bits", threads);
            else CHECK(distance(other, first, 300 * 300) < check_path_tolerance(), "%g MiB: %g", megabytes[k], distance(other, first, 300 * 300));
            if (threads == 2) { /* the same as a rectangle */
                memset(cross, 0xff, 300 * 300 * sizeof *cross);
                CHECK(genreg_ntk(m, &d, &d, NULL, cross) == 1, "%g MiB: %s", megabytes[k], genreg_error_message(c));
                CHECK(distance(cross, first, 300 * 300) < check_path_tolerance(), "%g MiB, rectangle: %g", megabytes[k], distance(cross, first, 300 * 300));
            }
            genreg_destroy(c);
        }
    free(first);
    free(other);
    free(cross);
}

static void test_instruction_sets(void)
{
    static const genreg_isa isas[] = { GENREG_ISA_PLAIN, GENREG_ISA_BASELINE, GENREG_ISA_AVX2, GENREG_ISA_AVX512 };
    double plain[N1 * N1], other[N1 * N1];
    int i, which;
    for (which = 0; which < NETS; which++)
        for (i = 0; i < 4; i++) {
            genreg_ctx *c = genreg_isa_available(isas[i]) ? check_context(isas[i], 1) : NULL;
            genreg_model *m = c ? make_net(c, which) : NULL;
            genreg_dataset d;
            if (!c) continue;
            d = samples(c, takes_images(which), N1, 1);
            CHECK(genreg_ntk(m, &d, NULL, NULL, i ? other : plain) == 1, "%s", genreg_error_message(c));
            if (i) CHECK(distance(other, plain, N1 * N1) < check_path_tolerance(), "%s, %s: %g", net_names[which], genreg_isa_name(c), distance(other, plain, N1 * N1));
            genreg_destroy(c);
        }
}

static void test_hard_input(void)
{
    static genreg_real x[4 * 6];
    static const int labels[] = { 0, 1, 2, 0 }, flat[1] = { 6 }, narrow[] = { 6, 1, OUT };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_model *m = make_net(c, MLP_NTK), *thin = genreg_mlp(c, narrow, 3), *bare, *images;
    genreg_dataset d = genreg_dataset_reals(c, x, labels, 4, 1, flat, OUT), one = genreg_first(c, &d, 1);
    genreg_ntk_options o = genreg_ntk_defaults();
    genreg_options small = genreg_defaults();
    const int image[3] = { 4, 4, 1 };
    double k[144], j[144], *jt;
    int i;
    for (i = 0; i < 6; i++) x[6 + i] = x[12 + i] = (genreg_real)wild((unsigned)i); /* zeros, a sample twice, another */
    for (i = 0; i < 6; i++) x[18 + i] = (genreg_real)wild((unsigned)(80 + i));
    jt = jacobian(m, &d);
    CHECK(genreg_ntk(m, &d, NULL, NULL, k) == 1, "%s", genreg_error_message(c));
    for (i = 0; i < 4; i++) CHECK(k[4 + i] == k[8 + i], "duplicates: %.17g %.17g", k[4 + i], k[8 + i]);
    {
        double *expected = explicit_kernel(GENREG_NTK_TRACE, 0, jt, 4, jt, 4, m->theta->size);
        CHECK(distance(k, expected, 16) < tolerance(), "zeros and duplicates: %g", distance(k, expected, 16));
        free(expected);
    }
    free(jt);
    CHECK(genreg_ntk(m, &one, NULL, NULL, j) == 1 && fabs(j[0] - k[0]) <= 1e-5 * k[0], "one sample: %g, %g", j[0], k[0]);
    jt = jacobian(thin, &d);
    CHECK(genreg_ntk(thin, &d, NULL, NULL, k) == 1, "%s", genreg_error_message(c));
    {
        double *expected = explicit_kernel(GENREG_NTK_TRACE, 0, jt, 4, jt, 4, thin->theta->size);
        CHECK(distance(k, expected, 16) < tolerance(), "width 1: %g", distance(k, expected, 16));
        free(expected);
    }
    free(jt);

    genreg_ntk(m, &d, NULL, NULL, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no room");
    o.form = GENREG_NTK_OUTPUT;
    o.output = OUT;
    genreg_ntk(m, &d, NULL, &o, k);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "output 3 of 3");
    o.form = (genreg_ntk_form)9;
    genreg_ntk(m, &d, NULL, &o, k);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "form");
    o = genreg_ntk_defaults();
    o.block = -1;
    genreg_ntk(m, &d, NULL, &o, k);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "-1");
    bare = genreg_model_create(c, 1, flat);
    genreg_layer_linear(bare, 2);
    genreg_ntk(bare, &d, NULL, NULL, k);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "genreg_init");
    images = genreg_model_create(c, 3, image);
    genreg_layer_conv2d(images, 2, 3, 1, 1);
    genreg_init(images, GENREG_INIT_HE, 1);
    genreg_ntk(images, &d, NULL, NULL, k);
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "flatten");
    memset(&one, 0, sizeof one);
    genreg_ntk(m, &one, NULL, NULL, k);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "empty");
    genreg_ntk(m, &d, &one, NULL, k);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "empty");
    d = samples(c, 1, 3, 1);
    genreg_ntk(m, &d, NULL, NULL, k);
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "forward");
    CHECK(genreg_ntk(NULL, &d, NULL, NULL, k) == 0, "no model");
    genreg_destroy(c);

    small.memory = 4000; /* not enough for one sample: says what is needed and allowed */
    c = genreg_create(&small);
    m = make_net(c, CNN);
    d = samples(c, 1, 3, 1);
    CHECK(genreg_ntk(m, &d, NULL, NULL, k) == 0, "4,000 bytes were enough");
    CHECK_ERROR(c, GENREG_ERROR_LIMIT, "may have 4000");
    genreg_destroy(c);
}

/* ------------------------------------------------------------------------------------------------ infinite width */

static void test_infinite_reference(void)
{
    static const int settings[][3] = { { 1, 0, 10 }, { 2, 0, 10 }, { 3, 0, 0 }, { 4, 0, 10 }, { 4, 5, 5 }, { 7, 1, 10 } };
    static const int flat[1] = { 5 }, labels[6] = { 0, 1, 0, 1, 0, 1 };
    genreg_real x[30];
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 2);
    genreg_dataset d, few;
    fixture f;
    const double *given;
    int i;
    size_t s;
    if (!fixture_read(&f, __FILE__, "ntk.txt") || !(given = fixture_get(&f, "x", 30))) {
        CHECK(0, "no fixture");
        return;
    }
    for (i = 0; i < 30; i++) x[i] = (genreg_real)given[i];
    d = genreg_dataset_reals(c, x, labels, 6, 1, flat, 2);
    few = genreg_first(c, &d, 4);
    for (s = 0; s < sizeof settings / sizeof *settings; s++) {
        genreg_infinite_options o = genreg_infinite_defaults();
        double ntk[36], nngp[36], part[24], error = 0, difference = 0;
        char name[48];
        const double *expected;
        o.layers = settings[s][0];
        o.bias_variance = settings[s][1] / 10.0;
        o.bias_tangent = settings[s][2] / 10.0;
        CHECK(genreg_infinite_kernel(c, &d, NULL, &o, ntk, nngp) == 1, "%s", genreg_error_message(c));
        sprintf(name, "ntk_%d_%d_%d", settings[s][0], settings[s][1], settings[s][2]);
        expected = fixture_get(&f, name, 36);
        for (i = 0; expected && i < 36; i++) error = fmax(error, fabs(ntk[i] - expected[i]) / (1 + fabs(expected[i])));
        CHECK(expected && error < 2e-8, "%s: %g", name, error); /* arccos at parallel samples is good to 1e-8 */
        sprintf(name, "nngp_%d_%d", settings[s][0], settings[s][1]);
        expected = fixture_get(&f, name, 36);
        for (i = 0, error = 0; expected && i < 36; i++) error = fmax(error, fabs(nngp[i] - expected[i]) / (1 + fabs(expected[i])));
        CHECK(expected && error < 1e-12, "%s: %g", name, error);
        CHECK(genreg_infinite_kernel(c, &few, &d, &o, part, NULL) == 1, "%s", genreg_error_message(c));
        for (i = 0; i < 24; i++) difference = fmax(difference, fabs(part[i] - ntk[i]));
        CHECK(difference <= 1e-12 * fabs(ntk[0]), "the rectangle differs from the square by %g", difference);
    }
    fixture_free(&f);
    genreg_destroy(c);
}

/* The mean over seeds of the kernel of a net of width 1,000, entry by entry, within five standard errors, and within two of them on average. */
static void test_infinite_limit(void)
{
    enum { n = 6, seeds = 16, width = 1000, all = n * n };
    static const int sizes[] = { 6, width, width, OUT };
    double limit[all], sum[all], squares[all], k[all], worst = 0, average = 0, nngp[all];
    genreg_infinite_options o = genreg_infinite_defaults();
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 2);
    genreg_dataset d = samples(c, 0, n, 31);
    int i, s;
    memset(sum, 0, sizeof sum);
    memset(squares, 0, sizeof squares);
    o.layers = 3;
    genreg_infinite_kernel(c, &d, NULL, &o, limit, nngp);
    for (s = 0; s < seeds; s++) {
        genreg_model *m = genreg_mlp(c, sizes, 4);
        genreg_init(m, GENREG_INIT_NTK, 100 + (uint64_t)s);
        genreg_ntk(m, &d, NULL, NULL, k);
        for (i = 0; i < all; i++) {
            sum[i] += k[i];
            squares[i] += k[i] * k[i];
        }
        genreg_model_free(m);
    }
    CHECK(!genreg_error(c), "%s", genreg_error_message(c));
    for (i = 0; i < all; i++) {
        double mean = sum[i] / seeds, error = sqrt((squares[i] / seeds - mean * mean) / (seeds - 1));
        worst = fmax(worst, fabs(mean - limit[i]) / error);
        average += fabs(mean - limit[i]) / error / all;
        CHECK(error < 0.03 * fabs(limit[0]), "entry %d: the standard error %g says nothing about %g", i, error, limit[i]);
    }
    CHECK(worst < 5, "the worst entry is %g standard errors from the limit", worst);
    CHECK(average < 2, "entries are %g standard errors from the limit on average", average);
    genreg_destroy(c);
}

/* Zero images, samples twice and opposite, and each other's multiples: every value finite, the matrix positive semi-definite. */
static void test_infinite_hard_input(void)
{
    static const int flat[1] = { 4 }, labels[6] = { 0, 0, 0, 0, 0, 0 };
    static genreg_real x[24];
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_infinite_options o = genreg_infinite_defaults();
    genreg_dataset d, e;
    double k[36], s[36], values[6], vectors[36];
    int i;
    for (i = 0; i < 4; i++) {
        x[4 + i] = x[8 + i] = (genreg_real)wild((unsigned)i);
        x[12 + i] = -x[4 + i];
        x[16 + i] = (genreg_real)1e-9 * x[4 + i];
        x[20 + i] = (genreg_real)wild((unsigned)(i + 50));
    }
    d = genreg_dataset_reals(c, x, labels, 6, 1, flat, 1);
    for (o.layers = 1; o.layers < 6; o.layers++) {
        CHECK(genreg_infinite_kernel(c, &d, NULL, &o, k, s) == 1, "%s", genreg_error_message(c));
        for (i = 0; i < 36; i++) CHECK(k[i] - k[i] == 0 && s[i] - s[i] == 0, "entry %d is %g, %g", i, k[i], s[i]);
        for (i = 0; i < 6; i++) CHECK(k[i] == 1 && s[i] == 0, "zeros with sample %d: %g, %g; only the last bias counts", i, k[i], s[i]);
        for (i = 0; i < 6; i++) CHECK(k[6 + i] == k[12 + i], "duplicates differ: %.17g %.17g", k[6 + i], k[12 + i]);
        CHECK(genreg_kernel_eigen(c, k, 6, values, vectors) && values[0] > -1e-12 * values[5], "smallest eigenvalue %g of %g", values[0], values[5]);
    }
    { /* as a net has it: zeros in, ReLU's derivative 0 */
        static const int sizes[] = { 4, 30, 20, 2 };
        genreg_model *m = genreg_mlp(c, sizes, 4);
        genreg_init(m, GENREG_INIT_NTK, 5);
        CHECK(genreg_ntk(m, &d, NULL, NULL, k) == 1, "%s", genreg_error_message(c));
        for (i = 0; i < 6; i++) CHECK(k[i] == 1, "a net's kernel of zeros with sample %d: %g", i, k[i]);
    }
    o.layers = 0;
    genreg_infinite_kernel(c, &d, NULL, &o, k, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "0 layers");
    o.layers = 2;
    o.bias_variance = -1;
    genreg_infinite_kernel(c, &d, NULL, &o, k, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "-1");
    e = samples(c, 0, 2, 1);
    genreg_infinite_kernel(c, &d, &e, NULL, k, NULL);
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "4 and of 6");
    genreg_destroy(c);
}

/* ------------------------------------------------------------------------------------------------ regression */

/* x = a^-1 b by elimination with pivots; a and b are destroyed. */
static void eliminate(int n, int columns, double *a, double *b)
{
    int i, k, r, m;
    for (k = 0; k < n; k++) {
        int best = k;
        for (r = k + 1; r < n; r++)
            if (fabs(a[r * n + k]) > fabs(a[best * n + k])) best = r;
        for (i = 0; i < n; i++) { double t = a[k * n + i]; a[k * n + i] = a[best * n + i]; a[best * n + i] = t; }
        for (m = 0; m < columns; m++) { double t = b[k * columns + m]; b[k * columns + m] = b[best * columns + m]; b[best * columns + m] = t; }
        for (r = 0; r < n; r++) {
            double factor = r == k ? 0 : a[r * n + k] / a[k * n + k];
            for (i = k; i < n && r != k; i++) a[r * n + i] -= factor * a[k * n + i];
            for (m = 0; m < columns && r != k; m++) b[r * columns + m] -= factor * b[k * columns + m];
        }
    }
    for (k = 0; k < n; k++)
        for (m = 0; m < columns; m++) b[k * columns + m] /= a[k * n + k];
}

/* A Gram matrix of n random vectors with `features` values: of rank at most that. */
static double *gram(int n, int features)
{
    double *k = doubles((ptrdiff_t)n * n);
    int i, l, f;
    for (i = 0; i < n; i++)
        for (l = 0; l < n; l++) {
            double s = 0;
            for (f = 0; f < features; f++) s += wild((unsigned)(i * features + f)) * wild((unsigned)(l * features + f));
            k[i * n + l] = s;
        }
    return k;
}

static void test_ridge(void)
{
    static const int sizes[] = { 1, 2, 31, 96, 97, 250 };
    size_t s;
    for (s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int n = sizes[s], outputs = 1 + (int)s % 3, i, with;
        double *k = gram(n, 2 * n), *targets = doubles(n * outputs), *alpha = doubles(n * outputs), *a = doubles((ptrdiff_t)n * n), *values = doubles(n), *vectors = doubles((ptrdiff_t)n * n);
        double *out = doubles(n * outputs);
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1 + (int)s % 2);
        for (i = 0; i < n * outputs; i++) targets[i] = wild((unsigned)(7000 + i));
        genreg_kernel_eigen(c, k, n, values, vectors);
        for (with = 0; with < 2; with++) {
            genreg_ridge_options o = genreg_ridge_defaults();
            genreg_ridge r;
            double mean = 0, *b = doubles(n * outputs);
            for (i = 0; i < n; i++) mean += k[i * n + i] / n;
            o.relative = with ? 0.01 : 0;
            o.relative_max = 0.01;
            r = genreg_kernel_ridge(c, k, n, targets, outputs, &o, alpha);
            CHECK(!genreg_error(c) && r.attempts == 1, "n = %d: %d attempts, %s", n, r.attempts, genreg_error_message(c));
            CHECK(fabs(r.ridge - o.relative * mean) <= 1e-15 * mean && r.relative == o.relative, "ridge %g, relative %g", r.ridge, r.relative);
            CHECK(fabs(r.min_eigenvalue - values[0]) < 1e-7 * values[n - 1], "n = %d, ridge %g: smallest eigenvalue %.12g, found %.12g", n, r.ridge, values[0], r.min_eigenvalue);
            memcpy(a, k, (size_t)n * (size_t)n * sizeof *a);
            for (i = 0; i < n; i++) a[i * n + i] += r.ridge;
            memcpy(b, targets, (size_t)(n * outputs) * sizeof *b);
            eliminate(n, outputs, a, b);
            CHECK(distance(alpha, b, n * outputs) < 1e-9, "n = %d: %g", n, distance(alpha, b, n * outputs));
            if (!with) {
                CHECK(genreg_kernel_predict(c, k, n, n, alpha, outputs, out) == 1, "%s", genreg_error_message(c));
                CHECK(distance(out, targets, n * outputs) < 1e-9, "n = %d: predictions on the samples err by %g", n, distance(out, targets, n * outputs));
            }
            free(b);
        }
        CHECK(genreg_tape_bytes(c) == 0, "%ld bytes are left on the tape", (long)genreg_tape_bytes(c));
        genreg_destroy(c);
        free(k); free(targets); free(alpha); free(a); free(values); free(vectors); free(out);
    }
}

/* Duplicates: rank 20 of 60. The ridge grows until it is enough, is reported, and the predictions are those of the samples' means. */
/* Eigenvalues that crowd at the lower end are what the 40 Lanczos steps are worst at: a bound from above, and close. A diagonal kernel. */
static void test_smallest_eigenvalue(void)
{
    enum { n = 600 };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 2);
    double *k = doubles((ptrdiff_t)n * n), *targets = doubles(n), *alpha = doubles(n);
    genreg_ridge r;
    int i;
    for (i = 0; i < n * n; i++) k[i] = 0;
    for (i = 0; i < n; i++) {
        k[i * n + i] = 1 + (double)i / (n - 1);
        targets[i] = 1;
    }
    r = genreg_kernel_ridge(c, k, n, targets, 1, NULL, alpha);
    CHECK(r.min_eigenvalue > 1 - 1e-12 && r.min_eigenvalue < 1.001, "%.9g, and 1 is right", r.min_eigenvalue);
    CHECK(genreg_kernel_eigen(c, k, -3, alpha, alpha) == 0, "-3 rows");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "-3 x -3");
    r = genreg_kernel_ridge(c, k, -3, targets, -1, NULL, alpha);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "-3 x -3");
    genreg_destroy(c);
    free(k); free(targets); free(alpha);
}

static void test_singular(void)
{
    enum { n = 60 };
    double *k = gram(n, 20), targets[n], alpha[n], out[n], again[n];
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_ridge_options o = genreg_ridge_defaults();
    genreg_ridge r;
    int i;
    for (i = 0; i < n; i++) targets[i] = k[i * n + 3]; /* within the range of k, so that it can be learnt */
    r = genreg_kernel_ridge(c, k, n, targets, 1, NULL, alpha);
    CHECK(!genreg_error(c) && r.attempts > 1 && r.relative >= 1e-12 && r.relative <= 1e-4 && r.ridge > 0, "%d attempts, relative %g: %s", r.attempts, r.relative, genreg_error_message(c));
    CHECK(fabs(r.min_eigenvalue) < 1e-12 * n * n, "smallest eigenvalue %g of a singular matrix", r.min_eigenvalue);
    genreg_kernel_predict(c, k, n, n, alpha, 1, out);
    CHECK(distance(out, targets, n) < 1e-6, "%g", distance(out, targets, n));
    o.relative_max = 1e-13;
    r = genreg_kernel_ridge(c, k, n, targets, 1, &o, alpha);
    CHECK(r.ridge != r.ridge, "a ridge of %g after an error", r.ridge);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "positive definite");
    for (i = 0; i < n; i++) k[i * n + i] -= 1000;
    genreg_kernel_ridge(c, k, n, targets, 1, NULL, alpha);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "diagonal's mean");
    k[5] = (double)NAN;
    genreg_kernel_ridge(c, k, n, targets, 1, NULL, alpha);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "number 5");
    genreg_kernel_eigen(c, k, n, out, k);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "number 5");
    genreg_kernel_ridge(c, k, 0, targets, 1, NULL, alpha);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "0 x 0");
    genreg_kernel_predict(c, NULL, n, n, alpha, 1, again);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "missing");
    free(k);
    genreg_destroy(c);
    {
        genreg_options small = genreg_defaults();
        small.memory = 20000;
        c = genreg_create(&small);
        k = gram(n, 2 * n);
        genreg_kernel_ridge(c, k, n, targets, 1, NULL, alpha);
        CHECK_ERROR(c, GENREG_ERROR_LIMIT, "may have 20000");
        free(k);
        genreg_destroy(c);
    }
}

static void test_accuracy_and_alignment(void)
{
    static const double p[] = { .1, .9, .0, .5, .5, .4, -3, -2, -1, 0, 0, 0 }, a[] = { 1, 2, 2, 5 }, b[] = { 2, 4, 4, 10 }, z[] = { 0, 0, 0, 0 }, e[] = { 2, -1, 0, 0 };
    static const int labels[] = { 1, 0, 2, 1 };
    CHECK(genreg_kernel_accuracy(p, labels, 4, 3) == 0.75, "%g", genreg_kernel_accuracy(p, labels, 4, 3));
    CHECK(fabs(genreg_kernel_alignment(a, b, 4) - 1) < 1e-15, "%g", genreg_kernel_alignment(a, b, 4));
    CHECK(fabs(genreg_kernel_alignment(a, e, 4)) < 1e-15, "%g", genreg_kernel_alignment(a, e, 4));
    CHECK(genreg_kernel_alignment(a, z, 4) != genreg_kernel_alignment(a, z, 4), "a zero matrix has an alignment");
    CHECK(fabs(genreg_kernel_change(a, b, 4) - 0.5) < 1e-15 && fabs(genreg_kernel_change(b, a, 4) - 1) < 1e-15, "%g %g", genreg_kernel_change(a, b, 4), genreg_kernel_change(b, a, 4));
    CHECK(genreg_kernel_change(a, a, 4) == 0 && genreg_kernel_change(a, z, 4) != genreg_kernel_change(a, z, 4), "no change");
    {
        double out[6], k[4] = { 1, 0.3, 0.3, 1 };
        int zero[3] = { 0, 0, 1 }, i;
        for (i = 0; i < 6; i++) out[i] = (double)NAN;
        CHECK(genreg_kernel_accuracy(out, zero, 3, 2) == 0, "NaN is no answer: %g", genreg_kernel_accuracy(out, zero, 3, 2));
        out[2] = 1;
        out[3] = 0;
        CHECK(genreg_kernel_accuracy(out, zero, 3, 2) == 1.0 / 3, "one of three: %g", genreg_kernel_accuracy(out, zero, 3, 2));
        for (i = 1; i < 500; i++) {
            k[1] = wild((unsigned)i);
            if (genreg_kernel_alignment(k, k, 4) > 1) break;
        }
        CHECK(i == 500, "an alignment over 1: %.17g", genreg_kernel_alignment(k, k, 4));
    }
}

/* Eigenpairs by what they are: orthonormal rows with k v = value v, in order; for odd sizes, multiple eigenvalues, diagonal and zero matrices. */
static void test_eigen(void)
{
    static const int sizes[] = { 1, 2, 3, 10, 65, 150 };
    size_t s;
    int kind;
    for (s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (kind = 0; kind < 4; kind++) {
            int n = sizes[s], i, l, m, unordered = 0;
            double *k = kind == 1 ? gram(n, n / 3 + 1) : gram(n, n + 3), *values = doubles(n), *vectors = doubles((ptrdiff_t)n * n), residual = 0, overlap = 0;
            genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1 + kind % 2);
            for (i = 0; i < n * n; i++)
                if (kind == 3 || (kind == 2 && i / n != i % n)) k[i] = 0;
            CHECK(genreg_kernel_eigen(c, k, n, values, vectors) == 1, "%s", genreg_error_message(c));
            for (i = 0; i < n; i++) {
                unordered += i > 0 && values[i] < values[i - 1];
                for (l = 0; l < n; l++) {
                    double kv = 0, dot = 0;
                    for (m = 0; m < n; m++) {
                        kv += k[l * n + m] * vectors[i * n + m];
                        dot += vectors[i * n + m] * vectors[l * n + m];
                    }
                    residual = fmax(residual, fabs(kv - values[i] * vectors[i * n + l]));
                    overlap = fmax(overlap, fabs(dot - (i == l)));
                }
            }
            CHECK(!unordered && residual <= 1e-13 * fabs(values[n - 1]) && overlap < 1e-13, "n = %d, kind %d: residual %g, overlap %g", n, kind, residual, overlap);
            free(k); free(values); free(vectors);
            genreg_destroy(c);
        }
}

/* df/dt = -k (f - y) by Runge and Kutta's steps, beside the formula; and both ends of time. */
static void test_flow(void)
{
    enum { n = 12, outputs = 2, steps = 4000 };
    static const double times[] = { 0, 0.02, 0.5, 3 };
    double *k = gram(n, n + 4), y[n * outputs], f[n * outputs], g[n * outputs], alpha[n * outputs], found[n * outputs], values[n], vectors[n * n];
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_ridge r;
    size_t s;
    int i;
    for (i = 0; i < n * outputs; i++) y[i] = wild((unsigned)(40 + i));
    genreg_kernel_eigen(c, k, n, values, vectors);
    for (s = 0; s < sizeof times / sizeof *times; s++) {
        double h = times[s] / steps;
        int step, stage, l, o;
        memset(f, 0, sizeof f);
        for (step = 0; step < steps; step++) {
            double slope[4][n * outputs];
            for (stage = 0; stage < 4; stage++)
                for (i = 0; i < n; i++)
                    for (o = 0; o < outputs; o++) {
                        double sum = 0;
                        for (l = 0; l < n; l++) {
                            double at = f[l * outputs + o] + (stage ? h * (stage == 3 ? 1 : 0.5) * slope[stage - 1][l * outputs + o] : 0);
                            sum -= k[i * n + l] * (at - y[l * outputs + o]);
                        }
                        slope[stage][i * outputs + o] = sum;
                    }
            for (i = 0; i < n * outputs; i++) f[i] += h / 6 * (slope[0][i] + 2 * slope[1][i] + 2 * slope[2][i] + slope[3][i]);
        }
        CHECK(genreg_kernel_flow(c, values, vectors, n, y, outputs, times[s], alpha) == 1, "%s", genreg_error_message(c));
        genreg_kernel_predict(c, k, n, n, alpha, outputs, found);
        CHECK(distance(found, f, n * outputs) < 1e-10, "t = %g: %g", times[s], distance(found, f, n * outputs));
        if (s == 0) for (i = 0; i < n * outputs; i++) CHECK(alpha[i] == 0, "at t = 0: %g", alpha[i]);
    }
    genreg_kernel_flow(c, values, vectors, n, y, outputs, HUGE_VAL, alpha);
    r = genreg_kernel_ridge(c, k, n, y, outputs, NULL, g);
    CHECK(r.ridge == 0 && distance(alpha, g, n * outputs) < 1e-9, "at the end of time: %g from the solution", distance(alpha, g, n * outputs));
    free(k);
    k = gram(n, 3); /* singular: what cannot be learnt is left at 0, at any time */
    genreg_kernel_eigen(c, k, n, values, vectors);
    genreg_kernel_flow(c, values, vectors, n, y, outputs, HUGE_VAL, alpha);
    genreg_kernel_flow(c, values, vectors, n, y, outputs, 1e30, g);
    for (i = 0; i < n * outputs; i++) CHECK(fabs(alpha[i]) < 1e3 && fabs(g[i] - alpha[i]) < 1e-9, "entry %d: %g %g", i, alpha[i], g[i]);
    genreg_kernel_flow(c, values, vectors, n, y, outputs, -1, alpha);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "-1");
    free(k);
    genreg_destroy(c);
}

/* ------------------------------------------------------------------------------------------------ the linearised model */

static void test_linearised(void)
{
    int which;
    for (which = 0; which < NETS; which++) {
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
        genreg_model *m = make_net(c, which), *linear = genreg_linearize(m);
        genreg_dataset d = samples(c, takes_images(which), N1, 1);
        ptrdiff_t size = m->theta->size, i, k;
        double *j = jacobian(m, &d), expected[N1 * OUT], found[N1 * OUT], kernel[N1 * N1], own[N1 * N1], worst = 0, scale = 0;
        genreg_place place = genreg_mark(c);
        genreg_batch b = genreg_get_batch(c, &d, NULL, 0, N1);
        genreg_tensor *y0 = genreg_forward(m, NULL, b.x, NULL), *y, *g = NULL, *seed;
        genreg_score before = genreg_evaluate(m, &d), after = genreg_evaluate(linear, &d);
        CHECK(before.loss == after.loss && before.accuracy == after.accuracy, "%s: loss %.9g at the start, and %.9g", net_names[which], after.loss, before.loss);
        genreg_ntk(m, &d, NULL, NULL, kernel);
        for (k = 0; k < size; k++) linear->theta->data[k] += (genreg_real)(0.7 * wild((unsigned)(600 + k)));
        y = genreg_forward(linear, linear->theta, b.x, NULL);
        CHECK(y != NULL, "%s: %s", net_names[which], genreg_error_message(c));
        for (i = 0; y && i < N1 * OUT; i++) {
            expected[i] = (double)y0->data[i];
            for (k = 0; k < size; k++) expected[i] += j[i * size + k] * ((double)linear->theta->data[k] - (double)m->theta->data[k]);
            found[i] = (double)y->data[i];
        }
        CHECK(distance(found, expected, N1 * OUT) < (DOUBLE ? 1e-12 : 1e-5), "%s: f + J (theta - theta_0) errs by %g", net_names[which], distance(found, expected, N1 * OUT));
        seed = genreg_constant(c, 2, y->shape, NULL); /* its gradient is J^T seed, wherever theta is */
        for (i = 0; i < N1 * OUT; i++) seed->data[i] = (genreg_real)wild((unsigned)(70 + i));
        genreg_grad(c, y, seed, &linear->theta, 1, &g);
        for (k = 0; g && k < size; k++) {
            double sum = 0;
            for (i = 0; i < N1 * OUT; i++) sum += j[i * size + k] * (double)seed->data[i];
            worst = fmax(worst, fabs(sum - (double)g->data[k]));
            scale = fmax(scale, fabs(sum));
        }
        CHECK(g && worst < (DOUBLE ? 1e-12 : 2e-5) * scale, "%s: J^T v errs by %g of %g", net_names[which], worst, scale);
        CHECK(genreg_ntk(linear, &d, NULL, NULL, own) == 1 && distance(own, kernel, N1 * N1) < check_path_tolerance(), "%s: its kernel moved by %g", net_names[which], distance(own, kernel, N1 * N1));
        genreg_release(c, place);
        free(j);
        genreg_model_free(m); /* it stands alone */
        CHECK(genreg_evaluate(linear, &d).samples == N1, "%s: %s", net_names[which], genreg_error_message(c));
        genreg_model_free(linear);
        genreg_destroy(c);
    }
}

/* Full-batch gradient descent on the squared error moves the outputs by f -= lr 2/(N O) k (f - y) with the full kernel: step by step, to the digit. */
static void test_linearised_training(void)
{
    enum { steps = 25, all = N1 * OUT };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_model *m = make_net(c, CNN_BN), *linear;
    genreg_dataset d = samples(c, 1, N1, 1);
    genreg_ntk_options form = genreg_ntk_defaults();
    genreg_train_options o = genreg_train_defaults();
    double k[all * all], f[all], next[all], found[all];
    genreg_place place = genreg_mark(c);
    genreg_batch b = genreg_get_batch(c, &d, NULL, 0, N1);
    genreg_tensor *y = genreg_forward(m, NULL, b.x, NULL);
    int s, i, l;
    form.form = GENREG_NTK_FULL;
    genreg_ntk(m, &d, NULL, &form, k);
    for (i = 0; y && i < all; i++) f[i] = (double)y->data[i];
    genreg_release(c, place);
    linear = genreg_linearize(m);
    o.batch = N1;
    o.momentum = 0;
    o.lr = 0.1;
    o.schedule = GENREG_SCHEDULE_CONSTANT;
    o.loss = GENREG_LOSS_MSE;
    o.epochs = steps;
    o.no_shuffle = 1;
    genreg_train(linear, &d, &o);
    for (s = 0; s < steps; s++) {
        for (i = 0; i < all; i++) {
            next[i] = f[i];
            for (l = 0; l < all; l++) next[i] -= o.lr * 2 / all * k[i * all + l] * (f[l] - (d.labels[l / OUT] == l % OUT));
        }
        memcpy(f, next, sizeof f);
    }
    b = genreg_get_batch(c, &d, NULL, 0, N1);
    y = genreg_forward(linear, NULL, b.x, NULL);
    for (i = 0; y && i < all; i++) found[i] = (double)y->data[i];
    CHECK(y && distance(found, f, all) < (DOUBLE ? 1e-11 : 1e-5), "after %d steps: %g, %s", steps, distance(found, f, all), genreg_error_message(c));
    genreg_release(c, place);

    genreg_init(linear, GENREG_INIT_HE, 1);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "linearised");
    {
        genreg_trace trace;
        genreg_pass pass;
        memset(&pass, 0, sizeof pass);
        pass.trace = &trace;
        b = genreg_get_batch(c, &d, NULL, 0, N1);
        genreg_forward(linear, NULL, b.x, &pass);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "trace");
    }
    genreg_save_model(linear, "/tmp/never-written");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "linearised");
    CHECK(genreg_linearize(NULL) == NULL, "no model");
    genreg_destroy(c);
}

int main(void)
{
    test_against_jacobians();
    test_blocks_and_threads();
    test_instruction_sets();
    test_hard_input();
    test_infinite_reference();
    test_infinite_limit();
    test_infinite_hard_input();
    test_ridge();
    test_smallest_eigenvalue();
    test_singular();
    test_accuracy_and_alignment();
    test_eigen();
    test_flow();
    test_linearised();
    test_linearised_training();
    return check_done();
}
