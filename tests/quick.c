/* quick.c - a little of everything through the public functions, with values to compare: tests/matrix.sh builds and runs it everywhere.

      cc tests/quick.c -o quick -lm && ./quick          (or with -DGENREG_REAL=double, as C++, for another machine, ...)

   With QUICK_CALLS_ONLY the implementation comes from another file. Under the plain instruction set results have the same bits on every
   machine: the sums below hold for all compilers, word sizes and byte orders. */
#ifndef QUICK_CALLS_ONLY
#define GENREG_IMPLEMENTATION
#endif
#include "../genreg.h"
#include "check.h"
#include <stdlib.h>

enum { SAMPLES = 60, CLASSES = 3 };

/* FNV-1a over the values' bits, least significant byte first. */
static uint64_t sum_of(const genreg_real *x, ptrdiff_t n)
{
    uint64_t sum = 14695981039346656037u;
    ptrdiff_t i;
    for (i = 0; i < n; i++) {
        uint64_t bits = 0;
        uint32_t narrow;
        size_t byte;
        if (sizeof *x == 8) memcpy(&bits, &x[i], sizeof *x);
        else {
            memcpy(&narrow, &x[i], 4);
            bits = narrow;
        }
        for (byte = 0; byte < sizeof *x; byte++) sum = (sum ^ (bits >> (8 * byte) & 255)) * 1099511628211u;
    }
    return sum;
}

/* Every 4 x 4 image of a class has a bright quarter. */
static genreg_dataset make_set(genreg_ctx *c, genreg_real *values, int *labels)
{
    const int shape[3] = { 4, 4, 1 };
    int i, k;
    for (i = 0; i < SAMPLES; i++) {
        labels[i] = i % CLASSES;
        for (k = 0; k < 16; k++)
            values[16 * i + k] = (genreg_real)(0.5 * genreg_normal(7, 0, (uint64_t)(16 * i + k)) + (k / 8 == labels[i] / 2 && k % 4 / 2 == labels[i] % 2 ? 2 : 0));
    }
    return genreg_dataset_reals(c, values, labels, SAMPLES, 3, shape, CLASSES);
}

static genreg_model *make_model(genreg_ctx *c)
{
    const int shape[3] = { 4, 4, 1 };
    genreg_model *m = genreg_model_create(c, 3, shape);
    genreg_layer_conv2d(m, 5, 3, 1, 1);
    genreg_layer_batch_norm(m);
    genreg_layer_relu(m);
    genreg_layer_max_pool(m, 2);
    genreg_layer_flatten(m);
    genreg_layer_linear(m, 8);
    genreg_layer_tanh(m);
    genreg_layer_linear(m, CLASSES);
    genreg_init(m, GENREG_INIT_HE, 1);
    return m;
}

/* d/dx and d2/dx2 of x exp(x) tanh(x) against their formulas. */
static void test_derivatives(genreg_ctx *c)
{
    const double tolerance = sizeof(genreg_real) == 8 ? 1e-12 : 1e-5;
    genreg_real value = (genreg_real)0.75;
    genreg_tensor *x = genreg_variable(c, 0, NULL, &value), *y = genreg_exp(c, x), *t = genreg_tanh(c, x), *first = NULL, *second = NULL;
    const double v = 0.75, e = exp(v), h = tanh(v), s = 1 - h * h;
    y = genreg_mul(c, y, t);
    y = genreg_mul(c, y, x);
    CHECK(genreg_grad(c, y, NULL, &x, 1, &first) && genreg_grad(c, first, NULL, &x, 1, &second), "%s", genreg_error_message(c));
    CHECK(fabs(genreg_item(y) - v * e * h) < tolerance * 4, "%.17g", genreg_item(y));
    CHECK(fabs(genreg_item(first) - e * (h + v * h + v * s)) < tolerance * 8, "%.17g", genreg_item(first));
    CHECK(fabs(genreg_item(second) - e * (2 * h + v * h + 2 * s + 2 * v * s - 2 * v * h * s)) < tolerance * 16, "%.17g", genreg_item(second));
    genreg_matmul(c, x, x, 0, 0);
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "matmul");
}

/* Training, evaluation, an eigenvalue and a file in every instruction set; the plain one has known bits. */
static void test_training(genreg_isa isa)
{
    static const uint64_t known[2][2] = { { 0x33db785fc1089ee4u, 0x2a3590bfd1e91cc6u }, { 0x54640128c045a8efu, 0x23dcc3f63cccf3bfu } };
    const uint64_t *want = known[sizeof(genreg_real) == 8];
    genreg_ctx *c = check_context(isa, 0);
    genreg_real values[16 * SAMPLES];
    int labels[SAMPLES];
    genreg_dataset d = make_set(c, values, labels);
    genreg_model *m = make_model(c);
    genreg_train_options o = genreg_train_defaults();
    genreg_progress p;
    genreg_score s;
    genreg_eigen top;
    test_derivatives(c);
    o.batch = 16;
    o.epochs = 6;
    o.lr = 0.02;
    o.weight_decay = 1e-3;
    p = genreg_train(m, &d, &o);
    s = genreg_evaluate(m, &d);
    top = genreg_hessian_top(m, &d, NULL);
    CHECK(genreg_error(c) == GENREG_OK, "%s", genreg_error_message(c));
    if (genreg_error(c) != GENREG_OK) { genreg_destroy(c); return; }
    CHECK(p.epoch == 6 && p.step == 24 && p.loss < 0.5 && s.accuracy > 0.9 && s.samples == SAMPLES, "loss %.4f, accuracy %.3f", p.loss, s.accuracy);
    CHECK(top.converged && top.value > 0, "eigenvalue %.6g, residual %.2g", top.value, top.residual);
    if (isa == GENREG_ISA_PLAIN) {
        genreg_real figures[2];
        figures[0] = (genreg_real)s.loss;
        figures[1] = (genreg_real)top.value;
        CHECK(sum_of(m->theta->data, m->theta->size) == want[0], "the parameters' bits: 0x%08lx%08lx", (unsigned long)(sum_of(m->theta->data, m->theta->size) >> 32),
              (unsigned long)(sum_of(m->theta->data, m->theta->size) & 0xffffffffu));
        CHECK(sum_of(figures, 2) == want[1], "the figures' bits: 0x%08lx%08lx", (unsigned long)(sum_of(figures, 2) >> 32), (unsigned long)(sum_of(figures, 2) & 0xffffffffu));
    }
#ifndef GENREG_NO_STDIO
    {
        genreg_model *again;
        genreg_tensor *t;
        char model[64], array[64];
        sprintf(model, "quick_%d_%d.safetensors", (int)sizeof(genreg_real), (int)isa);
        sprintf(array, "quick_%d_%d.npy", (int)sizeof(genreg_real), (int)isa);
        again = genreg_save_model(m, model) && genreg_save_model(m, model) ? genreg_load_model(c, model) : NULL; /* twice: over an old file */
        CHECK(again && !memcmp(again->theta->data, m->theta->data, (size_t)m->theta->size * sizeof *values), "%s", genreg_error_message(c));
        t = genreg_save_npy(c, array, m->theta->rank, m->theta->shape, m->theta->data) ? genreg_load_npy(c, array) : NULL;
        CHECK(t && !memcmp(t->data, m->theta->data, (size_t)m->theta->size * sizeof *values), "%s", genreg_error_message(c));
        remove(model);
        remove(array);
        CHECK(genreg_load_model(c, model) == NULL, "a file that is gone");
        CHECK_ERROR(c, GENREG_ERROR_FILE, "there is no such file");
    }
#endif
    genreg_destroy(c);
}

int main(void)
{
    int isa;
    for (isa = (int)GENREG_ISA_PLAIN; isa <= (int)GENREG_ISA_AVX512; isa++)
        if (genreg_isa_available((genreg_isa)isa)) test_training((genreg_isa)isa);
    return check_done();
}
