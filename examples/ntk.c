/* ntk.c - does a wide network learn features, or is it the kernel machine that its start makes it?

      cc -O2 -fopenmp examples/ntk.c -o ntk -lm && ./ntk

   The paper's experiment 5 (Z. Johannsen, arXiv 2604.07603, 2026): MLP(w) = 784-w-w-w-10 on the first 5,000 images of MNIST. The relative movement
   |theta - theta_0| / |theta_0| falls as w^-0.5, which it takes for the kernel ("lazy") regime of Jacot et al. 2018. But |theta_0| itself grows with w, so
   that the ratio falls even if the parameters move as far as ever. What that regime asks for is that the tangent kernel K stays as it was. So this adds:
      distance    |theta - theta_0|, and the relative movement of each layer
      kernel      the change |K_end - K_start| / |K_start| in Frobenius' norm, on the first training images, of
                  K_ij = sum over outputs o of <df_o(x_i)/dtheta, df_o(x_j)/dtheta> / outputs; and, as most of that is growth, which no regression
                  sees, the change of its shape: |K_end/|K_end| - K_start/|K_start|| = sqrt(2 - 2 alignment), from 0 to sqrt(2)
      regression  on the same images with the kernel at the start, with that at the end and with that of the infinitely wide net in the NTK
                  parametrisation: a net that has learnt features has made itself a better kernel
      --param     the NTK parametrisation (Jacot et al. 2018) beside the standard one: the same nets at another scale, and there K has a limit
      --linear    the linearised model f(theta_0) + J (theta - theta_0), trained by the same steps (Lee et al. 2019)
      --loss mse  squared error on one-hot targets, for which theory is exact
   Regression interpolates the one-hot targets less 1/classes; a ridge is added only where rounding needs it. */
#define GENREG_STATIC /* the compiler drops what this file does not use */
#define GENREG_IMPLEMENTATION
#include "lab.h"

enum { LAYERS = 4, BATCH = 128 };
static const char *const param_name[2] = { "standard", "ntk" };
static const double rate[2] = { .01, .5 }; /* the paper's, and one that reaches about the same loss */

/* The paper's widths, movements and test accuracies. */
static const double paper[8][3] = { { 32, .9356, 91.6 }, { 64, .6861, 92.6 }, { 128, .4899, 92.9 }, { 256, .3485, 93.1 },
                                    { 512, .2477, 93.3 }, { 1024, .1743, 93.5 }, { 2048, .1212, 93.6 }, { 4096, .0831, 93.9 } };

/* ------------------------------------------------------------------------------------------------ the physics: one cell */

static genreg_model *make_model(lab_cell *cell)
{
    genreg_model *net = lab_paper_net(cell, "mlp", lab_get_int(cell, "width"), 0);
    if (!strcmp(lab_get_text(cell, "param"), "ntk")) genreg_init(net, GENREG_INIT_NTK, cell->seed);
    return net;
}

/* How far theta is from theta_0, in all and in each layer. */
static void measure_movement(lab_cell *cell, const genreg_model *net, const genreg_model *start)
{
    double moved[LAYERS] = { 0 }, norm[LAYERS] = { 0 }, all_moved = 0, all_norm = 0;
    ptrdiff_t i;
    int p;
    for (p = 0; p < net->parameter_count; p++) { /* a weight and a bias for each layer */
        const genreg_parameter *range = &net->parameters[p];
        for (i = range->offset; i < range->offset + range->size; i++) {
            double from = (double)start->theta->data[i], by = (double)net->theta->data[i] - from;
            moved[p / 2] += by * by;
            norm[p / 2] += from * from;
        }
    }
    for (p = 0; p < LAYERS; p++) {
        all_moved += moved[p];
        all_norm += norm[p];
        lab_figure_at(cell, "layer_movement", p, sqrt(moved[p] / norm[p]));
    }
    lab_figure(cell, "movement", sqrt(all_moved / all_norm));
    lab_figure(cell, "distance", sqrt(all_moved));
    lab_figure(cell, "start_norm", sqrt(all_norm));
}

/* The tangent kernel of net, or of the infinitely wide one if net is NULL. */
static int kernel(lab_cell *cell, genreg_model *net, const genreg_dataset *a, const genreg_dataset *b, double *k)
{
    return net ? genreg_ntk(net, a, b, NULL, k) : genreg_infinite_kernel(cell->ctx, a, b, NULL, k, NULL);
}

static void measure_change(lab_cell *cell, genreg_model *net, genreg_model *start)
{
    genreg_dataset few = genreg_first(cell->ctx, cell->train, lab_get_int(cell, "kernel_images"));
    ptrdiff_t size = (ptrdiff_t)few.n * few.n;
    double *before = lab_matrix(2 * (ptrdiff_t)few.n, few.n), *after = before + size;
    if (kernel(cell, start, &few, NULL, before) && kernel(cell, net, &few, NULL, after)) {
        lab_figure(cell, "kernel_change", genreg_kernel_change(after, before, size));
        lab_figure(cell, "alignment", genreg_kernel_alignment(after, before, size));
    }
    free(before);
}

/* Regression on all training images; test accuracy and relative ridge become element i of their lists. */
static void measure_regression(lab_cell *cell, genreg_model *net, int i)
{
    const genreg_dataset *d = cell->train, *test = cell->test;
    ptrdiff_t size = (ptrdiff_t)d->n * d->classes, s;
    double *targets = lab_matrix(2 * d->n + test->n, d->classes), *alpha = targets + size, *out = alpha + size, *k = lab_matrix(d->n, d->n);
    genreg_ridge ridge = { (double)NAN, (double)NAN, (double)NAN, 0 };
    for (s = 0; s < size; s++) targets[s] = (d->labels[s / d->classes] == s % d->classes) - 1.0 / d->classes;
    if (kernel(cell, net, d, NULL, k)) ridge = genreg_kernel_ridge(cell->ctx, k, d->n, targets, d->classes, NULL, alpha);
    free(k);
    k = lab_matrix(test->n, d->n);
    if (lab_alive(cell) && kernel(cell, net, test, d, k) && genreg_kernel_predict(cell->ctx, k, test->n, d->n, alpha, d->classes, out)) {
        lab_figure_at(cell, "regression_accuracy", i, genreg_kernel_accuracy(out, test->labels, test->n, d->classes));
        lab_figure_at(cell, "ridge", i, ridge.relative);
    }
    free(targets);
    free(k);
}

static void run(lab_cell *cell)
{
    genreg_train_options o = lab_train_options(cell); /* SGD, momentum 0.9, cosine, no weight decay */
    int infinite = !strcmp(lab_get_text(cell, "param"), "infinite");
    genreg_model *start = infinite ? NULL : make_model(cell), *net = infinite ? NULL : make_model(cell), *linear;
    if (isnan(lab_found(cell, "regression_accuracy[0]"))) measure_regression(cell, start, 0);
    if (infinite) return;
    lab_trainings(cell, 1 + lab_get_int(cell, "linear"));
    o.loss = strcmp(lab_get_text(cell, "loss"), "mse") ? GENREG_LOSS_CROSS_ENTROPY : GENREG_LOSS_MSE;
    if (!lab_train(cell, net, cell->train, &o, NULL, NULL)) return;
    lab_figure(cell, "train_loss", genreg_evaluate_classes(net, cell->train, o.loss, NULL).loss);
    lab_figure(cell, "test_accuracy", genreg_evaluate(net, cell->test).accuracy);
    measure_movement(cell, net, start);
    measure_change(cell, net, start);
    measure_regression(cell, net, 1);
    lab_save(cell, net, NULL);
    if (!lab_alive(cell) || !lab_get_int(cell, "linear")) return;
    linear = genreg_linearize(start);
    if (!lab_train(cell, linear, cell->train, &o, NULL, NULL)) return;
    lab_figure(cell, "linear_accuracy", genreg_evaluate(linear, cell->test).accuracy);
}

/* ------------------------------------------------------------------------------------------------ the report */

static double shape_change(double alignment) { return sqrt(fmax(0, 2 - 2 * alignment)); }

static void print_tables(lab *l, const double *widths, const int *configs, int n, int infinite, int standard)
{
    lab_table move = lab_table_new("width|movement|paper|distance|norm at start|layer 1|layer 2|layer 3|layer 4|kernel change|change of shape");
    lab_table test = lab_table_new("width|train loss|test accuracy %|paper|regression, K at start|K at end|relative ridge|linearised model");
    int i, k;
    for (i = 0; i <= n; i++) { /* the last row is that of infinite width */
        int c = i < n ? configs[i] : infinite;
        const double *theirs = NULL;
        for (k = 0; k < 8; k++)
            if (i < n && standard && fabs(paper[k][0] - widths[i]) < 0.5) theirs = paper[k] + 1;
        lab_entry(&test, i < n ? "%.0f" : "infinite, NTK", i < n ? widths[i] : 0);
        lab_entries_and_paper(&test, l, c, -1, "train_loss e2|test_accuracy %2|paper f1|regression_accuracy[0] %2|regression_accuracy[1] %2|ridge[0] e0|"
                                               "linear_accuracy %2", theirs ? theirs + 1 : NULL);
        if (i == n) break;
        lab_entry(&move, "%.0f", widths[i]);
        lab_entries_and_paper(&move, l, c, -1, "movement s4|paper f4|distance f3|start_norm f3|layer_movement[0] f4|layer_movement[1] f4|layer_movement[2] f4|"
                                               "layer_movement[3] f4|kernel_change g4", theirs);
        lab_entry(&move, "%.3f", lab_over_seeds_of(l, c, "alignment", shape_change).mean);
    }
    lab_table_print(&move);
    lab_table_print(&test);
}

static void print_findings(lab *l, const double *widths, const int *configs, int n, int standard)
{
    static const struct { const char *what, *figure; double (*of)(double); } fitted[5] = {
        { "relative movement", "movement", NULL }, { "distance moved", "distance", NULL }, { "norm at the start", "start_norm", NULL },
        { "change of the kernel", "kernel_change", NULL }, { "change of its shape", "alignment", shape_change } };
    lab_stats s[5];
    int i;
    printf("exponents, fitted over all widths and seeds (the paper for the relative movement%s: -0.50)\n", standard ? "" : " in the standard parametrisation");
    for (i = 0; i < 5; i++) s[i] = lab_print_exponent(l, fitted[i].what, "width", widths, configs, n, fitted[i].figure, fitted[i].of);
    if (s[0].high < 0 && s[2].low > 0)
        printf("  %.0f %% of the fall of the relative movement is the growth of the norm at the start\n", -100 * s[2].mean / s[0].mean);
    if (!isnan(s[4].low)) printf("  towards the kernel regime, where K stays as it is: its shape's change %s, from %.3g at width %.0f to %.3g at %.0f\n",
        s[4].high < 0 ? "falls with width" : s[4].low > 0 ? "grows with width" : "has no trend that these cells can tell",
        lab_over_seeds_of(l, configs[0], "alignment", shape_change).mean, widths[0], lab_over_seeds_of(l, configs[n - 1], "alignment", shape_change).mean, widths[n - 1]);
    printf("\n");
}

static void draw(lab *l, const double *widths, int configs[2][LAB_LISTED], int n, int infinite)
{
    static const struct { const char *title, *axis, *name, *figure; double (*of)(double); } curves[] = { /* a title opens a panel */
        { "All parameters", "relative movement; norms", "relative movement", "movement", NULL }, { NULL, NULL, "distance moved", "distance", NULL },
        { NULL, NULL, "norm at the start", "start_norm", NULL }, { "Layer by layer", "relative movement", "layer 1", "layer_movement[0]", NULL },
        { NULL, NULL, "layer 2", "layer_movement[1]", NULL }, { NULL, NULL, "layer 3", "layer_movement[2]", NULL },
        { NULL, NULL, "layer 4", "layer_movement[3]", NULL }, { "Tangent kernel", "change in training", "relative change", "kernel_change", NULL },
        { NULL, NULL, "change of shape", "alignment", shape_change }, { "Test", "accuracy, %", "trained net", "test_accuracy", NULL },
        { NULL, NULL, "kernel at start", "regression_accuracy[0]", NULL }, { NULL, NULL, "kernel at end", "regression_accuracy[1]", NULL } };
    const char *lists = lab_text(l, "param"), *lr = lab_text(l, "lr");
    int standard = lab_lists(lists, "standard"), ntk = lab_lists(lists, "ntk"), i, j, k;
    lab_plot *p = lab_plot_new("MLP(w) on %s: movement, tangent kernel and accuracy as the net grows", lab_dataset_title(l));
    lab_stats limit = lab_element(l, infinite, "regression_accuracy", 0, 100);
    double theirs[LAB_LISTED];
    char text[80];
    for (j = 0; j < n; j++)
        for (theirs[j] = (double)NAN, k = 0; k < 8; k++)
            if (standard && fabs(paper[k][0] - widths[j]) < 0.5) theirs[j] = paper[k][1];
    for (i = 0; i < (int)(sizeof curves / sizeof curves[0]); i++) {
        int accuracy = i > 8;
        if (curves[i].title) lab_panel(p, curves[i].title, "width", curves[i].axis, LAB_LOG_X | LAB_POWERS_OF_TWO | (accuracy ? 0 : LAB_LOG_Y));
        for (k = 0; k < 2; k++) {
            snprintf(text, sizeof text, "%s%s", curves[i].name, k && standard ? ", NTK" : "");
            if (k ? ntk : standard) lab_curve_of(p, l, text, widths, configs[k], NULL, n, curves[i].figure, curves[i].of, accuracy ? 100 : 1);
            if (i == 0 && k == 0) lab_line(p, "the paper", widths, theirs, NULL, NULL, n, LAB_POINTS);
        }
    }
    lab_line(p, "infinite width", NULL, &limit.mean, NULL, NULL, 1, LAB_RULE);
    lab_plot_save(p, l, "%s parametrisation, %s, SGD with momentum 0.9, batch %d, rate %s, cosine schedule, %d epochs. Change of the kernel K: |K1 - K0| / |K0|, "
                  "and of its shape: |K1/|K1| - K0/|K0||, on the first %d training images. Regression with the kernel: on all %d.",
                  standard && ntk ? "Standard and NTK" : ntk ? "NTK" : "Standard", strcmp(lab_text(l, "loss"), "mse") ? "cross-entropy" : "squared loss", BATCH,
                  *lr ? lr : standard && ntk ? "0.01 (NTK 0.5)" : ntk ? "0.5" : "0.01", lab_int(l, "epochs"), lab_int(l, "kernel-images"),
                  lab_training_set(l)->n);
}

int main(int argc, char **argv)
{
    static const lab_flag flags[] = {
        { "widths", LAB_INTS, "16,64,256,1024", "32,64,128,256,512,1024,2048,4096", NULL, 1, 1e5, NULL, "hidden units w of MLP(w) = 784-w-w-w-10, rising" },
        { "param", LAB_WORDS, "standard", NULL, NULL, 0, 0, "standard|ntk", "parametrisation: PyTorch's default, NTK, or both" },
        { "loss", LAB_WORD, "ce", NULL, NULL, 0, 0, "ce|mse", "cross-entropy, or squared error on one-hot targets" },
        { "linear", LAB_SWITCH, "", NULL, NULL, 0, 0, NULL, "train the linearised model too: about three times as long" },
        { "kernel-images", LAB_INT, "200", "1000", NULL, 1, 1e5, NULL, "measure the kernel's change on the first N training images" },
        { "lr", LAB_NUMBER, "", NULL, NULL, 1e-9, 1e9, NULL, "rate; unset: the paper's 0.01, and 0.5 in the NTK parametrisation" },
        { "train", LAB_INT, "1000", "5000", NULL, 1, 1e5, NULL, "take the first N training images" },
        { "epochs", LAB_INT, "30", NULL, NULL, 1, 1e6, NULL, "epochs of training" },
        { "seeds", LAB_INT, "2", "3", "2", 1, 10000, NULL, "run with the seeds 1 to N" },
    };
    static const lab_experiment about = {
        "ntk", "does a wide network learn features, or is it a kernel machine?", "mnist|fashion|slice", flags, sizeof flags / sizeof flags[0],
        "train_loss|test_accuracy|movement|distance|start_norm|layer_movement|kernel_change|alignment|regression_accuracy|ridge|"
        "linear_accuracy", run };
    lab *l = lab_open(&about, argc, argv);
    int n, i, k, infinite, configs[2][LAB_LISTED];
    const double *widths = lab_rising_list(l, "widths", &n);
    for (k = 0; k < 2; k++)
        for (i = 0; i < n && lab_lists(lab_text(l, "param"), param_name[k]); i++) {
            int c = configs[k][i] = lab_config(l);
            lab_label(l, c, 1e5 + widths[i] * (widths[i] + 400), "%s, width %.0f", param_name[k], widths[i]);
            lab_set_text(l, c, "param", param_name[k]);
            lab_set_text(l, c, "loss", lab_text(l, "loss"));
            lab_set(l, c, "width", widths[i]);
            lab_set(l, c, "batch", BATCH);
            lab_set(l, c, "lr", *lab_text(l, "lr") ? lab_number(l, "lr") : rate[k]);
            lab_set_flags(l, c, "epochs");
            lab_set(l, c, "linear", lab_given(l, "linear"));
            lab_set(l, c, "kernel_images", fmin(lab_int(l, "kernel-images"), lab_training_set(l)->n));
        }
    infinite = lab_config(l);
    lab_set_text(l, infinite, "param", "infinite");
    lab_label(l, infinite, 1e5, "infinite width");
    if (lab_run(l)) {
        for (k = 0; k < 2; k++) {
            if (!lab_lists(lab_text(l, "param"), param_name[k])) continue;
            printf("MLP(w), %s parametrisation, mean ± standard deviation over seeds [95 %% interval]\n\n", param_name[k]);
            print_tables(l, widths, configs[k], n, infinite, k == 0);
            print_findings(l, widths, configs[k], n, k == 0);
        }
        draw(l, widths, configs, n, infinite);
    }
    return lab_close(l);
}
