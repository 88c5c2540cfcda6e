#include "decode_rig.h"

#include "base/checked.h"
#include "base/files.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

static size_t open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void on_hashed(void *image, const struct hash128 *content, uint64_t bytes)
{
	struct shot *shot = image;

	shot->content = *content;
	shot->bytes = bytes;
}

static void on_header(void *image, const struct image_header *header, struct decode_ticket *ticket)
{
	struct shot *shot = image;
	size_t width = header->width, height = header->height;

	shot->header = *header;
	if (!ticket) {
		shot->end = SHOT_SEEN;
		shot->ends++;
		return;
	}
	shot->ticket = ticket;
	if (shot->rig->policy.apply_exif)
		image_oriented_size(header, &width, &height);
	bucket_place(shot->rig->buckets, width, height, &shot->placement);
	if (shot->skip) {
		decode_pool_skip(TAKE(shot->ticket));
		shot->end = SHOT_SKIPPED;
		shot->ends++;
	} else if (!shot->hold) {
		rig_place(shot);
	}
}

static void on_done(void *image, const uint8_t *pixels)
{
	struct shot *shot = image;
	size_t bytes = shot->placement.target_width * shot->placement.target_height * 3;

	shot->pixels = xmalloc(bytes);
	memcpy(shot->pixels, pixels, bytes);
	shot->end = SHOT_DONE;
	shot->ends++;
}

static void on_failed(void *image, const struct error *why)
{
	struct shot *shot = image;

	shot->why = *why;
	shot->end = SHOT_FAILED;
	shot->ends++;
}

static void on_returned(void *image)
{
	struct shot *shot = image;

	shot->end = SHOT_RETURNED;
	shot->ends++;
}

char *rig_program(const char *name)
{
	const char *build = getenv("LATENTD_BUILD_DIR");

	return xasprintf("%s/%s", build ? build : ".", name);
}

int rig_open(struct rig *rig, const struct rig_options *o, struct error *err)
{
	struct bucket_options buckets = {.rule = o->rule,
					 .resolution = o->resolution ? o->resolution : 64};
	struct decode_pool_options options = {
	    .mode = o->mode,
	    .workers = o->workers,
	    .images_per_process = o->images_per_process,
	    .require_confinement = o->require_confinement,
	    .program = o->program,
	    .limits = IMAGE_LIMITS_DEFAULT,
	    .time_limit_ms = o->time_limit_ms ? o->time_limit_ms : 60 * 1000,
	    .handlers = {on_hashed, on_header, on_done, on_failed, on_returned},
	};

	memset(rig, 0, sizeof(*rig));
	rig->descriptors = open_descriptors();
	rig->policy = (struct image_policy)IMAGE_POLICY_DEFAULT;
	rig->buckets = bucket_table_new(&buckets, err);
	assert_non_null(rig->buckets);
	if (o->mode == DECODE_MODE_PIXELS)
		options.slot_bytes = bucket_table_max_pixels(rig->buckets) * 3;
	if (o->max_file > 0)
		options.limits.max_file_bytes = o->max_file;
	assert_true(sd_event_new(&rig->event) >= 0);
	rig->stages = options.stages = stage_meter_new();
	return decode_pool_open(rig->event, &options, &rig->pool, err);
}

void rig_open_liar(struct rig *rig, size_t workers, uint64_t time_limit_ms)
{
	cleanup_free char *program = rig_program("tests/lying_worker");
	struct rig_options options = {.program = program,
				      .workers = workers,
				      .time_limit_ms = time_limit_ms,
				      .rule = BUCKET_SQUARE};
	struct error err = ERROR_INIT;

	assert_ok(rig_open(rig, &options, &err), &err);
	/* So that it is known which worker gets what. */
	while (decode_pool_room(rig->pool) < workers)
		rig_turn(rig);
}

void rig_close(struct rig *rig)
{
	struct stage_sums sums;

	decode_pool_close(rig->pool);
	for (int i = 0; i < STAGES; i++) {
		stage_meter_sums(rig->stages, (enum work_stage)i, &sums);
		assert_int_equal(sums.active, 0);
	}
	stage_meter_free(rig->stages);
	sd_event_unref(rig->event);
	bucket_table_free(rig->buckets);
	assert_int_equal(open_descriptors(), rig->descriptors);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

void rig_turn(struct rig *rig)
{
	int r = sd_event_run(rig->event, 30 * 1000 * 1000);

	if (r <= 0)
		fail_msg("the loop waited for nothing (%d)", r);
}

void rig_start(struct rig *rig, struct shot *shot, const void *data, size_t size)
{
	struct error err = ERROR_INIT;
	cleanup_close int fd = memfd_create("a file", MFD_CLOEXEC);

	if (fd_write_all(fd, data, size, &err) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		fail_msg("cannot write a file in memory");
	while (decode_pool_room(rig->pool) == 0) {
		assert_false(decode_pool_dead(rig->pool));
		rig_turn(rig);
	}
	shot->rig = rig;
	decode_pool_start(rig->pool, fd, shot);
}

void rig_start_held(struct rig *rig, struct shot *shot, const void *data, size_t size)
{
	rig_start(rig, shot, data, size);
	while (!shot->ticket)
		rig_turn(rig);
}

void rig_wait(struct rig *rig, struct shot *shot)
{
	while (shot->end == SHOT_RUNNING)
		rig_turn(rig);
	assert_int_equal(shot->ends, 1);
}

void rig_shoot(struct rig *rig, struct shot *shot, const void *data, size_t size)
{
	rig_start(rig, shot, data, size);
	rig_wait(rig, shot);
}

void rig_works(struct rig *rig, char byte)
{
	cleanup_shot struct shot shot = {.skip = false};
	const char text[] = {byte, '!', '\0'};

	rig_shoot(rig, &shot, text, 2);
	if (shot.end != SHOT_DONE)
		fail_msg("an honest image: %s", shot.why.message);
	for (size_t i = 0; i < (size_t)64 * 64 * 3; i++)
		assert_int_equal(shot.pixels[i], byte);
}

void rig_place(struct shot *shot)
{
	const struct bucket_placement *p = &shot->placement;
	const struct render_geometry geometry = {
	    p->resized_width, p->resized_height, p->crop_left,	p->crop_top,
	    p->target_width,  p->target_height,	 FILTER_LANCZOS};

	decode_pool_place(TAKE(shot->ticket), &geometry, 1, &shot->rig->policy);
}

void shot_release(struct shot *shot)
{
	free(shot->pixels);
	shot->pixels = NULL;
}
