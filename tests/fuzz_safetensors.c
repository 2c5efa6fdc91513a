/* clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all tests/fuzz_safetensors.c -o fuzz_safetensors -lm && ./fuzz_safetensors tests/corpus/safetensors

   The input is a checkpoint. A model that is taken runs and can be saved and read again; a run that is refused leaves its trainer, to
   the bit of all that it would save, as it was. */
#define GENREG_STATIC /* the compiler drops what is not used */
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include "fuzz.h"

/* corpus/safetensors/run is this run after one step. */
static genreg_trainer *make_run(genreg_ctx *c)
{
    static const unsigned char pixels[24] = { 1, 60, 99, 200, 7, 255 };
    static const int labels[6] = { 0, 1, 1, 0, 1, 0 }, shape[3] = { 2, 1, 2 };
    genreg_dataset d = genreg_dataset_bytes(c, pixels, labels, 6, 3, shape, 2, NULL, NULL);
    genreg_model *m = genreg_model_create(c, 3, shape);
    genreg_train_options o = genreg_train_defaults();
    genreg_layer_flatten(m);
    genreg_layer_linear(m, 3);
    genreg_layer_relu(m);
    genreg_layer_linear(m, 2);
    genreg_init(m, GENREG_INIT_HE, 1);
    o.batch = 4;
    o.epochs = 2;
    return genreg_trainer_create(m, &d, &o);
}

/* All that a trainer would save: model, optimiser, step, place in the epoch. Returns how many bytes. */
static size_t state_of(genreg_trainer *t, const char *path, unsigned char *state, size_t room)
{
    size_t n;
    fuzz_require(genreg_trainer_save(t, path));
    n = fuzz_get(path, state, room);
    fuzz_require(n > 0 && n < room);
    remove(path);
    return n;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    const char *path = fuzz_path("x.safetensors"), *again = fuzz_path("again.safetensors");
    genreg_options o = genreg_defaults();
    genreg_ctx *c;
    genreg_model *m, *n;
    genreg_trainer *t;
    static unsigned char before[1 << 14], after[1 << 14];
    size_t n_before, n_after;
    int taken;
    o.memory = 1 << 22;
    c = genreg_create(&o);
    fuzz_put(path, data, size);
    m = genreg_load_model(c, path);
    fuzz_expect(c, m != NULL);
    if (m) {
        genreg_tensor *x;
        int k, shape[4];
        fuzz_require(genreg_save_model(m, again));
        n = genreg_load_model(c, again);
        fuzz_require(n && n->theta->size == m->theta->size && !memcmp(n->theta->data, m->theta->data, (size_t)m->theta->size * sizeof *m->theta->data));
        shape[0] = 1;
        for (k = 0; k < m->layers[0].in_rank; k++) shape[k + 1] = m->layers[0].in_shape[k];
        x = genreg_full(c, m->layers[0].in_rank + 1, shape, 0.5);
        genreg_forward(m, NULL, x, NULL); /* or it says that the memory option is too small */
        remove(again);
    }
    genreg_destroy(c);

    c = genreg_create(&o);
    t = make_run(c);
    for (taken = 0; taken < 3; taken++) genreg_trainer_step(t); /* so that nothing in it is what it began with */
    n_before = state_of(t, again, before, sizeof before);
    taken = genreg_trainer_load(t, path);
    fuzz_expect(c, taken);
    genreg_clear_error(c);
    n_after = state_of(t, again, after, sizeof after);
    if (!taken) fuzz_require(n_before == n_after && !memcmp(before, after, n_after));
    else {
        fuzz_put(again, after, n_after);
        fuzz_require(genreg_trainer_load(t, again));
        n_before = state_of(t, again, before, sizeof before);
        fuzz_require(n_before == n_after && !memcmp(before, after, n_after));
        genreg_trainer_epoch(t);
    }
    genreg_destroy(c);
    remove(path);
    return 0;
}
