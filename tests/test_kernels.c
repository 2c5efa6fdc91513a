/* test_kernels.c - the inner loops under every instruction set that this machine runs: products, elementwise loops, sums, convolutions.

      cc -O2 -fopenmp tests/test_kernels.c -o test_kernels -lm && ./test_kernels */
#include "nan_malloc.h"

#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include "check.h"

static const char *const isa_name[] = { "auto", "plain", "baseline", "avx2", "avx512" };
enum { EDGE = 16 }; /* values around an output that must stay as they were */
static const double canary = 12345;

/* Numbers for shapes and values, by a generator of our own so that the library's is not judge in its own case. */
static unsigned long long state = 88172645463325252ull;
static unsigned below(unsigned n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 33) % n;
}
static double uniform(void) { return (double)below(1u << 20) / (1 << 19) - 1; }

/* All cases of an instruction set run with one thread, whose results are checked, then again with 2, 3 and 8, whose bits must be those of
   the first run. A run keeps its number of threads, as changing it is slow. A case draws its numbers from its own place in the sequence. */
static const int teams[] = { 1, 2, 3, 8 };
static int team, threads; /* teams[team], 1 without OpenMP */
static uint64_t hashes[60000];
static int results;
static unsigned long long resume;

static void begin_case(int number)
{
    resume = state;
    state = 88172645463325252ull + 2654435761ull * (unsigned)number;
}
static void end_case(void) { state = resume; }

/* Whether a case need not run again: it is too small to be split, or one of a few like it. It has `n` results. */
static int repeats(double multiplications, int n)
{
    static int number;
    if (team == 0 || (multiplications > 50000 && ++number % 3 == 0)) return 0;
    results += n;
    return 1;
}

/* In the first run: 1. Later: whether the bits are those of the first run. */
static int same_bits(const void *data, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    uint64_t hash = 14695981039346656037u;
    for (; bytes; bytes--) hash = (hash ^ *p++) * 1099511628211u;
    if (results >= (int)(sizeof hashes / sizeof *hashes)) return 0;
    if (team == 0) hashes[results] = hash;
    return hashes[results++] == hash;
}

static genreg__exec exec_of(int isa, int count)
{
    genreg__exec e;
    memset(&e, 0, sizeof e);
    e.isa = isa;
    e.threads = count;
    return e;
}

/* ------------------------------------------------------------------------------------------------ products */

/* One product against a triple loop in long double, with each number of threads bit for bit, and nothing written outside C. */
#define GEMM_CHECK(T, name, epsilon)                                                                                             \
    static void check_##name(int isa, int m, int n, int k, int ta, int tb, int accumulate, int with_bias, int relu, int pad)     \
    {                                                                                                                            \
        const int lda = (ta ? m : k) + (pad ? (int)below(5) : 0), ldb = (tb ? k : n) + (pad ? (int)below(5) : 0);                \
        const int ldc = n + (pad ? 1 + (int)below(5) : 0);                                                                       \
        const size_t na = (size_t)(ta ? k : m) * (size_t)lda, nb = (size_t)(tb ? n : k) * (size_t)ldb;                           \
        const size_t nc = (size_t)m * (size_t)ldc, bytes = (nc + EDGE) * sizeof(T);                                              \
        /* Exact sizes: the last row of A and B ends where its data ends, for the sanitizer to see. */                           \
        const size_t sa = na && (ta ? m : k) ? na - (size_t)(lda - (ta ? m : k)) : 0;                                            \
        const size_t sb = nb && (tb ? k : n) ? nb - (size_t)(ldb - (tb ? k : n)) : 0;                                            \
        T *a = (T *)malloc((sa + 1) * sizeof(T)) + 1, *b = (T *)malloc((sb + 1) * sizeof(T)) + 1;                                \
        T *bias = (T *)malloc((size_t)(n + 1) * sizeof(T));                                                                      \
        T *start = (T *)malloc(bytes), *first = (T *)malloc(bytes);                                                              \
        int i, j, p, wrong = 0, outside = 0, other_bits;                                                                                    \
        size_t x;                                                                                                                \
        genreg__gemm_job job;                                                                                                    \
        genreg__exec e = exec_of(isa, threads);                                                                                  \
        for (x = 0; x < sa; x++) a[x] = (T)uniform();                                                                            \
        for (x = 0; x < sb; x++) b[x] = (T)uniform();                                                                            \
        for (x = 0; x < (size_t)n; x++) bias[x] = (T)uniform();                                                                  \
        for (x = 0; x < nc + EDGE; x++) start[x] = (T)canary;                                                                    \
        for (i = 0; i < m; i++)                                                                                                  \
            for (j = 0; j < n; j++) start[EDGE / 2 + (size_t)(i * ldc + j)] = accumulate ? (T)uniform() : (T)NAN;                \
        memset(&job, 0, sizeof job);                                                                                             \
        job.m = m; job.n = n; job.k = k;                                                                                         \
        job.a = k ? a : NULL; job.lda = lda; job.ta = ta;                                                                        \
        job.b = k ? b : NULL; job.ldb = ldb; job.tb = tb;                                                                        \
        job.c = first + EDGE / 2; job.ldc = ldc;                                                                                 \
        job.accumulate = accumulate;                                                                                             \
        job.bias = with_bias && !accumulate ? bias : NULL;                                                                       \
        job.relu = relu;                                                                                                         \
        memcpy(first, start, bytes);                                                                                             \
        wrong += !genreg__##name(&e, &job);                                                                                      \
        GENREG_FREE(e.scratch_block);                                                                                            \
        other_bits = !same_bits(first, bytes);                                                                                   \
        for (x = 0; x < nc + EDGE; x++) {                                                                                        \
            const ptrdiff_t at = (ptrdiff_t)x - EDGE / 2;                                                                        \
            if (at < 0 || at >= (ptrdiff_t)nc || at % ldc >= n) outside += first[x] != (T)canary;                                \
        }                                                                                                                        \
        for (i = 0; team == 0 && i < m; i++) /* the rest is as right as the first run */                                         \
            for (j = 0; j < n; j++) {                                                                                            \
                long double sum = accumulate ? (long double)start[EDGE / 2 + (size_t)(i * ldc + j)] : with_bias ? (long double)bias[j] : 0; \
                long double size = fabsl(sum);                                                                                   \
                for (p = 0; p < k; p++) {                                                                                        \
                    const long double product = (long double)a[ta ? p * lda + i : i * lda + p] * (long double)b[tb ? j * ldb + p : p * ldb + j]; \
                    sum += product;                                                                                              \
                    size += fabsl(product);                                                                                      \
                }                                                                                                                \
                if (relu && sum < 0) sum = 0;                                                                                    \
                wrong += !(fabsl((long double)first[EDGE / 2 + (size_t)(i * ldc + j)] - sum) <= (epsilon) * (4 + sqrtl((long double)k)) * size); \
            }                                                                                                                    \
        CHECK(!wrong && !outside && !other_bits,                                                                                 \
              #name " %s: %d values wrong, %d written outside%s, for m %d n %d k %d ta %d tb %d accumulate %d bias %d relu %d pad %d, %d threads", \
              isa_name[isa], wrong, outside, other_bits ? ", other bits than with one thread" : "", m, n, k, ta, tb, accumulate, with_bias, relu, pad, threads);            \
        free(a - 1); free(b - 1); free(bias); free(start); free(first);                                                          \
        end_case();                                                                                                              \
    }
GEMM_CHECK(float, gemm_f32, 6e-8L)
GEMM_CHECK(double, gemm_f64, 1.2e-16L)

/* NaN in an operand stays NaN through relu, and NaN in what is no operand stays out. */
static void check_gemm_nan(int isa)
{
    int n, tb, i, j, wrong = 0;
    for (tb = 0; tb < 2; tb++)
        for (n = 1; n < 70; n++) {
            float a[3 * 40], b[40 * 70], c[3 * 70];
            genreg__exec e = exec_of(isa, 1);
            genreg__gemm_job job;
            memset(&job, 0, sizeof job);
            for (i = 0; i < 3 * 40; i++) a[i] = (float)uniform();
            for (i = 0; i < 40 * 70; i++) b[i] = (float)uniform();
            for (i = 0; i < 3 * 70; i++) c[i] = NAN;
            a[40] = NAN;                        /* row 1 */
            b[tb ? (n - 1) * 40 : n - 1] = NAN; /* the last column */
            job.m = 3; job.n = n; job.k = 40;
            job.a = a; job.lda = 40;
            job.b = b; job.ldb = tb ? 40 : n; job.tb = tb;
            job.c = c; job.ldc = n;
            job.relu = 1;
            genreg__gemm_f32(&e, &job);
            GENREG_FREE(e.scratch_block);
            for (i = 0; i < 3; i++)
                for (j = 0; j < n; j++) wrong += (i == 1 || j == n - 1) != (c[i * n + j] != c[i * n + j]);
        }
    CHECK(!wrong, "%s: %d values are or are not NaN against reason", isa_name[isa], wrong);
}

/* Three segments, as a convolution runs them: rows of a 3 x 3 window over an image whose rows are 40 apart. */
static void check_segments(int isa)
{
    const genreg__gemm_kernels *kernels = GENREG__GEMM_PICK(isa, f32);
    float image[40 * 40], b[27 * 64], c[8 * 64];
    int i, j, s, p, wrong = 0, width = 2 * kernels->lanes;
    genreg__tile t;
    for (i = 0; i < 40 * 40; i++) image[i] = (float)uniform();
    for (i = 0; i < 27 * width; i++) b[i] = (float)uniform();
    memset(&t, 0, sizeof t);
    t.panels = 1; t.k = 9; t.segments = 3;
    t.a = image; t.a_row = 3; t.a_k = 1; t.a_segment = 40;
    t.b = b; t.b_k = width;
    t.c = c; t.c_row = width;
    kernels->tile[1][3](&t);
    for (i = 0; i < kernels->rows; i++)
        for (j = 0; j < width; j++) {
            double sum = 0;
            for (s = 0; s < 3; s++)
                for (p = 0; p < 9; p++) sum += (double)image[i * 3 + s * 40 + p] * (double)b[(s * 9 + p) * width + j];
            wrong += !(fabs(sum - (double)c[i * width + j]) < 1e-5);
        }
    CHECK(!wrong, "%s: %d values wrong over segments", isa_name[isa], wrong);
}

static void test_gemm(int isa)
{
    static const int sizes[] = { 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 127, 300, 513 };
    const unsigned count = sizeof sizes / sizeof *sizes;
    int i, m, n, k;
    for (i = 0; i < 140; i++) {
        int which;
        begin_case(i);
        which = (int)below(16);
        m = sizes[below(count)];
        n = sizes[below(count)];
        k = sizes[below(count)];
        if ((double)m * n * k > 2e6 && below(4)) m = sizes[below(12)];
        if ((double)m * n * k > 2e6) k = sizes[below(12)];
        if (i % 40 == 7) k = 0;
        if (i % 50 == 9) k = 1200; /* several blocks of k */
        if (i % 50 == 9) m = sizes[below(12)];
        if (!repeats((double)m * n * k, 1)) check_gemm_f32(isa, m, n, k, i & 1, i >> 1 & 1, which & 1, which >> 1 & 1, which >> 2 & 1, which >> 3 & 1);
        end_case();
        begin_case(i + 1000);
        if (!repeats((double)m * n * k, 1)) check_gemm_f64(isa, m, n, k, i & 1, i >> 1 & 1, which & 1, which >> 1 & 1, which >> 2 & 1, which >> 3 & 1);
        end_case();
    }
    for (i = 0; i < 16; i++) { /* every combination once, on a size that is split over threads */
        begin_case(i);
        check_gemm_f32(isa, 70, 90, 40, i & 1, i >> 1 & 1, i >> 2 & 1, i >> 3 & 1, i & 1, 0);
        check_gemm_f64(isa, 9, 130, 150, i & 1, i >> 1 & 1, i >> 2 & 1, i >> 3 & 1, i & 1, 1);
        end_case();
    }
}

/* What is never split over threads. */
static void test_gemm_small(int isa)
{
    int i, m, n;
    for (i = 0; i < 4; i++) /* every small size of a tile and its neighbours, with each transpose: nothing to split */
        for (m = 1; m <= 18; m += 2)
            for (n = 1; n <= 67; n += 1 + (int)below(9)) {
                check_gemm_f32(isa, m, n, 19, i & 1, i >> 1, n & 1, 1, m & 1, 1);
                check_gemm_f64(isa, m, n, 19, i & 1, i >> 1, n & 1, 1, m & 1, 1);
            }
    check_gemm_f32(isa, 0, 5, 3, 0, 0, 0, 0, 0, 0);
    check_gemm_f32(isa, 5, 0, 3, 0, 0, 0, 0, 0, 0);
    check_gemm_nan(isa);
    check_segments(isa);
}

/* Products that find no space for packing say so and leave C alone. */
static void test_gemm_memory(void)
{
    genreg__exec e = exec_of(genreg__best_isa(), 1);
    genreg__gemm_job job;
    float x[64 * 64], c[64 * 64];
    int i, touched = 0, done;
    memset(&job, 0, sizeof job);
    for (i = 0; i < 64 * 64; i++) { x[i] = 1; c[i] = (float)canary; }
    job.m = job.n = job.k = 64;
    job.a = job.b = x;
    job.c = c;
    job.lda = job.ldb = job.ldc = 64;
    refuse_memory = 1;
    done = genreg__gemm_f32(&e, &job);
    refuse_memory = 0;
    for (i = 0; i < 64 * 64; i++) touched += c[i] != (float)canary;
    CHECK(!done && !touched, "a product without scratch space: returned %d, wrote %d values", done, touched);
    CHECK(genreg__gemm_f32(&e, &job) && c[0] == 64, "and later with it");
    GENREG_FREE(e.scratch_block);
}

/* ------------------------------------------------------------------------------------------------ ranges */

typedef struct cover { unsigned char *seen; ptrdiff_t n, step; int crooked; } cover;

static void cover_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    cover *c = (cover *)arg;
    if (first % c->step || (last % c->step && last != c->n) || first >= last) c->crooked = 1;
    for (; first < last; first++) c->seen[first]++;
}

static void test_ranges(void)
{
    static unsigned char seen[2000];
    int count, n, step, i;
    for (count = 1; count <= 9; count++)
        for (n = 0; n < 2000; n = n * 3 / 2 + 1)
            for (step = 1; step <= 64; step *= 4) {
                genreg__exec e = exec_of(GENREG_ISA_PLAIN, count);
                cover c;
                int bad = 0;
                memset(seen, 0, sizeof seen);
                c.seen = seen; c.n = n; c.step = step; c.crooked = 0;
                genreg__split_range(&e, n, step, n % 2, cover_range, &c);
                for (i = 0; i < 2000; i++) bad += seen[i] != (i < n);
                CHECK(!bad && !c.crooked, "%d threads, n %d, step %d: %d places not once%s", count, n, step, bad, c.crooked ? ", crooked cuts" : "");
            }
}

/* ------------------------------------------------------------------------------------------------ elementwise loops */

/* What each loop computes, one value at a time in plain C. */
typedef struct loop_case {
    const char *name;
    const genreg__kernel *kernel;
    genreg_real (*value)(genreg_real a, genreg_real b, genreg_real s);
    int inputs;
    double low, high; /* of the inputs */
    double tolerance; /* in units of the last place; 0 for what is rounded once */
} loop_case;

#define VALUE(name, formula) \
    static genreg_real value_##name(genreg_real a, genreg_real b, genreg_real s) { (void)a; (void)b; (void)s; return (genreg_real)(formula); }
VALUE(add, a + b)
VALUE(sub, a - b)
VALUE(mul, a *b)
VALUE(div, a / b)
VALUE(gate, b > 0 ? a : 0)
VALUE(second, b)
VALUE(add_scaled, (long double)a + (long double)s * (long double)b)
VALUE(neg, -a)
VALUE(scale, s *a)
VALUE(exp, expl((long double)a))
VALUE(log, logl((long double)a))
VALUE(sqrt, sqrt((double)a))
VALUE(tanh, tanhl((long double)a))
VALUE(sigmoid, 1 / (1 + expl(-(long double)a)))
VALUE(softplus, a > 0 ? (long double)a + log1pl(expl(-(long double)a)) : log1pl(expl((long double)a)))
VALUE(relu, a < 0 ? 0 : a)
VALUE(sign, a > 0 ? 1 : a < 0 ? -1 : 0)
VALUE(abs, a < 0 ? -a : a)

static const loop_case loops[] = {
    { "add", &genreg__add_loop, value_add, 2, -3, 3, 0 },
    { "sub", &genreg__sub_loop, value_sub, 2, -3, 3, 0 },
    { "mul", &genreg__mul_loop, value_mul, 2, -3, 3, 0 },
    { "div", &genreg__div_loop, value_div, 2, -3, 3, 0 },
    { "gate", &genreg__gate_loop, value_gate, 2, -3, 3, 0 },
    { "second", &genreg__second_loop, value_second, 2, -3, 3, 0 },
    { "add_scaled", &genreg__add_scaled_loop, value_add_scaled, 2, 0.5, 3, 3 }, /* rounded twice, and no difference of like numbers here */
    { "neg", &genreg__neg_loop, value_neg, 1, -3, 3, 0 },
    { "scale", &genreg__scale_loop, value_scale, 1, -3, 3, 0 },
    { "exp", &genreg__exp_loop, value_exp, 1, -60, 60, 4 },
    { "log", &genreg__log_loop, value_log, 1, 0, 40, 4 },
    { "sqrt", &genreg__sqrt_loop, value_sqrt, 1, 0, 40, 0 },
    { "tanh", &genreg__tanh_loop, value_tanh, 1, -5, 5, 4 },
    { "sigmoid", &genreg__sigmoid_loop, value_sigmoid, 1, -40, 40, 4 },
    { "softplus", &genreg__softplus_loop, value_softplus, 1, -40, 40, 4 },
    { "relu", &genreg__relu_loop, value_relu, 1, -3, 3, 0 },
    { "sign", &genreg__sign_loop, value_sign, 1, -3, 3, 0 },
    { "abs", &genreg__abs_loop, value_abs, 1, -3, 3, 0 },
};

static int matches(genreg_real got, genreg_real want, double tolerance)
{
    const double unit = sizeof(genreg_real) == 8 ? 2.220446049250313e-16 : 1.1920928955078125e-07;
    if (want != want) return got != got;
    if (got == want) return 1;
    return tolerance > 0 && fabs((double)got - (double)want) <= tolerance * unit * fabs((double)want);
}

/* One loop at one size: values and canaries. strides: bit 0 for a, bit 1 for b; alias 1: y is a, 2: y is b. Offsets move the arrays off the
   vectors' alignment. Returns how many values are wrong. */
static int check_loop(const loop_case *l, int isa, ptrdiff_t n, int strides, int alias, int offset)
{
    const ptrdiff_t room = n + EDGE + 8;
    const genreg_real s = (genreg_real)0.75;
    genreg_real *a = (genreg_real *)malloc(4 * (size_t)room * sizeof *a), *b = a + room, *y = b + room, *want = y + room, *ya = a + offset % 4, *yb = b + offset / 4 % 4;
    genreg_real *whole = alias == 1 ? a : alias == 2 ? b : y, *out = alias == 1 ? ya : alias == 2 ? yb : y + EDGE / 2 + offset % 3;
    genreg__exec e = exec_of(isa, threads);
    genreg__map m;
    ptrdiff_t i, wrong = 0;
    begin_case((int)n);
    for (i = 0; i < 3 * room; i++) a[i] = (genreg_real)canary;
    for (i = 0; i < n; i++) {
        ya[i] = (genreg_real)(l->low + (l->high - l->low) * (uniform() + 1) / 2);
        yb[i] = (genreg_real)(l->low + (l->high - l->low) * (uniform() + 1) / 2);
        if (n > 20 && i % 19 == 3) ya[i] = i % 2 ? (genreg_real)NAN : i % 4 ? (genreg_real)0 : (genreg_real)HUGE_VAL;
        if (n > 20 && i % 23 == 5) yb[i] = i % 2 ? (genreg_real)NAN : i % 4 ? (genreg_real)0 : -(genreg_real)HUGE_VAL;
    }
    for (i = 0; team == 0 && i < n; i++) want[i] = l->value(ya[strides & 1 ? i : 0], yb[strides & 2 ? i : 0], s);
    m = genreg__map_of(n, ya, l->inputs == 2 ? yb : NULL, out, (double)s);
    m.sa = strides & 1;
    m.sb = strides >> 1;
    genreg__run_map(&e, l->kernel, &m);
    for (i = 0; team == 0 && i < n; i++) wrong += !matches(out[i], want[i], l->tolerance);
    for (i = 0; i < room; i++) wrong += (whole + i < out || whole + i >= out + n) && whole[i] != (genreg_real)canary;
    wrong += !same_bits(out, (size_t)n * sizeof *out);
    free(a);
    end_case();
    return (int)wrong;
}

static void test_loops(int isa)
{
    int k, wrong;
    for (k = 0; k < (int)(sizeof loops / sizeof *loops); k++) {
        const loop_case *l = &loops[k];
        wrong = check_loop(l, isa, 70000, 3, 0, 6);
        if (l->inputs == 2) wrong += check_loop(l, isa, 40000, 1, 0, 0) + check_loop(l, isa, 40000, 2, 0, 0);
        CHECK(!wrong, "%s, %s, %d threads: %d values", l->name, isa_name[isa], threads, wrong);
    }
}

static void test_loops_small(int isa)
{
    int k, strides, alias, wrong;
    ptrdiff_t n;
    for (k = 0; k < (int)(sizeof loops / sizeof *loops); k++) {
        const loop_case *l = &loops[k];
        for (n = 0, wrong = 0; n <= 100; n++) wrong += check_loop(l, isa, n, 3, 0, (int)n);
        for (n = 0; n <= 100; n += 33)
            for (alias = 1; alias <= l->inputs; alias++) wrong += check_loop(l, isa, n, 3, alias, (int)n);
        for (strides = 0; strides < 4 && l->inputs == 2; strides++)
            for (n = 1; n <= 100; n += 9) wrong += check_loop(l, isa, n, strides, 0, (int)n);
        wrong += check_loop(l, isa, 1000, 3, 0, 5);
        CHECK(!wrong, "%s, %s: %d values", l->name, isa_name[isa], wrong);
    }
}

/* The optimisers' loops: one pass that reads and writes each of theta, momentum and squares once. */
static void test_updates(int isa)
{
    enum { N = 103 };
    static genreg_real theta[N + 1], v[N + 1], q[N + 1], g[N + 1], theta0[N], v0[N], q0[N];
    const double tolerance = sizeof(genreg_real) == 8 ? 1e-14 : 5e-6;
    int which, n, i, wrong;
    for (which = 0; which < 3; which++) { /* SGD, SGD with Nesterov's momentum, Adam */
        for (n = 0, wrong = 0; n <= N; n++) {
            genreg__update_job j;
            memset(&j, 0, sizeof j);
            for (i = 0; i < N; i++) {
                theta0[i] = theta[i] = (genreg_real)uniform();
                v0[i] = v[i] = (genreg_real)uniform();
                q0[i] = q[i] = (genreg_real)(uniform() + 1.5);
                g[i] = (genreg_real)uniform();
            }
            j.loop = genreg__pick(which == 2 ? &genreg__adam : &genreg__sgd, isa);
            j.theta = theta; j.v = v; j.q = q; j.g = g;
            j.n = n;
            j.lr = (genreg_real)0.1; j.momentum = (genreg_real)0.9; j.decay = (genreg_real)0.01;
            j.beta1 = (genreg_real)0.9; j.beta2 = (genreg_real)0.99; j.eps = (genreg_real)0.05;
            j.scale1 = (genreg_real)0.3; j.scale2 = (genreg_real)1.7;
            j.nesterov = which == 1;
            genreg__update_range(&j, n / 3, n); /* from somewhere in the middle, as a thread does */
            for (i = 0; i < N; i++) {
                double d = (double)g[i] + 0.01 * (double)theta0[i], u = which == 2 ? 0.9 * (double)v0[i] + 0.1 * d : 0.9 * (double)v0[i] + d;
                double w = which == 2 ? 0.99 * (double)q0[i] + 0.01 * d * d : (double)q0[i];
                double x = (double)theta0[i] - (which == 0 ? 0.1 * u : which == 1 ? 0.1 * (d + 0.9 * u) : 0.3 * u / (sqrt(w) * 1.7 + 0.05));
                int in = i >= n / 3 && i < n;
                wrong += !(fabs((double)theta[i] - (in ? x : (double)theta0[i])) <= in * tolerance);
                wrong += !(fabs((double)v[i] - (in ? u : (double)v0[i])) <= in * tolerance);
                wrong += !(fabs((double)q[i] - (in ? w : (double)q0[i])) <= in * tolerance);
            }
        }
        CHECK(!wrong, "%s, %s: %d values", which == 2 ? "Adam" : which ? "Nesterov" : "SGD", isa_name[isa], wrong);
    }
}

/* ------------------------------------------------------------------------------------------------ sums */

/* [outer, count, inner] summed to [outer, inner]: exactly, for whole numbers, so that no value can be left out or taken twice;
   within the rounding of a blocked sum for others; and close to plain. */
static void check_sum(int isa, ptrdiff_t outer, ptrdiff_t count, ptrdiff_t inner)
{
    const ptrdiff_t size = outer * count * inner, kept = outer * inner, room = genreg__sum_room(outer, count, inner);
    const long double epsilon = sizeof(genreg_real) == 8 ? 1.2e-16L : 6e-8L;
    genreg_real *x = (genreg_real *)malloc((size_t)(size + 1) * sizeof *x), *all = (genreg_real *)malloc((size_t)(kept + EDGE) * sizeof *all), *y = all + EDGE / 2;
    genreg_real *space = (genreg_real *)malloc((size_t)(room + EDGE) * sizeof *space);
    ptrdiff_t i, r, o;
    int whole, wrong = 0, outside = 0, other_bits = 0;
    double apart = 0;
    begin_case((int)(outer + 3 * count + 7 * inner));
    for (whole = 0; whole < 2; whole++) {
        genreg__exec e = exec_of(isa, threads);
        for (i = 0; i < size; i++) x[i] = whole ? (genreg_real)((int)below(17) - 8) : (genreg_real)uniform();
        for (i = 0; i < kept + EDGE; i++) all[i] = (genreg_real)canary;
        for (i = 0; i < room + EDGE; i++) space[i] = (genreg_real)canary;
        genreg__sum(&e, x, y, outer, count, inner, space + EDGE / 2);
        for (i = 0; i < EDGE / 2; i++)
            outside += (all[i] != (genreg_real)canary) + (y[kept + i] != (genreg_real)canary) + (space[i] != (genreg_real)canary) + (space[room + EDGE / 2 + i] != (genreg_real)canary);
        other_bits += !same_bits(y, (size_t)kept * sizeof *y);
        for (o = 0; team == 0 && o < outer; o++)
            for (i = 0; i < inner; i++) {
                long double sum = 0, magnitude = 0;
                for (r = 0; r < count; r++) {
                    sum += (long double)x[(o * count + r) * inner + i];
                    magnitude += fabsl((long double)x[(o * count + r) * inner + i]);
                }
                wrong += whole ? y[o * inner + i] != (genreg_real)sum
                               : !(fabsl((long double)y[o * inner + i] - sum) <= epsilon * (8 + sqrtl((long double)(count < 600 ? count : 600))) * magnitude);
            }
        if (team == 0 && isa != GENREG_ISA_PLAIN && !whole && kept) {
            genreg_real *plain = (genreg_real *)malloc((size_t)kept * sizeof *plain);
            e = exec_of(GENREG_ISA_PLAIN, 1);
            genreg__sum(&e, x, plain, outer, count, inner, space);
            for (i = 0; i < kept; i++)
                if (fabs((double)y[i]) < 1) { y[i] += 1; plain[i] += 1; } /* sums near zero: the absolute difference */
            apart = check_distance(y, plain, kept);
            free(plain);
        }
    }
    CHECK(!wrong && !outside && !other_bits && apart <= check_path_tolerance(), "sum %s: %d values wrong, %d written outside%s, %g from plain, for %d x %d x %d, %d threads", isa_name[isa],
          wrong, outside, other_bits ? ", other bits than with one thread" : "", apart, (int)outer, (int)count, (int)inner, threads);
    free(x);
    free(all);
    free(space);
    end_case();
}

static void check_dot(int isa, ptrdiff_t n)
{
    genreg_real *a = (genreg_real *)malloc(2 * (size_t)(n + 1) * sizeof *a), *b = a + n;
    double *room = (double *)malloc((size_t)(n / 4096 + 2) * sizeof *room), value;
    int whole, wrong = 0;
    ptrdiff_t i;
    begin_case((int)n);
    for (whole = 0; whole < 2; whole++) {
        genreg__exec e = exec_of(isa, threads);
        long double sum = 0, magnitude = 0;
        for (i = 0; i < 2 * n; i++) a[i] = whole ? (genreg_real)((int)below(17) - 8) : (genreg_real)uniform();
        for (i = 0; i < n; i++) {
            sum += (long double)a[i] * (long double)b[i];
            magnitude += fabsl((long double)a[i] * (long double)b[i]);
        }
        room[n / 4096 + 1] = canary;
        value = genreg__dot(&e, n, a, b, room);
        wrong += room[n / 4096 + 1] != canary;
        wrong += !same_bits(&value, sizeof value);
        wrong += !(fabsl((long double)value - sum) <= (whole ? 0 : 1.2e-16L * 600 * magnitude)); /* in double, whatever genreg_real is */
    }
    CHECK(!wrong, "dot %s of %d values, %d threads", isa_name[isa], (int)n, threads);
    free(a);
    free(room);
    end_case();
}

static void test_sums(int isa)
{
    check_sum(isa, 1, 70000, 1);
    check_sum(isa, 3, 70000, 1);
    check_sum(isa, 700, 100, 1);
    check_sum(isa, 1, 700, 100);
    check_sum(isa, 7, 100, 100);
    check_sum(isa, 2, 9000, 5);
    check_sum(isa, 1, 1, 70000);
    check_dot(isa, 70000);
}

static void test_sums_small(int isa)
{
    static const int counts[] = { 1, 2, 3, 31, 32, 33, 255, 256, 257, 1000, 4095, 4096, 4097, 9000 }, inners[] = { 2, 3, 7, 63, 64, 65, 128, 200 };
    int n, k;
    for (n = 0; n <= 100; n++) {
        check_sum(isa, 1, n, 1);
        check_sum(isa, 1 + n % 3, 1 + n % 5, n); /* n = 0: nothing to do */
        check_dot(isa, n);
    }
    for (n = 0; n < (int)(sizeof counts / sizeof *counts); n++) {
        check_sum(isa, 1 + n % 3, counts[n], 1);
        check_dot(isa, counts[n]);
        for (k = n % 2; k < (int)(sizeof inners / sizeof *inners); k += 2) check_sum(isa, 1 + k % 2, counts[n], inners[k]);
    }
}

/* Sums of sums: more than a segment of segments. */
static void test_long_sum(void)
{
    const ptrdiff_t n = (ptrdiff_t)4096 * 4096 + 5000;
    genreg_real *x = (genreg_real *)malloc((size_t)n * sizeof *x), *room = (genreg_real *)malloc((size_t)genreg__sum_room(1, n, 1) * sizeof *room), y = 0;
    genreg__exec e = exec_of(genreg__best_isa(), 2);
    ptrdiff_t i;
    long double sum = 0;
    for (i = 0; i < n; i++) {
        x[i] = (genreg_real)(i % 7 == 0 ? -1 : i % 5 == 0 ? 2 : 0);
        sum += (long double)x[i];
    }
    genreg__sum(&e, x, &y, 1, n, 1, room);
    CHECK(y == (genreg_real)sum, "a sum of %ld values is %.17g instead of %.17g", (long)n, (double)y, (double)sum);
    free(x);
    free(room);
}

/* ------------------------------------------------------------------------------------------------ convolutions */

/* The convolution and both of its adjoints against loops over every output and every place of the window. One formula serves all
   three: y(i) += x(j) w(k) wherever output i sees pixel j through place k. which: 0 y, 1 dx, 2 dw. */
static void conv_reference(const genreg__conv *g, int which, const genreg_real *x, const genreg_real *w, const genreg_real *y, long double *out, long double *size)
{
    int n, i, j, p, q, c, o;
    for (n = 0; n < g->n; n++)
        for (i = 0; i < g->oh; i++)
            for (j = 0; j < g->ow; j++)
                for (p = 0; p < g->kh; p++)
                    for (q = 0; q < g->kw; q++) {
                        const int row = i * g->stride + p - g->padding, column = j * g->stride + q - g->padding;
                        if (row < 0 || row >= g->h || column < 0 || column >= g->w) continue;
                        for (c = 0; c < g->c; c++)
                            for (o = 0; o < g->o; o++) {
                                const ptrdiff_t at_x = ((ptrdiff_t)(n * g->h + row) * g->w + column) * g->c + c, at_w = ((ptrdiff_t)(p * g->kw + q) * g->c + c) * g->o + o;
                                const ptrdiff_t at_y = ((ptrdiff_t)(n * g->oh + i) * g->ow + j) * g->o + o, at = which == 0 ? at_y : which == 1 ? at_x : at_w;
                                const long double term = which == 0 ? (long double)x[at_x] * (long double)w[at_w] : which == 1 ? (long double)y[at_y] * (long double)w[at_w] : (long double)x[at_x] * (long double)y[at_y];
                                out[at] += term;
                                size[at] += fabsl(term);
                            }
                    }
}

static int faster; /* cases that Winograd's algorithm took */

static void check_conv(int isa, int winograd, int n, int h, int w, int c, int kh, int kw, int o, int stride, int padding)
{
    static const char *const names[] = { "y", "dx", "dw" };
    const long double epsilon = sizeof(genreg_real) == 8 ? 2.3e-16L : 1.2e-7L;
    genreg__conv g;
    genreg_real *in[3], *bias;
    ptrdiff_t sizes[3], i;
    int which, accumulate, k;
    if (repeats((double)n * h * w * c * kh * kw * o, 8)) return;
    begin_case(n + 5 * h + 11 * c + 13 * o);
    g.n = n; g.h = h; g.w = w; g.c = c; g.kh = kh; g.kw = kw; g.o = o; g.stride = stride; g.padding = padding;
    g.oh = (h + 2 * padding - kh) / stride + 1;
    g.ow = (w + 2 * padding - kw) / stride + 1;
    sizes[0] = (ptrdiff_t)n * g.oh * g.ow * o;
    sizes[1] = (ptrdiff_t)n * h * w * c;
    sizes[2] = (ptrdiff_t)kh * kw * c * o;
    for (k = 0; k < 3; k++) {
        in[k] = (genreg_real *)malloc((size_t)sizes[k] * sizeof **in);
        for (i = 0; i < sizes[k]; i++) in[k][i] = (genreg_real)uniform();
    }
    bias = (genreg_real *)malloc((size_t)o * sizeof *bias);
    for (i = 0; i < o; i++) bias[i] = (genreg_real)uniform();
    for (which = 0; which < 3; which++) {
        const ptrdiff_t size = sizes[which];
        long double *sum = (long double *)calloc(4 * (size_t)size, sizeof *sum), *sum_size = sum + size, *want = sum_size + size, *magnitude = want + size;
        if (team == 0) conv_reference(&g, which, in[1], in[2], in[0], sum, sum_size);
        for (accumulate = 0; accumulate < (which ? 2 : 4); accumulate++) { /* for y, 2 and 3 are a bias without and with ReLU */
            const int relu = accumulate == 3, with_bias = accumulate >= 2;
            genreg_real *first = (genreg_real *)malloc((size_t)(size + EDGE) * sizeof *first), *out = first + EDGE / 2;
            int wrong = 0, outside = 0, other_bits;
            long double error = 0, norm = 0;
            genreg__exec e = exec_of(isa, threads); /* new scratch space each time: nothing may rely on an earlier call's */
            for (i = 0; i < size + EDGE; i++) first[i] = (genreg_real)canary;
            for (i = 0; i < size; i++) {
                out[i] = accumulate == 1 ? (genreg_real)uniform() : (genreg_real)NAN;
                want[i] = accumulate == 1 ? (long double)out[i] : with_bias ? (long double)bias[i % o] : 0;
                magnitude[i] = fabsl(want[i]) + sum_size[i] + 1e-30L;
                want[i] += sum[i];
            }
            e.winograd = winograd;
            if (which == 0) wrong += !genreg__conv_y(&e, &g, in[1], in[2], with_bias ? bias : NULL, relu, out, accumulate == 1);
            else if (which == 1) wrong += !genreg__conv_dx(&e, &g, in[0], in[2], out, accumulate);
            else wrong += !genreg__conv_dw(&e, &g, in[1], in[0], out, accumulate);
            GENREG_FREE(e.scratch_block);
            other_bits = !same_bits(out, (size_t)size * sizeof *out);
            for (i = 0; i < EDGE / 2; i++) outside += (first[i] != (genreg_real)canary) + (first[size + EDGE / 2 + i] != (genreg_real)canary);
            for (i = 0; team == 0 && i < size; i++) {
                if (relu && want[i] < 0) want[i] = 0;
                if (!winograd) wrong += !(fabsl((long double)out[i] - want[i]) <= 16 * epsilon * magnitude[i]);
                error += ((long double)out[i] - want[i]) * ((long double)out[i] - want[i]);
                norm += want[i] * want[i];
            }
            wrong += !(sqrtl(error) <= (long double)check_path_tolerance() * sqrtl(norm));
            if (team == 0 && winograd && accumulate == 0) { /* is it another path at all? */
                genreg_real *direct = (genreg_real *)malloc((size_t)size * sizeof *direct);
                e = exec_of(isa, 1);
                if (which == 0) genreg__conv_y(&e, &g, in[1], in[2], NULL, 0, direct, 0);
                else if (which == 1) genreg__conv_dx(&e, &g, in[0], in[2], direct, 0);
                else genreg__conv_dw(&e, &g, in[1], in[0], direct, 0);
                faster += memcmp(direct, out, (size_t)size * sizeof *direct) != 0;
                GENREG_FREE(e.scratch_block);
                free(direct);
            }
            CHECK(!wrong && !outside && !other_bits, "convolution's %s, %s, %s, case %d: %d of %d values wrong, %d written outside%s, for x %d %d %d %d, w %d %d %d %d, stride %d, padding %d, %d threads",
                  names[which], isa_name[isa], winograd ? "Winograd" : "direct", accumulate, wrong, (int)size, outside, other_bits ? ", other bits than with one thread" : "", n, h, w, c, kh, kw, c, o, stride, padding, threads);
            free(first);
        }
        free(sum);
    }
    for (k = 0; k < 3; k++) free(in[k]);
    free(bias);
    end_case();
}

static void test_convolutions(int isa)
{
    int i;
    check_conv(isa, 0, 2, 8, 8, 3, 3, 3, 8, 1, 1); /* a first layer */
    check_conv(isa, 0, 2, 12, 12, 12, 3, 3, 20, 1, 1);
    check_conv(isa, 0, 1, 4, 4, 64, 3, 3, 64, 1, 1); /* more weights than image */
    check_conv(isa, 0, 2, 9, 9, 16, 3, 3, 33, 2, 1);
    check_conv(isa, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0);
    check_conv(isa, 0, 1, 1, 1, 2, 3, 3, 2, 1, 1); /* nearly all border */
    check_conv(isa, 0, 1, 5, 7, 4, 1, 1, 5, 3, 0); /* windows that leave pixels out */
    check_conv(isa, 0, 1, 7, 5, 4, 2, 2, 5, 3, 2);
    check_conv(isa, 0, 2, 6, 6, 3, 5, 3, 4, 1, 4); /* a border wider than the kernel needs */
    check_conv(isa, 0, 1, 40, 40, 5, 3, 3, 3, 1, 1);
    check_conv(isa, 0, 5, 6, 6, 7, 6, 6, 9, 1, 0); /* one output an image */
    check_conv(isa, 0, 17, 10, 10, 8, 3, 3, 16, 1, 1);
    /* Winograd's F(4 x 4, 3 x 3), which errs more and is therefore compared as a whole: sizes that are no multiple of four, images
       smaller than a tile, borders, odd numbers of channels, more channels than fit at once. */
    check_conv(isa, 1, 2, 12, 12, 16, 3, 3, 32, 1, 1);
    check_conv(isa, 1, 1, 13, 11, 20, 3, 3, 33, 1, 1);
    check_conv(isa, 1, 2, 9, 10, 32, 3, 3, 17, 1, 0);
    check_conv(isa, 1, 1, 7, 16, 33, 3, 3, 40, 1, 2);
    check_conv(isa, 1, 6, 4, 4, 40, 3, 3, 48, 1, 1);
    check_conv(isa, 1, 12, 3, 3, 48, 3, 3, 32, 1, 1);
    check_conv(isa, 1, 1, 30, 19, 16, 3, 3, 24, 1, 1);
    check_conv(isa, 1, 2, 8, 8, 90, 3, 3, 33, 1, 1);
    check_conv(isa, 1, 1, 5, 60, 16, 3, 3, 32, 1, 1);
    for (i = 0; i < 60; i++) {
        const int kh = 1 + (int)below(4), kw = 1 + (int)below(4), padding = (int)below(4); /* out of the sequence between cases */
        const int h = (int)below(10) + (kh > 2 * padding ? kh - 2 * padding : 1), w = (int)below(10) + (kw > 2 * padding ? kw - 2 * padding : 1);
        check_conv(isa, 0, 1 + (int)below(3), h, w, 1 + (int)below(9), kh, kw, 1 + (int)below(i % 4 ? 9 : 40), 1 + (int)below(4), padding);
    }
}

/* y = s a + t by channel. */
static void test_channels(int isa)
{
    static const int sizes[][2] = { { 1, 1 }, { 2, 3 }, { 7, 16 }, { 33, 63 }, { 5, 64 }, { 3, 65 }, { 1023, 7 }, { 1024, 3 }, { 2100, 40 }, { 700, 100 } };
    const double unit = sizeof(genreg_real) == 8 ? 2.3e-16 : 1.2e-7;
    int k, relu;
    for (k = 0; k < (int)(sizeof sizes / sizeof *sizes); k++) {
        const ptrdiff_t rows = sizes[k][0], n = sizes[k][1], size = rows * n;
        genreg_real *a = (genreg_real *)malloc((size_t)(2 * size + 2 * n + EDGE) * sizeof *a), *y = a + size, *s = y + size + EDGE, *t = s + n;
        ptrdiff_t i;
        int wrong = 0;
        begin_case(k);
        for (i = 0; i < size; i++) a[i] = (genreg_real)uniform();
        for (i = 0; i < n; i++) { s[i] = (genreg_real)uniform(); t[i] = (genreg_real)uniform(); }
        for (relu = 0; relu < 2; relu++) {
            genreg__exec e = exec_of(isa, threads);
            genreg__channel_job j;
            memset(&j, 0, sizeof j);
            for (i = 0; i < size + EDGE; i++) y[i] = (genreg_real)canary;
            j.a = a; j.s = s; j.t = t; j.y = y; j.rows = rows; j.channels = n; j.relu = relu;
            genreg__run_channels(&e, &j);
            for (i = 0; i < EDGE; i++) wrong += y[size + i] != (genreg_real)canary;
            for (i = 0; i < size; i++) {
                double want = (double)s[i % n] * (double)a[i] + (double)t[i % n];
                if (relu && want < 0) want = 0;
                wrong += !(fabs((double)y[i] - want) <= 6 * unit);
            }
            wrong += !same_bits(y, (size_t)size * sizeof *y);
        }
        CHECK(!wrong, "channels, %s, %d x %d, %d threads: %d values", isa_name[isa], (int)rows, (int)n, threads, wrong);
        free(a);
        end_case();
    }
}

/* What batch normalisation runs on, against loops that know no segments: statistics, y, the sums on the way back, and dx. */
static void test_norm(int isa)
{
    static const int sizes[][5] = { { 3, 1, 1, 5, 1 }, { 1025, 1, 1, 3, 1 }, { 2300, 1, 1, 40, 1 }, { 40, 1, 1, 65, 1 }, { 300, 1, 1, 130, 1 },
                                    { 2, 4, 4, 3, 2 }, { 3, 5, 7, 8, 2 }, { 5, 3, 2, 65, 2 }, { 3, 32, 32, 7, 2 }, { 2, 10, 11, 5, 3 }, { 4, 12, 12, 33, 4 }, { 1, 3, 3, 64, 3 } };
    const double unit = sizeof(genreg_real) == 8 ? 2.3e-16 : 1.2e-7;
    int k, relu;
    for (k = 0; k < (int)(sizeof sizes / sizeof *sizes); k++) {
        const ptrdiff_t images = sizes[k][0], h = sizes[k][1], w = sizes[k][2], n = sizes[k][3], size = sizes[k][4], oh = h / size, ow = w / size;
        const ptrdiff_t pixels = images * h * w, all = pixels * n, out = images * oh * ow * n;
        genreg_real *x = (genreg_real *)malloc((size_t)(2 * all + 2 * out + 8 * n + 3 * EDGE) * sizeof *x), *dx = x + all, *dy = dx + all + EDGE, *y = dy + out;
        genreg_real *v = y + out + EDGE, *s = v, *t = v + n, *mean = v + 2 * n, *factor = v + 3 * n, *slope = v + 4 * n, *shift = v + 5 * n, *got = v + 6 * n;
        double *want = (double *)malloc((size_t)(all + out + 4 * n) * sizeof *want), *want_y = want + all, *sum = want_y + out, *along = sum + n, *size_of = along + n, *spread = size_of + n;
        genreg_real *room = (genreg_real *)malloc((size_t)(genreg__norm_room(pixels, 1, n) + EDGE) * sizeof *room);
        ptrdiff_t i, c, p;
        begin_case(k);
        for (i = 0; i < all; i++) x[i] = (genreg_real)(uniform() + (double)(i % n));
        for (i = 0; i < out; i++) dy[i] = (genreg_real)uniform();
        for (i = 0; i < 6 * n; i++) v[i] = (genreg_real)uniform();
        for (relu = 0; relu < 2; relu++) {
            genreg__exec e = exec_of(isa, threads);
            genreg__norm_job j;
            ptrdiff_t segments, at;
            int wrong = 0;
            memset(&j, 0, sizeof j);
            j.x = x; j.s = s; j.t = t; j.mean = mean; j.dy = dy; j.factor = factor; j.slope = slope; j.shift = shift;
            j.channels = n; j.h = h; j.w = w; j.oh = oh; j.ow = ow; j.size = (int)size; j.relu = relu; j.rows = images * oh; j.segment = k % 2 ? 7 : 100;

            genreg__norm_statistics(&e, x, pixels, n, got, got + n, room);
            for (c = 0; c < n; c++) {
                long double m = 0, d = 0;
                for (i = c; i < all; i += n) m += (long double)x[i] / pixels;
                for (i = c; i < all; i += n) d += ((long double)x[i] - m) * ((long double)x[i] - m) / pixels;
                wrong += !(fabs((double)got[c] - (double)m) <= 20 * unit * (double)n) + !(fabs((double)got[n + c] - (double)d) <= 40 * unit * (double)n);
            }
            wrong += !same_bits(got, (size_t)(2 * n) * sizeof *got);
            CHECK(!wrong, "norm statistics, %s, %d x %d, %d threads: %d values", isa_name[isa], (int)pixels, (int)n, threads, wrong);

            for (i = 0; i < all; i++) want[i] = (double)slope[i % n] * (double)x[i] + (double)shift[i % n];
            for (c = 0; c < 4 * n; c++) sum[c] = 0;
            for (p = 0; p < images * oh * ow; p++)
                for (c = 0; c < n; c++) {
                    const ptrdiff_t corner = (p / (oh * ow) * h + p / ow % oh * size) * w + p % ow * size;
                    ptrdiff_t first = -1;
                    genreg_real best = 0;
                    double g;
                    for (i = 0; i < size * size; i++) {
                        const ptrdiff_t from = (corner + i / size * w + i % size) * n + c;
                        volatile genreg_real product = s[c] * x[from]; /* rounded twice, as the library does */
                        const genreg_real value = product + t[c];
                        if (first < 0 || value > best) { best = value; first = from; }
                    }
                    want_y[p * n + c] = (double)(relu && best < 0 ? 0 : best);
                    g = !relu || best > 0 ? (double)dy[p * n + c] : 0;
                    want[first] += (double)factor[c] * g;
                    sum[c] += g;
                    along[c] += g * ((double)x[first] - (double)mean[c]);
                    size_of[c] += fabs(g);
                    spread[c] += fabs(g * ((double)x[first] - (double)mean[c]));
                }
            wrong = 0;
            for (i = 0; i < EDGE; i++) y[out + i] = dx[all + i] = (genreg_real)canary;
            if (size > 1) {
                j.out = y;
                genreg__run_norm(&e, &genreg__norm_forward, &j);
                for (i = 0; i < out; i++) wrong += !(fabs((double)y[i] - want_y[i]) <= 0);
                for (i = 0; i < EDGE; i++) wrong += y[out + i] != (genreg_real)canary;
                wrong += !same_bits(y, (size_t)out * sizeof *y);
            }
            j.out = room;
            segments = genreg__run_norm_sums(&e, &genreg__norm_sums, &j);
            wrong += segments != (j.rows + j.segment - 1) / j.segment;
            for (c = 0; c < n; c++) {
                double a = 0, b = 0;
                for (at = 0; at < segments; at++) { a += (double)room[at * 2 * n + c]; b += (double)room[(at * 2 + 1) * n + c]; }
                wrong += !(fabs(a - sum[c]) <= 40 * unit * size_of[c]) + !(fabs(b - along[c]) <= 40 * unit * spread[c]);
            }
            j.out = dx;
            genreg__run_norm(&e, &genreg__norm_dx, &j);
            for (i = 0; i < all; i++) wrong += !(fabs((double)dx[i] - want[i]) <= 4 * unit * (double)(n + 2));
            for (i = 0; i < EDGE; i++) wrong += dx[all + i] != (genreg_real)canary;
            wrong += !same_bits(room, (size_t)(segments * 2 * n) * sizeof *room) + !same_bits(dx, (size_t)all * sizeof *dx);
            CHECK(!wrong, "norm, %s, %d images of %d x %d x %d, windows of %d, relu %d, %d threads: %d values", isa_name[isa], (int)images, (int)h, (int)w, (int)n, (int)size, relu,
                  threads, wrong);
        }
        free(x);
        free(want);
        free(room);
        end_case();
    }
}

int main(void)
{
    int isa;
    test_ranges();
    test_gemm_memory();
    test_long_sum();
    for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++) {
        if (!genreg_isa_available((genreg_isa)isa)) {
            printf("skipped: %s, which this build or machine has not\n", isa_name[isa]);
            continue;
        }
        for (team = 0; team < (int)(sizeof teams / sizeof *teams); team++) {
            genreg_ctx *c = check_context((genreg_isa)isa, teams[team]);
            threads = c->exec.threads;
            genreg_destroy(c);
            if (team && threads == 1) break; /* no OpenMP */
            faster = 0;
            state = 88172645463325252ull;
            results = 0;
            test_gemm(isa);
            test_convolutions(isa);
            CHECK(team || faster >= 9, "%s: Winograd's algorithm was taken in %d cases only", isa_name[isa], faster);
            test_channels(isa);
            test_norm(isa);
            test_sums(isa);
            test_loops(isa);
        }
        team = results = 0;
        threads = 1;
        test_gemm_small(isa);
        test_sums_small(isa);
        test_loops_small(isa);
        test_updates(isa);
        printf("%s: done\n", isa_name[isa]);
    }
    return check_done();
}
