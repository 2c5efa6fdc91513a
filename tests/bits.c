/* bits.c - prints checksums of the bits of many results, a line for each instruction set and part of the library:

      plain elementwise 0123456789abcdef

   tests/test_bits.sh builds it in several ways and compares the lines. The argument is the number of threads.

   C leaves open in which order arguments are evaluated, and with it the order of operations on the tape and of the sums in a gradient:
   no call here has two operations among its arguments. */
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include <stdio.h>

static uint64_t hash;
static void add_bytes(const void *data, size_t n)
{
    const unsigned char *p = (const unsigned char *)data;
    for (; n; n--) hash = (hash ^ *p++) * 1099511628211u;
}
static void add(const genreg_tensor *x)
{
    if (x) add_bytes(x->data, (size_t)x->size * sizeof *x->data);
}
static void add_double(double x) { add_bytes(&x, sizeof x); }

static genreg_tensor *random_tensor(genreg_ctx *c, int rank, const int *shape, uint64_t stream)
{
    genreg_tensor *x = genreg_variable(c, rank, shape, NULL);
    if (x) genreg_normal_fill(x->data, x->size, 1, stream);
    return x;
}

/* A result, its gradient by both sweeps, and a product with its Hessian. */
static void add_all(genreg_ctx *c, genreg_tensor *y, genreg_tensor *const *xs, int n)
{
    genreg_tensor *g[3] = { NULL, NULL, NULL }, *s = y ? genreg_dot(c, y, y) : NULL;
    int i;
    add(y);
    for (i = 0; s && i < n; i++) {
        genreg_real *out = (genreg_real *)malloc((size_t)xs[i]->size * sizeof *out);
        if (genreg_gradient_into(c, s, NULL, &xs[i], 1, &out)) add_bytes(out, (size_t)xs[i]->size * sizeof *out);
        free(out);
    }
    if (s && genreg_grad(c, s, NULL, xs, n, g))
        for (i = 0; i < n; i++) add(g[i]);
    if (g[0] && g[0]->tracked && genreg_grad(c, genreg_dot(c, g[0], g[0]), NULL, xs, n, g))
        for (i = 0; i < n; i++) add(g[i]);
}

static void elementwise(genreg_ctx *c)
{
    static const int n[] = { 70001 }, row[] = { 257 }, matrix[] = { 273, 257 };
    genreg_tensor *x = random_tensor(c, 1, n, 1), *z = random_tensor(c, 1, n, 2), *m = random_tensor(c, 2, matrix, 3), *r = random_tensor(c, 1, row, 4), *xs[3], *positive, *t;
    ptrdiff_t i;
    for (i = 0; z && i < z->size; i++) z->data[i] += z->data[i] < 0 ? -1 : 1;
    xs[0] = x; xs[1] = z;
    positive = genreg_softplus(c, x);
    t = genreg_div(c, x, z);
    add_all(c, genreg_add(c, genreg_mul(c, x, z), t), xs, 2);
    add_all(c, genreg_exp(c, x), xs, 1);
    add_all(c, genreg_log(c, positive), xs, 1);
    add_all(c, genreg_sqrt(c, positive), xs, 1);
    add_all(c, genreg_pow(c, positive, 1.7), xs, 1);
    add_all(c, genreg_pow(c, x, 5), xs, 1);
    add_all(c, genreg_tanh(c, x), xs, 1);
    add_all(c, genreg_sigmoid(c, genreg_scale(c, x, 3.3)), xs, 1);
    add_all(c, genreg_relu(c, genreg_sub(c, x, genreg_abs(c, z))), xs, 2);
    add_all(c, genreg_dropout(c, x, 0.3, 5, 6), xs, 1);
    xs[0] = m; xs[1] = r;
    add_all(c, genreg_mul(c, m, r), xs, 2);
    add_all(c, genreg_log_softmax(c, m), xs, 1);
    add_all(c, genreg_logsumexp(c, m), xs, 1);
    add_all(c, genreg_mean(c, m, GENREG_AXIS(0)), xs, 1);
    add_all(c, genreg_mean(c, m, GENREG_ALL_AXES), xs, 1);
    add_all(c, genreg_max(c, m, GENREG_AXIS(1)), xs, 1);
    add_all(c, genreg_transpose(c, m), xs, 1);
    add_all(c, genreg_mse(c, m, genreg_detach(c, genreg_tanh(c, m))), xs, 1);
}

static void products(genreg_ctx *c)
{
    static const int sizes[][3] = { { 37, 500, 41 }, { 5, 333, 70 }, { 64, 64, 64 }, { 1, 784, 300 }, { 33, 128, 10 }, { 50, 50, 50 }, { 100, 1, 90 }, { 128, 784, 65 }, { 3, 2000, 5 } };
    int k, t, shape[2];
    for (k = 0; k < (int)(sizeof sizes / sizeof *sizes); k++)
        for (t = 0; t < 4; t++) {
            genreg_place p = genreg_mark(c);
            genreg_tensor *xs[3];
            int m = sizes[k][0], inner = sizes[k][1], n = sizes[k][2];
            shape[0] = t & 1 ? inner : m; shape[1] = t & 1 ? m : inner;
            xs[0] = random_tensor(c, 2, shape, 11);
            shape[0] = t & 2 ? n : inner; shape[1] = t & 2 ? inner : n;
            xs[1] = random_tensor(c, 2, shape, 12);
            add_all(c, genreg_scale(c, genreg_matmul(c, xs[0], xs[1], t & 1, t & 2), 0.1), xs, 2);
            if (t == 0) {
                xs[2] = random_tensor(c, 1, &n, 13);
                add_all(c, genreg_affine(c, xs[0], xs[1], xs[2], k % 2), xs, 3);
            }
            genreg_release(c, p);
        }
}

static void images(genreg_ctx *c)
{
    static const int cases[][7] = { { 4, 17, 3, 3, 16, 1, 1 }, { 3, 16, 16, 3, 20, 1, 1 }, { 2, 15, 8, 3, 33, 2, 1 }, { 5, 9, 7, 1, 5, 3, 0 }, { 2, 8, 64, 3, 64, 1, 1 } };
    int k, shape[4];
    for (k = 0; k < (int)(sizeof cases / sizeof *cases); k++) {
        const int *g = cases[k];
        genreg_place p = genreg_mark(c);
        genreg_tensor *xs[3], *y;
        shape[0] = g[0]; shape[1] = shape[2] = g[1]; shape[3] = g[2];
        xs[0] = random_tensor(c, 4, shape, 21);
        shape[0] = shape[1] = g[3]; shape[2] = g[2]; shape[3] = g[4];
        xs[1] = random_tensor(c, 4, shape, 22);
        xs[2] = random_tensor(c, 1, &g[4], 23);
        y = genreg_scale(c, genreg_conv2d(c, xs[0], xs[1], xs[2], g[5], g[6], k % 2), 0.1);
        add_all(c, y, xs, 3);
        add_all(c, genreg_max_pool(c, y, 2, 2), xs, 3);
        add_all(c, genreg_avg_pool(c, y, 2), xs, 1);
        add_all(c, genreg_global_avg_pool(c, y), xs, 1);
        y = genreg_full(c, 1, &g[2], 1.5);
        add_all(c, genreg_batch_norm(c, xs[0], y, y, 1e-5, k % 2, NULL, NULL), xs, 1);
        genreg_release(c, p);
    }
}

static void training(genreg_ctx *c)
{
    enum { N = 90 };
    static const int sizes[] = { 64, 48, 10 }, image[] = { 8, 8, 1 };
    static unsigned char pixels[N * 64];
    static int labels[N];
    genreg_train_options o = genreg_train_defaults();
    genreg_dataset d;
    genreg_model *m;
    genreg_eigen top;
    genreg_eigen_options e = genreg_eigen_defaults();
    int i, kind;
    for (i = 0; i < N * 64; i++) pixels[i] = (unsigned char)(256 * genreg_uniform(2, 3, (uint64_t)i));
    for (i = 0; i < N; i++) labels[i] = i * 7 % 10;
    d = genreg_dataset_bytes(c, pixels, labels, N, 3, image, 10, NULL, NULL);
    o.batch = 32;
    o.epochs = 2;
    o.weight_decay = 1e-3;
    e.iterations = 4;
    e.tol = 0;
    for (kind = 0; kind < 4; kind++) {
        genreg_score s;
        m = kind < 3 ? genreg_mlp(c, sizes, 3) : genreg_cnn(c, image, 4, 1, 10);
        if (kind == 2) genreg_init(m, GENREG_INIT_HE, 5);
        o.optimizer = kind == 1 ? GENREG_OPTIMIZER_ADAM : GENREG_OPTIMIZER_SGD;
        o.nesterov = kind == 2;
        o.lr = kind == 1 ? 1e-3 : 0.05;
        add_double(genreg_train(m, &d, &o).loss);
        if (m) add(m->theta);
        s = genreg_evaluate(m, &d);
        add_double(s.loss);
        if (kind < 2) {
            top = genreg_hessian_top(m, &d, &e);
            add_double(top.value);
            add_double(top.residual);
        }
        genreg_model_free(m);
    }
}

static void numbers(genreg_ctx *c)
{
    genreg_real some[999];
    int order[1000], i;
    (void)c;
    for (i = 0; i < 3000; i++) add_double(genreg_normal(3, 4, (uint64_t)i));
    for (i = 0; i < 3000; i++) add_double(genreg_uniform(3, 5, (uint64_t)i));
    genreg_normal_fill(some, 999, 3, 6);
    add_bytes(some, sizeof some);
    genreg_permutation(order, 1000, 3, 7);
    add_bytes(order, sizeof order);
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*part)(genreg_ctx *c); } parts[] = {
        { "elementwise", elementwise }, { "products", products }, { "images", images }, { "training", training }, { "numbers", numbers } };
    int isa, i;
    for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++) {
        genreg_options o = genreg_defaults();
        if (!genreg_isa_available((genreg_isa)isa)) continue;
        o.isa = (genreg_isa)isa;
        o.threads = argc > 1 ? atoi(argv[1]) : 1;
        for (i = 0; i < (int)(sizeof parts / sizeof *parts); i++) {
            genreg_ctx *c = genreg_create(&o);
            hash = 14695981039346656037u;
            parts[i].part(c);
            if (genreg_error(c)) {
                fprintf(stderr, "bits: %s: %s\n", parts[i].name, genreg_error_message(c));
                return 1;
            }
            printf("%s %s %08lx%08lx\n", genreg_isa_name(c), parts[i].name, (unsigned long)(hash >> 32), (unsigned long)(hash & 0xffffffffu));
            genreg_destroy(c);
        }
    }
    return 0;
}
