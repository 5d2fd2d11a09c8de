// Classifies a picture: classify WEIGHTS.safetensors PICTURE.ppm
//
//   cargo build --release -p resnet-rs-c
//   cc -Icapi/include capi/examples/classify.c -Ltarget/release -lresnet_rs_c -Wl,-rpath,target/release -o classify
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "resnet_rs.h"

// Reads a binary PPM (P6, 8 bits, no comments) as RGBA. NULL, and a message, if that fails.
static uint8_t *read_ppm(const char *path, uint32_t *width, uint32_t *height) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return NULL;
    }
    uint32_t white = 0; // the largest value
    // Nine digits fit a number. The last character is the one space before the pixels.
    int found = fscanf(file, "P6 %9" SCNu32 " %9" SCNu32 " %9" SCNu32 "%*c", width, height, &white);
    int usable = found == 3 && white == 255 && *width > 0 && *height > 0 && *height <= SIZE_MAX / 4 / *width;
    size_t pixels = usable ? (size_t)*width * *height : 0;
    uint8_t *rgba = usable ? malloc(4 * pixels) : NULL;
    for (size_t i = 0; rgba && i < pixels; i++) {
        rgba[4 * i + 3] = 255;
        if (fread(rgba + 4 * i, 3, 1, file) != 1) {
            free(rgba);
            rgba = NULL;
        }
    }
    fclose(file);
    if (!rgba) {
        fprintf(stderr, "%s is no binary PPM of 8 bits, or not all of it is there\n", path);
    }
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
