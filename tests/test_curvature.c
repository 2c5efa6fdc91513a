/* test_curvature.c - gradients and Hessian products over whole sets, in chunks or at once, and top eigenvalues, against explicit Hessians.

      cc -O2 -fopenmp tests/test_curvature.c -o test_curvature -lm && ./test_curvature          (in double; or with -DGENREG_REAL=float)

   The Hessians that eigenvalues are compared with come from difference quotients of gradients and from second sweeps, one row at a
   time; never from genreg_hessian_product. */
#ifdef CHECK_SECOND /* run.sh asks for the other type: here that is float */
#undef GENREG_REAL
#define GENREG_REAL float
#endif
#ifndef GENREG_REAL
#define GENREG_REAL double
#endif
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include "check.h"

#include <stdlib.h>

enum { DOUBLE = sizeof(genreg_real) == 8, MOST = 48 };

static double wild(unsigned i)
{
    unsigned x = i * 2654435761u + 12345u;
    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    x *= 3266489917u;
    x ^= x >> 16;
    return (x & 0xffffffu) / 8388608.0 - 1 + 1e-8;
}

static double norm(const double *x, int n)
{
    double s = 0;
    int i;
    for (i = 0; i < n; i++) s += x[i] * x[i];
    return sqrt(s);
}

/* Eigenvalues of a symmetric matrix in rising order, by Jacobi's rotations; column i of v is the i-th unit eigenvector. */
static void jacobi(int n, double a[MOST][MOST], double *value, double v[MOST][MOST])
{
    int sweep, p, q, i;
    for (p = 0; p < n; p++)
        for (q = 0; q < n; q++) v[p][q] = p == q;
    for (sweep = 0; sweep < 60; sweep++) {
        double off = 0;
        for (p = 0; p < n; p++)
            for (q = p + 1; q < n; q++) {
                double theta, t, c, s;
                off += a[p][q] * a[p][q];
                if (a[p][q] == 0) continue;
                theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
                t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1));
                c = 1 / sqrt(t * t + 1);
                s = t * c;
                for (i = 0; i < n; i++) {
                    double x = a[i][p], y = a[i][q];
                    a[i][p] = c * x - s * y;
                    a[i][q] = s * x + c * y;
                }
                for (i = 0; i < n; i++) {
                    double x = a[p][i], y = a[q][i];
                    a[p][i] = c * x - s * y;
                    a[q][i] = s * x + c * y;
                }
                for (i = 0; i < n; i++) {
                    double x = v[i][p], y = v[i][q];
                    v[i][p] = c * x - s * y;
                    v[i][q] = s * x + c * y;
                }
            }
        if (off < 1e-300) break;
    }
    for (i = 0; i < n; i++) value[i] = a[i][i];
    for (p = 0; p < n; p++) /* put in order */
        for (q = p + 1; q < n; q++)
            if (value[q] < value[p]) {
                double x = value[p];
                value[p] = value[q];
                value[q] = x;
                for (i = 0; i < n; i++) { x = v[i][p]; v[i][p] = v[i][q]; v[i][q] = x; }
            }
}

/* ------------------------------------------------------------------------------------------------ small nets */

enum { IN = 4, OUT = 3, SAMPLES = 23 };

static genreg_dataset small_set(genreg_ctx *c, int n)
{
    static genreg_real x[SAMPLES * IN];
    static int y[SAMPLES];
    const int shape[1] = { IN };
    int i;
    for (i = 0; i < SAMPLES * IN; i++) x[i] = (genreg_real)(1.5 * wild((unsigned)i));
    for (i = 0; i < SAMPLES; i++) y[i] = i * i % OUT;
    return genreg_dataset_reals(c, x, y, n, 1, shape, OUT);
}

/* 4-4-3 with tanh or ReLU: 35 parameters. */
static genreg_model *small_net(genreg_ctx *c, int relu)
{
    const int shape[1] = { IN };
    genreg_model *m = genreg_model_create(c, 1, shape);
    genreg_layer_linear(m, 4);
    if (relu) genreg_layer_relu(m);
    else genreg_layer_tanh(m);
    genreg_layer_linear(m, OUT);
    genreg_init(m, GENREG_INIT_XAVIER, 6);
    return m;
}

/* An objective of one's own: what is not named is 0. */
static genreg_objective objective(genreg_ctx *c, genreg_tensor *theta, genreg_loss_fn loss, void *user, const genreg_dataset *d)
{
    genreg_objective f;
    memset(&f, 0, sizeof f);
    f.ctx = c;
    f.theta = theta;
    f.loss = loss;
    f.user = user;
    f.data = d;
    return f;
}

/* A loss of the user's own, with weights from `user`: mean over samples of softplus(-margin) + w |outputs|^4 / 4. */
static genreg_tensor *own_loss(genreg_ctx *c, genreg_tensor *theta, const genreg_batch *b, void *user)
{
    void **u = (void **)user; /* the model, and the weight of the second part */
    genreg_tensor *y = genreg_forward((genreg_model *)u[0], theta, b->x, NULL), *hit, *all, *quartic;
    hit = genreg_mul(c, y, genreg_one_hot(c, b->labels, b->n, OUT));
    all = genreg_softplus(c, genreg_neg(c, genreg_sum(c, hit, GENREG_AXIS(1))));
    quartic = genreg_sum(c, genreg_pow(c, y, 4), GENREG_AXIS(1));
    return genreg_mean(c, genreg_add(c, all, genreg_scale(c, quartic, *(double *)u[1] / 4)), GENREG_ALL_AXES);
}

/* H by difference quotients of the gradient: column k is (g(theta + h e_k) - g(theta - h e_k)) / 2h. */
static void hessian_by_differences(const genreg_objective *f, double h[MOST][MOST])
{
    int n = (int)f->theta->size, i, k;
    const double step = 1e-4;
    genreg_real up[MOST], down[MOST];
    for (k = 0; k < n; k++) {
        genreg_real x = f->theta->data[k];
        f->theta->data[k] = (genreg_real)((double)x + step);
        genreg_objective_gradient(f, up);
        f->theta->data[k] = (genreg_real)((double)x - step);
        genreg_objective_gradient(f, down);
        f->theta->data[k] = x;
        for (i = 0; i < n; i++) h[i][k] = ((double)up[i] - (double)down[i]) / (2 * step);
    }
}

/* H row by row: the gradient of each component of the recorded gradient. */
static void hessian_by_sweeps(const genreg_objective *f, double h[MOST][MOST])
{
    genreg_ctx *c = f->ctx;
    genreg_place p = genreg_mark(c);
    genreg_batch b;
    genreg_tensor *theta = f->theta, *g, *row, *unit;
    int n = (int)theta->size, i, k;
    memset(&b, 0, sizeof b);
    if (f->data) b = genreg_get_batch(c, f->data, NULL, 0, f->data->n);
    genreg_grad(c, f->loss(c, f->outputs ? f->outputs(c, theta, &b, f->user) : theta, &b, f->user), NULL, &theta, 1, &g);
    for (i = 0; i < n && g; i++) {
        unit = genreg_constant(c, theta->rank, theta->shape, NULL);
        if (!unit) break;
        unit->data[i] = 1;
        if (!genreg_grad(c, g, unit, &theta, 1, &row)) break;
        for (k = 0; k < n; k++) h[i][k] = (double)row->data[k];
    }
    CHECK(i == n, "the explicit Hessian: %s", genreg_error_message(c));
    genreg_release(c, p);
}

static double matrix_distance(int n, double a[MOST][MOST], double b[MOST][MOST])
{
    double d = 0, s = 0;
    int i, k;
    for (i = 0; i < n; i++)
        for (k = 0; k < n; k++) {
            d += (a[i][k] - b[i][k]) * (a[i][k] - b[i][k]);
            s += b[i][k] * b[i][k];
        }
    return d == d && s > 0 ? sqrt(d / s) : HUGE_VAL;
}

/* |H v - value v| / |value| with the explicit H. */
static double true_residual(int n, double h[MOST][MOST], const genreg_real *v, double value)
{
    double r[MOST];
    int i, k;
    for (i = 0; i < n; i++) {
        r[i] = -value * (double)v[i];
        for (k = 0; k < n; k++) r[i] += h[i][k] * (double)v[k];
    }
    return norm(r, n) / fabs(value);
}

/* Gradient, products and the top eigenvalue of one objective against its explicit Hessian. */
static void compare_with_explicit(const genreg_objective *f, const char *name, int smooth)
{
    static double differences[MOST][MOST], sweeps[MOST][MOST], work[MOST][MOST], vectors[MOST][MOST];
    genreg_ctx *c = f->ctx;
    int n = (int)f->theta->size, i, k, trial;
    double value[MOST], top, magnitude, cosine;
    genreg_real v[MOST], out[MOST], vector[MOST];
    genreg_hessian *h;
    genreg_eigen_options o = genreg_eigen_defaults();
    genreg_eigen e;
    hessian_by_sweeps(f, sweeps);
    if (DOUBLE) { /* in float a quotient has too few digits to say anything */
        hessian_by_differences(f, differences);
        CHECK(matrix_distance(n, differences, sweeps) < (smooth ? 1e-7 : 1e-6), "%s: quotients and sweeps differ by %g", name, matrix_distance(n, differences, sweeps));
    } else memcpy(differences, sweeps, sizeof sweeps);
    for (i = 0; i < n; i++)
        for (k = 0; k < n; k++) work[i][k] = sweeps[k][i];
    CHECK(matrix_distance(n, work, sweeps) < (DOUBLE ? 1e-13 : 1e-5), "%s: a Hessian is symmetric, and this one is off by %g", name, matrix_distance(n, work, sweeps));

    h = genreg_hessian_open(f);
    CHECK(h && genreg_hessian_chunk(h) == (f->data ? f->data->n : 1), "%s: it fits at once: %s", name, genreg_error_message(c));
    CHECK(fabs(genreg_hessian_loss(h) - genreg_objective_gradient(f, NULL)) <= check_path_tolerance() * fabs(genreg_hessian_loss(h)), "%s: two ways to the loss", name);
    for (trial = 0; trial < 5; trial++) {
        double want[MOST], away[MOST], exact[MOST];
        for (i = 0; i < n; i++) v[i] = (genreg_real)(trial == 4 ? i == 3 : wild((unsigned)(50 * trial + i)));
        CHECK(genreg_hessian_product(h, v, out), "%s", genreg_error_message(c));
        for (i = 0; i < n; i++) {
            want[i] = exact[i] = 0;
            for (k = 0; k < n; k++) {
                want[i] += differences[i][k] * (double)v[k];
                exact[i] += sweeps[i][k] * (double)v[k];
            }
            away[i] = (double)out[i] - want[i];
            exact[i] -= (double)out[i];
        }
        CHECK(norm(want, n) > 1e-3 && norm(away, n) < (DOUBLE ? 1e-6 : 1e-4) * norm(want, n), "%s: a product is off by %g", name, norm(away, n) / norm(want, n));
        CHECK(norm(exact, n) < (DOUBLE ? 1e-12 : 1e-5) * norm(want, n), "%s: a product is off the exact one by %g", name, norm(exact, n) / norm(want, n));
    }

    memcpy(work, differences, sizeof work);
    if (DOUBLE)
        for (i = 0; i < n; i++)
            for (k = 0; k < n; k++) work[i][k] = (differences[i][k] + differences[k][i]) / 2;
    jacobi(n, work, value, vectors);
    o.iterations = 20000;
    o.tol = DOUBLE ? 1e-9 : 1e-4;
    o.seed = 3;
    o.vector = vector;
    e = genreg_top_eigen(h, &o);
    CHECK(e.converged && fabs(e.value - value[n - 1]) < (DOUBLE ? 1e-6 : 1e-4) * fabs(value[n - 1]), "%s: top eigenvalue %.12g of %.12g after %d products", name, e.value, value[n - 1], e.iterations);
    memcpy(work, sweeps, sizeof work);
    for (i = 0; i < n; i++)
        for (k = 0; k < n; k++) work[i][k] = (sweeps[i][k] + sweeps[k][i]) / 2;
    jacobi(n, work, value, vectors);
    top = value[n - 1];
    magnitude = fabs(value[0]) > fabs(top) ? value[0] : top;
    CHECK(fabs(e.value - top) < (DOUBLE ? 1e-10 : 1e-4) * fabs(top), "%s: %.15g of %.15g", name, e.value, top);
    CHECK(fabs(true_residual(n, sweeps, vector, e.value) - e.residual) < (DOUBLE ? 1e-11 : 1e-5), "%s: residual %g, recomputed %g", name, e.residual, true_residual(n, sweeps, vector, e.value));
    for (i = 0, cosine = 0; i < n; i++) cosine += vectors[i][n - 1] * (double)vector[i];
    CHECK(fabs(fabs(cosine) - 1) < (DOUBLE ? 1e-10 : 1e-3), "%s: the unit eigenvector: cosine %.15g", name, cosine);
    o.which = GENREG_LARGEST_MAGNITUDE;
    e = genreg_top_eigen(h, &o);
    CHECK(e.converged && fabs(e.value - magnitude) < (DOUBLE ? 1e-10 : 1e-4) * fabs(magnitude), "%s: of largest magnitude: %.15g of %.15g", name, e.value, magnitude);

    /* Cut off early, an answer is as far from an eigenvalue as its residual says at most, and no more than it says is claimed. */
    o.vector = vector;
    o.tol = 1e-3;
    for (trial = 1; trial < 12; trial += 2) {
        double nearest = HUGE_VAL;
        o.iterations = trial;
        e = genreg_top_eigen(h, &o);
        for (i = 0; i < n; i++) nearest = fabs(value[i] - e.value) < nearest ? fabs(value[i] - e.value) : nearest;
        CHECK(e.iterations <= trial && (e.iterations == trial || e.converged), "%s: %d of %d products", name, e.iterations, trial);
        CHECK(nearest <= e.residual * fabs(e.value) * (1 + 1e-6) + (DOUBLE ? 1e-12 : 1e-5), "%s: %d products: %g away from an eigenvalue, residual %g", name, trial, nearest, e.residual * fabs(e.value));
        CHECK(e.converged == (e.residual <= o.tol), "%s: the flag says what the residual says", name);
        CHECK(fabs(true_residual(n, sweeps, vector, e.value) - e.residual) < (DOUBLE ? 1e-10 : 1e-4) * (1 + e.residual), "%s: residual %g, recomputed %g", name, e.residual,
              true_residual(n, sweeps, vector, e.value));
    }
    genreg_hessian_close(h);
    CHECK(genreg_error(c) == GENREG_OK, "%s: %s", name, genreg_error_message(c));
}

static void test_small_nets(void)
{
    int isa, relu;
    double weight = 0.05;
    for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++)
        for (relu = 0; relu < 2; relu++) {
            genreg_ctx *c;
            genreg_model *m;
            genreg_dataset d;
            genreg_objective f;
            void *user[2];
            if (!genreg_isa_available((genreg_isa)isa)) continue;
            c = check_context((genreg_isa)isa, 1);
            m = small_net(c, relu);
            d = small_set(c, SAMPLES);
            f = genreg_model_objective(m, &d, GENREG_CROSS_ENTROPY);
            compare_with_explicit(&f, relu ? "cross-entropy, relu" : "cross-entropy, tanh", !relu);
            f = genreg_model_objective(m, &d, GENREG_MSE);
            compare_with_explicit(&f, relu ? "squares, relu" : "squares, tanh", !relu);
            user[0] = m;
            user[1] = &weight;
            f = objective(c, m->theta, own_loss, user, &d);
            compare_with_explicit(&f, relu ? "own loss, relu" : "own loss, tanh", !relu);
            d = small_set(c, 1); /* one sample */
            f = genreg_model_objective(m, &d, GENREG_CROSS_ENTROPY);
            compare_with_explicit(&f, "one sample", !relu);
            genreg_destroy(c);
        }
}

/* ------------------------------------------------------------------------------------------------ quadratic forms */

enum { ORDER = 12 };

/* x'Ax/2 + b'x, without a set: the Hessian is A. user: A's values, then b's. */
static genreg_tensor *quadratic(genreg_ctx *c, genreg_tensor *theta, const genreg_batch *b, void *user)
{
    genreg_real *values = (genreg_real *)user;
    const int square[2] = { ORDER, ORDER }, column[2] = { ORDER, 1 };
    genreg_tensor *a = genreg_constant(c, 2, square, values), *linear = genreg_constant(c, 2, column, values + ORDER * ORDER), *x = genreg_reshape(c, theta, 2, column);
    CHECK(b->n == 0 && !b->x && !b->labels, "without a set the batch is empty");
    return genreg_add(c, genreg_scale(c, genreg_dot(c, x, genreg_matmul(c, a, x, 0, 0)), 0.5), genreg_dot(c, linear, x));
}

/* A symmetric matrix with the given eigenvalues: Householder reflections of the diagonal. Column i of q is the i-th eigenvector. */
static void with_eigenvalues(const double *lambda, double a[ORDER][ORDER], double q[ORDER][ORDER])
{
    int i, k, l, r;
    for (i = 0; i < ORDER; i++)
        for (k = 0; k < ORDER; k++) q[i][k] = i == k;
    for (r = 0; r < 3; r++) {
        double u[ORDER], s;
        for (i = 0; i < ORDER; i++) u[i] = wild((unsigned)(1000 + 20 * r + i));
        s = norm(u, ORDER);
        for (i = 0; i < ORDER; i++) u[i] /= s;
        for (k = 0; k < ORDER; k++) {
            for (i = 0, s = 0; i < ORDER; i++) s += u[i] * q[i][k];
            for (i = 0; i < ORDER; i++) q[i][k] -= 2 * s * u[i];
        }
    }
    for (i = 0; i < ORDER; i++)
        for (k = 0; k < ORDER; k++)
            for (l = 0, a[i][k] = 0; l < ORDER; l++) a[i][k] += lambda[l] * q[i][l] * q[k][l];
}

static void test_quadratics(void)
{
    static const struct { const char *name; double lambda[ORDER]; } forms[] = {
        { "positive", { 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4, 5, 9 } },
        { "indefinite, mostly negative", { -10, -6, -5, -3, -1, 0, 0.1, 0.2, 0.5, 0.7, 1, 3 } },
        { "indefinite, mostly positive", { -4, -3, -1, 0, 0, 0, 1, 2, 3, 4, 5, 8 } },
        { "negative", { -10, -9, -8, -7, -6.5, -6, -5.5, -5, -4.5, -4, -3.5, -1 } },
        { "minus the identity", { -2, -2, -2, -2, -2, -2, -2, -2, -2, -2, -2, -2 } },
    };
    const double tolerance = DOUBLE ? 1e-12 : 2e-6;
    const int flat[1] = { ORDER }, folded[2] = { 3, ORDER / 3 };
    int form, i, k;
    for (form = 0; form < 5; form++) {
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
        double a[ORDER][ORDER], q[ORDER][ORDER], away, largest = forms[form].lambda[ORDER - 1], smallest = forms[form].lambda[0], magnitude = -smallest > largest ? smallest : largest, cosine, loss = 0, want;
        genreg_real values[ORDER * ORDER + ORDER], start[ORDER], v[ORDER], out[ORDER], vector[ORDER];
        genreg_objective f;
        genreg_hessian *h;
        genreg_eigen_options o = genreg_eigen_defaults();
        genreg_eigen e;
        with_eigenvalues(forms[form].lambda, a, q);
        for (i = 0; i < ORDER; i++) {
            start[i] = (genreg_real)wild((unsigned)(i + 300));
            v[i] = (genreg_real)wild((unsigned)(i + 400));
            values[ORDER * ORDER + i] = (genreg_real)wild((unsigned)(i + 500));
            for (k = 0; k < ORDER; k++) values[i * ORDER + k] = (genreg_real)a[i][k];
        }
        f = objective(c, form % 2 ? genreg_variable(c, 2, folded, start) : genreg_variable(c, 1, flat, start), quadratic, values, NULL);

        want = genreg_objective_gradient(&f, out);
        for (i = 0, away = 0; i < ORDER; i++) {
            double g = (double)values[ORDER * ORDER + i];
            loss += (double)start[i] * (double)values[ORDER * ORDER + i];
            for (k = 0; k < ORDER; k++) {
                g += a[i][k] * (double)start[k];
                loss += a[i][k] * (double)start[i] * (double)start[k] / 2;
            }
            away += fabs(g - (double)out[i]);
        }
        CHECK(away < 20 * tolerance && fabs(loss - want) < 10 * tolerance, "%s: gradient off by %g, loss %.15g of %.15g", forms[form].name, away, want, loss);

        h = genreg_hessian_open(&f);
        CHECK(h && genreg_hessian_chunk(h) == 1 && fabs(genreg_hessian_loss(h) - loss) < 10 * tolerance, "%s", genreg_error_message(c));
        CHECK(genreg_hessian_product(h, v, out), "%s", genreg_error_message(c));
        for (i = 0, away = 0; i < ORDER; i++) {
            for (k = 0, want = 0; k < ORDER; k++) want += a[i][k] * (double)v[k];
            away += fabs(want - (double)out[i]);
        }
        CHECK(away < 50 * tolerance, "%s: A v is off by %g", forms[form].name, away);

        o.iterations = 3000;
        o.tol = DOUBLE ? 1e-9 : 1e-5;
        o.vector = vector;
        e = genreg_top_eigen(h, &o);
        CHECK(e.converged && fabs(e.value - largest) < 20 * tolerance * fabs(magnitude), "%s: the largest is %.15g of %g after %d products", forms[form].name, e.value, largest, e.iterations);
        for (i = 0, cosine = 0; i < ORDER; i++) cosine += q[i][ORDER - 1] * (double)vector[i];
        CHECK(form == 4 || fabs(fabs(cosine) - 1) < (DOUBLE ? 1e-12 : 1e-5), "%s: its vector: %g", forms[form].name, cosine);
        for (i = 0, away = 0; i < ORDER; i++) away += (double)vector[i] * (double)vector[i];
        CHECK(fabs(away - 1) < 10 * tolerance, "%s: a unit vector, %.15g", forms[form].name, away);
        o.which = GENREG_LARGEST_MAGNITUDE;
        e = genreg_top_eigen(h, &o);
        CHECK(e.converged && fabs(e.value - magnitude) < 20 * tolerance * fabs(magnitude), "%s: of largest magnitude is %.15g of %g", forms[form].name, e.value, magnitude);
        for (i = 0, cosine = 0; i < ORDER; i++) cosine += q[i][magnitude < 0 ? 0 : ORDER - 1] * (double)vector[i];
        CHECK(form == 4 || fabs(fabs(cosine) - 1) < (DOUBLE ? 1e-12 : 1e-5), "%s: its vector: %g", forms[form].name, cosine);

        /* tol 0 runs all the products that are allowed: twice as many where a second run must find the largest. */
        o.tol = 0;
        o.iterations = 17;
        e = genreg_top_eigen(h, &o);
        CHECK(e.iterations == 17 || form == 4, "%s: %d products", forms[form].name, e.iterations); /* (where every vector is an eigenvector there is nothing to do) */
        CHECK(e.converged == (e.residual == 0), "%s: converged at residual %g with tolerance 0", forms[form].name, e.residual);
        o.which = GENREG_LARGEST;
        e = genreg_top_eigen(h, &o);
        CHECK(e.iterations == (form == 1 || form == 3 ? 34 : 17) || form == 4, "%s: %d products", forms[form].name, e.iterations);
        CHECK(e.value <= largest + 20 * tolerance * fabs(magnitude) && (form != 3 || e.value > smallest), "%s: a Rayleigh quotient is an eigenvalue at most: %g", forms[form].name, e.value);

        o.tol = 1e-12; /* beyond what 5 products reach */
        o.iterations = 5;
        e = genreg_top_eigen(h, &o);
        CHECK(form == 4 || (!e.converged && e.residual > o.tol), "%s: not converged after %d products, residual %g", forms[form].name, e.iterations, e.residual);
        genreg_hessian_close(h);
        genreg_destroy(c);
    }
}

/* Where two eigenvalues differ in sign alone no power of A tells them apart; that must not pass for an answer. */
static void test_tie(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    static const double lambda[ORDER] = { -5, -1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 5 };
    double a[ORDER][ORDER], q[ORDER][ORDER];
    genreg_real values[ORDER * ORDER + ORDER] = { 0 };
    const int flat[1] = { ORDER };
    genreg_objective f;
    genreg_hessian *h;
    genreg_eigen_options o = genreg_eigen_defaults();
    genreg_eigen e, same, other;
    int i, k;
    with_eigenvalues(lambda, a, q);
    for (i = 0; i < ORDER; i++)
        for (k = 0; k < ORDER; k++) values[i * ORDER + k] = (genreg_real)a[i][k];
    f = objective(c, genreg_variable(c, 1, flat, NULL), quadratic, values, NULL);
    h = genreg_hessian_open(&f);
    o.which = GENREG_LARGEST_MAGNITUDE;
    e = genreg_top_eigen(h, &o);
    CHECK(!e.converged && e.iterations == 100 && e.residual > 0.05, "value %g, residual %g", e.value, e.residual);
    o.which = GENREG_LARGEST;
    o.seed = 1;
    e = genreg_top_eigen(h, &o);
    CHECK(!e.converged || fabs(e.value - 5) < 0.01, "value %g, residual %g", e.value, e.residual);
    same = genreg_top_eigen(h, &o);
    CHECK(same.value == e.value && same.residual == e.residual && same.iterations == e.iterations, "the same seed, the same bits");
    o.which = GENREG_LARGEST_MAGNITUDE;
    o.iterations = 1;
    e = genreg_top_eigen(h, &o);
    o.seed = 2;
    other = genreg_top_eigen(h, &o);
    CHECK(other.value != e.value && e.iterations == 1, "another seed starts elsewhere");
    o = genreg_eigen_defaults();
    CHECK(o.iterations == 100 && o.tol == 1e-3 && o.seed == 0 && o.which == GENREG_LARGEST && !o.vector, "defaults");
    genreg_hessian_close(h);
    genreg_destroy(c);
}

/* A loss that is linear in theta: mean over samples of x'theta. Its Hessian is 0. */
static genreg_tensor *linear(genreg_ctx *c, genreg_tensor *theta, const genreg_batch *b, void *user)
{
    const int column[2] = { IN, 1 };
    (void)user;
    return genreg_mean(c, genreg_matmul(c, b->x, genreg_reshape(c, theta, 2, column), 0, 0), GENREG_ALL_AXES);
}

static void test_linear_loss(void)
{
    int small, i;
    size_t peak = 0;
    for (small = 0; small < 2; small++) { /* at once, and in chunks */
        genreg_options options = genreg_defaults();
        genreg_ctx *c;
        genreg_dataset d;
        genreg_objective f;
        genreg_hessian *h;
        genreg_eigen e;
        const int shape[1] = { IN };
        genreg_real v[IN] = { 1, -2, 3, 0.5 }, out[IN], g[IN];
        double mean[IN] = { 0 };
        if (small) options.memory = peak - 500;
        c = genreg_create(&options);
        d = small_set(c, SAMPLES);
        f = objective(c, genreg_variable(c, 1, shape, NULL), linear, NULL, &d);
        for (i = 0; i < SAMPLES * IN; i++) mean[i % IN] += (double)d.reals[i] / SAMPLES;
        genreg_objective_gradient(&f, g);
        for (i = 0; i < IN; i++) CHECK(fabs((double)g[i] - mean[i]) < (DOUBLE ? 1e-14 : 1e-6), "the gradient is the mean: %g of %g", (double)g[i], mean[i]);
        h = genreg_hessian_open(&f);
        CHECK(h && (genreg_hessian_chunk(h) < SAMPLES) == small, "chunks of %d: %s", genreg_hessian_chunk(h), genreg_error_message(c));
        for (i = 0; i < IN; i++) out[i] = 7;
        CHECK(genreg_hessian_product(h, v, out) && out[0] == 0 && out[1] == 0 && out[2] == 0 && out[3] == 0, "H v = 0: %s", genreg_error_message(c));
        e = genreg_top_eigen(h, NULL);
        CHECK(e.value == 0 && e.residual == 0 && e.converged, "eigenvalue %g, residual %g", e.value, e.residual);
        genreg_hessian_close(h);
        peak = genreg_tape_peak(c);
        genreg_destroy(c);
    }
}

/* ------------------------------------------------------------------------------------------------ chunks */

enum { WIDE_IN = 30, WIDE_HIDDEN = 24, WIDE_OUT = 5, WIDE_N = 211 };

static genreg_dataset wide_set(genreg_ctx *c, int n)
{
    static genreg_real x[WIDE_N * WIDE_IN];
    static int y[WIDE_N];
    const int shape[1] = { WIDE_IN };
    int i;
    for (i = 0; i < WIDE_N * WIDE_IN; i++) x[i] = (genreg_real)(wild((unsigned)i) * (1 + i / (WIDE_N * WIDE_IN / 4))); /* later samples weigh more, so that wrong weights show */
    for (i = 0; i < WIDE_N; i++) y[i] = i * i % WIDE_OUT;
    return genreg_dataset_reals(c, x, y, n, 1, shape, WIDE_OUT);
}

static genreg_model *wide_net(genreg_ctx *c)
{
    const int shape[1] = { WIDE_IN };
    genreg_model *m = genreg_model_create(c, 1, shape);
    genreg_layer_linear(m, WIDE_HIDDEN);
    genreg_layer_relu(m);
    genreg_layer_dropout(m, 0.5); /* off here: curvature is measured in evaluation mode */
    genreg_layer_linear(m, WIDE_HIDDEN);
    genreg_layer_tanh(m);
    genreg_layer_linear(m, WIDE_OUT);
    genreg_init(m, GENREG_INIT_HE, 2);
    return m;
}

typedef struct results { genreg_real *gradient, *product; double loss, opened_loss, value, residual; int chunk, iterations; ptrdiff_t n; } results;

static void free_results(results *r)
{
    free(r->gradient);
    free(r->product);
}

/* All that is computed of an objective; the context may get an error on the way. */
static results compute(genreg_ctx *c, int n, genreg_loss loss)
{
    results r;
    genreg_model *m = wide_net(c);
    genreg_dataset d = wide_set(c, n);
    genreg_objective f = genreg_model_objective(m, &d, loss);
    genreg_hessian *h;
    genreg_eigen_options o = genreg_eigen_defaults();
    genreg_eigen e;
    genreg_real *v;
    ptrdiff_t i;
    memset(&r, 0, sizeof r);
    r.n = m->theta->size;
    r.gradient = (genreg_real *)calloc((size_t)r.n, sizeof *r.gradient);
    r.product = (genreg_real *)calloc((size_t)r.n, sizeof *r.product);
    v = (genreg_real *)malloc((size_t)r.n * sizeof *v);
    for (i = 0; i < r.n; i++) v[i] = (genreg_real)wild((unsigned)i);
    r.loss = genreg_objective_gradient(&f, r.gradient);
    h = genreg_hessian_open(&f);
    memset(&d, 0xff, sizeof d); /* the set's struct may go while the Hessian is open */
    genreg_hessian_product(h, v, r.product);
    r.opened_loss = genreg_hessian_loss(h);
    r.chunk = genreg_hessian_chunk(h);
    o.tol = 0;
    o.iterations = 6;
    e = genreg_top_eigen(h, &o);
    r.value = e.value;
    r.residual = e.residual;
    r.iterations = e.iterations;
    genreg_hessian_close(h);
    genreg_model_free(m);
    free(v);
    return r;
}

static void compare(const results *a, const results *b, double tolerance, const char *what, int of)
{
    CHECK(check_distance(a->gradient, b->gradient, a->n) <= tolerance, "%s %d: gradients differ by %g", what, of, check_distance(a->gradient, b->gradient, a->n));
    CHECK(check_distance(a->product, b->product, a->n) <= tolerance, "%s %d: products differ by %g", what, of, check_distance(a->product, b->product, a->n));
    CHECK(fabs(a->loss - b->loss) <= tolerance * fabs(b->loss) && fabs(a->opened_loss - b->loss) <= tolerance * fabs(b->loss), "%s %d: losses %.17g, %.17g of %.17g", what, of, a->loss, a->opened_loss, b->loss);
    CHECK(fabs(a->value - b->value) <= 10 * tolerance * fabs(b->value), "%s %d: eigenvalue %.17g of %.17g", what, of, a->value, b->value);
    CHECK(a->iterations == b->iterations && fabs(a->residual - b->residual) <= 100 * tolerance, "%s %d: residual %g of %g", what, of, a->residual, b->residual);
}

static void test_chunks(void)
{
    static const size_t memory[] = { 90000, 120000, 170000, 260000, 500000 };
    static const int samples[] = { WIDE_N, 128, 17, 16, 2, 1 };
    int i, k, loss, ragged = 0, chunked = 0;
    for (k = 0; k < 6; k++)
        for (loss = 0; loss < 2; loss++) {
            genreg_ctx *roomy = check_context(GENREG_ISA_AUTO, 1);
            results whole = compute(roomy, samples[k], (genreg_loss)loss);
            CHECK(genreg_error(roomy) == GENREG_OK && whole.chunk == samples[k] && whole.value > 0, "%s", genreg_error_message(roomy));
            CHECK(genreg_tape_bytes(roomy) == 0, "nothing is left on the tape");
            for (i = 0; i < 5; i++) {
                genreg_options o = genreg_defaults();
                genreg_ctx *c;
                results r;
                if (DOUBLE) o.memory = 2 * memory[i];
                else o.memory = memory[i];
                c = genreg_create(&o);
                r = compute(c, samples[k], (genreg_loss)loss);
                CHECK(genreg_error(c) == GENREG_OK, "%d samples in %ld bytes: %s", samples[k], (long)o.memory, genreg_error_message(c));
                CHECK(genreg_tape_peak(c) <= o.memory && genreg_tape_bytes(c) == 0, "%ld bytes of tape where %ld are allowed", (long)genreg_tape_peak(c), (long)o.memory);
                CHECK(r.chunk >= 1 && r.chunk <= samples[k], "chunks of %d", r.chunk);
                compare(&r, &whole, check_path_tolerance(), "chunks of", r.chunk);
                chunked += r.chunk < samples[k];
                ragged += samples[k] % r.chunk != 0;
                free_results(&r);
                genreg_destroy(c);
            }
            free_results(&whole);
            genreg_destroy(roomy);
        }
    CHECK(chunked >= 12 && ragged >= 6, "%d runs were in chunks, %d with a ragged last one: the memory options here no longer test that", chunked, ragged);
}

/* What a step costs need not grow with the samples in a straight line: here it grows with their square, and the first estimate is too good. */
static genreg_tensor *pairs(genreg_ctx *c, genreg_tensor *theta, const genreg_batch *b, void *user)
{
    genreg_tensor *y = genreg_forward((genreg_model *)user, theta, b->x, NULL), *waste = genreg_matmul(c, y, y, 0, 1);
    return genreg_add(c, genreg_cross_entropy(c, y, b->labels), genreg_scale(c, genreg_sum(c, waste, GENREG_ALL_AXES), 0));
}

static void test_uneven_cost(void)
{
    genreg_ctx *roomy = check_context(GENREG_ISA_AUTO, 1), *c;
    genreg_options o = genreg_defaults();
    genreg_model *m = wide_net(roomy);
    genreg_dataset d = wide_set(roomy, WIDE_N);
    genreg_objective f = genreg_model_objective(m, &d, GENREG_CROSS_ENTROPY);
    genreg_hessian *h;
    ptrdiff_t n = m->theta->size, i;
    genreg_real *v = (genreg_real *)malloc((size_t)n * sizeof *v), *want = (genreg_real *)malloc((size_t)n * sizeof *v), *out = (genreg_real *)malloc((size_t)n * sizeof *v);
    for (i = 0; i < n; i++) v[i] = (genreg_real)wild((unsigned)i);
    h = genreg_hessian_open(&f);
    genreg_hessian_product(h, v, want);
    genreg_hessian_close(h);
    o.memory = DOUBLE ? 440000 : 220000;
    c = genreg_create(&o);
    m = wide_net(c);
    d = wide_set(c, WIDE_N);
    f = objective(c, m->theta, pairs, m, &d);
    h = genreg_hessian_open(&f);
    CHECK(h && genreg_hessian_chunk(h) > 1 && genreg_hessian_chunk(h) < WIDE_N, "chunks of %d: %s", genreg_hessian_chunk(h), genreg_error_message(c));
    CHECK(genreg_hessian_product(h, v, out) && check_distance(out, want, n) <= check_path_tolerance(), "the product: %s", genreg_error_message(c));
    CHECK(genreg_tape_peak(c) <= o.memory, "%ld bytes", (long)genreg_tape_peak(c));
    genreg_hessian_close(h);
    free(v);
    free(want);
    free(out);
    genreg_destroy(c);
    genreg_destroy(roomy);
}

static void test_too_little_memory(void)
{
    genreg_options o = genreg_defaults();
    genreg_ctx *c;
    genreg_model *m;
    genreg_dataset d;
    genreg_objective f;
    genreg_real *out;
    const char *message;
    int n;
    o.memory = 20000; /* a product needs a few vectors of 1,469 parameters alone */
    c = genreg_create(&o);
    m = wide_net(c);
    out = (genreg_real *)malloc((size_t)m->theta->size * sizeof *out);
    for (n = 1; n <= WIDE_N; n += 105) {
        d = wide_set(c, n);
        f = genreg_model_objective(m, &d, GENREG_CROSS_ENTROPY);
        CHECK(!genreg_hessian_open(&f), "%d samples in 20,000 bytes", n);
        message = genreg_error_message(c);
        CHECK(strstr(message, "bytes") && strstr(message, "20000"), "the message says what is allowed: %s", message);
        {
            const char *needs = strstr(message, "needs ");
            CHECK(needs && atol(needs + 6) > 20000, "and what is needed: %s", message);
        }
        CHECK_ERROR(c, GENREG_ERROR_LIMIT, "memory");
        CHECK(genreg_tape_bytes(c) == 0, "nothing is left on the tape: %ld", (long)genreg_tape_bytes(c));
    }
    genreg_destroy(c);
    o.memory = 4000; /* not even the forward pass of one sample */
    c = genreg_create(&o);
    m = wide_net(c);
    d = wide_set(c, WIDE_N);
    f = genreg_model_objective(m, &d, GENREG_CROSS_ENTROPY);
    CHECK(genreg_objective_gradient(&f, out) != genreg_objective_gradient(&f, out), "NaN after an error");
    CHECK_ERROR(c, GENREG_ERROR_LIMIT, "4000");
    CHECK(genreg_hessian_top(m, &d, NULL).value != 0 && genreg_error(c) == GENREG_ERROR_LIMIT, "%s", genreg_error_message(c));
    genreg_clear_error(c);
    CHECK(genreg_tape_bytes(c) == 0 && genreg_scalar(c, 1) != NULL, "and the context goes on");
    free(out);
    genreg_destroy(c);
}

/* ------------------------------------------------------------------------------------------------ the tape, threads, instruction sets */

static void test_nesting(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_model *m = wide_net(c), *other = small_net(c, 0);
    genreg_dataset d = wide_set(c, 40), e = small_set(c, SAMPLES);
    genreg_objective f = genreg_model_objective(m, &d, GENREG_CROSS_ENTROPY), g = genreg_model_objective(other, &e, GENREG_MSE);
    ptrdiff_t n = m->theta->size, k = other->theta->size, i;
    genreg_real *v = (genreg_real *)malloc((size_t)n * sizeof *v), *first = (genreg_real *)malloc((size_t)n * sizeof *v), *again = (genreg_real *)malloc((size_t)n * sizeof *v), small[MOST], small_again[MOST];
    genreg_hessian *a, *b;
    genreg_place outside = genreg_mark(c), p;
    size_t bytes = genreg_tape_bytes(c), open_bytes;
    genreg_tensor *mine;
    const int shape[1] = { 1000 };
    genreg_eigen r, s;
    for (i = 0; i < n; i++) v[i] = (genreg_real)wild((unsigned)i);
    a = genreg_hessian_open(&f);
    open_bytes = genreg_tape_bytes(c);
    CHECK(open_bytes > bytes, "the gradient is kept on the tape");
    genreg_hessian_product(a, v, first);
    CHECK(genreg_tape_bytes(c) == open_bytes, "a product leaves nothing");
    b = genreg_hessian_open(&g); /* a second one on top of the first */
    genreg_hessian_product(b, v, small);
    genreg_hessian_product(a, v, again);
    CHECK(!memcmp(first, again, (size_t)n * sizeof *first), "products of two open Hessians do not disturb each other");
    p = genreg_mark(c); /* work of the user's own in between, released before closing */
    mine = genreg_full(c, 1, shape, 3);
    genreg_hessian_product(b, v, small_again);
    CHECK(!memcmp(small, small_again, (size_t)k * sizeof *small), "nor does other work");
    CHECK(mine && mine->data[0] == 3 && mine->data[999] == 3, "which is not disturbed either");
    genreg_release(c, p);
    genreg_hessian_close(b);
    CHECK(genreg_tape_bytes(c) == open_bytes, "closing frees what opening took");
    genreg_hessian_product(a, v, again);
    CHECK(!memcmp(first, again, (size_t)n * sizeof *first), "and the outer one goes on");
    r = genreg_top_eigen(a, NULL);
    genreg_hessian_close(a);
    CHECK(genreg_tape_bytes(c) == bytes && genreg_mark(c).nodes == outside.nodes && genreg_mark(c).bytes == outside.bytes, "the tape is as it was");
    s = genreg_hessian_top(m, &d, NULL);
    CHECK(r.value == s.value && r.residual == s.residual && r.iterations == s.iterations && genreg_tape_bytes(c) == bytes, "the short form does the same");

    /* The gradient that is kept is that of the parameters at opening; a new Hessian sees new ones. */
    for (i = 0; i < n; i++) m->theta->data[i] *= (genreg_real)1.5;
    a = genreg_hessian_open(&f);
    genreg_hessian_product(a, v, again);
    CHECK(check_distance(again, first, n) > 1e-2, "other parameters, another Hessian");
    genreg_hessian_close(a);
    genreg_hessian_close(NULL);
    CHECK(genreg_error(c) == GENREG_OK, "%s", genreg_error_message(c));
    free(v);
    free(first);
    free(again);
    genreg_destroy(c);
}

/* Looking changes nothing: not the parameters, not a run in progress, not the tape. */
static void test_no_trace_left(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_dataset d = wide_set(c, WIDE_N);
    genreg_model *watched = wide_net(c), *alone = wide_net(c);
    genreg_train_options o = genreg_train_defaults();
    genreg_trainer *t, *u;
    size_t bytes = (size_t)watched->theta->size * sizeof(genreg_real);
    genreg_real *before = (genreg_real *)malloc(bytes);
    size_t tape;
    int i;
    o.epochs = 3;
    o.batch = 50;
    t = genreg_trainer_create(watched, &d, &o);
    u = genreg_trainer_create(alone, &d, &o);
    tape = genreg_tape_bytes(c);
    for (i = 0; i < 15; i++) {
        genreg_progress p, q;
        genreg_trainer_step(t);
        genreg_trainer_step(u);
        if (i % 4 == 1) {
            genreg_objective f = genreg_model_objective(watched, &d, GENREG_CROSS_ENTROPY);
            genreg_eigen e;
            p = genreg_trainer_progress(t);
            memcpy(before, watched->theta->data, bytes);
            genreg_objective_gradient(&f, NULL);
            e = genreg_hessian_top(watched, &d, NULL);
            CHECK(e.value > 0 && !memcmp(before, watched->theta->data, bytes), "the parameters stay");
            q = genreg_trainer_progress(t);
            CHECK(!memcmp(&p, &q, sizeof p) || (p.loss == q.loss && p.step == q.step && p.samples == q.samples), "the run stays");
            CHECK(genreg_tape_bytes(c) == tape, "the tape stays");
        }
    }
    CHECK(!memcmp(watched->theta->data, alone->theta->data, bytes), "a run that was looked at ends where one that was not ends");
    free(before);
    genreg_destroy(c);
}

static void test_evaluation_mode(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    const int shape[1] = { IN };
    genreg_model *m = genreg_model_create(c, 1, shape), *plain = genreg_model_create(c, 1, shape);
    genreg_dataset d = small_set(c, SAMPLES);
    genreg_eigen a, b;
    genreg_layer_linear(m, 6);
    genreg_layer_dropout(m, 0.7);
    genreg_layer_linear(m, OUT);
    genreg_layer_linear(plain, 6);
    genreg_layer_linear(plain, OUT);
    genreg_init(m, GENREG_INIT_HE, 1);
    genreg_init(plain, GENREG_INIT_HE, 1);
    a = genreg_hessian_top(m, &d, NULL);
    b = genreg_hessian_top(plain, &d, NULL);
    CHECK(a.value == b.value && a.value > 0 && a.converged, "%g and %g", a.value, b.value);
    genreg_destroy(c);
}

/* Large enough that work is shared out: 40,310 parameters, 130 samples; in one piece and in chunks. */
static void test_threads(void)
{
    enum { L_IN = 300, L_HIDDEN = 130, L_OUT = 10, L_N = 130 };
    static const int threads[] = { 1, 2, 8 };
    static genreg_real x[L_N * L_IN];
    static int y[L_N];
    const int shape[1] = { L_IN }, sizes[] = { L_IN, L_HIDDEN, L_OUT };
    int isa, i, small;
    size_t peak = 0;
    for (i = 0; i < L_N * L_IN; i++) x[i] = (genreg_real)wild((unsigned)i);
    for (i = 0; i < L_N; i++) y[i] = i % L_OUT;
    for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++)
        for (small = 0; small < 2; small++) {
            genreg_real *gradient[3], *product[3];
            genreg_eigen e[3];
            int chunk[3];
            ptrdiff_t n = 0;
            if (!genreg_isa_available((genreg_isa)isa) || (small && genreg_isa_available((genreg_isa)(isa + 1)) && isa < GENREG_ISA_AVX512)) continue; /* in chunks: the best one */
            for (i = 0; i < 3; i++) {
                genreg_options options = genreg_defaults();
                genreg_eigen_options o = genreg_eigen_defaults();
                genreg_ctx *c;
                genreg_dataset d;
                genreg_model *m;
                genreg_objective f;
                genreg_hessian *h;
                options.isa = (genreg_isa)isa;
                options.threads = threads[i];
                if (small) options.memory = peak - peak / 8;
                c = genreg_create(&options);
                d = genreg_dataset_reals(c, x, y, L_N, 1, shape, L_OUT);
                m = genreg_mlp(c, sizes, 3);
                n = m->theta->size;
                f = genreg_model_objective(m, &d, GENREG_CROSS_ENTROPY);
                gradient[i] = (genreg_real *)calloc((size_t)n, sizeof(genreg_real));
                product[i] = (genreg_real *)calloc((size_t)n, sizeof(genreg_real));
                genreg_objective_gradient(&f, gradient[i]);
                h = genreg_hessian_open(&f);
                chunk[i] = genreg_hessian_chunk(h);
                genreg_hessian_product(h, gradient[i], product[i]);
                o.iterations = 2;
                o.tol = 0;
                e[i] = genreg_top_eigen(h, &o);
                genreg_hessian_close(h);
                CHECK(genreg_error(c) == GENREG_OK && (chunk[i] < L_N) == small, "chunks of %d: %s", chunk[i], genreg_error_message(c));
                CHECK(!memcmp(gradient[0], gradient[i], (size_t)n * sizeof(genreg_real)) && !memcmp(product[0], product[i], (size_t)n * sizeof(genreg_real)) && e[0].value == e[i].value
                      && e[0].residual == e[i].residual && chunk[0] == chunk[i], "%s: %d threads give other bits than 1", genreg_isa_name(c), threads[i]);
                if (!small) peak = genreg_tape_peak(c);
                genreg_destroy(c);
            }
            CHECK(e[0].value != 0, "eigenvalue %g", e[0].value);
            for (i = 0; i < 3; i++) { free(gradient[i]); free(product[i]); }
        }
}

static void test_instruction_sets(void)
{
    genreg_ctx *plain = check_context(GENREG_ISA_PLAIN, 1);
    results want = compute(plain, WIDE_N, GENREG_CROSS_ENTROPY);
    int isa;
    for (isa = GENREG_ISA_BASELINE; isa <= GENREG_ISA_AVX512; isa++) {
        genreg_ctx *c;
        results r;
        if (!genreg_isa_available((genreg_isa)isa)) continue;
        c = check_context((genreg_isa)isa, 1);
        r = compute(c, WIDE_N, GENREG_CROSS_ENTROPY);
        compare(&r, &want, check_path_tolerance(), genreg_isa_name(c), isa);
        free_results(&r);
        genreg_destroy(c);
    }
    free_results(&want);
    genreg_destroy(plain);
}

/* ------------------------------------------------------------------------------------------------ callbacks, misuse */

typedef struct witness { int calls, samples, empty; } witness;

static genreg_tensor *watching(genreg_ctx *c, genreg_tensor *theta, const genreg_batch *b, void *user)
{
    witness *w = (witness *)user;
    const int column[2] = { IN, 1 };
    int i, bad = !b->x || b->x->shape[0] != b->n || b->classes != OUT;
    w->calls++;
    w->samples += b->n;
    for (i = 0; i < b->n && b->labels; i++) bad += b->labels[i] < 0 || b->labels[i] >= OUT;
    w->empty += bad;
    return genreg_mean(c, genreg_exp(c, genreg_matmul(c, b->x, genreg_reshape(c, theta, 2, column), 0, 0)), GENREG_ALL_AXES);
}
static genreg_tensor *no_scalar(genreg_ctx *c, genreg_tensor *theta, const genreg_batch *b, void *user) { (void)b; (void)user; return genreg_exp(c, theta); }
static genreg_tensor *nothing(genreg_ctx *c, genreg_tensor *theta, const genreg_batch *b, void *user) { (void)c; (void)theta; (void)b; (void)user; return NULL; }
static genreg_tensor *constant(genreg_ctx *c, genreg_tensor *theta, const genreg_batch *b, void *user) { (void)theta; (void)b; (void)user; return genreg_scalar(c, 3); }
static genreg_tensor *complaint(genreg_ctx *c, genreg_tensor *theta, const genreg_batch *b, void *user)
{
    (void)theta; (void)b; (void)user;
    genreg_set_error(c, GENREG_ERROR_ARGUMENT, "the user's own words");
    return NULL;
}

static void test_callbacks(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    const int shape[1] = { IN };
    genreg_real start[IN] = { 0.1, -0.2, 0.3, 0.4 }, g[IN], v[IN] = { 1, 1, 1, 1 };
    genreg_dataset d = small_set(c, SAMPLES);
    genreg_objective f, good;
    genreg_hessian *h;
    genreg_eigen_options o = genreg_eigen_defaults();
    genreg_eigen e;
    witness w;
    double loss, want = 0;
    int i, k, samples;
    f = good = objective(c, genreg_variable(c, 1, shape, start), watching, &w, &d);
    memset(&w, 0, sizeof w);
    loss = genreg_objective_gradient(&f, g);
    for (i = 0; i < SAMPLES; i++) {
        double s = 0;
        for (k = 0; k < IN; k++) s += (double)d.reals[i * IN + k] * (double)start[k];
        want += exp(s) / SAMPLES;
    }
    CHECK(fabs(loss - want) < (DOUBLE ? 1e-14 : 1e-6) && w.calls > 0 && w.empty == 0 && w.samples >= SAMPLES, "loss %.15g of %.15g; %d calls, %d samples", loss, want, w.calls, w.samples);
    h = genreg_hessian_open(&f);
    samples = w.samples;
    genreg_hessian_product(h, v, g);
    CHECK(w.samples == samples, "a kept gradient is not computed again");
    e = genreg_top_eigen(h, NULL);
    CHECK(e.value > 0 && e.converged, "%g", e.value);

    /* An error between two products, and after it. */
    genreg_set_error(c, GENREG_ERROR_ARGUMENT, "stop");
    CHECK(!genreg_hessian_product(h, v, g) && genreg_top_eigen(h, NULL).value != 0 && !genreg_hessian_open(&f), "nothing happens after an error");
    genreg_clear_error(c);
    CHECK(genreg_hessian_product(h, v, g) && genreg_top_eigen(h, NULL).value == e.value, "and all is there when it is cleared");
    for (k = 0; k < 4; k++) {
        o = genreg_eigen_defaults();
        if (k < 2) o.iterations = -k;
        else o.tol = k == 2 ? -1e-3 : (double)NAN;
        e = genreg_top_eigen(h, &o);
        CHECK(e.value != e.value && !e.converged, "no figures after an error");
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "with tolerance");
    }
    genreg_hessian_close(h);

    f.loss = no_scalar;
    CHECK(!genreg_hessian_open(&f), "a loss that is no scalar");
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "objective: the loss is [4] and must be a scalar");
    f.loss = complaint;
    CHECK(!genreg_hessian_open(&f), "a callback with an error");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "the user's own words");
    f.loss = nothing;
    for (k = 0; k < 2; k++) { /* with and without a set */
        f.data = k ? NULL : &d;
        CHECK(!genreg_hessian_open(&f), "a callback that returns NULL");
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "objective");
        loss = genreg_objective_gradient(&f, g);
        CHECK(loss != loss, "a callback that returns NULL: %g", loss);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "objective");
    }
    f.loss = constant;
    CHECK(!genreg_hessian_open(&f), "a loss without theta");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "constants");
    f = good;
    f.theta = genreg_constant(c, 1, shape, start);
    CHECK(!genreg_hessian_open(&f), "a theta that is no variable");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "hessian_open");
    f = good;
    f.loss = NULL;
    genreg_objective_gradient(&f, g);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "objective_gradient");
    f = good;
    memset(&d, 0, sizeof d);
    genreg_objective_gradient(&f, g);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "empty");
    genreg_hessian_open(&f);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "empty");

    CHECK(!genreg_hessian_open(NULL) && !genreg_hessian_product(NULL, v, g) && genreg_hessian_chunk(NULL) == 0 && genreg_hessian_loss(NULL) != 0, "NULL");
    e = genreg_top_eigen(NULL, NULL);
    CHECK(e.value != e.value && !e.converged, "NULL");
    e = genreg_hessian_top(NULL, NULL, NULL);
    CHECK(e.value != e.value, "NULL");
    loss = genreg_objective_gradient(NULL, g);
    CHECK(loss != loss && genreg_error(c) == GENREG_OK && genreg_tape_bytes(c) > 0, "NULL");
    genreg_destroy(c);
}

int main(void)
{
    test_small_nets();
    test_quadratics();
    test_tie();
    test_linear_loss();
    test_chunks();
    test_uneven_cost();
    test_too_little_memory();
    test_nesting();
    test_no_trace_left();
    test_evaluation_mode();
    test_threads();
    test_instruction_sets();
    test_callbacks();
    return check_done();
}
