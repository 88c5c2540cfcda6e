/*
 * The pixels that a stored sample was encoded from, made again from its source file: by the geometry of its record and the
 * recipe of its dataset.
 *
 *	sample_sources_open(recipe_json, max_pixels, &sources, err)
 *	sample_source_prepare(sources, path, &record, &facts, &image, err)
 *	image_psnr(&image, &decoded)
 *	sample_sources_close(sources)
 */
#ifndef LATENTD_DAEMON_SAMPLE_SOURCE_H
#define LATENTD_DAEMON_SAMPLE_SOURCE_H

#include "daemon/record_facts.h"
#include "image/image.h"
#include "source/source.h"

struct sample_sources;

/*
 * @recipe_json: the dataset's canonical text. @pixels: of the largest picture. ERR_DATA `recipe`: it does not say how
 * pixels were prepared.
 */
int sample_sources_open(const char *recipe_json, size_t pixels, struct sample_sources **out,
			struct error *err);
void sample_sources_close(struct sample_sources *sources);
/* How lists of URLs that are opened from now on fetch; until then as is usual. */
void sample_sources_fetch(struct sample_sources *sources,
			  const struct source_remote_options *remote);
/*
 * Which links are followed in sources that are opened from now on; until then all: what they lead to must have the content of
 * the sample.
 */
void sample_sources_follow(struct sample_sources *sources, enum source_links links);
/*
 * @stop is asked a few times a second while a source is read: an archive is listed, a file fetched, an image decoded. Any thread
 * may ask. True: it fails soon, and so does all that is asked of @sources afterwards.
 */
void sample_sources_stop(struct sample_sources *sources, bool (*stop)(void *arg), void *arg);

/*
 * @path: of the file in source @folder, which may be an archive. ERR_DATA with a reason: it is `gone`, its content is another since (`changed`), or it
 * cannot be decoded any more; `record`: the record does not say what was cut out of it.
 */
int sample_source_prepare(struct sample_sources *sources, const char *folder, const char *path,
			  const struct record *record, const struct record_facts *facts,
			  struct image *out, struct error *err);

/*
 * The whole picture in the file @path of source @folder, turned and coloured as the recipe says, at most @side along each
 * side. Errors as above.
 */
int sample_source_thumbnail(struct sample_sources *sources, const char *folder, const char *path,
			    size_t side, struct image *out, struct error *err);

/*
 * What was cut out of the resized image, which is not mirrored, and whether it was mirrored then; without a filter. ERR_DATA `record`: it does
 * not say.
 */
int sample_source_geometry(const struct record *record, const struct record_facts *facts,
			   struct render_geometry *out, bool *flip, struct error *err);

/* "512x768  crop 0,12 of 512x792", to be freed. */
char *sample_source_about(const struct record *record, const struct record_facts *facts);

/* Of two pictures of one size, in dB over all samples; equal ones have infinity. */
double image_psnr(const struct image *a, const struct image *b);

#endif
