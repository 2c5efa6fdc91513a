/* landscape.c - how does the loss look around the minima that small and large batches find?

      cc -O2 -fopenmp examples/landscape.c -o landscape -lm && ./landscape

   The paper's experiment 3: CNN(32) with batch normalisation is trained twice, with batch 32 at rate 0.005 and with batch 1024 at
   rate 0.08, and each minimum is measured: the top eigenvalue of the Hessian is 11.6 times larger after the large batch, and noise on
   the weights hurts more. This measures the same, and beside it what tells sharpness from scale and from a loss that is not as low yet:
      lambda ‖w‖²        batch normalisation makes a convolution's weights scale-free, and small weights look sharp
      matched loss       curvature falls as the loss goes to zero: lambda again after the first epoch that leaves it below --match-loss
      filter noise       relative to each filter's norm (Li et al. 2018), beside the paper's N(0, sigma²)
      trace, density     the whole spectrum, not its end
   --save FILE keeps the two models; --checkpoint FILE measures a saved model instead of training two. In a row, what both minima have is
   a list, the small batch first. Everything is measured in evaluation mode, on the first training images. */
#define GENREG_STATIC /* the compiler drops what this file does not use */
#define GENREG_IMPLEMENTATION
#include "lab.h"

enum { SIGMAS = 7, TOP = 10, CURVE = 9, LINE = 21, PROBES = 2, STEPS = 100, DRAWS = 100 };

static const double sigma[SIGMAS] = { .0005, .001, .002, .005, .01, .02, .05 }, sam_radius = 0.05;
static const double paper_test[2] = { 85.78, 84.17 }, paper_lambda[2] = { 0.193, 2.238 };
static const char *const paper_rise[2][SIGMAS] = { { "+1.9 %", "+3.3 %", "+23.6 %", "+158 %", "+5354 %", "loss 0.123", "loss 10.1" },
                                                   { "+3.4 %", "+11.8 %", "+52.3 %", "+1932 %", "+46205 %", "loss 1.48", "loss 19.8" } };
static const char *const batch_of[2] = { "small-batch", "large-batch" }, *const rate_of[2] = { "small-lr", "large-lr" };

/* ------------------------------------------------------------------------------------------------ the physics: one minimum */

/* A figure of a side: 0 the small batch, 1 the large one. */
static void put(lab_cell *cell, const char *name, int side, double value) { lab_figure_part(cell, name, side, &value, 1); }

/* The n largest eigenvalues of the Hessian, by Lanczos, which needs far fewer products than power iteration. NaN after an error. */
static genreg_eigen top_eigenvalues(lab_cell *cell, genreg_hessian *h, int n, genreg_eigen *pairs, genreg_real *vectors)
{
    genreg_eigen_options o = genreg_eigen_defaults();
    o.iterations = lab_get_int(cell, "products");
    o.tol = lab_get(cell, "tolerance");
    o.seed = cell->seed;
    genreg_eigenpairs(h, n, 0, &o, pairs, vectors);
    return pairs[0];
}

/* Eigenvalues, trace and density of the Hessian, and the loss along its top eigenvector. */
static void measure_curvature(lab_cell *cell, genreg_model *net, int side)
{
    genreg_dataset few = genreg_first(cell->ctx, cell->train, lab_get_int(cell, "hessian-images"));
    genreg_objective f = genreg_model_objective(net, &few, GENREG_LOSS_CROSS_ENTROPY);
    genreg_hessian *h = genreg_hessian_open(&f);
    genreg_eigen top, pairs[TOP];
    genreg_estimate trace;
    ptrdiff_t n = net->theta->size, k;
    genreg_real *v = (genreg_real *)malloc((TOP + 1) * (size_t)n * sizeof *v), *at = v + TOP * n;
    double values[LINE], nodes[PROBES * STEPS], weights[PROBES * STEPS], norm2 = lab_weight_norm2(net);
    int i, steps = lab_get_int(cell, "products"), found;
    if (!v) genreg_set_error(cell->ctx, GENREG_ERROR_MEMORY, "the system has no more memory");
    top = top_eigenvalues(cell, h, TOP, pairs, v);
    put(cell, "lambda", side, top.value);
    put(cell, "residual", side, top.residual);
    put(cell, "weight_norm2", side, norm2);
    put(cell, "lambda_norm2", side, top.value * norm2);
    for (i = 0; i < TOP && lab_alive(cell); i++) {
        put(cell, "top", side * TOP + i, pairs[i].value);
        put(cell, "top_residual", side * TOP + i, pairs[i].residual);
    }
    if (lab_alive(cell)) {
        trace = genreg_hessian_trace(h, GENREG_TRACE_HUTCHPP, lab_get_int(cell, "trace-products"), cell->seed);
        put(cell, "trace", side, trace.value);
        put(cell, "trace_error", side, trace.standard_error);
    }
    found = lab_alive(cell) ? genreg_hessian_density(h, PROBES, steps, cell->seed, nodes, weights) : 0;
    for (i = found; i < PROBES * steps; i++) nodes[i] = weights[i] = (double)NAN; /* a Krylov space can end early */
    lab_figure_part(cell, "density_at", side, nodes, PROBES * steps);
    lab_figure_part(cell, "density", side, weights, PROBES * steps);
    genreg_hessian_close(h);
    for (i = 0; i < LINE && lab_alive(cell); i++) {
        genreg_real step = (genreg_real)(lab_get(cell, "slice") * (2.0 * i / (LINE - 1) - 1));
        for (k = 0; k < n; k++) at[k] = net->theta->data[k] + step * v[k];
        values[i] = genreg_evaluate_at(net, at, &few).loss;
    }
    if (lab_alive(cell)) lab_figure_part(cell, "slice_loss", side, values, LINE);
    free(v);
}

/* Mean loss and accuracy over draws of noise, for each radius. */
static void measure_noise(lab_cell *cell, genreg_model *net, int side, genreg_noise noise, const double *radius, int n, const char *loss, const char *accuracy)
{
    genreg_dataset few = genreg_first(cell->ctx, cell->train, lab_get_int(cell, "noise-images"));
    genreg_score draw[DRAWS];
    double mean[2][LINE];
    int draws = noise == GENREG_NOISE_SAM ? 1 : lab_get_int(cell, "draws"), i, k;
    for (i = 0; i < n; i++) {
        mean[0][i] = mean[1][i] = 0;
        if (!lab_alive(cell) || !genreg_perturb(net, &few, noise, radius[i], draws, cell->seed, draw)) return;
        for (k = 0; k < draws; k++) {
            mean[0][i] += draw[k].loss / draws;
            mean[1][i] += draw[k].accuracy / draws;
        }
    }
    lab_figure_part(cell, loss, side, mean[0], n);
    lab_figure_part(cell, accuracy, side, mean[1], n);
}

static void measure(lab_cell *cell, genreg_model *net, int side)
{
    genreg_dataset few = genreg_first(cell->ctx, cell->train, lab_get_int(cell, "noise-images"));
    double radius[CURVE];
    int i;
    put(cell, "test_accuracy", side, genreg_evaluate(net, cell->test).accuracy);
    put(cell, "train_loss", side, genreg_evaluate(net, cell->train).loss);
    put(cell, "base_loss", side, genreg_evaluate(net, &few).loss);
    if (isnan(lab_found(cell, side ? "base_loss[1]" : "base_loss[0]"))) genreg_set_error(cell->ctx, GENREG_ERROR_DIVERGED, "the trained model's loss is NaN or infinite");
    if (lab_alive(cell)) measure_curvature(cell, net, side);
    for (i = 0; i < CURVE; i++) radius[i] = i / (double)(CURVE - 1);
    measure_noise(cell, net, side, GENREG_NOISE_NORMAL, sigma, SIGMAS, "noise_loss", "noise_accuracy");
    measure_noise(cell, net, side, GENREG_NOISE_FILTER, radius, CURVE, "filter_loss", "filter_accuracy");
    measure_noise(cell, net, side, GENREG_NOISE_SAM, &sam_radius, 1, "sam_loss", "sam_accuracy");
}

/* ------------------------------------------------------------------------------------------------ one cell: two trainings */

/* The first epoch that leaves the training loss below the common level. The loss is taken anew, in evaluation mode. The large batch
   trains once the small one has its figures. */
static void watch(lab_cell *cell, genreg_model *net, const genreg_progress *p)
{
    int side = lab_found(cell, "train_accuracy[0]") >= 0;
    genreg_dataset few = genreg_first(cell->ctx, cell->train, lab_get_int(cell, "noise-images"));
    double loss = lab_found(cell, side ? "match_epoch[1]" : "match_epoch[0]") > 0 ? (double)INFINITY : genreg_evaluate(net, &few).loss;
    if (loss <= lab_get(cell, "match-loss")) {
        genreg_dataset curved = genreg_first(cell->ctx, cell->train, lab_get_int(cell, "hessian-images"));
        genreg_objective f = genreg_model_objective(net, &curved, GENREG_LOSS_CROSS_ENTROPY);
        genreg_hessian *h = genreg_hessian_open(&f);
        genreg_eigen pair, top = top_eigenvalues(cell, h, 1, &pair, NULL);
        genreg_hessian_close(h);
        put(cell, "match_epoch", side, p->epoch);
        put(cell, "match_train_loss", side, loss);
        put(cell, "match_lambda", side, top.value);
        put(cell, "match_residual", side, top.residual);
        put(cell, "match_lambda_norm2", side, top.value * lab_weight_norm2(net));
    }
}

static genreg_model *make_model(lab_cell *cell)
{
    genreg_model *net = genreg_cnn(cell->ctx, cell->train->shape, lab_get_int(cell, "width"), 1, cell->train->classes);
    genreg_init(net, GENREG_INIT_PYTORCH, cell->seed);
    return net;
}

/* Loss and accuracy on the straight line between the two minima; running statistics go along it too. */
static void walk(lab_cell *cell, genreg_model *const *net)
{
    genreg_dataset few = genreg_first(cell->ctx, cell->train, lab_get_int(cell, "noise-images"));
    genreg_score score[LINE];
    double barrier = genreg_line(net[0], net[1], LINE, &few, NULL, score).loss;
    int i;
    for (i = 0; i < LINE && lab_alive(cell); i++) {
        put(cell, "line_loss", i, score[i].loss);
        put(cell, "line_accuracy", i, score[i].accuracy);
    }
    lab_figure(cell, "barrier", barrier);
}

static void run(lab_cell *cell)
{
    const char *saved = lab_text(cell->in, "checkpoint");
    genreg_model *net[2];
    int side;
    if (*saved) {
        net[0] = genreg_load_model(cell->ctx, saved);
        if (net[0] && *net[0]->data_name && strcmp(net[0]->data_name, cell->train->name)) genreg_set_error(cell->ctx, GENREG_ERROR_ARGUMENT, "the saved model was trained on another --dataset");
        if (lab_alive(cell)) measure(cell, net[0], 0);
        return;
    }
    for (side = 0; side < 2; side++) {
        genreg_train_options o = genreg_train_defaults();
        genreg_progress last;
        net[side] = make_model(cell);
        o.batch = lab_get_int(cell, batch_of[side]);
        o.lr = lab_get(cell, rate_of[side]);
        o.epochs = lab_get_int(cell, "epochs");
        o.schedule = GENREG_SCHEDULE_COSINE;
        o.seed = cell->seed;
        if (!lab_train(cell, net[side], cell->train, &o, watch, &last)) return;
        put(cell, "train_accuracy", side, last.accuracy);
        measure(cell, net[side], side);
        lab_save(cell, net[side], side ? "large" : "small");
    }
    walk(cell, net);
}

/* ------------------------------------------------------------------------------------------------ the report */

static void print_tables(lab *l, int sides, char (*name)[64])
{
    lab_table end = lab_table_new("at the end|train %|test %|paper|train loss|lambda|paper|residual|trace|± error|‖w‖²|lambda ‖w‖²");
    lab_table matched = lab_table_new("at matched loss|epoch|train loss|lambda|residual|lambda ‖w‖²");
    lab_table top = lab_table_new("eigenvalue|small batch|residual|large batch|residual"), noise = lab_table_new("noise|model|loss|rise|accuracy %|paper's rise");
    static const char *const ratios[3][2] = { { "at the end: ", "lambda[1]|lambda[0]" },
                                              { "times ‖w‖², at the end: ", "lambda_norm2[1]|lambda_norm2[0]" },
                                              { "the control says, at matched training loss: ", "match_lambda[1]|match_lambda[0]" } };
    int papers = sides > 1 && lab_int(l, "small-batch") == 32 && lab_int(l, "large-batch") == 1024, side, i;
    for (side = 0; side < sides; side++) {
        lab_entry(&end, "%s", name[side]);
        lab_entries(&end, l, 0, side, "train_accuracy %2|test_accuracy %2");
        lab_entry(&end, "%.2f", papers ? paper_test[side] : (double)NAN);
        lab_entries(&end, l, 0, side, "train_loss e2|lambda s2");
        lab_entry(&end, "%.3f", papers ? paper_lambda[side] : (double)NAN);
        lab_entries(&end, l, 0, side, "residual e0|trace f1|trace_error f1|weight_norm2 f0|lambda_norm2 s0");
        lab_entry(&matched, "%s", name[side]);
        lab_entries(&matched, l, 0, side, "match_epoch f1|match_train_loss f3|match_lambda s2|match_residual e0|match_lambda_norm2 s0");
    }
    for (i = 0; i < 2 * TOP; i++) {
        if (i % 2 == 0) lab_entry(&top, "%d", i / 2 + 1);
        lab_entries(&top, l, 0, i % 2 * TOP + i / 2, "top f3|top_residual e0");
    }
    for (i = 0; i < (SIGMAS + 1) * sides; i++) {
        int row = i / sides, at = row < SIGMAS ? i % sides * SIGMAS + row : i % sides;
        double base = lab_element(l, 0, "base_loss", i % sides, 1).mean, loss = lab_element(l, 0, row < SIGMAS ? "noise_loss" : "sam_loss", at, 1).mean;
        lab_entry(&noise, row < SIGMAS ? "sigma %g" : "worst case, radius %g", row < SIGMAS ? sigma[row] : sam_radius);
        lab_entry(&noise, "%s", name[i % sides]);
        lab_entry(&noise, "%.3e", loss);
        lab_entry(&noise, "%+.1f %%", 100 * (loss / base - 1));
        lab_entries(&noise, l, 0, at, row < SIGMAS ? "noise_accuracy %2" : "sam_accuracy %2");
        lab_entry(&noise, "%s", row < SIGMAS && papers ? paper_rise[i % sides][row] : "-");
    }
    lab_table_print(&end);
    lab_table_print(&matched);
    lab_table_print(&top);
    lab_table_print(&noise);
    if (sides == 1) return;
    printf("lambda of the large batch over lambda of the small one (the paper, 1024 over 32 on all of CIFAR-10, at the end: 11.6)\n");
    for (i = 0; i < 3; i++) lab_verdict(ratios[i][0], lab_ratio(l, 0, 0, ratios[i][1]), "", 1, "the large batch is sharper", "the large batch is flatter");
    printf("test accuracy of the small batch less that of the large one (the paper, as above: +1.61 points)\n");
    lab_verdict("", lab_difference(l, 0, 0, "test_accuracy[0]|test_accuracy[1]", 100), " points", 0, "the small batch is better", "the large batch is better");
    printf("training loss between the two solutions rises by %.3f above the mean of the two\n\n", lab_over_seeds(l, 0, "barrier", 1).mean);
}

static void draw(lab *l, int sides, int steps, char (*name)[64])
{
    static const struct { const char *title, *x, *y, *figure; int n, flags; double from, to, scale; } panels[] = {
        { "Loss under noise on every parameter", "sigma", "training loss", "noise_loss", SIGMAS, LAB_LOG_X | LAB_LOG_Y, 0, 0, 1 },
        { "Accuracy under the same noise", "sigma", "training accuracy, %", "noise_accuracy", SIGMAS, LAB_LOG_X, 0, 0, 100 },
        { "Noise relative to each filter's norm", "noise / norm", "training loss", "filter_loss", CURVE, LAB_LOG_Y, 0, 1, 1 },
        { "Density of the Hessian's eigenvalues", "eigenvalue", "density", NULL, 0, LAB_LOG_Y, 0, 0, 1 },
        { "Along the top eigenvector", "distance", "training loss", "slice_loss", LINE, LAB_LOG_Y, -1, 1, 1 },
        { "From one solution to the other", "0: small batch, 1: large batch", "training loss", "line_loss", LINE, LAB_LOG_Y, 0, 1, 1 } };
    lab_plot *p = lab_plot_new("The loss around the minima of small and large batches");
    double x[LINE];
    int i, k, side;
    for (i = 0; i < 4 + sides; i++) {
        lab_panel(p, panels[i].title, panels[i].x, panels[i].y, panels[i].flags);
        for (k = 0; k < panels[i].n; k++) x[k] = i < 2 ? sigma[k] : panels[i].from + (panels[i].to - panels[i].from) * k / (panels[i].n - 1);
        for (k = 0; i == 4 && k < LINE; k++) x[k] *= lab_number(l, "slice");
        for (side = 0; side < (i < 5 ? sides : 1) && panels[i].n; side++)
            lab_curve_of_list(p, l, i < 5 ? name[side] : "", x, panels[i].n, 0, panels[i].figure, side * panels[i].n, panels[i].scale);
        for (side = 0; !panels[i].n && side < sides; side++) lab_density(p, l, name[side], PROBES * steps, 0, "density_at", "density", side * PROBES * steps);
    }
    lab_plot_save(p, l, "Means over seeds with 95 % intervals; density: the first seed. All in evaluation mode on the first training images.");
}

int main(int argc, char **argv)
{
    static const lab_flag flags[] = {
        { "width", LAB_INT, "8", "32", NULL, 1, 1e4, NULL, "channels of CNN(w), with batch norm" },
        { "small-batch", LAB_INT, "32", NULL, NULL, 1, 1e9, NULL, "the small batch" },
        { "small-lr", LAB_NUMBER, ".005", NULL, NULL, 1e-9, 1e9, NULL, "and its rate" },
        { "large-batch", LAB_INT, "256", "1024", NULL, 1, 1e9, NULL, "the large batch" },
        { "large-lr", LAB_NUMBER, ".02", ".08", NULL, 1e-9, 1e9, NULL, "and its rate" },
        { "match-loss", LAB_NUMBER, "0.5", NULL, NULL, 1e-9, 1e9, NULL, "training loss at which curvature is compared" },
        { "hessian-images", LAB_INT, "250", "1000", NULL, 1, 1e9, NULL, "curvature: of the first N training images" },
        { "products", LAB_INT, "30", "30", "100", 2 * TOP, STEPS, NULL, "Hessian products of Lanczos and of a probe of the density" },
        { "trace-products", LAB_INT, "12", "20", "60", 12, 1e6, NULL, "Hessian products of the trace" },
        { "noise-images", LAB_INT, "500", "5000", NULL, 1, 1e9, NULL, "noise and the line: on the first N training images" },
        { "draws", LAB_INT, "2", "5", NULL, 1, DRAWS, NULL, "draws of noise" },
        { "slice", LAB_NUMBER, "0.2", NULL, NULL, 1e-9, 1e9, NULL, "how far to go along the top eigenvector" },
        { "checkpoint", LAB_TEXT, "", NULL, NULL, 0, 0, NULL, "measure this model (of --save) instead of training" },
        { "train", LAB_INT, "2000", "10000", "", 1, 1e9, NULL, "take the first N training images; unset: all" },
        { "epochs", LAB_INT, "15", "30", "80", 1, 1e6, NULL, "epochs of training" },
        { "seeds", LAB_INT, "2", "3", NULL, 1, 10000, NULL, "run with the seeds 1 to N" },
        { "seed", LAB_INTS, "", NULL, "42", 0, 9007199254740992.0, NULL, "run with these seeds instead" },
    };
    static const char *const figures[] = { "train_accuracy", "test_accuracy", "train_loss", "base_loss", "lambda", "residual", "weight_norm2", "lambda_norm2",
        "match_epoch", "match_train_loss", "match_lambda", "match_residual", "match_lambda_norm2", "trace", "trace_error", "top", "top_residual", "density_at",
        "density", "slice_loss", "noise_loss", "noise_accuracy", "filter_loss", "filter_accuracy", "sam_loss", "sam_accuracy", "line_loss", "line_accuracy", "barrier" };
    static const char *const measured[] = { "hessian-images", "products", "trace-products", "noise-images", "draws", "slice" };
    static const char *const trained[] = { "width", "small-batch", "small-lr", "large-batch", "large-lr", "epochs", "match-loss" };
    static const lab_experiment about = { "landscape", "how does the loss look around the minima that small and large batches find?", "cifar10|mnist|fashion|slice",
                                          flags, sizeof flags / sizeof flags[0], figures, sizeof figures / sizeof figures[0], run };
    lab *l = lab_open(&about, argc, argv);
    const char *saved = lab_text(l, "checkpoint");
    char name[2][64];
    int i, k;
    lab_pad(l, 32);
    if (*saved) lab_preset(l, "seeds", "1", NULL, NULL);
    for (i = 0; i < 7 && *saved; i++)
        if (lab_given(l, trained[i])) lab_fail(l, 2, "--%s is of a training: leave it out with --checkpoint", trained[i]);
    k = lab_config(l);
    for (i = 0; i < 6; i++) lab_set(l, k, measured[i], lab_number(l, measured[i]));
    for (i = 0; i < 7 && !*saved; i++) lab_set(l, k, trained[i], lab_number(l, trained[i]));
    lab_set(l, k, "tolerance", 1e-3);
    if (*saved) lab_set_file(l, k, "model", saved);
    snprintf(name[0], sizeof name[0], *saved ? "saved model" : "batch %.0f, rate %g", lab_number(l, "small-batch"), lab_number(l, "small-lr"));
    snprintf(name[1], sizeof name[1], "batch %.0f, rate %g", lab_number(l, "large-batch"), lab_number(l, "large-lr"));
    lab_label(l, k, 1, *saved ? "saved model" : "CNN(%.0f)", lab_number(l, "width"));
    if (lab_run(l)) {
        print_tables(l, *saved ? 1 : 2, name);
        draw(l, *saved ? 1 : 2, lab_int(l, "products"), name);
    }
    return lab_close(l);
}
