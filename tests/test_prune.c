/* test_prune.c - pruning: exact counts and sets, zeros that stay zeros under every optimiser, rewinding to the bit, scores against
   their formulas, conservation of synaptic flow, and the line between two models.

      cc -O2 -fopenmp tests/test_prune.c -o test_prune -lm && ./test_prune          (or with -DGENREG_REAL=double) */
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include "check.h"

enum { DOUBLE = sizeof(genreg_real) == 8, SAMPLES = 44, MOST = 20000 };

/* Labelled noise in which the label shows. */
static genreg_dataset points(genreg_ctx *c, int n, int rank, const int *shape, int classes)
{
    static genreg_real x[400 * 64];
    static int labels[400];
    int size = 1, i;
    for (i = 0; i < rank; i++) size *= shape[i];
    for (i = 0; i < n; i++) labels[i] = (int)((wild((unsigned)i + 77u) + 1) / 2 * classes) % classes;
    for (i = 0; i < n * size; i++) x[i] = (genreg_real)(wild((unsigned)i) + (i % size % classes == labels[i / size] ? 1 : 0));
    return genreg_dataset_reals(c, x, labels, n, rank, shape, classes);
}

static const int mlp_sizes[] = { 20, 16, 12, 5 }, wide_sizes[] = { 20, 120, 80, 5 }, image[] = { 8, 8, 1 };
static genreg_model *small_mlp(genreg_ctx *c)
{
    genreg_model *m = genreg_mlp(c, mlp_sizes, 4);
    genreg_init(m, GENREG_INIT_PYTORCH, 3);
    return m;
}

static genreg_model *small_cnn(genreg_ctx *c)
{
    genreg_model *m = genreg_cnn(c, image, 2, 1, 3);
    genreg_init(m, GENREG_INIT_PYTORCH, 4);
    return m;
}

static int prunable(const genreg_parameter *p) { return p->kind == GENREG_KIND_WEIGHT; }

/* +0 to the bit. */
static int is_zero(genreg_real x)
{
    const genreg_real zero = 0;
    return memcmp(&x, &zero, sizeof x) == 0;
}

static int same_bits(const genreg_tensor *a, const genreg_tensor *b)
{
    return (!a && !b) || (a && b && a->size == b->size && memcmp(a->data, b->data, (size_t)a->size * sizeof *a->data) == 0);
}

/* ------------------------------------------------------------------------------------------------ counts and sets */

typedef struct scored { double score; ptrdiff_t at; } scored;
static int by_score(const void *a, const void *b)
{
    const scored *x = (const scored *)a, *y = (const scored *)b;
    if (x->score > y->score || x->score < y->score) return x->score > y->score ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Whether the mask keeps what a sorted list of the candidates' scores has in front: `keep` of them, over one tensor or all. before: the
   mask until now. */
static int is_top(const genreg_model *m, const genreg_real *scores, const unsigned char *before, int first, int last, ptrdiff_t keep)
{
    static scored list[MOST];
    ptrdiff_t n = 0, i;
    int p;
    for (p = first; p < last; p++)
        for (i = m->parameters[p].offset; prunable(&m->parameters[p]) && i < m->parameters[p].offset + m->parameters[p].size; i++)
            if (!before || before[i]) {
                list[n].score = (double)scores[i];
                list[n++].at = i;
            } else if (m->mask[i]) return 0;
    qsort(list, (size_t)n, sizeof *list, by_score);
    for (i = 0; i < n; i++)
        if (m->mask[list[i].at] != (i < keep)) return 0;
    return keep <= n;
}

static int only_weights_are_pruned(const genreg_model *m)
{
    ptrdiff_t i;
    int p;
    for (p = 0; p < m->parameter_count; p++)
        for (i = m->parameters[p].offset; !prunable(&m->parameters[p]) && i < m->parameters[p].offset + m->parameters[p].size; i++)
            if (!m->mask[i]) return 0;
    for (i = 0; i < m->theta->size; i++)
        if (!m->mask[i] && !is_zero(m->theta->data[i])) return 0;
    return 1;
}

static void test_counts(genreg_ctx *c)
{
    static const double levels[] = { 1, 0.8, 0.64, 0.5, 0.333, 0.1, 0.0213, 0.004 };
    static genreg_real scores[MOST];
    static unsigned char before[MOST];
    int net, layerwise, ties, k, p;
    for (net = 0; net < 2; net++)
        for (layerwise = 0; layerwise < 2; layerwise++)
            for (ties = 0; ties < 3; ties++) { /* as drawn, a few values only, all equal */
                genreg_model *m = net ? small_cnn(c) : small_mlp(c);
                genreg_prune_options o = genreg_prune_defaults();
                ptrdiff_t total = genreg_kept(m, GENREG_KIND_WEIGHT, NULL), n = m->theta->size, i, weights = 0;
                for (p = 0; p < m->parameter_count; p++) weights += prunable(&m->parameters[p]) ? m->parameters[p].size : 0;
                CHECK(total == weights, "all are there: %ld of %ld", (long)total, (long)weights);
                for (i = 0; ties && i < n; i++) m->theta->data[i] = (genreg_real)(ties == 1 ? floor(4 * wild((unsigned)i)) / 4 : i % 2 ? -0.5 : 0.5);
                o.layerwise = layerwise;
                for (k = 0; k < (layerwise ? 6 : 8); k++) { /* at the last two a layer would be left with nothing, which is an error */
                    ptrdiff_t expected = 0, left[64], kept;
                    for (i = 0; i < n; i++) {
                        scores[i] = (genreg_real)fabs((double)m->theta->data[i]);
                        before[i] = m->mask ? m->mask[i] : 1;
                    }
                    for (p = 0; p < m->parameter_count; p++)
                        if (prunable(&m->parameters[p])) expected += (ptrdiff_t)floor(levels[k] * (double)m->parameters[p].size + 0.5);
                    if (!layerwise) expected = (ptrdiff_t)floor(levels[k] * (double)total + 0.5);
                    kept = genreg_prune(m, levels[k], &o);
                    CHECK(kept == expected && genreg_kept(m, GENREG_KIND_WEIGHT, left) == expected, "net %d, level %g, layerwise %d: %ld and not %ld: %s", net, levels[k],
                          layerwise, (long)kept, (long)expected, genreg_error_message(c));
                    CHECK(only_weights_are_pruned(m), "biases and batch norm stay");
                    if (!layerwise) CHECK(is_top(m, scores, before, 0, m->parameter_count, expected), "the largest stay, level %g, ties %d", levels[k], ties);
                    for (p = 0; p < m->parameter_count; p++) {
                        const genreg_parameter *q = &m->parameters[p];
                        ptrdiff_t here = (ptrdiff_t)floor(levels[k] * (double)q->size + 0.5);
                        if (!prunable(q)) CHECK(left[p] == q->size, "%s is whole", q->name);
                        else if (layerwise) CHECK(left[p] == here && is_top(m, scores, before, p, p + 1, here), "%s: %ld of %ld", q->name, (long)left[p], (long)q->size);
                    }
                }
                CHECK(genreg_prune(m, 0.5, &o) == 0, "a share that grows");
                CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "left");
                genreg_model_free(m);
            }
}

static void test_rounds(genreg_ctx *c)
{
    genreg_model *m = small_mlp(c), *once = small_mlp(c);
    genreg_prune_options o = genreg_prune_defaults();
    static genreg_real scores[MOST];
    ptrdiff_t left = genreg_kept(m, GENREG_KIND_WEIGHT, NULL), kept, i;
    int round, p;
    o.of_left = 1;
    for (round = 0; round < 20; round++) {
        kept = genreg_prune(m, 0.8, &o);
        CHECK(kept == (ptrdiff_t)floor(0.8 * (double)left + 0.5), "a fifth of what is left: %ld of %ld", (long)kept, (long)left);
        left = kept;
    }
    genreg_prune(once, (double)left / (double)genreg_kept(once, GENREG_KIND_WEIGHT, NULL), NULL);
    CHECK(genreg_kept(once, GENREG_KIND_WEIGHT, NULL) == left && !memcmp(m->mask, once->mask, (size_t)m->theta->size), "by magnitude alone rounds are one cut");

    genreg_set_mask(m, NULL, 0);
    CHECK(genreg_kept(m, GENREG_KIND_WEIGHT, NULL) == 572 && m->mask == NULL, "the mask is taken away");
    genreg_init(m, GENREG_INIT_PYTORCH, 3);
    o = genreg_prune_defaults();
    o.kinds = GENREG_KIND_BIAS;
    CHECK(genreg_prune(m, 0.5, &o) == 17 && genreg_kept(m, GENREG_KIND_WEIGHT, NULL) == 20 * 16 + 16 * 12 + 12 * 5, "biases if asked: half of 33, rounded");
    CHECK(genreg_kept(m, GENREG_KIND_BIAS, NULL) == 17, "17 of 33 biases");

    genreg_set_mask(m, NULL, 0);
    genreg_init(m, GENREG_INIT_PYTORCH, 3);
    for (i = 0; i < m->theta->size; i++) scores[i] = (genreg_real)(i % 7 == 0 ? 0.0 : i % 7 == 1 ? -0.0 : wild((unsigned)i) * (i % 3 ? 1 : 1e-30)); /* of both signs, and both zeros */
    CHECK(genreg_prune_by(m, scores, 0.6, NULL) == (ptrdiff_t)floor(0.6 * 572 + 0.5) && is_top(m, scores, NULL, 0, m->parameter_count, (ptrdiff_t)floor(0.6 * 572 + 0.5)), "scores of one's own");
    o = genreg_prune_defaults();
    o.criterion = GENREG_CRITERION_RANDOM;
    o.layerwise = 1;
    genreg_set_mask(m, NULL, 0);
    genreg_set_mask(once, NULL, 0);
    o.seed = 1;
    CHECK(genreg_prune(m, 0.3, &o) > 0 && genreg_prune(once, 0.3, &o) > 0 && !memcmp(m->mask, once->mask, (size_t)m->theta->size), "a random mask is that of its seed");
    genreg_set_mask(once, NULL, 0);
    o.seed = 2;
    genreg_prune(once, 0.3, &o);
    for (i = left = 0; i < m->theta->size; i++) left += m->mask[i] && once->mask[i];
    left -= genreg_kept(m, GENREG_KIND_BIAS, NULL);
    CHECK(left > 26 && left < 82, "two seeds share some 9 %% of 572, not %ld", (long)left); /* mean 51, deviation 5.7 */

    { /* the share of a layer stays, the places do not */
        ptrdiff_t were[8], are[8], moved = 0;
        genreg_model *shuffled = small_mlp(c);
        genreg_set_mask(m, NULL, 0);
        genreg_init(m, GENREG_INIT_PYTORCH, 3);
        genreg_prune(m, 0.2, NULL);
        genreg_kept(m, 0, were);
        genreg_set_mask(shuffled, m->mask, m->theta->size);
        CHECK(genreg_shuffle_mask(shuffled, 9), "%s", genreg_error_message(c));
        genreg_kept(shuffled, 0, are);
        for (p = 0; p < m->parameter_count; p++) CHECK(were[p] == are[p], "%s: %ld and %ld", m->parameters[p].name, (long)were[p], (long)are[p]);
        for (i = 0; i < m->theta->size; i++) moved += m->mask[i] != shuffled->mask[i];
        CHECK(moved > 100, "%ld places differ", (long)moved);
        CHECK(only_weights_are_pruned(shuffled), "biases stay");
        /* new weights under the same mask: those of an unpruned net of that seed, and zeros */
        genreg_init(shuffled, GENREG_INIT_PYTORCH, 11);
        genreg_init(once, GENREG_INIT_PYTORCH, 11);
        genreg_set_mask(once, NULL, 0);
        genreg_init(once, GENREG_INIT_PYTORCH, 11);
        for (i = moved = 0; i < m->theta->size; i++) moved += shuffled->mask[i] ? shuffled->theta->data[i] != once->theta->data[i] : !is_zero(shuffled->theta->data[i]);
        CHECK(moved == 0, "%ld values differ", (long)moved);
        genreg_model_free(shuffled);
    }
    genreg_model_free(m);
    genreg_model_free(once);
}

/* ------------------------------------------------------------------------------------------------ zeros stay zeros */

static void test_zeros(genreg_ctx *c)
{
    static const struct { genreg_optimizer optimizer; double momentum, decay; int nesterov; } way[] = {
        { GENREG_OPTIMIZER_SGD, 0, 0, 0 }, { GENREG_OPTIMIZER_SGD, 0.9, 0, 0 }, { GENREG_OPTIMIZER_SGD, 0.9, 1e-2, 0 }, { GENREG_OPTIMIZER_SGD, 0.9, 1e-2, 1 },
        { GENREG_OPTIMIZER_ADAM, 0.9, 0, 0 }, { GENREG_OPTIMIZER_ADAM, 0.9, 1e-2, 0 } };
    int k, net, step, v;
    for (net = 0; net < 2; net++)
        for (k = 0; k < 6; k++) {
            genreg_model *m = net ? small_cnn(c) : small_mlp(c);
            genreg_dataset d = net ? points(c, SAMPLES, 3, image, 3) : points(c, SAMPLES, 1, mlp_sizes, 5);
            genreg_train_options o = genreg_train_defaults();
            genreg_trainer *t;
            ptrdiff_t i, wrong = 0, moved = 0, kept = 0;
            o.optimizer = way[k].optimizer;
            o.momentum = way[k].momentum;
            o.weight_decay = way[k].decay;
            o.nesterov = way[k].nesterov;
            o.lr = 0.05;
            o.batch = 8;
            o.epochs = 10;
            t = genreg_trainer_create(m, &d, &o);
            for (step = 0; step < 60; step++) {
                static genreg_real start[MOST];
                genreg_tensor *vectors[3];
                genreg_trainer_step(t);
                if (step == 6) genreg_prune(m, 0.6, NULL);   /* amid training, with momentum in hand */
                if (step == 30) genreg_prune(m, 0.1, NULL);
                if (step == 6) memcpy(start, m->theta->data, (size_t)m->theta->size * sizeof *start);
                vectors[0] = m->theta; vectors[1] = t->velocity; vectors[2] = t->square;
                for (v = 0; m->mask && v < (step == 6 || step == 30 ? 1 : 3); v++)
                    for (i = 0; vectors[v] && i < m->theta->size; i++) wrong += !m->mask[i] && !is_zero(vectors[v]->data[i]);
                for (i = 0; step == 59 && i < m->theta->size; i++) {
                    kept += m->mask[i];
                    moved += m->mask[i] && m->theta->data[i] != start[i];
                }
            }
            CHECK(genreg_trainer_progress(t).step == 60, "60 steps: %s", genreg_error_message(c));
            CHECK(wrong == 0, "net %d, optimiser %d: %ld values are not +0", net, k, (long)wrong);
            CHECK(moved > kept / 8, "%ld of %ld kept ones have moved", (long)moved, (long)kept);
            genreg_trainer_free(t);
            genreg_model_free(m);
        }
}

/* What is kept is trained as the formula says, with the gradient at the pruned theta. */
static void test_kept_move(genreg_ctx *c, const int *layers, double keep)
{
    genreg_model *m = genreg_mlp(c, layers, 4);
    genreg_dataset d = points(c, SAMPLES, 1, layers, 5);
    genreg_train_options o = genreg_train_defaults();
    genreg_trainer *t;
    genreg_objective f;
    static genreg_real g[MOST], w[MOST], v[MOST];
    ptrdiff_t i;
    int step;
    o.lr = 0.1;
    o.weight_decay = 0.01;
    o.schedule = GENREG_SCHEDULE_CONSTANT;
    o.batch = SAMPLES;
    o.no_shuffle = 1;
    o.steps = 5;
    genreg_prune(m, keep, NULL);
    memset(v, 0, sizeof v);
    memcpy(w, m->theta->data, (size_t)m->theta->size * sizeof *w);
    t = genreg_trainer_create(m, &d, &o);
    f = genreg_training_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
    for (step = 0; step < 5; step++) {
        genreg_objective_gradient(&f, g);
        for (i = 0; i < m->theta->size; i++) {
            v[i] = (genreg_real)(m->mask[i] ? 0.9 * (double)v[i] + (double)g[i] + 0.01 * (double)w[i] : 0);
            w[i] -= (genreg_real)(0.1 * (double)v[i]);
        }
        genreg_trainer_step(t);
        CHECK(check_distance(m->theta->data, w, m->theta->size) < 10 * check_path_tolerance(), "step %d: %g", step, check_distance(m->theta->data, w, m->theta->size));
    }
    genreg_trainer_free(t);
    genreg_model_free(m);
}

/* Layers with few weights left leave out the others: the same values as the dense product of w, which is 0 there; the direct dw is that of the
   weights that are left; the recorded one is whole. The same bits for any number of threads. */
static void test_sparse(void)
{
    enum { N = 37, IN = 90, OUT = 70 };
    static genreg_real data[N * IN + IN * OUT + OUT + N * OUT], direct[3][2][IN * OUT + N * IN + OUT], first[N * OUT + IN * OUT + N * IN + OUT];
    static unsigned char mask[IN * OUT];
    const int xs[] = { N, IN }, ws[] = { IN, OUT }, bs[] = { OUT }, ys[] = { N, OUT };
    const ptrdiff_t sizes[3] = { N * IN, IN * OUT, OUT };
    genreg_real *const xd = data, *const wd = xd + N * IN, *const bd = wd + IN * OUT, *const sd = bd + OUT;
    int isa, threads, relu, twice, sparse, k;
    ptrdiff_t i;
    for (i = 0; i < N * IN + IN * OUT + OUT + N * OUT; i++) data[i] = (genreg_real)wild((unsigned)i + 5u);
    for (i = 0; i < IN * OUT; i++) {
        mask[i] = (unsigned char)(i / OUT % 5 != 0 && i % 23 == 0); /* some rows are empty */
        if (!mask[i]) wd[i] = 0;
    }
    mask[0] = mask[IN * OUT - 1] = 1;
    wd[0] = wd[IN * OUT - 1] = 1;
    for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++)
        for (relu = 0; relu < 2; relu++)
            for (twice = 0; twice < 2; twice++) /* x, w and b in two places: adjoints add up */
                for (threads = 1; threads <= 3 && genreg_isa_available((genreg_isa)isa); threads++) {
                    genreg_ctx *c = check_context((genreg_isa)isa, threads);
                    genreg_tensor *x = genreg_variable(c, 2, xs, xd), *w = genreg_variable(c, 2, ws, wd), *b = genreg_variable(c, 1, bs, bd), *seed = genreg_constant(c, 2, ys, sd);
                    genreg_tensor *in[3], *y[2], *loss, *grads[3];
                    in[0] = x; in[1] = w; in[2] = b;
                    for (sparse = 0; sparse < 2; sparse++) {
                        genreg_real *out[3];
                        out[0] = direct[0][sparse]; out[1] = direct[1][sparse]; out[2] = direct[2][sparse];
                        y[sparse] = sparse ? genreg__sparse_affine(c, x, w, b, relu, mask) : genreg_affine(c, x, w, b, relu);
                        loss = genreg_dot(c, y[sparse], seed);
                        if (twice) {
                            genreg_tensor *again = sparse ? genreg__sparse_affine(c, x, w, b, relu, mask) : genreg_affine(c, x, w, b, relu), *square = genreg_mul(c, again, again);
                            genreg_tensor *more = genreg_sum(c, square, GENREG_ALL_AXES);
                            loss = genreg_add(c, loss, more);
                        }
                        CHECK(y[sparse] && !strcmp(y[sparse]->op->name, sparse ? "sparse affine" : "affine"), "the path is taken: %s", genreg_error_message(c));
                        CHECK(genreg_grad(c, loss, NULL, in, 3, grads), "%s", genreg_error_message(c));
                        if (sparse) CHECK(check_distance(grads[1]->data, direct[1][0], IN * OUT) < check_path_tolerance(), "the recorded dw is whole");
                        CHECK(genreg_gradient_into(c, loss, NULL, in, 3, out), "%s", genreg_error_message(c));
                    }
                    CHECK(check_distance(y[1]->data, y[0]->data, N * OUT) < check_path_tolerance(), "isa %d: y %g", isa, check_distance(y[1]->data, y[0]->data, N * OUT));
                    for (i = k = 0; i < IN * OUT; i++) {
                        if (mask[i]) continue;
                        k += !is_zero(direct[1][1][i]);
                        direct[1][0][i] = 0;
                    }
                    CHECK(k == 0, "dw is 0 elsewhere");
                    for (k = 0; k < 3; k++)
                        CHECK(check_distance(direct[k][1], direct[k][0], sizes[k]) < check_path_tolerance(), "isa %d, relu %d, twice %d, input %d: %g", isa, relu, twice, k,
                              check_distance(direct[k][1], direct[k][0], sizes[k]));
                    {
                        genreg_real *at = first;
                        int same = 1;
                        for (k = 0; k < 4; k++) {
                            const genreg_real *now = k < 3 ? direct[k][1] : y[1]->data;
                            const ptrdiff_t n = k < 3 ? sizes[k] : N * OUT;
                            if (threads == 1) memcpy(at, now, (size_t)n * sizeof *at);
                            same &= !memcmp(at, now, (size_t)n * sizeof *at);
                            at += n;
                        }
                        CHECK(same, "%d threads: other bits", threads);
                    }
                    genreg_destroy(c);
                }
    { /* what is not so sparse, or small, goes the dense way */
        genreg_ctx *c = genreg_create(NULL);
        genreg_tensor *x = genreg_variable(c, 2, xs, xd), *w = genreg_variable(c, 2, ws, wd), *b = genreg_variable(c, 1, bs, bd);
        memset(mask, 0, sizeof mask);
        memset(mask, 1, IN * OUT / GENREG__SPARSE + 1);
        CHECK(!strcmp(genreg__sparse_affine(c, x, w, b, 0, mask)->op->name, "affine"), "more than a sixteenth");
        mask[0] = 0;
        CHECK(!strcmp(genreg__sparse_affine(c, x, w, b, 0, mask)->op->name, "sparse affine"), "a sixteenth");
        genreg_destroy(c);
    }
}

/* ------------------------------------------------------------------------------------------------ rewinding */

static void test_rewind(genreg_ctx *c)
{
    int k, again;
    for (k = 0; k < 4; k++) { /* SGD and Adam; an MLP with dropout, a CNN with batch norm */
        genreg_model *m = k % 2 ? small_cnn(c) : genreg_model_create(c, 1, mlp_sizes);
        genreg_dataset d = k % 2 ? points(c, SAMPLES, 3, image, 3) : points(c, SAMPLES, 1, mlp_sizes, 5);
        genreg_train_options o = genreg_train_defaults();
        genreg_trainer *t;
        genreg_snapshot *start, *amid, *plain, *end;
        genreg_progress p;
        ptrdiff_t i, wrong;
        if (k % 2 == 0) {
            genreg_layer_linear(m, 16);
            genreg_layer_relu(m);
            genreg_layer_dropout(m, 0.3);
            genreg_layer_linear(m, 5);
            genreg_init(m, GENREG_INIT_HE, 5);
        }
        o.optimizer = k / 2 ? GENREG_OPTIMIZER_ADAM : GENREG_OPTIMIZER_SGD;
        o.batch = 8;
        o.epochs = 4;
        o.seed = 21;
        t = genreg_trainer_create(m, &d, &o);
        start = genreg_snapshot_take(m, t);
        plain = genreg_snapshot_take(m, NULL);
        for (again = 0; again < 9; again++) genreg_trainer_step(t); /* amid the second epoch */
        amid = genreg_snapshot_take(m, t);
        while (genreg_trainer_epoch(t)) {}
        end = genreg_snapshot_take(m, t);
        p = genreg_trainer_progress(t);
        CHECK(p.step == 24 && !same_bits(start->theta, end->theta) && !same_bits(amid->theta, end->theta), "%d: the run moves", k);
        CHECK(!m->state || !same_bits(start->state, end->state), "statistics too");
        for (again = 0; again < 5; again++) { /* the same trainer and a new one from the start and from step 9; the model alone */
            genreg_trainer *u = again % 2 || again == 4 ? genreg_trainer_create(m, &d, &o) : t;
            genreg_progress q;
            CHECK(again == 4 ? genreg_rewind(m, NULL, plain) : genreg_rewind(m, u, again < 2 ? start : amid), "%s", genreg_error_message(c));
            CHECK(same_bits(m->theta, again == 2 || again == 3 ? amid->theta : start->theta), "theta is back");
            q = genreg_trainer_progress(u);
            CHECK(q.step == (again == 2 || again == 3 ? 9 : 0), "step %ld", (long)q.step);
            while (genreg_trainer_epoch(u)) {}
            q = genreg_trainer_progress(u);
            CHECK(same_bits(m->theta, end->theta) && same_bits(m->state, end->state) && same_bits(u->velocity, end->velocity) && same_bits(u->square, end->square),
                  "net %d, way %d: training repeats to the bit", k, again);
            CHECK(memcmp(&q.loss, &p.loss, sizeof p.loss) == 0 && q.accuracy == p.accuracy && q.samples == p.samples && q.lr == p.lr && q.epoch == p.epoch, "so do its figures");
            if (u != t) genreg_trainer_free(u);
        }
        { /* another order from step 9 on: another end */
            genreg_train_options other = o;
            genreg_trainer *u;
            other.seed = 22;
            u = genreg_trainer_create(m, &d, &other);
            genreg_rewind(m, u, amid);
            while (genreg_trainer_epoch(u)) {}
            CHECK(!same_bits(m->theta, end->theta) && genreg_trainer_progress(u).step == 24, "another seed goes another way");
            genreg_trainer_free(u);
        }
        genreg_prune(m, 0.25, NULL); /* what is left goes back to where it was, the rest is 0 */
        genreg_rewind(m, t, amid);
        for (i = wrong = 0; i < m->theta->size; i++) {
            wrong += m->mask[i] ? m->theta->data[i] != amid->theta->data[i] || t->velocity->data[i] != amid->velocity->data[i]
                                : !is_zero(m->theta->data[i]) || !is_zero(t->velocity->data[i]) || (t->square && !is_zero(t->square->data[i]));
        }
        CHECK(wrong == 0 && genreg_kept(m, GENREG_KIND_WEIGHT, NULL) > 0, "%ld values differ under a mask", (long)wrong);
        {
            genreg_model *other = small_mlp(c);
            genreg_train_options brief = o;
            genreg_trainer *u;
            CHECK(!genreg_rewind(other, NULL, start), "another model");
            CHECK_ERROR(c, GENREG_ERROR_SHAPE, "another model");
            CHECK(!genreg_rewind(m, t, plain), "no trainer");
            CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "without a trainer");
            brief.steps = 8;
            u = genreg_trainer_create(m, &d, &brief);
            CHECK(!genreg_rewind(m, u, amid), "past the end");
            CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "step 9 and the run ends at step 8");
            genreg_trainer_free(u);
            brief = o;
            brief.optimizer = k / 2 ? GENREG_OPTIMIZER_SGD : GENREG_OPTIMIZER_ADAM;
            u = genreg_trainer_create(m, &d, &brief);
            CHECK(!genreg_rewind(m, u, amid), "another optimiser");
            CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "another optimiser");
            genreg_trainer_free(u);
            genreg_model_free(other);
        }
        genreg_snapshot_free(start);
        genreg_snapshot_free(amid);
        genreg_snapshot_free(plain);
        genreg_snapshot_free(end);
        genreg_trainer_free(t);
        genreg_model_free(m);
    }
}

/* ------------------------------------------------------------------------------------------------ scores */

/* SNIP and GraSP by central differences of loss and gradient; in double, where they mean something. */
static void test_loss_scores(genreg_ctx *c)
{
    int net;
    for (net = 0; DOUBLE && net < 2; net++) {
        genreg_model *m = net ? small_cnn(c) : small_mlp(c);
        genreg_dataset d = net ? points(c, SAMPLES, 3, image, 3) : points(c, SAMPLES, 1, mlp_sizes, 5);
        genreg_objective f = genreg_training_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
        genreg_prune_options o = genreg_prune_defaults();
        static genreg_real snip[MOST], grasp[MOST], g[MOST], up[MOST], down[MOST];
        ptrdiff_t n = m->theta->size, i, wrong[2] = { 0, 0 };
        double h = 1e-5, norm = 0;
        int p;
        o.data = &d;
        genreg_prune(m, 0.7, NULL); /* the scores are those of the pruned net */
        o.criterion = GENREG_CRITERION_SNIP;
        CHECK(genreg_prune_scores(m, &o, snip), "%s", genreg_error_message(c));
        o.criterion = GENREG_CRITERION_GRASP;
        CHECK(genreg_prune_scores(m, &o, grasp), "%s", genreg_error_message(c));
        genreg_objective_gradient(&f, g);
        for (p = 0; p < m->parameter_count; p++) /* the gradient over the weights that are left */
            for (i = m->parameters[p].offset; i < m->parameters[p].offset + m->parameters[p].size; i++) {
                if (!prunable(&m->parameters[p]) || !m->mask[i]) g[i] = 0;
                norm += (double)g[i] * (double)g[i];
            }
        norm = sqrt(norm);
        for (i = 0; i < n; i++) m->theta->data[i] += (genreg_real)(h / norm) * g[i];
        genreg_objective_gradient(&f, up);
        for (i = 0; i < n; i++) m->theta->data[i] -= (genreg_real)(2 * h / norm) * g[i];
        genreg_objective_gradient(&f, down);
        for (i = 0; i < n; i++) m->theta->data[i] += (genreg_real)(h / norm) * g[i];
        for (p = 0; p < m->parameter_count; p++)
            for (i = m->parameters[p].offset; i < m->parameters[p].offset + m->parameters[p].size; i++) {
                double w = (double)m->theta->data[i], expected[2] = { 0, 0 }, found[2];
                if (prunable(&m->parameters[p]) && m->mask[i]) {
                    double high, low;
                    m->theta->data[i] = (genreg_real)(w * (1 + h));
                    high = genreg_objective_gradient(&f, NULL);
                    m->theta->data[i] = (genreg_real)(w * (1 - h));
                    low = genreg_objective_gradient(&f, NULL);
                    m->theta->data[i] = (genreg_real)w;
                    expected[0] = fabs(high - low) / (2 * h);
                    expected[1] = w * ((double)up[i] - (double)down[i]) / (2 * h) * norm;
                }
                found[0] = (double)snip[i];
                found[1] = (double)grasp[i];
                wrong[0] += !(fabs(found[0] - expected[0]) <= 1e-7 + 1e-4 * fabs(expected[0]));
                wrong[1] += !(fabs(found[1] - expected[1]) <= 1e-6 + 1e-3 * fabs(expected[1]));
            }
        CHECK(wrong[0] == 0 && wrong[1] == 0, "net %d: %ld SNIP and %ld GraSP scores of %ld differ", net, (long)wrong[0], (long)wrong[1], (long)n);
        CHECK(norm > 1e-3, "a gradient that is there: %g", norm);
        genreg_model_free(m);
    }
}

/* For linear layers R = 1^T |W1| |W2| |W3| 1, and a weight's score is what flows through it: (flow into i) |w_ij| (flow out of j). */
static void test_synflow(genreg_ctx *c)
{
    genreg_model *m = small_mlp(c);
    genreg_prune_options o = genreg_prune_defaults();
    static genreg_real scores[MOST];
    static double in[4][32], out[4][32];
    double total = 0, worst = 0;
    int l, i, j, p, net;
    o.criterion = GENREG_CRITERION_SYNFLOW;
    CHECK(genreg_prune_scores(m, &o, scores), "%s", genreg_error_message(c));
    for (i = 0; i < mlp_sizes[0]; i++) in[0][i] = 1;
    for (j = 0; j < mlp_sizes[3]; j++) out[3][j] = 1;
    for (l = 0; l < 3; l++)
        for (j = 0; j < mlp_sizes[l + 1]; j++)
            for (i = 0; i < mlp_sizes[l]; i++) in[l + 1][j] += in[l][i] * fabs((double)m->theta->data[m->parameters[2 * l].offset + i * mlp_sizes[l + 1] + j]);
    for (l = 2; l >= 0; l--)
        for (i = 0; i < mlp_sizes[l]; i++)
            for (j = 0; j < mlp_sizes[l + 1]; j++) out[l][i] += out[l + 1][j] * fabs((double)m->theta->data[m->parameters[2 * l].offset + i * mlp_sizes[l + 1] + j]);
    for (j = 0; j < mlp_sizes[3]; j++) total += in[3][j];
    for (l = 0; l < 3; l++)
        for (i = 0; i < mlp_sizes[l]; i++)
            for (j = 0; j < mlp_sizes[l + 1]; j++) {
                ptrdiff_t at = m->parameters[2 * l].offset + i * mlp_sizes[l + 1] + j;
                double expected = in[l][i] * fabs((double)m->theta->data[at]) * out[l + 1][j], off = fabs((double)scores[at] - expected);
                if (off / total > worst) worst = off / total;
            }
    CHECK(total > 0.01 && worst < check_path_tolerance(), "worst of all scores: %g of %g", worst, total);
    genreg_model_free(m);
    for (net = 0; net < 3; net++) { /* what flows is conserved: each layer's scores add up to R, a batch norm's scale's too */
        double sum[32], r = 0;
        m = net ? small_cnn(c) : small_mlp(c);
        if (net) for (i = 0; i < m->theta->size; i++) m->theta->data[i] += (genreg_real)(0.3 * wild((unsigned)i)); /* no ones in the batch norms */
        if (net) for (i = 0; i < m->state->size; i++) m->state->data[i] += (genreg_real)(0.5 + 0.4 * wild((unsigned)i)); /* nor zeros and ones in the statistics */
        if (net == 2) genreg_prune(m, 0.4, NULL);
        o.kinds = GENREG_KIND_WEIGHT | GENREG_KIND_NORM_WEIGHT;
        CHECK(genreg_prune_scores(m, &o, scores), "%s", genreg_error_message(c));
        for (p = 0; p < m->parameter_count; p++) {
            const genreg_parameter *q = &m->parameters[p];
            for (i = 0, sum[p] = 0; i < q->size; i++) sum[p] += (double)scores[q->offset + i];
            if (p == 0) r = sum[0];
            if (q->kind & o.kinds) CHECK(r > 0 && fabs(sum[p] / r - 1) < (DOUBLE ? 1e-12 : 1e-5), "net %d, %s: %.10g of %.10g", net, q->name, sum[p], r);
        }
        genreg_model_free(m);
    }
    o.kinds = GENREG_KIND_WEIGHT;
    { /* three rounds to 29 of 572: each leaves the cube root of 29/572 of the one before, 212, 78 or 79, 29 */
        genreg_model *by_hand = small_mlp(c);
        ptrdiff_t left = 572;
        int round;
        m = small_mlp(c);
        o.rounds = 3;
        genreg_prune(m, 29.0 / 572, &o);
        o.rounds = 1;
        for (round = 3; round > 0; round--) {
            left = (ptrdiff_t)floor((double)left * pow(29.0 / (double)left, 1.0 / round) + 0.5);
            CHECK(genreg_prune(by_hand, (double)left / 572, &o) == left, "%ld are left", (long)left);
        }
        CHECK(left == 29 && genreg_kept(m, GENREG_KIND_WEIGHT, NULL) == 29 && !memcmp(m->mask, by_hand->mask, (size_t)m->theta->size), "rounds are steps of one factor");
        genreg_model_free(m);
        genreg_model_free(by_hand);
    }
    { /* many rounds leave every layer something where one cuts a layer off (Tanaka et al. 2020) */
        int narrow[] = { 200, 200, 4, 100, 3 };
        int rounds, cut[2] = { 0, 0 };
        for (rounds = 0; rounds < 2; rounds++) {
            ptrdiff_t kept, left[16];
            m = genreg_mlp(c, narrow, 5);
            o.rounds = rounds ? 100 : 1;
            kept = genreg_prune(m, 0.002, &o);
            CHECK(kept == 83 && genreg_kept(m, GENREG_KIND_WEIGHT, left) == 83, "83 of 41,500 weights: %ld: %s", (long)kept, genreg_error_message(c));
            for (p = 0; p < m->parameter_count; p += 2) cut[rounds] += left[p] == 0;
            genreg_model_free(m);
        }
        CHECK(cut[0] > 0 && cut[1] == 0, "layers that are cut off: %d in one round, %d in a hundred", cut[0], cut[1]);
    }
}

/* ------------------------------------------------------------------------------------------------ the line between two models */

/* Not as one fused operation, as compilers have it on some machines. */
static genreg_real mix(double t, genreg_real a, genreg_real b)
{
    volatile double from = (1 - t) * (double)a, to = t * (double)b;
    return (genreg_real)(from + to);
}

static void test_line(genreg_ctx *c)
{
    enum { POINTS = 5 };
    genreg_dataset d = points(c, 300, 3, image, 3), few = genreg_first(c, &d, 100), half[2];
    genreg_model *a = small_cnn(c), *b = small_cnn(c), *between = small_cnn(c);
    genreg_train_options o = genreg_train_defaults();
    genreg_snapshot *before;
    genreg_barrier barrier;
    genreg_score at[POINTS], s;
    double worst[2] = { -1, -1 };
    ptrdiff_t i;
    int k, renewed;
    o.epochs = 2;
    o.batch = 20;
    o.lr = 0.05;
    genreg_train(a, &d, &o);
    genreg_init(b, GENREG_INIT_PYTORCH, 6);
    o.seed = 9;
    genreg_train(b, &d, &o);
    before = genreg_snapshot_take(a, NULL);
    for (renewed = 0; renewed < 2; renewed++) {
        barrier = genreg_line(a, b, POINTS, &d, renewed ? &few : NULL, at);
        worst[0] = worst[1] = -1;
        for (k = 0; k < POINTS; k++) {
            double t = k / (POINTS - 1.0);
            for (i = 0; i < a->theta->size; i++) between->theta->data[i] = mix(t, a->theta->data[i], b->theta->data[i]);
            for (i = 0; i < a->state->size; i++) between->state->data[i] = mix(t, a->state->data[i], b->state->data[i]);
            if (renewed) genreg_renew_statistics(between, &few);
            s = genreg_evaluate(between, &d);
            CHECK(s.loss == at[k].loss && s.accuracy == at[k].accuracy, "point %d: loss %g and %g: %s", k, at[k].loss, s.loss, genreg_error_message(c));
            if (s.loss > worst[0]) worst[0] = s.loss;
            if (1 - s.accuracy > worst[1]) worst[1] = 1 - s.accuracy;
        }
        CHECK(fabs(barrier.loss - (worst[0] - (at[0].loss + at[POINTS - 1].loss) / 2)) < 1e-12 && fabs(barrier.error - (worst[1] - 1 + (at[0].accuracy + at[POINTS - 1].accuracy) / 2)) < 1e-12,
              "barriers %g and %g", barrier.loss, barrier.error);
        CHECK(barrier.error > 0.01, "two nets from two seeds are not connected: %g", barrier.error);
        CHECK(same_bits(a->theta, before->theta) && same_bits(a->state, before->state), "the ends stay as they were");
    }
    barrier = genreg_line(a, a, 3, &d, NULL, NULL);
    CHECK(barrier.loss == 0 && barrier.error == 0, "from a model to itself: %g, %g", barrier.loss, barrier.error);

    { /* the statistics are those of the set: of one batch exactly, of two batches of 150 their mean */
        genreg_batch all = genreg_get_batch(c, &few, NULL, 0, 100);
        genreg_trace trace;
        genreg_pass pass;
        double mean[2] = { 0, 0 }, var[2] = { 0, 0 };
        genreg_real *m = a->state->data, *v = a->state->data + a->states[1].offset, first[64];
        int ch;
        memset(&pass, 0, sizeof pass);
        pass.trace = &trace;
        genreg_forward(a, NULL, all.x, &pass);
        for (i = 0; i < trace.output[0]->size; i++) mean[i % 2] += (double)trace.output[0]->data[i] / 6400;
        for (i = 0; i < trace.output[0]->size; i++) var[i % 2] += ((double)trace.output[0]->data[i] - mean[i % 2]) * ((double)trace.output[0]->data[i] - mean[i % 2]) / 6399;
        genreg_renew_statistics(a, &few);
        for (ch = 0; ch < 2; ch++)
            CHECK(fabs((double)m[ch] - mean[ch]) < 1e-5 && fabs((double)v[ch] / var[ch] - 1) < 1e-5, "channel %d: %g and %g, %g and %g", ch, (double)m[ch], mean[ch], (double)v[ch], var[ch]);
        half[0] = genreg_first(c, &d, 150);
        half[1] = d; /* the other half, by rows of its own */
        {
            static int order[150];
            for (k = 0; k < 150; k++) order[k] = 150 + k;
            half[1].rows = order;
            half[1].labels = d.labels + 150;
            half[1].n = 150;
        }
        genreg_renew_statistics(a, &half[0]);
        memcpy(first, a->state->data, (size_t)a->state->size * sizeof *first);
        genreg_renew_statistics(a, &half[1]);
        for (i = 0; i < a->state->size; i++) first[i] = (genreg_real)(((double)first[i] + (double)a->state->data[i]) / 2);
        genreg_renew_statistics(a, &d);
        CHECK(check_distance(a->state->data, first, a->state->size) < check_path_tolerance(), "two batches: %g", check_distance(a->state->data, first, a->state->size));
    }
    barrier = genreg_line(a, b, 2, &d, NULL, NULL);
    CHECK(barrier.loss != barrier.loss && barrier.error != barrier.error, "two points");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "3 or more");
    genreg_model_free(between);
    between = small_mlp(c);
    genreg_line(a, between, 3, &d, NULL, NULL);
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "different layers");
    genreg_model_free(between);
    between = small_cnn(c); /* the same shapes, at another scale */
    genreg_init(between, GENREG_INIT_NTK, 4);
    genreg_line(a, between, 3, &d, NULL, NULL);
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "different layers");
    CHECK(genreg_rewind(between, NULL, before) == 0, "a snapshot of another parametrisation");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "NTK");
    CHECK(genreg_rewind(a, NULL, NULL) == 0, "no snapshot");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no snapshot");
    genreg_model_free(between);
    between = genreg_linearize(b); /* its statistics are part of what it is linear around */
    s = genreg_evaluate(between, &d);
    CHECK(genreg_renew_statistics(between, &few) == 1 && genreg_evaluate(between, &d).loss == s.loss, "a linearised model keeps its statistics: %g, %g", s.loss, genreg_evaluate(between, &d).loss);
    barrier = genreg_line(between, between, 3, &d, &few, at);
    CHECK(at[1].loss == s.loss && barrier.loss == 0, "on a line too: %g, %g", at[1].loss, barrier.loss);
    genreg_line(b, between, 3, &d, NULL, NULL);
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "different layers");
    genreg_snapshot_free(before);
    genreg_model_free(a);
    genreg_model_free(b);
    genreg_model_free(between);
}

/* With little memory the statistics come in smaller batches; when even those do not fit they stay as they were. */
static void test_little_memory(void)
{
    genreg_options o = genreg_defaults();
    genreg_ctx *c;
    genreg_model *m;
    genreg_dataset d;
    genreg_tensor *before;
    o.memory = 400 * 1024;
    c = genreg_create(&o);
    m = small_cnn(c);
    d = points(c, 300, 3, image, 3);
    CHECK(genreg_renew_statistics(m, &d) && m->state->data[0] != 0, "in smaller batches: %s", genreg_error_message(c));
    before = genreg__copy_of(c, m->state);
    c->limit = 4096;
    CHECK(!genreg_renew_statistics(m, &d) && same_bits(before, m->state), "not even one image");
    CHECK_ERROR(c, GENREG_ERROR_LIMIT, "bytes");
    genreg_destroy(c);
}

/* ------------------------------------------------------------------------------------------------ errors */

static void test_errors(genreg_ctx *c)
{
    static const double bad[] = { 0, -0.1, 1.0001, 1e300, (double)NAN };
    genreg_model *m = small_mlp(c), *other = small_cnn(c), *empty = genreg_model_create(c, 1, mlp_sizes);
    genreg_prune_options o = genreg_prune_defaults();
    int k;
    for (k = 0; k < 5; k++) {
        CHECK(genreg_prune(m, bad[k], NULL) == 0, "share %g", bad[k]);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "over 0 and at most 1");
    }
    genreg_prune(m, 1e-6, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "none");
    CHECK(m->mask == NULL && genreg_kept(m, GENREG_KIND_ALL, NULL) == m->theta->size, "and nothing is pruned");
    genreg_prune(other, 0.5, NULL);
    CHECK(!genreg_set_mask(m, other->mask, other->theta->size), "a mask of another model");
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "another model");
    genreg_prune(empty, 0.5, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "genreg_init");
    o.criterion = GENREG_CRITERION_SNIP;
    genreg_prune(m, 0.5, &o);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "SNIP");
    o.criterion = (genreg_criterion)99;
    genreg_prune(m, 0.5, &o);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "criterion");
    o = genreg_prune_defaults();
    o.rounds = 0;
    genreg_prune(m, 0.5, &o);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "rounds");
    o = genreg_prune_defaults();
    o.kinds = 0;
    genreg_prune(m, 0.5, &o);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "kinds");
    genreg_prune_by(m, NULL, 0.5, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no scores");
    genreg_prune_scores(m, NULL, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no room");
    o = genreg_prune_defaults();
    o.layerwise = 1;
    genreg_prune(m, 0.005, &o); /* 2, 1 and 0 weights of the three layers */
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "weights of 4.weight is none");
    {
        static genreg_real scores[MOST];
        scores[7] = (genreg_real)HUGE_VAL; /* always keep */
        CHECK(genreg_prune_by(m, scores, 1.0 / 572, NULL) == 1 && m->mask[7] == 1, "an infinite score: %s", genreg_error_message(c));
        scores[7] = (genreg_real)NAN;
        genreg_prune_by(m, scores, 1.0 / 572, NULL);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "0.weight");
        o = genreg_prune_defaults();
        o.criterion = GENREG_CRITERION_SYNFLOW; /* one weight is left: no path */
        genreg_prune_scores(m, &o, scores);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no path");
        genreg_set_mask(m, NULL, 0);
        genreg_init(m, GENREG_INIT_PYTORCH, 3);
    }
    m->theta->data[5] = (genreg_real)NAN;
    genreg_prune(m, 0.5, NULL);
    CHECK_ERROR(c, GENREG_ERROR_DIVERGED, "0.weight");
    CHECK(genreg_prune(NULL, 0.5, NULL) == 0 && genreg_snapshot_take(NULL, NULL) == NULL && genreg_kept(NULL, 1, NULL) == 0 && !genreg_rewind(NULL, NULL, NULL) && !genreg_set_mask(NULL, NULL, 0),
          "NULL in, nothing out");
    genreg_snapshot_free(NULL);
    genreg_model_free(m);
    genreg_model_free(other);
    genreg_model_free(empty);
}

/* A linearised model has a mask of its own, equal to that of the model. */
static void test_linearised(genreg_ctx *c)
{
    static const int sizes[] = { 6, 5, 3 };
    genreg_model *m = genreg_mlp(c, sizes, 3), *linear;
    ptrdiff_t kept = genreg_prune(m, 0.4, NULL), size = m->theta->size;
    linear = genreg_linearize(m);
    CHECK(linear && linear->mask != m->mask && !memcmp(linear->mask, m->mask, (size_t)size), "the mask of a linearised model");
    genreg_set_mask(m, NULL, size);
    CHECK(genreg_kept(linear, GENREG_KIND_WEIGHT, NULL) == kept && genreg_kept(m, GENREG_KIND_WEIGHT, NULL) == 45, "%d weights are left", (int)kept);
    genreg_model_free(m);
    genreg_model_free(linear);
    { /* synaptic flow is that of the layers, whatever is linear */
        genreg_prune_options o = genreg_prune_defaults();
        genreg_real own[63], of_linear[63];
        m = genreg_mlp(c, sizes, 3);
        genreg_init(m, GENREG_INIT_PYTORCH, 8);
        linear = genreg_linearize(m);
        o.criterion = GENREG_CRITERION_SYNFLOW;
        CHECK(m->theta->size <= 63 && genreg_prune_scores(m, &o, own) && genreg_prune_scores(linear, &o, of_linear) && !memcmp(own, of_linear, (size_t)m->theta->size * sizeof *own),
              "synaptic flow of a linearised model: %s", genreg_error_message(c));
        genreg_model_free(m);
        genreg_model_free(linear);
    }
}

int main(void)
{
    genreg_ctx *c = genreg_create(NULL);
    test_counts(c);
    test_rounds(c);
    test_zeros(c);
    test_kept_move(c, mlp_sizes, 0.3);
    test_kept_move(c, wide_sizes, 0.05); /* sparse enough to leave weights out */
    test_sparse();
    test_rewind(c);
    test_loss_scores(c);
    test_synflow(c);
    test_line(c);
    test_little_memory();
    test_errors(c);
    test_linearised(c);
    CHECK(genreg_error(c) == GENREG_OK, "%s", genreg_error_message(c));
    genreg_destroy(c);
    return check_done();
}
