/* genreg.h - train overparameterized networks and see why they generalize.     Public API version 0.1.0
   No warranty implied; use at your own risk. Licence (MIT) at the end of the file. "The paper" below is Z. Johannsen, Implicit
   Regularization and Generalization in Overparameterized Neural Networks, arXiv 2604.07603, 2026, whose experiments it reproduces.

   Do this

      #define GENREG_IMPLEMENTATION

   before you include this file in *one* C or C++ file to create the implementation:

      // i.e. it should look like this:
      #define GENREG_IMPLEMENTATION
      #include "genreg.h"

   Other files include "genreg.h" without the define. A whole program:

      #define GENREG_IMPLEMENTATION
      #include "genreg.h"
      #include <stdio.h>

      int main(void)
      {
          genreg_ctx *c = genreg_create(NULL);
          genreg_dataset train, test;
          genreg_load_mnist(c, "data/mnist", &train, &test);

          int sizes[] = { 784, 512, 512, 10 };
          genreg_model *net = genreg_mlp(c, sizes, 4);
          genreg_train_options o = genreg_train_defaults();
          o.batch = 32; o.lr = 0.005; o.epochs = 10; o.seed = 1;
          genreg_train(net, &train, &o);

          genreg_score s = genreg_evaluate(net, &test);
          genreg_eigen top = genreg_hessian_top(net, &train, NULL);
          if (genreg_error(c)) { fprintf(stderr, "%s\n", genreg_error_message(c)); return 1; }
          printf("test %.2f %%, top Hessian eigenvalue %.3f (residual %.0e)\n", 100 * s.accuracy, top.value, top.residual);
          genreg_destroy(c);
          return 0;
      }

      cc -O2 -fopenmp program.c -o program -lm          (-fopenmp is optional)

   It reads the four unpacked files of MNIST in data/mnist (data_fetch.sh gets them), and prints one line.
   And one floor down: the parameters of a model are one tensor theta, so a gradient is one tensor of its shape
   and a Hessian-vector product is two lines:

      genreg_grad(c, loss, NULL, &theta, 1, &g);
      genreg_grad(c, genreg_dot(c, g, v), NULL, &theta, 1, &Hv);

   CONTENTS
      The API: errors, contexts, random numbers, tensors, operations, gradients, datasets, models, training, curvature,
          tangent kernels, pruning, files
      The implementation, ground floor first (search for the tag)
          >>platform >>errors >>memory >>math >>rng >>kernels >>linalg >>tape >>ops >>grad >>model >>data >>train >>curvature
          >>ntk >>prune >>files
      Version history and licence

   OPTIONS, defined before the include; all but GENREG_IMPLEMENTATION alike in every file that includes it
      GENREG_IMPLEMENTATION        this file holds the code
      GENREG_STATIC                a private copy for one file: all functions static; the compiler drops the unused ones
      GENREGDEF                    what stands before each public prototype (default: extern)
      GENREG_REAL                  float (default) or double, alike in all files: a file with the other type does not link if it calls
                                   a function that takes or makes genreg_real; what it reads through a tensor's data is not checked
      GENREG_MALLOC(n) GENREG_REALLOC(p, n) GENREG_FREE(p)    your allocator, all three or none (REALLOC is reserved: not called today)
      GENREG_ASSERT(x)             checks of the library's own logic (default: none); never of your input
      GENREG_NO_STDIO              no files: leaves out what reads or writes them
      GENREG_NO_SIMD               plain C only

   RULES
      Shapes     Row-major, at most GENREG_MAX_RANK axes, every extent an int of at least 1, rank 0 is a scalar. A batch is the first
                 axis; images are channels-last (N, H, W, C). Tensors are always contiguous.
      Ownership  Two lifetimes. Tensors that functions return live on the context's tape until genreg_release to a mark
                 set before them, or until genreg_destroy. Models and trainers live until their free function, datasets until
                 genreg_destroy. What you pass in stays yours and must outlive what was made of it; between an operation and
                 its gradient, and while a Hessian is open, the values that went in must not change.
      Errors     The first error stays in the context, so you check once, where it suits you. From then on every function that
                 computes does nothing and returns its error value: NULL, 0, NaN, a dataset, batch or objective of zeros, or a
                 struct whose figures are NaN. Freeing, releasing and reading figures go on working. A NULL tensor is
                 GENREG_ERROR_ARGUMENT; a NULL context, model, trainer or Hessian makes a function do nothing and return its
                 error value. The library never aborts or prints.
      Options    Start from genreg_..._defaults() and change what you like; NULL is the defaults; a struct of zeros is not. Option
                 structs are copied. genreg_pass and genreg_objective have no defaults: start them from zeros.
      Threads    One thread at a time in a context; any number of contexts side by side, nothing is shared. Functions that take no
                 context nor anything made in one may be called by any thread at any time. Datasets are only read: other contexts
                 may use them while theirs lives. Inside, OpenMP splits the work; results have the same bits for any number of
                 threads.
      Numbers    Random numbers are a function of (seed, stream, index). Results depend on GENREG_REAL, on the instruction set
                 (genreg_isa_name) and, by rounding, on the chunks that the memory option allows (1e-5 relative in float); and on
                 nothing else: not on -O, -std, -march or the C library's exp and log. Not under -ffast-math, which is an #error.

   WHAT IT DOES NOT DO
      GPUs, mixed precision, recurrent nets or attention, graphs compiled ahead, more than one machine in one run.
*/
#ifndef GENREG_H
#define GENREG_H

#include <stddef.h>
#include <stdint.h>

#define GENREG_VERSION "0.1.0" /* of the API; written into files, and beside results */

#ifndef GENREG_REAL
#define GENREG_REAL float
#endif

#if defined(__GNUC__)
#define GENREG__MAYBE_UNUSED __attribute__((unused))
#else
#define GENREG__MAYBE_UNUSED
#endif

#ifdef GENREG_STATIC
#define GENREG__API static GENREG__MAYBE_UNUSED
#elif defined(GENREGDEF)
#define GENREG__API GENREGDEF
#else
#define GENREG__API extern
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* float or double, chosen by GENREG_REAL */
typedef GENREG_REAL genreg_real;

/* Whether genreg_real is double, for the preprocessor. */
#define GENREG__IS_float 0
#define GENREG__IS_double 1
#define GENREG__PASTE2(a, b) a##b
#define GENREG__PASTE(a, b) GENREG__PASTE2(a, b)
#define GENREG_REAL_IS_DOUBLE GENREG__PASTE(GENREG__IS_, GENREG_REAL)

/* Functions that take or hand out genreg_real, and those that make what it is kept in, have other names in double: so a float file and a
   double file fail to link instead of to run. */
#if GENREG_REAL_IS_DOUBLE
#define genreg_create genreg_create_double
#define genreg_constant genreg_constant_double
#define genreg_variable genreg_variable_double
#define genreg_scalar genreg_scalar_double
#define genreg_full genreg_full_double
#define genreg_item genreg_item_double
#define genreg_normal_fill genreg_normal_fill_double
#define genreg_batch_norm genreg_batch_norm_double
#define genreg_grad genreg_grad_double
#define genreg_gradient_into genreg_gradient_into_double
#define genreg_dataset_reals genreg_dataset_reals_double
#define genreg_get_batch genreg_get_batch_double
#define genreg_get_augmented_batch genreg_get_augmented_batch_double
#define genreg_one_hot genreg_one_hot_double
#define genreg_model_create genreg_model_create_double
#define genreg_mlp genreg_mlp_double
#define genreg_cnn genreg_cnn_double
#define genreg_forward genreg_forward_double
#define genreg_evaluate_at genreg_evaluate_at_double
#define genreg_train genreg_train_double
#define genreg_trainer_create genreg_trainer_create_double
#define genreg_objective_gradient genreg_objective_gradient_double
#define genreg_hessian_product genreg_hessian_product_double
#define genreg_hessian_top genreg_hessian_top_double
#define genreg_hessian_eigen genreg_hessian_eigen_double
#define genreg_hessian_eigenpairs genreg_hessian_eigenpairs_double
#define genreg_perturbation_direction genreg_perturbation_direction_double
#define genreg_prune_by genreg_prune_by_double
#define genreg_prune_scores genreg_prune_scores_double
#define genreg_load_model genreg_load_model_double
#define genreg_save_npy genreg_save_npy_double
#define genreg_load_npy genreg_load_npy_double
#endif

/* ---------------------------------------------------------------------------------------------------- errors */

/* SHAPE is for extents that do not fit; ARGUMENT for NULL, a number out of its range, and calls in a wrong order; LIMIT for a full tape or a size
   beyond an int, where less at a time would do; MEMORY if malloc fails; FILE and FORMAT are for files. */
#define GENREG_STATUSES(X)                                                                   \
    X(GENREG_OK, "no error")                                                                 \
    X(GENREG_ERROR_MEMORY, "the system has no more memory")                                  \
    X(GENREG_ERROR_LIMIT, "too much at once for the context's memory option, or for an int") \
    X(GENREG_ERROR_SHAPE, "shapes do not fit together")                                      \
    X(GENREG_ERROR_ARGUMENT, "an argument is missing, or out of its range")                  \
    X(GENREG_ERROR_NO_RULE, "an operation on the path from y to x has no derivative")        \
    X(GENREG_ERROR_FILE, "a file cannot be opened, read or written")                         \
    X(GENREG_ERROR_FORMAT, "a file does not hold what it should")                            \
    X(GENREG_ERROR_DIVERGED, "a loss, parameter or score became NaN or infinite")

typedef enum genreg_status {
#define GENREG__STATUS_ENUM(name, text) name,
    GENREG_STATUSES(GENREG__STATUS_ENUM)
#undef GENREG__STATUS_ENUM
    GENREG_STATUS_COUNT
} genreg_status;

/* ---------------------------------------------------------------------------------------------------- contexts */

typedef struct genreg_ctx genreg_ctx;

/* Instruction sets. AUTO takes the best one that this machine runs. PLAIN is straight C, the twin that the others are
   tested against; BASELINE is what every processor of this architecture has. */
typedef enum genreg_isa { GENREG_ISA_AUTO, GENREG_ISA_PLAIN, GENREG_ISA_BASELINE, GENREG_ISA_AVX2, GENREG_ISA_AVX512 } genreg_isa;

typedef struct genreg_options {
    size_t memory;  /* bytes that the tape may take, default (and 0) 1 GiB: larger problems run in chunks; a training batch must fit. Not counted:
                       models, datasets, the optimiser's state, Lanczos vectors, packing space of products */
    int threads;    /* at most; default 0: as many as OpenMP gives; always 1 without OpenMP. Training tries fewer too, and keeps what is fastest */
    genreg_isa isa; /* default GENREG_ISA_AUTO */
} genreg_options;

GENREG__API genreg_options genreg_defaults(void);

/* A new context. Returns NULL when out of memory, and every function takes that NULL: it can be tested at the end, as
   genreg_error(NULL) is GENREG_ERROR_MEMORY. An instruction set that this machine lacks gives a context with the error set. */
GENREG__API genreg_ctx *genreg_create(const genreg_options *options);

/* Frees the context and all that lives in it: tape, models, datasets, trainers. */
GENREG__API void genreg_destroy(genreg_ctx *c);

/* The first error since the context was made or cleared; GENREG_OK if none. */
GENREG__API genreg_status genreg_error(const genreg_ctx *c);

/* One line that names the operation, shapes or file and, where there is one, the way out. "" without an error.
   The text lives in the context until the error is cleared. */
GENREG__API const char *genreg_error_message(const genreg_ctx *c);

/* What a status means in general. */
GENREG__API const char *genreg_status_text(genreg_status s);

/* Forgets the error, so that the context can go on. Everything made before the error is as it was. */
GENREG__API void genreg_clear_error(genreg_ctx *c);

/* Sets an error of your own, for loss callbacks; ignored if there is one already. The text is copied (and cut at 255). */
GENREG__API void genreg_set_error(genreg_ctx *c, genreg_status s, const char *message);

/* Use at most this many threads from now on, 0 as in genreg_options; results do not depend on it. */
GENREG__API void genreg_set_threads(genreg_ctx *c, int threads);

/* "plain", "baseline", "avx2" or "avx512": the instruction set in use, to be written beside every result. */
GENREG__API const char *genreg_isa_name(const genreg_ctx *c);

/* Whether this build on this machine can run the given instruction set. */
GENREG__API int genreg_isa_available(genreg_isa isa);

/* A place on the tape. Marks nest: release the later one first. */
typedef struct genreg_place {
    size_t block, used, bytes; /* private */
    ptrdiff_t nodes;
} genreg_place;

GENREG__API genreg_place genreg_mark(genreg_ctx *c);

/* Frees what was put on the tape since the mark: tensors, the labels of batches, arrays of genreg_load_npy_doubles. Memory stays with the
   context, so that a loop of equal steps allocates nothing. Marks out of order are an error where it can tell. */
GENREG__API void genreg_release(genreg_ctx *c, genreg_place p);

/* Bytes of tape in use, and the most that ever were: what the memory option counts. */
GENREG__API size_t genreg_tape_bytes(const genreg_ctx *c);
GENREG__API size_t genreg_tape_peak(const genreg_ctx *c);

/* ---------------------------------------------------------------------------------------------------- random numbers */

/* Numbers by counter (Philox4x32-10; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): the same arguments
   give the same number on every machine, in any order. Uniform is in (0, 1), never 0 or 1; normal is N(0, 1) through the
   inverse distribution function (Wichura, AS 241, 1988). The library's own draws use streams from 2^48 on: yours are free below. */
GENREG__API double genreg_uniform(uint64_t seed, uint64_t stream, uint64_t index);
GENREG__API double genreg_normal(uint64_t seed, uint64_t stream, uint64_t index);

/* out[i] = genreg_normal(seed, stream, i) for i < n. */
GENREG__API void genreg_normal_fill(genreg_real *out, ptrdiff_t n, uint64_t seed, uint64_t stream);

/* A random order of 0 ... n-1 in out (Fisher and Yates). */
GENREG__API void genreg_permutation(int *out, int n, uint64_t seed, uint64_t stream);

/* ---------------------------------------------------------------------------------------------------- tensors */

enum { GENREG_MAX_RANK = 6 };

typedef struct genreg_tensor {
    genreg_real *data; /* size values, row-major */
    ptrdiff_t size;    /* product of the extents */
    int rank;
    int shape[GENREG_MAX_RANK];
    /* The rest belongs to the tape. */
    int tracked;                      /* derivatives flow through it */
    int needed;                       /* during a sweep: it leads to an x */
    int uses;                         /* during a sweep that consumes: how many operations it went into */
    ptrdiff_t node;                   /* its place on the tape, -1 for a leaf */
    const struct genreg__op *op;      /* what made it, NULL for a leaf */
    struct genreg_tensor **in;        /* what it was made of */
    int inputs;
    void *attr;                       /* what else its rule needs */
    struct genreg__adjoint *adjoint;  /* during a sweep */
} genreg_tensor;

/* A constant over your memory (no copy), or over new zeros if data is NULL. */
GENREG__API genreg_tensor *genreg_constant(genreg_ctx *c, int rank, const int *shape, genreg_real *data);

/* The same as a variable: what is computed from it is recorded and can be differentiated by it. */
GENREG__API genreg_tensor *genreg_variable(genreg_ctx *c, int rank, const int *shape, genreg_real *data);

/* A constant with x's values (the same memory): derivatives stop here. */
GENREG__API genreg_tensor *genreg_detach(genreg_ctx *c, genreg_tensor *x);

/* A constant scalar, and a constant of a shape filled with one value. */
GENREG__API genreg_tensor *genreg_scalar(genreg_ctx *c, double value);
GENREG__API genreg_tensor *genreg_full(genreg_ctx *c, int rank, const int *shape, double value);

/* The value of a tensor of one element; NaN for anything else. */
GENREG__API double genreg_item(const genreg_tensor *x);

/* ---------------------------------------------------------------------------------------------------- operations

   Each computes at once and returns a tensor on the tape, recorded if an input is tracked; NULL after an error.
   Each can be differentiated any number of times. */

/* a op b, elementwise, with NumPy's broadcasting: shapes are aligned at the last axis and extents of 1 are repeated. */
GENREG__API genreg_tensor *genreg_add(genreg_ctx *c, genreg_tensor *a, genreg_tensor *b);
GENREG__API genreg_tensor *genreg_sub(genreg_ctx *c, genreg_tensor *a, genreg_tensor *b);
GENREG__API genreg_tensor *genreg_mul(genreg_ctx *c, genreg_tensor *a, genreg_tensor *b);
GENREG__API genreg_tensor *genreg_div(genreg_ctx *c, genreg_tensor *a, genreg_tensor *b);

GENREG__API genreg_tensor *genreg_neg(genreg_ctx *c, genreg_tensor *x);
GENREG__API genreg_tensor *genreg_scale(genreg_ctx *c, genreg_tensor *x, double s); /* s x */
GENREG__API genreg_tensor *genreg_exp(genreg_ctx *c, genreg_tensor *x);
GENREG__API genreg_tensor *genreg_log(genreg_ctx *c, genreg_tensor *x);             /* natural; NaN below 0 */
GENREG__API genreg_tensor *genreg_sqrt(genreg_ctx *c, genreg_tensor *x);
GENREG__API genreg_tensor *genreg_pow(genreg_ctx *c, genreg_tensor *x, double p);   /* x^p; x >= 0 unless p is whole */
GENREG__API genreg_tensor *genreg_tanh(genreg_ctx *c, genreg_tensor *x);
GENREG__API genreg_tensor *genreg_sigmoid(genreg_ctx *c, genreg_tensor *x);         /* 1 / (1 + exp(-x)) */
GENREG__API genreg_tensor *genreg_softplus(genreg_ctx *c, genreg_tensor *x);        /* log(1 + exp(x)) */
GENREG__API genreg_tensor *genreg_relu(genreg_ctx *c, genreg_tensor *x);            /* max(x, 0); derivative 0 at 0 */
GENREG__API genreg_tensor *genreg_abs(genreg_ctx *c, genreg_tensor *x);             /* derivative 0 at 0 */

/* -1, 0 or 1 by the sign of x, as a constant: it is flat wherever it has a derivative. */
GENREG__API genreg_tensor *genreg_sign(genreg_ctx *c, genreg_tensor *x);

/* op(a) op(b) for matrices, op = transpose where ta or tb is 1: [m,k] x [k,n] -> [m,n]. */
GENREG__API genreg_tensor *genreg_matmul(genreg_ctx *c, genreg_tensor *a, genreg_tensor *b, int ta, int tb);

/* x w + b, followed by ReLU if relu is 1: x [n,in], w [in,out], b [out] or NULL -> [n,out]. */
GENREG__API genreg_tensor *genreg_affine(genreg_ctx *c, genreg_tensor *x, genreg_tensor *w, genreg_tensor *b, int relu);

/* x * w + b for images, followed by ReLU if relu is 1: x [n,height,width,in], w [kernel height,kernel width,in,out], b [out] or NULL
   -> [n,(height + 2 padding - kernel height)/stride + 1,...,out], rounded down. Padding is zeros; w is not flipped, as in PyTorch:
   y[n,i,j,o] = sum over u, v, c of x[n, i stride + u - padding, j stride + v - padding, c] w[u,v,c,o] + b[o]. */
GENREG__API genreg_tensor *genreg_conv2d(genreg_ctx *c, genreg_tensor *x, genreg_tensor *w, genreg_tensor *b, int stride, int padding, int relu);

/* Maximum over windows of size x size: [n,h,w,c] -> [n,(h - size)/stride + 1,(w - size)/stride + 1,c], rounded down; the derivative goes to
   the first of equals. Their mean, with stride = size. The mean of the whole image: [n,h,w,c] -> [n,c]. */
GENREG__API genreg_tensor *genreg_max_pool(genreg_ctx *c, genreg_tensor *x, int size, int stride);
GENREG__API genreg_tensor *genreg_avg_pool(genreg_ctx *c, genreg_tensor *x, int size);
GENREG__API genreg_tensor *genreg_global_avg_pool(genreg_ctx *c, genreg_tensor *x);

/* gamma (x - mean)/sqrt(var + eps) + beta by channel (the last axis), mean and biased variance over all other axes (two values or more),
   followed by ReLU if relu is 1 (Ioffe and Szegedy 2015). gamma, beta [channels]; mean and var, if not NULL, get the statistics: channels
   values each. */
GENREG__API genreg_tensor *genreg_batch_norm(genreg_ctx *c, genreg_tensor *x, genreg_tensor *gamma, genreg_tensor *beta, double eps, int relu,
                                             genreg_real *mean, genreg_real *var);

/* s x + t by channel (the last axis), followed by ReLU if relu is 1: s, t [channels]. */
GENREG__API genreg_tensor *genreg_scale_shift(genreg_ctx *c, genreg_tensor *x, genreg_tensor *s, genreg_tensor *t, int relu);

/* The sum of a b over all elements, for equal shapes: a scalar. */
GENREG__API genreg_tensor *genreg_dot(genreg_ctx *c, genreg_tensor *a, genreg_tensor *b);

/* Sum, mean or maximum over a set of axes, e.g. GENREG_AXIS(0) | GENREG_AXIS(2). The axes stay, with extent 1, so that the
   result broadcasts against x; over GENREG_ALL_AXES it is a scalar (rank 0). The derivative of a maximum goes to its first place. */
#define GENREG_AXIS(i) (1u << (i))
#define GENREG_ALL_AXES (~0u)
GENREG__API genreg_tensor *genreg_sum(genreg_ctx *c, genreg_tensor *x, unsigned axes);
GENREG__API genreg_tensor *genreg_mean(genreg_ctx *c, genreg_tensor *x, unsigned axes);
GENREG__API genreg_tensor *genreg_max(genreg_ctx *c, genreg_tensor *x, unsigned axes);

/* expand repeats x to a shape that it broadcasts to; sum_to is its transpose (its backward rule): it adds up x to a shape that broadcasts to x's. */
GENREG__API genreg_tensor *genreg_expand(genreg_ctx *c, genreg_tensor *x, int rank, const int *shape);
GENREG__API genreg_tensor *genreg_sum_to(genreg_ctx *c, genreg_tensor *x, int rank, const int *shape);

/* The same values in another shape of the same size; one extent may be -1 (found from the rest). No copy. */
GENREG__API genreg_tensor *genreg_reshape(genreg_ctx *c, genreg_tensor *x, int rank, const int *shape);

/* A tensor of this shape over x->data[offset ...]. No copy. The sweep joins the adjoints of all views of a tensor once. */
GENREG__API genreg_tensor *genreg_view(genreg_ctx *c, genreg_tensor *x, ptrdiff_t offset, int rank, const int *shape);

/* Axis i of the result is axis axes[i] of x; genreg_transpose swaps the two axes of a matrix. */
GENREG__API genreg_tensor *genreg_permute(genreg_ctx *c, genreg_tensor *x, const int *axes);
GENREG__API genreg_tensor *genreg_transpose(genreg_ctx *c, genreg_tensor *x);

/* Entries start ... start+count-1 along an axis, and tensors one after another along an axis. */
GENREG__API genreg_tensor *genreg_slice(genreg_ctx *c, genreg_tensor *x, int axis, int start, int count);
GENREG__API genreg_tensor *genreg_join(genreg_ctx *c, genreg_tensor *const *xs, int n, int axis);

/* gather: row i of the result is row index[i] of x (rows: the first axis), n rows. scatter: row r of the result, which has `rows` rows, is the
   sum of the rows i of x with index[i] = r, for x->shape[0] indices. PyTorch's index_select and index_add. The index is copied. */
GENREG__API genreg_tensor *genreg_gather(genreg_ctx *c, genreg_tensor *x, const int *index, int n);
GENREG__API genreg_tensor *genreg_scatter(genreg_ctx *c, genreg_tensor *x, const int *index, int rows);

/* x - logsumexp(x), and log(sum of exp(x)): over the last axis, which keeps extent 1 in logsumexp. */
GENREG__API genreg_tensor *genreg_log_softmax(genreg_ctx *c, genreg_tensor *x);
GENREG__API genreg_tensor *genreg_logsumexp(genreg_ctx *c, genreg_tensor *x);

/* Mean over samples of -log softmax(logits)[label]: logits [n,classes], n labels in 0 ... classes-1 (copied) -> scalar. */
GENREG__API genreg_tensor *genreg_cross_entropy(genreg_ctx *c, genreg_tensor *logits, const int *labels);

/* Mean over all elements of (a - b)^2, as PyTorch's MSELoss. */
GENREG__API genreg_tensor *genreg_mse(genreg_ctx *c, genreg_tensor *a, genreg_tensor *b);

/* x with each element 0 with probability p in [0, 1), else divided by 1-p (Srivastava et al. 2014); x itself if p is 0. The draws are those
   of (seed, stream). */
GENREG__API genreg_tensor *genreg_dropout(genreg_ctx *c, genreg_tensor *x, double p, uint64_t seed, uint64_t stream);

/* ---------------------------------------------------------------------------------------------------- gradients */

/* grads[i] = d<seed, y>/d xs[i], on the tape: it can be differentiated again, to any order. seed has y's shape;
   NULL is 1 for a scalar y. An x that y does not depend on gets zeros. y and each x must be tracked, and what was computed must be on this
   context's tape still. Returns 1, or 0 after an error. */
GENREG__API int genreg_grad(genreg_ctx *c, genreg_tensor *y, genreg_tensor *seed, genreg_tensor *const *xs, int n, genreg_tensor **grads);

/* The same, first order only, into your memory: out[i] gets xs[i]->size values. Records nothing, reuses memory as it goes, leaves
   the tape as it was. Training and Hessian-vector products run on this. */
GENREG__API int genreg_gradient_into(genreg_ctx *c, genreg_tensor *y, genreg_tensor *seed, genreg_tensor *const *xs, int n,
                                     genreg_real *const *out);

/* ---------------------------------------------------------------------------------------------------- datasets */

/* Labelled samples in memory. Copies of the struct share the samples. Loaded ones belong to the context; memory given to genreg_dataset_bytes
   or _reals stays yours, is not copied, and must outlive the set and what is made of it. */
typedef struct genreg_dataset {
    char name[32];              /* where it is from: "mnist", "fashion", ... */
    int n;                      /* samples */
    int rank, shape[3];         /* of one sample: [features] or [height, width, channels], no other */
    int features;               /* values in one sample */
    int pad;                    /* zeros around the stored image, after normalisation: part of shape and features */
    int classes;
    const unsigned char *bytes; /* the stored samples, one after another, each (shape[0] - 2 pad)(shape[1] - 2 pad) channels values (features if
                                   pad is 0), not in the order of this set: see rows. A value is (byte / 255 - mean)/std of its channel (last axis) */
    const genreg_real *reals;   /* or the same in values that are used as they are; exactly one of the two is set */
    const int *labels;          /* n labels: label i belongs to sample i of this set */
    const int *rows;            /* sample i is stored sample rows[i]; NULL: sample i */
    float mean[4], std[4];      /* normalisation by channel, with bytes */
    uint64_t content;           /* checksum of all stored samples (FNV-1a) */
    uint64_t checksum;          /* of content, normalisation, rows and labels: equal sets have equal sums */
} genreg_dataset;

/* A set over your memory: bytes of at most 4 channels, with a mean and std > 0 for each (NULL: 0 and 1, i.e. [0, 1]), or reals. Labels are
   0 ... classes-1. Anything else is an error. */
GENREG__API genreg_dataset genreg_dataset_bytes(genreg_ctx *c, const unsigned char *pixels, const int *labels, int n, int rank, const int *shape,
                                                int classes, const float *mean, const float *std);
GENREG__API genreg_dataset genreg_dataset_reals(genreg_ctx *c, const genreg_real *values, const int *labels, int n, int rank, const int *shape,
                                                int classes);

/* The first n samples, n >= 1; n random ones without repeats (in random order); all if the set has no more than n. Each call, and the two parts of
   a split together, keep 8 bytes a sample until genreg_destroy. */
GENREG__API genreg_dataset genreg_first(genreg_ctx *c, const genreg_dataset *d, int n);
GENREG__API genreg_dataset genreg_sample(genreg_ctx *c, const genreg_dataset *d, int n, uint64_t seed);

/* Splits at random into a, which gets round(fraction x count) samples of each class, and b, which gets the rest;
   0 <= fraction <= 1. A part without samples is a set of zeros. */
GENREG__API void genreg_split(genreg_ctx *c, const genreg_dataset *d, double fraction, uint64_t seed, genreg_dataset *a, genreg_dataset *b);

/* The set with each label, with probability p, replaced by a uniformly drawn *other* class. */
GENREG__API genreg_dataset genreg_label_noise(genreg_ctx *c, const genreg_dataset *d, double p, uint64_t seed);

/* The set with a border of `pad` zeros around each image, put there after normalisation: 28 x 28 with pad 2 is 32 x 32. */
GENREG__API genreg_dataset genreg_pad(genreg_ctx *c, const genreg_dataset *d, int pad);

/* What a loss sees: x [n, shape of a sample], and n labels. Lives on the tape. */
typedef struct genreg_batch {
    genreg_tensor *x;
    const int *labels;
    int n;
    int classes;
} genreg_batch;

/* Samples order[0 ... n-1] of the set (order NULL: first ... first+n-1), normalised. */
GENREG__API genreg_batch genreg_get_batch(genreg_ctx *c, const genreg_dataset *d, const int *order, int first, int n);

/* The same for training on images, with each image moved and mirrored at random (He et al. 2016): it gets a border of `crop` zeros after
   normalisation and is cut to its size again at a random place, and, if flip is 1, with probability 1/2 left and right change sides. The draws
   are those of (seed, epoch, the sample's number in the set): they depend neither on the batch that a sample is in nor on the order. */
GENREG__API genreg_batch genreg_get_augmented_batch(genreg_ctx *c, const genreg_dataset *d, const int *order, int first, int n, int flip, int crop,
                                                    uint64_t seed, uint64_t epoch);

/* Rows of zeros with a one at the label: [n, classes]. */
GENREG__API genreg_tensor *genreg_one_hot(genreg_ctx *c, const int *labels, int n, int classes);

/* ---------------------------------------------------------------------------------------------------- models */

/* How parameters start (fan_in: inputs of one output).
     PYTORCH  weights and biases uniform on +-1/sqrt(fan_in), i.e. of variance 1/(3 fan_in): PyTorch's default, the "commonly used heuristic"
              of Glorot and Bengio 2010
     HE       weights N(0, 2/fan_in), biases 0 (He et al. 2015)
     XAVIER   weights uniform on +-sqrt(6/(fan_in + fan_out)), biases 0 (Glorot and Bengio 2010)
     NTK      weights N(0, 1), biases 0, and the layer computes s x w + b with s = sqrt(g/fan_in), g = 2 before a ReLU and
              1 elsewhere: the NTK parametrisation (Jacot et al. 2018) */
typedef enum genreg_init_scheme { GENREG_INIT_PYTORCH, GENREG_INIT_HE, GENREG_INIT_XAVIER, GENREG_INIT_NTK, GENREG_INIT_COUNT } genreg_init_scheme;

/* What a parameter is; also a set, for choosing several. */
enum { GENREG_KIND_WEIGHT = 1, GENREG_KIND_BIAS = 2, GENREG_KIND_NORM_WEIGHT = 4, GENREG_KIND_NORM_BIAS = 8, GENREG_KIND_ALL = 15 };

/* One tensor of a model's parameters: a range of theta. */
typedef struct genreg_parameter {
    char name[48];     /* PyTorch's: "0.weight", "2.bias", ... */
    int layer;         /* index of its layer */
    int kind;          /* one of the above */
    ptrdiff_t offset, size; /* theta[offset ... offset+size-1] */
    int rank, shape[4];     /* in memory: a linear weight is [in, out], a convolution's [height, width, in, out] */
    int fan_in, fan_out;
} genreg_parameter;

/* A stack of layers over one flat parameter vector. */
typedef struct genreg_model {
    genreg_ctx *ctx;
    genreg_tensor *theta;         /* every parameter, tracked, rank 1; NULL until genreg_init */
    genreg_tensor *state;         /* what is state but no parameter (running statistics), rank 1; NULL if there is none */
    genreg_parameter *parameters; /* their list, in the order of theta */
    int parameter_count;
    genreg_parameter *states;     /* the same for state */
    int state_count;
    unsigned char *mask;          /* 0: pruned, 1: kept, for every value of theta; NULL: all are kept. See "pruning" */
    int layer_count;
    genreg_init_scheme scheme;
    uint64_t seed;                /* of the initialisation */
    char data_name[32];           /* the set it was trained on and its normalisation; genreg_train fills them in */
    int channels;
    float mean[4], std[4];
    struct genreg__layer *layers; /* private */
    int layer_capacity, parameter_capacity, state_capacity;
    char scope[24];
    int scope_start;
    struct genreg__linear *linear; /* of genreg_linearize */
} genreg_model;

/* An empty model for samples of the given shape ([features] or [height, width, channels]); add layers, then call genreg_init. */
GENREG__API genreg_model *genreg_model_create(genreg_ctx *c, int rank, const int *shape);
GENREG__API void genreg_model_free(genreg_model *m); /* first release every tensor that was computed from it */

/* Layers, in order; after genreg_init no more can be added. linear takes flat input. dropout drops with probability p, in training only. conv2d
   has square kernels and a bias. batch_norm (after conv2d or linear) has eps 1e-5; weights start at 1, biases and running means at 0, running
   variances at 1. In training mode it uses the batch's statistics (two values a channel or more, in the last batch of an epoch too; else
   GENREG_ERROR_ARGUMENT) and does running += momentum (batch - running), momentum 0.1, with the unbiased variance, as PyTorch does; in
   evaluation mode it uses the running ones. Pooling has non-overlapping windows (stride = size), and leaves out what is left over at the right
   and bottom; global_avg_pool leaves flat features, one for each channel. */
GENREG__API void genreg_layer_linear(genreg_model *m, int out);
GENREG__API void genreg_layer_relu(genreg_model *m);
GENREG__API void genreg_layer_tanh(genreg_model *m);
GENREG__API void genreg_layer_sigmoid(genreg_model *m);
GENREG__API void genreg_layer_flatten(genreg_model *m);
GENREG__API void genreg_layer_dropout(genreg_model *m, double p);

GENREG__API void genreg_layer_conv2d(genreg_model *m, int out, int kernel, int stride, int padding);
GENREG__API void genreg_layer_batch_norm(genreg_model *m);
GENREG__API void genreg_layer_max_pool(genreg_model *m, int size);
GENREG__API void genreg_layer_avg_pool(genreg_model *m, int size);
GENREG__API void genreg_layer_global_avg_pool(genreg_model *m);

/* Parameters of later layers are named "scope.0.weight" with numbers from 0, as in a torch.nn.Sequential held by a module.
   A scope is at most 23 letters, digits, "_", "-" and "."; no two parameters may end up with one name. A model has at most 16,384 layers. */
GENREG__API void genreg_model_scope(genreg_model *m, const char *scope);

/* Lays out theta and draws it. Calling it again draws anew and resets running statistics; what is pruned stays 0. */
GENREG__API void genreg_init(genreg_model *m, genreg_init_scheme scheme, uint64_t seed);

/* n sizes, so n - 1 linear layers, ReLU after all but the last: sizes {784, 512, 512, 10}, n = 4. Initialised with PYTORCH and seed 0. */
GENREG__API genreg_model *genreg_mlp(genreg_ctx *c, const int *sizes, int n);

/* The paper's CNN(width) for images of the given shape: three blocks of twice [3x3 convolution, batch norm if asked, ReLU] and a 2x2 max-pool,
   with width, 2 width and 4 width channels; then linear to 256, ReLU, linear to classes. Initialised with PYTORCH and seed 0. */
GENREG__API genreg_model *genreg_cnn(genreg_ctx *c, const int *shape, int width, int batch_norm, int classes);

/* Each layer's input and output in one forward pass; the output of a linear layer is its pre-activation. In scheme NTK the input of a layer
   with weights is s x. */
typedef struct genreg_trace {
    genreg_tensor **input, **output; /* layer_count each, on the tape */
} genreg_trace;

/* How a forward pass runs. Train and evaluation mode are arguments of the call; the model itself has no mode. */
typedef struct genreg_pass {
    int training;        /* 1: dropout drops, batch norm uses the batch's statistics and moves the running ones */
    int keep_state;      /* 1: but the running ones stay as they are */
    double momentum;     /* of the running ones: 0 is 0.1 */
    uint64_t seed, step; /* for dropout: each (seed, step, layer) has its own draws */
    genreg_trace *trace; /* filled in unless NULL; layers are then not fused */
} genreg_pass;

/* The outputs [n, classes] for n samples x, of any shape [n, ...] with the model's number of values, at the parameters theta, which is m->theta or
   any tensor of its size; NULL: the model's own values as constants, so that it is recorded only if x is tracked. pass NULL: evaluation mode. */
GENREG__API genreg_tensor *genreg_forward(genreg_model *m, genreg_tensor *theta, genreg_tensor *x, const genreg_pass *pass);

/* MSE: the mean over samples and outputs of (output - one-hot label)^2. */
typedef enum genreg_loss { GENREG_LOSS_CROSS_ENTROPY, GENREG_LOSS_MSE } genreg_loss;

typedef struct genreg_score {
    double loss;     /* mean cross-entropy (or squared error) over all samples */
    double accuracy; /* share of samples whose largest output is the label's; the first of equals counts; a row with a NaN is wrong */
    int samples;
} genreg_score;

/* Loss and accuracy in evaluation mode, in batches; at other parameters, theta->size of them. These two have cross-entropy always, after training
   with MSE too. _classes has any loss, and the accuracy by class: d->classes values (NaN for one without samples), or NULL. */
GENREG__API genreg_score genreg_evaluate(genreg_model *m, const genreg_dataset *d);
GENREG__API genreg_score genreg_evaluate_at(genreg_model *m, const genreg_real *theta, const genreg_dataset *d);
GENREG__API genreg_score genreg_evaluate_classes(genreg_model *m, const genreg_dataset *d, genreg_loss loss, double *class_accuracy);

/* ---------------------------------------------------------------------------------------------------- training */

typedef enum genreg_optimizer { GENREG_OPTIMIZER_SGD, GENREG_OPTIMIZER_ADAM } genreg_optimizer;
typedef enum genreg_schedule { GENREG_SCHEDULE_CONSTANT, GENREG_SCHEDULE_STEP, GENREG_SCHEDULE_COSINE } genreg_schedule;

typedef struct genreg_progress {
    int epoch;        /* epochs begun so far, from 1 */
    int64_t step;     /* optimiser steps so far */
    double loss;      /* mean over this epoch's samples, each taken before the step that used it, in training mode */
    double accuracy;  /* the same */
    double lr;        /* rate of the last step */
    int samples;      /* samples seen in this epoch */
} genreg_progress;

typedef struct genreg_train_options {
    genreg_optimizer optimizer;
    double lr;                /* 0.01 */
    double momentum;          /* SGD: 0.9.  v = momentum v + g;  theta -= lr v */
    int nesterov;             /* SGD: theta -= lr (g + momentum v) */
    double weight_decay;      /* 0.  g += weight_decay theta, before anything else, for all parameters, biases and batch norm too: L2, no AdamW */
    double beta1, beta2, eps; /* Adam: 0.9, 0.999, 1e-8 (Kingma and Ba 2015).  m = beta1 m + (1 - beta1) g;  s = beta2 s + (1 - beta2) g^2;
                                 theta -= lr m'/(sqrt(s') + eps), m' = m/(1 - beta1^t), s' = s/(1 - beta2^t) */
    genreg_schedule schedule; /* default COSINE: lr_min + (lr - lr_min) (1 + cos(pi t/T))/2;  STEP: lr gamma^floor(t/period) */
    int schedule_by_step;     /* t counts steps; default 0: epochs. T is the whole run */
    double lr_min, gamma;     /* 0, 0.1 */
    int period;               /* 30 */
    int batch;                /* 128; larger than the set means the whole set */
    int epochs;               /* 10 */
    int64_t steps;            /* 0: use epochs; else train for exactly this many steps */
    uint64_t seed;            /* of order, dropout and augmentation; not of the initialisation */
    int no_shuffle;           /* 0: a new order each epoch */
    int flip, crop;           /* 0: images as they are; else as in genreg_get_augmented_batch, drawn anew each epoch */
    genreg_loss loss;         /* default GENREG_LOSS_CROSS_ENTROPY */
    int (*on_epoch)(const genreg_progress *p, void *user); /* after each epoch; returns nonzero to stop */
    void *user;
} genreg_train_options;

GENREG__API genreg_train_options genreg_train_defaults(void);

/* Trains m on d and returns the last epoch's figures. What is pruned is +0 after each step, in the optimiser's memory too. A loss that is NaN
   or infinite is GENREG_ERROR_DIVERGED, naming epoch and step, and that step is not taken. So is a parameter that is not finite after the
   last step; that step has then been taken. */
GENREG__API genreg_progress genreg_train(genreg_model *m, const genreg_dataset *d, const genreg_train_options *o);

/* The same run under your control: it can be stepped, saved and resumed. The model and the set must outlive it. */
typedef struct genreg_trainer genreg_trainer;
GENREG__API genreg_trainer *genreg_trainer_create(genreg_model *m, const genreg_dataset *d, const genreg_train_options *o);
GENREG__API void genreg_trainer_free(genreg_trainer *t);

/* One step on the next batch. Returns 1 if there is more to do, 0 at the end, after a stop by on_epoch, or after an error. */
GENREG__API int genreg_trainer_step(genreg_trainer *t);

/* Steps to the end of the epoch. Returns as genreg_trainer_step. */
GENREG__API int genreg_trainer_epoch(genreg_trainer *t);

/* Figures of the epoch in hand (or the last). */
GENREG__API genreg_progress genreg_trainer_progress(const genreg_trainer *t);

/* ---------------------------------------------------------------------------------------------------- curvature */

/* A loss over samples: returns the *mean* loss of a batch at theta as a scalar on the tape. user is yours. The loss may be given in two functions:
   outputs(theta), and loss, which then gets the outputs instead of theta; Gauss-Newton products need that. */
typedef genreg_tensor *(*genreg_loss_fn)(genreg_ctx *c, genreg_tensor *theta, const genreg_batch *batch, void *user);

/* What curvature is measured of: L(theta) = mean over the set of loss. Without a set (data NULL) the loss is called once, with an
   empty batch. */
typedef struct genreg_objective {
    genreg_ctx *ctx;
    genreg_tensor *theta; /* where: a variable */
    genreg_loss_fn loss;
    void *user;
    const genreg_dataset *data;
    genreg_loss_fn outputs; /* NULL, or theta -> outputs */
    int whole;              /* 1: the loss must be computed on all samples at once (batch statistics) */
} genreg_objective;

/* A model's mean loss on a set, in evaluation mode; and in training mode, where batch norm uses the statistics of the whole set and dropout
   the draws of seed 0, step 0: with either, the set must fit the memory option at once. Running statistics stay as they are. */
GENREG__API genreg_objective genreg_model_objective(genreg_model *m, const genreg_dataset *d, genreg_loss loss);
GENREG__API genreg_objective genreg_training_objective(genreg_model *m, const genreg_dataset *d, genreg_loss loss);

/* Mean loss and, unless out is NULL, its gradient (theta->size values), in chunks that fit the memory option. NaN after an error. */
GENREG__API double genreg_objective_gradient(const genreg_objective *f, genreg_real *out);

/* The Hessian of an objective as a linear map. Open it, multiply, close it: where the gradient's tape fits the memory option it is
   computed once, at opening; else each product runs through the set in chunks. What is put on the tape while it is open must be
   released before it is closed, and of several that are open the last one is closed first. theta must not change meanwhile.
   NULL after an error. */
typedef struct genreg_hessian genreg_hessian;
GENREG__API genreg_hessian *genreg_hessian_open(const genreg_objective *f);
GENREG__API void genreg_hessian_close(genreg_hessian *h);

/* out = H v, theta->size values each; out may not overlap v (Pearlmutter 1994). Returns 1, or 0 after an error. */
GENREG__API int genreg_hessian_product(genreg_hessian *h, const genreg_real *v, genreg_real *out);

/* The Gauss-Newton matrix J^T L'' J of an objective with outputs, as the same kind of map: J outputs by theta, L'' loss by outputs. For cross-entropy
   it is the Fisher information, and positive semi-definite (Schraudolph 2002; Martens 2020). */
GENREG__API genreg_hessian *genreg_gauss_newton_open(const genreg_objective *f);

/* From now on the map is restricted to some parameters (a layer, the weights): all others are held fixed, rows and columns of theirs are 0. A second
   call replaces the first; pass m->parameters to lift it. Returns 1, or 0 after an error. */
GENREG__API int genreg_hessian_restrict(genreg_hessian *h, const genreg_parameter *parameters, int n);

/* The loss at theta, and how many samples a chunk has (the whole set if the tape is kept). */
GENREG__API double genreg_hessian_loss(const genreg_hessian *h);
GENREG__API int genreg_hessian_chunk(const genreg_hessian *h);

typedef enum genreg_which { GENREG_EIGEN_LARGEST, GENREG_EIGEN_LARGEST_MAGNITUDE } genreg_which;

typedef struct genreg_eigen_options {
    int iterations;      /* at most this many products in a run: 100 */
    double tol;          /* stop at |Hv - value v| <= tol |value|: 1e-3; 0 runs all iterations: judge by `residual` then, not by `converged` */
    uint64_t seed;       /* of the start vector */
    genreg_which which;  /* default LARGEST: if the eigenvalue of largest magnitude is negative, a second run on H - value I
                            finds the algebraically largest */
    genreg_real *vector; /* NULL, or room for theta->size values: the unit eigenvector */
} genreg_eigen_options;

typedef struct genreg_eigen {
    double value;    /* Rayleigh quotient of the last vector, with its sign */
    double residual; /* |Hv - value v| / |value|: the distance to an eigenvalue of H is at most residual |value| */
    int iterations;  /* products used, over both runs */
    int converged;   /* residual <= tol */
} genreg_eigen;

GENREG__API genreg_eigen_options genreg_eigen_defaults(void);

/* Top eigenvalue by power iteration, as the paper has it; genreg_hessian_eigenpairs needs fewer products, and finds it where one of the same
   size and the other sign makes power iteration stall. The first form opens and closes the Hessian of the model's mean cross-entropy itself. */
GENREG__API genreg_eigen genreg_hessian_top(genreg_model *m, const genreg_dataset *d, const genreg_eigen_options *o);
GENREG__API genreg_eigen genreg_hessian_eigen(genreg_hessian *h, const genreg_eigen_options *o);

/* The `largest` largest eigenvalues downwards, then the `smallest` smallest upwards, by Lanczos with full re-orthogonalisation: at most
   o->iterations products, which must be at least largest + smallest; each keeps a vector; o->which and o->vector are not used. pairs has room for
   all, vectors for theta->size values each, or is NULL. The residual is as in genreg_eigen, from the Lanczos recurrence. Of a multiple eigenvalue
   some copies may be missing; pairs that are left over when all has been found are NaN and not converged. Returns 1, or 0 after an error; look at
   `converged`. */
GENREG__API int genreg_hessian_eigenpairs(genreg_hessian *h, int largest, int smallest, const genreg_eigen_options *o, genreg_eigen *pairs,
                                          genreg_real *vectors);

/* Spectral density by stochastic Lanczos quadrature (Ghorbani, Krishnan, Xiao 2019; Yao et al. 2020): density(x) = sum of weights[i]
   delta(x - nodes[i]), weights that add up to 1, and nodes that ascend within a probe. Both have room for probes x steps. Returns how many there
   are, or 0 after an error. */
GENREG__API int genreg_hessian_density(genreg_hessian *h, int probes, int steps, uint64_t seed, double *nodes, double *weights);

/* HUTCHINSON: the mean of v^T H v over v of random signs (1990); takes 2 products or more. HUTCHPP: the trace on a random subspace exactly, by
   Hutchinson on the rest (Meyer, Musco, Musco, Woodruff 2021), a third of the products each for finding the subspace, for its trace and for the
   rest; takes 4 or more, and may use fewer than it was given; its standard error is that of the rest. */
typedef enum genreg_trace_method { GENREG_TRACE_HUTCHINSON, GENREG_TRACE_HUTCHPP } genreg_trace_method;
typedef struct genreg_estimate { double value, standard_error; int products; } genreg_estimate; /* NaN after an error */
GENREG__API genreg_estimate genreg_hessian_trace(genreg_hessian *h, genreg_trace_method method, int products, uint64_t seed);

/* Directions to move theta in. What is pruned stays where it is.
     NORMAL  N(0, 1) for each parameter
     FILTER  the same, each filter (the weights of one output) scaled to the norm of the weights there, 0 for biases and normalisation
             (Li et al. 2018)
     SAM     g/|g|, g the gradient of the mean cross-entropy: the worst case within a radius to first order (Foret et al. 2021)
     ASAM    T^2 g/|T g| with T = |theta|: the same where radius is relative to each weight (Kwon et al. 2021) */
typedef enum genreg_perturbation { GENREG_PERTURB_NORMAL, GENREG_PERTURB_FILTER, GENREG_PERTURB_SAM, GENREG_PERTURB_ASAM } genreg_perturbation;

/* direction gets theta->size values. d is for SAM and ASAM, and may be NULL for the others. Returns 1, or 0 after an error. */
GENREG__API int genreg_perturbation_direction(genreg_model *m, const genreg_dataset *d, genreg_perturbation kind, uint64_t seed,
                                              genreg_real *direction);

/* Loss and accuracy, as of genreg_evaluate, at theta + radius x direction for `draws` directions (SAM and ASAM have but one), into as many
   scores. radius: for NORMAL the standard deviation of each parameter, for FILTER a share of each filter's norm, for SAM the length of the
   move. The model stays as it is. Returns 1, or 0 after an error. */
GENREG__API int genreg_evaluate_perturbed(genreg_model *m, const genreg_dataset *d, genreg_perturbation kind, double radius, int draws, uint64_t seed,
                                          genreg_score *scores);

/* ---------------------------------------------------------------------------------------------------- tangent kernels

   Matrices are doubles, row-major, in your memory. What else is needed goes on the tape and is released. */

/* The empirical neural tangent kernel (Jacot et al. 2018) at m->theta, in evaluation mode: with J_o(x) = d f_o(x)/d theta for output o of O,
     TRACE   k(x, x') = sum over o of <J_o(x), J_o(x')> / O
     FULL    k((x, o), (x', o')) = <J_o(x), J_o'(x')>, in row x O + o and column x' O + o'
     OUTPUT  k(x, x') = <J_o(x), J_o(x')> for one o
     SUM     k(x, x') = <J(x), J(x')> of the sum of all outputs */
typedef enum genreg_ntk_form { GENREG_NTK_TRACE, GENREG_NTK_FULL, GENREG_NTK_OUTPUT, GENREG_NTK_SUM } genreg_ntk_form;

typedef struct genreg_ntk_options {
    genreg_ntk_form form; /* default GENREG_NTK_TRACE */
    int output;           /* OUTPUT: which, from 0 */
    int block;            /* samples at a time; 0: as many as fit the memory option. With several column blocks, row samples pass through the net
                             once per block */
} genreg_ntk_options;

GENREG__API genreg_ntk_options genreg_ntk_defaults(void);

/* Gram matrix of a x b into k, a->n b->n values (FULL: times O^2); b NULL: of a x a, which is symmetric and half the work. No Jacobian
   is built: a layer's part is sums over its inputs and output gradients, (A A^T + 1) o (B B^T), or its gradient by sample where that is
   cheaper (Novak, Sohl-Dickstein, Schoenholz 2022). Of a linearised model it is the kernel at theta_0.
   Pruned parameters count as any other: the mask is not looked at. Entries carry genreg_real's rounding. Returns 1, or 0 after an error. */
GENREG__API int genreg_ntk(genreg_model *m, const genreg_dataset *a, const genreg_dataset *b, const genreg_ntk_options *o, double *k);

/* A ReLU MLP of infinite width in the scheme NTK: weights N(0, 1) with factors sqrt(2/fan_in), sqrt(1/fan_in) in the last layer. */
typedef struct genreg_infinite_options {
    int layers;           /* linear layers, 1 or more: 4 */
    double bias_variance; /* of the biases at the start: 0 */
    double bias_tangent;  /* what each layer's biases add to the tangent kernel: 1, as genreg_ntk counts them; 0 where they are not trained */
} genreg_infinite_options;

GENREG__API genreg_infinite_options genreg_infinite_defaults(void);

/* Its tangent kernel, which the TRACE and OUTPUT kernels of wide nets approach, and the covariance of its outputs (NNGP), a->n b->n values each;
   either may be NULL, and b too, as above. In closed form (Cho and Saul 2009; Jacot et al. 2018), with S and K the two kernels of a layer:
     S' = 2 E[relu relu] + bias_variance,   K' = 2 E[relu relu] + bias_tangent + K 2 E[relu' relu'],   over (u, v) ~ N(0, S)
   from S = 2 <x, x'>/features + bias_variance and K = 2 <x, x'>/features + bias_tangent on; the last layer has 1 for each 2. Set `layers` to the
   number of linear layers of the net that you compare with. Without bias_variance an input of zeros has kernel 0 with every other, but for the
   last layer's bias: relu' is 0 at 0, as in genreg_relu. Returns 1, or 0 after an error. */
GENREG__API int genreg_infinite_kernel(genreg_ctx *c, const genreg_dataset *a, const genreg_dataset *b, const genreg_infinite_options *o,
                                       double *ntk, double *nngp);

typedef struct genreg_ridge_options {
    double relative;     /* first relative ridge to try: 0. The ridge is that times the mean of the diagonal of k */
    double relative_max; /* while k + ridge I is not positive definite the relative ridge grows tenfold, from 1e-12 at least, up to this: 1e-4.
                            A kernel that was computed in float may need 1e-6 where one in double needs none */
} genreg_ridge_options;

typedef struct genreg_ridge {
    double ridge;          /* what was added to the diagonal, NaN after an error */
    double relative;       /* the same over the mean of the diagonal */
    double min_eigenvalue; /* smallest eigenvalue of k itself, by up to 40 Lanczos steps on the inverse: an upper bound, close where that eigenvalue
                              stands apart from the others; genreg_kernel_eigen has it exactly */
    int attempts;          /* factorisations */
} genreg_ridge;

GENREG__API genreg_ridge_options genreg_ridge_defaults(void);

/* Kernel ridge regression: alpha [n, outputs] solves (k + ridge I) alpha = targets for a symmetric k [n, n], of which the part on and below
   the diagonal is read, by Cholesky in double. Duplicate samples and zero images make k singular, which a ridge cures; look at what was used.
   The prediction at x is the sum over i of k(x, x_i) alpha_i. */
GENREG__API genreg_ridge genreg_kernel_ridge(genreg_ctx *c, const double *k, int n, const double *targets, int outputs, const genreg_ridge_options *o,
                                             double *alpha);

/* out [m, outputs] = k [m, n] alpha [n, outputs]: predictions from the kernel of m samples with the n that were learnt. 1, or 0 after an error. */
GENREG__API int genreg_kernel_predict(genreg_ctx *c, const double *k, int m, int n, const double *alpha, int outputs, double *out);

/* Share of rows of `predictions` [n, outputs] whose largest entry is the label's; the first of equals counts, a row with a NaN is wrong. */
GENREG__API double genreg_kernel_accuracy(const double *predictions, const int *labels, int n, int outputs);

/* k = V^T diag(values) V for a symmetric k [n, n]: values in ascending order, row i of V [n, n] is the unit eigenvector i. 1, or 0 after an error. */
GENREG__API int genreg_kernel_eigen(genreg_ctx *c, const double *k, int n, double *values, double *vectors);

/* Gradient flow on half the sum of squares, d f/dt = -k (f - targets), from f = 0 until time t (HUGE_VAL: the limit): alpha [n, outputs] such that
   f(x, t) = sum over i of k(x, x_i) alpha_i, from genreg_kernel_eigen's values and vectors: alpha = V^T diag((1 - exp(-values t))/values) V targets.
   Learn targets - f(0) where f starts elsewhere. Directions with eigenvalues below n 2e-16 times the largest are never learnt.
   1, or 0 after an error. */
GENREG__API int genreg_kernel_flow(genreg_ctx *c, const double *values, const double *vectors, int n, const double *targets, int outputs, double t,
                                   double *alpha);

/* <a, b>/(|a| |b|), in [-1, 1] (Cristianini et al. 2001), and |a - b|/|b|, the relative change from b to a, in the Frobenius norm over `count`
   values; NaN if a matrix in the denominator is 0. */
GENREG__API double genreg_kernel_alignment(const double *a, const double *b, ptrdiff_t count);
GENREG__API double genreg_kernel_change(const double *a, const double *b, ptrdiff_t count);

/* The model f(x, theta_0) + J(x) (theta - theta_0), linear in theta around m's present parameters theta_0: a model of its own, which starts there
   and is trained, evaluated and freed as any other; m can be freed. Each layer hands on x and its tangent (forward mode), so that J is never built
   and a step costs about two of m's. Always in evaluation mode: batch norm keeps m's statistics, dropout is off. It cannot be initialised anew,
   saved or traced. Pruning puts its theta at 0, not at theta_0. NULL after an error. */
GENREG__API genreg_model *genreg_linearize(genreg_model *m);

/* ---------------------------------------------------------------------------------------------------- pruning

   A model's mask says which of its parameters are there. What is pruned is +0 in theta, and stays so through genreg_init, training and
   rewinding; evaluation and checkpoints need nothing more. Curvature and tangent kernels are those of all parameters, pruned ones included.
   With a mask, a forward pass at m->theta with training 1 and keep_state 0 skips the pruned weights of sparse linear layers (at most 1/16
   kept): genreg_gradient_into then gives 0 for them, where genreg_grad gives their derivative. */

/* What tells which weights stay: those with the largest scores. theta is that of the model, pruned weights are 0 in it.
     MAGNITUDE  |theta|
     RANDOM     uniform draws
     SNIP       |theta g|, g = dL/d theta: the first-order change of the loss when a weight is taken away (Lee et al. 2019)
     GRASP      theta (H g), H the Hessian of L, g = dL/d theta over the weights still there: keeps the gradient's norm (Wang et al. 2020, who
                prune the largest -theta H g)
     SYNFLOW    |theta| dR/d|theta|, R = sum of the outputs for an input of ones, with |theta| for theta and without biases, shifts and running
                means: needs no data. The scores of every layer add up to R if all activations are ReLU (Tanaka et al. 2020)
   L is the mean loss in training mode, where batch norm uses the statistics of the set: with batch norm or dropout all of it must fit the memory
   option at once. */
typedef enum genreg_criterion {
    GENREG_CRITERION_MAGNITUDE, GENREG_CRITERION_RANDOM, GENREG_CRITERION_SNIP, GENREG_CRITERION_GRASP, GENREG_CRITERION_SYNFLOW
} genreg_criterion;

typedef struct genreg_prune_options {
    genreg_criterion criterion; /* default MAGNITUDE */
    int kinds;                  /* what can be pruned: default GENREG_KIND_WEIGHT, weights of linear layers and convolutions */
    int layerwise;              /* 0: the largest scores of all; 1: the same share of every tensor */
    int of_left;                /* 0: a share of all; 1: of those still there, so that 0.8 prunes a fifth of them */
    int rounds;                 /* 1. The scores are taken anew each round, and the share kept falls by the same factor. 100 for SYNFLOW */
    uint64_t seed;              /* RANDOM */
    const genreg_dataset *data; /* SNIP, GRASP */
    genreg_loss loss;           /* of them: default GENREG_LOSS_CROSS_ENTROPY */
} genreg_prune_options;

GENREG__API genreg_prune_options genreg_prune_defaults(void);

/* Prunes until the share `keep`, in (0, 1], of the chosen kinds is left: exactly floor(keep n + 1/2) of n, with biases untouched by
   default. What is pruned already stays so: a share above what is left is an error, and so is one that rounds to none (layerwise: of any tensor).
   Of equal scores the first in theta stay. A score that is not finite is GENREG_ERROR_DIVERGED. An error in a later round leaves what the rounds
   before it have pruned. Returns how many of the chosen kinds are left, 0 after an error. */
GENREG__API ptrdiff_t genreg_prune(genreg_model *m, double keep, const genreg_prune_options *o);

/* The same by scores of your own (theta->size of them), in one round: any numbers, infinite ones too; a NaN is GENREG_ERROR_ARGUMENT. */
GENREG__API ptrdiff_t genreg_prune_by(genreg_model *m, const genreg_real *scores, double keep, const genreg_prune_options *o);

/* The scores alone, theta->size of them; 0 for other kinds and for what is pruned. Returns 1, or 0 after an error. */
GENREG__API int genreg_prune_scores(genreg_model *m, const genreg_prune_options *o, genreg_real *scores);

/* Gives m a copy of a mask of n = theta->size values, such as another model's, and sets what it prunes to 0; NULL takes the mask away.
   Pruned values become 0, restored ones stay 0 until drawn, rewound or trained. Returns 1, or 0 after an error. */
GENREG__API int genreg_set_mask(genreg_model *m, const unsigned char *mask, ptrdiff_t n);

/* Puts the mask of each tensor in a random order: a control that keeps the share of every layer. Values and what is returned as in
   genreg_set_mask. (A random mask is RANDOM; new random weights under the same mask are genreg_init with another seed.) */
GENREG__API int genreg_shuffle_mask(genreg_model *m, uint64_t seed);

/* How many parameters of these kinds are left; by_parameter, unless NULL, gets the number for each of m->parameters, of any kind. */
GENREG__API ptrdiff_t genreg_kept(const genreg_model *m, int kinds, ptrdiff_t *by_parameter);

/* A model as it is now, in memory: theta and state; with its trainer, unless that is NULL, also the optimiser's memory and the place in the
   run. The mask is no part of it. Lives until it is freed, or with the context. */
typedef struct genreg_snapshot genreg_snapshot;
GENREG__API genreg_snapshot *genreg_snapshot_take(const genreg_model *m, const genreg_trainer *t);
GENREG__API void genreg_snapshot_free(genreg_snapshot *s);

/* Puts m back to a snapshot, under the mask that it has now: what is pruned is 0 (Frankle and Carbin 2019: step 0; Frankle et al. 2020: step k).
   With a trainer of m, unless that is NULL, it also goes back to its place in the run, with the set and options that it was made with: if
   they are the same, and nothing is pruned, training repeats the first run to the bit. Returns 1, or 0 after an error. */
GENREG__API int genreg_rewind(genreg_model *m, genreg_trainer *t, const genreg_snapshot *s);

/* Batch norm's running statistics anew, as the mean of those of batches of d in training mode, of at most 200 samples and weighted by size
   (PyTorch's update_bn); dropout is on. A linearised model keeps those that it was made with. Returns 1, or 0 after an error. */
GENREG__API int genreg_renew_statistics(genreg_model *m, const genreg_dataset *d);

/* How far the worst point of the line between two models lies above the mean of its ends (Frankle et al. 2020): in loss, and in error, the
   share of samples that are wrong. Near 0: linearly connected. */
typedef struct genreg_barrier { double loss, error; } genreg_barrier;

/* Loss and accuracy on d, as of genreg_evaluate, at `points` (3 or more) evenly spaced places from a to b, into scores unless NULL, and the barrier.
   Batch norm's statistics are renewed on `statistics` at each place; if that is NULL they go along the line too. a and b stay as they are. NaN
   after an error. */
GENREG__API genreg_barrier genreg_line(genreg_model *a, const genreg_model *b, int points, const genreg_dataset *d, const genreg_dataset *statistics,
                                       genreg_score *scores);

/* ---------------------------------------------------------------------------------------------------- files */
#ifndef GENREG_NO_STDIO

/* An IDX pair (LeCun's format): images and labels, checked against each other and against the files' sizes; labels are 0 ... classes-1 (MNIST:
   10 classes, EMNIST balanced: 47), at most 256. Images come as [height, width, 1]; mean and std as in genreg_dataset_bytes. Files must be
   unpacked (.gz is an error). For all loaders a set that was not loaded is an empty one, of zeros. */
GENREG__API genreg_dataset genreg_load_idx(genreg_ctx *c, const char *images, const char *labels, int classes, const float *mean, const float *std);

/* The four files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte in a folder,
   with the usual normalisation: MNIST 0.1307, 0.3081; Fashion-MNIST 0.2860, 0.3530. Either set may be NULL. Returns 1, or 0 after an error. */
GENREG__API int genreg_load_mnist(genreg_ctx *c, const char *folder, genreg_dataset *train, genreg_dataset *test);
GENREG__API int genreg_load_fashion(genreg_ctx *c, const char *folder, genreg_dataset *train, genreg_dataset *test);

/* CIFAR-10, binary version: data_batch_1.bin ... data_batch_5.bin and test_batch.bin in a folder, each 10,000 records of a label and 3,072 bytes;
   normalised with mean (0.4914, 0.4822, 0.4465) and std (0.2023, 0.1994, 0.2010). Either set may be NULL. Returns 1, or 0 after an error. */
GENREG__API int genreg_load_cifar10(genreg_ctx *c, const char *folder, genreg_dataset *train, genreg_dataset *test);

/* A model as a safetensors file that Python opens as it is: names and shapes are PyTorch's (linear weights [out, in]), the metadata
   holds the rest. What is pruned of "0.weight" is 0 there, and False in "genreg.mask.0.weight"; in scheme NTK weights are stored without the
   factor s. Written beside the target and renamed, so that there is never half a file. Returns 1, or 0 after an error. */
GENREG__API int genreg_save_model(genreg_model *m, const char *path);

/* A model from a file of genreg_save_model, or of genreg_trainer_save for one that is not linearised; no other will do, as its metadata holds the
   architecture. NULL after an error. */
GENREG__API genreg_model *genreg_load_model(genreg_ctx *c, const char *path);

/* A training run with all that it needs to go on: model, mask, optimiser, epoch, step, place in the epoch. Loading takes a trainer made
   with the same model, set and options (a file of another is an error) and leaves it, to the bit, where it was saved. Each returns 1, or 0 after
   an error. */
GENREG__API int genreg_trainer_save(genreg_trainer *t, const char *path);
GENREG__API int genreg_trainer_load(genreg_trainer *t, const char *path);

/* Values as a .npy file that np.load opens: float32 or float64 as genreg_real is, and float64 for what is measured in double (Gram matrices,
   spectra). Row-major, little-endian on every machine; a tensor x is saved by x->rank, x->shape, x->data. Written beside the target and
   renamed. Returns 1, or 0 after an error. */
GENREG__API int genreg_save_npy(genreg_ctx *c, const char *path, int rank, const int *shape, const genreg_real *values);
GENREG__API int genreg_save_npy_doubles(genreg_ctx *c, const char *path, int rank, const int *shape, const double *values);

/* The array of a .npy file: float32 or float64 in C order, of either byte order, rank at most GENREG_MAX_RANK, no extent of 0. As a constant, each
   value rounded to genreg_real; or as doubles, exactly, with its rank and shape (room for GENREG_MAX_RANK; NULL if not wanted). Both are
   on the tape. NULL after an error. */
GENREG__API genreg_tensor *genreg_load_npy(genreg_ctx *c, const char *path);
GENREG__API double *genreg_load_npy_doubles(genreg_ctx *c, const char *path, int *rank, int *shape);

#endif /* GENREG_NO_STDIO */

#ifdef __cplusplus
}
#endif

#endif /* GENREG_H */

/* ==================================================================================================== */
/*                       Stop here if you only want the API. Below is how it is done.                    */
/* ==================================================================================================== */

#if defined(GENREG_IMPLEMENTATION) && !defined(GENREG__IMPLEMENTED)
#define GENREG__IMPLEMENTED

// >>platform -----------------------------------------------------------------------------------------------------------
// Owns what differs between compilers and machines: includes, attributes, floating-point rules, instruction sets, the one
// OpenMP region, and the context that every floor above hangs off.

#if defined(__FAST_MATH__)
#error "genreg.h: -ffast-math reorders sums and assumes away NaN, so that results and error checks mean nothing; compile without it"
#endif
#if defined(__FINITE_MATH_ONLY__)
#if __FINITE_MATH_ONLY__ + 0 != 0
#error "genreg.h: -ffinite-math-only assumes away NaN, which is how a diverged run is noticed; compile without it"
#endif
#endif

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#ifndef GENREG_NO_STDIO
#include <errno.h>
#include <stdio.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

#if defined(GENREG_MALLOC) && defined(GENREG_REALLOC) && defined(GENREG_FREE)
/* all three are yours */
#elif defined(GENREG_MALLOC) || defined(GENREG_REALLOC) || defined(GENREG_FREE)
#error "genreg.h: define all of GENREG_MALLOC, GENREG_REALLOC and GENREG_FREE, or none"
#else
#define GENREG_MALLOC(n) malloc(n)
#define GENREG_REALLOC(p, n) realloc(p, n)
#define GENREG_FREE(p) free(p)
#endif

#ifndef GENREG_ASSERT
#define GENREG_ASSERT(x) ((void)0)
#endif

/* Contraction of a*b+c into one rounding depends on -std and -march: it is off, and fused multiply-add is written out where it
   is meant. gcc needs to be told to vectorize as well, as its -O2 leaves most loops alone. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed" /* a loop that stays scalar is slow and no fault */
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off", "no-math-errno", "tree-vectorize", "vect-cost-model=dynamic")
#endif

/* Every operation must round to its own type. The 387, which 32-bit gcc takes by default, keeps more digits: exp and log, which round by
   adding and subtracting a large number, would be wrong in the fifth digit. SSE2 is in every x86 since 2001; the rest of the file that holds
   the implementation gets it too, as gcc does not let a function that returns in a 387 register call a static one that returns in another. */
#if defined(FLT_EVAL_METHOD)
#if FLT_EVAL_METHOD != 0
#if defined(__i386__) && defined(__GNUC__) && !defined(__clang__)
#define GENREG__387
#pragma GCC target("sse2,fpmath=sse")
#else
#error "genreg.h: this compiler evaluates in a wider type than float or double, and would round otherwise than it should: add -msse2 -mfpmath=sse (x86) or -fexcess-precision=fast"
#endif
#endif
#endif

#if defined(__clang__)
#define GENREG__NO_ALIAS _Pragma("clang loop vectorize(assume_safety)")
#define GENREG__INLINE inline __attribute__((always_inline))
#elif defined(__GNUC__)
#define GENREG__NO_ALIAS _Pragma("GCC ivdep")
#define GENREG__INLINE inline __attribute__((always_inline))
#else
#define GENREG__NO_ALIAS
#define GENREG__INLINE
#endif

#define GENREG__MIN(a, b) ((a) < (b) ? (a) : (b))
#define GENREG__MAX(a, b) ((a) > (b) ? (a) : (b))

/* How kernels run: shared by all of a context's. */
typedef struct genreg__exec {
    int threads;
    int isa;       /* resolved, never AUTO */
    int winograd;  /* 1: convolutions may take fewer multiplications, at slightly larger rounding errors */
    char *scratch; /* packing space, kept between calls */
    char *scratch_block;
    size_t scratch_bytes;
} genreg__exec;

/* A stack of memory in blocks: what is taken after a mark is freed by going back to it. Blocks stay for the next round. */
enum { GENREG__BLOCKS = 128 };
typedef struct genreg__arena {
    struct { char *memory, *base; size_t capacity, used; } block[GENREG__BLOCKS];
    size_t count;   /* blocks that exist */
    size_t current; /* the block in use */
    size_t bytes;   /* taken in all */
} genreg__arena;

typedef struct genreg__kept { /* stands before each allocation that outlives marks */
    struct genreg__kept *previous, *next;
    void *memory;
} genreg__kept;

struct genreg_ctx {
    genreg_status status;
    char message[256];
    genreg__exec exec;
    size_t limit;             /* for both arenas together */
    size_t peak;
    genreg__arena tape_arena; /* tensors */
    genreg__arena sweep_arena; /* adjoints of a sweep */
    genreg__kept kept;        /* ring of models, datasets, trainers */
    genreg_tensor **tape;     /* recorded operations in the order they were computed */
    ptrdiff_t nodes, tape_capacity;
    int recording;
};

/* Runs fn(arg, thread, threads) once on each of `threads` threads. Kernels hand over a function instead of a loop body because
   clang drops target attributes in the functions that it makes of parallel regions. */
typedef void (*genreg__team_fn)(void *arg, int thread, int threads);

static void genreg__team(int threads, genreg__team_fn fn, void *arg)
{
    GENREG_ASSERT(threads >= 1);
#ifdef _OPENMP
    if (threads > 1) {
#pragma omp parallel num_threads(threads)
        fn(arg, omp_get_thread_num(), omp_get_num_threads());
        return;
    }
#else
    (void)threads;
#endif
    fn(arg, 0, 1);
}

// >>errors -------------------------------------------------------------------------------------------------------------
// Owns the sticky error of a context and the text of its message. Formats for itself, as printf depends on the locale and
// belongs to stdio: %s string, %d int, %z ptrdiff_t, %g double (six digits), %t tensor (its shape).

static void genreg__put(char *out, size_t room, size_t *at, const char *text)
{
    while (*text && *at + 1 < room)
        out[(*at)++] = *text++;
    out[*at] = 0;
}

static void genreg__set_name(char *to, size_t room, const char *name)
{
    size_t at = 0;
    to[0] = 0;
    genreg__put(to, room, &at, name);
}

static void genreg__put_integer(char *out, size_t room, size_t *at, ptrdiff_t value)
{
    char digits[24];
    int i = 23;
    size_t rest = value < 0 ? (size_t)0 - (size_t)value : (size_t)value;
    digits[i] = 0;
    do {
        digits[--i] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    } while (rest);
    if (value < 0)
        digits[--i] = '-';
    genreg__put(out, room, at, digits + i);
}

/* Six significant digits, for messages only. */
static void genreg__put_real(char *out, size_t room, size_t *at, double value)
{
    char digits[8], text[24];
    int exponent = 0, count = 6, used = 0, i, point;
    long mantissa;
    if (value != value) { genreg__put(out, room, at, "nan"); return; }
    if (value < 0) { genreg__put(out, room, at, "-"); value = -value; }
    if (value == 0 || value - value != 0) { genreg__put(out, room, at, value == 0 ? "0" : "inf"); return; }
    for (; value >= 10; exponent++) value /= 10;
    for (; value < 1; exponent--) value *= 10;
    mantissa = (long)(value * 100000 + 0.5);
    if (mantissa > 999999) { mantissa /= 10; exponent++; }
    for (i = 5; i >= 0; i--, mantissa /= 10) digits[i] = (char)('0' + (int)(mantissa % 10));
    while (count > 1 && digits[count - 1] == '0') count--;
    point = exponent < -4 || exponent > 8 ? 0 : exponent; /* the digit that the point follows */
    for (i = point < 0 ? point : 0; i < count || i <= point; i++) {
        text[used++] = i >= 0 && i < count ? digits[i] : '0';
        if (i == point && i + 1 < count) text[used++] = '.';
    }
    text[used] = 0;
    genreg__put(out, room, at, text);
    if (point == exponent) return;
    genreg__put(out, room, at, "e");
    genreg__put_integer(out, room, at, exponent);
}

static void genreg__put_shape(char *out, size_t room, size_t *at, int rank, const int *shape)
{
    int i;
    genreg__put(out, room, at, "[");
    for (i = 0; i < rank; i++) {
        if (i) genreg__put(out, room, at, ",");
        genreg__put_integer(out, room, at, shape[i]);
    }
    genreg__put(out, room, at, "]");
}

static void genreg__fail(genreg_ctx *c, genreg_status status, const char *format, ...)
{
    va_list args;
    size_t at = 0, room;
    if (!c || c->status != GENREG_OK)
        return;
    c->status = status;
    room = sizeof c->message;
    c->message[0] = 0;
    va_start(args, format);
    for (; *format; format++) {
        char one[2];
        if (*format != '%') {
            one[0] = *format; one[1] = 0;
            genreg__put(c->message, room, &at, one);
            continue;
        }
        switch (*++format) {
        case 's': genreg__put(c->message, room, &at, va_arg(args, const char *)); break;
        case 'd': genreg__put_integer(c->message, room, &at, va_arg(args, int)); break;
        case 'z': genreg__put_integer(c->message, room, &at, va_arg(args, ptrdiff_t)); break;
        case 'g': genreg__put_real(c->message, room, &at, va_arg(args, double)); break;
        case 't': {
            const genreg_tensor *x = va_arg(args, const genreg_tensor *);
            genreg__put_shape(c->message, room, &at, x->rank, x->shape);
            break;
        }
        default: genreg__put(c->message, room, &at, "%"); break;
        }
    }
    va_end(args);
    for (at = 0; c->message[at]; at++)
        if ((unsigned char)c->message[at] < 32) c->message[at] = '?'; /* a file name may hold anything; a message is one line */
}

/* Whether to do nothing: there is no context, or it has an error. */
static int genreg__halted(const genreg_ctx *c) { return !c || c->status != GENREG_OK; }

GENREG__API genreg_status genreg_error(const genreg_ctx *c) { return c ? c->status : GENREG_ERROR_MEMORY; }

GENREG__API const char *genreg_error_message(const genreg_ctx *c)
{
    return c ? c->message : "no context: genreg_create had no memory";
}

GENREG__API const char *genreg_status_text(genreg_status s)
{
    switch (s) {
#define GENREG__STATUS_TEXT(name, text) case name: return text;
    GENREG_STATUSES(GENREG__STATUS_TEXT)
#undef GENREG__STATUS_TEXT
    case GENREG_STATUS_COUNT: break;
    }
    return "unknown status";
}

GENREG__API void genreg_clear_error(genreg_ctx *c)
{
    if (!c) return;
    c->status = GENREG_OK;
    c->message[0] = 0;
}

GENREG__API void genreg_set_error(genreg_ctx *c, genreg_status s, const char *message)
{
    if (s != GENREG_OK)
        genreg__fail(c, s, "%s", message ? message : genreg_status_text(s));
}

// >>memory -------------------------------------------------------------------------------------------------------------
// Owns every byte: checked sizes, allocations that are kept until freed, and arenas that are released to a mark. Whatever it
// hands out is 64-byte aligned, a cache line and the widest vector.

enum { GENREG__ALIGN = 64 };

/* a * b, or 0 if that does not fit. Every size that comes from outside goes through here. */
static int genreg__times(size_t a, size_t b, size_t *product)
{
    if (b && a > (size_t)PTRDIFF_MAX / b)
        return 0;
    *product = a * b;
    return 1;
}

static char *genreg__aligned(char *p)
{
    return p + ((GENREG__ALIGN - ((uintptr_t)p & (GENREG__ALIGN - 1))) & (GENREG__ALIGN - 1));
}

/* n elements that live until genreg__unkeep or the context's end, zeroed; NULL sets the error. */
static void *genreg__keep(genreg_ctx *c, size_t n, size_t size)
{
    size_t bytes;
    char *memory, *data;
    genreg__kept *head;
    if (genreg__halted(c))
        return NULL;
    if (!genreg__times(n, size, &bytes) || bytes > (size_t)PTRDIFF_MAX - 4 * GENREG__ALIGN) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "%z elements of %z bytes are more than this machine can address", (ptrdiff_t)n, (ptrdiff_t)size);
        return NULL;
    }
    memory = (char *)GENREG_MALLOC(bytes + 2 * GENREG__ALIGN);
    if (!memory) {
        genreg__fail(c, GENREG_ERROR_MEMORY, "no memory for %z bytes", (ptrdiff_t)bytes);
        return NULL;
    }
    data = genreg__aligned(memory + GENREG__ALIGN);
    head = (genreg__kept *)(void *)(data - GENREG__ALIGN);
    head->memory = memory;
    head->previous = &c->kept;
    head->next = c->kept.next;
    c->kept.next->previous = head;
    c->kept.next = head;
    memset(data, 0, bytes);
    return data;
}

static void genreg__unkeep(const void *data)
{
    genreg__kept *head;
    if (!data) return;
    head = (genreg__kept *)(void *)((char *)(uintptr_t)data - GENREG__ALIGN);
    GENREG_ASSERT(head->previous->next == head && head->next->previous == head); /* else it was not kept, or is freed twice */
    head->previous->next = head->next;
    head->next->previous = head->previous;
    GENREG_FREE(head->memory);
}

/* Room for count + 1 elements: a kept array that doubles. Returns the array, moved if it had to be; NULL sets the error. */
static void *genreg__grow(genreg_ctx *c, void *array, ptrdiff_t count, ptrdiff_t *capacity, size_t size)
{
    void *larger;
    ptrdiff_t room = *capacity;
    if (count < room)
        return array;
    room = room ? 2 * room : 16;
    larger = genreg__keep(c, (size_t)room, size);
    if (!larger)
        return NULL;
    if (array)
        memcpy(larger, array, (size_t)count * size);
    genreg__unkeep(array);
    *capacity = room;
    return larger;
}

/* Memory from an arena, not zeroed; NULL sets the error. */
static void *genreg__take(genreg_ctx *c, genreg__arena *arena, size_t n, size_t size)
{
    size_t bytes, in_use = c->tape_arena.bytes + c->sweep_arena.bytes;
    char *p;
    if (!genreg__times(n, size, &bytes) || bytes > (size_t)PTRDIFF_MAX / 2) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "%z elements of %z bytes are more than this machine can address", (ptrdiff_t)n, (ptrdiff_t)size);
        return NULL;
    }
    bytes = (bytes + GENREG__ALIGN - 1) & ~(size_t)(GENREG__ALIGN - 1);
    if (bytes > c->limit || in_use > c->limit - bytes) {
        genreg__fail(c, GENREG_ERROR_LIMIT, "the tape needs %z bytes and may have %z: release earlier results, use smaller batches, or raise genreg_options.memory",
                     (ptrdiff_t)(in_use + bytes), (ptrdiff_t)c->limit);
        return NULL;
    }
    while (arena->current < arena->count && bytes > arena->block[arena->current].capacity - arena->block[arena->current].used) {
        if (arena->block[arena->current].used == 0) { /* empty and too small: a larger one takes its place */
            GENREG_FREE(arena->block[arena->current].memory);
            arena->block[arena->current] = arena->block[--arena->count];
            continue;
        }
        arena->current++;
    }
    if (arena->current == arena->count) {
        size_t capacity = (size_t)1 << (20 + (arena->count < 6 ? arena->count : 6)); /* 1 MiB ... 64 MiB */
        if (arena->count > 6 && capacity < c->limit / 32) capacity = c->limit / 32; /* so that the table of blocks never is the limit */
        if (capacity < bytes) capacity = bytes;
        p = arena->count < GENREG__BLOCKS ? (char *)GENREG_MALLOC(capacity + GENREG__ALIGN) : NULL;
        if (!p) {
            genreg__fail(c, GENREG_ERROR_MEMORY, "no memory for %z bytes of tape", (ptrdiff_t)capacity);
            return NULL;
        }
        arena->block[arena->count].memory = p;
        arena->block[arena->count].base = genreg__aligned(p);
        arena->block[arena->count].capacity = capacity;
        arena->block[arena->count].used = 0;
        arena->count++;
    }
    p = arena->block[arena->current].base + arena->block[arena->current].used;
    arena->block[arena->current].used += bytes;
    arena->bytes += bytes;
    if (in_use + bytes > c->peak)
        c->peak = in_use + bytes;
    return p;
}

static genreg_place genreg__arena_mark(const genreg__arena *arena)
{
    genreg_place p;
    p.block = arena->current;
    p.used = arena->current < arena->count ? arena->block[arena->current].used : 0;
    p.bytes = arena->bytes;
    p.nodes = 0;
    return p;
}

static void genreg__arena_release(genreg__arena *arena, genreg_place p)
{
    size_t i;
    GENREG_ASSERT(p.block <= arena->current && p.bytes <= arena->bytes); /* marks are released last first */
    for (i = p.block; i < arena->count && i <= arena->current; i++)
        arena->block[i].used = i == p.block ? p.used : 0;
    arena->current = p.block;
    arena->bytes = p.bytes;
}

static void genreg__arena_free(genreg__arena *arena)
{
    size_t i;
    for (i = 0; i < arena->count; i++)
        GENREG_FREE(arena->block[i].memory);
}

/* Grows the kernels' packing space; 0 when memory is out. */
static int genreg__scratch(genreg__exec *e, size_t bytes)
{
    char *block;
    if (bytes <= e->scratch_bytes)
        return 1;
    if (bytes > (size_t)PTRDIFF_MAX - GENREG__ALIGN)
        return 0;
    block = (char *)GENREG_MALLOC(bytes + GENREG__ALIGN);
    if (!block)
        return 0;
    if (e->scratch_block) GENREG_FREE(e->scratch_block);
    e->scratch_block = block;
    e->scratch = genreg__aligned(block);
    e->scratch_bytes = bytes;
    return 1;
}

// >>math ---------------------------------------------------------------------------------------------------------------
// Owns exp, log and their kin, so that no result depends on the C library. Straight-line code without calls, which compilers
// turn into vectors. Errors are a few units in the last place.

static GENREG__INLINE double genreg__from_bits64(uint64_t u) { double x; memcpy(&x, &u, sizeof x); return x; }
static GENREG__INLINE uint64_t genreg__to_bits64(double x) { uint64_t u; memcpy(&u, &x, sizeof u); return u; }
static GENREG__INLINE float genreg__from_bits32(uint32_t u) { float x; memcpy(&x, &u, sizeof x); return x; }
static GENREG__INLINE uint32_t genreg__to_bits32(float x) { uint32_t u; memcpy(&u, &x, sizeof u); return u; }

/* x = n log 2 + r with |r| <= log(2)/2. Adding and subtracting 1.5 * 2^52 rounds to a whole number, which then stands in the
   low bits of the sum: no conversion to int, so that NaN needs no test. exp(r) - 1 by its series; 2^n in two factors, so that
   results below the normal range come out rounded instead of zero. */
static GENREG__INLINE double genreg__expm1_parts64(double x, double *two_n1, double *two_n2)
{
    double shifted = x * 1.4426950408889634 + 6755399441055744.0, n = shifted - 6755399441055744.0;
    double r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10, p;
    uint64_t whole = genreg__to_bits64(shifted) - genreg__to_bits64(6755399441055744.0);
    uint64_t half = (whole + 4096) / 2 - 2048, rest = whole - half;
    *two_n1 = genreg__from_bits64((half + 1023) << 52);
    *two_n2 = genreg__from_bits64((rest + 1023) << 52);
    p = 1.0 / 87178291200.0;
    p = p * r + 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    return r + r * r * p;
}

static GENREG__INLINE double genreg__exp64(double x)
{
    double f1, f2, p, clamped = x < -746 ? -746 : x > 710 ? 710 : x;
    p = genreg__expm1_parts64(clamped, &f1, &f2);
    return (1.0 + p) * f1 * f2;
}

static GENREG__INLINE double genreg__expm164(double x)
{
    double f1, f2, p, clamped = x < -746 ? -746 : x > 710 ? 710 : x, two_n;
    p = genreg__expm1_parts64(clamped, &f1, &f2);
    two_n = f1 * f2;
    return two_n > 1e300 ? (1.0 + p) * f1 * f2 : two_n * p + (two_n - 1.0);
}

/* 2 artanh(s) = log((1 + s)/(1 - s)) for |s| <= 1/3, by its series. */
static GENREG__INLINE double genreg__two_artanh64(double s)
{
    double z = s * s, p = 1.0 / 35.0;
    p = p * z + 1.0 / 33.0;
    p = p * z + 1.0 / 31.0;
    p = p * z + 1.0 / 29.0;
    p = p * z + 1.0 / 27.0;
    p = p * z + 1.0 / 25.0;
    p = p * z + 1.0 / 23.0;
    p = p * z + 1.0 / 21.0;
    p = p * z + 1.0 / 19.0;
    p = p * z + 1.0 / 17.0;
    p = p * z + 1.0 / 15.0;
    p = p * z + 1.0 / 13.0;
    p = p * z + 1.0 / 11.0;
    p = p * z + 1.0 / 9.0;
    p = p * z + 1.0 / 7.0;
    p = p * z + 1.0 / 5.0;
    p = p * z + 1.0 / 3.0;
    return 2.0 * s + 2.0 * s * (z * p);
}

/* x = 2^n m with m in [sqrt(1/2), sqrt(2)); log m = 2 artanh((m - 1)/(m + 1)). */
static GENREG__INLINE double genreg__log64(double x)
{
    double tiny = x < 2.2250738585072014e-308 ? 18014398509481984.0 : 1.0; /* 2^54 lifts subnormals */
    uint64_t bits = genreg__to_bits64(x * tiny), biased = bits - 0x3fe6a09e667f3bcdu;
    double m = genreg__from_bits64((biased & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu);
    double n = genreg__from_bits64((biased >> 52) + (biased >> 63) * 0xfffffffffffff000u + 0x4338000000000000u) - 6755399441055744.0;
    double y;
    n -= tiny > 1.0 ? 54.0 : 0.0;
    y = n * 0.693147180369123816490 + (n * 1.90821492927058770002e-10 + genreg__two_artanh64((m - 1.0) / (m + 1.0)));
    y = x == 0 ? -HUGE_VAL : y;
    y = x > 1.7976931348623157e308 ? x : y;
    return x < 0 || x != x ? genreg__from_bits64(0x7ff8000000000000u) : y;
}

#if GENREG_REAL_IS_DOUBLE

static GENREG__INLINE genreg_real genreg__exp(genreg_real x) { return genreg__exp64(x); }
static GENREG__INLINE genreg_real genreg__expm1(genreg_real x) { return genreg__expm164(x); }
static GENREG__INLINE genreg_real genreg__log(genreg_real x) { return genreg__log64(x); }
static GENREG__INLINE genreg_real genreg__log1p01(genreg_real x) { return genreg__two_artanh64(x / (2 + x)); } /* 0 <= x <= 1 */
#define GENREG__SQRT sqrt
#define GENREG__FABS fabs

#else /* the same in float, with shorter series */

static GENREG__INLINE float genreg__expm1_parts32(float x, float *two_n1, float *two_n2)
{
    float shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
    float r = (x - n * 0.693359375f) - n * -2.12194440e-4f, p;
    uint32_t whole = genreg__to_bits32(shifted) - genreg__to_bits32(12582912.0f);
    uint32_t half = (whole + 4096) / 2 - 2048, rest = whole - half;
    *two_n1 = genreg__from_bits32((half + 127) << 23);
    *two_n2 = genreg__from_bits32((rest + 127) << 23);
    p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    return r + r * r * p;
}

static GENREG__INLINE float genreg__exp(float x)
{
    float f1, f2, p, clamped = x < -104.0f ? -104.0f : x > 89.0f ? 89.0f : x;
    p = genreg__expm1_parts32(clamped, &f1, &f2);
    return (1.0f + p) * f1 * f2;
}

static GENREG__INLINE float genreg__expm1(float x)
{
    float f1, f2, p, clamped = x < -104.0f ? -104.0f : x > 89.0f ? 89.0f : x, two_n;
    p = genreg__expm1_parts32(clamped, &f1, &f2);
    two_n = f1 * f2;
    return two_n > 1e38f ? (1.0f + p) * f1 * f2 : two_n * p + (two_n - 1.0f);
}

static GENREG__INLINE float genreg__two_artanh32(float s)
{
    float z = s * s, p = 1.0f / 15.0f;
    p = p * z + 1.0f / 13.0f;
    p = p * z + 1.0f / 11.0f;
    p = p * z + 1.0f / 9.0f;
    p = p * z + 1.0f / 7.0f;
    p = p * z + 1.0f / 5.0f;
    p = p * z + 1.0f / 3.0f;
    return 2.0f * s + 2.0f * s * (z * p);
}

static GENREG__INLINE float genreg__log(float x)
{
    float tiny = x < 1.17549435e-38f ? 16777216.0f : 1.0f; /* 2^24 lifts subnormals */
    uint32_t bits = genreg__to_bits32(x * tiny), biased = bits - 0x3f3504f3u;
    float m = genreg__from_bits32((biased & 0x007fffffu) + 0x3f3504f3u);
    float n = genreg__from_bits32((biased >> 23) + (biased >> 31) * 0xfffffe00u + 0x4b400000u) - 12582912.0f;
    float y;
    n -= tiny > 1.0f ? 24.0f : 0.0f;
    y = n * 0.693359375f + (n * -2.12194440e-4f + genreg__two_artanh32((m - 1.0f) / (m + 1.0f)));
    y = x == 0 ? -HUGE_VALF : y;
    y = x > 3.40282347e38f ? x : y;
    return x < 0 || x != x ? genreg__from_bits32(0x7fc00000u) : y;
}

static GENREG__INLINE float genreg__log1p01(float x) { return genreg__two_artanh32(x / (2 + x)); } /* 0 <= x <= 1 */
#define GENREG__SQRT sqrtf
#define GENREG__FABS fabsf

#endif

/* (e^2x - 1)/(e^2x + 1); beyond 20 it is 1 in every precision. */
static GENREG__INLINE genreg_real genreg__tanh(genreg_real x)
{
    genreg_real e, clamped = x < -20 ? -20 : x > 20 ? 20 : x;
    e = genreg__expm1(clamped + clamped);
    return e / (e + 2);
}

static GENREG__INLINE genreg_real genreg__sigmoid(genreg_real x) { return 1 / (1 + genreg__exp(-x)); }

static GENREG__INLINE genreg_real genreg__softplus(genreg_real x)
{
    return (x > 0 ? x : x != x ? x : 0) + genreg__log1p01(genreg__exp(-GENREG__FABS(x)));
}

/* x^p by repeated squaring for whole p up to 64, else exp(p log |x|) with the sign of x if p is odd. */
static genreg_real genreg__power(genreg_real x, double p)
{
    int n = fabs(p) <= 64 ? (int)fabs(p) : 0;
    genreg_real y = 1, square = x;
    if (p != floor(p)) return (genreg_real)genreg__exp64(p * genreg__log64((double)x));
    if (fabs(p) > 64) {
        y = (genreg_real)genreg__exp64(p * genreg__log64(fabs((double)x)));
        return x < 0 && p / 2 != floor(p / 2) ? -y : y;
    }
    for (; n; n >>= 1, square *= square)
        if (n & 1) y *= square;
    return p < 0 ? 1 / y : y;
}

/* cos(pi t) for 0 <= t <= 1, for the cosine schedule. */
static double genreg__cos_pi(double t)
{
    double x, z, sign = t > 0.5 ? -1.0 : 1.0, p;
    if (t > 0.5) t = 1.0 - t; /* cos(pi t) = -cos(pi (1 - t)) */
    if (t > 0.25) {           /* = sin(pi (1/2 - t)) */
        x = 3.14159265358979323846 * (0.5 - t);
        z = x * x;
        p = 1 - z / 6 * (1 - z / 20 * (1 - z / 42 * (1 - z / 72 * (1 - z / 110 * (1 - z / 156 * (1 - z / 210))))));
        return sign * x * p;
    }
    x = 3.14159265358979323846 * t;
    z = x * x;
    return sign * (1 - z / 2 * (1 - z / 12 * (1 - z / 30 * (1 - z / 56 * (1 - z / 90 * (1 - z / 132 * (1 - z / 182 * (1 - z / 240))))))));
}

/* The angle in [0, pi] of the point (x, y) with y >= 0; 0 at the origin. atan(t) by its series, after atan(t) = pi/4 + atan((t - 1)/(t + 1)) has brought t
   down to sqrt(2) - 1. */
static GENREG__INLINE double genreg__angle64(double y, double x)
{
    double wide = fabs(x), t = y > wide ? wide / y : wide > 0 ? y / wide : 0, beyond = t > 0.41421356237309505, z, p = 1.0 / 43.0;
    t = beyond > 0 ? (t - 1) / (t + 1) : t;
    z = t * t;
    p = 1.0 / 41.0 - z * p;
    p = 1.0 / 39.0 - z * p;
    p = 1.0 / 37.0 - z * p;
    p = 1.0 / 35.0 - z * p;
    p = 1.0 / 33.0 - z * p;
    p = 1.0 / 31.0 - z * p;
    p = 1.0 / 29.0 - z * p;
    p = 1.0 / 27.0 - z * p;
    p = 1.0 / 25.0 - z * p;
    p = 1.0 / 23.0 - z * p;
    p = 1.0 / 21.0 - z * p;
    p = 1.0 / 19.0 - z * p;
    p = 1.0 / 17.0 - z * p;
    p = 1.0 / 15.0 - z * p;
    p = 1.0 / 13.0 - z * p;
    p = 1.0 / 11.0 - z * p;
    p = 1.0 / 9.0 - z * p;
    p = 1.0 / 7.0 - z * p;
    p = 1.0 / 5.0 - z * p;
    p = 1.0 / 3.0 - z * p;
    p = 1.0 / 1.0 - z * p;
    t = beyond * 0.78539816339744831 + t * p;
    t = y > wide ? 1.5707963267948966 - t : t;
    return x < 0 ? 3.1415926535897932 - t : t;
}

// >>rng ----------------------------------------------------------------------------------------------------------------
// Owns random numbers: each is a function of (seed, stream, index), so that nothing depends on what was drawn before it or
// on which thread drew it.

/* What draws: the upper 16 bits of a stream; the lower 48 tell its draws apart. */
#define GENREG__STREAM(kind, index) ((uint64_t)(kind) << 48 | (uint64_t)(index))
enum { GENREG__DRAW_INIT = 1, GENREG__DRAW_ORDER, GENREG__DRAW_DROPOUT, GENREG__DRAW_SUBSET, GENREG__DRAW_SPLIT, GENREG__DRAW_NOISE, GENREG__DRAW_PROBE, GENREG__DRAW_PERTURBATION,
       GENREG__DRAW_AUGMENTATION, GENREG__DRAW_MASK };

/* Philox4x32-10: ten rounds of multiply and xor make a block of 128 random bits of a counter and a key. */
static void genreg__philox(uint64_t seed, uint64_t stream, uint64_t block, uint64_t out[2])
{
    uint32_t x0 = (uint32_t)block, x1 = (uint32_t)(block >> 32), x2 = (uint32_t)stream, x3 = (uint32_t)(stream >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    int round;
    for (round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * x0, p1 = (uint64_t)0xCD9E8D57u * x2;
        x0 = (uint32_t)(p1 >> 32) ^ x1 ^ k0;
        x2 = (uint32_t)(p0 >> 32) ^ x3 ^ k1;
        x1 = (uint32_t)p1;
        x3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = (uint64_t)x1 << 32 | x0;
    out[1] = (uint64_t)x3 << 32 | x2;
}

/* 52 bits, in the middle of their cell, so that neither 0 nor 1 comes out. */
static double genreg__unit(uint64_t bits) { return ((double)(bits >> 12) + 0.5) * (1.0 / 4503599627370496.0); }

GENREG__API double genreg_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint64_t bits[2];
    genreg__philox(seed, stream, index / 2, bits);
    return genreg__unit(bits[index & 1]);
}

/* The inverse of the normal distribution function, to about 1e-16 (AS 241, PPND16). */
static double genreg__normal_quantile(double p)
{
    double q = p - 0.5, r;
    if (fabs(q) <= 0.425) {
        r = 0.180625 - q * q;
        return q * (((((((r * 2509.0809287301226727 + 33430.575583588128105) * r + 67265.770927008700853) * r + 45921.953931549871457) * r
                        + 13731.693765509461125) * r + 1971.5909503065514427) * r + 133.14166789178437745) * r + 3.387132872796366608)
             / (((((((r * 5226.495278852545925 + 28729.085735721942674) * r + 39307.89580009271061) * r + 21213.794301586595867) * r
                  + 5394.1960214247511077) * r + 687.1870074920579083) * r + 42.313330701600911252) * r + 1);
    }
    r = sqrt(-genreg__log64(q < 0 ? p : 1 - p));
    if (r <= 5) {
        r -= 1.6;
        r = (((((((r * 7.7454501427834140764e-4 + 0.0227238449892691845833) * r + 0.24178072517745061177) * r + 1.27045825245236838258) * r
               + 3.64784832476320460504) * r + 5.7694972214606914055) * r + 4.6303378461565452959) * r + 1.42343711074968357734)
          / (((((((r * 1.05075007164441684324e-9 + 5.475938084995344946e-4) * r + 0.0151986665636164571966) * r + 0.14810397642748007459) * r
               + 0.68976733498510000455) * r + 1.6763848301838038494) * r + 2.05319162663775882187) * r + 1);
    } else {
        r -= 5;
        r = (((((((r * 2.01033439929228813265e-7 + 2.71155556874348757815e-5) * r + 0.0012426609473880784386) * r + 0.026532189526576123093) * r
               + 0.29656057182850489123) * r + 1.7848265399172913358) * r + 5.4637849111641143699) * r + 6.6579046435011037772)
          / (((((((r * 2.04426310338993978564e-15 + 1.4215117583164458887e-7) * r + 1.8463183175100546818e-5) * r + 7.868691311456132591e-4) * r
               + 0.0148753612908506148525) * r + 0.13692988092273580531) * r + 0.59983220655588793769) * r + 1);
    }
    return q < 0 ? -r : r;
}

GENREG__API double genreg_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    return genreg__normal_quantile(genreg_uniform(seed, stream, index));
}

GENREG__API void genreg_normal_fill(genreg_real *out, ptrdiff_t n, uint64_t seed, uint64_t stream)
{
    ptrdiff_t i;
    for (i = 0; out && i < n; i += 2) {
        uint64_t bits[2];
        genreg__philox(seed, stream, (uint64_t)i / 2, bits);
        out[i] = (genreg_real)genreg__normal_quantile(genreg__unit(bits[0]));
        if (i + 1 < n)
            out[i + 1] = (genreg_real)genreg__normal_quantile(genreg__unit(bits[1]));
    }
}

GENREG__API void genreg_permutation(int *out, int n, uint64_t seed, uint64_t stream)
{
    int i;
    for (i = 0; out && i < n; i++) {
        int j = (int)(genreg_uniform(seed, stream, (uint64_t)i) * (i + 1)); /* in 0 ... i */
        if (j < i) out[i] = out[j];
        out[j] = i;
    }
}

// >>kernels ------------------------------------------------------------------------------------------------------------
// Owns the inner loops: raw pointers and sizes, no tensors. Products first, then elementwise loops and sums. A sum runs over
// blocks that depend on the shape alone, and each output has one thread: the bits do not depend on threads.
// ---- isa: which instruction sets this build contains, and which of them this machine runs ----

// GENREG__VECTORS: the compiler has gcc's generic vectors. GENREG__X86: it can also compile single functions for AVX2
// and AVX-512, whatever -march says. Only in 64-bit mode: the tiles below do not fit the eight registers of others.
#if !defined(GENREG_NO_SIMD) && defined(__GNUC__) && !defined(__TINYC__)
#define GENREG__VECTORS 1
#else
#define GENREG__VECTORS 0
#endif
#if GENREG__VECTORS && defined(__x86_64__)
#define GENREG__X86 1
#include <immintrin.h>
#define GENREG__TARGET_AVX2 __attribute__((target("avx2,fma")))
#define GENREG__TARGET_AVX512 __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")))
#else
#define GENREG__X86 0
#endif
#if defined(__GNUC__)
#define GENREG__PREFETCH(p) __builtin_prefetch(p)
#else
#define GENREG__PREFETCH(p) ((void)0)
#endif

// 1 if this build contains code for the instruction set and this machine and its operating system run it.
static GENREG__MAYBE_UNUSED int genreg__isa_runs(int isa)
{
    switch (isa) {
    case GENREG_ISA_PLAIN: return 1;
    case GENREG_ISA_BASELINE: return GENREG__VECTORS;
#if GENREG__X86
    case GENREG_ISA_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case GENREG_ISA_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    default: return 0;
    }
}

static GENREG__MAYBE_UNUSED int genreg__best_isa(void)
{
    int isa = GENREG_ISA_AVX512;
    while (!genreg__isa_runs(isa)) isa--;
    return isa;
}

// ---- gemm: matrix products ----
//
// C is cut into tiles of a few rows by one or two vectors of columns. A micro-kernel keeps one tile in registers while
// it runs over k. B is packed into panels as wide as a tile, so that a panel is one stream; a block of panels stays in
// the L2 cache. A tile's rows of A are copied to where they stay in L1 while the panels pass. Each thread computes its
// own rectangle of C with scratch space of its own: no barriers, and nothing shared but the operands.
//
// An element's bits depend on k and the instruction set alone: k is cut into blocks, each block is summed in order from
// zero, and the block sums are added in order. (Few rows by a transposed B are dot products instead, with as many sums
// as a vector has lanes; the shape decides.) Neither threads nor an element's place in its tile change them.

// Each instruction set and type t has a vector type genreg__v_t and these operations:
//     LOAD(p), STORE(p, v)             a vector anywhere in memory
//     LOADN(v, p, n), STOREN(p, v, n)  its first n lanes only, 0 < n; LOADN declares v
//     MADD(c, b, s), MADDV(c, x, y)    c + b * scalar, c + x * y
//     MAX0(v, zero)                    max(v, 0), where NaN stays NaN
//     SUM4(p, w, x, y, z)              p[0..3] = the sums over the lanes of four vectors
// They are macros, since compilers disagree about vectors that cross a function boundary.
typedef float genreg__v_plain_f32;
typedef double genreg__v_plain_f64;
#define GENREG__LOAD_plain_f32(p) (*(p))
#define GENREG__STORE_plain_f32(p, v) (*(p) = (v))
#define GENREG__MADD_plain_f32(c, b, s) ((c) + (b) * (s))
#define GENREG__MADDV_plain_f32(c, x, y) ((c) + (x) * (y))
#define GENREG__MAX0_plain_f32(v, zero) ((v) < (zero) ? (zero) : (v))
#define GENREG__SUM4_plain_f32(p, w, x, y, z) ((p)[0] = (w), (p)[1] = (x), (p)[2] = (y), (p)[3] = (z))
#define GENREG__LOADN_plain_f32(v, p, n) const genreg__v_plain_f32 v = ((void)(n), *(p))
#define GENREG__STOREN_plain_f32(p, v, n) ((void)(n), *(p) = (v))
#define GENREG__LOAD_plain_f64 GENREG__LOAD_plain_f32
#define GENREG__STORE_plain_f64 GENREG__STORE_plain_f32
#define GENREG__MADD_plain_f64 GENREG__MADD_plain_f32
#define GENREG__MADDV_plain_f64 GENREG__MADDV_plain_f32
#define GENREG__MAX0_plain_f64 GENREG__MAX0_plain_f32
#define GENREG__SUM4_plain_f64 GENREG__SUM4_plain_f32
#define GENREG__LOADN_plain_f64(v, p, n) const genreg__v_plain_f64 v = ((void)(n), *(p))
#define GENREG__STOREN_plain_f64 GENREG__STOREN_plain_f32

#if GENREG__VECTORS
typedef float genreg__v_baseline_f32 __attribute__((vector_size(16)));
typedef double genreg__v_baseline_f64 __attribute__((vector_size(16)));
typedef int genreg__mask_f32 __attribute__((vector_size(16)));
typedef long long genreg__mask_f64 __attribute__((vector_size(16)));
typedef float genreg__mem_f32 __attribute__((vector_size(16), aligned(4), may_alias));    // a vector anywhere in memory
typedef double genreg__mem_f64 __attribute__((vector_size(16), aligned(4), may_alias));
#define GENREG__LOAD_baseline_f32(p) (*(const genreg__mem_f32 *)(const void *)(p))
#define GENREG__STORE_baseline_f32(p, v) (*(genreg__mem_f32 *)(void *)(p) = (v))
#define GENREG__MADD_baseline_f32(c, b, s) ((c) + (b) * (s))
#define GENREG__MADDV_baseline_f32(c, x, y) ((c) + (x) * (y))
#define GENREG__MAX0_baseline_f32(v, zero) \
    ((genreg__v_baseline_f32)((genreg__mask_f32)(v) & ~(genreg__mask_f32)((v) < (zero))))
#define GENREG__SUM_baseline_f32(v) (((v)[0] + (v)[2]) + ((v)[1] + (v)[3]))
#define GENREG__SUM4_baseline_f32(p, w, x, y, z) \
    ((p)[0] = GENREG__SUM_baseline_f32(w), (p)[1] = GENREG__SUM_baseline_f32(x), \
     (p)[2] = GENREG__SUM_baseline_f32(y), (p)[3] = GENREG__SUM_baseline_f32(z))
#define GENREG__LOADN_baseline_f32(v, p, n) const genreg__v_baseline_f32 v = \
    { (p)[0], (n) > 1 ? (p)[1] : 0, (n) > 2 ? (p)[2] : 0, (n) > 3 ? (p)[3] : 0 }
#define GENREG__STOREN_baseline_f32(p, v, n) do { int q_; for (q_ = 0; q_ < (n); q_++) (p)[q_] = (v)[q_]; } while (0)
#define GENREG__LOAD_baseline_f64(p) (*(const genreg__mem_f64 *)(const void *)(p))
#define GENREG__STORE_baseline_f64(p, v) (*(genreg__mem_f64 *)(void *)(p) = (v))
#define GENREG__MADD_baseline_f64 GENREG__MADD_baseline_f32
#define GENREG__MADDV_baseline_f64 GENREG__MADDV_baseline_f32
#define GENREG__MAX0_baseline_f64(v, zero) \
    ((genreg__v_baseline_f64)((genreg__mask_f64)(v) & ~(genreg__mask_f64)((v) < (zero))))
#define GENREG__SUM4_baseline_f64(p, w, x, y, z) \
    ((p)[0] = (w)[0] + (w)[1], (p)[1] = (x)[0] + (x)[1], (p)[2] = (y)[0] + (y)[1], (p)[3] = (z)[0] + (z)[1])
#define GENREG__LOADN_baseline_f64(v, p, n) const genreg__v_baseline_f64 v = { (p)[0], (n) > 1 ? (p)[1] : 0 }
#define GENREG__STOREN_baseline_f64 GENREG__STOREN_baseline_f32
#endif

#if GENREG__X86
typedef __m256 genreg__v_avx2_f32;
typedef __m256d genreg__v_avx2_f64;
typedef __m512 genreg__v_avx512_f32;
typedef __m512d genreg__v_avx512_f64;
#define GENREG__LOAD_avx2_f32(p) _mm256_loadu_ps(p)
#define GENREG__STORE_avx2_f32(p, v) _mm256_storeu_ps(p, v)
#define GENREG__MADD_avx2_f32(c, b, s) _mm256_fmadd_ps(_mm256_set1_ps(s), b, c)
#define GENREG__MADDV_avx2_f32(c, x, y) _mm256_fmadd_ps(x, y, c)
#define GENREG__MAX0_avx2_f32(v, zero) _mm256_max_ps(zero, v)
#define GENREG__SUM4_avx2_f32(p, w, x, y, z) do { \
        const __m256 s_ = _mm256_hadd_ps(_mm256_hadd_ps(w, x), _mm256_hadd_ps(y, z)); \
        _mm_storeu_ps(p, _mm_add_ps(_mm256_castps256_ps128(s_), _mm256_extractf128_ps(s_, 1))); \
    } while (0)
#define GENREG__MASK_avx2_f32(n) \
    _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#define GENREG__LOADN_avx2_f32(v, p, n) const __m256 v = _mm256_maskload_ps(p, GENREG__MASK_avx2_f32(n))
#define GENREG__STOREN_avx2_f32(p, v, n) _mm256_maskstore_ps(p, GENREG__MASK_avx2_f32(n), v)
#define GENREG__LOAD_avx2_f64(p) _mm256_loadu_pd(p)
#define GENREG__STORE_avx2_f64(p, v) _mm256_storeu_pd(p, v)
#define GENREG__MADD_avx2_f64(c, b, s) _mm256_fmadd_pd(_mm256_set1_pd(s), b, c)
#define GENREG__MADDV_avx2_f64(c, x, y) _mm256_fmadd_pd(x, y, c)
#define GENREG__MAX0_avx2_f64(v, zero) _mm256_max_pd(zero, v)
#define GENREG__SUM4_avx2_f64(p, w, x, y, z) do { \
        const __m256d s_ = _mm256_hadd_pd(w, x), t_ = _mm256_hadd_pd(y, z); \
        const __m256d u_ = _mm256_permute2f128_pd(s_, t_, 0x20), v_ = _mm256_permute2f128_pd(s_, t_, 0x31); \
        _mm256_storeu_pd(p, _mm256_add_pd(u_, v_)); \
    } while (0)
#define GENREG__MASK_avx2_f64(n) _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3))
#define GENREG__LOADN_avx2_f64(v, p, n) const __m256d v = _mm256_maskload_pd(p, GENREG__MASK_avx2_f64(n))
#define GENREG__STOREN_avx2_f64(p, v, n) _mm256_maskstore_pd(p, GENREG__MASK_avx2_f64(n), v)
#define GENREG__LOAD_avx512_f32(p) _mm512_loadu_ps(p)
#define GENREG__STORE_avx512_f32(p, v) _mm512_storeu_ps(p, v)
#define GENREG__MADD_avx512_f32(c, b, s) _mm512_fmadd_ps(_mm512_set1_ps(s), b, c)
#define GENREG__MADDV_avx512_f32(c, x, y) _mm512_fmadd_ps(x, y, c)
#define GENREG__MAX0_avx512_f32(v, zero) _mm512_maskz_max_ps(0xffff, zero, v)
#define GENREG__HALF_avx512_f32(v) \
    _mm256_add_ps(_mm512_maskz_extractf32x8_ps(0xff, v, 0), _mm512_maskz_extractf32x8_ps(0xff, v, 1))
#define GENREG__SUM4_avx512_f32(p, w, x, y, z) \
    GENREG__SUM4_avx2_f32(p, GENREG__HALF_avx512_f32(w), GENREG__HALF_avx512_f32(x), \
                             GENREG__HALF_avx512_f32(y), GENREG__HALF_avx512_f32(z))
#define GENREG__LOADN_avx512_f32(v, p, n) const __m512 v = _mm512_maskz_loadu_ps((__mmask16)((1u << (n)) - 1), p)
#define GENREG__STOREN_avx512_f32(p, v, n) _mm512_mask_storeu_ps(p, (__mmask16)((1u << (n)) - 1), v)
#define GENREG__LOAD_avx512_f64(p) _mm512_loadu_pd(p)
#define GENREG__STORE_avx512_f64(p, v) _mm512_storeu_pd(p, v)
#define GENREG__MADD_avx512_f64(c, b, s) _mm512_fmadd_pd(_mm512_set1_pd(s), b, c)
#define GENREG__MADDV_avx512_f64(c, x, y) _mm512_fmadd_pd(x, y, c)
#define GENREG__MAX0_avx512_f64(v, zero) _mm512_maskz_max_pd(0xff, zero, v)
#define GENREG__HALF_avx512_f64(v) \
    _mm256_add_pd(_mm512_maskz_extractf64x4_pd(0xff, v, 0), _mm512_maskz_extractf64x4_pd(0xff, v, 1))
#define GENREG__SUM4_avx512_f64(p, w, x, y, z) \
    GENREG__SUM4_avx2_f64(p, GENREG__HALF_avx512_f64(w), GENREG__HALF_avx512_f64(x), \
                             GENREG__HALF_avx512_f64(y), GENREG__HALF_avx512_f64(z))
#define GENREG__LOADN_avx512_f64(v, p, n) const __m512d v = _mm512_maskz_loadu_pd((__mmask8)((1u << (n)) - 1), p)
#define GENREG__STOREN_avx512_f64(p, v, n) _mm512_mask_storeu_pd(p, (__mmask8)((1u << (n)) - 1), v)
#endif

// What a micro-kernel computes, for its rows i and the columns j of one panel after the other:
//     C[i,j] = add[i,j] + sum over s < segments, p < k of A[i,s,p] B[s*k + p, j],   then max(., 0) if relu
// A is anything with three strides: rows of a matrix, columns of one, or (with segments) rows of a window in an image.
// B is rows of whole vectors, where they are or in a packed panel. All strides count elements.
typedef struct genreg__tile {
    ptrdiff_t panels, k, segments;
    const void *a;
    ptrdiff_t a_row, a_k, a_segment;
    const void *b;
    ptrdiff_t b_k, b_panel;     // from one step of k, from one panel to the next
    void *pack;                 // NULL, or where the rows of B are stored as they pass: packing is nearly free that way
    void *c;
    ptrdiff_t c_row;
    const void *add;            // NULL, C itself (to accumulate), or with add_row 0 a bias
    ptrdiff_t add_row;
    int relu;
} genreg__tile;

// Repeats X(t, i) for i = 0 … n-1. The accumulators have names of their own, since gcc -O2 leaves arrays in memory.
#define GENREG__ROWS_1(X, t) X(t, 0)
#define GENREG__ROWS_2(X, t) X(t, 0) X(t, 1)
#define GENREG__ROWS_4(X, t) GENREG__ROWS_2(X, t) X(t, 2) X(t, 3)
#define GENREG__ROWS_6(X, t) GENREG__ROWS_4(X, t) X(t, 4) X(t, 5)
#define GENREG__ROWS_8(X, t) GENREG__ROWS_6(X, t) X(t, 6) X(t, 7)

// Vectors leave as they are finished. Lines of C are asked for at the start, so that they are there in the end.
#define GENREG__FINISH(t, i, offset, sum) { \
        genreg__v_##t v_ = sum; \
        if (add) v_ = GENREG__LOAD_##t(add + i * add_row + (offset)) + v_; \
        if (relu) v_ = GENREG__MAX0_##t(v_, zero); \
        GENREG__STORE_##t(c + i * c_row + (offset), v_); \
    }
#define GENREG__FETCH1(t, i) GENREG__PREFETCH(c + i * c_row);
#define GENREG__FETCH2(t, i) GENREG__PREFETCH(c + i * c_row); GENREG__PREFETCH(c + i * c_row + lanes);
#define GENREG__FETCH8(t, i)
// One vector of columns: accumulator xi in row i.
#define GENREG__ZERO1(t, i) genreg__v_##t x##i = {0};
#define GENREG__MADD1(t, i) x##i = GENREG__MADD_##t(x##i, b0, a[i * a_row]);
#define GENREG__STORE1(t, i) GENREG__FINISH(t, i, 0, x##i)
// Two vectors of columns: accumulators xi and yi in row i.
#define GENREG__ZERO2(t, i) genreg__v_##t x##i = {0}, y##i = {0};
#define GENREG__MADD2(t, i) \
    x##i = GENREG__MADD_##t(x##i, b0, a[i * a_row]); \
    y##i = GENREG__MADD_##t(y##i, b1, a[i * a_row]);
#define GENREG__STORE2(t, i) GENREG__FINISH(t, i, 0, x##i) GENREG__FINISH(t, i, lanes, y##i)
// One row by eight vectors of columns.
#define GENREG__ZERO8 GENREG__ZERO1
#define GENREG__MADD8(t, i) x##i = GENREG__MADD_##t(x##i, GENREG__LOAD_##t(b + i * lanes), a[0]);
#define GENREG__STORE8(t, i) GENREG__FINISH(t, 0, i * lanes, x##i)

// A kernel of `rows` rows by `width` vectors. (The one of eight vectors has eight accumulators in its only row.)
#define GENREG__TILE_KERNEL(target, t, T, name, rows, width) \
    static target void genreg__##name##_##t(const genreg__tile *tile) \
    { \
        enum { lanes = (int)(sizeof(genreg__v_##t) / sizeof(T)) }; \
        const ptrdiff_t a_row = tile->a_row, a_k = tile->a_k, b_k = tile->b_k, c_row = tile->c_row; \
        const ptrdiff_t add_row = tile->add_row; \
        const int relu = tile->relu; \
        const genreg__v_##t zero = {0}; \
        const T *add = (const T *)tile->add; \
        T *pack = (T *)tile->pack, *c = (T *)tile->c; \
        ptrdiff_t panel, s, p; \
        for (panel = 0; panel < tile->panels; panel++) { \
            const T *a = (const T *)tile->a, *b = (const T *)tile->b + panel * tile->b_panel; \
            GENREG__ROWS_##rows(GENREG__FETCH##width, t) \
            GENREG__ROWS_##rows(GENREG__ZERO##width, t) \
            for (s = 0; s < tile->segments; s++) { \
                for (p = tile->k; p > 0; p--) { \
                    GENREG__LOADS##width(t) \
                    GENREG__ROWS_##rows(GENREG__MADD##width, t) \
                    a += a_k; \
                    b += b_k; \
                } \
                a += tile->a_segment - tile->k * a_k; \
            } \
            GENREG__ROWS_##rows(GENREG__STORE##width, t) \
            c += width * lanes; \
            if (add) add += width * lanes; \
        } \
        (void)pack; (void)a_row; (void)c_row; (void)add_row; (void)zero; \
    }
#define GENREG__LOADS1(t) \
    const genreg__v_##t b0 = GENREG__LOAD_##t(b); \
    if (pack) { GENREG__STORE_##t(pack, b0); pack += lanes; }
#define GENREG__LOADS2(t) \
    const genreg__v_##t b0 = GENREG__LOAD_##t(b), b1 = GENREG__LOAD_##t(b + lanes); \
    if (pack) { GENREG__STORE_##t(pack, b0); GENREG__STORE_##t(pack + lanes, b1); pack += 2 * lanes; }
#define GENREG__LOADS8(t)

// Dot products of `rows` rows of A and four rows of B, both contiguous along k: sums[i * sums_row + j]. The next four
// rows of B are asked for on the way.
#define GENREG__DOT_ZERO(t, i) genreg__v_##t w##i = {0}, x##i = {0}, y##i = {0}, z##i = {0};
#define GENREG__DOT_MADD(t, i, a) \
    w##i = GENREG__MADDV_##t(w##i, a, b0); \
    x##i = GENREG__MADDV_##t(x##i, a, b1); \
    y##i = GENREG__MADDV_##t(y##i, a, b2); \
    z##i = GENREG__MADDV_##t(z##i, a, b3);
#define GENREG__DOT_STEP(t, i) { const genreg__v_##t a_ = GENREG__LOAD_##t(a + i * a_row); GENREG__DOT_MADD(t, i, a_) }
#define GENREG__DOT_REST(t, i) { GENREG__LOADN_##t(a_, a + i * a_row, k); GENREG__DOT_MADD(t, i, a_) }
#define GENREG__DOT_SUM(t, i) GENREG__SUM4_##t(sums + i * sums_row, w##i, x##i, y##i, z##i);
#define GENREG__DOT_KERNEL(target, t, T, name, rows) \
    static target void genreg__##name##_##t(int k, const void *a_start, ptrdiff_t a_row, const void *b_start, \
                                            ptrdiff_t b_row, void *sums_start, ptrdiff_t sums_row) \
    { \
        enum { lanes = (int)(sizeof(genreg__v_##t) / sizeof(T)) }; \
        const T *a = (const T *)a_start, *b = (const T *)b_start; \
        const ptrdiff_t next = 4 * b_row; \
        T *sums = (T *)sums_start; \
        GENREG__ROWS_##rows(GENREG__DOT_ZERO, t) \
        for (; k >= lanes; k -= lanes, a += lanes, b += lanes) { \
            const genreg__v_##t b0 = GENREG__LOAD_##t(b), b1 = GENREG__LOAD_##t(b + b_row), \
                                b2 = GENREG__LOAD_##t(b + 2 * b_row), b3 = GENREG__LOAD_##t(b + 3 * b_row); \
            GENREG__PREFETCH(b + next); \
            GENREG__PREFETCH(b + next + b_row); \
            GENREG__PREFETCH(b + next + 2 * b_row); \
            GENREG__PREFETCH(b + next + 3 * b_row); \
            GENREG__ROWS_##rows(GENREG__DOT_STEP, t) \
        } \
        if (k > 0) { \
            GENREG__LOADN_##t(b0, b, k); \
            GENREG__LOADN_##t(b1, b + b_row, k); \
            GENREG__LOADN_##t(b2, b + 2 * b_row, k); \
            GENREG__LOADN_##t(b3, b + 3 * b_row, k); \
            GENREG__ROWS_##rows(GENREG__DOT_REST, t) \
        } \
        GENREG__ROWS_##rows(GENREG__DOT_SUM, t) \
        (void)a_row; \
    }

// The kernels of one instruction set and one type.
typedef struct genreg__gemm_kernels {
    int element;    // bytes
    int lanes;      // elements of a vector: a tile has one or two vectors of columns
    int rows;       // rows of the largest tile; there are tiles of 4, 2 and 1 too
    int dot_rows;   // rows of A in the larger dot kernel
    int dot_most;   // up to so many rows of C, dot products beat packing a transposed B
    void (*tile[2][4])(const genreg__tile *tile);   // [columns: 1 or 2 vectors][rows: 1, 2, 4, the largest]
    void (*row)(const genreg__tile *tile);          // one row by eight vectors of columns, never packs
    // C[i,j] = add[i,j] + A[i] B[j], then max(., 0) if relu: the product for k = 1, which only writes C.
    void (*outer)(int rows, int columns, const void *a, ptrdiff_t a_row, const void *b, void *c, ptrdiff_t c_row,
                  const void *add, ptrdiff_t add_row, int relu);
    void (*dot[2])(int k, const void *a, ptrdiff_t a_row, const void *b, ptrdiff_t b_row, void *sums,
                   ptrdiff_t sums_row);             // one row of A, dot_rows of them
    // Copies a tile's rows of a transposed A, [k,rows], to where they are contiguous.
    void (*copy)(int k, const void *a, ptrdiff_t a_k, void *to);
    // Copies `columns` columns of B, [k,columns], to a panel of `width` and fills it up with zeros.
    void (*widen)(int k, int columns, const void *b, ptrdiff_t b_k, void *to, int width);
    // to[p * width + j] = b[j * b_row + p] for p < k, j < columns.
    void (*transpose)(int k, int columns, const void *b, ptrdiff_t b_row, void *to, ptrdiff_t width);
    // C[i,j] = add[i,j] + sums[i,j], then max(., 0) if relu. Reads up to a whole vector from a row of sums.
    void (*finish)(int rows, int columns, const void *sums, ptrdiff_t sums_row, void *c, ptrdiff_t c_row,
                   const void *add, ptrdiff_t add_row, int relu);
    // The same for C[i * c_row + j * c_column] and likewise `add`.
    void (*scatter)(int rows, int columns, const void *sums, ptrdiff_t sums_row, void *c, ptrdiff_t c_row,
                    ptrdiff_t c_column, const void *add, ptrdiff_t add_row, ptrdiff_t add_column, int relu);
} genreg__gemm_kernels;

#define GENREG__GEMM_SCALAR(T, name) \
    static void genreg__scatter_##name(int rows, int columns, const void *sums_, ptrdiff_t sums_row, void *c_, \
                                       ptrdiff_t c_row, ptrdiff_t c_column, const void *add_, ptrdiff_t add_row, \
                                       ptrdiff_t add_column, int relu) \
    { \
        int i, j; \
        for (i = 0; i < rows; i++) { \
            const T *sums = (const T *)sums_ + i * sums_row; \
            const T *add = add_ ? (const T *)add_ + i * add_row : NULL; \
            T *c = (T *)c_ + i * c_row; \
            for (j = 0; j < columns; j++) { \
                T x = sums[j]; \
                if (add) x = add[j * add_column] + x; \
                c[j * c_column] = relu && x < 0 ? 0 : x; \
            } \
        } \
    } \
    static void genreg__transpose_plain_##name(int k, int columns, const void *b_, ptrdiff_t b_row, void *to_, \
                                               ptrdiff_t width) \
    { \
        const T *b = (const T *)b_; \
        T *to = (T *)to_; \
        int j, p; \
        for (j = 0; j < columns; j++) \
            for (p = 0; p < k; p++) to[p * width + j] = b[j * b_row + p]; \
    }
GENREG__GEMM_SCALAR(float, f32)
GENREG__GEMM_SCALAR(double, f64)

#if GENREG__X86
// The same in 4 x 4 or 2 x 2 blocks. Sixteen steps of k at a time: whole cache lines of B, and a piece of the panel
// that stays in L1.
#define GENREG__TRANSPOSE(T, name, BLOCK, side) \
    static void genreg__transpose_sse_##name(int k, int columns, const void *b_, ptrdiff_t b_row, void *to_, \
                                             ptrdiff_t width) \
    { \
        const T *b = (const T *)b_; \
        T *to = (T *)to_; \
        const int whole_k = k - k % side, whole_columns = columns - columns % side; \
        int block, j, p; \
        for (block = 0; block < whole_k; block += 16) { \
            const int end = block + 16 < whole_k ? block + 16 : whole_k; \
            for (j = 0; j < whole_columns; j += side) \
                for (p = block; p < end; p += side) BLOCK(b + j * b_row + p, to + p * width + j); \
        } \
        genreg__transpose_plain_##name(k - whole_k, whole_columns, b + whole_k, b_row, to + whole_k * width, width); \
        genreg__transpose_plain_##name(k, columns - whole_columns, b + whole_columns * b_row, b_row, \
                                       to + whole_columns, width); \
    }
#define GENREG__TRANSPOSE_4X4(from, into) do { \
        __m128 r0 = _mm_loadu_ps(from), r1 = _mm_loadu_ps((from) + b_row); \
        __m128 r2 = _mm_loadu_ps((from) + 2 * b_row), r3 = _mm_loadu_ps((from) + 3 * b_row); \
        _MM_TRANSPOSE4_PS(r0, r1, r2, r3); \
        _mm_storeu_ps(into, r0); \
        _mm_storeu_ps((into) + width, r1); \
        _mm_storeu_ps((into) + 2 * width, r2); \
        _mm_storeu_ps((into) + 3 * width, r3); \
    } while (0)
#define GENREG__TRANSPOSE_2X2(from, into) do { \
        const __m128d r0 = _mm_loadu_pd(from), r1 = _mm_loadu_pd((from) + b_row); \
        _mm_storeu_pd(into, _mm_unpacklo_pd(r0, r1)); \
        _mm_storeu_pd((into) + width, _mm_unpackhi_pd(r0, r1)); \
    } while (0)
GENREG__TRANSPOSE(float, f32, GENREG__TRANSPOSE_4X4, 4)
GENREG__TRANSPOSE(double, f64, GENREG__TRANSPOSE_2X2, 2)
#endif

#define GENREG__GEMM_OUTER(target, t, T) \
    static target void genreg__outer_##t(int rows, int columns, const void *a_start, ptrdiff_t a_row, \
                                         const void *b_start, void *c_start, ptrdiff_t c_row, \
                                         const void *add_start, ptrdiff_t add_row, int relu) \
    { \
        enum { lanes = (int)(sizeof(genreg__v_##t) / sizeof(T)) }; \
        const int whole = columns - columns % lanes, rest = columns - whole; \
        const genreg__v_##t zero = {0}; \
        const T *a = (const T *)a_start, *b = (const T *)b_start, *add = (const T *)add_start; \
        T *c = (T *)c_start; \
        for (; rows > 0; rows--, a += a_row, c += c_row) { \
            int j; \
            for (j = 0; j < whole; j += lanes) { \
                genreg__v_##t v = GENREG__MADD_##t(zero, GENREG__LOAD_##t(b + j), a[0]); \
                if (add) v = GENREG__LOAD_##t(add + j) + v; \
                if (relu) v = GENREG__MAX0_##t(v, zero); \
                GENREG__STORE_##t(c + j, v); \
            } \
            if (rest > 0) { \
                GENREG__LOADN_##t(b0, b + whole, rest); \
                genreg__v_##t v = GENREG__MADD_##t(zero, b0, a[0]); \
                if (add) { GENREG__LOADN_##t(c0, add + whole, rest); v = c0 + v; } \
                if (relu) v = GENREG__MAX0_##t(v, zero); \
                GENREG__STOREN_##t(c + whole, v, rest); \
            } \
            if (add) add += add_row; \
        } \
    }
#define GENREG__GEMM_EDGES(target, t, T, max_rows) \
    static target void genreg__copy_##t(int k, const void *a, ptrdiff_t a_k, void *to) \
    { \
        int p; \
        for (p = 0; p < k; p++) memcpy((T *)to + p * max_rows, (const T *)a + p * a_k, max_rows * sizeof(T)); \
    } \
    static target void genreg__widen_##t(int k, int columns, const void *from, ptrdiff_t b_k, void *to, int width) \
    { \
        enum { lanes = (int)(sizeof(genreg__v_##t) / sizeof(T)) }; \
        const int whole = columns - columns % lanes; \
        const T *b = (const T *)from; \
        T *panel = (T *)to; \
        for (; k > 0; k--, b += b_k, panel += width) { \
            int j; \
            for (j = 0; j < whole; j += lanes) GENREG__STORE_##t(panel + j, GENREG__LOAD_##t(b + j)); \
            if (j < columns) { \
                GENREG__LOADN_##t(rest, b + j, columns - j); \
                GENREG__STORE_##t(panel + j, rest); \
            } \
        } \
    } \
    static target void genreg__finish_##t(int rows, int columns, const void *sums_start, ptrdiff_t sums_row, \
                                          void *c_start, ptrdiff_t c_row, const void *add_start, ptrdiff_t add_row, \
                                          int relu) \
    { \
        enum { lanes = (int)(sizeof(genreg__v_##t) / sizeof(T)) }; \
        const genreg__v_##t zero = {0}; \
        const T *sums = (const T *)sums_start, *add = (const T *)add_start; \
        T *c = (T *)c_start; \
        for (; rows > 0; rows--, sums += sums_row, c += c_row) { \
            int j; \
            for (j = 0; j < columns; j += lanes) { \
                const int left = columns - j < lanes ? columns - j : lanes; \
                genreg__v_##t v = GENREG__LOAD_##t(sums + j); \
                if (add) { GENREG__LOADN_##t(a_, add + j, left); v = a_ + v; } \
                if (relu) v = GENREG__MAX0_##t(v, zero); \
                GENREG__STOREN_##t(c + j, v, left); \
            } \
            if (add) add += add_row; \
        } \
    }
#define GENREG__GEMM_KERNELS(target, t, T, name, transpose, max_rows, max_dots) \
    GENREG__TILE_KERNEL(target, t, T, tile1x1, 1, 1) \
    GENREG__TILE_KERNEL(target, t, T, tile2x1, 2, 1) \
    GENREG__TILE_KERNEL(target, t, T, tile4x1, 4, 1) \
    GENREG__TILE_KERNEL(target, t, T, tilemx1, max_rows, 1) \
    GENREG__TILE_KERNEL(target, t, T, tile1x2, 1, 2) \
    GENREG__TILE_KERNEL(target, t, T, tile2x2, 2, 2) \
    GENREG__TILE_KERNEL(target, t, T, tile4x2, 4, 2) \
    GENREG__TILE_KERNEL(target, t, T, tilemx2, max_rows, 2) \
    GENREG__TILE_KERNEL(target, t, T, row, 8, 8) \
    GENREG__DOT_KERNEL(target, t, T, dot1, 1) \
    GENREG__DOT_KERNEL(target, t, T, dotm, max_dots) \
    GENREG__GEMM_EDGES(target, t, T, max_rows) \
    GENREG__GEMM_OUTER(target, t, T) \
    static const genreg__gemm_kernels genreg__gemm_##t = { \
        (int)sizeof(T), (int)(sizeof(genreg__v_##t) / sizeof(T)), max_rows, max_dots, 3 * max_dots * max_dots, \
        { { genreg__tile1x1_##t, genreg__tile2x1_##t, genreg__tile4x1_##t, genreg__tilemx1_##t }, \
          { genreg__tile1x2_##t, genreg__tile2x2_##t, genreg__tile4x2_##t, genreg__tilemx2_##t } }, \
        genreg__row_##t, genreg__outer_##t, { genreg__dot1_##t, genreg__dotm_##t }, genreg__copy_##t, \
        genreg__widen_##t, genreg__transpose_##transpose##_##name, genreg__finish_##t, genreg__scatter_##name \
    };

#define GENREG__NO_TARGET
GENREG__GEMM_KERNELS(GENREG__NO_TARGET, plain_f32, float, f32, plain, 6, 2)
GENREG__GEMM_KERNELS(GENREG__NO_TARGET, plain_f64, double, f64, plain, 6, 2)
#if GENREG__X86
GENREG__GEMM_KERNELS(GENREG__NO_TARGET, baseline_f32, float, f32, sse, 6, 2)
GENREG__GEMM_KERNELS(GENREG__NO_TARGET, baseline_f64, double, f64, sse, 6, 2)
GENREG__GEMM_KERNELS(GENREG__TARGET_AVX2, avx2_f32, float, f32, sse, 6, 2)
GENREG__GEMM_KERNELS(GENREG__TARGET_AVX2, avx2_f64, double, f64, sse, 6, 2)
GENREG__GEMM_KERNELS(GENREG__TARGET_AVX512, avx512_f32, float, f32, sse, 8, 4)
GENREG__GEMM_KERNELS(GENREG__TARGET_AVX512, avx512_f64, double, f64, sse, 8, 4)
#elif GENREG__VECTORS
GENREG__GEMM_KERNELS(GENREG__NO_TARGET, baseline_f32, float, f32, plain, 6, 2)
GENREG__GEMM_KERNELS(GENREG__NO_TARGET, baseline_f64, double, f64, plain, 6, 2)
#endif

// A matrix product: C[m,n] = op(A)[m,k] op(B)[k,n], row-major, in float or double. C overlaps no operand. Any address
// is correct; B and C that begin at cache lines, with rows of whole lines, are faster.
typedef struct genreg__gemm_job {
    int m, n, k;
    const void *a;
    ptrdiff_t lda;
    int ta;             // 1: A is stored [k,m]
    const void *b;
    ptrdiff_t ldb;
    int tb;             // 1: B is stored [n,k]
    void *c;
    ptrdiff_t ldc;
    int accumulate;     // 1: C += product, 0: C = product, whatever C held
    const void *bias;   // [n], added to every row, or NULL; only without accumulate
    int relu;           // 1: C = max(C, 0) at the end, NaN stays NaN
} genreg__gemm_job;

enum {
    GENREG__GEMM_KC_BYTES = 2048,       // most of a row of A in a block: eight rows take half of an L1 cache of 32 KB
    GENREG__GEMM_A_BYTES = 8 * (GENREG__GEMM_KC_BYTES + 128),
    GENREG__GEMM_B_BYTES = 512 * 1024,  // packed B: half of an L2 cache of 1 MB
    GENREG__GEMM_COPY_MIN = 4,          // from so many panels on, copying a tile's rows of A pays
    GENREG__GEMM_DOT_MAX = 48,          // the largest dot_most of all kernels
    GENREG__GEMM_DOT_K = 8,             // dot products pay if k is so many times the rows (or columns) of C
    GENREG__GEMM_THREAD_WORK = 1048576  // multiply-adds that are worth one more thread
};

typedef struct genreg__gemm_run {
    genreg__gemm_job job;
    const genreg__gemm_kernels *kernels;
    int how;                    // one of the following
    int parts_m, parts_n;       // C is cut into parts_m x parts_n rectangles
    int rows, columns;          // of a rectangle
    int kc, nc;                 // steps of k and columns in a block of packed B
    char *scratch;
    size_t scratch_each;        // bytes for one rectangle: a tile's rows of A, then a block of B
} genreg__gemm_run;
enum { GENREG__GEMM_TILES, GENREG__GEMM_DOTS, GENREG__GEMM_OUTER };

static int genreg__min_int(int a, int b) { return a < b ? a : b; }
static int genreg__up_to(int n, int multiple) { return (n / multiple + (n % multiple != 0)) * multiple; }

// Points the tile at its rows of A, steps p0 … p0+k-1; copies them if many panels will pass.
static void genreg__gemm_place_a(const genreg__gemm_run *run, genreg__tile *t, char *copy, int i, int rows, int p0,
                                 int panels)
{
    const genreg__gemm_job *job = &run->job;
    const ptrdiff_t element = run->kernels->element;
    const char *a = (const char *)job->a + (job->ta ? p0 * job->lda + i : i * job->lda + p0) * element;
    t->a = a;
    t->a_row = job->ta ? 1 : job->lda;
    t->a_k = job->ta ? job->lda : 1;
    if (panels < GENREG__GEMM_COPY_MIN) return;
    if (!job->ta) {
        // 64 bytes out of step, the rows do not compete for the same lines of the cache.
        const ptrdiff_t stride = genreg__up_to((int)t->k, 16) + 16;
        int r;
        for (r = 0; r < rows; r++)
            memcpy(copy + r * stride * element, a + r * job->lda * element, (size_t)(t->k * element));
        t->a = copy;
        t->a_row = stride;
    } else if (rows == run->kernels->rows) {
        run->kernels->copy((int)t->k, a, job->lda, copy);
        t->a = copy;
        t->a_k = rows;
    }
}

// For the first row of tiles: points the tile at columns j … j+columns-1 of B where they are and has them packed as
// they pass (if there are more rows of tiles), or packs them now: transposed ones, and those that fill no panel.
static void genreg__gemm_place_b(const genreg__gemm_run *run, genreg__tile *t, char *panel, int j, int columns, int p0,
                                 int more)
{
    const genreg__gemm_job *job = &run->job;
    const genreg__gemm_kernels *kernels = run->kernels;
    const ptrdiff_t element = kernels->element;
    const int width = (int)t->b_k, k = (int)t->k;
    const char *b = (const char *)job->b + (job->tb ? j * job->ldb + p0 : p0 * job->ldb + j) * element;
    if (job->tb) {
        if (columns < width) memset(panel, 0, (size_t)(k * width * element));
        kernels->transpose(k, columns, b, job->ldb, panel, width);
    } else if (columns < width) {
        kernels->widen(k, columns, b, job->ldb, panel, width);
    } else {
        t->b = b;
        t->b_k = job->ldb;
        t->b_panel = width;
        t->pack = more ? panel : NULL;
    }
}

// Runs the micro-kernel for columns that are whole panels, or less than one: then by way of a whole tile aside.
static void genreg__gemm_tiles(const genreg__gemm_kernels *kernels, genreg__tile *t, int rows, int columns, int width)
{
    void (*const kernel)(const genreg__tile *) =
        kernels->tile[width > kernels->lanes][rows < 4 ? rows / 2 : rows == 4 ? 2 : 3];
    t->panels = columns / width;
    if (t->panels > 0) {
        kernel(t);
    } else {
        union { float f[8 * 32]; double d[8 * 16]; } sums;      // the largest tile of either type
        genreg__tile whole = *t;
        whole.panels = 1;
        whole.c = &sums;
        whole.c_row = width;
        whole.add = NULL;
        whole.relu = 0;
        kernel(&whole);
        kernels->finish(rows, columns, &sums, width, t->c, t->c_row, t->add, t->add_row, t->relu);
    }
}

// Adds steps p0 … p0+kc-1 to columns j0 … j1-1 of one row of tiles. The first row packs B, the last needs it no more.
static void genreg__gemm_row(const genreg__gemm_run *run, char *scratch, int i, int rows, int j0, int j1, int p0,
                             int kc, int first, int last)
{
    const genreg__gemm_job *job = &run->job;
    const genreg__gemm_kernels *kernels = run->kernels;
    const ptrdiff_t element = kernels->element;
    const int lanes = kernels->lanes, one = first && last && rows == 1 && !job->tb;
    int j, columns, width;
    genreg__tile t;
    t.k = kc;
    t.segments = 1;
    t.a_segment = 0;
    t.c_row = job->ldc;
    t.relu = job->relu && p0 + kc >= job->k;
    genreg__gemm_place_a(run, &t, scratch, i, rows, p0, (j1 - j0) / (2 * lanes));
    for (j = j0; j < j1; j += columns) {
        char *const panel = scratch + GENREG__GEMM_A_BYTES + (j - j0) * kc * element;
        const int left = j1 - j;
        t.c = (char *)job->c + (i * job->ldc + j) * element;
        t.add = NULL;
        t.add_row = 0;
        if (p0 > 0 || job->accumulate) {
            t.add = t.c;
            t.add_row = job->ldc;
        } else if (job->bias) {
            t.add = (const char *)job->bias + j * element;
        }
        if (one && left >= 8 * lanes) {
            width = 8 * lanes;
            columns = left - left % width;
            t.b_k = width;
            genreg__gemm_place_b(run, &t, NULL, j, columns, p0, 0);
            t.panels = columns / width;
            kernels->row(&t);
        } else {
            // All whole panels at once; but a panel that is transposed here is used at once, while it is in L1.
            width = left > lanes ? 2 * lanes : lanes;
            columns = left < width ? left : first && job->tb ? width : left - left % width;
            t.b = panel;
            t.b_k = width;
            t.b_panel = width * kc;
            t.pack = NULL;
            if (first) genreg__gemm_place_b(run, &t, panel, j, columns, p0, !last);
            genreg__gemm_tiles(kernels, &t, rows, columns, width);
        }
    }
}

// Computes rows i0 … i1-1 and columns j0 … j1-1 of C by tiles.
static void genreg__gemm_by_tiles(const genreg__gemm_run *run, char *scratch, int i0, int i1, int j0, int j1)
{
    const int most = run->kernels->rows;
    int i, j, p, rows;
    for (j = j0; j < j1; j += run->nc) {
        for (p = 0; p == 0 || p < run->job.k; p += run->kc) {
            for (i = i0; i < i1; i += rows) {
                const int left = i1 - i;
                // Six rows and two would keep too few accumulators busy: four and four do better.
                rows = left >= most && !(most == 6 && left == 8) ? most : left >= 4 ? 4 : left >= 2 ? 2 : 1;
                genreg__gemm_row(run, scratch, i, rows, j, genreg__min_int(j + run->nc, j1), p,
                                 genreg__min_int(run->kc, run->job.k - p), i == i0, i + rows == i1);
            }
        }
    }
}

// The same by dot products, for A stored [m,k] and B stored [n,k]: the few rows of one by each four rows of the other.
static void genreg__gemm_by_dots(const genreg__gemm_run *run, int i0, int i1, int j0, int j1)
{
    enum { block = 16, sums_row = block + 4, most = (GENREG__GEMM_DOT_MAX + 1) * sums_row };
    const genreg__gemm_job *job = &run->job;
    const genreg__gemm_kernels *kernels = run->kernels;
    const ptrdiff_t element = kernels->element;
    const int few_is_a = job->m <= job->n;
    const char *few = (const char *)(few_is_a ? job->a : job->b), *many = (const char *)(few_is_a ? job->b : job->a);
    const ptrdiff_t few_row = few_is_a ? job->lda : job->ldb, many_row = few_is_a ? job->ldb : job->lda;
    const int few0 = few_is_a ? i0 : j0, few1 = few_is_a ? i1 : j1;
    const int many0 = few_is_a ? j0 : i0, many1 = few_is_a ? j1 : i1;
    union { float f[most]; double d[most]; } sums;
    int start, i, j, rows, columns;
    memset(&sums, 0, (size_t)((few1 - few0 + 1) * sums_row * element));     // finish() reads on a bit
    for (start = many0; start < many1; start += block) {
        const int end = genreg__min_int(start + block, many1);
        char *c = (char *)job->c + (few_is_a ? few0 * job->ldc + start : start * job->ldc + few0) * element;
        const char *add = job->accumulate ? c : (const char *)job->bias;
        const ptrdiff_t add_row = job->accumulate ? job->ldc : 0;
        if (add && !job->accumulate) add += (few_is_a ? start : few0) * element;
        for (j = start; j < end; j += columns) {
            columns = end - j >= 4 ? 4 : 1;
            for (i = few0; i < few1; i += rows) {
                rows = few1 - i >= kernels->dot_rows ? kernels->dot_rows : 1;
                // A row of B alone stands in for all four.
                kernels->dot[rows > 1](job->k, few + i * few_row * element, few_row, many + j * many_row * element,
                                       columns == 4 ? many_row : 0,
                                       (char *)&sums + ((i - few0) * sums_row + j - start) * element, sums_row);
            }
        }
        if (few_is_a)
            kernels->finish(few1 - few0, end - start, &sums, sums_row, c, job->ldc, add, add_row, job->relu);
        else
            kernels->scatter(few1 - few0, end - start, &sums, sums_row, c, 1, job->ldc, add, 1, add_row, job->relu);
    }
}

// The same for k = 1: nearly all of the time goes into writing C, row by row from end to end.
static void genreg__gemm_by_outer(const genreg__gemm_run *run, int i0, int i1, int j0, int j1)
{
    const genreg__gemm_job *job = &run->job;
    const ptrdiff_t element = run->kernels->element, a_row = job->ta ? 1 : job->lda;
    char *c = (char *)job->c + (i0 * job->ldc + j0) * element;
    const char *add = job->accumulate ? c : job->bias ? (const char *)job->bias + j0 * element : NULL;
    run->kernels->outer(i1 - i0, j1 - j0, (const char *)job->a + i0 * a_row * element, a_row,
                        (const char *)job->b + j0 * element, c, job->ldc, add, job->accumulate ? job->ldc : 0,
                        job->relu);
}

static void genreg__gemm_part(void *arg, int thread, int threads)
{
    const genreg__gemm_run *run = (const genreg__gemm_run *)arg;
    int part;
    for (part = thread; part < run->parts_m * run->parts_n; part += threads) {
        const int i0 = part / run->parts_n * run->rows, i1 = genreg__min_int(i0 + run->rows, run->job.m);
        const int j0 = part % run->parts_n * run->columns, j1 = genreg__min_int(j0 + run->columns, run->job.n);
        if (run->how == GENREG__GEMM_OUTER) genreg__gemm_by_outer(run, i0, i1, j0, j1);
        else if (run->how == GENREG__GEMM_DOTS) genreg__gemm_by_dots(run, i0, i1, j0, j1);
        else genreg__gemm_by_tiles(run, run->scratch + (size_t)part * run->scratch_each, i0, i1, j0, j1);
    }
}

// Cuts C into at most `parts` rectangles so that the largest costs least. In units of one multiply-add for each step
// of k: its products, some for each row of A and column of B that is copied, and, where two threads would write to the
// same rows of C, something for the cache lines they pull from each other.
static void genreg__gemm_cut(genreg__gemm_run *run, int parts, int unit_m, int unit_n)
{
    const int m = run->job.m, n = run->job.n;
    double best = -1;
    int parts_m;
    for (parts_m = 1; parts_m <= parts; parts_m++) {
        const int parts_n = parts / parts_m;
        const int rows = genreg__up_to((m - 1) / parts_m + 1, unit_m);
        const int columns = genreg__up_to((n - 1) / parts_n + 1, unit_n);
        const double r = rows, c = columns;
        const double cost = r * c + 4 * r + 8 * c + (columns < n ? 4 * r * c / (run->job.k + 1) : 0);
        if (best < 0 || cost < best) {
            best = cost;
            run->parts_m = (m - 1) / rows + 1;
            run->parts_n = (n - 1) / columns + 1;
            run->rows = rows;
            run->columns = columns;
        }
    }
}

// 0 when scratch cannot be had, else 1.
static int genreg__gemm(genreg__exec *e, const genreg__gemm_job *given, const genreg__gemm_kernels *kernels)
{
    genreg__gemm_run run;
    genreg__gemm_job *const job = &run.job;
    int few, parts;
    double work;
    if (given->m <= 0 || given->n <= 0) return 1;
    *job = *given;
    run.kernels = kernels;
    if (job->k <= 0) {      // no operands to point to: anything that is readable will do
        job->k = job->ta = job->tb = 0;
        job->a = job->b = job->c;
        job->lda = job->ldb = 0;
    }
    // A dense column is a row as well.
    if (job->n == 1 && !job->tb && job->ldb == 1) { job->tb = 1; job->ldb = job->k; }
    if (job->m == 1 && job->ta && job->lda == 1) { job->ta = 0; job->lda = job->k; }

    few = genreg__min_int(job->m, job->n);
    run.how = GENREG__GEMM_TILES;
    if (job->k == 1 && (!job->tb || job->ldb == 1))
        run.how = GENREG__GEMM_OUTER;
    else if (!job->ta && job->tb && few <= kernels->dot_most && few * GENREG__GEMM_DOT_K <= job->k)
        run.how = GENREG__GEMM_DOTS;

    work = (double)job->m * job->n * job->k / (int)GENREG__GEMM_THREAD_WORK;
    parts = work + 1 < e->threads ? (int)work + 1 : e->threads > 1 ? e->threads : 1;
    if (run.how != GENREG__GEMM_DOTS) genreg__gemm_cut(&run, parts, kernels->rows, kernels->lanes);
    else if (job->m <= job->n) genreg__gemm_cut(&run, parts, job->m, 16);
    else genreg__gemm_cut(&run, parts, 16, job->n);

    GENREG_ASSERT(run.parts_m * run.rows >= job->m && run.parts_n * run.columns >= job->n && run.parts_m * run.parts_n <= parts);
    run.kc = run.nc = 1;
    run.scratch_each = 0;
    if (run.how == GENREG__GEMM_TILES) {
        const int most_k = GENREG__GEMM_KC_BYTES / kernels->element, unit = 2 * kernels->lanes;
        const int blocks = job->k > 0 ? (job->k - 1) / most_k + 1 : 1;
        if (job->k > 0) run.kc = genreg__min_int(genreg__up_to((job->k - 1) / blocks + 1, 4), job->k);
        run.nc = GENREG__GEMM_B_BYTES / kernels->element / run.kc / unit * unit;
        run.nc = genreg__min_int(run.nc, genreg__up_to(run.columns, unit));
        run.scratch_each = GENREG__GEMM_A_BYTES + (size_t)run.nc * (size_t)run.kc * (size_t)kernels->element;
        run.scratch_each = (run.scratch_each + 63) / 64 * 64;
        if (!genreg__scratch(e, run.scratch_each * (size_t)(run.parts_m * run.parts_n))) return 0;
    }
    run.scratch = e->scratch;
    genreg__team(run.parts_m * run.parts_n, genreg__gemm_part, &run);
    return 1;
}

#if GENREG__X86
#define GENREG__GEMM_PICK(isa, name) \
    ((isa) == GENREG_ISA_AVX512 ? &genreg__gemm_avx512_##name : (isa) == GENREG_ISA_AVX2 ? &genreg__gemm_avx2_##name : \
     (isa) == GENREG_ISA_BASELINE ? &genreg__gemm_baseline_##name : &genreg__gemm_plain_##name)
#elif GENREG__VECTORS
#define GENREG__GEMM_PICK(isa, name) \
    ((isa) == GENREG_ISA_PLAIN ? &genreg__gemm_plain_##name : &genreg__gemm_baseline_##name)
#else
#define GENREG__GEMM_PICK(isa, name) ((void)(isa), &genreg__gemm_plain_##name)
#endif
static GENREG__MAYBE_UNUSED int genreg__gemm_f32(genreg__exec *e, const genreg__gemm_job *job)
{
    return genreg__gemm(e, job, GENREG__GEMM_PICK(e->isa, f32));
}
static GENREG__MAYBE_UNUSED int genreg__gemm_f64(genreg__exec *e, const genreg__gemm_job *job)
{
    return genreg__gemm(e, job, GENREG__GEMM_PICK(e->isa, f64));
}

#if GENREG_REAL_IS_DOUBLE
#define genreg__gemm_real genreg__gemm_f64
#else
#define genreg__gemm_real genreg__gemm_f32
#endif

/* One loop, compiled for AVX2 too. NAME_body(arg) is written once and inlined into functions with target attributes; NAME is the
   row of a table from which genreg__pick takes the context's. These loops wait for memory: measured, AVX-512 makes no training step faster
   by them, and its copies would take the compiler a second and a half. */
typedef void (*genreg__loop)(const void *arg);
typedef struct genreg__kernel { genreg__loop baseline, avx2; } genreg__kernel;

#if GENREG__X86
#define GENREG__WIDEN(NAME)                                                                          \
    static void NAME##_baseline(const void *arg) { NAME##_body(arg); }                               \
    GENREG__TARGET_AVX2 static void NAME##_avx2(const void *arg) { NAME##_body(arg); }               \
    static const genreg__kernel NAME = { NAME##_baseline, NAME##_avx2 };
#else
#define GENREG__WIDEN(NAME)                                                                          \
    static void NAME##_baseline(const void *arg) { NAME##_body(arg); }                               \
    static const genreg__kernel NAME = { NAME##_baseline, NAME##_baseline };
#endif

/* What a thread does of a job with a loop: the same job from first to last-1. */
#define GENREG__RANGE(NAME, JOB)                                                                     \
    static void NAME(void *arg, ptrdiff_t first, ptrdiff_t last)                                     \
    {                                                                                                \
        JOB part = *(const JOB *)arg;                                                                \
        part.first = first;                                                                          \
        part.last = last;                                                                            \
        part.loop(&part);                                                                            \
    }

static genreg__loop genreg__pick(const genreg__kernel *k, int isa)
{
    return isa >= GENREG_ISA_AVX2 ? k->avx2 : k->baseline;
}

/* What an elementwise loop works on: y[i] = f(a[i sa], b[i sb], s), strides 0 or 1. y may be a or b. */
typedef struct genreg__map {
    ptrdiff_t n;
    const genreg_real *a, *b;
    genreg_real *y;
    genreg_real s;
    int sa, sb;
} genreg__map;

/* The loop of a function of a and s, and of a, b and s: the formula is all that an operation writes. */
#define GENREG__UNARY_LOOP(NAME, FORMULA)                                                            \
    static GENREG__INLINE void NAME##_body(const void *arg)                                          \
    {                                                                                                \
        const genreg__map *m = (const genreg__map *)arg;                                             \
        const genreg_real *pa = m->a, s = m->s;                                                      \
        genreg_real *y = m->y;                                                                       \
        ptrdiff_t i, n = m->n;                                                                       \
        (void)s;                                                                                     \
        GENREG__NO_ALIAS                                                                             \
        for (i = 0; i < n; i++) { const genreg_real a = pa[i]; y[i] = FORMULA; }                     \
    }                                                                                                \
    GENREG__WIDEN(NAME)

#define GENREG__BINARY_LOOP(NAME, FORMULA)                                                           \
    static GENREG__INLINE void NAME##_body(const void *arg)                                          \
    {                                                                                                \
        const genreg__map *m = (const genreg__map *)arg;                                             \
        const genreg_real *pa = m->a, *pb = m->b, s = m->s;                                          \
        genreg_real *y = m->y;                                                                       \
        ptrdiff_t i, n = m->n;                                                                       \
        (void)s;                                                                                     \
        if (m->sa && m->sb) {                                                                        \
            GENREG__NO_ALIAS                                                                         \
            for (i = 0; i < n; i++) { const genreg_real a = pa[i], b = pb[i]; (void)a; y[i] = FORMULA; } \
        } else if (m->sa) {                                                                          \
            const genreg_real b = pb[0];                                                             \
            GENREG__NO_ALIAS                                                                         \
            for (i = 0; i < n; i++) { const genreg_real a = pa[i]; (void)a; y[i] = FORMULA; }        \
        } else {                                                                                     \
            const genreg_real a = pa[0];                                                             \
            (void)a;                                                                                 \
            GENREG__NO_ALIAS                                                                         \
            for (i = 0; i < n; i++) { const genreg_real b = pb[i * m->sb]; y[i] = FORMULA; }         \
        }                                                                                            \
    }                                                                                                \
    GENREG__WIDEN(NAME)

/* Work below this many elements is not worth waking threads for. */
enum { GENREG__SERIAL = 1 << 17 };

/* The first of the items 0 ... n-1 that a thread gets; those up to the next thread's first are its own. */
static ptrdiff_t genreg__share(ptrdiff_t n, int thread, int threads) { return (ptrdiff_t)((int64_t)n * thread / threads); }

/* Calls fn(arg, first, last) on ranges that cover 0 ... n-1, cut at multiples of `step`, one range a thread. */
typedef void (*genreg__range_fn)(void *arg, ptrdiff_t first, ptrdiff_t last);
typedef struct genreg__ranges { genreg__range_fn fn; void *arg; ptrdiff_t n, step; } genreg__ranges;

static void genreg__range_member(void *p, int thread, int threads)
{
    const genreg__ranges *r = (const genreg__ranges *)p;
    ptrdiff_t steps = (r->n + r->step - 1) / r->step;
    ptrdiff_t first = genreg__share(steps, thread, threads) * r->step, last = genreg__share(steps, thread + 1, threads);
    last = last < steps ? last * r->step : r->n;
    if (first < last) r->fn(r->arg, first, last);
}

static void genreg__split_range(const genreg__exec *e, ptrdiff_t n, ptrdiff_t step, int parallel, genreg__range_fn fn, void *arg)
{
    genreg__ranges r;
    r.fn = fn; r.arg = arg; r.n = n; r.step = step;
    if (n > 0)
        genreg__team(parallel ? e->threads : 1, genreg__range_member, &r);
}

typedef struct genreg__map_job { genreg__loop loop; const genreg__map *map; } genreg__map_job;

static void genreg__map_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    const genreg__map_job *job = (const genreg__map_job *)arg;
    genreg__map part = *job->map;
    part.n = last - first;
    part.a += part.sa ? first : 0;
    if (part.b && part.sb) part.b += first;
    part.y += first;
    job->loop(&part);
}

static void genreg__run_map(const genreg__exec *e, const genreg__kernel *k, const genreg__map *m)
{
    genreg__map_job job;
    job.loop = genreg__pick(k, e->isa);
    job.map = m;
    genreg__split_range(e, m->n, 64, m->n >= GENREG__SERIAL, genreg__map_range, &job);
}

static genreg__map genreg__map_of(ptrdiff_t n, const genreg_real *a, const genreg_real *b, genreg_real *y, double s)
{
    genreg__map m;
    m.n = n; m.a = a; m.b = b; m.y = y; m.s = (genreg_real)s;
    m.sa = m.sb = 1;
    return m;
}

GENREG__BINARY_LOOP(genreg__add_loop, a + b)
GENREG__BINARY_LOOP(genreg__gate_loop, b > 0 ? a : 0)

static void genreg__add_into(const genreg__exec *e, ptrdiff_t n, const genreg_real *x, genreg_real *y) /* y += x */
{
    genreg__map m = genreg__map_of(n, y, x, y, 0);
    genreg__run_map(e, &genreg__add_loop, &m);
}

/* Sums: x is [outer, count, inner], y is [outer, inner]. */
typedef struct genreg__sum_job {
    genreg__loop loop;
    const genreg_real *x;
    genreg_real *y;
    ptrdiff_t count, inner;   /* of x */
    ptrdiff_t segment, segments; /* long sums are cut into segments of this many, each with a result of its own */
    ptrdiff_t row, first, last; /* for the loop: which row of y, which columns of it */
} genreg__sum_job;

enum { GENREG__SUM_BLOCK = 256, GENREG__SUM_COLUMNS = 64, GENREG__SUM_SEGMENT = 4096 };

/* One row of y, columns first ... last: blocks of 256 are summed on their own, which keeps rounding errors small. */
static GENREG__INLINE void genreg__sum_columns_body(const void *arg)
{
    const genreg__sum_job *j = (const genreg__sum_job *)arg;
    ptrdiff_t outer = j->row / j->segments, begin = j->row % j->segments * j->segment, end = GENREG__MIN(begin + j->segment, j->count), c, r, r1, i;
    for (c = j->first; c < j->last; c += GENREG__SUM_COLUMNS) {
        genreg_real total[GENREG__SUM_COLUMNS], block[GENREG__SUM_COLUMNS];
        ptrdiff_t width = GENREG__MIN(j->last - c, (ptrdiff_t)GENREG__SUM_COLUMNS);
        for (i = 0; i < GENREG__SUM_COLUMNS; i++) total[i] = 0;
        for (r = begin; r < end; r = r1) {
            const genreg_real *x = j->x + (outer * j->count + r) * j->inner + c;
            r1 = GENREG__MIN(r + GENREG__SUM_BLOCK, end);
            for (i = 0; i < GENREG__SUM_COLUMNS; i++) block[i] = 0;
            if (width == GENREG__SUM_COLUMNS)
                for (; r < r1; r++, x += j->inner)
                    for (i = 0; i < GENREG__SUM_COLUMNS; i++) block[i] += x[i];
            else
                for (; r < r1; r++, x += j->inner)
                    for (i = 0; i < width; i++) block[i] += x[i];
            for (i = 0; i < GENREG__SUM_COLUMNS; i++) total[i] += block[i];
        }
        for (i = 0; i < width; i++) j->y[j->row * j->inner + c + i] = total[i];
    }
}
GENREG__WIDEN(genreg__sum_columns)

/* inner = 1: one sum of contiguous values in 32 lanes; lane i takes x[i], x[i + 32], ... */
static GENREG__INLINE void genreg__sum_run_body(const void *arg)
{
    const genreg__sum_job *j = (const genreg__sum_job *)arg;
    ptrdiff_t begin = j->row % j->segments * j->segment, n = GENREG__MIN(j->segment, j->count - begin), i, l;
    const genreg_real *x = j->x + j->row / j->segments * j->count + begin;
    genreg_real lane[32], total = 0;
    for (l = 0; l < 32; l++) lane[l] = 0;
    for (i = 0; i + 32 <= n; i += 32)
        for (l = 0; l < 32; l++) lane[l] += x[i + l];
    for (l = 0; i + l < n; l++) lane[l] += x[i + l];
    for (l = 0; l < 16; l++) lane[l] += lane[l + 16];
    for (l = 0; l < 8; l++) lane[l] += lane[l + 8];
    for (l = 0; l < 8; l++) total += lane[l];
    j->y[j->row] = total;
}
GENREG__WIDEN(genreg__sum_run)

static void genreg__sum_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    genreg__sum_job job = *(const genreg__sum_job *)arg;
    ptrdiff_t tiles = (job.inner + GENREG__SUM_COLUMNS - 1) / GENREG__SUM_COLUMNS, t;
    for (t = first; t < last; t++) {
        job.row = t / tiles;
        job.first = t % tiles * GENREG__SUM_COLUMNS;
        job.last = GENREG__MIN(job.first + GENREG__SUM_COLUMNS, job.inner);
        job.loop(&job);
    }
}

/* How many values of room genreg__sum needs beside y. */
static ptrdiff_t genreg__sum_room(ptrdiff_t outer, ptrdiff_t count, ptrdiff_t inner)
{
    ptrdiff_t room = 0;
    while (count > GENREG__SUM_SEGMENT) {
        count = (count + GENREG__SUM_SEGMENT - 1) / GENREG__SUM_SEGMENT;
        room += outer * count * inner;
    }
    return room;
}

static void genreg__sum(const genreg__exec *e, const genreg_real *x, genreg_real *y, ptrdiff_t outer, ptrdiff_t count, ptrdiff_t inner, genreg_real *room)
{
    genreg__sum_job job;
    job.loop = genreg__pick(inner == 1 ? &genreg__sum_run : &genreg__sum_columns, e->isa);
    job.inner = inner;
    job.x = x;
    job.count = count;
    job.row = job.first = job.last = 0;
    for (;;) {
        ptrdiff_t tiles = (inner + GENREG__SUM_COLUMNS - 1) / GENREG__SUM_COLUMNS;
        job.segment = GENREG__SUM_SEGMENT;
        job.segments = GENREG__MAX((job.count + job.segment - 1) / job.segment, 1);
        job.y = job.segments > 1 ? room : y;
        genreg__split_range(e, outer * job.segments * tiles, 1, outer * job.count * inner >= GENREG__SERIAL, genreg__sum_range, &job);
        if (job.segments == 1)
            return;
        job.x = room;
        room += outer * job.segments * inner;
        job.count = job.segments;
    }
}

/* The sum of a[i] b[i] in double, for norms and Rayleigh quotients: lanes and segments as above. room: n / 4096 + 1 doubles. */
typedef struct genreg__dot_job { genreg__loop loop; const genreg_real *a, *b; double *partial; ptrdiff_t n, at; } genreg__dot_job;

static GENREG__INLINE void genreg__dot_segment_body(const void *arg)
{
    const genreg__dot_job *j = (const genreg__dot_job *)arg;
    ptrdiff_t begin = j->at * GENREG__SUM_SEGMENT, n = GENREG__MIN((ptrdiff_t)GENREG__SUM_SEGMENT, j->n - begin), i, l;
    const genreg_real *a = j->a + begin, *b = j->b + begin;
    double lane[16], total = 0;
    for (l = 0; l < 16; l++) lane[l] = 0;
    for (i = 0; i + 16 <= n; i += 16)
        for (l = 0; l < 16; l++) lane[l] += (double)a[i + l] * (double)b[i + l];
    for (l = 0; i + l < n; l++) lane[l] += (double)a[i + l] * (double)b[i + l];
    for (l = 0; l < 16; l++) total += lane[l];
    j->partial[j->at] = total;
}
GENREG__WIDEN(genreg__dot_segment)

static void genreg__dot_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    genreg__dot_job job = *(const genreg__dot_job *)arg;
    for (job.at = first; job.at < last; job.at++)
        job.loop(&job);
}

static double genreg__dot(const genreg__exec *e, ptrdiff_t n, const genreg_real *a, const genreg_real *b, double *room)
{
    ptrdiff_t segments = (n + GENREG__SUM_SEGMENT - 1) / GENREG__SUM_SEGMENT, i;
    double total = 0;
    genreg__dot_job job;
    job.loop = genreg__pick(&genreg__dot_segment, e->isa);
    job.a = a; job.b = b; job.partial = room; job.n = n; job.at = 0;
    genreg__split_range(e, segments, 1, n >= GENREG__SERIAL, genreg__dot_range, &job);
    for (i = 0; i < segments; i++) total += room[i];
    return total;
}

/* Images are [rows, channels] to the loops below: what differs by channel comes in vectors.

   y = s a + t, with ReLU if asked. */
typedef struct genreg__channel_job {
    genreg__loop loop;
    const genreg_real *a, *s, *t;
    genreg_real *y;
    ptrdiff_t rows, channels;
    int relu;
} genreg__channel_job;

static GENREG__INLINE void genreg__channel_body(const void *arg)
{
    const genreg__channel_job *j = (const genreg__channel_job *)arg;
    const genreg_real *s = j->s, *t = j->t;
    ptrdiff_t r, i, n = j->channels;
    for (r = 0; r < j->rows; r++) {
        const genreg_real *a = j->a + r * n;
        genreg_real *y = j->y + r * n;
        if (j->relu) {
            GENREG__NO_ALIAS
            for (i = 0; i < n; i++) { const genreg_real v = s[i] * a[i] + t[i]; y[i] = v < 0 ? 0 : v; }
        } else {
            GENREG__NO_ALIAS
            for (i = 0; i < n; i++) y[i] = s[i] * a[i] + t[i];
        }
    }
}
GENREG__WIDEN(genreg__channel)

static void genreg__channel_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    genreg__channel_job j = *(const genreg__channel_job *)arg;
    j.a += first * j.channels;
    j.y += first * j.channels;
    j.rows = last - first;
    j.loop(&j);
}

static void genreg__run_channels(const genreg__exec *e, genreg__channel_job *j)
{
    j->loop = genreg__pick(&genreg__channel, e->isa);
    genreg__split_range(e, j->rows, 1, j->rows * j->channels >= GENREG__SERIAL, genreg__channel_range, j);
}

/* Batch normalisation, with the ReLU and the max-pool behind it: v = s x + t by channel, z = max(v, 0) if relu, y = the maximum of z
   over windows of size x size side by side (1: y = z). What lies between x and y is never stored: the backward loops compute v
   anew, to the same bits, and find the first maximum again. */
typedef struct genreg__norm_job {
    genreg__loop loop;
    const genreg_real *x, *s, *t, *mean;    /* x [n,h,w,channels] */
    const genreg_real *dy;                  /* [n,oh,ow,channels] */
    const genreg_real *factor, *slope, *shift;
    genreg_real *out;                       /* y; or dx; or for each segment two sums a channel */
    ptrdiff_t channels, h, w, oh, ow;       /* size 1: every image is one pixel */
    ptrdiff_t rows, row, row_end;           /* of y, over all images; those of this call */
    ptrdiff_t segment;                      /* rows in a segment */
    int size, relu;
} genreg__norm_job;

enum { GENREG__NORM_SEGMENT = 1024 }; /* pixels, about: they stay in L2 from one pass to the next */

static GENREG__INLINE ptrdiff_t genreg__norm_corner(const genreg__norm_job *j, ptrdiff_t row, int size)
{
    return size == 1 ? row : (row / j->oh * j->h + row % j->oh * size) * j->w;
}

/* The largest v of each channel's window, where it is and, unless NULL, the x that it comes from: the first of equals; a NaN is the maximum. */
static GENREG__INLINE void genreg__norm_window(const genreg__norm_job *j, const genreg_real *x, ptrdiff_t c, ptrdiff_t width, int size, genreg_real *best, genreg_real *at,
                                               genreg_real *from)
{
    const genreg_real *s = j->s + c, *t = j->t + c;
    ptrdiff_t i;
    int k;
    GENREG__NO_ALIAS
    for (i = 0; i < width; i++) {
        best[i] = s[i] * x[i] + t[i];
        if (size > 1) at[i] = 0;
        if (from) from[i] = x[i];
    }
    for (k = 1; k < size * size; k++) {
        const genreg_real *xk = x + (k / size * j->w + k % size) * j->channels, place = (genreg_real)k;
        GENREG__NO_ALIAS
        for (i = 0; i < width; i++) {
            const genreg_real v = s[i] * xk[i] + t[i];
            const int larger = v > best[i] || v != v;
            best[i] = larger ? v : best[i];
            at[i] = larger ? place : at[i];
            if (from) from[i] = larger ? xk[i] : from[i];
        }
    }
}

static GENREG__INLINE void genreg__norm_forward_body(const void *arg)
{
    const genreg__norm_job *j = (const genreg__norm_job *)arg;
    const ptrdiff_t n = j->channels;
    ptrdiff_t row, column, c, i;
    for (row = j->row; row < j->row_end; row++)
        for (column = 0; column < j->ow; column++)
            for (c = 0; c < n; c += GENREG__SUM_COLUMNS) {
                genreg_real best[GENREG__SUM_COLUMNS], at[GENREG__SUM_COLUMNS], *y = j->out + (row * j->ow + column) * n + c;
                const ptrdiff_t width = GENREG__MIN(n - c, (ptrdiff_t)GENREG__SUM_COLUMNS);
                genreg__norm_window(j, j->x + (genreg__norm_corner(j, row, j->size) + column * j->size) * n + c, c, width, j->size, best, at, NULL);
                if (j->relu) for (i = 0; i < width; i++) y[i] = best[i] < 0 ? 0 : best[i];
                else for (i = 0; i < width; i++) y[i] = best[i];
            }
}
GENREG__WIDEN(genreg__norm_forward)

/* Of each segment: the column sums of dz and of dz (x - mean). */
static GENREG__INLINE void genreg__norm_sums_of(const genreg__norm_job *j, const int size)
{
    const ptrdiff_t n = j->channels;
    ptrdiff_t row, column, c, i;
    for (c = 0; c < n; c += GENREG__SUM_COLUMNS) {
        const ptrdiff_t width = GENREG__MIN(n - c, (ptrdiff_t)GENREG__SUM_COLUMNS);
        genreg_real sum[GENREG__SUM_COLUMNS], along[GENREG__SUM_COLUMNS], best[GENREG__SUM_COLUMNS], at[GENREG__SUM_COLUMNS], from[GENREG__SUM_COLUMNS];
        genreg_real *out = j->out + j->row / j->segment * 2 * n + c;
        for (i = 0; i < width; i++) sum[i] = along[i] = 0;
        for (row = j->row; row < j->row_end; row++)
            for (column = 0; column < j->ow; column++) {
                const genreg_real *dy = j->dy + (row * j->ow + column) * n + c, *mean = j->mean + c;
                genreg__norm_window(j, j->x + (genreg__norm_corner(j, row, size) + column * size) * n + c, c, width, size, best, at, from);
                GENREG__NO_ALIAS
                for (i = 0; i < width; i++) {
                    const genreg_real g = !j->relu || best[i] > 0 ? dy[i] : 0;
                    sum[i] += g;
                    along[i] += g * (from[i] - mean[i]);
                }
            }
        for (i = 0; i < width; i++) { out[i] = sum[i]; out[n + i] = along[i]; }
    }
}
static GENREG__INLINE void genreg__norm_sums_body(const void *arg)
{
    const genreg__norm_job *j = (const genreg__norm_job *)arg;
    if (j->size == 1) genreg__norm_sums_of(j, 1);
    else genreg__norm_sums_of(j, j->size);
}
GENREG__WIDEN(genreg__norm_sums)

/* dx = factor dz + slope x + shift: in the windows, then at the right and bottom, where none is. */
static GENREG__INLINE void genreg__norm_dx_of(const genreg__norm_job *j, const int size)
{
    const ptrdiff_t n = j->channels, used = j->ow * size;
    const genreg_real *factor = j->factor, *slope = j->slope, *shift = j->shift;
    ptrdiff_t row, column, c, i;
    int k;
    for (row = j->row; row < j->row_end; row++) {
        const ptrdiff_t corner = genreg__norm_corner(j, row, size) * n;
        for (column = 0; column < j->ow; column++)
            for (c = 0; c < n; c += GENREG__SUM_COLUMNS) {
                const ptrdiff_t width = GENREG__MIN(n - c, (ptrdiff_t)GENREG__SUM_COLUMNS), from = corner + column * size * n + c;
                const genreg_real *dy = j->dy + (row * j->ow + column) * n + c;
                genreg_real best[GENREG__SUM_COLUMNS], at[GENREG__SUM_COLUMNS], g[GENREG__SUM_COLUMNS];
                genreg__norm_window(j, j->x + from, c, width, size, best, at, NULL);
                GENREG__NO_ALIAS
                for (i = 0; i < width; i++) g[i] = factor[c + i] * (!j->relu || best[i] > 0 ? dy[i] : 0);
                for (k = 0; k < size * size; k++) {
                    const ptrdiff_t to = from + (k / size * j->w + k % size) * n;
                    const genreg_real *x = j->x + to, place = (genreg_real)k;
                    genreg_real *dx = j->out + to;
                    GENREG__NO_ALIAS
                    for (i = 0; i < width; i++) dx[i] = (size == 1 || at[i] == place ? g[i] : 0) + (slope[c + i] * x[i] + shift[c + i]);
                }
            }
        if (size > 1) {
            const ptrdiff_t end = row % j->oh == j->oh - 1 ? j->h - (j->oh - 1) * size : size; /* lines below the last windows too */
            ptrdiff_t line, at;
            for (line = 0; line < end; line++)
                for (column = line < size ? used : 0; column < j->w; column++)
                    for (i = 0, at = corner + (line * j->w + column) * n; i < n; i++) j->out[at + i] = slope[i] * j->x[at + i] + shift[i];
        }
    }
}
static GENREG__INLINE void genreg__norm_dx_body(const void *arg)
{
    const genreg__norm_job *j = (const genreg__norm_job *)arg;
    if (j->size == 1) genreg__norm_dx_of(j, 1);
    else genreg__norm_dx_of(j, j->size);
}
GENREG__WIDEN(genreg__norm_dx)

/* Of each segment of the pixels of x: the mean and the sum of (x - mean)^2, while the segment is in the cache. */
static GENREG__INLINE void genreg__norm_spread_body(const void *arg)
{
    const genreg__norm_job *j = (const genreg__norm_job *)arg;
    const ptrdiff_t n = j->channels, count = j->row_end - j->row;
    ptrdiff_t row, c, i;
    for (c = 0; c < n; c += GENREG__SUM_COLUMNS) {
        const ptrdiff_t width = GENREG__MIN(n - c, (ptrdiff_t)GENREG__SUM_COLUMNS);
        const genreg_real *x = j->x + j->row * n + c;
        genreg_real *out = j->out + j->row / j->segment * 2 * n + c, mean[GENREG__SUM_COLUMNS], sum[GENREG__SUM_COLUMNS];
        for (i = 0; i < width; i++) sum[i] = 0;
        for (row = 0; row < count; row++)
            for (i = 0; i < width; i++) sum[i] += x[row * n + i];
        for (i = 0; i < width; i++) { mean[i] = sum[i] / (genreg_real)count; sum[i] = 0; }
        for (row = 0; row < count; row++)
            for (i = 0; i < width; i++) { const genreg_real d = x[row * n + i] - mean[i]; sum[i] += d * d; }
        for (i = 0; i < width; i++) { out[i] = mean[i]; out[n + i] = sum[i]; }
    }
}
GENREG__WIDEN(genreg__norm_spread)

static void genreg__norm_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    genreg__norm_job j = *(const genreg__norm_job *)arg;
    j.row = first; j.row_end = last;
    j.loop(&j);
}
static void genreg__norm_segments(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    genreg__norm_job j = *(const genreg__norm_job *)arg;
    for (; first < last; first++) {
        j.row = first * j.segment;
        j.row_end = GENREG__MIN(j.row + j.segment, j.rows);
        j.loop(&j);
    }
}

static void genreg__run_norm(const genreg__exec *e, const genreg__kernel *k, genreg__norm_job *j)
{
    j->loop = genreg__pick(k, e->isa);
    genreg__split_range(e, j->rows, 1, j->rows * j->ow * j->size * j->size * j->channels >= GENREG__SERIAL, genreg__norm_range, j);
}
/* The same for the loops that sum: a segment after the other, two sums a channel of each. Returns how many there are. */
static ptrdiff_t genreg__run_norm_sums(const genreg__exec *e, const genreg__kernel *k, genreg__norm_job *j)
{
    const ptrdiff_t segments = (j->rows - 1) / j->segment + 1;
    j->loop = genreg__pick(k, e->isa);
    genreg__split_range(e, segments, 1, j->rows * j->ow * j->size * j->size * j->channels >= GENREG__SERIAL, genreg__norm_segments, j);
    return segments;
}

/* Mean and variance of the columns of x [rows, channels], segment by segment (Chan, Golub, LeVeque 1979). room: as for genreg__norm_room. */
static void genreg__norm_statistics(const genreg__exec *e, const genreg_real *x, ptrdiff_t rows, ptrdiff_t channels, genreg_real *mean, genreg_real *variance, genreg_real *room)
{
    genreg__norm_job j;
    ptrdiff_t segments, segment, i;
    memset(&j, 0, sizeof j);
    j.x = x; j.out = room; j.channels = channels; j.rows = rows; j.segment = GENREG__NORM_SEGMENT;
    j.size = 1; j.ow = 1;
    segments = genreg__run_norm_sums(e, &genreg__norm_spread, &j);
    for (i = 0; i < channels; i++) {
        double m = 0, spread = 0, seen = 0;
        for (segment = 0; segment < segments; segment++) {
            const genreg_real *part = room + segment * 2 * channels + i;
            const double count = (double)GENREG__MIN(rows - segment * j.segment, j.segment), d = (double)part[0] - m;
            m += d * (count / (seen + count));
            spread += (double)part[channels] + d * d * (seen * count / (seen + count));
            seen += count;
        }
        mean[i] = (genreg_real)m;
        variance[i] = (genreg_real)(spread / (double)rows);
    }
}
static ptrdiff_t genreg__norm_room(ptrdiff_t rows, ptrdiff_t segment, ptrdiff_t channels) { return ((rows - 1) / segment + 1) * 2 * channels; }

// ---- conv: convolutions ----
//
// Images are channels-last, so the values under one row of a window are contiguous, and the next window begins a pixel later.
// A strip is a piece of an image with its border of zeros written out: in it, a tile of outputs is a matrix product whose rows
// of A are windows that overlap. Nothing is unrolled; the kernels of the product run over the strip, a segment for each row of
// the window. A data gradient is a convolution of dy by the weights turned around. In a weight gradient the places of the
// window are the rows of A, and the sum runs over the outputs.
//
// Windows of 3 x 3 with enough channels take Winograd's way, further down.
//
// An output has one thread. A weight gradient is summed in chunks of the batch that depend on the shape alone, and these are
// added up in order. The bits do not depend on the length of vectors either, only on whether multiply-adds are fused.

// Images x [n,h,w,c], weights [kh,kw,c,o], outputs y [n,oh,ow,o] with oh = (h + 2 padding - kh) / stride + 1.
typedef struct genreg__conv {
    int n, h, w, c;
    int kh, kw, o;
    int stride, padding;
    int oh, ow;
} genreg__conv;

enum {
    GENREG__CONV_STRIP_BYTES = 32 * 1024,           // a strip should stay in L1,
    GENREG__CONV_GROUP_BYTES = 384 * 1024,          // and the panels of weights that pass over it in L2
    GENREG__CONV_PIXELS = 128,                      // outputs that a weight gradient takes at a time
    GENREG__CONV_CHUNKS = 16,                       // most sums that make up a weight gradient,
    GENREG__CONV_CHUNK_PIXELS = 2048,               // fewest outputs for each, if there are several,
    GENREG__CONV_CHUNK_BYTES = 32 * 1024 * 1024,    // and most memory for them
    GENREG__CONV_THREAD_WORK = 131072,              // multiply-adds that are worth one more thread
    GENREG__WINOGRAD_TILES = 48,                    // tiles that are transformed before they are multiplied,
    GENREG__WINOGRAD_BYTES = 1024 * 1024,           // and the memory for them, which should stay in L2
    GENREG__WINOGRAD_DW_TILES = 96,                 // for weight gradients, where they are k: better long than near
    GENREG__WINOGRAD_DW_BYTES = 4 * 1024 * 1024
};

// A matrix times vectors of elements, for `count` tiles: line k of tile t, at y + t * y_step + k * y_line, is the sum over j of
// the matrix's element (k,j) times x[j] + t * x_step; each is n contiguous elements.
typedef struct genreg__lines {
    ptrdiff_t n;
    int count;
    const genreg_real *x[6];
    ptrdiff_t x_step;
    genreg_real *y;
    ptrdiff_t y_line, y_step;
    // Only for results: the first `lines` are stored, added to what is there if accumulate, or with a bias [n] and relu.
    int lines, accumulate, relu;
    const genreg_real *bias;
} genreg__lines;
typedef void (*genreg__lines_fn)(const genreg__lines *lines);

// The kernels of one instruction set.
typedef struct genreg__conv_kernels {
    const genreg__gemm_kernels *gemm;
    void (*stack[2][2])(const genreg__tile *tile, int tiles);   // [rows: 4, the largest][columns: 1 or 2 vectors]
    genreg__lines_fn input, output_gradient, weights, output_rows, output, weight_gradient, sum;
} genreg__conv_kernels;

// The matrices of Winograd's F(4 x 4, 3 x 3), further down, for the points 0, a, -a, 2a, -2a and infinity, a = sqrt(1/2). With
// the usual points 0, 1, -1, 2, -2 results err five times as much. LD(t, j) loads xj, ST(t, k, v) stores line k.
#define GENREG__ROOT(T) ((T)0.70710678118654752440)
// B^T: rows are the coefficients of m(z) / (z - point), m(z) = z^5 - 5/2 z^3 + z.
#define GENREG__LINES_input(t, T, LD, ST) { \
        LD(t, 0) LD(t, 1) LD(t, 2) LD(t, 3) LD(t, 4) LD(t, 5) \
        const genreg__v_##t e1 = GENREG__MADD_##t(x4, x2, (T)-2), o1 = GENREG__MADD_##t(x3, x1, (T)-2); \
        const genreg__v_##t e2 = GENREG__MADD_##t(x4, x2, (T)-0.5), o2 = GENREG__MADD_##t(x3, x1, (T)-0.5); \
        ST(t, 0, GENREG__MADD_##t(x0 + x4, x2, (T)-2.5)) \
        ST(t, 1, GENREG__MADD_##t(e1, o1, GENREG__ROOT(T))) \
        ST(t, 2, GENREG__MADD_##t(e1, o1, -GENREG__ROOT(T))) \
        ST(t, 3, GENREG__MADD_##t(e2, o2, 2 * GENREG__ROOT(T))) \
        ST(t, 4, GENREG__MADD_##t(e2, o2, -2 * GENREG__ROOT(T))) \
        ST(t, 5, GENREG__MADD_##t(x1 + x5, x3, (T)-2.5)) \
    }
// A: rows are the powers 1, p, p^2, p^3 of the points.
#define GENREG__LINES_output_gradient(t, T, LD, ST) { \
        LD(t, 0) LD(t, 1) LD(t, 2) LD(t, 3) \
        const genreg__v_##t e1 = GENREG__MADD_##t(x0, x2, (T)0.5), o1 = GENREG__MADD_##t(x1, x3, (T)0.5); \
        const genreg__v_##t e2 = GENREG__MADD_##t(x0, x2, (T)2), o2 = GENREG__MADD_##t(x1, x3, (T)2); \
        ST(t, 0, x0) \
        ST(t, 1, GENREG__MADD_##t(e1, o1, GENREG__ROOT(T))) \
        ST(t, 2, GENREG__MADD_##t(e1, o1, -GENREG__ROOT(T))) \
        ST(t, 3, GENREG__MADD_##t(e2, o2, 2 * GENREG__ROOT(T))) \
        ST(t, 4, GENREG__MADD_##t(e2, o2, -2 * GENREG__ROOT(T))) \
        ST(t, 5, x3) \
    }
// G: rows are 1, p, p^2 over the product of the differences from the other points.
#define GENREG__LINES_weights(t, T, LD, ST) { \
        LD(t, 0) LD(t, 1) LD(t, 2) \
        const genreg__v_##t e1 = GENREG__MADD_##t(zero, GENREG__MADD_##t(x0, x2, (T)0.5), (T)-2 / 3); \
        const genreg__v_##t e2 = GENREG__MADD_##t(zero, GENREG__MADD_##t(x0, x2, (T)2), (T)1 / 6); \
        ST(t, 0, x0) \
        ST(t, 1, GENREG__MADD_##t(e1, x1, -2 * GENREG__ROOT(T) / 3)) \
        ST(t, 2, GENREG__MADD_##t(e1, x1, 2 * GENREG__ROOT(T) / 3)) \
        ST(t, 3, GENREG__MADD_##t(e2, x1, GENREG__ROOT(T) / 3)) \
        ST(t, 4, GENREG__MADD_##t(e2, x1, -GENREG__ROOT(T) / 3)) \
        ST(t, 5, x2) \
    }
// A^T: the same as columns. Twice: once on rows in scratch space, once on results.
#define GENREG__LINES_output_rows GENREG__LINES_output
#define GENREG__LINES_output(t, T, LD, ST) { \
        LD(t, 0) LD(t, 1) LD(t, 2) LD(t, 3) LD(t, 4) LD(t, 5) \
        const genreg__v_##t s1 = x1 + x2, d1 = x1 - x2, s2 = x3 + x4, d2 = x3 - x4; \
        ST(t, 0, x0 + s1 + s2) \
        ST(t, 1, GENREG__MADD_##t(zero, GENREG__MADD_##t(d1, d2, (T)2), GENREG__ROOT(T))) \
        ST(t, 2, GENREG__MADD_##t(zero, GENREG__MADD_##t(s1, s2, (T)4), (T)0.5)) \
        ST(t, 3, GENREG__MADD_##t(x5, GENREG__MADD_##t(d1, d2, (T)8), GENREG__ROOT(T) / 2)) \
    }
// G^T: the same as columns.
#define GENREG__LINES_weight_gradient(t, T, LD, ST) { \
        LD(t, 0) LD(t, 1) LD(t, 2) LD(t, 3) LD(t, 4) LD(t, 5) \
        const genreg__v_##t s1 = x1 + x2, d1 = x1 - x2, s2 = x3 + x4, d2 = x3 - x4; \
        ST(t, 0, GENREG__MADD_##t(GENREG__MADD_##t(x0, s1, (T)-2 / 3), s2, (T)1 / 6)) \
        ST(t, 1, GENREG__MADD_##t(zero, GENREG__MADD_##t(d2, d1, (T)-2), GENREG__ROOT(T) / 3)) \
        ST(t, 2, GENREG__MADD_##t(x5, s2 - s1, (T)1 / 3)) \
    }
#define GENREG__LINE_LOAD(t, j) const genreg__v_##t x##j = GENREG__LOAD_##t(p##j + from);
#define GENREG__LINE_LOADN(t, j) GENREG__LOADN_##t(x##j, p##j + from, left);
#define GENREG__LINE_STORE(t, k, v) GENREG__STORE_##t(y + k * y_line, v);
#define GENREG__LINE_STOREN(t, k, v) GENREG__STOREN_##t(y + k * y_line, v, left);
#define GENREG__LINE_LAST(t, k, v) if (k < l->lines) { \
        genreg__v_##t v_ = v; \
        if (l->accumulate) v_ = GENREG__LOAD_##t(y + k * y_line) + v_; \
        if (l->bias) v_ = GENREG__LOAD_##t(l->bias + i) + v_; \
        if (l->relu) v_ = GENREG__MAX0_##t(v_, zero); \
        GENREG__STORE_##t(y + k * y_line, v_); \
    }
#define GENREG__LINE_LASTN(t, k, v) if (k < l->lines) { \
        genreg__v_##t v_ = v; \
        if (l->accumulate) { GENREG__LOADN_##t(y_, y + k * y_line, left); v_ = y_ + v_; } \
        if (l->bias) { GENREG__LOADN_##t(b_, l->bias + i, left); v_ = b_ + v_; } \
        if (l->relu) v_ = GENREG__MAX0_##t(v_, zero); \
        GENREG__STOREN_##t(y + k * y_line, v_, left); \
    }
#define GENREG__LINES_KERNEL(target, t, T, name, ST, STN) \
    static target void genreg__lines_##name##_##t(const genreg__lines *l) \
    { \
        enum { lanes = (int)(sizeof(genreg__v_##t) / sizeof(T)) }; \
        const T *p0 = l->x[0], *p1 = l->x[1], *p2 = l->x[2], *p3 = l->x[3], *p4 = l->x[4], *p5 = l->x[5]; \
        const ptrdiff_t n = l->n, y_line = l->y_line; \
        const genreg__v_##t zero = {0}; \
        int tile; \
        for (tile = 0; tile < l->count; tile++) { \
            ptrdiff_t from = tile * l->x_step, i; \
            T *y = l->y + tile * l->y_step; \
            for (i = 0; i + lanes <= n; i += lanes, from += lanes, y += lanes) \
                GENREG__LINES_##name(t, T, GENREG__LINE_LOAD, ST) \
            if (i < n) { \
                const int left = (int)(n - i); \
                GENREG__LINES_##name(t, T, GENREG__LINE_LOADN, STN) \
            } \
        } \
        (void)p3; (void)p4; (void)p5; (void)zero; \
    }
// y = the sum of `count` arrays of n from x[0] on, x_step from each other, or y += it.
#define GENREG__SUM_KERNEL(target, t, T) \
    static target void genreg__lines_sum_##t(const genreg__lines *l) \
    { \
        enum { lanes = (int)(sizeof(genreg__v_##t) / sizeof(T)) }; \
        const T *x = l->x[0]; \
        T *y = l->y; \
        ptrdiff_t i; \
        int k; \
        for (i = 0; i + lanes <= l->n; i += lanes) { \
            genreg__v_##t v = GENREG__LOAD_##t(x + i); \
            for (k = 1; k < l->count; k++) v = v + GENREG__LOAD_##t(x + k * l->x_step + i); \
            if (l->accumulate) v = GENREG__LOAD_##t(y + i) + v; \
            GENREG__STORE_##t(y + i, v); \
        } \
        for (; i < l->n; i++) { \
            T v = x[i]; \
            for (k = 1; k < l->count; k++) v += x[k * l->x_step + i]; \
            y[i] = l->accumulate ? y[i] + v : v; \
        } \
    }
// Tiles one below the other: what genreg__tile says for one panel, again and again. Windows make short sums, of which a call
// for each tile would cost a third.
#define GENREG__STACK_KERNEL(target, t, T, name, rows, width) \
    static target void genreg__##name##_##t(const genreg__tile *tile, int tiles) \
    { \
        enum { lanes = (int)(sizeof(genreg__v_##t) / sizeof(T)) }; \
        const ptrdiff_t a_row = tile->a_row, a_k = tile->a_k, b_k = tile->b_k, c_row = tile->c_row; \
        const ptrdiff_t add_row = tile->add_row; \
        const int relu = tile->relu; \
        const genreg__v_##t zero = {0}; \
        const T *first = (const T *)tile->a, *add = (const T *)tile->add; \
        T *c = (T *)tile->c; \
        ptrdiff_t s, p; \
        for (; tiles > 0; tiles--) { \
            const T *a = first, *b = (const T *)tile->b; \
            GENREG__ROWS_##rows(GENREG__FETCH##width, t) \
            GENREG__ROWS_##rows(GENREG__ZERO##width, t) \
            for (s = 0; s < tile->segments; s++) { \
                for (p = tile->k; p > 0; p--) { \
                    GENREG__STACK_LOADS##width(t) \
                    GENREG__ROWS_##rows(GENREG__MADD##width, t) \
                    a += a_k; \
                    b += b_k; \
                } \
                a += tile->a_segment - tile->k * a_k; \
            } \
            GENREG__ROWS_##rows(GENREG__STORE##width, t) \
            first += rows * a_row; \
            c += rows * c_row; \
            if (add) add += rows * add_row; \
        } \
    }
#define GENREG__STACK_LOADS1(t) const genreg__v_##t b0 = GENREG__LOAD_##t(b);
#define GENREG__STACK_LOADS2(t) const genreg__v_##t b0 = GENREG__LOAD_##t(b), b1 = GENREG__LOAD_##t(b + lanes);
#define GENREG__CONV_KERNELS(target, t, rows) \
    GENREG__STACK_KERNEL(target, t, genreg_real, stack4x1, 4, 1) \
    GENREG__STACK_KERNEL(target, t, genreg_real, stack4x2, 4, 2) \
    GENREG__STACK_KERNEL(target, t, genreg_real, stackmx1, rows, 1) \
    GENREG__STACK_KERNEL(target, t, genreg_real, stackmx2, rows, 2) \
    GENREG__LINES_KERNEL(target, t, genreg_real, input, GENREG__LINE_STORE, GENREG__LINE_STOREN) \
    GENREG__LINES_KERNEL(target, t, genreg_real, output_gradient, GENREG__LINE_STORE, GENREG__LINE_STOREN) \
    GENREG__LINES_KERNEL(target, t, genreg_real, weights, GENREG__LINE_STORE, GENREG__LINE_STOREN) \
    GENREG__LINES_KERNEL(target, t, genreg_real, output_rows, GENREG__LINE_STORE, GENREG__LINE_STOREN) \
    GENREG__LINES_KERNEL(target, t, genreg_real, output, GENREG__LINE_LAST, GENREG__LINE_LASTN) \
    GENREG__LINES_KERNEL(target, t, genreg_real, weight_gradient, GENREG__LINE_LAST, GENREG__LINE_LASTN) \
    GENREG__SUM_KERNEL(target, t, genreg_real) \
    static const genreg__conv_kernels genreg__conv_##t = { \
        &genreg__gemm_##t, { { genreg__stack4x1_##t, genreg__stack4x2_##t }, { genreg__stackmx1_##t, genreg__stackmx2_##t } }, \
        genreg__lines_input_##t, genreg__lines_output_gradient_##t, genreg__lines_weights_##t, \
        genreg__lines_output_rows_##t, genreg__lines_output_##t, genreg__lines_weight_gradient_##t, genreg__lines_sum_##t \
    };

#if GENREG_REAL_IS_DOUBLE
#define GENREG__CONV_TYPE(X, target, isa, rows) X(target, isa##_f64, rows)
#else
#define GENREG__CONV_TYPE(X, target, isa, rows) X(target, isa##_f32, rows)
#endif
GENREG__CONV_TYPE(GENREG__CONV_KERNELS, GENREG__NO_TARGET, plain, 6)
#if GENREG__VECTORS
GENREG__CONV_TYPE(GENREG__CONV_KERNELS, GENREG__NO_TARGET, baseline, 6)
#endif
#if GENREG__X86
GENREG__CONV_TYPE(GENREG__CONV_KERNELS, GENREG__TARGET_AVX2, avx2, 6)
GENREG__CONV_TYPE(GENREG__CONV_KERNELS, GENREG__TARGET_AVX512, avx512, 8)
#endif

// Narrow outputs would leave most of a long vector idle: they take shorter ones.
static const genreg__conv_kernels *genreg__conv_pick(int isa, int columns)
{
#define GENREG__CONV_ADDRESS(target, t, rows) &genreg__conv_##t
#if GENREG__X86
    if (isa == GENREG_ISA_AVX512 && columns * (int)sizeof(genreg_real) > 32)
        return GENREG__CONV_TYPE(GENREG__CONV_ADDRESS, , avx512, 8);
    if (isa == GENREG_ISA_AVX512 || isa == GENREG_ISA_AVX2) return GENREG__CONV_TYPE(GENREG__CONV_ADDRESS, , avx2, 6);
#endif
#if GENREG__VECTORS
    if (isa != GENREG_ISA_PLAIN) return GENREG__CONV_TYPE(GENREG__CONV_ADDRESS, , baseline, 6);
#endif
    (void)isa; (void)columns;
    return GENREG__CONV_TYPE(GENREG__CONV_ADDRESS, , plain, 6);
}

// A convolution as it is run. Window (i,j) begins at row i * stride - top and column j * stride - left of an image, which may
// lie outside. Output (i,j) of image k is at y + k * y_image + i * y_row + j * y_pixel.
typedef struct genreg__conv_job {
    const genreg__conv_kernels *kernels;
    const genreg_real *x, *weights, *bias, *dy;
    int n, h, w, c, kh, kw, o, stride, top, left, oh, ow;
    genreg_real *y;
    ptrdiff_t y_image, y_row, y_pixel;
    int relu, accumulate;

    // A data gradient: the weights are [turn_h,turn_w,o,c]. Those from (turn_y,turn_x) on in steps of turn_step count.
    int turn, turn_w, turn_y, turn_x, turn_step;
    genreg_real *turned;

    // A unit of work is a strip for `rows` rows of outputs, or some 3 x 3 tiles side by side.
    int rows, image_units;
    ptrdiff_t strip_line;               // elements of a row of the strip
    ptrdiff_t space;                    // elements of scratch space for each thread
    genreg_real *panels, *spaces;       // packed weights, scratch space
    genreg_real *sums;                  // of a weight gradient
    int chunks, parts;                  // so many sums, so many pieces of a sum
    ptrdiff_t sum;                      // elements of a sum

    // Winograd: an image is tiles_y x tiles_x tiles. A unit is up to unit_tiles of them, a block up to block_units units.
    int winograd, tiles_y, tiles_x, unit_tiles, block_units;
    ptrdiff_t v_tile, v_position;       // transformed inputs [36][tiles][c]
    ptrdiff_t z_tile, z_position;       // transformed outputs, or transformed gradients of outputs [36][tiles][o]
    ptrdiff_t strip;                    // elements of a strip of six rows; a row of zeros follows it
} genreg__conv_job;

// How many threads so much work is worth.
static int genreg__conv_threads(const genreg__exec *e, double multiplications)
{
    const double most = 1 + multiplications / (double)GENREG__CONV_THREAD_WORK;
    return most < e->threads ? (int)most : e->threads;
}

// Sets `count` elements of scratch space aside; returns where they begin. Sizes are added up in double: none overflows.
static ptrdiff_t genreg__conv_room(double *used, double count)
{
    const double begin = *used, most = (double)(PTRDIFF_MAX / 64);
    *used += 16 * (double)(ptrdiff_t)((count < most ? count : most) / 16 + 1);
    return begin < most ? (ptrdiff_t)begin : 0;
}

// The scratch space, or NULL when memory is out.
static genreg_real *genreg__conv_scratch(genreg__exec *e, double used)
{
    if (used >= (double)(PTRDIFF_MAX / 64) || !genreg__scratch(e, (size_t)used * sizeof(genreg_real))) return NULL;
    return (genreg_real *)(void *)e->scratch;
}

// Computes `count` rows, of which the tile is the first ones, by one panel. Has it fewer columns than its width, one or two
// vectors, whole rows are computed aside.
static void genreg__conv_product(const genreg__conv_kernels *kernels, genreg__tile t, int count, int columns, int width)
{
    enum { aside = 48 * 2 * 64 / (int)sizeof(genreg_real) };
    const genreg__gemm_kernels *gemm = kernels->gemm;
    const int most = gemm->rows;
    genreg_real sums[aside];
    while (count > 0) {
        // Six rows and two would keep too few accumulators busy: four and four do better.
        const int large = count / most - (most == 6 && count % 6 == 2), rows = large > 0 ? most : 4;
        genreg__tile whole = t;
        int tiles = large > 0 ? large : count / 4, done;
        if (columns < width) {
            tiles = genreg__min_int(tiles, aside / width / rows);
            whole.c = sums;
            whole.c_row = width;
            whole.add = NULL;
            whole.relu = 0;
        }
        if (count < 4) {
            done = count >= 2 ? 2 : 1;
            genreg__gemm_tiles(gemm, &t, done, columns, width);
        } else {
            done = tiles * rows;
            kernels->stack[rows > 4][width > gemm->lanes](&whole, tiles);
            if (columns < width) gemm->finish(done, columns, sums, width, t.c, t.c_row, t.add, t.add_row, t.relu);
        }
        count -= done;
        t.a = (const genreg_real *)t.a + done * t.a_row;
        t.c = (genreg_real *)t.c + done * t.c_row;
        if (t.add) t.add = (const genreg_real *)t.add + done * t.add_row;
    }
}

// Which of the columns x ... x+columns-1 lie in an image of width w: from *first to before *end, counted from x.
static void genreg__conv_inside(int w, int x, int columns, int *first, int *end)
{
    *first = x < 0 ? genreg__min_int(-x, columns) : 0;
    *end = w - x < columns ? w - x : columns;
    if (*end < *first) *end = *first;
}

// Copies the strip for rows y0 ... y1-1 of an image's outputs.
static void genreg__conv_strip(const genreg__conv_job *job, ptrdiff_t image, int y0, int y1, genreg_real *strip)
{
    const genreg_real *x = job->x + image * job->h * job->w * job->c;
    const int columns = (job->ow - 1) * job->stride + job->kw, end = (y1 - 1) * job->stride - job->top + job->kh;
    const size_t pixel = (size_t)job->c * sizeof(genreg_real);
    int y = y0 * job->stride - job->top, a, b;
    genreg__conv_inside(job->w, -job->left, columns, &a, &b);
    for (; y < end; y++, strip += job->strip_line) {
        if (y < 0 || y >= job->h || a == b) {
            memset(strip, 0, (size_t)columns * pixel);
            continue;
        }
        memset(strip, 0, (size_t)a * pixel);
        memcpy(strip + (ptrdiff_t)a * job->c, x + ((ptrdiff_t)y * job->w + a - job->left) * job->c, (size_t)(b - a) * pixel);
        memset(strip + (ptrdiff_t)b * job->c, 0, (size_t)(columns - b) * pixel);
    }
}

// Decides how many rows of outputs a strip serves: at most `most`, and what fits into `bytes`. Returns its elements.
static ptrdiff_t genreg__conv_plan_strips(genreg__conv_job *job, ptrdiff_t bytes, int most)
{
    ptrdiff_t fit = most;
    job->strip_line = ((ptrdiff_t)(job->ow - 1) * job->stride + job->kw) * job->c;
    if (job->strip_line > 0)
        fit = (bytes / (ptrdiff_t)sizeof(genreg_real) / job->strip_line - job->kh) / job->stride + 1;
    job->rows = fit < 1 ? 1 : fit < most ? (int)fit : most;
    job->image_units = (job->oh - 1) / job->rows + 1;
    job->rows = (job->oh - 1) / job->image_units + 1;     // evenly
    job->image_units = (job->oh - 1) / job->rows + 1;
    return ((ptrdiff_t)(job->rows - 1) * job->stride + job->kh) * job->strip_line;
}

// ---- conv: Winograd's tiles ----
//
// F(4 x 4, 3 x 3): 4 x 4 outputs are A^T [ (G g G^T) * (B^T d B) ] A for 6 x 6 inputs d and weights g, where * takes the
// products of the elements: 36 for each pair of channels instead of 144. For many tiles and channels they are 36 matrix
// products. A transform goes over rows first: all columns and channels of a strip of rows, contiguous. Then over columns.

// 1 if it should pay, in multiply-adds: those of the transforms are slower than those of products. Measured factors.
static int genreg__winograd_pays(const genreg__exec *e, const genreg__conv_job *job)
{
    const double c = job->c, o = genreg__up_to(job->o, 8), images = job->n;
    const double tiles = images * ((job->oh + 3) / 4) * ((job->ow + 3) / 4);
    if (!e->winograd || job->kh != 3 || job->kw != 3 || job->stride != 1) return 0;
    return tiles * (36 * c * o + 350 * (c + o)) + 200 * c * o < 9 * images * job->oh * job->ow * c * o;
}

// Cuts the batch into units, and each of so many pieces of it into even blocks of units: at most `tiles` tiles, and what fits
// into `bytes` with so many channels.
static void genreg__winograd_plan(genreg__conv_job *job, int tiles, int bytes, int channels, int pieces)
{
    const int fit = bytes / (36 * (int)sizeof(genreg_real)) / channels / 8 * 8;
    ptrdiff_t piece, blocks;
    int cuts;
    if (tiles > fit) tiles = fit > 16 ? fit : 16;
    job->tiles_y = (job->oh + 3) / 4;
    job->tiles_x = (job->ow + 3) / 4;
    cuts = (job->tiles_x - 1) / tiles + 1;
    job->unit_tiles = (job->tiles_x - 1) / cuts + 1;
    cuts = (job->tiles_x - 1) / job->unit_tiles + 1;
    job->image_units = job->tiles_y * cuts;
    piece = ((ptrdiff_t)job->n * job->image_units - 1) / pieces + 1;
    blocks = (piece - 1) / (tiles / job->unit_tiles) + 1;
    job->block_units = (int)((piece - 1) / blocks) + 1;
    // Positions 64 bytes out of step do not compete for the same lines of the cache.
    job->v_tile = genreg__up_to(job->c, 16);
    job->v_position = job->block_units * job->unit_tiles * job->v_tile + 16;
    job->strip = 6 * ((4 * job->unit_tiles + 2) * (ptrdiff_t)(job->c > job->o ? job->c : job->o) + 16);
}

// Unit number `unit`: its image, its first output and its tiles.
typedef struct genreg__winograd_unit { ptrdiff_t image; int y, x, tiles; } genreg__winograd_unit;
static genreg__winograd_unit genreg__winograd_unit_at(const genreg__conv_job *job, ptrdiff_t unit)
{
    const int cuts = job->image_units / job->tiles_y, rest = (int)(unit % job->image_units), x = rest % cuts * job->unit_tiles;
    genreg__winograd_unit u;
    u.image = unit / job->image_units;
    u.y = rest / cuts * 4;
    u.x = x * 4;
    u.tiles = genreg__min_int(job->unit_tiles, job->tiles_x - x);
    return u;
}

// Transforms the tiles of a unit, channels c0 ... c1-1: inputs of 6 x 6 every four pixels, to [36][tiles][c], or the 4 x 4 of dy.
static void genreg__winograd_transform(const genreg__conv_job *job, genreg__winograd_unit u, int of_dy, int c0, int c1,
                                       genreg_real *strip, genreg_real *to)
{
    const genreg__lines_fn transform = of_dy ? job->kernels->output_gradient : job->kernels->input;
    const int h = of_dy ? job->oh : job->h, w = of_dy ? job->ow : job->w, c = of_dy ? job->o : job->c;
    const int reach = of_dy ? 4 : 6, y = of_dy ? u.y : u.y - job->top, x = of_dy ? u.x : u.x - job->left;
    const int columns = 4 * u.tiles + reach - 4;
    const ptrdiff_t line = (ptrdiff_t)columns * c + 16, position = of_dy ? job->z_position : job->v_position;
    const genreg_real *image = (of_dy ? job->dy : job->x) + u.image * h * w * c, *zeros = strip + job->strip;
    genreg__lines l;
    int a, b, i, j;
    memset(&l, 0, sizeof l);
    genreg__conv_inside(w, x, columns, &a, &b);
    for (i = 0; i < reach; i++)
        l.x[i] = y + i >= 0 && y + i < h && a < b ? image + ((ptrdiff_t)(y + i) * w + x + a) * c : zeros;
    l.n = (ptrdiff_t)(b - a) * c;
    l.count = 1;
    l.y = strip + (ptrdiff_t)a * c;
    l.y_line = line;
    transform(&l);
    l.n = c1 - c0;
    l.count = u.tiles;
    l.x_step = 4 * (ptrdiff_t)c;
    l.y_line = position;
    l.y_step = of_dy ? job->z_tile : job->v_tile;
    for (i = 0; i < 6; i++, strip += line) {
        memset(strip, 0, (size_t)(a * (ptrdiff_t)c) * sizeof *strip);
        memset(strip + (ptrdiff_t)b * c, 0, (size_t)((columns - b) * (ptrdiff_t)c) * sizeof *strip);
        for (j = 0; j < reach; j++) l.x[j] = strip + (ptrdiff_t)j * c + c0;
        l.y = to + 6 * i * position + c0;
        transform(&l);
    }
}

// Packed, transformed weights: panels of columns, each [36][c][width].
static void genreg__winograd_pack_part(void *arg, int thread, int threads)
{
    const genreg__conv_job *job = (const genreg__conv_job *)arg;
    const int lanes = job->kernels->gemm->lanes, items = ((job->o - 1) / (2 * lanes) + 1) * job->c;
    const ptrdiff_t tap = (ptrdiff_t)job->c * job->o;
    genreg_real rows[6 * 3 * 32];
    int item = (int)genreg__share(items, thread, threads), end = (int)genreg__share(items, thread + 1, threads), i, j;
    genreg__lines l;
    memset(rows, 0, sizeof rows);
    memset(&l, 0, sizeof l);
    for (; item < end; item++) {
        const int c = item % job->c, j0 = item / job->c * 2 * lanes, left = job->o - j0, width = left > lanes ? 2 * lanes : lanes;
        l.n = genreg__min_int(left, width);
        l.count = 3;
        for (i = 0; i < 3; i++) l.x[i] = job->weights + 3 * i * tap + (ptrdiff_t)c * job->o + j0;
        l.x_step = tap;
        l.y = rows;
        l.y_line = 3 * 32;
        l.y_step = 32;
        job->kernels->weights(&l);
        l.n = width;
        l.count = 6;
        for (j = 0; j < 3; j++) l.x[j] = rows + j * 32;
        l.x_step = 3 * 32;
        l.y = job->panels + ((ptrdiff_t)j0 * 36 * job->c + (ptrdiff_t)c * width);
        l.y_line = (ptrdiff_t)job->c * width;
        l.y_step = 6 * l.y_line;
        job->kernels->weights(&l);
    }
}

// Outputs j ... j+columns-1 of a block's tiles from their 36 products z.
static void genreg__winograd_outputs(const genreg__conv_job *job, ptrdiff_t first, ptrdiff_t end, int j, int columns, int width,
                                     const genreg_real *z)
{
    genreg_real rows[4 * 6 * 32];
    genreg__lines l, last;
    int i, tile;
    memset(&l, 0, sizeof l);
    l.n = width;
    l.count = 6;
    l.x_step = job->z_position;
    l.y = rows;
    l.y_line = 6 * width;
    l.y_step = width;
    l.lines = 4;
    last = l;
    last.n = columns;
    for (i = 0; i < 6; i++) last.x[i] = rows + i * width;
    last.x_step = 6 * width;
    last.y_line = job->y_pixel;
    last.y_step = job->y_row;
    last.accumulate = job->accumulate;
    last.relu = job->relu;
    last.bias = job->bias ? job->bias + j : NULL;
    for (; first < end; first++) {
        const genreg__winograd_unit u = genreg__winograd_unit_at(job, first);
        for (tile = 0; tile < u.tiles; tile++, z += width) {
            for (i = 0; i < 6; i++) l.x[i] = z + 6 * i * job->z_position;
            job->kernels->output_rows(&l);
            last.lines = genreg__min_int(job->ow - u.x - 4 * tile, 4);
            last.count = genreg__min_int(job->oh - u.y, 4);
            last.y = job->y + u.image * job->y_image + u.y * job->y_row + (u.x + 4 * tile) * job->y_pixel + j;
            job->kernels->output(&last);
        }
    }
}

// Transforms the tiles of a block, then for each panel computes 36 products and transforms them back.
static void genreg__winograd_part(void *arg, int thread, int threads)
{
    const genreg__conv_job *job = (const genreg__conv_job *)arg;
    const genreg__gemm_kernels *gemm = job->kernels->gemm;
    const ptrdiff_t units = (ptrdiff_t)job->n * job->image_units, end = genreg__share(units, thread + 1, threads);
    genreg_real *strip = job->spaces + thread * job->space, *v = strip + job->strip / 6 * 7, *z = v + 36 * job->v_position;
    ptrdiff_t first = genreg__share(units, thread, threads), last, unit;
    genreg__tile t;
    memset(&t, 0, sizeof t);
    t.k = job->c;
    t.segments = 1;
    t.a_row = job->v_tile;
    t.a_k = 1;
    memset(strip + job->strip, 0, (size_t)(job->strip / 6) * sizeof *strip);
    for (; first < end; first = last) {
        int tiles = 0, j, p, width;
        last = first + job->block_units < end ? first + job->block_units : end;
        for (unit = first; unit < last; unit++) {
            const genreg__winograd_unit u = genreg__winograd_unit_at(job, unit);
            genreg__winograd_transform(job, u, 0, 0, job->c, strip, v + tiles * job->v_tile);
            tiles += u.tiles;
        }
        for (j = 0; j < job->o; j += width) {
            width = job->o - j > gemm->lanes ? 2 * gemm->lanes : gemm->lanes;
            t.b_k = t.c_row = width;
            for (p = 0; p < 36; p++) {
                t.b = job->panels + ((ptrdiff_t)j * 36 + (ptrdiff_t)p * width) * job->c;
                t.a = v + p * job->v_position;
                t.c = z + p * job->z_position;
                genreg__conv_product(job->kernels, t, tiles, width, width);
            }
            genreg__winograd_outputs(job, first, last, j, genreg__min_int(width, job->o - j), width, z);
        }
    }
}

// ---- conv: outputs and data gradients ----

// Packed weights: panels of columns, each [kh*kw*c][width].
static void genreg__conv_pack_part(void *arg, int thread, int threads)
{
    const genreg__conv_job *job = (const genreg__conv_job *)arg;
    const genreg__gemm_kernels *gemm = job->kernels->gemm;
    const int unit = 2 * gemm->lanes, k = job->kh * job->kw * job->c, panels = (job->o - 1) / unit + 1;
    int p;
    for (p = thread; p < panels; p += threads) {
        const int j = p * unit, columns = genreg__min_int(job->o - j, unit);
        gemm->widen(k, columns, job->weights + j, job->o, job->panels + (ptrdiff_t)j * k, columns > gemm->lanes ? unit : gemm->lanes);
    }
}

// Turns the weights around for a data gradient: taps in reverse order, inputs for outputs.
static void genreg__conv_turn_part(void *arg, int thread, int threads)
{
    const genreg__conv_job *job = (const genreg__conv_job *)arg;
    const ptrdiff_t size = (ptrdiff_t)job->c * job->o;
    int tap;
    for (tap = thread; tap < job->kh * job->kw; tap += threads) {
        const int y = job->turn_y + (job->kh - 1 - tap / job->kw) * job->turn_step;
        const int x = job->turn_x + (job->kw - 1 - tap % job->kw) * job->turn_step;
        job->kernels->gemm->transpose(job->c, job->o, job->weights + ((ptrdiff_t)y * job->turn_w + x) * size, job->c,
                                      job->turned + tap * size, job->o);
    }
}

// Rows y0 ... y1-1 of one image's outputs.
static void genreg__conv_unit(const genreg__conv_job *job, ptrdiff_t image, int y0, int y1, genreg_real *strip)
{
    const genreg__gemm_kernels *gemm = job->kernels->gemm;
    const int unit = 2 * gemm->lanes, k = job->kh * job->kw * job->c;
    const int fit = GENREG__CONV_GROUP_BYTES / gemm->element / (k > 0 ? k : 1) / unit * unit, group = fit > unit ? fit : unit;
    int jb, y, j, width;
    genreg__tile t;
    genreg__conv_strip(job, image, y0, y1, strip);
    t.k = (ptrdiff_t)job->kw * job->c;
    t.segments = job->kh;
    t.a_row = (ptrdiff_t)job->stride * job->c;
    t.a_k = 1;
    t.a_segment = job->strip_line;
    t.b_panel = 0;
    t.pack = NULL;
    t.c_row = job->y_pixel;
    t.add_row = job->accumulate ? t.c_row : 0;
    t.relu = job->relu;
    for (jb = 0; jb < job->o; jb += group) {
        const int jb_end = genreg__min_int(jb + group, job->o);
        for (y = y0; y < y1; y++) {
            t.a = strip + (y - y0) * job->stride * job->strip_line;
            for (j = jb; j < jb_end; j += width) {
                width = jb_end - j > gemm->lanes ? unit : gemm->lanes;
                t.b = job->panels + (ptrdiff_t)j * k;
                t.b_k = width;
                t.c = job->y + image * job->y_image + y * job->y_row + j;
                t.add = job->accumulate ? (const genreg_real *)t.c : job->bias ? job->bias + j : NULL;
                genreg__conv_product(job->kernels, t, job->ow, genreg__min_int(width, jb_end - j), width);
            }
        }
    }
}

static void genreg__conv_part(void *arg, int thread, int threads)
{
    const genreg__conv_job *job = (const genreg__conv_job *)arg;
    const ptrdiff_t units = (ptrdiff_t)job->n * job->image_units, end = genreg__share(units, thread + 1, threads);
    ptrdiff_t unit;
    for (unit = genreg__share(units, thread, threads); unit < end; unit++) {
        const int y = (int)(unit % job->image_units) * job->rows;
        genreg__conv_unit(job, unit / job->image_units, y, genreg__min_int(y + job->rows, job->oh),
                          job->spaces + thread * job->space);
    }
}

// Computes outputs or a data gradient.
static int genreg__conv_run(genreg__exec *e, const genreg__conv_job *given)
{
    genreg__conv_job copy = *given, *const job = &copy;
    const int lanes = job->kernels->gemm->lanes, winograd = genreg__winograd_pays(e, job);
    const double k = (double)job->kh * job->kw * job->c, columns = genreg__up_to(job->o, lanes);
    const int threads = genreg__conv_threads(e, k * job->n * job->oh * job->ow * job->o);
    const int pack_threads = genreg__conv_threads(e, 8 * k * job->o);
    ptrdiff_t panels, spaces, turned;
    genreg_real *scratch;
    double used = 0;
    if (winograd) {
        genreg__winograd_plan(job, GENREG__WINOGRAD_TILES, GENREG__WINOGRAD_BYTES, job->c, threads);
        job->z_position = job->block_units * job->unit_tiles * 2 * lanes + 16;
        job->space = job->strip / 6 * 7 + 36 * (job->v_position + job->z_position);
    } else {
        job->space = genreg__conv_plan_strips(job, GENREG__CONV_STRIP_BYTES, job->oh);
    }
    job->space = (job->space + 15) / 16 * 16;
    panels = genreg__conv_room(&used, (winograd ? 36.0 * job->c : k) * columns);
    spaces = genreg__conv_room(&used, (double)job->space * threads);
    turned = genreg__conv_room(&used, job->turn ? k * job->o : 0);
    scratch = genreg__conv_scratch(e, used);
    if (!scratch) return 0;
    job->panels = scratch + panels;
    job->spaces = scratch + spaces;
    if (job->turn) {
        job->turned = scratch + turned;
        genreg__team(pack_threads, genreg__conv_turn_part, job);
        job->weights = job->turned;
    }
    genreg__team(pack_threads, winograd ? genreg__winograd_pack_part : genreg__conv_pack_part, job);
    genreg__team(threads, winograd ? genreg__winograd_part : genreg__conv_part, job);
    return 1;
}

static genreg__conv_job genreg__conv_job_of(const genreg__exec *e, const genreg__conv *g)
{
    genreg__conv_job job;
    memset(&job, 0, sizeof job);
    job.kernels = genreg__conv_pick(e->isa, g->o);
    job.n = g->n; job.h = g->h; job.w = g->w; job.c = g->c;
    job.kh = g->kh; job.kw = g->kw; job.o = g->o;
    job.stride = g->stride;
    job.top = job.left = g->padding;
    job.oh = g->oh; job.ow = g->ow;
    return job;
}

// y = relu(x * w + bias), or y += x * w. As those below, returns 0 when memory for scratch space is out, else 1.
static GENREG__MAYBE_UNUSED int genreg__conv_y(genreg__exec *e, const genreg__conv *g, const genreg_real *x,
                                               const genreg_real *w, const genreg_real *bias, int relu, genreg_real *y,
                                               int accumulate)
{
    genreg__conv_job job = genreg__conv_job_of(e, g);
    job.x = x;
    job.weights = w;
    job.bias = bias;
    job.y = y;
    job.y_pixel = g->o;
    job.y_row = job.y_pixel * g->ow;
    job.y_image = job.y_row * g->oh;
    job.relu = relu;
    job.accumulate = accumulate;
    return genreg__conv_run(e, &job);
}

// Along one axis, pixels r, r + stride, ... of dx meet only the weights first, first + stride, ..., in reverse order: a
// convolution of stride 1. Its first window begins `before` pixels before the first of dy.
static void genreg__conv_class(int size, int kernel, int stride, int padding, int r, int *first, int *taps, int *before,
                               int *pixels)
{
    *first = (r + padding) % stride;
    *taps = *first < kernel ? (kernel - 1 - *first) / stride + 1 : 0;
    *before = *taps - 1 - (r + padding) / stride;
    *pixels = (size - 1 - r) / stride + 1;
}

// dx = for each pixel, the sum of dy times weights over the windows it is in, or dx += that.
static GENREG__MAYBE_UNUSED int genreg__conv_dx(genreg__exec *e, const genreg__conv *g, const genreg_real *dy,
                                                const genreg_real *w, genreg_real *dx, int accumulate)
{
    genreg__conv_job job = genreg__conv_job_of(e, g);
    int r, q;
    job.kernels = genreg__conv_pick(e->isa, g->c);
    job.x = dy;
    job.h = g->oh; job.w = g->ow; job.c = g->o;
    job.o = g->c;
    job.weights = w;
    job.turn = 1;
    job.turn_w = g->kw;
    job.turn_step = g->stride;
    job.stride = 1;
    job.y_pixel = (ptrdiff_t)g->stride * g->c;
    job.y_row = job.y_pixel * g->w;
    job.y_image = (ptrdiff_t)g->h * g->w * g->c;
    job.accumulate = accumulate;
    for (r = 0; r < g->stride && r < g->h; r++) {
        genreg__conv_class(g->h, g->kh, g->stride, g->padding, r, &job.turn_y, &job.kh, &job.top, &job.oh);
        for (q = 0; q < g->stride && q < g->w; q++) {
            genreg__conv_class(g->w, g->kw, g->stride, g->padding, q, &job.turn_x, &job.kw, &job.left, &job.ow);
            job.y = dx + ((ptrdiff_t)r * g->w + q) * g->c;
            if (!genreg__conv_run(e, &job)) return 0;
        }
    }
    return 1;
}

// ---- conv: weight gradients ----

// Adds to a sum, or begins it with, what rows y0 ... y1-1 of one image's outputs give to columns j0 ... j1-1.
static void genreg__conv_dw_unit(const genreg__conv_job *job, ptrdiff_t image, int y0, int y1, int j0, int j1,
                                 genreg_real *strip, genreg_real *panel, genreg_real *sum, int begin)
{
    const genreg__gemm_kernels *gemm = job->kernels->gemm;
    const genreg_real *dy = job->dy + (image * job->oh + y0) * job->ow * job->o;
    const int k = job->kw * job->c;
    int i, j, width;
    genreg__tile t;
    genreg__conv_strip(job, image, y0, y1, strip);
    t.k = job->ow;
    t.segments = y1 - y0;
    t.a_row = 1;
    t.a_k = (ptrdiff_t)job->stride * job->c;
    t.a_segment = job->stride * job->strip_line;
    t.b = panel;
    t.b_panel = 0;
    t.pack = NULL;
    t.c_row = t.add_row = job->o;
    t.relu = 0;
    for (j = j0; j < j1; j += width) {
        const int left = j1 - j;
        width = left > gemm->lanes ? 2 * gemm->lanes : gemm->lanes;
        if (job->o == width) t.b = dy;      // a panel as it is
        else gemm->widen((y1 - y0) * job->ow, genreg__min_int(left, width), dy + j, job->o, panel, width);
        t.b_k = width;
        for (i = 0; i < job->kh; i++) {
            t.a = strip + i * job->strip_line;
            t.c = sum + (ptrdiff_t)i * k * job->o + j;
            t.add = begin ? NULL : t.c;
            genreg__conv_product(job->kernels, t, k, genreg__min_int(left, width), width);
        }
    }
}

// The same for a block of Winograd's tiles: the sum is over tiles, [36][c][o].
static void genreg__winograd_dw_block(const genreg__conv_job *job, ptrdiff_t unit, ptrdiff_t end, int j0, int j1,
                                      genreg_real *space, genreg_real *sum, int begin)
{
    const genreg__gemm_kernels *gemm = job->kernels->gemm;
    genreg_real *strip = space, *v = strip + job->strip / 6 * 7, *z = v + 36 * job->v_position;
    int p, j, width;
    genreg__tile t;
    memset(&t, 0, sizeof t);
    for (; unit < end; unit++) {
        const genreg__winograd_unit u = genreg__winograd_unit_at(job, unit);
        genreg__winograd_transform(job, u, 0, 0, job->c, strip, v + t.k * job->v_tile);
        genreg__winograd_transform(job, u, 1, j0, j1, strip, z + t.k * job->z_tile);
        t.k += u.tiles;
    }
    t.segments = 1;
    t.a_row = 1;
    t.a_k = job->v_tile;
    t.b_k = job->z_tile;
    t.c_row = t.add_row = job->z_tile;
    for (p = 0; p < 36; p++) {
        t.a = v + p * job->v_position;
        for (j = j0; j < j1; j += width) {
            width = j1 - j > gemm->lanes ? 2 * gemm->lanes : gemm->lanes;
            t.b = z + p * job->z_position + j;
            t.c = sum + (ptrdiff_t)p * job->c * job->z_tile + j;
            t.add = begin ? NULL : t.c;
            genreg__conv_product(job->kernels, t, job->c, width, width);
        }
    }
}

static void genreg__conv_dw_part(void *arg, int thread, int threads)
{
    const genreg__conv_job *job = (const genreg__conv_job *)arg;
    const int width = 2 * job->kernels->gemm->lanes, panels = (job->o - 1) / width + 1;
    const ptrdiff_t units = (ptrdiff_t)job->n * job->image_units, step = job->winograd ? job->block_units : 1;
    genreg_real *space = job->spaces + thread * job->space;
    int item = (int)genreg__share(job->chunks * job->parts, thread, threads);
    const int last = (int)genreg__share(job->chunks * job->parts, thread + 1, threads);
    if (job->winograd) memset(space + job->strip, 0, (size_t)(job->strip / 6) * sizeof *space);
    for (; item < last; item++) {
        const int chunk = item / job->parts, part = item % job->parts;
        const int j0 = panels * part / job->parts * width;
        const int j1 = genreg__min_int(panels * (part + 1) / job->parts * width, job->o);
        const ptrdiff_t first = units * chunk / job->chunks, end = units * (chunk + 1) / job->chunks;
        ptrdiff_t unit;
        for (unit = first; unit < end; unit += step) {
            genreg_real *sum = job->sums + chunk * job->sum;
            const int y = (int)(unit % job->image_units) * job->rows;
            if (job->winograd)
                genreg__winograd_dw_block(job, unit, unit + step < end ? unit + step : end, j0, j1, space, sum, unit == first);
            else
                genreg__conv_dw_unit(job, unit / job->image_units, y, genreg__min_int(y + job->rows, job->oh), j0, j1, space,
                                     space + job->strip, sum, unit == first);
        }
    }
}

// Adds up the sums.
static void genreg__conv_dw_end_part(void *arg, int thread, int threads)
{
    const genreg__conv_job *job = (const genreg__conv_job *)arg;
    const ptrdiff_t begin = genreg__share(job->sum, thread, threads);
    genreg__lines l;
    memset(&l, 0, sizeof l);
    l.n = genreg__share(job->sum, thread + 1, threads) - begin;
    l.count = job->chunks;
    l.x[0] = job->sums + begin;
    l.x_step = job->sum;
    l.y = job->y + begin;
    l.accumulate = job->accumulate;
    job->kernels->sum(&l);
}

// Adds up the sums and transforms them back, a row of output channels at a time: G^T sum G.
static void genreg__winograd_dw_end_part(void *arg, int thread, int threads)
{
    const genreg__conv_job *job = (const genreg__conv_job *)arg;
    const ptrdiff_t o = job->z_tile;
    genreg_real *sum = job->spaces + thread * job->space, *rows = sum + 36 * o;
    genreg__lines add, row, last;
    int c = (int)genreg__share(job->c, thread, threads), end = (int)genreg__share(job->c, thread + 1, threads), i;
    memset(&add, 0, sizeof add);
    add.n = job->o;
    row = add;
    add.count = job->chunks;
    add.x_step = job->sum;
    row.count = 6;
    row.x_step = o;
    row.y = rows;
    row.y_line = 6 * o;
    row.y_step = o;
    row.lines = 3;
    last = row;
    last.count = 3;
    last.x_step = 6 * o;
    last.y_line = (ptrdiff_t)job->c * job->o;
    last.y_step = 3 * last.y_line;
    last.accumulate = job->accumulate;
    for (i = 0; i < 6; i++) {
        row.x[i] = sum + 6 * i * o;
        last.x[i] = rows + i * o;
    }
    for (; c < end; c++) {
        for (i = 0; i < 36; i++) {
            add.x[0] = job->sums + ((ptrdiff_t)i * job->c + c) * o;
            add.y = sum + i * o;
            job->kernels->sum(&add);
        }
        job->kernels->weight_gradient(&row);
        last.y = job->y + (ptrdiff_t)c * job->o;
        job->kernels->weight_gradient(&last);
    }
}

// dw = for each weight, the sum over all windows of what it stood on times dy, or dw += that.
static GENREG__MAYBE_UNUSED int genreg__conv_dw(genreg__exec *e, const genreg__conv *g, const genreg_real *x,
                                                const genreg_real *dy, genreg_real *dw, int accumulate)
{
    genreg__conv_job job = genreg__conv_job_of(e, g);
    const double size = (double)g->kh * g->kw * g->c * g->o;
    const int threads = genreg__conv_threads(e, size * g->n * g->oh * g->ow), lanes = job.kernels->gemm->lanes;
    ptrdiff_t spaces, sums;
    double used = 0;
    genreg_real *scratch;
    job.x = x;
    job.dy = dy;
    job.y = dw;
    job.accumulate = accumulate;
    job.winograd = genreg__winograd_pays(e, &job);
    job.z_tile = genreg__up_to(g->o, 16) + 16;
    job.sum = job.winograd ? 36 * g->c * job.z_tile : (ptrdiff_t)g->kh * g->kw * g->c * g->o;
    job.chunks = GENREG__CONV_CHUNKS;
    while (job.chunks > 1 && ((double)job.chunks * (double)GENREG__CONV_CHUNK_PIXELS > (double)g->n * g->oh * g->ow ||
                              (double)job.chunks * (double)job.sum * (double)sizeof *dw > (double)GENREG__CONV_CHUNK_BYTES))
        job.chunks /= 2;
    if (job.winograd) {
        genreg__winograd_plan(&job, GENREG__WINOGRAD_DW_TILES, GENREG__WINOGRAD_DW_BYTES, g->c + g->o, job.chunks);
        job.z_position = job.block_units * job.unit_tiles * job.z_tile + 16;
        job.space = job.strip / 6 * 7 + 36 * (job.v_position + job.z_position);
        if (job.space < 54 * job.z_tile) job.space = 54 * job.z_tile;     // for the way back
    } else {
        job.strip = genreg__conv_plan_strips(&job, 2 * GENREG__CONV_STRIP_BYTES,
                                             genreg__min_int((GENREG__CONV_PIXELS - 1) / g->ow + 1, g->oh));
        job.strip = (job.strip + 15) / 16 * 16;
        job.space = job.strip + (ptrdiff_t)job.rows * g->ow * 2 * lanes;
    }
    if (job.chunks > (ptrdiff_t)g->n * job.image_units) job.chunks = g->n * job.image_units;
    job.space = (job.space + 15) / 16 * 16;
    job.parts = genreg__min_int((threads - 1) / job.chunks + 1, (g->o - 1) / (2 * lanes) + 1);
    spaces = genreg__conv_room(&used, (double)job.space * threads);
    sums = genreg__conv_room(&used, (double)job.sum * job.chunks);
    scratch = genreg__conv_scratch(e, used);
    if (!scratch) return 0;
    job.spaces = scratch + spaces;
    job.sums = scratch + sums;
    genreg__team(threads, genreg__conv_dw_part, &job);
    genreg__team(genreg__min_int(threads, genreg__conv_threads(e, (double)job.sum * job.chunks)),
                 job.winograd ? genreg__winograd_dw_end_part : genreg__conv_dw_end_part, &job);
    return 1;
}

// >>linalg -------------------------------------------------------------------------------------------------------------
// Owns small dense problems in double precision, whatever genreg_real is: they come after sums over millions of numbers, and
// cost nothing beside them.

/* ---- Cholesky ------------------------------------------------------------------------------------------ */

enum { GENREG__CHOLESKY_BLOCK = 96 };

/* Rows first ... last-1 of a panel [rows, width]: each row x is solved for in x L^T = row, where t = L^T [width, width] so that the
   inner loop runs along a row. */
typedef struct genreg__panel_job { genreg__loop loop; double *a; const double *t; ptrdiff_t stride, first, last; int width; } genreg__panel_job;
static GENREG__INLINE void genreg__panel_solve_body(const void *arg)
{
    const genreg__panel_job *j = (const genreg__panel_job *)arg;
    ptrdiff_t r;
    int k, m;
    for (r = j->first; r < j->last; r++) {
        double *x = j->a + r * j->stride;
        for (k = 0; k < j->width; k++) {
            const double *t = j->t + k * GENREG__CHOLESKY_BLOCK, v = x[k] / t[k];
            x[k] = v;
            GENREG__NO_ALIAS
            for (m = k + 1; m < j->width; m++) x[m] -= v * t[m];
        }
    }
}
GENREG__WIDEN(genreg__panel_solve)

GENREG__RANGE(genreg__panel_range, genreg__panel_job)

/* c [m,n] = op(a) b or op(a) b^T in double, rows lda, ldb and n apart; 0 when scratch cannot be had. */
static int genreg__product64(genreg__exec *e, int m, int n, int k, const double *a, ptrdiff_t lda, int ta, const double *b, ptrdiff_t ldb, int tb, double *c)
{
    genreg__gemm_job job;
    memset(&job, 0, sizeof job);
    job.m = m; job.n = n; job.k = k;
    job.a = a; job.lda = lda; job.ta = ta;
    job.b = b; job.ldb = ldb; job.tb = tb;
    job.c = c; job.ldc = n;
    return genreg__gemm_f64(e, &job);
}

/* Room that genreg__cholesky and genreg__cholesky_solve want for themselves, in doubles. */
static size_t genreg__cholesky_room(int n, int columns)
{
    size_t width = (size_t)GENREG__MAX(columns, (int)GENREG__CHOLESKY_BLOCK);
    return ((size_t)n + GENREG__CHOLESKY_BLOCK) * width;
}

/* A = L L^T for a symmetric A [n,n], of which the lower triangle is read and replaced by L. Block columns from the left: each first gets
   what stands left of it, as one product. Returns n; or the number of a pivot that is not above `tiny`, where it stopped; or -1 when memory is out. */
static int genreg__cholesky(genreg__exec *e, double *a, int n, double tiny, double *room)
{
    double *t = room, *left = room + GENREG__CHOLESKY_BLOCK * GENREG__CHOLESKY_BLOCK;
    int j, i, k, m, width;
    for (j = 0; j < n; j += width) {
        genreg__panel_job p;
        width = genreg__min_int(GENREG__CHOLESKY_BLOCK, n - j);
        if (j && !genreg__product64(e, n - j, width, j, a + (ptrdiff_t)j * n, n, 0, a + (ptrdiff_t)j * n, n, 1, left)) return -1;
        for (i = j; j && i < n; i++)
            for (k = 0; k < width; k++) a[(ptrdiff_t)i * n + j + k] -= left[(ptrdiff_t)(i - j) * width + k];
        for (k = 0; k < width; k++) { /* the diagonal block, row by row, and its transpose into t */
            double *row = a + (ptrdiff_t)(j + k) * n + j, pivot = row[k];
            for (i = 0; i < k; i++) {
                const double *above = a + (ptrdiff_t)(j + i) * n + j;
                double s = row[i];
                for (m = 0; m < i; m++) s -= row[m] * above[m];
                row[i] = t[i * GENREG__CHOLESKY_BLOCK + k] = s / above[i];
                pivot -= row[i] * row[i];
            }
            if (!(pivot > tiny)) return j + k;
            row[k] = t[k * GENREG__CHOLESKY_BLOCK + k] = sqrt(pivot);
        }
        p.loop = genreg__pick(&genreg__panel_solve, e->isa);
        p.a = a + (ptrdiff_t)(j + width) * n + j;
        p.t = t;
        p.stride = n;
        p.width = width;
        genreg__split_range(e, n - j - width, 1, (ptrdiff_t)(n - j) * width >= GENREG__SERIAL / 8, genreg__panel_range, &p);
    }
    return n;
}

/* x [n,columns], the right-hand sides, becomes the solution of L L^T x = b. Returns 0 when memory is out. */
static int genreg__cholesky_solve(genreg__exec *e, const double *l, int n, double *x, int columns, double *room)
{
    int backward, block, blocks = (n - 1) / GENREG__CHOLESKY_BLOCK + 1;
    ptrdiff_t i, k, m;
    for (backward = 0; backward < 2; backward++)
        for (block = 0; block < blocks; block++) {
            int j = GENREG__CHOLESKY_BLOCK * (backward ? blocks - 1 - block : block), width = genreg__min_int(GENREG__CHOLESKY_BLOCK, n - j);
            int known = backward ? n - j - width : j; /* rows of x that are solved for */
            double *xj = x + (ptrdiff_t)j * columns;
            if (known && !genreg__product64(e, width, columns, known, backward ? l + (ptrdiff_t)(j + width) * n + j : l + (ptrdiff_t)j * n, n, backward,
                                            backward ? xj + (ptrdiff_t)width * columns : x, columns, 0, room))
                return 0;
            for (i = 0; known && i < (ptrdiff_t)width * columns; i++) xj[i] -= room[i];
            for (i = 0; i < width; i++) {
                ptrdiff_t row = backward ? width - 1 - i : i;
                double *to = xj + row * columns, pivot = l[(j + row) * n + j + row];
                for (k = 0; k < i; k++) {
                    ptrdiff_t other = backward ? width - 1 - k : k;
                    double factor = backward ? l[(j + other) * n + j + row] : l[(j + row) * n + j + other];
                    for (m = 0; m < columns; m++) to[m] -= factor * xj[other * columns + m];
                }
                for (m = 0; m < columns; m++) to[m] /= pivot;
            }
        }
    return 1;
}

/* ---- symmetric eigenproblem ------------------------------------------------------------------------------- */

/* The sum of a[i] b[i]: in 16 lanes, which compilers make vectors of. */
static GENREG__INLINE double genreg__dot64(ptrdiff_t n, const double *a, const double *b)
{
    double lane[16], total = 0;
    ptrdiff_t i, l;
    for (l = 0; l < 16; l++) lane[l] = 0;
    for (i = 0; i + 16 <= n; i += 16)
        for (l = 0; l < 16; l++) lane[l] += a[i + l] * b[i + l];
    for (l = 0; i + l < n; l++) lane[l] += a[i + l] * b[i + l];
    for (l = 0; l < 16; l++) total += lane[l];
    return total;
}

/* Householder's way to tridiagonal form (Golub and Van Loan, section 8.3): A -= v w^T + w v^T for the last reflection, and p = A u for the next, in
   one pass over the rows below `start`. */
typedef struct genreg__reduce_job { genreg__loop loop; double *a, *p; const double *v, *w, *u; ptrdiff_t n, start, first, last; } genreg__reduce_job;
static GENREG__INLINE void genreg__reduce_body(const void *arg)
{
    const genreg__reduce_job *j = (const genreg__reduce_job *)arg;
    const double *v = j->v, *w = j->w;
    ptrdiff_t r, i, n = j->n;
    for (r = j->start + j->first; r < j->start + j->last; r++) {
        double *a = j->a + r * n, vr = v[r], wr = w[r];
        GENREG__NO_ALIAS
        for (i = j->start; i < n; i++) a[i] -= vr * w[i] + wr * v[i];
        j->p[r] = genreg__dot64(n - j->start, a + j->start, j->u + j->start);
    }
}
GENREG__WIDEN(genreg__reduce)

GENREG__RANGE(genreg__reduce_range, genreg__reduce_job)

/* Symmetric a [n,n] becomes tridiagonal: d[n], e[n]. Row k of a keeps, from k + 1 on, the vector u of the reflection I - beta[k] u u^T. room: 4 n. */
static void genreg__tridiagonalise(const genreg__exec *e, double *a, int n, double *d, double *off, double *beta, double *room)
{
    double *v = room, *w = room + n, *u = room + 2 * (ptrdiff_t)n, *p = room + 3 * (ptrdiff_t)n, *t, largest = 0;
    ptrdiff_t k, i;
    memset(room, 0, 4 * (size_t)n * sizeof *room);
    for (i = 0; i < (ptrdiff_t)n * n; i++) largest = GENREG__MAX(largest, fabs(a[i]));
    for (k = 0; k < n; k++) {
        double *row = a + k * n, norm2, alpha, half;
        genreg__reduce_job j;
        for (i = k; i < n; i++) row[i] -= v[k] * w[i] + w[k] * v[i];
        d[k] = row[k];
        off[k] = k + 1 < n ? row[k + 1] : 0;
        beta[k] = 0;
        memset(u, 0, (size_t)n * sizeof *u);
        norm2 = k + 2 < n ? genreg__dot64(n - k - 2, row + k + 2, row + k + 2) : 0;
        if (norm2 > 1e-36 * largest * largest) { /* less is rounding. u = x - alpha e_1, with the sign that does not cancel */
            alpha = sqrt(norm2 + row[k + 1] * row[k + 1]);
            if (row[k + 1] > 0) alpha = -alpha;
            off[k] = alpha;
            row[k + 1] -= alpha;
            memcpy(u + k + 1, row + k + 1, (size_t)(n - k - 1) * sizeof *u);
            beta[k] = 2 / (norm2 + row[k + 1] * row[k + 1]);
        }
        j.loop = genreg__pick(&genreg__reduce, e->isa);
        j.a = a; j.p = p; j.v = v; j.w = w; j.u = u;
        j.n = n; j.start = k + 1;
        genreg__split_range(e, n - k - 1, 1, (n - k) * (n - k) >= GENREG__SERIAL, genreg__reduce_range, &j);
        half = beta[k] * beta[k] / 2 * genreg__dot64(n - k - 1, p + k + 1, u + k + 1);
        for (i = k + 1; i < n; i++) w[i] = beta[k] * p[i] - half * u[i];
        t = v; v = u; u = t; /* the reflection in hand is applied on the next pass */
    }
}

/* Plane rotations that wait: rotation k takes rows at[k] and at[k] + 1 of w to c x - s y and s x + c y. Many at once pass over a strip of columns that
   stays in the cache. */
enum { GENREG__ROTATIONS = 1 << 15, GENREG__ROTATION_STRIP = 64 };
typedef struct genreg__rotations {
    const genreg__exec *e;
    genreg__loop loop;
    double *w;
    ptrdiff_t n, first, last; /* length of a row; the columns of one thread */
    int count, *at;
    double *c, *s;            /* room for GENREG__ROTATIONS each */
} genreg__rotations;

static GENREG__INLINE void genreg__rotate_body(const void *arg)
{
    const genreg__rotations *q = (const genreg__rotations *)arg;
    ptrdiff_t column, i;
    int k;
    for (column = q->first; column < q->last; column += GENREG__ROTATION_STRIP) {
        const ptrdiff_t width = GENREG__MIN(q->last - column, (ptrdiff_t)GENREG__ROTATION_STRIP);
        for (k = 0; k < q->count; k++) {
            double *x = q->w + q->at[k] * q->n + column, *y = x + q->n;
            const double c = q->c[k], s = q->s[k];
            GENREG__NO_ALIAS
            for (i = 0; i < width; i++) {
                const double left = x[i], right = y[i];
                y[i] = s * left + c * right;
                x[i] = c * left - s * right;
            }
        }
    }
}
GENREG__WIDEN(genreg__rotate)

static void genreg__rotate_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    genreg__rotations q = *(const genreg__rotations *)arg;
    q.first = first;
    q.last = last;
    q.loop(&q);
}

static void genreg__rotate_rows(genreg__rotations *q)
{
    genreg__split_range(q->e, q->n, GENREG__ROTATION_STRIP, q->n * q->count >= GENREG__SERIAL, genreg__rotate_range, q);
    q->count = 0;
}

/* Eigenvalues of the symmetric tridiagonal matrix with diagonal d[n] and off-diagonal e[n-1] (e has room for n), by QL steps with
   implicit shifts (Bowdler, Martin, Reinsch, Wilkinson 1968). d becomes the eigenvalues in ascending order. z, [rows, n] row-major,
   is multiplied from the right by the eigenvectors: started as the identity it becomes them, in columns; started as the first
   row of the identity it becomes their first components. Where many rows make that the larger part of the work, q, if not NULL, gets the
   rotations for its own [n, ...] instead, which is z transposed. Returns 1, or 0 if 50 steps for one eigenvalue were not enough. */
static int genreg__tridiagonal_eigen(int n, double *d, double *e, double *z, int rows, genreg__rotations *q)
{
    int l, m, i, k, step;
    double largest = 0;
    if (n) e[n - 1] = 0;
    for (l = 0; l < n; l++) {
        largest = GENREG__MAX(largest, fabs(d[l]) + fabs(e[l])); /* what is small beside the neighbours or beside this is rounding */
        for (step = 0;; step++) {
            double shift, r, s = 1, c = 1, p = 0, g;
            for (m = l; m < n - 1; m++) /* where does it fall apart? */
                if (fabs(e[m]) <= DBL_EPSILON * GENREG__MAX(fabs(d[m]) + fabs(d[m + 1]), largest)) break;
            if (m == l) break;
            if (step == 50) return 0;
            g = (d[l + 1] - d[l]) / (2 * e[l]);
            r = sqrt(g * g + 1);
            shift = d[l] - e[l] / (g < 0 ? g - r : g + r);
            g = d[m] - shift;
            for (i = m - 1; i >= l; i--) { /* chase the bulge up by plane rotations */
                double f = s * e[i], b = c * e[i], t;
                r = sqrt(f * f + g * g);
                e[i + 1] = r;
                if (r == 0) { d[i + 1] -= p; e[m] = 0; break; }
                s = f / r;
                c = g / r;
                g = d[i + 1] - p;
                t = (d[i] - g) * s + 2 * c * b;
                p = s * t;
                d[i + 1] = g + p;
                g = c * t - b;
                for (k = 0; k < rows; k++) {
                    double right = z[k * n + i + 1], left = z[k * n + i];
                    z[k * n + i + 1] = s * left + c * right;
                    z[k * n + i] = c * left - s * right;
                }
                if (!q) continue;
                q->at[q->count] = i;
                q->c[q->count] = c;
                q->s[q->count] = s;
                if (++q->count == GENREG__ROTATIONS) genreg__rotate_rows(q);
            }
            if (i >= l) continue;
            d[l] -= p;
            e[l] = g;
            e[m] = 0;
        }
    }
    if (q) genreg__rotate_rows(q);
    for (i = 0; i < n - 1; i++) { /* ascending */
        for (m = i, k = i + 1; k < n; k++)
            if (d[k] < d[m]) m = k;
        if (m != i) {
            double t = d[i];
            d[i] = d[m];
            d[m] = t;
            for (k = 0; k < rows; k++) { t = z[k * n + i]; z[k * n + i] = z[k * n + m]; z[k * n + m] = t; }
            for (k = 0; q && k < q->n; k++) { t = q->w[i * q->n + k]; q->w[i * q->n + k] = q->w[m * q->n + k]; q->w[m * q->n + k] = t; }
        }
    }
    return 1;
}

/* Rows of w become rows times the reflections of genreg__tridiagonalise, the last one first. */
typedef struct genreg__reflect_job { genreg__loop loop; const double *a, *beta; double *w; ptrdiff_t n, first, last; } genreg__reflect_job;
static GENREG__INLINE void genreg__reflect_body(const void *arg)
{
    const genreg__reflect_job *j = (const genreg__reflect_job *)arg;
    ptrdiff_t n = j->n, k, r, i, begin;
    for (begin = j->first; begin < j->last; begin += 8) /* a few rows stay in the cache while the reflections pass */
        for (k = n - 3; k >= 0; k--) {
            const double *u = j->a + k * n;
            for (r = begin; r < j->last && r < begin + 8 && j->beta[k] != 0; r++) {
                double *x = j->w + r * n, t = j->beta[k] * genreg__dot64(n - k - 1, x + k + 1, u + k + 1);
                GENREG__NO_ALIAS
                for (i = k + 1; i < n; i++) x[i] -= t * u[i];
            }
        }
}
GENREG__WIDEN(genreg__reflect)

GENREG__RANGE(genreg__reflect_range, genreg__reflect_job)

/* Room that genreg__symmetric_eigen wants for itself, in doubles. */
static size_t genreg__eigen_room(int n) { return 6 * (size_t)n + 3 * GENREG__ROTATIONS; }

/* All eigenvalues d[n] of a symmetric a [n,n], which is destroyed, in ascending order, and unit eigenvectors in the rows of w [n,n].
   Returns 0 if the QL steps do not converge: a has values that are not finite. */
static int genreg__symmetric_eigen(const genreg__exec *e, double *a, int n, double *d, double *w, double *room)
{
    double *off = room + 4 * (ptrdiff_t)n, *beta = off + n;
    genreg__rotations q;
    genreg__reflect_job j;
    ptrdiff_t i;
    genreg__tridiagonalise(e, a, n, d, off, beta, room);
    memset(w, 0, (size_t)n * (size_t)n * sizeof *w);
    for (i = 0; i < n; i++) w[i * n + i] = 1;
    memset(&q, 0, sizeof q);
    q.e = e;
    q.loop = genreg__pick(&genreg__rotate, e->isa);
    q.w = w;
    q.n = n;
    q.c = beta + n;
    q.s = q.c + GENREG__ROTATIONS;
    q.at = (int *)(void *)(q.s + GENREG__ROTATIONS);
    if (!genreg__tridiagonal_eigen(n, d, off, NULL, 0, &q)) return 0;
    j.loop = genreg__pick(&genreg__reflect, e->isa);
    j.a = a; j.beta = beta; j.w = w; j.n = n;
    genreg__split_range(e, n, 8, (ptrdiff_t)n * n >= GENREG__SERIAL, genreg__reflect_range, &j);
    return 1;
}


// >>tape ---------------------------------------------------------------------------------------------------------------
// Owns contexts and the record of what was computed. A tensor is tracked if derivatives flow through it; an operation on a
// tracked tensor is recorded, any other leaves nothing behind but its result.

GENREG__API genreg_options genreg_defaults(void)
{
    genreg_options o;
    memset(&o, 0, sizeof o);
    o.memory = (size_t)1 << 30;
    o.isa = GENREG_ISA_AUTO;
    return o;
}

GENREG__API int genreg_isa_available(genreg_isa isa) { return isa == GENREG_ISA_AUTO || genreg__isa_runs((int)isa); }

GENREG__API const char *genreg_isa_name(const genreg_ctx *c)
{
    switch (c ? c->exec.isa : GENREG_ISA_AUTO) {
    case GENREG_ISA_PLAIN: return "plain";
    case GENREG_ISA_BASELINE: return "baseline";
    case GENREG_ISA_AVX2: return "avx2";
    case GENREG_ISA_AVX512: return "avx512";
    default: return "none";
    }
}

GENREG__API void genreg_set_threads(genreg_ctx *c, int threads)
{
    if (!c) return;
#ifdef _OPENMP
    c->exec.threads = threads > 0 ? threads : omp_get_max_threads();
#else
    (void)threads;
    c->exec.threads = 1;
#endif
}

GENREG__API genreg_ctx *genreg_create(const genreg_options *options)
{
    genreg_options o = options ? *options : genreg_defaults();
    genreg_ctx *c = (genreg_ctx *)GENREG_MALLOC(sizeof *c);
    if (!c)
        return NULL;
    memset(c, 0, sizeof *c);
    c->kept.previous = c->kept.next = &c->kept;
    c->recording = 1;
    c->limit = o.memory ? o.memory : genreg_defaults().memory;
    c->exec.isa = o.isa == GENREG_ISA_AUTO ? genreg__best_isa() : (int)o.isa;
    c->exec.winograd = !GENREG_REAL_IS_DOUBLE && c->exec.isa >= GENREG_ISA_AVX2;
    genreg_set_threads(c, o.threads);
    if (!genreg__isa_runs(c->exec.isa)) {
        c->exec.isa = GENREG_ISA_PLAIN;
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "this machine or build does not run instruction set %d: ask genreg_isa_available", (int)o.isa);
    }
    return c;
}

GENREG__API void genreg_destroy(genreg_ctx *c)
{
    if (!c) return;
    genreg__arena_free(&c->tape_arena);
    genreg__arena_free(&c->sweep_arena);
    while (c->kept.next != &c->kept)
        genreg__unkeep((char *)c->kept.next + GENREG__ALIGN);
    if (c->exec.scratch_block) GENREG_FREE(c->exec.scratch_block);
    GENREG_FREE(c);
}

GENREG__API genreg_place genreg_mark(genreg_ctx *c)
{
    genreg_place p;
    memset(&p, 0, sizeof p);
    if (c) {
        p = genreg__arena_mark(&c->tape_arena);
        p.nodes = c->nodes;
    }
    return p;
}

GENREG__API void genreg_release(genreg_ctx *c, genreg_place p)
{
    if (!c) return;
    if (p.nodes > c->nodes || p.bytes > c->tape_arena.bytes) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "release: this mark is gone, as an earlier one was released; release the later one first");
        return;
    }
    genreg__arena_release(&c->tape_arena, p);
    c->nodes = p.nodes;
}

GENREG__API size_t genreg_tape_bytes(const genreg_ctx *c) { return c ? c->tape_arena.bytes + c->sweep_arena.bytes : 0; }
GENREG__API size_t genreg_tape_peak(const genreg_ctx *c) { return c ? c->peak : 0; }

/* A reverse sweep as rules see it. give adds g to the adjoint of x, summed down to x's shape if x was broadcast; it does
   nothing if nobody asked for x, which genreg__wants tells beforehand. target, for direct rules, is where the adjoint of x is to be
   written, or added if *accumulate comes out 1; NULL after an error. */
typedef struct genreg__sweep {
    genreg_ctx *c;
    void (*give)(struct genreg__sweep *s, genreg_tensor *x, genreg_tensor *g);
    genreg_real *(*target)(struct genreg__sweep *s, genreg_tensor *x, int *accumulate);
    void (*over)(struct genreg__sweep *s, genreg_tensor *x); /* lets the adjoint of x take the place of its values */
    struct genreg__free_memory *free_memory; /* direct: adjoints that are done with */
    int consumes;                            /* direct: values that no rule reads any more may be written over */
} genreg__sweep;

static int genreg__wants(const genreg_tensor *x) { return x && x->needed; }

/* What an operation is to the sweep. rule gives each wanted input its adjoint in public operations, so that it can itself be
   recorded; direct, where it pays, does the same for first order only with kernels that write where the adjoint belongs, and
   may overwrite dy. */
typedef struct genreg__op {
    const char *name;
    void (*rule)(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy);
    void (*direct)(genreg__sweep *s, genreg_tensor *y, genreg_real *dy);
} genreg__op;

/* The size of a shape, or -1 with the error set. */
static ptrdiff_t genreg__shape_size(genreg_ctx *c, const char *name, int rank, const int *shape)
{
    size_t size = 1;
    int i;
    if (rank < 0 || rank > GENREG_MAX_RANK) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "%s: rank %d is not in 0 ... %d", name, rank, (int)GENREG_MAX_RANK);
        return -1;
    }
    if (rank > 0 && !shape) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "%s: no shape", name);
        return -1;
    }
    for (i = 0; i < rank; i++) {
        if (shape[i] < 1) {
            genreg__fail(c, GENREG_ERROR_SHAPE, "%s: axis %d has extent %d, which is less than 1", name, i, shape[i]);
            return -1;
        }
        if (!genreg__times(size, (size_t)shape[i], &size) || size > (size_t)PTRDIFF_MAX / sizeof(genreg_real)) {
            genreg__fail(c, GENREG_ERROR_ARGUMENT, "%s: a shape of this size is more than this machine can address", name);
            return -1;
        }
    }
    return (ptrdiff_t)size;
}

/* A constant; its values are `data`, or new and not set if data is NULL. */
static genreg_tensor *genreg__tensor(genreg_ctx *c, const char *name, int rank, const int *shape, genreg_real *data)
{
    genreg_tensor *x;
    ptrdiff_t size;
    if (genreg__halted(c)) return NULL;
    size = genreg__shape_size(c, name, rank, shape);
    if (size < 0) return NULL;
    x = (genreg_tensor *)genreg__take(c, &c->tape_arena, 1, sizeof *x);
    if (!x) return NULL;
    memset(x, 0, sizeof *x);
    x->data = data ? data : (genreg_real *)genreg__take(c, &c->tape_arena, (size_t)size, sizeof(genreg_real));
    if (!x->data) return NULL;
    x->size = size;
    x->rank = rank;
    if (rank) memcpy(x->shape, shape, (size_t)rank * sizeof *shape);
    x->node = -1;
    return x;
}

static genreg_tensor *genreg__like(genreg_ctx *c, const char *name, const genreg_tensor *x)
{
    return genreg__tensor(c, name, x->rank, x->shape, NULL);
}

/* Puts y on the tape as made by op of `in` (an input may be NULL), if any of them is tracked. attr lives on the tape.
   Returns y, or NULL after an error, so that an operation can end with it. */
static genreg_tensor *genreg__record(genreg_ctx *c, genreg_tensor *y, const genreg__op *op, int inputs, genreg_tensor *const *in, void *attr)
{
    genreg_tensor **tape;
    int i, tracked = 0;
    for (i = 0; i < inputs; i++)
        tracked |= in[i] && in[i]->tracked;
    if (!tracked || !c->recording || genreg__halted(c))
        return genreg__halted(c) ? NULL : y;
    tape = (genreg_tensor **)genreg__grow(c, c->tape, c->nodes, &c->tape_capacity, sizeof *tape);
    y->in = tape ? (genreg_tensor **)genreg__take(c, &c->tape_arena, (size_t)inputs, sizeof *y->in) : NULL;
    if (tape) c->tape = tape;
    if (!y->in) return NULL;
    memcpy(y->in, in, (size_t)inputs * sizeof *in);
    y->inputs = inputs;
    y->op = op;
    y->attr = attr;
    y->tracked = 1;
    y->node = c->nodes;
    c->tape[c->nodes++] = y;
    return y;
}

static genreg_tensor *genreg__record1(genreg_ctx *c, genreg_tensor *y, const genreg__op *op, genreg_tensor *a, void *attr)
{
    return genreg__record(c, y, op, 1, &a, attr);
}

static genreg_tensor *genreg__record2(genreg_ctx *c, genreg_tensor *y, const genreg__op *op, genreg_tensor *a, genreg_tensor *b, void *attr)
{
    genreg_tensor *in[2];
    in[0] = a; in[1] = b;
    return genreg__record(c, y, op, 2, in, attr);
}

/* Whether an operation can start: no error so far, and its inputs are there. */
static int genreg__ready(genreg_ctx *c, const char *name, const genreg_tensor *a, const genreg_tensor *b)
{
    if (genreg__halted(c)) return 0;
    if (!a || !b) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "%s: an input is NULL", name);
        return 0;
    }
    return 1;
}

static int genreg__same_shape(const genreg_tensor *a, const genreg_tensor *b)
{
    return a->rank == b->rank && (a->rank == 0 || memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape) == 0);
}

GENREG__API genreg_tensor *genreg_constant(genreg_ctx *c, int rank, const int *shape, genreg_real *data)
{
    genreg_tensor *x = genreg__tensor(c, "constant", rank, shape, data);
    if (x && !data) memset(x->data, 0, (size_t)x->size * sizeof *x->data);
    return x;
}

GENREG__API genreg_tensor *genreg_variable(genreg_ctx *c, int rank, const int *shape, genreg_real *data)
{
    genreg_tensor *x = genreg_constant(c, rank, shape, data);
    if (x) x->tracked = 1;
    return x;
}

GENREG__API genreg_tensor *genreg_detach(genreg_ctx *c, genreg_tensor *x)
{
    return genreg__ready(c, "detach", x, x) ? genreg__tensor(c, "detach", x->rank, x->shape, x->data) : NULL;
}

GENREG__API genreg_tensor *genreg_full(genreg_ctx *c, int rank, const int *shape, double value)
{
    genreg_tensor *x = genreg__tensor(c, "full", rank, shape, NULL);
    ptrdiff_t i;
    for (i = 0; x && i < x->size; i++) x->data[i] = (genreg_real)value;
    return x;
}

GENREG__API genreg_tensor *genreg_scalar(genreg_ctx *c, double value) { return genreg_full(c, 0, NULL, value); }

GENREG__API double genreg_item(const genreg_tensor *x) { return x && x->size == 1 ? (double)x->data[0] : (double)NAN; }

// >>ops ----------------------------------------------------------------------------------------------------------------
// Owns the operations, one block each: formula, loop, forward, rule. The rule is written in operations, so every one can be
// differentiated as often as one likes. To add one: a block here, a prototype above, a row in tests/test_ops.c.
// Two operations that record never stand as arguments of one call: C leaves open which is computed first, and adjoints are
// added up in the order of the tape, so that the bits would depend on the compiler.

/* ---- view, reshape: other eyes on the same memory -------------------------------------------------- */

/* Views are never chained: the input of a view is a tensor with memory of its own, and attr is the offset into it. The sweep
   knows views: their adjoints are parts of the adjoint of that tensor, and meet there once. */
static const genreg__op genreg__view_op = { "view", NULL, NULL };

static genreg_tensor *genreg__view_base(genreg_tensor *x) { return x->op == &genreg__view_op ? x->in[0] : x; }
static ptrdiff_t genreg__view_offset(const genreg_tensor *x) { return x->op == &genreg__view_op ? *(const ptrdiff_t *)x->attr : 0; }

GENREG__API genreg_tensor *genreg_view(genreg_ctx *c, genreg_tensor *x, ptrdiff_t offset, int rank, const int *shape)
{
    genreg_tensor *y;
    ptrdiff_t *attr, size;
    if (!genreg__ready(c, "view", x, x)) return NULL;
    size = genreg__shape_size(c, "view", rank, shape);
    if (size < 0) return NULL;
    if (offset < 0 || offset > x->size || size > x->size - offset) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "view: %z values from %z on do not lie within %t", size, offset, x);
        return NULL;
    }
    y = genreg__tensor(c, "view", rank, shape, x->data + offset);
    if (!y || !x->tracked) return y;
    attr = (ptrdiff_t *)genreg__take(c, &c->tape_arena, 1, sizeof *attr);
    if (!attr) return NULL;
    *attr = offset + genreg__view_offset(x);
    return genreg__record1(c, y, &genreg__view_op, genreg__view_base(x), attr);
}

GENREG__API genreg_tensor *genreg_reshape(genreg_ctx *c, genreg_tensor *x, int rank, const int *shape)
{
    int full[GENREG_MAX_RANK], i, open = -1;
    ptrdiff_t size = 1;
    if (!genreg__ready(c, "reshape", x, x)) return NULL;
    if (rank > 0 && !shape) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "reshape: no shape");
        return NULL;
    }
    for (i = 0; i < rank && rank <= GENREG_MAX_RANK; i++) {
        full[i] = shape[i];
        if (shape[i] == -1 && open < 0) open = i;
        else if (shape[i] > 0 && size <= x->size / shape[i]) size *= shape[i];
        else size = 0; /* too large, or an extent below 1: fails below */
    }
    if (open >= 0 && size > 0 && x->size % size == 0 && x->size / size <= INT_MAX) {
        full[open] = (int)(x->size / size);
        size = x->size;
    }
    if (rank < 0 || rank > GENREG_MAX_RANK || size != x->size) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "reshape: %t does not have the size of the new shape", x);
        return NULL;
    }
    return genreg_view(c, x, 0, rank, full);
}

/* ---- broadcasting ----------------------------------------------------------------------------------- */

/* The shape to which a and b broadcast; 0 if they do not. */
static int genreg__broadcast_shape(const genreg_tensor *a, const genreg_tensor *b, int *rank, int *shape)
{
    int i;
    *rank = GENREG__MAX(a->rank, b->rank);
    for (i = 1; i <= *rank; i++) {
        int ea = i <= a->rank ? a->shape[a->rank - i] : 1, eb = i <= b->rank ? b->shape[b->rank - i] : 1;
        if (ea != eb && ea != 1 && eb != 1) return 0;
        shape[*rank - i] = ea == 1 ? eb : ea;
    }
    return 1;
}

/* Axes of a broadcast result with the steps in a and b, neighbours merged where both go on evenly; the last one is the inner loop. */
typedef struct genreg__broadcast_job {
    genreg__loop loop;
    genreg__map map;
    int axes;
    ptrdiff_t extent[GENREG_MAX_RANK], step_a[GENREG_MAX_RANK], step_b[GENREG_MAX_RANK];
} genreg__broadcast_job;

static void genreg__broadcast_axes(genreg__broadcast_job *j, const genreg_tensor *a, const genreg_tensor *b, int rank, const int *shape)
{
    ptrdiff_t size_a = 1, size_b = 1;
    int i, n = 0;
    for (i = 1; i <= rank; i++) { /* from the last axis on */
        ptrdiff_t extent = shape[rank - i];
        ptrdiff_t ea = i <= a->rank ? a->shape[a->rank - i] : 1, eb = i <= b->rank ? b->shape[b->rank - i] : 1;
        ptrdiff_t step_a = ea > 1 ? size_a : 0, step_b = eb > 1 ? size_b : 0;
        size_a *= ea;
        size_b *= eb;
        if (extent == 1) continue;
        if (n && step_a == (j->step_a[n - 1] ? j->step_a[n - 1] * j->extent[n - 1] : 0) && step_b == (j->step_b[n - 1] ? j->step_b[n - 1] * j->extent[n - 1] : 0)) {
            j->extent[n - 1] *= extent;
            continue;
        }
        j->extent[n] = extent;
        j->step_a[n] = step_a;
        j->step_b[n] = step_b;
        n++;
    }
    if (!n) { j->extent[0] = 1; j->step_a[0] = j->step_b[0] = 1; n = 1; }
    j->axes = n;
}

static void genreg__broadcast_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    const genreg__broadcast_job *j = (const genreg__broadcast_job *)arg;
    genreg__map part = j->map;
    ptrdiff_t row;
    for (row = first; row < last; row++) {
        ptrdiff_t rest = row, at_a = 0, at_b = 0;
        int i;
        for (i = 1; i < j->axes; i++) {
            ptrdiff_t k = rest % j->extent[i];
            rest /= j->extent[i];
            at_a += k * j->step_a[i];
            at_b += k * j->step_b[i];
        }
        part.a = j->map.a + at_a;
        part.b = j->map.b + at_b;
        part.y = j->map.y + row * j->extent[0];
        j->loop(&part);
    }
}

static void genreg__run_broadcast(genreg_ctx *c, const genreg__kernel *k, const genreg_tensor *a, const genreg_tensor *b, genreg_tensor *y)
{
    genreg__broadcast_job j;
    j.loop = genreg__pick(k, c->exec.isa);
    j.map = genreg__map_of(0, a->data, b->data, y->data, 0);
    genreg__broadcast_axes(&j, a, b, y->rank, y->shape);
    j.map.n = j.extent[0];
    j.map.sa = j.step_a[0] != 0;
    j.map.sb = j.step_b[0] != 0;
    if (j.axes == 1)
        genreg__run_map(&c->exec, k, &j.map);
    else
        genreg__split_range(&c->exec, y->size / j.extent[0], 1, y->size >= GENREG__SERIAL, genreg__broadcast_range, &j);
}

static genreg_tensor *genreg__binary(genreg_ctx *c, const genreg__op *op, const genreg__kernel *k, genreg_tensor *a, genreg_tensor *b)
{
    int rank, shape[GENREG_MAX_RANK];
    genreg_tensor *y;
    if (!genreg__ready(c, op->name, a, b)) return NULL;
    if (!genreg__broadcast_shape(a, b, &rank, shape)) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "%s: %t and %t do not broadcast", op->name, a, b);
        return NULL;
    }
    y = genreg__tensor(c, op->name, rank, shape, NULL);
    if (!y) return NULL;
    genreg__run_broadcast(c, k, a, b, y);
    return genreg__record2(c, y, op, a, b, NULL);
}

static genreg_tensor *genreg__unary(genreg_ctx *c, const genreg__op *op, const genreg__kernel *k, genreg_tensor *x, double s, void *attr)
{
    genreg_tensor *y;
    genreg__map m;
    if (!genreg__ready(c, op->name, x, x)) return NULL;
    y = genreg__like(c, op->name, x);
    if (!y) return NULL;
    m = genreg__map_of(x->size, x->data, NULL, y->data, s);
    genreg__run_map(&c->exec, k, &m);
    return genreg__record1(c, y, op, x, attr);
}

/* A double that a rule needs again. */
static double *genreg__keep_double(genreg_ctx *c, double value)
{
    double *p = genreg__halted(c) ? NULL : (double *)genreg__take(c, &c->tape_arena, 1, sizeof *p);
    if (p) *p = value;
    return p;
}

/* ---- add: y = a + b -------------------------------------------------------------------------------- */

static void genreg__add_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    s->give(s, y->in[0], dy);
    s->give(s, y->in[1], dy);
}
static const genreg__op genreg__add_op = { "add", genreg__add_rule, NULL };
GENREG__API genreg_tensor *genreg_add(genreg_ctx *c, genreg_tensor *a, genreg_tensor *b) { return genreg__binary(c, &genreg__add_op, &genreg__add_loop, a, b); }

/* ---- neg: y = -x ----------------------------------------------------------------------------------- */

GENREG__UNARY_LOOP(genreg__neg_loop, -a)
static void genreg__neg_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    if (genreg__wants(y->in[0])) s->give(s, y->in[0], genreg_neg(s->c, dy));
}
static const genreg__op genreg__neg_op = { "neg", genreg__neg_rule, NULL };
GENREG__API genreg_tensor *genreg_neg(genreg_ctx *c, genreg_tensor *x) { return genreg__unary(c, &genreg__neg_op, &genreg__neg_loop, x, 0, NULL); }

/* ---- sub: y = a - b -------------------------------------------------------------------------------- */

GENREG__BINARY_LOOP(genreg__sub_loop, a - b)
static void genreg__sub_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    s->give(s, y->in[0], dy);
    if (genreg__wants(y->in[1])) s->give(s, y->in[1], genreg_neg(s->c, dy));
}
static const genreg__op genreg__sub_op = { "sub", genreg__sub_rule, NULL };
GENREG__API genreg_tensor *genreg_sub(genreg_ctx *c, genreg_tensor *a, genreg_tensor *b) { return genreg__binary(c, &genreg__sub_op, &genreg__sub_loop, a, b); }

/* ---- mul: y = a b;  da = dy b, db = dy a ------------------------------------------------------------ */

GENREG__BINARY_LOOP(genreg__mul_loop, a *b)
static void genreg__mul_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_ctx *c = s->c;
    genreg_tensor *a = y->in[0], *b = y->in[1];
    if (genreg__wants(a)) s->give(s, a, genreg_mul(c, dy, b));
    if (genreg__wants(b)) s->give(s, b, genreg_mul(c, dy, a));
}
static const genreg__op genreg__mul_op = { "mul", genreg__mul_rule, NULL };
GENREG__API genreg_tensor *genreg_mul(genreg_ctx *c, genreg_tensor *a, genreg_tensor *b) { return genreg__binary(c, &genreg__mul_op, &genreg__mul_loop, a, b); }

/* ---- div: y = a / b;  da = dy / b, db = -dy y / b --------------------------------------------------- */

GENREG__BINARY_LOOP(genreg__div_loop, a / b)
static void genreg__div_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_ctx *c = s->c;
    genreg_tensor *a = y->in[0], *b = y->in[1], *da = genreg_div(c, dy, b);
    s->give(s, a, da);
    if (genreg__wants(b)) s->give(s, b, genreg_neg(c, genreg_mul(c, da, y)));
}
static const genreg__op genreg__div_op = { "div", genreg__div_rule, NULL };
GENREG__API genreg_tensor *genreg_div(genreg_ctx *c, genreg_tensor *a, genreg_tensor *b) { return genreg__binary(c, &genreg__div_op, &genreg__div_loop, a, b); }

/* ---- scale: y = s x --------------------------------------------------------------------------------- */

GENREG__UNARY_LOOP(genreg__scale_loop, s *a)
static void genreg__scale_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    if (genreg__wants(y->in[0])) s->give(s, y->in[0], genreg_scale(s->c, dy, *(const double *)y->attr));
}
static const genreg__op genreg__scale_op = { "scale", genreg__scale_rule, NULL };
GENREG__API genreg_tensor *genreg_scale(genreg_ctx *c, genreg_tensor *x, double s)
{
    return genreg__unary(c, &genreg__scale_op, &genreg__scale_loop, x, s, genreg__keep_double(c, s));
}

/* ---- exp: y = e^x;  dx = dy y ----------------------------------------------------------------------- */

GENREG__UNARY_LOOP(genreg__exp_loop, genreg__exp(a))
static void genreg__exp_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    if (genreg__wants(y->in[0])) s->give(s, y->in[0], genreg_mul(s->c, dy, y));
}
static const genreg__op genreg__exp_op = { "exp", genreg__exp_rule, NULL };
GENREG__API genreg_tensor *genreg_exp(genreg_ctx *c, genreg_tensor *x) { return genreg__unary(c, &genreg__exp_op, &genreg__exp_loop, x, 0, NULL); }

/* ---- log: y = log x;  dx = dy / x ------------------------------------------------------------------- */

GENREG__UNARY_LOOP(genreg__log_loop, genreg__log(a))
static void genreg__log_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    if (genreg__wants(y->in[0])) s->give(s, y->in[0], genreg_div(s->c, dy, y->in[0]));
}
static const genreg__op genreg__log_op = { "log", genreg__log_rule, NULL };
GENREG__API genreg_tensor *genreg_log(genreg_ctx *c, genreg_tensor *x) { return genreg__unary(c, &genreg__log_op, &genreg__log_loop, x, 0, NULL); }

/* ---- sqrt: y = sqrt x;  dx = dy / (2 y) -------------------------------------------------------------- */

GENREG__UNARY_LOOP(genreg__sqrt_loop, GENREG__SQRT(a))
static void genreg__sqrt_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_ctx *c = s->c;
    if (genreg__wants(y->in[0])) s->give(s, y->in[0], genreg_scale(c, genreg_div(c, dy, y), 0.5));
}
static const genreg__op genreg__sqrt_op = { "sqrt", genreg__sqrt_rule, NULL };
GENREG__API genreg_tensor *genreg_sqrt(genreg_ctx *c, genreg_tensor *x) { return genreg__unary(c, &genreg__sqrt_op, &genreg__sqrt_loop, x, 0, NULL); }

/* ---- pow: y = x^p;  dx = dy p x^(p-1) ---------------------------------------------------------------- */

typedef struct genreg__pow_job { const genreg_real *x; genreg_real *y; double p; } genreg__pow_job;
static void genreg__pow_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    const genreg__pow_job *j = (const genreg__pow_job *)arg;
    ptrdiff_t i;
    for (i = first; i < last; i++) j->y[i] = genreg__power(j->x[i], j->p);
}
static void genreg__pow_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_ctx *c = s->c;
    double p = *(const double *)y->attr;
    if (!genreg__wants(y->in[0])) return;
    s->give(s, y->in[0], genreg_mul(c, dy, genreg_scale(c, genreg_pow(c, y->in[0], p == 0 ? 0 : p - 1), p)));
}
static const genreg__op genreg__pow_op = { "pow", genreg__pow_rule, NULL };
GENREG__API genreg_tensor *genreg_pow(genreg_ctx *c, genreg_tensor *x, double p)
{
    genreg__pow_job j;
    genreg_tensor *y;
    if (!genreg__ready(c, "pow", x, x)) return NULL;
    y = genreg__like(c, "pow", x);
    if (!y) return NULL;
    j.x = x->data; j.y = y->data; j.p = p;
    genreg__split_range(&c->exec, x->size, 64, x->size >= GENREG__SERIAL / 8, genreg__pow_range, &j);
    return genreg__record1(c, y, &genreg__pow_op, x, genreg__keep_double(c, p));
}

/* ---- tanh: dx = dy (1 - y^2) ------------------------------------------------------------------------- */

GENREG__UNARY_LOOP(genreg__tanh_loop, genreg__tanh(a))
static void genreg__tanh_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_ctx *c = s->c;
    if (genreg__wants(y->in[0])) s->give(s, y->in[0], genreg_sub(c, dy, genreg_mul(c, dy, genreg_mul(c, y, y))));
}
static const genreg__op genreg__tanh_op = { "tanh", genreg__tanh_rule, NULL };
GENREG__API genreg_tensor *genreg_tanh(genreg_ctx *c, genreg_tensor *x) { return genreg__unary(c, &genreg__tanh_op, &genreg__tanh_loop, x, 0, NULL); }

/* ---- sigmoid: dx = dy y (1 - y) ---------------------------------------------------------------------- */

GENREG__UNARY_LOOP(genreg__sigmoid_loop, genreg__sigmoid(a))
static void genreg__sigmoid_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_ctx *c = s->c;
    if (genreg__wants(y->in[0])) s->give(s, y->in[0], genreg_mul(c, dy, genreg_sub(c, y, genreg_mul(c, y, y))));
}
static const genreg__op genreg__sigmoid_op = { "sigmoid", genreg__sigmoid_rule, NULL };
GENREG__API genreg_tensor *genreg_sigmoid(genreg_ctx *c, genreg_tensor *x) { return genreg__unary(c, &genreg__sigmoid_op, &genreg__sigmoid_loop, x, 0, NULL); }

/* ---- softplus: y = log(1 + e^x);  dx = dy sigmoid(x) -------------------------------------------------- */

GENREG__UNARY_LOOP(genreg__softplus_loop, genreg__softplus(a))
static void genreg__softplus_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_ctx *c = s->c;
    if (genreg__wants(y->in[0])) s->give(s, y->in[0], genreg_mul(c, dy, genreg_sigmoid(c, y->in[0])));
}
static const genreg__op genreg__softplus_op = { "softplus", genreg__softplus_rule, NULL };
GENREG__API genreg_tensor *genreg_softplus(genreg_ctx *c, genreg_tensor *x) { return genreg__unary(c, &genreg__softplus_op, &genreg__softplus_loop, x, 0, NULL); }

/* ---- gate: y = g where h > 0, else 0: the derivative of ReLU at h, linear in g and flat in h ------------ */

static genreg_tensor *genreg__gate(genreg_ctx *c, genreg_tensor *g, genreg_tensor *h);
static void genreg__gate_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    if (genreg__wants(y->in[0])) s->give(s, y->in[0], genreg__gate(s->c, dy, y->in[1]));
}
static void genreg__gate_direct(genreg__sweep *s, genreg_tensor *y, genreg_real *dy)
{
    genreg_ctx *c = s->c;
    genreg_tensor *g = y->in[0], *h = y->in[1];
    int accumulate;
    genreg_real *out;
    genreg__map m;
    if (!genreg__wants(g)) return;
    out = s->target(s, g, &accumulate);
    if (!out) return;
    m = genreg__map_of(y->size, dy, h->data, accumulate ? dy : out, 0);
    genreg__run_map(&c->exec, &genreg__gate_loop, &m);
    if (accumulate) genreg__add_into(&c->exec, y->size, dy, out);
}
static const genreg__op genreg__gate_op = { "gate", genreg__gate_rule, genreg__gate_direct };
static genreg_tensor *genreg__gate(genreg_ctx *c, genreg_tensor *g, genreg_tensor *h) { return genreg__binary(c, &genreg__gate_op, &genreg__gate_loop, g, h); }

/* ---- relu: y = max(x, 0), NaN stays NaN;  dx = dy where y > 0 ------------------------------------------ */

GENREG__UNARY_LOOP(genreg__relu_loop, a < 0 ? 0 : a)
static void genreg__relu_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    if (genreg__wants(y->in[0])) s->give(s, y->in[0], genreg__gate(s->c, dy, y));
}
static const genreg__op genreg__relu_op = { "relu", genreg__relu_rule, NULL };
GENREG__API genreg_tensor *genreg_relu(genreg_ctx *c, genreg_tensor *x) { return genreg__unary(c, &genreg__relu_op, &genreg__relu_loop, x, 0, NULL); }

/* ---- sign and abs: d|x| = dy sign(x) -------------------------------------------------------------------- */

GENREG__UNARY_LOOP(genreg__sign_loop, (genreg_real)((a > 0) - (a < 0)))
static const genreg__op genreg__sign_op = { "sign", NULL, NULL };
GENREG__API genreg_tensor *genreg_sign(genreg_ctx *c, genreg_tensor *x)
{
    return genreg__unary(c, &genreg__sign_op, &genreg__sign_loop, genreg_detach(c, x), 0, NULL);
}

GENREG__UNARY_LOOP(genreg__abs_loop, GENREG__FABS(a))
static void genreg__abs_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_ctx *c = s->c;
    if (genreg__wants(y->in[0])) s->give(s, y->in[0], genreg_mul(c, dy, genreg_sign(c, y->in[0])));
}
static const genreg__op genreg__abs_op = { "abs", genreg__abs_rule, NULL };
GENREG__API genreg_tensor *genreg_abs(genreg_ctx *c, genreg_tensor *x) { return genreg__unary(c, &genreg__abs_op, &genreg__abs_loop, x, 0, NULL); }

/* ---- matmul: y = op(a) op(b);  da = dy op(b)^T, db = op(a)^T dy, each transposed if its operand was -------- */

/* C [m,n] (+)= op(a) op(b) [+ bias] [relu] for matrices in memory. */
static int genreg__product(genreg_ctx *c, int m, int n, int k, const genreg_real *a, int ta, const genreg_real *b, int tb, genreg_real *y, int accumulate,
                           const genreg_real *bias, int relu)
{
    genreg__gemm_job job;
    memset(&job, 0, sizeof job);
    job.m = m; job.n = n; job.k = k;
    job.a = a; job.lda = ta ? m : k; job.ta = ta;
    job.b = b; job.ldb = tb ? k : n; job.tb = tb;
    job.c = y; job.ldc = n;
    job.accumulate = accumulate;
    job.bias = bias;
    job.relu = relu;
    if (genreg__gemm_real(&c->exec, &job)) return 1;
    genreg__fail(c, GENREG_ERROR_MEMORY, "matmul: no memory to pack a product of %d x %d x %d", m, n, k);
    return 0;
}

typedef struct genreg__matmul_attr { int ta, tb; } genreg__matmul_attr;

static void genreg__matmul_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_ctx *c = s->c;
    const genreg__matmul_attr *t = (const genreg__matmul_attr *)y->attr;
    genreg_tensor *a = y->in[0], *b = y->in[1];
    if (genreg__wants(a)) s->give(s, a, t->ta ? genreg_matmul(c, b, dy, t->tb, 1) : genreg_matmul(c, dy, b, 0, !t->tb));
    if (genreg__wants(b)) s->give(s, b, t->tb ? genreg_matmul(c, dy, a, 1, t->ta) : genreg_matmul(c, a, dy, !t->ta, 0));
}
static void genreg__matmul_direct(genreg__sweep *s, genreg_tensor *y, genreg_real *dy)
{
    genreg_ctx *c = s->c;
    const genreg__matmul_attr *t = (const genreg__matmul_attr *)y->attr;
    genreg_tensor *a = y->in[0], *b = y->in[1];
    int m = y->shape[0], n = y->shape[1], k = t->ta ? a->shape[0] : a->shape[1], accumulate;
    genreg_real *out;
    if (genreg__wants(a) && (out = s->target(s, a, &accumulate)) != NULL) {
        if (t->ta) genreg__product(c, k, m, n, b->data, t->tb, dy, 1, out, accumulate, NULL, 0);
        else genreg__product(c, m, k, n, dy, 0, b->data, !t->tb, out, accumulate, NULL, 0);
    }
    if (genreg__wants(b) && (out = s->target(s, b, &accumulate)) != NULL) {
        if (t->tb) genreg__product(c, n, k, m, dy, 1, a->data, t->ta, out, accumulate, NULL, 0);
        else genreg__product(c, k, n, m, a->data, !t->ta, dy, 0, out, accumulate, NULL, 0);
    }
}
static const genreg__op genreg__matmul_op = { "matmul", genreg__matmul_rule, genreg__matmul_direct };

GENREG__API genreg_tensor *genreg_matmul(genreg_ctx *c, genreg_tensor *a, genreg_tensor *b, int ta, int tb)
{
    genreg__matmul_attr *attr;
    genreg_tensor *y;
    int shape[2], k;
    if (!genreg__ready(c, "matmul", a, b)) return NULL;
    ta = ta != 0;
    tb = tb != 0;
    if (a->rank != 2 || b->rank != 2 || a->shape[!ta] != b->shape[tb]) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "matmul: %t%s x %t%s", a, ta ? " transposed" : "", b, tb ? " transposed" : "");
        return NULL;
    }
    k = a->shape[!ta];
    shape[0] = a->shape[ta];
    shape[1] = b->shape[!tb];
    y = genreg__tensor(c, "matmul", 2, shape, NULL);
    if (!y) return NULL;
    attr = (genreg__matmul_attr *)genreg__take(c, &c->tape_arena, 1, sizeof *attr);
    if (!attr || !genreg__product(c, shape[0], shape[1], k, a->data, ta, b->data, tb, y->data, 0, NULL, 0)) return NULL;
    attr->ta = ta;
    attr->tb = tb;
    return genreg__record2(c, y, &genreg__matmul_op, a, b, attr);
}

/* ---- affine: y = x w + b, with ReLU if asked;  dz = dy where y > 0;  dx = dz w^T, dw = x^T dz, db = column sums of dz ---- */

/* dz = dy where y > 0, for an operation that ends in a ReLU. */
static void genreg__gate_in_place(genreg_ctx *c, const genreg_tensor *y, genreg_real *dy)
{
    genreg__map m = genreg__map_of(y->size, dy, y->data, dy, 0);
    genreg__run_map(&c->exec, &genreg__gate_loop, &m);
}

/* The adjoint of a bias that was added to each row: the column sums of dz [rows, b->size]. */
static void genreg__give_column_sums(genreg__sweep *s, genreg_tensor *b, const genreg_real *dz, ptrdiff_t rows)
{
    genreg_ctx *c = s->c;
    genreg_place p = genreg_mark(c);
    int accumulate;
    genreg_real *to = genreg__wants(b) ? s->target(s, b, &accumulate) : NULL, *sums;
    if (!to) return;
    sums = (genreg_real *)genreg__take(c, &c->tape_arena, (size_t)(b->size + genreg__sum_room(1, rows, b->size)), sizeof *sums);
    if (sums) {
        genreg__sum(&c->exec, dz, accumulate ? sums : to, 1, rows, b->size, sums + b->size);
        if (accumulate) genreg__add_into(&c->exec, b->size, sums, to);
    }
    genreg_release(c, p);
}

typedef struct genreg__affine_attr { int relu; } genreg__affine_attr;

static void genreg__affine_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_ctx *c = s->c;
    genreg_tensor *x = y->in[0], *w = y->in[1], *b = y->in[2];
    genreg_tensor *dz = ((const genreg__affine_attr *)y->attr)->relu ? genreg__gate(c, dy, y) : dy;
    if (genreg__wants(b)) s->give(s, b, dz);
    if (genreg__wants(w)) s->give(s, w, genreg_matmul(c, x, dz, 1, 0));
    if (genreg__wants(x)) s->give(s, x, genreg_matmul(c, dz, w, 0, 1));
}
static void genreg__affine_direct(genreg__sweep *s, genreg_tensor *y, genreg_real *dy)
{
    genreg_ctx *c = s->c;
    genreg_tensor *x = y->in[0], *w = y->in[1];
    int n = x->shape[0], in = w->shape[0], out = w->shape[1], accumulate;
    genreg_real *to;
    if (((const genreg__affine_attr *)y->attr)->relu) genreg__gate_in_place(c, y, dy);
    genreg__give_column_sums(s, y->in[2], dy, n);
    if (genreg__wants(w) && (to = s->target(s, w, &accumulate)) != NULL)
        genreg__product(c, in, out, n, x->data, 1, dy, 0, to, accumulate, NULL, 0);
    if (genreg__wants(x) && (to = s->target(s, x, &accumulate)) != NULL)
        genreg__product(c, n, in, out, dy, 0, w->data, 1, to, accumulate, NULL, 0);
}
static const genreg__op genreg__affine_op = { "affine", genreg__affine_rule, genreg__affine_direct };

GENREG__API genreg_tensor *genreg_affine(genreg_ctx *c, genreg_tensor *x, genreg_tensor *w, genreg_tensor *b, int relu)
{
    genreg_tensor *y, *in[3];
    genreg__affine_attr *attr;
    int shape[2];
    if (!genreg__ready(c, "affine", x, w)) return NULL;
    if (x->rank != 2 || w->rank != 2 || x->shape[1] != w->shape[0]) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "affine: %t x %t", x, w);
        return NULL;
    }
    if (b && (b->rank != 1 || b->shape[0] != w->shape[1])) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "affine: bias %t for %t x %t", b, x, w);
        return NULL;
    }
    shape[0] = x->shape[0];
    shape[1] = w->shape[1];
    y = genreg__tensor(c, "affine", 2, shape, NULL);
    if (!y) return NULL;
    attr = (genreg__affine_attr *)genreg__take(c, &c->tape_arena, 1, sizeof *attr);
    if (!attr || !genreg__product(c, shape[0], shape[1], x->shape[1], x->data, 0, w->data, 0, y->data, 0, b ? b->data : NULL, relu)) return NULL;
    attr->relu = relu;
    in[0] = x; in[1] = w; in[2] = b;
    return genreg__record(c, y, &genreg__affine_op, 3, in, attr);
}

/* ---- sparse affine: affine where a mask says which elements of w are there; the direct dw is that of those alone ----
   Samples are the last axis inside, so that each element of w is one multiply-add of vectors. Worth it where few are left: see GENREG__SPARSE. */

typedef struct genreg__sparse_attr {
    genreg__affine_attr affine; /* first, as the rule is affine's, with all of dw */
    const int *start, *column; /* what is left of row i of w stands in the columns column[start[i]] ... column[start[i + 1] - 1] */
    genreg_real *xt;           /* x [n,in] as [in,n] */
} genreg__sparse_attr;

typedef struct genreg__sparse_job {
    genreg__loop loop;
    const genreg__sparse_attr *a;
    const genreg_real *w;
    genreg_real *xt, *yt, *dw;   /* [in,n], [out,n], [in,out] */
    ptrdiff_t in, out, n, first, last;
    int back;
} genreg__sparse_job;

/* yt[j] += w[i,j] xt[i] for the samples first ... last-1; back: xt[i] += w[i,j] yt[j]. */
static GENREG__INLINE void genreg__sparse_spread_body(const void *arg)
{
    const genreg__sparse_job *p = (const genreg__sparse_job *)arg;
    ptrdiff_t i, s, last = p->last;
    int k;
    for (i = 0; i < p->in; i++)
        for (k = p->a->start[i]; k < p->a->start[i + 1]; k++) {
            const ptrdiff_t j = p->a->column[k];
            const genreg_real w = p->w[i * p->out + j];
            genreg_real *x = p->xt + i * p->n, *y = p->yt + j * p->n, *to = p->back ? x : y;
            const genreg_real *from = p->back ? y : x;
            GENREG__NO_ALIAS
            for (s = p->first; s < last; s++) to[s] += w * from[s];
        }
}
GENREG__WIDEN(genreg__sparse_spread)

/* dw[i,j] += <xt[i], yt[j]> for the rows first ... last-1, in 16 partial sums, whatever the vectors of the machine. */
static GENREG__INLINE void genreg__sparse_weights_body(const void *arg)
{
    const genreg__sparse_job *p = (const genreg__sparse_job *)arg;
    const ptrdiff_t n = p->n, whole = n / 16 * 16;
    ptrdiff_t i, s;
    int k, lane;
    for (i = p->first; i < p->last; i++)
        for (k = p->a->start[i]; k < p->a->start[i + 1]; k++) {
            const genreg_real *x = p->xt + i * n, *y = p->yt + p->a->column[k] * n;
            genreg_real sums[16] = { 0 }, sum = 0;
            for (s = 0; s < whole; s += 16)
                for (lane = 0; lane < 16; lane++) sums[lane] += x[s + lane] * y[s + lane];
            for (; s < n; s++) sums[s - whole] += x[s] * y[s];
            for (lane = 0; lane < 16; lane++) sum += sums[lane];
            p->dw[i * p->out + p->a->column[k]] += sum;
        }
}
GENREG__WIDEN(genreg__sparse_weights)

GENREG__RANGE(genreg__sparse_range, genreg__sparse_job)

static void genreg__sparse_run(const genreg__exec *e, genreg__sparse_job *p, const genreg__kernel *k, ptrdiff_t over)
{
    p->loop = genreg__pick(k, e->isa);
    genreg__split_range(e, over, 16, p->a->start[p->in] * p->n >= GENREG__SERIAL, genreg__sparse_range, p);
}

/* to[c,r] = from[r,c] */
typedef struct genreg__turn_job { const genreg_real *from; genreg_real *to; ptrdiff_t rows, columns; } genreg__turn_job;
static void genreg__turn_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    const genreg__turn_job *t = (const genreg__turn_job *)arg;
    ptrdiff_t r0, r, c;
    for (r0 = 0; r0 < t->rows; r0 += 16)
        for (c = first; c < last; c++)
            for (r = r0; r < GENREG__MIN(r0 + 16, t->rows); r++) t->to[c * t->rows + r] = t->from[r * t->columns + c];
}
static void genreg__turn(const genreg__exec *e, ptrdiff_t rows, ptrdiff_t columns, const genreg_real *from, genreg_real *to)
{
    genreg__turn_job t;
    t.from = from; t.to = to; t.rows = rows; t.columns = columns;
    genreg__split_range(e, columns, 16, rows * columns >= GENREG__SERIAL, genreg__turn_range, &t);
}

static void genreg__sparse_direct(genreg__sweep *s, genreg_tensor *y, genreg_real *dy)
{
    genreg_ctx *c = s->c;
    const genreg__sparse_attr *a = (const genreg__sparse_attr *)y->attr;
    genreg_tensor *x = y->in[0], *w = y->in[1];
    genreg_place place = genreg_mark(c);
    genreg__sparse_job p;
    genreg_real *to, *dx;
    int accumulate;
    memset(&p, 0, sizeof p);
    p.a = a; p.w = w->data; p.xt = a->xt; p.in = w->shape[0]; p.out = w->shape[1]; p.n = x->shape[0];
    if (a->affine.relu) genreg__gate_in_place(c, y, dy);
    genreg__give_column_sums(s, y->in[2], dy, p.n);
    p.yt = (genreg_real *)genreg__take(c, &c->tape_arena, (size_t)y->size, sizeof *p.yt);
    if (p.yt) genreg__turn(&c->exec, p.n, p.out, dy, p.yt);
    if (p.yt && genreg__wants(w) && (p.dw = s->target(s, w, &accumulate)) != NULL) {
        if (!accumulate) memset(p.dw, 0, (size_t)w->size * sizeof *p.dw);
        genreg__sparse_run(&c->exec, &p, &genreg__sparse_weights, p.in);
    }
    if (p.yt && genreg__wants(x) && (to = s->target(s, x, &accumulate)) != NULL) {
        p.xt = (genreg_real *)genreg__take(c, &c->tape_arena, 2 * (size_t)x->size, sizeof *p.xt);
        if (p.xt) {
            dx = accumulate ? p.xt + x->size : to;
            memset(p.xt, 0, (size_t)x->size * sizeof *p.xt);
            p.back = 1;
            genreg__sparse_run(&c->exec, &p, &genreg__sparse_spread, p.n);
            genreg__turn(&c->exec, p.in, p.n, p.xt, dx);
            if (accumulate) genreg__add_into(&c->exec, x->size, dx, to);
        }
    }
    genreg_release(c, place);
}

static const genreg__op genreg__sparse_op = { "sparse affine", genreg__affine_rule, genreg__sparse_direct };

/* From where on an unstructured matrix is faster in this way: at most one element in GENREG__SPARSE is left (measured on LeNet-300-100: a
   tenth breaks even, a hundredth takes an eighth of the time), of at least 4,096, for 16 samples or more. */
enum { GENREG__SPARSE = 16 };

/* The number of ones among n bytes of 0 and 1, or something above most. */
static ptrdiff_t genreg__count_ones(const unsigned char *mask, ptrdiff_t n, ptrdiff_t most)
{
    ptrdiff_t count = 0, i;
    for (i = 0; i + 8 <= n && count <= most; i += 8) {
        uint64_t eight;
        memcpy(&eight, mask + i, sizeof eight);
        count += (ptrdiff_t)(eight * 0x0101010101010101u >> 56);
    }
    for (; i < n && count <= most; i++) count += mask[i];
    return count;
}

/* affine, with the mask of w, which is 0 elsewhere. */
static genreg_tensor *genreg__sparse_affine(genreg_ctx *c, genreg_tensor *x, genreg_tensor *w, genreg_tensor *b, int relu, const unsigned char *mask)
{
    const ptrdiff_t most = w->size / GENREG__SPARSE, count = genreg__count_ones(mask, w->size, most);
    genreg__sparse_attr *a;
    genreg__sparse_job p;
    genreg_tensor *y, *in[3];
    genreg_place place;
    int shape[2], *start, *column;
    ptrdiff_t i, j, k = 0;
    if (count > most || w->size < 4096 || x->rank != 2 || x->shape[0] < 16 || x->shape[1] != w->shape[0]) return genreg_affine(c, x, w, b, relu);
    memset(&p, 0, sizeof p);
    shape[0] = x->shape[0];
    shape[1] = w->shape[1];
    p.in = w->shape[0]; p.out = w->shape[1]; p.n = x->shape[0];
    y = genreg__tensor(c, "sparse affine", 2, shape, NULL);
    a = y ? (genreg__sparse_attr *)genreg__take(c, &c->tape_arena, 1, sizeof *a) : NULL;
    start = a ? (int *)genreg__take(c, &c->tape_arena, (size_t)p.in + 1 + (size_t)count, sizeof *start) : NULL;
    p.xt = start ? (genreg_real *)genreg__take(c, &c->tape_arena, (size_t)x->size, sizeof *p.xt) : NULL;
    place = genreg_mark(c);
    p.yt = p.xt ? (genreg_real *)genreg__take(c, &c->tape_arena, (size_t)y->size, sizeof *p.yt) : NULL;
    if (!p.yt) return NULL;
    column = start + p.in + 1;
    for (i = 0; i < p.in; i++) {
        const unsigned char *row = mask + i * p.out, *at = row;
        start[i] = (int)k;
        while ((at = (const unsigned char *)memchr(at, 1, (size_t)(row + p.out - at))) != NULL) {
            column[k++] = (int)(at++ - row);
            if (at == row + p.out) break;
        }
    }
    start[p.in] = (int)k;
    a->affine.relu = relu; a->start = start; a->column = column; a->xt = p.xt;
    p.a = a;
    p.w = w->data;
    genreg__turn(&c->exec, p.n, p.in, x->data, p.xt);
    for (j = 0; j < p.out; j++)
        for (i = 0; i < p.n; i++) p.yt[j * p.n + i] = b->data[j];
    genreg__sparse_run(&c->exec, &p, &genreg__sparse_spread, p.n);
    genreg__turn(&c->exec, p.out, p.n, p.yt, y->data);
    if (relu) {
        genreg__map positive = genreg__map_of(y->size, y->data, NULL, y->data, 0);
        genreg__run_map(&c->exec, &genreg__relu_loop, &positive);
    }
    genreg_release(c, place);
    in[0] = x; in[1] = w; in[2] = b;
    return genreg__record(c, y, &genreg__sparse_op, 3, in, a);
}

/* ---- sum_to and expand: each is the other's rule ----------------------------------------------------------- */

static int genreg__broadcasts_to(const genreg_tensor *x, int rank, const int *shape)
{
    int i;
    if (rank < x->rank || rank > GENREG_MAX_RANK) return 0;
    for (i = 1; i <= x->rank; i++)
        if (x->shape[x->rank - i] != 1 && x->shape[x->rank - i] != shape[rank - i]) return 0;
    return 1;
}

static void genreg__expand_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy) { s->give(s, y->in[0], dy); } /* give sums it down */
static const genreg__op genreg__expand_op = { "expand", genreg__expand_rule, NULL };
GENREG__BINARY_LOOP(genreg__second_loop, b)

GENREG__API genreg_tensor *genreg_expand(genreg_ctx *c, genreg_tensor *x, int rank, const int *shape)
{
    genreg_tensor *y;
    if (!genreg__ready(c, "expand", x, x)) return NULL;
    y = genreg__tensor(c, "expand", rank, shape, NULL);
    if (!y) return NULL;
    if (!genreg__broadcasts_to(x, rank, shape)) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "expand: %t does not broadcast to %t", x, y);
        return NULL;
    }
    genreg__run_broadcast(c, &genreg__second_loop, y, x, y);
    return genreg__record1(c, y, &genreg__expand_op, x, NULL);
}

static void genreg__sum_to_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_ctx *c = s->c;
    genreg_tensor *x = y->in[0];
    if (genreg__wants(x)) s->give(s, x, genreg_expand(c, dy, x->rank, x->shape));
}
static const genreg__op genreg__sum_to_op = { "sum_to", genreg__sum_to_rule, NULL };

/* The sum into y's memory, one run of neighbouring axes at a time, the last run first. Temporaries go on the tape. */
static int genreg__sum_axes(genreg_ctx *c, const genreg_tensor *x, const int *reduced, genreg_real *out)
{
    const genreg_real *from = x->data;
    ptrdiff_t inner = 1;
    int last = x->rank;
    while (last > 0) {
        ptrdiff_t count = 1, outer = 1, room, kept;
        genreg_real *to, *scratch;
        int i, first, more = 0;
        for (; last > 0 && !reduced[last - 1]; last--) inner *= x->shape[last - 1];
        for (first = last; first > 0 && (reduced[first - 1] || x->shape[first - 1] == 1); first--) count *= x->shape[first - 1];
        for (i = 0; i < first; i++) { outer *= x->shape[i]; more |= reduced[i]; }
        if (last == 0) break;
        kept = outer * inner;
        room = genreg__sum_room(outer, count, inner);
        to = more ? (genreg_real *)genreg__take(c, &c->tape_arena, (size_t)kept, sizeof *to) : out;
        scratch = (genreg_real *)genreg__take(c, &c->tape_arena, (size_t)room, sizeof *scratch);
        if (!to || !scratch) return 0;
        genreg__sum(&c->exec, from, to, outer, count, inner, scratch);
        from = to;
        last = first;
    }
    if (from != out) memcpy(out, from, (size_t)inner * sizeof *out); /* nothing was reduced */
    return 1;
}

GENREG__API genreg_tensor *genreg_sum_to(genreg_ctx *c, genreg_tensor *x, int rank, const int *shape)
{
    genreg_tensor *y;
    genreg_place p;
    int reduced[GENREG_MAX_RANK], i, done;
    if (!genreg__ready(c, "sum_to", x, x)) return NULL;
    y = genreg__tensor(c, "sum_to", rank, shape, NULL);
    if (!y) return NULL;
    if (!genreg__broadcasts_to(y, x->rank, x->shape)) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "sum_to: %t cannot be summed to %t", x, y);
        return NULL;
    }
    for (i = 1; i <= x->rank; i++)
        reduced[x->rank - i] = x->shape[x->rank - i] != (i <= rank ? shape[rank - i] : 1);
    p = genreg_mark(c);
    done = genreg__sum_axes(c, x, reduced, y->data);
    genreg_release(c, p);
    return done ? genreg__record1(c, y, &genreg__sum_to_op, x, NULL) : NULL;
}

/* ---- sum, mean, dot: sum_to in other words -------------------------------------------------------------------- */

/* The shape of x with the axes of the set at extent 1; rank 0 for all axes. -1 with the error set. */
static int genreg__without_axes(genreg_ctx *c, const char *name, const genreg_tensor *x, unsigned axes, int *shape)
{
    int i;
    if (axes == GENREG_ALL_AXES) return 0;
    if (axes >> x->rank) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "%s: an axis is not among those of %t", name, x);
        return -1;
    }
    for (i = 0; i < x->rank; i++)
        shape[i] = axes >> i & 1u ? 1 : x->shape[i];
    return x->rank;
}

GENREG__API genreg_tensor *genreg_sum(genreg_ctx *c, genreg_tensor *x, unsigned axes)
{
    int shape[GENREG_MAX_RANK], rank;
    if (!genreg__ready(c, "sum", x, x)) return NULL;
    rank = genreg__without_axes(c, "sum", x, axes, shape);
    return rank < 0 ? NULL : genreg_sum_to(c, x, rank, shape);
}

GENREG__API genreg_tensor *genreg_mean(genreg_ctx *c, genreg_tensor *x, unsigned axes)
{
    genreg_tensor *y = genreg_sum(c, x, axes);
    return y ? genreg_scale(c, y, (double)y->size / (double)x->size) : NULL;
}

GENREG__API genreg_tensor *genreg_dot(genreg_ctx *c, genreg_tensor *a, genreg_tensor *b)
{
    if (!genreg__ready(c, "dot", a, b)) return NULL;
    if (!genreg__same_shape(a, b)) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "dot: %t and %t differ", a, b);
        return NULL;
    }
    return genreg_sum(c, genreg_mul(c, a, b), GENREG_ALL_AXES);
}

/* ---- permute: y[..i..] = x[..i in another order..];  its rule is the inverse order -------------------------------- */

typedef struct genreg__permute_attr { int axes[GENREG_MAX_RANK]; } genreg__permute_attr;

static void genreg__permute_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    const genreg__permute_attr *p = (const genreg__permute_attr *)y->attr;
    int inverse[GENREG_MAX_RANK], i;
    for (i = 0; i < y->rank; i++) inverse[p->axes[i]] = i;
    if (genreg__wants(y->in[0])) s->give(s, y->in[0], genreg_permute(s->c, dy, inverse));
}
static const genreg__op genreg__permute_op = { "permute", genreg__permute_rule, NULL };

typedef struct genreg__permute_job { const genreg_tensor *y; const genreg_real *x; ptrdiff_t step[GENREG_MAX_RANK]; } genreg__permute_job;

static void genreg__permute_range(void *arg, ptrdiff_t first, ptrdiff_t last) /* rows of y: all but its last axis */
{
    const genreg__permute_job *j = (const genreg__permute_job *)arg;
    const genreg_tensor *y = j->y;
    ptrdiff_t row, i, n = y->rank ? y->shape[y->rank - 1] : 1, step = y->rank ? j->step[y->rank - 1] : 1;
    for (row = first; row < last; row++) {
        ptrdiff_t rest = row, at = 0;
        int axis;
        for (axis = y->rank - 2; axis >= 0; axis--) {
            at += rest % y->shape[axis] * j->step[axis];
            rest /= y->shape[axis];
        }
        for (i = 0; i < n; i++) y->data[row * n + i] = j->x[at + i * step];
    }
}

GENREG__API genreg_tensor *genreg_permute(genreg_ctx *c, genreg_tensor *x, const int *axes)
{
    genreg__permute_attr *attr;
    genreg__permute_job j;
    genreg_tensor *y;
    int shape[GENREG_MAX_RANK], i, k;
    unsigned seen = 0;
    if (!genreg__ready(c, "permute", x, x)) return NULL;
    if (x->rank > 0 && !axes) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "permute: no axes");
        return NULL;
    }
    for (i = 0; i < x->rank; i++) {
        if (axes[i] < 0 || axes[i] >= x->rank || seen >> axes[i] & 1u) {
            genreg__fail(c, GENREG_ERROR_ARGUMENT, "permute: the axes are no order of those of %t", x);
            return NULL;
        }
        seen |= 1u << axes[i];
        shape[i] = x->shape[axes[i]];
        j.step[i] = 1;
        for (k = axes[i] + 1; k < x->rank; k++) j.step[i] *= x->shape[k];
    }
    y = genreg__tensor(c, "permute", x->rank, shape, NULL);
    if (!y) return NULL;
    attr = (genreg__permute_attr *)genreg__take(c, &c->tape_arena, 1, sizeof *attr);
    if (!attr) return NULL;
    if (x->rank) memcpy(attr->axes, axes, (size_t)x->rank * sizeof *axes);
    j.y = y;
    j.x = x->data;
    genreg__split_range(&c->exec, y->size / (y->rank ? y->shape[y->rank - 1] : 1), 1, y->size >= GENREG__SERIAL, genreg__permute_range, &j);
    return genreg__record1(c, y, &genreg__permute_op, x, attr);
}

GENREG__API genreg_tensor *genreg_transpose(genreg_ctx *c, genreg_tensor *x)
{
    int axes[2];
    axes[0] = 1; axes[1] = 0;
    if (!genreg__ready(c, "transpose", x, x)) return NULL;
    if (x->rank != 2) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "transpose: %t is no matrix", x);
        return NULL;
    }
    return genreg_permute(c, x, axes);
}

/* ---- slice and join: each is the other's rule ------------------------------------------------------------------- */

/* Copies blocks between a tensor seen as [outer, extent x inner] and a part of it, `count` entries from `start` on. */
static void genreg__copy_part(const genreg_real *from, ptrdiff_t from_row, genreg_real *to, ptrdiff_t to_row, ptrdiff_t outer, ptrdiff_t width)
{
    ptrdiff_t i;
    for (i = 0; i < outer; i++)
        memcpy(to + i * to_row, from + i * from_row, (size_t)width * sizeof *to);
}

static void genreg__around_axis(const genreg_tensor *x, int axis, ptrdiff_t *outer, ptrdiff_t *inner)
{
    int i;
    *outer = *inner = 1;
    for (i = 0; i < axis; i++) *outer *= x->shape[i];
    for (i = axis + 1; i < x->rank; i++) *inner *= x->shape[i];
}

typedef struct genreg__slice_attr { int axis, start; } genreg__slice_attr;

static void genreg__slice_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_ctx *c = s->c;
    const genreg__slice_attr *a = (const genreg__slice_attr *)y->attr;
    genreg_tensor *x = y->in[0], *parts[3];
    int shape[GENREG_MAX_RANK], n = 0, after = x->shape[a->axis] - a->start - y->shape[a->axis];
    if (!genreg__wants(x)) return;
    memcpy(shape, x->shape, sizeof shape);
    if (a->start) { shape[a->axis] = a->start; parts[n++] = genreg_constant(c, x->rank, shape, NULL); }
    parts[n++] = dy;
    if (after) { shape[a->axis] = after; parts[n++] = genreg_constant(c, x->rank, shape, NULL); }
    s->give(s, x, genreg_join(c, parts, n, a->axis));
}
static const genreg__op genreg__slice_op = { "slice", genreg__slice_rule, NULL };

GENREG__API genreg_tensor *genreg_slice(genreg_ctx *c, genreg_tensor *x, int axis, int start, int count)
{
    int shape[GENREG_MAX_RANK];
    genreg__slice_attr *attr;
    genreg_tensor *y;
    ptrdiff_t outer, inner;
    if (!genreg__ready(c, "slice", x, x)) return NULL;
    if (axis < 0 || axis >= x->rank || start < 0 || count < 1 || start > x->shape[axis] || count > x->shape[axis] - start) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "slice: %d entries from %d on along axis %d of %t", count, start, axis, x);
        return NULL;
    }
    memcpy(shape, x->shape, sizeof shape);
    shape[axis] = count;
    y = genreg__tensor(c, "slice", x->rank, shape, NULL);
    if (!y) return NULL;
    attr = (genreg__slice_attr *)genreg__take(c, &c->tape_arena, 1, sizeof *attr);
    if (!attr) return NULL;
    attr->axis = axis;
    attr->start = start;
    genreg__around_axis(x, axis, &outer, &inner);
    genreg__copy_part(x->data + start * inner, x->shape[axis] * inner, y->data, count * inner, outer, count * inner);
    return genreg__record1(c, y, &genreg__slice_op, x, attr);
}

static void genreg__join_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    int axis = ((const genreg__slice_attr *)y->attr)->axis, start = 0, i;
    for (i = 0; i < y->inputs; i++) {
        if (genreg__wants(y->in[i])) s->give(s, y->in[i], genreg_slice(s->c, dy, axis, start, y->in[i]->shape[axis]));
        start += y->in[i]->shape[axis];
    }
}
static const genreg__op genreg__join_op = { "join", genreg__join_rule, NULL };

GENREG__API genreg_tensor *genreg_join(genreg_ctx *c, genreg_tensor *const *xs, int n, int axis)
{
    int shape[GENREG_MAX_RANK], i, k, start = 0;
    genreg__slice_attr *attr;
    genreg_tensor *y;
    ptrdiff_t outer, inner;
    if (genreg__halted(c)) return NULL;
    if (n < 1 || !xs || !genreg__ready(c, "join", xs[0], xs[0])) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "join: nothing to join");
        return NULL;
    }
    memcpy(shape, xs[0]->shape, sizeof shape);
    for (i = 0; i < n; i++) {
        if (!genreg__ready(c, "join", xs[i], xs[i])) return NULL;
        if (axis < 0 || axis >= xs[0]->rank || xs[i]->rank != xs[0]->rank) {
            genreg__fail(c, GENREG_ERROR_SHAPE, "join: %t and %t along axis %d", xs[0], xs[i], axis);
            return NULL;
        }
        for (k = 0; k < xs[0]->rank; k++)
            if (k != axis && xs[i]->shape[k] != shape[k]) {
                genreg__fail(c, GENREG_ERROR_SHAPE, "join: %t and %t along axis %d", xs[0], xs[i], axis);
                return NULL;
            }
        if (i && xs[i]->shape[axis] > INT_MAX - shape[axis]) {
            genreg__fail(c, GENREG_ERROR_ARGUMENT, "join: axis %d would be longer than an int", axis);
            return NULL;
        }
        shape[axis] = (i ? shape[axis] : 0) + xs[i]->shape[axis];
    }
    y = genreg__tensor(c, "join", xs[0]->rank, shape, NULL);
    if (!y) return NULL;
    attr = (genreg__slice_attr *)genreg__take(c, &c->tape_arena, 1, sizeof *attr);
    if (!attr) return NULL;
    attr->axis = axis;
    attr->start = 0;
    genreg__around_axis(y, axis, &outer, &inner);
    for (i = 0; i < n; i++) {
        ptrdiff_t width = xs[i]->shape[axis] * inner;
        genreg__copy_part(xs[i]->data, width, y->data + start * inner, shape[axis] * inner, outer, width);
        start += xs[i]->shape[axis];
    }
    return genreg__record(c, y, &genreg__join_op, n, xs, attr);
}

/* ---- pieces: views' adjoints joined into the flat adjoint of their tensor, zeros between;  its rule is views ------------ */

typedef struct genreg__pieces_attr { ptrdiff_t offset[1]; } genreg__pieces_attr; /* one for each input */

static void genreg__pieces_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    const ptrdiff_t *offset = (const ptrdiff_t *)y->attr;
    int i;
    for (i = 0; i < y->inputs; i++)
        if (genreg__wants(y->in[i])) s->give(s, y->in[i], genreg_view(s->c, dy, offset[i], y->in[i]->rank, y->in[i]->shape));
}
static const genreg__op genreg__pieces_op = { "pieces", genreg__pieces_rule, NULL };

/* Pieces must not overlap; offsets live on the tape. */
static genreg_tensor *genreg__join_pieces(genreg_ctx *c, const genreg_tensor *like, genreg_tensor *const *xs, ptrdiff_t *offset, int n)
{
    genreg_tensor *y = genreg_constant(c, like->rank, like->shape, NULL);
    int i;
    if (!y) return NULL;
    for (i = 0; i < n; i++)
        memcpy(y->data + offset[i], xs[i]->data, (size_t)xs[i]->size * sizeof *y->data);
    return genreg__record(c, y, &genreg__pieces_op, n, xs, offset);
}

/* ---- gather and scatter of rows: each is the other's rule ------------------------------------------------------------------ */

typedef struct genreg__index_attr { int *index, n; } genreg__index_attr;

static genreg__index_attr *genreg__keep_index(genreg_ctx *c, const int *index, int n)
{
    genreg__index_attr *a = (genreg__index_attr *)genreg__take(c, &c->tape_arena, 1, sizeof *a);
    int *copy = a ? (int *)genreg__take(c, &c->tape_arena, (size_t)n, sizeof *copy) : NULL;
    if (!copy) return NULL;
    memcpy(copy, index, (size_t)n * sizeof *copy);
    a->index = copy;
    a->n = n;
    return a;
}

static int genreg__index_fits(genreg_ctx *c, const char *name, const int *index, int n, int rows)
{
    int i;
    if (!index && n > 0) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "%s: there are none", name);
        return 0;
    }
    for (i = 0; i < n; i++)
        if (index[i] < 0 || index[i] >= rows) {
            genreg__fail(c, GENREG_ERROR_ARGUMENT, "%s: index[%d] = %d is not in 0 ... %d", name, i, index[i], rows - 1);
            return 0;
        }
    return 1;
}

static void genreg__gather_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    const genreg__index_attr *a = (const genreg__index_attr *)y->attr;
    if (genreg__wants(y->in[0])) s->give(s, y->in[0], genreg_scatter(s->c, dy, a->index, y->in[0]->shape[0]));
}
static const genreg__op genreg__gather_op = { "gather", genreg__gather_rule, NULL };

GENREG__API genreg_tensor *genreg_gather(genreg_ctx *c, genreg_tensor *x, const int *index, int n)
{
    int shape[GENREG_MAX_RANK], i;
    genreg__index_attr *attr;
    genreg_tensor *y;
    ptrdiff_t width;
    if (!genreg__ready(c, "gather", x, x)) return NULL;
    if (x->rank < 1 || n < 1) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "gather: %d rows of %t", n, x);
        return NULL;
    }
    if (!genreg__index_fits(c, "gather", index, n, x->shape[0])) return NULL;
    memcpy(shape, x->shape, sizeof shape);
    shape[0] = n;
    width = x->size / x->shape[0];
    y = genreg__tensor(c, "gather", x->rank, shape, NULL);
    if (!y) return NULL;
    attr = genreg__keep_index(c, index, n);
    if (!attr) return NULL;
    for (i = 0; i < n; i++)
        memcpy(y->data + i * width, x->data + index[i] * width, (size_t)width * sizeof *y->data);
    return genreg__record1(c, y, &genreg__gather_op, x, attr);
}

static void genreg__scatter_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    const genreg__index_attr *a = (const genreg__index_attr *)y->attr;
    if (genreg__wants(y->in[0])) s->give(s, y->in[0], genreg_gather(s->c, dy, a->index, a->n));
}
static const genreg__op genreg__scatter_op = { "scatter", genreg__scatter_rule, NULL };

GENREG__API genreg_tensor *genreg_scatter(genreg_ctx *c, genreg_tensor *x, const int *index, int rows)
{
    int shape[GENREG_MAX_RANK], i;
    genreg__index_attr *attr;
    genreg_tensor *y;
    ptrdiff_t width, k;
    if (!genreg__ready(c, "scatter", x, x)) return NULL;
    if (x->rank < 1 || rows < 1) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "scatter: %t into %d rows", x, rows);
        return NULL;
    }
    if (!genreg__index_fits(c, "scatter", index, x->shape[0], rows)) return NULL;
    memcpy(shape, x->shape, sizeof shape);
    shape[0] = rows;
    width = x->size / x->shape[0];
    y = genreg_constant(c, x->rank, shape, NULL);
    if (!y) return NULL;
    attr = genreg__keep_index(c, index, x->shape[0]);
    if (!attr) return NULL;
    for (i = 0; i < x->shape[0]; i++)
        for (k = 0; k < width; k++) y->data[index[i] * width + k] += x->data[i * width + k];
    return genreg__record1(c, y, &genreg__scatter_op, x, attr);
}

/* ---- max: where the maxima are is found once; the rest is gather ------------------------------------------------------------ */

GENREG__API genreg_tensor *genreg_max(genreg_ctx *c, genreg_tensor *x, unsigned axes)
{
    int shape[GENREG_MAX_RANK], rank, flat[1], *where, i;
    genreg_tensor *y;
    ptrdiff_t size = 1, at;
    if (!genreg__ready(c, "max", x, x)) return NULL;
    rank = genreg__without_axes(c, "max", x, axes, shape);
    if (rank < 0) return NULL;
    if (x->size > INT_MAX) {
        genreg__fail(c, GENREG_ERROR_LIMIT, "max: %t has more values than an int counts: take fewer samples at a time", x);
        return NULL;
    }
    for (i = 0; i < rank; i++) size *= shape[i];
    where = (int *)genreg__take(c, &c->tape_arena, (size_t)size, sizeof *where);
    if (!where) return NULL;
    for (at = 0; at < size; at++) where[at] = -1;
    for (at = 0; at < x->size; at++) {
        ptrdiff_t rest = at, to = 0, step = 1;
        for (i = rank - 1; i >= 0; i--) {
            ptrdiff_t k = rest % x->shape[i];
            rest /= x->shape[i];
            if (shape[i] > 1) { to += k * step; step *= shape[i]; }
        }
        if (where[to] < 0 || x->data[at] > x->data[where[to]] || (x->data[at] != x->data[at] && x->data[where[to]] == x->data[where[to]]))
            where[to] = (int)at; /* a NaN is the maximum */
    }
    flat[0] = (int)x->size;
    y = genreg_gather(c, genreg_reshape(c, x, 1, flat), where, (int)size);
    return y ? genreg_reshape(c, y, rank, shape) : NULL;
}

/* ---- logsumexp and log_softmax over the last axis: dx = dy softmax(x), and dy - softmax(x) sum(dy) ------------------------------ */

typedef struct genreg__rows_job { const genreg_real *x; genreg_real *y, *p; const int *labels; ptrdiff_t n; double weight; } genreg__rows_job;

/* log sum exp of a row, by its maximum, so that nothing overflows. */
static genreg_real genreg__row_logsumexp(const genreg_real *x, ptrdiff_t n)
{
    genreg_real top = x[0], total = 0;
    ptrdiff_t i;
    for (i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
    if (top - top != 0) { /* exp(top - top) would be NaN where the limit is not; a NaN itself must stay one */
        for (i = 0; i < n; i++)
            if (x[i] != x[i]) return x[i];
        return top;
    }
    for (i = 0; i < n; i++) total += genreg__exp(x[i] - top);
    return top + genreg__log(total);
}

static void genreg__logsumexp_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    const genreg__rows_job *j = (const genreg__rows_job *)arg;
    ptrdiff_t r;
    for (r = first; r < last; r++) j->y[r] = genreg__row_logsumexp(j->x + r * j->n, j->n);
}

static void genreg__log_softmax_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    const genreg__rows_job *j = (const genreg__rows_job *)arg;
    ptrdiff_t r, i;
    for (r = first; r < last; r++) {
        const genreg_real *x = j->x + r * j->n, z = genreg__row_logsumexp(x, j->n);
        for (i = 0; i < j->n; i++) j->y[r * j->n + i] = x[i] - z;
    }
}

static void genreg__run_rows(genreg_ctx *c, genreg__rows_job *j, ptrdiff_t rows, genreg__range_fn fn)
{
    genreg__split_range(&c->exec, rows, 1, rows * j->n >= GENREG__SERIAL / 8, fn, j); /* an exp is worth eight adds */
}

static void genreg__logsumexp_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_ctx *c = s->c;
    if (genreg__wants(y->in[0])) s->give(s, y->in[0], genreg_mul(c, dy, genreg_exp(c, genreg_sub(c, y->in[0], y))));
}
static const genreg__op genreg__logsumexp_op = { "logsumexp", genreg__logsumexp_rule, NULL };

GENREG__API genreg_tensor *genreg_logsumexp(genreg_ctx *c, genreg_tensor *x)
{
    int shape[GENREG_MAX_RANK];
    genreg__rows_job j;
    genreg_tensor *y;
    if (!genreg__ready(c, "logsumexp", x, x)) return NULL;
    if (x->rank < 1) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "logsumexp: a scalar has no last axis");
        return NULL;
    }
    memcpy(shape, x->shape, sizeof shape);
    shape[x->rank - 1] = 1;
    y = genreg__tensor(c, "logsumexp", x->rank, shape, NULL);
    if (!y) return NULL;
    memset(&j, 0, sizeof j);
    j.x = x->data; j.y = y->data; j.n = x->shape[x->rank - 1];
    genreg__run_rows(c, &j, y->size, genreg__logsumexp_range);
    return genreg__record1(c, y, &genreg__logsumexp_op, x, NULL);
}

static void genreg__log_softmax_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_ctx *c = s->c;
    genreg_tensor *p, *total;
    if (!genreg__wants(y->in[0])) return;
    p = genreg_exp(c, y);
    total = genreg_sum(c, dy, GENREG_AXIS(y->rank - 1));
    s->give(s, y->in[0], genreg_sub(c, dy, genreg_mul(c, p, total)));
}
static const genreg__op genreg__log_softmax_op = { "log_softmax", genreg__log_softmax_rule, NULL };

GENREG__API genreg_tensor *genreg_log_softmax(genreg_ctx *c, genreg_tensor *x)
{
    genreg__rows_job j;
    genreg_tensor *y;
    if (!genreg__ready(c, "log_softmax", x, x)) return NULL;
    if (x->rank < 1) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "log_softmax: a scalar has no last axis");
        return NULL;
    }
    y = genreg__like(c, "log_softmax", x);
    if (!y) return NULL;
    memset(&j, 0, sizeof j);
    j.x = x->data; j.y = y->data; j.n = x->shape[x->rank - 1];
    genreg__run_rows(c, &j, x->size / j.n, genreg__log_softmax_range);
    return genreg__record1(c, y, &genreg__log_softmax_op, x, NULL);
}

/* ---- one_hot, cross_entropy: y = mean of logsumexp(z) - z[label];  dz = dy (softmax(z) - one_hot)/n ------------------------------- */

GENREG__API genreg_tensor *genreg_one_hot(genreg_ctx *c, const int *labels, int n, int classes)
{
    genreg_tensor *y;
    int shape[2], i;
    shape[0] = n; shape[1] = classes;
    y = genreg_constant(c, 2, shape, NULL);
    if (!y || !genreg__index_fits(c, "one_hot", labels, n, classes)) return NULL;
    for (i = 0; i < n; i++) y->data[(ptrdiff_t)i * classes + labels[i]] = 1;
    return y;
}

static void genreg__cross_entropy_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_ctx *c = s->c;
    genreg_tensor *z = y->in[0];
    const genreg__index_attr *a = (const genreg__index_attr *)y->attr;
    genreg_tensor *p, *difference;
    if (!genreg__wants(z)) return;
    p = genreg_exp(c, genreg_log_softmax(c, z));
    difference = genreg_sub(c, p, genreg_one_hot(c, a->index, a->n, z->shape[1]));
    s->give(s, z, genreg_mul(c, difference, genreg_scale(c, dy, 1.0 / a->n)));
}

static void genreg__cross_entropy_range(void *arg, ptrdiff_t first, ptrdiff_t last) /* the gradient of the rows */
{
    const genreg__rows_job *j = (const genreg__rows_job *)arg;
    ptrdiff_t r, i;
    genreg_real weight = (genreg_real)j->weight;
    for (r = first; r < last; r++) {
        const genreg_real *x = j->x + r * j->n, z = j->p[r];
        genreg_real *y = j->y + r * j->n;
        for (i = 0; i < j->n; i++) y[i] = weight * genreg__exp(x[i] - z);
        y[j->labels[r]] -= weight;
    }
}

typedef struct genreg__cross_entropy_attr { genreg__index_attr labels; genreg_real *logsumexp; } genreg__cross_entropy_attr;

static void genreg__cross_entropy_direct(genreg__sweep *s, genreg_tensor *y, genreg_real *dy)
{
    genreg_ctx *c = s->c;
    const genreg__cross_entropy_attr *a = (const genreg__cross_entropy_attr *)y->attr;
    genreg_tensor *z = y->in[0];
    genreg__rows_job j;
    genreg_place p = genreg_mark(c);
    int accumulate;
    genreg_real *out = genreg__wants(z) ? s->target(s, z, &accumulate) : NULL;
    if (!out) return;
    j.x = z->data; j.p = a->logsumexp; j.labels = a->labels.index; j.n = z->shape[1];
    j.weight = (double)dy[0] / a->labels.n;
    j.y = accumulate ? (genreg_real *)genreg__take(c, &c->tape_arena, (size_t)z->size, sizeof *j.y) : out;
    if (j.y) {
        genreg__run_rows(c, &j, z->shape[0], genreg__cross_entropy_range);
        if (accumulate) genreg__add_into(&c->exec, z->size, j.y, out);
    }
    genreg_release(c, p);
}
static const genreg__op genreg__cross_entropy_op = { "cross_entropy", genreg__cross_entropy_rule, genreg__cross_entropy_direct };

GENREG__API genreg_tensor *genreg_cross_entropy(genreg_ctx *c, genreg_tensor *logits, const int *labels)
{
    genreg__cross_entropy_attr *attr;
    genreg__index_attr *index;
    genreg__rows_job j;
    genreg_tensor *y;
    double total = 0;
    int n, i;
    if (!genreg__ready(c, "cross_entropy", logits, logits)) return NULL;
    if (logits->rank != 2) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "cross_entropy: logits %t are not [n,classes]", logits);
        return NULL;
    }
    n = logits->shape[0];
    if (!genreg__index_fits(c, "cross_entropy: labels", labels, n, logits->shape[1])) return NULL;
    y = genreg__tensor(c, "cross_entropy", 0, NULL, NULL);
    attr = y ? (genreg__cross_entropy_attr *)genreg__take(c, &c->tape_arena, 1, sizeof *attr) : NULL;
    index = attr ? genreg__keep_index(c, labels, n) : NULL;
    if (!index) return NULL;
    attr->labels = *index;
    attr->logsumexp = (genreg_real *)genreg__take(c, &c->tape_arena, (size_t)n, sizeof *attr->logsumexp);
    if (!attr->logsumexp) return NULL;
    memset(&j, 0, sizeof j);
    j.x = logits->data; j.y = attr->logsumexp; j.n = logits->shape[1];
    genreg__run_rows(c, &j, n, genreg__logsumexp_range);
    for (i = 0; i < n; i++) total += (double)(attr->logsumexp[i] - logits->data[i * j.n + labels[i]]);
    y->data[0] = (genreg_real)(total / n);
    return genreg__record1(c, y, &genreg__cross_entropy_op, logits, attr);
}

/* ---- mse, dropout: in terms of others -------------------------------------------------------------------------------------------- */

GENREG__API genreg_tensor *genreg_mse(genreg_ctx *c, genreg_tensor *a, genreg_tensor *b)
{
    genreg_tensor *d;
    if (!genreg__ready(c, "mse", a, b)) return NULL;
    if (!genreg__same_shape(a, b)) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "mse: %t and %t differ", a, b);
        return NULL;
    }
    d = genreg_sub(c, a, b);
    return d ? genreg_mean(c, genreg_mul(c, d, d), GENREG_ALL_AXES) : NULL;
}

GENREG__API genreg_tensor *genreg_dropout(genreg_ctx *c, genreg_tensor *x, double p, uint64_t seed, uint64_t stream)
{
    genreg_tensor *mask;
    ptrdiff_t i;
    if (!genreg__ready(c, "dropout", x, x)) return NULL;
    if (!(p >= 0 && p < 1)) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "dropout: p = %g is not in [0, 1)", p);
        return NULL;
    }
    if (p == 0) return x;
    mask = genreg__like(c, "dropout", x);
    if (!mask) return NULL;
    for (i = 0; i < x->size; i += 2) {
        uint64_t bits[2];
        genreg__philox(seed, stream, (uint64_t)i / 2, bits);
        mask->data[i] = (genreg_real)(genreg__unit(bits[0]) < p ? 0 : 1 / (1 - p));
        if (i + 1 < x->size) mask->data[i + 1] = (genreg_real)(genreg__unit(bits[1]) < p ? 0 : 1 / (1 - p));
    }
    return genreg_mul(c, x, mask);
}

/* ---- conv2d, conv2d_dx, conv2d_dw: y = x * w, the adjoint of x, the adjoint of w. Each is linear in both of its inputs, and its
        rule is the other two:  y(x,w): dx = dx(dy,w), dw = dw(x,dy);  dx(g,w): dg = y(d,w), dw = dw(d,g);  dw(x,g): dx = dx(g,d), dg = y(x,d) ---- */

static genreg_tensor *genreg__conv_call(genreg_ctx *c, const genreg__op *op, genreg_tensor *a, genreg_tensor *b, genreg_tensor *bias, int relu, const genreg__conv *g);

/* Which of the three an operation is, and its geometry. */
typedef struct genreg__conv_attr { genreg__conv g; int relu; } genreg__conv_attr;

static void genreg__conv_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy);
static void genreg__conv_dx_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy);
static void genreg__conv_dw_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy);
static void genreg__conv_direct(genreg__sweep *s, genreg_tensor *y, genreg_real *dy);
static void genreg__conv_dx_direct(genreg__sweep *s, genreg_tensor *y, genreg_real *dy);
static void genreg__conv_dw_direct(genreg__sweep *s, genreg_tensor *y, genreg_real *dy);
static const genreg__op genreg__conv_op = { "conv2d", genreg__conv_rule, genreg__conv_direct };
static int genreg__conv_has_relu(const genreg_tensor *y) { return ((const genreg__conv_attr *)y->attr)->relu; }
static const genreg__op genreg__conv_dx_op = { "conv2d_dx", genreg__conv_dx_rule, genreg__conv_dx_direct };
static const genreg__op genreg__conv_dw_op = { "conv2d_dw", genreg__conv_dw_rule, genreg__conv_dw_direct };

static const genreg__conv *genreg__geometry(const genreg_tensor *y) { return &((const genreg__conv_attr *)y->attr)->g; }

static void genreg__conv_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_tensor *x = y->in[0], *w = y->in[1], *bias = y->in[2];
    genreg_tensor *dz = ((const genreg__conv_attr *)y->attr)->relu ? genreg__gate(s->c, dy, y) : dy;
    if (genreg__wants(bias)) s->give(s, bias, dz);
    if (genreg__wants(w)) s->give(s, w, genreg__conv_call(s->c, &genreg__conv_dw_op, x, dz, NULL, 0, genreg__geometry(y)));
    if (genreg__wants(x)) s->give(s, x, genreg__conv_call(s->c, &genreg__conv_dx_op, dz, w, NULL, 0, genreg__geometry(y)));
}
static void genreg__conv_dx_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_tensor *g = y->in[0], *w = y->in[1];
    if (genreg__wants(w)) s->give(s, w, genreg__conv_call(s->c, &genreg__conv_dw_op, dy, g, NULL, 0, genreg__geometry(y)));
    if (genreg__wants(g)) s->give(s, g, genreg__conv_call(s->c, &genreg__conv_op, dy, w, NULL, 0, genreg__geometry(y)));
}
static void genreg__conv_dw_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_tensor *x = y->in[0], *g = y->in[1];
    if (genreg__wants(x)) s->give(s, x, genreg__conv_call(s->c, &genreg__conv_dx_op, g, dy, NULL, 0, genreg__geometry(y)));
    if (genreg__wants(g)) s->give(s, g, genreg__conv_call(s->c, &genreg__conv_op, x, dy, NULL, 0, genreg__geometry(y)));
}

/* Runs one of the three kernels; 0 with the error set when memory is out. */
static int genreg__conv_kernel(genreg_ctx *c, const genreg__op *op, const genreg__conv *g, const genreg_real *a, const genreg_real *b, const genreg_real *bias,
                            int relu, genreg_real *out, int accumulate)
{
    int done = op == &genreg__conv_op ? genreg__conv_y(&c->exec, g, a, b, bias, relu, out, accumulate)
             : op == &genreg__conv_dx_op ? genreg__conv_dx(&c->exec, g, a, b, out, accumulate)
                                         : genreg__conv_dw(&c->exec, g, a, b, out, accumulate);
    if (!done) genreg__fail(c, GENREG_ERROR_MEMORY, "%s: no memory to pack its operands", op->name);
    return done;
}

/* The adjoint of x, straight to where it belongs. */
static void genreg__conv_give(genreg__sweep *s, genreg_tensor *x, const genreg__op *op, const genreg__conv *g, const genreg_real *a, const genreg_real *b)
{
    int accumulate;
    genreg_real *out = genreg__wants(x) ? s->target(s, x, &accumulate) : NULL;
    if (out) genreg__conv_kernel(s->c, op, g, a, b, NULL, 0, out, accumulate);
}
static void genreg__conv_direct(genreg__sweep *s, genreg_tensor *y, genreg_real *dy)
{
    const genreg__conv *g = genreg__geometry(y);
    if (((const genreg__conv_attr *)y->attr)->relu) genreg__gate_in_place(s->c, y, dy);
    genreg__give_column_sums(s, y->in[2], dy, y->size / g->o);
    genreg__conv_give(s, y->in[1], &genreg__conv_dw_op, g, y->in[0]->data, dy);
    genreg__conv_give(s, y->in[0], &genreg__conv_dx_op, g, dy, y->in[1]->data);
}
static void genreg__conv_dx_direct(genreg__sweep *s, genreg_tensor *y, genreg_real *dy)
{
    genreg__conv_give(s, y->in[1], &genreg__conv_dw_op, genreg__geometry(y), dy, y->in[0]->data);
    genreg__conv_give(s, y->in[0], &genreg__conv_op, genreg__geometry(y), dy, y->in[1]->data);
}
static void genreg__conv_dw_direct(genreg__sweep *s, genreg_tensor *y, genreg_real *dy)
{
    genreg__conv_give(s, y->in[0], &genreg__conv_dx_op, genreg__geometry(y), y->in[1]->data, dy);
    genreg__conv_give(s, y->in[1], &genreg__conv_op, genreg__geometry(y), y->in[0]->data, dy);
}

static genreg_tensor *genreg__conv_call(genreg_ctx *c, const genreg__op *op, genreg_tensor *a, genreg_tensor *b, genreg_tensor *bias, int relu, const genreg__conv *g)
{
    genreg__conv_attr *attr;
    genreg_tensor *y, *in[3];
    int shape[4];
    if (!genreg__ready(c, op->name, a, b)) return NULL;
    if (op == &genreg__conv_op) { shape[0] = g->n; shape[1] = g->oh; shape[2] = g->ow; shape[3] = g->o; }
    else if (op == &genreg__conv_dx_op) { shape[0] = g->n; shape[1] = g->h; shape[2] = g->w; shape[3] = g->c; }
    else { shape[0] = g->kh; shape[1] = g->kw; shape[2] = g->c; shape[3] = g->o; }
    y = genreg__tensor(c, op->name, 4, shape, NULL);
    attr = y ? (genreg__conv_attr *)genreg__take(c, &c->tape_arena, 1, sizeof *attr) : NULL;
    if (!attr || !genreg__conv_kernel(c, op, g, a->data, b->data, bias ? bias->data : NULL, relu, y->data, 0)) return NULL;
    attr->g = *g;
    attr->relu = relu;
    in[0] = a; in[1] = b; in[2] = bias;
    return genreg__record(c, y, op, 3, in, attr);
}

GENREG__API genreg_tensor *genreg_conv2d(genreg_ctx *c, genreg_tensor *x, genreg_tensor *w, genreg_tensor *bias, int stride, int padding, int relu)
{
    genreg__conv g;
    if (!genreg__ready(c, "conv2d", x, w)) return NULL;
    if (x->rank != 4 || w->rank != 4 || x->shape[3] != w->shape[2] || (bias && (bias->rank != 1 || bias->shape[0] != w->shape[3]))) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "conv2d: %t * %t; they are [n,height,width,in] and [height,width,in,out], a bias is [out]", x, w);
        return NULL;
    }
    if (stride < 1 || padding < 0 || padding > INT_MAX / 4 || x->shape[1] > INT_MAX - 2 * padding || x->shape[2] > INT_MAX - 2 * padding
        || w->shape[0] > x->shape[1] + 2 * padding || w->shape[1] > x->shape[2] + 2 * padding) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "conv2d: a kernel of %d x %d with stride %d does not fit an image of %d x %d with padding %d", w->shape[0], w->shape[1],
                     stride, x->shape[1], x->shape[2], padding);
        return NULL;
    }
    g.n = x->shape[0]; g.h = x->shape[1]; g.w = x->shape[2]; g.c = x->shape[3];
    g.kh = w->shape[0]; g.kw = w->shape[1]; g.o = w->shape[3];
    g.stride = stride;
    g.padding = padding;
    g.oh = (g.h + 2 * padding - g.kh) / stride + 1;
    g.ow = (g.w + 2 * padding - g.kw) / stride + 1;
    return genreg__conv_call(c, &genreg__conv_op, x, w, bias, relu != 0, &g);
}

/* ---- max_pool: where the maxima are is found once;  dx = scatter of dy, whose rule is gather ------------------------------------ */

typedef struct genreg__pool_job { const genreg_tensor *x; genreg_tensor *y; int *index; int size, stride; } genreg__pool_job;

static void genreg__max_pool_range(void *arg, ptrdiff_t first, ptrdiff_t last) /* rows of y: [n, height] */
{
    const genreg__pool_job *j = (const genreg__pool_job *)arg;
    ptrdiff_t channels = j->x->shape[3], width = j->x->shape[2], row, column, k, ch;
    for (row = first; row < last; row++) {
        ptrdiff_t image = row / j->y->shape[1], top = (image * j->x->shape[1] + row % j->y->shape[1] * j->stride) * width;
        for (column = 0; column < j->y->shape[2]; column++) {
            ptrdiff_t corner = (top + column * j->stride) * channels, to = (row * j->y->shape[2] + column) * channels;
            for (ch = 0; ch < channels; ch++) {
                j->y->data[to + ch] = j->x->data[corner + ch];
                j->index[to + ch] = (int)(corner + ch);
            }
            for (k = 1; k < (ptrdiff_t)j->size * j->size; k++) {
                ptrdiff_t from = corner + (k / j->size * width + k % j->size) * channels;
                GENREG__NO_ALIAS
                for (ch = 0; ch < channels; ch++) {
                    const genreg_real value = j->x->data[from + ch], best = j->y->data[to + ch];
                    const int larger = value > best || value != value; /* the first of equals; a NaN is the maximum */
                    j->y->data[to + ch] = larger ? value : best;
                    j->index[to + ch] = larger ? (int)(from + ch) : j->index[to + ch];
                }
            }
        }
    }
}

/* dy put where the maxima of y = max_pool(x) were. */
static genreg_tensor *genreg__unpooled(genreg_ctx *c, genreg_tensor *y, genreg_tensor *dy)
{
    const genreg__index_attr *a = (const genreg__index_attr *)y->attr;
    const genreg_tensor *x = y->in[0];
    int flat[1];
    flat[0] = a->n;
    return genreg_reshape(c, genreg_scatter(c, genreg_reshape(c, dy, 1, flat), a->index, (int)x->size), x->rank, x->shape);
}
static void genreg__max_pool_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    if (genreg__wants(y->in[0])) s->give(s, y->in[0], genreg__unpooled(s->c, y, dy));
}
typedef struct genreg__unpool_job { const int *index; const genreg_real *dy; genreg_real *dx; ptrdiff_t from, to; int accumulate; } genreg__unpool_job; /* values of an image */
static void genreg__unpool_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    const genreg__unpool_job *j = (const genreg__unpool_job *)arg;
    ptrdiff_t i;
    if (!j->accumulate) memset(j->dx + first * j->to, 0, (size_t)((last - first) * j->to) * sizeof *j->dx);
    for (i = first * j->from; i < last * j->from; i++) j->dx[j->index[i]] += j->dy[i];
}
static void genreg__max_pool_direct(genreg__sweep *s, genreg_tensor *y, genreg_real *dy)
{
    genreg_tensor *x = y->in[0];
    genreg__unpool_job j;
    j.dx = genreg__wants(x) ? s->target(s, x, &j.accumulate) : NULL;
    if (!j.dx) return;
    j.index = ((const genreg__index_attr *)y->attr)->index; j.dy = dy; j.from = y->size / y->shape[0]; j.to = x->size / x->shape[0];
    genreg__split_range(&s->c->exec, y->shape[0], 1, x->size >= GENREG__SERIAL, genreg__unpool_range, &j);
}
static const genreg__op genreg__max_pool_op = { "max_pool", genreg__max_pool_rule, genreg__max_pool_direct };

/* The extents of an image that is pooled; 0 with the error set. */
static int genreg__pooled_shape(genreg_ctx *c, const char *name, const genreg_tensor *x, int size, int stride, int *shape)
{
    if (x->rank != 4 || size < 1 || stride < 1 || size > x->shape[1] || size > x->shape[2]) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "%s: windows of %d with stride %d on %t, which should be [n,height,width,channels]", name, size, stride, x);
        return 0;
    }
    shape[0] = x->shape[0];
    shape[1] = (x->shape[1] - size) / stride + 1;
    shape[2] = (x->shape[2] - size) / stride + 1;
    shape[3] = x->shape[3];
    return 1;
}

GENREG__API genreg_tensor *genreg_max_pool(genreg_ctx *c, genreg_tensor *x, int size, int stride)
{
    genreg__index_attr *attr;
    genreg__pool_job j;
    int shape[4];
    if (!genreg__ready(c, "max_pool", x, x) || !genreg__pooled_shape(c, "max_pool", x, size, stride, shape)) return NULL;
    if (x->size > INT_MAX) {
        genreg__fail(c, GENREG_ERROR_LIMIT, "max_pool: %t has more values than an int counts: take fewer samples at a time", x);
        return NULL;
    }
    j.x = x; j.size = size; j.stride = stride;
    j.y = genreg__tensor(c, "max_pool", 4, shape, NULL);
    attr = j.y ? (genreg__index_attr *)genreg__take(c, &c->tape_arena, 1, sizeof *attr) : NULL;
    j.index = attr ? (int *)genreg__take(c, &c->tape_arena, (size_t)j.y->size, sizeof *j.index) : NULL;
    if (!j.index) return NULL;
    attr->index = j.index;
    attr->n = (int)j.y->size;
    genreg__split_range(&c->exec, (ptrdiff_t)shape[0] * shape[1], 1, x->size >= GENREG__SERIAL, genreg__max_pool_range, &j);
    return genreg__record1(c, j.y, &genreg__max_pool_op, x, attr);
}

/* ---- avg_pool: a mean over axes of the image cut into windows ------------------------------------------------------------------- */

GENREG__API genreg_tensor *genreg_avg_pool(genreg_ctx *c, genreg_tensor *x, int size)
{
    int shape[4], cut[6];
    if (!genreg__ready(c, "avg_pool", x, x) || !genreg__pooled_shape(c, "avg_pool", x, size, size, shape)) return NULL;
    if (x->shape[1] > shape[1] * size) x = genreg_slice(c, x, 1, 0, shape[1] * size);
    if (x && x->shape[2] > shape[2] * size) x = genreg_slice(c, x, 2, 0, shape[2] * size);
    cut[0] = shape[0]; cut[1] = shape[1]; cut[2] = size; cut[3] = shape[2]; cut[4] = size; cut[5] = shape[3];
    if (x) x = genreg_reshape(c, x, 6, cut);
    if (x) x = genreg_mean(c, x, GENREG_AXIS(2) | GENREG_AXIS(4));
    return x ? genreg_reshape(c, x, 4, shape) : NULL;
}

GENREG__API genreg_tensor *genreg_global_avg_pool(genreg_ctx *c, genreg_tensor *x)
{
    int shape[2];
    if (!genreg__ready(c, "global_avg_pool", x, x)) return NULL;
    if (x->rank != 4) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "global_avg_pool: %t is not [n,height,width,channels]", x);
        return NULL;
    }
    shape[0] = x->shape[0];
    shape[1] = x->shape[3];
    x = genreg_mean(c, x, GENREG_AXIS(1) | GENREG_AXIS(2));
    return x ? genreg_reshape(c, x, 2, shape) : NULL;
}

/* ---- scale_shift: y = s x + t by channel (the last axis), with ReLU if asked: batch normalisation in evaluation mode ---------------- */

static void genreg__scale_shift_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_ctx *c = s->c;
    genreg_tensor *x = y->in[0], *factor = y->in[1], *dz = *(const int *)y->attr ? genreg__gate(c, dy, y) : dy;
    s->give(s, y->in[2], dz);
    if (genreg__wants(factor)) s->give(s, factor, genreg_mul(c, dz, x));
    if (genreg__wants(x)) s->give(s, x, genreg_mul(c, dz, factor));
}
/* What both kinds of normalisation do on the way back: the sums of dz and of dz (x - mean) by channel; then dx = factor dz + slope x + shift. */
static int genreg__norm_back_sums(genreg_ctx *c, genreg__norm_job *j, genreg_real *dsum, genreg_real *dalong)
{
    const ptrdiff_t n = j->channels;
    ptrdiff_t segments, segment, i;
    genreg_place p = genreg_mark(c);
    j->out = (genreg_real *)genreg__take(c, &c->tape_arena, (size_t)genreg__norm_room(j->rows, j->segment, n), sizeof *j->out);
    if (!j->out) return 0;
    segments = genreg__run_norm_sums(&c->exec, &genreg__norm_sums, j);
    for (i = 0; i < n; i++) {
        double sum = 0, along = 0;
        for (segment = 0; segment < segments; segment++) {
            sum += (double)j->out[segment * 2 * n + i];
            along += (double)j->out[segment * 2 * n + n + i];
        }
        dsum[i] = (genreg_real)sum;
        dalong[i] = (genreg_real)along;
    }
    genreg_release(c, p);
    return 1;
}
static void genreg__give_norm_dx(genreg__sweep *s, genreg_tensor *x, genreg__norm_job *j)
{
    genreg_ctx *c = s->c;
    int accumulate;
    genreg_real *to;
    genreg_place p = genreg_mark(c);
    if (!genreg__wants(x)) return;
    /* A convolution does not read its output again. With dx in its place, large batches need a quarter less memory. */
    if (s->consumes && x->uses == 1 && x->op == &genreg__conv_op && !genreg__conv_has_relu(x)) s->over(s, x);
    to = s->target(s, x, &accumulate);
    if (!to) return;
    j->out = accumulate ? (genreg_real *)genreg__take(c, &c->tape_arena, (size_t)x->size, sizeof *to) : to;
    if (!j->out) return;
    genreg__run_norm(&c->exec, &genreg__norm_dx, j);
    if (accumulate) genreg__add_into(&c->exec, x->size, j->out, to);
    genreg_release(c, p);
}
static void genreg__give_values(genreg__sweep *s, genreg_tensor *x, const genreg_real *values)
{
    int accumulate;
    genreg_real *to = genreg__wants(x) ? s->target(s, x, &accumulate) : NULL;
    if (!to) return;
    if (accumulate) genreg__add_into(&s->c->exec, x->size, values, to);
    else memcpy(to, values, (size_t)x->size * sizeof *to);
}

static void genreg__scale_shift_direct(genreg__sweep *s, genreg_tensor *y, genreg_real *dy)
{
    genreg_tensor *x = y->in[0], *factor = y->in[1], *shift = y->in[2];
    const ptrdiff_t channels = factor->size;
    genreg_place p = genreg_mark(s->c);
    genreg_real *v = (genreg_real *)genreg__take(s->c, &s->c->tape_arena, 3 * (size_t)channels, sizeof *v);
    genreg__norm_job j;
    if (!v) return;
    memset(v, 0, (size_t)channels * sizeof *v); /* zeros, then the two sums */
    memset(&j, 0, sizeof j);
    j.x = x->data; j.s = j.factor = factor->data; j.t = shift->data; j.mean = j.slope = j.shift = v; j.dy = dy; j.channels = channels;
    j.ow = j.size = 1; j.relu = *(const int *)y->attr; j.rows = y->size / channels; j.segment = GENREG__NORM_SEGMENT;
    if (genreg__norm_back_sums(s->c, &j, v + channels, v + 2 * channels)) {
        genreg__give_values(s, shift, v + channels);
        genreg__give_values(s, factor, v + 2 * channels);
        genreg__give_norm_dx(s, x, &j);
    }
    genreg_release(s->c, p);
}
static const genreg__op genreg__scale_shift_op = { "scale_shift", genreg__scale_shift_rule, genreg__scale_shift_direct };

static int genreg__by_channel(genreg_ctx *c, const char *name, const genreg_tensor *x, const genreg_tensor *s, const genreg_tensor *t)
{
    if (x->rank >= 2 && s->rank == 1 && t->rank == 1 && s->shape[0] == x->shape[x->rank - 1] && t->shape[0] == s->shape[0]) return 1;
    genreg__fail(c, GENREG_ERROR_SHAPE, "%s: %t with %t and %t; the last axis of the first must be that of the others", name, x, s, t);
    return 0;
}

static void genreg__run_scale_shift(genreg_ctx *c, const genreg_tensor *x, const genreg_real *s, const genreg_real *t, int relu, genreg_tensor *y)
{
    genreg__channel_job j;
    memset(&j, 0, sizeof j);
    j.a = x->data; j.s = s; j.t = t; j.y = y->data; j.channels = x->shape[x->rank - 1]; j.rows = x->size / j.channels; j.relu = relu != 0;
    genreg__run_channels(&c->exec, &j);
}

GENREG__API genreg_tensor *genreg_scale_shift(genreg_ctx *c, genreg_tensor *x, genreg_tensor *s, genreg_tensor *t, int relu)
{
    genreg_tensor *y, *in[3];
    int *attr;
    if (!genreg__ready(c, "scale_shift", x, s) || !genreg__ready(c, "scale_shift", t, t) || !genreg__by_channel(c, "scale_shift", x, s, t)) return NULL;
    y = genreg__like(c, "scale_shift", x);
    attr = y ? (int *)genreg__take(c, &c->tape_arena, 1, sizeof *attr) : NULL;
    if (!attr) return NULL;
    *attr = relu != 0;
    genreg__run_scale_shift(c, x, s->data, t->data, relu, y);
    in[0] = x; in[1] = s; in[2] = t;
    return genreg__record(c, y, &genreg__scale_shift_op, 3, in, attr);
}

/* ---- batch_norm: h = (x - mean)/sqrt(var + eps) by channel over all other axes, y = gamma h + beta, with ReLU and max-pool if asked
        (Ioffe and Szegedy 2015);  with g = gamma dz:  dx = (g - mean(g) - h mean(g h))/sqrt(var + eps), dgamma = sum dz h, dbeta = sum dz ---- */

typedef struct genreg__batch_norm_attr {
    double eps;
    int relu, size;                           /* size: of the windows of a max-pool behind it, or 1 */
    genreg_real *mean, *inverse, *factor, *shift; /* inverse: 1/sqrt(var + eps); factor x + shift is the output before ReLU */
} genreg__batch_norm_attr;

static genreg__norm_job genreg__norm_job_of(const genreg_tensor *x, const genreg_tensor *y, const genreg__batch_norm_attr *a, ptrdiff_t channels)
{
    genreg__norm_job j;
    memset(&j, 0, sizeof j);
    j.x = x->data; j.s = a->factor; j.t = a->shift; j.mean = a->mean; j.channels = channels; j.size = a->size; j.relu = a->relu;
    j.h = j.w = j.oh = j.ow = 1;
    if (j.size > 1) { j.h = x->shape[1]; j.w = x->shape[2]; j.oh = y->shape[1]; j.ow = y->shape[2]; }
    j.rows = y->size / (j.ow * channels);
    j.segment = GENREG__MAX(GENREG__NORM_SEGMENT / (j.ow * j.size * j.size), 1);
    return j;
}

static void genreg__batch_norm_rule(genreg__sweep *s, genreg_tensor *y, genreg_tensor *dy)
{
    genreg_ctx *c = s->c;
    const genreg__batch_norm_attr *a = (const genreg__batch_norm_attr *)y->attr;
    genreg_tensor *x = y->in[0], *gamma = y->in[1], *dz, *centred, *var, *inverse, *h, *g, *along;
    unsigned axes = GENREG_AXIS(x->rank - 1) - 1u;
    if (a->size > 1) { /* the parts, which the fused forward pass left out */
        y = genreg_batch_norm(c, x, gamma, y->in[2], a->eps, a->relu, NULL, NULL);
        dz = genreg_max_pool(c, y, a->size, a->size);
        if (!dz) return;
        dy = genreg__unpooled(c, dz, dy);
    }
    dz = a->relu ? genreg__gate(c, dy, y) : dy;
    centred = genreg_sub(c, x, genreg_mean(c, x, axes));
    var = genreg_mean(c, genreg_mul(c, centred, centred), axes);
    inverse = genreg_div(c, genreg_scalar(c, 1), genreg_sqrt(c, genreg_add(c, var, genreg_scalar(c, a->eps))));
    h = genreg_mul(c, centred, inverse);
    s->give(s, y->in[2], dz);
    if (genreg__wants(gamma)) s->give(s, gamma, genreg_mul(c, dz, h));
    if (!genreg__wants(x)) return;
    g = genreg_mul(c, dz, gamma);
    along = genreg_mul(c, h, genreg_mean(c, genreg_mul(c, g, h), axes));
    g = genreg_sub(c, g, genreg_mean(c, g, axes));
    s->give(s, x, genreg_mul(c, inverse, genreg_sub(c, g, along)));
}
static void genreg__batch_norm_direct(genreg__sweep *s, genreg_tensor *y, genreg_real *dy)
{
    const genreg__batch_norm_attr *a = (const genreg__batch_norm_attr *)y->attr;
    genreg_tensor *x = y->in[0], *gamma = y->in[1];
    const ptrdiff_t channels = gamma->size, rows = x->size / channels;
    genreg__norm_job j = genreg__norm_job_of(x, y, a, channels);
    genreg_place p = genreg_mark(s->c);
    genreg_real *v = (genreg_real *)genreg__take(s->c, &s->c->tape_arena, 4 * (size_t)channels, sizeof *v);
    genreg_real *dbeta, *dgamma, *slope, *shift;
    ptrdiff_t i;
    if (!v) return;
    dbeta = v;
    dgamma = v + channels;
    slope = v + 2 * channels;
    shift = v + 3 * channels;
    j.dy = dy; j.factor = a->factor; j.slope = slope; j.shift = shift;
    if (genreg__norm_back_sums(s->c, &j, dbeta, dgamma)) {
        for (i = 0; i < channels; i++) {
            dgamma[i] *= a->inverse[i];
            slope[i] = -a->factor[i] * a->inverse[i] * dgamma[i] / (genreg_real)rows;
            shift[i] = -a->factor[i] * dbeta[i] / (genreg_real)rows - slope[i] * a->mean[i];
        }
        genreg__give_values(s, y->in[2], dbeta);
        genreg__give_values(s, gamma, dgamma);
        genreg__give_norm_dx(s, x, &j);
    }
    genreg_release(s->c, p);
}
static const genreg__op genreg__batch_norm_op = { "batch_norm", genreg__batch_norm_rule, genreg__batch_norm_direct };

/* The public function with a max-pool over windows of size x size side by side behind it, unless size is 1. */
static genreg_tensor *genreg__batch_norm_pool(genreg_ctx *c, genreg_tensor *x, genreg_tensor *gamma, genreg_tensor *beta, double eps, int relu, int size, genreg_real *mean,
                                              genreg_real *var)
{
    genreg__batch_norm_attr *attr;
    genreg_tensor *y, *in[3];
    genreg__norm_job j;
    genreg_place p;
    genreg_real *variance, *room;
    ptrdiff_t channels, rows, i;
    int shape[GENREG_MAX_RANK];
    if (!genreg__ready(c, "batch_norm", x, gamma) || !genreg__ready(c, "batch_norm", beta, beta) || !genreg__by_channel(c, "batch_norm", x, gamma, beta)) return NULL;
    channels = gamma->size;
    rows = x->size / channels;
    if (rows < 2 || !(eps > 0)) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "batch_norm: %t has one value a channel, which has no variance; use larger batches (or eps %g is not positive)", x, eps);
        return NULL;
    }
    memcpy(shape, x->shape, sizeof shape);
    if (size > 1 && !genreg__pooled_shape(c, "batch_norm", x, size, size, shape)) return NULL;
    y = genreg__tensor(c, "batch_norm", x->rank, shape, NULL);
    attr = y ? (genreg__batch_norm_attr *)genreg__take(c, &c->tape_arena, 1, sizeof *attr) : NULL;
    if (!attr) return NULL;
    attr->eps = eps;
    attr->relu = relu != 0;
    attr->size = size;
    attr->mean = (genreg_real *)genreg__take(c, &c->tape_arena, 4 * (size_t)channels, sizeof *attr->mean);
    if (!attr->mean) return NULL;
    attr->inverse = attr->mean + channels;
    attr->factor = attr->inverse + channels;
    attr->shift = attr->factor + channels;
    p = genreg_mark(c);
    variance = (genreg_real *)genreg__take(c, &c->tape_arena, (size_t)channels, sizeof *variance);
    room = (genreg_real *)genreg__take(c, &c->tape_arena, (size_t)genreg__norm_room(rows, GENREG__NORM_SEGMENT, channels), sizeof *room);
    if (!variance || !room) return NULL;
    genreg__norm_statistics(&c->exec, x->data, rows, channels, attr->mean, variance, room);
    for (i = 0; i < channels; i++) {
        attr->inverse[i] = 1 / GENREG__SQRT(variance[i] + (genreg_real)eps);
        attr->factor[i] = gamma->data[i] * attr->inverse[i];
        attr->shift[i] = beta->data[i] - attr->mean[i] * attr->factor[i];
        if (mean) mean[i] = attr->mean[i];
        if (var) var[i] = variance[i];
    }
    genreg_release(c, p);
    if (size > 1) {
        j = genreg__norm_job_of(x, y, attr, channels);
        j.out = y->data;
        genreg__run_norm(&c->exec, &genreg__norm_forward, &j);
    } else genreg__run_scale_shift(c, x, attr->factor, attr->shift, relu, y);
    in[0] = x; in[1] = gamma; in[2] = beta;
    return genreg__record(c, y, &genreg__batch_norm_op, 3, in, attr);
}

GENREG__API genreg_tensor *genreg_batch_norm(genreg_ctx *c, genreg_tensor *x, genreg_tensor *gamma, genreg_tensor *beta, double eps, int relu, genreg_real *mean,
                                             genreg_real *var)
{
    return genreg__batch_norm_pool(c, x, gamma, beta, eps, relu, 1, mean, var);
}

// >>grad ---------------------------------------------------------------------------------------------------------------
// Owns the reverse sweep, in its two kinds. Recorded: adjoints are tensors made by public operations, so they can be
// differentiated. Direct: adjoints are bare memory that is handed on as soon as a rule is done with it. In both, the
// adjoints of views are parts of the adjoint of the tensor they look into, joined once.

/* A part of an adjoint. Recorded: the adjoint of a view. Direct: a stretch of memory that already holds values. */
typedef struct genreg__part {
    struct genreg__part *next;
    ptrdiff_t offset, size;
    genreg_tensor *value;
} genreg__part;

typedef struct genreg__adjoint {
    genreg_tensor *whole;   /* recorded: what came for the tensor itself */
    genreg__part *parts;    /* in order of offset; they do not overlap (direct) or may (recorded) */
    genreg_real *memory;    /* direct */
    ptrdiff_t capacity;     /* of memory, to hand it on; 0: it is the caller's */
} genreg__adjoint;

typedef struct genreg__free_memory { struct genreg__free_memory *next; genreg_real *memory; ptrdiff_t capacity; } genreg__free_memory;

static genreg__adjoint *genreg__adjoint_of(genreg__sweep *s, genreg_tensor *x)
{
    if (!x->adjoint) {
        x->adjoint = (genreg__adjoint *)genreg__take(s->c, &s->c->sweep_arena, 1, sizeof *x->adjoint);
        if (x->adjoint) memset(x->adjoint, 0, sizeof *x->adjoint);
    }
    return x->adjoint;
}

/* g in the shape of x, summed over what was broadcast; NULL if it is not wanted or after an error. The only place that un-broadcasts. */
static genreg_tensor *genreg__summed_down(genreg__sweep *s, genreg_tensor *x, genreg_tensor *g)
{
    if (!genreg__wants(x) || !g || genreg__halted(s->c)) return NULL;
    return genreg__same_shape(x, g) ? g : genreg_sum_to(s->c, g, x->rank, x->shape);
}

/* ---- direct: memory ------------------------------------------------------------------------------------ */

static genreg_real *genreg__adjoint_memory(genreg__sweep *s, ptrdiff_t size, ptrdiff_t *capacity)
{
    genreg__free_memory **best = NULL, **f;
    for (f = &s->free_memory; *f; f = &(*f)->next)
        if ((*f)->capacity >= size && (!best || (*f)->capacity < (*best)->capacity)) best = f;
    if (best) {
        genreg_real *memory = (*best)->memory;
        *capacity = (*best)->capacity;
        *best = (*best)->next;
        return memory;
    }
    *capacity = size;
    return (genreg_real *)genreg__take(s->c, &s->c->sweep_arena, (size_t)size, sizeof(genreg_real));
}

static void genreg__hand_on(genreg__sweep *s, genreg__adjoint *a)
{
    genreg__free_memory *f;
    if (!a->capacity) return;
    f = (genreg__free_memory *)genreg__take(s->c, &s->c->sweep_arena, 1, sizeof *f);
    if (!f) return;
    f->memory = a->memory;
    f->capacity = a->capacity;
    f->next = s->free_memory;
    s->free_memory = f;
    a->memory = NULL;
}

/* Marks [offset, offset + size) of an adjoint as holding values. Returns 1 if it is to be added to: zeros were put where
   nothing had been written yet. Returns 0 if all of it is to be overwritten, which saves setting and adding zeros. */
static int genreg__cover(genreg__sweep *s, genreg__adjoint *a, ptrdiff_t offset, ptrdiff_t size)
{
    ptrdiff_t end = offset + size, at = offset;
    genreg__part **link = &a->parts;
    int overlap = 0;
    while (*link && (*link)->offset + (*link)->size <= offset) link = &(*link)->next;
    overlap = *link && (*link)->offset < end;
    while (at < end) { /* fill each gap with a part of its own */
        ptrdiff_t stop = *link && (*link)->offset < end ? (*link)->offset : end;
        if (at < stop) {
            genreg__part *part = (genreg__part *)genreg__take(s->c, &s->c->sweep_arena, 1, sizeof *part);
            if (!part) return 0;
            if (overlap) memset(a->memory + at, 0, (size_t)(stop - at) * sizeof *a->memory);
            part->offset = at;
            part->size = stop - at;
            part->value = NULL;
            part->next = *link;
            *link = part;
            link = &part->next;
            at = stop;
        } else {
            at = (*link)->offset + (*link)->size;
            link = &(*link)->next;
        }
    }
    return overlap;
}

static void genreg__fill_gaps(genreg__sweep *s, genreg__adjoint *a, ptrdiff_t size)
{
    if (a->parts) (void)genreg__cover(s, a, 0, size);
    else memset(a->memory, 0, (size_t)size * sizeof *a->memory);
}

static genreg_real *genreg__target(genreg__sweep *s, genreg_tensor *x, int *accumulate)
{
    genreg_tensor *base = genreg__view_base(x);
    ptrdiff_t offset = genreg__view_offset(x);
    genreg__adjoint *a = genreg__adjoint_of(s, base);
    if (!a) return NULL;
    if (!a->memory) a->memory = genreg__adjoint_memory(s, base->size, &a->capacity);
    if (!a->memory) return NULL;
    *accumulate = genreg__cover(s, a, offset, x->size);
    return genreg__halted(s->c) ? NULL : a->memory + offset;
}

static void genreg__over(genreg__sweep *s, genreg_tensor *x)
{
    genreg__adjoint *a = genreg__adjoint_of(s, x);
    if (!a || a->memory) return;
    a->memory = x->data;
    a->capacity = x->size;
}

static void genreg__give_direct(genreg__sweep *s, genreg_tensor *x, genreg_tensor *g)
{
    int accumulate;
    genreg_real *out;
    g = genreg__summed_down(s, x, g);
    out = g ? genreg__target(s, x, &accumulate) : NULL;
    if (!out) return;
    if (accumulate) genreg__add_into(&s->c->exec, x->size, g->data, out);
    else memcpy(out, g->data, (size_t)x->size * sizeof *out);
}

/* ---- recorded: tensors ---------------------------------------------------------------------------------- */

static void genreg__give_recorded(genreg__sweep *s, genreg_tensor *x, genreg_tensor *g)
{
    genreg_tensor *base;
    genreg__adjoint *a;
    genreg__part **link, *part;
    ptrdiff_t offset;
    g = genreg__summed_down(s, x, g);
    if (!g) return;
    base = genreg__view_base(x);
    offset = genreg__view_offset(x);
    a = genreg__adjoint_of(s, base);
    if (!a) return;
    if (x == base) {
        a->whole = a->whole ? genreg_add(s->c, a->whole, g) : g;
        return;
    }
    for (link = &a->parts; *link && (*link)->offset < offset; link = &(*link)->next) {}
    for (; *link && (*link)->offset == offset; link = &(*link)->next)
        if ((*link)->size == x->size) {
            (*link)->value = genreg_add(s->c, (*link)->value, genreg_reshape(s->c, g, (*link)->value->rank, (*link)->value->shape));
            return;
        }
    part = (genreg__part *)genreg__take(s->c, &s->c->sweep_arena, 1, sizeof *part);
    if (!part) return;
    part->offset = offset;
    part->size = x->size;
    part->value = g;
    part->next = *link;
    *link = part;
}

/* The adjoint of a tensor that is no view, all that came put together; NULL if nothing came. */
static genreg_tensor *genreg__whole_adjoint(genreg__sweep *s, genreg_tensor *x)
{
    genreg_ctx *c = s->c;
    genreg__adjoint *a = x->adjoint;
    genreg_tensor *sum;
    if (!a) return NULL;
    sum = a->whole;
    while (a->parts) { /* usually once: overlapping parts wait for the next round */
        genreg__part *part, *kept = NULL, **tail = &kept;
        genreg_tensor **xs, *joined;
        ptrdiff_t end = 0, *offset;
        int n = 0;
        for (part = a->parts; part; part = part->next) n++;
        xs = (genreg_tensor **)genreg__take(c, &c->tape_arena, (size_t)n, sizeof(genreg_tensor *));
        offset = (ptrdiff_t *)genreg__take(c, &c->tape_arena, (size_t)n, sizeof *offset);
        if (!xs || !offset) return NULL;
        n = 0;
        for (part = a->parts; part; part = part->next) {
            if (part->offset < end) { *tail = part; tail = &part->next; continue; }
            if (!part->value) return NULL; /* an error on the way */
            xs[n] = part->value;
            offset[n++] = part->offset;
            end = part->offset + part->size;
        }
        *tail = NULL;
        a->parts = kept;
        joined = n == 1 && xs[0]->size == x->size ? genreg_reshape(c, xs[0], x->rank, x->shape) : genreg__join_pieces(c, x, xs, offset, n);
        sum = sum ? genreg_add(c, sum, joined) : joined;
    }
    return a->whole = sum;
}

/* ---- both ------------------------------------------------------------------------------------------------ */

/* Marks every tensor between xs and y. Views need their base, so that their adjoints have a place to meet. */
static void genreg__mark_needed(genreg_ctx *c, const genreg_tensor *y, genreg_tensor *const *xs, int n)
{
    ptrdiff_t at;
    int i;
    for (i = 0; i < n; i++) xs[i]->needed = genreg__view_base(xs[i])->needed = 1;
    for (at = 0; at <= y->node; at++) {
        genreg_tensor *t = c->tape[at];
        for (i = 0; i < t->inputs && !t->needed; i++)
            t->needed = t->in[i] && t->in[i]->needed;
    }
}

static void genreg__count_uses(genreg_ctx *c, const genreg_tensor *y)
{
    ptrdiff_t at;
    int i;
    for (at = 0; at <= y->node; at++) c->tape[at]->uses = 0;
    for (at = 0; at <= y->node; at++)
        for (i = 0; i < c->tape[at]->inputs; i++)
            if (c->tape[at]->in[i]) c->tape[at]->in[i]->uses++;
}

static void genreg__unmark(genreg_ctx *c, const genreg_tensor *y, genreg_tensor *const *xs, int n)
{
    ptrdiff_t at;
    int i;
    for (at = 0; at <= y->node; at++) {
        c->tape[at]->needed = 0;
        c->tape[at]->adjoint = NULL;
    }
    for (i = 0; i < n; i++) {
        genreg_tensor *base = genreg__view_base(xs[i]);
        xs[i]->needed = base->needed = 0;
        xs[i]->adjoint = base->adjoint = NULL;
    }
}

/* Whether a tensor is where it says it is: not of another context, and, as far as can be told, not released. */
static int genreg__on_tape(const genreg_ctx *c, const genreg_tensor *x) { return x->node < 0 || (x->node < c->nodes && c->tape[x->node] == x); }

static int genreg__can_sweep(genreg_ctx *c, const char *name, const genreg_tensor *y, const genreg_tensor *seed, genreg_tensor *const *xs, int n, int has_room)
{
    int i;
    if (!genreg__ready(c, name, y, y)) return 0;
    if (n > 0 && (!xs || !has_room)) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "%s: no xs, or no room for their gradients", name);
        return 0;
    }
    if (!seed && y->size != 1) genreg__fail(c, GENREG_ERROR_SHAPE, "%s: without a seed y must be a scalar, and it is %t", name, y);
    else if (seed && !genreg__same_shape(seed, y)) genreg__fail(c, GENREG_ERROR_SHAPE, "%s: seed %t for y %t", name, seed, y);
    else if (!y->tracked) genreg__fail(c, GENREG_ERROR_ARGUMENT, "%s: y was computed from constants only; make its inputs with genreg_variable", name);
    if (!genreg__on_tape(c, y)) genreg__fail(c, GENREG_ERROR_ARGUMENT, "%s: y is not on this context's tape; it was released, or is another context's", name);
    for (i = 0; i < n && genreg__ready(c, name, xs[i], xs[i]); i++)
        if (!genreg__on_tape(c, xs[i])) genreg__fail(c, GENREG_ERROR_ARGUMENT, "%s: x number %d is not on this context's tape", name, i);
        else if (!xs[i]->tracked) genreg__fail(c, GENREG_ERROR_ARGUMENT, "%s: x number %d, %t, is a constant; make it with genreg_variable", name, i, xs[i]);
    return c->status == GENREG_OK;
}

static int genreg__has_rule(genreg__sweep *s, const genreg_tensor *t)
{
    if (t->op->rule) return 1;
    genreg__fail(s->c, GENREG_ERROR_NO_RULE, "%s has no derivative", t->op->name);
    return 0;
}

GENREG__API int genreg_grad(genreg_ctx *c, genreg_tensor *y, genreg_tensor *seed, genreg_tensor *const *xs, int n, genreg_tensor **grads)
{
    genreg__sweep s;
    genreg_place p;
    ptrdiff_t at;
    int i;
    for (i = 0; grads && i < n; i++) grads[i] = NULL;
    if (!genreg__can_sweep(c, "grad", y, seed, xs, n, grads != NULL)) return 0;
    memset(&s, 0, sizeof s);
    s.c = c;
    s.give = genreg__give_recorded;
    p = genreg__arena_mark(&c->sweep_arena);
    genreg__mark_needed(c, y, xs, n);
    s.give(&s, y, seed ? seed : genreg_full(c, y->rank, y->shape, 1));
    for (at = y->node; at >= 0 && !genreg__halted(c); at--) {
        genreg_tensor *t = c->tape[at], *dt;
        if (!t->needed || !t->adjoint || t->op == &genreg__view_op) continue;
        dt = genreg__whole_adjoint(&s, t);
        if (dt && genreg__has_rule(&s, t)) t->op->rule(&s, t, dt);
    }
    for (i = 0; i < n && !genreg__halted(c); i++) {
        genreg_tensor *base = genreg__view_base(xs[i]), *whole = genreg__whole_adjoint(&s, base);
        if (!whole) grads[i] = genreg_constant(c, xs[i]->rank, xs[i]->shape, NULL);
        else grads[i] = xs[i] == base ? whole : genreg_view(c, whole, genreg__view_offset(xs[i]), xs[i]->rank, xs[i]->shape);
    }
    genreg__unmark(c, y, xs, n);
    genreg__arena_release(&c->sweep_arena, p);
    return !genreg__halted(c);
}

/* genreg_gradient_into. If it consumes, what is on the tape up to y is of no use afterwards but for y itself. */
static int genreg__sweep_into(genreg_ctx *c, genreg_tensor *y, genreg_tensor *seed, genreg_tensor *const *xs, int n, genreg_real *const *out, int consumes)
{
    genreg__sweep s;
    genreg_place p, tape;
    ptrdiff_t at;
    int i, recording;
    if (!genreg__can_sweep(c, "gradient_into", y, seed, xs, n, out != NULL)) return 0;
    for (i = 0; i < n; i++)
        if (!out[i]) {
            genreg__fail(c, GENREG_ERROR_ARGUMENT, "gradient_into: no room for the gradient of x number %d", i);
            return 0;
        }
    memset(&s, 0, sizeof s);
    s.c = c;
    s.give = genreg__give_direct;
    s.target = genreg__target;
    s.over = genreg__over;
    s.consumes = consumes;
    p = genreg__arena_mark(&c->sweep_arena);
    tape = genreg_mark(c);
    recording = c->recording;
    c->recording = 0;
    genreg__mark_needed(c, y, xs, n);
    if (consumes) genreg__count_uses(c, y);
    for (i = 0; i < n; i++) { /* the adjoint of a leaf is built where the caller wants it */
        genreg_tensor *x = xs[i];
        if (x->node < 0 && !x->adjoint && genreg__adjoint_of(&s, x)) x->adjoint->memory = out[i];
    }
    s.give(&s, y, seed ? seed : genreg_full(c, y->rank, y->shape, 1));
    genreg_release(c, tape);
    for (at = y->node; at >= 0 && !genreg__halted(c); at--) {
        genreg_tensor *t = c->tape[at];
        int is_x = 0;
        if (!t->needed || !t->adjoint || t->op == &genreg__view_op) continue;
        genreg__fill_gaps(&s, t->adjoint, t->size);
        for (i = 0; i < n; i++) is_x |= genreg__view_base(xs[i]) == t;
        if (genreg__halted(c) || !genreg__has_rule(&s, t)) break;
        if (t->op->direct && !is_x) t->op->direct(&s, t, t->adjoint->memory); /* it may overwrite dy */
        else {
            genreg_tensor *dt = genreg__tensor(c, "gradient_into", t->rank, t->shape, t->adjoint->memory);
            if (dt) t->op->rule(&s, t, dt);
        }
        genreg_release(c, tape);
        if (!is_x) genreg__hand_on(&s, t->adjoint);
    }
    for (i = 0; i < n && !genreg__halted(c); i++) {
        genreg_tensor *base = genreg__view_base(xs[i]);
        ptrdiff_t offset = genreg__view_offset(xs[i]);
        size_t bytes = (size_t)xs[i]->size * sizeof(genreg_real);
        if (!base->adjoint || !base->adjoint->memory) { memset(out[i], 0, bytes); continue; }
        genreg__fill_gaps(&s, base->adjoint, base->size);
        if (base->adjoint->memory + offset != out[i]) memcpy(out[i], base->adjoint->memory + offset, bytes);
    }
    genreg__unmark(c, y, xs, n);
    c->recording = recording;
    genreg__arena_release(&c->sweep_arena, p);
    return !genreg__halted(c);
}

GENREG__API int genreg_gradient_into(genreg_ctx *c, genreg_tensor *y, genreg_tensor *seed, genreg_tensor *const *xs, int n, genreg_real *const *out)
{
    return genreg__sweep_into(c, y, seed, xs, n, out, 0);
}

// >>model --------------------------------------------------------------------------------------------------------------
// Owns models: stacks of layers over one flat parameter vector, their initialisation, forward passes and scores.

typedef struct genreg__layer genreg__layer;
typedef struct genreg__behind { int relu, pool; } genreg__behind; /* what a layer does for those behind it: a ReLU, a max-pool over windows of this size (1: none) */
static const genreg__behind genreg__nothing_behind = { 0, 1 };
typedef struct genreg__layer_kind {
    const char *name; /* as checkpoints spell it */
    int takes_relu;   /* a ReLU behind it can be fused */
    int takes_pool;   /* and a max-pool, in training mode */
    int keeps_order;  /* it has parameters, and its outputs stand in the order of its inputs */
    genreg_tensor *(*forward)(genreg_model *m, int layer, genreg_tensor *theta, genreg_tensor *x, const genreg_pass *pass, const genreg__behind *behind);
} genreg__layer_kind;

struct genreg__layer {
    const genreg__layer_kind *kind;
    int first_parameter;          /* index into the model's list, -1 without parameters */
    int in_rank, in_shape[3];     /* of one sample */
    int out_rank, out_shape[3];
    int image[3];                 /* height, width, channels of the image that was flattened into this layer's input, or 0 */
    double p;                     /* of dropout */
    int size, stride, padding;    /* of convolutions and pooling */
    int first_state;              /* of batch norm: index into the model's list of states */
    double scale;                 /* of NTK parametrisation, else 1 */
    int opens_scope;              /* names begin anew here, with this scope */
    char scope[24];
};

/* What makes a model linear in theta: see genreg_linearize, whose floor sets forward. */
struct genreg__linear {
    genreg_tensor *at, *slopes; /* theta_0; theta_0 with constants such that each layer maps 0 to 0 */
    genreg_tensor *(*forward)(genreg_model *m, genreg_tensor *theta, genreg_tensor *x);
};

GENREG__API genreg_model *genreg_model_create(genreg_ctx *c, int rank, const int *shape)
{
    genreg_model *m;
    if (genreg__halted(c)) return NULL;
    if (rank != 1 && rank != 3) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "model: a sample of rank %d; [features] and [height,width,channels] are possible", rank);
        return NULL;
    }
    if (genreg__shape_size(c, "model", rank, shape) < 0) return NULL;
    m = (genreg_model *)genreg__keep(c, 1, sizeof *m);
    if (!m) return NULL;
    m->layers = (genreg__layer *)genreg__keep(c, 1, sizeof *m->layers); /* layer 0's input is the model's; grown with each layer */
    if (!m->layers) { genreg__unkeep(m); return NULL; }
    m->ctx = c;
    m->layer_capacity = 1;
    m->layers[0].in_rank = rank;
    memcpy(m->layers[0].in_shape, shape, (size_t)rank * sizeof *shape);
    return m;
}

GENREG__API void genreg_model_free(genreg_model *m)
{
    if (!m) return;
    if (m->linear) {
        genreg__unkeep(m->linear->at);
        genreg__unkeep(m->linear->slopes);
        genreg__unkeep(m->linear);
    }
    genreg__unkeep(m->theta);
    genreg__unkeep(m->state);
    genreg__unkeep(m->parameters);
    genreg__unkeep(m->states);
    genreg__unkeep(m->mask);
    genreg__unkeep(m->layers);
    genreg__unkeep(m);
}

enum { GENREG__LAYERS = 1 << 14 }; /* beyond reason: a file must not make us add layers for hours */

/* The next layer, its input shape filled in; NULL with the error set. One spare entry behind the last holds the shape that follows. */
static genreg__layer *genreg__new_layer(genreg_model *m, const genreg__layer_kind *kind)
{
    genreg__layer *l, *grown;
    if (!m || genreg__halted(m->ctx)) return NULL;
    if (m->theta) {
        genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "layer %s: the model is laid out already; add layers before genreg_init", kind->name);
        return NULL;
    }
    if (m->layer_count == GENREG__LAYERS) {
        genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "layer %s: the model has %d layers, and no more are possible", kind->name, m->layer_count);
        return NULL;
    }
    if (m->layer_count + 1 >= m->layer_capacity) {
        int capacity = 2 * m->layer_capacity + 6;
        grown = (genreg__layer *)genreg__keep(m->ctx, (size_t)capacity, sizeof *grown);
        if (!grown) return NULL;
        memcpy(grown, m->layers, (size_t)(m->layer_count + 1) * sizeof *grown);
        genreg__unkeep(m->layers);
        m->layers = grown;
        m->layer_capacity = capacity;
    }
    l = &m->layers[m->layer_count];
    l->kind = kind;
    l->first_parameter = -1;
    l->scale = 1;
    l->opens_scope = m->layer_count > 0 ? m->scope_start == m->layer_count : m->scope[0] != 0;
    memcpy(l->scope, m->scope, sizeof l->scope);
    l->out_rank = l->in_rank;
    memcpy(l->out_shape, l->in_shape, sizeof l->out_shape);
    return l;
}

static void genreg__layer_done(genreg_model *m)
{
    genreg__layer *l = &m->layers[m->layer_count++];
    memset(l + 1, 0, sizeof l[1]);
    l[1].in_rank = l->out_rank;
    memcpy(l[1].in_shape, l->out_shape, sizeof l->out_shape);
    if (l->in_rank == 3 && l->out_rank == 1 && l->out_shape[0] != l->in_shape[2]) memcpy(l[1].image, l->in_shape, sizeof l[1].image);
    else if (l->first_parameter < 0 || l->kind->keeps_order) memcpy(l[1].image, l->image, sizeof l[1].image);
}

/* One more entry in a list of parameters or states. */
static genreg_parameter *genreg__new_entry(genreg_model *m, genreg_parameter **list, int *count, int *capacity, int kind, const char *suffix, int rank, const int *shape)
{
    genreg_parameter *p;
    size_t at = 0;
    int i;
    if (*count == *capacity) {
        genreg_parameter *grown = (genreg_parameter *)genreg__keep(m->ctx, 2 * (size_t)*capacity + 8, sizeof *grown);
        if (!grown) return NULL;
        if (*count) memcpy(grown, *list, (size_t)*count * sizeof *grown);
        genreg__unkeep(*list);
        *list = grown;
        *capacity = 2 * *capacity + 8;
    }
    p = &(*list)[*count];
    memset(p, 0, sizeof *p);
    genreg__put(p->name, sizeof p->name, &at, m->scope);
    if (at) genreg__put(p->name, sizeof p->name, &at, ".");
    genreg__put_integer(p->name, sizeof p->name, &at, m->layer_count - m->scope_start);
    genreg__put(p->name, sizeof p->name, &at, suffix);
    for (i = 0; i < *count; i++)
        if (!strcmp((*list)[i].name, p->name)) {
            genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "model: two parameters would be called %s; give each scope a name of its own", p->name);
            return NULL;
        }
    p->layer = m->layer_count;
    p->kind = kind;
    p->offset = *count ? p[-1].offset + p[-1].size : 0;
    p->size = 1;
    p->rank = rank;
    for (i = 0; i < rank; i++) {
        p->shape[i] = shape[i];
        if (p->size > (INT_MAX - p->offset) / shape[i]) {
            genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "model: more parameters than an int counts");
            return NULL;
        }
        p->size *= shape[i];
    }
    ++*count;
    return p;
}

/* A parameter of the layer in hand; theta is laid out by genreg_init. 0 with the error set, and then the list is as it was. */
static int genreg__new_parameter(genreg_model *m, int kind, const char *suffix, int rank, const int *shape, int fan_in, int fan_out)
{
    genreg__layer *l = &m->layers[m->layer_count];
    genreg_parameter *p;
    if (l->first_parameter < 0) l->first_parameter = m->parameter_count;
    p = genreg__new_entry(m, &m->parameters, &m->parameter_count, &m->parameter_capacity, kind, suffix, rank, shape);
    if (!p) {
        m->parameter_count = l->first_parameter;
        return 0;
    }
    p->fan_in = fan_in;
    p->fan_out = fan_out;
    return 1;
}

GENREG__API void genreg_model_scope(genreg_model *m, const char *scope)
{
    const char *s;
    if (!m || genreg__halted(m->ctx)) return;
    for (s = scope ? scope : (scope = ""); *s; s++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.", *s)) {
            genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "model_scope: \"%s\" may have letters, digits, \"_\", \"-\" and \".\"", scope);
            return;
        }
    if (strlen(scope) >= sizeof m->scope) {
        genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "model_scope: \"%s\" is longer than %d letters", scope, (int)sizeof m->scope - 1);
        return;
    }
    genreg__set_name(m->scope, sizeof m->scope, scope);
    m->scope_start = m->layer_count;
}

/* A parameter of a layer as a view of theta. */
static genreg_tensor *genreg__parameter_view(genreg_model *m, genreg_tensor *theta, int index)
{
    const genreg_parameter *p = &m->parameters[index];
    return genreg_view(m->ctx, theta, p->offset, p->rank, p->shape);
}

/* ---- linear -------------------------------------------------------------------------------------------- */

static genreg_tensor *genreg__linear_forward(genreg_model *m, int layer, genreg_tensor *theta, genreg_tensor *x, const genreg_pass *pass, const genreg__behind *behind)
{
    const genreg__layer *l = &m->layers[layer];
    genreg_tensor *w = genreg__parameter_view(m, theta, l->first_parameter), *b = genreg__parameter_view(m, theta, l->first_parameter + 1);
    if (!w || !b) return NULL;
    if (m->mask && theta == m->theta && pass && pass->training && !pass->keep_state) /* a step of training, which differentiates once */
        return genreg__sparse_affine(m->ctx, x, w, b, behind->relu, m->mask + m->parameters[l->first_parameter].offset);
    return genreg_affine(m->ctx, x, w, b, behind->relu);
}
static const genreg__layer_kind genreg__linear_kind = { "linear", 1, 0, 0, genreg__linear_forward };

GENREG__API void genreg_layer_linear(genreg_model *m, int out)
{
    genreg__layer *l = genreg__new_layer(m, &genreg__linear_kind);
    int shape[2];
    if (!l) return;
    if (l->in_rank != 1 || out < 1) {
        genreg__fail(m->ctx, GENREG_ERROR_SHAPE, l->in_rank != 1 ? "layer linear: its input has %d axes; put a flatten layer before it" : "layer linear: %d outputs",
                     l->in_rank != 1 ? l->in_rank : out);
        return;
    }
    shape[0] = l->in_shape[0];
    shape[1] = out;
    if (!genreg__new_parameter(m, GENREG_KIND_WEIGHT, ".weight", 2, shape, shape[0], out) || !genreg__new_parameter(m, GENREG_KIND_BIAS, ".bias", 1, shape + 1, shape[0], out))
        return;
    l->out_shape[0] = out;
    genreg__layer_done(m);
}

/* ---- relu, tanh, sigmoid, flatten, dropout ---------------------------------------------------------------- */

static genreg_tensor *genreg__relu_forward(genreg_model *m, int layer, genreg_tensor *theta, genreg_tensor *x, const genreg_pass *pass, const genreg__behind *behind)
{
    (void)layer; (void)theta; (void)pass; (void)behind;
    return genreg_relu(m->ctx, x);
}
static genreg_tensor *genreg__tanh_forward(genreg_model *m, int layer, genreg_tensor *theta, genreg_tensor *x, const genreg_pass *pass, const genreg__behind *behind)
{
    (void)layer; (void)theta; (void)pass; (void)behind;
    return genreg_tanh(m->ctx, x);
}
static genreg_tensor *genreg__sigmoid_forward(genreg_model *m, int layer, genreg_tensor *theta, genreg_tensor *x, const genreg_pass *pass, const genreg__behind *behind)
{
    (void)layer; (void)theta; (void)pass; (void)behind;
    return genreg_sigmoid(m->ctx, x);
}
static genreg_tensor *genreg__flatten_forward(genreg_model *m, int layer, genreg_tensor *theta, genreg_tensor *x, const genreg_pass *pass, const genreg__behind *behind)
{
    int shape[2];
    (void)theta; (void)pass; (void)behind;
    shape[0] = x->shape[0];
    shape[1] = m->layers[layer].out_shape[0];
    return genreg_reshape(m->ctx, x, 2, shape);
}
static genreg_tensor *genreg__dropout_forward(genreg_model *m, int layer, genreg_tensor *theta, genreg_tensor *x, const genreg_pass *pass, const genreg__behind *behind)
{
    (void)theta; (void)behind;
    if (!pass || !pass->training) return x;
    return genreg_dropout(m->ctx, x, m->layers[layer].p, pass->seed, GENREG__STREAM(GENREG__DRAW_DROPOUT, (uint64_t)layer << 36 | (pass->step & 0xfffffffffu)));
}
static const genreg__layer_kind genreg__relu_kind = { "relu", 0, 0, 0, genreg__relu_forward };
static const genreg__layer_kind genreg__tanh_kind = { "tanh", 0, 0, 0, genreg__tanh_forward };
static const genreg__layer_kind genreg__sigmoid_kind = { "sigmoid", 0, 0, 0, genreg__sigmoid_forward };
static const genreg__layer_kind genreg__flatten_kind = { "flatten", 0, 0, 0, genreg__flatten_forward };
static const genreg__layer_kind genreg__dropout_kind = { "dropout", 0, 0, 0, genreg__dropout_forward };

GENREG__API void genreg_layer_relu(genreg_model *m) { if (genreg__new_layer(m, &genreg__relu_kind)) genreg__layer_done(m); }
GENREG__API void genreg_layer_tanh(genreg_model *m) { if (genreg__new_layer(m, &genreg__tanh_kind)) genreg__layer_done(m); }
GENREG__API void genreg_layer_sigmoid(genreg_model *m) { if (genreg__new_layer(m, &genreg__sigmoid_kind)) genreg__layer_done(m); }

GENREG__API void genreg_layer_flatten(genreg_model *m)
{
    genreg__layer *l = genreg__new_layer(m, &genreg__flatten_kind);
    ptrdiff_t size = l ? genreg__shape_size(m->ctx, "layer flatten", l->in_rank, l->in_shape) : -1;
    if (size < 0) return;
    if (size > INT_MAX) {
        genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "layer flatten: more values than an int counts");
        return;
    }
    l->out_rank = 1;
    l->out_shape[0] = (int)size;
    genreg__layer_done(m);
}

GENREG__API void genreg_layer_dropout(genreg_model *m, double p)
{
    genreg__layer *l = genreg__new_layer(m, &genreg__dropout_kind);
    if (!l) return;
    if (!(p >= 0 && p < 1)) {
        genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "layer dropout: p = %g is not in [0, 1)", p);
        return;
    }
    l->p = p;
    genreg__layer_done(m);
}

/* ---- conv2d ------------------------------------------------------------------------------------------------ */

static genreg_tensor *genreg__conv2d_forward(genreg_model *m, int layer, genreg_tensor *theta, genreg_tensor *x, const genreg_pass *pass, const genreg__behind *behind)
{
    const genreg__layer *l = &m->layers[layer];
    genreg_tensor *w = genreg__parameter_view(m, theta, l->first_parameter), *b = genreg__parameter_view(m, theta, l->first_parameter + 1);
    (void)pass;
    if (!w || !b) return NULL;
    return genreg_conv2d(m->ctx, x, w, b, l->stride, l->padding, behind->relu);
}
static const genreg__layer_kind genreg__conv2d_kind = { "conv2d", 1, 0, 0, genreg__conv2d_forward };

/* Whether a layer's input is an image; sets the error if not. */
static int genreg__takes_image(genreg_model *m, const genreg__layer *l)
{
    if (!l) return 0;
    if (l->in_rank == 3) return 1;
    genreg__fail(m->ctx, GENREG_ERROR_SHAPE, "layer %s: its input is not [height,width,channels]", l->kind->name);
    return 0;
}

GENREG__API void genreg_layer_conv2d(genreg_model *m, int out, int kernel, int stride, int padding)
{
    genreg__layer *l = genreg__new_layer(m, &genreg__conv2d_kind);
    int shape[4], i;
    if (!genreg__takes_image(m, l)) return;
    if (out < 1 || kernel < 1 || stride < 1 || padding < 0 || kernel > (1 << 14) || padding > (1 << 14) || l->in_shape[0] > INT_MAX / 2 || l->in_shape[1] > INT_MAX / 2
        || kernel > l->in_shape[0] + 2 * padding || kernel > l->in_shape[1] + 2 * padding || l->in_shape[2] > INT_MAX / kernel / kernel || out > INT_MAX / kernel / kernel) {
        genreg__fail(m->ctx, GENREG_ERROR_SHAPE, "layer conv2d: %d outputs with a kernel of %d, stride %d and padding %d do not go with an image of %d x %d", out, kernel,
                     stride, padding, l->in_shape[0], l->in_shape[1]);
        return;
    }
    shape[0] = shape[1] = kernel;
    shape[2] = l->in_shape[2];
    shape[3] = out;
    if (!genreg__new_parameter(m, GENREG_KIND_WEIGHT, ".weight", 4, shape, kernel * kernel * shape[2], kernel * kernel * out)
        || !genreg__new_parameter(m, GENREG_KIND_BIAS, ".bias", 1, shape + 3, kernel * kernel * shape[2], kernel * kernel * out))
        return;
    l->size = kernel;
    l->stride = stride;
    l->padding = padding;
    for (i = 0; i < 2; i++) l->out_shape[i] = (l->in_shape[i] + 2 * padding - kernel) / stride + 1;
    l->out_shape[2] = out;
    genreg__layer_done(m);
}

/* ---- batch_norm --------------------------------------------------------------------------------------------- */

static const double genreg__norm_eps = 1e-5, genreg__norm_momentum = 0.1;

static genreg_tensor *genreg__batch_norm_forward(genreg_model *m, int layer, genreg_tensor *theta, genreg_tensor *x, const genreg_pass *pass, const genreg__behind *behind)
{
    const genreg__layer *l = &m->layers[layer];
    genreg_ctx *c = m->ctx;
    genreg_tensor *gamma = genreg__parameter_view(m, theta, l->first_parameter), *beta = genreg__parameter_view(m, theta, l->first_parameter + 1), *y, *factor, *shift;
    genreg_real *mean = m->state->data + m->states[l->first_state].offset, *var = m->state->data + m->states[l->first_state + 1].offset, *statistics, *inverse;
    ptrdiff_t n, i;
    if (!gamma || !beta) return NULL;
    n = gamma->size;
    statistics = (genreg_real *)genreg__take(c, &c->tape_arena, 2 * (size_t)n, sizeof *statistics);
    if (!statistics) return NULL;
    if (pass && pass->training) {
        double rows = (double)(x->size / n);
        const genreg_real momentum = (genreg_real)(pass->momentum > 0 ? pass->momentum : genreg__norm_momentum);
        y = genreg__batch_norm_pool(c, x, gamma, beta, genreg__norm_eps, behind->relu, behind->pool, statistics, statistics + n);
        for (i = 0; y && !pass->keep_state && i < n; i++) {
            mean[i] += momentum * (statistics[i] - mean[i]);
            var[i] += momentum * ((genreg_real)(rows / (rows - 1)) * statistics[n + i] - var[i]);
        }
        return y;
    }
    inverse = statistics + n;
    for (i = 0; i < n; i++) {
        inverse[i] = 1 / GENREG__SQRT(var[i] + (genreg_real)genreg__norm_eps);
        statistics[i] = mean[i] * inverse[i];
    }
    /* gamma (x - mean)/sqrt(var + eps) + beta = s x + t with s = gamma inverse, t = beta - gamma mean inverse */
    factor = genreg_mul(c, gamma, genreg_constant(c, 1, gamma->shape, inverse));
    shift = genreg_sub(c, beta, genreg_mul(c, gamma, genreg_constant(c, 1, gamma->shape, statistics)));
    return genreg_scale_shift(c, x, factor, shift, behind->relu);
}
static const genreg__layer_kind genreg__batch_norm_kind = { "batch_norm", 1, 1, 1, genreg__batch_norm_forward };

GENREG__API void genreg_layer_batch_norm(genreg_model *m)
{
    genreg__layer *l = genreg__new_layer(m, &genreg__batch_norm_kind);
    int shape[1];
    if (!l) return;
    shape[0] = l->in_shape[l->in_rank - 1];
    l->first_state = m->state_count;
    if (!genreg__new_parameter(m, GENREG_KIND_NORM_WEIGHT, ".weight", 1, shape, shape[0], shape[0]) || !genreg__new_parameter(m, GENREG_KIND_NORM_BIAS, ".bias", 1, shape, shape[0], shape[0]))
        return;
    if (!genreg__new_entry(m, &m->states, &m->state_count, &m->state_capacity, 0, ".running_mean", 1, shape)
        || !genreg__new_entry(m, &m->states, &m->state_count, &m->state_capacity, 0, ".running_var", 1, shape)) {
        m->state_count = l->first_state;
        m->parameter_count = l->first_parameter;
        return;
    }
    genreg__layer_done(m);
}

/* ---- pooling ------------------------------------------------------------------------------------------------- */

static genreg_tensor *genreg__max_pool_forward(genreg_model *m, int layer, genreg_tensor *theta, genreg_tensor *x, const genreg_pass *pass, const genreg__behind *behind)
{
    (void)theta; (void)pass; (void)behind;
    return genreg_max_pool(m->ctx, x, m->layers[layer].size, m->layers[layer].size);
}
static genreg_tensor *genreg__avg_pool_forward(genreg_model *m, int layer, genreg_tensor *theta, genreg_tensor *x, const genreg_pass *pass, const genreg__behind *behind)
{
    (void)theta; (void)pass; (void)behind;
    return genreg_avg_pool(m->ctx, x, m->layers[layer].size);
}
static genreg_tensor *genreg__global_avg_pool_forward(genreg_model *m, int layer, genreg_tensor *theta, genreg_tensor *x, const genreg_pass *pass, const genreg__behind *behind)
{
    (void)layer; (void)theta; (void)pass; (void)behind;
    return genreg_global_avg_pool(m->ctx, x);
}
static const genreg__layer_kind genreg__max_pool_kind = { "max_pool", 0, 0, 0, genreg__max_pool_forward };
static const genreg__layer_kind genreg__avg_pool_kind = { "avg_pool", 0, 0, 0, genreg__avg_pool_forward };
static const genreg__layer_kind genreg__global_avg_pool_kind = { "global_avg_pool", 0, 0, 0, genreg__global_avg_pool_forward };

static void genreg__pool_layer(genreg_model *m, const genreg__layer_kind *kind, int size)
{
    genreg__layer *l = genreg__new_layer(m, kind);
    if (!genreg__takes_image(m, l)) return;
    if (size < 1 || size > l->in_shape[0] || size > l->in_shape[1]) {
        genreg__fail(m->ctx, GENREG_ERROR_SHAPE, "layer %s: windows of %d on an image of %d x %d", kind->name, size, l->in_shape[0], l->in_shape[1]);
        return;
    }
    l->size = size;
    l->out_shape[0] = l->in_shape[0] / size;
    l->out_shape[1] = l->in_shape[1] / size;
    genreg__layer_done(m);
}

GENREG__API void genreg_layer_max_pool(genreg_model *m, int size) { genreg__pool_layer(m, &genreg__max_pool_kind, size); }
GENREG__API void genreg_layer_avg_pool(genreg_model *m, int size) { genreg__pool_layer(m, &genreg__avg_pool_kind, size); }

GENREG__API void genreg_layer_global_avg_pool(genreg_model *m)
{
    genreg__layer *l = genreg__new_layer(m, &genreg__global_avg_pool_kind);
    if (!genreg__takes_image(m, l)) return;
    l->out_rank = 1;
    l->out_shape[0] = l->in_shape[2];
    genreg__layer_done(m);
}

/* ---- initialisation ------------------------------------------------------------------------------------------ */

/* A rank-1 tensor that outlives marks, with its values behind it. */
static genreg_tensor *genreg__kept_vector(genreg_ctx *c, ptrdiff_t n)
{
    size_t head = (sizeof(genreg_tensor) + GENREG__ALIGN - 1) / GENREG__ALIGN * GENREG__ALIGN, bytes;
    genreg_tensor *x;
    if (!genreg__times((size_t)n, sizeof(genreg_real), &bytes) || bytes > (size_t)PTRDIFF_MAX - head) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "a vector of %z values is more than this machine can address", n);
        return NULL;
    }
    x = (genreg_tensor *)genreg__keep(c, 1, head + bytes);
    if (!x) return NULL;
    x->data = (genreg_real *)(void *)((char *)x + head);
    x->size = n;
    x->rank = 1;
    x->shape[0] = (int)n;
    x->node = -1;
    return x;
}

/* The same with x's values; NULL of NULL. */
static genreg_tensor *genreg__copy_of(genreg_ctx *c, const genreg_tensor *x)
{
    genreg_tensor *copy = x ? genreg__kept_vector(c, x->size) : NULL;
    if (copy) memcpy(copy->data, x->data, (size_t)x->size * sizeof *x->data);
    return copy;
}

static void genreg__draw_parameter(genreg_model *m, int index)
{
    const genreg_parameter *p = &m->parameters[index];
    genreg_real *w = m->theta->data + p->offset;
    uint64_t stream = GENREG__STREAM(GENREG__DRAW_INIT, index);
    double bound = 0, deviation = 0;
    ptrdiff_t i;
    if (p->kind == GENREG_KIND_NORM_WEIGHT || p->kind == GENREG_KIND_NORM_BIAS) {
        for (i = 0; i < p->size; i++) w[i] = (genreg_real)(p->kind == GENREG_KIND_NORM_WEIGHT);
        return;
    }
    if (m->scheme == GENREG_INIT_PYTORCH) bound = 1 / sqrt((double)p->fan_in);
    else if (p->kind == GENREG_KIND_BIAS) bound = 0;
    else if (m->scheme == GENREG_INIT_XAVIER) bound = sqrt(6.0 / ((double)p->fan_in + p->fan_out));
    else deviation = m->scheme == GENREG_INIT_NTK ? 1.0 : sqrt(2.0 / p->fan_in);
    if (deviation > 0) genreg_normal_fill(w, p->size, m->seed, stream);
    for (i = 0; i < p->size; i++)
        w[i] = deviation > 0 ? (genreg_real)deviation * w[i] : bound > 0 ? (genreg_real)(bound * (2 * genreg_uniform(m->seed, stream, (uint64_t)i) - 1)) : 0;
}

/* What is pruned is +0. */
static void genreg__apply_mask(const genreg_model *m, genreg_real *x)
{
    ptrdiff_t i;
    for (i = 0; m->mask && i < m->theta->size; i++)
        if (!m->mask[i]) x[i] = 0;
}

/* Gives theta and state their memory and each layer its factor; the values are not set. Both or neither. */
static int genreg__lay_out(genreg_model *m, genreg_init_scheme scheme, uint64_t seed)
{
    int i;
    if (!m->theta) {
        const genreg_parameter *last = &m->parameters[m->parameter_count - 1], *last_state = m->state_count ? &m->states[m->state_count - 1] : NULL;
        genreg_tensor *theta = genreg__kept_vector(m->ctx, last->offset + last->size);
        genreg_tensor *state = last_state ? genreg__kept_vector(m->ctx, last_state->offset + last_state->size) : NULL;
        if (genreg__halted(m->ctx)) {
            genreg__unkeep(theta);
            genreg__unkeep(state);
            return 0;
        }
        m->theta = theta;
        m->state = state;
        m->theta->tracked = 1;
    }
    for (i = 0; i < m->parameter_count; i++) {
        int layer = m->parameters[i].layer, before_relu = layer + 1 < m->layer_count && m->layers[layer + 1].kind == &genreg__relu_kind;
        if (m->parameters[i].kind != GENREG_KIND_WEIGHT) continue;
        m->layers[layer].scale = scheme == GENREG_INIT_NTK ? sqrt((before_relu ? 2.0 : 1.0) / m->parameters[i].fan_in) : 1.0;
    }
    m->scheme = scheme;
    m->seed = seed;
    return 1;
}

GENREG__API void genreg_init(genreg_model *m, genreg_init_scheme scheme, uint64_t seed)
{
    ptrdiff_t k;
    int i;
    if (!m || genreg__halted(m->ctx)) return;
    if (!m->parameter_count) {
        genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "init: the model has no parameters; add layers first");
        return;
    }
    if ((int)scheme < 0 || scheme >= GENREG_INIT_COUNT) {
        genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "init: no scheme has the number %d", (int)scheme);
        return;
    }
    if (m->linear) {
        genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "init: a linearised model starts where it was linearised; initialise before genreg_linearize");
        return;
    }
    if (!genreg__lay_out(m, scheme, seed)) return;
    for (i = 0; i < m->parameter_count; i++) genreg__draw_parameter(m, i);
    genreg__apply_mask(m, m->theta->data);
    for (i = 0; i < m->state_count; i++) /* running means start at 0, running variances at 1 */
        for (k = 0; k < m->states[i].size; k++) m->state->data[m->states[i].offset + k] = (genreg_real)(i % 2);
}

GENREG__API genreg_model *genreg_mlp(genreg_ctx *c, const int *sizes, int n)
{
    genreg_model *m;
    int i;
    if (genreg__halted(c)) return NULL;
    if (n < 2 || !sizes) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "mlp: %d sizes; it takes at least an input and an output", n);
        return NULL;
    }
    m = genreg_model_create(c, 1, sizes);
    for (i = 1; i < n; i++) {
        genreg_layer_linear(m, sizes[i]);
        if (i + 1 < n) genreg_layer_relu(m);
    }
    genreg_init(m, GENREG_INIT_PYTORCH, 0);
    if (!genreg__halted(c)) return m;
    genreg_model_free(m);
    return NULL;
}

GENREG__API genreg_model *genreg_cnn(genreg_ctx *c, const int *shape, int width, int batch_norm, int classes)
{
    genreg_model *m;
    int block, i;
    if (genreg__halted(c)) return NULL;
    if (!shape || width < 1 || width > INT_MAX / 4) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "cnn: width %d, or no shape", width);
        return NULL;
    }
    m = genreg_model_create(c, 3, shape);
    genreg_model_scope(m, "features");
    for (block = 0; block < 3; block++) {
        for (i = 0; i < 2; i++) {
            genreg_layer_conv2d(m, width << block, 3, 1, 1);
            if (batch_norm) genreg_layer_batch_norm(m);
            genreg_layer_relu(m);
        }
        genreg_layer_max_pool(m, 2);
    }
    genreg_model_scope(m, "classifier");
    genreg_layer_flatten(m);
    genreg_layer_linear(m, 256);
    genreg_layer_relu(m);
    genreg_layer_linear(m, classes);
    genreg_init(m, GENREG_INIT_PYTORCH, 0);
    if (!genreg__halted(c)) return m;
    genreg_model_free(m);
    return NULL;
}

/* ---- forward pass and scores ------------------------------------------------------------------------------------- */

static int genreg__model_ready(genreg_model *m, const char *name)
{
    if (!m || genreg__halted(m->ctx)) return 0;
    if (m->theta) return 1;
    genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "%s: the model has no parameters yet; call genreg_init after adding its layers", name);
    return 0;
}

/* linear: by the tangent of a linearised model; else by its layers. */
static genreg_tensor *genreg__forward(genreg_model *m, genreg_tensor *theta, genreg_tensor *x, const genreg_pass *pass, int linear)
{
    genreg_ctx *c = m ? m->ctx : NULL;
    genreg_trace *trace = pass ? pass->trace : NULL;
    genreg__behind behind;
    int i, shape[4];
    ptrdiff_t size = 1;
    if (!genreg__model_ready(m, "forward") || !genreg__ready(c, "forward", x, x)) return NULL;
    if (!theta) theta = genreg_detach(c, m->theta);
    if (theta && theta->size != m->theta->size) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "forward: theta %t for a model of %z parameters", theta, m->theta->size);
        return NULL;
    }
    for (i = 0; i < m->layers[0].in_rank; i++) {
        shape[i + 1] = m->layers[0].in_shape[i];
        size *= shape[i + 1];
    }
    if (x->rank < 1 || x->size != x->shape[0] * size) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "forward: %t for a model whose samples have %z values", x, size);
        return NULL;
    }
    shape[0] = x->shape[0];
    x = genreg_reshape(c, x, m->layers[0].in_rank + 1, shape); /* images [n,28,28,1] go into an MLP as they are */
    if (linear) {
        if (trace) genreg__fail(c, GENREG_ERROR_ARGUMENT, "forward: a linearised model has no trace; take that of the model it was made of");
        return trace || !x || !theta ? NULL : m->linear->forward(m, theta, x);
    }
    if (trace) {
        trace->input = (genreg_tensor **)genreg__take(c, &c->tape_arena, 2 * (size_t)m->layer_count, sizeof *trace->input);
        if (!trace->input) return NULL;
        trace->output = trace->input + m->layer_count;
    }
    for (i = 0; i < m->layer_count && x; i++) {
        const genreg__layer *l = &m->layers[i];
        int fused = 0;
        behind = genreg__nothing_behind;
        behind.relu = !trace && l->kind->takes_relu && i + 1 < m->layer_count && l[1].kind == &genreg__relu_kind;
        fused += behind.relu;
        if (!trace && pass && pass->training && l->kind->takes_pool && i + fused + 1 < m->layer_count && l[fused + 1].kind == &genreg__max_pool_kind) {
            behind.pool = l[fused + 1].size;
            fused++;
        }
        if (l->scale != 1) x = genreg_scale(c, x, l->scale);
        if (!x || !theta) return NULL;
        if (trace) trace->input[i] = x;
        x = l->kind->forward(m, i, theta, x, pass, &behind);
        if (trace) trace->output[i] = x;
        i += fused;
    }
    return genreg__halted(c) ? NULL : x;
}

GENREG__API genreg_tensor *genreg_forward(genreg_model *m, genreg_tensor *theta, genreg_tensor *x, const genreg_pass *pass)
{
    return genreg__forward(m, theta, x, pass, m && m->linear);
}


// >>data ---------------------------------------------------------------------------------------------------------------
// Owns labelled samples in memory: subsets, splits, label noise, augmentation, and the batches that losses see.

#define GENREG__FNV1A 14695981039346656037u /* the sum of nothing */
static uint64_t genreg__fnv1a(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    size_t i;
    for (i = 0; i < bytes; i++) hash = (hash ^ p[i]) * 1099511628211u;
    return hash;
}

/* Numbers enter the sum byte by byte from the low one, so that it is the same on every machine. */
static uint64_t genreg__fnv1a_bits(uint64_t hash, uint64_t bits, int width)
{
    for (; width > 0; width--, bits >>= 8) hash = (hash ^ (bits & 255u)) * 1099511628211u;
    return hash;
}

static uint64_t genreg__fnv1a_int(uint64_t hash, uint32_t value) { return genreg__fnv1a_bits(hash, value, 4); }

static uint64_t genreg__fnv1a_reals(uint64_t hash, const genreg_real *x, ptrdiff_t n)
{
    ptrdiff_t i;
    for (i = 0; i < n; i++)
#if GENREG_REAL_IS_DOUBLE
        hash = genreg__fnv1a_bits(hash, genreg__to_bits64(x[i]), 8);
#else
        hash = genreg__fnv1a_bits(hash, genreg__to_bits32(x[i]), 4);
#endif
    return hash;
}

static int genreg__channels(const genreg_dataset *d) { return d->rank == 3 ? d->shape[2] : 1; }

static uint64_t genreg__checksum(const genreg_dataset *d)
{
    uint64_t hash = genreg__fnv1a_int(genreg__fnv1a_int(genreg__fnv1a_int(d->content, (uint32_t)d->n), (uint32_t)d->pad), (uint32_t)d->classes);
    int i;
    for (i = 0; i < d->rank; i++) hash = genreg__fnv1a_int(hash, (uint32_t)d->shape[i]);
    for (i = 0; d->bytes && i < genreg__channels(d); i++) {
        hash = genreg__fnv1a_int(hash, genreg__to_bits32(d->mean[i]));
        hash = genreg__fnv1a_int(hash, genreg__to_bits32(d->std[i]));
    }
    for (i = 0; i < d->n; i++) {
        hash = genreg__fnv1a_int(hash, (uint32_t)(d->rows ? d->rows[i] : i));
        hash = genreg__fnv1a_int(hash, (uint32_t)d->labels[i]);
    }
    return hash;
}

static genreg_dataset genreg__dataset(genreg_ctx *c, const int *labels, int n, int rank, const int *shape, int classes)
{
    genreg_dataset d;
    int i;
    memset(&d, 0, sizeof d);
    if (genreg__halted(c)) return d;
    if (n < 1 || classes < 1 || !labels) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "dataset: %d samples with %d classes, or no labels; at least one of each is needed", n, classes);
        return d;
    }
    if (rank != 1 && rank != 3) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "dataset: samples of rank %d; [features] and [height,width,channels] are possible, and gray images have 1 channel", rank);
        return d;
    }
    if (genreg__shape_size(c, "dataset", rank, shape) < 0) return d;
    if (genreg__shape_size(c, "dataset", rank, shape) > INT_MAX) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "dataset: a sample has more values than an int counts");
        return d;
    }
    if (!genreg__index_fits(c, "dataset: label", labels, n, classes)) return d;
    d.n = n;
    d.rank = rank;
    d.features = (int)genreg__shape_size(c, "dataset", rank, shape);
    memcpy(d.shape, shape, (size_t)rank * sizeof *shape);
    d.classes = classes;
    d.labels = labels;
    for (i = 0; i < 4; i++) d.std[i] = 1;
    return d;
}

GENREG__API genreg_dataset genreg_dataset_bytes(genreg_ctx *c, const unsigned char *pixels, const int *labels, int n, int rank, const int *shape,
                                                int classes, const float *mean, const float *std)
{
    genreg_dataset d = genreg__dataset(c, labels, n, rank, shape, classes);
    int i;
    if (!d.n) return d;
    if (!pixels || genreg__channels(&d) > 4) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "dataset: no pixels, or more than 4 channels");
        memset(&d, 0, sizeof d);
        return d;
    }
    d.bytes = pixels;
    for (i = 0; i < genreg__channels(&d); i++) {
        d.mean[i] = mean ? mean[i] : 0;
        d.std[i] = std ? std[i] : 1;
        if (!(d.std[i] > 0) || d.std[i] - d.std[i] != 0 || d.mean[i] - d.mean[i] != 0) {
            genreg__fail(c, GENREG_ERROR_ARGUMENT, "dataset: channel %d has mean %g and standard deviation %g", i, (double)d.mean[i], (double)d.std[i]);
            memset(&d, 0, sizeof d);
            return d;
        }
    }
    d.content = genreg__fnv1a(GENREG__FNV1A, pixels, (size_t)n * (size_t)d.features);
    d.checksum = genreg__checksum(&d);
    return d;
}

GENREG__API genreg_dataset genreg_dataset_reals(genreg_ctx *c, const genreg_real *values, const int *labels, int n, int rank, const int *shape, int classes)
{
    genreg_dataset d = genreg__dataset(c, labels, n, rank, shape, classes);
    if (!d.n) return d;
    if (!values) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "dataset: no values");
        memset(&d, 0, sizeof d);
        return d;
    }
    d.reals = values;
    d.content = genreg__fnv1a_reals(GENREG__FNV1A, values, (ptrdiff_t)n * d.features);
    d.checksum = genreg__checksum(&d);
    return d;
}

static int genreg__has_samples(genreg_ctx *c, const char *name, const genreg_dataset *d)
{
    if (genreg__halted(c)) return 0;
    if (d && d->n > 0) return 1;
    genreg__fail(c, GENREG_ERROR_ARGUMENT, "%s: the dataset is empty", name);
    return 0;
}

/* The samples order[0 ... n-1] of d as a set of its own: rows and labels are copied, samples are shared. */
static genreg_dataset genreg__subset(genreg_ctx *c, const genreg_dataset *d, const int *order, int n)
{
    genreg_dataset s = *d;
    int *rows = (int *)genreg__keep(c, 2 * (size_t)n, sizeof *rows), *labels = rows ? rows + n : NULL, i;
    if (!rows) {
        memset(&s, 0, sizeof s);
        return s;
    }
    for (i = 0; i < n; i++) {
        rows[i] = d->rows ? d->rows[order[i]] : order[i];
        labels[i] = d->labels[order[i]];
    }
    s.n = n;
    s.rows = rows;
    s.labels = labels;
    s.checksum = genreg__checksum(&s);
    return s;
}

/* n ints that the caller unkeeps. */
static int *genreg__order(genreg_ctx *c, int n, int random, uint64_t seed, uint64_t stream)
{
    int *order = (int *)genreg__keep(c, (size_t)n, sizeof *order), i;
    if (order && random) genreg_permutation(order, n, seed, stream);
    for (i = 0; order && !random && i < n; i++) order[i] = i;
    return order;
}

static genreg_dataset genreg__some(genreg_ctx *c, const char *name, const genreg_dataset *d, int n, int random, uint64_t seed)
{
    genreg_dataset s;
    int *order;
    memset(&s, 0, sizeof s);
    if (!genreg__has_samples(c, name, d)) return s;
    if (n < 1) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "%s: %d samples", name, n);
        return s;
    }
    order = genreg__order(c, d->n, random, seed, GENREG__STREAM(GENREG__DRAW_SUBSET, 0));
    if (order) s = genreg__subset(c, d, order, GENREG__MIN(n, d->n));
    genreg__unkeep(order);
    return s;
}

GENREG__API genreg_dataset genreg_first(genreg_ctx *c, const genreg_dataset *d, int n) { return genreg__some(c, "first", d, n, 0, 0); }
GENREG__API genreg_dataset genreg_sample(genreg_ctx *c, const genreg_dataset *d, int n, uint64_t seed) { return genreg__some(c, "sample", d, n, 1, seed); }

GENREG__API void genreg_split(genreg_ctx *c, const genreg_dataset *d, double fraction, uint64_t seed, genreg_dataset *a, genreg_dataset *b)
{
    int *order, *chosen, *quota, n_a = 0, n_b = 0, i;
    genreg_dataset whole; /* a or b may be d */
    if (!a || !b) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "split: nowhere to put the parts");
        return;
    }
    memset(&whole, 0, sizeof whole);
    if (d) whole = *d;
    d = &whole;
    memset(a, 0, sizeof *a);
    memset(b, 0, sizeof *b);
    if (!genreg__has_samples(c, "split", d)) return;
    if (!(fraction >= 0 && fraction <= 1)) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "split: the fraction %g is not in [0, 1]", fraction);
        return;
    }
    order = genreg__order(c, d->n, 1, seed, GENREG__STREAM(GENREG__DRAW_SPLIT, 0));
    chosen = (int *)genreg__keep(c, (size_t)d->n, sizeof *chosen); /* a's from the front, b's from the back */
    quota = (int *)genreg__keep(c, (size_t)d->classes, sizeof *quota); /* what a class still owes to a */
    for (i = 0; quota && i < d->n; i++) quota[d->labels[i]]++;
    for (i = 0; quota && i < d->classes; i++) quota[i] = (int)floor(fraction * quota[i] + 0.5);
    for (i = 0; order && chosen && quota && i < d->n; i++)
        if (quota[d->labels[order[i]]]-- > 0) chosen[n_a++] = order[i];
        else chosen[d->n - ++n_b] = order[i];
    if (order && chosen && n_a) *a = genreg__subset(c, d, chosen, n_a);
    if (order && chosen && n_b) *b = genreg__subset(c, d, chosen + n_a, n_b);
    genreg__unkeep(order);
    genreg__unkeep(chosen);
    genreg__unkeep(quota);
}

GENREG__API genreg_dataset genreg_label_noise(genreg_ctx *c, const genreg_dataset *d, double p, uint64_t seed)
{
    genreg_dataset s;
    int *labels, i;
    memset(&s, 0, sizeof s);
    if (!genreg__has_samples(c, "label_noise", d)) return s;
    if (!(p >= 0 && p <= 1) || (p > 0 && d->classes < 2)) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "label_noise: probability %g with %d classes; it must be in [0, 1], with two classes or more", p, d->classes);
        return s;
    }
    labels = (int *)genreg__keep(c, (size_t)d->n, sizeof *labels);
    if (!labels) return s;
    for (i = 0; i < d->n; i++) {
        uint64_t stream = GENREG__STREAM(GENREG__DRAW_NOISE, 0);
        labels[i] = d->labels[i];
        if (genreg_uniform(seed, stream, 2 * (uint64_t)i) < p)
            labels[i] = (int)((labels[i] + 1 + (int64_t)(genreg_uniform(seed, stream, 2 * (uint64_t)i + 1) * (d->classes - 1))) % d->classes);
    }
    s = *d;
    s.labels = labels;
    s.checksum = genreg__checksum(&s);
    return s;
}

GENREG__API genreg_dataset genreg_pad(genreg_ctx *c, const genreg_dataset *d, int pad)
{
    genreg_dataset s;
    ptrdiff_t features;
    int i;
    memset(&s, 0, sizeof s);
    if (!genreg__has_samples(c, "pad", d)) return s;
    if (d->rank != 3 || pad < 0 || pad > 4096 || d->shape[0] > 1 << 14 || d->shape[1] > 1 << 14) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "pad: %d zeros around samples of rank %d; they must be [height,width,channels]", pad, d->rank);
        return s;
    }
    s = *d;
    s.pad += pad;
    for (i = 0; i < 2; i++) s.shape[i] += 2 * pad;
    features = genreg__shape_size(c, "pad", s.rank, s.shape);
    if (features < 0 || features > INT_MAX) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "pad: a sample would have more values than an int counts");
        memset(&s, 0, sizeof s);
        return s;
    }
    s.features = (int)features;
    s.checksum = genreg__checksum(&s);
    return s;
}

typedef struct genreg__fetch_job { const genreg_dataset *d; const int *order; int first, flip, crop; uint64_t seed, stream; genreg_real *x; } genreg__fetch_job;

/* Left and right of an image change sides. */
static void genreg__mirror(genreg_real *x, int height, int width, int channels)
{
    int row, left, k;
    for (row = 0; row < height; row++, x += (ptrdiff_t)width * channels)
        for (left = 0; left < width / 2; left++)
            for (k = 0; k < channels; k++) {
                genreg_real *a = x + (ptrdiff_t)left * channels + k, *b = x + (ptrdiff_t)(width - 1 - left) * channels + k, held = *a;
                *a = *b;
                *b = held;
            }
}

static void genreg__fetch_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    const genreg__fetch_job *j = (const genreg__fetch_job *)arg;
    const genreg_dataset *d = j->d;
    int channels = genreg__channels(d), framed = d->pad || j->crop, k;
    /* An image is stored in runs: one, or a run a line if it does not fill its frame. */
    int height = framed ? d->shape[0] : 1, lines = height - 2 * d->pad, columns = framed ? d->shape[1] - 2 * d->pad : 1, line;
    ptrdiff_t run = framed ? (ptrdiff_t)columns * channels : d->features, line_step = framed ? (ptrdiff_t)d->shape[1] * channels : 0, r, i;
    genreg_real value[4][256]; /* each byte's normalised value */
    for (k = 0; d->bytes && k < channels; k++)
        for (i = 0; i < 256; i++) value[k][i] = (genreg_real)(((double)i / 255.0 - (double)d->mean[k]) / (double)d->std[k]);
    for (r = first; r < last; r++) {
        int sample = j->order ? j->order[r] : j->first + (int)r, top = d->pad, left = d->pad, skip = 0;
        ptrdiff_t from = (ptrdiff_t)(d->rows ? d->rows[sample] : sample) * lines * run, part = run;
        genreg_real *image = j->x + r * d->features;
        if (framed) memset(image, 0, (size_t)d->features * sizeof *image);
        if (j->crop) { /* the stored image's corner in the frame, and what of a line the frame shows */
            top += (int)(genreg_uniform(j->seed, j->stream, 4 * (uint64_t)sample) * (2 * j->crop + 1)) - j->crop;
            left += (int)(genreg_uniform(j->seed, j->stream, 4 * (uint64_t)sample + 1) * (2 * j->crop + 1)) - j->crop;
            skip = GENREG__MAX(-left, 0);
            part = (ptrdiff_t)GENREG__MAX(GENREG__MIN(columns, d->shape[1] - left) - skip, 0) * channels;
        }
        for (line = 0; line < lines; line++, from += run) {
            ptrdiff_t at = from + (ptrdiff_t)skip * channels;
            genreg_real *x;
            if (top + line < 0 || top + line >= height || !part) continue;
            x = image + (top + line) * line_step + (ptrdiff_t)(left + skip) * channels;
            if (d->reals) memcpy(x, d->reals + at, (size_t)part * sizeof *x);
            else if (channels == 1)
                for (i = 0; i < part; i++) x[i] = value[0][d->bytes[at + i]];
            else
                for (i = 0; i + channels <= part; i += channels)
                    for (k = 0; k < channels; k++) x[i + k] = value[k][d->bytes[at + i + k]];
        }
        if (j->flip && genreg_uniform(j->seed, j->stream, 4 * (uint64_t)sample + 2) < 0.5) genreg__mirror(image, d->shape[0], d->shape[1], channels);
    }
}

/* Whether the samples are images that can be moved and mirrored like this; sets the error if not. */
static int genreg__augmentation_fits(genreg_ctx *c, const char *name, const genreg_dataset *d, int flip, int crop)
{
    if (!flip && !crop) return 1;
    if (d->rank != 3)
        genreg__fail(c, GENREG_ERROR_SHAPE, "%s: flip and crop take images [height,width,channels], and the samples have %d axes: make the set with its images' shape", name, d->rank);
    else if (crop < 0 || crop >= d->shape[0] || crop >= d->shape[1])
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "%s: crop is %d for images of %d x %d; it must be 0 or more, and less than both", name, crop, d->shape[0], d->shape[1]);
    else return 1;
    return 0;
}

GENREG__API genreg_batch genreg_get_augmented_batch(genreg_ctx *c, const genreg_dataset *d, const int *order, int first, int n, int flip, int crop,
                                                    uint64_t seed, uint64_t epoch)
{
    genreg_batch b;
    genreg__fetch_job j;
    int shape[4], *labels, i;
    memset(&b, 0, sizeof b);
    if (!genreg__has_samples(c, "get_batch", d) || !genreg__augmentation_fits(c, "get_batch", d, flip, crop)) return b;
    if (n < 1 || (!order && (first < 0 || first > d->n - n)) || (order && !genreg__index_fits(c, "get_batch", order, n, d->n))) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "get_batch: %d samples from %d on, of %d", n, first, d->n);
        return b;
    }
    shape[0] = n;
    for (i = 0; i < d->rank; i++) shape[i + 1] = d->shape[i];
    b.x = genreg__tensor(c, "get_batch", d->rank + 1, shape, NULL);
    labels = b.x ? (int *)genreg__take(c, &c->tape_arena, (size_t)n, sizeof *labels) : NULL;
    if (!labels) {
        b.x = NULL;
        return b;
    }
    j.d = d; j.order = order; j.first = first; j.x = b.x->data;
    j.flip = flip; j.crop = crop; j.seed = seed; j.stream = GENREG__STREAM(GENREG__DRAW_AUGMENTATION, epoch & 0xffffffffffffu);
    genreg__split_range(&c->exec, n, 1, b.x->size >= 2 * GENREG__SERIAL, genreg__fetch_range, &j);
    for (i = 0; i < n; i++) labels[i] = d->labels[order ? order[i] : first + i];
    b.labels = labels;
    b.n = n;
    b.classes = d->classes;
    return b;
}

GENREG__API genreg_batch genreg_get_batch(genreg_ctx *c, const genreg_dataset *d, const int *order, int first, int n)
{
    return genreg_get_augmented_batch(c, d, order, first, n, 0, 0, 0, 0);
}

// >>train --------------------------------------------------------------------------------------------------------------
// Owns training: optimisers, schedules, the order of samples, and a run that can stop and go on anywhere.

/* Where the largest of n outputs is; the first of equals; -1, which is no label, if one of them is NaN. */
static int genreg__argmax(const genreg_real *x, int n)
{
    int best = 0, numbers = 1, i;
    for (i = 0; i < n; i++) {
        if (x[i] > x[best]) best = i;
        numbers &= x[i] == x[i];
    }
    return numbers ? best : -1;
}

static int genreg__count_correct(const genreg_tensor *outputs, const int *labels)
{
    int correct = 0, i;
    for (i = 0; i < outputs->shape[0]; i++)
        correct += genreg__argmax(outputs->data + (ptrdiff_t)i * outputs->shape[1], outputs->shape[1]) == labels[i];
    return correct;
}

/* The mean loss of outputs as a tensor. */
static genreg_tensor *genreg__loss_of(genreg_ctx *c, genreg_loss loss, genreg_tensor *outputs, const genreg_batch *b)
{
    if (!outputs) return NULL;
    if (outputs->rank != 2 || outputs->shape[0] != b->n) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "the model's outputs are %t and should be [n,classes]: end it with flatten and linear", outputs);
        return NULL;
    }
    if (loss == GENREG_LOSS_CROSS_ENTROPY) return genreg_cross_entropy(c, outputs, b->labels);
    if (loss == GENREG_LOSS_MSE) return genreg_mse(c, outputs, genreg_one_hot(c, b->labels, b->n, outputs->shape[1]));
    genreg__fail(c, GENREG_ERROR_ARGUMENT, "no loss has the number %d", (int)loss);
    return NULL;
}

enum { GENREG__EVALUATION_BATCH = 200 }; /* CNN(32) with batch norm: 10,000 images in 250 MB, the set included */

static genreg_score genreg__evaluate(genreg_model *m, const genreg_real *theta, const genreg_dataset *d, genreg_loss loss, double *class_accuracy)
{
    genreg_score s;
    genreg_ctx *c = m ? m->ctx : NULL;
    int first, n, batch = GENREG__EVALUATION_BATCH, i, correct = 0, classes = 0, *seen = NULL;
    double total = 0;
    s.loss = s.accuracy = (double)NAN;
    s.samples = 0;
    if (!genreg__model_ready(m, "evaluate") || !genreg__has_samples(c, "evaluate", d)) return s;
    if (class_accuracy) {
        classes = d->classes;
        seen = (int *)genreg__keep(c, (size_t)classes, sizeof *seen);
        for (i = 0; seen && i < classes; i++) class_accuracy[i] = 0;
    }
    for (first = 0; first < d->n && !genreg__halted(c); first += n) {
        genreg_place p = genreg_mark(c);
        genreg_batch b;
        genreg_tensor *at, *y, *l;
        n = GENREG__MIN(batch, d->n - first);
        b = genreg_get_batch(c, d, NULL, first, n);
        at = theta ? genreg_constant(c, 1, m->theta->shape, (genreg_real *)(uintptr_t)theta) : NULL; /* only read */
        y = genreg_forward(m, at, b.x, NULL);
        l = genreg__loss_of(c, loss, y, &b);
        if (l) {
            total += genreg_item(l) * b.n;
            correct += genreg__count_correct(y, b.labels);
            for (i = 0; seen && i < b.n; i++) {
                seen[b.labels[i]]++;
                class_accuracy[b.labels[i]] += genreg__argmax(y->data + (ptrdiff_t)i * y->shape[1], y->shape[1]) == b.labels[i];
            }
        } else if (c->status == GENREG_ERROR_LIMIT && batch > 1) { /* the memory option allows less at a time */
            genreg_clear_error(c);
            batch = (n + 1) / 2;
            n = 0;
        }
        genreg_release(c, p);
    }
    for (i = 0; seen && i < classes; i++) class_accuracy[i] = seen[i] ? class_accuracy[i] / seen[i] : (double)NAN;
    genreg__unkeep(seen);
    if (genreg__halted(c)) return s;
    s.loss = total / d->n;
    s.accuracy = (double)correct / d->n;
    s.samples = d->n;
    return s;
}

GENREG__API genreg_score genreg_evaluate_classes(genreg_model *m, const genreg_dataset *d, genreg_loss loss, double *class_accuracy)
{
    return genreg__evaluate(m, NULL, d, loss, class_accuracy);
}

GENREG__API genreg_score genreg_evaluate_at(genreg_model *m, const genreg_real *theta, const genreg_dataset *d)
{
    return genreg__evaluate(m, theta, d, GENREG_LOSS_CROSS_ENTROPY, NULL);
}

GENREG__API genreg_score genreg_evaluate(genreg_model *m, const genreg_dataset *d) { return genreg_evaluate_classes(m, d, GENREG_LOSS_CROSS_ENTROPY, NULL); }

GENREG__API genreg_train_options genreg_train_defaults(void)
{
    genreg_train_options o;
    memset(&o, 0, sizeof o);
    o.optimizer = GENREG_OPTIMIZER_SGD;
    o.lr = 0.01;
    o.momentum = 0.9;
    o.beta1 = 0.9;
    o.beta2 = 0.999;
    o.eps = 1e-8;
    o.schedule = GENREG_SCHEDULE_COSINE;
    o.gamma = 0.1;
    o.period = 30;
    o.batch = 128;
    o.epochs = 10;
    o.loss = GENREG_LOSS_CROSS_ENTROPY;
    return o;
}

/* How many threads a step is run on. Small steps mostly read and write weights, which threads whose caches are far apart pull from each other: two
   can then take six times as long as one, and a machine may have dozens; or others use its cores. So now and then some steps are timed, on all threads,
   on half of them, and so on while that is not much slower, and the fastest number is kept for a while: longer, if it was the fastest
   before. Results have the same bits for any number. */
enum { GENREG__PACE_TRIED = 3, GENREG__PACE_KEPT = 512, GENREG__PACE_KEPT_MOST = 8192 };
typedef struct genreg__pace {
    int most;            /* threads that the context has; 0 before the first step */
    int threads, tried;  /* on trial, and for how many steps so far */
    double seconds;      /* of the fastest of them */
    int best;            /* the fastest number of threads in this trial so far, */
    double best_seconds; /* and its seconds */
    int before;          /* the fastest number in the trial before, 0 if there was none */
    int kept, left;      /* the steps that it is kept for, and those that are left of them */
} genreg__pace;

struct genreg_trainer {
    genreg_model *m;
    genreg_dataset data;
    genreg_train_options o;
    genreg_tensor *gradient, *velocity, *square; /* velocity is SGD's momentum and Adam's first moment, square Adam's second */
    int *order;
    int batch, position;         /* position: samples of the epoch already used */
    int64_t steps, total_steps;  /* done, to do */
    int epoch;                   /* begun so far */
    int stopped;
    double loss_sum, lr;
    int correct, samples;        /* of the epoch in hand */
    genreg__pace pace;
};

static int64_t genreg__steps_per_epoch(const genreg_trainer *t) { return ((int64_t)t->data.n + t->batch - 1) / t->batch; }

static int genreg__train_options_fit(genreg_ctx *c, const genreg_train_options *o)
{
    const char *what = NULL;
    if (!(o->lr > 0) || o->lr > 1e30) what = "lr is not a positive number";
    else if (o->batch < 1) what = "batch is less than 1";
    else if (o->epochs < 1 && o->steps < 1) what = "neither epochs nor steps is at least 1";
    else if (o->steps < 0) what = "steps is negative";
    else if (!(o->momentum >= 0 && o->momentum < 1)) what = "momentum is not in [0, 1)";
    else if (!(o->weight_decay >= 0 && o->weight_decay < 1e30)) what = "weight_decay is no number from 0 on";
    else if (!(o->lr_min >= 0 && o->lr_min <= 1e30)) what = "lr_min is no number from 0 on";
    else if (o->schedule == GENREG_SCHEDULE_STEP && !(o->gamma > 0 && o->gamma < 1e30)) what = "gamma is not a positive number";
    else if (!(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1 && o->eps > 0 && o->eps < 1e30)) what = "beta1 or beta2 is not in [0, 1), or eps is not positive";
    else if (o->schedule == GENREG_SCHEDULE_STEP && o->period < 1) what = "period is less than 1";
    else if (o->optimizer != GENREG_OPTIMIZER_SGD && o->optimizer != GENREG_OPTIMIZER_ADAM) what = "optimizer is unknown";
    else if (o->loss != GENREG_LOSS_CROSS_ENTROPY && o->loss != GENREG_LOSS_MSE) what = "loss is unknown";
    else if (o->schedule != GENREG_SCHEDULE_CONSTANT && o->schedule != GENREG_SCHEDULE_STEP && o->schedule != GENREG_SCHEDULE_COSINE) what = "schedule is unknown";
    if (what) genreg__fail(c, GENREG_ERROR_ARGUMENT, "train: %s", what);
    return !what;
}

GENREG__API genreg_trainer *genreg_trainer_create(genreg_model *m, const genreg_dataset *d, const genreg_train_options *options)
{
    genreg_train_options o = options ? *options : genreg_train_defaults();
    genreg_ctx *c = m ? m->ctx : NULL;
    genreg_trainer *t;
    if (!genreg__model_ready(m, "train") || !genreg__has_samples(c, "train", d) || !genreg__train_options_fit(c, &o)
        || !genreg__augmentation_fits(c, "train", d, o.flip, o.crop)) return NULL;
    t = (genreg_trainer *)genreg__keep(c, 1, sizeof *t);
    if (!t) return NULL;
    t->m = m;
    t->data = *d;
    t->o = o;
    t->batch = GENREG__MIN(o.batch, d->n);
    t->total_steps = o.steps ? o.steps : o.epochs * genreg__steps_per_epoch(t);
    t->gradient = genreg__kept_vector(c, m->theta->size);
    t->velocity = genreg__kept_vector(c, m->theta->size);
    t->square = o.optimizer == GENREG_OPTIMIZER_ADAM ? genreg__kept_vector(c, m->theta->size) : NULL;
    t->order = (int *)genreg__keep(c, (size_t)d->n, sizeof *t->order);
    if (genreg__halted(c)) {
        genreg_trainer_free(t);
        return NULL;
    }
    genreg__set_name(m->data_name, sizeof m->data_name, d->name);
    m->channels = d->bytes ? genreg__channels(d) : 0;
    memcpy(m->mean, d->mean, sizeof m->mean);
    memcpy(m->std, d->std, sizeof m->std);
    return t;
}

GENREG__API void genreg_trainer_free(genreg_trainer *t)
{
    if (!t) return;
    genreg__unkeep(t->gradient);
    genreg__unkeep(t->velocity);
    genreg__unkeep(t->square);
    genreg__unkeep(t->order);
    genreg__unkeep(t);
}

/* The rate of the next step. */
static double genreg__rate(const genreg_trainer *t)
{
    const genreg_train_options *o = &t->o;
    int64_t per_epoch = genreg__steps_per_epoch(t), at = o->schedule_by_step ? t->steps : t->epoch - 1;
    int64_t end = o->schedule_by_step ? t->total_steps : (t->total_steps - 1) / per_epoch + 1;
    double rate = o->lr;
    if (o->schedule == GENREG_SCHEDULE_COSINE) return o->lr_min + (o->lr - o->lr_min) * (1 + genreg__cos_pi((double)at / (double)end)) / 2;
    if (o->schedule == GENREG_SCHEDULE_STEP)
        for (at /= o->period; at > 0 && rate != 0; at--) rate *= o->gamma;
    return rate;
}

/* One pass over theta: reads and writes each value once. */
typedef struct genreg__update_job {
    genreg__loop loop, masking;
    genreg_real *theta, *v, *q;
    const genreg_real *g;
    const unsigned char *mask;
    ptrdiff_t n;
    genreg_real lr, momentum, decay, beta1, beta2, eps, scale1, scale2;
    int nesterov;
} genreg__update_job;

static GENREG__INLINE void genreg__sgd_body(const void *arg)
{
    const genreg__update_job *j = (const genreg__update_job *)arg;
    genreg_real *theta = j->theta, *v = j->v, lr = j->lr, momentum = j->momentum, decay = j->decay;
    const genreg_real *g = j->g;
    ptrdiff_t i, n = j->n;
    if (j->nesterov) {
        GENREG__NO_ALIAS
        for (i = 0; i < n; i++) {
            const genreg_real d = g[i] + decay * theta[i], u = momentum * v[i] + d;
            v[i] = u;
            theta[i] -= lr * (d + momentum * u);
        }
    } else {
        GENREG__NO_ALIAS
        for (i = 0; i < n; i++) {
            const genreg_real u = momentum * v[i] + (g[i] + decay * theta[i]);
            v[i] = u;
            theta[i] -= lr * u;
        }
    }
}
GENREG__WIDEN(genreg__sgd)

/* Adam: v and q are moving means of g and g^2, scale1 = lr/(1 - beta1^t) and scale2 = 1/sqrt(1 - beta2^t) correct their start at 0. */
static GENREG__INLINE void genreg__adam_body(const void *arg)
{
    const genreg__update_job *j = (const genreg__update_job *)arg;
    genreg_real *theta = j->theta, *v = j->v, *q = j->q, b1 = j->beta1, b2 = j->beta2, decay = j->decay, eps = j->eps, s1 = j->scale1, s2 = j->scale2;
    const genreg_real *g = j->g;
    ptrdiff_t i, n = j->n;
    GENREG__NO_ALIAS
    for (i = 0; i < n; i++) {
        const genreg_real d = g[i] + decay * theta[i], u = b1 * v[i] + (1 - b1) * d, w = b2 * q[i] + (1 - b2) * d * d;
        v[i] = u;
        q[i] = w;
        theta[i] -= s1 * u / (GENREG__SQRT(w) * s2 + eps);
    }
}
GENREG__WIDEN(genreg__adam)

/* What is pruned is +0 in theta, v and q, whatever the step has made of it. */
typedef struct genreg__mask_job { genreg_real *x; const unsigned char *mask; ptrdiff_t n; } genreg__mask_job;
static GENREG__INLINE void genreg__mask_body(const void *arg)
{
    const genreg__mask_job *j = (const genreg__mask_job *)arg;
    genreg_real *x = j->x;
    const unsigned char *mask = j->mask;
    ptrdiff_t i, n = j->n;
    GENREG__NO_ALIAS
    for (i = 0; i < n; i++) x[i] = mask[i] ? x[i] : 0;
}
GENREG__WIDEN(genreg__mask)

static void genreg__update_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    genreg__update_job job = *(const genreg__update_job *)arg;
    job.theta += first;
    job.v += first;
    if (job.q) job.q += first;
    job.g += first;
    job.n = last - first;
    job.loop(&job);
    if (job.mask) {
        genreg_real *const vectors[] = { job.theta, job.v, job.q };
        genreg__mask_job masked;
        int i;
        masked.mask = job.mask + first;
        masked.n = job.n;
        for (i = 0; i < 3; i++)
            if ((masked.x = vectors[i]) != NULL) job.masking(&masked);
    }
}

static void genreg__update(genreg_trainer *t, double lr)
{
    const genreg__exec *e = &t->m->ctx->exec;
    double step = (double)t->steps + 1;
    genreg__update_job j;
    memset(&j, 0, sizeof j);
    j.loop = genreg__pick(t->o.optimizer == GENREG_OPTIMIZER_ADAM ? &genreg__adam : &genreg__sgd, e->isa);
    j.theta = t->m->theta->data;
    j.v = t->velocity->data;
    j.q = t->square ? t->square->data : NULL;
    j.g = t->gradient->data;
    j.mask = t->m->mask;
    j.masking = genreg__pick(&genreg__mask, e->isa);
    j.n = t->m->theta->size;
    j.lr = (genreg_real)lr;
    j.momentum = (genreg_real)t->o.momentum;
    j.decay = (genreg_real)t->o.weight_decay;
    j.nesterov = t->o.nesterov;
    if (t->square) {
        j.beta1 = (genreg_real)t->o.beta1;
        j.beta2 = (genreg_real)t->o.beta2;
        j.eps = (genreg_real)t->o.eps;
        j.scale1 = (genreg_real)(lr / (t->o.beta1 > 0 ? 1 - genreg__exp64(step * genreg__log64(t->o.beta1)) : 1));
        j.scale2 = (genreg_real)(1 / sqrt(t->o.beta2 > 0 ? 1 - genreg__exp64(step * genreg__log64(t->o.beta2)) : 1));
    }
    genreg__split_range(e, j.n, 64, j.n >= GENREG__SERIAL, genreg__update_range, &j);
}

/* The order of an epoch depends on seed and epoch alone, so that a resumed run finds it again. */
static void genreg__draw_order(genreg_trainer *t)
{
    int i;
    if (t->o.no_shuffle) for (i = 0; i < t->data.n; i++) t->order[i] = i;
    else genreg_permutation(t->order, t->data.n, t->o.seed, GENREG__STREAM(GENREG__DRAW_ORDER, t->epoch));
}

static void genreg__begin_epoch(genreg_trainer *t)
{
    t->epoch++;
    t->position = t->correct = t->samples = 0;
    t->loss_sum = 0;
    genreg__draw_order(t);
}

GENREG__API genreg_progress genreg_trainer_progress(const genreg_trainer *t)
{
    genreg_progress p;
    memset(&p, 0, sizeof p);
    p.loss = p.accuracy = (double)NAN;
    if (!t) return p;
    p.epoch = t->epoch;
    p.step = t->steps;
    p.lr = t->lr;
    p.samples = t->samples;
    if (t->samples) {
        p.loss = t->loss_sum / t->samples;
        p.accuracy = (double)t->correct / t->samples;
    }
    return p;
}

/* Loss, gradient and update for one batch. */
static void genreg__train_batch(genreg_trainer *t, int n)
{
    genreg_ctx *c = t->m->ctx;
    genreg_place p = genreg_mark(c);
    genreg_batch b = genreg_get_augmented_batch(c, &t->data, t->order + t->position, 0, n, t->o.flip, t->o.crop, t->o.seed, (uint64_t)t->epoch);
    genreg_pass pass;
    genreg_tensor *y, *loss, *state = t->m->state;
    genreg_real *before = state && b.x ? (genreg_real *)genreg__take(c, &c->tape_arena, (size_t)state->size, sizeof *before) : NULL;
    double value;
    if (before) memcpy(before, state->data, (size_t)state->size * sizeof *before);
    memset(&pass, 0, sizeof pass);
    pass.training = 1;
    pass.seed = t->o.seed;
    pass.step = (uint64_t)t->steps;
    y = genreg_forward(t->m, t->m->theta, b.x, &pass);
    loss = genreg__loss_of(c, t->o.loss, y, &b);
    value = genreg_item(loss);
    t->lr = genreg__rate(t);
    if (loss && value - value != 0)
        genreg__fail(c, GENREG_ERROR_DIVERGED, "train: the loss is %g in epoch %d, step %z; try a smaller lr than %g", value, t->epoch, (ptrdiff_t)t->steps + 1, t->o.lr);
    if (loss && genreg__sweep_into(c, loss, NULL, &t->m->theta, 1, &t->gradient->data, 1)) {
        genreg__update(t, t->lr);
        t->loss_sum += value * n;
        t->correct += genreg__count_correct(y, b.labels);
        t->samples += n;
        t->position += n;
        t->steps++;
    } else if (before) memcpy(state->data, before, (size_t)state->size * sizeof *before); /* a step that failed leaves no trace */
    if (t->steps == t->total_steps && !genreg__halted(c)) { /* no later loss would tell that the last step was too long */
        ptrdiff_t i;
        for (i = 0; i < t->m->theta->size; i++)
            if (t->m->theta->data[i] - t->m->theta->data[i] != 0) {
                genreg__fail(c, GENREG_ERROR_DIVERGED, "train: a parameter is no longer finite after epoch %d, step %z; try a smaller lr than %g", t->epoch, (ptrdiff_t)t->steps, t->o.lr);
                break;
            }
    }
    genreg_release(c, p);
}

#ifdef _OPENMP
/* How many threads the next step gets, of so many at most. */
static int genreg__pace_threads(genreg__pace *p, int most)
{
    if (p->most != most) {
        memset(p, 0, sizeof *p);
        p->most = p->threads = most;
    }
    GENREG_ASSERT(p->threads >= 1 && p->threads <= most && (p->left == 0 || (p->best >= 1 && p->best <= most)));
    return p->left > 0 ? p->best : p->threads;
}

/* And what it took. */
static void genreg__pace_step(genreg__pace *p, double seconds)
{
    const double slower = 1.5;
    if (p->left > 0) {
        if (--p->left == 0) p->threads = p->most;
        return;
    }
    p->seconds = p->tried ? GENREG__MIN(p->seconds, seconds) : seconds;
    if (++p->tried < GENREG__PACE_TRIED) return;
    p->tried = 0;
    if (p->threads == p->most || p->seconds < p->best_seconds) {
        p->best = p->threads;
        p->best_seconds = p->seconds;
    }
    if (p->threads > 1 && p->seconds <= slower * p->best_seconds) {
        p->threads /= 2;
        return;
    }
    p->left = p->kept = p->best == p->before ? GENREG__MIN(2 * p->kept, GENREG__PACE_KEPT_MOST) : GENREG__PACE_KEPT;
    p->before = p->best;
}

/* Trains one batch on the number of threads that is on trial or has been found best. */
static void genreg__train_paced(genreg_trainer *t, int n)
{
    genreg__exec *e = &t->m->ctx->exec;
    const int most = e->threads;
    double start = omp_get_wtime();
    e->threads = genreg__pace_threads(&t->pace, most);
    genreg__train_batch(t, n);
    e->threads = most;
    if (most > 1 && n == t->batch) genreg__pace_step(&t->pace, omp_get_wtime() - start); /* a smaller batch says nothing about the others */
}
#else
#define genreg__train_paced genreg__train_batch
#endif

GENREG__API int genreg_trainer_step(genreg_trainer *t)
{
    if (!t || genreg__halted(t->m->ctx) || t->stopped || t->steps >= t->total_steps) return 0;
    if (t->epoch == 0 || t->position == t->data.n) {
        if (t->epoch == INT_MAX) { /* steps may be as good as endless */
            genreg__fail(t->m->ctx, GENREG_ERROR_ARGUMENT, "train: the run goes on beyond epoch %d, the last that an int counts", t->epoch);
            return 0;
        }
        genreg__begin_epoch(t);
    }
    genreg__train_paced(t, GENREG__MIN(t->batch, t->data.n - t->position));
    if (genreg__halted(t->m->ctx)) return 0;
    if ((t->position == t->data.n || t->steps == t->total_steps) && t->o.on_epoch) {
        genreg_progress progress = genreg_trainer_progress(t);
        if (t->o.on_epoch(&progress, t->o.user)) t->stopped = 1;
    }
    return !genreg__halted(t->m->ctx) && !t->stopped && t->steps < t->total_steps;
}

GENREG__API int genreg_trainer_epoch(genreg_trainer *t)
{
    int more = genreg_trainer_step(t);
    while (more && t->position < t->data.n) more = genreg_trainer_step(t);
    return more;
}

GENREG__API genreg_progress genreg_train(genreg_model *m, const genreg_dataset *d, const genreg_train_options *o)
{
    genreg_trainer *t = genreg_trainer_create(m, d, o);
    genreg_progress p;
    while (genreg_trainer_epoch(t)) {}
    p = genreg_trainer_progress(t);
    genreg_trainer_free(t);
    return p;
}

// >>curvature ----------------------------------------------------------------------------------------------------------
// Owns what the loss looks like around theta: gradients and Hessian products over any number of samples, and eigenvalues.

/* A model as an objective: its outputs, and the loss of outputs. In training mode batch statistics take part, running ones stay. */
static genreg_tensor *genreg__model_outputs(genreg_ctx *c, genreg_tensor *theta, const genreg_batch *b, void *user)
{
    (void)c;
    return genreg_forward((genreg_model *)user, theta, b->x, NULL);
}

static genreg_tensor *genreg__model_training_outputs(genreg_ctx *c, genreg_tensor *theta, const genreg_batch *b, void *user)
{
    genreg_pass pass;
    (void)c;
    memset(&pass, 0, sizeof pass);
    pass.training = 1;
    pass.keep_state = 1;
    return genreg_forward((genreg_model *)user, theta, b->x, &pass);
}

static genreg_tensor *genreg__cross_entropy_head(genreg_ctx *c, genreg_tensor *outputs, const genreg_batch *b, void *user)
{
    (void)user;
    return genreg__loss_of(c, GENREG_LOSS_CROSS_ENTROPY, outputs, b);
}

static genreg_tensor *genreg__mse_head(genreg_ctx *c, genreg_tensor *outputs, const genreg_batch *b, void *user)
{
    (void)user;
    return genreg__loss_of(c, GENREG_LOSS_MSE, outputs, b);
}

static genreg_objective genreg__objective_of(genreg_model *m, const genreg_dataset *d, genreg_loss loss, int training)
{
    genreg_objective f;
    int i;
    memset(&f, 0, sizeof f);
    if (!genreg__model_ready(m, "model_objective") || !genreg__has_samples(m->ctx, "model_objective", d)) return f;
    if (loss != GENREG_LOSS_CROSS_ENTROPY && loss != GENREG_LOSS_MSE) {
        genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "model_objective: no loss has the number %d", (int)loss);
        return f;
    }
    f.ctx = m->ctx;
    f.theta = m->theta;
    f.outputs = training ? genreg__model_training_outputs : genreg__model_outputs;
    f.loss = loss == GENREG_LOSS_MSE ? genreg__mse_head : genreg__cross_entropy_head;
    f.user = m;
    f.data = d;
    f.whole = training && m->state; /* batch statistics; dropout too draws by the place in the batch */
    for (i = 0; training && i < m->layer_count; i++) f.whole |= m->layers[i].kind == &genreg__dropout_kind;
    return f;
}

GENREG__API genreg_objective genreg_model_objective(genreg_model *m, const genreg_dataset *d, genreg_loss loss) { return genreg__objective_of(m, d, loss, 0); }
GENREG__API genreg_objective genreg_training_objective(genreg_model *m, const genreg_dataset *d, genreg_loss loss) { return genreg__objective_of(m, d, loss, 1); }

static int genreg__objective_ready(const genreg_objective *f, const char *name)
{
    if (!f || genreg__halted(f->ctx)) return 0;
    if (!f->theta || !f->theta->tracked || !f->loss) genreg__fail(f->ctx, GENREG_ERROR_ARGUMENT, "%s: the objective has no loss, or its theta is no variable", name);
    else if (!f->data || genreg__has_samples(f->ctx, name, f->data)) return 1;
    return 0;
}

static int genreg__objective_samples(const genreg_objective *f) { return f->data ? f->data->n : 1; }

/* The loss of samples first ... first+n-1 on the tape, and unless NULL their outputs and batch. */
static genreg_tensor *genreg__objective_loss(const genreg_objective *f, int first, int n, genreg_tensor **outputs, genreg_batch *batch)
{
    genreg_ctx *c = f->ctx;
    genreg_batch b;
    genreg_tensor *at = f->theta, *loss;
    memset(&b, 0, sizeof b);
    if (f->data) b = genreg_get_batch(c, f->data, NULL, first, n);
    if (f->outputs && !genreg__halted(c)) at = f->outputs(c, f->theta, &b, f->user);
    loss = at && !genreg__halted(c) ? f->loss(c, at, &b, f->user) : NULL;
    if (!loss) genreg__fail(c, GENREG_ERROR_ARGUMENT, "objective: a callback returned NULL");
    else if (loss->size != 1) genreg__fail(c, GENREG_ERROR_SHAPE, "objective: the loss is %t and must be a scalar", loss);
    if (outputs) *outputs = at;
    if (batch) *batch = b;
    return genreg__halted(c) ? NULL : loss;
}

/* What is done with a chunk: puts what it likes on the tape, which is released afterwards. */
typedef int (*genreg__chunk_fn)(const genreg_objective *f, int first, int n, void *work);

/* Runs fn on a chunk; a lack of tape is no error but an answer: 0, and the context goes on. */
static int genreg__try_chunk(const genreg_objective *f, int first, int n, genreg__chunk_fn fn, void *work)
{
    genreg_place p = genreg_mark(f->ctx);
    int done = fn(f, first, n, work);
    genreg_release(f->ctx, p);
    return done && !genreg__halted(f->ctx);
}

/* How many samples fn can take at once when all do not fit: what the tape use of two small runs promises, or half of that if the
   promise was too good, and so on. 0 with the error set if not even one fits. */
static int genreg__chunk_that_fits(const genreg_objective *f, genreg__chunk_fn fn, void *work)
{
    genreg_ctx *c = f->ctx;
    int chunk = (genreg__objective_samples(f) + 1) / 2, probe;
    size_t before = genreg_tape_bytes(c), peak = c->peak, use[2];
    for (probe = 0; probe < 2 && chunk > 8; probe++) {
        c->peak = before;
        if (!genreg__try_chunk(f, 0, 4 << probe, fn, work)) break;
        use[probe] = c->peak - before;
    }
    c->peak = GENREG__MAX(peak, c->peak);
    if (probe == 2) {
        size_t each = use[1] > use[0] ? (use[1] - use[0] + 3) / 4 : 1, fixed = use[0] > 4 * each ? use[0] - 4 * each : 0;
        size_t room = c->limit > before + fixed ? (c->limit - before - fixed) / each : 0;
        if (room < (size_t)chunk) chunk = room > 1 ? (int)room : 1;
    } else if (c->status == GENREG_ERROR_LIMIT) {
        genreg_clear_error(c);
        chunk = 4;
    }
    while (!genreg__halted(c)) {
        if (genreg__try_chunk(f, 0, chunk, fn, work)) return chunk;
        if (c->status != GENREG_ERROR_LIMIT || chunk == 1) return 0;
        genreg_clear_error(c);
        chunk = (chunk + 1) / 2;
    }
    return 0;
}

/* out += weight x, and out = weight x */
GENREG__BINARY_LOOP(genreg__add_scaled_loop, a + s * b)
static void genreg__add_scaled(const genreg__exec *e, ptrdiff_t n, double weight, const genreg_real *x, genreg_real *out)
{
    genreg__map m = genreg__map_of(n, out, x, out, weight);
    genreg__run_map(e, &genreg__add_scaled_loop, &m);
}

static void genreg__scale_into(const genreg__exec *e, ptrdiff_t n, double weight, const genreg_real *x, genreg_real *out)
{
    genreg__map m = genreg__map_of(n, x, NULL, out, weight);
    genreg__run_map(e, &genreg__scale_loop, &m);
}

/* A loss prepared on the tape for products with its curvature.
     Hessian        H v = d<g, v>/d theta, where g = dL/d theta (Pearlmutter 1994)
     Gauss-Newton   G v = J^T (L'' (J v)): J v by differentiating J^T u, which is linear in u, by u (Schraudolph 2002) */
typedef struct genreg__prepared {
    double loss;
    genreg_tensor *gradient;                       /* Hessian: g */
    genreg_tensor *outputs, *u, *pullback;         /* Gauss-Newton: y, u, J^T u */
    genreg_tensor *detached, *slope;               /* y as a variable of its own, dL/dy */
} genreg__prepared;

static int genreg__prepare(const genreg_objective *f, int first, int n, int gauss_newton, genreg__prepared *q)
{
    genreg_ctx *c = f->ctx;
    genreg_tensor *theta = f->theta, *loss;
    genreg_batch batch;
    memset(q, 0, sizeof *q);
    loss = genreg__objective_loss(f, first, n, &q->outputs, &batch);
    if (!loss) return 0;
    q->loss = genreg_item(loss);
    if (!gauss_newton) return genreg_grad(c, loss, NULL, &theta, 1, &q->gradient);
    q->u = genreg_variable(c, q->outputs->rank, q->outputs->shape, NULL);
    q->detached = genreg_variable(c, q->outputs->rank, q->outputs->shape, q->outputs->data);
    if (!q->u || !q->detached || !genreg_grad(c, q->outputs, q->u, &theta, 1, &q->pullback)) return 0;
    loss = f->loss(c, q->detached, &batch, f->user);
    return loss && genreg_grad(c, loss, NULL, &q->detached, 1, &q->slope);
}

/* out = seed . dy/dx, or zeros if y does not depend on anything. */
static int genreg__pull(genreg_ctx *c, genreg_tensor *y, genreg_real *seed, genreg_tensor *x, genreg_real *out)
{
    genreg_tensor *s = genreg_constant(c, y->rank, y->shape, seed);
    if (y->tracked) return s && genreg_gradient_into(c, y, s, &x, 1, &out);
    memset(out, 0, (size_t)x->size * sizeof *out);
    return s != NULL;
}

static int genreg__multiply(const genreg_objective *f, const genreg__prepared *q, const genreg_real *v, genreg_real *out)
{
    genreg_ctx *c = f->ctx;
    genreg_place p = genreg_mark(c);
    genreg_real *seed = (genreg_real *)(uintptr_t)v, *jv, *hjv; /* seeds are only read */
    if (q->gradient) genreg__pull(c, q->gradient, seed, f->theta, out);
    else {
        jv = (genreg_real *)genreg__take(c, &c->tape_arena, (size_t)q->u->size, sizeof *jv);
        hjv = (genreg_real *)genreg__take(c, &c->tape_arena, (size_t)q->u->size, sizeof *hjv);
        if (jv && hjv && genreg__pull(c, q->pullback, seed, q->u, jv) && genreg__pull(c, q->slope, jv, q->detached, hjv))
            genreg__pull(c, q->outputs, hjv, f->theta, out);
    }
    genreg_release(c, p);
    return !genreg__halted(c);
}

/* Work of the chunk functions: the loss and vector of one chunk. */
typedef struct genreg__chunk_work { double loss; int gauss_newton; const genreg_real *v; genreg_real *part; } genreg__chunk_work;

static int genreg__gradient_chunk(const genreg_objective *f, int first, int n, void *p)
{
    genreg__chunk_work *w = (genreg__chunk_work *)p;
    genreg_tensor *theta = f->theta, *loss = genreg__objective_loss(f, first, n, NULL, NULL);
    w->loss = genreg_item(loss);
    return loss && (!w->part || genreg_gradient_into(f->ctx, loss, NULL, &theta, 1, &w->part));
}

static int genreg__product_chunk(const genreg_objective *f, int first, int n, void *p)
{
    genreg__chunk_work *w = (genreg__chunk_work *)p;
    genreg__prepared q;
    if (!genreg__prepare(f, first, n, w->gauss_newton, &q)) return 0;
    w->loss = q.loss;
    return genreg__multiply(f, &q, w->v, w->part);
}

/* The mean over all chunks of fn's loss and vector, each with its share of the samples. */
static double genreg__over_chunks(const genreg_objective *f, int chunk, genreg__chunk_fn fn, genreg__chunk_work *w, genreg_real *out)
{
    int samples = genreg__objective_samples(f), first;
    double loss = 0;
    for (first = 0; first < samples; first += chunk) {
        int n = GENREG__MIN(chunk, samples - first);
        double share = (double)n / samples;
        if (!genreg__try_chunk(f, first, n, fn, w)) return (double)NAN;
        loss += share * w->loss;
        if (!out) continue;
        if (first == 0) genreg__scale_into(&f->ctx->exec, f->theta->size, share, w->part, out);
        else genreg__add_scaled(&f->ctx->exec, f->theta->size, share, w->part, out);
    }
    return loss;
}

/* Whether the last attempt failed for want of tape only; then the error is forgotten and chunks can be tried. */
static int genreg__wants_chunks(const genreg_objective *f)
{
    genreg_ctx *c = f->ctx;
    char needs[sizeof c->message];
    if (c->status != GENREG_ERROR_LIMIT || genreg__objective_samples(f) == 1) return 0;
    memcpy(needs, c->message, sizeof needs);
    genreg_clear_error(c);
    if (f->whole) genreg__fail(c, GENREG_ERROR_LIMIT, "%d samples at once, as batch norm and dropout allow no chunks in training mode: %s", genreg__objective_samples(f), needs);
    return !f->whole;
}

GENREG__API double genreg_objective_gradient(const genreg_objective *f, genreg_real *out)
{
    genreg__chunk_work w;
    genreg_tensor *part;
    double loss = (double)NAN;
    int chunk;
    memset(&w, 0, sizeof w);
    if (!genreg__objective_ready(f, "objective_gradient")) return loss;
    w.part = out;
    if (genreg__try_chunk(f, 0, genreg__objective_samples(f), genreg__gradient_chunk, &w)) return w.loss;
    if (!genreg__wants_chunks(f)) return loss;
    part = out ? genreg__kept_vector(f->ctx, f->theta->size) : NULL;
    w.part = part ? part->data : NULL;
    chunk = genreg__halted(f->ctx) ? 0 : genreg__chunk_that_fits(f, genreg__gradient_chunk, &w);
    if (chunk) loss = genreg__over_chunks(f, chunk, genreg__gradient_chunk, &w, out);
    genreg__unkeep(part);
    return loss;
}

struct genreg_hessian {
    genreg_objective f;
    genreg_dataset data;        /* a copy, so that the caller's may go */
    genreg_place place;         /* where the tape was */
    int gauss_newton;
    int kept;                   /* prepared once, on the tape; or products run in chunks */
    genreg__prepared prepared;
    genreg_tensor *part;        /* room for a vector */
    genreg_tensor *masked;      /* restricted: room for v without the other coordinates */
    unsigned char *inside;      /* restricted: which coordinates belong */
    double *sums;               /* room for genreg__dot */
    ptrdiff_t last;             /* kept: the last node on the tape, and what stands there: gone if the tape was released */
    const genreg_tensor *witness;
    double value;
    int chunk;
};

/* Puts what products need of all samples on the tape to stay; a product with zeros shows whether a sweep fits beside it. */
static int genreg__keep_prepared(genreg_hessian *h)
{
    int samples = genreg__objective_samples(&h->f);
    genreg_tensor *zero = genreg__kept_vector(h->f.ctx, h->f.theta->size);
    h->kept = zero && genreg__prepare(&h->f, 0, samples, h->gauss_newton, &h->prepared) && genreg__multiply(&h->f, &h->prepared, zero->data, h->part->data);
    if (h->kept) {
        h->value = h->prepared.loss;
        h->chunk = samples;
        h->last = h->f.ctx->nodes - 1;
        h->witness = h->last >= 0 ? h->f.ctx->tape[h->last] : NULL;
    } else genreg_release(h->f.ctx, h->place);
    genreg__unkeep(zero);
    return h->kept;
}

static genreg_hessian *genreg__open_curvature(const genreg_objective *f, int gauss_newton)
{
    genreg_hessian *h;
    genreg_ctx *c;
    if (!genreg__objective_ready(f, "hessian_open")) return NULL;
    c = f->ctx;
    if (gauss_newton && !f->outputs) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "gauss_newton_open: the objective has no outputs callback, so its loss is in one piece");
        return NULL;
    }
    h = (genreg_hessian *)genreg__keep(c, 1, sizeof *h);
    if (!h) return NULL;
    h->f = *f;
    h->gauss_newton = gauss_newton;
    if (f->data) {
        h->data = *f->data;
        h->f.data = &h->data;
    }
    h->place = genreg_mark(c);
    h->part = genreg__kept_vector(c, f->theta->size);
    h->sums = (double *)genreg__keep(c, (size_t)(f->theta->size / GENREG__SUM_SEGMENT + 1), sizeof *h->sums);
    if (h->part && h->sums && !genreg__keep_prepared(h) && genreg__wants_chunks(&h->f)) {
        genreg__chunk_work w;
        memset(&w, 0, sizeof w);
        w.gauss_newton = gauss_newton;
        w.part = h->part->data;
        w.v = h->f.theta->data; /* what is multiplied does not matter here */
        h->chunk = genreg__chunk_that_fits(&h->f, genreg__product_chunk, &w);
        w.part = NULL;
        if (h->chunk) h->value = genreg__over_chunks(&h->f, h->chunk, genreg__gradient_chunk, &w, NULL);
    }
    if (!genreg__halted(c)) return h;
    genreg_hessian_close(h);
    return NULL;
}

GENREG__API genreg_hessian *genreg_hessian_open(const genreg_objective *f) { return genreg__open_curvature(f, 0); }
GENREG__API genreg_hessian *genreg_gauss_newton_open(const genreg_objective *f) { return genreg__open_curvature(f, 1); }

GENREG__API void genreg_hessian_close(genreg_hessian *h)
{
    if (!h) return;
    genreg_release(h->f.ctx, h->place);
    genreg__unkeep(h->part);
    genreg__unkeep(h->masked);
    genreg__unkeep(h->inside);
    genreg__unkeep(h->sums);
    genreg__unkeep(h);
}

GENREG__API double genreg_hessian_loss(const genreg_hessian *h) { return h ? h->value : (double)NAN; }
GENREG__API int genreg_hessian_chunk(const genreg_hessian *h) { return h ? h->chunk : 0; }

GENREG__API int genreg_hessian_restrict(genreg_hessian *h, const genreg_parameter *parameters, int n)
{
    genreg_ctx *c = h ? h->f.ctx : NULL;
    int i;
    if (genreg__halted(c)) return 0;
    if (n < 1 || !parameters) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "hessian_restrict: no parameters");
        return 0;
    }
    for (i = 0; i < n; i++)
        if (parameters[i].offset < 0 || parameters[i].size < 1 || parameters[i].size > h->f.theta->size - parameters[i].offset) {
            genreg__fail(c, GENREG_ERROR_ARGUMENT, "hessian_restrict: %s does not lie within theta", parameters[i].name);
            return 0;
        }
    if (!h->inside) h->inside = (unsigned char *)genreg__keep(c, (size_t)h->f.theta->size, 1);
    if (!h->masked) h->masked = genreg__kept_vector(c, h->f.theta->size);
    if (!h->inside || !h->masked) return 0;
    memset(h->inside, 0, (size_t)h->f.theta->size);
    for (i = 0; i < n; i++) memset(h->inside + parameters[i].offset, 1, (size_t)parameters[i].size);
    return 1;
}

/* x without the coordinates that do not belong. */
static void genreg__restrict(const genreg_hessian *h, const genreg_real *x, genreg_real *out)
{
    ptrdiff_t i;
    for (i = 0; i < h->f.theta->size; i++) out[i] = h->inside[i] ? x[i] : 0;
}

GENREG__API int genreg_hessian_product(genreg_hessian *h, const genreg_real *v, genreg_real *out)
{
    genreg_ctx *c = h ? h->f.ctx : NULL;
    if (genreg__halted(c)) return 0;
    if (!v || !out) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "hessian_product: no vector, or no room for the product");
        return 0;
    }
    if (h->kept && (h->last >= c->nodes || (h->witness && c->tape[h->last] != h->witness))) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "hessian_product: the tape under this Hessian was released; close the one that was opened last first");
        return 0;
    }
    if (h->inside) {
        genreg__restrict(h, v, h->masked->data);
        v = h->masked->data;
    }
    if (h->kept) genreg__multiply(&h->f, &h->prepared, v, out);
    else {
        genreg__chunk_work w;
        memset(&w, 0, sizeof w);
        w.gauss_newton = h->gauss_newton;
        w.v = v;
        w.part = h->part->data;
        genreg__over_chunks(&h->f, h->chunk, genreg__product_chunk, &w, out);
    }
    if (h->inside) genreg__restrict(h, out, out);
    return !genreg__halted(c);
}

/* A random vector within the restriction: normal, or of signs (Rademacher). */
static void genreg__probe(const genreg_hessian *h, genreg_real *v, uint64_t seed, uint64_t index, int signs)
{
    ptrdiff_t n = h->f.theta->size, i;
    genreg_normal_fill(v, n, seed, GENREG__STREAM(GENREG__DRAW_PROBE, index));
    for (i = 0; signs && i < n; i++) v[i] = v[i] < 0 ? -1 : 1;
    if (h->inside) genreg__restrict(h, v, v);
}

static double genreg__inner(const genreg_hessian *h, const genreg_real *a, const genreg_real *b)
{
    return genreg__dot(&h->f.ctx->exec, h->f.theta->size, a, b, h->sums);
}

/* x / |x|; returns |x|. */
static double genreg__normalise(const genreg_hessian *h, genreg_real *x)
{
    double norm = sqrt(genreg__inner(h, x, x));
    if (norm > 0) genreg__scale_into(&h->f.ctx->exec, h->f.theta->size, 1 / norm, x, x);
    return norm;
}

GENREG__API genreg_eigen_options genreg_eigen_defaults(void)
{
    genreg_eigen_options o;
    memset(&o, 0, sizeof o);
    o.iterations = 100;
    o.tol = 1e-3;
    o.which = GENREG_EIGEN_LARGEST;
    return o;
}

/* Power iteration on H - shift I from the unit vector in v; leaves the last unit vector in v. */
static genreg_eigen genreg__power_iteration(genreg_hessian *h, const genreg_eigen_options *o, double shift, genreg_real *v, genreg_real *hv)
{
    const genreg__exec *e = &h->f.ctx->exec;
    ptrdiff_t n = h->f.theta->size;
    genreg_eigen r;
    memset(&r, 0, sizeof r);
    r.value = r.residual = (double)NAN;
    for (;;) {
        double norm2;
        if (!genreg_hessian_product(h, v, hv)) {
            r.value = r.residual = (double)NAN;
            return r;
        }
        r.iterations++;
        r.value = genreg__inner(h, v, hv);
        norm2 = genreg__inner(h, hv, hv);
        /* |Hv - value v| by subtraction of vectors: a difference of squares would lose half the digits */
        genreg__add_scaled(e, n, -r.value, v, hv);
        r.residual = sqrt(genreg__inner(h, hv, hv));
        r.residual = r.value != 0 ? r.residual / fabs(r.value) : norm2 > 0 ? HUGE_VAL : 0;
        r.converged = r.residual <= o->tol;
        if ((o->tol > 0 && r.converged) || r.iterations >= o->iterations) return r;
        genreg__add_scaled(e, n, r.value - shift, v, hv); /* (H - shift) v */
        if (!(genreg__normalise(h, hv) > 0)) return r; /* v is in the null space: 0 is as good as it gets */
        memcpy(v, hv, (size_t)n * sizeof *v);
    }
}

static int genreg__eigen_options_fit(genreg_ctx *c, const genreg_eigen_options *o)
{
    if (o->iterations >= 1 && o->tol >= 0) return 1;
    genreg__fail(c, GENREG_ERROR_ARGUMENT, "eigenvalues: %d iterations with tolerance %g; at least one, and not less than 0", o->iterations, o->tol);
    return 0;
}

GENREG__API genreg_eigen genreg_hessian_eigen(genreg_hessian *h, const genreg_eigen_options *options)
{
    genreg_eigen_options o = options ? *options : genreg_eigen_defaults();
    genreg_ctx *c = h ? h->f.ctx : NULL;
    genreg_tensor *v, *hv;
    genreg_eigen r;
    int used = 0, run;
    double shift = 0;
    memset(&r, 0, sizeof r);
    r.value = r.residual = (double)NAN;
    if (genreg__halted(c) || !genreg__eigen_options_fit(c, &o)) return r;
    v = genreg__kept_vector(c, h->f.theta->size);
    hv = genreg__kept_vector(c, h->f.theta->size);
    for (run = 0; v && hv && run < 2; run++) {
        genreg__probe(h, v->data, o.seed, (uint64_t)run, 0);
        genreg__normalise(h, v->data);
        r = genreg__power_iteration(h, &o, shift, v->data, hv->data);
        r.iterations += used;
        used = r.iterations;
        if (genreg__halted(c) || o.which == GENREG_EIGEN_LARGEST_MAGNITUDE || !(r.value < 0)) break;
        shift = r.value; /* close to the smallest: on H - shift I the largest magnitude is the algebraically largest */
    }
    if (o.vector && v && !genreg__halted(c)) memcpy(o.vector, v->data, (size_t)v->size * sizeof *o.vector);
    genreg__unkeep(v);
    genreg__unkeep(hv);
    return r;
}

GENREG__API genreg_eigen genreg_hessian_top(genreg_model *m, const genreg_dataset *d, const genreg_eigen_options *o)
{
    genreg_objective f = genreg_model_objective(m, d, GENREG_LOSS_CROSS_ENTROPY);
    genreg_hessian *h = genreg_hessian_open(&f);
    genreg_eigen r = genreg_hessian_eigen(h, o);
    genreg_hessian_close(h);
    return r;
}

static const double genreg__real_eps = sizeof(genreg_real) == 8 ? DBL_EPSILON : (double)FLT_EPSILON;

/* ---- Lanczos ---------------------------------------------------------------------------------------- */

/* A Krylov basis and the tridiagonal matrix of H in it. Full re-orthogonalisation, twice: in float the basis would soon repeat
   itself, and the same eigenvalue come out several times (Parlett 1980). */
typedef struct genreg__lanczos {
    genreg_hessian *h;
    genreg_tensor **basis; /* steps + 1 vectors that fill up; only the last two without re-orthogonalisation are not enough */
    double *alpha, *beta;
    int steps, done;       /* room, and how many rows of the matrix are there */
    int exhausted;         /* the Krylov space is invariant: the eigenvalues in it are exact */
} genreg__lanczos;

static void genreg__lanczos_close(genreg__lanczos *l)
{
    int i;
    for (i = 0; l->basis && i <= l->steps; i++) genreg__unkeep(l->basis[i]);
    genreg__unkeep(l->basis);
    genreg__unkeep(l->alpha);
}

static int genreg__lanczos_open(genreg__lanczos *l, genreg_hessian *h, int steps, uint64_t seed, uint64_t index, int signs)
{
    genreg_ctx *c = h->f.ctx;
    memset(l, 0, sizeof *l);
    l->h = h;
    l->steps = steps;
    l->basis = (genreg_tensor **)genreg__keep(c, (size_t)steps + 1, sizeof *l->basis);
    l->alpha = (double *)genreg__keep(c, 2 * (size_t)steps + 1, sizeof *l->alpha);
    if (l->alpha) l->beta = l->alpha + steps;
    if (l->basis) l->basis[0] = genreg__kept_vector(c, h->f.theta->size);
    if (genreg__halted(c)) return 0;
    genreg__probe(h, l->basis[0]->data, seed, index, signs);
    genreg__normalise(h, l->basis[0]->data);
    return 1;
}

/* One row more; 0 at the end or after an error. */
static int genreg__lanczos_step(genreg__lanczos *l)
{
    genreg_hessian *h = l->h;
    genreg_ctx *c = h->f.ctx;
    ptrdiff_t n = h->f.theta->size;
    int k = l->done, i, round;
    double scale;
    if (l->exhausted || k == l->steps) return 0;
    l->basis[k + 1] = genreg__kept_vector(c, n);
    if (!l->basis[k + 1] || !genreg_hessian_product(h, l->basis[k]->data, l->basis[k + 1]->data)) return 0;
    scale = sqrt(genreg__inner(h, l->basis[k + 1]->data, l->basis[k + 1]->data));
    for (round = 0; round < 2; round++)
        for (i = k; i >= 0; i--) {
            double dot = genreg__inner(h, l->basis[i]->data, l->basis[k + 1]->data);
            genreg__add_scaled(&c->exec, n, -dot, l->basis[i]->data, l->basis[k + 1]->data);
            if (i == k) l->alpha[k] += dot;
        }
    l->beta[k] = genreg__normalise(h, l->basis[k + 1]->data);
    l->done++;
    if (!(l->beta[k] > 4 * genreg__real_eps * scale)) l->exhausted = 1;
    return 1;
}

/* Eigenvalues of the matrix so far, ascending, in d[done]; z[rows][done] starts as the first rows of the identity. */
static int genreg__lanczos_solve(genreg__lanczos *l, double *d, double *e, double *z, int rows)
{
    int n = l->done, i, k;
    for (i = 0; i < n; i++) {
        d[i] = l->alpha[i];
        e[i] = l->beta[i];
        for (k = 0; k < rows; k++) z[(ptrdiff_t)k * n + i] = k == i;
    }
    if (genreg__tridiagonal_eigen(n, d, e, z, rows, NULL)) return 1;
    genreg__fail(l->h->f.ctx, GENREG_ERROR_ARGUMENT, "eigenvalues: the tridiagonal problem did not converge; the Hessian has values that are not finite");
    return 0;
}

/* Which of n ascending values is pair i of: the largest downwards, then the smallest upwards. */
static int genreg__ritz_index(int i, int largest, int n) { return i < largest ? n - 1 - i : i - largest; }

GENREG__API int genreg_hessian_eigenpairs(genreg_hessian *h, int largest, int smallest, const genreg_eigen_options *options, genreg_eigen *pairs,
                                          genreg_real *vectors)
{
    genreg_eigen_options o = options ? *options : genreg_eigen_defaults();
    genreg_ctx *c = h ? h->f.ctx : NULL;
    genreg__lanczos l;
    double *d = NULL, *e, *z = NULL;
    int wanted, i, k, finished = 0;
    wanted = largest >= 0 && smallest >= 0 && smallest <= INT_MAX - largest ? largest + smallest : 0;
    for (i = 0; pairs && i < wanted; i++) {
        memset(&pairs[i], 0, sizeof pairs[i]);
        pairs[i].value = pairs[i].residual = (double)NAN;
    }
    if (genreg__halted(c) || !genreg__eigen_options_fit(c, &o)) return 0;
    if (wanted < 1 || !pairs) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "hessian_eigenpairs: %d largest and %d smallest; at least one, and room for them", largest, smallest);
        return 0;
    }
    if ((ptrdiff_t)o.iterations > h->f.theta->size) o.iterations = (int)h->f.theta->size;
    if (wanted > o.iterations) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "hessian_eigenpairs: %d pairs need at least as many iterations, and as many parameters, and there are %d", wanted, o.iterations);
        return 0;
    }
    if (genreg__lanczos_open(&l, h, o.iterations, o.seed, 2, 0)) {
        d = (double *)genreg__keep(c, 2 * (size_t)o.iterations, sizeof *d);
        z = (double *)genreg__keep(c, (size_t)o.iterations * (size_t)o.iterations, sizeof *z);
    }
    while (d && z && !finished && !genreg__halted(c)) {
        int more = genreg__lanczos_step(&l), enough = 1;
        if (genreg__halted(c) || (more && l.done < o.iterations && !l.exhausted && (l.done < wanted || l.done % 4 != 0))) continue;
        e = d + o.iterations;
        if (!genreg__lanczos_solve(&l, d, e, z, l.done)) break;
        for (i = 0; i < wanted; i++) {
            genreg_eigen *r = &pairs[i];
            memset(r, 0, sizeof *r);
            r->value = r->residual = (double)NAN;
            r->iterations = l.done;
            if (i >= l.done) { enough = 0; continue; }
            k = genreg__ritz_index(i, largest, l.done);
            r->value = d[k];
            /* |H y - value y| = beta |last component|: y is in the Krylov space, and only the new direction leaves it */
            r->residual = fabs(l.beta[l.done - 1] * z[(ptrdiff_t)(l.done - 1) * l.done + k]);
            r->residual = GENREG__MAX(r->residual, genreg__real_eps * GENREG__MAX(fabs(d[0]), fabs(d[l.done - 1]))) / fabs(d[k]); /* and rounding does */
            if (d[k] == 0) r->residual = l.exhausted ? 0 : HUGE_VAL;
            r->converged = r->residual <= o.tol;
            enough &= r->converged;
        }
        finished = !more || l.done == o.iterations || l.exhausted || (o.tol > 0 && enough);
    }
    for (i = 0; vectors && finished && i < wanted && !genreg__halted(c); i++) {
        genreg_real *out = vectors + i * h->f.theta->size;
        memset(out, 0, (size_t)h->f.theta->size * sizeof *out);
        for (k = 0; i < l.done && k < l.done; k++)
            genreg__add_scaled(&c->exec, h->f.theta->size, z[(ptrdiff_t)k * l.done + genreg__ritz_index(i, largest, l.done)], l.basis[k]->data, out);
    }
    genreg__unkeep(d);
    genreg__unkeep(z);
    genreg__lanczos_close(&l);
    return finished && !genreg__halted(c);
}

GENREG__API int genreg_hessian_density(genreg_hessian *h, int probes, int steps, uint64_t seed, double *nodes, double *weights)
{
    genreg_ctx *c = h ? h->f.ctx : NULL;
    double *d, *first;
    int probe, i, found = 0;
    if (genreg__halted(c)) return 0;
    if (probes < 1 || steps < 1 || !nodes || !weights) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "hessian_density: %d probes of %d steps; at least one of each, and room for their product", probes, steps);
        return 0;
    }
    if ((ptrdiff_t)steps > h->f.theta->size) steps = (int)h->f.theta->size;
    d = (double *)genreg__keep(c, 3 * (size_t)steps, sizeof *d);
    for (probe = 0; d && probe < probes && !genreg__halted(c); probe++) {
        genreg__lanczos l;
        if (genreg__lanczos_open(&l, h, steps, seed, 16 + (uint64_t)probe, 1)) {
            while (genreg__lanczos_step(&l)) {}
            first = d + 2 * steps; /* first components of the eigenvectors; their squares are the weights (Golub and Welsch 1969) */
            if (!genreg__halted(c) && genreg__lanczos_solve(&l, d, d + steps, first, 1))
                for (i = 0; i < l.done; i++, found++) {
                    nodes[found] = d[i];
                    weights[found] = first[i] * first[i] / probes;
                }
        }
        genreg__lanczos_close(&l);
    }
    genreg__unkeep(d);
    return genreg__halted(c) ? 0 : found;
}

/* ---- trace ------------------------------------------------------------------------------------------- */

/* Takes from x what lies in the span of q[0 ... n-1], which are orthonormal; twice, for the rounding. */
static void genreg__project_out(genreg_hessian *h, genreg_tensor *const *q, int n, genreg_real *x)
{
    int round, i;
    for (round = 0; round < 2; round++)
        for (i = 0; i < n; i++) genreg__add_scaled(&h->f.ctx->exec, h->f.theta->size, -genreg__inner(h, q[i]->data, x), q[i]->data, x);
}

GENREG__API genreg_estimate genreg_hessian_trace(genreg_hessian *h, genreg_trace_method method, int products, uint64_t seed)
{
    genreg_ctx *c = h ? h->f.ctx : NULL;
    genreg_estimate r;
    genreg_tensor **q, *v, *hv;
    ptrdiff_t n = h ? h->f.theta->size : 0;
    int rank, probes, basis = 0, i; /* basis <= rank */
    double sum = 0, squares = 0, exact = 0;
    memset(&r, 0, sizeof r);
    r.value = r.standard_error = (double)NAN;
    if (genreg__halted(c)) return r;
    rank = method == GENREG_TRACE_HUTCHPP ? products / 3 : 0; /* a third to find a basis, a third for its trace, a third for the rest */
    if ((ptrdiff_t)rank > n) rank = (int)n;
    probes = products - 2 * rank;
    if (method != GENREG_TRACE_HUTCHINSON && method != GENREG_TRACE_HUTCHPP) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "hessian_trace: no method has the number %d", (int)method);
        return r;
    }
    if (probes < 2) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "hessian_trace: %d products; Hutchinson takes 2 or more, Hutch++ 4", products);
        return r;
    }
    q = (genreg_tensor **)genreg__keep(c, (size_t)rank + 1, sizeof *q);
    v = genreg__kept_vector(c, n);
    hv = genreg__kept_vector(c, n);
    for (i = 0; i < rank && !genreg__halted(c); i++) { /* Q: an orthonormal basis of H S */
        q[basis] = genreg__kept_vector(c, n);
        if (!q[basis]) break;
        genreg__probe(h, v->data, seed, (1u << 20) + (uint64_t)i, 1);
        if (!genreg_hessian_product(h, v->data, q[basis]->data)) break;
        sum = sqrt(genreg__inner(h, q[basis]->data, q[basis]->data));
        genreg__project_out(h, q, basis, q[basis]->data);
        if (genreg__normalise(h, q[basis]->data) > 1e-5 * sum) basis++;
        else { genreg__unkeep(q[basis]); q[basis] = NULL; } /* nothing new; the next one may have: where H has few nonzero rows, signs repeat */
    }
    for (i = 0; i < basis && !genreg__halted(c); i++)
        if (genreg_hessian_product(h, q[i]->data, hv->data)) exact += genreg__inner(h, q[i]->data, hv->data);
    for (i = 0, sum = 0; i < probes && !genreg__halted(c); i++) {
        double x;
        genreg__probe(h, v->data, seed, (2u << 20) + (uint64_t)i, 1);
        genreg__project_out(h, q, basis, v->data);
        if (!genreg_hessian_product(h, v->data, hv->data)) break;
        x = genreg__inner(h, v->data, hv->data);
        sum += x;
        squares += x * x;
    }
    if (!genreg__halted(c)) {
        r.value = exact + sum / probes;
        squares -= sum * sum / probes;
        r.standard_error = squares < 0 ? 0 : sqrt(squares / (probes - 1) / probes); /* NaN stays NaN */
        r.products = rank + basis + probes;
    }
    for (i = 0; q && i <= rank; i++) genreg__unkeep(q[i]);
    genreg__unkeep(q);
    genreg__unkeep(v);
    genreg__unkeep(hv);
    return r;
}

/* ---- perturbation ------------------------------------------------------------------------------------- */

/* Rescales a direction filter by filter, one output unit each, to the norm of the weights there; 0 for biases and normalisation (Li et al. 2018). */
static void genreg__filter_normalise(const genreg_model *m, genreg_real *direction)
{
    int i;
    for (i = 0; i < m->parameter_count; i++) {
        const genreg_parameter *p = &m->parameters[i];
        genreg_real *d = direction + p->offset;
        const genreg_real *w = m->theta->data + p->offset;
        ptrdiff_t units = p->rank ? p->shape[p->rank - 1] : 1, unit, k;
        if (p->kind != GENREG_KIND_WEIGHT) memset(d, 0, (size_t)p->size * sizeof *d);
        else for (unit = 0; unit < units; unit++) {
            double of_d = 0, of_w = 0, factor;
            for (k = unit; k < p->size; k += units) {
                of_d += (double)d[k] * (double)d[k];
                of_w += (double)w[k] * (double)w[k];
            }
            factor = of_d > 0 ? sqrt(of_w / of_d) : 0;
            for (k = unit; k < p->size; k += units) d[k] *= (genreg_real)factor;
        }
    }
}

/* The direction of one draw, before it is scaled by the radius. */
static int genreg__direction(genreg_model *m, const genreg_dataset *d, genreg_perturbation kind, uint64_t seed, int draw, genreg_real *direction)
{
    genreg_objective f;
    genreg_ctx *c = m->ctx;
    ptrdiff_t i;
    double norm = 0;
    if (kind == GENREG_PERTURB_NORMAL || kind == GENREG_PERTURB_FILTER) {
        genreg_normal_fill(direction, m->theta->size, seed, GENREG__STREAM(GENREG__DRAW_PERTURBATION, draw));
        genreg__apply_mask(m, direction);
        if (kind == GENREG_PERTURB_FILTER) genreg__filter_normalise(m, direction);
        return 1;
    }
    if (kind != GENREG_PERTURB_SAM && kind != GENREG_PERTURB_ASAM) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "perturbation_direction: no perturbation has the number %d", (int)kind);
        return 0;
    }
    f = genreg_model_objective(m, d, GENREG_LOSS_CROSS_ENTROPY);
    if (genreg__halted(c)) return 0;
    genreg_objective_gradient(&f, direction);
    if (genreg__halted(c)) return 0;
    genreg__apply_mask(m, direction);
    for (i = 0; i < m->theta->size; i++) { /* T g, with T = |theta| for ASAM */
        double scaled = (double)direction[i] * (kind == GENREG_PERTURB_ASAM ? fabs((double)m->theta->data[i]) : 1);
        norm += scaled * scaled;
    }
    norm = sqrt(norm);
    for (i = 0; i < m->theta->size; i++) {
        double w = kind == GENREG_PERTURB_ASAM ? (double)m->theta->data[i] : 1;
        direction[i] = norm != 0 ? (genreg_real)((double)direction[i] * w * w / norm) : 0; /* NaN is to be seen */
    }
    return 1;
}

GENREG__API int genreg_perturbation_direction(genreg_model *m, const genreg_dataset *d, genreg_perturbation kind, uint64_t seed,
                                              genreg_real *direction)
{
    if (!genreg__model_ready(m, "perturbation_direction")) return 0;
    if (!direction) {
        genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "perturbation_direction: no room for the direction");
        return 0;
    }
    return genreg__direction(m, d, kind, seed, 0, direction);
}

GENREG__API int genreg_evaluate_perturbed(genreg_model *m, const genreg_dataset *d, genreg_perturbation kind, double radius, int draws, uint64_t seed,
                                          genreg_score *scores)
{
    genreg_ctx *c = m ? m->ctx : NULL;
    genreg_tensor *direction, *at;
    int i;
    if (!genreg__model_ready(m, "evaluate_perturbed") || !genreg__has_samples(c, "evaluate_perturbed", d)) return 0;
    if (draws < 1 || radius - radius != 0 || !scores) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "evaluate_perturbed: %d draws with radius %g, or no room for the scores", draws, radius);
        return 0;
    }
    direction = genreg__kept_vector(c, m->theta->size);
    at = genreg__kept_vector(c, m->theta->size);
    for (i = 0; i < draws && !genreg__halted(c); i++) {
        if (!genreg__direction(m, d, kind, seed, i, direction->data)) break;
        memcpy(at->data, m->theta->data, (size_t)at->size * sizeof *at->data);
        genreg__add_scaled(&c->exec, at->size, radius, direction->data, at->data);
        scores[i] = genreg_evaluate_at(m, at->data, d);
    }
    genreg__unkeep(direction);
    genreg__unkeep(at);
    return !genreg__halted(c);
}

// >>ntk ----------------------------------------------------------------------------------------------------------------
// Owns the view of a net as a kernel machine: Gram matrices of the tangent kernel, its limit of infinite width, regression with
// kernels, and the model that is linear in theta.

GENREG__API genreg_ntk_options genreg_ntk_defaults(void)
{
    genreg_ntk_options o;
    memset(&o, 0, sizeof o);
    return o;
}

/* A layer's part of the kernel. Its gradient for sample x and seed vector o (of outputs) is, over positions s of the output,
     sum over s of (a_s, 1) (x) b_s,   a_s: the inputs of one output, b_s: seed . d f/d (pre-activation at s)
   so that the product of two is sum over s, s' of (a_s . a'_s' + 1)(b_s . b'_s'): PATCHES. A linear layer has one position. Where a layer has so many
   that it is cheaper, or no such form, the gradient itself is kept: EXPLICIT. A block of n samples has a [n, positions, a_size] and
   b [seeds, n, positions, b_size]; EXPLICIT: positions 1, b the gradients.
   Where the last two layers with parameters are linear, and the last of them is the net's output, nothing but activations phi can stand between
   them, and with the last one's weights W [in, out] the other's b for output o is phi'(h) * W e_o. TRACE sums over o,
   and sum over o of b_o . b'_o = (phi'(h) * s) . (phi'(h') * s) with s_k^2 = sum over o of W_ko^2: one b serves all seeds. MERGED. */
typedef struct genreg__ntk_layer {
    int layer, explicit_form, merged, positions;
    ptrdiff_t a_size, b_size;
    genreg__conv g; /* of a convolution, for one sample */
} genreg__ntk_layer;

/* A block of samples: where its factors are. */
typedef struct genreg__ntk_side {
    const genreg_dataset *d;
    int first, n, room;
    genreg_real *memory;
} genreg__ntk_side;

typedef struct genreg__ntk_job {
    genreg_ctx *c;
    genreg_model *m;         /* whose layers are walked, */
    genreg_tensor *theta;    /* at these parameters */
    const genreg_ntk_options *o;
    int outputs, seeds;      /* seeds: O unit vectors; or one vector */
    int first_seed, group;   /* those in hand */
    int layers;
    genreg__ntk_layer *layer;
    double *k;
    ptrdiff_t stride;        /* of a row of k */
    genreg_real *p, *q;      /* a tile of A A^T and of B B^T */
    int tile_rows, tile_columns, chunk;
} genreg__ntk_job;

static int genreg__ntk_full(const genreg__ntk_job *j) { return j->o->form == GENREG_NTK_FULL; }

/* How many b a layer has for each sample. */
static int genreg__ntk_seeds(const genreg__ntk_job *j, const genreg__ntk_layer *f) { return f->merged ? 1 : j->group; }

/* Chooses the form of each layer with parameters by multiplications for a pair of samples. */
static int genreg__ntk_plan(genreg__ntk_job *j)
{
    const genreg_model *m = j->m;
    int i;
    j->layer = (genreg__ntk_layer *)genreg__take(j->c, &j->c->tape_arena, (size_t)m->layer_count, sizeof *j->layer);
    for (i = 0; j->layer && i < m->layer_count; i++) {
        const genreg__layer *l = &m->layers[i];
        genreg__ntk_layer *f = &j->layer[j->layers];
        double pairs = genreg__ntk_full(j) ? (double)j->seeds * j->seeds : j->seeds;
        if (l->first_parameter < 0) continue;
        memset(f, 0, sizeof *f);
        f->layer = i;
        f->positions = 1;
        if (l->kind == &genreg__linear_kind) {
            f->a_size = l->in_shape[0];
            f->b_size = l->out_shape[0];
        } else if (l->kind == &genreg__conv2d_kind) {
            genreg__conv *g = &f->g;
            double s = (double)l->out_shape[0] * l->out_shape[1], k;
            g->n = 1;
            g->h = l->in_shape[0]; g->w = l->in_shape[1]; g->c = l->in_shape[2];
            g->kh = g->kw = l->size;
            g->o = l->out_shape[2];
            g->stride = l->stride; g->padding = l->padding;
            g->oh = l->out_shape[0]; g->ow = l->out_shape[1];
            k = (double)l->size * l->size * g->c;
            f->explicit_form = s * s * (k + pairs * g->o) > pairs * (k + 1) * g->o;
            f->positions = f->explicit_form ? 1 : g->oh * g->ow;
            f->a_size = f->explicit_form ? 0 : (ptrdiff_t)k;
            f->b_size = f->explicit_form ? (ptrdiff_t)(k + 1) * g->o : g->o;
        } else if (l->kind == &genreg__batch_norm_kind) {
            f->explicit_form = 1;
            f->b_size = 2 * (ptrdiff_t)l->out_shape[l->out_rank - 1];
        } else {
            genreg__fail(j->c, GENREG_ERROR_NO_RULE, "ntk: no rule for a layer of kind %s", l->kind->name);
            return 0;
        }
        j->layers++;
    }
    if (j->layer && j->o->form == GENREG_NTK_TRACE && j->layers > 1) {
        const genreg__ntk_layer *last = &j->layer[j->layers - 1];
        genreg__ntk_layer *f = &j->layer[j->layers - 2];
        f->merged = m->layers[f->layer].kind == &genreg__linear_kind && m->layers[last->layer].kind == &genreg__linear_kind && last->layer == m->layer_count - 1;
    }
    return j->layer != NULL;
}

/* Where layer i's a of a block begins, or its b. */
static genreg_real *genreg__ntk_factor(const genreg__ntk_job *j, const genreg__ntk_side *s, int i, int b)
{
    ptrdiff_t at = 0;
    int k;
    for (k = 0; k < i + b; k++) at += j->layer[k].positions * j->layer[k].a_size;
    for (k = 0; k < i; k++) at += genreg__ntk_seeds(j, &j->layer[k]) * j->layer[k].positions * j->layer[k].b_size;
    return s->memory + s->n * at;
}

/* The patches that a convolution's outputs see: [positions, kernel, kernel, channels], zeros beyond the border. */
static void genreg__ntk_patches(const genreg__conv *g, const genreg_real *x, genreg_real *out)
{
    int y, z, ky, kx;
    for (y = 0; y < g->oh; y++)
        for (z = 0; z < g->ow; z++)
            for (ky = 0; ky < g->kh; ky++)
                for (kx = 0; kx < g->kw; kx++, out += g->c) {
                    int row = y * g->stride + ky - g->padding, column = z * g->stride + kx - g->padding;
                    if (row < 0 || row >= g->h || column < 0 || column >= g->w) memset(out, 0, (size_t)g->c * sizeof *out);
                    else memcpy(out, x + ((ptrdiff_t)row * g->w + column) * g->c, (size_t)g->c * sizeof *out);
                }
}

/* One sample's gradient for the parameters of a layer, from its input x and dy at its output. */
static int genreg__ntk_explicit(const genreg__ntk_job *j, const genreg__ntk_layer *f, const genreg_real *x, const genreg_real *dy, ptrdiff_t size, genreg_real *out)
{
    const genreg_model *m = j->m;
    const genreg__layer *l = &m->layers[f->layer];
    ptrdiff_t channels = l->out_shape[l->out_rank - 1], i, k;
    const genreg_real *mean, *var;
    genreg_real *sums = out + f->b_size - channels; /* biases, or beta */
    for (i = 0; i < channels; i++) sums[i] = 0;
    for (k = 0; k < size; k += channels)
        for (i = 0; i < channels; i++) sums[i] += dy[k + i];
    if (l->kind == &genreg__conv2d_kind) {
        if (genreg__conv_dw(&j->c->exec, &f->g, x, dy, out, 0)) return 1;
        genreg__fail(j->c, GENREG_ERROR_MEMORY, "ntk: no memory for a weight gradient");
        return 0;
    }
    mean = m->state->data + m->states[l->first_state].offset;
    var = m->state->data + m->states[l->first_state + 1].offset;
    for (i = 0; i < channels; i++) { /* gamma: dy times the normalised input */
        genreg_real inverse = 1 / GENREG__SQRT(var[i] + (genreg_real)genreg__norm_eps), sum = 0;
        for (k = i; k < size; k += channels) sum += dy[k] * ((x[k] - mean[i]) * inverse);
        out[i] = sum;
    }
    return 1;
}

/* b of the merged layer, of n samples: the gradient at its output h if that at the last layer's input x is s for each sample. */
static int genreg__ntk_merged(const genreg__ntk_job *j, genreg_tensor *x, genreg_tensor *h, int n, genreg_real *out)
{
    const genreg_model *m = j->m;
    const genreg_real *w = j->theta->data + m->parameters[m->layers[j->layer[j->layers - 1].layer].first_parameter].offset;
    genreg_tensor *s = genreg_constant(j->c, x->rank, x->shape, NULL);
    ptrdiff_t width = x->size / n, i, o, at;
    for (i = 0; s && i < width; i++) {
        double sum = 0;
        for (o = 0; o < j->outputs; o++) sum += (double)w[i * j->outputs + o] * (double)w[i * j->outputs + o];
        for (at = i; at < x->size; at += width) s->data[at] = (genreg_real)sqrt(sum);
    }
    return s && genreg_gradient_into(j->c, x, s, &h, 1, &out);
}

/* The factors of samples first ... first+n-1 of a block, by one forward pass and a sweep for each seed of the group. */
static int genreg__ntk_chunk(const genreg__ntk_job *j, const genreg__ntk_side *side, int first, int n)
{
    genreg_ctx *c = j->c;
    genreg_batch batch = genreg_get_batch(c, side->d, NULL, side->first + first, n);
    genreg_trace trace;
    genreg_pass pass;
    genreg_tensor *y, *seed, **xs = (genreg_tensor **)genreg__take(c, &c->tape_arena, (size_t)j->layers, sizeof *xs);
    genreg_real **out = (genreg_real **)genreg__take(c, &c->tape_arena, (size_t)j->layers, sizeof *out);
    int i, s, r;
    memset(&pass, 0, sizeof pass);
    pass.trace = &trace;
    y = xs && out ? genreg__forward(j->m, j->theta, batch.x, &pass, 0) : NULL;
    seed = y ? genreg_constant(c, y->rank, y->shape, NULL) : NULL;
    if (!seed) return 0;
    for (i = 0; i < j->layers; i++) {
        const genreg__ntk_layer *f = &j->layer[i];
        const genreg_tensor *x = trace.input[f->layer];
        ptrdiff_t size = f->positions * f->a_size;
        genreg_real *a = genreg__ntk_factor(j, side, i, 0) + first * size;
        xs[i] = trace.output[f->layer];
        out[i] = f->explicit_form ? (genreg_real *)genreg__take(c, &c->tape_arena, (size_t)xs[i]->size, sizeof **out) : NULL;
        if (f->explicit_form && !out[i]) return 0;
        if (!f->explicit_form && !f->g.n) memcpy(a, x->data, (size_t)(n * size) * sizeof *a);
        for (r = 0; !f->explicit_form && f->g.n && r < n; r++) genreg__ntk_patches(&f->g, x->data + r * (x->size / n), a + r * size);
    }
    for (s = 0; s < j->group; s++) {
        for (r = 0; r < n; r++)
            for (i = 0; i < j->outputs; i++)
                seed->data[(ptrdiff_t)r * j->outputs + i] = j->o->form == GENREG_NTK_SUM || i == (j->o->form == GENREG_NTK_OUTPUT ? j->o->output : j->first_seed + s);
        for (i = 0; i < j->layers; i++) {
            const genreg__ntk_layer *f = &j->layer[i];
            if (!f->explicit_form) out[i] = genreg__ntk_factor(j, side, i, 1) + ((ptrdiff_t)(f->merged ? 0 : s) * side->n + first) * f->positions * f->b_size;
        }
        if (!genreg_gradient_into(c, y, seed, xs, j->layers, out)) return 0;
        for (i = 0; i < j->layers; i++) {
            const genreg__ntk_layer *f = &j->layer[i];
            const genreg_tensor *x = trace.input[f->layer];
            ptrdiff_t in = x->size / n, size = xs[i]->size / n;
            for (r = 0; f->explicit_form && r < n; r++)
                if (!genreg__ntk_explicit(j, f, x->data + r * in, out[i] + r * size, size, genreg__ntk_factor(j, side, i, 1) + ((ptrdiff_t)s * side->n + first + r) * f->b_size))
                    return 0;
        }
    }
    i = j->layers - 2; /* a merged layer's b goes over what the last seed has left there; the first group of seeds needs it */
    return i < 0 || !j->layer[i].merged || j->first_seed > 0 || genreg__ntk_merged(j, trace.input[j->layer[i + 1].layer], xs[i], n, out[i]);
}

/* The factors of a block, in as large chunks as the tape allows. */
static int genreg__ntk_factors(genreg__ntk_job *j, genreg__ntk_side *side, const genreg_dataset *d, int first)
{
    genreg_ctx *c = j->c;
    int at, n;
    side->d = d;
    side->first = first;
    side->n = GENREG__MIN(side->room, d->n - first);
    for (at = 0; at < side->n && !genreg__halted(c); at += n) {
        genreg_place place = genreg_mark(c);
        n = GENREG__MIN(j->chunk, side->n - at);
        if (!genreg__ntk_chunk(j, side, at, n) && c->status == GENREG_ERROR_LIMIT && n > 1) {
            genreg_clear_error(c);
            j->chunk = (n + 1) / 2;
            n = 0;
        }
        genreg_release(c, place);
    }
    return !genreg__halted(c);
}

/* k += (p + 1) q over positions, for rows first ... last-1 of a tile; p NULL: k += q. */
typedef struct genreg__ntk_tile { const genreg_real *p, *q; double *k; ptrdiff_t row_step, column_step; int columns, positions; } genreg__ntk_tile;
static void genreg__ntk_add_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    const genreg__ntk_tile *t = (const genreg__ntk_tile *)arg;
    ptrdiff_t width = (ptrdiff_t)t->columns * t->positions, r, i, s, z;
    for (r = first; r < last; r++) {
        const genreg_real *p = t->p ? t->p + r * t->positions * width : NULL, *q = t->q + r * t->positions * width;
        double *k = t->k + r * t->row_step;
        if (!p) for (i = 0; i < t->columns; i++) k[i * t->column_step] += (double)q[i];
        else if (t->positions == 1 && t->column_step == 1) {
            GENREG__NO_ALIAS
            for (i = 0; i < t->columns; i++) k[i] += (double)((p[i] + 1) * q[i]);
        } else
            for (i = 0; i < t->columns; i++) {
                double sum = 0;
                for (s = 0; s < t->positions; s++)
                    for (z = 0; z < t->positions; z++) {
                        ptrdiff_t at = s * width + i * t->positions + z;
                        sum += ((double)p[at] + 1) * (double)q[at];
                    }
                k[i * t->column_step] += sum;
            }
    }
}

/* Adds the group's part for rows r0 ... r1-1 of block x and columns c0 ... c1-1 of block y. */
static int genreg__ntk_add_tile(const genreg__ntk_job *j, const genreg__ntk_side *x, const genreg__ntk_side *y, int r0, int r1, int c0, int c1)
{
    genreg_ctx *c = j->c;
    int full = genreg__ntk_full(j), blocks = full ? j->group * j->group : 1, i, s, block;
    for (i = 0; i < j->layers; i++) {
        const genreg__ntk_layer *f = &j->layer[i];
        int rows = (r1 - r0) * f->positions, columns = (c1 - c0) * f->positions;
        const genreg_real *ax = genreg__ntk_factor(j, x, i, 0), *ay = genreg__ntk_factor(j, y, i, 0), *bx = genreg__ntk_factor(j, x, i, 1), *by = genreg__ntk_factor(j, y, i, 1);
        ptrdiff_t a = f->positions * f->a_size, b = f->positions * f->b_size;
        genreg__ntk_tile t;
        if (f->merged && j->first_seed > 0) continue;
        t.p = f->explicit_form ? NULL : j->p;
        t.q = j->q;
        t.columns = c1 - c0;
        t.positions = f->positions;
        t.row_step = j->stride * (full ? j->outputs : 1);
        t.column_step = full ? j->outputs : 1;
        if (t.p && !genreg__product(c, rows, columns, (int)f->a_size, ax + r0 * a, 0, ay + c0 * a, 1, j->p, 0, NULL, 0)) return 0;
        for (block = 0; block < blocks; block++) {
            for (s = 0; s < (full ? 1 : genreg__ntk_seeds(j, f)); s++) {
                ptrdiff_t sx = full ? block / j->group : s, sy = full ? block % j->group : s;
                if (!genreg__product(c, rows, columns, (int)f->b_size, bx + (sx * x->n + r0) * b, 0, by + (sy * y->n + c0) * b, 1, j->q, s > 0, NULL, 0)) return 0;
            }
            t.k = j->k + (x->first + r0) * t.row_step + (y->first + c0) * t.column_step;
            if (full) t.k += block / j->group * j->stride + block % j->group;
            genreg__split_range(&c->exec, r1 - r0, 1, (ptrdiff_t)rows * columns >= GENREG__SERIAL, genreg__ntk_add_range, &t);
        }
    }
    return 1;
}

/* All tiles of two blocks; of one block with itself those that reach below the diagonal. */
static int genreg__ntk_add_blocks(const genreg__ntk_job *j, const genreg__ntk_side *x, const genreg__ntk_side *y)
{
    int strip = GENREG__MIN(GENREG__MAX(genreg__up_to((x->n + 3) / 4, 16), 64), 256); /* low ones reach little above the diagonal */
    int same = x == y, rows = same ? GENREG__MIN(j->tile_rows, strip) : j->tile_rows, r, column;
    for (r = 0; r < x->n; r += rows) {
        int r1 = GENREG__MIN(r + rows, x->n), end = same ? r1 : y->n;
        for (column = 0; column < end; column += j->tile_columns)
            if (!genreg__ntk_add_tile(j, x, y, r, r1, column, GENREG__MIN(column + j->tile_columns, end))) return 0;
    }
    return 1;
}

/* Tiles: large enough to be fast, no larger than the blocks, and two of them within an eighth of the memory. Returns the values in one. */
static double genreg__ntk_tile_plan(genreg__ntk_job *j, int rows, int columns)
{
    int i, positions = 1;
    for (i = 0; i < j->layers; i++) positions = GENREG__MAX(positions, j->layer[i].positions);
    j->tile_rows = genreg__min_int(GENREG__MAX(1024 / positions, 1), rows);
    j->tile_columns = genreg__min_int(GENREG__MAX(1024 / positions, 1), columns);
    while (j->tile_rows * j->tile_columns > 1 && (double)j->tile_rows * j->tile_columns * positions * positions > (double)(j->c->limit / sizeof(genreg_real) / 16))
        if (j->tile_columns > j->tile_rows) j->tile_columns = (j->tile_columns + 1) / 2;
        else j->tile_rows = (j->tile_rows + 1) / 2;
    return (double)j->tile_rows * j->tile_columns * positions * positions;
}

/* Memory for the factors of a block. */
static void genreg__ntk_room(const genreg__ntk_job *j, genreg__ntk_side *side, int room, double each)
{
    memset(side, 0, sizeof *side);
    side->room = room;
    if (room * each > (double)(PTRDIFF_MAX / 16)) genreg__fail(j->c, GENREG_ERROR_ARGUMENT, "ntk: %g bytes for %d samples are more than this machine can address", room * each * (double)sizeof(genreg_real), room);
    if (room && !genreg__halted(j->c)) side->memory = (genreg_real *)genreg__take(j->c, &j->c->tape_arena, (size_t)(room * each), sizeof *side->memory);
}

/* The sums over all layers and seeds, with `room` samples in a block of columns and `other` in one of rows; b NULL: on and below the diagonal. With all columns
   in one block each sample passes the net once. */
static int genreg__ntk_run(genreg__ntk_job *j, const genreg_dataset *a, const genreg_dataset *b, int room, int other, double each)
{
    genreg_ctx *c = j->c;
    genreg_place place = genreg_mark(c);
    const genreg_dataset *d = b ? b : a;
    double tile = genreg__ntk_tile_plan(j, GENREG__MAX(room, other), room);
    genreg__ntk_side x, y;
    int first, row, group = j->group;
    genreg__ntk_room(j, &y, room, each);
    genreg__ntk_room(j, &x, b || room < a->n ? other : 0, each);
    j->p = genreg__halted(c) ? NULL : (genreg_real *)genreg__take(c, &c->tape_arena, 2 * (size_t)tile, sizeof *j->p);
    j->q = j->p ? j->p + (size_t)tile : NULL;
    for (j->first_seed = 0; j->first_seed < j->seeds && j->p && !genreg__halted(c); j->first_seed += group) {
        j->group = GENREG__MIN(group, j->seeds - j->first_seed);
        for (first = 0; first < d->n && genreg__ntk_factors(j, &y, d, first); first += y.n) {
            if (!b) genreg__ntk_add_blocks(j, &y, &y);
            for (row = b ? 0 : first + y.n; row < a->n && genreg__ntk_factors(j, &x, a, row); row += x.n) genreg__ntk_add_blocks(j, &x, &y);
        }
    }
    j->group = group;
    genreg_release(c, place);
    return !genreg__halted(c);
}

/* k above the diagonal from below it, in blocks that stay in the cache. */
static void genreg__fill_upper(double *k, ptrdiff_t n)
{
    ptrdiff_t r, s, i, l;
    for (r = 0; r < n; r += 32)
        for (s = 0; s <= r; s += 32)
            for (i = r; i < n && i < r + 32; i++)
                for (l = s; l < i && l < s + 32; l++) k[l * n + i] = k[i * n + l];
}

GENREG__API int genreg_ntk(genreg_model *m, const genreg_dataset *a, const genreg_dataset *b, const genreg_ntk_options *options, double *k)
{
    genreg_ntk_options o = options ? *options : genreg_ntk_defaults();
    genreg_ctx *c = m ? m->ctx : NULL;
    genreg__ntk_job j;
    genreg_place place = genreg_mark(c);
    double size_a = 0, size_b = 0, room, each;
    ptrdiff_t rows, columns, i;
    int all, block, other, parts = 1, fewest;
    if (!genreg__model_ready(m, "ntk") || !genreg__has_samples(c, "ntk", a) || (b && !genreg__has_samples(c, "ntk", b))) return 0;
    memset(&j, 0, sizeof j);
    j.outputs = m->layers[m->layer_count - 1].out_shape[0];
    if (m->layers[m->layer_count - 1].out_rank != 1) genreg__fail(c, GENREG_ERROR_SHAPE, "ntk: the model's outputs are images; end it with flatten and linear");
    else if ((int)o.form < 0 || o.form > GENREG_NTK_SUM) genreg__fail(c, GENREG_ERROR_ARGUMENT, "ntk: no form has the number %d", (int)o.form);
    else if (o.form == GENREG_NTK_OUTPUT && (o.output < 0 || o.output >= j.outputs)) genreg__fail(c, GENREG_ERROR_ARGUMENT, "ntk: there is no output %d of %d", o.output, j.outputs);
    else if (o.block < 0 || !k) genreg__fail(c, GENREG_ERROR_ARGUMENT, "ntk: blocks of %d samples, or no room for the matrix", o.block);
    if (genreg__halted(c)) return 0;
    j.c = c;
    j.m = m;
    j.o = &o;
    j.k = k;
    j.seeds = o.form == GENREG_NTK_OUTPUT || o.form == GENREG_NTK_SUM ? 1 : j.outputs;
    j.theta = genreg_variable(c, 1, m->theta->shape, m->linear ? m->linear->at->data : m->theta->data);
    if (!j.theta || !genreg__ntk_plan(&j)) { genreg_release(c, place); return 0; }
    for (i = 0; i < j.layers; i++) { /* of a sample: once, and for each seed */
        double b_size = (double)j.layer[i].positions * (double)j.layer[i].b_size;
        size_a += (double)j.layer[i].positions * (double)j.layer[i].a_size;
        if (j.layer[i].merged) size_a += b_size;
        else size_b += b_size;
    }
    all = b ? b->n : a->n;
    rows = a->n;
    columns = all;
    if (genreg__ntk_full(&j)) { rows *= j.outputs; columns *= j.outputs; }
    j.stride = columns;

    /* Three quarters of the tape for factors, the rest for passes. All columns in one block if they fit with one seed, and then as many seeds as do fit;
       else one seed (FULL: all) and equal blocks of rows and columns. */
    block = o.block ? GENREG__MIN(o.block, all) : all;
    other = !b && block == all ? 0 : GENREG__MIN(o.block ? o.block : 256, a->n);
    room = 0.75 * (double)(c->limit - c->tape_arena.bytes - c->sweep_arena.bytes) / (double)sizeof(genreg_real) - 2 * genreg__ntk_tile_plan(&j, GENREG__MAX(block, other), block);
    fewest = genreg__ntk_full(&j) ? j.seeds : 1;
    while ((j.seeds - 1) / parts + 1 > fewest && ((double)block + other) * (size_a + ((j.seeds - 1) / parts + 1) * size_b) > room) parts++;
    j.group = (j.seeds - 1) / parts + 1;
    each = size_a + j.group * size_b;
    if (!o.block && ((double)block + other) * each > room) block = other = GENREG__MAX((int)(room / (2 * each)), 1);
    else if (!o.block && b) other = room / each - block < a->n ? (int)(room / each) - block : a->n;
    for (;;) {
        char needs[sizeof c->message];
        j.chunk = 250;
        memset(k, 0, (size_t)rows * (size_t)columns * sizeof *k);
        if (genreg__ntk_run(&j, a, b, block, other, size_a + j.group * size_b) || c->status != GENREG_ERROR_LIMIT) break;
        memcpy(needs, c->message, sizeof needs);
        genreg_clear_error(c);
        if (block == 1 && j.group == fewest) {
            genreg__fail(c, GENREG_ERROR_LIMIT, "ntk: even for one sample at a time %s", needs);
            break;
        }
        j.group = fewest;
        block = other = (block + 1) / 2;
    }
    for (i = 0; o.form == GENREG_NTK_TRACE && i < rows * columns; i++) k[i] /= j.outputs;
    if (!b) genreg__fill_upper(k, columns);
    genreg_release(c, place);
    return !genreg__halted(c);
}

/* ---- infinite width ------------------------------------------------------------------------------------------ */

GENREG__API genreg_infinite_options genreg_infinite_defaults(void)
{
    genreg_infinite_options o;
    memset(&o, 0, sizeof o);
    o.layers = 4;
    o.bias_tangent = 1;
    return o;
}

static double *genreg__take_doubles(genreg_ctx *c, size_t n, size_t each)
{
    return (double *)genreg__take(c, &c->tape_arena, n, each > (size_t)-1 / sizeof(double) ? (size_t)-1 : each * sizeof(double));
}

enum { GENREG__INFINITE_BLOCK = 256 };

/* A tile: products [rows, columns] of inputs, and squares of both sides. */
typedef struct genreg__infinite_job {
    const genreg_infinite_options *o;
    const double *products, *rows, *columns;
    int width, features;
    double *ntk, *nngp;
    ptrdiff_t stride;
} genreg__infinite_job;

static void genreg__infinite_range(void *arg, ptrdiff_t first, ptrdiff_t last)
{
    const genreg__infinite_job *j = (const genreg__infinite_job *)arg;
    const double pi = 3.1415926535897932, biases = j->o->bias_variance, tangent = j->o->bias_tangent, gain = (j->o->layers > 1 ? 2.0 : 1.0) / j->features;
    ptrdiff_t r, i;
    int layer;
    for (r = first; r < last; r++)
        for (i = 0; i < j->width; i++) {
            double x = gain * j->rows[r] + biases, y = gain * j->columns[i] + biases, s = gain * j->products[r * j->width + i] + biases, k = s - biases + tangent;
            for (layer = 2; layer <= j->o->layers; layer++) {
                double g = layer < j->o->layers ? 2.0 : 1.0, square = x * y - s * s, root = square > 1e-14 * x * y ? sqrt(square) : 0; /* nearer than 1e-7 is rounding: parallel */
                double share = x > 0 && y > 0 ? 1 - genreg__angle64(root, s) / pi : 0;
                s = g / 2 * (root / pi + s * share);   /* g E[relu relu] */
                k = s + tangent + k * (g / 2 * share); /* g E[relu' relu'] = g share / 2 */
                s += biases;
                x = g / 2 * x + biases;
                y = g / 2 * y + biases;
            }
            if (j->ntk) j->ntk[r * j->stride + i] = k;
            if (j->nngp) j->nngp[r * j->stride + i] = s;
        }
}

/* Samples first ... first+n-1 in double, and their squares. */
static int genreg__wide_samples(genreg_ctx *c, const genreg_dataset *d, int first, int n, double *out, double *squares)
{
    genreg_place place = genreg_mark(c);
    genreg_batch batch = genreg_get_batch(c, d, NULL, first, n);
    ptrdiff_t i, features = d->features;
    for (i = 0; batch.x && i < n * features; i++) out[i] = (double)batch.x->data[i];
    for (i = 0; batch.x && i < n; i++) squares[i] = genreg__dot64(features, out + i * features, out + i * features);
    genreg_release(c, place);
    return !genreg__halted(c);
}

GENREG__API int genreg_infinite_kernel(genreg_ctx *c, const genreg_dataset *a, const genreg_dataset *b, const genreg_infinite_options *options, double *ntk, double *nngp)
{
    genreg_infinite_options o = options ? *options : genreg_infinite_defaults();
    genreg_place place = genreg_mark(c);
    const genreg_dataset *d = b ? b : a;
    double *x, *y, *squares, *products;
    int most, row, column, rows, columns;
    if (!genreg__has_samples(c, "infinite_kernel", a) || !genreg__has_samples(c, "infinite_kernel", d)) return 0;
    if (a->features != d->features) genreg__fail(c, GENREG_ERROR_SHAPE, "infinite_kernel: samples of %d and of %d values", a->features, d->features);
    if (o.layers < 1 || !(o.bias_variance >= 0) || !(o.bias_tangent >= 0) || o.bias_variance > 1e100 || o.bias_tangent > 1e100)
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "infinite_kernel: %d layers, bias variance %g, bias tangent %g; at least 1, and not below 0", o.layers, o.bias_variance, o.bias_tangent);
    if (genreg__halted(c)) return 0;
    for (most = genreg__min_int(GENREG__INFINITE_BLOCK, GENREG__MAX(a->n, d->n));; most = (most + 1) / 2) { /* smaller blocks where memory is small */
        x = genreg__take_doubles(c, 2 * (size_t)most, (size_t)a->features);
        squares = x ? genreg__take_doubles(c, (size_t)most, (size_t)most + 2) : NULL;
        if (squares || most == 1 || c->status != GENREG_ERROR_LIMIT) break;
        genreg_clear_error(c);
        genreg_release(c, place);
    }
    y = x ? x + (size_t)most * (size_t)a->features : NULL;
    products = squares ? squares + 2 * most : NULL;
    for (row = 0; products && row < a->n; row += rows) {
        rows = GENREG__MIN(most, a->n - row);
        if (!genreg__wide_samples(c, a, row, rows, x, squares)) break;
        for (column = 0; column < (b ? d->n : row + rows); column += columns) {
            genreg__infinite_job j;
            columns = GENREG__MIN(most, d->n - column);
            if (!genreg__wide_samples(c, d, column, columns, y, squares + most)) break;
            if (!genreg__product64(&c->exec, rows, columns, a->features, x, a->features, 0, y, a->features, 1, products)) {
                genreg__fail(c, GENREG_ERROR_MEMORY, "infinite_kernel: no memory to pack a product");
                break;
            }
            j.o = &o;
            j.products = products;
            j.rows = squares;
            j.columns = squares + most;
            j.width = columns;
            j.features = a->features;
            j.stride = d->n;
            j.ntk = ntk ? ntk + (ptrdiff_t)row * d->n + column : NULL;
            j.nngp = nngp ? nngp + (ptrdiff_t)row * d->n + column : NULL;
            genreg__split_range(&c->exec, rows, 1, rows * columns >= 256, genreg__infinite_range, &j);
        }
    }
    if (!b && ntk) genreg__fill_upper(ntk, a->n);
    if (!b && nngp) genreg__fill_upper(nngp, a->n);
    genreg_release(c, place);
    return !genreg__halted(c);
}

/* ---- regression ---------------------------------------------------------------------------------------------- */

/* Whether there are `count` finite values. */
static int genreg__all_finite(genreg_ctx *c, const char *name, const double *x, int rows, int columns)
{
    ptrdiff_t i;
    if (genreg__halted(c)) return 0;
    if (!x || rows < 1 || columns < 1) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "%s: %d x %d values, or they are missing", name, rows, columns);
        return 0;
    }
    for (i = 0; i < (ptrdiff_t)rows * columns; i++)
        if (x[i] - x[i] != 0) {
            genreg__fail(c, GENREG_ERROR_ARGUMENT, "%s: value number %z is %g", name, i, x[i]);
            return 0;
        }
    return 1;
}

/* op(a) b in double; 0 with the error set. */
static int genreg__multiply64(genreg_ctx *c, const char *name, int m, int n, int k, const double *a, int ta, const double *b, double *out)
{
    if (genreg__product64(&c->exec, m, n, k, a, ta ? m : k, ta, b, n, 0, out)) return 1;
    genreg__fail(c, GENREG_ERROR_MEMORY, "%s: no memory to pack a product of %d x %d x %d", name, m, n, k);
    return 0;
}

GENREG__API genreg_ridge_options genreg_ridge_defaults(void)
{
    genreg_ridge_options o;
    o.relative = 0;
    o.relative_max = 1e-4;
    return o;
}

/* The largest eigenvalue of the inverse of L L^T, by Lanczos with full re-orthogonalisation. */
static double genreg__largest_inverse(genreg_ctx *c, const double *l, int n, double *room)
{
    enum { most = 40 };
    int steps = GENREG__MIN((int)most, n), k, i, round;
    double alpha[most], beta[most], scale, *basis = genreg__take_doubles(c, (size_t)steps + 1, (size_t)n);
    ptrdiff_t at;
    if (!basis) return (double)NAN;
    for (at = 0; at < n; at++) basis[at] = genreg_normal(0, GENREG__STREAM(GENREG__DRAW_PROBE, 3u << 20), (uint64_t)at);
    scale = sqrt(genreg__dot64(n, basis, basis));
    for (at = 0; at < n; at++) basis[at] /= scale;
    for (k = 0; k < steps; k++) {
        double *next = basis + (ptrdiff_t)(k + 1) * n;
        memcpy(next, next - n, (size_t)n * sizeof *next);
        if (!genreg__cholesky_solve(&c->exec, l, n, next, 1, room)) {
            genreg__fail(c, GENREG_ERROR_MEMORY, "kernel_ridge: no memory to pack a product");
            return (double)NAN;
        }
        scale = sqrt(genreg__dot64(n, next, next));
        for (round = 0, alpha[k] = 0; round < 2; round++)
            for (i = k; i >= 0; i--) {
                const double *q = basis + (ptrdiff_t)i * n, dot = genreg__dot64(n, q, next);
                for (at = 0; at < n; at++) next[at] -= dot * q[at];
                if (i == k) alpha[k] += dot;
            }
        beta[k] = sqrt(genreg__dot64(n, next, next));
        if (!(beta[k] > 1e-14 * scale)) { k++; break; } /* the Krylov space is exhausted */
        for (at = 0; at < n; at++) next[at] /= beta[k];
    }
    if (genreg__tridiagonal_eigen(k, alpha, beta, NULL, 0, NULL)) return alpha[k - 1];
    return (double)NAN;
}

GENREG__API genreg_ridge genreg_kernel_ridge(genreg_ctx *c, const double *k, int n, const double *targets, int outputs, const genreg_ridge_options *options, double *alpha)
{
    genreg_ridge_options o = options ? *options : genreg_ridge_defaults();
    genreg_ridge r;
    genreg_place place = genreg_mark(c);
    double *l, *room, mean = 0, largest = 0, relative, tried = 0;
    ptrdiff_t i;
    int done = 0;
    memset(&r, 0, sizeof r);
    r.ridge = r.relative = r.min_eigenvalue = (double)NAN;
    if (!genreg__all_finite(c, "kernel_ridge: kernel", k, n, n) || !genreg__all_finite(c, "kernel_ridge: targets", targets, n, outputs)) return r;
    for (i = 0; i < n; i++) {
        mean += k[i * n + i] / n;
        largest = GENREG__MAX(largest, k[i * n + i]);
    }
    if (!alpha) genreg__fail(c, GENREG_ERROR_ARGUMENT, "kernel_ridge: no room for alpha");
    else if (!(mean > 0)) genreg__fail(c, GENREG_ERROR_ARGUMENT, "kernel_ridge: the diagonal's mean is %g; that of a kernel is over 0", mean);
    else if (!(o.relative >= 0 && o.relative <= 1e30) || !(o.relative_max >= 0 && o.relative_max <= 1e30))
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "kernel_ridge: relative ridges from %g up to %g; they must not be below 0", o.relative, o.relative_max);
    l = genreg__halted(c) ? NULL : genreg__take_doubles(c, (size_t)n, (size_t)n);
    room = l ? genreg__take_doubles(c, genreg__cholesky_room(n, outputs), 1) : NULL;
    for (relative = o.relative; room; tried = relative, relative = GENREG__MAX(10 * relative, 1e-12)) {
        if (r.attempts && !(relative <= o.relative_max)) {
            genreg__fail(c, GENREG_ERROR_ARGUMENT, "kernel_ridge: the kernel is not positive definite even with a relative ridge of %g; it is no kernel of samples, or relative_max must grow", tried);
            break;
        }
        memcpy(l, k, (size_t)n * (size_t)n * sizeof *l);
        for (i = 0; i < n; i++) l[i * n + i] += relative * mean;
        r.attempts++;
        done = genreg__cholesky(&c->exec, l, n, n * DBL_EPSILON * largest, room); /* smaller pivots are rounding */
        if (done == n || done < 0) break;
    }
    if (room && done >= 0 && !genreg__halted(c)) {
        memcpy(alpha, targets, (size_t)n * (size_t)outputs * sizeof *alpha);
        done = genreg__cholesky_solve(&c->exec, l, n, alpha, outputs, room) ? n : -1;
        r.min_eigenvalue = done < 0 ? (double)NAN : 1 / genreg__largest_inverse(c, l, n, room) - relative * mean;
    }
    if (done < 0) genreg__fail(c, GENREG_ERROR_MEMORY, "kernel_ridge: no memory to pack a product");
    genreg_release(c, place);
    if (genreg__halted(c)) return r;
    r.relative = relative;
    r.ridge = relative * mean;
    return r;
}

GENREG__API int genreg_kernel_predict(genreg_ctx *c, const double *k, int m, int n, const double *alpha, int outputs, double *out)
{
    if (genreg__halted(c)) return 0;
    if (!k || !alpha || !out || m < 1 || n < 1 || outputs < 1) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "kernel_predict: %d x %d kernel and %d outputs, or a matrix is missing", m, n, outputs);
        return 0;
    }
    return genreg__multiply64(c, "kernel_predict", m, outputs, n, k, 0, alpha, out);
}

GENREG__API double genreg_kernel_accuracy(const double *predictions, const int *labels, int n, int outputs)
{
    int i, o, correct = 0;
    if (!predictions || !labels || n < 1 || outputs < 1) return (double)NAN;
    for (i = 0; i < n; i++) {
        const double *row = predictions + (ptrdiff_t)i * outputs;
        int best = 0, numbers = row[0] == row[0];
        for (o = 1; o < outputs; o++) {
            if (row[o] > row[best]) best = o;
            numbers &= row[o] == row[o];
        }
        correct += numbers && best == labels[i];
    }
    return (double)correct / n;
}

GENREG__API int genreg_kernel_eigen(genreg_ctx *c, const double *k, int n, double *values, double *vectors)
{
    genreg_place place = genreg_mark(c);
    double *copy, *room;
    if (!genreg__all_finite(c, "kernel_eigen: kernel", k, n, n)) return 0;
    if (!values || !vectors) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "kernel_eigen: no room for values or vectors");
        return 0;
    }
    copy = genreg__take_doubles(c, (size_t)n, (size_t)n);
    room = copy ? genreg__take_doubles(c, genreg__eigen_room(n), 1) : NULL;
    if (room) {
        memcpy(copy, k, (size_t)n * (size_t)n * sizeof *copy);
        if (!genreg__symmetric_eigen(&c->exec, copy, n, values, vectors, room)) genreg__fail(c, GENREG_ERROR_ARGUMENT, "kernel_eigen: the QL steps did not converge; values of the kernel are too large or too small");
    }
    genreg_release(c, place);
    return !genreg__halted(c);
}

GENREG__API int genreg_kernel_flow(genreg_ctx *c, const double *values, const double *vectors, int n, const double *targets, int outputs, double t, double *alpha)
{
    genreg_place place = genreg_mark(c);
    double *learnt;
    ptrdiff_t i, o;
    if (!genreg__all_finite(c, "kernel_flow: eigenvalues", values, n, 1) || !genreg__all_finite(c, "kernel_flow: targets", targets, n, outputs)) return 0;
    if (!vectors || !alpha || !(t >= 0)) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "kernel_flow: time %g, which must not be below 0, or a matrix is missing", t);
        return 0;
    }
    learnt = genreg__take_doubles(c, (size_t)n, (size_t)outputs); /* in the eigenbasis */
    if (learnt && genreg__multiply64(c, "kernel_flow", n, outputs, n, vectors, 0, targets, learnt)) {
        for (i = 0; i < n; i++) {
            double value = values[i], share = value > n * DBL_EPSILON * values[n - 1] ? -genreg__expm164(-value * t) / value : 0;
            for (o = 0; o < outputs; o++) learnt[i * outputs + o] *= share;
        }
        genreg__multiply64(c, "kernel_flow", n, outputs, n, vectors, 1, learnt, alpha);
    }
    genreg_release(c, place);
    return !genreg__halted(c);
}

/* sum of x y, in blocks for small rounding errors */
static double genreg__sum_products(const double *x, const double *y, ptrdiff_t count)
{
    double total = 0;
    ptrdiff_t i;
    for (i = 0; i < count; i += 4096) total += genreg__dot64(GENREG__MIN(count - i, (ptrdiff_t)4096), x + i, y + i);
    return total;
}

GENREG__API double genreg_kernel_alignment(const double *a, const double *b, ptrdiff_t count)
{
    double size;
    if (!a || !b || count < 1) return (double)NAN;
    size = sqrt(genreg__sum_products(a, a, count)) * sqrt(genreg__sum_products(b, b, count));
    return size > 0 ? GENREG__MAX(-1.0, GENREG__MIN(1.0, genreg__sum_products(a, b, count) / size)) : (double)NAN;
}

GENREG__API double genreg_kernel_change(const double *a, const double *b, ptrdiff_t count)
{
    double size, moved = 0, part[256];
    ptrdiff_t i, k, n;
    if (!a || !b || count < 1) return (double)NAN;
    size = sqrt(genreg__sum_products(b, b, count));
    for (i = 0; i < count; i += n) {
        n = GENREG__MIN(count - i, (ptrdiff_t)256);
        for (k = 0; k < n; k++) part[k] = a[i + k] - b[i + k];
        moved += genreg__dot64(n, part, part);
    }
    return size > 0 ? sqrt(moved) / size : (double)NAN;
}

/* ---- the linearised model ---------------------------------------------------------------------------------------- */

/* A layer without parameters at x, in *y, and its derivative applied to dx: <g, dx> with g = d<u, y>/dx is linear in u, and its derivative by u is wanted. */
static genreg_tensor *genreg__push_forward(genreg_model *m, int layer, genreg_tensor *theta, genreg_tensor *x, genreg_tensor *dx, genreg_tensor **y)
{
    genreg_ctx *c = m->ctx;
    genreg_tensor *at = genreg_variable(c, x->rank, x->shape, x->data), *out, *u, *g, *dy = NULL;
    out = at ? m->layers[layer].kind->forward(m, layer, theta, at, NULL, &genreg__nothing_behind) : NULL;
    u = out ? genreg_variable(c, out->rank, out->shape, NULL) : NULL;
    *y = u ? genreg_detach(c, out) : NULL;
    if (!u || !dx || !genreg_grad(c, out, u, &at, 1, &g)) return NULL;
    return genreg_grad(c, genreg_dot(c, g, dx), NULL, &u, 1, &dy) ? dy : NULL;
}

/* Forward mode with v = theta - theta_0. A layer with parameters is linear in them and, but for constants, in x: its tangent is the layer at v of x, and
   the layer at theta_0 without constants of dx. */
static genreg_tensor *genreg__linear_model_forward(genreg_model *m, genreg_tensor *theta, genreg_tensor *x)
{
    genreg_ctx *c = m->ctx;
    genreg_tensor *at = genreg_detach(c, m->linear->at), *slopes = genreg_detach(c, m->linear->slopes), *v, *dx = NULL;
    int i;
    theta = genreg_reshape(c, theta, 1, m->theta->shape);
    v = at && theta ? genreg_sub(c, theta, at) : NULL;
    for (i = 0; v && slopes && x && i < m->layer_count; i++) {
        const genreg__layer *l = &m->layers[i];
        genreg_tensor *y = NULL, *dy = NULL;
        if (l->scale != 1) x = genreg_scale(c, x, l->scale);
        if (l->scale != 1 && dx) dx = genreg_scale(c, dx, l->scale);
        if (!x || genreg__halted(c)) return NULL;
        if (l->first_parameter < 0) dy = genreg__push_forward(m, i, at, x, dx, &y);
        else {
            y = l->kind->forward(m, i, at, x, NULL, &genreg__nothing_behind);
            dy = l->kind->forward(m, i, v, x, NULL, &genreg__nothing_behind);
            if (dx && dy) {
                genreg_tensor *through = l->kind->forward(m, i, slopes, dx, NULL, &genreg__nothing_behind);
                dy = genreg_add(c, dy, through);
            }
        }
        x = y;
        dx = dy;
    }
    return dx && x ? genreg_add(c, x, dx) : NULL;
}

/* A copy of the n elements of a list, with room for no more; NULL for none. */
static void *genreg__keep_copy(genreg_ctx *c, const void *list, int n, size_t size)
{
    void *copy = n ? genreg__keep(c, (size_t)n, size) : NULL;
    if (copy) memcpy(copy, list, (size_t)n * size);
    return copy;
}

GENREG__API genreg_model *genreg_linearize(genreg_model *m)
{
    genreg_ctx *c = m ? m->ctx : NULL;
    genreg_model *copy;
    ptrdiff_t k;
    int i;
    if (!genreg__model_ready(m, "linearize")) return NULL;
    copy = (genreg_model *)genreg__keep_copy(c, m, 1, sizeof *m);
    if (!copy) return NULL;
    copy->linear = (struct genreg__linear *)genreg__keep(c, 1, sizeof *copy->linear);
    copy->layers = (genreg__layer *)genreg__keep_copy(c, m->layers, m->layer_count + 1, sizeof *m->layers);
    copy->parameters = (genreg_parameter *)genreg__keep_copy(c, m->parameters, m->parameter_count, sizeof *m->parameters);
    copy->states = (genreg_parameter *)genreg__keep_copy(c, m->states, m->state_count, sizeof *m->states);
    copy->mask = m->mask ? (unsigned char *)genreg__keep_copy(c, m->mask, (int)m->theta->size, 1) : NULL;
    copy->layer_capacity = m->layer_count + 1;
    copy->parameter_capacity = m->parameter_count;
    copy->state_capacity = m->state_count;
    copy->theta = genreg__copy_of(c, m->theta);
    copy->state = genreg__copy_of(c, m->state);
    if (copy->linear) {
        copy->linear->forward = genreg__linear_model_forward;
        copy->linear->at = genreg__copy_of(c, m->linear ? m->linear->at : m->theta);
        copy->linear->slopes = genreg__copy_of(c, copy->linear->at);
    }
    if (genreg__halted(c)) {
        genreg_model_free(copy);
        return NULL;
    }
    copy->theta->tracked = 1;
    for (i = 0; i < m->parameter_count; i++) {
        const genreg_parameter *p = &m->parameters[i];
        const genreg__layer *l = &m->layers[p->layer];
        genreg_real *constants = copy->linear->slopes->data + p->offset;
        for (k = 0; k < p->size; k++)
            if (p->kind == GENREG_KIND_BIAS) constants[k] = 0;
            else if (p->kind == GENREG_KIND_NORM_BIAS) { /* the beta that cancels gamma mean/sqrt(var + eps), rounded as in the forward pass */
                genreg_real inverse = 1 / GENREG__SQRT(m->state->data[m->states[l->first_state + 1].offset + k] + (genreg_real)genreg__norm_eps);
                genreg_real shift = m->state->data[m->states[l->first_state].offset + k] * inverse;
                constants[k] = copy->linear->at->data[p[-1].offset + k] * shift;
            }
    }
    return copy;
}

// >>prune --------------------------------------------------------------------------------------------------------------
// Owns which parameters are there: scores, thresholds and masks, going back to an earlier state, and the line between two models.
// (That what is pruned stays 0 is the trainer's business.)

GENREG__API int genreg_set_mask(genreg_model *m, const unsigned char *mask, ptrdiff_t n)
{
    ptrdiff_t i;
    if (!genreg__model_ready(m, "set_mask")) return 0;
    if (mask && n != m->theta->size) {
        genreg__fail(m->ctx, GENREG_ERROR_SHAPE, "set_mask: a mask of %z values for a model of %z parameters: it is of another model", n, m->theta->size);
        return 0;
    }
    if (!mask) {
        genreg__unkeep(m->mask);
        m->mask = NULL;
        return 1;
    }
    if (!m->mask) m->mask = (unsigned char *)genreg__keep(m->ctx, (size_t)n, 1);
    if (!m->mask) return 0;
    for (i = 0; i < n; i++) m->mask[i] = mask[i] != 0;
    genreg__apply_mask(m, m->theta->data);
    return 1;
}

GENREG__API int genreg_shuffle_mask(genreg_model *m, uint64_t seed)
{
    unsigned char *mask;
    ptrdiff_t i;
    int k, *order, done;
    if (!genreg__model_ready(m, "shuffle_mask")) return 0;
    if (!m->mask) return 1;
    mask = (unsigned char *)genreg__keep(m->ctx, (size_t)m->theta->size, 1);
    order = (int *)genreg__keep(m->ctx, (size_t)m->theta->size, sizeof *order);
    for (k = 0; mask && order && k < m->parameter_count; k++) {
        const genreg_parameter *p = &m->parameters[k];
        genreg_permutation(order, (int)p->size, seed, GENREG__STREAM(GENREG__DRAW_MASK, k));
        for (i = 0; i < p->size; i++) mask[p->offset + i] = m->mask[p->offset + order[i]];
    }
    done = mask && order && genreg_set_mask(m, mask, m->theta->size);
    genreg__unkeep(mask);
    genreg__unkeep(order);
    return done;
}

GENREG__API ptrdiff_t genreg_kept(const genreg_model *m, int kinds, ptrdiff_t *by_parameter)
{
    ptrdiff_t total = 0, i;
    int k;
    for (k = 0; m && k < m->parameter_count; k++) {
        const genreg_parameter *p = &m->parameters[k];
        ptrdiff_t here = m->mask ? 0 : p->size;
        for (i = 0; m->mask && i < p->size; i++) here += m->mask[p->offset + i];
        if (by_parameter) by_parameter[k] = here;
        if (p->kind & kinds) total += here;
    }
    return total;
}

/* ---- scores --------------------------------------------------------------------------------------------- */

GENREG__API genreg_prune_options genreg_prune_defaults(void)
{
    genreg_prune_options o;
    memset(&o, 0, sizeof o);
    o.criterion = GENREG_CRITERION_MAGNITUDE;
    o.kinds = GENREG_KIND_WEIGHT;
    o.rounds = 1;
    o.loss = GENREG_LOSS_CROSS_ENTROPY;
    return o;
}

/* Zeroes what cannot be pruned, or is already. */
static void genreg__only_candidates(const genreg_model *m, int kinds, genreg_real *x)
{
    int k;
    for (k = 0; k < m->parameter_count; k++)
        if (!(m->parameters[k].kind & kinds)) memset(x + m->parameters[k].offset, 0, (size_t)m->parameters[k].size * sizeof *x);
    genreg__apply_mask(m, x);
}

/* The gradient of the loss in training mode into g, and H g into hg unless NULL. */
static int genreg__loss_slopes(genreg_model *m, const genreg_prune_options *o, genreg_real *g, genreg_real *hg)
{
    genreg_objective f;
    genreg_hessian *h;
    int done;
    if (!o->data) genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "prune: SNIP and GRASP need the data of genreg_prune_options");
    if (!genreg__has_samples(m->ctx, "prune: SNIP and GRASP", o->data)) return 0;
    f = genreg_training_objective(m, o->data, o->loss);
    genreg_objective_gradient(&f, g);
    if (!hg) return !genreg__halted(m->ctx);
    if (genreg__halted(m->ctx)) return 0;
    genreg__only_candidates(m, o->kinds, g);
    h = genreg_hessian_open(&f);
    done = genreg_hessian_product(h, g, hg);
    genreg_hessian_close(h);
    return done;
}

/* |theta| and dR/d|theta| (see SYNFLOW). */
static int genreg__synaptic_flow(genreg_model *m, genreg_real *magnitude, genreg_real *slope)
{
    genreg_ctx *c = m->ctx;
    genreg_place p = genreg_mark(c);
    genreg_tensor *state = m->state, *theta, *x, *y, *r;
    ptrdiff_t i;
    int k, shape[4], done;
    memset(magnitude, 0, (size_t)m->theta->size * sizeof *magnitude);
    for (k = 0; k < m->parameter_count; k++) {
        const genreg_parameter *q = &m->parameters[k];
        if (q->kind == GENREG_KIND_WEIGHT || q->kind == GENREG_KIND_NORM_WEIGHT)
            for (i = q->offset; i < q->offset + q->size; i++) magnitude[i] = GENREG__FABS(m->theta->data[i]);
    }
    theta = genreg_variable(c, 1, m->theta->shape, magnitude);
    shape[0] = 1;
    for (k = 0; k < m->layers[0].in_rank; k++) shape[k + 1] = m->layers[0].in_shape[k];
    x = genreg_full(c, m->layers[0].in_rank + 1, shape, 1);
    if (state && (m->state = genreg_constant(c, 1, state->shape, NULL)) != NULL) /* variances as they are, means 0 */
        for (k = 0; k < m->state_count; k++) {
            const genreg_parameter *q = &m->states[k];
            if (k % 2) memcpy(m->state->data + q->offset, state->data + q->offset, (size_t)q->size * sizeof *state->data);
        }
    y = genreg__halted(c) ? NULL : genreg__forward(m, theta, x, NULL, 0);
    m->state = state;
    r = genreg_sum(c, y, GENREG_ALL_AXES);
    if (r && !(r->data[0] > 0)) genreg__fail(c, GENREG_ERROR_ARGUMENT, "prune: SYNFLOW: no path of weights leads from the inputs to the outputs");
    done = r && !genreg__halted(c) && genreg_gradient_into(c, r, NULL, &theta, 1, &slope);
    genreg_release(c, p);
    return done;
}

static int genreg__prune_options_fit(genreg_model *m, const genreg_prune_options *o)
{
    const char *what = NULL;
    if ((int)o->criterion < 0 || o->criterion > GENREG_CRITERION_SYNFLOW) what = "no criterion has this number";
    else if (o->rounds < 1) what = "rounds is less than 1";
    else if (!(o->kinds & GENREG_KIND_ALL)) what = "kinds names nothing; GENREG_KIND_WEIGHT is the default";
    else if (o->loss != GENREG_LOSS_CROSS_ENTROPY && o->loss != GENREG_LOSS_MSE) what = "loss is unknown";
    if (what) genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "prune: %s", what);
    return !what;
}

GENREG__API int genreg_prune_scores(genreg_model *m, const genreg_prune_options *options, genreg_real *scores)
{
    genreg_prune_options o = options ? *options : genreg_prune_defaults();
    genreg_tensor *other;
    genreg_real *g;
    const genreg_real *w;
    ptrdiff_t i, n;
    int done = 1;
    if (!genreg__model_ready(m, "prune") || !genreg__prune_options_fit(m, &o)) return 0;
    if (!scores) {
        genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "prune_scores: no room for the scores");
        return 0;
    }
    n = m->theta->size;
    w = m->theta->data;
    other = genreg__kept_vector(m->ctx, n);
    if (!other) return 0;
    g = other->data;
    switch (o.criterion) {
    case GENREG_CRITERION_MAGNITUDE:
        for (i = 0; i < n; i++) scores[i] = GENREG__FABS(w[i]);
        break;
    case GENREG_CRITERION_RANDOM:
        for (i = 0; i < n; i++) scores[i] = (genreg_real)genreg_uniform(o.seed, GENREG__STREAM(GENREG__DRAW_MASK, 1u << 30), (uint64_t)i);
        break;
    case GENREG_CRITERION_SNIP:
        done = genreg__loss_slopes(m, &o, g, NULL);
        for (i = 0; done && i < n; i++) scores[i] = GENREG__FABS(w[i] * g[i]);
        break;
    case GENREG_CRITERION_GRASP:
        done = genreg__loss_slopes(m, &o, scores, g);
        for (i = 0; done && i < n; i++) scores[i] = w[i] * g[i];
        break;
    case GENREG_CRITERION_SYNFLOW:
        done = genreg__synaptic_flow(m, scores, g);
        for (i = 0; done && i < n; i++) scores[i] *= g[i];
        break;
    }
    if (done) genreg__only_candidates(m, o.kinds, scores);
    genreg__unkeep(other);
    return done && !genreg__halted(m->ctx);
}

/* ---- thresholds ------------------------------------------------------------------------------------------ */

/* A number's place in the order of all numbers: -Inf is the least, and -0 is 0. */
static uint64_t genreg__rank_of(double x)
{
    const uint64_t sign = (uint64_t)1 << 63, bits = genreg__to_bits64(x == 0 ? 0 : x);
    return bits & sign ? ~bits : bits | sign;
}

/* Keeps the k largest scores of those in mask, over the parameters first ... last-1 of the chosen kinds. A radix selection finds the
   k-th largest byte by byte: time grows with n and never with how the scores lie. */
static void genreg__keep_largest(const genreg_model *m, const genreg_real *scores, int kinds, int first, int last, ptrdiff_t k, unsigned char *mask)
{
    uint64_t threshold = 0;
    int shift, p, byte;
    ptrdiff_t i;
    for (shift = 56; shift >= 0; shift -= 8) {
        ptrdiff_t count[256];
        memset(count, 0, sizeof count);
        for (p = first; p < last; p++) {
            const genreg_parameter *q = &m->parameters[p];
            for (i = q->offset; q->kind & kinds && i < q->offset + q->size; i++) {
                uint64_t rank = genreg__rank_of((double)scores[i]);
                if (mask[i] && (shift == 56 || (rank ^ threshold) >> (shift + 8) == 0)) count[rank >> shift & 255u]++;
            }
        }
        for (byte = 255; byte > 0 && count[byte] < k; byte--) k -= count[byte];
        threshold |= (uint64_t)byte << shift;
    }
    for (p = first; p < last; p++) { /* what is above stays, and of those that equal the threshold the first k */
        const genreg_parameter *q = &m->parameters[p];
        for (i = q->offset; q->kind & kinds && i < q->offset + q->size; i++) {
            uint64_t rank = genreg__rank_of((double)scores[i]);
            if (mask[i] && rank <= threshold) mask[i] = rank == threshold && k-- > 0;
        }
    }
}

/* One round: prunes among the parameters first ... last-1, so that `more` further rounds by the same factor leave `target` of them. */
static void genreg__prune_group(const genreg_model *m, const genreg_real *scores, int kinds, int first, int last, ptrdiff_t target, int more, unsigned char *mask)
{
    ptrdiff_t left = 0, k = target, i;
    int p;
    for (p = first; p < last; p++)
        for (i = m->parameters[p].offset; m->parameters[p].kind & kinds && i < m->parameters[p].offset + m->parameters[p].size; i++) left += mask[i];
    if (more && target && left > target) /* left (target/left)^(1/(more + 1)) */
        k = (ptrdiff_t)floor((double)left * genreg__exp64(genreg__log64((double)target / (double)left) / (more + 1)) + 0.5);
    if (k < left) genreg__keep_largest(m, scores, kinds, first, last, k, mask);
}

/* How many of `size`, of which `left` are left, the share keep is; -1 with the error set if there are not so many. */
static ptrdiff_t genreg__share_of(genreg_model *m, const char *name, double keep, int of_left, ptrdiff_t size, ptrdiff_t left)
{
    ptrdiff_t target = (ptrdiff_t)floor(keep * (double)(of_left ? left : size) + 0.5);
    if (target <= left) return target;
    genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "prune: the share %g of the %z weights of %s is %z, and only %z are left: shares must fall, or take the mask away first", keep, size,
                 name, target, left);
    return -1;
}

static ptrdiff_t genreg__prune(genreg_model *m, const genreg_real *given, double keep, const genreg_prune_options *options)
{
    genreg_prune_options o = options ? *options : genreg_prune_defaults();
    ptrdiff_t n, size = 0, total = 0, i, *target, *left;
    unsigned char *mask;
    genreg_tensor *scores;
    int p, round, rounds, done = 0;
    genreg_ctx *c = m ? m->ctx : NULL;
    if (!genreg__model_ready(m, "prune") || !genreg__prune_options_fit(m, &o)) return 0;
    if (!(keep > 0 && keep <= 1)) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "prune: keeping the share %g; it must be over 0 and at most 1", keep);
        return 0;
    }
    n = m->theta->size;
    rounds = given ? 1 : o.rounds;
    scores = genreg__kept_vector(c, n);
    mask = (unsigned char *)genreg__keep(c, (size_t)n, 1);
    target = (ptrdiff_t *)genreg__keep(c, 2 * (size_t)m->parameter_count, sizeof *target);
    if (!genreg__halted(c)) {
        left = target + m->parameter_count;
        genreg_kept(m, o.kinds, left);
        for (p = 0; p < m->parameter_count && !genreg__halted(c); p++) {
            const genreg_parameter *q = &m->parameters[p];
            if (!(q->kind & o.kinds)) continue;
            size += q->size;
            if (!o.layerwise) continue;
            total += target[p] = genreg__share_of(m, q->name, keep, o.of_left, q->size, left[p]);
            if (!target[p] && left[p]) genreg__fail(c, GENREG_ERROR_ARGUMENT, "prune: the share %g of the %z weights of %s is none: nothing would pass it", keep, q->size, q->name);
        }
        if (!o.layerwise) total = genreg__share_of(m, "the model", keep, o.of_left, size, genreg_kept(m, o.kinds, NULL));
        if (!total && !genreg__halted(c)) genreg__fail(c, GENREG_ERROR_ARGUMENT, "prune: the share %g of %z weights is none", keep, size);
        if (m->mask) memcpy(mask, m->mask, (size_t)n);
        else memset(mask, 1, (size_t)n);
    }
    for (round = 0; round < rounds && !genreg__halted(c); round++) {
        if (given) memcpy(scores->data, given, (size_t)n * sizeof *given);
        else if (!genreg_prune_scores(m, &o, scores->data)) break;
        for (i = 0; i < n; i++)
            if (mask[i] && (given ? scores->data[i] != scores->data[i] : scores->data[i] - scores->data[i] != 0)) {
                for (p = 0; i >= m->parameters[p].offset + m->parameters[p].size; p++) {}
                if (!(m->parameters[p].kind & o.kinds)) continue;
                genreg__fail(c, given ? GENREG_ERROR_ARGUMENT : GENREG_ERROR_DIVERGED, "prune: the score of a weight of %s is %g", m->parameters[p].name, (double)scores->data[i]);
                break;
            }
        if (genreg__halted(c)) break;
        for (p = 0; o.layerwise && p < m->parameter_count; p++) genreg__prune_group(m, scores->data, o.kinds, p, p + 1, target[p], rounds - 1 - round, mask);
        if (!o.layerwise) genreg__prune_group(m, scores->data, o.kinds, 0, m->parameter_count, total, rounds - 1 - round, mask);
        done = genreg_set_mask(m, mask, n);
    }
    genreg__unkeep(scores);
    genreg__unkeep(mask);
    genreg__unkeep(target);
    return done && !genreg__halted(c) ? total : 0;
}

GENREG__API ptrdiff_t genreg_prune(genreg_model *m, double keep, const genreg_prune_options *o) { return genreg__prune(m, NULL, keep, o); }

GENREG__API ptrdiff_t genreg_prune_by(genreg_model *m, const genreg_real *scores, double keep, const genreg_prune_options *o)
{
    if (m && !scores) genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "prune_by: no scores");
    return scores ? genreg__prune(m, scores, keep, o) : 0;
}

/* ---- rewinding -------------------------------------------------------------------------------------------- */

struct genreg_snapshot {
    genreg_tensor *theta, *state, *velocity, *square; /* NULL: there was none */
    genreg_init_scheme scheme;                        /* of the initialisation, which scales an NTK model's layers */
    genreg_trainer trainer;                           /* where it was: its plain fields; m is NULL if there was none */
};

GENREG__API void genreg_snapshot_free(genreg_snapshot *s)
{
    if (!s) return;
    genreg__unkeep(s->theta);
    genreg__unkeep(s->state);
    genreg__unkeep(s->velocity);
    genreg__unkeep(s->square);
    genreg__unkeep(s);
}

GENREG__API genreg_snapshot *genreg_snapshot_take(const genreg_model *m, const genreg_trainer *t)
{
    genreg_snapshot *s;
    genreg_ctx *c = m ? m->ctx : NULL;
    if (genreg__halted(c)) return NULL;
    if (!m->theta || (t && t->m != m)) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, m->theta ? "snapshot: the trainer is of another model" : "snapshot: the model has no parameters yet; call genreg_init first");
        return NULL;
    }
    s = (genreg_snapshot *)genreg__keep(c, 1, sizeof *s);
    if (!s) return NULL;
    s->scheme = m->scheme;
    s->theta = genreg__copy_of(c, m->theta);
    s->state = genreg__copy_of(c, m->state);
    if (t) {
        s->velocity = genreg__copy_of(c, t->velocity);
        s->square = genreg__copy_of(c, t->square);
        s->trainer = *t;
    }
    if (!genreg__halted(c)) return s;
    genreg_snapshot_free(s);
    return NULL;
}

static void genreg__put_back(genreg_tensor *x, const genreg_tensor *copy)
{
    if (x && copy) memcpy(x->data, copy->data, (size_t)x->size * sizeof *x->data);
}

GENREG__API int genreg_rewind(genreg_model *m, genreg_trainer *t, const genreg_snapshot *s)
{
    genreg_ctx *c = m ? m->ctx : NULL;
    if (!genreg__model_ready(m, "rewind")) return 0;
    if (!s) genreg__fail(c, GENREG_ERROR_ARGUMENT, "rewind: no snapshot");
    else if (m->theta->size != s->theta->size || (m->state ? m->state->size : 0) != (s->state ? s->state->size : 0))
        genreg__fail(c, GENREG_ERROR_SHAPE, "rewind: a snapshot of %z parameters for a model of %z: it is of another model", s->theta->size, m->theta->size);
    else if ((m->scheme == GENREG_INIT_NTK) != (s->scheme == GENREG_INIT_NTK))
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "rewind: one of snapshot and model has the NTK parametrisation, the other has not");
    else if (t && t->m != m) genreg__fail(c, GENREG_ERROR_ARGUMENT, "rewind: the trainer is of another model");
    else if (t && !s->trainer.m) genreg__fail(c, GENREG_ERROR_ARGUMENT, "rewind: the snapshot was taken without a trainer");
    else if (t && (t->batch != s->trainer.batch || t->data.n != s->trainer.data.n || !t->square != !s->square))
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "rewind: the trainer takes batches of %d of %d samples and the snapshot's took %d of %d, or it is another optimiser", t->batch, t->data.n,
                     s->trainer.batch, s->trainer.data.n);
    else if (t && s->trainer.steps > t->total_steps)
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "rewind: the snapshot is of step %z and the run ends at step %z", (ptrdiff_t)s->trainer.steps, (ptrdiff_t)t->total_steps);
    if (genreg__halted(c)) return 0;
    genreg__put_back(m->theta, s->theta);
    genreg__put_back(m->state, s->state);
    genreg__apply_mask(m, m->theta->data);
    if (!t) return 1;
    genreg__put_back(t->velocity, s->velocity);
    genreg__put_back(t->square, s->square);
    genreg__apply_mask(m, t->velocity->data);
    if (t->square) genreg__apply_mask(m, t->square->data);
    t->position = s->trainer.position;
    t->steps = s->trainer.steps;
    t->epoch = s->trainer.epoch;
    t->stopped = s->trainer.stopped;
    t->loss_sum = s->trainer.loss_sum;
    t->lr = s->trainer.lr;
    t->correct = s->trainer.correct;
    t->samples = s->trainer.samples;
    if (t->epoch) genreg__draw_order(t);
    return 1;
}

/* ---- between two models ------------------------------------------------------------------------------------- */

GENREG__API int genreg_renew_statistics(genreg_model *m, const genreg_dataset *d)
{
    genreg_ctx *c = m ? m->ctx : NULL;
    genreg_tensor *before;
    int batches, b, first;
    if (!genreg__model_ready(m, "renew_statistics") || !genreg__has_samples(c, "renew_statistics", d)) return 0;
    if (!m->state || m->linear) return 1;
    before = genreg__copy_of(c, m->state);
    for (batches = (d->n - 1) / GENREG__EVALUATION_BATCH + 1, first = b = 0; b < batches && !genreg__halted(c); b++) {
        genreg_place p = genreg_mark(c);
        int n = d->n / batches + (b < d->n % batches); /* as equal as can be: a last batch of one would have no variance */
        genreg_batch batch = genreg_get_batch(c, d, NULL, first, n);
        genreg_pass pass;
        if (b == 0) memset(m->state->data, 0, (size_t)m->state->size * sizeof *m->state->data);
        first += n;
        memset(&pass, 0, sizeof pass);
        pass.training = 1;
        pass.momentum = (double)n / first; /* the mean so far, each batch by its samples */
        genreg_forward(m, NULL, batch.x, &pass);
        genreg_release(c, p);
        if (c->status == GENREG_ERROR_LIMIT && n > 1) { /* the memory option allows less at a time: once more, with twice as many batches */
            genreg_clear_error(c);
            batches = GENREG__MIN(2 * batches, d->n);
            first = 0;
            b = -1;
        }
    }
    if (before && genreg__halted(c)) memcpy(m->state->data, before->data, (size_t)before->size * sizeof *before->data);
    genreg__unkeep(before);
    return !genreg__halted(c);
}

/* Whether theta means the same in both. */
static int genreg__same_layout(const genreg_model *a, const genreg_model *b)
{
    int i, k, same = b->theta && a->layer_count == b->layer_count && a->theta->size == b->theta->size && !a->linear == !b->linear;
    for (i = 0; same && i < a->layer_count; i++) {
        const genreg__layer *p = &a->layers[i], *q = &b->layers[i];
        same = p->kind == q->kind && p->in_rank == q->in_rank && p->size == q->size && p->stride == q->stride && p->padding == q->padding && !(p->scale < q->scale || p->scale > q->scale);
        for (k = 0; same && k < p->in_rank; k++) same = p->in_shape[k] == q->in_shape[k];
    }
    return same && (!a->linear || !memcmp(a->linear->at->data, b->linear->at->data, (size_t)a->theta->size * sizeof *a->theta->data));
}

/* out = (1 - t) a + t b */
static void genreg__between(const genreg_tensor *a, const genreg_tensor *b, double t, genreg_real *out)
{
    ptrdiff_t i;
    for (i = 0; i < a->size; i++) out[i] = (genreg_real)((1 - t) * (double)a->data[i] + t * (double)b->data[i]);
}

GENREG__API genreg_barrier genreg_line(genreg_model *a, const genreg_model *b, int points, const genreg_dataset *d, const genreg_dataset *statistics, genreg_score *scores)
{
    genreg_barrier barrier;
    genreg_ctx *c = a ? a->ctx : NULL;
    genreg_tensor *theta, *state;
    genreg_score first, last, s;
    double loss = -HUGE_VAL, error = -HUGE_VAL;
    int i;
    barrier.loss = barrier.error = (double)NAN;
    if (!genreg__model_ready(a, "line") || !genreg__has_samples(c, "line", d)) return barrier;
    if (!b || !genreg__same_layout(a, b)) {
        genreg__fail(c, GENREG_ERROR_SHAPE, "line: the two ends are models of different layers");
        return barrier;
    }
    if (points < 3) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "line: %d points; it takes 3 or more", points);
        return barrier;
    }
    theta = genreg__copy_of(c, a->theta);
    state = genreg__copy_of(c, a->state);
    memset(&first, 0, sizeof first);
    last = first;
    for (i = 0; i < points && !genreg__halted(c); i++) {
        genreg_tensor *own_theta = a->theta, *own_state = a->state;
        double t = (double)i / (points - 1);
        genreg__between(own_theta, b->theta, t, theta->data);
        theta->tracked = 1;
        if (state) genreg__between(own_state, b->state, t, state->data);
        a->theta = theta; /* for as long as this point takes, a is the model between */
        a->state = state;
        if (!statistics || genreg_renew_statistics(a, statistics)) s = genreg_evaluate(a, d);
        else memset(&s, 0, sizeof s);
        a->theta = own_theta;
        a->state = own_state;
        if (i == 0) first = s;
        last = s;
        if (!(s.loss <= loss) && loss == loss) loss = s.loss; /* one NaN makes it NaN */
        error = GENREG__MAX(error, 1 - s.accuracy);
        if (scores) scores[i] = s;
    }
    genreg__unkeep(theta);
    genreg__unkeep(state);
    if (genreg__halted(c)) return barrier;
    barrier.loss = loss - (first.loss + last.loss) / 2;
    barrier.error = error - ((1 - first.accuracy) + (1 - last.accuracy)) / 2;
    return barrier;
}

// >>files --------------------------------------------------------------------------------------------------------------
// Owns bytes on disk: IDX sets, safetensors checkpoints and arrays for NumPy. Nothing in a file is believed until it was checked, and nothing
// on disk is replaced until what replaces it is complete.
#ifndef GENREG_NO_STDIO

static void genreg__fail_file(genreg_ctx *c, const char *what, const char *path)
{
    const int code = errno; /* strerror depends on the locale and is not for several threads */
    const char *why = code == ENOENT ? "there is no such file or folder" : code == EACCES ? "permission denied" : NULL;
#ifdef EISDIR
    if (code == EISDIR) why = "it is a folder";
#endif
#ifdef ENOTDIR
    if (code == ENOTDIR) why = "a part of its path is no folder";
#endif
#ifdef ENOSPC
    if (code == ENOSPC) why = "the disk is full";
#endif
#ifdef EROFS
    if (code == EROFS) why = "the file system is read-only";
#endif
    if (why) genreg__fail(c, GENREG_ERROR_FILE, "%s %s: %s", what, path, why);
    else genreg__fail(c, GENREG_ERROR_FILE, "%s %s: system error %d", what, path, code);
}

/* A file open for reading, and its size. */
static FILE *genreg__open(genreg_ctx *c, const char *path, size_t *size)
{
    FILE *f;
    long end;
    if (genreg__halted(c)) return NULL;
    errno = 0;
    if (!path) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "no file name");
        return NULL;
    }
    f = fopen(path, "rb");
    if (!f) {
        genreg__fail_file(c, "cannot open", path);
        return NULL;
    }
    if (fseek(f, 0, SEEK_END) != 0 || (end = ftell(f)) < 0 || end == LONG_MAX || fseek(f, 0, SEEK_SET) != 0) {
        genreg__fail(c, GENREG_ERROR_FILE, "cannot read %s: it has no size; is it a folder or a pipe?", path);
        fclose(f);
        return NULL;
    }
    *size = (size_t)end;
    return f;
}

static int genreg__read(genreg_ctx *c, FILE *f, const char *path, void *out, size_t bytes)
{
    errno = 0;
    if (fread(out, 1, bytes, f) == bytes) return 1;
    if (ferror(f)) genreg__fail_file(c, "cannot read", path);
    else genreg__fail(c, GENREG_ERROR_FORMAT, "%s ends too early: it was cut short", path);
    return 0;
}

/* width bytes as a number, little-endian unless big, whatever this machine is. */
static uint64_t genreg__get_bits(const unsigned char *bytes, size_t width, int big)
{
    uint64_t bits = 0;
    size_t i;
    for (i = 0; i < width; i++) bits = bits << 8 | bytes[big ? i : width - 1 - i];
    return bits;
}

static void genreg__put_bits(unsigned char *bytes, size_t width, uint64_t bits) /* little-endian */
{
    size_t i;
    for (i = 0; i < width; i++) bytes[i] = (unsigned char)(bits >> (8 * i) & 255u);
}

/* folder/part + suffix in a kept string; NULL sets the error. */
static char *genreg__path(genreg_ctx *c, const char *folder, const char *part, const char *suffix)
{
    size_t room = strlen(folder) + strlen(part) + strlen(suffix) + 2, at = 0;
    char *path = (char *)genreg__keep(c, room, 1);
    if (!path) return NULL;
    genreg__put(path, room, &at, folder);
    if (*part) genreg__put(path, room, &at, "/");
    genreg__put(path, room, &at, part);
    genreg__put(path, room, &at, suffix);
    return path;
}

/* A file that is written under a temporary name and takes its own at the end. */
typedef struct genreg__output {
    genreg_ctx *c;
    const char *path;
    char *temporary;
    FILE *f;
    int good; /* all that was written so far is written */
} genreg__output;

static genreg__output genreg__begin_file(genreg_ctx *c, const char *path)
{
    genreg__output o;
    o.c = c;
    o.path = path;
    o.temporary = genreg__path(c, path, "", ".tmp");
    errno = 0;
    o.f = o.temporary && !genreg__halted(c) ? fopen(o.temporary, "wb") : NULL;
    o.good = o.f != NULL;
    return o;
}

static void genreg__write(genreg__output *o, const void *data, size_t bytes)
{
    if (o->good) o->good = fwrite(data, 1, bytes, o->f) == bytes;
}

/* rename, also over a file that is there. Returns 1 if that is done. */
#ifdef _WIN32
#ifdef __cplusplus
extern "C"
#endif
__declspec(dllimport) int __stdcall MoveFileExA(const char *from, const char *to, unsigned long flags); /* as <windows.h> has it, which is not needed here */
static int genreg__replace(const char *from, const char *to)
{
    const unsigned long replace_existing = 1;
    errno = 0; /* MoveFileExA's reasons are others */
    return MoveFileExA(from, to, replace_existing) != 0;
}
#else
static int genreg__replace(const char *from, const char *to) { return rename(from, to) == 0; }
#endif

/* Returns 1 if the file is there, whole; else there is an error and what was there before is as it was. */
static int genreg__end_file(genreg__output *o)
{
    if (o->f && fflush(o->f) != 0) o->good = 0;
    if (o->f && fclose(o->f) != 0) o->good = 0;
    if (!o->good && !genreg__halted(o->c)) genreg__fail_file(o->c, "cannot write", o->temporary);
    if (o->good && !genreg__replace(o->temporary, o->path)) {
        genreg__fail_file(o->c, "cannot write", o->path);
        o->good = 0;
    }
    if (o->f && !o->good) remove(o->temporary);
    genreg__unkeep(o->temporary);
    return o->good;
}

/* ---- IDX: magic (0, 0, 8 for bytes, rank), extents, values; numbers are 32-bit big-endian ---------------------- */

/* Reads a whole IDX file of bytes; NULL sets the error. Unkeep the result. */
static unsigned char *genreg__read_idx(genreg_ctx *c, const char *path, int rank, int *shape)
{
    unsigned char head[16], *data = NULL;
    size_t file_size, size = 1;
    FILE *f = genreg__open(c, path, &file_size);
    int i;
    if (!f) return NULL;
    if (genreg__read(c, f, path, head, 4 + 4 * (size_t)rank)) {
        if (head[0] || head[1] || head[2] != 8 || head[3] != rank) {
            genreg__fail(c, GENREG_ERROR_FORMAT, "%s is no IDX file of bytes with %d axes: it begins with %d %d %d %d%s", path, rank, head[0], head[1], head[2],
                         head[3], head[0] == 0x1f && head[1] == 0x8b ? "; it is packed, gunzip it" : "");
        } else {
            for (i = 0; i < rank; i++) {
                const unsigned char *p = head + 4 + 4 * i;
                uint32_t extent = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
                if (extent < 1 || extent > INT_MAX || !genreg__times(size, extent, &size)) {
                    genreg__fail(c, GENREG_ERROR_FORMAT, "%s: axis %d has an extent of 0 or beyond reason", path, i);
                    break;
                }
                shape[i] = (int)extent;
            }
            if (!genreg__halted(c) && file_size - (4 + 4 * (size_t)rank) != size)
                genreg__fail(c, GENREG_ERROR_FORMAT, "%s has %z bytes after its header, which promises %z: it was cut short or is damaged", path,
                             (ptrdiff_t)(file_size - (4 + 4 * (size_t)rank)), (ptrdiff_t)size);
        }
        if (!genreg__halted(c)) data = (unsigned char *)genreg__keep(c, size, 1);
        if (data && !genreg__read(c, f, path, data, size)) {
            genreg__unkeep(data);
            data = NULL;
        }
    }
    fclose(f);
    return data;
}

GENREG__API genreg_dataset genreg_load_idx(genreg_ctx *c, const char *images, const char *labels, int classes, const float *mean, const float *std)
{
    genreg_dataset d;
    int shape[3] = { 0, 0, 0 }, count[1] = { 0 }, image[3], *wide = NULL, i;
    unsigned char *pixels, *bytes;
    memset(&d, 0, sizeof d);
    if (classes < 1 || classes > 256) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "load_idx: %d classes; a label is a byte, so that 1 ... 256 are possible", classes);
        return d;
    }
    pixels = genreg__read_idx(c, images, 3, shape);
    bytes = pixels ? genreg__read_idx(c, labels, 1, count) : NULL;
    if (bytes && count[0] != shape[0])
        genreg__fail(c, GENREG_ERROR_FORMAT, "%s has %d images and %s has %d labels: they do not belong together", images, shape[0], labels, count[0]);
    for (i = 0; bytes && i < count[0]; i++)
        if (bytes[i] >= classes) {
            genreg__fail(c, GENREG_ERROR_FORMAT, "%s: label %d is %d and must be in 0 ... %d", labels, i, bytes[i], classes - 1);
            break;
        }
    if (bytes && !genreg__halted(c)) wide = (int *)genreg__keep(c, (size_t)count[0], sizeof *wide);
    for (i = 0; wide && i < count[0]; i++) wide[i] = bytes[i];
    genreg__unkeep(bytes);
    if (wide) {
        image[0] = shape[1]; image[1] = shape[2]; image[2] = 1;
        d = genreg_dataset_bytes(c, pixels, wide, shape[0], 3, image, classes, mean, std);
    }
    if (!d.n) {
        genreg__unkeep(pixels);
        genreg__unkeep(wide);
    }
    return d;
}

static int genreg__load_pair(genreg_ctx *c, const char *folder, const char *part, const char *name, float mean, float std, genreg_dataset *out)
{
    char *images, *labels;
    if (!out) return 1;
    memset(out, 0, sizeof *out);
    if (genreg__halted(c)) return 0;
    images = genreg__path(c, folder ? folder : ".", part, "-images-idx3-ubyte");
    labels = genreg__path(c, folder ? folder : ".", part, "-labels-idx1-ubyte");
    if (images && labels) *out = genreg_load_idx(c, images, labels, 10, &mean, &std);
    if (out->n) genreg__set_name(out->name, sizeof out->name, name);
    genreg__unkeep(images);
    genreg__unkeep(labels);
    return out->n > 0;
}

/* So that a set that was not loaded is an empty one. */
static int genreg__clear_sets(genreg_ctx *c, genreg_dataset *train, genreg_dataset *test)
{
    if (train) memset(train, 0, sizeof *train);
    if (test) memset(test, 0, sizeof *test);
    return !genreg__halted(c);
}

GENREG__API int genreg_load_mnist(genreg_ctx *c, const char *folder, genreg_dataset *train, genreg_dataset *test)
{
    return genreg__clear_sets(c, train, test) && genreg__load_pair(c, folder, "train", "mnist", 0.1307f, 0.3081f, train) && genreg__load_pair(c, folder, "t10k", "mnist", 0.1307f, 0.3081f, test);
}

GENREG__API int genreg_load_fashion(genreg_ctx *c, const char *folder, genreg_dataset *train, genreg_dataset *test)
{
    return genreg__clear_sets(c, train, test) && genreg__load_pair(c, folder, "train", "fashion", 0.2860f, 0.3530f, train) && genreg__load_pair(c, folder, "t10k", "fashion", 0.2860f, 0.3530f, test);
}

/* ---- CIFAR-10: records of a label and three planes of 32 x 32 ------------------------------------------------------- */

enum { GENREG__CIFAR_RECORDS = 10000, GENREG__CIFAR_AREA = 1024, GENREG__CIFAR_RECORD = 1 + 3 * GENREG__CIFAR_AREA };

/* Reads one file of 10,000 records: planes become channels-last pixels. */
static int genreg__read_cifar(genreg_ctx *c, const char *path, unsigned char *pixels, int *labels)
{
    unsigned char record[GENREG__CIFAR_RECORD];
    size_t size = 0;
    FILE *f = genreg__open(c, path, &size);
    int i, k, channel;
    if (!f) return 0;
    if (size != (size_t)GENREG__CIFAR_RECORDS * GENREG__CIFAR_RECORD)
        genreg__fail(c, GENREG_ERROR_FORMAT, "%s has %z bytes where CIFAR-10's have %z: it was cut short or is something else; fetch it again", path, (ptrdiff_t)size,
                     (ptrdiff_t)GENREG__CIFAR_RECORDS * GENREG__CIFAR_RECORD);
    for (i = 0; i < GENREG__CIFAR_RECORDS && !genreg__halted(c); i++) {
        if (!genreg__read(c, f, path, record, sizeof record)) break;
        if (record[0] > 9) genreg__fail(c, GENREG_ERROR_FORMAT, "%s: label %d is %d and must be in 0 ... 9: it is damaged; fetch it again", path, i, record[0]);
        labels[i] = record[0];
        for (channel = 0; channel < 3; channel++)
            for (k = 0; k < GENREG__CIFAR_AREA; k++) pixels[((ptrdiff_t)i * GENREG__CIFAR_AREA + k) * 3 + channel] = record[1 + channel * GENREG__CIFAR_AREA + k];
    }
    fclose(f);
    return !genreg__halted(c);
}

static int genreg__load_cifar(genreg_ctx *c, const char *folder, const char *const *files, int count, genreg_dataset *out)
{
    static const float mean[] = { 0.4914f, 0.4822f, 0.4465f }, std[] = { 0.2023f, 0.1994f, 0.2010f };
    static const int shape[] = { 32, 32, 3 };
    unsigned char *pixels;
    int *labels, i;
    if (!out) return 1;
    memset(out, 0, sizeof *out);
    pixels = (unsigned char *)genreg__keep(c, (size_t)count * GENREG__CIFAR_RECORDS, 3 * GENREG__CIFAR_AREA);
    labels = (int *)genreg__keep(c, (size_t)count * GENREG__CIFAR_RECORDS, sizeof *labels);
    for (i = 0; i < count && pixels && labels; i++) {
        char *path = genreg__path(c, folder ? folder : ".", files[i], ".bin");
        ptrdiff_t at = (ptrdiff_t)i * GENREG__CIFAR_RECORDS;
        int done = path && genreg__read_cifar(c, path, pixels + at * 3 * GENREG__CIFAR_AREA, labels + at);
        genreg__unkeep(path);
        if (!done) break;
    }
    if (!genreg__halted(c)) *out = genreg_dataset_bytes(c, pixels, labels, count * GENREG__CIFAR_RECORDS, 3, shape, 10, mean, std);
    if (out->n) {
        genreg__set_name(out->name, sizeof out->name, "cifar10");
        return 1;
    }
    genreg__unkeep(pixels);
    genreg__unkeep(labels);
    return 0;
}

GENREG__API int genreg_load_cifar10(genreg_ctx *c, const char *folder, genreg_dataset *train, genreg_dataset *test)
{
    static const char *const batches[] = { "data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5" }, *const last[] = { "test_batch" };
    return genreg__clear_sets(c, train, test) && genreg__load_cifar(c, folder, batches, 5, train) && genreg__load_cifar(c, folder, last, 1, test);
}

/* ---- text that grows, for headers ------------------------------------------------------------------------------- */

typedef struct genreg__text { genreg_ctx *c; char *data; ptrdiff_t n, capacity; } genreg__text;

static void genreg__text_add(genreg__text *t, const char *s)
{
    for (; *s; s++) {
        char *grown = (char *)genreg__grow(t->c, t->data, t->n + 1, &t->capacity, 1);
        if (!grown) return;
        t->data = grown;
        t->data[t->n++] = *s;
        t->data[t->n] = 0;
    }
}

static void genreg__text_int(genreg__text *t, int64_t value)
{
    char digits[24];
    int i = 23;
    uint64_t rest = value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value;
    digits[i] = 0;
    do {
        digits[--i] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    } while (rest);
    if (value < 0) digits[--i] = '-';
    genreg__text_add(t, digits + i);
}

/* A double by its bits, 16 hexadecimal digits: exact, and free of any locale. */
static void genreg__text_bits(genreg__text *t, uint64_t bits)
{
    char hex[17];
    int i;
    for (i = 0; i < 16; i++) hex[i] = "0123456789abcdef"[bits >> (60 - 4 * i) & 15u];
    hex[16] = 0;
    genreg__text_add(t, hex);
}

static void genreg__text_double(genreg__text *t, double value) { genreg__text_bits(t, genreg__to_bits64(value)); }

static void genreg__text_string(genreg__text *t, const char *s) /* in JSON's quotes */
{
    char one[8];
    genreg__text_add(t, "\"");
    for (; *s; s++) {
        unsigned char ch = (unsigned char)*s;
        if (ch == '"' || ch == '\\') { one[0] = '\\'; one[1] = (char)ch; one[2] = 0; }
        else if (ch < 32) { memcpy(one, "\\u0000", 7); one[4] = (char)('0' + ch / 16); one[5] = "0123456789abcdef"[ch % 16]; }
        else { one[0] = (char)ch; one[1] = 0; }
        genreg__text_add(t, one);
    }
    genreg__text_add(t, "\"");
}

static void genreg__text_pair(genreg__text *t, const char *key, const char *value)
{
    genreg__text_add(t, ",");
    genreg__text_string(t, key);
    genreg__text_add(t, ":");
    genreg__text_string(t, value);
}

/* ---- safetensors: a table of what is in the file ------------------------------------------------------------------- */

typedef struct genreg__entry { const char *name; int width, rank, used; int64_t shape[4], begin, end; } genreg__entry; /* width: bytes of a value, 1 for a mask's */
typedef struct genreg__pair { const char *key, *value; } genreg__pair;
enum { GENREG__PAIRS = 64, GENREG__HEADER = 1 << 24 };

/* An open checkpoint. Strings live in header. */
typedef struct genreg__archive {
    genreg_ctx *c;
    const char *path;
    FILE *f;
    char *header, *at; /* at: where the parser is */
    size_t data;       /* where values begin in the file */
    genreg__entry *entry; /* by name, once the header is read */
    genreg__pair *pair;
    ptrdiff_t entries, capacity;
    int pairs;
} genreg__archive;

static int genreg__bad_header(genreg__archive *a, const char *what)
{
    genreg__fail(a->c, GENREG_ERROR_FORMAT, "%s is no checkpoint that this library reads: %s", a->path, what);
    return 0;
}

static void genreg__skip_space(genreg__archive *a) { while (*a->at == ' ' || *a->at == '\n' || *a->at == '\t' || *a->at == '\r') a->at++; }

static int genreg__accept(genreg__archive *a, char ch)
{
    genreg__skip_space(a);
    if (*a->at != ch) return 0;
    a->at++;
    return 1;
}

/* A JSON string, unescaped where it stands; NULL sets the error. */
static const char *genreg__parse_string(genreg__archive *a)
{
    char *to, *start;
    if (!genreg__accept(a, '"')) { genreg__bad_header(a, "a string is missing in its header"); return NULL; }
    start = to = a->at;
    while (*a->at != '"') {
        unsigned char ch = (unsigned char)*a->at;
        if (ch < 32) { genreg__bad_header(a, "a string in its header does not end"); return NULL; }
        if (ch == '\\') {
            static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
            const char *k = a->at[1] ? strchr(from, a->at[1]) : NULL;
            if (k) { *to++ = into[k - from]; a->at += 2; continue; }
            if (a->at[1] == 'u') { /* nothing of ours needs it: kept as it is */
                *to++ = '\\';
                a->at++;
                continue;
            }
            genreg__bad_header(a, "an unknown escape in its header");
            return NULL;
        }
        *to++ = (char)ch;
        a->at++;
    }
    a->at++;
    *to = 0;
    return start;
}

static int genreg__parse_int(genreg__archive *a, int64_t *value)
{
    int64_t n = 0;
    genreg__skip_space(a);
    if (*a->at < '0' || *a->at > '9') return genreg__bad_header(a, "a number is missing in its header");
    for (; *a->at >= '0' && *a->at <= '9'; a->at++) {
        if (n > (INT64_MAX - 9) / 10) return genreg__bad_header(a, "a number in its header is too large");
        n = 10 * n + (*a->at - '0');
    }
    *value = n;
    return 1;
}

/* [n, n, ...], at most `room` numbers. */
static int genreg__parse_ints(genreg__archive *a, int64_t *values, int room, int *count)
{
    *count = 0;
    if (!genreg__accept(a, '[')) return genreg__bad_header(a, "a list is missing in its header");
    if (genreg__accept(a, ']')) return 1;
    do {
        if (*count == room) return genreg__bad_header(a, "a list in its header is too long");
        if (!genreg__parse_int(a, &values[(*count)++])) return 0;
    } while (genreg__accept(a, ','));
    return genreg__accept(a, ']') ? 1 : genreg__bad_header(a, "a list in its header does not end");
}

static int genreg__parse_entry(genreg__archive *a, genreg__entry *e)
{
    int64_t range[2];
    int found = 0, count;
    if (!genreg__accept(a, '{')) return genreg__bad_header(a, "a tensor has no description");
    do {
        const char *key = genreg__parse_string(a), *type;
        if (!key || !genreg__accept(a, ':')) return genreg__bad_header(a, "a key has no value");
        if (!strcmp(key, "dtype")) {
            type = genreg__parse_string(a);
            if (!type) return 0;
            e->width = !strcmp(type, "F64") ? 8 : !strcmp(type, "F32") ? 4 : !strcmp(type, "BOOL") ? 1 : 0;
            if (!e->width) return genreg__bad_header(a, "a tensor is neither F32 nor F64 nor BOOL");
            found |= 1;
        } else if (!strcmp(key, "shape")) {
            if (!genreg__parse_ints(a, e->shape, 4, &e->rank)) return 0;
            found |= 2;
        } else if (!strcmp(key, "data_offsets")) {
            if (!genreg__parse_ints(a, range, 2, &count) || count != 2) return genreg__bad_header(a, "a tensor's offsets are no pair");
            e->begin = range[0];
            e->end = range[1];
            found |= 4;
        } else return genreg__bad_header(a, "a tensor has an unknown property");
    } while (genreg__accept(a, ','));
    if (!genreg__accept(a, '}') || found != 7) return genreg__bad_header(a, "a tensor's description is incomplete");
    return 1;
}

static int genreg__parse_metadata(genreg__archive *a)
{
    if (!genreg__accept(a, '{')) return genreg__bad_header(a, "its metadata is no object");
    if (genreg__accept(a, '}')) return 1;
    do {
        genreg__pair *p = &a->pair[a->pairs];
        if (a->pairs++ == GENREG__PAIRS) return genreg__bad_header(a, "it has too much metadata");
        p->key = genreg__parse_string(a);
        if (!p->key || !genreg__accept(a, ':')) return genreg__bad_header(a, "a metadata key has no value");
        p->value = genreg__parse_string(a);
        if (!p->value) return 0;
    } while (genreg__accept(a, ','));
    return genreg__accept(a, '}') ? 1 : genreg__bad_header(a, "its metadata does not end");
}

/* By name: heap sort, which takes no memory and n log n steps whatever stands in the file. */
static void genreg__sort_entries(genreg__entry *e, ptrdiff_t n)
{
    ptrdiff_t start = n / 2, at, child;
    while (n > 1) {
        genreg__entry moved;
        if (start > 0) moved = e[--start];
        else {
            moved = e[--n];
            e[n] = e[0];
        }
        for (at = start; (child = 2 * at + 1) < n; at = child) {
            if (child + 1 < n && strcmp(e[child].name, e[child + 1].name) < 0) child++;
            if (strcmp(moved.name, e[child].name) >= 0) break;
            e[at] = e[child];
        }
        e[at] = moved;
    }
}

/* NULL if there is none. */
static genreg__entry *genreg__entry_named(const genreg__archive *a, const char *name)
{
    ptrdiff_t first = 0, end = a->entries;
    while (first < end) {
        const ptrdiff_t middle = first + (end - first) / 2;
        const int order = strcmp(a->entry[middle].name, name);
        if (order == 0) return &a->entry[middle];
        if (order < 0) first = middle + 1;
        else end = middle;
    }
    return NULL;
}

static int genreg__parse_header(genreg__archive *a, size_t data_bytes)
{
    genreg__entry *grown;
    ptrdiff_t i;
    int k;
    if (!genreg__accept(a, '{')) return genreg__bad_header(a, "its header is no JSON object");
    do {
        const char *name = genreg__parse_string(a);
        if (!name || !genreg__accept(a, ':')) return genreg__bad_header(a, "a name has no value");
        if (!strcmp(name, "__metadata__")) {
            if (!genreg__parse_metadata(a)) return 0;
            continue;
        }
        grown = (genreg__entry *)genreg__grow(a->c, a->entry, a->entries, &a->capacity, sizeof *grown);
        if (!grown) return 0;
        a->entry = grown;
        a->entry[a->entries].name = name;
        if (!genreg__parse_entry(a, &a->entry[a->entries++])) return 0;
    } while (genreg__accept(a, ','));
    if (!genreg__accept(a, '}')) return genreg__bad_header(a, "its header does not end");
    genreg__skip_space(a);
    if (*a->at) return genreg__bad_header(a, "something follows its header's end");
    genreg__sort_entries(a->entry, a->entries);
    for (i = 0; i < a->entries; i++) {
        const genreg__entry *e = &a->entry[i];
        size_t bytes = (size_t)e->width;
        for (k = 0; k < e->rank; k++)
            if ((uint64_t)e->shape[k] > (size_t)PTRDIFF_MAX || !genreg__times(bytes, (size_t)e->shape[k], &bytes)) return genreg__bad_header(a, "a tensor's shape is too large");
        if (e->begin < 0 || e->end < e->begin || (uint64_t)(e->end - e->begin) != bytes) return genreg__bad_header(a, "a tensor's offsets do not fit its shape");
        if ((uint64_t)e->end > data_bytes) return genreg__bad_header(a, "it was cut short");
        if (i > 0 && !strcmp(e[-1].name, e->name)) return genreg__bad_header(a, "two tensors have one name");
    }
    return 1;
}

static void genreg__archive_close(genreg__archive *a)
{
    if (a->f) fclose(a->f);
    genreg__unkeep(a->header);
    genreg__unkeep(a->entry);
    genreg__unkeep(a->pair);
}

static int genreg__archive_open(genreg__archive *a, genreg_ctx *c, const char *path)
{
    unsigned char head[8];
    size_t size = 0, length;
    uint64_t promised;
    memset(a, 0, sizeof *a);
    a->c = c;
    a->path = path;
    a->f = genreg__open(c, path, &size);
    if (!a->f) return 0;
    if (!genreg__read(c, a->f, path, head, 8)) { genreg__archive_close(a); return 0; }
    promised = genreg__get_bits(head, sizeof head, 0);
    if (promised < 2 || promised > (uint64_t)GENREG__HEADER || promised > size - 8) genreg__bad_header(a, "its header has an impossible length, or it was cut short");
    length = (size_t)promised;
    a->data = 8 + length;
    a->header = (char *)genreg__keep(c, length + 1, 1);
    a->pair = (genreg__pair *)genreg__keep(c, GENREG__PAIRS, sizeof *a->pair);
    a->at = a->header;
    if (a->header && a->pair && genreg__read(c, a->f, path, a->header, length) && genreg__parse_header(a, size - a->data)) return 1;
    genreg__archive_close(a);
    return 0;
}

/* The value of a metadata key; NULL if there is none. */
static const char *genreg__find_metadata(const genreg__archive *a, const char *key)
{
    int i;
    for (i = 0; i < a->pairs; i++)
        if (!strcmp(a->pair[i].key, key)) return a->pair[i].value;
    return NULL;
}

/* The same, and NULL sets the error. */
static const char *genreg__metadata(const genreg__archive *a, const char *key)
{
    const char *value = genreg__find_metadata(a, key);
    if (!value) genreg__fail(a->c, GENREG_ERROR_FORMAT, "%s: its metadata lack \"%s\": it was not written by this library, or not as this kind of file", a->path, key);
    return value;
}

/* What stands in the line of a linearised model's run, before a checksum. */
static const char genreg__linear_mark[] = " linear ";
static int genreg__is_linear_run(const genreg__archive *a)
{
    const char *run = genreg__find_metadata(a, "genreg.run");
    return run && strstr(run, genreg__linear_mark);
}

/* Where a value of the file's order is in memory. Order and shape in files are PyTorch's: a linear weight is [out, in], and if an
   image was flattened before it, `in` runs over channels, height, width, where ours runs over height, width, channels; a
   convolution's weight is [out, in, height, width], where ours is [height, width, in, out]. */
static ptrdiff_t genreg__from_file_order(const genreg_model *m, const genreg_parameter *p, ptrdiff_t i)
{
    const int *image = m->layers[p->layer].image;
    ptrdiff_t in, out, row, column;
    if (p->rank == 4) {
        ptrdiff_t area = (ptrdiff_t)p->shape[0] * p->shape[1];
        in = p->shape[2];
        return (i % area * in + i / area % in) * p->shape[3] + i / area / in;
    }
    if (p->rank != 2 && p->kind == GENREG_KIND_BIAS) return i;
    in = p->shape[0];
    out = p->rank == 2 ? p->shape[1] : 1;
    row = i / in;
    column = i % in;
    if (image[2] > 1) {
        ptrdiff_t area = (ptrdiff_t)image[0] * image[1];
        column = column % area * image[2] + column / area;
    }
    return column * out + row;
}

/* One stretch of values of the file to or from memory; p NULL: in order. A mask's are bytes, 0 or 1, instead. */
typedef struct genreg__stretch { char name[64]; genreg_real *values; ptrdiff_t size; const genreg_parameter *p; unsigned char *mask; } genreg__stretch;

/* Bytes of a value in files that this build writes. */
static int genreg__stretch_width(const genreg__stretch *s) { return s->mask ? 1 : (int)sizeof(genreg_real); }

static int genreg__stretch_rank(const genreg__stretch *s, int64_t *shape)
{
    const int *from;
    if (!s->p) { shape[0] = s->size; return 1; }
    from = s->p->shape;
    if (s->p->rank == 4) { shape[0] = from[3]; shape[1] = from[2]; shape[2] = from[0]; shape[3] = from[1]; }
    else if (s->p->rank == 2) { shape[0] = from[1]; shape[1] = from[0]; }
    else shape[0] = from[0];
    return s->p->rank;
}

static const genreg__entry *genreg__find_entry(genreg__archive *a, const genreg__stretch *s)
{
    const genreg__entry *e = genreg__entry_named(a, s->name);
    int64_t shape[4];
    int rank = genreg__stretch_rank(s, shape), fits = e && e->rank == rank, k;
    for (k = 0; k < rank && fits; k++) fits = e->shape[k] == shape[k];
    if (fits && (e->width == 1) == (s->mask != NULL)) return e;
    if (!e) genreg__fail(a->c, GENREG_ERROR_FORMAT, "%s lacks %s: it is of another model", a->path, s->name);
    else genreg__fail(a->c, GENREG_ERROR_FORMAT, "%s: %s has another %s than the model's: it is of another model", a->path, s->name, fits ? "type" : "shape");
    return NULL;
}

static int genreg__read_stretch(genreg__archive *a, const genreg_model *m, const genreg__stretch *s)
{
    const genreg__entry *e = genreg__find_entry(a, s);
    unsigned char buffer[4096];
    ptrdiff_t i, k;
    size_t width;
    if (!e) return 0;
    width = (size_t)e->width;
    if (a->data + (size_t)e->begin > (size_t)LONG_MAX || fseek(a->f, (long)(a->data + (size_t)e->begin), SEEK_SET) != 0) {
        genreg__fail_file(a->c, "cannot read", a->path);
        return 0;
    }
    for (i = 0; i < s->size; i += k) {
        ptrdiff_t n = GENREG__MIN(s->size - i, (ptrdiff_t)(sizeof buffer / width));
        if (!genreg__read(a->c, a->f, a->path, buffer, (size_t)n * width)) return 0;
        for (k = 0; k < n; k++) {
            const uint64_t bits = genreg__get_bits(buffer + (size_t)k * width, width, 0);
            const ptrdiff_t to = s->p ? genreg__from_file_order(m, s->p, i + k) : i + k;
            if (s->mask && bits > 1) return genreg__bad_header(a, "a mask has a value other than 0 and 1");
            if (s->mask) s->mask[to] = (unsigned char)bits;
            else s->values[to] = width == 8 ? (genreg_real)genreg__from_bits64(bits) : (genreg_real)genreg__from_bits32((uint32_t)bits);
        }
    }
    return 1;
}

static void genreg__write_stretch(genreg__output *o, const genreg_model *m, const genreg__stretch *s)
{
    unsigned char buffer[4096];
    const size_t width = (size_t)genreg__stretch_width(s);
    size_t used = 0;
    ptrdiff_t i;
    for (i = 0; i < s->size; i++) {
        const ptrdiff_t from = s->p ? genreg__from_file_order(m, s->p, i) : i;
#if GENREG_REAL_IS_DOUBLE
        const uint64_t bits = s->mask ? s->mask[from] : genreg__to_bits64(s->values[from]);
#else
        const uint64_t bits = s->mask ? s->mask[from] : genreg__to_bits32(s->values[from]);
#endif
        genreg__put_bits(buffer + used, width, bits);
        used += width;
        if (used == sizeof buffer || i + 1 == s->size) {
            genreg__write(o, buffer, used);
            used = 0;
        }
    }
}

/* ---- checkpoints ---------------------------------------------------------------------------------------------------- */

/* A model's layers as text, e.g. "28x28x1 flatten linear:512 relu dropout:3fe0000000000000 linear:10"; "@name" opens a scope. */
static void genreg__write_architecture(genreg__text *t, const genreg_model *m)
{
    int i;
    for (i = 0; i < m->layers[0].in_rank; i++) {
        if (i) genreg__text_add(t, "x");
        genreg__text_int(t, m->layers[0].in_shape[i]);
    }
    for (i = 0; i < m->layer_count; i++) {
        const genreg__layer *l = &m->layers[i];
        if (l->opens_scope) { genreg__text_add(t, " @"); genreg__text_add(t, l->scope); }
        genreg__text_add(t, " ");
        genreg__text_add(t, l->kind->name);
        if (l->kind == &genreg__linear_kind) { genreg__text_add(t, ":"); genreg__text_int(t, l->out_shape[0]); }
        if (l->kind == &genreg__max_pool_kind || l->kind == &genreg__avg_pool_kind) { genreg__text_add(t, ":"); genreg__text_int(t, l->size); }
        if (l->kind == &genreg__conv2d_kind) {
            const int numbers[] = { l->out_shape[2], l->size, l->stride, l->padding };
            int k;
            for (k = 0; k < 4; k++) { genreg__text_add(t, k ? "," : ":"); genreg__text_int(t, numbers[k]); }
        }
        if (l->kind == &genreg__dropout_kind) { genreg__text_add(t, ":"); genreg__text_double(t, l->p); }
    }
}

/* The 64 bits that genreg__text_bits wrote; 0 if s does not begin with 16 hexadecimal digits. */
static int genreg__parse_bits(const char *s, uint64_t *bits)
{
    static const char hex[] = "0123456789abcdef";
    int i;
    *bits = 0;
    for (i = 0; i < 16; i++) {
        const char *k = s[i] ? strchr(hex, s[i]) : NULL;
        if (!k) return 0;
        *bits = *bits << 4 | (uint64_t)(k - hex);
    }
    return 1;
}

/* A whole number below 2^31 at *s, which moves past it; -1 if there is none. */
static int genreg__parse_small(const char **s)
{
    int64_t n = 0;
    const char *start = *s;
    for (; **s >= '0' && **s <= '9'; (*s)++) {
        n = 10 * n + (**s - '0');
        if (n > INT_MAX) return -1;
    }
    return *s == start ? -1 : (int)n;
}

static genreg_model *genreg__parse_architecture(genreg__archive *a, const char *s)
{
    int shape[3], rank = 0;
    genreg_model *m;
    do {
        if (rank == 3 || (shape[rank++] = genreg__parse_small(&s)) < 1) { genreg__bad_header(a, "its architecture has no input shape"); return NULL; }
    } while (*s == 'x' && *s++);
    m = genreg_model_create(a->c, rank, shape);
    while (m && *s == ' ' && !genreg__halted(a->c)) {
        char word[48];
        const char *argument;
        uint64_t bits;
        size_t n = 0;
        for (s++; *s && *s != ' ' && n + 1 < sizeof word; s++) word[n++] = *s;
        word[n] = 0;
        argument = strchr(word, ':');
        argument = argument ? argument + 1 : "";
        if (word[0] == '@') genreg_model_scope(m, word + 1);
        else if (!strcmp(word, "relu")) genreg_layer_relu(m);
        else if (!strcmp(word, "tanh")) genreg_layer_tanh(m);
        else if (!strcmp(word, "sigmoid")) genreg_layer_sigmoid(m);
        else if (!strcmp(word, "flatten")) genreg_layer_flatten(m);
        else if (!strcmp(word, "batch_norm")) genreg_layer_batch_norm(m);
        else if (!strcmp(word, "global_avg_pool")) genreg_layer_global_avg_pool(m);
        else if (!strncmp(word, "max_pool:", 9)) genreg_layer_max_pool(m, genreg__parse_small(&argument));
        else if (!strncmp(word, "avg_pool:", 9)) genreg_layer_avg_pool(m, genreg__parse_small(&argument));
        else if (!strncmp(word, "conv2d:", 7)) {
            int k, number[4] = { -1, -1, -1, -1 };
            for (k = 0; k < 4 && (!k || *argument++ == ','); k++) number[k] = genreg__parse_small(&argument);
            genreg_layer_conv2d(m, number[0], number[1], number[2], number[3]);
        }
        else if (!strncmp(word, "linear:", 7)) genreg_layer_linear(m, genreg__parse_small(&argument));
        else if (!strncmp(word, "dropout:", 8) && genreg__parse_bits(argument, &bits)) genreg_layer_dropout(m, genreg__from_bits64(bits));
        else genreg__fail(a->c, GENREG_ERROR_FORMAT, "%s: its architecture has a layer \"%s\", which this version does not know", a->path, word);
        if (m->parameter_count + m->state_count > a->entries) genreg__bad_header(a, "its architecture has more parameters than it has tensors");
    }
    if (m && *s) genreg__bad_header(a, "its architecture does not end");
    if (a->c->status == GENREG_ERROR_SHAPE || a->c->status == GENREG_ERROR_ARGUMENT) { /* a layer complained: say whose it is */
        char complaint[sizeof a->c->message];
        memcpy(complaint, a->c->message, sizeof complaint);
        genreg_clear_error(a->c);
        genreg__fail(a->c, GENREG_ERROR_FORMAT, "%s: its architecture does not fit together: %s", a->path, complaint);
    }
    return m;
}

static void genreg__set_stretch(genreg__stretch *s, const char *prefix, const char *name, genreg_real *values, ptrdiff_t size, const genreg_parameter *p)
{
    size_t at = 0;
    memset(s, 0, sizeof *s);
    genreg__put(s->name, sizeof s->name, &at, prefix);
    genreg__put(s->name, sizeof s->name, &at, name);
    s->values = values;
    s->size = size;
    s->p = p;
}

/* Everything of a model, and of its trainer if there is one, that a checkpoint holds as numbers. Returns how many. */
static int genreg__stretches(genreg_model *m, genreg_trainer *t, genreg__stretch *s)
{
    int n = 0, i;
    for (i = 0; i < m->parameter_count; i++) {
        const genreg_parameter *p = &m->parameters[i];
        genreg__set_stretch(&s[n++], "", p->name, m->theta ? m->theta->data + p->offset : NULL, p->size, p);
    }
    for (i = 0; i < m->state_count; i++) {
        const genreg_parameter *p = &m->states[i];
        genreg__set_stretch(&s[n++], "", p->name, m->state ? m->state->data + p->offset : NULL, p->size, p);
    }
    if (t) genreg__set_stretch(&s[n++], "genreg.", "velocity", t->velocity->data, t->velocity->size, NULL);
    if (t && t->square) genreg__set_stretch(&s[n++], "genreg.", "square", t->square->data, t->square->size, NULL);
    return n;
}

/* The mask's part for parameter i: "genreg.mask.0.weight", in the order and shape of "0.weight". */
static const char genreg__mask_prefix[] = "genreg.mask.";
static void genreg__mask_stretch(const genreg_model *m, unsigned char *mask, int i, genreg__stretch *s)
{
    const genreg_parameter *p = &m->parameters[i];
    genreg__set_stretch(s, genreg__mask_prefix, p->name, NULL, p->size, p);
    s->mask = mask + p->offset;
}

/* The parts of a mask that prune anything: they stand last in a file, so that numbers stay aligned. */
static int genreg__mask_stretches(const genreg_model *m, genreg__stretch *s)
{
    int n = 0, i;
    for (i = 0; m->mask && i < m->parameter_count; i++)
        if (memchr(m->mask + m->parameters[i].offset, 0, (size_t)m->parameters[i].size)) genreg__mask_stretch(m, m->mask, i, &s[n++]);
    return n;
}

/* The mask of an open checkpoint, for a model of its architecture: kept memory, or NULL if it has none (or with the error set). */
static unsigned char *genreg__read_mask(genreg__archive *a, const genreg_model *m)
{
    const size_t prefix = sizeof genreg__mask_prefix - 1;
    unsigned char *mask = NULL;
    ptrdiff_t e = 0;
    int i;
    while (e < a->entries && strncmp(a->entry[e].name, genreg__mask_prefix, prefix) != 0) e++;
    if (e == a->entries) return NULL;
    mask = (unsigned char *)genreg__keep(a->c, (size_t)m->theta->size, 1);
    if (mask) memset(mask, 1, (size_t)m->theta->size);
    for (i = 0; mask && i < m->parameter_count && !genreg__halted(a->c); i++) {
        genreg__stretch s;
        genreg__entry *of;
        genreg__mask_stretch(m, mask, i, &s);
        of = genreg__entry_named(a, s.name);
        if (of) of->used = genreg__read_stretch(a, m, &s);
    }
    for (; e < a->entries && !genreg__halted(a->c); e++)
        if (!a->entry[e].used && !strncmp(a->entry[e].name, genreg__mask_prefix, prefix))
            genreg__fail(a->c, GENREG_ERROR_FORMAT, "%s: %s is the mask of no parameter: it is of another model", a->path, a->entry[e].name);
    if (!genreg__halted(a->c)) return mask;
    genreg__unkeep(mask);
    return NULL;
}

/* Options and data that a resumed run must share with the saved one, as one line that can be compared. */
static void genreg__write_run(genreg__text *t, const genreg_trainer *r)
{
    const genreg_train_options *o = &r->o;
    const struct genreg__linear *linear = r->m->linear;
    const double reals[] = { o->lr, o->momentum, o->weight_decay, o->beta1, o->beta2, o->eps, o->lr_min, o->gamma };
    int64_t whole[14];
    int i;
    whole[0] = (int64_t)o->optimizer; whole[1] = o->nesterov; whole[2] = (int64_t)o->schedule; whole[3] = o->schedule_by_step; whole[4] = o->period;
    whole[5] = r->batch; whole[6] = r->total_steps; whole[7] = (int64_t)(o->seed >> 32); whole[8] = (int64_t)(o->seed & 0xffffffffu);
    whole[9] = o->no_shuffle; whole[10] = (int64_t)o->loss; whole[11] = r->data.n; whole[12] = (int64_t)sizeof(genreg_real);
    whole[13] = (int64_t)r->m->scheme;
    for (i = 0; i < 14; i++) { genreg__text_int(t, whole[i]); genreg__text_add(t, " "); }
    for (i = 0; i < 8; i++) { genreg__text_double(t, reals[i]); genreg__text_add(t, " "); }
    genreg__text_bits(t, r->data.checksum);
    if (o->flip || o->crop) { /* without it, as before there was augmentation: such files stay good */
        genreg__text_add(t, o->flip ? " flip 1 crop " : " flip 0 crop ");
        genreg__text_int(t, o->crop);
    }
    if (linear) { /* theta_0 is not in the file, and a run is of another function without it */
        genreg__text_add(t, genreg__linear_mark);
        genreg__text_bits(t, genreg__fnv1a_reals(genreg__fnv1a_reals(GENREG__FNV1A, linear->at->data, linear->at->size), linear->slopes->data, linear->slopes->size));
    }
}

static void genreg__write_progress(genreg__text *t, const genreg_trainer *r)
{
    int64_t whole[6];
    int i;
    whole[0] = r->steps; whole[1] = r->epoch; whole[2] = r->position; whole[3] = r->stopped; whole[4] = r->correct; whole[5] = r->samples;
    for (i = 0; i < 6; i++) { genreg__text_int(t, whole[i]); genreg__text_add(t, " "); }
    genreg__text_double(t, r->loss_sum);
    genreg__text_add(t, " ");
    genreg__text_double(t, r->lr);
}

static void genreg__write_header(genreg__text *t, genreg_model *m, genreg_trainer *r, const genreg__stretch *s, int n)
{
    genreg__text value;
    int64_t at = 0, shape[4];
    int i, k, rank;
    memset(&value, 0, sizeof value);
    value.c = t->c;
    genreg__text_add(t, "{\"__metadata__\":{\"format\":\"pt\"");
    genreg__text_pair(t, "genreg.version", GENREG_VERSION);
    genreg__write_architecture(&value, m);
    genreg__text_pair(t, "genreg.architecture", value.data ? value.data : "");
    value.n = 0;
    genreg__text_int(&value, (int64_t)m->scheme);
    genreg__text_add(&value, " ");
    genreg__text_bits(&value, m->seed);
    genreg__text_pair(t, "genreg.init", value.data ? value.data : "");
    value.n = 0;
    genreg__text_int(&value, m->channels);
    for (i = 0; i < m->channels; i++) {
        genreg__text_add(&value, " ");
        genreg__text_double(&value, (double)m->mean[i]);
        genreg__text_add(&value, " ");
        genreg__text_double(&value, (double)m->std[i]);
    }
    genreg__text_pair(t, "genreg.normalisation", value.data ? value.data : "");
    genreg__text_pair(t, "genreg.dataset", m->data_name);
    if (r) {
        value.n = 0;
        genreg__write_run(&value, r);
        genreg__text_pair(t, "genreg.run", value.data ? value.data : "");
        value.n = 0;
        genreg__write_progress(&value, r);
        genreg__text_pair(t, "genreg.progress", value.data ? value.data : "");
    }
    genreg__text_add(t, "}");
    for (i = 0; i < n; i++) {
        genreg__text_add(t, ",");
        genreg__text_string(t, s[i].name);
        genreg__text_add(t, ":{\"dtype\":");
        genreg__text_string(t, s[i].mask ? "BOOL" : sizeof(genreg_real) == 8 ? "F64" : "F32");
        genreg__text_add(t, ",\"shape\":[");
        rank = genreg__stretch_rank(&s[i], shape);
        for (k = 0; k < rank; k++) {
            if (k) genreg__text_add(t, ",");
            genreg__text_int(t, shape[k]);
        }
        genreg__text_add(t, "],\"data_offsets\":[");
        genreg__text_int(t, at);
        at += s[i].size * genreg__stretch_width(&s[i]);
        genreg__text_add(t, ",");
        genreg__text_int(t, at);
        genreg__text_add(t, "]}");
    }
    genreg__text_add(t, "}");
    while (t->n % 8) {
        ptrdiff_t before = t->n;
        genreg__text_add(t, " ");
        if (t->n == before) break;
    }
    genreg__unkeep(value.data);
}

static int genreg__save(genreg_model *m, genreg_trainer *r, const char *path)
{
    genreg_ctx *c = m->ctx;
    genreg__stretch *s = (genreg__stretch *)genreg__keep(c, 2 * (size_t)m->parameter_count + (size_t)m->state_count + 2, sizeof *s);
    genreg__text t;
    int n = 0, i, done = 0;
    memset(&t, 0, sizeof t);
    t.c = c;
    if (s) {
        n = genreg__stretches(m, r, s);
        n += genreg__mask_stretches(m, s + n);
        genreg__write_header(&t, m, r, s, n);
    }
    if (!genreg__halted(c)) {
        genreg__output o = genreg__begin_file(c, path);
        unsigned char head[8];
        genreg__put_bits(head, 8, (uint64_t)t.n);
        genreg__write(&o, head, 8);
        genreg__write(&o, t.data, (size_t)t.n);
        for (i = 0; i < n; i++) genreg__write_stretch(&o, m, &s[i]);
        done = genreg__end_file(&o);
    }
    genreg__unkeep(s);
    genreg__unkeep(t.data);
    return done;
}

GENREG__API int genreg_save_model(genreg_model *m, const char *path)
{
    if (!genreg__model_ready(m, "save_model")) return 0;
    if (!path || !*path) {
        genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "save_model: no file name");
        return 0;
    }
    if (m->linear) {
        genreg__fail(m->ctx, GENREG_ERROR_ARGUMENT, "save_model: a linearised model has no file of its own, as theta_0 belongs to it; save the model it was made of");
        return 0;
    }
    return genreg__save(m, NULL, path);
}

GENREG__API int genreg_trainer_save(genreg_trainer *t, const char *path)
{
    if (!t || genreg__halted(t->m->ctx)) return 0;
    if (!path || !*path) {
        genreg__fail(t->m->ctx, GENREG_ERROR_ARGUMENT, "trainer_save: no file name");
        return 0;
    }
    return genreg__save(t->m, t, path);
}

/* Numbers of a metadata value, separated by spaces: `wholes` whole ones, then up to *count of 64 bits in hexadecimal. */
static int genreg__parse_numbers(genreg__archive *a, const char *key, int64_t *whole, int wholes, uint64_t *bits, int *count)
{
    const char *s = genreg__metadata(a, key);
    int i;
    if (!s) return 0;
    for (i = 0; i < wholes; i++) {
        int64_t n = 0;
        const char *start = s;
        for (; *s >= '0' && *s <= '9'; s++) {
            if (n > (INT64_MAX - 9) / 10) return genreg__bad_header(a, "a number in its metadata is too large");
            n = 10 * n + (*s - '0');
        }
        if (s == start) return genreg__bad_header(a, "a number is missing in its metadata");
        whole[i] = n;
        while (*s == ' ') s++;
    }
    for (i = 0; i < *count && *s; i++) {
        if (!genreg__parse_bits(s, &bits[i])) return genreg__bad_header(a, "a number in its metadata is not in hexadecimal");
        while (*s && *s != ' ') s++;
        while (*s == ' ') s++;
    }
    *count = i;
    return 1;
}

/* The model that an open checkpoint describes, without its values; every tensor that it needs is there. */
static genreg_model *genreg__described_model(genreg__archive *a)
{
    const char *text = genreg__metadata(a, "genreg.architecture"), *name = text ? genreg__metadata(a, "genreg.dataset") : NULL;
    int64_t scheme, channels;
    uint64_t seed, bits[8];
    int i, one = 1, count = 8;
    genreg_model *m;
    if (name && genreg__is_linear_run(a)) {
        genreg__fail(a->c, GENREG_ERROR_FORMAT, "%s is the run of a linearised model, which is none without theta_0: load it with genreg_trainer_load, where it was linearised", a->path);
        return NULL;
    }
    m = name ? genreg__parse_architecture(a, text) : NULL;
    if (!m) return NULL;
    if (!genreg__halted(a->c) && genreg__parse_numbers(a, "genreg.init", &scheme, 1, &seed, &one)
        && genreg__parse_numbers(a, "genreg.normalisation", &channels, 1, bits, &count)) {
        if (one != 1 || scheme >= GENREG_INIT_COUNT || channels > 4 || count != 2 * (int)channels || !m->parameter_count)
            genreg__bad_header(a, "its model, initialisation or normalisation is incomplete");
        for (i = 0; i < m->parameter_count + m->state_count && !genreg__halted(a->c); i++) { /* before memory is taken for them */
            genreg__stretch s;
            const genreg_parameter *p = i < m->parameter_count ? &m->parameters[i] : &m->states[i - m->parameter_count];
            genreg__set_stretch(&s, "", p->name, NULL, p->size, p);
            genreg__find_entry(a, &s);
        }
        if (!genreg__halted(a->c) && genreg__lay_out(m, (genreg_init_scheme)scheme, seed)) {
            genreg__set_name(m->data_name, sizeof m->data_name, name);
            for (i = 0, m->channels = (int)channels; i < m->channels; i++) {
                m->mean[i] = (float)genreg__from_bits64(bits[2 * i]);
                m->std[i] = (float)genreg__from_bits64(bits[2 * i + 1]);
            }
        }
    }
    if (!genreg__halted(a->c)) return m;
    genreg_model_free(m);
    return NULL;
}

GENREG__API genreg_model *genreg_load_model(genreg_ctx *c, const char *path)
{
    genreg__archive a;
    genreg__stretch *s;
    genreg_model *m;
    int n, i;
    if (genreg__halted(c) || !genreg__archive_open(&a, c, path)) return NULL;
    m = genreg__described_model(&a);
    s = m ? (genreg__stretch *)genreg__keep(c, (size_t)(m->parameter_count + m->state_count) + 2, sizeof *s) : NULL;
    for (i = 0, n = s ? genreg__stretches(m, NULL, s) : 0; i < n; i++)
        if (!genreg__read_stretch(&a, m, &s[i])) break;
    if (!genreg__halted(c)) m->mask = genreg__read_mask(&a, m);
    genreg__unkeep(s);
    genreg__archive_close(&a);
    if (!genreg__halted(c)) {
        genreg__apply_mask(m, m->theta->data);
        return m;
    }
    genreg_model_free(m);
    return NULL;
}

/* Whether an open checkpoint is of this trainer's model, options and data. */
static int genreg__same_run(genreg__archive *a, genreg_trainer *t)
{
    genreg__text run, architecture;
    const char *text;
    memset(&run, 0, sizeof run);
    run.c = a->c;
    architecture = run;
    genreg__write_run(&run, t);
    genreg__write_architecture(&architecture, t->m);
    text = genreg__metadata(a, "genreg.architecture");
    if (text && architecture.data && strcmp(text, architecture.data) != 0) {
        char theirs[48], ours[48]; /* the first layer in which they differ: whole architectures are longer than a message */
        size_t at = 0, n;
        while (text[at] && text[at] == architecture.data[at]) at++;
        while (at > 0 && text[at - 1] != ' ') at--;
        for (n = 0; n + 1 < sizeof theirs && text[at + n] && text[at + n] != ' '; n++) theirs[n] = text[at + n];
        theirs[n] = 0;
        for (n = 0; n + 1 < sizeof ours && architecture.data[at + n] && architecture.data[at + n] != ' '; n++) ours[n] = architecture.data[at + n];
        ours[n] = 0;
        genreg__fail(a->c, GENREG_ERROR_FORMAT, "%s is of another model: it has \"%s\" where this one has \"%s\"", a->path, theirs, ours);
    }
    text = genreg__halted(a->c) ? NULL : genreg__metadata(a, "genreg.run");
    if (text && run.data && strcmp(text, run.data) != 0)
        genreg__fail(a->c, GENREG_ERROR_FORMAT, "%s is of a run with other options or another dataset%s: remove it to start afresh", a->path,
                     t->m->linear || genreg__is_linear_run(a) ? ", or its model is linearised at other parameters, or not at all" : "");
    genreg__unkeep(run.data);
    genreg__unkeep(architecture.data);
    return !genreg__halted(a->c);
}

GENREG__API int genreg_trainer_load(genreg_trainer *t, const char *path)
{
    genreg_ctx *c = t ? t->m->ctx : NULL;
    genreg__archive a;
    genreg__stretch *s = NULL;
    genreg_real *fresh = NULL;
    unsigned char *mask = NULL;
    int64_t whole[6];
    uint64_t bits[2];
    ptrdiff_t room = 0;
    int n = 0, i, count = 2;
    if (genreg__halted(c) || !genreg__archive_open(&a, c, path)) return 0;
    if (genreg__same_run(&a, t) && genreg__parse_numbers(&a, "genreg.progress", whole, 6, bits, &count)) {
        if (count != 2 || whole[0] > t->total_steps || whole[1] > whole[0] || whole[1] >= INT_MAX || whole[2] > t->data.n || whole[4] > whole[5] || whole[5] > t->data.n)
            genreg__bad_header(&a, "its progress is out of range");
        s = (genreg__stretch *)genreg__keep(c, (size_t)(t->m->parameter_count + t->m->state_count) + 2, sizeof *s);
        n = s ? genreg__stretches(t->m, t, s) : 0;
    }
    /* Into fresh memory first: a file that cannot be read to its end leaves the trainer as it was. */
    for (i = 0; i < n; i++) room += s[i].size;
    if (n) fresh = (genreg_real *)genreg__keep(c, (size_t)room, sizeof *fresh);
    for (i = 0, room = 0; i < n && fresh; room += s[i++].size) {
        genreg__stretch into = s[i];
        into.values = fresh + room;
        if (!genreg__read_stretch(&a, t->m, &into)) break;
    }
    if (!genreg__halted(c)) mask = genreg__read_mask(&a, t->m);
    if (!genreg__halted(c)) {
        genreg__unkeep(t->m->mask);
        t->m->mask = mask;
        for (i = 0, room = 0; i < n; room += s[i++].size) memcpy(s[i].values, fresh + room, (size_t)s[i].size * sizeof *fresh);
        genreg__apply_mask(t->m, t->m->theta->data); /* whatever the file has there */
        genreg__apply_mask(t->m, t->velocity->data);
        if (t->square) genreg__apply_mask(t->m, t->square->data);
        t->steps = whole[0];
        t->epoch = (int)whole[1];
        t->position = (int)whole[2];
        t->stopped = whole[3] != 0;
        t->correct = (int)whole[4];
        t->samples = (int)whole[5];
        t->loss_sum = genreg__from_bits64(bits[0]);
        t->lr = genreg__from_bits64(bits[1]);
        if (t->epoch) genreg__draw_order(t);
    }
    genreg__unkeep(fresh);
    genreg__unkeep(s);
    genreg__archive_close(&a);
    return !genreg__halted(c);
}

/* ---- .npy: NumPy's format for one array (version 1.0; NEP 1, 2007) -------------------------------------------------------

   "\x93NUMPY", version 1 0, the header's length in two bytes, little-endian; the header is a Python dictionary in text,
   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }, filled up with spaces to a multiple of 64 and ended by a newline; then the values. */

enum { GENREG__NPY_START = 10, GENREG__NPY_ALIGN = 64 };

static int genreg__write_npy(genreg_ctx *c, const char *name, const char *path, int rank, const int *shape, const void *values, int wide)
{
    unsigned char buffer[4096]; /* the header is short: at most six extents */
    const size_t room = sizeof buffer - GENREG__NPY_START, width = wide ? 8 : 4;
    char *text = (char *)buffer + GENREG__NPY_START;
    size_t at = 0, used;
    ptrdiff_t size, k;
    genreg__output o;
    int i;
    if (genreg__halted(c)) return 0;
    if (!path || !*path || !values) {
        genreg__fail(c, GENREG_ERROR_ARGUMENT, "%s: no %s", name, values ? "file name" : "values");
        return 0;
    }
    size = genreg__shape_size(c, name, rank, shape);
    if (size < 0) return 0;
    genreg__put(text, room, &at, wide ? "{'descr': '<f8', 'fortran_order': False, 'shape': (" : "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (i = 0; i < rank; i++) {
        if (i) genreg__put(text, room, &at, " ");
        genreg__put_integer(text, room, &at, shape[i]);
        if (rank == 1 || i + 1 < rank) genreg__put(text, room, &at, ",");
    }
    genreg__put(text, room, &at, "), }");
    while ((GENREG__NPY_START + at + 1) % GENREG__NPY_ALIGN) genreg__put(text, room, &at, " ");
    genreg__put(text, room, &at, "\n");
    memcpy(buffer, "\x93NUMPY\1\0", 8);
    genreg__put_bits(buffer + 8, 2, at);

    o = genreg__begin_file(c, path);
    genreg__write(&o, buffer, GENREG__NPY_START + at);
    for (k = 0, used = 0; k < size; k++) {
        genreg__put_bits(buffer + used, width, wide ? genreg__to_bits64(((const double *)values)[k]) : genreg__to_bits32(((const float *)values)[k]));
        used += width;
        if (used == sizeof buffer || k + 1 == size) {
            genreg__write(&o, buffer, used);
            used = 0;
        }
    }
    return genreg__end_file(&o);
}

GENREG__API int genreg_save_npy(genreg_ctx *c, const char *path, int rank, const int *shape, const genreg_real *values)
{
    return genreg__write_npy(c, "save_npy", path, rank, shape, values, GENREG_REAL_IS_DOUBLE);
}

GENREG__API int genreg_save_npy_doubles(genreg_ctx *c, const char *path, int rank, const int *shape, const double *values)
{
    return genreg__write_npy(c, "save_npy_doubles", path, rank, shape, values, 1);
}

/* What a header says, and the file behind it. */
typedef struct genreg__npy {
    FILE *f;
    int wide, big; /* 8 bytes a value; big-endian */
    int rank, shape[GENREG_MAX_RANK];
    ptrdiff_t size;
} genreg__npy;

/* Moves *s past spaces and a word if it stands there. */
static int genreg__npy_word(const char **s, const char *word)
{
    const size_t n = strlen(word);
    while (**s == ' ') (*s)++;
    if (strncmp(*s, word, n) != 0) return 0;
    *s += n;
    return 1;
}

/* "3, 4)" or "3,)" or ")": the extents after the opening parenthesis. Returns 0 if they are not that. */
static int genreg__npy_shape(genreg_ctx *c, const char *path, const char **s, genreg__npy *a)
{
    size_t size = 1;
    for (a->rank = 0; !genreg__npy_word(s, ")");) {
        int n = genreg__parse_small(s);
        if (n < 0) return 0;
        if (a->rank == GENREG_MAX_RANK || n == 0 || !genreg__times(size, (size_t)n, &size) || size > (size_t)PTRDIFF_MAX / 8) {
            genreg__fail(c, GENREG_ERROR_FORMAT, "%s: its array has more than %d axes, an extent of 0, or more values than this machine can address", path, (int)GENREG_MAX_RANK);
            return 0;
        }
        a->shape[a->rank++] = n;
        if (!genreg__npy_word(s, ",")) {
            if (a->rank == 1 || !genreg__npy_word(s, ")")) return 0; /* (3) is a number, not a shape */
            break;
        }
    }
    a->size = (ptrdiff_t)size;
    return 1;
}

/* Reads the dictionary: its three keys, each once, in any order, and nothing else. */
static void genreg__npy_header(genreg_ctx *c, const char *path, const char *s, const char *end, genreg__npy *a)
{
    static const char *const keys[] = { "'descr':", "'fortran_order':", "'shape':" };
    int found = 0, good = genreg__npy_word(&s, "{"), key;
    while (good && !genreg__npy_word(&s, "}")) {
        for (key = 0; key < 3 && !genreg__npy_word(&s, keys[key]); key++) {}
        good = key < 3 && !(found >> key & 1);
        if (!good) break;
        found |= 1 << key;
        if (key == 0) {
            good = genreg__npy_word(&s, "'");
            a->big = *s == '>';
            if (good && ((*s != '<' && *s != '>') || s[1] != 'f' || (s[2] != '4' && s[2] != '8') || s[3] != '\''))
                genreg__fail(c, GENREG_ERROR_FORMAT, "%s holds other values than float32 or float64; in Python, save x.astype(numpy.float64)", path);
            else if (good) {
                a->wide = s[2] == '8';
                s += 4;
            }
        } else if (key == 1) {
            good = genreg__npy_word(&s, "False");
            if (!good && genreg__npy_word(&s, "True"))
                genreg__fail(c, GENREG_ERROR_FORMAT, "%s is in Fortran's order; in Python, save numpy.ascontiguousarray(x)", path);
        } else good = genreg__npy_word(&s, "(") && genreg__npy_shape(c, path, &s, a);
        good = good && !genreg__halted(c);
        if (good && !genreg__npy_word(&s, ",")) {
            good = genreg__npy_word(&s, "}");
            break;
        }
    }
    if (!good || found != 7 || !genreg__npy_word(&s, "\n") || s != end)
        genreg__fail(c, GENREG_ERROR_FORMAT, "%s: its header does not describe an array of numbers as np.save does", path);
}

/* Opens a .npy file at its first value; 0 sets the error. */
static int genreg__npy_open(genreg_ctx *c, const char *path, genreg__npy *a)
{
    unsigned char start[GENREG__NPY_START];
    size_t file_size = 0, length, values;
    char *text = NULL;
    memset(a, 0, sizeof *a);
    a->f = genreg__open(c, path, &file_size);
    if (!a->f) return 0;
    if (genreg__read(c, a->f, path, start, sizeof start)) {
        if (memcmp(start, "\x93NUMPY", 6) != 0) genreg__fail(c, GENREG_ERROR_FORMAT, "%s is no .npy file", path);
        else if (start[6] != 1 || start[7] != 0)
            genreg__fail(c, GENREG_ERROR_FORMAT, "%s is a .npy file of version %d.%d; only 1.0, which np.save writes for arrays of numbers, can be read", path, start[6], start[7]);
        length = (size_t)genreg__get_bits(start + 8, 2, 0);
        text = (char *)genreg__keep(c, length + 1, 1);
        if (text && genreg__read(c, a->f, path, text, length)) {
            genreg__npy_header(c, path, text, text + length, a);
            values = file_size - sizeof start - length;
            if (!genreg__halted(c) && values != (size_t)a->size * (a->wide ? 8 : 4))
                genreg__fail(c, GENREG_ERROR_FORMAT, "%s has %z bytes after its header, which promises %z: it was cut short or is damaged", path, (ptrdiff_t)values,
                             a->size * (a->wide ? 8 : 4));
        }
        genreg__unkeep(text);
    }
    if (!genreg__halted(c)) return 1;
    fclose(a->f);
    return 0;
}

/* The values into reals or doubles, whichever is not NULL. Closes the file; 0 sets the error. */
static int genreg__npy_read(genreg_ctx *c, const char *path, genreg__npy *a, genreg_real *reals, double *doubles)
{
    unsigned char buffer[4096];
    const size_t width = a->wide ? 8 : 4;
    ptrdiff_t i, k, n;
    for (i = 0; i < a->size && (reals || doubles); i += n) {
        n = GENREG__MIN(a->size - i, (ptrdiff_t)(sizeof buffer / width));
        if (!genreg__read(c, a->f, path, buffer, (size_t)n * width)) break;
        for (k = 0; k < n; k++) {
            const uint64_t bits = genreg__get_bits(buffer + (size_t)k * width, width, a->big);
            if (reals) reals[i + k] = a->wide ? (genreg_real)genreg__from_bits64(bits) : (genreg_real)genreg__from_bits32((uint32_t)bits);
            else doubles[i + k] = a->wide ? genreg__from_bits64(bits) : (double)genreg__from_bits32((uint32_t)bits);
        }
    }
    fclose(a->f);
    return !genreg__halted(c);
}

GENREG__API genreg_tensor *genreg_load_npy(genreg_ctx *c, const char *path)
{
    const genreg_place p = genreg_mark(c);
    genreg__npy a;
    genreg_tensor *x;
    if (!genreg__npy_open(c, path, &a)) return NULL;
    x = genreg__tensor(c, "load_npy", a.rank, a.shape, NULL);
    if (genreg__npy_read(c, path, &a, x ? x->data : NULL, NULL)) return x;
    genreg_release(c, p);
    return NULL;
}

GENREG__API double *genreg_load_npy_doubles(genreg_ctx *c, const char *path, int *rank, int *shape)
{
    const genreg_place p = genreg_mark(c);
    genreg__npy a;
    double *values;
    if (!genreg__npy_open(c, path, &a)) return NULL;
    values = (double *)genreg__take(c, &c->tape_arena, (size_t)a.size, sizeof *values);
    if (genreg__npy_read(c, path, &a, NULL, values)) {
        if (rank) *rank = a.rank;
        if (shape) memcpy(shape, a.shape, sizeof a.shape);
        return values;
    }
    genreg_release(c, p);
    return NULL;
}

#endif /* GENREG_NO_STDIO */

#if defined(__clang__)
#pragma clang diagnostic pop
#pragma STDC FP_CONTRACT DEFAULT
#elif defined(__GNUC__)
#pragma GCC pop_options
#ifdef GENREG__387
#pragma GCC target("sse2,fpmath=sse")
#endif
#endif

#endif /* GENREG_IMPLEMENTATION */

/* VERSIONS
     0.1.0  the core: tensors, operations, gradients, models, training, Hessian eigenvalues, tangent kernels, pruning, IDX, safetensors and .npy files */

/*
  MIT License

  Copyright (c) 2026 the genreg authors

  Permission is hereby granted, free of charge, to any person obtaining a copy
  of this software and associated documentation files (the "Software"), to deal
  in the Software without restriction, including without limitation the rights
  to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
  copies of the Software, and to permit persons to whom the Software is
  furnished to do so, subject to the following conditions:

  The above copyright notice and this permission notice shall be included in all
  copies or substantial portions of the Software.

  THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
  IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
  FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
  AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
  LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
  OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
  SOFTWARE.
*/
