/* test_ops.c - every operation: values, first, second and third derivatives, broadcasting, views, threads, instruction sets, errors.

      cc -O2 -fopenmp tests/test_ops.c -o test_ops -lm && ./test_ops

   Derivatives are compared with central differences, in double unless GENREG_REAL says otherwise. An operation added to the library
   gets a row in the table `rows`, and a reference for its values in test_values. */
#ifndef GENREG_REAL
#define GENREG_REAL double
#endif
#include "nan_malloc.h"

#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include "check.h"

#define WIDE (sizeof(genreg_real) == 8)

/* Numbers by a generator of our own, so that the library's is not judge in its own case. */
static unsigned long long state = 88172645463325252ull;
static unsigned below(unsigned n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 33) % n;
}
static double uniform(void) { return (double)below(1u << 20) / (1 << 19) - 1; }

static void *room_for(ptrdiff_t n, size_t size)
{
    void *p = calloc((size_t)(n > 0 ? n : 1), size);
    if (!p) {
        printf("no memory for the test\n");
        exit(1);
    }
    return p;
}
static genreg_real *reals(ptrdiff_t n) { return (genreg_real *)room_for(n, sizeof(genreg_real)); }

/* "2,3,4" as a shape; "" is a scalar. */
static int parse_shape(const char *text, int *shape)
{
    int rank = 0;
    while (*text) {
        shape[rank] = 0;
        for (; *text >= '0' && *text <= '9'; text++) shape[rank] = 10 * shape[rank] + (*text - '0');
        rank++;
        if (*text == ',') text++;
    }
    return rank;
}

/* ------------------------------------------------------------------------------------------------ the table */

typedef genreg_tensor *(*op_fn)(genreg_ctx *c, genreg_tensor **x);
#define OP(name, expression) \
    static genreg_tensor *op_##name(genreg_ctx *c, genreg_tensor **x) { return expression; }

/* Whole numbers in 0 ... n-1, with repeats and gaps: what gather, scatter and losses take. */
static const int *some_index(int count, int n)
{
    static int index[70000];
    int i;
    for (i = 0; i < count; i++) index[i] = (int)((7u * (unsigned)i + (unsigned)i / 3u) % (unsigned)(n > 2 ? n - 1 : n));
    return index;
}

OP(add, genreg_add(c, x[0], x[1]))
OP(sub, genreg_sub(c, x[0], x[1]))
OP(mul, genreg_mul(c, x[0], x[1]))
OP(div, genreg_div(c, x[0], x[1]))
OP(square, genreg_mul(c, x[0], x[0]))
OP(neg, genreg_neg(c, x[0]))
OP(scale, genreg_scale(c, x[0], -1.75))
OP(exp, genreg_exp(c, x[0]))
OP(log, genreg_log(c, x[0]))
OP(sqrt, genreg_sqrt(c, x[0]))
OP(pow3, genreg_pow(c, x[0], 3))
OP(pow1, genreg_pow(c, x[0], 1))
OP(pow_2, genreg_pow(c, x[0], -2))
OP(pow_real, genreg_pow(c, x[0], 1.6))
OP(tanh, genreg_tanh(c, x[0]))
OP(sigmoid, genreg_sigmoid(c, x[0]))
OP(softplus, genreg_softplus(c, x[0]))
OP(relu, genreg_relu(c, x[0]))
OP(abs, genreg_abs(c, x[0]))
OP(matmul_nn, genreg_matmul(c, x[0], x[1], 0, 0))
OP(matmul_nt, genreg_matmul(c, x[0], x[1], 0, 1))
OP(matmul_tn, genreg_matmul(c, x[0], x[1], 1, 0))
OP(matmul_tt, genreg_matmul(c, x[0], x[1], 1, 1))
OP(matmul_self, genreg_matmul(c, x[0], x[0], 0, 1))
OP(affine, genreg_affine(c, x[0], x[1], x[2], 0))
OP(affine_bare, genreg_affine(c, x[0], x[1], NULL, 0))
OP(affine_relu, genreg_affine(c, x[0], x[1], x[2], 1))
OP(affine_bare_relu, genreg_affine(c, x[0], x[1], NULL, 1))
OP(affine_shared, genreg_add(c, genreg_affine(c, x[0], x[1], x[2], 0), genreg_affine(c, x[0], x[1], x[2], 0)))
OP(dot, genreg_dot(c, x[0], x[1]))
OP(sum, genreg_sum(c, x[0], GENREG_AXIS(0) | GENREG_AXIS(2)))
OP(sum_all, genreg_sum(c, x[0], GENREG_ALL_AXES))
OP(mean, genreg_mean(c, x[0], GENREG_AXIS(1)))
OP(mean_all, genreg_mean(c, x[0], GENREG_ALL_AXES))
OP(max, genreg_max(c, x[0], GENREG_AXIS(1)))
OP(max_all, genreg_max(c, x[0], GENREG_ALL_AXES))
OP(transpose, genreg_transpose(c, x[0]))
OP(log_softmax, genreg_log_softmax(c, x[0]))
OP(logsumexp, genreg_logsumexp(c, x[0]))
OP(cross_entropy, genreg_cross_entropy(c, x[0], some_index(x[0]->shape[0], x[0]->shape[1])))
OP(mse, genreg_mse(c, x[0], x[1]))
OP(dropout, genreg_dropout(c, x[0], 0.4, 3, 4))
OP(gather, genreg_gather(c, x[0], some_index(7, x[0]->shape[0]), 7))
OP(scatter, genreg_scatter(c, x[0], some_index(x[0]->shape[0], 6), 6))
OP(conv, genreg_conv2d(c, x[0], x[1], x[2], 1, 1, 0))
OP(conv_bare, genreg_conv2d(c, x[0], x[1], NULL, 1, 1, 0))
OP(conv_relu, genreg_conv2d(c, x[0], x[1], x[2], 1, 1, 1))
OP(conv_stride, genreg_conv2d(c, x[0], x[1], x[2], 2, 1, 0))
OP(conv_stride3, genreg_conv2d(c, x[0], x[1], NULL, 3, 0, 0))
OP(max_pool, genreg_max_pool(c, x[0], 2, 2))
OP(max_pool_overlap, genreg_max_pool(c, x[0], 3, 1))
OP(avg_pool, genreg_avg_pool(c, x[0], 2))
OP(global_avg_pool, genreg_global_avg_pool(c, x[0]))
OP(scale_shift, genreg_scale_shift(c, x[0], x[1], x[2], 0))
OP(scale_shift_relu, genreg_scale_shift(c, x[0], x[1], x[2], 1))
OP(batch_norm, genreg_batch_norm(c, x[0], x[1], x[2], 1e-2, 0, NULL, NULL))
OP(batch_norm_relu, genreg_batch_norm(c, x[0], x[1], x[2], 1e-2, 1, NULL, NULL))
OP(batch_norm_pool, genreg__batch_norm_pool(c, x[0], x[1], x[2], 1e-2, 0, 2, NULL, NULL))
OP(batch_norm_relu_pool, genreg__batch_norm_pool(c, x[0], x[1], x[2], 1e-2, 1, 2, NULL, NULL))

static genreg_tensor *op_gate(genreg_ctx *c, genreg_tensor **x) /* the derivative of ReLU, which is flat in its second input */
{
    genreg_tensor *h = genreg_constant(c, x[0]->rank, x[0]->shape, NULL);
    ptrdiff_t i;
    for (i = 0; h && i < h->size; i++) h->data[i] = (genreg_real)(i % 3 - 1);
    return genreg__gate(c, x[0], h);
}

static genreg_tensor *op_expand(genreg_ctx *c, genreg_tensor **x)
{
    int shape[3];
    shape[0] = 2; shape[1] = x[0]->shape[0]; shape[2] = 4;
    return genreg_expand(c, x[0], 3, shape);
}
static genreg_tensor *op_sum_to(genreg_ctx *c, genreg_tensor **x)
{
    int shape[2];
    shape[0] = x[0]->shape[1]; shape[1] = 1;
    return genreg_sum_to(c, x[0], 2, shape);
}
static genreg_tensor *op_reshape(genreg_ctx *c, genreg_tensor **x)
{
    int shape[2];
    shape[0] = x[0]->shape[1]; shape[1] = -1;
    return genreg_reshape(c, genreg_reshape(c, x[0], 2, shape), 1, shape + 1);
}
static genreg_tensor *op_view(genreg_ctx *c, genreg_tensor **x)
{
    int shape[2];
    shape[0] = 2; shape[1] = (int)x[0]->size / 4;
    return genreg_view(c, x[0], x[0]->size / 3, 2, shape);
}
static genreg_tensor *op_views(genreg_ctx *c, genreg_tensor **x) /* overlapping, one of them twice and in two shapes, beside the tensor itself */
{
    int half[2], n = (int)x[0]->size;
    genreg_tensor *a, *b, *d;
    half[0] = n / 2; half[1] = 1;
    a = genreg_view(c, x[0], 0, 1, half);
    b = genreg_view(c, x[0], n / 4, 2, half);
    d = genreg_view(c, x[0], n / 4, 1, half);
    return genreg_add(c, genreg_mul(c, a, genreg_reshape(c, b, 1, half)), genreg_mul(c, genreg_mul(c, d, d), genreg_sum(c, x[0], GENREG_ALL_AXES)));
}
static genreg_tensor *op_permute(genreg_ctx *c, genreg_tensor **x)
{
    static const int axes[] = { 2, 0, 1 };
    return genreg_permute(c, x[0], axes);
}
static genreg_tensor *op_permute4(genreg_ctx *c, genreg_tensor **x)
{
    static const int axes[] = { 1, 3, 0, 2 };
    return genreg_permute(c, x[0], axes);
}
OP(slice, genreg_slice(c, x[0], 1, 1, x[0]->shape[1] - 2))
OP(slice_first, genreg_slice(c, x[0], 0, 0, x[0]->shape[0] - 1))
OP(slice_last, genreg_slice(c, x[0], 2, 1, x[0]->shape[2] - 1))
static genreg_tensor *op_join(genreg_ctx *c, genreg_tensor **x)
{
    genreg_tensor *parts[3];
    parts[0] = x[0]; parts[1] = x[1]; parts[2] = x[0];
    return genreg_join(c, parts, 3, 1);
}

/* The adjoints of a convolution, which are operations of their own: x is dy [n,oh,ow,o] or the image, w the weights or dy. */
static genreg_tensor *conv_part(genreg_ctx *c, const genreg__op *op, genreg_tensor *a, genreg_tensor *b)
{
    genreg__conv g;
    if (!a || !b) return NULL;
    g.stride = 2; g.padding = 1; g.kh = 3; g.kw = 2; /* stride 2: 5 x 4 from an image of 10 x 8 */
    g.n = a->shape[0];
    g.h = 10; g.w = 8; g.oh = 5; g.ow = 5;
    g.c = op == &genreg__conv_dx_op ? b->shape[2] : a->shape[3];
    g.o = b->shape[3];
    return genreg__conv_call(c, op, a, b, NULL, 0, &g);
}
OP(conv_dx, conv_part(c, &genreg__conv_dx_op, x[0], x[1]))
OP(conv_dw, conv_part(c, &genreg__conv_dw_op, x[0], x[1]))

/* What inputs are drawn from. Differences must not cross a kink: */
enum { ANY, POSITIVE, APART /* from 0 */, DISTINCT /* from each other */ };

typedef struct row {
    const char *name;
    op_fn op;
    const char *small[3], *large[3]; /* shapes for differences; shapes that are split over threads */
    int from[3];
    op_fn before; /* where a ReLU ends the operation: the same without it, whose values are drawn apart from 0 */
} row;

static const row rows[] = {
    { "add", op_add, { "3,5", "3,5" }, { "190,180", "190,180" }, { ANY, ANY }, NULL },
    { "sub", op_sub, { "3,5", "3,5" }, { "190,180", "190,180" }, { ANY, ANY }, NULL },
    { "mul", op_mul, { "3,5", "3,5" }, { "190,180", "190,180" }, { ANY, ANY }, NULL },
    { "mul, broadcast both ways", op_mul, { "3,1,2", "5,1" }, { "190,1,20", "20,1" }, { ANY, ANY }, NULL },
    { "mul of x and x", op_square, { "7" }, { "34001" }, { ANY }, NULL },
    { "div", op_div, { "3,5", "3,5" }, { "190,180", "190,180" }, { ANY, APART }, NULL },
    { "div, broadcast", op_div, { "5", "3,1" }, { "180", "190,1" }, { ANY, APART }, NULL },
    { "neg", op_neg, { "7" }, { "34001" }, { ANY }, NULL },
    { "scale", op_scale, { "7" }, { "34001" }, { ANY }, NULL },
    { "exp", op_exp, { "7" }, { "34001" }, { ANY }, NULL },
    { "log", op_log, { "7" }, { "34001" }, { POSITIVE }, NULL },
    { "sqrt", op_sqrt, { "7" }, { "34001" }, { POSITIVE }, NULL },
    { "pow 3", op_pow3, { "7" }, { "34001" }, { ANY }, NULL },
    { "pow 1", op_pow1, { "7" }, { "34001" }, { ANY }, NULL },
    { "pow -2", op_pow_2, { "7" }, { "34001" }, { APART }, NULL },
    { "pow 1.6", op_pow_real, { "7" }, { "34001" }, { POSITIVE }, NULL },
    { "tanh", op_tanh, { "7" }, { "34001" }, { ANY }, NULL },
    { "sigmoid", op_sigmoid, { "7" }, { "34001" }, { ANY }, NULL },
    { "softplus", op_softplus, { "7" }, { "34001" }, { ANY }, NULL },
    { "relu", op_relu, { "9" }, { "34001" }, { APART }, NULL },
    { "gate", op_gate, { "9" }, { "34001" }, { ANY }, NULL },
    { "abs", op_abs, { "9" }, { "34001" }, { APART }, NULL },
    { "matmul", op_matmul_nn, { "3,4", "4,5" }, { "130,80", "80,70" }, { ANY, ANY }, NULL },
    { "matmul, b transposed", op_matmul_nt, { "3,4", "5,4" }, { "130,80", "70,80" }, { ANY, ANY }, NULL },
    { "matmul, a transposed", op_matmul_tn, { "4,3", "4,5" }, { "80,130", "80,70" }, { ANY, ANY }, NULL },
    { "matmul, both transposed", op_matmul_tt, { "4,3", "5,4" }, { "80,130", "70,80" }, { ANY, ANY }, NULL },
    { "matmul of x and x", op_matmul_self, { "3,4" }, { "130,80" }, { ANY }, NULL },
    { "matmul, a row", op_matmul_nn, { "1,7", "7,3" }, { "1,500", "500,300" }, { ANY, ANY }, NULL },
    { "matmul, a column", op_matmul_nn, { "5,7", "7,1" }, { "500,300", "300,1" }, { ANY, ANY }, NULL },
    { "matmul, column by row", op_matmul_nn, { "3,1", "1,5" }, { "400,1", "1,400" }, { ANY, ANY }, NULL },
    { "affine", op_affine, { "3,4", "4,5", "5" }, { "130,80", "80,70", "70" }, { ANY, ANY, ANY }, NULL },
    { "affine without bias", op_affine_bare, { "3,4", "4,5" }, { "130,80", "80,70" }, { ANY, ANY }, NULL },
    { "affine, ReLU", op_affine_relu, { "2,3", "3,4", "4" }, { "130,80", "80,70", "70" }, { ANY, ANY, ANY }, op_affine },
    { "affine without bias, ReLU", op_affine_bare_relu, { "2,3", "3,4" }, { "130,80", "80,70" }, { ANY, ANY }, op_affine_bare },
    { "dot", op_dot, { "3,5", "3,5" }, { "190,180", "190,180" }, { ANY, ANY }, NULL },
    { "sum over axes 0 and 2", op_sum, { "2,3,4" }, { "20,50,40" }, { ANY }, NULL },
    { "sum over all", op_sum_all, { "2,3,4" }, { "20,50,40" }, { ANY }, NULL },
    { "mean over axis 1", op_mean, { "2,3,4" }, { "20,50,40" }, { ANY }, NULL },
    { "mean over all", op_mean_all, { "2,3,4" }, { "20,50,40" }, { ANY }, NULL },
    { "max over axis 1", op_max, { "2,3,4" }, { "20,50,40" }, { DISTINCT }, NULL },
    { "max over all", op_max_all, { "2,3,4" }, { "20,50,40" }, { DISTINCT }, NULL },
    { "expand", op_expand, { "3,1" }, { "9000,1" }, { ANY }, NULL },
    { "sum_to", op_sum_to, { "2,3,4" }, { "20,50,40" }, { ANY }, NULL },
    { "reshape", op_reshape, { "4,6" }, { "190,180" }, { ANY }, NULL },
    { "view", op_view, { "4,6" }, { "190,180" }, { ANY }, NULL },
    { "views that overlap (pieces)", op_views, { "12" }, { "70000" }, { ANY }, NULL },
    { "permute", op_permute, { "2,3,4" }, { "20,50,40" }, { ANY }, NULL },
    { "permute four axes", op_permute4, { "2,3,2,2" }, { "20,50,4,10" }, { ANY }, NULL },
    { "transpose", op_transpose, { "3,5" }, { "190,180" }, { ANY }, NULL },
    { "slice", op_slice, { "2,5,3" }, { "20,50,40" }, { ANY }, NULL },
    { "slice from the start", op_slice_first, { "3,2,2" }, { "20,50,40" }, { ANY }, NULL },
    { "slice to the end", op_slice_last, { "2,2,3" }, { "20,50,40" }, { ANY }, NULL },
    { "join", op_join, { "2,3,2", "2,1,2" }, { "20,50,40", "20,3,40" }, { ANY, ANY }, NULL },
    { "gather", op_gather, { "4,3" }, { "40,900" }, { ANY }, NULL },
    { "scatter", op_scatter, { "7,3" }, { "70,500" }, { ANY }, NULL },
    { "logsumexp", op_logsumexp, { "3,5" }, { "190,180" }, { ANY }, NULL },
    { "log_softmax", op_log_softmax, { "3,5" }, { "190,180" }, { ANY }, NULL },
    { "log_softmax, three axes", op_log_softmax, { "2,2,3" }, { "19,10,180" }, { ANY }, NULL },
    { "cross_entropy", op_cross_entropy, { "4,3" }, { "900,40" }, { ANY }, NULL },
    { "mse", op_mse, { "3,5", "3,5" }, { "190,180", "190,180" }, { ANY, ANY }, NULL },
    { "dropout", op_dropout, { "9" }, { "34001" }, { ANY }, NULL },
    { "conv2d", op_conv, { "2,4,3,2", "3,3,2,3", "3" }, { "4,16,16,8", "3,3,8,20", "20" }, { ANY, ANY, ANY }, NULL },
    { "conv2d without bias", op_conv_bare, { "1,3,4,2", "3,2,2,3" }, { "4,16,16,8", "3,3,8,20" }, { ANY, ANY }, NULL },
    { "conv2d, ReLU", op_conv_relu, { "1,2,2,2", "3,3,2,2", "2" }, { "4,16,16,8", "3,3,8,20", "20" }, { ANY, ANY, ANY }, op_conv },
    { "conv2d, stride 2", op_conv_stride, { "1,5,4,2", "3,2,2,3", "3" }, { "5,17,16,8", "3,3,8,20", "20" }, { ANY, ANY, ANY }, NULL },
    { "conv2d, stride 3 leaving pixels out", op_conv_stride3, { "1,6,5,2", "2,2,2,3" }, { "9,23,23,8", "2,2,8,20" }, { ANY, ANY }, NULL },
    { "conv2d_dx", op_conv_dx, { "1,5,5,2", "3,2,2,2" }, { "40,5,5,16", "3,2,9,16" }, { ANY, ANY }, NULL },
    { "conv2d_dw", op_conv_dw, { "1,10,8,2", "1,5,5,2" }, { "40,10,8,9", "40,5,5,16" }, { ANY, ANY }, NULL },
    { "max_pool", op_max_pool, { "2,4,5,2" }, { "5,20,21,20" }, { DISTINCT }, NULL },
    { "max_pool, overlapping", op_max_pool_overlap, { "1,4,5,2" }, { "5,20,21,20" }, { DISTINCT }, NULL },
    { "avg_pool", op_avg_pool, { "2,5,4,2" }, { "5,20,21,20" }, { ANY }, NULL },
    { "global_avg_pool", op_global_avg_pool, { "2,3,4,2" }, { "5,20,21,20" }, { ANY }, NULL },
    { "scale_shift", op_scale_shift, { "4,3", "3", "3" }, { "190,180", "180", "180" }, { ANY, ANY, ANY }, NULL },
    { "scale_shift, ReLU", op_scale_shift_relu, { "2,2,3", "3", "3" }, { "19,10,180", "180", "180" }, { ANY, APART, ANY }, op_scale_shift },
    { "batch_norm", op_batch_norm, { "5,3", "3", "3" }, { "1200,40", "40", "40" }, { ANY, APART, ANY }, NULL },
    { "batch_norm of images", op_batch_norm, { "2,2,3,2", "2", "2" }, { "5,20,21,20", "20", "20" }, { ANY, APART, ANY }, NULL },
    { "batch_norm, ReLU", op_batch_norm_relu, { "4,2", "2", "2" }, { "1200,40", "40", "40" }, { ANY, APART, ANY }, op_batch_norm },
    { "batch_norm, max-pool", op_batch_norm_pool, { "1,4,5,2", "2", "2" }, { "5,20,21,20", "20", "20" }, { DISTINCT, APART, ANY }, NULL },
    { "batch_norm, ReLU, max-pool", op_batch_norm_relu_pool, { "1,5,4,2", "2", "2" }, { "5,21,20,20", "20", "20" }, { DISTINCT, APART, ANY }, op_batch_norm },
    { "affine, all of it used twice", op_affine_shared, { "3,4", "4,5", "5" }, { "130,80", "80,70", "70" }, { ANY, ANY, ANY }, NULL },
};
enum { ROWS = sizeof rows / sizeof *rows };

/* ------------------------------------------------------------------------------------------------ derivatives */

/* An operation at a place: the values of its inputs. */
typedef struct problem {
    op_fn op;
    int n, rank[3], shape[3][GENREG_MAX_RANK];
    ptrdiff_t size[3];
    genreg_real *value[3];
} problem;

static genreg_real weight_table[200000]; /* random directions to project on */
static void draw_weights(void)
{
    ptrdiff_t i;
    for (i = 0; i < 200000; i++) weight_table[i] = (genreg_real)(uniform() + (i % 2 ? 0.3 : -0.3));
}
static genreg_tensor *weights(genreg_ctx *c, const genreg_tensor *like, int which)
{
    if (like && like->size + 17 * which > (ptrdiff_t)(sizeof weight_table / sizeof *weight_table)) {
        printf("a case is larger than the table of weights\n");
        exit(1);
    }
    return like ? genreg_constant(c, like->rank, like->shape, weight_table + 17 * which) : NULL;
}

static double margin(void) { return WIDE ? 0.03 : 0.2; }
static double step(void) { return WIDE ? 1e-3 : 3e-2; }

static void draw(genreg_real *x, ptrdiff_t n, int from)
{
    ptrdiff_t i;
    for (i = 0; i < n; i++) {
        double u = uniform();
        x[i] = (genreg_real)(from == POSITIVE ? 1.2 + 0.7 * u : from == APART ? (u < 0 ? u - 0.4 : u + 0.4) : from == DISTINCT ? ((double)i / (double)n - 0.5) * (n < 100 ? 6.0 : 3.0) : 1.4 * u);
    }
    for (i = n - 1; from == DISTINCT && i > 0; i--) { /* shuffle */
        ptrdiff_t k = (ptrdiff_t)below((unsigned)i + 1);
        genreg_real t = x[i];
        x[i] = x[k];
        x[k] = t;
    }
}

static void inputs_of(genreg_ctx *c, const problem *p, int variables, genreg_tensor **x)
{
    int k;
    for (k = 0; k < p->n; k++) x[k] = variables ? genreg_variable(c, p->rank[k], p->shape[k], p->value[k]) : genreg_constant(c, p->rank[k], p->shape[k], p->value[k]);
}

static int pose(problem *p, genreg_ctx *c, op_fn op, const char *const *shapes, const int *from, op_fn before)
{
    int k, i, round;
    memset(p, 0, sizeof *p);
    p->op = op;
    for (p->n = 0; p->n < 3 && shapes[p->n]; p->n++) {
        k = p->n;
        p->rank[k] = parse_shape(shapes[k], p->shape[k]);
        for (p->size[k] = 1, i = 0; i < p->rank[k]; i++) p->size[k] *= p->shape[k][i];
        p->value[k] = reals(p->size[k]);
    }
    for (round = 0; round < 5000; round++) {
        genreg_place place = genreg_mark(c);
        genreg_tensor *x[3] = { NULL, NULL, NULL }, *z;
        int apart = 1;
        for (k = 0; k < p->n; k++) draw(p->value[k], p->size[k], from[k]);
        if (!before) return 1;
        inputs_of(c, p, 0, x);
        z = before(c, x);
        for (i = 0; z && i < z->size; i++) apart &= fabs((double)z->data[i]) > margin() * (z->size > 1000 ? 0 : 1);
        genreg_release(c, place);
        if (z && apart) return 1;
    }
    return 0;
}

static void drop(problem *p)
{
    int k;
    for (k = 0; k < p->n; k++) free(p->value[k]);
}

/* The scalar that is differentiated. Order 1: <r, y>, the operation alone. Order 2: the derivative of <r, y + y^2/2 + y^3/6> along v,
   so that linear operations have higher derivatives too. Order 3: the derivative of that along u. */
static genreg_tensor *scalar_of(genreg_ctx *c, const problem *p, genreg_tensor **x, int order)
{
    genreg_tensor *y = p->op(c, x), *r = weights(c, y, 0), *s, *g[3] = { NULL, NULL, NULL };
    int k, o;
    if (order == 1) return genreg_dot(c, r, y);
    s = genreg_add(c, y, genreg_scale(c, genreg_mul(c, y, genreg_add(c, y, genreg_scale(c, genreg_mul(c, y, y), 1.0 / 3))), 0.5));
    s = genreg_dot(c, r, s);
    for (o = 2; o <= order && s; o++) {
        if (!genreg_grad(c, s, NULL, x, p->n, g)) return NULL;
        for (s = NULL, k = 0; k < p->n; k++) {
            genreg_tensor *term = genreg_dot(c, g[k], weights(c, g[k], 5 * o + k));
            s = s ? genreg_add(c, s, term) : term;
        }
    }
    return s;
}

static double value_of(genreg_ctx *c, const problem *p, int order)
{
    genreg_place place = genreg_mark(c);
    genreg_tensor *x[3] = { NULL, NULL, NULL };
    double value;
    ptrdiff_t nodes = c->nodes;
    inputs_of(c, p, order > 1, x);
    value = genreg_item(scalar_of(c, p, x, order));
    if (order == 1) CHECK(c->nodes == nodes, "%d operations on constants were recorded", (int)(c->nodes - nodes));
    genreg_release(c, place);
    return value;
}

/* Fourth-order central differences of the scalar by every value of every input. */
static void difference(genreg_ctx *c, const problem *p, int order, genreg_real **out)
{
    const double h = step();
    ptrdiff_t i;
    int k;
    for (k = 0; k < p->n; k++)
        for (i = 0; i < p->size[k]; i++) {
            genreg_real *x = &p->value[k][i], at = *x;
            double f[4], width;
            *x = (genreg_real)((double)at + 2 * h); f[0] = value_of(c, p, order);
            *x = (genreg_real)((double)at + h); f[1] = value_of(c, p, order); width = (double)*x;
            *x = (genreg_real)((double)at - h); f[2] = value_of(c, p, order); width -= (double)*x;
            *x = (genreg_real)((double)at - 2 * h); f[3] = value_of(c, p, order);
            *x = at;
            out[k][i] = (genreg_real)((8 * (f[1] - f[2]) - (f[0] - f[3])) / (6 * width));
        }
}

static double norm(const genreg_real *x, ptrdiff_t n)
{
    double sum = 0;
    for (n--; n >= 0; n--) sum += (double)x[n] * (double)x[n];
    return sqrt(sum);
}

/* Analytic derivative of the given order against differences, by both kinds of sweep, for all inputs at once and for each alone.
   Returns the error against differences. */
static double check_order(genreg_ctx *c, const char *name, const problem *p, int order, double tolerance)
{
    genreg_place place = genreg_mark(c);
    genreg_tensor *x[3] = { NULL, NULL, NULL }, *g[3] = { NULL, NULL, NULL }, *s, *alone = NULL;
    genreg_real *numeric[3] = { NULL, NULL, NULL }, *direct[3] = { NULL, NULL, NULL };
    double worst = 0, apart = 0, single = 0;
    size_t bytes;
    ptrdiff_t nodes;
    int k, done, empty = 0;
    for (k = 0; k < p->n; k++) { numeric[k] = reals(p->size[k]); direct[k] = reals(p->size[k]); }
    difference(c, p, order, numeric);
    inputs_of(c, p, 1, x);
    s = scalar_of(c, p, x, order);
    CHECK(s && genreg_item(s) == value_of(c, p, order), "%s: the value depends on whether it is recorded: %s", name, genreg_error_message(c));
    bytes = genreg_tape_bytes(c);
    nodes = c->nodes;
    for (k = 0; k < p->n; k++) { ptrdiff_t i; for (i = 0; i < p->size[k]; i++) direct[k][i] = (genreg_real)NAN; } /* what was there does not matter */
    done = s && genreg_gradient_into(c, s, NULL, x, p->n, direct);
    CHECK(done && genreg_tape_bytes(c) == bytes && c->nodes == nodes && c->sweep_arena.bytes == 0, "%s: gradient_into left %d bytes and %d operations, %s", name,
          (int)(genreg_tape_bytes(c) - bytes), (int)(c->nodes - nodes), genreg_error_message(c));
    done = s && genreg_grad(c, s, NULL, x, p->n, g);
    CHECK(done && c->sweep_arena.bytes == 0, "%s: grad: %s", name, genreg_error_message(c));
    for (k = 0; done && k < p->n; k++) {
        double error = check_distance(g[k]->data, numeric[k], p->size[k]), between = check_distance(direct[k], g[k]->data, p->size[k]);
        empty |= norm(numeric[k], p->size[k]) < 1e-6;
        if (error > worst) worst = error;
        if (between > apart) apart = between;
        CHECK(g[k]->rank == p->rank[k] && g[k]->size == p->size[k], "%s: the gradient of input %d has another shape", name, k);
        genreg_gradient_into(c, s, NULL, &x[k], 1, &numeric[k]);
        between = check_distance(numeric[k], g[k]->data, p->size[k]);
        if (between > single) single = between;
        genreg_grad(c, s, NULL, &x[k], 1, &alone);
        between = alone ? check_distance(alone->data, g[k]->data, p->size[k]) : HUGE_VAL;
        if (between > single) single = between;
    }
    CHECK(genreg_error(c) == GENREG_OK, "%s: %s", name, genreg_error_message(c));
    genreg_clear_error(c);
    CHECK(!empty, "%s, order %d: a derivative is zero, so that nothing was compared", name, order);
    CHECK(worst <= tolerance, "%s, order %d, %s: differs from differences by %g", name, order, genreg_isa_name(c), worst);
    CHECK(apart <= check_path_tolerance() * (order > 1 ? 4 : 1), "%s, order %d, %s: the sweeps differ by %g", name, order, genreg_isa_name(c), apart);
    CHECK(single <= check_path_tolerance() * (order > 1 ? 4 : 1), "%s, order %d, %s: one input alone differs by %g", name, order, genreg_isa_name(c), single);
    for (k = 0; k < p->n; k++) { free(numeric[k]); free(direct[k]); }
    genreg_release(c, place);
    return worst;
}

static double tolerance_of(int order) { return WIDE ? (order < 3 ? 1e-8 : 1e-7) : (order < 3 ? 1e-2 : 3e-2); }

static void test_derivatives(void)
{
    int isa, r;
    double error[3];
    printf("%-36s %12s %12s %12s   (relative error against central differences)\n", "operation", "first order", "second order", "third order");
    for (r = 0; r < ROWS; r++) {
        error[0] = error[1] = error[2] = 0;
        for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++) {
            genreg_ctx *c;
            problem p;
            int order;
            if (!genreg_isa_available((genreg_isa)isa)) continue;
            c = check_context((genreg_isa)isa, 1);
            state = 88172645463325252ull + (unsigned)r;
            CHECK(pose(&p, c, rows[r].op, rows[r].small, rows[r].from, rows[r].before), "%s: no inputs away from the kink", rows[r].name);
            for (order = 1; order <= 3; order++) {
                double e;
                if (order == 3 && isa != GENREG_ISA_PLAIN) continue;
                e = check_order(c, rows[r].name, &p, order, tolerance_of(order));
                if (e > error[order - 1]) error[order - 1] = e;
            }
            drop(&p);
            genreg_destroy(c);
        }
        printf("%-36s %12.1e %12.1e %12.1e\n", rows[r].name, error[0], error[1], error[2]);
    }
}

/* ------------------------------------------------------------------------------------------------ threads and instruction sets */

/* Everything of a large case in one array: y, the direct gradient, the recorded one, and a product with the Hessian. */
static genreg_real *everything(genreg_ctx *c, const problem *p, ptrdiff_t *size)
{
    genreg_place place = genreg_mark(c);
    genreg_tensor *x[3] = { NULL, NULL, NULL }, *g[3] = { NULL, NULL, NULL }, *y, *s;
    genreg_real *all, *to, *into[3];
    int k;
    inputs_of(c, p, 1, x);
    y = p->op(c, x);
    for (*size = y ? y->size : 0, k = 0; k < p->n; k++) *size += 3 * p->size[k];
    all = to = reals(*size);
    if (y) {
        memcpy(to, y->data, (size_t)y->size * sizeof *to);
        to += y->size;
        s = genreg_dot(c, weights(c, y, 0), y);
        for (k = 0; k < p->n; k++) { into[k] = to; to += p->size[k]; }
        genreg_gradient_into(c, s, NULL, x, p->n, into);
        if (genreg_grad(c, s, NULL, x, p->n, g))
            for (k = 0; k < p->n; k++) { memcpy(to, g[k]->data, (size_t)p->size[k] * sizeof *to); to += p->size[k]; }
        s = genreg_scale(c, genreg_dot(c, y, y), 1e-2);
        if (genreg_grad(c, s, NULL, x, p->n, g)) {
            for (s = NULL, k = 0; k < p->n; k++) s = s ? genreg_add(c, s, genreg_dot(c, g[k], weights(c, g[k], k))) : genreg_dot(c, g[k], weights(c, g[k], k));
            for (k = 0; k < p->n; k++) { into[k] = to; to += p->size[k]; }
            genreg_gradient_into(c, s, NULL, x, p->n, into);
        }
    }
    CHECK(genreg_error(c) == GENREG_OK && to == all + *size, "a large case: %s", genreg_error_message(c));
    genreg_release(c, place);
    return all;
}

static uint64_t hash_of(const genreg_real *x, ptrdiff_t n)
{
    const unsigned char *bytes = (const unsigned char *)x;
    uint64_t hash = 14695981039346656037u;
    size_t i;
    for (i = 0; i < (size_t)n * sizeof *x; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash;
}

static void test_large(void)
{
    static const int teams[] = { 1, 2, 8 };
    static uint64_t first[ROWS];
    genreg_real *plain, *all;
    int r, t, isa;
    ptrdiff_t size;
    problem p;
    for (t = 0; t < 3; t++) { /* the number of threads changes twice only, as that is slow */
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, teams[t]);
        for (r = 0; r < ROWS; r++) {
            state = 88172645463325252ull + (unsigned)r;
            CHECK(pose(&p, c, rows[r].op, rows[r].large, rows[r].from, NULL), "%s", rows[r].name);
            all = everything(c, &p, &size);
            if (t == 0) first[r] = hash_of(all, size);
            else CHECK(first[r] == hash_of(all, size), "%s: %d threads give other bits than one", rows[r].name, teams[t]);
            free(all);
            drop(&p);
        }
        genreg_destroy(c);
    }
    for (r = 0; r < ROWS; r++) {
        plain = NULL;
        for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++) {
            genreg_ctx *c;
            if (!genreg_isa_available((genreg_isa)isa)) continue;
            c = check_context((genreg_isa)isa, 1);
            state = 88172645463325252ull + (unsigned)r;
            CHECK(pose(&p, c, rows[r].op, rows[r].large, rows[r].from, NULL), "%s", rows[r].name);
            all = everything(c, &p, &size);
            if (!plain) plain = all;
            else {
                double apart = check_distance(all, plain, size);
                CHECK(apart <= check_path_tolerance(), "%s: %s is %g from plain", rows[r].name, genreg_isa_name(c), apart);
                free(all);
            }
            drop(&p);
            genreg_destroy(c);
        }
        free(plain);
    }
}

/* ------------------------------------------------------------------------------------------------ broadcasting */

static ptrdiff_t broadcast_index(ptrdiff_t at, int rank, const int *shape, const genreg_tensor *x)
{
    ptrdiff_t index = 0, step_x = 1;
    int i;
    for (i = 1; i <= rank; i++) {
        ptrdiff_t k = at % shape[rank - i];
        at /= shape[rank - i];
        if (i > x->rank) continue;
        if (x->shape[x->rank - i] > 1) index += k * step_x;
        step_x *= x->shape[x->rank - i];
    }
    return index;
}

static void test_broadcasting(void)
{
    static const char *const shapes[][3] = { /* a, b, what they broadcast to */
        { "3,4", "3,4", "3,4" }, { "3,4", "4", "3,4" }, { "3,4", "3,1", "3,4" }, { "3,4", "1,4", "3,4" }, { "3,4", "", "3,4" }, { "3,4", "1", "3,4" },
        { "3,4", "1,1", "3,4" }, { "3,1", "1,4", "3,4" }, { "3,1", "4", "3,4" }, { "", "", "" }, { "1", "", "1" }, { "1", "5", "5" }, { "1,1,1", "5", "1,1,5" },
        { "2,3,4", "4", "2,3,4" }, { "2,3,4", "3,4", "2,3,4" }, { "2,3,4", "3,1", "2,3,4" }, { "2,3,4", "2,1,1", "2,3,4" }, { "2,3,4", "2,1,4", "2,3,4" },
        { "2,3,4", "1,3,1", "2,3,4" }, { "2,1,4", "3,1", "2,3,4" }, { "2,1,4", "1,3,1", "2,3,4" }, { "2,1,1", "3,4", "2,3,4" }, { "5,1,3", "1,7,1", "5,7,3" },
        { "2,3,1,2", "1,3,2", "2,3,3,2" }, { "2,1,3,1,2", "3,1,2,1", "2,3,3,2,2" }, { "2,1,2,1,2,1", "1,3,1,2,1,2", "2,3,2,2,2,2" }, { "1,2,1,3,1,2", "2", "1,2,1,3,1,2" },
        { "2,1,1,3", "2,2,1", "2,2,2,3" }, { "7,1", "1,9", "7,9" }, { "1,1,33", "5,1,1", "5,1,33" } };
    static const struct { const char *name; op_fn op; int from[3]; } ops[] = {
        { "add", op_add, { ANY, ANY } }, { "sub", op_sub, { ANY, ANY } }, { "mul", op_mul, { ANY, ANY } }, { "div", op_div, { ANY, APART } } };
    int s, o, swap, isa, done = 0;
    double worst[2] = { 0, 0 };
    for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++) {
        genreg_ctx *c;
        if (!genreg_isa_available((genreg_isa)isa)) continue;
        c = check_context((genreg_isa)isa, 1);
        for (s = 0; s < (int)(sizeof shapes / sizeof *shapes); s++)
            for (o = 0; o < (int)(sizeof ops / sizeof *ops); o++)
                for (swap = 0; swap < 2; swap++) {
                    const char *pair[3];
                    genreg_place place = genreg_mark(c);
                    genreg_tensor *x[3] = { NULL, NULL, NULL }, *y;
                    int shape[GENREG_MAX_RANK], rank = parse_shape(shapes[s][2], shape), wrong = 0, order, k;
                    ptrdiff_t i;
                    problem p;
                    char name[100];
                    pair[0] = shapes[s][swap]; pair[1] = shapes[s][1 - swap]; pair[2] = NULL;
                    sprintf(name, "%s of [%s] and [%s]", ops[o].name, pair[0], pair[1]);
                    pose(&p, c, ops[o].op, pair, ops[o].from, NULL);
                    inputs_of(c, &p, 1, x);
                    y = p.op(c, x);
                    CHECK(y && y->rank == rank && memcmp(y->shape, shape, (size_t)rank * sizeof *shape) == 0, "%s: another shape, %s", name, genreg_error_message(c));
                    for (i = 0; y && i < y->size; i++) {
                        double a = (double)x[0]->data[broadcast_index(i, rank, shape, x[0])], b = (double)x[1]->data[broadcast_index(i, rank, shape, x[1])];
                        double want = o == 0 ? a + b : o == 1 ? a - b : o == 2 ? a * b : a / b;
                        wrong += !(fabs((double)y->data[i] - want) <= (WIDE ? 1e-15 : 1e-6) * (1 + fabs(want)));
                    }
                    CHECK(!wrong, "%s, %s: %d values wrong", name, genreg_isa_name(c), wrong);
                    if (isa == GENREG_ISA_PLAIN)
                        for (order = 1; order <= 2; order++) {
                            double e = check_order(c, name, &p, order, tolerance_of(order));
                            if (e > worst[order - 1]) worst[order - 1] = e;
                        }
                    else if (y) { /* other instruction sets against plain formulas, summed over places */
                        genreg_real *g[2];
                        genreg_tensor *scalar = genreg_dot(c, weights(c, y, 0), y);
                        double *want[2];
                        for (k = 0; k < 2; k++) { g[k] = reals(p.size[k]); want[k] = (double *)room_for(p.size[k], sizeof(double)); }
                        genreg_gradient_into(c, scalar, NULL, x, 2, g);
                        for (i = 0; i < y->size; i++) {
                            ptrdiff_t ia = broadcast_index(i, rank, shape, x[0]), ib = broadcast_index(i, rank, shape, x[1]);
                            double a = (double)x[0]->data[ia], b = (double)x[1]->data[ib], w = (double)weight_table[i];
                            double da = o == 0 || o == 1 ? 1 : o == 2 ? b : 1 / b;
                            double db = o == 0 ? 1 : o == 1 ? -1 : o == 2 ? a : -a / (b * b);
                            want[0][ia] += w * da;
                            want[1][ib] += w * db;
                        }
                        for (k = 0; k < 2; k++)
                            for (i = 0; i < p.size[k]; i++) wrong += !(fabs((double)g[k][i] - want[k][i]) <= (WIDE ? 1e-13 : 1e-4) * (1 + fabs(want[k][i])));
                        CHECK(!wrong, "%s, %s: %d derivatives wrong", name, genreg_isa_name(c), wrong);
                        for (k = 0; k < 2; k++) { free(g[k]); free(want[k]); }
                    }
                    CHECK(genreg_error(c) == GENREG_OK, "%s: %s", name, genreg_error_message(c));
                    genreg_clear_error(c);
                    drop(&p);
                    genreg_release(c, place);
                    done++;
                }
        genreg_destroy(c);
    }
    printf("%-36s %12.1e %12.1e                (%d cases)\n", "broadcasting, worst", worst[0], worst[1], done);
}

/* expand and sum_to over every pair of shapes, and reductions over every set of axes, against loops. */
static op_fn shaped_op;
static int shaped_rank, shaped[GENREG_MAX_RANK];
static unsigned shaped_axes;
OP(shaped_expand, genreg_expand(c, x[0], shaped_rank, shaped))
OP(shaped_sum_to, genreg_sum_to(c, x[0], shaped_rank, shaped))
OP(shaped_sum, genreg_sum(c, x[0], shaped_axes))
OP(shaped_mean, genreg_mean(c, x[0], shaped_axes))
OP(shaped_max, genreg_max(c, x[0], shaped_axes))
OP(shaped_permute, genreg_permute(c, x[0], shaped))

static void test_reductions(void)
{
    static const char *const pairs[][2] = { { "", "" }, { "", "3" }, { "", "2,3" }, { "1", "4" }, { "4", "4" }, { "4", "3,4" }, { "3,1", "3,4" }, { "1,4", "3,4" }, { "1,1", "3,4" },
        { "3,1", "2,3,4" }, { "2,1,1", "2,3,4" }, { "2,1,4", "2,3,4" }, { "1,3,1", "2,3,4" }, { "2,3,1", "2,3,4" }, { "1,1,4", "2,3,4" }, { "2,1,3,1", "2,2,3,2" },
        { "1,2,1,3,1,2", "2,2,3,3,2,2" }, { "2,1,2,1,2,1", "2,3,2,2,2,2" }, { "1,1,1,1,1,1", "2,1,2,1,2,2" }, { "2", "3,1,2" } };
    static const char *const tensors[] = { "5", "3,4", "2,3,4", "2,1,4", "1,1,1", "2,2,3,2", "2,3,1,2,2", "2,1,2,3,1,2" };
    static const int any[3] = { ANY, ANY, ANY }, distinct[3] = { DISTINCT, ANY, ANY };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    int s, which, cases = 0;
    double worst[2] = { 0, 0 };
    for (s = 0; s < (int)(sizeof pairs / sizeof *pairs); s++)
        for (which = 0; which < 2; which++) {
            const char *from[3];
            problem p;
            genreg_place place = genreg_mark(c);
            genreg_tensor *x[3] = { NULL, NULL, NULL }, *y, *narrow, *broad;
            double *sums;
            int wrong = 0, order;
            ptrdiff_t i;
            from[0] = pairs[s][which]; from[1] = from[2] = NULL;
            shaped_rank = parse_shape(pairs[s][1 - which], shaped);
            shaped_op = which ? op_shaped_sum_to : op_shaped_expand;
            pose(&p, c, shaped_op, from, any, NULL);
            inputs_of(c, &p, 1, x);
            y = p.op(c, x);
            CHECK(y && y->rank == shaped_rank, "%s of [%s] to [%s]: %s", which ? "sum_to" : "expand", from[0], pairs[s][1 - which], genreg_error_message(c));
            if (y) {
                narrow = which ? y : x[0];
                broad = which ? x[0] : y;
                sums = (double *)room_for(narrow->size, sizeof *sums);
                for (i = 0; i < broad->size; i++) {
                    ptrdiff_t at = broadcast_index(i, broad->rank, broad->shape, narrow);
                    if (which) sums[at] += (double)broad->data[i];
                    else wrong += broad->data[i] != narrow->data[at];
                }
                for (i = 0; which && i < narrow->size; i++) wrong += !(fabs(sums[i] - (double)narrow->data[i]) < (WIDE ? 1e-13 : 1e-4));
                free(sums);
            }
            CHECK(!wrong, "%s of [%s] to [%s]: %d values wrong", which ? "sum_to" : "expand", from[0], pairs[s][1 - which], wrong);
            for (order = 1; order <= 2; order++) {
                double e = check_order(c, which ? "sum_to" : "expand", &p, order, tolerance_of(order));
                if (e > worst[order - 1]) worst[order - 1] = e;
            }
            drop(&p);
            genreg_release(c, place);
            cases++;
        }
    for (s = 0; s < (int)(sizeof tensors / sizeof *tensors); s++) {
        int shape[GENREG_MAX_RANK], rank = parse_shape(tensors[s], shape);
        const char *from[3];
        unsigned axes;
        from[0] = tensors[s]; from[1] = from[2] = NULL;
        for (axes = 0; axes <= 1u << rank; axes++)
            for (which = 0; which < 3; which++) {
                static const char *const names[] = { "sum", "mean", "max" };
                genreg_place place = genreg_mark(c);
                genreg_tensor *x[3] = { NULL, NULL, NULL }, *y;
                problem p;
                ptrdiff_t i;
                double *want;
                int wrong = 0, k, *seen, order;
                shaped_axes = axes == 1u << rank ? GENREG_ALL_AXES : axes;
                pose(&p, c, which == 0 ? op_shaped_sum : which == 1 ? op_shaped_mean : op_shaped_max, from, which == 2 ? distinct : any, NULL);
                inputs_of(c, &p, 1, x);
                y = p.op(c, x);
                CHECK(y && y->rank == (shaped_axes == GENREG_ALL_AXES ? 0 : rank), "%s of [%s]: %s", names[which], from[0], genreg_error_message(c));
                if (y) {
                    want = (double *)room_for(y->size, sizeof *want);
                    seen = (int *)room_for(y->size, sizeof *seen);
                    for (k = 0; k < y->rank; k++) wrong += y->shape[k] != (axes >> k & 1u ? 1 : shape[k]);
                    for (i = 0; !wrong && i < x[0]->size; i++) {
                        ptrdiff_t at = broadcast_index(i, rank, shape, y);
                        double v = (double)x[0]->data[i];
                        if (which < 2) want[at] += which == 1 ? v * (double)y->size / (double)x[0]->size : v;
                        else if (!seen[at]++ || v > want[at]) want[at] = v;
                    }
                    for (i = 0; i < y->size; i++) wrong += !(fabs(want[i] - (double)y->data[i]) < (WIDE ? 1e-13 : 1e-4));
                    free(want);
                    free(seen);
                }
                CHECK(!wrong, "%s of [%s] over axes %x: %d values wrong", names[which], from[0], axes, wrong);
                for (order = 1; order <= 2 && rank < 5; order++) {
                    double e = check_order(c, names[which], &p, order, tolerance_of(order));
                    if (e > worst[order - 1]) worst[order - 1] = e;
                }
                drop(&p);
                genreg_release(c, place);
                cases++;
            }
    }
    printf("%-36s %12.1e %12.1e                (%d cases)\n", "expand, sum_to, reductions, worst", worst[0], worst[1], cases);
    genreg_destroy(c);
}

/* Every order of up to four axes. */
static void test_permutations(void)
{
    static const char *const tensors[] = { "", "5", "3,4", "2,3,4", "2,3,4,5", "3,1,2,2" };
    static const int any[3] = { ANY, ANY, ANY };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    int s, code, cases = 0;
    for (s = 0; s < (int)(sizeof tensors / sizeof *tensors); s++) {
        const char *from[3];
        int shape[GENREG_MAX_RANK], rank = parse_shape(tensors[s], shape), orders = rank < 2 ? 1 : rank == 2 ? 2 : rank == 3 ? 6 : 24;
        from[0] = tensors[s]; from[1] = from[2] = NULL;
        for (code = 0; code < orders; code++) {
            genreg_place place = genreg_mark(c);
            genreg_tensor *x[3] = { NULL, NULL, NULL }, *y;
            int left[GENREG_MAX_RANK], i, k, rest = code, wrong = 0;
            ptrdiff_t at;
            problem p;
            for (i = 0; i < rank; i++) left[i] = i;
            for (i = 0; i < rank; i++) { /* the code's digits pick from what is left */
                int pick = rest % (rank - i);
                rest /= rank - i;
                shaped[i] = left[pick];
                for (k = pick; k + 1 < rank - i; k++) left[k] = left[k + 1];
            }
            pose(&p, c, op_shaped_permute, from, any, NULL);
            inputs_of(c, &p, 1, x);
            y = p.op(c, x);
            CHECK(y && y->rank == rank, "permute of [%s]: %s", from[0], genreg_error_message(c));
            for (at = 0; y && at < y->size; at++) {
                ptrdiff_t r = at, to = 0, step_x;
                for (i = rank - 1; i >= 0; i--) {
                    ptrdiff_t index = r % y->shape[i];
                    r /= y->shape[i];
                    for (step_x = 1, k = shaped[i] + 1; k < rank; k++) step_x *= shape[k];
                    to += index * step_x;
                }
                wrong += y->data[at] != x[0]->data[to];
            }
            CHECK(!wrong, "permute of [%s], order %d: %d values wrong", from[0], code, wrong);
            if (x[0]->size < 30) check_order(c, "permute", &p, 2, tolerance_of(2));
            drop(&p);
            genreg_release(c, place);
            cases++;
        }
    }
    genreg_destroy(c);
    CHECK(cases > 50, "%d orders", cases);
}

/* ------------------------------------------------------------------------------------------------ values */

static void check_values(const char *name, const genreg_ctx *c, const genreg_tensor *y, int rank, const int *shape, const double *want, double tolerance)
{
    int wrong = 0, i;
    ptrdiff_t at;
    CHECK(y && genreg_error(c) == GENREG_OK, "%s: %s", name, genreg_error_message(c));
    if (!y) return;
    for (i = 0; i < rank && y->rank == rank; i++) wrong += y->shape[i] != shape[i];
    CHECK(y->rank == rank && !wrong, "%s: another shape", name);
    for (at = 0; at < y->size && !wrong; at++) {
        double got = (double)y->data[at];
        wrong += !((got != got && want[at] != want[at]) || got == want[at] || fabs(got - want[at]) <= tolerance * (1 + fabs(want[at])));
    }
    CHECK(!wrong, "%s, %s: wrong from value %d on: %g", name, genreg_isa_name(c), (int)at - 1, at ? (double)y->data[at - 1] : 0);
}

static double softplus_reference(double x) { return (x > 0 ? x : x != x ? x : 0) + log1p(exp(-fabs(x))); }

/* Elementwise operations on ordinary and on special numbers; NaN comes through wherever it stands. */
static void test_elementwise(genreg_ctx *c)
{
    enum { N = 77 };
    const double tolerance = WIDE ? 3e-15 : 2e-6, inf = (double)HUGE_VAL, nan = (double)NAN;
    double special[] = { 0, 1, -1, 0.5, -3.25, 40, -40, 1e-30, 700, -700, 0, 0, 0, -0.0 };
    double want[N];
    int shape[1] = { N }, i, k;
    genreg_tensor *x = genreg_constant(c, 1, shape, NULL);
    special[10] = inf; special[11] = -inf; special[12] = nan;
    for (i = 0; i < N; i++) x->data[i] = (genreg_real)(i % 3 ? special[i / 3 % 14] : 2 * uniform());
#define UNARY(name, call, formula)                                                     \
    for (i = 0; i < N; i++) { const double v = (double)x->data[i]; want[i] = (double)(genreg_real)(formula); } \
    check_values(name, c, call, 1, shape, want, tolerance);
    UNARY("neg", genreg_neg(c, x), -v)
    UNARY("scale", genreg_scale(c, x, -1.5), -1.5 * v)
    UNARY("exp", genreg_exp(c, x), exp(v))
    UNARY("log", genreg_log(c, x), log(v))
    UNARY("sqrt", genreg_sqrt(c, x), sqrt(v))
    UNARY("tanh", genreg_tanh(c, x), tanh(v))
    UNARY("sigmoid", genreg_sigmoid(c, x), 1 / (1 + exp(-v)))
    UNARY("softplus", genreg_softplus(c, x), softplus_reference(v))
    UNARY("relu", genreg_relu(c, x), v < 0 ? 0 : v)
    UNARY("abs", genreg_abs(c, x), fabs(v))
    UNARY("sign", genreg_sign(c, x), (v > 0) - (v < 0))
    UNARY("pow 0", genreg_pow(c, x, 0), 1 + 0 * (v != v))
    UNARY("pow 2", genreg_pow(c, x, 2), v * v)
    UNARY("pow 3", genreg_pow(c, x, 3), v * v * v)
    UNARY("pow -1", genreg_pow(c, x, -1), 1 / v)
    UNARY("detach", genreg_detach(c, x), v)
    UNARY("add", genreg_add(c, x, genreg_scalar(c, 1)), v + 1)
    UNARY("sub", genreg_sub(c, genreg_scalar(c, 1), x), 1 - v)
    UNARY("mul", genreg_mul(c, x, genreg_scalar(c, 3)), 3 * v)
    UNARY("div", genreg_div(c, x, genreg_scalar(c, 4)), v / 4)
#undef UNARY
    /* One NaN in each lane of a vector. */
    for (k = 0; k < 40; k++) {
        genreg_place p = genreg_mark(c);
        genreg_tensor *y[20], *z = genreg_full(c, 1, shape, 0.5);
        int n = 0, bad = 0;
        z->data[k] = (genreg_real)nan;
        y[n++] = genreg_neg(c, z); y[n++] = genreg_scale(c, z, 2); y[n++] = genreg_exp(c, z); y[n++] = genreg_log(c, z); y[n++] = genreg_sqrt(c, z);
        y[n++] = genreg_tanh(c, z); y[n++] = genreg_sigmoid(c, z); y[n++] = genreg_softplus(c, z); y[n++] = genreg_relu(c, z); y[n++] = genreg_abs(c, z);
        y[n++] = genreg_pow(c, z, 2); y[n++] = genreg_pow(c, z, 0.5); y[n++] = genreg_add(c, z, x); y[n++] = genreg_sub(c, x, z); y[n++] = genreg_mul(c, z, genreg_scalar(c, 0));
        y[n++] = genreg_div(c, genreg_scalar(c, 1), z);
        for (n--; n >= 0; n--) {
            for (i = 0; i < N; i++) bad += n == 12 || n == 13 ? i == k && y[n]->data[i] == y[n]->data[i] : (i == k) != (y[n]->data[i] != y[n]->data[i]);
            CHECK(!bad, "operation %d, %s, NaN at %d: %d values are or are not NaN against reason", n, genreg_isa_name(c), k, bad);
        }
        CHECK(genreg_item(genreg_sum(c, z, GENREG_ALL_AXES)) != 0 && !(genreg_item(genreg_sum(c, z, GENREG_ALL_AXES)) > 0), "sum with NaN at %d", k);
        CHECK(!(genreg_item(genreg_mean(c, z, GENREG_ALL_AXES)) <= 1) && !(genreg_item(genreg_max(c, z, GENREG_ALL_AXES)) <= 1), "mean and max with NaN at %d", k);
        CHECK(!(genreg_item(genreg_logsumexp(c, z)) <= 1e9) && !(genreg_item(genreg_dot(c, z, z)) <= 1e9), "logsumexp and dot with NaN at %d", k);
        genreg_release(c, p);
    }
}

/* Operations on matrices and images against loops. */
static void test_values(genreg_ctx *c)
{
    const double tolerance = WIDE ? 1e-13 : 2e-5;
    genreg_place start = genreg_mark(c);
    double *want = (double *)room_for(40000, sizeof *want);
    int i, j, k, t, shape[GENREG_MAX_RANK];
    char name[120];
    static const int sizes[][3] = { { 3, 4, 5 }, { 1, 1, 1 }, { 1, 7, 9 }, { 9, 7, 1 }, { 17, 1, 13 }, { 33, 20, 18 } }; /* m, k, n */

    for (k = 0; k < 6; k++)
        for (t = 0; t < 4; t++) {
            int m = sizes[k][0], inner = sizes[k][1], n = sizes[k][2], p;
            genreg_tensor *a, *b, *y;
            shape[0] = t & 1 ? inner : m; shape[1] = t & 1 ? m : inner;
            a = genreg_constant(c, 2, shape, NULL);
            shape[0] = t & 2 ? n : inner; shape[1] = t & 2 ? inner : n;
            b = genreg_constant(c, 2, shape, NULL);
            draw(a->data, a->size, ANY);
            draw(b->data, b->size, ANY);
            y = genreg_matmul(c, a, b, t & 1, t & 2); /* any nonzero number is a yes */
            for (i = 0; i < m; i++)
                for (j = 0; j < n; j++)
                    for (want[i * n + j] = 0, p = 0; p < inner; p++)
                        want[i * n + j] += (double)a->data[t & 1 ? p * m + i : i * inner + p] * (double)b->data[t & 2 ? j * inner + p : p * n + j];
            shape[0] = m; shape[1] = n;
            sprintf(name, "matmul %d x %d x %d, transposes %d", m, inner, n, t);
            check_values(name, c, y, 2, shape, want, tolerance);
            if (t == 0) { /* affine, with each of its options */
                int options;
                for (options = 0; options < 4; options++) {
                    genreg_tensor *bias;
                    shape[0] = n;
                    bias = genreg_constant(c, 1, shape, NULL);
                    draw(bias->data, n, ANY);
                    y = genreg_affine(c, a, b, options & 1 ? bias : NULL, options & 2);
                    for (i = 0; i < m; i++)
                        for (j = 0; j < n; j++) {
                            double *w = &want[20000 + i * n + j];
                            *w = want[i * n + j] + (options & 1 ? (double)bias->data[j] : 0);
                            if (options & 2 && *w < 0) *w = 0;
                        }
                    shape[0] = m; shape[1] = n;
                    sprintf(name, "affine %d x %d x %d, options %d", m, inner, n, options);
                    check_values(name, c, y, 2, shape, want + 20000, tolerance);
                }
            }
        }
    genreg_release(c, start);

    { /* convolutions and pools */
        static const int cases[][9] = { /* n, h, w, in, kh, kw, out, stride, padding */
            { 2, 5, 6, 3, 3, 3, 4, 1, 1 }, { 1, 7, 5, 2, 2, 3, 5, 2, 0 }, { 2, 6, 6, 1, 1, 1, 3, 3, 0 }, { 1, 4, 4, 2, 4, 4, 2, 1, 3 }, { 1, 8, 8, 9, 3, 3, 17, 2, 1 } };
        for (k = 0; k < 5; k++) {
            const int *g = cases[k], oh = (g[1] + 2 * g[8] - g[4]) / g[7] + 1, ow = (g[2] + 2 * g[8] - g[5]) / g[7] + 1;
            int options, n, p, q, ci, o, y0, x0;
            genreg_tensor *x, *w, *b;
            shape[0] = g[0]; shape[1] = g[1]; shape[2] = g[2]; shape[3] = g[3];
            x = genreg_constant(c, 4, shape, NULL);
            shape[0] = g[4]; shape[1] = g[5]; shape[2] = g[3]; shape[3] = g[6];
            w = genreg_constant(c, 4, shape, NULL);
            shape[0] = g[6];
            b = genreg_constant(c, 1, shape, NULL);
            draw(x->data, x->size, ANY);
            draw(w->data, w->size, ANY);
            draw(b->data, b->size, ANY);
            for (options = 0; options < 4; options++) {
                double *to = want;
                for (n = 0; n < g[0]; n++)
                    for (i = 0; i < oh; i++)
                        for (j = 0; j < ow; j++)
                            for (o = 0; o < g[6]; o++, to++) {
                                *to = options & 1 ? (double)b->data[o] : 0;
                                for (p = 0; p < g[4]; p++)
                                    for (q = 0; q < g[5]; q++) {
                                        y0 = i * g[7] + p - g[8];
                                        x0 = j * g[7] + q - g[8];
                                        for (ci = 0; ci < g[3] && y0 >= 0 && y0 < g[1] && x0 >= 0 && x0 < g[2]; ci++)
                                            *to += (double)x->data[((n * g[1] + y0) * g[2] + x0) * g[3] + ci] * (double)w->data[((p * g[5] + q) * g[3] + ci) * g[6] + o];
                                    }
                                if (options & 2 && *to < 0) *to = 0;
                            }
                shape[0] = g[0]; shape[1] = oh; shape[2] = ow; shape[3] = g[6];
                sprintf(name, "conv2d case %d, options %d", k, options);
                check_values(name, c, genreg_conv2d(c, x, w, options & 1 ? b : NULL, g[7], g[8], options & 2), 4, shape, want, tolerance);
            }
            for (options = 0; options < 3; options++) { /* max, mean, mean over the image; windows of 2, stride 2 or 1 */
                int size = options == 2 ? g[1] : 2, stride = options == 0 ? 1 + k % 2 : size, ph = (g[1] - size) / stride + 1, pw = options == 2 ? 1 : (g[2] - size) / stride + 1;
                int wide = options == 2 ? g[2] : size;
                double *to = want;
                for (n = 0; n < g[0]; n++)
                    for (i = 0; i < ph; i++)
                        for (j = 0; j < pw; j++)
                            for (ci = 0; ci < g[3]; ci++, to++) {
                                double sum = 0, top = -1e9;
                                for (p = 0; p < size; p++)
                                    for (q = 0; q < wide; q++) {
                                        double v = (double)x->data[((n * g[1] + i * stride + p) * g[2] + j * stride + q) * g[3] + ci];
                                        sum += v;
                                        if (v > top) top = v;
                                    }
                                *to = options ? sum / (size * wide) : top;
                            }
                shape[0] = g[0]; shape[1] = ph; shape[2] = pw; shape[3] = g[3];
                if (options == 2) shape[1] = g[3];
                sprintf(name, "pool %d, case %d", options, k);
                check_values(name, c, options == 0 ? genreg_max_pool(c, x, size, stride) : options == 1 ? genreg_avg_pool(c, x, size) : genreg_global_avg_pool(c, x), options == 2 ? 2 : 4, shape, want, tolerance);
            }
            genreg_release(c, start);
        }
    }

    { /* by channel */
        static const int cases[][4] = { { 5, 3 }, { 2, 3, 4 }, { 2, 3, 3, 17 }, { 2, 1 } };
        for (k = 0; k < 4; k++) {
            int rank = k == 3 ? 2 : k + 2, channels = cases[k][rank - 1], relu, rows;
            genreg_tensor *x = genreg_constant(c, rank, cases[k], NULL), *s = genreg_constant(c, 1, &channels, NULL), *b = genreg_constant(c, 1, &channels, NULL);
            genreg_real mean[20], var[20];
            draw(x->data, x->size, ANY);
            draw(s->data, channels, ANY);
            draw(b->data, channels, ANY);
            rows = (int)x->size / channels;
            for (relu = 0; relu < 2; relu++) {
                int wrong = 0;
                for (i = 0; i < x->size; i++) {
                    want[i] = (double)s->data[i % channels] * (double)x->data[i] + (double)b->data[i % channels];
                    if (relu && want[i] < 0) want[i] = 0;
                }
                check_values("scale_shift", c, genreg_scale_shift(c, x, s, b, relu), rank, cases[k], want, tolerance);
                for (j = 0; j < channels; j++) {
                    double m = 0, v = 0;
                    for (i = 0; i < rows; i++) m += (double)x->data[i * channels + j] / rows;
                    for (i = 0; i < rows; i++) v += ((double)x->data[i * channels + j] - m) * ((double)x->data[i * channels + j] - m) / rows;
                    for (i = 0; i < rows; i++) {
                        double *w = &want[i * channels + j];
                        *w = (double)s->data[j] * ((double)x->data[i * channels + j] - m) / sqrt(v + 0.01) + (double)b->data[j];
                        if (relu && *w < 0) *w = 0;
                    }
                    want[30000 + j] = m;
                    want[30100 + j] = v;
                }
                check_values("batch_norm", c, genreg_batch_norm(c, x, s, b, 0.01, relu, mean, var), rank, cases[k], want, tolerance);
                for (j = 0; j < channels; j++) wrong += !(fabs((double)mean[j] - want[30000 + j]) < tolerance) + !(fabs((double)var[j] - want[30100 + j]) < tolerance);
                CHECK(!wrong, "batch_norm: %d statistics wrong", wrong);
            }
            genreg_release(c, start);
        }
    }

    { /* slice, join, gather, scatter, views */
        static const int three[] = { 3, 4, 5 };
        genreg_tensor *x = genreg_constant(c, 3, three, NULL), *parts[4];
        int axis, from, count, n, index[6];
        for (i = 0; i < x->size; i++) x->data[i] = (genreg_real)i;
        for (axis = 0; axis < 3; axis++)
            for (from = 0; from < three[axis]; from++)
                for (count = 1; count <= three[axis] - from; count++) {
                    n = 0;
                    for (i = 0; i < x->size; i++) {
                        int at[3];
                        at[0] = i / 20; at[1] = i / 5 % 4; at[2] = i % 5;
                        if (at[axis] >= from && at[axis] < from + count) want[n++] = i;
                    }
                    memcpy(shape, three, sizeof three);
                    shape[axis] = count;
                    check_values("slice", c, genreg_slice(c, x, axis, from, count), 3, shape, want, 0);
                }
        for (axis = 0; axis < 3; axis++) { /* what was cut comes together again */
            for (i = 0; i < x->size; i++) want[i] = i;
            parts[0] = genreg_slice(c, x, axis, 0, 1);
            parts[1] = genreg_slice(c, x, axis, 1, 1);
            parts[2] = genreg_slice(c, x, axis, 2, three[axis] - 2);
            check_values("join", c, genreg_join(c, parts, 3, axis), 3, three, want, 0);
            check_values("join of one", c, genreg_join(c, &x, 1, axis), 3, three, want, 0);
        }
        index[0] = 2; index[1] = 0; index[2] = 2; index[3] = 1; index[4] = 2;
        for (i = 0; i < 5; i++) for (j = 0; j < 20; j++) want[i * 20 + j] = index[i] * 20 + j;
        shape[0] = 5; shape[1] = 4; shape[2] = 5;
        parts[0] = genreg_gather(c, x, index, 5);
        memset(index, 0x7f, sizeof index); /* the index was copied */
        check_values("gather", c, parts[0], 3, shape, want, 0);
        index[0] = 3; index[1] = 0; index[2] = 3;
        for (i = 0; i < 100; i++) want[i] = 0;
        for (i = 0; i < 60; i++) want[index[i / 20] * 20 + i % 20] += i;
        check_values("scatter", c, genreg_scatter(c, x, index, 5), 3, shape, want, 0);
        shape[0] = 2; shape[1] = 7;
        for (i = 0; i < 14; i++) want[i] = 11 + i;
        parts[0] = genreg_view(c, x, 11, 2, shape);
        check_values("view", c, parts[0], 2, shape, want, 0);
        CHECK(parts[0]->data == x->data + 11, "a view is no copy");
        shape[0] = 3; shape[1] = -1; shape[2] = 2;
        parts[0] = genreg_reshape(c, x, 3, shape);
        shape[1] = 10;
        for (i = 0; i < 60; i++) want[i] = i;
        check_values("reshape", c, parts[0], 3, shape, want, 0);
        CHECK(parts[0]->data == x->data, "a reshape is no copy");
        shape[0] = 1;
        check_values("view to its end", c, genreg_view(c, x, 59, 1, shape), 1, shape, want + 59, 0);
        shape[0] = 4; shape[1] = 3;
        for (i = 0; i < 12; i++) want[i] = i % 3 * 4 + i / 3;
        shape[0] = 3; shape[1] = 4;
        parts[0] = genreg_transpose(c, genreg_view(c, x, 0, 2, shape));
        shape[0] = 4; shape[1] = 3;
        check_values("transpose", c, parts[0], 2, shape, want, 0);
        genreg_release(c, start);
    }

    { /* losses, also where exp would overflow */
        static const int rows[] = { 4, 3 }, labels[] = { 2, 0, 1, 2 };
        static const double offsets[] = { 0, 1e4, -1e4, 1e30 };
        genreg_tensor *x = genreg_constant(c, 2, rows, NULL), *y;
        for (k = 0; k < 4; k++) {
            double total = 0, offset = WIDE || k != 3 ? offsets[k] : 1e25, slack = k == 3 ? 0 : fabs(offset) * (WIDE ? 3e-16 : 2e-7) + tolerance;
            draw(x->data, x->size, ANY);
            for (i = 0; i < 12; i++) x->data[i] += (genreg_real)offset;
            for (i = 0; i < 4; i++) {
                double sum = 0;
                for (j = 0; j < 3; j++) sum += exp((double)x->data[3 * i + j] - (double)x->data[3 * i]);
                want[100 + i] = (double)x->data[3 * i] + log(sum);
                for (j = 0; j < 3; j++) want[3 * i + j] = (double)x->data[3 * i + j] - (double)x->data[3 * i] - log(sum);
                total -= want[3 * i + labels[i]] / 4;
            }
            if (k < 3) {
                y = genreg_log_softmax(c, x);
                for (i = 0, t = 0; y && i < 12; i++) t += !(fabs((double)y->data[i] - want[i]) <= 4 * slack);
                CHECK(y && !t, "log_softmax at %g: %d values wrong", offset, t);
                CHECK(fabs(genreg_item(genreg_cross_entropy(c, x, labels)) - total) <= 4 * slack, "cross_entropy at %g: %g instead of %g", offset, genreg_item(genreg_cross_entropy(c, x, labels)), total);
            }
            shape[0] = 4; shape[1] = 1;
            check_values("logsumexp", c, genreg_logsumexp(c, x), 2, shape, want + 100, tolerance);
        }
        /* One logit far above the others, and infinite ones. */
        for (i = 0; i < 12; i++) x->data[i] = (genreg_real)(i % 3 == 2 ? 1e30 : -1e30);
        y = genreg_log_softmax(c, x);
        CHECK(y && y->data[2] == 0 && y->data[0] < -1e29 && genreg_item(genreg_cross_entropy(c, genreg_slice(c, x, 0, 0, 1), labels)) == 0, "one logit far above");
        x->data[0] = x->data[1] = -(genreg_real)HUGE_VAL;
        x->data[2] = 5;
        y = genreg_logsumexp(c, x);
        CHECK(y && y->data[0] == 5, "logsumexp beside -inf is %g", y ? (double)y->data[0] : 0);
        y = genreg_log_softmax(c, x);
        CHECK(y && y->data[2] == 0 && y->data[0] == -(genreg_real)HUGE_VAL, "log_softmax beside -inf");
        x->data[2] = -(genreg_real)HUGE_VAL;
        CHECK(genreg_logsumexp(c, x)->data[0] == -(genreg_real)HUGE_VAL, "logsumexp of -inf alone");
        for (i = 0; i < 3; i++) { /* NaN beside an infinite number, on either side of it */
            x->data[0] = x->data[1] = x->data[2] = i == 1 ? (genreg_real)HUGE_VAL : -(genreg_real)HUGE_VAL;
            x->data[i] = (genreg_real)NAN;
            y = genreg_logsumexp(c, x);
            CHECK(y && y->data[0] != y->data[0], "logsumexp beside NaN at %d is %g", i, y ? (double)y->data[0] : 0);
            y = genreg_log_softmax(c, x);
            for (j = 0; y && j < 3; j++) CHECK(y->data[j] != y->data[j], "log_softmax beside NaN at %d", i);
        }
        shape[0] = 4; shape[1] = 1;
        x = genreg_full(c, 2, shape, 3);
        memset(want, 0, 4 * sizeof *want);
        check_values("log_softmax of one class", c, genreg_log_softmax(c, x), 2, shape, want, 0);
        y = genreg_one_hot(c, labels, 4, 3);
        for (i = 0; i < 12; i++) want[i] = i % 3 == labels[i / 3];
        check_values("one_hot", c, y, 2, rows, want, 0);
        genreg_release(c, start);
    }

    { /* dropout */
        int n[1] = { 20001 }, zeros = 0, wrong = 0;
        genreg_tensor *x = genreg_full(c, 1, n, 2), *y = genreg_dropout(c, x, 0.3, 8, 9), *again = genreg_dropout(c, x, 0.3, 8, 9), *other = genreg_dropout(c, x, 0.3, 8, 10);
        for (i = 0; i < n[0]; i++) {
            zeros += y->data[i] == 0;
            wrong += !(y->data[i] == 0 || fabs((double)y->data[i] - 2 / 0.7) < 1e-6);
            wrong += (y->data[i] == 0) != (genreg_uniform(8, 9, (uint64_t)i) < 0.3);
        }
        CHECK(!wrong && fabs(zeros - 0.3 * n[0]) < 4 * sqrt(0.21 * n[0]), "dropout: %d of %d are 0, %d wrong", zeros, n[0], wrong);
        CHECK(memcmp(y->data, again->data, (size_t)n[0] * sizeof *y->data) == 0 && memcmp(y->data, other->data, (size_t)n[0] * sizeof *y->data) != 0, "dropout's draws are those of (seed, stream)");
        CHECK(genreg_dropout(c, x, 0, 8, 9)->data[5] == 2, "dropout of nothing");
    }
    genreg_release(c, start);
    free(want);

    { /* scalars, constants and the like */
        static const int one_one[] = { 1, 1 }, two[] = { 2 };
        genreg_real memory[2] = { 4, 5 };
        genreg_tensor *x = genreg_constant(c, 1, two, memory), *v = genreg_variable(c, 1, two, memory), *d;
        CHECK(x->data == memory && !x->tracked && v->data == memory && v->tracked && v->node == -1 && v->size == 2, "constants and variables over the caller's memory");
        x = genreg_constant(c, 1, two, NULL);
        CHECK(x->data[0] == 0 && x->data[1] == 0, "a constant without memory is zero");
        x = genreg_full(c, 1, two, 2.5);
        CHECK(x->data[0] == (genreg_real)2.5 && x->data[1] == (genreg_real)2.5, "full");
        CHECK(genreg_item(genreg_scalar(c, -3)) == -3 && genreg_scalar(c, 1)->rank == 0 && genreg_item(genreg_full(c, 2, one_one, 7)) == 7 && genreg_item(x) != genreg_item(x), "item");
        d = genreg_detach(c, v);
        CHECK(d->data == memory && !d->tracked, "detach");
        CHECK(!genreg_sign(c, v)->tracked && genreg_neg(c, v)->tracked && !genreg_neg(c, d)->tracked && genreg_add(c, v, d)->tracked, "what is tracked");
    }
    genreg_release(c, start);
    CHECK(genreg_error(c) == GENREG_OK, "%s", genreg_error_message(c));
    genreg_clear_error(c);
}

/* ------------------------------------------------------------------------------------------------ sweeps */

static int all_are(const genreg_real *x, ptrdiff_t n, double value)
{
    for (n--; n >= 0; n--)
        if (!((double)x[n] == value)) return 0;
    return 1;
}

/* Both sweeps by the same xs; out[i] is memory of xs[i]->size. Returns whether they agree. */
static int both_sweeps(genreg_ctx *c, genreg_tensor *y, genreg_tensor *seed, genreg_tensor *const *xs, int n, genreg_tensor **g)
{
    genreg_real *out[8];
    int i, good = 1;
    ptrdiff_t k;
    for (i = 0; i < n; i++) {
        out[i] = reals(xs[i] ? xs[i]->size : 1);
        for (k = 0; xs[i] && k < xs[i]->size; k++) out[i][k] = (genreg_real)NAN;
    }
    if (!genreg_gradient_into(c, y, seed, xs, n, out)) good = 0;
    if (!genreg_grad(c, y, seed, xs, n, g)) good = 0;
    for (i = 0; good && i < n; i++)
        if (!g[i] || g[i]->rank != xs[i]->rank || memcmp(g[i]->shape, xs[i]->shape, (size_t)g[i]->rank * sizeof(int)) != 0 || !(check_distance(out[i], g[i]->data, g[i]->size) <= check_path_tolerance())) good = 0;
    for (i = 0; i < n; i++) free(out[i]);
    return good;
}

static void test_sweeps(void)
{
    static const int three[] = { 3 }, two_three[] = { 2, 3 }, one_one[] = { 1, 1 }, six[] = { 6 };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_tensor *x = genreg_variable(c, 1, three, NULL), *z = genreg_variable(c, 1, three, NULL), *k = genreg_full(c, 1, three, 2), *y, *h, *w, *xs[8], *g[8], *seed, *theta;
    genreg_place start = genreg_mark(c);
    genreg_real one;
    genreg_real *into = &one;
    int i, round;
    draw(x->data, 3, APART);
    draw(z->data, 3, APART);

    /* An x that y does not depend on, one made after y, the same x twice. */
    y = genreg_sum(c, genreg_mul(c, x, x), GENREG_ALL_AXES);
    h = genreg_neg(c, z);
    xs[0] = x; xs[1] = z; xs[2] = x; xs[3] = h;
    CHECK(both_sweeps(c, y, NULL, xs, 4, g), "%s", genreg_error_message(c));
    CHECK(g[0]->data[1] == 2 * x->data[1] && all_are(g[1]->data, 3, 0) && g[2]->data[2] == 2 * x->data[2] && all_are(g[3]->data, 3, 0), "independent and repeated xs");

    /* y is a leaf, y is an x, y is a view of a leaf; with and without a seed. */
    seed = genreg_constant(c, 1, three, NULL);
    draw(seed->data, 3, ANY);
    xs[0] = x; xs[1] = z;
    CHECK(both_sweeps(c, x, seed, xs, 2, g) && memcmp(g[0]->data, seed->data, 3 * sizeof(genreg_real)) == 0 && all_are(g[1]->data, 3, 0), "y is a leaf and an x: %s", genreg_error_message(c));
    xs[0] = z;
    CHECK(both_sweeps(c, x, seed, xs, 1, g) && all_are(g[0]->data, 3, 0), "y is a leaf and no x");
    y = genreg_reshape(c, x, 1, three);
    xs[0] = x; xs[1] = y;
    CHECK(both_sweeps(c, y, seed, xs, 2, g) && memcmp(g[0]->data, seed->data, 3 * sizeof(genreg_real)) == 0 && memcmp(g[1]->data, seed->data, 3 * sizeof(genreg_real)) == 0, "y is a view of a leaf, and an x");
    y = genreg_mul(c, x, k);
    xs[0] = y; xs[1] = x;
    CHECK(both_sweeps(c, y, seed, xs, 2, g) && g[0]->data[0] == seed->data[0] && g[1]->data[0] == 2 * seed->data[0], "y is no leaf and an x");
    y = genreg_full(c, 2, one_one, 1);
    y = genreg_mul(c, y, genreg_sum(c, x, GENREG_ALL_AXES));
    CHECK(y->rank == 2 && both_sweeps(c, y, NULL, xs + 1, 1, g) && all_are(g[0]->data, 3, 1), "a y of [1,1] is a scalar");

    /* A seed with derivatives of its own: d/dseed <seed, dy/dx> . */
    w = genreg_variable(c, 1, three, NULL);
    draw(w->data, 3, ANY);
    y = genreg_exp(c, x);
    xs[0] = x;
    CHECK(genreg_grad(c, y, w, xs, 1, g) && genreg_grad(c, genreg_dot(c, g[0], k), NULL, &w, 1, g + 1), "%s", genreg_error_message(c));
    for (i = 0; i < 3; i++) CHECK(fabs((double)g[1]->data[i] - 2 * exp((double)x->data[i])) < 1e-5, "derivative by the seed");

    /* x in the middle of the way, together with what comes before and after it; by way of a direct rule too. */
    for (round = 0; round < 3; round++) {
        genreg_tensor *a = genreg_variable(c, 2, two_three, NULL), *b, *m;
        draw(a->data, 6, ANY);
        h = round == 0 ? genreg_tanh(c, a) : round == 1 ? genreg_affine(c, a, genreg_matmul(c, a, a, 1, 0), NULL, 1) : genreg_reshape(c, genreg_exp(c, a), 2, two_three);
        m = genreg_matmul(c, h, h, 0, 1);
        b = genreg_mul(c, m, m);
        y = genreg_add(c, genreg_sum(c, b, GENREG_ALL_AXES), genreg_sum(c, h, GENREG_ALL_AXES));
        xs[0] = h; xs[1] = a; xs[2] = m; xs[3] = b; xs[4] = y; xs[5] = h;
        CHECK(both_sweeps(c, y, NULL, xs, 6, g), "xs in the middle, round %d: %s", round, genreg_error_message(c));
        CHECK(all_are(g[3]->data, 4, 1) && genreg_item(g[4]) == 1 && g[2]->data[1] == 2 * m->data[1] && memcmp(g[0]->data, g[5]->data, 6 * sizeof(genreg_real)) == 0, "xs in the middle, round %d", round);
        genreg_grad(c, y, NULL, &a, 1, g + 6); /* asking for more must not change it */
        CHECK(g[6] && check_distance(g[6]->data, g[1]->data, 6) < check_path_tolerance(), "round %d: x alone", round);
        genreg_grad(c, genreg_dot(c, h, genreg_detach(c, g[0])), NULL, &a, 1, g + 6); /* the chain rule through h */
        CHECK(g[6] && check_distance(g[6]->data, g[1]->data, 6) < 10 * check_path_tolerance(), "round %d: chain rule", round);
    }

    /* detach and sign let nothing through; abs and ReLU are flat at 0; a tie goes to the first. */
    y = genreg_sum(c, genreg_mul(c, x, genreg_detach(c, x)), GENREG_ALL_AXES);
    xs[0] = x;
    CHECK(both_sweeps(c, y, NULL, xs, 1, g) && memcmp(g[0]->data, x->data, 3 * sizeof(genreg_real)) == 0, "detach");
    y = genreg_sum(c, genreg_mul(c, x, genreg_sign(c, x)), GENREG_ALL_AXES);
    CHECK(both_sweeps(c, y, NULL, xs, 1, g) && (double)g[0]->data[0] == (x->data[0] > 0 ? 1 : -1), "sign");
    w = genreg_variable(c, 1, six, NULL);
    w->data[0] = 1; w->data[1] = 3; w->data[2] = 3; w->data[3] = 0; w->data[4] = 0; w->data[5] = 0;
    xs[0] = w;
    CHECK(both_sweeps(c, genreg_sum(c, genreg_relu(c, w), GENREG_ALL_AXES), NULL, xs, 1, g) && g[0]->data[0] == 1 && g[0]->data[3] == 0, "ReLU at 0");
    CHECK(both_sweeps(c, genreg_sum(c, genreg_abs(c, w), GENREG_ALL_AXES), NULL, xs, 1, g) && g[0]->data[0] == 1 && g[0]->data[3] == 0, "abs at 0");
    CHECK(both_sweeps(c, genreg_max(c, w, GENREG_ALL_AXES), NULL, xs, 1, g) && g[0]->data[1] == 1 && g[0]->data[2] == 0 && norm(g[0]->data, 6) == 1, "max of equals");
    {
        static const int image[] = { 1, 2, 3, 1 };
        y = genreg_max_pool(c, genreg_reshape(c, w, 4, image), 2, 1);
        CHECK(both_sweeps(c, genreg_sum(c, y, GENREG_ALL_AXES), NULL, xs, 1, g) && y->data[0] == 3 && y->data[1] == 3 && g[0]->data[1] == 2 && norm(g[0]->data, 6) == 2, "max_pool of equals");
    }
    w->data[4] = (genreg_real)NAN;
    y = genreg_max(c, w, GENREG_ALL_AXES);
    CHECK(genreg_item(y) != genreg_item(y) && both_sweeps(c, y, NULL, xs, 1, g) && g[0]->data[4] == 1 && norm(g[0]->data, 6) == 1, "NaN is the maximum, also for the derivative");
    genreg_release(c, start);

    /* An operation without a rule is an error that names it; then everything can go on. */
    for (round = 0; round < 2; round++) {
        static const genreg__op nameless = { "frobnicate", NULL, NULL };
        genreg_ctx *other = check_context(GENREG_ISA_AUTO, 1);
        genreg_tensor *a = genreg_variable(other, 1, three, NULL), *b = genreg__record1(other, genreg__like(other, "frobnicate", a), &nameless, a, NULL), *s;
        genreg_real memory[3] = { 5, 5, 5 };
        into = memory;
        memset(b->data, 0, 3 * sizeof *b->data);
        s = genreg_sum(other, genreg_add(other, b, a), GENREG_ALL_AXES);
        CHECK(!(round ? genreg_grad(other, s, NULL, &a, 1, g) : genreg_gradient_into(other, s, NULL, &a, 1, &into)), "a derivative without a rule");
        CHECK(genreg_error(other) == GENREG_ERROR_NO_RULE && strcmp(genreg_error_message(other), "frobnicate has no derivative") == 0, "%s", genreg_error_message(other));
        genreg_clear_error(other);
        CHECK(other->sweep_arena.bytes == 0 && other->recording == 1, "a failed sweep leaves %d bytes", (int)other->sweep_arena.bytes);
        s = genreg_sum(other, genreg_mul(other, a, a), GENREG_ALL_AXES); /* the rule is not in the way of this */
        CHECK(genreg_grad(other, s, NULL, &a, 1, g) && all_are(g[0]->data, 3, 0) && genreg_gradient_into(other, s, NULL, &a, 1, &into), "after it: %s", genreg_error_message(other));
        CHECK(genreg_mul(other, a, a)->tracked, "recording goes on");
        genreg_destroy(other);
    }

    /* A long chain: nothing recurses. */
    theta = genreg_scalar(c, 1);
    theta->tracked = 1;
    for (y = theta, i = 0; i < 50000; i++) y = genreg_add(c, y, theta);
    xs[0] = theta;
    CHECK(both_sweeps(c, y, NULL, xs, 1, g) && genreg_item(g[0]) == 50001, "a chain of 50,000 operations: %s", genreg_error_message(c));
    genreg_destroy(c);
}

/* ------------------------------------------------------------------------------------------------ views */

/* A scalar of a flat theta of 20 values by way of many views; parts come back so that derivatives by them can be asked for. */
static genreg_tensor *through_views(genreg_ctx *c, genreg_tensor *theta, int base_is_leaf, genreg_tensor **part)
{
    static const int w[] = { 3, 4 }, b[] = { 4 }, over[] = { 2, 5 }, flat[] = { 12 }, turned[] = { 4, 3 }, all[] = { 4, 5 }, one[] = { 1 };
    genreg_tensor *base = base_is_leaf ? theta : genreg_tanh(c, theta), *a, *d, *e, *f, *h, *i, *y;
    a = genreg_view(c, base, 0, 2, w);
    d = genreg_view(c, base, 12, 1, b);
    e = genreg_view(c, base, 7, 2, over);                                                         /* overlaps both */
    f = genreg_view(c, genreg_reshape(c, genreg_reshape(c, a, 1, flat), 2, turned), 0, 2, turned); /* a view of views */
    h = genreg_view(c, base, 0, 2, w);                                                            /* a once more */
    i = genreg_view(c, genreg_view(c, base, 5, 1, flat), 3, 1, b);                                /* 8 ... 11 */
    part[0] = a; part[1] = e; part[2] = f; part[3] = i; part[4] = base;
    y = genreg_add(c, genreg_mul(c, a, h), d);
    y = genreg_matmul(c, y, f, 0, 0);
    y = genreg_add(c, genreg_sum(c, genreg_mul(c, y, y), GENREG_ALL_AXES), genreg_sum(c, genreg_exp(c, genreg_scale(c, e, 0.5)), GENREG_ALL_AXES));
    y = genreg_add(c, y, genreg_dot(c, genreg_mul(c, i, d), d));
    y = genreg_add(c, y, genreg_sum(c, genreg_pow(c, genreg_reshape(c, base, 2, all), 3), GENREG_ALL_AXES));
    y = genreg_add(c, y, genreg_sum(c, genreg_mul(c, base, base), GENREG_ALL_AXES));
    return genreg_mul(c, y, genreg_view(c, base, 19, 1, one)); /* [1]: still one value */
}

static double view_value(genreg_ctx *c, genreg_real *theta, int leaf, int order, const genreg_real *v)
{
    static const int n[] = { 20 };
    genreg_place p = genreg_mark(c);
    genreg_tensor *t = order ? genreg_variable(c, 1, n, theta) : genreg_constant(c, 1, n, theta), *part[5], *y = through_views(c, t, leaf, part), *g;
    double value;
    if (order && genreg_grad(c, y, NULL, &t, 1, &g)) y = genreg_dot(c, g, genreg_constant(c, 1, n, (genreg_real *)(uintptr_t)v));
    value = genreg_item(y);
    genreg_release(c, p);
    return value;
}

static void test_views(void)
{
    static const int n[] = { 20 }, offset[] = { 0, 7, 0, 8 }, size[] = { 12, 10, 12, 4 };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_real theta[20], v[20], numeric[2][20];
    int leaf, order, i, k;
    for (leaf = 0; leaf < 2; leaf++) {
        genreg_place place = genreg_mark(c);
        genreg_tensor *t, *part[5], *y, *g[8], *xs[8], *h[1], *s;
        double error[2];
        draw(theta, 20, ANY);
        draw(v, 20, ANY);
        for (order = 0; order < 2; order++)
            for (i = 0; i < 20; i++) {
                double at = (double)theta[i], e = step(), f[4];
                theta[i] = (genreg_real)(at + 2 * e); f[0] = view_value(c, theta, leaf, order, v);
                theta[i] = (genreg_real)(at + e); f[1] = view_value(c, theta, leaf, order, v);
                theta[i] = (genreg_real)(at - e); f[2] = view_value(c, theta, leaf, order, v);
                theta[i] = (genreg_real)(at - 2 * e); f[3] = view_value(c, theta, leaf, order, v);
                theta[i] = (genreg_real)at;
                numeric[order][i] = (genreg_real)((8 * (f[1] - f[2]) - (f[0] - f[3])) / (12 * e));
            }
        t = genreg_variable(c, 1, n, theta);
        y = through_views(c, t, leaf, part);
        xs[0] = t; xs[1] = part[0]; xs[2] = part[1]; xs[3] = part[2]; xs[4] = part[3]; xs[5] = part[4]; xs[6] = part[0];
        CHECK(both_sweeps(c, y, NULL, xs, 7, g), "views, leaf %d: %s", leaf, genreg_error_message(c));
        error[0] = check_distance(g[0]->data, numeric[0], 20);
        CHECK(error[0] < tolerance_of(1), "views, leaf %d: differs from differences by %g", leaf, error[0]);
        /* The derivative by a view is that part of the derivative by what it looks into. */
        for (k = 0; k < 4; k++) CHECK(check_distance(g[k + 1]->data, g[5]->data + offset[k], size[k]) < 1e-15, "views, leaf %d: derivative by view %d", leaf, k);
        CHECK(memcmp(g[6]->data, g[1]->data, 12 * sizeof(genreg_real)) == 0, "views: one view asked for twice");
        for (k = 1; k < 5; k++) { /* and it can be asked for alone */
            CHECK(both_sweeps(c, y, NULL, xs + k, 1, g + 7) && check_distance(g[7]->data, g[k]->data, xs[k]->size) < check_path_tolerance(), "views, leaf %d: view %d alone", leaf, k);
        }
        /* Second order, by both kinds of sweep, by theta and by a view. */
        s = genreg_dot(c, g[0], genreg_constant(c, 1, n, v));
        CHECK(both_sweeps(c, s, NULL, xs, 1, h), "views, leaf %d, second order: %s", leaf, genreg_error_message(c));
        error[1] = check_distance(h[0]->data, numeric[1], 20);
        CHECK(error[1] < tolerance_of(2), "views, leaf %d: second order differs from differences by %g", leaf, error[1]);
        if (leaf) CHECK(both_sweeps(c, s, NULL, xs + 2, 1, g + 7) && check_distance(g[7]->data, h[0]->data + 7, 10) < check_path_tolerance(), "views: second order by a view");
        /* y is a view itself, of a leaf or not, and theta has parts that it does not see. */
        {
            static const int four[] = { 2, 2 };
            genreg_tensor *seed = genreg_constant(c, 2, four, v), *view = genreg_view(c, part[4], 6, 2, four);
            double square[20];
            CHECK(both_sweeps(c, view, seed, xs, 1, g), "y is a view: %s", genreg_error_message(c));
            for (i = 0; i < 20; i++) square[i] = tanh((double)theta[i]);
            for (i = 0; i < 20; i++) {
                double want = i < 6 || i >= 10 ? 0 : (double)v[i - 6] * (leaf ? 1 : 1 - square[i] * square[i]);
                CHECK(fabs((double)g[0]->data[i] - want) < 1e-6, "y is a view, leaf %d, value %d", leaf, i);
            }
            xs[7] = genreg_view(c, part[4], 7, 2, four); /* a view that y's maker never used */
            CHECK(both_sweeps(c, view, seed, xs + 7, 1, g) && g[0]->data[0] == v[1] && g[0]->data[1] == v[2] && g[0]->data[2] == v[3] && g[0]->data[3] == 0, "by a view that overlaps y");
        }
        printf("%-36s %12.1e %12.1e\n", leaf ? "views of a leaf" : "views of a tensor", error[0], error[1]);
        genreg_release(c, place);
    }
    CHECK(genreg_error(c) == GENREG_OK, "%s", genreg_error_message(c));
    genreg_destroy(c);
}

/* ------------------------------------------------------------------------------------------------ graphs at random */

/* A graph drawn from a seed: thirty operations on earlier results, shared, viewed, broadcast, cut and joined. Values stay bounded. */
static genreg_tensor *random_graph(genreg_ctx *c, unsigned seed, genreg_tensor *theta, genreg_tensor **pool, int *count)
{
    static const int shapes[][2] = { { 2, 3 }, { 3, 2 }, { 1, 3 }, { 2, 1 }, { 3, 3 } };
    unsigned long long saved = state;
    genreg_tensor *y, *total = NULL;
    int i, n = 0;
    state = 88172645463325252ull + 7919ull * seed;
    pool[n++] = theta;
    for (i = 0; i < 4; i++) { /* views of theta, which overlap at will */
        const int *s = shapes[below(5)];
        pool[n++] = genreg_view(c, theta, (ptrdiff_t)below((unsigned)((int)theta->size - s[0] * s[1] + 1)), 2, s);
    }
    while (n < 35) {
        genreg_tensor *a = pool[below((unsigned)n)], *b = pool[below((unsigned)n)], *two[2];
        int shape[3];
        switch (below(12)) {
        case 0: y = genreg_tanh(c, a); break;
        case 1: y = genreg_sigmoid(c, a); break;
        case 2: y = genreg_scale(c, genreg_mul(c, a, a), 0.5); break;
        case 3: y = genreg_sum(c, a, GENREG_AXIS(below((unsigned)(a->rank > 0 ? a->rank : 1))) & (a->rank ? ~0u : 0u)); break;
        case 4: shape[0] = (int)a->size; y = genreg_reshape(c, a, 1, shape); break;
        case 5:
            shape[0] = 1 + (int)below((unsigned)a->size);
            y = genreg_view(c, a, (ptrdiff_t)below((unsigned)((int)a->size - shape[0] + 1)), 1, shape);
            break;
        case 6: y = a->rank == 2 ? genreg_transpose(c, a) : genreg_neg(c, a); break;
        case 7:
            if (a->rank == 2 && b->rank == 2 && a->shape[1] == b->shape[0]) y = genreg_tanh(c, genreg_matmul(c, a, b, 0, 0));
            else if (a->rank == 2 && b->rank == 2 && a->shape[1] == b->shape[1]) y = genreg_tanh(c, genreg_affine(c, a, genreg_transpose(c, b), NULL, 0));
            else y = genreg_softplus(c, a);
            break;
        case 8: y = a->rank ? genreg_slice(c, a, 0, 0, (a->shape[0] + 1) / 2) : genreg_exp(c, genreg_neg(c, genreg_mul(c, a, a))); break;
        case 9:
            two[0] = a; two[1] = b;
            y = a->rank == b->rank && a->rank == 1 ? genreg_join(c, two, 2, 0) : genreg_logsumexp(c, a->rank ? a : theta);
            break;
        case 10: y = a->rank == 2 ? genreg_relu(c, genreg_add(c, a, genreg_scalar(c, 0.1))) : genreg_sub(c, a, genreg_mean(c, b, GENREG_ALL_AXES)); break;
        default: {
            int rank, full[GENREG_MAX_RANK];
            y = !genreg__broadcast_shape(a, b, &rank, full) ? genreg_neg(c, a) : below(2) ? genreg_tanh(c, genreg_add(c, a, b)) : genreg_tanh(c, genreg_mul(c, a, b));
        }
        }
        if (!y || y->size > 200) y = genreg_sum(c, a, GENREG_ALL_AXES);
        pool[n++] = y;
    }
    for (i = 0; i < n; i += 1 + (int)below(3)) {
        genreg_tensor *s = genreg_mean(c, genreg_tanh(c, pool[i]), GENREG_ALL_AXES);
        total = total ? genreg_add(c, total, s) : s;
    }
    *count = n;
    state = saved;
    return total;
}

static double graph_value(genreg_ctx *c, unsigned seed, genreg_real *theta, int order, const genreg_real *v)
{
    static const int n[] = { 14 };
    genreg_place p = genreg_mark(c);
    genreg_tensor *t = genreg_variable(c, 1, n, theta), *pool[40], *y, *g;
    int count;
    double value;
    y = random_graph(c, seed, t, pool, &count);
    if (order && genreg_grad(c, y, NULL, &t, 1, &g)) y = genreg_dot(c, g, genreg_constant(c, 1, n, (genreg_real *)(uintptr_t)v));
    value = genreg_item(y);
    genreg_release(c, p);
    return value;
}

static void test_graphs(void)
{
    static const int n[] = { 14 };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    unsigned seed;
    double worst[2] = { 0, 0 };
    int kinks = 0;
    for (seed = 1; seed <= 150; seed++) {
        genreg_place place = genreg_mark(c);
        genreg_real theta[14], v[14];
        genreg_tensor *t, *pool[40], *y, *xs[8], *g[8], *s;
        int count, i, order;
        draw(theta, 14, ANY);
        draw(v, 14, ANY);
        t = genreg_variable(c, 1, n, theta);
        y = random_graph(c, seed, t, pool, &count);
        for (i = 0; i < 8; i++) xs[i] = i ? pool[below((unsigned)count)] : t;
        CHECK(both_sweeps(c, y, NULL, xs, 8, g), "graph %u: the sweeps differ: %s", seed, genreg_error_message(c));
        for (order = 0; order < 2; order++) { /* along v: differences of two widths tell a kink of ReLU from an error */
            double e[2], got = 0, want[2];
            int w;
            s = order ? genreg_dot(c, g[0], genreg_constant(c, 1, n, v)) : y;
            if (order) CHECK(both_sweeps(c, s, NULL, &t, 1, g), "graph %u: the sweeps differ in second order: %s", seed, genreg_error_message(c));
            for (i = 0; i < 14; i++) got += (double)g[0]->data[i] * (double)v[i];
            for (w = 0; w < 2; w++) {
                const double h = step() / (1 + w);
                genreg_real moved[14];
                double f[4];
                int k;
                for (k = 0; k < 4; k++) {
                    static const int places[] = { 2, 1, -1, -2 };
                    for (i = 0; i < 14; i++) moved[i] = (genreg_real)((double)theta[i] + places[k] * h * (double)v[i]);
                    f[k] = graph_value(c, seed, moved, order, v);
                }
                want[w] = (8 * (f[1] - f[2]) - (f[0] - f[3])) / (12 * h);
                e[w] = fabs(got - want[w]) / (1 + fabs(want[w]));
            }
            if (fabs(want[0] - want[1]) > tolerance_of(2) / 4) { kinks++; continue; }
            if (e[1] > worst[order]) worst[order] = e[1];
            CHECK(e[1] < tolerance_of(2), "graph %u, order %d: differs from differences by %g", seed, order + 1, e[1]);
        }
        genreg_release(c, place);
    }
    CHECK(genreg_error(c) == GENREG_OK && kinks < 100, "%s, %d kinks", genreg_error_message(c), kinks);
    printf("%-36s %12.1e %12.1e\n", "150 graphs at random, along a vector", worst[0], worst[1]);
    genreg_destroy(c);
}

/* ------------------------------------------------------------------------------------------------ Hessian-vector products of a net */

static void test_network(void)
{
    static const int sizes[] = { 5, 7, 4, 3 }, x_shape[] = { 6, 5 }, labels[] = { 0, 2, 1, 1, 0, 2 };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_model *m = genreg_mlp(c, sizes, 4);
    genreg_tensor *x = genreg_constant(c, 2, x_shape, NULL), *theta = m->theta, *loss, *g, *hv, *hv2, *v, *u, *hu;
    const ptrdiff_t n = theta->size;
    genreg_real *numeric = reals(n), *side[2], *into = reals(n), *fused = reals(n);
    double error, e = WIDE ? 1e-5 : 2e-3;
    ptrdiff_t i, nodes;
    int k;
    state = 1; /* the same point whichever instruction sets were tested before: one without a kink near it */
    draw(x->data, x->size, ANY);
    v = genreg_constant(c, 1, &theta->shape[0], NULL);
    u = genreg_constant(c, 1, &theta->shape[0], NULL);
    draw(v->data, n, ANY);
    draw(u->data, n, ANY);
    loss = genreg_cross_entropy(c, genreg_forward(m, theta, x, NULL), labels);
    CHECK(genreg_grad(c, loss, NULL, &theta, 1, &g), "%s", genreg_error_message(c));
    CHECK(genreg_gradient_into(c, loss, NULL, &theta, 1, &fused) && check_distance(fused, g->data, n) < check_path_tolerance(), "the gradient of a net by both sweeps");
    CHECK(genreg_grad(c, genreg_dot(c, g, v), NULL, &theta, 1, &hv), "H v by a dot product");
    CHECK(genreg_grad(c, g, v, &theta, 1, &hv2) && check_distance(hv2->data, hv->data, n) < check_path_tolerance(), "H v by a seed");
    CHECK(genreg_gradient_into(c, g, v, &theta, 1, &into) && check_distance(into, hv->data, n) < check_path_tolerance(), "H v by the direct sweep");
    CHECK(genreg_grad(c, g, u, &theta, 1, &hu), "H u");
    CHECK(fabs(genreg_item(genreg_dot(c, u, hv)) - genreg_item(genreg_dot(c, v, hu))) < (WIDE ? 1e-12 : 1e-4), "H is symmetric");
    for (k = 0; k < 2; k++) {
        genreg_place p = genreg_mark(c);
        genreg_tensor *moved = genreg_variable(c, 1, &theta->shape[0], NULL);
        side[k] = reals(n);
        for (i = 0; i < n; i++) moved->data[i] = (genreg_real)((double)theta->data[i] + (k ? -e : e) * (double)v->data[i]);
        genreg_gradient_into(c, genreg_cross_entropy(c, genreg_forward(m, moved, x, NULL), labels), NULL, &moved, 1, &side[k]);
        genreg_release(c, p);
    }
    for (i = 0; i < n; i++) numeric[i] = (genreg_real)(((double)side[0][i] - (double)side[1][i]) / (2 * e));
    error = check_distance(hv->data, numeric, n);
    CHECK(error < (WIDE ? 1e-8 : 1e-2) && norm(numeric, n) > 1e-3, "H v differs from differences of gradients by %g", error);
    printf("%-36s %12s %12.1e\n", "H v of a perceptron", "", error);

    /* Forward passes without theta leave no record. */
    nodes = c->nodes;
    CHECK(genreg_forward(m, NULL, x, NULL) && c->nodes == nodes && !genreg_forward(m, NULL, x, NULL)->tracked, "a forward pass on constants was recorded");
    CHECK(genreg_forward(m, theta, x, NULL)->tracked && c->nodes > nodes, "a forward pass on theta was not recorded");
    for (k = 0; k < 2; k++) free(side[k]);
    free(numeric);
    free(into);
    free(fused);
    genreg_destroy(c);
}

/* ------------------------------------------------------------------------------------------------ errors */

static void expect(genreg_ctx *c, const void *result, genreg_status status, const char *message)
{
    CHECK(result == NULL && genreg_error(c) == status && strcmp(genreg_error_message(c), message) == 0, "status %d, \"%s\" where \"%s\" was expected", (int)genreg_error(c),
          genreg_error_message(c), message);
    genreg_clear_error(c);
}

static void test_messages(void)
{
    static const int two_three[] = { 2, 3 }, four[] = { 4 }, four_five[] = { 4, 5 }, three[] = { 3 }, bad[] = { 2, 0 }, minus[] = { 2, -1 }, seven[7] = { 1, 1, 1, 1, 1, 1, 1 }, image[] = { 2, 5, 6, 3 },
                     kernel[] = { 3, 3, 4, 2 }, fitting[] = { 3, 3, 3, 2 }, axes[] = { 0, 0 }, outside[] = { 0, 2 }, negative[] = { -1, 0 }, none[] = { -1, -1 }, five[] = { 5, -1 }, one_three[] = { 1, 3 }, huge[] = { INT_MAX, INT_MAX, INT_MAX };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_tensor *a = genreg_variable(c, 2, two_three, NULL), *b = genreg_constant(c, 1, four, NULL), *d = genreg_constant(c, 2, four_five, NULL), *t = genreg_constant(c, 1, three, NULL);
    genreg_tensor *s = genreg_scalar(c, 1), *x = genreg_constant(c, 4, image, NULL), *w = genreg_constant(c, 4, kernel, NULL), *f = genreg_constant(c, 4, fitting, NULL), *xs[2], *g[2];
    genreg_tensor *l = genreg_constant(c, 2, one_three, NULL);
    genreg_real memory[6], *out[2];
    const genreg_status shape = GENREG_ERROR_SHAPE, argument = GENREG_ERROR_ARGUMENT;
    out[0] = out[1] = memory;
    expect(c, genreg_constant(c, 2, bad, NULL), shape, "constant: axis 1 has extent 0, which is less than 1");
    expect(c, genreg_variable(c, 2, minus, NULL), shape, "constant: axis 1 has extent -1, which is less than 1");
    expect(c, genreg_constant(c, 7, seven, NULL), shape, "constant: rank 7 is not in 0 ... 6");
    expect(c, genreg_full(c, -1, seven, 1), shape, "full: rank -1 is not in 0 ... 6");
    expect(c, genreg_constant(c, 3, huge, NULL), argument, "constant: a shape of this size is more than this machine can address");
    expect(c, genreg_add(c, a, b), shape, "add: [2,3] and [4] do not broadcast");
    expect(c, genreg_sub(c, b, t), shape, "sub: [4] and [3] do not broadcast");
    expect(c, genreg_mul(c, d, a), shape, "mul: [4,5] and [2,3] do not broadcast");
    expect(c, genreg_div(c, a, b), shape, "div: [2,3] and [4] do not broadcast");
    expect(c, genreg_mse(c, a, b), shape, "mse: [2,3] and [4] differ");
    expect(c, genreg_mse(c, a, t), shape, "mse: [2,3] and [3] differ");
    expect(c, genreg_add(c, a, NULL), argument, "add: an input is NULL");
    expect(c, genreg_add(c, NULL, a), argument, "add: an input is NULL");
    expect(c, genreg_exp(c, NULL), argument, "exp: an input is NULL");
    expect(c, genreg_scale(c, NULL, 2), argument, "scale: an input is NULL");
    expect(c, genreg_pow(c, NULL, 2), argument, "pow: an input is NULL");
    expect(c, genreg_detach(c, NULL), argument, "detach: an input is NULL");
    expect(c, genreg_matmul(c, a, d, 0, 0), shape, "matmul: [2,3] x [4,5]");
    expect(c, genreg_matmul(c, a, d, 1, 1), shape, "matmul: [2,3] transposed x [4,5] transposed");
    expect(c, genreg_matmul(c, a, t, 0, 0), shape, "matmul: [2,3] x [3]");
    expect(c, genreg_affine(c, a, d, NULL, 0), shape, "affine: [2,3] x [4,5]");
    expect(c, genreg_affine(c, a, genreg_transpose(c, a), b, 0), shape, "affine: bias [4] for [2,3] x [3,2]");
    expect(c, genreg_dot(c, a, t), shape, "dot: [2,3] and [3] differ");
    expect(c, genreg_sum(c, a, GENREG_AXIS(2)), argument, "sum: an axis is not among those of [2,3]");
    expect(c, genreg_mean(c, s, GENREG_AXIS(0)), argument, "sum: an axis is not among those of []");
    expect(c, genreg_max(c, t, GENREG_AXIS(1)), argument, "max: an axis is not among those of [3]");
    expect(c, genreg_expand(c, a, 1, three), shape, "expand: [2,3] does not broadcast to [3]");
    expect(c, genreg_expand(c, a, 2, four_five), shape, "expand: [2,3] does not broadcast to [4,5]");
    expect(c, genreg_expand(c, a, 2, bad), shape, "expand: axis 1 has extent 0, which is less than 1");
    expect(c, genreg_sum_to(c, t, 2, two_three), shape, "sum_to: [3] cannot be summed to [2,3]");
    expect(c, genreg_sum_to(c, a, 1, four), shape, "sum_to: [2,3] cannot be summed to [4]");
    expect(c, genreg_reshape(c, a, 1, four), shape, "reshape: [2,3] does not have the size of the new shape");
    expect(c, genreg_reshape(c, a, 2, none), shape, "reshape: [2,3] does not have the size of the new shape");
    expect(c, genreg_reshape(c, a, 2, five), shape, "reshape: [2,3] does not have the size of the new shape");
    expect(c, genreg_reshape(c, a, 2, bad), shape, "reshape: [2,3] does not have the size of the new shape");
    expect(c, genreg_reshape(c, a, 7, seven), shape, "reshape: [2,3] does not have the size of the new shape");
    expect(c, genreg_reshape(c, a, -1, seven), shape, "reshape: [2,3] does not have the size of the new shape");
    expect(c, genreg_reshape(c, a, 3, huge), shape, "reshape: [2,3] does not have the size of the new shape");
    expect(c, genreg_view(c, a, 4, 1, three), shape, "view: 3 values from 4 on do not lie within [2,3]");
    expect(c, genreg_view(c, a, -1, 1, three), shape, "view: 3 values from -1 on do not lie within [2,3]");
    expect(c, genreg_view(c, a, 7, 1, three), shape, "view: 3 values from 7 on do not lie within [2,3]");
    expect(c, genreg_permute(c, a, axes), argument, "permute: the axes are no order of those of [2,3]");
    expect(c, genreg_permute(c, a, outside), argument, "permute: the axes are no order of those of [2,3]");
    expect(c, genreg_permute(c, a, negative), argument, "permute: the axes are no order of those of [2,3]");
    expect(c, genreg_permute(c, a, NULL), argument, "permute: no axes");
    expect(c, genreg_transpose(c, t), shape, "transpose: [3] is no matrix");
    expect(c, genreg_slice(c, a, 1, 2, 2), argument, "slice: 2 entries from 2 on along axis 1 of [2,3]");
    expect(c, genreg_slice(c, a, 2, 0, 1), argument, "slice: 1 entries from 0 on along axis 2 of [2,3]");
    expect(c, genreg_slice(c, a, 0, -1, 1), argument, "slice: 1 entries from -1 on along axis 0 of [2,3]");
    expect(c, genreg_slice(c, a, 0, 0, 0), argument, "slice: 0 entries from 0 on along axis 0 of [2,3]");
    expect(c, genreg_slice(c, a, 0, 1, INT_MAX), argument, "slice: 2147483647 entries from 1 on along axis 0 of [2,3]");
    xs[0] = a; xs[1] = t;
    expect(c, genreg_join(c, xs, 2, 0), shape, "join: [2,3] and [3] along axis 0");
    xs[1] = d;
    expect(c, genreg_join(c, xs, 2, 1), shape, "join: [2,3] and [4,5] along axis 1");
    expect(c, genreg_join(c, xs, 1, 2), shape, "join: [2,3] and [2,3] along axis 2");
    xs[1] = NULL;
    expect(c, genreg_join(c, xs, 2, 0), argument, "join: an input is NULL");
    expect(c, genreg_join(c, xs, 0, 0), argument, "join: nothing to join");
    expect(c, genreg_join(c, NULL, 1, 0), argument, "join: nothing to join");
    expect(c, genreg_gather(c, a, outside, 2), argument, "gather: index[1] = 2 is not in 0 ... 1");
    expect(c, genreg_gather(c, a, negative, 2), argument, "gather: index[0] = -1 is not in 0 ... 1");
    expect(c, genreg_gather(c, a, outside, 0), shape, "gather: 0 rows of [2,3]");
    expect(c, genreg_gather(c, s, outside, 1), shape, "gather: 1 rows of []");
    expect(c, genreg_scatter(c, a, outside, 2), argument, "scatter: index[1] = 2 is not in 0 ... 1");
    expect(c, genreg_scatter(c, a, outside, 0), shape, "scatter: [2,3] into 0 rows");
    expect(c, genreg_scatter(c, s, outside, 1), shape, "scatter: [] into 1 rows");
    expect(c, genreg_logsumexp(c, s), shape, "logsumexp: a scalar has no last axis");
    expect(c, genreg_log_softmax(c, s), shape, "log_softmax: a scalar has no last axis");
    expect(c, genreg_cross_entropy(c, t, outside), shape, "cross_entropy: logits [3] are not [n,classes]");
    expect(c, genreg_cross_entropy(c, a, NULL), argument, "cross_entropy: labels: there are none");
    expect(c, genreg_cross_entropy(c, a, negative), argument, "cross_entropy: labels: index[0] = -1 is not in 0 ... 2");
    expect(c, genreg_cross_entropy(c, l, four), argument, "cross_entropy: labels: index[0] = 4 is not in 0 ... 2");
    expect(c, genreg_gather(c, a, NULL, 1), argument, "gather: there are none");
    expect(c, genreg_reshape(c, a, 1, NULL), argument, "reshape: no shape");
    expect(c, genreg_constant(c, 1, NULL, NULL), argument, "constant: no shape");
    expect(c, genreg_one_hot(c, four, 1, 3), argument, "one_hot: index[0] = 4 is not in 0 ... 2");
    expect(c, genreg_dropout(c, a, 1, 1, 1), argument, "dropout: p = 1 is not in [0, 1)");
    expect(c, genreg_dropout(c, a, -0.5, 1, 1), argument, "dropout: p = -0.5 is not in [0, 1)");
    expect(c, genreg_dropout(c, a, (double)NAN, 1, 1), argument, "dropout: p = nan is not in [0, 1)");
    expect(c, genreg_conv2d(c, x, w, NULL, 1, 1, 0), shape, "conv2d: [2,5,6,3] * [3,3,4,2]; they are [n,height,width,in] and [height,width,in,out], a bias is [out]");
    expect(c, genreg_conv2d(c, x, f, b, 1, 1, 0), shape, "conv2d: [2,5,6,3] * [3,3,3,2]; they are [n,height,width,in] and [height,width,in,out], a bias is [out]");
    expect(c, genreg_conv2d(c, a, f, NULL, 1, 1, 0), shape, "conv2d: [2,3] * [3,3,3,2]; they are [n,height,width,in] and [height,width,in,out], a bias is [out]");
    expect(c, genreg_conv2d(c, x, f, NULL, 0, 1, 0), shape, "conv2d: a kernel of 3 x 3 with stride 0 does not fit an image of 5 x 6 with padding 1");
    expect(c, genreg_conv2d(c, x, f, NULL, 1, -1, 0), shape, "conv2d: a kernel of 3 x 3 with stride 1 does not fit an image of 5 x 6 with padding -1");
    expect(c, genreg_conv2d(c, x, genreg_constant(c, 4, image, NULL), NULL, 1, 0, 0), shape, "conv2d: [2,5,6,3] * [2,5,6,3]; they are [n,height,width,in] and [height,width,in,out], a bias is [out]");
    expect(c, genreg_conv2d(c, genreg_slice(c, x, 1, 0, 2), f, NULL, 1, 0, 0), shape, "conv2d: a kernel of 3 x 3 with stride 1 does not fit an image of 2 x 6 with padding 0");
    expect(c, genreg_max_pool(c, x, 6, 1), shape, "max_pool: windows of 6 with stride 1 on [2,5,6,3], which should be [n,height,width,channels]");
    expect(c, genreg_max_pool(c, x, 2, 0), shape, "max_pool: windows of 2 with stride 0 on [2,5,6,3], which should be [n,height,width,channels]");
    expect(c, genreg_avg_pool(c, a, 2), shape, "avg_pool: windows of 2 with stride 2 on [2,3], which should be [n,height,width,channels]");
    expect(c, genreg_global_avg_pool(c, a), shape, "global_avg_pool: [2,3] is not [n,height,width,channels]");
    expect(c, genreg_scale_shift(c, a, b, t, 0), shape, "scale_shift: [2,3] with [4] and [3]; the last axis of the first must be that of the others");
    expect(c, genreg_scale_shift(c, a, t, b, 0), shape, "scale_shift: [2,3] with [3] and [4]; the last axis of the first must be that of the others");
    expect(c, genreg_batch_norm(c, a, b, t, 1e-5, 0, NULL, NULL), shape, "batch_norm: [2,3] with [4] and [3]; the last axis of the first must be that of the others");
    expect(c, genreg_batch_norm(c, l, t, t, 1e-5, 0, NULL, NULL), argument, "batch_norm: [1,3] has one value a channel, which has no variance; use larger batches (or eps 1e-5 is not positive)");
    expect(c, genreg_batch_norm(c, a, t, t, 0, 0, NULL, NULL), argument, "batch_norm: [2,3] has one value a channel, which has no variance; use larger batches (or eps 0 is not positive)");

#define EXPECT_SWEEP(call, status, message) do { int done = call; CHECK(!done, "a sweep that should fail"); expect(c, NULL, status, message); } while (0)
    xs[0] = a;
    EXPECT_SWEEP(genreg_grad(c, genreg_neg(c, a), NULL, xs, 1, g), shape, "grad: without a seed y must be a scalar, and it is [2,3]");
    EXPECT_SWEEP(genreg_gradient_into(c, genreg_neg(c, a), NULL, xs, 1, out), shape, "gradient_into: without a seed y must be a scalar, and it is [2,3]");
    EXPECT_SWEEP(genreg_grad(c, genreg_neg(c, a), t, xs, 1, g), shape, "grad: seed [3] for y [2,3]");
    EXPECT_SWEEP(genreg_grad(c, s, NULL, xs, 1, g), argument, "grad: y was computed from constants only; make its inputs with genreg_variable");
    EXPECT_SWEEP(genreg_gradient_into(c, genreg_sum(c, genreg_sign(c, a), GENREG_ALL_AXES), NULL, xs, 1, out), argument, "gradient_into: y was computed from constants only; make its inputs with genreg_variable");
    EXPECT_SWEEP(genreg_grad(c, NULL, NULL, xs, 1, g), argument, "grad: an input is NULL");
    EXPECT_SWEEP(genreg_grad(c, genreg_sum(c, a, GENREG_ALL_AXES), NULL, NULL, 1, g), argument, "grad: no xs, or no room for their gradients");
    EXPECT_SWEEP(genreg_grad(c, genreg_sum(c, a, GENREG_ALL_AXES), NULL, xs, 1, NULL), argument, "grad: no xs, or no room for their gradients");
    EXPECT_SWEEP(genreg_gradient_into(c, genreg_sum(c, a, GENREG_ALL_AXES), NULL, xs, 1, NULL), argument, "gradient_into: no xs, or no room for their gradients");
    xs[1] = a;
    out[1] = NULL;
    EXPECT_SWEEP(genreg_gradient_into(c, genreg_sum(c, a, GENREG_ALL_AXES), NULL, xs, 2, out), argument, "gradient_into: no room for the gradient of x number 1");
    out[1] = out[0];
    xs[1] = t;
    EXPECT_SWEEP(genreg_grad(c, genreg_sum(c, a, GENREG_ALL_AXES), NULL, xs, 2, g), argument, "grad: x number 1, [3], is a constant; make it with genreg_variable");
    CHECK(!g[0] && !g[1], "gradients after an error");
    { /* what stands on another tape, or stood on this one */
        genreg_ctx *other = check_context(GENREG_ISA_AUTO, 1);
        genreg_place p = genreg_mark(c);
        genreg_tensor *foreign = genreg_neg(other, genreg_variable(other, 0, NULL, NULL)), *gone = genreg_sum(c, a, GENREG_ALL_AXES);
        EXPECT_SWEEP(genreg_grad(c, foreign, NULL, xs, 1, g), argument, "grad: y is not on this context's tape; it was released, or is another context's");
        xs[1] = foreign;
        EXPECT_SWEEP(genreg_grad(c, gone, NULL, xs, 2, g), argument, "grad: x number 1 is not on this context's tape");
        genreg_release(c, p);
        EXPECT_SWEEP(genreg_gradient_into(c, gone, NULL, xs, 1, out), argument, "gradient_into: y is not on this context's tape; it was released, or is another context's");
        p = genreg_mark(c);
        genreg_neg(c, a);
        {
            genreg_place later = genreg_mark(c);
            genreg_release(c, p);
            genreg_release(c, later);
            expect(c, NULL, argument, "release: this mark is gone, as an earlier one was released; release the later one first");
        }
        genreg_destroy(other);
    }
    xs[1] = NULL;
    EXPECT_SWEEP(genreg_gradient_into(c, genreg_sum(c, a, GENREG_ALL_AXES), NULL, xs, 2, out), argument, "gradient_into: an input is NULL");
    xs[1] = a;
    CHECK(genreg_grad(c, genreg_sum(c, a, GENREG_ALL_AXES), NULL, xs, 2, g) && all_are(g[1]->data, 6, 1), "after all these errors: %s", genreg_error_message(c));
    genreg_destroy(c);
}

/* A sweep that finds the tape too small says so, and leaves no trace. */
static void test_limit(void)
{
    static const int n[] = { 3000 };
    genreg_options o = genreg_defaults();
    size_t room;
    int kind, failed = 0, done = 0;
    for (kind = 0; kind < 2; kind++)
        for (room = 30000; room < 700000; room += 10000) {
            genreg_ctx *c;
            genreg_tensor *x, *y, *g = NULL;
            genreg_real *out = reals(3000);
            int good;
            o.memory = room;
            o.threads = 1;
            c = genreg_create(&o);
            x = genreg_variable(c, 1, n, NULL);
            y = genreg_sum(c, genreg_exp(c, genreg_tanh(c, genreg_mul(c, x, x))), GENREG_ALL_AXES);
            if (y) {
                size_t bytes = genreg_tape_bytes(c);
                good = kind ? genreg_grad(c, y, NULL, &x, 1, &g) : genreg_gradient_into(c, y, NULL, &x, 1, &out);
                if (good) done++;
                else {
                    failed++;
                    CHECK(genreg_error(c) == GENREG_ERROR_LIMIT && c->sweep_arena.bytes == 0 && c->recording && (kind || genreg_tape_bytes(c) == bytes), "a sweep in %d bytes: %s", (int)room, genreg_error_message(c));
                    CHECK(!x->adjoint && !x->needed && !y->adjoint && !y->needed, "a failed sweep leaves its marks");
                }
            }
            genreg_destroy(c);
            free(out);
        }
    CHECK(failed > 3 && done > 3, "%d sweeps failed, %d did not", failed, done);
}

int main(void)
{
    int isa;
    draw_weights();
    test_derivatives();
    test_broadcasting();
    test_reductions();
    test_permutations();
    test_views();
    test_graphs();
    test_network();
    test_large();
    for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++) {
        genreg_ctx *c;
        if (!genreg_isa_available((genreg_isa)isa)) continue;
        c = check_context((genreg_isa)isa, 1);
        test_elementwise(c);
        test_values(c);
        genreg_destroy(c);
    }
    test_sweeps();
    test_messages();
    test_limit();
    return check_done();
}
