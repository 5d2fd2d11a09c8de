// resnet-rs from C: load a network, show it pictures. Made by cbindgen from the files in capi/src; do not edit.
//
// No panic crosses into C, though running out of memory may abort the process. Functions that fail return NULL, 0 or a
// status other than RESNET_RS_STATUS_OK, and resnet_rs_last_error() says why, to each thread its own. One network may
// be used by several threads at once; it must only not be freed meanwhile.

#ifndef RESNET_RS_H
#define RESNET_RS_H

#include <stddef.h>
#include <stdint.h>

// Flag of resnet_rs_load(): maps and weights are stored in 16 bits, which halves their memory.
#define RESNET_RS_F16 1

// How a call ended.
typedef enum {
  // Successful.
  RESNET_RS_STATUS_OK = 0,
  // Failed; resnet_rs_last_error() returns the error.
  RESNET_RS_STATUS_FAILED = 1,
} resnet_rs_status;

// A network on a GPU, with the names of its classes.
typedef struct resnet_rs_network resnet_rs_network;

// What a network answered for standardised pictures: tensors with names.
typedef struct resnet_rs_outputs resnet_rs_outputs;

// A class, and how likely it is, 0 to 1.
typedef struct {
  // Index of the class.
  size_t class_index;
  // How likely it is, 0 to 1.
  float probability;
} resnet_rs_guess;

// An object that a detector found.
typedef struct {
  // Index of the class; never 0, which is the background.
  size_t class_index;
  // How sure the network is, 0 to 1.
  float score;
  // Left edge in pixels of the picture.
  float left;
  // Top edge in pixels of the picture.
  float top;
  // Right edge in pixels of the picture.
  float right;
  // Bottom edge in pixels of the picture.
  float bottom;
} resnet_rs_object;

// A tensor of a network's outputs. The pointers are valid as long as the outputs.
typedef struct {
  // Its name, such as "logits".
  const char *name;
  // Its elements, row by row: the last dimension is the innermost.
  const float *values;
  // The lengths of its dimensions, of which the first is the number of pictures.
  const size_t *shape;
  // Number of dimensions.
  size_t dimensions;
} resnet_rs_tensor;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Version of the library, such as "0.1.0".
const char *resnet_rs_version(void);

// The error of this thread's last failed call, on one line; empty if no call has failed, or if the thread is ending.
// Valid until this thread's next failed call, or its end.
const char *resnet_rs_last_error(void);

// Loads a safetensors file under timm's or torchvision's names, as they or resnet-rs wrote it: a classifier, a
// detector, a segmentation network or a depth network.
//
// `weights` is its path, in UTF-8. `device` is the number or a part of the name of the GPU, or NULL for the fastest.
// `flags` is 0 or RESNET_RS_F16. Returns NULL if that fails; otherwise free the result with resnet_rs_free().
//
// # Safety
// `weights`, and `device` if it is not NULL, end with a zero byte.
resnet_rs_network *resnet_rs_load(const char *weights,
                                  const char *device,
                                  uint32_t flags);

// Frees a network. NULL is ignored.
//
// # Safety
// `network` is NULL, or comes from resnet_rs_load() and is not used any more.
void resnet_rs_free(resnet_rs_network *network);

// Number of classes of the network, of a detector with the background, its class 0; 1 of a depth network; 0 for NULL.
//
// # Safety
// `network` is NULL, or comes from resnet_rs_load().
size_t resnet_rs_class_count(const resnet_rs_network *network);

// Name of a class, in UTF-8; NULL if it has none. Valid as long as the network.
//
// # Safety
// `network` is NULL, or comes from resnet_rs_load().
const char *resnet_rs_label(const resnet_rs_network *network, size_t class_index);

// Classifies a picture of any size: 8-bit RGBA, sRGB, alpha ignored, rows `stride_bytes` apart, the first on top. It
// is resized and cropped as timm does it.
//
// Writes the `count` likeliest classes to `guesses`, likeliest first; `count` is at most resnet_rs_class_count().
//
// # Safety
// `network` is NULL or comes from resnet_rs_load(). `rgba` is NULL or points to
// `stride_bytes * (height - 1) + 4 * width` bytes. `guesses` is NULL or has room for `count`.
resnet_rs_status resnet_rs_classify(const resnet_rs_network *network,
                                    const uint8_t *rgba,
                                    uint32_t width,
                                    uint32_t height,
                                    size_t stride_bytes,
                                    resnet_rs_guess *guesses,
                                    size_t count);

// Classifies a picture file: JPEG, PNG, WebP, GIF, BMP or TIFF, turned upright as its EXIF data or XMP say. See
// resnet_rs_classify() for `guesses` and `count`.
//
// `path` is in UTF-8.
//
// # Safety
// `network` is NULL or comes from resnet_rs_load(). `path` is NULL or ends with a zero byte. `guesses` is NULL or has
// room for `count`.
resnet_rs_status resnet_rs_classify_file(const resnet_rs_network *network,
                                         const char *path,
                                         resnet_rs_guess *guesses,
                                         size_t count);

// Computes the logits, `[count, classes]` floats, of `count` standardised pictures, `[count, 3, height, width]` floats
// in PyTorch's order.
//
// # Safety
// `network` is NULL or comes from resnet_rs_load(). `pictures` is NULL or points to `count * 3 * height * width`
// floats. `logits` is NULL or has room for `count * resnet_rs_class_count()` floats.
resnet_rs_status resnet_rs_logits(const resnet_rs_network *network,
                                  const float *pictures,
                                  size_t count,
                                  size_t height,
                                  size_t width,
                                  float *logits);

// Finds objects in a picture; see resnet_rs_classify() for its pixels.
//
// Writes the objects with at least this score, 0.05 to 1, to `objects`, highest score first and no more than
// `capacity`, and their number to `count`.
//
// # Safety
// `network` is NULL or comes from resnet_rs_load(). `rgba` is NULL or points to
// `stride_bytes * (height - 1) + 4 * width` bytes. `objects` is NULL or has room for `capacity`, `count` is NULL or
// has room for one number.
resnet_rs_status resnet_rs_detect(const resnet_rs_network *network,
                                  const uint8_t *rgba,
                                  uint32_t width,
                                  uint32_t height,
                                  size_t stride_bytes,
                                  float score,
                                  resnet_rs_object *objects,
                                  size_t capacity,
                                  size_t *count);

// Finds objects in a picture file, as resnet_rs_detect().
//
// # Safety
// `network` is NULL or comes from resnet_rs_load(). `path` is NULL or ends with a zero byte. `objects` is NULL or has
// room for `capacity`, `count` is NULL or has room for one number.
resnet_rs_status resnet_rs_detect_file(const resnet_rs_network *network,
                                       const char *path,
                                       float score,
                                       resnet_rs_object *objects,
                                       size_t capacity,
                                       size_t *count);

// Writes width and height of a picture file in pixels, upright as its EXIF data or XMP say.
//
// # Safety
// `path` is NULL or ends with a zero byte. `width` and `height` are NULL or have room for one number.
resnet_rs_status resnet_rs_picture_size(const char *path,
                                        uint32_t *width,
                                        uint32_t *height);

// Tells the class of each pixel of a picture; see resnet_rs_classify() for its pixels.
//
// Writes `width * height` indices of classes to `classes`, row by row; 65535 where the network did not see the pixel,
// since the picture was cropped.
//
// # Safety
// `network` is NULL or comes from resnet_rs_load(). `rgba` is NULL or points to
// `stride_bytes * (height - 1) + 4 * width` bytes. `classes` is NULL or has room for `width * height` numbers.
resnet_rs_status resnet_rs_segment(const resnet_rs_network *network,
                                   const uint8_t *rgba,
                                   uint32_t width,
                                   uint32_t height,
                                   size_t stride_bytes,
                                   uint16_t *classes);

// Tells the class of each pixel of a picture file, as resnet_rs_segment(). `pixels` is the number of its pixels, from
// resnet_rs_picture_size().
//
// # Safety
// `network` is NULL or comes from resnet_rs_load(). `path` is NULL or ends with a zero byte. `classes` is NULL or has
// room for `pixels` numbers.
resnet_rs_status resnet_rs_segment_file(const resnet_rs_network *network,
                                        const char *path,
                                        uint16_t *classes,
                                        size_t pixels);

// Tells the depth of each pixel of a picture; see resnet_rs_classify() for its pixels.
//
// Writes `width * height` depths in metres to `metres`, row by row; 0 where the network did not see the pixel, since
// the picture was cropped.
//
// # Safety
// `network` is NULL or comes from resnet_rs_load(). `rgba` is NULL or points to
// `stride_bytes * (height - 1) + 4 * width` bytes. `metres` is NULL or has room for `width * height` floats.
resnet_rs_status resnet_rs_depth(const resnet_rs_network *network,
                                 const uint8_t *rgba,
                                 uint32_t width,
                                 uint32_t height,
                                 size_t stride_bytes,
                                 float *metres);

// Tells the depth of each pixel of a picture file, as resnet_rs_depth(). `pixels` is the number of its pixels, from
// resnet_rs_picture_size().
//
// # Safety
// `network` is NULL or comes from resnet_rs_load(). `path` is NULL or ends with a zero byte. `metres` is NULL or has
// room for `pixels` floats.
resnet_rs_status resnet_rs_depth_file(const resnet_rs_network *network,
                                      const char *path,
                                      float *metres,
                                      size_t pixels);

// Computes the outputs of any network for `count` standardised pictures, `[count, 3, height, width]` floats in
// PyTorch's order: the same numbers as the layers of PyTorch's networks give, before boxes are chosen.
//
// The outputs, by name, with N for `count` and K for resnet_rs_class_count(): a classifier has `logits` `[N, K]`; a
// detector `boxes` `[N, A, 4]` and `logits` `[N, A, K]`, which are changes of its A anchors and scores before the
// sigmoid; a segmentation network `logits` `[N, K, height, width]`; a depth network `depth`
// `[N, 1, height / 2, width / 2]` in metres, where halves are rounded up. Returns NULL if that fails; otherwise free
// the result with resnet_rs_outputs_free().
//
// # Safety
// `network` is NULL or comes from resnet_rs_load(). `pictures` is NULL or points to `count * 3 * height * width`
// floats.
resnet_rs_outputs *resnet_rs_run(const resnet_rs_network *network,
                                 const float *pictures,
                                 size_t count,
                                 size_t height,
                                 size_t width);

// Number of outputs; 0 for NULL.
//
// # Safety
// `outputs` is NULL, or comes from resnet_rs_run().
size_t resnet_rs_output_count(const resnet_rs_outputs *outputs);

// Writes one of the outputs to `tensor`; they are in the order of their names, and `index` counts from 0.
//
// # Safety
// `outputs` is NULL, or comes from resnet_rs_run(). `tensor` is NULL or has room for one.
resnet_rs_status resnet_rs_output(const resnet_rs_outputs *outputs,
                                  size_t index,
                                  resnet_rs_tensor *tensor);

// Frees outputs. NULL is ignored.
//
// # Safety
// `outputs` is NULL, or comes from resnet_rs_run() and is not used any more.
void resnet_rs_outputs_free(resnet_rs_outputs *outputs);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RESNET_RS_H */
