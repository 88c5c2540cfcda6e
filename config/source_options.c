#include "config/source_options.h"

#include "base/checked.h"
#include "base/path_glob.h"

#include <string.h>

#define FIELD(f) offsetof(struct source_options, f)

static const char *const hidden[] = {"skip", "take", NULL};
static const char *const symlinks[] = {"files", "none", "all", NULL};

static const struct setting rows[] = {
    {"include", SETTING_TEXTS, FIELD(include), .valid = path_glob_valid,
     .expected = PATH_GLOB_EXPECTED, .value_name = "PATTERN", .reloadable = true,
     .example = "['*.jpg', 'train/**']",
     .help = "only such files of a folder or archive (several: any)"},
    {"exclude", SETTING_TEXTS, FIELD(exclude), .valid = path_glob_valid,
     .expected = PATH_GLOB_EXPECTED, .value_name = "PATTERN", .reloadable = true,
     .example = "['masks/', '*.gif']", .help = "no such files, nor what is in such folders"},
    {"hidden", SETTING_ENUM, FIELD(hidden), .fallback = "skip", .choices = hidden,
     .reloadable = true, .help = "files and folders whose names begin with a dot"},
    {"symlinks", SETTING_ENUM, FIELD(symlinks), .fallback = "files", .choices = symlinks,
     .reloadable = true, .help = "links that are followed: to files, none, or to folders too"},
    {"root", SETTING_PATH, FIELD(root), .value_name = "DIR", .example = "/data/photos",
     .help = "what the paths in a manifest are relative to (its folder)"},
    {"path-column", SETTING_STRING, FIELD(path_column), .not_empty = true, .value_name = "NAME",
     .example = "file_name",
     .help = "column of a manifest with the path (path, file_name, image, ...)"},
    {"caption-column", SETTING_STRING, FIELD(caption_column), .not_empty = true,
     .value_name = "NAME", .example = "text",
     .help = "column of a manifest with the caption (caption, text, ...)"},
};

const struct settings_group source_options_settings = {
    .rows = rows, .n = ARRAY_SIZE(rows), .size = sizeof(struct source_options)};

bool masks_word(const char *text)
{
	return strcmp(text, "none") == 0 || strcmp(text, "beside") == 0 || masks_are_alpha(text);
}

const char *masks_where(const char *setting)
{
	return !setting || strcmp(setting, "none") == 0 || masks_are_alpha(setting) ? NULL
										    : setting;
}

bool masks_are_alpha(const char *setting)
{
	return setting && strcmp(setting, "alpha") == 0;
}
