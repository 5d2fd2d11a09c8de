// Classifies a picture: classify WEIGHTS.safetensors PICTURE
//
//   cargo build --release -p resnet-rs-c
//   cc -Icapi/include capi/examples/classify.c -Ltarget/release -lresnet_rs_c -Wl,-rpath,target/release -o classify
#include <stdio.h>

#include "resnet_rs.h"

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: classify WEIGHTS.safetensors PICTURE\n");
        return 2;
    }
    resnet_rs_network *network = resnet_rs_load(argv[1], NULL, 0);
    if (!network) {
        fprintf(stderr, "%s\n", resnet_rs_last_error());
        return 1;
    }
    resnet_rs_guess guesses[5];
    size_t count = resnet_rs_class_count(network) < 5 ? resnet_rs_class_count(network) : 5;
    if (resnet_rs_classify_file(network, argv[2], guesses, count) != RESNET_RS_STATUS_OK) {
        fprintf(stderr, "%s\n", resnet_rs_last_error());
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        const char *label = resnet_rs_label(network, guesses[i].class_index);
        printf("%6.2f %%  %zu %s\n", 100 * guesses[i].probability, guesses[i].class_index, label ? label : "");
    }
    resnet_rs_free(network);
    return 0;
}
