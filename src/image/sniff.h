/*
 * Which kind of image a file is, by its first bytes.
 */
#ifndef LATENTD_IMAGE_SNIFF_H
#define LATENTD_IMAGE_SNIFF_H

#include "image/decode.h"

/*
 * One of the formats of decode.h, whether or not this build reads it. ERR_DATA `empty`, or
 * `unsupported` with the name of another format or the first bytes.
 */
int sniff_format(const uint8_t *bytes, size_t size, enum image_format *format, struct error *err);

#endif
