/*
 * Paths relative to a source: where their extension begins and whether they stay inside.
 */
#ifndef LATENTD_SOURCE_SOURCE_PATH_H
#define LATENTD_SOURCE_SOURCE_PATH_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Length of @path without its extension: the last dot of the base name and what follows it. A dot
 * that begins the base name begins no extension.
 */
size_t source_path_stem(const char *path);

/* The extensions of image formats one after the other, ".jpg" first, in small letters; NULL: that was the last. */
const char *source_path_image_extension(size_t i);
/* Whether the extension is one of an image format, decodable by this build or not, in any case. */
bool source_path_is_image(const char *path);

/* Not empty, not absolute, and no part that is empty, "." or "..". */
bool source_path_is_inside(const char *path);

/* Whether it is no file of a folder but the URL of one that is fetched: http://, https://, s3://, in any case. */
bool source_path_is_url(const char *path);

/* Whether it is the name of an archive: .tar, .tar.gz, .tgz, .zip and so on, in any case. */
bool source_path_is_archive(const char *path);
/* Whether it is the name of a list of URLs: .urls, in any case. */
bool source_path_is_list(const char *path);
/* Length of @path without that ending; all of it if it has none. */
size_t source_path_archive_stem(const char *path);

/* Whether it is the name of a manifest: .jsonl, .ndjson, .csv, .tsv or .json, in any case. */
bool source_path_is_manifest(const char *path);
/* The paths that are files of their own as a source, no folders. */
bool source_path_is_file(const char *path);

/* Whether it is the name of what may lie beside an image and say something of it: .txt, .caption, .json. */
bool source_path_is_caption(const char *path);

/*
 * What the name of a mask ends in that lies beside its image, the usual one first: "-mask.png", that in capitals as people and
 * cameras write it, and ".mask.png" of WebDataset; NULL: that was the last. All are as long.
 */
const char *source_path_mask_ending(size_t i);
/* Whether it is the name of a mask beside an image: NAME-mask.png, or with another of these endings. */
bool source_path_is_mask(const char *path);

#endif
