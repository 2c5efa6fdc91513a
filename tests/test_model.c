/* test_model.c - datasets and models: subsets, splits, noise, batches; layouts, initialisation, forward passes, scores, misuse.

      cc -O2 -fopenmp tests/test_model.c -o test_model -lm && ./test_model          (or with -DGENREG_REAL=double) */
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include "check.h"

#include <stdlib.h>

enum { N = 60, FEATURES = 3, CLASSES = 4 };

static unsigned char pixels[N * FEATURES];
static int labels[N];

/* A set in which the first pixel of a sample says which one it is, and which label it has: i % 4, with a hole in class 3. */
static genreg_dataset small_set(genreg_ctx *c)
{
    const int shape[1] = { FEATURES };
    int i;
    for (i = 0; i < N; i++) {
        pixels[i * FEATURES] = (unsigned char)i;
        pixels[i * FEATURES + 1] = (unsigned char)(255 - 3 * i);
        pixels[i * FEATURES + 2] = (unsigned char)(i * i);
        labels[i] = i % CLASSES == 3 && i > 40 ? 0 : i % CLASSES;
    }
    return genreg_dataset_bytes(c, pixels, labels, N, 1, shape, CLASSES, NULL, NULL);
}

/* Which stored samples a set holds, read from what its batches deliver; counts those whose pixels or label are not theirs. */
static int identities(genreg_ctx *c, const genreg_dataset *d, int *out)
{
    genreg_place p = genreg_mark(c);
    genreg_batch b = genreg_get_batch(c, d, NULL, 0, d->n);
    int i, wrong = b.n != d->n;
    for (i = 0; i < b.n; i++) {
        const genreg_real *x = b.x->data + i * FEATURES;
        out[i] = (int)floor(255 * (double)x[0] + 0.5);
        wrong += out[i] < 0 || out[i] >= N || floor(255 * (double)x[1] + 0.5) != pixels[out[i] * FEATURES + 1] || b.labels[i] != labels[out[i]];
    }
    genreg_release(c, p);
    return wrong;
}

static int distinct(const int *id, int n)
{
    int seen[N] = { 0 }, i;
    for (i = 0; i < n; i++)
        if (id[i] < 0 || id[i] >= N || seen[id[i]]++) return 0;
    return 1;
}

static void test_subsets(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_dataset d = small_set(c), s, t;
    int id[N], other[N], hits[N] = { 0 }, first_place[N] = { 0 }, i, k, moved = 0, good;

    s = genreg_first(c, &d, 7);
    CHECK(s.n == 7 && identities(c, &s, id) == 0, "n = %d", s.n);
    for (i = 0; i < 7; i++) CHECK(id[i] == i, "place %d has sample %d", i, id[i]);
    CHECK(s.bytes == d.bytes && s.features == d.features && s.classes == d.classes && s.rank == d.rank && s.shape[0] == d.shape[0], "a subset is of the same kind");
    CHECK(d.n == N && !d.rows && d.labels == labels, "the set itself is as it was");
    s = genreg_first(c, &d, N + 100);
    CHECK(s.n == N && identities(c, &s, id) == 0 && id[0] == 0 && id[N - 1] == N - 1, "n = %d", s.n);

    s = genreg_sample(c, &d, 20, 5);
    CHECK(s.n == 20 && identities(c, &s, id) == 0 && distinct(id, 20), "no repeats, and labels go with their samples");
    for (i = 0; i < 20; i++) moved += id[i] != i;
    CHECK(moved > 10, "%d of 20 places differ from the set's order", moved);
    t = genreg_sample(c, &d, 20, 5);
    CHECK(identities(c, &t, other) == 0 && !memcmp(id, other, 20 * sizeof *id), "the same seed, the same samples");
    t = genreg_sample(c, &d, 20, 6);
    CHECK(identities(c, &t, other) == 0 && memcmp(id, other, 20 * sizeof *id) != 0, "another seed, other samples");
    t = genreg_sample(c, &d, N + 1, 5);
    CHECK(t.n == N && identities(c, &t, other) == 0 && distinct(other, N), "all, in random order");

    t = genreg_first(c, &s, 5); /* of a subset */
    CHECK(t.n == 5 && identities(c, &t, other) == 0 && !memcmp(id, other, 5 * sizeof *id), "the first of a sample");
    t = genreg_sample(c, &s, 12, 9);
    good = identities(c, &t, other) == 0 && distinct(other, 12);
    for (i = 0; i < 12; i++) {
        for (k = 0; k < 20 && id[k] != other[i]; k++) {}
        good &= k < 20;
    }
    CHECK(t.n == 12 && good, "a sample of a sample holds its samples only");

    /* Over many seeds each sample is drawn equally often, and stands first equally often: 3,000 draws of 20 of 60 give 1,000 +- 26,
       and 50 +- 7; bounds are five deviations. */
    for (k = 0; k < 3000; k++) {
        genreg_place p = genreg_mark(c);
        t = genreg_sample(c, &d, 20, 1000 + (uint64_t)k);
        identities(c, &t, id);
        first_place[id[0]]++;
        for (i = 0; i < 20; i++) hits[id[i]]++;
        genreg_release(c, p);
    }
    for (i = 0; i < N; i++) CHECK(abs(hits[i] - 1000) <= 130 && abs(first_place[i] - 50) <= 35, "sample %d was drawn %d times, %d times as the first", i, hits[i], first_place[i]);

    genreg_first(c, &d, 0);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "first");
    genreg_sample(c, &d, -3, 1);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "sample: -3");
    memset(&t, 0, sizeof t);
    s = genreg_first(c, &t, 3);
    CHECK(s.n == 0 && !s.bytes && !s.labels, "an empty result after an error");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "empty");
    genreg_sample(c, NULL, 3, 1);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "empty");
    CHECK(genreg_first(NULL, &d, 3).n == 0 && genreg_sample(NULL, &d, 3, 1).n == 0, "without a context");
    genreg_destroy(c);
}

static void test_split(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    static const int want[3][CLASSES] = { { 0, 0, 0, 0 }, { 6, 5, 5, 3 }, { 20, 15, 15, 10 } }; /* of 20, 15, 15, 10: round(.3 n), with 4.5 up */
    static const double fractions[3] = { 0, 0.3, 1 };
    genreg_dataset d = small_set(c), a, b, e;
    int id[N], more[N], count[CLASSES], k, i, ordered;
    for (k = 0; k < 3; k++) {
        genreg_split(c, &d, fractions[k], 11, &a, &b);
        CHECK(a.n + b.n == N && (a.n == 0 || identities(c, &a, id) == 0) && (b.n == 0 || identities(c, &b, id + a.n) == 0), "%d + %d", a.n, b.n);
        CHECK(distinct(id, N), "the two parts are the whole set, fraction %g", fractions[k]);
        memset(count, 0, sizeof count);
        for (i = 0; i < a.n; i++) count[labels[id[i]]]++;
        for (i = 0; i < CLASSES; i++) CHECK(count[i] == want[k][i], "fraction %g: %d of class %d", fractions[k], count[i], i);
    }
    genreg_split(c, &d, 0.3, 11, &a, &b);
    identities(c, &a, id);
    genreg_split(c, &d, 0.3, 11, &e, &b);
    CHECK(e.n == a.n && identities(c, &e, more) == 0 && !memcmp(id, more, (size_t)a.n * sizeof *id), "the same seed, the same split");
    genreg_split(c, &d, 0.3, 12, &e, &b);
    CHECK(identities(c, &e, more) == 0 && memcmp(id, more, (size_t)a.n * sizeof *id) != 0, "another seed, another split");
    for (i = 0, ordered = 0; i < 6; i++) ordered += id[i] == 4 * i; /* class 0 begins with 0, 4, 8, ... */
    CHECK(ordered < 4, "samples are chosen at random");
    genreg_split(c, &a, 0.5, 1, &e, &b); /* of a part: 3, 3, 3, 2 (halves up) */
    CHECK(e.n == 11 && b.n == 8 && identities(c, &e, more) == 0 && identities(c, &b, more + 11) == 0 && distinct(more, 19), "%d and %d", e.n, b.n);

    genreg_split(c, &d, 1.01, 1, &a, &b);
    CHECK(a.n == 0 && b.n == 0, "nothing after an error");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "fraction");
    genreg_split(c, &d, -0.01, 1, &a, &b);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "fraction");
    genreg_split(c, &d, (double)NAN, 1, &a, &b);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "fraction");
    genreg_split(c, NULL, 0.5, 1, &a, &b);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "empty");

    e = d; /* a part may take the place of the whole */
    genreg_split(c, &e, 0.3, 11, &e, &b);
    CHECK(genreg_error(c) == GENREG_OK && e.n == 19 && b.n == 41, "in place: %d and %d, %s", e.n, b.n, genreg_error_message(c));
    genreg_destroy(c);
}

static void test_label_noise(void)
{
    enum { MANY = 4000, KINDS = 5 };
    static unsigned char value[MANY];
    static int is[MANY];
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    const int shape[1] = { 1 };
    genreg_dataset d, s, t;
    int i, changed = 0, by[KINDS] = { 0 }, equal;
    for (i = 0; i < MANY; i++) is[i] = i * i % KINDS;
    d = genreg_dataset_bytes(c, value, is, MANY, 1, shape, KINDS, NULL, NULL);
    s = genreg_label_noise(c, &d, 0.3, 1);
    for (i = 0; i < MANY; i++) {
        changed += s.labels[i] != is[i];
        by[(s.labels[i] - is[i] + KINDS) % KINDS]++;
    }
    CHECK(abs(changed - 1200) < 145, "%d of 4000 labels were changed: 1200 +- 29 expected", changed);
    for (i = 1; i < KINDS; i++) CHECK(abs(by[i] - 300) < 83, "shifted by %d: %d times, 300 +- 17 expected", i, by[i]);
    for (i = 0; i < MANY; i++)
        if (s.labels[i] < 0 || s.labels[i] >= KINDS) break;
    CHECK(i == MANY, "label %d is out of range", i);
    CHECK(s.bytes == d.bytes && s.n == MANY && !s.rows && d.labels == is && s.labels != is, "samples are shared, labels are not");
    t = genreg_label_noise(c, &d, 0.3, 1);
    CHECK(!memcmp(s.labels, t.labels, sizeof is) && s.checksum == t.checksum, "the same seed");
    t = genreg_label_noise(c, &d, 0.3, 2);
    CHECK(memcmp(s.labels, t.labels, sizeof is) != 0, "another seed");
    t = genreg_label_noise(c, &d, 0, 1);
    CHECK(!memcmp(is, t.labels, sizeof is), "p = 0 changes nothing");
    t = genreg_label_noise(c, &d, 1, 1);
    for (i = 0, equal = 0; i < MANY; i++) equal += t.labels[i] == is[i];
    CHECK(equal == 0, "p = 1 leaves %d labels", equal);

    s = genreg_sample(c, &d, 100, 3); /* noise on a subset: the same samples, labels of the subset */
    t = genreg_label_noise(c, &s, 1, 1);
    for (i = 0, equal = 0; i < 100; i++) equal += t.labels[i] == s.labels[i] || t.rows[i] != s.rows[i];
    CHECK(t.n == 100 && equal == 0, "%d", equal);

    genreg_label_noise(c, &d, -0.1, 1);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "label_noise");
    genreg_label_noise(c, &d, 1.5, 1);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "1.5");
    genreg_label_noise(c, &d, (double)NAN, 1);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "nan");
    memset(is, 0, sizeof is);
    d = genreg_dataset_bytes(c, value, is, MANY, 1, shape, 1, NULL, NULL);
    s = genreg_label_noise(c, &d, 0.5, 1); /* there is no other class */
    CHECK(s.n == 0, "%d", s.n);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "1 classes");
    CHECK(genreg_label_noise(c, &d, 0, 1).n == MANY, "p = 0 needs no other class");
    for (i = 0; i < MANY; i++) is[i] = 2147483646 - i; /* as many classes as there can be */
    d = genreg_dataset_bytes(c, value, is, MANY, 1, shape, 2147483647, NULL, NULL);
    s = genreg_label_noise(c, &d, 1, 1);
    for (i = 0, equal = 0; i < MANY; i++) equal += s.labels[i] < 0 || s.labels[i] == 2147483647 || s.labels[i] == is[i];
    CHECK(equal == 0, "%d of 4000 labels are out of range or as they were", equal);
    genreg_destroy(c);
}

static void test_checksums(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    const int shape[1] = { FEATURES };
    static unsigned char copy[N * FEATURES];
    static int label_copy[N];
    static genreg_real reals[N * FEATURES];
    genreg_dataset d = small_set(c), e, s, t, u;
    int i, same = 0;
    memcpy(copy, pixels, sizeof copy);
    memcpy(label_copy, labels, sizeof label_copy);
    e = genreg_dataset_bytes(c, copy, label_copy, N, 1, shape, CLASSES, NULL, NULL);
    CHECK(e.checksum == d.checksum, "equal sets at other places");
    for (i = 0; i < N * FEATURES; i += 7) {
        copy[i] ^= 1;
        same += genreg_dataset_bytes(c, copy, label_copy, N, 1, shape, CLASSES, NULL, NULL).checksum == d.checksum;
        copy[i] ^= 1;
    }
    for (i = 0; i < N; i++) {
        label_copy[i] ^= 1;
        same += genreg_dataset_bytes(c, copy, label_copy, N, 1, shape, CLASSES, NULL, NULL).checksum == d.checksum;
        label_copy[i] ^= 1;
    }
    CHECK(same == 0, "%d changed sets have an unchanged sum", same);
    CHECK(genreg_dataset_bytes(c, copy, label_copy, N - 1, 1, shape, CLASSES, NULL, NULL).checksum != d.checksum, "a sample fewer");

    s = genreg_first(c, &d, 10);
    t = genreg_first(c, &e, 10);
    u = genreg_first(c, &d, 11);
    CHECK(s.checksum == t.checksum && s.checksum != u.checksum && s.checksum != d.checksum, "subsets");
    s = genreg_sample(c, &d, 10, 1);
    t = genreg_sample(c, &e, 10, 1);
    u = genreg_sample(c, &d, 10, 2);
    CHECK(s.checksum == t.checksum && s.checksum != u.checksum, "samples");
    s = genreg_label_noise(c, &d, 0.2, 1);
    t = genreg_label_noise(c, &e, 0.2, 1);
    CHECK(s.checksum == t.checksum && s.checksum != d.checksum, "noise");
    u = genreg_sample(c, &d, N, 1); /* the same samples in another order are another set */
    CHECK(u.checksum != d.checksum, "order");

    { /* the same pixels, normalised otherwise */
        static const float means[] = { 0, 0.5f, -0.5f, 0.25f, 0.500001f }, stds[] = { 1, 1, 1, 1, 1, 0.5f, 2 };
        uint64_t sums[7];
        int k;
        for (i = 0; i < 7; i++) {
            sums[i] = genreg_dataset_bytes(c, pixels, labels, N, 1, shape, CLASSES, i < 5 ? &means[i] : NULL, &stds[i]).checksum;
            for (k = 0; k < i; k++) CHECK(sums[k] != sums[i], "normalisations %d and %d have one sum", k, i);
        }
        CHECK(sums[0] == d.checksum, "no normalisation is mean 0 and deviation 1");
    }

    /* The sum is of what the set holds, not of how it was made. */
    s = genreg_first(c, &d, 10);
    t = genreg_first(c, &s, 5);
    u = genreg_first(c, &d, 5);
    CHECK(t.checksum == u.checksum, "the first 5 of the first 10 are the first 5");
    CHECK(genreg_first(c, &d, N).checksum == d.checksum, "the first %d of %d are the set", N, N);
    CHECK(genreg_label_noise(c, &d, 0, 1).checksum == d.checksum, "noise of 0 leaves the set");

    { /* the sums of a small set as they always were, of either byte order: rows and the files of runs have them */
        static unsigned char few[24] = { 1, 2, 3 };
        static const int four[4] = { 0, 1, 1, 0 }, six[1] = { 6 };
        for (i = 0; i < 24; i++) reals[i] = (genreg_real)(i * i - 50) / 8;
        s = genreg_dataset_bytes(c, few, four, 4, 1, six, 2, NULL, NULL);
        t = genreg_dataset_reals(c, reals, four, 4, 1, six, 2);
        CHECK(s.content == 0x6d154d1d0f34af61u && s.checksum == 0x9ab9d6d08de850ccu, "the sum of a set of bytes");
        CHECK(t.content == (sizeof *reals == 4 ? 0x134886370cdd40dcu : 0x47ea65d5c098d501u) && t.checksum == (sizeof *reals == 4 ? 0xfa924e4bb039de9cu : 0xe9cca4d1fe5fc3c1u), "the sum of a set of reals");
    }
    for (i = 0; i < N * FEATURES; i++) reals[i] = (genreg_real)wild((unsigned)i);
    s = genreg_dataset_reals(c, reals, labels, N, 1, shape, CLASSES);
    reals[N * FEATURES - 1] += (genreg_real)1e-3;
    t = genreg_dataset_reals(c, reals, labels, N, 1, shape, CLASSES);
    reals[N * FEATURES - 1] = (genreg_real)wild(N * FEATURES - 1);
    u = genreg_dataset_reals(c, reals, labels, N, 1, shape, CLASSES);
    CHECK(s.checksum == u.checksum && s.checksum != t.checksum, "reals");
    genreg_destroy(c);
}

static void test_batches(void)
{
    enum { H = 5, W = 4, C = 3, IMAGES = 40 };
    static unsigned char image[IMAGES * H * W * C], large[300 * 300];
    static int label[IMAGES], large_label[300];
    static genreg_real reals[IMAGES * 2];
    const float mean[4] = { 0.4914f, 0.4822f, 0.4465f, 9 }, std[4] = { 0.2023f, 0.1994f, 0.2010f, 9 };
    const double tolerance = sizeof(genreg_real) == 8 ? 1e-14 : 1e-6;
    const int shape[3] = { H, W, C }, flat[1] = { 300 }, two[1] = { 2 }, order[5] = { 7, 7, 0, 39, 3 };
    int threads, i, k, bad;
    for (i = 0; i < IMAGES * H * W * C; i++) image[i] = (unsigned char)(i * 37 + i / 60);
    for (i = 0; i < 300 * 300; i++) large[i] = (unsigned char)(i * 11 + i / 256);
    for (i = 0; i < IMAGES; i++) label[i] = i * 3 % 10;
    for (threads = 1; threads <= 2; threads++) {
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, threads);
        genreg_dataset d = genreg_dataset_bytes(c, image, label, IMAGES, 3, shape, 10, mean, std), s;
        genreg_batch b = genreg_get_batch(c, &d, order, 0, 5);
        CHECK(b.n == 5 && b.classes == 10 && b.x && b.x->rank == 4 && b.x->shape[0] == 5 && b.x->shape[1] == H && b.x->shape[2] == W && b.x->shape[3] == C, "the shape of a batch");
        CHECK(!b.x->tracked, "a batch is no variable");
        for (i = 0, bad = 0; i < 5; i++) {
            bad += b.labels[i] != label[order[i]];
            for (k = 0; k < H * W * C; k++) {
                double want = (image[order[i] * H * W * C + k] / 255.0 - (double)mean[k % C]) / (double)std[k % C];
                bad += !(fabs((double)b.x->data[i * H * W * C + k] - want) <= tolerance * (1 + fabs(want)));
            }
        }
        CHECK(bad == 0, "%d values differ from (pixel/255 - mean)/std", bad);
        b = genreg_get_batch(c, &d, NULL, 31, 9);
        for (i = 0, bad = 0; i < 9; i++) {
            double want = (image[(31 + i) * H * W * C + 1] / 255.0 - (double)mean[1]) / (double)std[1];
            bad += b.labels[i] != label[31 + i] || !(fabs((double)b.x->data[i * H * W * C + 1] - want) <= tolerance * (1 + fabs(want)));
        }
        CHECK(b.n == 9 && bad == 0, "the last nine: %d are wrong", bad);
        s = genreg_sample(c, &d, 10, 1);
        b = genreg_get_batch(c, &s, order + 1, 0, 2); /* places 7 and 0 of the subset */
        bad = b.labels[0] != s.labels[7] || b.labels[1] != s.labels[0];
        for (k = 0; k < H * W * C; k++) {
            double want = (image[s.rows[7] * H * W * C + k] / 255.0 - (double)mean[k % C]) / (double)std[k % C];
            bad += !(fabs((double)b.x->data[k] - want) <= tolerance * (1 + fabs(want)));
        }
        CHECK(bad == 0, "the order is of the subset: %d", bad);

        d = genreg_dataset_bytes(c, large, large_label, 300, 1, flat, 1, NULL, NULL); /* enough to be shared by threads; [0, 1] */
        b = genreg_get_batch(c, &d, NULL, 0, 300);
        for (i = 0, bad = 0; i < 300 * 300; i++) bad += !(fabs((double)b.x->data[i] - large[i] / 255.0) <= tolerance);
        CHECK(bad == 0 && b.x->rank == 2, "%d of 90000 values are wrong with %d threads", bad, threads);

        for (i = 0; i < IMAGES * 2; i++) reals[i] = (genreg_real)wild((unsigned)i);
        d = genreg_dataset_reals(c, reals, label, IMAGES, 1, two, 10);
        b = genreg_get_batch(c, &d, order, 0, 5);
        for (i = 0, bad = 0; i < 10; i++) bad += memcmp(&b.x->data[i], &reals[2 * order[i / 2] + i % 2], sizeof(genreg_real)) != 0;
        CHECK(bad == 0, "reals are used as they are");

        genreg_get_batch(c, &d, NULL, 36, 5);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "get_batch: 5 samples from 36 on, of 40");
        genreg_get_batch(c, &d, NULL, -1, 5);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "get_batch");
        genreg_get_batch(c, &d, NULL, 2147483647, 2147483647);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "get_batch");
        b = genreg_get_batch(c, &d, NULL, 0, 0);
        CHECK(!b.x && !b.labels && b.n == 0, "no batch after an error");
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "get_batch");
        bad = 40;
        genreg_get_batch(c, &d, &bad, 0, 1);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "40");
        bad = -1;
        genreg_get_batch(c, &d, &bad, 0, 1);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "-1");
        memset(&s, 0, sizeof s);
        genreg_get_batch(c, &s, NULL, 0, 1);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "empty");
        genreg_destroy(c);
    }
}

/* Every image of an augmented batch is its plain image moved by some (dy, dx) with |dy|, |dx| <= crop, zeros coming in, and then perhaps
   mirrored: each of the 2 (2 crop + 1)^2 ways as often as the others, and the same way whatever the batch, the order and the threads. */
static void test_augmentation(void)
{
    enum { H = 5, W = 4, C = 3, IMAGES = 3000, CROP = 2, WAYS = 2 * 5 * 5, VALUES = (H + 2) * (W + 2) * C };
    static unsigned char image[IMAGES * H * W * C];
    static genreg_real reals[IMAGES * H * W * C], first_seen[IMAGES * VALUES];
    static int label[IMAGES], order[IMAGES];
    const float mean[3] = { 0.4914f, 0.4822f, 0.4465f }, std[3] = { 0.2023f, 0.1994f, 0.2010f };
    const int shape[3] = { H, W, C }, flat[1] = { H * W * C };
    int kind, i, k;
    for (i = 0; i < IMAGES * H * W * C; i++) {
        reals[i] = (genreg_real)wild((unsigned)i);
        image[i] = (unsigned char)(reals[i] * 100 + 120);
    }
    for (kind = 0; kind < 8; kind++) { /* reals or bytes, with a border of their own or without, with one thread or two */
        const int threads = 1 + kind % 2, pad = kind / 2 % 2, h = H + 2 * pad, w = W + 2 * pad, values = h * w * C;
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, threads);
        genreg_dataset d = kind / 4 ? genreg_dataset_bytes(c, image, label, IMAGES, 3, shape, 1, mean, std) : genreg_dataset_reals(c, reals, label, IMAGES, 3, shape, 1);
        genreg_batch plain, b, other;
        int count[WAYS] = { 0 }, lost = 0, flips, same;
        double chi2 = 0;
        d = genreg_pad(c, &d, pad);
        plain = genreg_get_batch(c, &d, NULL, 0, IMAGES);
        b = genreg_get_augmented_batch(c, &d, NULL, 0, IMAGES, 1, CROP, 42, 3);
        CHECK(b.x && plain.x && b.x->size == (ptrdiff_t)IMAGES * values && b.n == IMAGES && b.labels[7] == label[7], "%s", genreg_error_message(c));
        if (!b.x || !plain.x) { genreg_destroy(c); continue; }
        for (i = 0; i < IMAGES; i++) {
            int way, found = -1;
            for (way = 0; way < WAYS && found < 0; way++) {
                const int dy = way / 2 / 5 - CROP, dx = way / 2 % 5 - CROP, mirrored = way % 2;
                for (k = 0; k < values; k++) {
                    const int ch = k % C, x = mirrored ? w - 1 - k / C % w : k / C % w, y = k / C / w, from_y = y - dy, from_x = x - dx;
                    const int inside = from_y >= 0 && from_y < h && from_x >= 0 && from_x < w;
                    const genreg_real want = inside ? plain.x->data[(ptrdiff_t)i * values + (from_y * w + from_x) * C + ch] : 0;
                    if (b.x->data[(ptrdiff_t)i * values + k] != want) break;
                }
                if (k == values) found = way;
            }
            if (found < 0) lost++;
            else count[found]++;
        }
        for (i = 0, flips = 0; i < WAYS; i++) {
            const double expected = (double)IMAGES / WAYS;
            chi2 += (count[i] - expected) * (count[i] - expected) / expected;
            flips += i % 2 ? count[i] : 0;
        }
        CHECK(lost == 0, "%d of %d images are not their plain ones moved and mirrored", lost, IMAGES);
        CHECK(chi2 < 85.4, "chi-squared is %g with 49 degrees of freedom; 85.4 is passed once in 1000", chi2);
        CHECK(abs(flips - IMAGES / 2) < 90, "%d of %d are mirrored", flips, IMAGES); /* 3.3 standard deviations */
        if (kind % 4 == 1 || kind % 4 == 3) CHECK(!memcmp(first_seen, b.x->data, (size_t)b.x->size * sizeof(genreg_real)), "two threads give other bits than one");
        memcpy(first_seen, b.x->data, (size_t)b.x->size * sizeof(genreg_real));
        for (i = 0; i < IMAGES; i++) order[i] = (i * 7 + 5) % IMAGES; /* 7 and 3000 have no common divisor */
        other = genreg_get_augmented_batch(c, &d, order, 0, 100, 1, CROP, 42, 3);
        for (i = 0, same = 0; i < 100; i++) same += !memcmp(other.x->data + (ptrdiff_t)i * values, b.x->data + (ptrdiff_t)order[i] * values, (size_t)values * sizeof(genreg_real));
        CHECK(same == 100, "%d of 100 samples have the same draws in another batch and order", same);
        other = genreg_get_augmented_batch(c, &d, NULL, 0, IMAGES, 1, CROP, 42, 4);
        for (i = 0, same = 0; i < IMAGES; i++) same += !memcmp(other.x->data + (ptrdiff_t)i * values, b.x->data + (ptrdiff_t)i * values, (size_t)values * sizeof(genreg_real));
        CHECK(same < 120, "%d of %d samples have the same draws in another epoch; one in %d is chance", same, IMAGES, WAYS);
        other = genreg_get_augmented_batch(c, &d, NULL, 0, IMAGES, 1, CROP, 43, 3);
        for (i = 0, same = 0; i < IMAGES; i++) same += !memcmp(other.x->data + (ptrdiff_t)i * values, b.x->data + (ptrdiff_t)i * values, (size_t)values * sizeof(genreg_real));
        CHECK(same < 120, "%d of %d samples have the same draws under another seed", same, IMAGES);
        other = genreg_get_augmented_batch(c, &d, NULL, 0, IMAGES, 0, 0, 42, 3);
        CHECK(!memcmp(other.x->data, plain.x->data, (size_t)plain.x->size * sizeof(genreg_real)), "neither flip nor crop: the images as they are");
        if (kind % 2 == 0) { /* flip alone mirrors and moves nothing */
            other = genreg_get_augmented_batch(c, &d, NULL, 0, IMAGES, 1, 0, 42, 3);
            for (i = 0, lost = flips = 0; i < IMAGES; i++) {
                int as_is = 0, mirrored = 0;
                for (k = 0; k < values; k++) {
                    const genreg_real *from = plain.x->data + (ptrdiff_t)i * values, value = other.x->data[(ptrdiff_t)i * values + k];
                    as_is += value == from[k];
                    mirrored += value == from[(k / C / w * w + w - 1 - k / C % w) * C + k % C];
                }
                lost += as_is != values && mirrored != values;
                flips += mirrored == values;
            }
            CHECK(lost == 0 && abs(flips - IMAGES / 2) < 90, "flip: %d lost, %d of %d mirrored", lost, flips, IMAGES);
        }
        genreg_destroy(c);
    }
    {
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
        genreg_dataset d = genreg_dataset_reals(c, reals, label, 4, 1, flat, 1);
        CHECK(!genreg_get_augmented_batch(c, &d, NULL, 0, 4, 1, 0, 1, 1).x, "a flat set");
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "get_batch: flip and crop take images [height,width,channels], and the samples have 1 axes");
        CHECK(!genreg_get_augmented_batch(c, &d, NULL, 0, 4, 0, 1, 1, 1).x, "a flat set");
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "images");
        CHECK(genreg_get_augmented_batch(c, &d, NULL, 0, 4, 0, 0, 1, 1).x != NULL, "with neither any set will do");
        d = genreg_dataset_reals(c, reals, label, 4, 3, shape, 1);
        CHECK(!genreg_get_augmented_batch(c, &d, NULL, 0, 4, 0, -1, 1, 1).x, "a negative crop");
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "crop is -1");
        CHECK(!genreg_get_augmented_batch(c, &d, NULL, 0, 4, 0, 4, 1, 1).x, "the image would leave its frame");
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "crop is 4 for images of 5 x 4");
        CHECK(genreg_get_augmented_batch(c, &d, NULL, 0, 4, 1, 3, 1, 1).x != NULL, "%s", genreg_error_message(c));
        genreg_destroy(c);
    }
}

/* A border of zeros, after normalisation, around each image. */
static void test_pad(void)
{
    enum { H = 3, W = 2, C = 2, IMAGES = 6 };
    static unsigned char image[IMAGES * H * W * C];
    static genreg_real reals[IMAGES * H * W * C];
    static int label[IMAGES];
    const float mean[2] = { 0.5f, 0.25f }, std[2] = { 2, 0.5f };
    const int shape[3] = { H, W, C }, flat[1] = { H * W * C }, order[3] = { 5, 0, 2 }, long_shape[3] = { 1, 1, 100000 };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_dataset d, p, twice;
    int i, k, y, x, kind, bad;
    for (i = 0; i < IMAGES * H * W * C; i++) {
        image[i] = (unsigned char)(i * 3 + 1);
        reals[i] = (genreg_real)wild((unsigned)i);
    }
    for (kind = 0; kind < 2; kind++) {
        d = kind ? genreg_dataset_reals(c, reals, label, IMAGES, 3, shape, 1) : genreg_dataset_bytes(c, image, label, IMAGES, 3, shape, 1, mean, std);
        p = genreg_pad(c, &d, 2);
        CHECK(p.n == IMAGES && p.shape[0] == H + 4 && p.shape[1] == W + 4 && p.shape[2] == C && p.features == (H + 4) * (W + 4) * C && p.pad == 2 && d.pad == 0, "%s", genreg_error_message(c));
        CHECK(p.checksum != d.checksum && p.checksum == genreg_pad(c, &d, 2).checksum && p.checksum != genreg_pad(c, &d, 1).checksum, "its checksum");
        for (k = 0; k < 2; k++) { /* of the set, and of a subset of it; padding in two goes is the same */
            genreg_dataset s = k ? genreg_sample(c, &p, 4, 1) : p;
            const int places[3] = { 3, 0, 2 }, *rows = k ? s.rows : NULL;
            genreg_batch b = genreg_get_batch(c, &s, k ? places : order, 0, 3);
            for (i = 0, bad = 0; i < 3 && b.x; i++) {
                int stored = k ? rows[places[i]] : order[i], ch;
                for (y = 0; y < H + 4; y++)
                    for (x = 0; x < W + 4; x++)
                        for (ch = 0; ch < C; ch++) {
                            int at = ((stored * H + y - 2) * W + x - 2) * C + ch, inside = y >= 2 && y < H + 2 && x >= 2 && x < W + 2;
                            double want = !inside ? 0 : kind ? (double)reals[at] : (image[at] / 255.0 - (double)mean[ch]) / (double)std[ch];
                            bad += !(fabs((double)b.x->data[((i * (H + 4) + y) * (W + 4) + x) * C + ch] - want) <= 1e-6 * fabs(want));
                        }
            }
            CHECK(b.x && bad == 0, "%d padded values are wrong", bad);
        }
        twice = genreg_pad(c, &d, 1);
        twice = genreg_pad(c, &twice, 1);
        CHECK(twice.checksum == p.checksum && twice.features == p.features && twice.pad == 2, "1 and 1 is 2");
        CHECK(genreg_pad(c, &d, 0).checksum == d.checksum, "no border changes nothing");
    }
    genreg_pad(c, &d, -1);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "pad");
    genreg_pad(c, &d, 2147483647);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "pad");
    d = genreg_dataset_reals(c, reals, label, IMAGES, 1, flat, 1);
    genreg_pad(c, &d, 1);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "height");
    {
        genreg_real *wide = (genreg_real *)calloc(100000, sizeof *wide);
        d = genreg_dataset_reals(c, wide, label, 1, 3, long_shape, 1);
        p = genreg_pad(c, &d, 4096); /* more values in a sample than an int counts */
        CHECK(p.n == 0, "%d features", p.features);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "pad");
        free(wide);
    }
    memset(&d, 0, sizeof d);
    genreg_pad(c, &d, 1);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "empty");
    genreg_destroy(c);
}

static void test_one_hot(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    int label[4] = { 2, 0, 1, 2 }, i, k, bad = 0;
    genreg_tensor *y = genreg_one_hot(c, label, 4, 3);
    CHECK(y && y->rank == 2 && y->shape[0] == 4 && y->shape[1] == 3 && !y->tracked, "its shape");
    for (i = 0; y && i < 4; i++)
        for (k = 0; k < 3; k++) bad += (double)y->data[3 * i + k] != (k == label[i]);
    CHECK(bad == 0, "%d wrong values", bad);
    label[3] = 3;
    CHECK(!genreg_one_hot(c, label, 4, 3), "a label that is no class");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "one_hot");
    label[3] = -1;
    genreg_one_hot(c, label, 4, 3);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "-1");
    genreg_one_hot(c, label, 0, 3);
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "extent 0");
    genreg_one_hot(c, label, 1, -2);
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "extent -2");
    genreg_destroy(c);
}

/* Every argument of the dataset functions, wrong in turn. */
static void test_bad_datasets(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    const unsigned char px[8] = { 0 };
    const genreg_real re[8] = { 0 };
    int lb[4] = { 0, 1, 0, 1 };
    const int shape[3] = { 1, 1, 2 }, five[3] = { 1, 1, 5 }, four[3] = { 1, 1, 4 }, zero[3] = { 1, 0, 2 }, negative[1] = { -2 }, huge[3] = { 2147483647, 2147483647, 2147483647 },
              wide[3] = { 65536, 65536, 1 };
    float mean[4] = { 0, 0, 0, 0 }, std[4] = { 1, 1, 1, 1 };
    static const float no_deviation[4] = { 0, -1, (float)NAN, (float)INFINITY };
    genreg_dataset d;
    int i;
    d = genreg_dataset_bytes(c, px, lb, 2, 3, four, 2, mean, std);
    CHECK(genreg_error(c) == GENREG_OK && d.n == 2 && d.features == 4 && d.classes == 2, "four channels are possible: %s", genreg_error_message(c));
    d = genreg_dataset_bytes(c, px, lb, 0, 3, shape, 2, NULL, NULL);
    CHECK(d.n == 0 && !d.bytes && !d.labels && d.checksum == 0, "an empty set after an error");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "0 samples");
    genreg_dataset_bytes(c, px, lb, -4, 3, shape, 2, NULL, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "-4 samples");
    genreg_dataset_bytes(c, NULL, lb, 4, 3, shape, 2, NULL, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no pixels");
    genreg_dataset_bytes(c, px, NULL, 4, 3, shape, 2, NULL, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "labels");
    for (i = -1; i <= 4; i++) { /* [features] and [height, width, channels]; "height x width" is neither */
        if (i == 1 || i == 3) continue;
        CHECK(genreg_dataset_bytes(c, px, lb, 4, i, shape, 2, NULL, NULL).n == 0, "bytes of rank %d", i);
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "rank");
        CHECK(genreg_dataset_reals(c, re, lb, 4, i, shape, 2).n == 0, "reals of rank %d", i);
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "rank");
    }
    genreg_dataset_bytes(c, px, lb, 4, 3, NULL, 2, NULL, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no shape");
    genreg_dataset_bytes(c, px, lb, 4, 3, shape, 0, NULL, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "0 classes");
    genreg_dataset_bytes(c, px, lb, 4, 3, five, 2, NULL, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "4 channels");
    genreg_dataset_bytes(c, px, lb, 4, 3, zero, 2, NULL, NULL);
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "extent 0");
    genreg_dataset_bytes(c, px, lb, 4, 1, negative, 2, NULL, NULL);
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "extent -2");
    genreg_dataset_bytes(c, px, lb, 4, 3, huge, 2, NULL, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "more than this machine can address");
    genreg_dataset_bytes(c, px, lb, 4, 3, wide, 2, NULL, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "dataset");
    for (i = 0; i < 4; i++) {
        std[1] = no_deviation[i];
        d = genreg_dataset_bytes(c, px, lb, 4, 3, shape, 2, mean, std);
        CHECK(d.n == 0, "a standard deviation of %g", (double)std[1]);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "channel 1");
    }
    std[1] = 1;
    for (i = 2; i < 4; i++) {
        mean[1] = no_deviation[i];
        genreg_dataset_bytes(c, px, lb, 4, 3, shape, 2, mean, std);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "channel 1");
    }
    lb[2] = 2;
    genreg_dataset_bytes(c, px, lb, 4, 3, shape, 2, NULL, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "index[2] = 2 is not in 0 ... 1");
    lb[2] = -1;
    genreg_dataset_reals(c, re, lb, 4, 1, shape + 2, 2);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "-1");
    lb[2] = 0;
    genreg_dataset_reals(c, NULL, lb, 4, 1, shape + 2, 2);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no values");
    genreg_dataset_reals(c, re, lb, 0, 1, shape + 2, 2);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "0 samples");
    d = genreg_dataset_reals(c, re, lb, 1, 3, five, 2);
    CHECK(d.n == 1 && genreg_error(c) == GENREG_OK, "reals may have any number of channels");
    CHECK(genreg_dataset_bytes(NULL, px, lb, 4, 3, shape, 2, NULL, NULL).n == 0 && genreg_dataset_reals(NULL, re, lb, 4, 1, shape + 2, 2).n == 0, "without a context");
    genreg_destroy(c);
}

/* ------------------------------------------------------------------------------------------------ models */

/* Where the last parameter ends. The vector itself need not exist, so that the widest nets cost nothing here. */
static ptrdiff_t parameters_of(const genreg_model *m)
{
    const genreg_parameter *last = &m->parameters[m->parameter_count - 1];
    return last->offset + last->size;
}

static void test_counts(void)
{
    static const int width[] = { 8, 16, 32, 64, 128, 256, 512, 1024, 4096 };
    static const long count[] = { 6514, 13274, 27562, 59210, 134794, 335114, 932362, 2913290, 36818954 };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    int i, k, sizes[5] = { 784, 0, 0, 0, 10 };
    for (i = 0; i < 9; i++) {
        genreg_model *m = genreg_model_create(c, 1, sizes);
        for (k = 0; k < 3; k++) { genreg_layer_linear(m, width[i]); genreg_layer_relu(m); }
        genreg_layer_linear(m, 10);
        CHECK(parameters_of(m) == count[i] && m->layer_count == 7 && m->parameter_count == 8, "MLP(%d) has %ld parameters", width[i], (long)parameters_of(m));
        genreg_model_free(m);
        if (width[i] > 256) continue;
        for (k = 1; k < 4; k++) sizes[k] = width[i];
        m = genreg_mlp(c, sizes, 5);
        CHECK(m && m->theta->size == count[i] && m->theta->tracked && m->theta->rank == 1 && m->layer_count == 7 && !m->state, "genreg_mlp: %ld", m ? (long)m->theta->size : -1L);
        genreg_model_free(m);
    }
    { /* the convolutional nets, and what batch norm adds */
        static const int cnn_width[] = { 4, 8, 16, 32, 64, 96 };
        static const long cnn_count[] = { 72990, 152082, 337050, 814122, 2196810, 4150890 };
        const int colour[3] = { 32, 32, 3 };
        genreg_model *m;
        for (i = 0; i < 6; i++) {
            m = genreg_cnn(c, colour, cnn_width[i], 0, 10);
            CHECK(m && m->theta->size == cnn_count[i] && m->layer_count == 19 && !m->state, "CNN(%d) has %ld parameters: %s", cnn_width[i], m ? (long)m->theta->size : -1L, genreg_error_message(c));
            genreg_model_free(m);
        }
        m = genreg_cnn(c, colour, 32, 1, 10);
        CHECK(m && m->theta->size == 814122 + 896 && m->layer_count == 25 && m->state && m->state->size == 896 && m->state_count == 12 && m->scheme == GENREG_INIT_PYTORCH, "with batch norm: %s", genreg_error_message(c));
        genreg_model_free(m);
        CHECK(!genreg_cnn(c, colour, 0, 0, 10), "no width");
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "cnn: width 0");
        CHECK(!genreg_cnn(c, NULL, 4, 0, 10), "no shape");
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "cnn");
        CHECK(!genreg_cnn(c, sizes + 1, 4, 0, 0), "no classes");
        CHECK(genreg_error(c) != GENREG_OK, "no classes");
        genreg_clear_error(c);
        CHECK(!genreg_cnn(NULL, colour, 4, 0, 10), "without a context");
    }
    genreg_destroy(c);
}

static void test_layout(void)
{
    static const struct { const char *name; int layer, kind, rank, rows, columns, fan_in, fan_out; } want[] = {
        { "features.1.weight", 1, GENREG_KIND_WEIGHT, 2, 12, 7, 12, 7 }, { "features.1.bias", 1, GENREG_KIND_BIAS, 1, 7, 0, 12, 7 },
        { "classifier.1.weight", 4, GENREG_KIND_WEIGHT, 2, 7, 5, 7, 5 }, { "classifier.1.bias", 4, GENREG_KIND_BIAS, 1, 5, 0, 7, 5 },
        { "classifier.3.weight", 6, GENREG_KIND_WEIGHT, 2, 5, 2, 5, 2 }, { "classifier.3.bias", 6, GENREG_KIND_BIAS, 1, 2, 0, 5, 2 },
    };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    const int shape[3] = { 3, 2, 2 };
    genreg_model *m = genreg_model_create(c, 3, shape);
    ptrdiff_t at = 0;
    int i;
    genreg_model_scope(m, "features");
    genreg_layer_flatten(m);
    genreg_layer_linear(m, 7);
    genreg_layer_relu(m);
    genreg_model_scope(m, "classifier");
    genreg_layer_dropout(m, 0.25);
    genreg_layer_linear(m, 5);
    genreg_layer_tanh(m);
    genreg_layer_linear(m, 2);
    genreg_layer_sigmoid(m);
    CHECK(!m->theta, "no vector before genreg_init");
    genreg_init(m, GENREG_INIT_HE, 42);
    CHECK(m->parameter_count == 6 && m->layer_count == 8 && m->scheme == GENREG_INIT_HE && m->seed == 42, "%d parameters in %d layers", m->parameter_count, m->layer_count);
    for (i = 0; i < 6 && i < m->parameter_count; i++) {
        const genreg_parameter *p = &m->parameters[i];
        CHECK(!strcmp(p->name, want[i].name), "parameter %d is %s", i, p->name);
        CHECK(p->layer == want[i].layer && p->kind == want[i].kind && p->rank == want[i].rank && p->shape[0] == want[i].rows && p->shape[1] == want[i].columns
              && p->fan_in == want[i].fan_in && p->fan_out == want[i].fan_out, "%s", p->name);
        CHECK(p->offset == at && p->size == want[i].rows * (want[i].columns ? want[i].columns : 1), "%s at %ld", p->name, (long)p->offset);
        at += p->size;
    }
    CHECK(m->theta && m->theta->size == at && m->theta->shape[0] == at, "the ranges fill theta");
    genreg_model_free(m);

    { /* convolutions are [height, width, in, out] in memory; batch norm has parameters and states; all are named as torch.nn.Sequential would */
        static const struct { const char *name; int kind, rank, shape[4], fan_in; } have[] = {
            { "features.0.weight", GENREG_KIND_WEIGHT, 4, { 3, 3, 1, 2 }, 9 }, { "features.0.bias", GENREG_KIND_BIAS, 1, { 2, 0, 0, 0 }, 9 },
            { "features.1.weight", GENREG_KIND_NORM_WEIGHT, 1, { 2, 0, 0, 0 }, 2 }, { "features.1.bias", GENREG_KIND_NORM_BIAS, 1, { 2, 0, 0, 0 }, 2 },
            { "features.3.weight", GENREG_KIND_WEIGHT, 4, { 3, 3, 2, 2 }, 18 },
        };
        const int small[3] = { 16, 8, 1 };
        genreg_model *n = genreg_cnn(c, small, 2, 1, 3);
        int kinds = 0;
        at = 0;
        for (i = 0; n && i < 5; i++) {
            const genreg_parameter *p = &n->parameters[i];
            CHECK(!strcmp(p->name, have[i].name) && p->kind == have[i].kind && p->rank == have[i].rank && !memcmp(p->shape, have[i].shape, sizeof p->shape) && p->fan_in == have[i].fan_in, "%s", p->name);
        }
        for (i = 0; n && i < n->parameter_count; i++) {
            CHECK(n->parameters[i].offset == at, "%s at %ld", n->parameters[i].name, (long)n->parameters[i].offset);
            at += n->parameters[i].size;
            kinds |= n->parameters[i].kind;
        }
        CHECK(n && at == n->theta->size && kinds == GENREG_KIND_ALL, "all of theta, all kinds");
        CHECK(n && !strcmp(n->parameters[n->parameter_count - 1].name, "classifier.3.bias") && n->parameters[n->parameter_count - 4].shape[0] == 8 * 2 * 1, "the classifier");
        CHECK(n && !strcmp(n->states[0].name, "features.1.running_mean") && !strcmp(n->states[1].name, "features.1.running_var") && !strcmp(n->states[3].name, "features.4.running_var")
              && n->states[1].offset == 2 && n->states[1].size == 2, "states");
        for (i = 0; n && i < n->state->size; i++) CHECK((double)n->state->data[i] == (i / 2 % 2 && i < 8 ? 1 : i < 8 ? 0 : (double)n->state->data[i]), "running means start at 0, variances at 1");
        for (i = 0; n && i < n->parameter_count; i++) {
            const genreg_parameter *p = &n->parameters[i];
            ptrdiff_t k;
            if (p->kind == GENREG_KIND_NORM_WEIGHT || p->kind == GENREG_KIND_NORM_BIAS)
                for (k = 0; k < p->size; k++) CHECK((double)n->theta->data[p->offset + k] == (p->kind == GENREG_KIND_NORM_WEIGHT), "gamma starts at 1, beta at 0: %s", p->name);
        }
    }

    i = 3;
    m = genreg_model_create(c, 1, &i); /* without a scope */
    genreg_layer_linear(m, 2);
    genreg_layer_relu(m);
    genreg_layer_linear(m, 2);
    CHECK(!strcmp(m->parameters[0].name, "0.weight") && !strcmp(m->parameters[3].name, "2.bias"), "%s", m->parameters[3].name);
    genreg_destroy(c);
}

/* Mean, spread, shape and bounds of each parameter under each scheme; bounds are five standard deviations of the estimate. */
static void test_initialisation(void)
{
    static const char *const scheme_name[] = { "PYTORCH", "HE", "XAVIER", "NTK" };
    const int sizes[] = { 120, 90, 70, 40 };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_model *m = genreg_mlp(c, sizes, 4), *other;
    int scheme, i, same;
    ptrdiff_t k, n = m->theta->size;
    genreg_real *copy = (genreg_real *)malloc((size_t)n * sizeof *copy);
    const genreg_tensor *theta = m->theta;
    CHECK(m->scheme == GENREG_INIT_PYTORCH && m->seed == 0, "genreg_mlp draws PYTORCH with seed 0");
    memcpy(copy, m->theta->data, (size_t)n * sizeof *copy);
    genreg_init(m, GENREG_INIT_PYTORCH, 0);
    CHECK(m->theta == theta && !memcmp(copy, m->theta->data, (size_t)n * sizeof *copy), "drawing again with the same seed gives the same bits in the same place");
    genreg_init(m, GENREG_INIT_PYTORCH, 1);
    for (k = 0, same = 0; k < n; k++) same += copy[k] == m->theta->data[k];
    CHECK(same < 3, "another seed: %d equal values", same);

    for (scheme = 0; scheme < GENREG_INIT_COUNT; scheme++) {
        genreg_init(m, (genreg_init_scheme)scheme, 77);
        for (i = 0; i < m->parameter_count; i++) {
            const genreg_parameter *p = &m->parameters[i];
            const genreg_real *w = m->theta->data + p->offset;
            double bound = 0, deviation = 0, mean = 0, square = 0, fourth = 0, top = 0, size = (double)p->size;
            if (scheme == GENREG_INIT_PYTORCH) bound = 1 / sqrt((double)p->fan_in);
            else if (scheme == GENREG_INIT_XAVIER) bound = p->kind == GENREG_KIND_WEIGHT ? sqrt(6.0 / (p->fan_in + p->fan_out)) : 0;
            else deviation = p->kind == GENREG_KIND_BIAS ? 0 : scheme == GENREG_INIT_HE ? sqrt(2.0 / p->fan_in) : 1;
            for (k = 0; k < p->size; k++) {
                double x = (double)w[k];
                mean += x / size;
                square += x * x / size;
                fourth += x * x * x * x / size;
                if (fabs(x) > top) top = fabs(x);
            }
            if (bound > 0) {
                double variance = bound * bound / 3;
                CHECK(top <= bound * (1 + 1e-7) && top > bound * (1 - 12 / size), "%s %s: largest %g, bound %g", scheme_name[scheme], p->name, top, bound);
                CHECK(fabs(mean) < 5 * sqrt(variance / size), "%s %s: mean %g", scheme_name[scheme], p->name, mean);
                CHECK(fabs(square / variance - 1) < 5 * sqrt(0.8 / size), "%s %s: variance %g of %g", scheme_name[scheme], p->name, square, variance);
                CHECK(fabs(fourth / (variance * variance) - 1.8) < 20 / sqrt(size), "%s %s: kurtosis %g of 1.8", scheme_name[scheme], p->name, fourth / (variance * variance));
            } else if (deviation > 0) {
                double variance = deviation * deviation;
                CHECK(fabs(mean) < 5 * sqrt(variance / size), "%s %s: mean %g", scheme_name[scheme], p->name, mean);
                CHECK(fabs(square / variance - 1) < 5 * sqrt(2 / size), "%s %s: variance %g of %g", scheme_name[scheme], p->name, square, variance);
                CHECK(fabs(fourth / (variance * variance) - 3) < 50 / sqrt(size), "%s %s: kurtosis %g of 3", scheme_name[scheme], p->name, fourth / (variance * variance));
                CHECK(top > 3 * deviation && top < 6 * deviation, "%s %s: largest %g", scheme_name[scheme], p->name, top);
            } else CHECK(top == 0, "%s %s is 0", scheme_name[scheme], p->name);
        }
    }

    /* A parameter's draws depend on the seed and its place in the list alone, and no two parameters share them. */
    genreg_init(m, GENREG_INIT_NTK, 5);
    {
        int longer[] = { 120, 90, 30, 30, 30 };
        double product = 0;
        const genreg_parameter *first = &m->parameters[0], *second = &m->parameters[2];
        other = genreg_mlp(c, longer, 5);
        genreg_init(other, GENREG_INIT_NTK, 5);
        CHECK(!memcmp(other->theta->data, m->theta->data, (size_t)(90 * 120) * sizeof(genreg_real)), "layers behind it do not change a layer's draws");
        for (k = 0; k < second->size; k++) product += (double)m->theta->data[first->offset + k] * (double)m->theta->data[second->offset + k];
        CHECK(fabs(product) < 5 * sqrt((double)second->size), "two layers are correlated: %g", product / (double)second->size);
    }
    genreg_init(m, (genreg_init_scheme)GENREG_INIT_COUNT, 1);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "init");
    genreg_init(m, (genreg_init_scheme)-1, 1);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "init");
    free(copy);
    genreg_destroy(c);
}

/* The plainest possible forward pass: one sample, layer by layer, in double. kinds: l linear, r relu, t tanh, s sigmoid, - nothing
   (flatten, or dropout in evaluation). scale: of the input of each linear layer. values[i] gets the output of layer i. */
static void by_hand(const genreg_model *m, const char *kinds, const double *scale, const genreg_real *x, int n, double values[][64])
{
    double in[64], out[64];
    int layer, i, k, parameter = 0;
    for (i = 0; i < n; i++) in[i] = (double)x[i];
    for (layer = 0; kinds[layer]; layer++) {
        if (kinds[layer] == 'l') {
            const genreg_parameter *p = &m->parameters[parameter];
            const genreg_real *w = m->theta->data + p[0].offset, *b = m->theta->data + p[1].offset;
            double s = scale ? scale[parameter / 2] : 1;
            for (k = 0; k < p->shape[1]; k++) {
                out[k] = 0;
                for (i = 0; i < p->shape[0]; i++) out[k] += s * in[i] * (double)w[i * p->shape[1] + k];
                out[k] += (double)b[k];
            }
            n = p->shape[1];
            parameter += 2;
        } else
            for (i = 0; i < n; i++)
                out[i] = kinds[layer] == 'r' ? (in[i] > 0 ? in[i] : 0) : kinds[layer] == 't' ? tanh(in[i]) : kinds[layer] == 's' ? 1 / (1 + exp(-in[i])) : in[i];
        for (i = 0; i < n; i++) values[layer][i] = in[i] = out[i];
    }
}

static double worst_row(const genreg_tensor *y, int row, const double *want, int n)
{
    double worst = 0;
    int i;
    for (i = 0; i < n; i++) {
        double d = fabs((double)y->data[(ptrdiff_t)row * n + i] - want[i]);
        if (!(d <= worst)) worst = d;
    }
    return worst;
}

/* A model with every kind of layer on images, and biases that are not 0. */
static genreg_model *every_kind(genreg_ctx *c, genreg_init_scheme scheme)
{
    const int shape[3] = { 4, 3, 2 };
    genreg_model *m = genreg_model_create(c, 3, shape);
    int i;
    genreg_layer_flatten(m);
    genreg_layer_linear(m, 17);
    genreg_layer_relu(m);
    genreg_layer_dropout(m, 0.4);
    genreg_layer_linear(m, 13);
    genreg_layer_tanh(m);
    genreg_layer_linear(m, 9);
    genreg_layer_sigmoid(m);
    genreg_layer_linear(m, 11);
    genreg_layer_relu(m);
    genreg_layer_linear(m, 5);
    genreg_init(m, scheme, 3);
    for (i = 0; i < m->parameter_count; i++)
        if (m->parameters[i].kind == GENREG_KIND_BIAS) {
            ptrdiff_t k;
            for (k = 0; k < m->parameters[i].size; k++) m->theta->data[m->parameters[i].offset + k] = (genreg_real)(0.3 * wild((unsigned)(100 * i + k)));
        }
    return m;
}
static const char every_kind_by_hand[] = "-lr-ltlslrl";

static genreg_tensor *some_images(genreg_ctx *c, int n)
{
    int shape[4] = { 0, 4, 3, 2 }, i;
    genreg_tensor *x;
    shape[0] = n;
    x = genreg_constant(c, 4, shape, NULL);
    for (i = 0; x && i < 24 * n; i++) x->data[i] = (genreg_real)(2 * wild((unsigned)i));
    return x;
}

static void test_forward(void)
{
    static double values[16][64];
    const double tolerance = sizeof(genreg_real) == 8 ? 1e-12 : 1e-5;
    int isa, scheme, n, row, i;
    for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++) {
        genreg_ctx *c;
        if (!genreg_isa_available((genreg_isa)isa)) continue;
        c = check_context((genreg_isa)isa, 1);
        for (scheme = 0; scheme < GENREG_INIT_COUNT; scheme += 3) /* PYTORCH and NTK */
            for (n = 1; n < 40; n = 3 * n + 2) {
                double scale[5], worst = 0, d;
                genreg_model *m = every_kind(c, (genreg_init_scheme)scheme);
                genreg_tensor *x = some_images(c, n), *y = genreg_forward(m, m->theta, x, NULL), *flat;
                int shape[2];
                for (i = 0; i < 5; i++) scale[i] = scheme == GENREG_INIT_NTK ? sqrt((i == 0 || i == 3 ? 2.0 : 1.0) / m->parameters[2 * i].fan_in) : 1;
                CHECK(y && y->rank == 2 && y->shape[0] == n && y->shape[1] == 5 && y->tracked, "%s", genreg_error_message(c));
                for (row = 0; y && row < n; row++) {
                    by_hand(m, every_kind_by_hand, scale, x->data + 24 * row, 24, values);
                    d = worst_row(y, row, values[10], 5);
                    if (!(d <= worst)) worst = d;
                }
                CHECK(worst < tolerance, "%s, %d samples, scheme %d: off by %g", genreg_isa_name(c), n, scheme, worst);
                shape[0] = n; shape[1] = 24; /* a sample may come flat, if its size is right */
                flat = genreg_forward(m, m->theta, genreg_reshape(c, x, 2, shape), NULL);
                CHECK(flat && y && !memcmp(flat->data, y->data, (size_t)y->size * sizeof *y->data), "flat samples");
                if (scheme == GENREG_INIT_NTK) { /* the scale belongs to the scheme and goes with it */
                    genreg_init(m, GENREG_INIT_PYTORCH, 3);
                    y = genreg_forward(m, NULL, x, NULL);
                    by_hand(m, every_kind_by_hand, NULL, x->data, 24, values);
                    CHECK(y && worst_row(y, 0, values[10], 5) < tolerance, "PYTORCH after NTK");
                }
                genreg_model_free(m);
            }
        genreg_destroy(c);
    }
}

/* ---- convolutions, pooling, batch norm: one sample after another, in double, by the definition */

typedef struct image { int h, w, c; double v[2000]; } image;

static void conv_by_hand(const image *x, const genreg_real *w, const genreg_real *b, int out, int kernel, int stride, int padding, double scale, image *y)
{
    int i, k, o, dy, dx, ch;
    y->h = (x->h + 2 * padding - kernel) / stride + 1;
    y->w = (x->w + 2 * padding - kernel) / stride + 1;
    y->c = out;
    for (i = 0; i < y->h; i++)
        for (k = 0; k < y->w; k++)
            for (o = 0; o < out; o++) {
                double s = 0;
                for (dy = 0; dy < kernel; dy++)
                    for (dx = 0; dx < kernel; dx++)
                        for (ch = 0; ch < x->c; ch++) {
                            int row = i * stride + dy - padding, column = k * stride + dx - padding;
                            if (row < 0 || column < 0 || row >= x->h || column >= x->w) continue;
                            s += scale * x->v[(row * x->w + column) * x->c + ch] * (double)w[((dy * kernel + dx) * x->c + ch) * out + o];
                        }
                y->v[(i * y->w + k) * out + o] = s + (double)b[o];
            }
}

static void pool_by_hand(const image *x, int size, int maximum, image *y)
{
    int i, k, ch, dy, dx;
    y->h = x->h / size;
    y->w = x->w / size;
    y->c = x->c;
    for (i = 0; i < y->h; i++)
        for (k = 0; k < y->w; k++)
            for (ch = 0; ch < x->c; ch++) {
                double top = -HUGE_VAL, sum = 0;
                for (dy = 0; dy < size; dy++)
                    for (dx = 0; dx < size; dx++) {
                        double v = x->v[((i * size + dy) * x->w + k * size + dx) * x->c + ch];
                        top = v > top ? v : top;
                        sum += v;
                    }
                y->v[(i * y->w + k) * x->c + ch] = maximum ? top : sum / (size * size);
            }
}

/* [conv 3 pad 1 -> 5] [norm] [relu] [max-pool 3] [conv 2 stride 2 pad 1 -> 6] [tanh] [avg-pool 2] [conv 1 -> 4] [norm] [global average] [linear 3] on 11 x 20 x 2 images */
static genreg_model *image_net(genreg_ctx *c, genreg_init_scheme scheme)
{
    const int shape[3] = { 11, 20, 2 };
    genreg_model *m = genreg_model_create(c, 3, shape);
    ptrdiff_t i;
    genreg_layer_conv2d(m, 5, 3, 1, 1);
    genreg_layer_batch_norm(m);
    genreg_layer_relu(m);
    genreg_layer_max_pool(m, 3);
    genreg_layer_conv2d(m, 6, 2, 2, 1);
    genreg_layer_tanh(m);
    genreg_layer_avg_pool(m, 2);
    genreg_layer_conv2d(m, 4, 1, 1, 0);
    genreg_layer_batch_norm(m);
    genreg_layer_global_avg_pool(m);
    genreg_layer_linear(m, 3);
    genreg_init(m, scheme, 8);
    if (genreg_error(m->ctx)) return m;
    for (i = 0; i < m->parameter_count; i++) { /* gammas, betas and biases that are not 0 or 1 */
        ptrdiff_t k;
        for (k = 0; m->parameters[i].kind != GENREG_KIND_WEIGHT && k < m->parameters[i].size; k++) m->theta->data[m->parameters[i].offset + k] += (genreg_real)(0.4 * wild((unsigned)(17 * i + k)));
    }
    for (i = 0; i < m->state->size; i++) m->state->data[i] += (genreg_real)(0.3 * wild((unsigned)(i + 900)));
    m->state->data[6] = (genreg_real)1e-3; /* a variance beside which eps counts */
    return m;
}

/* All samples at once, as batch norm in training needs them. statistics: NULL in evaluation, else the biased mean and variance of both
   norms are left there; y gets n x 3 values. */
static void image_net_by_hand(const genreg_model *m, const genreg_real *x, int n, const double *scale, double statistics[2][2][8], double *y)
{
    static image a[8], b[8];
    const genreg_parameter *p = m->parameters;
    const genreg_real *t = m->theta->data;
    int i, k, ch, norm, state = 0;
    for (i = 0; i < n; i++) {
        a[i].h = 11; a[i].w = 20; a[i].c = 2;
        for (k = 0; k < 440; k++) a[i].v[k] = (double)x[440 * i + k];
        conv_by_hand(&a[i], t + p[0].offset, t + p[1].offset, 5, 3, 1, 1, scale[0], &b[i]);
    }
    for (norm = 0; norm < 2; norm++) {
        const genreg_real *gamma = t + p[norm ? 8 : 2].offset, *beta = t + p[norm ? 9 : 3].offset;
        int channels = b[0].c, area = b[0].h * b[0].w;
        for (ch = 0; ch < channels; ch++) {
            double mean = 0, variance = 0;
            if (statistics) {
                for (i = 0; i < n; i++)
                    for (k = 0; k < area; k++) mean += b[i].v[k * channels + ch] / (n * area);
                for (i = 0; i < n; i++)
                    for (k = 0; k < area; k++) variance += (b[i].v[k * channels + ch] - mean) * (b[i].v[k * channels + ch] - mean) / (n * area);
                statistics[norm][0][ch] = mean;
                statistics[norm][1][ch] = variance;
            } else {
                mean = (double)m->state->data[state + ch];
                variance = (double)m->state->data[state + channels + ch];
            }
            for (i = 0; i < n; i++)
                for (k = 0; k < area; k++) b[i].v[k * channels + ch] = (double)gamma[ch] * (b[i].v[k * channels + ch] - mean) / sqrt(variance + 1e-5) + (double)beta[ch];
        }
        state += 2 * channels;
        for (i = 0; i < n && norm == 0; i++) {
            for (k = 0; k < area * channels; k++) b[i].v[k] = b[i].v[k] > 0 ? b[i].v[k] : 0;
            pool_by_hand(&b[i], 3, 1, &a[i]);
            conv_by_hand(&a[i], t + p[4].offset, t + p[5].offset, 6, 2, 2, 1, scale[1], &b[i]);
            for (k = 0; k < b[i].h * b[i].w * 6; k++) b[i].v[k] = tanh(b[i].v[k]);
            pool_by_hand(&b[i], 2, 0, &a[i]);
            conv_by_hand(&a[i], t + p[6].offset, t + p[7].offset, 4, 1, 1, 0, scale[2], &b[i]);
        }
    }
    for (i = 0; i < n; i++)
        for (k = 0; k < 3; k++) {
            y[3 * i + k] = (double)t[p[11].offset + k];
            for (ch = 0; ch < 4; ch++) {
                double mean = 0;
                int at, area = b[i].h * b[i].w;
                for (at = 0; at < area; at++) mean += b[i].v[at * 4 + ch] / area;
                y[3 * i + k] += scale[3] * mean * (double)t[p[10].offset + 3 * ch + k];
            }
        }
}

static void test_image_layers(void)
{
    const double tolerance = sizeof(genreg_real) == 8 ? 1e-12 : 1e-5;
    static double y[24], statistics[2][2][8];
    int isa, scheme, n, i, threads;
    for (isa = GENREG_ISA_PLAIN; isa <= GENREG_ISA_AVX512; isa++)
        for (scheme = 0; scheme < GENREG_INIT_COUNT; scheme += 3)
            for (threads = 1; threads <= 2; threads++) {
                genreg_ctx *c;
                genreg_model *m;
                double scale[4] = { 1, 1, 1, 1 }, worst;
                if (!genreg_isa_available((genreg_isa)isa)) continue;
                c = check_context((genreg_isa)isa, threads);
                m = image_net(c, (genreg_init_scheme)scheme);
                CHECK(genreg_error(c) == GENREG_OK && m->state && m->state->size == 18, "%s", genreg_error_message(c));
                if (genreg_error(c)) { genreg_destroy(c); continue; }
                if (scheme == GENREG_INIT_NTK) { /* none of them stands directly before a ReLU */
                    scale[0] = sqrt(1.0 / 18); scale[1] = sqrt(1.0 / 20); scale[2] = sqrt(1.0 / 6); scale[3] = sqrt(1.0 / 4);
                }
                for (n = 1; n <= 7; n += 3) {
                    const int shape[4] = { n, 11, 20, 2 };
                    genreg_tensor *x = genreg_constant(c, 4, shape, NULL), *out;
                    genreg_pass pass;
                    genreg_real state[18];
                    int norm;
                    for (i = 0; i < x->size; i++) x->data[i] = (genreg_real)(1.5 * wild((unsigned)(i + 31 * n)));
                    memcpy(state, m->state->data, sizeof state);
                    out = genreg_forward(m, m->theta, x, NULL);
                    image_net_by_hand(m, x->data, n, scale, NULL, y);
                    for (i = 0, worst = 0; out && i < 3 * n; i++) worst = fabs((double)out->data[i] - y[i]) > worst ? fabs((double)out->data[i] - y[i]) : worst;
                    CHECK(out && out->rank == 2 && out->shape[1] == 3 && worst < tolerance, "%s, evaluation, %d images: off by %g %s", genreg_isa_name(c), n, worst, genreg_error_message(c));
                    CHECK(!memcmp(state, m->state->data, sizeof state), "evaluation leaves the running statistics alone");

                    memset(&pass, 0, sizeof pass);
                    pass.training = 1;
                    pass.keep_state = 1;
                    out = genreg_forward(m, m->theta, x, &pass);
                    image_net_by_hand(m, x->data, n, scale, statistics, y);
                    for (i = 0, worst = 0; out && i < 3 * n; i++) worst = fabs((double)out->data[i] - y[i]) > worst ? fabs((double)out->data[i] - y[i]) : worst;
                    CHECK(out && worst < 3 * tolerance, "%s, training, %d images: off by %g %s", genreg_isa_name(c), n, worst, genreg_error_message(c));
                    CHECK(!memcmp(state, m->state->data, sizeof state), "and so does training with keep_state");

                    pass.keep_state = 0; /* running = 0.9 running + 0.1 batch, with the unbiased variance */
                    genreg_forward(m, NULL, x, &pass);
                    for (norm = 0, worst = 0; norm < 2; norm++) {
                        int channels = norm ? 4 : 5, at = norm ? 10 : 0, rows = norm ? n * 2 : n * 220;
                        for (i = 0; i < channels; i++) {
                            double mean = 0.9 * (double)state[at + i] + 0.1 * statistics[norm][0][i];
                            double variance = 0.9 * (double)state[at + channels + i] + 0.1 * statistics[norm][1][i] * rows / (rows - 1);
                            worst += fabs((double)m->state->data[at + i] - mean) + fabs((double)m->state->data[at + channels + i] - variance);
                        }
                    }
                    CHECK(worst < 20 * tolerance, "%s, %d images: running statistics are off by %g", genreg_isa_name(c), n, worst);
                    memcpy(m->state->data, state, sizeof state);
                }
                genreg_destroy(c);
            }
    { /* misuse */
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
        const int shape[3] = { 6, 5, 2 }, flat[1] = { 8 };
        genreg_model *m = genreg_model_create(c, 1, flat);
        genreg_layer_conv2d(m, 3, 3, 1, 1);
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "layer conv2d: its input is not [height,width,channels]");
        genreg_layer_max_pool(m, 2);
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "layer max_pool");
        genreg_layer_avg_pool(m, 2);
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "layer avg_pool");
        genreg_layer_global_avg_pool(m);
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "layer global_avg_pool");
        m = genreg_model_create(c, 3, shape);
        genreg_layer_conv2d(m, 0, 3, 1, 1);
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "layer conv2d: 0 outputs");
        genreg_layer_conv2d(m, 3, 0, 1, 1);
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "kernel of 0");
        genreg_layer_conv2d(m, 3, 3, 0, 1);
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "stride 0");
        genreg_layer_conv2d(m, 3, 3, 1, -1);
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "padding -1");
        genreg_layer_conv2d(m, 3, 6, 1, 0); /* larger than the image */
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "image of 6 x 5");
        genreg_layer_conv2d(m, 3, 8, 1, 1); /* larger than the padded one: 8 x 7 */
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "a kernel of 8, stride 1 and padding 1 do not go with an image of 6 x 5");
        genreg_layer_conv2d(m, 3, 2147483647, 1, 2147483647);
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "layer conv2d");
        genreg_layer_conv2d(m, 2147483647, 3, 1, 1);
        CHECK(genreg_error(c) == GENREG_ERROR_SHAPE || genreg_error(c) == GENREG_ERROR_ARGUMENT, "%s", genreg_error_message(c));
        genreg_clear_error(c);
        genreg_layer_max_pool(m, 6);
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "windows of 6 on an image of 6 x 5");
        genreg_layer_max_pool(m, 0);
        CHECK_ERROR(c, GENREG_ERROR_SHAPE, "windows of 0");
        CHECK(m->layer_count == 0 && m->parameter_count == 0 && m->state_count == 0, "failed layers leave nothing");
        genreg_layer_flatten(m);
        genreg_layer_batch_norm(m);
        CHECK(genreg_error(c) == GENREG_OK && m->state_count == 2 && m->parameter_count == 2 && m->parameters[0].size == 60, "batch norm of flat values: %s",
              genreg_error_message(c));
        genreg_layer_conv2d(NULL, 3, 3, 1, 1);
        genreg_layer_batch_norm(NULL);
        genreg_layer_max_pool(NULL, 2);
        genreg_layer_avg_pool(NULL, 2);
        genreg_layer_global_avg_pool(NULL);
        { /* one value a channel has no variance */
            const int one[2] = { 1, 8 };
            genreg_pass pass;
            genreg_real before[6];
            memset(&pass, 0, sizeof pass);
            pass.training = 1;
            m = genreg_model_create(c, 1, flat);
            genreg_layer_linear(m, 3);
            genreg_layer_batch_norm(m);
            genreg_init(m, GENREG_INIT_HE, 1);
            memcpy(before, m->state->data, sizeof before);
            CHECK(!genreg_forward(m, m->theta, genreg_constant(c, 2, one, NULL), &pass), "a batch of one in training");
            CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "batch_norm");
            CHECK(!memcmp(before, m->state->data, sizeof before), "and the running statistics stay");
        }
        genreg_destroy(c);
    }
}

static void test_trace(void)
{
    static double values[16][64];
    const double tolerance = sizeof(genreg_real) == 8 ? 1e-12 : 1e-5;
    static const int width[] = { 24, 17, 17, 17, 13, 13, 9, 9, 11, 11, 5 };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_model *m = every_kind(c, GENREG_INIT_PYTORCH);
    genreg_tensor *x = some_images(c, 6), *fused = genreg_forward(m, m->theta, x, NULL), *y;
    genreg_trace trace;
    genreg_pass pass;
    int i, row, negative = 0;
    double worst;
    memset(&pass, 0, sizeof pass);
    memset(&trace, 0, sizeof trace);
    pass.trace = &trace;
    y = genreg_forward(m, m->theta, x, &pass);
    CHECK(y && fused && check_distance(y->data, fused->data, y->size) <= check_path_tolerance(), "with and without fusing");
    CHECK(trace.output && trace.output[m->layer_count - 1] == y, "the last output is the result");
    for (i = 0; i < m->layer_count && trace.output; i++) {
        CHECK(i == 0 || trace.input[i] == trace.output[i - 1] || !memcmp(trace.input[i]->data, trace.output[i - 1]->data, (size_t)trace.input[i]->size * sizeof(genreg_real)),
              "layer %d takes what layer %d gives", i, i - 1);
        CHECK(trace.input[i]->size == 6 * (i ? width[i - 1] : 24) && trace.output[i]->size == 6 * width[i], "sizes of layer %d", i);
        for (row = 0, worst = 0; row < 6; row++) {
            double d;
            by_hand(m, every_kind_by_hand, NULL, x->data + 24 * row, 24, values);
            d = worst_row(trace.output[i], row, values[i], width[i]);
            if (!(d <= worst)) worst = d;
        }
        CHECK(worst < tolerance, "the output of layer %d is off by %g", i, worst);
    }
    for (i = 0; trace.output && i < 6 * 17; i++) negative += trace.output[1]->data[i] < 0;
    CHECK(negative > 10, "a pre-activation is not rectified: %d of 102 are negative", negative);
    /* What a trace hands out is on the tape: derivatives flow through it. */
    if (y) {
        genreg_tensor *loss = genreg_sum(c, trace.output[5], GENREG_ALL_AXES), *g;
        CHECK(genreg_grad(c, loss, NULL, &m->theta, 1, &g) && check_distance(g->data, m->theta->data, m->theta->size) > 0.1, "%s", genreg_error_message(c));
        CHECK(genreg_grad(c, loss, NULL, &trace.output[4], 1, &g) && g->size == 6 * 13 && (double)g->data[0] > 0, "the derivative by a pre-activation: %s", genreg_error_message(c));
    }
    genreg_destroy(c);
}

static void test_other_theta(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    const int sizes[] = { 24, 6, 3 };
    genreg_model *a = genreg_mlp(c, sizes, 3), *b = genreg_mlp(c, sizes, 3);
    genreg_tensor *x = some_images(c, 4), *theta, *ya, *yb, *y, *loss, *g;
    genreg_real *before = (genreg_real *)malloc((size_t)a->theta->size * sizeof *before);
    ptrdiff_t size = a->theta->size, nodes, k;
    int shape[2], label[4] = { 0, 1, 2, 0 }, i;
    double h = sizeof(genreg_real) == 8 ? 1e-6 : 1e-2, slope;
    genreg_init(b, GENREG_INIT_HE, 9);
    memcpy(before, a->theta->data, (size_t)size * sizeof *before);
    shape[0] = 3; shape[1] = (int)(size / 3); /* any shape of the right size */
    theta = genreg_variable(c, 2, shape, b->theta->data);
    ya = genreg_forward(a, NULL, x, NULL);
    yb = genreg_forward(b, NULL, x, NULL);
    y = genreg_forward(a, theta, x, NULL);
    CHECK(size % 3 == 0 && y && yb && !memcmp(y->data, yb->data, (size_t)y->size * sizeof *y->data), "another vector's values");
    CHECK(y && ya && memcmp(y->data, ya->data, (size_t)y->size * sizeof *y->data) != 0, "and not the model's own");
    CHECK(!memcmp(before, a->theta->data, (size_t)size * sizeof *before), "which stay");
    loss = genreg_cross_entropy(c, y, label);
    CHECK(genreg_grad(c, loss, NULL, &theta, 1, &g) && g->rank == 2 && g->shape[0] == 3, "%s", genreg_error_message(c));
    for (i = 0; g && i < 5; i++) { /* against a difference quotient */
        double up, down;
        k = (ptrdiff_t)i * 31;
        theta->data[k] += (genreg_real)h;
        up = genreg_item(genreg_cross_entropy(c, genreg_forward(a, theta, x, NULL), label));
        theta->data[k] -= (genreg_real)(2 * h);
        down = genreg_item(genreg_cross_entropy(c, genreg_forward(a, theta, x, NULL), label));
        theta->data[k] += (genreg_real)h;
        slope = (up - down) / (2 * h);
        CHECK(fabs(slope - (double)g->data[k]) < (sizeof(genreg_real) == 8 ? 1e-8 : 2e-3), "derivative %ld is %g, quotient %g", (long)k, (double)g->data[k], slope);
    }

    /* Without a theta nothing is recorded; neither does an evaluation leave anything behind. */
    nodes = genreg_mark(c).nodes;
    y = genreg_forward(a, NULL, x, NULL);
    CHECK(y && !y->tracked && y->node < 0 && genreg_mark(c).nodes == nodes, "a pass without theta records %ld nodes", (long)(genreg_mark(c).nodes - nodes));
    genreg_grad(c, genreg_cross_entropy(c, y, label), NULL, &a->theta, 1, &g);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "constants");
    y = genreg_forward(a, a->theta, x, NULL);
    CHECK(y && y->tracked && genreg_mark(c).nodes > nodes, "a pass with the model's own theta does");

    k = size - 1;
    theta = genreg_variable(c, 1, (shape[0] = (int)k, shape), NULL);
    CHECK(!genreg_forward(a, theta, x, NULL), "a vector that is too short");
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "forward: theta [170] for a model of 171 parameters");
    free(before);
    genreg_destroy(c);
}

static void test_dropout(void)
{
    enum { WIDE = 200, ROWS = 100 };
    const double ps[] = { 0.1, 0.5, 0.8 };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    const int wide = WIDE, shape[2] = { ROWS, WIDE };
    genreg_tensor *x = genreg_full(c, 2, shape, 3), *y, *z, *keep;
    genreg_pass pass;
    int p, i, differ;
    memset(&pass, 0, sizeof pass);
    for (p = 0; p < 3; p++) {
        genreg_model *m = genreg_model_create(c, 1, &wide);
        const double n = ROWS * WIDE;
        int zeros = 0, by_column[WIDE] = { 0 }, wrong = 0, worst = 0, both = 0;
        genreg_trace trace;
        genreg_layer_dropout(m, ps[p]);
        genreg_layer_dropout(m, ps[p]);
        genreg_layer_linear(m, 1);
        genreg_init(m, GENREG_INIT_PYTORCH, 1);
        pass.training = 1; pass.seed = 4; pass.step = 10; pass.trace = &trace;
        genreg_forward(m, NULL, x, &pass);
        keep = trace.output[0];
        for (i = 0; i < ROWS * WIDE; i++) {
            double v = (double)keep->data[i];
            zeros += v == 0;
            by_column[i % WIDE] += v == 0;
            wrong += v != 0 && fabs(v - 3 / (1 - ps[p])) > 1e-5;
            both += v == 0 && (i ? keep->data[i - 1] == 0 : 0);
        }
        for (i = 0; i < WIDE; i++) worst = abs(by_column[i] - (int)(ROWS * ps[p])) > worst ? abs(by_column[i] - (int)(ROWS * ps[p])) : worst;
        CHECK(fabs(zeros - n * ps[p]) < 5 * sqrt(n * ps[p] * (1 - ps[p])), "p = %g: %d of %g were dropped", ps[p], zeros, n);
        CHECK(worst < 5.5 * sqrt(ROWS * ps[p] * (1 - ps[p])), "p = %g: a column is off by %d", ps[p], worst);
        CHECK(fabs(both - n * ps[p] * ps[p]) < 6 * sqrt(n * ps[p] * ps[p]), "p = %g: neighbours are dropped together %d times", ps[p], both);
        CHECK(wrong == 0, "p = %g: %d survivors are not x/(1-p)", ps[p], wrong);
        /* the second layer draws for itself: it drops a share p of what the first left */
        for (i = 0, both = 0; i < ROWS * WIDE; i++) both += keep->data[i] != 0 && trace.output[1]->data[i] == 0;
        CHECK(fabs(both - n * ps[p] * (1 - ps[p])) < 5 * sqrt(n * ps[p]), "p = %g: the second layer dropped %d", ps[p], both);

        y = trace.output[0];
        genreg_forward(m, NULL, x, &pass);
        CHECK(!memcmp(y->data, trace.output[0]->data, (size_t)y->size * sizeof *y->data), "the same seed and step, the same draws");
        pass.step = 11;
        genreg_forward(m, NULL, x, &pass);
        z = trace.output[0];
        for (i = 0, differ = 0; i < ROWS * WIDE; i++) differ += (y->data[i] == 0) != (z->data[i] == 0);
        CHECK(fabs(differ - 2 * n * ps[p] * (1 - ps[p])) < 5 * sqrt(n), "another step: %d differ", differ);
        pass.step = 10; pass.seed = 5;
        genreg_forward(m, NULL, x, &pass);
        for (i = 0, differ = 0; i < ROWS * WIDE; i++) differ += (y->data[i] == 0) != (trace.output[0]->data[i] == 0);
        CHECK(fabs(differ - 2 * n * ps[p] * (1 - ps[p])) < 5 * sqrt(n), "another seed: %d differ", differ);
        for (i = 0, differ = 0; i < ROWS * WIDE; i++) differ += (z->data[i] == 0) != (trace.output[0]->data[i] == 0);
        CHECK(fabs(differ - 2 * n * ps[p] * (1 - ps[p])) < 5 * sqrt(n), "seed and step do not add up to the same: %d differ", differ);

        pass.training = 0; /* off in evaluation */
        y = genreg_forward(m, NULL, x, &pass);
        CHECK(trace.output[1]->size == x->size && !memcmp(trace.output[1]->data, x->data, (size_t)x->size * sizeof *x->data), "evaluation drops nothing");
        pass.trace = NULL;
        z = genreg_forward(m, NULL, x, NULL);
        CHECK(z && y && !memcmp(y->data, z->data, (size_t)y->size * sizeof *y->data), "and is what a pass of NULL is");
        genreg_model_free(m);
    }
    { /* the derivative is the mask */
        genreg_tensor *v = genreg_variable(c, 2, shape, NULL), *g;
        y = genreg_dropout(c, v, 0.3, 1, 2);
        CHECK(genreg_grad(c, genreg_sum(c, y, GENREG_ALL_AXES), NULL, &v, 1, &g), "%s", genreg_error_message(c));
        z = genreg_dropout(c, genreg_full(c, 2, shape, 1), 0.3, 1, 2);
        CHECK(g && z && !memcmp(g->data, z->data, (size_t)g->size * sizeof *g->data), "dropout's derivative");
        CHECK(genreg_dropout(c, v, 0, 1, 2) != NULL && genreg_error(c) == GENREG_OK, "p = 0");
        genreg_dropout(c, v, 1, 1, 2);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "dropout: p = 1");
        genreg_dropout(c, v, -0.5, 1, 2);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "dropout");
    }
    genreg_destroy(c);
}

static void test_evaluate(void)
{
    enum { MANY = 603, IN = 6, OUT = 4 }; /* the last batch is ragged */
    static genreg_real data[MANY * IN];
    static int label[MANY];
    static double values[16][64];
    const int shape[1] = { IN }, sizes[] = { IN, 9, OUT };
    const double tolerance = sizeof(genreg_real) == 8 ? 1e-12 : 1e-6;
    int isa, i, k, correct = 0, seen[OUT + 1] = { 0 }, right[OUT + 1] = { 0 };
    double ce = 0, mse = 0, by_class[OUT + 1];
    for (isa = GENREG_ISA_AUTO; isa <= GENREG_ISA_AVX512; isa++) {
        genreg_ctx *c;
        genreg_model *m;
        genreg_dataset d;
        genreg_score s;
        genreg_real before;
        size_t bytes;
        if (!genreg_isa_available((genreg_isa)isa)) continue;
        c = check_context((genreg_isa)isa, 1);
        m = genreg_mlp(c, sizes, 3);
        genreg_init(m, GENREG_INIT_HE, 3);
        if (isa == GENREG_ISA_AUTO) {
            for (i = 0; i < MANY * IN; i++) data[i] = (genreg_real)(2 * wild((unsigned)i));
            for (i = 0; i < MANY; i++) { /* mostly the model's own answer, so that accuracies are no accident; class 3 is rare, class 4 has no sample */
                double top, z = 0;
                int best = 0;
                by_hand(m, "lrl", NULL, data + IN * i, IN, values);
                for (k = 1; k < OUT; k++) best = values[2][k] > values[2][best] ? k : best;
                label[i] = i % 3 ? best : i % OUT;
                seen[label[i]]++;
                right[label[i]] += best == label[i];
                correct += best == label[i];
                top = values[2][best];
                for (k = 0; k < OUT; k++) z += exp(values[2][k] - top);
                ce += (top + log(z) - values[2][label[i]]) / MANY;
                for (k = 0; k < OUT; k++) mse += (values[2][k] - (k == label[i])) * (values[2][k] - (k == label[i])) / (MANY * OUT);
            }
            CHECK(correct > 300 && correct < 580, "the test means something: %d correct", correct);
        }
        d = genreg_dataset_reals(c, data, label, MANY, 1, shape, OUT + 1);
        bytes = genreg_tape_bytes(c);
        before = m->theta->data[5];
        s = genreg_evaluate(m, &d);
        CHECK(s.samples == MANY && fabs(s.accuracy - (double)correct / MANY) < 1e-12 && fabs(s.loss - ce) < tolerance * ce, "%s: loss %.9g of %.9g, accuracy %g", genreg_isa_name(c), s.loss, ce, s.accuracy);
        s = genreg_evaluate_classes(m, &d, GENREG_LOSS_MSE, by_class);
        CHECK(s.samples == MANY && fabs(s.accuracy - (double)correct / MANY) < 1e-12 && fabs(s.loss - mse) < tolerance * mse, "%s: squared error %.9g of %.9g", genreg_isa_name(c), s.loss, mse);
        for (i = 0; i < OUT; i++) CHECK(fabs(by_class[i] - (double)right[i] / seen[i]) < 1e-12, "class %d: %g of %d/%d", i, by_class[i], right[i], seen[i]);
        CHECK(by_class[OUT] != by_class[OUT], "a class without samples has no accuracy: %g", by_class[OUT]);
        CHECK(genreg_tape_bytes(c) == bytes && m->theta->data[5] == before && genreg_error(c) == GENREG_OK, "nothing is left on the tape");
        { /* at other parameters, the model staying as it is */
            genreg_model *n = genreg_mlp(c, sizes, 3);
            genreg_score at, there;
            genreg_init(n, GENREG_INIT_XAVIER, 4);
            there = genreg_evaluate(n, &d);
            at = genreg_evaluate_at(m, n->theta->data, &d);
            CHECK(at.loss == there.loss && at.accuracy == there.accuracy && at.samples == MANY && at.loss != s.loss && m->theta->data[5] == before, "%g and %g", at.loss, there.loss);
            at = genreg_evaluate_at(m, m->theta->data, &d);
            there = genreg_evaluate(m, &d);
            CHECK(at.loss == there.loss && at.accuracy == there.accuracy, "at its own parameters");
        }
        memset(m->theta->data, 0, (size_t)m->theta->size * sizeof(genreg_real)); /* all outputs equal: the first counts */
        s = genreg_evaluate(m, &d);
        CHECK(fabs(s.accuracy - (double)seen[0] / MANY) < 1e-12 && fabs(s.loss - log((double)OUT)) < 1e-6, "ties go to the first class: %g", s.accuracy);
        m->theta->data[m->theta->size - 1] = (genreg_real)NAN; /* the bias of the last output: in each row it is NaN, and the others are equal numbers */
        s = genreg_evaluate_classes(m, &d, GENREG_LOSS_MSE, by_class);
        CHECK(s.accuracy == 0 && s.loss != s.loss && s.samples == MANY && genreg_error(c) == GENREG_OK, "rows with a NaN are wrong: %g", s.accuracy);
        for (i = 0; i < OUT; i++) CHECK(by_class[i] == 0, "of class %d %g are right", i, by_class[i]);
        m->theta->data[m->theta->size - 1] = 0;
        s = genreg_evaluate_classes(m, &d, (genreg_loss)9, NULL);
        CHECK(s.loss != s.loss && s.samples == 0, "no figures after an error");
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "loss");
        d.n = 0;
        genreg_evaluate(m, &d);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "evaluate: the dataset is empty");
        genreg_destroy(c);
    }
    { /* within the memory option, in smaller batches if need be */
        static const size_t memory[] = { 4000000, 30000, 12000, 9000, 300 };
        genreg_options o = genreg_defaults();
        for (i = 0; i < 5; i++) {
            genreg_ctx *c;
            genreg_model *m;
            genreg_dataset d;
            genreg_score s;
            o.memory = memory[i] * sizeof(genreg_real) / 4;
            c = genreg_create(&o);
            m = genreg_mlp(c, sizes, 3);
            genreg_init(m, GENREG_INIT_HE, 3);
            d = genreg_dataset_reals(c, data, label, MANY, 1, shape, OUT + 1);
            s = genreg_evaluate_classes(m, &d, GENREG_LOSS_CROSS_ENTROPY, by_class);
            if (i < 4) {
                CHECK(s.samples == MANY && fabs(s.accuracy - (double)correct / MANY) < 1e-12 && fabs(s.loss - ce) < tolerance * ce, "in %ld bytes: loss %.9g of %.9g, %s", (long)o.memory, s.loss, ce,
                      genreg_error_message(c));
                for (k = 0; k < OUT && s.samples; k++) CHECK(fabs(by_class[k] - (double)right[k] / seen[k]) < 1e-12, "class %d: %g of %d/%d", k, by_class[k], right[k], seen[k]);
            } else {
                CHECK(s.samples == 0 && s.loss != s.loss, "no figures after an error");
                CHECK_ERROR(c, GENREG_ERROR_LIMIT, "bytes");
            }
            CHECK(genreg_tape_peak(c) <= o.memory && genreg_tape_bytes(c) == 0, "%ld bytes at most, %ld left", (long)genreg_tape_peak(c), (long)genreg_tape_bytes(c));
            genreg_destroy(c);
        }
    }
    { /* in evaluation mode, whatever layers there are */
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
        genreg_model *plain = genreg_model_create(c, 1, shape), *m = genreg_model_create(c, 1, shape);
        genreg_dataset d = genreg_dataset_reals(c, data, label, MANY, 1, shape, OUT);
        genreg_score a, b;
        genreg_layer_dropout(m, 0.9);
        genreg_layer_linear(m, OUT);
        genreg_layer_linear(plain, OUT);
        genreg_init(m, GENREG_INIT_HE, 1);
        genreg_init(plain, GENREG_INIT_HE, 1);
        a = genreg_evaluate(m, &d);
        b = genreg_evaluate(plain, &d);
        CHECK(a.loss == b.loss && a.accuracy == b.accuracy && a.samples == MANY, "%g and %g", a.loss, b.loss);
        genreg_destroy(c);
    }
}

static void test_misuse(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    const int image[3] = { 28, 28, 1 }, flat[1] = { 10 }, zero[1] = { 0 }, sizes[] = { 10, 4, 2 }, bad_sizes[] = { 10, 0, 2 }, one[1] = { 1 }, huge[3] = { 2147483647, 2147483647, 2147483647 },
              wide[3] = { 65536, 65536, 1 }, x_shape[2] = { 3, 10 }, wrong_shape[2] = { 3, 11 };
    genreg_model *m = genreg_model_create(c, 1, flat);
    genreg_tensor *x = genreg_constant(c, 2, x_shape, NULL);
    genreg_dataset d;
    genreg_objective f;
    static genreg_real data[20];
    static int label[2];
    int i;

    genreg_forward(m, NULL, x, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "forward: the model has no parameters yet; call genreg_init");
    genreg_init(m, GENREG_INIT_HE, 1);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "init: the model has no parameters");
    genreg_layer_linear(m, 4);
    genreg_forward(m, NULL, x, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "call genreg_init");
    d = genreg_dataset_reals(c, data, label, 2, 1, flat, 2);
    genreg_evaluate(m, &d);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "evaluate");
    genreg_trainer_create(m, &d, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "train");
    f = genreg_model_objective(m, &d, GENREG_LOSS_CROSS_ENTROPY);
    CHECK(!f.ctx, "no objective");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "model_objective");
    genreg_init(m, GENREG_INIT_HE, 1);
    genreg_layer_linear(m, 4);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "layer linear: the model is laid out already; add layers before genreg_init");
    genreg_layer_relu(m);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "layer relu");
    genreg_layer_flatten(m);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "layer flatten");
    genreg_layer_dropout(m, 0.5);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "layer dropout");
    CHECK(m->layer_count == 1 && genreg_forward(m, NULL, x, NULL) != NULL, "the model is as it was: %s", genreg_error_message(c));
    genreg_forward(m, NULL, genreg_constant(c, 2, wrong_shape, NULL), NULL);
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "forward: [3,11] for a model whose samples have 10 values");
    genreg_forward(m, NULL, genreg_scalar(c, 1), NULL);
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "forward");
    genreg_forward(m, NULL, NULL, NULL);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "forward: an input is NULL");
    genreg_model_free(m);

    m = genreg_model_create(c, 3, image);
    genreg_layer_linear(m, 10);
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "put a flatten layer before it");
    CHECK(m->layer_count == 0 && m->parameter_count == 0, "the model is as it was");
    genreg_layer_flatten(m);
    genreg_layer_linear(m, 0);
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "0 outputs");
    genreg_layer_linear(m, -5);
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "-5 outputs");
    genreg_layer_dropout(m, 1);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "layer dropout: p = 1 is not in [0, 1)");
    genreg_layer_dropout(m, -0.1);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "layer dropout");
    genreg_layer_dropout(m, (double)NAN);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "layer dropout: p = nan");
    genreg_model_scope(m, "a_name_of_more_than_23_letters");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "longer than 23");
    genreg_layer_linear(m, 3); /* and it still works */
    genreg_init(m, GENREG_INIT_HE, 1);
    CHECK(genreg_error(c) == GENREG_OK && m->layer_count == 2 && m->parameter_count == 2 && m->theta->size == 784 * 3 + 3 && !strcmp(m->parameters[0].name, "1.weight"), "%s",
          genreg_error_message(c));
    genreg_model_free(m);

    /* Names stand in files and must be told apart there. */
    m = genreg_model_create(c, 1, flat);
    genreg_model_scope(m, "two words");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "scope");
    genreg_model_scope(m, "quote\"");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "scope");
    genreg_model_scope(m, "line\nbreak");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "scope");
    genreg_model_scope(m, "twice");
    genreg_layer_linear(m, 10);
    genreg_model_scope(m, "twice");
    genreg_layer_linear(m, 10);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "twice");
    genreg_model_free(m);

    CHECK(!genreg_model_create(c, 0, flat), "rank 0");
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "rank 0");
    CHECK(!genreg_model_create(c, 4, image), "rank 4");
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "rank 4");
    CHECK(!genreg_model_create(c, 2, image), "rank 2");
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "rank 2");
    CHECK(!genreg_model_create(c, 3, NULL), "no shape");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no shape");
    CHECK(!genreg_model_create(c, 1, zero), "no feature");
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "extent 0");
    CHECK(!genreg_model_create(c, 3, huge), "beyond the address space");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "more than this machine can address");
    m = genreg_model_create(c, 3, wide);
    genreg_layer_flatten(m);
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, sizeof(size_t) > 4 ? "layer flatten" : "model"); /* with 32 bits it is too large from the start */
    genreg_model_free(m);
    m = genreg_model_create(c, 1, one);
    genreg_layer_linear(m, 2147483647); /* its weights can be counted, its biases on top cannot */
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "more parameters than an int counts");
    CHECK(m->parameter_count == 0 && m->layer_count == 0, "a layer that fails leaves nothing: %d parameters", m->parameter_count);
    genreg_layer_linear(m, 5);
    CHECK(genreg_error(c) == GENREG_OK && parameters_of(m) == 10, "and the next one is the first: %s", genreg_error_message(c));
    genreg_clear_error(c);
    genreg_model_free(m);

    CHECK(!genreg_mlp(c, sizes, 1), "one size");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "mlp: 1 sizes");
    CHECK(!genreg_mlp(c, NULL, 3), "no sizes");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "mlp");
    CHECK(!genreg_mlp(c, bad_sizes, 3), "no width");
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "0 outputs");
    CHECK(!genreg_mlp(NULL, sizes, 3) && !genreg_model_create(NULL, 1, flat) && !genreg_forward(NULL, NULL, x, NULL), "without a context");
    genreg_layer_linear(NULL, 3); /* NULL in, nothing out */
    genreg_layer_relu(NULL);
    genreg_layer_tanh(NULL);
    genreg_layer_sigmoid(NULL);
    genreg_layer_flatten(NULL);
    genreg_layer_dropout(NULL, 0.5);
    genreg_model_scope(NULL, "x");
    genreg_init(NULL, GENREG_INIT_HE, 1);
    genreg_model_free(NULL);
    d = genreg_dataset_reals(c, data, label, 2, 1, flat, 2);
    CHECK(genreg_evaluate(NULL, &d).samples == 0, "no model");

    m = genreg_mlp(c, sizes, 3); /* after the first error nothing happens any more, and the first message stays */
    genreg_matmul(c, x, x, 0, 0);
    CHECK(genreg_error(c) == GENREG_ERROR_SHAPE, "a wrong product");
    CHECK(!genreg_forward(m, NULL, x, NULL) && !genreg_mlp(c, sizes, 3) && genreg_first(c, &d, 1).n == 0 && genreg_evaluate(m, &d).samples == 0, "an error stays");
    i = m->layer_count;
    genreg_layer_relu(m);
    CHECK(m->layer_count == i, "no layer is added");
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "matmul: [3,10] x [3,10]");
    CHECK(genreg_forward(m, NULL, x, NULL) != NULL, "and after clearing all is as before");
    genreg_destroy(c);
}

int main(void)
{
    test_subsets();
    test_split();
    test_label_noise();
    test_checksums();
    test_batches();
    test_augmentation();
    test_pad();
    test_one_hot();
    test_bad_datasets();
    test_counts();
    test_layout();
    test_initialisation();
    test_forward();
    test_image_layers();
    test_trace();
    test_other_theta();
    test_dropout();
    test_evaluate();
    test_misuse();
    return check_done();
}
