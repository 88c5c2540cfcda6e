#include "source/source_path.h"

#include "base/checked.h"
#include "net/s3_request.h"
#include "source/manifest_record.h"

#include <string.h>
#include <strings.h>

size_t source_path_stem(const char *path)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	const char *dot = strrchr(base, '.');

	return dot && dot != base ? (size_t)(dot - path) : strlen(path);
}

const char *source_path_image_extension(size_t i)
{
	static const char *const extensions[] = {".jpg",  ".jpeg", ".jpe",  ".jfif", ".png",
						 ".webp", ".gif",  ".bmp",  ".tif",  ".tiff",
						 ".avif", ".jxl",  ".heic", ".heif"};

	return i < ARRAY_SIZE(extensions) ? extensions[i] : NULL;
}

bool source_path_is_image(const char *path)
{
	const char *extension = path + source_path_stem(path), *known;

	for (size_t i = 0; (known = source_path_image_extension(i)); i++) {
		if (strcasecmp(extension, known) == 0)
			return true;
	}
	return false;
}

bool source_path_is_inside(const char *path)
{
	for (;;) {
		size_t part = strcspn(path, "/");

		if (part == 0 || (part == 1 && path[0] == '.') ||
		    (part == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		if (path[part] == '\0')
			return true;
		path += part + 1;
	}
}

bool source_path_is_url(const char *path)
{
	return strncasecmp(path, "http://", 7) == 0 || strncasecmp(path, "https://", 8) == 0 ||
	       s3_is_url(path);
}

bool source_path_is_caption(const char *path)
{
	const char *ending = path + source_path_stem(path);

	return strcmp(ending, ".txt") == 0 || strcmp(ending, ".caption") == 0 ||
	       strcmp(ending, ".json") == 0;
}

size_t source_path_archive_stem(const char *path)
{
	static const char *const endings[] = {".tar",  ".tar.gz", ".tgz", ".tar.zst",
					      ".tzst", ".tar.xz", ".txz", ".tar.bz2",
					      ".tbz2", ".zip",	  ".7z"};
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	size_t n = strlen(base);

	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		size_t ending = strlen(endings[i]);

		if (n > ending && strcasecmp(base + n - ending, endings[i]) == 0)
			return (size_t)(base - path) + n - ending;
	}
	return (size_t)(base - path) + n;
}

bool source_path_is_archive(const char *path)
{
	return path[source_path_archive_stem(path)] != '\0';
}

bool source_path_is_manifest(const char *path)
{
	enum manifest_format format;

	return manifest_format_of(path, &format);
}

bool source_path_is_list(const char *path)
{
	return strcasecmp(path + source_path_stem(path), ".urls") == 0;
}

bool source_path_is_file(const char *path)
{
	return source_path_is_archive(path) || source_path_is_manifest(path) ||
	       source_path_is_list(path);
}

const char *source_path_mask_ending(size_t i)
{
	static const char *const endings[] = {"-mask.png", "-mask.PNG", "-MASK.PNG", "-Mask.png",
					      ".mask.png"};

	return i < ARRAY_SIZE(endings) ? endings[i] : NULL;
}

bool source_path_is_mask(const char *path)
{
	size_t n = strlen(path);
	const char *ending;

	for (size_t i = 0; (ending = source_path_mask_ending(i)); i++) {
		size_t own = strlen(ending);

		if (n > own && path[n - own - 1] != '/' && strcmp(path + n - own, ending) == 0)
			return true;
	}
	return false;
}
