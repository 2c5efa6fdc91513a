/* clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all tests/fuzz_safetensors.c -o fuzz_safetensors -lm && ./fuzz_safetensors tests/corpus/safetensors

   The input is a checkpoint. A model that is taken runs and can be saved and read again; a run that is refused leaves its trainer as it was. */
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

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    const char *path = fuzz_path("x.safetensors"), *again = fuzz_path("again.safetensors");
    genreg_options o = genreg_defaults();
    genreg_ctx *c;
    genreg_model *m, *n;
    genreg_trainer *t;
    genreg_progress before, after;
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
    before = genreg_trainer_progress(t);
    taken = genreg_trainer_load(t, path);
    fuzz_expect(c, taken);
    after = genreg_trainer_progress(t);
    if (!taken) fuzz_require(after.step == before.step && after.epoch == before.epoch);
    else genreg_trainer_epoch(t);
    genreg_destroy(c);
    remove(path);
    return 0;
}
