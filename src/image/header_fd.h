/*
 * The header of an image file that is open, from as little of the file as it takes: its first 64 KiB for nearly
 * all, and the EXIF chunk that lies behind the pixels of some PNG and WebP files.
 */
#ifndef LATENTD_IMAGE_HEADER_FD_H
#define LATENTD_IMAGE_HEADER_FD_H

#include "base/buffer.h"
#include "image/decode.h"

/*
 * What image_read_header() says of the whole file. @scratch is emptied and filled; keep it from file to file.
 * Only pread() and lseek() are called. Errors of image_read_header(), and ERR_IO.
 */
int image_read_header_fd(int fd, const struct image_limits *limits, struct buffer *scratch,
			 struct image_header *header, struct error *err);

/* All of @fd in @out, which is emptied first. ERR_DATA `too_large`, ERR_IO, ERR_NOMEM. */
int image_read_file_fd(int fd, const struct image_limits *limits, struct buffer *out,
		       struct error *err);

#endif
