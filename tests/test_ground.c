/* test_ground.c - the lower floors: errors, memory, exp and its kin, random numbers.

      cc -O2 -fopenmp tests/test_ground.c -o test_ground -lm && ./test_ground    (writes and removes files in the working folder) */
#include <stddef.h>
#include <string.h>

/* Every byte of the library goes through these, so that they can be counted and refused. */
static void *test_malloc(size_t n);
static void *test_realloc(void *p, size_t n);
static void test_free(void *p);
#define GENREG_MALLOC(n) test_malloc(n)
#define GENREG_REALLOC(p, n) test_realloc(p, n)
#define GENREG_FREE(p) test_free(p)

#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include "check.h"

/* ------------------------------------------------------------------------------------------------ allocator */

static long mallocs, live, refuse, nulls; /* calls so far, blocks not freed, the call that gets NULL (0: none), NULL given back: free allows it, and not every allocator */

/* Blocks begin 16, 32, 48 or 64 bytes into what the system gave, so that alignment cannot come right by luck. */
static void *test_malloc(size_t n)
{
    char *base, *p = NULL;
#ifdef _OPENMP
#pragma omp critical(test_allocator)
#endif
    {
        const size_t shift = 16 * (size_t)(1 + mallocs % 4);
        if (++mallocs != refuse && (base = (char *)malloc(n + shift)) != NULL) {
            p = base + shift;
            p[-1] = (char)shift;
            memset(p, 0xff, n); /* NaN, so that whatever reads a value before it is written shows */
            live++;
        }
    }
    return p;
}

static void test_free(void *p)
{
    if (!p) {
        nulls++;
        return;
    }
#ifdef _OPENMP
#pragma omp critical(test_allocator)
#endif
    {
        live--;
        free((char *)p - ((char *)p)[-1]);
    }
}

static void *test_realloc(void *p, size_t n) /* the library grows by copying; should it ever call this, the count shows it */
{
    (void)p;
    (void)n;
    mallocs++;
    return NULL;
}

/* ------------------------------------------------------------------------------------------------ errors */

static void check_format(const char *expected, const char *got)
{
    CHECK(strcmp(got, expected) == 0, "\"%s\" instead of \"%s\"", got, expected);
}

static const char *formatted_real(genreg_ctx *c, double x)
{
    genreg_clear_error(c);
    genreg__fail(c, GENREG_ERROR_SHAPE, "%g", x);
    return genreg_error_message(c);
}

static void test_errors(void)
{
    static const struct { genreg_status s; const char *text; } texts[] = {
        { GENREG_OK, "no error" }, { GENREG_ERROR_MEMORY, "memory" }, { GENREG_ERROR_LIMIT, "memory option" }, { GENREG_ERROR_SHAPE, "shapes" },
        { GENREG_ERROR_ARGUMENT, "argument" }, { GENREG_ERROR_NO_RULE, "derivative" }, { GENREG_ERROR_FILE, "file" },
        { GENREG_ERROR_FORMAT, "does not hold" }, { GENREG_ERROR_DIVERGED, "NaN or infinite" } };
    static const int two_three[] = { 2, 3 }, four_five[] = { 4, 5 }, three[] = { 3 };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_tensor *a = genreg_variable(c, 2, two_three, NULL), *b = genreg_constant(c, 2, four_five, NULL), *y;
    genreg_real *grad_memory = NULL;
    char longer[400];
    int i, k;

    for (i = 0; i < (int)(sizeof texts / sizeof *texts); i++)
        CHECK(strstr(genreg_status_text(texts[i].s), texts[i].text) != NULL, "status %d is \"%s\"", i, genreg_status_text(texts[i].s));
    CHECK(i == GENREG_STATUS_COUNT, "%d statuses are listed here and there are %d", i, (int)GENREG_STATUS_COUNT);
    for (i = 0; i < GENREG_STATUS_COUNT; i++)
        for (k = 0; k < i; k++) CHECK(strcmp(genreg_status_text((genreg_status)i), genreg_status_text((genreg_status)k)) != 0, "statuses %d and %d have one text", i, k);
    check_format("unknown status", genreg_status_text(GENREG_STATUS_COUNT));
    check_format("unknown status", genreg_status_text((genreg_status)1000));

    /* A new context has none; the first error stays, whatever comes after it. */
    CHECK(genreg_error(c) == GENREG_OK, "status %d", (int)genreg_error(c));
    check_format("", genreg_error_message(c));
    CHECK(genreg_matmul(c, a, b, 0, 0) == NULL, "a product of shapes that do not fit");
    CHECK(genreg_error(c) == GENREG_ERROR_SHAPE, "status %d", (int)genreg_error(c));
    check_format("matmul: [2,3] x [4,5]", genreg_error_message(c));
    CHECK(genreg_add(c, a, b) == NULL && genreg_error(c) == GENREG_ERROR_SHAPE, "a second error");
    genreg_set_error(c, GENREG_ERROR_FILE, "later");
    check_format("matmul: [2,3] x [4,5]", genreg_error_message(c));

    /* Until it is cleared, nothing is done that would have been fine. */
    CHECK(genreg_constant(c, 1, three, NULL) == NULL && genreg_neg(c, a) == NULL && genreg_scalar(c, 1) == NULL, "work in a context with an error");
    CHECK(genreg_mlp(c, two_three, 2) == NULL && !genreg_gradient_into(c, a, a, &a, 1, &grad_memory), "work in a context with an error");
    check_format("matmul: [2,3] x [4,5]", genreg_error_message(c));
    genreg_clear_error(c);
    CHECK(genreg_error(c) == GENREG_OK, "status %d", (int)genreg_error(c));
    check_format("", genreg_error_message(c));
    y = genreg_neg(c, a);
    CHECK(y && genreg_error(c) == GENREG_OK, "after clearing");

    /* Errors of the caller's own: copied, cut, not overwritten. OK is no error. */
    genreg_set_error(c, GENREG_OK, "nothing");
    CHECK(genreg_error(c) == GENREG_OK, "status %d", (int)genreg_error(c));
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = 0;
    genreg_set_error(c, GENREG_ERROR_DIVERGED, longer);
    CHECK(genreg_error(c) == GENREG_ERROR_DIVERGED && strlen(genreg_error_message(c)) == 255, "%d letters", (int)strlen(genreg_error_message(c)));
    longer[0] = 'y';
    CHECK(genreg_error_message(c)[0] == 'x', "the text was not copied");
    genreg_clear_error(c);
    genreg_set_error(c, GENREG_ERROR_FORMAT, NULL);
    check_format(genreg_status_text(GENREG_ERROR_FORMAT), genreg_error_message(c));
    genreg_clear_error(c);
    genreg_set_error(c, GENREG_ERROR_FORMAT, "100 %s %d %");
    check_format("100 %s %d %", genreg_error_message(c));

    /* What messages are made of. */
    genreg_clear_error(c);
    genreg__fail(c, GENREG_ERROR_SHAPE, "<%s|%d|%d|%z|%t|%t|%%>", "text", 0, INT_MIN, (ptrdiff_t)-7, a, genreg_detach(c, y));
    check_format("<text|0|-2147483648|-7|[2,3]|[2,3]|%>", genreg_error_message(c));
    genreg_clear_error(c);
    y = genreg_scalar(c, 1);
    genreg__fail(c, GENREG_ERROR_SHAPE, "%t %z", y, (ptrdiff_t)2147483647);
    check_format("[] 2147483647", genreg_error_message(c));
    check_format("0", formatted_real(c, 0));
    check_format("1", formatted_real(c, 1));
    check_format("-2.5", formatted_real(c, -2.5));
    check_format("0.1", formatted_real(c, 0.1));
    check_format("0.05", formatted_real(c, 0.05));
    check_format("0.333333", formatted_real(c, 1.0 / 3));
    check_format("0.00012345", formatted_real(c, 0.00012345));
    check_format("1.5e-5", formatted_real(c, 1.5e-5));
    check_format("123456", formatted_real(c, 123456));
    check_format("1234570", formatted_real(c, 1234567));
    check_format("1000000", formatted_real(c, 999999.7));
    check_format("1e9", formatted_real(c, 1e9));
    check_format("-1.25e300", formatted_real(c, -1.25e300));
    check_format("1.79769e308", formatted_real(c, 1.7976931348623157e308));
    check_format("nan", formatted_real(c, (double)NAN));
    check_format("-inf", formatted_real(c, -(double)HUGE_VAL));
    genreg_destroy(c);
}

static int stop_at_once(const genreg_progress *p, void *user)
{
    (void)p;
    (void)user;
    return 1;
}

/* Whatever is called with no context, as after a genreg_create that found no memory: nothing happens. */
static void test_null(void)
{
    static const int shape[] = { 2, 2 }, axes[] = { 1, 0 }, index[] = { 0, 1 };
    genreg_tensor *xs[2] = { NULL, NULL }, *grads[2] = { NULL, NULL }, *t;
    genreg_real memory[4] = { 0, 0, 0, 0 }, *out[2];
    genreg_dataset d, a, b;
    genreg_batch batch;
    genreg_objective f;
    genreg_eigen e;
    genreg_progress p;
    genreg_score score;
    genreg_train_options o = genreg_train_defaults();
    genreg_place place;
    unsigned char pixel[4] = { 0, 0, 0, 0 };
    long before = live;
    out[0] = out[1] = memory;
    o.on_epoch = stop_at_once;

    CHECK(genreg_error(NULL) == GENREG_ERROR_MEMORY && strlen(genreg_error_message(NULL)) > 0, "no context is no memory");
    genreg_destroy(NULL);
    genreg_clear_error(NULL);
    genreg_set_error(NULL, GENREG_ERROR_FILE, "x");
    genreg_set_threads(NULL, 2);
    CHECK(genreg_error(NULL) == GENREG_ERROR_MEMORY, "still no context");
    CHECK(genreg_isa_name(NULL) != NULL && genreg_tape_bytes(NULL) == 0 && genreg_tape_peak(NULL) == 0, "figures of no context");
    place = genreg_mark(NULL);
    genreg_release(NULL, place);
    genreg_normal_fill(NULL, 4, 1, 2);
    genreg_permutation(NULL, 4, 1, 2);

#define NOTHING(call) do { t = (call); CHECK(t == NULL, #call); } while (0)
    NOTHING(genreg_constant(NULL, 2, shape, NULL));
    NOTHING(genreg_variable(NULL, 2, shape, memory));
    NOTHING(genreg_detach(NULL, NULL));
    NOTHING(genreg_scalar(NULL, 1));
    NOTHING(genreg_full(NULL, 2, shape, 1));
    NOTHING(genreg_add(NULL, NULL, NULL));
    NOTHING(genreg_sub(NULL, NULL, NULL));
    NOTHING(genreg_mul(NULL, NULL, NULL));
    NOTHING(genreg_div(NULL, NULL, NULL));
    NOTHING(genreg_neg(NULL, NULL));
    NOTHING(genreg_scale(NULL, NULL, 2));
    NOTHING(genreg_exp(NULL, NULL));
    NOTHING(genreg_log(NULL, NULL));
    NOTHING(genreg_sqrt(NULL, NULL));
    NOTHING(genreg_pow(NULL, NULL, 2));
    NOTHING(genreg_tanh(NULL, NULL));
    NOTHING(genreg_sigmoid(NULL, NULL));
    NOTHING(genreg_softplus(NULL, NULL));
    NOTHING(genreg_relu(NULL, NULL));
    NOTHING(genreg_abs(NULL, NULL));
    NOTHING(genreg_sign(NULL, NULL));
    NOTHING(genreg_matmul(NULL, NULL, NULL, 0, 0));
    NOTHING(genreg_affine(NULL, NULL, NULL, NULL, 1));
    NOTHING(genreg_dot(NULL, NULL, NULL));
    NOTHING(genreg_sum(NULL, NULL, 0));
    NOTHING(genreg_mean(NULL, NULL, 0));
    NOTHING(genreg_max(NULL, NULL, 0));
    NOTHING(genreg_expand(NULL, NULL, 2, shape));
    NOTHING(genreg_sum_to(NULL, NULL, 2, shape));
    NOTHING(genreg_reshape(NULL, NULL, 2, shape));
    NOTHING(genreg_view(NULL, NULL, 0, 2, shape));
    NOTHING(genreg_permute(NULL, NULL, axes));
    NOTHING(genreg_transpose(NULL, NULL));
    NOTHING(genreg_slice(NULL, NULL, 0, 0, 1));
    NOTHING(genreg_join(NULL, xs, 2, 0));
    NOTHING(genreg_gather(NULL, NULL, index, 2));
    NOTHING(genreg_scatter(NULL, NULL, index, 2));
    NOTHING(genreg_log_softmax(NULL, NULL));
    NOTHING(genreg_logsumexp(NULL, NULL));
    NOTHING(genreg_cross_entropy(NULL, NULL, index));
    NOTHING(genreg_mse(NULL, NULL, NULL));
    NOTHING(genreg_dropout(NULL, NULL, 0.5, 1, 2));
    NOTHING(genreg_one_hot(NULL, index, 2, 2));
    NOTHING(genreg_forward(NULL, NULL, NULL, NULL));
    CHECK(genreg_item(NULL) != genreg_item(NULL), "the value of nothing");
    CHECK(!genreg_grad(NULL, NULL, NULL, xs, 2, grads) && !grads[0] && !grads[1], "grad");
    CHECK(!genreg_gradient_into(NULL, NULL, NULL, xs, 2, out), "gradient_into");

    d = genreg_dataset_bytes(NULL, pixel, index, 2, 1, shape, 2, NULL, NULL);
    CHECK(d.n == 0 && !d.bytes, "dataset_bytes");
    d = genreg_dataset_reals(NULL, memory, index, 2, 1, shape, 2);
    CHECK(d.n == 0 && !d.reals, "dataset_reals");
    CHECK(genreg_first(NULL, &d, 1).n == 0 && genreg_sample(NULL, &d, 1, 1).n == 0 && genreg_label_noise(NULL, &d, 0.5, 1).n == 0, "subsets");
    genreg_split(NULL, &d, 0.5, 1, &a, &b);
    CHECK(a.n == 0 && b.n == 0, "split");
    batch = genreg_get_batch(NULL, &d, NULL, 0, 1);
    CHECK(!batch.x && batch.n == 0, "get_batch");

    CHECK(!genreg_model_create(NULL, 1, shape) && !genreg_mlp(NULL, shape, 2), "models");
    genreg_layer_linear(NULL, 1);
    genreg_layer_relu(NULL);
    genreg_layer_tanh(NULL);
    genreg_layer_sigmoid(NULL);
    genreg_layer_flatten(NULL);
    genreg_layer_dropout(NULL, 0.5);
    genreg_model_scope(NULL, "x");
    genreg_init(NULL, GENREG_INIT_HE, 1);
    genreg_model_free(NULL);
    score = genreg_evaluate(NULL, &d);
    CHECK(score.loss != score.loss && score.samples == 0, "evaluate");
    p = genreg_train(NULL, &d, &o);
    CHECK(p.loss != p.loss && p.step == 0, "train");
    CHECK(!genreg_trainer_create(NULL, &d, NULL) && !genreg_trainer_step(NULL) && !genreg_trainer_epoch(NULL), "trainers");
    p = genreg_trainer_progress(NULL);
    CHECK(p.loss != p.loss && p.epoch == 0, "progress");
    genreg_trainer_free(NULL);
    f = genreg_model_objective(NULL, &d, GENREG_LOSS_MSE);
    CHECK(!f.ctx && !f.loss && genreg_objective_gradient(&f, memory) != genreg_objective_gradient(NULL, memory), "objectives");
    CHECK(!genreg_hessian_open(&f) && !genreg_hessian_open(NULL) && !genreg_hessian_product(NULL, memory, memory), "Hessians");
    CHECK(genreg_hessian_loss(NULL) != 0 && genreg_hessian_chunk(NULL) == 0, "figures of no Hessian");
    genreg_hessian_close(NULL);
    e = genreg_hessian_top(NULL, &d, NULL);
    CHECK(e.value != e.value && !e.converged, "hessian_top");
    e = genreg_hessian_eigen(NULL, NULL);
    CHECK(e.value != e.value && !e.converged, "hessian_eigen");
    d = genreg_load_idx(NULL, "a", "b", 10, NULL, NULL);
    CHECK(d.n == 0 && !genreg_load_mnist(NULL, ".", &a, &b) && !genreg_load_fashion(NULL, ".", &a, &b) && a.n == 0, "loaders");
    CHECK(!genreg_load_model(NULL, "x") && !genreg_save_model(NULL, "x") && !genreg_trainer_save(NULL, "x") && !genreg_trainer_load(NULL, "x"), "checkpoints");
    CHECK(live == before, "%ld blocks were left", live - before);
}

/* ------------------------------------------------------------------------------------------------ every allocation refused in turn */

static const char scratch_file[] = "test_ground.safetensors", scratch_images[] = "test_ground-images", scratch_labels[] = "test_ground-labels";

enum { SAMPLES = 70, FEATURES = 12, CLASSES = 3 };
static genreg_real sample_values[SAMPLES * FEATURES];
static int sample_labels[SAMPLES];

static genreg_dataset small_set(genreg_ctx *c)
{
    static const int shape[] = { FEATURES };
    int i, k;
    for (i = 0; i < SAMPLES; i++) {
        sample_labels[i] = i % CLASSES;
        for (k = 0; k < FEATURES; k++)
            sample_values[i * FEATURES + k] = (genreg_real)(genreg_normal(5, 1, (uint64_t)(i * FEATURES + k)) + (k % CLASSES == i % CLASSES ? 1.5 : 0));
    }
    return genreg_dataset_reals(c, sample_values, sample_labels, SAMPLES, 1, shape, CLASSES);
}

static double sum_of(const genreg_real *x, ptrdiff_t n)
{
    double sum = 0;
    for (n = x ? n : 0; n > 0; n--) sum += (double)x[n - 1] * (double)n;
    return sum;
}

/* A scenario is an ordinary piece of work that ends with one number and leaves nothing behind in the context. */

static double work_ops(genreg_ctx *c) /* enough operations for the list of them to grow twice, and products that pack */
{
    static const int shape[] = { 40, 50 };
    genreg_place p = genreg_mark(c);
    genreg_tensor *x = genreg_variable(c, 2, shape, NULL), *y = x, *loss, *g = NULL;
    genreg_real *gradient = (genreg_real *)malloc(2000 * sizeof *gradient);
    double result = 0;
    int i;
    for (i = 0; x && i < 2000; i++) x->data[i] = (genreg_real)(0.001 * (i % 37));
    for (i = 0; i < 40; i++) y = genreg_add(c, genreg_tanh(c, y), x);
    y = genreg_matmul(c, y, y, 0, 1);
    loss = genreg_mean(c, y, GENREG_ALL_AXES);
    if (genreg_grad(c, loss, NULL, &x, 1, &g) && genreg_gradient_into(c, genreg_dot(c, g, g), NULL, &x, 1, &gradient)) result = sum_of(gradient, 2000);
    genreg_release(c, p);
    free(gradient);
    return result;
}

static double work_model(genreg_ctx *c)
{
    static const int image[] = { 4, 3, 1 }, batch[] = { 2, 4, 3, 1 };
    genreg_place p = genreg_mark(c);
    genreg_model *m = genreg_model_create(c, 3, image);
    genreg_tensor *y;
    double result;
    int i;
    genreg_layer_flatten(m);
    for (i = 0; i < 6; i++) {
        genreg_layer_linear(m, 5 + i);
        if (i % 3 == 0) genreg_layer_relu(m);
        else if (i % 3 == 1) genreg_layer_tanh(m);
        else genreg_layer_dropout(m, 0.25);
        if (i == 2) genreg_model_scope(m, "head");
    }
    genreg_init(m, GENREG_INIT_HE, 3);
    y = genreg_forward(m, m ? m->theta : NULL, genreg_full(c, 4, batch, 0.5), NULL);
    result = y ? sum_of(y->data, y->size) : 0;
    genreg_model_free(m);
    genreg_release(c, p);
    return result;
}

static double work_train(genreg_ctx *c, genreg_optimizer optimizer)
{
    static const int sizes[] = { FEATURES, 9, CLASSES };
    genreg_place p = genreg_mark(c);
    genreg_dataset d = small_set(c);
    genreg_model *m = genreg_mlp(c, sizes, 3);
    genreg_train_options o = genreg_train_defaults();
    genreg_progress progress;
    genreg_score score;
    double by_class[CLASSES] = { 0, 0, 0 }, result = 0;
    o.optimizer = optimizer;
    o.batch = 32;
    o.epochs = 2;
    progress = genreg_train(m, &d, &o);
    score = genreg_evaluate_classes(m, &d, GENREG_LOSS_CROSS_ENTROPY, by_class);
    if (!genreg_error(c)) result = progress.loss + score.loss + by_class[1] + sum_of(m->theta->data, m->theta->size);
    genreg_model_free(m);
    genreg_release(c, p);
    return result;
}
static double work_sgd(genreg_ctx *c) { return work_train(c, GENREG_OPTIMIZER_SGD); }
static double work_adam(genreg_ctx *c) { return work_train(c, GENREG_OPTIMIZER_ADAM); }

static double work_sets(genreg_ctx *c)
{
    genreg_dataset d = small_set(c), first = genreg_first(c, &d, 40), some = genreg_sample(c, &first, 30, 4), noisy = genreg_label_noise(c, &some, 0.5, 5), a, b;
    genreg_split(c, &noisy, 0.6, 6, &a, &b);
    return genreg_error(c) ? 0 : (double)(a.checksum % 1000003) + (double)(b.checksum % 1000003);
}

static int file_exists(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    return f != NULL;
}

static double work_save(genreg_ctx *c)
{
    static const int sizes[] = { FEATURES, 9, 8, 7, CLASSES };
    genreg_model *m = genreg_mlp(c, sizes, 5), *back;
    double result = 0;
    int there = file_exists(scratch_file);
    if (genreg_save_model(m, scratch_file)) result = 1;
    else CHECK(file_exists(scratch_file) == there, "a save that failed changed the file");
    CHECK(!file_exists("test_ground.safetensors.tmp"), "a temporary file was left");
    back = genreg_load_model(c, scratch_file);
    if (back && m) result += sum_of(back->theta->data, back->theta->size);
    genreg_model_free(back);
    genreg_model_free(m);
    return result;
}

static double work_resume(genreg_ctx *c)
{
    static const int sizes[] = { FEATURES, 9, CLASSES };
    genreg_place p = genreg_mark(c);
    genreg_dataset d = small_set(c);
    genreg_model *m = genreg_mlp(c, sizes, 3);
    genreg_train_options o = genreg_train_defaults();
    genreg_trainer *t;
    double result = 0;
    o.optimizer = GENREG_OPTIMIZER_ADAM;
    o.batch = 32;
    o.epochs = 2;
    t = genreg_trainer_create(m, &d, &o);
    genreg_trainer_step(t);
    genreg_trainer_save(t, scratch_file);
    genreg_trainer_step(t);
    if (genreg_trainer_load(t, scratch_file) && genreg_trainer_progress(t).step == 1 && genreg_trainer_step(t)) result = sum_of(m->theta->data, m->theta->size);
    genreg_trainer_free(t);
    genreg_model_free(m);
    genreg_release(c, p);
    return result;
}

static double work_hessian(genreg_ctx *c)
{
    static const int sizes[] = { FEATURES, 5, CLASSES };
    genreg_place p = genreg_mark(c);
    genreg_dataset d = small_set(c);
    genreg_model *m = genreg_mlp(c, sizes, 3);
    genreg_eigen_options o = genreg_eigen_defaults();
    genreg_eigen e;
    o.iterations = 5;
    o.tol = 0;
    e = genreg_hessian_top(m, &d, &o);
    genreg_model_free(m);
    genreg_release(c, p);
    return genreg_error(c) ? 0 : e.value;
}

static double work_files(genreg_ctx *c)
{
    genreg_dataset d = genreg_load_idx(c, scratch_images, scratch_labels, 10, NULL, NULL);
    genreg_batch b;
    genreg_place p = genreg_mark(c);
    double result = 0;
    if (d.n) {
        b = genreg_get_batch(c, &d, NULL, 0, d.n);
        if (b.x) result = sum_of(b.x->data, b.x->size) + b.labels[1];
    }
    genreg_release(c, p);
    return result;
}

static void write_file(const char *path, const unsigned char *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n, "cannot write %s here", path);
    if (f) fclose(f);
}

static void test_refusals(void)
{
    static const struct { const char *name; double (*work)(genreg_ctx *c); } works[] = {
        { "operations", work_ops }, { "model", work_model }, { "training with SGD", work_sgd }, { "training with Adam", work_adam }, { "subsets", work_sets },
        { "save and load a model", work_save }, { "save and load a trainer", work_resume }, { "Hessian", work_hessian }, { "load IDX", work_files } };
    static const unsigned char images[] = { 0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 10, 20, 30, 40, 50, 60, 70, 80 };
    static const unsigned char labels[] = { 0, 0, 8, 1, 0, 0, 0, 2, 3, 9 };
    int w, k, again;
    write_file(scratch_images, images, sizeof images);
    write_file(scratch_labels, labels, sizeof labels);
    CHECK(live == 0, "%ld blocks live at the start", live);
    refuse = mallocs + 1;
    CHECK(genreg_create(NULL) == NULL && live == 0, "create without memory");
    refuse = 0;
    for (w = 0; w < (int)(sizeof works / sizeof *works); w++) {
        const char *name = works[w].name;
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
        double expected = works[w].work(c), result;
        CHECK(genreg_error(c) == GENREG_OK && expected == expected && expected != 0, "%s: %s", name, genreg_error_message(c));
        genreg_destroy(c);
        CHECK(live == 0, "%s left %ld blocks", name, live);
        for (k = 1; k < 1000; k++) {
            int refused = 0;
            for (again = 0; again < 2; again++) { /* a context with an error is destroyed as it is, or cleared and used on */
                c = check_context(GENREG_ISA_AUTO, 1);
                refuse = mallocs + k;
                result = works[w].work(c);
                refused = mallocs >= refuse;
                refuse = 0;
                if (refused) CHECK(genreg_error(c) == GENREG_ERROR_MEMORY && strstr(genreg_error_message(c), "memory"), "%s, allocation %d refused: status %d, \"%s\"", name, k, (int)genreg_error(c), genreg_error_message(c));
                else CHECK(genreg_error(c) == GENREG_OK && result == expected, "%s: %.17g instead of %.17g", name, result, expected);
                if (again) {
                    genreg_clear_error(c);
                    result = works[w].work(c);
                    CHECK(genreg_error(c) == GENREG_OK && result == expected, "%s again, after allocation %d was refused: %.17g instead of %.17g, \"%s\"", name, k, result, expected, genreg_error_message(c));
                }
                genreg_destroy(c);
                CHECK(live == 0, "%s, allocation %d refused: %ld blocks were left", name, k, live);
            }
            if (!refused) break;
        }
        CHECK(k > 2 && k < 1000, "%s: %d allocations were refused", name, k - 1);
        printf("%-26s %3d allocations refused in turn\n", name, k - 1);
    }
    remove(scratch_file);
    remove(scratch_images);
    remove(scratch_labels);
}

/* A recorded operation that fails for want of memory must not take those before it along. */
static void test_refused_record(void)
{
    static const int shape[] = { 3 };
    long k;
    for (k = 1; k <= 2; k++) {
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
        genreg_tensor *x = genreg_variable(c, 1, shape, NULL), *y = genreg_add(c, x, x), *g = NULL;
        int i, refused = 0;
        for (i = 0; i < 100 && !refused; i++) {
            genreg_tensor *next;
            refuse = mallocs + k;
            next = genreg_add(c, y, x);
            refused = mallocs >= refuse;
            refuse = 0;
            if (refused) CHECK(!next && genreg_error(c) == GENREG_ERROR_MEMORY, "operation %d returned %s", i, next ? "a tensor" : genreg_error_message(c));
            else y = next;
        }
        if (refused) {
            genreg_clear_error(c);
            y = genreg_add(c, y, x);
            CHECK(y && genreg_error(c) == GENREG_OK, "an operation after clearing: %s", genreg_error_message(c));
            if (y) CHECK(genreg_grad(c, genreg_sum(c, y, GENREG_ALL_AXES), NULL, &x, 1, &g) && g->data[0] == i + 2, "gradient %g instead of %d", g ? (double)g->data[0] : -1, i + 2);
        } else CHECK(k > 1, "a hundred operations took no memory");
        genreg_destroy(c);
        CHECK(live == 0, "%ld blocks were left", live);
    }
}

/* ------------------------------------------------------------------------------------------------ memory */

static int aligned(const void *p) { return ((uintptr_t)p & 63) == 0; }

static void test_arena(void)
{
    static const int sizes[] = { 1, 2, 3, 15, 16, 17, 1000, 100000, 300000, 1000000, 7, 2000000 };
    enum { COUNT = sizeof sizes / sizeof *sizes };
    genreg_options o = genreg_defaults();
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_place place[COUNT];
    genreg_tensor *x[COUNT], *again;
    genreg_real *data[COUNT];
    size_t bytes[COUNT + 1], needed = 0, allowed = 0;
    char text[300];
    const char *at;
    int i, k, round, one[1], shape3[3];
    ptrdiff_t nodes = 0;
    int *kept[200];

    CHECK(genreg_tape_bytes(c) == 0 && genreg_tape_peak(c) == 0, "%d bytes in a new context", (int)genreg_tape_bytes(c));
    for (round = 0; round < 3; round++) {
        for (i = 0; i < COUNT; i++) {
            place[i] = genreg_mark(c);
            bytes[i] = genreg_tape_bytes(c);
            x[i] = genreg_variable(c, 1, &sizes[i], NULL);
            genreg_neg(c, x[i]);
            CHECK(x[i] && aligned(x[i]->data) && aligned(x[i]), "alignment of %d values", sizes[i]);
            CHECK(genreg_tape_bytes(c) >= bytes[i] + 2 * (size_t)sizes[i] * sizeof(genreg_real), "%d values in %d bytes", sizes[i], (int)(genreg_tape_bytes(c) - bytes[i]));
            if (round) CHECK(x[i]->data == data[i], "round %d took other memory for tensor %d", round, i);
            data[i] = x[i]->data;
            for (k = 0; k < sizes[i]; k++) x[i]->data[k] = (genreg_real)i;
        }
        bytes[COUNT] = genreg_tape_bytes(c);
        CHECK(genreg_tape_peak(c) == bytes[COUNT], "peak %d, in use %d", (int)genreg_tape_peak(c), (int)bytes[COUNT]);
        if (round) CHECK(mallocs == nodes, "round %d took %ld blocks", round, mallocs - (long)nodes);
        nodes = (ptrdiff_t)mallocs;
        for (i = COUNT - 1; i >= 0; i--) { /* what was made before the mark stays as it was */
            genreg_release(c, place[i]);
            CHECK(genreg_tape_bytes(c) == bytes[i] && c->nodes == i, "after release %d: %d bytes, %d operations", i, (int)genreg_tape_bytes(c), (int)c->nodes);
            for (k = 0; i > 0 && k < sizes[i - 1]; k++)
                if (x[i - 1]->data[k] != (genreg_real)(i - 1)) break;
            CHECK(i == 0 || k == sizes[i - 1], "release %d damaged tensor %d", i, i - 1);
        }
    }
    CHECK(genreg_tape_peak(c) == bytes[COUNT], "the peak stays");

    /* Release works in a context with an error; an outer mark takes the inner ones along. */
    place[0] = genreg_mark(c);
    for (i = 0; i < 5; i++) genreg_scalar(c, i);
    genreg_set_error(c, GENREG_ERROR_FILE, "x");
    genreg_release(c, place[0]);
    CHECK(genreg_tape_bytes(c) == 0 && genreg_error(c) == GENREG_ERROR_FILE, "release after an error");
    genreg_clear_error(c);

    for (i = 0; i < 200; i++) {
        kept[i] = (int *)genreg__keep(c, (size_t)i + 1, sizeof(int));
        CHECK(aligned(kept[i]) && kept[i][0] == 0 && kept[i][i] == 0, "kept memory");
        for (k = 0; k <= i; k++) kept[i][k] = i;
    }
    for (i = 0; i < 200; i += 3) genreg__unkeep(kept[i]);
    for (i = 0; i < 200; i++)
        for (k = 0; i % 3 && k <= i; k++) CHECK(kept[i][k] == i, "kept memory %d was damaged", i);
    genreg_destroy(c);
    CHECK(live == 0, "%ld blocks were left", live);

    /* The limit: what fits to the byte is given, what does not names bytes needed and bytes allowed. */
    o.threads = 1;
    o.memory = 100000;
    c = genreg_create(&o);
    one[0] = 1;
    place[0] = genreg_mark(c);
    genreg_constant(c, 1, one, NULL);
    one[0] = (int)((o.memory / 64 * 64 - 2 * genreg_tape_bytes(c) + 64) / sizeof(genreg_real)); /* a tensor's head, then the values */
    again = genreg_constant(c, 1, one, NULL);
    CHECK(again && genreg_tape_bytes(c) == o.memory / 64 * 64, "%d bytes of %d", (int)genreg_tape_bytes(c), (int)o.memory);
    genreg_release(c, place[0]);
    one[0] += 1000;
    again = genreg_constant(c, 1, one, NULL);
    CHECK(!again && genreg_error(c) == GENREG_ERROR_LIMIT, "status %d beyond the limit", (int)genreg_error(c));
    strcpy(text, genreg_error_message(c));
    for (at = text; *at && !(*at >= '0' && *at <= '9'); at++) {}
    for (; *at >= '0' && *at <= '9'; at++) needed = 10 * needed + (size_t)(*at - '0');
    for (; *at && !(*at >= '0' && *at <= '9'); at++) {}
    for (; *at >= '0' && *at <= '9'; at++) allowed = 10 * allowed + (size_t)(*at - '0');
    CHECK(needed == genreg_tape_bytes(c) + ((size_t)one[0] * sizeof(genreg_real) + 63) / 64 * 64 && allowed == o.memory && strstr(text, "bytes"), "\"%s\"", text);
    CHECK(strstr(text, "genreg_options.memory") != NULL, "\"%s\" names no way out", text);
    genreg_clear_error(c);
    genreg_release(c, place[0]);
    CHECK(genreg_scalar(c, 1) && genreg_error(c) == GENREG_OK, "after the limit was met");

    /* Sizes whose product does not fit. */
    shape3[0] = shape3[1] = shape3[2] = INT_MAX;
    CHECK(!genreg_constant(c, 3, shape3, NULL) && genreg_error(c) == GENREG_ERROR_ARGUMENT, "2^93 values");
    genreg_clear_error(c);
    CHECK(!genreg__keep(c, (size_t)PTRDIFF_MAX / 4, 8) && genreg_error(c) == GENREG_ERROR_ARGUMENT, "2^61 values of 8 bytes");
    genreg_clear_error(c);
    CHECK(!genreg__keep(c, (size_t)-1, (size_t)-1) && genreg_error(c) == GENREG_ERROR_ARGUMENT, "2^128 bytes");
    genreg_clear_error(c);
    CHECK(!genreg__take(c, &c->tape_arena, (size_t)-1, 2) && genreg_error(c) == GENREG_ERROR_ARGUMENT, "2^65 bytes of tape");
    genreg_destroy(c);

    o.memory = 0; /* zero is the default */
    c = genreg_create(&o);
    CHECK(c->limit == (size_t)1 << 30 && genreg_defaults().memory == c->limit, "default limit");
    genreg_destroy(c);
    CHECK(live == 0, "%ld blocks were left", live);
}

static void test_isa(void)
{
    static const char *const names[] = { NULL, "plain", "baseline", "avx2", "avx512" };
    genreg_ctx *c;
    int isa;
    CHECK(genreg_isa_available(GENREG_ISA_AUTO) && genreg_isa_available(GENREG_ISA_PLAIN), "auto and plain are always there");
    for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512 + 1; isa++) {
        c = check_context((genreg_isa)isa, 1);
        if (isa <= GENREG_ISA_AVX512 && genreg_isa_available((genreg_isa)isa)) {
            CHECK(genreg_error(c) == GENREG_OK, "%s", genreg_error_message(c));
            check_format(names[isa], genreg_isa_name(c));
            printf("instruction set %s\n", names[isa]);
        } else CHECK(genreg_error(c) == GENREG_ERROR_ARGUMENT && !genreg_scalar(c, 1), "instruction set %d is not there, and no error", isa);
        genreg_destroy(c);
    }
    c = genreg_create(NULL);
    CHECK(genreg_error(c) == GENREG_OK && strcmp(genreg_isa_name(c), "none") != 0, "default context");
    genreg_destroy(c);
}

/* ------------------------------------------------------------------------------------------------ steady state */

static void test_steady(genreg_optimizer optimizer, int features, int hidden, int samples, int batch)
{
    int sizes[4];
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_real *values = (genreg_real *)malloc((size_t)samples * (size_t)features * sizeof *values), *v, *hv;
    int *labels = (int *)malloc((size_t)samples * sizeof *labels), i, steps = 0;
    genreg_train_options o = genreg_train_defaults();
    genreg_dataset d;
    genreg_model *m;
    genreg_trainer *t;
    genreg_objective f;
    genreg_hessian *h;
    long before;
    sizes[0] = features;
    sizes[1] = sizes[2] = hidden;
    sizes[3] = 10;
    genreg_normal_fill(values, (ptrdiff_t)samples * features, 1, 1);
    for (i = 0; i < samples; i++) labels[i] = i % 10;
    d = genreg_dataset_reals(c, values, labels, samples, 1, sizes, 10);
    m = genreg_mlp(c, sizes, 4);
    o.optimizer = optimizer;
    o.batch = batch;
    o.epochs = 5;
    o.lr = 1e-4;
    t = genreg_trainer_create(m, &d, &o);
    CHECK(samples % batch != 0, "the last batch is to be ragged");
    genreg_trainer_epoch(t);
    CHECK(features < 1000 || c->tape_arena.count > 1, "the large case is to fill several blocks");
    before = mallocs;
    while (genreg_trainer_step(t)) {
        steps++;
        if (mallocs != before) break;
    }
    CHECK(genreg_error(c) == GENREG_OK, "%s", genreg_error_message(c));
    CHECK(mallocs == before && steps == 4 * ((samples + batch - 1) / batch) - 1, "%ld allocations after the first epoch, in %d steps", mallocs - before, steps);
    genreg_evaluate(m, &d);
    before = mallocs;
    genreg_evaluate(m, &d);
    CHECK(mallocs == before, "%ld allocations in the second evaluation", mallocs - before);

    f = genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
    h = genreg_hessian_open(&f);
    v = (genreg_real *)malloc((size_t)m->theta->size * sizeof *v);
    hv = (genreg_real *)malloc((size_t)m->theta->size * sizeof *hv);
    genreg_normal_fill(v, m->theta->size, 1, 2);
    genreg_hessian_product(h, v, hv);
    before = mallocs;
    for (i = 0; i < 3; i++) genreg_hessian_product(h, v, hv);
    CHECK(mallocs == before && genreg_error(c) == GENREG_OK, "%ld allocations in three Hessian products", mallocs - before);
    genreg_hessian_close(h);
    genreg_trainer_free(t);
    genreg_destroy(c);
    CHECK(live == 0, "%ld blocks were left", live);
    free(values);
    free(labels);
    free(v);
    free(hv);
}

/* ------------------------------------------------------------------------------------------------ exp and its kin */

/* |got - want| in units of want's last place; digits and least exponent are the type's. Results beyond its range must be infinite. */
static double ulps(double got, long double want, int digits, int least)
{
    int e;
    long double unit;
    if (want != want) return got != got ? 0 : HUGE_VAL;
    if (got != got) return HUGE_VAL;
    if (want > ldexpl(1, 1100) || want < -ldexpl(1, 1100)) return got == (want > 0 ? (double)HUGE_VAL : -(double)HUGE_VAL) ? 0 : HUGE_VAL;
    frexpl(want, &e);
    unit = ldexpl(1, (e < least ? least : e) - digits);
    if (fabsl(want) >= ldexpl(1, digits == 53 ? 1024 : 128) - unit / 2) return fabs(got) == (double)HUGE_VAL && (got > 0) == (want > 0) ? 0 : HUGE_VAL;
    return (double)(fabsl((long double)got - want) / unit);
}

#define REAL_DIGITS (sizeof(genreg_real) == 8 ? 53 : 24)
#define REAL_LEAST (sizeof(genreg_real) == 8 ? -1021 : -125)

static long double sigmoid_reference(long double x) { return 1 / (1 + expl(-x)); }
/* On [0, 1]. Angles of at most pi/4, as in a large one the rounding of pi t would count, where a long double is a double (as for valgrind). */
static long double cos_pi_reference(long double t)
{
    const long double pi = 3.14159265358979323846264338327950288L;
    return t < 0.25L ? cosl(pi * t) : t > 0.75L ? -cosl(pi * (1 - t)) : sinl(pi * (0.5L - t));
}
static long double softplus_reference(long double x) { return (x > 0 ? x : x != x ? x : 0) + log1pl(expl(-fabsl(x))); }

static double real_exp(double x) { return (double)genreg__exp((genreg_real)x); }
static double real_expm1(double x) { return (double)genreg__expm1((genreg_real)x); }
static double real_log(double x) { return (double)genreg__log((genreg_real)x); }
static double real_log1p(double x) { return (double)genreg__log1p01((genreg_real)x); }
static double real_tanh(double x) { return (double)genreg__tanh((genreg_real)x); }
static double real_sigmoid(double x) { return (double)genreg__sigmoid((genreg_real)x); }
static double real_softplus(double x) { return (double)genreg__softplus((genreg_real)x); }
static double double_exp(double x) { return genreg__exp64(x); }
static double double_expm1(double x) { return genreg__expm164(x); }
static double double_log(double x) { return genreg__log64(x); }

/* The largest error over a range, on a grid of steps and going down towards zero by powers of two as well. */
static void check_function(const char *name, double (*f)(double), long double (*reference)(long double), double low, double high, int as_double, double bound)
{
    const int digits = as_double ? 53 : REAL_DIGITS, least = as_double ? -1021 : REAL_LEAST, deepest = digits == 53 ? 1074 : 149, n = 60000;
    double worst = 0, where = 0;
    int i;
    for (i = 0; i <= n; i++) {
        double x = low + (high - low) * ((double)i / n), error;
        if (i % 3 == 1) x = ldexp(x, -(int)(genreg_uniform(7, 1, (uint64_t)i) * deepest));
        if (i % 3 == 2) x = low + (high - low) * genreg_uniform(7, 2, (uint64_t)i);
        if (digits == 24) x = (double)(float)x;
        error = ulps(f(x), reference((long double)x), digits, least);
        if (!(error <= worst)) { worst = error; where = x; }
    }
    printf("%-16s on %10.4g ... %-10.4g errs by %.2f units in the last place (at %.17g)\n", name, low, high, worst, where);
    CHECK(worst <= bound, "%s errs by %g units at %.17g: %.17g", name, worst, where, f(where));
}

static int same(double a, double b) { return a == b || (a != a && b != b); }

static void test_math(void)
{
    const int wide = sizeof(genreg_real) == 8;
    const double inf = (double)HUGE_VAL, nan = (double)NAN, top = wide ? 709.782712893384 : 88.72284, bottom = wide ? -745.13 : -103.97,
                 largest = wide ? 1.7976931348623157e308 : 3.4028234663852886e38, smallest = wide ? 5e-324 : 1.401298464324817e-45,
                 normal = wide ? 2.2250738585072014e-308 : 1.1754943508222875e-38;
    double x, worst;
    int i;

    /* Bounds are what was measured, rounded up: below 1 for exp, 2 for expm1, log and log1p, 3 for what is made of them. */
    check_function("exp", real_exp, expl, bottom, top, 0, 1);
    check_function("exp", real_exp, expl, 1.2 * bottom, 1.2 * top, 0, 1);
    check_function("exp (double)", double_exp, expl, -760, 720, 1, 1);
    check_function("expm1", real_expm1, expm1l, 1.2 * bottom, 1.2 * top, 0, 2);
    check_function("expm1", real_expm1, expm1l, -1, 1, 0, 2);
    check_function("expm1 (double)", double_expm1, expm1l, -760, 720, 1, 2);
    check_function("log", real_log, logl, 0, largest, 0, 2);
    check_function("log", real_log, logl, 0.5, 2, 0, 2);
    check_function("log", real_log, logl, 0, 1000 * normal, 0, 2);
    check_function("log (double)", double_log, logl, 0, 1e300, 1, 2);
    check_function("log1p", real_log1p, log1pl, 0, 1, 0, 2);
    check_function("tanh", real_tanh, tanhl, -30, 30, 0, 3);
    check_function("tanh", real_tanh, tanhl, -1, 1, 0, 3);
    check_function("sigmoid", real_sigmoid, sigmoid_reference, -0.99 * top, 1.2 * top, 0, 3);
    check_function("softplus", real_softplus, softplus_reference, 0.99 * bottom, 1.2 * top, 0, 3);
    check_function("softplus", real_softplus, softplus_reference, -5, 5, 0, 3);
    for (x = -top, worst = 0; x > 1.3 * bottom; x -= 0.01) /* below the normal range a sigmoid may be zero, and no more */
        if (!(fabs(real_sigmoid(x) - (double)sigmoid_reference((long double)(genreg_real)x)) <= normal)) worst = x;
    CHECK(worst == 0, "sigmoid(%g) = %g", worst, real_sigmoid(worst));

    CHECK(real_exp(0) == 1 && real_exp(-inf) == 0 && same(real_exp(inf), inf) && same(real_exp(nan), nan), "exp of 0, inf, NaN");
    CHECK(same(real_exp(top + 0.01 * top), inf) && real_exp(2 * bottom) == 0 && real_exp(-largest) == 0 && same(real_exp(largest), inf), "exp beyond its range");
    CHECK(real_exp(smallest) == 1 && real_exp(-smallest) == 1 && real_exp(bottom) > 0, "exp of tiny numbers, and tiny results");
    CHECK(real_expm1(0) == 0 && real_expm1(-inf) == -1 && same(real_expm1(inf), inf) && same(real_expm1(nan), nan) && real_expm1(smallest) == smallest, "expm1 of 0, inf, NaN");
    CHECK(real_log(1) == 0 && same(real_log(0), -inf) && same(real_log(-0.0), -inf) && same(real_log(inf), inf), "log of 0, 1, inf");
    CHECK(same(real_log(-1), nan) && same(real_log(-smallest), nan) && same(real_log(-inf), nan) && same(real_log(nan), nan), "log below 0");
    CHECK(real_tanh(0) == 0 && real_tanh(inf) == 1 && real_tanh(-inf) == -1 && same(real_tanh(nan), nan) && real_tanh(smallest) == smallest, "tanh of 0, inf, NaN");
    CHECK(real_sigmoid(0) == 0.5 && real_sigmoid(inf) == 1 && real_sigmoid(-inf) == 0 && same(real_sigmoid(nan), nan), "sigmoid of 0, inf, NaN");
    CHECK(same(real_softplus(inf), inf) && real_softplus(-inf) == 0 && same(real_softplus(nan), nan) && real_softplus(largest) == largest, "softplus of inf, NaN");
    CHECK(same(double_exp(710), inf) && double_exp(-746) == 0 && same(double_exp(nan), nan) && same(double_log(0), -inf) && same(double_log(-1), nan), "in double");

    for (i = 0, worst = 0; i <= 20000; i++) {
        double t = i / 20000.0, error = fabs(genreg__cos_pi(t) - (double)cos_pi_reference((long double)t));
        if (!(error <= worst)) worst = error;
    }
    CHECK(worst < 3e-16 && genreg__cos_pi(0) == 1 && genreg__cos_pi(0.5) == 0 && genreg__cos_pi(1) == -1, "cos errs by %g", worst);

    /* Powers: by squaring for whole exponents, whatever the sign of x; else by exp and log, whose error grows with the exponent of the result. */
    {
        static const double exponents[] = { 0, 1, 2, 3, 5, 10, 17, 31, 64, -1, -2, -3, -7, 0.5, -0.5, 1.5, 1.0 / 3, 2.25, -1.75, 20.5 };
        for (i = 0; i < (int)(sizeof exponents / sizeof *exponents); i++) {
            double p = exponents[i], limit = (p == floor(p) ? 2 + fabs(p) : 40) * (wide ? 2.3e-16 : 1.2e-7);
            int k;
            for (k = 0, worst = 0; k < 2000; k++) {
                long double want;
                double error;
                x = (double)(genreg_real)(0.1 + 3 * genreg_uniform(7, 4, (uint64_t)k));
                if (p == floor(p) && k % 2) x = -x;
                want = powl((long double)x, (long double)p);
                if (fabsl(want) > (long double)largest / 2 || fabsl(want) < 2 * (long double)normal) continue;
                error = (double)(fabsl((long double)genreg__power((genreg_real)x, p) - want) / fabsl(want));
                if (!(error <= worst)) worst = error;
            }
            CHECK(worst <= limit, "x^%g errs by %g of it", p, worst);
        }
        CHECK(genreg__power(0, 0) == 1 && genreg__power(0, 2) == 0 && genreg__power(0, 0.5) == 0 && same((double)genreg__power(0, -1), inf), "powers of 0");
        CHECK(same((double)genreg__power(0, -0.5), inf) && same((double)genreg__power(-1, 0.5), nan) && same((double)genreg__power((genreg_real)nan, 2), nan), "powers without value");
        CHECK(genreg__power(-1, 65) == -1 && genreg__power(-1, 100) == 1 && genreg__power(-1, -65) == -1 && fabs((double)genreg__power(2, 100) / ldexp(1, 100) - 1) < (wide ? 1e-13 : 1e-6), "whole exponents beyond 64: (-1)^65 = %g", (double)genreg__power(-1, 65));
        CHECK(genreg__power(-1, 1e10) == 1 && genreg__power(-1, 1e10 + 1) == -1, "(-1)^(10^10) = %g", (double)genreg__power(-1, 1e10));
    }
}

/* ------------------------------------------------------------------------------------------------ random numbers */

static void check_philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1, uint32_t r0, uint32_t r1, uint32_t r2, uint32_t r3)
{
    uint64_t out[2];
    genreg__philox((uint64_t)k1 << 32 | k0, (uint64_t)c3 << 32 | c2, (uint64_t)c1 << 32 | c0, out);
    CHECK(out[0] == ((uint64_t)r1 << 32 | r0) && out[1] == ((uint64_t)r3 << 32 | r2), "%08x %08x %08x %08x", (unsigned)out[0], (unsigned)(out[0] >> 32), (unsigned)out[1], (unsigned)(out[1] >> 32));
}

static void test_random(void)
{
    enum { N = 20000 };
    static const struct { double p, z; } quantiles[] = {
        { 0.5, 0 }, { 0.975, 1.959963984540054 }, { 0.025, -1.959963984540054 }, { 0.84134474606854294859, 1 }, { 0.9, 1.2815515655446004 },
        { 0.999, 3.090232306167813 }, { 1e-5, -4.264890793922825 }, { 1e-10, -6.361340902404056 }, { 1e-16, -8.222082216130435 }, { 1e-300, -37.0471 } };
    static int permutation[N], other[N], seen[N];
    static genreg_real filled[N];
    double sum = 0, square = 0, cube = 0, fourth = 0, low = 1, high = 0, lag = 0, previous = 0, worst = 0, chi2;
    int i, k, m, cells[100], orders[120];
    uint64_t bits[2];

    /* The known answers of Random123 (Salmon et al.), counter and key word by word. */
    check_philox(0, 0, 0, 0, 0, 0, 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u);
    check_philox(0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu);
    check_philox(0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u, 0xa4093822u, 0x299f31d0u, 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u);

    /* A draw is half a block: the upper 52 of 64 bits, in the middle of their cell. */
    for (i = 0; i < 100; i++) {
        genreg__philox(3, 4, (uint64_t)i / 2, bits);
        CHECK(genreg_uniform(3, 4, (uint64_t)i) == ((double)(bits[i % 2] >> 12) + 0.5) / 4503599627370496.0, "draw %d", i);
        CHECK(genreg_normal(3, 4, (uint64_t)i) == genreg__normal_quantile(genreg_uniform(3, 4, (uint64_t)i)), "normal draw %d", i);
    }
    CHECK(genreg__unit(0) > 0 && genreg__unit(~(uint64_t)0) < 1 && genreg__unit(0) == 1 - genreg__unit(~(uint64_t)0), "the ends of (0, 1)");
    CHECK(genreg_uniform(1, 2, 3) != genreg_uniform(2, 1, 3) && genreg_uniform(1, 2, 3) != genreg_uniform(1, 3, 2) && genreg_uniform(0, 0, (uint64_t)1 << 40) != genreg_uniform(0, 0, 0), "arguments differ");
    CHECK(genreg_uniform((uint64_t)1 << 32, 0, 0) != genreg_uniform(0, 0, 0) && genreg_uniform(0, (uint64_t)1 << 32, 0) != genreg_uniform(0, 0, 0), "upper halves count");

    for (i = 0; i < (int)(sizeof quantiles / sizeof *quantiles); i++) {
        double z = genreg__normal_quantile(quantiles[i].p), tolerance = quantiles[i].p < 1e-200 ? 1e-5 : 4e-16 * (1 + fabs(quantiles[i].z));
        CHECK(fabs(z - quantiles[i].z) <= tolerance, "quantile of %g is %.17g instead of %.17g", quantiles[i].p, z, quantiles[i].z);
    }
    for (i = 1; i < 2000; i++) { /* through the distribution function and back */
        double p = i < 1000 ? ldexp(1, -i / 4 - 1) * (1 + (i % 4) / 4.0) : i / 2000.0, z = genreg__normal_quantile(p);
        double back = (double)(erfcl(-(long double)z / 1.41421356237309504880168872420969808L) / 2), error = fabs(back - p) / p / (1 + z * z);
        if (error > worst) worst = error;
        if (p > 0.01 && p < 0.99) CHECK(fabs(z + genreg__normal_quantile(1 - p)) < 1e-13, "quantiles of %g and its complement", p);
    }
    CHECK(worst < 1e-15, "quantiles err by %g", worst);

    /* Moments of N draws: each bound is four standard errors. */
    memset(cells, 0, sizeof cells);
    for (i = 0; i < N; i++) {
        double u = genreg_uniform(11, 5, (uint64_t)i), z = genreg_normal(11, 6, (uint64_t)i);
        low = u < low ? u : low;
        high = u > high ? u : high;
        cells[(int)(100 * u)]++;
        lag += z * previous;
        previous = z;
        sum += z;
        square += z * z;
        cube += z * z * z;
        fourth += z * z * z * z;
    }
    for (i = 0, chi2 = 0; i < 100; i++) chi2 += (cells[i] - N / 100.0) * (cells[i] - N / 100.0) / (N / 100.0);
    CHECK(chi2 > 99 - 4 * sqrt(198) && chi2 < 99 + 4 * sqrt(198), "chi2 of uniform draws is %g with 99 degrees of freedom", chi2);
    CHECK(low > 0 && high < 1 && low < 1e-3 && high > 0.999, "draws from %g to %g", low, high);
    CHECK(fabs(sum) < 4 * sqrt((double)N), "mean %g", sum / N);
    CHECK(fabs(square - N) < 4 * sqrt(2.0 * N), "variance %g", square / N);
    CHECK(fabs(cube) < 4 * sqrt(15.0 * N), "third moment %g", cube / N);
    CHECK(fabs(fourth - 3 * N) < 4 * sqrt(96.0 * N), "fourth moment %g", fourth / N);
    CHECK(fabs(lag) < 4 * sqrt((double)N), "correlation of neighbours %g", lag / N);

    /* The same in any order, and as a whole. */
    for (m = 0; m < 8; m++) {
        filled[m] = 77;
        genreg_normal_fill(filled, m, 9, 8);
        for (i = m - 1; i >= 0; i--) CHECK(filled[i] == (genreg_real)genreg_normal(9, 8, (uint64_t)i), "fill of %d, number %d", m, i);
        CHECK(filled[m] == 77, "fill of %d writes behind its end", m);
        filled[m] = 0;
    }
    genreg_normal_fill(filled, N, 9, 8);
    for (i = N - 1, k = 0; i >= 0; i--) k += filled[i] != (genreg_real)genreg_normal(9, 8, (uint64_t)i);
    CHECK(k == 0, "%d numbers of a fill differ from single draws", k);

    /* A permutation has each number once; all orders of few are equally likely; seeds and streams give others. */
    genreg_permutation(permutation, N, 1, 2);
    memset(seen, 0, sizeof seen);
    for (i = 0; i < N; i++)
        if (permutation[i] >= 0 && permutation[i] < N) seen[permutation[i]]++;
    for (i = 0, k = 0, m = 0; i < N; i++) {
        k += seen[i] != 1;
        m += permutation[i] == i;
    }
    CHECK(k == 0 && m < 8, "%d numbers not once, %d in their place", k, m);
    genreg_permutation(other, N, 1, 2);
    CHECK(memcmp(permutation, other, sizeof other) == 0, "a permutation is drawn again");
    genreg_permutation(other, N, 2, 2);
    for (i = 0, k = 0; i < N; i++) k += permutation[i] == other[i];
    CHECK(k < 8, "another seed leaves %d places as they were", k);
    genreg_permutation(other, N, 1, 3);
    for (i = 0, k = 0; i < N; i++) k += permutation[i] == other[i];
    CHECK(k < 8, "another stream leaves %d places as they were", k);
    genreg_permutation(other, 1, 1, 1);
    CHECK(other[0] == 0, "a permutation of one");
    other[0] = 55;
    genreg_permutation(other, 0, 1, 1);
    CHECK(other[0] == 55, "a permutation of none");
    memset(orders, 0, sizeof orders);
    for (m = 0; m < 12000; m++) {
        int p[5], code = 0;
        genreg_permutation(p, 5, 12, (uint64_t)m);
        for (i = 0; i < 5; i++) {
            int rank = 0;
            for (k = i + 1; k < 5; k++) rank += p[k] < p[i];
            code = code * (5 - i) + rank;
        }
        orders[code]++;
    }
    for (i = 0, chi2 = 0; i < 120; i++) chi2 += (orders[i] - 100.0) * (orders[i] - 100.0) / 100.0;
    CHECK(chi2 > 119 - 4 * sqrt(238) && chi2 < 119 + 4 * sqrt(238), "chi2 of the 120 orders of five is %g with 119 degrees of freedom", chi2);
}

/* ------------------------------------------------------------------------------------------------ two contexts */

static double train_in(genreg_ctx *c, uint64_t seed)
{
    static const int sizes[] = { FEATURES, 8, CLASSES }, shape[] = { FEATURES };
    genreg_dataset d = genreg_dataset_reals(c, sample_values, sample_labels, SAMPLES, 1, shape, CLASSES);
    genreg_model *m = genreg_mlp(c, sizes, 3);
    genreg_train_options o = genreg_train_defaults();
    double result;
    o.batch = 16;
    o.epochs = 3;
    o.seed = seed;
    genreg_train(m, &d, &o);
    result = m ? sum_of(m->theta->data, m->theta->size) : 0;
    genreg_model_free(m);
    return result;
}

static void test_contexts(void)
{
    genreg_ctx *a = check_context(GENREG_ISA_AUTO, 1), *b = check_context(GENREG_ISA_AUTO, 1);
    genreg_tensor *x, *y;
    double alone[2], together[2];
    int i;
    small_set(a);
    alone[0] = train_in(a, 1);
    alone[1] = train_in(b, 2);
    CHECK(alone[0] != alone[1], "seeds differ");

    /* Work in one leaves tape, errors and numbers of the other alone. */
    x = genreg_scalar(a, 2);
    genreg_set_error(b, GENREG_ERROR_FILE, "b only");
    y = genreg_mul(a, x, x);
    CHECK(genreg_item(y) == 4 && genreg_error(a) == GENREG_OK && genreg_error(b) == GENREG_ERROR_FILE, "an error crossed over");
    genreg_clear_error(b);
    CHECK(genreg_tape_bytes(b) == 0 && genreg_tape_bytes(a) > 0, "tape crossed over");
    genreg_destroy(b);
    CHECK(genreg_item(genreg_add(a, y, x)) == 6, "destroying one hurt the other");
    genreg_destroy(a);
    for (i = 0; i < 2; i++) together[i] = 0;
#ifdef _OPENMP
#pragma omp parallel for num_threads(2) private(a)
#endif
    for (i = 0; i < 2; i++) {
        int round;
        for (round = 0; round < 5; round++) {
            a = check_context(GENREG_ISA_AUTO, 1);
            together[i] = train_in(a, (uint64_t)i + 1);
            genreg_destroy(a);
        }
    }
    CHECK(together[0] == alone[0] && together[1] == alone[1], "side by side: %.17g, %.17g instead of %.17g, %.17g", together[0], together[1], alone[0], alone[1]);
    CHECK(live == 0, "%ld blocks were left", live);
}

/* What the threads of a team do of a loop is all of it, once, for as many of either as there can be. */
static ptrdiff_t range_end, range_gaps;
static void note_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    (void)arg;
    range_gaps += first != range_end || last <= first;
    range_end = last;
}
static void test_ranges(void)
{
    static const ptrdiff_t sizes[] = { 1, 63, 64, 65, 1000, 70000, (ptrdiff_t)1 << 29, ((ptrdiff_t)1 << 29) - 1 };
    static const int teams[] = { 1, 2, 3, 64, 1000, 4096, 32768 };
    int i, k, thread;
    for (i = 0; i < (int)(sizeof sizes / sizeof *sizes); i++)
        for (k = 0; k < (int)(sizeof teams / sizeof *teams); k++) {
            genreg__ranges r;
            r.fn = note_range; r.arg = NULL; r.n = sizes[i]; r.step = 64;
            range_end = range_gaps = 0;
            for (thread = 0; thread < teams[k]; thread++) genreg__range_member(&r, thread, teams[k]);
            CHECK(range_end == sizes[i] && range_gaps == 0, "%ld items among %d threads: %ld done, %ld gaps", (long)sizes[i], teams[k], (long)range_end, (long)range_gaps);
        }
    CHECK(genreg__share(2147483647, 32767, 32768) == 2147418111, "%ld", (long)genreg__share(2147483647, 32767, 32768));
}

int main(void)
{
    (void)test_realloc; /* nothing calls it today */
    test_errors();
    test_null();
    test_isa();
    test_arena();
    test_refusals();
    test_refused_record();
    test_steady(GENREG_OPTIMIZER_SGD, 20, 16, 70, 32);
    test_steady(GENREG_OPTIMIZER_ADAM, 20, 16, 70, 32);
    test_steady(GENREG_OPTIMIZER_SGD, 2500, 40, 330, 128); /* large enough for the arenas to have several blocks */
    test_steady(GENREG_OPTIMIZER_ADAM, 2500, 40, 290, 128);
    test_math();
    test_random();
    test_contexts();
    test_ranges();
    CHECK(live == 0, "%ld blocks were left", live);
    CHECK(nulls == 0, "NULL was given back %ld times", nulls);
    return check_done();
}
