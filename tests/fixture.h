/* Reads tests/fixtures/NAME: comments (# to the end of the line) and blocks of a name, a count, and that many numbers. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIXTURE_BLOCKS = 40 };
typedef struct fixture {
    int blocks;
    struct { char name[48]; int n; double *values; } block[FIXTURE_BLOCKS];
} fixture;

/* The file beside the source, if the compiler was told where that is; else from the root of the project. */
static void fixture_path(char *path, size_t room, const char *source, const char *name)
{
    const char *slash = strrchr(source, '/');
    FILE *f;
    path[0] = 0;
    if (slash && (size_t)(slash - source) + strlen(name) + 12 < room) sprintf(path, "%.*s/fixtures/%s", (int)(slash - source), source, name);
    f = path[0] ? fopen(path, "rb") : NULL;
    if (f) fclose(f);
    else if (strlen(name) + 20 < room) sprintf(path, "tests/fixtures/%s", name);
}

/* Returns 1 if the file was read to its end. */
static int fixture_read(fixture *x, const char *source, const char *name)
{
    char path[1024], word[64];
    FILE *f;
    int ch, i, good = 1;
    memset(x, 0, sizeof *x);
    fixture_path(path, sizeof path, source, name);
    f = fopen(path, "r");
    while (f && good && fscanf(f, "%47s", word) == 1) {
        if (word[0] == '#') {
            while ((ch = fgetc(f)) != EOF && ch != '\n') {}
            continue;
        }
        good = x->blocks < FIXTURE_BLOCKS && fscanf(f, "%d", &x->block[x->blocks].n) == 1 && x->block[x->blocks].n > 0;
        if (!good) break;
        strcpy(x->block[x->blocks].name, word);
        x->block[x->blocks].values = (double *)malloc((size_t)x->block[x->blocks].n * sizeof(double));
        for (i = 0; i < x->block[x->blocks].n && good; i++) good = fscanf(f, "%lf", &x->block[x->blocks].values[i]) == 1;
        x->blocks++;
    }
    if (!f) printf("cannot open %s\n", path);
    else fclose(f);
    return f && good && x->blocks;
}

/* The values of a block, which must have n of them; NULL if there is no such block. */
static const double *fixture_get(const fixture *x, const char *name, int n)
{
    int i;
    for (i = 0; i < x->blocks; i++)
        if (!strcmp(x->block[i].name, name) && x->block[i].n == n) return x->block[i].values;
    printf("the fixture has no block %s of %d numbers\n", name, n);
    return NULL;
}

static void fixture_free(fixture *x)
{
    int i;
    for (i = 0; i < x->blocks; i++) free(x->block[i].values);
    x->blocks = 0;
}

#endif
