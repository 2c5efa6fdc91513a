/* landscape.c - how does the loss look around the minima that small and large batches find?

      cc -O2 -fopenmp examples/landscape.c -o landscape -lm && ./landscape

   The paper's experiment 3 (Z. Johannsen, arXiv 2604.07603, 2026): CNN(32) with batch normalisation is trained twice, with batch 32 at rate 0.005 and
   with batch 1024 at rate 0.08. After the large batch the top eigenvalue of the Hessian is 11.6 times larger, and noise on the weights hurts more.
   This measures the same, and beside it what tells sharpness from scale and from a loss that is not as low yet:
      lambda ‖w‖²        batch normalisation makes a convolution's weights scale-free, and small weights look sharp
      matched loss       curvature falls as the loss goes to zero: lambda again after the first epoch that leaves it at --match-loss or below
      noise              the rise of the loss as such, beside that in %, which a low loss makes large; noise relative to each filter's norm
                         (Li et al. 2018), beside the paper's N(0, sigma²)
      trace, density     the whole spectrum, not its end
   Everything is measured in evaluation mode, on the first training images. In a row, what both minima have is a list, the small batch first. */
#define GENREG_STATIC /* the compiler drops what this file does not use */
#define GENREG_IMPLEMENTATION
#include "lab.h"

enum { SIGMAS = 7, RADII = 9, KINDS = 3, DRAWS = 100 /* at most */, TOP = 10 /* eigenvalues */, LINE = 21 /* points */, PROBES = 2 /* of the density */ };

/* The noise: N(0, sigma²) on every parameter, as in the paper; the worst case within a radius; relative to each filter's norm. */
static const double sigma[SIGMAS] = { .0005, .001, .002, .005, .01, .02, .05 }, worst = 0.05, radius[RADII] = { 0, .125, .25, .375, .5, .625, .75, .875, 1 };
static const struct { genreg_perturbation kind; int n; const double *size; const char *name, *loss, *accuracy, *rise, *relative; } noise[KINDS] = {
    { GENREG_PERTURB_NORMAL, SIGMAS, sigma, "sigma", "noise_loss", "noise_accuracy", "noise_rise", "noise_relative_rise" },
    { GENREG_PERTURB_SAM, 1, &worst, "worst case within", "sam_loss", "sam_accuracy", "sam_rise", "sam_relative_rise" },
    { GENREG_PERTURB_FILTER, RADII, radius, "filter noise", "filter_loss", "filter_accuracy", "filter_rise", "filter_relative_rise" } };
static const double paper[2][2] = { { 85.78, 0.193 }, { 84.17, 2.238 } }; /* test accuracy and lambda */
static const char *const paper_rise[2][SIGMAS] = { { "+1.9 %", "+3.3 %", "+23.6 %", "+158 %", "+5354 %", "loss 0.123", "loss 10.1" },
                                                   { "+3.4 %", "+11.8 %", "+52.3 %", "+1932 %", "+46205 %", "loss 1.48", "loss 19.8" } };

/* ------------------------------------------------------------------------------------------------ the physics: one minimum, side 0 or 1 */

/* Eigenvalues, trace and density of the Hessian, and the loss along its top eigenvector. */
static void measure_curvature(lab_cell *cell, genreg_model *net, int side)
{
    genreg_eigen pairs[TOP];
    genreg_estimate trace = { (double)NAN, (double)NAN, 0 };
    genreg_real *v = (genreg_real *)malloc(TOP * (size_t)net->theta->size * sizeof *v);
    double norm2 = lab_weight_norm2(net);
    int products = lab_get_int(cell, "hessian_products"), i;
    genreg_hessian *h = lab_open_hessian(cell, net, cell->train, TOP, pairs, v);
    if (!v) genreg_set_error(cell->ctx, GENREG_ERROR_MEMORY, "the system has no more memory");
    lab_pair_at(cell, "lambda", "residual", side, pairs[0].value, pairs[0].residual);
    lab_pair_at(cell, "weight_norm2", "lambda_norm2", side, norm2, pairs[0].value * norm2);
    for (i = 0; i < TOP; i++) lab_pair_at(cell, "top", "top_residual", side * TOP + i, pairs[i].value, pairs[i].residual);
    if (lab_alive(cell)) trace = genreg_hessian_trace(h, GENREG_TRACE_HUTCHPP, lab_get_int(cell, "trace_products"), cell->seed);
    lab_pair_at(cell, "trace", "trace_error", side, trace.value, trace.standard_error);
    lab_density_at(cell, "density_at", "density", side * PROBES * products, h, PROBES, products);
    genreg_hessian_close(h);
    if (lab_alive(cell)) lab_slice_at(cell, "slice_loss", side * LINE, LINE, net, v, lab_get(cell, "slice"));
    free(v);
}

/* Loss and accuracy: at the minimum, and their means over draws of noise of every kind and size. */
static void measure_loss(lab_cell *cell, genreg_model *net, const genreg_dataset *few, int side)
{
    genreg_score draw[DRAWS];
    double base = genreg_evaluate(net, few).loss;
    int kind, i;
    if (!isfinite(base)) genreg_set_error(cell->ctx, GENREG_ERROR_DIVERGED, "the trained model's loss is NaN or infinite");
    lab_figure_at(cell, "base_loss", side, base);
    lab_figure_at(cell, "train_loss", side, genreg_evaluate(net, cell->train).loss);
    lab_figure_at(cell, "test_accuracy", side, genreg_evaluate(net, cell->test).accuracy);
    for (kind = 0; kind < KINDS; kind++)
        for (i = 0; i < noise[kind].n && lab_alive(cell); i++) {
            int draws = noise[kind].kind == GENREG_PERTURB_SAM ? 1 : lab_get_int(cell, "draws");
            if (!genreg_evaluate_perturbed(net, few, noise[kind].kind, noise[kind].size[i], draws, cell->seed, draw)) return;
            const double rise = lab_scores_at(cell, noise[kind].loss, noise[kind].accuracy, side * noise[kind].n + i, draw, draws) - base;
            lab_pair_at(cell, noise[kind].rise, noise[kind].relative, side * noise[kind].n + i, rise, rise / base);
        }
}

/* After the first epoch that leaves the training loss below the common level. The large batch trains once the small one has its figures. */
static void watch(lab_cell *cell, genreg_model *net, const genreg_progress *p)
{
    int side = lab_found(cell, "train_accuracy[0]") >= 0;
    double lambda = lab_match_curvature(cell, net, p, lab_get_int(cell, "noise_images"), side);
    if (isfinite(lambda)) lab_figure_at(cell, "match_lambda_norm2", side, lambda * lab_weight_norm2(net));
}

/* A cell is both minima and the straight line between them, along which running statistics go too; or a saved model. */
static void run(lab_cell *cell)
{
    const char *saved = lab_text(cell->in, "checkpoint");
    genreg_dataset few = genreg_first(cell->ctx, cell->train, lab_get_int(cell, "noise_images"));
    genreg_train_options o = lab_train_options(cell); /* SGD, momentum 0.9, cosine, no weight decay */
    genreg_progress last;
    genreg_model *net[2];
    int side;
    for (side = 0; side < (*saved ? 1 : 2); side++) {
        net[side] = *saved ? genreg_load_model(cell->ctx, saved) : lab_paper_net(cell, "cnn", lab_get_int(cell, "width"), 1);
        if (!*saved) {
            o.batch = lab_get_int(cell, side ? "large_batch" : "small_batch");
            o.lr = lab_get(cell, side ? "large_lr" : "small_lr");
            if (!lab_train(cell, net[side], cell->train, &o, watch, &last)) return;
            lab_figure_at(cell, "train_accuracy", side, last.accuracy);
            lab_save(cell, net[side], side ? "large" : "small");
        } else if (net[0] && *net[0]->data_name && strcmp(net[0]->data_name, cell->train->name))
            genreg_set_error(cell->ctx, GENREG_ERROR_ARGUMENT, "the saved model was trained on another --dataset");
        measure_loss(cell, net[side], &few, side);
        if (lab_alive(cell)) measure_curvature(cell, net[side], side);
    }
    if (*saved || !lab_alive(cell)) return;
    lab_line_at(cell, net[0], net[1], LINE, &few);
}

/* ------------------------------------------------------------------------------------------------ the report */

/* The paper's second claim: noise raises the loss of the large batch more. */
static void print_noise(lab *l, int sides, char (*name)[64], int papers)
{
    lab_table t = lab_table_new("noise|model|loss|accuracy %|rise of the loss|in %|paper");
    int kind, i, side;
    for (kind = 0; kind < 2; kind++) /* noise on filters is for the plot */
        for (i = 0; i < noise[kind].n; i++)
            for (side = 0; side < sides; side++) {
                int at = side * noise[kind].n + i;
                lab_entry(&t, "%s %g", noise[kind].name, noise[kind].size[i]);
                lab_entry(&t, "%s", name[side]);
                lab_entries(&t, l, 0, at, kind ? "sam_loss e3|sam_accuracy %2|sam_rise e2" : "noise_loss e3|noise_accuracy %2|noise_rise e2");
                lab_entry(&t, "%+.1f", lab_element(l, 0, noise[kind].relative, at, 100).mean);
                lab_entry(&t, "%s", papers && !kind ? paper_rise[side][i] : "-");
            }
    lab_table_print(&t);
    if (sides == 1) return;
    lab_print_halves(l, "rise of the loss under noise, at each sigma", 0, "noise_rise", SIGMAS, 1, "the small batch", "the large batch");
    lab_print_halves(l, "the same in % of what it was", 0, "noise_relative_rise", SIGMAS, 0, "the small batch", "the large batch");
    printf("\n");
}

static void print_tables(lab *l, int sides, char (*name)[64])
{
    lab_table end = lab_table_new("at the end|train accuracy %|test accuracy %|paper|train loss|lambda|paper|residual|trace|its standard error|‖w‖²|lambda ‖w‖²");
    lab_table matched = lab_table_new("at matched loss|epoch|train loss|lambda|residual|lambda ‖w‖²");
    lab_table top = lab_table_new("eigenvalue|small batch|residual|large batch|residual");
    int papers = sides > 1 && lab_int(l, "small-batch") == 32 && lab_int(l, "large-batch") == 1024, side, i;
    for (side = 0; side < sides; side++) {
        lab_entry(&end, "%s", name[side]);
        lab_entries_and_paper(&end, l, 0, side, "train_accuracy %2|test_accuracy %2|paper f2|train_loss e2|lambda s2|paper f3|residual e0|trace f1|trace_error f1|"
                                                "weight_norm2 f0|lambda_norm2 s0", papers ? paper[side] : NULL);
        lab_entry(&matched, "%s", name[side]);
        lab_entries(&matched, l, 0, side, "match_epoch f1|match_train_loss f3|match_lambda s2|match_residual e0|match_lambda_norm2 s0");
    }
    for (i = 0; i < TOP; i++) {
        lab_entry(&top, "%d", i + 1);
        for (side = 0; side < 2; side++) lab_entries(&top, l, 0, side * TOP + i, "top f3|top_residual e0");
    }
    printf("%s(%d) with batch norm, mean ± standard deviation over seeds [95 %% interval]\n\n", sides > 1 ? "CNN" : "saved model, CNN", lab_int(l, "width"));
    lab_table_print(&end);
    lab_table_print(&matched);
    lab_table_print(&top);
    print_noise(l, sides, name, papers);
}

static void print_comparison(lab *l)
{
    const char *sharper = "the large batch is sharper", *flatter = "the large batch is flatter";
    printf("lambda of the large batch over lambda of the small one (the paper, 1024 over 32 on all of CIFAR-10, at the end: 11.6)\n");
    lab_verdict("at the end: ", lab_ratio(l, 0, 0, "lambda[1]|lambda[0]"), "", 1, sharper, flatter);
    lab_verdict("times ‖w‖², at the end: ", lab_ratio(l, 0, 0, "lambda_norm2[1]|lambda_norm2[0]"), "", 1, sharper, flatter);
    lab_verdict("the control says, at matched training loss: ", lab_ratio(l, 0, 0, "match_lambda[1]|match_lambda[0]"), "", 1, sharper, flatter);
    printf("the two minima (the paper: the small batch tests better by 1.61 points)\n");
    lab_verdict("test accuracy of the small batch less that of the large one: ", lab_difference(l, 0, 0, "test_accuracy[0]|test_accuracy[1]", 100), " points", 0,
                "the small batch is better", "the large batch is better");
    lab_verdict("training loss between the two, above the straight line between its ends: ", lab_over_seeds(l, 0, "barrier", 1), "", 0, "there is a barrier", "");
}

static void draw(lab *l, int sides, char (*name)[64])
{
    double line[LINE], slice[LINE], batches[2] = { lab_number(l, "small-batch"), lab_number(l, "large-batch") };
    const struct { const char *title, *x, *y, *figure; int n, flags, scale; const double *at; } panels[] = {
        { "Noise on every parameter", "standard deviation of the noise", "training loss", "noise_loss", SIGMAS, LAB_LOG_X | LAB_LOG_Y, 1, sigma },
        { "Noise on every parameter", "standard deviation of the noise", "training accuracy, %", "noise_accuracy", SIGMAS, LAB_LOG_X, 100, sigma },
        { "Noise in proportion to each filter", "noise / norm of the filter", "training loss", "filter_loss", RADII, LAB_LOG_Y, 1, radius },
        { "Noise in proportion to each filter", "noise / norm of the filter", "training accuracy, %", "filter_accuracy", RADII, 0, 100, radius },
        { "Along the top eigenvector", "distance from the minimum", "training loss", "slice_loss", LINE, LAB_LOG_Y, 1, slice },
        { "From one minimum to the other", "0: small batch, 1: large batch", "training loss", "line_loss", LINE, LAB_LOG_Y, 1, line } };
    lab_plot *p = sides == 1 ? lab_plot_new("A saved model on %s: around its minimum", lab_dataset_title(l))
                             : lab_plot_new("CNN(%d) with batch norm on %s: minima of a small and a large batch", lab_int(l, "width"), lab_dataset_title(l));
    int n = PROBES * lab_int(l, "hessian-products"), i, side;
    char text[200];
    for (i = 0; i < LINE; i++) slice[i] = lab_number(l, "slice") * (2 * (line[i] = (double)i / (LINE - 1)) - 1);
    if (sides > 1) lab_panel(p, "Curvature at the minimum", "batch size", "top eigenvalue of the Hessian", LAB_LOG_X | LAB_LOG_Y | LAB_POWERS_OF_TWO);
    for (i = 0; i < 2 && sides > 1; i++)
        lab_curve_of_list(p, l, i ? "at matched training loss" : "at the end", batches, 2, 0, i ? "match_lambda" : "lambda", 0, 1);
    lab_panel(p, "Spectrum of the Hessian", "eigenvalue x", "share above x (dashed: below -x)", LAB_LOG_X | LAB_LOG_Y);
    for (side = 0; side < sides; side++) lab_tail(p, l, name[side], n, 0, "density_at", "density", side * n);
    for (i = 0; i < 4 + sides; i++) {
        lab_panel(p, panels[i].title, panels[i].x, panels[i].y, panels[i].flags);
        for (side = 0; side < (i < 5 ? sides : 1); side++)
            lab_curve_of_list(p, l, i < 5 ? name[side] : "", panels[i].at, panels[i].n, 0, panels[i].figure, side * panels[i].n, panels[i].scale);
    }
    snprintf(text, sizeof text, sides == 1 ? "One trained model." : "SGD with momentum 0.9, cosine schedule, %d epochs; matched: after the first epoch with a "
             "training loss of at most %g.", lab_int(l, "epochs"), lab_number(l, "match-loss"));
    lab_plot_save(p, l, "%s Hessian and eigenvector: on the first %d training images; spectrum: Lanczos quadrature, %d probes of %d products a seed. Noise, mean of "
                  "%d draws, and line: on the first %d.", text, lab_int(l, "hessian-images"), PROBES, n / PROBES, lab_int(l, "draws"), lab_int(l, "noise-images"));
}

int main(int argc, char **argv)
{
    static const lab_flag flags[] = {
        { "width", LAB_INT, "8", "32", NULL, 1, 1e4, NULL, "channels of CNN(w), with batch norm" },
        { "small-batch", LAB_INT, "32", NULL, NULL, 1, 1e9, NULL, "the small batch" },
        { "small-lr", LAB_NUMBER, ".005", NULL, NULL, 1e-9, 1e9, NULL, "rate of the small batch" },
        { "large-batch", LAB_INT, "256", "1024", NULL, 1, 1e9, NULL, "the large batch" },
        { "large-lr", LAB_NUMBER, ".02", ".08", NULL, 1e-9, 1e9, NULL, "rate of the large batch" },
        { "match-loss", LAB_NUMBER, "0.5", NULL, NULL, 1e-9, 1e9, NULL, "training loss at which curvature is compared" },
        { "hessian-images", LAB_INT, "250", "1000", NULL, 1, 1e9, NULL, "curvature: of the first N training images" },
        { "hessian-products", LAB_INT, "30", "30", "100", 2 * TOP, 1000, NULL, "Hessian products of Lanczos and of a probe of the density" },
        { "trace-products", LAB_INT, "12", "20", "60", 12, 1e6, NULL, "Hessian products of the trace" },
        { "noise-images", LAB_INT, "500", "5000", NULL, 1, 1e9, NULL, "noise and the line: on the first N training images" },
        { "draws", LAB_INT, "2", "5", NULL, 1, DRAWS, NULL, "draws of noise" },
        { "slice", LAB_NUMBER, "0.2", NULL, NULL, 1e-9, 1e9, NULL, "how far to go along the top eigenvector" },
        { "checkpoint", LAB_TEXT, "", NULL, NULL, 0, 0, "FILE", "measure this model (of --save) instead of training" },
        { "train", LAB_INT, "2000", "10000", "", 1, 1e9, NULL, "take the first N training images; unset: all" },
        { "epochs", LAB_INT, "15", "30", "80", 1, 1e6, NULL, "epochs of training" },
        { "seeds", LAB_INT, "2", "3", NULL, 1, 10000, NULL, "run with the seeds 1 to N" },
        { "seed", LAB_INTS, "", NULL, "42", 0, 9007199254740992.0, NULL, "run with these seeds instead" },
    };
    static const lab_experiment about = {
        "landscape", "how does the loss look around the minima that small and large batches find?", "cifar10|mnist|fashion|slice",
        flags, sizeof flags / sizeof flags[0],
        "train_accuracy|test_accuracy|train_loss|base_loss|lambda|residual|weight_norm2|lambda_norm2|match_epoch|match_train_loss|match_lambda|"
        "match_residual|match_lambda_norm2|trace|trace_error|top|top_residual|density_at|density|slice_loss|noise_loss|noise_accuracy|noise_rise|"
        "noise_relative_rise|filter_loss|filter_accuracy|filter_rise|filter_relative_rise|sam_loss|sam_accuracy|sam_rise|sam_relative_rise|line_loss|"
        "line_accuracy|barrier", run };
    static const char *const trained = "width|small-batch|small-lr|large-batch|large-lr|epochs|match-loss";
    lab *l = lab_open(&about, argc, argv);
    int saved = *lab_text(l, "checkpoint") != 0, sides = saved ? 1 : 2, k;
    char name[2][64];
    lab_pad(l, 32);
    if (saved) lab_preset(l, "seeds", "1", NULL, NULL);
    if (saved) lab_refuse(l, trained, "is of a training: leave it out with --checkpoint");
    k = lab_config(l);
    lab_set_flags(l, k, "hessian-images|hessian-products|trace-products|noise-images|draws|slice");
    if (!saved) lab_set_flags(l, k, trained);
    lab_set(l, k, "hessian_tol", 1e-3);
    if (saved) lab_set_file(l, k, "model", lab_text(l, "checkpoint"));
    snprintf(name[0], sizeof name[0], saved ? "saved model" : "batch %.0f, rate %g", lab_number(l, "small-batch"), lab_number(l, "small-lr"));
    snprintf(name[1], sizeof name[1], "batch %.0f, rate %g", lab_number(l, "large-batch"), lab_number(l, "large-lr"));
    lab_label(l, k, 1, saved ? "saved model" : "CNN(%.0f)", lab_number(l, "width"));
    if (lab_run(l)) {
        print_tables(l, sides, name);
        if (!saved) print_comparison(l);
        printf("\n");
        draw(l, sides, name);
    }
    return lab_close(l);
}
