/*
 * Latents that sd-scripts cached: STEM_WxH_ARCH.npz beside images, or without them.
 *
 *	import_name_parse("holiday/beach_1024x0768_sdxl.npz", &name)
 *	import_file_read(root, &name, &file, err)      every array is checked; the latent comes out raw
 *	import_file_release(&file)
 */
#ifndef LATENTD_DAEMON_IMPORT_KOHYA_H
#define LATENTD_DAEMON_IMPORT_KOHYA_H

#include "daemon/export_format.h"

#include "base/hash.h"
#include "image/bucket.h"

struct npz;

struct import_name {
	char *path;	      /* relative to the folder, of the .npz */
	char *stem;	      /* of the image, relative */
	size_t width, height; /* of the image */
	const struct export_arch *arch;
};

struct import_file {
	struct ndarray latent;	/* float32 [C][h][w], raw */
	struct hash128 content; /* of the .npz */
	struct bucket_placement placement;
	size_t flipped, masks, others; /* arrays of it that are left behind */
};

/* The architecture of sd-scripts that is called so; NULL: none that is known. */
const struct export_arch *import_arch_find(const char *name);
/* False: not the name of such a file. The strings are freed by import_name_release. */
bool import_name_parse(const char *path, struct import_name *out);
void import_name_release(struct import_name *name);

/*
 * ERR_DATA says in one line what is wrong with the file: no .npz, arrays missing, of another shape or another type, of another
 * size than its name says, values that are not finite.
 */
int import_file_read(const char *root, const struct import_name *name, struct import_file *out,
		     struct error *err);
/* The same from arrays that are in memory; @out's content is not set. */
int import_arrays_read(const struct npz *npz, const struct import_name *name,
		       struct import_file *out, struct error *err);
void import_file_release(struct import_file *file);

#endif
