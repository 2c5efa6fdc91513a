/* test_files.c - what is read from disk and written to it: IDX sets, models, training runs; whole, damaged, foreign, and on a full disk.

      cc -O2 -fopenmp tests/test_files.c -o test_files -lm && ./test_files          (or with -DGENREG_REAL=double)

   Files go to $TMPDIR (else to memory or /tmp, where there is no such place to the working folder) and are removed. What the library writes is also read by
   tests/check_safetensors.py, if there is a python3, and by tests/check_npy.py, if it has NumPy. `test_files --write-fixtures DIR` writes the files that the build of the
   other type must be able to read (tests/fixtures/model_float.safetensors and so on). */
#if defined(__unix__) || defined(__APPLE__)
#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 600
#endif
#define HAVE_POSIX 1
#else
#define HAVE_POSIX 0
#endif
#include <stddef.h>

/* The allocator is watched: what a call keeps after it failed is a leak, and a small file must not make the library ask for a lot. */
static void *watched_malloc(size_t n);
static void *watched_realloc(void *p, size_t n);
static void watched_free(void *p);
#define GENREG_MALLOC(n) watched_malloc(n)
#define GENREG_REALLOC(p, n) watched_realloc(p, n)
#define GENREG_FREE(p) watched_free(p)
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include "check.h"
#include "fixture.h"

#include <locale.h>
#include <time.h>
#if HAVE_POSIX
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

static long live;
static size_t most;
static void *watched_malloc(size_t n)
{
    void *p;
    if (n > most) most = n;
    p = n > (size_t)1 << 28 ? NULL : malloc(n);
    if (p) live++;
    return p;
}
static void *watched_realloc(void *p, size_t n) { return realloc(p, n); }
static void watched_free(void *p)
{
    if (p) live--;
    free(p);
}

enum { DOUBLE = sizeof(genreg_real) == 8, REAL_BYTES = sizeof(genreg_real) };
#define REAL_NAME (DOUBLE ? "F64" : "F32")

/* ------------------------------------------------------------------------------------------------ files of our own */

static char folder[512];

/* A path for a scratch file; up to eight at a time. */
static const char *scratch(const char *name)
{
    static char path[8][640];
    static int next;
    char *p = path[next++ % 8];
    sprintf(p, "%s%s", folder, name);
    return p;
}

static void find_folder(void)
{
    const char *place = getenv("TMPDIR");
    long tag = (long)time(NULL);
#if HAVE_POSIX
    if (!place || !*place || strlen(place) > 200) place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    tag = (long)getpid();
#else
    place = ".";
#endif
    sprintf(folder, "%s/genreg%ld_%c_", place, tag, DOUBLE ? 'd' : 'f');
}

static void put_file(const char *path, const void *data, size_t n)
{
    FILE *f;
    remove(path); /* some file systems wait for the disk when a file is cut to nothing and written again */
    f = fopen(path, "wb");
    if (!f || fwrite(data, 1, n, f) != n) CHECK(0, "cannot write %s", path);
    if (f) fclose(f);
}

/* A whole file; the caller frees it. NULL if there is none. */
static unsigned char *get_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    unsigned char *data = NULL;
    *n = 0;
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    fseek(f, 0, SEEK_SET);
    data = (unsigned char *)malloc(*n + 1);
    if (fread(data, 1, *n, f) != *n) CHECK(0, "cannot read %s", path);
    data[*n] = 0;
    fclose(f);
    return data;
}

static int exists(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    return f != NULL;
}

/* Whether there is an error that one can act on: one line that names the file. Clears it; counts as one check. Of thousands of failures
   of one kind the first few are enough to read. */
static void one_line_about(genreg_ctx *c, const char *path, const char *what)
{
    static int printed;
    const char *m = genreg_error_message(c);
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (genreg_error(c) != GENREG_OK && genreg_error(c) != GENREG_ERROR_MEMORY && *m && !strchr(m, '\n') && strstr(m, name)) check_passed++;
    else {
        check_failed++;
        if (printed++ < 5) printf("%s:%d: failed: %s: no line that names the file: status %d, \"%s\"\n", __FILE__, __LINE__, what, (int)genreg_error(c), m);
    }
    genreg_clear_error(c);
}

/* ------------------------------------------------------------------------------------------------ IDX */

enum { IMAGES = 5, ROWS = 4, COLUMNS = 3 };

static size_t make_images(unsigned char *out, unsigned n, unsigned rows, unsigned columns)
{
    unsigned extent[3];
    size_t at = 4;
    int i;
    memset(out, 0, 16);
    out[2] = 8;
    out[3] = 3;
    extent[0] = n; extent[1] = rows; extent[2] = columns;
    for (i = 0; i < 3; i++) {
        out[at++] = (unsigned char)(extent[i] >> 24);
        out[at++] = (unsigned char)(extent[i] >> 16);
        out[at++] = (unsigned char)(extent[i] >> 8);
        out[at++] = (unsigned char)extent[i];
    }
    for (i = 0; i < IMAGES * ROWS * COLUMNS; i++) out[at++] = (unsigned char)(i * 4 + 3);
    return at;
}

static size_t make_labels(unsigned char *out, unsigned n)
{
    int i;
    memset(out, 0, 8);
    out[2] = 8;
    out[3] = 1;
    out[4] = (unsigned char)(n >> 24); out[5] = (unsigned char)(n >> 16); out[6] = (unsigned char)(n >> 8); out[7] = (unsigned char)n;
    for (i = 0; i < IMAGES; i++) out[8 + i] = (unsigned char)(9 - 2 * i);
    return 8 + IMAGES;
}

/* Loading must fail, keep nothing, and say why in one line that names the file and holds `word`. */
static void refuse_idx(genreg_ctx *c, const char *images, const char *labels, const char *about, const char *word, const char *what)
{
    long before = live;
    genreg_dataset d;
    most = 0;
    d = genreg_load_idx(c, images, labels, 10, NULL, NULL);
    CHECK(d.n == 0 && !d.bytes && !d.labels && !d.rows, "%s: a set in spite of it", what);
    CHECK(strstr(genreg_error_message(c), word) != NULL, "%s: the message lacks \"%s\": %s", what, word, genreg_error_message(c));
    CHECK(most < 100000, "%s: %lu bytes were asked for", what, (unsigned long)most);
    one_line_about(c, about, what);
    CHECK(live == before, "%s: %ld blocks are lost", what, live - before);
}

static void test_idx(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    unsigned char image[16 + IMAGES * ROWS * COLUMNS + 8], label[8 + IMAGES + 8], bad[128];
    size_t image_bytes = make_images(image, IMAGES, ROWS, COLUMNS), label_bytes = make_labels(label, IMAGES), n;
    const char *images = scratch("images"), *labels = scratch("labels"), *damaged = scratch("damaged"), *missing = scratch("missing");
    const float mean = 0.25f, std = 2;
    genreg_dataset d, e;
    genreg_batch b;
    int i, k, wide[IMAGES], shape[3] = { ROWS, COLUMNS, 1 }, wrong = 0, taken = 0;
    put_file(images, image, image_bytes);
    put_file(labels, label, label_bytes);
    d = genreg_load_idx(c, images, labels, 10, &mean, &std);
    CHECK(d.n == IMAGES && d.rank == 3 && d.shape[0] == ROWS && d.shape[1] == COLUMNS && d.shape[2] == 1 && d.features == ROWS * COLUMNS && d.classes == 10 && d.mean[0] == mean && d.std[0] == std,
          "a good pair: %s", genreg_error_message(c));
    for (i = 0; i < IMAGES && d.n; i++) CHECK(d.labels[i] == 9 - 2 * i, "label %d is %d", i, d.labels[i]);
    b = genreg_get_batch(c, &d, NULL, 0, IMAGES);
    for (i = 0; b.x && i < IMAGES * ROWS * COLUMNS; i++) wrong += !(fabs((double)b.x->data[i] - ((i * 4 + 3) % 256 / 255.0 - 0.25) / 2) < 1e-6);
    CHECK(b.x && wrong == 0, "%d pixels are wrong", wrong);
    for (i = 0; i < IMAGES; i++) wide[i] = 9 - 2 * i;
    e = genreg_dataset_bytes(c, image + 16, wide, IMAGES, 3, shape, 10, &mean, &std);
    CHECK(d.checksum == e.checksum, "the same set from a file and from memory");

    for (n = 0; n < image_bytes; n++) { /* cut short anywhere */
        put_file(damaged, image, n);
        refuse_idx(c, damaged, labels, damaged, n < 16 ? "cut short" : "promises 60", "images cut short");
    }
    for (n = 0; n < label_bytes; n++) {
        put_file(damaged, label, n);
        refuse_idx(c, images, damaged, damaged, "cut short", "labels cut short");
    }
    image[image_bytes] = label[label_bytes] = 0; /* one byte too many */
    put_file(damaged, image, image_bytes + 1);
    refuse_idx(c, damaged, labels, damaged, "61 bytes", "images with a byte too many");
    put_file(damaged, label, label_bytes + 1);
    refuse_idx(c, images, damaged, damaged, "6 bytes", "labels with a byte too many");
    for (i = 0; i < 16; i++) /* any other byte anywhere in a header */
        for (k = 1; k < 256; k += i < 4 ? 1 : 7) {
            memcpy(bad, image, image_bytes);
            bad[i] ^= (unsigned char)k;
            put_file(damaged, bad, image_bytes);
            d = genreg_load_idx(c, damaged, labels, 10, NULL, NULL);
            taken += d.n != 0 || genreg_error(c) == GENREG_OK;
            genreg_clear_error(c);
            if (i >= 8) continue;
            memcpy(bad, label, label_bytes);
            bad[i] ^= (unsigned char)k;
            put_file(damaged, bad, label_bytes);
            d = genreg_load_idx(c, images, damaged, 10, NULL, NULL);
            taken += d.n != 0 || genreg_error(c) == GENREG_OK;
            genreg_clear_error(c);
        }
    CHECK(taken == 0, "%d damaged headers were taken", taken);
    refuse_idx(c, labels, labels, labels, "", "labels for images");
    refuse_idx(c, images, images, images, "1 axes", "images for labels");
    memcpy(bad, image, image_bytes);
    bad[0] = 0x1f;
    bad[1] = 0x8b;
    put_file(damaged, bad, image_bytes);
    refuse_idx(c, damaged, labels, damaged, "gunzip", "a packed file");
    memcpy(bad, image, image_bytes);
    bad[2] = 13;
    put_file(damaged, bad, image_bytes);
    refuse_idx(c, damaged, labels, damaged, "0 0 13 3", "a file of floats");

    { /* extents: none, beyond an int, and such that their product is the size of the data modulo 2^64 or 2^32 */
        /* (the message must be about this file's extents or size, not about the other file) */
        static const unsigned extents[][3] = {
            { 0, ROWS, COLUMNS }, { IMAGES, 0, COLUMNS }, { IMAGES, ROWS, 0 }, { 0x80000000u, 1, 1 }, { 0xffffffffu, 0xffffffffu, 0xffffffffu }, { 1, 0xffffffffu, 1 },
            { 0x7fffffff, 0x7fffffff, 0x7fffffff }, { 398796, 217891, 1910610439 }, { 2, 2, 1073741839 }, { 65536, 65536, 65536 }, { IMAGES * ROWS * COLUMNS, 65536, 65536 },
        };
        for (i = 0; i < (int)(sizeof extents / sizeof extents[0]); i++) {
            n = make_images(bad, extents[i][0], extents[i][1], extents[i][2]);
            put_file(damaged, bad, n);
            refuse_idx(c, damaged, labels, damaged, i >= 8 && sizeof(size_t) > 4 ? "promises" : "extent", "impossible extents");
        }
        n = make_labels(bad, 0);
        put_file(damaged, bad, 8);
        refuse_idx(c, images, damaged, damaged, "extent of 0", "no labels");
        n = make_labels(bad, 0x80000000u);
        put_file(damaged, bad, n);
        refuse_idx(c, images, damaged, damaged, "", "2^31 labels");
    }
    n = make_labels(bad, IMAGES - 1); /* both files are sound, but not of one set */
    put_file(damaged, bad, n - 1);
    refuse_idx(c, images, damaged, damaged, "4 labels", "a label too few");
    memcpy(bad, label, label_bytes);
    bad[8 + 3] = 10;
    put_file(damaged, bad, label_bytes);
    refuse_idx(c, images, damaged, damaged, "label 3 is 10", "a label of 10");

    d = genreg_load_idx(c, images, damaged, 47, &mean, &std); /* as in EMNIST */
    CHECK(d.n == IMAGES && d.classes == 47 && d.labels[3] == 10, "47 classes: %s", genreg_error_message(c));
    bad[8 + 3] = 46;
    put_file(damaged, bad, label_bytes);
    CHECK(genreg_load_idx(c, images, damaged, 47, NULL, NULL).n == IMAGES, "%s", genreg_error_message(c));
    CHECK(genreg_load_idx(c, images, damaged, 46, NULL, NULL).n == 0, "a label of 46 with 46 classes");
    CHECK_ERROR(c, GENREG_ERROR_FORMAT, "label 3 is 46 and must be in 0 ... 45");
    bad[8 + 3] = 255;
    put_file(damaged, bad, label_bytes);
    CHECK(genreg_load_idx(c, images, damaged, 256, NULL, NULL).labels[3] == 255, "%s", genreg_error_message(c));
    for (i = -1; i <= 257; i += i == 0 ? 257 : 1) {
        CHECK(genreg_load_idx(c, images, labels, i, NULL, NULL).n == 0, "%d classes", i);
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "load_idx");
    }

    refuse_idx(c, missing, labels, missing, "cannot open", "a missing file");
    refuse_idx(c, images, missing, missing, "cannot open", "a missing file");
    put_file(damaged, "", 0);
    refuse_idx(c, damaged, labels, damaged, "cut short", "an empty file");
    d = genreg_load_idx(c, NULL, labels, 10, NULL, NULL);
    CHECK(d.n == 0 && !strstr(genreg_error_message(c), "Success"), "no name: %s", genreg_error_message(c));
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no file name");
    refuse_idx(c, images, "", "", "cannot open", "an empty name");
    CHECK(genreg_load_idx(NULL, images, labels, 10, NULL, NULL).n == 0, "without a context");
#if HAVE_POSIX
    mkdir(missing, 0700); /* now a folder */
    refuse_idx(c, missing, labels, missing, "folder", "a folder in place of a file");
    rmdir(missing);
#endif

    /* No normalisation at all is [0, 1]. */
    d = genreg_load_idx(c, images, labels, 10, NULL, NULL);
    CHECK(d.n == IMAGES && d.mean[0] == 0 && d.std[0] == 1, "%s", genreg_error_message(c));
    {
        const float zero = 0;
        CHECK(genreg_load_idx(c, images, labels, 10, NULL, &zero).n == 0, "a standard deviation of 0");
        CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "deviation");
    }
    remove(images);
    remove(labels);
    remove(damaged);
    genreg_destroy(c);
    CHECK(live == 0, "%ld blocks are left", live);
}

static void test_folders(void)
{
#if HAVE_POSIX
    static const char *const part[] = { "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte" };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    unsigned char image[16 + IMAGES * ROWS * COLUMNS], label[8 + IMAGES];
    size_t image_bytes = make_images(image, IMAGES, ROWS, COLUMNS), label_bytes = make_labels(label, IMAGES);
    char where[600], path[700];
    genreg_dataset train, test;
    int i;
    strcpy(where, scratch("set"));
    mkdir(where, 0700);
    for (i = 0; i < 4; i++) {
        image[16] = (unsigned char)(i + 1); /* so that the sets can be told apart */
        sprintf(path, "%s/%s", where, part[i]);
        if (i % 2) put_file(path, label, label_bytes);
        else put_file(path, image, image_bytes);
    }
    CHECK(genreg_load_mnist(c, where, &train, &test) && train.n == IMAGES && test.n == IMAGES && train.bytes[0] == 1 && test.bytes[0] == 3, "%s", genreg_error_message(c));
    CHECK(!strcmp(train.name, "mnist") && train.mean[0] == 0.1307f && train.std[0] == 0.3081f && test.mean[0] == 0.1307f && test.std[0] == 0.3081f, "MNIST's normalisation");
    CHECK(genreg_load_fashion(c, where, &train, NULL) && !strcmp(train.name, "fashion") && train.mean[0] == 0.2860f && train.std[0] == 0.3530f, "Fashion-MNIST's normalisation");
    memset(&test, 0xff, sizeof test);
    CHECK(genreg_load_mnist(c, where, NULL, &test) && test.n == IMAGES && test.bytes[0] == 3 && !strcmp(test.name, "mnist"), "the test set alone");
    sprintf(path, "%s/%s", where, part[3]);
    remove(path);
    CHECK(!genreg_load_mnist(c, where, &train, &test) && train.n == IMAGES && test.n == 0, "without the test set's labels");
    CHECK_ERROR(c, GENREG_ERROR_FILE, "t10k-labels-idx1-ubyte");
    CHECK(genreg_load_mnist(c, where, &train, NULL) && train.n == IMAGES, "the training set can still be had");
    for (i = 0; i < 3; i++) {
        sprintf(path, "%s/%s", where, part[i]);
        remove(path);
    }
    CHECK(!genreg_load_fashion(c, where, &train, &test) && train.n == 0 && test.n == 0, "an empty folder");
    CHECK_ERROR(c, GENREG_ERROR_FILE, "train-images-idx3-ubyte");
    CHECK(!genreg_load_mnist(NULL, where, &train, &test), "without a context");
    rmdir(where);
    genreg_destroy(c);
#else
    printf("skipped: folders of sets (no mkdir)\n");
#endif
}

/* CIFAR-10's batches: 10,000 records of a label, then 1,024 values of red, of green, of blue. */
static void test_cifar(void)
{
#if HAVE_POSIX
    enum { RECORD = 3073, RECORDS = 10000 };
    static const char *const more[] = { "data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5" };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    unsigned char *file = (unsigned char *)calloc(RECORDS + 1, RECORD);
    char where[600], path[700], link[700];
    genreg_dataset train, test;
    genreg_batch b;
    int i, k, ch, wrong = 0;
    static const float mean[] = { 0.4914f, 0.4822f, 0.4465f }, std[] = { 0.2023f, 0.1994f, 0.2010f };
    if (!file) return;
    for (i = 0; i < RECORDS; i++) {
        file[i * RECORD] = (unsigned char)(i * 7 % 10);
        for (k = 1; k < RECORD; k++) file[i * RECORD + k] = (unsigned char)(k / 1024 * 90 + k % 83 + i % 77);
    }
    strcpy(where, scratch("cifar"));
    mkdir(where, 0700);
    sprintf(path, "%s/test_batch.bin", where);
    put_file(path, file, (size_t)RECORD * RECORDS);
    CHECK(genreg_load_cifar10(c, where, NULL, &test) && test.n == RECORDS && test.rank == 3 && test.shape[0] == 32 && test.shape[1] == 32 && test.shape[2] == 3 && test.classes == 10
          && !strcmp(test.name, "cifar10"), "%s", genreg_error_message(c));
    if (test.n) {
        b = genreg_get_batch(c, &test, NULL, 9990, 10);
        for (i = 0; i < 10 && b.x; i++) {
            wrong += b.labels[i] != (9990 + i) * 7 % 10;
            for (k = 0; k < 1024; k++)
                for (ch = 0; ch < 3; ch++) {
                    double want = (file[(9990 + i) * RECORD + 1 + ch * 1024 + k] / 255.0 - (double)mean[ch]) / (double)std[ch];
                    wrong += !(fabs((double)b.x->data[(i * 1024 + k) * 3 + ch] - want) < 1e-5);
                }
        }
        CHECK(b.x && wrong == 0, "%d values are wrong", wrong);
    }
    memset(&train, 0xff, sizeof train);
    CHECK(!genreg_load_cifar10(c, where, &train, &test) && train.n == 0, "without the training batches");
    CHECK_ERROR(c, GENREG_ERROR_FILE, "data_batch_1.bin");
    for (i = 0; i < 5; i++) {
        sprintf(link, "%s/%s.bin", where, more[i]);
        if (symlink("test_batch.bin", link) != 0) break;
    }
    if (i == 5) {
        long before = live;
        CHECK(genreg_load_cifar10(c, where, &train, NULL) && train.n == 5 * RECORDS && train.labels[20003] == 3 * 7 % 10 && train.bytes[3072 * 20003 + 4] == file[3 * RECORD + 1 + 1024 + 1], "%s",
              genreg_error_message(c));
        sprintf(link, "%s/%s.bin", where, more[4]);
        remove(link);
        before = live;
        CHECK(!genreg_load_cifar10(c, where, &train, NULL) && train.n == 0, "without the last batch");
        CHECK(live == before, "%ld blocks are lost", live - before);
        CHECK_ERROR(c, GENREG_ERROR_FILE, "data_batch_5.bin");
    }
    { /* each way a file can be bad, in each file that is read: status, the file's name, the way out, nothing kept, and the context goes on */
        static const struct { const char *what; ptrdiff_t bytes; int bad_record; genreg_status status; const char *text; } faults[] = {
            { "cut short", (ptrdiff_t)RECORD * RECORDS - 1, -1, GENREG_ERROR_FORMAT, "30729999 bytes where CIFAR-10's have 30730000" },
            { "a record too few", (ptrdiff_t)RECORD * (RECORDS - 1), -1, GENREG_ERROR_FORMAT, "30726927 bytes" },
            { "a byte too many", (ptrdiff_t)RECORD * RECORDS + 1, -1, GENREG_ERROR_FORMAT, "30730001 bytes" },
            { "a record too many", (ptrdiff_t)RECORD * (RECORDS + 1), -1, GENREG_ERROR_FORMAT, "30733073 bytes" },
            { "empty", 0, -1, GENREG_ERROR_FORMAT, "has 0 bytes" },
            { "a label of 10", (ptrdiff_t)RECORD * RECORDS, 1234, GENREG_ERROR_FORMAT, "label 1234 is 10 and must be in 0 ... 9" },
            { "the last label bad", (ptrdiff_t)RECORD * RECORDS, RECORDS - 1, GENREG_ERROR_FORMAT, "label 9999 is 10" },
            { "missing", -1, -1, GENREG_ERROR_FILE, "there is no such file or folder" },
        };
        int fault, which, links_stand = 1;
        for (i = 0; i < 5; i++) { /* the five as links to the good file */
            sprintf(link, "%s/%s.bin", where, more[i]);
            remove(link);
            if (symlink("test_batch.bin", link) != 0) links_stand = 0;
        }
        for (fault = 0; fault < (int)(sizeof faults / sizeof faults[0]); fault++)
            for (which = 0; which < (links_stand ? 3 : 1); which++) { /* the test batch, and of the training set the third and the last */
                long before = live;
                const char *name = which ? more[which == 1 ? 2 : 4] : "test_batch";
                char named[48];
                unsigned char kept = 0;
                int loaded;
                sprintf(path, "%s/test_batch.bin", where);
                sprintf(link, "%s/%s.bin", where, name);
                if (which) remove(link);
                if (faults[fault].bad_record >= 0) { kept = file[faults[fault].bad_record * RECORD]; file[faults[fault].bad_record * RECORD] = 10; }
                if (faults[fault].bytes < 0) remove(link);
                else put_file(link, file, (size_t)faults[fault].bytes);
                if (faults[fault].bad_record >= 0) file[faults[fault].bad_record * RECORD] = kept;
                memset(&train, 0xff, sizeof train);
                memset(&test, 0xff, sizeof test);
                loaded = which ? genreg_load_cifar10(c, where, &train, NULL) : genreg_load_cifar10(c, where, NULL, &test);
                CHECK(!loaded && (which ? train.n : test.n) == 0 && !(which ? train.bytes : test.bytes), "%s in %s: a set in spite of it", faults[fault].what, name);
                sprintf(named, "%s.bin", name);
                CHECK(strstr(genreg_error_message(c), named) != NULL, "%s: the message lacks %s: %s", faults[fault].what, named, genreg_error_message(c));
                CHECK(faults[fault].status != GENREG_ERROR_FORMAT || strstr(genreg_error_message(c), "fetch it again"), "%s: no way out: %s", faults[fault].what, genreg_error_message(c));
                CHECK_ERROR(c, faults[fault].status, faults[fault].text);
                CHECK(live == before, "%s in %s: %ld blocks are lost", faults[fault].what, name, live - before);
                if (which) {
                    remove(link);
                    if (symlink("test_batch.bin", link) != 0) links_stand = 0;
                } else put_file(path, file, (size_t)RECORD * RECORDS);
            }
        CHECK(genreg_load_cifar10(c, where, NULL, &test) && test.n == RECORDS && test.labels[3] == file[3 * RECORD], "the context goes on: %s", genreg_error_message(c));
        sprintf(link, "%s/nowhere", where);
        CHECK(!genreg_load_cifar10(c, link, &train, &test) && train.n == 0 && test.n == 0, "no folder");
        CHECK(strstr(genreg_error_message(c), link) != NULL, "the message names the folder: %s", genreg_error_message(c));
        CHECK_ERROR(c, GENREG_ERROR_FILE, "data_batch_1.bin: there is no such file or folder");
        CHECK(!genreg_load_cifar10(c, path, NULL, &test) && test.n == 0, "a file in the folder's place");
        CHECK_ERROR(c, GENREG_ERROR_FILE, "test_batch.bin: a part of its path is no folder");
    }
    CHECK(!genreg_load_cifar10(NULL, where, &train, &test), "without a context");
    for (i = 0; i < 5; i++) {
        sprintf(link, "%s/%s.bin", where, more[i]);
        remove(link);
    }
    remove(path);
    rmdir(where);
    free(file);
    genreg_destroy(c);
#else
    printf("skipped: CIFAR-10 (no mkdir)\n");
#endif
}

/* ------------------------------------------------------------------------------------------------ models */

enum { HEIGHT = 6, WIDTH = 5, CHANNELS = 3, PIXELS = HEIGHT * WIDTH * CHANNELS }; /* what goes in */
enum { H = 3, W = 2, C = 4, FLAT = H * W * C };                                  /* what is flattened */

/* Most kinds of layers, three scopes, and a linear layer that stands behind the flattening one with something in between. */
static genreg_model *every_kind(genreg_ctx *c, genreg_init_scheme scheme, uint64_t seed)
{
    const int shape[3] = { HEIGHT, WIDTH, CHANNELS };
    genreg_model *m = genreg_model_create(c, 3, shape);
    genreg_model_scope(m, "features");
    genreg_layer_conv2d(m, C, 3, 1, 1);
    genreg_layer_batch_norm(m);
    genreg_layer_tanh(m);
    genreg_layer_avg_pool(m, 2);
    genreg_layer_flatten(m);
    genreg_layer_dropout(m, 0.3);
    genreg_layer_linear(m, 7);
    genreg_layer_relu(m);
    genreg_model_scope(m, "classifier.inner");
    genreg_layer_linear(m, 5);
    genreg_layer_sigmoid(m);
    genreg_layer_dropout(m, 1.0 / 3);
    genreg_model_scope(m, "head-2_x");
    genreg_layer_linear(m, 3);
    genreg_init(m, scheme, seed);
    return m;
}

static genreg_real *filled(const genreg_model *m, genreg_real scale)
{
    ptrdiff_t i;
    for (i = 0; m->state && i < m->state->size; i++) m->state->data[i] = (genreg_real)(1.1 + wild((unsigned)(i + 5000))); /* variances are positive */
    for (i = 0; i < m->theta->size; i++) m->theta->data[i] = (genreg_real)((double)scale * wild((unsigned)i) / 3);
    return m->theta->data;
}

static genreg_tensor *images_for(genreg_ctx *c, int n)
{
    int shape[4] = { 0, HEIGHT, WIDTH, CHANNELS }, i;
    genreg_tensor *x;
    shape[0] = n;
    x = genreg_constant(c, 4, shape, NULL);
    for (i = 0; x && i < n * PIXELS; i++) x->data[i] = (genreg_real)(2 * wild((unsigned)(i + 7000)));
    return x;
}

static int same_bytes(const genreg_real *a, const genreg_real *b, ptrdiff_t n) { return !memcmp(a, b, (size_t)n * sizeof *a); }

static void test_model_round_trip(void)
{
    int scheme, i;
    const char *path = scratch("model.safetensors");
    for (scheme = 0; scheme < GENREG_INIT_COUNT; scheme++) {
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1), *other = check_context(GENREG_ISA_AUTO, 1);
        genreg_model *m = every_kind(c, (genreg_init_scheme)scheme, 0xfedcba9876543210u + (unsigned)scheme), *n;
        genreg_tensor *x, *y, *z;
        genreg_pass pass;
        ptrdiff_t size = m->theta->size;
        /* Values that only a copy of the bits keeps. */
        m->theta->data[0] = (genreg_real)-0.0;
        m->theta->data[1] = (genreg_real)INFINITY;
        m->theta->data[2] = (genreg_real)-INFINITY;
        m->theta->data[3] = (genreg_real)(DOUBLE ? 4.9e-324 : 1.4e-45);
        m->theta->data[4] = (genreg_real)NAN;
        m->theta->data[5] = (genreg_real)(1.0 / 3);
        strcpy(m->data_name, "a \"set\"\\ of 1,5");
        m->channels = 4;
        for (i = 0; i < 4; i++) {
            m->mean[i] = 0.1f * (float)(i + 1);
            m->std[i] = 1 / (float)(i + 3);
        }
        CHECK(genreg_save_model(m, path), "%s", genreg_error_message(c));
        n = genreg_load_model(other, path);
        CHECK(n != NULL, "%s", genreg_error_message(other));
        if (n) {
            int equal = n->parameter_count == m->parameter_count;
            CHECK(n->layer_count == m->layer_count && n->theta->size == size && same_bytes(m->theta->data, n->theta->data, size), "every bit of every parameter");
            CHECK(n->state && n->state->size == m->state->size && same_bytes(m->state->data, n->state->data, m->state->size), "and of the running statistics");
            CHECK(n->theta->tracked && n->scheme == m->scheme && n->seed == m->seed, "scheme %d, seed %lx", (int)n->scheme, (unsigned long)n->seed);
            CHECK(!strcmp(n->data_name, m->data_name) && n->channels == 4 && !memcmp(n->mean, m->mean, sizeof m->mean) && !memcmp(n->std, m->std, sizeof m->std), "the set's name and normalisation: %s", n->data_name);
            for (i = 0; equal && i < m->parameter_count; i++)
                equal = !strcmp(m->parameters[i].name, n->parameters[i].name) && m->parameters[i].offset == n->parameters[i].offset && m->parameters[i].layer == n->parameters[i].layer;
            CHECK(equal, "names and places");
            filled(m, 1);
            CHECK(genreg_save_model(m, path), "over the old file: %s", genreg_error_message(c));
            n = genreg_load_model(other, path);
            memset(&pass, 0, sizeof pass);
            pass.training = 1; /* dropout's probabilities and places come along, and the NTK's scales */
            pass.seed = 3;
            x = images_for(c, 9);
            y = genreg_forward(m, NULL, x, &pass);
            z = n ? genreg_forward(n, NULL, images_for(other, 9), &pass) : NULL;
            CHECK(y && z && y->size == z->size && same_bytes(y->data, z->data, y->size), "the same function: %s", genreg_error_message(other));
            pass.training = 0;
            CHECK(y && !same_bytes(y->data, genreg_forward(m, NULL, x, &pass)->data, y->size), "in which dropout plays a part");
            y = genreg_forward(m, NULL, x, NULL); /* the statistics have moved in both */
            z = n ? genreg_forward(n, NULL, images_for(other, 9), NULL) : NULL;
            CHECK(y && z && same_bytes(y->data, z->data, y->size), "the same function in evaluation: %s", genreg_error_message(other));
        }
        genreg_destroy(c);
        genreg_destroy(other);
    }
    { /* smaller matters: one layer; the end of a scope; many layers; a model of plain features; a Hessian of a loaded model */
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
        const int one = 1, three = 3;
        genreg_model *m = genreg_model_create(c, 1, &one), *n = NULL;
        genreg_layer_linear(m, 1);
        genreg_init(m, GENREG_INIT_PYTORCH, 1);
        CHECK(genreg_save_model(m, path) && (n = genreg_load_model(c, path)) != NULL && same_bytes(m->theta->data, n->theta->data, 2), "one weight and one bias: %s", genreg_error_message(c));
        m = genreg_model_create(c, 1, &three);
        genreg_model_scope(m, "a");
        genreg_layer_linear(m, 3);
        genreg_model_scope(m, "");
        genreg_layer_linear(m, 3);
        genreg_init(m, GENREG_INIT_PYTORCH, 1);
        CHECK(!strcmp(m->parameters[2].name, "0.weight"), "names after the end of a scope: %s", m->parameters[2].name);
        CHECK(genreg_save_model(m, path) && (n = genreg_load_model(c, path)) != NULL && same_bytes(m->theta->data, n->theta->data, 24) && !strcmp(n->parameters[2].name, "0.weight"),
              "the end of a scope: %s", genreg_error_message(c));
        genreg_clear_error(c);
        m = genreg_model_create(c, 1, &three);
        {
            const int tall[3] = { 16, 9, 2 };
            genreg_model *cnn = genreg_cnn(c, tall, 3, 1, 4), *pooled = genreg_model_create(c, 3, tall);
            genreg_layer_conv2d(pooled, 5, 5, 3, 2);
            genreg_layer_global_avg_pool(pooled);
            genreg_layer_linear(pooled, 2);
            genreg_init(pooled, GENREG_INIT_NTK, 3);
            filled(cnn, 1);
            CHECK(genreg_save_model(cnn, path) && (n = genreg_load_model(c, path)) != NULL && n->layer_count == cnn->layer_count && same_bytes(cnn->theta->data, n->theta->data, cnn->theta->size)
                  && same_bytes(cnn->state->data, n->state->data, cnn->state->size), "a CNN: %s", genreg_error_message(c));
            CHECK(genreg_save_model(pooled, path) && (n = genreg_load_model(c, path)) != NULL && !n->state && same_bytes(pooled->theta->data, n->theta->data, pooled->theta->size), "pooled: %s",
                  genreg_error_message(c));
            if (n) {
                genreg_tensor *x = genreg_full(c, 4, (const int[4]){ 1, 16, 9, 2 }, 0.3);
                CHECK(same_bytes(genreg_forward(n, NULL, x, NULL)->data, genreg_forward(pooled, NULL, x, NULL)->data, 2), "strides, paddings and scales");
            }
        }
        for (i = 0; i < 300; i++) genreg_layer_linear(m, 3);
        genreg_init(m, GENREG_INIT_PYTORCH, 1);
        CHECK(genreg_save_model(m, path) && (n = genreg_load_model(c, path)) != NULL && same_bytes(m->theta->data, n->theta->data, 3600), "300 layers: %s", genreg_error_message(c));
        genreg_destroy(c);
    }
    remove(path);
}

/* ---- reading a header without the library */

static size_t header_bytes(const unsigned char *file)
{
    size_t n = 0;
    int i;
    for (i = 7; i >= 0; i--) n = n << 8 | file[i];
    return n;
}

/* Whether the header has this text. */
static int find_text(const unsigned char *file, const char *text)
{
    const size_t n = header_bytes(file), length = strlen(text);
    size_t i;
    for (i = 0; i + length <= n; i++)
        if (!memcmp(file + 8 + i, text, length)) return 1;
    return 0;
}

/* Where a tensor's values are; 0 if it is not there with this shape. */
static size_t find_values(const unsigned char *file, const char *name, const char *shape)
{
    char key[128];
    const char *at;
    size_t n = header_bytes(file), begin;
    char *text = (char *)malloc(n + 1);
    memcpy(text, file + 8, n);
    text[n] = 0;
    sprintf(key, "\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[", name, REAL_NAME, shape);
    at = strstr(text, key);
    begin = at ? 8 + n + (size_t)atol(at + strlen(key)) : 0;
    free(text);
    return begin;
}

static double value_at(const unsigned char *p, int wide)
{
    uint64_t bits = 0;
    uint32_t low;
    double d;
    float f;
    int i;
    for (i = wide ? 7 : 3; i >= 0; i--) bits = bits << 8 | p[i];
    low = (uint32_t)bits;
    memcpy(&d, &bits, sizeof d);
    memcpy(&f, &low, sizeof f);
    return wide ? d : (double)f;
}

/* Each value of the file is where PyTorch would have it: a weight is [out, in], and behind a flattened image `in` runs over channels, then
   rows, then columns, where the library's memory runs over rows, columns, channels. */
static void test_order_of_elements(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    genreg_model *m = every_kind(c, GENREG_INIT_PYTORCH, 1);
    const char *path = scratch("order.safetensors");
    unsigned char *file;
    size_t bytes, at;
    ptrdiff_t k;
    int o, h, w, ch, wrong = 0, between;
    for (k = 0; k < m->theta->size; k++) m->theta->data[k] = (genreg_real)k; /* a value says where it was */
    for (k = 0; k < m->state->size; k++) m->state->data[k] = (genreg_real)(100 + k);
    CHECK(genreg_save_model(m, path), "%s", genreg_error_message(c));
    file = get_file(path, &bytes);
    at = find_values(file, "features.6.weight", "[7,24]");
    CHECK(at, "features.6.weight is [7,24]");
    for (o = 0; o < 7 && at; o++)
        for (ch = 0; ch < C; ch++)
            for (h = 0; h < H; h++)
                for (w = 0; w < W; w++) {
                    double want = (double)m->parameters[4].offset + ((h * W + w) * C + ch) * 7 + o;
                    wrong += value_at(file + at + REAL_BYTES * (size_t)(o * FLAT + (ch * H + h) * W + w), DOUBLE) != want;
                }
    CHECK(wrong == 0, "%d of 168 weights behind the image are in the wrong place", wrong);
    at = find_values(file, "features.6.bias", "[7]");
    for (o = 0; o < 7 && at; o++) wrong += value_at(file + at + REAL_BYTES * (size_t)o, DOUBLE) != (double)m->parameters[5].offset + o;
    CHECK(at && wrong == 0, "biases");
    at = find_values(file, "classifier.inner.0.weight", "[5,7]");
    for (o = 0; o < 5 && at; o++)
        for (k = 0; k < 7; k++) wrong += value_at(file + at + REAL_BYTES * (size_t)(o * 7 + k), DOUBLE) != (double)(m->parameters[6].offset + k * 5 + o);
    CHECK(at && wrong == 0, "%d of 35 weights of the second layer are in the wrong place", wrong);
    at = find_values(file, "features.0.weight", "[4,3,3,3]"); /* [out, in, height, width] there, [height, width, in, out] here */
    for (o = 0; o < C && at; o++)
        for (ch = 0; ch < CHANNELS; ch++)
            for (h = 0; h < 3; h++)
                for (w = 0; w < 3; w++) wrong += value_at(file + at + REAL_BYTES * (size_t)(((o * CHANNELS + ch) * 3 + h) * 3 + w), DOUBLE) != ((h * 3 + w) * CHANNELS + ch) * C + o;
    CHECK(at && wrong == 0, "%d of 108 weights of the convolution are in the wrong place", wrong);
    for (o = 0; o < 4; o++) { /* batch norm: gamma, beta, running mean and variance, by PyTorch's names */
        static const char *const name[] = { "features.1.weight", "features.1.bias", "features.1.running_mean", "features.1.running_var" };
        at = find_values(file, name[o], "[4]");
        for (k = 0; k < C && at; k++) wrong += value_at(file + at + REAL_BYTES * (size_t)k, DOUBLE) != (o < 2 ? (double)(m->parameters[2 + o].offset + k) : 100.0 + 4 * (o - 2) + (double)k);
        CHECK(at && wrong == 0, "%s", name[o]);
    }
    CHECK(find_values(file, "head-2_x.0.bias", "[3]") + 3 * REAL_BYTES == find_values(file, "features.1.running_mean", "[4]")
          && find_values(file, "features.1.running_var", "[4]") + 4 * REAL_BYTES == bytes, "the last tensor ends where the file ends");
    free(file);

    for (between = 0; between < 5; between++) { /* whatever stands between: nothing, relu, dropout, both; and a linear layer, which ends it */
        const int shape[3] = { 2, 1, 3 };
        genreg_model *n = genreg_model_create(c, 3, shape);
        char name[32];
        genreg_layer_flatten(n);
        if (between == 1 || between == 3) genreg_layer_relu(n);
        if (between == 2 || between == 3) genreg_layer_dropout(n, 0.5);
        if (between == 4) genreg_layer_linear(n, 6);
        genreg_layer_linear(n, 2);
        genreg_init(n, GENREG_INIT_HE, 1);
        for (k = 0; k < n->theta->size; k++) n->theta->data[k] = (genreg_real)k;
        genreg_save_model(n, path);
        file = get_file(path, &bytes);
        sprintf(name, "%d.weight", n->layer_count - 1);
        at = find_values(file, name, "[2,6]");
        CHECK(at, "%s is [2,6]", name);
        for (o = 0, wrong = 0; o < 2 && at; o++)
            for (k = 0; k < 6; k++) {
                ptrdiff_t row = between == 4 ? k : k % 2 * 3 + k / 2; /* [2,1,3] to channel, row */
                wrong += value_at(file + at + REAL_BYTES * (size_t)(o * 6 + k), DOUBLE) != (double)(n->parameters[n->parameter_count - 2].offset + row * 2 + o);
            }
        CHECK(wrong == 0, "%d weights are in the wrong place, variant %d", wrong, between);
        free(file);
    }
    { /* batch norm of a flattened image: all four of its vectors run over channels first as well */
        static const char *const names[] = { "1.weight", "1.bias", "1.running_mean", "1.running_var" };
        const int shape[3] = { 2, 1, 3 };
        genreg_model *n = genreg_model_create(c, 3, shape);
        genreg_layer_flatten(n);
        genreg_layer_batch_norm(n);
        genreg_layer_relu(n);
        genreg_layer_linear(n, 2);
        genreg_init(n, GENREG_INIT_HE, 1);
        for (k = 0; k < n->theta->size; k++) n->theta->data[k] = (genreg_real)k;
        for (k = 0; k < n->state->size; k++) n->state->data[k] = (genreg_real)(100 + k);
        genreg_save_model(n, path);
        file = get_file(path, &bytes);
        for (o = 0, wrong = 0; o < 4; o++) {
            at = find_values(file, names[o], "[6]");
            for (k = 0; k < 6; k++) wrong += !at || value_at(file + at + REAL_BYTES * (size_t)k, DOUBLE) != (double)((o < 2 ? 6 * o : 100 + 6 * (o - 2)) + k % 2 * 3 + k / 2);
        }
        at = find_values(file, "3.weight", "[2,6]");
        for (o = 0; o < 2; o++)
            for (k = 0; k < 6; k++) wrong += !at || value_at(file + at + REAL_BYTES * (size_t)(o * 6 + k), DOUBLE) != (double)(12 + (k % 2 * 3 + k / 2) * 2 + o);
        CHECK(wrong == 0, "%d values are in the wrong place", wrong);
        free(file);
    }
    remove(path);
    genreg_destroy(c);
}

/* A file that was written elsewhere: by PyTorch's order and the specification, tensors in another order, white space in the header. */
static void test_foreign_file(void)
{
    static const char *const name[] = { "image_f32.safetensors", "image_f64.safetensors" };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    fixture x;
    const double *shape, *pixels, *outputs;
    int i, k, n, ch, h, w, size[4];
    CHECK(fixture_read(&x, __FILE__, "image.txt"), "image.txt");
    shape = fixture_get(&x, "shape", 4);
    pixels = fixture_get(&x, "x", 96);
    outputs = fixture_get(&x, "outputs", 12);
    for (i = 0; i < 2 && shape && pixels && outputs; i++) {
        char path[1024];
        genreg_model *m;
        genreg_tensor *in, *out;
        double worst = 0;
        fixture_path(path, sizeof path, __FILE__, name[i]);
        m = genreg_load_model(c, path);
        CHECK(m != NULL, "%s", genreg_error_message(c));
        if (!m) continue;
        size[0] = (int)shape[0]; size[1] = (int)shape[2]; size[2] = (int)shape[3]; size[3] = (int)shape[1];
        in = genreg_constant(c, 4, size, NULL);
        for (n = 0, k = 0; n < size[0]; n++) /* from [n, channels, height, width] */
            for (ch = 0; ch < size[3]; ch++)
                for (h = 0; h < size[1]; h++)
                    for (w = 0; w < size[2]; w++) in->data[((n * size[1] + h) * size[2] + w) * size[3] + ch] = (genreg_real)pixels[k++];
        out = genreg_forward(m, NULL, in, NULL);
        CHECK(out && out->size == 12, "%s", genreg_error_message(c));
        for (k = 0; out && k < 12; k++) worst = fabs((double)out->data[k] - outputs[k]) > worst ? fabs((double)out->data[k] - outputs[k]) : worst;
        CHECK(worst < (DOUBLE && i == 1 ? 1e-10 : 1e-5), "%s: outputs are off by %g", name[i], worst);
        CHECK(!strcmp(m->data_name, "made up") && m->channels == 2 && m->mean[0] == 0.5f && m->std[0] == 1 && m->mean[1] == 0.25f && m->std[1] == 2 && m->seed == 7 && m->scheme == GENREG_INIT_PYTORCH,
              "%s: its metadata", name[i]);
        genreg_model_free(m);
    }
    fixture_free(&x);
    genreg_destroy(c);
}

/* ------------------------------------------------------------------------------------------------ runs */

enum { POINTS = 22, TOTAL = 9 }; /* three epochs of 8, 8, 6 */

static genreg_dataset points(genreg_ctx *c)
{
    static genreg_real x[POINTS * PIXELS];
    static int y[POINTS];
    const int shape[3] = { HEIGHT, WIDTH, CHANNELS };
    genreg_dataset d;
    int i;
    for (i = 0; i < POINTS * PIXELS; i++) x[i] = (genreg_real)wild((unsigned)i);
    for (i = 0; i < POINTS; i++) y[i] = i * i % 3;
    d = genreg_dataset_reals(c, x, y, POINTS, 3, shape, 3);
    strcpy(d.name, "points");
    return d;
}

static genreg_train_options run_options(int variant)
{
    genreg_train_options o = genreg_train_defaults();
    o.epochs = 3;
    o.batch = 8;
    o.seed = 0x123456789abcdefu;
    o.weight_decay = 0.01;
    if (variant == 1) { o.optimizer = GENREG_OPTIMIZER_ADAM; o.schedule = GENREG_SCHEDULE_STEP; o.schedule_by_step = 1; o.period = 4; o.gamma = 0.5; o.loss = GENREG_LOSS_MSE; }
    if (variant == 2) { o.nesterov = 1; o.schedule_by_step = 1; o.lr_min = 1e-3; o.no_shuffle = 1; }
    if (variant == 3) { o.flip = 1; o.crop = 1; }
    return o;
}

static int same_progress(const genreg_progress *a, const genreg_progress *b)
{
    return a->epoch == b->epoch && a->step == b->step && a->samples == b->samples && a->lr == b->lr && (a->loss == b->loss || (a->loss != a->loss && b->loss != b->loss))
           && (a->accuracy == b->accuracy || (a->accuracy != a->accuracy && b->accuracy != b->accuracy));
}

static int stop_at_once(const genreg_progress *p, void *user)
{
    (void)p; (void)user;
    return 1;
}

static void test_resume(void)
{
    int variant, k;
    for (variant = 0; variant < 5; variant++) { /* the last one is pruned */
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
        genreg_dataset d = points(c);
        genreg_train_options o = run_options(variant == 4 ? 1 : variant);
        genreg_model *unbroken = every_kind(c, GENREG_INIT_HE, 1), *saved = every_kind(c, GENREG_INIT_HE, 1);
        genreg_trainer *t = genreg_trainer_create(unbroken, &d, &o), *s = genreg_trainer_create(saved, &d, &o);
        genreg_progress end, at;
        char path[TOTAL + 1][640];
        ptrdiff_t n = unbroken->theta->size;
        if (variant == 4) CHECK(genreg_prune(unbroken, 0.3, NULL) && genreg_set_mask(saved, unbroken->mask, n), "%s", genreg_error_message(c));
        while (genreg_trainer_step(t)) {}
        end = genreg_trainer_progress(t);
        CHECK(end.step == TOTAL && genreg_error(c) == GENREG_OK, "%s", genreg_error_message(c));
        for (k = 0; k <= TOTAL; k++) { /* saved at every place: before the first step, in the middle of an epoch, at its end, at the end */
            char name[32];
            sprintf(name, "run%d.safetensors", k);
            strcpy(path[k], scratch(name));
            CHECK(genreg_trainer_save(s, path[k]), "%s", genreg_error_message(c));
            genreg_trainer_step(s);
        }
        CHECK(same_bytes(unbroken->theta->data, saved->theta->data, n), "saving does not disturb a run");
        for (k = 0; k <= TOTAL; k++) {
            genreg_ctx *fresh = check_context(GENREG_ISA_AUTO, 1);
            genreg_dataset again = points(fresh);
            genreg_model *m = every_kind(fresh, GENREG_INIT_HE, 99), *reader; /* other parameters: all must come from the file */
            genreg_trainer *r = genreg_trainer_create(m, &again, &o);
            genreg_progress p;
            int steps = 0;
            if (k % 2) { genreg_trainer_step(r); genreg_trainer_step(r); } /* whatever the trainer did before is gone */
            if (k % 3 == 2) genreg_prune(m, 0.5, NULL); /* and whatever mask it had */
            CHECK(genreg_trainer_load(r, path[k]), "%s", genreg_error_message(fresh));
            at = genreg_trainer_progress(r);
            CHECK(at.step == k && at.epoch == (k + 2) / 3, "step %d of epoch %d after loading", (int)at.step, at.epoch);
            reader = genreg_load_model(fresh, path[k]); /* a run's file is a model's file as well */
            CHECK(reader && same_bytes(reader->theta->data, m->theta->data, n), "%s", genreg_error_message(fresh));
            CHECK(variant < 4 ? !m->mask && !reader->mask : m->mask && reader->mask && !memcmp(m->mask, unbroken->mask, (size_t)n) && !memcmp(reader->mask, unbroken->mask, (size_t)n), "the mask is that of the file");
            while (genreg_trainer_step(r)) steps++;
            p = genreg_trainer_progress(r);
            CHECK(same_bytes(unbroken->theta->data, m->theta->data, n) && same_bytes(unbroken->state->data, m->state->data, m->state->size), "variant %d resumed at step %d ends elsewhere", variant, k);
            CHECK(same_progress(&p, &end), "variant %d resumed at step %d: loss %.17g of %.17g, accuracy %g of %g, %d samples", variant, k, p.loss, end.loss, p.accuracy, end.accuracy, p.samples);
            CHECK(steps == (k < TOTAL ? TOTAL - k - 1 : 0), "%d steps from step %d", steps, k);
            genreg_destroy(fresh);
            remove(path[k]);
        }
        if (variant == 0) { /* as many steps as there can be, in full in the file */
            genreg_model *m = every_kind(c, GENREG_INIT_HE, 1);
            genreg_train_options endless = o;
            genreg_trainer *r;
            unsigned char *file;
            size_t bytes;
            endless.steps = INT64_MAX;
            r = genreg_trainer_create(m, &d, &endless);
            CHECK(genreg_trainer_epoch(r) && genreg_trainer_save(r, path[0]), "%s", genreg_error_message(c));
            file = get_file(path[0], &bytes);
            CHECK(file && find_text(file, "\"genreg.run\":\"0 0 2 0 30 8 9223372036854775807 19088743 "), "the number of steps");
            free(file);
            CHECK(genreg_trainer_epoch(r) && genreg_trainer_load(r, path[0]) && genreg_trainer_progress(r).step == 3, "%s", genreg_error_message(c));
            remove(path[0]);
        }
        if (variant == 0) { /* a run that a callback stopped stays stopped */
            genreg_model *m = every_kind(c, GENREG_INIT_HE, 1);
            genreg_train_options stopping = o;
            genreg_trainer *r;
            stopping.on_epoch = stop_at_once;
            r = genreg_trainer_create(m, &d, &stopping);
            while (genreg_trainer_step(r)) {}
            CHECK(genreg_trainer_save(r, path[0]), "%s", genreg_error_message(c));
            m = every_kind(c, GENREG_INIT_HE, 2);
            r = genreg_trainer_create(m, &d, &stopping);
            CHECK(genreg_trainer_load(r, path[0]) && !genreg_trainer_step(r) && genreg_trainer_progress(r).step == 3, "%s", genreg_error_message(c));
            remove(path[0]);
        }
        genreg_destroy(c);
    }
    CHECK(live == 0, "%ld blocks are left", live);
}

/* ------------------------------------------------------------------------------------------------ damage */

/* A trainer in the middle of its run, what it is like, and the file that says the same. */
typedef struct subject {
    genreg_ctx *c;
    genreg_model *m;
    genreg_trainer *t;
    genreg_real *theta;
    genreg_progress progress;
    unsigned char *file;
    size_t bytes;
    char path[640], good[640];
} subject;

static subject make_subject(int variant)
{
    subject s;
    genreg_dataset d;
    genreg_train_options o = run_options(variant);
    s.c = check_context(GENREG_ISA_AUTO, 1);
    d = points(s.c);
    s.m = every_kind(s.c, GENREG_INIT_HE, 1);
    s.t = genreg_trainer_create(s.m, &d, &o);
    if (variant == 1) genreg_prune(s.m, 0.4, NULL); /* with a mask in its file */
    genreg_trainer_step(s.t);
    genreg_trainer_step(s.t);
    genreg_trainer_step(s.t);
    genreg_trainer_step(s.t); /* one step into the second epoch */
    strcpy(s.good, scratch("good.safetensors"));
    strcpy(s.path, scratch("bad.safetensors"));
    CHECK(genreg_trainer_save(s.t, s.good), "%s", genreg_error_message(s.c));
    s.file = get_file(s.good, &s.bytes);
    s.theta = (genreg_real *)malloc((size_t)s.m->theta->size * sizeof *s.theta);
    memcpy(s.theta, s.m->theta->data, (size_t)s.m->theta->size * sizeof *s.theta);
    s.progress = genreg_trainer_progress(s.t);
    return s;
}

/* Whether the trainer is, to the bit, where it was: its file says so. */
static int unchanged(subject *s)
{
    const char *path = scratch("again.safetensors");
    size_t n;
    unsigned char *again;
    int same;
    genreg_trainer_save(s->t, path);
    again = get_file(path, &n);
    same = again && n == s->bytes && !memcmp(again, s->file, n);
    free(again);
    remove(path);
    return same;
}

static void end_subject(subject *s)
{
    CHECK(unchanged(s), "the trainer is not what it was");
    free(s->theta);
    free(s->file);
    remove(s->path);
    remove(s->good);
    genreg_destroy(s->c);
}

/* Loads what is at s->path as a run and as a model. A file that is refused leaves all as it was. Returns whether either was taken. */
static int try_both(subject *s, const char *what)
{
    long before = live;
    genreg_progress p;
    genreg_model *m;
    int taken = genreg_trainer_load(s->t, s->path);
    if (!taken) one_line_about(s->c, s->path, what);
    p = genreg_trainer_progress(s->t);
    if (!taken && (!same_bytes(s->theta, s->m->theta->data, s->m->theta->size) || !same_progress(&p, &s->progress))) CHECK(0, "%s: refused, and yet the trainer has changed", what);
    CHECK(live == before, "%s: %ld blocks are lost", what, live - before);
    m = genreg_load_model(s->c, s->path);
    if (!m) one_line_about(s->c, s->path, what);
    if (m) taken |= 2;
    genreg_model_free(m);
    CHECK(live == before, "%s: %ld blocks are lost", what, live - before);
    return taken;
}

/* The good file with `from` in its header (must be there) replaced by `to`, padded and with the right length. */
static void edited(subject *s, const char *from, const char *to)
{
    size_t n = header_bytes(s->file), before, head, length, i, at = 0;
    const char *place = NULL;
    unsigned char *out;
    for (i = 0; i + strlen(from) <= n && !place; i++)
        if (!memcmp(s->file + 8 + i, from, strlen(from))) place = (const char *)s->file + 8 + i;
    CHECK(place != NULL, "the header has no %s", from);
    if (!place) return;
    before = (size_t)(place - (const char *)s->file) - 8;
    head = before + strlen(to) + (n - before - strlen(from));
    length = (head + 7) / 8 * 8;
    out = (unsigned char *)malloc(8 + length + s->bytes);
    for (i = 0; i < 8; i++) out[at++] = (unsigned char)((uint64_t)length >> (8 * i) & 255u);
    memcpy(out + at, s->file + 8, before);
    at += before;
    memcpy(out + at, to, strlen(to));
    at += strlen(to);
    memcpy(out + at, place + strlen(from), n - before - strlen(from));
    at += n - before - strlen(from);
    while (at < 8 + length) out[at++] = ' ';
    memcpy(out + at, s->file + 8 + n, s->bytes - 8 - n);
    at += s->bytes - 8 - n;
    put_file(s->path, out, at);
    free(out);
}

static void test_cut_short(void)
{
    subject s = make_subject(0);
    size_t header = 8 + header_bytes(s.file), n, taken = 0;
    for (n = 0; n < s.bytes; n += n < header + 16 || n + 16 > s.bytes ? 1 : 97) {
        put_file(s.path, s.file, n);
        taken += try_both(&s, "a file that was cut short") != 0;
    }
    CHECK(taken == 0, "%d beginnings of a file were taken", (int)taken);
    { /* with something behind its end, where the specification has nothing */
        unsigned char *longer = (unsigned char *)malloc(s.bytes + 8);
        memcpy(longer, s.file, s.bytes);
        memset(longer + s.bytes, 0, 8);
        put_file(s.path, longer, s.bytes + 8);
        try_both(&s, "a file with a tail"); /* may be taken or not: but whole */
        genreg_trainer_load(s.t, s.good);
        free(longer);
    }
    end_subject(&s);
}

static void test_flips(void)
{
    int variant;
    for (variant = 0; variant < 2; variant++) {
        subject s = make_subject(variant);
        size_t header = 8 + header_bytes(s.file);
        int i, k, taken = 0, refused = 0;
        for (i = 0; i < 4000; i++) {
            unsigned char *bad = (unsigned char *)malloc(s.bytes);
            int flips = i % 3 == 2 ? 4 : 1;
            memcpy(bad, s.file, s.bytes);
            for (k = 0; k < flips; k++) {
                unsigned r = (unsigned)(8388608 * (1 + wild((unsigned)(4 * i + k) + 90000u * (unsigned)(variant + 1))));
                size_t where = (i % 8 ? 0 : 8) + r % (i % 8 ? header : s.bytes - 8); /* mostly in the header, where it matters */
                bad[where] ^= (unsigned char)(1 + (r >> 8) % 255);
            }
            put_file(s.path, bad, s.bytes);
            if (try_both(&s, "a file with flipped bytes") & 1) { /* a value, a name of no consequence: then the good file must put it right */
                taken++;
                if (!genreg_trainer_load(s.t, s.good) || !same_bytes(s.theta, s.m->theta->data, s.m->theta->size)) CHECK(0, "the good file: %s", genreg_error_message(s.c));
                genreg_clear_error(s.c);
            } else refused++;
            free(bad);
        }
        CHECK(refused > 2000 && taken > 10, "%d refused, %d taken", refused, taken);
        end_subject(&s);
    }
}

static void test_bad_headers(void)
{
    static const char *const length[] = {
        "\0\0\0\0\0\0\0\0", "\1\0\0\0\0\0\0\0", "\xff\xff\xff\xff\xff\xff\xff\xff", "\0\0\0\0\0\0\0\x80", "\xff\xff\xff\xff\xff\xff\xff\x7f", "\0\0\0\0\1\0\0\0", "\0\0\0\1\0\0\0\0", "\1\0\0\1\0\0\0\0",
        "\xf8\xff\xff\xff\xff\xff\xff\xff",
    };
    /* What replaces what; each makes the file one of another model, or no checkpoint at all. */
    static const struct { const char *from, *to; } both[] = {
        { "\"features.6.weight\":{", "\"features.9.weight\":{" },
        { "[7,24]", "[24,7]" },
        { "[7,24]", "[168]" },
        { "[7,24]", "[7,24,1]" },
        { "[7,24]", "[7,23]" },
        { "[7,24]", "[7,24" },
        { "[7,24]", "7,24]" },
        { "[7,24]", "[7,,24]" },
        { "[7,24]", "[7,-24]" },
        { "[7,24]", "[-7,-24]" },
        { "[7,24]", "[7.0,24]" },
        { "[7,24]", "[0,24]" },
        { "[7,24]", "[1,1,1,7,24]" },
        { "[7,24]", "[\"7\",24]" },
        { "[7,24]", "[4294967296,4294967296]" },
        { "[7,24]", "[9223372036854775807,9223372036854775807]" },
        { "[7,24]", "[99999999999999999999999,24]" },
        { "[7,24]", "null" },
        { "\"data_offsets\":[0,", "\"data_offsets\":[1," },
        { "\"data_offsets\":[0,", "\"data_offsets\":[-4," },
        { "\"data_offsets\":[0,", "\"data_offsets\":[0,0," },
        { "\"data_offsets\":[0,", "\"data_offsets\":[9223372036854775807," },
        { "\"data_offsets\":[0,", "\"data_offsets\":[18446744073709551615," },
        { "\"data_offsets\":[0,", "\"data_offsets\":[18446744073709551616," },
        { "\"shape\":[7,24],", "" },
        { "\"shape\":[7,24],", "\"shape\":[7,24],\"more\":1," },
        { "\"dtype\":", "\"type\":" },
        { "\"dtype\":\"F", "\"dtype\":\"I" },
        { "\"dtype\":\"F", "\"dtype\":\"BF" },
        { "\"dtype\":\"F", "\"dtype\":\"" },
        { "{\"__metadata__\":", "[\"__metadata__\":" },
        { "{\"__metadata__\":", "{\"__metadata__\" " },
        { "{\"__metadata__\":", "\"__metadata__\":" },
        { "{\"__metadata__\":", "{,\"__metadata__\":" },
        { "{\"__metadata__\":{", "{\"__metadata__\":[" },
        { "{\"__metadata__\":{", "{\"__metadata__\":{\"a\":1," },
        { "{\"__metadata__\":{", "{\"__metadata__\":{\"a\":{\"b\":\"c\"}," },
        { "{\"__metadata__\":{", "{\"__metadata__\":{\"a\":\"\\x\"," },
        { "{\"__metadata__\":{", "{\"__metadata__\":{\"a\":\"\n\"," },
        { "{\"__metadata__\":{", "{\"__metadata__\":{\"a\"," },
        { "{\"__metadata__\":{", "{\"__metadata__\":{\"a," },
        { "{\"__metadata__\":{", "" },
        { "{\"__metadata__\":{", "{{{{{{{{{{{{{{{{" },
        { "genreg.architecture\":\"6x5x3", "genreg.architecture\":\"6x5x3x1" },
        { "genreg.architecture\":\"6x5x3", "genreg.architecture\":\"0x5x3" },
        { "genreg.architecture\":\"6x5x3", "genreg.architecture\":\"6x5x" },
        { "genreg.architecture\":\"6x5x3", "genreg.architecture\":\"" },
        { "genreg.architecture\":\"6x5x3", "genreg.architecture\":\"99999999999x5x3" },
        { "genreg.architecture\":\"6x5x3", "genreg.architecture\":\"2147483647x2147483647x2147483647" },
        { "genreg.architecture\":\"6x5x3", "genreg.architecture\":\"6x5x3;" },
        { "\"genreg.architecture\"", "\"genreg.architectur\"" },
        { "linear:7", "linear:" },
        { "linear:7", "linear:0" },
        { "linear:7", "linear:8" },
        { "linear:7", "linear:99999999999" },
        { "linear:7", "linear:89000000" },
        { "linear:7", "linear:7 linear:50000 linear:40000" },
        { "linear:7", "linear:7 linear:7" },
        { "linear:7", "linear" },
        { "linear:7", "lineal:7" },
        { "linear:7", "conv_of_a_later_version_with_a_long_name_that_fits_nowhere:7" },
        { "relu", "gelu" },
        { " tanh", " tanh tanh" },
        { "conv2d:4,3,1,1", "conv2d:4,3,1" },
        { "conv2d:4,3,1,1", "conv2d:" },
        { "conv2d:4,3,1,1", "conv2d:4,3,0,1" },
        { "conv2d:4,3,1,1", "conv2d:4,9,1,1" },
        { "conv2d:4,3,1,1", "conv2d:5,3,1,1" },
        { "conv2d:4,3,1,1", "conv2d:4,3,1,2" },
        { "conv2d:4,3,1,1", "conv2d:2147483647,3,1,1" },
        { "conv2d:4,3,1,1", "conv2d:4,2147483647,1,2147483647" },
        { "avg_pool:2", "avg_pool:0" },
        { "avg_pool:2", "avg_pool:7" },
        { "avg_pool:2", "avg_pool:" },
        { "avg_pool:2", "global_avg_pool" },
        { " batch_norm", "" },
        { " batch_norm", " batch_norm batch_norm" },
        { "features.1.running_mean", "features.1.running_mode" },
        { "[4,3,3,3]", "[3,3,3,4]" },
        { "[4,3,3,3]", "[4,27]" },
        { "relu ", "relu  " },
        { " flatten", "" },
        { "dropout:3fd3333333333333", "dropout:" },
        { "dropout:3fd3333333333333", "dropout:3fd33333333" },
        { "dropout:3fd3333333333333", "dropout:xyz" },
        { "dropout:3fd3333333333333", "dropout:3ff0000000000000" }, /* p = 1 */
        { "dropout:3fd3333333333333", "dropout:7ff8000000000000" }, /* NaN */
        { "@features", "@other" },
        { "@features", "@a_scope_of_more_than_23_letters" },
        { "@classifier.inner", "@features" },
        { "@features", "features" },
    };
    static const struct { const char *from, *to; } model_only[] = { /* what a run knows from its own model */
        { "\"genreg.init\"", "\"genreg.ini\"" },
        { "\"genreg.init\":\"", "\"genreg.init\":\"9" },
        { "\"genreg.init\":\"", "\"genreg.init\":\"x" },
        { "\"genreg.init\":\"", "\"genreg.init\":\"99999999999999999999" },
        { "\"genreg.normalisation\"", "\"genreg.normalization\"" },
        { "\"genreg.normalisation\":\"0", "\"genreg.normalisation\":\"5" },
        { "\"genreg.normalisation\":\"0", "\"genreg.normalisation\":\"1 3fe0000000000000" },
        { "\"genreg.dataset\"", "\"genreg.data\"" },
    };
    static const struct { const char *from, *to; } run_only[] = {
        { "\"genreg.run\"", "\"genreg.ran\"" },
        { "\"genreg.run\":\"", "\"genreg.run\":\"1" },
        { "\"genreg.progress\"", "\"genreg.progres\"" },
        { "\"genreg.progress\":\"4 2 8 0 ", "\"genreg.progress\":\"10 2 8 0 " }, /* more steps than there are */
        { "\"genreg.progress\":\"4 2 8 0 ", "\"genreg.progress\":\"4 2147483647 22 0 " }, /* the next epoch would be no int */
        { "\"genreg.progress\":\"4 2 8 0 ", "\"genreg.progress\":\"4 2147483648 8 0 " },
        { "\"genreg.progress\":\"4 2 8 0 ", "\"genreg.progress\":\"4 2 23 0 " }, /* more samples than there are */
        { "\"genreg.progress\":\"4 2 8 0 ", "\"genreg.progress\":\"4 2 -8 0 " },
        { "\"genreg.progress\":\"4 2 8 0 ", "\"genreg.progress\":\"-4 2 8 0 " },
        { "\"genreg.progress\":\"4 2 8 0 ", "\"genreg.progress\":\"4 2 8 0 9 " }, /* 9 right of 3 */
        { "\"genreg.progress\":\"4 2 8 0 ", "\"genreg.progress\":\"99999999999999999999 2 8 0 " },
        { "\"genreg.progress\":\"4 2 8 0 ", "\"genreg.progress\":\"" },
        { "\"genreg.progress\":\"4 2 8 0 ", "\"genreg.progress\":\"4 2 x 0 " },
        { "\"genreg.velocity\":{", "\"genreg.velo\":{" },
    };
    subject s = make_subject(0);
    char what[300];
    size_t i, n = header_bytes(s.file);
    unsigned char *file = (unsigned char *)malloc(s.bytes + 8);
    int taken = 0;
    for (i = 0; i < sizeof length / sizeof length[0]; i++) {
        memcpy(file, s.file, s.bytes);
        memcpy(file, length[i], 8);
        put_file(s.path, file, s.bytes);
        most = 0;
        taken += try_both(&s, "a header of absurd length");
        CHECK(most < 100000, "%lu bytes were asked for", (unsigned long)most);
    }
    put_file(s.path, "\2\0\0\0\1\0\0\0{}{}", 12); /* 2^32 + 2 bytes, which are not 2 where size_t has 32 bits */
    CHECK(!genreg_load_model(s.c, s.path), "a header of 2^32 + 2 bytes");
    CHECK_ERROR(s.c, GENREG_ERROR_FORMAT, "its header has an impossible length");
    memcpy(file, s.file, s.bytes); /* one character of the header counted as data, and one byte of the data as header */
    file[0] = (unsigned char)(n - 8);
    if (n % 256 >= 8) {
        put_file(s.path, file, s.bytes);
        taken += try_both(&s, "a header that is too short") & 1;
    }
    CHECK(taken == 0, "%d absurd lengths were taken", taken);
    free(file);

    for (i = 0; i < sizeof both / sizeof both[0]; i++) {
        edited(&s, both[i].from, both[i].to);
        sprintf(what, "%.100s -> %.100s", both[i].from, both[i].to);
        most = 0;
        taken = try_both(&s, what);
        CHECK(taken == 0, "%s was taken", what);
        CHECK(most < 300000, "%s: %lu bytes were asked for", what, (unsigned long)most);
    }
    for (i = 0; i < sizeof model_only / sizeof model_only[0]; i++) {
        edited(&s, model_only[i].from, model_only[i].to);
        sprintf(what, "%.100s -> %.100s", model_only[i].from, model_only[i].to);
        taken = try_both(&s, what);
        CHECK(!(taken & 2), "%s was taken", what);
        if (taken & 1) CHECK(genreg_trainer_load(s.t, s.good), "%s", genreg_error_message(s.c));
    }
    for (i = 0; i < sizeof run_only / sizeof run_only[0]; i++) {
        edited(&s, run_only[i].from, run_only[i].to);
        sprintf(what, "%.100s -> %.100s", run_only[i].from, run_only[i].to);
        taken = try_both(&s, what);
        CHECK(taken == 2, "%s: the run was %s, the model %s", what, taken & 1 ? "taken" : "refused", taken & 2 ? "taken" : "refused");
        if (taken & 1) genreg_trainer_load(s.t, s.good);
    }
    { /* more metadata than anyone needs */
        char *many = (char *)malloc(20000), *p = many;
        int k;
        p += sprintf(p, "{\"__metadata__\":{");
        for (k = 0; k < 500; k++) p += sprintf(p, "\"key%d\":\"value\",", k);
        edited(&s, "{\"__metadata__\":{", many);
        if (try_both(&s, "500 keys of metadata") & 1) genreg_trainer_load(s.t, s.good);
        p = many;
        for (k = 0; k < 10000; k++) *p++ = '[';
        *p = 0;
        edited(&s, "[7,24]", many);
        CHECK(try_both(&s, "10,000 brackets") == 0, "10,000 brackets were taken");
        free(many);
    }
    /* Layers without end: refused before they are made. */
    for (i = 0; i < 2; i++) {
        const char *const layer = i ? " relu" : " linear:1";
        const int layers = 20000;
        char *text = (char *)malloc((size_t)layers * strlen(layer) + 300), *p = text + 8;
        int k;
        p += sprintf(p, "{\"__metadata__\":{\"genreg.dataset\":\"\",\"genreg.architecture\":\"1");
        for (k = 0; k < layers; k++) p += sprintf(p, "%s", layer);
        p += sprintf(p, "\"}, \"0.weight\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]}}");
        for (k = 0; k < 8; k++) text[k] = (char)((uint64_t)(p - text - 8) >> (8 * k) & 255u);
        memcpy(p, "\0\0\0\0", 4);
        put_file(s.path, text, (size_t)(p + 4 - text));
        most = 0;
        CHECK(!genreg_load_model(s.c, s.path), "%d layers \"%s\" were taken", layers, layer);
        CHECK(strstr(genreg_error_message(s.c), i ? "16384 layers" : "more parameters than it has tensors") != NULL, "%s", genreg_error_message(s.c));
        one_line_about(s.c, s.path, "layers without end");
        CHECK(most < 5000000, "%lu bytes were asked for", (unsigned long)most);
        free(text);
    }
    edited(&s, "\"features.6.weight\":{", "\"features.6.bias\":{");
    CHECK(!genreg_trainer_load(s.t, s.path), "two tensors of one name");
    CHECK_ERROR(s.c, GENREG_ERROR_FORMAT, "two tensors have one name");
    /* What the specification allows and the library does not write. */
    edited(&s, "{\"__metadata__\":{", " \n{ \"__metadata__\" :\t{ \"other\\u0020key\\n\" : \"\\\"quoted\\\" \\\\ \\/ \\b\\f\\r\\t\" , ");
    CHECK(try_both(&s, "white space and escapes") == 3, "white space and escapes were refused");
    genreg_trainer_load(s.t, s.good);
    end_subject(&s);
}

/* Sound files of something else. */
/* A mask that does not belong, or is none. */
static void test_bad_masks(void)
{
    static const struct { const char *from, *to, *says; } bad[] = {
        { "\"genreg.mask.features.6.weight\"", "\"genreg.mask.features.9.weight\"", "another model" },
        { "\"genreg.mask.features.6.weight\"", "\"genreg.mask.\"", "genreg.mask. is the mask of no parameter" },
        { "\"genreg.mask.features.6.weight\":{\"dtype\":\"BOOL\",\"shape\":[7,24]", "\"genreg.mask.features.6.weight\":{\"dtype\":\"BOOL\",\"shape\":[24,7]", "another shape" },
        { "\"genreg.mask.features.6.weight\":{\"dtype\":\"BOOL\",\"shape\":[7,24]", "\"genreg.mask.features.6.weight\":{\"dtype\":\"BOOL\",\"shape\":[7,23]", "offsets" },
        { "\"genreg.mask.features.6.weight\":{\"dtype\":\"BOOL\"", "\"genreg.mask.features.6.weight\":{\"dtype\":\"F32\"", "offsets" },
        { "\"genreg.mask.features.6.weight\":{\"dtype\":\"BOOL\"", "\"genreg.mask.features.6.weight\":{\"dtype\":\"U8\"", "BOOL" },
    };
    subject s = make_subject(1);
    unsigned char *file = (unsigned char *)malloc(s.bytes);
    char was[160], is[160], type[160];
    size_t i;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        edited(&s, bad[i].from, bad[i].to);
        CHECK(!genreg_trainer_load(s.t, s.path), "%s: taken", bad[i].to);
        CHECK(strstr(genreg_error_message(s.c), bad[i].says) != NULL, "%s", genreg_error_message(s.c));
        genreg_clear_error(s.c);
        CHECK(try_both(&s, bad[i].to) == 0, "%s: taken", bad[i].to);
    }
    sprintf(was, "\"features.6.bias\":{\"dtype\":\"%s\",\"shape\":[7]", REAL_NAME); /* a parameter as bytes */
    strcpy(is, "\"features.6.bias\":{\"dtype\":\"BOOL\",\"shape\":[7]");
    sprintf(type, "\"features.6.bias\":{\"dtype\":\"BOOL\",\"shape\":[%d]", 7 * REAL_BYTES);
    edited(&s, was, is);
    CHECK(try_both(&s, is) == 0, "a bias of booleans with the wrong length");
    edited(&s, was, type);
    CHECK(try_both(&s, type) == 0, "a bias of booleans");
    memcpy(file, s.file, s.bytes);
    for (i = 0; i < 3; i++) { /* the mask is what stands last */
        file[s.bytes - 1 - i] = (unsigned char)(2 << i);
        put_file(s.path, file, s.bytes);
        CHECK(try_both(&s, "a mask of other numbers") == 0, "a mask of other numbers");
        file[s.bytes - 1 - i] = s.file[s.bytes - 1 - i];
    }
    CHECK(s.file[s.bytes - 1] < 2, "the mask stands last");
    { /* values where the mask has none */
        char size[32];
        size_t at, velocity;
        ptrdiff_t k, not_zero = 0;
        sprintf(size, "[%ld]", (long)s.m->theta->size);
        at = find_values(s.file, "features.6.weight", "[7,24]");
        velocity = find_values(s.file, "genreg.velocity", size);
        CHECK(at > 0 && velocity > 0, "weight and velocity are there");
        for (i = 0; i < 7 * 24 * (size_t)REAL_BYTES; i++) file[at + i] = 0x3f;
        for (i = 0; i < (size_t)s.m->theta->size * REAL_BYTES; i++) file[velocity + i] = 0x3f;
        put_file(s.path, file, s.bytes);
        CHECK(genreg_trainer_load(s.t, s.path), "%s", genreg_error_message(s.c));
        for (k = 0; k < s.m->theta->size; k++) not_zero += !s.m->mask[k] && (s.m->theta->data[k] != 0 || s.t->velocity->data[k] != 0);
        CHECK(not_zero == 0, "%ld pruned values are not 0", (long)not_zero);
        CHECK(genreg_trainer_load(s.t, s.good), "%s", genreg_error_message(s.c));
    }
    free(file);
    end_subject(&s);
}

static void test_other_files(void)
{
    subject s = make_subject(0);
    genreg_ctx *c = s.c;
    genreg_dataset d = points(c), other;
    static int label[POINTS];
    genreg_train_options o;
    genreg_model *m;
    genreg_trainer *t;
    int i;
    for (i = 0; i < 22; i++) { /* any option that the run depends on */
        long before = live;
        o = run_options(0);
        switch (i) {
        case 0: o.lr = 0.011; break;
        case 1: o.momentum = 0.8; break;
        case 2: o.nesterov = 1; break;
        case 3: o.weight_decay = 0; break;
        case 4: o.schedule = GENREG_SCHEDULE_CONSTANT; break;
        case 5: o.schedule_by_step = 1; break;
        case 6: o.lr_min = 1e-9; break;
        case 7: o.gamma = 0.2; break;
        case 8: o.period = 31; break;
        case 9: o.batch = 7; break;
        case 10: o.epochs = 4; break;
        case 11: o.seed ^= (uint64_t)1 << 63; break;
        case 12: o.seed ^= 1; break;
        case 13: o.no_shuffle = 1; break;
        case 14: o.loss = GENREG_LOSS_MSE; break;
        case 15: o.optimizer = GENREG_OPTIMIZER_ADAM; break;
        case 16: o.beta1 = 0.8; break;
        case 17: o.beta2 = 0.8; break;
        case 18: o.flip = 1; break;
        case 19: o.crop = 1; break;
        case 20: o.flip = 1; o.crop = 1; break;
        default: o.eps = 1e-7; break;
        }
        m = every_kind(c, GENREG_INIT_HE, 5);
        t = genreg_trainer_create(m, &d, &o);
        CHECK(!genreg_trainer_load(t, s.good), "option %d differs, and the run was taken", i);
        one_line_about(c, s.good, "a run with other options");
        CHECK(genreg_trainer_progress(t).step == 0, "the trainer is as it was");
        genreg_trainer_free(t);
        genreg_model_free(m);
        CHECK(live == before, "%ld blocks are lost", live - before);
    }
    o = run_options(0); /* the same options, and yet another run: */
    m = every_kind(c, GENREG_INIT_HE, 5);
    for (i = 0; i < POINTS; i++) label[i] = d.labels[i];
    label[20] = (label[20] + 1) % 3; /* a label */
    other = genreg_dataset_reals(c, d.reals, label, POINTS, 3, d.shape, 3);
    t = genreg_trainer_create(m, &other, &o);
    CHECK(!genreg_trainer_load(t, s.good), "of a set with another label");
    one_line_about(c, s.good, "another set");
    other = genreg_sample(c, &d, POINTS, 4); /* the order of the samples */
    t = genreg_trainer_create(m, &other, &o);
    CHECK(!genreg_trainer_load(t, s.good), "of a set in another order");
    one_line_about(c, s.good, "another set");
    { /* the normalisation */
        static unsigned char px[POINTS * PIXELS];
        static const float mean[4] = { 0.5f, 0.5f, 0.5f, 0.5f };
        genreg_dataset plain = genreg_dataset_bytes(c, px, d.labels, POINTS, 3, d.shape, 3, NULL, NULL), centred = genreg_dataset_bytes(c, px, d.labels, POINTS, 3, d.shape, 3, mean, NULL);
        t = genreg_trainer_create(m, &plain, &o);
        CHECK(genreg_trainer_save(t, s.path) && genreg_trainer_load(t, s.path), "%s", genreg_error_message(c));
        t = genreg_trainer_create(m, &centred, &o);
        CHECK(!genreg_trainer_load(t, s.path), "of a set with another normalisation");
        one_line_about(c, s.path, "another normalisation");
    }
    m = every_kind(c, GENREG_INIT_NTK, 5); /* the parametrisation */
    t = genreg_trainer_create(m, &d, &o);
    CHECK(!genreg_trainer_load(t, s.good), "of a model in another parametrisation");
    one_line_about(c, s.good, "another parametrisation");
    { /* the model */
        genreg_model *n = genreg_model_create(c, 3, d.shape);
        genreg_layer_flatten(n);
        genreg_layer_linear(n, 3);
        genreg_init(n, GENREG_INIT_HE, 5);
        t = genreg_trainer_create(n, &d, &o);
        CHECK(!genreg_trainer_load(t, s.good), "of another model");
        CHECK_ERROR(c, GENREG_ERROR_FORMAT, "another model");
        CHECK(genreg_save_model(n, s.path) && !genreg_trainer_load(t, s.path), "a model's file is no run's");
        one_line_about(c, s.path, "a model's file");
    }
    { /* the same net in another width, or without batch norm: nothing of it is taken, and the message shows both */
        static genreg_real x[4 * 8 * 8];
        static const int y[4] = { 0, 1, 0, 1 }, shape[3] = { 8, 8, 1 };
        genreg_dataset images = genreg_dataset_reals(c, x, y, 4, 3, shape, 2);
        genreg_model *narrow = genreg_cnn(c, shape, 2, 1, 2), *wide = genreg_cnn(c, shape, 3, 1, 2), *plain = genreg_cnn(c, shape, 2, 0, 2), *back;
        genreg_trainer *run = genreg_trainer_create(narrow, &images, &o), *other_runs[2];
        char path[640];
        strcpy(path, scratch("width.safetensors"));
        CHECK(genreg_trainer_step(run) && genreg_trainer_save(run, path), "%s", genreg_error_message(c));
        other_runs[0] = genreg_trainer_create(wide, &images, &o);
        other_runs[1] = genreg_trainer_create(plain, &images, &o);
        for (i = 0; i < 2; i++) {
            genreg_model *kept = i ? plain : wide;
            genreg_real *before = (genreg_real *)malloc((size_t)kept->theta->size * sizeof *before);
            memcpy(before, kept->theta->data, (size_t)kept->theta->size * sizeof *before);
            CHECK(!genreg_trainer_load(other_runs[i], path), "of another width");
            CHECK_ERROR(c, GENREG_ERROR_FORMAT, i ? "is of another model: it has \"batch_norm\" where this one has \"relu\"" : "is of another model: it has \"conv2d:2,3,1,1\" where this one has \"conv2d:3,3,1,1\"");
            CHECK(same_bytes(before, kept->theta->data, kept->theta->size) && genreg_trainer_progress(other_runs[i]).step == 0, "it is as it was");
            CHECK(genreg_trainer_step(other_runs[i]) && genreg_error(c) == GENREG_OK, "and can be trained: %s", genreg_error_message(c));
            free(before);
        }
        back = genreg_load_model(c, path);
        CHECK(back && back->theta->size == narrow->theta->size && same_bytes(back->theta->data, narrow->theta->data, narrow->theta->size), "%s", genreg_error_message(c));
        remove(path);
    }
    { /* a model that is linear around theta_0, which is not in the file: taken by its like, and by nothing else */
        genreg_model *start = every_kind(c, GENREG_INIT_HE, 5), *elsewhere = every_kind(c, GENREG_INIT_HE, 6), *norm = every_kind(c, GENREG_INIT_HE, 5), *linear[4];
        genreg_trainer *runs[4];
        genreg_dataset images = points(c);
        static const char *const what[4] = { "its like", "linearised at other parameters", "linearised with other statistics", "not linearised" };
        genreg_real *theta;
        char path[640];
        strcpy(path, scratch("linear.safetensors"));
        norm->state->data[0] += 1; /* a running mean */
        o.crop = 1; /* which stands before it in the file */
        linear[0] = genreg_linearize(start);
        linear[1] = genreg_linearize(elsewhere);
        linear[2] = genreg_linearize(norm);
        linear[3] = start;
        for (i = 0; i < 4; i++) runs[i] = genreg_trainer_create(linear[i], &images, &o);
        t = genreg_trainer_create(genreg_linearize(start), &images, &o);
        CHECK(genreg_trainer_step(t) && genreg_trainer_step(t) && genreg_trainer_save(t, path), "%s", genreg_error_message(c));
        for (i = 0; i < 4; i++) {
            CHECK(genreg_trainer_load(runs[i], path) == (i == 0), "a linearised run, and a model that is %s", what[i]);
            if (i) CHECK_ERROR(c, GENREG_ERROR_FORMAT, "or its model is linearised at other parameters, or not at all");
        }
        theta = t->m->theta->data;
        CHECK(genreg_trainer_progress(runs[0]).step == 2 && same_bytes(theta, linear[0]->theta->data, start->theta->size), "it goes on where it was");
        CHECK(genreg_trainer_step(runs[0]) && genreg_trainer_step(t) && same_bytes(theta, linear[0]->theta->data, start->theta->size), "%s", genreg_error_message(c));
        CHECK(!genreg_load_model(c, path), "without theta_0 it is no model");
        CHECK_ERROR(c, GENREG_ERROR_FORMAT, "linearised");
        CHECK(genreg_trainer_save(runs[3], path) && !genreg_trainer_load(t, path), "a run that is not linearised, and a linearised model");
        CHECK_ERROR(c, GENREG_ERROR_FORMAT, "or its model is linearised at other parameters, or not at all");
        CHECK(genreg_trainer_load(runs[3], path) && genreg_load_model(c, path), "%s", genreg_error_message(c));
        remove(path);
        o.crop = 0;
    }
    put_file(s.path, "", 0);
    CHECK(try_both(&s, "an empty file") == 0, "an empty file was taken");
    put_file(s.path, "PK\3\4 a zip file, say, as torch.save writes them", 40);
    CHECK(try_both(&s, "a zip file") == 0, "a zip file was taken");
    remove(s.path);
    CHECK(try_both(&s, "a missing file") == 0, "a missing file was taken");
#if HAVE_POSIX
    mkdir(s.path, 0700);
    CHECK(try_both(&s, "a folder") == 0, "a folder was taken");
    rmdir(s.path);
#endif
    genreg_load_model(c, NULL);
    CHECK(!strstr(genreg_error_message(c), "Success"), "no name: %s", genreg_error_message(c));
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no file name");
    CHECK(!genreg_trainer_load(s.t, NULL), "no name");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no file name");
    CHECK(!genreg_load_model(NULL, s.good) && !genreg_trainer_load(NULL, s.good), "NULL");
    genreg_set_error(c, GENREG_ERROR_ARGUMENT, "stop"); /* nothing is read or written after an error */
    CHECK(!genreg_load_model(c, s.good) && !genreg_trainer_load(s.t, s.good) && !genreg_trainer_save(s.t, s.path) && !genreg_save_model(s.m, s.path) && !exists(s.path), "after an error");
    genreg_clear_error(c);
    end_subject(&s);
}

/* ------------------------------------------------------------------------------------------------ writing */

static void test_failed_saves(void)
{
    subject s = make_subject(0);
    genreg_ctx *c = s.c;
    char path[700], temporary[720];
    const int one = 1;
    genreg_model *m;
    sprintf(path, "%s/deeper/x.safetensors", scratch("nowhere"));
    CHECK(!genreg_save_model(s.m, path) && !genreg_trainer_save(s.t, path), "into a folder that is not there");
    one_line_about(c, path, "into a folder that is not there");
    CHECK(!genreg_save_model(s.m, "") && !genreg_save_model(s.m, NULL), "no name");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no file name");
    CHECK(!genreg_trainer_save(s.t, ""), "no name");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no file name");
    CHECK(!genreg_trainer_save(s.t, NULL), "no name");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no file name");
    CHECK(!genreg_save_model(NULL, s.path) && !genreg_trainer_save(NULL, s.path), "NULL");
    m = genreg_model_create(c, 1, &one);
    genreg_layer_linear(m, 1);
    CHECK(!genreg_save_model(m, s.path) && !exists(s.path), "a model without parameters");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "genreg_init");
#if HAVE_POSIX
    { /* a folder is in the way */
        strcpy(path, scratch("in_the_way"));
        sprintf(temporary, "%s.tmp", path);
        mkdir(path, 0700);
        CHECK(!genreg_save_model(s.m, path), "over a folder");
        one_line_about(c, path, "over a folder");
        CHECK(!exists(temporary), "the temporary file is gone");
        rmdir(path);
    }
    { /* No more than so many bytes: as a full disk, at every place where it can happen. The old file stays as it was. */
        struct rlimit old, tight;
        void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
        size_t limit, n, header = 8 + header_bytes(s.file);
        unsigned char *left;
        genreg_model *other = every_kind(c, GENREG_INIT_HE, 321);
        strcpy(path, scratch("full.safetensors"));
        sprintf(temporary, "%s.tmp", path);
        put_file(path, s.file, s.bytes);
        if (getrlimit(RLIMIT_FSIZE, &old) == 0) {
            for (limit = 0; limit < s.bytes; limit += limit < 16 ? 4 : limit + 1 == s.bytes ? 1 : limit < header ? header / 3 : (s.bytes - limit + 1) / 2) {
                int model, run;
                tight = old;
                tight.rlim_cur = (rlim_t)limit;
                if (setrlimit(RLIMIT_FSIZE, &tight) != 0) break;
                run = genreg_trainer_save(s.t, path);
                setrlimit(RLIMIT_FSIZE, &old);
                CHECK(!run, "a file of %lu bytes where %lu fit", (unsigned long)s.bytes, (unsigned long)limit);
                if (run) break;
                one_line_about(c, path, "on a full disk");
                CHECK(!exists(temporary), "the temporary file is gone");
                tight.rlim_cur = (rlim_t)(limit / 2);
                if (setrlimit(RLIMIT_FSIZE, &tight) != 0) break;
                model = genreg_save_model(other, path);
                setrlimit(RLIMIT_FSIZE, &old);
                CHECK(!model && genreg_error(c) == GENREG_ERROR_FILE, "a model on a full disk: %s", genreg_error_message(c));
                genreg_clear_error(c);
                left = get_file(path, &n);
                CHECK(left && n == s.bytes && !memcmp(left, s.file, n), "the old file is not what it was");
                free(left);
            }
            CHECK(limit >= s.bytes, "stopped at %lu of %lu bytes", (unsigned long)limit, (unsigned long)s.bytes);
        } else printf("skipped: file size limits\n");
        signal(SIGXFSZ, handler);
        if (exists("/dev/full") && symlink("/dev/full", temporary) == 0) { /* the real thing: no space left */
            CHECK(!genreg_trainer_save(s.t, path), "no space left");
            CHECK(genreg_error(c) == GENREG_ERROR_FILE && strchr(genreg_error_message(c), ':'), "%s", genreg_error_message(c));
            genreg_clear_error(c);
            left = get_file(path, &n);
            CHECK(left && n == s.bytes && !memcmp(left, s.file, n), "the old file is not what it was");
            free(left);
            CHECK(!exists(temporary), "the temporary file is gone");
            remove(temporary);
        } else printf("skipped: a full disk (no /dev/full)\n");
        CHECK(genreg_trainer_save(s.t, path), "and with room again it works: %s", genreg_error_message(c));
        remove(path);
    }
#else
    (void)temporary;
    printf("skipped: folders in the way, full disks (no POSIX)\n");
#endif
    end_subject(&s);
}

/* Text in files and messages does not depend on the locale. */
static void test_locale(void)
{
    static const char *const names[] = { "de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", "fr_FR.utf8", "German_Germany.1252" };
    char number[16];
    int i;
    for (i = 0; i < 6; i++) {
        if (!setlocale(LC_ALL, names[i])) continue;
        sprintf(number, "%.1f", 0.5);
        if (number[1] == ',') break;
    }
    if (i == 6) {
        setlocale(LC_ALL, "C");
        printf("skipped: a locale with a decimal comma (none is installed)\n");
        return;
    }
    {
        subject s;
        genreg_model *m;
        char text[80];
        setlocale(LC_ALL, "C");
        s = make_subject(0);
        setlocale(LC_ALL, names[i]);
        CHECK(unchanged(&s), "the same bytes in %s", names[i]);
        CHECK(genreg_trainer_load(s.t, s.good) && (m = genreg_load_model(s.c, s.good)) != NULL && same_bytes(m->theta->data, s.theta, m->theta->size), "and back: %s", genreg_error_message(s.c));
        genreg_layer_dropout(genreg_model_create(s.c, 1, s.m->theta->shape), 1.5);
        strncpy(text, genreg_error_message(s.c), 79);
        text[79] = 0;
        CHECK_ERROR(s.c, GENREG_ERROR_ARGUMENT, "p = 1.5 is");
        end_subject(&s);
        setlocale(LC_ALL, "C");
    }
}

/* ------------------------------------------------------------------------------------------------ other readers */

static void test_python(void)
{
#if HAVE_POSIX
    char command[3000], script[1024], expected[640];
    const char *slash = strrchr(__FILE__, '/');
    genreg_ctx *c;
    genreg_model *m;
    genreg_dataset d;
    genreg_train_options o = run_options(1);
    genreg_trainer *t;
    const char *path = scratch("python.safetensors");
    int variant;
    if (system("python3 -c pass >/dev/null 2>&1") != 0) {
        printf("skipped: tests/check_safetensors.py (no python3)\n");
        return;
    }
    sprintf(script, "%.*scheck_safetensors.py", slash ? (int)(slash - __FILE__) + 1 : 0, __FILE__);
    if (!exists(script)) strcpy(script, "tests/check_safetensors.py");
    strcpy(expected, scratch("python.txt"));
    c = check_context(GENREG_ISA_AUTO, 1);
    for (variant = 0; variant < 6; variant++) { /* a model, a run with Adam, a model that came out of a file, a CNN, one with other pooling, one that normalises what it flattened */
        genreg_tensor *x, *y;
        FILE *f;
        int i, ch, h, w, height = HEIGHT, width = WIDTH, channels = CHANNELS, shape[4];
        if (variant < 3) m = every_kind(c, GENREG_INIT_HE, 1);
        else {
            shape[0] = height = 9; shape[1] = width = 8; shape[2] = channels = 2;
            m = variant == 3 ? genreg_cnn(c, shape, 2, 1, 3) : genreg_model_create(c, 3, shape);
            if (variant == 4) {
                genreg_layer_max_pool(m, 3);
                genreg_layer_conv2d(m, 4, 2, 2, 1);
                genreg_layer_sigmoid(m);
                genreg_layer_global_avg_pool(m);
                genreg_layer_linear(m, 2);
            }
            if (variant == 5) {
                genreg_layer_flatten(m);
                genreg_layer_batch_norm(m);
                genreg_layer_relu(m);
                genreg_layer_linear(m, 2);
            }
            if (variant > 3) genreg_init(m, GENREG_INIT_HE, 1);
        }
        filled(m, 2);
        if (variant < 2 || variant == 3) CHECK(genreg_prune(m, 0.4, NULL) > 0, "%s", genreg_error_message(c)); /* with a mask */
        d = points(c);
        if (variant == 0 || variant > 2) CHECK(genreg_save_model(m, path), "%s", genreg_error_message(c));
        if (variant == 1) {
            t = genreg_trainer_create(m, &d, &o);
            genreg_trainer_step(t);
            CHECK(genreg_trainer_save(t, path), "%s", genreg_error_message(c));
        }
        if (variant == 2) {
            m = genreg_load_model(c, path);
            CHECK(m && genreg_save_model(m, path), "%s", genreg_error_message(c));
        }
        shape[0] = 6; shape[1] = height; shape[2] = width; shape[3] = channels;
        x = genreg_constant(c, 4, shape, NULL);
        for (i = 0; x && i < x->size; i++) x->data[i] = (genreg_real)wild((unsigned)(i + 7000));
        y = genreg_forward(m, NULL, x, NULL);
        CHECK(y != NULL, "variant %d: %s", variant, genreg_error_message(c));
        if (!y) break;
        f = fopen(expected, "w");
        fprintf(f, "shape 4 6 %d %d %d x %d", channels, height, width, 6 * height * width * channels);
        for (i = 0; i < 6; i++)
            for (ch = 0; ch < channels; ch++)
                for (h = 0; h < height; h++)
                    for (w = 0; w < width; w++) fprintf(f, " %.17g", (double)x->data[((i * height + h) * width + w) * channels + ch]);
        fprintf(f, " outputs %d", (int)y->size);
        for (i = 0; i < y->size; i++) fprintf(f, " %.17g", (double)y->data[i]);
        fprintf(f, "\n");
        fclose(f);
        sprintf(command, "python3 '%s' '%s' '%s' >'%s.log' 2>&1", script, path, expected, expected);
        if (system(command) != 0) {
            size_t n;
            char log[700];
            char *text;
            sprintf(log, "%s.log", expected);
            text = (char *)get_file(log, &n);
            CHECK(0, "variant %d: %s", variant, text ? text : "no output");
            free(text);
        } else CHECK(1, "read");
        sprintf(command, "%s.log", expected);
        remove(command);
    }
    remove(path);
    remove(expected);
    genreg_destroy(c);
#else
    printf("skipped: tests/check_safetensors.py (run it by hand on a saved file)\n");
#endif
}

/* ---- between builds of float and of double */

static genreg_model *exchange_model(genreg_ctx *c)
{
    const int shape[3] = { 2, 1, 2 };
    genreg_model *m = genreg_model_create(c, 3, shape);
    genreg_model_scope(m, "net");
    genreg_layer_flatten(m);
    genreg_layer_linear(m, 3);
    genreg_layer_tanh(m);
    genreg_layer_dropout(m, 0.25);
    genreg_layer_linear(m, 2);
    genreg_init(m, GENREG_INIT_NTK, 12345);
    filled(m, 1);
    strcpy(m->data_name, "exchange");
    m->channels = 2;
    m->mean[0] = 0.5f; m->mean[1] = 0.1f; m->std[0] = 1; m->std[1] = 0.3f;
    return m;
}

static genreg_trainer *exchange_run(genreg_ctx *c)
{
    static unsigned char px[6 * 4] = { 1, 2, 3, 250, 100, 7 };
    static int label[6] = { 0, 1, 1, 0, 1, 0 };
    const int shape[3] = { 2, 1, 2 };
    genreg_dataset d = genreg_dataset_bytes(c, px, label, 6, 3, shape, 2, NULL, NULL);
    genreg_train_options o = genreg_train_defaults();
    o.batch = 4;
    o.epochs = 2;
    return genreg_trainer_create(exchange_model(c), &d, &o);
}

static void write_fixtures(const char *where)
{
    genreg_ctx *c = check_context(GENREG_ISA_PLAIN, 1);
    genreg_trainer *t = exchange_run(c);
    char path[1000];
    sprintf(path, "%.900s/model_%s.safetensors", where, DOUBLE ? "double" : "float");
    genreg_save_model(exchange_model(c), path);
    genreg_trainer_step(t);
    sprintf(path, "%.900s/run_%s.safetensors", where, DOUBLE ? "double" : "float");
    genreg_trainer_save(t, path);
    if (genreg_error(c)) printf("%s\n", genreg_error_message(c));
    genreg_destroy(c);
}

static void test_exchange(void)
{
    static const char *const name[2][2] = { { "model_float.safetensors", "run_float.safetensors" }, { "model_double.safetensors", "run_double.safetensors" } };
    int wide;
    for (wide = 0; wide < 2; wide++) {
        genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
        genreg_model *m, *want = exchange_model(c);
        genreg_trainer *t = exchange_run(c);
        char path[1024];
        ptrdiff_t i, wrong = 0;
        fixture_path(path, sizeof path, __FILE__, name[wide][0]);
        m = genreg_load_model(c, path);
        CHECK(m && m->theta->size == want->theta->size, "%s: %s", path, genreg_error_message(c));
        for (i = 0; m && i < m->theta->size; i++) { /* to the bit, as far as the narrower type goes */
            double exact = (double)(genreg_real)1 * wild((unsigned)i) / 3;
            genreg_real x = wide ? (genreg_real)exact : (genreg_real)(float)exact;
            wrong += memcmp(&x, &m->theta->data[i], sizeof x) != 0;
        }
        CHECK(wrong == 0, "%s: %ld values differ", name[wide][0], (long)wrong);
        CHECK(m && m->scheme == GENREG_INIT_NTK && m->seed == 12345 && !strcmp(m->data_name, "exchange") && m->channels == 2 && m->mean[1] == 0.1f && m->std[1] == 0.3f && m->layer_count == 5, "its metadata");
        if (m) {
            genreg_tensor *x, *y, *z;
            int shape[2] = { 1, 4 };
            x = genreg_full(c, 2, shape, 0.7);
            y = genreg_forward(m, NULL, x, NULL);
            z = genreg_forward(want, NULL, x, NULL);
            CHECK(y && z && check_distance(y->data, z->data, 2) < (wide && DOUBLE ? 1e-12 : 1e-6), "the same function: %s", genreg_error_message(c));
        }
        /* A run goes on in the type in which it was begun, or not at all. */
        fixture_path(path, sizeof path, __FILE__, name[wide][1]);
        if (wide == DOUBLE) {
            CHECK(genreg_trainer_load(t, path) && genreg_trainer_progress(t).step == 1, "%s", genreg_error_message(c));
            CHECK(genreg_trainer_step(t) && genreg_trainer_progress(t).step == 2, "%s", genreg_error_message(c));
        } else {
            CHECK(!genreg_trainer_load(t, path), "a run in the other type was taken");
            one_line_about(c, path, "a run in the other type");
        }
        m = genreg_load_model(c, path);
        CHECK(m != NULL, "but its model can be had: %s", genreg_error_message(c));
        genreg_destroy(c);
    }
}

/* ------------------------------------------------------------------------------------------------ .npy */

/* What tests/check_npy.py expects: (i - 3)/7, and in more than four values the last ones are -0, inf, -inf and nan. */
static double npy_value(ptrdiff_t i, ptrdiff_t n)
{
    static const uint64_t last[4] = { (uint64_t)1 << 63, (uint64_t)0x7ff0 << 48, (uint64_t)0xfff0 << 48, (uint64_t)0x7ff8 << 48 };
    return n > 4 && i >= n - 4 ? genreg__from_bits64(last[i - n + 4]) : ((double)i - 3) / 7;
}

static genreg_real *npy_reals(ptrdiff_t n)
{
    genreg_real *x = (genreg_real *)malloc((size_t)n * sizeof *x);
    ptrdiff_t i;
    for (i = 0; i < n; i++) x[i] = (genreg_real)npy_value(i, n);
    return x;
}

static double *npy_doubles(ptrdiff_t n)
{
    double *x = (double *)malloc((size_t)n * sizeof *x);
    ptrdiff_t i;
    for (i = 0; i < n; i++) x[i] = npy_value(i, n);
    return x;
}

static const struct { int rank, shape[GENREG_MAX_RANK]; const char *text, *python; } npy_shapes[] = {
    { 0, { 0 }, "()", "-" },
    { 1, { 9 }, "(9,)", "9" },
    { 1, { 3001 }, "(3001,)", "3001" }, /* more than the library moves at a time */
    { 2, { 3, 4 }, "(3, 4)", "3x4" },
    { 3, { 1, 7, 1 }, "(1, 7, 1)", "1x7x1" },
    { 6, { 2, 1, 3, 2, 1, 5 }, "(2, 1, 3, 2, 1, 5)", "2x1x3x2x1x5" },
};
enum { NPY_SHAPES = sizeof npy_shapes / sizeof npy_shapes[0] };

static ptrdiff_t npy_size(int k)
{
    ptrdiff_t n = 1;
    int i;
    for (i = 0; i < npy_shapes[k].rank; i++) n *= npy_shapes[k].shape[i];
    return n;
}

/* A file of this header (with its newline, and with its length before it) and these bytes. */
static void put_npy(const char *path, const char *header, size_t length, const void *values, size_t bytes)
{
    unsigned char *file = (unsigned char *)malloc(10 + length + bytes);
    memcpy(file, "\x93NUMPY\1\0", 8);
    file[8] = (unsigned char)(length & 255);
    file[9] = (unsigned char)(length >> 8);
    memcpy(file + 10, header, length);
    if (bytes) memcpy(file + 10 + length, values, bytes);
    put_file(path, file, 10 + length + bytes);
    free(file);
}

static void test_npy_round_trip(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    const char *path = scratch("array.npy");
    int k, wide, i;
    for (k = 0; k < NPY_SHAPES; k++)
        for (wide = 0; wide < 2; wide++) {
            ptrdiff_t n = npy_size(k), at, wrong = 0;
            genreg_real *x = npy_reals(n);
            double *y = npy_doubles(n), *doubles;
            const int rank = npy_shapes[k].rank, *shape = npy_shapes[k].shape;
            const size_t width = wide || DOUBLE ? 8 : 4;
            int read_rank = -1, read_shape[GENREG_MAX_RANK], same;
            genreg_tensor *t;
            char header[200];
            unsigned char *file;
            size_t bytes;
            CHECK(wide ? genreg_save_npy_doubles(c, path, rank, shape, y) : genreg_save_npy(c, path, rank, shape, x), "%s", genreg_error_message(c));

            /* to the byte what np.save writes */
            sprintf(header, "{'descr': '<f%d', 'fortran_order': False, 'shape': %s, }", (int)width, npy_shapes[k].text);
            file = get_file(path, &bytes);
            CHECK(file && bytes == 128 + (size_t)n * width && !memcmp(file, "\x93NUMPY\1\0\x76\0", 10) && !memcmp(file + 10, header, strlen(header)) && file[127] == '\n', "%s: its header", header);
            for (at = 10 + (ptrdiff_t)strlen(header); file && at < 127; at++) wrong += file[at] != ' ';
            for (at = 0; file && at < n; at++) { /* little-endian, whatever this machine is */
                uint64_t bits = width == 8 ? genreg__to_bits64(wide ? y[at] : (double)x[at]) : genreg__to_bits32((float)x[at]);
                for (i = 0; i < (int)width; i++) wrong += file[128 + (size_t)at * width + (size_t)i] != (unsigned char)(bits >> (8 * i));
            }
            CHECK(wrong == 0, "%s: %d bytes are wrong", header, (int)wrong);
            free(file);

            t = genreg_load_npy(c, path);
            CHECK(t && t->rank == rank && t->size == n && !memcmp(t->shape, shape, (size_t)rank * sizeof *shape) && same_bytes(t->data, x, n), "%s as reals: %s", header, genreg_error_message(c));
            doubles = genreg_load_npy_doubles(c, path, &read_rank, read_shape);
            CHECK(doubles && read_rank == rank && !memcmp(read_shape, shape, (size_t)rank * sizeof *shape), "%s as doubles: %s", header, genreg_error_message(c));
            for (at = 0; doubles && at < n; at++) {
                double want = wide ? y[at] : (double)x[at];
                same = memcmp(&want, &doubles[at], 8) == 0 || (want != want && doubles[at] != doubles[at]);
                if (!same) wrong++;
            }
            CHECK(wrong == 0, "%s as doubles: %d differ", header, (int)wrong);
            free(x);
            free(y);
        }
    CHECK(genreg_load_npy_doubles(c, path, NULL, NULL) != NULL, "without asking for the shape");
    remove(path);
    genreg_destroy(c);
    CHECK(live == 0, "%ld blocks are left", live);
}

/* Loading must fail both ways, keep nothing on the tape or off it, and say why in one line that names the file and holds `word`. */
static void refuse_npy(genreg_ctx *c, const char *path, const char *word, const char *what)
{
    const long before = live;
    const size_t tape = genreg_tape_bytes(c);
    int way;
    for (way = 0; way < 2; way++) {
        most = 0;
        CHECK(way ? genreg_load_npy_doubles(c, path, NULL, NULL) == NULL : genreg_load_npy(c, path) == NULL, "%s: an array in spite of it", what);
        CHECK(strstr(genreg_error_message(c), word) != NULL, "%s: the message lacks \"%s\": %s", what, word, genreg_error_message(c));
        CHECK(most < 100000, "%s: %lu bytes were asked for", what, (unsigned long)most);
        one_line_about(c, path, what);
        CHECK(live == before && genreg_tape_bytes(c) == tape, "%s: something is left", what);
    }
}

static void test_npy_headers(void)
{
    static const unsigned char bytes[49] = { 0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0, 0x40, 0x40, 0, 0, 0, 0, 0, 0x80 }; /* 1, -2, 3 in big-endian floats */
    static const struct { const char *header; size_t bytes; const char *word; } bad[] = {
        { "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }\n", 12, "float32 or float64" },
        { "{'descr': '|f4', 'fortran_order': False, 'shape': (3,), }\n", 12, "float32 or float64" },
        { "{'descr': '<f2', 'fortran_order': False, 'shape': (6,), }\n", 12, "float32 or float64" },
        { "{'descr': '<f16', 'fortran_order': False, 'shape': (1,), }\n", 16, "float32 or float64" },
        { "{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }\n", 8, "float32 or float64" },
        { "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }\n", 12, "float32 or float64" },
        { "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }\n", 12, "as np.save does" },
        { "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 1), }\n", 12, "ascontiguousarray" },
        { "{'descr': '<f4', 'fortran_order': 0, 'shape': (3,), }\n", 12, "as np.save does" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }\n", 0, "extent of 0" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 0), }\n", 0, "extent of 0" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 3), }\n", 12, "more than 6 axes" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3), }\n", 12, "as np.save does" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (,), }\n", 4, "as np.save does" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3 4), }\n", 48, "as np.save does" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3,, 4), }\n", 48, "as np.save does" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }\n", 12, "as np.save does" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3.0,), }\n", 12, "as np.save does" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': 3, }\n", 12, "as np.save does" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3,\n", 12, "as np.save does" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2147483648,), }\n", 12, "as np.save does" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }\n", 12, "as np.save does" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2147483647, 2147483647, 2147483647), }\n", 12, "can address" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (65536, 65536, 65536, 65536), }\n", 0, "can address" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (65536, 65536, 32768), }\n", 12, sizeof(size_t) > 4 ? "promises" : "can address" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }\n", 12, "promises 16" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n", 13, "promises 12" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n", 0, "promises 12" },
        { "{'descr': '<f4', 'fortran_order': False, }\n", 12, "as np.save does" },
        { "{'descr': '<f4', 'shape': (3,), }\n", 12, "as np.save does" },
        { "{'fortran_order': False, 'shape': (3,), }\n", 12, "as np.save does" },
        { "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n", 12, "as np.save does" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'more': 1, }\n", 12, "as np.save does" },
        { "{'descr': '<f4' 'fortran_order': False, 'shape': (3,), }\n", 12, "as np.save does" },
        { "{'descr': '<f4, 'fortran_order': False, 'shape': (3,), }\n", 12, "float32 or float64" },
        { "{'descr': <f4, 'fortran_order': False, 'shape': (3,), }\n", 12, "as np.save does" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 12, "as np.save does" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n\n", 12, "as np.save does" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), } x\n", 12, "as np.save does" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), \n", 12, "as np.save does" },
        { "'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n", 12, "as np.save does" },
        { "\n", 12, "as np.save does" },
        { "", 12, "as np.save does" },
    };
    static const struct { const char *header; int rank; } good[] = { /* not as np.save writes it, but as the format has it */
        { "{'shape': (3,), 'descr': '>f4', 'fortran_order': False}\n", 1 },
        { "{'descr':'>f4','fortran_order':False,'shape':(3,1)}\n", 2 },
        { "  {  'fortran_order':  False,  'shape':  ( 1 , 3 , ) ,  'descr':  '>f4'  }   \n", 2 },
    };
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    const char *path = scratch("damaged.npy"), *whole = scratch("whole.npy"), *missing = scratch("missing.npy");
    unsigned char *file, *copy;
    size_t n, size, k;
    int taken = 0, wrong = 0, refused = 0, shape[2] = { 2, 3 }, i;
    genreg_real *x = npy_reals(6);
    for (k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        put_npy(path, bad[k].header, strlen(bad[k].header), bytes, bad[k].bytes);
        refuse_npy(c, path, bad[k].word, bad[k].header);
    }
    for (k = 0; k < sizeof good / sizeof good[0]; k++) {
        genreg_tensor *t;
        put_npy(path, good[k].header, strlen(good[k].header), bytes, 12);
        t = genreg_load_npy(c, path);
        CHECK(t && t->rank == good[k].rank && t->size == 3 && t->data[0] == 1 && t->data[1] == -2 && t->data[2] == 3, "%s: %s", good[k].header, genreg_error_message(c));
        genreg_clear_error(c);
    }
    put_npy(path, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n\0\n", 60, bytes, 12); /* a zero in the text */
    refuse_npy(c, path, "as np.save does", "a zero in the header");

    CHECK(genreg_save_npy(c, whole, 2, shape, x), "%s", genreg_error_message(c));
    file = get_file(whole, &size);
    for (n = 0; n < size; n++) { /* cut short anywhere */
        put_file(path, file, n);
        refuse_npy(c, path, n < 128 ? "" : "promises", "cut short");
    }
    copy = (unsigned char *)malloc(size + 1);
    memcpy(copy, file, size);
    copy[size] = 0;
    put_file(path, copy, size + 1);
    refuse_npy(c, path, "promises", "a byte too many");
    for (k = 0; k < 8; k++) { /* any other byte in the magic number or the version */
        memcpy(copy, file, size);
        copy[k] ^= 2;
        put_file(path, copy, size);
        refuse_npy(c, path, k < 6 ? "is no .npy file" : "of version", "another kind of file");
    }
    for (k = 8; k < 128; k++) /* any byte of the header: a file that is refused, or one of the same six values */
        for (i = 1; i < 256; i += 6) {
            genreg_tensor *t;
            memcpy(copy, file, size);
            copy[k] ^= (unsigned char)i;
            put_file(path, copy, size);
            t = genreg_load_npy(c, path);
            if (t) {
                taken++;
                wrong += t->size * (copy[22] == '8' ? 8 : 4) + 128 != (ptrdiff_t)size;
            } else {
                refused++;
                one_line_about(c, path, "a flipped byte");
            }
        }
    CHECK(wrong == 0 && refused > 4000 && taken < 300, "%d refused, %d taken, %d of them wrong", refused, taken, wrong);
    free(copy);
    free(file);

    remove(path);
    refuse_npy(c, missing, "cannot open", "a missing file");
    CHECK(!genreg_load_npy(c, NULL), "no name");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no file name");
    CHECK(!genreg_load_npy(NULL, whole) && !genreg_load_npy_doubles(NULL, whole, NULL, NULL), "without a context");
    {
        genreg_options o = genreg_defaults();
        genreg_ctx *small;
        int room[2] = { 100, 100 };
        genreg_real *big = npy_reals(10000);
        CHECK(genreg_save_npy(c, whole, 2, room, big), "%s", genreg_error_message(c));
        o.memory = 20000;
        small = genreg_create(&o);
        CHECK(!genreg_load_npy(small, whole), "more than the memory option");
        CHECK_ERROR(small, GENREG_ERROR_LIMIT, "");
        CHECK(!genreg_load_npy_doubles(small, whole, NULL, NULL), "more than the memory option");
        CHECK_ERROR(small, GENREG_ERROR_LIMIT, "");
        CHECK(genreg_tape_bytes(small) == 0, "and nothing is left");
        genreg_destroy(small);
        free(big);
    }
    remove(whole);
    free(x);
    genreg_destroy(c);
    CHECK(live == 0, "%ld blocks are left", live);
}

static void test_npy_failed_saves(void)
{
    genreg_ctx *c = check_context(GENREG_ISA_AUTO, 1);
    const char *path = scratch("save.npy");
    const int shape[2] = { 40, 50 }, empty[2] = { 3, 0 };
    genreg_real *x = npy_reals(2000);
    double *y = npy_doubles(2000);
    char deeper[700];
    CHECK(!genreg_save_npy(c, path, 2, empty, x), "an extent of 0");
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "save_npy: axis 1 has extent 0");
    CHECK(!genreg_save_npy_doubles(c, path, 7, shape, y), "rank 7");
    CHECK_ERROR(c, GENREG_ERROR_SHAPE, "save_npy_doubles: rank 7");
    CHECK(!genreg_save_npy(c, path, 2, shape, NULL), "no values");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no values");
    CHECK(!genreg_save_npy(c, NULL, 2, shape, x), "no name");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no file name");
    CHECK(!genreg_save_npy(c, "", 2, shape, x), "no name");
    CHECK_ERROR(c, GENREG_ERROR_ARGUMENT, "no file name");
    CHECK(!genreg_save_npy(NULL, path, 2, shape, x), "without a context");
    CHECK(!exists(path), "a file in spite of it");
    sprintf(deeper, "%s/deeper/x.npy", scratch("nowhere"));
    CHECK(!genreg_save_npy(c, deeper, 2, shape, x), "into a folder that is not there");
    one_line_about(c, deeper, "into a folder that is not there");
#if HAVE_POSIX
    { /* no room for the last byte, or for most: the old file stays */
        struct rlimit old, tight;
        void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
        const size_t room[3] = { 128 + 2000 * REAL_BYTES - 1, 5000, 0 };
        char temporary[720];
        size_t n;
        int i;
        sprintf(temporary, "%s.tmp", path);
        put_file(path, "what was there", 14);
        for (i = 0; i < 3 && getrlimit(RLIMIT_FSIZE, &old) == 0; i++) {
            unsigned char *left;
            int saved;
            tight = old;
            tight.rlim_cur = (rlim_t)room[i];
            if (setrlimit(RLIMIT_FSIZE, &tight) != 0) break;
            saved = genreg_save_npy(c, path, 2, shape, x);
            setrlimit(RLIMIT_FSIZE, &old);
            CHECK(!saved, "on a full disk");
            one_line_about(c, path, "on a full disk");
            left = get_file(path, &n);
            CHECK(left && n == 14 && !memcmp(left, "what was there", 14) && !exists(temporary), "the old file is not what it was");
            free(left);
        }
        signal(SIGXFSZ, handler);
        CHECK(genreg_save_npy(c, path, 2, shape, x), "and with room again it works: %s", genreg_error_message(c));
        remove(path);
    }
#endif
    free(x);
    free(y);
    genreg_destroy(c);
    CHECK(live == 0, "%ld blocks are left", live);
}

/* NumPy reads what the library writes, and the other way round in every type and byte order. */
static void test_npy_numpy(void)
{
#if HAVE_POSIX
    static const char *const interpreters[] = { "python3", "/usr/bin/python3" }, *const types[] = { "<f4", ">f4", "<f8", ">f8" };
    const char *python = NULL, *slash = strrchr(__FILE__, '/'), *path = scratch("numpy.npy");
    char script[1024], command[3000];
    genreg_ctx *c;
    int i, k, wide;
    for (i = 0; i < 2 && !python; i++) {
        sprintf(command, "%s -c 'import numpy' >/dev/null 2>&1", interpreters[i]);
        if (system(command) == 0) python = interpreters[i];
    }
    if (!python) {
        printf("skipped: tests/check_npy.py (no python3 with NumPy)\n");
        return;
    }
    sprintf(script, "%.*scheck_npy.py", slash ? (int)(slash - __FILE__) + 1 : 0, __FILE__);
    if (!exists(script)) strcpy(script, "tests/check_npy.py");
    c = check_context(GENREG_ISA_AUTO, 1);
    for (k = 0; k < NPY_SHAPES; k++) {
        ptrdiff_t n = npy_size(k), at, wrong = 0;
        genreg_real *x = npy_reals(n);
        double *y = npy_doubles(n);
        for (wide = 0; wide < 2; wide++) {
            if (wide) genreg_save_npy_doubles(c, path, npy_shapes[k].rank, npy_shapes[k].shape, y);
            else genreg_save_npy(c, path, npy_shapes[k].rank, npy_shapes[k].shape, x);
            sprintf(command, "%s '%s' read '%s' '<f%d' %s", python, script, path, wide || DOUBLE ? 8 : 4, npy_shapes[k].python);
            CHECK(system(command) == 0, "NumPy does not read %s", npy_shapes[k].python);
        }
        for (i = 0; i < 4 && k % 2; i++) { /* each start of Python takes a while */
            genreg_tensor *t;
            sprintf(command, "%s '%s' write '%s' '%s' %s", python, script, path, types[i], npy_shapes[k].python);
            CHECK(system(command) == 0, "NumPy does not write");
            t = genreg_load_npy(c, path);
            CHECK(t && t->rank == npy_shapes[k].rank && !memcmp(t->shape, npy_shapes[k].shape, (size_t)t->rank * sizeof(int)), "%s %s: %s", types[i], npy_shapes[k].python, genreg_error_message(c));
            for (at = 0; t && at < n; at++) {
                genreg_real want = i < 2 ? (genreg_real)(float)y[at] : (genreg_real)y[at];
                if (memcmp(&want, &t->data[at], sizeof want) && (want == want || t->data[at] == t->data[at])) wrong++;
            }
        }
        CHECK(wrong == 0, "%s: %d values differ", npy_shapes[k].python, (int)wrong);
        free(x);
        free(y);
    }
    remove(path);
    genreg_destroy(c);
#else
    printf("skipped: tests/check_npy.py (no POSIX)\n");
#endif
}

int main(int argc, char **argv)
{
    (void)watched_realloc; /* the library takes all three or none */
    if (argc == 3 && !strcmp(argv[1], "--write-fixtures")) {
        write_fixtures(argv[2]);
        return 0;
    }
    find_folder();
    test_idx();
    test_folders();
    test_cifar();
    test_model_round_trip();
    test_order_of_elements();
    test_foreign_file();
    test_resume();
    test_cut_short();
    test_flips();
    test_bad_headers();
    test_bad_masks();
    test_other_files();
    test_failed_saves();
    test_locale();
    test_python();
    test_exchange();
    test_npy_round_trip();
    test_npy_headers();
    test_npy_failed_saves();
    test_npy_numpy();
    CHECK(live == 0, "%ld blocks are left at the end", live);
    return check_done();
}
