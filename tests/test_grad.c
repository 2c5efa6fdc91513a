/* Every operation's rule, by name: first derivatives against central differences of the function, second derivatives against central
   differences of the gradient, and the direct sweep against the recorded one.

       cc -O2 -fopenmp tests/test_grad.c -o test_grad -lm && ./test_grad

   In double by default: central differences of a float function have three digits. With -DGENREG_REAL=float only the two sweeps
   are compared. */
#ifndef GENREG_REAL
#define GENREG_REAL double
#endif
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include "check.h"

/* A row of the table: a function of up to three inputs of the given shapes, whose values lie in (low, high). */
typedef struct row {
    const char *name;
    genreg_tensor *(*f)(genreg_ctx *c, genreg_tensor **x);
    int inputs;
    struct { int rank, shape[GENREG_MAX_RANK]; } of[3];
    double low, high;
    int flat; /* piecewise linear: its second derivative is zero, and must come out so */
} row;

#define F(name, expression) \
    static genreg_tensor *name(genreg_ctx *c, genreg_tensor **x) { return expression; }

static const int labels[] = { 2, 0, 1, 2, 2 }, rows_of[] = { 3, 0, 3, 1 }, axes201[] = { 2, 0, 1 }, to3x4[] = { 3, 4 }, to2x3x4[] = { 2, 3, 4 }, to6x4[] = { 6, 4 }, to2[] = { 2 };

F(f_add, genreg_add(c, x[0], x[1]))
F(f_sub, genreg_sub(c, x[0], x[1]))
F(f_mul, genreg_mul(c, x[0], x[1]))
F(f_div, genreg_div(c, x[0], x[1]))
F(f_neg, genreg_neg(c, x[0]))
F(f_scale, genreg_scale(c, x[0], -1.7))
F(f_exp, genreg_exp(c, x[0]))
F(f_log, genreg_log(c, x[0]))
F(f_sqrt, genreg_sqrt(c, x[0]))
F(f_pow, genreg_pow(c, x[0], 2.5))
F(f_pow3, genreg_pow(c, x[0], 3))
F(f_pow_minus, genreg_pow(c, x[0], -2))
F(f_tanh, genreg_tanh(c, x[0]))
F(f_sigmoid, genreg_sigmoid(c, x[0]))
F(f_softplus, genreg_softplus(c, x[0]))
F(f_relu, genreg_relu(c, x[0]))
F(f_abs, genreg_abs(c, x[0]))
F(f_matmul, genreg_matmul(c, x[0], x[1], 0, 0))
F(f_matmul_tn, genreg_matmul(c, x[0], x[1], 1, 0))
F(f_matmul_nt, genreg_matmul(c, x[0], x[1], 0, 1))
F(f_matmul_tt, genreg_matmul(c, x[0], x[1], 1, 1))
F(f_affine, genreg_affine(c, x[0], x[1], x[2], 0))
F(f_affine_relu, genreg_affine(c, x[0], x[1], x[2], 1))
F(f_dot, genreg_dot(c, x[0], x[1]))
F(f_sum, genreg_sum(c, x[0], GENREG_AXIS(0) | GENREG_AXIS(2)))
F(f_sum_all, genreg_sum(c, x[0], GENREG_ALL_AXES))
F(f_mean, genreg_mean(c, x[0], GENREG_AXIS(1)))
F(f_max, genreg_max(c, x[0], GENREG_AXIS(1)))
F(f_max_all, genreg_max(c, x[0], GENREG_ALL_AXES))
F(f_expand, genreg_expand(c, x[0], 3, to2x3x4))
F(f_sum_to, genreg_sum_to(c, x[0], 2, to3x4))
F(f_reshape, genreg_reshape(c, x[0], 2, to6x4))
F(f_view, genreg_mul(c, genreg_view(c, x[0], 1, 1, to2), genreg_view(c, x[0], 3, 1, to2)))
F(f_view_overlap, genreg_mul(c, genreg_view(c, x[0], 1, 1, to2), genreg_view(c, x[0], 2, 1, to2)))
F(f_permute, genreg_permute(c, x[0], axes201))
F(f_transpose, genreg_transpose(c, x[0]))
F(f_slice, genreg_slice(c, x[0], 1, 1, 2))
static genreg_tensor *f_join(genreg_ctx *c, genreg_tensor **x) { return genreg_join(c, x, 3, 1); }
F(f_gather, genreg_gather(c, x[0], rows_of, 4))
F(f_scatter, genreg_scatter(c, x[0], rows_of, 5))
F(f_log_softmax, genreg_log_softmax(c, x[0]))
F(f_logsumexp, genreg_logsumexp(c, x[0]))
F(f_cross_entropy, genreg_cross_entropy(c, x[0], labels))
F(f_mse, genreg_mse(c, x[0], x[1]))
F(f_dropout, genreg_dropout(c, x[0], 0.4, 7, 1))
F(f_conv2d, genreg_conv2d(c, x[0], x[1], x[2], 1, 1, 0))
F(f_conv2d_stride, genreg_conv2d(c, x[0], x[1], x[2], 2, 2, 0))
F(f_conv2d_relu, genreg_conv2d(c, x[0], x[1], x[2], 1, 0, 1))
F(f_max_pool, genreg_max_pool(c, x[0], 2, 2))
F(f_max_pool_overlap, genreg_max_pool(c, x[0], 3, 1))
F(f_avg_pool, genreg_avg_pool(c, x[0], 2))
F(f_global_avg_pool, genreg_global_avg_pool(c, x[0]))
F(f_batch_norm, genreg_batch_norm(c, x[0], x[1], x[2], 1e-3, 0, NULL, NULL))
F(f_batch_norm_relu, genreg_batch_norm(c, x[0], x[1], x[2], 1e-3, 1, NULL, NULL))
F(f_scale_shift, genreg_scale_shift(c, x[0], x[1], x[2], 0))
F(f_scale_shift_relu, genreg_scale_shift(c, x[0], x[1], x[2], 1))

static const row table[] = {
    { "add", f_add, 2, { { 2, { 3, 4 } }, { 2, { 3, 4 } } }, -2, 2, 1 },
    { "add, row", f_add, 2, { { 3, { 2, 3, 4 } }, { 1, { 4 } } }, -2, 2, 1 },
    { "add, both broadcast", f_add, 2, { { 2, { 3, 1 } }, { 2, { 1, 4 } } }, -2, 2, 1 },
    { "sub, scalar", f_sub, 2, { { 0, { 0 } }, { 2, { 3, 4 } } }, -2, 2, 1 },
    { "sub, column", f_sub, 2, { { 2, { 3, 4 } }, { 2, { 3, 1 } } }, -2, 2, 1 },
    { "mul", f_mul, 2, { { 2, { 3, 5 } }, { 2, { 3, 5 } } }, -2, 2, 0 },
    { "mul, row and column", f_mul, 2, { { 3, { 2, 1, 5 } }, { 2, { 3, 1 } } }, -2, 2, 0 },
    { "mul, scalar", f_mul, 2, { { 2, { 3, 5 } }, { 0, { 0 } } }, -2, 2, 0 },
    { "div", f_div, 2, { { 2, { 3, 4 } }, { 2, { 3, 4 } } }, 0.5, 2, 0 },
    { "div, row", f_div, 2, { { 2, { 3, 4 } }, { 1, { 4 } } }, 0.5, 2, 0 },
    { "neg", f_neg, 1, { { 2, { 3, 4 } } }, -2, 2, 1 },
    { "scale", f_scale, 1, { { 2, { 3, 4 } } }, -2, 2, 1 },
    { "exp", f_exp, 1, { { 2, { 3, 5 } } }, -2, 2, 0 },
    { "log", f_log, 1, { { 2, { 3, 5 } } }, 0.5, 3, 0 },
    { "sqrt", f_sqrt, 1, { { 2, { 3, 5 } } }, 0.5, 3, 0 },
    { "pow 2.5", f_pow, 1, { { 2, { 3, 5 } } }, 0.5, 3, 0 },
    { "pow 3", f_pow3, 1, { { 2, { 3, 5 } } }, -2, 2, 0 },
    { "pow -2", f_pow_minus, 1, { { 2, { 3, 5 } } }, 0.5, 2, 0 },
    { "tanh", f_tanh, 1, { { 2, { 3, 5 } } }, -2, 2, 0 },
    { "sigmoid", f_sigmoid, 1, { { 2, { 3, 5 } } }, -2, 2, 0 },
    { "softplus", f_softplus, 1, { { 2, { 3, 5 } } }, -2, 2, 0 },
    { "relu", f_relu, 1, { { 2, { 3, 5 } } }, -2, 2, 1 },
    { "abs", f_abs, 1, { { 2, { 3, 5 } } }, -2, 2, 1 },
    { "matmul nn", f_matmul, 2, { { 2, { 3, 4 } }, { 2, { 4, 5 } } }, -2, 2, 0 },
    { "matmul tn", f_matmul_tn, 2, { { 2, { 4, 3 } }, { 2, { 4, 5 } } }, -2, 2, 0 },
    { "matmul nt", f_matmul_nt, 2, { { 2, { 3, 4 } }, { 2, { 5, 4 } } }, -2, 2, 0 },
    { "matmul tt", f_matmul_tt, 2, { { 2, { 4, 3 } }, { 2, { 5, 4 } } }, -2, 2, 0 },
    { "affine", f_affine, 3, { { 2, { 3, 4 } }, { 2, { 4, 5 } }, { 1, { 5 } } }, -2, 2, 0 },
    { "affine relu", f_affine_relu, 3, { { 2, { 3, 4 } }, { 2, { 4, 5 } }, { 1, { 5 } } }, -2, 2, 0 },
    { "dot", f_dot, 2, { { 2, { 3, 4 } }, { 2, { 3, 4 } } }, -2, 2, 0 },
    { "sum over 0 and 2", f_sum, 1, { { 3, { 2, 3, 4 } } }, -2, 2, 1 },
    { "sum over all", f_sum_all, 1, { { 2, { 3, 4 } } }, -2, 2, 1 },
    { "mean", f_mean, 1, { { 3, { 2, 3, 4 } } }, -2, 2, 1 },
    { "max", f_max, 1, { { 3, { 2, 3, 4 } } }, -2, 2, 1 },
    { "max over all", f_max_all, 1, { { 2, { 3, 4 } } }, -2, 2, 1 },
    { "expand", f_expand, 1, { { 2, { 3, 1 } } }, -2, 2, 1 },
    { "sum_to", f_sum_to, 1, { { 3, { 2, 3, 4 } } }, -2, 2, 1 },
    { "reshape", f_reshape, 1, { { 3, { 2, 3, 4 } } }, -2, 2, 1 },
    { "view", f_view, 1, { { 1, { 7 } } }, -2, 2, 0 },
    { "view, overlapping", f_view_overlap, 1, { { 1, { 7 } } }, -2, 2, 0 },
    { "permute", f_permute, 1, { { 3, { 2, 3, 4 } } }, -2, 2, 1 },
    { "transpose", f_transpose, 1, { { 2, { 3, 4 } } }, -2, 2, 1 },
    { "slice", f_slice, 1, { { 3, { 2, 4, 3 } } }, -2, 2, 1 },
    { "join", f_join, 3, { { 2, { 3, 2 } }, { 2, { 3, 1 } }, { 2, { 3, 4 } } }, -2, 2, 1 },
    { "gather", f_gather, 1, { { 2, { 4, 3 } } }, -2, 2, 1 },
    { "scatter", f_scatter, 1, { { 2, { 4, 3 } } }, -2, 2, 1 },
    { "log_softmax", f_log_softmax, 1, { { 2, { 4, 3 } } }, -2, 2, 0 },
    { "logsumexp", f_logsumexp, 1, { { 2, { 4, 3 } } }, -2, 2, 0 },
    { "cross_entropy", f_cross_entropy, 1, { { 2, { 5, 3 } } }, -2, 2, 0 },
    { "mse", f_mse, 2, { { 2, { 5, 3 } }, { 2, { 5, 3 } } }, -2, 2, 0 },
    { "dropout", f_dropout, 1, { { 2, { 5, 5 } } }, -2, 2, 1 },
    { "conv2d", f_conv2d, 3, { { 4, { 2, 4, 5, 2 } }, { 4, { 3, 3, 2, 3 } }, { 1, { 3 } } }, -2, 2, 0 },
    { "conv2d, stride 2", f_conv2d_stride, 3, { { 4, { 2, 5, 4, 2 } }, { 4, { 3, 2, 2, 3 } }, { 1, { 3 } } }, -2, 2, 0 },
    { "conv2d relu", f_conv2d_relu, 3, { { 4, { 2, 4, 5, 2 } }, { 4, { 2, 3, 2, 3 } }, { 1, { 3 } } }, -2, 2, 0 },
    { "max_pool", f_max_pool, 1, { { 4, { 2, 4, 5, 3 } } }, -2, 2, 1 },
    { "max_pool, overlapping", f_max_pool_overlap, 1, { { 4, { 2, 4, 5, 3 } } }, -2, 2, 1 },
    { "avg_pool", f_avg_pool, 1, { { 4, { 2, 4, 5, 3 } } }, -2, 2, 1 },
    { "global_avg_pool", f_global_avg_pool, 1, { { 4, { 2, 4, 3, 3 } } }, -2, 2, 1 },
    { "batch_norm", f_batch_norm, 3, { { 4, { 2, 3, 2, 3 } }, { 1, { 3 } }, { 1, { 3 } } }, -2, 2, 0 },
    { "batch_norm relu", f_batch_norm_relu, 3, { { 2, { 7, 3 } }, { 1, { 3 } }, { 1, { 3 } } }, -2, 2, 0 },
    { "scale_shift", f_scale_shift, 3, { { 4, { 2, 3, 2, 3 } }, { 1, { 3 } }, { 1, { 3 } } }, -2, 2, 0 },
    { "scale_shift relu", f_scale_shift_relu, 3, { { 2, { 7, 3 } }, { 1, { 3 } }, { 1, { 3 } } }, -2, 2, 0 },
};

enum { ROOM = 256 }; /* values of all inputs together */

/* The scalar that is differentiated: a fixed random combination of f's values, and of their cubes if `curved`, so that a linear f too
   has a second derivative that must pass through its rule. */
static genreg_tensor *scalar(genreg_ctx *c, const row *r, genreg_tensor **x, int curved)
{
    genreg_tensor *y = r->f(c, x), *weights;
    if (!y) return NULL;
    weights = genreg_constant(c, y->rank, y->shape, NULL);
    if (!weights) return NULL;
    genreg_normal_fill(weights->data, y->size, 11, 1);
    if (curved) y = genreg_mul(c, genreg_mul(c, y, y), y);
    return genreg_dot(c, y, weights);
}

static void make_inputs(genreg_ctx *c, const row *r, genreg_real *values, genreg_tensor **x, ptrdiff_t *size)
{
    int i;
    *size = 0;
    for (i = 0; i < r->inputs; i++) {
        x[i] = genreg_variable(c, r->of[i].rank, r->of[i].shape, values + *size);
        *size += x[i] ? x[i]->size : 0;
    }
}

/* The gradient of the scalar, or with v the gradient of <gradient, v>, all inputs one after another; recorded or direct. */
static int gradient(genreg_ctx *c, const row *r, genreg_real *values, int curved, const genreg_real *v, int direct, genreg_real *out)
{
    genreg_place p = genreg_mark(c);
    genreg_tensor *x[3], *g[3], *y, *dot = NULL;
    genreg_real *into[3];
    ptrdiff_t size, at = 0;
    int i, done;
    make_inputs(c, r, values, x, &size);
    for (i = 0; i < r->inputs; i++) { into[i] = out + at; at += x[i]->size; }
    y = scalar(c, r, x, curved);
    if (v && genreg_grad(c, y, NULL, x, r->inputs, g)) {
        for (i = 0, at = 0; i < r->inputs; i++) {
            genreg_tensor *part = genreg_constant(c, x[i]->rank, x[i]->shape, (genreg_real *)(uintptr_t)(v + at));
            part = genreg_dot(c, g[i], part);
            dot = dot ? genreg_add(c, dot, part) : part;
            at += x[i]->size;
        }
        y = dot;
    }
    if (y && !y->tracked && !genreg_error(c)) { /* a gradient that does not depend on x */
        memset(out, 0, (size_t)size * sizeof *out);
        done = 1;
    } else if (direct) done = genreg_gradient_into(c, y, NULL, x, r->inputs, into);
    else {
        done = genreg_grad(c, y, NULL, x, r->inputs, g);
        for (i = 0; done && i < r->inputs; i++) memcpy(into[i], g[i]->data, (size_t)g[i]->size * sizeof *out);
    }
    genreg_release(c, p);
    return done;
}

static double value(genreg_ctx *c, const row *r, genreg_real *values)
{
    genreg_place p = genreg_mark(c);
    genreg_tensor *x[3];
    ptrdiff_t size;
    double y;
    make_inputs(c, r, values, x, &size);
    y = genreg_item(scalar(c, r, x, 0));
    genreg_release(c, p);
    return y;
}

/* Central differences with Richardson's extrapolation: errors of order h^4. */
static void differences(genreg_ctx *c, const row *r, genreg_real *values, ptrdiff_t size, genreg_real *out)
{
    ptrdiff_t i;
    int k;
    for (i = 0; i < size; i++) {
        const genreg_real kept = values[i];
        double slope[2];
        for (k = 0; k < 2; k++) {
            const double h = 1e-3 / (k + 1);
            double up, down;
            values[i] = kept + (genreg_real)h;
            up = value(c, r, values);
            values[i] = kept - (genreg_real)h;
            down = value(c, r, values);
            slope[k] = (up - down) / (2 * h);
        }
        values[i] = kept;
        out[i] = (genreg_real)((4 * slope[1] - slope[0]) / 3);
    }
}

/* The same of the gradient along v. */
static void second_differences(genreg_ctx *c, const row *r, genreg_real *values, ptrdiff_t size, const genreg_real *v, int curved, genreg_real *out)
{
    genreg_real moved[ROOM], up[ROOM], down[ROOM], slope[2][ROOM];
    ptrdiff_t i;
    int k;
    for (k = 0; k < 2; k++) {
        const double h = 1e-3 / (k + 1);
        for (i = 0; i < size; i++) moved[i] = values[i] + (genreg_real)h * v[i];
        gradient(c, r, moved, curved, NULL, 0, up);
        for (i = 0; i < size; i++) moved[i] = values[i] - (genreg_real)h * v[i];
        gradient(c, r, moved, curved, NULL, 0, down);
        for (i = 0; i < size; i++) slope[k][i] = (genreg_real)((up[i] - down[i]) / (2 * h));
    }
    for (i = 0; i < size; i++) out[i] = (4 * slope[1][i] - slope[0][i]) / 3;
}

static double norm(const genreg_real *x, ptrdiff_t n)
{
    double sum = 0;
    ptrdiff_t i;
    for (i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static void check_row(genreg_ctx *c, const row *r, int print)
{
    genreg_real values[ROOM], v[ROOM], recorded[ROOM], direct[ROOM], expected[ROOM];
    genreg_tensor *x[3];
    ptrdiff_t size, i;
    double first, second, curved;
    const double tolerance = sizeof(genreg_real) == 8 ? 1e-8 : 1e-4;
    make_inputs(c, r, values, x, &size);
    CHECK(size > 0 && size <= ROOM, "%s: %d values", r->name, (int)size);
    if (size > ROOM) return;
    for (i = 0; i < size; i++) values[i] = (genreg_real)(r->low + (r->high - r->low) * genreg_uniform(5, 1, (uint64_t)i));
    for (i = 0; i < size; i++) /* a kink must not lie within the differences' reach */
        if (fabs((double)values[i]) < 0.02) values[i] = (genreg_real)0.02;
    genreg_normal_fill(v, size, 5, 2);
    CHECK(gradient(c, r, values, 0, NULL, 0, recorded), "%s: %s", r->name, genreg_error_message(c));
    CHECK(gradient(c, r, values, 0, NULL, 1, direct), "%s: %s", r->name, genreg_error_message(c));
    CHECK(check_distance(direct, recorded, size) < check_path_tolerance(), "%s: direct and recorded differ by %.1e", r->name, check_distance(direct, recorded, size));
    CHECK(norm(recorded, size) > 1e-3, "%s: the gradient is zero, which proves nothing", r->name);
    CHECK(gradient(c, r, values, 1, v, 0, recorded), "%s: %s", r->name, genreg_error_message(c));
    CHECK(gradient(c, r, values, 1, v, 1, direct), "%s: %s", r->name, genreg_error_message(c));
    CHECK(check_distance(direct, recorded, size) < 10 * check_path_tolerance(), "%s: second order, direct and recorded differ by %.1e", r->name,
          check_distance(direct, recorded, size));
    if (sizeof(genreg_real) < 8) return;

    gradient(c, r, values, 0, NULL, 0, recorded);
    differences(c, r, values, size, expected);
    first = check_distance(recorded, expected, size);
    CHECK(first < tolerance, "%s: first derivatives err by %.1e", r->name, first);
    gradient(c, r, values, 1, v, 0, recorded);
    second_differences(c, r, values, size, v, 1, expected);
    curved = check_distance(recorded, expected, size);
    CHECK(norm(expected, size) > 1e-3, "%s: the second derivative of its cube is zero, which proves nothing", r->name);
    CHECK(curved < tolerance, "%s: second derivatives of its cube err by %.1e", r->name, curved);
    gradient(c, r, values, 0, v, 0, recorded);
    second_differences(c, r, values, size, v, 0, expected);
    second = r->flat ? norm(recorded, size) : check_distance(recorded, expected, size);
    CHECK(r->flat || norm(expected, size) > 1e-3, "%s: the second derivative is zero, which proves nothing", r->name);
    CHECK(second < tolerance, "%s: second derivatives err by %.1e", r->name, second);
    if (print) printf("%-24s first %.1e   second %.1e%s   of its cube %.1e\n", r->name, first, second, r->flat ? " (zero)" : "", curved);
}

/* d3/dx3 of sums of powers, tanh and exp, three sweeps deep. */
static void check_third_order(genreg_ctx *c)
{
    static const int shape[] = { 3 };
    genreg_real x[3] = { (genreg_real)0.3, (genreg_real)-0.7, (genreg_real)1.1 };
    genreg_place p = genreg_mark(c);
    genreg_tensor *v = genreg_variable(c, 1, shape, x), *y, *g;
    int i, order;
    y = genreg_sum(c, genreg_add(c, genreg_tanh(c, v), genreg_mul(c, genreg_pow(c, v, 4), genreg_exp(c, v))), GENREG_ALL_AXES);
    for (order = 0; order < 3; order++) {
        genreg_grad(c, y, NULL, &v, 1, &g);
        y = genreg_sum(c, g, GENREG_ALL_AXES); /* the function is a sum of functions of one element: rows of the Hessian are diagonal */
    }
    for (i = 0; i < 3; i++) {
        double a = (double)x[i], t = tanh(a), s = 1 - t * t;
        double expected = s * (6 * t * t - 2) + exp(a) * (24 * a + 36 * a * a + 12 * a * a * a + a * a * a * a);
        CHECK(g && fabs((double)g->data[i] - expected) < (sizeof(genreg_real) == 8 ? 1e-11 : 1e-3) * (1 + fabs(expected)), "third derivative at %g: %g, expected %g", a,
              g ? (double)g->data[i] : 0.0, expected);
    }
    genreg_release(c, p);
}

/* What the sweep itself decides: views of one tensor, several xs, seeds, what is unreachable, and what is refused. */
static void check_sweep(genreg_ctx *c)
{
    static const int six[] = { 6 }, two[] = { 2 }, three[] = { 3 };
    genreg_real theta[6] = { 1, 2, 3, 4, 5, 6 }, other[2] = { 7, 8 }, out[6], out2[6], *into[2];
    genreg_place p = genreg_mark(c);
    genreg_tensor *t = genreg_variable(c, 1, six, theta), *u = genreg_variable(c, 1, two, other), *a, *b, *y, *xs[2], *g[2], *k;
    size_t bytes;
    int i;
    /* Overlapping views [0,3) and [2,5); element 5 is in none, and u is not used. */
    a = genreg_view(c, t, 0, 1, three);
    b = genreg_view(c, t, 2, 1, three);
    y = genreg_dot(c, a, b);
    xs[0] = t;
    xs[1] = u;
    into[0] = out;
    into[1] = out2;
    for (i = 0; i < 6; i++) out[i] = out2[i] = 99;
    bytes = genreg_tape_bytes(c);
    CHECK(genreg_gradient_into(c, y, NULL, xs, 2, into), "%s", genreg_error_message(c));
    CHECK(bytes == genreg_tape_bytes(c), "gradient_into left %d bytes", (int)(genreg_tape_bytes(c) - bytes));
    {
        static const double expected[6] = { 3, 4, 5 + 1, 2, 3, 0 };
        for (i = 0; i < 6; i++) CHECK((double)out[i] == expected[i], "overlapping views: d[%d] = %g", i, (double)out[i]);
    }
    CHECK((double)out2[0] == 0 && (double)out2[1] == 0 && (double)out2[2] == 99, "what y does not depend on gets zeros");
    CHECK(genreg_grad(c, y, NULL, xs, 2, g), "%s", genreg_error_message(c));
    CHECK(check_distance(g[0]->data, out, 6) == 0 && (double)g[1]->data[0] == 0, "recorded: the same");
    /* By a view; the same x twice; y a view. */
    xs[0] = xs[1] = b;
    CHECK(genreg_gradient_into(c, genreg_reshape(c, y, 0, NULL), NULL, xs, 2, into), "%s", genreg_error_message(c));
    CHECK((double)out[0] == 6 && (double)out[1] == 2 && (double)out[2] == 3 && (double)out2[0] == 6, "by a view: %g %g %g", (double)out[0], (double)out[1], (double)out[2]);
    CHECK(genreg_grad(c, genreg_reshape(c, y, 0, NULL), NULL, xs, 2, g) && (double)g[0]->data[0] == 6 && (double)g[1]->data[2] == 3, "by a view, recorded");
    /* y is x; a seed. */
    xs[0] = u;
    k = genreg_constant(c, 1, two, NULL);
    k->data[0] = 3;
    k->data[1] = -1;
    CHECK(genreg_gradient_into(c, u, k, xs, 1, into) && (double)out[0] == 3 && (double)out[1] == -1, "y = x returns the seed");
    CHECK(genreg_gradient_into(c, genreg_mul(c, u, u), k, xs, 1, into) && (double)out[0] == 42 && (double)out[1] == -16, "a seed weighs the outputs");
    /* Views of what is not a leaf, second order through them. */
    a = genreg_mul(c, t, t);
    y = genreg_dot(c, genreg_view(c, a, 1, 1, two), genreg_view(c, a, 3, 1, two));
    xs[0] = t;
    CHECK(genreg_grad(c, y, NULL, xs, 1, g), "%s", genreg_error_message(c));
    CHECK((double)g[0]->data[1] == 2 * 2 * 16 && (double)g[0]->data[4] == 2 * 5 * 9, "views within: %g %g", (double)g[0]->data[1], (double)g[0]->data[4]);
    CHECK(genreg_gradient_into(c, genreg_sum(c, g[0], GENREG_ALL_AXES), NULL, xs, 1, into) && (double)out[1] == 2 * 16 + 4 * 2 * 4, "second order: %g", (double)out[1]);
    /* Refused, with a reason. */
    CHECK(!genreg_grad(c, a, NULL, xs, 1, g) && genreg_error(c) == GENREG_ERROR_SHAPE, "no seed for %s", genreg_error_message(c));
    genreg_clear_error(c);
    xs[0] = k;
    CHECK(!genreg_grad(c, y, NULL, xs, 1, g) && genreg_error(c) == GENREG_ERROR_ARGUMENT, "a constant x");
    genreg_clear_error(c);
    xs[0] = t;
    CHECK(!genreg_grad(c, genreg_scalar(c, 1), NULL, xs, 1, g) && genreg_error(c) == GENREG_ERROR_ARGUMENT, "a constant y");
    genreg_clear_error(c);
    genreg_release(c, p);
    p = genreg_mark(c);
    genreg_exp(c, genreg_detach(c, t));
    CHECK(genreg_mark(c).nodes == p.nodes, "what comes of constants is not recorded");
    genreg_release(c, p);
}

/* Products and sums that are split over threads: the same bits for 1, 2, 3 and 8. */
static void check_threads(genreg_isa isa)
{
    static const int threads[] = { 1, 2, 3, 8 };
    static const int shape_x[] = { 150, 300 }, shape_w[] = { 300, 290 }, shape_b[] = { 290 };
    genreg_real *kept = NULL;
    ptrdiff_t size = 300 * 290;
    int i;
    for (i = 0; i < 4; i++) {
        genreg_ctx *c = check_context(isa, threads[i]);
        genreg_tensor *x = genreg_variable(c, 2, shape_x, NULL), *w = genreg_variable(c, 2, shape_w, NULL), *b = genreg_variable(c, 1, shape_b, NULL), *y, *g;
        genreg_real *out = (genreg_real *)malloc((size_t)size * sizeof *out);
        if (!x || !w || !b || !out) return;
        genreg_normal_fill(x->data, x->size, 1, 1);
        genreg_normal_fill(w->data, w->size, 1, 2);
        genreg_normal_fill(b->data, b->size, 1, 3);
        y = genreg_mean(c, genreg_tanh(c, genreg_log_softmax(c, genreg_affine(c, x, w, b, 1))), GENREG_ALL_AXES);
        genreg_grad(c, y, NULL, &w, 1, &g);
        g = genreg_dot(c, g, g);
        CHECK(genreg_gradient_into(c, g, NULL, &w, 1, &out), "%s", genreg_error_message(c));
        if (!kept) kept = out;
        else {
            CHECK(memcmp(kept, out, (size_t)size * sizeof *out) == 0, "%s, %d threads: other bits", genreg_isa_name(c), threads[i]);
            free(out);
        }
        genreg_destroy(c);
    }
    CHECK(norm(kept, size) > 0, "the gradient is zero, which proves nothing");
    free(kept);
}

int main(void)
{
    int isa;
    size_t i;
    for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++) {
        genreg_ctx *c;
        if (!genreg_isa_available((genreg_isa)isa)) continue;
        c = check_context((genreg_isa)isa, 1);
        for (i = 0; i < sizeof table / sizeof *table; i++) check_row(c, &table[i], isa == GENREG_ISA_PLAIN);
        check_third_order(c);
        check_sweep(c);
        printf("%s: done\n", genreg_isa_name(c));
        genreg_destroy(c);
        check_threads((genreg_isa)isa);
    }
    return check_done();
}
