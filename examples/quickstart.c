/* quickstart.c - trains a small network and measures how curved the minimum is that it ends in.

      cc -O2 -fopenmp examples/quickstart.c -o quickstart -lm && ./quickstart [folder with MNIST]          */
#define GENREG_STATIC /* the compiler drops what this file does not use */
#define GENREG_IMPLEMENTATION
#include "../genreg.h"
#include <stdio.h>

int main(int argc, char **argv)
{
    /* MNIST if it is here (./data_fetch.sh), else the slice of Fashion-MNIST that comes with the source. */
    const char *folders[] = { "data/mnist", "../data/mnist", "examples/data", "data" };
    genreg_ctx *c = genreg_create(NULL);
    genreg_dataset train, test;
    int i, found = argc > 1 && genreg_load_mnist(c, argv[1], &train, &test);
    for (i = 0; argc == 1 && !found && i < 4; i++) {
        genreg_clear_error(c); /* of the folder before */
        if (i < 2) found = genreg_load_mnist(c, folders[i], &train, &test);
        else found = genreg_load_fashion(c, folders[i], &train, &test);
    }

    int sizes[] = { 784, 512, 512, 10 };
    genreg_model *net = genreg_mlp(c, sizes, 4);
    genreg_train_options o = genreg_train_defaults();
    o.batch = 32; o.lr = 0.005; o.epochs = 10; o.seed = 1;
    genreg_train(net, &train, &o);

    genreg_score s = genreg_evaluate(net, &test);
    genreg_dataset few = genreg_first(c, &train, 1000); /* curvature on 1,000 images, as the paper has it */
    genreg_eigen top = genreg_hessian_top(net, &few, NULL);
    if (genreg_error(c)) { fprintf(stderr, "%s\n", genreg_error_message(c)); return 1; }
    printf("%s, %d images: test %.2f %%, top Hessian eigenvalue %.3f (residual %.0e)\n", train.name, train.n, 100 * s.accuracy, top.value, top.residual);
    genreg_destroy(c);
    return 0;
}
