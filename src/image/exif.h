/*
 * The one thing we want of EXIF: which way up the picture is.
 */
#ifndef LATENTD_IMAGE_EXIF_H
#define LATENTD_IMAGE_EXIF_H

#include <stddef.h>
#include <stdint.h>

/* Larger blocks are not looked at: in a JPEG they end at 64 KiB. */
#define EXIF_BLOCK_MAX (1u << 20)

/*
 * The orientation tag of an EXIF block (a TIFF header and its first directory, with or without
 * "Exif\0\0" in front): 1 to 8; 1 when there is none, when it is nonsense, when the block is
 * damaged.
 */
unsigned exif_orientation(const uint8_t *block, size_t size);

#endif
