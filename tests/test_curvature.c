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
static void hessian_by_differences(const genreg_objective *f, double step, double h[MOST][MOST])
{
    int n = (int)f->theta->size, i, k;
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
        hessian_by_differences(f, 1e-4, differences);
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
    e = genreg_hessian_eigen(h, &o);
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
    o.which = GENREG_EIGEN_LARGEST_MAGNITUDE;
    e = genreg_hessian_eigen(h, &o);
    CHECK(e.converged && fabs(e.value - magnitude) < (DOUBLE ? 1e-10 : 1e-4) * fabs(magnitude), "%s: of largest magnitude: %.15g of %.15g", name, e.value, magnitude);

    /* Cut off early, an answer is as far from an eigenvalue as its residual says at most, and no more than it says is claimed. */
    o.vector = vector;
    o.tol = 1e-3;
    for (trial = 1; trial < 12; trial += 2) {
        double nearest = HUGE_VAL;
        o.iterations = trial;
        e = genreg_hessian_eigen(h, &o);
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
            f = genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
            compare_with_explicit(&f, relu ? "cross-entropy, relu" : "cross-entropy, tanh", !relu);
            f = genreg_model_objective(m, &d, GENREG_LOSS_MSE);
            compare_with_explicit(&f, relu ? "squares, relu" : "squares, tanh", !relu);
            user[0] = m;
            user[1] = &weight;
            f = objective(c, m->theta, own_loss, user, &d);
            compare_with_explicit(&f, relu ? "own loss, relu" : "own loss, tanh", !relu);
            d = small_set(c, 1); /* one sample */
            f = genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
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
        e = genreg_hessian_eigen(h, &o);
        CHECK(e.converged && fabs(e.value - largest) < 20 * tolerance * fabs(magnitude), "%s: the largest is %.15g of %g after %d products", forms[form].name, e.value, largest, e.iterations);
        for (i = 0, cosine = 0; i < ORDER; i++) cosine += q[i][ORDER - 1] * (double)vector[i];
        CHECK(form == 4 || fabs(fabs(cosine) - 1) < (DOUBLE ? 1e-12 : 1e-5), "%s: its vector: %g", forms[form].name, cosine);
        for (i = 0, away = 0; i < ORDER; i++) away += (double)vector[i] * (double)vector[i];
        CHECK(fabs(away - 1) < 10 * tolerance, "%s: a unit vector, %.15g", forms[form].name, away);
        o.which = GENREG_EIGEN_LARGEST_MAGNITUDE;
        e = genreg_hessian_eigen(h, &o);
        CHECK(e.converged && fabs(e.value - magnitude) < 20 * tolerance * fabs(magnitude), "%s: of largest magnitude is %.15g of %g", forms[form].name, e.value, magnitude);
        for (i = 0, cosine = 0; i < ORDER; i++) cosine += q[i][magnitude < 0 ? 0 : ORDER - 1] * (double)vector[i];
        CHECK(form == 4 || fabs(fabs(cosine) - 1) < (DOUBLE ? 1e-12 : 1e-5), "%s: its vector: %g", forms[form].name, cosine);

        /* tol 0 runs all the products that are allowed: twice as many where a second run must find the largest. */
        o.tol = 0;
        o.iterations = 17;
        e = genreg_hessian_eigen(h, &o);
        CHECK(e.iterations == 17 || form == 4, "%s: %d products", forms[form].name, e.iterations); /* (where every vector is an eigenvector there is nothing to do) */
        CHECK(e.converged == (e.residual == 0), "%s: converged at residual %g with tolerance 0", forms[form].name, e.residual);
        o.which = GENREG_EIGEN_LARGEST;
        e = genreg_hessian_eigen(h, &o);
        CHECK(e.iterations == (form == 1 || form == 3 ? 34 : 17) || form == 4, "%s: %d products", forms[form].name, e.iterations);
        CHECK(e.value <= largest + 20 * tolerance * fabs(magnitude) && (form != 3 || e.value > smallest), "%s: a Rayleigh quotient is an eigenvalue at most: %g", forms[form].name, e.value);

        o.tol = 1e-12; /* beyond what 5 products reach */
        o.iterations = 5;
        e = genreg_hessian_eigen(h, &o);
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
    o.which = GENREG_EIGEN_LARGEST_MAGNITUDE;
    e = genreg_hessian_eigen(h, &o);
    CHECK(!e.converged && e.iterations == 100 && e.residual > 0.05, "value %g, residual %g", e.value, e.residual);
    o.which = GENREG_EIGEN_LARGEST;
    o.seed = 1;
    e = genreg_hessian_eigen(h, &o);
    CHECK(!e.converged || fabs(e.value - 5) < 0.01, "value %g, residual %g", e.value, e.residual);
    same = genreg_hessian_eigen(h, &o);
    CHECK(same.value == e.value && same.residual == e.residual && same.iterations == e.iterations, "the same seed, the same bits");
    o.which = GENREG_EIGEN_LARGEST_MAGNITUDE;
    o.iterations = 1;
    e = genreg_hessian_eigen(h, &o);
    o.seed = 2;
    other = genreg_hessian_eigen(h, &o);
    CHECK(other.value != e.value && e.iterations == 1, "another seed starts elsewhere");
    o = genreg_eigen_defaults();
    CHECK(o.iterations == 100 && o.tol == 1e-3 && o.seed == 0 && o.which == GENREG_EIGEN_LARGEST && !o.vector, "defaults");
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
        e = genreg_hessian_eigen(h, NULL);
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

typedef struct results { genreg_real *gradient, *product, *gauss_newton; double loss, opened_loss, value, residual; int chunk, iterations; ptrdiff_t n; } results;

static void free_results(results *r)
{
    free(r->gradient);
    free(r->product);
    free(r->gauss_newton);
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
    r.gauss_newton = (genreg_real *)calloc((size_t)r.n, sizeof *r.gauss_newton);
    v = (genreg_real *)malloc((size_t)r.n * sizeof *v);
    for (i = 0; i < r.n; i++) v[i] = (genreg_real)wild((unsigned)i);
    r.loss = genreg_objective_gradient(&f, r.gradient);
    h = genreg_gauss_newton_open(&f);
    genreg_hessian_product(h, v, r.gauss_newton);
    genreg_hessian_close(h);
    h = genreg_hessian_open(&f);
    memset(&d, 0xff, sizeof d); /* the set's struct may go while the Hessian is open */
    genreg_hessian_product(h, v, r.product);
    r.opened_loss = genreg_hessian_loss(h);
    r.chunk = genreg_hessian_chunk(h);
    o.tol = 0;
    o.iterations = 6;
    e = genreg_hessian_eigen(h, &o);
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
    CHECK(check_distance(a->gauss_newton, b->gauss_newton, a->n) <= tolerance, "%s %d: Gauss-Newton products differ by %g", what, of, check_distance(a->gauss_newton, b->gauss_newton, a->n));
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
    genreg_objective f = genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
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
        f = genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
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
    f = genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
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
    genreg_objective f = genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY), g = genreg_model_objective(other, &e, GENREG_LOSS_MSE);
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
    r = genreg_hessian_eigen(a, NULL);
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
            genreg_objective f = genreg_model_objective(watched, &d, GENREG_LOSS_CROSS_ENTROPY);
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
                f = genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
                gradient[i] = (genreg_real *)calloc((size_t)n, sizeof(genreg_real));
                product[i] = (genreg_real *)calloc((size_t)n, sizeof(genreg_real));
                genreg_objective_gradient(&f, gradient[i]);
                h = genreg_hessian_open(&f);
                chunk[i] = genreg_hessian_chunk(h);
                genreg_hessian_product(h, gradient[i], product[i]);
                o.iterations = 2;
                o.tol = 0;
                e[i] = genreg_hessian_eigen(h, &o);
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
    results want = compute(plain, WIDE_N, GENREG_LOSS_CROSS_ENTROPY);
    int isa;
    for (isa = GENREG_ISA_BASELINE; isa <= GENREG_ISA_AVX512; isa++) {
        genreg_ctx *c;
        results r;
        if (!genreg_isa_available((genreg_isa)isa)) continue;
        c = check_context((genreg_isa)isa, 1);
        r = compute(c, WIDE_N, GENREG_LOSS_CROSS_ENTROPY);
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
    e = genreg_hessian_eigen(h, NULL);
    CHECK(e.value > 0 && e.converged, "%g", e.value);

    /* An error between two products, and after it. */
    genreg_set_error(c, GENREG_ERROR_ARGUMENT, "stop");
    CHECK(!genreg_hessian_product(h, v, g) && genreg_hessian_eigen(h, NULL).value != 0 && !genreg_hessian_open(&f), "nothing happens after an error");
    genreg_clear_error(c);
    CHECK(genreg_hessian_product(h, v, g) && genreg_hessian_eigen(h, NULL).value == e.value, "and all is there when it is cleared");
    for (k = 0; k < 4; k++) {
        o = genreg_eigen_defaults();
        if (k < 2) o.iterations = -k;
        else o.tol = k == 2 ? -1e-3 : (double)NAN;
        e = genreg_hessian_eigen(h, &o);
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
    e = genreg_hessian_eigen(NULL, NULL);
    CHECK(e.value != e.value && !e.converged, "NULL");
    e = genreg_hessian_top(NULL, NULL, NULL);
    CHECK(e.value != e.value, "NULL");
    loss = genreg_objective_gradient(NULL, g);
    CHECK(loss != loss && genreg_error(c) == GENREG_OK && genreg_tape_bytes(c) > 0, "NULL");
    genreg_destroy(c);
}

/* ------------------------------------------------------------------------------------------------ Gauss-Newton */

/* J^T L'' J by the definition: J row by row, L'' by its formula. */
static void gauss_newton_by_definition(genreg_model *m, const genreg_dataset *d, genreg_loss loss, double g[MOST][MOST])
{
    static double jacobian[SAMPLES * OUT][MOST], second[OUT][OUT];
    genreg_ctx *c = m->ctx;
    genreg_place place = genreg_mark(c);
    genreg_batch b = genreg_get_batch(c, d, NULL, 0, d->n);
    genreg_tensor *y = genreg_forward(m, m->theta, b.x, NULL), *row, *unit;
    int n = (int)m->theta->size, i, k, r, o, q;
    memset(g, 0, MOST * MOST * sizeof(double));
    for (r = 0; y && r < d->n * OUT; r++) {
        unit = genreg_constant(c, 2, y->shape, NULL);
        unit->data[r] = 1;
        if (!genreg_grad(c, y, unit, &m->theta, 1, &row)) break;
        for (i = 0; i < n; i++) jacobian[r][i] = (double)row->data[i];
    }
    for (r = 0; y && r < d->n; r++) {
        double p[OUT], z = 0;
        for (o = 0; o < OUT; o++) z += p[o] = exp((double)y->data[r * OUT + o]);
        for (o = 0; o < OUT; o++)
            for (q = 0; q < OUT; q++)
                second[o][q] = loss == GENREG_LOSS_MSE ? (o == q ? 2.0 / (d->n * OUT) : 0) : ((o == q ? p[o] / z : 0) - p[o] * p[q] / (z * z)) / d->n;
        for (o = 0; o < OUT; o++)
            for (q = 0; q < OUT; q++)
                for (i = 0; i < n; i++)
                    for (k = 0; k < n; k++) g[i][k] += jacobian[r * OUT + o][i] * second[o][q] * jacobian[r * OUT + q][k];
    }
    CHECK(genreg_error(c) == GENREG_OK, "the definition: %s", genreg_error_message(c));
    genreg_release(c, place);
}

static void test_gauss_newton(void)
{
    static double g[MOST][MOST], h[MOST][MOST], vectors[MOST][MOST];
    int isa, relu, loss, i, k, trial;
    for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++)
        for (relu = 0; relu < 2; relu++)
            for (loss = 0; loss < 2; loss++) {
                genreg_ctx *c;
                genreg_model *m;
                genreg_dataset d;
                genreg_objective f;
                genreg_hessian *map;
                genreg_real v[MOST], out[MOST];
                genreg_eigen_options o = genreg_eigen_defaults();
                genreg_eigen e;
                double value[MOST];
                int n;
                if (!genreg_isa_available((genreg_isa)isa)) continue;
                c = check_context((genreg_isa)isa, 1);
                m = small_net(c, relu);
                n = (int)m->theta->size;
                d = small_set(c, SAMPLES);
                f = genreg_model_objective(m, &d, (genreg_loss)loss);
                gauss_newton_by_definition(m, &d, (genreg_loss)loss, g);
                hessian_by_sweeps(&f, h);
                CHECK(matrix_distance(n, g, h) > 1e-2, "it is not the Hessian: %g", matrix_distance(n, g, h));
                map = genreg_gauss_newton_open(&f);
                CHECK(map && fabs(genreg_hessian_loss(map) - genreg_objective_gradient(&f, NULL)) < check_path_tolerance(), "%s", genreg_error_message(c));
                for (trial = 0; trial < 3; trial++) {
                    double away = 0, size = 0;
                    for (i = 0; i < n; i++) v[i] = (genreg_real)wild((unsigned)(70 * trial + i));
                    CHECK(genreg_hessian_product(map, v, out), "%s", genreg_error_message(c));
                    for (i = 0; i < n; i++) {
                        double want = 0;
                        for (k = 0; k < n; k++) want += g[i][k] * (double)v[k];
                        away += (want - (double)out[i]) * (want - (double)out[i]);
                        size += want * want;
                    }
                    CHECK(sqrt(away / size) < (DOUBLE ? 1e-12 : 1e-5), "%s: G v is off by %g", genreg_isa_name(c), sqrt(away / size));
                }
                jacobi(n, g, value, vectors);
                CHECK(value[0] > -1e-6 * value[n - 1], "no negative eigenvalue: %g", value[0]);
                o.iterations = 5000;
                o.tol = DOUBLE ? 1e-8 : 1e-4;
                e = genreg_hessian_eigen(map, &o);
                CHECK(e.converged && fabs(e.value - value[n - 1]) < (DOUBLE ? 1e-10 : 1e-4) * value[n - 1], "top eigenvalue %.12g of %.12g", e.value, value[n - 1]);
                genreg_hessian_close(map);
                genreg_destroy(c);
            }
    { /* of a model that is linear in its parameters it is the Hessian */
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
        const int sizes[] = { IN, OUT };
        genreg_model *m = genreg_mlp(c, sizes, 2);
        genreg_dataset d = small_set(c, SAMPLES);
        genreg_objective f = genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
        gauss_newton_by_definition(m, &d, GENREG_LOSS_CROSS_ENTROPY, g);
        hessian_by_sweeps(&f, h);
        CHECK(matrix_distance((int)m->theta->size, g, h) < (DOUBLE ? 1e-13 : 1e-5), "%g", matrix_distance((int)m->theta->size, g, h));
        f.outputs = NULL;
        f.loss = own_loss;
        CHECK(!genreg_gauss_newton_open(&f), "a loss in one piece");
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "gauss_newton_open");
        CHECK(!genreg_gauss_newton_open(NULL), "NULL");
        genreg_destroy(c);
    }
}

/* ------------------------------------------------------------------------------------------------ restriction, several eigenvalues, density, trace */

static void test_restriction(void)
{
    static double h[MOST][MOST], inner[MOST][MOST], vectors[MOST][MOST];
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_model *m = small_net(c, 0);
    genreg_dataset d = small_set(c, SAMPLES);
    genreg_objective f = genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
    genreg_hessian *map = genreg_hessian_open(&f);
    genreg_parameter chosen[2], wrong;
    genreg_real v[MOST], out[MOST], vector[MOST];
    genreg_eigen_options o = genreg_eigen_defaults();
    genreg_eigen e, pairs[3];
    int n = (int)m->theta->size, i, k, inside[MOST] = { 0 }, place[MOST], count = 0;
    double value[MOST], worst = 0, scale = 0;
    hessian_by_sweeps(&f, h);
    chosen[0] = m->parameters[1]; /* the first biases and the second weight: two ranges, not all */
    chosen[1] = m->parameters[2];
    CHECK(genreg_hessian_restrict(map, chosen, 2), "%s", genreg_error_message(c));
    for (k = 0; k < 2; k++)
        for (i = 0; i < chosen[k].size; i++) inside[chosen[k].offset + i] = 1;
    for (i = 0; i < n; i++) {
        v[i] = (genreg_real)wild((unsigned)i);
        if (inside[i]) place[count++] = i;
    }
    genreg_hessian_product(map, v, out);
    for (i = 0; i < n; i++) {
        double want = 0;
        for (k = 0; k < n; k++) want += inside[i] && inside[k] ? h[i][k] * (double)v[k] : 0;
        worst = fabs(want - (double)out[i]) > worst ? fabs(want - (double)out[i]) : worst;
        scale = fabs(want) > scale ? fabs(want) : scale;
        CHECK(inside[i] || out[i] == 0, "coordinate %d is held fixed", i);
    }
    CHECK(worst < (DOUBLE ? 1e-13 : 1e-5) * scale, "off by %g", worst / scale);
    CHECK(v[0] == (genreg_real)wild(0), "the vector is only read");
    for (i = 0; i < count; i++)
        for (k = 0; k < count; k++) inner[i][k] = (h[place[i]][place[k]] + h[place[k]][place[i]]) / 2;
    jacobi(count, inner, value, vectors);
    o.iterations = 5000;
    o.tol = DOUBLE ? 1e-9 : 1e-4;
    o.vector = vector;
    e = genreg_hessian_eigen(map, &o);
    CHECK(e.converged && fabs(e.value - value[count - 1]) < (DOUBLE ? 1e-10 : 1e-4) * value[count - 1], "top eigenvalue %.12g of %.12g", e.value, value[count - 1]);
    for (i = 0; i < n; i++) CHECK(inside[i] || vector[i] == 0, "its vector has nothing outside");
    CHECK(genreg_hessian_eigenpairs(map, 2, 1, &o, pairs, NULL) && fabs(pairs[1].value - value[count - 2]) < (DOUBLE ? 1e-10 : 1e-4) * value[count - 1]
          && fabs(pairs[2].value - value[0]) < (DOUBLE ? 1e-10 : 1e-4) * value[count - 1], "%.12g of %.12g, %.12g of %.12g", pairs[1].value, value[count - 2], pairs[2].value, value[0]);
    CHECK(genreg_hessian_restrict(map, m->parameters, m->parameter_count) && genreg_hessian_product(map, v, out), "to everything");
    for (i = 0, worst = 0; i < n; i++) {
        double want = 0;
        for (k = 0; k < n; k++) want += h[i][k] * (double)v[k];
        worst = fabs(want - (double)out[i]) > worst ? fabs(want - (double)out[i]) : worst;
    }
    CHECK(worst < (DOUBLE ? 1e-12 : 1e-5), "which is no restriction: off by %g", worst);
    CHECK(!genreg_hessian_restrict(map, chosen, 0), "to nothing");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "hessian_restrict");
    CHECK(!genreg_hessian_restrict(map, NULL, 1), "to a list that is missing");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "hessian_restrict: no parameters");
    CHECK(!genreg_hessian_product(map, NULL, out), "of no vector");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "hessian_product");
    CHECK(!genreg_hessian_product(map, v, NULL), "into nothing");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "hessian_product");
    wrong = chosen[0];
    wrong.offset = n - 1;
    CHECK(!genreg_hessian_restrict(map, &wrong, 1), "beyond the end");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "hessian_restrict");
    wrong.offset = -1;
    CHECK(!genreg_hessian_restrict(map, &wrong, 1) && !genreg_hessian_restrict(NULL, chosen, 1), "before the start");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "hessian_restrict");
    genreg_hessian_close(map);
    genreg_destroy(c);
}

static void test_eigenpairs(void)
{
    static double h[MOST][MOST], work[MOST][MOST], vectors[MOST][MOST];
    static genreg_real found[MOST * MOST];
    int net;
    for (net = 0; net < 2; net++) {
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
        genreg_model *m = small_net(c, net);
        genreg_dataset d = small_set(c, SAMPLES);
        genreg_objective f = genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
        genreg_hessian *map = genreg_hessian_open(&f);
        genreg_eigen_options o = genreg_eigen_defaults();
        genreg_eigen pairs[MOST];
        int n = (int)m->theta->size, i, k, l;
        double value[MOST], tolerance = DOUBLE ? 1e-10 : 1e-4;
        hessian_by_sweeps(&f, h);
        for (i = 0; i < n; i++)
            for (k = 0; k < n; k++) work[i][k] = (h[i][k] + h[k][i]) / 2;
        jacobi(n, work, value, vectors);
        o.tol = DOUBLE ? 1e-8 : 1e-3;
        CHECK(genreg_hessian_eigenpairs(map, 4, 3, &o, pairs, found), "%s", genreg_error_message(c));
        for (i = 0; i < 7; i++) {
            double want = i < 4 ? value[n - 1 - i] : value[i - 4], dot;
            const genreg_real *v = found + i * n;
            CHECK(fabs(pairs[i].value - want) < tolerance * value[n - 1], "pair %d: %.12g of %.12g", i, pairs[i].value, want);
            CHECK(pairs[i].converged == (pairs[i].residual <= o.tol) && pairs[i].iterations <= n, "pair %d: residual %g after %d products", i, pairs[i].residual, pairs[i].iterations);
            CHECK(fabs(true_residual(n, h, v, pairs[i].value) - pairs[i].residual) * fabs(pairs[i].value) < (DOUBLE ? 1e-9 : 1e-4) * value[n - 1], "pair %d: residual %g, recomputed %g", i, pairs[i].residual,
                  true_residual(n, h, v, pairs[i].value));
            for (k = 0; k <= i; k++) {
                for (l = 0, dot = 0; l < n; l++) dot += (double)v[l] * (double)found[k * n + l];
                CHECK(fabs(dot - (i == k)) < (DOUBLE ? 1e-10 : 1e-4), "vectors %d and %d: %g", i, k, dot);
            }
        }
        CHECK(pairs[0].converged, "the largest has converged");
        CHECK(genreg_hessian_eigenpairs(map, 1, 0, &o, pairs, NULL) && fabs(pairs[0].value - value[n - 1]) < tolerance * value[n - 1], "one, without its vector");
        CHECK(genreg_hessian_eigenpairs(map, 0, 1, &o, pairs, found) && fabs(pairs[0].value - value[0]) < tolerance * value[n - 1], "the smallest alone");
        o.iterations = 6; /* cut off: honest about it */
        o.tol = 1e-12;
        CHECK(genreg_hessian_eigenpairs(map, 3, 0, &o, pairs, found), "%s", genreg_error_message(c));
        for (i = 0; i < 3; i++) {
            double nearest = HUGE_VAL;
            for (k = 0; k < n; k++) nearest = fabs(value[k] - pairs[i].value) < nearest ? fabs(value[k] - pairs[i].value) : nearest;
            CHECK(pairs[i].iterations == 6 && !pairs[i].converged && nearest <= pairs[i].residual * fabs(pairs[i].value) + (DOUBLE ? 1e-12 : 1e-5), "after 6 products: %g away, residual %g", nearest, pairs[i].residual);
            CHECK(fabs(true_residual(n, h, found + i * n, pairs[i].value) / pairs[i].residual - 1) < (DOUBLE ? 1e-6 : 1e-2), "residual %g, recomputed %g", pairs[i].residual, true_residual(n, h, found + i * n, pairs[i].value));
        }
        CHECK(!genreg_hessian_eigenpairs(map, 7, 0, &o, pairs, NULL), "more pairs than products");
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "eigenpairs");
        o.iterations = 100;
        CHECK(!genreg_hessian_eigenpairs(map, n, 1, &o, pairs, NULL), "more pairs than parameters");
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "eigenpairs");
        CHECK(!genreg_hessian_eigenpairs(map, 0, 0, &o, pairs, NULL), "none");
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "eigenpairs");
        CHECK(!genreg_hessian_eigenpairs(map, -1, 2, &o, pairs, NULL), "-1");
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "eigenpairs");
        CHECK(!genreg_hessian_eigenpairs(map, 1, 1, &o, NULL, NULL), "no room");
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "room");
        CHECK(!genreg_hessian_eigenpairs(NULL, 1, 1, &o, pairs, NULL), "NULL");
        genreg_hessian_close(map);
        genreg_destroy(c);
    }
}

static genreg_objective quadratic_objective(genreg_ctx *c, const double *lambda, int diagonal, genreg_real *values, double a[ORDER][ORDER])
{
    double q[ORDER][ORDER];
    const int flat[1] = { ORDER };
    int i, k;
    with_eigenvalues(lambda, a, q);
    for (i = 0; i < ORDER; i++)
        for (k = 0; k < ORDER; k++) {
            if (diagonal) a[i][k] = i == k ? lambda[i] : 0;
            values[i * ORDER + k] = (genreg_real)a[i][k];
        }
    for (i = 0; i < ORDER; i++) values[ORDER * ORDER + i] = 0;
    return objective(c, genreg_variable(c, 1, flat, NULL), quadratic, values, NULL);
}

static void test_multiple_eigenvalue(void)
{
    static const double lambda[ORDER] = { -3, -3, 0, 0, 0, 0, 1, 1, 1, 5, 5, 7 };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_real values[ORDER * ORDER + ORDER];
    double a[ORDER][ORDER];
    genreg_objective f = quadratic_objective(c, lambda, 0, values, a);
    genreg_hessian *map = genreg_hessian_open(&f);
    genreg_eigen_options o = genreg_eigen_defaults();
    genreg_eigen pairs[8];
    o.tol = DOUBLE ? 1e-9 : 1e-4;
    CHECK(genreg_hessian_eigenpairs(map, 3, 1, &o, pairs, NULL), "%s", genreg_error_message(c));
    CHECK(fabs(pairs[0].value - 7) < 1e-4 && fabs(pairs[1].value - 5) < 1e-4 && (fabs(pairs[2].value - 1) < 1e-4 || fabs(pairs[2].value - 5) < 1e-4) && fabs(pairs[3].value + 3) < 1e-4,
          "7, 5, then 1 or the other 5, and -3: %g %g %g %g", pairs[0].value, pairs[1].value, pairs[2].value, pairs[3].value);
    genreg_hessian_close(map);
    genreg_destroy(c);
}

static void test_density(void)
{
    static double h[MOST][MOST], power[MOST][MOST], next[MOST][MOST], work[MOST][MOST], vectors[MOST][MOST];
    enum { PROBES = 60 };
    static double nodes[PROBES * MOST], weights[PROBES * MOST];
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_model *m = small_net(c, 0);
    genreg_dataset d = small_set(c, SAMPLES);
    genreg_objective f = genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
    genreg_hessian *map = genreg_hessian_open(&f);
    int n = (int)m->theta->size, i, k, l, moment, count;
    double value[MOST], sum = 0, low = 0, high = 0;
    hessian_by_sweeps(&f, h);
    memcpy(work, h, sizeof h);
    jacobi(n, work, value, vectors);
    count = genreg_hessian_density(map, PROBES, n, 3, nodes, weights);
    CHECK(count > PROBES && count <= PROBES * n, "%d nodes: %s", count, genreg_error_message(c));
    for (i = 0; i < count; i++) {
        sum += weights[i];
        low = nodes[i] < low ? nodes[i] : low;
        high = nodes[i] > high ? nodes[i] : high;
        CHECK(weights[i] >= 0, "weight %g", weights[i]);
    }
    CHECK(fabs(sum - 1) < (DOUBLE ? 1e-12 : 1e-5), "the weights add up to %.15g", sum);
    CHECK(fabs(low - value[0]) < (DOUBLE ? 1e-9 : 1e-4) * value[n - 1] && fabs(high - value[n - 1]) < (DOUBLE ? 1e-9 : 1e-4) * value[n - 1], "from %g to %g, eigenvalues from %g to %g", low, high, value[0], value[n - 1]);
    /* A probe of signs v gives v^T H^k v / n exactly; its mean over probes is trace(H^k)/n +- sqrt(2 (|H^k|^2 - sum of squared diagonal)/probes)/n. */
    memcpy(power, h, sizeof h);
    for (moment = 1; moment <= 3; moment++) {
        double trace = 0, off = 0, have = 0;
        for (i = 0; i < n; i++) {
            trace += power[i][i] / n;
            for (k = 0; k < n; k++) off += i == k ? 0 : power[i][k] * power[i][k];
        }
        for (i = 0; i < count; i++) have += weights[i] * (moment == 1 ? nodes[i] : moment == 2 ? nodes[i] * nodes[i] : nodes[i] * nodes[i] * nodes[i]);
        CHECK(fabs(have - trace) < 5 * sqrt(2 * off / PROBES) / n, "moment %d is %g, trace/n %g +- %g", moment, have, trace, sqrt(2 * off / PROBES) / n);
        for (i = 0; i < n; i++)
            for (k = 0; k < n; k++)
                for (l = 0, next[i][k] = 0; l < n; l++) next[i][k] += power[i][l] * h[l][k];
        memcpy(power, next, sizeof power);
    }
    count = genreg_hessian_density(map, 2, 5, 3, nodes, weights);
    for (i = 0, sum = 0; i < count; i++) sum += weights[i];
    CHECK(count == 10 && fabs(sum - 1) < (DOUBLE ? 1e-12 : 1e-5), "%d nodes, weights add up to %g", count, sum);
    CHECK(!genreg_hessian_density(map, 0, 5, 3, nodes, weights), "no probes");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "hessian_density");
    CHECK(!genreg_hessian_density(map, 1, 0, 3, nodes, weights), "no steps");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "hessian_density");
    CHECK(!genreg_hessian_density(map, 1, 1, 3, NULL, weights) && !genreg_hessian_density(NULL, 1, 1, 3, nodes, weights), "no room");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "hessian_density");
    genreg_hessian_close(map);
    genreg_destroy(c);
}

static void test_trace(void)
{
    static const double spread[ORDER] = { -4, -2, -1, 0, 0.5, 1, 1, 2, 3, 4, 5, 6 }, low_rank[ORDER] = { -2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 10 };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_real values[ORDER * ORDER + ORDER];
    double a[ORDER][ORDER], off = 0, mean = 0, square = 0;
    genreg_objective f = quadratic_objective(c, spread, 1, values, a);
    genreg_hessian *map = genreg_hessian_open(&f);
    genreg_estimate e, same;
    int i, k;
    e = genreg_hessian_trace(map, GENREG_TRACE_HUTCHINSON, 2, 1); /* signs squared are 1: a diagonal matrix has no error at all */
    CHECK(fabs(e.value - 15.5) < (DOUBLE ? 1e-12 : 1e-4) && e.standard_error < (DOUBLE ? 1e-12 : 1e-4) && e.products == 2, "%.15g +- %g", e.value, e.standard_error);
    genreg_hessian_close(map);

    f = quadratic_objective(c, spread, 0, values, a);
    map = genreg_hessian_open(&f);
    for (i = 0; i < ORDER; i++)
        for (k = 0; k < ORDER; k++) off += i == k ? 0 : a[i][k] * a[i][k];
    e = genreg_hessian_trace(map, GENREG_TRACE_HUTCHINSON, 900, 1);
    CHECK(fabs(e.standard_error / sqrt(2 * off / 900) - 1) < 0.15, "standard error %g of %g", e.standard_error, sqrt(2 * off / 900));
    CHECK(fabs(e.value - 15.5) < 5 * e.standard_error && e.products == 900, "%g +- %g", e.value, e.standard_error);
    same = genreg_hessian_trace(map, GENREG_TRACE_HUTCHINSON, 900, 1);
    CHECK(same.value == e.value && same.standard_error == e.standard_error && genreg_hessian_trace(map, GENREG_TRACE_HUTCHINSON, 900, 2).value != e.value, "the seed decides");
    for (k = 0; k < 200; k++) { /* over many seeds: no bias, and the errors it says */
        e = genreg_hessian_trace(map, GENREG_TRACE_HUTCHPP, 12, 100 + (uint64_t)k);
        mean += (e.value - 15.5) / 200;
        square += (e.value - 15.5) * (e.value - 15.5) / 200;
        CHECK(e.products <= 12, "%d products", e.products);
    }
    CHECK(fabs(mean) < 5 * sqrt(square / 200), "Hutch++ is off by %g +- %g on average", mean, sqrt(square / 200));
    CHECK(square < 2 * off / 12, "and better than as many probes of Hutchinson's: %g, %g", sqrt(square), sqrt(2 * off / 12));
    CHECK(fabs(genreg_hessian_trace(map, GENREG_TRACE_HUTCHPP, 36, 1).value - 15.5) < (DOUBLE ? 1e-10 : 1e-3), "with as many directions as there are it is exact");
    genreg_hessian_close(map);

    { /* two active rows, on which every other vector of signs is the first one again or its negative: the basis is complete all the same */
        static const double two[ORDER] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 10 };
        for (k = 0; k < 20; k++) {
            f = quadratic_objective(c, two, 1, values, a);
            values[(ORDER - 2) * ORDER + ORDER - 1] = values[(ORDER - 1) * ORDER + ORDER - 2] = 2;
            map = genreg_hessian_open(&f);
            e = genreg_hessian_trace(map, GENREG_TRACE_HUTCHPP, 36, (uint64_t)k);
            CHECK(fabs(e.value - 13) < (DOUBLE ? 1e-10 : 1e-3) && e.products == 12 + 2 + 12, "seed %d: %.12g +- %g after %d products", k, e.value, e.standard_error, e.products);
            genreg_hessian_close(map);
        }
    }
    f = quadratic_objective(c, low_rank, 0, values, a);
    map = genreg_hessian_open(&f);
    e = genreg_hessian_trace(map, GENREG_TRACE_HUTCHPP, 12, 1); /* four directions for a rank of three */
    CHECK(fabs(e.value - 11) < (DOUBLE ? 1e-10 : 1e-3) && e.standard_error < (DOUBLE ? 1e-10 : 1e-3), "rank 3: %.12g +- %g", e.value, e.standard_error);
    CHECK(genreg_hessian_trace(map, GENREG_TRACE_HUTCHINSON, 1, 1).products == 0, "one product has no standard error");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "hessian_trace");
    genreg_hessian_trace(map, (genreg_trace_method)5, 10, 1);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "hessian_trace");
    e = genreg_hessian_trace(NULL, GENREG_TRACE_HUTCHINSON, 10, 1);
    CHECK(e.value != e.value, "NULL");
    genreg_hessian_close(map);
    genreg_destroy(c);
}

/* ------------------------------------------------------------------------------------------------ perturbation, training mode */

static void test_perturbation(void)
{
    enum { DRAWS = 4 };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    const int shape[3] = { 6, 6, 2 };
    static genreg_real x[SAMPLES * 72];
    static int y[SAMPLES];
    genreg_model *m = genreg_model_create(c, 3, shape);
    genreg_dataset d;
    genreg_objective f;
    genreg_real *direction, *other, *gradient, *at, *before;
    genreg_score scores[DRAWS], want;
    ptrdiff_t n, i, k;
    int p, draw;
    double norm2 = 0, asam = 0, mean = 0, worst = 0;
    for (i = 0; i < SAMPLES * 72; i++) x[i] = (genreg_real)wild((unsigned)i);
    for (i = 0; i < SAMPLES; i++) y[i] = (int)(i * i % OUT);
    d = genreg_dataset_reals(c, x, y, SAMPLES, 3, shape, OUT);
    genreg_layer_conv2d(m, 5, 3, 1, 1);
    genreg_layer_batch_norm(m);
    genreg_layer_relu(m);
    genreg_layer_flatten(m);
    genreg_layer_linear(m, OUT);
    genreg_init(m, GENREG_INIT_HE, 1);
    n = m->theta->size;
    direction = (genreg_real *)malloc((size_t)n * sizeof *direction);
    other = (genreg_real *)malloc((size_t)n * sizeof *other);
    gradient = (genreg_real *)malloc((size_t)n * sizeof *gradient);
    at = (genreg_real *)malloc((size_t)n * sizeof *at);
    before = (genreg_real *)malloc((size_t)n * sizeof *before);
    memcpy(before, m->theta->data, (size_t)n * sizeof *before);

    CHECK(genreg_perturbation_direction(m, &d, GENREG_PERTURB_NORMAL, 7, direction), "%s", genreg_error_message(c));
    for (i = 0; i < n; i++) {
        mean += (double)direction[i] / (double)n;
        norm2 += (double)direction[i] * (double)direction[i] / (double)n;
    }
    CHECK(fabs(mean) < 5 / sqrt((double)n) && fabs(norm2 - 1) < 5 * sqrt(2 / (double)n), "normal: mean %g, variance %g", mean, norm2);
    CHECK(genreg_perturbation_direction(m, &d, GENREG_PERTURB_NORMAL, 7, other) && !memcmp(direction, other, (size_t)n * sizeof *other), "the same seed");
    CHECK(genreg_perturbation_direction(m, &d, GENREG_PERTURB_NORMAL, 8, other) && memcmp(direction, other, (size_t)n * sizeof *other), "another seed");

    CHECK(genreg_perturbation_direction(m, &d, GENREG_PERTURB_FILTER, 7, other), "%s", genreg_error_message(c));
    for (p = 0; p < m->parameter_count; p++) {
        const genreg_parameter *q = &m->parameters[p];
        ptrdiff_t units = q->shape[q->rank - 1];
        for (k = 0; k < units; k++) { /* each output's weights: as long as theirs, in the direction of the plain draw */
            double of_d = 0, of_w = 0, of_n = 0, dot = 0;
            for (i = k; i < q->size; i += units) {
                of_d += (double)other[q->offset + i] * (double)other[q->offset + i];
                of_w += (double)before[q->offset + i] * (double)before[q->offset + i];
                of_n += (double)direction[q->offset + i] * (double)direction[q->offset + i];
                dot += (double)other[q->offset + i] * (double)direction[q->offset + i];
            }
            if (q->kind != GENREG_KIND_WEIGHT) CHECK(of_d == 0, "%s stays", q->name);
            else CHECK(fabs(sqrt(of_d / of_w) - 1) < 1e-5 && fabs(dot / sqrt(of_d * of_n) - 1) < 1e-5, "%s, filter %ld: %g of %g", q->name, (long)k, sqrt(of_d), sqrt(of_w));
        }
    }

    f = genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
    genreg_objective_gradient(&f, gradient);
    for (i = 0, norm2 = 0; i < n; i++) {
        norm2 += (double)gradient[i] * (double)gradient[i];
        asam += (double)gradient[i] * (double)gradient[i] * (double)before[i] * (double)before[i];
    }
    CHECK(genreg_perturbation_direction(m, &d, GENREG_PERTURB_SAM, 7, direction), "%s", genreg_error_message(c));
    for (i = 0; i < n; i++) worst = fabs((double)direction[i] - (double)gradient[i] / sqrt(norm2)) > worst ? fabs((double)direction[i] - (double)gradient[i] / sqrt(norm2)) : worst;
    CHECK(worst < (DOUBLE ? 1e-13 : 1e-6), "SAM: g/|g|, off by %g", worst);
    CHECK(genreg_perturbation_direction(m, &d, GENREG_PERTURB_ASAM, 7, direction), "%s", genreg_error_message(c));
    for (i = 0, worst = 0; i < n; i++) {
        double w = (double)before[i], away = fabs((double)direction[i] - w * w * (double)gradient[i] / sqrt(asam));
        worst = away > worst ? away : worst;
    }
    CHECK(worst < (DOUBLE ? 1e-13 : 1e-6), "ASAM: T^2 g/|T g|, off by %g", worst);

    for (p = GENREG_PERTURB_NORMAL; p <= GENREG_PERTURB_ASAM; p++) {
        const double radius = 0.05;
        CHECK(genreg_evaluate_perturbed(m, &d, (genreg_perturbation)p, radius, DRAWS, 9, scores), "%s", genreg_error_message(c));
        genreg_perturbation_direction(m, &d, (genreg_perturbation)p, 9, direction); /* the first of the draws */
        for (i = 0; i < n; i++) at[i] = (genreg_real)((double)before[i] + radius * (double)direction[i]);
        want = genreg_evaluate_at(m, at, &d);
        CHECK(fabs(scores[0].loss - want.loss) < (DOUBLE ? 1e-13 : 1e-5) && scores[0].accuracy == want.accuracy && scores[0].samples == SAMPLES, "perturbation %d: loss %.12g of %.12g", p, scores[0].loss, want.loss);
        for (draw = 1; draw < DRAWS; draw++) CHECK((scores[draw].loss == scores[0].loss) == (p >= GENREG_PERTURB_SAM), "perturbation %d, draw %d: loss %g after %g", p, draw, scores[draw].loss, scores[0].loss);
        CHECK(!memcmp(before, m->theta->data, (size_t)n * sizeof *before), "the model stays as it is");
    }
    want = genreg_evaluate(m, &d);
    genreg_evaluate_perturbed(m, &d, GENREG_PERTURB_NORMAL, 0, 2, 9, scores);
    CHECK(scores[0].loss == want.loss && scores[1].loss == want.loss, "radius 0");
    genreg_evaluate_perturbed(m, &d, GENREG_PERTURB_SAM, 1e-3, 1, 9, scores); /* to first order the loss rises by radius |g| */
    CHECK(!DOUBLE || fabs((scores[0].loss - want.loss) / (1e-3 * sqrt(norm2)) - 1) < 0.05, "SAM: the rise is %g of %g", scores[0].loss - want.loss, 1e-3 * sqrt(norm2));
    CHECK(!genreg_evaluate_perturbed(m, &d, GENREG_PERTURB_NORMAL, (double)NAN, 1, 9, scores), "a radius of NaN");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "perturb");
    CHECK(!genreg_evaluate_perturbed(m, &d, GENREG_PERTURB_NORMAL, 0.1, 0, 9, scores), "no draws");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "perturb");
    CHECK(!genreg_evaluate_perturbed(m, &d, (genreg_perturbation)7, 0.1, 1, 9, scores), "no such perturbation");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "perturbation");
    CHECK(!genreg_evaluate_perturbed(m, &d, GENREG_PERTURB_NORMAL, 0.1, 1, 9, NULL), "no room");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no room for the scores");
    CHECK(!genreg_perturbation_direction(m, &d, GENREG_PERTURB_NORMAL, 9, NULL), "no room");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no room for the direction");
    CHECK(!genreg_perturbation_direction(m, NULL, GENREG_PERTURB_SAM, 9, at), "SAM needs a set");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "empty");
    CHECK(genreg_perturbation_direction(m, NULL, GENREG_PERTURB_FILTER, 9, at), "the others need none");
    CHECK(!genreg_evaluate_perturbed(NULL, &d, GENREG_PERTURB_NORMAL, 0.1, 1, 9, scores) && !genreg_perturbation_direction(NULL, &d, GENREG_PERTURB_NORMAL, 9, at), "NULL");
    CHECK(genreg_tape_bytes(c) == 0, "nothing is left on the tape");
    free(direction);
    free(other);
    free(gradient);
    free(at);
    free(before);
    genreg_destroy(c);
}

/* Batch norm with the statistics of the whole set: another loss, whose Hessian sees the statistics move. */
static void test_training_mode(void)
{
    static double h[MOST][MOST], sweeps[MOST][MOST], evaluation[MOST][MOST];
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    const int shape[1] = { IN };
    genreg_model *m = genreg_model_create(c, 1, shape);
    genreg_dataset d = small_set(c, SAMPLES);
    genreg_objective f, g;
    genreg_real state[6], v[MOST], out[MOST];
    genreg_hessian *map;
    int n, i, k;
    double away = 0, size = 0;
    genreg_layer_linear(m, 3);
    genreg_layer_batch_norm(m);
    genreg_layer_tanh(m);
    genreg_layer_linear(m, OUT);
    genreg_init(m, GENREG_INIT_XAVIER, 2);
    n = (int)m->theta->size;
    memcpy(state, m->state->data, sizeof state);
    f = genreg_training_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
    g = genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
    hessian_by_sweeps(&f, sweeps);
    hessian_by_sweeps(&g, evaluation);
    CHECK(matrix_distance(n, sweeps, evaluation) > 0.1, "the modes differ");
    if (DOUBLE) {
        hessian_by_differences(&f, 1e-4, h);
        CHECK(matrix_distance(n, h, sweeps) < 1e-6, "quotients and sweeps differ by %g", matrix_distance(n, h, sweeps));
    }
    map = genreg_hessian_open(&f);
    for (i = 0; i < n; i++) v[i] = (genreg_real)wild((unsigned)i);
    CHECK(genreg_hessian_product(map, v, out), "%s", genreg_error_message(c));
    for (i = 0; i < n; i++) {
        double want = 0;
        for (k = 0; k < n; k++) want += sweeps[i][k] * (double)v[k];
        away += (want - (double)out[i]) * (want - (double)out[i]);
        size += want * want;
    }
    CHECK(sqrt(away / size) < (DOUBLE ? 1e-12 : 1e-4), "H v is off by %g", sqrt(away / size));
    genreg_hessian_close(map);
    CHECK(!memcmp(state, m->state->data, sizeof state), "the running statistics stay");
    genreg_destroy(c);

    { /* it is no mean over chunks: what does not fit at once is an error and not another number */
        genreg_options o = genreg_defaults();
        int training;
        o.memory = DOUBLE ? 60000 : 30000;
        for (training = 0; training < 2; training++) {
            c = genreg_create(&o);
            m = genreg_model_create(c, 1, (const int[1]){ WIDE_IN });
            d = wide_set(c, WIDE_N);
            genreg_layer_linear(m, 6);
            genreg_layer_batch_norm(m);
            genreg_layer_linear(m, WIDE_OUT);
            genreg_init(m, GENREG_INIT_HE, 1);
            f = training ? genreg_training_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY) : genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
            map = genreg_hessian_open(&f);
            CHECK((map != NULL) == !training, "in %s mode: %s", training ? "training" : "evaluation", genreg_error_message(c));
            genreg_hessian_close(map);
            if (training) {
                CHECK_ERROR(c, GENREG_ERROR_LIMIT, "memory");
                genreg_objective_gradient(&f, NULL);
                CHECK_ERROR(c, GENREG_ERROR_LIMIT, "memory");
            } else CHECK(genreg_objective_gradient(&f, NULL) > 0, "%s", genreg_error_message(c));
            genreg_destroy(c);
        }
    }
}

/* A tiny convolutional net with batch norm, in both modes: products, both ends of the spectrum, trace, moments of the density and Gauss-Newton against
   matrices from central differences, of the gradient and of the outputs. Nothing here comes from Hessian products or from the tape's second order. */
static void test_cnn_against_differences(void)
{
    enum { SIDE = 4, IMAGES = 12, PROBES = 100, LARGEST = 4, SMALLEST = 3 };
    static double h[MOST][MOST], g[MOST][MOST], work[MOST][MOST], power[MOST][MOST], next[MOST][MOST], vectors[MOST][MOST], jacobian[IMAGES * OUT][MOST];
    static double nodes[PROBES * MOST], weights[PROBES * MOST];
    static genreg_real x[IMAGES * SIDE * SIDE], found[(LARGEST + SMALLEST) * MOST];
    static int y[IMAGES];
    const int shape[3] = { SIDE, SIDE, 1 };
    const double step = 1e-5, close = 1e-6;
    int mode, i, k, l, r, o, q, trial;
    if (!DOUBLE) return; /* in float a quotient has too few digits to say anything */
    for (i = 0; i < IMAGES * SIDE * SIDE; i++) x[i] = (genreg_real)(1.5 * wild((unsigned)i));
    for (i = 0; i < IMAGES; i++) y[i] = i * i % OUT;
    for (mode = 0; mode < 2; mode++) {
        static const char *const name[] = { "evaluation", "training" };
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
        genreg_dataset d = genreg_dataset_reals(c, x, y, IMAGES, 3, shape, OUT);
        genreg_model *m = genreg_model_create(c, 3, shape);
        genreg_objective f;
        genreg_hessian *map;
        genreg_eigen_options options = genreg_eigen_defaults();
        genreg_eigen pairs[LARGEST + SMALLEST];
        genreg_estimate e;
        genreg_batch b;
        genreg_place place;
        genreg_real v[MOST], out[MOST];
        double value[MOST], at_start[IMAGES * OUT], norm_h = 0, trace = 0, off = 0, sum = 0;
        int n, count, kind;
        genreg_layer_conv2d(m, 2, 3, 1, 1);
        genreg_layer_batch_norm(m);
        genreg_layer_relu(m);
        genreg_layer_max_pool(m, 2);
        genreg_layer_conv2d(m, 2, 1, 1, 0);
        genreg_layer_batch_norm(m);
        genreg_layer_relu(m);
        genreg_layer_global_avg_pool(m);
        genreg_layer_linear(m, OUT);
        genreg_init(m, GENREG_INIT_XAVIER, 5);
        CHECK(genreg_error(c) == GENREG_OK && m->theta->size == 43 && m->state->size == 8, "%s", genreg_error_message(c));
        if (genreg_error(c)) { genreg_destroy(c); return; }
        n = (int)m->theta->size;
        for (i = 0; i < n; i++) m->theta->data[i] += (genreg_real)(0.3 * wild((unsigned)(900 + i))); /* no gamma is 1, no beta and no bias 0 */
        for (i = 0; i < 8; i++) m->state->data[i] = (genreg_real)(i % 4 < 2 ? 0.2 * wild((unsigned)(700 + i)) : 1 + 0.5 * wild((unsigned)(700 + i)));
        f = mode ? genreg_training_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY) : genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
        hessian_by_differences(&f, step, h);
        for (i = 0; i < n; i++)
            for (k = 0; k < n; k++) work[i][k] = h[k][i];
        CHECK(matrix_distance(n, work, h) < close, "%s: a Hessian is symmetric, and this one is off by %g", name[mode], matrix_distance(n, work, h));
        for (i = 0; i < n; i++)
            for (k = 0; k < n; k++) norm_h += h[i][k] * h[i][k];
        norm_h = sqrt(norm_h);
        for (k = 0; k < n; k++) { /* every parameter matters: no channel is dead. (In training mode a bias before batch norm does nothing.) */
            double column = 0;
            for (i = 0; i < n; i++) column += h[i][k] * h[i][k];
            if (mode && (k == 18 || k == 19 || k == 28 || k == 29)) CHECK(sqrt(column) < close * norm_h, "training: column %d, of a bias before batch norm, has norm %g", k, sqrt(column));
            else CHECK(sqrt(column) > 1e-4 * norm_h, "%s: column %d has norm %g", name[mode], k, sqrt(column));
        }

        /* J by central differences of the outputs, and J^T L'' J with the softmax's L''. */
        place = genreg_mark(c);
        b = genreg_get_batch(c, &d, NULL, 0, IMAGES);
        for (i = -1; i < n; i++) {
            int sign;
            genreg_real kept = i < 0 ? 0 : m->theta->data[i];
            for (sign = 1; sign >= -1; sign -= 2) {
                genreg_place inner = genreg_mark(c);
                genreg_tensor *outputs;
                if (i >= 0) m->theta->data[i] = (genreg_real)((double)kept + sign * step);
                outputs = f.outputs(c, m->theta, &b, f.user);
                CHECK(outputs && outputs->size == IMAGES * OUT, "%s", genreg_error_message(c));
                for (r = 0; outputs && r < IMAGES * OUT; r++)
                    if (i < 0) at_start[r] = (double)outputs->data[r];
                    else jacobian[r][i] = (sign > 0 ? 0 : jacobian[r][i]) + sign * (double)outputs->data[r] / (2 * step);
                genreg_release(c, inner);
            }
            if (i >= 0) m->theta->data[i] = kept;
        }
        genreg_release(c, place);
        memset(g, 0, sizeof g);
        for (r = 0; r < IMAGES; r++) {
            double p[OUT], z = 0;
            for (o = 0; o < OUT; o++) z += p[o] = exp(at_start[r * OUT + o]);
            for (o = 0; o < OUT; o++)
                for (q = 0; q < OUT; q++)
                    for (i = 0; i < n; i++)
                        for (k = 0; k < n; k++) g[i][k] += jacobian[r * OUT + o][i] * ((o == q ? p[o] / z : 0) - p[o] * p[q] / (z * z)) / IMAGES * jacobian[r * OUT + q][k];
        }
        CHECK(matrix_distance(n, g, h) > 1e-2, "%s: Gauss-Newton is not the Hessian", name[mode]);

        for (kind = 0; kind < 2; kind++) { /* products of either */
            map = kind ? genreg_gauss_newton_open(&f) : genreg_hessian_open(&f);
            for (trial = 0; trial < 4; trial++) {
                double away = 0, size = 0;
                for (i = 0; i < n; i++) v[i] = (genreg_real)(trial == 3 ? i == 20 : wild((unsigned)(80 * trial + i)));
                CHECK(genreg_hessian_product(map, v, out), "%s", genreg_error_message(c));
                for (i = 0; i < n; i++) {
                    double want = 0;
                    for (k = 0; k < n; k++) want += (kind ? g : h)[i][k] * (double)v[k];
                    away += (want - (double)out[i]) * (want - (double)out[i]);
                    size += want * want;
                }
                CHECK(size > 1e-6 && sqrt(away / size) < close, "%s: %s v is off by %g", name[mode], kind ? "G" : "H", sqrt(away / size));
            }
            genreg_hessian_close(map);
        }

        for (i = 0; i < n; i++)
            for (k = 0; k < n; k++) work[i][k] = (h[i][k] + h[k][i]) / 2;
        jacobi(n, work, value, vectors);
        CHECK(value[0] < -1e-3 * value[n - 1], "%s: there are eigenvalues of both signs: %g to %g", name[mode], value[0], value[n - 1]);
        map = genreg_hessian_open(&f);
        options.iterations = n;
        options.tol = 1e-6;
        CHECK(genreg_hessian_eigenpairs(map, LARGEST, SMALLEST, &options, pairs, found), "%s", genreg_error_message(c));
        for (i = 0; i < LARGEST + SMALLEST; i++) {
            double want = i < LARGEST ? value[n - 1 - i] : value[i - LARGEST];
            CHECK(fabs(pairs[i].value - want) < close * norm_h, "%s: pair %d is %.12g of %.12g", name[mode], i, pairs[i].value, want);
            CHECK(true_residual(n, h, found + i * n, pairs[i].value) * fabs(pairs[i].value) < close * norm_h + pairs[i].residual * fabs(pairs[i].value), "%s: pair %d: residual %g, by the matrix %g", name[mode], i,
                  pairs[i].residual, true_residual(n, h, found + i * n, pairs[i].value));
        }
        for (i = 0; i < n; i++) {
            trace += h[i][i];
            for (k = 0; k < n; k++) off += i == k ? 0 : h[i][k] * h[i][k];
        }
        e = genreg_hessian_trace(map, GENREG_TRACE_HUTCHPP, 3 * n, 1); /* with as many directions as there are it is exact */
        CHECK(fabs(e.value - trace) < close * norm_h, "%s: trace %.12g of %.12g", name[mode], e.value, trace);
        e = genreg_hessian_trace(map, GENREG_TRACE_HUTCHINSON, 400, 1);
        CHECK(fabs(e.standard_error / sqrt(2 * off / 400) - 1) < 0.3 && fabs(e.value - trace) < 5 * e.standard_error, "%s: trace %g +- %g of %g +- %g", name[mode], e.value, e.standard_error, trace, sqrt(2 * off / 400));

        count = genreg_hessian_density(map, PROBES, n, 3, nodes, weights);
        for (i = 0; i < count; i++) sum += weights[i];
        CHECK(count > PROBES && fabs(sum - 1) < 1e-12, "%s: %d nodes, weights add up to %.15g", name[mode], count, sum);
        memcpy(power, h, sizeof h);
        for (r = 1; r <= 4; r++) {
            double mean = 0, spread = 0, have = 0;
            for (i = 0; i < n; i++) {
                mean += power[i][i] / n;
                for (k = 0; k < n; k++) spread += i == k ? 0 : power[i][k] * power[i][k];
            }
            for (i = 0; i < count; i++) {
                double term = weights[i];
                for (k = 0; k < r; k++) term *= nodes[i];
                have += term;
            }
            CHECK(fabs(have - mean) < 5 * sqrt(2 * spread / PROBES) / n, "%s: moment %d is %g, trace/n %g +- %g", name[mode], r, have, mean, sqrt(2 * spread / PROBES) / n);
            for (i = 0; i < n; i++)
                for (k = 0; k < n; k++)
                    for (l = 0, next[i][k] = 0; l < n; l++) next[i][k] += power[i][l] * h[l][k];
            memcpy(power, next, sizeof power);
        }
        genreg_hessian_close(map);
        CHECK(genreg_error(c) == GENREG_OK, "%s", genreg_error_message(c));
        genreg_destroy(c);
    }
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
    test_gauss_newton();
    test_restriction();
    test_eigenpairs();
    test_multiple_eigenvalue();
    test_density();
    test_trace();
    test_perturbation();
    test_training_mode();
    test_cnn_against_differences();
    return check_done();
}
