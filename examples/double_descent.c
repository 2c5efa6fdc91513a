/* double_descent.c - does the test error fall, rise at the interpolation threshold, and fall again, as a network grows?

      cc -O2 -fopenmp examples/double_descent.c -o double_descent -lm && ./double_descent

   The paper's experiment 1 (Z. Johannsen, arXiv 2604.07603, 2026): MLP(w) on a fixed random 10,000 images of MNIST, and CNN(w) without batch norm
   on CIFAR-10, for growing w. Its curves fall all the way, but for one seed of CNN(8) that died at 10 %. So every seed is drawn, and runs that
   end at chance are counted and take no part in the search for a peak. Two settings in which theory expects one:
      --label-noise P   a share P of the training labels is wrong (Nakkiran et al. 2020); test labels are right
      --belkin          Belkin et al. 2019: one hidden layer, squared loss (mean over outputs) on one-hot targets, 4,000 images, momentum 0.95. A net
                        with fewer parameters than n x classes starts from the trained smaller one (--reuse), its rate falls by a tenth each
                        twelfth of the run, and it stops after an epoch without a mistake; a larger one starts afresh, keeps its rate and runs to
                        the end. New weights are N(0, 0.01), biases 0, pixels in [0, 1]. The paper leaves rate and batch open: 0.01 and 128 are
                        those of github.com/SongweiGe/double-descent-pytorch. 6,000 epochs; in preset reduced 2,000 at rate 0.03.
      --schedule same   the control, as that schedule changes where the peak is to be: all nets keep their rate and run to the end
   The interpolation threshold is where the training error, in evaluation mode, first falls through 1 %: for each seed, linear in the logarithm of
   the parameters between the two widths on either side; over seeds, the mean of the logarithms. */
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

/* running_accuracy is measured along the epoch, as the paper's. A dead run has no errors and no test loss: it is seen by its accuracy, and no threshold or
   peak is made of it. */
static const char *const figures[] = { "parameters", "epochs_done", "running_accuracy", "train_accuracy", "test_accuracy", "train_loss", "test_loss", "train_error",
                                       "test_error" };

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
    int sizes[5] = { d->features, width, width, width, d->classes }, belkin = !strcmp(model, "belkin"), i;
    genreg_model *net = belkin ? one_hidden_layer(cell, width, smaller) : !strcmp(model, "cnn") ? genreg_cnn(cell->ctx, d->shape, width, 0, d->classes)
                                                                                                : genreg_mlp(cell->ctx, sizes, 5);
    genreg_train_options o = genreg_train_defaults(); /* no weight decay */
    genreg_progress last;
    genreg_score fit, score;
    if (!net) return NULL;
    if (!belkin) genreg_init(net, GENREG_INIT_PYTORCH, cell->seed);
    o.batch = lab_get_int(cell, "batch");
    o.lr = lab_get(cell, "lr");
    o.momentum = lab_get(cell, "momentum");
    o.epochs = lab_get_int(cell, "epochs");
    o.seed = cell->seed;
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
    {
        const double alive = score.accuracy * d->classes < at_chance ? (double)NAN : 1;
        const double found[] = { (double)net->theta->size, (double)last.epoch, last.accuracy, fit.accuracy, score.accuracy, fit.loss, alive * score.loss,
                                 alive * (1 - fit.accuracy), alive * (1 - score.accuracy) };
        for (i = 0; i < (int)(sizeof found / sizeof found[0]); i++) lab_figure_part(cell, figures[i], k, &found[i], 1);
    }
    return lab_alive(cell) ? net : NULL;
}

/* A cell is one net; with weight reuse, all nets below n x classes parameters, one after the other. Its figures are lists. */
static void run(lab_cell *cell)
{
    genreg_dataset d = genreg_sample(cell->ctx, cell->train, lab_get_int(cell, "sample"), DATA_SEED), test = *cell->test;
    const char *widths = lab_get_text(cell, "widths");
    genreg_model *net = NULL;
    int i, k;
    if (lab_get(cell, "label_noise") > 0) d = genreg_label_noise(cell->ctx, &d, lab_get(cell, "label_noise"), DATA_SEED);
    for (i = 0; i < 4 && !strcmp(lab_get_text(cell, "model"), "belkin"); i++) {
        d.mean[i] = test.mean[i] = 0;
        d.std[i] = test.std[i] = 1;
    }
    for (k = 0; *widths; k++) {
        char *end, part[16] = "";
        int width = (int)strtol(widths, &end, 10);
        net = train_and_measure(cell, &d, &test, width, net, k);
        if (!net) return;
        if (k || *end) snprintf(part, sizeof part, "%d", width);
        lab_save(cell, net, part);
        widths = end + (*end == ',');
    }
}

/* ------------------------------------------------------------------------------------------------ the report */

/* A curve: for each width a configuration and the place in its lists. */
typedef struct series {
    int n, config[LAB_LISTED], element[LAB_LISTED];
    double width[LAB_LISTED], parameters[LAB_LISTED], threshold;
} series;

static void print_table(lab *l, const series *s, const char *model)
{
    lab_table t = lab_table_new("width|parameters|epochs|running train %|train %|train loss|test %|test loss|paper's test %|dead or diverged");
    int i, k;
    for (i = 0; i < s->n; i++) {
        lab_stats all = lab_element(l, s->config[i], "test_accuracy", s->element[i], 1), living = lab_element(l, s->config[i], "test_error", s->element[i], 100);
        int lost = all.n - living.n + lab_diverged(l, s->config[i]);
        const char *theirs = "-";
        for (k = 0; k < (int)(sizeof paper / sizeof paper[0]); k++)
            if (!strcmp(paper[k].model, model) && fabs(paper[k].width - s->width[i]) < 0.5) theirs = paper[k].test;
        lab_entry(&t, "%.0f", s->width[i]);
        lab_entries(&t, l, s->config[i], s->element[i],
                    "parameters f0|epochs_done f0|running_accuracy %2|train_accuracy %2|train_loss e2|test_accuracy %2|test_loss s4");
        lab_entry(&t, "%s", theirs);
        if (lost && living.n) lab_entry(&t, "%d of %d, test %% of the others: %.2f", lost, lab_seed_count(l), 100 - living.mean);
        else if (lost) lab_entry(&t, "%d of %d", lost, lab_seed_count(l));
        else lab_entry(&t, "-");
    }
    lab_table_print(&t);
}

/* The interpolation threshold, and whether test error and test loss have a peak. */
static void print_findings(lab *l, series *s, double limit)
{
    static const struct { const char *figure, *name; int scale; } peaks[2] = { { "test_error", "test error in %", 100 }, { "test_loss", "test loss", 0 } };
    double x[LAB_LISTED];
    lab_stats t;
    int i;
    for (i = 0; i < s->n; i++) x[i] = log(s->parameters[i] = lab_element(l, s->config[i], "parameters", s->element[i], 1).mean);
    t = lab_crossing(l, x, s->config, s->element, s->n, "train_error", fitted);
    s->threshold = exp(t.mean);
    if (!t.n) printf("  interpolation threshold: no seed's training error falls through %g %% between two widths", 100 * fitted);
    else printf("  interpolation threshold: %.0f parameters, found in %d of %d seeds", s->threshold, t.n, lab_seed_count(l));
    if (t.n > 1) printf(", 95 %% interval [%.0f, %.0f]", exp(t.low), exp(t.high));
    printf("\n");
    for (i = 0; i < 2; i++) {
        lab_peak p = lab_print_peak(l, peaks[i].name, "width", s->width, s->config, s->element, s->n, peaks[i].figure, peaks[i].scale);
        if (p.at < 0) continue;
        printf("    there: %.0f parameters, %.2f times n x classes", s->parameters[p.at], s->parameters[p.at] / limit);
        if (t.n) printf(", %.2f times the threshold", s->parameters[p.at] / s->threshold);
        printf("\n");
    }
    printf("\n");
}

static void draw(lab *l, const series *s, int first, int last, double limit, const char *caption)
{
    static const struct { const char *title, *axis, *figure; int flags, scale; } panels[] = { { "Test", "accuracy, %", "test_accuracy", LAB_LOG_X, 100 },
        { "Test", "mean loss", "test_loss", LAB_LOG_X | LAB_LOG_Y, 1 }, { "Training", "accuracy, %", "train_accuracy", LAB_LOG_X, 100 } };
    static const char *const names[] = { "new weights", "with reuse", "threshold", "threshold, reuse" };
    lab_plot *p = lab_plot_new("Accuracy and loss as the network grows");
    int k, i;
    for (k = 0; k < 3; k++) {
        lab_panel(p, panels[k].title, "parameters", panels[k].axis, panels[k].flags);
        for (i = first; i <= last; i++) lab_curve_of_elements(p, l, first == last ? "" : names[i], s[i].parameters, s[i].config, s[i].element, s[i].n, panels[k].figure, panels[k].scale);
        for (i = first; i <= last; i++) lab_line(p, names[2 + (i > first)], &s[i].threshold, NULL, NULL, NULL, 1, LAB_RULE);
        lab_line(p, "n x classes", &limit, NULL, NULL, NULL, 1, LAB_RULE);
    }
    lab_plot_save(p, l, caption);
}

/* A configuration; its widths are a setting as text. */
static int configure(lab *l, const char *model, const char *widths, double cost)
{
    static const char *const numbers[] = { "batch", "lr", "epochs" };
    int k = lab_config(l), belkin = !strcmp(model, "belkin"), i;
    lab_set_text(l, k, "model", model);
    lab_set_text(l, k, "widths", widths);
    lab_set_text(l, k, "schedule", belkin ? lab_text(l, "schedule") : "cosine by epoch");
    lab_set(l, k, "momentum", belkin ? 0.95 : 0.9);
    lab_set(l, k, "label_noise", lab_number(l, "label-noise"));
    lab_set(l, k, "sample", fmin(lab_int(l, "sample"), lab_training_set(l)->n));
    for (i = 0; i < 3; i++) lab_set(l, k, numbers[i], lab_number(l, numbers[i]));
    lab_label(l, k, cost, "%s%s", strchr(widths, ',') ? "with reuse" : "w ", strchr(widths, ',') ? "" : widths);
    return k;
}

int main(int argc, char **argv)
{
    static const lab_flag flags[] = {
        { "widths", LAB_INTS, "4,8,16,32,64,128,256,512", "8,16,32,64,128,256,512,1024", NULL, 1, 1e5, NULL, "hidden units or a CNN's channels, rising" },
        { "sample", LAB_INT, "2000", "10000", NULL, 1, 1e9, NULL, "train on N random images" },
        { "lr", LAB_NUMBER, ".05", NULL, NULL, 1e-9, 1e9, NULL, "rate" },
        { "epochs", LAB_INT, "60", NULL, NULL, 1, 1e6, NULL, "epochs of training; these four are other ones for a CNN, label noise and --belkin" },
        { "seeds", LAB_INT, "3", NULL, "2", 1, 10000, NULL, "run with the seeds 1 to N; with label noise or --belkin 3" },
        { "batch", LAB_INT, "128", NULL, NULL, 1, 1e9, NULL, "batch size" },
        { "model", LAB_WORD, "", NULL, NULL, 0, 0, "mlp|cnn", "cnn on CIFAR-10 and mlp elsewhere, unless given" },
        { "label-noise", LAB_NUMBER, "0", NULL, NULL, 0, 1, NULL, "share of the training labels that are wrong" },
        { "belkin", LAB_SWITCH, "", NULL, NULL, 0, 0, NULL, "one hidden layer and squared loss, after Belkin et al. 2019" },
        { "reuse", LAB_WORD, "both", NULL, NULL, 0, 0, "yes|no|both", "--belkin: whether a small net starts from the one before" },
        { "schedule", LAB_WORD, "belkin", NULL, NULL, 0, 0, "belkin|same", "--belkin: whether small nets stop early and cut their rate" },
    };
    static const char *const presets[3][5][3] = { /* of the first five flags; widths lie densely where theory or a trial has the threshold */
        { { "2,4,6,8,10,12,16,20,24,32,48,64,128,256", "8,16,24,32,40,48,56,64,80,96,112,128,192,256,512,1024", NULL }, { "2000", "10000", NULL }, { ".05", NULL, NULL },
          { "60", NULL, NULL }, { "3", NULL, NULL } },
        { { "2,4,8,16", "4,8,16,32,64", "4,8,16,32,64,96" }, { "1000", "10000", "50000" }, { ".1", NULL, NULL }, { "10", "30", "60" }, { "2", "3", "2" } },
        { { "1,2,4,6,8,10,12,13,14,16,20,32,64,128", "4,8,12,18,25,32,40,45,50,55,63,75,100,150,250,500", NULL }, { "1000", "4000", NULL }, { ".03", NULL, ".01" },
          { "1500", "2000", "6000" }, { "3", NULL, NULL } } };
    static const char *const names[] = { "mlp", "mlp", "cnn", "belkin" };
    static const lab_experiment about = { "double_descent", "does the test error fall, rise and fall again as a network grows?", "mnist|fashion|slice|cifar10",
                                          flags, sizeof flags / sizeof flags[0], figures, sizeof figures / sizeof figures[0], run };
    lab *l = lab_open(&about, argc, argv);
    const genreg_dataset *d = lab_training_set(l);
    int belkin = lab_given(l, "belkin"), cnn = *lab_text(l, "model") ? !strcmp(lab_text(l, "model"), "cnn") : !strcmp(d->name, "cifar10") && !belkin;
    int setting = belkin ? 3 : cnn ? 2 : lab_number(l, "label-noise") > 0, n, i, j, below = 0, chain = 0, first, last;
    const double *widths;
    double limit, cost = 0;
    char all[8 * LAB_LISTED] = "", text[300];
    series s[2];
    if (belkin && cnn) lab_fail(l, 2, "--belkin has one hidden layer: leave out --model cnn");
    if (!belkin && (strcmp(lab_text(l, "reuse"), "both") || strcmp(lab_text(l, "schedule"), "belkin"))) lab_fail(l, 2, "--reuse and --schedule go with --belkin");
    for (i = 0; i < 5 && setting; i++) lab_preset(l, flags[i].name, presets[setting - 1][i][0], presets[setting - 1][i][1], presets[setting - 1][i][2]);
    if (cnn) lab_pad(l, 32);
    widths = lab_list(l, "widths", &n);
    first = belkin && !strcmp(lab_text(l, "reuse"), "yes");
    last = belkin && strcmp(lab_text(l, "reuse"), "no");
    limit = fmin(lab_int(l, "sample"), d->n) * d->classes;
    for (i = 0; i < n; i++) {
        if (i && widths[i] <= widths[i - 1]) lab_fail(l, 2, "--widths: %.0f comes after %.0f; they must rise", widths[i], widths[i - 1]);
        if (!last || widths[i] * (d->features + d->classes + 1) + d->classes >= limit) continue;
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%.0f", below++ ? "," : "", widths[i]);
        cost += widths[i] * (widths[i] + 400);
    }
    if (below == 1) below = 0; /* nothing to reuse */
    if (below) chain = configure(l, names[setting], all, cost);
    for (i = 0; i < n; i++) {
        int own = 0;
        snprintf(text, sizeof text, "%.0f", widths[i]);
        if (!first || i >= below) own = configure(l, names[setting], text, widths[i] * (widths[i] + 400));
        for (j = first; j <= last; j++) {
            s[j].n = n;
            s[j].width[i] = widths[i];
            s[j].config[i] = j && i < below ? chain : own;
            s[j].element[i] = j && i < below ? i : 0;
        }
    }
    if (lab_run(l)) {
        for (j = first; j <= last; j++) {
            printf("%s%s, mean ± standard deviation over seeds [95 %% interval]\n\n", belkin ? "one hidden layer" : cnn ? "CNN" : "MLP",
                   !belkin ? "" : j ? ", with weight reuse" : ", each from new weights");
            print_table(l, &s[j], setting == 1 ? "" : names[setting]);
            print_findings(l, &s[j], limit);
        }
        snprintf(text, sizeof text, "Means over seeds with 95 %% intervals; faint points are single seeds. %.0f random images, label noise %g, batch %d, rate %g, %d epochs. "
                 "Threshold: training error %g %%.", limit / d->classes, lab_number(l, "label-noise"), lab_int(l, "batch"), lab_number(l, "lr"), lab_int(l, "epochs"), 100 * fitted);
        draw(l, s, first, last, limit, text);
    }
    return lab_close(l);
}
