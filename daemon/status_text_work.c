#include "daemon/status_text_parts.h"

#include "base/checked.h"
#include "base/text.h"

#include "daemon/text_lines.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* -- stages --------------------------------------------------------------------------------------- */

/* "7.9 of 8" of a member that is a number, or "-" where it is not known. */
static void busy_text(const json_t *stage, char *out, size_t size)
{
	const json_t *busy = json_object_get(stage, "busy");

	if (json_is_number(busy))
		snprintf(out, size, "%.1f of %llu", json_number_value(busy),
			 (unsigned long long)status_count_of(stage, "workers"));
	else
		snprintf(out, size, "-");
}

static void stage_text(struct buffer *out, const json_t *stage)
{
	const json_t *rate = json_object_get(stage, "images_per_second");
	char busy[48], number[24] = "-", images[28];

	busy_text(stage, busy, sizeof(busy));
	if (json_is_number(rate))
		snprintf(number, sizeof(number), "%.1f", json_number_value(rate));
	buffer_append_string(out, "  ");
	text_clean(out, status_text_of(stage, "name"));
	buffer_appendf(out, "%*s%10s   %s",
		       TEXT_LABEL_COLUMNS - 2 - (int)strlen(status_text_of(stage, "name")), "",
		       number, busy);
	if (!json_is_null(json_object_get(stage, "queue")))
		buffer_appendf(out, "%*s", 22 - (int)strlen(busy),
			       text_count(status_count_of(stage, "queue"), images));
	if (json_is_true(json_object_get(stage, "limits")))
		buffer_append_string(out, "   <- limits");
	buffer_append_string(out, "\n");
}

static bool stages_move(const json_t *stages)
{
	const json_t *stage;
	size_t i;

	json_array_foreach(stages, i, stage)
	{
		if (status_count_of(stage, "queue") > 0 ||
		    json_number_value(json_object_get(stage, "images_per_second")) > 0)
			return true;
	}
	return false;
}

void status_stages_text(struct buffer *out, const json_t *stages)
{
	const json_t *stage;
	size_t i;

	if (!stages_move(stages))
		return;
	buffer_appendf(out, "\n  %-*s%10s   %s%18s\n", TEXT_LABEL_COLUMNS - 2, "stage", "images/s",
		       "busy", "images");
	json_array_foreach(stages, i, stage) stage_text(out, stage);
}

void status_disk_warning(struct buffer *out, const json_t *disk)
{
	uint64_t usable = status_count_of(disk, "usable_bytes"),
		 needed = status_count_of(disk, "needed_bytes");
	bool known = json_is_integer(json_object_get(disk, "full_in_s"));
	cleanup_free char *text = NULL;
	char size[24], time[32];

	if (needed <= usable)
		return;
	text = xasprintf(
	    "the disk will be full before all is done%s%s: %s more are needed than there are",
	    known ? ", in about " : "",
	    known ? text_duration(status_count_of(disk, "full_in_s"), time) : "",
	    text_bytes(needed - usable, size));
	text_warning(out, text);
}

void status_disk_text(struct buffer *out, const json_t *disk)
{
	uint64_t needed = status_count_of(disk, "needed_bytes");
	cleanup_buffer struct buffer path = BUFFER_INIT;
	struct text_line line = {out, 0, "disk"};
	char free_text[24], total[24], size[24];

	status_append_path(&path, disk, "path");
	text_line_item(&line, "%s of %s free",
		       text_bytes(status_count_of(disk, "free_bytes"), free_text),
		       text_bytes(status_count_of(disk, "total_bytes"), total));
	if (needed > 0)
		text_line_item(&line, "%s for what is left", text_bytes(needed, size));
	text_line_item(&line, "%s", path.data ? (const char *)path.data : "");
	text_line_end(&line);
}
