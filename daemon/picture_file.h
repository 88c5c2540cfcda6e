/*
 * Pictures that commands write.
 */
#ifndef LATENTD_DAEMON_PICTURE_FILE_H
#define LATENTD_DAEMON_PICTURE_FILE_H

#include "image/image.h"

/* ERR_CONFIG: --out was not given, or is no .png. For before there is anything to write. */
int picture_file_check(const char *path, struct error *err);
/* Writes it as PNG, in the place of what is there. */
int picture_file_write(const char *path, const struct image *image, struct error *err);

#endif
