/* lab.h - what the experiments of genreg.h share: command line, data, result rows, resume, statistics, tables, SVG plots.
   Licence: that of genreg.h (MIT).

   An experiment is a list of configurations, each run with every seed. One configuration with one seed is a *cell*; a
   finished cell is one line of OUT/NAME.jsonl. A whole experiment:

      #define GENREG_STATIC
      #define GENREG_IMPLEMENTATION
      #include "lab.h"

      static void run(lab_cell *cell)                         // one cell: settings in, figures out
      {
          int sizes[] = { 784, lab_get_int(cell, "width"), 10 };
          genreg_model *net = genreg_mlp(cell->ctx, sizes, 3);
          genreg_train_options o = lab_train_options(cell);   // SGD, with the epochs and the seed of the cell
          genreg_init(net, GENREG_INIT_PYTORCH, cell->seed);
          if (!lab_train(cell, net, cell->train, &o, NULL, NULL)) return;
          lab_figure(cell, "test", genreg_evaluate(net, cell->test).accuracy);
      }

      int main(int argc, char **argv)
      {
          static const lab_flag flags[] = { { "widths", LAB_INTS, "8,64,512", NULL, NULL, 1, 1e6, NULL, "hidden units" } };
          static const lab_experiment about = { "width", "Test accuracy over width.", "mnist|fashion|slice", flags, 1, "test", run };
          lab *l = lab_open(&about, argc, argv);
          int n, i, configs[LAB_LISTED];
          const double *widths = lab_list(l, "widths", &n);
          for (i = 0; i < n; i++) {
              configs[i] = lab_config(l);
              lab_set(l, configs[i], "width", widths[i]);
              lab_set_flags(l, configs[i], "epochs");
          }
          if (lab_run(l)) {
              lab_plot *p = lab_plot_new("Test accuracy over width");
              lab_panel(p, "", "width", "test accuracy, %", LAB_LOG_X);
              lab_curve(p, l, "test", widths, configs, n, "test", 100);
              lab_plot_save(p, l, "One hidden layer, trained for %d epochs.", lab_int(l, "epochs"));
          }
          return lab_close(l);
      }

   RULES
      Key        A row belongs to a cell if experiment, genreg's version and precision, data checksum and all settings are the
                 same. So run() reads nothing but its cell's settings, and what could change a figure is a setting. The
                 instruction set stands in the row and is no part of the key: it moves figures by rounding only, and rows of
                 unlike machines may be joined. Rows with another key stay in the file and are left out of every mean.
      Kill       A row is written in one piece once its cell is finished; half a row at the end of a file is cut off. Cells in
                 hand save their training every --save-every seconds and at Ctrl-C, with the figures they have so far. A run
                 that was killed and started again ends with the rows of one that was not, but for the seconds.
      Processes  Several on one --out share the cells out by locks on byte ranges of OUT/NAME.lock (fcntl, LockFileEx), which the
                 system drops when a process dies. Where there are neither, run one process at a time.
      Threads    --jobs cells run side by side and share --threads; what a finished cell leaves idle, the others take between steps.
                 On a machine that others use too, set OMP_WAIT_POLICY=passive: threads that wait then sleep, which can be
                 many times as fast.
      Errors     One line on stderr. Exit status 2: a wrong flag; 1: anything else; 130 or 143: stopped by Ctrl-C or SIGTERM.
*/
#ifndef LAB_H
#define LAB_H

#include "../genreg.h"

#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#if defined(_WIN32)
#ifndef NOMINMAX
#define NOMINMAX
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN /* without it "small" can be a macro */
#endif
#include <windows.h>
#include <io.h>
#elif defined(__unix__) || defined(__APPLE__)
#define LAB_POSIX
#include <fcntl.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#if defined(__STRICT_ANSI__) && !defined(__cplusplus)
int truncate(const char *path, off_t length); /* -std=c99 hides it in <unistd.h> */
#endif
#else
#include <time.h>
#endif

#define LAB_FN static inline /* inline, so that what an experiment does not use is no warning */

#ifdef __GNUC__
#define LAB_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define LAB_PRINTF(text, first)
#endif

/* ------------------------------------------------------------------------------------------------ the experiment */

typedef struct lab lab;

/* Kinds of flags. A list is separated by commas, names nothing twice and has at most LAB_LISTED numbers. */
enum { LAB_LISTED = 256 };
typedef enum lab_kind { LAB_SWITCH, LAB_INT, LAB_NUMBER, LAB_TEXT, LAB_WORD, LAB_WORDS, LAB_INTS, LAB_NUMBERS } lab_kind;

/* A flag --name. The three values are those of --preset quick, reduced and paper, as one would type them; NULL is "as in the
   preset before" and "" is unset. A flag named train, epochs or seeds gives the common flag of that name its values. */
typedef struct lab_flag {
    const char *name;
    lab_kind kind;
    const char *quick, *reduced, *paper;
    double min, max;   /* what numbers may be */
    const char *words; /* LAB_WORD: what it may be, "paper|linear|fixed"; LAB_WORDS: of what its list may be; LAB_TEXT: what --help calls it, "FILE" */
    const char *help;
} lab_flag;

/* A cell in the hands of an experiment's run function. */
typedef struct lab_cell {
    lab *in;
    genreg_ctx *ctx;                    /* of this cell alone */
    const genreg_dataset *train, *test; /* shared by all cells: read only */
    uint64_t seed;
    struct lab__cell *own;              /* private */
} lab_cell;

typedef struct lab_experiment {
    const char *name;           /* of its files */
    const char *about;          /* for --help */
    const char *datasets;       /* what it can train on, the best first: "mnist|fashion|slice" */
    const lab_flag *flags;
    int flag_count;
    const char *figures;        /* every figure that it may write, "loss|accuracy"; null until it does */
    void (*run)(lab_cell *cell);
} lab_experiment;

/* Reads the command line and loads the data. Does not return from a wrong flag or missing data. --help is printed once all presets are known: at the
   first configuration, or here if there are no data. */
LAB_FN lab *lab_open(const lab_experiment *e, int argc, char **argv);

/* The value of a flag: a number (NaN if unset), a whole number (0 if unset), a text or word ("" if unset), a list; whether a switch is on. */
LAB_FN double lab_number(lab *l, const char *flag);
LAB_FN int lab_int(lab *l, const char *flag);
LAB_FN const char *lab_text(lab *l, const char *flag);
LAB_FN const double *lab_list(lab *l, const char *flag, int *n);

/* A list that must rise, or fall. Exits if it does not. */
LAB_FN const double *lab_rising_list(lab *l, const char *flag, int *n);
LAB_FN const double *lab_falling_list(lab *l, const char *flag, int *n);

/* Whether a flag stands on the command line: what a switch says. Whether a list as in "reinit,shuffle" has a word. */
LAB_FN int lab_given(lab *l, const char *flag);
LAB_FN int lab_lists(const char *list, const char *word);

/* Exits if one of the flags "reuse|schedule" stands on the command line; why goes behind its name: "goes with --belkin". */
LAB_FN void lab_refuse(lab *l, const char *flags, const char *why);

/* Gives a flag that is not on the command line values for the presets that depend on others (as in lab_flag). Call it before the
   first configuration; --train and --seeds take effect too. */
LAB_FN void lab_preset(lab *l, const char *flag, const char *quick, const char *reduced, const char *paper);

/* What the cells train on. */
LAB_FN const genreg_dataset *lab_training_set(const lab *l);

/* A saved model, which lives as long as l. Exits if it cannot be read. */
LAB_FN genreg_model *lab_load_model(lab *l, const char *path);

/* Puts a border of zeros around smaller images, so that they have this side: for nets that halve it several times. Call it before
   the first configuration. */
LAB_FN void lab_pad(lab *l, int side);

/* A new configuration, one cell for each seed, and its settings. Configurations are numbered from 0 in the order they are made. dataset, train and test (images) and seed are set already. */
LAB_FN int lab_config(lab *l);
LAB_FN void lab_set(lab *l, int config, const char *name, double value);
LAB_FN void lab_set_text(lab *l, int config, const char *name, const char *value);

/* Several numbers as one setting: a text as in "8,16,32". */
LAB_FN void lab_set_list(lab *l, int config, const char *name, const double *values, int n);

/* Sets what the flags "batch|lr|match-loss", each a number, say, under their names (match_loss). */
LAB_FN void lab_set_flags(lab *l, int config, const char *flags);

/* Sets a file's checksum: a row then belongs to what the file holds, whatever its name. Exits if it cannot be read. */
LAB_FN void lab_set_file(lab *l, int config, const char *name, const char *path);

/* Says in the progress line what a configuration is ("batch 32") and how long it takes beside others (default 1). */
LAB_FN void lab_label(lab *l, int config, double cost, const char *format, ...) LAB_PRINTF(4, 5);

/* Trains every cell that has no row yet (none with --report). Returns 1 if there is something to report; 0 after an error, Ctrl-C
   or for want of rows, and then it has said so. */
LAB_FN int lab_run(lab *l);

/* Frees all; returns the exit status. */
LAB_FN int lab_close(lab *l);

/* Prints one line on stderr ("batch_size: ...") and exits. */
LAB_FN void lab_fail(const lab *l, int status, const char *format, ...) LAB_PRINTF(3, 4);

/* ------------------------------------------------------------------------------------------------ inside a cell */

/* A setting of the cell. */
LAB_FN double lab_get(const lab_cell *cell, const char *name);
LAB_FN int lab_get_int(const lab_cell *cell, const char *name);
LAB_FN const char *lab_get_text(const lab_cell *cell, const char *name);

/* The numbers that lab_set_list has set, at most LAB_LISTED, into out; returns how many. */
LAB_FN int lab_get_list(const lab_cell *cell, const char *name, double *out);

/* Writes a figure: NaN and Inf become null. lab_found reads one back, NaN if null; it survives a kill with the training. Wherever a
   single figure is named, "name[3]" is an element of a list, counted from 0; writing one makes the list as long as it takes. */
LAB_FN void lab_figure(lab_cell *cell, const char *name, double value);
LAB_FN double lab_found(const lab_cell *cell, const char *name);

/* Writes one element of a list; -1: the plain figure. */
LAB_FN void lab_figure_at(lab_cell *cell, const char *name, int element, double value);

/* The same for two figures that belong together, and for loss and accuracy, each the mean of n scores; returns that of the loss. */
LAB_FN void lab_pair_at(lab_cell *cell, const char *a, const char *b, int element, double value_a, double value_b);
LAB_FN double lab_scores_at(lab_cell *cell, const char *loss, const char *accuracy, int element, const genreg_score *scores, int n);

/* Opens the Hessian of the mean cross-entropy on the first images of d and finds its n largest eigenvalues by Lanczos, which needs far
   fewer products than power iteration. vectors: n of theta->size values, or NULL. Close it with genreg_hessian_close. The settings hessian_images,
   hessian_products and hessian_tol say on how many images, with how many products at most, and to which relative residual. */
LAB_FN genreg_hessian *lab_open_hessian(lab_cell *cell, genreg_model *net, const genreg_dataset *d, int n, genreg_eigen *pairs, genreg_real *vectors);

/* The mean loss on the Hessian's images at theta + t v, at n >= 2 values of t from -reach to reach, into elements of a figure from the first one on. An
   eigenvector has no sign: this one's is such that the loss is the larger at the last. */
LAB_FN void lab_slice_at(lab_cell *cell, const char *figure, int first, int n, genreg_model *net, const genreg_real *v, double reach);

/* The density of the Hessian's spectrum by Lanczos quadrature: places and weights, probes x products of each, into two lists from element first on; NaN
   where a Krylov space has ended early. For lab_tail. */
LAB_FN void lab_density_at(lab_cell *cell, const char *places, const char *weights, int first, genreg_hessian *h, int probes, int products);

/* Loss and accuracy on d at n >= 3 places on the straight line from model a to b, into line_loss and line_accuracy; how far the loss rises above the straight
   line between its ends, into barrier. */
LAB_FN void lab_line_at(lab_cell *cell, genreg_model *a, genreg_model *b, int n, const genreg_dataset *d);

/* How to train: genreg's defaults (SGD, momentum 0.9, cosine, no weight decay, cross-entropy) with the cell's seed, and with batch, lr, momentum and
   epochs as they are set, if they are. */
LAB_FN genreg_train_options lab_train_options(const lab_cell *cell);

/* The paper's nets for the cell's images, with PyTorch's initialisation from its seed: "mlp" is MLP(width), linear layers of inputs-width-width-width-classes
   with ReLU between; "cnn" is CNN(width) as genreg_cnn has it, with batch norm or without. */
LAB_FN genreg_model *lab_paper_net(const lab_cell *cell, const char *kind, int width, int batch_norm);

/* Called after each epoch (and at the end, if that is amid one): the place to measure along the way. What it remembers must be
   figures. */
typedef void (*lab_watch)(lab_cell *cell, genreg_model *net, const genreg_progress *p);

/* In a watch, after the first epoch that leaves the loss on the first so many training images at the setting match_loss or below: writes that epoch and
   loss to match_epoch and match_train_loss, the top eigenvalue of the Hessian (whose images lab_open_hessian takes) and its residual to match_lambda
   and match_residual, as lab_figure_at does, and returns the eigenvalue; NaN after any other epoch. The loss is taken anew, in evaluation mode: the
   running mean lags behind, and more so the fewer steps an epoch has. */
LAB_FN double lab_match_curvature(lab_cell *cell, genreg_model *net, const genreg_progress *p, int images, int element);

/* Trains as genreg_train does, with progress, checkpoints and the threads that other cells leave idle. Returns 1 at the end, with
   the last epoch's figures in *last unless NULL; 0 if the cell diverged or was stopped: then leave run at once. A cell may
   train several times. */
LAB_FN int lab_train(lab_cell *cell, genreg_model *net, const genreg_dataset *d, const genreg_train_options *o, lab_watch watch,
                     genreg_progress *last);

/* The same from a snapshot on that was taken with a trainer of these options (NULL: from the beginning), under the mask that net has. */
LAB_FN int lab_train_from(lab_cell *cell, genreg_model *net, const genreg_dataset *d, const genreg_train_options *o, const genreg_snapshot *start,
                          lab_watch watch, genreg_progress *last);

/* How many trainings of about one length the cell has: for the time left. */
LAB_FN void lab_trainings(lab_cell *cell, int n);

/* Between long measurements: takes the threads that others have left. Returns 0 after an error, or if the cell was stopped: then
   leave run at once. */
LAB_FN int lab_alive(lab_cell *cell);

/* Writes the model if --save was given; where there are several cells, their names go into the file's, and so does part, unless it
   is NULL, for cells with several models. */
LAB_FN void lab_save(lab_cell *cell, genreg_model *net, const char *part, ...) LAB_PRINTF(3, 4);

/* ------------------------------------------------------------------------------------------------ statistics

   NaN means "not there" everywhere and is left out. Intervals are 95 % by Student's t; NaN where there are too few values. */

typedef struct lab_stats {
    int n;
    double mean, sd;  /* sd with n-1; NaN for one value */
    double low, high; /* of the mean, or of what the function estimates */
} lab_stats;

LAB_FN lab_stats lab_stats_of(const double *x, int n);

/* The geometric mean of a[i]/b[i] over pairs, its interval computed on logarithms; sd is that of the logarithms. */
LAB_FN lab_stats lab_ratio_of(const double *a, const double *b, int n);

/* The slope of the least-squares line through (x, y); sd is its standard error. */
LAB_FN lab_stats lab_slope_of(const double *x, const double *y, int n);

/* Where y first falls from above a level to it or below, linear between the two points, x rising; NaN if it never does. */
LAB_FN double lab_crossing_of(const double *x, const double *y, int n, double level);

/* The point that stands highest above the lowest on either side of it, which are *left and *right; -1 if there is none. */
LAB_FN int lab_peak_of(const double *y, int n, int *left, int *right);

/* t with P(|T| <= t) = confidence, for a whole number of degrees of freedom from 1. */
LAB_FN double lab_t_quantile(int freedom, double confidence);

/* One figure of one configuration, in the order of the seeds (room for all of them), times scale; and its statistics, or those of a function of it. */
LAB_FN int lab_values(lab *l, int config, const char *figure, double scale, double *out);
LAB_FN lab_stats lab_over_seeds(lab *l, int config, const char *figure, double scale);
LAB_FN lab_stats lab_over_seeds_of(lab *l, int config, const char *figure, double (*of)(double));

/* Statistics of one element of a list; element -1 is a plain figure. */
LAB_FN lab_stats lab_element(lab *l, int config, const char *figure, int element, double scale);

/* A figure of one seed, counted from 0; NaN where there is no such seed or row. */
LAB_FN double lab_value(lab *l, int config, int seed, const char *figure);

/* Where a figure's curve, point i being element elements[i] of configs[i], falls to a level (as lab_crossing_of): over the seeds that reach it. */
LAB_FN lab_stats lab_crossing(lab *l, const double *x, const int *configs, const int *elements, int n, const char *figure, double level);

/* The point of such a curve (elements NULL: of plain figures) whose mean stands highest above the lowest means before and after it: its place, -1 if
   there is none, and those of the two. over: by how much, paired by seed, as a difference times scale or, for scale 0, as a ratio. stands: both intervals say that it is above. */
typedef struct lab_peak {
    int at, low[2], stands;
    double mean;
    lab_stats over[2];
} lab_peak;
LAB_FN lab_peak lab_find_peak(lab *l, const int *configs, const int *elements, int n, const char *figure, double scale);

/* How many seeds there are, and how many of a configuration have diverged. */
LAB_FN int lab_seed_count(const lab *l);
LAB_FN int lab_diverged(lab *l, int config);

/* One figure of two configurations, paired by seed: ratio a/b (as lab_ratio_of) or difference (a - b) times scale. "x|y" is
   figure x of a and y of b; a and b may then be one. */
LAB_FN lab_stats lab_ratio(lab *l, int a, int b, const char *figure);
LAB_FN lab_stats lab_difference(lab *l, int a, int b, const char *figure, double scale);

/* The same for element i of figure x of configuration a and element k of figure y of b (-1: plain figures): the difference times scale or, for scale 0,
   the ratio. */
LAB_FN lab_stats lab_compare(lab *l, int a, const char *x, int i, int b, const char *y, int k, double scale);

/* ------------------------------------------------------------------------------------------------ tables

   A heading, and entries row by row:

      lab_table t = lab_table_new("batch|test %|paper");
      lab_entry(&t, "%d", 32);
      lab_entry_stats(&t, s, 2);
      lab_entry(&t, "85.52");
      lab_table_print(&t); // and frees */

typedef struct lab_table {
    char **entries;
    int columns, count, capacity;
} lab_table;

LAB_FN lab_table lab_table_new(const char *columns);
LAB_FN void lab_entry(lab_table *t, const char *format, ...) LAB_PRINTF(2, 3);
LAB_FN void lab_entry_stats(lab_table *t, lab_stats s, int decimals); /* mean ± sd [low, high] */

/* The first column stands left, the others right; a column with nothing but "-" is left out. */
LAB_FN void lab_table_print(lab_table *t);

/* An accuracy for print: an interval that Student's t carries past 0 or `whole` (1 or 100) ends there. Rows keep it as it is. */
LAB_FN lab_stats lab_clip(lab_stats s, double whole);

/* Entries of several figures at once, "lambda s2|trace e1|test_accuracy %2": a figure, then how it is shown. e, f and g: the mean, as
   printf shows it with so many digits; s: mean ± sd [low, high]; %: the same times 100, clipped to 0 ... 100 if the figure's name ends in "accuracy".
   Element -1 stands for plain figures. With the paper's figures among them: "paper f2" is the next of those, or "-" where paper is NULL. */
LAB_FN void lab_entries(lab_table *t, lab *l, int config, int element, const char *figures);
LAB_FN void lab_entries_and_paper(lab_table *t, lab *l, int config, int element, const char *figures, const double *paper);

/* A line for a ratio (neutral 1) or difference (neutral 0) with its interval, and in words whether that lies above neutral or below. */
LAB_FN void lab_verdict(const char *when, lab_stats s, const char *unit, double neutral, const char *above, const char *below);

/* At how many of n places the second half of a list of 2n is above the first, and at how many below, by lab_compare's intervals (scale as there); names are
   those of the first half and of the second. */
LAB_FN void lab_print_halves(lab *l, const char *what, int config, const char *figure, int n, double scale, const char *first, const char *second);

/* Finds a peak as lab_find_peak does and says where and how high, with the two intervals; axis names what x is ("width"). */
LAB_FN lab_peak lab_print_peak(lab *l, const char *what, const char *axis, const double *x, const int *configs, const int *elements, int n, const char *figure,
                               double scale);

/* Finds where a figure falls to a level, linear in the logarithm of x (otherwise as lab_crossing), says so and returns it: the geometric mean over the seeds
   that reach the level, with its interval; sd is that of the logarithms. */
LAB_FN lab_stats lab_print_crossing(lab *l, const char *what, const char *axis, const double *x, const int *configs, const int *elements, int n, const char *figure,
                                    double level);

/* The exponent of a figure in x, of which point i is x[i] of configs[i]: the least-squares line through the logarithms of all points and seeds. Prints it
   with its interval and returns it. of: what to make of each value first; NULL for nothing. */
LAB_FN lab_stats lab_print_exponent(lab *l, const char *what, const char *axis, const double *x, const int *configs, int n, const char *figure,
                                    double (*of)(double));

/* |w|^2 over a model's weights: without biases and normalisation. */
LAB_FN double lab_weight_norm2(const genreg_model *net);

/* Memory for rows x columns numbers; free() it. If there is none, says so and exits. */
LAB_FN double *lab_matrix(ptrdiff_t rows, ptrdiff_t columns);

/* ------------------------------------------------------------------------------------------------ plots */

typedef struct lab_plot lab_plot;

enum { LAB_LOG_X = 1, LAB_LOG_Y = 2, LAB_POWERS_OF_TWO = 4 /* ticks of a logarithmic x axis */ };

/* A figure of panels, two in a row; a curve goes to the latest panel. Texts are UTF-8. On a logarithmic axis what is 0 stands on the frame, hollow. */
LAB_FN lab_plot *lab_plot_new(const char *title, ...) LAB_PRINTF(1, 2);
LAB_FN void lab_panel(lab_plot *p, const char *title, const char *x, const char *y, int flags);

/* The data set's name, for titles: "MNIST". */
LAB_FN const char *lab_dataset_title(const lab *l);

/* Means over seeds with their intervals as bars, and every seed as a faint point. A bar that leaves the frame has no cap there. Scale 100 is for
   shares in %: bars end at 0 and 100. */
LAB_FN void lab_curve(lab_plot *p, lab *l, const char *name, const double *x, const int *configs, int n, const char *figure, double scale);

/* The same where point i is element elements[i] of a list, or a plain figure for -1. */
LAB_FN void lab_curve_of_elements(lab_plot *p, lab *l, const char *name, const double *x, const int *configs, const int *elements, int n, const char *figure,
                                  double scale);

/* The same of a function of each seed's figure, as of the error that an accuracy leaves. */
LAB_FN void lab_curve_of(lab_plot *p, lab *l, const char *name, const double *x, const int *configs, const int *elements, int n, const char *figure,
                         double (*of)(double), double scale);
LAB_FN double lab_error_of(double accuracy);

/* The same for n elements of a list, from the first one on, against x. */
LAB_FN void lab_curve_of_list(lab_plot *p, lab *l, const char *name, const double *x, int n, int config, const char *figure, int first, double scale);

/* The same for what such elements are above an element of another list, seed by seed. */
LAB_FN void lab_curve_of_difference(lab_plot *p, lab *l, const char *name, const double *x, int n, int config, const char *figure, int first, const char *other,
                                    int element, double scale);

/* The same from the seeds' values themselves, times scale: point i has those from values[i * lab_seed_count(l)] on. */
LAB_FN void lab_curve_of_values(lab_plot *p, lab *l, const char *name, const double *x, const double *values, int n, double scale);

/* The share of a spectrum above x, as steps and without smoothing, and dashed in the same colour that below -x: from two lists of places and weights, n
   elements each from the first one on, all seeds taken together. It covers the three decades below the largest place; Lanczos tells nothing apart
   nearer to 0. For a panel with both axes logarithmic. */
LAB_FN void lab_tail(lab_plot *p, lab *l, const char *name, int n, int config, const char *places, const char *weights, int first);

/* Plain points joined by a line; low and high, the ends of the bars, may be NULL.
   LAB_SMOOTH: the line alone.
   LAB_DOTS, LAB_POINTS, LAB_DASHED: faint points, unjoined; rings around the points; a thin dashed line; in the colour of the curve before.
   LAB_RULE: a dashed line across the panel at each x, if y is NULL; or at each y, if x is NULL, in a light band from low to high. */
enum { LAB_JOINED, LAB_SMOOTH, LAB_DOTS, LAB_POINTS, LAB_DASHED, LAB_RULE };
LAB_FN void lab_line(lab_plot *p, const char *name, const double *x, const double *y, const double *low, const double *high, int n, int style);

/* Writes OUT/NAME.svg and frees the plot. What stands for means and seeds, the data and the version are added to the caption; a setting named
   "sample" says on how many of the training images a cell trains. */
LAB_FN void lab_plot_save(lab_plot *p, lab *l, const char *caption, ...) LAB_PRINTF(3, 4);

/* The figure as text, for other uses; free() it. */
LAB_FN char *lab_plot_svg(const lab_plot *p, const char *caption);

/* ================================================================================================================
                                    Stop here if you only want to use it.
   ================================================================================================================ */

// >>memory and text
// A buffer that grows and is printed into. lab_open sets the numeric locale to C's, so that printf writes points everywhere; numbers
// in files are safe from a program that sets it back.

LAB_FN int lab__finite(double x) { return x - x >= 0; }

typedef struct lab__buffer {
    char *s; /* always ends in 0 */
    size_t n, capacity;
} lab__buffer;

LAB_FN void *lab__grow(void *old, size_t count, size_t size)
{
    void *p = count > (size_t)-1 / 2 / size ? NULL : realloc(old, count ? count * size : 1);
    if (!p) {
        fprintf(stderr, "lab: the system has no more memory\n");
        exit(1);
    }
    return p;
}

LAB_FN void *lab__new(size_t count, size_t size)
{
    void *p = lab__grow(NULL, count, size);
    memset(p, 0, count ? count * size : 1);
    return p;
}

LAB_FN char *lab__copy(const char *s)
{
    size_t n = strlen(s) + 1;
    return (char *)memcpy(lab__grow(NULL, n, 1), s, n);
}

/* Room for n more characters. */
LAB_FN void lab__reserve(lab__buffer *b, size_t n)
{
    if (b->n + n < b->capacity) return;
    b->capacity = 2 * (b->n + n + 1);
    b->s = (char *)lab__grow(b->s, b->capacity, 1);
}

LAB_FN void lab__put(lab__buffer *b, const char *s, size_t n)
{
    lab__reserve(b, n);
    if (n) memcpy(b->s + b->n, s, n);
    b->n += n;
    b->s[b->n] = 0;
}

LAB_FN void lab__vprint(lab__buffer *b, const char *format, va_list args)
{
    va_list again;
    int n;
    va_copy(again, args);
    n = vsnprintf(NULL, 0, format, args);
    lab__put(b, NULL, 0);
    if (n > 0) {
        lab__reserve(b, (size_t)n);
        vsnprintf(b->s + b->n, (size_t)n + 1, format, again);
        b->n += (size_t)n;
    }
    va_end(again);
}

LAB_FN void lab__print(lab__buffer *b, const char *format, ...) LAB_PRINTF(2, 3);
LAB_FN void lab__print(lab__buffer *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    lab__vprint(b, format, args);
    va_end(args);
}

/* A printed text, to be freed. */
LAB_FN char *lab__format(const char *format, ...) LAB_PRINTF(1, 2);
LAB_FN char *lab__format(const char *format, ...)
{
    lab__buffer b = { NULL, 0, 0 };
    va_list args;
    va_start(args, format);
    lab__vprint(&b, format, args);
    va_end(args);
    return b.s;
}

/* The next word of "a|b|c", to be freed; NULL after the last. */
LAB_FN char *lab__next_word(const char **words)
{
    const char *word = *words;
    size_t n = strcspn(word, "|");
    *words += n + (word[n] == '|');
    return *word ? lab__format("%.*s", (int)n, word) : NULL;
}

/* The shortest text that reads back as exactly this number, with a point in every locale; null for NaN and Inf. */
LAB_FN void lab__print_number(lab__buffer *b, double x)
{
    const char *point = localeconv()->decimal_point;
    char text[40] = "null", *comma;
    int digits;
    for (digits = 15; lab__finite(x) && digits <= 17; digits++) {
        double back;
        snprintf(text, sizeof text, "%.*g", digits, x);
        back = strtod(text, NULL);
        if (back >= x && back <= x) break;
    }
    comma = strstr(text, point);
    if (comma) {
        *comma = '.';
        memmove(comma + 1, comma + strlen(point), strlen(comma + strlen(point)) + 1);
    }
    lab__put(b, text, strlen(text));
}

/* Reads a number in the C locale's form from the n characters at s, all of them. Returns 0 if they are none. */
LAB_FN int lab__read_number(const char *s, size_t n, double *x)
{
    const char *point = localeconv()->decimal_point;
    char text[400], *end;
    size_t i, k = 0;
    if (!n || n > 300 || isspace((unsigned char)s[0])) return 0;
    for (i = 0; i < n; i++) {
        if (s[i] == '.') {
            size_t p = strlen(point);
            if (k + p + n - i >= sizeof text) return 0;
            memcpy(text + k, point, p);
            k += p;
        } else if (isdigit((unsigned char)s[i]) || strchr("+-eE", s[i])) text[k++] = s[i];
        else return 0;
        if (!s[i]) return 0;
    }
    text[k] = 0;
    *x = strtod(text, &end);
    return end == text + k && lab__finite(*x);
}

// >>records
// Named values in order, and their JSON: one object on one line. A value is a number (null is NaN), a text or a list of numbers.

typedef struct lab__field {
    char *name, *text; /* text NULL: numbers */
    double *numbers;
    int count, is_list;
} lab__field;

typedef struct lab__record {
    lab__field *fields;
    int count, capacity;
} lab__record;

LAB_FN lab__field *lab__find(const lab__record *r, const char *name)
{
    int i;
    for (i = 0; i < r->count; i++)
        if (!strcmp(r->fields[i].name, name)) return &r->fields[i];
    return NULL;
}

/* The field of that name, made if need be, emptied. */
LAB_FN lab__field *lab__field_for(lab__record *r, const char *name)
{
    lab__field *f = lab__find(r, name);
    if (!f) {
        if (r->count == r->capacity) {
            r->capacity = 2 * r->capacity + 8;
            r->fields = (lab__field *)lab__grow(r->fields, (size_t)r->capacity, sizeof *r->fields);
        }
        f = &r->fields[r->count++];
        memset(f, 0, sizeof *f);
        f->name = lab__copy(name);
    }
    free(f->text); free(f->numbers);
    f->text = NULL;
    f->numbers = NULL;
    f->count = f->is_list = 0;
    return f;
}

LAB_FN void lab__record_list(lab__record *r, const char *name, const double *x, int n, int is_list)
{
    lab__field *f = lab__field_for(r, name);
    f->numbers = (double *)lab__new((size_t)n, sizeof *x);
    if (n) memcpy(f->numbers, x, (size_t)n * sizeof *x);
    f->count = n;
    f->is_list = is_list;
}

LAB_FN void lab__record_number(lab__record *r, const char *name, double x) { lab__record_list(r, name, &x, 1, 0); }
LAB_FN void lab__record_text(lab__record *r, const char *name, const char *s)
{
    char *copy = lab__copy(s);
    lab__field_for(r, name)->text = copy;
}

/* The field of "name" or "name[3]", and which element is meant: the first if none is named, -1 if it is no number. */
LAB_FN lab__field *lab__find_element(const lab__record *r, const char *name, int *element)
{
    char *base = lab__copy(name);
    size_t n = strcspn(name, "[");
    lab__field *f;
    double x = 0;
    base[n] = 0;
    f = lab__find(r, base);
    free(base);
    if (name[n] && !(lab__read_number(name + n + 1, strcspn(name + n + 1, "]"), &x) && x >= 0 && x < 1e6)) x = -1;
    *element = (int)x;
    return f;
}

LAB_FN double lab__record_get(const lab__record *r, const char *name)
{
    int k;
    const lab__field *f = lab__find_element(r, name, &k);
    return f && !f->text && k >= 0 && k < f->count ? f->numbers[k] : (double)NAN;
}

LAB_FN const char *lab__record_get_text(const lab__record *r, const char *name)
{
    const lab__field *f = lab__find(r, name);
    return f && f->text ? f->text : "";
}

LAB_FN void lab__record_free(lab__record *r)
{
    int i;
    for (i = 0; i < r->count; i++) {
        free(r->fields[i].name); free(r->fields[i].text); free(r->fields[i].numbers);
    }
    free(r->fields);
    memset(r, 0, sizeof *r);
}

LAB_FN void lab__record_copy(lab__record *to, const lab__record *from)
{
    int i;
    for (i = 0; i < from->count; i++) {
        const lab__field *f = &from->fields[i];
        if (f->text) lab__record_text(to, f->name, f->text);
        else lab__record_list(to, f->name, f->numbers, f->count, f->is_list);
    }
}

LAB_FN void lab__json_text(lab__buffer *b, const char *s)
{
    lab__put(b, "\"", 1);
    for (; *s; s++) {
        unsigned char ch = (unsigned char)*s;
        if (ch == '"' || ch == '\\') lab__print(b, "\\%c", ch);
        else if (ch < 32 || ch == 127) lab__print(b, "\\u%04x", ch);
        else lab__put(b, s, 1);
    }
    lab__put(b, "\"", 1);
}

/* The fields separated by commas, without the braces. */
LAB_FN void lab__json_fields(lab__buffer *b, const lab__record *r)
{
    int i, j;
    for (i = 0; i < r->count; i++) {
        const lab__field *f = &r->fields[i];
        if (i) lab__put(b, ",", 1);
        lab__json_text(b, f->name);
        lab__put(b, ":", 1);
        if (f->text) {
            lab__json_text(b, f->text);
            continue;
        }
        if (f->is_list) lab__put(b, "[", 1);
        for (j = 0; j < f->count; j++) {
            if (j) lab__put(b, ",", 1);
            lab__print_number(b, f->numbers[j]);
        }
        if (f->is_list) lab__put(b, "]", 1);
    }
}

/* A row: its own fields and two objects, "settings" and "figures". */
typedef struct lab__row {
    lab__record head, settings, figures;
} lab__row;

LAB_FN void lab__row_free(lab__row *row)
{
    lab__record_free(&row->head); lab__record_free(&row->settings); lab__record_free(&row->figures);
}

LAB_FN void lab__json_row(lab__buffer *b, const lab__row *row)
{
    lab__put(b, "{", 1);
    lab__json_fields(b, &row->head);
    lab__put(b, ",\"settings\":{", 13);
    lab__json_fields(b, &row->settings);
    lab__put(b, "},\"figures\":{", 13);
    lab__json_fields(b, &row->figures);
    lab__put(b, "}}\n", 3);
}

/* The reader takes what the writer writes, in any order and spacing, and refuses everything else. */
typedef struct lab__reader {
    const char *p, *end;
} lab__reader;

LAB_FN void lab__skip_blanks(lab__reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\r')) r->p++;
}

/* Skips blanks; takes the character if it is next. */
LAB_FN int lab__take(lab__reader *r, char ch)
{
    lab__skip_blanks(r);
    if (r->p >= r->end || *r->p != ch) return 0;
    r->p++;
    return 1;
}

/* Four hexadecimal digits, or -1. */
LAB_FN long lab__read_hex4(lab__reader *r)
{
    long x = 0;
    int i;
    if (r->end - r->p < 4) return -1;
    for (i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef";
        const char *at = *r->p ? strchr(digits, tolower((unsigned char)*r->p)) : NULL;
        if (!at) return -1;
        x = 16 * x + (long)(at - digits);
        r->p++;
    }
    return x;
}

LAB_FN void lab__put_utf8(lab__buffer *b, long code)
{
    static const int lead[] = { 0, 0xc0, 0xe0, 0xf0 };
    char s[4];
    int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3, i;
    for (i = more; i > 0; i--, code >>= 6) s[i] = (char)(0x80 | (code & 0x3f));
    s[0] = (char)(lead[more] | code);
    lab__put(b, s, (size_t)more + 1);
}

/* A string's text, to be freed; NULL if there is none or it is not JSON. */
LAB_FN char *lab__read_text(lab__reader *r)
{
    lab__buffer b = { NULL, 0, 0 };
    if (!lab__take(r, '"')) return NULL;
    lab__put(&b, "", 0);
    while (r->p < r->end) {
        char ch = *r->p++;
        if (ch == '"') return b.s;
        if ((unsigned char)ch < 32) break;
        if (ch != '\\') {
            lab__put(&b, &ch, 1);
            continue;
        }
        ch = r->p < r->end ? *r->p++ : (char)0;
        if (ch == 'u') {
            long code = lab__read_hex4(r), low;
            if (code >= 0xd800 && code < 0xdc00 && r->end - r->p > 2 && r->p[0] == '\\' && r->p[1] == 'u') {
                r->p += 2;
                low = lab__read_hex4(r);
                code = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00) : -1;
            }
            if (code <= 0 || (code >= 0xd800 && code < 0xe000)) break;
            lab__put_utf8(&b, code);
        } else {
            const char *from = "\"\\/bfnrt", *to = "\"\\/\b\f\n\r\t", *at = ch ? strchr(from, ch) : NULL;
            if (!at) break;
            lab__put(&b, &to[at - from], 1);
        }
    }
    free(b.s);
    return NULL;
}

/* A number by JSON's grammar, or null. */
LAB_FN int lab__read_json_number(lab__reader *r, double *x)
{
    const char *start, *p, *point;
    lab__skip_blanks(r);
    start = p = r->p;
    if (r->end - p >= 4 && !memcmp(p, "null", 4)) {
        r->p += 4;
        *x = (double)NAN;
        return 1;
    }
    if (p < r->end && *p == '-') p++;
    if (p >= r->end || !isdigit((unsigned char)*p)) return 0;
    if (*p == '0' && p + 1 < r->end && isdigit((unsigned char)p[1])) return 0;
    while (p < r->end && (isdigit((unsigned char)*p) || (*p && strchr("+-.eE", *p)))) p++;
    r->p = p;
    point = (const char *)memchr(start, '.', (size_t)(p - start));
    if (point && (point + 1 == p || !isdigit((unsigned char)point[1]))) return 0;
    return lab__read_number(start, (size_t)(p - start), x);
}

LAB_FN int lab__read_value(lab__reader *r, lab__record *record, const char *name)
{
    double x, *list = NULL;
    int n = 0, capacity = 0, good;
    if (lab__take(r, '"')) {
        char *text;
        r->p--;
        text = lab__read_text(r);
        if (text) lab__record_text(record, name, text);
        good = text != NULL;
        free(text);
        return good;
    }
    if (!lab__take(r, '[')) {
        good = lab__read_json_number(r, &x);
        if (good) lab__record_number(record, name, x);
        return good;
    }
    good = lab__take(r, ']');
    while (!good && lab__read_json_number(r, &x)) {
        if (n == capacity) {
            capacity = 2 * capacity + 8;
            list = (double *)lab__grow(list, (size_t)capacity, sizeof *list);
        }
        list[n++] = x;
        good = lab__take(r, ']');
        if (!good && !lab__take(r, ',')) break;
    }
    if (good) lab__record_list(record, name, list, n, 1);
    free(list);
    return good;
}

/* The members of an object up to its closing brace. Objects inside are taken where `row` is given, and only the two of a row. */
LAB_FN int lab__read_object(lab__reader *r, lab__record *record, lab__row *row)
{
    int seen_settings = 0, seen_figures = 0;
    if (!lab__take(r, '{')) return 0;
    if (lab__take(r, '}')) return 1;
    do {
        char *name = lab__read_text(r);
        int good = name && !lab__find(record, name) && lab__take(r, ':');
        if (good && row && lab__take(r, '{')) {
            int settings = !strcmp(name, "settings") && !seen_settings, figures = !strcmp(name, "figures") && !seen_figures;
            r->p--;
            good = (settings || figures) && lab__read_object(r, settings ? &row->settings : &row->figures, NULL);
            seen_settings |= settings;
            seen_figures |= figures;
        } else if (good) good = lab__read_value(r, record, name);
        free(name);
        if (!good) return 0;
    } while (lab__take(r, ','));
    return lab__take(r, '}');
}

/* One line without its newline. On 0 the row is empty. */
LAB_FN int lab__read_row(const char *line, size_t n, lab__row *row)
{
    lab__reader r;
    r.p = line;
    r.end = line + n;
    memset(row, 0, sizeof *row);
    if (lab__read_object(&r, &row->head, row)) {
        lab__skip_blanks(&r);
        if (r.p == r.end) return 1;
    }
    lab__row_free(row);
    return 0;
}

LAB_FN int lab__by_name(const void *a, const void *b) { return strcmp(((const lab__field *)a)->name, ((const lab__field *)b)->name); }

/* What tells a row from others, in one text: the parts of the head that count, then the settings by name. To be freed. */
LAB_FN char *lab__key(const lab__row *row)
{
    static const char *const parts[] = { "experiment", "version", "real", "data" };
    lab__buffer b = { NULL, 0, 0 };
    lab__record sorted = row->settings;
    int i;
    sorted.fields = (lab__field *)lab__new((size_t)sorted.count, sizeof *sorted.fields);
    if (sorted.count) memcpy(sorted.fields, row->settings.fields, (size_t)sorted.count * sizeof *sorted.fields);
    qsort(sorted.fields, (size_t)sorted.count, sizeof *sorted.fields, lab__by_name);
    for (i = 0; i < 4; i++) lab__print(&b, "%s ", lab__record_get_text(&row->head, parts[i]));
    lab__json_fields(&b, &sorted);
    free(sorted.fields);
    return b.s;
}

/* FNV-1a. */
LAB_FN uint64_t lab__hash(uint64_t h, const void *data, size_t n)
{
    const unsigned char *p = (const unsigned char *)data;
    if (!h) h = 14695981039346656037u;
    while (n--) h = (h ^ *p++) * 1099511628211u;
    return h;
}

/* The number as 16 hexadecimal digits, to be freed. */
LAB_FN char *lab__hex(uint64_t x) { return lab__format("%08lx%08lx", (unsigned long)(x >> 32), (unsigned long)(x & 0xffffffffu)); }

// >>statistics

/* P(|T| <= t) for a whole number of degrees of freedom, by the finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4. */
LAB_FN double lab__t_inside(int freedom, double t)
{
    double theta = atan(t / sqrt((double)freedom)), s = sin(theta), c = cos(theta), term, sum = 0;
    int k;
    if (freedom % 2) {
        term = c;
        for (k = 3; k <= freedom; k += 2) {
            sum += term;
            term *= c * c * (k - 1) / k;
        }
        return (theta + s * sum) * 2 / 3.14159265358979323846;
    }
    term = 1;
    for (k = 2; k <= freedom; k += 2) {
        sum += term;
        term *= c * c * (k - 1) / k;
    }
    return s * sum;
}

LAB_FN double lab_t_quantile(int freedom, double confidence)
{
    double low = 0, high = 1;
    int i;
    if (freedom < 1 || !(confidence > 0 && confidence < 1)) return (double)NAN;
    while (lab__t_inside(freedom, high) < confidence && high < 1e12) high *= 2;
    for (i = 0; i < 100; i++) {
        double middle = (low + high) / 2;
        if (lab__t_inside(freedom, middle) < confidence) low = middle;
        else high = middle;
    }
    return (low + high) / 2;
}

LAB_FN lab_stats lab_stats_of(const double *x, int n)
{
    lab_stats s;
    double squares = 0;
    int i;
    memset(&s, 0, sizeof s);
    for (i = 0; i < n; i++)
        if (lab__finite(x[i])) {
            s.mean += x[i];
            s.n++;
        }
    s.mean = s.n ? s.mean / s.n : (double)NAN;
    for (i = 0; i < n; i++)
        if (lab__finite(x[i])) squares += (x[i] - s.mean) * (x[i] - s.mean);
    s.sd = s.n > 1 ? sqrt(squares / (s.n - 1)) : (double)NAN;
    s.low = s.mean - lab_t_quantile(s.n - 1, 0.95) * s.sd / sqrt((double)s.n);
    s.high = 2 * s.mean - s.low;
    return s;
}

LAB_FN lab_stats lab_ratio_of(const double *a, const double *b, int n)
{
    double *logs = (double *)lab__new((size_t)(n > 0 ? n : 0), sizeof *logs);
    lab_stats s;
    int i;
    for (i = 0; i < n; i++) logs[i] = a[i] > 0 && b[i] > 0 ? log(a[i] / b[i]) : (double)NAN;
    s = lab_stats_of(logs, n);
    free(logs);
    s.mean = exp(s.mean);
    s.low = exp(s.low);
    s.high = exp(s.high);
    return s;
}

LAB_FN lab_stats lab_slope_of(const double *x, const double *y, int n)
{
    lab_stats s;
    double mx = 0, my = 0, sxx = 0, sxy = 0, rest = 0, half;
    int i;
    memset(&s, 0, sizeof s);
    for (i = 0; i < n; i++)
        if (lab__finite(x[i]) && lab__finite(y[i])) {
            mx += x[i];
            my += y[i];
            s.n++;
        }
    mx /= s.n;
    my /= s.n;
    for (i = 0; i < n; i++)
        if (lab__finite(x[i]) && lab__finite(y[i])) {
            sxx += (x[i] - mx) * (x[i] - mx);
            sxy += (x[i] - mx) * (y[i] - my);
        }
    s.mean = sxx > 0 ? sxy / sxx : (double)NAN;
    for (i = 0; i < n; i++)
        if (lab__finite(x[i]) && lab__finite(y[i])) {
            double e = y[i] - my - s.mean * (x[i] - mx);
            rest += e * e;
        }
    s.sd = s.n > 2 ? sqrt(rest / (s.n - 2) / sxx) : (double)NAN;
    half = lab_t_quantile(s.n - 2, 0.95) * s.sd;
    s.low = s.mean - half;
    s.high = s.mean + half;
    return s;
}

LAB_FN double lab_crossing_of(const double *x, const double *y, int n, double level)
{
    int i, before = -1; /* the last point that is there */
    for (i = 0; i < n; i++) {
        if (!lab__finite(x[i]) || !lab__finite(y[i])) continue;
        if (before >= 0 && y[before] > level && y[i] <= level) return x[before] + (x[i] - x[before]) * (y[before] - level) / (y[before] - y[i]);
        before = i;
    }
    return (double)NAN;
}

LAB_FN int lab_peak_of(const double *y, int n, int *left, int *right)
{
    int i, k, peak = -1;
    double highest = 0;
    for (i = 0; i < n; i++) {
        int low[2] = { -1, -1 };
        for (k = 0; k < n; k++)
            if (k != i && lab__finite(y[k]) && (low[k > i] < 0 || y[k] < y[low[k > i]])) low[k > i] = k;
        if (low[0] >= 0 && low[1] >= 0 && y[i] - y[low[0]] > highest && y[i] - y[low[1]] > highest) {
            highest = y[i] - (y[low[0]] > y[low[1]] ? y[low[0]] : y[low[1]]);
            peak = i;
            *left = low[0];
            *right = low[1];
        }
    }
    return peak;
}

// >>system
// Time, terminals, folders, files and locks: the only place with #ifdefs.

/* Seconds from some moment on, by a clock that nobody sets, where there is one. */
LAB_FN double lab__now(void)
{
#if defined(LAB_POSIX) && defined(CLOCK_MONOTONIC) /* -std=c99 hides it */
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
#elif defined(LAB_POSIX)
    struct timeval t;
    gettimeofday(&t, NULL);
    return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
#elif defined(_WIN32)
    return 1e-3 * (double)GetTickCount64();
#else
    return (double)time(NULL);
#endif
}

LAB_FN void lab__sleep(double seconds)
{
#if defined(LAB_POSIX)
    struct timeval t;
    t.tv_sec = 0;
    t.tv_usec = (int)(seconds * 1e6);
    select(0, NULL, NULL, NULL, &t);
#elif defined(_WIN32)
    Sleep((DWORD)(seconds * 1000));
#else
    double end = lab__now() + seconds;
    while (lab__now() < end) continue;
#endif
}

/* Gives the numbers of closed standard streams to nothing: else a file of rows would be opened under them, and printed into. */
LAB_FN void lab__hold_standard_streams(void)
{
#if defined(LAB_POSIX)
    int file;
    do file = open("/dev/null", O_RDWR);
    while (file >= 0 && file <= 2);
    if (file > 2) close(file);
#endif
}

/* Whether stdout is a terminal. */
LAB_FN int lab__terminal(void)
{
#if defined(LAB_POSIX)
    return isatty(1);
#elif defined(_WIN32)
    return _isatty(1);
#else
    return 0;
#endif
}

LAB_FN long lab__process(void)
{
#if defined(LAB_POSIX)
    return (long)getpid();
#elif defined(_WIN32)
    return (long)GetCurrentProcessId();
#else
    return 0;
#endif
}

/* Makes a folder and those above it; whether that worked shows when a file in it is opened. */
LAB_FN void lab__make_folder(const char *path)
{
    char *part = lab__copy(path);
    size_t i;
    for (i = 1; i <= strlen(path); i++)
        if (path[i] == '/' || path[i] == '\\' || !path[i]) {
            part[i] = 0;
#if defined(LAB_POSIX)
            mkdir(part, 0777);
#elif defined(_WIN32)
            CreateDirectoryA(part, NULL);
#endif
            part[i] = path[i];
        }
    free(part);
}

LAB_FN int lab__rename(const char *from, const char *to)
{
#if defined(_WIN32)
    if (MoveFileExA(from, to, MOVEFILE_REPLACE_EXISTING)) return 1;
    errno = EACCES; /* nearly always: another program has it open */
    return 0;
#else
    return rename(from, to) == 0;
#endif
}

/* Cuts a file; returns 0 where it cannot be done. */
LAB_FN int lab__truncate(const char *path, long size)
{
#if defined(LAB_POSIX)
    return truncate(path, (off_t)size) == 0;
#elif defined(_WIN32)
    FILE *f = fopen(path, "r+b");
    int good = f && _chsize(_fileno(f), size) == 0;
    if (f) fclose(f);
    return good;
#else
    (void)path;
    (void)size;
    return 0;
#endif
}

LAB_FN int lab__exists(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    return f != NULL;
}

/* The bytes of a file from an offset on, to be freed, with their number; NULL, with errno, if not all of them can be read. */
LAB_FN char *lab__read_file(const char *path, long from, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *s = NULL;
    long size = -1;
    int why;
    *n = 0;
    if (!f) return NULL;
    errno = 0;
    if (!fseek(f, 0, SEEK_END)) size = ftell(f);
    if (size >= 0x7fffffff && !fseek(f, 0, SEEK_SET) && fgetc(f) != EOF) errno = EFBIG; /* a folder has such a size too, and says what it is when it is read */
    if (size >= 0 && size < 0x7fffffff && !fseek(f, from < size ? from : size, SEEK_SET)) {
        *n = (size_t)(from < size ? size - from : 0);
        s = (char *)lab__new(*n + 1, 1);
        if (fread(s, 1, *n, f) != *n) {
            free(s);
            s = NULL;
            *n = 0;
        }
    }
    why = errno ? errno : EIO;
    fclose(f);
    errno = why;
    return s;
}

/* Writes a file under the name part, which no other process may use meanwhile, then renames it: there is never half of one. 0, with errno, if that fails. */
LAB_FN int lab__write_file(const char *path, const char *part, const char *text, size_t n)
{
    FILE *f = fopen(part, "wb");
    int good = f && fwrite(text, 1, n, f) == n && fflush(f) == 0, why = errno;
    if (f && fclose(f) && good) {
        good = 0;
        why = errno;
    }
    if (good && !lab__rename(part, path)) {
        good = 0;
        why = errno;
    }
    if (!good && f) remove(part);
    errno = why;
    return good;
}

/* Adds a line to a file of rows, in one piece: a failed write leaves the file as it was. What a killed process left of a row at the
   end is cut off first; a whole row that only lacks its newline gets it. An empty line only mends. 0, with errno, on failure. */
LAB_FN int lab__append(const char *path, const char *line, size_t n)
{
    FILE *f = fopen(path, "ab+");
    char *buffer = (char *)lab__grow(NULL, n + 64, 1);
    long size = 0;
    int good = f != NULL, why = f ? 0 : errno, last = '\n';
    if (f) setvbuf(f, buffer, _IOFBF, n + 64);
    if (f && !fseek(f, 0, SEEK_END)) size = ftell(f);
    if (size > 0 && !fseek(f, size - 1, SEEK_SET)) last = fgetc(f);
    if (size > 0 && last != '\n') {
        size_t all, tail;
        char *text = lab__read_file(path, 0, &all);
        lab__row row;
        for (tail = all; text && tail > 0 && text[tail - 1] != '\n'; tail--) continue;
        if (!text) good = 0, why = errno;
        else if (!lab__read_row(text + tail, all - tail, &row) && lab__truncate(path, (long)tail)) {
            size = (long)tail;
            last = '\n';
        } else lab__row_free(&row);
        free(text);
    }
    if (f) fseek(f, 0, SEEK_END); /* between reading and writing the standard wants a seek */
    if (good && last != '\n') good = fputc('\n', f) != EOF;
    if (good && n) good = fwrite(line, 1, n, f) == n;
    if (good) good = fflush(f) == 0;
    if (!good && f && !why) why = errno;
    if (f && fclose(f) && good) {
        good = 0;
        why = errno;
    }
    if (!good && f) lab__truncate(path, size);
    free(buffer);
    errno = why;
    return good;
}

/* A lock file and ranges of one byte in it: byte 0 for the rows, byte 1 for all of them, which every run shares and --fresh wants for itself, and one for
   each cell. The system drops them when the process ends. Threads of one process do not exclude each other here. */
enum { LAB__ROWS_BYTE, LAB__ALL_BYTE, LAB__FIRST_CELL_BYTE };
#if defined(_WIN32)
typedef HANDLE lab__lockfile;
#else
typedef int lab__lockfile;
#endif

LAB_FN int lab__lock_open(lab__lockfile *file, const char *path)
{
#if defined(LAB_POSIX)
    *file = open(path, O_RDWR | O_CREAT, 0666);
    return *file >= 0;
#elif defined(_WIN32)
    *file = CreateFileA(path, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
    return *file != INVALID_HANDLE_VALUE;
#else
    (void)path;
    *file = 0;
    return 1;
#endif
}

LAB_FN void lab__lock_close(lab__lockfile file)
{
#if defined(LAB_POSIX)
    close(file);
#elif defined(_WIN32)
    CloseHandle(file);
#else
    (void)file;
#endif
}

typedef enum lab__locking { LAB__DROP, LAB__TRY, LAB__WAIT, LAB__SHARE /* waits for who has it alone */ } lab__locking;

/* Takes a byte or lets it go. Returns 0 if another process has it; -1, which is as good as a lock, if the file system has none. */
LAB_FN int lab__lock(lab__lockfile file, long byte, lab__locking how)
{
#if defined(LAB_POSIX)
    struct flock k;
    int failed;
    memset(&k, 0, sizeof k);
    k.l_type = how == LAB__DROP ? F_UNLCK : how == LAB__SHARE ? F_RDLCK : F_WRLCK;
    k.l_whence = SEEK_SET;
    k.l_start = (off_t)byte;
    k.l_len = 1;
    do failed = fcntl(file, how >= LAB__WAIT ? F_SETLKW : F_SETLK, &k);
    while (failed && how >= LAB__WAIT && errno == EINTR);
    return !failed ? 1 : errno == EACCES || errno == EAGAIN ? 0 : -1;
#elif defined(_WIN32)
    OVERLAPPED o;
    memset(&o, 0, sizeof o);
    o.Offset = (DWORD)byte;
    if (how == LAB__DROP) return UnlockFileEx(file, 0, 1, 0, &o) != 0;
    if (LockFileEx(file, (how == LAB__SHARE ? 0u : (DWORD)LOCKFILE_EXCLUSIVE_LOCK) | (how >= LAB__WAIT ? 0u : (DWORD)LOCKFILE_FAIL_IMMEDIATELY), 0, 1, 0, &o)) return 1;
    return GetLastError() == ERROR_LOCK_VIOLATION || GetLastError() == ERROR_IO_PENDING ? 0 : -1;
#else
    return (void)file, (void)byte, (void)how, -1;
#endif
}

// >>lab
// The state of a run, and its parts by name.

typedef struct lab__value {
    lab_flag flag;
    int given;          /* on the command line */
    const char *text;   /* as typed or by preset; "" unset */
    double *list;       /* its numbers */
    int count;
} lab__value;

typedef enum lab__state { LAB__WAITING, LAB__RUNNING, LAB__DONE } lab__state;

typedef struct lab__cell {
    lab_cell view;         /* what run() sees */
    int mine;              /* in this shard */
    lab__state state;
    lab__row row;          /* head and settings from the start, figures as they come */
    char *key, *label;
    uint64_t hash;
    double cost, fraction; /* fraction: how much of it is done */
    double images, started; /* for the progress line: images seen, since when */
    genreg_progress progress;
    int epochs, stopped;
    int phase, slot;       /* trainings begun; which of two checkpoint files is next */
    int trainings;         /* that it has, as far as it has said so */
    double seconds;        /* spent on it in runs before this one */
    int worker, threads;
} lab__cell;

struct lab {
    const lab_experiment *experiment;
    lab__value *values;
    int value_count;
    genreg_ctx *ctx; /* the data lives here */
    genreg_dataset whole, train, test; /* whole: the training set before --train takes its part */
    int preset;                        /* 0 quick, 1 reduced, 2 paper */
    const char *dataset_title;
    int help; /* asked for */
    char *dataset_folder, *checksum;
    double *seeds;
    int seed_count;
    int shard, shards;
    lab__cell *cells; /* config by config, the seeds of each together */
    int config_count, config_capacity;
    char *rows_path;
    lab__lockfile locks;
    int locks_open;
    long rows_read;  /* bytes of the rows' file that have been read */
    int rows_foreign, rows_damaged;
    char *foreign;   /* what the first foreign row has that no cell has */
    int status, terminal, noted;
    int *busy;       /* one for each worker: has a cell */
    int workers, threads;
    char *failure;   /* first error of a worker */
    double started, shown;
#ifdef _OPENMP
    omp_lock_t door; /* held to touch anything above once the workers run */
#endif
};

LAB_FN void lab__enter(lab *l)
{
#ifdef _OPENMP
    omp_set_lock(&l->door);
#else
    (void)l;
#endif
}

LAB_FN void lab__leave(lab *l)
{
#ifdef _OPENMP
    omp_unset_lock(&l->door);
#else
    (void)l;
#endif
}

/* Characters, not bytes, of a UTF-8 text. */
LAB_FN int lab__characters(const char *s)
{
    int n = 0;
    for (; *s; s++) n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

/* Columns of the terminal: what COLUMNS says, else 80. */
LAB_FN int lab__terminal_width(void)
{
    const char *columns = getenv("COLUMNS");
    long n = columns ? strtol(columns, NULL, 10) : 0;
    return n >= 20 && n <= 1000 ? (int)n : 80;
}

/* Takes the progress line off the terminal. */
LAB_FN void lab__clear_line(const lab *l)
{
    if (l->terminal && l->shown > 0) printf("\r%*s\r", lab__terminal_width() - 1, "");
}

LAB_FN void lab_fail(const lab *l, int status, const char *format, ...)
{
    va_list args;
    lab__clear_line(l);
    fflush(stdout);
    fprintf(stderr, "%s: ", l->experiment->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    exit(status);
}

/* OUT/NAME followed by the rest, to be freed. */
LAB_FN char *lab__path(lab *l, const char *rest)
{
    return lab__format("%s/%s%s", lab_text(l, "out"), l->experiment->name, rest);
}

/* Its byte of the lock file. */
LAB_FN long lab__byte(const lab__cell *cell) { return (long)(LAB__FIRST_CELL_BYTE + cell->hash % 1000000007u); }

LAB_FN lab__cell *lab__cell_at(lab *l, int config, int seed) { return &l->cells[config * l->seed_count + seed]; }

// >>flags

LAB_FN lab__value *lab__value_of(lab *l, const char *name)
{
    int i;
    for (i = 0; i < l->value_count; i++)
        if (!strcmp(l->values[i].flag.name, name)) return &l->values[i];
    return NULL;
}

LAB_FN const lab__value *lab__flag(lab *l, const char *name)
{
    const lab__value *v = lab__value_of(l, name);
    if (!v) lab_fail(l, 1, "the experiment asks for a flag that it does not have: --%s", name);
    return v;
}

LAB_FN double lab_number(lab *l, const char *flag)
{
    const lab__value *v = lab__flag(l, flag);
    return v->count ? v->list[0] : (double)NAN;
}

LAB_FN int lab_int(lab *l, const char *flag)
{
    const lab__value *v = lab__flag(l, flag);
    return v->count ? (int)v->list[0] : 0;
}

LAB_FN const char *lab_text(lab *l, const char *flag) { return lab__flag(l, flag)->text; }

LAB_FN const double *lab_list(lab *l, const char *flag, int *n)
{
    const lab__value *v = lab__flag(l, flag);
    *n = v->count;
    return v->list;
}

/* sign: 1 if it must rise, -1 if it must fall. */
LAB_FN const double *lab__ordered_list(lab *l, const char *flag, int sign, int *n)
{
    const double *x = lab_list(l, flag, n);
    int i;
    for (i = 1; i < *n; i++)
        if (sign * (x[i] - x[i - 1]) <= 0) lab_fail(l, 2, "--%s: %.12g comes after %.12g; they must %s", flag, x[i], x[i - 1], sign > 0 ? "rise" : "fall");
    return x;
}

LAB_FN const double *lab_rising_list(lab *l, const char *flag, int *n) { return lab__ordered_list(l, flag, 1, n); }
LAB_FN const double *lab_falling_list(lab *l, const char *flag, int *n) { return lab__ordered_list(l, flag, -1, n); }

LAB_FN int lab_given(lab *l, const char *flag) { return lab__flag(l, flag)->given; }

LAB_FN void lab_refuse(lab *l, const char *flags, const char *why)
{
    char *flag;
    while ((flag = lab__next_word(&flags)) != NULL) {
        if (lab_given(l, flag)) lab_fail(l, 2, "--%s %s", flag, why);
        free(flag);
    }
}

/* Whether the n characters at word are one of the words of a list, which the separator parts. */
LAB_FN int lab__among_of(const char *words, char separator, const char *word, size_t n)
{
    while (words) {
        if (!strncmp(words, word, n) && (words[n] == separator || !words[n])) return n > 0;
        words = strchr(words, separator);
        if (words) words++;
    }
    return 0;
}

LAB_FN int lab__among(const char *words, const char *word) { return lab__among_of(words, '|', word, strlen(word)); }
LAB_FN int lab_lists(const char *list, const char *word) { return lab__among_of(list, ',', word, strlen(word)); }

/* Reads a flag's text by its kind; fails with exit status 2. */
LAB_FN void lab__parse(lab *l, lab__value *v, const char *text)
{
    const lab_flag *f = &v->flag;
    int whole = f->kind == LAB_INT || f->kind == LAB_INTS, list = f->kind == LAB_INTS || f->kind == LAB_NUMBERS, i;
    const char *p = text;
    v->text = text;
    v->count = 0;
    if (!*text && !v->given) return;
    if (f->kind == LAB_SWITCH) return;
    if (!*text) lab_fail(l, 2, "--%s needs a value; see --help", f->name);
    if (f->kind == LAB_WORD && !lab__among(f->words, text)) lab_fail(l, 2, "--%s %s: must be one of %s", f->name, text, f->words);
    for (; f->kind == LAB_WORDS; p++) {
        size_t n = strcspn(p, ",");
        if (!lab__among_of(f->words, '|', p, n)) lab_fail(l, 2, "--%s %s: must be of %s, separated by commas", f->name, text, f->words);
        if (p[n] && lab__among_of(p + n + 1, ',', p, n)) lab_fail(l, 2, "--%s %s: names %.*s twice", f->name, text, (int)n, p);
        p += n;
        if (!*p) break;
    }
    if (f->kind == LAB_TEXT || f->kind == LAB_WORD || f->kind == LAB_WORDS) return;
    for (;;) {
        size_t n = list ? strcspn(p, ",") : strlen(p);
        double x;
        if (!lab__read_number(p, n, &x) || (whole && (x < floor(x) || x > floor(x))))
            lab_fail(l, 2, "--%s %s: must be %s%s", f->name, text, whole ? "a whole number" : "a number", list ? " or several, as in 1,2,4" : "");
        if (x < f->min || x > f->max) lab_fail(l, 2, "--%s %s: must be from %.12g to %.12g", f->name, text, f->min, f->max);
        for (i = 0; i < v->count; i++)
            if (!(v->list[i] < x || v->list[i] > x)) lab_fail(l, 2, "--%s %s: names %.12g twice", f->name, text, x);
        if (v->count == LAB_LISTED) lab_fail(l, 2, "--%s: takes at most %d numbers", f->name, LAB_LISTED);
        v->list = (double *)lab__grow(v->list, (size_t)v->count + 1, sizeof *v->list);
        v->list[v->count++] = x;
        if (!p[n]) return;
        p += n + 1;
    }
}

LAB_FN void lab__help(lab *l)
{
    static const char *const argument[] = { "", "N", "X", "TEXT", "WORD", "LIST", "LIST", "LIST" };
    const char *name = l->experiment->name;
    int i;
    printf("%s: %s\n\nUsage: %s [--flag value] ...   for instance: %s --dataset %.*s --seeds 5\n\n", name, l->experiment->about, name, name,
           (int)strcspn(l->experiment->datasets, "|"), l->experiment->datasets);
    printf("Flags, and their values%s%s. Three values: in the presets quick, reduced and paper; -: unset.\n", l->dataset_title ? ", on " : "",
           l->dataset_title ? l->dataset_title : "");
    for (i = 0; i < l->value_count; i++) {
        const lab_flag *f = &l->values[i].flag;
        const char *reduced = f->reduced ? f->reduced : f->quick, *paper = f->paper ? f->paper : reduced;
        lab__buffer b = { NULL, 0, 0 };
        lab__print(&b, "  --%s %s", f->name, f->kind == LAB_TEXT && f->words ? f->words : argument[f->kind]);
        lab__print(&b, "%*s", b.n < 22 ? (int)(22 - b.n) : 1, "");
        lab__print(&b, "%s", f->help);
        if (f->words && f->kind != LAB_TEXT) lab__print(&b, " (%s)", f->words);
        if (strcmp(f->quick, reduced) || strcmp(reduced, paper))
            lab__print(&b, " [%s; %s; %s]", *f->quick ? f->quick : "-", *reduced ? reduced : "-", *paper ? paper : "-");
        else if (*f->quick) lab__print(&b, " [%s]", f->quick);
        printf("%s\n", b.s);
        free(b.s);
    }
    exit(0);
}

/* A flag's value in this run's preset. */
LAB_FN const char *lab__preset_text(const lab *l, const char *quick, const char *reduced, const char *paper)
{
    const char *set = quick;
    if (l->preset > 0 && reduced) set = reduced;
    if (l->preset > 1 && paper) set = paper;
    return set;
}

/* The seeds: a list on the command line, else a number there, else a list of the preset, else its number. */
LAB_FN void lab__list_seeds(lab *l)
{
    const lab__value *list = lab__flag(l, "seed");
    int i, listed = list->count && (list->given || !lab__flag(l, "seeds")->given);
    l->seed_count = listed ? list->count : lab_int(l, "seeds");
    l->seeds = (double *)lab__grow(l->seeds, (size_t)l->seed_count, sizeof *l->seeds);
    for (i = 0; i < l->seed_count; i++) l->seeds[i] = listed ? list->list[i] : i + 1;
}

/* Insertions, deletions and replacements of a character that make a of b (Levenshtein 1966); 99 for a text of 32 characters or more. */
LAB_FN int lab__edit_distance(const char *a, const char *b)
{
    int row[32], n = (int)strlen(b), i, k;
    if (strlen(a) > 31 || n > 31) return 99;
    for (k = 0; k <= n; k++) row[k] = k;
    for (i = 1; *a; a++, i++) {
        int diagonal = row[0];
        row[0] = i;
        for (k = 1; k <= n; k++) {
            int replaced = diagonal + (*a != b[k - 1]), least = row[k] < row[k - 1] ? row[k] + 1 : row[k - 1] + 1;
            diagonal = row[k];
            row[k] = replaced < least ? replaced : least;
        }
    }
    return row[n];
}

/* The flag that was probably meant: the nearest within two edits, of fewer than the name has letters; NULL if there is none. */
LAB_FN const char *lab__similar(const lab *l, const char *name)
{
    const char *nearest = NULL;
    int i, best = (int)strlen(name) <= 2 ? (int)strlen(name) - 1 : 2;
    for (i = 0; i < l->value_count; i++) {
        int away = lab__edit_distance(name, l->values[i].flag.name);
        if (away > best || (nearest && away == best)) continue;
        nearest = l->values[i].flag.name;
        best = away;
    }
    return nearest;
}

LAB_FN void lab__command_line(lab *l, int argc, char **argv)
{
    static const lab_flag common[] = {
        { "preset", LAB_WORD, "quick", NULL, NULL, 0, 0, "quick|reduced|paper", "how much to do; any other flag overrides it" },
        { "dataset", LAB_WORD, "", NULL, NULL, 0, 0, "mnist|cifar10|fashion|slice", "what to train on; else the best that is there" },
        { "data", LAB_TEXT, "data", NULL, NULL, 0, 0, "DIR", "folder of the data sets" },
        { "train", LAB_INT, "", NULL, NULL, 1, 1e9, NULL, "take the first N training images; else all" },
        { "epochs", LAB_INT, "10", NULL, NULL, 1, 1e6, NULL, "epochs of training" },
        { "seeds", LAB_INT, "3", NULL, NULL, 1, 10000, NULL, "run with the seeds 1 to N" },
        { "seed", LAB_INTS, "", NULL, NULL, 0, 9007199254740992.0, NULL, "run with these seeds instead" },
        { "jobs", LAB_INT, "", NULL, NULL, 1, 4096, NULL, "cells that run side by side; else one a core" },
        { "threads", LAB_INT, "", NULL, NULL, 1, 4096, NULL, "threads of all cells together; else one a core" },
        { "out", LAB_TEXT, "results", NULL, NULL, 0, 0, "DIR", "folder for rows, plots and checkpoints" },
        { "shard", LAB_TEXT, "", NULL, NULL, 0, 0, "K/N", "only every N-th cell, from the K-th on; join rows with cat" },
        { "save", LAB_TEXT, "", NULL, NULL, 0, 0, "FILE", "write the trained model to this file; of several, each under its cell's name" },
        { "save-every", LAB_NUMBER, "30", NULL, NULL, 0, 1e9, NULL, "save running cells every X seconds" },
        { "memory", LAB_NUMBER, "1", NULL, NULL, 1e-3, 1e6, NULL, "GiB that the tape of a cell may take" },
        { "fresh", LAB_SWITCH, "", NULL, NULL, 0, 0, NULL, "put old rows aside and begin anew" },
        { "report", LAB_SWITCH, "", NULL, NULL, 0, 0, NULL, "draw table and plot from the rows, train nothing" },
        { "help", LAB_SWITCH, "", NULL, NULL, 0, 0, NULL, "this list" },
    };
    const int common_count = (int)(sizeof common / sizeof common[0]);
    const lab_experiment *e = l->experiment;
    char **typed, help[] = "--help";
    int i;
    l->values = (lab__value *)lab__new((size_t)common_count + (size_t)e->flag_count, sizeof *l->values);
    for (i = 0; i < common_count; i++) l->values[l->value_count++].flag = common[i];
    for (i = 0; i < e->flag_count; i++) {
        lab__value *v = lab__value_of(l, e->flags[i].name);
        if (!v) v = &l->values[l->value_count++];
        v->flag = e->flags[i];
    }
    typed = (char **)lab__new((size_t)l->value_count, sizeof *typed);
    for (i = 1; i < argc; i++) {
        char *name = argv[i], *value = NULL, *equals = strchr(argv[i], '=');
        lab__value *v;
        if (!strcmp(name, "-h")) name = help;
        if (strncmp(name, "--", 2)) lab_fail(l, 2, "\"%s\" is no flag; see --help", name);
        if (equals) {
            *equals = 0;
            value = equals + 1;
        }
        v = lab__value_of(l, name + 2);
        if (!v) {
            const char *alike = lab__similar(l, name + 2);
            if (alike) lab_fail(l, 2, "there is no flag %s; did you mean --%s?", name, alike);
            lab_fail(l, 2, "there is no flag %s; see --help", name);
        }
        if (v->flag.kind == LAB_SWITCH && equals) lab_fail(l, 2, "%s takes no value", name);
        if (v->flag.kind != LAB_SWITCH && !value) {
            if (i + 1 == argc) lab_fail(l, 2, "%s needs a value; see --help", name);
            value = argv[++i];
        }
        v->given = 1;
        typed[v - l->values] = value;
    }
    lab__parse(l, &l->values[0], typed[0] ? typed[0] : "quick");
    l->preset = l->values[0].text[0] == 'q' ? 0 : l->values[0].text[0] == 'r' ? 1 : 2;
    for (i = 1; i < l->value_count; i++) {
        const lab_flag *f = &l->values[i].flag;
        lab__parse(l, &l->values[i], typed[i] ? typed[i] : lab__preset_text(l, f->quick, f->reduced, f->paper));
    }
    free(typed);
    l->help = lab__flag(l, "help")->given;
    if (lab__flag(l, "seed")->given && lab__flag(l, "seeds")->given) lab_fail(l, 2, "--seeds and --seed exclude each other");
    if (lab__flag(l, "fresh")->given && lab__flag(l, "report")->given) lab_fail(l, 2, "--fresh and --report exclude each other");
    lab__list_seeds(l);
    l->shard = l->shards = 1;
    if (*lab_text(l, "shard")) {
        const char *s = lab_text(l, "shard"), *slash = strchr(s, '/');
        double k = 0, n = 0;
        if (!slash || !lab__read_number(s, (size_t)(slash - s), &k) || !lab__read_number(slash + 1, strlen(slash + 1), &n) || k < 1 || k > n ||
            n > 1e6 || k > floor(k) || n > floor(n))
            lab_fail(l, 2, "--shard %s: must be K/N with K from 1 to N, as in 2/8", s);
        l->shard = (int)k;
        l->shards = (int)n;
    }
}

// >>datasets

/* Whether a folder has the set; path is where, to be freed. The bundled slice is looked for beside this file, beside the program and
   in the working folder. */
LAB_FN char *lab__find_set(lab *l, const char *set, const char *program)
{
    static const char *const probe[] = { "train-images-idx3-ubyte", "data_batch_1.bin" };
    const char *folders[5], *here = __FILE__;
    char *found = NULL, *beside, *near_program, *in_data, *file;
    int i, n = 0, cifar = !strcmp(set, "cifar10");
    size_t a = strlen(here), b = strlen(program);
    while (a && here[a - 1] != '/' && here[a - 1] != '\\') a--;
    while (b && program[b - 1] != '/' && program[b - 1] != '\\') b--;
    beside = lab__format("%.*sdata", (int)a, here);
    near_program = lab__format("%.*sexamples/data", (int)b, program);
    in_data = lab__format("%s/%s", lab_text(l, "data"), cifar ? "cifar-10-batches-bin" : set);
    if (strcmp(set, "slice")) folders[n++] = in_data;
    else {
        folders[n++] = beside;
        folders[n++] = "examples/data";
        folders[n++] = "data";
        folders[n++] = near_program;
    }
    for (i = 0; i < n && !found; i++) {
        file = lab__format("%s/%s", folders[i], probe[cifar]);
        if (lab__exists(file)) found = lab__copy(folders[i]);
        free(file);
    }
    free(beside); free(near_program); free(in_data);
    return found;
}

/* The training images that --train leaves, and the checksum of what is there then. */
LAB_FN void lab__take_part(lab *l)
{
    int n = lab_int(l, "train");
    char *sums[2];
    l->train = n ? genreg_first(l->ctx, &l->whole, n) : l->whole;
    if (genreg_error(l->ctx)) lab_fail(l, 1, "%s", genreg_error_message(l->ctx));
    sums[0] = lab__hex(l->train.checksum);
    sums[1] = lab__hex(l->test.checksum);
    free(l->checksum);
    l->checksum = lab__hex(lab__hash(lab__hash(0, sums[0], 16), sums[1], 16)); /* of texts: the same on any machine */
    free(sums[0]); free(sums[1]);
}

LAB_FN void lab__load(lab *l, const char *program)
{
    const char *sets = l->experiment->datasets, *set = lab_text(l, "dataset"), *fetch = "get it with ./data_fetch.sh, or name its folder with --data";
    char *folder = NULL, word[16];
    int asked = *set != 0;
    if (asked && !lab__among(sets, set)) lab_fail(l, 2, "--dataset %s: this experiment takes %s", set, sets);
    if (asked) folder = lab__find_set(l, set, program);
    while (!asked && !folder && *sets) { /* the first of the list that is there */
        size_t k = strcspn(sets, "|");
        snprintf(word, sizeof word, "%.*s", (int)k, sets);
        if (strcmp(word, "slice") || !lab__flag(l, "data")->given) folder = lab__find_set(l, word, program); /* who names a folder wants what is in it */
        set = word;
        sets += k + (sets[k] == '|');
    }
    if (!folder && l->help) lab__help(l);
    if (!folder && asked && strcmp(set, "slice")) lab_fail(l, 1, "there is no %s in %s: %s", set, lab_text(l, "data"), fetch);
    if (!folder && lab__flag(l, "data")->given) lab_fail(l, 1, "there is no data set for this experiment in %s: %s", lab_text(l, "data"), fetch);
    if (!folder) lab_fail(l, 1, "no data: neither %s nor the bundled examples/data is here; %s", lab_text(l, "data"), fetch);
    l->ctx = genreg_create(NULL);
    if (!strcmp(set, "mnist")) genreg_load_mnist(l->ctx, folder, &l->whole, &l->test);
    else if (!strcmp(set, "cifar10")) genreg_load_cifar10(l->ctx, folder, &l->whole, &l->test);
    else genreg_load_fashion(l->ctx, folder, &l->whole, &l->test);
    if (genreg_error(l->ctx) && l->help) lab__help(l);
    if (genreg_error(l->ctx)) lab_fail(l, 1, "%s; %s", genreg_error_message(l->ctx), fetch);
    snprintf(l->whole.name, sizeof l->whole.name, "%s", set);
    l->dataset_title = !strcmp(set, "mnist") ? "MNIST" : !strcmp(set, "cifar10") ? "CIFAR-10" : !strcmp(set, "slice") ? "a slice of Fashion-MNIST" : "Fashion-MNIST";
    l->dataset_folder = folder;
    lab__take_part(l);
}

LAB_FN void lab_preset(lab *l, const char *flag, const char *quick, const char *reduced, const char *paper)
{
    lab__value *v = lab__value_of(l, flag);
    if (!v) lab_fail(l, 1, "the experiment gives values to a flag that it does not have: --%s", flag);
    v->flag.quick = quick;
    v->flag.reduced = reduced;
    v->flag.paper = paper;
    if (v->given) return;
    lab__parse(l, v, lab__preset_text(l, quick, reduced, paper));
    if (!strcmp(flag, "train")) lab__take_part(l);
    if (!strncmp(flag, "seed", 4)) lab__list_seeds(l);
}

LAB_FN genreg_model *lab_load_model(lab *l, const char *path)
{
    genreg_model *m = genreg_load_model(l->ctx, path);
    if (!m) lab_fail(l, 1, "%s", genreg_error_message(l->ctx));
    return m;
}

LAB_FN void lab_pad(lab *l, int side)
{
    int room = l->whole.rank == 3 ? side - l->whole.shape[0] : 0;
    if (room <= 0) return;
    l->whole = genreg_pad(l->ctx, &l->whole, room / 2);
    l->test = genreg_pad(l->ctx, &l->test, room / 2);
    lab__take_part(l);
}

// >>cells

LAB_FN lab *lab_open(const lab_experiment *e, int argc, char **argv)
{
    lab *l = (lab *)lab__new(1, sizeof *l);
    lab__hold_standard_streams();
    setlocale(LC_NUMERIC, "C");
    l->experiment = e;
    lab__command_line(l, argc, argv);
    lab__load(l, argc > 0 ? argv[0] : "");
    l->rows_path = lab__path(l, ".jsonl");
    l->terminal = lab__terminal();
#ifdef _OPENMP
    omp_init_lock(&l->door);
    l->threads = lab_int(l, "threads") ? lab_int(l, "threads") : omp_get_max_threads();
#else
    l->threads = 1;
#endif
    return l;
}

LAB_FN const genreg_dataset *lab_training_set(const lab *l) { return &l->train; }

LAB_FN int lab_config(lab *l)
{
    const char *figures;
    char *name;
    int s;
    if (l->help) lab__help(l);
    if (l->config_count == l->config_capacity) {
        l->config_capacity = 2 * l->config_capacity + 16;
        l->cells = (lab__cell *)lab__grow(l->cells, (size_t)l->config_capacity * (size_t)l->seed_count, sizeof *l->cells);
    }
    for (s = 0; s < l->seed_count; s++) {
        lab__cell *cell = lab__cell_at(l, l->config_count, s);
        memset(cell, 0, sizeof *cell);
        cell->cost = 1;
        cell->view.in = l;
        cell->view.train = &l->train;
        cell->view.test = &l->test;
        cell->view.seed = (uint64_t)l->seeds[s];
        lab__record_text(&cell->row.head, "experiment", l->experiment->name);
        lab__record_text(&cell->row.head, "version", GENREG_VERSION);
        lab__record_text(&cell->row.head, "real", sizeof(genreg_real) == sizeof(double) ? "double" : "float");
        lab__record_text(&cell->row.head, "isa", genreg_isa_name(l->ctx));
        lab__record_text(&cell->row.head, "data", l->checksum);
        lab__record_text(&cell->row.settings, "dataset", l->train.name);
        lab__record_number(&cell->row.settings, "train", l->train.n);
        lab__record_number(&cell->row.settings, "test", l->test.n);
        lab__record_number(&cell->row.settings, "seed", l->seeds[s]);
        for (figures = l->experiment->figures; (name = lab__next_word(&figures)) != NULL; free(name)) lab__record_number(&cell->row.figures, name, (double)NAN);
    }
    return l->config_count++;
}

LAB_FN void lab_set(lab *l, int config, const char *name, double value)
{
    int s;
    for (s = 0; s < l->seed_count; s++) lab__record_number(&lab__cell_at(l, config, s)->row.settings, name, value);
}

LAB_FN void lab_set_text(lab *l, int config, const char *name, const char *value)
{
    int s;
    for (s = 0; s < l->seed_count; s++) lab__record_text(&lab__cell_at(l, config, s)->row.settings, name, value);
}

LAB_FN void lab_set_list(lab *l, int config, const char *name, const double *values, int n)
{
    lab__buffer b = { NULL, 0, 0 };
    int i;
    lab__put(&b, "", 0);
    for (i = 0; i < n; i++) lab__print(&b, "%s%.12g", i ? "," : "", values[i]);
    lab_set_text(l, config, name, b.s);
    free(b.s);
}

LAB_FN void lab_set_flags(lab *l, int config, const char *flags)
{
    char *flag, *dash;
    while ((flag = lab__next_word(&flags)) != NULL) {
        double value = lab_number(l, flag);
        while ((dash = strchr(flag, '-')) != NULL) *dash = '_';
        lab_set(l, config, flag, value);
        free(flag);
    }
}

LAB_FN void lab_set_file(lab *l, int config, const char *name, const char *path)
{
    size_t n;
    char *bytes = lab__read_file(path, 0, &n), *sum;
    if (!bytes || !n) lab_fail(l, 1, "cannot read %s: %s", path, bytes ? "it is empty" : strerror(errno));
    sum = lab__hex(lab__hash(0, bytes, n));
    lab_set_text(l, config, name, sum);
    free(sum); free(bytes);
}

LAB_FN void lab_label(lab *l, int config, double cost, const char *format, ...)
{
    int s;
    for (s = 0; s < l->seed_count; s++) {
        lab__cell *cell = lab__cell_at(l, config, s);
        lab__buffer b = { NULL, 0, 0 };
        va_list args;
        va_start(args, format);
        lab__vprint(&b, format, args);
        va_end(args);
        free(cell->label);
        cell->label = b.s;
        cell->cost = cost;
    }
}

LAB_FN double lab_get(const lab_cell *cell, const char *name)
{
    if (!lab__find(&cell->own->row.settings, name)) lab_fail(cell->in, 1, "the experiment asks for a setting that it did not make: %s", name);
    return lab__record_get(&cell->own->row.settings, name);
}

LAB_FN int lab_get_int(const lab_cell *cell, const char *name) { return (int)lab_get(cell, name); }

LAB_FN const char *lab_get_text(const lab_cell *cell, const char *name)
{
    (void)lab_get(cell, name);
    return lab__record_get_text(&cell->own->row.settings, name);
}

LAB_FN int lab_get_list(const lab_cell *cell, const char *name, double *out)
{
    const char *text = lab_get_text(cell, name);
    int n = 0;
    while (*text && n < LAB_LISTED) {
        size_t k = strcspn(text, ",");
        n += lab__read_number(text, k, &out[n]);
        text += k + (text[k] == ',');
    }
    return n;
}

LAB_FN void lab_figure(lab_cell *cell, const char *name, double value)
{
    int k;
    lab__field *f = lab__find_element(&cell->own->row.figures, name, &k);
    if (!f || k < 0) lab_fail(cell->in, 1, "the experiment writes a figure that is not on its list: %s", name);
    if (!strchr(name, '[')) {
        lab__record_number(&cell->own->row.figures, name, value);
        return;
    }
    if (k >= f->count) f->numbers = (double *)lab__grow(f->numbers, (size_t)k + 1, sizeof *f->numbers);
    while (f->count <= k) f->numbers[f->count++] = (double)NAN;
    f->numbers[k] = value;
    f->is_list = 1;
}

/* "figure[3]", or the plain figure for element -1; to be freed. */
LAB_FN char *lab__element_name(const char *figure, int element) { return element < 0 ? lab__copy(figure) : lab__format("%s[%d]", figure, element); }

LAB_FN void lab_figure_at(lab_cell *cell, const char *name, int element, double value)
{
    char *text = lab__element_name(name, element);
    lab_figure(cell, text, value);
    free(text);
}

LAB_FN void lab_pair_at(lab_cell *cell, const char *a, const char *b, int element, double value_a, double value_b)
{
    lab_figure_at(cell, a, element, value_a);
    lab_figure_at(cell, b, element, value_b);
}

LAB_FN double lab_scores_at(lab_cell *cell, const char *loss, const char *accuracy, int element, const genreg_score *scores, int n)
{
    double sum[2] = { 0, 0 };
    int i;
    for (i = 0; i < n; i++) {
        sum[0] += scores[i].loss / n;
        sum[1] += scores[i].accuracy / n;
    }
    lab_pair_at(cell, loss, accuracy, element, sum[0], sum[1]);
    return sum[0];
}

LAB_FN double lab_found(const lab_cell *cell, const char *name) { return lab__record_get(&cell->own->row.figures, name); }

/* Sets every figure back to null. */
LAB_FN void lab__clear_figures(lab__cell *cell)
{
    int i;
    for (i = 0; i < cell->row.figures.count; i++) lab__record_number(&cell->row.figures, cell->row.figures.fields[i].name, (double)NAN);
}

LAB_FN int lab_values(lab *l, int config, const char *figure, double scale, double *out)
{
    int s;
    for (s = 0; s < l->seed_count; s++) {
        const lab__cell *cell = lab__cell_at(l, config, s);
        out[s] = cell->state == LAB__DONE ? scale * lab__record_get(&cell->row.figures, figure) : (double)NAN;
    }
    return l->seed_count;
}

LAB_FN lab_stats lab_over_seeds(lab *l, int config, const char *figure, double scale)
{
    double *x = (double *)lab__new((size_t)l->seed_count, sizeof *x);
    int n = lab_values(l, config, figure, scale, x);
    lab_stats s = lab_stats_of(x, n);
    free(x);
    return s;
}

LAB_FN lab_stats lab_over_seeds_of(lab *l, int config, const char *figure, double (*of)(double))
{
    double *x = (double *)lab__new((size_t)l->seed_count, sizeof *x);
    int n = lab_values(l, config, figure, 1, x), i;
    lab_stats s;
    for (i = 0; i < n; i++) x[i] = of(x[i]);
    s = lab_stats_of(x, n);
    free(x);
    return s;
}

LAB_FN lab_stats lab_element(lab *l, int config, const char *figure, int element, double scale)
{
    char *text = lab__element_name(figure, element);
    lab_stats s = lab_over_seeds(l, config, text, scale);
    free(text);
    return s;
}

LAB_FN double lab_value(lab *l, int config, int seed, const char *figure)
{
    const lab__cell *cell = seed >= 0 && seed < l->seed_count ? lab__cell_at(l, config, seed) : NULL;
    return cell && cell->state == LAB__DONE ? lab__record_get(&cell->row.figures, figure) : (double)NAN;
}

LAB_FN lab_stats lab_crossing(lab *l, const double *x, const int *configs, const int *elements, int n, const char *figure, double level)
{
    double *at = (double *)lab__new((size_t)l->seed_count + (size_t)n, sizeof *at), *y = at + l->seed_count;
    lab_stats s;
    int seed, i;
    for (seed = 0; seed < l->seed_count; seed++) {
        for (i = 0; i < n; i++) {
            char *name = lab__element_name(figure, elements[i]);
            y[i] = lab_value(l, configs[i], seed, name);
            free(name);
        }
        at[seed] = lab_crossing_of(x, y, n, level);
    }
    s = lab_stats_of(at, l->seed_count);
    free(at);
    return s;
}

LAB_FN int lab_seed_count(const lab *l) { return l->seed_count; }

LAB_FN int lab_diverged(lab *l, int config)
{
    int s, n = 0;
    for (s = 0; s < l->seed_count; s++) n += !strcmp(lab__record_get_text(&lab__cell_at(l, config, s)->row.head, "status"), "diverged");
    return n;
}

/* A figure of a and of b for each seed, to be freed; b's come after a's. "x|y" names one for each. */
LAB_FN double *lab__pairs(lab *l, int a, int b, const char *figure, double scale)
{
    double *x = (double *)lab__new((size_t)l->seed_count * 2, sizeof *x);
    char *first = lab__copy(figure), *bar = strchr(first, '|');
    if (bar) *bar = 0;
    lab_values(l, a, first, scale, x);
    lab_values(l, b, bar ? bar + 1 : first, scale, x + l->seed_count);
    free(first);
    return x;
}

LAB_FN lab_stats lab_ratio(lab *l, int a, int b, const char *figure)
{
    double *x = lab__pairs(l, a, b, figure, 1);
    lab_stats s = lab_ratio_of(x, x + l->seed_count, l->seed_count);
    free(x);
    return s;
}

LAB_FN lab_stats lab_difference(lab *l, int a, int b, const char *figure, double scale)
{
    double *x = lab__pairs(l, a, b, figure, scale), *y = x + l->seed_count;
    int i, n = l->seed_count;
    lab_stats s;
    for (i = 0; i < n; i++) x[i] -= y[i];
    s = lab_stats_of(x, n);
    free(x);
    return s;
}

LAB_FN lab_stats lab_compare(lab *l, int a, const char *x, int i, int b, const char *y, int k, double scale)
{
    char *one = lab__element_name(x, i), *other = lab__element_name(y, k), *both = lab__format("%s|%s", one, other);
    lab_stats s = scale > 0 ? lab_difference(l, a, b, both, scale) : lab_ratio(l, a, b, both);
    free(one); free(other); free(both);
    return s;
}

LAB_FN lab_peak lab_find_peak(lab *l, const int *configs, const int *elements, int n, const char *figure, double scale)
{
    double *mean = (double *)lab__new((size_t)n, sizeof *mean);
    lab_peak p;
    int i;
    memset(&p, 0, sizeof p);
    for (i = 0; i < n; i++) mean[i] = lab_element(l, configs[i], figure, elements ? elements[i] : -1, 1).mean;
    p.at = lab_peak_of(mean, n, &p.low[0], &p.low[1]);
    p.mean = p.at < 0 ? (double)NAN : mean[p.at];
    p.stands = p.at >= 0;
    for (i = 0; i < 2 && p.at >= 0; i++) {
        int top = p.at, low = p.low[i];
        p.over[i] = lab_compare(l, configs[top], figure, elements ? elements[top] : -1, configs[low], figure, elements ? elements[low] : -1, scale);
        p.stands &= p.over[i].low > (scale > 0 ? 0 : 1);
    }
    free(mean);
    return p;
}

// >>rows
// The file of rows. Once the workers run, its functions are called with the door held.

/* What a row has and no cell: its version or kind of numbers, and settings as they stand in the row. To be freed. */
LAB_FN char *lab__what_differs(const lab *l, const lab__row *row)
{
    static const char *const parts[] = { "version", "real" };
    lab__buffer b = { NULL, 0, 0 };
    int i, j, cells = l->config_count * l->seed_count;
    for (i = 0; i < 2; i++) {
        const char *there = lab__record_get_text(&row->head, parts[i]);
        if (strcmp(there, lab__record_get_text(&l->cells[0].row.head, parts[i]))) lab__print(&b, "%s\"%s\":\"%s\"", b.n ? ", " : "", parts[i], there);
    }
    for (i = 0; i < row->settings.count; i++) {
        lab__record one = { NULL, 1, 1 };
        lab__buffer text = { NULL, 0, 0 };
        int known = 0;
        one.fields = row->settings.fields + i;
        lab__json_fields(&text, &one);
        for (j = 0; j < cells && !known; j++) {
            const char *at = strstr(l->cells[j].key, text.s);
            known = at && (at[text.n] == ',' || !at[text.n]); /* a key ends with its settings as JSON */
        }
        if (!known) lab__print(&b, "%s%s", b.n ? ", " : "", text.s);
        free(text.s);
    }
    if (!b.n) lab__print(&b, "them for other images, or otherwise combined");
    return b.s;
}

/* Gives a row to the cell that it belongs to; the first of several counts. A cell in hand is left alone: its worker writes to it. */
LAB_FN void lab__adopt(lab *l, lab__row *row)
{
    char *key = lab__key(row);
    const char *status = lab__record_get_text(&row->head, "status");
    int i, mine = 0;
    for (i = 0; i < l->config_count * l->seed_count && !mine; i++) {
        lab__cell *cell = &l->cells[i];
        mine = !strcmp(cell->key, key) && (!strcmp(status, "ok") || !strcmp(status, "diverged"));
        if (!mine || cell->state != LAB__WAITING) continue;
        lab__record_copy(&cell->row.figures, &row->figures);
        lab__record_copy(&cell->row.head, &row->head);
        cell->state = LAB__DONE;
    }
    if (!mine && !l->rows_foreign++) l->foreign = lab__what_differs(l, row);
    free(key);
}

/* Reads the rows that have come since the last time. */
LAB_FN void lab__read_rows(lab *l)
{
    size_t n, at = 0;
    char *text = lab__read_file(l->rows_path, l->rows_read, &n);
    if (!text && errno != ENOENT && !l->failure) l->failure = lab__format("cannot read %s: %s", l->rows_path, strerror(errno));
    while (text && at < n) {
        const char *end = (const char *)memchr(text + at, '\n', n - at);
        size_t length = end ? (size_t)(end - text) - at : n - at, i = 0;
        lab__row row;
        while (i < length && isspace((unsigned char)text[at + i])) i++;
        if (i < length && lab__read_row(text + at, length, &row)) {
            lab__adopt(l, &row);
            lab__row_free(&row);
        } else if (i < length) {
            if (!end) break; /* another process may be writing it */
            l->rows_damaged++;
        }
        at += length + (end != NULL);
    }
    l->rows_read += (long)at;
    free(text);
}

/* Writes the cell's row. On failure the run ends. */
LAB_FN void lab__write_row(lab *l, lab__cell *cell, const char *status, double seconds)
{
    lab__buffer b = { NULL, 0, 0 };
    lab__record_text(&cell->row.head, "status", status);
    lab__record_number(&cell->row.head, "seconds", floor(seconds * 1000 + 0.5) / 1000);
    lab__json_row(&b, &cell->row);
    lab__lock(l->locks, LAB__ROWS_BYTE, LAB__WAIT);
    if (!lab__append(l->rows_path, b.s, b.n)) {
        const char *why = strerror(errno);
        if (!l->failure) l->failure = lab__format("cannot write %s: %s; the rows in it are whole: make room, then run the same command again", l->rows_path, why);
    } else cell->state = LAB__DONE;
    lab__lock(l->locks, LAB__ROWS_BYTE, LAB__DROP);
    free(b.s);
}

// >>checkpoints
// The training of a cell in hand: NAME.HASH.PHASE.json says which of two files beside it holds the trainer, and has the cell's figures
// of that moment. It is renamed into place after the trainer is written, so the two always fit.

/* what: 0 or 1 for the trainer's files, 2 for the page that points to them. To be freed. */
LAB_FN char *lab__checkpoint_path(const lab__cell *cell, int phase, int what)
{
    static const char *const ends[] = { "a.ckpt", "b.ckpt", ".json" };
    char *hash = lab__hex(cell->hash), *rest = lab__format(".%s.%d%s", hash, phase, ends[what]), *path = lab__path(cell->view.in, rest);
    free(hash); free(rest);
    return path;
}

/* Removes them, the last training's first and each page before its trainers: so a page never points to nothing, and what a killed process leaves
   begins with the first training's and is found again. Every training that ends has left a page. */
LAB_FN void lab__checkpoint_remove(const lab__cell *cell)
{
    int phase = 0, what, there;
    do {
        for (there = 0, what = 0; what < 3; what++) {
            char *path = lab__checkpoint_path(cell, phase, what), *part = lab__format("%s.tmp", path);
            there |= lab__exists(path) || lab__exists(part);
            free(path); free(part);
        }
        phase += there;
    } while (there);
    while (phase-- > 0)
        for (what = 2; what >= 0; what--) {
            char *path = lab__checkpoint_path(cell, phase, what), *part = lab__format("%s.tmp", path);
            remove(path);
            remove(part); /* of a process that was killed while it saved */
            free(path); free(part);
        }
}

LAB_FN void lab__checkpoint_save(lab__cell *cell, genreg_trainer *t, int phase, int finished, double seconds)
{
    char *trainer = lab__checkpoint_path(cell, phase, cell->slot), *page = lab__checkpoint_path(cell, phase, 2), *part = lab__format("%s.tmp", page);
    lab__buffer b = { NULL, 0, 0 };
    lab__row row;
    memset(&row, 0, sizeof row);
    if (genreg_trainer_save(t, trainer)) {
        char *other = lab__checkpoint_path(cell, phase, !cell->slot);
        lab__record_copy(&row.head, &cell->row.head);
        lab__record_copy(&row.settings, &cell->row.settings);
        lab__record_copy(&row.figures, &cell->row.figures);
        lab__record_number(&row.head, "slot", cell->slot);
        lab__record_number(&row.head, "step", (double)genreg_trainer_progress(t).step);
        lab__record_number(&row.head, "finished", finished);
        lab__record_number(&row.head, "seconds", seconds);
        lab__json_row(&b, &row);
        if (lab__write_file(page, part, b.s, b.n - 1)) remove(other);
        else {
            char *why;
            lab__enter(cell->view.in); /* strerror is not for two threads at once */
            why = lab__format("cannot write %s: %s", page, strerror(errno));
            lab__leave(cell->view.in);
            genreg_set_error(cell->view.ctx, GENREG_ERROR_FILE, why);
            free(why);
        }
        cell->slot = !cell->slot;
        free(other);
    }
    lab__row_free(&row); free(b.s); free(trainer); free(page); free(part);
}

/* Puts trainer and figures back to where they were saved. Returns 1 if the training was finished. Starts anew, and says nothing, if
   there is no checkpoint or it is of another instruction set. */
LAB_FN int lab__checkpoint_load(lab__cell *cell, genreg_trainer *t, int phase)
{
    char *page = lab__checkpoint_path(cell, phase, 2), *text, *trainer, *key = NULL;
    int finished = 0;
    size_t n;
    lab__row row;
    memset(&row, 0, sizeof row);
    text = lab__read_file(page, 0, &n);
    if (text && !lab__read_row(text, n, &row)) genreg_set_error(cell->view.ctx, GENREG_ERROR_FORMAT, "its page is damaged");
    else if (text) {
        key = lab__key(&row);
        if (!strcmp(key, cell->key) && !strcmp(lab__record_get_text(&row.head, "isa"), genreg_isa_name(cell->view.ctx))) {
            int slot = lab__record_get(&row.head, "slot") > 0;
            trainer = lab__checkpoint_path(cell, phase, slot);
            if (genreg_trainer_load(t, trainer)) {
                double step = (double)genreg_trainer_progress(t).step - lab__record_get(&row.head, "step");
                if (!(step > -0.5 && step < 0.5)) genreg_set_error(cell->view.ctx, GENREG_ERROR_FORMAT, "trainer and page do not fit");
                lab__record_copy(&cell->row.figures, &row.figures);
                cell->seconds = fmax(cell->seconds, lab__record_get(&row.head, "seconds")); /* each training's page has all until then */
                cell->slot = !slot;
                finished = lab__record_get(&row.head, "finished") > 0;
            }
            free(trainer);
        }
    }
    if (genreg_error(cell->view.ctx)) {
        genreg_status status = genreg_error(cell->view.ctx);
        char *why = lab__format("cannot go on from %s: %s; delete it to train the cell anew", page, genreg_error_message(cell->view.ctx));
        genreg_clear_error(cell->view.ctx);
        genreg_set_error(cell->view.ctx, status, why);
        free(why);
    }
    lab__row_free(&row); free(key); free(text); free(page);
    return finished;
}

// >>running

/* The only writable global: which signal asks for the end. */
static volatile sig_atomic_t lab__signal;

LAB_FN void lab__on_signal(int number)
{
    lab__signal = number;
    signal(number, SIG_DFL); /* the second one kills */
}

/* How many of the threads this worker has: an equal share among those with a cell, the first ones getting what is over. */
LAB_FN int lab__share(const lab *l, int worker)
{
    int i, busy = 0, before = 0, share;
    for (i = 0; i < l->workers; i++) {
        busy += l->busy[i];
        before += i < worker && l->busy[i];
    }
    if (!busy) return 1;
    share = l->threads / busy + (before < l->threads % busy);
    return share > 0 ? share : 1;
}

/* Seconds as 1:05 or 2:03:04. */
LAB_FN void lab__print_time(lab__buffer *b, double seconds)
{
    long s = (long)(seconds + 0.5);
    if (s >= 3600) lab__print(b, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else lab__print(b, "%ld:%02ld", s / 60, s % 60);
}

/* Seconds to the end of this process's cells, by what the finished part has taken. Checkpoints that were there make it a guess. */
LAB_FN double lab__time_left(const lab *l, int *finished, int *cells)
{
    double done = 0, left = 0;
    int i;
    *finished = *cells = 0;
    for (i = 0; i < l->config_count * l->seed_count; i++) {
        const lab__cell *cell = &l->cells[i];
        if (!cell->mine) continue;
        ++*cells;
        *finished += cell->state == LAB__DONE;
        done += cell->cost * (cell->state == LAB__RUNNING ? cell->fraction : cell->state == LAB__DONE && cell->started > 0 ? 1 : 0);
        left += cell->cost * (cell->state == LAB__RUNNING ? 1 - cell->fraction : cell->state == LAB__WAITING ? 1 : 0);
    }
    return done > 0 ? (lab__now() - l->started) * left / done : (double)NAN;
}

/* What the progress line has to say, if need be without what matters least, so that it takes at most `room` characters: the accuracy goes first, then
   speed, loss, the cell's name; cells finished, epoch and time left stay. The caller frees it. */
LAB_FN char *lab__progress_text(const lab__cell *cell, double left, int finished, int cells, double speed, int room)
{
    int fewer;
    for (fewer = 0;; fewer++) {
        lab__buffer b = { NULL, 0, 0 };
        lab__print(&b, "%d/%d done", finished, cells);
        if (left >= 0) { lab__print(&b, ", "); lab__print_time(&b, left); lab__print(&b, " left"); }
        if (fewer < 2) lab__print(&b, ", %.0f images/s", speed);
        if (fewer < 4) lab__print(&b, " | %s, seed %.0f:", cell->label, (double)cell->view.seed);
        lab__print(&b, "%sepoch %d/%d", fewer < 4 ? " " : ", ", cell->progress.epoch, cell->epochs);
        if (fewer < 3) lab__print(&b, ", loss %.3f", cell->progress.loss);
        if (fewer < 1) lab__print(&b, ", %.1f %%", 100 * cell->progress.accuracy);
        if (fewer == 4 || lab__characters(b.s) <= room) return b.s;
        free(b.s);
    }
}

/* The progress line: the cell that has just moved, the speed of all that run. The last column stays free: some terminals wrap there. */
LAB_FN void lab__show(lab *l, const lab__cell *cell)
{
    double now = lab__now(), speed = 0, left;
    int i, finished, cells, room = lab__terminal_width() - 1;
    char *text;
    left = lab__time_left(l, &finished, &cells);
    for (i = 0; i < l->config_count * l->seed_count; i++)
        if (l->cells[i].state == LAB__RUNNING && now > l->cells[i].started) speed += l->cells[i].images / (now - l->cells[i].started);
    text = lab__progress_text(cell, left, finished, cells, speed, room);
    i = room - lab__characters(text);
    printf("\r%s%*s", text, i > 0 ? i : 0, "");
    fflush(stdout);
    free(text);
    l->shown = now;
}

/* The line of a finished cell, where there is no terminal. */
LAB_FN void lab__show_finished(lab *l, const lab__cell *cell, double seconds)
{
    int finished, cells;
    if (l->terminal) return;
    lab__time_left(l, &finished, &cells);
    printf("cell %d/%d, %s, seed %.0f: ", finished, cells, cell->label, (double)cell->view.seed);
    if (!strcmp(lab__record_get_text(&cell->row.head, "status"), "diverged")) printf("diverged, ");
    else if (cell->phase) printf("%sloss %.4f, training accuracy %.2f %%, ", cell->phase > 1 ? "the last training's " : "", cell->progress.loss, 100 * cell->progress.accuracy);
    printf("%.1f s\n", seconds);
    fflush(stdout);
}

/* The next cell for a worker, locked; NULL with *wait 1 if all that are left are in the hands of other processes. */
LAB_FN lab__cell *lab__next(lab *l, int worker, int *wait)
{
    int s, c;
    *wait = 0;
    l->busy[worker] = 0;
    if (lab__signal || l->failure) return NULL;
    for (s = 0; s < l->seed_count; s++)
        for (c = 0; c < l->config_count; c++) {
            lab__cell *cell = lab__cell_at(l, c, s);
            if (!cell->mine || cell->state != LAB__WAITING) continue;
            if (!lab__lock(l->locks, lab__byte(cell), LAB__TRY)) {
                *wait = 1;
                continue;
            }
            lab__read_rows(l); /* another process may have finished it */
            if (cell->state == LAB__WAITING) {
                cell->state = LAB__RUNNING;
                cell->worker = worker;
                l->busy[worker] = 1;
                *wait = 0;
                return cell;
            }
            lab__lock(l->locks, lab__byte(cell), LAB__DROP);
        }
    return NULL;
}

/* Runs one cell from context to row. */
LAB_FN void lab__run_cell(lab *l, lab__cell *cell)
{
    genreg_options o = genreg_defaults();
    genreg_status status;
    double seconds;
    lab__enter(l);
    cell->threads = o.threads = lab__share(l, cell->worker);
    o.memory = (size_t)fmin(lab_number(l, "memory") * 1024 * 1024 * 1024, (double)(PTRDIFF_MAX / 2)); /* 4 GiB do not fit a size_t everywhere */
    cell->started = lab__now();
    lab__leave(l);
    cell->view.ctx = genreg_create(&o);
    l->experiment->run(&cell->view);
    seconds = cell->seconds + lab__now() - cell->started;
    status = genreg_error(cell->view.ctx);
    lab__enter(l);
    if (status == GENREG_ERROR_DIVERGED) lab__clear_figures(cell);
    if (status == GENREG_OK ? !cell->stopped : status == GENREG_ERROR_DIVERGED) {
        lab__write_row(l, cell, status == GENREG_OK ? "ok" : "diverged", seconds);
        if (cell->state == LAB__DONE) {
            lab__checkpoint_remove(cell);
            lab__show_finished(l, cell, seconds);
        }
    } else if (status && !l->failure)
        l->failure = lab__format("%s, seed %.0f: %s", cell->label, (double)cell->view.seed, genreg_error_message(cell->view.ctx));
    lab__lock(l->locks, lab__byte(cell), LAB__DROP);
    lab__leave(l);
    genreg_destroy(cell->view.ctx);
    cell->view.ctx = NULL;
}

LAB_FN void lab__work(lab *l, int worker)
{
    for (;;) {
        lab__cell *cell;
        int wait, note;
        lab__enter(l);
        cell = lab__next(l, worker, &wait);
        note = wait && !l->noted;
        l->noted |= note;
        if (note) {
            lab__clear_line(l);
            printf("the cells that are left are in the hands of another process; waiting for it\n");
            fflush(stdout);
        }
        lab__leave(l);
        if (cell) lab__run_cell(l, cell);
        else if (wait) lab__sleep(0.5);
        else return;
    }
}

/* Puts the rows aside under the first of NAME.old.jsonl, NAME.old2.jsonl, ... that is free. */
LAB_FN void lab__put_rows_aside(lab *l)
{
    char *path = lab__path(l, ".old.jsonl"), *rest;
    int i;
    for (i = 2; lab__exists(path); i++) {
        free(path);
        rest = lab__format(".old%d.jsonl", i);
        path = lab__path(l, rest);
        free(rest);
    }
    if (!lab__rename(l->rows_path, path)) lab_fail(l, 1, "cannot put %s aside: %s", l->rows_path, strerror(errno));
    printf("--fresh: the rows that were there are in %s\n", path);
    free(path);
}

/* Removes what a process has left that was killed between a cell's row and the removal of its checkpoints. */
LAB_FN void lab__sweep(lab *l)
{
    int i;
    for (i = 0; i < l->config_count * l->seed_count; i++) {
        lab__cell *cell = &l->cells[i];
        if (!cell->mine || cell->state != LAB__DONE || !lab__lock(l->locks, lab__byte(cell), LAB__TRY)) continue;
        lab__checkpoint_remove(cell);
        lab__lock(l->locks, lab__byte(cell), LAB__DROP);
    }
}

/* Opens the folder for writing, puts old rows aside for --fresh, cuts off a torn row, and sweeps. */
LAB_FN void lab__prepare(lab *l)
{
    char *lock_path = lab__path(l, ".lock"), *rows;
    const char *out = lab_text(l, "out");
    size_t n;
    int i;
    lab__make_folder(out);
    if (!lab__lock_open(&l->locks, lock_path)) lab_fail(l, 1, "cannot write %s: %s; name another folder with --out", lock_path, strerror(errno));
    l->locks_open = 1;
    if (lab__flag(l, "fresh")->given) {
        if (!lab__lock(l->locks, LAB__ALL_BYTE, LAB__TRY)) lab_fail(l, 1, "another process is at work on this experiment in %s: wait for it, or run without --fresh", out);
        rows = lab__read_file(l->rows_path, 0, &n);
        if (n || (!rows && lab__exists(l->rows_path))) lab__put_rows_aside(l);
        free(rows);
        for (i = 0; i < l->config_count * l->seed_count; i++) lab__checkpoint_remove(&l->cells[i]);
        lab__lock(l->locks, LAB__ALL_BYTE, LAB__DROP);
    }
    if (lab__lock(l->locks, LAB__ALL_BYTE, LAB__SHARE) < 0) printf("the file system of %s has no locks: run one process at a time there\n", out);
    lab__lock(l->locks, LAB__ROWS_BYTE, LAB__WAIT);
    if (!lab__append(l->rows_path, "", 0)) lab_fail(l, 1, "cannot write %s: %s; name another folder with --out", l->rows_path, strerror(errno));
    lab__lock(l->locks, LAB__ROWS_BYTE, LAB__DROP);
    free(lock_path);
    lab__read_rows(l);
    lab__sweep(l);
}

/* Runs the cells that are left, a worker for each job. */
LAB_FN void lab__run_all(lab *l, int pending)
{
    l->workers = lab_int(l, "jobs") ? lab_int(l, "jobs") : l->threads;
    if (l->workers > pending) l->workers = pending;
#ifndef _OPENMP
    l->workers = 1;
#endif
    l->busy = (int *)lab__new((size_t)l->workers, sizeof *l->busy);
    l->started = lab__now();
    lab__signal = 0;
    signal(SIGINT, lab__on_signal);
    signal(SIGTERM, lab__on_signal);
#ifdef _OPENMP
    if (l->workers > 1) {
        omp_set_max_active_levels(2); /* a worker's cell has threads of its own */
#pragma omp parallel num_threads(l->workers)
        lab__work(l, omp_get_thread_num());
    } else
#endif
        lab__work(l, 0);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    lab__clear_line(l);
    l->shown = 0;
}

/* A model that cannot be written is to be known before hours of training. */
LAB_FN void lab__try_save(lab *l)
{
    const char *path = lab_text(l, "save");
    int there = lab__exists(path);
    FILE *f = fopen(path, "ab");
    if (!f) lab_fail(l, 1, "--save %s: cannot be written: %s", path, strerror(errno));
    fclose(f);
    if (!there) remove(path);
}

LAB_FN int lab__same_value(const lab__value *a, const lab__value *b)
{
    int i;
    if (a->count != b->count || (!a->count && strcmp(a->text, b->text))) return 0;
    for (i = 0; i < a->count; i++)
        if (a->list[i] < b->list[i] || a->list[i] > b->list[i]) return 0;
    return 1;
}

/* What this run has cut from the preset paper, or has otherwise than it. */
LAB_FN void lab__print_cut(lab *l)
{
    static const char elsewhere[] = "preset|dataset|data|jobs|threads|out|shard|save|save-every|memory|fresh|report|help"; /* no part of an experiment */
    int i, any = 0;
    for (i = 0; i < l->value_count; i++) {
        const lab__value *v = &l->values[i];
        const lab_flag *f = &v->flag;
        const char *unset = strcmp(f->name, "train") ? "unset" : "all";
        lab__value paper = *v;
        int same;
        if (lab__among(elsewhere, f->name)) continue;
        paper.list = NULL;
        paper.given = 0;
        lab__parse(l, &paper, f->paper ? f->paper : f->reduced ? f->reduced : f->quick);
        same = f->kind == LAB_SWITCH ? !v->given : lab__same_value(v, &paper);
        free(paper.list);
        if (same) continue;
        printf("%s--%s", any++ ? ", " : "unlike --preset paper: ", f->name);
        if (f->kind != LAB_SWITCH) printf(" %s (there %s)", *v->text ? v->text : unset, *paper.text ? paper.text : unset);
    }
    if (any) printf("\n");
}

LAB_FN int lab_run(lab *l)
{
    int i, done = 0, pending = 0, total = l->config_count * l->seed_count;
    printf("data: %s, %d training and %d test images (%s)\n", l->dataset_title, l->train.n, l->test.n, l->dataset_folder);
    for (i = 0; i < total; i++) {
        lab__cell *cell = &l->cells[i];
        cell->view.own = cell;
        cell->key = lab__key(&cell->row);
        cell->hash = lab__hash(0, cell->key, strlen(cell->key));
        if (!cell->label) cell->label = lab__copy(l->experiment->name);
        cell->mine = (i % l->seed_count * l->config_count + i / l->seed_count) % l->shards == l->shard - 1; /* in the order of work */
    }
    if (!lab__flag(l, "report")->given) lab__prepare(l);
    lab__read_rows(l);
    for (i = 0; i < total; i++) {
        done += l->cells[i].state == LAB__DONE;
        pending += l->cells[i].mine && l->cells[i].state != LAB__DONE;
    }
    if (l->rows_damaged) printf("%d lines of %s are no rows and are left out\n", l->rows_damaged, l->rows_path);
    if (!lab__flag(l, "report")->given && pending) {
        if (done) printf("%d of %d cells are in %s already\n", done, total, l->rows_path);
        if (*lab_text(l, "save")) lab__try_save(l);
        lab__run_all(l, pending);
        lab__sweep(l);
        for (done = 0, i = 0; i < total; i++) done += l->cells[i].state == LAB__DONE;
    }
    if (l->failure || lab__signal) {
        fflush(stdout);
        if (l->failure) fprintf(stderr, "%s: %s\n", l->experiment->name, l->failure);
        else
            fprintf(stderr, "%s: stopped; %d of %d cells are safe in %s, and the same command%s%s%s goes on from here\n", l->experiment->name, done, total,
                    l->rows_path, lab__flag(l, "fresh")->given ? " without --fresh" : "", lab__flag(l, "dataset")->given ? "" : " with --dataset ",
                    lab__flag(l, "dataset")->given ? "" : l->whole.name);
        l->status = l->failure ? 1 : lab__signal == SIGTERM ? 143 : 130;
        return 0;
    }
    if (*lab_text(l, "save") && done > pending && !lab__flag(l, "report")->given)
        printf("--save: cells that were there already have left no model; --fresh trains them again\n");
    if (!done) {
        fflush(stdout);
        if (l->rows_foreign)
            fprintf(stderr, "%s: %s has no row of these settings; the first of its %d has %s: give the flags of the run, or run without --report\n",
                    l->experiment->name, l->rows_path, l->rows_foreign, l->foreign);
        else fprintf(stderr, "%s: %s has no row yet: run without --report\n", l->experiment->name, l->rows_path);
        l->status = 1;
        return 0;
    }
    printf("%d of %d cells are in %s", done, total, l->rows_path);
    if (l->rows_foreign) printf(", beside %d rows of other settings, data or versions", l->rows_foreign);
    printf("\n");
    lab__print_cut(l);
    printf("\n");
    return 1;
}

LAB_FN int lab_close(lab *l)
{
    int i, status;
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "%s: cannot write the report: %s; the rows are in %s\n", l->experiment->name, strerror(errno), l->rows_path);
        l->status = l->status ? l->status : 1;
    }
    status = l->status;
    for (i = 0; i < l->config_count * l->seed_count; i++) {
        lab__row_free(&l->cells[i].row); free(l->cells[i].key); free(l->cells[i].label);
    }
    for (i = 0; i < l->value_count; i++) free(l->values[i].list);
    free(l->cells); free(l->values); free(l->seeds); free(l->busy); free(l->failure); free(l->foreign); free(l->rows_path); free(l->checksum); free(l->dataset_folder);
    if (l->locks_open) lab__lock_close(l->locks);
#ifdef _OPENMP
    omp_destroy_lock(&l->door);
#endif
    genreg_destroy(l->ctx);
    free(l);
    return status;
}

// >>training

/* After each step, at most five times a second: progress, and threads that others have left. */
LAB_FN void lab__tick(lab__cell *cell, const genreg_progress *p, double fraction, double images, double *ticked)
{
    lab *l = cell->view.in;
    double now = lab__now();
    int share;
    if (now >= *ticked && now - *ticked < 0.2) return;
    *ticked = now;
    lab__enter(l);
    cell->stopped |= l->failure != NULL; /* of another worker */
    cell->progress = *p;
    cell->fraction = fraction;
    cell->images = images;
    share = lab__share(l, cell->worker);
    if (l->terminal && now - l->shown >= 0.2) lab__show(l, cell);
    lab__leave(l);
    if (share != cell->threads) genreg_set_threads(cell->view.ctx, cell->threads = share);
}

LAB_FN genreg_hessian *lab_open_hessian(lab_cell *cell, genreg_model *net, const genreg_dataset *d, int n, genreg_eigen *pairs, genreg_real *vectors)
{
    genreg_dataset few = genreg_first(cell->ctx, d, lab_get_int(cell, "hessian_images"));
    genreg_objective f = genreg_model_objective(net, &few, GENREG_LOSS_CROSS_ENTROPY);
    genreg_eigen_options o = genreg_eigen_defaults();
    genreg_hessian *h = genreg_hessian_open(&f);
    o.iterations = lab_get_int(cell, "hessian_products");
    o.tol = lab_get(cell, "hessian_tol");
    o.seed = cell->seed;
    genreg_hessian_eigenpairs(h, n, 0, &o, pairs, vectors);
    return h;
}

LAB_FN void lab_slice_at(lab_cell *cell, const char *figure, int first, int n, genreg_model *net, const genreg_real *v, double reach)
{
    genreg_dataset few = genreg_first(cell->ctx, cell->train, lab_get_int(cell, "hessian_images"));
    ptrdiff_t size = net->theta->size, k;
    genreg_real *at = (genreg_real *)lab__grow(NULL, (size_t)size, sizeof *at);
    double *loss = (double *)lab__new((size_t)n, sizeof *loss);
    int i;
    for (i = 0; i < n && lab_alive(cell); i++) {
        genreg_real step = (genreg_real)(reach * (2.0 * i / (n - 1) - 1));
        for (k = 0; k < size; k++) at[k] = net->theta->data[k] + step * v[k];
        loss[i] = genreg_evaluate_at(net, at, &few).loss;
    }
    for (k = 0; i == n && k < n; k++) lab_figure_at(cell, figure, first + (int)k, loss[loss[0] > loss[n - 1] ? n - 1 - k : k]);
    free(at); free(loss);
}

LAB_FN void lab_density_at(lab_cell *cell, const char *places, const char *weights, int first, genreg_hessian *h, int probes, int products)
{
    int n = probes * products, i, found;
    double *at = lab_matrix(2, n), *weight = at + n;
    found = lab_alive(cell) ? genreg_hessian_density(h, probes, products, cell->seed, at, weight) : 0;
    for (i = found; i < n; i++) at[i] = weight[i] = (double)NAN;
    for (i = 0; i < n; i++) lab_pair_at(cell, places, weights, first + i, at[i], weight[i]);
    free(at);
}

LAB_FN void lab_line_at(lab_cell *cell, genreg_model *a, genreg_model *b, int n, const genreg_dataset *d)
{
    genreg_score *line = (genreg_score *)lab__new((size_t)n, sizeof *line);
    double barrier = 0;
    int i;
    if (lab_alive(cell)) genreg_line(a, b, n, d, NULL, line);
    for (i = 0; i < n; i++) {
        lab_scores_at(cell, "line_loss", "line_accuracy", i, &line[i], 1);
        barrier = fmax(barrier, line[i].loss - line[0].loss - (line[n - 1].loss - line[0].loss) * i / (n - 1));
    }
    lab_figure(cell, "barrier", barrier);
    free(line);
}

LAB_FN genreg_train_options lab_train_options(const lab_cell *cell)
{
    genreg_train_options o = genreg_train_defaults();
    const lab__record *set = &cell->own->row.settings;
    if (lab__find(set, "batch")) o.batch = lab_get_int(cell, "batch");
    if (lab__find(set, "lr")) o.lr = lab_get(cell, "lr");
    if (lab__find(set, "momentum")) o.momentum = lab_get(cell, "momentum");
    if (lab__find(set, "epochs")) o.epochs = lab_get_int(cell, "epochs");
    o.seed = cell->seed;
    return o;
}

LAB_FN genreg_model *lab_paper_net(const lab_cell *cell, const char *kind, int width, int batch_norm)
{
    const genreg_dataset *d = cell->train;
    int sizes[5] = { d->features, width, width, width, d->classes };
    genreg_model *net = strcmp(kind, "cnn") ? genreg_mlp(cell->ctx, sizes, 5) : genreg_cnn(cell->ctx, d->shape, width, batch_norm, d->classes);
    genreg_init(net, GENREG_INIT_PYTORCH, cell->seed);
    return net;
}

LAB_FN double lab_match_curvature(lab_cell *cell, genreg_model *net, const genreg_progress *p, int images, int element)
{
    char *epoch = lab__element_name("match_epoch", element);
    int found = lab_found(cell, epoch) > 0;
    genreg_dataset d = *cell->train;
    double loss;
    genreg_eigen top;
    free(epoch);
    if (found) return (double)NAN;
    if (images < d.n) d = genreg_first(cell->ctx, cell->train, images);
    loss = genreg_evaluate(net, &d).loss;
    if (!(loss <= lab_get(cell, "match_loss"))) return (double)NAN;
    genreg_hessian_close(lab_open_hessian(cell, net, cell->train, 1, &top, NULL));
    lab_pair_at(cell, "match_epoch", "match_train_loss", element, p->epoch, loss);
    lab_pair_at(cell, "match_lambda", "match_residual", element, top.value, top.residual);
    return top.value;
}

LAB_FN void lab_trainings(lab_cell *view, int n) { view->own->trainings = n; }

LAB_FN int lab_train(lab_cell *cell, genreg_model *net, const genreg_dataset *d, const genreg_train_options *o, lab_watch watch, genreg_progress *last)
{
    return lab_train_from(cell, net, d, o, NULL, watch, last);
}

LAB_FN int lab_train_from(lab_cell *view, genreg_model *net, const genreg_dataset *d, const genreg_train_options *o, const genreg_snapshot *start,
                          lab_watch watch, genreg_progress *last)
{
    lab__cell *cell = view->own;
    genreg_trainer *t;
    genreg_progress p;
    double images = cell->images, before = cell->phase, trainings = cell->trainings > cell->phase ? cell->trainings : cell->phase + 1;
    double ticked = 0, saved, every = lab_number(view->in, "save-every"), n = d->n, batch = o->batch < d->n ? o->batch : d->n;
    double steps = o->steps ? (double)o->steps : o->epochs * ceil(n / batch), first;
    int phase, finished = 0, more = 1, moved = 0;
    if (!lab_alive(view)) return 0; /* a page of this training would have figures that are half measured */
    phase = cell->phase++;
    t = genreg_trainer_create(net, d, o);
    if (start) genreg_rewind(net, t, start);
    if (!genreg_error(view->ctx)) finished = lab__checkpoint_load(cell, t, phase);
    saved = lab__now();
    p = genreg_trainer_progress(t);
    first = (double)p.step;
    cell->epochs = (int)fmin(ceil(steps / ceil(n / batch)), INT_MAX);
    while (more && !finished && !genreg_error(view->ctx)) {
        int64_t step = p.step;
        more = genreg_trainer_step(t);
        if (genreg_error(view->ctx)) break;
        p = genreg_trainer_progress(t);
        moved |= p.step != step;
        if (moved && (p.samples >= d->n || !more)) {
            if (watch) watch(view, net, &p);
            moved = 0;
        }
        lab__tick(cell, &p, (before + (double)p.step / steps) / trainings, images + ((double)p.step - first) * batch, &ticked);
        cell->stopped |= more && lab__signal;
        if (cell->stopped || !more || lab__now() - saved >= every || lab__now() < saved) {
            lab__checkpoint_save(cell, t, phase, !more, cell->seconds + lab__now() - cell->started);
            saved = lab__now();
        }
        if (cell->stopped) break;
    }
    cell->progress = p;
    genreg_trainer_free(t);
    if (last) *last = p;
    return !cell->stopped && !genreg_error(view->ctx);
}

LAB_FN int lab_alive(lab_cell *view)
{
    lab__cell *cell = view->own;
    lab *l = view->in;
    int share;
    lab__enter(l);
    share = lab__share(l, cell->worker);
    cell->stopped |= lab__signal || l->failure;
    lab__leave(l);
    if (share != cell->threads) genreg_set_threads(view->ctx, cell->threads = share);
    return !cell->stopped && !genreg_error(view->ctx);
}

LAB_FN void lab_save(lab_cell *cell, genreg_model *net, const char *part, ...)
{
    const char *path = lab_text(cell->in, "save"), *dot = strrchr(path, '.');
    lab__buffer b = { NULL, 0, 0 };
    va_list args;
    size_t stem = dot && !strpbrk(dot, "/\\") ? (size_t)(dot - path) : strlen(path), i;
    if (!*path) return;
    lab__put(&b, path, stem);
    if (cell->in->config_count * cell->in->seed_count > 1) {
        lab__print(&b, "-%s-seed-%.0f", cell->own->label, (double)cell->seed);
        for (i = stem; i < b.n; i++)
            if (!isalnum((unsigned char)b.s[i]) && b.s[i] != '.') b.s[i] = '-';
    }
    if (part) {
        lab__put(&b, "-", 1);
        va_start(args, part);
        lab__vprint(&b, part, args);
        va_end(args);
    }
    lab__print(&b, "%s", path + stem);
    genreg_save_model(net, b.s);
    free(b.s);
}

// >>tables

LAB_FN void lab__add_entry(lab_table *t, char *s)
{
    if (t->count == t->capacity) {
        t->capacity = 2 * t->capacity + 32;
        t->entries = (char **)lab__grow(t->entries, (size_t)t->capacity, sizeof *t->entries);
    }
    t->entries[t->count++] = s;
}

LAB_FN lab_table lab_table_new(const char *columns)
{
    lab_table t;
    char *name;
    memset(&t, 0, sizeof t);
    for (; (name = lab__next_word(&columns)) != NULL; t.columns++) lab__add_entry(&t, name);
    return t;
}

LAB_FN void lab_entry(lab_table *t, const char *format, ...)
{
    lab__buffer b = { NULL, 0, 0 };
    va_list args;
    va_start(args, format);
    lab__vprint(&b, format, args);
    va_end(args);
    if (!strcmp(b.s + (*b.s == '-'), "nan") || !strcmp(b.s + (*b.s == '-'), "inf")) strcpy(b.s, "-");
    lab__add_entry(t, b.s);
}

LAB_FN void lab_entry_stats(lab_table *t, lab_stats s, int decimals)
{
    if (s.n > 1) lab_entry(t, "%.*f ± %.*f [%.*f, %.*f]", decimals, s.mean, decimals, s.sd, decimals, s.low, decimals, s.high);
    else if (s.n) lab_entry(t, "%.*f", decimals, s.mean);
    else lab_entry(t, "-");
}

LAB_FN lab_stats lab_clip(lab_stats s, double whole)
{
    if (s.low < 0) s.low = 0;
    if (s.high > whole) s.high = whole;
    return s;
}

LAB_FN lab__buffer lab__table_text(const lab_table *t)
{
    lab__buffer b = { NULL, 0, 0 };
    int i, k;
    for (i = 0; i < t->count; i++) {
        int width = 0, column = i % t->columns, empty = t->count > t->columns, room;
        for (k = column; k < t->count; k += t->columns) {
            int n = lab__characters(t->entries[k]);
            if (n > width) width = n;
            if (k >= t->columns && strcmp(t->entries[k], "-")) empty = 0;
        }
        room = width - lab__characters(t->entries[i]);
        if (!column) lab__print(&b, "%s%*s", t->entries[i], room, "");
        else if (!empty) lab__print(&b, "  %*s%s", room, "", t->entries[i]);
        if (column == t->columns - 1) lab__print(&b, "\n");
    }
    return b;
}

LAB_FN void lab_table_print(lab_table *t)
{
    lab__buffer b = lab__table_text(t);
    int i;
    printf("%s\n", b.s ? b.s : "");
    free(b.s);
    for (i = 0; i < t->count; i++) free(t->entries[i]);
    free(t->entries);
    memset(t, 0, sizeof *t);
}

/* Whether a figure's name ends in "accuracy", or does so before an element's number. */
LAB_FN int lab__is_accuracy(const char *figure)
{
    size_t n = strcspn(figure, "[");
    return n >= 8 && !strncmp(figure + n - 8, "accuracy", 8);
}

LAB_FN void lab_entries(lab_table *t, lab *l, int config, int element, const char *figures) { lab_entries_and_paper(t, l, config, element, figures, NULL); }

LAB_FN void lab_entries_and_paper(lab_table *t, lab *l, int config, int element, const char *figures, const double *paper)
{
    while (*figures) {
        size_t n = strcspn(figures, "|"), k = strcspn(figures, " ");
        char *name = lab__format("%.*s", (int)k, figures), how = figures[k + 1];
        int digits = figures[k + 2] - '0', own = strcmp(name, "paper") != 0;
        lab_stats s = own ? lab_element(l, config, name, element, how == '%' ? 100 : 1) : lab_stats_of(paper, paper != NULL);
        if (!own && paper) paper++;
        if (how == 'e') lab_entry(t, "%.*e", digits, s.mean);
        else if (how == 'f') lab_entry(t, "%.*f", digits, s.mean);
        else if (how == 'g') lab_entry(t, "%.*g", digits, s.mean);
        else lab_entry_stats(t, how == '%' && lab__is_accuracy(name) ? lab_clip(s, 100) : s, digits);
        free(name);
        figures += n + (figures[n] == '|');
    }
}

LAB_FN void lab_verdict(const char *when, lab_stats s, const char *unit, double neutral, const char *above, const char *below)
{
    const char *verdict = s.low > neutral ? above : s.high < neutral ? below : "no difference that these seeds can tell";
    char number[3][32];
    double value[3];
    int i;
    value[0] = s.mean; value[1] = s.low; value[2] = s.high;
    for (i = 0; i < 3; i++) snprintf(number[i], sizeof number[i], neutral > 0 ? "%.3g" : "%.2f", value[i]); /* a ratio, or a difference */
    if (s.n > 1) printf("  %s%s%s, 95 %% interval [%s, %s] over %d seeds: %s\n", when, number[0], unit, number[1], number[2], s.n, verdict);
    else if (s.n) printf("  %s%s%s (one seed: no interval)\n", when, number[0], unit);
    else printf("  %sno seed has both\n", when);
}

LAB_FN void lab_print_halves(lab *l, const char *what, int config, const char *figure, int n, double scale, const char *first, const char *second)
{
    int i, above = 0, below = 0, neutral = !(scale > 0);
    for (i = 0; i < n; i++) {
        lab_stats s = lab_compare(l, config, figure, n + i, config, figure, i, scale);
        above += s.low > neutral;
        below += s.high < neutral;
    }
    printf("  %s: larger for %s at %d of %d, for %s at %d; at the others these seeds cannot tell\n", what, second, above, n, first, below);
}

LAB_FN lab_peak lab_print_peak(lab *l, const char *what, const char *axis, const double *x, const int *configs, const int *elements, int n, const char *figure,
                               double scale)
{
    lab_peak p = lab_find_peak(l, configs, elements, n, figure, scale);
    int i, ratio = !(scale > 0);
    if (p.at < 0) printf("  no peak of the %s: it is nowhere above a value before and one after it\n", what);
    else printf("  %s of the %s: %.4g at %s %g\n", p.stands ? "peak" : "no peak that these seeds can tell; highest rise", what, p.mean * (ratio ? 1 : scale), axis, x[p.at]);
    for (i = 0; i < 2 && p.at >= 0; i++) {
        char *text = lab__format(ratio ? "  times that at %s %g: " : "  above that at %s %g by ", axis, x[p.low[i]]);
        lab_verdict(text, p.over[i], "", ratio ? 1 : 0, "higher", "lower");
        free(text);
    }
    if (p.at >= 0 && p.over[0].n > 1) printf("    (peak and lows were chosen among %d by the same seeds, so that these intervals are narrower than 95 %%)\n", n);
    return p;
}

LAB_FN lab_stats lab_print_crossing(lab *l, const char *what, const char *axis, const double *x, const int *configs, const int *elements, int n, const char *figure,
                                    double level)
{
    double *logs = lab_matrix(1, n);
    lab_stats s;
    int i;
    for (i = 0; i < n; i++) logs[i] = log(x[i]);
    s = lab_crossing(l, logs, configs, elements, n, figure, level);
    free(logs);
    s.mean = exp(s.mean);
    s.low = exp(s.low);
    s.high = exp(s.high);
    if (!s.n) printf("  %s: found in no seed", what);
    else printf(s.mean < 100 ? "  %s: %.3g %s, found in %d of %d seeds" : "  %s: %.0f %s, found in %d of %d seeds", what, s.mean, axis, s.n, lab_seed_count(l));
    if (s.n > 1) printf(s.mean < 100 ? ", 95 %% interval [%.3g, %.3g]" : ", 95 %% interval [%.0f, %.0f]", s.low, s.high);
    printf("\n");
    return s;
}

LAB_FN lab_stats lab_print_exponent(lab *l, const char *what, const char *axis, const double *x, const int *configs, int n, const char *figure,
                                    double (*of)(double))
{
    int seeds = lab_seed_count(l), i, k, at = 0;
    double *logs = lab_matrix(2, (ptrdiff_t)n * seeds), *values = lab_matrix(1, seeds);
    lab_stats slope;
    for (i = 0; i < n; i++) {
        int found = lab_values(l, configs[i], figure, 1, values);
        for (k = 0; k < found; k++, at++) {
            logs[at] = log(x[i]);
            logs[n * seeds + at] = log(of ? of(values[k]) : values[k]);
        }
    }
    slope = lab_slope_of(logs, logs + n * seeds, at);
    if (lab__finite(slope.mean)) printf("  %s ~ %s^%.3f", what, axis, slope.mean);
    else printf("  %s: no exponent without figures at two places", what);
    if (lab__finite(slope.low)) printf(", 95 %% interval [%.3f, %.3f]", slope.low, slope.high);
    printf("\n");
    free(logs);
    free(values);
    return slope;
}

LAB_FN double *lab_matrix(ptrdiff_t rows, ptrdiff_t columns)
{
    return (double *)lab__grow(NULL, columns > 0 && rows > (PTRDIFF_MAX / 8) / columns ? (size_t)-1 : (size_t)rows * (size_t)columns, sizeof(double));
}

LAB_FN double lab_weight_norm2(const genreg_model *net)
{
    const genreg_parameter *p;
    double sum = 0;
    ptrdiff_t k;
    for (p = net->parameters; p < net->parameters + net->parameter_count; p++)
        for (k = p->offset; p->kind == GENREG_KIND_WEIGHT && k < p->offset + p->size; k++) sum += (double)net->theta->data[k] * (double)net->theta->data[k];
    return sum;
}

// >>plots
// Panels on a light card, which stands on light and dark pages alike. Colours are those of Okabe and Ito, told apart by the colour-blind;
// each has a marker of its own beside, and each rule its own dashes.

typedef struct lab__curve {
    char *name;
    double *x, *y, *low, *high; /* NULL for none */
    int n, style, colour, dash; /* dash: how many rules came before */
} lab__curve;

typedef struct lab__panel {
    char *title, *labels[2];
    int flags, count;
    lab__curve *curves;
} lab__panel;

struct lab_plot {
    char *title;
    lab__panel *panels;
    int count;
};

LAB_FN lab_plot *lab_plot_new(const char *title, ...)
{
    lab_plot *p = (lab_plot *)lab__new(1, sizeof *p);
    lab__buffer b = { NULL, 0, 0 };
    va_list args;
    va_start(args, title);
    lab__vprint(&b, title, args);
    va_end(args);
    p->title = b.s;
    return p;
}

LAB_FN void lab_panel(lab_plot *p, const char *title, const char *x, const char *y, int flags)
{
    lab__panel *panel;
    p->panels = (lab__panel *)lab__grow(p->panels, (size_t)p->count + 1, sizeof *p->panels);
    panel = &p->panels[p->count++];
    memset(panel, 0, sizeof *panel);
    panel->title = lab__copy(title);
    panel->labels[0] = lab__copy(x);
    panel->labels[1] = lab__copy(y);
    panel->flags = flags;
}

LAB_FN const char *lab_dataset_title(const lab *l) { return l->dataset_title; }

LAB_FN double *lab__copy_numbers(const double *x, int n)
{
    double *copy = x ? (double *)lab__new((size_t)n, sizeof *x) : NULL;
    if (x && n) memcpy(copy, x, (size_t)n * sizeof *x);
    return copy;
}

/* Belongs to the curve before it. */
LAB_FN int lab__follows(const lab__curve *c) { return c->style >= LAB_DOTS && c->style <= LAB_DASHED; }

LAB_FN int lab__has_markers(const lab__curve *c) { return c->style == LAB_JOINED || c->style == LAB_DOTS || c->style == LAB_POINTS; }

LAB_FN void lab_line(lab_plot *p, const char *name, const double *x, const double *y, const double *low, const double *high, int n, int style)
{
    lab__panel *panel;
    lab__curve *c;
    int i;
    for (i = 0; i < n && !lab__finite(y ? y[i] : x[i]); i++) {}
    if (i == n) n = 0; /* nothing to see, and no place in the legend; but what comes next keeps its colour */
    if (!p->count) lab_panel(p, "", "", "", 0);
    panel = &p->panels[p->count - 1];
    panel->curves = (lab__curve *)lab__grow(panel->curves, (size_t)panel->count + 1, sizeof *panel->curves);
    c = &panel->curves[panel->count];
    c->name = lab__copy(name);
    c->x = lab__copy_numbers(x, n);
    c->y = lab__copy_numbers(y, n);
    c->low = lab__copy_numbers(high && n ? low : NULL, n);
    c->high = lab__copy_numbers(low && n ? high : NULL, n);
    c->n = n;
    c->style = style;
    c->colour = panel->count ? panel->curves[panel->count - 1].colour + !lab__follows(c) : 0;
    for (c->dash = i = 0; i < panel->count; i++) c->dash += panel->curves[i].style == LAB_RULE;
    panel->count++;
}

LAB_FN void lab_curve_of_values(lab_plot *p, lab *l, const char *name, const double *x, const double *values, int n, double scale)
{
    int seeds = l->seed_count, i, k;
    double *rows = (double *)lab__new((size_t)n * (2 * (size_t)seeds + 3), sizeof *rows); /* mean, low, high; then x and y of every seed */
    double *mean = rows, *low = rows + n, *high = rows + 2 * n, *xs = rows + 3 * n, *ys = xs + n * seeds;
    for (i = 0; i < n; i++) {
        lab_stats s;
        for (k = i * seeds; k < (i + 1) * seeds; k++) {
            xs[k] = x[i];
            ys[k] = scale * values[k];
        }
        s = lab_stats_of(ys + i * seeds, seeds);
        if (scale >= 100 && scale <= 100) s = lab_clip(s, 100);
        mean[i] = s.mean;
        low[i] = s.low;
        high[i] = s.high;
    }
    lab_line(p, name, x, mean, low, high, n, LAB_JOINED);
    if (seeds > 1) lab_line(p, "", xs, ys, NULL, NULL, n * seeds, LAB_DOTS);
    free(rows);
}

LAB_FN double lab_error_of(double accuracy) { return 1 - accuracy; }

LAB_FN void lab_curve_of(lab_plot *p, lab *l, const char *name, const double *x, const int *configs, const int *elements, int n, const char *figure,
                         double (*of)(double), double scale)
{
    int seeds = l->seed_count, i, k;
    double *values = (double *)lab__new((size_t)n * (size_t)seeds, sizeof *values);
    for (i = 0; i < n; i++) {
        char *text = lab__element_name(figure, elements ? elements[i] : -1);
        lab_values(l, configs[i], text, 1, values + i * seeds);
        for (k = i * seeds; of && k < (i + 1) * seeds; k++) values[k] = of(values[k]);
        free(text);
    }
    lab_curve_of_values(p, l, name, x, values, n, scale);
    free(values);
}

LAB_FN void lab_curve_of_elements(lab_plot *p, lab *l, const char *name, const double *x, const int *configs, const int *elements, int n, const char *figure,
                                  double scale)
{
    lab_curve_of(p, l, name, x, configs, elements, n, figure, NULL, scale);
}

LAB_FN void lab_curve(lab_plot *p, lab *l, const char *name, const double *x, const int *configs, int n, const char *figure, double scale)
{
    lab_curve_of_elements(p, l, name, x, configs, NULL, n, figure, scale);
}

LAB_FN void lab_curve_of_list(lab_plot *p, lab *l, const char *name, const double *x, int n, int config, const char *figure, int first, double scale)
{
    int *configs = (int *)lab__new(2 * (size_t)n, sizeof *configs), *elements = configs + n, i;
    for (i = 0; i < n; i++) {
        configs[i] = config;
        elements[i] = first + i;
    }
    lab_curve_of_elements(p, l, name, x, configs, elements, n, figure, scale);
    free(configs);
}

LAB_FN void lab_curve_of_difference(lab_plot *p, lab *l, const char *name, const double *x, int n, int config, const char *figure, int first, const char *other,
                                    int element, double scale)
{
    int seeds = l->seed_count, i, k;
    double *values = (double *)lab__new((size_t)n * (size_t)seeds, sizeof *values);
    char *less = lab__element_name(other, element);
    for (i = 0; i < n; i++) {
        char *text = lab__element_name(figure, first + i);
        for (k = 0; k < seeds; k++) values[i * seeds + k] = scale * (lab_value(l, config, k, text) - lab_value(l, config, k, less));
        free(text);
    }
    lab_curve_of_values(p, l, name, x, values, n, 1); /* differences may be below 0 */
    free(values); free(less);
}

/* By place, which is followed by its weight; the largest first. */
LAB_FN int lab__farther(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* The share of the weight above each place, as corners of a line of steps from the largest place down to one at `from`; pairs are a place and its weight
   and are left sorted. Returns how many corners there are, at most 2n + 1. */
LAB_FN int lab__steps(double *pairs, int n, double from, double *x, double *y)
{
    double above = 0, all = 0;
    int corners = 0, i;
    for (i = 0; i < n; i++) all += pairs[2 * i + 1];
    qsort(pairs, (size_t)n, 2 * sizeof *pairs, lab__farther);
    for (i = 0; i < n && pairs[2 * i] > from; i++) {
        x[corners] = pairs[2 * i];
        y[corners++] = above / all;
        above += pairs[2 * i + 1];
        x[corners] = pairs[2 * i];
        y[corners++] = above / all;
    }
    x[corners] = from;
    y[corners++] = above / all;
    return corners;
}

LAB_FN void lab_tail(lab_plot *p, lab *l, const char *name, int n, int config, const char *places, const char *weights, int first)
{
    int seeds = l->seed_count, found = 0, i, k;
    size_t room = (size_t)n * (size_t)seeds;
    double *pairs = (double *)lab__new(6 * room + 2, sizeof *pairs), *x = pairs + 2 * room, *y = x + 2 * room + 1, from;
    for (i = 0; i < n; i++) {
        char *place = lab__element_name(places, first + i), *weight = lab__element_name(weights, first + i);
        for (k = 0; k < seeds; k++) {
            pairs[2 * found] = lab_value(l, config, k, place);
            pairs[2 * found + 1] = lab_value(l, config, k, weight);
            found += lab__finite(pairs[2 * found]) && lab__finite(pairs[2 * found + 1]); /* a Krylov space can end early */
        }
        free(place); free(weight);
    }
    for (from = 0, i = 0; i < found; i++) from = fmax(from, pairs[2 * i] / 1000);
    if (from > 0) {
        lab_line(p, name, x, y, NULL, NULL, lab__steps(pairs, found, from, x, y), LAB_SMOOTH);
        for (i = 0; i < found; i++) pairs[2 * i] = -pairs[2 * i];
        k = lab__steps(pairs, found, from, x, y);
        if (k > 1) lab_line(p, "", x, y, NULL, NULL, k, LAB_DASHED);
    }
    free(pairs);
}

LAB_FN void lab__escape(lab__buffer *b, const char *s)
{
    for (; *s; s++) {
        if (*s == '&') lab__print(b, "&amp;");
        else if (*s == '<') lab__print(b, "&lt;");
        else if (*s == '>') lab__print(b, "&gt;");
        else if (*s == '"') lab__print(b, "&quot;");
        else if ((unsigned char)*s < 32) lab__put(b, " ", 1); /* XML has no other control characters */
        else lab__put(b, s, 1);
    }
}

/* A direction of a panel: from values to pixels. */
typedef struct lab__axis {
    double low, high; /* in the axis' own unit: log10 of the value if logarithmic */
    int log, two;
    double from, to;  /* pixels, which count downwards: from > to on a vertical axis */
} lab__axis;

LAB_FN double lab__unit(const lab__axis *a, double x) { return a->log ? (x > 0 ? log10(x) : (double)NAN) : x; }
LAB_FN double lab__pixel(const lab__axis *a, double x) { return a->from + (lab__unit(a, x) - a->low) / (a->high - a->low) * (a->to - a->from); }

LAB_FN void lab__widen(double range[2], const lab__axis *a, const double *x, int n)
{
    int i;
    for (i = 0; x && i < n; i++) {
        double u = lab__unit(a, x[i]);
        if (!lab__finite(u)) continue;
        if (!(range[0] <= u)) range[0] = u;
        if (!(range[1] >= u)) range[1] = u;
    }
}

/* The axis holds every point; of a bar it holds as much as lets the points fill half of it. */
LAB_FN lab__axis lab__axis_of(const lab__panel *panel, int vertical, double from, double to)
{
    lab__axis a;
    double points[2], bars[2], room, pad;
    int i;
    a.log = (panel->flags & (vertical ? LAB_LOG_Y : LAB_LOG_X)) != 0;
    a.two = !vertical && (panel->flags & LAB_POWERS_OF_TWO);
    a.from = from;
    a.to = to;
    points[0] = points[1] = (double)NAN;
    for (i = 0; i < panel->count; i++) lab__widen(points, &a, vertical ? panel->curves[i].y : panel->curves[i].x, panel->curves[i].n);
    if (!lab__finite(points[0])) points[0] = points[1] = 0;
    bars[0] = points[0];
    bars[1] = points[1];
    for (i = 0; vertical && i < panel->count; i++) {
        lab__widen(bars, &a, panel->curves[i].low, panel->curves[i].n);
        lab__widen(bars, &a, panel->curves[i].high, panel->curves[i].n);
    }
    room = (points[1] - points[0]) / 2;
    if (!(room > 1e-9 * (fabs(points[0]) + 1e-9))) room = a.log ? 0.15 : fabs(points[0]) / 20 + 1e-6;
    a.low = bars[0] > points[0] - room ? bars[0] : points[0] - room;
    a.high = bars[1] < points[1] + room ? bars[1] : points[1] + room;
    pad = 0.06 * (a.high - a.low > room ? a.high - a.low : room);
    a.low -= pad;
    a.high += pad;
    return a;
}

enum { LAB__TICKS = 16 };

/* Whether an axis is labelled in powers of ten: one notation for all of it. */
LAB_FN int lab__in_powers(const double *at, int n)
{
    while (n > 0 && ((fabs(at[n - 1]) >= 1e-4 && fabs(at[n - 1]) < 1e5) || !(fabs(at[n - 1]) > 0))) n--;
    return n > 0;
}

/* 0.25, 2048; in powers 0.25 is 2.5×10⁻¹, and 1 and 10 are themselves */
LAB_FN void lab__print_tick(lab__buffer *b, double x, int in_powers)
{
    static const char *const raised[] = { "⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹" };
    int power = fabs(x) > 0 ? (int)floor(log10(fabs(x)) + 1e-9) : 0;
    char digits[16], *d = digits;
    if (!in_powers || power == 0) {
        lab__print(b, "%.6g", x);
        return;
    }
    x /= pow(10, power);
    if (fabs(x - 1) > 1e-6) lab__print(b, "%.4g×", x);
    snprintf(digits, sizeof digits, "%d", abs(power));
    lab__print(b, power < 0 ? "10⁻" : "10");
    for (; *d && power != 1; d++) lab__print(b, "%s", raised[*d - '0']);
}

/* Whether the ticks' labels stay clear of each other. */
LAB_FN int lab__fit(const lab__axis *a, const double *at, int n)
{
    double wide = 0, before = 0;
    lab__buffer b = { NULL, 0, 0 };
    int good = n <= LAB__TICKS, i;
    for (i = 0; good && i < n; i++, before = wide) {
        b.n = 0;
        lab__print_tick(&b, at[i], lab__in_powers(at, n));
        wide = 7.2 * lab__characters(b.s);
        good = !i || fabs(lab__pixel(a, at[i]) - lab__pixel(a, at[i - 1])) >= (a->from > a->to ? 18 : (wide + before) / 2 + 6);
    }
    free(b.s);
    return good;
}

/* Values to label, at most LAB__TICKS: as many as there is room for. On a logarithmic axis 1, 2, 5 of every decade, or 1, 3, or 1 of every one, two, ... */
LAB_FN int lab__ticks(const lab__axis *a, double *at)
{
    static const int digits[3][3] = { { 1, 2, 5 }, { 1, 3, 0 }, { 1, 0, 0 } };
    double low = a->log ? pow(10, a->low) : a->low, high = a->log ? pow(10, a->high) : a->high, rough, step, x;
    int n = 0, k, j, set, stride;
    if (a->log && a->two) {
        int first = (int)ceil(a->low / log10(2.0)), last = (int)floor(a->high / log10(2.0));
        for (stride = 1 + (last - first) / 9; ; stride++) {
            for (n = 0, k = first; k <= last && n < LAB__TICKS; k += stride) at[n++] = pow(2, k);
            if (n < 2 || lab__fit(a, at, n)) break;
        }
        if (n > 1) return n;
    }
    for (set = 0, stride = 1; a->log && a->high - a->low > 0.9; set < 2 ? set++ : stride++) {
        for (n = 0, k = (int)floor(a->low / stride) * stride; k <= a->high; k += stride)
            for (j = 0; j < 3 - set; j++) {
                x = digits[set][j] * pow(10, k);
                if (log10(x) < a->low || log10(x) > a->high) continue;
                if (n < LAB__TICKS) at[n] = x;
                n++;
            }
        if (n < 2) break;
        if (lab__fit(a, at, n)) return n;
    }
    for (rough = (high - low) / 5; ; rough *= 2) {
        step = pow(10, floor(log10(rough)));
        step *= rough / step < 1.5 ? 1 : rough / step < 3.5 ? 2 : rough / step < 7.5 ? 5 : 10;
        for (n = 0, x = ceil(low / step) * step; x <= high && n < LAB__TICKS; x += step) at[n++] = fabs(x) < step / 1000 ? 0 : x;
        if (n < 3 || lab__fit(a, at, n)) return n;
    }
}

LAB_FN void lab__draw_text(lab__buffer *b, double x, double y, int size, const char *more, const char *text)
{
    lab__print(b, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%d\"%s>", x, y, size, more);
    lab__escape(b, text);
    lab__print(b, "</text>\n");
}

/* Breaks at spaces, as SVG does not break lines. Returns where the next line would stand. */
LAB_FN double lab__draw_lines(lab__buffer *b, double x, double y, double width, int size, const char *more, const char *text)
{
    size_t line = (size_t)(width / (0.55 * size)), from = 0, all = strlen(text);
    while (from < all) {
        size_t n = all - from;
        char *part;
        if (n > line) {
            for (n = line; n > line / 2 && text[from + n] != ' '; n--) continue;
            while (((unsigned char)text[from + n] & 0xc0) == 0x80) n--;
        }
        part = lab__format("%.*s", (int)n, text + from);
        lab__draw_text(b, x, y, size, more, part);
        free(part);
        y += floor(1.35 * size);
        for (from += n; from < all && text[from] == ' '; from++) continue;
    }
    return y;
}

LAB_FN const char *lab__colour(const lab__curve *c)
{
    static const char *const colours[] = { "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#444444" };
    return colours[c->colour % 7];
}

/* How its line is drawn. */
LAB_FN const char *lab__pen(const lab__curve *c)
{
    static const char *const rules[] = { "stroke-width=\"1.5\" stroke-dasharray=\"7 4\"", "stroke-width=\"1.8\" stroke-dasharray=\"2 3\"",
                                         "stroke-width=\"1.5\" stroke-dasharray=\"10 3 2 3\"", "stroke-width=\"1.5\" stroke-dasharray=\"14 4\"" };
    return c->style == LAB_RULE ? rules[c->dash % 4] : c->style == LAB_DASHED ? "stroke-width=\"1.2\" stroke-dasharray=\"4 3\"" : "stroke-width=\"1.8\"";
}

/* A marker: disc, square, triangle, diamond. Filled with its colour, or only drawn around, with something else inside. */
LAB_FN void lab__marker(lab__buffer *b, const lab__curve *c, double x, double y, double r, const char *inside)
{
    char *paint = inside ? lab__format("fill=\"%s\" stroke-width=\"1.5\" stroke=\"%s\"", inside, lab__colour(c)) : lab__format("fill=\"%s\"", lab__colour(c));
    switch (c->colour % 4) {
    case 0: lab__print(b, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" %s/>\n", x, y, r, paint); break;
    case 1: lab__print(b, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" %s/>\n", x - r, y - r, 2 * r, 2 * r, paint); break;
    case 2: lab__print(b, "<path d=\"M%.1f %.1fh%.1fl%.1f %.1fz\" %s/>\n", x - r, y + r, 2 * r, -r, -2 * r, paint); break;
    default: lab__print(b, "<path d=\"M%.1f %.1fl%.1f %.1fl%.1f %.1fl%.1f %.1fz\" %s/>\n", x - r, y, r, -r, r, r, -r, r, paint); break;
    }
    free(paint);
}

LAB_FN int lab__has_bars(const lab__curve *c)
{
    int i;
    for (i = 0; c->low && i < c->n && !lab__finite(c->low[i]); i++) {}
    return c->low && i < c->n && c->style != LAB_RULE;
}

/* Curves with bars stand side by side, symmetric about their x, each with its single seeds: by how many pixels. */
LAB_FN double lab__shift(const lab__panel *panel, int curve)
{
    int all = 0, before = 0, i;
    while (curve > 0 && lab__follows(&panel->curves[curve])) curve--;
    if (!lab__has_bars(&panel->curves[curve])) return 0;
    for (i = 0; i < panel->count; i++) {
        all += lab__has_bars(&panel->curves[i]);
        before += i < curve && lab__has_bars(&panel->curves[i]);
    }
    return (before - (all - 1) / 2.0) * (all > 3 ? 12.0 / (all - 1) : 4);
}

/* An interval. An end outside the frame, as that below 0 on a logarithmic axis, is where the frame is and has no cap. */
LAB_FN void lab__draw_bar(lab__buffer *b, const lab__curve *c, int i, double x, const lab__axis *ay)
{
    double low = lab__pixel(ay, c->low[i]), high = lab__pixel(ay, c->high[i]);
    if (!lab__finite(x) || !lab__finite(c->low[i]) || !lab__finite(high)) return;
    lab__print(b, "<path d=\"M%.1f %.1fV%.1f", x, low <= ay->from ? low : ay->from, high >= ay->to ? high : ay->to);
    if (low <= ay->from) lab__print(b, "M%.1f %.1fh6", x - 3, low);
    if (high >= ay->to) lab__print(b, "M%.1f %.1fh6", x - 3, high);
    lab__print(b, "\" stroke=\"%s\" stroke-opacity=\"0.6\" fill=\"none\"/>\n", lab__colour(c));
}

LAB_FN void lab__draw_rule(lab__buffer *b, const lab__curve *c, int i, const lab__axis *ax, const lab__axis *ay)
{
    double at = c->y ? lab__pixel(ay, c->y[i]) : lab__pixel(ax, c->x[i]);
    if (c->y && c->low && lab__finite(c->low[i]) && lab__finite(lab__pixel(ay, c->high[i]))) {
        double low = lab__pixel(ay, c->low[i]), high = fmax(lab__pixel(ay, c->high[i]), ay->to);
        low = low <= ay->from ? low : ay->from;
        lab__print(b, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\" opacity=\"0.12\"/>\n", ax->from, high, ax->to - ax->from, low - high,
                   lab__colour(c));
    }
    if (!lab__finite(at)) return;
    if (c->y) lab__print(b, "<path d=\"M%.1f %.1fH%.1f\"", ax->from, at, ax->to);
    else lab__print(b, "<path d=\"M%.1f %.1fV%.1f\"", at, ay->from, ay->to);
    lab__print(b, " %s stroke=\"%s\"/>\n", lab__pen(c), lab__colour(c));
}

LAB_FN void lab__draw_curve(lab__buffer *b, const lab__curve *c, double shift, const lab__axis *ax, const lab__axis *ay)
{
    int dots = c->style == LAB_DOTS, joined = !dots && c->style != LAB_POINTS, pen = 0, i;
    double *x = (double *)lab__new(2 * (size_t)c->n, sizeof *x), *y = x + c->n;
    for (i = 0; i < c->n; i++) {
        x[i] = lab__pixel(ax, c->x[i]) + shift;
        y[i] = ay->log && fabs(c->y[i]) <= 0 ? ay->from : lab__pixel(ay, c->y[i]);
    }
    if (dots) lab__print(b, "<g opacity=\"0.4\">\n");
    for (i = 0; c->low && i < c->n; i++) lab__draw_bar(b, c, i, x[i], ay);
    if (joined) lab__print(b, "<path fill=\"none\" %s stroke=\"%s\" d=\"", lab__pen(c), lab__colour(c));
    for (i = 0; joined && i < c->n; i++) {
        int there = lab__finite(x[i]) && lab__finite(y[i]);
        if (there) lab__print(b, "%c%.1f %.1f", pen ? 'L' : 'M', x[i], y[i]);
        pen = there;
    }
    if (joined) lab__print(b, "\"/>\n");
    for (i = 0; lab__has_markers(c) && i < c->n; i++)
        if (lab__finite(x[i]) && lab__finite(y[i]))
            lab__marker(b, c, x[i], y[i], dots ? 2.5 : c->style == LAB_POINTS ? 6.5 : 3.6, c->style == LAB_POINTS ? "none" : ay->log && !(c->y[i] > 0) ? "#fcfcfa" : NULL);
    if (dots) lab__print(b, "</g>\n");
    free(x);
}

/* An axis' ticks: a line across the panel and a label for some, and small unlabelled ones for the other digits of a decade, or for decades. */
LAB_FN void lab__draw_ticks(lab__buffer *b, const lab__axis *a, const lab__axis *across, int vertical)
{
    double at[LAB__TICKS], edge = across->from;
    lab__buffer tick = { NULL, 0, 0 };
    int n = lab__ticks(a, at), i, k;
    for (k = (int)floor(a->low); a->log && !a->two && k <= a->high; k++)
        for (i = 1; i < (a->high - a->low > 4 ? 2 : 10); i++) {
            double p = lab__pixel(a, i * pow(10, k));
            if ((p - a->from) * (p - a->to) > 0) continue;
            if (vertical) lab__print(b, "<path d=\"M%.1f %.1fh-4\" stroke=\"#777\"/>\n", edge, p);
            else lab__print(b, "<path d=\"M%.1f %.1fv4\" stroke=\"#777\"/>\n", p, edge);
        }
    for (i = 0; i < n; i++) {
        double p = lab__pixel(a, at[i]);
        tick.n = 0;
        lab__print_tick(&tick, at[i], lab__in_powers(at, n));
        if (vertical) lab__print(b, "<path d=\"M%.1f %.1fH%.1f\" stroke=\"#e2e2de\"/>\n", edge, p, across->to);
        else lab__print(b, "<path d=\"M%.1f %.1fV%.1f\" stroke=\"#e2e2de\"/>\n", p, edge, across->to);
        if (vertical) lab__draw_text(b, edge - 7, p + 4, 12, " text-anchor=\"end\"", tick.s);
        else lab__draw_text(b, p, edge + 18, 12, " text-anchor=\"middle\"", tick.s);
    }
    free(tick.s);
}

/* Names of curves, in lines. Returns where the last line stands. */
LAB_FN double lab__draw_legend(lab__buffer *b, const lab__panel *panel, double left, double right, double y)
{
    double x = left;
    int i;
    for (i = 0; i < panel->count; i++) {
        const lab__curve *c = &panel->curves[i];
        double room = 46 + 6.6 * lab__characters(c->name);
        if (!*c->name || !c->n) continue;
        if (x > left && x + room > right + 14) {
            x = left;
            y += 17;
        }
        if (c->style == LAB_RULE && c->y && c->low)
            lab__print(b, "<rect x=\"%.1f\" y=\"%.1f\" width=\"28\" height=\"10\" fill=\"%s\" opacity=\"0.12\"/>\n", x, y - 9, lab__colour(c));
        if (c->style != LAB_DOTS && c->style != LAB_POINTS)
            lab__print(b, "<path d=\"M%.1f %.1fh28\" %s stroke=\"%s\"/>\n", x, y - 4, lab__pen(c), lab__colour(c));
        if (lab__has_markers(c)) lab__marker(b, c, x + 14, y - 4, c->style == LAB_POINTS ? 6.5 : 3.6, c->style == LAB_POINTS ? "none" : NULL);
        lab__draw_text(b, x + 33, y, 12, "", c->name);
        x += room;
    }
    return y;
}

enum { LAB__WIDE = 420, LAB__PER_ROW = 2 }; /* pixels of a panel, panels in a row */

/* Returns where it ends. */
LAB_FN double lab__draw_panel(lab__buffer *b, const lab__panel *panel, int index, double x0, double y0)
{
    const double left = x0 + 74, right = x0 + (LAB__WIDE - 18), top = y0 + 28, bottom = y0 + 264;
    lab__axis ax = lab__axis_of(panel, 0, left, right), ay = lab__axis_of(panel, 1, bottom, top);
    int i, layer;
    lab__draw_text(b, (left + right) / 2, y0 + 15, 14, " text-anchor=\"middle\" font-weight=\"600\"", panel->title);
    lab__draw_ticks(b, &ax, &ay, 0);
    lab__draw_ticks(b, &ay, &ax, 1);
    lab__print(b, "<path d=\"M%.1f %.1fV%.1fH%.1f\" stroke=\"#777\" fill=\"none\"/>\n", left, top, bottom, right);
    lab__draw_text(b, (left + right) / 2, bottom + 38, 13, " text-anchor=\"middle\"", panel->labels[0]);
    lab__print(b, "<g transform=\"translate(%.1f %.1f) rotate(-90)\">\n", x0 + 17, (top + bottom) / 2);
    lab__draw_text(b, 0, 0, 13, " text-anchor=\"middle\"", panel->labels[1]);
    lab__print(b, "</g>\n<clipPath id=\"panel%d\"><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/></clipPath>\n<g clip-path=\"url(#panel%d)\">\n", index,
               left - 6, top - 6, right - left + 12, bottom - top + 12, index); /* the margin is for markers */
    for (layer = 0; layer < 3; layer++) /* rules, single seeds, curves */
        for (i = 0; i < panel->count; i++) {
            const lab__curve *c = &panel->curves[i];
            int k;
            if (layer != (c->style == LAB_RULE ? 0 : c->style == LAB_DOTS ? 1 : 2)) continue;
            for (k = 0; !layer && k < c->n; k++) lab__draw_rule(b, c, k, &ax, &ay);
            if (layer) lab__draw_curve(b, c, lab__shift(panel, i), &ax, &ay);
        }
    lab__print(b, "</g>\n");
    return lab__draw_legend(b, panel, left, right, bottom + 62);
}

LAB_FN char *lab_plot_svg(const lab_plot *p, const char *caption)
{
    int columns = p->count < LAB__PER_ROW ? (p->count > 0 ? p->count : 1) : LAB__PER_ROW, i;
    double width = columns * LAB__WIDE + 20, y, end;
    lab__buffer b = { NULL, 0, 0 }, inside = { NULL, 0, 0 };
    end = y = lab__draw_lines(&inside, 20, 28, 0.9 * (width - 40), 17, " font-weight=\"600\"", p->title);
    for (i = 0; i < p->count; i++) {
        double bottom;
        if (i && i % columns == 0) y = end + 20;
        bottom = lab__draw_panel(&inside, &p->panels[i], i, 5.0 + i % columns * LAB__WIDE, y);
        end = i % columns ? fmax(end, bottom) : bottom;
    }
    end = lab__draw_lines(&inside, 20, end + 32, width - 40, 12, " fill=\"#555\"", caption);
    lab__print(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" ", width, end, width, end);
    lab__print(&b, "font-family=\"system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Helvetica, Arial, sans-serif\" fill=\"#222\">\n<title>");
    lab__escape(&b, p->title);
    lab__print(&b, "</title>\n<rect x=\"0.5\" y=\"0.5\" width=\"%.0f\" height=\"%.0f\" rx=\"8\" fill=\"#fcfcfa\" stroke=\"#d8d8d4\"/>\n", width - 1, floor(end) - 1);
    if (inside.n) lab__put(&b, inside.s, inside.n);
    lab__print(&b, "</svg>\n");
    free(inside.s);
    return b.s;
}

LAB_FN void lab__plot_free(lab_plot *p)
{
    int i, k;
    for (i = 0; i < p->count; i++) {
        lab__panel *panel = &p->panels[i];
        for (k = 0; k < panel->count; k++) {
            free(panel->curves[k].name); free(panel->curves[k].x); free(panel->curves[k].y); free(panel->curves[k].low);
            free(panel->curves[k].high);
        }
        free(panel->curves); free(panel->title); free(panel->labels[0]); free(panel->labels[1]);
    }
    free(p->panels); free(p->title); free(p);
}

/* Whether a curve has points on the frame of a logarithmic axis, which are 0. */
LAB_FN int lab__has_zeros(const lab__panel *panel, const lab__curve *c)
{
    int i;
    for (i = 0; i < c->n; i++)
        if (lab__has_markers(c) && panel->flags & LAB_LOG_Y && fabs(c->y[i]) <= 0) return 1;
    return 0;
}

LAB_FN void lab_plot_save(lab_plot *p, lab *l, const char *caption, ...)
{
    char *path = lab__path(l, ".svg"), *part = l->locks_open ? lab__format("%s.tmp", path) : lab__format("%s.%ld.tmp", path, lab__process()), *svg;
    lab__buffer b = { NULL, 0, 0 };
    va_list args;
    double sample = l->config_count ? lab__record_get(&l->cells[0].row.settings, "sample") : (double)NAN;
    int i, k, j, dots = 0, zeros = 0, below = 0, images = sample > 0 ? (int)sample : l->train.n;
    for (i = 0; i < p->count; i++)
        for (k = 0; k < p->panels[i].count; k++) {
            dots |= p->panels[i].curves[k].style == LAB_DOTS;
            zeros |= lab__has_zeros(&p->panels[i], &p->panels[i].curves[k]);
            for (j = 0; p->panels[i].flags & LAB_LOG_Y && p->panels[i].curves[k].low && j < p->panels[i].curves[k].n; j++)
                below |= p->panels[i].curves[k].low[j] <= 0;
        }
    va_start(args, caption);
    lab__vprint(&b, caption, args);
    va_end(args);
    if (l->seed_count > 1) lab__print(&b, " Means over %d seeds with 95 %% intervals%s.", l->seed_count, dots ? "; faint points are single seeds" : "");
    if (below) lab__print(&b, " Bars without a lower end reach to 0 or below.");
    if (zeros) lab__print(&b, " Hollow points on the frame are 0.");
    lab__print(&b, " Data: %s, %d ", l->dataset_title, images);
    if (images < l->whole.n) lab__print(&b, "of %d ", l->whole.n);
    lab__print(&b, "training and %d test images. %s", l->test.n, l->seed_count > 1 ? "Seeds" : "Seed");
    for (i = 0; i < l->seed_count && i < 12; i++) lab__print(&b, "%s %.0f", i ? "," : "", l->seeds[i]);
    if (l->seed_count > 12) lab__print(&b, " ... %.0f", l->seeds[l->seed_count - 1]);
    lab__print(&b, ". genreg %s", GENREG_VERSION);
    for (i = 0; i < l->config_count * l->seed_count; i++) { /* the instruction sets that the rows are from */
        const char *isa = lab__record_get_text(&l->cells[i].row.head, "isa");
        int named = l->cells[i].state != LAB__DONE;
        for (k = 0; k < i && !named; k++) named = l->cells[k].state == LAB__DONE && !strcmp(isa, lab__record_get_text(&l->cells[k].row.head, "isa"));
        if (!named) lab__print(&b, ", %s", isa);
    }
    lab__print(&b, ".");
    svg = lab_plot_svg(p, b.s);
    if (l->locks_open) lab__lock(l->locks, LAB__ROWS_BYTE, LAB__WAIT); /* two processes may draw at once */
    if (!lab__write_file(path, part, svg, strlen(svg))) {
        fflush(stdout);
        fprintf(stderr, "%s: cannot write %s: %s\n", l->experiment->name, path, strerror(errno));
        l->status = 1;
    } else printf("plot: %s\n", path);
    if (l->locks_open) lab__lock(l->locks, LAB__ROWS_BYTE, LAB__DROP);
    lab__plot_free(p);
    free(svg); free(b.s); free(path); free(part);
}

#endif /* LAB_H */
