/* batch_size.c - does a small batch end in a flatter minimum, and does a flatter minimum generalize better?

      cc -O2 -fopenmp examples/batch_size.c -o batch_size -lm && ./batch_size

   The paper (Z. Johannsen, arXiv 2604.07603, 2026) trains one network with batches from 32 to 2048 and finds that small ones test better
   (experiment 2) and that the Hessian's top eigenvalue is 11.6 times larger after batch 1024 than after 32 (experiment 3). With --dataset cifar10 this trains
   the paper's CNN, in the preset paper to the letter; on the smaller sets an MLP, or a CNN with --model cnn. It adds the controls that
   tell the batch apart from what changes along with it:
      --lr-rule linear|fixed   the rate grows with the batch as theory has it (0.005 B/32), or not at all
      --equal steps            every batch size takes as many steps as batch 256 does, not as many epochs
      matched loss             curvature falls as the loss goes to zero. So lambda is measured a second time in each run, at the end
                               of the first epoch that leaves the training loss at --match-loss or below
   lambda is the top eigenvalue of the Hessian of the mean cross-entropy on the first 1,000 training images. */
#define GENREG_STATIC /* the compiler drops what this file does not use */
#define GENREG_IMPLEMENTATION
#include "lab.h"

enum { HESSIAN_IMAGES = 1000, GD_IMAGES = 5000, GD_STEPS = 80 };

/* The paper's batch sizes, rates and test accuracies (CNN(32) with BN on CIFAR-10, 80 epochs). */
static const double paper[7][3] = { { 32, .005, 85.52 },  { 64, .0075, 85.47 }, { 128, .01, 84.72 }, { 256, .02, 84.74 },
                                    { 512, .04, 84.28 }, { 1024, .08, 84.17 }, { 2048, .10, 83.27 } };

/* Its other two rows, at rate 0.001: Adam, and gradient descent on a random 5,000 images at once. */
static const struct { const char *name; double batch, paper; } others[2] = { { "adam", 128, 85.47 }, { "gd", GD_IMAGES, 32.71 } };

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

/* The training loss at which curvature is compared: low enough that even the smallest batch takes more than an epoch to reach it, high enough that
   the largest gets there. */
static double match_loss(lab *l)
{
    double set = lab_number(l, "match-loss");
    return set > 0 ? set : !strcmp(lab_training_set(l)->name, "mnist") ? 0.3 : 0.5;
}

static int is_cnn(lab *l) { return !strcmp(lab_text(l, "model"), "cnn"); }

/* ------------------------------------------------------------------------------------------------ the physics: one cell */

static void watch(lab_cell *cell, genreg_model *net, const genreg_progress *p) { lab_match_curvature(cell, net, p, cell->train->n, -1); }

static void run(lab_cell *cell)
{
    const char *model = lab_get_text(cell, "model"), *optimizer = strcmp(model, "cnn") ? "sgd" : lab_get_text(cell, "optimizer");
    genreg_model *net = lab_paper_net(cell, model, lab_get_int(cell, "width"), 1);
    int gd = !strcmp(optimizer, "gd");
    genreg_dataset d = gd ? genreg_sample(cell->ctx, cell->train, GD_IMAGES, cell->seed) : *cell->train;
    genreg_train_options o = lab_train_options(cell); /* no weight decay */
    genreg_progress last;
    genreg_eigen top;
    genreg_score test;
    o.steps = (int64_t)lab_get(cell, "steps");
    o.optimizer = !strcmp(optimizer, "adam") ? GENREG_OPTIMIZER_ADAM : GENREG_OPTIMIZER_SGD;
    o.schedule = GENREG_SCHEDULE_COSINE;
    o.schedule_by_step = !strcmp(lab_get_text(cell, "schedule"), "cosine by step");
    if (!lab_train(cell, net, &d, &o, gd ? NULL : watch, &last)) return;

    test = genreg_evaluate(net, cell->test);
    genreg_hessian_close(lab_open_hessian(cell, net, &d, 1, &top, NULL));
    lab_figure(cell, "train_accuracy", last.accuracy); /* running, as the paper's */
    lab_figure(cell, "test_accuracy", test.accuracy);
    lab_figure(cell, "gap", last.accuracy - test.accuracy);
    lab_figure(cell, "train_loss", genreg_evaluate(net, &d).loss);
    lab_figure(cell, "test_loss", test.loss);
    lab_figure(cell, "lambda", top.value);
    lab_figure(cell, "residual", top.residual);
    lab_figure(cell, "weight_norm2", lab_weight_norm2(net));
    lab_figure(cell, "lambda_norm2", top.value * lab_weight_norm2(net));
    lab_figure(cell, "steps_done", (double)last.step);
    lab_figure(cell, "lr_over_batch", lab_get(cell, "lr") / lab_get(cell, "batch"));
    lab_save(cell, net, NULL);
}

/* ------------------------------------------------------------------------------------------------ the report */

static void print_tables(lab *l, const double *batches, const int *configs, int n, int extra)
{
    lab_table accuracy = lab_table_new("batch|rate/batch|steps|train accuracy %|test accuracy %|gap|paper (CNN, CIFAR-10)");
    lab_table curvature = lab_table_new("batch|train loss|lambda|residual|lambda ‖w‖²|matched loss: epoch|train loss|lambda");
    int b, i;
    for (b = 0; b < n + extra; b++) {
        int k = configs[b], row = b < n ? paper_row(batches[b]) : 0;
        lab_table *both[2] = { &accuracy, &curvature };
        for (i = 0; i < 2; i++)
            lab_entry(both[i], "%.0f%s%s", b < n ? batches[b] : others[b - n].batch, b < n ? "" : " ", b < n ? "" : others[b - n].name);
        lab_entries(&accuracy, l, k, -1, "lr_over_batch e2|steps_done f0|train_accuracy %2|test_accuracy %2|gap %2");
        lab_entry(&accuracy, "%.2f", b >= n ? others[b - n].paper : fabs(paper[row][0] - batches[b]) < 0.5 ? paper[row][2] : (double)NAN);
        lab_entries(&curvature, l, k, -1, "train_loss e2|lambda s2|residual e0|lambda_norm2 s0|match_epoch f1|match_train_loss f3|match_lambda s2");
    }
    lab_table_print(&accuracy);
    lab_table_print(&curvature);
}

/* The larger batch beside the smaller: places a and b of the list. */
static void compare(lab *l, const double *batches, const int *configs, int a, int b)
{
    const char *sharper = "the large batch is sharper", *flatter = "the large batch is flatter";
    const double *theirs = paper[paper_row(batches[a])], *others_of = paper[paper_row(batches[b])];
    char text[120];
    printf("batch %.0f beside batch %.0f\n", batches[b], batches[a]);
    lab_verdict("lambda of the large over that of the small, at the end: ", lab_ratio(l, configs[b], configs[a], "lambda"), "", 1, sharper, flatter);
    lab_stats matched[2] = { lab_over_seeds(l, configs[b], "match_train_loss", 1), lab_over_seeds(l, configs[a], "match_train_loss", 1) };
    if (matched[0].n && matched[1].n) snprintf(text, sizeof text, "the control says, at training losses of %.2g and %.2g: ", matched[0].mean, matched[1].mean);
    else snprintf(text, sizeof text, "the control, at a training loss of %g: ", match_loss(l));
    lab_verdict(text, lab_ratio(l, configs[b], configs[a], "match_lambda"), "", 1, sharper, flatter);
    lab_verdict("test accuracy of the small less that of the large: ", lab_difference(l, configs[a], configs[b], "test_accuracy", 100), " points", 0,
                "the small batch is better", "the large batch is better");
    if (fabs(theirs[0] - batches[a]) < 0.5 && fabs(others_of[0] - batches[b]) < 0.5)
        printf("  (the paper's CNN on CIFAR-10: %+.2f points%s)\n", theirs[2] - others_of[2],
               theirs[0] < 33 && others_of[0] > 1023 && others_of[0] < 1025 ? ", and 11.6 for lambda at the end" : "");
}

static void print_comparison(lab *l, const double *batches, const int *configs, int n)
{
    int a, b;
    for (a = 0; a < n && fabs(batches[a] - 32) > 0.5; a++) {}
    for (b = 0; b < n && fabs(batches[b] - 1024) > 0.5; b++) {}
    if (b < n - 1 && a < n) compare(l, batches, configs, a, b); /* the paper's two */
    if (n > 1) compare(l, batches, configs, 0, n - 1);
    printf("over all batch sizes\n");
    lab_print_peak(l, "test accuracy in %", "batch", batches, configs, NULL, n, "test_accuracy", 100);
}

static void draw(lab *l, const double *widths, int width_count, const double *batches, int n, int extra)
{
    static const struct { const char *figure, *name; int scale; } curves[] = {
        { "test_accuracy", "test", 100 }, { "train_accuracy", "training", 100 }, { "lambda", "at the end", 1 },
        { "match_lambda", "at matched training loss", 1 } };
    const char *rule = lab_text(l, "lr-rule"), *net = is_cnn(l) ? "CNN" : "MLP", *data = lab_dataset_title(l), *equal = lab_text(l, "equal");
    int i, w, b, configs[LAB_LISTED];
    lab_plot *p = width_count > 1 ? lab_plot_new("%s(w) on %s: batch size, accuracy and curvature, equal %s", net, data, equal)
                                  : lab_plot_new("%s(%.0f) on %s: batch size, accuracy and curvature, equal %s", net, widths[0], data, equal);
    char text[400];
    for (i = 0; i < 4; i++) {
        if (i == 0) lab_panel(p, "Accuracy", "batch size", "accuracy, %", LAB_LOG_X | LAB_POWERS_OF_TWO);
        if (i == 2) lab_panel(p, "Curvature", "batch size", "top eigenvalue of the Hessian", LAB_LOG_X | LAB_POWERS_OF_TWO | LAB_LOG_Y);
        for (w = 0; w < width_count; w++) {
            for (b = 0; b < n; b++) configs[b] = w * (n + extra) + b;
            snprintf(text, sizeof text, width_count > 1 ? "%s, w = %.0f" : "%s", curves[i].name, widths[w]);
            lab_curve(p, l, text, batches, configs, n, curves[i].figure, curves[i].scale);
        }
    }
    lab_plot_save(p, l, "SGD with momentum 0.9, cosine schedule, rates from %g at batch %.0f to %g at %.0f; %s %d epochs. Eigenvalue of the Hessian on the first "
                  "%d training images; matched: after the first epoch with a training loss of at most %g.", rate_of(batches[0], rule), batches[0],
                  rate_of(batches[n - 1], rule), batches[n - 1], *equal == 's' ? "for each batch size as many steps as batch 256 takes in" : "each trained for",
                  lab_int(l, "epochs"), HESSIAN_IMAGES, match_loss(l));
}

int main(int argc, char **argv)
{
    static const lab_flag flags[] = {
        { "batches", LAB_INTS, "32,64,128,256,512,1024,2048", NULL, NULL, 1, 1e9, NULL, "batch sizes, rising" },
        { "model", LAB_WORD, "", NULL, NULL, 0, 0, "mlp|cnn", "cnn on CIFAR-10 and mlp elsewhere, unless given" },
        { "widths", LAB_INTS, "256", "512", NULL, 1, 1e5, NULL, "hidden units w of MLP(w) = 784-w-w-w-10; channels of CNN(w) with batch norm" },
        { "optimizers", LAB_WORD, "sgd", NULL, NULL, 0, 0, "sgd|all", "all, which needs a CNN: Adam and full-batch gradient descent too" },
        { "lr-rule", LAB_WORD, "paper", NULL, NULL, 0, 0, "paper|linear|fixed", "rate: the paper's, 0.005 B/32, or 0.01" },
        { "equal", LAB_WORD, "epochs", NULL, NULL, 0, 0, "epochs|steps", "what batch sizes have in common; steps: all take those of batch 256 in --epochs" },
        { "match-loss", LAB_NUMBER, "", NULL, NULL, 1e-9, 1e9, NULL, "training loss at which curvature is compared; unset: 0.3 on MNIST, 0.5 elsewhere" },
        { "train", LAB_INT, "2000", "", NULL, 1, 1e9, NULL, "take the first N training images; unset: all" },
        { "epochs", LAB_INT, "80", NULL, NULL, 1, 1e6, NULL, "epochs of training" },
    };
    static const lab_experiment about = {
        "batch_size", "does a small batch end in a flatter minimum, and does that generalize better?", "mnist|fashion|slice|cifar10",
        flags, sizeof flags / sizeof flags[0],
        "train_accuracy|test_accuracy|gap|train_loss|test_loss|lambda|residual|weight_norm2|lambda_norm2|match_epoch|match_train_loss|"
        "match_lambda|match_residual|steps_done|lr_over_batch", run };
    lab *l = lab_open(&about, argc, argv);
    int n, width_count, w, b, extra, cnn, configs[LAB_LISTED + 2], equal_steps = lab_text(l, "equal")[0] == 's';
    const double *batches, *widths;
    lab_preset(l, "model", strcmp(lab_training_set(l)->name, "cifar10") ? "mlp" : "cnn", NULL, NULL);
    if ((cnn = is_cnn(l)) != 0) {
        lab_preset(l, "batches", "16,32,64,128,256", "32,64,128,256,512,1024,2048", NULL);
        lab_preset(l, "widths", "8", "32", NULL);
        lab_preset(l, "optimizers", "sgd", "all", NULL);
        lab_preset(l, "train", "1000", "10000", "");
        lab_preset(l, "epochs", "10", "30", "80");
        lab_preset(l, "memory", "1", "5", NULL); /* a step of full-batch gradient descent on 5,000 images takes 4.1 GiB */
        lab_pad(l, 32);
    }
    batches = lab_rising_list(l, "batches", &n);
    widths = lab_list(l, "widths", &width_count);
    extra = !strcmp(lab_text(l, "optimizers"), "all") ? 2 : 0;
    if (extra && !cnn) lab_fail(l, 2, "--optimizers all goes with --model cnn");
    for (w = 0; w < width_count; w++)
        for (b = 0; b < n + extra; b++) {
            double epochs = lab_number(l, "epochs"), images = lab_training_set(l)->n, steps = equal_steps && b < n ? epochs * ceil(images / 256) : 0;
            double batch = b < n ? batches[b] : others[b - n].batch;
            int k = lab_config(l), gd = b == n + 1;
            if (gd) steps = GD_STEPS;
            lab_label(l, k, (steps > 0 ? steps * batch / epochs : images) * (1 + 20 / batch) * widths[w], "w %.0f, %s %.0f", widths[w],
                      b < n ? "batch" : others[b - n].name, batch);
            lab_set_text(l, k, "model", cnn ? "cnn" : "mlp");
            if (cnn) lab_set_text(l, k, "optimizer", b < n ? "sgd" : others[b - n].name);
            lab_set(l, k, "width", widths[w]);
            lab_set(l, k, "batch", batch);
            lab_set(l, k, "lr", b < n ? rate_of(batch, lab_text(l, "lr-rule")) : .001);
            lab_set(l, k, "momentum", 0.9);
            lab_set_text(l, k, "schedule", equal_steps && b < n ? "cosine by step" : "cosine by epoch"); /* equal steps can be a fraction of an epoch */
            lab_set(l, k, "epochs", steps > 0 ? 0 : epochs);
            lab_set(l, k, "steps", steps);
            lab_set(l, k, "match_loss", match_loss(l));
            lab_set(l, k, "hessian_images", HESSIAN_IMAGES);
            lab_set(l, k, "hessian_tol", 1e-3);
            lab_set(l, k, "hessian_products", 100);
        }
    if (lab_run(l)) {
        for (w = 0; w < width_count; w++) {
            for (b = 0; b < n + extra; b++) configs[b] = w * (n + extra) + b;
            printf("%s(%.0f), mean ± standard deviation over seeds [95 %% interval]\n\n", cnn ? "CNN" : "MLP", widths[w]);
            print_tables(l, batches, configs, n, extra);
            print_comparison(l, batches, configs, n);
            printf("\n");
        }
        draw(l, widths, width_count, batches, n, extra);
    }
    return lab_close(l);
}
