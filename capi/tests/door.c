// Uses everything in the header, correctly and wrongly: door WEIGHTS PICTURES LOGITS COUNT SIDE reads COUNT
// standardised pictures of SIDE x SIDE from PICTURES, writes their logits, and asserts the rest.
#undef NDEBUG
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resnet_rs.h"

enum { WIDTH = 30, HEIGHT = 20, STRIDE = 4 * WIDTH + 8 };

static uint8_t pixels[STRIDE * HEIGHT];

// Asserts that a call failed and that the last error contains these words.
static void refused(int failed, const char *words) {
    if (!failed || !strstr(resnet_rs_last_error(), words)) {
        fprintf(stderr, "expected an error with \"%s\", got \"%s\"\n", words, resnet_rs_last_error());
        exit(1);
    }
}

static resnet_rs_status classify(const resnet_rs_network *network, resnet_rs_guess *best) {
    return resnet_rs_classify(network, pixels, WIDTH, HEIGHT, STRIDE, best, 1);
}

static void *classify_often(void *network) {
    resnet_rs_guess *best = malloc(sizeof *best);
    for (int i = 0; i < 20; i++) {
        assert(classify(network, best) == RESNET_RS_STATUS_OK);
    }
    assert(resnet_rs_last_error()[0] == '\0'); // errors of other threads do not show here
    return best;
}

static int calls_at_the_end;

// Runs when a thread ends, after Rust has dropped the thread's storage.
static void fail_at_the_end(void *unused) {
    (void)unused;
    assert(!resnet_rs_load(NULL, NULL, 0) && resnet_rs_last_error()[0] == '\0');
    calls_at_the_end++;
}

static void *fail_and_end(void *key) {
    refused(!resnet_rs_load(NULL, NULL, 0), "weights is NULL");
    assert(pthread_setspecific(*(pthread_key_t *)key, key) == 0);
    return NULL;
}

int main(int argc, char **argv) {
    assert(argc == 6);
    size_t count = strtoul(argv[4], NULL, 10), side = strtoul(argv[5], NULL, 10);
    assert(resnet_rs_version()[0] != '\0' && resnet_rs_last_error()[0] == '\0');

    refused(!resnet_rs_load(NULL, NULL, 0), "weights is NULL");
    refused(!resnet_rs_load("no/such/file.safetensors", NULL, 0), "no/such/file.safetensors");
    refused(!resnet_rs_load("\xff", NULL, 0), "weights is not UTF-8");
    refused(!resnet_rs_load(argv[1], "no such GPU", 0), "no such GPU");
    refused(!resnet_rs_load(argv[1], NULL, 6), "0x6");
    refused(!resnet_rs_load(argv[0], NULL, 0), "not a usable safetensors file");
    refused(resnet_rs_class_count(NULL) == 0, "network is NULL");
    refused(!resnet_rs_label(NULL, 0), "network is NULL");
    resnet_rs_free(NULL);

    resnet_rs_network *network = resnet_rs_load(argv[1], NULL, 0);
    assert(network);
    size_t classes = resnet_rs_class_count(network);
    assert(!resnet_rs_label(network, classes));

    // Standardised pictures in PyTorch's order.
    size_t elements = count * 3 * side * side;
    float *pictures = malloc(elements * sizeof *pictures), *logits = malloc(count * classes * sizeof *logits);
    FILE *file = fopen(argv[2], "rb");
    assert(pictures && logits && file && fread(pictures, sizeof *pictures, elements, file) == elements);
    fclose(file);
    assert(resnet_rs_logits(network, pictures, count, side, side, logits) == RESNET_RS_STATUS_OK);
    file = fopen(argv[3], "wb");
    assert(file && fwrite(logits, sizeof *logits, count * classes, file) == count * classes);
    fclose(file);
    refused(resnet_rs_logits(network, NULL, count, side, side, logits), "pictures is NULL");
    refused(resnet_rs_logits(network, pictures, count, side, side, NULL), "logits is NULL");
    refused(resnet_rs_logits(network, pictures, SIZE_MAX, side, side, logits), "larger than memory");
    refused(resnet_rs_logits(network, pictures, 0, side, side, logits), "[0, 3,");
    refused(resnet_rs_logits(network, (float *)((char *)pictures + 1), count, side, side, logits), "not aligned");

    // Pixels with padding between their rows.
    resnet_rs_guess guesses[2], best;
    for (size_t i = 0; i < sizeof pixels; i++) {
        pixels[i] = (uint8_t)(i % STRIDE < 4 * WIDTH ? i * 7 : 0);
    }
    assert(classify(network, &best) == RESNET_RS_STATUS_OK);
    memset(pixels + STRIDE - 8, 255, 8);
    assert(resnet_rs_classify(network, pixels, WIDTH, HEIGHT, STRIDE, guesses, 2) == RESNET_RS_STATUS_OK);
    assert(guesses[0].class_index == best.class_index && guesses[0].probability == best.probability);
    assert(guesses[0].probability >= guesses[1].probability && guesses[1].probability > 0);
    refused(classify(NULL, &best), "network is NULL");
    refused(resnet_rs_classify_file(network, NULL, guesses, 1), "path is NULL");
    refused(resnet_rs_classify(network, NULL, WIDTH, HEIGHT, STRIDE, guesses, 1), "rgba is NULL");
    refused(resnet_rs_classify(network, pixels, WIDTH, HEIGHT, STRIDE, NULL, 1), "guesses is NULL");
    refused(resnet_rs_classify(network, pixels, WIDTH, HEIGHT, 4 * WIDTH - 1, guesses, 1),
            "more than the stride of 119");
    refused(resnet_rs_classify(network, pixels, 0, HEIGHT, STRIDE, guesses, 1), "nothing to look at");
    refused(resnet_rs_classify(network, pixels, WIDTH, 0, STRIDE, guesses, 1), "nothing to look at");
    refused(resnet_rs_classify(network, pixels, UINT32_MAX, UINT32_MAX, SIZE_MAX, guesses, 1), "larger than memory");
    refused(resnet_rs_classify(network, pixels, WIDTH, HEIGHT, STRIDE, guesses, 0), "0 guesses were requested");
    refused(resnet_rs_classify(network, pixels, WIDTH, HEIGHT, STRIDE, guesses, classes + 1), "can be had");

    // Several threads on one network.
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        assert(pthread_create(&threads[i], NULL, classify_often, network) == 0);
    }
    for (int i = 0; i < 4; i++) {
        void *of_thread;
        assert(pthread_join(threads[i], &of_thread) == 0);
        assert(((resnet_rs_guess *)of_thread)->class_index == best.class_index);
        assert(((resnet_rs_guess *)of_thread)->probability == best.probability);
        free(of_thread);
    }
    resnet_rs_free(network);

    // Calls from a thread that ends.
    pthread_key_t key;
    assert(pthread_key_create(&key, fail_at_the_end) == 0);
    assert(pthread_create(&threads[0], NULL, fail_and_end, &key) == 0 && pthread_join(threads[0], NULL) == 0);
    assert(calls_at_the_end == 1);

    // In f16, and loaded again after it was freed.
    for (int i = 0; i < 3; i++) {
        network = resnet_rs_load(argv[1], NULL, RESNET_RS_F16);
        assert(network && classify(network, guesses) == RESNET_RS_STATUS_OK);
        assert(guesses[0].class_index == best.class_index);
        resnet_rs_free(network);
    }
    free(pictures);
    free(logits);
    return 0;
}
