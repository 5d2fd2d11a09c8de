// Classifies a picture: classify WEIGHTS.safetensors PICTURE.ppm
//
//   cargo build --release -p resnet-rs-c
//   cc -Icapi/include capi/examples/classify.c -Ltarget/release -lresnet_rs_c -Wl,-rpath,target/release -o classify
#include <stdio.h>
#include <stdlib.h>

#include "resnet_rs.h"

// Reads a binary PPM (P6, 8 bits, no comments) as RGBA.
static uint8_t *read_ppm(const char *path, uint32_t *width, uint32_t *height) {
    FILE *file = fopen(path, "rb");
    if (!file || fscanf(file, "P6 %u %u 255", width, height) != 2) {
        return NULL;
    }
    fgetc(file); // the one space before the pixels
    size_t pixels = (size_t)*width * *height;
    uint8_t *rgba = malloc(4 * pixels);
    for (size_t i = 0; rgba && i < pixels; i++) {
        rgba[4 * i + 3] = 255;
        if (fread(rgba + 4 * i, 3, 1, file) != 1) {
            free(rgba);
            rgba = NULL;
        }
    }
    fclose(file);
    return rgba;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: classify WEIGHTS.safetensors PICTURE.ppm\n");
        return 2;
    }
    uint32_t width, height;
    uint8_t *rgba = read_ppm(argv[2], &width, &height);
    if (!rgba) {
        fprintf(stderr, "%s is no binary PPM of 8 bits\n", argv[2]);
        return 1;
    }
    resnet_rs_network *network = resnet_rs_load(argv[1], NULL, 0);
    if (!network) {
        fprintf(stderr, "%s\n", resnet_rs_last_error());
        return 1;
    }
    resnet_rs_guess guesses[5];
    size_t count = resnet_rs_class_count(network) < 5 ? resnet_rs_class_count(network) : 5;
    if (resnet_rs_classify(network, rgba, width, height, 4 * (size_t)width, guesses, count) != RESNET_RS_STATUS_OK) {
        fprintf(stderr, "%s\n", resnet_rs_last_error());
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        const char *label = resnet_rs_label(network, guesses[i].class_index);
        printf("%6.2f %%  %zu %s\n", 100 * guesses[i].probability, guesses[i].class_index, label ? label : "");
    }
    resnet_rs_free(network);
    free(rgba);
    return 0;
}
