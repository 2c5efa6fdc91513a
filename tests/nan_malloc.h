/* An allocator for genreg.h, included before it: fresh memory is full of NaN, so that whatever reads a value before it is written shows;
   or there is none. */
#ifndef NAN_MALLOC_H
#define NAN_MALLOC_H

#include <stdlib.h>
#include <string.h>

static int refuse_memory;
static void *nan_malloc(size_t n)
{
    void *p = refuse_memory ? NULL : malloc(n);
    return p ? memset(p, 0xff, n) : NULL;
}
#define GENREG_MALLOC(n) nan_malloc(n)
#define GENREG_REALLOC(p, n) realloc(p, n)
#define GENREG_FREE(p) free(p)

#endif
