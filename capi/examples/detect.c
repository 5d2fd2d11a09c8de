// Finds the objects in a picture: detect WEIGHTS.safetensors PICTURE
//
//   cargo build --release -p resnet-rs-c
//   cc -Icapi/include capi/examples/detect.c -Ltarget/release -lresnet_rs_c -Wl,-rpath,target/release -o detect
#include <stdio.h>

#include "resnet_rs.h"

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: detect WEIGHTS.safetensors PICTURE\n");
        return 2;
    }
    resnet_rs_network *network = resnet_rs_load(argv[1], NULL, 0);
    resnet_rs_object objects[100];
    size_t count;
    if (!network || resnet_rs_detect_file(network, argv[2], 0.5f, objects, 100, &count) != RESNET_RS_STATUS_OK) {
        fprintf(stderr, "%s\n", resnet_rs_last_error());
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        const resnet_rs_object *o = &objects[i];
        const char *label = resnet_rs_label(network, o->class_index);
        printf("%.2f  %zu %s  %.0f, %.0f to %.0f, %.0f\n", o->score, o->class_index, label ? label : "", o->left,
               o->top, o->right, o->bottom);
    }
    resnet_rs_free(network);
    return 0;
}
