/* batch_size.c - does a small batch end in a flatter minimum, and does a flatter minimum generalize better?

      cc -O2 -fopenmp examples/batch_size.c -o batch_size -lm && ./batch_size

   The paper trains one network with batches from 32 to 2048 and finds that small ones test better (experiment 2) and that the top
   eigenvalue of the Hessian is 11.6 times larger after batch 1024 than after batch 32 (experiment 3). This does it with an MLP, and
   adds the controls that tell the batch apart from what changes along with it:
      --lr-rule linear|fixed   the rate grows with the batch as theory has it (0.005 B/32), or not at all
      --equal steps            every batch size takes as many steps as batch 256 does, not as many epochs
      matched loss             curvature falls as the loss goes to zero. So lambda is measured a second time in each run, at the end
                               of the first epoch that leaves the training loss below --match-loss
   lambda is the top eigenvalue of the Hessian of the mean cross-entropy on the first 1,000 training images. */
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include "lab.h"

enum { HESSIAN_IMAGES = 1000 };

/* The paper's batch sizes, rates and test accuracies (CNN(32) with BN on CIFAR-10, 80 epochs). */
static const double paper[7][3] = { { 32, .005, 85.52 },  { 64, .0075, 85.47 }, { 128, .01, 84.72 }, { 256, .02, 84.74 },
                                    { 512, .04, 84.28 }, { 1024, .08, 84.17 }, { 2048, .10, 83.27 } };

/* The row of the paper's largest batch size that is not above this one (or of its smallest). */
static int paper_row(double batch)
{
    int i = 6;
    while (i > 0 && batch < paper[i][0]) i--;
    return i;
}

static double rate_of(double batch, const char *rule)
{
    return !strcmp(rule, "fixed") ? .01 : !strcmp(rule, "linear") ? .005 * batch / 32 : paper[paper_row(batch)][1];
}

/* The common level of the training loss: every batch size reaches it, and the smallest not within its first epoch. */
static double match_loss(lab *l)
{
    double set = lab_number(l, "match-loss");
    return set > 0 ? set : !strcmp(lab_training_set(l)->name, "mnist") ? 0.3 : 0.5;
}

/* ------------------------------------------------------------------------------------------------ the physics: one cell */

static genreg_model *make_model(lab_cell *cell) /* a convolutional net will join here */
{
    int w = lab_get_int(cell, "width"), sizes[5] = { cell->train->features, w, w, w, cell->train->classes };
    genreg_model *net = genreg_mlp(cell->ctx, sizes, 5);
    genreg_init(net, GENREG_INIT_PYTORCH, cell->seed);
    return net;
}

/* The top eigenvalue on the first images of the training set. */
static genreg_eigen top_eigenvalue(lab_cell *cell, genreg_model *net)
{
    genreg_dataset few = genreg_first(cell->ctx, cell->train, lab_get_int(cell, "hessian_images"));
    genreg_eigen_options o = genreg_eigen_defaults();
    o.iterations = lab_get_int(cell, "hessian_products");
    o.tol = lab_get(cell, "hessian_tol");
    o.seed = cell->seed;
    return genreg_hessian_top(net, &few, &o);
}

/* |w|^2 over weights, without biases. */
static double weight_norm2(const genreg_model *net)
{
    const genreg_parameter *p;
    double sum = 0;
    ptrdiff_t k;
    for (p = net->parameters; p < net->parameters + net->parameter_count; p++)
        for (k = p->offset; p->kind == GENREG_WEIGHT && k < p->offset + p->size; k++) sum += (double)net->theta->data[k] * (double)net->theta->data[k];
    return sum;
}

/* After each epoch: is this the first that leaves the training loss below the common level? The loss is taken anew, in evaluation
   mode: the running mean lags behind, and more so the fewer steps an epoch has. */
static void watch(lab_cell *cell, genreg_model *net, const genreg_progress *p)
{
    double loss = lab_found(cell, "match_epoch") > 0 ? (double)INFINITY : genreg_evaluate(net, cell->train).loss;
    if (loss <= lab_get(cell, "match_loss")) {
        genreg_eigen top = top_eigenvalue(cell, net);
        lab_figure(cell, "match_epoch", p->epoch);
        lab_figure(cell, "match_train_loss", loss);
        lab_figure(cell, "match_lambda", top.value);
        lab_figure(cell, "match_residual", top.residual);
    }
}

static void run(lab_cell *cell)
{
    genreg_model *net = make_model(cell);
    genreg_train_options o = genreg_train_defaults(); /* SGD, no weight decay */
    genreg_progress last;
    genreg_score test;
    genreg_eigen top;
    o.batch = lab_get_int(cell, "batch");
    o.lr = lab_get(cell, "lr");
    o.seed = cell->seed;
    o.epochs = lab_get_int(cell, "epochs");
    o.steps = (int64_t)lab_get(cell, "steps");
    o.momentum = lab_get(cell, "momentum");
    o.schedule = GENREG_COSINE;
    o.schedule_by_step = !strcmp(lab_get_text(cell, "schedule"), "cosine by step");
    if (!lab_train(cell, net, cell->train, &o, watch, &last)) return;

    test = genreg_evaluate(net, cell->test);
    top = top_eigenvalue(cell, net);
    lab_figure(cell, "train_accuracy", last.accuracy); /* running, as the paper's */
    lab_figure(cell, "test_accuracy", test.accuracy);
    lab_figure(cell, "gap", last.accuracy - test.accuracy);
    lab_figure(cell, "train_loss", genreg_evaluate(net, cell->train).loss);
    lab_figure(cell, "test_loss", test.loss);
    lab_figure(cell, "lambda", top.value);
    lab_figure(cell, "residual", top.residual);
    lab_figure(cell, "weight_norm2", weight_norm2(net));
    lab_figure(cell, "lambda_norm2", top.value * weight_norm2(net));
    lab_figure(cell, "steps_done", (double)last.step);
    lab_figure(cell, "lr_over_batch", lab_get(cell, "lr") / lab_get(cell, "batch"));
    lab_save(cell, net);
}

/* ------------------------------------------------------------------------------------------------ the report */

static void print_tables(lab *l, const double *batches, const int *configs, int n)
{
    lab_table accuracy = lab_table_new("batch|rate/batch|steps|train %|test %|gap, points|paper's test %");
    lab_table curvature = lab_table_new("batch|train loss|lambda|residual|lambda ‖w‖²|matched: epoch|train loss|lambda");
    int b;
    for (b = 0; b < n; b++) {
        int k = configs[b];
        lab_entry(&accuracy, "%.0f", batches[b]);
        lab_entry(&accuracy, "%.2e", lab_over_seeds(l, k, "lr_over_batch", 1).mean);
        lab_entry(&accuracy, "%.0f", lab_over_seeds(l, k, "steps_done", 1).mean);
        lab_entry_stats(&accuracy, lab_over_seeds(l, k, "train_accuracy", 100), 2);
        lab_entry_stats(&accuracy, lab_over_seeds(l, k, "test_accuracy", 100), 2);
        lab_entry_stats(&accuracy, lab_over_seeds(l, k, "gap", 100), 2);
        lab_entry(&accuracy, "%.2f", fabs(paper[paper_row(batches[b])][0] - batches[b]) < 0.5 ? paper[paper_row(batches[b])][2] : (double)NAN);

        lab_entry(&curvature, "%.0f", batches[b]);
        lab_entry(&curvature, "%.2e", lab_over_seeds(l, k, "train_loss", 1).mean);
        lab_entry_stats(&curvature, lab_over_seeds(l, k, "lambda", 1), 2);
        lab_entry(&curvature, "%.0e", lab_over_seeds(l, k, "residual", 1).mean);
        lab_entry_stats(&curvature, lab_over_seeds(l, k, "lambda_norm2", 1), 0);
        lab_entry(&curvature, "%.1f", lab_over_seeds(l, k, "match_epoch", 1).mean);
        lab_entry(&curvature, "%.3f", lab_over_seeds(l, k, "match_train_loss", 1).mean);
        lab_entry_stats(&curvature, lab_over_seeds(l, k, "match_lambda", 1), 2);
    }
    lab_table_print(&accuracy);
    lab_table_print(&curvature);
}

/* A ratio or difference in words, whichever way it goes. */
static void print_verdict(const char *when, lab_stats r, const char *unit, const char *above, const char *below, double neutral)
{
    const char *verdict = r.low > neutral ? above : r.high < neutral ? below : "no difference that these seeds can tell";
    if (r.n > 1) printf("  %s%.2f%s, 95 %% interval [%.2f, %.2f] over %d seeds: %s\n", when, r.mean, unit, r.low, r.high, r.n, verdict);
    else if (r.n) printf("  %s%.2f%s (one seed: no interval)\n", when, r.mean, unit);
    else printf("  %sno seed has both\n", when);
}

static void print_comparison(lab *l, const double *batches, const int *configs, int n)
{
    int small = 0, large = 0, b;
    for (b = 1; b < n; b++) {
        if (batches[b] < batches[small]) small = b;
        if (batches[b] > batches[large]) large = b;
    }
    if (small == large) return;
    printf("lambda of batch %.0f over lambda of batch %.0f (the paper's CNN on CIFAR-10, 1024 over 32 at the end: 11.6)\n", batches[large], batches[small]);
    print_verdict("at the end: ", lab_ratio(l, configs[large], configs[small], "lambda"), "", "the large batch is sharper", "the large batch is flatter", 1);
    print_verdict("the control says, at matched training loss: ", lab_ratio(l, configs[large], configs[small], "match_lambda"), "",
                  "the large batch is sharper", "the large batch is flatter", 1);
    printf("test accuracy of batch %.0f less that of batch %.0f (the paper, 32 less 1024: +1.61 points)\n", batches[small], batches[large]);
    print_verdict("", lab_difference(l, configs[small], configs[large], "test_accuracy", 100), " points", "the small batch is better", "the large batch is better", 0);
}

static void draw(lab *l, const double *widths, int width_count, const double *batches, int n)
{
    static const struct { const char *figure, *name; int scale; } curves[] = {
        { "test_accuracy", "test", 100 }, { "train_accuracy", "training", 100 }, { "lambda", "at the end", 1 }, { "match_lambda", "at matched training loss", 1 } };
    lab_plot *p = lab_plot_new("Batch size, accuracy and curvature");
    char text[400];
    int i, w, b, configs[LAB_LISTED];
    for (i = 0; i < 4; i++) {
        if (i == 0) lab_panel(p, "Accuracy", "batch size", "accuracy, %", LAB_LOG_X | LAB_POWERS_OF_TWO);
        if (i == 2) lab_panel(p, "Curvature", "batch size", "top Hessian eigenvalue", LAB_LOG_X | LAB_POWERS_OF_TWO | LAB_LOG_Y);
        for (w = 0; w < width_count; w++) {
            for (b = 0; b < n; b++) configs[b] = w * n + b;
            snprintf(text, sizeof text, "%s, MLP(%.0f)", curves[i].name, widths[w]);
            lab_curve(p, l, text, batches, configs, n, curves[i].figure, curves[i].scale);
        }
    }
    snprintf(text, sizeof text,
             "Means over seeds with 95 %% intervals; faint points are single seeds. SGD with momentum 0.9, cosine, rates: %s, equal %s, %d epochs%s. "
             "Eigenvalues on the first %d training images; matched: after the first epoch with training loss at most %g.",
             lab_text(l, "lr-rule"), lab_text(l, "equal"), lab_int(l, "epochs"), lab_text(l, "equal")[0] == 's' ? " of batch 256" : "", HESSIAN_IMAGES,
             match_loss(l));
    lab_plot_save(p, l, text);
}

int main(int argc, char **argv)
{
    static const lab_flag flags[] = {
        { "batches", LAB_INTS, "32,64,128,256,512,1024,2048", NULL, NULL, 1, 1e9, NULL, "batch sizes" },
        { "widths", LAB_INTS, "256", "512", NULL, 1, 1e5, NULL, "hidden units w of MLP(w) = 784-w-w-w-10" },
        { "lr-rule", LAB_WORD, "paper", NULL, NULL, 0, 0, "paper|linear|fixed", "rate: the paper's, 0.005 B/32, or 0.01" },
        { "equal", LAB_WORD, "epochs", NULL, NULL, 0, 0, "epochs|steps", "what batch sizes have in common; steps: those of batch 256" },
        { "match-loss", LAB_NUMBER, "", NULL, NULL, 1e-9, 1e9, NULL, "training loss at which curvature is compared; else 0.3, on Fashion-MNIST 0.5" },
        { "train", LAB_INT, "2000", "", NULL, 1, 1e9, NULL, "take the first N training images; unset: all" },
        { "epochs", LAB_INT, "80", NULL, NULL, 1, 1e6, NULL, "epochs of training" },
        { "seeds", LAB_INT, "3", NULL, NULL, 1, 10000, NULL, "run with the seeds 1 to N" },
    };
    static const char *const figures[] = { "train_accuracy", "test_accuracy", "gap", "train_loss", "test_loss", "lambda", "residual", "weight_norm2",
                                           "lambda_norm2", "match_epoch", "match_train_loss", "match_lambda", "match_residual", "steps_done", "lr_over_batch" };
    static const lab_experiment about = { "batch_size", "does a small batch end in a flatter minimum, and does that generalize better?", "mnist|fashion|slice",
                                          flags, sizeof flags / sizeof flags[0], figures, sizeof figures / sizeof figures[0], run };
    lab *l = lab_open(&about, argc, argv);
    int n, width_count, w, b, configs[LAB_LISTED], equal_steps = lab_text(l, "equal")[0] == 's';
    const double *batches = lab_list(l, "batches", &n), *widths = lab_list(l, "widths", &width_count);
    for (w = 0; w < width_count; w++)
        for (b = 0; b < n; b++) {
            double epochs = lab_number(l, "epochs"), images = lab_training_set(l)->n, steps = equal_steps ? epochs * ceil(images / 256) : 0;
            int k = lab_config(l);
            lab_label(l, k, (equal_steps ? steps * batches[b] : images) * (1 + 20 / batches[b]) * widths[w], "w %.0f, batch %.0f", widths[w], batches[b]);
            lab_set_text(l, k, "model", "mlp");
            lab_set(l, k, "width", widths[w]);
            lab_set(l, k, "batch", batches[b]);
            lab_set(l, k, "lr", rate_of(batches[b], lab_text(l, "lr-rule")));
            lab_set(l, k, "momentum", 0.9);
            lab_set_text(l, k, "schedule", equal_steps ? "cosine by step" : "cosine by epoch"); /* equal steps can be a fraction of an epoch */
            lab_set(l, k, "epochs", equal_steps ? 0 : epochs);
            lab_set(l, k, "steps", steps);
            lab_set(l, k, "match_loss", match_loss(l));
            lab_set(l, k, "hessian_images", HESSIAN_IMAGES);
            lab_set(l, k, "hessian_tol", 1e-3);
            lab_set(l, k, "hessian_products", 200);
        }
    if (lab_run(l)) {
        for (w = 0; w < width_count; w++) {
            for (b = 0; b < n; b++) configs[b] = w * n + b;
            printf("MLP(%.0f), mean ± standard deviation over seeds [95 %% interval]\n\n", widths[w]);
            print_tables(l, batches, configs, n);
            print_comparison(l, batches, configs, n);
            printf("\n");
        }
        draw(l, widths, width_count, batches, n);
    }
    return lab_close(l);
}
