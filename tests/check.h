/* What the test programs share: counting, comparing, and running each case under every instruction set.

   A check is a plain call, so that NDEBUG cannot take it away. A program ends with `return check_done();`, whose
   last line is "N passed, N failed". */
#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stdio.h>
#include <string.h>

static int check_passed, check_failed;

/* Counts a check; prints the ones that fail. */
#define CHECK(condition, ...)                                              \
    do {                                                                   \
        if (condition) check_passed++;                                     \
        else {                                                             \
            check_failed++;                                                \
            printf("%s:%d: failed: %s: ", __FILE__, __LINE__, #condition); \
            printf(__VA_ARGS__);                                           \
            printf("\n");                                                  \
        }                                                                  \
    } while (0)

/* Numbers in (-1, 1] without a pattern, never 0: what tests fill their inputs with. */
static inline double wild(unsigned i)
{
    unsigned x = i * 2654435761u + 12345u;
    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    x *= 3266489917u;
    x ^= x >> 16;
    return (x & 0xffffffu) / 8388608.0 - 1 + 1e-8;
}

/* |a - b| / |b| over n values in the Euclidean norm; |a| itself where b is zero. NaN in either is infinite. */
static double check_distance(const genreg_real *a, const genreg_real *b, ptrdiff_t n)
{
    double difference = 0, size = 0;
    ptrdiff_t i;
    for (i = 0; i < n; i++) {
        const double d = (double)a[i] - (double)b[i];
        difference += d * d;
        size += (double)b[i] * (double)b[i];
    }
    if (difference != difference || size != size) return HUGE_VAL;
    return sqrt(difference) / (size > 0 ? sqrt(size) : 1);
}

/* What the header promises between two paths to the same number: 1e-5 in float, 1e-12 in double. */
static double check_path_tolerance(void) { return sizeof(genreg_real) == 8 ? 1e-12 : 1e-5; }

/* A context with the given instruction set and threads (0: the defaults). */
static genreg_ctx *check_context(genreg_isa isa, int threads)
{
    genreg_options o = genreg_defaults();
    o.isa = isa;
    o.threads = threads;
    return genreg_create(&o);
}

/* Whether the context has this error, with one line of text in which `text` occurs; then clears it. Counts as one check. */
#define CHECK_ERROR(c, status, text) check_error_at(__FILE__, __LINE__, c, status, text)
static void check_error_at(const char *file, int line, genreg_ctx *c, genreg_status status, const char *text)
{
    const char *message = genreg_error_message(c);
    if (genreg_error(c) == status && *message && strstr(message, text) && !strchr(message, '\n')) check_passed++;
    else {
        check_failed++;
        printf("%s:%d: failed: expected status %d with \"%s\", found %d with \"%s\"\n", file, line, (int)status, text, (int)genreg_error(c), message);
    }
    genreg_clear_error(c);
}

static int check_done(void)
{
    (void)check_distance;
    (void)check_path_tolerance;
    (void)check_context;
    (void)check_error_at;
    printf("%d passed, %d failed\n", check_passed, check_failed);
    return check_failed != 0;
}

#endif
