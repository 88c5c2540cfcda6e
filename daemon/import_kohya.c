/*
 * The crop that made a latent is not in the file (crop_ltrb is something else: CONTRIBUTING.md). It is what sd-scripts does
 * without random_crop: scaled to cover the bucket, cut at the centre.
 */
#include "daemon/import_kohya.h"

#include "storage/npz.h"

#include "base/checked.h"
#include "base/files.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NPZ_FILE_MAX ((size_t)1 << 30)
#define SIDE_MAX     (1 << 20)

enum { LATENT_STRIDE = 8 };

const struct export_arch *import_arch_find(const char *name)
{
	for (size_t i = 0; i < export_kohya.n_archs; i++) {
		if (strcmp(export_kohya.archs[i].name, name) == 0)
			return &export_kohya.archs[i];
	}
	return NULL;
}

/* "_1024x0768" before @end: its beginning, or NULL. */
static const char *size_before(const char *path, const char *end, size_t *width, size_t *height)
{
	const char *p = end;
	unsigned long w, h;

	while (p > path && p[-1] != '_' && p[-1] != '/')
		p--;
	if (p <= path + 1 || p[-1] != '_' || strspn(p, "0123456789x") != (size_t)(end - p))
		return NULL;
	if (sscanf(p, "%7lux%7lu", &w, &h) != 2 || w < 1 || h < 1 || w > SIDE_MAX || h > SIDE_MAX)
		return NULL;
	*width = w;
	*height = h;
	return p - 1;
}

bool import_name_parse(const char *path, struct import_name *out)
{
	size_t length = strlen(path);
	cleanup_free char *arch = NULL;
	const char *end = path + length - 4, *tail, *stem_end;
	struct import_name name = {.path = NULL};

	if (length < 12 || strcmp(end, ".npz") != 0)
		return false;
	for (tail = end; tail > path && tail[-1] != '_' && tail[-1] != '/'; tail--)
		;
	if (tail <= path + 1 || tail[-1] != '_')
		return false;
	arch = xasprintf("%.*s", (int)(end - tail), tail);
	name.arch = import_arch_find(arch);
	stem_end = name.arch ? size_before(path, tail - 1, &name.width, &name.height) : NULL;
	if (!stem_end || stem_end == path || stem_end[-1] == '/')
		return false;
	name.path = xstrdup(path);
	name.stem = xasprintf("%.*s", (int)(stem_end - path), path);
	*out = name;
	return true;
}

void import_name_release(struct import_name *name)
{
	free(name->path);
	free(name->stem);
	*name = (struct import_name){.path = NULL};
}

/* -- arrays --------------------------------------------------------------------------------------- */

static int bad(struct error *err, const char *what)
{
	return error_data(err, "npz", "%s", what);
}

/* @n numbers of whatever type numpy made of a list; false: not that. */
static bool read_numbers(const struct ndarray *a, size_t n, double *out)
{
	if (!a || a->ndim != 1 || a->shape[0] != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (a->dtype == DTYPE_I64)
			out[i] = (double)((const int64_t *)a->data)[i];
		else if (a->dtype == DTYPE_F64)
			out[i] = ((const double *)a->data)[i];
		else if (a->dtype == DTYPE_F32)
			out[i] = (double)((const float *)a->data)[i];
		else
			return false;
		if (!isfinite(out[i]) || fabs(out[i]) > SIDE_MAX)
			return false;
	}
	return true;
}

/* The first array "latents" or "latents_HxW"; *tail is what stands behind the word. */
static const struct ndarray *find_latents(const struct npz *npz, const char **tail)
{
	for (size_t i = 0; i < npz->n; i++) {
		const char *name = npz->items[i].name;

		if (strncmp(name, "latents", 7) == 0 &&
		    (name[7] == '\0' || (name[7] == '_' && name[8] >= '0' && name[8] <= '9'))) {
			*tail = name + 7;
			return &npz->items[i].array;
		}
	}
	return NULL;
}

static const struct ndarray *with_tail(const struct npz *npz, const char *name, const char *tail)
{
	cleanup_free char *full = xasprintf("%s%s", name, tail);

	return npz_find(npz, full);
}

static int check_latents(const struct ndarray *a, const char *tail, const struct export_arch *arch,
			 struct error *err)
{
	char want[48];

	if (a->dtype != DTYPE_F32 || a->ndim != 3 || a->shape[0] != arch->channels ||
	    a->shape[1] < 1 || a->shape[2] < 1 || a->shape[1] > SIDE_MAX ||
	    a->shape[2] > SIDE_MAX) {
		ndarray_shape_text(a->ndim, a->shape, want, sizeof(want));
		return error_data(err, "npz", "latents are %s %s, %s has float32 of %zu channels",
				  dtype_name(a->dtype), want, arch->name, arch->channels);
	}
	snprintf(want, sizeof(want), "_%zux%zu", a->shape[1], a->shape[2]);
	if (tail[0] && strcmp(tail, want) != 0)
		return bad(err, "the name of its latents tells another size than they have");
	return 0;
}

/* From what the trainer keeps to what the VAE gave, float32. */
static int raw_latent(const struct ndarray *a, const struct export_arch *arch, struct ndarray *out,
		      struct error *err)
{
	cleanup_ndarray struct ndarray made = NDARRAY_INIT;
	size_t n = ndarray_count(a);
	const float *in = a->data;
	float *v;

	if (ndarray_alloc(&made, DTYPE_F32, 3, a->shape, err) < 0)
		return -1;
	v = made.data;
	for (size_t i = 0; i < n; i++) {
		v[i] = arch->normalised
			   ? in[i] / (float)arch->scaling_factor + (float)arch->shift_factor
			   : in[i];
		if (!isfinite(v[i]))
			return bad(err, "its latents have values that are not finite");
	}
	*out = made;
	made = (struct ndarray)NDARRAY_INIT;
	return 0;
}

static void place(const struct import_name *name, const struct ndarray *latent, const double *ltrb,
		  struct bucket_placement *p)
{
	double w = (double)name->width, h = (double)name->height, scale;

	p->target_width = latent->shape[2] * LATENT_STRIDE;
	p->target_height = latent->shape[1] * LATENT_STRIDE;
	scale = w / h > (double)p->target_width / (double)p->target_height
		    ? (double)p->target_height / h
		    : (double)p->target_width / w;
	p->resized_width = (size_t)(w * scale + 0.5);
	p->resized_height = (size_t)(h * scale + 0.5);
	p->crop_left = (p->resized_width - p->target_width) / 2;
	p->crop_top = (p->resized_height - p->target_height) / 2;
	memcpy(p->kohya_crop_ltrb, ltrb, sizeof(p->kohya_crop_ltrb));
}

int import_arrays_read(const struct npz *npz, const struct import_name *name,
		       struct import_file *out, struct error *err)
{
	const char *tail = "";
	const struct ndarray *latents = find_latents(npz, &tail);
	double size[2], ltrb[4];

	if (!latents)
		return bad(err, "it has no array latents or latents_HxW");
	if (check_latents(latents, tail, name->arch, err) < 0)
		return -1;
	if (!read_numbers(with_tail(npz, "original_size", tail), 2, size) ||
	    !read_numbers(with_tail(npz, "crop_ltrb", tail), 4, ltrb))
		return bad(err, "it has no original_size or crop_ltrb that fits its latents");
	if (size[0] != (double)name->width || size[1] != (double)name->height)
		return bad(err, "its name tells another size of the image than original_size");
	if (raw_latent(latents, name->arch, &out->latent, err) < 0)
		return -1;
	place(name, latents, ltrb, &out->placement);
	out->flipped = with_tail(npz, "latents_flipped", tail) != NULL;
	out->masks = with_tail(npz, "alpha_mask", tail) != NULL;
	out->others = npz->n - 3 - out->flipped - out->masks;
	return 0;
}

int import_file_read(const char *root, const struct import_name *name, struct import_file *out,
		     struct error *err)
{
	cleanup_free char *path = xasprintf("%s/%s", root, name->path);
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	cleanup_npz struct npz npz = {.n = 0};
	struct import_file file = {.flipped = 0};

	if (file_read_regular(path, NPZ_FILE_MAX, &bytes, err) < 0 ||
	    npz_read(bytes.data, bytes.size, NPZ_FILE_MAX, &npz, err) < 0)
		return -1;
	file.content = hash128_of(bytes.data, bytes.size);
	if (import_arrays_read(&npz, name, &file, err) < 0)
		return -1;
	*out = file;
	return 0;
}

void import_file_release(struct import_file *file)
{
	ndarray_release(&file->latent);
}
