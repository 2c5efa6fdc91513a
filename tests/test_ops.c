/* test_ops.c - every operation: values, first, second and third derivatives, broadcasting, views, threads, instruction sets, errors.

      cc -O2 -fopenmp tests/test_ops.c -o test_ops -lm && ./test_ops

   Derivatives are compared with central differences, in double unless GENREG_REAL says otherwise. An operation added to the library
   gets a row in the table `rows`, and a reference for its values in test_values. */
#ifndef GENREG_REAL
#define GENREG_REAL double
#endif
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
    { "mul, broadcast both ways", op_mul, { "3,1,2", "2,5,1" }, { "190,1,20", "2,20,1" }, { ANY, ANY }, NULL },
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
    { "matmul, a row", op_matmul_nn, { "1,7", "7,3" }, { "1,900", "900,700" }, { ANY, ANY }, NULL },
    { "matmul, a column", op_matmul_nn, { "5,7", "7,1" }, { "700,900", "900,1" }, { ANY, ANY }, NULL },
    { "matmul, column by row", op_matmul_nn, { "3,1", "1,5" }, { "700,1", "1,500" }, { ANY, ANY }, NULL },
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

static double tolerance_of(int order) { return WIDE ? (order < 3 ? 1e-8 : 1e-7) : (order < 3 ? 3e-3 : 1e-2); }

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

static void test_large(void)
{
    static const int teams[] = { 1, 2, 8 };
    int r, t, isa;
    for (r = 0; r < ROWS; r++) {
        genreg_real *first = NULL, *plain = NULL, *all;
        ptrdiff_t size = 0;
        problem p;
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
        state = 88172645463325252ull + (unsigned)r;
        CHECK(pose(&p, c, rows[r].op, rows[r].large, rows[r].from, NULL), "%s", rows[r].name);
        for (t = 0; t < 3; t++) {
            genreg_set_threads(c, teams[t]);
            all = everything(c, &p, &size);
            if (t == 0) first = all;
            else {
                CHECK(memcmp(first, all, (size_t)size * sizeof *all) == 0, "%s: %d threads give other bits than one", rows[r].name, teams[t]);
                free(all);
            }
        }
        genreg_destroy(c);
        for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++) {
            double apart;
            if (!genreg_isa_available((genreg_isa)isa)) continue;
            c = check_context((genreg_isa)isa, 1);
            all = everything(c, &p, &size);
            if (!plain) plain = all;
            else {
                apart = check_distance(all, plain, size);
                CHECK(apart <= check_path_tolerance(), "%s: %s is %g from plain", rows[r].name, genreg_isa_name(c), apart);
                free(all);
            }
            genreg_destroy(c);
        }
        free(first);
        free(plain);
        drop(&p);
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

OP(gate_both, genreg__gate(c, x[0], x[1]))

static void test_broadcasting(void)
{
    static const char *const shapes[][3] = { /* a, b, what they broadcast to */
        { "3,4", "3,4", "3,4" }, { "3,4", "4", "3,4" }, { "3,4", "3,1", "3,4" }, { "3,4", "1,4", "3,4" }, { "3,4", "", "3,4" }, { "3,4", "1", "3,4" },
        { "3,4", "1,1", "3,4" }, { "3,1", "1,4", "3,4" }, { "3,1", "4", "3,4" }, { "", "", "" }, { "1", "", "1" }, { "1", "5", "5" }, { "1,1,1", "5", "1,1,5" },
        { "2,3,4", "4", "2,3,4" }, { "2,3,4", "3,4", "2,3,4" }, { "2,3,4", "3,1", "2,3,4" }, { "2,3,4", "2,1,1", "2,3,4" }, { "2,3,4", "2,1,4", "2,3,4" },
        { "2,3,4", "1,3,1", "2,3,4" }, { "2,1,4", "3,1", "2,3,4" }, { "2,1,4", "1,3,1", "2,3,4" }, { "2,1,1", "3,4", "2,3,4" }, { "5,1,3", "1,7,1", "5,7,3" },
        { "2,3,1,2", "1,3,2", "2,3,3,2" }, { "2,1,3,1,2", "3,1,2,1", "2,3,3,2,2" }, { "2,1,2,1,2,1", "1,3,1,2,1,2", "2,3,2,2,2,2" }, { "1,2,1,3,1,2", "2", "1,2,1,3,1,2" },
        { "2,1,1,3", "2,2,1", "2,2,2,3" }, { "7,1", "1,9", "7,9" }, { "1,1,33", "5,1,1", "5,1,33" } };
    static const struct { const char *name; op_fn op; int from[3], flat; } ops[] = {
        { "add", op_add, { ANY, ANY }, 0 }, { "sub", op_sub, { ANY, ANY }, 0 }, { "mul", op_mul, { ANY, ANY }, 0 }, { "div", op_div, { ANY, APART }, 0 },
        { "mse", op_mse, { ANY, ANY }, 0 }, { "gate", op_gate_both, { ANY, APART }, 1 } };
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
                    genreg_tensor *x[3] = { NULL, NULL, NULL }, *y, *pure;
                    int shape[GENREG_MAX_RANK], rank = parse_shape(shapes[s][2], shape), wrong = 0, order, k;
                    ptrdiff_t i;
                    double total = 0;
                    problem p;
                    char name[100];
                    pair[0] = shapes[s][swap]; pair[1] = shapes[s][1 - swap]; pair[2] = NULL;
                    sprintf(name, "%s of [%s] and [%s]", ops[o].name, pair[0], pair[1]);
                    pose(&p, c, ops[o].op, pair, ops[o].from, NULL);
                    inputs_of(c, &p, 1, x);
                    y = p.op(c, x);
                    pure = o == 4 ? genreg_sub(c, x[0], x[1]) : y;
                    CHECK(y && pure && pure->rank == rank && memcmp(pure->shape, shape, (size_t)rank * sizeof *shape) == 0, "%s: another shape, %s", name, genreg_error_message(c));
                    for (i = 0; pure && i < pure->size; i++) {
                        double a = (double)x[0]->data[broadcast_index(i, rank, shape, x[0])], b = (double)x[1]->data[broadcast_index(i, rank, shape, x[1])];
                        double want = o == 0 ? a + b : o == 1 || o == 4 ? a - b : o == 2 ? a * b : o == 3 ? a / b : b > 0 ? a : 0;
                        wrong += !(fabs((double)pure->data[i] - want) <= (WIDE ? 1e-15 : 1e-6) * (1 + fabs(want)));
                        total += want * want;
                    }
                    if (o == 4 && y && !(fabs(genreg_item(y) - total / (double)pure->size) < 1e-5 * total)) wrong++;
                    CHECK(!wrong, "%s, %s: %d values wrong", name, genreg_isa_name(c), wrong);
                    if (!ops[o].flat && isa == GENREG_ISA_PLAIN)
                        for (order = 1; order <= 2; order++) {
                            double e = check_order(c, name, &p, order, tolerance_of(order));
                            if (e > worst[order - 1]) worst[order - 1] = e;
                        }
                    else if (y) { /* against the sum over places, for what is flat in b, and other instruction sets against plain formulas */
                        genreg_real *g[2];
                        genreg_tensor *scalar = genreg_dot(c, weights(c, y, 0), y);
                        double *want[2];
                        for (k = 0; k < 2; k++) { g[k] = reals(p.size[k]); want[k] = (double *)room_for(p.size[k], sizeof(double)); }
                        genreg_gradient_into(c, scalar, NULL, x, 2, g);
                        for (i = 0; i < pure->size; i++) {
                            ptrdiff_t ia = broadcast_index(i, rank, shape, x[0]), ib = broadcast_index(i, rank, shape, x[1]);
                            double a = (double)x[0]->data[ia], b = (double)x[1]->data[ib], w = (double)weight_table[o == 4 ? 0 : i];
                            double da = o == 0 || o == 1 ? 1 : o == 2 ? b : o == 3 ? 1 / b : o == 4 ? 2 * (a - b) / (double)pure->size : b > 0;
                            double db = o == 0 ? 1 : o == 1 ? -1 : o == 2 ? a : o == 3 ? -a / (b * b) : o == 4 ? -da : 0;
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
