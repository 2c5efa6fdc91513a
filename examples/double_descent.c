/* double_descent.c - does the test error fall, rise at the interpolation threshold, and fall again, as a network grows?

      cc -O2 -fopenmp examples/double_descent.c -o double_descent -lm && ./double_descent

   The paper's experiment 1 (Z. Johannsen, arXiv 2604.07603, 2026): MLP(w) on a fixed random 10,000 images of MNIST, and CNN(w) without batch norm
   on CIFAR-10, for growing w. Its curves fall all the way, but for one seed of CNN(8) that died at 10 %. So every seed is drawn, and runs that
   end at chance are counted and take no part in the search for a peak. Two settings in which theory expects one:
      --label-noise P   a share P of the training labels is wrong (Nakkiran et al. 2020); test labels are right
      --belkin          Belkin et al. 2019: one hidden layer, squared loss (mean over outputs) on one-hot targets, 4,000 images, momentum 0.95,
                        pixels in [0, 1]; new weights have variance 0.01, biases are 0. With fewer parameters than n x classes a net starts from
                        the trained smaller one (--reuse), its rate falls by a tenth each twelfth of the run, and it stops after an epoch without a
                        mistake. A larger net starts afresh, keeps its rate and runs to the end. The paper leaves rate and batch open: 0.01 and 128
                        are those of github.com/SongweiGe/double-descent-pytorch; the presets below paper are shorter, at a higher rate
      --schedule same   the control, as the recipe changes just where the peak is to be: all nets keep their rate and run to the end
   The interpolation threshold is where the training error, in evaluation mode, first falls through 1 %. */
#define GENREG_STATIC /* the compiler drops what this file does not use */
#define GENREG_IMPLEMENTATION
#include "lab.h"

enum { DATA_SEED = 0 }; /* the images and wrong labels are the same for every seed */
static const double fitted = 0.01, at_chance = 1.2; /* training error that counts as none; an accuracy below at_chance/classes is a dead run's */

/* The paper's widths and test accuracies. */
static const struct { const char *model; double width; const char *test; } paper[] = {
    { "mlp", 8, "89.7 ± 0.6" },   { "mlp", 16, "93.4 ± 0.3" },  { "mlp", 32, "95.4 ± 0.0" }, { "mlp", 64, "96.1 ± 0.1" }, { "mlp", 128, "96.7 ± 0.1" },
    { "mlp", 256, "96.7 ± 0.2" }, { "mlp", 512, "96.9 ± 0.0" }, { "mlp", 1024, "96.8 ± 0.1" }, { "cnn", 4, "32.9 ± 1.7" }, { "cnn", 8, "27.6 ± 17.5" },
    { "cnn", 16, "56.1 ± 2.3" },  { "cnn", 32, "65.8 ± 0.1" },  { "cnn", 64, "69.7 ± 0.5" }, { "cnn", 96, "72.0 ± 0.3" } };

/* ------------------------------------------------------------------------------------------------ the physics: one cell */

/* Belkin's net: N(0, 0.01) weights, over which the smaller net is laid, if there is one. Both have the same four parameters. */
static genreg_model *one_hidden_layer(lab_cell *cell, int width, const genreg_model *smaller)
{
    int sizes[3] = { cell->train->features, width, cell->train->classes }, i;
    genreg_model *net = genreg_mlp(cell->ctx, sizes, 3);
    ptrdiff_t k;
    for (i = 0; net && i < net->parameter_count; i++) {
        const genreg_parameter *p = &net->parameters[i], *q = smaller ? &smaller->parameters[i] : p;
        int columns = p->shape[p->rank - 1], kept = q->shape[q->rank - 1];
        genreg_real *w = net->theta->data + p->offset;
        genreg_normal_fill(w, p->size, cell->seed, (uint64_t)(width * 4 + i));
        for (k = 0; k < p->size; k++) w[k] *= (genreg_real)(p->kind == GENREG_KIND_WEIGHT ? 0.1 : 0);
        for (k = 0; smaller && k < q->size; k++) w[k / kept * columns + k % kept] = smaller->theta->data[q->offset + k];
    }
    return net;
}

static int stop_when_fitted(const genreg_progress *p, void *user) { return (void)user, p->accuracy >= 1; }

/* Trains net k of the cell and measures it. NULL: leave the cell. */
static genreg_model *train_and_measure(lab_cell *cell, const genreg_dataset *d, const genreg_dataset *test, int width, const genreg_model *smaller, int k)
{
    const char *model = lab_get_text(cell, "model");
    int belkin = !strcmp(model, "belkin"), dead;
    genreg_model *net = belkin ? one_hidden_layer(cell, width, smaller) : lab_paper_net(cell, model, width, 0);
    genreg_train_options o = lab_train_options(cell); /* SGD, no weight decay */
    genreg_progress last;
    genreg_score fit, score;
    if (!net) return NULL;
    o.loss = belkin ? GENREG_LOSS_MSE : GENREG_LOSS_CROSS_ENTROPY;
    o.schedule = belkin ? GENREG_SCHEDULE_CONSTANT : GENREG_SCHEDULE_COSINE;
    if (belkin && net->theta->size < (ptrdiff_t)d->n * d->classes && strcmp(lab_get_text(cell, "schedule"), "same")) {
        o.schedule = GENREG_SCHEDULE_STEP;
        o.gamma = 0.9;
        o.period = (o.epochs + 11) / 12;
        o.on_epoch = stop_when_fitted;
    }
    if (!lab_train(cell, net, d, &o, NULL, &last)) return NULL;
    fit = genreg_evaluate_classes(net, d, o.loss, NULL);
    score = genreg_evaluate_classes(net, test, o.loss, NULL);
    dead = score.accuracy * d->classes < at_chance; /* it has no errors and no test loss: no threshold or peak is made of it */
    lab_figure_at(cell, "parameters", k, (double)net->theta->size);
    lab_figure_at(cell, "epochs_done", k, last.epoch);
    lab_figure_at(cell, "running_accuracy", k, last.accuracy); /* measured along the epoch, as the paper's */
    lab_figure_at(cell, "train_accuracy", k, fit.accuracy);
    lab_figure_at(cell, "test_accuracy", k, score.accuracy);
    lab_figure_at(cell, "train_loss", k, fit.loss);
    lab_figure_at(cell, "test_loss", k, dead ? (double)NAN : score.loss);
    lab_figure_at(cell, "train_error", k, dead ? (double)NAN : 1 - fit.accuracy);
    lab_figure_at(cell, "test_error", k, dead ? (double)NAN : 1 - score.accuracy);
    return lab_alive(cell) ? net : NULL;
}

/* A cell is one net; with weight reuse, all nets below n x classes parameters, one after the other. Its figures are lists. */
static void run(lab_cell *cell)
{
    genreg_dataset d = genreg_sample(cell->ctx, cell->train, lab_get_int(cell, "sample"), DATA_SEED), test = *cell->test;
    genreg_model *net = NULL;
    double widths[LAB_LISTED];
    int n = lab_get_list(cell, "widths", widths), i;
    if (lab_get(cell, "label_noise") > 0) d = genreg_label_noise(cell->ctx, &d, lab_get(cell, "label_noise"), DATA_SEED);
    for (i = 0; i < 4 && !strcmp(lab_get_text(cell, "model"), "belkin"); i++) {
        d.mean[i] = test.mean[i] = 0;
        d.std[i] = test.std[i] = 1;
    }
    for (i = 0; i < n; i++) {
        net = train_and_measure(cell, &d, &test, (int)widths[i], net, i);
        if (!net) return;
        lab_save(cell, net, n > 1 ? "%.0f" : NULL, widths[i]);
    }
}

/* ------------------------------------------------------------------------------------------------ the report */

/* A curve: for each width a configuration and the place in its lists. */
typedef struct series { int config[LAB_LISTED], element[LAB_LISTED]; double parameters[LAB_LISTED], threshold; } series;

static void print_table(lab *l, const double *widths, const series *s, int n, const char *model)
{
    lab_table t = lab_table_new("width|parameters|epochs|running train accuracy %|train accuracy %|train loss|test accuracy %|test loss|paper's test %|dead or diverged");
    int i, k;
    for (i = 0; i < n; i++) {
        lab_stats all = lab_element(l, s->config[i], "test_accuracy", s->element[i], 1), living = lab_element(l, s->config[i], "test_error", s->element[i], 100);
        int lost = all.n - living.n + lab_diverged(l, s->config[i]);
        const char *theirs = "-";
        for (k = 0; k < (int)(sizeof paper / sizeof paper[0]); k++)
            if (!strcmp(paper[k].model, model) && fabs(paper[k].width - widths[i]) < 0.5) theirs = paper[k].test;
        lab_entry(&t, "%.0f", widths[i]);
        lab_entries(&t, l, s->config[i], s->element[i],
                    "parameters f0|epochs_done f0|running_accuracy %2|train_accuracy %2|train_loss e2|test_accuracy %2|test_loss s4");
        lab_entry(&t, "%s", theirs);
        if (lost && living.n) lab_entry(&t, "%d of %d, test %% of the others: %.2f", lost, lab_seed_count(l), 100 - living.mean);
        else lab_entry(&t, lost ? "%d of %d" : "-", lost, lab_seed_count(l));
    }
    lab_table_print(&t);
}

/* The interpolation threshold, and whether test error and test loss have a peak. */
static void print_findings(lab *l, const double *widths, series *s, int n, double limit)
{
    static const struct { const char *figure, *name; int scale; } peaks[2] = { { "test_error", "test error in %", 100 }, { "test_loss", "test loss", 0 } };
    int i;
    for (i = 0; i < n; i++) s->parameters[i] = lab_element(l, s->config[i], "parameters", s->element[i], 1).mean;
    s->threshold = lab_print_crossing(l, "interpolation threshold", "parameters", s->parameters, s->config, s->element, n, "train_error", fitted).mean;
    for (i = 0; i < 2; i++) {
        lab_peak p = lab_print_peak(l, peaks[i].name, "width", widths, s->config, s->element, n, peaks[i].figure, peaks[i].scale);
        if (p.at < 0) continue;
        printf("    there: %.0f parameters, %.2f times n x classes", s->parameters[p.at], s->parameters[p.at] / limit);
        if (s->threshold > 0) printf(", %.2f times the threshold", s->parameters[p.at] / s->threshold);
        printf("\n");
    }
    printf("\n");
}

static void draw(lab *l, const char *net, const series *s, int first, int last, int n, int reused, double limit)
{
    static const char *const figures[] = { "test_accuracy", "test_loss", "train_accuracy", "train_loss" };
    double level = 100 * fitted, noise = 100 * lab_number(l, "label-noise");
    int k, i;
    lab_plot *p = lab_plot_new("%s on %s, %s labels: error and loss as the net grows", net, lab_dataset_title(l), noise > 0 ? "partly wrong" : "right");
    for (k = 0; k < 4; k++) {
        lab_panel(p, k < 2 ? "Test" : "Training", "parameters", k % 2 ? "mean loss" : "error, %", LAB_LOG_X | LAB_LOG_Y);
        for (i = first; i <= last; i++) /* with both curves, what does not reuse weights is in the first alone */
            lab_curve_of(p, l, first == last ? "" : i ? "with reuse" : "new weights", s[i].parameters, s[i].config, s[i].element, i > first ? reused : n,
                         figures[k], k % 2 ? NULL : lab_error_of, k % 2 ? 1 : 100);
        for (i = first; i <= last; i++) lab_line(p, i > first ? "threshold, reuse" : "threshold", &s[i].threshold, NULL, NULL, NULL, 1, LAB_RULE);
        lab_line(p, "n x classes", &limit, NULL, NULL, NULL, 1, LAB_RULE);
        if (k == 2) lab_line(p, "1 %", NULL, &level, NULL, NULL, 1, LAB_RULE);
    }
    lab_plot_save(p, l, "SGD with %s, batch %d, rate %g, %d epochs, on %.0f random images, %g %% of their labels wrong. Threshold: a training error of 1 %%.",
                  !lab_given(l, "belkin") ? "momentum 0.9, cross-entropy, a cosine schedule" : lab_text(l, "schedule")[0] == 's' ? "momentum 0.95, squared loss" :
                  "momentum 0.95, squared loss (below n x classes parameters the rate falls by a tenth each twelfth of the run, which ends once all is fitted)",
                  lab_int(l, "batch"), lab_number(l, "lr"), lab_int(l, "epochs"), limit / lab_training_set(l)->classes, noise);
}

/* One net, or n nets of which each starts from the one before. The widths are a setting as text. */
static int configure(lab *l, const char *model, const double *widths, int n)
{
    double cost = 0;
    int k = lab_config(l), belkin = !strcmp(model, "belkin"), i;
    for (i = 0; i < n; i++) cost += widths[i] * (widths[i] + 400);
    lab_label(l, k, cost, n > 1 ? "with reuse" : "w %.0f", widths[0]);
    lab_set_text(l, k, "model", model);
    lab_set_list(l, k, "widths", widths, n);
    lab_set_text(l, k, "schedule", belkin ? lab_text(l, "schedule") : "cosine by epoch");
    lab_set(l, k, "momentum", belkin ? 0.95 : 0.9);
    lab_set(l, k, "label_noise", lab_number(l, "label-noise"));
    lab_set(l, k, "sample", fmin(lab_int(l, "sample"), lab_training_set(l)->n));
    lab_set_flags(l, k, "batch|lr|epochs");
    return k;
}

int main(int argc, char **argv)
{
    static const lab_flag flags[] = {
        { "widths", LAB_INTS, "4,8,16,32,64,128,256,512", "8,16,32,64,128,256,512,1024", NULL, 1, 1e5, NULL, "hidden units or a CNN's channels, rising" },
        { "sample", LAB_INT, "2000", "10000", NULL, 1, 1e9, NULL, "train on N random images" },
        { "lr", LAB_NUMBER, ".05", NULL, NULL, 1e-9, 1e9, NULL, "rate" },
        { "epochs", LAB_INT, "60", NULL, NULL, 1, 1e6, NULL, "epochs of training" },
        { "seeds", LAB_INT, "3", NULL, "2", 1, 10000, NULL, "run with the seeds 1 to N" },
        { "batch", LAB_INT, "128", NULL, NULL, 1, 1e9, NULL, "batch size" },
        { "model", LAB_WORD, "", NULL, NULL, 0, 0, "mlp|cnn", "cnn on CIFAR-10 and mlp elsewhere, unless given" },
        { "label-noise", LAB_NUMBER, "0", NULL, NULL, 0, 1, NULL, "share of the training labels that are wrong" },
        { "belkin", LAB_SWITCH, "", NULL, NULL, 0, 0, NULL, "one hidden layer and squared loss, after Belkin et al. 2019" },
        { "reuse", LAB_WORD, "both", NULL, NULL, 0, 0, "yes|no|both", "--belkin: whether a small net starts from the one before" },
        { "schedule", LAB_WORD, "belkin", NULL, NULL, 0, 0, "belkin|same", "--belkin: whether small nets stop early and cut their rate" },
    };
    static const lab_experiment about = {
        "double_descent", "does the test error fall, rise and fall again as a network grows?", "mnist|fashion|slice|cifar10", flags, sizeof flags / sizeof flags[0],
        "parameters|epochs_done|running_accuracy|train_accuracy|test_accuracy|train_loss|test_loss|train_error|test_error", run };
    lab *l = lab_open(&about, argc, argv);
    const genreg_dataset *d = lab_training_set(l);
    int belkin = lab_given(l, "belkin"), first = belkin && !strcmp(lab_text(l, "reuse"), "yes"), last = belkin && strcmp(lab_text(l, "reuse"), "no");
    const char *model = belkin ? "belkin" : *lab_text(l, "model") ? lab_text(l, "model") : strcmp(d->name, "cifar10") ? "mlp" : "cnn";
    int cnn = !strcmp(model, "cnn"), noisy = lab_number(l, "label-noise") > 0, below = 0 /* widths below n x classes */, chain = 0, n, i, j;
    const double *widths;
    double limit;
    series s[2]; /* from new weights, with reuse; there are those from first to last */
    if (belkin) lab_refuse(l, "model", "does not go with --belkin, which has one hidden layer");
    else lab_refuse(l, "reuse|schedule", "goes with --belkin");
    if (cnn) {
        lab_preset(l, "widths", "2,4,8,16", "4,8,16,32,64", "4,8,16,32,64,96");
        lab_preset(l, "sample", "1000", "10000", "50000");
        lab_preset(l, "lr", ".1", NULL, NULL);
        lab_preset(l, "epochs", "10", "30", "60");
        lab_preset(l, "seeds", "2", "3", "2");
        lab_pad(l, 32);
    } else if (belkin) { /* widths lie densely where theory or a trial has the threshold */
        lab_preset(l, "widths", "1,2,4,6,8,10,12,13,14,16,20,32,64,128", "4,8,12,18,25,32,40,45,50,55,63,75,100,150,250,500", NULL);
        lab_preset(l, "sample", "1000", "4000", NULL);
        lab_preset(l, "lr", ".03", NULL, ".01");
        lab_preset(l, "epochs", "1500", "2000", "6000");
    } else if (noisy)
        lab_preset(l, "widths", "2,4,6,8,10,12,16,20,24,32,48,64,128,256", "8,16,24,32,40,48,56,64,80,96,112,128,192,256,512,1024", NULL);
    if (!cnn && (belkin || noisy)) lab_preset(l, "seeds", "3", NULL, NULL);
    widths = lab_rising_list(l, "widths", &n);
    limit = fmin(lab_int(l, "sample"), d->n) * d->classes;
    while (last && below < n && widths[below] * (d->features + d->classes + 1) + d->classes < limit) below++;
    if (below > 1) chain = configure(l, model, widths, below); /* all of them are one cell */
    else below = 0; /* nothing to reuse */
    for (i = 0; i < n; i++) {
        int own = first && i < below ? chain : configure(l, model, widths + i, 1);
        for (j = first; j <= last; j++) {
            s[j].config[i] = j && i < below ? chain : own;
            s[j].element[i] = j && i < below ? i : 0;
        }
    }
    if (lab_run(l)) {
        for (j = first; j <= last; j++) {
            printf("%s%s, mean ± standard deviation over seeds [95 %% interval]\n\n", belkin ? "one hidden layer" : cnn ? "CNN" : "MLP",
                   !belkin ? "" : j ? ", with weight reuse" : ", each from new weights");
            print_table(l, widths, &s[j], j && !first && below ? below : n, noisy ? "" : model);
            if (j && !first && below) printf("wider nets start from new weights, as in the table above\n\n");
            print_findings(l, widths, &s[j], n, limit);
        }
        draw(l, belkin ? "One hidden layer" : cnn ? "CNN(w)" : "MLP(w)", s, first, last, n, below, limit);
    }
    return lab_close(l);
}
