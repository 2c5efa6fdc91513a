/* What the fuzzers share: the input as a file, in $TMPDIR, else in memory where the machine has such a place. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A path of this process and this name; four of them last. */
static const char *fuzz_path(const char *name)
{
    static char path[4][256];
    static int next;
    const char *place = getenv("TMPDIR");
    char *p = path[next++ % 4];
    if (!place || !*place) place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(p, sizeof path[0], "%s/genreg_fuzz_%ld_%s", place, (long)getpid(), name);
    return p;
}

static void fuzz_put(const char *path, const unsigned char *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, n, f) != n) abort();
    fclose(f);
}

/* The bytes of a file, at most `room`; returns how many. */
static size_t fuzz_get(const char *path, unsigned char *data, size_t room)
{
    FILE *f = fopen(path, "rb");
    size_t n;
    if (!f) abort();
    n = fread(data, 1, room, f);
    fclose(f);
    return n;
}

/* A result is there, or an error with a line of text: nothing else. */
static void fuzz_expect(genreg_ctx *c, int there)
{
    const char *text = genreg_error_message(c);
    if (there != (genreg_error(c) == GENREG_OK) || there != !*text || strchr(text, '\n')) abort();
}

static void fuzz_require(int condition) { if (!condition) abort(); }

#endif
