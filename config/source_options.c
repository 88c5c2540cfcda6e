#include "config/source_options.h"

#include "base/checked.h"

#define FIELD(f) offsetof(struct source_options, f)

static const struct setting rows[] = {
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
