/*
 * Which files of a folder or an archive count, and how a manifest is read; of other sources nothing is used.
 */
#ifndef LATENTD_CONFIG_SOURCE_OPTIONS_H
#define LATENTD_CONFIG_SOURCE_OPTIONS_H

#include "config/settings.h"

/* Names that begin with a dot. */
enum hidden_files { HIDDEN_SKIP, HIDDEN_TAKE };

/* Symbolic links that are followed; all: to folders, too. */
enum followed_symlinks { SYMLINKS_FILES, SYMLINKS_NONE, SYMLINKS_ALL };

struct source_options {
	struct setting_texts include, exclude; /* path_glob.h; none included: all are */
	enum hidden_files hidden;
	enum followed_symlinks symlinks;
	const char *root;	    /* NULL: the folder that the manifest is in */
	const char *path_column;    /* NULL: the first that is there of those that are usual */
	const char *caption_column; /* the same */
};

extern const struct settings_group source_options_settings;

/* Of settings that say where masks are: words that are no folder. */
bool masks_word(const char *text);
/* What such a setting says, as struct source_folder_options has it: "beside" or a folder; NULL: in no files. */
const char *masks_where(const char *setting);
/* Whether such a setting makes the alpha channel of an image its mask. */
bool masks_are_alpha(const char *setting);
#define MASKS_HELP                                                                                 \
	"none; beside: NAME-mask.png beside an image is its mask; alpha: its own alpha is; or a "  \
	"folder with NAME.png. Becomes mask.npy of its samples"

#endif
