// Networks that are no classifiers: dense DETECTOR SEGMENTER DEPTH PICTURE prints what it finds in the picture, and
// asserts the rest.
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resnet_rs.h"

enum { WIDTH = 30, HEIGHT = 20, STRIDE = 4 * WIDTH, SIDE = 64, PICTURES = 2, FLOATS = PICTURES * 3 * SIDE * SIDE };

static uint8_t pixels[STRIDE * HEIGHT];

// Asserts that a call failed and that the last error contains these words.
static void refused(int failed, const char *words) {
    if (!failed || !strstr(resnet_rs_last_error(), words)) {
        fprintf(stderr, "expected an error with \"%s\", got \"%s\"\n", words, resnet_rs_last_error());
        exit(1);
    }
}

// Prints name, shape and mean size of each output for standardised pictures.
static void print_outputs(const resnet_rs_network *network) {
    static float pictures[FLOATS];
    for (size_t i = 0; i < FLOATS; i++) {
        pictures[i] = (float)(i % 17) / 8 - 1;
    }
    resnet_rs_outputs *outputs = resnet_rs_run(network, pictures, PICTURES, SIDE, SIDE);
    assert(outputs);
    size_t count = resnet_rs_output_count(outputs);
    for (size_t i = 0; i < count; i++) {
        resnet_rs_tensor tensor;
        assert(resnet_rs_output(outputs, i, &tensor) == RESNET_RS_STATUS_OK);
        printf("%s", tensor.name);
        size_t elements = 1;
        for (size_t d = 0; d < tensor.dimensions; d++) {
            printf(" %zu", tensor.shape[d]);
            elements *= tensor.shape[d];
        }
        double sum = 0;
        for (size_t e = 0; e < elements; e++) {
            sum += tensor.values[e] < 0 ? -tensor.values[e] : tensor.values[e];
        }
        printf(" %.4f\n", sum / elements);
    }
    resnet_rs_tensor tensor;
    refused(resnet_rs_output(outputs, count, &tensor), "none has the index");
    refused(resnet_rs_output(outputs, 0, NULL), "tensor is NULL");
    refused(resnet_rs_output(NULL, 0, &tensor), "outputs is NULL");
    refused(!resnet_rs_run(network, NULL, PICTURES, SIDE, SIDE), "pictures is NULL");
    refused(!resnet_rs_run(network, pictures, SIZE_MAX, SIDE, SIDE), "is larger than memory");
    resnet_rs_outputs_free(outputs);
    resnet_rs_outputs_free(NULL);
}

int main(int argc, char **argv) {
    assert(argc == 5);
    const char *picture = argv[4];
    resnet_rs_network *detector = resnet_rs_load(argv[1], NULL, 0), *segmenter = resnet_rs_load(argv[2], NULL, 0),
                      *depth = resnet_rs_load(argv[3], NULL, 0);
    assert(detector && segmenter && depth);
    uint32_t width, height;
    assert(resnet_rs_picture_size(picture, &width, &height) == RESNET_RS_STATUS_OK);
    size_t count = (size_t)width * height;
    printf("%u %u\n", width, height);

    resnet_rs_object objects[50], first;
    size_t found, one;
    assert(resnet_rs_detect_file(detector, picture, 0.2f, objects, 50, &found) == RESNET_RS_STATUS_OK);
    for (size_t i = 0; i < found; i++) {
        const resnet_rs_object *o = &objects[i];
        printf("%zu %.4f %.2f %.2f %.2f %.2f\n", o->class_index, o->score, o->left, o->top, o->right, o->bottom);
    }
    assert(resnet_rs_detect_file(detector, picture, 0.2f, &first, 1, &one) == RESNET_RS_STATUS_OK && one == 1);
    assert(first.class_index == objects[0].class_index && first.left == objects[0].left);

    uint16_t *classes = malloc(count * sizeof *classes);
    float *metres = malloc(count * sizeof *metres);
    assert(classes && metres);
    assert(resnet_rs_segment_file(segmenter, picture, classes, count) == RESNET_RS_STATUS_OK);
    assert(resnet_rs_depth_file(depth, picture, metres, count) == RESNET_RS_STATUS_OK);
    size_t sum = 0;
    double metres_sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += classes[i];
        metres_sum += metres[i];
    }
    printf("%zu %.2f\n", sum, metres_sum / count);

    print_outputs(detector);
    print_outputs(segmenter);
    print_outputs(depth);

    // Pixels in memory.
    for (size_t i = 0; i < sizeof pixels; i++) {
        pixels[i] = (uint8_t)(i * 7);
    }
    assert(resnet_rs_detect(detector, pixels, WIDTH, HEIGHT, STRIDE, 0.2f, objects, 50, &found) ==
           RESNET_RS_STATUS_OK);
    for (size_t i = 0; i < found; i++) {
        assert(objects[i].score >= 0.2f && objects[i].right <= WIDTH && objects[i].bottom <= HEIGHT);
    }
    uint16_t small_classes[WIDTH * HEIGHT];
    float small_metres[WIDTH * HEIGHT];
    assert(resnet_rs_segment(segmenter, pixels, WIDTH, HEIGHT, STRIDE, small_classes) == RESNET_RS_STATUS_OK);
    assert(resnet_rs_depth(depth, pixels, WIDTH, HEIGHT, STRIDE, small_metres) == RESNET_RS_STATUS_OK);
    for (size_t i = 0; i < WIDTH * HEIGHT; i++) {
        assert(small_classes[i] < resnet_rs_class_count(segmenter) && small_metres[i] > 0 && small_metres[i] <= 10);
    }

    resnet_rs_guess guess;
    refused(resnet_rs_classify_file(detector, picture, &guess, 1),
            "the network is a detector: call resnet_rs_detect() or resnet_rs_detect_file()");
    refused(resnet_rs_logits(depth, metres, 1, 1, 1, metres), "depth network: call resnet_rs_depth()");
    refused(resnet_rs_detect_file(segmenter, picture, 0.5f, objects, 50, &found), "call resnet_rs_segment()");
    refused(resnet_rs_detect_file(detector, picture, 0.5f, NULL, 50, &found), "objects is NULL");
    refused(resnet_rs_detect_file(detector, picture, 0.5f, objects, 50, NULL), "count is NULL");
    refused(resnet_rs_detect_file(detector, picture, 0.01f, objects, 50, &found), "from 0.05 to 1");
    refused(resnet_rs_detect_file(detector, NULL, 0.5f, objects, 50, &found), "path is NULL");
    refused(resnet_rs_segment_file(segmenter, picture, classes, count - 1), "ask resnet_rs_picture_size()");
    refused(resnet_rs_segment_file(segmenter, picture, NULL, count), "classes is NULL");
    refused(resnet_rs_depth_file(depth, picture, metres, 0), "room for 0 pixels");
    refused(resnet_rs_depth(depth, pixels, 0, HEIGHT, STRIDE, metres), "nothing to look at");
    refused(resnet_rs_picture_size(argv[1], &width, &height), "not a usable picture");
    refused(resnet_rs_picture_size(picture, NULL, &height), "width is NULL");
    free(classes);
    free(metres);
    resnet_rs_free(detector);
    resnet_rs_free(segmenter);
    resnet_rs_free(depth);
    return 0;
}
