/* lottery.c - does a trained network hold a small one that would have trained as well, from its own initial weights?

      cc -O2 -fopenmp examples/lottery.c -o lottery -lm && ./lottery

   The paper's experiment 4 (Z. Johannsen, arXiv 2604.07603, 2026): CNN(32) with batch normalisation is trained, its smallest weights are pruned, the rest goes back to its initial
   values and is trained again: with 10 % of the weights it comes within 1.15 points of the dense net. With --dataset cifar10 this does the
   same, in the preset paper to the letter; on the smaller sets it trains LeNet-300-100 (Frankle and Carbin 2019). It adds:
      --mode iterative   each level is cut from the trained ticket of the level before: a fifth of the weights a round
      --controls         at every level, each with as many epochs as the ticket: its mask with other initial weights (reinit), its weights with the
                         mask of each layer in a random order (shuffle) or with a random mask of the same size (random)
      --rewind K         tickets, shuffle and random go back to step K of the dense run, not to its start (Frankle et al. 2020)
      --instability      each ticket is trained twice, in two orders of the data: how far does the error rise on the line between the two?
      --mask FILE        the mask of a model that --save has left, instead of one found here: does a ticket fit another seed?
   A cell is a seed with all its levels. Element 0 of a list is the dense net. */
#define GENREG_STATIC /* the compiler drops what this file does not use */
#define GENREG_IMPLEMENTATION
#include "lab.h"

enum { LEVELS = 64, BATCH = 128, LAYERS = 8, LINE = 11, STATISTICS_IMAGES = 2000 };
enum { REINIT, SHUFFLE, RANDOM, TWIN, CONTROLS = TWIN }; /* TWIN: the ticket once more, for --instability */
static const char *const control_name[CONTROLS + 1] = { "reinit", "shuffle", "random", "twin" };

/* The paper's levels, tickets and its control (with other random weights). */
static const double paper[7][3] = { { 100, 84.87, (double)NAN }, { 70, 85.27, (double)NAN }, { 50, 84.86, (double)NAN }, { 30, 84.74, (double)NAN },
                                    { 20, 84.47, (double)NAN }, { 10, 83.72, 80.92 }, { 5, 81.48, (double)NAN } };

/* CNN(width) with batch norm, or LeNet-300-100 for width 0. */
static genreg_model *make_model(genreg_ctx *c, const genreg_dataset *d, int width, uint64_t seed)
{
    int sizes[] = { d->features, 300, 100, d->classes };
    genreg_model *net = width ? genreg_cnn(c, d->shape, width, 1, d->classes) : genreg_mlp(c, sizes, 4);
    genreg_init(net, GENREG_INIT_PYTORCH, seed);
    return net;
}

/* ------------------------------------------------------------------------------------------------ the physics: one cell, a seed with all levels */

static uint64_t other_seed(const lab_cell *cell, int k) { return cell->seed + ((uint64_t)k << 53); } /* no cell has it */

/* Trains from the snapshot on (NULL: from the beginning) and writes element i of a figure. */
static int train(lab_cell *cell, genreg_model *net, const genreg_train_options *o, const genreg_snapshot *start, const char *figure, int i)
{
    genreg_progress last;
    if (!lab_train_from(cell, net, cell->train, o, start, NULL, &last)) return 0;
    if (!strcmp(figure, "ticket")) lab_figure_at(cell, "ticket_train_accuracy", i, last.accuracy);
    lab_figure_at(cell, figure, i, genreg_evaluate(net, cell->test).accuracy);
    return lab_alive(cell);
}

/* Trains control k of net, which is the trained ticket of level i. */
static int train_control(lab_cell *cell, genreg_model *net, genreg_model *control, genreg_train_options o, const genreg_snapshot *start,
                         int k, double level, int i)
{
    genreg_prune_options random = genreg_prune_defaults();
    genreg_dataset few;
    random.criterion = GENREG_CRITERION_RANDOM;
    random.seed = other_seed(cell, 3 + i);
    genreg_set_mask(control, k == RANDOM ? NULL : net->mask, net->theta->size);
    if (k == REINIT) genreg_init(control, GENREG_INIT_PYTORCH, other_seed(cell, 1));
    if (k == SHUFFLE) genreg_shuffle_mask(control, random.seed);
    if (k == RANDOM) genreg_prune(control, level / 100, &random);
    if (k == TWIN) o.seed = other_seed(cell, 2); /* of the order */
    if (!train(cell, control, &o, k == REINIT ? NULL : start, control_name[k], i) || k != TWIN) return lab_alive(cell);
    few = genreg_first(cell->ctx, cell->train, STATISTICS_IMAGES);
    lab_figure_at(cell, "barrier", i, genreg_line(net, control, LINE, cell->test, &few, NULL).error);
    return lab_alive(cell);
}

static void run(lab_cell *cell)
{
    const char *controls = lab_get_text(cell, "controls"), *saved = lab_text(cell->in, "mask");
    double level[LAB_LISTED];
    int width = lab_get_int(cell, "width"), one_shot = !strcmp(lab_get_text(cell, "mode"), "oneshot");
    int n = lab_get_list(cell, "levels", level), more = 0, i, k, p;
    genreg_model *net = make_model(cell->ctx, cell->train, width, cell->seed), *control = make_model(cell->ctx, cell->train, width, cell->seed);
    genreg_model *given = *saved ? genreg_load_model(cell->ctx, saved) : NULL;
    genreg_train_options o = lab_train_options(cell); /* SGD, momentum 0.9, cosine, no weight decay */
    genreg_snapshot *start, *dense = NULL;
    genreg_trainer *t;
    for (k = 0; k <= CONTROLS; k++) more += lab_lists(controls, control_name[k]);
    lab_trainings(cell, n * (1 + more));
    t = genreg_trainer_create(net, cell->train, &o);
    for (i = lab_get_int(cell, "rewind"); i > 0 && lab_alive(cell); i--) genreg_trainer_step(t);
    start = genreg_snapshot_take(net, t); /* where tickets go back to */
    genreg_trainer_free(t);
    for (i = 0; i < n && lab_alive(cell); i++) {
        ptrdiff_t left[4 * LAYERS];
        if (i && one_shot && genreg_set_mask(net, NULL, 0)) genreg_rewind(net, NULL, dense); /* every level is cut from the trained dense net */
        if (i && given) genreg_set_mask(net, given->mask, given->theta->size);
        else if (i) genreg_prune(net, level[i] / 100, NULL); /* by magnitude over all weights */
        lab_figure_at(cell, "kept", i, (double)genreg_kept(net, GENREG_KIND_WEIGHT, left));
        for (p = k = 0; p < net->parameter_count; p++)
            if (net->parameters[p].kind == GENREG_KIND_WEIGHT)
                lab_figure_at(cell, "layer_kept", i * LAYERS + k++, (double)left[p] / (double)net->parameters[p].size);
        if (!train(cell, net, &o, start, "ticket", i)) return; /* goes back to the start, under the mask, and trains */
        if (i == 0) dense = genreg_snapshot_take(net, NULL);
        if (i == n - 1) lab_save(cell, net, NULL);
        for (k = i ? 0 : TWIN; k <= TWIN; k++)
            if (lab_lists(controls, control_name[k]) && !train_control(cell, net, control, o, start, k, level[i], i)) return;
    }
}

/* ------------------------------------------------------------------------------------------------ the report */

static void print_tables(lab *l, const double *level, int n, int cnn)
{
    static const char *const control_columns[CONTROLS] = {
        "reinit|test accuracy %|ticket less it|paper (CNN, CIFAR-10)", "shuffle|test accuracy %|ticket less it", "random|test accuracy %|ticket less it" };
    lab_table t = lab_table_new("ticket|weights|train accuracy %|test accuracy %|less dense|paper (CNN, CIFAR-10)|error barrier, points");
    int i, k, p;
    for (k = -1; k < CONTROLS; k++) {
        const char *figure = k < 0 ? "ticket" : control_name[k];
        if (k >= 0 && !lab_lists(lab_text(l, "controls"), figure)) continue;
        if (k >= 0) t = lab_table_new(control_columns[k]);
        for (i = k >= 0; i < n; i++) {
            for (p = 6; p >= 0 && fabs(paper[p][0] - level[i]) > 1e-9; p--) {}
            lab_entry(&t, "%.3g %%", level[i]);
            if (k < 0) lab_entries(&t, l, 0, i, "kept f0|ticket_train_accuracy %2");
            lab_entry_stats(&t, lab_clip(lab_element(l, 0, figure, i, 100), 100), 2);
            lab_entry_stats(&t, lab_compare(l, 0, "ticket", i, 0, figure, k < 0 ? 0 : i, 100), 2);
            if (k < 1) lab_entry(&t, "%.2f", p < 0 ? (double)NAN : paper[p][k + 2]);
            if (k < 0) lab_entries(&t, l, 0, i, "barrier %2");
        }
        lab_table_print(&t);
    }
    t = lab_table_new(cnn ? "left of each layer, %|conv 1|conv 2|conv 3|conv 4|conv 5|conv 6|linear 1|linear 2" : "left of each layer, %|linear 1|linear 2|linear 3");
    for (i = 0; i < n; i++) {
        lab_entry(&t, "%.3g %%", level[i]);
        for (k = 0; k < (cnn ? 8 : 3); k++) lab_entry(&t, "%.2f", lab_element(l, 0, "layer_kept", i * LAYERS + k, 100).mean);
    }
    lab_table_print(&t);
}

/* Where a figure falls below another, at the same level or at 100 %: the first level at which the interval of the paired difference lies below zero, if it
   does so at the next level too, or if there is no next one. */
static void say_where(lab *l, const double *level, int n, const char *what, const char *figure, const char *than, int full)
{
    lab_stats s = lab_compare(l, 0, figure, n - 1, 0, "ticket", full ? 0 : n - 1, 100), next = s, found = s;
    int i, at = 0;
    for (i = n - 1; i > 0; i--, next = s) {
        s = lab_compare(l, 0, figure, i, 0, "ticket", full ? 0 : i, 100);
        if (s.high < 0 && next.high < 0) { at = i; found = s; }
    }
    if (!at) printf("  %s below %s: at no level that these seeds can tell\n", what, than);
    else printf("  %s below %s: from %.3g %% on, by %.2f points, 95 %% interval [%.2f, %.2f] over %d seeds\n", what, than, level[at],
                -found.mean, -found.high, -found.low, found.n);
}

static void report(lab *l, const double *level, int n, int cnn)
{
    static const char *const title[CONTROLS] = {
        "reinit: other weights, same mask", "shuffle: same weights, mask shuffled by layer", "random: same weights, random mask" };
    lab_stats dense = lab_element(l, 0, "ticket", 0, 100);
    const char *controls = lab_text(l, "controls"), *data = lab_dataset_title(l);
    lab_plot *p = cnn ? lab_plot_new("CNN(%d) with batch norm on %s: lottery tickets and their controls", cnn, data)
                      : lab_plot_new("LeNet-300-100 on %s: lottery tickets and their controls", data);
    double zero = 0;
    int k;
    printf("%s, mean ± standard deviation over seeds [95 %% interval]\n\n", cnn ? "CNN with batch norm" : "LeNet-300-100");
    print_tables(l, level, n, cnn);
    printf("test accuracy over the share of weights that is left: where two levels in a row, or the last one, are below\n");
    say_where(l, level, n, "ticket", "ticket", "the dense net", 1);
    lab_panel(p, "Test", "weights kept, %", "accuracy, %", LAB_LOG_X);
    lab_curve_of_list(p, l, "ticket", level + 1, n - 1, 0, "ticket", 1, 100);
    for (k = 0; k < CONTROLS; k++) {
        if (!lab_lists(controls, control_name[k])) continue;
        say_where(l, level, n, control_name[k], control_name[k], "the dense net", 1);
        say_where(l, level, n, control_name[k], control_name[k], "the ticket", 0);
        lab_curve_of_list(p, l, title[k], level + 1, n - 1, 0, control_name[k], 1, 100);
    }
    if (!strcmp(lab_training_set(l)->name, "mnist") && dense.mean < 98)
        printf("  the dense net has %.2f %%, less than 98 %%: the comparison does not count; give it more --epochs\n", dense.mean);
    printf("\n");
    lab_line(p, "dense net", NULL, &dense.mean, &dense.low, &dense.high, 1, LAB_RULE);
    lab_panel(p, "Test, seed by seed less the dense net", "weights kept, %", "difference, points", LAB_LOG_X);
    lab_curve_of_difference(p, l, "ticket", level + 1, n - 1, 0, "ticket", 1, "ticket", 0, 100);
    for (k = 0; k < CONTROLS; k++)
        if (lab_lists(controls, control_name[k])) lab_curve_of_difference(p, l, title[k], level + 1, n - 1, 0, control_name[k], 1, "ticket", 0, 100);
    lab_line(p, "dense net", NULL, &zero, NULL, NULL, 1, LAB_RULE);
    if (lab_given(l, "instability")) {
        lab_panel(p, "Between two orders of the data", "weights kept, %", "error barrier, points", LAB_LOG_X);
        lab_curve_of_list(p, l, "", level, n, 0, "barrier", 0, 100);
    }
    lab_plot_save(p, l, "SGD with momentum 0.9, batch %d, rate %g, cosine schedule, %d epochs for every net. Weights are pruned by magnitude over all layers, %s, "
                  "and go back to step %d.", BATCH, lab_number(l, "lr"), lab_int(l, "epochs"), *lab_text(l, "mask") ? "by a saved mask" :
                  strcmp(lab_text(l, "mode"), "iterative") ? "each time from the dense net" : "each time from the ticket before", lab_int(l, "rewind"));
}

int main(int argc, char **argv)
{
    static const lab_flag flags[] = {
        { "mode", LAB_WORD, "oneshot", NULL, NULL, 0, 0, "oneshot|iterative", "cut every level from the dense net, or each from the ticket before" },
        { "levels", LAB_NUMBERS, "", NULL, NULL, 0.01, 100, NULL, "weights to keep, in %, falling; unset: 100, 80, 64, ... to 2" },
        { "rewind", LAB_INT, "0", NULL, NULL, 0, 1e9, NULL, "the step of the dense run that tickets go back to" },
        { "controls", LAB_WORDS, "reinit", NULL, NULL, 0, 0, "reinit|shuffle|random|none", "what to train beside each ticket" },
        { "instability", LAB_SWITCH, "", NULL, NULL, 0, 0, NULL, "train each ticket twice and measure the error barrier between the two" },
        { "mask", LAB_TEXT, "", NULL, NULL, 0, 0, "FILE", "train the mask of this model (of --save) instead of finding one" },
        { "width", LAB_INT, "", NULL, NULL, 1, 1e4, NULL, "train CNN(N) with batch norm; unset: LeNet-300-100" },
        { "lr", LAB_NUMBER, "", NULL, NULL, 1e-9, 1e9, NULL, "rate" },
    };
    static const lab_experiment about = {
        "lottery", "does a trained network hold a small one that would have trained as well?", "mnist|fashion|slice|cifar10",
        flags, sizeof flags / sizeof flags[0],
        "kept|layer_kept|ticket|ticket_train_accuracy|reinit|shuffle|random|twin|barrier", run };
    lab *l = lab_open(&about, argc, argv);
    int iterative = !strcmp(lab_text(l, "mode"), "iterative"), cifar = !strcmp(lab_training_set(l)->name, "cifar10");
    int rewind = lab_int(l, "rewind"), width, given_count, n = 1, i, k;
    const char *mask = lab_text(l, "mask");
    double level[LEVELS] = { 100 };
    const double *given;
    char text[100];
    lab_preset(l, "epochs", cifar ? "8" : "5", cifar ? "30" : "20", "60");
    if (cifar) lab_preset(l, "train", "1000", "10000", "");
    if (cifar) lab_preset(l, "width", "8", "32", NULL);
    width = lab_int(l, "width");
    if (width) lab_pad(l, 32);
    lab_preset(l, "lr", width ? ".01" : ".1", NULL, NULL);
    if (!iterative) lab_preset(l, "levels", width ? "100,30,10" : "100,20,5,2", width ? "100,30,10,5" : "100,50,20,10,5,2", "100,70,50,30,20,10,5");
    given = lab_falling_list(l, "levels", &given_count);
    for (i = 0; i < given_count; i++) {
        if (n == LEVELS) lab_fail(l, 2, "--levels: at most %d are possible", LEVELS - 1);
        if (given[i] < 100) level[n++] = given[i];
    }
    for (; !given_count && level[n - 1] > 2; n++) level[n] = 0.8 * level[n - 1];
    if (*mask) {
        lab_refuse(l, "levels", "goes with a search for tickets: leave it out with --mask");
        genreg_model *m = lab_load_model(l, mask), *ours = make_model(m->ctx, lab_training_set(l), width, 0);
        if (!m->mask || m->theta->size != ours->theta->size)
            lab_fail(l, 2, "--mask %s: %s", mask, m->mask ? "it is of another model" : "nothing is pruned in it");
        level[1] = 100 * (double)genreg_kept(m, GENREG_KIND_WEIGHT, NULL) / (double)genreg_kept(ours, GENREG_KIND_WEIGHT, NULL);
        n = 2;
    }
    if (n < 2) lab_fail(l, 2, "--levels %s: none is below 100", lab_text(l, "levels"));
    if (rewind >= lab_int(l, "epochs") * ceil(lab_training_set(l)->n / (double)BATCH)) lab_fail(l, 2, "--rewind %d: a training ends before that step", rewind);
    k = lab_config(l);
    lab_label(l, k, 1, width ? "CNN(%d)" : "LeNet-300-100", width);
    lab_set_text(l, k, "mode", *mask ? "mask" : lab_text(l, "mode"));
    lab_set_list(l, k, "levels", level, n);
    snprintf(text, sizeof text, "%s%s", lab_text(l, "controls"), lab_given(l, "instability") ? ",twin" : "");
    lab_set_text(l, k, "controls", text);
    lab_set(l, k, "rewind", rewind);
    lab_set(l, k, "width", width);
    lab_set(l, k, "batch", BATCH);
    lab_set_flags(l, k, "lr|epochs");
    if (*mask) lab_set_file(l, k, "mask", mask);
    if (lab_run(l)) report(l, level, n, width);
    return lab_close(l);
}
