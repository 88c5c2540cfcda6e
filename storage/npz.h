/*
 * NumPy's .npz: arrays by name, in one file.
 *
 *	npz_put(&npz, "latents", &latents);                what numpy.savez(path, latents=...) writes: a ZIP
 *	npz_put(&npz, "crop_ltrb", &crop);                 of NAME.npy, not compressed; equal arrays, equal bytes
 *	npz_end(&npz, &bytes);
 *
 *	npz_read(bytes, size, limit, &file, err);          also what numpy.savez_compressed writes
 *	npz_find(&file, "latents")
 */
#ifndef LATENTD_STORAGE_NPZ_H
#define LATENTD_STORAGE_NPZ_H

#include "base/ndarray.h"

struct npz_writer {
	struct buffer files, directory;
	size_t n;
};

#define NPZ_WRITER_INIT                                                                            \
	{                                                                                          \
		BUFFER_INIT, BUFFER_INIT, 0                                                        \
	}

/* @name: letters, digits and _. */
void npz_put(struct npz_writer *w, const char *name, const struct ndarray *array);
/* Moves the file to @out. ERR_DATA `too_large`: 4 GiB and more; @w can only be released then. */
int npz_end(struct npz_writer *w, struct buffer *out, struct error *err);
void npz_writer_release(struct npz_writer *w);

struct npz_array {
	char *name; /* without .npy */
	struct ndarray array;
};

struct npz {
	struct npz_array *items; /* as they stand in the file */
	size_t n, capacity;
};

/*
 * ERR_DATA `npz`: no ZIP of arrays that npy_read takes, damaged, or a name twice; `too_large`: more than @limit bytes when
 * opened, or more arrays than anybody stores.
 */
int npz_read(const uint8_t *bytes, size_t size, size_t limit, struct npz *out, struct error *err);
/* NULL if there is none of that name. */
const struct ndarray *npz_find(const struct npz *npz, const char *name);
void npz_release(struct npz *npz);

#define cleanup_npz_writer cleanup_with(npz_writer_release)
#define cleanup_npz	   cleanup_with(npz_release)

#endif
