/* test_train.c - training: optimisers, schedules and losses against PyTorch and against the formulas; steps, epochs, order, progress;
   divergence; threads and instruction sets.

      cc -O2 -fopenmp tests/test_train.c -o test_train -lm && ./test_train          (or with -DGENREG_REAL=double)

   Reference values: tests/fixtures, written by tests/fixtures/make_fixtures.py with PyTorch. */
#include <stddef.h>

/* Counts what the library takes, so that a step can be seen to take nothing. */
static void *counted_malloc(size_t n);
static void *counted_realloc(void *p, size_t n);
static void counted_free(void *p);
#define GENREG_MALLOC(n) counted_malloc(n)
#define GENREG_REALLOC(p, n) counted_realloc(p, n)
#define GENREG_FREE(p) counted_free(p)
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include "check.h"
#include "fixture.h"

static long allocations;
static void *counted_malloc(size_t n) { allocations++; return malloc(n); }
static void *counted_realloc(void *p, size_t n) { allocations++; return realloc(p, n); }
static void counted_free(void *p) { free(p); }

enum { DOUBLE = sizeof(genreg_real) == 8 };

/* ------------------------------------------------------------------------------------------------ against PyTorch */

enum { SAMPLES = 22, BATCH = 8, EPOCHS = 4, INPUTS = 20, OUTPUTS = 5, PARAMETERS = 20 * 16 + 16 + 16 * 16 + 16 + 16 * 5 + 5 };
static const int sizes[] = { INPUTS, 16, 16, OUTPUTS };

static genreg_real fixture_x[SAMPLES * INPUTS];
static int fixture_labels[SAMPLES];
static fixture setting;

/* Parameters between the library's order (a weight is [in, out]) and PyTorch's ([out, in]). */
static void from_torch(const genreg_model *m, const double *torch, genreg_real *ours)
{
    int p, i, k;
    for (p = 0; p < m->parameter_count; p++) {
        const genreg_parameter *q = &m->parameters[p];
        int in = q->rank == 2 ? q->shape[0] : 1, out = q->rank == 2 ? q->shape[1] : q->shape[0];
        for (i = 0; i < in; i++)
            for (k = 0; k < out; k++) ours[q->offset + i * out + k] = (genreg_real)torch[q->offset + k * in + i];
    }
}

/* |ours - torch| / |torch| */
static double distance_to_torch(const genreg_model *m, const genreg_real *ours, const double *torch)
{
    double difference = 0, size = 0;
    int p, i, k;
    if (!torch) return HUGE_VAL;
    for (p = 0; p < m->parameter_count; p++) {
        const genreg_parameter *q = &m->parameters[p];
        int in = q->rank == 2 ? q->shape[0] : 1, out = q->rank == 2 ? q->shape[1] : q->shape[0];
        for (i = 0; i < in; i++)
            for (k = 0; k < out; k++) {
                double t = torch[q->offset + k * in + i], d = (double)ours[q->offset + i * out + k] - t;
                difference += d * d;
                size += t * t;
            }
    }
    return difference != difference || !(size > 0) ? HUGE_VAL : sqrt(difference / size);
}

static genreg_model *fixture_model(genreg_ctx *c)
{
    genreg_model *m = genreg_mlp(c, sizes, 4);
    const double *theta = fixture_get(&setting, "theta", PARAMETERS);
    if (theta) from_torch(m, theta, m->theta->data);
    return m;
}

static genreg_dataset fixture_set(genreg_ctx *c)
{
    const int shape[1] = { INPUTS };
    const double *x = fixture_get(&setting, "x", SAMPLES * INPUTS), *y = fixture_get(&setting, "labels", SAMPLES);
    int i;
    for (i = 0; x && i < SAMPLES * INPUTS; i++) fixture_x[i] = (genreg_real)x[i];
    for (i = 0; y && i < SAMPLES; i++) fixture_labels[i] = (int)y[i];
    return genreg_dataset_reals(c, fixture_x, fixture_labels, SAMPLES, 1, shape, OUTPUTS);
}

static double relative(double a, double b) { return fabs(a - b) / fabs(b); }

/* Outputs, losses, gradients and Hessian products at the starting parameters, each by every way there is to it. */
static void test_derivatives(genreg_ctx *c, const fixture *want, int losses, double tolerance)
{
    static const char *const name[] = { "ce", "mse" };
    genreg_model *m = fixture_model(c);
    genreg_dataset d = fixture_set(c);
    genreg_place start = genreg_mark(c);
    genreg_batch b = genreg_get_batch(c, &d, NULL, 0, SAMPLES);
    const double *v_torch = fixture_get(&setting, "v", PARAMETERS), *outputs = fixture_get(want, "outputs", SAMPLES * OUTPUTS);
    genreg_real *v = (genreg_real *)malloc(PARAMETERS * sizeof *v), *out = (genreg_real *)malloc(PARAMETERS * sizeof *out), *y_want = (genreg_real *)malloc(SAMPLES * OUTPUTS * sizeof *y_want);
    genreg_tensor *y, *loss, *g, *hv, *direction;
    int kind, i, shape[1] = { PARAMETERS };
    char block[32];
    from_torch(m, v_torch, v);
    y = genreg_forward(m, m->theta, b.x, NULL);
    for (i = 0; outputs && i < SAMPLES * OUTPUTS; i++) y_want[i] = (genreg_real)outputs[i];
    CHECK(y && outputs && check_distance(y->data, y_want, y->size) < tolerance, "%s: outputs are off by %g", genreg_isa_name(c), y ? check_distance(y->data, y_want, y->size) : HUGE_VAL);
    for (kind = 0; kind < losses; kind++) {
        genreg_objective f = genreg_model_objective(m, &d, (genreg_loss)kind);
        genreg_hessian *h;
        const double *value, *gradient, *product;
        double loss_value;
        sprintf(block, "loss_%s", name[kind]);
        value = fixture_get(want, block, 1);
        sprintf(block, "gradient_%s", name[kind]);
        gradient = fixture_get(want, block, PARAMETERS);
        sprintf(block, "hvp_%s", name[kind]);
        product = fixture_get(want, block, PARAMETERS);
        if (!value || !gradient || !product) { CHECK(0, "a block is missing"); continue; }
        loss = kind ? genreg_mse(c, y, genreg_one_hot(c, b.labels, b.n, OUTPUTS)) : genreg_cross_entropy(c, y, b.labels);
        CHECK(relative(genreg_item(loss), value[0]) < tolerance, "%s %s: loss %.12g, PyTorch %.12g", genreg_isa_name(c), name[kind], genreg_item(loss), value[0]);
        CHECK(genreg_gradient_into(c, loss, NULL, &m->theta, 1, &out) && distance_to_torch(m, out, gradient) < tolerance, "%s %s: the fused gradient is off by %g", genreg_isa_name(c),
              name[kind], distance_to_torch(m, out, gradient));
        CHECK(genreg_grad(c, loss, NULL, &m->theta, 1, &g) && distance_to_torch(m, g->data, gradient) < tolerance, "%s %s: the recorded gradient", genreg_isa_name(c), name[kind]);
        direction = genreg_constant(c, 1, shape, v);
        CHECK(genreg_grad(c, genreg_dot(c, g, direction), NULL, &m->theta, 1, &hv) && distance_to_torch(m, hv->data, product) < tolerance, "%s %s: the Hessian product in two lines",
              genreg_isa_name(c), name[kind]);
        loss_value = genreg_objective_gradient(&f, out);
        CHECK(relative(loss_value, value[0]) < tolerance && distance_to_torch(m, out, gradient) < tolerance, "%s %s: the objective's gradient", genreg_isa_name(c), name[kind]);
        h = genreg_hessian_open(&f);
        CHECK(genreg_hessian_product(h, v, out) && distance_to_torch(m, out, product) < tolerance && relative(genreg_hessian_loss(h), value[0]) < tolerance, "%s %s: the Hessian product is off by %g",
              genreg_isa_name(c), name[kind], distance_to_torch(m, out, product));
        genreg_hessian_close(h);
        {
            genreg_score s = genreg_evaluate_classes(m, &d, (genreg_loss)kind, NULL);
            CHECK(relative(s.loss, value[0]) < tolerance, "%s %s: genreg_evaluate", genreg_isa_name(c), name[kind]);
        }
    }
    CHECK(genreg_error(c) == GENREG_OK, "%s", genreg_error_message(c));
    genreg_release(c, start); /* what was made of a model goes before the model */
    genreg_model_free(m);
    free(v);
    free(out);
    free(y_want);
}

typedef struct history { int epochs; double figures[3 * EPOCHS]; } history;

static int remember(const genreg_progress *p, void *user)
{
    history *h = (history *)user;
    if (h->epochs < EPOCHS) {
        h->figures[3 * h->epochs] = p->loss;
        h->figures[3 * h->epochs + 1] = p->accuracy;
        h->figures[3 * h->epochs + 2] = p->lr;
    }
    h->epochs++;
    return 0;
}

/* The options of a run of make_fixtures.py. */
static genreg_train_options fixture_run(const char *name)
{
    genreg_train_options o = genreg_train_defaults();
    o.batch = BATCH;
    o.epochs = EPOCHS;
    o.no_shuffle = 1;
    o.schedule = GENREG_SCHEDULE_CONSTANT;
    if (!strcmp(name, "momentum_cosine")) { o.lr = 0.1; o.schedule = GENREG_SCHEDULE_COSINE; }
    if (!strcmp(name, "nesterov_decay_step")) { o.lr = 0.05; o.nesterov = 1; o.weight_decay = 0.01; o.schedule = GENREG_SCHEDULE_STEP; o.period = 2; o.gamma = 0.5; }
    if (!strcmp(name, "momentum_decay_cosine_by_step")) { o.lr = 0.05; o.momentum = 0.8; o.weight_decay = 0.02; o.schedule = GENREG_SCHEDULE_COSINE; o.schedule_by_step = 1; o.lr_min = 0.01; }
    if (!strncmp(name, "adam", 4)) { o.optimizer = GENREG_OPTIMIZER_ADAM; o.lr = 0.01; }
    if (!strcmp(name, "adam_decay_step_by_step")) { o.weight_decay = 0.05; o.schedule = GENREG_SCHEDULE_STEP; o.schedule_by_step = 1; o.period = 5; o.gamma = 0.3; }
    if (!strcmp(name, "adam_mse_cosine")) { o.lr = 0.02; o.beta1 = 0.8; o.beta2 = 0.99; o.eps = 1e-6; o.loss = GENREG_LOSS_MSE; o.schedule = GENREG_SCHEDULE_COSINE; o.lr_min = 0.001; }
    return o;
}

static void test_runs(genreg_ctx *c, const fixture *want, double tolerance)
{
    static const char *const name[] = { "momentum_cosine", "nesterov_decay_step", "momentum_decay_cosine_by_step", "adam", "adam_decay_step_by_step", "adam_mse_cosine" };
    genreg_dataset d = fixture_set(c);
    int run, i, runs = 0;
    for (run = 0; run < 6; run++) {
        char block[64];
        const double *theta = NULL, *figures = NULL;
        genreg_train_options o = fixture_run(name[run]);
        genreg_model *m;
        genreg_progress p;
        history h;
        double away;
        sprintf(block, "theta_%s", name[run]);
        for (i = 0; i < want->blocks; i++)
            if (!strcmp(want->block[i].name, block)) theta = fixture_get(want, block, PARAMETERS);
        if (!theta) continue;
        runs++;
        sprintf(block, "figures_%s", name[run]);
        figures = fixture_get(want, block, 3 * EPOCHS);
        m = fixture_model(c);
        memset(&h, 0, sizeof h);
        o.on_epoch = remember;
        o.user = &h;
        p = genreg_train(m, &d, &o);
        away = distance_to_torch(m, m->theta->data, theta);
        CHECK(away < tolerance, "%s, %s: parameters are off by %g", genreg_isa_name(c), name[run], away);
        CHECK(distance_to_torch(m, m->theta->data, fixture_get(&setting, "theta", PARAMETERS)) > 0.01, "%s: the run goes somewhere", name[run]);
        CHECK(h.epochs == EPOCHS && p.epoch == EPOCHS && p.step == 12 && p.samples == SAMPLES, "%s: %d epochs, %ld steps", name[run], p.epoch, (long)p.step);
        for (i = 0; figures && i < EPOCHS; i++) {
            const double *f = figures + 3 * i, *g = h.figures + 3 * i;
            CHECK(relative(g[0], f[0]) < tolerance && fabs(g[1] - f[1]) < 1e-6 && relative(g[2], f[2]) < 1e-7, "%s, %s, epoch %d: loss %.9g (%.9g), accuracy %g (%g), lr %g (%g)",
                  genreg_isa_name(c), name[run], i + 1, g[0], f[0], g[1], f[1], g[2], f[2]);
        }
        CHECK(figures && p.loss == h.figures[3 * EPOCHS - 3] && p.accuracy == h.figures[3 * EPOCHS - 2], "the last epoch's figures are returned");
        genreg_model_free(m);
    }
    CHECK(runs >= 2, "%d runs were compared", runs);
}

static void test_against_pytorch(void)
{
    fixture in_double, in_float;
    int isa;
    CHECK(fixture_read(&setting, __FILE__, "mlp.txt") && fixture_read(&in_double, __FILE__, "mlp_double.txt") && fixture_read(&in_float, __FILE__, "mlp_float.txt"), "the fixtures");
    if (check_failed) return;
    for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++) {
        genreg_ctx *c;
        if (!genreg_isa_available((genreg_isa)isa)) continue;
        c = check_context((genreg_isa)isa, 1);
        test_derivatives(c, &in_double, 2, DOUBLE ? 1e-10 : 1e-5); /* a float build must agree with the truth as well */
        test_runs(c, &in_double, DOUBLE ? 1e-10 : 1e-5);
        test_derivatives(c, &in_float, 1, 1e-5);
        test_runs(c, &in_float, 1e-5);
        genreg_destroy(c);
    }
    fixture_free(&setting);
    fixture_free(&in_double);
    fixture_free(&in_float);
}

/* ---- a small convolutional net with batch norm, in both modes */

enum { CNN_N = 10, CNN_C = 2, CNN_H = 8, CNN_W = 7, CNN_OUT = 3, CNN_PARAMETERS = 310 };

/* Where ours[i] stands among PyTorch's parameters: convolutions are [out, in, h, w] there and [h, w, in, out] here; linear weights [out, in] and
   [in, out]; and what the flattened image of `area` pixels feeds runs over channels first there. */
static void cnn_order(const genreg_model *m, int *place, int area, int channels)
{
    int p, i, o, k, y, x;
    for (p = 0; p < m->parameter_count; p++) {
        const genreg_parameter *q = &m->parameters[p];
        int at = (int)q->offset, size = q->shape[0];
        if (q->rank == 1)
            for (i = 0; i < size; i++) place[at + i] = at + i;
        else if (q->rank == 4) {
            int in = q->shape[2], out = q->shape[3];
            for (y = 0; y < size; y++)
                for (x = 0; x < size; x++)
                    for (i = 0; i < in; i++)
                        for (o = 0; o < out; o++) place[at + ((y * size + x) * in + i) * out + o] = at + ((o * in + i) * size + y) * size + x;
        } else
            for (i = 0; i < size; i++)
                for (o = 0; o < q->shape[1]; o++) {
                    k = size == area * channels ? i % channels * area + i / channels : i; /* channel fastest here, slowest there */
                    place[at + i * q->shape[1] + o] = at + o * size + k;
                }
    }
}

static double cnn_distance(const int *place, const genreg_real *ours, const double *torch, int n)
{
    double difference = 0, size = 0;
    int i;
    for (i = 0; torch && i < n; i++) {
        double t = torch[place ? place[i] : i], d = (double)ours[i] - t;
        difference += d * d;
        size += t * t;
    }
    return difference != difference || !(size > 0) ? HUGE_VAL : sqrt(difference / size);
}

static void test_cnn_against_pytorch(void)
{
    static genreg_real images[CNN_N * CNN_C * CNN_H * CNN_W], v[CNN_PARAMETERS], out[CNN_PARAMETERS];
    static int place[CNN_PARAMETERS], labels[CNN_N];
    const int shape[3] = { CNN_H, CNN_W, CNN_C };
    const double tolerance = DOUBLE ? 1e-10 : 1e-5;
    fixture x;
    int isa, i, ch, h, w, mode;
    if (!fixture_read(&x, __FILE__, "cnn.txt")) { CHECK(0, "cnn.txt"); return; }
    for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++) {
        genreg_ctx *c;
        genreg_model *m;
        genreg_dataset d;
        genreg_train_options o = genreg_train_defaults();
        genreg_place start;
        const double *theta = fixture_get(&x, "theta", CNN_PARAMETERS), *pixels = fixture_get(&x, "x", CNN_N * CNN_C * CNN_H * CNN_W), *y = fixture_get(&x, "labels", CNN_N),
                     *direction = fixture_get(&x, "v", CNN_PARAMETERS);
        if (!genreg_isa_available((genreg_isa)isa)) continue;
        c = check_context((genreg_isa)isa, 1);
        c->exec.winograd = 0;
        m = genreg_model_create(c, 3, shape);
        genreg_layer_conv2d(m, 3, 3, 1, 1);
        genreg_layer_batch_norm(m);
        genreg_layer_relu(m);
        genreg_layer_conv2d(m, 4, 3, 2, 1);
        genreg_layer_relu(m);
        genreg_layer_max_pool(m, 2);
        genreg_layer_flatten(m);
        genreg_layer_linear(m, 6);
        genreg_layer_batch_norm(m);
        genreg_layer_relu(m);
        genreg_layer_linear(m, CNN_OUT);
        genreg_init(m, GENREG_INIT_PYTORCH, 1);
        CHECK(genreg_error(c) == GENREG_OK && m->theta->size == CNN_PARAMETERS && m->state && m->state->size == 18, "%s", genreg_error_message(c));
        if (genreg_error(c) || !theta || !pixels || !y || !direction) { CHECK(0, "no net or no fixture"); genreg_destroy(c); continue; }
        cnn_order(m, place, 4, 4);
        for (i = 0; i < CNN_PARAMETERS; i++) {
            m->theta->data[i] = (genreg_real)theta[place[i]];
            v[i] = (genreg_real)direction[place[i]];
        }
        for (i = 0; i < CNN_N; i++) {
            labels[i] = (int)y[i];
            for (ch = 0; ch < CNN_C; ch++)
                for (h = 0; h < CNN_H; h++)
                    for (w = 0; w < CNN_W; w++) images[((i * CNN_H + h) * CNN_W + w) * CNN_C + ch] = (genreg_real)pixels[((i * CNN_C + ch) * CNN_H + h) * CNN_W + w];
        }
        d = genreg_dataset_reals(c, images, labels, CNN_N, 3, shape, CNN_OUT);
        start = genreg_mark(c);
        for (mode = 0; mode < 2; mode++) {
            static const char *const name[] = { "evaluation", "training" };
            genreg_objective f = mode ? genreg_training_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY) : genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
            genreg_batch b = genreg_get_batch(c, &d, NULL, 0, CNN_N);
            genreg_hessian *hessian;
            genreg_tensor *outputs;
            genreg_pass pass;
            char block[32];
            const double *value, *want;
            memset(&pass, 0, sizeof pass);
            pass.training = mode;
            pass.keep_state = 1;
            outputs = genreg_forward(m, NULL, b.x, &pass);
            sprintf(block, "outputs_%s", name[mode]);
            want = fixture_get(&x, block, CNN_N * CNN_OUT);
            CHECK(outputs && cnn_distance(NULL, outputs->data, want, CNN_N * CNN_OUT) < tolerance, "%s, %s: outputs are off by %g", genreg_isa_name(c), name[mode],
                  outputs ? cnn_distance(NULL, outputs->data, want, CNN_N * CNN_OUT) : HUGE_VAL);
            sprintf(block, "loss_%s", name[mode]);
            value = fixture_get(&x, block, 1);
            sprintf(block, "gradient_%s", name[mode]);
            want = fixture_get(&x, block, CNN_PARAMETERS);
            CHECK(value && relative(genreg_objective_gradient(&f, out), *value) < tolerance && cnn_distance(place, out, want, CNN_PARAMETERS) < tolerance, "%s, %s: the gradient is off by %g",
                  genreg_isa_name(c), name[mode], cnn_distance(place, out, want, CNN_PARAMETERS));
            sprintf(block, "hvp_%s", name[mode]);
            want = fixture_get(&x, block, CNN_PARAMETERS);
            hessian = genreg_hessian_open(&f);
            CHECK(genreg_hessian_product(hessian, v, out) && cnn_distance(place, out, want, CNN_PARAMETERS) < tolerance, "%s, %s: the Hessian product is off by %g", genreg_isa_name(c), name[mode],
                  cnn_distance(place, out, want, CNN_PARAMETERS));
            genreg_hessian_close(hessian);
            genreg_release(c, start);
        }
        for (i = 0; i < 18; i++) CHECK((double)m->state->data[i] == (i % 18 < 3 || (i >= 6 && i < 12) ? 0 : 1), "nothing so far moved the running statistics: %d", i);
        o.lr = 0.05;
        o.weight_decay = 0.01;
        o.schedule = GENREG_SCHEDULE_CONSTANT;
        o.batch = 6;
        o.epochs = 2;
        o.no_shuffle = 1;
        genreg_train(m, &d, &o);
        CHECK(cnn_distance(place, m->theta->data, fixture_get(&x, "theta_end", CNN_PARAMETERS), CNN_PARAMETERS) < tolerance, "%s: parameters after training are off by %g, %s", genreg_isa_name(c),
              cnn_distance(place, m->theta->data, fixture_get(&x, "theta_end", CNN_PARAMETERS), CNN_PARAMETERS), genreg_error_message(c));
        CHECK(cnn_distance(NULL, m->state->data, fixture_get(&x, "state_end", 18), 18) < tolerance, "%s: running statistics are off by %g", genreg_isa_name(c),
              cnn_distance(NULL, m->state->data, fixture_get(&x, "state_end", 18), 18));
        {
            genreg_batch b = genreg_get_batch(c, &d, NULL, 0, CNN_N);
            genreg_tensor *outputs = genreg_forward(m, NULL, b.x, NULL);
            CHECK(outputs && cnn_distance(NULL, outputs->data, fixture_get(&x, "outputs_end", CNN_N * CNN_OUT), CNN_N * CNN_OUT) < tolerance, "%s: outputs after training", genreg_isa_name(c));
        }
        genreg_destroy(c);
    }
    fixture_free(&x);
}

/* ---- the paper's CNN(4) with batch norm */

enum { CNN4_N = 4, CNN4_H = 16, CNN4_W = 8, CNN4_PARAMETERS = 15758, CNN4_STATES = 112, CNN4_STRIDE = 13, CNN4_TENSORS = 28, CNN4_KEPT = (CNN4_PARAMETERS + CNN4_STRIDE - 1) / CNN4_STRIDE };

/* drawn() of make_fixtures.py. */
static genreg_real drawn(int i, int salt)
{
    uint32_t x = ((uint32_t)i + 65536u * (uint32_t)salt) * 2654435761u;
    x = (x ^ x >> 15) * 2246822519u;
    x = (x ^ x >> 13) * 3266489917u;
    return (genreg_real)((double)((x ^ x >> 16) >> 22) / 512 - 1);
}

/* A vector of the size of theta against block `name` (every 13th value, in PyTorch's order) and `name`_sums (each tensor's norm and its product
   with v): the larger of the two relative distances in norm. */
static double cnn4_distance(const fixture *x, const char *name, const genreg_model *m, const int *place, const genreg_real *ours, const genreg_real *v)
{
    static double torch[CNN4_PARAMETERS];
    char block[64];
    const double *kept, *sums;
    double difference[2] = { 0, 0 }, size[2] = { 0, 0 }, away[2];
    int i, p;
    for (i = 0; i < CNN4_PARAMETERS; i++) torch[place[i]] = (double)ours[i];
    kept = fixture_get(x, name, CNN4_KEPT);
    sprintf(block, "%s_sums", name);
    sums = fixture_get(x, block, 2 * CNN4_TENSORS);
    if (!kept || !sums || m->parameter_count != CNN4_TENSORS) return HUGE_VAL;
    for (i = 0; i < CNN4_KEPT; i++) {
        difference[0] += (torch[i * CNN4_STRIDE] - kept[i]) * (torch[i * CNN4_STRIDE] - kept[i]);
        size[0] += kept[i] * kept[i];
    }
    for (p = 0; p < CNN4_TENSORS; p++) {
        const genreg_parameter *q = &m->parameters[p];
        double square = 0, dot = 0;
        for (i = 0; i < q->size; i++) {
            square += (double)ours[q->offset + i] * (double)ours[q->offset + i];
            dot += (double)ours[q->offset + i] * (double)v[q->offset + i];
        }
        difference[1] += (sqrt(square) - sums[2 * p]) * (sqrt(square) - sums[2 * p]) + (dot - sums[2 * p + 1]) * (dot - sums[2 * p + 1]);
        size[1] += sums[2 * p] * sums[2 * p] + sums[2 * p + 1] * sums[2 * p + 1];
    }
    for (i = 0; i < 2; i++) away[i] = difference[i] != difference[i] || !(size[i] > 0) ? HUGE_VAL : sqrt(difference[i] / size[i]);
    return away[0] > away[1] ? away[0] : away[1];
}

static void test_cnn4_against_pytorch(void)
{
    static genreg_real images[CNN4_N * CNN4_H * CNN4_W * 3], v[CNN4_PARAMETERS], out[CNN4_PARAMETERS];
    static int place[CNN4_PARAMETERS], labels[CNN4_N] = { 0, 3, 6, 9 };
    const int shape[3] = { CNN4_H, CNN4_W, 3 };
    const double tolerance = DOUBLE ? 1e-10 : 1e-5;
    const double *salt_read;
    fixture x;
    int isa, i, k, ch, h, w, mode, salt;
    if (!fixture_read(&x, __FILE__, "cnn4.txt") || !(salt_read = fixture_get(&x, "salt", 1))) { CHECK(0, "cnn4.txt"); return; }
    salt = (int)*salt_read;
    for (i = 0; i < CNN4_N; i++)
        for (ch = 0; ch < 3; ch++)
            for (h = 0; h < CNN4_H; h++)
                for (w = 0; w < CNN4_W; w++) images[((i * CNN4_H + h) * CNN4_W + w) * 3 + ch] = drawn(((i * 3 + ch) * CNN4_H + h) * CNN4_W + w, salt + 1000);
    for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++) {
        genreg_ctx *c;
        genreg_model *m;
        genreg_dataset d;
        genreg_train_options o = genreg_train_defaults();
        genreg_place start;
        genreg_tensor *outputs;
        double away;
        if (!genreg_isa_available((genreg_isa)isa)) continue;
        c = check_context((genreg_isa)isa, 1);
        c->exec.winograd = 0;
        m = genreg_cnn(c, shape, 4, 1, 10);
        CHECK(m && m->theta->size == CNN4_PARAMETERS && m->state->size == CNN4_STATES, "%s", genreg_error_message(c));
        if (!m || m->theta->size != CNN4_PARAMETERS) { genreg_destroy(c); continue; }
        cnn_order(m, place, 2, 16);
        for (k = 0; k < m->parameter_count; k++) {
            const genreg_parameter *q = &m->parameters[k];
            const int norm = q->kind == GENREG_KIND_NORM_WEIGHT || q->kind == GENREG_KIND_NORM_BIAS;
            const double factor = norm ? 0.25 : pow(2, floor(1 - 0.5 * log((double)q->fan_in) / log(2.0) + 1e-9));
            for (i = (int)q->offset; i < q->offset + q->size; i++) {
                m->theta->data[i] = (genreg_real)((double)drawn(place[i], salt) * factor) + (genreg_real)(q->kind == GENREG_KIND_NORM_WEIGHT);
                v[i] = drawn(place[i], salt + 2000);
            }
        }
        d = genreg_dataset_reals(c, images, labels, CNN4_N, 3, shape, 10);
        start = genreg_mark(c);
        for (mode = 0; mode < 2; mode++) {
            static const char *const name[] = { "evaluation", "training" };
            genreg_objective f = mode ? genreg_training_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY) : genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
            genreg_batch b = genreg_get_batch(c, &d, NULL, 0, CNN4_N);
            genreg_hessian *hessian;
            genreg_pass pass;
            char block[32];
            const double *want;
            memset(&pass, 0, sizeof pass);
            pass.training = mode;
            pass.keep_state = 1;
            outputs = genreg_forward(m, NULL, b.x, &pass);
            sprintf(block, "outputs_%s", name[mode]);
            want = fixture_get(&x, block, CNN4_N * 10);
            away = outputs ? cnn_distance(NULL, outputs->data, want, CNN4_N * 10) : HUGE_VAL;
            CHECK(away < tolerance, "CNN(4), %s, %s: outputs are off by %g", genreg_isa_name(c), name[mode], away);
            sprintf(block, "loss_%s", name[mode]);
            want = fixture_get(&x, block, 1);
            away = want ? relative(genreg_objective_gradient(&f, out), *want) : HUGE_VAL;
            CHECK(away < tolerance, "CNN(4), %s, %s: the loss is off by %g", genreg_isa_name(c), name[mode], away);
            sprintf(block, "gradient_%s", name[mode]);
            away = cnn4_distance(&x, block, m, place, out, v);
            CHECK(away < tolerance, "CNN(4), %s, %s: the gradient is off by %g", genreg_isa_name(c), name[mode], away);
            hessian = genreg_hessian_open(&f);
            CHECK(genreg_hessian_product(hessian, v, out), "%s", genreg_error_message(c));
            sprintf(block, "hvp_%s", name[mode]);
            away = cnn4_distance(&x, block, m, place, out, v);
            CHECK(away < tolerance, "CNN(4), %s, %s: the Hessian product is off by %g", genreg_isa_name(c), name[mode], away);
            genreg_hessian_close(hessian);
            genreg_release(c, start);
        }
        o.lr = 0.05;
        o.schedule = GENREG_SCHEDULE_CONSTANT;
        o.batch = 2;
        o.steps = 3;
        o.no_shuffle = 1;
        genreg_train(m, &d, &o);
        away = cnn4_distance(&x, "theta_end", m, place, m->theta->data, v);
        CHECK(away < tolerance, "CNN(4), %s: parameters after three steps are off by %g, %s", genreg_isa_name(c), away, genreg_error_message(c));
        away = cnn_distance(NULL, m->state->data, fixture_get(&x, "state_end", CNN4_STATES), CNN4_STATES);
        CHECK(away < tolerance, "CNN(4), %s: running statistics after three steps are off by %g", genreg_isa_name(c), away);
        outputs = genreg_forward(m, NULL, genreg_get_batch(c, &d, NULL, 0, CNN4_N).x, NULL);
        away = outputs ? cnn_distance(NULL, outputs->data, fixture_get(&x, "outputs_end", CNN4_N * 10), CNN4_N * 10) : HUGE_VAL;
        CHECK(away < tolerance, "CNN(4), %s: outputs after three steps are off by %g", genreg_isa_name(c), away);
        genreg_destroy(c);
    }
    fixture_free(&x);
}

/* ------------------------------------------------------------------------------------------------ against the formulas */

enum { POINTS = 50, WIDTH = 13, KINDS = 4 };

static genreg_dataset points(genreg_ctx *c, int n)
{
    static genreg_real x[POINTS * WIDTH];
    static int y[POINTS];
    const int shape[1] = { WIDTH };
    int i;
    for (i = 0; i < POINTS * WIDTH; i++) x[i] = (genreg_real)wild((unsigned)i);
    for (i = 0; i < POINTS; i++) y[i] = (x[i * WIDTH] > 0) + 2 * (x[i * WIDTH + 1] * x[i * WIDTH + 2] > 0);
    return genreg_dataset_reals(c, x, y, n, 1, shape, KINDS);
}

static genreg_model *small_net(genreg_ctx *c, uint64_t seed)
{
    const int shape[] = { WIDTH, 11, KINDS };
    genreg_model *m = genreg_mlp(c, shape, 3);
    genreg_init(m, GENREG_INIT_HE, seed);
    return m;
}

/* The rate for step (and epoch) t of T, both from 0, as the header has it. */
static double rate(const genreg_train_options *o, int step, int steps, int per_epoch)
{
    int t = o->schedule_by_step ? step : step / per_epoch, end = o->schedule_by_step ? steps : (steps + per_epoch - 1) / per_epoch;
    if (o->schedule == GENREG_SCHEDULE_COSINE) return o->lr_min + (o->lr - o->lr_min) * (1 + cos(3.14159265358979323846 * t / end)) / 2;
    if (o->schedule == GENREG_SCHEDULE_STEP) return o->lr * pow(o->gamma, floor((double)t / o->period));
    return o->lr;
}

/* One scalar at a time, in double, from gradients that the library gives for the same batch. */
static void test_formulas(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_dataset d = points(c, POINTS);
    int variant, count = 0;
    for (variant = 0; variant < 72; variant++) {
        genreg_train_options o = genreg_train_defaults();
        genreg_model *m = small_net(c, 1), *mine = small_net(c, 1);
        genreg_trainer *t;
        ptrdiff_t n = m->theta->size, i;
        double *theta = (double *)malloc((size_t)n * sizeof *theta), *v = (double *)calloc((size_t)n, sizeof *v), *q = (double *)calloc((size_t)n, sizeof *q), total = 0, correct = 0, away = 0, size = 0;
        genreg_real *g = (genreg_real *)malloc((size_t)n * sizeof *g);
        int step, steps, per_epoch, first = 0, seen = 0;
        o.optimizer = variant / 2 % 3 == 2 ? GENREG_OPTIMIZER_ADAM : GENREG_OPTIMIZER_SGD;
        o.nesterov = variant / 2 % 3 == 1;
        o.weight_decay = variant % 2 ? 0.03 : 0;
        o.schedule = (genreg_schedule)(variant / 6 % 3);
        o.schedule_by_step = variant / 18 % 2;
        o.momentum = variant / 36 ? 0 : 0.85;
        o.beta1 = variant / 36 ? 0 : 0.9;
        o.beta2 = variant / 36 ? 0.9 : 0.999;
        o.eps = 1e-3; /* large enough that rounding of tiny gradients stays tiny */
        o.lr = o.optimizer == GENREG_OPTIMIZER_ADAM ? 0.02 : 0.1;
        o.lr_min = 0.004;
        o.gamma = 0.5;
        o.period = 2;
        o.batch = 16; /* 16, 16, 16, 2 */
        o.no_shuffle = 1;
        o.loss = variant % 5 == 3 ? GENREG_LOSS_MSE : GENREG_LOSS_CROSS_ENTROPY;
        if (variant % 4 == 3) o.steps = 11; /* ends within the third epoch */
        else o.epochs = 3;
        per_epoch = 4;
        steps = o.steps ? 11 : 12;
        t = genreg_trainer_create(m, &d, &o);
        for (i = 0; i < n; i++) theta[i] = (double)mine->theta->data[i];
        for (step = 0; step < steps; step++) {
            genreg_place p = genreg_mark(c);
            int b = first + o.batch > POINTS ? POINTS - first : o.batch, more, row, k;
            genreg_batch batch = genreg_get_batch(c, &d, NULL, first, b);
            genreg_tensor *y = genreg_forward(mine, mine->theta, batch.x, NULL);
            genreg_tensor *loss = o.loss == GENREG_LOSS_MSE ? genreg_mse(c, y, genreg_one_hot(c, batch.labels, b, KINDS)) : genreg_cross_entropy(c, y, batch.labels);
            double lr = rate(&o, step, steps, per_epoch);
            genreg_progress progress;
            if (first == 0) total = correct = seen = 0;
            total += b * genreg_item(loss);
            for (row = 0; row < b; row++) {
                int best = 0;
                for (k = 1; k < KINDS; k++) best = y->data[row * KINDS + k] > y->data[row * KINDS + best] ? k : best;
                correct += best == batch.labels[row];
            }
            seen += b;
            genreg_gradient_into(c, loss, NULL, &mine->theta, 1, &g);
            for (i = 0; i < n; i++) {
                double grad = (double)g[i] + o.weight_decay * theta[i];
                if (o.optimizer == GENREG_OPTIMIZER_ADAM) {
                    v[i] = o.beta1 * v[i] + (1 - o.beta1) * grad;
                    q[i] = o.beta2 * q[i] + (1 - o.beta2) * grad * grad;
                    theta[i] -= lr * (v[i] / (1 - pow(o.beta1, step + 1))) / (sqrt(q[i] / (1 - pow(o.beta2, step + 1))) + o.eps);
                } else {
                    v[i] = o.momentum * v[i] + grad;
                    theta[i] -= lr * (o.nesterov ? grad + o.momentum * v[i] : v[i]);
                }
                mine->theta->data[i] = (genreg_real)theta[i];
            }
            genreg_release(c, p);
            first = first + b == POINTS ? 0 : first + b;
            more = genreg_trainer_step(t);
            progress = genreg_trainer_progress(t);
            CHECK(more == (step + 1 < steps) && progress.step == step + 1 && progress.epoch == step / per_epoch + 1 && progress.samples == seen, "variant %d: step %d of epoch %d, %d samples", variant,
                  (int)progress.step, progress.epoch, progress.samples);
            CHECK(relative(progress.lr, lr) < 1e-12, "variant %d, step %d: rate %.17g of %.17g", variant, step, progress.lr, lr);
            CHECK(fabs(progress.loss - total / seen) < (DOUBLE ? 1e-10 : 1e-4) * fabs(total / seen), "variant %d, step %d: running loss %.9g of %.9g", variant, step, progress.loss, total / seen);
            CHECK(fabs(progress.accuracy - correct / seen) < (DOUBLE ? 1e-12 : 0.021), "variant %d, step %d: running accuracy %g of %g", variant, step, progress.accuracy, correct / seen);
        }
        CHECK(!genreg_trainer_step(t) && genreg_trainer_progress(t).step == steps, "there is nothing after the end");
        for (i = 0; i < n; i++) {
            away += ((double)m->theta->data[i] - theta[i]) * ((double)m->theta->data[i] - theta[i]);
            size += theta[i] * theta[i];
        }
        away = sqrt(away / size);
        CHECK(away < (DOUBLE ? 1e-12 : 1e-5), "variant %d: parameters are off by %g", variant, away);
        count += away > 0;
        genreg_trainer_free(t);
        genreg_model_free(m);
        genreg_model_free(mine);
        free(theta);
        free(v);
        free(q);
        free(g);
    }
    CHECK(genreg_error(c) == GENREG_OK, "%s", genreg_error_message(c));
    CHECK(count > 30, "two computations of the same cannot agree to the last bit everywhere");
    genreg_destroy(c);
}

static void test_defaults(void)
{
    genreg_train_options o = genreg_train_defaults();
    CHECK(o.optimizer == GENREG_OPTIMIZER_SGD && o.lr == 0.01 && o.momentum == 0.9 && !o.nesterov && o.weight_decay == 0 && o.beta1 == 0.9 && o.beta2 == 0.999 && o.eps == 1e-8, "optimiser");
    CHECK(o.schedule == GENREG_SCHEDULE_COSINE && !o.schedule_by_step && o.lr_min == 0 && o.gamma == 0.1 && o.period == 30, "schedule");
    CHECK(o.batch == 128 && o.epochs == 10 && o.steps == 0 && o.seed == 0 && !o.no_shuffle && o.loss == GENREG_LOSS_CROSS_ENTROPY && !o.on_epoch && !o.user, "length");
}

/* ------------------------------------------------------------------------------------------------ steps, epochs, order */

typedef struct calls { int n, stop_after, last_samples; int64_t last_step; } calls;

static int count_call(const genreg_progress *p, void *user)
{
    calls *x = (calls *)user;
    x->n++;
    x->last_samples = p->samples;
    x->last_step = p->step;
    CHECK(p->epoch == x->n, "call %d is for epoch %d", x->n, p->epoch);
    return x->stop_after && x->n >= x->stop_after;
}

static void test_lengths(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_dataset d = points(c, POINTS);
    genreg_train_options o = genreg_train_defaults();
    genreg_model *m, *other;
    genreg_trainer *t;
    genreg_progress p;
    calls x;
    int epoch;
    memset(&x, 0, sizeof x);
    o.batch = 16;
    o.epochs = 3;
    o.on_epoch = count_call;
    o.user = &x;
    m = small_net(c, 1);
    t = genreg_trainer_create(m, &d, &o);
    p = genreg_trainer_progress(t);
    CHECK(p.epoch == 0 && p.step == 0 && p.samples == 0 && p.loss != p.loss && p.accuracy != p.accuracy, "before the first step there are no figures");
    for (epoch = 1; epoch <= 3; epoch++) {
        int more = genreg_trainer_epoch(t);
        p = genreg_trainer_progress(t);
        CHECK(more == (epoch < 3) && p.epoch == epoch && p.step == 4 * epoch && p.samples == POINTS && x.n == epoch && x.last_step == p.step, "epoch %d ends after step %d with %d samples", p.epoch,
              (int)p.step, p.samples);
    }
    CHECK(!genreg_trainer_epoch(t) && !genreg_trainer_step(t) && x.n == 3, "the end is the end");
    genreg_trainer_free(t);

    memset(&x, 0, sizeof x);
    t = genreg_trainer_create(m, &d, &o); /* an epoch that was begun by single steps is finished, not begun again */
    genreg_trainer_step(t);
    CHECK(genreg_trainer_epoch(t) == 1 && genreg_trainer_progress(t).step == 4 && x.n == 1, "a step, then the rest of its epoch");
    genreg_trainer_free(t);

    memset(&x, 0, sizeof x);
    o.steps = 6; /* an epoch and a half */
    p = genreg_train(m, &d, &o);
    CHECK(p.step == 6 && p.epoch == 2 && p.samples == 32 && x.n == 2 && x.last_samples == 32, "6 steps: epoch %d, %d samples, %d calls", p.epoch, p.samples, x.n);
    memset(&x, 0, sizeof x);
    o.epochs = 0; /* steps count, whatever epochs says */
    o.steps = 9;
    p = genreg_train(m, &d, &o);
    CHECK(p.step == 9 && p.epoch == 3 && p.samples == 16 && x.n == 3 && genreg_error(c) == GENREG_OK, "9 steps: epoch %d, %s", p.epoch, genreg_error_message(c));

    memset(&x, 0, sizeof x);
    x.stop_after = 2;
    o.steps = 0;
    o.epochs = 5;
    t = genreg_trainer_create(m, &d, &o);
    while (genreg_trainer_step(t)) {}
    p = genreg_trainer_progress(t);
    CHECK(p.epoch == 2 && p.step == 8 && x.n == 2 && genreg_error(c) == GENREG_OK, "stopped by the callback after epoch %d", p.epoch);
    CHECK(!genreg_trainer_step(t) && !genreg_trainer_epoch(t) && genreg_trainer_progress(t).step == 8, "and it stays stopped");
    genreg_trainer_free(t);
    genreg_model_free(m);

    /* A batch larger than the set is the whole set, to the bit. */
    o = genreg_train_defaults();
    o.epochs = 3;
    o.batch = POINTS;
    m = small_net(c, 2);
    other = small_net(c, 2);
    p = genreg_train(m, &d, &o);
    CHECK(p.step == 3 && p.samples == POINTS, "a full batch is one step an epoch");
    o.batch = 2147483647;
    p = genreg_train(other, &d, &o);
    CHECK(p.step == 3 && p.samples == POINTS && !memcmp(m->theta->data, other->theta->data, (size_t)m->theta->size * sizeof(genreg_real)), "%d steps, %d samples", (int)p.step, p.samples);

    /* As many steps as there can be, that is, until on_epoch stops: the schedules take them for what they are. */
    for (epoch = 0; epoch < 4; epoch++) {
        o = genreg_train_defaults();
        o.steps = INT64_MAX;
        o.schedule = epoch / 2 ? GENREG_SCHEDULE_STEP : GENREG_SCHEDULE_COSINE;
        o.schedule_by_step = epoch % 2;
        o.batch = 16;
        memset(&x, 0, sizeof x);
        x.stop_after = 2;
        o.on_epoch = count_call;
        o.user = &x;
        p = genreg_train(m, &d, &o);
        CHECK(p.step == 8 && p.epoch == 2 && relative(p.lr, o.lr) < 1e-9 && genreg_error(c) == GENREG_OK, "step %d, rate %g, %s", (int)p.step, p.lr, genreg_error_message(c));
    }
    o.on_epoch = NULL;
    t = genreg_trainer_create(m, &d, &o);
    genreg_trainer_epoch(t);
    t->epoch = INT_MAX; /* the next one would be no int */
    CHECK(!genreg_trainer_step(t) && t->epoch == INT_MAX && t->steps == 4, "epoch %d", t->epoch);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "beyond epoch 2147483647");
    genreg_trainer_free(t);

    p = genreg_train(m, &d, NULL); /* the defaults */
    CHECK(p.epoch == 10 && p.step == 10, "%d epochs", p.epoch);

    /* Without a model or set nothing happens. */
    CHECK(!genreg_trainer_create(NULL, &d, &o) && !genreg_trainer_step(NULL) && !genreg_trainer_epoch(NULL), "NULL");
    p = genreg_train(NULL, &d, &o);
    CHECK(p.step == 0 && p.loss != p.loss, "NULL");
    genreg_trainer_free(NULL);
    genreg_trainer_create(m, NULL, &o);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "train: the dataset is empty");
    CHECK(genreg_train_defaults().batch == 128, "defaults");
    genreg_destroy(c);
}

/* Sample i has a one in feature i and zeros elsewhere, so that a step moves exactly those rows of the weight whose samples it used. */
enum { UNITS = 24 };
static genreg_dataset unit_vectors(genreg_ctx *c)
{
    static genreg_real x[UNITS * UNITS];
    static int y[UNITS];
    const int shape[1] = { UNITS };
    int i;
    for (i = 0; i < UNITS; i++) {
        x[i * UNITS + i] = 1;
        y[i] = i % 2;
    }
    return genreg_dataset_reals(c, x, y, UNITS, 1, shape, 2);
}

/* used[epoch][sample] = the step of that epoch, from 0, that used the sample; -1 if none did or several. */
static void observe(genreg_ctx *c, uint64_t seed, int batch, int no_shuffle, genreg_init_scheme scheme, int epochs, int used[][UNITS])
{
    genreg_dataset d = unit_vectors(c);
    genreg_train_options o = genreg_train_defaults();
    const int shape[] = { UNITS, 2 };
    genreg_model *m = genreg_mlp(c, shape, 2);
    genreg_trainer *t;
    genreg_real before[2 * UNITS];
    int epoch, step, i, steps = (UNITS + batch - 1) / batch;
    genreg_init(m, scheme, 1);
    o.seed = seed;
    o.batch = batch;
    o.no_shuffle = no_shuffle;
    o.momentum = 0;
    o.epochs = epochs;
    t = genreg_trainer_create(m, &d, &o);
    for (epoch = 0; epoch < epochs; epoch++) {
        for (i = 0; i < UNITS; i++) used[epoch][i] = -1;
        for (step = 0; step < steps; step++) {
            memcpy(before, m->theta->data, sizeof before);
            genreg_trainer_step(t);
            for (i = 0; i < UNITS; i++)
                if (memcmp(before + 2 * i, m->theta->data + 2 * i, 2 * sizeof *before)) used[epoch][i] = used[epoch][i] == -1 ? step : -2;
        }
    }
    genreg_trainer_free(t);
    genreg_model_free(m);
}

static void test_order(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    int a[4][UNITS], b[4][UNITS], epoch, i, k, seen[UNITS], sizes_seen[5];
    observe(c, 7, 1, 0, GENREG_INIT_PYTORCH, 4, a);
    for (epoch = 0; epoch < 4; epoch++) {
        memset(seen, 0, sizeof seen);
        for (i = 0; i < UNITS; i++)
            if (a[epoch][i] >= 0) seen[a[epoch][i]]++;
        for (i = 0; i < UNITS; i++) CHECK(seen[i] == 1, "epoch %d: step %d used %d samples", epoch + 1, i, seen[i]);
        for (k = 0; k < epoch; k++) CHECK(memcmp(a[k], a[epoch], sizeof a[k]) != 0, "epochs %d and %d have the same order", k + 1, epoch + 1);
    }
    for (i = 0, k = 0; i < UNITS; i++) k += a[0][i] == i;
    CHECK(k < 8, "shuffled: %d of %d samples are in their place", k, UNITS);
    observe(c, 7, 1, 0, GENREG_INIT_PYTORCH, 4, b);
    CHECK(!memcmp(a, b, sizeof a), "the same seed, the same orders");
    observe(c, 7, 1, 0, GENREG_INIT_XAVIER, 2, b);
    CHECK(!memcmp(a, b, 2 * sizeof *a), "orders do not depend on the parameters");
    observe(c, 8, 1, 0, GENREG_INIT_PYTORCH, 4, b);
    for (epoch = 0; epoch < 4; epoch++) CHECK(memcmp(a[epoch], b[epoch], sizeof a[0]) != 0, "another seed, the same order in epoch %d", epoch + 1);
    observe(c, 7, 5, 0, GENREG_INIT_PYTORCH, 4, b); /* 5 5 5 5 4: the same orders, cut differently */
    for (epoch = 0; epoch < 4; epoch++) {
        memset(sizes_seen, 0, sizeof sizes_seen);
        for (i = 0; i < UNITS; i++) {
            CHECK(b[epoch][i] == a[epoch][i] / 5, "epoch %d: sample %d is used in step %d", epoch + 1, i, b[epoch][i]);
            if (b[epoch][i] >= 0 && b[epoch][i] < 5) sizes_seen[b[epoch][i]]++;
        }
        CHECK(sizes_seen[0] == 5 && sizes_seen[3] == 5 && sizes_seen[4] == 4, "the last batch is kept and smaller");
    }
    observe(c, 7, 1, 1, GENREG_INIT_PYTORCH, 3, b);
    for (epoch = 0; epoch < 3; epoch++)
        for (i = 0; i < UNITS; i++) CHECK(b[epoch][i] == i, "no_shuffle: sample %d in step %d", i, b[epoch][i]);
    genreg_destroy(c);
}

static void test_dropout_in_training(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_dataset d = points(c, POINTS);
    genreg_train_options o = genreg_train_defaults();
    genreg_model *m[4];
    genreg_progress p[4];
    int i;
    const int shape[1] = { WIDTH };
    o.no_shuffle = 1; /* so that only dropout depends on the seed */
    o.epochs = 3;
    o.batch = 16;
    for (i = 0; i < 4; i++) {
        m[i] = genreg_model_create(c, 1, shape);
        genreg_layer_linear(m[i], 20);
        genreg_layer_relu(m[i]);
        genreg_layer_dropout(m[i], i == 3 ? 0 : 0.5);
        genreg_layer_linear(m[i], KINDS);
        genreg_init(m[i], GENREG_INIT_HE, 1);
        o.seed = i == 2 ? 6 : 5;
        p[i] = genreg_train(m[i], &d, &o);
    }
    CHECK(p[0].loss == p[1].loss && !memcmp(m[0]->theta->data, m[1]->theta->data, (size_t)m[0]->theta->size * sizeof(genreg_real)), "the same seed drops the same");
    CHECK(memcmp(m[0]->theta->data, m[2]->theta->data, (size_t)m[0]->theta->size * sizeof(genreg_real)) != 0, "another seed drops others");
    CHECK(p[0].loss > p[3].loss + 0.01, "dropout is on while training: %g against %g", p[0].loss, p[3].loss);
    genreg_destroy(c);
}

/* ------------------------------------------------------------------------------------------------ divergence and misuse */

static void test_divergence(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_dataset d = points(c, POINTS), bad;
    genreg_model *m = small_net(c, 1), *again = small_net(c, 1);
    genreg_train_options o = genreg_train_defaults();
    genreg_trainer *t;
    genreg_real *before = (genreg_real *)malloc((size_t)m->theta->size * sizeof *before);
    size_t bytes = (size_t)m->theta->size * sizeof *before;
    static genreg_real values[POINTS * WIDTH];
    genreg_progress p;
    char place[64];
    int step = 0, more = 1;
    o.lr = DOUBLE ? 1e25 : 1e4;
    o.loss = GENREG_LOSS_MSE;
    o.schedule = GENREG_SCHEDULE_CONSTANT;
    o.batch = 16;
    o.epochs = 50;
    t = genreg_trainer_create(m, &d, &o);
    while (more && step < 300) {
        memcpy(before, m->theta->data, bytes);
        more = genreg_trainer_step(t);
        step++;
    }
    CHECK(genreg_error(c) == GENREG_ERROR_DIVERGED && step > 1 && step < 100, "diverged in step %d: %s", step, genreg_error_message(c));
    CHECK(!memcmp(before, m->theta->data, bytes), "the parameters are those before that step");
    {
        ptrdiff_t i, wild_ones = 0;
        for (i = 0; i < m->theta->size; i++) wild_ones += before[i] - before[i] != 0;
        CHECK(wild_ones == 0, "the first loss that was infinite was noticed: %ld parameters are not finite", (long)wild_ones);
    }
    p = genreg_trainer_progress(t);
    CHECK(p.step == step - 1 && p.epoch == (step - 1) / 4 + 1, "progress stops at step %d of epoch %d", (int)p.step, p.epoch);
    CHECK(!genreg_trainer_step(t) && !genreg_trainer_epoch(t), "no step in a context with an error");
    sprintf(place, "in epoch %d, step %d;", (step - 1) / 4 + 1, step);
    CHECK_ERROR(c, GENREG_ERROR_DIVERGED, place);
    CHECK(!genreg_trainer_step(t) && !memcmp(before, m->theta->data, bytes), "the same step diverges again, and again changes nothing");
    CHECK_ERROR(c, GENREG_ERROR_DIVERGED, place);
    memcpy(m->theta->data, again->theta->data, bytes); /* with sound parameters the same trainer goes on */
    CHECK(genreg_trainer_step(t) == 1 && genreg_error(c) == GENREG_OK && genreg_trainer_progress(t).step == step, "%s", genreg_error_message(c));
    genreg_trainer_free(t);

    p = genreg_train(again, &d, &o); /* in one call */
    CHECK(p.step == step - 1 && !memcmp(before, again->theta->data, bytes), "genreg_train diverges in the same step: %d", (int)p.step + 1);
    CHECK_ERROR(c, GENREG_ERROR_DIVERGED, place);
    genreg_init(m, GENREG_INIT_HE, 1);
    o.lr = 0.01;
    p = genreg_train(m, &d, &o);
    CHECK(genreg_error(c) == GENREG_OK && p.step == 200 && p.loss < 0.2, "the context goes on: loss %g", p.loss);

    memcpy(values, d.reals, sizeof values); /* a NaN in the data is found in the step that sees it */
    values[20 * WIDTH + 3] = (genreg_real)NAN;
    bad = genreg_dataset_reals(c, values, d.labels, POINTS, 1, d.shape, KINDS);
    o.no_shuffle = 1;
    m = small_net(c, 1);
    p = genreg_train(m, &bad, &o);
    CHECK(p.step == 1 && p.epoch == 1, "sample 20 is in the second batch: %d", (int)p.step);
    CHECK_ERROR(c, GENREG_ERROR_DIVERGED, "the loss is nan in epoch 1, step 2");
    values[20 * WIDTH + 3] = (genreg_real)INFINITY;
    o.loss = GENREG_LOSS_CROSS_ENTROPY;
    m = small_net(c, 1);
    memcpy(before, m->theta->data, bytes);
    o.batch = POINTS;
    genreg_train(m, &bad, &o);
    CHECK(!memcmp(before, m->theta->data, bytes), "not one step was taken");
    CHECK_ERROR(c, GENREG_ERROR_DIVERGED, "in epoch 1, step 1");

    { /* a last step that is too long shows in no later loss, and is found nevertheless */
        const int one = 1, chain[] = { 1, 1, 1 };
        const genreg_real unit = 1;
        const int zero = 0;
        genreg_model *deep = genreg_mlp(c, chain, 3);
        genreg_dataset single = genreg_dataset_reals(c, &unit, &zero, 1, 1, &one, 1);
        genreg_train_options last = genreg_train_defaults();
        deep->theta->data[0] = (genreg_real)(DOUBLE ? 1e149 : 1e18); /* a loss that can still be computed, a step that cannot */
        deep->theta->data[1] = 0;
        deep->theta->data[2] = 1;
        deep->theta->data[3] = 0;
        last.lr = 1e30;
        last.steps = 1;
        last.schedule = GENREG_SCHEDULE_CONSTANT;
        last.loss = GENREG_LOSS_MSE;
        genreg_train(deep, &single, &last);
        CHECK_ERROR(c, GENREG_ERROR_DIVERGED, "step 1;");
    }
    { /* nor do running statistics keep anything of a step that was not taken */
        genreg_model *normed = genreg_model_create(c, 1, d.shape);
        int i, sound = 1;
        genreg_layer_linear(normed, 5);
        genreg_layer_batch_norm(normed);
        genreg_layer_relu(normed);
        genreg_layer_linear(normed, KINDS);
        genreg_init(normed, GENREG_INIT_HE, 1);
        genreg_train(normed, &bad, &o);
        CHECK_ERROR(c, GENREG_ERROR_DIVERGED, "in epoch 1, step 1");
        for (i = 0; i < 10; i++) sound &= (double)normed->state->data[i] == (i >= 5);
        CHECK(sound, "running statistics have moved: %g ... %g", (double)normed->state->data[0], (double)normed->state->data[9]);
    }
    free(before);
    genreg_destroy(c);
}

/* Batch norm of flat values has no variance over one sample: a set that leaves one over at the end of an epoch stops there, after a sound step, with
   the way out in the message; one value a pixel of an image is enough. */
static void test_one_sample(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_dataset d = points(c, 9), images;
    static const int shape[3] = { WIDTH, 1, 1 }, flat[1] = { WIDTH };
    genreg_train_options o = genreg_train_defaults();
    genreg_model *m = genreg_model_create(c, 1, flat);
    genreg_trainer *t;
    genreg_real theta[(WIDTH + 1) * 5 + 10 + 6 * KINDS], state[10];
    genreg_layer_linear(m, 5);
    genreg_layer_batch_norm(m);
    genreg_layer_relu(m);
    genreg_layer_linear(m, KINDS);
    genreg_init(m, GENREG_INIT_HE, 1);
    o.batch = 8;
    t = genreg_trainer_create(m, &d, &o);
    CHECK(genreg_trainer_step(t) && m->theta->size == (ptrdiff_t)(sizeof theta / sizeof *theta), "eight samples: %s", genreg_error_message(c));
    memcpy(theta, m->theta->data, sizeof theta);
    memcpy(state, m->state->data, sizeof state);
    CHECK(!genreg_trainer_step(t) && genreg_trainer_progress(t).step == 1, "one sample");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "batch_norm: [1,5] has one value a channel, which has no variance; use larger batches");
    CHECK(!memcmp(theta, m->theta->data, sizeof theta) && !memcmp(state, m->state->data, sizeof state), "parameters and running statistics are those after the first step");
    CHECK(genreg_evaluate(m, &d).samples == 9 && genreg_error(c) == GENREG_OK, "evaluation takes any number: %s", genreg_error_message(c));
    images = genreg_dataset_reals(c, d.reals, d.labels, 9, 3, shape, KINDS);
    m = genreg_model_create(c, 3, shape);
    genreg_layer_conv2d(m, 2, 1, 1, 0);
    genreg_layer_batch_norm(m);
    genreg_layer_flatten(m);
    genreg_layer_linear(m, KINDS);
    genreg_init(m, GENREG_INIT_HE, 1);
    o.batch = 1;
    o.epochs = 1;
    CHECK(genreg_train(m, &images, &o).step == 9, "images one by one: %s", genreg_error_message(c));
    genreg_destroy(c);
}

/* Augmented images come into training as genreg_get_augmented_batch gives them: without momentum and shuffling, one step of an epoch is
   theta - lr gradient of the loss on that batch. */
static void test_augmented_training(void)
{
    enum { H = 6, W = 5, C = 2, N = 7, B = 3 };
    static genreg_real x[N * H * W * C];
    static int y[N];
    const int shape[3] = { H, W, C };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_train_options o = genreg_train_defaults();
    genreg_dataset d, flat;
    genreg_model *m, *n;
    genreg_trainer *t;
    genreg_real *want, *g;
    double away = 0, plain_away;
    int i, epoch, first;
    for (i = 0; i < N * H * W * C; i++) x[i] = (genreg_real)wild((unsigned)i);
    for (i = 0; i < N; i++) y[i] = i % 2;
    d = genreg_dataset_reals(c, x, y, N, 3, shape, 2);
    m = genreg_model_create(c, 3, shape);
    genreg_layer_flatten(m);
    genreg_layer_linear(m, 2);
    genreg_init(m, GENREG_INIT_PYTORCH, 3);
    want = (genreg_real *)malloc((size_t)m->theta->size * sizeof *want);
    g = (genreg_real *)malloc((size_t)m->theta->size * sizeof *g);
    memcpy(want, m->theta->data, (size_t)m->theta->size * sizeof *want);
    o.schedule = GENREG_SCHEDULE_CONSTANT;
    o.momentum = 0;
    o.lr = 0.5;
    o.batch = B;
    o.epochs = 3;
    o.seed = 12;
    o.no_shuffle = 1;
    o.flip = 1;
    o.crop = 2;
    CHECK(genreg_train_defaults().flip == 0 && genreg_train_defaults().crop == 0, "off by default");
    t = genreg_trainer_create(m, &d, &o);
    for (epoch = 1; epoch <= 3; epoch++)
        for (first = 0; first < N; first += B) {
            genreg_place p = genreg_mark(c);
            genreg_batch b = genreg_get_augmented_batch(c, &d, NULL, first, first + B > N ? N - first : B, 1, 2, 12, (uint64_t)epoch);
            genreg_tensor *theta = genreg_variable(c, 1, m->theta->shape, want), *outputs = genreg_forward(m, theta, b.x, NULL), *loss = genreg_cross_entropy(c, outputs, b.labels);
            CHECK(genreg_gradient_into(c, loss, NULL, &theta, 1, &g), "%s", genreg_error_message(c));
            for (i = 0; i < m->theta->size; i++) want[i] -= (genreg_real)0.5 * g[i];
            genreg_release(c, p);
            genreg_trainer_step(t);
            away = check_distance(m->theta->data, want, m->theta->size);
            CHECK(away < (DOUBLE ? 1e-14 : 1e-6), "epoch %d, from sample %d on: off by %g", epoch, first, away);
        }
    CHECK(genreg_error(c) == GENREG_OK, "%s", genreg_error_message(c));
    o.flip = o.crop = 0;
    n = genreg_model_create(c, 3, shape);
    genreg_layer_flatten(n);
    genreg_layer_linear(n, 2);
    genreg_init(n, GENREG_INIT_PYTORCH, 3);
    genreg_train(n, &d, &o);
    plain_away = check_distance(n->theta->data, want, n->theta->size);
    CHECK(plain_away > 0.01, "without augmentation another run: %g", plain_away);

    flat = points(c, POINTS); /* what cannot be augmented is said when the trainer is made */
    n = small_net(c, 1);
    o.flip = 1;
    CHECK(!genreg_trainer_create(n, &flat, &o), "a flat set");
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "train: flip and crop take images");
    o.flip = 0;
    o.crop = -1;
    CHECK(!genreg_trainer_create(m, &d, &o), "a negative crop");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "train: crop is -1 for images of 6 x 5");
    o.crop = 5;
    CHECK(!genreg_trainer_create(m, &d, &o), "a crop as wide as the image");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "train: crop is 5 for images of 6 x 5");
    free(want);
    free(g);
    genreg_destroy(c);
}

static void test_bad_options(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_dataset d = points(c, POINTS), wide;
    genreg_model *m = small_net(c, 1);
    static const struct { const char *text; int field; double value; } bad[] = {
        { "lr", 0, 0 }, { "lr", 0, -0.1 }, { "lr", 0, (double)NAN }, { "lr", 0, (double)INFINITY }, { "batch", 1, 0 }, { "batch", 1, -5 }, { "epochs", 2, 0 }, { "epochs", 2, -1 }, { "steps", 3, -1 },
        { "momentum", 4, -0.1 }, { "momentum", 4, 1 }, { "momentum", 4, (double)NAN }, { "weight_decay", 5, -1 }, { "weight_decay", 5, (double)NAN }, { "weight_decay", 5, (double)INFINITY },
        { "beta1", 6, 1 }, { "beta1", 6, -0.1 }, { "beta2", 7, 1 }, { "beta2", 7, (double)NAN }, { "eps", 8, 0 }, { "eps", 8, -1e-8 }, { "eps", 8, (double)INFINITY }, { "period", 9, 0 },
        { "optimizer", 10, 7 }, { "schedule", 11, 7 }, { "loss", 12, 7 }, { "lr_min", 13, (double)NAN }, { "gamma", 14, (double)NAN },
    };
    genreg_real *before = (genreg_real *)malloc((size_t)m->theta->size * sizeof *before);
    int i;
    memcpy(before, m->theta->data, (size_t)m->theta->size * sizeof *before);
    for (i = 0; i < (int)(sizeof bad / sizeof bad[0]); i++) {
        genreg_train_options o = genreg_train_defaults();
        double x = bad[i].value;
        switch (bad[i].field) {
        case 0: o.lr = x; break;
        case 1: o.batch = (int)x; break;
        case 2: o.epochs = (int)x; break;
        case 3: o.steps = (int64_t)x; break;
        case 4: o.momentum = x; break;
        case 5: o.weight_decay = x; break;
        case 6: o.beta1 = x; break;
        case 7: o.beta2 = x; break;
        case 8: o.eps = x; break;
        case 9: o.period = (int)x; o.schedule = GENREG_SCHEDULE_STEP; break;
        case 10: o.optimizer = (genreg_optimizer)7; break;
        case 11: o.schedule = (genreg_schedule)7; break;
        case 12: o.loss = (genreg_loss)7; break;
        case 13: o.lr_min = x; break;
        default: o.gamma = x; o.schedule = GENREG_SCHEDULE_STEP; break;
        }
        genreg_train(m, &d, &o);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, bad[i].text);
    }
    CHECK(!memcmp(before, m->theta->data, (size_t)m->theta->size * sizeof *before), "the parameters are as they were");

    /* A set that does not fit the model. */
    {
        const int shape[1] = { 3 };
        static const genreg_real three[6] = { 0 };
        static const int far_label[2] = { 0, 9 };
        static const genreg_real row[2 * WIDTH] = { 0 };
        const int right[1] = { WIDTH };
        wide = genreg_dataset_reals(c, three, d.labels, 2, 1, shape, KINDS);
        genreg_train(m, &wide, NULL);
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "forward");
        wide = genreg_dataset_reals(c, row, far_label, 2, 1, right, 10); /* more classes than outputs */
        genreg_train(m, &wide, NULL);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "9 is not in 0 ... 3");
    }
    CHECK(!memcmp(before, m->theta->data, (size_t)m->theta->size * sizeof *before), "the parameters are as they were");
    free(before);
    genreg_destroy(c);
}

/* What the set was goes into the model, for its file. */
static void test_provenance(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    static unsigned char px[8 * 4];
    static int y[8] = { 0, 1, 0, 1, 1, 0, 0, 1 };
    const int shape[3] = { 2, 1, 2 };
    const float mean[2] = { 0.25f, 0.5f }, std[2] = { 2, 3 };
    genreg_dataset d = genreg_dataset_bytes(c, px, y, 8, 3, shape, 2, mean, std);
    genreg_model *m = genreg_model_create(c, 3, shape);
    genreg_train_options o = genreg_train_defaults();
    strcpy(d.name, "made up");
    genreg_layer_flatten(m);
    genreg_layer_linear(m, 2);
    genreg_init(m, GENREG_INIT_HE, 1);
    o.epochs = 1;
    genreg_train(m, &d, &o);
    CHECK(!strcmp(m->data_name, "made up") && m->channels == 2 && m->mean[0] == 0.25f && m->mean[1] == 0.5f && m->std[0] == 2 && m->std[1] == 3, "%s, %d channels", m->data_name, m->channels);
    genreg_destroy(c);
}

/* ------------------------------------------------------------------------------------------------ threads, instruction sets, memory */

enum { LARGE_IN = 300, LARGE_HIDDEN = 130, LARGE_OUT = 10, LARGE_N = 300, LARGE_BATCH = 128 };

static genreg_dataset large_set(genreg_ctx *c)
{
    static unsigned char px[LARGE_N * LARGE_IN];
    static int y[LARGE_N];
    const int shape[1] = { LARGE_IN };
    const float mean = 0.5f, std = 0.29f;
    int i;
    for (i = 0; i < LARGE_N * LARGE_IN; i++) px[i] = (unsigned char)(127.5 + 127 * wild((unsigned)i));
    for (i = 0; i < LARGE_N; i++) y[i] = px[i * LARGE_IN] * 10 / 256;
    return genreg_dataset_bytes(c, px, y, LARGE_N, 1, shape, LARGE_OUT, &mean, &std);
}

/* Enough parameters and samples that every loop is shared out among threads. */
static genreg_model *large_run(genreg_ctx *c, genreg_optimizer optimizer, int64_t steps, genreg_progress *p, genreg_score *s)
{
    const int shape[1] = { LARGE_IN };
    genreg_dataset d = large_set(c);
    genreg_model *m = genreg_model_create(c, 1, shape);
    genreg_train_options o = genreg_train_defaults();
    genreg_layer_linear(m, LARGE_HIDDEN);
    genreg_layer_relu(m);
    genreg_layer_dropout(m, 0.2);
    genreg_layer_linear(m, LARGE_HIDDEN);
    genreg_layer_tanh(m);
    genreg_layer_linear(m, LARGE_OUT);
    genreg_init(m, GENREG_INIT_PYTORCH, 1);
    o.optimizer = optimizer;
    o.lr = optimizer == GENREG_OPTIMIZER_ADAM ? 1e-3 : 0.02;
    o.eps = 1e-4;
    o.batch = LARGE_BATCH;
    o.steps = steps;
    o.weight_decay = 1e-3;
    *p = genreg_train(m, &d, &o);
    *s = genreg_evaluate(m, &d);
    return m;
}

static void test_threads(void)
{
    static const int threads[] = { 1, 2, 8 };
    int isa, optimizer, i;
    for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++)
        for (optimizer = 0; optimizer < 2; optimizer++) {
            genreg_ctx *c[3] = { NULL, NULL, NULL };
            genreg_model *m[3];
            genreg_progress p[3];
            genreg_score s[3];
            if (!genreg_isa_available((genreg_isa)isa) || (optimizer && isa < GENREG_ISA_AVX512 && genreg_isa_available((genreg_isa)(isa + 1)))) continue; /* Adam: the best one */
            for (i = 0; i < 3; i++) {
                c[i] = check_context((genreg_isa)isa, threads[i]);
                m[i] = large_run(c[i], (genreg_optimizer)optimizer, 4, &p[i], &s[i]);
                CHECK(genreg_error(c[i]) == GENREG_OK && m[i]->theta->size > 1 << 15, "%s", genreg_error_message(c[i]));
                CHECK(i == 0 || (!memcmp(m[0]->theta->data, m[i]->theta->data, (size_t)m[0]->theta->size * sizeof(genreg_real)) && p[0].loss == p[i].loss && s[0].loss == s[i].loss),
                      "%s, optimiser %d: %d threads give other bits than 1", genreg_isa_name(c[0]), optimizer, threads[i]);
            }
            for (i = 0; i < 3; i++) genreg_destroy(c[i]);
        }
}

#ifdef _OPENMP
/* How many threads are used for each of some steps, where `seconds` is what one takes on 1, 2, 4 and 8; the first on each number takes ten times that. */
static void pace_steps(genreg__pace *p, const double *seconds, int *used, int steps)
{
    int i, k;
    for (i = 0; i < steps; i++) {
        used[i] = genreg__pace_threads(p, 8);
        for (k = 0; 1 << k < used[i]; k++) {}
        genreg__pace_step(p, seconds[k] * (i == 0 || used[i] != used[i - 1] ? 10 : 1));
    }
}

static void test_pace(void)
{
    static const struct { double seconds[4]; int trial[12], best; } runs[] = {
        { { 4e-4, 2e-4, 3e-4, 9e-4 }, { 8, 8, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1 }, 2 },
        { { 1e-4, 2e-4, 3e-4, 9e-4 }, { 8, 8, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1 }, 1 },
        { { 9e-4, 9e-4, 4e-4, 3e-4 }, { 8, 8, 8, 4, 4, 4, 2, 2, 2, 8, 8, 8 }, 8 }, /* one thread cannot be the best */
        { { 9e-4, 2e-4, 4e-4, 3e-4 }, { 8, 8, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1 }, 2 }, /* 4 is slower, but not by half */
    };
    size_t r;
    for (r = 0; r < sizeof runs / sizeof runs[0]; r++) {
        enum { STEPS = 2000 };
        static int used[STEPS];
        genreg__pace p;
        int i, k = 0, tried = runs[r].trial[9] == 8 ? 9 : 12, start[4] = { 0, 0, 0, 0 };
        memset(&p, 0, sizeof p);
        pace_steps(&p, runs[r].seconds, used, STEPS);
        for (i = 0; i + tried <= STEPS && k < 4; i++)
            if (!memcmp(used + i, runs[r].trial, (size_t)tried * sizeof *used)) {
                start[k++] = i;
                i += tried - 1;
            }
        CHECK(k >= 2 && start[0] == 0, "run %d: %d %d %d %d threads are tried", (int)r, used[0], used[3], used[6], used[9]);
        if (runs[r].best == 8) continue; /* where its steps end and the next trial begins cannot be seen */
        CHECK(k == 3 && start[1] == tried + 512 && start[2] == start[1] + tried + 1024, "run %d: tried again in steps %d and %d", (int)r, start[1], start[2]);
        for (i = tried; i < start[1] && used[i] == runs[r].best; i++) {}
        CHECK(i == start[1], "run %d: %d threads in step %d, and %d are the fastest", (int)r, used[i], i, runs[r].best);
    }
}

/* A net with Winograd's convolutions, trained on one thread; and on others, changed between steps and set by hand. */
static void test_threads_change(void)
{
    static const int allowed[] = { 2, 2, 4, 3, 3, 3, 8, 8, 2, 1, 4, 4 };
    enum { STEPS = sizeof allowed / sizeof allowed[0], N = 24, SIDE = 16 };
    static unsigned char px[N * SIDE * SIDE * 3];
    static int y[N];
    const int shape[3] = { SIDE, SIDE, 3 };
    const float mean[3] = { 0.5f, 0.5f, 0.5f }, std[3] = { 0.3f, 0.3f, 0.3f };
    genreg_ctx *c[3];
    genreg_trainer *t[3];
    int i, k, wrong = 0, on[STEPS] = { 8, 8, 4, 2, 1, 1, 8, 4, 2, 1, 8, 2 };
    for (i = 0; i < N * SIDE * SIDE * 3; i++) px[i] = (unsigned char)(127.5 + 127 * wild((unsigned)i));
    for (i = 0; i < N; i++) y[i] = i % 10;
    for (k = 0; k < 3; k++) {
        genreg_dataset d;
        genreg_train_options o = genreg_train_defaults();
        c[k] = check_context(GENREG_ISA_AUTO, k ? 8 : 1);
        d = genreg_dataset_bytes(c[k], px, y, N, 3, shape, 10, mean, std);
        o.batch = 10; /* the third batch of an epoch has four */
        o.steps = STEPS;
        t[k] = genreg_trainer_create(genreg_cnn(c[k], shape, 8, 1, 10), &d, &o);
    }
    for (i = 0; i < STEPS; i++) {
        genreg_set_threads(c[1], allowed[i]);
        t[2]->pace.most = t[2]->pace.threads = 8;
        t[2]->pace.best = on[i];
        t[2]->pace.left = 5;
        for (k = 0; k < 3; k++) genreg_trainer_step(t[k]);
        wrong += c[1]->exec.threads != allowed[i] || c[2]->exec.threads != 8;
        CHECK(t[1]->pace.most == allowed[i] && t[1]->pace.threads > 0 && t[1]->pace.threads <= allowed[i] && t[1]->pace.left == 0,
              "step %d: %d threads are tried, %d are allowed", i, t[1]->pace.threads, allowed[i]);
    }
    CHECK(!wrong, "the context's number of threads was other after %d steps", wrong);
    for (k = 0; k < 3; k++) {
        CHECK(genreg_error(c[k]) == GENREG_OK && t[k]->steps == STEPS, "%s", genreg_error_message(c[k]));
        CHECK(!memcmp(t[0]->m->theta->data, t[k]->m->theta->data, (size_t)t[0]->m->theta->size * sizeof(genreg_real)), "run %d: other bits than with one thread", k);
    }
    memset(t[1]->m->theta->data, 0xff, sizeof(genreg_real)); /* NaN: the step fails */
    t[1]->total_steps++;
    genreg_trainer_step(t[1]);
    CHECK(genreg_error(c[1]) == GENREG_ERROR_DIVERGED && c[1]->exec.threads == allowed[STEPS - 1], "%s, %d threads", genreg_error_message(c[1]), c[1]->exec.threads);
    for (k = 0; k < 3; k++) genreg_destroy(c[k]);
}
#else
static void test_pace(void) {}
static void test_threads_change(void) {}
#endif

static void test_instruction_sets(void)
{
    int isa, optimizer;
    for (optimizer = 0; optimizer < 2; optimizer++) {
        genreg_ctx *plain = check_context(GENREG_ISA_PLAIN, 1);
        genreg_progress p, q;
        genreg_score s, r;
        genreg_model *m = large_run(plain, (genreg_optimizer)optimizer, 6, &p, &s);
        CHECK(p.step == 6 && p.loss > 0 && genreg_error(plain) == GENREG_OK, "%s", genreg_error_message(plain));
        for (isa = GENREG_ISA_BASELINE; isa <= GENREG_ISA_AVX512; isa++) {
            genreg_ctx *c;
            genreg_model *n;
            double away;
            if (!genreg_isa_available((genreg_isa)isa)) continue;
            c = check_context((genreg_isa)isa, 1);
            n = large_run(c, (genreg_optimizer)optimizer, 6, &q, &r);
            away = check_distance(n->theta->data, m->theta->data, m->theta->size);
            CHECK(away <= check_path_tolerance() && relative(q.loss, p.loss) <= check_path_tolerance() && relative(r.loss, s.loss) <= check_path_tolerance(),
                  "%s and plain: parameters differ by %g, losses by %g and %g", genreg_isa_name(c), away, relative(q.loss, p.loss), relative(r.loss, s.loss));
            genreg_destroy(c);
        }
        genreg_destroy(plain);
    }
}

/* In the steady state a step takes no memory from the system and leaves none on the tape. */
static void test_memory(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_dataset d = large_set(c);
    const int shape[] = { LARGE_IN, LARGE_HIDDEN, LARGE_OUT };
    genreg_model *m = genreg_mlp(c, shape, 3);
    genreg_train_options o = genreg_train_defaults();
    genreg_trainer *t;
    size_t bytes = genreg_tape_bytes(c), peak;
    long before;
    int i;
    o.epochs = 4;
    t = genreg_trainer_create(m, &d, &o);
    genreg_trainer_epoch(t);
    peak = genreg_tape_peak(c);
    before = allocations;
    for (i = 0; i < 3; i++) genreg_trainer_epoch(t);
    CHECK(allocations == before, "%ld allocations in 9 steps after the first epoch", allocations - before);
    CHECK(genreg_tape_bytes(c) == bytes && genreg_tape_peak(c) == peak && peak > bytes, "the tape holds %zu bytes, %zu at most", genreg_tape_bytes(c), genreg_tape_peak(c));
    genreg_destroy(c);

    { /* a step that does not fit says so and changes nothing */
        genreg_options options = genreg_defaults();
        options.memory = 40000;
        c = genreg_create(&options);
        d = large_set(c);
        m = genreg_mlp(c, shape, 3);
        t = genreg_trainer_create(m, &d, &o);
        CHECK(!genreg_trainer_step(t) && genreg_trainer_progress(t).step == 0, "a step in 40,000 bytes");
        CHECK(strstr(genreg_error_message(c), "40000") != NULL, "the message names the bytes allowed: %s", genreg_error_message(c));
        CHECK_ERROR(c, GENREG_ERROR_LIMIT, "bytes");
        CHECK(genreg_tape_bytes(c) == 0, "%zu bytes are left", genreg_tape_bytes(c));
        genreg_destroy(c);
    }
}

/* The sweep of a training step writes over values that no rule reads again: the gradient is the same, to the bit. */
static void test_consuming_sweep(void)
{
    static const int shape[4] = { 3, 9, 8, 2 };
    genreg_ctx *c = genreg_create(NULL);
    int kind;
    for (kind = 0; kind < 3; kind++) { /* the paper's network; a convolution that is used again after its batch norm; and before */
        genreg_place start = genreg_mark(c);
        genreg_model *m = genreg_cnn(c, shape + 1, 3, 1, 4);
        genreg_real *gradient[2];
        ptrdiff_t i, size = m->theta->size;
        int consumes, overwritten = 0;
        for (consumes = 0; consumes < 2; consumes++) {
            genreg_place p = genreg_mark(c);
            static const int labels[3] = { 0, 3, 1 }, kernel[4] = { 3, 3, 2, 5 };
            genreg_tensor *x = genreg_constant(c, 4, shape, NULL), *w = genreg_view(c, m->theta, 0, 4, kernel), *gamma = genreg_view(c, m->theta, 100, 1, kernel + 3);
            genreg_tensor *beta = genreg_view(c, m->theta, 110, 1, kernel + 3), *y, *z, *loss;
            genreg_real *before;
            genreg_pass pass;
            memset(&pass, 0, sizeof pass);
            pass.training = 1;
            for (i = 0; i < x->size; i++) x->data[i] = (genreg_real)wild((unsigned)i);
            for (i = 0; i < 200; i++) m->theta->data[i] = (genreg_real)wild((unsigned)(i + 5000));
            y = genreg_conv2d(c, x, w, NULL, 1, 1, 0);
            z = genreg_batch_norm(c, y, gamma, beta, 1e-3, 1, NULL, NULL);
            if (kind == 0) loss = genreg_cross_entropy(c, genreg_forward(m, m->theta, x, &pass), labels);
            else if (kind == 1) {
                genreg_tensor *first = genreg_dot(c, z, z), *second = genreg_dot(c, y, y);
                loss = genreg_add(c, first, second);
            } else {
                genreg_tensor *first = genreg_dot(c, y, y), *second;
                z = genreg_batch_norm(c, y, gamma, beta, 1e-3, 0, NULL, NULL);
                second = genreg_dot(c, z, genreg_detach(c, y));
                loss = genreg_add(c, first, second);
            }
            gradient[consumes] = (genreg_real *)malloc((size_t)size * sizeof(genreg_real));
            before = (genreg_real *)malloc((size_t)y->size * sizeof *before);
            memcpy(before, y->data, (size_t)y->size * sizeof *before);
            CHECK(genreg__sweep_into(c, loss, NULL, &m->theta, 1, &gradient[consumes], consumes), "a sweep: %s", genreg_error_message(c));
            overwritten += memcmp(before, y->data, (size_t)y->size * sizeof *before) != 0;
            free(before);
            genreg_release(c, p);
        }
        CHECK(!memcmp(gradient[0], gradient[1], (size_t)size * sizeof(genreg_real)), "network %d: the gradient of a sweep that consumes", kind);
        CHECK(overwritten == 0, "network %d: values that are read again stay", kind);
        free(gradient[0]);
        free(gradient[1]);
        genreg_release(c, start);
        genreg_model_free(m);
    }
    genreg_destroy(c);
}

/* A batch of the paper's largest kind fits the default memory: 1,024 images, whose activations alone take 780 MB. */
static void test_largest_batch(void)
{
    static const int shape[3] = { 32, 32, 3 };
    genreg_ctx *c = genreg_create(NULL);
    genreg_model *m = genreg_cnn(c, shape, 32, 1, 10);
    genreg_train_options o = genreg_train_defaults();
    unsigned char *pixels = (unsigned char *)malloc(1024 * 3072);
    int *labels = (int *)malloc(1024 * sizeof *labels), i;
    genreg_dataset d;
    for (i = 0; i < 1024 * 3072; i++) pixels[i] = (unsigned char)(i * 7 % 251);
    for (i = 0; i < 1024; i++) labels[i] = i % 10;
    d = genreg_dataset_bytes(c, pixels, labels, 1024, 3, shape, 10, NULL, NULL);
    o.batch = 1024; o.steps = 1;
    genreg_train(m, &d, &o);
    CHECK(DOUBLE ? genreg_error(c) == GENREG_ERROR_LIMIT : genreg_error(c) == GENREG_OK, "a step on 1,024 images in 1 GiB: %s", genreg_error_message(c));
    genreg_destroy(c);
    free(pixels);
    free(labels);
}

int main(void)
{
    (void)counted_realloc; /* the library grows nothing in place, yet takes all three or none */
    test_against_pytorch();
    test_cnn_against_pytorch();
    test_cnn4_against_pytorch();
    test_formulas();
    test_defaults();
    test_lengths();
    test_order();
    test_dropout_in_training();
    test_divergence();
    test_one_sample();
    test_augmented_training();
    test_bad_options();
    test_provenance();
    test_threads();
    test_pace();
    test_threads_change();
    test_instruction_sets();
    test_memory();
    test_consuming_sweep();
    test_largest_batch();
    return check_done();
}
