/* test_lab.c - what examples/lab.h does without a network: text, JSON, statistics, flags, files, locks, plots.

      cc -O2 -fopenmp tests/test_lab.c -o test_lab -lm && ./test_lab          (makes a folder in the working folder, and removes it) */
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include <errno.h>
#include <stdio.h>

/* A disk that reads half, or says at the end that it is full. */
static int reads_half, closes_full;
static size_t test_fread(void *to, size_t size, size_t n, FILE *f) { return fread(to, size, reads_half ? n / 2 : n, f); }
static int test_fclose(FILE *f)
{
    int failed = fclose(f);
    if (closes_full) errno = ENOSPC;
    return closes_full ? EOF : failed;
}
#define fread test_fread
#define fclose test_fclose
#include "../examples/lab.h"

#ifdef LAB_POSIX
#include <sys/wait.h>
#endif

typedef struct counts { int passed, failed; } counts;

static void check(counts *t, int good, const char *what)
{
    if (good) t->passed++;
    else {
        t->failed++;
        printf("FAILED: %s\n", what);
    }
}

static int close_to(double a, double b, double tolerance) { return fabs(a - b) <= tolerance * (fabs(b) > 1 ? fabs(b) : 1); }
static int same_bits(double a, double b) { return !memcmp(&a, &b, sizeof a); }

static int same_text(lab__buffer *b, const char *expected)
{
    int good = !strcmp(b->s, expected);
    if (!good) printf("    got      %s\n    expected %s\n", b->s, expected);
    free(b->s);
    memset(b, 0, sizeof *b);
    return good;
}

/* ------------------------------------------------------------------------------------------------ text and numbers */

static void test_numbers(counts *t, const char *where)
{
    static const double samples[] = { 0, 0.1, 1.0 / 3, 2048, 1e300, 5e-324, 1.7976931348623157e308, -2.5, 9007199254740993.0, 123456789.123456789, 0.30000000000000004 };
    lab__buffer b = { NULL, 0, 0 };
    double x;
    int i, good = 1;
    for (i = 0; i < (int)(sizeof samples / sizeof samples[0]); i++) {
        lab__print_number(&b, samples[i]);
        good &= lab__read_number(b.s, b.n, &x) && same_bits(x, samples[i]) && !strchr(b.s, ',');
        b.n = 0;
    }
    for (i = 0; i < 2000; i++) { /* any bits that are a number */
        uint64_t bits = lab__hash(0, &i, sizeof i);
        memcpy(&x, &bits, sizeof x);
        if (!lab__finite(x)) continue;
        lab__print_number(&b, x);
        {
            double back = 0;
            good &= lab__read_number(b.s, b.n, &back) && same_bits(back, x);
        }
        b.n = 0;
    }
    check(t, good, where);
    lab__print_number(&b, 0.1);
    check(t, same_text(&b, "0.1"), "a short number stays short");
    lab__print_number(&b, (double)NAN);
    lab__print(&b, " ");
    lab__print_number(&b, -(double)INFINITY);
    check(t, same_text(&b, "null null"), "NaN and Inf are null");
    for (i = 0; i < 100; i++) lab__print(&b, "%d%s", i % 10, i % 10 == 9 ? "\n" : "");
    check(t, b.n == 110 && strlen(b.s) == 110 && b.s[109] == '\n' && b.s[108] == '9', "a buffer grows");
    b.n = 0;
    lab__print(&b, "%s", "");
    check(t, same_text(&b, ""), "and starts anew");
}

static void test_bad_numbers(counts *t)
{
    static const char *const bad[] = { "", " 1", "1 ", "1,5", "0x10", "inf", "nan", "1e", "--1", "1.2.3", "1e999", "one", "1\0002" };
    double x;
    int i;
    for (i = 0; i < (int)(sizeof bad / sizeof bad[0]); i++) check(t, !lab__read_number(bad[i], i == 12 ? 3 : strlen(bad[i]), &x), "what is no number is refused");
}

/* ------------------------------------------------------------------------------------------------ rows */

static void test_row_round_trip(counts *t)
{
    const double list[] = { 1.5, (double)NAN, -3e-9 };
    lab__buffer b = { NULL, 0, 0 }, again = { NULL, 0, 0 };
    lab__row row, back;
    memset(&row, 0, sizeof row);
    lab__record_text(&row.head, "experiment", "quote \" backslash \\ newline \n tab \t bell \a del \x7f ünï");
    lab__record_text(&row.settings, "rule", "");
    lab__record_number(&row.settings, "batch", 32);
    lab__record_number(&row.figures, "lambda", (double)NAN);
    lab__record_list(&row.figures, "density", list, 3, 1);
    lab__record_list(&row.figures, "empty", list, 0, 1);
    lab__record_list(&row.figures, "one", list, 1, 1);
    lab__json_row(&b, &row);
    check(t, b.s[b.n - 1] == '\n' && strchr(b.s, '\n') == b.s + b.n - 1, "a row is one line");
    check(t, strstr(b.s, "\"lambda\":null,\"density\":[1.5,null,-3e-09],\"empty\":[],\"one\":[1.5]}") != NULL, "lists and nulls as JSON");
    check(t, lab__read_row(b.s, b.n - 1, &back), "a written row reads");
    lab__json_row(&again, &back);
    check(t, !strcmp(b.s, again.s), "and writes the same bytes");
    check(t, !strcmp(lab__record_get_text(&back.head, "experiment"), lab__record_get_text(&row.head, "experiment")), "escapes come back");
    check(t, !(lab__record_get(&back.figures, "lambda") >= 0) && lab__record_get(&back.settings, "batch") > 31, "values come back");
    lab__row_free(&back);
    lab__row_free(&row);
    free(b.s);
    free(again.s);
}

static void test_hostile_rows(counts *t)
{
    static const char *const good[] = { "{}", "{\"a\":1}", " { \"a\" : [ 1 , 2 ] , \"settings\" : { } } ", "{\"figures\":{\"x\":null}}", "{\"a\":\"\\u00e9\\ud83d\\ude00\\/\"}",
                                        "{\"a\":-0.5e-3}", "{\"a\":[]}\r" };
    static const char *const bad[] = { "", "{", "}", "null", "[1]", "{\"a\"}", "{\"a\":}", "{\"a\":1", "{\"a\":1,}", "{,}", "{\"a\":1}}", "{\"a\":1} x", "{a:1}",
                                       "{\"a\":1,\"a\":2}", "{\"a\":01}", "{\"a\":+1}", "{\"a\":.5}", "{\"a\":1.}", "{\"a\":1.e3}", "{\"a\":1e}", "{\"a\":NaN}",
                                       "{\"a\":Infinity}", "{\"a\":nul}", "{\"a\":true}", "{\"a\":1e400}", "{\"a\":--1}", "{\"a\":\"x}", "{\"a\":\"\\x\"}",
                                       "{\"a\":\"\\u12\"}", "{\"a\":\"\\u0000\"}", "{\"a\":\"\\ud800\"}", "{\"a\":\"\\udc00\"}", "{\"a\":\"\\ud800\\u0041\"}",
                                       "{\"a\":\"tab\there\"}", "{\"a\":\"ctrl\001\"}", "{\"a\":[1,]}", "{\"a\":[,1]}", "{\"a\":[1}", "{\"a\":[\"x\"]}", "{\"a\":[[1]]}",
                                       "{\"a\":{}}", "{\"other\":{\"b\":1}}", "{\"settings\":{\"a\":{}}}", "{\"settings\":{},\"settings\":{}}", "{\"settings\":{\"settings\":{}}}",
                                       "{\"a\":1 \"b\":2}", "\xff\xfe{}", "{\"a\":\"\\" };
    lab__row row;
    char line[64], *deep;
    size_t n;
    int i;
    for (i = 0; i < (int)(sizeof good / sizeof good[0]); i++) {
        int took = lab__read_row(good[i], strlen(good[i]), &row);
        check(t, took, good[i]);
        if (took) lab__row_free(&row);
    }
    for (i = 0; i < (int)(sizeof bad / sizeof bad[0]); i++) {
        char *copy = (char *)malloc(strlen(bad[i]) + 1); /* so that a sanitizer sees a step too far */
        memcpy(copy, bad[i], strlen(bad[i]));
        check(t, !lab__read_row(copy, strlen(bad[i]), &row), bad[i]);
        free(copy);
    }
    check(t, !lab__read_row("{}\0", 3, &row), "a zero byte after a row");
    check(t, !lab__read_row("{\"a\":\0}", 7, &row), "a zero byte in a row");
    memset(line, '1', sizeof line);
    memcpy(line, "{\"a\":", 5);
    check(t, !lab__read_row(line, sizeof line, &row), "a number without an end");
    n = 100000;
    deep = (char *)malloc(n);
    for (i = 0; i < (int)n; i++) deep[i] = "{\"a\":"[i % 5];
    check(t, !lab__read_row(deep, n, &row), "a deep nest");
    memset(deep, '[', n);
    check(t, !lab__read_row(deep, n, &row), "many brackets");
    memset(deep, '7', n);
    memcpy(deep, "{\"a\":", 5);
    deep[n - 1] = '}';
    check(t, !lab__read_row(deep, n, &row), "a number of 99,994 digits");
    free(deep);
}

/* Every cut of a good row and every changed byte is refused or read, never a crash. */
static void test_mutations(counts *t)
{
    static const char text[] = "{\"experiment\":\"b\",\"settings\":{\"batch\":32,\"rule\":\"a\\u00e9\"},\"figures\":{\"l\":[1,null],\"m\":2.5e-3}}";
    size_t n = sizeof text - 1, i;
    int byte, cuts = 0;
    char copy[sizeof text];
    lab__row row;
    for (i = 0; i < n; i++) {
        int took = lab__read_row(text, i, &row);
        cuts += took;
        if (took) lab__row_free(&row);
    }
    check(t, cuts == 0, "no beginning of a row is a row");
    for (i = 0; i < n; i++)
        for (byte = 0; byte < 256; byte += 3) {
            memcpy(copy, text, sizeof text);
            copy[i] = (char)byte;
            if (lab__read_row(copy, n, &row)) lab__row_free(&row);
        }
    check(t, 1, "changed bytes");
}

static void test_keys(counts *t)
{
    static const char *const rows[] = {
        "{\"experiment\":\"e\",\"version\":\"1\",\"real\":\"float\",\"data\":\"00\",\"isa\":\"avx2\",\"settings\":{\"a\":1,\"b\":\"x\"},\"figures\":{}}",
        "{\"isa\":\"plain\",\"version\":\"1\",\"data\":\"00\",\"experiment\":\"e\",\"real\":\"float\",\"seconds\":3,\"settings\":{\"b\":\"x\",\"a\":1.0},\"figures\":{\"q\":1}}",
        "{\"experiment\":\"e\",\"version\":\"2\",\"real\":\"float\",\"data\":\"00\",\"settings\":{\"a\":1,\"b\":\"x\"},\"figures\":{}}",
        "{\"experiment\":\"e\",\"version\":\"1\",\"real\":\"double\",\"data\":\"00\",\"settings\":{\"a\":1,\"b\":\"x\"},\"figures\":{}}",
        "{\"experiment\":\"e\",\"version\":\"1\",\"real\":\"float\",\"data\":\"01\",\"settings\":{\"a\":1,\"b\":\"x\"},\"figures\":{}}",
        "{\"experiment\":\"e\",\"version\":\"1\",\"real\":\"float\",\"data\":\"00\",\"settings\":{\"a\":1.0000000000000002,\"b\":\"x\"},\"figures\":{}}",
        "{\"experiment\":\"e\",\"version\":\"1\",\"real\":\"float\",\"data\":\"00\",\"settings\":{\"a\":1,\"b\":\"x\",\"c\":0},\"figures\":{}}",
        "{\"experiment\":\"e\",\"version\":\"1\",\"real\":\"float\",\"data\":\"00\",\"settings\":{\"a\":1,\"b\":\"y\"},\"figures\":{}}",
    };
    char *first = NULL;
    int i;
    for (i = 0; i < (int)(sizeof rows / sizeof rows[0]); i++) {
        lab__row row;
        char *key;
        check(t, lab__read_row(rows[i], strlen(rows[i]), &row), "a row for its key");
        key = lab__key(&row);
        if (i == 0) first = lab__copy(key);
        else check(t, !strcmp(key, first) == (i == 1), i == 1 ? "order, instruction set and figures are no part of the key" : "version, precision, data and settings are");
        free(key);
        lab__row_free(&row);
    }
    free(first);
    check(t, lab__hash(0, "foobar", 6) == 0x85944171f73967e8u, "FNV-1a, the published value");
}

/* ------------------------------------------------------------------------------------------------ statistics */

static void test_statistics(counts *t)
{
    /* two-sided 95 % and 99 % points from the usual tables */
    static const double table[][3] = { { 1, 12.7062, 63.6567 }, { 2, 4.30265, 9.92484 }, { 3, 3.18245, 5.84091 }, { 4, 2.77645, 4.60409 },  { 5, 2.57058, 4.03214 },
                                       { 9, 2.26216, 3.24984 }, { 10, 2.22814, 3.16927 }, { 29, 2.04523, 2.75639 }, { 30, 2.04227, 2.75000 }, { 120, 1.97993, 2.61742 } };
    static const double x[] = { 2, 4, 4, 4, 5, 5, 7, 9 }, with_holes[] = { (double)NAN, 1, 3, (double)INFINITY }, a[] = { 2, 8, (double)NAN }, b[] = { 1, 2, 4 };
    static const double line_x[] = { 1, 2, 3, 4, (double)NAN }, line_y[] = { 2.1, 3.9, 6.2, 7.8, 0 };
    lab_stats s;
    int i;
    for (i = 0; i < (int)(sizeof table / sizeof table[0]); i++) {
        check(t, close_to(lab_t_quantile((int)table[i][0], 0.95), table[i][1], 1e-5), "t, 95 %");
        check(t, close_to(lab_t_quantile((int)table[i][0], 0.99), table[i][2], 1e-5), "t, 99 %");
    }
    check(t, close_to(lab_t_quantile(100000, 0.95), 1.95999, 1e-4), "t goes to the normal's");
    check(t, !(lab_t_quantile(0, 0.95) > 0), "no degree of freedom, no t");
    s = lab_stats_of(x, 8);
    check(t, s.n == 8 && close_to(s.mean, 5, 1e-12) && close_to(s.sd, 2.138089935, 1e-9), "mean and deviation");
    check(t, close_to(s.high - s.mean, 2.36462 * 2.138089935 / sqrt(8.0), 1e-5) && close_to(s.mean - s.low, s.high - s.mean, 1e-12), "interval");
    s = lab_stats_of(with_holes, 4);
    check(t, s.n == 2 && close_to(s.mean, 2, 1e-12) && close_to(s.low, 2 - 12.7062 * sqrt(2.0) / sqrt(2.0), 1e-5), "holes are left out");
    s = lab_stats_of(x, 1);
    check(t, s.n == 1 && s.mean > 1 && !lab__finite(s.sd) && !lab__finite(s.low) && !lab__finite(s.high), "one value has no interval");
    s = lab_stats_of(x, 0);
    check(t, s.n == 0 && !lab__finite(s.mean), "no value has no mean");
    s = lab_ratio_of(a, b, 3); /* logarithms of 2 and 4 */
    check(t, s.n == 2 && close_to(s.mean, sqrt(8.0), 1e-12) && close_to(s.low, exp(log(8.0) / 2 - 12.7062 * log(2.0) / 2), 1e-4), "ratio over pairs");
    s = lab_slope_of(line_x, line_y, 5);
    check(t, s.n == 4 && close_to(s.mean, 1.94, 1e-12) && close_to(s.sd, 0.0905538514, 1e-8) && close_to(s.high - s.mean, 4.30265 * 0.0905538514, 1e-5), "slope");
    s = lab_slope_of(line_x, line_y, 2);
    check(t, close_to(s.mean, 1.8, 1e-12) && !lab__finite(s.low), "two points: a slope without interval");
    s = lab_slope_of(line_y, line_x, 1);
    check(t, !lab__finite(s.mean), "one point: no slope");
}

/* ------------------------------------------------------------------------------------------------ flags */

static void never(lab_cell *cell) { (void)cell; }

/* Curves from rows in which pair[0] is 5 for both seeds and pair[1] is 10 and 20, and plain is 7. */
static void test_curves(counts *t, lab *l, int config)
{
    const double x[] = { 1, 2 };
    const int configs[] = { config, config }, elements[] = { 1, -1 };
    lab_plot *p = lab_plot_new("curves");
    const lab__curve *c;
    lab_curve_of_list(p, l, "list", x, 2, config, "pair", 0, 2);
    c = p->panels[0].curves;
    check(t, p->panels[0].count == 2 && close_to(c[0].y[0], 10, 1e-12) && close_to(c[0].y[1], 30, 1e-12) && c[0].low[1] < 30, "means and bars of a list");
    check(t, c[1].style == LAB_DOTS && c[1].n == 4 && close_to(c[1].x[3], 2, 1e-12) && close_to(c[1].y[2], 20, 1e-12) && close_to(c[1].y[3], 40, 1e-12), "and every seed");
    lab_curve_of(p, l, "of", x, configs, elements, 2, "pair", lab_error_of, 10);
    c = p->panels[0].curves;
    check(t, close_to(c[2].y[0], -140, 1e-12) && close_to(c[3].y[1], -190, 1e-12), "a function of every seed's figure");
    lab_curve_of_difference(p, l, "difference", x, 1, config, "pair", 1, "plain", -1, 100);
    c = p->panels[0].curves;
    check(t, close_to(c[4].y[0], 800, 1e-12) && c[4].low[0] < 0 && close_to(c[5].y[0], 300, 1e-12) && close_to(c[5].y[1], 1300, 1e-12), "a difference, seed by seed");
    lab_panel(p, "", "", "", LAB_LOG_X | LAB_LOG_Y);
    lab_tail(p, l, "tail", 2, config, "pair", "pair", 0); /* weights 5, 10, 5 and 20 at the same places: nothing below 0 */
    c = p->panels[1].curves;
    check(t, p->panels[1].count == 1 && c->n == 9 && close_to(c->x[1], 20, 1e-12) && close_to(c->y[1], 0.5, 1e-12) && close_to(c->x[2], 10, 1e-12) &&
          close_to(c->x[8], 0.02, 1e-12) && close_to(c->y[8], 1, 1e-12), "a spectrum's tail over all seeds");
    lab__plot_free(p);
}

/* What lab_open begins with, so that lab_close may end it. */
static lab *bare_lab(void)
{
    lab *l = (lab *)lab__new(1, sizeof *l);
#ifdef _OPENMP
    omp_init_lock(&l->door);
#endif
    return l;
}

static void test_shapes(counts *t)
{
    const double x[] = { 0, 1, 2, 4, 5 }, y[] = { 5, 3, 1, 0, 4 }, hump[] = { 4, 1, 7, 3, 9, 2, 2.5 }, fall[] = { 9, 5, 5, 2, 1 }, gap[] = { 1, (double)NAN, 3, 2 };
    const double holes[] = { 5, 3, (double)NAN, 0, 4 }, again[] = { 0, 3, 2, 4, 0 };
    int a = 0, b = 0;
    check(t, close_to(lab_crossing_of(x, y, 5, 2), 1.5, 1e-12) && close_to(lab_crossing_of(x, y, 5, 0.25), 3.5, 1e-12), "a crossing, linear between points");
    check(t, close_to(lab_crossing_of(x, y, 5, 1), 2, 1e-12) && !(lab_crossing_of(x, y, 5, -1) <= 9), "on a point; never");
    check(t, close_to(lab_crossing_of(x, holes, 5, 1), 3, 1e-12), "over a point that is not there");
    check(t, close_to(lab_crossing_of(x, again, 5, 2), 2, 1e-12), "who starts below has to rise first");
    check(t, lab_peak_of(hump, 7, &a, &b) == 4 && a == 1 && b == 5, "the highest above both valleys");
    check(t, lab_peak_of(fall, 5, &a, &b) == -1 && lab_peak_of(fall, 0, &a, &b) == -1, "no peak");
    check(t, lab_peak_of(gap, 4, &a, &b) == 2 && a == 0 && b == 3, "a peak beside a gap");
}

/* Settings as lists and from flags, what a cell's options take from its settings, and the figures that it writes of scores and of a matched loss. */
static void test_cell(counts *t)
{
    static const lab_flag flags[] = { { "batch", LAB_INT, "32", NULL, NULL, 1, 100, NULL, "" }, { "up", LAB_NUMBERS, "0.5,2,30", NULL, NULL, 0, 100, NULL, "" },
                                      { "down", LAB_INTS, "3,1", NULL, NULL, 0, 100, NULL, "" } };
    static const lab_experiment e = { "cell", "", "slice", flags, 3, "loss|accuracy|match_epoch|match_train_loss|match_lambda|match_residual|slice", never };
    static const genreg_real pixels[] = { 1, 2, 3, 4 };
    static const int labels[] = { 0, 1 }, shape[] = { 2 }, sizes[] = { 2, 2 };
    const genreg_score scores[] = { { 1, 0.5, 4 }, { 3, 1, 4 } };
    char words[][8] = { "cell", "--seed", "7", "--batch", "64" };
    char *argv[5];
    double list[LAB_LISTED];
    const double *up, *down;
    genreg_train_options o, d = genreg_train_defaults();
    genreg_eigen top[2], expected;
    genreg_real v[2 * 6], direction[6];
    genreg_progress p;
    genreg_dataset set;
    genreg_model *net;
    lab__cell *own;
    lab_cell *cell;
    lab *l = bare_lab();
    int i, n, k;
    for (i = 0; i < 5; i++) argv[i] = words[i];
    l->experiment = &e;
    l->checksum = lab__copy("0");
    l->ctx = genreg_create(NULL);
    lab__command_line(l, 5, argv);
    up = lab_rising_list(l, "up", &n);
    check(t, n == 3 && up[0] < 1 && up[2] > 29, "a list that rises");
    down = lab_falling_list(l, "down", &n);
    check(t, n == 2 && down[0] > 2, "one that falls");
    lab_refuse(l, "up|down", "stands on no command line here");
    k = lab_config(l);
    own = lab__cell_at(l, k, 0);
    own->view.own = own;
    own->view.ctx = l->ctx;
    cell = &own->view;
    lab_set_list(l, k, "widths", up, 3);
    check(t, !strcmp(lab_get_text(cell, "widths"), "0.5,2,30") && lab_get_list(cell, "widths", list) == 3 && same_bits(list[0], 0.5) && same_bits(list[2], 30), "a list as a setting");
    lab_set_list(l, k, "none", up, 0);
    check(t, lab_get_list(cell, "none", list) == 0, "of no numbers");
    lab_set_flags(l, k, "batch|seeds");
    check(t, lab_get_int(cell, "batch") == 64 && lab_get_int(cell, "seeds") == lab_int(l, "seeds"), "settings from flags");
    lab_set_flags(l, k, "save-every");
    check(t, lab_get_int(cell, "save_every") == 30, "a setting has no dashes");
    lab_set(l, k, "momentum", 0);
    o = lab_train_options(cell);
    check(t, o.batch == 64 && o.seed == 7 && o.momentum < 0.1 && o.epochs == d.epochs && same_bits(o.lr, d.lr), "what is set, and defaults for the rest");
    lab_set(l, k, "epochs", 3);
    lab_set(l, k, "lr", 0.25);
    o = lab_train_options(cell);
    check(t, o.epochs == 3 && same_bits(o.lr, 0.25) && o.schedule == d.schedule, "epochs and rate");
    check(t, same_bits(lab_scores_at(cell, "loss", "accuracy", 1, scores, 2), 2), "the mean loss");
    check(t, same_bits(lab_found(cell, "loss[1]"), 2) && same_bits(lab_found(cell, "accuracy[1]"), 0.75), "the means of two scores");
    set = genreg_dataset_reals(l->ctx, pixels, labels, 2, 1, shape, 2);
    set = genreg_dataset_reals(l->ctx, pixels, labels, 2, 1, shape, 2);
    cell->train = &set;
    net = genreg_mlp(l->ctx, sizes, 2);
    memset(net->theta->data, 0, (size_t)net->theta->size * sizeof(genreg_real)); /* the loss is log 2 */
    lab_set(l, k, "hessian_images", 1);
    lab_set(l, k, "hessian_products", 6);
    lab_set(l, k, "hessian_tol", 1e-6);
    genreg_hessian_close(lab_open_hessian(cell, net, &set, 2, top, v));
    /* softmax at 0 of one sample x = (1, 2) less its mean: the Hessian is (diag(p) - p p') times (x, 1)(x, 1)', p = 1/2, of which the largest eigenvalue is
       (|x|^2 + 1)/2 */
    set = genreg_first(l->ctx, &set, 1);
    expected = genreg_hessian_top(net, &set, NULL);
    check(t, close_to(top[0].value, 3, 1e-5) && close_to(top[0].value, expected.value, 1e-4) && top[1].value < 0.01, "the Hessian on the first images");
    memset(direction, 0, sizeof direction);
    direction[4] = -1; /* the bias of class 0, which is the label: the loss at t is log(1 + exp(t)), and larger for t = 1 */
    lab_slice_at(cell, "slice", 1, 3, net, direction, 1);
    check(t, close_to(lab_found(cell, "slice[1]"), log(1 + exp(-1.0)), 1e-5) && close_to(lab_found(cell, "slice[2]"), log(2.0), 1e-5), "the loss along a line");
    direction[4] = 1;
    lab_slice_at(cell, "slice", 1, 3, net, direction, 1);
    check(t, close_to(lab_found(cell, "slice[1]"), log(1 + exp(-1.0)), 1e-5) && close_to(lab_found(cell, "slice[3]"), log(1 + exp(1.0)), 1e-5), "whatever the sign of v");
    memset(&p, 0, sizeof p);
    for (p.epoch = 1; p.epoch < 5; p.epoch++) {
        double lambda;
        lab_set(l, k, "match_loss", p.epoch == 1 ? 0.69 : 0.7);
        lambda = lab_match_curvature(cell, net, &p, 9, 2);
        check(t, p.epoch == 2 ? close_to(lambda, 3, 1e-5) : !(lambda > 0), "the curvature after the first epoch below a level, and no other");
    }
    check(t, same_bits(lab_found(cell, "match_epoch[2]"), 2) && close_to(lab_found(cell, "match_train_loss[2]"), 0.69314718, 1e-6), "and its loss");
    check(t, close_to(lab_found(cell, "match_lambda[2]"), 3, 1e-5) && lab_found(cell, "match_residual[2]") < 1e-4, "and eigenvalue");
    check(t, lab_match_curvature(cell, net, &p, 9, 3) > 0 && lab_found(cell, "match_epoch[3]") > 4, "each element for itself");
    net = lab_paper_net(cell, "mlp", 3, 0);
    check(t, net && net->theta->size == 2 * 3 + 3 + 2 * (3 * 3 + 3) + 3 * 2 + 2, "MLP(3) of two inputs and two classes");
    lab_close(l);
}

static void test_flags(counts *t)
{
    static const lab_flag flags[] = { { "widths", LAB_INTS, "8,16", NULL, "8,16,32", 1, 100, NULL, "" },
                                      { "rule", LAB_WORD, "paper", "fixed", NULL, 0, 0, "paper|linear|fixed", "" },
                                      { "which", LAB_WORDS, "b", NULL, NULL, 0, 0, "a|b|c", "" }, { "twice", LAB_SWITCH, "", NULL, NULL, 0, 0, NULL, "" },
                                      { "epochs", LAB_INT, "5", "30", "60", 1, 100, NULL, "" } };
    static const lab_experiment e = { "flags", "", "mnist|slice", flags, 5, "", never };
    char words[][16] = { "flags", "--preset=paper", "--rule", "linear", "--seed", "7,3", "--shard", "2/5", "--save-every", "1e-3", "--which", "c,a" };
    char *argv[12];
    lab *l = bare_lab();
    int i, n;
    const double *list;
    for (i = 0; i < 12; i++) argv[i] = words[i];
    l->experiment = &e;
    lab__command_line(l, 12, argv);
    list = lab_list(l, "widths", &n);
    check(t, n == 3 && list[0] < 9 && list[2] > 31, "a list takes the preset's value");
    check(t, !strcmp(lab_text(l, "rule"), "linear"), "a word overrides the preset");
    check(t, lab_lists(lab_text(l, "which"), "a") && lab_lists(lab_text(l, "which"), "c") && !lab_lists(lab_text(l, "which"), "b") && !lab_lists("ab,c", "a"), "several words");
    check(t, lab_given(l, "rule") && !lab_given(l, "twice"), "a switch that is not there");
    check(t, lab_int(l, "epochs") == 60 && lab_int(l, "train") == 0, "the experiment's value of a common flag; unset is 0");
    check(t, l->seed_count == 2 && l->seeds[0] > 6 && l->seeds[1] < 4, "seeds by list");
    check(t, l->shard == 2 && l->shards == 5, "shard");
    check(t, close_to(lab_number(l, "save-every"), 1e-3, 1e-15), "a number");
    check(t, !lab_given(l, "report") && !lab_given(l, "fresh"), "switches are off");
    check(t, !strcmp(lab_text(l, "data"), "data") && !strcmp(lab_text(l, "out"), "results"), "defaults");
    check(t, lab__edit_distance("", "") == 0 && lab__edit_distance("abc", "") == 3 && lab__edit_distance("kitten", "sitting") == 3 && lab__edit_distance("sitting", "kitten") == 3
             && lab__edit_distance("epoch", "epochs") == 1 && lab__edit_distance("peochs", "epochs") == 2, "edit distances");
    check(t, lab__edit_distance("0123456789012345678901234567890x", "a") == 99 && lab__edit_distance("a", "0123456789012345678901234567890x") == 99, "long words are not compared");
    check(t, lab__similar(l, "epoch") && !strcmp(lab__similar(l, "epoch"), "epochs") && !strcmp(lab__similar(l, "peochs"), "epochs") && !strcmp(lab__similar(l, "sedes"), "seeds"), "a mistyped flag");
    check(t, !lab__similar(l, "epo") && !lab__similar(l, "learning-rate") && !lab__similar(l, "zz") && !lab__similar(l, "") && !lab__similar(l, "x"), "three edits are too many, and two letters say little");
    check(t, lab__among("paper|linear", "linear") && !lab__among("paper|linear", "line") && !lab__among("paper|linear", "") && !lab__among("paper", "paper|"), "words are whole");
    lab_close(l);
}

static void test_presets(counts *t)
{
    static const lab_flag flags[] = { { "widths", LAB_INTS, "8,16", NULL, "32", 1, 100, NULL, "" }, { "seed", LAB_INTS, "", NULL, "42", 0, 100, NULL, "" } };
    static const lab_experiment e = { "presets", "", "slice", flags, 2, "", never };
    char words[][16] = { "presets", "--preset", "paper", "--seeds", "2", "--report" };
    char *argv[6];
    int i, n;
    for (i = 0; i < 6; i++) argv[i] = words[i];
    for (i = 3; i <= 6; i += 3) {
        lab *l = bare_lab();
        const double *list;
        l->experiment = &e;
        lab__command_line(l, i, argv);
        check(t, i == 3 ? l->seed_count == 1 && l->seeds[0] > 41 : l->seed_count == 2 && l->seeds[1] < 3, "a preset's seeds, unless a number is given");
        lab_preset(l, "widths", "1", "2,3", NULL);
        list = lab_list(l, "widths", &n);
        check(t, n == 2 && list[1] > 2, "values that depend on others; NULL is as before");
        lab_preset(l, "seeds", "4", NULL, NULL);
        check(t, lab_int(l, "seeds") == (i == 3 ? 4 : 2), "the command line goes first");
        check(t, lab_given(l, "report") == (i == 6), "a switch is on where it is given");
        lab_close(l);
    }
}

static double half(double x) { return x / 2; }

/* One finished cell of two seeds, by hand. */
static void test_elements(counts *t)
{
    static const lab_experiment e = { "elements", "", "slice", NULL, 0, "pair|one|plain", never };
    const double zero_one[] = { 0, 1 }, hundred[] = { 1, 100 }, paper[] = { 0.5, 0.25 };
    const int configs[] = { 0, 0 }, elements[] = { 1, 0 };
    lab *l = bare_lab();
    lab_table table = lab_table_new("a|b");
    lab_stats s;
    double seeds[] = { 1, 2 };
    int i, k;
    l->experiment = &e;
    l->checksum = lab__copy("0");
    l->seeds = (double *)memcpy(lab__new(2, sizeof *seeds), seeds, sizeof seeds);
    l->seed_count = 2;
    l->ctx = genreg_create(NULL);
    k = lab_config(l);
    for (i = 0; i < 2; i++) {
        lab__cell *cell = lab__cell_at(l, k, i);
        cell->view.own = cell;
        lab_figure(&cell->view, "pair[1]", 10 * (i + 1));
        check(t, !(lab_found(&cell->view, "pair[0]") >= 0) && lab_found(&cell->view, "pair[1]") > 9, "writing an element makes the list");
        lab_figure(&cell->view, "pair[0]", 5);
        check(t, !(lab_found(&cell->view, "pair[2]") >= 0) && !(lab_found(&cell->view, "pair[x]") >= 0), "beyond the end, and what is no number");
        lab_figure_at(&cell->view, "one", 5, 3);
        check(t, lab_found(&cell->view, "one[5]") > 2.5 && !(lab_found(&cell->view, "one[2]") >= 0), "an element by number");
        lab_figure_at(&cell->view, "plain", -1, 7);
        check(t, lab_found(&cell->view, "plain") > 6.5 && !lab__find(&cell->row.figures, "plain")->is_list, "-1 is the plain figure");
        cell->state = LAB__DONE;
    }
    s = lab_over_seeds(l, k, "pair[1]", 1);
    check(t, s.n == 2 && close_to(s.mean, 15, 1e-12), "an element over seeds");
    check(t, close_to(lab_element(l, k, "pair", 1, 2).mean, 30, 1e-12), "by number, scaled");
    check(t, !(lab_element(l, k, "pair", 2, 1).mean >= 0) && close_to(lab_element(l, k, "pair", -1, 1).mean, 5, 1e-12), "element -1 is the figure itself");
    s = lab_ratio(l, k, k, "pair[1]|pair[0]");
    check(t, s.n == 2 && close_to(s.mean, sqrt(8.0), 1e-12), "a ratio of two figures of one configuration");
    check(t, close_to(lab_difference(l, k, k, "pair[1]|pair[0]", 10).mean, 100, 1e-12), "and a difference");
    check(t, close_to(lab_compare(l, k, "pair", 1, k, "plain", -1, 0).mean, sqrt(200.0) / 7, 1e-12), "a ratio by numbers");
    check(t, close_to(lab_compare(l, k, "pair", 1, k, "one", 5, 10).mean, 120, 1e-12), "a difference by numbers");
    check(t, close_to(lab_over_seeds_of(l, k, "pair[1]", half).mean, 7.5, 1e-12), "a function of a figure");
    test_curves(t, l, k);
    /* from pair[1] = 10 and 20 down to pair[0] = 5 over x from 0 to 1: level 8 is at 2/5 and 12/15 of the way */
    s = lab_crossing(l, zero_one, configs, elements, 2, "pair", 8);
    check(t, s.n == 2 && close_to(s.mean, 0.6, 1e-12) && close_to(s.sd, sqrt(0.08), 1e-12), "a crossing for each seed");
    check(t, lab_crossing(l, zero_one, configs, elements, 2, "pair", 15).n == 1 && lab_seed_count(l) == 2, "over the seeds that have one");
    s = lab_print_crossing(l, "where pair falls to 8", "x", hundred, configs, elements, 2, "pair", 8); /* at 10^0.8 and 10^1.6 */
    check(t, s.n == 2 && close_to(s.mean, pow(10, 1.2), 1e-12) && s.low < s.mean && close_to(s.low * s.high, s.mean * s.mean, 1e-9), "on a logarithmic axis");
    check(t, table.columns == 2 && !strcmp(table.entries[0], "a") && !strcmp(table.entries[1], "b"), "columns");
    lab_entries_and_paper(&table, l, k, 1, "paper f2|pair f1|paper e1", paper);
    check(t, !strcmp(table.entries[2], "0.50") && !strcmp(table.entries[3], "15.0") && !strcmp(table.entries[4], "2.5e-01"), "the paper's figures in their order");
    lab_entries_and_paper(&table, l, k, -1, "pair[1] f0|paper f2|plain s1", NULL);
    check(t, !strcmp(table.entries[5], "15") && !strcmp(table.entries[6], "-") && !strncmp(table.entries[7], "7.0 ± 0.0", 9), "or none, and an element by its name");
    while (table.count) free(table.entries[--table.count]);
    free(table.entries);
    check(t, lab_diverged(l, k) == 0, "none has diverged");
    lab__record_text(&lab__cell_at(l, k, 1)->row.head, "status", "diverged");
    check(t, lab_diverged(l, k) == 1, "one has");
    check(t, close_to(lab_value(l, k, 1, "pair[1]"), 20, 1e-12) && !(lab_value(l, k, 2, "pair[1]") >= 0), "one seed's value");
    lab_close(l);
}

/* A row of a cell that waits is its figures; one of a cell in hand, which a worker writes to, is not. And checkpoints of all trainings are removed, whatever
   a killed process has left of them. */
static void test_adopt(counts *t)
{
    static const lab_experiment e = { "test_lab.tmp", "", "slice", NULL, 0, "y", never };
    static const char *const left[] = { "0a.ckpt.tmp", "0.json", "1b.ckpt", "2.json.tmp" };
    char text[] = "{\"experiment\":\"test_lab.tmp\",\"version\":\"" GENREG_VERSION "\",\"status\":\"ok\",\"settings\":{},\"figures\":{\"y\":5}}", *path, *hash;
    char words[][8] = { "adopt", "--out", ".", "--seeds", "1" };
    char *argv[5];
    lab *l = bare_lab();
    lab__cell *cell;
    lab__row row;
    int i;
    l->experiment = &e;
    l->checksum = lab__copy("0");
    for (i = 0; i < 5; i++) argv[i] = words[i];
    lab__command_line(l, 5, argv);
    l->ctx = genreg_create(NULL);
    cell = lab__cell_at(l, lab_config(l), 0);
    cell->view.own = cell;
    check(t, lab__read_row(text, strlen(text), &row), "a row");
    cell->key = lab__key(&row);
    cell->state = LAB__RUNNING;
    lab__adopt(l, &row);
    check(t, cell->state == LAB__RUNNING && !(lab_found(&cell->view, "y") > 0) && !l->rows_foreign, "a cell in hand is left alone");
    cell->state = LAB__WAITING;
    lab__adopt(l, &row);
    check(t, cell->state == LAB__DONE && same_bits(lab_found(&cell->view, "y"), 5), "one that waits is done");
    lab__row_free(&row);
    hash = lab__hex(cell->hash);
    for (i = 0; i < 4; i++) {
        path = lab__format("./test_lab.tmp.%s.%s", hash, left[i]);
        check(t, lab__append(path, "x\n", 2), path);
        free(path);
    }
    lab__checkpoint_remove(cell);
    for (i = 0; i < 4; i++) {
        path = lab__format("./test_lab.tmp.%s.%s", hash, left[i]);
        check(t, !lab__exists(path), path);
        free(path);
    }
    free(hash);
    lab_close(l);
}

/* A curve of three points over three seeds: elements 0 of lists, with a plain figure between. */
static void test_peak(counts *t)
{
    static const lab_experiment e = { "peak", "", "slice", NULL, 0, "y", never };
    const double left[] = { 1, 2, 4 }, top[] = { 2, 3, 6 }, right[] = { 1, 1, 5 };
    const int configs[] = { 0, 1, 2 }, elements[] = { 0, -1, 0 };
    lab *l = bare_lab();
    lab_peak p;
    int i, k;
    l->experiment = &e;
    l->checksum = lab__copy("0");
    l->seeds = (double *)lab__new(3, sizeof *l->seeds);
    l->seed_count = 3;
    l->ctx = genreg_create(NULL);
    for (k = 0; k < 3; k++) {
        lab_config(l);
        for (i = 0; i < 3; i++) {
            lab__cell *cell = lab__cell_at(l, k, i);
            cell->view.own = cell;
            if (k == 1) lab_figure(&cell->view, "y", top[i]);
            else lab_figure_at(&cell->view, "y", 0, k ? right[i] : left[i]);
            cell->state = LAB__DONE;
        }
    }
    p = lab_find_peak(l, configs, elements, 3, "y", 10);
    check(t, p.at == 1 && p.low[0] == 0 && p.low[1] == 2 && close_to(p.mean, 11.0 / 3, 1e-12), "the middle is the peak");
    /* differences 1, 1, 2 and 1, 2, 1: mean 4/3, sd 1/sqrt(3), and t = 4.302653 for 2 degrees of freedom: half the interval is 1.434218 */
    check(t, close_to(p.over[0].mean, 40.0 / 3, 1e-12) && close_to(p.over[1].low, 10 * (4.0 / 3 - 1.434218), 1e-5) && !p.stands, "but not beyond what seeds differ by");
    p = lab_find_peak(l, configs, elements, 3, "y", 0);
    check(t, close_to(p.over[0].mean, cbrt(2 * 1.5 * 1.5), 1e-12) && close_to(p.over[1].mean, cbrt(2 * 3 * 1.2), 1e-12), "as ratios");
    check(t, p.over[0].low > 1 && p.over[1].low < 1 && !p.stands, "one interval above 1 is not enough");
    for (i = 0; i < 3; i++) lab_figure(&lab__cell_at(l, 1, i)->view, "y", top[i] + 2);
    p = lab_find_peak(l, configs, elements, 3, "y", 1);
    check(t, close_to(p.over[0].low, 10.0 / 3 - 1.434218, 1e-6) && p.stands, "a peak that stands");
    check(t, lab_find_peak(l, configs, elements, 2, "y", 1).at == -1, "none at an end");
    lab_close(l);
}

/* ------------------------------------------------------------------------------------------------ files and locks */

static int holds(const char *path, const char *expected)
{
    size_t n;
    char *text = lab__read_file(path, 0, &n);
    int good = text && n == strlen(expected) && !memcmp(text, expected, n);
    if (!good) printf("    got      %s\n    expected %s\n", text ? text : "(nothing)", expected);
    free(text);
    return good;
}

static void test_append(counts *t)
{
    const char *path = "test_lab.tmp.jsonl", *part = "test_lab.tmp.part";
    size_t n;
    FILE *f;
    remove(path);
    check(t, lab__append(path, "{\"a\":1}\n", 8) && lab__append(path, "{\"a\":2}\n", 8) && holds(path, "{\"a\":1}\n{\"a\":2}\n"), "lines are added");
    f = fopen(path, "ab");
    fputs("{\"a\":3,\"b", f);
    fclose(f);
    check(t, lab__append(path, "", 0) && holds(path, "{\"a\":1}\n{\"a\":2}\n"), "a torn line is cut");
    f = fopen(path, "ab");
    fputs("{\"a\":3}", f);
    fclose(f);
    check(t, lab__append(path, "{\"a\":4}\n", 8) && holds(path, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n{\"a\":4}\n"), "a whole line without newline is kept");
    f = fopen(path, "wb");
    fputs("torn from the start", f);
    fclose(f);
    check(t, lab__append(path, "{\"a\":5}\n", 8) && holds(path, "{\"a\":5}\n"), "a file that is all torn");
    f = fopen(path, "ab");
    fputs("{\"a\":6,\"b", f);
    fclose(f);
    reads_half = 1;
    check(t, !lab__append(path, "{\"a\":7}\n", 8), "a file that cannot be read is not mended");
    reads_half = 0;
    check(t, holds(path, "{\"a\":5}\n{\"a\":6,\"b"), "and nothing of it is cut");
    remove(path);
    check(t, !lab__append("no such folder/x.jsonl", "{}\n", 3), "no folder, no row");
    check(t, lab__write_file(path, part, "abc", 3) && holds(path, "abc") && lab__write_file(path, part, "de", 2) && holds(path, "de"), "a file is replaced whole");
    remove(path);
    check(t, !lab__write_file("no such folder/x", "no such folder/y", "abc", 3), "no folder, no file");
    check(t, lab__write_file(path, part, "old", 3), "a file");
    closes_full = 1;
    check(t, !lab__write_file(path, part, "newer", 5) && errno == ENOSPC, "a disk that is full at the end");
    closes_full = 0;
    check(t, holds(path, "old") && !lab__exists(part), "leaves the old one");
    remove(path);
    check(t, !lab__read_file("no such folder/x", 0, &n) && errno == ENOENT, "no file to read");
#ifdef LAB_POSIX
    check(t, !lab__read_file(".", 0, &n) && errno == EISDIR, "a folder is no file");
#endif
#ifdef LAB_POSIX
    if (lab__exists("/dev/full")) check(t, !lab__append("/dev/full", "{}\n", 3) && errno == ENOSPC, "a full disk is seen");
#endif
}

static void test_locks(counts *t)
{
#ifdef LAB_POSIX
    const char *path = "test_lab.tmp.lock";
    lab__lockfile file = 0;
    int status, ready[2], hold[2];
    pid_t child;
    char ch = 0;
    check(t, pipe(ready) == 0 && pipe(hold) == 0, "pipes");
    fflush(stdout);
    child = fork();
    if (!child) { /* takes byte 5 and dies with it */
        if (!lab__lock_open(&file, path) || !lab__lock(file, 5, LAB__TRY) || write(ready[1], "x", 1) != 1) _exit(1);
        _exit(read(hold[0], &ch, 1) == 1 ? 0 : 1);
    }
    close(ready[1]); /* else a child that fails is waited for for ever */
    close(hold[0]);
    check(t, read(ready[0], &ch, 1) == 1 && lab__lock_open(&file, path), "the other process has its lock");
    check(t, !lab__lock(file, 5, LAB__TRY), "a byte that another process has");
    check(t, lab__lock(file, 6, LAB__TRY), "its neighbour is free");
    check(t, write(hold[1], "x", 1) == 1 && waitpid(child, &status, 0) == child && status == 0, "the other process ends");
    check(t, lab__lock(file, 5, LAB__TRY), "its lock has gone with it");
    fflush(stdout);
    child = fork();
    if (!child) {
        lab__lockfile mine;
        int got = lab__lock_open(&mine, path) && !lab__lock(mine, 5, LAB__TRY);
        _exit(got ? 0 : 1);
    }
    check(t, waitpid(child, &status, 0) == child && status == 0, "and is ours now");
    lab__lock(file, 5, LAB__DROP);
    fflush(stdout);
    child = fork();
    if (!child) {
        lab__lockfile mine;
        int got = lab__lock_open(&mine, path) && lab__lock(mine, 5, LAB__WAIT) && !lab__lock(mine, 6, LAB__TRY);
        _exit(got ? 0 : 1);
    }
    check(t, waitpid(child, &status, 0) == child && status == 0, "one byte is let go, the other held");
    check(t, lab__lock(file, 7, LAB__SHARE) == 1, "a byte to share");
    fflush(stdout);
    child = fork();
    if (!child) {
        lab__lockfile mine;
        int got = lab__lock_open(&mine, path) && lab__lock(mine, 7, LAB__SHARE) == 1 && !lab__lock(mine, 7, LAB__TRY);
        _exit(got ? 0 : 1);
    }
    check(t, waitpid(child, &status, 0) == child && status == 0, "is shared with another process, which cannot have it alone");
    check(t, lab__lock(file, 7, LAB__TRY) == 1, "and can be had alone once that has ended");
    check(t, lab__lock(-1, 7, LAB__TRY) == -1, "where there are no locks, that is said");
    lab__lock_close(file);
    remove(path);
#else
    (void)t;
#endif
}

/* ------------------------------------------------------------------------------------------------ plots and threads */

static int has(const char *svg, const char *text) { return strstr(svg, text) != NULL; }

/* In a plot's first panel x runs from 79 to 407 and y from 314 at the bottom up to 78. */
static void test_plots(counts *t)
{
    const double x[] = { 1, 10, 100 }, y[] = { 1e-3, (double)NAN, 50 }, low[] = { -1, (double)NAN, 20 }, high[] = { 1, (double)NAN, 90 }, zero[] = { 0, 0, 0 };
    const double side[] = { 0, 1, 2 }, flat[] = { 0, 1, 0 }, down[] = { -9, .5, -.02 }, up[] = { 0.02, 9, .02 };
    lab_plot *p = lab_plot_new("a < %s & \"c\"", "b");
    char *svg;
    lab_panel(p, "<panel>", "x & x", "y\nz", LAB_LOG_X | LAB_LOG_Y);
    lab_line(p, "curve > 1", x, y, low, high, 3, LAB_JOINED);
    lab_line(p, "", x, y, NULL, NULL, 3, LAB_DOTS);
    lab_line(p, "threshold", &x[1], NULL, NULL, NULL, 1, LAB_RULE);
    lab_line(p, "limit", &x[1], NULL, NULL, NULL, 1, LAB_RULE);
    lab_line(p, "level", NULL, &x[0], &low[0], &high[0], 1, LAB_RULE);
    lab_panel(p, "all the same", "", "", 0);
    lab_line(p, "zero", zero, zero, NULL, NULL, 3, LAB_JOINED);
    lab_panel(p, "nothing", "", "", LAB_LOG_X);
    svg = lab_plot_svg(p, "A caption with a tag </svg> in it.");
    check(t, has(svg, "a &lt; b &amp; &quot;c&quot;") && has(svg, "&lt;panel&gt;") && has(svg, "tag &lt;/svg&gt; in") && has(svg, "curve &gt; 1"), "text is escaped");
    check(t, !has(svg, "nan") && !has(svg, "inf"), "no NaN in a plot");
    check(t, strstr(svg, "</svg>") == svg + strlen(svg) - 7, "one end");
    check(t, has(svg, "\"M243.0 314.0V78.0\" stroke-width=\"1.5\" stroke-dasharray=\"7 4\" stroke=\"#d55e00\""), "a rule is a dashed line at its place");
    check(t, has(svg, "\"M243.0 314.0V78.0\" stroke-width=\"1.8\" stroke-dasharray=\"2 3\" stroke=\"#009e73\""), "the next one has other dashes");
    check(t, has(svg, "h28\" stroke-width=\"1.8\" stroke-dasharray=\"2 3\" stroke=\"#009e73\""), "and shows them in the legend");
    check(t, has(svg, "H407.0\" stroke-width=\"1.5\" stroke-dasharray=\"10 3 2 3\" stroke=\"#cc79a7\"") && has(svg, "fill=\"#cc79a7\" opacity=\"0.12\""),
          "a rule over y lies across, in a band");
    free(svg);
    lab__plot_free(p);

    p = lab_plot_new("bars");
    lab_panel(p, "", "", "", 0);
    lab_line(p, "one", side, flat, down, up, 3, LAB_JOINED);
    lab_line(p, "", side, flat, NULL, NULL, 3, LAB_DOTS);
    lab_line(p, "two", side, flat, down, up, 3, LAB_JOINED);
    lab_line(p, "", side, flat, NULL, NULL, 3, LAB_POINTS);
    lab_line(p, "no bars", side, flat, NULL, NULL, 3, LAB_JOINED);
    svg = lab_plot_svg(p, "");
    /* y runs from -0.62 to 1.62: the points have half of it, and 6 % are added at either end. The bars go from beyond it to 0.02, from 0.5 to beyond it,
       and from -0.02 to 0.02. */
    check(t, has(svg, "M241.0 196.0V78.0M238.0 196.0h6\" stroke=\"#0072b2\"") && has(svg, "M245.0 196.0V78.0M242.0 196.0h6\" stroke=\"#d55e00\""),
          "bars stand side by side; one that leaves the frame above ends there without a cap");
    check(t, has(svg, "M94.6 314.0V246.6M91.6 246.6h6\""), "and one that leaves it below");
    check(t, has(svg, "<circle cx=\"241.0\" cy=\"143.3\" r=\"3.6\"") && has(svg, "<circle cx=\"241.0\" cy=\"143.3\" r=\"2.5\""), "markers and seeds stand with their bars");
    check(t, has(svg, "<rect x=\"238.5\" y=\"136.8\" width=\"13.0\" height=\"13.0\" fill=\"none\" stroke-width=\"1.5\" stroke=\"#d55e00\"") &&
          has(svg, "<path d=\"M239.4 146.9h7.2l-3.6 -7.2z\" fill=\"#009e73\""), "rings are around the curve before; what has no bars stays in its place");
    free(svg);
    lab__plot_free(p);

    p = lab_plot_new("zeros");
    lab_panel(p, "", "", "", LAB_LOG_Y);
    lab_line(p, "one", side, up, down, up, 3, LAB_JOINED);
    lab_line(p, "two", side, flat, NULL, NULL, 3, LAB_JOINED);
    svg = lab_plot_svg(p, "");
    check(t, !has(svg, "cy=\"314.0\"") && has(svg, "y=\"310.4\" width=\"7.2\" height=\"7.2\" fill=\"#fcfcfa\""), "0 is a hollow point on the frame of a logarithmic axis");
    check(t, has(svg, "M96.6 314.0V301.4M93.6 301.4h6\"") && !has(svg, "314.0h6"), "a bar to below 0 ends there without a cap");
    free(svg);
    lab__plot_free(p);
}

/* The label of each tick, "1|2|5". */
static void print_ticks(lab__buffer *b, double low, double high, int log, double from, double to)
{
    lab__axis a;
    double at[LAB__TICKS];
    int n, i;
    memset(&a, 0, sizeof a);
    a.log = log;
    a.low = log ? log10(low) : low;
    a.high = log ? log10(high) : high;
    a.from = from;
    a.to = to;
    n = lab__ticks(&a, at);
    for (i = 0; i < n; i++) {
        if (i) lab__print(b, "|");
        lab__print_tick(b, at[i], lab__in_powers(at, n));
    }
}

static void test_ticks(counts *t)
{
    lab__axis a;
    lab__buffer b = { NULL, 0, 0 };
    double at[LAB__TICKS];
    int n, i;
    print_ticks(&b, 12.2, 19.9, 0, 0, 300);
    check(t, same_text(&b, "14|16|18"), "linear ticks");
    print_ticks(&b, 0, 3e5, 0, 0, 400);
    check(t, same_text(&b, "0|5×10⁴|10⁵|1.5×10⁵|2×10⁵|2.5×10⁵|3×10⁵"), "one notation on an axis");
    print_ticks(&b, 8e3, 3e5, 1, 0, 300);
    check(t, same_text(&b, "10⁴|2×10⁴|5×10⁴|10⁵|2×10⁵"), "1, 2, 5, as 10⁵ is there in powers");
    print_ticks(&b, 0.9, 2100, 1, 240, 0);
    check(t, same_text(&b, "1|2|5|10|20|50|100|200|500|1000|2000"), "as many as there is room for");
    print_ticks(&b, 0.9, 2100, 1, 0, 300);
    check(t, same_text(&b, "1|3|10|30|100|300|1000"), "fewer side by side");
    print_ticks(&b, 1e-9, 2, 1, 100, 0);
    check(t, same_text(&b, "10⁻⁸|10⁻⁶|10⁻⁴|10⁻²|1"), "every other decade");
    memset(&a, 0, sizeof a);
    a.log = a.two = 1;
    a.low = log10(30.0);
    a.high = log10(2100.0);
    a.to = 300;
    n = lab__ticks(&a, at);
    check(t, n == 7 && close_to(at[0], 32, 1e-9) && close_to(at[6], 2048, 1e-9), "powers of two");
    for (i = 0; i < 200; i++) { /* any range gives a few ticks within it */
        a.two = i % 2;
        a.log = i % 3 == 0;
        a.low = a.log ? (i - 100) / 20.0 : (i - 100) * pow(10, i % 13 - 6);
        a.high = a.low + (a.log ? 0.01 + i / 10.0 : pow(10, i % 11 - 5));
        n = lab__ticks(&a, at);
        if (n < 1 || n > LAB__TICKS || !(lab__unit(&a, at[0]) >= a.low - 1e-6 * fabs(a.low)) || !(lab__unit(&a, at[n - 1]) <= a.high + 1e-6 * fabs(a.high))) break;
    }
    check(t, i == 200, "ticks lie in the range");
    lab__print_tick(&b, 2e7, 1);
    lab__print(&b, " ");
    lab__print_tick(&b, 1e-12, 1);
    lab__print(&b, " ");
    lab__print_tick(&b, 0, 1);
    lab__print(&b, " ");
    lab__print_tick(&b, 2048, 0);
    check(t, same_text(&b, "2×10⁷ 10⁻¹² 0 2048"), "labels of ticks");
}

/* The share of the weight above x, from the largest place down. */
static void test_steps(counts *t)
{
    double pairs[] = { 3, 1, -7, 4, 10, 1, 0.001, 2 }, x[9], y[9];
    const double corners[7][2] = { { 10, 0 }, { 10, .125 }, { 3, .125 }, { 3, .25 }, { .01, .25 } };
    int n = lab__steps(pairs, 4, 0.01, x, y), i, good = n == 5;
    for (i = 0; i < n && good; i++) good = close_to(x[i], corners[i][0], 1e-12) && close_to(y[i], corners[i][1], 1e-12);
    check(t, good, "the tail of a spectrum in steps");
    n = lab__steps(pairs, 4, 20, x, y);
    check(t, n == 1 && close_to(y[0], 0, 1e-12), "and where there is none");
}

/* Intervals of accuracies end at 0 and 100 in print, other figures' do not, and numbers inside stay as they are. */
static void test_clip(counts *t)
{
    lab_stats s;
    lab_table table = lab_table_new("a");
    memset(&s, 0, sizeof s);
    s.n = 3; s.mean = 99.9; s.sd = 0.15; s.low = 99.5; s.high = 100.3;
    lab_entry_stats(&table, lab_clip(s, 100), 2);
    check(t, !strcmp(table.entries[1], "99.90 ± 0.15 [99.50, 100.00]"), table.entries[1]);
    s.mean = 1; s.sd = 2; s.low = -4; s.high = 6;
    lab_entry_stats(&table, lab_clip(s, 100), 1);
    check(t, !strcmp(table.entries[2], "1.0 ± 2.0 [0.0, 6.0]"), table.entries[2]);
    lab_entry_stats(&table, s, 1);
    check(t, !strcmp(table.entries[3], "1.0 ± 2.0 [-4.0, 6.0]"), table.entries[3]);
    s = lab_clip(s, 1);
    check(t, close_to(s.high, 1, 1e-15) && close_to(s.mean, 1, 1e-15) && close_to(s.sd, 2, 1e-15), "as a share of 1");
    check(t, lab__is_accuracy("test_accuracy") && lab__is_accuracy("accuracy[3]") && !lab__is_accuracy("accuracy_gap") && !lab__is_accuracy("gap"), "which figures are accuracies");
    while (table.count) free(table.entries[--table.count]);
    free(table.entries);
}

/* The first column stands left, the others right, and a column without entries is left out. */
static void test_table(counts *t)
{
    lab_table table = lab_table_new("batch|none|test %|some");
    lab__buffer b = lab__table_text(&table);
    check(t, same_text(&b, "batch  none  test %  some\n"), "a heading alone is whole");
    lab_entry(&table, "8"); lab_entry(&table, "-"); lab_entry(&table, "%.1f", 99.5); lab_entry(&table, "-");
    lab_entry(&table, "16"); lab_entry(&table, "%f", (double)NAN); lab_entry(&table, "%.1f", 7.0); lab_entry(&table, "± 3");
    b = lab__table_text(&table);
    check(t, same_text(&b, "batch  test %  some\n8        99.5     -\n16        7.0   ± 3\n"), "columns");
    while (table.count) free(table.entries[--table.count]);
    free(table.entries);
}

/* The progress line drops what matters least until it fits, and never cuts. Finished cells are counted, not started ones. */
static void test_progress(counts *t)
{
    static const struct { int room; const char *text; } lines[] = {
        { 120, "2/12 done, 1:05 left, 4321 images/s | CNN(32), batch 1024, seed 3: epoch 7/80, loss 0.123, 98.8 %" },
        { 97, "2/12 done, 1:05 left, 4321 images/s | CNN(32), batch 1024, seed 3: epoch 7/80, loss 0.123, 98.8 %" },
        { 96, "2/12 done, 1:05 left, 4321 images/s | CNN(32), batch 1024, seed 3: epoch 7/80, loss 0.123" },
        { 79, "2/12 done, 1:05 left | CNN(32), batch 1024, seed 3: epoch 7/80, loss 0.123" },
        { 70, "2/12 done, 1:05 left | CNN(32), batch 1024, seed 3: epoch 7/80" },
        { 40, "2/12 done, 1:05 left, epoch 7/80" },
        { 10, "2/12 done, 1:05 left, epoch 7/80" } };
    static lab__cell cells[4];
    char label[] = "CNN(32), batch 1024";
    lab l;
    int i, finished, all;
    memset(&l, 0, sizeof l);
    memset(cells, 0, sizeof cells);
    cells[0].label = label;
    cells[0].view.seed = 3;
    cells[0].progress.epoch = 7;
    cells[0].epochs = 80;
    cells[0].progress.loss = 0.1234;
    cells[0].progress.accuracy = 0.98765;
    for (i = 0; i < 7; i++) {
        char *text = lab__progress_text(&cells[0], 65, 2, 12, 4321, lines[i].room);
        check(t, !strcmp(text, lines[i].text), text);
        free(text);
    }
    {
        char *text = lab__progress_text(&cells[0], (double)NAN, 0, 12, 4321, 79);
        check(t, !strcmp(text, "0/12 done, 4321 images/s | CNN(32), batch 1024, seed 3: epoch 7/80, loss 0.123"), text);
        free(text);
    }
    l.config_count = 2;
    l.seed_count = 2;
    l.cells = cells;
    for (i = 0; i < 4; i++) { cells[i].mine = i != 3; cells[i].cost = 1; }
    cells[0].state = LAB__RUNNING;
    cells[1].state = LAB__DONE;
    cells[2].state = LAB__WAITING;
    cells[3].state = LAB__DONE; /* another shard's */
    lab__time_left(&l, &finished, &all);
    check(t, finished == 1 && all == 3, "one of three is finished, though two were started");
#ifdef LAB_POSIX
    setenv("COLUMNS", "132", 1);
    check(t, lab__terminal_width() == 132, "COLUMNS");
    setenv("COLUMNS", "x", 1);
    check(t, lab__terminal_width() == 80, "COLUMNS is no number");
    setenv("COLUMNS", "0", 1);
    check(t, lab__terminal_width() == 80, "COLUMNS is 0");
    unsetenv("COLUMNS");
    check(t, lab__terminal_width() == 80, "no COLUMNS");
#endif
}

static void test_shares(counts *t)
{
    int busy[4] = { 1, 1, 1, 1 }, i, w;
    lab l;
    memset(&l, 0, sizeof l);
    l.busy = busy;
    l.workers = 4;
    for (l.threads = 1; l.threads < 12; l.threads++)
        for (i = 0; i < 16; i++) {
            int sum = 0, cells = 0, least = 99, most = 0;
            for (w = 0; w < 4; w++) busy[w] = i >> w & 1;
            for (w = 0; w < 4; w++)
                if (busy[w]) {
                    int share = lab__share(&l, w);
                    sum += share;
                    cells++;
                    if (share < least) least = share;
                    if (share > most) most = share;
                }
            if (cells && (sum != (cells > l.threads ? cells : l.threads) || most - least > 1)) break;
        }
    check(t, l.threads == 12, "all threads are shared out, evenly");
}

int main(void)
{
    static const char *const locales[] = { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "it_IT.UTF-8", "pl_PL.UTF-8", "de_DE", "German_Germany.1252" };
    counts t = { 0, 0 };
    int i;
#ifdef LAB_POSIX /* a folder of its own: two of these may run at once */
    char *scratch = lab__format("test_lab.%ld.tmp", lab__process());
    lab__make_folder(scratch);
    check(&t, chdir(scratch) == 0, scratch);
#endif
    test_numbers(&t, "numbers round trip");
    for (i = 0; i < 7; i++)
        if (setlocale(LC_ALL, locales[i])) {
            check(&t, *localeconv()->decimal_point == ',', "a locale with a decimal comma");
            test_numbers(&t, "numbers round trip under a decimal comma");
            test_row_round_trip(&t);
            break;
        }
    if (i == 7) printf("skipped: rows under a decimal comma (no such locale is installed)\n");
    setlocale(LC_ALL, "C");
    test_bad_numbers(&t);
    test_row_round_trip(&t);
    test_hostile_rows(&t);
    test_mutations(&t);
    test_keys(&t);
    test_statistics(&t);
    test_shapes(&t);
    test_cell(&t);
    test_flags(&t);
    test_presets(&t);
    test_elements(&t);
    test_peak(&t);
    test_adopt(&t);
    test_append(&t);
    test_locks(&t);
    test_plots(&t);
    test_ticks(&t);
    test_steps(&t);
    test_clip(&t);
    test_table(&t);
    test_progress(&t);
    test_shares(&t);
#ifdef LAB_POSIX
    check(&t, chdir("..") == 0 && rmdir(scratch) == 0, "nothing is left");
    free(scratch);
#endif
    printf("%d passed, %d failed\n", t.passed, t.failed);
    return t.failed != 0;
}
