#include "daemon/plan_svg.h"

#include "base/checked.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* Pixels. Columns of numbers are right-aligned at their X. */
enum {
	WIDTH = 860,
	MARGIN = 24,
	ROWS_AT = 104,
	ROW = 26,
	GAP = 6,
	SHAPE = 20,
	LABEL_X = 58,
	BAR_X = 150,
	BAR_WIDTH = 440,
	BAR_HEIGHT = 14,
	IMAGES_X = 682,
	SHARE_X = 754,
	CROP_X = WIDTH - MARGIN,
};

/* More would be no picture any more: the smallest of them are one row together. */
enum { ROWS_MAX = 60 };

/* Both have a contrast of 4.5 against white and black. */
#define COLOR_TEXT    "#767676"
#define COLOR_BUCKET  "#3f83d6"
#define COLOR_SKIPPED "#d0801f"
#define COLOR_BAD     "#d64545"

struct picture {
	struct buffer *out;
	const struct plan *plan;
	uint64_t most; /* images of the longest bar */
	size_t y;      /* of the middle of the row that comes next */
};

static double share(uint64_t part, uint64_t whole)
{
	return whole > 0 ? (double)part / (double)whole : 0;
}

static void append_escaped(struct buffer *out, const char *s)
{
	cleanup_buffer struct buffer clean = BUFFER_INIT;

	utf8_append_clean(&clean, s, strlen(s));
	for (size_t i = 0; i < clean.size; i++) {
		uint8_t c = clean.data[i];

		if (c == '&' || c == '<' || c == '>' || c == '"')
			buffer_appendf(out, "&#%u;", c);
		else
			buffer_put_u8(out, c < 0x20 || c == 0x7f ? '?' : c);
	}
}

/* -- parts of a row ------------------------------------------------------------------------------- */

static void text_right(struct picture *p, size_t x, const char *text)
{
	buffer_appendf(p->out, "<text x=\"%zu\" y=\"%zu\" text-anchor=\"end\">%s</text>\n", x,
		       p->y + 5, text);
}

static void numbers(struct picture *p, uint64_t files, uint64_t whole)
{
	char text[28];

	text_right(p, IMAGES_X, text_count(files, text));
	snprintf(text, sizeof(text), "%.1f %%", 100 * share(files, whole));
	text_right(p, SHARE_X, text);
}

/* From @from to @to images along the bar. */
static void bar(struct picture *p, uint64_t from, uint64_t to, const char *color, double opacity)
{
	double x = BAR_WIDTH * share(from, p->most), end = BAR_WIDTH * share(to, p->most);

	if (from == to)
		return;
	buffer_appendf(p->out,
		       "<rect x=\"%.2f\" y=\"%zu\" width=\"%.2f\" height=\"%d\" fill=\"%s\" "
		       "fill-opacity=\"%.2f\"/>\n",
		       BAR_X + x, p->y - BAR_HEIGHT / 2, end - x < 1 ? 1 : end - x, BAR_HEIGHT,
		       color, opacity);
}

static void shape(struct picture *p, const struct plan_bucket *b)
{
	double longer = b->width > b->height ? (double)b->width : (double)b->height;
	double w = SHAPE * (double)b->width / longer, h = SHAPE * (double)b->height / longer;

	buffer_appendf(p->out,
		       "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" rx=\"1\" "
		       "fill=\"" COLOR_BUCKET "\" fill-opacity=\"0.25\" stroke=\"" COLOR_BUCKET
		       "\"/>\n",
		       MARGIN + (SHAPE - w) / 2, (double)p->y - h / 2, w, h);
}

static void row_label(struct picture *p, size_t x, const char *text)
{
	buffer_appendf(p->out, "<text x=\"%zu\" y=\"%zu\">", x, p->y + 5);
	append_escaped(p->out, text);
	buffer_append_string(p->out, "</text>\n");
}

/* -- rows ----------------------------------------------------------------------------------------- */

/* The paler end of a bar are the images that fill no batch. */
static void bucket_row(struct picture *p, const struct plan_bucket *b)
{
	uint64_t whole = b->images - b->dropped;
	char text[32];

	shape(p, b);
	snprintf(text, sizeof(text), "%zu×%zu", b->width, b->height);
	row_label(p, LABEL_X, text);
	bar(p, 0, whole, COLOR_BUCKET, 1);
	bar(p, whole, b->images, COLOR_BUCKET, 0.4);
	numbers(p, b->images, p->plan->images);
	snprintf(text, sizeof(text), "%.1f %%", 100 * b->crop_loss);
	text_right(p, CROP_X, text);
	p->y += ROW;
}

static void plain_row(struct picture *p, const char *label, uint64_t files, uint64_t whole,
		      const char *color)
{
	row_label(p, MARGIN, label);
	bar(p, 0, files, color, 1);
	numbers(p, files, whole);
	p->y += ROW;
}

static int by_images(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

/* A bucket with fewer images than this has no row of its own. */
static uint64_t fewest_shown(const struct plan *plan)
{
	cleanup_free uint64_t *images = NULL;

	if (plan->n_buckets <= ROWS_MAX)
		return 0;
	images = xcalloc(plan->n_buckets, sizeof(*images));
	for (size_t i = 0; i < plan->n_buckets; i++)
		images[i] = plan->buckets[i].images;
	qsort(images, plan->n_buckets, sizeof(*images), by_images);
	return images[ROWS_MAX];
}

static void bucket_rows(struct picture *p)
{
	uint64_t fewest = fewest_shown(p->plan), others = 0;
	size_t shown = 0;

	for (size_t i = 0; i < p->plan->n_buckets; i++) {
		const struct plan_bucket *b = &p->plan->buckets[i];

		if (b->images > fewest || (p->plan->n_buckets <= ROWS_MAX)) {
			bucket_row(p, b);
			shown++;
		} else {
			others += b->images;
		}
	}
	if (others > 0) {
		char label[64];

		snprintf(label, sizeof(label), "%zu other buckets", p->plan->n_buckets - shown);
		plain_row(p, label, others, p->plan->images, COLOR_BUCKET);
	}
}

static void reason_rows(struct picture *p, const struct plan_reasons *reasons, const char *color)
{
	for (size_t i = 0; i < reasons->n; i++)
		plain_row(p, reasons->list[i].word, reasons->list[i].files, p->plan->files, color);
}

/* A title above some rows. */
static void heading(struct picture *p, const char *text)
{
	buffer_appendf(p->out,
		       "<text x=\"%d\" y=\"%zu\" font-weight=\"600\">%s</text>\n"
		       "<path d=\"M%d %zuH%d\" stroke=\"" COLOR_TEXT
		       "\" stroke-opacity=\"0.4\"/>\n",
		       MARGIN, p->y + 5, text, MARGIN, p->y + 13, WIDTH - MARGIN);
	p->y += ROW + GAP;
}

static void column_titles(struct picture *p)
{
	static const struct {
		size_t x;
		const char *text;
	} titles[] = {{IMAGES_X, "images"}, {SHARE_X, "share"}, {CROP_X, "cropped"}};

	for (size_t i = 0; i < ARRAY_SIZE(titles); i++)
		text_right(p, titles[i].x, titles[i].text);
	heading(p, "buckets");
}

/* -- the whole ------------------------------------------------------------------------------------ */

static void top(struct picture *p)
{
	const struct plan *plan = p->plan;
	char images[28], files[28], enlarged[28], dropped[28];

	buffer_appendf(p->out,
		       "<text x=\"%d\" y=\"40\" font-size=\"22\" font-weight=\"600\">%s images in "
		       "%zu buckets</text>\n"
		       "<text x=\"%d\" y=\"66\">%s, %s files; %s enlarged; %.1f %% of the area "
		       "cropped",
		       MARGIN, text_count(plan->images, images), plan->n_buckets, MARGIN,
		       bucket_rule_name(bucket_table_options(plan->resolutions.tables[0])->rule),
		       text_count(plan->files, files), text_count(plan->enlarged, enlarged),
		       100 * plan->crop_loss);
	if (plan->batch > 0)
		buffer_appendf(p->out, "; paler: %s left over in batches of %zu",
			       text_count(plan->dropped, dropped), plan->batch);
	buffer_append_string(p->out, "</text>\n");
}

static void rows(struct picture *p)
{
	column_titles(p);
	bucket_rows(p);
	if (p->plan->skipped.files > 0) {
		p->y += GAP;
		heading(p, "skipped");
		reason_rows(p, &p->plan->skipped, COLOR_SKIPPED);
	}
	if (p->plan->unreadable.files > 0) {
		p->y += GAP;
		heading(p, "unreadable");
		reason_rows(p, &p->plan->unreadable, COLOR_BAD);
	}
}

static uint64_t most_of(const struct plan *plan)
{
	uint64_t most = 1;

	for (size_t i = 0; i < plan->n_buckets; i++)
		most = plan->buckets[i].images > most ? plan->buckets[i].images : most;
	for (size_t i = 0; i < plan->skipped.n; i++)
		most = plan->skipped.list[i].files > most ? plan->skipped.list[i].files : most;
	for (size_t i = 0; i < plan->unreadable.n; i++)
		most =
		    plan->unreadable.list[i].files > most ? plan->unreadable.list[i].files : most;
	return most;
}

void plan_svg(const struct plan *plan, struct buffer *out)
{
	cleanup_buffer struct buffer body = BUFFER_INIT;
	struct picture p = {.out = &body, .plan = plan, .most = most_of(plan), .y = ROWS_AT};
	size_t height;

	top(&p);
	rows(&p);
	height = p.y;
	buffer_appendf(out,
		       "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		       "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%zu\" "
		       "viewBox=\"0 0 %d %zu\" font-family=\"system-ui, sans-serif\" "
		       "font-size=\"14\" fill=\"" COLOR_TEXT "\" role=\"img\">\n"
		       "<title>Images by bucket</title>\n",
		       WIDTH, height, WIDTH, height);
	buffer_append(out, body.data, body.size);
	buffer_append_string(out, "</svg>\n");
}
