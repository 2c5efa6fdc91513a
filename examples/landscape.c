/* landscape.c - how does the loss look around the minima that small and large batches find?

      cc -O2 -fopenmp examples/landscape.c -o landscape -lm && ./landscape

   The paper's experiment 3: CNN(32) with batch normalisation is trained twice, with batch 32 at rate 0.005 and with batch 1024 at
   rate 0.08, and each minimum is measured: the top eigenvalue of the Hessian is 11.6 times larger after the large batch, and noise on
   the weights hurts more. This measures the same, and beside it what tells sharpness from scale and from a loss that is not as low yet:
      lambda |w|^2       batch normalisation makes a convolution's weights scale-free, and small weights look sharp
      matched loss       curvature falls as the loss goes to zero: lambda again at the first epoch that leaves it below --match-loss
      filter noise       relative to each filter's norm (Li et al. 2018), beside the paper's N(0, sigma^2)
      trace, density     the whole spectrum, not its end
   --checkpoint FILE measures a saved model instead of training two. */
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include "lab.h"

enum { SIGMAS = 7, TOP = 10, CURVE = 11, LINE = 21, DENSITY_STEPS = 40, DENSITY_PROBES = 2 };

static const double sigma[SIGMAS] = { .0005, .001, .002, .005, .01, .02, .05 };
static const double paper_loss[2] = { 2.92e-5, 1.126e-4 }, paper_lambda[2] = { 0.193, 2.238 }, paper_test[2] = { 85.78, 84.17 };
static const char *const side_name[2] = { "small", "large" };

/* ------------------------------------------------------------------------------------------------ the physics: one minimum */

/* What is measured of a model, under names that begin with the side's. */
static void put(lab_cell *cell, const char *side, const char *name, double value)
{
    char text[64];
    snprintf(text, sizeof text, "%s_%s", side, name);
    lab_figure(cell, text, value);
}

static void put_list(lab_cell *cell, const char *side, const char *name, const double *values, int n)
{
    char text[64];
    snprintf(text, sizeof text, "%s_%s", side, name);
    lab_figure_list(cell, text, values, n);
}

static double weight_norm2(const genreg_model *net)
{
    double sum = 0;
    int i;
    for (i = 0; i < net->parameter_count; i++) {
        const genreg_parameter *p = &net->parameters[i];
        ptrdiff_t k;
        for (k = 0; p->kind == GENREG_WEIGHT && k < p->size; k++) sum += (double)net->theta->data[p->offset + k] * (double)net->theta->data[p->offset + k];
    }
    return sum;
}

static genreg_eigen_options eigen_options(lab_cell *cell)
{
    genreg_eigen_options o = genreg_eigen_defaults();
    o.iterations = lab_get_int(cell, "hessian_products");
    o.tol = lab_get(cell, "hessian_tol");
    o.seed = cell->seed;
    return o;
}

/* Mean loss and accuracy over draws of noise, for each radius. */
static void perturb(lab_cell *cell, genreg_model *net, const genreg_dataset *few, genreg_noise noise, const double *radius, int n, double *loss, double *accuracy)
{
    genreg_score draw[16];
    int draws = lab_get_int(cell, "draws"), i, k;
    for (i = 0; i < n; i++) {
        loss[i] = accuracy[i] = 0;
        if (!genreg_perturb(net, few, noise, radius[i], draws, cell->seed, draw)) return;
        for (k = 0; k < draws; k++) {
            loss[i] += draw[k].loss / draws;
            accuracy[i] += draw[k].accuracy / draws;
        }
    }
}

static void measure(lab_cell *cell, genreg_model *net, const char *side)
{
    genreg_dataset curved = genreg_first(cell->ctx, cell->train, lab_get_int(cell, "hessian_images"));
    genreg_dataset noisy = genreg_first(cell->ctx, cell->train, lab_get_int(cell, "noise_images"));
    genreg_objective f = genreg_model_objective(net, &curved, GENREG_CROSS_ENTROPY);
    genreg_hessian *h = genreg_hessian_open(&f);
    genreg_eigen_options o = eigen_options(cell);
    genreg_eigen top, pairs[TOP];
    genreg_estimate trace;
    ptrdiff_t n = net->theta->size, k;
    genreg_real *v = (genreg_real *)lab__new((size_t)(2 * n), sizeof *v), *at = v + n;
    double x[LINE], y[LINE], nodes[DENSITY_PROBES * DENSITY_STEPS], weights[DENSITY_PROBES * DENSITY_STEPS];
    int i, found;

    o.vector = v;
    top = genreg_top_eigen(h, &o);
    put(cell, side, "lambda", top.value);
    put(cell, side, "residual", top.residual);
    put(cell, side, "weight_norm2", weight_norm2(net));
    put(cell, side, "lambda_norm2", top.value * weight_norm2(net));
    genreg_eigenpairs(h, TOP, 0, &o, pairs, NULL);
    for (i = 0; i < TOP; i++) x[i] = pairs[i].value;
    put_list(cell, side, "top", x, TOP);
    for (i = 0; i < TOP; i++) x[i] = pairs[i].residual;
    put_list(cell, side, "top_residual", x, TOP);
    trace = genreg_hessian_trace(h, GENREG_HUTCHPP, lab_get_int(cell, "trace_products"), cell->seed);
    put(cell, side, "trace", trace.value);
    put(cell, side, "trace_error", trace.standard_error);
    found = genreg_hessian_density(h, DENSITY_PROBES, DENSITY_STEPS, cell->seed, nodes, weights);
    put_list(cell, side, "density_at", nodes, found);
    put_list(cell, side, "density", weights, found);
    genreg_hessian_close(h);

    put(cell, side, "base_loss", genreg_evaluate(net, &noisy).loss);
    perturb(cell, net, &noisy, GENREG_NOISE_NORMAL, sigma, SIGMAS, x, y);
    put_list(cell, side, "noise_loss", x, SIGMAS);
    put_list(cell, side, "noise_accuracy", y, SIGMAS);
    for (i = 0; i < CURVE; i++) nodes[i] = i / (CURVE - 1.0);
    perturb(cell, net, &noisy, GENREG_NOISE_FILTER, nodes, CURVE, x, y);
    put_list(cell, side, "filter_loss", x, CURVE);
    put_list(cell, side, "filter_accuracy", y, CURVE);
    for (i = 0; i < LINE; i++) { /* along the top eigenvector, one unit of length each way */
        double step = 2.0 * i / (LINE - 1) - 1;
        for (k = 0; k < n; k++) at[k] = net->theta->data[k] + (genreg_real)step * v[k];
        x[i] = genreg_evaluate_at(net, at, &curved).loss;
    }
    put_list(cell, side, "slice", x, LINE);
    free(v);
}

/* ------------------------------------------------------------------------------------------------ one cell: two trainings */

static const char *watched; /* never written while cells run: the side is in the cell */

static genreg_model *make_model(lab_cell *cell)
{
    int shape[3];
    memcpy(shape, cell->train->shape, sizeof shape);
    return genreg_cnn(cell->ctx, shape, lab_get_int(cell, "width"), 1, cell->train->classes);
}

/* The first epoch that leaves the training loss below the common level. */
static void watch(lab_cell *cell, genreg_model *net, const genreg_progress *p, const char *side)
{
    char name[64];
    double loss;
    snprintf(name, sizeof name, "%s_match_epoch", side);
    if (lab_found(cell, name) > 0) return;
    loss = genreg_evaluate(net, cell->train).loss;
    if (loss <= lab_get(cell, "match_loss")) {
        genreg_dataset few = genreg_first(cell->ctx, cell->train, lab_get_int(cell, "hessian_images"));
        genreg_eigen_options o = eigen_options(cell);
        genreg_eigen top = genreg_hessian_top(net, &few, &o);
        put(cell, side, "match_epoch", p->epoch);
        put(cell, side, "match_loss", loss);
        put(cell, side, "match_lambda", top.value);
        put(cell, side, "match_residual", top.residual);
    }
}
static void watch_small(lab_cell *cell, genreg_model *net, const genreg_progress *p) { watch(cell, net, p, "small"); }
static void watch_large(lab_cell *cell, genreg_model *net, const genreg_progress *p) { watch(cell, net, p, "large"); }

/* Loss and accuracy on the straight line between the two minima; running statistics go along it too. */
static void walk(lab_cell *cell, genreg_model *const *net)
{
    genreg_dataset few = genreg_first(cell->ctx, cell->train, lab_get_int(cell, "noise_images"));
    genreg_model *between = make_model(cell);
    double loss[LINE], accuracy[LINE];
    ptrdiff_t k;
    int i;
    if (!between) return;
    for (i = 0; i < LINE; i++) {
        genreg_real a = (genreg_real)(i / (LINE - 1.0));
        for (k = 0; k < between->theta->size; k++) between->theta->data[k] = (1 - a) * net[0]->theta->data[k] + a * net[1]->theta->data[k];
        for (k = 0; k < between->state->size; k++) between->state->data[k] = (1 - a) * net[0]->state->data[k] + a * net[1]->state->data[k];
        loss[i] = genreg_evaluate(between, &few).loss;
        accuracy[i] = genreg_evaluate(between, cell->test).accuracy;
    }
    lab_figure_list(cell, "line_loss", loss, LINE);
    lab_figure_list(cell, "line_accuracy", accuracy, LINE);
}

static void run(lab_cell *cell)
{
    genreg_model *net[2];
    int side;
    for (side = 0; side < 2; side++) {
        genreg_train_options o = genreg_train_defaults();
        genreg_progress last;
        genreg_score test;
        net[side] = make_model(cell);
        genreg_init(net[side], GENREG_INIT_PYTORCH, cell->seed);
        o.batch = lab_get_int(cell, side ? "large_batch" : "small_batch");
        o.lr = lab_get(cell, side ? "large_lr" : "small_lr");
        o.epochs = lab_get_int(cell, "epochs");
        o.seed = cell->seed;
        if (!lab_train(cell, net[side], cell->train, &o, side ? watch_large : watch_small, &last)) return;
        test = genreg_evaluate(net[side], cell->test);
        put(cell, side_name[side], "train_accuracy", last.accuracy);
        put(cell, side_name[side], "test_accuracy", test.accuracy);
        put(cell, side_name[side], "test_loss", test.loss);
        put(cell, side_name[side], "train_loss", genreg_evaluate(net[side], cell->train).loss);
        measure(cell, net[side], side_name[side]);
        lab_save(cell, net[side]);
    }
    walk(cell, net);
}
